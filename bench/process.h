/* SPDX-License-Identifier: Apache-2.0 */
/* One process of the run: an engine of its own, its worker threads, its report. */
#ifndef BENCH_PROCESS_H
#define BENCH_PROCESS_H

#include "bench/loader.h"
#include "bench/run.h"

/* What every process of a job has. */
typedef struct bench_process_engine {
    bench_process_report *report;
    strata *engine;
    strata_namespace *ns;
    bench_loader loader;
    strata_warm *warm; /* NULL: it began cold */
} bench_process_engine;

/* In a process just forked: opens an engine and says in the report that it is ready, or why not; false then. */
bool bench_process_open(bench_process_engine *opened, bench_run *run, uint32_t index);
void bench_process_close(bench_process_engine *opened);
/* The whole life of child process index, after fork; what it returns is its exit status. */
int bench_process_main(bench_run *run, uint32_t index);
/* "500ms" as nanoseconds; -1 where it is no duration. */
int64_t bench_duration_ns(const char *text);

#endif
