/* SPDX-License-Identifier: Apache-2.0 */
/* Policies: how the values of a namespace live and age. Included by strata.h, where operations are explained. */
#ifndef STRATA_POLICY_H
#define STRATA_POLICY_H

#include <strata/strata.h>

#ifdef __cplusplus
extern "C" {
#endif

#define STRATA_POLICY_ENDLESS 0x1u  /* values may be stored without an end (STRATA_EXPIRES_NEVER) */
#define STRATA_POLICY_L1_COMPRESSED 0x2u /* L1 keeps compressed what is: more entries, and each reader decompresses for itself, into
                                            memory that lives as long as its result */
#define STRATA_NO_JITTER UINT32_MAX /* for strata_namespace_policy.ttl_jitter_percent */

/* How values are compressed; for strata_namespace_policy.compress. */
typedef enum strata_compression {
    STRATA_COMPRESS_DEFAULT = 0, /* as flow.compress says */
    STRATA_COMPRESS_NONE = 1,
    STRATA_COMPRESS_LZ4 = 2,
    STRATA_COMPRESS_ZSTD = 3     /* slower to compress, and smaller; where the library was built with it */
} strata_compression;

/* How the values of a namespace live and age.

   Past its end a value is only ever answered as STRATA_STALE, and never once it was invalidated, as far as this process can
   know: L1 answers it by itself only while it is proven that nothing happened to it. A refresh in the background runs the
   loader of the call that started it, on the executor, or where there is none in the session's next dispatch or waiting
   call (a session that has 64 to run begins no more): with refresh_percent or stale_while_refreshing_ms, loader_user must
   live until then, or until the session is closed, and until a loader that was started has finished. strata_close waits for
   refreshes only where there is an executor. One process refreshes a value at a time, and asks L2 first whether another has. Zero stands for the
   default of each field; struct_size first. */
typedef struct strata_namespace_policy {
    uint32_t struct_size;        /* sizeof(strata_namespace_policy) */
    uint32_t flags;              /* STRATA_POLICY_ENDLESS, STRATA_POLICY_L1_COMPRESSED */
    int64_t ttl_ms;              /* of what is written or loaded without one; 0 for flow.ttl; STRATA_EXPIRES_NEVER where
                                    flags allow it */
    int64_t l1_ttl_ms;           /* how long L1 answers before it asks L2 again; 0 for as long as the value lives */
    uint32_t ttl_jitter_percent; /* up to how much of its ttl a value lives shorter, so that what was written together
                                    does not expire together: 1 .. 90; 0 for flow.ttl_jitter; STRATA_NO_JITTER */
    uint32_t refresh_percent;    /* 1 .. 99: after that part of its ttl the first get_or_load that L1 answers has the value
                                    refreshed in the background; 0: not before its end */
    int64_t stale_while_refreshing_ms; /* how long after its end get_or_load and peek answer a value as STRATA_STALE
                                          (get_or_load while it is refreshed in the background); 0: not at all */
    int64_t stale_if_failing_ms; /* how long after its end a value is answered as STRATA_STALE where the loader or L2
                                    fails, but none of a tier that the call passes by (STRATA_BYPASS_L1 and its like);
                                    0: not at all */
    int64_t throttle_ms;         /* how long after a failed load or a refresh was begun the next is held back; 0 for 1000 */
    int64_t soft_timeout_ms;     /* how long get_or_load waits where there is a value that failing would answer: then it
                                    is answered that, and the load goes on; 0: to its deadline */
    int64_t absent_ttl_ms;       /* how long it is kept, in L2 and L1, that a loader found nothing (STRATA_MISS), unless it
                                    says itself how long; 0: not at all */
    int64_t error_ttl_ms;        /* how long this process answers STRATA_E_LOAD_FAILED at once after a load failed for which
                                    there is no value past its end; a write, a clear, or a tag of the call that loaded
                                    ends it; 0: not at all */
    int64_t load_timeout_ms;     /* when a load is given up; 0 for flow.load_timeout */
    int64_t l1_idle_ms;          /* L1 forgets a value that was not read there for so long, give or take an eighth; L2 keeps it;
                                    0: not before the end of its time */
    uint32_t compress;           /* strata_compression: on the way to L2, and to L1 with STRATA_POLICY_L1_COMPRESSED; other processes read
                                    it whatever they say here */
    uint32_t waiters_max;        /* how many operations of this process may wait for one key at a time: one more is answered at once,
                                    where stale_if_failing_ms allows it with what L1 holds past its end (STRATA_REASON_CROWDED),
                                    else by STRATA_E_OVERLOADED; 0: as many as flow.pending_max */
    int64_t compress_min_bytes;  /* smaller values are never compressed: 64 .. 536870912; 0 for flow.compress_min */
    int64_t ttl_adaptive_min_ms; /* with the next: 0 .. ttl_adaptive_max_ms */
    int64_t ttl_adaptive_max_ms; /* the ttl of what is written or loaded without one follows strata_namespace_suggested_ttl, between
                                    these two, as soon as anything is known; 0: it is ttl_ms */
} strata_namespace_policy;

/*
 * Replaces the policy that the program gives a namespace, as a whole. It holds for what is written, loaded or read from L2 from then on;
 * what is in L1 keeps the times it was given. A field that is 0 here is what the configuration gives the namespace (docs/CONFIG.md,
 * `[namespace.NAME]`), and its default where that says nothing; one that is not stands above it.
 *   ns      a namespace
 *   policy  copied
 *   error   receives the field and its allowed range; may be NULL
 * Returns: STRATA_OK; STRATA_E_INVALID for a struct that can't be read; STRATA_E_CONFIG for a field out of range: nothing
 *          has changed; STRATA_E_CLOSED; STRATA_E_FORKED.
 * Owns:    nothing.
 * Threads: any; operations under way see the old policy or the new one, never a mixture.
 * Blocks:  on a lock held for a few instructions.
 * Since:   0.1
 */
STRATA_API int32_t strata_namespace_policy_set(strata_namespace *ns, const strata_namespace_policy *policy,
                                               strata_error *error);

/*
 * Reads the policy that the program gave a namespace, to be changed and set again.
 *   ns      a namespace
 *   policy  struct_size set; receives the policy as it was set, zeros for what it left to the configuration
 * Returns: STRATA_OK; STRATA_E_INVALID; STRATA_E_CLOSED; STRATA_E_FORKED.
 * Owns:    nothing.
 * Threads: any.
 * Blocks:  on a lock held for a few instructions.
 * Since:   0.1
 */
STRATA_API int32_t strata_namespace_policy_get(const strata_namespace *ns, strata_namespace_policy *policy);

/*
 * Reads the policy that a namespace has now: what the program gave it, and the configuration where the program left a field 0.
 *   ns      a namespace
 *   policy  struct_size set; receives the policy, zeros where the default of each field holds
 * Returns: STRATA_OK; STRATA_E_INVALID; STRATA_E_CLOSED; STRATA_E_FORKED.
 * Owns:    nothing.
 * Threads: any.
 * Blocks:  never.
 * Since:   0.1
 */
STRATA_API int32_t strata_namespace_policy_effective(const strata_namespace *ns, strata_namespace_policy *policy);

/*
 * Gives a namespace a dictionary, with which zstd compresses its values from then on, where they are compressed by it: small values that are
 * alike become much smaller. Every process that reads them must know it (this call in any of its namespaces, or flow.dictionaries) before one
 * writes with it: elsewhere they are as good as malformed, counted as flow.dictionary_unknown, and loaders answer in their place, whose
 * results are not kept: each such read asks the source. Each that was given stays known
 * until the engine's end, so values that were compressed with another, or with none, are read as before.
 *   ns          a namespace
 *   dictionary  what `zstd --train` wrote, of up to 1 MiB; copied. Size 0: that of flow.dictionaries again, or none
 *   error       receives what is wrong with it; may be NULL
 * Returns: STRATA_OK; STRATA_E_CONFIG where it is no dictionary, has the id of another one, or the library was built without zstd;
 *          STRATA_E_OVERLOADED beyond 64 dictionaries of an engine; STRATA_E_NOMEM; STRATA_E_INVALID; STRATA_E_CLOSED; STRATA_E_FORKED.
 * Owns:    nothing.
 * Threads: any.
 * Blocks:  on a lock held by session open and close; some milliseconds for a large one.
 * Since:   0.1
 */
STRATA_API int32_t strata_namespace_dictionary(strata_namespace *ns, strata_bytes dictionary, strata_error *error);

#ifdef __cplusplus
}
#endif
#endif
