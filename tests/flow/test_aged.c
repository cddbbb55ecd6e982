/* SPDX-License-Identifier: Apache-2.0 */
/* Values past their end, without L2: answered while they are refreshed, or where loading fails, and never otherwise. */
#include <stdio.h>

#include <pthread.h>

#include "tests/flow/fixture.h"

static _Atomic int64_t live; /* what is allocated, where that is counted */

static void *count_allocate(void *context, size_t size, size_t alignment) {
    (void)context;
    atomic_fetch_add(&live, 1);
    return alignment <= 16 ? malloc(size) : aligned_alloc(alignment, (size + alignment - 1) & ~(alignment - 1));
}

static void count_release(void *context, void *memory, size_t size) {
    (void)context;
    (void)size;
    if (memory != NULL) atomic_fetch_sub(&live, 1);
    free(memory);
}

/* On whichever thread asks. */
static void execute_at_once(void *context, void (*task)(void *argument), void *argument) {
    (void)context;
    task(argument);
}

static const strata_executor at_once = {NULL, execute_at_once};

static fixture *open_fixture(strata_namespace_policy policy, bool injected, const strata_executor *executor) {
    fixture *f = fixture_create();
    strata_open_options template_ = {0};
    if (injected) template_.clock = (strata_clock){&f->clock, fixture_now_ns};
    if (executor == &at_once) template_.allocator = (strata_allocator){NULL, count_allocate, count_release};
    if (executor != NULL) template_.executor = *executor;
    fixture_open(f, TEST_OPTIONS("l2.mode", "none", "flow.ttl_jitter", "0"), &template_);
    assert_int_equal(fixture_policy(f, policy), STRATA_OK);
    return f;
}

static int32_t get_or_load(fixture *f) { return fixture_get_or_load(f, "k", NULL); }
static int32_t get(fixture *f) { return fixture_get(f, "k"); }
static int32_t peek(fixture *f) { return fixture_peek(f, "k"); }

/* Runs what waits for the session's thread, and lets the loop finish it. */
static void settle(fixture *f) {
    for (int i = 0; i < 400; i++) {
        (void)strata_session_wait(f->session, 1);
        if (test_metric(f->engine, "flow.pending") == 0) break;
    }
    assert_int_equal(test_metric(f->engine, "flow.pending"), 0);
}

static void expect(const fixture *f, int32_t status, strata_reason reason, const char *text) {
    assert_int_equal(f->answered, status);
    assert_int_equal(f->reason, reason);
    assert_string_equal(f->text, text);
}

/* ---- stale while refreshing, and eager ------------------------------------------------------------------------- */

static void the_first_reader_past_the_end_refreshes(void **state) {
    (void)state;
    fixture *f = open_fixture((strata_namespace_policy){.ttl_ms = 1000, .stale_while_refreshing_ms = 5000}, true, NULL);
    assert_int_equal(get_or_load(f), STRATA_OK);
    fixture_advance(f, 999);
    assert_int_equal(get_or_load(f), STRATA_OK);
    expect(f, STRATA_OK, STRATA_REASON_NONE, "v");
    fixture_advance(f, 1);
    f->value = "w";
    f->keep = true;
    for (int i = 0; i < 10; i++) { /* everybody is answered at once */
        assert_int_equal(get_or_load(f), STRATA_STALE);
        expect(f, STRATA_STALE, STRATA_REASON_REFRESHING, "v");
        assert_int_equal(f->ttl_ms, 0);
        assert_int_equal(f->source, STRATA_FROM_L1);
    }
    assert_int_equal(peek(f), STRATA_STALE);
    assert_int_equal(get(f), STRATA_MISS); /* it has no loader that would ever make it fresh */
    for (int i = 0; i < 3000 && f->kept == NULL; i++) (void)strata_session_wait(f->session, 10);
    assert_int_equal(atomic_load(&f->calls), 2);
    assert_int_equal(strata_load_finish(f->kept, STRATA_OK, test_bytes("w"), NULL), STRATA_OK);
    settle(f);
    assert_int_equal(get_or_load(f), STRATA_OK);
    expect(f, STRATA_OK, STRATA_REASON_NONE, "w");
    assert_int_equal(atomic_load(&f->calls), 2);
    assert_int_equal(test_metric(f->engine, "l1.aged_served"), 11);
    f->keep = false;
    fixture_advance(f, 6000); /* past the time for that */
    f->value = "x";
    assert_int_equal(peek(f), STRATA_MISS);
    assert_int_equal(get_or_load(f), STRATA_OK);
    expect(f, STRATA_OK, STRATA_REASON_NONE, "x");
    fixture_close(f);
}

static void a_refresh_that_failed_is_held_back(void **state) {
    (void)state;
    fixture *f = open_fixture(
        (strata_namespace_policy){.ttl_ms = 1000, .stale_while_refreshing_ms = 60000, .throttle_ms = 3000}, true, NULL);
    assert_int_equal(get_or_load(f), STRATA_OK);
    f->status = STRATA_E_LOAD_FAILED;
    fixture_advance(f, 1000);
    for (int i = 1; i <= 3; i++) {
        for (int j = 0; j < 5; j++) {
            assert_int_equal(get_or_load(f), STRATA_STALE);
            settle(f);
        }
        assert_int_equal(atomic_load(&f->calls), 1 + i);
        fixture_advance(f, 2999);
        assert_int_equal(get_or_load(f), STRATA_STALE);
        settle(f);
        assert_int_equal(atomic_load(&f->calls), 1 + i);
        fixture_advance(f, 1);
    }
    fixture_close(f);
}

static void a_part_of_the_ttl_refreshes_ahead(void **state) {
    (void)state;
    fixture *f = open_fixture((strata_namespace_policy){.ttl_ms = 10000, .refresh_percent = 80}, true, NULL);
    assert_int_equal(get_or_load(f), STRATA_OK);
    f->value = "w";
    fixture_advance(f, 7999);
    assert_int_equal(get_or_load(f), STRATA_OK);
    settle(f);
    assert_int_equal(atomic_load(&f->calls), 1);
    fixture_advance(f, 1);
    assert_int_equal(get(f), STRATA_OK); /* answered, but not by who could refresh */
    assert_int_equal(get_or_load(f), STRATA_OK);
    expect(f, STRATA_OK, STRATA_REASON_NONE, "v");
    assert_int_equal(f->ttl_ms, 2000);
    settle(f);
    assert_int_equal(atomic_load(&f->calls), 2);
    assert_int_equal(get_or_load(f), STRATA_OK);
    expect(f, STRATA_OK, STRATA_REASON_NONE, "w");
    assert_int_equal(f->ttl_ms, 10000);
    f->status = STRATA_E_LOAD_FAILED; /* nothing is lost by that before the end */
    fixture_advance(f, 9000);
    assert_int_equal(get_or_load(f), STRATA_OK);
    settle(f);
    assert_int_equal(get_or_load(f), STRATA_OK);
    expect(f, STRATA_OK, STRATA_REASON_NONE, "w");
    fixture_advance(f, 1000);
    assert_int_equal(get_or_load(f), STRATA_E_LOAD_FAILED);
    fixture_close(f);
}

static void an_invalidation_during_a_background_refresh(void **state) {
    (void)state;
    fixture *f = open_fixture((strata_namespace_policy){.ttl_ms = 1000, .stale_while_refreshing_ms = 60000,
                                                        .stale_if_failing_ms = 60000}, true, NULL);
    assert_int_equal(get_or_load(f), STRATA_OK);
    fixture_advance(f, 1000);
    f->keep = true;
    assert_int_equal(get_or_load(f), STRATA_STALE);
    for (int i = 0; i < 3000 && f->kept == NULL; i++) (void)strata_session_wait(f->session, 10);
    assert_int_equal(strata_invalidate_wait(f->session, f->ns, test_bytes("k"), NULL), STRATA_OK);
    assert_int_equal(peek(f), STRATA_MISS);
    assert_int_equal(strata_load_finish(f->kept, STRATA_OK, test_bytes("from before"), NULL), STRATA_OK);
    settle(f);
    assert_int_equal(peek(f), STRATA_MISS);
    f->keep = false;
    f->status = STRATA_E_LOAD_FAILED;
    assert_int_equal(get_or_load(f), STRATA_E_LOAD_FAILED); /* what was invalidated is no answer to a failure either */
    fixture_close(f);
}

static void what_the_source_has_no_more_is_gone(void **state) {
    (void)state;
    fixture *f = open_fixture((strata_namespace_policy){.ttl_ms = 1000, .stale_while_refreshing_ms = 60000}, true, NULL);
    assert_int_equal(get_or_load(f), STRATA_OK);
    fixture_advance(f, 1000);
    f->status = STRATA_MISS;
    assert_int_equal(get_or_load(f), STRATA_STALE);
    settle(f);
    assert_int_equal(peek(f), STRATA_MISS);
    assert_int_equal(get_or_load(f), STRATA_MISS);
    fixture_close(f);
}

/* ---- refreshes that nobody hears of ---------------------------------------------------------------------------- */

/* A session that never dispatches, and never waits either, as L1 answers all that it asks. */
static void refreshes_that_are_over_take_no_memory(void **state) {
    (void)state;
    fixture *f = open_fixture((strata_namespace_policy){.ttl_ms = 1000, .stale_while_refreshing_ms = 60000}, true, &at_once);
    assert_int_equal(get_or_load(f), STRATA_OK);
    int64_t before = 0;
    for (int i = 1; i <= 600; i++) {
        fixture_advance(f, 1500);
        assert_int_equal(get_or_load(f), STRATA_STALE);
        for (int j = 0; j < 30000 && test_metric(f->engine, "flow.pending") != 0; j++) test_sleep_ms(1);
        assert_int_equal(atomic_load(&f->calls), 1 + i);
        if (i == 200) before = atomic_load(&live);
    }
    assert_true(atomic_load(&live) - before < 100);
    fixture_close(f);
}

enum { MANY = 200 };

static int32_t load_key(fixture *f, int i) {
    char key[16];
    snprintf(key, sizeof key, "many:%d", i);
    return fixture_get_or_load(f, key, NULL);
}

/* Without an executor its refreshes lie with it: not without end. */
static void who_runs_no_loads_begins_few_refreshes(void **state) {
    (void)state;
    fixture *f = open_fixture((strata_namespace_policy){.ttl_ms = 1000, .stale_while_refreshing_ms = 60000}, true, NULL);
    for (int i = 0; i < MANY; i++) assert_int_equal(load_key(f, i), STRATA_OK);
    fixture_advance(f, 1500);
    for (int i = 0; i < MANY; i++) assert_int_equal(load_key(f, i), STRATA_STALE);
    assert_int_equal(test_metric(f->engine, "flow.pending"), 64);
    settle(f);
    assert_int_equal(atomic_load(&f->calls), MANY + 64);
    fixture_advance(f, 1000); /* the throttle's time, of those that were left out */
    for (int i = 0; i < 64; i++) assert_int_equal(load_key(f, MANY - 1 - i), STRATA_STALE);
    settle(f);
    assert_int_equal(atomic_load(&f->calls), MANY + 2 * 64);
    fixture_close(f);
}

static void a_thread_that_left_holds_up_nobody(void **state) {
    (void)state;
    fixture *f = open_fixture((strata_namespace_policy){.ttl_ms = 2000, .refresh_percent = 40}, false, NULL);
    strata_session *left = test_engine_session(f->engine);
    strata_result result;
    strata_op_options patient = {.struct_size = sizeof patient, .deadline_ms = 30000};
    assert_int_equal(get_or_load(f), STRATA_OK);
    test_sleep_ms(850);
    assert_int_equal(strata_get_or_load_wait(left, f->ns, test_bytes("k"), NULL, fixture_load, f, &result), STRATA_OK);
    strata_result_release(left, &result);
    assert_int_equal(test_metric(f->engine, "flow.pending"), 1);
    test_sleep_ms(1200);
    f->value = "w";
    int64_t start_ms = test_now_ms();
    assert_int_equal(fixture_get_or_load(f, "k", &patient), STRATA_OK);
    assert_in_range(test_now_ms() - start_ms, 0, 5000); /* not when the refresh's time is over */
    expect(f, STRATA_OK, STRATA_REASON_NONE, "w");
    assert_int_equal(atomic_load(&f->calls), 2);
    strata_session_close(left);
    fixture_close(f);
}

static void close_waits_for_no_refresh_that_nobody_runs(void **state) {
    (void)state;
    fixture *f = open_fixture((strata_namespace_policy){.ttl_ms = 1000, .stale_while_refreshing_ms = 60000}, true, NULL);
    assert_int_equal(get_or_load(f), STRATA_OK);
    fixture_advance(f, 1500);
    assert_int_equal(get_or_load(f), STRATA_STALE);
    assert_int_equal(test_metric(f->engine, "flow.pending"), 1);
    assert_int_equal(strata_close(f->engine, 3000), STRATA_OK);
    strata_session_close(f->session);
    assert_int_equal(atomic_load(&f->calls), 1);
    free(f);
}

/* ---- stale if failing ------------------------------------------------------------------------------------------ */

static void a_failing_loader_is_covered(void **state) {
    (void)state;
    fixture *f = open_fixture((strata_namespace_policy){.ttl_ms = 1000, .stale_if_failing_ms = 20000, .throttle_ms = 4000},
                              true, NULL);
    assert_int_equal(get_or_load(f), STRATA_OK);
    fixture_advance(f, 1000);
    assert_int_equal(peek(f), STRATA_MISS);
    f->status = STRATA_E_LOAD_FAILED;
    assert_int_equal(get_or_load(f), STRATA_STALE);
    expect(f, STRATA_STALE, STRATA_REASON_FAILED, "v");
    assert_int_equal(atomic_load(&f->calls), 2);
    fixture_advance(f, 3999);
    for (int i = 0; i < 5; i++) { /* no hammering of what fails */
        assert_int_equal(get_or_load(f), STRATA_STALE);
        expect(f, STRATA_STALE, STRATA_REASON_FAILED, "v");
    }
    assert_int_equal(atomic_load(&f->calls), 2);
    fixture_advance(f, 1);
    assert_int_equal(get_or_load(f), STRATA_STALE);
    assert_int_equal(atomic_load(&f->calls), 3);
    assert_int_equal(test_metric(f->engine, "flow.failures_hidden"), 2);
    fixture_advance(f, 4000);
    f->status = STRATA_OK;
    f->value = "w";
    assert_int_equal(get_or_load(f), STRATA_OK);
    expect(f, STRATA_OK, STRATA_REASON_NONE, "w");
    f->status = STRATA_E_LOAD_FAILED;
    fixture_advance(f, 1000 + 19999);
    assert_int_equal(get_or_load(f), STRATA_STALE);
    fixture_advance(f, 4000); /* past the time for that, throttle or not */
    assert_int_equal(get_or_load(f), STRATA_E_LOAD_FAILED);
    fixture_close(f);
}

/* Who passes by L1 is told of the failure, alone and beside others, and at no soft deadline either. */
static void l1_covers_nobody_who_passes_by_it(void **state) {
    (void)state;
    static const uint32_t flags[] = {STRATA_BYPASS_L1, STRATA_REFRESH};
    fixture *f = open_fixture((strata_namespace_policy){.ttl_ms = 1000, .stale_if_failing_ms = 20000, .throttle_ms = 1, .soft_timeout_ms = 50},
                              true, NULL);
    assert_int_equal(get_or_load(f), STRATA_OK);
    fixture_advance(f, 1000);
    f->status = STRATA_E_LOAD_FAILED;
    for (int i = 0; i < 2; i++) {
        strata_op_options past = {.struct_size = sizeof past, .flags = flags[i], .deadline_ms = 10000};
        assert_int_equal(fixture_get_or_load(f, "k", &past), STRATA_E_LOAD_FAILED);
        fixture_advance(f, 1);
    }
    assert_int_equal(get_or_load(f), STRATA_STALE);
    fixture_advance(f, 1);
    fixture beside = *f;
    strata_op_options past = {.struct_size = sizeof past, .flags = STRATA_BYPASS_L1, .deadline_ms = 10000};
    strata_result result;
    fixture_hold(f, "k");
    beside.answers = 0;
    assert_int_equal(strata_get_or_load(f->session, f->ns, test_bytes("k"), &past, fixture_load, &beside, &result, fixture_done, &beside),
                     STRATA_PENDING);
    fixture_advance(f, 100);
    for (int64_t end_ms = test_now_ms() + 10000; f->answers == 0 && test_now_ms() < end_ms;) (void)strata_session_wait(f->session, 10);
    assert_int_equal(f->answered, STRATA_STALE);
    assert_int_equal(f->reason, STRATA_REASON_SLOW);
    assert_int_equal(beside.answers, 0);
    assert_int_equal(strata_load_finish(f->kept, STRATA_E_LOAD_FAILED, test_bytes(""), NULL), STRATA_OK);
    settle(f);
    assert_int_equal(f->answers, 1);
    assert_int_equal(beside.answers, 1);
    assert_int_equal(beside.answered, STRATA_E_LOAD_FAILED);
    fixture_close(f);
}

/* Who joins and wants it anew is not covered; who waits already is. */
static void who_wants_it_anew_uncovers_nobody_else(void **state) {
    (void)state;
    fixture *f = open_fixture((strata_namespace_policy){.ttl_ms = 1000, .stale_if_failing_ms = 20000}, true, NULL);
    assert_int_equal(get_or_load(f), STRATA_OK);
    fixture_advance(f, 1000);
    fixture_hold(f, "k");
    strata_load *first = f->kept;
    fixture anew = *f;
    strata_op_options refresh = {.struct_size = sizeof refresh, .flags = STRATA_REFRESH, .deadline_ms = 10000};
    strata_result result;
    anew.keep = false;
    anew.status = STRATA_E_LOAD_FAILED;
    assert_int_equal(strata_get_or_load(f->session, f->ns, test_bytes("k"), &refresh, fixture_load, &anew, &result, fixture_done, &anew),
                     STRATA_PENDING);
    assert_int_equal(strata_load_finish(first, STRATA_E_LOAD_FAILED, test_bytes(""), NULL), STRATA_OK);
    settle(f);
    assert_int_equal(f->answers, 1);
    assert_int_equal(f->answered, STRATA_STALE);
    assert_int_equal(f->reason, STRATA_REASON_FAILED);
    assert_int_equal(anew.answers, 1);
    assert_int_equal(anew.answered, STRATA_E_LOAD_FAILED);
    fixture_close(f);
}

static void what_is_invalidated_meanwhile_covers_nothing(void **state) {
    (void)state;
    fixture *f = open_fixture((strata_namespace_policy){.ttl_ms = 1000, .stale_if_failing_ms = 20000}, true, NULL);
    assert_int_equal(get_or_load(f), STRATA_OK);
    fixture_advance(f, 1000);
    fixture_hold(f, "k");
    assert_int_equal(strata_invalidate_wait(f->session, f->ns, test_bytes("k"), NULL), STRATA_OK);
    assert_int_equal(strata_load_finish(f->kept, STRATA_E_LOAD_FAILED, test_bytes(""), NULL), STRATA_OK);
    settle(f);
    assert_int_equal(f->answers, 1);
    assert_int_equal(f->answered, STRATA_E_LOAD_FAILED);
    fixture_close(f);
}

static void only_who_says_so_is_covered(void **state) {
    (void)state;
    fixture *f = open_fixture((strata_namespace_policy){.ttl_ms = 1000, .l1_ttl_ms = 500}, true, NULL);
    assert_int_equal(get_or_load(f), STRATA_OK);
    fixture_advance(f, 600); /* not past its end, but past L1's time */
    f->status = STRATA_E_LOAD_FAILED;
    assert_int_equal(get_or_load(f), STRATA_E_LOAD_FAILED);
    fixture_close(f);
}

/* ---- timeouts -------------------------------------------------------------------------------------------------- */

/* The executor's one thread. */
static pthread_t thread;
static bool running;
static void (*its_task)(void *argument);

static void *run_task(void *argument) {
    its_task(argument);
    return NULL;
}

static void execute(void *context, void (*task)(void *argument), void *argument) {
    (void)context;
    if (running) pthread_join(thread, NULL);
    its_task = task;
    running = pthread_create(&thread, NULL, run_task, argument) == 0;
}

static void join_thread(void) {
    pthread_join(thread, NULL);
    running = false;
}

static const strata_executor one_thread = {NULL, execute};

static void load_when_told(strata_load *load, void *user) {
    fixture *f = user;
    atomic_fetch_add(&f->calls, 1);
    f->kept = load;
}

static void slow_loads_are_answered_early(void **state) {
    (void)state;
    fixture *f = open_fixture((strata_namespace_policy){.ttl_ms = 50, .stale_if_failing_ms = 60000, .soft_timeout_ms = 200},
                              false, &one_thread);
    strata_result result;
    assert_int_equal(get_or_load(f), STRATA_OK);
    test_sleep_ms(60);
    int64_t start_ms = test_now_ms();
    assert_int_equal(fixture_take(f, strata_get_or_load_wait(f->session, f->ns, test_bytes("k"), NULL, load_when_told, f, &result),
                          &result), STRATA_STALE);
    expect(f, STRATA_STALE, STRATA_REASON_SLOW, "v");
    assert_in_range(test_now_ms() - start_ms, 195, 4000);
    assert_int_equal(test_metric(f->engine, "flow.soft_timeouts"), 1);
    join_thread();
    assert_non_null(f->kept);
    assert_int_equal(strata_load_finish(f->kept, STRATA_OK, test_bytes("late"), &(strata_load_result){
        .struct_size = sizeof(strata_load_result), .ttl_ms = 60000}), STRATA_OK); /* it went on */
    TEST_AWAIT(peek(f) == STRATA_OK, test_sleep_ms(1));
    expect(f, STRATA_OK, STRATA_REASON_NONE, "late");
    /* The hard one: at its deadline a reader gets what failing would give him, and where there is nothing, the failure. */
    strata_op_options brief = {.struct_size = sizeof brief, .deadline_ms = 100};
    f->kept = NULL;
    assert_int_equal(strata_get_or_load_wait(f->session, f->ns, test_bytes("other"), &brief, load_when_told, f, &result),
                     STRATA_E_TIMEOUT);
    join_thread();
    if (f->kept != NULL) strata_load_finish(f->kept, STRATA_MISS, test_bytes(""), NULL); /* else its time was over before it began */
    fixture_close(f);
}

static void a_load_is_given_up_in_its_namespaces_time(void **state) {
    (void)state;
    fixture *f = open_fixture((strata_namespace_policy){.ttl_ms = 60000, .load_timeout_ms = 50}, false, &one_thread);
    strata_result result;
    int64_t start_ms = test_now_ms();
    assert_int_equal(strata_get_or_load_wait(f->session, f->ns, test_bytes("k"), NULL, load_when_told, f, &result),
                     STRATA_E_TIMEOUT);
    assert_in_range(test_now_ms() - start_ms, 45, 4000);
    join_thread();
    if (f->kept != NULL) strata_load_finish(f->kept, STRATA_OK, test_bytes("too late"), NULL);
    test_sleep_ms(10);
    assert_int_equal(peek(f), STRATA_MISS);
    fixture_close(f);
}

/* Nobody finished that load, so nobody said its tags but the call that asked. */
static void a_tag_ends_the_error_of_a_load_that_was_given_up(void **state) {
    (void)state;
    fixture *f = open_fixture((strata_namespace_policy){.ttl_ms = 60000, .load_timeout_ms = 50, .error_ttl_ms = 60000}, false,
                              &one_thread);
    strata_bytes tags[] = {test_bytes("users")};
    strata_op_options options = {.struct_size = sizeof options, .tags = tags, .tag_count = 1};
    strata_result result;
    assert_int_equal(strata_get_or_load_wait(f->session, f->ns, test_bytes("k"), &options, load_when_told, f, &result),
                     STRATA_E_TIMEOUT);
    join_thread();
    assert_int_equal(strata_load_finish(f->kept, STRATA_OK, test_bytes("too late"), NULL), STRATA_OK);
    assert_int_equal(get_or_load(f), STRATA_E_LOAD_FAILED);
    assert_int_equal(strata_invalidate_tags_wait(f->session, tags, 1, NULL), STRATA_OK);
    assert_int_equal(get_or_load(f), STRATA_OK);
    join_thread();
    fixture_close(f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_reader_past_the_end_refreshes), cmocka_unit_test(a_refresh_that_failed_is_held_back),
        cmocka_unit_test(a_part_of_the_ttl_refreshes_ahead), cmocka_unit_test(an_invalidation_during_a_background_refresh),
        cmocka_unit_test(what_the_source_has_no_more_is_gone), cmocka_unit_test(a_failing_loader_is_covered),
        cmocka_unit_test(only_who_says_so_is_covered), cmocka_unit_test(l1_covers_nobody_who_passes_by_it),
        cmocka_unit_test(who_wants_it_anew_uncovers_nobody_else),
        cmocka_unit_test(what_is_invalidated_meanwhile_covers_nothing), cmocka_unit_test(slow_loads_are_answered_early),
        cmocka_unit_test(a_load_is_given_up_in_its_namespaces_time), cmocka_unit_test(refreshes_that_are_over_take_no_memory),
        cmocka_unit_test(who_runs_no_loads_begins_few_refreshes), cmocka_unit_test(a_thread_that_left_holds_up_nobody),
        cmocka_unit_test(close_waits_for_no_refresh_that_nobody_runs),
        cmocka_unit_test(a_tag_ends_the_error_of_a_load_that_was_given_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
