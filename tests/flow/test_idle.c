/* SPDX-License-Identifier: Apache-2.0 */
/* What nobody reads is forgotten by L1 before its end, and what is read is not. */
#include "tests/flow/fixture.h"

#include "core/memory/item.h"

static fixture *open_idle(strata_namespace_policy policy) {
    fixture *f = fixture_create();
    strata_open_options template_ = {.clock = {&f->clock, fixture_now_ns}};
    fixture_open(f, TEST_OPTIONS("l2.mode", "none", "flow.ttl_jitter", "0"), &template_);
    assert_int_equal(fixture_policy(f, policy), STRATA_OK);
    assert_int_equal(test_set(f->session, f->ns, "k", "v"), STRATA_OK);
    return f;
}

static bool gone(fixture *f) {
    for (int i = 0; i < 3000 && test_metric(f->engine, "l1.entries") != 0; i++) test_sleep_ms(10);
    return test_metric(f->engine, "l1.entries") == 0;
}

static void unread_it_is_forgotten(void **state) {
    (void)state;
    fixture *f = open_idle((strata_namespace_policy){.ttl_ms = 3600000, .l1_idle_ms = 8000});
    fixture_advance(f, 7999);
    assert_int_equal(fixture_peek(f, "k"), STRATA_OK);
    assert_in_range(f->ttl_ms, 3592000, 3592001); /* of the value */
    fixture_advance(f, 8000);
    assert_int_equal(fixture_peek(f, "k"), STRATA_MISS); /* before the keeper has come by */
    assert_true(gone(f));
    assert_int_equal(test_metric(f->engine, "l1.idled"), 1);
    assert_int_equal(test_metric(f->engine, "l1.expirations"), 1);
    fixture_close(f);
}

static void nobody_needs_to_come_for_that(void **state) {
    (void)state;
    fixture *f = open_idle((strata_namespace_policy){.ttl_ms = 3600000, .l1_idle_ms = 8000});
    assert_int_equal(fixture_peek(f, "k"), STRATA_OK);
    fixture_advance(f, 4000);
    assert_int_equal(fixture_peek(f, "k"), STRATA_OK);
    fixture_advance(f, 7900);
    test_sleep_ms(2500); /* the keeper sees every group once in two seconds */
    assert_int_equal(test_metric(f->engine, "l1.entries"), 1);
    fixture_advance(f, 1100);
    assert_true(gone(f));
    assert_int_equal(test_metric(f->engine, "l1.idled"), 1);
    fixture_close(f);
}

static void read_it_lives_to_its_end(void **state) {
    (void)state;
    fixture *f = open_idle((strata_namespace_policy){.ttl_ms = 60000, .l1_idle_ms = 8000});
    for (int ms = 0; ms < 60000; ms += 500) {
        assert_int_equal(fixture_peek(f, "k"), STRATA_OK);
        assert_int_equal(f->ttl_ms, 60000 - ms);
        fixture_advance(f, 500);
    }
    assert_int_equal(fixture_peek(f, "k"), STRATA_MISS);
    assert_true(gone(f));
    assert_int_equal(test_metric(f->engine, "l1.idled"), 0);
    fixture_close(f);
}

static void a_hit_writes_once_in_an_eighth(void **state) {
    (void)state;
    fixture *f = open_idle((strata_namespace_policy){.ttl_ms = 3600000, .l1_idle_ms = 8000});
    strata_result result;
    assert_int_equal(strata_peek(f->session, f->ns, test_bytes("k"), &result), STRATA_OK);
    const sx_item_aging *aging = sx_item_aging_of(result.private_[0]);
    int64_t written_ns = atomic_load(&aging->used_ns);
    strata_result_release(f->session, &result);
    fixture_advance(f, 999);
    assert_int_equal(fixture_peek(f, "k"), STRATA_OK);
    assert_int_equal(atomic_load(&aging->used_ns), written_ns);
    fixture_advance(f, 1);
    assert_int_equal(fixture_peek(f, "k"), STRATA_OK);
    assert_int_equal(atomic_load(&aging->used_ns), written_ns + 1000 * SX_NS_PER_MS);
    fixture_close(f);
}

/* What else an item does in its time happens when it is due, not when its use is noted. */
static void other_times_are_what_they_were(void **state) {
    (void)state;
    fixture *f = open_idle((strata_namespace_policy){.ttl_ms = 10000, .refresh_percent = 80, .l1_idle_ms = 4000});
    for (int ms = 0; ms < 8000; ms += 1000) {
        assert_int_equal(fixture_get_or_load(f, "k", NULL), STRATA_OK);
        assert_int_equal(f->calls, 0);
        assert_int_equal(test_metric(f->engine, "flow.flights"), 0);
        fixture_advance(f, 1000);
    }
    assert_int_equal(fixture_get_or_load(f, "k", NULL), STRATA_OK);
    assert_int_equal(test_metric(f->engine, "flow.flights"), 1);
    for (int i = 0; i < 3000 && test_metric(f->engine, "flow.pending") != 0; i++) (void)strata_session_wait(f->session, 10);
    assert_int_equal(f->calls, 1);
    fixture_close(f);
    f = open_idle((strata_namespace_policy){.ttl_ms = 10000, .l1_ttl_ms = 2000, .l1_idle_ms = 8000});
    fixture_advance(f, 1500);
    assert_int_equal(fixture_get_or_load(f, "k", NULL), STRATA_OK);
    assert_int_equal(f->calls, 0);
    fixture_advance(f, 600);
    assert_int_equal(fixture_peek(f, "k"), STRATA_MISS);
    fixture_close(f);
}

static void the_field_has_a_range(void **state) {
    (void)state;
    fixture *f = open_idle((strata_namespace_policy){.l1_idle_ms = 1});
    strata_namespace_policy policy = {.struct_size = sizeof policy};
    strata_error error;
    assert_int_equal(strata_namespace_policy_get(f->ns, &policy), STRATA_OK);
    assert_int_equal(policy.l1_idle_ms, 1);
    policy.l1_idle_ms = -1;
    assert_int_equal(strata_namespace_policy_set(f->ns, &policy, &error), STRATA_E_CONFIG);
    assert_non_null(strstr(error.text, "l1_idle_ms"));
    policy.l1_idle_ms = INT64_C(366) * 24 * 3600 * 1000 + 1;
    assert_int_equal(strata_namespace_policy_set(f->ns, &policy, &error), STRATA_E_CONFIG);
    fixture_close(f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unread_it_is_forgotten),         cmocka_unit_test(nobody_needs_to_come_for_that),
        cmocka_unit_test(read_it_lives_to_its_end),       cmocka_unit_test(a_hit_writes_once_in_an_eighth),
        cmocka_unit_test(other_times_are_what_they_were), cmocka_unit_test(the_field_has_a_range),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
