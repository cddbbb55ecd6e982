/* SPDX-License-Identifier: Apache-2.0 */
/* Result files: what is written as cases is read by compare as metrics, a sample for each round. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "bench/compare/metrics.h"
#include "bench/result.h"

static void cases_are_metrics(void **state) {
    (void)state;
    static const double lag_us[] = {90, 110, 100}, per_second[] = {5, 6, 7};
    const bench_result_column columns[] = {{"p50_us", lag_us}, {"per_second", per_second}};
    char path[] = "/tmp/strata-test-result-XXXXXX", error[256];
    bench_json json;
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_true(bench_result_open(&json, path, "strata-bench/test/1"));
    bench_json_array_begin(&json, "cases");
    bench_result_case(&json, "lag, 1000 sets/s", columns, 2, 3);
    bench_result_case(&json, "other", columns, 1, 1);
    bench_json_array_end(&json);
    assert_true(bench_result_close(&json));
    json_t *root = json_load_file(path, JSON_REJECT_DUPLICATES, NULL);
    assert_string_equal(json_string_value(json_object_get(root, "schema")), "strata-bench/test/1");
    assert_true(json_object_size(json_object_get(root, "environment")) > 5);
    json_decref(root);
    bench_metrics metrics = {0};
    assert_int_equal(bench_metrics_load(&metrics, path, error, sizeof error), 0);
    assert_int_equal(metrics.count, 3); /* nothing of the environment */
    const bench_metric *lag = bench_metrics_find(&metrics, "cases.lag_1000_sets_s.p50_us");
    assert_non_null(lag);
    assert_int_equal(lag->count, 3);
    assert_true(bench_metric_median(lag) == 100);
    assert_int_equal(bench_metric_direction(lag->name), -1);
    assert_non_null(bench_metrics_find(&metrics, "cases.lag_1000_sets_s.per_second"));
    assert_int_equal(bench_metrics_find(&metrics, "cases.other.p50_us")->count, 1);
    bench_metrics_release(&metrics);
    close(fd);
    unlink(path);
}

static void what_can_not_be_written_is_said(void **state) {
    (void)state;
    bench_json json;
    assert_false(bench_result_open(&json, "/nowhere/result.json", "strata-bench/test/1"));
    assert_true(bench_result_open(&json, "/dev/full", "strata-bench/test/1"));
    assert_false(bench_result_close(&json));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(cases_are_metrics), cmocka_unit_test(what_can_not_be_written_is_said)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
