/* SPDX-License-Identifier: Apache-2.0 */
/* msgpack for the wire: fixed-width and shortest encoders into a buffer, and a bounds-checked cursor that reads in place. */
#ifndef SX_CORE_CODEC_MSGPACK_H
#define SX_CORE_CODEC_MSGPACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/memory/buf.h"

#define SX_MSGPACK_DEPTH_MAX 64

/* Writers append through msgpack-c's packer in the shortest form; failures stick in buf. */
void sx_msgpack_write_nil(sx_buf *buf);
void sx_msgpack_write_uint(sx_buf *buf, uint64_t value);
void sx_msgpack_write_int(sx_buf *buf, int64_t value);
void sx_msgpack_write_bin(sx_buf *buf, const void *bytes, size_t size);
void sx_msgpack_write_str(sx_buf *buf, const void *bytes, size_t size);
void sx_msgpack_write_array(sx_buf *buf, uint32_t count);
void sx_msgpack_write_map(sx_buf *buf, uint32_t pairs);
void sx_msgpack_write_bin_header(sx_buf *buf, uint32_t size); /* the bytes follow by other means */
/* Always 9 bytes: 0xcf and 8 bytes big endian, so that a script can patch it in place. */
void sx_msgpack_write_uint_fixed(sx_buf *buf, uint64_t value);

/* Reads forward through [at, end). The first failure sticks: then every read answers 0 / empty and ok is false. */
typedef struct sx_msgpack_reader {
    const uint8_t *at;
    const uint8_t *end;
    bool ok;
} sx_msgpack_reader;

static inline sx_msgpack_reader sx_msgpack_reader_over(const void *bytes, size_t size) {
    sx_msgpack_reader r = {(const uint8_t *)bytes, (const uint8_t *)bytes + size, true};
    return r;
}
uint64_t sx_msgpack_read_uint(sx_msgpack_reader *reader);
int64_t sx_msgpack_read_int(sx_msgpack_reader *reader);
uint32_t sx_msgpack_read_array(sx_msgpack_reader *reader);                              /* element count */
const uint8_t *sx_msgpack_read_bytes(sx_msgpack_reader *reader, size_t *size);          /* str or bin */
bool sx_msgpack_read_nil(sx_msgpack_reader *reader);                                    /* true and consumed if nil */
void sx_msgpack_skip(sx_msgpack_reader *reader);                                        /* one value, nested or not */

typedef enum sx_msgpack_kind {
    SX_MSGPACK_NIL,
    SX_MSGPACK_BOOL,  /* number is 0 or 1 */
    SX_MSGPACK_UINT,  /* number */
    SX_MSGPACK_INT,   /* negative: number is its two's complement */
    SX_MSGPACK_FLOAT, /* number is the bits of a float */
    SX_MSGPACK_DOUBLE, /* number is the bits of a double */
    SX_MSGPACK_STR,
    SX_MSGPACK_BIN,
    SX_MSGPACK_EXT,
    SX_MSGPACK_ARRAY, /* number is the count of elements */
    SX_MSGPACK_MAP    /* number is the count of pairs */
} sx_msgpack_kind;

/* What the first bytes of a value say. */
typedef struct sx_msgpack_head {
    sx_msgpack_kind kind;
    uint64_t number;
    size_t head_size; /* bytes before the payload or the first element */
    size_t body_size; /* bytes of payload: str, bin, ext (its type byte is in the head) */
} sx_msgpack_head;

/* False where the bytes are malformed or cut: head and payload lie inside [at, end), and an array or map claims no more
   elements than bytes follow, so that a small message can't make anybody loop long. */
bool sx_msgpack_head_decode(const uint8_t *at, const uint8_t *end, sx_msgpack_head *out);
/* The byte behind the one value at `at`, or NULL where it is malformed, cut, or deeper than SX_MSGPACK_DEPTH_MAX. */
const uint8_t *sx_msgpack_value_end(const uint8_t *at, const uint8_t *end);

#endif
