/* SPDX-License-Identifier: Apache-2.0 */
/* Partitions, slots, tags and the names of things in Redis. */
#include "core/key/key.h"

#include <assert.h>
#include <stdio.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <strata/status.h>

bool sx_key_namespace_is_good(const char *name, size_t size) {
    if (size == 0 || size > SX_NAMESPACE_BYTES_MAX) return false;
    for (size_t i = 0; i < size; i++) {
        char c = name[i];
        bool good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
                    c == '.' || c == '-';
        if (!good) return false;
    }
    return true;
}

uint32_t sx_key_partition(const void *key, size_t size, uint32_t partitions) {
    assert(partitions != 0 && (partitions & (partitions - 1)) == 0);
    return (uint32_t)(XXH3_64bits(key, size) & (partitions - 1));
}

uint64_t sx_key_hash(const sx_key_secret *secret, uint16_t ns, const void *key, size_t size) {
    uint64_t hash = XXH3_64bits_withSecret(key, size, secret->bytes, sizeof secret->bytes);
    uint64_t salt;
    memcpy(&salt, secret->bytes, sizeof salt);
    /* The same key in two namespaces goes different ways, which only the secret tells. */
    hash ^= (uint64_t)ns * (salt | 1);
    hash ^= hash >> 37;
    hash *= UINT64_C(0x165667919e3779f9);
    return hash ^ (hash >> 32);
}

/* ---- slots ---------------------------------------------------------------------------------------------------- */

/* CRC16, polynomial 0x1021, start 0, four bits at a time: fast enough for the names we hash, and no table to trust. */
static uint16_t crc16(const uint8_t *bytes, size_t size) {
    static const uint16_t table[16] = {0x0000, 0x1021, 0x2042, 0x3063, 0x4084, 0x50a5, 0x60c6, 0x70e7,
                                       0x8108, 0x9129, 0xa14a, 0xb16b, 0xc18c, 0xd1ad, 0xe1ce, 0xf1ef};
    unsigned crc = 0;
    for (size_t i = 0; i < size; i++) {
        crc = (crc << 4) ^ table[((crc >> 12) ^ (bytes[i] >> 4)) & 15];
        crc = (crc << 4) ^ table[((crc >> 12) ^ bytes[i]) & 15];
    }
    return (uint16_t)crc;
}

uint32_t sx_key_slot(const void *name, size_t size) {
    const uint8_t *bytes = name;
    const uint8_t *open = size != 0 ? memchr(bytes, '{', size) : NULL;
    if (open != NULL) {
        const uint8_t *tag = open + 1;
        const uint8_t *close = memchr(tag, '}', size - (size_t)(tag - bytes));
        if (close != NULL && close != tag) return crc16(tag, (size_t)(close - tag)) % SX_SLOTS;
    }
    return crc16(bytes, size) % SX_SLOTS;
}

/* ---- tags ----------------------------------------------------------------------------------------------------- */

/* The candidate's number in base 36, without leading zeros. */
static uint8_t candidate_text(uint32_t number, char text[SX_TAG_BYTES_MAX]) {
    char digits[SX_TAG_BYTES_MAX];
    uint8_t size = 0;
    do {
        digits[size++] = "0123456789abcdefghijklmnopqrstuvwxyz"[number % 36];
        number /= 36;
    } while (number != 0);
    for (uint8_t i = 0; i < size; i++) text[i] = digits[size - 1 - i];
    text[size] = '\0';
    return size;
}

int32_t sx_key_tags_create(const sx_alloc *alloc, uint32_t partitions, sx_key_tags **out) {
    if (partitions == 0 || partitions > SX_PARTITIONS_MAX || (partitions & (partitions - 1)) != 0) {
        return STRATA_E_INVALID;
    }
    sx_key_tags *tags = sx_allocate_zero(alloc, sizeof *tags);
    if (tags == NULL) return STRATA_E_NOMEM;
    tags->alloc = alloc;
    tags->partitions = partitions;
    tags->tags = sx_allocate_zero(alloc, partitions * sizeof *tags->tags);
    if (tags->tags == NULL) {
        sx_release(alloc, tags, sizeof *tags);
        return STRATA_E_NOMEM;
    }
    uint32_t missing = partitions;
    for (uint32_t number = 0; missing != 0; number++) { /* 4096 ranges have theirs after 17 240 */
        struct sx_key_tag tag = {.size = 0};
        tag.size = candidate_text(number, tag.text);
        tag.slot = (uint16_t)(crc16((const uint8_t *)tag.text, tag.size) % SX_SLOTS);
        struct sx_key_tag *place = &tags->tags[(uint32_t)tag.slot * partitions / SX_SLOTS];
        if (place->size != 0) continue;
        *place = tag;
        missing--;
    }
    *out = tags;
    return STRATA_OK;
}

void sx_key_tags_destroy(sx_key_tags *tags) {
    if (tags == NULL) return;
    const sx_alloc *alloc = tags->alloc;
    sx_release(alloc, tags->tags, tags->partitions * sizeof *tags->tags);
    sx_release(alloc, tags, sizeof *tags);
}

/* ---- names ---------------------------------------------------------------------------------------------------- */

static void append_head(sx_buf *buf, const sx_key_tags *tags, uint32_t partition) {
    assert(partition < tags->partitions);
    const struct sx_key_tag *tag = &tags->tags[partition];
    sx_buf_append_byte(buf, '{');
    sx_buf_append(buf, tag->text, tag->size);
    sx_buf_append(buf, "}s1:", 4);
}

static void append_value(sx_buf *buf, const char *ns, size_t ns_size, uint32_t version, const void *key, size_t key_size) {
    char digits[12]; /* ":4294967295:" from its end */
    size_t at = sizeof digits;
    digits[--at] = ':';
    do {
        digits[--at] = (char)('0' + version % 10);
        version /= 10;
    } while (version > 0);
    digits[--at] = ':';
    sx_buf_append(buf, ns, ns_size);
    sx_buf_append(buf, digits + at, sizeof digits - at);
    sx_buf_append(buf, key, key_size);
}

void sx_key_name_value(sx_buf *buf, const sx_key_tags *tags, uint32_t partition, const char *ns,
                       size_t ns_size, uint32_t version, const void *key, size_t key_size) {
    append_head(buf, tags, partition);
    append_value(buf, ns, ns_size, version, key, key_size);
}

void sx_key_name_refresh(sx_buf *buf, const sx_key_tags *tags, uint32_t partition, const char *ns,
                         size_t ns_size, uint32_t version, const void *key, size_t key_size) {
    append_head(buf, tags, partition);
    sx_buf_append_byte(buf, '+');
    append_value(buf, ns, ns_size, version, key, key_size);
}

void sx_key_name_count(sx_buf *buf, const sx_key_tags *tags, uint32_t partition, const char *ns, size_t ns_size,
                       uint32_t version, const void *key, size_t key_size) {
    append_head(buf, tags, partition);
    sx_buf_append_byte(buf, '=');
    append_value(buf, ns, ns_size, version, key, key_size);
}

void sx_key_name_lock(sx_buf *buf, const sx_key_tags *tags, uint32_t partition, const char *ns, size_t ns_size,
                      uint32_t version, const void *name, size_t name_size) {
    append_head(buf, tags, partition);
    sx_buf_append_byte(buf, '!');
    append_value(buf, ns, ns_size, version, name, name_size);
}

void sx_key_name_counter(sx_buf *buf, const sx_key_tags *tags, uint32_t partition) {
    append_head(buf, tags, partition);
    sx_buf_append_byte(buf, 'n');
}

void sx_key_name_channel(sx_buf *buf, const sx_key_tags *tags, uint32_t partition) {
    append_head(buf, tags, partition);
    sx_buf_append_byte(buf, 'c');
}

void sx_key_name_marker(sx_buf *buf, const sx_key_tags *tags, uint32_t partition, const void *tag, size_t tag_size) {
    append_head(buf, tags, partition);
    sx_buf_append_byte(buf, '#'); /* no namespace has one */
    sx_buf_append(buf, tag, tag_size);
}
