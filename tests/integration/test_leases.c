/* SPDX-License-Identifier: Apache-2.0 */
/* Loads across processes: one loader runs, the others wait for its lease; and what ends that wait when it goes wrong. */
// ctest: timeout=600
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/support/cluster.h"
#include "tests/support/engine.h"
#include "tests/support/side.h"

#define PROCESSES 8
#define THREADS   4
#define ROUNDS    24

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

static strata *open_engine(const char *lease) {
    return test_engine_open(TEST_OPTIONS("l2.nodes", sx_cluster_seeds(cluster), "l2.open_wait", "10s",
                                         "coherence.lease", lease), NULL);
}

/* ---- many processes at once ------------------------------------------------------------------------------------ */

/* Shared by all processes. */
typedef struct shared {
    _Atomic int ready, round, done, loads[ROUNDS], wrong, failed;
} shared;

typedef struct misser {
    shared *s;
    strata *engine;
    pthread_t thread;
    int round;
} misser;

static void load_once(strata_load *load, void *user) {
    misser *me = user;
    char text[32];
    snprintf(text, sizeof text, "%d-%d", me->round, atomic_fetch_add(&me->s->loads[me->round], 1));
    if (me->round % 3 != 0) test_sleep_ms((uint32_t)(me->round % 3 * 15)); /* else the end comes before others have begun to wait */
    strata_load_finish(load, STRATA_OK, test_bytes(text), NULL);
}

static void *miss_all(void *argument) {
    misser *me = argument;
    strata_session *session = test_engine_session(me->engine);
    strata_namespace *ns = test_engine_ns(me->engine, "leases");
    strata_op_options options = {.struct_size = sizeof options, .deadline_ms = 5000};
    for (me->round = 0; me->round < ROUNDS; me->round++) {
        atomic_fetch_add(&me->s->ready, 1);
        while (atomic_load(&me->s->round) <= me->round) test_sleep_ms(1);
        char key[32], expected[32];
        snprintf(key, sizeof key, "round%d", me->round);
        snprintf(expected, sizeof expected, "%d-0", me->round);
        strata_result result;
        if (strata_get_or_load_wait(session, ns, test_bytes(key), &options, load_once, me, &result) != STRATA_OK) {
            atomic_fetch_add(&me->s->failed, 1);
        } else {
            if (result.value.size != strlen(expected) || memcmp(result.value.data, expected, result.value.size) != 0)
                atomic_fetch_add(&me->s->wrong, 1);
            strata_result_release(session, &result);
        }
        atomic_fetch_add(&me->s->done, 1);
    }
    strata_session_close(session);
    return NULL;
}

static void child_main(shared *s) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    misser missers[THREADS];
    strata *engine = open_engine("10s");
    for (int i = 0; i < THREADS; i++) {
        missers[i] = (misser){.s = s, .engine = engine};
        pthread_create(&missers[i].thread, NULL, miss_all, &missers[i]);
    }
    for (int i = 0; i < THREADS; i++) pthread_join(missers[i].thread, NULL);
    _exit(strata_close(engine, 1000) == STRATA_OK ? 0 : 1);
}

static shared *share(void) {
    shared *s = mmap(NULL, sizeof *s, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(s != MAP_FAILED);
    return s;
}

static void processes_that_miss_at_once_load_once(void **state) {
    (void)state;
    shared *s = share();
    pid_t pids[PROCESSES];
    for (int i = 0; i < PROCESSES; i++) {
        pids[i] = fork();
        assert_true(pids[i] >= 0);
        if (pids[i] == 0) child_main(s);
    }
    int64_t worst_ms = 0;
    for (int round = 0; round < ROUNDS; round++) {
        int all = (round + 1) * PROCESSES * THREADS;
        for (int i = 0; i < 60000 && atomic_load(&s->ready) < all; i++) test_sleep_ms(1);
        assert_int_equal(atomic_load(&s->ready), all);
        int64_t start_ms = test_now_ms();
        atomic_store(&s->round, round + 1);
        for (int i = 0; i < 30000 && atomic_load(&s->done) < all; i++) test_sleep_ms(1);
        assert_int_equal(atomic_load(&s->done), all);
        if (test_now_ms() - start_ms > worst_ms) worst_ms = test_now_ms() - start_ms;
    }
    for (int i = 0; i < PROCESSES; i++) {
        int status = 1;
        waitpid(pids[i], &status, 0);
        assert_int_equal(status, 0);
    }
    fprintf(stderr, "%d threads answered in at most %lld ms after loads of 0 to 30 ms\n", PROCESSES * THREADS,
            (long long)worst_ms);
    for (int round = 0; round < ROUNDS; round++) assert_int_equal(atomic_load(&s->loads[round]), 1);
    assert_int_equal(atomic_load(&s->failed), 0);
    assert_int_equal(atomic_load(&s->wrong), 0);
    munmap(s, sizeof *s);
}

/* ---- sides: engines in this process ---------------------------------------------------------------------------- */

static void open_side(test_side *s) {
    test_side_open(s, "leases", TEST_OPTIONS("l2.nodes", sx_cluster_seeds(cluster), "l2.open_wait", "10s",
                                             "coherence.lease", "10s"), NULL);
}

/* Starts behind another's lease: no loader runs. */
static void side_wait_behind(test_side *s, const char *key, const char *value) {
    int64_t awaited = test_metric(s->engine, "flow.leases_awaited");
    test_side_start(s, key, value, NULL);
    assert_true(test_metric_wait(s->engine, "flow.leases_awaited", awaited + 1, 30000));
    for (int i = 0; i < 5; i++) strata_session_wait(s->session, 10);
    assert_int_equal(s->calls, 0);
    assert_int_equal(s->answers, 0);
}

static void side_answered(test_side *s, const char *value, int64_t since_ms, int64_t within_ms) {
    test_side_await(s, 1);
    assert_int_equal(s->status, STRATA_OK);
    assert_string_equal(s->answer, value);
    if (s->at_ms - since_ms > within_ms)
        fail_msg("answered after %lld ms", (long long)(s->at_ms - since_ms));
}

static void a_fill_wakes_who_waits(void **state) {
    (void)state;
    test_side a, b;
    open_side(&a);
    open_side(&b);
    test_side_hold(&a, "filled", NULL);
    side_wait_behind(&b, "filled", "b");
    test_sleep_ms(700); /* longer than the bound: nothing is asked for while messages can be trusted */
    int64_t start_ms = test_now_ms();
    strata_load_finish(a.kept, STRATA_OK, test_bytes("a"), NULL);
    side_answered(&b, "a", start_ms, 90); /* before the next look at the lease */
    assert_int_equal(b.calls, 0);
    assert_string_equal(test_peek(b.session, b.ns, "filled"), "a");
    side_answered(&a, "a", start_ms, 1000);
    test_side_close(&a);
    test_side_close(&b);
}

static void after_a_failed_load_the_next_loads_at_once(void **state) {
    (void)state;
    test_side a, b;
    open_side(&a);
    open_side(&b);
    test_side_hold(&a, "failed", NULL);
    side_wait_behind(&b, "failed", "b");
    int64_t start_ms = test_now_ms();
    strata_load_finish(a.kept, STRATA_E_UNAVAILABLE, test_bytes(""), NULL);
    side_answered(&b, "b", start_ms, 90);
    assert_int_equal(b.calls, 1);
    assert_string_equal(test_peek(b.session, b.ns, "failed"), "b");
    test_side_close(&a);
    test_side_close(&b);
}

static void an_invalidation_ends_the_wait_for_what_it_made_old(void **state) {
    (void)state;
    test_side a, b, c;
    open_side(&a);
    open_side(&b);
    open_side(&c);
    test_side_hold(&a, "overtaken", NULL);
    side_wait_behind(&c, "overtaken", "new");
    int64_t start_ms = test_now_ms();
    assert_int_equal(strata_invalidate_wait(b.session, b.ns, test_bytes("overtaken"), NULL), STRATA_OK);
    side_answered(&c, "new", start_ms, 90);
    strata_load_finish(a.kept, STRATA_OK, test_bytes("old"), NULL);
    test_sleep_ms(100);
    assert_string_equal(test_peek(c.session, c.ns, "overtaken"), "new");
    assert_string_equal(test_get(b.session, b.ns, "overtaken"), "new");
    test_side_close(&a);
    test_side_close(&b);
    test_side_close(&c);
}

static void a_set_answers_who_waits(void **state) {
    (void)state;
    test_side a, b;
    open_side(&a);
    open_side(&b);
    test_side_hold(&a, "set", NULL);
    side_wait_behind(&b, "set", "b");
    int64_t start_ms = test_now_ms();
    assert_int_equal(test_set(a.session, a.ns, "set", "written"), STRATA_OK);
    side_answered(&b, "written", start_ms, 90);
    assert_int_equal(b.calls, 0);
    strata_load_finish(a.kept, STRATA_OK, test_bytes("old"), NULL);
    test_side_close(&a);
    test_side_close(&b);
}

/* ---- messages that don't arrive -------------------------------------------------------------------------------- */

static void who_hears_no_messages_asks(void **state) {
    (void)state;
    test_side a, b;
    test_cutter cutter;
    open_side(&a);
    open_side(&b);
    test_side_hold(&a, "deaf", NULL);
    side_wait_behind(&b, "deaf", "b");
    test_cutter_start(&cutter, cluster, 3);
    assert_true(test_metric_wait(b.engine, "coherence.lost", 256, 30000));
    test_sleep_ms(100);
    int64_t start_ms = test_now_ms();
    strata_load_finish(a.kept, STRATA_OK, test_bytes("a"), NULL);
    side_answered(&b, "a", start_ms, 1000);
    assert_int_equal(b.calls, 0);
    test_cutter_stop(&cutter);
    test_side_close(&a);
    test_side_close(&b);
}

static void hold_forever(strata_load *load, void *user) {
    (void)load;
    atomic_store((_Atomic int *)user, 1);
    for (;;) pause();
}

static void the_lease_of_a_killed_process_is_taken_over(void **state) {
    (void)state;
    shared *s = share();
    pid_t holder = fork();
    assert_true(holder >= 0);
    if (holder == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        strata *engine = open_engine("1500ms");
        strata_session *session = test_engine_session(engine);
        strata_result result;
        (void)strata_get_or_load_wait(session, test_engine_ns(engine, "leases"), test_bytes("dead"), NULL, hold_forever,
                                      &s->ready, &result);
        _exit(1);
    }
    test_side b, c;
    open_side(&b);
    open_side(&c);
    for (int i = 0; i < 30000 && atomic_load(&s->ready) == 0; i++) test_sleep_ms(1);
    int64_t start_ms = test_now_ms();
    side_wait_behind(&b, "dead", "taken over");
    side_wait_behind(&c, "dead", "taken over");
    kill(holder, SIGKILL);
    waitpid(holder, NULL, 0);
    for (int i = 0; i < 1000 && b.answers + c.answers < 2; i++) {
        strata_session_wait(b.session, 5);
        strata_session_wait(c.session, 5);
    }
    side_answered(&b, "taken over", start_ms, 2500);
    side_answered(&c, "taken over", start_ms, 2500);
    assert_int_equal(b.calls + c.calls, 1); /* by one of them */
    test_side_close(&b);
    test_side_close(&c);
    munmap(s, sizeof *s);
}

static void who_waits_keeps_its_deadline(void **state) {
    (void)state;
    test_side a, b;
    open_side(&a);
    open_side(&b);
    test_side_hold(&a, "deadline", NULL);
    b.value = "b";
    strata_op_options options = {.struct_size = sizeof options, .deadline_ms = 150};
    strata_result result;
    int64_t start_ms = test_now_ms();
    assert_int_equal(strata_get_or_load_wait(b.session, b.ns, test_bytes("deadline"), &options, test_side_load, &b, &result),
                     STRATA_E_TIMEOUT);
    assert_in_range(test_now_ms() - start_ms, 140, 4000);
    assert_int_equal(b.calls, 0);
    test_sleep_ms(20); /* else the next may join the flight before it ends */
    side_wait_behind(&b, "deadline", "b");
    strata_session_close(b.session); /* its flight ends with it */
    assert_int_equal(strata_close(b.engine, 2000), STRATA_OK);
    strata_load_finish(a.kept, STRATA_OK, test_bytes("a"), NULL);
    test_side_close(&a);
}

static void load_and_flush_scripts(strata_load *load, void *user) {
    (void)user;
    for (uint32_t i = 0; i < sx_cluster_node_count(cluster); i++)
        assert_true(sx_cluster_answers(cluster, i, "OK", "SCRIPT FLUSH"));
    strata_load_finish(load, STRATA_OK, test_bytes("loaded"), NULL);
}

/* The server has forgotten the script that stores what was loaded. */
static void a_flush_of_scripts_loses_no_load(void **state) {
    (void)state;
    strata *engine = test_engine_open(TEST_OPTIONS("l2.nodes", sx_cluster_seeds(cluster), "l2.open_wait", "5s"), NULL);
    strata_session *session = test_engine_session(engine);
    strata_namespace *ns = test_engine_ns(engine, "flushed");
    strata_op_options options = {.struct_size = sizeof options, .deadline_ms = 5000};
    strata_result result;
    assert_int_equal(strata_get_or_load_wait(session, ns, test_bytes("key"), &options, load_and_flush_scripts, NULL,
                                             &result), STRATA_OK);
    strata_result_release(session, &result);
    options.flags = STRATA_BYPASS_L1;
    assert_int_equal(strata_get_wait(session, ns, test_bytes("key"), &options, &result), STRATA_OK);
    assert_int_equal(result.value.size, strlen("loaded"));
    assert_memory_equal(result.value.data, "loaded", strlen("loaded"));
    strata_result_release(session, &result);
    assert_true(test_metric(engine, "l2.script_reloads") >= 1);
    assert_int_equal(test_metric(engine, "l2.disconnects"), 0);
    strata_session_close(session);
    assert_int_equal(strata_close(engine, 2000), STRATA_OK);
}

/* ---- a process that stood still ----------------------------------------------------------------------------- */

typedef struct sleeper {
    _Atomic int asleep, may_go_on;
} sleeper;

/* Holds up the loop until it is told to go on, and a while longer. */
static void sleep_on_loop(void *user, const strata_result *result) {
    (void)result;
    sleeper *s = user;
    atomic_store(&s->asleep, 1);
    for (int64_t end_ms = test_now_ms() + 20000; !atomic_load(&s->may_go_on) && test_now_ms() < end_ms;) test_sleep_ms(1);
    test_sleep_ms(300);
}

static void no_loader_runs_for_who_has_no_time_left(void **state) {
    (void)state;
    test_side a;
    test_side_open(&a, "late", TEST_OPTIONS("l2.nodes", sx_cluster_seeds(cluster), "l2.open_wait", "10s"), NULL);
    sleeper s = {0};
    strata_op_options on_loop = {.struct_size = sizeof on_loop, .flags = STRATA_ON_LOOP}, brief = {.struct_size = sizeof brief, .deadline_ms = 100};
    strata_result first, second;
    a.value = "v";
    assert_int_equal(strata_get(a.session, a.ns, test_bytes("any"), &on_loop, &first, sleep_on_loop, &s), STRATA_PENDING);
    while (!atomic_load(&s.asleep)) test_sleep_ms(1);
    assert_int_equal(strata_get_or_load(a.session, a.ns, test_bytes("k"), &brief, test_side_load, &a, &second, test_side_done, &a), STRATA_PENDING);
    atomic_store(&s.may_go_on, 1);
    test_side_await(&a, 1);
    assert_int_equal(a.status, STRATA_E_TIMEOUT);
    assert_int_equal(a.calls, 0);
    test_side_close(&a);
}

int main(void) {
    if (!sx_cluster_available()) return 77;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(processes_that_miss_at_once_load_once),
        cmocka_unit_test(a_fill_wakes_who_waits),
        cmocka_unit_test(after_a_failed_load_the_next_loads_at_once),
        cmocka_unit_test(an_invalidation_ends_the_wait_for_what_it_made_old),
        cmocka_unit_test(a_set_answers_who_waits),
        cmocka_unit_test(who_hears_no_messages_asks),
        cmocka_unit_test(the_lease_of_a_killed_process_is_taken_over),
        cmocka_unit_test(who_waits_keeps_its_deadline),
        cmocka_unit_test(a_flush_of_scripts_loses_no_load),
        cmocka_unit_test(no_loader_runs_for_who_has_no_time_left),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
