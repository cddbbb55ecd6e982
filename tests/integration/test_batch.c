/* SPDX-License-Identifier: Apache-2.0 */
/* Batches that load, where there is an L2: leases of other processes are waited for, and the rest goes to one call. */
// ctest: timeout=300
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "tests/support/cluster.h"
#include "tests/support/engine.h"

#define KEYS 200

typedef struct side {
    strata *engine;
    strata_namespace *ns;
    strata_session *session;
    int calls;
    size_t keys;
    size_t largest;
    bool theirs; /* it was asked for a key that another loads */
} side;

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

static side open_side(const char *ns) {
    side s = {0};
    s.engine = test_engine_open(TEST_OPTIONS("l2.nodes", sx_cluster_seeds(cluster), "l2.open_wait", "10s"), NULL);
    s.ns = test_engine_ns(s.engine, ns);
    s.session = test_engine_session(s.engine);
    test_engine_await_trust(s.engine, 30000);
    return s;
}

static void close_side(side *s) {
    if (s->session != NULL) strata_session_close(s->session);
    assert_int_equal(strata_close(s->engine, 2000), STRATA_OK);
}

static void load_many(strata_load *const *loads, size_t count, void *user) {
    side *s = user;
    s->calls++;
    s->keys += count;
    if (count > s->largest) s->largest = count;
    for (size_t i = 0; i < count; i++) {
        strata_bytes key = strata_load_key(loads[i]);
        if (key.size == 5 && memcmp(key.data, "their", 5) == 0) s->theirs = true;
        assert_int_equal(strata_load_finish(loads[i], STRATA_OK, key, NULL), STRATA_OK);
    }
}

static char names[KEYS][16];
static strata_bytes keys[KEYS];
static strata_result results[KEYS];

static void name_keys(void) {
    for (int i = 0; i < KEYS; i++) {
        snprintf(names[i], sizeof names[i], "k%d", i);
        keys[i] = test_bytes(names[i]);
    }
}

static int32_t read_all(side *s) { return strata_mget_or_load_wait(s->session, s->ns, keys, KEYS, NULL, load_many, s, results); }

static void expect_all(side *s) {
    for (int i = 0; i < KEYS; i++) {
        assert_int_equal(results[i].status, STRATA_OK);
        assert_int_equal(results[i].value.size, keys[i].size);
        assert_memory_equal(results[i].value.data, keys[i].data, keys[i].size);
        strata_result_release(s->session, &results[i]);
    }
}

static void what_nobody_has_is_asked_for_together(void **state) {
    (void)state;
    side a = open_side("batch"), b = open_side("batch");
    name_keys();
    for (int i = 0; i < KEYS; i += 4) assert_int_equal(test_set(a.session, a.ns, names[i], names[i]), STRATA_OK);
    assert_int_equal(read_all(&a), STRATA_OK);
    expect_all(&a);
    assert_int_equal(a.keys, KEYS - KEYS / 4); /* the rest L1 has */
    assert_in_range(a.calls, 1, 10); /* slow answers come later */
    assert_in_range(a.largest, KEYS / 8, KEYS);
    assert_int_equal(read_all(&b), STRATA_OK); /* all of it L2 has */
    expect_all(&b);
    assert_int_equal(b.calls, 0);
    assert_int_equal(test_metric(b.engine, "flow.batch_loads"), 0);
    close_side(&a);
    close_side(&b);
}

/* All nodes' answers are waited for, where they come soon. */
static void one_call_is_the_rule(void **state) {
    (void)state;
    side a = open_side("rule");
    int least = KEYS;
    name_keys();
    for (int round = 0; round < 8; round++) {
        if (round != 0) assert_int_equal(strata_minvalidate_wait(a.session, a.ns, keys, KEYS, NULL, results), STRATA_OK);
        a.calls = 0;
        assert_int_equal(read_all(&a), STRATA_OK);
        expect_all(&a);
        if (a.calls < least) least = a.calls;
    }
    assert_int_equal(least, 1);
    close_side(&a);
}

static strata_load *kept;
static void keep_load(strata_load *load, void *user) {
    (void)user;
    kept = load;
}
static void count_answer(void *user, const strata_result *result) {
    (void)result;
    *(int *)user += 1;
}
static void count_answers(void *user, const strata_result *all, size_t count) {
    for (size_t i = 0; i < count; i++) assert_int_equal(all[i].status, STRATA_OK);
    *(int *)user += 1;
}

static void start_theirs(side *s, int *answers) {
    strata_result result;
    kept = NULL;
    assert_int_equal(strata_get_or_load(s->session, s->ns, test_bytes("their"), NULL, keep_load, NULL, &result, count_answer, answers),
                     STRATA_PENDING);
    while (kept == NULL) strata_session_wait(s->session, 100);
}

static void another_processs_load_is_waited_for(void **state) {
    (void)state;
    side a = open_side("lease"), b = open_side("lease");
    int single = 0, many = 0;
    name_keys();
    keys[7] = test_bytes("their");
    start_theirs(&a, &single);
    strata_op_options options = {.struct_size = sizeof options, .deadline_ms = 10000};
    assert_int_equal(strata_mget_or_load(b.session, b.ns, keys, KEYS, &options, load_many, &b, count_answers, &many), STRATA_PENDING);
    for (int i = 0; i < 20; i++) strata_session_wait(b.session, 10);
    assert_int_equal(b.keys, KEYS - 1); /* the others did not wait for it */
    assert_false(b.theirs);
    assert_int_equal(many, 0);
    assert_int_equal(strata_load_finish(kept, STRATA_OK, test_bytes("v"), NULL), STRATA_OK);
    while (many == 0) strata_session_wait(b.session, 100);
    assert_int_equal(b.keys, KEYS - 1);
    /* One that fails elsewhere is loaded here after all. */
    keys[8] = test_bytes("their");
    assert_int_equal(strata_invalidate_wait(a.session, a.ns, test_bytes("their"), NULL), STRATA_OK);
    test_sleep_ms(300);
    start_theirs(&a, &single);
    many = 0;
    assert_int_equal(strata_mget_or_load(b.session, b.ns, keys + 8, 1, &options, load_many, &b, count_answers, &many), STRATA_PENDING);
    for (int i = 0; i < 20; i++) strata_session_wait(b.session, 10);
    assert_false(b.theirs);
    assert_int_equal(strata_load_finish(kept, -100, test_bytes(""), NULL), STRATA_OK);
    while (many == 0) strata_session_wait(b.session, 100);
    assert_true(b.theirs);
    while (single < 2) strata_session_wait(a.session, 100);
    close_side(&a);
    close_side(&b);
}

static void nobody(void *user, const strata_result *all, size_t count) {
    (void)all, (void)count;
    *(int *)user += 1;
}

/* Whenever the session goes, between the first request and the loader, its leases go back and nothing is left. */
static void a_session_may_close_at_any_time(void **state) {
    (void)state;
    side a = open_side("close"), b = open_side("close");
    name_keys();
    for (uint32_t ms = 0; ms < 12; ms++) {
        int answers = 0;
        for (int i = 0; i < KEYS; i++) snprintf(names[i], sizeof names[i], "%u-%d", ms, i), keys[i] = test_bytes(names[i]);
        assert_int_equal(strata_mget_or_load(a.session, a.ns, keys, KEYS, NULL, load_many, &a, nobody, &answers), STRATA_PENDING);
        test_sleep_ms(ms);
        strata_session_close(a.session);
        assert_int_equal(answers, 1);
        a.session = test_engine_session(a.engine);
    }
    assert_int_equal(a.calls, 0);
    assert_int_equal(read_all(&b), STRATA_OK); /* no lease holds it up for long */
    expect_all(&b);
    close_side(&a);
    close_side(&b);
}

enum { STOOD_MS = 1000 };

static void stand_still(void *user, const strata_result *result) {
    (void)result;
    if (atomic_exchange((_Atomic int *)user, 1) == 0) test_sleep_ms(STOOD_MS);
}

static int64_t own_cpu_ms(void) {
    struct timespec time;
    assert_int_equal(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time), 0);
    return time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

/* Loads that are gathered are waited for by a session that closes: asleep, however long the loop takes. */
static void a_session_that_closes_sleeps(void **state) {
    (void)state;
    side a = open_side("sleep");
    strata_session *other = test_engine_session(a.engine);
    name_keys();
    int answers = 0;
    _Atomic int stands = 0;
    strata_result result;
    strata_op_options on_loop = {.struct_size = sizeof on_loop, .flags = STRATA_ON_LOOP | STRATA_BYPASS_L1, .deadline_ms = 5000};
    static const char *const there[] = {"0", "1", "2", "3", "4", "5", "6", "7"};
    for (int i = 0; i < 8; i++) assert_int_equal(test_set(a.session, a.ns, there[i], "v"), STRATA_OK);
    for (int i = 0; i < KEYS; i++) assert_null(test_get(a.session, a.ns, names[i])); /* their namespace's floors are known now */
    assert_int_equal(sx_cluster_pause(cluster, 0), 0); /* the others' wait for its keys to be decided */
    int32_t began = strata_mget_or_load(a.session, a.ns, keys, KEYS, NULL, load_many, &a, nobody, &answers);
    for (int i = 0; i < 8; i++) /* answered behind the batch's */
        (void)strata_get(other, a.ns, test_bytes(there[i]), &on_loop, &result, stand_still, &stands);
    for (int64_t end_ms = test_now_ms() + 5000; atomic_load(&stands) == 0 && test_now_ms() < end_ms;) (void)sched_yield();
    int64_t before_ms = own_cpu_ms();
    strata_session_close(a.session);
    int64_t spent_ms = own_cpu_ms() - before_ms;
    assert_int_equal(sx_cluster_resume(cluster, 0), 0);
    assert_int_equal(began, STRATA_PENDING);
    assert_int_equal(answers, 1);
    assert_in_range(spent_ms, 0, STOOD_MS / 10);
    a.session = other;
    close_side(&a);
}

/* What waits to go out when the engine closes goes out then, and is dropped by its session. */
static void an_engine_may_close_at_any_time(void **state) {
    (void)state;
    name_keys();
    for (uint32_t us = 0; us < 6000; us += 500) {
        side a = open_side("stop");
        assert_int_equal(sx_cluster_pause(cluster, 0), 0); /* the others' wait for its keys to be decided */
        int answers = 0;
        char text[32];
        snprintf(text, sizeof text, "%u", us);
        a.ns = test_engine_ns(a.engine, text); /* where nobody has loaded anything */
        assert_int_equal(strata_mget_or_load(a.session, a.ns, keys, KEYS, NULL, load_many, &a, nobody, &answers), STRATA_PENDING);
        struct timespec time = {0, us * 1000};
        (void)nanosleep(&time, NULL);
        assert_int_equal(strata_close(a.engine, 0), STRATA_E_TIMEOUT);
        assert_int_equal(sx_cluster_resume(cluster, 0), 0);
        strata_session_close(a.session);
        assert_int_equal(answers, 1);
        assert_int_equal(a.calls, 0);
    }
}

static void many_invalidations_go_by_partition(void **state) {
    (void)state;
    side a = open_side("inval"), b = open_side("inval");
    name_keys();
    assert_int_equal(read_all(&a), STRATA_OK);
    expect_all(&a);
    assert_int_equal(read_all(&b), STRATA_OK);
    expect_all(&b);
    assert_int_equal(strata_minvalidate_wait(a.session, a.ns, keys, KEYS, NULL, results), STRATA_OK);
    for (int i = 0; i < KEYS; i++) assert_int_equal(results[i].status, STRATA_OK);
    int64_t grouped = test_metric(a.engine, "l2.grouped");
    assert_in_range(grouped, 2, INT64_MAX);
    for (int i = 0; i < KEYS; i++) assert_null(test_peek(a.session, a.ns, names[i]));
    test_sleep_ms(500);
    for (int i = 0; i < KEYS; i++) assert_null(test_get(b.session, b.ns, names[i]));
    close_side(&a);
    close_side(&b);
}

int main(void) {
    if (!sx_cluster_available()) return 77;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_nobody_has_is_asked_for_together),
        cmocka_unit_test(one_call_is_the_rule),
        cmocka_unit_test(another_processs_load_is_waited_for),
        cmocka_unit_test(a_session_may_close_at_any_time),
        cmocka_unit_test(a_session_that_closes_sleeps),
        cmocka_unit_test(an_engine_may_close_at_any_time),
        cmocka_unit_test(many_invalidations_go_by_partition),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
