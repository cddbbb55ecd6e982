/* SPDX-License-Identifier: Apache-2.0 */
/* Reading ahead: what mostly follows a key is in L1 before it is asked for, as fresh as anything else, and each that was is counted once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <pthread.h>

#include "tests/support/cluster.h"
#include "tests/support/engine.h"

enum { PAIRS = 10, ROUNDS = 40, PATIENCE_MS = 30000 };

typedef struct fixture {
    sx_cluster *cluster;
    strata *engine, *other; /* who reads, and who writes */
    strata_namespace *ns, *other_ns;
    strata_session *session, *other_session;
} fixture;

static void set_value(const fixture *f, char kind, int i, const char *value) {
    char key[16];
    snprintf(key, sizeof key, "%c:%d", kind, i);
    assert_int_equal(test_set(f->other_session, f->other_ns, key, value), STRATA_OK);
}

static const char *get_value(strata_session *session, strata_namespace *ns, char kind, int i) {
    char key[16];
    snprintf(key, sizeof key, "%c:%d", kind, i);
    return test_get(session, ns, key);
}

static const char *peek_value(const fixture *f, char kind, int i) {
    char key[16];
    snprintf(key, sizeof key, "%c:%d", kind, i);
    return test_peek(f->session, f->ns, key);
}

static int64_t metric(const fixture *f, const char *name) { return test_metric(f->engine, name); }

static void switch_it(const fixture *f, const char *percent) {
    strata_error error;
    assert_int_equal(strata_option_set(f->engine, "flow.prefetch", percent, &error), STRATA_OK);
}

/* a:i is followed by b:i, each time. */
static void teach(const fixture *f) {
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < PAIRS; i++) {
            (void)get_value(f->session, f->ns, 'a', i);
            (void)get_value(f->session, f->ns, 'b', i);
        }
    }
}

static int setup(void **state) {
    fixture *f = calloc(1, sizeof *f);
    f->cluster = test_cluster_start(&(sx_cluster_options){.primaries = 3});
    f->other = test_engine_open(TEST_OPTIONS("l2.nodes", sx_cluster_seeds(f->cluster), "l2.open_wait", "5s", "flow.deadline", "10s"), NULL);
    f->engine = test_engine_open(TEST_OPTIONS("l2.nodes", sx_cluster_seeds(f->cluster), "l2.open_wait", "5s", "flow.deadline", "10s",
                                              "flow.analysis", "true", "flow.analysis_sample", "1"), NULL);
    f->ns = test_engine_ns(f->engine, "users");
    f->other_ns = test_engine_ns(f->other, "users");
    f->session = test_engine_session(f->engine);
    f->other_session = test_engine_session(f->other);
    test_engine_await_trust(f->engine, 30000);
    test_engine_await_trust(f->other, 30000);
    for (int i = 0; i < PAIRS; i++) {
        set_value(f, 'a', i, "first");
        set_value(f, 'b', i, "old");
    }
    teach(f);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    fixture *f = *state;
    strata_session_close(f->session);
    strata_session_close(f->other_session);
    assert_int_equal(strata_close(f->engine, 5000), STRATA_OK);
    assert_int_equal(strata_close(f->other, 5000), STRATA_OK);
    sx_cluster_stop(f->cluster);
    free(f);
    return 0;
}

/* The other writes b:i anew, and we hear of it. */
static void change(const fixture *f, int i, const char *value) {
    strata_result result;
    char key[16];
    snprintf(key, sizeof key, "b:%d", i);
    if (value != NULL) set_value(f, 'b', i, value);
    else assert_int_equal(strata_invalidate_wait(f->other_session, f->other_ns, test_bytes(key), NULL), STRATA_OK);
    int64_t end_ms = test_now_ms() + PATIENCE_MS;
    int32_t status = STRATA_OK;
    while (status == STRATA_OK && test_now_ms() < end_ms) {
        status = strata_peek(f->session, f->ns, test_bytes(key), &result);
        if (status != STRATA_OK) continue;
        bool is_new = value != NULL && result.value.size == strlen(value) && memcmp(result.value.data, value, result.value.size) == 0;
        strata_result_release(f->session, &result);
        if (is_new) return; /* it came with the message */
        test_sleep_ms(1);
    }
    assert_int_equal(status, STRATA_MISS);
}

/* Reads a:i until that has the metric grow: a prefetch may fail, as anything may. */
static void read_until(const fixture *f, int i, const char *name, int64_t value) {
    for (int64_t end_ms = test_now_ms() + PATIENCE_MS; metric(f, name) < value && test_now_ms() < end_ms;) {
        assert_non_null(get_value(f->session, f->ns, 'a', i));
        (void)test_metric_wait(f->engine, name, value, 100);
    }
    assert_true(metric(f, name) >= value);
}

static void nothing_is_read_ahead_where_it_is_off(void **state) {
    fixture *f = *state;
    change(f, 3, "new");
    for (int i = 0; i < 10; i++) (void)get_value(f->session, f->ns, 'a', 3);
    assert_int_equal(metric(f, "prefetch.asked") + metric(f, "prefetch.refused"), 0);
    switch_it(f, "50%");
    read_until(f, 3, "prefetch.fetched", 1);
    switch_it(f, "0%");
    int64_t asked = metric(f, "prefetch.asked");
    change(f, 4, "new");
    for (int i = 0; i < 100; i++) (void)get_value(f->session, f->ns, 'a', 4);
    assert_int_equal(metric(f, "prefetch.asked"), asked);
}

static void what_follows_is_there_and_new(void **state) {
    fixture *f = *state;
    switch_it(f, "50%");
    change(f, 3, "new");
    read_until(f, 3, "prefetch.fetched", 1);
    const char *value = peek_value(f, 'b', 3); /* unless its proof has ended this moment */
    if (value == NULL) value = get_value(f->session, f->ns, 'b', 3);
    assert_string_equal(value, "new");
    assert_int_equal(metric(f, "prefetch.used") + metric(f, "prefetch.wasted"), 1);
    (void)get_value(f->session, f->ns, 'b', 3);
    assert_int_equal(metric(f, "prefetch.used") + metric(f, "prefetch.wasted"), 1); /* once */
    change(f, 3, "newer");
    read_until(f, 3, "prefetch.fetched", 2);
    change(f, 3, "newest"); /* which reads b:3 in vain */
    assert_int_equal(metric(f, "prefetch.used") + metric(f, "prefetch.wasted"), 2);
    assert_string_equal(get_value(f->session, f->ns, 'b', 3), "newest");
}

static void what_l2_does_not_hold_is_asked_for_once(void **state) {
    fixture *f = *state;
    switch_it(f, "50%");
    change(f, 5, NULL);
    read_until(f, 5, "prefetch.absent", 1);
    int64_t asked = metric(f, "prefetch.asked");
    for (int i = 0; i < 5; i++) (void)get_value(f->session, f->ns, 'a', 5);
    assert_int_equal(metric(f, "prefetch.asked"), asked);
    assert_true(metric(f, "prefetch.refused") >= 5);
    assert_null(get_value(f->session, f->ns, 'b', 5)); /* whoever asks for it is told, and the next may try again */
    read_until(f, 5, "prefetch.absent", 2);
}

static void what_seldom_follows_is_not_read_ahead(void **state) {
    fixture *f = *state;
    switch_it(f, "80%");
    for (int i = 0; i < 100; i++) { /* a:1 is followed by each of the others now */
        (void)get_value(f->session, f->ns, 'a', 1);
        (void)get_value(f->session, f->ns, 'b', i % PAIRS);
    }
    int64_t asked = metric(f, "prefetch.asked");
    change(f, 1, "new");
    for (int i = 0; i < 20; i++) (void)get_value(f->session, f->ns, 'a', 1);
    assert_int_equal(metric(f, "prefetch.asked"), asked);
}

static void the_rate_is_kept(void **state) {
    fixture *f = *state;
    strata_error error;
    assert_int_equal(strata_option_set(f->engine, "flow.prefetch_per_s", "1", &error), STRATA_OK);
    for (int i = 0; i < PAIRS; i++) change(f, i, "new");
    switch_it(f, "50%");
    int64_t from_ms = test_now_ms();
    for (int64_t end_ms = from_ms + PATIENCE_MS; metric(f, "prefetch.refused") < 3 && test_now_ms() < end_ms; test_sleep_ms(1))
        for (int i = 0; i < PAIRS; i++) (void)get_value(f->session, f->ns, 'a', i);
    int64_t asked = metric(f, "prefetch.asked"), seconds = (test_now_ms() - from_ms) / 1000;
    assert_true(asked >= 1 && asked <= 2 + seconds);
    assert_true(metric(f, "prefetch.refused") >= 3);
}

typedef struct work {
    const fixture *f;
    _Atomic bool over;
} work;

static void *reads(void *argument) {
    work *w = argument;
    strata_session *session = test_engine_session(w->f->engine);
    for (int i = 0; !atomic_load(&w->over); i++) {
        (void)get_value(session, w->f->ns, 'a', i % PAIRS);
        const char *value = get_value(session, w->f->ns, 'b', i % PAIRS);
        assert_true(value == NULL || strlen(value) > 0);
    }
    strata_session_close(session);
    return NULL;
}

static void sessions_writes_and_switches_at_once(void **state) {
    fixture *f = *state;
    work w = {.f = f};
    pthread_t threads[2];
    for (int i = 0; i < 2; i++) assert_int_equal(pthread_create(&threads[i], NULL, reads, &w), 0);
    for (int i = 0; i < 300; i++) {
        if (i % 100 == 0) switch_it(f, i == 100 ? "0%" : "50%");
        set_value(f, 'b', i % PAIRS, "new");
    }
    atomic_store(&w.over, true);
    for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
    int64_t ended = metric(f, "prefetch.used") + metric(f, "prefetch.wasted");
    assert_true(ended <= metric(f, "prefetch.fetched") && metric(f, "prefetch.fetched") <= metric(f, "prefetch.asked"));
}

static void an_engine_closes_with_wishes_left(void **state) {
    fixture *f = *state;
    switch_it(f, "50%");
    for (int i = 0; i < PAIRS; i++) change(f, i, "new");
    for (int i = 0; i < PAIRS; i++) (void)get_value(f->session, f->ns, 'a', i);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(nothing_is_read_ahead_where_it_is_off, setup, teardown),
        cmocka_unit_test_setup_teardown(what_follows_is_there_and_new, setup, teardown),
        cmocka_unit_test_setup_teardown(what_l2_does_not_hold_is_asked_for_once, setup, teardown),
        cmocka_unit_test_setup_teardown(what_seldom_follows_is_not_read_ahead, setup, teardown),
        cmocka_unit_test_setup_teardown(the_rate_is_kept, setup, teardown),
        cmocka_unit_test_setup_teardown(sessions_writes_and_switches_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(an_engine_closes_with_wishes_left, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
