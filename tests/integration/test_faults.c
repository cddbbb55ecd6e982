/* SPDX-License-Identifier: Apache-2.0 */
/* Failures between this process and Redis: deadlines kept, nothing served beyond the staleness bound, recovery by itself. */
// ctest: timeout=600
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <pthread.h>
#include <stdatomic.h>

#include <cmocka.h>

#include "core/key/key.h"
#include "tests/support/cluster.h"
#include "tests/support/engine.h"
#include "tests/support/side.h"

#define STALENESS_MS 500
#define KEYS 48

static void start_cluster(sx_cluster **cluster, uint32_t primaries, uint32_t replicas) {
    sx_cluster_options options = {.primaries = primaries, .replicas = replicas};
    *cluster = test_cluster_start(&options);
}

/* ---- a writer and a reader in two engines, and what the reader may not see ------------------------------------- */

/* One counter per key. The writer raises it; the reader checks that nothing acknowledged more than the bound before its
   read began is missing. */
typedef struct watch {
    strata *writer, *reader;
    _Atomic int stop;
    _Atomic int64_t acked[KEYS];    /* highest value whose set succeeded */
    _Atomic int64_t acked_ms[KEYS]; /* when */
    _Atomic int64_t sets, set_failures, unknown, reads, fresh, read_failures, stale_beyond, slow;
    _Atomic int64_t last_set_ms[KEYS];
    pthread_t threads[2];
} watch;

/* Deadlines are kept to 10 ms; a test machine's own pauses are given the rest. */
static void note_time(watch *w, const char *what, int64_t took_ms, int64_t deadline_ms, int32_t status) {
    if (took_ms <= deadline_ms + 300) return;
    fprintf(stderr, "%s took %lld ms: %s\n", what, (long long)took_ms, strata_status_name(status));
    atomic_fetch_add(&w->slow, 1);
}

static void *watch_writer(void *argument) {
    watch *w = argument;
    strata_session *session = test_engine_session(w->writer);
    strata_namespace *ns = test_engine_ns(w->writer, "watch");
    strata_op_options options = {.struct_size = sizeof options, .deadline_ms = 300};
    int64_t value[KEYS] = {0};
    while (!atomic_load(&w->stop)) {
        for (int i = 0; i < KEYS && !atomic_load(&w->stop); i++) {
            char key[16], text[32];
            snprintf(key, sizeof key, "w%d", i);
            snprintf(text, sizeof text, "%lld", (long long)++value[i]);
            int64_t start_ms = test_now_ms();
            int32_t status = strata_set_wait(session, ns, test_bytes(key), test_bytes(text), &options, NULL);
            note_time(w, "set", test_now_ms() - start_ms, 300, status);
            if (status == STRATA_OK) {
                atomic_store(&w->acked_ms[i], test_now_ms());
                atomic_store(&w->acked[i], value[i]);
                atomic_fetch_add(&w->sets, 1);
            } else {
                atomic_fetch_add(status == STRATA_E_UNKNOWN_OUTCOME ? &w->unknown : &w->set_failures, 1);
            }
            test_sleep_ms(1);
        }
    }
    strata_session_close(session);
    return NULL;
}

static void watch_check(watch *w, int i, int64_t started_ms, int64_t acked, int64_t acked_ms, const strata_result *r) {
    char text[32] = "";
    assert_true(r->value.size < sizeof text);
    memcpy(text, r->value.data, r->value.size);
    int64_t got = atoll(text);
    atomic_fetch_add(&w->reads, 1);
    if (r->source == STRATA_FROM_L1) atomic_fetch_add(&w->fresh, 1);
    if (r->source == STRATA_FROM_L1 && acked_ms + STALENESS_MS < started_ms && got < acked) {
        fprintf(stderr, "key %d: read %lld, but %lld was acknowledged %lld ms before\n", i, (long long)got,
                (long long)acked, (long long)(started_ms - acked_ms));
        atomic_fetch_add(&w->stale_beyond, 1);
    }
}

static void *watch_reader(void *argument) {
    watch *w = argument;
    strata_session *session = test_engine_session(w->reader);
    strata_namespace *ns = test_engine_ns(w->reader, "watch");
    strata_op_options options = {.struct_size = sizeof options, .deadline_ms = 200};
    while (!atomic_load(&w->stop)) {
        for (int i = 0; i < KEYS; i++) {
            char key[16];
            snprintf(key, sizeof key, "w%d", i);
            int64_t acked_ms = atomic_load(&w->acked_ms[i]), acked = atomic_load(&w->acked[i]);
            int64_t start_ms = test_now_ms();
            strata_result result;
            int32_t status = strata_get_wait(session, ns, test_bytes(key), &options, &result);
            note_time(w, "get", test_now_ms() - start_ms, 200, status);
            if (status == STRATA_OK) {
                /* acked was read first: a later acknowledgement can only make the check more lenient */
                watch_check(w, i, start_ms, acked, acked_ms, &result);
                strata_result_release(session, &result);
            } else if (status < 0) {
                atomic_fetch_add(&w->read_failures, 1);
            }
        }
        test_sleep_ms(1);
    }
    strata_session_close(session);
    return NULL;
}

static watch *watch_start(const char *seeds) {
    watch *w = calloc(1, sizeof *w);
    w->writer = test_engine_open(TEST_OPTIONS("l2.nodes", seeds, "l2.open_wait", "5s"), NULL);
    w->reader = test_engine_open(TEST_OPTIONS("l2.nodes", seeds, "l2.open_wait", "5s"), NULL);
    pthread_create(&w->threads[0], NULL, watch_writer, w);
    pthread_create(&w->threads[1], NULL, watch_reader, w);
    for (int i = 0; i < 3000 && atomic_load(&w->fresh) < 100; i++) test_sleep_ms(10);
    assert_true(atomic_load(&w->fresh) >= 100);
    return w;
}

/* Whether sets and fresh reads go on by themselves within timeout_ms. */
static bool watch_resumes(watch *w, uint32_t timeout_ms) {
    int64_t end_ms = test_now_ms() + timeout_ms;
    for (int good = 0; test_now_ms() < end_ms;) {
        int64_t sets = atomic_load(&w->sets), fresh = atomic_load(&w->fresh), failures = atomic_load(&w->set_failures) + atomic_load(&w->unknown) + atomic_load(&w->read_failures);
        test_sleep_ms(200);
        bool fine = atomic_load(&w->sets) > sets + KEYS / 2 && atomic_load(&w->fresh) > fresh + KEYS &&
                    failures == atomic_load(&w->set_failures) + atomic_load(&w->unknown) + atomic_load(&w->read_failures);
        good = fine ? good + 1 : 0;
        if (good == 2) return true;
    }
    return false;
}

static void watch_stop(watch *w) {
    atomic_store(&w->stop, 1);
    for (int i = 0; i < 2; i++) pthread_join(w->threads[i], NULL);
    fprintf(stderr, "sets %lld (failed %lld, unknown %lld), reads %lld (from L1 %lld, failed %lld)\n",
            (long long)w->sets, (long long)w->set_failures, (long long)w->unknown, (long long)w->reads,
            (long long)w->fresh, (long long)w->read_failures);
    assert_int_equal(w->stale_beyond, 0);
    assert_int_equal(w->slow, 0); /* no operation outlived its deadline */
    assert_true(w->fresh > 0);
    strata_close(w->writer, 2000);
    strata_close(w->reader, 2000);
    free(w);
}

static void a_killed_primary_is_replaced(void **state) {
    (void)state;
    sx_cluster *cluster;
    start_cluster(&cluster, 3, 1);
    watch *w = watch_start(sx_cluster_seeds(cluster));
    assert_int_equal(sx_cluster_kill(cluster, 1), 0);
    assert_true(watch_resumes(w, 15000));
    test_engine_await_trust(w->reader, 30000);
    watch_stop(w);
    sx_cluster_stop(cluster);
}

static void killed_subscriptions_come_back(void **state) {
    (void)state;
    sx_cluster *cluster;
    start_cluster(&cluster, 3, 0);
    watch *w = watch_start(sx_cluster_seeds(cluster));
    for (int round = 0; round < 10; round++) {
        for (uint32_t i = 0; i < 3; i++) free(sx_cluster_command(cluster, i, "CLIENT KILL TYPE pubsub"));
        test_sleep_ms(100);
    }
    for (uint32_t i = 0; i < 3; i++) free(sx_cluster_command(cluster, i, "CLIENT KILL TYPE normal"));
    assert_true(watch_resumes(w, 5000));
    watch_stop(w);
    sx_cluster_stop(cluster);
}

static void a_paused_primary_is_not_believed(void **state) {
    (void)state;
    sx_cluster *cluster;
    start_cluster(&cluster, 3, 1);
    watch *w = watch_start(sx_cluster_seeds(cluster));
    assert_int_equal(sx_cluster_pause(cluster, 0), 0);
    test_sleep_ms(6000); /* its replica takes over */
    assert_int_equal(sx_cluster_resume(cluster, 0), 0);
    assert_true(watch_resumes(w, 15000));
    watch_stop(w);
    sx_cluster_stop(cluster);
}

static void a_short_pause_lets_l1_lapse_and_return(void **state) {
    (void)state;
    sx_cluster *cluster;
    start_cluster(&cluster, 3, 0);
    strata *engine = test_engine_open(TEST_OPTIONS("l2.nodes", sx_cluster_seeds(cluster), "l2.open_wait", "5s"), NULL);
    strata_session *session = test_engine_session(engine);
    strata_namespace *ns = test_engine_ns(engine, "n");
    char key[16];
    for (int i = 0; i < KEYS; i++) {
        snprintf(key, sizeof key, "p%d", i);
        assert_int_equal(test_set(session, ns, key, "v"), STRATA_OK);
    }
    for (uint32_t i = 0; i < 3; i++) assert_int_equal(sx_cluster_pause(cluster, i), 0);
    test_sleep_ms(STALENESS_MS + 20);
    strata_op_options options = {.struct_size = sizeof options, .deadline_ms = 100};
    strata_result result;
    for (int i = 0; i < KEYS; i++) {
        snprintf(key, sizeof key, "p%d", i);
        assert_null(test_peek(session, ns, key)); /* nothing is fresh any more */
    }
    int64_t start_ms = test_now_ms();
    assert_int_equal(strata_get_wait(session, ns, test_bytes("p1"), &options, &result), STRATA_E_TIMEOUT);
    assert_in_range(test_now_ms() - start_ms, 99, 3000); /* its own, not the engine's */
    /* An operator who prefers old answers to none says so while it runs. */
    strata_error error;
    assert_int_equal(strata_option_set(engine, "coherence.untrusted", "serve_stale", &error), STRATA_OK);
    assert_int_equal(strata_peek(session, ns, test_bytes("p1"), &result), STRATA_STALE);
    assert_in_range(result.staleness_us, STALENESS_MS * 1000 / 2, 10000000);
    strata_result_release(session, &result);
    assert_int_equal(strata_option_set(engine, "coherence.serve_stale_max", "100ms", &error), STRATA_OK);
    assert_int_equal(strata_peek(session, ns, test_bytes("p1"), &result), STRATA_MISS);
    for (uint32_t i = 0; i < 3; i++) assert_int_equal(sx_cluster_resume(cluster, i), 0);
    test_engine_await_trust(engine, 30000);
    assert_string_equal(test_get(session, ns, "p1"), "v");
    strata_session_close(session);
    strata_close(engine, 2000);
    sx_cluster_stop(cluster);
}

/* Nobody says anything: the policy has a value cover that for so long, and no longer, far as the value's own end may be. */
static void what_nobody_could_prove_for_long_covers_nothing(void **state) {
    (void)state;
    sx_cluster *cluster;
    start_cluster(&cluster, 3, 0);
    strata *engine = test_engine_open(TEST_OPTIONS("l2.nodes", sx_cluster_seeds(cluster), "l2.open_wait", "5s"), NULL);
    strata_session *session = test_engine_session(engine);
    strata_namespace *ns = test_engine_ns(engine, "n");
    strata_namespace_policy policy = {.struct_size = sizeof policy, .stale_if_failing_ms = 2000};
    assert_int_equal(strata_namespace_policy_set(ns, &policy, NULL), STRATA_OK);
    test_engine_await_trust(engine, 30000);
    assert_int_equal(test_set(session, ns, "k", "v"), STRATA_OK);
    strata_op_options options = {.struct_size = sizeof options, .deadline_ms = 100};
    strata_result result;
    int64_t paused_ms = test_now_ms();
    for (uint32_t i = 0; i < 3; i++) assert_int_equal(sx_cluster_pause(cluster, i), 0);
    while (test_now_ms() < paused_ms + 700) test_sleep_ms(5);
    assert_int_equal(strata_get_wait(session, ns, test_bytes("k"), &options, &result), STRATA_STALE);
    assert_int_equal(result.reason, STRATA_REASON_FAILED);
    assert_in_range(result.staleness_us, STALENESS_MS * 1000, 2000000);
    strata_result_release(session, &result);
    while (test_now_ms() < paused_ms + 2000) test_sleep_ms(5);
    assert_true(strata_get_wait(session, ns, test_bytes("k"), &options, &result) < 0);
    for (uint32_t i = 0; i < 3; i++) assert_int_equal(sx_cluster_resume(cluster, i), 0);
    test_engine_await_trust(engine, 30000);
    assert_string_equal(test_get(session, ns, "k"), "v");
    strata_session_close(session);
    strata_close(engine, 2000);
    sx_cluster_stop(cluster);
}

/* ---- Redis that is not there ------------------------------------------------------------------------------------ */

static int loads;
static void load(strata_load *run, void *user) {
    (void)user;
    loads++;
    strata_load_finish(run, STRATA_OK, test_bytes("loaded"), NULL);
}

static void an_absent_server_is_an_answer_and_its_return_too(void **state) {
    (void)state;
    sx_cluster *cluster;
    start_cluster(&cluster, 0, 0);
    assert_int_equal(sx_cluster_kill(cluster, 0), 0);
    strata *engine = test_engine_open(TEST_OPTIONS("l2.nodes", sx_cluster_seeds(cluster), "l2.open_wait", "100ms"), NULL);
    strata_session *session = test_engine_session(engine);
    strata_namespace *ns = test_engine_ns(engine, "n");
    strata_op_options options = {.struct_size = sizeof options, .deadline_ms = 200};
    strata_result result;
    for (int i = 0; i < 10; i++) {
        int64_t start_ms = test_now_ms();
        int32_t status = strata_get_wait(session, ns, test_bytes("a"), &options, &result);
        assert_true(status == STRATA_E_UNAVAILABLE || status == STRATA_E_TIMEOUT);
        assert_in_range(test_now_ms() - start_ms, 0, 3000);
        status = strata_set_wait(session, ns, test_bytes("a"), test_bytes("1"), &options, NULL);
        assert_true(status == STRATA_E_UNAVAILABLE || status == STRATA_E_TIMEOUT);
    }
    options.deadline_ms = 2000; /* the source still answers where L2 does not */
    assert_int_equal(strata_get_or_load_wait(session, ns, test_bytes("a"), &options, load, NULL, &result), STRATA_OK);
    assert_int_equal(result.source, STRATA_FROM_LOADER);
    strata_result_release(session, &result);
    assert_int_equal(sx_cluster_restart(cluster, 0), 0);
    test_engine_await_trust(engine, 30000);
    assert_int_equal(test_set(session, ns, "a", "1"), STRATA_OK);
    assert_string_equal(test_peek(session, ns, "a"), "1");
    /* And dying in the middle. */
    assert_int_equal(sx_cluster_kill(cluster, 0), 0);
    test_sleep_ms(STALENESS_MS + 20);
    assert_null(test_peek(session, ns, "a"));
    options.deadline_ms = 200;
    int32_t status = strata_get_wait(session, ns, test_bytes("a"), &options, &result);
    assert_true(status == STRATA_E_UNAVAILABLE || status == STRATA_E_TIMEOUT);
    assert_int_equal(sx_cluster_restart(cluster, 0), 0);
    test_engine_await_trust(engine, 30000);
    assert_null(test_get(session, ns, "a")); /* it came back empty */
    strata_session_close(session);
    strata_close(engine, 2000);
    sx_cluster_stop(cluster);
}

/* A write that timed out against a paused server executes later than one that was acknowledged afterwards, unless its
   deadline travels with it; and no later write of the key is acknowledged before the first one is settled. */
static void a_write_of_unknown_outcome_cant_come_back(void **state) {
    (void)state;
    sx_cluster *cluster;
    start_cluster(&cluster, 0, 0);
    strata *engine = test_engine_open(TEST_OPTIONS("l2.nodes", sx_cluster_seeds(cluster), "l2.open_wait", "5s"), NULL);
    strata_session *session = test_engine_session(engine);
    strata_namespace *ns = test_engine_ns(engine, "n");
    strata_op_options brief = {.struct_size = sizeof brief, .deadline_ms = 600};
    strata_op_options patient = {.struct_size = sizeof patient, .deadline_ms = 10000};
    assert_int_equal(test_set(session, ns, "z", "first"), STRATA_OK);
    assert_int_equal(sx_cluster_pause(cluster, 0), 0);
    assert_int_equal(strata_set_wait(session, ns, test_bytes("z"), test_bytes("zombie"), &brief, NULL),
                     STRATA_E_UNKNOWN_OUTCOME);
    assert_null(test_peek(session, ns, "z"));
    assert_int_equal(test_metric(engine, "flow.unknown_keys"), 1);
    assert_int_equal(strata_set_wait(session, ns, test_bytes("z"), test_bytes("queued"), &brief, NULL), STRATA_E_TIMEOUT);
    test_sleep_ms(300);
    assert_int_equal(sx_cluster_resume(cluster, 0), 0);
    assert_int_equal(strata_set_wait(session, ns, test_bytes("z"), test_bytes("last"), &patient, NULL), STRATA_OK);
    assert_int_equal(test_metric(engine, "flow.unknown_keys"), 0);
    test_sleep_ms(300);
    strata_op_options bypass = {.struct_size = sizeof bypass, .flags = STRATA_BYPASS_L1};
    strata_result result;
    assert_int_equal(strata_get_wait(session, ns, test_bytes("z"), &bypass, &result), STRATA_OK);
    assert_memory_equal(result.value.data, "last", 4);
    strata_result_release(session, &result);
    strata_session_close(session);
    strata_close(engine, 2000);
    sx_cluster_stop(cluster);
}

/* An invalidation waits behind a write of unknown outcome until its time is over. Who asks after that is not given what a loader
   had been asked for before. */
static void who_asks_after_a_failed_invalidation_waits_for_another_load(void **state) {
    (void)state;
    sx_cluster *cluster;
    start_cluster(&cluster, 0, 0);
    test_side s;
    test_side_open(&s, "n", TEST_OPTIONS("l2.nodes", sx_cluster_seeds(cluster), "l2.open_wait", "5s", "flow.l2_timeout", "100ms"), NULL);
    strata_op_options brief = {.struct_size = sizeof brief, .deadline_ms = 600}, patient = {.struct_size = sizeof patient, .deadline_ms = 8000};
    strata_result result;
    assert_int_equal(sx_cluster_pause(cluster, 0), 0);
    assert_int_equal(strata_set_wait(s.session, s.ns, test_bytes("k"), test_bytes("v"), &brief, NULL), STRATA_E_UNKNOWN_OUTCOME);
    test_side_hold(&s, "k", NULL);
    strata_load *old = s.kept;
    assert_int_equal(strata_invalidate_wait(s.session, s.ns, test_bytes("k"), &brief), STRATA_E_TIMEOUT);
    assert_int_equal(strata_get_or_load(s.session, s.ns, test_bytes("k"), &patient, test_side_load, &s, &result, test_side_done, &s),
                     STRATA_PENDING);
    s.value = "new";
    assert_int_equal(strata_load_finish(old, STRATA_OK, test_bytes("old"), NULL), STRATA_OK);
    test_side_await(&s, 1);
    assert_string_equal(s.answer, "old"); /* who asked before */
    test_side_await(&s, 2);
    assert_string_equal(s.answer, "new");
    assert_int_equal(sx_cluster_resume(cluster, 0), 0);
    test_side_close(&s);
    sx_cluster_stop(cluster);
}

static void closing_while_redis_hangs_ends_in_time(void **state) {
    (void)state;
    sx_cluster *cluster;
    start_cluster(&cluster, 0, 0);
    strata *engine = test_engine_open(TEST_OPTIONS("l2.nodes", sx_cluster_seeds(cluster), "l2.open_wait", "5s"), NULL);
    strata_session *session = test_engine_session(engine);
    strata_namespace *ns = test_engine_ns(engine, "n");
    assert_int_equal(sx_cluster_pause(cluster, 0), 0);
    strata_op_options patient = {.struct_size = sizeof patient, .deadline_ms = 60000};
    for (int i = 0; i < 100; i++) {
        char key[16];
        snprintf(key, sizeof key, "c%d", i);
        assert_int_equal(strata_set(session, ns, test_bytes(key), test_bytes("x"), &patient, NULL, NULL), STRATA_PENDING);
    }
    int64_t start_ms = test_now_ms();
    assert_int_equal(strata_close(engine, 100), STRATA_E_TIMEOUT);
    assert_in_range(test_now_ms() - start_ms, 99, 10000);
    strata_session_close(session);
    sx_cluster_resume(cluster, 0);
    sx_cluster_stop(cluster);
}

int main(void) {
    if (!sx_cluster_available()) return 77;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_absent_server_is_an_answer_and_its_return_too),
        cmocka_unit_test(a_write_of_unknown_outcome_cant_come_back),
        cmocka_unit_test(closing_while_redis_hangs_ends_in_time),
        cmocka_unit_test(a_short_pause_lets_l1_lapse_and_return),
        cmocka_unit_test(what_nobody_could_prove_for_long_covers_nothing),
        cmocka_unit_test(who_asks_after_a_failed_invalidation_waits_for_another_load),
        cmocka_unit_test(killed_subscriptions_come_back),
        cmocka_unit_test(a_killed_primary_is_replaced),
        cmocka_unit_test(a_paused_primary_is_not_believed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
