/* SPDX-License-Identifier: Apache-2.0 */
/* Writes a result in the forms that other programs read; and the subcommand that makes pages and these. */
#include "bench/html/export.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench/html/cases.h"
#include "bench/html/hlog.h"
#include "bench/html/page.h"
#include "bench/options.h"
#include "bench/tiered.h"

#define COLUMNS_MAX 64u

static json_t *load(const char *path, char *error, size_t error_size) {
    json_error_t place;
    json_t *root = json_load_file(path, 0, &place);
    if (root == NULL && place.line < 0) snprintf(error, error_size, "%s", place.text); /* it names the file */
    else if (root == NULL) snprintf(error, error_size, "%s: line %d: %s", path, place.line, place.text);
    return root;
}

/* ---- the course as CSV -------------------------------------------------------------------------------------- */

typedef struct columns {
    char names[COLUMNS_MAX][96];
    uint32_t count;
} columns;

/* Visits the numbers of a point; those of an object within are named "p99_ns.l1_hit". */
static void visit(const json_t *point, const char *prefix, void (*number)(void *, const char *, double), void *context) {
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)point, key, value) {
        char name[96];
        snprintf(name, sizeof name, "%s%s%s", prefix, prefix[0] != '\0' ? "." : "", key);
        if (json_is_number(value)) number(context, name, json_number_value(value));
        else if (json_is_object(value) && prefix[0] == '\0') visit(value, key, number, context);
    }
}

static uint32_t column_of(const columns *all, const char *name) {
    uint32_t i = 0;
    while (i < all->count && strcmp(all->names[i], name) != 0) i++;
    return i;
}

static void note_column(void *context, const char *name, double value) {
    columns *all = context;
    (void)value;
    if (column_of(all, name) == all->count && all->count < COLUMNS_MAX)
        snprintf(all->names[all->count++], sizeof all->names[0], "%s", name);
}

typedef struct row {
    const columns *all;
    double values[COLUMNS_MAX];
} row;

static void note_value(void *context, const char *name, double value) {
    row *r = context;
    uint32_t i = column_of(r->all, name);
    if (i < r->all->count) r->values[i] = value;
}

static void write_csv(FILE *out, const json_t *series) {
    columns all = {.count = 0};
    for (size_t i = 0; i < json_array_size(series); i++) visit(json_array_get(series, i), "", note_column, &all);
    for (uint32_t i = 0; i < all.count; i++) fprintf(out, "%s%s", i > 0 ? "," : "", all.names[i]);
    fputc('\n', out);
    for (size_t i = 0; i < json_array_size(series); i++) {
        row r = {.all = &all};
        for (uint32_t j = 0; j < all.count; j++) r.values[j] = NAN; /* an empty field */
        visit(json_array_get(series, i), "", note_value, &r);
        for (uint32_t j = 0; j < all.count; j++) {
            if (j > 0) fputc(',', out);
            if (isfinite(r.values[j])) fprintf(out, "%.12g", r.values[j]);
        }
        fputc('\n', out);
    }
}

static int finish(FILE *out, const char *path, char *error, size_t error_size) {
    bool failed = out == NULL || ferror(out) != 0;
    if (out != NULL && fclose(out) != 0) failed = true;
    if (failed) snprintf(error, error_size, "%s can't be written: %s", path, strerror(errno));
    return failed ? -1 : 0;
}

int bench_export_csv(const char *json_path, const char *csv_path, char *error, size_t error_size) {
    json_t *root = load(json_path, error, error_size);
    if (root == NULL) return -1;
    const json_t *series = json_object_get(root, "series");
    FILE *out = fopen(csv_path, "w");
    bool empty = false;
    if (out != NULL && json_array_size(series) > 0) write_csv(out, series);
    else if (out != NULL) empty = bench_csv_cases(out, root) != 0;
    int outcome = finish(out, csv_path, error, error_size);
    if (empty) {
        snprintf(error, error_size, "%s: neither series nor cases in it", json_path);
        outcome = -1;
    }
    json_decref(root);
    return outcome;
}

/* ---- histograms as percentile tables ------------------------------------------------------------------------ */

static void write_hgrm(FILE *out, const json_t *histogram) {
    const json_t *buckets = json_object_get(histogram, "buckets");
    double total = json_number_value(json_object_get(histogram, "count")), passed = 0, squares = 0;
    double mean = json_number_value(json_object_get(histogram, "mean_ns")), max = json_number_value(json_object_get(histogram, "max_ns"));
    fprintf(out, "%12s %14s %10s %14s\n\n", "Value", "Percentile", "TotalCount", "1/(1-Percentile)");
    for (size_t i = 0; i + 1 < json_array_size(buckets); i += 2) {
        double high = json_number_value(json_array_get(buckets, i)), count = json_number_value(json_array_get(buckets, i + 1));
        passed += count;
        squares += count * (high - mean) * (high - mean);
        if (high > max) high = max;
        if (passed < total) fprintf(out, "%12.6f %2.12f %10.0f %14.2f\n", high / 1e6, passed / total, passed, 1 / (1 - passed / total));
        else fprintf(out, "%12.6f %2.12f %10.0f\n", high / 1e6, 1.0, passed);
    }
    fprintf(out, "#[Mean    = %12.6f, StdDeviation   = %12.6f]\n#[Max     = %12.6f, Total count    = %12.0f]\n", mean / 1e6,
            total > 0 ? sqrt(squares / total) / 1e6 : 0, max / 1e6, total);
}

int bench_export_hgrm(const char *json_path, const char *prefix, char *error, size_t error_size) {
    static const char *const places[] = {"latency", "service", "invalidation_lag"};
    json_t *root = load(json_path, error, error_size);
    int outcome = root != NULL ? 0 : -1;
    uint32_t written = 0;
    for (size_t i = 0; outcome == 0 && i < sizeof places / sizeof places[0]; i++) {
        const char *key;
        json_t *histogram;
        json_object_foreach(json_object_get(root, places[i]), key, histogram) {
            char path[4096];
            if (outcome != 0 || json_array_size(json_object_get(histogram, "buckets")) == 0) continue;
            snprintf(path, sizeof path, "%s.%s.%s.hgrm", prefix, places[i], key);
            FILE *out = fopen(path, "w");
            if (out != NULL) write_hgrm(out, histogram);
            outcome = finish(out, path, error, error_size);
            written++;
        }
    }
    if (outcome == 0 && written == 0) {
        snprintf(error, error_size, "%s: no histogram in it", json_path);
        outcome = -1;
    }
    json_decref(root);
    return outcome;
}

/* Seconds since 1970; 0 where it says none. */
static double started_s(const json_t *root) {
    const char *text = json_string_value(json_object_get(json_object_get(root, "environment"), "started_utc"));
    struct tm time = {0};
    return text != NULL && strptime(text, "%Y-%m-%dT%H:%M:%SZ", &time) != NULL ? (double)timegm(&time) : 0;
}

int bench_export_hlog(const char *json_path, const char *hlog_path, char *error, size_t error_size) {
    static const char *const places[] = {"latency", "service", "invalidation_lag"};
    json_t *root = load(json_path, error, error_size);
    if (root == NULL) return -1;
    FILE *out = fopen(hlog_path, "w");
    double seconds = json_number_value(json_object_get(json_object_get(root, "result"), "seconds"));
    uint32_t written = 0;
    if (out != NULL) bench_hlog_begin(out, started_s(root));
    for (size_t i = 0; out != NULL && i < sizeof places / sizeof places[0]; i++) {
        const char *key;
        json_t *histogram;
        json_object_foreach(json_object_get(root, places[i]), key, histogram) {
            char tag[128];
            snprintf(tag, sizeof tag, "%s.%s", places[i], key);
            if (json_is_object(histogram) && bench_hlog_add(out, tag, seconds, histogram) == 0) written++;
        }
    }
    int outcome = finish(out, hlog_path, error, error_size);
    if (outcome == 0 && written == 0) {
        snprintf(error, error_size, "%s: no histogram in it", json_path);
        outcome = -1;
    }
    json_decref(root);
    return outcome;
}

/* ---- the subcommand ----------------------------------------------------------------------------------------- */

typedef struct report_settings {
    const char *html, *csv, *hgrm, *hlog;
} report_settings;

#define FIELD(member) offsetof(report_settings, member)
static const bench_option rows[] = {
    {"html", BENCH_OPTION_TEXT, "FILE", NULL, 0, 0, NULL, FIELD(html),
     "a self-contained page; made also where nothing is asked for, beside the result", NULL},
    {"csv", BENCH_OPTION_TEXT, "FILE", NULL, 0, 0, NULL, FIELD(csv), "the run over time, a line per step; of cases, a line per round", NULL},
    {"hgrm", BENCH_OPTION_TEXT, "PREFIX", NULL, 0, 0, NULL, FIELD(hgrm),
     "a percentile table per histogram, in ms, as HdrHistogram writes and plots them", NULL},
    {"hlog", BENCH_OPTION_TEXT, "FILE", NULL, 0, 0, NULL, FIELD(hlog),
     "a HdrHistogram log (1.3): a line per histogram with its tag, in ns", NULL},
};
static const bench_option_table options = {
    .command = "strata-bench report RESULT.json",
    .about = "Makes pages and tables of a result. Exit status: 0 fine, 2 wrong command line, 3 a file can't be read or written.",
    .rows = rows,
    .count = sizeof rows / sizeof rows[0],
};

int bench_report_main(int argc, char **argv) {
    char error[1024] = "", path[4096];
    report_settings settings = {NULL, NULL, NULL, NULL};
    bench_options_given given;
    int outcome;
    bool named = argc > 0 && argv[0][0] != '-';
    if (!bench_options_take(&options, argc - named, argv + named, &settings, &given, &outcome)) return outcome;
    if (!named || strlen(argv[0]) + 6 > sizeof path) return bench_options_refuse(&options, "which result? A file's name comes first");
    if (settings.html == NULL && settings.csv == NULL && settings.hgrm == NULL && settings.hlog == NULL) {
        size_t size = strlen(argv[0]);
        if (size > 5 && strcmp(argv[0] + size - 5, ".json") == 0) size -= 5;
        snprintf(path, sizeof path, "%.*s.html", (int)size, argv[0]);
        settings.html = path;
    }
    if ((settings.html != NULL && bench_html_write(argv[0], settings.html, error, sizeof error) != 0) ||
        (settings.csv != NULL && bench_export_csv(argv[0], settings.csv, error, sizeof error) != 0) ||
        (settings.hgrm != NULL && bench_export_hgrm(argv[0], settings.hgrm, error, sizeof error) != 0) ||
        (settings.hlog != NULL && bench_export_hlog(argv[0], settings.hlog, error, sizeof error) != 0)) {
        fprintf(stderr, "strata-bench report: %s\n", error);
        return BENCH_EXIT_SETUP;
    }
    if (settings.html != NULL) printf("%s\n", settings.html);
    return BENCH_EXIT_GOOD;
}
