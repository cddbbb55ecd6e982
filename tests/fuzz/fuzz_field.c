/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzzes reading in place: a root that was accepted can be walked to its end without a single failure. */
#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <strata/value.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What each call may answer about a field, by its type. */
static void check_scalar(strata_field field, strata_type type) {
    int truth;
    int64_t integer;
    uint64_t natural;
    double real;
    strata_bytes bytes;
    bool is_number = type == STRATA_TYPE_INT || type == STRATA_TYPE_UINT;
    assert((strata_field_bool(field, &truth) == STRATA_OK) == (type == STRATA_TYPE_BOOL));
    int32_t as_int = strata_field_int(field, &integer);
    int32_t as_uint = strata_field_uint(field, &natural);
    assert((as_int == STRATA_OK) == (type == STRATA_TYPE_INT));
    assert(as_uint != STRATA_OK || is_number);
    assert(as_int != STRATA_OK || as_uint != STRATA_OK || (integer >= 0 && (uint64_t)integer == natural));
    assert((strata_field_double(field, &real) == STRATA_OK) == (is_number || type == STRATA_TYPE_DOUBLE));
    bool is_text = type == STRATA_TYPE_STR || type == STRATA_TYPE_BIN;
    assert((strata_field_bytes(field, &bytes) == STRATA_OK) == is_text);
    if (is_text) assert((const uint8_t *)bytes.data + bytes.size <= field.end);
}

/* Visits everything below a container; depth is bounded by what the root allows. */
static void walk(strata_field field, int depth) {
    strata_type type;
    assert(depth <= 64);
    assert(strata_field_type(field, &type) == STRATA_OK);
    check_scalar(field, type);
    uint32_t count = 0;
    bool container = type == STRATA_TYPE_ARRAY || type == STRATA_TYPE_MAP;
    assert((strata_field_count(field, &count) == STRATA_OK) == container);
    strata_field element, found;
    if (!container) return;
    uint64_t elements = type == STRATA_TYPE_MAP ? 2 * (uint64_t)count : count;
    assert(strata_field_first(field, &element) == (count == 0 ? STRATA_E_END : STRATA_OK));
    for (uint64_t i = 0; i < elements; i++) {
        if (type == STRATA_TYPE_ARRAY && i < 4) {
            assert(strata_field_at(field, (uint32_t)i, &found) == STRATA_OK && found.at == element.at);
        }
        walk(element, depth + 1);
        int32_t next = strata_field_next(element, &element);
        assert(next == STRATA_OK || (next == STRATA_E_END && i + 1 == elements));
    }
    if (type == STRATA_TYPE_ARRAY) assert(strata_field_at(field, count, &found) == STRATA_E_END);
    if (type == STRATA_TYPE_MAP) {
        int32_t status = strata_field_get(field, "name", &found);
        assert(status == STRATA_OK || status == STRATA_E_END);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    strata_field root = {data, data + size};
    strata_field found;
    strata_type type;
    /* Unchecked bytes: any answer, but never outside them. */
    (void)strata_field_type(root, &type);
    (void)strata_field_first(root, &found);
    (void)strata_field_at(root, 3, &found);
    (void)strata_field_get(root, "name", &found);
    (void)strata_field_next(root, &found);
    if (strata_field_root((strata_bytes){data, size}, &root) == STRATA_OK) walk(root, 0);
    return 0;
}
