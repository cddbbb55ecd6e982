/* SPDX-License-Identifier: Apache-2.0 */
/* Where memory comes from: jemalloc with a private arena per instance, libc, or functions that a program brought. */
#include "core/memory/alloc.h"

#include <stdatomic.h>
#include <stdbool.h>
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
#include <sched.h>
#include <unistd.h>

#include <jemalloc/jemalloc.h>

/* Memory goes back by dallocx, not sdallocx: a sized free needs the alignment that was asked for, which release isn't
   told, and it measured no faster. */
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

/* One processor's cache of free regions, of this arena's only. An automatic tcache belongs to its thread and mixes
   arenas: regions of ours would stay in it beyond the arena's end. No tcache at all costs a lock per call on the
   arena's bins, shared by all threads. So: explicit tcaches, picked by processor, each tried under a flag that is
   almost never found taken, since a thread would have to be moved away in the middle of it. */
typedef struct cpu_cache {
    _Alignas(SX_CACHE_LINE) _Atomic uint32_t busy; /* atomic: acquire, release [order: tcache-turn] */
    unsigned id;                                   /* const after create */
} cpu_cache;

typedef struct arena {
    unsigned index;       /* const after create */
    unsigned cache_count; /* const after create */
    cpu_cache caches[CPUS_MAX];
} arena;

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

static void *arena_allocate(void *context, size_t size, size_t alignment) {
    arena *a = context;
    if (size == 0) size = 1;
    int flags = (int)MALLOCX_ARENA(a->index) | MALLOCX_ALIGN(alignment);
    cpu_cache *cache = cache_take(a, size);
    if (cache == NULL) return mallocx(size, flags | MALLOCX_TCACHE_NONE);
    void *memory = mallocx(size, flags | MALLOCX_TCACHE(cache->id));
    cache_give(cache);
    return memory;
}

static void arena_release(void *context, void *memory, size_t size) {
    arena *a = context;
    cpu_cache *cache = cache_take(a, size);
    if (cache == NULL) {
        dallocx(memory, MALLOCX_TCACHE_NONE);
        return;
    }
    dallocx(memory, MALLOCX_TCACHE(cache->id));
    cache_give(cache);
}

static bool arena_control(const arena *a, const char *format_head, const char *format_tail, void *out,
                          size_t size) {
    char name[64];
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
    return mallctl(name, out, out != NULL ? &size : NULL, NULL, 0) == 0;
}

static void arena_deinit(arena *a) {
    /* Destroying a tcache flushes it, each region to the arena it came from. */
    for (unsigned i = 0; i < a->cache_count; i++) {
        (void)mallctl("tcache.destroy", NULL, NULL, &a->caches[i].id, sizeof a->caches[i].id);
    }
    (void)arena_control(a, "arena.", ".destroy", NULL, 0);
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
    long cpus = sysconf(_SC_NPROCESSORS_CONF);
    unsigned wanted = cpus < 1 ? 1 : cpus > CPUS_MAX ? CPUS_MAX : (unsigned)cpus;
    for (; a->cache_count < wanted; a->cache_count++) {
        size = sizeof a->caches[0].id;
        if (mallctl("tcache.create", &a->caches[a->cache_count].id, &size, NULL, 0) != 0) {
            arena_deinit(a);
            default_release(NULL, a, sizeof *a);
            return STRATA_E_NOMEM;
        }
    }
    *out = (sx_alloc){a, arena_allocate, arena_release, default_usable};
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

#else

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

/* As in glibc: one word before each region, multiples of 16, 32 at least. */
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
