/* SPDX-License-Identifier: Apache-2.0 */
/* Reads request traces of several formats, plain or compressed by zstd, one record after the other in flat memory. */
#ifndef BENCH_TRACE_H
#define BENCH_TRACE_H

#include <stddef.h>
#include <stdint.h>

typedef enum bench_trace_format {
    BENCH_TRACE_AUTO = 0, /* by name, else by content */
    BENCH_TRACE_KV12 = 1, /* records of u64 key, u32 size, little endian */
    BENCH_TRACE_ORACLE_GENERAL =
        2,               /* records of u32 seconds, u64 key, u32 size, i64 next access, little endian */
    BENCH_TRACE_CSV = 3, /* a header names the columns: lbn or key, and size, time, op where there are such */
    BENCH_TRACE_TWITTER = 4, /* timestamp,key,key_size,value_size,client_id,operation,ttl without a header */
    BENCH_TRACE_MONITOR = 5  /* what redis-cli MONITOR prints; commands that name no key are passed over */
} bench_trace_format;
#define BENCH_TRACE_FORMATS "auto|kv12|oracleGeneral|csv|twitter|monitor"

typedef enum bench_trace_operation {
    BENCH_TRACE_READ = 0, /* also where the trace does not say */
    BENCH_TRACE_WRITE = 1,
    BENCH_TRACE_DELETE = 2
} bench_trace_operation;

typedef struct bench_trace_record {
    uint64_t key; /* the number in the trace; a hash of a key that is no number */
    uint32_t size_bytes; /* 1 where the trace does not say */
    bench_trace_operation operation;
    int64_t time_us; /* by the trace's own clock; -1 where it has none */
} bench_trace_record;

typedef struct bench_trace bench_trace;

/* Opens a trace. NULL with a text that names the file, what was found and what is accepted. */
bench_trace *bench_trace_open(const char *path, bench_trace_format format, char *error, size_t error_size);
/* 1 and a record; 0 at the end; -1 where the file is damaged, with a text that names file, record and matter. */
int bench_trace_next(bench_trace *trace, bench_trace_record *record, char *error, size_t error_size);
/* What it was taken for. */
bench_trace_format bench_trace_format_of(const bench_trace *trace);
const char *bench_trace_format_name(bench_trace_format format);
void bench_trace_close(bench_trace *trace);

#endif
