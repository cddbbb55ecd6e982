/* SPDX-License-Identifier: Apache-2.0 */
/* Reads a trace at once and gives its keys small numbers, by open addressing. */
#include "bench/requests.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/random.h"
#include "bench/trace.h"

#define NONE UINT32_MAX

static bool number_keys(const uint64_t *raw, bench_requests *r) {
    uint64_t mask = 1;
    while (mask < 2 * r->count) mask *= 2;
    uint64_t *seen = malloc(mask * sizeof *seen);
    uint32_t *numbers = malloc(mask * sizeof *numbers);
    r->keys = malloc((r->count + 1) * sizeof *r->keys);
    bool good = seen != NULL && numbers != NULL && r->keys != NULL;
    if (good) memset(numbers, 255, mask * sizeof *numbers);
    for (uint64_t i = 0; good && i < r->count; i++) {
        uint64_t at = bench_mix(raw[i]) & (mask - 1);
        while (numbers[at] != NONE && seen[at] != raw[i]) at = (at + 1) & (mask - 1);
        if (numbers[at] == NONE) {
            seen[at] = raw[i];
            numbers[at] = (uint32_t)r->distinct++;
            r->distinct_bytes += r->sizes[i];
        }
        r->keys[i] = numbers[at];
    }
    free(seen);
    free(numbers);
    return good;
}

static bool grow(uint64_t **raw, uint32_t **sizes, uint64_t room) {
    uint64_t *more = realloc(*raw, room * sizeof *more);
    if (more != NULL) *raw = more;
    uint32_t *longer = realloc(*sizes, room * sizeof *longer);
    if (longer != NULL) *sizes = longer;
    return more != NULL && longer != NULL;
}

bool bench_requests_read(const char *path, bench_requests *r, char *error, size_t error_size) {
    *r = (bench_requests){0};
    bench_trace *trace = bench_trace_open(path, BENCH_TRACE_AUTO, error, error_size);
    if (trace == NULL) return false;
    uint64_t room = 1 << 20, *raw = NULL;
    bench_trace_record record;
    bool able = grow(&raw, &r->sizes, room);
    int more = 1;
    while (able && (more = bench_trace_next(trace, &record, error, error_size)) == 1) {
        able = r->count < NONE && (r->count < room || grow(&raw, &r->sizes, room *= 2));
        if (!able) break;
        r->sizes[r->count] = record.size_bytes;
        raw[r->count++] = record.key;
    }
    bench_trace_close(trace);
    able = able && (more != 0 || number_keys(raw, r));
    if (!able) snprintf(error, error_size, "%s: out of memory, or more than 4294967295 requests", path);
    free(raw);
    if (able && more == 0) return true;
    bench_requests_release(r);
    return false;
}

void bench_requests_release(bench_requests *r) {
    free(r->keys);
    free(r->sizes);
    *r = (bench_requests){0};
}
