/* SPDX-License-Identifier: Apache-2.0 */
/* strata-bench compare: names of metrics, medians and intervals, conditions that fail, and files that are none. */
#include "bench/compare/compare.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "bench/compare/metrics.h"

static char folder[] = "/tmp/strata-compare-XXXXXX";

static const char *file(const char *name, const char *content) {
    static char paths[8][64];
    static uint32_t next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    FILE *out = fopen(path, "w");
    assert_non_null(out);
    fputs(content, out);
    assert_int_equal(fclose(out), 0);
    return path;
}

/* A result whose rounds took these many microseconds. */
static const char *rounds(const char *name, const double *p99, size_t count) {
    char text[1024] = "{\"environment\": {\"cpus\": 2}, \"cases\": [{\"name\": \"one, two\", \"rounds\": [";
    for (size_t i = 0; i < count; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s{\"p99_us\": %g, \"steady\": 5}", i == 0 ? "" : ", ", p99[i]);
    strcat(text, "]}]}");
    return file(name, text);
}

static char *compare(const char *a, const char *b, const char *condition, int expected) {
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    char *argv[] = {(char *)(uintptr_t)a, (char *)(uintptr_t)b, (char *)(uintptr_t) "--fail-if", (char *)(uintptr_t)condition};
    assert_int_equal(bench_compare(out, out, condition != NULL ? 4 : 2, argv), expected);
    assert_int_equal(fclose(out), 0);
    return text;
}

static void assert_says(char *text, const char *what) {
    if (strstr(text, what) == NULL) fail_msg("'%s' is not in:\n%s", what, text);
    free(text);
}

static void test_names_and_medians(void **state) {
    (void)state;
    char error[256];
    bench_metrics metrics = {0};
    const double some[] = {3, 1, 2, 10};
    assert_int_equal(bench_metrics_load(&metrics, rounds("names.json", some, 4), error, sizeof error), 0);
    assert_int_equal(metrics.count, 2); /* not the environment */
    const bench_metric *p99 = bench_metrics_find(&metrics, "cases.one_two.p99_us");
    assert_non_null(p99);
    assert_int_equal(p99->count, 4);
    assert_true(bench_metric_median(p99) == 2.5);
    assert_true(bench_metric_is_meant(p99, "one_two.p99"));
    assert_true(bench_metric_is_meant(p99, "p99_us"));
    assert_false(bench_metric_is_meant(p99, "p9"));
    assert_false(bench_metric_is_meant(p99, "99_us"));
    bench_metrics_release(&metrics);
}

/* What a case says of itself beside its rounds is no sample: it would be one without an interval. */
static void test_summaries(void **state) {
    (void)state;
    char error[256];
    bench_metrics metrics = {0};
    const char *path = file("summed.json", "{\"cases\": [{\"name\": \"get\", \"median_ns\": 5, \"ratio_low\": 1, \"rounds\": [{\"ns\": 4}, {\"ns\": 6}]}], "
                                           "\"rounds\": [{\"loads\": 1}], \"p99_ns\": 7}");
    assert_int_equal(bench_metrics_load(&metrics, path, error, sizeof error), 0);
    assert_int_equal(metrics.count, 3);
    assert_int_equal(bench_metrics_find(&metrics, "cases.get.ns")->count, 2);
    assert_non_null(bench_metrics_find(&metrics, "loads"));
    assert_int_equal(bench_metric_direction("cases.get.ns"), -1);
    assert_int_equal(bench_metric_direction("cases.get.millions_per_second"), 1);
    assert_int_equal(bench_metric_direction("cases.memory.resident_bytes_per_entry"), -1);
    assert_int_equal(bench_metric_direction("cases.memory.payload_bytes_per_entry"), 0);
    assert_non_null(bench_metrics_find(&metrics, "p99_ns"));
    bench_metrics_release(&metrics);
}

/* Two files of a side are two samples of each metric. */
static void test_several_files(void **state) {
    (void)state;
    char error[256], both[160];
    bench_metrics metrics = {0};
    const double few[] = {1}, more[] = {5, 9};
    const char *first = rounds("a.json", few, 1), *second = rounds("b.json", more, 2);
    snprintf(both, sizeof both, "%s,%s", first, second);
    assert_int_equal(bench_metrics_load(&metrics, both, error, sizeof error), 0);
    assert_int_equal(bench_metrics_find(&metrics, "cases.one_two.p99_us")->count, 3);
    assert_true(bench_metric_median(bench_metrics_find(&metrics, "cases.one_two.p99_us")) == 5);
    bench_metrics_release(&metrics);
}

static void test_interval(void **state) {
    (void)state;
    double of_a[] = {10, 11, 10, 9, 10}, of_b[] = {20, 21, 19, 20, 22}, same[] = {9, 11, 10, 10, 12}, ratio, low, high;
    bench_metric a = {"x", of_a, 5, 5}, b = {"x", of_b, 5, 5}, c = {"x", same, 5, 5}, few = {"x", of_b, 2, 2};
    assert_true(bench_metric_ratio(&a, &b, &ratio, &low, &high));
    assert_true(ratio == 2 && low > 1.7 && low <= 2 && high >= 2 && high < 2.45);
    assert_true(bench_metric_ratio(&a, &c, &ratio, &low, &high));
    assert_true(low <= 1 && high >= 1);
    assert_false(bench_metric_ratio(&a, &few, &ratio, &low, &high));
    assert_true(ratio > 1.99 && ratio < 2.06);
}

static void test_conditions(void **state) {
    (void)state;
    const double quick[] = {100, 101, 102}, slow[] = {120, 121, 122}, vague[] = {80, 121, 160};
    const char *a = rounds("quick.json", quick, 3), *b = rounds("slow.json", slow, 3), *c = rounds("vague.json", vague, 3);
    assert_says(compare(a, b, "p99>+5%", 1), "FAILED: p99>+5%");
    assert_says(compare(a, b, NULL, 0), "WORSE");
    assert_says(compare(b, a, NULL, 0), "better");
    free(compare(a, b, "p99>+30%", 0));
    free(compare(b, a, "p99>+5%", 0));
    assert_says(compare(b, a, "p99<-5%", 1), "FAILED");
    assert_says(compare(a, c, "p99>+5%", 0), "~"); /* more, but it could be noise */
    free(compare(a, a, "p99>+0%", 0));
    assert_says(compare(a, b, "nothing>+5%", 2), "no metric");
    assert_says(compare(a, b, "p99>5%", 2), "METRIC>+N%");
    assert_says(compare(a, b, "p99", 2), "METRIC>+N%");
}

/* One run a side: what exceeds the condition fails, and the table says that nothing is known of noise. */
static void test_single_runs(void **state) {
    (void)state;
    const double quick[] = {100}, slow[] = {120};
    const char *a = rounds("one.json", quick, 1), *b = rounds("two.json", slow, 1);
    assert_says(compare(a, b, "p99>+5%", 1), "fewer than 3 samples");
    assert_says(compare(a, b, NULL, 0), "WORSE?");
    assert_says(compare(b, a, NULL, 0), "better?");
}

static void test_bad_files(void **state) {
    (void)state;
    const double some[] = {1};
    const char *good = rounds("good.json", some, 1);
    assert_says(compare(good, "/nonexistent/file.json", NULL, 3), "/nonexistent/file.json");
    assert_says(compare(file("broken.json", "{\"a\": "), good, NULL, 3), "broken.json: line 1");
    assert_says(compare(file("empty.json", "{\"a\": \"text\"}"), good, NULL, 3), "no measured number");
    assert_says(compare("", good, NULL, 2), "a side that is empty"); /* a variable that is not set */
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    char *argv[] = {(char *)(uintptr_t)good};
    assert_int_equal(bench_compare(out, out, 1, argv), 2);
    assert_int_equal(fclose(out), 0);
    assert_says(text, "two sides");
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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names_and_medians), cmocka_unit_test(test_several_files), cmocka_unit_test(test_summaries), cmocka_unit_test(test_interval),
        cmocka_unit_test(test_conditions),        cmocka_unit_test(test_single_runs),   cmocka_unit_test(test_bad_files),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
