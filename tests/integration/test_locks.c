/* SPDX-License-Identifier: Apache-2.0 */
/* Locks of the program over a real cluster: one holder at a time, tokens that only grow, ends that come by themselves. */
// ctest: timeout=180
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <pthread.h>

#include "core/key/key.h"
#include "tests/support/cluster.h"
#include "tests/support/engine.h"
#include "tests/support/side.h"

static sx_cluster *cluster;
static sx_key_tags *names;

static int setup(void **state) {
    (void)state;
    sx_cluster_options options = {.primaries = 3, .replicas = 0};
    cluster = test_cluster_start(&options);
    return sx_key_tags_create(sx_alloc_default(), 256, &names);
}

static int teardown(void **state) {
    (void)state;
    sx_key_tags_destroy(names);
    sx_cluster_stop(cluster);
    return 0;
}

static test_side open_side(void) {
    test_side s;
    test_side_open(&s, "locks", TEST_OPTIONS("l2.mode", "cluster", "l2.nodes", sx_cluster_seeds(cluster), "l2.open_wait", "10s", "flow.deadline", "5s"), NULL);
    return s;
}

static int32_t acquire(test_side *s, const char *name, uint32_t flags, int64_t ttl_ms, uint32_t deadline_ms, strata_lock **out) {
    strata_lock_options options = {.struct_size = sizeof options, .flags = flags, .ttl_ms = ttl_ms, .deadline_ms = deadline_ms};
    return strata_lock_acquire_wait(s->session, s->ns, test_bytes(name), &options, out);
}

static int owner_of(const char *name) {
    int owner = sx_cluster_owner(cluster, names->tags[sx_key_partition(name, strlen(name), 256)].slot);
    assert_true(owner >= 0);
    return owner;
}

static void forget(const char *name) {
    free(sx_cluster_command(cluster, (uint32_t)owner_of(name), "DEL {%s}s1:!locks:1:%s",
                            names->tags[sx_key_partition(name, strlen(name), 256)].text, name));
}

/* ---- who holds it ---- */

static void one_holds_it_at_a_time(void **state) {
    (void)state;
    test_side a = open_side(), b = open_side();
    strata_lock *first = NULL, *second = NULL;
    assert_int_equal(acquire(&a, "one", 0, 60000, 0, &first), STRATA_OK);
    assert_in_range(strata_lock_left_ms(first), 50000, 60000 - 600);
    assert_int_equal(acquire(&b, "one", STRATA_LOCK_TRY, 60000, 0, &second), STRATA_CONFLICT);
    assert_null(second);
    int64_t began_ms = test_now_ms();
    int32_t waited = acquire(&b, "one", 0, 60000, 300, &second);
    assert_true(waited == STRATA_CONFLICT || waited == STRATA_E_TIMEOUT); /* the last question was answered in time, or not */
    assert_in_range(test_now_ms() - began_ms, 200, 2000);
    assert_int_equal(acquire(&a, "one", STRATA_LOCK_TRY, 60000, 0, &second), STRATA_CONFLICT); /* not for who holds it, either */
    strata_lock *other = NULL;
    assert_int_equal(acquire(&b, "two", STRATA_LOCK_TRY, 60000, 0, &other), STRATA_OK); /* another name */
    strata_namespace *ns = b.ns;
    b.ns = test_engine_ns(b.engine, "locks2");
    assert_int_equal(acquire(&b, "one", STRATA_LOCK_TRY, 60000, 0, &second), STRATA_OK); /* another namespace */
    strata_lock_close(second);
    b.ns = ns;
    uint64_t token = strata_lock_token(first);
    assert_true(token > 0);
    assert_int_equal(strata_lock_release_wait(a.session, first), STRATA_OK);
    assert_int_equal(strata_lock_left_ms(first), 0);
    assert_int_equal(acquire(&b, "one", STRATA_LOCK_TRY, 60000, 0, &second), STRATA_OK);
    assert_true(strata_lock_token(second) > token);
    assert_int_equal(strata_lock_release_wait(a.session, first), STRATA_CONFLICT); /* it is another's now, and stays so */
    assert_int_equal(strata_lock_renew_wait(a.session, first, 0), STRATA_CONFLICT);
    assert_int_equal(strata_lock_renew_wait(b.session, second, 0), STRATA_OK);
    strata_lock_close(first);
    strata_lock_close(second);
    strata_lock_close(other);
    assert_int_equal(test_metric(b.engine, "lock.refused"), waited == STRATA_CONFLICT ? 2 : 1);
    assert_int_equal(test_metric(a.engine, "lock.acquired"), 1);
    test_side_close(&a);
    test_side_close(&b);
}

static void a_lock_ends_by_itself(void **state) {
    (void)state;
    test_side a = open_side(), b = open_side();
    strata_lock *first, *second;
    assert_int_equal(acquire(&a, "short", 0, 300, 0, &first), STRATA_OK);
    assert_true(strata_lock_left_ms(first) <= 297);
    int64_t began_ms = test_now_ms();
    assert_int_equal(acquire(&b, "short", 0, 60000, 5000, &second), STRATA_OK); /* waits for its end */
    assert_in_range(test_now_ms() - began_ms, 100, 3000);
    assert_int_equal(strata_lock_left_ms(first), 0); /* whoever held it knows first */
    assert_true(strata_lock_token(second) > strata_lock_token(first));
    assert_int_equal(strata_lock_release_wait(a.session, first), STRATA_CONFLICT);
    assert_int_equal(strata_lock_renew_wait(b.session, second, 0), STRATA_OK);
    strata_lock_close(first);
    strata_lock_close(second);
    test_side_close(&a);
    test_side_close(&b);
}

static void tokens_grow_whatever_is_forgotten(void **state) {
    (void)state;
    test_side a = open_side();
    uint64_t last = 0;
    for (int i = 0; i < 20; i++) {
        strata_lock *lock;
        assert_int_equal(acquire(&a, "token", STRATA_LOCK_TRY, 60000, 0, &lock), STRATA_OK);
        assert_true(strata_lock_token(lock) > last);
        last = strata_lock_token(lock);
        if (i % 4 == 3) forget("token"); /* as a failover may */
        else if (i % 4 != 0) assert_int_equal(strata_lock_release_wait(a.session, lock), STRATA_OK);
        strata_lock_close(lock); /* which gives it back, where nobody did */
        for (int k = 0; k < 200 && i % 4 == 0 && test_metric(a.engine, "lock.released") < i - i / 4 + 1; k++) test_sleep_ms(5);
    }
    test_side_close(&a);
}

static void what_is_renewed_stays(void **state) {
    (void)state;
    test_side a = open_side(), b = open_side();
    strata_lock *lock, *other;
    assert_int_equal(acquire(&a, "renew", 0, 300, 0, &lock), STRATA_OK);
    for (int i = 0; i < 5; i++) {
        test_sleep_ms(100);
        assert_int_equal(strata_lock_renew_wait(a.session, lock, 0), STRATA_OK);
        assert_int_equal(acquire(&b, "renew", STRATA_LOCK_TRY, 300, 0, &other), STRATA_CONFLICT);
    }
    assert_int_equal(strata_lock_renew_wait(a.session, lock, 60000), STRATA_OK);
    assert_true(strata_lock_left_ms(lock) > 50000);
    assert_int_equal(strata_lock_renew_wait(a.session, lock, 10), STRATA_OK); /* never shortens it */
    assert_true(strata_lock_left_ms(lock) > 50000);
    strata_lock_close(lock);
    assert_int_equal(acquire(&b, "renew", 0, 300, 5000, &other), STRATA_OK); /* closed is released */
    strata_lock_close(other);
    test_side_close(&a);
    test_side_close(&b);
}

/* ---- renewed by itself ---- */

static void note_lost(void *user) { atomic_fetch_add((atomic_int *)user, 1); }

static void it_is_renewed_by_itself_until_it_is_lost(void **state) {
    (void)state;
    test_side a = open_side(), b = open_side();
    static atomic_int lost;
    strata_lock *lock, *other;
    strata_lock_options options = {
        .struct_size = sizeof options, .flags = STRATA_LOCK_RENEW, .ttl_ms = 600, .lost = note_lost, .lost_user = &lost};
    assert_int_equal(strata_lock_acquire_wait(a.session, a.ns, test_bytes("keeps"), &options, &lock), STRATA_OK);
    for (int i = 0; i < 20; i++) {
        test_sleep_ms(100);
        assert_true(strata_lock_left_ms(lock) > 0);
        assert_int_equal(acquire(&b, "keeps", STRATA_LOCK_TRY, 600, 0, &other), STRATA_CONFLICT);
    }
    assert_true(test_metric(a.engine, "lock.renewed") >= 5);
    assert_int_equal(atomic_load(&lost), 0);
    forget("keeps");
    assert_int_equal(acquire(&b, "keeps", STRATA_LOCK_TRY, 60000, 0, &other), STRATA_OK);
    for (int i = 0; i < 200 && atomic_load(&lost) == 0; i++) test_sleep_ms(10);
    assert_int_equal(atomic_load(&lost), 1);
    assert_int_equal(strata_lock_left_ms(lock), 0);
    assert_true(strata_lock_token(other) > strata_lock_token(lock));
    test_sleep_ms(500);
    assert_int_equal(atomic_load(&lost), 1);
    assert_int_equal(test_metric(a.engine, "lock.lost"), 1);
    strata_lock_close(lock);
    assert_int_equal(strata_lock_renew_wait(b.session, other, 0), STRATA_OK); /* its close took nothing away */
    strata_lock_close(other);

    assert_int_equal(strata_lock_acquire_wait(a.session, a.ns, test_bytes("keeps2"), &options, &lock), STRATA_OK);
    assert_int_equal(strata_lock_release_wait(a.session, lock), STRATA_OK); /* ends the renewing */
    assert_int_equal(acquire(&b, "keeps2", STRATA_LOCK_TRY, 60000, 0, &other), STRATA_OK);
    test_sleep_ms(500);
    assert_int_equal(atomic_load(&lost), 1);
    strata_lock_close(lock);
    strata_lock_close(other);
    test_side_close(&a);
    test_side_close(&b);
}

/* A primary that does not answer: the holder knows before anybody else can have it. */
static void a_holder_who_cant_renew_knows_in_time(void **state) {
    (void)state;
    test_side a = open_side();
    static atomic_int lost;
    strata_lock *lock;
    strata_lock_options options = {
        .struct_size = sizeof options, .flags = STRATA_LOCK_RENEW, .ttl_ms = 900, .lost = note_lost, .lost_user = &lost};
    assert_int_equal(strata_lock_acquire_wait(a.session, a.ns, test_bytes("paused"), &options, &lock), STRATA_OK);
    int owner = owner_of("paused");
    assert_int_equal(sx_cluster_pause(cluster, (uint32_t)owner), 0);
    int64_t began_ms = test_now_ms();
    while (strata_lock_left_ms(lock) > 0) {
        assert_true(test_now_ms() - began_ms < 900);
        test_sleep_ms(10);
    }
    for (int i = 0; i < 200 && atomic_load(&lost) == 0; i++) test_sleep_ms(10);
    assert_int_equal(atomic_load(&lost), 1);
    strata_lock *other = NULL;
    assert_int_equal(acquire(&a, "paused", STRATA_LOCK_TRY, 60000, 300, &other) < 0, 1); /* nobody can say */
    assert_null(other);
    assert_int_equal(sx_cluster_resume(cluster, (uint32_t)owner), 0);
    /* What may have been acquired without our knowing is given back, or too late: nobody waits a minute for it. */
    began_ms = test_now_ms();
    int32_t status = STRATA_CONFLICT;
    while (status != STRATA_OK && test_now_ms() - began_ms < 20000) status = acquire(&a, "paused", STRATA_LOCK_TRY, 60000, 500, &other);
    assert_int_equal(status, STRATA_OK);
    assert_true(strata_lock_token(other) > strata_lock_token(lock));
    strata_lock_close(lock);
    strata_lock_close(other);
    test_side_close(&a);
}

/* ---- ends ---- */

static void count_answer(void *user, const strata_result *result) {
    int32_t *told = user;
    told[0]++;
    told[1] = result->status;
}

static void who_waits_is_told_once_however_it_ends(void **state) {
    (void)state;
    test_side a = open_side(), b = open_side();
    strata_lock *held, *waits[3];
    strata_lock_options options = {.struct_size = sizeof options, .ttl_ms = 60000, .deadline_ms = 60000};
    assert_int_equal(acquire(&a, "ends", 0, 60000, 0, &held), STRATA_OK);
    int32_t told[3][2] = {{0}};
    for (int i = 0; i < 3; i++)
        assert_int_equal(strata_lock_acquire(b.session, b.ns, test_bytes("ends"), &options, &waits[i], count_answer, told[i]), STRATA_PENDING);
    (void)strata_session_wait(b.session, 100);
    assert_int_equal(told[0][0] + told[1][0] + told[2][0], 0);
    strata_lock_close(waits[0]); /* ends the acquisition */
    for (int i = 0; i < 100 && told[0][0] == 0; i++) (void)strata_session_wait(b.session, 50);
    assert_int_equal(told[0][0], 1);
    assert_int_equal(told[0][1], STRATA_E_CANCELLED);
    strata_session_close(b.session);
    assert_int_equal(told[1][0], 1);
    assert_int_equal(told[1][1], STRATA_E_CANCELLED);
    b.session = test_engine_session(b.engine);
    int32_t last[2] = {0};
    strata_lock *late;
    assert_int_equal(strata_lock_acquire(b.session, b.ns, test_bytes("ends"), &options, &late, count_answer, last), STRATA_PENDING);
    assert_int_equal(strata_close(b.engine, 100), STRATA_E_TIMEOUT);
    (void)strata_session_wait(b.session, 100);
    assert_int_equal(last[0], 1);
    assert_int_equal(last[1], STRATA_E_CLOSED);
    strata_session_close(b.session);
    strata_lock_close(waits[1]);
    strata_lock_close(waits[2]);
    strata_lock_close(late);
    strata_lock_close(held);
    test_side_close(&a);
}

static void what_is_released_before_it_is_granted_is_given_back(void **state) {
    (void)state;
    test_side a = open_side(), b = open_side();
    strata_lock_options options = {.struct_size = sizeof options, .flags = STRATA_LOCK_RENEW, .ttl_ms = 60000, .deadline_ms = 5000};
    uint32_t cancelled = 0;
    for (int round = 0; round < 20; round++) {
        int32_t told[2] = {0};
        strata_lock *early, *later;
        assert_int_equal(strata_lock_acquire(a.session, a.ns, test_bytes("early"), &options, &early, count_answer, told), STRATA_PENDING);
        (void)strata_lock_release_wait(a.session, early);
        for (int i = 0; i < 100 && told[0] == 0; i++) (void)strata_session_wait(a.session, 50);
        assert_int_equal(told[0], 1);
        assert_true(told[1] == STRATA_E_CANCELLED || told[1] == STRATA_OK); /* where it was faster */
        cancelled += told[1] == STRATA_E_CANCELLED;
        assert_int_equal(strata_lock_left_ms(early), 0);
        assert_int_equal(acquire(&b, "early", 0, 60000, 2000, &later), STRATA_OK);
        assert_int_equal(strata_lock_release_wait(b.session, later), STRATA_OK);
        strata_lock_close(early);
        strata_lock_close(later);
    }
    assert_true(cancelled > 0);
    test_side_close(&a);
    test_side_close(&b);
}

static void what_is_wrong_is_refused(void **state) {
    (void)state;
    test_side a = open_side(), none = {.engine = test_engine_open(TEST_OPTIONS("l2.mode", "none"), NULL)};
    strata_lock *lock = NULL;
    assert_int_equal(acquire(&a, "w", 0, 9, 0, &lock), STRATA_E_INVALID);
    assert_int_equal(acquire(&a, "w", 0, INT64_C(86400001), 0, &lock), STRATA_E_INVALID);
    assert_int_equal(acquire(&a, "w", 4, 1000, 0, &lock), STRATA_E_INVALID);
    assert_int_equal(acquire(&a, "", 0, 1000, 0, &lock), STRATA_E_KEY_SIZE);
    assert_int_equal(strata_lock_acquire_wait(a.session, a.ns, test_bytes("w"), NULL, &lock), STRATA_E_INVALID);
    none.ns = test_engine_ns(none.engine, "n");
    none.session = test_engine_session(none.engine);
    assert_int_equal(acquire(&none, "w", 0, 1000, 0, &lock), STRATA_E_INVALID);
    assert_null(lock);
    assert_int_equal(acquire(&a, "w", 0, 1000, 0, &lock), STRATA_OK);
    assert_int_equal(strata_lock_renew_wait(a.session, lock, 1), STRATA_E_INVALID);
    assert_int_equal(strata_lock_renew_wait(none.session, lock, 0), STRATA_E_INVALID); /* another engine's */
    strata_lock_close(lock);
    strata_lock_close(NULL);
    test_side_close(&none);
    test_side_close(&a);
}

/* ---- many ---- */

enum { THREADS = 4, ROUNDS = 60 };
typedef struct shared {
    uint64_t greatest; /* plain: the lock is what guards it */
    uint32_t count;
    atomic_int inside;
} shared;
typedef struct rival {
    test_side *of;
    shared *what;
    pthread_t thread;
} rival;

static void *compete(void *argument) {
    rival *r = argument;
    strata_session *session = test_engine_session(r->of->engine);
    strata_lock_options options = {.struct_size = sizeof options, .ttl_ms = 30000, .deadline_ms = 60000};
    for (int i = 0; i < ROUNDS; i++) {
        strata_lock *lock = NULL;
        if (strata_lock_acquire_wait(session, r->of->ns, test_bytes("many"), &options, &lock) != STRATA_OK) abort();
        if (atomic_fetch_add(&r->what->inside, 1) != 0) abort();
        if (strata_lock_token(lock) <= r->what->greatest) abort();
        r->what->greatest = strata_lock_token(lock);
        r->what->count++;
        atomic_fetch_sub(&r->what->inside, 1);
        if (i % 2 == 0 && strata_lock_release_wait(session, lock) != STRATA_OK) abort();
        strata_lock_close(lock);
    }
    strata_session_close(session);
    return NULL;
}

static void many_who_want_it_have_it_in_turn(void **state) {
    (void)state;
    test_side sides[2] = {open_side(), open_side()};
    static shared what;
    rival rivals[THREADS];
    for (int i = 0; i < THREADS; i++) {
        rivals[i] = (rival){.of = &sides[i % 2], .what = &what};
        assert_int_equal(pthread_create(&rivals[i].thread, NULL, compete, &rivals[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) pthread_join(rivals[i].thread, NULL);
    assert_int_equal(what.count, THREADS * ROUNDS);
    test_side_close(&sides[0]);
    test_side_close(&sides[1]);
}

int main(void) {
    if (!sx_cluster_available()) return 77;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_holds_it_at_a_time),
        cmocka_unit_test(a_lock_ends_by_itself),
        cmocka_unit_test(tokens_grow_whatever_is_forgotten),
        cmocka_unit_test(what_is_renewed_stays),
        cmocka_unit_test(it_is_renewed_by_itself_until_it_is_lost),
        cmocka_unit_test(a_holder_who_cant_renew_knows_in_time),
        cmocka_unit_test(who_waits_is_told_once_however_it_ends),
        cmocka_unit_test(what_is_released_before_it_is_granted_is_given_back),
        cmocka_unit_test(what_is_wrong_is_refused),
        cmocka_unit_test(many_who_want_it_have_it_in_turn),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
