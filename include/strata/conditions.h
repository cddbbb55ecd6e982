/* SPDX-License-Identifier: Apache-2.0 */
/* Writes that happen only if what L2 holds allows it: judged there, in the same step. Included by strata.h, where operations are
   explained. */
#ifndef STRATA_CONDITIONS_H
#define STRATA_CONDITIONS_H

#include <strata/strata.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A condition is judged by the server, in one step with the write that it allows: of all processes' writes to a key that name
   the same version exactly one happens. A write that is refused changes nothing, and nobody else hears of it; its result
   tells the version of what is there, zeros where nothing is. What was cleared is not there. A value whose tags were
   invalidated is, until it is written, invalidated or loaded anew: its markers lie with other servers.
   Reads may find less than a condition does, so who tries again should not do so for ever: a key that is without L2 in this
   process (strata/rollout.h), or owes L2 an invalidation that failed, is a miss for strata_get while strata_add says STRATA_EXISTS.
   STRATA_E_UNKNOWN_OUTCOME is what it is for strata_set: the key is invalidated as soon as L2 can be asked, so that who tries
   again with the same version is refused, and reads it anew. Without L2 nothing is judged: STRATA_E_UNAVAILABLE. */

/*
 * Writes a key if it still has the version that was read: compare and set.
 *   session     a session
 *   ns          a namespace
 *   key         1 .. STRATA_KEY_BYTES_MAX bytes, copied
 *   value       up to l2.value_bytes_max bytes, copied
 *   version_n   strata_result.version_n of what was read or written; not 0
 *   version_id  strata_result.version_id of the same
 *   options     how, or NULL
 *   done        receives the outcome, and in version_n and version_id the key's version from then on; NULL to not be told
 *   user        handed to done
 * Returns: STRATA_PENDING: exactly one completion (none where done is NULL), with STRATA_OK; STRATA_CONFLICT where the key has
 *          another version, or none; or a failure as of strata_set; STRATA_E_INVALID for a version_n of 0,
 *          STRATA_E_UNAVAILABLE, and what strata_set refuses with: no completion.
 * Owns:    nothing.
 * Threads: the session's.
 * Blocks:  on a lock held for a few instructions.
 * Since:   0.1
 */
STRATA_API int32_t strata_set_if_version(strata_session *session, strata_namespace *ns, strata_bytes key,
                                         strata_bytes value, uint64_t version_n, uint64_t version_id,
                                         const strata_op_options *options, strata_done_fn done, void *user);

/*
 * Writes a key if it still has the version that was read, and waits for the outcome.
 *   session     a session
 *   ns          a namespace
 *   key         1 .. STRATA_KEY_BYTES_MAX bytes
 *   value       up to l2.value_bytes_max bytes
 *   version_n   strata_result.version_n of what was read or written; not 0
 *   version_id  strata_result.version_id of the same
 *   options     how, or NULL
 *   out         receives the key's version from then on, on STRATA_OK and STRATA_CONFLICT; may be NULL
 * Returns: STRATA_OK; STRATA_CONFLICT; STRATA_E_UNKNOWN_OUTCOME; a failure.
 * Owns:    nothing.
 * Threads: the session's, outside its callbacks.
 * Blocks:  up to the deadline.
 * Since:   0.1
 */
STRATA_API int32_t strata_set_if_version_wait(strata_session *session, strata_namespace *ns, strata_bytes key,
                                              strata_bytes value, uint64_t version_n, uint64_t version_id,
                                              const strata_op_options *options, strata_result *out);

/*
 * Writes a key if options->app_version is greater than that of what is there, or nothing is: writers that race after their
 * commits can't swap order. An invalidation, the end of the ttl (also where the value is kept for failures)
 * and an eviction forget the number. A loader's answer that there is none has one, where the loader gave it: while that is remembered,
 * what is older is refused.
 *   session  a session
 *   ns       a namespace
 *   key      1 .. STRATA_KEY_BYTES_MAX bytes, copied
 *   value    up to l2.value_bytes_max bytes, copied
 *   options  how; app_version is not 0
 *   done     receives the outcome, and in version_n and version_id the key's version from then on; NULL to not be told
 *   user     handed to done
 * Returns: STRATA_PENDING: exactly one completion (none where done is NULL), with STRATA_OK; STRATA_CONFLICT where what is there
 *          is as new or newer; or a failure as of strata_set; STRATA_E_INVALID without an app_version,
 *          STRATA_E_UNAVAILABLE, and what strata_set refuses with: no completion.
 * Owns:    nothing.
 * Threads: the session's.
 * Blocks:  on a lock held for a few instructions.
 * Since:   0.1
 */
STRATA_API int32_t strata_set_if_newer(strata_session *session, strata_namespace *ns, strata_bytes key,
                                       strata_bytes value, const strata_op_options *options, strata_done_fn done,
                                       void *user);

/*
 * Writes a key if it is newer than what is there, and waits for the outcome.
 *   session  a session
 *   ns       a namespace
 *   key      1 .. STRATA_KEY_BYTES_MAX bytes
 *   value    up to l2.value_bytes_max bytes
 *   options  how; app_version is not 0
 *   out      receives the key's version from then on, on STRATA_OK and STRATA_CONFLICT; may be NULL
 * Returns: STRATA_OK; STRATA_CONFLICT; STRATA_E_UNKNOWN_OUTCOME; a failure.
 * Owns:    nothing.
 * Threads: the session's, outside its callbacks.
 * Blocks:  up to the deadline.
 * Since:   0.1
 */
STRATA_API int32_t strata_set_if_newer_wait(strata_session *session, strata_namespace *ns, strata_bytes key,
                                            strata_bytes value, const strata_op_options *options, strata_result *out);

/*
 * Writes a key if no value is there: none, one past its end, one that was cleared, or the knowledge that the source has none.
 *   session  a session
 *   ns       a namespace
 *   key      1 .. STRATA_KEY_BYTES_MAX bytes, copied
 *   value    up to l2.value_bytes_max bytes, copied
 *   options  how, or NULL
 *   done     receives the outcome, and in version_n and version_id the key's version from then on; NULL to not be told
 *   user     handed to done
 * Returns: STRATA_PENDING: exactly one completion (none where done is NULL), with STRATA_OK; STRATA_EXISTS where a value is
 *          there; or a failure as of strata_set; STRATA_E_UNAVAILABLE, and what strata_set refuses with: no completion.
 * Owns:    nothing.
 * Threads: the session's.
 * Blocks:  on a lock held for a few instructions.
 * Since:   0.1
 */
STRATA_API int32_t strata_add(strata_session *session, strata_namespace *ns, strata_bytes key, strata_bytes value,
                              const strata_op_options *options, strata_done_fn done, void *user);

/*
 * Writes a key if no value is there, and waits for the outcome.
 *   session  a session
 *   ns       a namespace
 *   key      1 .. STRATA_KEY_BYTES_MAX bytes
 *   value    up to l2.value_bytes_max bytes
 *   options  how, or NULL
 *   out      receives the key's version from then on, on STRATA_OK and STRATA_EXISTS; may be NULL
 * Returns: STRATA_OK; STRATA_EXISTS; STRATA_E_UNKNOWN_OUTCOME; a failure.
 * Owns:    nothing.
 * Threads: the session's, outside its callbacks.
 * Blocks:  up to the deadline.
 * Since:   0.1
 */
STRATA_API int32_t strata_add_wait(strata_session *session, strata_namespace *ns, strata_bytes key, strata_bytes value,
                                   const strata_op_options *options, strata_result *out);

#ifdef __cplusplus
}
#endif
#endif
