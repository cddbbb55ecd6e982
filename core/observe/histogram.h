/* SPDX-License-Identifier: Apache-2.0 */
/* Log-linear histograms of counters: eight buckets to each doubling, so that a quantile is off by an eighth at most. */
#ifndef SX_CORE_OBSERVE_HISTOGRAM_H
#define SX_CORE_OBSERVE_HISTOGRAM_H

#include <stdint.h>

#include <strata/stats.h>

#include "core/observe/metric.h"

/* Zero-initialised. Read by any thread; its count is the sum of its buckets, so that the two never differ. */
typedef struct sx_histogram {
    sx_counter sum;
    sx_counter counts[STRATA_HISTOGRAM_BUCKETS];
} sx_histogram;

/* Which bucket a number is in; negative ones are in the first. */
uint32_t sx_histogram_bucket(int64_t number);
/* Where the caller is the only writer. */
void sx_histogram_add(sx_histogram *histogram, int64_t number);
/* Where several threads may write. */
void sx_histogram_add_shared(sx_histogram *histogram, int64_t number);
/* Adds what it holds to out, which is initialised. */
void sx_histogram_read(const sx_histogram *histogram, strata_histogram *out);

#endif
