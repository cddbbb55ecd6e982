/* SPDX-License-Identifier: Apache-2.0 */
/* The envelope: writing a value's or a lease's bytes, and reading them back whoever wrote them. */
#include "l2/envelope.h"

#include "core/codec/msgpack.h"

enum { FIELDS = 11, FIXARRAY_VALUE = 0x90 | FIELDS, FIXARRAY_LEASE = 0x93, UINT64 = 0xcf, FALSE_BYTE = 0xc2, TRUE_BYTE = 0xc3 };
_Static_assert(SX_ENVELOPE_FRONT_BYTES == 2 + 3 * 9, "format, n, written_at, id");
_Static_assert(SX_ENVELOPE_HEAD_BYTES == 2 + 2 * 9, "format, n, written_at");
_Static_assert(SX_ENVELOPE_LEASE_BYTES == 2 + 9 + 1, "format, token, awaited");

/* ---- writing ---- */

static uint64_t unsigned_ms(int64_t ms) { return ms > 0 ? (uint64_t)ms : 0; }

static void write_bytes(sx_buf *buf, const uint8_t *bytes, size_t size) {
    if (bytes == NULL && size == 0) {
        sx_msgpack_write_nil(buf);
    } else {
        sx_msgpack_write_bin(buf, bytes, size);
    }
}

void sx_envelope_encode_tail(sx_buf *buf, const sx_envelope *envelope) {
    sx_msgpack_write_uint_fixed(buf, envelope->id);
    sx_msgpack_write_uint(buf, envelope->app_version);
    sx_msgpack_write_uint(buf, unsigned_ms(envelope->ttl_ms));
    sx_msgpack_write_uint(buf, unsigned_ms(envelope->stale_ms));
    sx_msgpack_write_uint(buf, envelope->flags);
    if (envelope->tags_size == 0) {
        sx_msgpack_write_nil(buf);
    } else {
        sx_buf_append(buf, envelope->tags, envelope->tags_size);
    }
    write_bytes(buf, envelope->etag, envelope->etag_size);
    sx_msgpack_write_bin(buf, envelope->payload, envelope->payload_size);
}

void sx_envelope_encode(sx_buf *buf, const sx_envelope *envelope) {
    const uint8_t start[] = {FIXARRAY_VALUE, SX_ENVELOPE_FORMAT_VALUE};
    sx_buf_append(buf, start, sizeof start);
    sx_msgpack_write_uint_fixed(buf, envelope->n);
    sx_msgpack_write_uint_fixed(buf, unsigned_ms(envelope->written_ms));
    sx_envelope_encode_tail(buf, envelope);
}

void sx_envelope_encode_lease(sx_buf *buf, uint64_t token) {
    const uint8_t start[] = {FIXARRAY_LEASE, SX_ENVELOPE_FORMAT_LEASE};
    sx_buf_append(buf, start, sizeof start);
    sx_msgpack_write_uint_fixed(buf, token);
    sx_buf_append_byte(buf, FALSE_BYTE);
}

/* ---- reading ---- */

static uint64_t read_fixed(const uint8_t *at) {
    uint64_t value = 0;
    for (int i = 0; i < 8; i++) value = value << 8 | at[i];
    return value;
}

static bool is_lease(const uint8_t *bytes, size_t size) {
    return size == SX_ENVELOPE_LEASE_BYTES && bytes[0] == FIXARRAY_LEASE && bytes[1] == SX_ENVELOPE_FORMAT_LEASE &&
           bytes[2] == UINT64 && (bytes[11] == FALSE_BYTE || bytes[11] == TRUE_BYTE);
}

sx_envelope_kind sx_envelope_decode_front(const void *bytes, size_t size, sx_envelope *out) {
    const uint8_t *at = bytes;
    memset(out, 0, sizeof *out);
    if (is_lease(at, size)) {
        out->id = read_fixed(at + 3);
        return SX_ENVELOPE_LEASE;
    }
    if (size < SX_ENVELOPE_FRONT_BYTES || at[0] != FIXARRAY_VALUE || at[1] != SX_ENVELOPE_FORMAT_VALUE ||
        at[2] != UINT64 || at[11] != UINT64 || at[20] != UINT64) {
        return SX_ENVELOPE_CORRUPT;
    }
    uint64_t written = read_fixed(at + 12);
    if (written > INT64_MAX) return SX_ENVELOPE_CORRUPT;
    out->n = read_fixed(at + 3);
    out->written_ms = (int64_t)written;
    out->id = read_fixed(at + 21);
    return SX_ENVELOPE_VALUE;
}

static bool read_ms(sx_msgpack_reader *reader, int64_t *out) {
    uint64_t ms = sx_msgpack_read_uint(reader);
    *out = (int64_t)(ms & INT64_MAX);
    return reader->ok && ms <= INT64_MAX;
}

/* nil, or an array of at most TAGS_MAX values; left in place. */
static bool read_tags(sx_msgpack_reader *reader, sx_envelope *out) {
    const uint8_t *first = reader->at;
    sx_msgpack_reader inside = *reader;
    if (!sx_msgpack_read_nil(&inside) && sx_msgpack_read_array(&inside) > SX_ENVELOPE_TAGS_MAX) return false;
    if (!inside.ok) return false;
    sx_msgpack_skip(reader);
    out->tags = first;
    out->tags_size = (size_t)(reader->at - first);
    return reader->ok;
}

/* From the front up to the tags. */
static bool read_head(const void *bytes, size_t size, sx_msgpack_reader *reader, sx_envelope *out) {
    *reader = sx_msgpack_reader_over((const uint8_t *)bytes + SX_ENVELOPE_FRONT_BYTES, size - SX_ENVELOPE_FRONT_BYTES);
    out->app_version = sx_msgpack_read_uint(reader);
    bool ok = read_ms(reader, &out->ttl_ms) && read_ms(reader, &out->stale_ms);
    out->flags = sx_msgpack_read_uint(reader);
    return ok && (out->flags & ~(uint64_t)SX_ENVELOPE_FLAGS) == 0 && read_tags(reader, out);
}

sx_envelope_kind sx_envelope_decode_head(const void *bytes, size_t size, sx_envelope *out) {
    sx_msgpack_reader reader;
    sx_envelope_kind kind = sx_envelope_decode_front(bytes, size, out);
    if (kind != SX_ENVELOPE_VALUE || (read_head(bytes, size, &reader, out) && reader.ok)) return kind;
    memset(out, 0, sizeof *out);
    return SX_ENVELOPE_CORRUPT;
}

sx_envelope_kind sx_envelope_decode(const void *bytes, size_t size, sx_envelope *out) {
    sx_msgpack_reader reader;
    sx_envelope_kind kind = sx_envelope_decode_front(bytes, size, out);
    if (kind != SX_ENVELOPE_VALUE) return kind;
    bool ok = read_head(bytes, size, &reader, out);
    if (ok && !sx_msgpack_read_nil(&reader)) out->etag = sx_msgpack_read_bytes(&reader, &out->etag_size);
    if (ok) out->payload = sx_msgpack_read_bytes(&reader, &out->payload_size);
    if (ok && reader.ok && reader.at == reader.end) return SX_ENVELOPE_VALUE;
    memset(out, 0, sizeof *out);
    return SX_ENVELOPE_CORRUPT;
}

int64_t sx_envelope_remaining_ms(const sx_envelope *envelope, int64_t server_ms) {
    if (envelope->ttl_ms <= 0) return INT64_MAX;
    if (server_ms < 0 || server_ms <= envelope->written_ms) return envelope->ttl_ms;
    int64_t age = server_ms - envelope->written_ms;
    return age >= envelope->ttl_ms ? 0 : envelope->ttl_ms - age;
}

int64_t sx_envelope_left_ms(const sx_envelope *envelope, int64_t server_ms) {
    if (envelope->ttl_ms <= 0 || envelope->stale_ms <= 0) return sx_envelope_remaining_ms(envelope, server_ms);
    if (server_ms < 0) return 0;
    if (server_ms <= envelope->written_ms) return envelope->ttl_ms;
    return envelope->ttl_ms - (server_ms - envelope->written_ms);
}
