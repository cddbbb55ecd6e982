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

/* An engine of one server of its own, which it has just lost, with a file of its options. */
typedef struct lost {
    sx_cluster *server;
    strata *engine;
    strata_session *session;
    strata_namespace *ns;
    char path[64];
} lost;

static void reload(const lost *l, const char *text) {
    FILE *file = fopen(l->path, "w");
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(strata_options_reload(l->engine, l->path, NULL), STRATA_OK);
}

static void read_once(const lost *l) {
    strata_op_options past_l1 = {.struct_size = sizeof past_l1, .flags = STRATA_BYPASS_L1, .deadline_ms = 1000};
    strata_result result;
    assert_true(strata_get_wait(l->session, l->ns, test_bytes("k"), &past_l1, &result) < 0);
}

/* Reads until so many were refused more, or that is hopeless. */
static bool refuses(const lost *l) {
    int64_t before = test_metric(l->engine, "l2.breaker_refusals"), until = test_now_ms() + 20000;
    while (test_metric(l->engine, "l2.breaker_refusals") == before && test_now_ms() < until) read_once(l);
    return test_metric(l->engine, "l2.breaker_refusals") > before;
}

static int64_t requests(const lost *l) {
    strata_node_stats node = {.struct_size = sizeof node, .latency = {.struct_size = sizeof node.latency}};
    assert_int_equal(strata_stats_node(l->engine, 0, &node), STRATA_OK);
    return node.requests;
}

static void test_breakers_follow_their_options(void **state) {
    (void)state;
    sx_cluster_options one = {.primaries = 0};
    lost l = {.server = test_cluster_start(&one)};
    snprintf(l.path, sizeof l.path, "/tmp/strata-breaker-%u.conf", (unsigned)sx_cluster_port(l.server, 0));
    l.engine = test_engine_open(TEST_OPTIONS("l2.nodes", sx_cluster_seeds(l.server), "l2.open_wait", "10s"), NULL);
    test_engine_await_trust(l.engine, 20000);
    l.session = test_engine_session(l.engine);
    l.ns = test_engine_ns(l.engine, "breaker");
    assert_int_equal(test_set(l.session, l.ns, "k", "v"), STRATA_OK);
    assert_int_equal(sx_cluster_kill(l.server, 0), 0);

    reload(&l, "[l2]\nbreaker_failures = 0\n");
    for (int i = 0; i < 20; i++) read_once(&l);
    assert_int_equal(test_metric(l.engine, "l2.breaker_opens"), 0);
    reload(&l, "[l2]\nbreaker_failures = 1\nbreaker_open = 10m\n");
    assert_true(refuses(&l));
    assert_int_equal(test_metric(l.engine, "l2.breakers_open"), 1);
    int64_t before = requests(&l);
    for (int i = 0; i < 20; i++) read_once(&l);
    assert_int_equal(requests(&l), before); /* none was tried */
    /* A shorter rest holds for a breaker that is open already. */
    assert_int_equal(strata_option_set(l.engine, "l2.breaker_open", "1ms", NULL), STRATA_OK);
    int64_t until = test_now_ms() + 20000;
    while (requests(&l) == before && test_now_ms() < until) read_once(&l);
    assert_true(requests(&l) > before);
    assert_int_equal(strata_option_set(l.engine, "l2.breaker_open", "10m", NULL), STRATA_OK);
    assert_true(refuses(&l));
    assert_int_equal(test_metric(l.engine, "l2.breakers_open"), 1);
    /* Switched off it lets all pass again. */
    assert_int_equal(strata_option_set(l.engine, "l2.breaker_failures", "0", NULL), STRATA_OK);
    int64_t refused = test_metric(l.engine, "l2.breaker_refusals");
    read_once(&l);
    assert_int_equal(test_metric(l.engine, "l2.breakers_open"), 0);
    assert_int_equal(test_metric(l.engine, "l2.breaker_refusals"), refused);
    strata_error error;
    assert_int_equal(strata_option_set(l.engine, "l2.breaker_open", "11m", &error), STRATA_E_CONFIG);
    assert_string_equal(error.text, "option 'l2.breaker_open': '11m' is out of range; allowed 1ms .. 10m");
    strata_session_close(l.session);
    (void)strata_close(l.engine, 1000);
    sx_cluster_stop(l.server);
    (void)remove(l.path);
}

int main(void) {
    if (!sx_cluster_available()) return 77;
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_servers_and_tiers), cmocka_unit_test(test_breakers_follow_their_options)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
