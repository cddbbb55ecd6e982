/* SPDX-License-Identifier: Apache-2.0 */
/* Random numbers that are the same for the same seed on every machine: splitmix64 to mix, xoshiro256** to draw. */
#ifndef BENCH_RANDOM_H
#define BENCH_RANDOM_H

#include <stdint.h>

/* Mixes 64 bits so that every input bit reaches every output bit. A bijection. */
static inline uint64_t bench_mix(uint64_t x) {
    x += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

/* owner: one thread. */
typedef struct bench_random {
    uint64_t state[4];
} bench_random;

/* Streams of different numbers under one seed are independent of each other. */
static inline void bench_random_init(bench_random *random, uint64_t seed, uint64_t stream) {
    uint64_t x = bench_mix(seed) ^ bench_mix(bench_mix(stream) + 1);
    for (int i = 0; i < 4; i++) random->state[i] = x = bench_mix(x);
}

static inline uint64_t bench_random_next(bench_random *random) {
    uint64_t *s = random->state;
    uint64_t five = s[1] * 5, result = ((five << 7) | (five >> 57)) * 9, t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = (s[3] << 45) | (s[3] >> 19);
    return result;
}

/* Uniform in [0, 1). */
static inline double bench_random_unit(bench_random *random) {
    return (double)(bench_random_next(random) >> 11) * 0x1.0p-53;
}

/* Uniform in [0, limit); limit > 0. The bias is below 2^-32 for limits below 2^32. */
static inline uint64_t bench_scale(uint64_t bits, uint64_t limit) {
    return limit <= UINT32_MAX ? ((bits >> 32) * limit) >> 32 : bits % limit;
}
static inline uint64_t bench_random_below(bench_random *random, uint64_t limit) {
    return limit <= UINT32_MAX ? bench_scale(bench_random_next(random), limit)
                               : bench_random_next(random) % limit;
}

#endif
