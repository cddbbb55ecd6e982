/* SPDX-License-Identifier: Apache-2.0 */
/* A namespace's policy: what it refuses, whose time to live holds, how it is replaced while it is read. */
#include <pthread.h>

#include "core/flow/engine.h"
#include "tests/flow/fixture.h"

static int setup(void **state) {
    return fixture_setup(state, TEST_OPTIONS("l2.mode", "none", "flow.ttl_jitter", "0", "flow.ttl", "60s"));
}

static int32_t set(fixture *f, const char *key, int64_t ttl_ms) {
    strata_op_options options = {.struct_size = sizeof options, .ttl_ms = ttl_ms};
    return strata_set_wait(f->session, f->ns, test_bytes(key), test_bytes("v"), &options, NULL);
}

static int32_t load(fixture *f, const char *key, int64_t ttl_ms, int64_t load_ttl_ms) {
    strata_op_options options = {.struct_size = sizeof options, .ttl_ms = ttl_ms};
    f->details.ttl_ms = load_ttl_ms;
    return fixture_get_or_load(f, key, &options);
}

/* What is left of the key's time, -1 where L1 has no answer. */
static int64_t left_ms(fixture *f, const char *key) {
    strata_result result;
    if (strata_peek(f->session, f->ns, test_bytes(key), &result) != STRATA_OK) return -1;
    strata_result_release(f->session, &result);
    return result.ttl_ms;
}

static void the_nearest_word_on_ttl_holds(void **state) {
    fixture *f = *state;
    assert_int_equal(set(f, "option", 0), STRATA_OK);
    assert_int_equal(left_ms(f, "option"), 60000);
    assert_int_equal(fixture_policy(f, (strata_namespace_policy){.ttl_ms = 30000}), STRATA_OK);
    assert_int_equal(left_ms(f, "option"), 60000); /* it was given before */
    assert_int_equal(set(f, "namespace", 0), STRATA_OK);
    assert_int_equal(left_ms(f, "namespace"), 30000);
    assert_int_equal(set(f, "operation", 10000), STRATA_OK);
    assert_int_equal(left_ms(f, "operation"), 10000);
    assert_int_equal(load(f, "n", 0, 0), STRATA_OK);
    assert_int_equal(left_ms(f, "n"), 30000);
    assert_int_equal(load(f, "o", 20000, 0), STRATA_OK);
    assert_int_equal(left_ms(f, "o"), 20000);
    assert_int_equal(load(f, "l", 20000, 5000), STRATA_OK);
    assert_int_equal(left_ms(f, "l"), 5000);
    test_clock_advance(&f->clock, 5000 * SX_NS_PER_MS);
    assert_int_equal(left_ms(f, "l"), -1);
    assert_int_equal(left_ms(f, "o"), 15000);
}

static void endless_values_must_be_allowed(void **state) {
    fixture *f = *state;
    assert_int_equal(set(f, "k", STRATA_EXPIRES_NEVER), STRATA_E_TTL);
    assert_int_equal(set(f, "k", STRATA_EXPIRES_NEVER - 1), STRATA_E_TTL);
    assert_int_equal(load(f, "k", 0, STRATA_EXPIRES_NEVER), STRATA_E_TTL);
    assert_int_equal(f->finished, STRATA_E_TTL);
    assert_int_equal(left_ms(f, "k"), -1);
    assert_int_equal(fixture_policy(f, (strata_namespace_policy){.ttl_ms = STRATA_EXPIRES_NEVER}), STRATA_E_CONFIG);
    assert_int_equal(fixture_policy(f, (strata_namespace_policy){.flags = STRATA_POLICY_ENDLESS, .ttl_ms = STRATA_EXPIRES_NEVER}),
                     STRATA_OK);
    assert_int_equal(set(f, "set", STRATA_EXPIRES_NEVER), STRATA_OK);
    assert_true(left_ms(f, "set") == STRATA_EXPIRES_NEVER);
    assert_int_equal(load(f, "load", 0, 0), STRATA_OK);
    assert_true(left_ms(f, "load") == STRATA_EXPIRES_NEVER);
    assert_int_equal(load(f, "brief", 0, 1000), STRATA_OK);
    assert_int_equal(left_ms(f, "brief"), 1000);
}

/* Without L2 there is nobody to ask again: the value is L1's as long as L1 may answer. */
static void l1_answers_for_its_own_time(void **state) {
    fixture *f = *state;
    assert_int_equal(fixture_policy(f, (strata_namespace_policy){.ttl_ms = 30000, .l1_ttl_ms = 2000}), STRATA_OK);
    assert_int_equal(set(f, "k", 0), STRATA_OK);
    assert_int_equal(set(f, "brief", 1000), STRATA_OK);
    assert_int_equal(left_ms(f, "k"), 30000);
    test_clock_advance(&f->clock, 1000 * SX_NS_PER_MS);
    assert_int_equal(left_ms(f, "brief"), -1);
    test_clock_advance(&f->clock, 999 * SX_NS_PER_MS);
    assert_int_equal(left_ms(f, "k"), 28001);
    test_clock_advance(&f->clock, 1 * SX_NS_PER_MS);
    assert_int_equal(left_ms(f, "k"), -1);
}

static void jitter_shortens_within_its_part(void **state) {
    fixture *f = *state;
    assert_int_equal(sx_policy_jittered(1000, 10, 0), 1000);
    assert_int_equal(sx_policy_jittered(1000, 10, 100), 900);
    assert_int_equal(sx_policy_jittered(1000, 10, 101), 1000);
    assert_int_equal(sx_policy_jittered(1, 90, 12345), 1);
    assert_true(sx_policy_jittered(SX_TTL_MS_MAX, 90, UINT64_MAX) > 0);
    assert_int_equal(fixture_policy(f, (strata_namespace_policy){.ttl_ms = 10000, .ttl_jitter_percent = 20}), STRATA_OK);
    int64_t least = INT64_MAX, most = 0;
    for (int i = 0; i < 500; i++) {
        char key[] = {'k', (char)('a' + i % 26), (char)('a' + i / 26), 0};
        assert_int_equal(set(f, key, 0), STRATA_OK);
        int64_t left = left_ms(f, key);
        if (left < least) least = left;
        if (left > most) most = left;
    }
    assert_in_range(least, 8000, 8200);
    assert_in_range(most, 9800, 10000);
    strata_error error;
    assert_int_equal(strata_option_set(f->engine, "flow.ttl_jitter", "50%", &error), STRATA_OK);
    assert_int_equal(fixture_policy(f, (strata_namespace_policy){.ttl_jitter_percent = STRATA_NO_JITTER}), STRATA_OK);
    assert_int_equal(set(f, "k", 777), STRATA_OK);
    assert_int_equal(left_ms(f, "k"), 777);
}

static void what_is_refused(void **state) {
    fixture *f = *state;
    strata_error error = {0};
    strata_namespace_policy policy = {.struct_size = sizeof policy, .ttl_ms = 5}, read = {.struct_size = sizeof read};
    assert_int_equal(strata_namespace_policy_set(f->ns, &policy, NULL), STRATA_OK);
    static const strata_namespace_policy bad[] = {
        {.flags = 0x80000000}, {.ttl_ms = -1}, {.l1_ttl_ms = -1}, {.l1_ttl_ms = INT64_MAX}, {.ttl_jitter_percent = 91},
        {.refresh_percent = 100}, {.stale_while_refreshing_ms = -1}, {.stale_if_failing_ms = INT64_MAX}, {.throttle_ms = -1},
        {.absent_ttl_ms = -1}, {.error_ttl_ms = -1}, {.soft_timeout_ms = -1}, {.load_timeout_ms = -1}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) assert_int_equal(fixture_policy(f, bad[i]), STRATA_E_CONFIG);
    policy.ttl_jitter_percent = 91;
    assert_int_equal(strata_namespace_policy_set(f->ns, &policy, &error), STRATA_E_CONFIG);
    assert_non_null(strstr(error.text, "ttl_jitter_percent"));
    policy.struct_size = 3;
    assert_int_equal(strata_namespace_policy_set(f->ns, &policy, &error), STRATA_E_INVALID);
    assert_int_equal(strata_namespace_policy_set(NULL, &policy, &error), STRATA_E_INVALID);
    assert_int_equal(strata_namespace_policy_set(f->ns, NULL, &error), STRATA_E_INVALID);
    assert_int_equal(strata_namespace_policy_get(f->ns, &read), STRATA_OK);
    assert_int_equal(read.ttl_ms, 5); /* nothing of what was refused */
    assert_int_equal(read.ttl_jitter_percent, 0);
    read.struct_size = 3;
    assert_int_equal(strata_namespace_policy_get(f->ns, &read), STRATA_E_INVALID);
}

/* ---- replaced while it is read --------------------------------------------------------------------------------- */

typedef struct reader {
    strata_namespace *ns;
    _Atomic bool *stop;
    int64_t torn, reads;
} reader;

static void *read_policies(void *argument) {
    reader *r = argument;
    while (!atomic_load(r->stop)) {
        sx_policy policy;
        sx_policy_read(r->ns, &policy);
        r->torn += policy.flags != policy.ttl_jitter_percent || policy.flags != policy.ttl_ms % 2;
        r->reads++;
    }
    return NULL;
}

static void a_reader_sees_one_policy(void **state) {
    fixture *f = *state;
    _Atomic bool stop = false;
    reader readers[2] = {{.ns = f->ns, .stop = &stop}, {.ns = f->ns, .stop = &stop}};
    pthread_t threads[2];
    for (int i = 0; i < 2; i++) assert_int_equal(pthread_create(&threads[i], NULL, read_policies, &readers[i]), 0);
    for (int64_t i = 1; i <= 200000; i++)
        assert_int_equal(fixture_policy(f, (strata_namespace_policy){.flags = (uint32_t)i % 2, .ttl_ms = i, .ttl_jitter_percent = (uint32_t)i % 2}),
                         STRATA_OK);
    atomic_store(&stop, true);
    for (int i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(readers[i].torn, 0);
        assert_true(readers[i].reads > 0);
    }
}

/* A reader that comes in the middle of a replacement waits for its end; one that a replacement passes reads again. */
static void *read_once(void *argument) {
    static sx_policy policy;
    sx_policy_read(argument, &policy);
    return &policy;
}

static void a_reader_waits_for_the_end_of_a_replacement(void **state) {
    (void)state;
    static strata_namespace ns;
    pthread_t thread;
    void *read;
    atomic_store(&ns.policy.turn, 1);
    atomic_store(&ns.policy.words[0], 7);
    assert_int_equal(pthread_create(&thread, NULL, read_once, &ns), 0);
    test_sleep_ms(30);
    for (size_t i = 0; i < SX_POLICY_WORDS; i++) atomic_store(&ns.policy.words[i], 8);
    atomic_store(&ns.policy.turn, 2);
    assert_int_equal(pthread_join(thread, &read), 0);
    assert_int_equal(((const sx_policy *)read)->flags, 8);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_nearest_word_on_ttl_holds, setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(endless_values_must_be_allowed, setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(l1_answers_for_its_own_time, setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(jitter_shortens_within_its_part, setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(what_is_refused, setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(a_reader_sees_one_policy, setup, fixture_teardown),
        cmocka_unit_test(a_reader_waits_for_the_end_of_a_replacement),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
