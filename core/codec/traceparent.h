/* SPDX-License-Identifier: Apache-2.0 */
/* The header traceparent of W3C Trace Context, read and written, and what of tracestate may be handed on. */
#ifndef SX_CORE_CODEC_TRACEPARENT_H
#define SX_CORE_CODEC_TRACEPARENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SX_TRACEPARENT_BYTES 55
#define SX_TRACESTATE_BYTES_MAX 512
#define SX_TRACE_SAMPLED 0x01u

typedef struct sx_traceparent {
    uint8_t trace_id[16];
    uint8_t parent_id[8];
    uint8_t flags; /* SX_TRACE_SAMPLED; others are not handed on */
} sx_traceparent;

/* False where it is not as the standard says; out is then untouched. Later versions are read as far as they are like the first. */
bool sx_traceparent_decode(const void *text, size_t size, sx_traceparent *out);
/* Zero-terminated, of version 00. */
void sx_traceparent_encode(const sx_traceparent *traceparent, char out[SX_TRACEPARENT_BYTES + 1]);
/* Whether it can be a header's value, and is no longer than is handed on. */
bool sx_tracestate_is_sound(const void *text, size_t size);

#endif
