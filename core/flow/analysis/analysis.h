/* SPDX-License-Identifier: Apache-2.0 */
/* What is kept of one namespace's usage. Private to core/flow/analysis. */
#ifndef SX_CORE_FLOW_ANALYSIS_ANALYSIS_H
#define SX_CORE_FLOW_ANALYSIS_ANALYSIS_H

#include "core/flow/analysis/sketch.h"
#include "core/flow/engine.h"

#define SX_SUCCESSORS 4u

/* What one key is followed by: the most frequent ones, by the rule of sketch.h. */
typedef struct sx_successor {
    uint64_t hash;
    strata_namespace *ns;
    uint32_t count; /* 0: nobody's place */
    uint32_t error; /* at most so much of it was others' */
    strata_seen_key key;
} sx_successor;

typedef struct sx_first {
    strata_seen_key key;
    uint32_t seen; /* at SX_FIRST_SEEN_MAX, it and what follows are halved */
    sx_successor next[SX_SUCCESSORS];
} sx_first;
#define SX_FIRST_SEEN_MAX 256u

/* What a walk through L1 found. */
typedef struct sx_census {
    int64_t entries, bytes, endless;
    strata_histogram ttl_left, ttl_given, value_bytes;
    uint32_t big_count;
    strata_big_key big[STRATA_BIG_KEYS_MAX]; /* the largest first */
} sx_census;

typedef struct sx_analysis {
    uint32_t keys; /* const; places of either sketch */
    _Atomic bool on; /* atomic: relaxed, a hint: whether to walk for it */
    sx_lock lock;
    /* lock: lock */
    int64_t sampled, missed;
    strata_histogram age;
    sx_sketch hot, firsts;
    strata_seen_key *hot_keys; /* beside hot */
    sx_first *first_keys;      /* beside firsts */
    int64_t walks;
    sx_census told;            /* of the last walk */
    /* Fingerprints of keys that something may follow, by hash: so that most reads need no lock to know that nothing does. A power of two.
       atomic: relaxed, hints; written under lock */
    uint32_t leads_count; /* const */
    _Atomic uint32_t *leads;
    sx_counter skipped;        /* several writers */
    /* owner: keeper */
    sx_census walked;
    bool whole;                /* it was there when the walk began */
} sx_analysis;

/* The namespace's, or NULL. Any thread. */
static inline sx_analysis *sx_analysis_of(const strata *engine, uint32_t ns) {
    return atomic_load_explicit(&engine->analyses.of[ns], memory_order_acquire); /* [order: analysis] observes it as it was made */
}
static inline void sx_analysis_add(strata_histogram *histogram, int64_t number) {
    histogram->counts[sx_histogram_bucket(number)]++;
    histogram->count++;
    histogram->sum += number;
}
void sx_seen_key_set(strata_seen_key *out, const void *key, size_t size);

/* Whether anything may follow the key. Any thread. */
static inline bool sx_pairs_may_lead(const sx_analysis *analysis, uint64_t hash) {
    uint32_t is = atomic_load_explicit(&analysis->leads[hash & (analysis->leads_count - 1)], memory_order_relaxed); /* relaxed: a hint */
    return is == (uint32_t)(hash >> 32);
}

/* prefetch.c, on the session's thread */
/* A read of the key, which L1 answered or not: it may have been read ahead. */
void sx_prefetch_note_read(const strata_session *session, uint64_t hash, bool answered);
/* What mostly follows the key is read ahead, if it is not there. */
void sx_prefetch_after(strata_session *session, sx_analysis *analysis, uint64_t hash);
void sx_prefetch_destroy(strata *engine);

/* pairs.c; lock held */
void sx_pairs_first_locked(sx_analysis *analysis, uint64_t hash, strata_bytes key);
void sx_pairs_next_locked(sx_analysis *analysis, uint64_t first_hash, strata_namespace *ns, uint64_t hash, strata_bytes key);

#endif
