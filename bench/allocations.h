/* SPDX-License-Identifier: Apache-2.0 */
/* An allocator for an engine: malloc, and how often it was asked. */
#ifndef BENCH_ALLOCATIONS_H
#define BENCH_ALLOCATIONS_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <strata/strata.h>

typedef struct bench_allocations {
    _Atomic int64_t count;
} bench_allocations;

/* Counts in allocations, which must outlive the engine. */
strata_allocator bench_allocations_table(bench_allocations *allocations);

#endif
