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

#define STRATA_PATTERN_BYTES_MAX 256

/* How far the invalidation of a pattern has come. */
typedef struct strata_pattern_progress {
    uint64_t found;           /* keys that matched; one that moved meanwhile may count twice */
    uint64_t invalidated;     /* of them */
    uint32_t partitions_done; /* scanned to their end */
    uint32_t partitions;
} strata_pattern_progress;

/* Is told after each batch of keys; anything but 0 ends the call with STRATA_E_CANCELLED. Runs on the loop thread, where it must
   be quick and must not call Strata. strata_session_close waits until it has returned, and it is not called after that. */
typedef int32_t (*strata_progress_fn)(void *user, const strata_pattern_progress *progress);

/* How to invalidate a pattern. Zero what is not used; struct_size first. NULL stands for all zero. */
typedef struct strata_pattern_options {
    uint32_t struct_size; /* sizeof(strata_pattern_options) */
    uint32_t keys_per_s;  /* about so many invalidations a second, in batches of 512 or a second's worth, at most; 0 for 20000 */
    strata_progress_fn progress;
    void *progress_user;
} strata_pattern_options;

/*
 * Invalidates every key of a namespace that matches a pattern: all of L2 is scanned for them, so that it takes as long as L2
 * has keys, of whatever namespace. Each key is invalidated as by strata_invalidate. Then every process proves its entries
 * of the namespace anew as they are read, by a read of 29 bytes each, and so finds those that L2 had lost before.
 * A key that was there when the call began is invalidated, or was written since; what is written or loaded while it is under
 * way stays or goes. Keys of a slot that is moved to another node at that very time may be missed. Nothing bounds the time it
 * takes but its progress function, and the session's end, also where done is NULL; each of its requests has 5 s.
 *   session  a session
 *   ns       a namespace; its other versions are not touched
 *   pattern  1 .. STRATA_PATTERN_BYTES_MAX bytes: *, ?, [a-z], and \ before what stands for itself, as Redis' MATCH has them; copied
 *   options  how, or NULL
 *   done     receives the outcome, STRATA_OK where all is done, else the first failure; NULL to not be told
 *   user     handed to done
 * Returns: STRATA_PENDING: exactly one completion (none where done is NULL), with STRATA_OK, STRATA_E_CANCELLED or a failure:
 *          repeat it; where there is no L2 the whole namespace is cleared, and STRATA_OK is returned at once; STRATA_E_INVALID,
 *          STRATA_E_NOMEM, STRATA_E_OVERLOADED, STRATA_E_CLOSED, STRATA_E_FORKED: no completion.
 * Owns:    nothing.
 * Threads: the session's.
 * Blocks:  on a lock held for a few instructions.
 * Since:   0.1
 */
STRATA_API int32_t strata_invalidate_pattern(strata_session *session, strata_namespace *ns, strata_bytes pattern,
                                             const strata_pattern_options *options, strata_done_fn done, void *user);

/*
 * Invalidates every key that matches a pattern and waits for the outcome.
 *   session  a session
 *   ns       a namespace; its other versions are not touched
 *   pattern  1 .. STRATA_PATTERN_BYTES_MAX bytes, as of strata_invalidate_pattern
 *   options  how, or NULL
 * Returns: STRATA_OK; a failure: repeat it.
 * Owns:    nothing.
 * Threads: the session's, outside its callbacks.
 * Blocks:  as long as it takes; options->progress can end it.
 * Since:   0.1
 */
STRATA_API int32_t strata_invalidate_pattern_wait(strata_session *session, strata_namespace *ns, strata_bytes pattern,
                                                  const strata_pattern_options *options);

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
