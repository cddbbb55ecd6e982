/* SPDX-License-Identifier: Apache-2.0 */
/* What is done: streams of operations from a distribution or a trace, one per thread, the same for the same seed. */
#ifndef BENCH_WORKLOAD_H
#define BENCH_WORKLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bench/options.h"
#include "bench/random.h"
#include "bench/trace.h"
#include "bench/value.h"
#include "bench/zipf.h"

#define BENCH_KEY_BYTES 16u
#define BENCH_KEYS_MAX  1e9

typedef enum bench_operation_kind { BENCH_READ, BENCH_SET, BENCH_INVALIDATE } bench_operation_kind;

typedef struct bench_operation {
    bench_operation_kind kind;
    uint32_t key;
    int64_t ttl_ms; /* 0 for the engine's default */
} bench_operation;

typedef struct bench_workload_settings {
    const char *trace_path;   /* NULL for a distribution */
    uint32_t trace_format;    /* bench_trace_format */
    uint8_t trace_operations; /* what the trace calls a write or delete is one */
    const char *distribution; /* "zipf:0.99", "uniform" */
    uint64_t keys;
    bench_range value_bytes;
    uint64_t value_bytes_max;
    bench_range ttl_ms; /* max 0: none given */
    double set_percent, invalidate_percent;
    uint64_t seed;
} bench_workload_settings;

typedef struct bench_request {
    uint32_t key;
    uint32_t operation; /* bench_trace_operation */
} bench_request;

/* Const after create, and shared by processes forked later. */
typedef struct bench_workload {
    bench_workload_settings settings;
    uint32_t keys;
    bool uniform;
    bench_zipf zipf;
    bench_permutation scatter;
    bench_request *requests; /* of the trace, in order; NULL for a distribution */
    uint64_t request_count;
    uint32_t *sizes; /* of each key's value, as the trace has them; NULL where it has none */
    bench_trace_format trace_format;
    uint64_t set_below, invalidate_below; /* of 64 random bits */
} bench_workload;

/* 0, or -1 with a text. */
int bench_workload_create(bench_workload *workload, const bench_workload_settings *settings, char *error,
                          size_t error_size);
void bench_workload_destroy(bench_workload *workload);
/* How long the value of a key's version is. A bench_size_fn; context is the workload. */
uint32_t bench_workload_value_bytes(const void *context, uint32_t key, uint32_t version);
uint32_t bench_workload_value_bytes_max(const bench_workload *workload);
/* The key as the cache sees it, and back; UINT32_MAX for what is no key of ours. */
void bench_key_encode(uint32_t key, char out[BENCH_KEY_BYTES]);
uint32_t bench_key_decode(const void *bytes, size_t size);

/* owner: one thread. */
typedef struct bench_stream {
    const bench_workload *workload;
    bench_random random;
    uint64_t position, stride; /* in the trace: this thread's requests are position, position + stride, ... */
    uint64_t passes_left;      /* through the trace; UINT64_MAX for no end */
} bench_stream;

/* The stream of thread index of count; passes through the trace, 0 for no end. */
void bench_stream_init(bench_stream *stream, const bench_workload *workload, uint32_t index, uint32_t count,
                       uint64_t passes);
/* The next operation; false at the end. */
bool bench_stream_next(bench_stream *stream, bench_operation *out);

#endif
