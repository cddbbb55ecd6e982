/* SPDX-License-Identifier: Apache-2.0 */
/* The highest rate at which a condition on latency holds. */
#ifndef BENCH_FIND_MAX_H
#define BENCH_FIND_MAX_H

#include <stdbool.h>
#include <stddef.h>

#include "bench/compare/metrics.h"

/* "l2_hit.p99<1ms": a metric of a result, and what it must stay below. */
typedef struct bench_goal {
    char metric[BENCH_METRIC_NAME_BYTES];
    double limit_ns;
} bench_goal;

/* False where the text is no goal. */
bool bench_goal_parse(const char *text, bench_goal *goal);

/* One trial at a rate: 1 it held, 0 it did not, -1 it could not be run. */
typedef int (*bench_trial_fn)(void *context, double rate);
/* Doubles the rate from first until a trial fails, then halves the gap until it is below a tenth of the rate. Returns the
   highest rate that held, 0 where the first one did not, -1 where a trial could not be run. */
double bench_find_max(double first, bench_trial_fn trial, void *context);

/* strata-bench tiered --find-max: trials are runs of this program with the same options. Returns the exit status. */
int bench_find_max_main(const char *subcommand, const char *goal_text, double first_rate, int argc, char **argv);

#endif
