/* SPDX-License-Identifier: Apache-2.0 */
/* The item: one immutable value with its key and version, counted, shared by L1, flights and callers without copies. */
#ifndef SX_CORE_MEMORY_ITEM_H
#define SX_CORE_MEMORY_ITEM_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/memory/heap.h"

#define SX_EXPIRES_NEVER INT64_MAX

/* Facts about a value, filled by whoever makes the item. */
typedef struct sx_item_facts {
    uint64_t n;             /* version's order; 0 where it has none (no L2) */
    uint64_t id;            /* version's identity */
    uint64_t app_version;   /* 0 for none */
    int64_t written_ms;     /* when it was written, on the engine's clock; INT64_MIN unknown */
    int64_t expires_ns;     /* engine clock; SX_EXPIRES_NEVER */
    uint64_t generation;    /* the partition's, when it was proven */
    uint16_t ns;            /* namespace index */
    uint16_t partition;
} sx_item_facts;

/* The public strata_value is an item. Layout: this header, the value (aligned to 8), then the key. Everything is const
   once the item is shared, except refs and generation. */
typedef struct strata_value {
    sx_heap *heap;
    _Atomic uint32_t refs;       /* atomic: acq_rel on release [order: item-free]; bit 31: kept outside the engine */
    uint32_t value_size;
    uint64_t n;
    uint64_t id;
    uint64_t app_version;
    int64_t written_ms;
    int64_t expires_ns;
    _Atomic uint64_t generation; /* atomic: relaxed; restamped after revalidation, checked against the trust word */
    uint16_t ns;
    uint16_t partition;
    uint16_t key_size;
    uint16_t flags;
} sx_item;

/* A new item with one reference; value bytes are copied unless value is NULL (then the caller fills them before it
   shares the item). NULL when out of memory. */
sx_item *sx_item_create(sx_heap *heap, const void *key, size_t key_size, const void *value, size_t value_size,
                        const sx_item_facts *facts);
static inline uint8_t *sx_item_value(const sx_item *item) {
    return (uint8_t *)(uintptr_t)(item + 1);
}
static inline uint8_t *sx_item_key(const sx_item *item) {
    return (uint8_t *)(uintptr_t)(item + 1) + item->value_size;
}
/* Bytes asked from the allocator, and bytes they occupy. */
size_t sx_item_size(const sx_item *item);
size_t sx_item_footprint(const sx_item *item);

/* The caller holds a reference, or is pinned while the item is reachable. */
void sx_item_retain(sx_item *item);
/* As retain, for a reference that may outlive the engine: keeps the heap too. */
void sx_item_retain_outside(sx_item *item);
void sx_item_release(sx_item *item);

#endif
