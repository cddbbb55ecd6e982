/* SPDX-License-Identifier: Apache-2.0 */
/* A hierarchical timer wheel over 1 ms ticks: set and cancel in O(1), any deadline, the nearest one found in 8 steps. */
#ifndef SX_CORE_LOOP_WHEEL_H
#define SX_CORE_LOOP_WHEEL_H

#include <stddef.h>
#include <stdint.h>

#include "core/loop/loop.h"

#define SX_WHEEL_LEVELS 8 /* 6 bits each: 2^48 ms, more than any int64_t of nanoseconds */
#define SX_WHEEL_SLOTS  64

/* owner: loop. A timer is in level l where the highest bit in which its tick differs from the present one is in the
   l-th group of 6, in the slot those 6 bits name; so everything in a level shares the present tick's higher bits. A
   slot is a ring; its head's due_ns is a lower bound of the deadlines in it (a cancelled one may have left it low). */
typedef struct sx_wheel {
    int64_t tick; /* every earlier tick is done with */
    size_t count;
    uint64_t occupied[SX_WHEEL_LEVELS];
    sx_timer slots[SX_WHEEL_LEVELS][SX_WHEEL_SLOTS];
} sx_wheel;

/* A wheel whose ticks begin at now_ns. */
void sx_wheel_init(sx_wheel *wheel, int64_t now_ns);
void sx_wheel_set(sx_wheel *wheel, sx_timer *timer, int64_t due_ns);
/* Of a timer that is set, in the wheel or among those that an advance is firing. */
void sx_wheel_cancel(sx_wheel *wheel, sx_timer *timer);
/* No deadline is before this; INT64_MAX without timers. */
int64_t sx_wheel_nearest_ns(const sx_wheel *wheel);
/* Fires all that were set before the call and are due at now_ns; returns how many. Timers may set and cancel any. */
size_t sx_wheel_advance(sx_wheel *wheel, int64_t now_ns);

#endif
