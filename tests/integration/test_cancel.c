/* SPDX-License-Identifier: Apache-2.0 */
/* What is cancelled where there is an L2: the lease of a load that nobody wants is given back, a read's answer is kept all the same, and
   a write is executed or not, but never half. And what those have who can't wait. */
// ctest: timeout=180
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
    sx_cluster_options options = {.primaries = 3, .node_timeout_ms = 20000};
    cluster = test_cluster_start(&options);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    sx_cluster_stop(cluster);
    return 0;
}

/* Trust lasts for longer than the servers are paused here, where that is not what is looked at. */
static void open_side(test_side *side, const char *ns) {
    test_side_open(side, ns, TEST_OPTIONS("l2.nodes", sx_cluster_seeds(cluster), "l2.open_wait", "10s", "coherence.lease", "60s", "coherence.max_staleness", "5s",
                                          "flow.l2_timeout", "20s", "flow.load_timeout", "10m", "flow.deadline", "60s"), NULL);
}

static strata_op_options by(uint64_t id) {
    return (strata_op_options){.struct_size = sizeof(strata_op_options), .cancel_id = id, .deadline_ms = 120000};
}

static void begin_load(test_side *side, const char *key, uint64_t id) {
    strata_op_options options = by(id);
    strata_result result;
    assert_int_equal(strata_get_or_load(side->session, side->ns, test_bytes(key), &options, test_side_load, side, &result, test_side_done, side),
                     STRATA_PENDING);
}

static void settle(test_side *side) {
    for (int64_t end_ms = test_now_ms() + 30000; test_metric(side->engine, "flow.pending") != 0 && test_now_ms() < end_ms;)
        (void)strata_session_wait(side->session, 10);
    assert_int_equal(test_metric(side->engine, "flow.pending"), 0);
}

/* A took the lease, which is good for a minute, and its loader waits for a thread that does other things. B need not wait for that. */
static void the_lease_of_a_load_not_started_is_given_back(void **state) {
    (void)state;
    test_side a, b;
    open_side(&a, "given");
    open_side(&b, "given");
    a.value = "of a";
    begin_load(&a, "k", 1);
    assert_true(test_metric_wait(a.engine, "flow.loads", 1, 20000));
    assert_int_equal(strata_cancel(a.session, 1), 1);
    int64_t start_ms = test_now_ms();
    assert_string_equal(test_side_read(&b, "k", "of b", NULL), "of b");
    assert_true(test_now_ms() - start_ms < 30000);
    test_side_await(&a, 1);
    assert_int_equal(a.status, STRATA_E_CANCELLED);
    assert_int_equal(a.calls, 0);
    settle(&a);
    test_side_close(&a);
    test_side_close(&b);
}

/* Likewise of one that runs, and stops because it was told. */
static void so_is_that_of_one_which_stops(void **state) {
    (void)state;
    test_side a, b;
    open_side(&a, "stopped");
    open_side(&b, "stopped");
    a.value = NULL; /* it keeps its load */
    begin_load(&a, "k", 1);
    for (int64_t end_ms = test_now_ms() + 20000; a.kept == NULL && test_now_ms() < end_ms;) (void)strata_session_wait(a.session, 10);
    assert_non_null(a.kept);
    assert_false(strata_load_is_cancelled(a.kept));
    assert_int_equal(strata_cancel(a.session, 1), 1);
    assert_true(strata_load_is_cancelled(a.kept));
    assert_int_equal(strata_load_finish(a.kept, STRATA_E_CANCELLED, test_bytes(""), NULL), STRATA_OK);
    int64_t start_ms = test_now_ms();
    assert_string_equal(test_side_read(&b, "k", "of b", NULL), "of b");
    assert_true(test_now_ms() - start_ms < 30000);
    test_side_await(&a, 1);
    assert_int_equal(a.status, STRATA_E_CANCELLED);
    assert_int_equal(test_metric(a.engine, "flow.load_failures"), 0);
    settle(&a);
    test_side_close(&a);
    test_side_close(&b);
}

/* What L2 was asked goes on without who asked, and L1 has what it answered. */
static void a_read_of_l2_fills_l1_all_the_same(void **state) {
    (void)state;
    test_side a, b;
    open_side(&a, "filled");
    open_side(&b, "filled");
    assert_int_equal(test_set(a.session, a.ns, "k", "v"), STRATA_OK);
    strata_op_options options = by(2);
    strata_result result;
    /* Paused for less than what ends trust; a machine that stands still for longer has it tried again. */
    const char *text = NULL;
    for (int64_t end_ms = test_now_ms() + 60000; text == NULL && test_now_ms() < end_ms;) {
        test_engine_await_trust(b.engine, 20000);
        b.answers = 0;
        for (uint32_t i = 0; i < 3; i++) assert_int_equal(sx_cluster_pause(cluster, i), 0);
        int64_t sent = test_metric(b.engine, "l2.commands");
        int32_t status = strata_get(b.session, b.ns, test_bytes("k"), &options, &result, test_side_done, &b);
        bool asked = test_metric_wait(b.engine, "l2.commands", sent + 1, 10000);
        int32_t ended = strata_cancel(b.session, 2);
        for (uint32_t i = 0; i < 3; i++) assert_int_equal(sx_cluster_resume(cluster, i), 0);
        assert_int_equal(status, STRATA_PENDING);
        assert_true(asked);
        assert_int_equal(ended, 1);
        test_side_await(&b, 1);
        assert_int_equal(b.status, STRATA_E_CANCELLED);
        for (int64_t until_ms = test_now_ms() + 5000; text == NULL && test_now_ms() < until_ms; test_sleep_ms(1)) text = test_peek(b.session, b.ns, "k");
    }
    assert_string_equal(text, "v");
    test_side_close(&a);
    test_side_close(&b);
}

static void a_write_is_not_undone(void **state) {
    (void)state;
    test_side a, b;
    open_side(&a, "written");
    open_side(&b, "written");
    for (uint64_t i = 1; i <= 50; i++) {
        strata_op_options options = by(i);
        a.answers = 0;
        assert_int_equal(test_set(b.session, b.ns, "k", "old"), STRATA_OK);
        assert_int_equal(strata_set(a.session, a.ns, test_bytes("k"), test_bytes("new"), &options, test_side_done, &a), STRATA_PENDING);
        int32_t ended = strata_cancel(a.session, i);
        test_side_await(&a, 1);
        assert_int_equal(a.status, ended == 1 ? STRATA_E_CANCELLED : STRATA_OK);
        settle(&a);
        assert_int_equal(a.answers, 1);
        /* L2 was up: it was executed, and everybody is told so. */
        assert_string_equal(test_get(a.session, a.ns, "k"), "new");
        const char *text = NULL;
        for (int64_t end_ms = test_now_ms() + 20000; test_now_ms() < end_ms; test_sleep_ms(1)) {
            text = test_get(b.session, b.ns, "k");
            if (text != NULL && strcmp(text, "new") == 0) break;
        }
        assert_string_equal(text, "new");
    }
    assert_true(test_metric(a.engine, "flow.cancelled") > 0);
    test_side_close(&a);
    test_side_close(&b);
}

/* What is neither read nor write of one key: counted, touched, tagged, cleared. */
static void others_likewise(void **state) {
    (void)state;
    test_side a;
    open_side(&a, "others");
    strata_op_options options = by(3);
    strata_bytes tag = test_bytes("t");
    strata_result result;
    assert_int_equal(strata_incr(a.session, a.ns, test_bytes("n"), 1, &options, test_side_done, &a), STRATA_PENDING);
    assert_int_equal(strata_invalidate_tags(a.session, &tag, 1, &options, test_side_done, &a), STRATA_PENDING);
    assert_int_equal(strata_clear(a.session, a.ns, &options, test_side_done, &a), STRATA_PENDING);
    assert_int_equal(strata_touch(a.session, a.ns, test_bytes("k"), &options, &result, test_side_done, &a), STRATA_PENDING);
    assert_int_equal(strata_invalidate(a.session, a.ns, test_bytes("k"), &options, test_side_done, &a), STRATA_PENDING);
    int32_t ended = strata_cancel(a.session, 3);
    test_side_await(&a, 5);
    assert_int_equal(test_metric(a.engine, "flow.cancelled"), ended);
    settle(&a);
    assert_int_equal(a.answers, 5);
    test_side_close(&a);
}

/* ---- who is refused, as those who wait are too many ------------------------------------------------------------------ */

/* Until the read is answered so: trust may have lapsed for a moment, or not yet. */
static uint8_t await_answer(test_side *side, int32_t status) {
    strata_result result = {0};
    int32_t now = STRATA_MISS;
    for (int64_t end_ms = test_now_ms() + 60000; now != status && test_now_ms() < end_ms; test_sleep_ms(5)) {
        now = strata_get_or_load_wait(side->session, side->ns, test_bytes("k"), NULL, test_side_load, side, &result);
        if (now == STRATA_STALE || now == STRATA_OK) strata_result_release(side->session, &result);
    }
    assert_int_equal(now, status);
    return result.reason;
}

/* He is handed what a hit could be, past its end: not what nobody can prove any more. */
static void who_is_refused_has_what_is_proven(void **state) {
    (void)state;
    test_side a;
    open_side(&a, "crowded");
    strata_namespace_policy policy = {.struct_size = sizeof policy, .ttl_ms = 300, .ttl_jitter_percent = STRATA_NO_JITTER,
                                      .stale_if_failing_ms = 600000, .waiters_max = 1};
    assert_int_equal(strata_namespace_policy_set(a.ns, &policy, NULL), STRATA_OK);
    assert_string_equal(test_side_read(&a, "k", "v", NULL), "v");
    test_sleep_ms(400);
    a.value = NULL; /* it keeps its load */
    begin_load(&a, "k", 1);
    for (int64_t end_ms = test_now_ms() + 20000; a.kept == NULL && test_now_ms() < end_ms;) (void)strata_session_wait(a.session, 10);
    assert_non_null(a.kept);
    assert_int_equal(await_answer(&a, STRATA_STALE), STRATA_REASON_CROWDED);
    for (uint32_t i = 0; i < 3; i++) assert_int_equal(sx_cluster_pause(cluster, i), 0);
    (void)await_answer(&a, STRATA_E_OVERLOADED);
    for (uint32_t i = 0; i < 3; i++) assert_int_equal(sx_cluster_resume(cluster, i), 0);
    assert_true(test_metric(a.engine, "flow.crowded") > 0);
    assert_int_equal(strata_load_finish(a.kept, STRATA_OK, test_bytes("w"), NULL), STRATA_OK);
    test_side_await(&a, 1);
    test_side_close(&a);
}

int main(void) {
    if (!sx_cluster_available()) return 77;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_lease_of_a_load_not_started_is_given_back),
        cmocka_unit_test(so_is_that_of_one_which_stops),
        cmocka_unit_test(a_read_of_l2_fills_l1_all_the_same),
        cmocka_unit_test(a_write_is_not_undone),
        cmocka_unit_test(others_likewise),
        cmocka_unit_test(who_is_refused_has_what_is_proven),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
