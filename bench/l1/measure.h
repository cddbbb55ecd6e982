/* SPDX-License-Identifier: Apache-2.0 */
/* One measurement: some threads, one workload, one cache; nanoseconds an operation, a rate, or a histogram. */
#ifndef BENCH_L1_MEASURE_H
#define BENCH_L1_MEASURE_H

#include "bench/histogram.h"
#include "bench/l1/cache.h"

typedef enum measure_work {
    MEASURE_GET,       /* zipf, all there */
    MEASURE_MIX,       /* zipf, 95 gets and 5 sets; a get that misses is followed by a set */
    MEASURE_BATCH,     /* uniform, CACHE_BATCH keys at once */
    MEASURE_HOT,       /* one key */
    MEASURE_LATENCY,   /* as MEASURE_GET, each one timed */
    MEASURE_OVERWRITE, /* zipf, sets of keys that are there */
    MEASURE_INSERT     /* sets of keys never seen before */
} measure_work;

#define MEASURE_THREADS_MAX 8u

typedef struct measure_result {
    double ns;        /* of one thread, an operation; CPU time where the thread is alone: it waits for nobody */
    double millions;  /* a second, all threads */
    double hit_ratio; /* of gets */
    uint64_t wrong;   /* values that belong to another key */
    bench_histogram *histogram;
} measure_result;

/* The keys that zipf and uniform workloads draw from: numbers 0 .. keys - 1, drawn before anything is timed. */
bool measure_init(uint64_t keys, double theta, uint64_t seed);
void measure_deinit(void);
/* Fills histogram, if there is one, with what MEASURE_LATENCY took. beside: one more thread overwrites at full speed. */
measure_result measure_run(const cache_kind *kind, void *cache, measure_work work, uint32_t threads, uint64_t operations,
                           bench_histogram *histogram, bool beside);
/* Sets every key once. */
void measure_fill(const cache_kind *kind, void *cache);

#endif
