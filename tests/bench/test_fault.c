/* SPDX-License-Identifier: Apache-2.0 */
/* Schedules of faults, and what is read from a run's course about what a fault did. */
#include "bench/fault.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bench/series.h"

static int parse(bench_faults *faults, const char *a, const char *b) {
    char error[512] = "";
    bench_list list = {.items = {a, b}, .count = b != NULL ? 2 : 1};
    int outcome = bench_faults_parse(faults, &list, 3, error, sizeof error);
    assert_true((outcome == 0) == (error[0] == '\0'));
    return outcome;
}

static void test_schedule(void **state) {
    (void)state;
    bench_faults faults;
    assert_int_equal(parse(&faults, "kill:2@10", "pause:0@5.5+2"), 0);
    assert_int_equal(faults.count, 3);
    assert_int_equal(faults.list[0].kind, BENCH_FAULT_PAUSE);
    assert_int_equal(faults.list[1].kind, BENCH_FAULT_RESUME);
    assert_true(faults.list[1].seconds == 7.5);
    assert_int_equal(faults.list[1].node, 0);
    assert_int_equal(faults.list[2].kind, BENCH_FAULT_KILL);
    assert_int_equal(faults.list[2].node, 2);
}

static void test_wrong_schedules(void **state) {
    (void)state;
    static const char *const wrong[] = {"kill",      "kill:",      "kill:0",     "kill:0@",      "kill:3@1",   "kill:-1@1", "kill:0@-1",
                                        "kill:0@1+2", "pause:0@1", "pause:0@1+", "pause:0@1+0", "kil:0@1",    "killer:0@1", "kill:0@1x",
                                        "kill:0@nan", "pause:0@1+inf", ":0@1", ""};
    bench_faults faults;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        if (parse(&faults, wrong[i], NULL) != -1) fail_msg("'%s' was taken", wrong[i]);
}

/* Quarters of a second; a step is the p99 of L2 hits in it, in ms, or a failure where it is negative. */
static bench_aftermath aftermath(const int *steps, uint32_t count, double from, double to) {
    bench_series *series = calloc(1, sizeof *series);
    assert_non_null(series);
    for (uint32_t i = 0; i < count; i++) {
        bench_series_point *point = &series->points[series->count++];
        point->seconds = 0.25 * (i + 1);
        point->failures = (i > 0 ? point[-1].failures : 0) + (steps[i] < 0 ? 2 : 0);
        point->p99_ns[BENCH_OUTCOME_L2] = (uint64_t)abs(steps[i]) * 1000000;
    }
    bench_aftermath found = bench_series_aftermath(series, from, to, 1500000);
    free(series);
    return found;
}

static void test_aftermath(void **state) {
    (void)state;
    /* A fault at 0.5 s: a quiet step, two failures, a slow one, and then a calm second from 1.75 s on. */
    const int steps[] = {1, 1, 1, -1, -1, 5, 3, 1, 1, 1, 1, 1};
    bench_aftermath found = aftermath(steps, 12, 0.5, 100);
    assert_int_equal(found.failures, 4);
    assert_true(found.first_failure == 0.5 && found.last_failure == 0.75);
    assert_true(found.disturbed && found.recovered == 1.25);
    /* Not calm for long enough. */
    assert_true(aftermath(steps, 9, 0.5, 100).recovered == -1);
    /* Nothing after the next fault counts. */
    assert_int_equal(aftermath(steps, 12, 0.5, 1.0).failures, 2);
    /* Calm between two failures is not the end of it. */
    const int twice[] = {-1, 1, 1, 1, 1, 1, 1, -1, 1, 1, 1, 1, 1};
    assert_true(aftermath(twice, 13, 0, 100).recovered == 2);
    const int quiet[] = {1, 1, 1, 1, 1, 1};
    assert_false(aftermath(quiet, 6, 0, 100).disturbed);
}

/* Counts of the killed process over steps of half a second: it answers 8 of 10 from L1, is away, and gets warm from L2. */
static void test_rewarm(void **state) {
    (void)state;
    static const uint64_t steps[][3] = {{80, 19, 1}, {80, 19, 1}, {80, 19, 1}, {0, 0, 0}, {0, 0, 0}, {10, 80, 10}, {50, 49, 1}, {75, 24, 1}, {80, 20, 0}};
    bench_series *series = calloc(1, sizeof *series);
    assert_non_null(series);
    for (uint32_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        bench_series_point *point = &series->points[series->count++];
        point->seconds = 0.5 * (i + 1);
        for (int j = 0; j < 3; j++) point->restarted[j] = (i > 0 ? point[-1].restarted[j] : 0) + steps[i][j];
    }
    bench_rewarm back = bench_series_rewarm(series, 1.6);
    assert_true(back.l1_before > 0.799 && back.l1_before < 0.801);
    assert_true(back.l1_first > 0.299 && back.l1_first < 0.301 && back.l2_first > 0.644 && back.l2_first < 0.646);
    assert_true(back.load_first > 0.054 && back.load_first < 0.056);
    assert_true(back.back_s > 2.899 && back.back_s < 2.901); /* the step of 80 of 100; that of 75 is not enough */
    assert_true(back.loads == 12);
    series->count = 5; /* it never came back */
    back = bench_series_rewarm(series, 1.6);
    assert_true(back.l1_first < 0 && back.back_s < 0 && back.l1_before > 0.79);
    free(series);
}

/* Warming up is no growth, a saw tooth is none, a slow leak is. */
static void test_growth(void **state) {
    (void)state;
    bench_series *series = calloc(1, sizeof *series);
    assert_non_null(series);
    for (uint32_t i = 0; i < 40; i++) {
        bench_series_point *point = &series->points[series->count++];
        point->seconds = i + 1;
        point->resident_bytes = i < 20 ? 50000 * (i + 1) : i % 2 == 0 ? 1000000 : 1010000;
    }
    assert_true(fabs(bench_series_growth(series).bytes) < 3000);
    for (uint32_t i = 20; i < 40; i++) series->points[i].resident_bytes = 1000000 + 1000 * i;
    bench_growth growth = bench_series_growth(series);
    assert_true(fabs(growth.bytes - 19000) < 1 && fabs(growth.from_bytes - 1020000) < 1);
    series->count = 7;
    assert_true(bench_series_growth(series).bytes > 0); /* still warming up: nobody calls that flat */
    series->count = 6;
    assert_true(isnan(bench_series_growth(series).bytes));
    free(series);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_schedule), cmocka_unit_test(test_wrong_schedules),
                                       cmocka_unit_test(test_aftermath), cmocka_unit_test(test_rewarm), cmocka_unit_test(test_growth)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
