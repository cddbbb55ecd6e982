/* SPDX-License-Identifier: Apache-2.0 */
/* msgpack for the wire: writers over msgpack-c's packer, and readers that trust no length they are told. */
#include "core/codec/msgpack.h"

#include <msgpack.h>

/* ---- writers -------------------------------------------------------------------------------------------------- */

static int append(void *context, const char *bytes, size_t size) {
    sx_buf *buf = context;
    sx_buf_append(buf, bytes, size);
    return buf->failed ? -1 : 0;
}

static msgpack_packer packer_over(sx_buf *buf) {
    msgpack_packer packer;
    msgpack_packer_init(&packer, buf, append);
    return packer;
}

/* What the packer answers is in buf->failed already. */
void sx_msgpack_write_nil(sx_buf *buf) {
    msgpack_packer packer = packer_over(buf);
    (void)msgpack_pack_nil(&packer);
}

void sx_msgpack_write_uint(sx_buf *buf, uint64_t value) {
    msgpack_packer packer = packer_over(buf);
    (void)msgpack_pack_uint64(&packer, value);
}

void sx_msgpack_write_int(sx_buf *buf, int64_t value) {
    msgpack_packer packer = packer_over(buf);
    (void)msgpack_pack_int64(&packer, value);
}

void sx_msgpack_write_bin_header(sx_buf *buf, uint32_t size) {
    msgpack_packer packer = packer_over(buf);
    (void)msgpack_pack_bin(&packer, size);
}

void sx_msgpack_write_bin(sx_buf *buf, const void *bytes, size_t size) {
    if (size > UINT32_MAX) {
        buf->failed = true;
        return;
    }
    sx_msgpack_write_bin_header(buf, (uint32_t)size);
    sx_buf_append(buf, bytes, size);
}

void sx_msgpack_write_str(sx_buf *buf, const void *bytes, size_t size) {
    if (size > UINT32_MAX) {
        buf->failed = true;
        return;
    }
    msgpack_packer packer = packer_over(buf);
    (void)msgpack_pack_str(&packer, size);
    sx_buf_append(buf, bytes, size);
}

void sx_msgpack_write_array(sx_buf *buf, uint32_t count) {
    msgpack_packer packer = packer_over(buf);
    (void)msgpack_pack_array(&packer, count);
}

void sx_msgpack_write_map(sx_buf *buf, uint32_t pairs) {
    msgpack_packer packer = packer_over(buf);
    (void)msgpack_pack_map(&packer, pairs);
}

void sx_msgpack_write_uint_fixed(sx_buf *buf, uint64_t value) {
    uint8_t bytes[9] = {0xcf};
    for (int i = 0; i < 8; i++) bytes[8 - i] = (uint8_t)(value >> (8 * i));
    sx_buf_append(buf, bytes, sizeof bytes);
}

/* ---- heads ---------------------------------------------------------------------------------------------------- */

static uint64_t big_endian(const uint8_t *at, size_t size) {
    uint64_t number = 0;
    for (size_t i = 0; i < size; i++) number = number << 8 | at[i];
    return number;
}

static void signed_head(sx_msgpack_head *out, uint64_t number, size_t size) {
    uint64_t sign = UINT64_C(1) << (8 * size - 1);
    out->number = (number ^ sign) - sign;
    out->kind = (number & sign) != 0 ? SX_MSGPACK_INT : SX_MSGPACK_UINT;
}

/* The forms whose first byte holds a number or size besides the type. */
static bool decode_fix(uint8_t first, sx_msgpack_head *out) {
    out->head_size = 1;
    out->body_size = 0;
    if (first <= 0x7f) {
        out->kind = SX_MSGPACK_UINT;
        out->number = first;
    } else if (first <= 0x8f) {
        out->kind = SX_MSGPACK_MAP;
        out->number = first & 0x0f;
    } else if (first <= 0x9f) {
        out->kind = SX_MSGPACK_ARRAY;
        out->number = first & 0x0f;
    } else if (first <= 0xbf) {
        out->kind = SX_MSGPACK_STR;
        out->number = 0;
        out->body_size = first & 0x1f;
    } else if (first >= 0xe0) {
        signed_head(out, first, 1);
    } else {
        return false;
    }
    return true;
}

/* The forms 0xc0 .. 0xdf: a type byte, then as many bytes of number or size as the table says. */
static bool decode_long(const uint8_t *at, size_t left, sx_msgpack_head *out) {
    static const struct {
        uint8_t kind, width, extra; /* extra: a fixed payload, for fixext */
    } forms[32] = {
        [0x00] = {SX_MSGPACK_NIL, 0, 0},    [0x02] = {SX_MSGPACK_BOOL, 0, 0},
        [0x03] = {SX_MSGPACK_BOOL, 0, 0},   [0x04] = {SX_MSGPACK_BIN, 1, 0},
        [0x05] = {SX_MSGPACK_BIN, 2, 0},    [0x06] = {SX_MSGPACK_BIN, 4, 0},
        [0x07] = {SX_MSGPACK_EXT, 1, 0},    [0x08] = {SX_MSGPACK_EXT, 2, 0},
        [0x09] = {SX_MSGPACK_EXT, 4, 0},    [0x0a] = {SX_MSGPACK_FLOAT, 4, 0},
        [0x0b] = {SX_MSGPACK_DOUBLE, 8, 0}, [0x0c] = {SX_MSGPACK_UINT, 1, 0},
        [0x0d] = {SX_MSGPACK_UINT, 2, 0},   [0x0e] = {SX_MSGPACK_UINT, 4, 0},
        [0x0f] = {SX_MSGPACK_UINT, 8, 0},   [0x10] = {SX_MSGPACK_INT, 1, 0},
        [0x11] = {SX_MSGPACK_INT, 2, 0},    [0x12] = {SX_MSGPACK_INT, 4, 0},
        [0x13] = {SX_MSGPACK_INT, 8, 0},    [0x14] = {SX_MSGPACK_EXT, 0, 1},
        [0x15] = {SX_MSGPACK_EXT, 0, 2},    [0x16] = {SX_MSGPACK_EXT, 0, 4},
        [0x17] = {SX_MSGPACK_EXT, 0, 8},    [0x18] = {SX_MSGPACK_EXT, 0, 16},
        [0x19] = {SX_MSGPACK_STR, 1, 0},    [0x1a] = {SX_MSGPACK_STR, 2, 0},
        [0x1b] = {SX_MSGPACK_STR, 4, 0},    [0x1c] = {SX_MSGPACK_ARRAY, 2, 0},
        [0x1d] = {SX_MSGPACK_ARRAY, 4, 0},  [0x1e] = {SX_MSGPACK_MAP, 2, 0},
        [0x1f] = {SX_MSGPACK_MAP, 4, 0},
    };
    unsigned form = *at - 0xc0u;
    size_t width = forms[form].width;
    if (form == 0x01 || left < 1 + width) return false; /* 0xc1 is never used */
    uint64_t number = big_endian(at + 1, width);
    out->kind = (sx_msgpack_kind)forms[form].kind;
    out->number = number;
    out->head_size = 1 + width;
    out->body_size = 0;
    switch (out->kind) {
    case SX_MSGPACK_BOOL: out->number = form - 0x02; break;
    case SX_MSGPACK_INT: signed_head(out, number, width); break;
    case SX_MSGPACK_EXT:
        out->head_size++; /* its type */
        out->body_size = width != 0 ? (size_t)number : forms[form].extra;
        break;
    case SX_MSGPACK_STR:
    case SX_MSGPACK_BIN: out->body_size = (size_t)number; break;
    default: break;
    }
    return true;
}

bool sx_msgpack_head_decode(const uint8_t *at, const uint8_t *end, sx_msgpack_head *out) {
    if (at == NULL || at >= end) return false;
    size_t left = (size_t)(end - at);
    if (!(*at >= 0xc0 && *at < 0xe0 ? decode_long(at, left, out) : decode_fix(*at, out))) return false;
    if (out->head_size > left) return false;
    left -= out->head_size;
    if (out->kind == SX_MSGPACK_ARRAY) return out->number <= left;
    if (out->kind == SX_MSGPACK_MAP) return out->number <= left / 2;
    return out->body_size <= left;
}

const uint8_t *sx_msgpack_value_end(const uint8_t *at, const uint8_t *end) {
    uint64_t missing[SX_MSGPACK_DEPTH_MAX]; /* values still to come, of each container that is open */
    size_t depth = 0;
    for (;;) {
        sx_msgpack_head head;
        if (!sx_msgpack_head_decode(at, end, &head)) return NULL;
        at += head.head_size + head.body_size;
        uint64_t elements = 0;
        if (head.kind == SX_MSGPACK_ARRAY) elements = head.number;
        if (head.kind == SX_MSGPACK_MAP) elements = 2 * head.number;
        if (head.kind == SX_MSGPACK_ARRAY || head.kind == SX_MSGPACK_MAP) {
            if (depth == SX_MSGPACK_DEPTH_MAX) return NULL; /* an empty one counts too */
            if (elements != 0) {
                missing[depth++] = elements;
                continue;
            }
        }
        while (depth > 0 && --missing[depth - 1] == 0) depth--;
        if (depth == 0) return at;
    }
}

/* ---- reader --------------------------------------------------------------------------------------------------- */

/* The next head, consumed; or false, and the failure sticks. */
static bool next_head(sx_msgpack_reader *reader, sx_msgpack_head *head) {
    if (reader->ok && sx_msgpack_head_decode(reader->at, reader->end, head)) return true;
    reader->ok = false;
    return false;
}

uint64_t sx_msgpack_read_uint(sx_msgpack_reader *reader) {
    sx_msgpack_head head;
    if (!next_head(reader, &head)) return 0;
    if (head.kind != SX_MSGPACK_UINT) {
        reader->ok = false;
        return 0;
    }
    reader->at += head.head_size;
    return head.number;
}

int64_t sx_msgpack_read_int(sx_msgpack_reader *reader) {
    sx_msgpack_head head;
    if (!next_head(reader, &head)) return 0;
    bool fits = head.kind == SX_MSGPACK_INT || (head.kind == SX_MSGPACK_UINT && head.number <= INT64_MAX);
    if (!fits) {
        reader->ok = false;
        return 0;
    }
    reader->at += head.head_size;
    return (int64_t)head.number;
}

uint32_t sx_msgpack_read_array(sx_msgpack_reader *reader) {
    sx_msgpack_head head;
    if (!next_head(reader, &head)) return 0;
    if (head.kind != SX_MSGPACK_ARRAY) {
        reader->ok = false;
        return 0;
    }
    reader->at += head.head_size;
    return (uint32_t)head.number;
}

const uint8_t *sx_msgpack_read_bytes(sx_msgpack_reader *reader, size_t *size) {
    sx_msgpack_head head;
    *size = 0;
    if (!next_head(reader, &head)) return NULL;
    if (head.kind != SX_MSGPACK_STR && head.kind != SX_MSGPACK_BIN) {
        reader->ok = false;
        return NULL;
    }
    const uint8_t *bytes = reader->at + head.head_size;
    reader->at = bytes + head.body_size;
    *size = head.body_size;
    return bytes;
}

bool sx_msgpack_read_nil(sx_msgpack_reader *reader) {
    if (!reader->ok || reader->at >= reader->end || *reader->at != 0xc0) return false;
    reader->at++;
    return true;
}

void sx_msgpack_skip(sx_msgpack_reader *reader) {
    if (!reader->ok) return;
    const uint8_t *next = sx_msgpack_value_end(reader->at, reader->end);
    if (next != NULL) {
        reader->at = next;
    } else {
        reader->ok = false;
    }
}
