/* SPDX-License-Identifier: Apache-2.0 */
/* Payloads as they are stored: compressed where the options say so and it pays. */
#ifndef SX_CORE_FLOW_PACK_H
#define SX_CORE_FLOW_PACK_H

#include <strata/strata.h>

#include "core/codec/compress.h"
#include "core/flow/policy.h"
#include "core/memory/item.h"
#include "l2/envelope.h"

/* A value's compressed bytes, made where the value comes from, so that the loop never does it. All zero: none. */
typedef struct sx_packed {
    sx_buf bytes;
    sx_compression how;
} sx_packed;

/* Into one that is all zero. Any thread. */
void sx_packed_make(strata *engine, sx_packed *packed, const void *value, size_t size);
void sx_packed_deinit(sx_packed *packed);
/* What stands in L2 for an item of that identity and lifetime: its value as it is, or packed. Points into both. */
sx_envelope sx_packed_envelope(const sx_item *item, const sx_packed *packed, uint64_t id, const sx_lifetime *life);

/* An item of the envelope's payload, unpacked. STRATA_OK; STRATA_E_CORRUPT; STRATA_E_NOMEM. */
int32_t sx_packed_item(strata *engine, const void *key, size_t key_size, const sx_envelope *envelope,
                       const sx_item_facts *facts, sx_item **out);

#endif
