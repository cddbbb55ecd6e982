/* SPDX-License-Identifier: Apache-2.0 */
/* Spare memory: a stack for each size that any thread pushes to and one takes whole, so no push can meet a pop half-way. */
#include "core/memory/spare.h"

#include <assert.h>

#include "core/memory/atomic.h"

/* Exponent of the largest power of two below size, which is more than one. */
static unsigned exponent_below(size_t size) { return 63u - (unsigned)__builtin_clzll(size - 1); }
#define LEAST_EXPONENT 7u
_Static_assert(SX_SPARE_ROOM_MIN == (size_t)1 << LEAST_EXPONENT, "the first doubling begins there");
_Static_assert(SX_SPARE_ROOM_MAX == (size_t)1 << (LEAST_EXPONENT + (SX_SPARE_ROOMS - 1) / 4), "and the last ends here");

size_t sx_spare_room(size_t size) {
    if (size <= SX_SPARE_ROOM_MIN) return SX_SPARE_ROOM_MIN;
    if (size > SX_SPARE_ROOM_MAX) return 0;
    const size_t step = (size_t)1 << (exponent_below(size) - 2);
    return (size + step - 1) & ~(step - 1);
}

static size_t place_of(size_t room) {
    assert(room == sx_spare_room(room));
    if (room == SX_SPARE_ROOM_MIN) return 0;
    const unsigned exponent = exponent_below(room);
    return (exponent - LEAST_EXPONENT) * 4 + (((room - 1) >> (exponent - 2)) & 3) + 1;
}

/* What place_of made it from. */
static size_t room_at(size_t place) {
    if (place == 0) return SX_SPARE_ROOM_MIN;
    const size_t whole = (size_t)1 << (LEAST_EXPONENT + (place - 1) / 4);
    return whole + ((place - 1) % 4 + 1) * (whole / 4);
}

static void count(sx_spares *spares, int64_t change) {
    (void)atomic_fetch_add_explicit(&spares->bytes, change, memory_order_relaxed); /* relaxed: a sum, nothing is read by it */
}

/* The next to be taken of a size, which all that was given becomes. */
static sx_spare *next_of(sx_spares *spares, size_t place) {
    /* [order: spare-handover] observes what was given, and the last use of it. Looked at first: most that find none here find none there. */
    if (spares->kept[place] == NULL && atomic_load_explicit(&spares->given[place], memory_order_relaxed) != NULL) /* relaxed: the exchange decides */
        spares->kept[place] = atomic_exchange_explicit(&spares->given[place], NULL, memory_order_acquire);
    return spares->kept[place];
}

/* One of the largest that wait, where what is about to be asked for would find no room among them when it is given back. */
static void make_room(sx_spares *spares, const sx_alloc *alloc, size_t room) {
    /* relaxed: as in count */
    if (atomic_load_explicit(&spares->bytes, memory_order_relaxed) + (int64_t)room <= SX_SPARE_BYTES_MAX) return;
    for (size_t place = SX_SPARE_ROOMS; place-- > 0;) {
        sx_spare *spare = next_of(spares, place);
        if (spare == NULL) continue;
        spares->kept[place] = spare->next;
        count(spares, -(int64_t)room_at(place));
        sx_release(alloc, spare, room_at(place));
        return;
    }
}

void *sx_spares_take(sx_spares *spares, const sx_alloc *alloc, size_t room) {
    const size_t place = place_of(room);
    sx_spare *spare = next_of(spares, place);
    if (spare == NULL) {
        make_room(spares, alloc, room);
        return sx_allocate(alloc, room);
    }
    spares->kept[place] = spare->next;
    count(spares, -(int64_t)room);
    return spare;
}

void sx_spares_give(sx_spares *spares, const sx_alloc *alloc, void *memory, size_t room) {
    /* relaxed: as in count */
    int64_t before = atomic_fetch_add_explicit(&spares->bytes, (int64_t)room, memory_order_relaxed);
    if (before + (int64_t)room > SX_SPARE_BYTES_MAX) {
        count(spares, -(int64_t)room);
        sx_release(alloc, memory, room);
        return;
    }
    sx_spare *spare = memory;
    _Atomic(sx_spare *) *top = &spares->given[place_of(room)];
    spare->next = atomic_load_explicit(top, memory_order_relaxed); /* relaxed: only compared and stored, never followed */
    /* [order: spare-handover] publishes the memory to who takes it; relaxed: a failure brings the new top */
    while (!atomic_compare_exchange_weak_explicit(top, &spare->next, spare, memory_order_release, memory_order_relaxed)) sx_cpu_relax();
}

static void clear(const sx_alloc *alloc, sx_spare *spare, size_t room) {
    while (spare != NULL) {
        sx_spare *next = spare->next;
        sx_release(alloc, spare, room);
        spare = next;
    }
}

void sx_spares_clear(sx_spares *spares, const sx_alloc *alloc) {
    for (size_t room = SX_SPARE_ROOM_MIN; room != 0; room = sx_spare_room(room + 1)) {
        const size_t place = place_of(room);
        clear(alloc, spares->kept[place], room);
        /* [order: spare-handover] observes as above */
        clear(alloc, atomic_exchange_explicit(&spares->given[place], NULL, memory_order_acquire), room);
        spares->kept[place] = NULL;
    }
    atomic_store_explicit(&spares->bytes, 0, memory_order_relaxed); /* relaxed: nobody else is there */
}
