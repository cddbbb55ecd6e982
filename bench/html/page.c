/* SPDX-License-Identifier: Apache-2.0 */
/* Lays a result out as a page: what counts first, then curves, then every number. */
#include "bench/html/page.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "bench/compare/metrics.h"
#include "bench/html/cases.h"
#include "bench/html/chart.h"
#include "bench/html/curves.h"
#include "bench/html/style.h"
#include "bench/tiered.h"

static const json_t *at(const json_t *value, const char *first, const char *second) {
    value = json_object_get(value, first);
    return second != NULL ? json_object_get(value, second) : value;
}

/* ---- what counts -------------------------------------------------------------------------------------------- */

static void print_tile(FILE *out, const char *title, bench_unit unit, const json_t *number, double factor) {
    char text[48];
    if (!json_is_number(number)) return;
    fprintf(out, "<div class='tile'><b>%s</b><span>%s</span></div>\n",
            bench_say(unit, json_number_value(number) * factor, text, sizeof text), title);
}

static void print_tiles(FILE *out, const json_t *root) {
    const json_t *result = at(root, "result", NULL), *latency = at(root, "latency", NULL);
    if (result == NULL) return;
    fputs("<div class='tiles'>\n", out);
    print_tile(out, "operations a second", BENCH_UNIT_COUNT, at(result, "operations_per_second", NULL), 1);
    print_tile(out, "of the reads answered by L1", BENCH_UNIT_PERCENT, at(result, "read_share", "l1_hit"), 100);
    print_tile(out, "L1 hit, p99", BENCH_UNIT_NS, at(at(latency, "l1_hit", NULL), "p99_ns", NULL), 1);
    print_tile(out, "L2 hit, median", BENCH_UNIT_NS, at(at(latency, "l2_hit", NULL), "p50_ns", NULL), 1);
    print_tile(out, "L2 hit, p99", BENCH_UNIT_NS, at(at(latency, "l2_hit", NULL), "p99_ns", NULL), 1);
    print_tile(out, "load, p99", BENCH_UNIT_NS, at(at(latency, "load", NULL), "p99_ns", NULL), 1);
    print_tile(out, "per L1 entry", BENCH_UNIT_BYTES, at(at(result, "l1", NULL), "bytes_per_entry", NULL), 1);
    print_tile(out, "of them key and value", BENCH_UNIT_BYTES, at(at(result, "l1", NULL), "payload_bytes_per_entry", NULL), 1);
    print_tile(out, "failed operations", BENCH_UNIT_COUNT, at(result, "failure_count", NULL), 1);
    fputs("</div>\n", out);
}

/* An option's value between two texts; nothing where it was not given or is 0. "100-100" is 100. */
static void print_option(FILE *out, const json_t *options, const char *name, const char *before, const char *after) {
    const char *value = json_string_value(at(options, name, NULL)), *dash = value != NULL ? strchr(value, '-') : NULL;
    char text[256];
    if (value == NULL || value[0] == '\0' || strcmp(value, "0") == 0) return;
    bool same = dash != NULL && strncmp(value, dash + 1, (size_t)(dash - value)) == 0 && strlen(dash + 1) == (size_t)(dash - value);
    snprintf(text, sizeof text, "%.*s", same ? (int)(dash - value) : 255, value);
    fputs(before, out);
    bench_html_text(out, text);
    fputs(after, out);
}

/* What was asked for, in a line. */
static void print_load(FILE *out, const json_t *root) {
    const json_t *options = at(root, "options", NULL);
    const char *l1 = json_string_value(at(options, "l1-bytes", NULL)), *rate = json_string_value(at(options, "rate", NULL));
    char text[48];
    if (l1 == NULL || rate == NULL) return;
    fputs("<p>", out);
    print_option(out, options, "processes", "", " processes");
    print_option(out, options, "threads", " × ", " threads, ");
    print_option(out, options, "rate", "", " operations a second, ");
    print_option(out, options, "ramp-to", "rising to ", ", ");
    print_option(out, options, "speed", "", " times the trace's clock, ");
    if (strcmp(rate, "0") == 0 && json_string_length(at(options, "speed", NULL)) == 1) fputs("as fast as it goes, ", out);
    if (json_string_length(at(options, "trace", NULL)) > 0) {
        print_option(out, options, "trace", "trace ", "");
    } else {
        print_option(out, options, "dist", "", "");
        print_option(out, options, "keys", " over ", " keys");
    }
    print_option(out, options, "value-bytes", ", values of ", " bytes");
    fprintf(out, ", L1 of %s", bench_say(BENCH_UNIT_BYTES, strtod(l1, NULL), text, sizeof text));
    print_option(out, options, "l2", ", L2 ", "");
    fputs("</p>\n", out);
}

static void print_head(FILE *out, const json_t *root) {
    const char *schema = json_string_value(at(root, "schema", NULL));
    const json_t *environment = at(root, "environment", NULL), *good = at(root, "result", "good");
    const char *started = json_string_value(at(environment, "started_utc", NULL));
    const char *commit = json_string_value(at(environment, "commit", NULL));
    const char *version = schema != NULL ? strrchr(schema, '/') : NULL;
    fputs("<h1>", out);
    for (const char *at = schema != NULL ? schema : "strata-bench"; *at != '\0' && at != version; at++)
        bench_html_text(out, *at == '/' ? " " : (const char[]){*at, '\0'});
    fputs("</h1>\n", out);
    print_load(out, root);
    fputs("<p class='soft'>", out);
    bench_html_text(out, started != NULL ? started : "");
    if (commit != NULL) {
        fputs(", strata ", out);
        bench_html_text(out, commit);
    }
    fputs("</p>\n", out);
    if (json_is_boolean(good)) {
        fputs(json_is_true(good) ? "<p class='good'>✓ every read was what was promised</p>\n"
                                 : "<p class='bad'>✗ wrong or failed operations, see below</p>\n", out);
    }
    const json_t *cautions = at(root, "cautions", NULL);
    for (size_t i = 0; i < json_array_size(cautions); i++) {
        fputs("<p class='bad'>⚠ ", out);
        const char *text = json_string_value(json_array_get(cautions, i));
        bench_html_text(out, text != NULL ? text : "");
        fputs("</p>\n", out);
    }
}

/* ---- every number ------------------------------------------------------------------------------------------- */

static void print_histograms(FILE *out, const json_t *histograms, const char *title, const char *note) {
    static const char *const columns[] = {"mean_ns", "p50_ns", "p90_ns", "p99_ns", "p999_ns", "max_ns"};
    const char *key;
    json_t *one;
    bool any = false;
    json_object_foreach((json_t *)(uintptr_t)histograms, key, one) any = any || json_number_value(at(one, "count", NULL)) > 0;
    if (!any) return;
    fprintf(out, "<h2>%s</h2>\n<p class='note'>%s</p><div class='scroll'><table><tr><th></th><th>count</th><th>mean</th><th>p50</th>"
                 "<th>p90</th><th>p99</th><th>p99.9</th><th>max</th></tr>\n", title, note);
    json_object_foreach((json_t *)(uintptr_t)histograms, key, one) {
        char text[48];
        if (json_number_value(at(one, "count", NULL)) == 0) continue;
        fputs("<tr><td>", out);
        bench_html_text(out, bench_html_title(key));
        fprintf(out, "</td><td>%.0f</td>", json_number_value(at(one, "count", NULL)));
        for (size_t i = 0; i < sizeof columns / sizeof columns[0]; i++)
            fprintf(out, "<td>%s</td>", bench_say(BENCH_UNIT_NS, json_number_value(at(one, columns[i], NULL)), text, sizeof text));
        fputs("</tr>\n", out);
    }
    fputs("</table></div>\n", out);
}

/* Texts and numbers of an object as two columns. */
static void print_facts(FILE *out, const json_t *object, const char *title, bool open) {
    const char *key;
    json_t *value;
    if (json_object_size(object) == 0) return;
    fprintf(out, "<details%s><summary>%s</summary><table class='facts'>\n", open ? " open" : "", title);
    json_object_foreach((json_t *)(uintptr_t)object, key, value) {
        if (json_is_object(value) || json_is_array(value) || (json_is_string(value) && json_string_length(value) == 0)) continue;
        fputs("<tr><td>", out);
        bench_html_text(out, key);
        fputs("</td><td>", out);
        if (json_is_string(value)) bench_html_text(out, json_string_value(value));
        else if (json_is_number(value)) fprintf(out, "%.12g", json_number_value(value));
        else fputs(json_is_true(value) ? "yes" : json_is_false(value) ? "no" : "–", out);
        fputs("</td></tr>\n", out);
    }
    fputs("</table></details>\n", out);
}

/* Results that are lists of cases (l2, coherence, ...): every metric's median. */
static void print_metrics(FILE *out, const char *json_path) {
    char error[256];
    bench_metrics metrics = {0};
    if (bench_metrics_load(&metrics, json_path, error, sizeof error) == 0) {
        fputs("<details><summary>Every metric</summary><div class='scroll'><table><tr><th>metric</th><th>median</th><th>samples</th></tr>\n", out);
        for (size_t i = 0; i < metrics.count; i++) {
            fputs("<tr><td>", out);
            bench_html_text(out, metrics.list[i].name);
            fprintf(out, "</td><td>%.6g</td><td>%zu</td></tr>\n", bench_metric_median(&metrics.list[i]), metrics.list[i].count);
        }
        fputs("</table></div></details>\n", out);
    }
    bench_metrics_release(&metrics);
}

static void print_details(FILE *out, const json_t *details) {
    if (json_array_size(details) == 0) return;
    fputs("<h2 class='bad'>What was wrong</h2>\n", out);
    for (size_t i = 0; i < json_array_size(details); i++) {
        const char *text = json_string_value(json_array_get(details, i));
        fputs("<p>", out);
        bench_html_text(out, text != NULL ? text : "");
        fputs("</p>\n", out);
    }
}

static void begin_page(FILE *out, const char *title) {
    fprintf(out, "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>"
                 "<meta name='viewport' content='width=device-width,initial-scale=1'><title>");
    bench_html_text(out, title);
    fprintf(out, "</title>\n<style>%s</style></head><body><main>\n", bench_html_style);
}

static void print_staleness(FILE *out, const json_t *staleness) {
    json_t *only = json_pack("{s:O}", "since it was overtaken", (json_t *)(uintptr_t)staleness);
    if (only != NULL)
        print_histograms(out, only, "Staleness of reads said to be fresh", "Of those answered with a value that had been overtaken before they began: since when.");
    json_decref(only);
}

static void print_figures(FILE *out, const json_t *root) {
    const char *from = json_string_value(at(root, "latency_counts_from", NULL));
    bool intended = from != NULL && strcmp(from, "intended start") == 0;
    print_tiles(out, root);
    print_details(out, at(root, "verification", "details"));
    bench_html_curves(out, root);
    print_histograms(out, at(root, "latency", NULL), "Latency",
                     intended ? "From the intended start of each operation: waiting for a late generator or a full queue is in it."
                              : "From the call; a closed loop starts an operation when one ends, and so leaves out waiting.");
    print_histograms(out, at(root, "service", NULL), "Service time", "From the call.");
    print_staleness(out, at(root, "staleness", NULL));
    print_histograms(out, at(root, "invalidation_lag", NULL), "Old value gone elsewhere",
                     "From a write in one process until another one's L1 no longer answers with the old value.");
}

static void print_page(FILE *out, const json_t *root, const char *json_path) {
    begin_page(out, "strata-bench");
    print_head(out, root);
    print_figures(out, root);
    bench_html_cases(out, root);
    fputs("<h2>Setting</h2>\n", out);
    print_facts(out, at(root, "result", NULL), "Result", false);
    print_facts(out, at(root, "options", NULL), "Options", false);
    print_facts(out, at(root, "environment", NULL), "Machine and build", true);
    print_metrics(out, json_path);
    fputs("</main></body></html>\n", out);
}

/* Closes what was opened, or could not be; 0, or -1 with a text. */
static int close_page(FILE *out, const char *html_path, char *error, size_t error_size) {
    bool failed = out == NULL || ferror(out) != 0;
    if (out != NULL && fclose(out) != 0) failed = true;
    if (failed) snprintf(error, error_size, "%s can't be written: %s", html_path, strerror(errno));
    return failed ? -1 : 0;
}

int bench_html_write(const char *json_path, const char *html_path, char *error, size_t error_size) {
    json_error_t place;
    json_t *root = json_load_file(json_path, 0, &place);
    if (root == NULL || !json_is_object(root)) {
        if (root == NULL && place.line < 0) snprintf(error, error_size, "%s", place.text); /* it names the file */
        else snprintf(error, error_size, "%s: line %d: %s", json_path, root == NULL ? place.line : 1, root == NULL ? place.text : "a result is an object");
        json_decref(root);
        return -1;
    }
    FILE *out = fopen(html_path, "w");
    if (out != NULL) print_page(out, root, json_path);
    json_decref(root);
    return close_page(out, html_path, error, error_size);
}

int bench_html_write_parts(const char *title, const char *screen, const bench_html_part *parts, size_t count, const char *html_path,
                           char *error, size_t error_size) {
    FILE *out = fopen(html_path, "w");
    if (out == NULL) return close_page(out, html_path, error, error_size);
    begin_page(out, title);
    fputs("<h1>", out);
    bench_html_text(out, title);
    fputs("</h1>\n<pre class='scroll'>", out);
    bench_html_text(out, screen);
    fputs("</pre>\n", out);
    for (size_t i = 0; i < count; i++) {
        fputs("<h1 class='part'>", out);
        bench_html_text(out, parts[i].title);
        fputs("</h1>\n", out);
        print_figures(out, parts[i].root);
        bench_html_cases(out, parts[i].root);
        print_facts(out, at(parts[i].root, "options", NULL), "Options", false);
        if (i + 1 == count) print_facts(out, at(parts[i].root, "environment", NULL), "Machine and build", true);
    }
    fputs("</main></body></html>\n", out);
    return close_page(out, html_path, error, error_size);
}
