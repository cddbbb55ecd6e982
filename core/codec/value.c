/* SPDX-License-Identifier: Apache-2.0 */
/* Counted values for programs: items, some of which were never in a cache. */
#include <strata/value.h>

#include "core/memory/item.h"

#define VALUE_BYTES_MAX (512u << 20)

int32_t strata_value_create(strata_bytes bytes, strata_value **out) {
    if (out == NULL || (bytes.data == NULL && bytes.size != 0)) return STRATA_E_INVALID;
    if (bytes.size > VALUE_BYTES_MAX) return STRATA_E_VALUE_SIZE;
    const sx_item_facts facts = {.expires_ns = SX_EXPIRES_NEVER, .written_ms = INT64_MIN};
    sx_item *item = sx_item_create(sx_heap_default(), NULL, 0, bytes.data, bytes.size, &facts);
    if (item == NULL) return STRATA_E_NOMEM;
    *out = item;
    return STRATA_OK;
}

strata_value *strata_value_retain(strata_value *value) {
    sx_item_retain_outside(value);
    return value;
}

void strata_value_release(strata_value *value) {
    if (value != NULL) sx_item_release(value);
}

strata_bytes strata_value_bytes(const strata_value *value) {
    return (strata_bytes){sx_item_value(value), value->value_size};
}
