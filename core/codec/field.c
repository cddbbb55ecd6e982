/* SPDX-License-Identifier: Apache-2.0 */
/* Reading msgpack in place: a field is a place in bytes, and every call checks what it finds there. */
#include <strata/value.h>

#include <string.h>

#include "core/codec/msgpack.h"

int32_t strata_field_root(strata_bytes bytes, strata_field *out) {
    if (bytes.data == NULL) return STRATA_E_CORRUPT;
    const uint8_t *at = bytes.data;
    const uint8_t *end = at + bytes.size;
    if (sx_msgpack_value_end(at, end) != end) return STRATA_E_CORRUPT;
    *out = (strata_field){at, end};
    return STRATA_OK;
}

int32_t strata_field_type(strata_field field, strata_type *out) {
    sx_msgpack_head head;
    if (!sx_msgpack_head_decode(field.at, field.end, &head)) return STRATA_E_CORRUPT;
    static const strata_type types[] = {
        [SX_MSGPACK_NIL] = STRATA_TYPE_NIL,      [SX_MSGPACK_BOOL] = STRATA_TYPE_BOOL,
        [SX_MSGPACK_UINT] = STRATA_TYPE_INT,     [SX_MSGPACK_INT] = STRATA_TYPE_INT,
        [SX_MSGPACK_FLOAT] = STRATA_TYPE_DOUBLE, [SX_MSGPACK_DOUBLE] = STRATA_TYPE_DOUBLE,
        [SX_MSGPACK_STR] = STRATA_TYPE_STR,      [SX_MSGPACK_BIN] = STRATA_TYPE_BIN,
        [SX_MSGPACK_EXT] = STRATA_TYPE_EXT,      [SX_MSGPACK_ARRAY] = STRATA_TYPE_ARRAY,
        [SX_MSGPACK_MAP] = STRATA_TYPE_MAP,
    };
    bool large = head.kind == SX_MSGPACK_UINT && head.number > INT64_MAX;
    *out = large ? STRATA_TYPE_UINT : types[head.kind];
    return STRATA_OK;
}

int32_t strata_field_bool(strata_field field, int *out) {
    sx_msgpack_head head;
    if (!sx_msgpack_head_decode(field.at, field.end, &head)) return STRATA_E_CORRUPT;
    if (head.kind != SX_MSGPACK_BOOL) return STRATA_E_TYPE;
    *out = head.number != 0;
    return STRATA_OK;
}

int32_t strata_field_int(strata_field field, int64_t *out) {
    sx_msgpack_head head;
    if (!sx_msgpack_head_decode(field.at, field.end, &head)) return STRATA_E_CORRUPT;
    bool fits = head.kind == SX_MSGPACK_INT || (head.kind == SX_MSGPACK_UINT && head.number <= INT64_MAX);
    if (!fits) return STRATA_E_TYPE;
    *out = (int64_t)head.number;
    return STRATA_OK;
}

int32_t strata_field_uint(strata_field field, uint64_t *out) {
    sx_msgpack_head head;
    if (!sx_msgpack_head_decode(field.at, field.end, &head)) return STRATA_E_CORRUPT;
    if (head.kind != SX_MSGPACK_UINT) return STRATA_E_TYPE;
    *out = head.number;
    return STRATA_OK;
}

int32_t strata_field_double(strata_field field, double *out) {
    sx_msgpack_head head;
    if (!sx_msgpack_head_decode(field.at, field.end, &head)) return STRATA_E_CORRUPT;
    uint32_t half = (uint32_t)head.number;
    float single;
    switch (head.kind) {
    case SX_MSGPACK_FLOAT:
        memcpy(&single, &half, sizeof single);
        *out = (double)single;
        return STRATA_OK;
    case SX_MSGPACK_DOUBLE: memcpy(out, &head.number, sizeof *out); return STRATA_OK;
    case SX_MSGPACK_UINT: *out = (double)head.number; return STRATA_OK;
    case SX_MSGPACK_INT: *out = (double)(int64_t)head.number; return STRATA_OK;
    default: return STRATA_E_TYPE;
    }
}

static bool is_text(const sx_msgpack_head *head) {
    return head->kind == SX_MSGPACK_STR || head->kind == SX_MSGPACK_BIN;
}

int32_t strata_field_bytes(strata_field field, strata_bytes *out) {
    sx_msgpack_head head;
    if (!sx_msgpack_head_decode(field.at, field.end, &head)) return STRATA_E_CORRUPT;
    if (!is_text(&head)) return STRATA_E_TYPE;
    *out = (strata_bytes){field.at + head.head_size, head.body_size};
    return STRATA_OK;
}

int32_t strata_field_count(strata_field field, uint32_t *out) {
    sx_msgpack_head head;
    if (!sx_msgpack_head_decode(field.at, field.end, &head)) return STRATA_E_CORRUPT;
    if (head.kind != SX_MSGPACK_ARRAY && head.kind != SX_MSGPACK_MAP) return STRATA_E_TYPE;
    *out = (uint32_t)head.number;
    return STRATA_OK;
}

int32_t strata_field_first(strata_field field, strata_field *out) {
    sx_msgpack_head head;
    if (!sx_msgpack_head_decode(field.at, field.end, &head)) return STRATA_E_CORRUPT;
    if (head.kind != SX_MSGPACK_ARRAY && head.kind != SX_MSGPACK_MAP) return STRATA_E_TYPE;
    if (head.number == 0) return STRATA_E_END;
    *out = (strata_field){field.at + head.head_size, field.end};
    return STRATA_OK;
}

int32_t strata_field_next(strata_field field, strata_field *out) {
    const uint8_t *next = sx_msgpack_value_end(field.at, field.end);
    if (next == NULL) return STRATA_E_CORRUPT;
    if (next == field.end) return STRATA_E_END;
    *out = (strata_field){next, field.end};
    return STRATA_OK;
}

int32_t strata_field_at(strata_field array, uint32_t index, strata_field *out) {
    sx_msgpack_head head;
    if (!sx_msgpack_head_decode(array.at, array.end, &head)) return STRATA_E_CORRUPT;
    if (head.kind != SX_MSGPACK_ARRAY) return STRATA_E_TYPE;
    if (index >= head.number) return STRATA_E_END;
    const uint8_t *at = array.at + head.head_size;
    for (uint32_t i = 0; i < index; i++) {
        at = sx_msgpack_value_end(at, array.end);
        if (at == NULL) return STRATA_E_CORRUPT;
    }
    if (at == array.end) return STRATA_E_CORRUPT;
    *out = (strata_field){at, array.end};
    return STRATA_OK;
}

int32_t strata_field_get(strata_field map, const char *name, strata_field *out) {
    sx_msgpack_head head;
    if (!sx_msgpack_head_decode(map.at, map.end, &head)) return STRATA_E_CORRUPT;
    if (head.kind != SX_MSGPACK_MAP) return STRATA_E_TYPE;
    size_t size = strlen(name);
    const uint8_t *at = map.at + head.head_size;
    for (uint64_t i = 0; i < head.number; i++) {
        sx_msgpack_head key;
        if (!sx_msgpack_head_decode(at, map.end, &key)) return STRATA_E_CORRUPT;
        const uint8_t *value = sx_msgpack_value_end(at, map.end);
        if (value == NULL || value == map.end) return STRATA_E_CORRUPT;
        if (is_text(&key) && key.body_size == size && memcmp(at + key.head_size, name, size) == 0) {
            *out = (strata_field){value, map.end};
            return STRATA_OK;
        }
        at = sx_msgpack_value_end(value, map.end);
        if (at == NULL) return STRATA_E_CORRUPT;
    }
    return STRATA_E_END;
}
