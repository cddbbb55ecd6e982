/* SPDX-License-Identifier: Apache-2.0 */
/* Housekeeping: the hand that evicts over the whole table, the crawl that finds what expired, and walks. */
#include "l1/table.h"

#define HAND_VICTIMS_MAX 4u         /* of one group at one visit */
#define HAND_RANKED_VISITS 128u     /* in vain, of a put for which not everybody leaves: there may be nobody who does */
#define HAND_CHOOSY_VISITS 64u      /* of a put, before small entries make room for a large one */
/* Of the keeper's round, which holds a pin: some hundred microseconds each. */
#define HAND_VISITS_MAX 256u
#define BALANCE_GROUPS_MAX 128u
#define CRAWL_WORK_MAX 2048u /* groups, and entries of those that are due */
#define CRAWL_GROUPS_MIN 64u
#define CRAWL_PERIOD_NS (SX_NS_PER_S + SX_NS_PER_S / 2)

/* The upper half of a group, where it was split in this round, else NULL. The caller is pinned. */
static sx_l1_group *upper_half(const sx_l1_root *root, uint64_t index) {
    if (root->top == root->base) return NULL;
    /* [order: group-level] observes the upper half */
    uint32_t control = atomic_load_explicit(&sx_l1_group_at(root, index)->buckets[0].control, memory_order_acquire);
    if ((control & SX_L1_LEVEL_MASK) != root->top) return NULL;
    return sx_l1_group_at(root, index + (UINT64_C(1) << root->base));
}

/* Evicts from one group while the total is over its limit. Returns bytes evicted. */
static int64_t hand_visit(sx_l1 *l1, sx_epoch_record *record, sx_l1_group *group, sx_l1_rank rank, uint32_t least) {
    sx_l1_shard *shard = sx_l1_shard_of(l1, record);
    sx_l1_harvest harvest;
    harvest.count = 0;
    int64_t evicted = 0;
    sx_l1_latch_acquire(&group->latch);
    for (uint32_t i = 0; i < HAND_VICTIMS_MAX && sx_l1_over(l1, shard) > 0; i++) {
        int64_t bytes = sx_l1_evict_locked(l1, shard, group, rank, least, &harvest);
        if (bytes == 0) break;
        evicted += bytes;
    }
    sx_l1_latch_release(&group->latch);
    sx_l1_retire(l1, record, &harvest);
    return evicted;
}

static sx_l1_group *groups_at(const sx_l1 *l1, uint64_t index, sx_l1_group **high) {
    const sx_l1_root *root = sx_l1_root_get(l1);
    index &= sx_l1_mask(root->base);
    *high = upper_half(root, index);
    return sx_l1_group_at(root, index);
}

static uint64_t hand_index(sx_l1 *l1) { return atomic_fetch_add_explicit(&l1->hand, 1, memory_order_relaxed); } /* relaxed: any value is a place */

sx_l1_group *sx_l1_hand_next(sx_l1 *l1, sx_l1_group **high) { return groups_at(l1, hand_index(l1), high); }

/* One step of a hand. */
static int64_t hand_step(sx_l1 *l1, sx_epoch_record *record, uint64_t index, sx_l1_rank rank, uint32_t least) {
    sx_l1_group *high, *low = groups_at(l1, index, &high);
    int64_t evicted = hand_visit(l1, record, low, rank, least);
    if (high != NULL) evicted += hand_visit(l1, record, high, rank, least);
    return evicted;
}

int64_t sx_l1_hand(sx_l1 *l1, sx_epoch_record *record, sx_l1_rank rank, int64_t paid, uint32_t least) {
    int64_t evicted = 0;
    uint64_t visits_max = 2 * (sx_l1_mask(sx_l1_root_get(l1)->base) + 1) + SX_L1_POSITIONS;
    uint64_t vain = 0, vain_max = sx_l1_is_ranked(l1) && rank != SX_L1_RANK_HIGH ? HAND_RANKED_VISITS : visits_max;
    const sx_l1_shard *shard = sx_l1_shard_of(l1, record);
    for (uint64_t visits = 0; visits < visits_max && vain <= vain_max && evicted < paid && sx_l1_over(l1, shard) > 0; visits++) {
        int64_t bytes = hand_step(l1, record, hand_index(l1), rank, visits < HAND_CHOOSY_VISITS ? least : 0);
        evicted += bytes;
        vain = bytes != 0 ? 0 : vain + 1;
    }
    return evicted;
}

/* Removes what has expired from one group, and notes when the next one will. Returns how many entries it looked at. */
static uint32_t expire_group(sx_l1 *l1, sx_epoch_record *record, sx_l1_group *group, int64_t now_ns) {
    sx_l1_shard *shard = sx_l1_shard_of(l1, record);
    sx_l1_harvest harvest;
    harvest.count = 0;
    sx_l1_latch_acquire(&group->latch);
    uint32_t due = SX_L1_DUE_NEVER, seen = 0, idle = 0;
    for (uint32_t position = 0; position < SX_L1_POSITIONS; position++) {
        const sx_item *item = sx_l1_slot_item(sx_l1_slot_get_locked(group, position));
        if (item == NULL) continue;
        seen++;
        int64_t gone_ns = sx_item_gone_ns(item);
        if (gone_ns <= now_ns) {
            idle += sx_item_is_idle(item, now_ns) ? 1 : 0;
            sx_l1_take_locked(l1, shard, group, position, &harvest);
            sx_l1_harvest_why(&harvest, SX_L1_EXPIRED);
        } else if (sx_l1_due(l1, gone_ns) < due) {
            due = sx_l1_due(l1, gone_ns);
        }
    }
    atomic_store_explicit(&group->due, due, memory_order_relaxed); /* relaxed: written under the latch, a hint */
    sx_l1_latch_release(&group->latch);
    sx_l1_count(l1, shard, &shard->expirations, harvest.count);
    if (idle != 0) sx_l1_count(l1, shard, &shard->idled, idle);
    sx_l1_retire(l1, record, &harvest);
    return seen;
}

static uint32_t crawl_visit(sx_l1 *l1, sx_epoch_record *record, sx_l1_group *group, int64_t now_ns) {
    /* relaxed: a hint, looked at again in the next round */
    uint32_t due = atomic_load_explicit(&group->due, memory_order_relaxed);
    return due <= sx_l1_due(l1, now_ns) && due != SX_L1_DUE_NEVER ? expire_group(l1, record, group, now_ns) : 0;
}

/* As many groups as the time since the last call is a part of the period, so that every group is seen once in it; what would be
   too much for one round stays owed to the next. Returns whether something is. */
static bool crawl(sx_l1 *l1, sx_epoch_record *record, int64_t now_ns) {
    const sx_l1_root *root = sx_l1_root_get(l1);
    uint64_t all = sx_l1_mask(root->base) + 1;
    int64_t passed = now_ns - l1->crawled_ns;
    if (passed < 0) passed = 0;
    if (passed > CRAWL_PERIOD_NS) passed = CRAWL_PERIOD_NS;
    l1->crawled_ns = now_ns;
    l1->crawl_owed += (uint64_t)((double)all * ((double)passed / (double)CRAWL_PERIOD_NS)) + CRAWL_GROUPS_MIN;
    if (l1->crawl_owed > all) l1->crawl_owed = all;
    for (uint32_t work = 0; l1->crawl_owed > 0 && work < CRAWL_WORK_MAX; l1->crawl_owed--, l1->crawl++) {
        uint64_t index = l1->crawl & sx_l1_mask(root->base);
        sx_l1_group *high = upper_half(root, index);
        work += 1 + crawl_visit(l1, record, sx_l1_group_at(root, index), now_ns);
        if (high != NULL) work += 1 + crawl_visit(l1, record, high, now_ns);
    }
    return l1->crawl_owed > 0;
}

/* Those of the least rank leave first, wherever they are: the next rank's turn is when a whole round of the table found none of them. By a
   hand of the keeper's own, as others' steps of the common one look for something else. */
static void evict_by_rank_on_keeper(sx_l1 *l1, sx_epoch_record *record) {
    int64_t evicted = hand_step(l1, record, l1->ranked_hand++, l1->leaving, 0);
    l1->ranked_vain = evicted != 0 ? 0 : l1->ranked_vain + 1;
    if (l1->ranked_vain <= sx_l1_mask(sx_l1_root_get(l1)->base) || l1->leaving == SX_L1_RANK_HIGH) return;
    l1->leaving++;
    l1->ranked_vain = 0;
}

/* A round of evictions; what it leaves over the limit, the next one goes on with. */
static void evict_on_keeper(sx_l1 *l1, sx_epoch_record *record, const sx_l1_shard *shard) {
    bool ranked = sx_l1_is_ranked(l1);
    for (uint32_t i = 0; i < HAND_VISITS_MAX && sx_l1_over(l1, shard) > 0; i++) {
        if (ranked) evict_by_rank_on_keeper(l1, record);
        else (void)hand_step(l1, record, hand_index(l1), SX_L1_RANK_HIGH, 0);
    }
    if (sx_l1_over(l1, shard) > 0) return;
    l1->leaving = SX_L1_RANK_LOW;
    l1->ranked_vain = 0;
}

bool sx_l1_maintain_on_keeper(sx_l1 *l1, sx_epoch_record *record, int64_t now_ns) {
    sx_epoch_pin(record);
    /* A shard whose threads have gone idle withholds as much as the budget allowed then, which may be more than it is now. */
    for (uint32_t i = 0, used = sx_l1_shards_used(l1); i < used; i++) sx_l1_tell(l1, &l1->shards[i]);
    bool more = sx_l1_balance_on_keeper(l1, record, BALANCE_GROUPS_MAX);
    const sx_l1_shard *shard = sx_l1_shard_of(l1, record);
    evict_on_keeper(l1, record, shard);
    more |= sx_l1_over(l1, shard) > 0 && sx_l1_entries(l1) > 0;
    more |= crawl(l1, record, now_ns);
    sx_l1_adapt_on_keeper(l1);
    sx_epoch_unpin(record);
    return more;
}

/* Walks go by reversed bits: a group of level l is the l highest bits of the reversed cursor, wherever splits and merges
   put its entries meanwhile. */
static uint64_t reverse(uint64_t v) {
    v = (v >> 1 & UINT64_C(0x5555555555555555)) | (v & UINT64_C(0x5555555555555555)) << 1;
    v = (v >> 2 & UINT64_C(0x3333333333333333)) | (v & UINT64_C(0x3333333333333333)) << 2;
    v = (v >> 4 & UINT64_C(0x0F0F0F0F0F0F0F0F)) | (v & UINT64_C(0x0F0F0F0F0F0F0F0F)) << 4;
    return __builtin_bswap64(v);
}

/* The entries of the group at the cursor, and the next cursor: all that have the group's bits, seen under its latch. heats may be
   NULL. */
static uint32_t walk_group(sx_l1 *l1, uint64_t *cursor, sx_item **items, uint8_t *heats) {
    sx_l1_group *group = sx_l1_group_lock(l1, reverse(*cursor));
    uint32_t level = sx_l1_level_locked(group);
    uint32_t count = 0;
    for (uint32_t position = 0; position < SX_L1_POSITIONS; position++) {
        sx_item *item = sx_l1_slot_item(sx_l1_slot_get_locked(group, position));
        if (item == NULL) continue;
        if (heats != NULL) heats[count] = sx_l1_heat_locked(group, position);
        items[count++] = item;
    }
    sx_l1_latch_release(&group->latch);
    if (level == 0) *cursor = 0;
    else *cursor = (*cursor & ~(UINT64_MAX >> level)) + (UINT64_C(1) << (64 - level));
    return count;
}

void sx_l1_walk(sx_l1 *l1, sx_epoch_record *record, uint64_t *cursor, uint32_t budget,
                bool (*visit)(void *context, sx_item *item), void *context) {
    sx_item *items[SX_L1_POSITIONS];
    sx_epoch_pin(record);
    for (uint32_t i = 0; i < budget; i++) {
        uint32_t count = walk_group(l1, cursor, items, NULL);
        for (uint32_t k = 0; k < count; k++) {
            if (visit(context, items[k])) sx_l1_remove_item(l1, record, sx_l1_item_hash(l1, items[k]), items[k]);
        }
        if (*cursor == 0) break;
    }
    sx_epoch_unpin(record);
}

void sx_l1_walk_heats(sx_l1 *l1, sx_epoch_record *record, uint64_t *cursor, uint32_t budget,
                      void (*visit)(void *context, sx_item *item, uint32_t heat), void *context) {
    sx_item *items[SX_L1_POSITIONS];
    uint8_t heats[SX_L1_POSITIONS];
    sx_epoch_pin(record);
    for (uint32_t i = 0; i < budget; i++) {
        uint32_t count = walk_group(l1, cursor, items, heats);
        for (uint32_t k = 0; k < count; k++) visit(context, items[k], heats[k]);
        if (*cursor == 0) break;
    }
    sx_epoch_unpin(record);
}
