/* SPDX-License-Identifier: Apache-2.0 */
/* What was loaded anew, which may have the n of what it replaces, is not followed by that: also where it is answered before L2 has
   taken it, where nobody knows whether it did, and past its end. A reads by a proxy that holds up its data, while its subscriptions,
   and so its trust, go on. */
// ctest: timeout=600
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/cluster.h"
#include "tests/support/engine.h"
#include "tests/support/proxy.h"
#include "tests/support/side.h"

#define NODES        3
#define KEEP_MS      60000
#define ENOUGH_MS    5000

static sx_cluster *cluster;
static proxy *between;
static char nat[256], seeds[128];

static int setup(void **state) {
    (void)state;
    uint16_t ports[NODES];
    cluster = test_cluster_start(&(sx_cluster_options){.primaries = NODES, .node_timeout_ms = 20000});
    for (uint32_t i = 0; i < NODES; i++) ports[i] = sx_cluster_port(cluster, i);
    between = proxy_start(ports, NODES);
    if (between == NULL) return -1;
    for (uint32_t i = 0; i < NODES; i++) {
        size_t used = strlen(nat), seeded = strlen(seeds);
        snprintf(nat + used, sizeof nat - used, "%s127.0.0.1:%u=127.0.0.1:%u", i == 0 ? "" : ",", ports[i], proxy_port(between, i));
        snprintf(seeds + seeded, sizeof seeds - seeded, "%s127.0.0.1:%u", i == 0 ? "" : ",", proxy_port(between, i));
    }
    return 0;
}

static int teardown(void **state) {
    (void)state;
    proxy_stop(between);
    sx_cluster_stop(cluster);
    return 0;
}

static void open_side(test_side *side, const char *ns, const char *l2_timeout, strata_namespace_policy policy) {
    policy.struct_size = sizeof policy;
    test_side_open(side, ns, TEST_OPTIONS("l2.nodes", seeds, "l2.nat", nat, "l2.open_wait", "10s", "flow.ttl_jitter", "0",
                                          "flow.l2_timeout", l2_timeout, "l2.breaker_open", "100ms", "coherence.max_staleness", "5s"), NULL);
    assert_int_equal(strata_namespace_policy_set(side->ns, &policy, NULL), STRATA_OK);
}

/* Answers of data connections stay on their way. */
static void hold_up(bool held) {
    proxy_fault fault = {.kind = held ? PROXY_STALL : PROXY_GOOD, .until_ns = INT64_MAX, .percent = 100, .to_client = true,
                         .whose = PROXY_DATA};
    for (uint32_t i = 0; i < NODES; i++) proxy_set(between, i, &fault);
    proxy_settle(between);
}

/* Until L1 answers it: not where trust has lapsed for a moment. */
static void hold(test_side *side, const char *key, const char *value) {
    const char *text = NULL;
    for (int i = 0; i < 500 && text == NULL; i++) {
        assert_string_equal(test_side_read(side, key, value, NULL), value);
        text = test_peek(side->session, side->ns, key);
        if (text == NULL) test_sleep_ms(10);
    }
    assert_non_null(text);
    assert_string_equal(text, value);
}

/* Starts a read that wants the key loaded anew; its loader keeps the load. */
static void load_anew(test_side *side, const char *key, uint32_t flags, uint32_t deadline_ms) {
    strata_op_options options = {.struct_size = sizeof options, .flags = flags, .deadline_ms = deadline_ms};
    strata_result result;
    side->value = NULL;
    side->kept = NULL;
    side->answers = 0;
    assert_int_equal(strata_get_or_load(side->session, side->ns, test_bytes(key), &options, test_side_load, side, &result, test_side_done,
                                        side), STRATA_PENDING);
    for (int64_t end_ms = test_now_ms() + ENOUGH_MS; side->kept == NULL && test_now_ms() < end_ms;)
        (void)strata_session_wait(side->session, 10);
    assert_non_null(side->kept);
}

static void finish(test_side *side, const char *value) {
    assert_int_equal(strata_load_finish(side->kept, STRATA_OK, test_bytes(value), NULL), STRATA_OK);
}

/* brief: its reader's deadline is over before L2's; else L2's share of the time is, and the fill's outcome not known. */
static void what_l2_has_not_taken_yet(bool brief) {
    test_side a;
    open_side(&a, brief ? "brief" : "unknown", brief ? "20s" : "2s", (strata_namespace_policy){.ttl_ms = KEEP_MS});
    hold(&a, "k", "first");
    hold(&a, "beside", "there");
    load_anew(&a, "k", STRATA_REFRESH, brief ? 6000 : 20000);
    assert_int_equal(strata_add_wait(a.session, a.ns, test_bytes("k"), test_bytes("else"), NULL, NULL), STRATA_EXISTS); /* its n is heard of */
    hold_up(true);
    finish(&a, "second");
    test_side_await(&a, 1);
    assert_string_equal(a.answer, "second");
    assert_null(test_peek(a.session, a.ns, "k"));
    const char *beside = NULL; /* L1 answers what it has */
    for (int i = 0; i < 500 && beside == NULL; i++) {
        beside = test_peek(a.session, a.ns, "beside");
        if (beside == NULL) test_sleep_ms(10);
    }
    assert_non_null(beside);
    assert_null(test_peek(a.session, a.ns, "k"));
    hold_up(false);
    strata_result result = {0};
    for (int i = 0; i < 3000 && strata_get_wait(a.session, a.ns, test_bytes("k"), NULL, &result) != STRATA_OK; i++) test_sleep_ms(10);
    assert_int_equal(result.value.size, 6);
    assert_memory_equal(result.value.data, "second", 6);
    strata_result_release(a.session, &result);
    test_side_close(&a);
}

static void answered_at_its_deadline(void **state) {
    (void)state;
    what_l2_has_not_taken_yet(true);
}

static void answered_without_an_outcome(void **state) {
    (void)state;
    what_l2_has_not_taken_yet(false);
}

/* Of two who wait for one load, the first is answered it at its deadline: so what would have covered its failure is for nobody. */
static void nothing_older_covers_who_waits_on(void **state) {
    (void)state;
    test_side a, other;
    open_side(&a, "cover", "20s", (strata_namespace_policy){.ttl_ms = 300, .stale_if_failing_ms = KEEP_MS, .soft_timeout_ms = 6000});
    assert_string_equal(test_side_read(&a, "k", "first", NULL), "first");
    test_sleep_ms(320);
    other = a;
    load_anew(&a, "k", 0, 4000);
    strata_op_options patient = {.struct_size = sizeof patient, .deadline_ms = 20000};
    strata_result result;
    other.answers = 0;
    assert_int_equal(strata_get_or_load(a.session, a.ns, test_bytes("k"), &patient, test_side_load, &other, &result, test_side_done, &other),
                     STRATA_PENDING);
    hold_up(true);
    finish(&a, "second");
    test_side_await(&a, 1);
    assert_string_equal(a.answer, "second");
    for (int64_t end_ms = test_now_ms() + 2500; test_now_ms() < end_ms;) (void)strata_session_wait(a.session, 50);
    hold_up(false);
    test_side_await(&other, 1);
    assert_int_equal(other.status, STRATA_OK);
    assert_string_equal(other.answer, "second");
    test_side_close(&a);
}

/* B keeps the value for a short time only; A, which holds the one before, reads it past its end. */
static void past_its_end(void **state) {
    (void)state;
    strata_namespace_policy policy = {.ttl_ms = KEEP_MS, .stale_while_refreshing_ms = KEEP_MS};
    test_side a, b;
    open_side(&a, "end", "5s", policy);
    open_side(&b, "end", "5s", policy);
    hold(&a, "k", "first");
    strata_op_options anew = {.struct_size = sizeof anew, .flags = STRATA_REFRESH, .ttl_ms = 200, .deadline_ms = 10000};
    strata_result result;
    b.value = "second";
    assert_int_equal(strata_get_or_load_wait(b.session, b.ns, test_bytes("k"), &anew, test_side_load, &b, &result), STRATA_OK);
    strata_result_release(b.session, &result);
    test_sleep_ms(300);
    strata_op_options past_l1 = {.struct_size = sizeof past_l1, .flags = STRATA_BYPASS_L1, .deadline_ms = 10000};
    assert_int_equal(strata_get_wait(a.session, a.ns, test_bytes("k"), &past_l1, &result), STRATA_STALE);
    assert_memory_equal(result.value.data, "second", 6);
    strata_result_release(a.session, &result);
    const char *text = test_peek(a.session, a.ns, "k");
    assert_true(text == NULL || strcmp(text, "second") == 0);
    test_side_close(&a);
    test_side_close(&b);
}

/* A load that fails, for who asks as usual, who passes by L1, and who passes by L2. What the first two are answered. */
static int32_t beside_who_passes_by(test_side *side, const char *key) {
    static const uint32_t flags[] = {STRATA_BYPASS_L1, STRATA_BYPASS_L2};
    load_anew(side, key, 0, 20000);
    test_side others[] = {*side, *side};
    for (int i = 0; i < 2; i++) {
        strata_op_options options = {.struct_size = sizeof options, .flags = flags[i], .deadline_ms = 20000};
        strata_result result;
        assert_int_equal(strata_get_or_load(side->session, side->ns, test_bytes(key), &options, test_side_load, &others[i], &result,
                                            test_side_done, &others[i]), STRATA_PENDING);
    }
    assert_int_equal(strata_load_finish(side->kept, STRATA_E_LOAD_FAILED, test_bytes(""), NULL), STRATA_OK);
    test_side_await(side, 1);
    for (int i = 0; i < 2; i++) test_side_await(&others[i], 1);
    assert_int_equal(others[1].status, STRATA_E_LOAD_FAILED);
    assert_int_equal(others[0].status, side->status);
    return side->status;
}

/* L2 answers a value past its end, which covers a load that fails: but not for who passes by L2. */
static void l2_covers_nobody_who_passes_by_it(void **state) {
    (void)state;
    strata_namespace_policy policy = {.ttl_ms = 300, .stale_if_failing_ms = KEEP_MS};
    test_side a, b;
    open_side(&a, "tier", "5s", policy);
    open_side(&b, "tier", "5s", policy);
    int32_t plain = 0;
    char key[16];
    for (int i = 0; i < 20 && plain != STRATA_STALE; i++) { /* not where trust lapses meanwhile */
        snprintf(key, sizeof key, "k%d", i);
        assert_string_equal(test_side_read(&a, key, "first", NULL), "first");
        test_sleep_ms(320);
        plain = beside_who_passes_by(&b, key);
    }
    assert_int_equal(plain, STRATA_STALE);
    test_side_close(&a);
    test_side_close(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answered_at_its_deadline), cmocka_unit_test(answered_without_an_outcome),
        cmocka_unit_test(nothing_older_covers_who_waits_on), cmocka_unit_test(past_its_end),
        cmocka_unit_test(l2_covers_nobody_who_passes_by_it),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
