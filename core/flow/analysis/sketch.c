/* SPDX-License-Identifier: Apache-2.0 */
/* Space-saving: a hash that has no place takes that of the least frequent, and its count, which becomes its error. */
#include "core/flow/analysis/sketch.h"

#include <string.h>

static uint32_t index_size(uint32_t capacity) {
    uint32_t size = 16;
    while (size < 2 * capacity) size *= 2; /* half of it stays empty */
    return size;
}

bool sx_sketch_init(sx_sketch *sketch, const sx_alloc *alloc, uint32_t capacity) {
    uint32_t size = index_size(capacity);
    *sketch = (sx_sketch){.capacity = capacity, .index_mask = size - 1};
    sketch->places = sx_allocate_zero(alloc, capacity * sizeof *sketch->places);
    sketch->heap = sx_allocate_zero(alloc, capacity * sizeof *sketch->heap);
    sketch->index = sx_allocate_zero(alloc, size * sizeof *sketch->index);
    if (sketch->places != NULL && sketch->heap != NULL && sketch->index != NULL) return true;
    sx_sketch_deinit(sketch, alloc);
    return false;
}

void sx_sketch_deinit(sx_sketch *sketch, const sx_alloc *alloc) {
    sx_release(alloc, sketch->places, sketch->capacity * sizeof *sketch->places);
    sx_release(alloc, sketch->heap, sketch->capacity * sizeof *sketch->heap);
    sx_release(alloc, sketch->index, (sketch->index_mask + 1) * sizeof *sketch->index);
    *sketch = (sx_sketch){0};
}

void sx_sketch_clear(sx_sketch *sketch) {
    sketch->used = 0;
    sketch->total = 0;
    memset(sketch->index, 0, (sketch->index_mask + 1) * sizeof *sketch->index);
}

/* ---- index ---------------------------------------------------------------------------------------------------- */

static uint32_t home_of(const sx_sketch *sketch, uint64_t hash) { return (uint32_t)(hash >> 32) & sketch->index_mask; }

/* Where the hash is, or the empty slot where it would be. */
static uint32_t slot_of(const sx_sketch *sketch, uint64_t hash) {
    uint32_t slot = home_of(sketch, hash);
    while (sketch->index[slot] != 0 && sketch->places[sketch->index[slot] - 1].hash != hash) slot = (slot + 1) & sketch->index_mask;
    return slot;
}

uint32_t sx_sketch_find(const sx_sketch *sketch, uint64_t hash) {
    uint32_t found = sketch->index[slot_of(sketch, hash)];
    return found == 0 ? SX_SKETCH_NONE : found - 1;
}

/* Empties a slot; those behind it that it stood in the way of move up. */
static void forget(sx_sketch *sketch, uint64_t hash) {
    uint32_t mask = sketch->index_mask, hole = slot_of(sketch, hash);
    for (uint32_t at = (hole + 1) & mask; sketch->index[at] != 0; at = (at + 1) & mask) {
        uint32_t home = home_of(sketch, sketch->places[sketch->index[at] - 1].hash);
        if (((at - home) & mask) < ((at - hole) & mask)) continue; /* its home lies behind the hole */
        sketch->index[hole] = sketch->index[at];
        hole = at;
    }
    sketch->index[hole] = 0;
}

/* ---- heap ----------------------------------------------------------------------------------------------------- */

static void put(sx_sketch *sketch, uint32_t at, uint32_t place) {
    sketch->heap[at] = place;
    sketch->places[place].heap_at = at;
}

static uint64_t count_at(const sx_sketch *sketch, uint32_t at) { return sketch->places[sketch->heap[at]].count; }

/* Its count has grown. */
static void sink(sx_sketch *sketch, uint32_t place) {
    uint32_t at = sketch->places[place].heap_at;
    for (uint32_t child; (child = 2 * at + 1) < sketch->used; at = child) {
        if (child + 1 < sketch->used && count_at(sketch, child + 1) < count_at(sketch, child)) child++;
        if (count_at(sketch, child) >= sketch->places[place].count) break;
        put(sketch, at, sketch->heap[child]);
    }
    put(sketch, at, place);
}

/* A new place, whose count of 1 is the least there is. */
static void rise(sx_sketch *sketch, uint32_t place) {
    uint32_t at = sketch->used - 1;
    for (; at > 0 && count_at(sketch, (at - 1) / 2) > sketch->places[place].count; at = (at - 1) / 2) put(sketch, at, sketch->heap[(at - 1) / 2]);
    put(sketch, at, place);
}

/* ---- counting ------------------------------------------------------------------------------------------------- */

uint32_t sx_sketch_add(sx_sketch *sketch, uint64_t hash, bool *fresh) {
    sketch->total++;
    uint32_t place = sx_sketch_find(sketch, hash);
    *fresh = place == SX_SKETCH_NONE;
    if (!*fresh) {
        sketch->places[place].count++;
        sink(sketch, place);
        return place;
    }
    if (sketch->used < sketch->capacity) {
        place = sketch->used++;
        sketch->places[place] = (sx_sketch_place){.hash = hash, .count = 1};
        sketch->index[slot_of(sketch, hash)] = place + 1;
        rise(sketch, place);
        return place;
    }
    place = sketch->heap[0];
    sx_sketch_place *taken = &sketch->places[place];
    forget(sketch, taken->hash);
    taken->hash = hash;
    taken->error = taken->count++;
    sketch->index[slot_of(sketch, hash)] = place + 1; /* nobody has the hash, so this is an empty slot */
    sink(sketch, place);
    return place;
}

/* ---- ranking -------------------------------------------------------------------------------------------------- */

static void sift(const sx_sketch *sketch, uint32_t *out, uint32_t at, uint32_t size) {
    uint32_t moved = out[at];
    for (uint32_t child; (child = 2 * at + 1) < size; at = child) {
        if (child + 1 < size && sketch->places[out[child + 1]].count < sketch->places[out[child]].count) child++;
        if (sketch->places[out[child]].count >= sketch->places[moved].count) break;
        out[at] = out[child];
    }
    out[at] = moved;
}

uint32_t sx_sketch_ranking(const sx_sketch *sketch, uint32_t *out) {
    memcpy(out, sketch->heap, sketch->used * sizeof *out);
    for (uint32_t size = sketch->used; size > 1; size--) { /* the least of what is left goes to its end */
        uint32_t least = out[0];
        out[0] = out[size - 1];
        sift(sketch, out, 0, size - 1);
        out[size - 1] = least;
    }
    return sketch->used;
}
