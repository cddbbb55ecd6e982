/* SPDX-License-Identifier: Apache-2.0 */
/* Zipf-distributed ranks for any exponent from 0 on, and a permutation that scatters ranks over the key space. */
#ifndef BENCH_ZIPF_H
#define BENCH_ZIPF_H

#include <stdint.h>

#include "bench/random.h"

/* P(rank k) is proportional to 1 / k^theta, k in 1 .. count. Const after init. */
typedef struct bench_zipf {
    uint64_t count;
    double theta;
    double integral_first, integral_last,
        shortcut; /* bounds of the inverted integral, and of free acceptance */
} bench_zipf;

/* count >= 1, 0 <= theta < 100. */
void bench_zipf_init(bench_zipf *zipf, uint64_t count, double theta);
/* A rank in 0 .. count - 1, 0 the most popular. Constant time whatever count is. */
uint64_t bench_zipf_draw(const bench_zipf *zipf, bench_random *random);

/* A bijection of 0 .. count - 1 onto itself, chosen by a seed: popular keys do not sit side by side. */
typedef struct bench_permutation {
    uint64_t count;
    uint32_t half_bits;
    uint64_t rounds[4];
} bench_permutation;

void bench_permutation_init(bench_permutation *permutation, uint64_t count, uint64_t seed);
uint64_t bench_permutation_map(const bench_permutation *permutation, uint64_t index);

#endif
