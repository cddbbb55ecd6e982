/* SPDX-License-Identifier: Apache-2.0 */
/* Who leaves: S3-FIFO within one latched group, weighted by size, with the fingerprints of whom probation sent away. */
#include "l1/table.h"

/* A new entry waits in probation. Hit there, it is promoted to main when its turn comes; not hit, it leaves and only its
   fingerprint stays. In main a hit buys another round. Turns go by age times size, so that of two entries of one age the
   larger leaves first. Ages are steps of the group's own time, which moves by one with every second insertion; 32 steps
   fit into the byte, and an entry older than that stays at the greatest age. */

#define AGES 32u
_Static_assert(SX_L1_POSITIONS <= AGES, "a score has five bits for who it is");
#define PROBATION_SHARE 10u /* probation gets one in so many of the group's entries */
#define ROUNDS_MAX (4u * SX_L1_POSITIONS)

static uint32_t group_now(const sx_l1_group *group) { return (group->tick >> 1) & (AGES - 1); }

uint32_t sx_l1_size_class(size_t footprint) {
    uint32_t class = 0;
    for (size_t rest = footprint >> 7; rest != 0 && class < 15; rest >>= 1) class++;
    return class;
}

uint32_t sx_l1_count_locked(sx_l1_group *group) {
    uint32_t count = 0;
    for (uint32_t position = 0; position < SX_L1_POSITIONS; position++) {
        count += sx_l1_slot_get_locked(group, position) != 0;
    }
    return count;
}

/* A copy of the group's policy, so that a turn costs no atomic accesses. */
typedef struct turns {
    uint32_t count;     /* entries */
    uint32_t probation; /* of them */
    uint8_t positions[SX_L1_POSITIONS];
    uint8_t policy[SX_L1_POSITIONS];
    uint8_t classes[SX_L1_POSITIONS];
} turns;

static void turns_init(turns *t, sx_l1_group *group) {
    t->count = 0;
    t->probation = 0;
    for (uint32_t position = 0; position < SX_L1_POSITIONS; position++) {
        /* Written in any case, kept where there is an entry: which slots are free no processor can guess. */
        uint64_t slot = sx_l1_slot_get_locked(group, position);
        uint8_t policy = sx_l1_policy_get(group, position);
        t->positions[t->count] = (uint8_t)position;
        t->policy[t->count] = policy;
        t->classes[t->count] = (uint8_t)sx_l1_slot_class(slot);
        t->probation += (slot != 0) & ((policy & SX_L1_MAIN) == 0);
        t->count += slot != 0;
    }
}

/* Whose turn it is in one of the two queues, the first of equals; count if it is empty. No branch depends on an entry. */
static uint32_t turns_next(const turns *t, uint32_t now, uint32_t queue) {
    uint32_t best = 0; /* score, and in the low bits how far from the end it is */
    for (uint32_t i = 0; i < t->count; i++) {
        uint32_t age = (now - ((uint32_t)t->policy[i] >> 3)) & (AGES - 1);
        uint32_t score = (age + 1) << t->classes[i] << 5 | (AGES - 1 - i);
        score &= 0u - ((t->policy[i] & SX_L1_MAIN) == queue);
        best = score > best ? score : best;
    }
    return best == 0 ? t->count : AGES - 1 - (best & (AGES - 1));
}

uint32_t sx_l1_victim_locked(sx_l1_group *group) {
    turns t;
    turns_init(&t, group);
    if (t.count == 0) return SX_L1_POSITIONS;
    uint32_t now = group_now(group);
    uint32_t next = 0;
    for (uint32_t round = 0; round < ROUNDS_MAX; round++) {
        bool from_probation = t.probation > t.count / PROBATION_SHARE || t.probation == t.count;
        next = turns_next(&t, now, from_probation ? 0 : SX_L1_MAIN);
        uint32_t hits = t.policy[next] & SX_L1_HITS;
        if (hits == 0) break;
        t.probation -= from_probation;
        hits = from_probation ? 0 : hits - 1;
        t.policy[next] = (uint8_t)(now << 3 | SX_L1_MAIN | hits);
        sx_l1_policy_set(group, t.positions[next], t.policy[next]);
    }
    return t.positions[next];
}

/* Never 0, which is an empty ghost. */
static uint16_t fingerprint(uint64_t hash) {
    uint16_t print = (uint16_t)(hash >> 32);
    return print == 0 ? 1 : print;
}

static void ghost_add_locked(sx_l1_group *group, uint64_t hash) {
    group->ghosts[group->cursor] = fingerprint(hash);
    group->cursor = (uint8_t)((group->cursor + 1u) % SX_L1_GHOSTS);
}

static bool ghost_take_locked(sx_l1_group *group, uint64_t hash) {
    uint16_t print = fingerprint(hash);
    for (uint32_t i = 0; i < SX_L1_GHOSTS; i++) {
        if (group->ghosts[i] != print) continue;
        group->ghosts[i] = 0;
        return true;
    }
    return false;
}

int64_t sx_l1_evict_locked(sx_l1 *l1, sx_l1_shard *shard, sx_l1_group *group, sx_l1_harvest *harvest) {
    uint32_t position = sx_l1_victim_locked(group);
    if (position == SX_L1_POSITIONS) return 0;
    sx_item *item = sx_l1_slot_item(sx_l1_slot_get_locked(group, position));
    if ((sx_l1_policy_get(group, position) & SX_L1_MAIN) == 0) ghost_add_locked(group, sx_l1_item_hash(l1, item));
    int64_t footprint = (int64_t)sx_item_footprint(item);
    sx_l1_take_locked(l1, shard, group, position, harvest);
    sx_counter_add_shared(&shard->evictions, 1);
    return footprint;
}

uint8_t sx_l1_arrival_locked(sx_l1_group *group, uint64_t hash) {
    group->tick++;
    uint32_t now = group_now(group);
    if ((group->tick & 1) == 0) {
        /* Entries of the greatest age would now look newly born: they stay at the greatest age. */
        for (uint32_t position = 0; position < SX_L1_POSITIONS; position++) {
            uint32_t policy = sx_l1_policy_get(group, position);
            if (SX_LIKELY(policy >> 3 != now) || sx_l1_slot_get_locked(group, position) == 0) continue;
            sx_l1_policy_set(group, position, (uint8_t)(((now + 1) & (AGES - 1)) << 3 | (policy & 7u)));
        }
    }
    return (uint8_t)(now << 3 | (ghost_take_locked(group, hash) ? SX_L1_MAIN : 0));
}
