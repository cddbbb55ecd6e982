/* SPDX-License-Identifier: Apache-2.0 */
/* The histogram's promises: at most 1 % error at every quantile, exact counts, sums and maxima, merging that loses nothing. */
#include "bench/histogram.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "bench/random.h"

static bench_histogram *create(void) {
    bench_histogram *histogram = calloc(1, sizeof *histogram);
    assert_non_null(histogram);
    return histogram;
}

static void test_buckets_cover_all_values(void **state) {
    (void)state;
    uint64_t expected = 0;
    for (uint32_t i = 0; i < BENCH_HISTOGRAM_BUCKETS; i++) {
        uint64_t low = bench_histogram_bucket_low_ns(i), high = bench_histogram_bucket_high_ns(i);
        assert_true(low == expected && high >= low);
        assert_int_equal(bench_histogram_bucket(low), i);
        assert_int_equal(bench_histogram_bucket(high), i);
        assert_true((double)(high - low) <= (double)low / 128);
        expected = high + 1;
    }
    assert_true(expected == UINT64_C(1) << BENCH_HISTOGRAM_VALUE_BITS);
    assert_int_equal(bench_histogram_bucket(UINT64_MAX), BENCH_HISTOGRAM_BUCKETS - 1);
}

static int compare(const void *a, const void *b) {
    const uint64_t *x = a, *y = b;
    return *x < *y ? -1 : *x > *y;
}

/* Values spread evenly over the magnitudes, from 1 ns to 1000 s. */
static void test_quantiles_are_within_one_percent(void **state) {
    (void)state;
    enum { COUNT = 200000 };
    static uint64_t values[COUNT];
    static const double fractions[] = {0.001, 0.1, 0.5, 0.9, 0.99, 0.999, 0.9999, 1};
    bench_histogram *histogram = create();
    bench_random random;
    bench_random_init(&random, 7, 0);
    double sum = 0;
    for (int i = 0; i < COUNT; i++) {
        values[i] = bench_random_next(&random) >> (24 + bench_random_below(&random, 39));
        bench_histogram_add(histogram, (int64_t)values[i]);
        sum += (double)values[i];
    }
    qsort(values, COUNT, sizeof values[0], compare);
    for (size_t i = 0; i < sizeof fractions / sizeof fractions[0]; i++) {
        size_t rank = (size_t)(fractions[i] * COUNT + 0.999999);
        double exact = (double)values[rank - 1];
        double found = (double)bench_histogram_quantile_ns(histogram, fractions[i]);
        assert_true(found >= exact * 0.99 && found <= exact * 1.01 + 0.5);
    }
    assert_true(bench_histogram_quantile_ns(histogram, 1) == values[COUNT - 1]);
    assert_true(bench_histogram_mean_ns(histogram) / (sum / COUNT) - 1 < 1e-9);
    free(histogram);
}

static void test_merge_equals_recording_together(void **state) {
    (void)state;
    bench_histogram *both = create(), *one = create(), *two = create();
    bench_random random;
    bench_random_init(&random, 3, 1);
    for (int i = 0; i < 50000; i++) {
        int64_t value = (int64_t)(bench_random_next(&random) >> 40);
        bench_histogram_add(both, value);
        bench_histogram_add(i % 3 == 0 ? one : two, value);
    }
    bench_histogram_merge(one, two);
    assert_memory_equal(one, both, sizeof *one);
    bench_histogram_clear(one);
    assert_true(bench_histogram_quantile_ns(one, 0.5) == 0 && bench_histogram_mean_ns(one) == 0);
    free(both);
    free(one);
    free(two);
}

static void test_extremes(void **state) {
    (void)state;
    bench_histogram *histogram = create();
    bench_histogram_add(histogram, -5);
    assert_true(bench_histogram_quantile_ns(histogram, 0.5) == 0);
    bench_histogram_add(histogram, INT64_MAX);
    assert_true(bench_histogram_quantile_ns(histogram, 1) == INT64_MAX);
    assert_true(bench_count_read(&histogram->count) == 2);
    free(histogram);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_buckets_cover_all_values),
        cmocka_unit_test(test_quantiles_are_within_one_percent),
        cmocka_unit_test(test_merge_equals_recording_together),
        cmocka_unit_test(test_extremes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
