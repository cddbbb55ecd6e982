/* SPDX-License-Identifier: Apache-2.0 */
/* Sets with a condition, by two processes' worth of engines at one cluster. */
// ctest: timeout=300
#include <pthread.h>
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
#include "tests/support/side.h"

static sx_cluster *cluster;

static int setup(void **state) {
    (void)state;
    cluster = test_cluster_start(&(sx_cluster_options){.primaries = 3, .node_timeout_ms = 20000});
    return 0;
}

static int teardown(void **state) {
    (void)state;
    sx_cluster_stop(cluster);
    return 0;
}

static test_side open_side(const char *ns) {
    test_side s;
    test_side_open(&s, ns, TEST_OPTIONS("l2.nodes", sx_cluster_seeds(cluster), "l2.open_wait", "10s"), NULL);
    return s;
}

static strata_result read_of(test_side *s, const char *key) {
    strata_result result;
    assert_int_equal(strata_get_wait(s->session, s->ns, test_bytes(key), NULL, &result), STRATA_OK);
    strata_result_release(s->session, &result); /* its version stays */
    return result;
}

/* Soon, at the latest when the bound on staleness has passed. */
static void sees(test_side *s, const char *key, const char *value) {
    const char *text = test_get(s->session, s->ns, key);
    for (int i = 0; i < 100 && (text == NULL || strcmp(text, value) != 0); i++) {
        test_sleep_ms(10);
        text = test_get(s->session, s->ns, key);
    }
    assert_non_null(text);
    assert_string_equal(text, value);
}

static int32_t set_if(test_side *s, const char *key, const char *value, const strata_result *seen, strata_result *out) {
    return strata_set_if_version_wait(s->session, s->ns, test_bytes(key), test_bytes(value), seen->version_n, seen->version_id,
                                      NULL, out);
}

static void of_two_that_read_one_writes(void **state) {
    (void)state;
    test_side a = open_side("cas"), b = open_side("cas");
    strata_result by_a, by_b, out, told;
    assert_int_equal(test_set(a.session, a.ns, "k", "one"), STRATA_OK);
    by_a = read_of(&a, "k");
    by_b = read_of(&b, "k");
    assert_int_equal(set_if(&a, "k", "two", &by_a, &out), STRATA_OK);
    assert_string_equal(test_peek(a.session, a.ns, "k"), "two");
    assert_int_equal(set_if(&b, "k", "three", &by_b, &told), STRATA_CONFLICT);
    assert_int_equal(told.version_n, out.version_n);
    assert_int_equal(told.version_id, out.version_id);
    assert_int_equal(told.value.size, 0);
    assert_null(test_peek(b.session, b.ns, "k")); /* what it holds is older than what it was told of */
    assert_int_equal(test_metric(b.engine, "flow.conflicts"), 1);
    assert_int_equal(set_if(&b, "k", "three", &told, &out), STRATA_OK); /* who is told may go on with that */
    sees(&a, "k", "three");
    assert_int_equal(read_of(&a, "k").version_id, out.version_id);
    /* Nothing is there: no version is. */
    assert_int_equal(strata_invalidate_wait(a.session, a.ns, test_bytes("k"), NULL), STRATA_OK);
    assert_int_equal(set_if(&b, "k", "four", &out, &told), STRATA_CONFLICT);
    assert_int_equal(told.version_n, 0);
    assert_int_equal(told.version_id, 0);
    out.version_n = 0;
    assert_int_equal(set_if(&b, "k", "four", &out, &told), STRATA_E_INVALID);
    test_side_close(&a);
    test_side_close(&b);
}

#define THREADS 4
#define STEPS   50

static void *add_up(void *argument) {
    test_side *s = argument;
    strata_session *session = test_engine_session(s->engine);
    for (int done = 0; done < STEPS;) {
        strata_result result;
        char text[16];
        if (strata_get_wait(session, s->ns, test_bytes("sum"), NULL, &result) != STRATA_OK) abort();
        snprintf(text, sizeof text, "%.*s", (int)result.value.size, (const char *)result.value.data);
        snprintf(text, sizeof text, "%d", atoi(text) + 1);
        int32_t status = strata_set_if_version_wait(session, s->ns, test_bytes("sum"), test_bytes(text), result.version_n,
                                                    result.version_id, NULL, NULL);
        strata_result_release(session, &result);
        if (status == STRATA_OK) done++;
        else if (status != STRATA_CONFLICT) abort();
    }
    strata_session_close(session);
    return NULL;
}

static void nothing_is_lost_between_many(void **state) {
    (void)state;
    test_side sides[2] = {open_side("sum"), open_side("sum")};
    pthread_t threads[THREADS];
    char expected[16];
    assert_int_equal(test_set(sides[0].session, sides[0].ns, "sum", "0"), STRATA_OK);
    for (int i = 0; i < THREADS; i++) assert_int_equal(pthread_create(&threads[i], NULL, add_up, &sides[i % 2]), 0);
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    snprintf(expected, sizeof expected, "%d", THREADS * STEPS);
    for (int i = 0; i < 2; i++) {
        sees(&sides[i], "sum", expected);
        test_side_close(&sides[i]);
    }
}

static int32_t set_newer(test_side *s, const char *key, const char *value, uint64_t app_version, strata_result *out) {
    strata_op_options options = {.struct_size = sizeof options, .app_version = app_version};
    return strata_set_if_newer_wait(s->session, s->ns, test_bytes(key), test_bytes(value), &options, out);
}

static void the_order_is_the_programs(void **state) {
    (void)state;
    test_side a = open_side("newer"), b = open_side("newer");
    strata_result out, told;
    assert_int_equal(set_newer(&a, "k", "ten", 10, NULL), STRATA_OK);
    assert_int_equal(set_newer(&b, "k", "twelve", 12, &out), STRATA_OK);
    assert_int_equal(set_newer(&a, "k", "eleven", 11, &told), STRATA_CONFLICT); /* its commit was before, its write is late */
    assert_int_equal(told.version_id, out.version_id);
    sees(&a, "k", "twelve");
    assert_int_equal(read_of(&a, "k").app_version, 12);
    assert_int_equal(set_newer(&a, "k", "again", 12, &told), STRATA_CONFLICT);
    assert_int_equal(set_newer(&a, "k", "none", 0, NULL), STRATA_E_INVALID);
    assert_int_equal(strata_clear_wait(a.session, a.ns, NULL), STRATA_OK);
    assert_int_equal(set_newer(&b, "k", "after", 1, NULL), STRATA_OK); /* what was cleared is not there */
    sees(&a, "k", "after");
    test_side_close(&a);
    test_side_close(&b);
}

static int32_t add(test_side *s, const char *key, const char *value) {
    return strata_add_wait(s->session, s->ns, test_bytes(key), test_bytes(value), NULL, NULL);
}

static strata_load *kept;
static void keep_load(strata_load *load, void *user) {
    (void)user;
    kept = load;
}
static void find_nothing(strata_load *load, void *user) {
    (void)user;
    assert_int_equal(strata_load_finish(load, STRATA_MISS, test_bytes(""), NULL), STRATA_OK);
}
static void ignore(void *user, const strata_result *result) {
    (void)result;
    *(int *)user += 1;
}

static void what_is_there_is_not_added(void **state) {
    (void)state;
    test_side a = open_side("add"), b = open_side("add");
    strata_result result;
    int answers = 0;
    assert_int_equal(add(&a, "k", "first"), STRATA_OK);
    assert_int_equal(add(&b, "k", "second"), STRATA_EXISTS);
    sees(&b, "k", "first");
    assert_int_equal(strata_clear_wait(a.session, a.ns, NULL), STRATA_OK);
    assert_int_equal(add(&b, "k", "third"), STRATA_OK);
    /* Nor is the knowledge that there is none, or what is kept past its end only. */
    strata_namespace_policy policy = {.struct_size = sizeof policy, .absent_ttl_ms = 60000, .stale_if_failing_ms = 60000};
    assert_int_equal(strata_namespace_policy_set(a.ns, &policy, NULL), STRATA_OK);
    assert_int_equal(strata_get_or_load_wait(a.session, a.ns, test_bytes("none"), NULL, find_nothing, NULL, &result), STRATA_MISS);
    assert_int_equal(add(&b, "none", "some"), STRATA_OK);
    sees(&a, "none", "some");
    strata_op_options brief = {.struct_size = sizeof brief, .ttl_ms = 1500};
    assert_int_equal(strata_set_wait(a.session, a.ns, test_bytes("old"), test_bytes("v"), &brief, NULL), STRATA_OK);
    assert_int_equal(add(&b, "old", "w"), STRATA_EXISTS);
    test_sleep_ms(1550);
    assert_int_equal(add(&b, "old", "w"), STRATA_OK);
    /* A load under way is overtaken, and what it brings is not kept. */
    assert_int_equal(strata_get_or_load(a.session, a.ns, test_bytes("loads"), NULL, keep_load, NULL, &result, ignore, &answers),
                     STRATA_PENDING);
    while (kept == NULL) strata_session_wait(a.session, 100);
    assert_int_equal(add(&b, "loads", "added"), STRATA_OK);
    assert_int_equal(strata_load_finish(kept, STRATA_OK, test_bytes("loaded"), NULL), STRATA_OK);
    while (answers == 0) strata_session_wait(a.session, 100);
    sees(&a, "loads", "added");
    test_side_close(&a);
    test_side_close(&b);
}

/* Nobody knows whether it happened: it is settled by an invalidation, and the former version is good for nothing. */
static void an_unknown_outcome_is_no_conflict(void **state) {
    (void)state;
    test_side a = open_side("unknown");
    strata_result out, told;
    strata_op_options brief = {.struct_size = sizeof brief, .deadline_ms = 300};
    assert_int_equal(test_set(a.session, a.ns, "k", "one"), STRATA_OK);
    out = read_of(&a, "k");
    uint32_t owner = test_node_of(cluster, "k");
    assert_int_equal(sx_cluster_pause(cluster, owner), 0);
    int32_t status = strata_set_if_version_wait(a.session, a.ns, test_bytes("k"), test_bytes("two"), out.version_n, out.version_id,
                                                &brief, NULL);
    assert_int_equal(status, STRATA_E_UNKNOWN_OUTCOME);
    assert_null(test_peek(a.session, a.ns, "k"));
    assert_int_equal(sx_cluster_resume(cluster, owner), 0);
    assert_true(test_metric_wait(a.engine, "flow.unknown_resolved", 1, 30000));
    assert_null(test_get(a.session, a.ns, "k"));
    assert_int_equal(set_if(&a, "k", "three", &out, &told), STRATA_CONFLICT);
    assert_int_equal(told.version_n, 0);
    test_side_close(&a);
}

static void without_l2_nothing_is_judged(void **state) {
    (void)state;
    test_side s;
    test_side_open(&s, "n", TEST_OPTIONS("l2.mode", "none"), NULL);
    strata_result seen = {.version_n = 1, .version_id = 1};
    assert_int_equal(add(&s, "k", "v"), STRATA_E_UNAVAILABLE);
    assert_int_equal(set_newer(&s, "k", "v", 1, NULL), STRATA_E_UNAVAILABLE);
    assert_int_equal(set_if(&s, "k", "v", &seen, NULL), STRATA_E_UNAVAILABLE);
    assert_null(test_peek(s.session, s.ns, "k"));
    test_side_close(&s);
}

static void an_answer_may_come_later(void **state) {
    (void)state;
    test_side a = open_side("async");
    int answers = 0;
    strata_op_options options = {.struct_size = sizeof options, .app_version = 3};
    assert_int_equal(strata_add(a.session, a.ns, test_bytes("k"), test_bytes("v"), NULL, ignore, &answers), STRATA_PENDING);
    while (answers < 1) strata_session_wait(a.session, 100);
    assert_int_equal(strata_set_if_newer(a.session, a.ns, test_bytes("k"), test_bytes("w"), &options, ignore, &answers),
                     STRATA_PENDING);
    while (answers < 2) strata_session_wait(a.session, 100);
    strata_result seen = read_of(&a, "k");
    assert_int_equal(seen.app_version, 3);
    assert_int_equal(strata_set_if_version(a.session, a.ns, test_bytes("k"), test_bytes("x"), seen.version_n, seen.version_id, NULL,
                                           ignore, &answers), STRATA_PENDING);
    while (answers < 3) strata_session_wait(a.session, 100);
    sees(&a, "k", "x");
    test_side_close(&a);
}

static int64_t unlink_stored(const char *ns, const char *key) {
    char *text = sx_cluster_command(cluster, test_node_of(cluster, key), "UNLINK {%s}s1:%s:1:%s", test_place_of(key).tag, ns, key);
    int64_t count = atoll(text);
    free(text);
    return count;
}

/* Nobody is told where L2 evicts: who is refused does not read the same again. */
static void what_l2_evicted_is_not_read_again(void **state) {
    (void)state;
    test_side a = open_side("evicted");
    strata_result seen, told;
    assert_int_equal(test_set(a.session, a.ns, "k", "one"), STRATA_OK);
    seen = read_of(&a, "k");
    assert_int_equal(unlink_stored("evicted", "k"), 1);
    assert_string_equal(test_peek(a.session, a.ns, "k"), "one"); /* it holds: nobody wrote */
    assert_int_equal(set_if(&a, "k", "two", &seen, &told), STRATA_CONFLICT);
    assert_int_equal(told.version_n, 0);
    assert_null(test_get(a.session, a.ns, "k"));
    assert_int_equal(add(&a, "k", "two"), STRATA_OK);
    test_side_close(&a);
}

static void finish_load(strata_load *load, void *user) {
    assert_int_equal(strata_load_finish(load, STRATA_OK, test_bytes(user), NULL), STRATA_OK);
}

/* Nor where a value is loaded anew, by another process, and keeps its n. */
static void what_was_loaded_anew_is_read(void **state) {
    (void)state;
    test_side a = open_side("anew"), b = open_side("anew");
    strata_op_options refresh = {.struct_size = sizeof refresh, .flags = STRATA_REFRESH, .deadline_ms = 5000};
    strata_result by_a, by_b, told;
    char first[] = "first", second[] = "second";
    assert_int_equal(strata_get_or_load_wait(a.session, a.ns, test_bytes("k"), NULL, finish_load, first, &by_a), STRATA_OK);
    strata_result_release(a.session, &by_a);
    assert_int_equal(strata_get_or_load_wait(b.session, b.ns, test_bytes("k"), &refresh, finish_load, second, &by_b), STRATA_OK);
    strata_result_release(b.session, &by_b);
    assert_int_equal(by_a.version_n, by_b.version_n);
    assert_true(by_a.version_id != by_b.version_id);
    assert_string_equal(test_peek(a.session, a.ns, "k"), "first");
    assert_int_equal(set_if(&a, "k", "third", &by_a, &told), STRATA_CONFLICT);
    assert_int_equal(told.version_id, by_b.version_id);
    by_a = read_of(&a, "k");
    assert_int_equal(by_a.version_id, by_b.version_id);
    /* What is there in L1 stays. */
    assert_int_equal(add(&a, "k", "third"), STRATA_EXISTS);
    assert_string_equal(test_peek(a.session, a.ns, "k"), "second");
    assert_int_equal(set_if(&a, "k", "third", &by_a, NULL), STRATA_OK);
    test_side_close(&a);
    test_side_close(&b);
}

int main(void) {
    if (!sx_cluster_available()) return 77;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(of_two_that_read_one_writes),   cmocka_unit_test(nothing_is_lost_between_many),
        cmocka_unit_test(the_order_is_the_programs),     cmocka_unit_test(what_is_there_is_not_added),
        cmocka_unit_test(without_l2_nothing_is_judged),  cmocka_unit_test(an_answer_may_come_later),
        cmocka_unit_test(an_unknown_outcome_is_no_conflict), cmocka_unit_test(what_l2_evicted_is_not_read_again),
        cmocka_unit_test(what_was_loaded_anew_is_read),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
