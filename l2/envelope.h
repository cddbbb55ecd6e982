/* SPDX-License-Identifier: Apache-2.0 */
/* The envelope: a stored value as one msgpack array, with a fixed-width front that scripts patch and readers peek at. */
#ifndef SX_L2_ENVELOPE_H
#define SX_L2_ENVELOPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/memory/buf.h"

/* [format, n, written_at_ms, id, app_version, ttl_ms, stale_ms, flags, tags, etag, payload]
   front: 0x9b 0x01 | 0xcf n(8) | 0xcf written_at_ms(8) | 0xcf id(8) — 29 bytes, all of a value's version.
   lease: [2, token, awaited]: 0x93 0x02 | 0xcf token(8) | 0xc2 or 0xc3 — 12 bytes. */
enum {
    SX_ENVELOPE_FORMAT_VALUE = 1,
    SX_ENVELOPE_FORMAT_LEASE = 2,
    SX_ENVELOPE_FRONT_BYTES = 29, /* what GETRANGE 0 28 answers */
    SX_ENVELOPE_HEAD_BYTES = 20,  /* patched by scripts: up to and with written_at_ms */
    SX_ENVELOPE_LEASE_BYTES = 12,
    SX_ENVELOPE_TAGS_MAX = 64,
    SX_ENVELOPE_COMPRESSION = 15, /* bits of flags: sx_compression */
    SX_ENVELOPE_REFRESHED = 16,   /* flags: loaded in the place of a value that had not been invalidated */
    SX_ENVELOPE_ABSENT = 32,      /* flags: no value, the source has none */
    SX_ENVELOPE_FLAGS = SX_ENVELOPE_COMPRESSION | SX_ENVELOPE_REFRESHED | SX_ENVELOPE_ABSENT /* all others are 0 */
};

typedef struct sx_envelope {
    uint64_t n;
    uint64_t id;
    uint64_t app_version;
    int64_t written_ms;
    int64_t ttl_ms;   /* 0: never expires */
    int64_t stale_ms; /* usable this much longer as stale; 0 */
    uint64_t flags;   /* SX_ENVELOPE_FLAGS */
    const uint8_t *tags; /* one msgpack value (array or nil) in place */
    size_t tags_size;
    const uint8_t *etag;
    size_t etag_size;
    const uint8_t *payload;
    size_t payload_size;
} sx_envelope;

/* Everything after the head: id .. payload. A script writes head(n, server ms) before it. */
void sx_envelope_encode_tail(sx_buf *buf, const sx_envelope *envelope);
/* All of it, for places where no script patches it. */
void sx_envelope_encode(sx_buf *buf, const sx_envelope *envelope);
void sx_envelope_encode_lease(sx_buf *buf, uint64_t token);

typedef enum sx_envelope_kind { SX_ENVELOPE_VALUE, SX_ENVELOPE_LEASE, SX_ENVELOPE_CORRUPT } sx_envelope_kind;
/* Reads what Redis stored, in place. For a lease only id (its token) is set. */
sx_envelope_kind sx_envelope_decode(const void *bytes, size_t size, sx_envelope *out);
/* Reads a value's beginning, with its tags or beyond: all but etag and payload. */
sx_envelope_kind sx_envelope_decode_head(const void *bytes, size_t size, sx_envelope *out);
/* Reads a front of SX_ENVELOPE_FRONT_BYTES: n, written_ms and id only. */
sx_envelope_kind sx_envelope_decode_front(const void *bytes, size_t size, sx_envelope *out);

/* What remains of a ttl, in ms, for a reader whose estimate of the server's clock is server_ms (-1 unknown): clamped to
   [0, ttl_ms]. Never expiring: INT64_MAX. */
int64_t sx_envelope_remaining_ms(const sx_envelope *envelope, int64_t server_ms);

/* The same for a value that may be used as stale afterwards: negative since its end. Where the server's clock is not known
   such a value counts as at its end: the time that L2 keeps it says nothing. */
int64_t sx_envelope_left_ms(const sx_envelope *envelope, int64_t server_ms);

#endif
