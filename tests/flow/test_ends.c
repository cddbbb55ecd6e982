/* SPDX-License-Identifier: Apache-2.0 */
/* How operations end: what a callback may still start, whose loader runs, how long a late load is kept, what is woken. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <poll.h>
#include <sched.h>
#include <stdatomic.h>

#include <cmocka.h>

#include "tests/support/engine.h"

typedef struct fixture {
    strata *engine;
    strata_namespace *ns;
    strata_session *session;
    /* the executor's one place */
    void (*task)(void *argument);
    void *argument;
    _Atomic int tasks; /* 1 once it is there */
    int calls;         /* of the loader */
    strata_load *kept; /* by the loader */
    _Atomic int ended; /* status of the last completion + 1000; 0 none */
} fixture;

static void keep_task(void *context, void (*task)(void *argument), void *argument) {
    fixture *f = context;
    f->task = task;
    f->argument = argument;
    atomic_store(&f->tasks, 1);
}

static fixture *open_fixture(bool executor) {
    fixture *f = calloc(1, sizeof *f);
    strata_open_options template_ = {0};
    if (executor) template_.executor = (strata_executor){f, keep_task};
    f->engine = test_engine_open(TEST_OPTIONS("l2.mode", "none"), &template_);
    f->ns = test_engine_ns(f->engine, "ends");
    f->session = test_engine_session(f->engine);
    return f;
}

static void close_fixture(fixture *f) {
    strata_session_close(f->session);
    strata_close(f->engine, 1000);
    free(f);
}

static void load_later(strata_load *load, void *user) {
    fixture *f = user;
    f->calls++;
    f->kept = load;
}

static void note_end(void *user, const strata_result *result) {
    fixture *f = user;
    atomic_store(&f->ended, result->status + 1000);
}

static int32_t start(fixture *f, strata_done_fn done, uint32_t deadline_ms, uint32_t flags, int64_t ttl_ms) {
    strata_op_options options = {
        .struct_size = sizeof options, .deadline_ms = deadline_ms, .flags = flags, .ttl_ms = ttl_ms};
    strata_result result;
    return strata_get_or_load(f->session, f->ns, test_bytes("k"), &options, load_later, f, &result, done, f);
}

/* ---- a session that closes ------------------------------------------------------------------------------------- */

static void start_another(void *user, const strata_result *result) {
    fixture *f = user;
    strata_bytes key = test_bytes("k");
    assert_int_equal(result->status, STRATA_E_CANCELLED);
    assert_int_equal(start(f, start_another, 0, 0, 0), STRATA_E_CLOSED);
    assert_int_equal(test_set(f->session, f->ns, "k", "v"), STRATA_E_CLOSED);
    assert_int_equal(strata_mget(f->session, f->ns, &key, 1, NULL, NULL, NULL), STRATA_E_INVALID);
    f->calls += 100;
}

static void a_callback_inside_close_starts_nothing(void **state) {
    (void)state;
    fixture *f = open_fixture(false);
    assert_int_equal(start(f, start_another, 0, 0, 0), STRATA_PENDING);
    int64_t start_ms = test_now_ms();
    strata_session_close(f->session);
    assert_in_range(test_now_ms() - start_ms, 0, 4000);
    assert_int_equal(f->calls, 100);
    strata_close(f->engine, 1000);
    free(f);
}

/* ---- loaders --------------------------------------------------------------------------------------------------- */

static void note_and_run_task(void *user, const strata_result *result) { /* on the loop */
    fixture *f = user;
    while (atomic_load(&f->tasks) == 0) sched_yield();
    f->task(f->argument); /* the executor comes to it at this very moment */
    note_end(user, result);
}

/* From its completion on, an operation's loader_user may be gone: a loader that has not started by then never does. */
static void no_loader_starts_after_its_operation_has_ended(void **state) {
    (void)state;
    fixture *f = open_fixture(true);
    assert_int_equal(start(f, note_and_run_task, 30, STRATA_ON_LOOP, 0), STRATA_PENDING);
    for (int i = 0; i < 3000 && atomic_load(&f->ended) == 0; i++) strata_session_wait(f->session, 10);
    assert_int_equal(atomic_load(&f->ended), STRATA_E_TIMEOUT + 1000);
    assert_int_equal(f->calls, 0);
    close_fixture(f);
}

/* The time to live that an operation asked for holds for its load also when it did not wait for the end. */
static void a_late_load_keeps_the_time_to_live_asked_for(void **state) {
    (void)state;
    fixture *f = open_fixture(false);
    assert_int_equal(start(f, note_end, 30, 0, 5000), STRATA_PENDING);
    for (int i = 0; i < 3000 && atomic_load(&f->ended) == 0; i++) strata_session_wait(f->session, 10);
    assert_int_equal(atomic_load(&f->ended), STRATA_E_TIMEOUT + 1000);
    assert_int_equal(f->calls, 1);
    strata_load_finish(f->kept, STRATA_OK, test_bytes("late"), NULL);
    strata_result result;
    int32_t status = STRATA_MISS;
    for (int i = 0; i < 200 && status == STRATA_MISS; i++) {
        status = strata_peek(f->session, f->ns, test_bytes("k"), &result);
        if (status == STRATA_MISS) test_sleep_ms(5);
    }
    assert_int_equal(status, STRATA_OK);
    assert_in_range(result.ttl_ms, 3000, 5000);
    strata_result_release(f->session, &result);
    close_fixture(f);
}

/* ---- times ----------------------------------------------------------------------------------------------------- */

static void a_time_to_live_of_ages_does_not_overflow(void **state) {
    (void)state;
    fixture *f = open_fixture(false);
    strata_namespace_policy endless = {.struct_size = sizeof endless, .flags = STRATA_POLICY_ENDLESS};
    assert_int_equal(strata_namespace_policy_set(f->ns, &endless, NULL), STRATA_OK);
    const int64_t ages[] = {INT64_MAX - 1, INT64_MAX / 1000, INT64_MAX / 1000000 + 1,
                            INT64_C(100) * 365 * 24 * 3600 * 1000};
    for (size_t i = 0; i < sizeof ages / sizeof *ages; i++) {
        strata_op_options options = {.struct_size = sizeof options, .ttl_ms = ages[i]};
        assert_int_equal(strata_set_wait(f->session, f->ns, test_bytes("k"), test_bytes("v"), &options, NULL),
                         STRATA_OK);
        assert_string_equal(test_peek(f->session, f->ns, "k"), "v");
        strata_invalidate_wait(f->session, f->ns, test_bytes("k"), NULL);
        assert_int_equal(start(f, note_end, 0, 0, ages[i]), STRATA_PENDING);
        strata_session_wait(f->session, 1000);
        strata_load_result details = {.struct_size = sizeof details, .ttl_ms = ages[i]};
        strata_load_finish(f->kept, STRATA_OK, test_bytes("loaded"), &details);
        strata_session_wait(f->session, 1000);
        assert_string_equal(test_peek(f->session, f->ns, "k"), "loaded");
    }
    close_fixture(f);
}

/* A foreign event loop that dispatches whenever the descriptor is readable comes to rest. */
static void the_descriptor_comes_to_rest(void **state) {
    (void)state;
    fixture *f = open_fixture(false);
    strata_bytes key = test_bytes("k");
    struct pollfd poller = {strata_session_fd(f->session), POLLIN, 0};
    for (int i = 0; i < 3; i++)
        assert_int_equal(strata_mset(f->session, f->ns, &key, &key, 1, NULL, NULL, NULL), STRATA_PENDING);
    int ran = 0, wakes = 0;
    while (wakes < 20 && poll(&poller, 1, 20) == 1) {
        ran += strata_session_dispatch(f->session, wakes == 0 ? 1 : 0);
        wakes++;
    }
    assert_int_equal(ran, 3);
    assert_in_range(wakes, 2, 3);
    close_fixture(f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_callback_inside_close_starts_nothing),
        cmocka_unit_test(no_loader_starts_after_its_operation_has_ended),
        cmocka_unit_test(a_late_load_keeps_the_time_to_live_asked_for),
        cmocka_unit_test(a_time_to_live_of_ages_does_not_overflow),
        cmocka_unit_test(the_descriptor_comes_to_rest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
