/* SPDX-License-Identifier: Apache-2.0 */
/* Log lines, the gate against floods, and the texts of status codes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <strata/status.h>

#include "core/observe/log.h"
#include "core/observe/metric.h"

static char last[2048];
static int last_level;

static void remember(void *context, int level, const char *line) {
    (void)context;
    last_level = level;
    (void)strncpy(last, line, sizeof last - 1);
}

static void test_lines(void **state) {
    (void)state;
    sx_log log = {NULL, remember};
    sx_log_write(&log, SX_LOG_WARN, "node %s:%d\n\tsaid \x7f%c", "a", 7, 1);
    assert_string_equal(last, "node a:7??said ??");
    assert_int_equal(last_level, SX_LOG_WARN);
    char text[3000];
    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = '\0';
    sx_log_write(&log, SX_LOG_ERROR, "%s", text);
    assert_int_equal(strlen(last), 1023);
    sx_log silent = {NULL, NULL};
    sx_log_write(&silent, SX_LOG_ERROR, "%s", text);
    sx_log_write(NULL, SX_LOG_ERROR, "%s", text);
}

static void test_gate(void **state) {
    (void)state;
    sx_log_gate gate = {0};
    uint64_t dropped = 99;
    assert_true(sx_log_gate_open(&gate, 1000, 50, &dropped));
    assert_int_equal(dropped, 0);
    assert_false(sx_log_gate_open(&gate, 1001, 50, &dropped));
    assert_false(sx_log_gate_open(&gate, 1049, 50, &dropped));
    assert_int_equal(dropped, 0);
    assert_true(sx_log_gate_open(&gate, 1050, 50, &dropped));
    assert_int_equal(dropped, 2);
    assert_true(sx_log_gate_open(&gate, INT64_MAX - 1, 50, NULL));
}

static void test_status(void **state) {
    (void)state;
    assert_string_equal(strata_status_name(STRATA_OK), "STRATA_OK");
    assert_string_equal(strata_status_name(STRATA_E_TIMEOUT), "STRATA_E_TIMEOUT");
    assert_string_equal(strata_status_text(STRATA_MISS), "the key is absent");
    assert_string_equal(strata_status_name(12345), "STRATA_UNKNOWN");
    assert_string_equal(strata_status_text(INT32_MIN), "unknown status");
}

static void test_counter(void **state) {
    (void)state;
    sx_counter counter = 0;
    sx_counter_add(&counter, 3);
    sx_counter_add_shared(&counter, -1);
    assert_int_equal(sx_counter_read(&counter), 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_lines), cmocka_unit_test(test_gate),
                                       cmocka_unit_test(test_status), cmocka_unit_test(test_counter)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
