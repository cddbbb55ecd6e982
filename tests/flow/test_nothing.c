/* SPDX-License-Identifier: Apache-2.0 */
/* Absences and errors that are remembered, and values that are not: what the next reader is answered, and for how long. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <pthread.h>
#include <stdatomic.h>

#include <cmocka.h>

#include "core/time/clock.h"
#include "tests/support/clock.h"
#include "tests/support/engine.h"

typedef struct fixture {
    strata *engine;
    strata_namespace *ns;
    strata_session *session;
    test_clock clock;
    /* the loader */
    int calls;
    int32_t status;
    strata_load_result details;
    strata_load *kept;
    bool keep;
    bool forgets; /* as it ends, a policy is set that keeps no absences: at the caller's next look at the clock */
    pthread_t caller;
    _Atomic bool armed;
    /* the last answer */
    int answers;
    uint8_t reason;
    int32_t answered;
} fixture;

static int64_t injected_now(void *context) {
    fixture *f = context;
    if (atomic_load(&f->armed) && pthread_equal(pthread_self(), f->caller) && atomic_exchange(&f->armed, false)) {
        strata_namespace_policy policy = {.struct_size = sizeof policy, .ttl_ms = 60000};
        (void)strata_namespace_policy_set(f->ns, &policy, NULL);
    }
    return test_clock_now_ns(&f->clock);
}

static fixture *open_fixture(strata_namespace_policy policy) {
    fixture *f = calloc(1, sizeof *f);
    f->details.struct_size = sizeof f->details;
    test_clock_init(&f->clock, INT64_C(1000000000000));
    strata_open_options template_ = {.clock = {f, injected_now}};
    f->engine = test_engine_open(TEST_OPTIONS("l2.mode", "none", "flow.ttl_jitter", "0"), &template_);
    f->ns = test_engine_ns(f->engine, "nothing");
    f->session = test_engine_session(f->engine);
    policy.struct_size = sizeof policy;
    assert_int_equal(strata_namespace_policy_set(f->ns, &policy, NULL), STRATA_OK);
    return f;
}

static void close_fixture(fixture *f) {
    strata_session_close(f->session);
    assert_int_equal(strata_close(f->engine, 1000), STRATA_OK);
    free(f);
}

static void advance(fixture *f, int64_t ms) { test_clock_advance(&f->clock, ms * SX_NS_PER_MS); }

static void load(strata_load *load, void *user) {
    fixture *f = user;
    f->calls++;
    if (f->forgets) atomic_store(&f->armed, true);
    if (f->keep) f->kept = load;
    else strata_load_finish(load, f->status, test_bytes("v"), &f->details);
}

static void done(void *user, const strata_result *result) {
    fixture *f = user;
    f->answers++;
    f->answered = result->status;
    f->reason = result->reason;
}

static int32_t get_or_load(fixture *f, const char *key) {
    strata_result result;
    int32_t status = strata_get_or_load_wait(f->session, f->ns, test_bytes(key), NULL, load, f, &result);
    if (status == STRATA_OK) strata_result_release(f->session, &result);
    return status;
}

static int32_t get(fixture *f, const char *key) {
    strata_result result;
    int32_t status = strata_get_wait(f->session, f->ns, test_bytes(key), NULL, &result);
    if (status == STRATA_OK) strata_result_release(f->session, &result);
    return status;
}

static void an_absence_is_kept_for_its_own_time(void **state) {
    (void)state;
    fixture *f = open_fixture((strata_namespace_policy){.ttl_ms = 60000, .absent_ttl_ms = 2000});
    f->status = STRATA_MISS;
    for (int i = 0; i < 3; i++) assert_int_equal(get_or_load(f, "k"), STRATA_MISS);
    assert_int_equal(f->calls, 1);
    assert_int_equal(get(f, "k"), STRATA_MISS);
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
    advance(f, 1999);
    assert_int_equal(get_or_load(f, "k"), STRATA_MISS);
    assert_int_equal(f->calls, 1);
    advance(f, 1);
    f->status = STRATA_OK;
    assert_int_equal(get_or_load(f, "k"), STRATA_OK); /* it has come to be */
    assert_int_equal(f->calls, 2);
    f->status = STRATA_MISS;
    f->details.ttl_ms = 500; /* its loader knows better */
    assert_int_equal(get_or_load(f, "brief"), STRATA_MISS);
    advance(f, 499);
    assert_int_equal(get_or_load(f, "brief"), STRATA_MISS);
    assert_int_equal(f->calls, 3);
    advance(f, 1);
    assert_int_equal(get_or_load(f, "brief"), STRATA_MISS);
    assert_int_equal(f->calls, 4);
    close_fixture(f);
}

/* Its loader ends with status after an invalidation that came while it ran. */
static void load_across_an_invalidation(fixture *f, const char *key, int32_t status) {
    strata_result result;
    f->keep = true;
    f->kept = NULL;
    f->answers = 0;
    assert_int_equal(strata_get_or_load(f->session, f->ns, test_bytes(key), NULL, load, f, &result, done, f), STRATA_PENDING);
    for (int i = 0; i < 100 && f->kept == NULL; i++) (void)strata_session_wait(f->session, 10);
    assert_int_equal(strata_invalidate_wait(f->session, f->ns, test_bytes(key), NULL), STRATA_OK);
    assert_int_equal(strata_load_finish(f->kept, status, test_bytes(""), NULL), STRATA_OK);
    for (int i = 0; i < 100 && f->answers == 0; i++) (void)strata_session_wait(f->session, 10);
    f->keep = false;
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
        advance(f, 1);
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
    close_fixture(f);
}

static void an_error_is_kept_for_its_own_time(void **state) {
    (void)state;
    fixture *f = open_fixture((strata_namespace_policy){.ttl_ms = 60000, .error_ttl_ms = 1000});
    f->status = STRATA_E_LOAD_FAILED;
    for (int i = 0; i < 3; i++) assert_int_equal(get_or_load(f, "k"), STRATA_E_LOAD_FAILED);
    assert_int_equal(f->calls, 1);
    assert_int_equal(get(f, "k"), STRATA_MISS); /* who does not load is not told of it */
    assert_null(test_peek(f->session, f->ns, "k"));
    assert_int_equal(test_metric(f->engine, "l1.error_hits"), 2);
    assert_int_equal(test_metric(f->engine, "flow.errors_cached"), 1);
    assert_int_equal(test_metric(f->engine, "flow.absences"), 0);
    f->status = STRATA_OK;
    assert_int_equal(get_or_load(f, "k"), STRATA_E_LOAD_FAILED);
    advance(f, 999);
    assert_int_equal(get_or_load(f, "k"), STRATA_E_LOAD_FAILED);
    advance(f, 1);
    assert_int_equal(get_or_load(f, "k"), STRATA_OK);
    load_across_an_invalidation(f, "late", STRATA_E_LOAD_FAILED);
    assert_int_equal(f->answered, STRATA_E_LOAD_FAILED);
    assert_int_equal(get_or_load(f, "late"), STRATA_OK);
    f->status = STRATA_E_LOAD_FAILED;
    assert_int_equal(get_or_load(f, "set"), STRATA_E_LOAD_FAILED);
    assert_int_equal(test_set(f->session, f->ns, "set", "v"), STRATA_OK); /* a write ends it */
    assert_int_equal(get_or_load(f, "set"), STRATA_OK);
    close_fixture(f);
}

static void a_value_past_its_end_is_better_than_an_error(void **state) {
    (void)state;
    fixture *f = open_fixture((strata_namespace_policy){.ttl_ms = 1000, .stale_if_failing_ms = 60000, .error_ttl_ms = 10000});
    assert_int_equal(get_or_load(f, "k"), STRATA_OK);
    advance(f, 1000);
    f->status = STRATA_E_LOAD_FAILED;
    for (int i = 0; i < 3; i++) {
        strata_result result;
        assert_int_equal(strata_get_or_load_wait(f->session, f->ns, test_bytes("k"), NULL, load, f, &result), STRATA_STALE);
        strata_result_release(f->session, &result);
        advance(f, 2000);
    }
    assert_int_equal(test_metric(f->engine, "flow.errors_cached"), 0);
    close_fixture(f);
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
    close_fixture(f);
}

static void an_absence_that_the_policy_keeps_no_more(void **state) {
    (void)state;
    fixture *f = open_fixture((strata_namespace_policy){.ttl_ms = 60000, .absent_ttl_ms = 1000});
    f->status = STRATA_MISS;
    f->forgets = true;
    f->caller = pthread_self();
    assert_int_equal(get_or_load(f, "k"), STRATA_MISS);
    assert_false(atomic_load(&f->armed));
    assert_int_equal(test_metric(f->engine, "flow.absences"), 1);
    assert_int_equal(test_metric(f->engine, "l1.entries"), 0);
    f->forgets = false;
    f->status = STRATA_OK;
    assert_int_equal(get_or_load(f, "k"), STRATA_OK);
    close_fixture(f);
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
    close_fixture(f);
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
    close_fixture(f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_absence_is_kept_for_its_own_time), cmocka_unit_test(a_write_ends_an_absence),
        cmocka_unit_test(an_error_is_kept_for_its_own_time), cmocka_unit_test(without_a_policy_nothing_is_kept),
        cmocka_unit_test(a_value_past_its_end_is_better_than_an_error),
        cmocka_unit_test(a_loader_may_keep_its_value_out), cmocka_unit_test(a_clear_ends_an_error),
        cmocka_unit_test(an_absence_that_the_policy_keeps_no_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
