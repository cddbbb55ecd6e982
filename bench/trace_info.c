/* SPDX-License-Identifier: Apache-2.0 */
/* Counts what is in a trace: requests, keys, sizes, operations, popularity, and how far apart requests of a key are. */
#include "bench/trace_info.h"

#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/html/chart.h"
#include "bench/html/style.h"
#include "bench/json.h"
#include "bench/median.h"
#include "bench/options.h"
#include "bench/result.h"
#include "bench/tiered.h"

#define CURVE_POINTS 100u

/* ---- counting ----------------------------------------------------------------------------------------------- */

/* A tree of sums over requests: 1 where a request is the last one of its key so far. */
static void tree_add(uint32_t *tree, uint64_t size, uint64_t at, uint32_t more) {
    for (at++; at <= size; at += at & (~at + 1)) tree[at] += more;
}
static uint64_t tree_sum(const uint32_t *tree, uint64_t at) {
    uint64_t sum = 0;
    for (; at > 0; at &= at - 1) sum += tree[at];
    return sum;
}

uint64_t *bench_reuse_distances(const bench_trace_table *table) {
    uint64_t count = table->request_count, seen = 0;
    uint64_t *distances = calloc(table->key_count + 1ull, sizeof *distances), *last = calloc(table->key_count, sizeof *last);
    uint32_t *tree = calloc(count + 1, sizeof *tree);
    bool able = distances != NULL && last != NULL && tree != NULL;
    for (uint64_t i = 0; able && i < count; i++) {
        uint32_t key = table->requests[i].key;
        if (last[key] != 0) {
            distances[seen - tree_sum(tree, last[key])]++;
            tree_add(tree, count, last[key] - 1, UINT32_MAX); /* less one */
        } else {
            seen++;
        }
        tree_add(tree, count, i, 1);
        last[key] = i + 1;
    }
    free(last);
    free(tree);
    if (able) return distances;
    free(distances);
    return NULL;
}

static int by_count(const void *left, const void *right) {
    const bench_key_count *a = left, *b = right;
    if (a->count != b->count) return a->count < b->count ? 1 : -1;
    return (a->key > b->key) - (a->key < b->key);
}

bench_key_count *bench_key_counts(const bench_trace_table *table) {
    bench_key_count *counts = calloc(table->key_count, sizeof *counts);
    if (counts == NULL) return NULL;
    for (uint32_t i = 0; i < table->key_count; i++) counts[i].key = i;
    for (uint64_t i = 0; i < table->request_count; i++) counts[table->requests[i].key].count++;
    qsort(counts, table->key_count, sizeof *counts, by_count);
    return counts;
}

/* ---- what is said of it ------------------------------------------------------------------------------------- */

typedef struct info_settings {
    const char *trace, *html_path, *json_path;
    uint32_t format;
    uint64_t top;
} info_settings;

typedef struct info {
    info_settings settings;
    bench_trace_table table;
    uint64_t *distances; /* summed up: requests of a distance up to this one */
    bench_key_count *counts;
    uint64_t operations[3], once, bytes;
    double size_p50, size_p99, size_max, theta;
} info;

/* The share of requests that an LRU of so many entries answers. */
static double lru_hits(const info *it, double entries) {
    uint64_t at = (uint64_t)entries;
    if (at == 0) return 0;
    if (at > it->table.key_count) at = it->table.key_count;
    return (double)it->distances[at - 1] / (double)it->table.request_count;
}

/* The slope of counts over ranks, both logarithmic, by least squares over ranks evenly spaced there: a Zipf exponent. */
static double fit_theta(const info *it) {
    double n = 0, x_sum = 0, y_sum = 0, xx = 0, xy = 0;
    for (double rank = 1; rank <= it->table.key_count; rank = ceil(rank * 1.1)) {
        uint64_t count = it->counts[(uint64_t)rank - 1].count;
        if (count < 2) break; /* the flat end says nothing */
        double x = log(rank), y = log((double)count);
        n++, x_sum += x, y_sum += y, xx += x * x, xy += x * y;
    }
    double spread = n * xx - x_sum * x_sum;
    return n >= 3 && spread > 0 ? -(n * xy - x_sum * y_sum) / spread : NAN;
}

static bool size_up(info *it) {
    uint32_t keys = it->table.key_count;
    if (it->table.sizes == NULL) return true;
    double *sizes = malloc(keys * sizeof *sizes);
    if (sizes == NULL) return false;
    for (uint32_t i = 0; i < keys; i++) {
        sizes[i] = it->table.sizes[i];
        it->bytes += it->table.sizes[i];
    }
    bench_sort(sizes, keys);
    it->size_p50 = sizes[keys / 2];
    it->size_p99 = sizes[(uint64_t)keys * 99 / 100];
    it->size_max = sizes[keys - 1];
    free(sizes);
    return true;
}

static bool count_all(info *it) {
    it->distances = bench_reuse_distances(&it->table);
    it->counts = bench_key_counts(&it->table);
    if (it->distances == NULL || it->counts == NULL || !size_up(it)) return false;
    for (uint32_t i = 1; i < it->table.key_count; i++) it->distances[i] += it->distances[i - 1];
    for (uint64_t i = 0; i < it->table.request_count; i++) it->operations[it->table.requests[i].operation]++;
    for (uint32_t i = 0; i < it->table.key_count; i++) it->once += it->counts[i].count == 1;
    it->theta = fit_theta(it);
    return true;
}

/* The distance that a share of the repeated requests does not exceed. */
static uint32_t distance_quantile(const info *it, double share) {
    uint64_t repeated = it->table.request_count - it->table.key_count;
    uint32_t low = 0, high = it->table.key_count - 1;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if ((double)it->distances[middle] >= share * (double)repeated) high = middle;
        else low = middle + 1;
    }
    return low;
}

static uint64_t requests_of_top(const info *it, uint64_t keys) {
    uint64_t sum = 0;
    for (uint64_t i = 0; i < keys && i < it->table.key_count; i++) sum += it->counts[i].count;
    return sum;
}

static double seconds_of(const info *it) {
    return it->table.times_us != NULL ? (double)it->table.times_us[it->table.request_count - 1] / 1e6 : 0;
}

static const double capacities[] = {0.1, 1, 5, 10, 20, 50, 100};
enum { CAPACITIES = sizeof capacities / sizeof capacities[0] };

static void print_info(const info *it) {
    double requests = (double)it->table.request_count, keys = it->table.key_count, seconds = seconds_of(it);
    char text[48], more[48];
    printf("trace      %s (%s)\n", it->settings.trace, bench_trace_format_name(it->table.format));
    printf("requests   %.0f: %.1f %% reads, %.1f %% writes, %.1f %% deletes", requests, 100 * (double)it->operations[0] / requests,
           100 * (double)it->operations[1] / requests, 100 * (double)it->operations[2] / requests);
    if (seconds > 0) printf("; %.0f s by its clock, %.1f a second", seconds, requests / seconds);
    printf("\nkeys       %.0f, of which %.1f %% are asked for only once; %.1f %% of requests are a key's first\n", keys,
           100 * (double)it->once / keys, 100 * keys / requests);
    if (it->table.sizes != NULL)
        printf("sizes      %s in all; a key's median %.0f bytes, p99 %.0f, largest %s\n",
               bench_say(BENCH_UNIT_BYTES, (double)it->bytes, text, sizeof text), it->size_p50, it->size_p99,
               bench_say(BENCH_UNIT_BYTES, it->size_max, more, sizeof more));
    else printf("sizes      not in it\n");
    printf("popular    1 %% of keys get %.1f %% of requests, 10 %% get %.1f %%",
           100 * (double)requests_of_top(it, (uint64_t)ceil(keys / 100)) / requests,
           100 * (double)requests_of_top(it, (uint64_t)ceil(keys / 10)) / requests);
    if (isfinite(it->theta)) printf("; counts fall like zipf:%.2f", it->theta);
    printf("\nreuse      other keys asked for in between: median %u, p90 %u, p99 %u\n", distance_quantile(it, 0.5),
           distance_quantile(it, 0.9), distance_quantile(it, 0.99));
    printf("an LRU     of this part of the keys ");
    for (size_t i = 0; i < CAPACITIES; i++) printf(" %7.4g %%", capacities[i]);
    printf("\n           misses                   ");
    for (size_t i = 0; i < CAPACITIES; i++) printf(" %7.1f %%", 100 - 100 * lru_hits(it, keys * capacities[i] / 100));
    printf("\ntop keys   (number by first appearance, requests, share)\n");
    for (uint64_t i = 0; i < it->settings.top && i < it->table.key_count; i++)
        printf("           #%-10u %12" PRIu64 " %7.2f %%\n", it->counts[i].key, it->counts[i].count, 100 * (double)it->counts[i].count / requests);
}

/* ---- files -------------------------------------------------------------------------------------------------- */

static void draw_curves(FILE *out, const info *it) {
    double x[CURVE_POINTS + 1], misses[CURVE_POINTS + 1], popular[CURVE_POINTS + 1];
    double requests = (double)it->table.request_count, keys = it->table.key_count;
    for (uint32_t i = 0; i <= CURVE_POINTS; i++) {
        x[i] = 100.0 * i / CURVE_POINTS;
        misses[i] = 100 - 100 * lru_hits(it, keys * i / CURVE_POINTS);
        popular[i] = 100 * (double)requests_of_top(it, (uint64_t)(keys * i / CURVE_POINTS)) / requests;
    }
    bench_chart chart = {.title = "Misses of an LRU",
                         .note = "share of requests, over room as a share of the keys; from the reuse distances, so exact",
                         .x = {BENCH_SCALE_LINEAR, BENCH_UNIT_PERCENT},
                         .y = {BENCH_SCALE_LINEAR, BENCH_UNIT_PERCENT},
                         .lines = {{"misses", x, misses, CURVE_POINTS + 1}},
                         .line_count = 1};
    bench_chart_draw(out, &chart);
    chart.title = "Popularity";
    chart.note = "share of requests, over the share of keys that get most of them";
    chart.lines[0] = (bench_line){"requests", x, popular, CURVE_POINTS + 1};
    bench_chart_draw(out, &chart);
}

static int write_html(const info *it) {
    FILE *out = fopen(it->settings.html_path, "w");
    if (out == NULL) return -1;
    fprintf(out, "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>"
                 "<meta name='viewport' content='width=device-width,initial-scale=1'><title>strata-bench trace-info</title>\n"
                 "<style>%s</style></head><body><main>\n<h1>", bench_html_style);
    bench_html_text(out, it->settings.trace);
    fprintf(out, "</h1>\n<p class='soft'>%" PRIu64 " requests, %u keys</p>\n", it->table.request_count, it->table.key_count);
    draw_curves(out, it);
    fputs("</main></body></html>\n", out);
    int failed = ferror(out);
    return fclose(out) == 0 && !failed ? 0 : -1;
}

static bool write_json(const info *it) {
    bench_json json;
    if (!bench_result_open(&json, it->settings.json_path, "strata-bench/trace-info/1")) return false;
    bench_json_text(&json, "trace", it->settings.trace);
    bench_json_integer(&json, "requests", (int64_t)it->table.request_count);
    bench_json_integer(&json, "keys", it->table.key_count);
    bench_json_integer(&json, "keys_asked_once", (int64_t)it->once);
    bench_json_integer(&json, "reads", (int64_t)it->operations[0]);
    bench_json_integer(&json, "writes", (int64_t)it->operations[1]);
    bench_json_integer(&json, "deletes", (int64_t)it->operations[2]);
    bench_json_number(&json, "seconds", seconds_of(it));
    bench_json_integer(&json, "bytes", (int64_t)it->bytes);
    bench_json_number(&json, "zipf_theta", it->theta);
    bench_json_array_begin(&json, "lru");
    for (size_t i = 0; i < CAPACITIES; i++) {
        bench_json_object_begin(&json, NULL);
        bench_json_number(&json, "capacity_percent", capacities[i]);
        bench_json_number(&json, "miss_ratio", 1 - lru_hits(it, it->table.key_count * capacities[i] / 100));
        bench_json_object_end(&json);
    }
    bench_json_array_end(&json);
    return bench_result_close(&json);
}

/* ---- the subcommand ----------------------------------------------------------------------------------------- */

#define FIELD(member) offsetof(info_settings, member)
static const bench_option rows[] = {
    {"trace-format", BENCH_OPTION_CHOICE, "NAME", "auto", 0, 0, BENCH_TRACE_FORMATS, FIELD(format),
     "instead of telling it by name and content", NULL},
    {"top", BENCH_OPTION_COUNT, "N", "10", 0, 1000, NULL, FIELD(top), "most popular keys to be shown", NULL},
    {"html", BENCH_OPTION_TEXT, "FILE", NULL, 0, 0, NULL, FIELD(html_path), "draw popularity and an LRU's misses", NULL},
    {"json", BENCH_OPTION_TEXT, "FILE", NULL, 0, 0, NULL, FIELD(json_path), "write the numbers there", NULL},
};
static const bench_option_table options = {
    .command = "strata-bench trace-info TRACE",
    .about = "What a trace is made of: requests, keys, sizes, operations, popularity, and how many other keys are asked for between two\n"
             "requests of a key, which is what an LRU of that size would have to hold.",
    .rows = rows,
    .count = sizeof rows / sizeof rows[0],
};

static int run(info *it) {
    char error[1024] = "";
    if (bench_trace_table_load(&it->table, it->settings.trace, (bench_trace_format)it->settings.format, error, sizeof error) != 0) {
        fprintf(stderr, "strata-bench trace-info: %s\n", error);
        return BENCH_EXIT_SETUP;
    }
    int outcome = BENCH_EXIT_SETUP;
    if (!count_all(it)) {
        fprintf(stderr, "strata-bench trace-info: out of memory\n");
    } else {
        print_info(it);
        bool written = (it->settings.html_path == NULL || write_html(it) == 0) && (it->settings.json_path == NULL || write_json(it));
        if (!written) fprintf(stderr, "strata-bench trace-info: a file can't be written\n");
        outcome = written ? BENCH_EXIT_GOOD : BENCH_EXIT_SETUP;
    }
    free(it->distances);
    free(it->counts);
    bench_trace_table_free(&it->table);
    return outcome;
}

int bench_trace_info_main(int argc, char **argv) {
    info it = {.operations = {0}};
    bench_options_given given;
    int outcome;
    int named = argc > 0 && argv[0][0] != '-';
    if (!bench_options_take(&options, argc - named, argv + named, &it.settings, &given, &outcome)) return outcome;
    if (!named) return bench_options_refuse(&options, "which trace? A file's name comes first");
    it.settings.trace = argv[0];
    return run(&it);
}
