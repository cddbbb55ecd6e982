/* SPDX-License-Identifier: Apache-2.0 */
/* How long values live until they are written or invalidated again, as this process sees it, and the time to live which that suggests.
   Included by engine.h. */
#ifndef SX_CORE_FLOW_INTERVALS_H
#define SX_CORE_FLOW_INTERVALS_H

#include "core/flow/engine.h"

/* Who wants it to be observed. */
#define SX_INTERVALS_OF_ANALYSIS 1u
#define SX_INTERVALS_OF_POLICY   2u

typedef struct sx_intervals sx_intervals;

/* Room for it, now or later. False when out of memory. Lock: engine, as for the next */
bool sx_intervals_make_locked(strata_namespace *ns);
/* One more wants it, or one less. False, and nothing has changed, when out of memory. */
bool sx_intervals_want_locked(strata_namespace *ns, uint32_t who, bool wanted);
/* Of a namespace that nobody uses any more. */
void sx_intervals_destroy(strata_namespace *ns);

/* A key was written or invalidated. Any thread. */
void sx_intervals_note_slow(sx_intervals *intervals, uint64_t hash, int64_t now_ns);
/* Intervals that are known; out is left alone where there is nothing. */
void sx_intervals_read(const strata_namespace *ns, strata_histogram *out);
/* Forgets all. */
void sx_intervals_reset(const strata_namespace *ns);
/* What the policy is to use now; 0: nothing is known yet; STRATA_EXPIRES_NEVER. Any thread. */
int64_t sx_intervals_suggested_ms(const strata_namespace *ns);

static inline sx_intervals *sx_intervals_of(const strata_namespace *ns) {
    return atomic_load_explicit(&ns->intervals, memory_order_acquire); /* [order: intervals] observes it as it was made */
}
static inline void sx_intervals_note(const strata_namespace *ns, uint64_t hash, int64_t now_ns) {
    sx_intervals *intervals = sx_intervals_of(ns);
    if (intervals != NULL) sx_intervals_note_slow(intervals, hash, now_ns);
}

#endif
