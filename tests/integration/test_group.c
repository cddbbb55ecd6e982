/* SPDX-License-Identifier: Apache-2.0 */
/* Keys of one partition, written and read at once by two processes' engines: each has its own answer, everybody hears. */
// ctest: timeout=300
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/cluster.h"
#include "tests/support/engine.h"
#include "tests/support/place.h"

enum { COUNT = 64 };

static char keys[COUNT][16], values[COUNT][32];
static strata_bytes key_list[COUNT], value_list[COUNT];

/* All of them in the first partition of 256. */
static void find_keys(void) {
    for (uint32_t found = 0, i = 0; found < COUNT; i++) {
        snprintf(keys[found], sizeof keys[found], "k%u", i);
        if (test_place_of(keys[found]).partition == 0) found++;
    }
}

static void name_values(const char *word) {
    for (uint32_t i = 0; i < COUNT; i++) {
        snprintf(values[i], sizeof values[i], "%s %u", word, i);
        key_list[i] = test_bytes(keys[i]);
        value_list[i] = test_bytes(values[i]);
    }
}

static void set_all(strata_session *session, strata_namespace *ns, const char *word) {
    strata_result results[COUNT];
    name_values(word);
    assert_int_equal(strata_mset_wait(session, ns, key_list, value_list, COUNT, NULL, results), STRATA_OK);
    for (uint32_t i = 0; i < COUNT; i++) {
        assert_int_equal(results[i].status, STRATA_OK);
        strata_result_release(session, &results[i]);
    }
}

static void get_all(strata_session *session, strata_namespace *ns) {
    strata_result results[COUNT];
    assert_int_equal(strata_mget_wait(session, ns, key_list, COUNT, NULL, results), STRATA_OK);
    for (uint32_t i = 0; i < COUNT; i++) {
        assert_int_equal(results[i].status, STRATA_OK);
        assert_int_equal(results[i].value.size, strlen(values[i]));
        assert_memory_equal(results[i].value.data, values[i], strlen(values[i]));
        strata_result_release(session, &results[i]);
    }
}

static void everybody_hears_of_each(void **state) {
    (void)state;
    sx_cluster *cluster = test_cluster_start(&(sx_cluster_options){.primaries = 3});
    const char *const *options = TEST_OPTIONS("l2.nodes", sx_cluster_seeds(cluster), "l2.open_wait", "5s");
    strata *a = test_engine_open(options, NULL), *b = test_engine_open(options, NULL);
    strata_namespace *ns_a = test_engine_ns(a, "g"), *ns_b = test_engine_ns(b, "g");
    strata_session *by_a = test_engine_session(a), *by_b = test_engine_session(b);
    find_keys();
    test_engine_await_trust(a, 30000);
    test_engine_await_trust(b, 30000);
    set_all(by_a, ns_a, "first");
    assert_true(test_metric(a, "l2.grouped") > 0);
    for (uint32_t i = 0; i < COUNT; i++) assert_string_equal(test_peek(by_a, ns_a, keys[i]), values[i]);
    get_all(by_b, ns_b);
    assert_true(test_metric(b, "l2.grouped") > 0);
    for (uint32_t i = 0; i < COUNT; i++) assert_string_equal(test_peek(by_b, ns_b, keys[i]), values[i]);
    int64_t lost = test_metric(b, "coherence.lost");
    set_all(by_a, ns_a, "second");
    for (uint32_t i = 0; i < COUNT; i++) { /* what b held is gone, or going */
        const char *seen = test_peek(by_b, ns_b, keys[i]);
        for (int tries = 0; seen != NULL && strcmp(seen, values[i]) != 0 && tries < 500; tries++) {
            test_sleep_ms(1);
            seen = test_peek(by_b, ns_b, keys[i]);
        }
        assert_true(seen == NULL || strcmp(seen, values[i]) == 0);
    }
    get_all(by_b, ns_b);
    assert_int_equal(test_metric(b, "coherence.lost"), lost); /* no number was missed */
    strata_session_close(by_a);
    strata_session_close(by_b);
    assert_int_equal(strata_close(a, 2000), STRATA_OK);
    assert_int_equal(strata_close(b, 2000), STRATA_OK);
    sx_cluster_stop(cluster);
}

/* An engine with its session, and all keys set by it. */
typedef struct side {
    sx_cluster *cluster;
    strata *engine;
    strata_namespace *ns;
    strata_session *session;
} side;

static side side_open(void) {
    side s = {.cluster = test_cluster_start(&(sx_cluster_options){0})};
    s.engine = test_engine_open(TEST_OPTIONS("l2.nodes", sx_cluster_seeds(s.cluster), "l2.open_wait", "5s", "l1.enabled", "false",
                                             "l2.breaker_failures", "0"), NULL);
    s.ns = test_engine_ns(s.engine, "g");
    s.session = test_engine_session(s.engine);
    find_keys();
    set_all(s.session, s.ns, "first");
    return s;
}

static void side_close(side *s) {
    strata_session_close(s->session);
    assert_int_equal(strata_close(s->engine, 2000), STRATA_OK);
    sx_cluster_stop(s->cluster);
}

/* All keys, each with that status. */
static void get_each(side *s, uint32_t deadline_ms, int32_t status) {
    strata_result results[COUNT];
    strata_op_options options = {.struct_size = sizeof options, .deadline_ms = deadline_ms};
    (void)strata_mget_wait(s->session, s->ns, key_list, COUNT, &options, results);
    for (uint32_t i = 0; i < COUNT; i++) {
        assert_int_equal(results[i].status, status);
        strata_result_release(s->session, &results[i]);
    }
}

/* Values that are not known yet may be so large that no group of them is answered in time, again and again. */
static void who_got_no_answer_together_asks_alone(void **state) {
    (void)state;
    side s = side_open();
    get_each(&s, 5000, STRATA_OK);
    int64_t grouped = test_metric(s.engine, "l2.grouped");
    assert_int_equal(sx_cluster_pause(s.cluster, 0), 0);
    get_each(&s, 200, STRATA_E_TIMEOUT);
    assert_int_equal(sx_cluster_resume(s.cluster, 0), 0);
    assert_true(test_metric(s.engine, "l2.grouped") > grouped);
    grouped = test_metric(s.engine, "l2.grouped");
    get_each(&s, 5000, STRATA_OK);
    assert_int_equal(test_metric(s.engine, "l2.grouped"), grouped);
    for (int i = 0; i < 20; i++) get_each(&s, 5000, STRATA_OK); /* they are small: together again */
    assert_true(test_metric(s.engine, "l2.grouped") > grouped);
    side_close(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everybody_hears_of_each),
        cmocka_unit_test(who_got_no_answer_together_asks_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
