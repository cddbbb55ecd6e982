/* SPDX-License-Identifier: Apache-2.0 */
/* traceparent: version, trace-id, parent-id and flags in lower-case hexadecimal, with a dash between. */
#include "core/codec/traceparent.h"

#include <string.h>

#define VERSION_AT 0
#define TRACE_AT   3
#define PARENT_AT  36
#define FLAGS_AT   53

static int digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool unhex(const char *text, uint8_t *out, size_t count) {
    for (size_t i = 0; i < count; i++) {
        int high = digit(text[2 * i]), low = digit(text[2 * i + 1]);
        if (high < 0 || low < 0) return false;
        out[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

static void hex(const uint8_t *bytes, size_t count, char *out) {
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < count; i++) {
        out[2 * i] = digits[bytes[i] >> 4];
        out[2 * i + 1] = digits[bytes[i] & 15];
    }
}

static bool is_zero(const uint8_t *bytes, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (bytes[i] != 0) return false;
    }
    return true;
}

bool sx_traceparent_decode(const void *text, size_t size, sx_traceparent *out) {
    const char *at = text;
    uint8_t version;
    sx_traceparent read;
    if (size < SX_TRACEPARENT_BYTES || !unhex(at + VERSION_AT, &version, 1) || version == 0xff) return false;
    if (size > SX_TRACEPARENT_BYTES && (version == 0 || at[SX_TRACEPARENT_BYTES] != '-')) return false;
    if (at[TRACE_AT - 1] != '-' || at[PARENT_AT - 1] != '-' || at[FLAGS_AT - 1] != '-') return false;
    if (!unhex(at + TRACE_AT, read.trace_id, sizeof read.trace_id) || !unhex(at + PARENT_AT, read.parent_id, sizeof read.parent_id) ||
        !unhex(at + FLAGS_AT, &read.flags, 1))
        return false;
    if (is_zero(read.trace_id, sizeof read.trace_id) || is_zero(read.parent_id, sizeof read.parent_id)) return false;
    read.flags &= SX_TRACE_SAMPLED;
    *out = read;
    return true;
}

void sx_traceparent_encode(const sx_traceparent *traceparent, char out[SX_TRACEPARENT_BYTES + 1]) {
    memset(out, '-', SX_TRACEPARENT_BYTES);
    memcpy(out, "00", 2);
    hex(traceparent->trace_id, sizeof traceparent->trace_id, out + TRACE_AT);
    hex(traceparent->parent_id, sizeof traceparent->parent_id, out + PARENT_AT);
    hex(&traceparent->flags, 1, out + FLAGS_AT);
    out[SX_TRACEPARENT_BYTES] = '\0';
}

bool sx_tracestate_is_sound(const void *text, size_t size) {
    const char *at = text;
    if (size > SX_TRACESTATE_BYTES_MAX) return false;
    for (size_t i = 0; i < size; i++) {
        if ((at[i] < ' ' || at[i] > '~') && at[i] != '\t') return false;
    }
    return true;
}
