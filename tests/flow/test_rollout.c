/* SPDX-License-Identifier: Apache-2.0 */
/* Rollout without L2: which keys use L1, what happens to those that do not, and operations that pass by what is cached. */
#include "tests/flow/fixture.h"

#include <stdio.h>

#include "core/flow/engine.h"

static int setup(void **state) {
    return fixture_setup(state, TEST_OPTIONS("l2.mode", "none", "flow.ttl_jitter", "0"));
}

static int32_t roll(fixture *f, strata_rollout rollout) {
    strata_error error;
    rollout.struct_size = sizeof rollout;
    return strata_namespace_rollout_set(f->ns, &rollout, &error);
}

static bool is_in(strata_namespace *ns, uint32_t i) {
    char key[16];
    int size = snprintf(key, sizeof key, "key:%u", (unsigned)i);
    return sx_rollout_l1(ns, key, (size_t)size);
}

static void parts_are_kept_as_they_grow(void **state) {
    fixture *f = *state;
    enum { KEYS = 20000 };
    uint8_t *in = calloc(KEYS, 1);
    const uint32_t parts[] = {1, 10, 100, 500, 999, 0};
    for (size_t p = 0; p < sizeof parts / sizeof *parts; p++) {
        assert_int_equal(roll(f, (strata_rollout){.l1_per_mille = parts[p]}), STRATA_OK);
        uint32_t count = 0;
        for (uint32_t i = 0; i < KEYS; i++) {
            bool now = is_in(f->ns, i);
            assert_true(now || in[i] == 0); /* who was in stays in */
            in[i] = now;
            count += now;
        }
        uint32_t wanted = parts[p] == 0 ? KEYS : KEYS / 1000 * parts[p];
        assert_in_range(count, wanted - wanted / 4 - (wanted == KEYS ? 0 : 10), wanted + wanted / 4 + 10);
        if (parts[p] == 0) assert_int_equal(count, KEYS);
    }
    free(in);
    /* the same in every process, forever: keys would change sides */
    assert_int_equal(roll(f, (strata_rollout){.l1_per_mille = 500}), STRATA_OK);
    const bool golden[] = {false, false, false, false, false, false, true, true, true, false, true, true, false, false, false, true};
    for (uint32_t i = 0; i < sizeof golden / sizeof *golden; i++) assert_int_equal(is_in(f->ns, i), golden[i]);
}

static void options_bound_all_namespaces(void **state) {
    fixture *f = *state;
    assert_int_equal(test_set(f->session, f->ns, "k", "v"), STRATA_OK);
    assert_int_equal(strata_option_set(f->engine, "flow.l1_part", "0", NULL), STRATA_OK);
    assert_null(test_peek(f->session, f->ns, "k"));
    assert_int_equal(roll(f, (strata_rollout){.l1_per_mille = 1000}), STRATA_OK);
    assert_null(test_peek(f->session, f->ns, "k"));
    strata_namespace *late = test_engine_ns(f->engine, "late");
    assert_int_equal(test_set(f->session, late, "k", "v"), STRATA_OK);
    assert_null(test_peek(f->session, late, "k"));
    assert_int_equal(strata_option_set(f->engine, "flow.l1_part", "100%", NULL), STRATA_OK);
    assert_string_equal(test_peek(f->session, f->ns, "k"), "v");
    assert_null(test_peek(f->session, late, "k")); /* it was not kept */
}

/* What a set or a load replaces while L1 is off must not come back with L1. */
static void nothing_old_comes_back(void **state) {
    fixture *f = *state;
    const char *const keys[] = {"set", "load", "invalidated", "kept"};
    for (int i = 0; i < 4; i++) assert_int_equal(test_set(f->session, f->ns, keys[i], "old"), STRATA_OK);
    assert_int_equal(roll(f, (strata_rollout){.flags = STRATA_ROLLOUT_L1_OFF}), STRATA_OK);
    assert_int_equal(test_set(f->session, f->ns, "set", "new"), STRATA_OK);
    assert_int_equal(fixture_get_or_load(f, "load", NULL), STRATA_OK);
    assert_int_equal(strata_invalidate_wait(f->session, f->ns, test_bytes("invalidated"), NULL), STRATA_OK);
    for (int i = 0; i < 4; i++) assert_null(test_get(f->session, f->ns, keys[i]));
    assert_int_equal(roll(f, (strata_rollout){0}), STRATA_OK);
    for (int i = 0; i < 3; i++) assert_null(test_peek(f->session, f->ns, keys[i]));
    assert_string_equal(test_peek(f->session, f->ns, "kept"), "old");
}

static int32_t load_how(fixture *f, const char *key, uint32_t flags) {
    strata_op_options options = {.struct_size = sizeof options, .flags = flags, .deadline_ms = 3000};
    return fixture_get_or_load(f, key, &options);
}

static void operations_pass_by(void **state) {
    fixture *f = *state;
    f->value = "first";
    assert_int_equal(load_how(f, "k", 0), STRATA_OK);
    f->value = "second";
    assert_int_equal(load_how(f, "k", STRATA_BYPASS), STRATA_OK); /* for its caller alone */
    assert_int_equal(f->source, STRATA_FROM_LOADER);
    assert_int_equal(f->calls, 2);
    assert_string_equal(test_peek(f->session, f->ns, "k"), "first");
    assert_int_equal(load_how(f, "k", STRATA_BYPASS_L2), STRATA_OK);
    assert_int_equal(f->source, STRATA_FROM_L1);
    f->value = "third";
    assert_int_equal(load_how(f, "k", STRATA_REFRESH), STRATA_OK);
    assert_int_equal(f->source, STRATA_FROM_LOADER);
    assert_string_equal(test_peek(f->session, f->ns, "k"), "third");
    assert_int_equal(f->calls, 3);
    assert_int_equal(load_how(f, "k", STRATA_REFRESH | STRATA_BYPASS_L2), STRATA_E_INVALID);
    assert_int_equal(load_how(f, "k", 0x10), STRATA_E_INVALID);
}

/* A failure is not covered by what L1 holds of a key that is without it. */
static void what_is_out_covers_nothing(void **state) {
    fixture *f = *state;
    assert_int_equal(fixture_policy(f, (strata_namespace_policy){.ttl_ms = 1000, .stale_if_failing_ms = 20000, .throttle_ms = 1}), STRATA_OK);
    f->value = "old";
    assert_int_equal(load_how(f, "k", 0), STRATA_OK);
    fixture_advance(f, 2000);
    f->status = STRATA_E_LOAD_FAILED;
    assert_int_equal(roll(f, (strata_rollout){.flags = STRATA_ROLLOUT_L1_OFF}), STRATA_OK);
    assert_int_equal(load_how(f, "k", 0), STRATA_E_LOAD_FAILED);
    assert_int_equal(roll(f, (strata_rollout){0}), STRATA_OK);
    assert_int_equal(load_how(f, "k", 0), STRATA_STALE);
    assert_string_equal(f->text, "old");
}

/* What a load that began before brings is no answer to who wants it loaded anew. */
static void a_load_under_way_is_too_old(void **state) {
    fixture *f = *state;
    fixture_hold(f, "k");
    strata_load *first = f->kept;
    strata_op_options options = {.struct_size = sizeof options, .flags = STRATA_REFRESH, .deadline_ms = 5000};
    strata_result result;
    f->value = "new";
    assert_int_equal(strata_get_or_load(f->session, f->ns, test_bytes("k"), &options, fixture_load, f, &result, fixture_done, f), STRATA_PENDING);
    assert_int_equal(strata_load_finish(first, STRATA_OK, test_bytes("old"), NULL), STRATA_OK);
    for (int i = 0; i < 3000 && f->answers != 2; i++) (void)strata_session_wait(f->session, 10);
    assert_int_equal(f->answers, 2);
    assert_int_equal(f->calls, 2);
    assert_string_equal(test_peek(f->session, f->ns, "k"), "new");
}

/* Nothing older stays where what was loaded in its place is not kept, or where the source has nothing any more. */
static void what_is_not_kept_replaces_too(void **state) {
    fixture *f = *state;
    f->value = "first";
    assert_int_equal(load_how(f, "k", 0), STRATA_OK);
    f->value = "second";
    assert_int_equal(load_how(f, "k", STRATA_REFRESH | STRATA_BYPASS_L1), STRATA_OK);
    assert_null(test_peek(f->session, f->ns, "k"));
    assert_int_equal(load_how(f, "k", 0), STRATA_OK);
    f->status = STRATA_MISS;
    assert_int_equal(load_how(f, "k", STRATA_BYPASS), STRATA_MISS); /* for its caller alone */
    assert_string_equal(test_peek(f->session, f->ns, "k"), "second");
    assert_int_equal(load_how(f, "k", STRATA_REFRESH), STRATA_MISS);
    assert_null(test_peek(f->session, f->ns, "k"));
}

/* But not what was set meanwhile: nobody else has that. */
static void what_was_set_meanwhile_stays(void **state) {
    fixture *f = *state;
    strata_bytes unknown = test_bytes("never seen");
    strata_load_result late = {.struct_size = sizeof late, .tags = &unknown, .tag_count = 1};
    static const int32_t ends[] = {STRATA_OK, STRATA_MISS};
    for (int i = 0; i < 2; i++) {
        fixture_hold(f, "k");
        assert_int_equal(test_set(f->session, f->ns, "k", "set"), STRATA_OK);
        assert_int_equal(strata_load_finish(f->kept, ends[i], test_bytes("loaded"), &late), STRATA_OK);
        for (int wait = 0; wait < 3000 && f->answers != 1; wait++) (void)strata_session_wait(f->session, 10);
        assert_int_equal(f->answers, 1);
        assert_string_equal(test_peek(f->session, f->ns, "k"), "set");
        assert_int_equal(strata_invalidate_wait(f->session, f->ns, test_bytes("k"), NULL), STRATA_OK);
    }
}

/* Who wants it loaded anew meanwhile takes nothing from what a load brings, also where that one's own fails. */
static void a_later_load_may_fail(void **state) {
    fixture *f = *state;
    strata_op_options options = {.struct_size = sizeof options, .flags = STRATA_REFRESH, .deadline_ms = 5000};
    strata_result result;
    f->value = "first";
    assert_int_equal(load_how(f, "k", 0), STRATA_OK);
    f->keep = true;
    f->answers = 0;
    assert_int_equal(strata_get_or_load(f->session, f->ns, test_bytes("k"), &options, fixture_load, f, &result, fixture_done, f), STRATA_PENDING);
    for (int i = 0; i < 3000 && f->kept == NULL; i++) (void)strata_session_wait(f->session, 10);
    assert_non_null(f->kept);
    f->keep = false;
    f->status = STRATA_E_LOAD_FAILED;
    assert_int_equal(strata_get_or_load(f->session, f->ns, test_bytes("k"), &options, fixture_load, f, &result, fixture_done, f), STRATA_PENDING);
    assert_int_equal(strata_load_finish(f->kept, STRATA_OK, test_bytes("second"), NULL), STRATA_OK);
    for (int i = 0; i < 3000 && f->answers != 2; i++) (void)strata_session_wait(f->session, 10);
    assert_int_equal(f->answers, 2);
    assert_int_equal(f->answered, STRATA_E_LOAD_FAILED);
    assert_string_equal(test_peek(f->session, f->ns, "k"), "second");
}

static void refused(void **state) {
    fixture *f = *state;
    strata_error error;
    strata_rollout rollout = {.struct_size = sizeof rollout, .l1_per_mille = 1001};
    assert_int_equal(strata_namespace_rollout_set(f->ns, &rollout, &error), STRATA_E_CONFIG);
    assert_string_equal(error.text, "rollout field 'l1_per_mille' must be 0 .. 1000");
    rollout = (strata_rollout){.struct_size = sizeof rollout, .flags = 4};
    assert_int_equal(strata_namespace_rollout_set(f->ns, &rollout, NULL), STRATA_E_CONFIG);
    rollout.struct_size = 3;
    assert_int_equal(strata_namespace_rollout_set(f->ns, &rollout, NULL), STRATA_E_INVALID);
    assert_int_equal(roll(f, (strata_rollout){.flags = STRATA_ROLLOUT_OFF, .l2_per_mille = 7}), STRATA_OK);
    rollout = (strata_rollout){.struct_size = sizeof rollout};
    assert_int_equal(strata_namespace_rollout_get(f->ns, &rollout), STRATA_OK);
    assert_int_equal(rollout.flags, STRATA_ROLLOUT_OFF);
    assert_int_equal(rollout.l2_per_mille, 7);
    assert_int_equal(strata_option_set(f->engine, "flow.l1_part", "101", NULL), STRATA_E_CONFIG);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(parts_are_kept_as_they_grow, setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(options_bound_all_namespaces, setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(nothing_old_comes_back, setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(operations_pass_by, setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(what_is_out_covers_nothing, setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(a_load_under_way_is_too_old, setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(a_later_load_may_fail, setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(what_is_not_kept_replaces_too, setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(what_was_set_meanwhile_stays, setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(refused, setup, fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
