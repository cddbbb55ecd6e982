/* SPDX-License-Identifier: Apache-2.0 */
/* The page of a result: self-contained, nothing unescaped, curves at their places, and results it can't be made of. */
#include "bench/html/page.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "bench/html/chart.h"
#include "bench/html/export.h"

static char folder[] = "/tmp/strata-html-XXXXXX";

/* The page of this result; free it. */
static char *page_of(const char *json, int expected) {
    char json_path[64], html_path[64], error[256] = "";
    snprintf(json_path, sizeof json_path, "%s/result.json", folder);
    snprintf(html_path, sizeof html_path, "%s/result.html", folder);
    FILE *file = fopen(json_path, "w");
    assert_non_null(file);
    fputs(json, file);
    assert_int_equal(fclose(file), 0);
    (void)unlink(html_path);
    assert_int_equal(bench_html_write(json_path, html_path, error, sizeof error), expected);
    if (expected != 0) {
        assert_non_null(strstr(error, "result.json"));
        return NULL;
    }
    char *text = calloc(1, 1 << 20);
    file = fopen(html_path, "r");
    assert_non_null(file);
    assert_non_null(text);
    assert_true(fread(text, 1, (1 << 20) - 1, file) > 0);
    assert_int_equal(fclose(file), 0);
    return text;
}

static uint32_t count_of(const char *text, const char *what) {
    uint32_t count = 0;
    for (const char *at = strstr(text, what); at != NULL; at = strstr(at + 1, what)) count++;
    return count;
}

static const char result[] =
    "{\"schema\": \"strata-bench/tiered/1\", \"environment\": {\"commit\": \"<script>alert('x')</script>\", \"cpus\": 2},\n"
    "\"result\": {\"good\": true, \"operations_per_second\": 12345, \"failure_count\": 0}, \"cautions\": [\"a & b\"],\n"
    "\"latency_counts_from\": \"intended start\",\n"
    "\"latency\": {\"l1_hit\": {\"count\": 100, \"mean_ns\": 200, \"p50_ns\": 150, \"p90_ns\": 300, \"p99_ns\": 900, \"p999_ns\": 900,\n"
    "\"max_ns\": 900, \"buckets\": [100, 50, 300, 40, 1000, 10]}},\n"
    "\"series\": [{\"seconds\": 1, \"l1_hit\": 10, \"l2_hit\": 0, \"load\": 0, \"set\": 0, \"invalidate\": 0, \"p99_ns\": {\"l1_hit\": 500}},\n"
    "{\"seconds\": 2, \"l1_hit\": 30, \"l2_hit\": 0, \"load\": 0, \"set\": 0, \"invalidate\": 0, \"p99_ns\": {\"l1_hit\": 600}}],\n"
    "\"events\": [{\"seconds\": 1.5, \"text\": \"node killed\"}]}";

static void test_self_contained(void **state) {
    (void)state;
    char *page = page_of(result, 0);
    assert_null(strstr(page, "http:"));
    assert_null(strstr(page, "https:"));
    assert_null(strstr(page, "<script"));
    assert_null(strstr(page, "<link"));
    assert_null(strstr(page, "@import"));
    assert_null(strstr(page, "url("));
    assert_non_null(strstr(page, "&lt;script&gt;"));
    assert_non_null(strstr(page, "a &amp; b"));
    assert_non_null(strstr(page, "12.3 k"));
    assert_non_null(strstr(page, "prefers-color-scheme:dark"));
    assert_non_null(strstr(page, "@media print"));
    assert_int_equal(count_of(page, "<svg"), count_of(page, "</svg>"));
    assert_int_equal(count_of(page, "class='wide'"), count_of(page, "class='narrow'"));
    free(page);
}

/* What the result has courses of is drawn, with the fault marked on every time axis, and nothing else is. */
static void test_charts(void **state) {
    (void)state;
    char *page = page_of(result, 0);
    assert_non_null(strstr(page, "Latency by percentile"));
    assert_non_null(strstr(page, "Operations a second"));
    assert_non_null(strstr(page, "p99 over time"));
    assert_null(strstr(page, "Median latency over time")); /* no such points */
    assert_null(strstr(page, "Resident memory"));
    assert_int_equal(count_of(page, "node killed"), 2 * 3);
    char *last = strstr(page, "p99 over time"), *end = strstr(last, "</figure>");
    assert_non_null(end);
    *end = '\0';
    assert_non_null(strstr(last, "L1 hit"));
    assert_null(strstr(last, "L2 hit"));
    *end = '<';
    assert_null(strstr(page, "nan"));
    assert_null(strstr(page, "inf"));
    free(page);
}

/* What was asked for in words, staleness and memory over time, names that people know. */
static void test_words(void **state) {
    (void)state;
    char *page = page_of("{\"schema\": \"strata-bench/tiered/1\", \"options\": {\"processes\": \"2\", \"threads\": \"1\", \"rate\": \"0\", \"speed\": \"0\","
                         " \"dist\": \"uniform\", \"keys\": \"50\", \"value-bytes\": \"64-64\", \"l1-bytes\": \"8388608\", \"l2\": \"none\"},"
                         "\"staleness\": {\"count\": 3, \"p99_ns\": 7000000}, \"invalidation_lag\": {\"set_after_ack\": {\"count\": 1}},"
                         "\"series\": [{\"seconds\": 1, \"l1_hit\": 9, \"overtaken\": 2, \"l1_entries\": 4, \"l1_bytes\": 800, \"l1_payload_bytes\": 400},"
                         "{\"seconds\": 2, \"l1_hit\": 19, \"overtaken\": 2, \"l1_entries\": 4, \"l1_bytes\": 840, \"l1_payload_bytes\": 400}]}", 0);
    assert_non_null(strstr(page, "<h1>strata-bench tiered</h1>"));
    assert_non_null(strstr(page, "<p>2 processes × 1 threads, as fast as it goes, uniform over 50 keys, values of 64 bytes, L1 of 8 MiB, L2 none</p>"));
    assert_non_null(strstr(page, "<td>since it was overtaken</td><td>3</td>"));
    assert_non_null(strstr(page, "<td>set, after its acknowledgement</td>"));
    assert_non_null(strstr(page, "Reads of values that had been overtaken"));
    assert_non_null(strstr(page, "said to be fresh, within the bound"));
    assert_null(strstr(page, "said to be stale"));
    assert_non_null(strstr(page, "Bytes per entry of L1"));
    free(page);
}

static char *content_of(const char *name) {
    char path[96];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "r");
    char *text = calloc(1, 1 << 16);
    assert_non_null(file);
    assert_non_null(text);
    assert_true(fread(text, 1, (1 << 16) - 1, file) > 0);
    assert_int_equal(fclose(file), 0);
    return text;
}

static void test_exports(void **state) {
    (void)state;
    char json[64], csv[64], prefix[64], error[256] = "";
    free(page_of(result, 0));
    snprintf(json, sizeof json, "%s/result.json", folder);
    snprintf(csv, sizeof csv, "%s/out.csv", folder);
    snprintf(prefix, sizeof prefix, "%s/out", folder);
    assert_int_equal(bench_export_csv(json, csv, error, sizeof error), 0);
    char *text = content_of("out.csv");
    assert_string_equal(text, "seconds,l1_hit,l2_hit,load,set,invalidate,p99_ns.l1_hit\n1,10,0,0,0,0,500\n2,30,0,0,0,0,600\n");
    free(text);
    assert_int_equal(bench_export_hgrm(json, prefix, error, sizeof error), 0);
    text = content_of("out.latency.l1_hit.hgrm");
    assert_non_null(strstr(text, "    0.000100 0.500000000000         50           2.00\n"));
    assert_non_null(strstr(text, "    0.000300 0.900000000000         90          10.00\n"));
    assert_non_null(strstr(text, "    0.000900 1.000000000000        100\n")); /* not beyond the maximum */
    assert_non_null(strstr(text, "#[Max     =     0.000900, Total count    =          100]"));
    free(text);
    assert_int_equal(bench_export_csv("/nonexistent.json", csv, error, sizeof error), -1);
    assert_int_equal(bench_export_hgrm(json, "/nonexistent/x", error, sizeof error), -1);
    assert_non_null(strstr(error, "/nonexistent/x"));
}

/* Golden: this line is one that HdrHistogram_c reads as 50 of 100 ns, 40 of 300, 10 of 900 (its maximum), under that tag. */
static void test_hlog(void **state) {
    (void)state;
    char json[64], path[64], error[256];
    snprintf(json, sizeof json, "%s/log.json", folder);
    snprintf(path, sizeof path, "%s/out.hlog", folder);
    FILE *file = fopen(json, "w");
    assert_true(file != NULL && fputs("{\"environment\": {\"started_utc\": \"2023-11-14T22:13:20Z\"}, \"result\": {\"seconds\": 2.5}, \"latency\": {\"l1_hit\": "
                                      "{\"max_ns\": 900, \"buckets\": [100, 50, 300, 40, 1000, 10]}, \"load\": {\"buckets\": []}}}", file) >= 0 && fclose(file) == 0);
    assert_int_equal(bench_export_hlog(json, path, error, sizeof error), 0);
    char *text = content_of("out.hlog");
    assert_string_equal(text, "#[Histogram log format version 1.3]\n#[StartTime: 1700000000.000 (seconds since epoch)]\n"
                              "\"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\"Interval_Compressed_Histogram\"\n"
                              "Tag=latency.l1_hit,0.000,2.500,0.000900,HISTFAAAADx4AQExAM7/HISTEwAAAAkAAAAAAAAAAwAAAAAAAAABAAADRjC4oAA/8AAAAAAAAMcBZI0DUK0JFIbjByo=\n");
    free(text);
    assert_int_equal(bench_export_hlog(json, "/nonexistent/x", error, sizeof error), -1);
}

static void test_bad_results(void **state) {
    (void)state;
    (void)page_of("{\"a\": ", -1);
    (void)page_of("[1, 2]", -1);
    free(page_of("{\"cases\": [{\"name\": \"x\", \"rounds\": [{\"p50_us\": 3}]}]}", 0));
    free(page_of("{\"latency\": 5, \"series\": {\"a\": 1}, \"result\": [], \"environment\": \"x\"}", 0));
    char error[64];
    assert_int_equal(bench_html_write("/nonexistent/a.json", "/nonexistent/a.html", error, sizeof error), -1);
}

/* Lines meet the places of their values: the chart is 66 .. 946 wide and 292 .. 12 high. */
static void test_places(void **state) {
    (void)state;
    const double x[] = {0, 5, 10}, y[] = {0, 50, 100}, gap[] = {0, NAN, 100};
    bench_chart chart = {.title = "t", .x = {BENCH_SCALE_LINEAR, BENCH_UNIT_SECONDS}, .y = {BENCH_SCALE_LINEAR, BENCH_UNIT_PERCENT}};
    chart.lines[0] = (bench_line){"whole", x, y, 3};
    chart.lines[1] = (bench_line){"broken", x, gap, 3};
    chart.line_count = 2;
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    bench_chart_draw(out, &chart);
    assert_int_equal(fclose(out), 0);
    assert_non_null(strstr(text, "d='M66.0 292.0L506.0 152.0L946.0 12.0'"));
    assert_non_null(strstr(text, "d='M66.0 292.0M946.0 12.0'"));
    assert_non_null(strstr(text, ">100 %<"));
    free(text);
    const double quantiles[] = {0, 0.9, 0.99}, ns[] = {100, 1000, 10000};
    chart = (bench_chart){.title = "t", .x = {BENCH_SCALE_NINES, BENCH_UNIT_PERCENT}, .y = {BENCH_SCALE_LOG, BENCH_UNIT_NS}};
    chart.lines[0] = (bench_line){"nines", quantiles, ns, 3};
    chart.line_count = 1;
    out = open_memstream(&text, &size);
    bench_chart_draw(out, &chart);
    assert_int_equal(fclose(out), 0);
    assert_non_null(strstr(text, "d='M66.0 292.0L506.0 152.0L946.0 12.0'"));
    assert_non_null(strstr(text, ">p99<"));
    assert_non_null(strstr(text, ">1 µs<"));
    free(text);
}

static void test_saying(void **state) {
    (void)state;
    char text[48];
    assert_string_equal(bench_say(BENCH_UNIT_NS, 999, text, sizeof text), "999 ns");
    assert_string_equal(bench_say(BENCH_UNIT_NS, 1250, text, sizeof text), "1.25 µs");
    assert_string_equal(bench_say(BENCH_UNIT_NS, 98e6, text, sizeof text), "98 ms");
    assert_string_equal(bench_say(BENCH_UNIT_BYTES, 1536, text, sizeof text), "1.50 KiB");
    assert_string_equal(bench_say(BENCH_UNIT_COUNT, 387000, text, sizeof text), "387 k");
    assert_string_equal(bench_say(BENCH_UNIT_PERCENT, 99.94, text, sizeof text), "99.9 %");
    assert_string_equal(bench_say(BENCH_UNIT_COUNT, NAN, text, sizeof text), "–");
}

static int make_folder(void **state) {
    (void)state;
    return mkdtemp(folder) != NULL ? 0 : -1;
}
static int remove_folder(void **state) {
    (void)state;
    char command[96];
    snprintf(command, sizeof command, "rm -r %s", folder);
    return system(command);
}

static const char cases_result[] =
    "{\"cautions\": [\"noise\"], \"cases\": [{\"name\": \"get, l1\", \"rounds\": [{\"ns\": 80}, {\"ns\": 90}]}, "
    "{\"name\": \"all, l1\", \"rounds\": [{\"p50_us\": 2.5, \"failures\": 0, \"per_second\": 12500}]}, "
    "{\"name\": \"get, \\\"it\\\"\", \"ratio\": 0.5, \"ratio_low\": 0.41, \"ratio_high\": 0.6, \"hit_ratio\": 1, \"rounds\": [{\"ns\": 160}]}]}";

/* Cases with the same numbers share a table, with their medians and relations; the others have their own. */
static void test_cases(void **state) {
    (void)state;
    char *page = page_of(cases_result, 0);
    assert_int_equal(count_of(page, "class='cases'"), 2);
    assert_non_null(strstr(page, "<th>time</th><th>ours / theirs</th></tr>\n<tr><td>get, l1</td><td>85 ns</td><td>–</td></tr>\n"
                                 "<tr><td>get, &quot;it&quot;</td><td>160 ns</td><td>0.5 (0.41–0.6)</td></tr>"));
    assert_non_null(strstr(page, "<th>p50</th><th>per second</th></tr>\n<tr><td>all, l1</td><td>2.50 µs</td><td>12.5 k/s</td></tr>"));
    assert_non_null(strstr(page, "⚠ noise"));
    free(page);
    char csv[64], json[64], error[256];
    snprintf(json, sizeof json, "%s/cases.json", folder);
    snprintf(csv, sizeof csv, "%s/out.csv", folder);
    FILE *file = fopen(json, "w");
    assert_true(file != NULL && fputs(cases_result, file) >= 0 && fclose(file) == 0);
    assert_int_equal(bench_export_csv(json, csv, error, sizeof error), 0);
    page = content_of("out.csv");
    assert_string_equal(page, "case,round,ns,p50_us,failures,per_second\n\"get, l1\",1,80,,,\n\"get, l1\",2,90,,,\n\"all, l1\",1,,2.5,0,12500\n"
                              "\"get, \"\"it\"\"\",1,160,,,\n");
    free(page);
    file = fopen(json, "w");
    assert_true(file != NULL && fputs("{\"a\": 1}", file) >= 0 && fclose(file) == 0);
    assert_int_equal(bench_export_csv(json, csv, error, sizeof error), -1);
    assert_non_null(strstr(error, "neither series nor cases"));
}

/* Several results on one page: the screen first, each with its curves, cases as a table, nothing unescaped. */
static void test_parts(void **state) {
    (void)state;
    char path[64], error[256];
    json_t *tiers = json_loads(result, 0, NULL), *cases = json_loads("{\"cases\": [{\"name\": \"get <one>\", \"rounds\": "
                                                                    "[{\"ns\": 80.4}, {\"ns\": 70}, {\"ns\": 99}]}, {\"name\": \"rate\", \"rounds\": "
                                                                    "[{\"millions_per_second\": 21.5}]}, {\"name\": \"bare\"}]}", 0, NULL);
    assert_true(tiers != NULL && cases != NULL);
    const bench_html_part parts[] = {{"First", cases}, {"Second & last", tiers}};
    snprintf(path, sizeof path, "%s/parts.html", folder);
    assert_int_equal(bench_html_write_parts("A tour", "a < b", parts, 2, path, error, sizeof error), 0);
    char *text = calloc(1, 1 << 20);
    FILE *file = fopen(path, "r");
    assert_true(text != NULL && file != NULL && fread(text, 1, (1 << 20) - 1, file) > 0);
    assert_int_equal(fclose(file), 0);
    (void)unlink(path);
    assert_non_null(strstr(text, "<title>A tour</title>"));
    assert_true(strstr(text, "a &lt; b") != NULL && strstr(text, "a &lt; b") < strstr(text, ">First<"));
    assert_non_null(strstr(text, "<td>get &lt;one&gt;</td><td>80.4 ns</td>"));
    assert_non_null(strstr(text, "<td>rate</td><td>21.5 M/s</td>"));
    assert_null(strstr(text, "bare"));
    assert_true(strstr(text, ">Second &amp; last<") < strstr(text, "Operations a second"));
    assert_int_equal(count_of(text, "</html>"), 1);
    assert_int_equal(bench_html_write_parts("A tour", "", parts, 2, "/nowhere/at/all.html", error, sizeof error), -1);
    free(text);
    json_decref(tiers);
    json_decref(cases);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_self_contained), cmocka_unit_test(test_charts), cmocka_unit_test(test_exports), cmocka_unit_test(test_bad_results), cmocka_unit_test(test_cases), cmocka_unit_test(test_hlog), cmocka_unit_test(test_words),
        cmocka_unit_test(test_places),         cmocka_unit_test(test_saying),
        cmocka_unit_test(test_parts),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
