/* SPDX-License-Identifier: Apache-2.0 */
/* Where a result was measured: machine, kernel, versions, build. */
#ifndef BENCH_ENVIRONMENT_H
#define BENCH_ENVIRONMENT_H

#include <stdint.h>

#include "bench/json.h"

typedef struct bench_environment {
    char cpu[128];
    uint32_t cpus;
    int64_t memory_bytes;
    char kernel[256];
    char governor[32]; /* "" where the machine does not say */
    char compiler[128];
    char flags[256];
    char commit[64]; /* "unknown" where the build did not say */
    char started_utc[32];
    double load_average;
} bench_environment;

void bench_environment_read(bench_environment *environment);
/* Its fields, into an object that is open. */
void bench_environment_put_fields(bench_json *json, const bench_environment *environment);
/* CPU time that the whole machine has spent on anything since it started. */
int64_t bench_cpu_busy_us(void);
/* CPU time of one process; 0 where it is gone. */
int64_t bench_cpu_of_us(int64_t pid);
/* Resident memory of one process; 0 where it is gone. */
int64_t bench_resident_of_bytes(int64_t pid);

#endif
