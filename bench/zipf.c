/* SPDX-License-Identifier: Apache-2.0 */
/* Zipf by rejection-inversion (Hörmann and Derflinger, 1996): exact for every theta, no tables; ranks permuted by a small
   Feistel network. */
#include "bench/zipf.h"

#include <math.h>

/* expm1(x) / x and log1p(x) / x, without the hole at 0: that makes theta = 1 an ordinary case. */
static double expm1_ratio(double x) {
    return fabs(x) > 1e-8 ? expm1(x) / x : 1 + x * 0.5 * (1 + x / 3);
}
static double log1p_ratio(double x) {
    return fabs(x) > 1e-8 ? log1p(x) / x : 1 - x * (0.5 - x / 3);
}

static double density(const bench_zipf *zipf, double x) {
    return exp(-zipf->theta * log(x));
}

static double integral(const bench_zipf *zipf, double x) {
    double logarithm = log(x);
    return expm1_ratio((1 - zipf->theta) * logarithm) * logarithm;
}

static double integral_inverse(const bench_zipf *zipf, double y) {
    double t = y * (1 - zipf->theta);
    return exp(log1p_ratio(t < -1 ? -1 : t) * y);
}

void bench_zipf_init(bench_zipf *zipf, uint64_t count, double theta) {
    *zipf = (bench_zipf){.count = count, .theta = theta};
    zipf->integral_first = integral(zipf, 1.5) - 1;
    zipf->integral_last = integral(zipf, (double)count + 0.5);
    zipf->shortcut = 2 - integral_inverse(zipf, integral(zipf, 2.5) - density(zipf, 2));
}

uint64_t bench_zipf_draw(const bench_zipf *zipf, bench_random *random) {
    for (;;) {
        double y =
            zipf->integral_last + bench_random_unit(random) * (zipf->integral_first - zipf->integral_last);
        double x = integral_inverse(zipf, y);
        double rank = floor(x + 0.5);
        if (rank < 1) rank = 1;
        if (rank > (double)zipf->count) rank = (double)zipf->count;
        if (rank - x <= zipf->shortcut || y >= integral(zipf, rank + 0.5) - density(zipf, rank))
            return (uint64_t)rank - 1;
    }
}

void bench_permutation_init(bench_permutation *permutation, uint64_t count, uint64_t seed) {
    *permutation = (bench_permutation){.count = count, .half_bits = 1};
    while (permutation->half_bits < 32 && UINT64_C(1) << (2 * permutation->half_bits) < count)
        permutation->half_bits++;
    for (uint64_t i = 0; i < 4; i++)
        permutation->rounds[i] = bench_mix(seed + i * UINT64_C(0x632be59bd9b4e019));
}

/* The network permutes the next power of four; walking on until the image is inside keeps it a bijection. */
uint64_t bench_permutation_map(const bench_permutation *permutation, uint64_t index) {
    uint64_t mask = (UINT64_C(1) << permutation->half_bits) - 1;
    do {
        uint64_t left = index >> permutation->half_bits, right = index & mask;
        for (int i = 0; i < 4; i++) {
            uint64_t next = left ^ (bench_mix(right ^ permutation->rounds[i]) & mask);
            left = right;
            right = next;
        }
        index = left << permutation->half_bits | right;
    } while (index >= permutation->count);
    return index;
}
