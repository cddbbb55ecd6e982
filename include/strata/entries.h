/* SPDX-License-Identifier: Apache-2.0 */
/* What can be done with an entry besides reading and writing it: look whether it is there, have it live longer, and count.
   Included by strata.h, where operations are explained. */
#ifndef STRATA_ENTRIES_H
#define STRATA_ENTRIES_H

#include <strata/strata.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Asks whether a value is there, without moving its bytes: at once where L1 can answer, else of L2.
 *   session  a session
 *   ns       a namespace
 *   key      1 .. STRATA_KEY_BYTES_MAX bytes, copied where needed
 *   options  how, or NULL
 *   out      receives version, age and ttl where the answer comes at once; no value, and needs no release
 *   done     receives them otherwise
 *   user     handed to done
 * Returns: STRATA_OK with *out filled and no completion; STRATA_PENDING: exactly one completion, with STRATA_OK where strata_get
 *          would find it fresh, STRATA_MISS or a failure; STRATA_MISS at once where there is no L2; STRATA_E_KEY_SIZE,
 *          STRATA_E_INVALID, STRATA_E_NOMEM, STRATA_E_OVERLOADED, STRATA_E_CLOSED, STRATA_E_FORKED: no completion.
 * Owns:    nothing.
 * Threads: the session's.
 * Blocks:  on a lock held for a few instructions, not where L1 answers.
 * Since:   0.1
 */
STRATA_API int32_t strata_exists(strata_session *session, strata_namespace *ns, strata_bytes key,
                                 const strata_op_options *options, strata_result *out, strata_done_fn done, void *user);

/*
 * Asks whether a value is there, and waits for the answer.
 *   session  a session
 *   ns       a namespace
 *   key      1 .. STRATA_KEY_BYTES_MAX bytes
 *   options  how, or NULL
 *   out      receives version, age and ttl on STRATA_OK; no value, and needs no release; may be NULL
 * Returns: STRATA_OK; STRATA_MISS; a failure.
 * Owns:    nothing.
 * Threads: the session's, outside its callbacks.
 * Blocks:  up to the deadline.
 * Since:   0.1
 */
STRATA_API int32_t strata_exists_wait(strata_session *session, strata_namespace *ns, strata_bytes key,
                                      const strata_op_options *options, strata_result *out);

/*
 * Asks how long a value lives: at once where L1 can answer, else of L2.
 *   session  a session
 *   ns       a namespace
 *   key      1 .. STRATA_KEY_BYTES_MAX bytes, copied where needed
 *   options  how, or NULL
 *   ttl_ms   receives the time until it expires, STRATA_EXPIRES_NEVER, where the answer comes at once
 *   done     receives it otherwise, as ttl_ms of the result
 *   user     handed to done
 * Returns: as strata_exists.
 * Owns:    nothing.
 * Threads: the session's.
 * Blocks:  on a lock held for a few instructions, not where L1 answers.
 * Since:   0.1
 */
STRATA_API int32_t strata_get_ttl(strata_session *session, strata_namespace *ns, strata_bytes key,
                                  const strata_op_options *options, int64_t *ttl_ms, strata_done_fn done, void *user);

/*
 * Asks how long a value lives, and waits for the answer. L1 knows of no strata_touch by other processes: with STRATA_BYPASS_L1
 * L2 is asked in any case.
 *   session  a session
 *   ns       a namespace
 *   key      1 .. STRATA_KEY_BYTES_MAX bytes
 *   options  how, or NULL
 *   ttl_ms   receives the time until it expires, STRATA_EXPIRES_NEVER, on STRATA_OK
 * Returns: STRATA_OK; STRATA_MISS; a failure.
 * Owns:    nothing.
 * Threads: the session's, outside its callbacks.
 * Blocks:  up to the deadline.
 * Since:   0.1
 */
STRATA_API int32_t strata_get_ttl_wait(strata_session *session, strata_namespace *ns, strata_bytes key,
                                       const strata_op_options *options, int64_t *ttl_ms);

/*
 * Has a value live for at least a ttl from now on, where it is, without moving its bytes: in L2, and in this process's L1. What
 * other processes hold keeps its shorter life, after which they read it again. A life is never shortened, the version stays,
 * and the value's age counts from then. With STRATA_BYPASS_L2, or where the key is without L2 (strata/rollout.h), only what L1
 * answers lives on.
 *   session  a session
 *   ns       a namespace
 *   key      1 .. STRATA_KEY_BYTES_MAX bytes, copied where needed
 *   options  how, or NULL; its ttl_ms, or the namespace's, is the new life
 *   out      receives version, age and ttl where the answer comes at once; no value, and needs no release
 *   done     receives them otherwise
 *   user     handed to done
 * Returns: as strata_exists, STRATA_MISS where there is no value to extend; STRATA_E_TTL.
 * Owns:    nothing.
 * Threads: the session's.
 * Blocks:  on a lock held for a few instructions.
 * Since:   0.1
 */
STRATA_API int32_t strata_touch(strata_session *session, strata_namespace *ns, strata_bytes key,
                                const strata_op_options *options, strata_result *out, strata_done_fn done, void *user);

/*
 * Has a value live longer, and waits for the outcome.
 *   session  a session
 *   ns       a namespace
 *   key      1 .. STRATA_KEY_BYTES_MAX bytes
 *   options  how, or NULL; its ttl_ms, or the namespace's, is the new life
 *   out      receives version, age and ttl on STRATA_OK; no value, and needs no release; may be NULL
 * Returns: STRATA_OK; STRATA_MISS; STRATA_E_TTL; a failure.
 * Owns:    nothing.
 * Threads: the session's, outside its callbacks.
 * Blocks:  up to the deadline.
 * Since:   0.1
 */
STRATA_API int32_t strata_touch_wait(strata_session *session, strata_namespace *ns, strata_bytes key,
                                     const strata_op_options *options, strata_result *out);

/*
 * Adds to a number that L2 counts, 0 where it is not there yet. Numbers are a kind of their own: no cache holds them, values of the
 * same key have nothing to do with them, and neither invalidations nor clears touch them. A failover may lose what was added
 * last, as Redis replicates later; FLUSHALL and eviction take the number. L2 is asked in any case: neither STRATA_BYPASS_L2 nor a rollout is about numbers.
 *   session  a session
 *   ns       a namespace
 *   key      1 .. STRATA_KEY_BYTES_MAX bytes, copied
 *   change   what to add; 0 to read
 *   options  how, or NULL; its ttl_ms, or the namespace's, is the number's life from when it is created: a window to count in
 *   done     receives the outcome; strata_result_count tells the number; NULL to not be told
 *   user     handed to done
 * Returns: STRATA_PENDING: exactly one completion (none where done is NULL), with STRATA_OK; STRATA_E_RANGE where it would not fit
 *          64 bits, STRATA_E_TYPE where something else stands there: nothing has changed; STRATA_E_UNKNOWN_OUTCOME: it was added or
 *          not; or a failure: it was not; STRATA_E_UNAVAILABLE without L2, STRATA_E_KEY_SIZE, STRATA_E_TTL, STRATA_E_INVALID,
 *          STRATA_E_NOMEM, STRATA_E_OVERLOADED, STRATA_E_CLOSED, STRATA_E_FORKED: no completion.
 * Owns:    nothing.
 * Threads: the session's.
 * Blocks:  on a lock held for a few instructions.
 * Since:   0.1
 */
STRATA_API int32_t strata_incr(strata_session *session, strata_namespace *ns, strata_bytes key, int64_t change,
                               const strata_op_options *options, strata_done_fn done, void *user);

/*
 * Adds to a number that L2 counts, and waits for the outcome.
 *   session  a session
 *   ns       a namespace
 *   key      1 .. STRATA_KEY_BYTES_MAX bytes
 *   change   what to add; 0 to read
 *   options  how, or NULL
 *   out      receives the number on STRATA_OK; may be NULL
 * Returns: STRATA_OK; STRATA_E_RANGE; STRATA_E_TYPE; STRATA_E_UNKNOWN_OUTCOME; a failure.
 * Owns:    nothing.
 * Threads: the session's, outside its callbacks.
 * Blocks:  up to the deadline.
 * Since:   0.1
 */
STRATA_API int32_t strata_incr_wait(strata_session *session, strata_namespace *ns, strata_bytes key, int64_t change,
                                    const strata_op_options *options, int64_t *out);

/*
 * Removes a number that L2 counts: who adds to it next begins at 0, with a new life. Invalidations and clears don't do that.
 *   session  a session
 *   ns       a namespace
 *   key      1 .. STRATA_KEY_BYTES_MAX bytes, copied
 *   options  how, or NULL
 *   done     receives the outcome; strata_result_count tells what the number was, 0 where there was none; NULL to not be told
 *   user     handed to done
 * Returns: as strata_incr; STRATA_E_TYPE where something else stands at its name in L2, which stays there.
 * Owns:    nothing.
 * Threads: the session's.
 * Blocks:  on a lock held for a few instructions.
 * Since:   0.1
 */
STRATA_API int32_t strata_counter_delete(strata_session *session, strata_namespace *ns, strata_bytes key,
                                         const strata_op_options *options, strata_done_fn done, void *user);

/*
 * Removes a number that L2 counts, and waits for the outcome.
 *   session  a session
 *   ns       a namespace
 *   key      1 .. STRATA_KEY_BYTES_MAX bytes
 *   options  how, or NULL
 *   out      receives what the number was on STRATA_OK, 0 where there was none; may be NULL
 * Returns: STRATA_OK; STRATA_E_TYPE; STRATA_E_UNKNOWN_OUTCOME; a failure.
 * Owns:    nothing.
 * Threads: the session's, outside its callbacks.
 * Blocks:  up to the deadline.
 * Since:   0.1
 */
STRATA_API int32_t strata_counter_delete_wait(strata_session *session, strata_namespace *ns, strata_bytes key,
                                              const strata_op_options *options, int64_t *out);

/*
 * The number in a result of strata_incr or strata_counter_delete.
 *   result  a result whose status is STRATA_OK
 * Returns: the number.
 * Owns:    nothing.
 * Threads: any.
 * Blocks:  never.
 * Since:   0.1
 */
STRATA_API int64_t strata_result_count(const strata_result *result);

#ifdef __cplusplus
}
#endif
#endif
