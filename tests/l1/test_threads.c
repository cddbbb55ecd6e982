/* SPDX-License-Identifier: Apache-2.0 */
/* L1 under threads: keys that stay are never missed while the table grows and shrinks, removals are seen by those who
   were told of them, and everything at once leaves every value with its key. */
// ctest: timeout=300
#include "fixture.h"

#include <pthread.h>
#include <time.h>

#include "core/memory/atomic.h"

static int64_t clock_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * SX_NS_PER_S + (int64_t)t.tv_nsec;
}

static void nap_us(long us) {
    struct timespec t = {.tv_sec = 0, .tv_nsec = us * 1000};
    nanosleep(&t, NULL);
}

typedef struct shared {
    fixture f;
    _Atomic bool stop;
    _Atomic int64_t finds;
    _Atomic int64_t faults; /* of any kind; asserting is the main thread's */
    _Atomic uint64_t told[64]; /* told[k]: entries of key k with a smaller n were removed before this was stored */
} shared;

typedef struct worker {
    shared *s;
    uint64_t number;
    pthread_t thread;
} worker;

static sx_epoch_record *enroll(shared *s) {
    sx_epoch_record *record = NULL;
    if (sx_epoch_register(s->f.epoch, &record) != STRATA_OK) abort();
    return record;
}

static void *keep(void *argument) {
    worker *w = argument;
    shared *s = w->s;
    sx_epoch_record *record = enroll(s);
    while (!atomic_load(&s->stop)) {
        atomic_fetch_add(&s->f.now_ns, SX_NS_PER_MS);
        (void)sx_l1_maintain_on_keeper(s->f.l1, record, atomic_load(&s->f.now_ns));
        (void)sx_epoch_reclaim(s->f.epoch);
        nap_us(200);
    }
    sx_epoch_unregister(record);
    return NULL;
}

static void start(shared *s, worker *w, uint64_t number, void *(*run)(void *)) {
    w->s = s;
    w->number = number;
    assert_int_equal(pthread_create(&w->thread, NULL, run, w), 0);
}

/* Keys that stay: 0 .. STAYING - 1. */
#define STAYING 300u
#define COMING 150000u

static void *read_staying(void *argument) {
    worker *w = argument;
    shared *s = w->s;
    sx_epoch_record *record = enroll(s);
    uint64_t random = w->number;
    int64_t finds = 0;
    while (!atomic_load_explicit(&s->stop, memory_order_relaxed)) {
        sx_epoch_pin(record);
        for (int i = 0; i < 64; i++) {
            uint64_t number = random_next(&random) % STAYING;
            const sx_item *item = find_pinned(&s->f, number);
            if (item == NULL || !item_is_sound(item, number)) atomic_fetch_add(&s->faults, 1);
        }
        sx_epoch_unpin(record);
        finds += 64;
    }
    atomic_fetch_add(&s->finds, finds);
    sx_epoch_unregister(record);
    return NULL;
}

/* Grows the table to thousands of groups and lets it shrink again, several times. */
static void test_what_stays_is_never_missed(void **state) {
    (void)state;
    static shared s;
    memset(&s, 0, sizeof s);
    fixture_init(&s.f, INT64_C(1) << 28, 1 << 16);
    for (uint64_t i = 0; i < STAYING; i++) assert_int_equal(put_new(&s.f, s.f.record, i, 1, 8), STRATA_OK);
    worker readers[2];
    worker keeper;
    for (uint64_t i = 0; i < 2; i++) start(&s, &readers[i], i + 1, read_staying);
    start(&s, &keeper, 0, keep);
    int64_t end = clock_ns() + 3 * SX_NS_PER_S;
    int rounds = 0;
    uint64_t coming = SX_TSAN ? COMING / 10 : COMING;
    for (; rounds < 2 || clock_ns() < end; rounds++) {
        for (uint64_t i = STAYING; i < coming; i++) {
            int32_t status = put_new(&s.f, s.f.record, i, 1, 8);
            if (status != STRATA_OK && status != STRATA_E_OVERLOADED) atomic_fetch_add(&s.faults, 1);
            if (i % 4096 == 0) nap_us(50);
        }
        for (uint64_t i = STAYING; i < coming; i++) (void)remove_below(&s.f, s.f.record, i, UINT64_MAX);
        for (int i = 0; i < 400; i++) nap_us(100); /* merges */
    }
    atomic_store(&s.stop, true);
    for (int i = 0; i < 2; i++) pthread_join(readers[i].thread, NULL);
    pthread_join(keeper.thread, NULL);
    assert_int_equal(atomic_load(&s.faults), 0);
    assert_true(atomic_load(&s.finds) > 10000);
    assert_int_equal(metric(&s.f, SX_L1_METRIC_EVICTIONS), 0);
    assert_int_equal(metric(&s.f, SX_L1_METRIC_ENTRIES), STAYING);
    fixture_deinit(&s.f);
}

/* One thread puts n, removes what is below n, and tells; readers never see less than they were told of. */
static void *read_told(void *argument) {
    worker *w = argument;
    shared *s = w->s;
    sx_epoch_record *record = enroll(s);
    uint64_t random = w->number;
    int64_t finds = 0;
    while (!atomic_load_explicit(&s->stop, memory_order_relaxed)) {
        uint64_t number = random_next(&random) % 64;
        uint64_t told = atomic_load_explicit(&s->told[number], memory_order_acquire);
        sx_epoch_pin(record);
        const sx_item *item = find_pinned(&s->f, number);
        if (item != NULL && (!item_is_sound(item, number) || item->n < told)) atomic_fetch_add(&s->faults, 1);
        sx_epoch_unpin(record);
        finds++;
    }
    atomic_fetch_add(&s->finds, finds);
    sx_epoch_unregister(record);
    return NULL;
}

static void *write_told(void *argument) {
    worker *w = argument;
    shared *s = w->s;
    sx_epoch_record *record = enroll(s);
    uint64_t random = w->number;
    uint64_t n = 0;
    while (!atomic_load_explicit(&s->stop, memory_order_relaxed)) {
        uint64_t number = (random_next(&random) % 32) * 2 + w->number;
        n++;
        if (n % 2 == 0) (void)put_new(&s->f, record, number, n, 30);
        (void)remove_below(&s->f, record, number, n);
        atomic_store_explicit(&s->told[number], n, memory_order_release);
        if (n % 64 == 0) nap_us(20);
    }
    sx_epoch_unregister(record);
    return NULL;
}

static void test_who_was_told_sees_no_less(void **state) {
    (void)state;
    static shared s;
    memset(&s, 0, sizeof s);
    fixture_init(&s.f, INT64_C(1) << 26, 1 << 16);
    worker others[5];
    for (uint64_t i = 0; i < 2; i++) start(&s, &others[i], i + 1, read_told);
    for (uint64_t i = 0; i < 2; i++) start(&s, &others[2 + i], i, write_told);
    start(&s, &others[4], 0, keep);
    int64_t end = clock_ns() + 2 * SX_NS_PER_S;
    while (clock_ns() < end) { /* the table moves under them */
        for (uint64_t i = 1000; i < 6000; i++) (void)put_new(&s.f, s.f.record, i, 1, 8);
        for (uint64_t i = 1000; i < 6000; i++) (void)remove_below(&s.f, s.f.record, i, UINT64_MAX);
        nap_us(5000);
    }
    atomic_store(&s.stop, true);
    for (int i = 0; i < 5; i++) pthread_join(others[i].thread, NULL);
    assert_int_equal(atomic_load(&s.faults), 0);
    assert_true(atomic_load(&s.finds) > 1000);
    fixture_deinit(&s.f);
}

/* Everything at once. */
#define CROWD 20000u

static void *read_any(void *argument) {
    worker *w = argument;
    shared *s = w->s;
    sx_epoch_record *record = enroll(s);
    uint64_t random = w->number;
    int64_t finds = 0;
    while (!atomic_load_explicit(&s->stop, memory_order_relaxed)) {
        uint64_t number = random_next(&random) % CROWD;
        sx_epoch_pin(record);
        sx_item *item = find_pinned(&s->f, number);
        if (item != NULL && !item_is_sound(item, number)) atomic_fetch_add(&s->faults, 1);
        bool kept = item != NULL && finds % 16 == 0;
        if (kept) sx_item_retain(item);
        sx_epoch_unpin(record);
        if (kept && !item_is_sound(item, number)) atomic_fetch_add(&s->faults, 1);
        if (kept) sx_item_release(item);
        finds++;
    }
    atomic_fetch_add(&s->finds, finds);
    sx_epoch_unregister(record);
    return NULL;
}

static bool visit_some(void *context, sx_item *item) {
    uint64_t *random = context;
    (void)item;
    return random_next(random) % 50 == 0;
}

/* Two of these; each owns the keys of its parity, which keeps puts and removals of one key in order. */
static void *write_any(void *argument) {
    worker *w = argument;
    shared *s = w->s;
    sx_epoch_record *record = enroll(s);
    uint64_t random = w->number + 100;
    while (!atomic_load_explicit(&s->stop, memory_order_relaxed)) {
        uint64_t r = random_next(&random);
        uint64_t number = (r % (CROWD / 2)) * 2 + w->number;
        if ((r >> 20) % 8 == 0) {
            (void)remove_below(&s->f, record, number, r >> 30 & 255);
            continue;
        }
        int64_t expires = (r >> 24) % 4 == 0 ? atomic_load(&s->f.now_ns) + SX_NS_PER_MS * 50 : SX_EXPIRES_NEVER;
        sx_item *item = item_try(&s->f, number, r >> 30 & 255, (size_t)(r >> 40) % 600, expires);
        if (item == NULL) abort();
        int32_t status = put_with(&s->f, record, number, item, SX_L1_PUT_NEWER);
        sx_item_release(item);
        if (status == STRATA_E_OVERLOADED) nap_us(100);
        else if (status != STRATA_OK && status != STRATA_EXISTS) atomic_fetch_add(&s->faults, 1);
    }
    sx_epoch_unregister(record);
    return NULL;
}

static void test_everything_at_once(void **state) {
    (void)state;
    static shared s;
    memset(&s, 0, sizeof s);
    fixture_init(&s.f, INT64_C(1) << 23, 1 << 16);
    worker others[5];
    for (uint64_t i = 0; i < 2; i++) start(&s, &others[i], i + 1, read_any);
    for (uint64_t i = 0; i < 2; i++) start(&s, &others[2 + i], i, write_any);
    start(&s, &others[4], 0, keep);
    uint64_t random = 3;
    uint64_t cursor = 0;
    int64_t end = clock_ns() + 3 * SX_NS_PER_S;
    while (clock_ns() < end) {
        sx_l1_resize(s.f.l1, INT64_C(1) << (20 + random_next(&random) % 5));
        for (int i = 0; i < 20; i++) {
            sx_l1_walk(s.f.l1, s.f.record, &cursor, 8, visit_some, &random);
            nap_us(500);
        }
    }
    atomic_store(&s.stop, true);
    for (int i = 0; i < 5; i++) pthread_join(others[i].thread, NULL);
    assert_int_equal(atomic_load(&s.faults), 0);
    assert_true(atomic_load(&s.finds) > 1000);
    fixture_deinit(&s.f);
}

/* Threads that only insert, without resizes: used bytes stay in the budget at every moment one looks. */
static void *write_new(void *argument) {
    worker *w = argument;
    shared *s = w->s;
    sx_epoch_record *record = enroll(s);
    uint64_t random = w->number;
    while (!atomic_load_explicit(&s->stop, memory_order_relaxed)) {
        uint64_t r = random_next(&random);
        int32_t status = put_new(&s->f, record, (r >> 20) * 2 + w->number, 1, (size_t)r % 3000);
        if (status == STRATA_E_OVERLOADED) nap_us(100);
        else if (status != STRATA_OK) atomic_fetch_add(&s->faults, 1);
    }
    sx_epoch_unregister(record);
    return NULL;
}

static void test_budget_under_threads(void **state) {
    (void)state;
    static shared s;
    memset(&s, 0, sizeof s);
    fixture_init(&s.f, INT64_C(1) << 22, 1 << 16);
    worker others[3];
    for (uint64_t i = 0; i < 2; i++) start(&s, &others[i], i, write_new);
    start(&s, &others[2], 0, keep);
    int64_t end = clock_ns() + 2 * SX_NS_PER_S;
    int64_t most = 0;
    while (clock_ns() < end) {
        int64_t used = metric(&s.f, SX_L1_METRIC_BYTES_USED);
        if (used > most) most = used;
        nap_us(10);
    }
    atomic_store(&s.stop, true);
    for (int i = 0; i < 3; i++) pthread_join(others[i].thread, NULL);
    assert_int_equal(atomic_load(&s.faults), 0);
    /* One item for each of the two that insert, and one each whose bytes move between two counters while one looks. */
    assert_true(most <= metric(&s.f, SX_L1_METRIC_BYTES_MAX) + 4 * 3200);
    assert_true(most > metric(&s.f, SX_L1_METRIC_BYTES_MAX) * 8 / 10);
    fixture_deinit(&s.f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_stays_is_never_missed),
        cmocka_unit_test(test_who_was_told_sees_no_less),
        cmocka_unit_test(test_everything_at_once),
        cmocka_unit_test(test_budget_under_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
