/* SPDX-License-Identifier: Apache-2.0 */
/* Adding histograms up and asking them for quantiles. */
#include "bench/histogram.h"

#include <math.h>

/* all relaxed accesses: statistics, exact once their writer has stopped. */

uint64_t bench_histogram_bucket_low_ns(uint32_t bucket) {
    uint32_t shift = bucket >> BENCH_HISTOGRAM_SUB_BITS;
    if (shift <= 1) return bucket;
    uint64_t mantissa = (bucket & ((1u << BENCH_HISTOGRAM_SUB_BITS) - 1)) | (1u << BENCH_HISTOGRAM_SUB_BITS);
    return mantissa << (shift - 1);
}

uint64_t bench_histogram_bucket_high_ns(uint32_t bucket) {
    uint32_t shift = bucket >> BENCH_HISTOGRAM_SUB_BITS;
    return bench_histogram_bucket_low_ns(bucket) + ((UINT64_C(1) << (shift <= 1 ? 0 : shift - 1)) - 1);
}

void bench_histogram_merge(bench_histogram *into, const bench_histogram *from) {
    for (uint32_t i = 0; i < BENCH_HISTOGRAM_BUCKETS; i++) {
        uint64_t count = bench_count_read(&from->buckets[i]);
        if (count != 0) bench_count_add(&into->buckets[i], count);
    }
    bench_count_add(&into->count, bench_count_read(&from->count));
    bench_count_add(&into->sum_ns, bench_count_read(&from->sum_ns));
    uint64_t max = bench_count_read(&from->max_ns);
    if (max > bench_count_read(&into->max_ns))
        atomic_store_explicit(&into->max_ns, max, memory_order_relaxed);
}

void bench_histogram_clear(bench_histogram *histogram) {
    for (uint32_t i = 0; i < BENCH_HISTOGRAM_BUCKETS; i++)
        atomic_store_explicit(&histogram->buckets[i], 0, memory_order_relaxed);
    atomic_store_explicit(&histogram->count, 0, memory_order_relaxed);
    atomic_store_explicit(&histogram->sum_ns, 0, memory_order_relaxed);
    atomic_store_explicit(&histogram->max_ns, 0, memory_order_relaxed);
}

uint64_t bench_histogram_quantile_ns(const bench_histogram *histogram, double fraction) {
    uint64_t total = 0, passed = 0, max = bench_count_read(&histogram->max_ns);
    for (uint32_t i = 0; i < BENCH_HISTOGRAM_BUCKETS; i++) total += bench_count_read(&histogram->buckets[i]);
    if (total == 0) return 0;
    double wanted = ceil(fraction * (double)total);
    uint64_t rank = wanted < 1 ? 1 : (uint64_t)wanted;
    if (rank >= total) return max;
    for (uint32_t i = 0; i < BENCH_HISTOGRAM_BUCKETS; i++) {
        passed += bench_count_read(&histogram->buckets[i]);
        if (passed < rank) continue;
        uint64_t low = bench_histogram_bucket_low_ns(i), high = bench_histogram_bucket_high_ns(i);
        if (i == BENCH_HISTOGRAM_BUCKETS - 1 || high > max) return low > max ? max : (low + max) / 2;
        return low + (high - low) / 2;
    }
    return max;
}

double bench_histogram_mean_ns(const bench_histogram *histogram) {
    uint64_t count = bench_count_read(&histogram->count);
    return count == 0 ? 0 : (double)bench_count_read(&histogram->sum_ns) / (double)count;
}
