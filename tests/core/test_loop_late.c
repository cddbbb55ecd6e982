/* SPDX-License-Identifier: Apache-2.0 */
/* The loop's timers and reads where a turn takes long, or came late: what lies in a socket in time counts as in time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <unistd.h>

#include <strata/status.h>

#include "core/loop/loop.h"
#include "tests/support/clock.h"

static const sx_clock real_clock = {NULL, NULL};

static sx_loop *created(const sx_clock *clock) {
    sx_loop *loop = NULL;
    assert_int_equal(sx_loop_create(sx_alloc_default(), clock, NULL, &loop), STRATA_OK);
    return loop;
}

#define PIPES 40

typedef struct watched {
    sx_loop *loop;
    uv_poll_t poll;
    int ends[2];
    int64_t burn_ns; /* what its callback takes */
    sx_timer *cancels;
    test_clock *clock;
    int left;
} watched;

static watched pipes[PIPES];
static int pipes_read, read_before; /* it fired */

static void on_readable(uv_poll_t *poll, int status, int events) {
    watched *w = poll->data;
    char byte;
    (void)status, (void)events;
    sx_loop_awake(w->loop);
    assert_int_equal(read(w->ends[0], &byte, 1), 1);
    pipes_read++;
    if (w->cancels != NULL) sx_loop_timer_cancel(w->loop, w->cancels);
    for (int64_t until = sx_loop_now_ns(w->loop) + w->burn_ns; sx_loop_now_ns(w->loop) < until;) {}
}

static void note_read(sx_timer *timer) {
    (void)timer;
    read_before = pipes_read;
}

static sx_loop *open_pipes(int count, int64_t burn_ns) {
    sx_loop *loop = created(&real_clock);
    pipes_read = 0;
    read_before = -1;
    for (int i = 0; i < count; i++) {
        pipes[i] = (watched){.loop = loop, .burn_ns = burn_ns};
        assert_int_equal(pipe(pipes[i].ends), 0);
        assert_int_equal(uv_poll_init(sx_loop_uv(loop), &pipes[i].poll, pipes[i].ends[0]), 0);
        pipes[i].poll.data = &pipes[i];
        assert_int_equal(uv_poll_start(&pipes[i].poll, UV_READABLE, on_readable), 0);
    }
    sx_loop_turn(loop, 0);
    for (int i = 0; i < count; i++) assert_int_equal(write(pipes[i].ends[1], "x", 1), 1);
    return loop;
}

static void close_pipes(sx_loop *loop, int count) {
    for (int i = 0; i < count; i++) uv_close((uv_handle_t *)&pipes[i].poll, NULL);
    sx_loop_destroy(loop);
    for (int i = 0; i < count; i++) (void)close(pipes[i].ends[0]), (void)close(pipes[i].ends[1]);
}

/* An answer that lay in its socket before its deadline is found there, however long what is read before it takes. */
static void test_read_in_time(void **state) {
    (void)state;
    sx_loop *loop = open_pipes(2, 5 * SX_NS_PER_MS);
    sx_timer timer = {.fire_on_loop = note_read};
    sx_loop_timer_set(loop, &timer, sx_loop_now_ns(loop) + SX_NS_PER_MS);
    for (int i = 0; i < 100 && read_before < 0; i++) sx_loop_turn(loop, 1);
    assert_int_equal(read_before, 2);
    close_pipes(loop, 2);
}

/* Nor how long the loop was kept from looking. */
static void test_stalled_before_reading(void **state) {
    (void)state;
    sx_loop *loop = open_pipes(1, 0);
    sx_timer timer = {.fire_on_loop = note_read};
    pipes[0].cancels = &timer;
    sx_loop_timer_set(loop, &timer, sx_loop_now_ns(loop) + SX_NS_PER_MS);
    (void)usleep(20000);
    for (int i = 0; i < 100 && pipes_read == 0; i++) sx_loop_turn(loop, 1);
    sx_loop_turn(loop, 1);
    assert_int_equal(pipes_read, 1);
    assert_int_equal(read_before, -1);
    close_pipes(loop, 1);
}

/* Reads without end don't keep timers waiting. */
static void test_long_reading(void **state) {
    (void)state;
    sx_loop *loop = open_pipes(PIPES, SX_NS_PER_MS);
    sx_timer timer = {.fire_on_loop = note_read};
    sx_loop_timer_set(loop, &timer, sx_loop_now_ns(loop) + SX_NS_PER_MS);
    for (int i = 0; i < 100 && read_before < 0; i++) sx_loop_turn(loop, 1);
    assert_in_range(read_before, 1, PIPES * 3 / 4);
    close_pipes(loop, PIPES);
}

/* Who was read in a turn that takes long is left for the next. */
static void test_leaves(void **state) {
    (void)state;
    test_clock clock;
    test_clock_init(&clock, 1000 * SX_NS_PER_S);
    sx_clock table = test_clock_table(&clock);
    sx_loop *loop = created(&table);
    sx_loop_turn(loop, 0);
    const int64_t read_ns = sx_loop_recent_ns(loop);
    assert_false(sx_loop_leaves(loop, read_ns)); /* the turn has just begun */
    test_clock_advance(&clock, 5 * SX_NS_PER_MS);
    sx_loop_awake(loop);
    assert_false(sx_loop_leaves(loop, read_ns - 1)); /* not yet read in it */
    assert_true(sx_loop_leaves(loop, read_ns));
    sx_loop_turn(loop, 0);
    assert_false(sx_loop_leaves(loop, read_ns));
    sx_loop_destroy(loop);
}

static void on_much(uv_poll_t *poll, int status, int events) {
    watched *w = poll->data;
    (void)status, (void)events;
    sx_loop_awake(w->loop);
    test_clock_advance(w->clock, 5 * SX_NS_PER_MS);
    sx_loop_awake(w->loop);
    if (sx_loop_leaves(w->loop, sx_loop_recent_ns(w->loop))) w->left++;
}

/* What is left may be what a timer waits for: it is given another turn, and no more. */
static void test_timer_of_what_is_left(void **state) {
    (void)state;
    test_clock clock;
    test_clock_init(&clock, 1000 * SX_NS_PER_S);
    sx_clock table = test_clock_table(&clock);
    sx_loop *loop = created(&table);
    watched w = {.loop = loop, .clock = &clock};
    assert_int_equal(pipe(w.ends), 0);
    assert_int_equal(write(w.ends[1], "x", 1), 1); /* never read */
    assert_int_equal(uv_poll_init(sx_loop_uv(loop), &w.poll, w.ends[0]), 0);
    w.poll.data = &w;
    sx_timer timer = {.fire_on_loop = note_read};
    read_before = -1;
    sx_loop_timer_set(loop, &timer, sx_loop_now_ns(loop) + 1);
    test_clock_advance(&clock, SX_NS_PER_S); /* it stood still */
    assert_int_equal(uv_poll_start(&w.poll, UV_READABLE, on_much), 0);
    sx_loop_turn(loop, 0);
    assert_int_equal(w.left, 1);
    assert_int_equal(read_before, -1);
    sx_loop_turn(loop, 0);
    assert_int_equal(w.left, 2);
    assert_true(read_before >= 0);
    uv_close((uv_handle_t *)&w.poll, NULL);
    sx_loop_destroy(loop);
    (void)close(w.ends[0]), (void)close(w.ends[1]);
}

static void on_full(uv_poll_t *poll, int status, int events) {
    watched *w = poll->data;
    (void)status, (void)events;
    sx_loop_awake(w->loop);
    sx_loop_note_read(w->loop, w, w->left != 0);
    if (w->left == 2) sx_loop_note_read(w->loop, w, false); /* there was no more */
    if (w->left == 3) sx_loop_note_read(w->loop, poll, false); /* another connection */
    w->left = 0;
}

/* A connection whose last read filled all its room may hold what a timer waits for. */
static void test_timer_of_what_may_be_left(void **state) {
    (void)state;
    test_clock clock;
    test_clock_init(&clock, 1000 * SX_NS_PER_S);
    sx_clock table = test_clock_table(&clock);
    sx_loop *loop = created(&table);
    watched w = {.loop = loop, .clock = &clock};
    assert_int_equal(pipe(w.ends), 0);
    assert_int_equal(write(w.ends[1], "x", 1), 1); /* never read */
    assert_int_equal(uv_poll_init(sx_loop_uv(loop), &w.poll, w.ends[0]), 0);
    w.poll.data = &w;
    assert_int_equal(uv_poll_start(&w.poll, UV_READABLE, on_full), 0);
    for (int full = 0; full <= 3; full++) {
        sx_timer timer = {.fire_on_loop = note_read};
        read_before = -1;
        w.left = full;
        sx_loop_timer_set(loop, &timer, sx_loop_now_ns(loop) + 1);
        test_clock_advance(&clock, SX_NS_PER_MS);
        sx_loop_turn(loop, 0);
        assert_true((read_before >= 0) == (full == 0 || full == 2));
        sx_loop_turn(loop, 0);
        assert_true(read_before >= 0);
    }
    uv_close((uv_handle_t *)&w.poll, NULL);
    sx_loop_destroy(loop);
    (void)close(w.ends[0]), (void)close(w.ends[1]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read_in_time),
        cmocka_unit_test(test_stalled_before_reading),
        cmocka_unit_test(test_long_reading),
        cmocka_unit_test(test_leaves),
        cmocka_unit_test(test_timer_of_what_is_left),
        cmocka_unit_test(test_timer_of_what_may_be_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
