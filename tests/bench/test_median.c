/* SPDX-License-Identifier: Apache-2.0 */
/* One value in the middle, or the mean of two. */
#include "bench/median.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "bench/random.h"

static void test_median(void **state) {
    (void)state;
    double odd[] = {9, -1, 4}, even[] = {8, 1, 2, 100}, one[] = {7};
    assert_true(bench_median(odd, 3) == 4);
    assert_true(bench_median(even, 4) == 5);
    assert_true(bench_median(one, 1) == 7);
    assert_true(isnan(bench_median(one, 0)));
}

/* Rounds that agree but for some that were disturbed; rounds that don't; a machine that became slower in the middle; too few to say. */
static void test_noise(void **state) {
    (void)state;
    double calm[] = {100, 101, 160, 101, 100, 99, 100, 80, 101, 100, 99, 100, 240, 100, 101}, noisy[15], slower[15], few[] = {100, 101, 100.5, 100};
    for (int i = 0; i < 15; i++) {
        noisy[i] = 100 + (i * 7) % 15;
        slower[i] = i < 7 ? 100 : 110;
    }
    assert_true(bench_noise(calm, 15) < BENCH_NOISE_MAX);
    assert_true(fabs(bench_noise(calm, 15) - sqrt(0.5) * 0.01) < 1e-9); /* of 15 the interval ends at the fourth from either end: 100 and 101 */
    assert_true(bench_noise(noisy, 15) > BENCH_NOISE_MAX);
    assert_true(bench_noise(slower, 15) > BENCH_NOISE_MAX);
    assert_true(noisy[1] == 107); /* in the order that they had */
    assert_true(bench_noise(few, 4) < BENCH_NOISE_MAX);
    few[2] = 106;
    assert_true(fabs(bench_noise(few, 4) - sqrt(0.5) * 6 / 100.5) < 1e-9);
    assert_true(isnan(bench_noise(noisy, 3)));
}

/* Of pairs of measurements that are calm enough, few medians are further apart than that. */
static void test_noise_is_enough(void **state) {
    (void)state;
    bench_random random;
    bench_random_init(&random, 7, 0);
    uint32_t calm = 0, apart = 0;
    for (int i = 0; i < 4000; i++) {
        double a[15], b[15];
        for (int k = 0; k < 15; k++) {
            a[k] = 100 + 8 * bench_random_unit(&random) * bench_random_unit(&random);
            b[k] = 100 + 8 * bench_random_unit(&random) * bench_random_unit(&random);
        }
        if (bench_noise(a, 15) > BENCH_NOISE_MAX || bench_noise(b, 15) > BENCH_NOISE_MAX) continue;
        calm++;
        double first = bench_median(a, 15), second = bench_median(b, 15);
        apart += fabs(first - second) > BENCH_NOISE_MAX * fmin(first, second);
    }
    assert_true(calm > 500);
    assert_true(apart < calm / 20);
}

/* Ranks as tables of the sign test have them; and the median of what is drawn from is inside often enough. */
static void test_interval(void **state) {
    (void)state;
    static const struct {
        size_t count, rank;
    } ranks[] = {{6, 0}, {8, 0}, {9, 1}, {11, 1}, {12, 2}, {20, 5}, {31, 9}};
    double values[31], low = -1, high = -1;
    for (int i = 0; i < 31; i++) values[i] = (double)((i * 7) % 31); /* 0 to 30 in another order */
    assert_false(bench_median_interval(values, 5, &low, &high));
    assert_true(low == -1 && high == -1);
    for (size_t i = 0; i < sizeof ranks / sizeof ranks[0]; i++) {
        double some[31];
        for (size_t k = 0; k < ranks[i].count; k++) some[k] = (double)(ranks[i].count - 1 - k);
        assert_true(bench_median_interval(some, ranks[i].count, &low, &high));
        assert_true(low == (double)ranks[i].rank && high == (double)(ranks[i].count - 1 - ranks[i].rank));
    }
    assert_true(bench_median_interval(values, 31, &low, &high) && low == 9 && high == 21);
    bench_random random;
    bench_random_init(&random, 5, 0);
    uint32_t inside = 0;
    for (int i = 0; i < 2000; i++) {
        for (int k = 0; k < 9; k++) values[k] = bench_random_unit(&random) * bench_random_unit(&random) * 2;
        assert_true(bench_median_interval(values, 9, &low, &high));
        inside += low <= 0.37336 && high >= 0.37336; /* x (1 - ln x) = 1/2, twice */
    }
    assert_true(inside > 1880 && inside < 1960); /* 96.1 % */
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_median), cmocka_unit_test(test_noise), cmocka_unit_test(test_noise_is_enough), cmocka_unit_test(test_interval)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
