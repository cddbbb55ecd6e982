/* SPDX-License-Identifier: Apache-2.0 */
/* Memory of items that pass L1 by: what one gave back is the next one's, so that a read past L1 asks the allocator for nothing. */
#ifndef SX_CORE_MEMORY_SPARE_H
#define SX_CORE_MEMORY_SPARE_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "core/memory/alloc.h"

/* Sizes that memory is asked for in: four to a doubling, so at most a fifth of more than the least stays unused. */
#define SX_SPARE_ROOM_MIN ((size_t)128)
#define SX_SPARE_ROOM_MAX ((size_t)2 * 1024 * 1024)
#define SX_SPARE_ROOMS 57
/* What waits for its next use, of all sizes together. A sanitizer that looks for use after free gets all of it back at once. */
#if defined(__has_feature) /* clang's way to say it */
#if __has_feature(address_sanitizer)
#define SX_SPARE_BYTES_MAX INT64_C(0)
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define SX_SPARE_BYTES_MAX INT64_C(0)
#endif
#if !defined(SX_SPARE_BYTES_MAX)
#define SX_SPARE_BYTES_MAX (INT64_C(4) * 1024 * 1024)
#endif

typedef struct sx_spare {
    struct sx_spare *next;
} sx_spare;

typedef struct sx_spares {
    _Atomic(sx_spare *) given[SX_SPARE_ROOMS]; /* atomic: release, acquire [order: spare-handover]; only ever taken whole */
    sx_spare *kept[SX_SPARE_ROOMS];            /* owner: who takes */
    _Atomic int64_t bytes;                     /* atomic: relaxed, a sum that bounds both */
} sx_spares;

/* What is to be asked for where size bytes are needed; 0 for more than is ever kept. */
size_t sx_spare_room(size_t size);
/* One thread at a time. room: as sx_spare_room said. Memory that was given back, else from alloc, in whose favour one of another size
   is given up where all that may wait does: what nobody asks for any more leaves so. NULL when out of memory. */
void *sx_spares_take(sx_spares *spares, const sx_alloc *alloc, size_t room);
/* Any thread. Keeps it for the next take, or gives it back to alloc. */
void sx_spares_give(sx_spares *spares, const sx_alloc *alloc, void *memory, size_t room);
/* Gives all of it back to alloc. Nobody takes or gives any more. */
void sx_spares_clear(sx_spares *spares, const sx_alloc *alloc);

#endif
