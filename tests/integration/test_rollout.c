/* SPDX-License-Identifier: Apache-2.0 */
/* Rollout against a cluster: what another process sees of one that is without a tier, and values loaded anew for all. */
// ctest: timeout=120
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/cluster.h"
#include "tests/support/engine.h"
#include "tests/support/side.h"

static sx_cluster *cluster;

static int setup(void **state) {
    (void)state;
    sx_cluster_options options = {.primaries = 3};
    cluster = test_cluster_start(&options);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    sx_cluster_stop(cluster);
    return 0;
}

static void open_side(test_side *side, const char *ns) {
    *side = (test_side){0};
    test_side_open(side, ns, TEST_OPTIONS("l2.nodes", sx_cluster_seeds(cluster), "l2.open_wait", "10s", "flow.ttl_jitter", "0"), NULL);
}

static void roll(test_side *side, uint32_t flags) {
    strata_rollout rollout = {.struct_size = sizeof rollout, .flags = flags};
    assert_int_equal(strata_namespace_rollout_set(side->ns, &rollout, NULL), STRATA_OK);
}

static const char *load_how(test_side *side, const char *key, const char *value, uint32_t flags, uint8_t *source) {
    static char text[32];
    strata_op_options options = {.struct_size = sizeof options, .flags = flags, .deadline_ms = 5000};
    strata_result result;
    side->value = value;
    assert_int_equal(strata_get_or_load_wait(side->session, side->ns, test_bytes(key), &options, test_side_load, side, &result), STRATA_OK);
    memcpy(text, result.value.data, result.value.size);
    text[result.value.size] = 0;
    *source = result.source;
    strata_result_release(side->session, &result);
    return text;
}

/* Entries go on being invalidated while L1 is off, so that they may be answered when it is on again: those that still hold. */
static void l1_off_misses_nothing(void **state) {
    (void)state;
    test_side a, b;
    open_side(&a, "l1off");
    open_side(&b, "l1off");
    assert_int_equal(test_set(a.session, a.ns, "changed", "old"), STRATA_OK);
    assert_int_equal(test_set(a.session, a.ns, "same", "old"), STRATA_OK);
    assert_string_equal(test_get(b.session, b.ns, "changed"), "old");
    assert_string_equal(test_get(b.session, b.ns, "same"), "old");
    roll(&b, STRATA_ROLLOUT_L1_OFF);
    assert_null(test_peek(b.session, b.ns, "changed"));
    assert_string_equal(test_get(b.session, b.ns, "changed"), "old"); /* from L2 */
    int64_t messages = test_metric(b.engine, "coherence.messages");
    assert_int_equal(test_set(a.session, a.ns, "changed", "new"), STRATA_OK);
    assert_string_equal(test_get(b.session, b.ns, "changed"), "new");
    assert_int_equal(test_set(b.session, b.ns, "own", "value"), STRATA_OK);
    assert_true(test_metric_wait(b.engine, "coherence.messages", messages + 2, 5000));
    roll(&b, 0);
    assert_null(test_peek(b.session, b.ns, "changed"));
    assert_null(test_peek(b.session, b.ns, "own"));
    assert_string_equal(test_peek(b.session, b.ns, "same"), "old");
    assert_string_equal(test_get(b.session, b.ns, "changed"), "new");
    test_side_close(&a);
    test_side_close(&b);
}

static void l2_off_reads_and_stores_nothing_there(void **state) {
    (void)state;
    uint8_t source;
    test_side a, b;
    open_side(&a, "l2off");
    open_side(&b, "l2off");
    assert_int_equal(test_set(a.session, a.ns, "k", "stored"), STRATA_OK);
    assert_int_equal(test_set(a.session, a.ns, "held", "stored"), STRATA_OK);
    assert_string_equal(test_get(b.session, b.ns, "held"), "stored");
    roll(&b, STRATA_ROLLOUT_L2_OFF);
    int64_t hits = test_metric(b.engine, "l2.hits"), misses = test_metric(b.engine, "l2.misses");
    assert_string_equal(test_get(b.session, b.ns, "held"), "stored"); /* L1's, and proven */
    assert_null(test_get(b.session, b.ns, "k"));
    assert_string_equal(load_how(&b, "k", "loaded", 0, &source), "loaded");
    assert_int_equal(source, STRATA_FROM_LOADER);
    assert_null(test_peek(b.session, b.ns, "k")); /* for who waited */
    assert_int_equal(test_metric(b.engine, "l2.hits"), hits);
    assert_int_equal(test_metric(b.engine, "l2.misses"), misses);
    assert_string_equal(test_get(a.session, a.ns, "k"), "stored");
    /* A set is an invalidation, which everybody hears of. */
    assert_int_equal(test_set(b.session, b.ns, "k", "set"), STRATA_OK);
    assert_int_equal(strata_invalidate_wait(b.session, b.ns, test_bytes("held"), NULL), STRATA_OK);
    test_side_await_gone(&a, "k");
    test_side_await_gone(&a, "held");
    assert_null(test_get(a.session, a.ns, "k"));
    assert_null(test_get(a.session, a.ns, "held"));
    roll(&b, 0);
    assert_null(test_get(b.session, b.ns, "k"));
    assert_string_equal(load_how(&b, "k", "again", 0, &source), "again");
    assert_string_equal(test_get(a.session, a.ns, "k"), "again");
    test_side_close(&a);
    test_side_close(&b);
}

static void one_call_passes_by_l2(void **state) {
    (void)state;
    uint8_t source;
    test_side a;
    open_side(&a, "bypass");
    assert_int_equal(test_set(a.session, a.ns, "k", "stored"), STRATA_OK);
    assert_string_equal(load_how(&a, "k", "own", STRATA_BYPASS, &source), "own");
    assert_int_equal(source, STRATA_FROM_LOADER);
    assert_string_equal(test_peek(a.session, a.ns, "k"), "stored");
    assert_string_equal(load_how(&a, "k", "own", STRATA_BYPASS_L2, &source), "stored");
    strata_op_options past_both = {.struct_size = sizeof past_both, .flags = STRATA_BYPASS};
    strata_result result;
    assert_int_equal(strata_get_wait(a.session, a.ns, test_bytes("k"), &past_both, &result), STRATA_MISS);
    /* One that waits with others for L2 is not answered by it. */
    test_side_hold(&a, "other", NULL);
    strata_op_options options = {.struct_size = sizeof options, .flags = STRATA_BYPASS, .deadline_ms = 5000};
    a.value = "fresh";
    assert_int_equal(strata_get_or_load(a.session, a.ns, test_bytes("other"), &options, test_side_load, &a, &result, test_side_done, &a),
                     STRATA_PENDING);
    assert_int_equal(strata_load_finish(a.kept, STRATA_OK, test_bytes("held"), NULL), STRATA_OK);
    test_side_await(&a, 2);
    assert_string_equal(a.answer, "held"); /* a load under way is as good */
    test_side_close(&a);
}

static void loaded_anew(void **state) {
    (void)state;
    uint8_t source;
    test_side a, b;
    open_side(&a, "renew");
    open_side(&b, "renew");
    assert_string_equal(load_how(&a, "k", "first", 0, &source), "first");
    assert_string_equal(test_get(b.session, b.ns, "k"), "first");
    assert_string_equal(load_how(&a, "k", "second", STRATA_REFRESH, &source), "second");
    assert_int_equal(source, STRATA_FROM_LOADER);
    assert_string_equal(test_peek(a.session, a.ns, "k"), "second");
    assert_string_equal(test_peek(b.session, b.ns, "k"), "first"); /* nobody has said that this is wrong */
    /* Nothing there: as any load. */
    assert_string_equal(load_how(&a, "new", "x", STRATA_REFRESH, &source), "x");
    assert_string_equal(test_get(b.session, b.ns, "new"), "x");
    /* A get asks L2. */
    strata_op_options refresh = {.struct_size = sizeof refresh, .flags = STRATA_REFRESH, .deadline_ms = 5000};
    strata_result result;
    assert_int_equal(strata_get_wait(b.session, b.ns, test_bytes("k"), &refresh, &result), STRATA_OK);
    assert_int_equal(result.source, STRATA_FROM_L2);
    strata_result_release(b.session, &result);
    assert_string_equal(test_peek(b.session, b.ns, "k"), "second"); /* L1 was filled */
    assert_int_equal(b.calls, 0);
    test_side_close(&a);
    test_side_close(&b);
}

/* A value that was answered is not followed by the one that it replaced, also where it was not to be kept in L1. */
static void what_was_replaced_is_not_answered_again(void **state) {
    (void)state;
    uint8_t source;
    test_side a, b;
    open_side(&a, "replaced");
    open_side(&b, "replaced");
    strata_op_options past = {.struct_size = sizeof past, .flags = STRATA_BYPASS_L1, .deadline_ms = 5000};
    strata_result result;
    assert_string_equal(load_how(&a, "k", "first", 0, &source), "first");
    assert_string_equal(test_get(b.session, b.ns, "k"), "first");
    assert_string_equal(load_how(&a, "k", "second", STRATA_REFRESH | STRATA_BYPASS_L1, &source), "second"); /* by itself */
    assert_string_equal(test_get(a.session, a.ns, "k"), "second");
    assert_int_equal(strata_get_wait(b.session, b.ns, test_bytes("k"), &past, &result), STRATA_OK); /* by another */
    assert_memory_equal(result.value.data, "second", 6);
    strata_result_release(b.session, &result);
    assert_string_equal(test_get(b.session, b.ns, "k"), "second");
    roll(&a, STRATA_ROLLOUT_L1_OFF);
    assert_string_equal(load_how(&a, "k", "third", STRATA_REFRESH, &source), "third");
    roll(&a, 0);
    assert_string_equal(test_get(a.session, a.ns, "k"), "third");
    /* Nothing leaves L1 where it is the same. */
    assert_int_equal(strata_get_wait(a.session, a.ns, test_bytes("k"), &past, &result), STRATA_OK);
    strata_result_release(a.session, &result);
    assert_string_equal(test_peek(a.session, a.ns, "k"), "third");
    test_side_close(&a);
    test_side_close(&b);
}

/* Of two who want it loaded anew at the same time, each is answered by a load of its own, and a write in between wins. */
static void refreshes_meet(void **state) {
    (void)state;
    uint8_t source;
    test_side a, b;
    open_side(&a, "meet");
    open_side(&b, "meet");
    assert_string_equal(load_how(&a, "k", "first", 0, &source), "first");
    strata_op_options refresh = {.struct_size = sizeof refresh, .flags = STRATA_REFRESH, .deadline_ms = 10000};
    strata_result result;
    a.value = NULL;
    assert_int_equal(strata_get_or_load(a.session, a.ns, test_bytes("k"), &refresh, test_side_load, &a, &result, test_side_done, &a),
                     STRATA_PENDING);
    for (int i = 0; i < 500 && a.kept == NULL; i++) (void)strata_session_wait(a.session, 10);
    assert_non_null(a.kept);
    int before = b.calls;
    assert_string_equal(load_how(&b, "k", "other", STRATA_REFRESH, &source), "other"); /* a has the claim: not stored */
    assert_int_equal(b.calls, before + 1);
    assert_int_equal(test_set(b.session, b.ns, "k", "written"), STRATA_OK);
    assert_int_equal(strata_load_finish(a.kept, STRATA_OK, test_bytes("late"), NULL), STRATA_OK);
    test_side_await(&a, 1);
    assert_string_equal(a.answer, "late");
    assert_string_equal(test_get(b.session, b.ns, "k"), "written");
    for (int i = 0; i < 200 && strcmp(test_get(a.session, a.ns, "k"), "written") != 0; i++) test_sleep_ms(10);
    assert_string_equal(test_get(a.session, a.ns, "k"), "written");
    test_side_close(&a);
    test_side_close(&b);
}

int main(void) {
    if (!sx_cluster_available()) return 77;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(l1_off_misses_nothing),   cmocka_unit_test(l2_off_reads_and_stores_nothing_there),
        cmocka_unit_test(one_call_passes_by_l2),   cmocka_unit_test(loaded_anew),
        cmocka_unit_test(refreshes_meet),          cmocka_unit_test(what_was_replaced_is_not_answered_again),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
