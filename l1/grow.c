/* SPDX-License-Identifier: Apache-2.0 */
/* More groups and fewer: one group at a time is split in two or merged from two, and finds are never held up. */
#include "l1/table.h"

/* A table at rest has 2^base groups, all of level base: group i holds the hashes whose lowest base bits are i. A round of
   splits adds a segment of as many groups again; group i gives the entries whose next bit is set to group i + 2^base,
   and both have level base + 1 from then on. When all are split, base is one more. A round of merges is the way back:
   first base is one less while all groups have level base + 1, then pairs are merged, then the upper segment is retired.

   A round of splits lasts as long as the table needs to double. Groups are split when they are full, out of turn, and in
   turn as far as the average load asks for it: so the table has between 10 and 16 entries a group, whatever their number,
   and the upper segment costs what of it is in use, for pages that were never touched are not there.

   Roots name base and segments, and change only under the round latch. A round of splits may be turned into one of
   merges, never the other way: so no group of a segment lives twice, and the level of a group together with the root
   tells a find whether anything moved. */

#define FULL_SWEEP 64u /* a full group in a round that is late may finish it */
#define PAGE_BYTES 4096u
#define LAZY_BYTES_MIN (128 * 1024) /* segments from here on are pages that come when they are touched */

/* Roots and segments. */
static void release_root(void *memory) {
    sx_l1_root *root = memory;
    sx_heap *heap = root->heap;
    sx_release(&heap->alloc, root, sizeof *root);
    sx_heap_release(heap);
}

static void release_segment(void *memory) {
    sx_l1_segment *segment = memory;
    sx_heap *heap = segment->heap;
    sx_release(&heap->alloc, segment->groups, segment->size);
    sx_release(&heap->alloc, segment, sizeof *segment);
    sx_heap_release(heap);
}

static sx_l1_root *root_copy(const sx_l1_root *from, sx_heap *heap) {
    sx_l1_root *root = sx_allocate(&heap->alloc, sizeof *root);
    if (root == NULL) return NULL;
    *root = *from;
    sx_heap_retain(heap);
    root->heap = heap;
    return root;
}

static uint64_t segment_first(uint32_t level) { return level == 0 ? 0 : UINT64_C(1) << (level - 1); }
static uint64_t segment_groups(uint32_t level) { return level == 0 ? 1 : UINT64_C(1) << (level - 1); }
static size_t segment_size(uint32_t level) {
    return (size_t)segment_groups(level) * sizeof(sx_l1_group);
}

/* Groups are not touched: a split makes each before anybody can see it. */
static sx_l1_segment *segment_create(sx_heap *heap, uint32_t level) {
    const sx_alloc *alloc = &heap->alloc;
    sx_l1_segment *segment = sx_allocate(alloc, sizeof *segment);
    if (segment == NULL) return NULL;
    segment->size = segment_size(level);
    segment->groups = alloc->allocate(alloc->context, segment->size, SX_CACHE_LINE);
    /* Finds load pairs of slots by vectors that must be aligned; a program's allocator was asked for it. */
    if (segment->groups == NULL || ((uintptr_t)segment->groups & (SX_CACHE_LINE - 1)) != 0) {
        sx_release(alloc, segment->groups, segment->size);
        sx_release(alloc, segment, sizeof *segment);
        return NULL;
    }
    /* Pages of 2 MB would come whole with the first group that is split into them. */
    if (segment->size >= LAZY_BYTES_MIN) sx_alloc_arena_sparse(alloc, segment->groups, segment->size, true);
    sx_heap_retain(heap);
    segment->heap = heap;
    segment->bytes = alloc->usable(alloc->context, segment->size) + alloc->usable(alloc->context, sizeof *segment);
    return segment;
}

static void segment_name(sx_l1_root *root, sx_l1_segment *segment, uint32_t level) {
    root->segments[level] = segment;
    root->biased[level] = (uintptr_t)segment->groups - (uintptr_t)segment_first(level) * sizeof(sx_l1_group);
}

/* The sum of index_bytes; of the top segment, what is touched while a round of splits is under way. */
static void count_index(sx_l1 *l1, int64_t bytes) {
    atomic_fetch_add_explicit(&l1->index_bytes, bytes, memory_order_relaxed); /* relaxed: a sum */
}

/* An empty group that nobody can see yet. */
static void group_init(sx_l1_group *group, uint64_t index, uint32_t level, uint8_t latch) {
    for (uint32_t b = 0; b < SX_L1_BUCKETS; b++) {
        for (uint32_t i = 0; i < SX_L1_SLOTS; i++) atomic_init(&group->buckets[b].slots[i], 0);
        for (uint32_t i = 0; i < SX_L1_SLOTS; i++) atomic_init(&group->buckets[b].policy[i], 0);
        atomic_init(&group->buckets[b].control, (uint8_t)level);
    }
    memset(group->ghosts, 0, sizeof group->ghosts);
    atomic_init(&group->due, SX_L1_DUE_NEVER);
    atomic_init(&group->latch, latch);
    group->cursor = 0;
    group->tick = 0;
    group->books = sx_l1_books_new(index);
}

int32_t sx_l1_root_create(sx_l1 *l1) {
    sx_l1_segment *segment = segment_create(l1->heap, 0);
    if (segment == NULL) return STRATA_E_NOMEM;
    sx_l1_root first = {.base = 0, .top = 0, .merging = false};
    segment_name(&first, segment, 0);
    sx_l1_root *root = root_copy(&first, l1->heap);
    if (root == NULL) {
        release_segment(segment);
        return STRATA_E_NOMEM;
    }
    group_init(sx_l1_group_at(root, 0), 0, 0, 0);
    count_index(l1, (int64_t)segment->bytes);
    atomic_init(&l1->root, root);
    return STRATA_OK;
}

static void release_items(sx_l1_group *group) {
    for (uint32_t position = 0; position < SX_L1_POSITIONS; position++) {
        sx_item *item = sx_l1_slot_item(sx_l1_slot_get_locked(group, position));
        if (item != NULL) sx_item_release(item);
    }
}

void sx_l1_root_destroy(sx_l1 *l1) {
    sx_l1_root *root = sx_l1_root_get(l1);
    for (uint64_t index = 0; index <= sx_l1_mask(root->base); index++) {
        sx_l1_group *group = sx_l1_group_at(root, index);
        release_items(group);
        if (sx_l1_level_locked(group) > root->base) release_items(sx_l1_group_at(root, index + (UINT64_C(1) << root->base)));
    }
    for (uint32_t level = 0; level <= root->top; level++) release_segment(root->segments[level]);
    release_root(root);
}

/* The round latch is held. Publishes the next root and retires the present one; false when out of memory. */
static bool root_change_locked(sx_l1 *l1, sx_epoch_record *record, uint32_t base, uint32_t top, bool merging,
                               sx_l1_segment *segment) {
    sx_l1_root *present = sx_l1_root_get(l1);
    sx_l1_root *next = root_copy(present, l1->heap);
    if (next == NULL) return false;
    next->base = base;
    next->top = top;
    next->merging = merging;
    if (segment != NULL) segment_name(next, segment, top);
    l1->sweep = 0;
    l1->sweep_wanted = 0;
    l1->splits = 0;
    /* [order: root-swap] publishes the root's contents */
    atomic_store_explicit(&l1->root, next, memory_order_release);
    sx_epoch_retire(record, present, sizeof *present, release_root);
    return true;
}

/* The round latch is held. More of the top segment is in use, up to all of it. */
static void count_top_locked(sx_l1 *l1, const sx_l1_root *root, size_t bytes) {
    size_t left = root->segments[root->top]->bytes - l1->counted;
    if (bytes > left) bytes = left;
    l1->counted += bytes;
    count_index(l1, (int64_t)bytes);
}

/* As many groups as the entries that the budget will hold can fill, as large as entries are now. Beyond that more groups
   would make eviction worse, and a full group evicts. */
static uint64_t groups_max(const sx_l1 *l1) {
    double entries = (double)sx_l1_entries(l1);
    double live = (double)sx_l1_live(l1);
    if (entries < SX_L1_POSITIONS || live <= 0) return UINT64_MAX;
    double all = (double)sx_l1_live_max(l1) / live * entries / SX_L1_LOAD_FULL;
    return all < 2 ? 1 : (uint64_t)all;
}

/* Splits and merges. */
static void split(sx_l1 *l1, const sx_l1_root *root, uint64_t index) {
    sx_l1_group *low = sx_l1_group_at(root, index);
    sx_l1_latch_acquire(&low->latch);
    if (sx_l1_level_locked(low) != root->base) {
        sx_l1_latch_release(&low->latch);
        return;
    }
    l1->splits++;
    uint64_t above = index + (UINT64_C(1) << root->base);
    sx_l1_group *high = sx_l1_group_at(root, above);
    group_init(high, above, root->top, 1);
    uint32_t moved = 0;
    for (uint32_t position = 0; position < SX_L1_POSITIONS; position++) {
        __builtin_prefetch(sx_l1_slot_item(sx_l1_slot_get_locked(low, position)));
    }
    for (uint32_t position = 0; position < SX_L1_POSITIONS; position++) {
        uint64_t slot = sx_l1_slot_get_locked(low, position);
        if (slot == 0 || (sx_l1_item_hash(l1, sx_l1_slot_item(slot)) >> root->base & 1u) == 0) continue;
        moved |= 1u << position;
        sx_l1_place_locked(high, position, slot, sx_l1_policy_get(low, position), sx_l1_rank_get_locked(low, position));
    }
    memcpy(high->ghosts, low->ghosts, sizeof high->ghosts);
    high->cursor = low->cursor;
    high->tick = low->tick;
    high->books = (uint8_t)((high->books & SX_L1_LEADS) | (low->books & SX_L1_BY_QUEUES));
    /* relaxed: written under both latches, a hint for the crawl */
    atomic_store_explicit(&high->due, atomic_load_explicit(&low->due, memory_order_relaxed), memory_order_relaxed);
    for (uint32_t bucket = 0; bucket < SX_L1_BUCKETS; bucket++) {
        uint32_t overflow = sx_l1_control_get_locked(low, bucket) & SX_L1_OVERFLOW;
        sx_l1_control_set_locked(low, bucket, root->top | overflow);
    }
    /* The upper half stays latched until no slot of the lower one names its entries: else one could be freed there. */
    for (uint32_t position = 0; position < SX_L1_POSITIONS; position++) {
        if ((moved >> position & 1u) != 0) sx_l1_slot_set_locked(low, position, 0);
    }
    sx_l1_overflow_locked(low);
    sx_l1_latch_release(&high->latch);
    sx_l1_latch_release(&low->latch);
}

static void merge(sx_l1 *l1, sx_epoch_record *record, const sx_l1_root *root, uint64_t index) {
    sx_l1_shard *shard = sx_l1_shard_of(l1, record);
    sx_l1_harvest harvest;
    harvest.count = 0;
    sx_l1_group *low = sx_l1_group_at(root, index);
    sx_l1_latch_acquire(&low->latch);
    if (sx_l1_level_locked(low) != root->top) {
        sx_l1_latch_release(&low->latch);
        return;
    }
    sx_l1_group *high = sx_l1_group_at(root, index + (UINT64_C(1) << root->base));
    sx_l1_latch_acquire(&high->latch);
    bool by_queues = sx_l1_by_queues(sx_l1_policy_of(l1));
    while (sx_l1_count_locked(low) + sx_l1_count_locked(high) > SX_L1_POSITIONS) {
        bool from_low = sx_l1_count_locked(low) > sx_l1_count_locked(high);
        (void)sx_l1_evict_locked(l1, shard, from_low ? low : high, SX_L1_RANK_HIGH, 0, &harvest);
    }
    sx_l1_settle_locked(low, by_queues);
    sx_l1_settle_locked(high, by_queues);
    for (uint32_t position = 0; position < SX_L1_POSITIONS; position++) {
        uint64_t slot = sx_l1_slot_get_locked(high, position);
        if (slot == 0) continue;
        sx_l1_place_locked(low, sx_l1_free_position_locked(low, sx_l1_home(slot)), slot,
                           sx_l1_policy_get(high, position), sx_l1_rank_get_locked(high, position));
    }
    uint32_t due = atomic_load_explicit(&high->due, memory_order_relaxed); /* relaxed: written under the latch */
    if (due < atomic_load_explicit(&low->due, memory_order_relaxed)) {     /* relaxed: as above */
        atomic_store_explicit(&low->due, due, memory_order_relaxed);       /* relaxed: a hint for the crawl */
    }
    for (uint32_t bucket = 0; bucket < SX_L1_BUCKETS; bucket++) {
        uint32_t overflow = sx_l1_control_get_locked(low, bucket) & SX_L1_OVERFLOW;
        sx_l1_control_set_locked(low, bucket, root->base | overflow);
    }
    for (uint32_t bucket = 0; bucket < SX_L1_BUCKETS; bucket++) sx_l1_control_set_locked(high, bucket, root->base);
    for (uint32_t position = 0; position < SX_L1_POSITIONS; position++) sx_l1_slot_set_locked(high, position, 0);
    sx_l1_latch_release(&high->latch);
    sx_l1_latch_release(&low->latch);
    sx_l1_retire(l1, record, &harvest);
}

/* Rounds. The round latch is held in what follows. */
static bool round_open_splits_locked(sx_l1 *l1, sx_epoch_record *record, const sx_l1_root *root) {
    uint32_t top = root->base + 1;
    if (top >= SX_L1_LEVELS || UINT64_C(1) << root->base >= groups_max(l1)) return false;
    /* No round at the price of entries: near the limit full groups evict instead. */
    int64_t least = (int64_t)segment_size(top) < LAZY_BYTES_MIN ? (int64_t)segment_size(top) : 0;
    if (least + sx_l1_growth_min(l1) + sx_l1_live(l1) > sx_l1_live_max(l1)) return false;
    sx_l1_segment *segment = segment_create(l1->heap, top);
    if (segment == NULL) return false;
    if (root_change_locked(l1, record, root->base, top, false, segment)) {
        l1->counted = 0;
        if (segment->size < LAZY_BYTES_MIN) count_top_locked(l1, sx_l1_root_get(l1), SIZE_MAX);
        return true;
    }
    release_segment(segment);
    return false;
}

static void round_close_locked(sx_l1 *l1, sx_epoch_record *record, const sx_l1_root *root) {
    atomic_store_explicit(&l1->sweeping, false, memory_order_relaxed); /* relaxed: hint */
    if (!root->merging) {
        const sx_l1_segment *full = root->segments[root->top];
        if (full->size >= LAZY_BYTES_MIN) sx_alloc_arena_sparse(&l1->heap->alloc, full->groups, full->size, false);
        if (root_change_locked(l1, record, root->top, root->top, false, NULL)) count_top_locked(l1, root, SIZE_MAX);
        return;
    }
    sx_l1_segment *segment = root->segments[root->top];
    if (!root_change_locked(l1, record, root->base, root->base, false, NULL)) return;
    count_index(l1, -(int64_t)l1->counted);
    sx_epoch_retire(record, segment, l1->counted, release_segment);
}

/* Does at most groups of the present round, and ends it after its last. */
static void round_advance_locked(sx_l1 *l1, sx_epoch_record *record, uint64_t groups) {
    const sx_l1_root *root = sx_l1_root_get(l1);
    if (root->top == root->base) return;
    uint64_t end = UINT64_C(1) << root->base;
    for (; groups > 0 && l1->sweep < end; groups--, l1->sweep++) {
        if (root->merging) {
            merge(l1, record, root, l1->sweep);
        } else {
            split(l1, root, l1->sweep);
            count_top_locked(l1, root, sizeof(sx_l1_group));
        }
    }
    if (l1->sweep == end) round_close_locked(l1, record, root);
}

/* How many groups of the present round should be done by now. */
static uint64_t round_wanted_locked(const sx_l1 *l1, const sx_l1_root *root) {
    uint64_t all = UINT64_C(1) << root->base;
    if (root->merging) return all;
    uint64_t entries = (uint64_t)sx_l1_entries(l1);
    uint64_t wanted = entries <= all * SX_L1_LOAD_MAX
                          ? 0
                          : (entries - all * SX_L1_LOAD_MAX) / (SX_L1_LOAD_END - SX_L1_LOAD_MAX) + 1;
    if (wanted < l1->sweep_wanted) wanted = l1->sweep_wanted;
    uint64_t most = groups_max(l1);
    /* Nor at the price of entries: at the limit, where entries become smaller, full groups evict until there is room. */
    bool none = all + l1->splits >= most || sx_l1_live(l1) + sx_l1_growth_min(l1) > sx_l1_live_max(l1);
    if (none && wanted > l1->sweep) wanted = l1->sweep;
    return wanted < all ? wanted : all;
}

/* Does at most groups of what is wanted; returns whether more is. */
static bool round_follow_locked(sx_l1 *l1, sx_epoch_record *record, uint64_t groups) {
    const sx_l1_root *root = sx_l1_root_get(l1);
    uint64_t wanted = root->top == root->base ? 0 : round_wanted_locked(l1, root);
    uint64_t missing = wanted > l1->sweep ? wanted - l1->sweep : 0;
    bool done = root->top != root->base && l1->sweep == UINT64_C(1) << root->base; /* but for memory to say so */
    if (missing != 0 || done) round_advance_locked(l1, record, missing < groups ? missing : groups);
    return missing > groups;
}

bool sx_l1_make_room(sx_l1 *l1, sx_epoch_record *record, uint64_t hash) {
    sx_l1_latch_acquire(&l1->round_latch);
    const sx_l1_root *root = sx_l1_root_get(l1);
    bool changed = false;
    if (root->top != root->base) {
        uint64_t index = hash & sx_l1_mask(root->base);
        sx_l1_group *low = sx_l1_group_at(root, index);
        sx_l1_latch_acquire(&low->latch);
        bool whole = sx_l1_level_locked(low) == root->base;
        sx_l1_latch_release(&low->latch);
        if (!root->merging && (UINT64_C(1) << root->base) + l1->splits >= groups_max(l1)) {
            changed = false;
        } else if (whole && !root->merging) {
            split(l1, root, index);
            count_top_locked(l1, root, PAGE_BYTES);
            changed = true;
        } else {
            /* Full although split in this round, or about to be merged: the round had better end. */
            l1->sweep_wanted = UINT64_C(1) << root->base;
            atomic_store_explicit(&l1->sweeping, true, memory_order_relaxed); /* relaxed: hint */
            (void)round_follow_locked(l1, record, FULL_SWEEP);
            changed = true;
        }
    } else {
        changed = round_open_splits_locked(l1, record, root);
    }
    sx_l1_latch_release(&l1->round_latch);
    return changed;
}

void sx_l1_help(sx_l1 *l1, sx_epoch_record *record, uint64_t groups) {
    if (!sx_l1_latch_try(&l1->round_latch)) return;
    const sx_l1_root *root = sx_l1_root_get(l1);
    bool round = root->top != root->base || round_open_splits_locked(l1, record, root);
    if (!round || !round_follow_locked(l1, record, groups)) {
        atomic_store_explicit(&l1->sweeping, false, memory_order_relaxed); /* relaxed: hint */
    }
    sx_l1_latch_release(&l1->round_latch);
}

/* More groups than the entries fill, or than the budget can bear. */
static bool too_many_groups(const sx_l1 *l1, const sx_l1_root *root) {
    return sx_l1_entries(l1) < (INT64_C(1) << root->base) * (int64_t)SX_L1_LOAD_MIN ||
           sx_l1_index_bytes(l1) > sx_l1_bytes_max(l1) / 2;
}

bool sx_l1_balance_on_keeper(sx_l1 *l1, sx_epoch_record *record, uint64_t groups) {
    sx_l1_latch_acquire(&l1->round_latch);
    const sx_l1_root *root = sx_l1_root_get(l1);
    bool few = too_many_groups(l1, root);
    if (!root->merging && few && root->top != root->base) {
        (void)root_change_locked(l1, record, root->base, root->top, true, NULL);
    } else if (few && root->top == root->base && root->base > 0) {
        if (root_change_locked(l1, record, root->base - 1, root->base, true, NULL))
            l1->counted = root->segments[root->base]->bytes;
    } else if (root->top == root->base &&
               sx_l1_entries(l1) > (INT64_C(1) << root->base) * (int64_t)SX_L1_LOAD_MAX) {
        (void)round_open_splits_locked(l1, record, root);
    }
    bool more = round_follow_locked(l1, record, groups);
    /* One level after the other, without a rest between them. */
    root = sx_l1_root_get(l1);
    more = more || (root->base > 0 && too_many_groups(l1, root));
    sx_l1_latch_release(&l1->round_latch);
    return more;
}
