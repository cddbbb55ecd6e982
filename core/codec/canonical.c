/* SPDX-License-Identifier: Apache-2.0 */
/* Canonical msgpack: scalars in one form each, the pairs of maps in the order of their keys. */
#include "core/codec/canonical.h"

#include <stdlib.h>

#include <strata/status.h>

#include "core/codec/msgpack.h"

/* A pair of a map, by its offsets in the output. */
typedef struct pair {
    size_t key, value, end;
} pair;

/* Recursion ends where the source does: sx_msgpack_value_end has bounded its depth. */
typedef struct rewriting {
    sx_buf *out;
    sx_buf pairs;   /* of the maps that are open, innermost last */
    sx_buf scratch; /* a map's pairs in their new order */
    const uint8_t *at, *end;
} rewriting;

static int32_t write_value(rewriting *r);

static void write_double(sx_buf *out, const sx_msgpack_head *head) {
    double number;
    if (head->kind == SX_MSGPACK_FLOAT) {
        uint32_t half = (uint32_t)head->number;
        float single;
        memcpy(&single, &half, sizeof single);
        number = (double)single;
    } else {
        memcpy(&number, &head->number, sizeof number);
    }
    uint64_t bits;
    if (number == 0) number = 0; /* no negative one */
    memcpy(&bits, &number, sizeof bits);
    if (number != number) bits = UINT64_C(0x7ff8) << 48;
    sx_buf_append_byte(out, 0xcb);
    for (int i = 7; i >= 0; i--) sx_buf_append_byte(out, (uint8_t)(bits >> (8 * i)));
}

/* The form of an ext depends on its size alone, and the writers know none of it. */
static void write_ext(sx_buf *out, uint8_t type, const uint8_t *bytes, size_t size) {
    static const uint8_t fixed[] = {[1] = 0xd4, [2] = 0xd5, [4] = 0xd6, [8] = 0xd7, [16] = 0xd8};
    if (size < sizeof fixed && fixed[size] != 0) {
        sx_buf_append_byte(out, fixed[size]);
    } else {
        int width = size <= UINT8_MAX ? 1 : size <= UINT16_MAX ? 2 : 4;
        sx_buf_append_byte(out, width == 1 ? 0xc7 : width == 2 ? 0xc8 : 0xc9);
        while (width-- > 0) sx_buf_append_byte(out, (uint8_t)(size >> (8 * width)));
    }
    sx_buf_append_byte(out, type);
    sx_buf_append(out, bytes, size);
}

/* No value begins with the whole of another: the shorter size decides whether they are the same, too. */
static int compare_keys(const void *left, const void *right, void *bytes) {
    const pair *a = left, *b = right;
    size_t a_size = a->value - a->key, b_size = b->value - b->key;
    return memcmp((const uint8_t *)bytes + a->key, (const uint8_t *)bytes + b->key, a_size < b_size ? a_size : b_size);
}

/* The pairs that were written from `begin` on, put in order. */
static int32_t sort_pairs(rewriting *r, size_t begin, pair *pairs, size_t count) {
    uint8_t *bytes = r->out->data;
    qsort_r(pairs, count, sizeof *pairs, compare_keys, bytes);
    sx_buf_clear(&r->scratch, SIZE_MAX);
    for (size_t i = 0; i < count; i++) {
        if (i > 0 && compare_keys(&pairs[i - 1], &pairs[i], bytes) == 0) return STRATA_E_INVALID;
        sx_buf_append(&r->scratch, bytes + pairs[i].key, pairs[i].end - pairs[i].key);
    }
    if (r->scratch.failed) return STRATA_E_NOMEM;
    memcpy(bytes + begin, r->scratch.data, r->scratch.size);
    return STRATA_OK;
}

static int32_t write_map(rewriting *r, uint32_t count) {
    sx_msgpack_write_map(r->out, count);
    size_t begin = r->out->size, first = r->pairs.size;
    for (uint32_t i = 0; i < count; i++) {
        pair p = {.key = r->out->size};
        int32_t status = write_value(r);
        p.value = r->out->size;
        if (status == STRATA_OK) status = write_value(r);
        p.end = r->out->size;
        if (status != STRATA_OK) return status;
        sx_buf_append(&r->pairs, &p, sizeof p);
    }
    if (r->out->failed || r->pairs.failed) return STRATA_E_NOMEM;
    r->pairs.size = first;
    return count < 2 ? STRATA_OK : sort_pairs(r, begin, (pair *)(void *)(r->pairs.data + first), count);
}

static int32_t write_value(rewriting *r) {
    sx_msgpack_head head;
    if (!sx_msgpack_head_decode(r->at, r->end, &head)) return STRATA_E_CORRUPT;
    const uint8_t *body = r->at + head.head_size;
    r->at = body + head.body_size;
    switch (head.kind) {
    case SX_MSGPACK_NIL: sx_msgpack_write_nil(r->out); break;
    case SX_MSGPACK_BOOL: sx_buf_append_byte(r->out, head.number != 0 ? 0xc3 : 0xc2); break;
    case SX_MSGPACK_UINT: sx_msgpack_write_uint(r->out, head.number); break;
    case SX_MSGPACK_INT: sx_msgpack_write_int(r->out, (int64_t)head.number); break;
    case SX_MSGPACK_FLOAT:
    case SX_MSGPACK_DOUBLE: write_double(r->out, &head); break;
    case SX_MSGPACK_STR: sx_msgpack_write_str(r->out, body, head.body_size); break;
    case SX_MSGPACK_BIN: sx_msgpack_write_bin(r->out, body, head.body_size); break;
    case SX_MSGPACK_EXT: write_ext(r->out, body[-1], body, head.body_size); break;
    case SX_MSGPACK_MAP: return write_map(r, (uint32_t)head.number);
    case SX_MSGPACK_ARRAY:
        sx_msgpack_write_array(r->out, (uint32_t)head.number);
        for (uint64_t i = 0; i < head.number; i++) {
            int32_t status = write_value(r);
            if (status != STRATA_OK) return status;
        }
        break;
    }
    return r->out->failed ? STRATA_E_NOMEM : STRATA_OK;
}

int32_t sx_msgpack_write_canonical(sx_buf *buf, const void *value, size_t size) {
    rewriting r = {.out = buf, .at = value, .end = (const uint8_t *)value + size};
    if (size == 0 || sx_msgpack_value_end(r.at, r.end) != r.end) return STRATA_E_CORRUPT;
    sx_buf_init(&r.pairs, buf->alloc);
    sx_buf_init(&r.scratch, buf->alloc);
    int32_t status = write_value(&r);
    sx_buf_deinit(&r.pairs);
    sx_buf_deinit(&r.scratch);
    return status;
}
