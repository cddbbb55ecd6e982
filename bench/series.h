/* SPDX-License-Identifier: Apache-2.0 */
/* A run over time: what happened in each step of it, a second or less. */
#ifndef BENCH_SERIES_H
#define BENCH_SERIES_H

#include <stdbool.h>
#include <stdint.h>

#include "bench/histogram.h"
#include "bench/run.h"

#define BENCH_SERIES_MAX 1800u

/* Counts are since recording began; quantiles are of the step that ends here, 0 where nothing ended in it. */
typedef struct bench_series_point {
    double seconds; /* since recording began */
    uint64_t counts[BENCH_OUTCOME_COUNT];
    uint64_t failures, mismatches, declared_stale, overtaken;
    uint64_t restarted[BENCH_OUTCOME_COUNT]; /* counts of the process that is killed and started anew, alone */
    uint64_t p50_ns[BENCH_OUTCOME_COUNT], p99_ns[BENCH_OUTCOME_COUNT];
    uint64_t resident_bytes, servers_resident_bytes; /* of all processes, of our own servers */
    uint64_t l1_entries, l1_bytes, l1_payload_bytes; /* of all processes, some tenths of a second old */
} bench_series_point;

/* owner: one thread. All zero is an empty one. When it is full, every two points become one: the second one's numbers, with
   the larger p99; so the memory of a long run stays what it is. */
typedef struct bench_series {
    uint32_t count;
    double step_s; /* at first as the caller set it */
    bench_series_point points[BENCH_SERIES_MAX];
    bench_histogram before[BENCH_OUTCOME_COUNT], now[BENCH_OUTCOME_COUNT]; /* latencies, all threads */
} bench_series;

/* Where a run stands, added up over threads. */
typedef struct bench_moment {
    uint64_t counts[BENCH_OUTCOME_COUNT], failures, mismatches, declared_stale;
    uint64_t overtaken; /* reads said to be fresh, of a value that was overtaken before */
} bench_moment;

bench_moment bench_moment_read(const bench_run *run);
/* Adds a point for now, seconds after recording began, if a step has passed since the last one. */
void bench_series_add(bench_series *series, const bench_run *run, double seconds);

/* What a fault did, between it and the next one. Seconds since the fault; negative where it never came to that. */
typedef struct bench_aftermath {
    uint64_t failures;
    double first_failure, last_failure;
    bool disturbed;   /* a step's p99 of L2 hits, loads or sets was above the limit, or an operation failed */
    double recovered; /* when, after the last failure, a second began in which none of that was so */
} bench_aftermath;
bench_aftermath bench_series_aftermath(const bench_series *series, double from_seconds, double to_seconds, uint64_t limit_ns);

/* What all processes' L1 hold. */
typedef struct bench_holdings {
    uint64_t entries, bytes, payload_bytes;
} bench_holdings;
bench_holdings bench_holdings_read(const bench_run *run);

/* By how many bytes the processes' resident memory grew in the second half of the run, by a line through its points, and from how
   many; NAN of fewer than seven. */
typedef struct bench_growth {
    double bytes, from_bytes;
} bench_growth;
bench_growth bench_series_growth(const bench_series *series);

/* How a process that was killed came back. Shares are of its own reads; negative where nothing is known. */
typedef struct bench_rewarm {
    double l1_before;                    /* in the seconds before, at most four */
    double l1_first, l2_first, load_first; /* in its first second */
    double back_s;                       /* since the kill, until a step's L1 share was within 5 % of what it had been */
    uint64_t loads;                      /* until then */
} bench_rewarm;
bench_rewarm bench_series_rewarm(const bench_series *series, double killed_seconds);

#endif
