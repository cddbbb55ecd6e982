/* SPDX-License-Identifier: Apache-2.0 */
/* A clock that stands still until a test moves it. */
#ifndef SX_TESTS_SUPPORT_CLOCK_H
#define SX_TESTS_SUPPORT_CLOCK_H

#include <stdatomic.h>
#include <stdint.h>

#include "core/time/clock.h"

typedef struct test_clock {
    _Atomic int64_t now_ns; /* atomic: seq_cst; moved by the test, read by any thread */
} test_clock;

/* Stands at now_ns. */
void test_clock_init(test_clock *clock, int64_t now_ns);
/* As an injected clock; lives as long as the test_clock. */
sx_clock test_clock_table(test_clock *clock);
int64_t test_clock_now_ns(test_clock *clock);
void test_clock_advance(test_clock *clock, int64_t by_ns);

#endif
