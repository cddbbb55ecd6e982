/* SPDX-License-Identifier: Apache-2.0 */
/* Log lines for the program's callback: formatted here, rate-limited where a failing peer could repeat them. */
#ifndef SX_CORE_OBSERVE_LOG_H
#define SX_CORE_OBSERVE_LOG_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

typedef enum sx_log_level { SX_LOG_ERROR = 0, SX_LOG_WARN = 1, SX_LOG_INFO = 2, SX_LOG_DEBUG = 3 } sx_log_level;

/* const after open. write is NULL for silence. */
typedef struct sx_log {
    void *context;
    void (*write)(void *context, int level, const char *line);
} sx_log;

/* Formats (cut at 1023 bytes; control characters become '?') and hands over. Any thread, no lock of ours held. */
void sx_log_write(const sx_log *log, sx_log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* At most one true per interval and gate; the dropped ones are counted. Zero-initialised. Any thread. */
typedef struct sx_log_gate {
    _Atomic int64_t next_ns;   /* atomic: relaxed; a hint, two lines now and then are fine */
    _Atomic uint64_t dropped;  /* atomic: relaxed; statistic */
} sx_log_gate;
bool sx_log_gate_open(sx_log_gate *gate, int64_t now_ns, int64_t interval_ns, uint64_t *dropped);

#endif
