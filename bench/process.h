/* SPDX-License-Identifier: Apache-2.0 */
/* One process of the run: an engine of its own, its worker threads, its report. */
#ifndef BENCH_PROCESS_H
#define BENCH_PROCESS_H

#include "bench/run.h"

/* The whole life of child process index, after fork; what it returns is its exit status. */
int bench_process_main(bench_run *run, uint32_t index);
/* "500ms" as nanoseconds; -1 where it is no duration. */
int64_t bench_duration_ns(const char *text);

#endif
