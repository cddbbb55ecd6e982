/* SPDX-License-Identifier: Apache-2.0 */
/* Keys of segments, and the hash of structured parameters. */
#include <strata/key.h>

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "core/codec/canonical.h"
#include "core/key/key.h"

void strata_key_begin(strata_key *key, void *buffer, size_t size) {
    *key = (strata_key){.bytes = buffer, .capacity = size < SX_KEY_BYTES_MAX ? (uint32_t)size : SX_KEY_BYTES_MAX};
    if (buffer == NULL) key->status = STRATA_E_INVALID;
}

static void append(strata_key *key, const void *bytes, size_t size) {
    if (key->status != STRATA_OK) return;
    if (size > key->capacity - key->size) {
        key->status = STRATA_E_KEY_SIZE;
        return;
    }
    memcpy(key->bytes + key->size, bytes, size);
    key->size += (uint32_t)size;
}

static bool is_escaped(char byte, bool leads) {
    return byte == ':' || byte == '%' || (leads && (byte == '@' || byte == '~'));
}

static void append_escaped(strata_key *key, const char *bytes, size_t size) {
    size_t plain = 0; /* begins what has not been appended yet */
    for (size_t i = 0; i < size && key->status == STRATA_OK; i++) {
        if (!is_escaped(bytes[i], i == 0)) continue;
        char code[4];
        snprintf(code, sizeof code, "%%%02X", (unsigned)bytes[i]);
        append(key, bytes + plain, i - plain);
        append(key, code, 3);
        plain = i + 1;
    }
    append(key, bytes + plain, size - plain);
}

static void separate(strata_key *key) {
    if (key->segments++ > 0) append(key, ":", 1);
}

static bool is_run(strata_bytes bytes) { return bytes.size == 0 || bytes.data != NULL; }

int32_t strata_key_tenant(strata_key *key, strata_bytes tenant) {
    if (key->status == STRATA_OK && (key->segments > 0 || tenant.size == 0 || !is_run(tenant))) key->status = STRATA_E_INVALID;
    if (key->status != STRATA_OK) return key->status;
    separate(key);
    append(key, "@", 1);
    append_escaped(key, tenant.data, tenant.size);
    return key->status;
}

int32_t strata_key_segment(strata_key *key, strata_bytes segment) {
    if (key->status == STRATA_OK && !is_run(segment)) key->status = STRATA_E_INVALID;
    if (key->status != STRATA_OK) return key->status;
    separate(key);
    if (segment.size > 0) append_escaped(key, segment.data, segment.size);
    return key->status;
}

int32_t strata_key_text(strata_key *key, const char *text) {
    return strata_key_segment(key, (strata_bytes){text, text != NULL ? strlen(text) : 1});
}

int32_t strata_key_int(strata_key *key, int64_t number) {
    char text[24];
    int size = snprintf(text, sizeof text, "%" PRId64, number);
    return strata_key_segment(key, (strata_bytes){text, (size_t)size});
}

int32_t strata_key_query(strata_key *key, strata_bytes query) {
    uint8_t hash[STRATA_QUERY_HASH_BYTES];
    if (key->status == STRATA_OK) key->status = strata_query_hash(query, hash);
    if (key->status != STRATA_OK) return key->status;
    char text[1 + 2 * sizeof hash + 1] = "~";
    for (size_t i = 0; i < sizeof hash; i++) snprintf(text + 1 + 2 * i, 3, "%02x", hash[i]);
    separate(key);
    append(key, text, sizeof text - 1);
    return key->status;
}

int32_t strata_key_finish(const strata_key *key, strata_bytes *out) {
    if (key->status != STRATA_OK) return key->status;
    if (key->size == 0) return STRATA_E_KEY_SIZE;
    *out = (strata_bytes){key->bytes, key->size};
    return STRATA_OK;
}

int32_t strata_query_hash(strata_bytes query, uint8_t out[STRATA_QUERY_HASH_BYTES]) {
    if (query.data == NULL || query.size == 0) return STRATA_E_CORRUPT;
    if (query.size > STRATA_QUERY_BYTES_MAX) return STRATA_E_VALUE_SIZE;
    sx_buf canonical;
    sx_buf_init(&canonical, sx_alloc_default());
    int32_t status = sx_msgpack_write_canonical(&canonical, query.data, query.size);
    if (status == STRATA_OK) {
        XXH128_canonical_t hash;
        XXH128_canonicalFromHash(&hash, XXH3_128bits(canonical.data, canonical.size));
        memcpy(out, hash.digest, STRATA_QUERY_HASH_BYTES);
    }
    sx_buf_deinit(&canonical);
    return status;
}
