/* SPDX-License-Identifier: Apache-2.0 */
/* Tags as bytes: writing them with room for the nonces, walking them, and distrusting those from outside. */
#include "core/flow/tags.h"

#include <assert.h>
#include <string.h>

#include "core/codec/msgpack.h"

bool sx_tags_good(const strata_bytes *tags, uint32_t count) {
    if (count > STRATA_TAGS_MAX || (count != 0 && tags == NULL)) return false;
    for (uint32_t i = 0; i < count; i++) {
        if (tags[i].data == NULL || tags[i].size == 0 || tags[i].size > STRATA_TAG_BYTES_MAX) return false;
    }
    return true;
}

static bool named_before(const strata_bytes *tags, uint32_t index) {
    for (uint32_t i = 0; i < index; i++) {
        if (tags[i].size == tags[index].size && memcmp(tags[i].data, tags[index].data, tags[i].size) == 0) return true;
    }
    return false;
}

bool sx_tags_encode(sx_buf *buf, const uint8_t *base, size_t base_size, const strata_bytes *tags, uint32_t count) {
    uint32_t total = 0;
    sx_tag tag;
    for (size_t at = 0; base != NULL && sx_tags_next(base, base_size, &at, &tag);) total++;
    for (uint32_t i = 0; i < count; i++)
        total += !named_before(tags, i) && !sx_tags_name(base, base_size, tags[i].data, tags[i].size);
    if (total > STRATA_TAGS_MAX) return false;
    if (total == 0) return true;
    sx_msgpack_write_array(buf, 2 * total);
    for (size_t at = 0; base != NULL && sx_tags_next(base, base_size, &at, &tag);) {
        sx_msgpack_write_bin(buf, tag.name, tag.size);
        sx_msgpack_write_uint_fixed(buf, tag.nonce);
    }
    for (uint32_t i = 0; i < count; i++) {
        if (named_before(tags, i) || sx_tags_name(base, base_size, tags[i].data, tags[i].size)) continue;
        sx_msgpack_write_bin(buf, tags[i].data, tags[i].size);
        sx_msgpack_write_uint_fixed(buf, 0);
    }
    return true;
}

bool sx_tags_next(const uint8_t *bytes, size_t size, size_t *at, sx_tag *out) {
    sx_msgpack_reader reader = sx_msgpack_reader_over(bytes + *at, size - *at);
    if (*at == 0) (void)sx_msgpack_read_array(&reader);
    if (reader.at == reader.end) return false;
    out->name = sx_msgpack_read_bytes(&reader, &out->size);
    const uint8_t *number = reader.at;
    out->nonce = sx_msgpack_read_uint(&reader);
    if (!reader.ok) return false;
    out->at = reader.at - number == 9 ? (uint8_t *)(uintptr_t)(number + 1) : NULL;
    *at = (size_t)(reader.at - bytes);
    return true;
}

bool sx_tags_sound(const uint8_t *bytes, size_t size) {
    if (size == 0 || size > SX_TAGS_BYTES_MAX) return false;
    sx_msgpack_reader reader = sx_msgpack_reader_over(bytes, size);
    uint32_t count = sx_msgpack_read_array(&reader);
    if (!reader.ok || count == 0 || count % 2 != 0 || count > 2 * STRATA_TAGS_MAX) return false;
    for (uint32_t i = 0; i < count; i += 2) {
        size_t name_size = 0;
        (void)sx_msgpack_read_bytes(&reader, &name_size);
        (void)sx_msgpack_read_uint(&reader);
        if (!reader.ok || name_size == 0 || name_size > STRATA_TAG_BYTES_MAX) return false;
    }
    return reader.at == reader.end;
}

void sx_tag_put(const sx_tag *tag, uint64_t nonce) {
    assert(tag->at != NULL);
    for (int i = 0; i < 8; i++) tag->at[i] = (uint8_t)(nonce >> (56 - 8 * i));
}

bool sx_tags_same(const uint8_t *a, size_t a_size, const uint8_t *b, size_t b_size) {
    if (a == NULL || b == NULL) return a == b;
    size_t a_at = 0, b_at = 0;
    sx_tag x, y;
    for (;;) {
        bool more = sx_tags_next(a, a_size, &a_at, &x);
        if (more != sx_tags_next(b, b_size, &b_at, &y)) return false;
        if (!more) return true;
        if (x.size != y.size || memcmp(x.name, y.name, x.size) != 0) return false;
    }
}

bool sx_tags_name(const uint8_t *bytes, size_t size, const void *name, size_t name_size) {
    sx_tag tag;
    for (size_t at = 0; bytes != NULL && sx_tags_next(bytes, size, &at, &tag);) {
        if (tag.size == name_size && memcmp(tag.name, name, name_size) == 0) return true;
    }
    return false;
}
