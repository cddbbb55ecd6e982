/* SPDX-License-Identifier: Apache-2.0 */
/* The clock that a test moves by hand. */
#include "tests/support/clock.h"

static int64_t read_clock(void *context) {
    return test_clock_now_ns(context);
}

void test_clock_init(test_clock *clock, int64_t now_ns) {
    atomic_init(&clock->now_ns, now_ns);
}

sx_clock test_clock_table(test_clock *clock) {
    return (sx_clock){clock, read_clock};
}

int64_t test_clock_now_ns(test_clock *clock) {
    return atomic_load(&clock->now_ns);
}

void test_clock_advance(test_clock *clock, int64_t by_ns) {
    (void)atomic_fetch_add(&clock->now_ns, by_ns);
}
