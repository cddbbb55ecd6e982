/* SPDX-License-Identifier: Apache-2.0 */
/* The messages' codec: msgpack arrays written field by field, and a strict reader that accepts nothing it can't apply. */
#include "coherence/message.h"

#include <strata/status.h>

#include "core/codec/msgpack.h"
#include "core/key/key.h"

/* How many elements a kind's array has. */
static const uint8_t counts[] = {
    [SX_MESSAGE_PROBE] = 3,   [SX_MESSAGE_KEY] = 6,     [SX_MESSAGE_KEYS] = 6,
    [SX_MESSAGE_VALUE] = 7,   [SX_MESSAGE_TAG] = 4,     [SX_MESSAGE_PATTERN] = 5,
    [SX_MESSAGE_CLEAR] = 4,   [SX_MESSAGE_FILLED] = 6,  [SX_MESSAGE_UNTRUST] = 2,
};
#define KINDS ((uint64_t)(sizeof counts / sizeof counts[0]))

static bool is_sequenced(sx_message_kind kind) {
    return kind != SX_MESSAGE_PROBE && kind != SX_MESSAGE_FILLED && kind != SX_MESSAGE_UNTRUST;
}

/* A str or bin of 1 .. max bytes. */
static const uint8_t *read_sized(sx_msgpack_reader *reader, size_t max, size_t *size) {
    const uint8_t *bytes = sx_msgpack_read_bytes(reader, size);
    if (!reader->ok || *size == 0 || *size > max) reader->ok = false;
    return bytes;
}

static void read_namespace(sx_msgpack_reader *reader, sx_message *out) {
    out->ns = (const char *)read_sized(reader, SX_NAMESPACE_BYTES_MAX, &out->ns_size);
    uint64_t version = sx_msgpack_read_uint(reader);
    if (version > UINT32_MAX) reader->ok = false;
    out->ns_version = (uint32_t)version;
}

static void read_key(sx_msgpack_reader *reader, sx_message *out) {
    out->key = read_sized(reader, SX_KEY_BYTES_MAX, &out->key_size);
}

static void read_keys(sx_msgpack_reader *reader, sx_message *out) {
    out->keys = sx_msgpack_read_array(reader);
    if (out->keys == 0) reader->ok = false;
    out->key = reader->at;
    for (uint32_t i = 0; i < out->keys && reader->ok; i++) {
        size_t size = 0;
        (void)read_sized(reader, SX_KEY_BYTES_MAX, &size);
    }
    out->key_size = reader->ok ? (size_t)(reader->at - out->key) : 0;
}

static void read_fields(sx_msgpack_reader *reader, sx_message *out) {
    if (out->kind == SX_MESSAGE_UNTRUST) return;
    if (out->kind != SX_MESSAGE_PATTERN && out->kind != SX_MESSAGE_CLEAR) out->id = sx_msgpack_read_uint(reader);
    if (out->kind == SX_MESSAGE_PROBE) return;
    if (out->kind != SX_MESSAGE_TAG) read_namespace(reader, out);
    if (out->kind == SX_MESSAGE_CLEAR) return;
    if (out->kind == SX_MESSAGE_KEYS) {
        read_keys(reader, out);
        return;
    }
    read_key(reader, out);
    if (out->kind != SX_MESSAGE_VALUE) return;
    out->value = sx_msgpack_read_bytes(reader, &out->value_size);
    if (out->value_size == 0) reader->ok = false;
}

int32_t sx_message_decode(const void *bytes, size_t size, sx_message *out) {
    sx_message message = {.kind = SX_MESSAGE_PROBE};
    if (size == 0) return STRATA_E_CORRUPT;
    sx_msgpack_reader reader = sx_msgpack_reader_over(bytes, size);
    uint32_t count = sx_msgpack_read_array(&reader);
    uint64_t kind = sx_msgpack_read_uint(&reader);
    if (!reader.ok || kind >= KINDS || count != counts[kind]) return STRATA_E_CORRUPT;
    message.kind = (sx_message_kind)kind;
    message.sequenced = is_sequenced(message.kind);
    message.n = sx_msgpack_read_uint(&reader);
    if (!reader.ok || message.sequenced != (message.n != 0)) return STRATA_E_CORRUPT;
    read_fields(&reader, &message);
    if (!reader.ok || reader.at != reader.end) return STRATA_E_CORRUPT;
    *out = message;
    return STRATA_OK;
}

bool sx_message_next_key(const sx_message *message, const uint8_t **cursor, const uint8_t **key, size_t *key_size) {
    if (message->kind != SX_MESSAGE_KEYS) return false;
    const uint8_t *end = message->key + message->key_size;
    const uint8_t *at = *cursor == NULL ? message->key : *cursor;
    if (at >= end) return false;
    sx_msgpack_reader reader = sx_msgpack_reader_over(at, (size_t)(end - at));
    size_t size = 0;
    const uint8_t *found = sx_msgpack_read_bytes(&reader, &size);
    if (!reader.ok) return false;
    *key = found;
    *key_size = size;
    *cursor = reader.at;
    return true;
}

void sx_message_encode_head(sx_buf *buf, sx_message_kind kind) {
    sx_msgpack_write_array(buf, counts[kind]);
    sx_msgpack_write_uint(buf, (uint64_t)kind);
}

void sx_message_encode_keys_middle(sx_buf *buf, uint64_t id, const char *ns, size_t ns_size, uint32_t ns_version) {
    sx_msgpack_write_uint(buf, id);
    sx_msgpack_write_str(buf, ns, ns_size);
    sx_msgpack_write_uint(buf, ns_version);
}

void sx_message_encode_key_rest(sx_buf *buf, uint64_t id, const char *ns, size_t ns_size, uint32_t ns_version,
                                const void *key, size_t key_size) {
    sx_message_encode_keys_middle(buf, id, ns, ns_size, ns_version);
    sx_msgpack_write_bin(buf, key, key_size);
}

void sx_message_encode_tag_rest(sx_buf *buf, uint64_t nonce, const void *tag, size_t tag_size) {
    sx_msgpack_write_uint(buf, nonce);
    sx_msgpack_write_bin(buf, tag, tag_size);
}

void sx_message_encode_clear_rest(sx_buf *buf, const char *ns, size_t ns_size, uint32_t ns_version) {
    sx_msgpack_write_str(buf, ns, ns_size);
    sx_msgpack_write_uint(buf, ns_version);
}

void sx_message_encode_filled(sx_buf *buf, uint64_t id, const char *ns, size_t ns_size, uint32_t ns_version,
                              const void *key, size_t key_size) {
    sx_message_encode_head(buf, SX_MESSAGE_FILLED);
    sx_msgpack_write_uint(buf, 0);
    sx_message_encode_key_rest(buf, id, ns, ns_size, ns_version, key, key_size);
}

void sx_message_encode_untrust(sx_buf *buf) {
    sx_message_encode_head(buf, SX_MESSAGE_UNTRUST);
    sx_msgpack_write_uint(buf, 0);
}

void sx_message_encode_probe(sx_buf *buf, uint64_t id) {
    sx_message_encode_head(buf, SX_MESSAGE_PROBE);
    sx_msgpack_write_uint(buf, 0);
    sx_msgpack_write_uint(buf, id);
}
