/* SPDX-License-Identifier: Apache-2.0 */
/* Entries live in their home bucket where they can: those that had to go elsewhere are brought home, and are found meanwhile. */
// ctest: scheduled
#include "fixture.h"

#include <pthread.h>

#include "l1/glance.h"
#include "tests/support/schedule.h"

/* Of all entries, how many percent are at home. */
static uint64_t at_home_percent(const fixture *f) {
    const sx_l1_root *root = sx_l1_root_get(f->l1);
    uint64_t home = 0, all = 0;
    for (uint64_t index = 0; index <= sx_l1_mask(root->base); index++) {
        sx_l1_group *group = sx_l1_group_at(root, index);
        all += sx_l1_count_locked(group);
        for (uint32_t b = 0; b < SX_L1_BUCKETS; b++)
            home += (uint64_t)__builtin_popcount(sx_l1_homes_locked(group, b) & 255u << (b * 8u));
    }
    return 100 * home / all;
}

/* A table that has evicted its contents many times over: a victim's position is anywhere, and yet. */
static void test_most_are_at_home(void **state) {
    (void)state;
    fixture f;
    fixture_init(&f, 1 << 21, 1 << 16);
    for (uint64_t i = 0; i < 200000; i++) {
        (void)put_new(&f, f.record, i, 1, 100);
        if (i % 16 == 0) (void)sx_epoch_reclaim(f.epoch);
    }
    assert_true(metric(&f, SX_L1_METRIC_EVICTIONS) > 150000);
    uint64_t percent = at_home_percent(&f);
    print_message("%llu %% of %lld entries at home\n", (unsigned long long)percent, (long long)metric(&f, SX_L1_METRIC_ENTRIES));
    assert_true(percent >= 85);
    fixture_deinit(&f);
}

/* One group, full, whose keys want the same two buckets. In each round some stay and must be found, wherever they are just then:
   elsewhere in the beginning, for they came last, and brought home as the others come and go. */
#define STAYING 5u
#define COMING  40u /* and going */
#define PRESENT 23u /* of them, the first */
#define ROUNDS  (SX_TSAN ? 20u : 60u)
#define STEPS   100u
typedef struct reading {
    fixture *f;
    const uint64_t *numbers;
    _Atomic uint64_t round; /* odd while they stay; 0: the end */
    sx_epoch_record *record;
    uint64_t finds, misses;
} reading;

static void *read_staying(void *argument) {
    reading *r = argument;
    test_schedule_seed(11);
    uint64_t round;
    while ((round = atomic_load(&r->round)) != 0) {
        for (uint32_t i = 0; i < STAYING && round % 2 != 0; i++) {
            sx_epoch_pin(r->record);
            bool found = find_pinned(r->f, r->numbers[i]) != NULL;
            sx_epoch_unpin(r->record);
            r->finds++;
            r->misses += !found && atomic_load(&r->round) == round;
        }
    }
    return NULL;
}

static int home_count(const fixture *f) {
    sx_l1_group *group = sx_l1_group_at(sx_l1_root_get(f->l1), 0);
    return __builtin_popcount(sx_l1_homes_locked(group, 1) & 255u << 8);
}

/* One goes, another comes. Returns whether one of others was brought home for it. */
static bool step(fixture *f, uint64_t *coming, uint64_t *random) {
    uint64_t there = random_next(random) % PRESENT, away = PRESENT + random_next(random) % (COMING - PRESENT);
    uint64_t number = coming[there];
    assert_true(remove_below(f, f->record, number, UINT64_MAX));
    int before = home_count(f);
    coming[there] = coming[away];
    coming[away] = number;
    assert_int_equal(put_new(f, f->record, coming[there], 1, 8), STRATA_OK);
    return home_count(f) > before && sx_l1_home(hash_of(f, coming[there])) != 1;
}

static void test_found_while_brought_home(void **state) {
    (void)state;
    fixture f;
    fixture_init(&f, INT64_C(1) << 30, 1 << 16); /* a reader that does not get the processor holds up what was removed */
    uint64_t numbers[STAYING + COMING], random = 7, *coming = &numbers[STAYING];
    for (uint64_t found = 0, number = 0; found < STAYING + COMING; number++) {
        uint64_t hash = hash_of(&f, number); /* in the same group also after some splits */
        if (hash % 16 == 0 && sx_l1_home(hash) == (found < STAYING || found % 2 == 0 ? 1 : 2)) numbers[found++] = number;
    }
    reading r = {.f = &f, .numbers = numbers, .round = 2};
    assert_int_equal(sx_epoch_register(f.epoch, &r.record), STRATA_OK);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, read_staying, &r), 0);
    uint64_t moves = 0;
    test_schedule_seed(12);
    for (uint32_t round = 0; round < ROUNDS; round++) {
        for (uint32_t i = 0; i < STAYING + COMING; i++) (void)remove_below(&f, f.record, numbers[i], UINT64_MAX);
        for (uint32_t i = 0; i < PRESENT; i++) assert_int_equal(put_new(&f, f.record, coming[i], 1, 8), STRATA_OK);
        for (uint32_t i = 0; i < STAYING; i++) assert_int_equal(put_new(&f, f.record, numbers[i], 1, 8), STRATA_OK);
        atomic_fetch_add(&r.round, 1);
        for (uint32_t i = 0; i < STEPS; i++) moves += step(&f, coming, &random);
        atomic_fetch_add(&r.round, 1);
        (void)sx_epoch_reclaim(f.epoch);
    }
    test_schedule_seed(0);
    atomic_store(&r.round, 0);
    pthread_join(thread, NULL);
    print_message("%llu finds, %llu entries brought home\n", (unsigned long long)r.finds, (unsigned long long)moves);
    assert_true(moves > ROUNDS && r.finds > ROUNDS);
    assert_int_equal(r.misses, 0);
    sx_epoch_unregister(r.record);
    fixture_deinit(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_most_are_at_home),
        cmocka_unit_test(test_found_while_brought_home),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
