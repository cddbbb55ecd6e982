/* SPDX-License-Identifier: Apache-2.0 */
/* An entry's tags as bytes: a msgpack array tag, nonce, tag, nonce, .., as the envelope stores them and items keep them. */
#ifndef SX_CORE_FLOW_TAGS_H
#define SX_CORE_FLOW_TAGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <strata/strata.h>

#include "core/memory/buf.h"

#define SX_TAGS_BYTES_MAX (3 + STRATA_TAGS_MAX * (3 + STRATA_TAG_BYTES_MAX + 9))

/* One of them, in place. */
typedef struct sx_tag {
    const uint8_t *name;
    size_t size;
    uint64_t nonce; /* 0: not taken yet */
    uint8_t *at;    /* its 8 bytes, big endian; NULL where another writer chose another width */
} sx_tag;

/* Whether a caller's tags are such as can be stored. */
bool sx_tags_good(const strata_bytes *tags, uint32_t count);
/* Appends the array of what base holds (may be NULL) and, without nonces, of those tags that it does not. False where
   they are too many; a failure of memory sticks in buf. */
bool sx_tags_encode(sx_buf *buf, const uint8_t *base, size_t base_size, const strata_bytes *tags, uint32_t count);
/* Walks them: *at is 0 at first. False at the end. The bytes are sound. */
bool sx_tags_next(const uint8_t *bytes, size_t size, size_t *at, sx_tag *out);
/* Bytes from outside: an array of what sx_tags_next can read, within the limits. */
bool sx_tags_sound(const uint8_t *bytes, size_t size);
void sx_tag_put(const sx_tag *tag, uint64_t nonce);
/* The same names in the same order, whatever their nonces. */
bool sx_tags_same(const uint8_t *a, size_t a_size, const uint8_t *b, size_t b_size);
bool sx_tags_name(const uint8_t *bytes, size_t size, const void *name, size_t name_size);

#endif
