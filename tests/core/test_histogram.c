/* SPDX-License-Identifier: Apache-2.0 */
/* Histograms: every number lies in the bucket whose bounds enclose it, and quantiles are off by an eighth at most. */
#include "core/observe/histogram.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

static void test_bounds_enclose(void **state) {
    (void)state;
    int64_t below = 0;
    for (uint32_t i = 0; i < STRATA_HISTOGRAM_BUCKETS; i++) {
        int64_t bound = strata_histogram_bound(i);
        assert_true(bound > below);
        assert_int_equal(sx_histogram_bucket(below), i);
        assert_int_equal(sx_histogram_bucket(bound == INT64_MAX ? bound : bound - 1), i);
        if (below >= 16 && bound != INT64_MAX) assert_true(bound - below <= below / 8);
        below = bound;
    }
    assert_int_equal(sx_histogram_bucket(-5), 0);
    assert_int_equal(strata_histogram_bound(STRATA_HISTOGRAM_BUCKETS - 2), INT64_C(1) << 37);
    assert_int_equal(strata_histogram_bound(STRATA_HISTOGRAM_BUCKETS), INT64_MAX);
}

static void test_quantiles(void **state) {
    (void)state;
    sx_histogram *histogram = calloc(1, sizeof *histogram);
    strata_histogram seen = {.struct_size = sizeof seen};
    assert_int_equal(strata_histogram_quantile(&seen, 0.5), 0);
    for (int64_t i = 1; i <= 1000; i++) {
        if (i % 2 == 0) sx_histogram_add(histogram, i * 1000);
        else sx_histogram_add_shared(histogram, i * 1000);
    }
    sx_histogram_read(histogram, &seen);
    assert_int_equal(seen.count, 1000);
    assert_int_equal(seen.sum, INT64_C(500500) * 1000);
    double parts[] = {0.01, 0.5, 0.9, 0.99};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        int64_t exact = (int64_t)(parts[i] * 1000000), told = strata_histogram_quantile(&seen, parts[i]);
        assert_true(told > exact && told <= exact + exact / 8 + 1000);
    }
    assert_true(strata_histogram_quantile(&seen, 1) > 1000000);
    assert_true(strata_histogram_quantile(&seen, 2) == strata_histogram_quantile(&seen, 1));
    assert_true(strata_histogram_quantile(&seen, -1) > 1000 && strata_histogram_quantile(&seen, -1) < 1200); /* the least there is */
    sx_histogram_add(histogram, INT64_MAX / 2);
    seen = (strata_histogram){.struct_size = sizeof seen};
    sx_histogram_read(histogram, &seen);
    assert_int_equal(strata_histogram_quantile(&seen, 1), INT64_MAX);
    free(histogram);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_bounds_enclose), cmocka_unit_test(test_quantiles)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
