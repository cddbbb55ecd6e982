/* SPDX-License-Identifier: Apache-2.0 */
/* Everything at once, for seconds, or for as many minutes as STRATA_SOAK_MINUTES says (tests/run --soak-l1): puts, expiry,
   eviction, removals that others are told of, resizes, changes of policy, walks, readers that hold pins for long, and refused puts. */
#include "fixture.h"

#include <pthread.h>
#include <stdio.h>
#include <time.h>

#include "core/memory/atomic.h"

#define CROWD   30000u
#define WRITERS 2u
#define READERS 2u
#define HOLDERS 1u
#define BYTES_LEAST (INT64_C(1) << 20)
#define BYTES_MOST  (INT64_C(1) << 24)

typedef struct shared {
    fixture f;
    _Atomic bool stop;
    _Atomic int64_t faults, finds, puts, refused, removals, walked, resizes;
    _Atomic uint64_t told[CROWD]; /* entries of the key with a smaller n were removed before this was stored */
} shared;

typedef struct worker {
    uint64_t number;
    pthread_t thread;
} worker;

static shared s;

static int64_t clock_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * SX_NS_PER_S + (int64_t)t.tv_nsec;
}
static void nap_us(int64_t us) {
    struct timespec t = {.tv_sec = us / 1000000, .tv_nsec = (long)(us % 1000000) * 1000};
    nanosleep(&t, NULL);
}
static sx_epoch_record *enroll(void) {
    sx_epoch_record *record = NULL;
    if (sx_epoch_register(s.f.epoch, &record) != STRATA_OK) abort();
    return record;
}
static bool stopped(void) { return atomic_load_explicit(&s.stop, memory_order_relaxed); }

/* One look at one key, pinned already: sound, and no older than was told before. */
static sx_item *look(uint64_t number) {
    uint64_t told = atomic_load_explicit(&s.told[number], memory_order_acquire);
    sx_item *item = find_pinned(&s.f, number);
    if (item != NULL && (!item_is_sound(item, number) || item->n < told)) atomic_fetch_add(&s.faults, 1);
    return item;
}

static void *read_keys(void *argument) {
    const worker *w = argument;
    sx_epoch_record *record = enroll();
    uint64_t random = w->number;
    int64_t finds = 0;
    while (!stopped()) {
        sx_epoch_pin(record);
        sx_item *kept = NULL;
        uint64_t number = 0;
        for (int i = 0; i < 32; i++) {
            number = random_next(&random) % CROWD;
            kept = look(number);
        }
        if (kept != NULL) sx_item_retain(kept);
        sx_epoch_unpin(record);
        if (kept != NULL) {
            if (random % 64 == 0) nap_us(1000);
            if (!item_is_sound(kept, number)) atomic_fetch_add(&s.faults, 1);
            sx_item_release(kept);
        }
        finds += 32;
        if (random % 256 == 0) { /* threads come and go */
            sx_epoch_unregister(record);
            record = enroll();
        }
    }
    atomic_fetch_add(&s.finds, finds);
    sx_epoch_unregister(record);
    return NULL;
}

/* Pins, collects items, rests, and finds them all as they were. */
static void *hold_pins(void *argument) {
    const worker *w = argument;
    sx_epoch_record *record = enroll();
    uint64_t random = w->number + 50;
    while (!stopped()) {
        const sx_item *items[64];
        uint64_t numbers[64];
        sx_epoch_pin(record);
        for (int i = 0; i < 64; i++) {
            numbers[i] = random_next(&random) % CROWD;
            items[i] = look(numbers[i]);
        }
        nap_us((int64_t)(random % 8 == 0 ? 60000 : 500));
        for (int i = 0; i < 64; i++) {
            if (items[i] != NULL && !item_is_sound(items[i], numbers[i])) atomic_fetch_add(&s.faults, 1);
        }
        sx_epoch_unpin(record);
        nap_us(2000);
    }
    sx_epoch_unregister(record);
    return NULL;
}

/* Each owns the keys of its number, which keeps puts and removals of one key in order. */
static void *write_keys(void *argument) {
    const worker *w = argument;
    sx_epoch_record *record = enroll();
    uint64_t random = w->number + 100;
    uint64_t n = 1;
    while (!stopped()) {
        uint64_t r = random_next(&random);
        uint64_t number = r % (CROWD / WRITERS) * WRITERS + w->number;
        n++;
        if ((r >> 20) % 8 == 0) { /* an invalidation, and those who must know */
            if (remove_below(&s.f, record, number, n)) atomic_fetch_add(&s.removals, 1);
            atomic_store_explicit(&s.told[number], n, memory_order_release);
            continue;
        }
        int64_t now = atomic_load(&s.f.now_ns);
        int64_t expires = (r >> 24) % 4 == 0 ? now + (int64_t)((r >> 28) % 200) * SX_NS_PER_MS : SX_EXPIRES_NEVER;
        size_t size = (r >> 36) % 512 == 0 ? (r >> 46) % 70000 : (r >> 46) % 400;
        sx_item *item = item_try(&s.f, number, n, size, expires);
        if (item == NULL) abort();
        int32_t status = put_with(&s.f, record, number, item, (r >> 27) % 2 ? SX_L1_PUT_NEWER : SX_L1_PUT_ALWAYS);
        sx_item_release(item);
        atomic_fetch_add_explicit(&s.puts, 1, memory_order_relaxed);
        if (status == STRATA_E_OVERLOADED) {
            atomic_fetch_add(&s.refused, 1);
            nap_us(100);
        } else if (status != STRATA_OK && status != STRATA_E_VALUE_SIZE) {
            atomic_fetch_add(&s.faults, 1);
        }
    }
    sx_epoch_unregister(record);
    return NULL;
}

static bool visit(void *context, sx_item *item) {
    uint64_t *random = context;
    uint64_t number;
    memcpy(&number, sx_item_key(item), 8);
    if (number >= CROWD || !item_is_sound(item, number)) atomic_fetch_add(&s.faults, 1);
    atomic_fetch_add_explicit(&s.walked, 1, memory_order_relaxed);
    return random_next(random) % 200 == 0;
}

static void *walk(void *argument) {
    const worker *w = argument;
    sx_epoch_record *record = enroll();
    uint64_t random = w->number + 200, cursor = 0;
    while (!stopped()) {
        sx_l1_walk(s.f.l1, record, &cursor, 16, visit, &random);
        if (cursor == 0) nap_us(5000);
    }
    sx_epoch_unregister(record);
    return NULL;
}

static void *keep(void *argument) {
    (void)argument;
    sx_epoch_record *record = enroll();
    while (!stopped()) {
        atomic_fetch_add(&s.f.now_ns, SX_NS_PER_MS);
        (void)sx_l1_maintain_on_keeper(s.f.l1, record, atomic_load(&s.f.now_ns));
        (void)sx_epoch_reclaim(s.f.epoch);
        nap_us(500);
    }
    sx_epoch_unregister(record);
    return NULL;
}

/* Resizes, and changes the policy, until the time is over. Returns the most bytes that were allocated beyond the largest budget. */
static int64_t resize_until(int64_t end_ns) {
    uint64_t random = 5;
    int64_t most = 0;
    while (clock_ns() < end_ns && atomic_load(&s.faults) == 0) {
        int64_t bytes = BYTES_LEAST + (int64_t)(random_next(&random) % (uint64_t)(BYTES_MOST - BYTES_LEAST));
        sx_l1_resize(s.f.l1, bytes);
        sx_l1_policy_change(s.f.l1, (sx_l1_policy)(random_next(&random) % (SX_L1_POLICY_ADAPTIVE + 1)));
        atomic_fetch_add(&s.resizes, 1);
        for (int i = 0; i < 30; i++) {
            int64_t allocated = atomic_load(&s.f.allocated);
            if (allocated > most) most = allocated;
            nap_us(1000);
        }
    }
    return most;
}

static void test_soak(void **state) {
    (void)state;
    const char *minutes = getenv("STRATA_SOAK_MINUTES");
    int64_t for_ns = minutes == NULL ? 4 * SX_NS_PER_S : (int64_t)(atof(minutes) * 60e9);
    memset(&s, 0, sizeof s);
    fixture_init(&s.f, BYTES_MOST, 1 << 16);
    worker workers[READERS + HOLDERS + WRITERS + 2];
    void *(*const roles[])(void *) = {read_keys, read_keys, hold_pins, write_keys, write_keys, walk, keep};
    const uint64_t numbers[] = {1, 2, 1, 0, 1, 1, 0};
    for (size_t i = 0; i < sizeof workers / sizeof *workers; i++) {
        workers[i].number = numbers[i];
        assert_int_equal(pthread_create(&workers[i].thread, NULL, roles[i], &workers[i]), 0);
    }
    int64_t most = resize_until(clock_ns() + for_ns);
    atomic_store(&s.stop, true);
    for (size_t i = 0; i < sizeof workers / sizeof *workers; i++) pthread_join(workers[i].thread, NULL);
    print_message("%lld finds, %lld puts, %lld refused, %lld removals, %lld evictions, %lld expirations, %lld walked, "
                  "%lld resizes, %lld bytes at most\n",
                  (long long)atomic_load(&s.finds), (long long)atomic_load(&s.puts), (long long)atomic_load(&s.refused),
                  (long long)atomic_load(&s.removals), (long long)metric(&s.f, SX_L1_METRIC_EVICTIONS),
                  (long long)metric(&s.f, SX_L1_METRIC_EXPIRATIONS), (long long)atomic_load(&s.walked),
                  (long long)atomic_load(&s.resizes), (long long)most);
    assert_int_equal(atomic_load(&s.faults), 0);
    assert_true(atomic_load(&s.finds) > 10000 && atomic_load(&s.puts) > 1000 && atomic_load(&s.removals) > 100);
    assert_true(metric(&s.f, SX_L1_METRIC_EVICTIONS) > 100 && metric(&s.f, SX_L1_METRIC_EXPIRATIONS) > 10);
    assert_true(atomic_load(&s.walked) > 1000 && atomic_load(&s.resizes) > 2);
    /* Items that readers keep or writers are about to put are not the table's. */
    assert_true(most <= BYTES_MOST + (1 << 20));
    fixture_deinit(&s.f);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_soak)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
