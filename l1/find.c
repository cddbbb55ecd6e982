/* SPDX-License-Identifier: Apache-2.0 */
/* The hit path: from a hash to an item without a lock, a system call or a write to a shared line that is hot already. */
#include "l1/table.h"

/* Notes a hit. Where one is noted the byte is left alone, so that a hot key's line stays shared by all readers. A plain store:
   a locked instruction would have the next find wait for this one's item. What another thread wrote in between, an age or
   another entry's byte, is overwritten by what it was before: a hint that is wrong once. */
static inline void note_hit(_Atomic uint8_t *policy) {
    uint8_t seen = atomic_load_explicit(policy, memory_order_relaxed); /* relaxed: hint */
    if (SX_LIKELY((seen & SX_L1_HIT) != 0)) return;
    atomic_store_explicit(policy, (uint8_t)(seen | SX_L1_HIT), memory_order_relaxed); /* relaxed: hint */
}

static inline void prefetch_lines(const sx_item *item) {
    const char *line = (const char *)item;
    __builtin_prefetch(line, 0, 3);
    __builtin_prefetch(line + SX_CACHE_LINE, 0, 3);
    __builtin_prefetch(line + 2 * SX_CACHE_LINE, 0, 3);
}

/* The entry at slot i, if it is of this key. */
static inline sx_item *find_at(sx_l1_bucket *bucket, uint32_t i, uint16_t ns, const void *key, size_t size) {
    /* [order: entry-publish] observes the item's bytes */
    sx_item *item = sx_l1_slot_item(atomic_load_explicit(&bucket->slots[i], memory_order_acquire));
    if (SX_UNLIKELY(item == NULL)) return NULL;
    /* The tag is nearly always right: all of a small item is on its way while its first line is waited for. */
    prefetch_lines(item);
    if (!sx_l1_item_is(item, ns, key, size)) return NULL;
    note_hit(&bucket->policy[i]);
    return item;
}

static sx_item *find_in_bucket(sx_l1_bucket *bucket, uint64_t hash, uint16_t ns, const void *key, size_t size) {
    for (uint32_t match = sx_l1_tags_match(bucket, hash); match != 0; match &= match - 1) {
        sx_item *item = find_at(bucket, (uint32_t)__builtin_ctz(match), ns, key, size);
        if (item != NULL) return item;
    }
    return NULL;
}

/* The buckets where an entry may be that is not at home come together. */
static inline void prefetch_others(const sx_l1_group *group, uint32_t home) {
    for (uint32_t i = 1; i < SX_L1_BUCKETS; i++) __builtin_prefetch(&group->buckets[(home + i) % SX_L1_BUCKETS], 0, 3);
}

static uint32_t control_get(sx_l1_group *group, uint32_t bucket) {
    /* [order: group-level] observes what a split or merge moved before it set the level */
    return atomic_load_explicit(&group->buckets[bucket].control, memory_order_acquire);
}

/* The usual case: the group was not split in this round, and the entry is at home, the first with its tag. NULL says nothing. */
static inline sx_item *find_at_home(const sx_l1_root *root, uint64_t hash, uint16_t ns, const void *key, size_t size) {
    uint64_t index = hash & sx_l1_mask(root->base);
    uint32_t home = sx_l1_home(hash);
    sx_l1_group *group = sx_l1_group_at(root, index);
    if (SX_UNLIKELY(!sx_l1_is_here(index, control_get(group, home) & SX_L1_LEVEL_MASK, hash))) return NULL;
    sx_l1_bucket *bucket = &group->buckets[home];
    uint32_t match = sx_l1_tags_match(bucket, hash);
    return SX_LIKELY(match != 0) ? find_at(bucket, (uint32_t)__builtin_ctz(match), ns, key, size) : NULL;
}

/* One look from one root. NULL with *again set: what was seen changed underneath, or this root is too old. */
static sx_item *find_from(const sx_l1_root *root, uint64_t hash, uint16_t ns, const void *key, size_t size, bool *again) {
    uint32_t home = sx_l1_home(hash);
    uint64_t index = hash & sx_l1_mask(root->base);
    *again = false;
    for (;;) {
        sx_l1_group *group = sx_l1_group_at(root, index);
        uint32_t control = control_get(group, home);
        uint32_t level = control & SX_L1_LEVEL_MASK;
        uint64_t next = sx_l1_next_index(index, level, hash);
        if (SX_UNLIKELY(next != index)) {
            *again = next < index || sx_l1_segment_of(next) > root->top;
            if (*again) return NULL;
            index = next;
            continue;
        }
        if ((control & SX_L1_OVERFLOW) != 0) prefetch_others(group, home);
        sx_item *item = find_in_bucket(&group->buckets[home], hash, ns, key, size);
        for (uint32_t i = 1; item == NULL && (control & SX_L1_OVERFLOW) != 0 && i < SX_L1_BUCKETS; i++) {
            item = find_in_bucket(&group->buckets[(home + i) % SX_L1_BUCKETS], hash, ns, key, size);
        }
        /* It may have been brought home while the others were read: it came there before it left them. */
        if (item == NULL && (control & SX_L1_OVERFLOW) != 0)
            item = find_in_bucket(&group->buckets[home], hash, ns, key, size);
        if (item != NULL) return item;
        /* A split or merge may have moved the entry while its slots were read: it set the level before it emptied them. */
        if (SX_LIKELY((control_get(group, home) & SX_L1_LEVEL_MASK) == level)) return NULL;
    }
}

static __attribute__((noinline)) sx_item *find_anywhere(sx_l1 *l1, const sx_l1_root *root, uint64_t hash, uint16_t ns,
                                                        const void *key, size_t size) {
    for (;;) {
        bool again;
        sx_item *item = find_from(root, hash, ns, key, size, &again);
        if (item != NULL) return item;
        /* The level is the same as before also after a split and a merge: those have different roots. */
        const sx_l1_root *present = sx_l1_root_get(l1);
        if (!again && present == root) return NULL;
        root = present;
    }
}

static inline sx_item *find(sx_l1 *l1, uint64_t hash, uint16_t ns, const void *key, size_t size) {
    const sx_l1_root *root = sx_l1_root_get(l1);
    sx_item *item = find_at_home(root, hash, ns, key, size);
    return SX_LIKELY(item != NULL) ? item : find_anywhere(l1, root, hash, ns, key, size);
}

/* Comparing is a call here, around which registers are saved. */
static __attribute__((noinline)) sx_item *find_by_call(sx_l1 *l1, uint64_t hash, uint16_t ns, const void *key, size_t size) {
    return find(l1, hash, ns, key, size);
}

sx_item *sx_l1_find_pinned(sx_l1 *l1, uint64_t hash, uint16_t ns, const void *key, size_t size) {
    return SX_LIKELY(sx_l1_key_is_short(size)) ? find(l1, hash, ns, key, size) : find_by_call(l1, hash, ns, key, size);
}

void sx_l1_prefetch(const sx_l1 *l1, uint64_t hash) {
    const sx_l1_root *root = sx_l1_root_get(l1);
    __builtin_prefetch(&sx_l1_group_at(root, hash & sx_l1_mask(root->base))->buckets[sx_l1_home(hash)], 0, 3);
}

/* Follows the group's level, so that what a round of splits has moved is found; an entry that is not at home has its bucket
   asked for only. */
void sx_l1_prefetch_item(const sx_l1 *l1, uint64_t hash) {
    const sx_l1_root *root = sx_l1_root_get(l1);
    uint64_t index = hash & sx_l1_mask(root->base);
    uint32_t home = sx_l1_home(hash);
    uint64_t next = sx_l1_next_index(index, control_get(sx_l1_group_at(root, index), home) & SX_L1_LEVEL_MASK, hash);
    if (next > index && sx_l1_segment_of(next) <= root->top) index = next;
    sx_l1_group *group = sx_l1_group_at(root, index);
    sx_l1_bucket *bucket = &group->buckets[home];
    uint32_t match = sx_l1_tags_match(bucket, hash);
    if (match == 0) {
        if ((control_get(group, home) & SX_L1_OVERFLOW) != 0) prefetch_others(group, home);
        return;
    }
    /* relaxed: not followed */
    prefetch_lines(sx_l1_slot_item(atomic_load_explicit(&bucket->slots[__builtin_ctz(match)], memory_order_relaxed)));
}
