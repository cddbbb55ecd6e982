/* SPDX-License-Identifier: Apache-2.0 */
/* Log lines: formatting, and the gate against floods. */
#include "core/observe/log.h"

#include <stdarg.h>
#include <stdio.h>

#define LINE_BYTES 1024

void sx_log_write(const sx_log *log, sx_log_level level, const char *format, ...) {
    if (log == NULL || log->write == NULL) return;
    char line[LINE_BYTES];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    if (length < 0) return;
    for (unsigned char *at = (unsigned char *)line; *at != '\0'; at++) {
        if (*at < 0x20 || *at == 0x7f) *at = '?';
    }
    log->write(log->context, (int)level, line);
}

bool sx_log_gate_open(sx_log_gate *gate, int64_t now_ns, int64_t interval_ns, uint64_t *dropped) {
    /* relaxed: a hint, two lines now and then are fine */
    int64_t next_ns = atomic_load_explicit(&gate->next_ns, memory_order_relaxed);
    int64_t later_ns = now_ns > INT64_MAX - interval_ns ? INT64_MAX : now_ns + interval_ns;
    /* relaxed: nothing else is published by winning */
    if (now_ns < next_ns ||
        !atomic_compare_exchange_strong_explicit(&gate->next_ns, &next_ns, later_ns, memory_order_relaxed,
                                                 memory_order_relaxed)) {
        atomic_fetch_add_explicit(&gate->dropped, 1, memory_order_relaxed); /* relaxed: statistic */
        return false;
    }
    uint64_t count =
        atomic_exchange_explicit(&gate->dropped, 0, memory_order_relaxed); /* relaxed: statistic */
    if (dropped != NULL) *dropped = count;
    return true;
}
