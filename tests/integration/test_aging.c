/* SPDX-License-Identifier: Apache-2.0 */
/* How values age where there is an L2: two processes' worth of engines at one cluster. */
// ctest: timeout=120
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bench/cluster/cluster.h"
#include "tests/support/engine.h"

typedef struct side {
    strata *engine;
    strata_namespace *ns;
    strata_session *session;
} side;

static sx_cluster *cluster;

static int setup(void **state) {
    (void)state;
    char error[256];
    sx_cluster_options options = {.primaries = 3};
    if (sx_cluster_start(&options, &cluster, error, sizeof error) != 0) fail_msg("%s", error);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    sx_cluster_stop(cluster);
    return 0;
}

static side open_side(const char *ns, strata_namespace_policy policy) {
    side s;
    s.engine = test_engine_open(TEST_OPTIONS("l2.nodes", sx_cluster_seeds(cluster), "l2.open_wait", "10s", "flow.ttl_jitter",
                                             "0"), NULL);
    s.ns = test_engine_ns(s.engine, ns);
    s.session = test_engine_session(s.engine);
    policy.struct_size = sizeof policy;
    assert_int_equal(strata_namespace_policy_set(s.ns, &policy, NULL), STRATA_OK);
    assert_true(test_metric_wait(s.engine, "coherence.partitions_trusted", 256, 10000));
    return s;
}

static void close_side(side *s) {
    strata_session_close(s->session);
    strata_close(s->engine, 1000);
}

static void l1_asks_again_after_its_own_time(void **state) {
    (void)state;
    strata_namespace_policy policy = {.ttl_ms = 60000, .l1_ttl_ms = 300};
    side a = open_side("l1ttl", policy), b = open_side("l1ttl", policy);
    strata_result result;
    assert_int_equal(test_set(a.session, a.ns, "k", "v"), STRATA_OK);
    assert_int_equal(strata_peek(a.session, a.ns, test_bytes("k"), &result), STRATA_OK);
    assert_in_range(result.ttl_ms, 59000, 60000); /* of the value, not of L1's copy */
    strata_result_release(a.session, &result);
    assert_string_equal(test_get(b.session, b.ns, "k"), "v");
    assert_string_equal(test_peek(b.session, b.ns, "k"), "v");
    test_sleep_ms(310);
    assert_null(test_peek(a.session, a.ns, "k"));
    assert_null(test_peek(b.session, b.ns, "k"));
    assert_int_equal(strata_get_wait(b.session, b.ns, test_bytes("k"), NULL, &result), STRATA_OK);
    assert_int_equal(result.source, STRATA_FROM_L2);
    assert_in_range(result.ttl_ms, 50000, 59700);
    strata_result_release(b.session, &result);
    assert_string_equal(test_peek(b.session, b.ns, "k"), "v");
    close_side(&a);
    close_side(&b);
}

int main(void) {
    if (!sx_cluster_available()) return 77;
    const struct CMUnitTest tests[] = {cmocka_unit_test(l1_asks_again_after_its_own_time)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
