/* SPDX-License-Identifier: Apache-2.0 */
/* Epoch-based reclamation: readers pin, writers retire, and what no pin can still see is freed later. A pin is a plain store;
   whoever reclaims pays for both sides, by membarrier(2). */
#ifndef SX_CORE_MEMORY_EPOCH_H
#define SX_CORE_MEMORY_EPOCH_H

#include <assert.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/memory/alloc.h"
#include "core/memory/atomic.h"

typedef struct sx_epoch sx_epoch; /* one domain; any thread */

/* The domain's time, a line that pins read: it moves by SX_EPOCH_STEP with each grace period. */
typedef struct sx_epoch_time {
    _Alignas(SX_NO_SHARING) _Atomic uint64_t now; /* atomic: release by who reclaims, acquire by pins [order: epoch-pin] */
} sx_epoch_time;
#define SX_EPOCH_STEP   2u
#define SX_EPOCH_FENCED 1u /* part of the time where there is no membarrier: pins fence for themselves */

/* One thread's part; padded; owner: its thread, where nothing else is said. */
typedef struct sx_epoch_record {
    _Alignas(SX_NO_SHARING) _Atomic uint64_t seen; /* atomic: release; the time at the outermost pin, 0 unpinned */
    const sx_epoch_time *time;                     /* const after create */
    uint32_t pins;                                 /* owner */
    void *user;                                    /* owner; what it is to whoever registered it; NULL at first */
    bool used;                                     /* lock: epoch */
    uint32_t number;                               /* const after create; its place among the domain's, from 0 */
    char name[48];                                 /* lock: epoch */
    sx_epoch *epoch;                               /* const after create */
    struct sx_epoch_record *next;                  /* const after it is in the list */
    _Atomic(struct sx_epoch_batch *) open;         /* atomic: acquire, release [order: retire-handover] */
    _Atomic int64_t unreported;                    /* atomic: relaxed; written by owner; retired bytes not yet in the sum */
} sx_epoch_record;

int32_t sx_epoch_create(const sx_alloc *alloc, sx_epoch **out);
/* Frees everything retired; no record may be pinned. */
void sx_epoch_destroy(sx_epoch *epoch);

/* A record for the calling thread's use (records are recycled, never freed before destroy). Takes a lock. */
int32_t sx_epoch_register(sx_epoch *epoch, sx_epoch_record **out);
/* Ends every pin of it, hands what it retired to the domain. Takes a lock. */
void sx_epoch_unregister(sx_epoch_record *record);

/* Pins nest. What was reachable at or after the outermost pin is not freed before the matching unpin. */
static inline void sx_epoch_pin(sx_epoch_record *record) {
    if (record->pins++ != 0) return;
    /* [order: epoch-pin] observes what was unlinked before this time began */
    uint64_t now = atomic_load_explicit(&record->time->now, memory_order_acquire);
#if SX_TSAN /* which understands neither fences nor membarrier */
    (void)atomic_exchange_explicit(&record->seen, now, memory_order_seq_cst); /* [order: epoch-unpin] as below */
#else
    /* [order: epoch-unpin] publishes the reads of pins that ended before */
    atomic_store_explicit(&record->seen, now, memory_order_release);
    if (SX_UNLIKELY((now & SX_EPOCH_FENCED) != 0)) sx_fence_epoch_pin();
    else sx_fence_epoch_light();
#endif
}
static inline void sx_epoch_unpin(sx_epoch_record *record) {
    assert(record->pins > 0);
    if (--record->pins != 0) return;
    /* [order: epoch-unpin] publishes that the reads of the pin are done */
    atomic_store_explicit(&record->seen, 0, memory_order_release);
}
/* The record's owner only. */
static inline bool sx_epoch_is_pinned(const sx_epoch_record *record) { return record->pins > 0; }

/* Hands over memory that is no longer reachable: free_fn(memory) runs once, after every pin taken before this call has
   ended, on the thread that reclaims. bytes is what it occupies. Never fails, never frees inline, never allocates
   without a fallback: where the allocator has nothing for its books, it takes a page from the kernel (waiting for a
   grace period instead would deadlock a caller that is pinned itself).
   Owner of record, pinned or not. */
void sx_epoch_retire(sx_epoch_record *record, void *memory, size_t bytes, void (*free_fn)(void *memory));

/* Frees what may be freed, also what idle threads retired: all that was retired before, once no pin is left that could see
   it. Any thread, pinned or not; one at a time, the others return 0 at once. Interrupts every processor that runs a thread
   of this process, for a moment. The keeper sees to it in the end; whoever needs the memory now may help. Returns bytes
   freed. */
size_t sx_epoch_reclaim(sx_epoch *epoch);
/* The same at a writer's pace: frees a part of what is ready, and interrupts others the more seldom the more of them
   run. pressed: the memory is needed, so more of it, and at once unless a pin stands in the way of what was retired before. */
size_t sx_epoch_reclaim_some(sx_epoch *epoch, bool pressed);
/* For a thread that comes by again and again: reclaims where sx_epoch_reclaim_some neither freed nor began anything since its last call. What a writer
   frees itself is its next items' memory, warm; freed elsewhere it comes back through locks, from another processor's caches. */
size_t sx_epoch_reclaim_left(sx_epoch *epoch);
/* Bytes retired and not yet freed. Any thread. */
size_t sx_epoch_retired_bytes(const sx_epoch *epoch);
/* The same from one word; each thread may withhold less than SX_EPOCH_PORTION of it. */
size_t sx_epoch_retired_hint(const sx_epoch *epoch);
#define SX_EPOCH_PORTION 4096

/* How many records there are, used or not: each has a number below it. Any thread; one that is just made may be missing. */
uint32_t sx_epoch_record_count(const sx_epoch *epoch);

/* Says whose a record is, for sx_epoch_oldest; until it is unregistered. Takes a lock. */
#define SX_EPOCH_NAME_BYTES 48
void sx_epoch_record_name(sx_epoch_record *record, const char *name);
/* Whose pin has been there for the longest, in grace periods: the record's name (empty: it has none), and the time at which it
   was pinned; as long as that is the same, so is the pin, or one as old. False where none is pinned. Takes a lock; any thread. */
bool sx_epoch_oldest(sx_epoch *epoch, char name[SX_EPOCH_NAME_BYTES], uint64_t *since);

#endif
