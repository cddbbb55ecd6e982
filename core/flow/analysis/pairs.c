/* SPDX-License-Identifier: Apache-2.0 */
/* Access pairs: what a key is followed by, for the keys that are read most. */
#include <string.h>

#include "core/flow/analysis/analysis.h"

/* The latest reads say more than all there ever were. */
static void halve(sx_first *first) {
    first->seen /= 2;
    for (uint32_t i = 0; i < SX_SUCCESSORS; i++) {
        first->next[i].count /= 2;
        first->next[i].error = (first->next[i].error + 1) / 2;
    }
}

void sx_pairs_first_locked(sx_analysis *analysis, uint64_t hash, strata_bytes key) {
    assert(sx_lock_is_held(&analysis->lock));
    bool fresh;
    sx_first *first = &analysis->first_keys[sx_sketch_add(&analysis->firsts, hash, &fresh)];
    if (fresh) {
        memset(first, 0, sizeof *first);
        sx_seen_key_set(&first->key, key.data, key.size);
    }
    if (++first->seen >= SX_FIRST_SEEN_MAX) halve(first);
}

void sx_pairs_next_locked(sx_analysis *analysis, uint64_t first_hash, strata_namespace *ns, uint64_t hash, strata_bytes key) {
    assert(sx_lock_is_held(&analysis->lock));
    uint32_t place = sx_sketch_find(&analysis->firsts, first_hash);
    if (place == SX_SKETCH_NONE) return; /* another took its place meanwhile */
    sx_successor *next = analysis->first_keys[place].next, *least = next;
    for (uint32_t i = 0; i < SX_SUCCESSORS; i++) {
        if (next[i].count != 0 && next[i].hash == hash) {
            next[i].count++;
            /* relaxed: a hint */
            atomic_store_explicit(&analysis->leads[first_hash & (analysis->leads_count - 1)], (uint32_t)(first_hash >> 32), memory_order_relaxed);
            return;
        }
        if (next[i].count < least->count) least = &next[i];
    }
    least->hash = hash;
    least->ns = ns;
    least->error = least->count++; /* as in a sketch */
    sx_seen_key_set(&least->key, key.data, key.size);
}
