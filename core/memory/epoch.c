/* SPDX-License-Identifier: Apache-2.0 */
/* Epoch-based reclamation: ck_epoch finds the grace periods; retired memory waits in batches, not in the objects.

   A thread fills its record's open batch; a full one goes onto the domain's stack. The keeper takes the stack and every
   open batch, whoever's, hands them to ck_epoch under a record of its own, and frees the batches whose grace period is
   over. The grace period of a batch begins when the keeper takes it, which is after all of it was retired. */
#include "core/memory/epoch.h"

#include <assert.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include <sys/mman.h>

#include <ck_epoch.h>
#include <ck_stack.h>

#include <strata/status.h>

#include "core/memory/atomic.h"
#include "core/memory/lock.h"

#define BATCH_COUNT 62
#define PAGE_BYTES  4096

typedef struct retired {
    void *memory;
    void (*free_fn)(void *memory);
    size_t bytes;
} retired;

/* owner: the thread that holds it; handed on whole. */
typedef struct batch {
    ck_epoch_entry_t entry; /* owner: keeper */
    struct batch *next;
    uint32_t count;
    bool mapped; /* a page of the kernel's, not of the allocator's */
    retired entries[BATCH_COUNT];
} batch;

_Static_assert(sizeof(batch) <= 1536, "a batch fits jemalloc's class of 1536 bytes");

struct sx_epoch_record {
    ck_epoch_record_t ck;  /* owner: its thread; ck's own rules for the keeper's scan */
    sx_epoch *epoch;       /* const after create */
    sx_epoch_record *next; /* const after it is in the list */
    bool used;             /* lock: epoch */
    _Atomic(batch *) open; /* atomic: acquire, release [order: retire-handover] */
#if SX_TSAN
    _Atomic uint32_t unpins; /* atomic: acquire, release [order: epoch-unpin] */
#endif
    uint8_t padding[SX_CACHE_LINE];
};

struct sx_epoch {
    ck_epoch_t ck;                                 /* written when the epoch advances, read at every pin */
    const sx_alloc *alloc;                         /* const after create */
    _Alignas(SX_CACHE_LINE) _Atomic(batch *) full; /* atomic: acquire, release [order: retire-handover] */
    _Atomic size_t retired_bytes;                  /* atomic: relaxed; a statistic and a hint */
    _Alignas(SX_CACHE_LINE) sx_lock lock;
    sx_epoch_record *records; /* lock: epoch */
    _Atomic bool reclaiming;  /* atomic: acquire, release [order: reclaim-turn]; somebody is at it */
    size_t waiting;           /* owner: who reclaims; batches that ck has */
    ck_epoch_record_t keeper; /* owner: who reclaims; never pinned */
};

int32_t sx_epoch_create(const sx_alloc *alloc, sx_epoch **out) {
    sx_epoch *epoch = alloc->allocate(alloc->context, sizeof *epoch, SX_CACHE_LINE);
    if (epoch == NULL) return STRATA_E_NOMEM;
    memset(epoch, 0, sizeof *epoch);
    epoch->alloc = alloc;
    int32_t status = sx_lock_init(&epoch->lock, SX_RANK_EPOCH);
    if (status != STRATA_OK) {
        sx_release(alloc, epoch, sizeof *epoch);
        return status;
    }
    ck_epoch_init(&epoch->ck);
    ck_epoch_register(&epoch->ck, &epoch->keeper, NULL);
    *out = epoch;
    return STRATA_OK;
}

/* ck wants a function per entry; ours come back by ck_epoch_poll_deferred, which calls none. */
static void never_called(ck_epoch_entry_t *entry) {
    (void)entry;
}

static batch *batch_of(ck_stack_entry_t *at) {
    return (batch *)(void *)((char *)at - offsetof(batch, entry) - offsetof(ck_epoch_entry_t, stack_entry));
}

/* Frees what a batch holds, and the batch. */
static size_t batch_free(sx_epoch *epoch, batch *b) {
    size_t bytes = 0;
    for (uint32_t i = 0; i < b->count; i++) {
        bytes += b->entries[i].bytes;
        b->entries[i].free_fn(b->entries[i].memory);
    }
    if (b->mapped) {
        (void)munmap(b, PAGE_BYTES);
    } else {
        sx_release(epoch->alloc, b, sizeof *b);
    }
    /* relaxed: statistic */
    atomic_fetch_sub_explicit(&epoch->retired_bytes, bytes, memory_order_relaxed);
    return bytes;
}

/* Takes every batch there is, full or open. */
static batch *collect(sx_epoch *epoch) {
    /* [order: retire-handover] observes what the retiring threads wrote into full batches, and did before */
    batch *all = atomic_exchange_explicit(&epoch->full, NULL, memory_order_acquire);
    sx_lock_acquire(&epoch->lock);
    for (sx_epoch_record *record = epoch->records; record != NULL; record = record->next) {
        /* relaxed: a hint; what is missed now is found in the next round */
        if (atomic_load_explicit(&record->open, memory_order_relaxed) == NULL) continue;
        /* [order: retire-handover] observes the same in a batch that isn't full yet */
        batch *open = atomic_exchange_explicit(&record->open, NULL, memory_order_acquire);
        if (open == NULL) continue;
        open->next = all;
        all = open;
    }
    sx_lock_release(&epoch->lock);
    return all;
}

#if SX_TSAN
/* ck's own synchronisation is invisible to the sanitizer: tell it that what ended before the poll came before. */
static void observe_unpins(sx_epoch *epoch) {
    sx_lock_acquire(&epoch->lock);
    for (sx_epoch_record *record = epoch->records; record != NULL; record = record->next) {
        /* [order: epoch-unpin] observes each thread's reads in the pins that ended */
        (void)atomic_load_explicit(&record->unpins, memory_order_acquire);
    }
    sx_lock_release(&epoch->lock);
}
#endif

/* One step of ck's epoch [order: epoch-pin publishes]; frees the batches whose grace period is over. */
static size_t advance(sx_epoch *epoch) {
    ck_stack_t ready = CK_STACK_INITIALIZER;
    (void)ck_epoch_poll_deferred(&epoch->keeper, &ready);
    sx_fence_epoch_reclaim();
#if SX_TSAN
    observe_unpins(epoch);
#endif
    size_t bytes = 0;
    for (ck_stack_entry_t *at = ck_stack_batch_pop_npsc(&ready); at != NULL;) {
        ck_stack_entry_t *next = CK_STACK_NEXT(at);
        bytes += batch_free(epoch, batch_of(at));
        epoch->waiting--;
        at = next;
    }
    return bytes;
}

static size_t reclaim(sx_epoch *epoch) {
    for (batch *b = collect(epoch); b != NULL;) {
        batch *next = b->next;
        ck_epoch_call(&epoch->keeper, &b->entry, never_called);
        epoch->waiting++;
        b = next;
    }
    /* Three steps are a whole grace period where pinned threads keep unpinning; one is enough where none is pinned. */
    size_t bytes = 0;
    for (int step = 0; step < 3 && epoch->waiting > 0; step++) bytes += advance(epoch);
    return bytes;
}

size_t sx_epoch_reclaim(sx_epoch *epoch) {
    /* [order: reclaim-turn] observes what the last one left in the keeper's record */
    if (atomic_exchange_explicit(&epoch->reclaiming, true, memory_order_acquire)) return 0;
    size_t bytes = reclaim(epoch);
    atomic_store_explicit(&epoch->reclaiming, false, memory_order_release); /* [order: reclaim-turn] */
    return bytes;
}

size_t sx_epoch_retired_bytes(const sx_epoch *epoch) {
    return atomic_load_explicit(&epoch->retired_bytes, memory_order_relaxed); /* relaxed: statistic */
}

void sx_epoch_destroy(sx_epoch *epoch) {
    if (epoch == NULL) return;
    for (const sx_epoch_record *record = epoch->records; record != NULL; record = record->next) {
        assert(!sx_epoch_is_pinned(record));
    }
    do { /* a free function may itself retire */
        (void)sx_epoch_reclaim(epoch);
    } while (epoch->waiting > 0 || sx_epoch_retired_bytes(epoch) > 0);
    while (epoch->records != NULL) {
        sx_epoch_record *record = epoch->records;
        epoch->records = record->next;
        sx_release(epoch->alloc, record, sizeof *record);
    }
    sx_lock_deinit(&epoch->lock);
    sx_release(epoch->alloc, epoch, sizeof *epoch);
}

int32_t sx_epoch_register(sx_epoch *epoch, sx_epoch_record **out) {
    sx_lock_acquire(&epoch->lock);
    sx_epoch_record *record = epoch->records;
    while (record != NULL && record->used) record = record->next;
    if (record != NULL) record->used = true;
    sx_lock_release(&epoch->lock);
    if (record == NULL) {
        record = epoch->alloc->allocate(epoch->alloc->context, sizeof *record, SX_CACHE_LINE);
        if (record == NULL) return STRATA_E_NOMEM;
        memset(record, 0, sizeof *record);
        record->epoch = epoch;
        record->used = true;
        ck_epoch_register(&epoch->ck, &record->ck, NULL);
        sx_lock_acquire(&epoch->lock);
        record->next = epoch->records;
        epoch->records = record;
        sx_lock_release(&epoch->lock);
    }
    *out = record;
    return STRATA_OK;
}

void sx_epoch_unregister(sx_epoch_record *record) {
    if (record == NULL) return;
    while (sx_epoch_is_pinned(record)) sx_epoch_unpin(record);
    /* What it retired stays in its open batch, which the keeper takes like any other. */
    sx_epoch *epoch = record->epoch;
    sx_lock_acquire(&epoch->lock);
    record->used = false;
    sx_lock_release(&epoch->lock);
}

void sx_epoch_pin(sx_epoch_record *record) {
    ck_epoch_begin(&record->ck, NULL);
    sx_fence_epoch_pin();
}

void sx_epoch_unpin(sx_epoch_record *record) {
    assert(record->ck.active > 0);
#if SX_TSAN
    /* [order: epoch-unpin] publishes that this thread's reads of the pin are done */
    atomic_fetch_add_explicit(&record->unpins, 1, memory_order_release);
#endif
    (void)ck_epoch_end(&record->ck, NULL);
}

bool sx_epoch_is_pinned(const sx_epoch_record *record) {
    return record->ck.active > 0;
}

/* A batch in any case: from the allocator, else from the kernel, else when one of them has something again. */
static batch *batch_create(sx_epoch *epoch) {
    for (;;) {
        batch *b = sx_allocate(epoch->alloc, sizeof *b);
        if (b != NULL) {
            b->mapped = false;
        } else {
            void *page = mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            if (page != MAP_FAILED) {
                b = page;
                b->mapped = true;
            }
        }
        if (b != NULL) {
            b->next = NULL;
            b->count = 0;
            return b;
        }
        (void)nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
}

void sx_epoch_retire(sx_epoch_record *record, void *memory, size_t bytes, void (*free_fn)(void *memory)) {
    sx_epoch *epoch = record->epoch;
    /* relaxed: statistic */
    atomic_fetch_add_explicit(&epoch->retired_bytes, bytes, memory_order_relaxed);
    /* [order: retire-handover] observes nothing new, the batch is this thread's own: it only keeps the keeper away */
    batch *b = atomic_exchange_explicit(&record->open, NULL, memory_order_acquire);
    if (b == NULL) b = batch_create(epoch);
    b->entries[b->count++] = (retired){memory, free_fn, bytes};
    if (b->count < BATCH_COUNT) {
        /* [order: retire-handover] publishes the entry, and that its memory was unlinked before */
        atomic_store_explicit(&record->open, b, memory_order_release);
        return;
    }
    /* relaxed: only compared; the exchange below says whether it still holds */
    b->next = atomic_load_explicit(&epoch->full, memory_order_relaxed);
    /* [order: retire-handover] publishes the whole batch; relaxed: a failure only brings the present top */
    while (!atomic_compare_exchange_weak_explicit(&epoch->full, &b->next, b, memory_order_release,
                                                  memory_order_relaxed)) {
        sx_cpu_relax();
    }
}
