/* SPDX-License-Identifier: Apache-2.0 */
/* Stops of two kinds: the processor is given away, or the thread sleeps, as if it had been preempted right there. */
#include "tests/support/schedule.h"

#include <sched.h>
#include <stdatomic.h>
#include <time.h>

static _Thread_local uint64_t state;
static _Atomic uint64_t stops;

void test_schedule_seed(uint64_t seed) { state = seed; }

void test_schedule_point(void) {
    if (state == 0) return;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    if (state % 64 != 0) return;
    atomic_fetch_add_explicit(&stops, 1, memory_order_relaxed);
    if (state / 64 % 8 != 0) {
        (void)sched_yield();
        return;
    }
    struct timespec t = {.tv_sec = 0, .tv_nsec = (long)(1000 + state / 512 % 30000)};
    (void)nanosleep(&t, NULL);
}

uint64_t test_schedule_stops(void) { return atomic_load_explicit(&stops, memory_order_relaxed); }
