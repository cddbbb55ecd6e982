/* SPDX-License-Identifier: Apache-2.0 */
/* Payloads as they are stored: compressed where options or policy say so and it pays; and so in L1 where the policy says so. */
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

/* An item of a value that is new, which is kept compressed where the policy says so; what L2 is to hold else than the item's bytes goes
   into packed, which is all zero. stored: it may be kept at all. NULL when out of memory. Any thread. */
sx_item *sx_packed_create(const strata_namespace *ns, const sx_policy *policy, strata_bytes key, strata_bytes value, bool stored,
                          sx_item_facts *facts, sx_packed *packed);
void sx_packed_deinit(sx_packed *packed);
/* What stands in L2 for an item of that identity and lifetime: its value as it is, or packed. Points into both. */
sx_envelope sx_packed_envelope(const sx_item *item, const sx_packed *packed, uint64_t id, const sx_lifetime *life);

/* An item of the envelope's payload, which is sound; kept compressed, where it is and keeps says so. STRATA_OK; STRATA_E_CORRUPT; STRATA_E_NOMEM. */
int32_t sx_packed_item(strata *engine, const void *key, size_t key_size, const sx_envelope *envelope, bool keeps, sx_item_facts *facts,
                       sx_item **out);

static inline bool sx_item_is_packed(const sx_item *item) { return (item->flags & SX_ITEM_PACKED) != 0; }
/* An item of the value alone, as it was before it was packed, with the same version. Any thread; who is pinned may give one of L1. As above. */
int32_t sx_packed_undo(strata *engine, const sx_item *item, sx_item **out);

#endif
