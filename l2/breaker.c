/* SPDX-License-Identifier: Apache-2.0 */
/* The breaker's transitions: closed, open, half open. */
#include "l2/breaker.h"

#include "core/time/clock.h"

#define SAME_FAULT_NS (5 * SX_NS_PER_MS)

static int64_t limit(const _Atomic int64_t *number) {
    return atomic_load_explicit(number, memory_order_relaxed); /* relaxed: a number that stands for itself */
}

static void open_at(sx_breaker *breaker, int64_t now_ns) {
    breaker->state = SX_BREAKER_OPEN;
    breaker->failures = 0;
    breaker->probing = false;
    breaker->opened_ns = now_ns;
}

static void close_it(sx_breaker *breaker) {
    breaker->state = SX_BREAKER_CLOSED;
    breaker->failures = 0;
    breaker->probing = false;
}

sx_breaker_verdict sx_breaker_ask(sx_breaker *breaker, const sx_breaker_limits *limits, int64_t now_ns) {
    if (breaker->state != SX_BREAKER_CLOSED && limit(&limits->failures) == 0) close_it(breaker);
    if (breaker->state == SX_BREAKER_CLOSED) return SX_BREAKER_PASS;
    if (breaker->state == SX_BREAKER_OPEN) {
        if (now_ns < sx_time_add(breaker->opened_ns, limit(&limits->open_ns))) return SX_BREAKER_REFUSE;
        breaker->state = SX_BREAKER_HALF_OPEN;
        breaker->probing = false;
    }
    if (breaker->probing) return SX_BREAKER_REFUSE;
    breaker->probing = true;
    return SX_BREAKER_PROBE;
}

void sx_breaker_result(sx_breaker *breaker, const sx_breaker_limits *limits, bool probe, bool fault, int64_t now_ns) {
    int64_t most = limit(&limits->failures);
    if (most == 0) {
        close_it(breaker);
        return;
    }
    if (breaker->state == SX_BREAKER_CLOSED) {
        if (!fault) {
            breaker->failures = 0;
            return;
        }
        /* A connection that is lost, or hangs, fails all that was sent on it: one fault, not as many as there were. */
        if (breaker->failures > 0 && now_ns - breaker->fault_ns < SAME_FAULT_NS) return;
        breaker->fault_ns = now_ns;
        if (++breaker->failures >= most) open_at(breaker, now_ns);
        return;
    }
    if (!probe || breaker->state != SX_BREAKER_HALF_OPEN) return; /* sent before it opened: old news */
    if (fault) open_at(breaker, now_ns);
    else close_it(breaker);
}

void sx_breaker_probe_cancel(sx_breaker *breaker) { breaker->probing = false; }
