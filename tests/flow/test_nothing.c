/* SPDX-License-Identifier: Apache-2.0 */
/* Absences and errors that are remembered, and values that are not: what the next reader is answered, and for how long. */
#include <pthread.h>

#include "tests/flow/fixture.h"

/* As its loader ends, a policy is set that keeps no absences: at the caller's next look at the clock. */
static bool forgets;
static pthread_t caller;
static _Atomic bool armed;

static int64_t injected_now(void *context) {
    fixture *f = context;
    if (atomic_load(&armed) && pthread_equal(pthread_self(), caller) && atomic_exchange(&armed, false))
        (void)fixture_policy(f, (strata_namespace_policy){.ttl_ms = 60000});
    return test_clock_now_ns(&f->clock);
}

static fixture *open_fixture(strata_namespace_policy policy) {
    fixture *f = fixture_create();
    strata_open_options template_ = {.clock = {f, injected_now}};
    fixture_open(f, TEST_OPTIONS("l2.mode", "none", "flow.ttl_jitter", "0"), &template_);
    assert_int_equal(fixture_policy(f, policy), STRATA_OK);
    return f;
}

static void load(strata_load *load, void *user) {
    if (forgets) atomic_store(&armed, true);
    fixture_load(load, user);
}

static int32_t get_or_load(fixture *f, const char *key) {
    strata_result result;
    return fixture_take(f, strata_get_or_load_wait(f->session, f->ns, test_bytes(key), NULL, load, f, &result), &result);
}

static void an_absence_is_kept_for_its_own_time(void **state) {
    (void)state;
    fixture *f = open_fixture((strata_namespace_policy){.ttl_ms = 60000, .absent_ttl_ms = 2000});
    f->status = STRATA_MISS;
    for (int i = 0; i < 3; i++) assert_int_equal(get_or_load(f, "k"), STRATA_MISS);
    assert_int_equal(f->calls, 1);
    assert_int_equal(fixture_get(f, "k"), STRATA_MISS);
    assert_null(test_peek(f->session, f->ns, "k"));
    assert_int_equal(test_metric(f->engine, "flow.absences"), 1);
    assert_int_equal(test_metric(f->engine, "l1.absent_hits"), 4);
    assert_int_equal(test_metric(f->engine, "flow.errors_cached"), 0);
    strata_bytes keys[] = {test_bytes("k"), test_bytes("other")};
    strata_result results[2];
    assert_int_equal(strata_mget_wait(f->session, f->ns, keys, 2, NULL, results), STRATA_OK);
    assert_int_equal(results[0].status, STRATA_MISS);
    assert_int_equal(results[0].reason, STRATA_REASON_ABSENT);
    assert_int_equal(results[1].status, STRATA_MISS);
    assert_int_equal(results[1].reason, STRATA_REASON_NONE);
    fixture_advance(f, 1999);
    assert_int_equal(get_or_load(f, "k"), STRATA_MISS);
    assert_int_equal(f->calls, 1);
    fixture_advance(f, 1);
    f->status = STRATA_OK;
    assert_int_equal(get_or_load(f, "k"), STRATA_OK); /* it has come to be */
    assert_int_equal(f->calls, 2);
    f->status = STRATA_MISS;
    f->details.ttl_ms = 500; /* its loader knows better */
    assert_int_equal(get_or_load(f, "brief"), STRATA_MISS);
    fixture_advance(f, 499);
    assert_int_equal(get_or_load(f, "brief"), STRATA_MISS);
    assert_int_equal(f->calls, 3);
    fixture_advance(f, 1);
    assert_int_equal(get_or_load(f, "brief"), STRATA_MISS);
    assert_int_equal(f->calls, 4);
    fixture_close(f);
}

/* Its loader ends with status after an invalidation that came while it ran. */
static void load_across_an_invalidation(fixture *f, const char *key, int32_t status) {
    fixture_hold(f, key);
    assert_int_equal(strata_invalidate_wait(f->session, f->ns, test_bytes(key), NULL), STRATA_OK);
    assert_int_equal(strata_load_finish(f->kept, status, test_bytes(""), NULL), STRATA_OK);
    for (int i = 0; i < 3000 && f->answers == 0; i++) (void)strata_session_wait(f->session, 10);
}

static void a_write_ends_an_absence(void **state) {
    (void)state;
    fixture *f = open_fixture((strata_namespace_policy){.absent_ttl_ms = 60000});
    f->status = STRATA_MISS;
    assert_int_equal(get_or_load(f, "set"), STRATA_MISS);
    assert_int_equal(test_set(f->session, f->ns, "set", "v"), STRATA_OK);
    assert_string_equal(test_peek(f->session, f->ns, "set"), "v");
    assert_int_equal(get_or_load(f, "gone"), STRATA_MISS);
    assert_int_equal(strata_invalidate_wait(f->session, f->ns, test_bytes("gone"), NULL), STRATA_OK);
    f->status = STRATA_OK;
    assert_int_equal(get_or_load(f, "gone"), STRATA_OK);
    /* and one that is found out before an invalidation is not kept after it */
    load_across_an_invalidation(f, "late", STRATA_MISS);
    assert_int_equal(f->answered, STRATA_MISS);
    assert_int_equal(f->reason, STRATA_REASON_ABSENT);
    assert_int_equal(get_or_load(f, "late"), STRATA_OK);
    /* So do its tags, and clearing the namespace. */
    strata_bytes tags[] = {test_bytes("users")};
    f->status = STRATA_MISS;
    f->details.tags = tags;
    f->details.tag_count = 1;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(get_or_load(f, "tagged"), STRATA_MISS);
        test_sleep_ms(5);
        fixture_advance(f, 1);
    }
    int calls = f->calls;
    assert_int_equal(get_or_load(f, "tagged"), STRATA_MISS);
    assert_int_equal(f->calls, calls);
    assert_int_equal(strata_invalidate_tags_wait(f->session, tags, 1, NULL), STRATA_OK);
    assert_int_equal(get_or_load(f, "tagged"), STRATA_MISS);
    assert_int_equal(f->calls, calls + 1);
    f->details.tag_count = 0;
    assert_int_equal(get_or_load(f, "cleared"), STRATA_MISS);
    assert_int_equal(strata_clear_wait(f->session, f->ns, NULL), STRATA_OK);
    f->status = STRATA_OK;
    assert_int_equal(get_or_load(f, "cleared"), STRATA_OK);
    fixture_close(f);
}

static void an_error_is_kept_for_its_own_time(void **state) {
    (void)state;
    fixture *f = open_fixture((strata_namespace_policy){.ttl_ms = 60000, .error_ttl_ms = 1000});
    f->status = STRATA_E_LOAD_FAILED;
    for (int i = 0; i < 3; i++) assert_int_equal(get_or_load(f, "k"), STRATA_E_LOAD_FAILED);
    assert_int_equal(f->calls, 1);
    assert_int_equal(fixture_get(f, "k"), STRATA_MISS); /* who does not load is not told of it */
    assert_null(test_peek(f->session, f->ns, "k"));
    assert_int_equal(test_metric(f->engine, "l1.error_hits"), 2);
    assert_int_equal(test_metric(f->engine, "flow.errors_cached"), 1);
    assert_int_equal(test_metric(f->engine, "flow.absences"), 0);
    f->status = STRATA_OK;
    assert_int_equal(get_or_load(f, "k"), STRATA_E_LOAD_FAILED);
    fixture_advance(f, 999);
    assert_int_equal(get_or_load(f, "k"), STRATA_E_LOAD_FAILED);
    fixture_advance(f, 1);
    assert_int_equal(get_or_load(f, "k"), STRATA_OK);
    load_across_an_invalidation(f, "late", STRATA_E_LOAD_FAILED);
    assert_int_equal(f->answered, STRATA_E_LOAD_FAILED);
    assert_int_equal(get_or_load(f, "late"), STRATA_OK);
    f->status = STRATA_E_LOAD_FAILED;
    assert_int_equal(get_or_load(f, "set"), STRATA_E_LOAD_FAILED);
    assert_int_equal(test_set(f->session, f->ns, "set", "v"), STRATA_OK); /* a write ends it */
    assert_int_equal(get_or_load(f, "set"), STRATA_OK);
    fixture_close(f);
}

static void a_value_past_its_end_is_better_than_an_error(void **state) {
    (void)state;
    fixture *f = open_fixture((strata_namespace_policy){.ttl_ms = 1000, .stale_if_failing_ms = 60000, .error_ttl_ms = 10000});
    assert_int_equal(get_or_load(f, "k"), STRATA_OK);
    fixture_advance(f, 1000);
    f->status = STRATA_E_LOAD_FAILED;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(get_or_load(f, "k"), STRATA_STALE);
        fixture_advance(f, 2000);
    }
    assert_int_equal(test_metric(f->engine, "flow.errors_cached"), 0);
    fixture_close(f);
}

static void without_a_policy_nothing_is_kept(void **state) {
    (void)state;
    fixture *f = open_fixture((strata_namespace_policy){.ttl_ms = 60000});
    f->status = STRATA_MISS;
    for (int i = 0; i < 3; i++) assert_int_equal(get_or_load(f, "k"), STRATA_MISS);
    f->status = STRATA_E_LOAD_FAILED;
    for (int i = 0; i < 3; i++) assert_int_equal(get_or_load(f, "k"), STRATA_E_LOAD_FAILED);
    assert_int_equal(f->calls, 6);
    assert_int_equal(test_metric(f->engine, "l1.entries"), 0);
    fixture_close(f);
}

static void an_absence_that_the_policy_keeps_no_more(void **state) {
    (void)state;
    fixture *f = open_fixture((strata_namespace_policy){.ttl_ms = 60000, .absent_ttl_ms = 1000});
    f->status = STRATA_MISS;
    forgets = true;
    caller = pthread_self();
    assert_int_equal(get_or_load(f, "k"), STRATA_MISS);
    assert_false(atomic_load(&armed));
    assert_int_equal(test_metric(f->engine, "flow.absences"), 1);
    assert_int_equal(test_metric(f->engine, "l1.entries"), 0);
    forgets = false;
    f->status = STRATA_OK;
    assert_int_equal(get_or_load(f, "k"), STRATA_OK);
    fixture_close(f);
}

static void a_clear_ends_an_error(void **state) {
    (void)state;
    fixture *f = open_fixture((strata_namespace_policy){.ttl_ms = 60000, .error_ttl_ms = 60000});
    f->status = STRATA_E_LOAD_FAILED;
    assert_int_equal(get_or_load(f, "k"), STRATA_E_LOAD_FAILED);
    f->status = STRATA_OK;
    assert_int_equal(get_or_load(f, "k"), STRATA_E_LOAD_FAILED);
    assert_int_equal(strata_clear_wait(f->session, f->ns, NULL), STRATA_OK);
    assert_int_equal(get_or_load(f, "k"), STRATA_OK);
    fixture_close(f);
}

static int32_t get_or_load_tagged(fixture *f, const char *key, const char *tag) {
    strata_bytes tags[] = {test_bytes(tag)};
    strata_op_options options = {.struct_size = sizeof options, .tags = tags, .tag_count = 1};
    strata_result result;
    return fixture_take(f, strata_get_or_load_wait(f->session, f->ns, test_bytes(key), &options, load, f, &result), &result);
}

static void invalidate_tag(fixture *f, const char *tag) {
    strata_bytes tags[] = {test_bytes(tag)};
    assert_int_equal(strata_invalidate_tags_wait(f->session, tags, 1, NULL), STRATA_OK);
}

static void a_tag_ends_an_error(void **state) {
    (void)state;
    fixture *f = open_fixture((strata_namespace_policy){.ttl_ms = 60000, .error_ttl_ms = 60000});
    f->status = STRATA_E_LOAD_FAILED;
    assert_int_equal(get_or_load_tagged(f, "k", "a"), STRATA_E_LOAD_FAILED);
    assert_int_equal(get_or_load_tagged(f, "l", "b"), STRATA_E_LOAD_FAILED);
    assert_int_equal(f->calls, 2);
    f->status = STRATA_OK;
    invalidate_tag(f, "b");
    assert_int_equal(get_or_load_tagged(f, "k", "a"), STRATA_E_LOAD_FAILED);
    assert_int_equal(get_or_load_tagged(f, "l", "b"), STRATA_OK);
    invalidate_tag(f, "a");
    assert_int_equal(get_or_load(f, "k"), STRATA_OK); /* whoever asks */
    assert_int_equal(f->calls, 4);
    fixture_close(f);
}

static void a_loader_may_keep_its_value_out(void **state) {
    (void)state;
    fixture *f = open_fixture((strata_namespace_policy){.ttl_ms = 60000, .absent_ttl_ms = 60000});
    f->details.flags = STRATA_LOAD_DONT_CACHE;
    for (int i = 1; i <= 3; i++) {
        assert_int_equal(get_or_load(f, "k"), STRATA_OK);
        assert_int_equal(f->calls, i);
        assert_null(test_peek(f->session, f->ns, "k"));
    }
    f->details.flags = 0x80;
    assert_int_equal(get_or_load(f, "k"), STRATA_E_INVALID);
    fixture_close(f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_absence_is_kept_for_its_own_time), cmocka_unit_test(a_write_ends_an_absence),
        cmocka_unit_test(an_error_is_kept_for_its_own_time), cmocka_unit_test(without_a_policy_nothing_is_kept),
        cmocka_unit_test(a_value_past_its_end_is_better_than_an_error),
        cmocka_unit_test(a_loader_may_keep_its_value_out), cmocka_unit_test(a_clear_ends_an_error), cmocka_unit_test(a_tag_ends_an_error),
        cmocka_unit_test(an_absence_that_the_policy_keeps_no_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
