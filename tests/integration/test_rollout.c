/* SPDX-License-Identifier: Apache-2.0 */
/* Rollout against a cluster: what another process sees of one that is without a tier, and values loaded anew for all. */
// ctest: timeout=300
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <pthread.h>

#include <cmocka.h>

#include "tests/support/cluster.h"
#include "tests/support/engine.h"
#include "tests/support/side.h"

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

static void open_side(test_side *side, const char *ns) {
    *side = (test_side){0};
    test_side_open(side, ns, TEST_OPTIONS("l2.nodes", sx_cluster_seeds(cluster), "l2.open_wait", "10s", "flow.ttl_jitter", "0"), NULL);
}

static void roll(test_side *side, uint32_t flags) {
    strata_rollout rollout = {.struct_size = sizeof rollout, .flags = flags};
    assert_int_equal(strata_namespace_rollout_set(side->ns, &rollout, NULL), STRATA_OK);
}

static const char *load_how(test_side *side, const char *key, const char *value, uint32_t flags, uint8_t *source) {
    static char text[32];
    strata_op_options options = {.struct_size = sizeof options, .flags = flags, .deadline_ms = 5000};
    strata_result result;
    side->value = value;
    assert_int_equal(strata_get_or_load_wait(side->session, side->ns, test_bytes(key), &options, test_side_load, side, &result), STRATA_OK);
    memcpy(text, result.value.data, result.value.size);
    text[result.value.size] = 0;
    *source = result.source;
    strata_result_release(side->session, &result);
    return text;
}

/* Entries go on being invalidated while L1 is off, so that they may be answered when it is on again: those that still hold. */
static void l1_off_misses_nothing(void **state) {
    (void)state;
    test_side a, b;
    open_side(&a, "l1off");
    open_side(&b, "l1off");
    assert_int_equal(test_set(a.session, a.ns, "changed", "old"), STRATA_OK);
    assert_int_equal(test_set(a.session, a.ns, "same", "old"), STRATA_OK);
    assert_int_equal(test_set(a.session, a.ns, "unread", "old"), STRATA_OK);
    assert_string_equal(test_get(b.session, b.ns, "unread"), "old");
    assert_string_equal(test_get(b.session, b.ns, "changed"), "old");
    assert_string_equal(test_get(b.session, b.ns, "same"), "old");
    roll(&b, STRATA_ROLLOUT_L1_OFF);
    assert_null(test_peek(b.session, b.ns, "changed"));
    assert_string_equal(test_get(b.session, b.ns, "changed"), "old"); /* from L2 */
    int64_t messages = test_metric(b.engine, "coherence.messages");
    assert_int_equal(test_set(a.session, a.ns, "unread", "new"), STRATA_OK); /* nobody here reads it meanwhile */
    assert_int_equal(test_set(a.session, a.ns, "changed", "new"), STRATA_OK);
    assert_string_equal(test_get(b.session, b.ns, "changed"), "new");
    assert_int_equal(test_set(b.session, b.ns, "own", "value"), STRATA_OK);
    assert_true(test_metric_wait(b.engine, "coherence.messages", messages + 3, 30000));
    roll(&b, 0);
    assert_null(test_peek(b.session, b.ns, "unread"));
    assert_null(test_peek(b.session, b.ns, "changed"));
    assert_null(test_peek(b.session, b.ns, "own"));
    assert_string_equal(test_peek(b.session, b.ns, "same"), "old");
    assert_string_equal(test_get(b.session, b.ns, "changed"), "new");
    test_side_close(&a);
    test_side_close(&b);
}

static void l2_off_reads_and_stores_nothing_there(void **state) {
    (void)state;
    uint8_t source;
    test_side a, b;
    open_side(&a, "l2off");
    open_side(&b, "l2off");
    assert_int_equal(test_set(a.session, a.ns, "k", "stored"), STRATA_OK);
    assert_int_equal(test_set(a.session, a.ns, "held", "stored"), STRATA_OK);
    assert_string_equal(test_get(b.session, b.ns, "held"), "stored");
    roll(&b, STRATA_ROLLOUT_L2_OFF);
    int64_t hits = test_metric(b.engine, "l2.hits"), misses = test_metric(b.engine, "l2.misses");
    assert_string_equal(test_get(b.session, b.ns, "held"), "stored"); /* L1's, and proven */
    assert_null(test_get(b.session, b.ns, "k"));
    assert_string_equal(load_how(&b, "k", "loaded", 0, &source), "loaded");
    assert_int_equal(source, STRATA_FROM_LOADER);
    assert_null(test_peek(b.session, b.ns, "k")); /* for who waited */
    assert_int_equal(test_metric(b.engine, "l2.hits"), hits);
    assert_int_equal(test_metric(b.engine, "l2.misses"), misses);
    assert_string_equal(test_get(a.session, a.ns, "k"), "stored");
    /* What L1 holds lives on there. */
    strata_op_options longer = {.struct_size = sizeof longer, .ttl_ms = INT64_C(90000000), .deadline_ms = 5000};
    strata_result touched;
    assert_int_equal(strata_touch_wait(b.session, b.ns, test_bytes("held"), &longer, &touched), STRATA_OK);
    assert_in_range(touched.ttl_ms, 89000000, 90000000);
    assert_int_equal(strata_touch_wait(b.session, b.ns, test_bytes("k"), &longer, NULL), STRATA_MISS);
    strata_op_options of_l2 = {.struct_size = sizeof of_l2, .flags = STRATA_BYPASS_L1, .deadline_ms = 5000};
    int64_t ttl_ms = 0, number = 0;
    assert_int_equal(strata_get_ttl_wait(a.session, a.ns, test_bytes("held"), &of_l2, &ttl_ms), STRATA_OK);
    assert_in_range(ttl_ms, 1, 86400000);
    /* What L2 judges and counts goes there all the same. */
    assert_int_equal(strata_add_wait(b.session, b.ns, test_bytes("k"), test_bytes("added"), NULL, NULL), STRATA_EXISTS);
    assert_null(test_get(b.session, b.ns, "k"));
    assert_int_equal(strata_incr_wait(b.session, b.ns, test_bytes("n"), 2, NULL, NULL), STRATA_OK);
    assert_int_equal(strata_incr_wait(a.session, a.ns, test_bytes("n"), 3, NULL, &number), STRATA_OK);
    assert_int_equal(number, 5);
    /* A set is an invalidation, which everybody hears of. */
    assert_int_equal(test_set(b.session, b.ns, "k", "set"), STRATA_OK);
    assert_int_equal(strata_invalidate_wait(b.session, b.ns, test_bytes("held"), NULL), STRATA_OK);
    test_side_await_gone(&a, "k");
    test_side_await_gone(&a, "held");
    assert_null(test_get(a.session, a.ns, "k"));
    assert_null(test_get(a.session, a.ns, "held"));
    roll(&b, 0);
    assert_null(test_get(b.session, b.ns, "k"));
    assert_string_equal(load_how(&b, "k", "again", 0, &source), "again");
    assert_string_equal(test_get(a.session, a.ns, "k"), "again");
    test_side_close(&a);
    test_side_close(&b);
}

static void one_call_passes_by_l2(void **state) {
    (void)state;
    uint8_t source;
    test_side a;
    open_side(&a, "bypass");
    assert_int_equal(test_set(a.session, a.ns, "k", "stored"), STRATA_OK);
    assert_string_equal(load_how(&a, "k", "own", STRATA_BYPASS, &source), "own");
    assert_int_equal(source, STRATA_FROM_LOADER);
    assert_string_equal(test_peek(a.session, a.ns, "k"), "stored");
    assert_string_equal(load_how(&a, "k", "own", STRATA_BYPASS_L2, &source), "stored");
    strata_op_options past_both = {.struct_size = sizeof past_both, .flags = STRATA_BYPASS};
    strata_result result;
    assert_int_equal(strata_get_wait(a.session, a.ns, test_bytes("k"), &past_both, &result), STRATA_MISS);
    /* One that waits with others for L2 is not answered by it. */
    test_side_hold(&a, "other", NULL);
    strata_op_options options = {.struct_size = sizeof options, .flags = STRATA_BYPASS, .deadline_ms = 5000};
    a.value = "fresh";
    assert_int_equal(strata_get_or_load(a.session, a.ns, test_bytes("other"), &options, test_side_load, &a, &result, test_side_done, &a),
                     STRATA_PENDING);
    assert_int_equal(strata_load_finish(a.kept, STRATA_OK, test_bytes("held"), NULL), STRATA_OK);
    test_side_await(&a, 2);
    assert_string_equal(a.answer, "held"); /* a load under way is as good */
    test_side_close(&a);
}

static void loaded_anew(void **state) {
    (void)state;
    uint8_t source;
    test_side a, b;
    open_side(&a, "renew");
    open_side(&b, "renew");
    assert_string_equal(load_how(&a, "k", "first", 0, &source), "first");
    assert_string_equal(test_get(b.session, b.ns, "k"), "first");
    assert_string_equal(load_how(&a, "k", "second", STRATA_REFRESH, &source), "second");
    assert_int_equal(source, STRATA_FROM_LOADER);
    assert_string_equal(test_peek(a.session, a.ns, "k"), "second");
    assert_string_equal(test_peek(b.session, b.ns, "k"), "first"); /* nobody has said that this is wrong */
    /* Nothing there: as any load. */
    assert_string_equal(load_how(&a, "new", "x", STRATA_REFRESH, &source), "x");
    assert_string_equal(test_get(b.session, b.ns, "new"), "x");
    /* A get asks L2. */
    strata_op_options refresh = {.struct_size = sizeof refresh, .flags = STRATA_REFRESH, .deadline_ms = 5000};
    strata_result result;
    assert_int_equal(strata_get_wait(b.session, b.ns, test_bytes("k"), &refresh, &result), STRATA_OK);
    assert_int_equal(result.source, STRATA_FROM_L2);
    strata_result_release(b.session, &result);
    assert_string_equal(test_peek(b.session, b.ns, "k"), "second"); /* L1 was filled */
    assert_int_equal(b.calls, 0);
    test_side_close(&a);
    test_side_close(&b);
}

/* A value that was answered is not followed by the one that it replaced, also where it was not to be kept in L1. */
static void what_was_replaced_is_not_answered_again(void **state) {
    (void)state;
    uint8_t source;
    test_side a, b;
    open_side(&a, "replaced");
    open_side(&b, "replaced");
    strata_op_options past = {.struct_size = sizeof past, .flags = STRATA_BYPASS_L1, .deadline_ms = 5000};
    strata_result result;
    assert_string_equal(load_how(&a, "k", "first", 0, &source), "first");
    assert_string_equal(test_get(b.session, b.ns, "k"), "first");
    assert_string_equal(load_how(&a, "k", "second", STRATA_REFRESH | STRATA_BYPASS_L1, &source), "second"); /* by itself */
    assert_string_equal(test_get(a.session, a.ns, "k"), "second");
    assert_int_equal(strata_get_wait(b.session, b.ns, test_bytes("k"), &past, &result), STRATA_OK); /* by another */
    assert_memory_equal(result.value.data, "second", 6);
    strata_result_release(b.session, &result);
    assert_string_equal(test_get(b.session, b.ns, "k"), "second");
    roll(&a, STRATA_ROLLOUT_L2_OFF); /* L2 takes nothing of it */
    assert_string_equal(load_how(&a, "k", "alone", STRATA_REFRESH, &source), "alone");
    assert_null(test_peek(a.session, a.ns, "k"));
    roll(&a, 0);
    roll(&a, STRATA_ROLLOUT_L1_OFF);
    assert_string_equal(load_how(&a, "k", "third", STRATA_REFRESH, &source), "third");
    roll(&a, 0);
    assert_string_equal(test_get(a.session, a.ns, "k"), "third");
    /* Nothing leaves L1 where it is the same. */
    assert_int_equal(strata_get_wait(a.session, a.ns, test_bytes("k"), &past, &result), STRATA_OK);
    strata_result_release(a.session, &result);
    assert_string_equal(test_peek(a.session, a.ns, "k"), "third");
    test_side_close(&a);
    test_side_close(&b);
}

/* Of two who want it loaded anew at the same time, each is answered by a load of its own, and a write in between wins. */
static void refreshes_meet(void **state) {
    (void)state;
    uint8_t source;
    test_side a, b;
    open_side(&a, "meet");
    open_side(&b, "meet");
    assert_string_equal(load_how(&a, "k", "first", 0, &source), "first");
    strata_op_options refresh = {.struct_size = sizeof refresh, .flags = STRATA_REFRESH, .deadline_ms = 10000};
    strata_result result;
    a.value = NULL;
    assert_int_equal(strata_get_or_load(a.session, a.ns, test_bytes("k"), &refresh, test_side_load, &a, &result, test_side_done, &a),
                     STRATA_PENDING);
    for (int i = 0; i < 3000 && a.kept == NULL; i++) (void)strata_session_wait(a.session, 10);
    assert_non_null(a.kept);
    int before = b.calls;
    assert_string_equal(load_how(&b, "k", "other", STRATA_REFRESH, &source), "other"); /* a has the claim: not stored */
    assert_null(test_peek(b.session, b.ns, "k")); /* nor what was before */
    assert_int_equal(b.calls, before + 1);
    assert_int_equal(test_set(b.session, b.ns, "k", "written"), STRATA_OK);
    assert_int_equal(strata_load_finish(a.kept, STRATA_OK, test_bytes("late"), NULL), STRATA_OK);
    test_side_await(&a, 1);
    assert_string_equal(a.answer, "late");
    assert_string_equal(test_get(b.session, b.ns, "k"), "written");
    for (int i = 0; i < 3000 && strcmp(test_get(a.session, a.ns, "k"), "written") != 0; i++) test_sleep_ms(10);
    assert_string_equal(test_get(a.session, a.ns, "k"), "written");
    test_side_close(&a);
    test_side_close(&b);
}

/* ---- toggled under traffic ---------------------------------------------------------------------------------------- */

enum {
    RACE_KEYS = 600, /* so many that most are not read while L1 is off for a moment */
    RACE_MS = 2500,
    RACE_MS_MAX = 30000, /* where little happens on a busy machine */
    SETTLED_MS = 700 /* the bound on staleness, and a busy machine's delay */
};

/* A source, its caches in two processes, and what each has acknowledged. */
typedef struct race {
    test_side sides[2];
    _Atomic int64_t source[RACE_KEYS]; /* raised by the writer before each write */
    _Atomic int64_t acked[2][RACE_KEYS];
    _Atomic int over;
    _Atomic int64_t writes, failed, reads[4]; /* by strata_source */
    _Atomic int64_t old, wanted, got; /* reads of what was over, and the last such */
} race;

static const char *race_key(uint32_t number, char buffer[16]) {
    (void)snprintf(buffer, 16, "k%u", (unsigned)number);
    return buffer;
}

static void load_source(strata_load *load, void *user) {
    char text[24];
    (void)snprintf(text, sizeof text, "%lld", (long long)atomic_load((_Atomic int64_t *)user));
    strata_load_finish(load, STRATA_OK, test_bytes(text), NULL);
}

static void read_one(race *r, int at, strata_session *session, uint32_t number, int64_t settled) {
    char key[16], text[24];
    strata_op_options options = {.struct_size = sizeof options, .deadline_ms = 5000};
    strata_result result;
    int64_t least = atomic_load(&r->acked[at][number]);
    if (settled > least) least = settled;
    int32_t status = strata_get_or_load_wait(session, r->sides[at].ns, test_bytes(race_key(number, key)), &options, load_source,
                                             &r->source[number], &result);
    if (status != STRATA_OK) {
        atomic_fetch_add(&r->failed, 1);
        return;
    }
    memcpy(text, result.value.data, result.value.size);
    text[result.value.size] = 0;
    atomic_fetch_add(&r->reads[result.source], 1);
    strata_result_release(session, &result);
    if (atoll(text) >= least) return;
    atomic_store(&r->wanted, least);
    atomic_store(&r->got, atoll(text));
    atomic_fetch_add(&r->old, 1);
}

/* What both processes had acknowledged when it was looked at. */
static void look_at_acked(race *r, int64_t out[RACE_KEYS]) {
    for (uint32_t i = 0; i < RACE_KEYS; i++) {
        int64_t a = atomic_load(&r->acked[0][i]), b = atomic_load(&r->acked[1][i]);
        out[i] = a > b ? a : b;
    }
}

/* A read is held to what its own process has acknowledged before it, and to what the other had, the bound on staleness earlier. */
static void *read_all(void *argument) {
    race *r = argument;
    strata_session *sessions[2] = {test_engine_session(r->sides[0].engine), test_engine_session(r->sides[1].engine)};
    int64_t settled[RACE_KEYS] = {0}, next[RACE_KEYS];
    int64_t looked_ms = test_now_ms();
    look_at_acked(r, next);
    for (uint32_t i = 0; atomic_load(&r->over) == 0; i++) {
        if (test_now_ms() - looked_ms > SETTLED_MS) {
            memcpy(settled, next, sizeof settled);
            look_at_acked(r, next);
            looked_ms = test_now_ms();
        }
        uint32_t number = i / 2 % RACE_KEYS;
        read_one(r, (int)(i % 2), sessions[i % 2], number, settled[number]);
    }
    for (int i = 0; i < 2; i++) strata_session_close(sessions[i]);
    return NULL;
}

static void *write_all(void *argument) {
    race *r = argument;
    strata_session *sessions[2] = {test_engine_session(r->sides[0].engine), test_engine_session(r->sides[1].engine)};
    strata_op_options options = {.struct_size = sizeof options, .deadline_ms = 5000};
    for (uint32_t i = 0; atomic_load(&r->over) == 0; i++) {
        char key[16], text[24];
        uint32_t number = i % RACE_KEYS, at = i / RACE_KEYS % 2;
        int64_t value = atomic_load(&r->source[number]) + 1;
        (void)snprintf(text, sizeof text, "%lld", (long long)value);
        (void)race_key(number, key);
        atomic_store(&r->source[number], value);
        int32_t status = i % 3 == 0 ? strata_invalidate_wait(sessions[at], r->sides[at].ns, test_bytes(key), &options)
                                    : strata_set_wait(sessions[at], r->sides[at].ns, test_bytes(key), test_bytes(text), &options, NULL);
        atomic_fetch_add(&r->writes, 1);
        if (status == STRATA_OK) atomic_store(&r->acked[at][number], value);
        else atomic_fetch_add(&r->failed, 1);
        test_sleep_ms(i % 8 == 0 ? 1 : 0);
    }
    for (int i = 0; i < 2; i++) strata_session_close(sessions[i]);
    return NULL;
}

static bool has_seen_enough(race *r) {
    return r->reads[STRATA_FROM_L1] > 100 && r->reads[STRATA_FROM_L2] > 100 && r->reads[STRATA_FROM_LOADER] > 100 && r->writes > 200;
}

/* L1 off and on, L2 for a part of the keys, in either process, beside reads and writes: nobody reads what was over. */
static void tiers_change_under_traffic(void **state) {
    (void)state;
    static race r;
    pthread_t readers[2], writer;
    for (int i = 0; i < 2; i++) open_side(&r.sides[i], "race");
    for (int i = 0; i < 2; i++) assert_int_equal(pthread_create(&readers[i], NULL, read_all, &r), 0);
    assert_int_equal(pthread_create(&writer, NULL, write_all, &r), 0);
    int64_t begun_ms = test_now_ms();
    static const strata_rollout steps[] = {{.flags = STRATA_ROLLOUT_L1_OFF}, {0},
                                           {.l2_per_mille = 500},            {.flags = STRATA_ROLLOUT_L1_OFF, .l2_per_mille = 500},
                                           {.l1_per_mille = 500},            {.flags = STRATA_ROLLOUT_L2_OFF},
                                           {.flags = STRATA_ROLLOUT_OFF},    {0}};
    for (uint32_t i = 0; test_now_ms() < begun_ms + (has_seen_enough(&r) ? RACE_MS : RACE_MS_MAX); i++) {
        for (uint32_t s = 0; s < 2; s++) {
            strata_rollout step = steps[(i + 3 * s) % (sizeof steps / sizeof steps[0])];
            step.struct_size = sizeof step;
            assert_int_equal(strata_namespace_rollout_set(r.sides[s].ns, &step, NULL), STRATA_OK);
        }
        test_sleep_ms(3 + i % 5);
    }
    atomic_store(&r.over, 1);
    for (int i = 0; i < 2; i++) pthread_join(readers[i], NULL);
    pthread_join(writer, NULL);
    print_message("reads: %lld from L1, %lld from L2, %lld from the source; %lld writes; failed %lld\n", (long long)r.reads[STRATA_FROM_L1],
                  (long long)r.reads[STRATA_FROM_L2], (long long)r.reads[STRATA_FROM_LOADER], (long long)r.writes, (long long)r.failed);
    if (r.old != 0) fail_msg("%lld reads of what was over, the last %lld instead of %lld", (long long)r.old, (long long)r.got, (long long)r.wanted);
    assert_true(has_seen_enough(&r));
    assert_true(r.failed <= r.writes / 10);
    for (int i = 0; i < 2; i++) test_side_close(&r.sides[i]);
}

int main(void) {
    if (!sx_cluster_available()) return 77;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(l1_off_misses_nothing),   cmocka_unit_test(l2_off_reads_and_stores_nothing_there),
        cmocka_unit_test(one_call_passes_by_l2),   cmocka_unit_test(loaded_anew),
        cmocka_unit_test(refreshes_meet),          cmocka_unit_test(what_was_replaced_is_not_answered_again),
        cmocka_unit_test(tiers_change_under_traffic),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
