/* SPDX-License-Identifier: Apache-2.0 */
/* A tenant's end: all of its keys are gone, from L2 and every process, and nobody else's. */
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
#include "tests/support/side.h"

#define KEYS 60u

static sx_cluster *cluster;

static int setup(void **state) {
    (void)state;
    sx_cluster_options options = {.primaries = 3};
    cluster = test_cluster_start(&options);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    sx_cluster_stop(cluster);
    return 0;
}

static void open_side(test_side *side) {
    *side = (test_side){0};
    test_side_open(side, "tenants", TEST_OPTIONS("l2.nodes", sx_cluster_seeds(cluster), "l2.open_wait", "10s", "flow.l1_usage", "on"), NULL);
}

static const char *key_of(const char *tenant, uint32_t number) {
    static char buffer[64];
    strata_key key;
    strata_bytes bytes;
    strata_key_begin(&key, buffer, sizeof buffer - 1);
    (void)strata_key_tenant(&key, test_bytes(tenant));
    if (number != 0) (void)strata_key_int(&key, number);
    assert_int_equal(strata_key_finish(&key, &bytes), STRATA_OK);
    buffer[bytes.size] = 0;
    return buffer;
}

static void a_tenant_is_cleared(void **state) {
    (void)state;
    /* whose names begin alike, or are patterns */
    const char *const tenants[] = {"ac*e", "acme", "ac*", "ac*e2", "[a]"};
    test_side a, b;
    open_side(&a);
    open_side(&b);
    for (size_t t = 0; t < 5; t++) {
        for (uint32_t i = 0; i < KEYS; i++) assert_int_equal(test_set(a.session, a.ns, key_of(tenants[t], i), "v"), STRATA_OK);
    }
    for (size_t t = 0; t < 5; t++) {
        for (uint32_t i = 0; i < KEYS; i++) assert_string_equal(test_get(b.session, b.ns, key_of(tenants[t], i)), "v");
    }
    assert_int_equal(strata_tenant_clear_wait(a.session, a.ns, test_bytes("ac*e"), NULL), STRATA_OK);
    for (uint32_t i = 0; i < KEYS; i++) test_side_await_gone(&b, key_of("ac*e", i));
    for (size_t t = 0; t < 5; t++) {
        for (uint32_t i = 0; i < KEYS; i++) {
            const char *text = test_get(b.session, b.ns, key_of(tenants[t], i));
            if (t == 0) assert_null(text);
            else assert_string_equal(text, "v");
        }
    }
    strata_usage usage = {.struct_size = sizeof usage};
    for (int i = 0; i < 6000; i++) {
        assert_int_equal(strata_tenant_usage(b.engine, test_bytes("ac*e"), &usage), STRATA_OK);
        if (usage.entries == 0 && usage.bytes == 0) break; /* which are not counted together */
        test_sleep_ms(10);
    }
    assert_int_equal(usage.entries, 0); /* its memory came back */
    assert_int_equal(usage.bytes, 0);
    assert_int_equal(strata_tenant_clear(a.session, a.ns, test_bytes("[a]"), NULL, test_side_done, &a), STRATA_PENDING);
    test_side_await(&a, 1);
    assert_int_equal(a.status, STRATA_OK);
    for (uint32_t i = 0; i < KEYS; i++) test_side_await_gone(&b, key_of("[a]", i));
    assert_null(test_get(b.session, b.ns, key_of("[a]", 0)));
    assert_string_equal(test_get(b.session, b.ns, key_of("acme", 5)), "v");
    char longest[300];
    memset(longest, 'x', sizeof longest);
    assert_int_equal(strata_tenant_clear_wait(a.session, a.ns, (strata_bytes){longest, sizeof longest}, NULL), STRATA_E_KEY_SIZE);
    test_side_close(&a);
    test_side_close(&b);
}

/* The key that is a tenant's name alone is behind a write of unknown outcome, which the server may execute until its time is over. Nobody
   is told before that key's end as well. */
static void its_end_is_told_when_all_have_ended(void **state) {
    (void)state;
    sx_cluster_options options = {.primaries = 0};
    sx_cluster *alone = test_cluster_start(&options);
    test_side a;
    test_side_open(&a, "tenants", TEST_OPTIONS("l2.nodes", sx_cluster_seeds(alone), "l2.open_wait", "10s"), NULL);
    strata_op_options patient = {.struct_size = sizeof patient, .deadline_ms = 4000};
    assert_int_equal(test_set(a.session, a.ns, "@acme", "v"), STRATA_OK);
    assert_int_equal(sx_cluster_pause(alone, 0), 0);
    static const char value[1000];
    int64_t before = test_metric(a.engine, "l2.bytes_out"); /* what the engine asks for itself is much less, and one at a time */
    assert_int_equal(strata_set(a.session, a.ns, test_bytes("@acme"), (strata_bytes){value, sizeof value}, &patient, test_side_done, &a),
                     STRATA_PENDING);
    assert_true(test_metric_wait(a.engine, "l2.bytes_out", before + (int64_t)sizeof value, 60000));
    assert_int_equal(sx_cluster_kill(alone, 0), 0);
    test_side_await(&a, 1);
    assert_int_equal(a.status, STRATA_E_UNKNOWN_OUTCOME);
    assert_int_equal(sx_cluster_restart(alone, 0), 0);
    test_engine_await_trust(a.engine, 30000);
    int asked = 1;
    do { /* what waits behind that write may run out of time, and says so */
        assert_int_equal(strata_tenant_clear(a.session, a.ns, test_bytes("acme"), NULL, test_side_done, &a), STRATA_PENDING);
        test_side_await(&a, ++asked);
    } while (a.status == STRATA_E_TIMEOUT && asked < 20);
    assert_int_equal(a.status, STRATA_OK);
    assert_int_equal(test_metric(a.engine, "flow.unknown_keys"), 0);
    test_side_close(&a);
    sx_cluster_stop(alone);
}

static int32_t note_progress(void *user, const strata_pattern_progress *progress) {
    *(strata_pattern_progress *)user = *progress;
    return 0;
}

static void progress_counts_all_of_its_keys(void **state) {
    (void)state;
    test_side a;
    open_side(&a);
    for (uint32_t i = 0; i < KEYS; i++) assert_int_equal(test_set(a.session, a.ns, key_of("counted", i), "v"), STRATA_OK);
    strata_pattern_progress last = {0};
    strata_pattern_options options = {.struct_size = sizeof options, .progress = note_progress, .progress_user = &last};
    assert_int_equal(strata_tenant_clear_wait(a.session, a.ns, test_bytes("counted"), &options), STRATA_OK);
    assert_int_equal(last.found, KEYS);
    assert_int_equal(last.invalidated, KEYS);
    test_side_close(&a);
}

int main(void) {
    if (!sx_cluster_available()) return 77;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_tenant_is_cleared),
        cmocka_unit_test(its_end_is_told_when_all_have_ended),
        cmocka_unit_test(progress_counts_all_of_its_keys),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
