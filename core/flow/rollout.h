/* SPDX-License-Identifier: Apache-2.0 */
/* Which keys of a namespace use which tier: one word that is 0 where all use both. Included by engine.h. */
#ifndef SX_CORE_FLOW_ROLLOUT_H
#define SX_CORE_FLOW_ROLLOUT_H

#include "core/flow/engine.h"

/* In strata_namespace.without: of SX_ROLLOUT_ALL keys, so many are without the tier. */
#define SX_ROLLOUT_ALL 10000u
#define SX_ROLLOUT_BITS 14
#define SX_ROLLOUT_MASK ((1u << SX_ROLLOUT_BITS) - 1)

/* Whether the key is one of those. */
bool sx_rollout_is_out(uint32_t without, const void *key, size_t key_size);

static inline bool sx_rollout_l1(const strata_namespace *ns, const void *key, size_t key_size) {
    uint32_t without = atomic_load_explicit(&ns->without, memory_order_relaxed) & SX_ROLLOUT_MASK; /* relaxed: a number that stands for itself */
    return SX_LIKELY(without == 0) || !sx_rollout_is_out(without, key, key_size);
}
static inline bool sx_rollout_l2(const strata_namespace *ns, const void *key, size_t key_size) {
    uint32_t without = atomic_load_explicit(&ns->without, memory_order_relaxed) >> SX_ROLLOUT_BITS & SX_ROLLOUT_MASK; /* relaxed: as above */
    return SX_LIKELY(without == 0) || !sx_rollout_is_out(without, key, key_size);
}

/* What options and namespace say, as one word. Lock: engine */
void sx_rollout_apply_locked(strata_namespace *ns);

#endif
