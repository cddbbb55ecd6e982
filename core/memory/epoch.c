/* SPDX-License-Identifier: Apache-2.0 */
/* Epoch-based reclamation with a plain store for a pin; retired memory waits in batches, not in the objects.

   A thread fills its record's open batch; a full one goes onto the domain's stack. Who reclaims takes the stack and every
   open batch, whoever's, stamps them with the time, moves the time on, and makes every thread pass a barrier. A pin whose
   store came before its thread's barrier is seen from now on, with a time not later than the stamp if it may hold what was
   unlinked; one whose store comes after reads what the unlinking wrote. So a batch is freed when each record is unpinned,
   or shows a time later than its stamp: one barrier a batch, however long the wait.

   The barrier is membarrier(2), where the kernel has it and lets us: then pins fence nothing. Else the time carries a mark
   that makes pins fence, and a fence here is enough. Should membarrier fail later (a filter that came after), the mark is
   set then, and nothing is freed for a second: by then all threads pin by the mark, and what they stored before is seen. */
#include "core/memory/epoch.h"

#include <string.h>
#include <time.h>

#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#if defined(__linux__)
#include <linux/membarrier.h>
#endif

#include <strata/status.h>

#include "core/memory/lock.h"

#define BATCH_COUNT 62
#define PAGE_BYTES  4096
#define PACE_TIMES  256        /* sx_epoch_reclaim_some lets so many times a grace period's begin pass before the next */
#define PACE_MIN_NS 50000      /* ... and at least this: what is freed soon is still in the caches */
#define PACE_MAX_NS 10000000   /* ... and at most this: a thread that lost its processor meanwhile says nothing of the price */
#define SETTLE_NS   1000000000 /* after membarrier failed */
#define SOME_OF     32         /* sx_epoch_reclaim_some frees one batch, and one in so many of those that wait */
#define PRESSED_MAX 8          /* ... or so many under pressure, never more: a writer waits for it, some 100 us */
#define AHEAD       8          /* objects that are asked for before they are freed */

typedef struct retired {
    void *memory;
    void (*free_fn)(void *memory);
    size_t bytes;
} retired;

/* owner: the thread that holds it; handed on whole. */
typedef struct sx_epoch_batch {
    struct sx_epoch_batch *next;
    uint64_t stamp; /* the time when it was taken */
    uint32_t count;
    bool mapped; /* a page of the kernel's, not of the allocator's */
    retired entries[BATCH_COUNT];
} batch;

_Static_assert(sizeof(batch) <= 1536, "a batch fits jemalloc's class of 1536 bytes");

struct sx_epoch {
    sx_epoch_time time;
    const sx_alloc *alloc;                          /* const after create */
    _Alignas(SX_CACHE_LINE) _Atomic(batch *) full;  /* atomic: acquire, release [order: retire-handover] */
    _Atomic int64_t retired_bytes;                  /* atomic: relaxed; a sum, less what records withhold */
    _Alignas(SX_CACHE_LINE) sx_lock lock;
    _Atomic(sx_epoch_record *) records; /* atomic: release under lock, acquire [order: epoch-records]; only grows */
    _Atomic uint32_t record_count;      /* atomic: relaxed, a hint; written under lock */
    _Atomic bool reclaiming;            /* atomic: acquire, release [order: reclaim-turn]; somebody is at it */
    /* owner: who reclaims */
    batch *waiting, **waiting_end; /* by stamp */
    uint32_t waiting_count;
    uint64_t safe;                 /* batches with a lesser stamp may be freed */
    int64_t again_ns;              /* when sx_epoch_reclaim_some may begin another: the barrier's price tells who is disturbed */
    int64_t settled_ns;            /* nothing is freed before; 0 unless membarrier failed */
    bool helped;                   /* a writer freed or began something since sx_epoch_reclaim_left was called */
};

static int64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

#if defined(__linux__) && defined(SYS_membarrier) && !SX_TSAN
static bool membarrier_ready(void) {
    return syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0 &&
           syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) == 0;
}
static bool membarrier_all(void) { return syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) == 0; }
#else
static bool membarrier_ready(void) { return false; }
static bool membarrier_all(void) { return false; }
#endif

int32_t sx_epoch_create(const sx_alloc *alloc, sx_epoch **out) {
    sx_epoch *epoch = alloc->allocate(alloc->context, sizeof *epoch, SX_NO_SHARING);
    if (epoch == NULL) return STRATA_E_NOMEM;
    memset(epoch, 0, sizeof *epoch);
    epoch->alloc = alloc;
    int32_t status = sx_lock_init(&epoch->lock, SX_RANK_EPOCH);
    if (status != STRATA_OK) {
        sx_release(alloc, epoch, sizeof *epoch);
        return status;
    }
    epoch->waiting_end = &epoch->waiting;
    atomic_init(&epoch->time.now, SX_EPOCH_STEP | (membarrier_ready() ? 0 : SX_EPOCH_FENCED));
    *out = epoch;
    return STRATA_OK;
}

/* Frees what a batch holds, and the batch. */
static size_t batch_free(sx_epoch *epoch, batch *b) {
    size_t bytes = 0;
    for (uint32_t i = 0; i < AHEAD && i < b->count; i++) __builtin_prefetch(b->entries[i].memory, 1, 3);
    for (uint32_t i = 0; i < b->count; i++) {
        if (i + AHEAD < b->count) __builtin_prefetch(b->entries[i + AHEAD].memory, 1, 3);
        bytes += b->entries[i].bytes;
        b->entries[i].free_fn(b->entries[i].memory);
    }
    if (b->mapped) {
        (void)munmap(b, PAGE_BYTES);
    } else {
        sx_release(epoch->alloc, b, sizeof *b);
    }
    atomic_fetch_sub_explicit(&epoch->retired_bytes, (int64_t)bytes, memory_order_relaxed); /* relaxed: a sum */
    return bytes;
}

/* The list only grows, at its head. */
static sx_epoch_record *records(const sx_epoch *epoch) {
    /* [order: epoch-records] observes the record's fields */
    return atomic_load_explicit(&epoch->records, memory_order_acquire);
}

/* Takes every batch there is, full or open, to the end of those that wait. */
static bool collect(sx_epoch *epoch, uint64_t stamp) {
    /* [order: retire-handover] observes what the retiring threads wrote into full batches, and did before */
    batch *all = atomic_exchange_explicit(&epoch->full, NULL, memory_order_acquire);
    for (sx_epoch_record *record = records(epoch); record != NULL; record = record->next) {
        /* relaxed: a hint; what is missed now is found in the next round */
        if (atomic_load_explicit(&record->open, memory_order_relaxed) == NULL) continue;
        /* [order: retire-handover] observes the same in a batch that isn't full yet */
        batch *open = atomic_exchange_explicit(&record->open, NULL, memory_order_acquire);
        if (open == NULL) continue;
        open->next = all;
        all = open;
    }
    if (all == NULL) return false;
    *epoch->waiting_end = all;
    for (batch *b = all; b != NULL; b = b->next) {
        b->stamp = stamp;
        epoch->waiting_count++;
        epoch->waiting_end = &b->next;
    }
    return true;
}

/* Every thread passes a barrier between this one's earlier and later accesses, or fences in its pins. */
static void barrier(sx_epoch *epoch, uint64_t now) {
    if ((now & SX_EPOCH_FENCED) == 0) {
        if (membarrier_all()) return;
        /* [order: epoch-pin] publishes as below; pins that see it fence */
        atomic_store_explicit(&epoch->time.now, now | SX_EPOCH_FENCED, memory_order_release);
        epoch->settled_ns = now_ns() + SETTLE_NS;
    }
    sx_fence_epoch_reclaim();
}

/* Takes what was retired, and begins its grace period. Returns whether there was anything. */
static bool begin(sx_epoch *epoch, int64_t begun_ns) {
    uint64_t now = atomic_load_explicit(&epoch->time.now, memory_order_relaxed); /* relaxed: own store */
    if (!collect(epoch, now)) return false;
    /* [order: epoch-pin] publishes that what was collected is unlinked */
    atomic_store_explicit(&epoch->time.now, now + SX_EPOCH_STEP, memory_order_release);
    barrier(epoch, now + SX_EPOCH_STEP);
    int64_t rest_ns = (now_ns() - begun_ns) * PACE_TIMES;
    if (rest_ns < PACE_MIN_NS) rest_ns = PACE_MIN_NS;
    epoch->again_ns = begun_ns + (rest_ns < PACE_MAX_NS ? rest_ns : PACE_MAX_NS);
    return true;
}

/* What may be freed by now. */
static void look(sx_epoch *epoch) {
    if (epoch->waiting == NULL || epoch->waiting->stamp < epoch->safe) return;
    if (epoch->settled_ns != 0) {
        if (now_ns() < epoch->settled_ns) return;
        epoch->settled_ns = 0;
        sx_fence_epoch_reclaim();
    }
    uint64_t oldest = UINT64_MAX;
    for (const sx_epoch_record *record = records(epoch); record != NULL; record = record->next) {
        /* [order: epoch-unpin] observes each thread's reads in the pins that ended */
        uint64_t seen = atomic_load_explicit(&record->seen, SX_TSAN ? memory_order_seq_cst : memory_order_acquire);
        if (seen != 0 && seen < oldest) oldest = seen;
    }
    /* Not beyond the present: what is collected later waits for a look of its own. */
    uint64_t now = atomic_load_explicit(&epoch->time.now, memory_order_relaxed); /* relaxed: own store */
    epoch->safe = oldest < now ? oldest : now;
}

/* Frees at most so many batches of those that may be. */
static size_t free_ready(sx_epoch *epoch, uint32_t count) {
    size_t bytes = 0;
    for (; count > 0 && epoch->waiting != NULL && epoch->waiting->stamp < epoch->safe; count--) {
        batch *b = epoch->waiting;
        epoch->waiting = b->next;
        epoch->waiting_count--;
        if (epoch->waiting == NULL) epoch->waiting_end = &epoch->waiting;
        bytes += batch_free(epoch, b);
    }
    return bytes;
}

static bool turn_take(sx_epoch *epoch) {
    /* relaxed: a hint, the exchange decides; [order: reclaim-turn] observes what the last one left */
    return !atomic_load_explicit(&epoch->reclaiming, memory_order_relaxed) &&
           !atomic_exchange_explicit(&epoch->reclaiming, true, memory_order_acquire);
}
static void turn_give(sx_epoch *epoch) {
    atomic_store_explicit(&epoch->reclaiming, false, memory_order_release); /* [order: reclaim-turn] */
}

static size_t reclaim_all(sx_epoch *epoch) {
    (void)begin(epoch, now_ns());
    look(epoch);
    size_t bytes = free_ready(epoch, UINT32_MAX);
    look(epoch); /* what waited behind them */
    return bytes + free_ready(epoch, UINT32_MAX);
}

size_t sx_epoch_reclaim(sx_epoch *epoch) {
    if (!turn_take(epoch)) return 0;
    size_t bytes = reclaim_all(epoch);
    turn_give(epoch);
    return bytes;
}

size_t sx_epoch_reclaim_left(sx_epoch *epoch) {
    if (!turn_take(epoch)) return 0;
    size_t bytes = epoch->helped ? 0 : reclaim_all(epoch);
    epoch->helped = false;
    turn_give(epoch);
    return bytes;
}

size_t sx_epoch_reclaim_some(sx_epoch *epoch, bool pressed) {
    if (!turn_take(epoch)) return 0;
    look(epoch);
    /* As many as a writer retires between its calls: so its allocator's cache of free memory neither overflows nor runs dry. */
    uint32_t some = 1 + epoch->waiting_count / SOME_OF;
    size_t bytes = free_ready(epoch, pressed || some > PRESSED_MAX ? PRESSED_MAX : some);
    bool ready = epoch->waiting != NULL && epoch->waiting->stamp < epoch->safe;
    if (!ready) {
        /* Where what waits can't be freed, a pin is in the way, and another grace period helps nobody at once. */
        int64_t now = now_ns();
        if ((pressed && epoch->waiting == NULL) || now >= epoch->again_ns) {
            epoch->helped |= begin(epoch, now);
            look(epoch);
            if (pressed) bytes += free_ready(epoch, PRESSED_MAX);
        }
    }
    epoch->helped |= bytes != 0;
    turn_give(epoch);
    return bytes;
}

size_t sx_epoch_retired_hint(const sx_epoch *epoch) {
    int64_t bytes = atomic_load_explicit(&epoch->retired_bytes, memory_order_relaxed); /* relaxed: a sum */
    return bytes > 0 ? (size_t)bytes : 0;
}

size_t sx_epoch_retired_bytes(const sx_epoch *epoch) {
    int64_t bytes = atomic_load_explicit(&epoch->retired_bytes, memory_order_relaxed); /* relaxed: a sum */
    for (const sx_epoch_record *record = records(epoch); record != NULL; record = record->next) {
        bytes += atomic_load_explicit(&record->unreported, memory_order_relaxed); /* relaxed: a sum */
    }
    return bytes > 0 ? (size_t)bytes : 0;
}

void sx_epoch_destroy(sx_epoch *epoch) {
    if (epoch == NULL) return;
    for (sx_epoch_record *record = records(epoch); record != NULL; record = record->next) {
        assert(!sx_epoch_is_pinned(record));
    }
    epoch->settled_ns = 0;
    do { /* a free function may itself retire */
        (void)sx_epoch_reclaim(epoch);
        epoch->settled_ns = 0;
    } while (epoch->waiting != NULL || sx_epoch_retired_bytes(epoch) > 0);
    for (sx_epoch_record *record = records(epoch); record != NULL;) {
        sx_epoch_record *next = record->next;
        sx_release(epoch->alloc, record, sizeof *record);
        record = next;
    }
    sx_lock_deinit(&epoch->lock);
    sx_release(epoch->alloc, epoch, sizeof *epoch);
}

int32_t sx_epoch_register(sx_epoch *epoch, sx_epoch_record **out) {
    sx_lock_acquire(&epoch->lock);
    sx_epoch_record *record = records(epoch);
    while (record != NULL && record->used) record = record->next;
    if (record != NULL) record->used = true;
    sx_lock_release(&epoch->lock);
    if (record == NULL) {
        record = epoch->alloc->allocate(epoch->alloc->context, sizeof *record, SX_NO_SHARING);
        if (record == NULL) return STRATA_E_NOMEM;
        memset(record, 0, sizeof *record);
        record->epoch = epoch;
        record->time = &epoch->time;
        record->used = true;
        sx_lock_acquire(&epoch->lock);
        record->number = atomic_load_explicit(&epoch->record_count, memory_order_relaxed); /* relaxed: ordered by the lock */
        atomic_store_explicit(&epoch->record_count, record->number + 1, memory_order_relaxed); /* relaxed: a hint */
        record->next = atomic_load_explicit(&epoch->records, memory_order_relaxed); /* relaxed: ordered by the lock */
        /* [order: epoch-records] publishes the record's fields */
        atomic_store_explicit(&epoch->records, record, memory_order_release);
        sx_lock_release(&epoch->lock);
    }
    record->user = NULL;
    *out = record;
    return STRATA_OK;
}

uint32_t sx_epoch_record_count(const sx_epoch *epoch) {
    return atomic_load_explicit(&epoch->record_count, memory_order_relaxed); /* relaxed: a hint */
}

void sx_epoch_unregister(sx_epoch_record *record) {
    if (record == NULL) return;
    while (sx_epoch_is_pinned(record)) sx_epoch_unpin(record);
    /* What it retired stays in its open batch, which is taken like any other. */
    sx_epoch *epoch = record->epoch;
    sx_lock_acquire(&epoch->lock);
    record->used = false;
    record->name[0] = '\0';
    sx_lock_release(&epoch->lock);
}

_Static_assert(sizeof((sx_epoch_record *)0)->name == SX_EPOCH_NAME_BYTES, "a record has room for its name");

void sx_epoch_record_name(sx_epoch_record *record, const char *name) {
    sx_lock_acquire(&record->epoch->lock);
    strncpy(record->name, name, sizeof record->name - 1);
    sx_lock_release(&record->epoch->lock);
}

bool sx_epoch_oldest(sx_epoch *epoch, char name[SX_EPOCH_NAME_BYTES], uint64_t *since) {
    uint64_t oldest = UINT64_MAX;
    sx_lock_acquire(&epoch->lock);
    for (const sx_epoch_record *record = records(epoch); record != NULL; record = record->next) {
        uint64_t seen = atomic_load_explicit(&record->seen, memory_order_relaxed); /* relaxed: only shown */
        if (seen == 0 || seen >= oldest) continue;
        oldest = seen;
        memcpy(name, record->name, sizeof record->name);
    }
    sx_lock_release(&epoch->lock);
    *since = oldest;
    return oldest != UINT64_MAX;
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
    /* relaxed: its own, a sum */
    int64_t unreported = atomic_load_explicit(&record->unreported, memory_order_relaxed) + (int64_t)bytes;
    if (unreported >= SX_EPOCH_PORTION) {
        atomic_fetch_add_explicit(&epoch->retired_bytes, unreported, memory_order_relaxed); /* relaxed: a sum */
        unreported = 0;
    }
    atomic_store_explicit(&record->unreported, unreported, memory_order_relaxed); /* relaxed: a sum */
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
