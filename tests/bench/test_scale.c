/* SPDX-License-Identifier: Apache-2.0 */
/* Lines through points, and a fleet computed by hand. */
#include "bench/scale.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static int near(double a, double b) { return fabs(a - b) <= 1e-9 * fabs(b) + 1e-12; }

static void test_fit(void **state) {
    (void)state;
    static const double x[] = {1, 2, 4, 8}, line[] = {5, 7, 11, 19}, around[] = {6, 6, 12, 18};
    bench_fit fit = bench_fit_line(x, line, 4);
    assert_true(near(fit.base, 3) && near(fit.slope, 2));
    fit = bench_fit_line(x, around, 4); 
    assert_true(fabs(fit.slope - 1.82608695652) < 1e-9 && fabs(fit.base - 3.65217391304) < 1e-9);
    fit = bench_fit_line(x, line, 1);
    assert_true(near(fit.base, 5) && fit.slope == 0);
}

static void test_prediction(void **state) {
    (void)state;
    bench_scale_model model = {.idle_server_us = {100, 10}, .idle_process_us = {50, 0}, .memory_bytes = {1000, 100}, .write_us = {10, 0.5},
                               .message_us = 2, .partitions = 200};
    bench_scale_prediction p = bench_scale_predict(&model, 400, 100, 20000);
    assert_true(near(p.node_idle_share, 400 * 120 / 1e6)); /* two partitions a node */
    assert_true(near(p.process_idle_share, 100 * 50 / 1e6));
    assert_true(near(p.node_memory_bytes, 400 * 1200.0));
    assert_true(near(p.node_write_share, 200 * 210 / 1e6));
    assert_true(near(p.process_message_share, 0.04));
    assert_true(near(p.node_writes_max, (1 - 0.048) * 1e6 / 210) && near(p.fleet_writes_max, 100 * p.node_writes_max));
    assert_true(near(p.process_messages_max, (1 - 0.005) * 1e6 / 2));
    p = bench_scale_predict(&model, 1e5, 100, 0); /* heartbeats alone fill the node */
    assert_true(p.node_idle_share > 1 && p.node_writes_max == 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_fit), cmocka_unit_test(test_prediction)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
