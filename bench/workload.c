/* SPDX-License-Identifier: Apache-2.0 */
/* Turns settings into streams of operations; nothing here depends on time, addresses or the order of threads. */
#include "bench/workload.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/trace_table.h"

static int parse_distribution(bench_workload *workload, const char *text, char *error, size_t error_size) {
    double theta = 0;
    char *end = NULL;
    workload->uniform = strcmp(text, "uniform") == 0;
    if (!workload->uniform && strncmp(text, "zipf:", 5) == 0) {
        theta = strtod(text + 5, &end);
        if (end == text + 5 || *end != '\0' || !(theta >= 0 && theta <= 10)) end = NULL;
    }
    if (!workload->uniform && end == NULL) {
        snprintf(error, error_size, "--dist: '%s' is neither uniform nor zipf:0 .. zipf:10", text);
        return -1;
    }
    if (!workload->uniform) bench_zipf_init(&workload->zipf, workload->keys, theta);
    return 0;
}

static uint64_t below(double percent) {
    return percent >= 100 ? UINT64_MAX : (uint64_t)(percent / 100 * 0x1.0p64);
}

int bench_workload_create(bench_workload *workload, const bench_workload_settings *settings, char *error,
                          size_t error_size) {
    *workload = (bench_workload){.settings = *settings, .keys = (uint32_t)settings->keys};
    if (settings->set_percent + settings->invalidate_percent > 100) {
        snprintf(error, error_size, "--set-percent and --invalidate-percent are more than 100 together");
        return -1;
    }
    workload->set_below = below(settings->set_percent);
    workload->invalidate_below = below(settings->set_percent + settings->invalidate_percent);
    if (settings->trace_path != NULL) {
        bench_trace_table table;
        if (bench_trace_table_load(&table, settings->trace_path, (bench_trace_format)settings->trace_format,
                                   error, error_size) != 0)
            return -1;
        workload->requests = table.requests;
        workload->request_count = table.request_count;
        workload->sizes = table.sizes;
        workload->keys = table.key_count;
        workload->trace_format = table.format;
        return 0;
    }
    bench_permutation_init(&workload->scatter, workload->keys, settings->seed);
    return parse_distribution(workload, settings->distribution, error, error_size);
}

void bench_workload_destroy(bench_workload *workload) {
    free(workload->requests);
    free(workload->sizes);
    *workload = (bench_workload){0};
}

static uint32_t bounded(uint64_t size, uint64_t max) {
    if (size > max) size = max;
    return size < BENCH_VALUE_BYTES_MIN ? BENCH_VALUE_BYTES_MIN : (uint32_t)size;
}

uint32_t bench_workload_value_bytes(const void *context, uint32_t key, uint32_t version) {
    const bench_workload *workload = context;
    const bench_workload_settings *settings = &workload->settings;
    if (workload->sizes != NULL && key < workload->keys)
        return bounded(workload->sizes[key], settings->value_bytes_max);
    bench_range range = settings->value_bytes;
    if (range.min == range.max) return bounded(range.min, settings->value_bytes_max);
    uint64_t bits = bench_mix(settings->seed ^ bench_mix((uint64_t)version << 32 | key));
    return bounded(range.min + bench_scale(bits, range.max - range.min + 1), settings->value_bytes_max);
}

uint32_t bench_workload_value_bytes_max(const bench_workload *workload) {
    const bench_workload_settings *settings = &workload->settings;
    uint64_t max = settings->value_bytes.max;
    if (workload->sizes != NULL)
        for (uint32_t i = 0; i < workload->keys; i++)
            if (workload->sizes[i] > max) max = workload->sizes[i];
    return bounded(max, settings->value_bytes_max);
}

static const char key_prefix[] = "strata:b";

void bench_key_encode(uint32_t key, char out[BENCH_KEY_BYTES]) {
    static const char digits[] = "0123456789abcdef";
    memcpy(out, key_prefix, 8);
    for (uint32_t i = 0; i < 8; i++) out[8 + i] = digits[key >> (28 - 4 * i) & 15];
}

uint32_t bench_key_decode(const void *bytes, size_t size) {
    const char *text = bytes;
    uint32_t key = 0;
    if (size != BENCH_KEY_BYTES || memcmp(text, key_prefix, sizeof key_prefix - 1) != 0) return UINT32_MAX;
    for (uint32_t i = 8; i < BENCH_KEY_BYTES; i++) {
        char c = text[i];
        uint32_t digit = c >= '0' && c <= '9'   ? (uint32_t)(c - '0')
                         : c >= 'a' && c <= 'f' ? (uint32_t)(c - 'a') + 10
                                                : 16;
        if (digit == 16) return UINT32_MAX;
        key = key << 4 | digit;
    }
    return key;
}

void bench_stream_init(bench_stream *stream, const bench_workload *workload, uint32_t index, uint32_t count,
                       uint64_t passes) {
    *stream = (bench_stream){.workload = workload, .position = index, .stride = count};
    stream->passes_left = passes == 0 ? UINT64_MAX : passes;
    bench_random_init(&stream->random, workload->settings.seed, index);
}

static bool next_request(bench_stream *stream, bench_request *out) {
    const bench_workload *workload = stream->workload;
    if (stream->position >= workload->request_count) {
        if (stream->passes_left != UINT64_MAX && --stream->passes_left == 0) return false;
        stream->position %= stream->stride;
        if (stream->position >= workload->request_count) return false; /* more threads than requests */
    }
    *out = workload->requests[stream->position];
    stream->position += stream->stride;
    return true;
}

bool bench_stream_next(bench_stream *stream, bench_operation *out) {
    const bench_workload *workload = stream->workload;
    const bench_workload_settings *settings = &workload->settings;
    uint64_t choice = bench_random_next(&stream->random);
    out->kind = choice < workload->set_below          ? BENCH_SET
                : choice < workload->invalidate_below ? BENCH_INVALIDATE
                                                      : BENCH_READ;
    if (workload->requests != NULL) {
        bench_request request;
        if (!next_request(stream, &request)) return false;
        out->key = request.key;
        if (settings->trace_operations)
            out->kind = request.operation == BENCH_TRACE_WRITE    ? BENCH_SET
                        : request.operation == BENCH_TRACE_DELETE ? BENCH_INVALIDATE
                                                                  : BENCH_READ;
    } else if (workload->uniform) {
        out->key = (uint32_t)bench_random_below(&stream->random, workload->keys);
    } else {
        out->key = (uint32_t)bench_permutation_map(&workload->scatter,
                                                   bench_zipf_draw(&workload->zipf, &stream->random));
    }
    out->ttl_ms = (int64_t)settings->ttl_ms.min;
    if (settings->ttl_ms.max > settings->ttl_ms.min)
        out->ttl_ms +=
            (int64_t)bench_random_below(&stream->random, settings->ttl_ms.max - settings->ttl_ms.min + 1);
    return true;
}
