/* SPDX-License-Identifier: Apache-2.0 */
/* Turns settings into streams of operations; nothing here depends on time, addresses or the order of threads. */
#include "bench/workload.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/trace_table.h"

static uint64_t below(double percent) {
    return percent >= 100 ? UINT64_MAX : (uint64_t)(percent / 100 * 0x1.0p64);
}

static int take_trace(bench_workload *workload, char *error, size_t error_size) {
    const bench_workload_settings *settings = &workload->settings;
    uint64_t copies = settings->amplify > 0 ? settings->amplify : 1;
    bench_trace_table table;
    if (bench_trace_table_load(&table, settings->trace_path, (bench_trace_format)settings->trace_format, error, error_size) != 0)
        return -1;
    workload->requests = table.requests;
    workload->request_count = table.request_count;
    workload->times_us = table.times_us;
    workload->sizes = table.sizes;
    workload->size_count = workload->trace_keys = table.key_count;
    workload->trace_format = table.format;
    if ((double)table.key_count * (double)copies > BENCH_KEYS_MAX) {
        snprintf(error, error_size, "--amplify: %llu copies of %u keys are more than %g", (unsigned long long)copies, table.key_count,
                 BENCH_KEYS_MAX);
        bench_workload_destroy(workload);
        return -1;
    }
    workload->keys = table.key_count * (uint32_t)copies;
    return 0;
}

int bench_workload_create(bench_workload *workload, const bench_workload_settings *settings, char *error,
                          size_t error_size) {
    double set = settings->set_percent, invalidate = set + settings->invalidate_percent, get = invalidate + settings->get_percent;
    *workload = (bench_workload){.settings = *settings, .keys = (uint32_t)settings->keys};
    if (get + settings->tag_percent > 100) {
        snprintf(error, error_size, "--set-percent, --invalidate-percent, --get-percent and --tag-percent are more than 100 together");
        return -1;
    }
    workload->set_below = below(set);
    workload->invalidate_below = below(invalidate);
    workload->get_below = below(get);
    workload->tag_below = below(get + settings->tag_percent);
    if (settings->tags > 0 && bench_popularity_create(&workload->tag_popularity, "--tag-dist", settings->tag_distribution,
                                                      (uint32_t)settings->tags, settings->seed, error, error_size) != 0)
        return -1;
    if (settings->trace_path != NULL) return take_trace(workload, error, error_size);
    if (bench_popularity_create(&workload->popularity, "--dist", settings->distribution, workload->keys, settings->seed, error,
                                error_size) != 0)
        return -1;
    workload->keys = workload->popularity.keys;
    workload->sizes = workload->popularity.sizes;
    workload->popularity.sizes = NULL;
    workload->size_count = workload->keys;
    return 0;
}

void bench_workload_destroy(bench_workload *workload) {
    free(workload->requests);
    free(workload->times_us);
    free(workload->sizes);
    bench_popularity_destroy(&workload->popularity);
    bench_popularity_destroy(&workload->tag_popularity);
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
        return bounded(workload->sizes[key % workload->size_count], settings->value_bytes_max);
    uint64_t bits = bench_mix(settings->seed ^ bench_mix((uint64_t)version << 32 | key));
    return bounded(bench_range_draw(&settings->value_bytes, bits), settings->value_bytes_max);
}

uint32_t bench_workload_value_bytes_max(const bench_workload *workload) {
    const bench_workload_settings *settings = &workload->settings;
    uint64_t max = settings->value_bytes.max;
    if (workload->sizes != NULL)
        for (uint32_t i = 0; i < workload->size_count; i++)
            if (workload->sizes[i] > max) max = workload->sizes[i];
    return bounded(max, settings->value_bytes_max);
}

static const char key_prefix[] = "strata:b";

size_t bench_key_encode(const bench_workload *workload, uint32_t key, char out[BENCH_KEY_BYTES_MAX]) {
    static const char digits[] = "0123456789abcdef";
    bench_range range = workload->settings.key_bytes;
    memcpy(out, key_prefix, 8);
    for (uint32_t i = 0; i < 8; i++) out[8 + i] = digits[key >> (28 - 4 * i) & 15];
    if (range.max <= BENCH_KEY_BYTES_MIN) return BENCH_KEY_BYTES_MIN;
    size_t size = bench_range_draw(&range, bench_mix(workload->settings.seed ^ bench_mix(~(uint64_t)key)));
    memset(out + BENCH_KEY_BYTES_MIN, '.', size - BENCH_KEY_BYTES_MIN);
    return size;
}

uint32_t bench_key_decode(const void *bytes, size_t size) {
    const char *text = bytes;
    uint32_t key = 0;
    if (size < BENCH_KEY_BYTES_MIN || memcmp(text, key_prefix, sizeof key_prefix - 1) != 0) return UINT32_MAX;
    for (uint32_t i = 8; i < BENCH_KEY_BYTES_MIN; i++) {
        char c = text[i];
        uint32_t digit = c >= '0' && c <= '9'   ? (uint32_t)(c - '0')
                         : c >= 'a' && c <= 'f' ? (uint32_t)(c - 'a') + 10
                                                : 16;
        if (digit == 16) return UINT32_MAX;
        key = key << 4 | digit;
    }
    return key;
}

uint32_t bench_workload_tags(const bench_workload *workload, uint32_t key, uint32_t tags[BENCH_TAGS_MAX]) {
    const bench_workload_settings *settings = &workload->settings;
    bench_random random;
    uint32_t count = 0;
    if (settings->tags == 0) return 0;
    bench_random_init(&random, settings->seed, (UINT64_C(1) << 40) + key);
    uint64_t wanted = bench_range_draw(&settings->tags_each, bench_random_next(&random));
    for (uint64_t draws = 0; count < wanted && draws < 4 * wanted; draws++) { /* a popular one may come again and again */
        uint32_t tag = bench_popularity_draw(&workload->tag_popularity, &random, 0), i = 0;
        while (i < count && tags[i] != tag) i++;
        if (i == count) tags[count++] = tag;
    }
    return count;
}

void bench_stream_init(bench_stream *stream, const bench_workload *workload, uint32_t index, uint32_t count,
                       uint64_t passes) {
    *stream = (bench_stream){.workload = workload, .position = index, .stride = count, .index = index};
    stream->passes_left = passes == 0 ? UINT64_MAX : passes;
    bench_random_init(&stream->random, workload->settings.seed, index);
}

static bool next_request(bench_stream *stream, bench_operation *out, bench_trace_operation *operation) {
    const bench_workload *workload = stream->workload;
    uint64_t copies = workload->keys / workload->trace_keys, count = workload->request_count * copies;
    if (stream->position >= count) {
        if (stream->passes_left != UINT64_MAX && --stream->passes_left == 0) return false;
        stream->position %= stream->stride;
        if (stream->position >= count) return false; /* more threads than requests */
        if (workload->times_us != NULL) stream->pass_us += workload->times_us[workload->request_count - 1];
    }
    uint64_t request = stream->position / copies, copy = stream->position % copies;
    stream->position += stream->stride;
    out->key = workload->requests[request].key + (uint32_t)copy * workload->trace_keys;
    out->due_us = workload->times_us != NULL ? stream->pass_us + workload->times_us[request] : 0;
    *operation = (bench_trace_operation)workload->requests[request].operation;
    return true;
}

static void draw_key(bench_stream *stream, bench_operation *out) {
    const bench_workload *workload = stream->workload;
    uint32_t newest = (uint32_t)((stream->written * stream->stride + stream->index) % workload->keys);
    if (workload->popularity.kind == BENCH_POPULARITY_LATEST && out->kind == BENCH_SET) {
        stream->written++;
        out->key = (uint32_t)((newest + stream->stride) % workload->keys);
        return;
    }
    out->key = bench_popularity_draw(&workload->popularity, &stream->random, newest);
}

static void draw_ttl(bench_stream *stream, bench_operation *out) {
    const bench_range *ttl_ms = &stream->workload->settings.ttl_ms;
    out->ttl_ms = (int64_t)ttl_ms->min;
    if (ttl_ms->max > ttl_ms->min) out->ttl_ms = (int64_t)bench_range_draw(ttl_ms, bench_random_next(&stream->random));
}

/* The other half of a key's pair is read next, or not. */
static void pair_up(bench_stream *stream, const bench_operation *read) {
    const bench_workload *workload = stream->workload;
    uint32_t partner = read->key ^ 1;
    if (workload->settings.pairs_percent <= 0 || read->kind != BENCH_READ || partner >= workload->keys) return;
    stream->partner = partner;
    stream->has_partner = bench_random_unit(&stream->random) * 100 < workload->settings.pairs_percent;
}

bool bench_stream_next(bench_stream *stream, bench_operation *out) {
    const bench_workload *workload = stream->workload;
    const bench_workload_settings *settings = &workload->settings;
    if (stream->has_partner) {
        stream->has_partner = false;
        *out = (bench_operation){.kind = BENCH_READ, .key = stream->partner};
        draw_ttl(stream, out);
        return true;
    }
    uint64_t choice = bench_random_next(&stream->random);
    *out = (bench_operation){.kind = choice < workload->set_below          ? BENCH_SET
                                     : choice < workload->invalidate_below ? BENCH_INVALIDATE
                                     : choice < workload->get_below        ? BENCH_GET
                                     : choice < workload->tag_below        ? BENCH_TAG
                                                                           : BENCH_READ};
    if (workload->requests != NULL) {
        bench_trace_operation operation;
        if (!next_request(stream, out, &operation)) return false;
        if (settings->trace_operations)
            out->kind = operation == BENCH_TRACE_WRITE    ? BENCH_SET
                        : operation == BENCH_TRACE_DELETE ? BENCH_INVALIDATE
                                                          : BENCH_READ;
    } else {
        draw_key(stream, out);
    }
    if (out->kind == BENCH_TAG) out->key = bench_popularity_draw(&workload->tag_popularity, &stream->random, 0);
    draw_ttl(stream, out);
    pair_up(stream, out);
    return true;
}
