/* SPDX-License-Identifier: Apache-2.0 */
/* Reads result files, names their numbers, and says how sure a ratio of two sets of samples is. */
#include "bench/compare/metrics.h"

#include <ctype.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/median.h"
#include "bench/random.h"

#define RESAMPLES 2000u
#define SAMPLES_MIN 3u
#define FILE_BYTES_MAX 4096u

/* What is not measured, or is a detail of what is. */
static const char *const left_out[] = {"environment", "options", "workload", "series", "buckets", "processes", "servers", "curves", "memory", "faults"};

static bool is_left_out(const char *name) {
    for (size_t i = 0; i < sizeof left_out / sizeof left_out[0]; i++)
        if (strcmp(name, left_out[i]) == 0) return true;
    return false;
}

/* "client, 64 outstanding" becomes "client_64_outstanding". */
static void append_name(char *name, const char *part) {
    size_t size = strlen(name);
    if (size > 0 && size + 1 < BENCH_METRIC_NAME_BYTES) name[size++] = '.';
    bool gap = false;
    for (; *part != '\0' && size + 1 < BENCH_METRIC_NAME_BYTES; part++) {
        bool good = isalnum((unsigned char)*part) || *part == '_';
        if (good || !gap) name[size++] = good ? *part : '_';
        gap = !good;
    }
    name[size] = '\0';
}

static int add_sample(bench_metrics *metrics, const char *name, double value) {
    bench_metric *metric = NULL;
    for (size_t i = 0; i < metrics->count && metric == NULL; i++)
        if (strcmp(metrics->list[i].name, name) == 0) metric = &metrics->list[i];
    if (metric == NULL) {
        if (metrics->count == metrics->capacity) {
            size_t capacity = metrics->capacity == 0 ? 64 : 2 * metrics->capacity;
            bench_metric *list = realloc(metrics->list, capacity * sizeof *list);
            if (list == NULL) return -1;
            metrics->list = list;
            metrics->capacity = capacity;
        }
        metric = &metrics->list[metrics->count++];
        memset(metric, 0, sizeof *metric);
        snprintf(metric->name, sizeof metric->name, "%s", name);
    }
    if (metric->count == metric->capacity) {
        size_t capacity = metric->capacity == 0 ? 8 : 2 * metric->capacity;
        double *samples = realloc(metric->samples, capacity * sizeof *samples);
        if (samples == NULL) return -1;
        metric->samples = samples;
        metric->capacity = capacity;
    }
    metric->samples[metric->count++] = value;
    return 0;
}

/* Elements of an array are told apart by their name where they have one; without, they are samples of the same metrics. Of a case
   only its rounds count: what else it says sums them up, and would be one sample without an interval. */
static int walk(bench_metrics *metrics, const char *path, const json_t *value) {
    const json_t *rounds = json_object_get(value, "rounds");
    int outcome = 0;
    if (json_is_array(rounds) && json_is_string(json_object_get(value, "name"))) return walk(metrics, path, rounds);
    if (json_is_number(value)) return add_sample(metrics, path, json_number_value(value));
    if (json_is_object(value)) {
        const char *key;
        json_t *field;
        json_object_foreach((json_t *)(uintptr_t)value, key, field) {
            char name[BENCH_METRIC_NAME_BYTES];
            if (outcome != 0 || is_left_out(key)) continue;
            snprintf(name, sizeof name, "%s", path);
            if (strcmp(key, "rounds") != 0) append_name(name, key);
            outcome = walk(metrics, name, field);
        }
    }
    for (size_t i = 0; json_is_array(value) && outcome == 0 && i < json_array_size(value); i++) {
        const json_t *element = json_array_get(value, i);
        const char *title = json_string_value(json_object_get(element, "name"));
        char name[BENCH_METRIC_NAME_BYTES];
        snprintf(name, sizeof name, "%s", path);
        if (title != NULL) append_name(name, title);
        outcome = walk(metrics, name, element);
    }
    return outcome;
}

int bench_metrics_load(bench_metrics *metrics, const char *files, char *error, size_t error_size) {
    while (*files != '\0') {
        char path[FILE_BYTES_MAX];
        size_t size = strcspn(files, ",");
        json_error_t place;
        if (size == 0 || size >= sizeof path) {
            snprintf(error, error_size, "a file name is empty or longer than %u bytes", FILE_BYTES_MAX - 1);
            return -1;
        }
        memcpy(path, files, size);
        path[size] = '\0';
        files += size + (files[size] == ',');
        json_t *root = json_load_file(path, JSON_REJECT_DUPLICATES, &place);
        if (root == NULL) {
            if (place.line < 0) snprintf(error, error_size, "%s", place.text); /* it names the file */
            else snprintf(error, error_size, "%s: line %d: %s", path, place.line, place.text);
            return -1;
        }
        int outcome = walk(metrics, "", root);
        json_decref(root);
        if (outcome != 0 || metrics->count == 0) {
            snprintf(error, error_size, outcome != 0 ? "%s: out of memory" : "%s: no measured number in it", path);
            return -1;
        }
    }
    return 0;
}

void bench_metrics_release(bench_metrics *metrics) {
    for (size_t i = 0; i < metrics->count; i++) free(metrics->list[i].samples);
    free(metrics->list);
    memset(metrics, 0, sizeof *metrics);
}

const bench_metric *bench_metrics_find(const bench_metrics *metrics, const char *name) {
    for (size_t i = 0; i < metrics->count; i++)
        if (strcmp(metrics->list[i].name, name) == 0) return &metrics->list[i];
    return NULL;
}

bool bench_metric_is_meant(const bench_metric *metric, const char *name) {
    size_t size = strlen(name);
    for (const char *at = metric->name; at != NULL;) {
        if (strncmp(at, name, size) == 0 &&
            (at[size] == '\0' || strcmp(at + size, "_ns") == 0 || strcmp(at + size, "_us") == 0))
            return true;
        at = strchr(at, '.');
        if (at != NULL) at++;
    }
    return false;
}

int bench_metric_direction(const char *name) {
    static const char *const more[] = {"per_second", "l1_hit", "hit_ratio", "millions"};
    static const char *const less[] = {"_ns", "_us", "wakes", "allocations", "failure", "miss", "bytes_per_entry", "received_bytes", "sent_bytes", "missing", "lag", "switches"};
    const char *last = strrchr(name, '.');
    last = last != NULL ? last + 1 : name;
    if (strcmp(last, "count") == 0 || strncmp(last, "payload", 7) == 0) return 0;
    if (strcmp(last, "ns") == 0 || strcmp(last, "us") == 0) return -1;
    for (size_t i = 0; i < sizeof less / sizeof less[0]; i++)
        if (strstr(last, less[i]) != NULL) return -1;
    for (size_t i = 0; i < sizeof more / sizeof more[0]; i++)
        if (strstr(last, more[i]) != NULL) return 1;
    return 0;
}

/* ---- statistics --------------------------------------------------------------------------------------------- */

double bench_metric_median(const bench_metric *metric) {
    double *copy = malloc((metric->count + 1) * sizeof *copy);
    if (copy == NULL) return NAN;
    memcpy(copy, metric->samples, metric->count * sizeof *copy);
    double middle = bench_median(copy, metric->count);
    free(copy);
    return middle;
}

static double resampled(const bench_metric *metric, bench_random *random, double *into) {
    for (size_t i = 0; i < metric->count; i++)
        into[i] = metric->samples[bench_random_below(random, metric->count)];
    return bench_median(into, metric->count);
}

bool bench_metric_ratio(const bench_metric *a, const bench_metric *b, double *ratio, double *low, double *high) {
    double base = bench_metric_median(a);
    *ratio = bench_metric_median(b) / base;
    if (a->count < SAMPLES_MIN || b->count < SAMPLES_MIN || base == 0) return false;
    size_t most = a->count > b->count ? a->count : b->count;
    double *ratios = malloc(RESAMPLES * sizeof *ratios), *scratch = malloc(most * sizeof *scratch);
    bool able = ratios != NULL && scratch != NULL;
    bench_random random;
    bench_random_init(&random, 1, 0);
    for (uint32_t i = 0; able && i < RESAMPLES; i++) {
        double below = resampled(a, &random, scratch);
        ratios[i] = resampled(b, &random, scratch) / (below != 0 ? below : base);
    }
    if (able) {
        bench_sort(ratios, RESAMPLES);
        *low = ratios[RESAMPLES / 40];
        *high = ratios[RESAMPLES - 1 - RESAMPLES / 40];
    }
    free(ratios);
    free(scratch);
    return able;
}
