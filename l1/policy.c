/* SPDX-License-Identifier: Apache-2.0 */
/* Who leaves: one latched group decides among its own entries, by the policy that is set. */
#include "l1/table.h"

/* The default is S3-FIFO within the group, with a main queue that knows how often and how lately.

   A new entry waits in probation. Hit there, it is promoted to main when its turn comes; not hit, it leaves. Where probation
   has its share and nothing had to leave, as in a group that fills, an entry of no more than the usual size goes to main at
   once: so a loop over more than there is room for finds a part of itself each time. What leaves is remembered by a
   fingerprint, and a key that comes back enters main, if main has an entry that was unused for longer.

   The victim is the entry of the greatest age times size: in main age is time since the last hit, divided by how often the
   entry was hit. Time is counted in insertions into the group. A hit sets one bit, once: whoever holds the latch turns it into
   a younger age and a count at the next insertion that moves main's time, so a hot key's line stays as it is in between. */

#define PROBATION_SHARE  24u /* probation keeps one in so many of the group's entries, besides the newest */
#define PROBATION_AGE    63u /* saturating, in insertions */
#define MAIN_STEP        4u  /* insertions that are one step of main's time */
#define MAIN_AGE_SHIFT   2
#define MAIN_AGE         15u /* saturating, in steps */
#define MAIN_HITS        3u  /* saturating, at most one counted a step */
#define RECENCY_AGE      127u /* of lru and clock, saturating, in insertions */
#define MAIN_AGE_GRACE   2u  /* steps that each entry of main is older than it is: counts matter less among the young */

_Static_assert(SX_L1_POSITIONS <= 32, "a score has five bits for who it is");

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
    uint8_t policy[SX_L1_POSITIONS];
    uint8_t classes[SX_L1_POSITIONS];
    uint8_t there[SX_L1_POSITIONS]; /* 255 where there is an entry, else 0 */
} turns;

static void turns_init(turns *t, sx_l1_group *group) {
    t->count = 0;
    t->probation = 0;
    uint32_t position = 0;
    for (uint32_t b = 0; b < SX_L1_BUCKETS; b++) {
        sx_l1_bucket *bucket = &group->buckets[b];
        for (uint32_t i = 0; i < SX_L1_SLOTS; i++, position++) {
            uint64_t slot = atomic_load_explicit(&bucket->slots[i], memory_order_relaxed); /* relaxed: ordered by latch */
            uint8_t policy = atomic_load_explicit(&bucket->policy[i], memory_order_relaxed); /* relaxed: hint */
            t->policy[position] = policy;
            t->classes[position] = (uint8_t)sx_l1_slot_class(slot);
            t->there[position] = (uint8_t)(0u - (slot != 0));
            t->probation += (slot != 0) & ((policy & SX_L1_MAIN) == 0);
            t->count += slot != 0;
        }
    }
}

/* Age over hits, in main: 1, 3, 5 or 7 for none to three hits, as factors of 105. A hit not counted yet is a young age. */
static uint32_t main_score(uint32_t policy) {
    static const uint8_t factors[MAIN_HITS + 1] = {105, 35, 21, 15};
    uint32_t age = (policy & SX_L1_HIT) != 0 ? 0 : policy >> MAIN_AGE_SHIFT & MAIN_AGE;
    return (age + MAIN_AGE_GRACE) * factors[policy & MAIN_HITS];
}
static uint32_t probation_score(uint32_t policy) { return (policy & PROBATION_AGE) + 1; }

/* Whose turn it is in one of the two queues, the first of equals, where it is not empty. No branch depends on an entry. */
static uint32_t turns_next_main(const turns *t) {
    uint32_t best = 0; /* score, and in the low bits how far from the end it is */
    for (uint32_t i = 0; i < SX_L1_POSITIONS; i++) {
        uint32_t score = main_score(t->policy[i]) << t->classes[i] << 5 | (31u - i);
        score &= 0u - ((t->policy[i] & t->there[i] & SX_L1_MAIN) != 0);
        best = score > best ? score : best;
    }
    return 31u - (best & 31u);
}
static uint32_t turns_next_probation(const turns *t) {
    uint32_t best = 0;
    for (uint32_t i = 0; i < SX_L1_POSITIONS; i++) {
        uint32_t score = probation_score(t->policy[i]) << t->classes[i] << 5 | (31u - i);
        score &= 0u - ((~t->policy[i] & t->there[i] & SX_L1_MAIN) != 0);
        best = score > best ? score : best;
    }
    return 31u - (best & 31u);
}

static uint32_t victim_s3fifo_locked(sx_l1_group *group, turns *t) {
    for (;;) {
        bool from_probation = t->probation > t->count / PROBATION_SHARE || t->probation == t->count;
        uint32_t next = from_probation ? turns_next_probation(t) : turns_next_main(t);
        if (!from_probation || (t->policy[next] & SX_L1_HIT) == 0) return next;
        t->probation--;
        t->policy[next] = SX_L1_MAIN;
        sx_l1_policy_set(group, next, SX_L1_MAIN);
    }
}

/* Oldest first; in lru age is time since the last hit, in clock a hit buys another round. */
static uint32_t victim_by_age_locked(sx_l1_group *group, turns *t, bool clock) {
    for (;;) {
        uint32_t best = 0;
        for (uint32_t i = 0; i < SX_L1_POSITIONS; i++) {
            bool young = !clock && (t->policy[i] & SX_L1_HIT) != 0;
            uint32_t score = (young ? 0 : 1 + (t->policy[i] & RECENCY_AGE)) << 5 | (31u - i);
            score &= 0u - (t->there[i] != 0);
            best = score > best ? score : best;
        }
        uint32_t next = 31u - (best & 31u);
        if (!clock || (t->policy[next] & SX_L1_HIT) == 0) return next;
        t->policy[next] = 0;
        sx_l1_policy_set(group, next, 0);
    }
}

uint32_t sx_l1_victim_locked(sx_l1 *l1, sx_l1_group *group) {
    turns t;
    turns_init(&t, group);
    if (t.count == 0) return SX_L1_POSITIONS;
    sx_l1_policy policy = sx_l1_policy_of(l1);
    return policy == SX_L1_POLICY_S3FIFO ? victim_s3fifo_locked(group, &t)
                                         : victim_by_age_locked(group, &t, policy == SX_L1_POLICY_CLOCK);
}

/* What a slot has of the hash, so that a victim's line is not needed: among the ghosts of one group a stranger meets one
   in 150 times. Never 0, which is an empty ghost. */
static uint16_t fingerprint(uint64_t slot_or_hash) {
    return (uint16_t)((slot_or_hash >> 52) + 1);
}

static void ghost_add_locked(sx_l1_group *group, uint64_t slot) {
    group->ghosts[group->cursor] = fingerprint(slot);
    group->cursor = (uint8_t)((group->cursor + 1u) % SX_L1_GHOSTS);
}

/* How many evictions ago the key was evicted, 1 for the last; 0: not known. Known no more from then on. */
static uint32_t ghost_take_locked(sx_l1_group *group, uint64_t hash) {
    uint16_t print = fingerprint(hash);
    for (uint32_t i = 0; i < SX_L1_GHOSTS; i++) {
        if (group->ghosts[i] != print) continue;
        group->ghosts[i] = 0;
        return (group->cursor + SX_L1_GHOSTS - 1 - i) % SX_L1_GHOSTS + 1;
    }
    return 0;
}

int64_t sx_l1_evict_locked(sx_l1 *l1, sx_l1_shard *shard, sx_l1_group *group, uint32_t least, sx_l1_harvest *harvest) {
    uint32_t position = sx_l1_victim_locked(l1, group);
    if (position == SX_L1_POSITIONS) return 0;
    uint64_t slot = sx_l1_slot_get_locked(group, position);
    if (sx_l1_slot_class(slot) < least) return 0;
    if (sx_l1_policy_of(l1) == SX_L1_POLICY_S3FIFO) ghost_add_locked(group, slot);
    int64_t footprint = sx_l1_take_locked(l1, shard, group, position, harvest);
    sx_counter_add_shared(&shard->evictions, 1);
    return footprint;
}

/* Policy bytes one insertion later. */
static uint32_t older_s3fifo(uint32_t policy, bool step) {
    if ((policy & SX_L1_MAIN) == 0) return policy + ((policy & PROBATION_AGE) < PROBATION_AGE);
    if (!step) return policy;
    uint32_t hits = policy & MAIN_HITS;
    uint32_t age = policy >> MAIN_AGE_SHIFT & MAIN_AGE;
    if ((policy & SX_L1_HIT) != 0) return SX_L1_MAIN | (hits + (hits < MAIN_HITS));
    return SX_L1_MAIN | (age + (age < MAIN_AGE)) << MAIN_AGE_SHIFT | hits;
}
static uint32_t older_by_age(uint32_t policy, bool clock) {
    if (!clock && (policy & SX_L1_HIT) != 0) return 0;
    return policy + ((policy & RECENCY_AGE) < RECENCY_AGE);
}

/* What there is besides a new entry. */
typedef struct census {
    uint32_t count, probation;
    uint32_t classes; /* sum */
    uint64_t unused;  /* greatest age times size in main, in insertions; UINT64_MAX where main is empty */
} census;

static census age_locked(sx_l1_group *group, sx_l1_policy policy) {
    census c = {0, 0, 0, 0};
    uint64_t unused = 0;
    bool step = ++group->tick % MAIN_STEP == 0;
    for (uint32_t b = 0; b < SX_L1_BUCKETS; b++) {
        for (uint32_t i = 0; i < SX_L1_SLOTS; i++) {
            sx_l1_bucket *bucket = &group->buckets[b];
            uint64_t slot = atomic_load_explicit(&bucket->slots[i], memory_order_relaxed); /* relaxed: ordered by latch */
            if (slot == 0) continue;
            uint32_t was = atomic_load_explicit(&bucket->policy[i], memory_order_relaxed); /* relaxed: hint */
            uint32_t is = policy == SX_L1_POLICY_S3FIFO ? older_s3fifo(was, step)
                                                        : older_by_age(was, policy == SX_L1_POLICY_CLOCK);
            /* relaxed: hint; a hit noted meanwhile may be lost */
            if (is != was) atomic_store_explicit(&bucket->policy[i], (uint8_t)is, memory_order_relaxed);
            c.count++;
            c.probation += (is & SX_L1_MAIN) == 0;
            c.classes += sx_l1_slot_class(slot);
            uint64_t age = (is & (SX_L1_MAIN | SX_L1_HIT)) == SX_L1_MAIN ? is >> MAIN_AGE_SHIFT & MAIN_AGE : 0;
            age = age * MAIN_STEP << sx_l1_slot_class(slot);
            unused = age > unused ? age : unused;
        }
    }
    c.unused = c.probation == c.count ? UINT64_MAX : unused;
    return c;
}

uint8_t sx_l1_arrival_locked(const sx_l1 *l1, sx_l1_group *group, uint64_t hash, uint32_t class) {
    sx_l1_policy policy = sx_l1_policy_of(l1);
    census c = age_locked(group, policy);
    if (policy != SX_L1_POLICY_S3FIFO) return 0;
    /* Main has nothing to gain from a key that was away for longer than any of its entries was unused. */
    uint64_t gone = ghost_take_locked(group, hash);
    if (gone != 0 && (gone + MAIN_STEP) << class <= c.unused) return SX_L1_MAIN;
    bool room = c.probation > (c.count + 1) / PROBATION_SHARE;
    return room && class * c.count <= c.classes ? SX_L1_MAIN : 0;
}
