/* SPDX-License-Identifier: Apache-2.0 */
/* Operations that their caller cancels: each has exactly one answer, and what others wait for goes on. */
#include <pthread.h>
#include <sched.h>
#include <stdio.h>

#include "core/flow/engine.h"
#include "tests/flow/fixture.h"

static int setup(void **state) {
    return fixture_setup(state, TEST_OPTIONS("l2.mode", "none", "flow.load_timeout", "1h", "flow.deadline", "1h"));
}

typedef struct answer {
    int count;
    int32_t status;
} answer;

static void note(void *user, const strata_result *result) {
    answer *a = user;
    a->count++;
    a->status = result->status;
}

static strata_op_options by(uint64_t id) { return (strata_op_options){.struct_size = sizeof(strata_op_options), .cancel_id = id}; }

static void start(fixture *f, strata_session *session, const char *key, uint64_t id, answer *a) {
    strata_op_options options = by(id);
    strata_result result;
    *a = (answer){0};
    assert_int_equal(strata_get_or_load(session, f->ns, test_bytes(key), &options, fixture_load, f, &result, note, a), STRATA_PENDING);
}

static void dispatch_until(strata_session *session, const answer *a) {
    for (int64_t end_ms = test_now_ms() + 20000; a->count == 0 && test_now_ms() < end_ms;) (void)strata_session_wait(session, 10);
    assert_int_equal(a->count, 1);
}

static void expect(strata_session *session, const answer *a, int32_t status) {
    dispatch_until(session, a);
    assert_int_equal(a->status, status);
}

/* Starts one whose loader keeps its load, and waits until it does. */
static strata_load *hold(fixture *f, strata_session *session, const char *key, uint64_t id, answer *a) {
    f->keep = true;
    f->kept = NULL;
    start(f, session, key, id, a);
    for (int64_t end_ms = test_now_ms() + 20000; f->kept == NULL && test_now_ms() < end_ms;) (void)strata_session_wait(session, 10);
    assert_non_null(f->kept);
    f->keep = false;
    return f->kept;
}

static void settle(fixture *f) {
    for (int64_t end_ms = test_now_ms() + 20000; test_metric(f->engine, "flow.pending") != 0 && test_now_ms() < end_ms;)
        (void)strata_session_wait(f->session, 10);
    assert_int_equal(test_metric(f->engine, "flow.pending"), 0);
}

static void who_else_waits_goes_on_waiting(void **state) {
    fixture *f = *state;
    answer a, b, c;
    strata_load *load = hold(f, f->session, "k", 1, &a);
    start(f, f->session, "k", 2, &b);
    start(f, f->session, "k", 3, &c);
    assert_int_equal(strata_cancel(f->session, 2), 1);
    assert_int_equal(b.count, 0); /* never inside of it */
    expect(f->session, &b, STRATA_E_CANCELLED);
    assert_int_equal(strata_cancel(f->session, 2), 0);
    assert_int_equal(strata_cancel(f->session, 1), 1); /* whose loader it is */
    assert_false(strata_load_is_cancelled(load));
    assert_int_equal(strata_load_finish(load, STRATA_OK, test_bytes("v"), NULL), STRATA_OK);
    expect(f->session, &a, STRATA_E_CANCELLED);
    expect(f->session, &c, STRATA_OK);
    settle(f);
    assert_int_equal(b.count, 1);
    assert_int_equal(f->calls, 1);
    assert_int_equal(test_metric(f->engine, "flow.cancelled"), 2);
}

static void what_has_its_answer_keeps_it(void **state) {
    fixture *f = *state;
    answer a;
    strata_load *load = hold(f, f->session, "k", 1, &a);
    assert_int_equal(strata_load_finish(load, STRATA_OK, test_bytes("v"), NULL), STRATA_OK);
    for (int64_t end_ms = test_now_ms() + 20000; test_metric(f->engine, "flow.pending") != 0 && test_now_ms() < end_ms;) test_sleep_ms(1);
    assert_int_equal(a.count, 0); /* it is on its way */
    assert_int_equal(strata_cancel(f->session, 1), 0);
    expect(f->session, &a, STRATA_OK);
    assert_int_equal(test_metric(f->engine, "flow.cancelled"), 0);
}

static void several_by_one_number(void **state) {
    fixture *f = *state;
    answer a[3], b;
    f->keep = true;
    const char *const keys[] = {"a", "b", "c"};
    for (int i = 0; i < 3; i++) start(f, f->session, keys[i], 7, &a[i]);
    start(f, f->session, "d", 8, &b);
    assert_int_equal(strata_cancel(f->session, 7), 3);
    for (int i = 0; i < 3; i++) expect(f->session, &a[i], STRATA_E_CANCELLED);
    assert_int_equal(b.count, 0);
    assert_int_equal(strata_cancel(f->session, 0), STRATA_E_INVALID);
    assert_int_equal(strata_cancel(NULL, 7), STRATA_E_INVALID);
    assert_int_equal(strata_cancel(f->session, 8), 1);
    expect(f->session, &b, STRATA_E_CANCELLED);
    settle(f);
    if (f->kept != NULL) (void)strata_load_finish(f->kept, STRATA_E_CANCELLED, test_bytes(""), NULL); /* it had been started meanwhile */
}

/* The last who waited: the loader learns it, goes on, and its value is kept. */
static void a_loader_that_goes_on_is_kept(void **state) {
    fixture *f = *state;
    answer a, b;
    strata_load *load = hold(f, f->session, "k", 1, &a);
    start(f, f->session, "k", 2, &b);
    assert_int_equal(strata_cancel(f->session, 1), 1);
    assert_false(strata_load_is_cancelled(load));
    assert_int_equal(strata_cancel(f->session, 2), 1);
    assert_true(strata_load_is_cancelled(load));
    assert_true(strata_load_left_ms(load) > 0);
    assert_int_equal(strata_load_finish(load, STRATA_OK, test_bytes("v"), NULL), STRATA_OK);
    expect(f->session, &a, STRATA_E_CANCELLED);
    expect(f->session, &b, STRATA_E_CANCELLED);
    for (int64_t end_ms = test_now_ms() + 20000; fixture_peek(f, "k") != STRATA_OK && test_now_ms() < end_ms;) test_sleep_ms(1);
    assert_string_equal(f->text, "v");
}

/* One that stops has not failed, and who has come meanwhile has his own loader run. */
static void a_loader_that_stops_has_not_failed(void **state) {
    fixture *f = *state;
    answer a, b;
    assert_int_equal(fixture_policy(f, (strata_namespace_policy){.ttl_ms = 60000, .error_ttl_ms = 60000}), STRATA_OK);
    strata_load *load = hold(f, f->session, "k", 1, &a);
    assert_int_equal(strata_cancel(f->session, 1), 1);
    assert_true(strata_load_is_cancelled(load));
    start(f, f->session, "k", 2, &b);
    assert_false(strata_load_is_cancelled(load));
    assert_int_equal(strata_load_finish(load, STRATA_E_CANCELLED, test_bytes(""), NULL), STRATA_OK);
    expect(f->session, &a, STRATA_E_CANCELLED);
    expect(f->session, &b, STRATA_OK);
    assert_int_equal(f->calls, 2);
    load = hold(f, f->session, "other", 3, &a);
    assert_int_equal(strata_cancel(f->session, 3), 1);
    assert_int_equal(strata_load_finish(load, STRATA_E_CANCELLED, test_bytes(""), NULL), STRATA_OK);
    expect(f->session, &a, STRATA_E_CANCELLED);
    settle(f);
    assert_int_equal(test_metric(f->engine, "flow.load_failures"), 0);
    assert_int_equal(test_metric(f->engine, "flow.errors_cached"), 0);
    assert_int_equal(fixture_get_or_load(f, "other", NULL), STRATA_OK);
}

static void nor_may_it_stop_while_its_caller_waits(void **state) {
    fixture *f = *state;
    answer a;
    strata_load *load = hold(f, f->session, "k", 1, &a);
    assert_int_equal(strata_load_finish(load, STRATA_E_CANCELLED, test_bytes(""), NULL), STRATA_OK);
    expect(f->session, &a, STRATA_E_LOAD_FAILED);
    assert_int_equal(f->calls, 1);
    assert_int_equal(test_metric(f->engine, "flow.load_failures"), 1);
}

/* Who was answered otherwise has cancelled nothing: the load goes on in the background. */
static void a_timeout_is_no_cancelling(void **state) {
    fixture *f = *state;
    answer a, b;
    strata_op_options brief = {.struct_size = sizeof brief, .cancel_id = 1, .deadline_ms = 100};
    strata_result result;
    strata_load *load = hold(f, f->session, "k", 2, &b);
    a = (answer){0};
    assert_int_equal(strata_get_or_load(f->session, f->ns, test_bytes("k"), &brief, fixture_load, f, &result, note, &a), STRATA_PENDING);
    assert_int_equal(strata_cancel(f->session, 2), 1);
    fixture_advance(f, 200);
    expect(f->session, &a, STRATA_E_TIMEOUT);
    assert_false(strata_load_is_cancelled(load));
    expect(f->session, &b, STRATA_E_CANCELLED);
    (void)strata_load_finish(load, STRATA_OK, test_bytes("v"), NULL);
}

/* A loader that lies with a session which does not come back is taken from it, for another that waits. */
static void one_that_was_not_started_is_not_started(void **state) {
    fixture *f = *state;
    answer a, b;
    strata_session *other = test_engine_session(f->engine);
    start(f, f->session, "k", 1, &a); /* its loader waits for the next dispatch */
    start(f, other, "k", 2, &b);
    assert_int_equal(strata_cancel(f->session, 1), 1);
    expect(other, &b, STRATA_OK);
    assert_int_equal(f->calls, 1);
    expect(f->session, &a, STRATA_E_CANCELLED);
    assert_int_equal(f->calls, 1);
    strata_session_close(other);
    start(f, f->session, "m", 3, &a); /* nor for nobody */
    assert_int_equal(strata_cancel(f->session, 3), 1);
    expect(f->session, &a, STRATA_E_CANCELLED);
    settle(f);
    assert_int_equal(f->calls, 1);
    assert_int_equal(fixture_get_or_load(f, "m", NULL), STRATA_OK);
}

static void cancel_own(strata_load *load, void *user) {
    fixture *f = user;
    f->answers = strata_cancel(f->session, 5);
    assert_true(strata_load_is_cancelled(load));
    (void)strata_load_finish(load, STRATA_E_CANCELLED, test_bytes(""), NULL);
}

/* By the loader that runs inside of it. */
static void a_call_that_waits(void **state) {
    fixture *f = *state;
    strata_op_options options = by(5);
    strata_result result;
    assert_int_equal(strata_get_or_load_wait(f->session, f->ns, test_bytes("k"), &options, cancel_own, f, &result), STRATA_E_CANCELLED);
    assert_int_equal(f->answers, 1);
    settle(f);
}

typedef struct batch_answer {
    int count;
    int32_t status[3];
} batch_answer;

static void note_many(void *user, const strata_result *results, size_t count) {
    batch_answer *a = user;
    a->count++;
    for (size_t i = 0; i < count; i++) a->status[i] = results[i].status;
}

static void load_none(strata_load *const *loads, size_t count, void *user) {
    (void)user;
    for (size_t i = 0; i < count; i++) (void)strata_load_finish(loads[i], STRATA_OK, test_bytes("w"), NULL);
}

static void a_batch_ends_key_by_key(void **state) {
    fixture *f = *state;
    batch_answer a = {0};
    strata_op_options options = by(9);
    assert_int_equal(test_set(f->session, f->ns, "here", "v"), STRATA_OK);
    const strata_bytes keys[] = {test_bytes("x"), test_bytes("here"), test_bytes("y")};
    assert_int_equal(strata_mget_or_load(f->session, f->ns, keys, 3, &options, load_none, NULL, note_many, &a), STRATA_PENDING);
    assert_int_equal(strata_cancel(f->session, 9), 2);
    for (int64_t end_ms = test_now_ms() + 20000; a.count == 0 && test_now_ms() < end_ms;) (void)strata_session_wait(f->session, 10);
    assert_int_equal(a.count, 1);
    assert_true(a.status[0] == STRATA_E_CANCELLED && a.status[1] == STRATA_OK && a.status[2] == STRATA_E_CANCELLED);
    settle(f);
}

/* Its caller has been answered: what it began in the background is not under the call's number any more. */
static void a_refresh_is_nobodys(void **state) {
    fixture *f = *state;
    strata_op_options options = by(4);
    assert_int_equal(fixture_policy(f, (strata_namespace_policy){.ttl_ms = 1000, .refresh_percent = 50, .ttl_jitter_percent = STRATA_NO_JITTER}), STRATA_OK);
    assert_int_equal(fixture_get_or_load(f, "k", NULL), STRATA_OK);
    fixture_advance(f, 700);
    strata_result result;
    assert_int_equal(strata_get_or_load(f->session, f->ns, test_bytes("k"), &options, fixture_load, f, &result, fixture_done, f), STRATA_OK);
    strata_result_release(f->session, &result);
    assert_int_equal(test_metric(f->engine, "flow.pending"), 1);
    assert_int_equal(strata_cancel(f->session, 4), 0);
    settle(f);
    assert_int_equal(f->calls, 2);
}

/* ---- against who completes it ---------------------------------------------------------------------------------- */

#define ROUNDS 300

typedef struct racer {
    fixture *f;
    strata_load *_Atomic load;
    _Atomic bool over;
} racer;

static void hand_out(strata_load *load, void *user) {
    racer *r = user;
    while (atomic_load(&r->load) != NULL) (void)sched_yield(); /* the one before, cancelled by now */
    atomic_store(&r->load, load);
}

static void *finish(void *user) {
    racer *r = user;
    while (!atomic_load(&r->over)) {
        strata_load *load = atomic_exchange(&r->load, NULL);
        if (load != NULL) (void)strata_load_finish(load, STRATA_OK, test_bytes("v"), NULL);
    }
    return NULL;
}

static void exactly_one_answer(void **state) {
    racer r = {.f = *state};
    fixture *f = *state;
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, finish, &r), 0);
    int32_t cancelled = 0;
    for (int i = 0; i < ROUNDS; i++) {
        answer a = {0};
        strata_op_options options = by((uint64_t)i + 1);
        strata_result result;
        char key[16];
        (void)snprintf(key, sizeof key, "k:%d", i);
        assert_int_equal(strata_get_or_load(f->session, f->ns, test_bytes(key), &options, hand_out, &r, &result, note, &a), STRATA_PENDING);
        (void)strata_session_dispatch(f->session, 1); /* hands the load out */
        for (volatile int spin = 0; spin < i * 50; spin = spin + 1) continue;
        int32_t ended = strata_cancel(f->session, (uint64_t)i + 1);
        dispatch_until(f->session, &a);
        assert_true(ended == 0 || ended == 1);
        assert_int_equal(a.status, ended == 1 ? STRATA_E_CANCELLED : STRATA_OK);
        cancelled += ended;
        (void)strata_session_dispatch(f->session, 0);
        assert_int_equal(a.count, 1);
    }
    while (atomic_load(&r.load) != NULL) test_sleep_ms(1);
    atomic_store(&r.over, true);
    (void)pthread_join(thread, NULL);
    settle(f);
    assert_int_equal(test_metric(f->engine, "flow.cancelled"), cancelled);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(who_else_waits_goes_on_waiting, setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(what_has_its_answer_keeps_it, setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(several_by_one_number, setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(a_loader_that_goes_on_is_kept, setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(a_loader_that_stops_has_not_failed, setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(nor_may_it_stop_while_its_caller_waits, setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(a_timeout_is_no_cancelling, setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(one_that_was_not_started_is_not_started, setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(a_call_that_waits, setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(a_batch_ends_key_by_key, setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(a_refresh_is_nobodys, setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(exactly_one_answer, setup, fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
