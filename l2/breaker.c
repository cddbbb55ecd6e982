/* SPDX-License-Identifier: Apache-2.0 */
/* The breaker's transitions: closed, open, half open. */
#include "l2/breaker.h"

#include "core/time/clock.h"

#define SAME_FAULT_NS (5 * SX_NS_PER_MS)

sx_breaker_verdict sx_breaker_ask(sx_breaker *breaker, int64_t now_ns) {
    if (breaker->state == SX_BREAKER_CLOSED) return SX_BREAKER_PASS;
    if (breaker->state == SX_BREAKER_OPEN) {
        if (now_ns < breaker->half_open_ns) return SX_BREAKER_REFUSE;
        breaker->state = SX_BREAKER_HALF_OPEN;
        breaker->probing = false;
    }
    if (breaker->probing) return SX_BREAKER_REFUSE;
    breaker->probing = true;
    return SX_BREAKER_PROBE;
}

static void open_until(sx_breaker *breaker, int64_t half_open_ns) {
    breaker->state = SX_BREAKER_OPEN;
    breaker->failures = 0;
    breaker->probing = false;
    breaker->half_open_ns = half_open_ns;
}

bool sx_breaker_result(sx_breaker *breaker, const sx_store_settings *settings, bool probe, bool fault, int64_t now_ns) {
    if (settings->breaker_failures == 0) return false;
    const int64_t half_open_ns = sx_time_add(now_ns, settings->breaker_open_ns);
    if (breaker->state == SX_BREAKER_CLOSED) {
        if (!fault) {
            breaker->failures = 0;
            return false;
        }
        /* A connection that is lost, or hangs, fails all that was sent on it: one fault, not as many as there were. */
        if (breaker->failures > 0 && now_ns - breaker->fault_ns < SAME_FAULT_NS) return false;
        breaker->fault_ns = now_ns;
        if (++breaker->failures < settings->breaker_failures) return false;
        open_until(breaker, half_open_ns);
        return true;
    }
    if (!probe || breaker->state != SX_BREAKER_HALF_OPEN) return false; /* sent before it opened: old news */
    if (fault) {
        open_until(breaker, half_open_ns);
    } else {
        breaker->state = SX_BREAKER_CLOSED;
        breaker->failures = 0;
        breaker->probing = false;
    }
    return true;
}

void sx_breaker_probe_cancel(sx_breaker *breaker) { breaker->probing = false; }
