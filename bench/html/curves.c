/* SPDX-License-Identifier: Apache-2.0 */
/* Turns a result's histograms and series into charts. */
#include "bench/html/curves.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench/html/chart.h"

/* Of the series: outcomes in the order of the report, and what people call them. */
static const struct {
    const char *word, *title;
} outcomes[] = {{"l1_hit", "L1 hit"}, {"l2_hit", "L2 hit"}, {"load", "load"}, {"miss", "miss"},
              {"set", "set"}, {"invalidate", "invalidate"}, {"tag", "tag invalidated"}};
enum { OUTCOMES = sizeof outcomes / sizeof outcomes[0], READS = 4 };

static const struct {
    const char *word, *title;
} lags[] = {{"set_after_ack", "set, after its acknowledgement"}, {"set_after_call", "set, after its call"},
            {"invalidate_after_ack", "invalidate, after its acknowledgement"}, {"invalidate_after_call", "invalidate, after its call"}};

const char *bench_html_title(const char *name) {
    for (size_t i = 0; i < OUTCOMES; i++)
        if (strcmp(name, outcomes[i].word) == 0) return outcomes[i].title;
    for (size_t i = 0; i < sizeof lags / sizeof lags[0]; i++)
        if (strcmp(name, lags[i].word) == 0) return lags[i].title;
    return name;
}

/* Doubles that live until the page is written. */
typedef struct arena {
    double *list[128];
    size_t count;
} arena;

static double *take(arena *memory, size_t count) {
    if (memory->count == sizeof memory->list / sizeof memory->list[0]) return NULL;
    double *doubles = calloc(count + 1, sizeof *doubles);
    if (doubles != NULL) memory->list[memory->count++] = doubles;
    return doubles;
}

static double number(const json_t *object, const char *name) {
    const json_t *value = json_object_get(object, name);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

static void add_line(bench_chart *chart, const char *name, const double *x, const double *y, size_t count) {
    if (chart->line_count == BENCH_CHART_LINES_MAX || x == NULL || y == NULL || count == 0) return;
    chart->lines[chart->line_count++] = (bench_line){.name = name, .x = x, .y = y, .count = count};
}

/* ---- percentiles -------------------------------------------------------------------------------------------- */

/* Each bucket's end becomes a point: the share of operations that took no longer. */
static void add_percentiles(bench_chart *chart, arena *memory, const char *name, const json_t *histogram) {
    const json_t *buckets = json_object_get(histogram, "buckets");
    size_t points = json_array_size(buckets) / 2;
    double total = number(histogram, "count"), passed = 0, max = number(histogram, "max_ns");
    double *x = take(memory, points), *y = take(memory, points);
    if (points < 2 || !(total > 0) || x == NULL || y == NULL) return;
    for (size_t i = 0; i < points; i++) {
        double high = json_number_value(json_array_get(buckets, 2 * i));
        passed += json_number_value(json_array_get(buckets, 2 * i + 1));
        x[i] = passed < total ? passed / total : 1 - 0.5 / total; /* the last one has its place where half of one is beyond */
        y[i] = high < max ? high : max;
    }
    add_line(chart, name, x, y, points);
}

static void draw_percentiles(FILE *out, const json_t *root, arena *memory, const char *place, const char *title, const char *note) {
    bench_chart chart = {.title = title, .note = note, .x = {BENCH_SCALE_NINES, BENCH_UNIT_PERCENT}, .y = {BENCH_SCALE_LOG, BENCH_UNIT_NS}};
    const char *key;
    json_t *histogram;
    json_object_foreach(json_object_get(root, place), key, histogram) {
        add_percentiles(&chart, memory, bench_html_title(key), histogram);
    }
    bench_chart_draw(out, &chart);
}

/* ---- over time ---------------------------------------------------------------------------------------------- */

typedef struct course {
    const json_t *series, *events;
    arena *memory;
    size_t count;
    double *seconds;
} course;

static bench_chart chart_over_time(const course *c, const char *title, const char *note, bench_axis y) {
    bench_chart chart = {.title = title, .note = note, .x = {BENCH_SCALE_LINEAR, BENCH_UNIT_SECONDS}, .y = y};
    for (size_t i = 0; i < json_array_size(c->events) && chart.mark_count < BENCH_CHART_MARKS_MAX; i++) {
        const json_t *event = json_array_get(c->events, i);
        const char *text = json_string_value(json_object_get(event, "text"));
        if (text != NULL) chart.marks[chart.mark_count++] = (bench_mark){number(event, "seconds"), text};
    }
    return chart;
}

/* What a count grew by since the point before, per second. */
static double grown(const course *c, size_t i, const char *word) {
    double now = number(json_array_get(c->series, i), word), before = i > 0 ? number(json_array_get(c->series, i - 1), word) : 0;
    double seconds = c->seconds[i] - (i > 0 ? c->seconds[i - 1] : 0);
    return now >= before && seconds > 0 ? (now - before) / seconds : NAN;
}

static void draw_rates(FILE *out, const course *c) {
    bench_chart chart = chart_over_time(c, "Operations a second", "completed in each step", (bench_axis){BENCH_SCALE_LINEAR, BENCH_UNIT_COUNT});
    double *all = take(c->memory, c->count), *failed = take(c->memory, c->count);
    bool any_failed = false;
    for (size_t i = 0; all != NULL && failed != NULL && i < c->count; i++) {
        for (size_t j = 0; j < OUTCOMES; j++) {
            double rate = grown(c, i, outcomes[j].word);
            all[i] += isfinite(rate) ? rate : 0;
        }
        failed[i] = grown(c, i, "failures");
        any_failed = any_failed || failed[i] > 0;
    }
    add_line(&chart, "completed", c->seconds, all, c->count);
    if (any_failed) add_line(&chart, "failed", c->seconds, failed, c->count);
    bench_chart_draw(out, &chart);
}

static void draw_shares(FILE *out, const course *c) {
    bench_chart chart = chart_over_time(c, "Where reads were answered", "share of the reads of each step", (bench_axis){BENCH_SCALE_LINEAR, BENCH_UNIT_PERCENT});
    for (size_t j = 0; j < READS; j++) {
        double *share = take(c->memory, c->count);
        bool any = j < READS - 1; /* misses are only where gets without a loader are */
        for (size_t i = 0; share != NULL && i < c->count; i++) {
            double reads = 0;
            for (size_t k = 0; k < READS; k++) {
                double rate = grown(c, i, outcomes[k].word);
                reads += isfinite(rate) ? rate : 0;
            }
            share[i] = reads > 0 ? 100 * grown(c, i, outcomes[j].word) / reads : NAN;
            any = any || share[i] > 0;
        }
        if (any) add_line(&chart, outcomes[j].title, c->seconds, share, c->count);
    }
    bench_chart_draw(out, &chart);
}

/* The same of one process alone, which was killed and started anew. */
static void draw_restarted(FILE *out, const course *c) {
    bench_chart chart = chart_over_time(c, "Where the restarted process found its answers", "share of its own reads of each step",
                                        (bench_axis){BENCH_SCALE_LINEAR, BENCH_UNIT_PERCENT});
    for (size_t j = 0; j < READS - 1; j++) {
        double *share = take(c->memory, c->count);
        bool any = false;
        for (size_t i = 1; share != NULL && i < c->count; i++) {
            const json_t *now = json_object_get(json_array_get(c->series, i), "restarted");
            const json_t *before = json_object_get(json_array_get(c->series, i - 1), "restarted");
            double reads = 0, own = 0;
            for (size_t k = 0; k < READS; k++) {
                double more = json_number_value(json_object_get(now, outcomes[k].word)) - json_number_value(json_object_get(before, outcomes[k].word));
                reads += more;
                if (k == j) own = more;
            }
            share[i] = reads > 0 ? 100 * own / reads : NAN;
            any = any || own > 0;
        }
        if (share != NULL) share[0] = NAN;
        if (any) add_line(&chart, outcomes[j].title, c->seconds, share, c->count);
    }
    bench_chart_draw(out, &chart);
}

static void draw_latencies(FILE *out, const course *c, const char *quantile, const char *title) {
    bench_chart chart = chart_over_time(c, title, "of each step", (bench_axis){BENCH_SCALE_LOG, BENCH_UNIT_NS});
    for (size_t j = 0; j < OUTCOMES; j++) {
        double *values = take(c->memory, c->count);
        bool any = false;
        for (size_t i = 0; values != NULL && i < c->count; i++) {
            values[i] = number(json_object_get(json_array_get(c->series, i), quantile), outcomes[j].word);
            any = any || isfinite(values[i]);
        }
        if (any) add_line(&chart, outcomes[j].title, c->seconds, values, c->count);
    }
    bench_chart_draw(out, &chart);
}

static void add_field(bench_chart *chart, const course *c, const char *word, const char *name) {
    double *values = take(c->memory, c->count);
    bool any = false;
    for (size_t i = 0; values != NULL && i < c->count; i++) {
        values[i] = number(json_array_get(c->series, i), word);
        any = any || values[i] > 0;
    }
    if (any) add_line(chart, name, c->seconds, values, c->count);
}

static void draw_memory(FILE *out, const course *c) {
    bench_chart chart = chart_over_time(c, "Resident memory", NULL, (bench_axis){BENCH_SCALE_LINEAR, BENCH_UNIT_BYTES});
    add_field(&chart, c, "resident_bytes", "processes, together");
    add_field(&chart, c, "servers_resident_bytes", "servers, together");
    bench_chart_draw(out, &chart);
}

/* What an entry of L1 takes, and what of that is the program's. */
static void draw_entry(FILE *out, const course *c) {
    bench_chart chart = chart_over_time(c, "Bytes per entry of L1", NULL, (bench_axis){BENCH_SCALE_LINEAR, BENCH_UNIT_BYTES});
    double *all = take(c->memory, c->count), *payload = take(c->memory, c->count);
    bool any = false;
    for (size_t i = 0; all != NULL && payload != NULL && i < c->count; i++) {
        const json_t *point = json_array_get(c->series, i);
        double entries = number(point, "l1_entries");
        all[i] = entries > 0 ? number(point, "l1_bytes") / entries : NAN;
        payload[i] = entries > 0 ? number(point, "l1_payload_bytes") / entries : NAN;
        any = any || isfinite(all[i]);
    }
    if (!any) return;
    add_line(&chart, "an entry", c->seconds, all, c->count);
    add_line(&chart, "its key and value", c->seconds, payload, c->count);
    bench_chart_draw(out, &chart);
}

/* Reads that were answered with a value which another process had overtaken, within the bound; and those that said so. */
static void draw_staleness(FILE *out, const course *c) {
    bench_chart chart = chart_over_time(c, "Reads of values that had been overtaken", "in each step", (bench_axis){BENCH_SCALE_LINEAR, BENCH_UNIT_COUNT});
    static const struct {
        const char *word, *title;
    } lines[] = {{"overtaken", "said to be fresh, within the bound"}, {"declared_stale", "said to be stale"}, {"wrong", "wrong"}};
    for (size_t j = 0; j < sizeof lines / sizeof lines[0]; j++) {
        double *values = take(c->memory, c->count);
        bool any = false;
        for (size_t i = 0; values != NULL && i < c->count; i++) {
            double seconds = c->seconds[i] - (i > 0 ? c->seconds[i - 1] : 0);
            values[i] = grown(c, i, lines[j].word) * seconds;
            any = any || values[i] > 0;
        }
        if (any) add_line(&chart, lines[j].title, c->seconds, values, c->count);
    }
    bench_chart_draw(out, &chart);
}

static void draw_course(FILE *out, const json_t *root, arena *memory) {
    course c = {.series = json_object_get(root, "series"), .events = json_object_get(root, "events"), .memory = memory};
    c.count = json_array_size(c.series);
    c.seconds = take(memory, c.count);
    if (c.count < 2 || c.seconds == NULL) return;
    for (size_t i = 0; i < c.count; i++) c.seconds[i] = number(json_array_get(c.series, i), "seconds");
    draw_rates(out, &c);
    draw_shares(out, &c);
    draw_restarted(out, &c);
    draw_latencies(out, &c, "p50_ns", "Median latency over time");
    draw_latencies(out, &c, "p99_ns", "p99 over time");
    draw_staleness(out, &c);
    draw_memory(out, &c);
    draw_entry(out, &c);
}

void bench_html_curves(FILE *out, const json_t *root) {
    arena memory = {.count = 0};
    draw_percentiles(out, root, &memory, "latency", "Latency by percentile", "logarithmic; to the right, each nine takes as much room");
    draw_percentiles(out, root, &memory, "invalidation_lag", "Old value gone elsewhere, by percentile", NULL);
    draw_course(out, root, &memory);
    for (size_t i = 0; i < memory.count; i++) free(memory.list[i]);
}
