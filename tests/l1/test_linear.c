/* SPDX-License-Identifier: Apache-2.0 */
/* Every key of L1 is a linearizable register: recorded histories of threads that are stopped at random between any two of their
   atomic accesses, while the table grows, shrinks and evicts under them. */
// ctest: scheduled
#include "fixture.h"

#include <pthread.h>
#include <time.h>

#include "core/memory/atomic.h"
#include "tests/support/linear.h"
#include "tests/support/schedule.h"

#define KEYS    24u
#define WRITERS 2u
#define FINDERS 3u
#define OPS_MAX 200000u

typedef struct shared {
    fixture f;
    _Atomic bool stop;
    _Atomic uint64_t ticks;
    _Atomic int64_t faults;
} shared;

typedef struct worker {
    shared *s;
    uint64_t number;
    pthread_t thread;
    linear_op *ops;
    size_t count;
} worker;

static shared s;

static uint64_t tick(void) { return atomic_fetch_add(&s.ticks, 1); }

static void note(worker *w, uint64_t begin, uint64_t key, uint64_t value, bool write) {
    w->ops[w->count++] = (linear_op){begin, tick(), value, (uint32_t)key, write};
}

static sx_epoch_record *enroll(uint64_t seed) {
    sx_epoch_record *record = NULL;
    if (sx_epoch_register(s.f.epoch, &record) != STRATA_OK) abort();
    test_schedule_seed(mix(seed) | 1);
    return record;
}

/* n of a key's writes: 2, 4, 6 ... for newer ones, odd for attempts with an older one. */
static void *write_keys(void *argument) {
    worker *w = argument;
    sx_epoch_record *record = enroll(w->number + 10);
    uint64_t random = w->number;
    uint64_t n = 0, present[KEYS] = {0};
    while (!atomic_load(&s.stop) && w->count < OPS_MAX) {
        uint64_t r = random_next(&random);
        uint64_t key = (r % (KEYS / WRITERS)) * WRITERS + w->number;
        n += 2;
        uint64_t begin = tick();
        if ((r >> 20) % 3 == 0) {
            bool some = (r >> 30) % 4 == 0; /* only what is older than all there is: nothing */
            bool removed = remove_below(&s.f, record, key, some ? present[key] : UINT64_MAX);
            if (some && removed) atomic_fetch_add(&s.faults, 1);
            if (some) continue;
            present[key] = 0;
            note(w, begin, key, 0, true);
            continue;
        }
        bool older = (r >> 30) % 8 == 0 && present[key] > 2;
        uint64_t new_n = older ? present[key] - 1 : n;
        int32_t status = put_new(&s.f, record, key, new_n, (r >> 34) % 100);
        if (status == STRATA_EXISTS && older) continue;
        if (status != STRATA_OK && status != STRATA_E_OVERLOADED) atomic_fetch_add(&s.faults, 1);
        present[key] = status == STRATA_OK ? new_n : 0;
        note(w, begin, key, present[key], true);
    }
    test_schedule_seed(0);
    sx_epoch_unregister(record);
    return NULL;
}

static void *find_keys(void *argument) {
    worker *w = argument;
    sx_epoch_record *record = enroll(w->number + 20);
    uint64_t random = w->number + 5;
    while (!atomic_load(&s.stop) && w->count < OPS_MAX) {
        uint64_t key = random_next(&random) % KEYS;
        uint64_t begin = tick();
        sx_epoch_pin(record);
        const sx_item *item = find_pinned(&s.f, key);
        uint64_t n = item == NULL ? 0 : item->n;
        if (item != NULL && !item_is_sound(item, key)) atomic_fetch_add(&s.faults, 1);
        sx_epoch_unpin(record);
        note(w, begin, key, n, false);
    }
    test_schedule_seed(0);
    sx_epoch_unregister(record);
    return NULL;
}

static void *keep(void *argument) {
    worker *w = argument;
    sx_epoch_record *record = enroll(w->number + 30);
    while (!atomic_load(&s.stop)) {
        (void)sx_l1_maintain_on_keeper(s.f.l1, record, atomic_load(&s.f.now_ns));
        (void)sx_epoch_reclaim(s.f.epoch);
    }
    test_schedule_seed(0);
    sx_epoch_unregister(record);
    return NULL;
}

/* Other keys come and go, so that groups are split and merged all the time. */
static void stir(bool evicts, int64_t for_ns) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    int64_t end = (int64_t)t.tv_sec * SX_NS_PER_S + t.tv_nsec + for_ns;
    test_schedule_seed(99);
    uint64_t random = 17;
    do {
        for (uint64_t i = 1000; i < 1400; i++) (void)put_new(&s.f, s.f.record, i, 1, 8);
        for (uint64_t i = 1000; i < 1400; i++) (void)remove_below(&s.f, s.f.record, i, UINT64_MAX);
        if (evicts) sx_l1_resize(s.f.l1, INT64_C(40000) + (int64_t)(random_next(&random) % 40000));
        struct timespec nap = {.tv_sec = 0, .tv_nsec = 2000000};
        nanosleep(&nap, NULL);
        clock_gettime(CLOCK_MONOTONIC, &t);
    } while ((int64_t)t.tv_sec * SX_NS_PER_S + t.tv_nsec < end);
    test_schedule_seed(0);
}

static void run(bool evicts) {
    memset(&s, 0, sizeof s);
    fixture_init(&s.f, evicts ? 60000 : INT64_C(1) << 24, 1 << 16);
    worker workers[WRITERS + FINDERS + 1];
    memset(workers, 0, sizeof workers);
    for (uint64_t i = 0; i < WRITERS + FINDERS + 1; i++) {
        worker *w = &workers[i];
        w->s = &s;
        w->number = i < WRITERS ? i : i - WRITERS;
        w->ops = malloc((OPS_MAX + 1) * sizeof *w->ops);
        assert_non_null(w->ops);
        void *(*what)(void *) = i < WRITERS ? write_keys : i < WRITERS + FINDERS ? find_keys : keep;
        assert_int_equal(pthread_create(&w->thread, NULL, what, w), 0);
    }
    stir(evicts, 2 * SX_NS_PER_S);
    atomic_store(&s.stop, true);
    size_t count = 0;
    for (uint64_t i = 0; i < WRITERS + FINDERS + 1; i++) {
        pthread_join(workers[i].thread, NULL);
        count += workers[i].count;
    }
    linear_op *all = malloc((count + 1) * sizeof *all);
    assert_non_null(all);
    count = 0;
    for (uint64_t i = 0; i < WRITERS + FINDERS + 1; i++) {
        memcpy(all + count, workers[i].ops, workers[i].count * sizeof *all);
        count += workers[i].count;
        free(workers[i].ops);
    }
    linear_op fault = {0};
    bool good = linear_check(all, count, evicts, &fault);
    if (!good) print_error("key %u: %llu found between %llu and %llu\n", fault.key, (unsigned long long)fault.value,
                           (unsigned long long)fault.begin, (unsigned long long)fault.end);
    free(all);
    assert_true(good);
    assert_int_equal(atomic_load(&s.faults), 0);
    assert_true(count > 1000);
    assert_true(test_schedule_stops() > 1000);
    fixture_deinit(&s.f);
}

static void test_without_eviction(void **state) {
    (void)state;
    run(false);
}
static void test_with_eviction(void **state) {
    (void)state;
    run(true);
}

/* The checker itself: what it must accept, and what it must not. */
static bool fits(const linear_op *ops, size_t count, bool may_vanish) {
    linear_op copy[8], fault;
    memcpy(copy, ops, count * sizeof *ops);
    return linear_check(copy, count, may_vanish, &fault);
}

static void test_checker(void **state) {
    (void)state;
    const linear_op two[] = {{10, 20, 1, 0, true}, {30, 40, 2, 0, true}};
    struct {
        linear_op finds[2];
        bool fits, fits_vanishing;
    } cases[] = {
        {{{1, 5, 0, 0, false}, {21, 25, 1, 0, false}}, true, true},
        {{{15, 16, 0, 0, false}, {17, 18, 1, 0, false}}, true, true},   /* before and after, within the write */
        {{{15, 16, 1, 0, false}, {17, 18, 0, 0, false}}, false, true},  /* new, then old: or it vanished */
        {{{31, 33, 2, 0, false}, {34, 36, 1, 0, false}}, false, false}, /* new, then old */
        {{{21, 25, 0, 0, false}, {26, 29, 1, 0, false}}, false, false}, /* a miss, and yet it is there */
        {{{1, 5, 1, 0, false}, {21, 25, 1, 0, false}}, false, false},   /* from the future */
        {{{45, 50, 1, 0, false}, {51, 55, 2, 0, false}}, false, false}, /* stale */
        {{{35, 50, 1, 0, false}, {51, 55, 2, 0, false}}, true, true},
        {{{45, 50, 0, 0, false}, {51, 55, 0, 0, false}}, false, true},  /* vanished */
        {{{21, 25, 3, 0, false}, {51, 55, 2, 0, false}}, false, false}, /* never written */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        linear_op ops[4] = {cases[i].finds[0], two[0], cases[i].finds[1], two[1]};
        assert_int_equal(fits(ops, 4, false), cases[i].fits);
        assert_int_equal(fits(ops, 4, true), cases[i].fits_vanishing);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_checker),
        cmocka_unit_test(test_without_eviction),
        cmocka_unit_test(test_with_eviction),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
