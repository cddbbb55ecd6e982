/* SPDX-License-Identifier: Apache-2.0 */
/* The timer wheel against a plain list: every timer fires at the first advance at or after its time, never before. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/loop/wheel.h"

#define TIMERS 300

typedef struct probe {
    sx_timer timer;
    int64_t due_ns; /* INT64_MIN: not set */
    int fired;
} probe;

static sx_wheel wheel;
static probe probes[TIMERS];
static int64_t now_ns;

static void fire(sx_timer *timer) {
    probe *p = (probe *)(void *)timer;
    assert_false(sx_timer_is_set(timer));
    assert_true(p->due_ns != INT64_MIN);
    assert_true(p->due_ns <= now_ns);
    p->due_ns = INT64_MIN;
    p->fired++;
}

static void set(probe *p, int64_t due_ns) {
    p->timer.fire_on_loop = fire;
    p->due_ns = due_ns;
    sx_wheel_set(&wheel, &p->timer, due_ns);
}

static void reset(int64_t start_ns) {
    memset(probes, 0, sizeof probes);
    for (int i = 0; i < TIMERS; i++) probes[i].due_ns = INT64_MIN;
    now_ns = start_ns;
    sx_wheel_init(&wheel, now_ns);
}

/* After an advance nothing that is due is left, and the bound holds. */
static void check(void) {
    int64_t nearest = INT64_MAX;
    size_t count = 0;
    for (int i = 0; i < TIMERS; i++) {
        assert_int_equal(probes[i].due_ns != INT64_MIN, sx_timer_is_set(&probes[i].timer));
        if (probes[i].due_ns == INT64_MIN) continue;
        count++;
        assert_true(probes[i].due_ns > now_ns);
        if (probes[i].due_ns < nearest) nearest = probes[i].due_ns;
    }
    assert_int_equal(wheel.count, count);
    assert_true(sx_wheel_nearest_ns(&wheel) <= nearest);
}

static int64_t random_span(unsigned *seed) {
    int bits = rand_r(seed) % 45; /* from nanoseconds to hours */
    uint64_t span = ((uint64_t)rand_r(seed) << 31 | (uint64_t)rand_r(seed)) & ((UINT64_C(1) << bits) - 1);
    return (int64_t)span;
}

static void test_random(void **state) {
    (void)state;
    for (unsigned round = 0; round < 40; round++) {
        unsigned seed = round;
        reset(random_span(&seed) * 100);
        for (int step = 0; step < 3000; step++) {
            probe *p = &probes[rand_r(&seed) % TIMERS];
            switch (rand_r(&seed) % 4) {
            case 0:
            case 1: set(p, now_ns + random_span(&seed) - 5 * SX_NS_PER_MS * (rand_r(&seed) % 2)); break;
            case 2:
                if (sx_timer_is_set(&p->timer)) sx_wheel_cancel(&wheel, &p->timer);
                p->due_ns = INT64_MIN;
                break;
            default:
                now_ns += random_span(&seed) >> (rand_r(&seed) % 20);
                (void)sx_wheel_advance(&wheel, now_ns);
                check();
            }
        }
    }
}

/* Once the nearest bound has passed and the wheel advanced, the bound is exact or later than now: no spinning. */
static void test_nearest_moves_on(void **state) {
    (void)state;
    reset(0);
    for (int i = 0; i < TIMERS; i++) set(&probes[i], (int64_t)i * 7919 * SX_NS_PER_US + 1);
    for (int wakes = 0; wheel.count > 0; wakes++) {
        assert_true(wakes <= TIMERS);
        now_ns = sx_wheel_nearest_ns(&wheel);
        assert_true(sx_wheel_advance(&wheel, now_ns) > 0);
        check();
    }
    assert_int_equal(sx_wheel_nearest_ns(&wheel), INT64_MAX);
}

static void test_far_deadlines(void **state) {
    (void)state;
    reset(123456789);
    set(&probes[0], INT64_MAX);
    set(&probes[1], INT64_MAX - 1);
    set(&probes[2], 400 * 86400 * SX_NS_PER_S);
    assert_int_equal(sx_wheel_nearest_ns(&wheel), 400 * 86400 * SX_NS_PER_S);
    now_ns = 400 * 86400 * SX_NS_PER_S - 1;
    assert_int_equal(sx_wheel_advance(&wheel, now_ns), 0);
    now_ns++;
    assert_int_equal(sx_wheel_advance(&wheel, now_ns), 1);
    now_ns = INT64_MAX - 1;
    assert_int_equal(sx_wheel_advance(&wheel, now_ns), 1);
    now_ns = INT64_MAX;
    assert_int_equal(sx_wheel_advance(&wheel, now_ns), 1);
    check();
}

/* ---- callbacks that change the wheel -------------------------------------------------------------------------- */

static probe *victim;
static void cancel_victim(sx_timer *timer) {
    ((probe *)(void *)timer)->fired++;
    if (sx_timer_is_set(&victim->timer)) sx_wheel_cancel(&wheel, &victim->timer);
}
static void set_again(sx_timer *timer) {
    ((probe *)(void *)timer)->fired++;
    sx_wheel_set(&wheel, timer, now_ns - 1);
}
static void postpone_victim(sx_timer *timer) {
    ((probe *)(void *)timer)->fired++;
    sx_wheel_set(&wheel, &victim->timer, now_ns + SX_NS_PER_S);
}

static void set_with(probe *p, int64_t due_ns, void (*fn)(sx_timer *)) {
    p->timer.fire_on_loop = fn;
    sx_wheel_set(&wheel, &p->timer, due_ns);
}

static void test_callbacks(void **state) {
    (void)state;
    reset(0);
    set_with(&probes[0], SX_NS_PER_S, cancel_victim); /* a cancelled one leaves nothing to wake for */
    sx_wheel_cancel(&wheel, &probes[0].timer);
    assert_int_equal(sx_wheel_nearest_ns(&wheel), INT64_MAX);
    victim = &probes[1]; /* of two that are due together, the first cancels the other */
    set_with(&probes[0], 5, cancel_victim);
    set_with(&probes[1], 5, cancel_victim);
    now_ns = 10;
    assert_int_equal(sx_wheel_advance(&wheel, now_ns), 1);
    assert_int_equal(probes[0].fired, 1);
    assert_int_equal(probes[1].fired, 0);
    assert_int_equal(wheel.count, 0);
    set_with(&probes[2], 5, set_again); /* overdue again: at the next advance, not in this one */
    assert_int_equal(sx_wheel_advance(&wheel, now_ns), 1);
    assert_true(sx_wheel_nearest_ns(&wheel) <= now_ns);
    assert_int_equal(sx_wheel_advance(&wheel, now_ns), 1);
    sx_wheel_cancel(&wheel, &probes[2].timer);
    set_with(&probes[0], 5, postpone_victim); /* moved while it waits to be fired */
    set_with(&probes[1], 5, cancel_victim);
    assert_int_equal(sx_wheel_advance(&wheel, now_ns), 1);
    assert_int_equal(probes[1].fired, 0);
    assert_int_equal(sx_wheel_nearest_ns(&wheel), now_ns + SX_NS_PER_S);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_random), cmocka_unit_test(test_nearest_moves_on),
                                       cmocka_unit_test(test_far_deadlines),
                                       cmocka_unit_test(test_callbacks)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
