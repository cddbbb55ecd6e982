/* SPDX-License-Identifier: Apache-2.0 */
/* Adaptive times to live: what is suggested follows from how often keys are written, and is applied within bounds where the policy says so. */
#include "tests/flow/fixture.h"

#include <pthread.h>
#include <stdio.h>

#include "tests/support/alloc.h"

static int setup(void **state) {
    return fixture_setup(state, TEST_OPTIONS("l2.mode", "none", "flow.ttl_jitter", "0", "l1.bytes", "16MiB", "flow.ttl", "1h"));
}

static int setup_on(void **state) {
    (void)setup(state);
    fixture *f = *state;
    assert_int_equal(strata_namespace_analyze(f->ns, STRATA_ANALYZE_ON), STRATA_OK);
    return 0;
}

static void set_some(fixture *f, int from, int to) {
    for (int i = from; i < to; i++) {
        char key[16];
        snprintf(key, sizeof key, "%d", i);
        assert_int_equal(test_set(f->session, f->ns, key, "v"), STRATA_OK);
    }
}

static int64_t suggested(fixture *f) {
    int64_t ttl_ms = -1;
    int32_t status = strata_namespace_suggested_ttl(f->ns, &ttl_ms);
    assert_true(status == STRATA_OK || (status == STRATA_MISS && ttl_ms == -1));
    return ttl_ms;
}

static bool is_about(int64_t ttl_ms, int64_t ms) { return ttl_ms > ms && ttl_ms <= ms + ms / 8; }

static int64_t ttl_of(fixture *f, const char *key) {
    assert_int_equal(fixture_peek(f, key), STRATA_OK);
    return f->ttl_ms;
}

/* ---- suggested -------------------------------------------------------------------------------------------------- */

static void nothing_is_suggested_where_nothing_is_known(void **state) {
    fixture *f = *state;
    set_some(f, 0, 100);
    fixture_advance(f, 10000);
    set_some(f, 0, 100);
    assert_int_equal(suggested(f), -1); /* nobody looks */
    assert_int_equal(strata_namespace_analyze(f->ns, STRATA_ANALYZE_ON), STRATA_OK);
    set_some(f, 0, 100);
    assert_int_equal(suggested(f), -1); /* one write is no interval */
    fixture_advance(f, 10000);
    set_some(f, 0, 31);
    assert_int_equal(suggested(f), -1); /* too few */
    set_some(f, 31, 100);
    assert_true(is_about(suggested(f), 10000));
    assert_int_equal(strata_namespace_suggested_ttl(NULL, NULL), STRATA_E_INVALID);
}

static void half_of_the_values_are_overwritten_before_it(void **state) {
    fixture *f = *state;
    set_some(f, 0, 200);
    for (int round = 0; round < 100; round++) { /* half of the keys every 10 s, the others every 40 s */
        fixture_advance(f, 10000);
        set_some(f, 0, 100);
        if (round % 4 == 3) set_some(f, 100, 200);
    }
    assert_true(is_about(suggested(f), 10000)); /* four fifths of the values lived so long */
    for (int round = 0; round < 60; round++) {
        fixture_advance(f, 40000);
        set_some(f, 100, 200);
    }
    assert_true(is_about(suggested(f), 40000)); /* what was long ago counts for less */
}

static void what_is_not_written_again_counts(void **state) {
    fixture *f = *state;
    set_some(f, 0, 300);
    fixture_advance(f, 10000);
    set_some(f, 0, 40);
    fixture_advance(f, 10000000);
    assert_int_equal(suggested(f), STRATA_EXPIRES_NEVER); /* 300 of 340 values live still */
    set_some(f, 40, 300);
    int64_t ttl_ms = suggested(f);
    assert_true(is_about(ttl_ms, 10010000));
}

/* What was just written says nothing of lives so long. */
static void what_is_young_does_not_count_as_old(void **state) {
    fixture *f = *state;
    set_some(f, 0, 100);
    fixture_advance(f, 10000);
    set_some(f, 0, 60);
    assert_true(is_about(suggested(f), 10000)); /* 60 of the 100 that could have lived longer did not */
}

static void an_invalidation_ends_a_value_too(void **state) {
    fixture *f = *state;
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 50; i++) {
            char key[16];
            snprintf(key, sizeof key, "%d", i);
            assert_int_equal(strata_invalidate_wait(f->session, f->ns, test_bytes(key), NULL), STRATA_OK);
        }
        fixture_advance(f, 2000);
    }
    assert_true(is_about(suggested(f), 2000));
    strata_histogram h = {.struct_size = sizeof h};
    assert_int_equal(strata_analysis_histogram(f->ns, STRATA_ANALYZED_WRITE_INTERVAL, &h), STRATA_OK);
    assert_true(h.count == 100 && h.sum == 200000);
}

/* More keys than are followed: a sample of them says the same. */
static void many_keys_are_sampled(void **state) {
    fixture *f = *state;
    for (int round = 0; round < 4; round++) {
        set_some(f, 0, 20000);
        fixture_advance(f, 60000);
    }
    assert_true(is_about(suggested(f), 60000));
    strata_histogram h = {.struct_size = sizeof h};
    assert_int_equal(strata_analysis_histogram(f->ns, STRATA_ANALYZED_WRITE_INTERVAL, &h), STRATA_OK);
    assert_true(h.count >= 300 && h.count <= 3 * 384 + 384); /* those let go at first are not many */
}

/* ---- applied ---------------------------------------------------------------------------------------------------- */

static void it_is_applied_within_bounds(void **state) {
    fixture *f = *state;
    assert_int_equal(fixture_policy(f, (strata_namespace_policy){.ttl_ms = 77000, .ttl_adaptive_min_ms = 5000, .ttl_adaptive_max_ms = 20000}),
                     STRATA_OK);
    set_some(f, 0, 100);
    assert_int_equal(ttl_of(f, "7"), 77000); /* nothing is known yet */
    fixture_advance(f, 10000);
    set_some(f, 0, 100);
    fixture_advance(f, 10000);
    set_some(f, 0, 100);
    assert_true(is_about(ttl_of(f, "7"), 10000));
    strata_op_options options = {.struct_size = sizeof options, .ttl_ms = 1234};
    assert_int_equal(strata_set_wait(f->session, f->ns, test_bytes("own"), test_bytes("v"), &options, NULL), STRATA_OK);
    assert_int_equal(ttl_of(f, "own"), 1234); /* who says how long is obeyed */
    assert_int_equal(fixture_get_or_load(f, "loaded", NULL), STRATA_OK);
    assert_true(is_about(ttl_of(f, "loaded"), 10000));
    for (int round = 0; round < 60; round++) {
        fixture_advance(f, 1000);
        set_some(f, 0, 100);
    }
    assert_int_equal(ttl_of(f, "7"), 5000);
    for (int round = 0; round < 120; round++) {
        fixture_advance(f, 100000);
        set_some(f, 0, 100);
    }
    assert_int_equal(ttl_of(f, "7"), 20000);
    strata_namespace_policy policy = {.struct_size = sizeof policy};
    assert_int_equal(strata_namespace_policy_get(f->ns, &policy), STRATA_OK);
    assert_true(policy.ttl_adaptive_min_ms == 5000 && policy.ttl_adaptive_max_ms == 20000);
    assert_int_equal(fixture_policy(f, (strata_namespace_policy){.ttl_ms = 77000}), STRATA_OK);
    set_some(f, 0, 100);
    assert_int_equal(ttl_of(f, "7"), 77000);
}

static void what_was_missed_is_no_interval(void **state) {
    fixture *f = *state;
    strata_namespace_policy on = {.ttl_adaptive_min_ms = 1, .ttl_adaptive_max_ms = 3600000};
    assert_int_equal(fixture_policy(f, on), STRATA_OK);
    set_some(f, 0, 100);
    assert_int_equal(fixture_policy(f, (strata_namespace_policy){0}), STRATA_OK);
    fixture_advance(f, 1000000); /* nobody looks meanwhile */
    assert_int_equal(fixture_policy(f, on), STRATA_OK);
    for (int round = 0; round < 3; round++) {
        set_some(f, 0, 100);
        fixture_advance(f, 7000);
    }
    assert_true(is_about(suggested(f), 7000));
    strata_histogram h = {.struct_size = sizeof h};
    assert_int_equal(strata_analysis_histogram(f->ns, STRATA_ANALYZED_WRITE_INTERVAL, &h), STRATA_OK);
    assert_true(h.count == 200 && h.sum == 200 * 7000);
}

static void nonsense_is_refused(void **state) {
    fixture *f = *state;
    strata_error error;
    strata_namespace_policy policy = {.struct_size = sizeof policy, .ttl_adaptive_min_ms = 6, .ttl_adaptive_max_ms = 5};
    assert_int_equal(strata_namespace_policy_set(f->ns, &policy, &error), STRATA_E_CONFIG);
    assert_non_null(strstr(error.text, "ttl_adaptive_min_ms"));
    policy.ttl_adaptive_min_ms = -1;
    assert_int_equal(strata_namespace_policy_set(f->ns, &policy, &error), STRATA_E_CONFIG);
    policy = (strata_namespace_policy){.struct_size = sizeof policy, .ttl_adaptive_min_ms = 5};
    assert_int_equal(strata_namespace_policy_set(f->ns, &policy, &error), STRATA_E_CONFIG);
    policy = (strata_namespace_policy){.struct_size = sizeof policy, .ttl_adaptive_min_ms = -5, .ttl_adaptive_max_ms = INT64_MAX};
    assert_int_equal(strata_namespace_policy_set(f->ns, &policy, &error), STRATA_E_CONFIG);
}

static void without_memory_nothing_changes(void **state) {
    (void)state;
    test_alloc alloc;
    test_alloc_init(&alloc);
    strata_open_options template_ = {.allocator = {alloc.table.context, alloc.table.allocate, alloc.table.release}};
    strata *engine = test_engine_open(TEST_OPTIONS("l2.mode", "none", "l1.bytes", "4MiB"), &template_);
    strata_namespace *ns = test_engine_ns(engine, "alone");
    strata_namespace_policy policy = {.struct_size = sizeof policy, .ttl_adaptive_min_ms = 5, .ttl_adaptive_max_ms = 50}, is = policy;
    test_alloc_fail_at(&alloc, 1);
    assert_int_equal(strata_namespace_policy_set(ns, &policy, NULL), STRATA_E_NOMEM);
    assert_int_equal(strata_namespace_policy_get(ns, &is), STRATA_OK);
    assert_int_equal(is.ttl_adaptive_max_ms, 0);
    assert_int_equal(strata_namespace_policy_set(ns, &policy, NULL), STRATA_OK);
    assert_int_equal(strata_close(engine, 1000), STRATA_OK);
    test_alloc_check_empty(&alloc);
}

static void the_configuration_may_say_it(void **state) {
    fixture *f = *state;
    assert_int_equal(strata_option_set(f->engine, "namespace.alone.ttl_adaptive_max", "20s", NULL), STRATA_OK);
    for (int round = 0; round < 3; round++) {
        set_some(f, 0, 100);
        fixture_advance(f, 10000);
    }
    set_some(f, 0, 100);
    assert_true(is_about(ttl_of(f, "7"), 10000));
    assert_int_equal(strata_option_set(f->engine, "namespace.alone.ttl_adaptive_min", "15s", NULL), STRATA_OK);
    set_some(f, 0, 100);
    assert_int_equal(ttl_of(f, "7"), 15000);
}

/* ---- threads ---------------------------------------------------------------------------------------------------- */

enum { THREADS = 3, WRITES = 5000 };
static void *writes(void *argument) {
    fixture *f = argument;
    strata_session *session = test_engine_session(f->engine);
    for (int i = 0; i < WRITES; i++) {
        char key[16];
        snprintf(key, sizeof key, "%d", i % 1000);
        assert_int_equal(test_set(session, f->ns, key, "v"), STRATA_OK);
    }
    strata_session_close(session);
    atomic_fetch_add(&f->calls, 1);
    return NULL;
}

static void writers_and_who_asks(void **state) {
    fixture *f = *state;
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) assert_int_equal(pthread_create(&threads[i], NULL, writes, f), 0);
    for (int i = 0; atomic_load(&f->calls) < THREADS; i++) {
        (void)suggested(f);
        strata_namespace_policy policy = {.ttl_adaptive_min_ms = i % 2, .ttl_adaptive_max_ms = i % 2 * 1000};
        assert_int_equal(fixture_policy(f, policy), STRATA_OK);
        fixture_advance(f, 10);
        test_sleep_ms(1);
    }
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(nothing_is_suggested_where_nothing_is_known, setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(half_of_the_values_are_overwritten_before_it, setup_on, fixture_teardown),
        cmocka_unit_test_setup_teardown(what_is_not_written_again_counts, setup_on, fixture_teardown),
        cmocka_unit_test_setup_teardown(what_is_young_does_not_count_as_old, setup_on, fixture_teardown),
        cmocka_unit_test_setup_teardown(an_invalidation_ends_a_value_too, setup_on, fixture_teardown),
        cmocka_unit_test_setup_teardown(many_keys_are_sampled, setup_on, fixture_teardown),
        cmocka_unit_test_setup_teardown(it_is_applied_within_bounds, setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(what_was_missed_is_no_interval, setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(the_configuration_may_say_it, setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(nonsense_is_refused, setup, fixture_teardown),
        cmocka_unit_test(without_memory_nothing_changes),
        cmocka_unit_test_setup_teardown(writers_and_who_asks, setup_on, fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
