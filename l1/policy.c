/* SPDX-License-Identifier: Apache-2.0 */
/* Who leaves: one latched group decides among its own entries, by the policy that is set. */
#include "core/observe/probe.h"
#include "l1/glance.h"

/* The default is S3-FIFO within the group, with a main queue that knows how often and how lately.

   A new entry waits in probation. Hit there, it is promoted to main when its turn comes; not hit, it leaves. Where probation
   has its share and nothing had to leave, as in a group that fills, an entry of no more than the usual size goes to main at
   once: so a loop over more than there is room for finds a part of itself each time. What leaves is remembered by a
   fingerprint, and a key that comes back enters main, if main has an entry that was unused for longer.

   The victim is the entry of the greatest age times size: in main age is time since the last hit, divided by how often the
   entry was hit. Time is counted in insertions into the group. A hit sets one bit, once: whoever holds the latch turns it into
   a younger age and a count at the next insertion that moves main's time, so a hot key's line stays as it is in between. */

#define PROBATION_AGE    63u /* saturating, in insertions */
#define MAIN_AGE_SHIFT   2
#define MAIN_AGE         15u /* saturating, in steps */
#define LEADERS_OF       8u
#define ADAPT_MISSES     4000u /* of leaders, between two judgements */
#define ADAPT_KEEPS      0.9   /* of what is known, from one judgement to the next */
#define ADAPT_MARGIN     0.995 /* by which another style must be better */
#define MAIN_HITS        3u  /* saturating, at most one counted a step */
#define RECENCY_AGE      127u /* of lru and clock, saturating, in insertions */
#define GHOST_HITS       1u  /* that a key has which was evicted and comes back */

/* How much probation and how much frequency is worth. Traces differ: where keys are used for some time and then no more, a
   larger probation and less trust in old hits find more; where the same keys come back for ever, the first does. */
typedef struct weights {
    uint32_t share;                /* probation keeps one in so many of the group's entries, besides the newest */
    uint32_t step;                 /* insertions that are one step of main's time */
    uint16_t score[2 * (MAIN_AGE + 1) * (MAIN_HITS + 1)]; /* of main, by policy */
} weights;

/* What a main entry's age counts for, by its policy byte without SX_L1_MAIN; SX_L1_HIT, a hit not counted yet, is a young age. */
#define BY_HITS(age, grace, one, two, three, four) \
    ((age) + (grace)) * (one), ((age) + (grace)) * (two), ((age) + (grace)) * (three), ((age) + (grace)) * (four)
#define BY_AGE(from, times, ...) \
    BY_HITS(((from) + 0) * (times), __VA_ARGS__), BY_HITS(((from) + 1) * (times), __VA_ARGS__), \
        BY_HITS(((from) + 2) * (times), __VA_ARGS__), BY_HITS(((from) + 3) * (times), __VA_ARGS__)
#define BY_ANY_AGE(times, ...) \
    BY_AGE(0, times, __VA_ARGS__), BY_AGE(4, times, __VA_ARGS__), BY_AGE(8, times, __VA_ARGS__), BY_AGE(12, times, __VA_ARGS__)
#define STYLE_SCORES(...) {BY_ANY_AGE(1, __VA_ARGS__), BY_ANY_AGE(0, __VA_ARGS__)}
static const weights styles[SX_L1_STYLES] = {
    {.share = 24, .step = 4, .score = STYLE_SCORES(2, 105, 35, 21, 15)}, /* age over 1, 3, 5, 7 */
    {.share = 7, .step = 6, .score = STYLE_SCORES(1, 105, 40, 21, 12)},
};

/* What the group evicts by: its own, where it leads, else what the leaders showed. */
static const weights *style_of(const sx_l1 *l1, const sx_l1_group *group) {
    if (sx_l1_policy_of(l1) != SX_L1_POLICY_ADAPTIVE) return &styles[0];
    uint32_t leads = group->books & SX_L1_LEADS;
    if (leads != 0) return &styles[leads - 1];
    return &styles[atomic_load_explicit(&l1->style, memory_order_relaxed)]; /* relaxed: a choice, read afresh */
}

/* One group in LEADERS_OF leads each style. Neighbours split from one another should not lead together: the index is mixed. */
uint8_t sx_l1_books_new(uint64_t index) {
    uint64_t part = (index * UINT64_C(0x9E3779B97F4A7C15) >> 32) % LEADERS_OF;
    return (uint8_t)(index != 0 && part < SX_L1_STYLES ? part + 1 : 0);
}

/* Once in ADAPT_MISSES of leaders' misses: which style regrets the least part of them, that is, had evicted the key lately? What
   nobody could have kept is the same for all of them, and so is how often hot keys are asked for. */
void sx_l1_adapt_on_keeper(sx_l1 *l1) {
    uint64_t missed[SX_L1_STYLES] = {0}, regretted[SX_L1_STYLES] = {0}, news = 0;
    for (uint32_t s = 0; s < SX_L1_STYLES; s++) {
        for (uint32_t i = 0, used = sx_l1_shards_used(l1); i < used; i++) {
            missed[s] += (uint64_t)sx_counter_read(&l1->shards[i].missed[s]);
            regretted[s] += (uint64_t)sx_counter_read(&l1->shards[i].regretted[s]);
        }
        news += missed[s] - l1->missed_before[s];
    }
    if (news < ADAPT_MISSES) return;
    uint32_t best = atomic_load_explicit(&l1->style, memory_order_relaxed), present = best; /* relaxed: own store */
    for (uint32_t s = 0; s < SX_L1_STYLES; s++) {
        l1->missed[s] = l1->missed[s] * ADAPT_KEEPS + (double)(missed[s] - l1->missed_before[s]);
        l1->regretted[s] = l1->regretted[s] * ADAPT_KEEPS + (double)(regretted[s] - l1->regretted_before[s]);
        l1->missed_before[s] = missed[s];
        l1->regretted_before[s] = regretted[s];
    }
    for (uint32_t s = 0; s < SX_L1_STYLES; s++) {
        double margin = best == present ? ADAPT_MARGIN : 1;
        if (l1->regretted[s] * l1->missed[best] < l1->regretted[best] * l1->missed[s] * margin) best = s;
    }
    atomic_store_explicit(&l1->style, (uint8_t)best, memory_order_relaxed); /* relaxed: read afresh each time */
}

uint32_t sx_l1_count_locked(sx_l1_group *group) { return (uint32_t)__builtin_popcount(sx_l1_taken_locked(group)); }

/* Age over hits, times size: in main, and in probation, which counts no hits. */
static uint32_t main_score(const weights *style, uint32_t policy) {
    return style->score[(policy & (SX_L1_MAIN - 1)) | (policy & SX_L1_HIT) >> 1];
}
static uint32_t probation_score(uint32_t policy) { return (policy & PROBATION_AGE) + 1; }

/* Whose turn it is in one of the two queues, the first of equals, where it is not empty. */
static uint32_t next_main(const sx_l1_glance *g, const weights *style) {
    uint32_t next = 0, best = 0;
    for (uint32_t lanes = g->main; lanes != 0; lanes &= lanes - 1) {
        uint32_t lane = (uint32_t)__builtin_ctz(lanes);
        uint32_t score = main_score(style, g->policy[lane]) << g->classes[lane];
        next = score > best ? lane : next;
        best = score > best ? score : best;
    }
    return next;
}
static uint32_t next_probation(const sx_l1_glance *g) {
    uint32_t next = 0, best = 0;
    for (uint32_t lanes = g->taken & ~g->main; lanes != 0; lanes &= lanes - 1) {
        uint32_t lane = (uint32_t)__builtin_ctz(lanes);
        uint32_t score = probation_score(g->policy[lane]) << g->classes[lane];
        next = score > best ? lane : next;
        best = score > best ? score : best;
    }
    return next;
}

static uint32_t victim_s3fifo_locked(sx_l1_group *group, sx_l1_glance *g, const weights *style) {
    uint32_t count = (uint32_t)__builtin_popcount(g->taken);
    uint32_t probation = count - (uint32_t)__builtin_popcount(g->main);
    for (;; probation--) {
        bool from_probation = probation > count / style->share || probation == count;
        uint32_t next = from_probation ? next_probation(g) : next_main(g, style);
        if (!from_probation || (g->hit >> next & 1u) == 0) return next;
        g->main |= 1u << next;
        g->hit &= ~(1u << next);
        g->policy[next] = SX_L1_MAIN;
        sx_l1_policy_set(group, sx_l1_lane_position(next), SX_L1_MAIN);
    }
}

/* Oldest first; in lru age is time since the last hit, in clock a hit buys another round. */
static uint32_t victim_by_age_locked(sx_l1_group *group, sx_l1_glance *g, bool clock) {
    for (;;) {
        uint32_t next = 0, best = 0;
        for (uint32_t lanes = g->taken; lanes != 0; lanes &= lanes - 1) {
            uint32_t lane = (uint32_t)__builtin_ctz(lanes);
            bool young = !clock && (g->hit >> lane & 1u) != 0;
            uint32_t score = young ? 1 : 2 + (g->policy[lane] & RECENCY_AGE);
            next = score > best ? lane : next;
            best = score > best ? score : best;
        }
        if (!clock || (g->hit >> next & 1u) == 0) return next;
        g->hit &= ~(1u << next);
        g->policy[next] = 0;
        sx_l1_policy_set(group, sx_l1_lane_position(next), 0);
    }
}

/* Leaves the rank that the word has besides. */
static void ghost_set_locked(sx_l1_group *group, uint32_t i, uint16_t print) {
    group->ghosts[i] = (uint16_t)((group->ghosts[i] & ~SX_L1_PRINT_MASK) | print);
}

/* Ages by recency as ages in main, and the other way round. */
static uint8_t translated(uint32_t policy, bool by_queues) {
    uint32_t hit = policy & SX_L1_HIT;
    if (by_queues) {
        uint32_t age = (policy & RECENCY_AGE) / styles[0].step;
        return (uint8_t)(hit | SX_L1_MAIN | (age < MAIN_AGE ? age : MAIN_AGE) << MAIN_AGE_SHIFT);
    }
    if ((policy & SX_L1_MAIN) == 0) return (uint8_t)(hit | (policy & PROBATION_AGE));
    return (uint8_t)(hit | (policy >> MAIN_AGE_SHIFT & MAIN_AGE) * styles[0].step);
}

void sx_l1_settle_locked(sx_l1_group *group, bool by_queues) {
    if (((group->books & SX_L1_BY_QUEUES) != 0) == by_queues) return;
    for (uint32_t position = 0; position < SX_L1_POSITIONS; position++) {
        sx_l1_policy_set(group, position, translated(sx_l1_policy_get(group, position), by_queues));
    }
    for (uint32_t i = 0; i < SX_L1_GHOSTS; i++) ghost_set_locked(group, i, 0);
    group->books ^= SX_L1_BY_QUEUES;
}

uint32_t sx_l1_victim_locked(sx_l1 *l1, sx_l1_group *group, uint32_t among) {
    sx_l1_policy policy = sx_l1_policy_of(l1);
    bool by_queues = sx_l1_by_queues(policy);
    sx_l1_settle_locked(group, by_queues);
    sx_l1_glance g;
    sx_l1_glance_locked(group, &g);
    if (among != SX_L1_AMONG_ALL) {
        g.taken &= sx_l1_lanes_of(among);
        g.main &= g.taken;
        g.hit &= g.taken;
    }
    if (g.taken == 0) return SX_L1_POSITIONS;
    return sx_l1_lane_position(by_queues ? victim_s3fifo_locked(group, &g, style_of(l1, group))
                                         : victim_by_age_locked(group, &g, policy == SX_L1_POLICY_CLOCK));
}

/* By queues: by hits counted, a hit not counted yet (which is a late one) for two, and main before probation. By recency: a hit
   not counted yet, then eighths of the greatest age. */
uint8_t sx_l1_heat_locked(sx_l1_group *group, uint32_t position) {
    uint32_t policy = sx_l1_policy_get(group, position), hit = (policy & SX_L1_HIT) != 0;
    if ((group->books & SX_L1_BY_QUEUES) == 0) return (uint8_t)(hit ? SX_L1_HEATS - 1 : (RECENCY_AGE - (policy & RECENCY_AGE)) / 19);
    if ((policy & SX_L1_MAIN) == 0) return (uint8_t)(2 * hit);
    return (uint8_t)(1 + (policy & MAIN_HITS) + 2 * hit);
}
_Static_assert(1 + MAIN_HITS + 2 < SX_L1_HEATS && RECENCY_AGE / 19 < SX_L1_HEATS - 1, "heats are SX_L1_HEATS");

/* What a slot has of the hash, so that a victim's line is not needed: among the ghosts of one group a stranger meets one
   in 150 times. 1 .. 4096: 0 is an empty ghost. */
static uint16_t fingerprint(uint64_t slot_or_hash) {
    return (uint16_t)((slot_or_hash >> 52) + 1);
}

static void ghost_add_locked(sx_l1_group *group, uint64_t slot) {
    ghost_set_locked(group, group->cursor, fingerprint(slot));
    group->cursor = (uint8_t)((group->cursor + 1u) % SX_L1_GHOSTS);
}

/* How many evictions ago the key was evicted, 1 for the last; 0: not known. Known no more from then on. */
static uint32_t ghost_take_locked(sx_l1_group *group, uint64_t hash) {
    uint32_t found = sx_l1_ghosts_match_locked(group, fingerprint(hash));
    if (found == 0) return 0;
    uint32_t i = (uint32_t)__builtin_ctz(found);
    ghost_set_locked(group, i, 0);
    return (group->cursor + SX_L1_GHOSTS - 1 - i) % SX_L1_GHOSTS + 1;
}

int64_t sx_l1_evict_among_locked(sx_l1 *l1, sx_l1_shard *shard, sx_l1_group *group, uint32_t among, uint32_t least,
                                 sx_l1_harvest *harvest) {
    uint32_t position = sx_l1_victim_locked(l1, group, among);
    if (position == SX_L1_POSITIONS) return 0;
    uint64_t slot = sx_l1_slot_get_locked(group, position);
    if (sx_l1_slot_class(slot) < least) return 0;
    if ((group->books & SX_L1_BY_QUEUES) != 0) ghost_add_locked(group, slot);
    int64_t footprint = sx_l1_take_locked(l1, shard, group, position, harvest);
    sx_l1_harvest_why(harvest, SX_L1_EVICTED);
    sx_l1_count(l1, shard, &shard->evictions, 1);
    SX_PROBE2(evict, sx_l1_slot_item(slot), footprint);
    return footprint;
}

uint32_t sx_l1_yielding_locked(const sx_l1 *l1, sx_l1_group *group, sx_l1_rank rank) {
    if (SX_LIKELY(!sx_l1_is_ranked(l1))) return SX_L1_AMONG_ALL;
    uint32_t of[4] = {0};
    for (uint32_t position = 0; position < SX_L1_POSITIONS; position++)
        of[sx_l1_rank_get_locked(group, position)] |= (uint32_t)(sx_l1_slot_get_locked(group, position) != 0) << position;
    sx_l1_rank least = of[SX_L1_RANK_LOW] != 0 ? SX_L1_RANK_LOW : of[SX_L1_RANK_NORMAL] != 0 ? SX_L1_RANK_NORMAL : SX_L1_RANK_HIGH;
    return least <= rank ? of[least] : 0;
}

int64_t sx_l1_evict_locked(sx_l1 *l1, sx_l1_shard *shard, sx_l1_group *group, sx_l1_rank rank, uint32_t least, sx_l1_harvest *harvest) {
    return sx_l1_evict_among_locked(l1, shard, group, sx_l1_yielding_locked(l1, group, rank), least, harvest);
}

/* Policy bytes one insertion later, of main one step. */
static uint32_t older_main(uint32_t policy) {
    uint32_t hits = policy & MAIN_HITS, age = policy >> MAIN_AGE_SHIFT & MAIN_AGE;
    if ((policy & SX_L1_HIT) != 0) return SX_L1_MAIN | (hits + (hits < MAIN_HITS));
    return SX_L1_MAIN | (age + (age < MAIN_AGE)) << MAIN_AGE_SHIFT | hits;
}
static uint32_t older_probation(uint32_t policy) { return policy + ((policy & PROBATION_AGE) < PROBATION_AGE); }
static uint32_t older_by_age(uint32_t policy, bool clock) {
    if (!clock && (policy & SX_L1_HIT) != 0) return 0;
    return policy + ((policy & RECENCY_AGE) < RECENCY_AGE);
}

static void older_set(sx_l1_group *group, sx_l1_glance *g, uint32_t lane, uint32_t policy) {
    if (policy == g->policy[lane]) return;
    g->policy[lane] = (uint8_t)policy;
    sx_l1_policy_set(group, sx_l1_lane_position(lane), (uint8_t)policy);
}

static void age_locked(sx_l1_group *group, sx_l1_glance *g, sx_l1_policy policy, const weights *style) {
    bool step = ++group->tick % style->step == 0;
    if (!sx_l1_by_queues(policy)) {
        for (uint32_t lanes = g->taken; lanes != 0; lanes &= lanes - 1) {
            uint32_t lane = (uint32_t)__builtin_ctz(lanes);
            older_set(group, g, lane, older_by_age(g->policy[lane], policy == SX_L1_POLICY_CLOCK));
        }
        return;
    }
    for (uint32_t lanes = g->taken & ~g->main; lanes != 0; lanes &= lanes - 1) {
        uint32_t lane = (uint32_t)__builtin_ctz(lanes);
        older_set(group, g, lane, older_probation(g->policy[lane]));
    }
    if (!step) return;
    for (uint32_t lanes = g->main; lanes != 0; lanes &= lanes - 1) {
        uint32_t lane = (uint32_t)__builtin_ctz(lanes);
        older_set(group, g, lane, older_main(g->policy[lane]));
    }
    g->hit &= ~g->main; /* it is counted now */
}

/* The greatest age times size in main, in insertions; UINT64_MAX where main is empty. */
static uint64_t unused_in_main(const sx_l1_glance *g, const weights *style) {
    uint64_t unused = 0;
    for (uint32_t lanes = g->main & ~g->hit; lanes != 0; lanes &= lanes - 1) {
        uint32_t lane = (uint32_t)__builtin_ctz(lanes);
        uint64_t age = (uint64_t)(g->policy[lane] >> MAIN_AGE_SHIFT & MAIN_AGE) * style->step << g->classes[lane];
        unused = age > unused ? age : unused;
    }
    return g->main == 0 ? UINT64_MAX : unused;
}

/* Whether an entry of this class is no larger than the group's are on average. */
static bool is_usual(const sx_l1_glance *g, uint32_t count, uint32_t class) {
    return class * count <= sx_l1_glance_classes(g);
}

uint8_t sx_l1_arrival_locked(const sx_l1 *l1, sx_l1_shard *shard, sx_l1_group *group, uint64_t hash, uint32_t class) {
    sx_l1_policy policy = sx_l1_policy_of(l1);
    sx_l1_settle_locked(group, sx_l1_by_queues(policy));
    const weights *style = style_of(l1, group);
    sx_l1_glance g;
    sx_l1_glance_locked(group, &g);
    age_locked(group, &g, policy, style);
    if (!sx_l1_by_queues(policy)) return 0;
    uint64_t gone = ghost_take_locked(group, hash);
    uint32_t leads = policy == SX_L1_POLICY_ADAPTIVE ? group->books & SX_L1_LEADS : 0;
    if (leads != 0) {
        sx_l1_count(l1, shard, &shard->missed[leads - 1], 1);
        if (gone != 0) sx_l1_count(l1, shard, &shard->regretted[leads - 1], 1);
    }
    /* Main has nothing to gain from a key that was away for longer than any of its entries was unused. */
    if (gone != 0 && (gone + style->step) << class <= unused_in_main(&g, style)) return SX_L1_MAIN | GHOST_HITS;
    uint32_t count = (uint32_t)__builtin_popcount(g.taken), probation = count - (uint32_t)__builtin_popcount(g.main);
    return probation > (count + 1) / style->share && is_usual(&g, count, class) ? SX_L1_MAIN : 0;
}
