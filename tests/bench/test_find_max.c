/* SPDX-License-Identifier: Apache-2.0 */
/* The search for the highest rate: goals as texts, and the steps it takes. */
#include "bench/find_max.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void test_goals(void **state) {
    (void)state;
    static const char *const wrong[] = {"", "p99", "<1ms", "p99<", "p99<1", "p99<1min", "p99<-1ms", "p99<0ms", "p99<infms", "p99>1ms"};
    bench_goal goal;
    assert_true(bench_goal_parse("l2_hit.p99<1.5ms", &goal));
    assert_string_equal(goal.metric, "l2_hit.p99");
    assert_true(goal.limit_ns == 1.5e6);
    assert_true(bench_goal_parse("load.max<2s", &goal) && goal.limit_ns == 2e9);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        if (bench_goal_parse(wrong[i], &goal)) fail_msg("'%s' was taken", wrong[i]);
}

typedef struct machine {
    double carries; /* up to this rate */
    double breaks;  /* trials from here on can't be run; 0 for none */
    uint32_t trials;
} machine;

static int trial(void *context, double rate) {
    machine *m = context;
    m->trials++;
    if (m->breaks > 0 && rate >= m->breaks) return -1;
    return rate <= m->carries;
}

static void test_search(void **state) {
    (void)state;
    machine m = {.carries = 70000};
    double found = bench_find_max(10000, trial, &m);
    assert_true(found <= 70000 && found > 70000 / 1.1);
    assert_true(m.trials <= 9);
    m = (machine){.carries = 5000};
    assert_true(bench_find_max(10000, trial, &m) == 0);
    assert_int_equal(m.trials, 1);
    m = (machine){.carries = 1e12, .breaks = 40000};
    assert_true(bench_find_max(10000, trial, &m) == -1);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_goals), cmocka_unit_test(test_search)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
