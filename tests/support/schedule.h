/* SPDX-License-Identifier: Apache-2.0 */
/* Schedule points: where a source was compiled over tests/support/schedule, a thread stops there now and then, at random. */
#ifndef SX_TESTS_SUPPORT_SCHEDULE_H
#define SX_TESTS_SUPPORT_SCHEDULE_H

#include <stdint.h>

/* Of the calling thread: seed 0 (as all begin) never stops. */
void test_schedule_seed(uint64_t seed);
void test_schedule_point(void);
/* How often all threads have stopped. */
uint64_t test_schedule_stops(void);

#endif
