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
    uint32_t grace;                /* steps that each entry of main is older than it is: counts matter less among the young */
    uint8_t factor[MAIN_HITS + 1]; /* of age, by hits */
} weights;
static const weights styles[SX_L1_STYLES] = {
    {.share = 24, .step = 4, .grace = 2, .factor = {105, 35, 21, 15}}, /* age over 1, 3, 5, 7 */
    {.share = 7, .step = 6, .grace = 1, .factor = {105, 40, 21, 12}},
};

_Static_assert(SX_L1_POSITIONS <= 32, "a score has five bits for who it is");

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
    const weights *style;
    uint8_t policy[SX_L1_POSITIONS];
    uint8_t classes[SX_L1_POSITIONS];
    uint8_t there[SX_L1_POSITIONS]; /* 255 where there is an entry, else 0 */
} turns;

/* Nobody else is there. */
static void turns_restrict(turns *t, uint32_t among) {
    t->count = 0;
    t->probation = 0;
    for (uint32_t i = 0; i < SX_L1_POSITIONS; i++) {
        if ((among >> i & 1u) == 0) t->there[i] = 0;
        t->count += t->there[i] != 0;
        t->probation += t->there[i] != 0 && (t->policy[i] & SX_L1_MAIN) == 0;
    }
}

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

/* Age over hits, in main. A hit not counted yet is a young age. */
static uint32_t main_score(const weights *style, uint32_t policy) {
    uint32_t age = (policy & SX_L1_HIT) != 0 ? 0 : policy >> MAIN_AGE_SHIFT & MAIN_AGE;
    return (age + style->grace) * style->factor[policy & MAIN_HITS];
}
static uint32_t probation_score(uint32_t policy) { return (policy & PROBATION_AGE) + 1; }

/* Whose turn it is in one of the two queues, the first of equals, where it is not empty. No branch depends on an entry. */
static uint32_t turns_next_main(const turns *t) {
    uint32_t best = 0; /* score, and in the low bits how far from the end it is */
    for (uint32_t i = 0; i < SX_L1_POSITIONS; i++) {
        uint32_t score = main_score(t->style, t->policy[i]) << t->classes[i] << 5 | (31u - i);
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
        bool from_probation = t->probation > t->count / t->style->share || t->probation == t->count;
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
    memset(group->ghosts, 0, sizeof group->ghosts);
    group->books ^= SX_L1_BY_QUEUES;
}

uint32_t sx_l1_victim_locked(sx_l1 *l1, sx_l1_group *group, uint32_t among) {
    sx_l1_policy policy = sx_l1_policy_of(l1);
    bool by_queues = sx_l1_by_queues(policy);
    sx_l1_settle_locked(group, by_queues);
    turns t;
    turns_init(&t, group);
    if (among != SX_L1_AMONG_ALL) turns_restrict(&t, among);
    if (t.count == 0) return SX_L1_POSITIONS;
    t.style = style_of(l1, group);
    return by_queues ? victim_s3fifo_locked(group, &t)
                     : victim_by_age_locked(group, &t, policy == SX_L1_POLICY_CLOCK);
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

int64_t sx_l1_evict_among_locked(sx_l1 *l1, sx_l1_shard *shard, sx_l1_group *group, uint32_t among, uint32_t least,
                                 sx_l1_harvest *harvest) {
    uint32_t position = sx_l1_victim_locked(l1, group, among);
    if (position == SX_L1_POSITIONS) return 0;
    uint64_t slot = sx_l1_slot_get_locked(group, position);
    if (sx_l1_slot_class(slot) < least) return 0;
    if ((group->books & SX_L1_BY_QUEUES) != 0) ghost_add_locked(group, slot);
    int64_t footprint = sx_l1_take_locked(l1, shard, group, position, harvest);
    sx_l1_count(l1, shard, &shard->evictions, 1);
    return footprint;
}

int64_t sx_l1_evict_locked(sx_l1 *l1, sx_l1_shard *shard, sx_l1_group *group, uint32_t least, sx_l1_harvest *harvest) {
    return sx_l1_evict_among_locked(l1, shard, group, SX_L1_AMONG_ALL, least, harvest);
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

static census age_locked(sx_l1_group *group, sx_l1_policy policy, const weights *style) {
    census c = {0, 0, 0, 0};
    uint64_t unused = 0;
    bool step = ++group->tick % style->step == 0, by_queues = sx_l1_by_queues(policy);
    for (uint32_t b = 0; b < SX_L1_BUCKETS; b++) {
        for (uint32_t i = 0; i < SX_L1_SLOTS; i++) {
            sx_l1_bucket *bucket = &group->buckets[b];
            uint64_t slot = atomic_load_explicit(&bucket->slots[i], memory_order_relaxed); /* relaxed: ordered by latch */
            if (slot == 0) continue;
            uint32_t was = atomic_load_explicit(&bucket->policy[i], memory_order_relaxed); /* relaxed: hint */
            uint32_t is = by_queues ? older_s3fifo(was, step) : older_by_age(was, policy == SX_L1_POLICY_CLOCK);
            /* relaxed: hint; a hit noted meanwhile may be lost */
            if (is != was) atomic_store_explicit(&bucket->policy[i], (uint8_t)is, memory_order_relaxed);
            c.count++;
            c.probation += (is & SX_L1_MAIN) == 0;
            c.classes += sx_l1_slot_class(slot);
            uint64_t age = (is & (SX_L1_MAIN | SX_L1_HIT)) == SX_L1_MAIN ? is >> MAIN_AGE_SHIFT & MAIN_AGE : 0;
            age = age * style->step << sx_l1_slot_class(slot);
            unused = age > unused ? age : unused;
        }
    }
    c.unused = c.probation == c.count ? UINT64_MAX : unused;
    return c;
}

uint8_t sx_l1_arrival_locked(const sx_l1 *l1, sx_l1_shard *shard, sx_l1_group *group, uint64_t hash, uint32_t class) {
    sx_l1_policy policy = sx_l1_policy_of(l1);
    sx_l1_settle_locked(group, sx_l1_by_queues(policy));
    const weights *style = style_of(l1, group);
    census c = age_locked(group, policy, style);
    if (!sx_l1_by_queues(policy)) return 0;
    uint64_t gone = ghost_take_locked(group, hash);
    uint32_t leads = policy == SX_L1_POLICY_ADAPTIVE ? group->books & SX_L1_LEADS : 0;
    if (leads != 0) {
        sx_l1_count(l1, shard, &shard->missed[leads - 1], 1);
        if (gone != 0) sx_l1_count(l1, shard, &shard->regretted[leads - 1], 1);
    }
    /* Main has nothing to gain from a key that was away for longer than any of its entries was unused. */
    if (gone != 0 && (gone + style->step) << class <= c.unused) return SX_L1_MAIN | GHOST_HITS;
    bool room = c.probation > (c.count + 1) / style->share;
    return room && class * c.count <= c.classes ? SX_L1_MAIN : 0;
}
