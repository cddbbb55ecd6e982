/* SPDX-License-Identifier: Apache-2.0 */
/* The growable run of bytes: its growth, and its end. */
#include "core/memory/buf.h"

#define CAPACITY_MIN 64

static void wipe(sx_buf *buf) {
    if (buf->secret && buf->data != NULL) explicit_bzero(buf->data, buf->capacity);
}

void sx_buf_deinit(sx_buf *buf) {
    wipe(buf);
    sx_release(buf->alloc, buf->data, buf->capacity);
    sx_buf_init(buf, buf->alloc);
}

bool sx_buf_reserve(sx_buf *buf, size_t more) {
    if (buf->failed) return false;
    if (buf->capacity - buf->size >= more) return true;
    if (more > SIZE_MAX / 2 - buf->size) {
        buf->failed = true;
        return false;
    }
    size_t wanted = buf->size + more; /* below SIZE_MAX / 2, so doubling can't wrap */
    size_t capacity = buf->capacity < CAPACITY_MIN ? CAPACITY_MIN : buf->capacity;
    while (capacity < wanted) capacity *= 2;
    uint8_t *data = sx_allocate(buf->alloc, capacity);
    if (data == NULL) {
        buf->failed = true;
        return false;
    }
    if (buf->size != 0) memcpy(data, buf->data, buf->size);
    wipe(buf);
    sx_release(buf->alloc, buf->data, buf->capacity);
    buf->data = data;
    buf->capacity = capacity;
    return true;
}

void sx_buf_clear(sx_buf *buf, size_t keep) {
    if (buf->capacity > keep) {
        sx_buf_deinit(buf);
        return;
    }
    wipe(buf);
    buf->size = 0;
    buf->failed = buf->secret = false;
}
