/* SPDX-License-Identifier: Apache-2.0 */
/* Epoch-based reclamation over ck_epoch: readers pin, writers retire, the keeper frees what no pin can still see. */
#ifndef SX_CORE_MEMORY_EPOCH_H
#define SX_CORE_MEMORY_EPOCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/memory/alloc.h"

typedef struct sx_epoch sx_epoch;               /* one domain; any thread */
typedef struct sx_epoch_record sx_epoch_record; /* one thread's part; padded; owner: its thread */

int32_t sx_epoch_create(const sx_alloc *alloc, sx_epoch **out);
/* Frees everything retired; no record may be pinned. */
void sx_epoch_destroy(sx_epoch *epoch);

/* A record for the calling thread's use (records are recycled, never freed before destroy). Takes a lock. */
int32_t sx_epoch_register(sx_epoch *epoch, sx_epoch_record **out);
/* Ends every pin of it, hands what it retired to the domain. Takes a lock. */
void sx_epoch_unregister(sx_epoch_record *record);

/* Pins nest. What was reachable at or after the outermost pin is not freed before the matching unpin. */
void sx_epoch_pin(sx_epoch_record *record);
void sx_epoch_unpin(sx_epoch_record *record);
bool sx_epoch_is_pinned(const sx_epoch_record *record);

/* Hands over memory that is no longer reachable: free_fn(memory) runs once, after every pin taken before this call has
   ended, on the thread that reclaims. bytes is what it occupies. Never fails, never frees inline, never allocates
   without a fallback: where the allocator has nothing for its books, it takes a page from the kernel (waiting for a
   grace period instead would deadlock a caller that is pinned itself).
   Owner of record, pinned or not. */
void sx_epoch_retire(sx_epoch_record *record, void *memory, size_t bytes, void (*free_fn)(void *memory));

/* Frees what may be freed, also what idle threads retired: everything retired is freed within a few calls once the
   pins that could see it have ended. Any thread, pinned or not; one at a time, the others return 0 at once. The keeper
   sees to it in the end; whoever needs the memory now may help. Returns bytes freed. */
size_t sx_epoch_reclaim(sx_epoch *epoch);
/* Bytes retired and not yet freed. Any thread. */
size_t sx_epoch_retired_bytes(const sx_epoch *epoch);

#endif
