/* SPDX-License-Identifier: Apache-2.0 */
/* A find that is held still anywhere in its middle while its group is split and merged back must not miss its key. */
#include "fixture.h"

#include <pthread.h>
#include <signal.h>
#include <time.h>

#include "l1/table.h"

#define FILLERS (SX_L1_LOAD_MAX - 1) /* with the key no reason to grow */

enum { IDLE, WANTED, READING, ENOUGH, DONE };

static fixture f;
static _Atomic uint64_t target;    /* the number that the reader looks for */
static _Atomic uint32_t phase;     /* IDLE .. DONE */
static _Atomic bool held, resume, stop;
static _Atomic int64_t missed;

static void nap_us(long us) {
    struct timespec t = {.tv_sec = 0, .tv_nsec = us * 1000};
    nanosleep(&t, NULL);
}

static void hold(int number) {
    (void)number;
    atomic_store(&held, true);
    while (!atomic_load(&resume)) sched_yield();
}

static void *read_target(void *argument) {
    sx_epoch_record *record = argument;
    while (!atomic_load(&stop)) {
        if (atomic_load(&phase) != WANTED) {
            sched_yield();
            continue;
        }
        uint64_t number = atomic_load(&target);
        uint64_t hash = hash_of(&f, number);
        uint8_t key[KEY_BYTES];
        key_of(number, key);
        sx_epoch_pin(record);
        atomic_store(&phase, READING);
        while (atomic_load_explicit(&phase, memory_order_relaxed) == READING) {
            for (int i = 0; i < 64; i++) {
                if (sx_l1_find_pinned(f.l1, hash, 1, key, sizeof key) == NULL) atomic_fetch_add(&missed, 1);
            }
        }
        sx_epoch_unpin(record);
        atomic_store(&phase, DONE);
    }
    return NULL;
}

/* The next number from *number whose home is bucket 0 and whose next bit is bit. */
static uint64_t number_with(uint64_t *number, uint64_t bit) {
    for (;;) {
        uint64_t hash = hash_of(&f, ++*number);
        if (sx_l1_home(hash) == 0 && (hash & 1) == bit) return *number;
    }
}

/* Moves the key from its late position to the first one, by a split and a merge, without removing it. */
static void split_and_merge(uint64_t first, uint64_t key) {
    assert_true(remove_below(&f, f.record, first, UINT64_MAX));
    sx_epoch_pin(f.record);
    assert_true(sx_l1_make_room(f.l1, f.record, hash_of(&f, key))); /* opens the round */
    assert_true(sx_l1_make_room(f.l1, f.record, hash_of(&f, key))); /* splits */
    assert_int_equal(sx_l1_root_get(f.l1)->top, 1);
    sx_l1_resize(f.l1, 1024); /* the index is too large for it */
    for (int i = 0; i < 3; i++) (void)sx_l1_balance_on_keeper(f.l1, f.record, 8);
    sx_l1_resize(f.l1, 1 << 20);
    assert_int_equal(sx_l1_root_get(f.l1)->top, 0);
    sx_epoch_unpin(f.record);
}

static void test_held_find(void **state) {
    (void)state;
    fixture_init(&f, 1 << 20, 1 << 16);
    struct sigaction action = {.sa_handler = hold};
    assert_int_equal(sigaction(SIGUSR1, &action, NULL), 0);
    sx_epoch_record *record;
    assert_int_equal(sx_epoch_register(f.epoch, &record), STRATA_OK);
    pthread_t reader;
    assert_int_equal(pthread_create(&reader, NULL, read_target, record), 0);
    uint64_t numbers = 0;
    uint64_t present[FILLERS + 1];
    for (int round = 0; round < 300; round++) {
        for (uint32_t i = 0; i < FILLERS; i++) {
            present[i] = number_with(&numbers, 0);
            assert_int_equal(put_new(&f, f.record, present[i], 1, 8), STRATA_OK);
        }
        uint64_t key = present[FILLERS] = number_with(&numbers, 1);
        assert_int_equal(put_new(&f, f.record, key, 1, 8), STRATA_OK);
        atomic_store(&target, key);
        atomic_store(&held, false);
        atomic_store(&resume, false);
        atomic_store(&phase, WANTED);
        while (atomic_load(&phase) != READING) sched_yield();
        nap_us(50);
        assert_int_equal(pthread_kill(reader, SIGUSR1), 0);
        while (!atomic_load(&held)) sched_yield();
        split_and_merge(present[0], key);
        assert_true(n_of(&f, key) == 1);
        atomic_store(&resume, true);
        nap_us(10);
        atomic_store(&phase, ENOUGH);
        while (atomic_load(&phase) != DONE) sched_yield();
        for (uint32_t i = 1; i <= FILLERS; i++) assert_true(remove_below(&f, f.record, present[i], UINT64_MAX));
        reclaim_all(&f);
    }
    atomic_store(&stop, true);
    pthread_join(reader, NULL);
    sx_epoch_unregister(record);
    assert_int_equal(atomic_load(&missed), 0);
    fixture_deinit(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_held_find)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
