/* SPDX-License-Identifier: Apache-2.0 */
/* Namespaces in a ck_hs: one writer at a time, readers that need no lock. Every message from another process looks one up. */
#include "core/flow/names.h"

#include <assert.h>
#include <ck_hs.h>
#include <string.h>
#include <strata/status.h>
#include <xxhash.h>

#include "core/flow/engine.h"

struct sx_names {
    ck_hs_t set;
    const sx_alloc *alloc;
    uint32_t max;
};

/* ck's allocator has no context: whose memory it takes is said by the thread that is inside of it. */
static _Thread_local const sx_alloc *alloc_of_call;
static void *take(size_t size) { return sx_allocate(alloc_of_call, size); }
static void give(void *memory, size_t size, bool defer) {
    (void)defer; /* only what grows is freed late, and this never does */
    sx_release(alloc_of_call, memory, size);
}
static struct ck_malloc memory = {.malloc = take, .free = give};

static unsigned long hash_of(const void *object, unsigned long seed) {
    const strata_namespace *ns = object;
    return (unsigned long)XXH3_64bits_withSeed(ns->name, ns->name_size, seed ^ ns->version);
}

static bool are_same(const void *a, const void *b) {
    const strata_namespace *left = a, *right = b;
    /* [order: namespace-open] observes the fields of the one that is in the set; it is true there */
    bool opened = atomic_load_explicit(&left->opened, memory_order_acquire) ||
                  atomic_load_explicit(&right->opened, memory_order_acquire); /* [order: namespace-open] the other way round */
    return opened && left->version == right->version && left->name_size == right->name_size &&
           memcmp(left->name, right->name, left->name_size) == 0;
}

int32_t sx_names_create(const sx_alloc *alloc, uint32_t max, sx_names **out) {
    sx_names *names = sx_allocate_zero(alloc, sizeof *names);
    if (names == NULL) return STRATA_E_NOMEM;
    names->alloc = alloc;
    names->max = max;
    alloc_of_call = alloc;
    /* Half of it stays empty: beyond that ck_hs would grow. */
    if (!ck_hs_init(&names->set, CK_HS_MODE_SPMC | CK_HS_MODE_OBJECT, hash_of, are_same, &memory, 2ul * max, 0)) {
        sx_release(alloc, names, sizeof *names);
        return STRATA_E_NOMEM;
    }
    *out = names;
    return STRATA_OK;
}

void sx_names_destroy(sx_names *names) {
    if (names == NULL) return;
    alloc_of_call = names->alloc;
    ck_hs_destroy(&names->set);
    sx_release(names->alloc, names, sizeof *names);
}

void sx_names_add(sx_names *names, strata_namespace *ns) {
    assert(ck_hs_count(&names->set) < names->max);
    alloc_of_call = names->alloc;
    /* [order: namespace-open] publishes the namespace's fields */
    atomic_store_explicit(&ns->opened, true, memory_order_release);
    bool added = ck_hs_put(&names->set, CK_HS_HASH(&names->set, hash_of, ns), ns);
    assert(added);
    (void)added;
}

strata_namespace *sx_names_find(sx_names *names, const char *name, size_t size, uint32_t version) {
    strata_namespace wanted = {.name_size = (uint32_t)size, .version = version};
    if (size == 0 || size > SX_NAMESPACE_BYTES_MAX) return NULL;
    memcpy(wanted.name, name, size);
    return ck_hs_get(&names->set, CK_HS_HASH(&names->set, hash_of, &wanted), &wanted);
}
