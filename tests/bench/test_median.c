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

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_median)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
