/* SPDX-License-Identifier: Apache-2.0 */
/* A latched group at a glance: which positions are taken, and how, as bits and bytes that policies go through. */
#ifndef SX_L1_GLANCE_H
#define SX_L1_GLANCE_H

#include "l1/table.h"

/* Positions are given as lanes here: eight a bucket, the last of which is none. */
#define SX_L1_LANES 32u
#define SX_L1_LANES_ALL 0x7f7f7f7fu
static inline uint32_t sx_l1_lane_position(uint32_t lane) { return lane - lane / 8u; }
static inline uint32_t sx_l1_position_lane(uint32_t position) { return position + position / SX_L1_SLOTS; }
/* Positions, a bit each, as lanes. */
static inline uint32_t sx_l1_lanes_of(uint32_t positions) {
    uint32_t lanes = 0;
    for (uint32_t b = 0; b < SX_L1_BUCKETS; b++) lanes |= (positions >> (b * SX_L1_SLOTS) & 127u) << (b * 8u);
    return lanes;
}

typedef struct sx_l1_glance {
    uint32_t taken, main, hit; /* a bit each; the last two of those that are taken */
    _Alignas(16) uint8_t policy[SX_L1_LANES];
    _Alignas(16) uint8_t classes[SX_L1_LANES];
} sx_l1_glance;

static inline void sx_l1_glance_portable_locked(sx_l1_group *group, sx_l1_glance *g) {
    g->taken = g->main = g->hit = 0;
    for (uint32_t lane = 0; lane < SX_L1_LANES; lane++) {
        g->policy[lane] = g->classes[lane] = 0;
        if (lane % 8u == 7u) continue;
        uint64_t slot = sx_l1_slot_get_locked(group, sx_l1_lane_position(lane));
        g->policy[lane] = sx_l1_policy_get(group, sx_l1_lane_position(lane));
        g->classes[lane] = (uint8_t)sx_l1_slot_class(slot);
        g->taken |= (uint32_t)(slot != 0) << lane;
        g->main |= (uint32_t)((g->policy[lane] & SX_L1_MAIN) != 0) << lane;
        g->hit |= (uint32_t)((g->policy[lane] & SX_L1_HIT) != 0) << lane;
    }
    g->main &= g->taken;
    g->hit &= g->taken;
}

/* Their sum; of what is not taken, and of none, they say nothing. */
static inline uint32_t sx_l1_glance_classes(const sx_l1_glance *g) {
    uint32_t sum = 0;
#pragma GCC unroll 4
    for (uint32_t b = 0; b < SX_L1_BUCKETS; b++) {
        static const uint8_t slots[8] = {255, 255, 255, 255, 255, 255, 255, 0};
        uint64_t classes, mask;
        memcpy(&classes, &g->classes[b * 8u], sizeof classes);
        memcpy(&mask, slots, sizeof mask);
        sum += (uint32_t)((classes & mask) * UINT64_C(0x0101010101010101) >> 56); /* at most 7 times 15 */
    }
    return sum;
}

/* The ghosts that are this one, a bit each. */
static inline uint32_t sx_l1_ghosts_match_portable_locked(const sx_l1_group *group, uint16_t print) {
    uint32_t match = 0;
    for (uint32_t i = 0; i < SX_L1_GHOSTS; i++) match |= (uint32_t)((group->ghosts[i] & SX_L1_PRINT_MASK) == print) << i;
    return match;
}

/* Entries that are at home in this bucket, a bit each, wherever they are. */
static inline uint32_t sx_l1_homes_portable_locked(sx_l1_group *group, uint32_t home) {
    uint32_t homes = 0;
    for (uint32_t lane = 0; lane < SX_L1_LANES; lane++) {
        if (lane % 8u == 7u) continue;
        uint64_t slot = sx_l1_slot_get_locked(group, sx_l1_lane_position(lane));
        homes |= (uint32_t)(slot != 0 && sx_l1_home(slot) == home) << lane;
    }
    return homes;
}

static inline uint32_t sx_l1_taken_portable_locked(sx_l1_group *group) {
    uint32_t taken = 0;
    for (uint32_t lane = 0; lane < SX_L1_LANES; lane++) {
        if (lane % 8u != 7u) taken |= (uint32_t)(sx_l1_slot_get_locked(group, sx_l1_lane_position(lane)) != 0) << lane;
    }
    return taken;
}

#if defined(__SSE2__) && !SX_TSAN && !defined(SX_L1_PORTABLE)
/* As sx_l1_tags_match reads them: only the latch's holder writes slots, and a policy byte is a hint. */
typedef struct sx_l1_halves {
    __m128i low, high; /* words of four slots; of the last bucket's last slot the policy bytes */
} sx_l1_halves;
static inline sx_l1_halves sx_l1_halves_of(const __m128 *pairs) {
    return (sx_l1_halves){.low = _mm_castps_si128(_mm_shuffle_ps(pairs[0], pairs[1], _MM_SHUFFLE(2, 0, 2, 0))),
                          .high = _mm_castps_si128(_mm_shuffle_ps(pairs[0], pairs[1], _MM_SHUFFLE(3, 1, 3, 1)))};
}
static inline uint32_t sx_l1_halves_taken(const sx_l1_halves *h) {
    __m128i none = _mm_cmpeq_epi32(_mm_or_si128(h->low, h->high), _mm_setzero_si128());
    return (uint32_t)_mm_movemask_ps(_mm_castsi128_ps(none)) ^ 15u;
}
static inline uint32_t sx_l1_taken_locked(sx_l1_group *group) {
    uint32_t taken = 0;
#pragma GCC unroll 4
    for (uint32_t b = SX_L1_BUCKETS; b-- > 0;) {
        const __m128 *pairs = (const __m128 *)(const void *)&group->buckets[b];
        sx_l1_halves first = sx_l1_halves_of(pairs), last = sx_l1_halves_of(pairs + 2);
        taken = taken << 8 | (sx_l1_halves_taken(&last) & 7u) << 4 | sx_l1_halves_taken(&first);
    }
    return taken;
}
static inline uint32_t sx_l1_halves_homes(const sx_l1_halves *h, __m128i home) {
    __m128i same = _mm_cmpeq_epi32(_mm_srli_epi32(h->high, 30), home);
    return (uint32_t)_mm_movemask_ps(_mm_castsi128_ps(same)) & sx_l1_halves_taken(h);
}
static inline uint32_t sx_l1_homes_locked(sx_l1_group *group, uint32_t home) {
    uint32_t homes = 0;
    __m128i wanted = _mm_set1_epi32((int)home);
#pragma GCC unroll 4
    for (uint32_t b = SX_L1_BUCKETS; b-- > 0;) {
        const __m128 *pairs = (const __m128 *)(const void *)&group->buckets[b];
        sx_l1_halves first = sx_l1_halves_of(pairs), last = sx_l1_halves_of(pairs + 2);
        homes = homes << 8 | (sx_l1_halves_homes(&last, wanted) & 7u) << 4 | sx_l1_halves_homes(&first, wanted);
    }
    return homes;
}
/* Two buckets. */
static inline void sx_l1_glance_two_locked(const sx_l1_bucket *two, uint8_t *policy, uint8_t *classes, uint32_t masks[3]) {
    const __m128 *pairs = (const __m128 *)(const void *)two;
    sx_l1_halves part[4];
    __m128i class[4];
#pragma GCC unroll 4
    for (uint32_t i = 0; i < 4; i++) {
        part[i] = sx_l1_halves_of(pairs + 2 * i);
        class[i] = _mm_and_si128(_mm_srli_epi32(part[i].high, 16), _mm_set1_epi32(15));
    }
    __m128i all = _mm_packus_epi16(_mm_packs_epi32(class[0], class[1]), _mm_packs_epi32(class[2], class[3]));
    __m128i bytes = _mm_unpackhi_epi64(_mm_castps_si128(pairs[3]), _mm_castps_si128(pairs[7]));
    _mm_store_si128((__m128i *)(void *)classes, all);
    _mm_store_si128((__m128i *)(void *)policy, bytes);
    masks[0] = (sx_l1_halves_taken(&part[0]) | sx_l1_halves_taken(&part[1]) << 4 | sx_l1_halves_taken(&part[2]) << 8 |
                sx_l1_halves_taken(&part[3]) << 12) & SX_L1_LANES_ALL;
    masks[1] = (uint32_t)_mm_movemask_epi8(_mm_slli_epi16(bytes, 1)); /* SX_L1_MAIN where SX_L1_HIT was */
    masks[2] = (uint32_t)_mm_movemask_epi8(bytes);
}
static inline void sx_l1_glance_locked(sx_l1_group *group, sx_l1_glance *g) {
    uint32_t low[3], high[3];
    sx_l1_glance_two_locked(&group->buckets[0], &g->policy[0], &g->classes[0], low);
    sx_l1_glance_two_locked(&group->buckets[2], &g->policy[16], &g->classes[16], high);
    g->taken = high[0] << 16 | low[0];
    g->main = g->taken & (high[1] << 16 | low[1]);
    g->hit = g->taken & (high[2] << 16 | low[2]);
}
/* What follows the ghosts in their line is read too, and comes to nothing. */
static inline uint32_t sx_l1_ghosts_match_locked(const sx_l1_group *group, uint16_t print) {
    const __m128i *line = (const __m128i *)(const void *)group->ghosts;
    __m128i wanted = _mm_set1_epi16((short)print), prints = _mm_set1_epi16(SX_L1_PRINT_MASK), same[4];
#pragma GCC unroll 4
    for (uint32_t i = 0; i < 4; i++) same[i] = _mm_cmpeq_epi16(_mm_and_si128(line[i], prints), wanted);
    __m128i low = _mm_packs_epi16(same[0], same[1]), high = _mm_packs_epi16(same[2], same[3]);
    uint32_t match = (uint32_t)_mm_movemask_epi8(high) << 16 | (uint32_t)_mm_movemask_epi8(low);
    return match & ((1u << SX_L1_GHOSTS) - 1);
}
_Static_assert(offsetof(sx_l1_group, ghosts) % SX_CACHE_LINE == 0 && sizeof(sx_l1_group) - offsetof(sx_l1_group, ghosts) == 64,
               "the ghosts' line is read whole");
#else
static inline uint32_t sx_l1_ghosts_match_locked(const sx_l1_group *group, uint16_t print) {
    return sx_l1_ghosts_match_portable_locked(group, print);
}
static inline uint32_t sx_l1_homes_locked(sx_l1_group *group, uint32_t home) {
    return sx_l1_homes_portable_locked(group, home);
}
static inline uint32_t sx_l1_taken_locked(sx_l1_group *group) { return sx_l1_taken_portable_locked(group); }
static inline void sx_l1_glance_locked(sx_l1_group *group, sx_l1_glance *g) { sx_l1_glance_portable_locked(group, g); }
#endif

_Static_assert(SX_L1_HIT == 128 && SX_L1_MAIN == 64, "the two highest bits of a byte");

#endif
