/* SPDX-License-Identifier: Apache-2.0 */
/* Packing msgpack for a program: msgpack-c's packer over our buffer, and a count of what each open container lacks. */
#include "core/codec/packer.h"

#include <msgpack.h>

#include "core/codec/msgpack.h"

struct strata_packer {
    const sx_alloc *alloc;
    sx_buf buf;
    int32_t failure;                        /* the first one; STRATA_OK so far */
    uint32_t depth;                         /* containers open */
    uint64_t roots;                         /* values begun outside any container */
    uint64_t missing[SX_MSGPACK_DEPTH_MAX]; /* values each open container still lacks */
};

static int append(void *context, const char *bytes, size_t size) {
    sx_buf *buf = context;
    sx_buf_append(buf, bytes, size);
    return buf->failed ? -1 : 0;
}

int32_t sx_packer_create(const sx_alloc *alloc, strata_packer **out) {
    strata_packer *packer = sx_allocate_zero(alloc, sizeof *packer);
    if (packer == NULL) return STRATA_E_NOMEM;
    packer->alloc = alloc;
    sx_buf_init(&packer->buf, alloc);
    *out = packer;
    return STRATA_OK;
}

int32_t strata_packer_create(strata_packer **out) {
    return sx_packer_create(sx_alloc_default(), out);
}

void strata_packer_destroy(strata_packer *packer) {
    if (packer == NULL) return;
    sx_buf_deinit(&packer->buf);
    sx_release(packer->alloc, packer, sizeof *packer);
}

void strata_packer_reset(strata_packer *packer) {
    sx_buf_clear(&packer->buf, SIZE_MAX);
    packer->failure = STRATA_OK;
    packer->depth = 0;
    packer->roots = 0;
}

/* Notes that a value was written which itself lacks so many more: 0 but for containers. */
static int32_t count_value(strata_packer *packer, uint64_t elements) {
    if (packer->buf.failed) return packer->failure = STRATA_E_NOMEM;
    if (packer->depth == 0) {
        packer->roots++;
    } else {
        packer->missing[packer->depth - 1]--;
    }
    if (elements != 0) {
        packer->missing[packer->depth++] = elements; /* is_too_deep saw to the room */
        return STRATA_OK;
    }
    while (packer->depth > 0 && packer->missing[packer->depth - 1] == 0) packer->depth--;
    return STRATA_OK;
}

int32_t strata_pack_nil(strata_packer *packer) {
    if (packer->failure != STRATA_OK) return packer->failure;
    msgpack_packer pk = {&packer->buf, append};
    (void)msgpack_pack_nil(&pk);
    return count_value(packer, 0);
}

int32_t strata_pack_bool(strata_packer *packer, int value) {
    if (packer->failure != STRATA_OK) return packer->failure;
    msgpack_packer pk = {&packer->buf, append};
    (void)(value != 0 ? msgpack_pack_true(&pk) : msgpack_pack_false(&pk));
    return count_value(packer, 0);
}

int32_t strata_pack_int(strata_packer *packer, int64_t value) {
    if (packer->failure != STRATA_OK) return packer->failure;
    sx_msgpack_write_int(&packer->buf, value);
    return count_value(packer, 0);
}

int32_t strata_pack_uint(strata_packer *packer, uint64_t value) {
    if (packer->failure != STRATA_OK) return packer->failure;
    sx_msgpack_write_uint(&packer->buf, value);
    return count_value(packer, 0);
}

int32_t strata_pack_double(strata_packer *packer, double value) {
    if (packer->failure != STRATA_OK) return packer->failure;
    msgpack_packer pk = {&packer->buf, append};
    (void)msgpack_pack_double(&pk, value);
    return count_value(packer, 0);
}

static bool is_invalid(strata_bytes bytes) {
    return (bytes.data == NULL && bytes.size != 0) || bytes.size > UINT32_MAX;
}

int32_t strata_pack_str(strata_packer *packer, strata_bytes text) {
    if (packer->failure != STRATA_OK) return packer->failure;
    if (is_invalid(text)) return packer->failure = STRATA_E_INVALID;
    sx_msgpack_write_str(&packer->buf, text.data, text.size);
    return count_value(packer, 0);
}

int32_t strata_pack_bin(strata_packer *packer, strata_bytes bytes) {
    if (packer->failure != STRATA_OK) return packer->failure;
    if (is_invalid(bytes)) return packer->failure = STRATA_E_INVALID;
    sx_msgpack_write_bin(&packer->buf, bytes.data, bytes.size);
    return count_value(packer, 0);
}

/* Readers refuse what is nested deeper, so it is not written. */
static bool is_too_deep(const strata_packer *packer) {
    return packer->depth == SX_MSGPACK_DEPTH_MAX;
}

int32_t strata_pack_array(strata_packer *packer, uint32_t count) {
    if (packer->failure != STRATA_OK) return packer->failure;
    if (is_too_deep(packer)) return packer->failure = STRATA_E_INVALID;
    sx_msgpack_write_array(&packer->buf, count);
    return count_value(packer, count);
}

int32_t strata_pack_map(strata_packer *packer, uint32_t count) {
    if (packer->failure != STRATA_OK) return packer->failure;
    if (is_too_deep(packer)) return packer->failure = STRATA_E_INVALID;
    msgpack_packer pk = {&packer->buf, append};
    (void)msgpack_pack_map(&pk, count);
    return count_value(packer, 2 * (uint64_t)count);
}

int32_t strata_packer_finish(strata_packer *packer, strata_bytes *out) {
    if (packer->failure != STRATA_OK) return packer->failure;
    if (packer->roots != 1 || packer->depth != 0) return STRATA_E_TYPE;
    *out = (strata_bytes){packer->buf.data, packer->buf.size};
    return STRATA_OK;
}
