/* SPDX-License-Identifier: Apache-2.0 */
/* The counted owner of an instance's item memory: the arena lives until the engine and the last kept value are gone. */
#ifndef SX_CORE_MEMORY_HEAP_H
#define SX_CORE_MEMORY_HEAP_H

#include <stdatomic.h>
#include <stdint.h>

#include "core/memory/alloc.h"
#include "core/memory/spare.h"

struct strata_value;

/* What a room keeps in the heap to count memory that comes back; head of a struct of its own. */
typedef struct sx_heap_ledger {
    size_t size; /* of all of it; allocated from the heap, and released with it */
    void (*left)(struct sx_heap_ledger *ledger, const struct strata_value *item); /* one thread at a time, who reclaims */
} sx_heap_ledger;

/* An item names its heap by number, in a few bits instead of an address's 64 (ADR 0014). Number 0 is the default heap's. */
#define SX_HEAPS_BITS 10
#define SX_HEAPS_MAX (1u << SX_HEAPS_BITS)

typedef struct sx_heap {
    sx_alloc alloc;        /* const after create */
    uint32_t number;       /* const after create; its place in sx_heaps */
    _Atomic int64_t refs;  /* atomic: acq_rel on release [order: heap-free]; the engine's one plus one per kept item */
    _Atomic int64_t payload_freed; /* atomic: relaxed, a sum; one writer at a time, who reclaims: keys and values that L1 let go of */
    sx_heap_ledger *ledger; /* const once items enter L1; NULL: none */
    sx_spares spares;      /* of items that pass L1 by; taken by the engine's loop only */
    int arena;             /* const after create: 1 where alloc is a private arena to be destroyed */
} sx_heap;

/* atomic: relaxed; who has an item was given it since its heap was put here, and the heap leaves after the last item */
extern _Atomic(sx_heap *) sx_heaps[SX_HEAPS_MAX];
static inline sx_heap *sx_heap_at(uint32_t number) {
    return atomic_load_explicit(&sx_heaps[number], memory_order_relaxed); /* relaxed: as above */
}

/* injected NULL: a private arena. The heap's own struct comes from sx_alloc_default or from injected. Returns STRATA_OK,
   STRATA_E_NOMEM, or STRATA_E_OVERLOADED where the process has SX_HEAPS_MAX of them. */
int32_t sx_heap_create(const sx_alloc *injected, sx_heap **out);
/* The process-wide heap behind values made outside any cache; never freed. */
sx_heap *sx_heap_default(void);
void sx_heap_retain(sx_heap *heap);
void sx_heap_release(sx_heap *heap);

/* Who reclaims only: counts keys and values that L1 let go of. Any thread: their sum. */
static inline void sx_heap_count_freed(sx_heap *heap, int64_t payload) {
    /* relaxed: a sum with a single writer at a time */
    atomic_store_explicit(&heap->payload_freed,
                          atomic_load_explicit(&heap->payload_freed, memory_order_relaxed) + payload, memory_order_relaxed);
}
static inline int64_t sx_heap_freed(const sx_heap *heap) {
    return atomic_load_explicit(&heap->payload_freed, memory_order_relaxed); /* relaxed: a sum */
}

#endif
