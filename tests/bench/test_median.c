/* SPDX-License-Identifier: Apache-2.0 */
/* One value in the middle, or the mean of two. */
#include "bench/median.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void test_median(void **state) {
    (void)state;
    double odd[] = {9, -1, 4}, even[] = {8, 1, 2, 100}, one[] = {7};
    assert_true(bench_median(odd, 3) == 4);
    assert_true(bench_median(even, 4) == 5);
    assert_true(bench_median(one, 1) == 7);
    assert_true(isnan(bench_median(one, 0)));
}

/* Two halves that agree, though each varies; two that don't; too few to say. */
static void test_noise(void **state) {
    (void)state;
    double quiet[] = {100, 101, 120, 80, 101, 102, 99, 100}, noisy[] = {100, 110, 101, 109, 99, 111, 100};
    assert_true(bench_noise(quiet, 8) < BENCH_NOISE_MAX);
    assert_true(fabs(bench_noise(noisy, 7) - 0.1) < 1e-9);
    assert_true(noisy[1] == 110);
    assert_true(isnan(bench_noise(noisy, 3)));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_median), cmocka_unit_test(test_noise)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
