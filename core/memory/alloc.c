/* SPDX-License-Identifier: Apache-2.0 */
/* Where memory comes from: jemalloc with a private arena per instance, libc, or functions that a program brought. */
#include "core/memory/alloc.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <strata/status.h>

#include "core/memory/atomic.h"

#ifndef SX_ALLOC_JEMALLOC
#define SX_ALLOC_JEMALLOC 1
#endif

static size_t round_up(size_t size, size_t to) {
    return size > SIZE_MAX - to ? SIZE_MAX : (size + to - 1) & ~(to - 1);
}

#if SX_ALLOC_JEMALLOC

/* unistd.h for sched_getcpu's fallback, sched.h for itself. */
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <unistd.h>

#include <jemalloc/jemalloc.h>

static void *default_allocate(void *context, size_t size, size_t alignment) {
    (void)context;
    return mallocx(size != 0 ? size : 1, MALLOCX_ALIGN(alignment));
}

static void default_release(void *context, void *memory, size_t size) {
    (void)context;
    (void)size;
    dallocx(memory, 0);
}

static size_t default_usable(void *context, size_t size) {
    (void)context;
    size_t usable = nallocx(size != 0 ? size : 1, MALLOCX_ALIGN(16));
    return usable != 0 ? usable : size;
}

#define CPUS_MAX         64
#define CACHED_BYTES_MAX 4096
#define CLASSES_MAX      32    /* jemalloc has 28 up to CACHED_BYTES_MAX; where it had more, the largest would have no shelf */
#define SHELF_MAX        96    /* regions of a class: more than a writer's turn of reclaiming frees of small ones ... */
#define SHELF_BYTES_MAX  16384 /* ... and their bytes, where those are reached first */

/* Free regions at hand by size class, the last that came in front. jemalloc's tcache does the same for 130 instructions a call, most
   of which find out from the arguments what is known here; a put frees one region and takes one. */
typedef struct shelves {
    uint32_t count[CLASSES_MAX];
    void *regions[CLASSES_MAX][SHELF_MAX];
} shelves;

/* One processor's cache of free regions, of this arena's only. An automatic tcache belongs to its thread and mixes
   arenas: regions of ours would stay in it beyond the arena's end. No tcache at all costs a lock per call on the
   arena's bins, shared by all threads. So: explicit tcaches, picked by processor, each tried under a flag that is
   almost never found taken, since a thread would have to be moved away in the middle of it. Shelves stand in front of each. */
typedef struct cpu_cache {
    _Alignas(SX_CACHE_LINE) _Atomic uint32_t busy; /* atomic: acquire, release [order: tcache-turn] */
    unsigned id;                                   /* const after create */
    shelves *shelves;                              /* const after create; what is on them, owner: who has busy */
} cpu_cache;

typedef struct arena {
    unsigned index;       /* const after create */
    unsigned cache_count; /* const after create */
    bool huge;            /* const before the first use: pages of 2 MB are wished for */
    /* const after create: the class of requests by size in steps of 16, CLASSES_MAX for none; what its regions occupy; how many of
       them a shelf holds */
    uint8_t class_of[CACHED_BYTES_MAX / 16 + 1];
    uint32_t class_bytes[CLASSES_MAX];
    uint32_t shelf_max[CLASSES_MAX];
    cpu_cache caches[CPUS_MAX];
} arena;

static void classes_init(arena *a) {
    uint32_t classes = 0;
    for (size_t i = 1; i <= CACHED_BYTES_MAX / 16; i++) {
        size_t bytes = default_usable(NULL, i * 16);
        if ((classes == 0 || a->class_bytes[classes - 1] != bytes) && classes < CLASSES_MAX) {
            size_t most = SHELF_BYTES_MAX / bytes;
            a->class_bytes[classes] = (uint32_t)bytes;
            a->shelf_max[classes++] = most < SHELF_MAX ? (uint32_t)most : SHELF_MAX;
        }
        a->class_of[i] = a->class_bytes[classes - 1] == bytes ? (uint8_t)(classes - 1) : CLASSES_MAX;
    }
}

/* Of a request that may be cached. */
static uint32_t class_of(const arena *a, size_t size) { return a->class_of[(size + 15) / 16]; }

/* The cache of this processor, taken, or NULL. */
static cpu_cache *cache_take(arena *a, size_t size) {
    if (size > CACHED_BYTES_MAX || a->cache_count == 0) return NULL;
    int cpu = sched_getcpu();
    cpu_cache *cache = &a->caches[(cpu < 0 ? 0u : (unsigned)cpu) % a->cache_count];
    /* [order: tcache-turn] observes what the last user of this cache left in it */
    if (atomic_exchange_explicit(&cache->busy, 1, memory_order_acquire) != 0) return NULL;
    return cache;
}

static void cache_give(cpu_cache *cache) {
    /* [order: tcache-turn] publishes the cache's contents to its next user */
    atomic_store_explicit(&cache->busy, 0, memory_order_release);
}

/* NULL where there is none. */
static void *shelf_take(const arena *a, shelves *s, size_t size) {
    uint32_t class = class_of(a, size);
    return class == CLASSES_MAX || s->count[class] == 0 ? NULL : s->regions[class][--s->count[class]];
}

static bool shelf_put(const arena *a, shelves *s, void *memory, size_t size) {
    uint32_t class = class_of(a, size);
    if (class == CLASSES_MAX || s->count[class] == a->shelf_max[class]) return false;
    s->regions[class][s->count[class]++] = memory;
    return true;
}

static void *arena_allocate(void *context, size_t size, size_t alignment) {
    arena *a = context;
    assert(alignment <= 16 || (size != 0 && size % alignment == 0)); /* so that the size alone says what it occupies */
    if (size == 0) size = 1;
    int flags = (int)MALLOCX_ARENA(a->index) | MALLOCX_ALIGN(alignment);
    cpu_cache *cache = cache_take(a, size);
    if (cache == NULL) return mallocx(size, flags | MALLOCX_TCACHE_NONE);
    void *memory = alignment <= 16 ? shelf_take(a, cache->shelves, size) : NULL;
    if (memory == NULL) memory = mallocx(size, flags | MALLOCX_TCACHE(cache->id));
    cache_give(cache);
    return memory;
}

static void arena_release(void *context, void *memory, size_t size) {
    arena *a = context;
    if (size == 0) size = 1;
    cpu_cache *cache = cache_take(a, size);
    if (cache == NULL) {
        dallocx(memory, MALLOCX_TCACHE_NONE);
        return;
    }
    /* With its size: else jemalloc looks it up by address, in a table of pages that is as cold as the memory. */
    if (!shelf_put(a, cache->shelves, memory, size)) sdallocx(memory, size, MALLOCX_ALIGN(16) | MALLOCX_TCACHE(cache->id));
    cache_give(cache);
}

static size_t arena_usable(void *context, size_t size) {
    const arena *a = context;
    uint32_t class = size == 0 || size > CACHED_BYTES_MAX ? CLASSES_MAX : class_of(a, size);
    return class == CLASSES_MAX ? default_usable(NULL, size) : a->class_bytes[class];
}

/* The name of this arena's control into name. */
static void arena_name(const arena *a, const char *format_head, const char *format_tail, char name[64]) {
    size_t head = strlen(format_head);
    char digits[12];
    size_t at = sizeof digits;
    unsigned index = a->index;
    do {
        digits[--at] = (char)('0' + index % 10);
        index /= 10;
    } while (index != 0);
    size_t length = sizeof digits - at;
    memcpy(name, format_head, head);
    memcpy(name + head, digits + at, length);
    memcpy(name + head + length, format_tail, strlen(format_tail) + 1);
}

static bool arena_set(const arena *a, const char *format_head, const char *format_tail, void *value, size_t size) {
    char name[64];
    arena_name(a, format_head, format_tail, name);
    return mallctl(name, NULL, NULL, value, size) == 0;
}

static bool arena_control(const arena *a, const char *format_head, const char *format_tail, void *out,
                          size_t size) {
    char name[64];
    arena_name(a, format_head, format_tail, name);
    return mallctl(name, out, out != NULL ? &size : NULL, NULL, 0) == 0;
}

static void arena_deinit(arena *a) {
    /* Destroying a tcache flushes it, each region to the arena it came from; what is on shelves ends with the arena. */
    for (unsigned i = 0; i < a->cache_count; i++) {
        (void)mallctl("tcache.destroy", NULL, NULL, &a->caches[i].id, sizeof a->caches[i].id);
        default_release(NULL, a->caches[i].shelves, sizeof *a->caches[i].shelves);
    }
    (void)arena_control(a, "arena.", ".destroy", NULL, 0);
}

static bool cache_create(cpu_cache *cache) {
    size_t size = sizeof cache->id;
    cache->shelves = sx_allocate(sx_alloc_default(), sizeof *cache->shelves);
    if (cache->shelves == NULL) return false;
    memset(cache->shelves->count, 0, sizeof cache->shelves->count); /* the rest is touched when it is used */
    if (mallctl("tcache.create", &cache->id, &size, NULL, 0) == 0) return true;
    default_release(NULL, cache->shelves, sizeof *cache->shelves);
    return false;
}

int32_t sx_alloc_arena_create(sx_alloc *out) {
    arena *a = default_allocate(NULL, sizeof *a, SX_CACHE_LINE);
    if (a == NULL) return STRATA_E_NOMEM;
    memset(a, 0, sizeof *a);
    size_t size = sizeof a->index;
    if (mallctl("arenas.create", &a->index, &size, NULL, 0) != 0) {
        default_release(NULL, a, sizeof *a);
        return STRATA_E_NOMEM;
    }
    classes_init(a);
    long cpus = sysconf(_SC_NPROCESSORS_CONF);
    unsigned wanted = cpus < 1 ? 1 : cpus > CPUS_MAX ? CPUS_MAX : (unsigned)cpus;
    for (; a->cache_count < wanted; a->cache_count++) {
        if (!cache_create(&a->caches[a->cache_count])) {
            arena_deinit(a);
            default_release(NULL, a, sizeof *a);
            return STRATA_E_NOMEM;
        }
    }
    *out = (sx_alloc){a, arena_allocate, arena_release, arena_usable};
    return STRATA_OK;
}

void sx_alloc_arena_destroy(sx_alloc *alloc) {
    if (alloc->allocate != arena_allocate) return;
    arena *a = alloc->context;
    arena_deinit(a);
    default_release(NULL, a, sizeof *a);
    memset(alloc, 0, sizeof *alloc);
}

int64_t sx_alloc_arena_resident(const sx_alloc *alloc) {
    if (alloc->allocate != arena_allocate) return -1;
    uint64_t epoch = 1;
    size_t resident = 0;
    if (mallctl("epoch", NULL, NULL, &epoch, sizeof epoch) != 0) return -1;
    if (!arena_control(alloc->context, "stats.arenas.", ".resident", &resident, sizeof resident)) return -1;
    return resident > INT64_MAX ? INT64_MAX : (int64_t)resident;
}

/* Entries lie at random places: with pages of 4 KB most finds miss the processor's table of pages as well as its caches.
   jemalloc takes room in pieces of 2 MB and more from its hook, of which we only add the wish. */
#define HUGE_PAGE_BYTES  ((size_t)2 << 20)
#define SMALL_PAGE_BYTES ((size_t)4096)

static extent_hooks_t huge_hooks;           /* const after huge_once */
static extent_alloc_t *huge_hooks_allocate; /* const after huge_once: jemalloc's own */
static pthread_once_t huge_once = PTHREAD_ONCE_INIT;

static void *huge_allocate(extent_hooks_t *hooks, void *wanted, size_t size, size_t alignment, bool *zero, bool *commit,
                           unsigned index) {
    void *memory = huge_hooks_allocate(hooks, wanted, size, alignment, zero, commit, index);
    if (memory != NULL && size >= HUGE_PAGE_BYTES) (void)madvise(memory, size, MADV_HUGEPAGE);
    return memory;
}

static void huge_hooks_init(void) {
    extent_hooks_t *own = NULL;
    size_t size = sizeof own;
    if (mallctl("arena.0.extent_hooks", &own, &size, NULL, 0) != 0 || own == NULL || own->alloc == NULL) return;
    huge_hooks = *own;
    huge_hooks_allocate = own->alloc;
    huge_hooks.alloc = huge_allocate;
}

void sx_alloc_arena_huge_pages(const sx_alloc *alloc) {
    if (alloc->allocate != arena_allocate) return;
    arena *a = alloc->context;
    extent_hooks_t *hooks = &huge_hooks;
    (void)pthread_once(&huge_once, huge_hooks_init);
    if (huge_hooks_allocate == NULL) return;
    a->huge = arena_set(a, "arena.", ".extent_hooks", &hooks, sizeof hooks);
}

void sx_alloc_arena_sparse(const sx_alloc *alloc, void *memory, size_t size, bool sparse) {
    if (alloc->allocate != arena_allocate || !((const arena *)alloc->context)->huge) return;
    uintptr_t from = ((uintptr_t)memory + SMALL_PAGE_BYTES - 1) & ~(SMALL_PAGE_BYTES - 1);
    uintptr_t to = ((uintptr_t)memory + size) & ~(SMALL_PAGE_BYTES - 1);
    if (to > from) (void)madvise((void *)from, to - from, sparse ? MADV_NOHUGEPAGE : MADV_HUGEPAGE);
}

#else

void sx_alloc_arena_huge_pages(const sx_alloc *alloc) { (void)alloc; }
void sx_alloc_arena_sparse(const sx_alloc *alloc, void *memory, size_t size, bool sparse) {
    (void)alloc;
    (void)memory;
    (void)size;
    (void)sparse;
}

static void *default_allocate(void *context, size_t size, size_t alignment) {
    (void)context;
    if (size == 0) size = 1;
    if (alignment <= 16) return malloc(size);
    void *memory = NULL;
    return posix_memalign(&memory, alignment, size) == 0 ? memory : NULL;
}

static void default_release(void *context, void *memory, size_t size) {
    (void)context;
    (void)size;
    free(memory);
}

/* As in glibc: one word before each region, multiples of 16, 32 at least. Regions beyond its threshold for mmap, 128 KiB at
   first, are whole pages there: up to a page more than is said here, less than a thirtieth. */
static size_t default_usable(void *context, size_t size) {
    (void)context;
    size_t chunk = size > SIZE_MAX - 8 ? SIZE_MAX : round_up(size + 8, 16);
    return chunk < 32 ? 32 : chunk;
}

int32_t sx_alloc_arena_create(sx_alloc *out) {
    *out = *sx_alloc_default();
    return STRATA_OK;
}

void sx_alloc_arena_destroy(sx_alloc *alloc) {
    memset(alloc, 0, sizeof *alloc);
}

int64_t sx_alloc_arena_resident(const sx_alloc *alloc) {
    (void)alloc;
    return -1;
}

#endif

const sx_alloc *sx_alloc_default(void) {
    static const sx_alloc table = {NULL, default_allocate, default_release, default_usable};
    return &table;
}

static size_t wrapped_usable(void *context, size_t size) {
    (void)context;
    return round_up(size, 16);
}

void sx_alloc_wrap(sx_alloc *out, void *context, void *(*allocate)(void *, size_t, size_t),
                   void (*release)(void *, void *, size_t)) {
    *out = (sx_alloc){context, allocate, release, wrapped_usable};
}

void *sx_allocate_zero(const sx_alloc *alloc, size_t size) {
    void *memory = sx_allocate(alloc, size);
    if (memory != NULL) memset(memory, 0, size);
    return memory;
}

char *sx_allocate_text(const sx_alloc *alloc, const char *text, size_t size) {
    if (size == SIZE_MAX) return NULL;
    char *copy = sx_allocate(alloc, size + 1);
    if (copy == NULL) return NULL;
    if (size != 0) memcpy(copy, text, size);
    copy[size] = '\0';
    return copy;
}
