/* SPDX-License-Identifier: Apache-2.0 */
/* Statistics by namespace: nobody's operation is counted for another, none is lost with its session, and a reset begins anew. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <pthread.h>
#include <stdatomic.h>

#include <cmocka.h>

#include "core/flow/engine.h"
#include "tests/support/engine.h"

typedef struct fixture {
    strata *engine;
    strata_namespace *a, *b;
    strata_session *session;
    int64_t *values;
} fixture;

static int setup(void **state) {
    fixture *f = calloc(1, sizeof *f);
    f->engine = test_engine_open(TEST_OPTIONS("l2.mode", "none"), NULL);
    f->a = test_engine_ns(f->engine, "a");
    f->session = test_engine_session(f->engine);
    f->b = test_engine_ns(f->engine, "b"); /* opened after the session */
    f->values = calloc(strata_metric_count(), sizeof *f->values);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    fixture *f = *state;
    strata_session_close(f->session);
    assert_int_equal(strata_close(f->engine, 1000), STRATA_OK);
    free(f->values);
    free(f);
    return 0;
}

/* What a namespace tells of a metric. */
static int64_t of(fixture *f, const strata_namespace *ns, const char *name) {
    strata_metric metric;
    assert_int_equal(strata_stats_namespace(ns, f->values, strata_metric_count()), STRATA_OK);
    for (size_t i = 0; strata_metric_describe(i, &metric) == STRATA_OK; i++) {
        assert_true(metric.by_namespace || f->values[i] == STRATA_STATS_NONE);
        if (strcmp(metric.name, name) == 0) return f->values[i];
    }
    fail_msg("no metric %s", name);
    return 0;
}

static void finish(strata_load *load, void *user) {
    (void)user;
    assert_int_equal(strata_load_finish(load, STRATA_OK, test_bytes("loaded"), NULL), STRATA_OK);
}

static void load(fixture *f, strata_namespace *ns, const char *key) {
    strata_result result;
    assert_int_equal(strata_get_or_load_wait(f->session, ns, test_bytes(key), NULL, finish, NULL, &result), STRATA_OK);
    strata_result_release(f->session, &result);
}

static void test_each_for_itself(void **state) {
    fixture *f = *state;
    assert_int_equal(test_set(f->session, f->a, "k", "v"), STRATA_OK);
    for (int i = 0; i < 3; i++) assert_string_equal(test_peek(f->session, f->a, "k"), "v");
    assert_null(test_peek(f->session, f->b, "k"));
    load(f, f->b, "k");
    assert_int_equal(of(f, f->a, "l1.hits"), 3);
    assert_int_equal(of(f, f->a, "flow.sets"), 1);
    assert_int_equal(of(f, f->a, "l1.misses"), 0);
    assert_int_equal(of(f, f->a, "flow.gets"), 0);
    assert_int_equal(of(f, f->b, "l1.hits"), 0);
    assert_int_equal(of(f, f->b, "l1.misses"), 2);
    assert_int_equal(of(f, f->b, "flow.loads"), 1);
    assert_int_equal(of(f, f->b, "l1.bytes_used"), STRATA_STATS_NONE);
    assert_int_equal(test_metric(f->engine, "l1.hits"), 3);
    assert_int_equal(test_metric(f->engine, "l1.misses"), 2);
    assert_int_equal(test_metric(f->engine, "flow.loads"), 1);
}

static void test_a_closed_session_stays_counted(void **state) {
    fixture *f = *state;
    strata_session *other = test_engine_session(f->engine);
    assert_int_equal(test_set(other, f->b, "k", "v"), STRATA_OK);
    assert_string_equal(test_peek(other, f->b, "k"), "v");
    strata_session_close(other);
    assert_int_equal(of(f, f->b, "l1.hits"), 1);
    assert_int_equal(test_metric(f->engine, "l1.hits"), 1);
    assert_int_equal(of(f, f->a, "l1.hits"), 0);
}

static int64_t timed(fixture *f, const strata_namespace *ns, strata_latency latency) {
    strata_histogram histogram = {.struct_size = sizeof histogram};
    int64_t sum = 0;
    assert_int_equal(strata_stats_latency(f->engine, ns, latency, &histogram), STRATA_OK);
    for (size_t i = 0; i < STRATA_HISTOGRAM_BUCKETS; i++) {
        assert_true(histogram.counts[i] >= 0);
        sum += histogram.counts[i];
    }
    assert_int_equal(histogram.count, sum);
    assert_true(histogram.count == 0 || strata_histogram_quantile(&histogram, 0.5) > 0);
    return histogram.count;
}

static void test_latencies_by_tier(void **state) {
    fixture *f = *state;
    load(f, f->a, "k");
    assert_int_equal(timed(f, f->a, STRATA_LATENCY_LOAD), 1);
    for (int i = 0; i < 5000; i++) assert_string_equal(test_get(f->session, f->a, "k"), "loaded");
    assert_int_equal(timed(f, f->a, STRATA_LATENCY_L1), 4); /* one in 1024 */
    assert_int_equal(timed(f, f->b, STRATA_LATENCY_L1), 0);
    assert_int_equal(timed(f, NULL, STRATA_LATENCY_L1), 4);
    assert_int_equal(timed(f, NULL, STRATA_LATENCY_LOAD), 1);
    assert_int_equal(timed(f, NULL, STRATA_LATENCY_L2), 0);
}

static void test_reset_begins_anew(void **state) {
    fixture *f = *state;
    load(f, f->a, "k");
    for (int i = 0; i < 2000; i++) assert_string_equal(test_get(f->session, f->a, "k"), "loaded");
    int64_t entries = test_metric(f->engine, "l1.entries");
    assert_int_equal(entries, 1);
    assert_int_equal(strata_stats_reset(f->engine), STRATA_OK);
    assert_int_equal(test_metric(f->engine, "l1.hits"), 0);
    assert_int_equal(test_metric(f->engine, "l1.entries"), entries); /* a gauge */
    assert_int_equal(of(f, f->a, "l1.hits"), 0);
    assert_int_equal(of(f, f->a, "flow.gets"), 0);
    assert_int_equal(timed(f, f->a, STRATA_LATENCY_LOAD), 0);
    assert_int_equal(timed(f, NULL, STRATA_LATENCY_L1), 0);
    assert_string_equal(test_get(f->session, f->a, "k"), "loaded");
    load(f, f->a, "another");
    strata_namespace *late = test_engine_ns(f->engine, "late");
    load(f, late, "k");
    assert_int_equal(of(f, f->a, "l1.hits"), 1);
    assert_int_equal(of(f, f->a, "flow.loads"), 1);
    assert_int_equal(of(f, late, "flow.loads"), 1);
    assert_int_equal(timed(f, f->a, STRATA_LATENCY_LOAD), 1);
    assert_int_equal(test_metric(f->engine, "flow.loads"), 2);
    assert_int_equal(strata_stats_reset(f->engine), STRATA_OK);
    assert_int_equal(test_metric(f->engine, "flow.loads"), 0);
    assert_int_equal(of(f, late, "flow.loads"), 0);
}

static void test_bad_questions(void **state) {
    fixture *f = *state;
    strata_histogram histogram = {.struct_size = sizeof histogram};
    strata_node_stats node = {.struct_size = sizeof node, .latency = {.struct_size = sizeof node.latency}};
    assert_int_equal(strata_stats_latency(f->engine, f->a, (strata_latency)STRATA_LATENCIES, &histogram), STRATA_E_INVALID);
    histogram.struct_size = sizeof histogram.struct_size - 1;
    assert_int_equal(strata_stats_latency(f->engine, f->a, STRATA_LATENCY_L1, &histogram), STRATA_E_INVALID);
    assert_int_equal(strata_stats_node(f->engine, 0, &node), STRATA_E_END); /* there is no L2 */
    node.latency.struct_size++; /* it would go beyond what holds it */
    assert_int_equal(strata_stats_node(f->engine, 0, &node), STRATA_E_INVALID);
    node.latency.struct_size = sizeof node.latency.struct_size - 1;
    assert_int_equal(strata_stats_node(f->engine, 0, &node), STRATA_E_INVALID);
    node.struct_size = offsetof(strata_node_stats, latency); /* then nothing is read of it */
    assert_int_equal(strata_stats_node(f->engine, 0, &node), STRATA_E_END);
    node.struct_size = sizeof node.struct_size - 1;
    assert_int_equal(strata_stats_node(f->engine, 0, &node), STRATA_E_INVALID);
    assert_int_equal(strata_stats_namespace(NULL, f->values, 1), STRATA_E_INVALID);
    assert_int_equal(strata_stats_reset(NULL), STRATA_E_INVALID);
    f->values[1] = 77;
    assert_int_equal(strata_stats_namespace(f->a, f->values, 1), STRATA_OK);
    assert_int_equal(f->values[1], 77);
}

/* Sessions come and go and count while others read, open namespaces and reset: nothing is lost, nothing is negative. */
enum { ROUNDS = 60, READS = 200 };
typedef struct racer {
    fixture *f;
    _Atomic int over;
} racer;

static void *race(void *argument) {
    racer *r = argument;
    for (int i = 0; i < ROUNDS; i++) {
        strata_session *session = test_engine_session(r->f->engine);
        for (int j = 0; j < READS; j++) (void)test_peek(session, r->f->a, "k");
        strata_session_close(session);
    }
    atomic_fetch_add(&r->over, 1);
    return NULL;
}

static void test_read_while_counted(void **state) {
    fixture *f = *state;
    assert_int_equal(test_set(f->session, f->a, "k", "v"), STRATA_OK);
    racer r = {f, 0};
    pthread_t threads[2];
    for (int i = 0; i < 2; i++) assert_int_equal(pthread_create(&threads[i], NULL, race, &r), 0);
    int64_t last = 0;
    for (uint32_t i = 0; atomic_load(&r.over) != 2; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "n%u", (unsigned)i % 100);
        (void)test_engine_ns(f->engine, name);
        int64_t hits = of(f, f->a, "l1.hits");
        assert_true(hits >= last && test_metric(f->engine, "l1.hits") >= hits);
        last = hits;
    }
    for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
    assert_int_equal(of(f, f->a, "l1.hits"), 2 * ROUNDS * READS);
    assert_int_equal(test_metric(f->engine, "l1.hits"), 2 * ROUNDS * READS);
}

/* What a warming reads is not the program's, as soon as its session can be seen. */
static void *warm_again(void *argument) {
    racer *r = argument;
    strata_warm_options options = {.struct_size = sizeof options, .loader = finish};
    for (uint32_t i = 0; i < 100; i++) {
        strata_bytes key = test_bytes("warmed");
        strata_warm *warm = NULL;
        assert_int_equal(strata_warm_keys(r->f->a, &key, 1, &options, &warm), STRATA_OK);
        assert_int_equal(strata_warm_wait(warm, 10000, NULL), STRATA_OK);
        strata_warm_close(warm);
    }
    atomic_store(&r->over, 1);
    return NULL;
}

static void test_warming_while_read(void **state) {
    fixture *f = *state;
    racer r = {f, 0};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, warm_again, &r), 0);
    while (atomic_load(&r.over) == 0) {
        assert_int_equal(of(f, f->a, "flow.gets"), 0);
        assert_int_equal(test_metric(f->engine, "l1.misses") + test_metric(f->engine, "l1.hits"), 0);
    }
    pthread_join(thread, NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_each_for_itself, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_closed_session_stays_counted, setup, teardown),
        cmocka_unit_test_setup_teardown(test_latencies_by_tier, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reset_begins_anew, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bad_questions, setup, teardown),
        cmocka_unit_test_setup_teardown(test_read_while_counted, setup, teardown),
        cmocka_unit_test_setup_teardown(test_warming_while_read, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
