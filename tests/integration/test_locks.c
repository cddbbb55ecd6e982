/* SPDX-License-Identifier: Apache-2.0 */
/* Locks of the program over a real cluster: one holder at a time, tokens that only grow, ends that come by themselves. */
// ctest: timeout=600
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <pthread.h>

#include "tests/support/cluster.h"
#include "tests/support/engine.h"
#include "tests/support/place.h"
#include "tests/support/side.h"

static sx_cluster *cluster;

static int setup(void **state) {
    (void)state;
    sx_cluster_options options = {.primaries = 3, .replicas = 0, .node_timeout_ms = 15000};
    cluster = test_cluster_start(&options);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    sx_cluster_stop(cluster);
    return 0;
}

static test_side open_side(void) {
    test_side s;
    test_side_open(&s, "locks", TEST_OPTIONS("l2.mode", "cluster", "l2.nodes", sx_cluster_seeds(cluster), "l2.open_wait", "10s", "flow.deadline", "30s"), NULL);
    return s;
}

static int32_t acquire(test_side *s, const char *name, uint32_t flags, int64_t ttl_ms, uint32_t deadline_ms, strata_lock **out) {
    strata_lock_options options = {.struct_size = sizeof options, .flags = flags, .ttl_ms = ttl_ms, .deadline_ms = deadline_ms};
    return strata_lock_acquire_wait(s->session, s->ns, test_bytes(name), &options, out);
}

static void forget(const char *name) {
    free(sx_cluster_command(cluster, test_node_of(cluster, name), "DEL {%s}s1:!locks:1:%s", test_place_of(name).tag, name));
}

/* A name whose lock another primary has. To be asked for before that one is paused. */
static const char *name_elsewhere(uint32_t owner) {
    static char name[32];
    for (int i = 0; i == 0 || test_node_of(cluster, name) == owner; i++) snprintf(name, sizeof name, "elsewhere%d", i);
    return name;
}

/* Returns when what was begun at that session is on its way: a lock that is acquired after it, at a primary that answers. */
static void pass(test_side *s, const char *elsewhere) {
    strata_lock *lock;
    assert_int_equal(acquire(s, elsewhere, 0, 60000, 0, &lock), STRATA_OK);
    strata_lock_close(lock);
}

static void count_answer(void *user, const strata_result *result) {
    int32_t *told = user;
    told[0]++;
    told[1] = result->status;
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
    assert_int_equal(test_metric(b.engine, "lock.refused"), 1);
    int64_t began_ms = test_now_ms();
    int32_t waited = acquire(&b, "one", 0, 60000, 300, &second);
    assert_true(waited == STRATA_CONFLICT || waited == STRATA_E_TIMEOUT); /* the last question was answered in time, or not */
    assert_in_range(test_now_ms() - began_ms, 200, 20000); /* its own deadline, not the engine's */
    assert_int_equal(test_metric(b.engine, "lock.refused"), waited == STRATA_CONFLICT ? 2 : 1);
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
    assert_int_equal(test_metric(a.engine, "lock.acquired"), 1);
    test_side_close(&a);
    test_side_close(&b);
}

static void a_lock_ends_by_itself(void **state) {
    (void)state;
    test_side a = open_side(), b = open_side();
    strata_lock *first, *second;
    int64_t began_ms = test_now_ms();
    assert_int_equal(acquire(&a, "short", 0, 300, 0, &first), STRATA_OK);
    assert_true(strata_lock_left_ms(first) <= 297);
    assert_int_equal(acquire(&b, "short", 0, 60000, 0, &second), STRATA_OK); /* waits for its end */
    assert_true(test_now_ms() - began_ms >= 299);
    assert_int_equal(strata_lock_left_ms(first), 0); /* whoever held it knows first */
    assert_true(strata_lock_token(second) > strata_lock_token(first));
    assert_int_equal(strata_lock_release_wait(a.session, first), STRATA_CONFLICT);
    assert_int_equal(strata_lock_renew_wait(b.session, second, 0), STRATA_OK);
    strata_lock_close(first);
    strata_lock_close(second);
    test_side_close(&a);
    test_side_close(&b);
}

static void its_time_counts_from_before_it_was_asked_for(void **state) {
    (void)state;
    test_side a = open_side();
    strata_lock *lock;
    strata_lock_options options = {.struct_size = sizeof options, .ttl_ms = 60000};
    int32_t told[2] = {0};
    uint32_t owner = test_node_of(cluster, "counts");
    const char *elsewhere = name_elsewhere(owner);
    assert_int_equal(sx_cluster_pause(cluster, owner), 0);
    assert_int_equal(strata_lock_acquire(a.session, a.ns, test_bytes("counts"), &options, &lock, count_answer, told), STRATA_PENDING);
    pass(&a, elsewhere);
    test_sleep_ms(500);
    assert_int_equal(sx_cluster_resume(cluster, owner), 0);
    TEST_AWAIT(told[0] != 0, strata_session_wait(a.session, 50));
    assert_int_equal(told[1], STRATA_OK);
    assert_in_range(strata_lock_left_ms(lock), 1, 60000 - 600 - 500);
    strata_lock_close(lock);
    test_side_close(&a);
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
        if (i % 4 == 0) assert_true(test_metric_wait(a.engine, "lock.released", i - i / 4 + 1, 30000));
    }
    test_side_close(&a);
}

/* Renews a lock for twice as long as it is. False where the machine stood still until it may have been over: not to be judged. */
static bool renewed_for_long(test_side *a, test_side *b, int64_t ttl_ms) {
    strata_lock *lock, *other = NULL;
    bool in_time = true;
    int64_t began_ms = test_now_ms(), asked_ms = began_ms;
    assert_int_equal(acquire(a, "renew", 0, ttl_ms, 0, &lock), STRATA_OK);
    while (in_time && test_now_ms() - began_ms < 2 * ttl_ms) {
        test_sleep_ms((uint32_t)ttl_ms / 4);
        int64_t now_ms = test_now_ms();
        int32_t renewed = strata_lock_renew_wait(a->session, lock, 0);
        int32_t tried = acquire(b, "renew", STRATA_LOCK_TRY, ttl_ms, 0, &other);
        in_time = test_now_ms() - asked_ms < ttl_ms * 9 / 10;
        if (in_time) assert_int_equal(renewed, STRATA_OK);
        if (in_time) assert_int_equal(tried, STRATA_CONFLICT);
        asked_ms = now_ms;
    }
    strata_lock_close(lock);
    strata_lock_close(other);
    return in_time;
}

static void what_is_renewed_stays(void **state) {
    (void)state;
    test_side a = open_side(), b = open_side();
    strata_lock *lock, *other;
    bool judged = false;
    for (int64_t ttl_ms = 400; !judged && ttl_ms < 30000; ttl_ms *= 2) judged = renewed_for_long(&a, &b, ttl_ms);
    assert_true(judged);
    assert_int_equal(acquire(&a, "renew", 0, 60000, 0, &lock), STRATA_OK);
    assert_int_equal(strata_lock_renew_wait(a.session, lock, 80000), STRATA_OK);
    assert_true(strata_lock_left_ms(lock) > 60000);
    assert_int_equal(strata_lock_renew_wait(a.session, lock, 10), STRATA_OK); /* never shortens it */
    assert_true(strata_lock_left_ms(lock) > 50000);
    strata_lock_close(lock);
    assert_int_equal(acquire(&b, "renew", 0, 300, 0, &other), STRATA_OK); /* closed is released */
    strata_lock_close(other);
    test_side_close(&a);
    test_side_close(&b);
}

/* ---- renewed by itself ---- */

static void note_lost(void *user) { atomic_fetch_add((atomic_int *)user, 1); }

static strata_lock *acquire_kept(test_side *s, const char *name, int64_t ttl_ms, atomic_int *lost) {
    strata_lock *lock;
    strata_lock_options options = {
        .struct_size = sizeof options, .flags = STRATA_LOCK_RENEW, .ttl_ms = ttl_ms, .lost = note_lost, .lost_user = lost};
    assert_int_equal(strata_lock_acquire_wait(s->session, s->ns, test_bytes(name), &options, &lock), STRATA_OK);
    return lock;
}

/* Whether it is held for more than twice as long as ttl_ms. Where it is not, its holder knows before another has it. */
static bool stays_held(test_side *b, const char *name, strata_lock *lock, int64_t ttl_ms) {
    for (int64_t began_ms = test_now_ms(); test_now_ms() - began_ms < 2 * ttl_ms + ttl_ms / 2; test_sleep_ms((uint32_t)ttl_ms / 10)) {
        strata_lock *other;
        int32_t tried = acquire(b, name, STRATA_LOCK_TRY, 600, 0, &other);
        if (tried == STRATA_CONFLICT) continue;
        assert_int_equal(tried, STRATA_OK);
        assert_int_equal(strata_lock_left_ms(lock), 0);
        strata_lock_close(other);
        return false;
    }
    return strata_lock_left_ms(lock) > 0;
}

static void it_is_renewed_by_itself_until_it_is_lost(void **state) {
    (void)state;
    test_side a = open_side(), b = open_side();
    static atomic_int lost, lost2;
    strata_lock *lock = NULL, *other;
    bool held = false;
    for (int64_t ttl_ms = 600; !held && ttl_ms < 20000; ttl_ms *= 2) { /* longer, where the machine stands still for as long as that */
        strata_lock_close(lock);
        atomic_store(&lost, 0);
        lock = acquire_kept(&a, "keeps", ttl_ms, &lost);
        held = stays_held(&b, "keeps", lock, ttl_ms);
    }
    assert_true(held);
    assert_true(test_metric(a.engine, "lock.renewed") >= 2);
    forget("keeps");
    assert_int_equal(acquire(&b, "keeps", STRATA_LOCK_TRY, 60000, 0, &other), STRATA_OK);
    TEST_AWAIT(atomic_load(&lost) != 0, test_sleep_ms(10));
    assert_int_equal(atomic_load(&lost), 1);
    assert_int_equal(strata_lock_left_ms(lock), 0);
    assert_true(strata_lock_token(other) > strata_lock_token(lock));
    test_sleep_ms(500);
    assert_int_equal(atomic_load(&lost), 1);
    strata_lock_close(lock);
    assert_int_equal(strata_lock_renew_wait(b.session, other, 0), STRATA_OK); /* its close took nothing away */
    strata_lock_close(other);

    int32_t released = STRATA_CONFLICT;
    for (int64_t ttl_ms = 600; released == STRATA_CONFLICT && ttl_ms < 20000; ttl_ms *= 2) {
        lock = acquire_kept(&a, "keeps2", ttl_ms, &lost2);
        released = strata_lock_release_wait(a.session, lock); /* ends the renewing */
        int before = atomic_load(&lost2);
        test_sleep_ms((uint32_t)ttl_ms * 3 / 4);
        assert_int_equal(atomic_load(&lost2), before);
        strata_lock_close(lock);
    }
    assert_int_equal(released, STRATA_OK);
    assert_int_equal(acquire(&b, "keeps2", STRATA_LOCK_TRY, 60000, 0, &other), STRATA_OK);
    strata_lock_close(other);
    test_side_close(&a);
    test_side_close(&b);
}

/* A primary that does not answer: the holder knows before anybody else can have it. */
static void a_holder_who_cant_renew_knows_in_time(void **state) {
    (void)state;
    test_side a = open_side();
    static atomic_int lost;
    strata_lock *lock = acquire_kept(&a, "paused", 900, &lost);
    uint32_t owner = test_node_of(cluster, "paused");
    assert_int_equal(sx_cluster_pause(cluster, owner), 0);
    int64_t paused_ms = test_now_ms(), now_ms;
    do {
        test_sleep_ms(10);
        now_ms = test_now_ms(); /* before it is asked: however late that happens, it is not held for longer */
    } while (strata_lock_left_ms(lock) > 0 && now_ms - paused_ms < 900);
    assert_int_equal(strata_lock_left_ms(lock), 0);
    TEST_AWAIT(atomic_load(&lost) != 0, test_sleep_ms(10));
    assert_int_equal(atomic_load(&lost), 1);
    strata_lock *other = NULL;
    assert_int_equal(acquire(&a, "paused", STRATA_LOCK_TRY, 60000, 300, &other) < 0, 1); /* nobody can say */
    assert_null(other);
    assert_int_equal(sx_cluster_resume(cluster, owner), 0);
    /* What may have been acquired without our knowing is given back, or too late: nobody waits a minute for it. */
    int32_t status = STRATA_CONFLICT;
    TEST_AWAIT(status == STRATA_OK, status = acquire(&a, "paused", STRATA_LOCK_TRY, 60000, 500, &other));
    assert_int_equal(status, STRATA_OK);
    assert_true(strata_lock_token(other) > strata_lock_token(lock));
    strata_lock_close(lock);
    strata_lock_close(other);
    test_side_close(&a);
}

/* ---- ends ---- */

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
    TEST_AWAIT(told[0][0] != 0, strata_session_wait(b.session, 50));
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
    TEST_AWAIT(last[0] != 0, strata_session_wait(b.session, 50));
    assert_int_equal(last[0], 1);
    assert_int_equal(last[1], STRATA_E_CLOSED);
    strata_session_close(b.session);
    strata_lock_close(waits[1]);
    strata_lock_close(waits[2]);
    strata_lock_close(late);
    strata_lock_close(held);
    test_side_close(&a);
}

/* Releases what is being acquired; where the primary is paused, while it is. The outcome of the acquisition. */
static int32_t release_early(test_side *a, const char *name, bool paused) {
    strata_lock_options options = {.struct_size = sizeof options, .flags = STRATA_LOCK_RENEW, .ttl_ms = 60000};
    uint32_t owner = test_node_of(cluster, name);
    const char *elsewhere = name_elsewhere(owner);
    int32_t acquired[2] = {0}, released[2] = {0};
    strata_lock *early;
    if (paused) assert_int_equal(sx_cluster_pause(cluster, owner), 0);
    assert_int_equal(strata_lock_acquire(a->session, a->ns, test_bytes(name), &options, &early, count_answer, acquired), STRATA_PENDING);
    assert_int_equal(strata_lock_release(a->session, early, count_answer, released), STRATA_PENDING);
    if (paused) {
        pass(a, elsewhere);
        assert_int_equal(sx_cluster_resume(cluster, owner), 0);
    }
    TEST_AWAIT(acquired[0] != 0 && released[0] != 0, strata_session_wait(a->session, 50));
    assert_int_equal(acquired[0], 1);
    assert_int_equal(released[0], 1);
    assert_int_equal(strata_lock_left_ms(early), 0);
    strata_lock_close(early);
    return acquired[1];
}

static void what_is_released_before_it_is_granted_is_given_back(void **state) {
    (void)state;
    test_side a = open_side(), b = open_side();
    uint32_t cancelled = 0;
    for (int round = 0; round < 20; round++) {
        strata_lock *later;
        int32_t acquired = release_early(&a, "early", round % 4 == 0);
        assert_true(acquired == STRATA_E_CANCELLED || acquired == STRATA_OK); /* where it was faster */
        cancelled += acquired == STRATA_E_CANCELLED;
        assert_int_equal(acquire(&b, "early", 0, 60000, 0, &later), STRATA_OK);
        assert_int_equal(strata_lock_release_wait(b.session, later), STRATA_OK);
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
        cmocka_unit_test(its_time_counts_from_before_it_was_asked_for),
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
