/* SPDX-License-Identifier: Apache-2.0 */
/* The incremental RESP parser: values are understood once, kept as offsets until the message is whole, then pointed at.

   Finished values wait on a stack; when an aggregate has all of its children, they move from the stack's top into the
   items, so that they lie side by side, and the aggregate takes their place. So memory follows what was received, never
   what a header promises, and an incomplete message costs nothing when more bytes arrive. */
#include "l2/redis/resp.h"

#include <assert.h>
#include <locale.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <strata/status.h>

#include "core/memory/atomic.h"

enum {
    FRAMES_MAX = 16,
    LINE_BYTES_MAX = 64 * 1024, /* simple strings, errors, big numbers */
    NUMBER_BYTES_MAX = 20,      /* "-9223372036854775808" */
    DOUBLE_BYTES_MAX = 64,
    VALUES_KEEP = 4096          /* values' memory kept between messages */
};

/* An aggregate whose children are still coming. */
typedef struct frame {
    sx_resp_type type;
    bool attribute;
    uint32_t count;     /* as the caller will see it */
    uint32_t remaining; /* values still to come */
    size_t base;        /* where its children begin on the stack */
    size_t items_mark;  /* items before it: an attribute gives back the rest */
} frame;

typedef struct values {
    sx_resp *at;
    size_t size, capacity;
} values;

struct sx_resp_parser {
    const sx_alloc *alloc;
    sx_resp_limits limits;
    size_t at;       /* understood so far */
    size_t scanned;  /* searched for a line's end so far; 0 or > at */
    size_t bulk;     /* where the body of an open bulk begins; 0 none */
    size_t bulk_size;
    uint8_t bulk_kind;
    int32_t lost;    /* status once the stream is lost */
    uint32_t elements;
    uint32_t depth;
    values stack, items;
    sx_resp top;
    frame frames[FRAMES_MAX];
    char error[160];
};

int32_t sx_resp_parser_create(const sx_alloc *alloc, const sx_resp_limits *limits, sx_resp_parser **out) {
    assert(limits->depth_max >= 1 && limits->depth_max <= FRAMES_MAX);
    sx_resp_parser *parser = sx_allocate_zero(alloc, sizeof *parser);
    if (parser == NULL) return STRATA_E_NOMEM;
    parser->alloc = alloc;
    parser->limits = *limits;
    if (parser->limits.bulk_bytes_max > SIZE_MAX / 4) parser->limits.bulk_bytes_max = SIZE_MAX / 4;
    *out = parser;
    return STRATA_OK;
}

static void values_free(sx_resp_parser *parser, values *v) {
    sx_release(parser->alloc, v->at, v->capacity * sizeof *v->at);
    memset(v, 0, sizeof *v);
}

void sx_resp_parser_destroy(sx_resp_parser *parser) {
    if (parser == NULL) return;
    values_free(parser, &parser->stack);
    values_free(parser, &parser->items);
    sx_release(parser->alloc, parser, sizeof *parser);
}

static void begin_message(sx_resp_parser *parser) {
    parser->at = 0;
    parser->scanned = 0;
    parser->bulk = 0;
    parser->elements = 0;
    parser->depth = 0;
    parser->stack.size = 0;
    parser->items.size = 0;
    if (SX_UNLIKELY(parser->stack.capacity > VALUES_KEEP)) values_free(parser, &parser->stack);
    if (SX_UNLIKELY(parser->items.capacity > VALUES_KEEP)) values_free(parser, &parser->items);
}

void sx_resp_parser_reset(sx_resp_parser *parser) {
    begin_message(parser);
    parser->lost = STRATA_OK;
    parser->error[0] = '\0';
}

const char *sx_resp_parser_error(const sx_resp_parser *parser) { return parser->error; }

static int32_t lose(sx_resp_parser *parser, int32_t status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static int32_t lose(sx_resp_parser *parser, int32_t status, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(parser->error, sizeof parser->error, format, arguments);
    va_end(arguments);
    parser->lost = status;
    return status;
}

/* ---- values ---- */

static bool values_room(sx_resp_parser *parser, values *v, size_t more) {
    if (v->capacity - v->size >= more) return true;
    size_t capacity = v->capacity == 0 ? 32 : v->capacity * 2;
    while (capacity - v->size < more) capacity *= 2;
    sx_resp *grown = sx_allocate(parser->alloc, capacity * sizeof *grown);
    if (grown == NULL) return false;
    if (v->size > 0) memcpy(grown, v->at, v->size * sizeof *grown);
    sx_release(parser->alloc, v->at, v->capacity * sizeof *v->at);
    v->at = grown;
    v->capacity = capacity;
    return true;
}

static bool is_aggregate(sx_resp_type type) { return type >= SX_RESP_ARRAY; }
static bool is_text(sx_resp_type type) {
    return type == SX_RESP_STRING || type == SX_RESP_ERROR || type == SX_RESP_BIG_NUMBER;
}

/* Offsets travel in the pointer until the message is whole: the input may move meanwhile. */
static sx_resp text_value(sx_resp_type type, size_t offset, size_t size) {
    sx_resp value = {.type = type, .size = size, .text = (const char *)(uintptr_t)offset};
    return value;
}

static void point(sx_resp *value, const uint8_t *data, const sx_resp *items) {
    if (is_text(value->type)) {
        value->text = (const char *)data + (uintptr_t)value->text;
    } else if (is_aggregate(value->type)) {
        size_t first = value->size; /* the index into items */
        value->items = value->count > 0 ? items + first : NULL;
    }
}

/* The innermost aggregate has all of its children: it becomes a value itself, or nothing if it is an attribute. */
static int32_t close_frame(sx_resp_parser *parser, bool *is_value, sx_resp *value) {
    frame *f = &parser->frames[--parser->depth];
    size_t children = parser->stack.size - f->base;
    *is_value = !f->attribute;
    if (f->attribute) {
        parser->items.size = f->items_mark;
        parser->stack.size = f->base;
        return STRATA_OK;
    }
    sx_resp made = {.type = f->type, .count = f->count, .size = parser->items.size, .items = NULL};
    if (children > 0) {
        if (!values_room(parser, &parser->items, children)) return lose(parser, STRATA_E_NOMEM, "out of memory");
        memcpy(parser->items.at + parser->items.size, parser->stack.at + f->base, children * sizeof made);
        parser->items.size += children;
        parser->stack.size = f->base;
    }
    *value = made;
    return STRATA_OK;
}

/* Takes a finished value. STRATA_OK: it was the message; STRATA_PENDING: more values belong to it. */
static int32_t take(sx_resp_parser *parser, sx_resp value) {
    bool is_value = true;
    for (;;) {
        if (is_value) {
            if (parser->depth == 0) {
                parser->top = value;
                return STRATA_OK;
            }
            if (!values_room(parser, &parser->stack, 1)) return lose(parser, STRATA_E_NOMEM, "out of memory");
            parser->stack.at[parser->stack.size++] = value;
            parser->frames[parser->depth - 1].remaining--;
        }
        if (parser->depth == 0 || parser->frames[parser->depth - 1].remaining > 0) return STRATA_PENDING;
        int32_t status = close_frame(parser, &is_value, &value);
        if (status != STRATA_OK) return status;
    }
}

/* ---- headers ---- */

static bool parse_integer(const uint8_t *text, size_t size, int64_t *out) {
    bool negative = size > 0 && text[0] == '-';
    size_t i = negative ? 1 : 0;
    if (size == i || size > NUMBER_BYTES_MAX) return false;
    if (text[i] == '0' && (size > i + 1 || negative)) return false;
    uint64_t value = 0;
    for (; i < size; i++) {
        uint32_t digit = (uint32_t)text[i] - '0';
        if (digit > 9 || value > (UINT64_MAX - digit) / 10) return false;
        value = value * 10 + digit;
    }
    if (value > (uint64_t)INT64_MAX + (negative ? 1 : 0)) return false;
    *out = negative ? (int64_t)(0 - value) : (int64_t)value;
    return true;
}

static int32_t open_aggregate(sx_resp_parser *parser, uint8_t kind, int64_t count) {
    const uint32_t most = parser->limits.elements_max;
    if (count < 0) return lose(parser, STRATA_E_PROTOCOL, "aggregate of negative size %lld", (long long)count);
    uint64_t children = (uint64_t)count;
    if (kind == '%' || kind == '|') children = children > most ? children : children * 2;
    uint64_t cost = children + (kind == '|' ? 1 : 0); /* empty ones count too: any number may precede a value */
    if (cost > most || parser->elements > most - cost) {
        return lose(parser, STRATA_E_PROTOCOL, "aggregate of %lld: a message may hold %u values", (long long)count, most);
    }
    if (parser->depth >= parser->limits.depth_max) {
        return lose(parser, STRATA_E_PROTOCOL, "nested deeper than %u", parser->limits.depth_max);
    }
    if (kind == '>' && parser->depth > 0) return lose(parser, STRATA_E_PROTOCOL, "push inside another value");
    parser->elements += (uint32_t)cost;
    frame *f = &parser->frames[parser->depth++];
    f->type = kind == '*' ? SX_RESP_ARRAY : kind == '~' ? SX_RESP_SET : kind == '>' ? SX_RESP_PUSH : SX_RESP_MAP;
    f->attribute = kind == '|';
    f->count = (uint32_t)count;
    f->remaining = (uint32_t)children;
    f->base = parser->stack.size;
    f->items_mark = parser->items.size;
    if (children > 0) return STRATA_PENDING;
    bool is_value;
    sx_resp value;
    int32_t status = close_frame(parser, &is_value, &value);
    if (status != STRATA_OK) return status;
    return is_value ? take(parser, value) : STRATA_PENDING;
}

static int32_t open_bulk(sx_resp_parser *parser, uint8_t kind, int64_t size) {
    if (size < 0) return lose(parser, STRATA_E_PROTOCOL, "string of negative length %lld", (long long)size);
    if ((uint64_t)size > parser->limits.bulk_bytes_max) {
        return lose(parser, STRATA_E_PROTOCOL, "string of %lld bytes: at most %zu", (long long)size,
                    parser->limits.bulk_bytes_max);
    }
    if (kind == '=' && size < 4) return lose(parser, STRATA_E_PROTOCOL, "verbatim string without a format");
    parser->bulk = parser->at;
    parser->bulk_size = (size_t)size;
    parser->bulk_kind = kind;
    return STRATA_PENDING;
}

static bool parse_double(const uint8_t *text, size_t size, double *out) {
    char copy[DOUBLE_BYTES_MAX + 1];
    if (size == 0 || size > DOUBLE_BYTES_MAX) return false;
    memcpy(copy, text, size);
    copy[size] = '\0';
    bool word = strcmp(copy, "inf") == 0 || strcmp(copy, "-inf") == 0 || strcmp(copy, "nan") == 0 ||
                strcmp(copy, "-nan") == 0;
    if (!word && strspn(copy, "0123456789+-.eE") != size) return false;
    locale_t plain = newlocale(LC_ALL_MASK, "C", (locale_t)0); /* the program's locale may write a comma */
    if (plain == (locale_t)0) return false;
    char *end;
    *out = strtod_l(copy, &end, plain);
    freelocale(plain);
    return end == copy + size;
}

static bool is_big_number(const uint8_t *text, size_t size) {
    size_t i = size > 0 && (text[0] == '-' || text[0] == '+') ? 1 : 0;
    if (i == size) return false;
    for (; i < size; i++) {
        if (text[i] < '0' || text[i] > '9') return false;
    }
    return true;
}

/* A line that is a whole value. offset is where its text begins. */
static int32_t scalar(sx_resp_parser *parser, uint8_t kind, const uint8_t *text, size_t offset, size_t size) {
    sx_resp value = {.type = SX_RESP_NULL, .integer = 0, .text = NULL};
    bool ok = true;
    switch (kind) {
    case '+': value = text_value(SX_RESP_STRING, offset, size); break;
    case '-': value = text_value(SX_RESP_ERROR, offset, size); break;
    case ':':
        value.type = SX_RESP_INTEGER;
        ok = parse_integer(text, size, &value.integer);
        break;
    case ',':
        value.type = SX_RESP_DOUBLE;
        ok = parse_double(text, size, &value.number);
        break;
    case '#':
        value.type = SX_RESP_BOOLEAN;
        value.integer = size == 1 && text[0] == 't';
        ok = size == 1 && (text[0] == 't' || text[0] == 'f');
        break;
    case '(':
        value = text_value(SX_RESP_BIG_NUMBER, offset, size);
        ok = is_big_number(text, size);
        break;
    default: ok = size == 0; break; /* '_' */
    }
    if (!ok) return lose(parser, STRATA_E_PROTOCOL, "malformed value of type '%c'", kind);
    return take(parser, value);
}

static int32_t line(sx_resp_parser *parser, uint8_t kind, const uint8_t *text, size_t offset, size_t size) {
    int64_t number;
    switch (kind) {
    case '$': case '!': case '=': case '*': case '%': case '~': case '>': case '|':
        if (!parse_integer(text, size, &number)) {
            return lose(parser, STRATA_E_PROTOCOL, "malformed length after '%c'", kind);
        }
        if (number == -1 && (kind == '$' || kind == '*')) return scalar(parser, '_', text, offset, 0);
        if (kind == '$' || kind == '!' || kind == '=') return open_bulk(parser, kind, number);
        return open_aggregate(parser, kind, number);
    default: return scalar(parser, kind, text, offset, size);
    }
}

static size_t line_bytes_max(uint8_t kind) {
    switch (kind) {
    case '+': case '-': case '(': return LINE_BYTES_MAX;
    case ',': return DOUBLE_BYTES_MAX;
    case '$': case '!': case '=': case '*': case '%': case '~': case '>': case '|': case ':': return NUMBER_BYTES_MAX;
    case '#': case '_': return 1;
    default: return 0;
    }
}

/* ---- the loop over the input ---- */

static int32_t lose_type(sx_resp_parser *parser, uint8_t kind) {
    return lose(parser, STRATA_E_PROTOCOL, "0x%02x is no type of value", kind);
}

/* One line at parser->at. STRATA_MISS: not all of it is there. */
static int32_t step_line(sx_resp_parser *parser, const uint8_t *data, size_t size) {
    uint8_t kind = data[parser->at];
    size_t most = line_bytes_max(kind);
    if (SX_UNLIKELY(most == 0)) return lose_type(parser, kind);
    size_t text = parser->at + 1;
    size_t from = parser->scanned > text ? parser->scanned : text;
    const uint8_t *end = from < size ? memchr(data + from, '\r', size - from) : NULL;
    size_t stop = end != NULL ? (size_t)(end - data) : size;
    if (SX_UNLIKELY(stop - text > most)) {
        return lose(parser, STRATA_E_PROTOCOL, "line of type '%c' longer than %zu bytes", kind, most);
    }
    if (end == NULL || stop + 1 == size) {
        parser->scanned = stop;
        return STRATA_MISS;
    }
    if (SX_UNLIKELY(data[stop + 1] != '\n')) return lose(parser, STRATA_E_PROTOCOL, "carriage return inside a line");
    parser->at = stop + 2;
    parser->scanned = 0;
    return line(parser, kind, data + text, text, stop - text);
}

/* The body of a bulk. STRATA_MISS: not all of it is there. */
static int32_t step_bulk(sx_resp_parser *parser, const uint8_t *data, size_t size) {
    size_t end = parser->bulk + parser->bulk_size;
    if (size - parser->bulk < parser->bulk_size + 2) return STRATA_MISS;
    if (SX_UNLIKELY(data[end] != '\r' || data[end + 1] != '\n')) {
        return lose(parser, STRATA_E_PROTOCOL, "string of %zu bytes not followed by a line's end", parser->bulk_size);
    }
    size_t skip = parser->bulk_kind == '=' ? 4 : 0;
    if (SX_UNLIKELY(skip > 0 && data[parser->bulk + 3] != ':')) {
        return lose(parser, STRATA_E_PROTOCOL, "verbatim string without a format");
    }
    sx_resp value = text_value(parser->bulk_kind == '!' ? SX_RESP_ERROR : SX_RESP_STRING, parser->bulk + skip,
                               parser->bulk_size - skip);
    parser->at = end + 2;
    parser->bulk = 0;
    return take(parser, value);
}

static void finish(sx_resp_parser *parser, const uint8_t *data, size_t *consumed, const sx_resp **out) {
    for (size_t i = 0; i < parser->items.size; i++) point(&parser->items.at[i], data, parser->items.at);
    point(&parser->top, data, parser->items.at);
    *consumed = parser->at;
    *out = &parser->top;
    parser->at = 0; /* the rest is emptied when the next message begins: the caller reads it until then */
}

int32_t sx_resp_parse(sx_resp_parser *parser, const uint8_t *data, size_t size, size_t *consumed, size_t *wanted,
                      const sx_resp **out) {
    if (parser->lost != STRATA_OK) return parser->lost;
    if (parser->at == 0 && parser->scanned == 0) begin_message(parser);
    for (;;) {
        int32_t status = STRATA_MISS;
        if (parser->bulk != 0) {
            status = step_bulk(parser, data, size);
        } else if (parser->at < size) {
            status = step_line(parser, data, size);
        }
        if (status == STRATA_PENDING) continue;
        if (status == STRATA_OK) {
            finish(parser, data, consumed, out);
            return STRATA_OK;
        }
        if (status != STRATA_MISS) return status;
        *wanted = parser->bulk != 0 ? parser->bulk + parser->bulk_size + 2 : size + 1;
        return STRATA_PENDING;
    }
}

/* ---- reading replies ---- */

bool sx_resp_is_text(const sx_resp *value, const char *text) {
    return value != NULL && value->type == SX_RESP_STRING && value->size == strlen(text) &&
           memcmp(value->text, text, value->size) == 0;
}

bool sx_resp_to_uint(const sx_resp *value, uint64_t *out) {
    if (value == NULL) return false;
    if (value->type == SX_RESP_INTEGER) {
        if (value->integer < 0) return false;
        *out = (uint64_t)value->integer;
        return true;
    }
    if (value->type != SX_RESP_STRING || value->size == 0 || value->size > NUMBER_BYTES_MAX) return false;
    uint64_t number = 0;
    for (size_t i = 0; i < value->size; i++) {
        uint32_t digit = (uint32_t)(uint8_t)value->text[i] - '0';
        if (digit > 9 || number > (UINT64_MAX - digit) / 10) return false;
        number = number * 10 + digit;
    }
    *out = number;
    return true;
}

const sx_resp *sx_resp_map_get(const sx_resp *map, const char *key) {
    if (map == NULL || (map->type != SX_RESP_MAP && map->type != SX_RESP_ARRAY)) return NULL;
    size_t pairs = map->type == SX_RESP_MAP ? map->count : map->count / 2;
    for (size_t i = 0; i < pairs; i++) {
        if (sx_resp_is_text(&map->items[2 * i], key)) return &map->items[2 * i + 1];
    }
    return NULL;
}
