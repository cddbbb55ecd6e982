/* SPDX-License-Identifier: Apache-2.0 */
/* The main job: several processes share a key space and an L2, and every tier is loaded, timed and checked. */
#ifndef BENCH_TIERED_H
#define BENCH_TIERED_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "bench/environment.h"
#include "bench/others.h"
#include "bench/run.h"
#include "bench/series.h"

/* argv without the program and subcommand. */
int bench_tiered_main(int argc, char **argv);
int bench_faults_main(int argc, char **argv);
int bench_restart_main(int argc, char **argv);
/* What the option table alone can't say; 0, or -1 with a text. Completes defaults that depend on others. */
int bench_tiered_settle(bench_settings *settings, const bench_options_given *given, char *error,
                        size_t error_size);

/* Resident memory that grows by less than either in the second half of a run is called flat. */
#define BENCH_FLAT_PART       0.01
#define BENCH_FLAT_BYTES      1048576
/* After a fault all is well again when p99 is below this. */
#define BENCH_RECOVERED_NS    ((uint64_t)BENCH_NS_PER_MS)
/* A lag of the generator above which a result warns of itself. */
#define BENCH_SEND_LAG_MAX_NS (BENCH_NS_PER_MS / 2)

/* Everything added up over threads. */
typedef struct bench_totals {
    bench_numbers numbers;
    uint64_t operations, reads, failures, mismatches;
    double seconds;
} bench_totals;

void bench_totals_collect(bench_totals *totals, const bench_run *run);
/* Shows what is going on, four times a second on a terminal, until all processes have finished or the run is over. */
void bench_progress_run(bench_run *run, bench_series *series);

void bench_report_print(FILE *out, const bench_run *run, const bench_totals *totals,
                        const bench_environment *environment, const bench_series *series);
/* 0 or -1. */
int bench_report_json(const char *path, const bench_run *run, const bench_totals *totals,
                      const bench_environment *environment, const bench_series *series);
/* Whether other work on the machine took more than BENCH_OTHERS_MAX of it. */
bool bench_report_was_disturbed(const bench_run *run, const bench_environment *environment);
/* Whether the generator was behind its rate: then the run is not valid. */
bool bench_report_lagged(const bench_run *run, const bench_totals *totals);
/* Whether another closed loop like this one may be further from it than BENCH_NOISE_MAX, by the rates of its steps. */
bool bench_report_was_noisy(const bench_run *run, const bench_series *series);
#define BENCH_CAUTION_NOISY     "another run like this one may differ by more than 3 %: the machine was noisy"
#define BENCH_CAUTION_DISTURBED "the machine was not quiet: don't quote these latencies"
#define BENCH_CAUTION_LAGGED                                                                       \
    "the generator lagged behind its rate (p99 of the send lag above 0.5 ms): the load was not what was asked for"
/* Of the engines' memory, an operation, warm-up included; where they are counted. */
double bench_report_allocations(const bench_run *run, const bench_totals *totals);
bool bench_report_is_good(const bench_run *run, const bench_totals *totals);

const char *bench_outcome_word(bench_outcome outcome);
const char *bench_outcome_title(bench_outcome outcome);

#endif
