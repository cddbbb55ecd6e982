/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzzes the RESP parser: any bytes, in one piece, byte by byte and, where they are few, split anywhere in two, are
   understood or refused alike. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <strata/status.h>

#include "l2/redis/resp.h"

enum { SPLIT_MAX = 64 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t mix(uint64_t sum, const sx_resp *value) {
    sum = sum * 31 + (uint64_t)value->type * 7 + value->count;
    if (value->type >= SX_RESP_ARRAY) {
        size_t count = value->type == SX_RESP_MAP ? 2 * (size_t)value->count : value->count;
        for (size_t i = 0; i < count; i++) sum = mix(sum, &value->items[i]);
    } else if (value->type == SX_RESP_STRING || value->type == SX_RESP_ERROR || value->type == SX_RESP_BIG_NUMBER) {
        for (size_t i = 0; i < value->size; i++) sum = sum * 31 + (uint8_t)value->text[i];
    } else if (value->type == SX_RESP_INTEGER || value->type == SX_RESP_BOOLEAN) {
        sum = sum * 31 + (uint64_t)value->integer;
    }
    return sum;
}

/* The first piece has first bytes, the others step. */
static uint64_t run(const uint8_t *data, size_t size, size_t first, size_t step) {
    const sx_resp_limits limits = {.depth_max = 5, .elements_max = 1000, .bulk_bytes_max = 4096};
    sx_resp_parser *parser;
    if (sx_resp_parser_create(sx_alloc_default(), &limits, &parser) != STRATA_OK) abort();
    uint64_t sum = 0;
    size_t begin = 0, have = 0;
    int32_t status = STRATA_PENDING;
    while (have < size && (status == STRATA_PENDING || status == STRATA_OK)) {
        size_t piece = have == 0 ? first : step;
        have = size - have < piece ? size : have + piece;
        uint8_t *copy = malloc(have); /* it may move, and ends where it ends */
        memcpy(copy, data, have);
        while (begin < have) {
            size_t consumed = 0, wanted = 0;
            const sx_resp *value = NULL;
            status = sx_resp_parse(parser, copy + begin, have - begin, &consumed, &wanted, &value);
            if (status == STRATA_PENDING && wanted <= have - begin) abort();
            if (status != STRATA_OK) break;
            if (consumed == 0 || consumed > have - begin) abort();
            sum = mix(sum, value);
            begin += consumed;
        }
        free(copy);
    }
    if (status == STRATA_E_PROTOCOL && sx_resp_parser_error(parser)[0] == '\0') abort();
    sx_resp_parser_destroy(parser);
    return sum + (uint64_t)(status == STRATA_E_PROTOCOL ? 1 : 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0 || size > 8192) return 0;
    uint64_t whole = run(data, size, size, size);
    size_t step = size < 512 ? 1 : 97;
    if (run(data, size, step, step) != whole) abort();
    for (size_t first = 1; first < size && size <= SPLIT_MAX; first++) {
        if (run(data, size, first, size) != whole) abort();
    }
    return 0;
}
