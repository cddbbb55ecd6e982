/* SPDX-License-Identifier: Apache-2.0 */
/* An allocator for an engine: malloc, and how often it was asked. */
#include "bench/allocations.h"

#include <stdlib.h>

static void *allocate(void *context, size_t size, size_t alignment) {
    bench_allocations *allocations = context;
    atomic_fetch_add_explicit(&allocations->count, 1, memory_order_relaxed);
    return alignment <= 16 ? malloc(size) : aligned_alloc(alignment, (size + alignment - 1) & ~(alignment - 1));
}

static void release(void *context, void *memory, size_t size) {
    (void)context;
    (void)size;
    free(memory);
}

strata_allocator bench_allocations_table(bench_allocations *allocations) {
    return (strata_allocator){allocations, allocate, release};
}
