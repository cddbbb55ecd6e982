/* SPDX-License-Identifier: Apache-2.0 */
/* Clearing a namespace over a real cluster: nothing of before is served anywhere, whatever is lost, loaded or replaced meanwhile. */
// ctest: timeout=600
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
    sx_cluster_options options = {.primaries = 3, .replicas = 1};
    cluster = test_cluster_start(&options);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    sx_cluster_stop(cluster);
    return 0;
}

static void open_side(test_side *s, const char *ns) {
    test_side_open(s, ns, TEST_OPTIONS("l2.nodes", sx_cluster_seeds(cluster), "l2.open_wait", "10s"), NULL);
}

static void clear(test_side *s) {
    strata_op_options options = {.struct_size = sizeof options, .deadline_ms = 10000};
    assert_int_equal(strata_clear_wait(s->session, s->ns, &options), STRATA_OK);
}

/* A key whose partition is of that node; *partition its partition. */
static void key_at(uint32_t node, const char *word, char *out, size_t size, uint32_t *partition) {
    for (int i = 0;; i++) {
        snprintf(out, size, "%s:%d", word, i);
        *partition = test_place_of(out).partition;
        if (test_node_of(cluster, out) == node) return;
    }
}

/* One command about the partition's counter, at its owner. */
static void at_counter(uint32_t partition, const char *verb, const char *rest) {
    test_place place = test_place_at(partition);
    int owner = sx_cluster_owner(cluster, place.slot);
    assert_true(owner >= 0);
    char *answer = sx_cluster_command(cluster, (uint32_t)owner, "%s {%s}s1:n%s", verb, place.tag, rest);
    if (answer[0] == '-') fail_msg("%s: %s", verb, answer);
    free(answer);
}

/* ---- what it is for ---- */

static void one_call_makes_all_of_a_namespace_invalid(void **state) {
    (void)state;
    enum { KEYS = 600 };
    test_side sides[2], *a = &sides[0], *b = &sides[1];
    char key[32];
    strata_namespace *later = NULL;
    open_side(a, "cleared");
    open_side(b, "cleared");
    strata_namespace *others[] = {test_engine_ns(a->engine, "other"), test_engine_ns(b->engine, "other")};
    assert_int_equal(strata_namespace_open(a->engine, "cleared", 2, &later), STRATA_OK);
    for (int i = 0; i < KEYS; i++) {
        snprintf(key, sizeof key, "key:%d", i);
        assert_int_equal(test_set(a->session, a->ns, key, "old"), STRATA_OK);
        assert_string_equal(test_get(b->session, b->ns, key), "old");
    }
    assert_int_equal(test_set(a->session, others[0], "key:0", "other"), STRATA_OK);
    assert_int_equal(test_set(a->session, later, "key:0", "later"), STRATA_OK);
    assert_string_equal(test_get(b->session, others[1], "key:0"), "other");
    test_sleep_ms(200); /* the messages of the writes have come */
    int64_t messages = test_metric(b->engine, "coherence.messages"), commands = test_metric(a->engine, "l2.commands");
    clear(a);
    assert_int_equal(test_metric(a->engine, "l2.commands") - commands, TEST_PARTITIONS);
    assert_true(test_metric_wait(b->engine, "coherence.messages", messages + TEST_PARTITIONS, 30000));
    assert_int_equal(test_metric(b->engine, "flow.clears"), 0);
    for (int i = 0; i < KEYS; i++) {
        snprintf(key, sizeof key, "key:%d", i);
        for (int k = 0; k < 2; k++) {
            assert_null(test_peek(sides[k].session, sides[k].ns, key));
            assert_null(test_get(sides[k].session, sides[k].ns, key)); /* nor from L2 */
        }
    }
    assert_int_equal(test_metric(b->engine, "coherence.messages"), messages + TEST_PARTITIONS);
    int64_t unproven = test_metric(b->engine, "l1.unproven");
    for (int i = 0; i < KEYS; i++) { /* what was found outdated has left L1 */
        snprintf(key, sizeof key, "key:%d", i);
        assert_null(test_get(b->session, b->ns, key));
    }
    assert_int_equal(test_metric(b->engine, "l1.unproven"), unproven);
    assert_string_equal(test_peek(b->session, others[1], "key:0"), "other"); /* not even unproven */
    assert_string_equal(test_peek(a->session, later, "key:0"), "later");
    /* What is written or loaded after it is valid, everywhere, and stays so. */
    assert_int_equal(test_set(a->session, a->ns, "key:1", "set"), STRATA_OK);
    assert_string_equal(test_side_read(b, "key:2", "loaded", NULL), "loaded");
    for (int k = 0; k < 2; k++) {
        assert_string_equal(test_get(sides[k].session, sides[k].ns, "key:1"), "set");
        assert_string_equal(test_get(sides[k].session, sides[k].ns, "key:2"), "loaded");
        assert_string_equal(test_peek(sides[k].session, sides[k].ns, "key:2"), "loaded");
    }
    clear(b);
    test_side_await_gone(a, "key:1");
    assert_null(test_get(a->session, a->ns, "key:2"));
    test_side_close(a);
    test_side_close(b);
}

/* So many floors that they become one: what else the partition holds is loaded anew, once, and is then what it was. */
static void one_floor_for_all_costs_a_load(void **state) {
    (void)state;
    test_side a, b;
    enum { FLOORS = 1024 };
    char fields[FLOORS * 16];
    size_t used = 0;
    open_side(&a, "many");
    open_side(&b, "kept");
    uint32_t partition = test_place_of("k").partition;
    assert_int_equal(test_set(b.session, b.ns, "k", "before"), STRATA_OK);
    assert_string_equal(test_get(b.session, b.ns, "k"), "before");
    for (int i = 0; i < FLOORS; i++) /* of versions that came and went */
        used += (size_t)snprintf(fields + used, sizeof fields - used, " gone:%d 1", i);
    at_counter(partition, "HSET", fields);
    clear(&a);
    for (int i = 0; i < 3000 && test_get(b.session, b.ns, "k") != NULL; i++) test_sleep_ms(10);
    assert_null(test_get(b.session, b.ns, "k"));
    assert_string_equal(test_side_read(&b, "k", "loaded", NULL), "loaded");
    test_engine_await_trust(b.engine, 30000);
    for (int i = 0; i < 2; i++) { /* and a load is stored: everybody knows the floor */
        assert_string_equal(test_side_read(&b, "k", "again", NULL), "loaded");
        assert_int_equal(test_set(a.session, a.ns, "k", "a"), STRATA_OK);
        assert_string_equal(test_get(a.session, a.ns, "k"), "a");
    }
    test_side_close(&a);
    test_side_close(&b);
}

static void who_comes_later_knows_of_it(void **state) {
    (void)state;
    test_side a, b, c;
    open_side(&a, "later");
    open_side(&b, "unrelated");
    assert_string_equal(test_side_read(&b, "k", "x", NULL), "x"); /* so b knows the partition's floors, but not of this namespace */
    assert_int_equal(test_set(a.session, a.ns, "k", "old"), STRATA_OK);
    clear(&a);
    b.ns = test_engine_ns(b.engine, "later");
    assert_null(test_get(b.session, b.ns, "k"));
    open_side(&c, "later");
    assert_null(test_get(c.session, c.ns, "k"));
    assert_string_equal(test_side_read(&c, "k", "new", NULL), "new");
    assert_string_equal(test_get(b.session, b.ns, "k"), "new");
    test_side_close(&a);
    test_side_close(&b);
    test_side_close(&c);
}

/* ---- what is under way ---- */

static void a_load_from_before_a_clear_is_cached_nowhere(void **state) {
    (void)state;
    test_side a, b;
    open_side(&a, "race");
    open_side(&b, "race");
    test_side_hold(&a, "loading", NULL);
    clear(&b);
    strata_load_finish(a.kept, STRATA_OK, test_bytes("old"), NULL);
    test_side_await(&a, 1);
    assert_string_equal(a.answer, "old"); /* who asked before is told what it asked for */
    test_sleep_ms(50);
    assert_null(test_peek(a.session, a.ns, "loading"));
    assert_null(test_get(a.session, a.ns, "loading"));
    assert_null(test_get(b.session, b.ns, "loading"));
    assert_string_equal(test_side_read(&b, "loading", "new", NULL), "new");
    assert_string_equal(test_get(a.session, a.ns, "loading"), "new");
    test_side_close(&a);
    test_side_close(&b);
}

/* Another process waits for the load that began before the clear: it must load by itself. */
static void who_waits_for_an_outdated_load_loads(void **state) {
    (void)state;
    test_side a, b;
    open_side(&a, "awaited");
    open_side(&b, "awaited");
    test_side_hold(&a, "waited", NULL);
    clear(&a);
    test_side_start(&b, "waited", "new", NULL);
    for (int i = 0; i < 10; i++) strata_session_wait(b.session, 10);
    assert_int_equal(b.calls, 0);
    strata_load_finish(a.kept, STRATA_OK, test_bytes("old"), NULL);
    test_side_await(&b, 1);
    assert_int_equal(b.calls, 1);
    assert_string_equal(b.answer, "new");
    test_side_await(&a, 1);
    assert_string_equal(test_get(a.session, a.ns, "waited"), "new");
    test_side_close(&a);
    test_side_close(&b);
}

static void join_after(bool own) {
    test_side a, b;
    open_side(&a, "joined");
    open_side(&b, "joined");
    test_side_hold(&a, "joined", NULL);
    strata_load *before = a.kept;
    int64_t messages = test_metric(a.engine, "coherence.messages");
    clear(own ? &a : &b);
    assert_true(test_metric_wait(a.engine, "coherence.messages", messages + TEST_PARTITIONS, 30000));
    test_sleep_ms(20);
    test_side late = a; /* its answers apart */
    test_side_start(&late, "joined", "new", NULL);
    strata_load_finish(before, STRATA_OK, test_bytes("old"), NULL);
    test_side_await(&a, 1);
    test_side_await(&late, 1);
    assert_string_equal(a.answer, "old");
    assert_string_equal(late.answer, "new");
    assert_int_equal(late.calls, 1);
    assert_string_equal(test_get(b.session, b.ns, "joined"), "new");
    assert_int_equal(strata_invalidate_wait(a.session, a.ns, test_bytes("joined"), NULL), STRATA_OK);
    test_side_close(&a);
    test_side_close(&b);
}

static void who_joins_after_a_clear_waits_for_another_load(void **state) {
    (void)state;
    join_after(true);
    join_after(false); /* another process's */
}

static void count_answer(void *user, const strata_result *result) {
    int32_t *statuses = user;
    statuses[0]++;
    statuses[1] = result->status;
}

static void it_is_told_once_or_not_at_all(void **state) {
    (void)state;
    test_side a;
    int32_t told[2] = {0, 1};
    open_side(&a, "told");
    assert_int_equal(strata_clear(NULL, a.ns, NULL, NULL, NULL), STRATA_E_INVALID);
    assert_int_equal(strata_clear(a.session, NULL, NULL, NULL, NULL), STRATA_E_INVALID);
    assert_int_equal(strata_clear_wait(a.session, NULL, NULL), STRATA_E_INVALID);
    assert_int_equal(strata_clear(a.session, a.ns, NULL, count_answer, told), STRATA_PENDING);
    for (int i = 0; i < 3000 && told[0] == 0; i++) strata_session_wait(a.session, 10);
    assert_int_equal(told[0], 1);
    assert_int_equal(told[1], STRATA_OK);
    assert_int_equal(strata_clear(a.session, a.ns, NULL, NULL, NULL), STRATA_PENDING); /* nobody waits */
    assert_int_equal(strata_clear(a.session, a.ns, NULL, count_answer, told), STRATA_PENDING);
    strata_session_close(a.session);
    assert_int_equal(told[0], 2);
    assert_int_equal(told[1], STRATA_E_CANCELLED);
    assert_int_equal(strata_close(a.engine, 5000), STRATA_OK);
}

/* ---- what is lost ---- */

/* The messages reach nobody: what was there must be proven by the floors, not by the messages. */
static void lost_messages_bring_nothing_back(void **state) {
    (void)state;
    test_side a, b;
    char key[32];
    test_cutter cutter;
    open_side(&a, "lost");
    open_side(&b, "lost");
    strata_namespace *kept[] = {test_engine_ns(a.engine, "kept"), test_engine_ns(b.engine, "kept")};
    for (int i = 0; i < 50; i++) {
        snprintf(key, sizeof key, "lost:%d", i);
        assert_int_equal(test_set(a.session, a.ns, key, "old"), STRATA_OK);
        assert_string_equal(test_get(b.session, b.ns, key), "old");
    }
    assert_int_equal(test_set(a.session, kept[0], "lost:0", "stays"), STRATA_OK);
    assert_string_equal(test_get(b.session, kept[1], "lost:0"), "stays");
    test_cutter_start(&cutter, cluster, 3);
    assert_true(test_metric_wait(b.engine, "coherence.lost", TEST_PARTITIONS, 30000));
    clear(&a);
    test_sleep_ms(600); /* beyond the bound */
    assert_null(test_peek(b.session, b.ns, "lost:0"));
    assert_null(test_get(b.session, b.ns, "lost:1")); /* untrusted */
    test_cutter_stop(&cutter);
    test_engine_await_trust(b.engine, 20000);
    for (int i = 0; i < 50; i++) {
        snprintf(key, sizeof key, "lost:%d", i);
        assert_null(test_peek(b.session, b.ns, key));
        assert_null(test_get(b.session, b.ns, key));
    }
    int64_t hits = test_metric(b.engine, "l2.hits");
    assert_string_equal(test_get(b.session, kept[1], "lost:0"), "stays"); /* proven again: no payload moved */
    assert_int_equal(test_metric(b.engine, "l2.hits"), hits);
    test_side_close(&a);
    test_side_close(&b);
}

/* A clear whose message does not exist: only counter and floor move. */
static void a_message_that_never_came(void **state) {
    (void)state;
    test_side a;
    char key[32];
    uint32_t partition;
    open_side(&a, "silent");
    key_at(0, "silent", key, sizeof key, &partition);
    assert_int_equal(test_set(a.session, a.ns, key, "old"), STRATA_OK);
    assert_string_equal(test_get(a.session, a.ns, key), "old");
    assert_string_equal(test_side_read(&a, "asks the floors", "x", NULL), "x");
    at_counter(partition, "HSET", " silent:1 9007199254740000");
    at_counter(partition, "HINCRBY", " n 1");
    test_sleep_ms(600); /* beyond the bound */
    test_engine_await_trust(a.engine, 20000);
    assert_null(test_peek(a.session, a.ns, key));
    assert_null(test_get(a.session, a.ns, key));
    at_counter(partition, "HDEL", " silent:1");
    test_side_close(&a);
}

/* The counter is evicted, and the floors in it: what they made invalid stays so. */
static void a_missing_counter_brings_nothing_back(void **state) {
    (void)state;
    test_side a, b;
    char key[32];
    uint32_t partition;
    open_side(&a, "evicted");
    key_at(1, "evicted", key, sizeof key, &partition);
    assert_int_equal(test_set(a.session, a.ns, key, "old"), STRATA_OK);
    clear(&a);
    at_counter(partition, "DEL", "");
    open_side(&b, "evicted");
    assert_null(test_get(b.session, b.ns, key));
    test_engine_await_trust(a.engine, 20000);
    assert_null(test_get(a.session, a.ns, key));
    assert_string_equal(test_side_read(&b, key, "new", NULL), "new");
    assert_string_equal(test_get(a.session, a.ns, key), "new");
    test_side_close(&a);
    test_side_close(&b);
}

static void a_stale_answer_is_none_that_was_cleared(void **state) {
    (void)state;
    test_side a;
    test_cutter cutter;
    open_side(&a, "stale");
    assert_int_equal(strata_namespace_set_untrusted(a.ns, STRATA_UNTRUSTED_SERVE_STALE, 60000), STRATA_OK);
    assert_int_equal(test_set(a.session, a.ns, "cleared", "old"), STRATA_OK);
    clear(&a);
    for (int i = 0; i < 100 && test_peek(a.session, a.ns, "written") == NULL; i++) { /* a slow machine's trust may lapse */
        assert_int_equal(test_set(a.session, a.ns, "written", "new"), STRATA_OK);
        test_sleep_ms(300); /* its message has come: so nothing is missing when the connection breaks */
    }
    assert_string_equal(test_peek(a.session, a.ns, "written"), "new");
    test_cutter_start(&cutter, cluster, 3);
    assert_true(test_metric_wait(a.engine, "coherence.lost", TEST_PARTITIONS, 30000));
    test_sleep_ms(600);
    strata_result result;
    assert_int_equal(strata_peek(a.session, a.ns, test_bytes("cleared"), &result), STRATA_MISS);
    assert_int_equal(strata_peek(a.session, a.ns, test_bytes("written"), &result), STRATA_STALE);
    strata_result_release(a.session, &result);
    test_cutter_stop(&cutter);
    test_side_close(&a);
}

/* ---- failover ---- */

static void what_is_kept_of_clears_takes_no_room_from_keys(void **state) {
    (void)state;
    test_side a;
    test_side_open(&a, "room", TEST_OPTIONS("l2.nodes", sx_cluster_seeds(cluster), "l2.open_wait", "10s",
                                            "coherence.recovery_ops_max", "4", "coherence.replay_window", "60s"), NULL);
    assert_int_equal(strata_invalidate_wait(a.session, a.ns, test_bytes("k"), NULL), STRATA_OK);
    clear(&a);
    clear(&a);
    assert_int_equal(test_metric(a.engine, "recovery.window"), 1);
    assert_int_equal(test_metric(a.engine, "recovery.overflowed"), 0);
    test_side_close(&a);
}

/* The successor has not seen the clear: its sender repeats it there, else all of the namespace would be back. */
static void a_failover_undoes_no_acknowledged_clear(void **state) {
    (void)state;
    test_side a, b;
    char key[32];
    uint32_t partition;
    key_at(0, "undone", key, sizeof key, &partition);
    open_side(&a, "undone");
    open_side(&b, "undone");
    assert_int_equal(test_set(a.session, a.ns, key, "old"), STRATA_OK);
    assert_string_equal(test_get(b.session, b.ns, key), "old");
    test_sleep_ms(500); /* the replica has it */
    assert_int_equal(sx_cluster_pause(cluster, 3), 0);
    free(sx_cluster_command(cluster, 0, "CLIENT KILL TYPE replica"));
    clear(&a);
    test_side_await_gone(&b, key);
    test_sleep_ms(300);
    assert_int_equal(sx_cluster_kill(cluster, 0), 0);
    assert_int_equal(sx_cluster_resume(cluster, 3), 0);
    assert_true(test_metric_wait(a.engine, "recovery.tags_repeated", 1, 20000));
    test_engine_await_trust(a.engine, 20000);
    test_engine_await_trust(b.engine, 20000);
    for (int i = 0; i < 30000 && test_metric(a.engine, "flow.pending") != 0; i++) test_sleep_ms(1);
    test_sleep_ms(700);
    assert_null(test_get(b.session, b.ns, key));
    assert_null(test_get(a.session, a.ns, key));
    assert_int_equal(test_set(b.session, b.ns, key, "new"), STRATA_OK);
    assert_string_equal(test_get(a.session, a.ns, key), "new");
    test_side_close(&a);
    test_side_close(&b);
}

static void a_successor_that_knows_of_it(void **state) {
    (void)state;
    test_side a, b;
    char key[32], stays[32];
    uint32_t partition;
    key_at(1, "known", key, sizeof key, &partition);
    key_at(1, "stays", stays, sizeof stays, &partition);
    open_side(&a, "known");
    open_side(&b, "known");
    assert_int_equal(test_set(a.session, a.ns, key, "old"), STRATA_OK);
    clear(&a);
    strata_session_close(a.session);
    assert_int_equal(strata_close(a.engine, 5000), STRATA_OK); /* so nobody repeats it */
    assert_int_equal(test_set(b.session, b.ns, stays, "stays"), STRATA_OK);
    test_sleep_ms(300);
    int64_t bumps = test_metric(b.engine, "coherence.generation_bumps");
    sx_cluster_kill(cluster, 1);
    assert_true(test_metric_wait(b.engine, "coherence.generation_bumps", bumps + 1, 20000));
    test_engine_await_trust(b.engine, 20000);
    assert_null(test_get(b.session, b.ns, key));
    assert_string_equal(test_get(b.session, b.ns, stays), "stays");
    test_side_close(&b);
}

int main(void) {
    if (!sx_cluster_available()) return 77;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_call_makes_all_of_a_namespace_invalid),
        cmocka_unit_test(one_floor_for_all_costs_a_load),
        cmocka_unit_test(who_comes_later_knows_of_it),
        cmocka_unit_test(a_load_from_before_a_clear_is_cached_nowhere),
        cmocka_unit_test(who_waits_for_an_outdated_load_loads),
        cmocka_unit_test(who_joins_after_a_clear_waits_for_another_load),
        cmocka_unit_test(it_is_told_once_or_not_at_all),
        cmocka_unit_test(lost_messages_bring_nothing_back),
        cmocka_unit_test(a_message_that_never_came),
        cmocka_unit_test(a_missing_counter_brings_nothing_back),
        cmocka_unit_test(a_stale_answer_is_none_that_was_cleared),
        cmocka_unit_test(what_is_kept_of_clears_takes_no_room_from_keys),
        cmocka_unit_test(a_failover_undoes_no_acknowledged_clear), /* node 0 is gone */
        cmocka_unit_test(a_successor_that_knows_of_it),           /* and another */
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
