/* SPDX-License-Identifier: Apache-2.0 */
/* Batches: many keys in one call, answered together, each with its own status. Included by strata.h, where operations are
   explained. */
#ifndef STRATA_BATCH_H
#define STRATA_BATCH_H

#include <strata/strata.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Receives the answers of a batch, in the order of its keys; the results are released after it returns. */
typedef void (*strata_done_many_fn)(void *user, const strata_result *results, size_t count);

/*
 * Reads many keys: what L1 has from L1, the rest from L2 in one go.
 *   session  a session
 *   ns       a namespace
 *   keys     count keys, copied where needed
 *   count    1 .. 65536
 *   options  how, or NULL
 *   done     receives count results, each with its own status
 *   user     handed to done
 * Returns: STRATA_PENDING: exactly one completion for the batch, also where L1 had everything; STRATA_E_INVALID,
 *          STRATA_E_KEY_SIZE, STRATA_E_NOMEM, STRATA_E_OVERLOADED, STRATA_E_CLOSED, STRATA_E_FORKED: no completion.
 * Owns:    nothing.
 * Threads: the session's.
 * Blocks:  on a lock held for a few instructions.
 * Since:   0.1
 */
STRATA_API int32_t strata_mget(strata_session *session, strata_namespace *ns, const strata_bytes *keys,
                               size_t count, const strata_op_options *options, strata_done_many_fn done,
                               void *user);

/*
 * Reads many keys and waits for the answers.
 *   session  a session
 *   ns       a namespace
 *   keys     count keys
 *   count    1 .. 65536
 *   options  how, or NULL
 *   results  receives count results, each with its own status
 * Returns: STRATA_OK with all results filled; a failure with none.
 * Owns:    the caller owns every result: strata_result_release.
 * Threads: the session's, outside its callbacks.
 * Blocks:  up to the deadline.
 * Since:   0.1
 */
STRATA_API int32_t strata_mget_wait(strata_session *session, strata_namespace *ns, const strata_bytes *keys,
                                    size_t count, const strata_op_options *options, strata_result *results);

/*
 * Writes many keys, each as strata_set does; no transaction over all of them.
 *   session  a session
 *   ns       a namespace
 *   keys     count keys, copied
 *   values   count values, copied
 *   count    1 .. 65536
 *   options  how, or NULL
 *   done     receives count outcomes, each with its own status; NULL to not be told
 *   user     handed to done
 * Returns: STRATA_PENDING: exactly one completion for the batch; STRATA_E_INVALID, STRATA_E_KEY_SIZE,
 *          STRATA_E_VALUE_SIZE, STRATA_E_NOMEM, STRATA_E_OVERLOADED, STRATA_E_CLOSED, STRATA_E_FORKED: no completion.
 * Owns:    nothing.
 * Threads: the session's.
 * Blocks:  on a lock held for a few instructions.
 * Since:   0.1
 */
STRATA_API int32_t strata_mset(strata_session *session, strata_namespace *ns, const strata_bytes *keys,
                               const strata_bytes *values, size_t count, const strata_op_options *options,
                               strata_done_many_fn done, void *user);

/*
 * Writes many keys and waits for the outcomes.
 *   session  a session
 *   ns       a namespace
 *   keys     count keys
 *   values   count values
 *   count    1 .. 65536
 *   options  how, or NULL
 *   results  receives count outcomes, without values
 * Returns: STRATA_OK with all results filled; a failure with none.
 * Owns:    nothing; the results need no release.
 * Threads: the session's, outside its callbacks.
 * Blocks:  up to the deadline.
 * Since:   0.1
 */
STRATA_API int32_t strata_mset_wait(strata_session *session, strata_namespace *ns, const strata_bytes *keys,
                                    const strata_bytes *values, size_t count,
                                    const strata_op_options *options, strata_result *results);

/* Produces the values of many keys: count loads, in the order of the batch's keys as a rule. Runs where a strata_loader_fn would.
   Must see that strata_load_finish is called exactly once for each of them, now or later, on any thread; each may fail by itself.
   The array is the library's and lives until the loader returns. */
typedef void (*strata_batch_loader_fn)(strata_load *const *loads, size_t count, void *user);

/*
 * Reads many keys, and has those that neither tier holds loaded by one call of a loader: each by the rules of
 * strata_get_or_load. Who loads a key already, in this process or another, is waited for, and the loader not asked for it. The
 * loader is asked once it is known of all keys whether it must be, or 5 ms after the first that it must be asked for: later ones
 * come in further calls, as do those for which another's load failed. Refreshes ahead of a value's end go the same way.
 *   session  a session
 *   ns       a namespace
 *   keys     count keys, copied where needed
 *   count    1 .. 65536
 *   options  how, or NULL; for all keys
 *   loader   produces the values
 *   loader_user  handed to loader
 *   done     receives count results, each with its own status
 *   user     handed to done
 * Returns: STRATA_PENDING: exactly one completion for the batch, also where L1 had everything; STRATA_E_INVALID,
 *          STRATA_E_KEY_SIZE, STRATA_E_TTL, STRATA_E_NOMEM, STRATA_E_CLOSED, STRATA_E_FORKED: no completion.
 * Owns:    nothing. loader_user must live as for strata_get_or_load.
 * Threads: the session's.
 * Blocks:  on a lock held for a few instructions.
 * Since:   0.1
 */
STRATA_API int32_t strata_mget_or_load(strata_session *session, strata_namespace *ns, const strata_bytes *keys,
                                       size_t count, const strata_op_options *options, strata_batch_loader_fn loader,
                                       void *loader_user, strata_done_many_fn done, void *user);

/*
 * Reads or loads many keys and waits for the answers.
 *   session  a session
 *   ns       a namespace
 *   keys     count keys
 *   count    1 .. 65536
 *   options  how, or NULL; for all keys
 *   loader   produces the values; without an executor it runs inside this call
 *   loader_user  handed to loader
 *   results  receives count results, each with its own status
 * Returns: STRATA_OK with all results filled; a failure with none.
 * Owns:    the caller owns every result: strata_result_release. loader_user must live as for strata_get_or_load_wait.
 * Threads: the session's, outside its callbacks.
 * Blocks:  up to the deadline, and as long as a loader that runs inside it takes.
 * Since:   0.1
 */
STRATA_API int32_t strata_mget_or_load_wait(strata_session *session, strata_namespace *ns, const strata_bytes *keys,
                                            size_t count, const strata_op_options *options, strata_batch_loader_fn loader,
                                            void *loader_user, strata_result *results);

/*
 * Invalidates many keys, each as strata_invalidate does; those of one partition go together, up to 32 as one step with one
 * message. A key that is named twice is invalidated in two steps.
 *   session  a session
 *   ns       a namespace
 *   keys     count keys, copied
 *   count    1 .. 65536
 *   options  how, or NULL
 *   done     receives count outcomes, each with its own status; NULL to not be told
 *   user     handed to done
 * Returns: STRATA_PENDING: exactly one completion for the batch (none where done is NULL); STRATA_E_INVALID, STRATA_E_KEY_SIZE,
 *          STRATA_E_NOMEM, STRATA_E_CLOSED, STRATA_E_FORKED: no completion.
 * Owns:    nothing.
 * Threads: the session's.
 * Blocks:  on a lock held for a few instructions.
 * Since:   0.1
 */
STRATA_API int32_t strata_minvalidate(strata_session *session, strata_namespace *ns, const strata_bytes *keys, size_t count,
                                      const strata_op_options *options, strata_done_many_fn done, void *user);

/*
 * Invalidates many keys and waits for the outcomes.
 *   session  a session
 *   ns       a namespace
 *   keys     count keys
 *   count    1 .. 65536
 *   options  how, or NULL
 *   results  receives count outcomes, without values
 * Returns: STRATA_OK with all results filled; a failure with none.
 * Owns:    nothing; the results need no release.
 * Threads: the session's, outside its callbacks.
 * Blocks:  up to the deadline.
 * Since:   0.1
 */
STRATA_API int32_t strata_minvalidate_wait(strata_session *session, strata_namespace *ns, const strata_bytes *keys,
                                           size_t count, const strata_op_options *options, strata_result *results);

#ifdef __cplusplus
}
#endif
#endif
