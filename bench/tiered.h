/* SPDX-License-Identifier: Apache-2.0 */
/* The main job: several processes share a key space and an L2, and every tier is loaded, timed and checked. */
#ifndef BENCH_TIERED_H
#define BENCH_TIERED_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "bench/environment.h"
#include "bench/run.h"

/* 0: fine; 1: wrong or failed operations; 2: wrong command line; 3: could not run. */
enum { BENCH_EXIT_GOOD = 0, BENCH_EXIT_BAD = 1, BENCH_EXIT_USAGE = 2, BENCH_EXIT_SETUP = 3 };

int bench_tiered_main(int argc, char **argv);
/* What the option table alone can't say; 0, or -1 with a text. Completes defaults that depend on others. */
int bench_tiered_settle(bench_settings *settings, const bench_options_given *given, char *error,
                        size_t error_size);

/* A share of the CPUs spent on other things, and a lag of the generator, above which a result warns of itself. */
#define BENCH_OTHERS_MAX      0.05
#define BENCH_SEND_LAG_MAX_NS (BENCH_NS_PER_MS / 2)

#define BENCH_SERIES_MAX 1800u
/* Counts over time; when it is full, every second point goes and the step doubles. */
typedef struct bench_series {
    uint32_t count, step_s;
    struct bench_series_point {
        double seconds; /* since recording began */
        uint64_t counts[BENCH_OUTCOME_COUNT];
        uint64_t failures;
    } points[BENCH_SERIES_MAX];
} bench_series;

/* Everything added up over threads. */
typedef struct bench_totals {
    bench_numbers numbers;
    uint64_t operations, reads, failures, mismatches;
    double seconds;
} bench_totals;

void bench_totals_collect(bench_totals *totals, const bench_run *run);
/* Shows what is going on, about once a second, until all processes have finished or the run is over. */
void bench_progress_run(bench_run *run, bench_series *series, const volatile int *interrupted);

void bench_report_print(FILE *out, const bench_run *run, const bench_totals *totals,
                        const bench_environment *environment);
/* 0 or -1. */
int bench_report_json(const char *path, const bench_run *run, const bench_totals *totals,
                      const bench_environment *environment, const bench_series *series);
bool bench_report_is_good(const bench_run *run, const bench_totals *totals);

const char *bench_outcome_word(bench_outcome outcome);
const char *bench_outcome_title(bench_outcome outcome);

#endif
