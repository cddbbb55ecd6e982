/* SPDX-License-Identifier: Apache-2.0 */
/* A writer that is stopped while it begins a grace period says nothing of what the next one costs: it is not put off for long. */
// ctest: scheduled
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <cmocka.h>

#include "core/memory/epoch.h"
#include "strata/status.h"

static bool slow;
static int freed;

static void nap(long ns) { (void)nanosleep(&(struct timespec){.tv_nsec = ns}, NULL); }

void test_schedule_point(void);
void test_schedule_point(void) {
    if (slow) nap(50000000);
}

static void count_free(void *memory) {
    (void)memory;
    freed++;
}

static void test_a_slow_begin_puts_nothing_off(void **state) {
    (void)state;
    sx_epoch *epoch;
    sx_epoch_record *writer;
    char object;
    assert_int_equal(sx_epoch_create(sx_alloc_default(), &epoch), STRATA_OK);
    assert_int_equal(sx_epoch_register(epoch, &writer), STRATA_OK);
    sx_epoch_retire(writer, &object, 1, count_free);
    slow = true; /* a sixth of a second and more, times 256 */
    (void)sx_epoch_reclaim_some(epoch, false);
    slow = false;
    sx_epoch_retire(writer, &object, 1, count_free);
    for (int i = 0; i < 1000 && freed < 2; i++) {
        (void)sx_epoch_reclaim_some(epoch, false);
        nap(10000000);
    }
    assert_int_equal(freed, 2);
    sx_epoch_unregister(writer);
    sx_epoch_destroy(epoch);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_a_slow_begin_puts_nothing_off)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
