/* SPDX-License-Identifier: Apache-2.0 */
/* The numbers of result files as named lists of samples, whatever subcommand wrote the file. */
#ifndef BENCH_COMPARE_METRICS_H
#define BENCH_COMPARE_METRICS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BENCH_METRIC_NAME_BYTES 160

/* One number of a result, under its place in the document: "latency.l2_hit.p99_ns", "cases.client_64_outstanding.cpu_us".
   Rounds of one file and several files of one side are samples of the same metric. */
typedef struct bench_metric {
    char name[BENCH_METRIC_NAME_BYTES];
    double *samples;
    size_t count, capacity;
} bench_metric;

/* owner: one thread. All zero is an empty one. */
typedef struct bench_metrics {
    bench_metric *list; /* in the order of the first document */
    size_t count, capacity;
} bench_metrics;

/* Adds the numbers of the documents that text names, separated by commas: result, latency, service and whatever else is
   measured; environment, options, series and histogram buckets are left out. 0, or -1 with a text. */
int bench_metrics_load(bench_metrics *metrics, const char *files, char *error, size_t error_size);
void bench_metrics_release(bench_metrics *metrics);
const bench_metric *bench_metrics_find(const bench_metrics *metrics, const char *name);
/* Whether a name, perhaps without its beginning or the unit at its end, means this metric: "l2_hit.p99". */
bool bench_metric_is_meant(const bench_metric *metric, const char *name);
/* 1: more is better, -1: less is better, 0: neither. */
int bench_metric_direction(const char *name);

double bench_metric_median(const bench_metric *metric);
/* The median of b over that of a, and its interval of 95 % by resampling both sides; false where a side has fewer than
   3 samples, or a's median is 0: then low and high stay untouched. The same samples give the same interval. */
bool bench_metric_ratio(const bench_metric *a, const bench_metric *b, double *ratio, double *low, double *high);

#endif
