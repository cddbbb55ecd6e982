/* SPDX-License-Identifier: Apache-2.0 */
/* A growable run of bytes whose first failure sticks, so that a chain of appends is checked once. */
#ifndef SX_CORE_MEMORY_BUF_H
#define SX_CORE_MEMORY_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "core/memory/alloc.h"

/* owner: whoever embeds it; one thread at a time. */
typedef struct sx_buf {
    const sx_alloc *alloc;
    uint8_t *data;
    size_t size;
    size_t capacity;
    bool failed; /* out of memory, or beyond the limit: contents are not to be used */
    bool secret; /* set by who puts a password in: memory that held any of it is zeroed before it is given up, and when emptied */
} sx_buf;

static inline void sx_buf_init(sx_buf *buf, const sx_alloc *alloc) {
    memset(buf, 0, sizeof *buf);
    buf->alloc = alloc;
}
void sx_buf_deinit(sx_buf *buf);
/* Makes room for more bytes; grows by doubling. False (and sticks) when out of memory. */
bool sx_buf_reserve(sx_buf *buf, size_t more);
/* Empties; keeps the memory where it is at most keep bytes, else frees it. Clears a failure, and forgets a secret. */
void sx_buf_clear(sx_buf *buf, size_t keep);

static inline void sx_buf_append(sx_buf *buf, const void *bytes, size_t size) {
    if (size == 0) return;
    if (buf->failed || (buf->capacity - buf->size < size && !sx_buf_reserve(buf, size))) return;
    memcpy(buf->data + buf->size, bytes, size);
    buf->size += size;
}
static inline void sx_buf_append_byte(sx_buf *buf, uint8_t byte) { sx_buf_append(buf, &byte, 1); }

#endif
