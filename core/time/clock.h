/* SPDX-License-Identifier: Apache-2.0 */
/* The engine's clock: CLOCK_BOOTTIME unless a program or a test brings another one. */
#ifndef SX_CORE_TIME_CLOCK_H
#define SX_CORE_TIME_CLOCK_H

#include <stdint.h>
#include <time.h>

#define SX_NS_PER_US INT64_C(1000)
#define SX_NS_PER_MS INT64_C(1000000)
#define SX_NS_PER_S INT64_C(1000000000)

/* const after open. */
typedef struct sx_clock {
    void *context;
    int64_t (*now_ns)(void *context); /* NULL: CLOCK_BOOTTIME */
} sx_clock;

/* Nanoseconds that never go back and count through suspend. No system call where the vDSO has the clock. */
static inline int64_t sx_clock_now_ns(const sx_clock *clock) {
    if (clock->now_ns != NULL) return clock->now_ns(clock->context);
    struct timespec t;
    clock_gettime(CLOCK_BOOTTIME, &t);
    return (int64_t)t.tv_sec * SX_NS_PER_S + (int64_t)t.tv_nsec;
}

/* Wall clock time since 1970, for what people read: it may go back. */
static inline int64_t sx_clock_unix_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * SX_NS_PER_S + (int64_t)t.tv_nsec;
}

/* a + b without overflow: INT64_MAX stands for never. b >= 0. */
static inline int64_t sx_time_add(int64_t a, int64_t b) { return a > INT64_MAX - b ? INT64_MAX : a + b; }

#endif
