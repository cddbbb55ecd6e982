/* SPDX-License-Identifier: Apache-2.0 */
/* Statistics by server, and the latencies of what L2 answers: against a cluster of which one server dies. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/cluster.h"
#include "tests/support/engine.h"

#define KEYS 300

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

static int64_t latencies(strata *engine, const strata_namespace *ns, strata_latency latency) {
    strata_histogram histogram = {.struct_size = sizeof histogram};
    assert_int_equal(strata_stats_latency(engine, ns, latency, &histogram), STRATA_OK);
    assert_true(histogram.count == 0 || histogram.sum > 0);
    return histogram.count;
}

/* By port. False where there is no such server. */
static bool node_at(strata *engine, uint16_t port, strata_node_stats *out) {
    char address[32];
    snprintf(address, sizeof address, "127.0.0.1:%u", (unsigned)port);
    *out = (strata_node_stats){.struct_size = sizeof *out, .latency = {.struct_size = sizeof out->latency}};
    for (uint32_t i = 0; strata_stats_node(engine, i, out) == STRATA_OK; i++) {
        if (strcmp(out->address, address) == 0) return true;
    }
    return false;
}

/* An older header's structs, without the last field or with less of it, are told the same, or what was added meanwhile. */
static void check_brief_node(strata *engine, uint16_t port, const strata_node_stats *whole) {
    const uint32_t latency = offsetof(strata_node_stats, latency), buckets = offsetof(strata_histogram, counts);
    const uint32_t sizes[] = {offsetof(strata_node_stats, failures), latency, latency + buckets};
    char suffix[16];
    snprintf(suffix, sizeof suffix, ":%u", (unsigned)port);
    for (int i = 0; i < 3; i++) {
        volatile size_t hidden = sizes[i]; /* else the compiler knows, and objects to what the test is about */
        strata_node_stats *brief = calloc(1, hidden);
        brief->struct_size = sizes[i];
        if (sizes[i] > latency) brief->latency.struct_size = buckets;
        int32_t status = STRATA_OK;
        uint32_t index = 0;
        while ((status = strata_stats_node(engine, index, brief)) == STRATA_OK && strstr(brief->address, suffix) == NULL) index++;
        assert_int_equal(status, STRATA_OK);
        assert_int_equal(brief->struct_size, sizes[i]);
        assert_true(brief->requests >= whole->requests);
        if (sizes[i] >= latency) assert_int_equal(brief->breaker_opens, whole->breaker_opens);
        if (sizes[i] > latency) {
            assert_int_equal(brief->latency.struct_size, buckets);
            assert_true(brief->latency.count >= whole->latency.count);
        }
        free(brief);
    }
}


static void test_servers_and_tiers(void **state) {
    (void)state;
    strata *engine = test_engine_open(TEST_OPTIONS("l2.nodes", sx_cluster_seeds(cluster), "l2.open_wait", "10s", "l2.breaker_failures", "2",
                                                   "l2.breaker_open", "600s"), NULL);
    test_engine_await_trust(engine, 20000);
    strata_session *session = test_engine_session(engine);
    strata_namespace *ns = test_engine_ns(engine, "scopes"), *other = test_engine_ns(engine, "other");
    strata_op_options past_l1 = {.struct_size = sizeof past_l1, .flags = STRATA_BYPASS_L1, .deadline_ms = 5000};
    char key[16];
    strata_result result;
    for (int i = 0; i < KEYS; i++) {
        snprintf(key, sizeof key, "k%d", i);
        assert_int_equal(test_set(session, ns, key, "v"), STRATA_OK);
        assert_int_equal(strata_get_wait(session, ns, test_bytes(key), &past_l1, &result), STRATA_OK);
        strata_result_release(session, &result);
    }
    assert_int_equal(latencies(engine, ns, STRATA_LATENCY_SET), KEYS);
    assert_int_equal(latencies(engine, ns, STRATA_LATENCY_L2), KEYS);
    assert_int_equal(latencies(engine, other, STRATA_LATENCY_L2), 0);
    strata_node_stats node;
    int64_t requests = 0, answered = 0;
    for (uint32_t i = 0; i < 3; i++) {
        assert_true(node_at(engine, sx_cluster_port(cluster, i), &node));
        assert_string_equal(node.id, sx_cluster_node_id(cluster, i));
        assert_int_equal(node.flags, STRATA_NODE_PRIMARY);
        assert_true(node.requests > KEYS / 6 && node.failures == 0);
        requests += node.requests;
        answered += node.latency.count;
    }
    assert_true(requests >= 2 * KEYS && answered >= 2 * KEYS && answered <= requests);

    check_brief_node(engine, sx_cluster_port(cluster, 2), &node);

    assert_int_equal(strata_stats_reset(engine), STRATA_OK);
    assert_true(node_at(engine, sx_cluster_port(cluster, 1), &node));
    assert_true(node.requests == 0 && node.latency.count == 0);
    assert_int_equal(latencies(engine, ns, STRATA_LATENCY_SET), 0);

    assert_int_equal(sx_cluster_kill(cluster, 1), 0);
    past_l1.deadline_ms = 200;
    for (int i = 0; i < 40; i++) {
        snprintf(key, sizeof key, "k%d", i);
        if (strata_get_wait(session, ns, test_bytes(key), &past_l1, &result) == STRATA_OK) strata_result_release(session, &result);
    }
    assert_true(node_at(engine, sx_cluster_port(cluster, 1), &node));
    assert_true(node.failures >= 2 && node.requests >= node.failures && node.breaker_opens == 1);
    assert_true((node.flags & STRATA_NODE_BREAKER_OPEN) != 0);
    assert_true(node_at(engine, sx_cluster_port(cluster, 0), &node));
    assert_true((node.flags & STRATA_NODE_BREAKER_OPEN) == 0 && node.breaker_opens == 0);
    strata_session_close(session);
    (void)strata_close(engine, 1000);
}

int main(void) {
    if (!sx_cluster_available()) return 77;
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_servers_and_tiers)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
