/* SPDX-License-Identifier: Apache-2.0 */
/* Patterns over a real cluster: what matches is gone everywhere, what does not stays, and it can be watched and ended. */
// ctest: timeout=600
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <stdatomic.h>

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

static void open_side_of(test_side *s, const char *mode, sx_cluster *servers, const char *ns) {
    test_side_open(s, ns, TEST_OPTIONS("l2.mode", mode, "l2.nodes", sx_cluster_seeds(servers), "l2.open_wait", "10s"), NULL);
}

static void open_side(test_side *s, const char *ns) { open_side_of(s, "cluster", cluster, ns); }

static int count_there(test_side *s, const char *word, int count) {
    int there = 0;
    char key[32];
    for (int i = 0; i < count; i++) {
        snprintf(key, sizeof key, "%s:%d", word, i);
        there += test_get(s->session, s->ns, key) != NULL;
    }
    return there;
}

typedef struct watch {
    strata_pattern_progress last;
    int calls;
    int stop_after; /* 0: never */
} watch;

static int32_t look(void *user, const strata_pattern_progress *progress) {
    watch *w = user;
    assert_true(progress->found >= w->last.found && progress->invalidated >= w->last.invalidated);
    assert_true(progress->partitions_done >= w->last.partitions_done && progress->partitions == 256);
    w->last = *progress;
    w->calls++;
    return w->stop_after != 0 && w->calls >= w->stop_after;
}

static int32_t invalidate(test_side *s, const char *pattern, uint32_t keys_per_s, watch *w) {
    strata_pattern_options options = {.struct_size = sizeof options, .keys_per_s = keys_per_s, .progress = look, .progress_user = w};
    return strata_invalidate_pattern_wait(s->session, s->ns, test_bytes(pattern), &options);
}

/* ---- what matches ---- */

static void what_matches_is_gone_everywhere(void **state) {
    (void)state;
    enum { KEYS = 5000 };
    test_side a, b, other;
    watch w = {.calls = 0};
    open_side(&a, "pattern");
    open_side(&b, "pattern");
    test_side_set_many(&a, "user", "value", KEYS);
    test_side_set_many(&a, "order", "value", KEYS);
    other = a;
    other.ns = test_engine_ns(a.engine, "pattern2");
    test_side_set_many(&other, "user", "value", 50);
    assert_int_equal(strata_namespace_open(a.engine, "pattern", 7, &other.ns), STRATA_OK);
    test_side_set_many(&other, "user", "value", 50);
    assert_int_equal(count_there(&b, "user", 500), 500);
    assert_int_equal(invalidate(&a, "user:*", 1000000, &w), STRATA_OK);
    assert_int_equal(w.last.found, KEYS);
    assert_int_equal(w.last.invalidated, KEYS);
    assert_int_equal(w.last.partitions_done, 256);
    assert_true(w.calls > 3);
    assert_int_equal(count_there(&a, "user", KEYS), 0);
    assert_int_equal(count_there(&b, "user", KEYS), 0);
    assert_int_equal(count_there(&b, "order", KEYS), KEYS);
    assert_int_equal(count_there(&other, "user", 50), 50);
    other.ns = test_engine_ns(a.engine, "pattern2");
    assert_int_equal(count_there(&other, "user", 50), 50);
    w = (watch){.calls = 0};
    assert_int_equal(invalidate(&b, "nobody:*", 0, &w), STRATA_OK);
    assert_int_equal(w.last.found, 0);
    assert_int_equal(strata_invalidate_pattern_wait(b.session, b.ns, test_bytes("*"), NULL), STRATA_OK);
    assert_int_equal(count_there(&a, "order", 100), 0);
    test_side_close(&a);
    test_side_close(&b);
}

static void a_pattern_is_of_keys_and_of_nothing_else(void **state) {
    (void)state;
    test_side a, other;
    open_side(&a, "glob");
    other = a;
    other.ns = test_engine_ns(a.engine, "globs");
    static const char *const match[] = {"ab1*", "ac2*"}, *const differ[] = {"ab1x", "ad1*", "ab12*", "xab1*"};
    for (int i = 0; i < 2; i++) assert_int_equal(test_set(a.session, a.ns, match[i], "v"), STRATA_OK);
    for (int i = 0; i < 4; i++) assert_int_equal(test_set(a.session, a.ns, differ[i], "v"), STRATA_OK);
    /* Another namespace's key that holds the name of one of ours. */
    assert_int_equal(test_set(a.session, other.ns, "}s1:glob:1:ab1*", "v"), STRATA_OK);
    watch w = {.calls = 0};
    assert_int_equal(invalidate(&a, "a[bc]?\\*", 0, &w), STRATA_OK);
    assert_int_equal(w.last.found, 2);
    for (int i = 0; i < 2; i++) assert_null(test_get(a.session, a.ns, match[i]));
    for (int i = 0; i < 4; i++) assert_string_equal(test_get(a.session, a.ns, differ[i]), "v");
    assert_string_equal(test_get(a.session, other.ns, "}s1:glob:1:ab1*"), "v");
    char longest[STRATA_PATTERN_BYTES_MAX + 2];
    memset(longest, 'x', sizeof longest);
    longest[sizeof longest - 1] = 0;
    assert_int_equal(invalidate(&a, longest, 0, &w), STRATA_E_INVALID);
    w = (watch){.calls = 0};
    assert_int_equal(invalidate(&a, longest + 1, 0, &w), STRATA_OK);
    assert_int_equal(invalidate(&a, "", 0, &w), STRATA_E_INVALID);
    assert_int_equal(strata_invalidate_pattern(NULL, a.ns, test_bytes("*"), NULL, NULL, NULL), STRATA_E_INVALID);
    assert_int_equal(strata_invalidate_pattern(a.session, NULL, test_bytes("*"), NULL, NULL, NULL), STRATA_E_INVALID);
    test_side_close(&a);
}

/* L2 has lost it, L1 has not: there is nothing to scan for. */
static void what_only_l1_holds_is_gone_too(void **state) {
    (void)state;
    test_side a, b;
    watch w = {.calls = 0};
    open_side(&a, "evicted");
    open_side(&b, "evicted");
    assert_int_equal(test_set(a.session, a.ns, "gone", "old"), STRATA_OK);
    assert_string_equal(test_get(b.session, b.ns, "gone"), "old");
    free(sx_cluster_command(cluster, test_node_of(cluster, "gone"), "DEL {%s}s1:evicted:1:gone", test_place_of("gone").tag));
    assert_string_equal(test_peek(b.session, b.ns, "gone"), "old");
    int64_t messages = test_metric(b.engine, "coherence.messages");
    assert_int_equal(invalidate(&a, "go*", 0, &w), STRATA_OK);
    assert_int_equal(w.last.found, 0);
    assert_null(test_peek(a.session, a.ns, "gone"));
    assert_true(test_metric_wait(b.engine, "coherence.messages", messages + 256, 30000));
    assert_null(test_peek(b.session, b.ns, "gone"));
    assert_null(test_get(b.session, b.ns, "gone"));
    test_side_close(&a);
    test_side_close(&b);
}

static void a_load_under_way_is_cached_nowhere(void **state) {
    (void)state;
    test_side a, b;
    watch w = {.calls = 0};
    open_side(&a, "loading");
    open_side(&b, "loading");
    test_side_hold(&a, "load:1", NULL);
    assert_int_equal(invalidate(&b, "load:*", 0, &w), STRATA_OK);
    assert_int_equal(w.last.found, 1); /* its lease */
    strata_load_finish(a.kept, STRATA_OK, test_bytes("old"), NULL);
    test_side_await(&a, 1);
    assert_int_equal(a.status, STRATA_OK);
    test_sleep_ms(50);
    assert_null(test_get(a.session, a.ns, "load:1"));
    assert_null(test_get(b.session, b.ns, "load:1"));
    test_side_close(&a);
    test_side_close(&b);
}

/* ---- how it goes ---- */

static void count_answer(void *user, const strata_result *result) {
    int32_t *statuses = user;
    statuses[0]++;
    statuses[1] = result->status;
}

static void it_keeps_to_its_rate_and_can_be_ended(void **state) {
    (void)state;
    test_side a;
    int32_t told[2] = {0, 1};
    open_side(&a, "paced");
    test_side_set_many(&a, "k", "value", 3000);
    watch w = {.stop_after = 1};
    assert_int_equal(invalidate(&a, "k:*", 0, &w), STRATA_E_CANCELLED);
    assert_int_equal(w.calls, 1);
    assert_true(count_there(&a, "k", 3000) > 0);
    test_side_set_many(&a, "k", "value", 3000);
    w = (watch){.calls = 0};
    int64_t began_ms = test_now_ms();
    assert_int_equal(invalidate(&a, "k:*", 3000, &w), STRATA_OK);
    assert_true(test_now_ms() - began_ms >= 800);
    assert_int_equal(count_there(&a, "k", 3000), 0);
    /* Its session closes: it goes no further, and is told so. */
    test_side_set_many(&a, "k", "value", 3000);
    strata_pattern_options slowly = {.struct_size = sizeof slowly, .keys_per_s = 500};
    assert_int_equal(strata_invalidate_pattern(a.session, a.ns, test_bytes("k:*"), &slowly, count_answer, told), STRATA_PENDING);
    strata_session_close(a.session);
    assert_int_equal(told[0], 1);
    assert_int_equal(told[1], STRATA_E_CANCELLED);
    a.session = test_engine_session(a.engine);
    for (int i = 0; i < 30000 && test_metric(a.engine, "flow.pending") != 0; i++) test_sleep_ms(1);
    assert_int_equal(test_metric(a.engine, "flow.pending"), 0);
    assert_true(count_there(&a, "k", 3000) > 1000);
    /* And the engine, while it waits for its time. */
    assert_int_equal(strata_invalidate_pattern(a.session, a.ns, test_bytes("k:*"), &slowly, count_answer, told), STRATA_PENDING);
    test_sleep_ms(100);
    assert_int_equal(strata_close(a.engine, 50), STRATA_E_TIMEOUT);
    strata_session_close(a.session);
    assert_int_equal(told[0], 2);
    assert_int_equal(told[1], STRATA_E_CLOSED);
}

/* What a progress function meets whose session closes. */
typedef struct visit {
    _Atomic int calls;
    _Atomic bool inside;
    uint32_t stay_ms;
} visit;

static int32_t stay(void *user, const strata_pattern_progress *progress) {
    visit *v = user;
    (void)progress;
    atomic_store(&v->inside, true);
    atomic_fetch_add(&v->calls, 1);
    test_sleep_ms(v->stay_ms);
    atomic_store(&v->inside, false);
    return 0;
}

/* After its session's close nothing of the caller's is touched, whether somebody is told of the end or nobody. */
static void nothing_is_told_once_the_session_is_closed(void **state) {
    (void)state;
    test_side a;
    open_side(&a, "closing");
    test_side_set_many(&a, "k", "value", 2000);
    for (int told_too = 0; told_too <= 1; told_too++) {
        int32_t told[2] = {0, 1};
        visit v = {.stay_ms = 300};
        strata_pattern_options options = {.struct_size = sizeof options, .keys_per_s = 500, .progress = stay, .progress_user = &v};
        assert_int_equal(strata_invalidate_pattern(a.session, a.ns, test_bytes("k:*"), &options, told_too ? count_answer : NULL, told),
                         STRATA_PENDING);
        for (int i = 0; i < 30000 && !atomic_load(&v.inside); i++) test_sleep_ms(1);
        assert_true(atomic_load(&v.inside));
        strata_session_close(a.session);
        assert_false(atomic_load(&v.inside));
        assert_int_equal(told[0], told_too);
        if (told_too) assert_int_equal(told[1], STRATA_E_CANCELLED);
        int calls = atomic_load(&v.calls);
        a.session = test_engine_session(a.engine);
        test_sleep_ms(1200);
        assert_int_equal(atomic_load(&v.calls), calls);
        assert_int_equal(test_metric(a.engine, "flow.pending"), 0);
    }
    test_side_close(&a);
}

static _Atomic uint64_t found;

static int32_t note_found(void *user, const strata_pattern_progress *progress) {
    (void)user;
    atomic_store(&found, progress->found);
    return 0;
}

/* Nor does it go on until its time has come. */
static void the_end_of_its_session_wakes_it(void **state) {
    (void)state;
    test_side a;
    strata_pattern_options options = {.struct_size = sizeof options, .keys_per_s = 1, .progress = note_found};
    open_side(&a, "waking");
    atomic_store(&found, 0);
    test_side_set_many(&a, "k", "value", 2000);
    assert_int_equal(strata_invalidate_pattern(a.session, a.ns, test_bytes("k:*"), &options, NULL, NULL), STRATA_PENDING);
    for (int i = 0; i < 30000 && atomic_load(&found) == 0; i++) test_sleep_ms(1);
    assert_in_range(atomic_load(&found), 1, 100); /* not a batch of the usual size: it would take minutes' worth at once */
    test_sleep_ms(20);
    strata_session_close(a.session);
    a.session = test_engine_session(a.engine);
    for (int i = 0; i < 30000 && test_metric(a.engine, "flow.pending") != 0; i++) test_sleep_ms(1);
    assert_int_equal(test_metric(a.engine, "flow.pending"), 0);
    test_side_close(&a);
}

/* The same address, the same keys, another server: a cursor of before means other keys there. */
static void a_server_that_restarts_meanwhile_is_scanned_again(void **state) {
    (void)state;
    enum { KEYS = 3000 };
    test_side a, b;
    int32_t told[2] = {0, 1};
    static const char *const extra[] = {"--appendonly", "yes", NULL};
    sx_cluster_options server = {.extra = extra};
    sx_cluster *single = test_cluster_start(&server);
    strata_pattern_options options = {.struct_size = sizeof options, .keys_per_s = 500, .progress = note_found};
    open_side_of(&a, "standalone", single, "restarting");
    open_side_of(&b, "standalone", single, "restarting");
    test_side_set_many(&a, "k", "value", KEYS);
    atomic_store(&found, 0);
    assert_int_equal(strata_invalidate_pattern(a.session, a.ns, test_bytes("k:*"), &options, count_answer, told), STRATA_PENDING);
    for (int i = 0; i < 30000 && atomic_load(&found) < KEYS / 2; i++) strata_session_wait(a.session, 1);
    assert_in_range(atomic_load(&found), KEYS / 2, KEYS - 500);
    assert_int_equal(sx_cluster_restart(single, 0), 0);
    assert_int_equal(told[0], 0);
    for (int i = 0; i < 3000 && told[0] == 0; i++) strata_session_wait(a.session, 10);
    assert_int_equal(told[0], 1);
    assert_int_equal(told[1], STRATA_OK);
    test_engine_await_trust(b.engine, 20000);
    assert_int_equal(count_there(&b, "k", KEYS), 0);
    test_side_close(&a);
    test_side_close(&b);
    sx_cluster_stop(single);
}

static _Atomic uint32_t scanned;

static int32_t note(void *user, const strata_pattern_progress *progress) {
    (void)user;
    atomic_store(&scanned, progress->partitions_done);
    return 0;
}

/* The servers take no writes for a while, and who had sent some is cut off: what became of them is not known. */
static void a_write_soon_follows_what_was_cut_off(void **state) {
    (void)state;
    enum { KEYS = 12 };
    test_side a;
    open_side(&a, "cut");
    test_side_set_many(&a, "cut", "value", KEYS);
    for (uint32_t n = 0; n < 3; n++) free(sx_cluster_command(cluster, n, "CLIENT PAUSE 600 WRITE"));
    assert_int_equal(strata_invalidate_pattern(a.session, a.ns, test_bytes("cut:*"), NULL, test_side_done, &a), STRATA_PENDING);
    test_sleep_ms(200);
    for (uint32_t n = 0; n < 3; n++) free(sx_cluster_command(cluster, n, "CLIENT KILL TYPE normal SKIPME yes"));
    test_side_await(&a, 1);
    assert_int_equal(a.status, STRATA_E_UNKNOWN_OUTCOME);
    strata_op_options options = {.struct_size = sizeof options, .deadline_ms = 2500};
    for (int i = 0; i < KEYS; i++) {
        char key[16];
        snprintf(key, sizeof key, "cut:%d", i);
        assert_int_equal(strata_set_wait(a.session, a.ns, test_bytes(key), test_bytes("new"), &options, NULL), STRATA_OK);
    }
    assert_int_equal(count_there(&a, "cut", KEYS), KEYS);
    test_side_close(&a);
}

/* The first node has been scanned, the second is being scanned; then keys go from the second to the first. */
static void a_slot_that_moves_meanwhile_is_scanned_again(void **state) {
    (void)state;
    test_side a, b;
    int32_t told[2] = {0, 1};
    strata_pattern_options options = {.struct_size = sizeof options, .keys_per_s = 3000, .progress = note};
    open_side(&a, "moving");
    open_side(&b, "moving");
    test_side_set_many(&a, "k", "value", 6000);
    int first = sx_cluster_owner(cluster, test_place_at(0).slot), second = first;
    uint32_t moved = 0;
    while (second == first) second = sx_cluster_owner(cluster, test_place_at(++moved).slot);
    for (moved = 255; sx_cluster_owner(cluster, test_place_at(moved).slot) != second;) moved--; /* not the one it asks by */
    assert_int_equal(strata_invalidate_pattern(a.session, a.ns, test_bytes("k:*"), &options, count_answer, told), STRATA_PENDING);
    for (int i = 0; i < 30000 && atomic_load(&scanned) == 0; i++) strata_session_wait(a.session, 1);
    assert_in_range(atomic_load(&scanned), 1, 255);
    test_cluster_move_slot(cluster, test_place_at(moved).slot, (uint32_t)second, (uint32_t)first, 0);
    assert_int_equal(told[0], 0);
    for (int i = 0; i < 3000 && told[0] == 0; i++) strata_session_wait(a.session, 10);
    assert_int_equal(told[0], 1);
    assert_int_equal(told[1], STRATA_OK);
    test_engine_await_trust(b.engine, 20000);
    assert_int_equal(count_there(&b, "k", 6000), 0);
    test_side_close(&a);
    test_side_close(&b);
}

static _Atomic int killed;

static int32_t kill_a_node(void *user, const strata_pattern_progress *progress) {
    (void)user;
    if (progress->found > 0 && atomic_exchange(&killed, 1) == 0) sx_cluster_kill(cluster, 0);
    return 0;
}

/* A primary dies while it goes: it ends, well or not, and where not it says so; repeated, nothing is left. */
static void a_failover_meanwhile(void **state) {
    (void)state;
    test_side a, b;
    strata_pattern_options options = {.struct_size = sizeof options, .keys_per_s = 5000, .progress = kill_a_node};
    open_side(&a, "failing");
    open_side(&b, "failing");
    test_side_set_many(&a, "k", "value", 3000);
    test_sleep_ms(300);
    int32_t status = strata_invalidate_pattern_wait(a.session, a.ns, test_bytes("k:*"), &options);
    assert_int_equal(atomic_load(&killed), 1);
    if (status == STRATA_OK) assert_int_equal(count_there(&b, "k", 3000), 0);
    test_sleep_ms(1000);
    test_engine_await_trust(a.engine, 20000);
    test_engine_await_trust(b.engine, 20000);
    assert_int_equal(strata_invalidate_pattern_wait(a.session, a.ns, test_bytes("k:*"), NULL), STRATA_OK);
    test_sleep_ms(100);
    assert_int_equal(count_there(&b, "k", 3000), 0);
    test_side_close(&a);
    test_side_close(&b);
}

int main(void) {
    if (!sx_cluster_available()) return 77;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_matches_is_gone_everywhere),
        cmocka_unit_test(a_pattern_is_of_keys_and_of_nothing_else),
        cmocka_unit_test(what_only_l1_holds_is_gone_too),
        cmocka_unit_test(a_load_under_way_is_cached_nowhere),
        cmocka_unit_test(it_keeps_to_its_rate_and_can_be_ended),
        cmocka_unit_test(nothing_is_told_once_the_session_is_closed),
        cmocka_unit_test(the_end_of_its_session_wakes_it),
        cmocka_unit_test(a_server_that_restarts_meanwhile_is_scanned_again),
        cmocka_unit_test(a_write_soon_follows_what_was_cut_off),
        cmocka_unit_test(a_slot_that_moves_meanwhile_is_scanned_again),
        cmocka_unit_test(a_failover_meanwhile), /* node 0 is gone */
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
