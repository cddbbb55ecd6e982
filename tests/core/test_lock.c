/* SPDX-License-Identifier: Apache-2.0 */
/* Ranked locks: exclusion, and in debug builds that breaking the order stops the process. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <strata/status.h>

#include "core/memory/atomic.h"
#include "core/memory/lock.h"

static sx_lock low, high;
static int64_t counter;

static void *count_up(void *argument) {
    (void)argument;
    for (int i = 0; i < 50000; i++) {
        sx_lock_acquire(&low);
        counter++;
        sx_lock_release(&low);
    }
    return NULL;
}

static void test_excludes(void **state) {
    (void)state;
    pthread_t threads[3];
    counter = 0;
    for (int i = 0; i < 3; i++) assert_int_equal(pthread_create(&threads[i], NULL, count_up, NULL), 0);
    for (int i = 0; i < 3; i++) assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(counter, 150000);
}

static void test_held(void **state) {
    (void)state;
    sx_lock_acquire(&low);
    sx_lock_acquire(&high);
    assert_true(sx_lock_is_held(&low));
    assert_true(sx_lock_is_held(&high));
    sx_lock_release(&low); /* in any order */
#if SX_DEBUG
    assert_false(sx_lock_is_held(&low));
    assert_false(sx_lock_none_held());
#endif
    sx_lock_release(&high);
    assert_true(sx_lock_none_held());
}

static void *try_low(void *got) {
    *(bool *)got = sx_lock_try(&low);
    if (*(bool *)got) sx_lock_release(&low);
    return NULL;
}

static bool tried(void) {
    pthread_t thread;
    bool got = false;
    assert_int_equal(pthread_create(&thread, NULL, try_low, &got), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    return got;
}

static void test_tries(void **state) {
    (void)state;
    assert_true(tried());
    sx_lock_acquire(&low);
    assert_false(tried());
    sx_lock_release(&low);
    assert_true(sx_lock_try(&low));
    assert_true(sx_lock_is_held(&low));
    assert_false(tried());
    sx_lock_release(&low);
    assert_true(tried());
}

#if SX_DEBUG && !defined(NDEBUG)
static void acquire_downwards(void) {
    sx_lock_acquire(&high);
    sx_lock_acquire(&low);
}
static void acquire_twice(void) {
    sx_lock_acquire(&low);
    sx_lock_acquire(&low);
}
static void release_unheld(void) {
    sx_lock_release(&low);
}

/* Whether a child that runs it is stopped by an assertion. */
static int aborts(void (*run)(void)) {
    pid_t child = fork();
    if (child == 0) {
        (void)setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
        (void)signal(SIGABRT, SIG_DFL);
        (void)freopen("/dev/null", "w", stderr);
        run();
        _exit(0);
    }
    int status = 0;
    if (child < 0 || waitpid(child, &status, 0) != child) return 0;
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

static void test_order_is_checked(void **state) {
    (void)state;
    assert_true(aborts(acquire_downwards));
    assert_true(aborts(acquire_twice));
    assert_true(aborts(release_unheld));
}
#endif

static int setup(void **state) {
    (void)state;
    return sx_lock_init(&low, SX_RANK_ENGINE) == STRATA_OK && sx_lock_init(&high, SX_RANK_EPOCH) == STRATA_OK
               ? 0
               : -1;
}

static int teardown(void **state) {
    (void)state;
    sx_lock_deinit(&low);
    sx_lock_deinit(&high);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_excludes),
        cmocka_unit_test(test_held),
        cmocka_unit_test(test_tries),
#if SX_DEBUG && !defined(NDEBUG)
        cmocka_unit_test(test_order_is_checked),
#endif
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
