/* SPDX-License-Identifier: Apache-2.0 */
/* The breaker's transitions, with time as an argument. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "l2/breaker.h"

/* Faults that count are further apart than what one lost connection brings. */
#define T (10 * SX_NS_PER_MS)

static sx_breaker_limits limits = {3, 100 * T};

/* turns: it opens or closes, be it again. */
static void result(sx_breaker *b, bool probe, bool faulty, int64_t now, bool turns) {
    sx_breaker_state before = b->state;
    sx_breaker_result(b, &limits, probe, faulty, now);
    assert_int_equal(b->state != before, turns);
}
static void fault(sx_breaker *b, bool probe, int64_t now, bool turns) { result(b, probe, true, now, turns); }
static void success(sx_breaker *b, bool probe, int64_t now, bool turns) { result(b, probe, false, now, turns); }

static void only_failures_in_a_row_open_it(void **state) {
    (void)state;
    sx_breaker b = {0};
    for (int round = 0; round < 5; round++) {
        fault(&b, false, 0, false);
        fault(&b, false, T, false);
        success(&b, false, T, false);
    }
    assert_int_equal(sx_breaker_ask(&b, &limits, T), SX_BREAKER_PASS);
    fault(&b, false, 2 * T, false);
    fault(&b, false, 3 * T, false);
    fault(&b, false, 4 * T, true);
    assert_int_equal(b.state, SX_BREAKER_OPEN);
    assert_int_equal(sx_breaker_ask(&b, &limits, 4 * T), SX_BREAKER_REFUSE);
    assert_int_equal(sx_breaker_ask(&b, &limits, 104 * T - 1), SX_BREAKER_REFUSE);
}

static void one_lost_connection_is_one_fault(void **state) {
    (void)state;
    sx_breaker b = {0};
    for (int event = 0; event < 2; event++) { /* each fails a hundred requests at once */
        for (int i = 0; i < 100; i++) fault(&b, false, event * T + i, false);
    }
    assert_int_equal(b.state, SX_BREAKER_CLOSED);
    fault(&b, false, 2 * T, true);
}

static void one_probe_decides(void **state) {
    (void)state;
    sx_breaker b = {0};
    for (int i = 0; i < 3; i++) fault(&b, false, i * T - 2 * T, i == 2);
    assert_int_equal(sx_breaker_ask(&b, &limits, 100 * T), SX_BREAKER_PROBE);
    assert_int_equal(b.state, SX_BREAKER_HALF_OPEN);
    assert_int_equal(sx_breaker_ask(&b, &limits, 100 * T), SX_BREAKER_REFUSE); /* only one */
    success(&b, false, 101 * T, false);                               /* one sent before it opened proves nothing */
    fault(&b, false, 101 * T, false);
    assert_int_equal(sx_breaker_ask(&b, &limits, 101 * T), SX_BREAKER_REFUSE);
    fault(&b, true, 110 * T, true);
    assert_int_equal(sx_breaker_ask(&b, &limits, 210 * T - 1), SX_BREAKER_REFUSE);
    assert_int_equal(sx_breaker_ask(&b, &limits, 210 * T), SX_BREAKER_PROBE);
    sx_breaker_probe_cancel(&b);
    assert_int_equal(sx_breaker_ask(&b, &limits, 210 * T), SX_BREAKER_PROBE); /* it said nothing: another */
    success(&b, true, 220 * T, true);
    assert_int_equal(b.state, SX_BREAKER_CLOSED);
    assert_int_equal(sx_breaker_ask(&b, &limits, 220 * T), SX_BREAKER_PASS);
    fault(&b, false, 220 * T, false); /* and counts from nought again */
    fault(&b, false, 220 * T, false);
    assert_int_equal(b.state, SX_BREAKER_CLOSED);
}

static void zero_failures_means_never(void **state) {
    (void)state;
    const sx_breaker_limits never = {0, 1000};
    sx_breaker b = {0};
    for (int i = 0; i < 100; i++) {
        sx_breaker_result(&b, &never, false, true, i * T);
        assert_int_equal(sx_breaker_ask(&b, &never, i * T), SX_BREAKER_PASS);
    }
}

/* What is open follows limits that change: a shorter rest ends it sooner, none at all at once, whatever is under way. */
static void limits_change_while_it_is_open(void **state) {
    (void)state;
    sx_breaker b = {0};
    for (int i = 0; i < 3; i++) fault(&b, false, i * T - 2 * T, i == 2);
    assert_int_equal(sx_breaker_ask(&b, &limits, 10 * T), SX_BREAKER_REFUSE);
    atomic_store(&limits.open_ns, 10 * T);
    assert_int_equal(sx_breaker_ask(&b, &limits, 10 * T), SX_BREAKER_PROBE);
    atomic_store(&limits.failures, 0);
    assert_int_equal(sx_breaker_ask(&b, &limits, 10 * T), SX_BREAKER_PASS);
    assert_int_equal(b.state, SX_BREAKER_CLOSED);
    fault(&b, true, 11 * T, false); /* the probe's end, late: breakers are off */
    atomic_store(&limits.failures, 2);
    fault(&b, false, 12 * T, false);
    fault(&b, false, 13 * T, true); /* counts from nought */
    assert_int_equal(sx_breaker_ask(&b, &limits, 23 * T), SX_BREAKER_PROBE);
    atomic_store(&limits.failures, 0);
    fault(&b, true, 24 * T, true); /* any answer closes it now */
    atomic_store(&limits.failures, 3);
    assert_int_equal(sx_breaker_ask(&b, &limits, 25 * T), SX_BREAKER_PASS);
    atomic_store(&limits.open_ns, 100 * T);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_failures_in_a_row_open_it),
        cmocka_unit_test(one_lost_connection_is_one_fault),
        cmocka_unit_test(one_probe_decides),
        cmocka_unit_test(zero_failures_means_never),
        cmocka_unit_test(limits_change_while_it_is_open),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
