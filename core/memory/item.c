/* SPDX-License-Identifier: Apache-2.0 */
/* The item: its creation, its count, and its end. */
#include "core/memory/item.h"

#include <assert.h>
#include <string.h>

#define KEPT_OUTSIDE UINT32_C(0x80000000)
#define COUNT_MASK   UINT32_C(0x7fffffff)

_Static_assert(sizeof(sx_item) == 56, "each entry of L1 pays for it; the value can be aligned to 8");

/* Bytes up to the end of the app's version. */
static size_t plain_size(size_t key_size, size_t value_size, uint32_t flags) {
    return sizeof(sx_item) + ((key_size + 7) & ~(size_t)7) + value_size +
           ((flags & SX_ITEM_APP_VERSION) != 0 ? sizeof(uint64_t) : 0);
}

static size_t aligned(size_t size) { return (size + 7) & ~(size_t)7; }

static size_t tagging_at(size_t plain, uint32_t flags) {
    return aligned(plain) + ((flags & SX_ITEM_AGING) != 0 ? sizeof(sx_item_aging) : 0);
}

static size_t etag_at(size_t key_size, size_t value_size, uint32_t flags, size_t tags_size) {
    size_t plain = plain_size(key_size, value_size, flags);
    if ((flags & SX_ITEM_TAGS) != 0) return tagging_at(plain, flags) + offsetof(sx_item_tagging, bytes) + tags_size;
    return (flags & SX_ITEM_AGING) != 0 ? tagging_at(plain, flags) : plain;
}

static size_t size_of(size_t key_size, size_t value_size, uint32_t flags, size_t tags_size, size_t etag_size) {
    return etag_at(key_size, value_size, flags, tags_size) + ((flags & SX_ITEM_ETAG) != 0 ? 1 + etag_size : 0);
}

sx_item *sx_item_create(sx_heap *heap, const void *key, size_t key_size, const void *value, size_t value_size,
                        const sx_item_facts *facts) {
    if (key_size > SX_ITEM_KEY_MAX || value_size > UINT32_MAX || facts->tags_size > UINT16_MAX || facts->etag_size > UINT8_MAX)
        return NULL;
    uint32_t flags = facts->app_version != 0 ? SX_ITEM_APP_VERSION : 0;
    if (facts->tags_size != 0) flags |= SX_ITEM_TAGS;
    flags |= facts->nothing | facts->packed;
    if (facts->aged || facts->nothing != 0) flags |= SX_ITEM_AGING;
    if (facts->etag_size != 0) flags |= SX_ITEM_ETAG;
    size_t size = size_of(key_size, value_size, flags, facts->tags_size, facts->etag_size);
    if (facts->passes && sx_spare_room(size) != 0) {
        flags |= SX_ITEM_SPARE;
        size = sx_spare_room(size);
    }
    sx_item *item = (flags & SX_ITEM_SPARE) != 0 ? sx_spares_take(&heap->spares, &heap->alloc, size) : sx_allocate(&heap->alloc, size);
    if (item == NULL) return NULL;
    /* L1's slots keep their own in the other bits; a program's allocator was asked for 16. */
    if (((uintptr_t)item & 15) != 0 || (uint64_t)(uintptr_t)item >> 48 != 0) {
        sx_release(&heap->alloc, item, size);
        return NULL;
    }
    atomic_init(&item->refs, 1);
    item->value_size = (uint32_t)value_size;
    item->n = facts->n;
    item->id = facts->id;
    item->written_ms = facts->written_ms;
    atomic_init(&item->expires_ns, facts->expires_ns);
    atomic_init(&item->generation, facts->generation);
    item->ns = facts->ns;
    item->partition = facts->partition;
    item->key_size = key_size & SX_ITEM_KEY_MAX;
    item->flags = flags & ((1u << SX_ITEM_FLAG_BITS) - 1);
    item->heap = heap->number & (SX_HEAPS_MAX - 1);
    if ((flags & SX_ITEM_APP_VERSION) != 0)
        memcpy(sx_item_value(item) + value_size, &facts->app_version, sizeof facts->app_version);
    if ((flags & SX_ITEM_AGING) != 0)
        *sx_item_aging_of(item) = (sx_item_aging){.fresh_ns = facts->expires_ns,
                                                  .l1_ns = facts->expires_ns,
                                                  .gone_ns = facts->expires_ns,
                                                  .due_ns = facts->expires_ns,
                                                  .refresh_ns = INT64_MIN,
                                                  .failed_ns = INT64_MIN};
    if ((flags & SX_ITEM_TAGS) != 0) {
        sx_item_tagging *tagging = sx_item_tagging_of(item);
        atomic_init(&tagging->epoch, 0);
        tagging->size = (uint16_t)facts->tags_size;
        memcpy(tagging->bytes, facts->tags, facts->tags_size);
    }
    if ((flags & SX_ITEM_ETAG) != 0) {
        uint8_t *etag = (uint8_t *)item + etag_at(key_size, value_size, flags, facts->tags_size);
        etag[0] = (uint8_t)facts->etag_size;
        memcpy(etag + 1, facts->etag, facts->etag_size);
    }
    if (value != NULL && value_size != 0) memcpy(sx_item_value(item), value, value_size);
    if (key_size != 0) memcpy(sx_item_key(item), key, key_size);
    return item;
}

sx_item_tagging *sx_item_tagging_of(const sx_item *item) {
    if ((item->flags & SX_ITEM_TAGS) == 0) return NULL;
    size_t at = tagging_at(plain_size(item->key_size, item->value_size, item->flags), item->flags);
    return (sx_item_tagging *)((uintptr_t)item + at);
}

sx_item_aging *sx_item_aging_of(const sx_item *item) {
    if ((item->flags & SX_ITEM_AGING) == 0) return NULL;
    size_t at = aligned(plain_size(item->key_size, item->value_size, item->flags));
    return (sx_item_aging *)((uintptr_t)item + at);
}

static int64_t relaxed(const _Atomic int64_t *number) {
    return atomic_load_explicit(number, memory_order_relaxed); /* relaxed: a time that stands for itself */
}

int64_t sx_item_l1_ns(const sx_item *item) {
    if ((item->flags & SX_ITEM_NOTHING) != 0) return INT64_MIN;
    return (item->flags & SX_ITEM_AGING) == 0 ? sx_item_expires_ns(item) : sx_item_aging_of(item)->l1_ns;
}

int64_t sx_item_gone_ns(const sx_item *item) {
    const sx_item_aging *aging = sx_item_aging_of(item);
    if (aging == NULL) return sx_item_expires_ns(item);
    int64_t idle_at_ns = aging->idle_ns == 0 ? INT64_MAX : relaxed(&aging->used_ns) + aging->idle_ns;
    return idle_at_ns < aging->gone_ns ? idle_at_ns : aging->gone_ns;
}

void sx_item_used(sx_item *item, int64_t now_ns) {
    sx_item_aging *aging = sx_item_aging_of(item);
    if (aging == NULL || aging->idle_ns == 0) return;
    int64_t next_ns = now_ns + aging->idle_ns / 8;
    /* relaxed: about when, and each is right whichever of several threads comes last */
    if (now_ns - relaxed(&aging->used_ns) >= aging->idle_ns / 8) atomic_store_explicit(&aging->used_ns, now_ns, memory_order_relaxed);
    if (next_ns > aging->due_ns) next_ns = aging->due_ns;
    /* relaxed: as above */
    if (next_ns > sx_item_expires_ns(item)) atomic_store_explicit(&item->expires_ns, next_ns, memory_order_relaxed);
}

bool sx_item_is_idle(const sx_item *item, int64_t now_ns) {
    const sx_item_aging *aging = sx_item_aging_of(item);
    return aging != NULL && aging->idle_ns != 0 && now_ns < aging->gone_ns && now_ns >= sx_item_gone_ns(item);
}

sx_item *sx_item_copy(const sx_item *item) {
    const sx_item_tagging *tagging = sx_item_tagging_of(item);
    size_t etag_size;
    const uint8_t *etag = sx_item_etag(item, &etag_size);
    sx_item_facts facts = {.n = item->n,
                           .id = item->id,
                           .app_version = sx_item_app_version(item),
                           .written_ms = item->written_ms,
                           .expires_ns = sx_item_expires_ns(item),
                           /* relaxed: whoever restamps it meanwhile proves that one, not this */
                           .generation = (uint64_t)atomic_load_explicit(&item->generation, memory_order_relaxed),
                           .ns = item->ns,
                           .partition = item->partition,
                           .tags = tagging == NULL ? NULL : tagging->bytes,
                           .tags_size = tagging == NULL ? 0 : tagging->size,
                           .etag = etag,
                           .etag_size = etag_size,
                           .nothing = item->flags & SX_ITEM_NOTHING,
                           .packed = item->flags & SX_ITEM_PACKED,
                           .aged = (item->flags & SX_ITEM_AGING) != 0};
    sx_item *copy = sx_item_create(sx_item_heap(item), sx_item_key(item), item->key_size, sx_item_value(item), item->value_size, &facts);
    if (copy != NULL && tagging != NULL) /* relaxed: as above */
        atomic_store_explicit(&sx_item_tagging_of(copy)->epoch,
                              atomic_load_explicit(&tagging->epoch, memory_order_relaxed), /* relaxed: as above */
                              memory_order_relaxed);
    return copy;
}

size_t sx_item_size_with_more(const sx_item *item) {
    const sx_item_tagging *tagging = sx_item_tagging_of(item);
    size_t etag_size = 0;
    (void)sx_item_etag(item, &etag_size);
    size_t size = size_of(item->key_size, item->value_size, item->flags, tagging == NULL ? 0 : tagging->size, etag_size);
    return (item->flags & SX_ITEM_SPARE) != 0 ? sx_spare_room(size) : size;
}

const uint8_t *sx_item_etag(const sx_item *item, size_t *size) {
    *size = 0;
    if ((item->flags & SX_ITEM_ETAG) == 0) return NULL;
    const sx_item_tagging *tagging = sx_item_tagging_of(item);
    const uint8_t *etag = (const uint8_t *)item + etag_at(item->key_size, item->value_size, item->flags, tagging == NULL ? 0 : tagging->size);
    *size = etag[0];
    return etag + 1;
}

uint64_t sx_item_app_version(const sx_item *item) {
    uint64_t version = 0;
    if ((item->flags & SX_ITEM_APP_VERSION) != 0) memcpy(&version, sx_item_value(item) + item->value_size, sizeof version);
    return version;
}

size_t sx_item_footprint(const sx_item *item) {
    const sx_alloc *alloc = &sx_item_heap(item)->alloc;
    return alloc->usable(alloc->context, sx_item_size(item));
}

void sx_item_retain(sx_item *item) {
    /* relaxed: the caller holds a reference or an epoch pin that keeps the count above zero */
    uint32_t before = atomic_fetch_add_explicit(&item->refs, 1, memory_order_relaxed);
    assert((before & COUNT_MASK) > 0 && (before & COUNT_MASK) < COUNT_MASK);
    (void)before;
}

void sx_item_retain_held(sx_item *item) {
    /* relaxed: as above. One that is 1 is the caller's, so no other thread can change it */
    if (atomic_load_explicit(&item->refs, memory_order_relaxed) == 1)
        atomic_store_explicit(&item->refs, 2, memory_order_relaxed); /* relaxed: as above */
    else sx_item_retain(item);
}

void sx_item_retain_outside(sx_item *item) {
    /* relaxed: the mark is never taken back, and its heap reference was taken before it could be seen */
    if ((atomic_load_explicit(&item->refs, memory_order_relaxed) & KEPT_OUTSIDE) == 0) {
        sx_heap_retain(sx_item_heap(item));
        /* relaxed: as above; the count that matters is the one of retain below */
        uint32_t before = atomic_fetch_or_explicit(&item->refs, KEPT_OUTSIDE, memory_order_relaxed);
        if ((before & KEPT_OUTSIDE) != 0) sx_heap_release(sx_item_heap(item)); /* another thread was first */
    }
    sx_item_retain(item);
}

void sx_item_release(sx_item *item) {
    /* [order: item-free] observes every other holder's last use. Where this reference is the only one nobody can take another,
       for that takes one, or a pin that saw the item reachable: the last holder needs no locked instruction. */
    uint32_t refs = atomic_load_explicit(&item->refs, memory_order_acquire);
    assert((refs & COUNT_MASK) > 0);
    if ((refs & COUNT_MASK) != 1) {
        /* [order: item-free] publishes this holder's last use of the item */
        if ((atomic_fetch_sub_explicit(&item->refs, 1, memory_order_release) & COUNT_MASK) != 1) return;
        /* [order: item-free] observes as above */
        refs = atomic_load_explicit(&item->refs, memory_order_acquire);
    }
    sx_heap *heap = sx_item_heap(item);
    if ((item->flags & SX_ITEM_SPARE) != 0) sx_spares_give(&heap->spares, &heap->alloc, item, sx_item_size(item));
    else sx_release(&heap->alloc, item, sx_item_size(item));
    if ((refs & KEPT_OUTSIDE) != 0) sx_heap_release(heap);
}
