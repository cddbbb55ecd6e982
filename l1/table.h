/* SPDX-License-Identifier: Apache-2.0 */
/* The table inside L1: what a group is made of, how a hash finds its group, the latch, and what the files of l1 share. */
#ifndef SX_L1_TABLE_H
#define SX_L1_TABLE_H

#include <assert.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "core/memory/atomic.h"
#include "l1/l1.h"
#include "strata/status.h"

#define SX_L1_BUCKETS 4u
#define SX_L1_SLOTS 7u
#define SX_L1_POSITIONS (SX_L1_BUCKETS * SX_L1_SLOTS)
#define SX_L1_GHOSTS 28u
#define SX_L1_LEVELS 40u      /* a table of 2^39 groups is beyond any budget that is allowed */
#define SX_L1_SHARDS 64u
#define SX_L1_SHARDS_OWN 48u  /* of them those that belong to one epoch record each */
#define SX_L1_LOAD_MAX 16u    /* entries a group as of a round's begin, on average, from which groups are split in turn */
#define SX_L1_LOAD_END 20u    /* ... and by which all of them are */
#define SX_L1_LOAD_FULL 20u   /* ... and that a table shall have when its budget is used up: more don't help eviction */
#define SX_L1_LOAD_MIN 5u     /* ... and below which they are merged */
#define SX_L1_LATCH_SPINS 128u
#define SX_L1_STYLES 2u       /* of eviction, between which adaptive chooses (policy.c) */

/* One cache line: all that a hit reads besides its item.
   A slot: bits 4-47 the item's address, whose lowest four are 0; 48-51 the size class, and 0-3 where in its class, of what
   the item occupies; 52-63 the top of its hash; 0 is empty. So what evicts an entry need not look at the item.
   A policy byte: bit 7 is set by hits; the rest is the latch holder's. Bit 6 main (else probation); in main bits 0-1 hits
   counted and 2-5 age, in probation 0-5 age. In lru and clock bits 0-6 are the age (policy.c).
   The control byte: bits 0-5 the group's level, bit 6 "entries at home here live in other buckets of the group". */
typedef struct sx_l1_bucket {
    _Atomic uint64_t slots[SX_L1_SLOTS];  /* atomic: release by the latch's holder, acquire by finds */
    _Atomic uint8_t policy[SX_L1_SLOTS];  /* atomic: relaxed; hints of finds and of the latch's holder */
    _Atomic uint8_t control;              /* atomic: release by the latch's holder, acquire by finds */
} sx_l1_bucket;

/* Eviction domain and unit of locking. A key's home bucket is given by the top two bits of its hash. */
typedef struct sx_l1_group {
    sx_l1_bucket buckets[SX_L1_BUCKETS];
    uint16_t ghosts[SX_L1_GHOSTS]; /* lock: latch; fingerprints of what probation evicted, and above them the positions' ranks */
    _Atomic uint32_t due;          /* atomic: relaxed; written under latch, a hint for the crawl: earliest expiry */
    _Atomic uint8_t latch;         /* atomic: acquire to take, release to give */
    uint8_t cursor;                /* lock: latch; the next ghost to overwrite */
    uint8_t tick;                  /* lock: latch; insertions */
    uint8_t books;                 /* lock: latch; SX_L1_LEADS and SX_L1_BY_QUEUES (policy.c) */
} sx_l1_group;

_Static_assert(sizeof(sx_l1_bucket) == SX_CACHE_LINE, "a bucket is one line");
_Static_assert(sizeof(sx_l1_group) == 5 * SX_CACHE_LINE, "a group is four buckets and a ghost line");

/* Which groups there are, seen as a whole through one load. Groups have level base or, while top is base + 1, also
   base + 1. Immutable once published; replaced ones are retired. */
typedef struct sx_l1_root {
    sx_heap *heap;
    uint32_t base;
    uint32_t top;                      /* base, or base + 1 while a round of splits or merges is under way */
    bool merging;                      /* the round leads down to base, not up to base + 1 */
    uintptr_t biased[SX_L1_LEVELS];    /* segment s holds groups 2^(s-1) .. 2^s - 1; address of its group 0, if it had one */
    struct sx_l1_segment *segments[SX_L1_LEVELS];
} sx_l1_root;

/* A segment's groups lie apart from this, so that their size is one that allocators have a class for. */
typedef struct sx_l1_segment {
    sx_heap *heap;
    sx_l1_group *groups;
    size_t size;  /* of groups, as asked for */
    size_t bytes; /* of groups and this, as occupied */
} sx_l1_segment;

/* A thread's share of the counters, all statistics or sums that are brought to a total in portions. The first epoch records have
   one each, which nobody else writes: so counting is no locked instruction. Later ones share what is left.
   atomic: relaxed, all of it; told by anybody. */
typedef struct sx_l1_shard {
    _Alignas(SX_NO_SHARING) sx_counter bytes; /* footprints that came, less those that left */
    _Atomic int64_t told;                     /* of bytes, what sx_l1.live has */
    sx_counter payload; /* keys and values that were put; what left is in the heap's payload_freed */
    sx_counter missed[SX_L1_STYLES], regretted[SX_L1_STYLES]; /* by leaders: new keys, and of them those evicted lately */
    sx_counter inserts, replaces, evictions, expirations, idled, removals, refused, too_large, limit_evictions, limit_refused, rank_refused;
    sx_counter outdated; /* entries removed because what was to replace them could not */
} sx_l1_shard;

struct sx_l1 {
    /* const after create */
    sx_heap *heap;
    sx_epoch *epoch;
    const sx_clock *clock;
    int64_t item_bytes_max;
    int64_t started_ns;
    sx_key_secret secret;
    sx_l1_left_fn left;      /* const after the first put; NULL: nobody is told */
    void *left_context;
    struct sx_l1_book *book; /* const after the first put; usage by parts (usage.c), NULL: not counted */

    _Alignas(SX_NO_SHARING) _Atomic(sx_l1_root *) root; /* atomic: release to publish, acquire to read */
    _Atomic int64_t bytes_max;                          /* atomic: relaxed; a limit that is compared afresh each time */
    _Atomic int64_t index_bytes;                        /* atomic: relaxed; a sum */
    _Atomic uint8_t policy;                             /* atomic: relaxed; sx_l1_policy, any mix of two does no harm */
    _Atomic uint8_t style;                              /* atomic: relaxed; written by keeper, what adaptive follows */
    _Atomic bool ranked;                                /* atomic: relaxed; some entry may be of another rank than normal; stays so */
    _Atomic bool telling;                               /* atomic: relaxed; left is to be called */
    _Atomic bool sweeping;                              /* atomic: relaxed; a hint that inserts should help the round */

    _Alignas(SX_NO_SHARING) _Atomic int64_t live; /* atomic: relaxed; footprints of entries, less the shards' rests */
    _Alignas(SX_NO_SHARING) _Atomic uint64_t hand; /* atomic: relaxed; any value is a place to begin */

    _Alignas(SX_NO_SHARING) _Atomic uint8_t round_latch; /* atomic: acquire to take, release to give */
    uint64_t sweep;                                      /* lock: round_latch; groups below it are done in this round */
    uint64_t sweep_wanted;                               /* lock: round_latch; as far as full groups want it to be */
    uint64_t splits;                                     /* lock: round_latch; groups split in this round of splits */
    size_t counted;                                      /* lock: round_latch; what index_bytes has of the top segment */

    _Alignas(SX_NO_SHARING) uint64_t crawl; /* owner: keeper; the group it looks at next */
    uint64_t crawl_owed;                    /* owner: keeper; groups that it should have looked at by now */
    int64_t crawled_ns;                     /* owner: keeper */
    uint64_t ranked_hand;                   /* owner: keeper; any value is a place to begin */
    uint64_t ranked_vain;                   /* owner: keeper; its steps in a row that found nobody of this rank, or a lower one: */
    sx_l1_rank leaving;                     /* owner: keeper */
    /* owner: keeper; what adaptive knows of its leaders, and up to which counts */
    double missed[SX_L1_STYLES], regretted[SX_L1_STYLES];
    uint64_t missed_before[SX_L1_STYLES], regretted_before[SX_L1_STYLES];

    sx_l1_shard shards[SX_L1_SHARDS];
};

/* Items that left the table under a latch, to be retired when it is given back. */
typedef enum sx_l1_why { SX_L1_WANTED_SO, SX_L1_EVICTED, SX_L1_EXPIRED } sx_l1_why;
typedef struct sx_l1_harvest {
    sx_item *items[2 * SX_L1_POSITIONS];
    size_t footprints[2 * SX_L1_POSITIONS];
    uint8_t why[2 * SX_L1_POSITIONS]; /* sx_l1_why */
    uint32_t count;
} sx_l1_harvest;
/* Why the last one left, where nobody asked for it. */
static inline void sx_l1_harvest_why(sx_l1_harvest *harvest, sx_l1_why why) { harvest->why[harvest->count - 1] = (uint8_t)why; }

typedef struct sx_l1_book sx_l1_book;
/* The parts of an item that is put. */
typedef struct sx_l1_claim {
    uint32_t count;
    uint32_t owed; /* of its parts those, a bit each, for which a new entry went in and none left */
    uint32_t parts[SX_L1_PARTS_EACH];
    sx_l1_rank rank;
} sx_l1_claim;

/* Slots. */
#define SX_L1_SIZE_ASK 15u /* where in its class: the item says it */
static inline sx_item *sx_l1_slot_item(uint64_t slot) {
    return (sx_item *)(uintptr_t)(slot & ((UINT64_C(1) << 48) - 16));
}
/* Sizes double from class to class, beginning with 128 bytes in class 1. */
static inline uint32_t sx_l1_size_class(size_t footprint) {
    if (footprint < 128) return 0;
    uint32_t class = 57u - (uint32_t)__builtin_clzll(footprint);
    return class < 15 ? class : 15;
}
static inline uint32_t sx_l1_slot_class(uint64_t slot) { return (uint32_t)(slot >> 48) & 15u; }
/* In sixteenths of its class (in class 0 in steps of 16), as allocators' sizes are too. */
static inline uint64_t sx_l1_slot_of(const sx_item *item, uint64_t hash, size_t footprint) {
    uint64_t address = (uint64_t)(uintptr_t)item;
    assert(address >> 48 == 0 && (address & 15) == 0);
    uint32_t class = sx_l1_size_class(footprint);
    uint32_t shift = class == 0 ? 4 : class + 2;
    uint64_t fine = (footprint >> shift) - (class == 0 ? 0 : 16);
    if (fine > SX_L1_SIZE_ASK || (footprint & ((UINT64_C(1) << shift) - 1)) != 0) fine = SX_L1_SIZE_ASK;
    return (hash >> 52) << 52 | (uint64_t)class << 48 | address | fine;
}
static inline size_t sx_l1_slot_footprint(uint64_t slot) {
    uint32_t class = sx_l1_slot_class(slot);
    size_t fine = slot & 15u;
    if (SX_UNLIKELY(fine == SX_L1_SIZE_ASK)) return sx_item_footprint(sx_l1_slot_item(slot));
    return class == 0 ? fine << 4 : (16 + fine) << (class + 2);
}
static inline uint32_t sx_l1_home(uint64_t slot_or_hash) { return (uint32_t)(slot_or_hash >> 62); }
/* Also where it is empty and the hash has the tag 0. */
static inline bool sx_l1_slot_has_tag(uint64_t slot, uint64_t hash) { return (slot ^ hash) >> 52 == 0; }
static inline bool sx_l1_slot_may_be(uint64_t slot, uint64_t hash) { return slot != 0 && sx_l1_slot_has_tag(slot, hash); }

/* The latch's holder reads what only holders of the latch write. */
static inline uint64_t sx_l1_slot_get_locked(sx_l1_group *group, uint32_t position) {
    /* relaxed: already ordered by the latch */
    return atomic_load_explicit(&group->buckets[position / SX_L1_SLOTS].slots[position % SX_L1_SLOTS],
                                memory_order_relaxed);
}
static inline void sx_l1_slot_set_locked(sx_l1_group *group, uint32_t position, uint64_t slot) {
    /* [order: entry-publish] publishes the item's bytes, and the overflow bit and level stored before */
    atomic_store_explicit(&group->buckets[position / SX_L1_SLOTS].slots[position % SX_L1_SLOTS], slot,
                          memory_order_release);
}

/* The one place that compares tags, seven at a time: a bit for each slot that has the hash's, which may be empty. Without a
   branch: where in its bucket an entry is no processor can guess, and one that guesses wrong begins nothing of what comes
   after, the next find's misses, before this bucket has come. */
static inline uint32_t sx_l1_tags_match_portable(sx_l1_bucket *bucket, uint64_t hash) {
    uint32_t match = 0;
#pragma GCC unroll 7
    for (uint32_t i = SX_L1_SLOTS; i-- > 0;) {
        /* [order: entry-publish] observes, where it is empty, the level that a split or merge had set before */
        uint64_t slot = atomic_load_explicit(&bucket->slots[i], memory_order_acquire);
        match += match + sx_l1_slot_has_tag(slot, hash);
    }
    return match;
}
#if defined(__SSE2__) && !SX_TSAN && !defined(SX_L1_PORTABLE) /* tools that watch atomics take vectors for plain accesses */
/* As above: the halves of a vector are read whole, and in the order of loads, as every load of such a processor is. */
static inline uint32_t sx_l1_tags_match(sx_l1_bucket *bucket, uint64_t hash) {
    const __m128 *pairs = (const __m128 *)(const void *)bucket; /* of slots, the last with the policy bytes */
    __m128i tags = _mm_set1_epi32((int)(uint32_t)(hash >> 32));
    __m128i low = _mm_castps_si128(_mm_shuffle_ps(pairs[0], pairs[1], _MM_SHUFFLE(3, 1, 3, 1)));
    __m128i high = _mm_castps_si128(_mm_shuffle_ps(pairs[2], pairs[3], _MM_SHUFFLE(3, 1, 3, 1)));
    sx_fence_slots_light();
    low = _mm_cmpeq_epi32(_mm_srli_epi32(_mm_xor_si128(low, tags), 20), _mm_setzero_si128());
    high = _mm_cmpeq_epi32(_mm_srli_epi32(_mm_xor_si128(high, tags), 20), _mm_setzero_si128());
    int match = _mm_movemask_ps(_mm_castsi128_ps(low)) | _mm_movemask_ps(_mm_castsi128_ps(high)) << 4;
    return (uint32_t)match & ((1u << SX_L1_SLOTS) - 1);
}
#else
static inline uint32_t sx_l1_tags_match(sx_l1_bucket *bucket, uint64_t hash) {
    return sx_l1_tags_match_portable(bucket, hash);
}
#endif

/* Policy bytes. */
#define SX_L1_HIT 128u
#define SX_L1_MAIN 64u
static inline uint8_t sx_l1_policy_get(sx_l1_group *group, uint32_t position) {
    return atomic_load_explicit(&group->buckets[position / SX_L1_SLOTS].policy[position % SX_L1_SLOTS],
                                memory_order_relaxed); /* relaxed: hint */
}
static inline void sx_l1_policy_set(sx_l1_group *group, uint32_t position, uint8_t policy) {
    atomic_store_explicit(&group->buckets[position / SX_L1_SLOTS].policy[position % SX_L1_SLOTS], policy,
                          memory_order_relaxed); /* relaxed: hint; a hit noted meanwhile may be lost */
}

/* Ranks: two of the three bits that a fingerprint leaves of a ghost, of which there are as many as positions. 0 is normal. */
#define SX_L1_PRINT_MASK 0x1fffu
#define SX_L1_RANK_SHIFT 13u
_Static_assert(SX_L1_GHOSTS == SX_L1_POSITIONS, "a ghost's word has a position's rank");
static inline sx_l1_rank sx_l1_rank_get_locked(const sx_l1_group *group, uint32_t position) {
    return (sx_l1_rank)((group->ghosts[position] >> SX_L1_RANK_SHIFT & 3u) ^ SX_L1_RANK_NORMAL);
}
static inline void sx_l1_rank_set_locked(sx_l1_group *group, uint32_t position, sx_l1_rank rank) {
    uint32_t bits = ((uint32_t)rank ^ SX_L1_RANK_NORMAL) << SX_L1_RANK_SHIFT;
    group->ghosts[position] = (uint16_t)((group->ghosts[position] & ~(3u << SX_L1_RANK_SHIFT)) | bits);
}

/* Control bytes. */
#define SX_L1_LEVEL_MASK 63u
#define SX_L1_OVERFLOW 64u
static inline uint32_t sx_l1_control_get_locked(sx_l1_group *group, uint32_t bucket) {
    return atomic_load_explicit(&group->buckets[bucket].control, memory_order_relaxed); /* relaxed: ordered by latch */
}
static inline void sx_l1_control_set_locked(sx_l1_group *group, uint32_t bucket, uint32_t control) {
    /* [order: group-level] publishes the entries that a split or merge put elsewhere, and the root that holds them */
    atomic_store_explicit(&group->buckets[bucket].control, (uint8_t)control, memory_order_release);
}
static inline uint32_t sx_l1_level_locked(sx_l1_group *group) {
    return sx_l1_control_get_locked(group, 0) & SX_L1_LEVEL_MASK;
}

/* Addresses. */
static inline uint64_t sx_l1_mask(uint32_t level) { return (UINT64_C(1) << level) - 1; }
static inline uint32_t sx_l1_segment_of(uint64_t index) { return 63u - (uint32_t)__builtin_clzll(index << 1 | 1); }
static inline sx_l1_group *sx_l1_group_at(const sx_l1_root *root, uint64_t index) {
    return (sx_l1_group *)(root->biased[sx_l1_segment_of(index)] + (uintptr_t)index * sizeof(sx_l1_group));
}
/* Where a key of this hash is, seen from the group at index with this level: index itself if it is here. A group that
   was split knows of it by its level; its halves differ in one bit. A merged group has a level below its index. */
static inline uint64_t sx_l1_next_index(uint64_t index, uint32_t level, uint64_t hash) {
    uint64_t apart = (hash ^ index) & sx_l1_mask(level);
    if (SX_LIKELY(apart == 0)) return index & sx_l1_mask(level);
    uint64_t lowest = apart & (~apart + 1);
    return hash & ((lowest << 1) - 1);
}
/* Whether that is index itself. */
static inline bool sx_l1_is_here(uint64_t index, uint32_t level, uint64_t hash) { return (hash & sx_l1_mask(level)) == index; }
static inline sx_l1_root *sx_l1_root_get(const sx_l1 *l1) {
    /* [order: root-swap] observes the segments that the root names */
    return atomic_load_explicit(&l1->root, memory_order_acquire);
}

/* The latch: a bounded spin, then the processor is given away. Nothing blocks or calls back while one is held; order:
   round latch, then the lower group, then its upper half. */
static inline bool sx_l1_latch_try(_Atomic uint8_t *latch) {
    /* relaxed: hint, the exchange decides; [order: group-lock] observes all that former holders wrote */
    return atomic_load_explicit(latch, memory_order_relaxed) == 0 &&
           atomic_exchange_explicit(latch, 1, memory_order_acquire) == 0;
}
static inline void sx_l1_latch_acquire(_Atomic uint8_t *latch) {
    for (uint32_t spins = 0; !sx_l1_latch_try(latch); spins++) {
        if (spins < SX_L1_LATCH_SPINS) sx_cpu_relax();
        else sched_yield();
    }
}
static inline void sx_l1_latch_release(_Atomic uint8_t *latch) {
    assert(atomic_load_explicit(latch, memory_order_relaxed) == 1); /* relaxed: own store */
    atomic_store_explicit(latch, 0, memory_order_release);          /* [order: group-lock] */
}

static inline bool sx_l1_is_latched(sx_l1_group *group) {
    return atomic_load_explicit(&group->latch, memory_order_relaxed) == 1; /* relaxed: for assertions by the holder */
}

/* Budget. */
static inline sx_l1_shard *sx_l1_shard_of(sx_l1 *l1, const sx_epoch_record *record) {
    uint32_t number = record->number;
    if (SX_UNLIKELY(number >= SX_L1_SHARDS_OWN)) number = SX_L1_SHARDS_OWN + number % (SX_L1_SHARDS - SX_L1_SHARDS_OWN);
    return &l1->shards[number];
}
/* How many shards somebody may have written to. */
static inline uint32_t sx_l1_shards_used(const sx_l1 *l1) {
    uint32_t records = sx_epoch_record_count(l1->epoch);
    return records < SX_L1_SHARDS_OWN ? records : SX_L1_SHARDS;
}
/* Adds to a counter of the caller's shard. Returns what it is then. */
static inline int64_t sx_l1_count(const sx_l1 *l1, const sx_l1_shard *shard, sx_counter *counter, int64_t more) {
    if (SX_UNLIKELY(shard >= &l1->shards[SX_L1_SHARDS_OWN])) return sx_counter_add_shared(counter, more);
    sx_counter_add(counter, more);
    return sx_counter_read(counter);
}
static inline int64_t sx_l1_bytes_max(const sx_l1 *l1) {
    return atomic_load_explicit(&l1->bytes_max, memory_order_relaxed); /* relaxed: compared afresh each time */
}
/* What may be retired and not yet freed before puts are refused. Entries leave this part of the budget alone. */
static inline int64_t sx_l1_retired_max(const sx_l1 *l1) { return sx_l1_bytes_max(l1) / 10; }
/* Full groups are split while there is more room than this, and evict below it. */
static inline int64_t sx_l1_growth_min(const sx_l1 *l1) { return sx_l1_bytes_max(l1) >> 7; }
/* A shard brings its sum to the total when it has reached this. */
static inline int64_t sx_l1_portion(const sx_l1 *l1) { return sx_l1_bytes_max(l1) >> 14; }
static inline int64_t sx_l1_index_bytes(const sx_l1 *l1) {
    return atomic_load_explicit(&l1->index_bytes, memory_order_relaxed); /* relaxed: a sum */
}
/* What live may reach so that everything together stays in the budget. */
static inline int64_t sx_l1_live_max(const sx_l1 *l1) {
    int64_t rest = sx_l1_bytes_max(l1) - sx_l1_retired_max(l1) - sx_l1_index_bytes(l1) -
                   (int64_t)SX_L1_SHARDS * sx_l1_portion(l1);
    return rest > 0 ? rest : 0;
}
static inline int64_t sx_l1_live(const sx_l1 *l1) {
    return atomic_load_explicit(&l1->live, memory_order_relaxed); /* relaxed: a sum, compared afresh each time */
}
/* Bytes over the limit, negative below it, with what this shard has not brought to the total yet: so a thread that is
   alone pays for each entry with the entries of that entry's group, not in portions. */
static inline int64_t sx_l1_over(const sx_l1 *l1, const sx_l1_shard *shard) {
    /* relaxed: a sum */
    int64_t untold = sx_counter_read(&shard->bytes) - atomic_load_explicit(&shard->told, memory_order_relaxed);
    return sx_l1_live(l1) + untold - sx_l1_live_max(l1);
}
void sx_l1_account(sx_l1 *l1, sx_l1_shard *shard, int64_t bytes);
/* Brings a shard's sum to the total, if it is a portion apart. Any thread. */
void sx_l1_tell(sx_l1 *l1, sx_l1_shard *shard);
int64_t sx_l1_entries(const sx_l1 *l1);

/* Times of expiry in steps of 67 ms since the store was made, as a group keeps its earliest. */
#define SX_L1_DUE_SHIFT 26
#define SX_L1_DUE_NEVER UINT32_MAX
static inline uint32_t sx_l1_due(const sx_l1 *l1, int64_t time_ns) {
    if (time_ns == SX_EXPIRES_NEVER) return SX_L1_DUE_NEVER;
    if (time_ns <= l1->started_ns) return 0;
    uint64_t steps = ((uint64_t)time_ns - (uint64_t)l1->started_ns) >> SX_L1_DUE_SHIFT;
    return steps < SX_L1_DUE_NEVER ? (uint32_t)steps : SX_L1_DUE_NEVER - 1;
}

/* write.c: entries of a latched group. */
static inline uint64_t sx_l1_item_hash(const sx_l1 *l1, const sx_item *item) {
    return sx_l1_hash(&l1->secret, item->ns, sx_item_key(item), item->key_size);
}
static inline int64_t sx_l1_item_payload(const sx_item *item) {
    return (int64_t)item->key_size + (int64_t)item->value_size;
}
/* Keys of 8 to 16 bytes are compared without a call. */
static inline bool sx_l1_key_is_short(size_t size) { return size - 8 <= 8; }
static inline bool sx_l1_item_is(const sx_item *item, uint16_t ns, const void *key, size_t size) {
    if (item->ns != ns || item->key_size != size) return false;
    const uint8_t *there = sx_item_key(item), *wanted = key;
    if (!sx_l1_key_is_short(size)) return memcmp(there, wanted, size) == 0;
    uint64_t head[2], tail[2]; /* which overlap in keys shorter than 16 */
    memcpy(&head[0], there, 8);
    memcpy(&head[1], wanted, 8);
    memcpy(&tail[0], there + size - 8, 8);
    memcpy(&tail[1], wanted + size - 8, 8);
    return ((head[0] ^ head[1]) | (tail[0] ^ tail[1])) == 0;
}
/* The latched group that a key of this hash lives in. The caller is pinned. */
sx_l1_group *sx_l1_group_lock(sx_l1 *l1, uint64_t hash);
/* A free position, at home if possible, or SX_L1_POSITIONS. */
uint32_t sx_l1_free_position_locked(sx_l1_group *group, uint32_t home);
/* Fills a free position; tells finds at home when it is elsewhere. */
void sx_l1_place_locked(sx_l1_group *group, uint32_t position, uint64_t slot, uint8_t policy, sx_l1_rank rank);
/* Empties a position. */
void sx_l1_clear_locked(sx_l1_group *group, uint32_t position);
/* Empties a position and its books, and puts the item on the list of what is to be retired. Returns its footprint. */
int64_t sx_l1_take_locked(sx_l1 *l1, sx_l1_shard *shard, sx_l1_group *group, uint32_t position, sx_l1_harvest *harvest);
/* Recomputes the overflow bits. */
void sx_l1_overflow_locked(sx_l1_group *group);
/* Tells who wants to know, and drops the table's references once no pin can see the items. No latch is held. */
void sx_l1_retire(sx_l1 *l1, sx_epoch_record *record, sx_l1_harvest *harvest);

/* policy.c: who leaves a latched group. */
static inline sx_l1_policy sx_l1_policy_of(const sx_l1 *l1) {
    return (sx_l1_policy)atomic_load_explicit(&l1->policy, memory_order_relaxed); /* relaxed: a choice, read afresh */
}
static inline bool sx_l1_by_queues(sx_l1_policy policy) {
    return policy == SX_L1_POLICY_S3FIFO || policy == SX_L1_POLICY_ADAPTIVE;
}
/* Which style the group at this index leads, one more than its number; 0: it follows. */
#define SX_L1_LEADS 7u
#define SX_L1_BY_QUEUES 128u /* its policy bytes are those of s3fifo and adaptive, not ages by recency */
uint8_t sx_l1_books_new(uint64_t index);
/* Writes the group's policy bytes as the policy in force reads them, where that was changed since they were written. */
void sx_l1_settle_locked(sx_l1_group *group, bool by_queues);
/* Judges the leaders. */
void sx_l1_adapt_on_keeper(sx_l1 *l1);
/* The position to evict next of those in among, a bit each, or SX_L1_POSITIONS where none is taken. Promotes on its way. */
#define SX_L1_AMONG_ALL UINT32_MAX
uint32_t sx_l1_victim_locked(sx_l1 *l1, sx_l1_group *group, uint32_t among);
static inline bool sx_l1_is_ranked(const sx_l1 *l1) {
    return atomic_load_explicit(&l1->ranked, memory_order_relaxed); /* relaxed: who sees it late evicts by policy alone, once more */
}
/* Who may leave for an entry of this rank, a bit each: the positions of the least rank there is, none where that is a higher one. */
uint32_t sx_l1_yielding_locked(const sx_l1 *l1, sx_l1_group *group, sx_l1_rank rank);
/* Evicts one of them, if its size class is at least least. Returns its footprint, 0 where nothing was evicted. */
int64_t sx_l1_evict_locked(sx_l1 *l1, sx_l1_shard *shard, sx_l1_group *group, sx_l1_rank rank, uint32_t least, sx_l1_harvest *harvest);
/* As evict, the victim being one of these positions, a bit each. */
int64_t sx_l1_evict_among_locked(sx_l1 *l1, sx_l1_shard *shard, sx_l1_group *group, uint32_t among, uint32_t least,
                                 sx_l1_harvest *harvest);
/* The least class of who makes room for an entry of this size: much smaller ones, however many, do not. */
static inline uint32_t sx_l1_least_class(size_t footprint, const sx_l1 *l1) {
    uint32_t class = sx_l1_size_class(footprint);
    return class > 2 && sx_l1_by_queues(sx_l1_policy_of(l1)) ? class - 2 : 0;
}
/* How late it would be its turn, 0 .. SX_L1_HEATS - 1. */
uint8_t sx_l1_heat_locked(sx_l1_group *group, uint32_t position);
/* The policy byte of a new entry: time moves on, and a key that was evicted lately enters main. */
uint8_t sx_l1_arrival_locked(const sx_l1 *l1, sx_l1_shard *shard, sx_l1_group *group, uint64_t hash, uint32_t class);
uint32_t sx_l1_count_locked(sx_l1_group *group);

/* grow.c: splits and merges. */
/* Gives a full group's key a chance to find room: splits its group, or starts the round that will. Returns whether it is
   worth looking again. The caller is pinned and holds nothing. */
bool sx_l1_make_room(sx_l1 *l1, sx_epoch_record *record, uint64_t hash);
/* Helps a round of splits that is wanted, by at most groups; nothing if another thread does. */
void sx_l1_help(sx_l1 *l1, sx_epoch_record *record, uint64_t groups);
/* Starts rounds where the number of entries asks for it, and does at most groups of the present one. Returns whether more
   work is waiting. */
bool sx_l1_balance_on_keeper(sx_l1 *l1, sx_epoch_record *record, uint64_t groups);
int32_t sx_l1_root_create(sx_l1 *l1);
/* Frees root and segments at once: no other thread may be inside. */
void sx_l1_root_destroy(sx_l1 *l1);

/* usage.c: parts, where they are counted; else all of it does nothing. */
void sx_l1_claim_init(const sx_l1 *l1, sx_l1_claim *claim, const sx_item *item);
/* Counts an entry. */
void sx_l1_claim_enter(sx_l1 *l1, const sx_l1_shard *shard, const sx_l1_claim *claim, int64_t footprint);
/* Evicts from the group for parts that are at their limit. False: there is nothing of one, and it is too far over it. */
bool sx_l1_claim_room_locked(sx_l1 *l1, sx_l1_shard *shard, sx_l1_group *group, sx_l1_claim *claim, int64_t footprint,
                             sx_l1_harvest *harvest);
/* Evicts elsewhere for parts that are over their limit. Pinned, no latch. */
void sx_l1_claim_pay(sx_l1 *l1, sx_epoch_record *record, const sx_l1_claim *claim);

/* keep.c: the group that the table's hand points to, and its upper half or NULL; moves it on. Pinned. */
sx_l1_group *sx_l1_hand_next(sx_l1 *l1, sx_l1_group **high);
/* Evicts for an entry of this rank with the hand until the total is under its limit, or paid bytes are evicted; in the first groups only
   entries of at least this class. Pinned, no latch. */
int64_t sx_l1_hand(sx_l1 *l1, sx_epoch_record *record, sx_l1_rank rank, int64_t paid, uint32_t least);

#endif
