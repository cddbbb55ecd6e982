/* SPDX-License-Identifier: Apache-2.0 */
/* RESP3 (and 2): an incremental, bounded parser that points into the read buffer, and the encoder of commands. */
#ifndef SX_L2_REDIS_RESP_H
#define SX_L2_REDIS_RESP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/memory/buf.h"

typedef enum sx_resp_type {
    SX_RESP_NULL,
    SX_RESP_STRING, /* simple, bulk and verbatim (without its format prefix) */
    SX_RESP_ERROR,  /* simple and blob; text without the '-' */
    SX_RESP_INTEGER,
    SX_RESP_DOUBLE,
    SX_RESP_BOOLEAN,
    SX_RESP_BIG_NUMBER, /* its digits as text */
    SX_RESP_ARRAY,
    SX_RESP_MAP, /* count is pairs; items holds 2 x count */
    SX_RESP_SET,
    SX_RESP_PUSH
} sx_resp_type;

/* One parsed value. Pointers live until the next parse call or until the input moves. */
typedef struct sx_resp {
    sx_resp_type type;
    uint32_t count;            /* aggregates */
    union {
        int64_t integer;       /* INTEGER, BOOLEAN */
        double number;         /* DOUBLE */
        size_t size;           /* text types */
    };
    union {
        const char *text;      /* text types, not zero-terminated */
        const struct sx_resp *items; /* aggregates */
    };
} sx_resp;

typedef struct sx_resp_limits {
    uint32_t depth_max;    /* 1 .. 16 */
    uint32_t elements_max; /* values in one message */
    size_t bulk_bytes_max; /* one string */
} sx_resp_limits;

/* owner: one connection. Remembers how far an incomplete message was understood, so that feeding it byte by byte costs
   no more than linear time. Attributes ('|') are skipped. */
typedef struct sx_resp_parser sx_resp_parser;

int32_t sx_resp_parser_create(const sx_alloc *alloc, const sx_resp_limits *limits, sx_resp_parser **out);
void sx_resp_parser_destroy(sx_resp_parser *parser);

/* Parses one message at the start of data. data may have moved since the last call, but must begin with the same bytes
   and be at least as long while a message is incomplete.
   Returns STRATA_OK with *out and *consumed; STRATA_PENDING where more bytes are needed (*wanted: total bytes known to
   be needed, a hint for growing the buffer); STRATA_E_PROTOCOL or STRATA_E_NOMEM: the stream is lost,
   sx_resp_parser_error says why. */
int32_t sx_resp_parse(sx_resp_parser *parser, const uint8_t *data, size_t size, size_t *consumed, size_t *wanted,
                      const sx_resp **out);
const char *sx_resp_parser_error(const sx_resp_parser *parser);
void sx_resp_parser_reset(sx_resp_parser *parser);

/* ---- reading replies without trusting them ---- */
bool sx_resp_is_text(const sx_resp *value, const char *text); /* STRING equal to text */
bool sx_resp_to_uint(const sx_resp *value, uint64_t *out);    /* INTEGER >= 0, or a STRING of digits that fits */
/* The value of a MAP's (or, in RESP2, flat ARRAY's) text key, or NULL. */
const sx_resp *sx_resp_map_get(const sx_resp *map, const char *key);

/* ---- commands ---- */

/* Arguments of one command, encoded; the "*argc" line is written when it is sent. Failures stick in args. */
typedef struct sx_command {
    sx_buf args;
    uint32_t argc;
} sx_command;

static inline void sx_command_init(sx_command *command, const sx_alloc *alloc) {
    sx_buf_init(&command->args, alloc);
    command->argc = 0;
}
void sx_command_deinit(sx_command *command);
void sx_command_clear(sx_command *command);
void sx_command_arg(sx_command *command, const void *bytes, size_t size);
void sx_command_text(sx_command *command, const char *text);
void sx_command_int(sx_command *command, int64_t value);
/* An argument of size bytes to be filled by the caller at once; NULL after a failure. */
uint8_t *sx_command_arg_space(sx_command *command, size_t size);
/* An argument in parts: between the two calls its bytes are appended to command->args. For short ones: they are moved. */
size_t sx_command_arg_open(sx_command *command);
void sx_command_arg_close(sx_command *command, size_t mark);

#endif
