/* SPDX-License-Identifier: Apache-2.0 */
/* A log-linear histogram of nanoseconds: any quantile is within 1 % of a recorded value, and histograms can be added. */
#ifndef BENCH_HISTOGRAM_H
#define BENCH_HISTOGRAM_H

#include <stdatomic.h>
#include <stdint.h>

/* Values below 2^SUB_BITS are exact. Above, each power of two is cut into 2^SUB_BITS equal buckets, so that a bucket is at most
   1/128 of its values wide, and its middle at most 0.4 % from any of them. Values from 2^VALUE_BITS ns (18 minutes) on share the
   last bucket; max and sum stay exact. */
#define BENCH_HISTOGRAM_SUB_BITS   7
#define BENCH_HISTOGRAM_VALUE_BITS 40
#define BENCH_HISTOGRAM_BUCKETS \
    ((BENCH_HISTOGRAM_VALUE_BITS - BENCH_HISTOGRAM_SUB_BITS + 1) << BENCH_HISTOGRAM_SUB_BITS)

/* All zero is an empty histogram. One thread writes; others may read at the same time and see some moment's numbers.
   All relaxed accesses: statistics with a single writer. */
typedef struct bench_histogram {
    _Atomic uint64_t count;
    _Atomic uint64_t sum_ns;
    _Atomic uint64_t max_ns;
    _Atomic uint64_t buckets[BENCH_HISTOGRAM_BUCKETS];
} bench_histogram;

static inline uint64_t bench_count_read(const _Atomic uint64_t *count) {
    return atomic_load_explicit(count, memory_order_relaxed);
}
/* Adds where the caller is the only writer: no locked instruction. */
static inline void bench_count_add(_Atomic uint64_t *count, uint64_t more) {
    atomic_store_explicit(count, bench_count_read(count) + more, memory_order_relaxed);
}

static inline uint32_t bench_histogram_bucket(uint64_t value_ns) {
    if (value_ns >> BENCH_HISTOGRAM_VALUE_BITS != 0) return BENCH_HISTOGRAM_BUCKETS - 1;
    if (value_ns >> BENCH_HISTOGRAM_SUB_BITS == 0) return (uint32_t)value_ns;
    uint32_t shift = 63u - BENCH_HISTOGRAM_SUB_BITS - (uint32_t)__builtin_clzll(value_ns);
    return (shift << BENCH_HISTOGRAM_SUB_BITS) + (uint32_t)(value_ns >> shift);
}

/* Records one duration; a negative one counts as 0. */
static inline void bench_histogram_add(bench_histogram *histogram, int64_t value_ns) {
    uint64_t value = value_ns > 0 ? (uint64_t)value_ns : 0;
    bench_count_add(&histogram->buckets[bench_histogram_bucket(value)], 1);
    bench_count_add(&histogram->sum_ns, value);
    if (value > bench_count_read(&histogram->max_ns))
        atomic_store_explicit(&histogram->max_ns, value, memory_order_relaxed);
    bench_count_add(&histogram->count, 1);
}

/* Adds all of from to into. */
void bench_histogram_merge(bench_histogram *into, const bench_histogram *from);
/* Empties it; by its writer. */
void bench_histogram_clear(bench_histogram *histogram);
/* The value that a fraction (0 .. 1) of the recorded ones does not exceed; 0 when empty, the exact maximum for 1. */
uint64_t bench_histogram_quantile_ns(const bench_histogram *histogram, double fraction);
/* The mean, exact; 0 when empty. */
double bench_histogram_mean_ns(const bench_histogram *histogram);
/* The smallest and largest value that a bucket stands for. */
uint64_t bench_histogram_bucket_low_ns(uint32_t bucket);
uint64_t bench_histogram_bucket_high_ns(uint32_t bucket);

#endif
