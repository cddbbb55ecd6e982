/* SPDX-License-Identifier: Apache-2.0 */
/* The item: one immutable value with its key and version, counted, shared by L1, flights and callers without copies. */
#ifndef SX_CORE_MEMORY_ITEM_H
#define SX_CORE_MEMORY_ITEM_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/memory/heap.h"

#define SX_EXPIRES_NEVER INT64_MAX

/* Facts about a value, filled by whoever makes the item. */
typedef struct sx_item_facts {
    uint64_t n;             /* version's order; 0 where it has none (no L2) */
    uint64_t id;            /* version's identity */
    uint64_t app_version;   /* 0 for none */
    int64_t written_ms;     /* when it was written, on the engine's clock; INT64_MIN unknown */
    int64_t expires_ns;     /* engine clock; SX_EXPIRES_NEVER */
    uint64_t generation;    /* the partition's, when it was proven */
    uint16_t ns;            /* namespace index */
    uint16_t partition;
    const uint8_t *tags;    /* msgpack as in the envelope (core/flow/tags.h); NULL none */
    size_t tags_size;       /* at most UINT16_MAX */
    const uint8_t *etag;    /* what its source calls it; NULL none */
    size_t etag_size;       /* at most UINT8_MAX */
    uint16_t nothing;       /* SX_ITEM_ABSENT or SX_ITEM_ERROR; 0: it is a value */
    uint16_t packed;        /* SX_ITEM_LZ4 or SX_ITEM_ZSTD where the value is given as compressed; 0: as it is */
    bool passes;            /* L1 is not meant to keep it: its memory is the next one's. On the loop of the heap's engine only */
    bool aged;              /* with room for a sx_item_aging, which says the same as expires_ns until it is set */
} sx_item_facts;

#define SX_ITEM_KEY_BITS  13
#define SX_ITEM_FLAG_BITS 9
_Static_assert(SX_ITEM_KEY_BITS + SX_ITEM_FLAG_BITS + SX_HEAPS_BITS == 32, "together a word");

/* The public strata_value is an item. Layout: this header, the key at a place of its own, so that a find can ask for
   it without knowing anything of the item, the value (aligned to 8), the app's version if it has one, its aging (aligned to 8) its tags (aligned to 8) if it has any, and its etag. Everything is const once the item is shared, except refs, generation and what is said to be atomic. */
typedef struct strata_value {
    uint16_t ns;
    uint16_t partition;
    unsigned key_size : SX_ITEM_KEY_BITS;
    unsigned flags : SX_ITEM_FLAG_BITS; /* SX_ITEM_APP_VERSION .. SX_ITEM_SPARE */
    unsigned heap : SX_HEAPS_BITS;      /* its number */
    _Atomic uint32_t refs;       /* atomic: acq_rel on release [order: item-free]; bit 31: kept outside the engine */
    uint32_t value_size;
    uint64_t n;
    uint64_t id;
    int64_t written_ms;
    _Atomic int64_t expires_ns;  /* atomic: relaxed; a hit needs no further look before it; with aging, the least of its times,
                                    which one that may go idle moves on as it is used */
    _Atomic uint64_t generation; /* atomic: relaxed; restamped after revalidation, checked against the trust word */
} sx_item;

#define SX_ITEM_APP_VERSION 1u /* eight bytes behind the value */
#define SX_ITEM_TAGS        2u /* a sx_item_tagging behind those */
#define SX_ITEM_AGING       4u /* a sx_item_aging before that */
#define SX_ITEM_ABSENT      8u /* no value: the source has none. Has an aging; never a hit by expires_ns */
#define SX_ITEM_ERROR      16u /* no value: loading it failed. Likewise */
#define SX_ITEM_ETAG      32u /* what its source calls it, at the end: its size in a byte, then that */
#define SX_ITEM_LZ4       64u /* the value is what sx_compress made of it: nobody is shown it before that is undone */
#define SX_ITEM_ZSTD     128u /* likewise */
#define SX_ITEM_SPARE    256u /* its memory is of a size that spares have, and goes back to them */
#define SX_ITEM_NOTHING (SX_ITEM_ABSENT | SX_ITEM_ERROR)
#define SX_ITEM_PACKED (SX_ITEM_LZ4 | SX_ITEM_ZSTD)
/* Something is behind the value, if only room. */
#define SX_ITEM_MORE (SX_ITEM_APP_VERSION | SX_ITEM_TAGS | SX_ITEM_AGING | SX_ITEM_ETAG | SX_ITEM_SPARE)

/* In the generation of an item with tags: so it never equals a partition's, and who reads an item without tags need not
   know of any. */
#define SX_ITEM_TAGGED (UINT64_C(1) << 63)

/* What an item has behind its value where it has tags. */
typedef struct sx_item_tagging {
    _Atomic uint64_t epoch; /* atomic: relaxed; of the tags, when they were last found valid (core/flow/marks.h) */
    uint16_t size;
    uint8_t bytes[];
} sx_item_tagging;

/* What an item has that ages in steps: so that hits compare one number, and who finds it passed looks here. */
typedef struct sx_item_aging {
    int64_t fresh_ns;           /* its time to live ends */
    int64_t l1_ns;              /* L1 answers by itself until then; at most fresh_ns */
    int64_t gone_ns;            /* it may be used as stale until then; at least l1_ns */
    int64_t due_ns;             /* the least of these, and of when it is to be refreshed */
    int64_t idle_ns;            /* L1 forgets it when it was not used for so long; 0 never */
    _Atomic int64_t used_ns;    /* atomic: relaxed; about when it was used last, to an eighth of idle_ns */
    _Atomic int64_t refresh_ns; /* atomic: relaxed; nobody starts a refresh before; who moves it on starts one */
    _Atomic int64_t failed_ns;  /* atomic: relaxed; until then a failure is not tried again */
} sx_item_aging;

#define SX_ITEM_KEY_MAX ((1u << SX_ITEM_KEY_BITS) - 1)

/* A new item with one reference; value bytes are copied unless value is NULL (then the caller fills them before it
   shares the item). NULL when out of memory. */
sx_item *sx_item_create(sx_heap *heap, const void *key, size_t key_size, const void *value, size_t value_size,
                        const sx_item_facts *facts);
/* The same once more, with times of its own to be set; proven as far as that one is. NULL when out of memory. */
sx_item *sx_item_copy(const sx_item *item);
static inline sx_heap *sx_item_heap(const sx_item *item) { return sx_heap_at(item->heap); }
static inline uint8_t *sx_item_key(const sx_item *item) {
    return (uint8_t *)(uintptr_t)(item + 1);
}
static inline uint8_t *sx_item_value(const sx_item *item) {
    return (uint8_t *)(uintptr_t)(item + 1) + ((item->key_size + 7u) & ~7u);
}
uint64_t sx_item_app_version(const sx_item *item);
/* NULL where it has no tags. */
sx_item_tagging *sx_item_tagging_of(const sx_item *item);
/* NULL where it has none. */
sx_item_aging *sx_item_aging_of(const sx_item *item);
static inline int64_t sx_item_expires_ns(const sx_item *item) {
    return atomic_load_explicit(&item->expires_ns, memory_order_relaxed); /* relaxed: stands for itself */
}
/* NULL where it has none. */
const uint8_t *sx_item_etag(const sx_item *item, size_t *size);
/* When its time to live ends, until when L1 answers it as fresh, and when nobody may use it any more. */
static inline int64_t sx_item_fresh_ns(const sx_item *item) {
    return (item->flags & SX_ITEM_AGING) == 0 ? sx_item_expires_ns(item) : sx_item_aging_of(item)->fresh_ns;
}
int64_t sx_item_l1_ns(const sx_item *item);
int64_t sx_item_gone_ns(const sx_item *item);
/* It is used, at now_ns: where it may go idle, it does so later. Any thread. */
void sx_item_used(sx_item *item, int64_t now_ns);
/* Whether it is gone only because nobody used it. */
bool sx_item_is_idle(const sx_item *item, int64_t now_ns);
/* Bytes asked from the allocator, and bytes they occupy. */
size_t sx_item_size_with_more(const sx_item *item);
static inline size_t sx_item_size(const sx_item *item) {
    if ((item->flags & SX_ITEM_MORE) != 0) return sx_item_size_with_more(item);
    return sizeof *item + ((item->key_size + 7u) & ~7u) + item->value_size;
}
size_t sx_item_footprint(const sx_item *item);

/* The caller holds a reference, or is pinned while the item is reachable. */
void sx_item_retain(sx_item *item);
/* As retain, by who holds a reference: where that is the only one, nobody else can count meanwhile, and no locked instruction
   is needed. */
void sx_item_retain_held(sx_item *item);
/* As retain, for a reference that may outlive the engine: keeps the heap too. */
void sx_item_retain_outside(sx_item *item);
void sx_item_release(sx_item *item);

#endif
