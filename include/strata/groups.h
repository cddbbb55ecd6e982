/* SPDX-License-Identifier: Apache-2.0 */
/* Groups of entries: made invalid at once by their tags, or with all of their namespace; read by their namespace's own policy. Included by strata.h, where
   operations are explained. */
#ifndef STRATA_GROUPS_H
#define STRATA_GROUPS_H

#include <strata/strata.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Makes every entry that has one of these tags invalid, in L2 and in every process's L1, whatever their number and
 * namespace: one small write and one message for each tag. A load under way whose operation named the tag answers who
 * waits, but never gets into a cache.
 *   session  a session
 *   tags     count tags of 1 .. STRATA_TAG_BYTES_MAX bytes, copied
 *   count    1 .. STRATA_TAGS_MAX
 *   options  how, or NULL; its own tags are ignored
 *   done     receives the outcome, STRATA_OK where all tags were invalidated, else the first failure; NULL to not be told
 *   user     handed to done
 * Returns: STRATA_PENDING: exactly one completion (none where done is NULL), with STRATA_OK or a failure: each tag may or
 *          may not have been invalidated, and repeating it does no harm; STRATA_OK at once where there is no L2;
 *          STRATA_E_INVALID, STRATA_E_NOMEM, STRATA_E_OVERLOADED, STRATA_E_CLOSED, STRATA_E_FORKED: no completion.
 * Owns:    nothing.
 * Threads: the session's.
 * Blocks:  on a lock held for a few instructions.
 * Since:   0.1
 */
STRATA_API int32_t strata_invalidate_tags(strata_session *session, const strata_bytes *tags, uint32_t count,
                                          const strata_op_options *options, strata_done_fn done, void *user);

/*
 * Makes every entry with one of these tags invalid and waits for the outcome.
 *   session  a session
 *   tags     count tags of 1 .. STRATA_TAG_BYTES_MAX bytes
 *   count    1 .. STRATA_TAGS_MAX
 *   options  how, or NULL; its own tags are ignored
 * Returns: STRATA_OK; a failure: repeat it.
 * Owns:    nothing.
 * Threads: the session's, outside its callbacks.
 * Blocks:  up to the deadline.
 * Since:   0.1
 */
STRATA_API int32_t strata_invalidate_tags_wait(strata_session *session, const strata_bytes *tags, uint32_t count,
                                               const strata_op_options *options);

/*
 * Makes every entry of a namespace invalid that was written before, in L2 and in every process's L1, whatever their number:
 * one small write and one message for each partition (coherence.partitions), none for an entry. What is invalid keeps its
 * memory, in L1 and L2, until it is overwritten, evicted or expires. A load under way answers who waits, but never gets into
 * a cache. What is written while the call is under way stays or goes.
 *   session  a session
 *   ns       a namespace; its other versions are not touched
 *   options  how, or NULL; its tags are ignored
 *   done     receives the outcome, STRATA_OK where all of it is invalid, else the first failure; NULL to not be told
 *   user     handed to done
 * Returns: STRATA_PENDING: exactly one completion (none where done is NULL), with STRATA_OK or a failure: some of it may
 *          have been cleared, and repeating it does no harm; STRATA_OK at once where there is no L2; STRATA_E_INVALID,
 *          STRATA_E_NOMEM, STRATA_E_OVERLOADED, STRATA_E_CLOSED, STRATA_E_FORKED: no completion.
 * Owns:    nothing.
 * Threads: the session's.
 * Blocks:  on a lock held for a few instructions.
 * Since:   0.1
 */
STRATA_API int32_t strata_clear(strata_session *session, strata_namespace *ns, const strata_op_options *options,
                                strata_done_fn done, void *user);

/*
 * Clears a namespace and waits for the outcome.
 *   session  a session
 *   ns       a namespace; its other versions are not touched
 *   options  how, or NULL; its tags are ignored
 * Returns: STRATA_OK; a failure: repeat it.
 * Owns:    nothing.
 * Threads: the session's, outside its callbacks.
 * Blocks:  up to the deadline.
 * Since:   0.1
 */
STRATA_API int32_t strata_clear_wait(strata_session *session, strata_namespace *ns, const strata_op_options *options);

/* What a read does with an entry that can't be proven fresh. */
typedef enum strata_untrusted {
    STRATA_UNTRUSTED_DEFAULT = 0,    /* as coherence.untrusted and coherence.serve_stale_max say */
    STRATA_UNTRUSTED_REVALIDATE = 1, /* asks L2 whether it is still the same */
    STRATA_UNTRUSTED_BYPASS = 2,     /* reads it from L2 anew */
    STRATA_UNTRUSTED_SERVE_STALE = 3 /* answers it as STRATA_STALE, for a while after trust ended */
} strata_untrusted;

/*
 * Gives a namespace a policy of its own for entries that can't be proven fresh. Every result says how stale it may be
 * (strata_result.staleness_us).
 *   ns                  a namespace
 *   policy              which
 *   serve_stale_max_ms  with STRATA_UNTRUSTED_SERVE_STALE: how long after its last proof an entry may be answered; else 0
 * Returns: STRATA_OK; STRATA_E_INVALID; STRATA_E_CLOSED; STRATA_E_FORKED.
 * Owns:    nothing.
 * Threads: any; reads under way see the old policy or the new one.
 * Blocks:  never.
 * Since:   0.1
 */
STRATA_API int32_t strata_namespace_set_untrusted(strata_namespace *ns, strata_untrusted policy,
                                                  uint32_t serve_stale_max_ms);

#ifdef __cplusplus
}
#endif
#endif
