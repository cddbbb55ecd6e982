/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzzes the RESP parser beside hiredis' reader: a message of RESP2 that we accept is one to hiredis too, has the same end
   and the same value, and neither sees it in anything shorter. We refuse more than hiredis does. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <hiredis/hiredis.h>

#include <strata/status.h>

#include "l2/redis/resp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool is_text(const sx_resp *ours, const redisReply *theirs) {
    return ours->size == (size_t)theirs->len && memcmp(ours->text, theirs->str, ours->size) == 0;
}

static bool same(const sx_resp *ours, const redisReply *theirs) {
    switch (theirs->type) {
    case REDIS_REPLY_NIL: return ours->type == SX_RESP_NULL;
    case REDIS_REPLY_INTEGER: return ours->type == SX_RESP_INTEGER && ours->integer == theirs->integer;
    case REDIS_REPLY_ERROR: return ours->type == SX_RESP_ERROR && is_text(ours, theirs);
    case REDIS_REPLY_STATUS:
    case REDIS_REPLY_STRING: return ours->type == SX_RESP_STRING && is_text(ours, theirs);
    case REDIS_REPLY_ARRAY:
        if (ours->type != SX_RESP_ARRAY || ours->count != theirs->elements) return false;
        for (uint32_t i = 0; i < ours->count; i++) {
            if (!same(&ours->items[i], theirs->element[i])) return false;
        }
        return true;
    default: return false;
    }
}

/* Whether hiredis 0.14, which knows no RESP3, can be asked: by the types at the beginnings of lines, where a string's own
   bytes may be taken for a type and end the comparison early. */
static bool is_resp2(const uint8_t *data, size_t size) {
    for (size_t at = 0; at < size; at++) {
        if ((at == 0 || data[at - 1] == '\n') && strchr("+-:$*", data[at]) == NULL) return false;
        if (data[at] == 0) return false;
    }
    return true;
}

static void compare(const uint8_t *data, size_t size, const sx_resp *ours) {
    redisReader *reader = redisReaderCreate();
    void *theirs = NULL;
    if (reader == NULL) abort();
    if (redisReaderFeed(reader, (const char *)data, size - 1) != REDIS_OK) abort();
    if (redisReaderGetReply(reader, &theirs) != REDIS_OK || theirs != NULL) abort(); /* one byte is missing */
    if (redisReaderFeed(reader, (const char *)data + size - 1, 1) != REDIS_OK) abort();
    if (redisReaderGetReply(reader, &theirs) != REDIS_OK || theirs == NULL) abort();
    if (reader->pos != reader->len || !same(ours, theirs)) abort();
    freeReplyObject(theirs);
    redisReaderFree(reader);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const sx_resp_limits limits = {.depth_max = 5, .elements_max = 1000, .bulk_bytes_max = 4096};
    if (size > 8192) return 0;
    sx_resp_parser *parser;
    if (sx_resp_parser_create(sx_alloc_default(), &limits, &parser) != STRATA_OK) abort();
    for (size_t begin = 0; begin < size;) {
        size_t consumed = 0, wanted = 0;
        const sx_resp *ours = NULL;
        if (sx_resp_parse(parser, data + begin, size - begin, &consumed, &wanted, &ours) != STRATA_OK) break;
        if (is_resp2(data + begin, consumed)) compare(data + begin, consumed, ours);
        begin += consumed;
    }
    sx_resp_parser_destroy(parser);
    return 0;
}
