/* SPDX-License-Identifier: Apache-2.0 */
/* Keys of one partition, written and read at once by two processes' engines: each has its own answer, everybody hears. */
// ctest: timeout=60
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/key/key.h"
#include "tests/support/cluster.h"
#include "tests/support/engine.h"

enum { COUNT = 64 };

static char keys[COUNT][16], values[COUNT][32];
static strata_bytes key_list[COUNT], value_list[COUNT];

/* All of them in the first partition of 256. */
static void find_keys(void) {
    for (uint32_t found = 0, i = 0; found < COUNT; i++) {
        snprintf(keys[found], sizeof keys[found], "k%u", i);
        if (sx_key_partition(keys[found], strlen(keys[found]), 256) == 0) found++;
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
    assert_true(test_metric_wait(a, "coherence.partitions_trusted", 256, 5000));
    assert_true(test_metric_wait(b, "coherence.partitions_trusted", 256, 5000));
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

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(everybody_hears_of_each)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
