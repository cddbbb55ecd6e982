/* SPDX-License-Identifier: Apache-2.0 */
/* Histograms: which bucket a number falls into, and what the buckets say. */
#include "core/observe/histogram.h"

#include <stddef.h>

#define SUB_BITS   3                   /* eight buckets to each doubling */
#define FIRST_BITS 4                   /* numbers below 16 share the first bucket */
#define SUBS       (1 << SUB_BITS)
#define LAST       (STRATA_HISTOGRAM_BUCKETS - 1)

_Static_assert((STRATA_HISTOGRAM_BUCKETS - 2) % SUBS == 0, "whole doublings between the first bucket and the last");

uint32_t sx_histogram_bucket(int64_t number) {
    if (number < (1 << FIRST_BITS)) return 0;
    uint32_t bits = 63u - (uint32_t)__builtin_clzll((unsigned long long)number);
    uint32_t sub = (uint32_t)(number >> (bits - SUB_BITS)) & (SUBS - 1);
    uint32_t bucket = 1 + (bits - FIRST_BITS) * SUBS + sub;
    return bucket < LAST ? bucket : LAST;
}

void sx_histogram_add(sx_histogram *histogram, int64_t number) {
    sx_counter_add(&histogram->sum, number);
    sx_counter_add(&histogram->counts[sx_histogram_bucket(number)], 1);
}

void sx_histogram_add_shared(sx_histogram *histogram, int64_t number) {
    (void)sx_counter_add_shared(&histogram->sum, number);
    (void)sx_counter_add_shared(&histogram->counts[sx_histogram_bucket(number)], 1);
}

void sx_histogram_read(const sx_histogram *histogram, strata_histogram *out) {
    out->sum += sx_counter_read(&histogram->sum);
    for (uint32_t i = 0; i < STRATA_HISTOGRAM_BUCKETS; i++) {
        int64_t count = sx_counter_read(&histogram->counts[i]);
        out->counts[i] += count;
        out->count += count;
    }
}

int64_t strata_histogram_bound(size_t bucket) {
    if (bucket >= LAST) return INT64_MAX;
    if (bucket == 0) return 1 << FIRST_BITS;
    size_t at = bucket - 1;
    return (int64_t)(SUBS + 1 + at % SUBS) << (FIRST_BITS - SUB_BITS + at / SUBS);
}

int64_t strata_histogram_quantile(const strata_histogram *histogram, double quantile) {
    if (histogram == NULL || histogram->struct_size < offsetof(strata_histogram, counts) || histogram->count <= 0) return 0;
    size_t buckets = (histogram->struct_size - offsetof(strata_histogram, counts)) / sizeof histogram->counts[0]; /* an older header has fewer */
    if (!(quantile > 0)) quantile = 0;
    if (quantile > 1) quantile = 1;
    double wanted = quantile * (double)histogram->count;
    int64_t seen = 0;
    for (size_t i = 0; i < LAST && i < buckets; i++) {
        seen += histogram->counts[i];
        if (seen != 0 && (double)seen >= wanted) return strata_histogram_bound(i);
    }
    return INT64_MAX;
}
