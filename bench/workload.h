/* SPDX-License-Identifier: Apache-2.0 */
/* What is done: streams of operations from a distribution or a trace, one per thread, the same for the same seed. */
#ifndef BENCH_WORKLOAD_H
#define BENCH_WORKLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bench/options.h"
#include "bench/popularity.h"
#include "bench/random.h"
#include "bench/trace.h"
#include "bench/value.h"

#define BENCH_KEY_BYTES_MIN 16u
#define BENCH_KEY_BYTES_MAX 1024u
#define BENCH_KEYS_MAX      1e9
#define BENCH_TAGS_MAX      16u /* of one value */

typedef enum bench_operation_kind {
    BENCH_READ, /* get_or_load */
    BENCH_SET,
    BENCH_INVALIDATE,
    BENCH_GET, /* without a loader */
    BENCH_TAG  /* invalidates a tag */
} bench_operation_kind;

typedef struct bench_operation {
    bench_operation_kind kind;
    uint32_t key;   /* of BENCH_TAG: the tag */
    int64_t ttl_ms; /* 0 for the engine's default */
    int64_t due_us; /* by the trace's clock, since its first request; 0 without a clock */
} bench_operation;

typedef struct bench_workload_settings {
    const char *trace_path;   /* NULL for a distribution */
    uint32_t trace_format;    /* bench_trace_format */
    uint8_t trace_operations; /* what the trace calls a write or delete is one */
    uint64_t amplify;         /* each request of the trace, once for so many copies of its keys; 0 is 1 */
    const char *distribution; /* BENCH_POPULARITY_FORM */
    uint64_t keys;
    bench_range key_bytes; /* max 0: BENCH_KEY_BYTES_MIN */
    bench_range value_bytes;
    uint64_t value_bytes_max;
    bench_range ttl_ms; /* max 0: none given */
    double set_percent, invalidate_percent, get_percent, tag_percent;
    double pairs_percent; /* of reads of a key, those after which its partner is read: so much of the time it is asked for next */
    uint64_t tags;                /* there are; 0: values have none */
    bench_range tags_each;        /* of a value */
    const char *tag_distribution; /* which tags a value has, and which are invalidated */
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
    bench_popularity popularity, tag_popularity;
    bench_request *requests; /* of the trace, in order; NULL for a distribution */
    int64_t *times_us;       /* when each is due; NULL where the trace has no clock */
    uint64_t request_count;
    uint32_t trace_keys; /* keys are this times the copies */
    uint32_t *sizes;     /* of each key's value, as the trace or the file of weights has them; NULL where it has none */
    uint32_t size_count;
    bench_trace_format trace_format;
    uint64_t set_below, invalidate_below, get_below, tag_below; /* of 64 random bits */
} bench_workload;

/* 0, or -1 with a text. */
int bench_workload_create(bench_workload *workload, const bench_workload_settings *settings, char *error,
                          size_t error_size);
void bench_workload_destroy(bench_workload *workload);
/* How long the value of a key's version is. A bench_size_fn; context is the workload. */
uint32_t bench_workload_value_bytes(const void *context, uint32_t key, uint32_t version);
uint32_t bench_workload_value_bytes_max(const bench_workload *workload);
/* The key as the cache sees it: how long it is; and back, UINT32_MAX for what is no key of ours. */
size_t bench_key_encode(const bench_workload *workload, uint32_t key, char out[BENCH_KEY_BYTES_MAX]);
uint32_t bench_key_decode(const void *bytes, size_t size);
/* The tags of a key's values, different ones, the same each time; how many. */
uint32_t bench_workload_tags(const bench_workload *workload, uint32_t key, uint32_t tags[BENCH_TAGS_MAX]);

/* owner: one thread. */
typedef struct bench_stream {
    const bench_workload *workload;
    bench_random random;
    uint64_t position, stride; /* in the trace and its copies: this thread's requests are position, position + stride, ... */
    uint64_t index, written;   /* of count threads; how many sets it has drawn */
    int64_t pass_us;           /* how long the passes before this one took by the trace's clock */
    uint64_t passes_left;      /* through the trace; UINT64_MAX for no end */
    uint32_t partner;          /* to be read next */
    bool has_partner;
} bench_stream;

/* The stream of thread index of count; passes through the trace, 0 for no end. */
void bench_stream_init(bench_stream *stream, const bench_workload *workload, uint32_t index, uint32_t count,
                       uint64_t passes);
/* The next operation; false at the end. */
bool bench_stream_next(bench_stream *stream, bench_operation *out);

#endif
