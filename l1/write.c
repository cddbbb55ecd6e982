/* SPDX-License-Identifier: Apache-2.0 */
/* Entries in and out: put and remove, each under the latch of one group. */
#include "l1/glance.h"

#define OWN_VICTIMS_MAX 4u /* a put evicts so many of its own group before the hand goes elsewhere */
#define TRIES_MAX 8u       /* a put asks so often for room in a full group before it evicts */
#define COUNT_EVERY 32     /* a shard looks at the table's load once in so many insertions */
#define RECLAIM_EVERY 64   /* ... and frees what may be freed once in so many insertions, and in so many replacements */

/* What is told is the difference to what was told before, whoever comes first: the total is the sum of what they told. */
static void tell(sx_l1 *l1, sx_l1_shard *shard, int64_t bytes) {
    int64_t apart = bytes - atomic_load_explicit(&shard->told, memory_order_relaxed); /* relaxed: sum */
    int64_t portion = sx_l1_portion(l1);
    if (apart < portion && apart > -portion) return;
    int64_t told = atomic_exchange_explicit(&shard->told, bytes, memory_order_relaxed);  /* relaxed: sum */
    atomic_fetch_add_explicit(&l1->live, bytes - told, memory_order_relaxed);            /* relaxed: sum */
}

void sx_l1_tell(sx_l1 *l1, sx_l1_shard *shard) { tell(l1, shard, sx_counter_read(&shard->bytes)); }

void sx_l1_account(sx_l1 *l1, sx_l1_shard *shard, int64_t bytes) {
    tell(l1, shard, sx_l1_count(l1, shard, &shard->bytes, bytes));
}

int64_t sx_l1_entries(const sx_l1 *l1) {
    int64_t entries = 0;
    for (uint32_t i = 0, used = sx_l1_shards_used(l1); i < used; i++) {
        const sx_l1_shard *shard = &l1->shards[i];
        entries += sx_counter_read(&shard->inserts) - sx_counter_read(&shard->evictions) -
                   sx_counter_read(&shard->expirations) - sx_counter_read(&shard->removals) -
                   sx_counter_read(&shard->outdated);
    }
    return entries > 0 ? entries : 0; /* shards are read one after the other */
}

/* Who overwrites has another quarter, for a refusal costs an entry in use. */
bool sx_l1_refuses_new(const sx_l1 *l1) {
    return (int64_t)sx_epoch_retired_hint(l1->epoch) > sx_l1_retired_max(l1) / 4 * 3;
}

bool sx_l1_is_nearly_full(const sx_l1 *l1) { return sx_l1_live(l1) >= sx_l1_live_max(l1) / 8 * 7; }

/* The table's reference, when no pin can see the item any more; one thread at a time. Keys and values are counted off here,
   where the item's line is asked for ahead, not where it was evicted, cold. */
static void release_item(void *memory) {
    sx_item *item = memory;
    sx_heap *heap = sx_item_heap(item);
    sx_heap_count_freed(heap, sx_l1_item_payload(item));
    if (heap->ledger != NULL) heap->ledger->left(heap->ledger, item);
    sx_item_release(item);
}

static void harvest_add(sx_l1_harvest *harvest, sx_item *item, size_t footprint) {
    assert(harvest->count < sizeof harvest->items / sizeof harvest->items[0]);
    harvest->items[harvest->count] = item;
    harvest->why[harvest->count] = SX_L1_WANTED_SO;
    harvest->footprints[harvest->count++] = footprint;
}

void sx_l1_watch_left(sx_l1 *l1, sx_l1_left_fn left, void *context) {
    l1->left = left;
    l1->left_context = context;
}

void sx_l1_tell_left(sx_l1 *l1, bool tell) {
    atomic_store_explicit(&l1->telling, tell && l1->left != NULL, memory_order_relaxed); /* relaxed: who sees it late tells late */
}

/* The table's reference is still there. */
static void tell_left(const sx_l1 *l1, const sx_epoch_record *record, const sx_l1_harvest *harvest) {
    for (uint32_t i = 0; i < harvest->count; i++) {
        const sx_item *item = harvest->items[i];
        if (harvest->why[i] == SX_L1_WANTED_SO) continue;
        l1->left(l1->left_context, record, item, sx_l1_item_hash(l1, item), harvest->footprints[i], harvest->why[i] == SX_L1_EXPIRED);
    }
}

void sx_l1_retire(sx_l1 *l1, sx_epoch_record *record, sx_l1_harvest *harvest) {
    if (SX_UNLIKELY(atomic_load_explicit(&l1->telling, memory_order_relaxed))) tell_left(l1, record, harvest); /* relaxed: as above */
    for (uint32_t i = 0; i < harvest->count; i++) {
        sx_epoch_retire(record, harvest->items[i], harvest->footprints[i], release_item);
    }
    harvest->count = 0;
}

sx_l1_group *sx_l1_group_lock(sx_l1 *l1, uint64_t hash) {
    for (;;) {
        const sx_l1_root *root = sx_l1_root_get(l1);
        uint64_t index = hash & sx_l1_mask(root->base);
        for (;;) {
            sx_l1_group *group = sx_l1_group_at(root, index);
            /* Two lines are needed, the latch's and the key's: they come together. */
            __builtin_prefetch(&group->buckets[sx_l1_home(hash)], 1, 3);
            sx_l1_latch_acquire(&group->latch);
            uint32_t level = sx_l1_level_locked(group);
            uint64_t next = sx_l1_next_index(index, level, hash);
            if (next == index) return group;
            sx_l1_latch_release(&group->latch);
            /* Merged, or split by a later round than this root knows: look again from the present root. */
            if (next < index || sx_l1_segment_of(next) > root->top) break;
            index = next;
        }
    }
}

uint32_t sx_l1_free_position_locked(sx_l1_group *group, uint32_t home) {
    uint32_t free = ~sx_l1_taken_locked(group) & SX_L1_LANES_ALL;
    if (free == 0) return SX_L1_POSITIONS;
    uint32_t turned = free >> (home * 8u) | (uint32_t)((uint64_t)free << (32u - home * 8u)); /* home's come first */
    return sx_l1_lane_position(((uint32_t)__builtin_ctz(turned) + home * 8u) % SX_L1_LANES);
}

/* Entries that are at home in this bucket and live in others, a bit each. */
static uint32_t away_locked(sx_l1_group *group, uint32_t bucket) {
    return sx_l1_homes_locked(group, bucket) & ~(255u << (bucket * 8u));
}

void sx_l1_place_locked(sx_l1_group *group, uint32_t position, uint64_t slot, uint8_t policy, sx_l1_rank rank) {
    assert(sx_l1_is_latched(group));
    uint32_t home = sx_l1_home(slot);
    if (position / SX_L1_SLOTS != home) {
        uint32_t control = sx_l1_control_get_locked(group, home);
        if ((control & SX_L1_OVERFLOW) == 0) sx_l1_control_set_locked(group, home, control | SX_L1_OVERFLOW);
    }
    sx_l1_policy_set(group, position, policy);
    sx_l1_rank_set_locked(group, position, rank);
    sx_l1_slot_set_locked(group, position, slot);
}

void sx_l1_overflow_locked(sx_l1_group *group) {
    for (uint32_t bucket = 0; bucket < SX_L1_BUCKETS; bucket++) {
        uint32_t control = sx_l1_control_get_locked(group, bucket);
        uint32_t wanted = (control & SX_L1_LEVEL_MASK) | (away_locked(group, bucket) != 0 ? SX_L1_OVERFLOW : 0);
        if (control != wanted) sx_l1_control_set_locked(group, bucket, wanted);
    }
}

/* A free position for an entry of this home, beginning with one that is free: where that is in another bucket, an entry that is
   at home there moves to it, and leaves its own, until the free one is at home or nobody wants it. Hits at home read one line of the
   group, others two or more. Who is moved is for a moment in both places; finds look at home again before they give up. */
static uint32_t bring_home_locked(sx_l1_group *group, uint32_t position, uint32_t home) {
    bool moved = false;
    uint32_t away;
    while (position / SX_L1_SLOTS != home && (away = away_locked(group, position / SX_L1_SLOTS)) != 0) {
        uint32_t wanted = away & 255u << (home * 8u); /* who makes room at home is moved first */
        uint32_t from = sx_l1_lane_position((uint32_t)__builtin_ctz(wanted != 0 ? wanted : away));
        uint64_t slot = sx_l1_slot_get_locked(group, from);
        sx_l1_policy_set(group, position, sx_l1_policy_get(group, from));
        sx_l1_rank_set_locked(group, position, sx_l1_rank_get_locked(group, from));
        sx_l1_slot_set_locked(group, position, slot);
        sx_l1_slot_set_locked(group, from, 0);
        position = from;
        moved = true;
    }
    if (moved) sx_l1_overflow_locked(group);
    return position;
}

void sx_l1_clear_locked(sx_l1_group *group, uint32_t position) {
    assert(sx_l1_is_latched(group));
    uint64_t slot = sx_l1_slot_get_locked(group, position);
    sx_l1_slot_set_locked(group, position, 0);
    if (sx_l1_home(slot) != position / SX_L1_SLOTS) sx_l1_overflow_locked(group);
}

int64_t sx_l1_take_locked(sx_l1 *l1, sx_l1_shard *shard, sx_l1_group *group, uint32_t position, sx_l1_harvest *harvest) {
    uint64_t slot = sx_l1_slot_get_locked(group, position);
    size_t footprint = sx_l1_slot_footprint(slot);
    sx_l1_clear_locked(group, position);
    sx_l1_account(l1, shard, -(int64_t)footprint);
    harvest_add(harvest, sx_l1_slot_item(slot), footprint);
    return (int64_t)footprint;
}

/* The key's position, or SX_L1_POSITIONS. */
static uint32_t position_locked(sx_l1_group *group, uint64_t hash, uint16_t ns, const void *key, size_t size) {
    uint32_t home = sx_l1_home(hash);
    bool overflow = (sx_l1_control_get_locked(group, home) & SX_L1_OVERFLOW) != 0;
    for (uint32_t b = 0; b < (overflow ? SX_L1_BUCKETS : 1); b++) {
        sx_l1_bucket *bucket = &group->buckets[(home + b) % SX_L1_BUCKETS];
        for (uint32_t match = sx_l1_tags_match(bucket, hash); match != 0; match &= match - 1) {
            uint32_t position = (home + b) % SX_L1_BUCKETS * SX_L1_SLOTS + (uint32_t)__builtin_ctz(match);
            const sx_item *item = sx_l1_slot_item(sx_l1_slot_get_locked(group, position));
            if (item != NULL && sx_l1_item_is(item, ns, key, size)) return position;
        }
    }
    return SX_L1_POSITIONS;
}

static void due_locked(const sx_l1 *l1, sx_l1_group *group, const sx_item *item) {
    uint32_t due = sx_l1_due(l1, sx_item_gone_ns(item));
    /* relaxed: written under the latch, a hint for the crawl */
    if (due < atomic_load_explicit(&group->due, memory_order_relaxed)) {
        atomic_store_explicit(&group->due, due, memory_order_relaxed);
    }
}

/* Whether the rule keeps what is there. */
static bool keeps(const sx_l1 *l1, const sx_item *there, const sx_item *item, sx_l1_put_rule rule) {
    if (rule == SX_L1_PUT_HELD) return there->n >= item->n;
    if (rule == SX_L1_PUT_ALWAYS || there->n <= item->n) return false;
    /* relaxed: a generation is compared with the trust word by whoever serves the entry */
    uint64_t differs = atomic_load_explicit(&there->generation, memory_order_relaxed) ^
                       atomic_load_explicit(&item->generation, memory_order_relaxed); /* relaxed: as above */
    if ((differs & ~SX_ITEM_TAGGED) != 0) return false; /* tags come and go between versions */
    return sx_item_gone_ns(there) > sx_clock_now_ns(l1->clock);
}

/* What is put, and by which rule. */
typedef struct putting {
    uint64_t hash;
    sx_item *item;
    size_t footprint;
    int64_t growth; /* by how much the table's bytes grew for it */
    sx_l1_put_rule rule;
    sx_l1_claim claim;
} putting;

static void count_locked(sx_l1 *l1, sx_l1_shard *shard, sx_l1_group *group, const putting *p) {
    due_locked(l1, group, p->item);
    (void)sx_l1_count(l1, shard, &shard->payload, sx_l1_item_payload(p->item));
    if (p->claim.count != 0) sx_l1_claim_enter(l1, shard, &p->claim, (int64_t)p->footprint);
}

static void replace_locked(sx_l1 *l1, sx_l1_shard *shard, sx_l1_group *group, uint32_t position, putting *p,
                           sx_l1_harvest *harvest) {
    uint64_t slot = sx_l1_slot_get_locked(group, position);
    if (sx_l1_slot_item(slot) == p->item) return;
    size_t before = sx_l1_slot_footprint(slot);
    sx_item_retain_held(p->item);
    sx_l1_slot_set_locked(group, position, sx_l1_slot_of(p->item, p->hash, p->footprint));
    sx_l1_rank_set_locked(group, position, p->claim.rank);
    count_locked(l1, shard, group, p);
    p->growth = (int64_t)p->footprint - (int64_t)before;
    if (p->growth != 0) sx_l1_account(l1, shard, p->growth);
    harvest_add(harvest, sx_l1_slot_item(slot), before);
}

/* Counts that only who is of a higher rank could have left. */
static int32_t outranked(const sx_l1 *l1, sx_l1_shard *shard) {
    sx_l1_count(l1, shard, &shard->rank_refused, 1);
    return STRATA_E_OVERLOADED;
}

/* Makes room in the group itself, then inserts. STRATA_PENDING: the group is full and may be split instead; STRATA_E_OVERLOADED: it is full
   of what is of a higher rank, and might have been split as is_outranked_locked looked. */
static int32_t insert_locked(sx_l1 *l1, sx_l1_shard *shard, sx_l1_group *group, putting *p, bool must, sx_l1_harvest *harvest) {
    uint32_t position = sx_l1_free_position_locked(group, sx_l1_home(p->hash));
    int64_t over = sx_l1_over(l1, shard) + (int64_t)p->footprint;
    uint32_t least = sx_l1_least_class(p->footprint, l1);
    if (position == SX_L1_POSITIONS && over <= -sx_l1_growth_min(l1) && !must) return STRATA_PENDING;
    for (uint32_t i = 0; i < OWN_VICTIMS_MAX && (over > 0 || position == SX_L1_POSITIONS); i++) {
        int64_t evicted = sx_l1_evict_locked(l1, shard, group, p->claim.rank, position == SX_L1_POSITIONS ? 0 : least, harvest);
        if (evicted == 0) break;
        over -= evicted;
        position = sx_l1_free_position_locked(group, sx_l1_home(p->hash));
    }
    if (SX_UNLIKELY(position == SX_L1_POSITIONS)) return outranked(l1, shard);
    uint8_t policy = sx_l1_arrival_locked(l1, shard, group, p->hash, sx_l1_size_class(p->footprint));
    sx_item_retain_held(p->item);
    position = bring_home_locked(group, position, sx_l1_home(p->hash));
    sx_l1_place_locked(group, position, sx_l1_slot_of(p->item, p->hash, p->footprint), policy, p->claim.rank);
    count_locked(l1, shard, group, p);
    p->growth = (int64_t)p->footprint;
    sx_l1_account(l1, shard, p->growth);
    return STRATA_OK;
}

/* Whether somebody has to leave, and only who is of a higher rank could. Where there is nobody, the hand finds one elsewhere; where it
   finds too few, the keeper is waited for. */
static bool is_outranked_locked(const sx_l1 *l1, const sx_l1_shard *shard, sx_l1_group *group, const putting *p, bool must) {
    if (SX_LIKELY(!sx_l1_is_ranked(l1)) || p->claim.rank == SX_L1_RANK_HIGH) return false;
    uint32_t count = sx_l1_count_locked(group);
    int64_t over = sx_l1_over(l1, shard) + (int64_t)p->footprint;
    bool splits = count == SX_L1_POSITIONS && over <= -sx_l1_growth_min(l1) && !must;
    if (splits || (over <= 0 && count < SX_L1_POSITIONS)) return false;
    if (over - (int64_t)p->footprint > sx_l1_growth_min(l1)) return true;
    return count != 0 && sx_l1_yielding_locked(l1, group, p->claim.rank) == 0;
}

static int32_t refusal(const sx_l1 *l1, const sx_item *item, int64_t footprint) {
    if (sx_l1_item_payload(item) > l1->item_bytes_max) return STRATA_E_VALUE_SIZE;
    if (footprint > sx_l1_bytes_max(l1) - sx_l1_retired_max(l1)) return STRATA_E_VALUE_SIZE;
    /* The second: only while the budget shrinks, or where the index leaves no room. */
    if (footprint > sx_l1_live_max(l1)) return STRATA_E_OVERLOADED;
    if ((int64_t)sx_epoch_retired_hint(l1->epoch) > sx_l1_retired_max(l1)) return STRATA_E_OVERLOADED;
    return STRATA_OK;
}

/* Once in a while: does the load ask for a round of splits? */
static void watch_load(sx_l1 *l1) {
    int64_t groups = INT64_C(1) << sx_l1_root_get(l1)->base;
    if (sx_l1_entries(l1) <= groups * (int64_t)SX_L1_LOAD_MAX) return;
    atomic_store_explicit(&l1->sweeping, true, memory_order_relaxed); /* relaxed: hint */
}

/* STRATA_PENDING: the group is full and latched no more. STRATA_OK: *turn is its number among its shard's insertions, or
   replacements. */
static int32_t put_once(sx_l1 *l1, sx_l1_shard *shard, putting *p, bool must, sx_l1_harvest *harvest, int64_t *turn) {
    int32_t status = refusal(l1, p->item, (int64_t)p->footprint);
    bool inserted = false;
    sx_l1_group *group = sx_l1_group_lock(l1, p->hash);
    uint32_t position = position_locked(group, p->hash, p->item->ns, sx_item_key(p->item), p->item->key_size);
    if (position < SX_L1_POSITIONS) {
        const sx_item *there = sx_l1_slot_item(sx_l1_slot_get_locked(group, position));
        if (keeps(l1, there, p->item, p->rule)) status = STRATA_EXISTS;
        else if (status == STRATA_OK) replace_locked(l1, shard, group, position, p, harvest);
        else (void)sx_l1_count(l1, shard, &shard->outdated, sx_l1_take_locked(l1, shard, group, position, harvest) > 0);
    } else if (p->rule == SX_L1_PUT_HELD) {
        status = STRATA_MISS;
    } else if (status == STRATA_OK && sx_l1_refuses_new(l1)) {
        status = STRATA_E_OVERLOADED;
    } else if (status == STRATA_OK && p->claim.count != 0 &&
               !sx_l1_claim_room_locked(l1, shard, group, &p->claim, (int64_t)p->footprint, harvest)) {
        status = STRATA_E_OVERLOADED;
    } else if (status == STRATA_OK && is_outranked_locked(l1, shard, group, p, must)) {
        status = outranked(l1, shard);
    } else if (status == STRATA_OK) {
        status = insert_locked(l1, shard, group, p, must, harvest);
        inserted = status == STRATA_OK;
    }
    if (status == STRATA_OK) *turn = sx_l1_count(l1, shard, inserted ? &shard->inserts : &shard->replaces, 1);
    sx_l1_latch_release(&group->latch);
    if (inserted && *turn % COUNT_EVERY == 0) watch_load(l1);
    if (status < 0) sx_l1_count(l1, shard, &shard->refused, 1);
    if (status == STRATA_E_VALUE_SIZE) sx_l1_count(l1, shard, &shard->too_large, 1);
    return status;
}

/* A new key needs all lines of its group and, where it evicts, nothing else: they come together. */
static void prefetch_group(const sx_l1 *l1, uint64_t hash) {
    const sx_l1_root *root = sx_l1_root_get(l1);
    const char *line = (const char *)sx_l1_group_at(root, hash & sx_l1_mask(root->base));
    for (uint32_t i = 0; i <= SX_L1_BUCKETS; i++) __builtin_prefetch(line + i * SX_CACHE_LINE, 1, 3);
}

void sx_l1_prefetch_put(const sx_l1 *l1, sx_epoch_record *record, uint64_t hash) {
    sx_epoch_pin(record);
    prefetch_group(l1, hash);
    sx_epoch_unpin(record);
}

/* Removes this very item, and counts it as one that left so. */
static bool remove_item(sx_l1 *l1, sx_epoch_record *record, uint64_t hash, sx_item *item, sx_counter *left) {
    sx_l1_shard *shard = sx_l1_shard_of(l1, record);
    sx_l1_harvest harvest;
    harvest.count = 0;
    sx_epoch_pin(record);
    sx_l1_group *group = sx_l1_group_lock(l1, hash);
    for (uint32_t position = 0; position < SX_L1_POSITIONS; position++) {
        if (sx_l1_slot_item(sx_l1_slot_get_locked(group, position)) != item) continue;
        sx_l1_take_locked(l1, shard, group, position, &harvest);
        break;
    }
    sx_l1_latch_release(&group->latch);
    sx_epoch_unpin(record);
    bool removed = harvest.count != 0;
    if (removed) sx_l1_count(l1, shard, left, 1);
    sx_l1_retire(l1, record, &harvest);
    return removed;
}

/* Evicts elsewhere for what a put brought. Where those who may leave for it are too few, it leaves itself. */
static int32_t pay(sx_l1 *l1, sx_epoch_record *record, sx_l1_shard *shard, const putting *p) {
    int64_t paid = sx_l1_hand(l1, record, p->claim.rank, 2 * (int64_t)p->footprint, sx_l1_least_class(p->footprint, l1));
    if (SX_LIKELY(!sx_l1_is_ranked(l1)) || p->claim.rank == SX_L1_RANK_HIGH || paid >= p->growth) return STRATA_OK;
    if (sx_l1_over(l1, shard) <= sx_l1_growth_min(l1)) return STRATA_OK;
    (void)remove_item(l1, record, p->hash, p->item, &shard->outdated);
    sx_l1_count(l1, shard, &shard->refused, 1);
    return outranked(l1, shard);
}

int32_t sx_l1_put(sx_l1 *l1, sx_epoch_record *record, uint64_t hash, sx_item *item, sx_l1_put_rule rule) {
    sx_l1_shard *shard = sx_l1_shard_of(l1, record);
    sx_l1_harvest harvest;
    harvest.count = 0;
    /* Writers that outrun the keeper help it before they are refused. */
    if ((int64_t)sx_epoch_retired_hint(l1->epoch) > sx_l1_retired_max(l1) / 2)
        (void)sx_epoch_reclaim_some(l1->epoch, true);
    sx_epoch_pin(record);
    prefetch_group(l1, hash);
    sx_l1_prefetch_item(l1, hash);
    putting p = {.hash = hash, .item = item, .footprint = sx_item_footprint(item), .rule = rule};
    sx_l1_claim_init(l1, &p.claim, item);
    int32_t status = STRATA_PENDING;
    int64_t turn = 0;
    for (uint32_t i = 0; status == STRATA_PENDING; i++) {
        status = put_once(l1, shard, &p, i == TRIES_MAX, &harvest, &turn);
        if (status != STRATA_PENDING) break;
        if (i + 1 < TRIES_MAX && !sx_l1_make_room(l1, record, hash)) i = TRIES_MAX - 1;
    }
    if (status == STRATA_OK) {
        if (sx_l1_over(l1, shard) > 0) status = pay(l1, record, shard, &p);
        if (atomic_load_explicit(&l1->sweeping, memory_order_relaxed)) sx_l1_help(l1, record, 4); /* relaxed: hint */
    }
    if (p.claim.count != 0 && (status == STRATA_OK || status == STRATA_E_OVERLOADED)) {
        if (status != STRATA_OK) p.claim.owed = 0; /* nothing went in: a limit that fell is reached by puts that are refused too */
        sx_l1_claim_pay(l1, record, &p.claim);
    }
    sx_epoch_unpin(record);
    sx_l1_retire(l1, record, &harvest);
    /* Memory that this thread frees is at hand, in its processor's caches, for its next items; what the keeper frees comes back
       to writers through the arena, cold. Where another thread is reclaiming, nothing happens. */
    if (status == STRATA_OK && turn % RECLAIM_EVERY == 0) (void)sx_epoch_reclaim_some(l1->epoch, false);
    return status;
}

/* keep_id: of an entry of exactly that n which stays; NULL: every one does. */
static bool remove_below(sx_l1 *l1, sx_epoch_record *record, uint64_t hash, uint16_t ns, const void *key, size_t size, uint64_t n,
                         const uint64_t *keep_id) {
    sx_l1_shard *shard = sx_l1_shard_of(l1, record);
    sx_l1_harvest harvest;
    harvest.count = 0;
    sx_epoch_pin(record);
    sx_l1_group *group = sx_l1_group_lock(l1, hash);
    uint32_t position = position_locked(group, hash, ns, key, size);
    if (position < SX_L1_POSITIONS) {
        const sx_item *there = sx_l1_slot_item(sx_l1_slot_get_locked(group, position));
        bool other = keep_id != NULL && there->n == n && there->id != *keep_id;
        if (n == UINT64_MAX || there->n < n || other) sx_l1_take_locked(l1, shard, group, position, &harvest);
    }
    sx_l1_latch_release(&group->latch);
    sx_epoch_unpin(record);
    bool removed = harvest.count != 0;
    if (removed) sx_l1_count(l1, shard, &shard->removals, 1);
    sx_l1_retire(l1, record, &harvest);
    return removed;
}

bool sx_l1_remove(sx_l1 *l1, sx_epoch_record *record, uint64_t hash, uint16_t ns, const void *key, size_t size,
                  uint64_t below_n) {
    return remove_below(l1, record, hash, ns, key, size, below_n, NULL);
}

bool sx_l1_remove_other(sx_l1 *l1, sx_epoch_record *record, uint64_t hash, uint16_t ns, const void *key, size_t size, uint64_t n,
                        uint64_t id) {
    return remove_below(l1, record, hash, ns, key, size, n, &id);
}

bool sx_l1_remove_item(sx_l1 *l1, sx_epoch_record *record, uint64_t hash, sx_item *item) {
    return remove_item(l1, record, hash, item, &sx_l1_shard_of(l1, record)->removals);
}
