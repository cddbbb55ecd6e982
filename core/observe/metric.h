/* SPDX-License-Identifier: Apache-2.0 */
/* Metric tables: each room declares its rows beside the code that counts, and owns the counters behind them. */
#ifndef SX_CORE_OBSERVE_METRIC_H
#define SX_CORE_OBSERVE_METRIC_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

typedef struct sx_metric_row {
    const char *name; /* "l1.hits" */
    const char *unit; /* "operations", "bytes", "ns", "1" */
    const char *doc;
    int gauge;
} sx_metric_row;

/* A counter. atomic: relaxed, a statistic. */
typedef _Atomic int64_t sx_counter;

/* Adds where the caller is the only writer: a load and a store, no locked instruction. Returns what the counter is then. */
static inline int64_t sx_counter_add(sx_counter *counter, int64_t more) {
    int64_t sum = atomic_load_explicit(counter, memory_order_relaxed) + more; /* relaxed: statistic with a single writer */
    atomic_store_explicit(counter, sum, memory_order_relaxed);                /* relaxed: as above */
    return sum;
}
/* Adds where several threads may write. Returns what the counter is then. */
static inline int64_t sx_counter_add_shared(sx_counter *counter, int64_t more) {
    return atomic_fetch_add_explicit(counter, more, memory_order_relaxed) + more; /* relaxed: statistic */
}
static inline int64_t sx_counter_read(const sx_counter *counter) {
    return atomic_load_explicit(counter, memory_order_relaxed); /* relaxed: statistic */
}

#endif
