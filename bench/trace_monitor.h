/* SPDX-License-Identifier: Apache-2.0 */
/* Lines of redis-cli MONITOR: 1339518083.107412 [0 127.0.0.1:60866] "set" "key" "value". */
#ifndef BENCH_TRACE_MONITOR_H
#define BENCH_TRACE_MONITOR_H

#include <stddef.h>
#include <stdint.h>

#include "bench/trace.h"

typedef struct bench_monitor_key {
    const char *text; /* as it is quoted */
    size_t size;
    uint32_t value_bytes; /* of what is written, else 1 */
    bench_trace_operation operation;
    int64_t time_us;
} bench_monitor_key;

int bench_monitor_looks_like(const char *line, size_t size);
/* The key number which, from 0, of a line: 1; 0 where there is none of that number; -1 where it is no such line. */
int bench_monitor_decode(const char *line, size_t size, uint32_t which, bench_monitor_key *out);
/* "12" or "12.345678" seconds; -1 where it is neither. */
int64_t bench_monitor_time_us(const char *text, size_t size);

#endif
