/* SPDX-License-Identifier: Apache-2.0 */
/* A whole trace in memory: requests as indices of keys, and how long each key's value is. */
#ifndef BENCH_TRACE_TABLE_H
#define BENCH_TRACE_TABLE_H

#include "bench/workload.h"

typedef struct bench_trace_table {
    bench_request *requests;
    uint64_t request_count;
    int64_t *times_us; /* of each request since the first, never falling; NULL where the trace has no clock */
    uint32_t *sizes; /* of key_count keys, by first appearance; NULL where the trace has no sizes */
    uint32_t key_count;
    bench_trace_format format;
} bench_trace_table;

/* 0, or -1 with a text. A trace without any record is refused. */
int bench_trace_table_load(bench_trace_table *table, const char *path, bench_trace_format format, char *error,
                           size_t error_size);
void bench_trace_table_free(bench_trace_table *table);

#endif
