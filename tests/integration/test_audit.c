/* SPDX-License-Identifier: Apache-2.0 */
/* The audit: finds nothing while processes write, and finds what was changed behind their backs. */
// ctest: timeout=300
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <pthread.h>
#include <stdatomic.h>

#include <cmocka.h>

#include "tests/support/cluster.h"
#include "tests/support/engine.h"
#include "tests/support/place.h"

#define KEYS 200

static sx_cluster *cluster;

static void name(char *text, size_t size, int i) { snprintf(text, size, "k%d", i); }

/* The Redis name of a key, and its node. */
static uint32_t stored_as(char *text, size_t size, int i) {
    char key[16];
    name(key, sizeof key, i);
    snprintf(text, size, "{%s}s1:n:1:%s", test_place_of(key).tag, key);
    return test_node_of(cluster, key);
}

static void hold_all(strata_session *session, strata_namespace *ns) {
    char key[16];
    for (int i = 0; i < KEYS; i++) {
        name(key, sizeof key, i);
        (void)test_get(session, ns, key);
    }
}

typedef struct writer {
    strata *engine;
    _Atomic int stop;
} writer;

static void *write_all(void *argument) {
    writer *w = argument;
    strata_session *session = test_engine_session(w->engine);
    strata_namespace *ns = test_engine_ns(w->engine, "n");
    char key[16], value[32];
    for (int i = 0; !atomic_load(&w->stop); i++) {
        name(key, sizeof key, i % KEYS);
        snprintf(value, sizeof value, "%d", i);
        assert_int_equal(test_set(session, ns, key, value), STRATA_OK);
    }
    strata_session_close(session);
    return NULL;
}

/* Entries with tags are looked at like others while their tags hold, and not afterwards. */
static void entries_with_tags_are_audited(void **state) {
    (void)state;
    char error[256], text[96];
    if (sx_cluster_start(&(sx_cluster_options){.primaries = 3}, &cluster, error, sizeof error) != 0) fail_msg("%s", error);
    strata *a = test_engine_open(TEST_OPTIONS("l2.nodes", sx_cluster_seeds(cluster), "l2.open_wait", "5s",
                                              "coherence.audit_per_s", "500"), NULL);
    strata_session *session = test_engine_session(a);
    strata_namespace *ns = test_engine_ns(a, "n");
    test_engine_await_trust(a, 30000);
    strata_bytes tag = test_bytes("t");
    strata_op_options tagged = {.struct_size = sizeof tagged, .tags = &tag, .tag_count = 1};
    assert_int_equal(strata_set_wait(session, ns, test_bytes("k5"), test_bytes("v"), &tagged, NULL), STRATA_OK);
    assert_string_equal(test_get(session, ns, "k5"), "v");
    assert_non_null(test_peek(session, ns, "k5"));
    assert_true(test_metric_wait(a, "audit.checked", 20, 30000));
    assert_int_equal(test_metric(a, "audit.divergent") + test_metric(a, "audit.absent"), 0);
    assert_int_equal(strata_invalidate_tags_wait(session, &tag, 1, NULL), STRATA_OK);
    test_sleep_ms(200); /* what was asked before */
    int64_t checked = test_metric(a, "audit.checked");
    test_sleep_ms(300);
    assert_int_equal(test_metric(a, "audit.checked"), checked); /* nobody is served it */
    assert_int_equal(strata_set_wait(session, ns, test_bytes("k5"), test_bytes("w"), &tagged, NULL), STRATA_OK);
    assert_string_equal(test_get(session, ns, "k5"), "w");
    uint32_t node = stored_as(text, sizeof text, 5);
    free(sx_cluster_command(cluster, node, "SET %s foreign", text));
    assert_true(test_metric_wait(a, "audit.divergent", 1, 30000));
    strata_session_close(session);
    strata_close(a, 1000);
    sx_cluster_stop(cluster);
}

static void it_counts_by_cause(void **state) {
    (void)state;
    char text[96], key[16];
    cluster = test_cluster_start(&(sx_cluster_options){.primaries = 3});
    const char *seeds = sx_cluster_seeds(cluster);
    strata *a = test_engine_open(TEST_OPTIONS("l2.nodes", seeds, "l2.open_wait", "5s"), NULL);
    strata *b = test_engine_open(
        TEST_OPTIONS("l2.nodes", seeds, "l2.open_wait", "5s", "coherence.audit_per_s", "2000"), NULL);
    strata_session *in_b = test_engine_session(b);
    strata_namespace *ns = test_engine_ns(b, "n");
    writer w = {.engine = a};
    pthread_t thread;
    pthread_create(&thread, NULL, write_all, &w);
    int64_t end_ms = test_now_ms() + 2000;
    while (test_now_ms() < end_ms) hold_all(in_b, ns);
    atomic_store(&w.stop, 1);
    pthread_join(thread, NULL);
    assert_true(test_metric(b, "audit.checked") > 100);
    hold_all(in_b, ns);
    test_sleep_ms(1200);
    assert_int_equal(test_metric(b, "audit.divergent"), 0);
    assert_int_equal(test_metric(b, "audit.absent"), 0);

    uint32_t node = stored_as(text, sizeof text, 5);
    free(sx_cluster_command(cluster, node, "SET %s foreign", text));
    node = stored_as(text, sizeof text, 7);
    free(sx_cluster_command(cluster, node, "DEL %s", text));
    assert_true(test_metric_wait(b, "audit.divergent", 1, 30000));
    assert_true(test_metric_wait(b, "audit.absent", 1, 30000));
    name(key, sizeof key, 5);
    assert_null(test_peek(in_b, ns, key)); /* not served any more */
    test_sleep_ms(800);
    assert_int_equal(test_metric(b, "audit.divergent"), 1);
    strata_session_close(in_b);
    strata_close(b, 1000);
    strata_close(a, 1000);
    sx_cluster_stop(cluster);
}

/* What was written while an absence was looked into may have its message under way: it counts from when it was seen itself. */
static void what_was_written_since_says_nothing_yet(void **state) {
    (void)state;
    char text[96];
    cluster = test_cluster_start(&(sx_cluster_options){.primaries = 3, .node_timeout_ms = 4000});
    strata *a = test_engine_open(TEST_OPTIONS("l2.nodes", sx_cluster_seeds(cluster), "l2.open_wait", "5s",
                                              "coherence.max_staleness", "1s", "coherence.audit_per_s", "500"), NULL);
    strata_session *session = test_engine_session(a);
    strata_namespace *ns = test_engine_ns(a, "n");
    test_engine_await_trust(a, 30000);
    assert_int_equal(test_set(session, ns, "k5", "v"), STRATA_OK);
    assert_string_equal(test_get(session, ns, "k5"), "v");
    uint32_t node = stored_as(text, sizeof text, 5);
    free(sx_cluster_command(cluster, node, "DEL %s", text));
    int64_t checked = test_metric(a, "audit.checked");
    assert_true(test_metric_wait(a, "audit.checked", checked + 100, 30000)); /* by some of them its absence was seen */
    test_sleep_ms(300);
    int64_t began_ms = test_now_ms();
    free(sx_cluster_command(cluster, node, "SET %s foreign", text));
    assert_true(test_metric_wait(a, "audit.divergent", 1, 30000));
    assert_true(test_now_ms() - began_ms >= 950); /* not yet by those */
    assert_true(test_metric(a, "audit.in_flight") > 0);
    strata_session_close(session);
    strata_close(a, 1000);
    sx_cluster_stop(cluster);
}

static void load(strata_load *load, void *user) { strata_load_finish(load, STRATA_OK, test_bytes(user), NULL); }

/* What stands in L2 was refreshed, and differs: nothing promised is broken, but L1 has no more use for its own. */
static void what_was_refreshed_is_dropped(void **state) {
    (void)state;
    char text[96], from[96];
    cluster = test_cluster_start(&(sx_cluster_options){.primaries = 3});
    strata *a = test_engine_open(TEST_OPTIONS("l2.nodes", sx_cluster_seeds(cluster), "l2.open_wait", "5s",
                                              "coherence.audit_per_s", "500"), NULL);
    strata_session *session = test_engine_session(a);
    strata_namespace *ns = test_engine_ns(a, "n"), *other = test_engine_ns(a, "m");
    strata_namespace_policy policy = {.struct_size = sizeof policy, .ttl_ms = 60000, .refresh_percent = 1};
    assert_int_equal(strata_namespace_policy_set(other, &policy, NULL), STRATA_OK);
    test_engine_await_trust(a, 30000);
    strata_result result;
    assert_int_equal(strata_get_or_load_wait(session, other, test_bytes("k5"), NULL, load, "v", &result), STRATA_OK);
    strata_result_release(session, &result);
    for (int64_t end_ms = test_now_ms() + 30000; strcmp(test_get(session, other, "k5"), "w") != 0 && test_now_ms() < end_ms;) {
        assert_int_equal(strata_get_or_load_wait(session, other, test_bytes("k5"), NULL, load, "w", &result), STRATA_OK);
        strata_result_release(session, &result);
        (void)strata_session_wait(session, 10); /* where it was time, it is refreshed behind that answer */
    }
    assert_string_equal(test_get(session, other, "k5"), "w");
    assert_int_equal(test_set(session, ns, "k5", "v"), STRATA_OK);
    assert_string_equal(test_get(session, ns, "k5"), "v");
    uint32_t node = stored_as(text, sizeof text, 5);
    snprintf(from, sizeof from, "%s", text);
    *strstr(from, ":n:1:") = 0;
    strcat(from, ":m:1:k5");
    char *copied = sx_cluster_command(cluster, node, "COPY %s %s REPLACE", from, text);
    assert_string_equal(copied, "1");
    free(copied);
    assert_true(test_metric_wait(a, "audit.reloaded", 1, 30000));
    assert_null(test_peek(session, ns, "k5"));
    assert_int_equal(test_metric(a, "audit.divergent"), 0);
    strata_session_close(session);
    strata_close(a, 1000);
    sx_cluster_stop(cluster);
}

int main(void) {
    if (!sx_cluster_available()) return 77;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_counts_by_cause),
        cmocka_unit_test(what_was_written_since_says_nothing_yet),
        cmocka_unit_test(entries_with_tags_are_audited),
        cmocka_unit_test(what_was_refreshed_is_dropped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
