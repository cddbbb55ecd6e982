/* SPDX-License-Identifier: Apache-2.0 */
/* The allocator table that every room takes its memory from, so that one instance's memory can be counted and made to
   fail, and a host's own malloc is never touched. */
#ifndef SX_CORE_MEMORY_ALLOC_H
#define SX_CORE_MEMORY_ALLOC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>


/* const after create. All functions may be called from any thread at once. */
typedef struct sx_alloc {
    void *context;
    void *(*allocate)(void *context, size_t size, size_t alignment); /* NULL when out of memory; beyond 16, size is a multiple of it, not 0 */
    void (*release)(void *context, void *memory, size_t size);       /* size as asked for; memory not NULL */
    size_t (*usable)(void *context, size_t size);                    /* bytes that a request of size occupies */
} sx_alloc;

/* The process-wide table: jemalloc's mallocx in its automatic arenas, or libc's. Lives forever. */
const sx_alloc *sx_alloc_default(void);

/* A table whose memory is apart from everybody else's: a private jemalloc arena, or in a libc build the default one.
   destroy gives back whatever is still allocated from the arena (libc: nothing), so all users must be gone. */
int32_t sx_alloc_arena_create(sx_alloc *out);
void sx_alloc_arena_destroy(sx_alloc *alloc);
/* Resident bytes of the arena's pages, or -1 where unknown (libc, injected). Takes the arena's statistics lock. */
int64_t sx_alloc_arena_resident(const sx_alloc *alloc);

/* Asks the kernel to back what the arena takes from now on by pages of 2 MB. A wish: a kernel that doesn't, or another kind of
   table, goes on as before. Before the arena's first use. */
void sx_alloc_arena_huge_pages(const sx_alloc *alloc);
/* Takes that back for memory of the arena that will be touched little by little (sparse), or wishes it again. */
void sx_alloc_arena_sparse(const sx_alloc *alloc, void *memory, size_t size, bool sparse);

/* A table over functions a program brought; usable answers size rounded up to 16. */
void sx_alloc_wrap(sx_alloc *out, void *context, void *(*allocate)(void *, size_t, size_t),
                   void (*release)(void *, void *, size_t));

static inline void *sx_allocate(const sx_alloc *alloc, size_t size) {
    return alloc->allocate(alloc->context, size, 16);
}
void *sx_allocate_zero(const sx_alloc *alloc, size_t size);
/* NULL memory is nothing to do. */
static inline void sx_release(const sx_alloc *alloc, void *memory, size_t size) {
    if (memory != NULL) alloc->release(alloc->context, memory, size);
}
/* A zero-terminated copy of size bytes, or NULL; release with size + 1. */
char *sx_allocate_text(const sx_alloc *alloc, const char *text, size_t size);

#endif
