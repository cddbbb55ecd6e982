/* SPDX-License-Identifier: Apache-2.0 */
/* Write intervals: how long values live, and the time to live which that suggests.

   Of the keys written a sample is followed, chosen by their hash: so either all writes of a key are seen or none. Where the table is full,
   half of the sample is let go. A value whose key was written again has lived for the interval; one whose key was not has lived at least until now, and
   leaving it out would make all values look short-lived. So the suggestion is the median of lives by the estimate of Kaplan and Meier, which takes both:
   half of the values are overwritten before it. */
#include <string.h>

#include "core/flow/analysis/analysis.h"

#define SLOTS     512u
#define FILL_MAX  384u
#define KNOWN_MIN 32   /* intervals, before they say anything */
#define KNOWN_MAX 4096 /* from there on all are halved, so that the latest count most */
#define AGAIN_NS  SX_NS_PER_S

typedef struct slot {
    uint64_t hash;
    int64_t at_ns; /* when that was seen; 0: an empty slot */
} slot;

struct sx_intervals {
    _Atomic uint32_t wanted;       /* atomic: relaxed, a hint; by whom; written under the lock engine */
    _Atomic int64_t suggested_ms;  /* atomic: relaxed, a number that stands for itself */
    _Atomic uint32_t level;        /* atomic: relaxed, a hint; so many low bits of a followed key's hash are 0; written under lock */
    sx_lock lock;
    /* lock: lock */
    uint32_t used;
    uint32_t table; /* which of the two is in use */
    slot slots[2][SLOTS];
    int64_t suggested_ns; /* when that was found */
    strata_histogram lives;
};

/* ---- table ------------------------------------------------------------------------------------------------------ */

static bool is_followed(const sx_intervals *intervals, uint64_t hash) {
    uint32_t level = atomic_load_explicit(&intervals->level, memory_order_relaxed); /* relaxed: a hint, or under its lock */
    return (hash & ((UINT64_C(1) << level) - 1)) == 0;
}

static slot *slot_of(slot *slots, uint64_t hash) {
    uint32_t at = (uint32_t)(hash >> 40) & (SLOTS - 1);
    while (slots[at].at_ns != 0 && slots[at].hash != hash) at = (at + 1) & (SLOTS - 1);
    return &slots[at];
}

/* Half of the keys are followed no more. */
static void thin_locked(sx_intervals *intervals) {
    uint32_t level = atomic_load_explicit(&intervals->level, memory_order_relaxed); /* relaxed: under its lock */
    slot *from = intervals->slots[intervals->table], *to = intervals->slots[intervals->table ^ 1];
    atomic_store_explicit(&intervals->level, level + 1, memory_order_relaxed);      /* relaxed: a hint */
    memset(to, 0, sizeof intervals->slots[0]);
    intervals->used = 0;
    intervals->table ^= 1;
    for (uint32_t i = 0; i < SLOTS; i++) {
        if (from[i].at_ns == 0 || !is_followed(intervals, from[i].hash)) continue;
        *slot_of(to, from[i].hash) = from[i];
        intervals->used++;
    }
}

/* ---- suggestion ------------------------------------------------------------------------------------------------- */

/* The median of lives; 0: nothing is known yet. */
static int64_t median_locked(const sx_intervals *intervals, int64_t now_ns) {
    int64_t open[STRATA_HISTOGRAM_BUCKETS] = {0}, left = intervals->lives.count + intervals->used;
    if (intervals->lives.count < KNOWN_MIN) return 0;
    for (uint32_t i = 0; i < SLOTS; i++) {
        const slot *s = &intervals->slots[intervals->table][i];
        if (s->at_ns != 0) open[sx_histogram_bucket((now_ns - s->at_ns) / SX_NS_PER_MS)]++;
    }
    double alive = 1;
    for (uint32_t i = 0; i < STRATA_HISTOGRAM_BUCKETS && left > 0; i++) {
        alive *= 1 - (double)intervals->lives.counts[i] / (double)left;
        if (alive <= 0.5) return strata_histogram_bound(i);
        left -= intervals->lives.counts[i] + open[i];
    }
    return STRATA_EXPIRES_NEVER;
}

static void halve_locked(strata_histogram *lives) {
    lives->count = 0;
    lives->sum /= 2;
    for (uint32_t i = 0; i < STRATA_HISTOGRAM_BUCKETS; i++) lives->count += lives->counts[i] /= 2;
}

static void suggest_locked(sx_intervals *intervals, int64_t now_ns) {
    int64_t before = atomic_load_explicit(&intervals->suggested_ms, memory_order_relaxed); /* relaxed: under its lock */
    if (before != 0 && now_ns - intervals->suggested_ns < AGAIN_NS) return;
    intervals->suggested_ns = now_ns;
    atomic_store_explicit(&intervals->suggested_ms, median_locked(intervals, now_ns), memory_order_relaxed); /* relaxed: stands for itself */
}

/* ---- noted ------------------------------------------------------------------------------------------------------ */

void sx_intervals_note_slow(sx_intervals *intervals, uint64_t hash, int64_t now_ns) {
    if (atomic_load_explicit(&intervals->wanted, memory_order_relaxed) == 0 || !is_followed(intervals, hash)) return; /* relaxed: a hint */
    sx_lock_acquire(&intervals->lock);
    if (!is_followed(intervals, hash)) { /* since a moment */
        sx_lock_release(&intervals->lock);
        return;
    }
    slot *s = slot_of(intervals->slots[intervals->table], hash);
    bool known = s->at_ns != 0;
    if (known) {
        sx_analysis_add(&intervals->lives, now_ns > s->at_ns ? (now_ns - s->at_ns) / SX_NS_PER_MS : 0);
        if (intervals->lives.count >= KNOWN_MAX) halve_locked(&intervals->lives);
        suggest_locked(intervals, now_ns);
    }
    *s = (slot){hash, now_ns};
    intervals->used += !known;
    while (intervals->used > FILL_MAX) thin_locked(intervals);
    sx_lock_release(&intervals->lock);
}

int64_t sx_intervals_suggested_ms(const strata_namespace *ns) {
    const sx_intervals *intervals = sx_intervals_of(ns);
    return intervals == NULL ? 0 : atomic_load_explicit(&intervals->suggested_ms, memory_order_relaxed); /* relaxed: stands for itself */
}

void sx_intervals_read(const strata_namespace *ns, strata_histogram *out) {
    sx_intervals *intervals = sx_intervals_of(ns);
    if (intervals == NULL) return;
    sx_lock_acquire(&intervals->lock);
    *out = intervals->lives;
    sx_lock_release(&intervals->lock);
}

void sx_intervals_reset(const strata_namespace *ns) {
    sx_intervals *intervals = sx_intervals_of(ns);
    if (intervals == NULL) return;
    sx_lock_acquire(&intervals->lock);
    memset(intervals->slots, 0, sizeof intervals->slots);
    memset(&intervals->lives, 0, sizeof intervals->lives);
    intervals->used = 0;
    atomic_store_explicit(&intervals->level, 0, memory_order_relaxed);        /* relaxed: a hint */
    atomic_store_explicit(&intervals->suggested_ms, 0, memory_order_relaxed); /* relaxed: stands for itself */
    sx_lock_release(&intervals->lock);
}

/* ---- made ------------------------------------------------------------------------------------------------------- */

static sx_intervals *intervals_create(const strata *engine) {
    sx_intervals *intervals = sx_allocate_zero(&engine->alloc, sizeof *intervals);
    if (intervals == NULL || sx_lock_init(&intervals->lock, SX_RANK_ANALYSIS) == STRATA_OK) return intervals;
    sx_release(&engine->alloc, intervals, sizeof *intervals);
    return NULL;
}

bool sx_intervals_make_locked(strata_namespace *ns) {
    if (sx_intervals_of(ns) != NULL) return true;
    sx_intervals *intervals = intervals_create(ns->engine);
    if (intervals == NULL) return false;
    atomic_store_explicit(&ns->intervals, intervals, memory_order_release); /* [order: intervals] publishes it */
    return true;
}

bool sx_intervals_want_locked(strata_namespace *ns, uint32_t who, bool wanted) {
    if (wanted && !sx_intervals_make_locked(ns)) return false;
    sx_intervals *intervals = sx_intervals_of(ns);
    if (intervals == NULL) return true;
    uint32_t before = atomic_load_explicit(&intervals->wanted, memory_order_relaxed); /* relaxed: written under the engine's lock */
    uint32_t after = wanted ? before | who : before & ~who;
    atomic_store_explicit(&intervals->wanted, after, memory_order_relaxed); /* relaxed: a hint */
    if (before == 0 && after != 0) { /* what was missed meanwhile would make lives look long */
        sx_lock_acquire(&intervals->lock);
        memset(intervals->slots, 0, sizeof intervals->slots);
        intervals->used = 0;
        sx_lock_release(&intervals->lock);
    }
    return true;
}

void sx_intervals_destroy(strata_namespace *ns) {
    sx_intervals *intervals = atomic_load_explicit(&ns->intervals, memory_order_relaxed); /* relaxed: nobody else is left */
    if (intervals == NULL) return;
    sx_lock_deinit(&intervals->lock);
    sx_release(&ns->engine->alloc, intervals, sizeof *intervals);
}

/* ---- public ----------------------------------------------------------------------------------------------------- */

int32_t strata_namespace_suggested_ttl(strata_namespace *ns, int64_t *ttl_ms) {
    if (ns == NULL || ttl_ms == NULL) return STRATA_E_INVALID;
    int32_t status = sx_engine_alive(ns->engine);
    if (status != STRATA_OK) return status;
    sx_intervals *intervals = sx_intervals_of(ns);
    int64_t suggested_ms = 0;
    if (intervals != NULL) {
        sx_lock_acquire(&intervals->lock);
        suggested_ms = median_locked(intervals, sx_engine_now(ns->engine));
        sx_lock_release(&intervals->lock);
    }
    if (suggested_ms == 0) return STRATA_MISS;
    *ttl_ms = suggested_ms;
    return STRATA_OK;
}
