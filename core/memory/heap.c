/* SPDX-License-Identifier: Apache-2.0 */
/* The counted owner of item memory: its creation, its count, and its end. */
#include "core/memory/heap.h"

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>

#include <pthread.h>

#include <strata/status.h>

_Atomic(sx_heap *) sx_heaps[SX_HEAPS_MAX];

/* Gives a heap a number that none has now. False: there is none. */
static bool number_take(sx_heap *heap) {
    for (uint32_t number = 1; number < SX_HEAPS_MAX; number++) {
        if (sx_heap_at(number) != NULL) continue;
        heap->number = number;
        sx_heap *none = NULL; /* relaxed: the exchange decides who has it, nothing is read through it yet */
        if (atomic_compare_exchange_strong_explicit(&sx_heaps[number], &none, heap, memory_order_relaxed, memory_order_relaxed)) return true;
    }
    return false;
}

/* The heap's memory and its struct. */
static void discard(sx_heap *heap) {
    sx_spares_clear(&heap->spares, &heap->alloc);
    sx_alloc alloc = heap->arena ? *sx_alloc_default() : heap->alloc;
    if (heap->arena) sx_alloc_arena_destroy(&heap->alloc);
    sx_release(&alloc, heap, sizeof *heap);
}

int32_t sx_heap_create(const sx_alloc *injected, sx_heap **out) {
    sx_heap *heap = sx_allocate_zero(injected != NULL ? injected : sx_alloc_default(), sizeof *heap);
    if (heap == NULL) return STRATA_E_NOMEM;
    if (injected != NULL) {
        heap->alloc = *injected;
    } else {
        int32_t status = sx_alloc_arena_create(&heap->alloc);
        if (status != STRATA_OK) {
            sx_release(sx_alloc_default(), heap, sizeof *heap);
            return status;
        }
        heap->arena = 1;
    }
    atomic_init(&heap->refs, 1);
    if (!number_take(heap)) {
        discard(heap);
        return STRATA_E_OVERLOADED;
    }
    *out = heap;
    return STRATA_OK;
}

static sx_heap default_heap;

static void default_heap_init(void) {
    default_heap.alloc = *sx_alloc_default();
    atomic_init(&default_heap.refs, 1); /* nobody's, so that it never ends */
    atomic_store_explicit(&sx_heaps[0], &default_heap, memory_order_relaxed); /* relaxed: ordered by the once */
}

sx_heap *sx_heap_default(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, default_heap_init);
    return &default_heap;
}

void sx_heap_retain(sx_heap *heap) {
    /* relaxed: the caller holds a reference, which keeps the count above zero */
    int64_t before = atomic_fetch_add_explicit(&heap->refs, 1, memory_order_relaxed);
    assert(before > 0);
    (void)before;
}

void sx_heap_release(sx_heap *heap) {
    /* [order: heap-free] publishes all this holder did with the heap's memory */
    int64_t before = atomic_fetch_sub_explicit(&heap->refs, 1, memory_order_release);
    assert(before > 0);
    if (before != 1) return;
    /* [order: heap-free] observes what every earlier holder did */
    (void)atomic_load_explicit(&heap->refs, memory_order_acquire);
    if (heap->ledger != NULL) sx_release(&heap->alloc, heap->ledger, heap->ledger->size);
    atomic_store_explicit(&sx_heaps[heap->number], NULL, memory_order_relaxed); /* relaxed: no item names it any more */
    discard(heap);
}
