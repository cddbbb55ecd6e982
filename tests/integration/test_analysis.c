/* SPDX-License-Identifier: Apache-2.0 */
/* Usage analysis and adaptive times to live against a cluster: what another process writes is seen here too, and once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/cluster.h"
#include "tests/support/engine.h"

enum { KEYS = 20, ROUNDS = 30 };

typedef struct side {
    strata *engine;
    strata_namespace *ns;
    strata_session *session;
} side;

static void open_side(side *s, const sx_cluster *cluster) {
    s->engine = test_engine_open(TEST_OPTIONS("l2.nodes", sx_cluster_seeds(cluster), "l2.open_wait", "5s", "flow.analysis_sample", "1",
                                              "flow.deadline", "10s", "flow.ttl_jitter", "0"), NULL);
    s->ns = test_engine_ns(s->engine, "users");
    s->session = test_engine_session(s->engine);
    assert_int_equal(strata_namespace_analyze(s->ns, STRATA_ANALYZE_ON), STRATA_OK);
    test_engine_await_trust(s->engine, 30000);
}

static void close_side(side *s) {
    strata_session_close(s->session);
    assert_int_equal(strata_close(s->engine, 5000), STRATA_OK);
}

static int64_t intervals(const side *s) {
    strata_histogram h = {.struct_size = sizeof h};
    assert_int_equal(strata_analysis_histogram(s->ns, STRATA_ANALYZED_WRITE_INTERVAL, &h), STRATA_OK);
    return h.count;
}

static int64_t await_intervals(const side *s, int64_t count) {
    for (int64_t end_ms = test_now_ms() + 20000; intervals(s) < count && test_now_ms() < end_ms;) test_sleep_ms(10);
    return intervals(s);
}

static void write_all(const side *s, bool set) {
    for (int i = 0; i < KEYS; i++) {
        char key[16];
        snprintf(key, sizeof key, "%d", i);
        if (set) assert_int_equal(test_set(s->session, s->ns, key, "value"), STRATA_OK);
        else assert_int_equal(strata_invalidate_wait(s->session, s->ns, test_bytes(key), NULL), STRATA_OK);
    }
}

static void writes_are_seen_everywhere_and_once(void **state) {
    (void)state;
    sx_cluster *cluster = test_cluster_start(&(sx_cluster_options){.primaries = 3});
    side one, other;
    open_side(&one, cluster);
    open_side(&other, cluster);
    for (int round = 0; round < ROUNDS; round++) write_all(round % 2 == 0 ? &one : &other, round % 3 != 0);
    assert_true(await_intervals(&one, KEYS * (ROUNDS - 1)) >= KEYS * ROUNDS / 2); /* a connection may break, and what it missed with it */
    assert_true(await_intervals(&other, KEYS * (ROUNDS - 1)) >= KEYS * ROUNDS / 2);
    test_sleep_ms(200); /* what would be told twice would have come by now */
    assert_true(intervals(&one) <= KEYS * (ROUNDS - 1) && intervals(&other) <= KEYS * (ROUNDS - 1));
    int64_t ttl_ms;
    assert_int_equal(strata_namespace_suggested_ttl(other.ns, &ttl_ms), STRATA_OK);
    assert_true(ttl_ms >= 16 && ttl_ms < 3600000);
    strata_namespace_policy policy = {.struct_size = sizeof policy, .ttl_ms = 50000000, .ttl_adaptive_min_ms = 7200000, .ttl_adaptive_max_ms = 9000000};
    assert_int_equal(strata_namespace_policy_set(other.ns, &policy, NULL), STRATA_OK);
    assert_int_equal(test_set(other.session, other.ns, "7", "adapted"), STRATA_OK);
    strata_result result;
    assert_int_equal(strata_get_wait(one.session, one.ns, test_bytes("7"), NULL, &result), STRATA_OK); /* its least, as L2 has it */
    assert_true(result.ttl_ms > 3600000 && result.ttl_ms <= 7200000 + 1000);
    strata_result_release(one.session, &result);
    close_side(&other);
    close_side(&one);
    sx_cluster_stop(cluster);
}

static void load_it(strata_load *load, void *user) {
    (void)user;
    (void)strata_load_finish(load, STRATA_OK, test_bytes("loaded"), NULL);
}

/* Fills are no writes; reads that L2 or a loader answers are reads. */
static void loads_are_no_writes(void **state) {
    (void)state;
    sx_cluster *cluster = test_cluster_start(&(sx_cluster_options){.primaries = 3});
    side one;
    open_side(&one, cluster);
    for (int i = 0; i < 100; i++) {
        char key[16];
        strata_result result;
        snprintf(key, sizeof key, "%d", i % 50);
        assert_int_equal(strata_get_or_load_wait(one.session, one.ns, test_bytes(key), NULL, load_it, NULL, &result), STRATA_OK);
        strata_result_release(one.session, &result);
    }
    strata_analysis a = {.struct_size = sizeof a};
    assert_int_equal(strata_analysis_read(one.ns, &a), STRATA_OK);
    assert_true(a.sampled == 100 && a.missed >= 50);
    assert_int_equal(intervals(&one), 0);
    strata_hot_key hot[100];
    size_t count;
    assert_int_equal(strata_analysis_hot_keys(one.ns, hot, 100, &count), STRATA_OK);
    assert_int_equal(count, 50);
    close_side(&one);
    sx_cluster_stop(cluster);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_are_seen_everywhere_and_once),
        cmocka_unit_test(loads_are_no_writes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
