/* SPDX-License-Identifier: Apache-2.0 */
/* Epochs: what is pinned stays, what isn't is freed, idle and ended threads' memory too, with and without memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <time.h>

#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#if defined(__linux__)
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#endif

#include <strata/status.h>

#include "core/memory/epoch.h"
#include "tests/support/alloc.h"

static _Atomic int64_t freed;
static void count_free(void *memory) {
    (void)memory;
    (void)atomic_fetch_add(&freed, 1);
}

static test_alloc *alloc_of_epoch;

static sx_epoch *fresh(test_alloc *alloc) {
    test_alloc_init(alloc);
    alloc_of_epoch = alloc;
    sx_epoch *epoch = NULL;
    assert_int_equal(sx_epoch_create(&alloc->table, &epoch), STRATA_OK);
    atomic_store(&freed, 0);
    return epoch;
}

static void finish(sx_epoch *epoch) {
    sx_epoch_destroy(epoch);
    test_alloc_check_empty(alloc_of_epoch);
}

static sx_epoch_record *registered(sx_epoch *epoch) {
    sx_epoch_record *record = NULL;
    assert_int_equal(sx_epoch_register(epoch, &record), STRATA_OK);
    return record;
}

static void reclaim_some(sx_epoch *epoch) {
    for (int i = 0; i < 4; i++) (void)sx_epoch_reclaim(epoch);
}

static void test_pinned_memory_stays(void **state) {
    (void)state;
    test_alloc alloc;
    sx_epoch *epoch = fresh(&alloc);
    sx_epoch_record *reader = registered(epoch), *writer = registered(epoch);
    char object;
    sx_epoch_pin(reader);
    sx_epoch_pin(reader); /* pins nest */
    sx_epoch_retire(writer, &object, 100, count_free);
    reclaim_some(epoch);
    assert_int_equal(freed, 0);
    sx_epoch_unpin(reader);
    assert_true(sx_epoch_is_pinned(reader));
    reclaim_some(epoch);
    assert_int_equal(freed, 0);
    assert_int_equal(sx_epoch_retired_bytes(epoch), 100);
    sx_epoch_unpin(reader);
    assert_false(sx_epoch_is_pinned(reader));
    assert_int_equal(sx_epoch_reclaim(epoch), 100);
    assert_int_equal(freed, 1);
    assert_int_equal(sx_epoch_retired_bytes(epoch), 0);
    finish(epoch);
}

static void test_own_pin_holds_too(void **state) {
    (void)state;
    test_alloc alloc;
    sx_epoch *epoch = fresh(&alloc);
    sx_epoch_record *record = registered(epoch);
    char object;
    sx_epoch_pin(record);
    sx_epoch_retire(record, &object, 1, count_free);
    reclaim_some(epoch);
    assert_int_equal(freed, 0);
    sx_epoch_unpin(record);
    reclaim_some(epoch);
    assert_int_equal(freed, 1);
    finish(epoch);
}

/* A reader that keeps unpinning and pinning again does not hold back what was retired before its present pin. */
static void test_later_pins_do_not_hold(void **state) {
    (void)state;
    test_alloc alloc;
    sx_epoch *epoch = fresh(&alloc);
    sx_epoch_record *reader = registered(epoch), *writer = registered(epoch);
    char object;
    sx_epoch_pin(reader);
    sx_epoch_retire(writer, &object, 1, count_free);
    for (int i = 0; i < 4; i++) {
        (void)sx_epoch_reclaim(epoch);
        sx_epoch_unpin(reader);
        sx_epoch_pin(reader);
    }
    (void)sx_epoch_reclaim(epoch);
    assert_int_equal(freed, 1);
    sx_epoch_unpin(reader);
    finish(epoch);
}

/* What a writer is about to free is left to it, as long as it comes by; then it is freed by who looks after it. */
static void test_writers_go_first(void **state) {
    (void)state;
    test_alloc alloc;
    sx_epoch *epoch = fresh(&alloc);
    sx_epoch_record *writer = registered(epoch);
    char object;
    sx_epoch_retire(writer, &object, 7, count_free);
    sx_epoch_pin(writer); /* so that what the writer does here frees nothing */
    for (int i = 0; i < 3; i++) {
        (void)sx_epoch_reclaim_some(epoch, false);
        assert_int_equal(sx_epoch_reclaim_left(epoch), 0);
    }
    sx_epoch_unpin(writer);
    (void)sx_epoch_reclaim_some(epoch, false);
    sx_epoch_retire(writer, &object, 5, count_free);
    int64_t before = atomic_load(&freed);
    assert_int_equal(sx_epoch_reclaim_left(epoch), 0);
    assert_int_equal(freed, before);
    assert_true(sx_epoch_reclaim_left(epoch) >= 5);
    assert_int_equal(freed, 2);
    assert_int_equal(sx_epoch_retired_bytes(epoch), 0);
    sx_epoch_retire(writer, &object, 3, count_free);
    assert_int_equal(sx_epoch_reclaim_left(epoch), 3);
    assert_int_equal(sx_epoch_reclaim_some(epoch, false), 0); /* it came by and found nothing: no help */
    sx_epoch_retire(writer, &object, 4, count_free);
    assert_int_equal(sx_epoch_reclaim_left(epoch), 4);
    finish(epoch);
}

static void *retire_and_end(void *argument) {
    sx_epoch *epoch = argument;
    static char objects[100];
    sx_epoch_record *record = NULL;
    if (sx_epoch_register(epoch, &record) != STRATA_OK) return NULL;
    for (int i = 0; i < 100; i++) sx_epoch_retire(record, &objects[i], 2, count_free);
    sx_epoch_pin(record); /* unregister ends it */
    sx_epoch_unregister(record);
    return NULL;
}

static void test_idle_and_ended_threads(void **state) {
    (void)state;
    test_alloc alloc;
    sx_epoch *epoch = fresh(&alloc);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, retire_and_end, epoch), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    sx_epoch_record *idle = registered(epoch); /* the ended thread's, recycled */
    char object;
    assert_false(sx_epoch_is_pinned(idle));
    sx_epoch_retire(idle, &object, 3, count_free);
    assert_int_equal(sx_epoch_retired_bytes(epoch), 203);
    assert_int_equal(sx_epoch_reclaim(epoch), 203);
    assert_int_equal(freed, 101);
    int64_t live = atomic_load(&alloc.live);
    sx_epoch_unregister(idle);
    assert_ptr_equal(registered(epoch), idle);
    assert_int_equal(atomic_load(&alloc.live), live);
    finish(epoch);
}

static void test_destroy_frees(void **state) {
    (void)state;
    test_alloc alloc;
    sx_epoch *epoch = fresh(&alloc);
    sx_epoch_record *record = registered(epoch), *reader = registered(epoch);
    char objects[70];
    sx_epoch_pin(reader);
    for (int i = 0; i < 35; i++) sx_epoch_retire(record, &objects[i], 1, count_free);
    (void)sx_epoch_reclaim(epoch);
    for (int i = 35; i < 70; i++) sx_epoch_retire(record, &objects[i], 1, count_free);
    sx_epoch_unpin(reader);
    finish(epoch);
    assert_int_equal(freed, 70);
}

/* Without memory for its books retire still neither fails nor frees early, pinned or not. */
static void test_retire_without_memory(void **state) {
    (void)state;
    test_alloc alloc;
    sx_epoch *epoch = fresh(&alloc);
    sx_epoch_record *record = registered(epoch);
    static char objects[1000];
    test_alloc_fail_from(&alloc, 1);
    sx_epoch_pin(record);
    for (int i = 0; i < 1000; i++) sx_epoch_retire(record, &objects[i], 1, count_free);
    assert_true(atomic_load(&alloc.failed) > 0);
    reclaim_some(epoch);
    assert_int_equal(freed, 0);
    sx_epoch_unpin(record);
    reclaim_some(epoch);
    assert_int_equal(freed, 1000);
    finish(epoch);
}

static int32_t create_step(test_alloc *alloc, void *context) {
    (void)context;
    sx_epoch *epoch = NULL;
    int32_t status = sx_epoch_create(&alloc->table, &epoch);
    if (status != STRATA_OK) return status;
    sx_epoch_record *record = NULL;
    status = sx_epoch_register(epoch, &record);
    sx_epoch_destroy(epoch);
    return status;
}

static void test_allocation_failures(void **state) {
    (void)state;
    assert_int_equal(test_alloc_sweep(create_step, NULL), 3);
}

/* ---- stress --------------------------------------------------------------------------------------------------- */

#define CELLS   64
#define READERS 2
#define ROUNDS  60000
#define ALIVE   UINT64_C(0x600dda7a600dda7a)

typedef struct thing {
    uint64_t alive;
    uint64_t copy;
} thing;

typedef struct arena_test {
    sx_epoch *epoch;
    _Atomic(thing *) cells[CELLS];
    _Atomic bool stop;
    _Atomic int64_t wrong;
} arena_test;

static void free_thing(void *memory) {
    thing *t = memory;
    t->alive = 0; /* a reader that still looks sees it, and the sanitizers see the reader */
    sx_release(&alloc_of_epoch->table, t, sizeof *t);
    (void)atomic_fetch_add(&freed, 1);
}

static void *read_things(void *argument) {
    arena_test *a = argument;
    sx_epoch_record *record = NULL;
    if (sx_epoch_register(a->epoch, &record) != STRATA_OK) return NULL;
    unsigned at = 0;
    while (!atomic_load_explicit(&a->stop, memory_order_relaxed)) {
        sx_epoch_pin(record);
        for (int i = 0; i < 8; i++) {
            const thing *t = atomic_load_explicit(&a->cells[at++ % CELLS], memory_order_acquire);
            if (t == NULL) continue;
            if (i == 3) (void)sched_yield(); /* be slow with a pointer in hand */
            if (t->alive != ALIVE || t->copy != ~ALIVE) (void)atomic_fetch_add(&a->wrong, 1);
        }
        sx_epoch_unpin(record);
    }
    sx_epoch_unregister(record);
    return NULL;
}

static void *keep(void *argument) {
    arena_test *a = argument;
    while (!atomic_load_explicit(&a->stop, memory_order_relaxed)) {
        (void)sx_epoch_reclaim(a->epoch);
        (void)sched_yield();
    }
    return NULL;
}

static void test_stress(void **state) {
    (void)state;
    test_alloc alloc;
    arena_test a = {.epoch = fresh(&alloc)};
    pthread_t readers[READERS], keeper;
    for (int i = 0; i < READERS; i++) assert_int_equal(pthread_create(&readers[i], NULL, read_things, &a), 0);
    assert_int_equal(pthread_create(&keeper, NULL, keep, &a), 0);
    sx_epoch_record *record = registered(a.epoch);
    for (unsigned i = 0; i < ROUNDS; i++) {
        thing *t = sx_allocate(&alloc.table, sizeof *t);
        *t = (thing){ALIVE, ~ALIVE};
        thing *old = atomic_exchange_explicit(&a.cells[i * 7 % CELLS], t, memory_order_acq_rel);
        if (old != NULL) sx_epoch_retire(record, old, sizeof *old, free_thing);
    }
    atomic_store(&a.stop, true);
    for (int i = 0; i < READERS; i++) assert_int_equal(pthread_join(readers[i], NULL), 0);
    assert_int_equal(pthread_join(keeper, NULL), 0);
    assert_int_equal(atomic_load(&a.wrong), 0);
    for (int i = 0; i < CELLS; i++) {
        thing *t = atomic_load(&a.cells[i]);
        if (t != NULL) sx_release(&alloc.table, t, sizeof *t);
    }
    reclaim_some(a.epoch);
    assert_int_equal(freed, ROUNDS - CELLS);
    assert_int_equal(sx_epoch_retired_bytes(a.epoch), 0);
    finish(a.epoch);
}

/* ---- where membarrier is forbidden ------------------------------------------------------------------------------ */

#if defined(__linux__) && defined(SYS_membarrier) && !SX_TSAN

static bool forbid_membarrier(void) {
    struct sock_filter rules[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_membarrier, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof rules / sizeof rules[0], rules};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0 &&
           syscall(SYS_membarrier, 0, 0, 0) == -1;
}

/* A process of its own, for filters stay. 77: it could not be set up. */
static void in_child(void (*test)(void)) {
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        test();
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77) skip();
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

#define MUST(condition) ((condition) ? (void)0 : _exit(1))

static void forbidden_from_the_start(void) {
    if (!forbid_membarrier()) _exit(77);
    test_alloc alloc;
    sx_epoch *epoch = fresh(&alloc);
    sx_epoch_record *record = registered(epoch);
    sx_epoch_pin(record);
    MUST((atomic_load(&record->seen) & SX_EPOCH_FENCED) != 0);
    sx_epoch_unpin(record);
    finish(epoch);
    test_stress(NULL);
}

/* A grace period that began without a barrier ends, but not before every store of a pin must have been seen. */
static void forbidden_later(void) {
    test_alloc alloc;
    sx_epoch *epoch = fresh(&alloc);
    sx_epoch_record *record = registered(epoch);
    sx_epoch_pin(record);
    bool fenced = (atomic_load(&record->seen) & SX_EPOCH_FENCED) != 0;
    sx_epoch_unpin(record);
    if (fenced || !forbid_membarrier()) _exit(77);
    char objects[2];
    sx_epoch_retire(record, &objects[0], 1, count_free);
    MUST(sx_epoch_reclaim(epoch) == 0 && sx_epoch_reclaim(epoch) == 0 && freed == 0);
    sx_epoch_pin(record);
    MUST((atomic_load(&record->seen) & SX_EPOCH_FENCED) != 0);
    sx_epoch_unpin(record);
    for (int i = 0; i < 200 && freed == 0; i++) {
        (void)nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
        (void)sx_epoch_reclaim(epoch);
    }
    MUST(freed == 1);
    sx_epoch_retire(record, &objects[1], 1, count_free); /* from then on as usual */
    MUST(sx_epoch_reclaim(epoch) == 1 && freed == 2);
    finish(epoch);
}

static void test_without_membarrier(void **state) {
    (void)state;
    in_child(forbidden_from_the_start);
}
static void test_membarrier_forbidden_later(void **state) {
    (void)state;
    in_child(forbidden_later);
}

#else
static void test_without_membarrier(void **state) {
    (void)state;
    skip();
}
static void test_membarrier_forbidden_later(void **state) {
    (void)state;
    skip();
}
#endif

/* Frees at a writer's pace, all of it in the end; pressed, at once; never what is pinned. */
static void test_reclaim_some(void **state) {
    (void)state;
    test_alloc alloc;
    sx_epoch *epoch = fresh(&alloc);
    sx_epoch_record *writer = registered(epoch), *reader = registered(epoch);
    static char objects[1000];
    sx_epoch_pin(reader);
    for (int i = 0; i < 1000; i++) {
        sx_epoch_retire(writer, &objects[i], 100, count_free);
        (void)sx_epoch_reclaim_some(epoch, i % 2 == 0);
    }
    assert_int_equal(freed, 0);
    size_t hint = sx_epoch_retired_hint(epoch);
    assert_int_equal(sx_epoch_retired_bytes(epoch), 100000);
    assert_true(hint <= 100000 && hint > 100000 - SX_EPOCH_PORTION);
    sx_epoch_unpin(reader);
    for (int i = 0; i < 3000 && freed < 1000; i++) {
        int64_t before = freed;
        (void)sx_epoch_reclaim_some(epoch, false);
        assert_true(freed - before <= 500); /* a part of it */
        (void)nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    assert_int_equal(freed, 1000);
    for (int i = 0; i < 200; i++) sx_epoch_retire(writer, &objects[i], 100, count_free);
    assert_int_equal(sx_epoch_reclaim_some(epoch, true), 20000);
    finish(epoch);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pinned_memory_stays),    cmocka_unit_test(test_own_pin_holds_too),
        cmocka_unit_test(test_later_pins_do_not_hold), cmocka_unit_test(test_idle_and_ended_threads),
        cmocka_unit_test(test_destroy_frees),          cmocka_unit_test(test_retire_without_memory),
        cmocka_unit_test(test_writers_go_first),
        cmocka_unit_test(test_allocation_failures),    cmocka_unit_test(test_stress),
        cmocka_unit_test(test_reclaim_some),           cmocka_unit_test(test_without_membarrier),
        cmocka_unit_test(test_membarrier_forbidden_later),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
