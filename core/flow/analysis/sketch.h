/* SPDX-License-Identifier: Apache-2.0 */
/* The most frequent of a stream, in bounded memory: space-saving, by hashes. Who owns one keeps what belongs to each place beside it. */
#ifndef SX_CORE_FLOW_ANALYSIS_SKETCH_H
#define SX_CORE_FLOW_ANALYSIS_SKETCH_H

#include <stdbool.h>
#include <stdint.h>

#include "core/memory/alloc.h"

#define SX_SKETCH_NONE UINT32_MAX

typedef struct sx_sketch_place {
    uint64_t hash;
    uint64_t count;   /* at least as often as it was seen */
    uint64_t error;   /* at most so much of count was others' */
    uint32_t heap_at; /* where the heap has it */
} sx_sketch_place;

/* Of `total` numbers seen, each that was seen more than total / capacity times has a place; a count is too large by its error at
   most, which is total / capacity at most. One thread at a time. */
typedef struct sx_sketch {
    uint32_t capacity;
    uint32_t used;
    uint32_t index_mask;
    uint64_t total;
    sx_sketch_place *places;
    uint32_t *heap;  /* places, the least count first */
    uint32_t *index; /* by hash, probed linearly: place + 1; 0 empty */
} sx_sketch;

/* False when out of memory; then there is nothing to deinit. */
bool sx_sketch_init(sx_sketch *sketch, const sx_alloc *alloc, uint32_t capacity);
void sx_sketch_deinit(sx_sketch *sketch, const sx_alloc *alloc);
void sx_sketch_clear(sx_sketch *sketch);
/* Counts a hash once. Returns its place; *fresh: what lay beside that place was nobody's, or another's. */
uint32_t sx_sketch_add(sx_sketch *sketch, uint64_t hash, bool *fresh);
/* The hash's place, or SX_SKETCH_NONE. */
uint32_t sx_sketch_find(const sx_sketch *sketch, uint64_t hash);
/* Writes the places in use, the most frequent first, to out, which has room for capacity. Returns how many. */
uint32_t sx_sketch_ranking(const sx_sketch *sketch, uint32_t *out);

#endif
