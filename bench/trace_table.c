/* SPDX-License-Identifier: Apache-2.0 */
/* Loads a trace and numbers its keys in the order of their first appearance. */
#include "bench/trace_table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Key to index, open addressing, at most half full. */
typedef struct key_map {
    uint64_t *keys;
    uint32_t *indices; /* + 1; 0 is free */
    uint64_t mask;
} key_map;

typedef struct loader {
    bench_trace_table *table;
    key_map map;
    uint64_t requests_max;
    int64_t first_us; /* by the trace's clock */
    int timeless;
    uint32_t sizes_max;
    int has_sizes;
} loader;

static int map_init(key_map *map, uint64_t slots) {
    map->keys = malloc(slots * sizeof *map->keys);
    map->indices = calloc(slots, sizeof *map->indices);
    map->mask = slots - 1;
    return map->keys != NULL && map->indices != NULL ? 0 : -1;
}

static void map_free(key_map *map) {
    free(map->keys);
    free(map->indices);
}

static uint64_t map_slot(const key_map *map, uint64_t key) {
    uint64_t slot = bench_mix(key) & map->mask;
    while (map->indices[slot] != 0 && map->keys[slot] != key) slot = (slot + 1) & map->mask;
    return slot;
}

static int map_grow(key_map *map) {
    key_map larger = {0};
    if (map_init(&larger, (map->mask + 1) * 2) != 0) {
        map_free(&larger);
        return -1;
    }
    for (uint64_t i = 0; i <= map->mask; i++) {
        if (map->indices[i] == 0) continue;
        uint64_t slot = map_slot(&larger, map->keys[i]);
        larger.keys[slot] = map->keys[i];
        larger.indices[slot] = map->indices[i];
    }
    map_free(map);
    *map = larger;
    return 0;
}

/* The index of a key, a new one where it is new; UINT32_MAX when out of memory. */
static uint32_t index_of(loader *state, const bench_trace_record *record) {
    bench_trace_table *table = state->table;
    if ((uint64_t)table->key_count * 2 > state->map.mask && map_grow(&state->map) != 0) return UINT32_MAX;
    uint64_t slot = map_slot(&state->map, record->key);
    if (state->map.indices[slot] != 0) { /* a size may be told only by a later request */
        uint32_t known = state->map.indices[slot] - 1;
        if (table->sizes[known] == 1 && record->size_bytes != 1) {
            table->sizes[known] = record->size_bytes;
            state->has_sizes = 1;
        }
        return known;
    }
    if (table->key_count == state->sizes_max) {
        uint32_t more = state->sizes_max == 0 ? 4096 : state->sizes_max * 2;
        uint32_t *sizes = more > state->sizes_max ? realloc(table->sizes, more * sizeof *sizes) : NULL;
        if (sizes == NULL) return UINT32_MAX;
        table->sizes = sizes;
        state->sizes_max = more;
    }
    table->sizes[table->key_count] = record->size_bytes;
    if (record->size_bytes != 1) state->has_sizes = 1;
    state->map.keys[slot] = record->key;
    state->map.indices[slot] = ++table->key_count;
    return table->key_count - 1;
}

/* A clock that goes back stands still instead. */
static void add_time(loader *state, int64_t time_us) {
    bench_trace_table *table = state->table;
    uint64_t i = table->request_count;
    if (time_us < 0) state->timeless = 1;
    if (i == 0) state->first_us = time_us;
    int64_t since_us = time_us - state->first_us, last_us = i > 0 ? table->times_us[i - 1] : 0;
    table->times_us[i] = since_us > last_us ? since_us : last_us;
}

/* Requests of the same moment, as clocks of whole seconds have them, are spread evenly until the next one; the last ones over as
   long as those before, or a second. */
static void spread_times(bench_trace_table *table) {
    int64_t gap_us = 1000000;
    for (uint64_t first = 0, next; first < table->request_count; first = next) {
        int64_t at_us = table->times_us[first];
        for (next = first; next < table->request_count && table->times_us[next] == at_us;) next++;
        if (next < table->request_count) gap_us = table->times_us[next] - at_us;
        for (uint64_t i = first; i < next; i++)
            table->times_us[i] = at_us + (int64_t)((double)gap_us * (double)(i - first) / (double)(next - first));
    }
}

static int add(loader *state, const bench_trace_record *record) {
    bench_trace_table *table = state->table;
    if (table->request_count == state->requests_max) {
        uint64_t more = state->requests_max == 0 ? 65536 : state->requests_max * 2;
        bench_request *requests = realloc(table->requests, more * sizeof *requests);
        if (requests == NULL) return -1;
        table->requests = requests;
        int64_t *times_us = realloc(table->times_us, more * sizeof *times_us);
        if (times_us == NULL) return -1;
        table->times_us = times_us;
        state->requests_max = more;
    }
    add_time(state, record->time_us);
    uint32_t key = index_of(state, record);
    if (key == UINT32_MAX) return -1;
    table->requests[table->request_count++] = (bench_request){key, (uint32_t)record->operation};
    return 0;
}

static int load_all(loader *state, bench_trace *trace, const char *path, char *error, size_t error_size) {
    bench_trace_record record;
    int outcome;
    while ((outcome = bench_trace_next(trace, &record, error, error_size)) == 1)
        if (add(state, &record) != 0) {
            snprintf(error, error_size, "%s: out of memory after %llu records", path,
                     (unsigned long long)state->table->request_count);
            return -1;
        }
    if (outcome == 0 && state->table->request_count == 0) {
        snprintf(error, error_size, "%s: no records in it", path);
        return -1;
    }
    return outcome;
}

int bench_trace_table_load(bench_trace_table *table, const char *path, bench_trace_format format, char *error,
                           size_t error_size) {
    loader state = {.table = table};
    *table = (bench_trace_table){0};
    bench_trace *trace = bench_trace_open(path, format, error, error_size);
    if (trace == NULL) return -1;
    table->format = bench_trace_format_of(trace);
    int outcome = -1;
    if (map_init(&state.map, 65536) != 0)
        snprintf(error, error_size, "%s: out of memory", path);
    else
        outcome = load_all(&state, trace, path, error, error_size);
    map_free(&state.map);
    bench_trace_close(trace);
    if (outcome != 0) {
        bench_trace_table_free(table);
        return outcome;
    }
    if (!state.has_sizes) {
        free(table->sizes);
        table->sizes = NULL;
    }
    if (state.timeless) {
        free(table->times_us);
        table->times_us = NULL;
    } else {
        spread_times(table);
    }
    return 0;
}

void bench_trace_table_free(bench_trace_table *table) {
    free(table->requests);
    free(table->times_us);
    free(table->sizes);
    *table = (bench_trace_table){0};
}
