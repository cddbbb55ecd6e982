/* SPDX-License-Identifier: Apache-2.0 */
/* What each part of the table occupies: counted by writers as an entry enters, and by who frees as its memory comes back. */
#include "l1/table.h"

/* An eviction reads nothing of its victim, so nobody knows then whose it was. Who frees its memory has its line at hand: it is
   counted off there, and what is retired counts as its part's until it is freed. Writers count in stripes, as the store does
   with its bytes, and bring a part's bytes to its total in portions of its limit.

   A part with a limit goes from a sixteenth below it to a sixteenth above it: in that band a new entry evicts one of its own part from
   its group; where there is none it goes in, and one of its part leaves another group. */

#define STRIPES     16u
#define STRIPES_OWN 12u /* of them those of the first shards, which have one writer each */
#define PORTIONS    10  /* a stripe withholds less than one in 2^10 of the limit, or of the budget where there is none */
#define PART_VISITS 8u  /* groups in which a put looks for an entry of its part */

/* atomic: relaxed, all of it sums; told by anybody. */
typedef struct cell {
    sx_counter bytes, entries; /* that entered */
    _Atomic int64_t told;      /* of bytes, what the part's has */
} cell;
typedef struct part {
    _Alignas(SX_CACHE_LINE) _Atomic int64_t bytes; /* atomic: relaxed; that entered, as told by stripes */
    _Atomic int64_t limit;                         /* atomic: relaxed; compared afresh each time; INT64_MAX none */
    _Atomic int64_t entries_max;                   /* atomic: relaxed; as limit */
    _Atomic uint8_t rank;                          /* atomic: relaxed; of what is put, sx_l1_rank */
    sx_counter freed_bytes, freed_entries;         /* atomic: relaxed; one writer at a time, who reclaims */
} part;

struct sx_l1_book {
    sx_heap_ledger ledger; /* the heap owns it all: memory comes back after the store's end too */
    /* const */
    sx_l1_parts parts;
    size_t stride; /* bytes of a stripe, whole lines */
    part *totals;
    char *cells;
};

static cell *cell_of(const sx_l1_book *book, uint32_t stripe, uint32_t number) {
    return (cell *)(void *)(book->cells + stripe * book->stride) + number;
}
static uint32_t stripe_of(uint32_t shard) { return shard < STRIPES_OWN ? shard : STRIPES_OWN + shard % (STRIPES - STRIPES_OWN); }

static void left(sx_heap_ledger *ledger, const sx_item *item) {
    sx_l1_book *book = (sx_l1_book *)(void *)ledger;
    uint32_t numbers[SX_L1_PARTS_EACH];
    uint32_t count = book->parts.of(book->parts.context, item, numbers);
    for (uint32_t i = 0; i < count; i++) {
        part *total = &book->totals[numbers[i]];
        sx_counter_add(&total->freed_bytes, (int64_t)sx_item_footprint(item));
        sx_counter_add(&total->freed_entries, 1);
    }
}

int32_t sx_l1_watch_parts(sx_l1 *l1, const sx_l1_parts *parts) {
    assert(l1->book == NULL && l1->heap->ledger == NULL && parts->count > 0);
    size_t stride = (parts->count * sizeof(cell) + SX_NO_SHARING - 1) & ~(size_t)(SX_NO_SHARING - 1);
    size_t head = (sizeof(sx_l1_book) + SX_NO_SHARING - 1) & ~(size_t)(SX_NO_SHARING - 1);
    size_t totals = (parts->count * sizeof(part) + SX_NO_SHARING - 1) & ~(size_t)(SX_NO_SHARING - 1);
    size_t size = head + totals + STRIPES * stride;
    char *memory = l1->heap->alloc.allocate(l1->heap->alloc.context, size, SX_NO_SHARING);
    if (memory == NULL) return STRATA_E_NOMEM;
    memset(memory, 0, size);
    sx_l1_book *book = (sx_l1_book *)(void *)memory;
    book->ledger = (sx_heap_ledger){.size = size, .left = left};
    book->parts = *parts;
    book->stride = stride;
    book->totals = (part *)(void *)(memory + head);
    book->cells = memory + head + totals;
    for (uint32_t i = 0; i < parts->count; i++) {
        atomic_init(&book->totals[i].limit, INT64_MAX);
        atomic_init(&book->totals[i].entries_max, INT64_MAX);
        atomic_init(&book->totals[i].rank, SX_L1_RANK_NORMAL);
    }
    l1->book = book;
    l1->heap->ledger = &book->ledger;
    /* relaxed: a sum */
    atomic_fetch_add_explicit(&l1->index_bytes, (int64_t)l1->heap->alloc.usable(l1->heap->alloc.context, size), memory_order_relaxed);
    return STRATA_OK;
}

/* Brings what a stripe has of a part to the part's total. Whoever comes first: the total is the sum of what was told. */
static void tell(part *total, cell *c, int64_t bytes) {
    int64_t told = atomic_exchange_explicit(&c->told, bytes, memory_order_relaxed); /* relaxed: sum */
    atomic_fetch_add_explicit(&total->bytes, bytes - told, memory_order_relaxed);   /* relaxed: sum */
}

void sx_l1_limit_part(sx_l1 *l1, uint32_t number, int64_t bytes_max) {
    assert(number < l1->book->parts.count && bytes_max >= 0);
    part *total = &l1->book->totals[number];
    /* relaxed: compared afresh */
    if (atomic_exchange_explicit(&total->limit, bytes_max, memory_order_relaxed) <= bytes_max) return;
    for (uint32_t stripe = 0; stripe < STRIPES; stripe++) { /* which may withhold more than the new limit allows */
        cell *c = cell_of(l1->book, stripe, number);
        int64_t bytes = sx_counter_read(&c->bytes);
        if (bytes != atomic_load_explicit(&c->told, memory_order_relaxed)) tell(total, c, bytes); /* relaxed: sum */
    }
}

void sx_l1_limit_part_entries(sx_l1 *l1, uint32_t number, int64_t entries_max) {
    assert(number < l1->book->parts.count && entries_max >= 64);
    atomic_store_explicit(&l1->book->totals[number].entries_max, entries_max, memory_order_relaxed); /* relaxed: compared afresh */
}

void sx_l1_rank_part(sx_l1 *l1, uint32_t number, sx_l1_rank rank) {
    assert(number < l1->book->parts.count);
    /* First: nothing is of a rank while nobody asks for ranks. */
    if (rank != SX_L1_RANK_NORMAL) atomic_store_explicit(&l1->ranked, true, memory_order_relaxed); /* relaxed: a hint */
    atomic_store_explicit(&l1->book->totals[number].rank, (uint8_t)rank, memory_order_relaxed); /* relaxed: of what comes later */
}

sx_l1_usage sx_l1_usage_read(const sx_l1 *l1, uint32_t number) {
    const sx_l1_book *book = l1->book;
    assert(number < book->parts.count);
    const part *total = &book->totals[number];
    sx_l1_usage usage = {.bytes = -sx_counter_read(&total->freed_bytes), .entries = -sx_counter_read(&total->freed_entries)};
    for (uint32_t stripe = 0; stripe < STRIPES; stripe++) {
        const cell *c = cell_of(book, stripe, number);
        usage.bytes += sx_counter_read(&c->bytes);
        usage.entries += sx_counter_read(&c->entries);
    }
    /* Read one after the other. */
    if (usage.bytes < 0) usage.bytes = 0;
    if (usage.entries < 0) usage.entries = 0;
    return usage;
}

void sx_l1_claim_init(const sx_l1 *l1, sx_l1_claim *claim, const sx_item *item) {
    claim->owed = 0;
    claim->count = l1->book == NULL ? 0 : l1->book->parts.of(l1->book->parts.context, item, claim->parts);
    assert(claim->count <= SX_L1_PARTS_EACH);
    claim->rank = SX_L1_RANK_NORMAL;
    if (claim->count != 0) /* relaxed: a choice */
        claim->rank = (sx_l1_rank)atomic_load_explicit(&l1->book->totals[claim->parts[0]].rank, memory_order_relaxed);
}

/* As a stripe's owner, or as one of several. */
static int64_t add(sx_counter *counter, bool own, int64_t more) {
    if (!own) return sx_counter_add_shared(counter, more);
    sx_counter_add(counter, more);
    return sx_counter_read(counter);
}

void sx_l1_claim_enter(sx_l1 *l1, const sx_l1_shard *shard, const sx_l1_claim *claim, int64_t footprint) {
    uint32_t number = (uint32_t)(shard - l1->shards);
    bool own = number < STRIPES_OWN;
    for (uint32_t i = 0; i < claim->count; i++) {
        part *total = &l1->book->totals[claim->parts[i]];
        cell *c = cell_of(l1->book, stripe_of(number), claim->parts[i]);
        (void)add(&c->entries, own, 1);
        int64_t bytes = add(&c->bytes, own, footprint);
        int64_t limit = atomic_load_explicit(&total->limit, memory_order_relaxed); /* relaxed: compared afresh */
        int64_t portion = (limit < sx_l1_bytes_max(l1) ? limit : sx_l1_bytes_max(l1)) >> PORTIONS;
        if (bytes - atomic_load_explicit(&c->told, memory_order_relaxed) <= portion) continue; /* relaxed: sum */
        tell(total, c, bytes);
    }
}

/* What is there of the part, as far as it was told. */
static int64_t bytes_of(const part *total) {
    return atomic_load_explicit(&total->bytes, memory_order_relaxed) - sx_counter_read(&total->freed_bytes); /* relaxed: sum */
}

/* How many bytes its limits are worth: entries count by their average. INT64_MAX none. */
static int64_t limit_of(const sx_l1 *l1, uint32_t number) {
    const part *total = &l1->book->totals[number];
    int64_t limit = atomic_load_explicit(&total->limit, memory_order_relaxed);             /* relaxed: compared afresh */
    int64_t entries_max = atomic_load_explicit(&total->entries_max, memory_order_relaxed); /* relaxed: as above */
    if (entries_max == INT64_MAX) return limit;
    sx_l1_usage usage = sx_l1_usage_read(l1, number);
    if (usage.entries == 0) return limit;
    double worth = (double)usage.bytes / (double)usage.entries * (double)entries_max;
    return worth < (double)limit ? (int64_t)worth : limit;
}

static bool is_beyond(int64_t there, int64_t limit, int32_t sixteenths) { return limit != INT64_MAX && there > limit + limit / 16 * sixteenths; }

/* Whether the part, with more, which is one entry or none, and less what is held up, is beyond one of its limits moved by so many of its
   sixteenths. */
static bool is_over(const sx_l1 *l1, uint32_t number, int64_t more, int64_t held, int32_t sixteenths) {
    const part *total = &l1->book->totals[number];
    int64_t entries_max = atomic_load_explicit(&total->entries_max, memory_order_relaxed); /* relaxed: compared afresh */
    int64_t limit = atomic_load_explicit(&total->limit, memory_order_relaxed);             /* relaxed: as above */
    if (is_beyond(bytes_of(total) + more - held, limit, sixteenths)) return true;
    if (entries_max == INT64_MAX) return false;
    sx_l1_usage usage = sx_l1_usage_read(l1, number);
    int64_t entries = usage.entries + (more > 0);
    if (held > 0 && usage.bytes > 0) entries -= (int64_t)((double)held / (double)usage.bytes * (double)usage.entries);
    return is_beyond(entries, entries_max, sixteenths);
}

/* While a reader holds up what was retired, evictions bring a part no nearer to its limit: overwrites would empty it, and new keys be
   refused though it has nothing left. All that is retired may then be the part's: what it has for certain is so much less. The whole's
   bounds hold meanwhile: of what is retired, and of what is not. 0 where nothing is held up. */
static int64_t held_up(const sx_l1 *l1, uint32_t number) {
    int64_t limit = limit_of(l1, number);
    int64_t most = sx_l1_retired_max(l1) / 4, retired = (int64_t)sx_epoch_retired_hint(l1->epoch);
    if (limit / 8 < most) most = limit / 8;
    return retired > most ? retired : 0;
}

/* The group's entries of a part, a bit each. */
static uint32_t positions_of(const sx_l1 *l1, sx_l1_group *group, uint32_t number) {
    const sx_l1_parts *parts = &l1->book->parts;
    uint32_t among = 0, numbers[SX_L1_PARTS_EACH];
    for (uint32_t p = 0; p < SX_L1_POSITIONS; p++) __builtin_prefetch(sx_l1_slot_item(sx_l1_slot_get_locked(group, p)), 0, 3);
    for (uint32_t p = 0; p < SX_L1_POSITIONS; p++) {
        const sx_item *item = sx_l1_slot_item(sx_l1_slot_get_locked(group, p));
        uint32_t count = item == NULL ? 0 : parts->of(parts->context, item, numbers);
        for (uint32_t i = 0; i < count; i++) among |= (uint32_t)(numbers[i] == number) << p;
    }
    return among;
}

/* Evicts one of the part, if the group has any. Returns whether it left. */
static bool evict_own_locked(sx_l1 *l1, sx_l1_shard *shard, sx_l1_group *group, uint32_t number, sx_l1_harvest *harvest) {
    uint32_t among = positions_of(l1, group, number);
    if (among == 0 || sx_l1_evict_among_locked(l1, shard, group, among, 0, harvest) == 0) return false;
    sx_l1_count(l1, shard, &shard->limit_evictions, 1);
    return true;
}

bool sx_l1_claim_room_locked(sx_l1 *l1, sx_l1_shard *shard, sx_l1_group *group, sx_l1_claim *claim, int64_t footprint,
                             sx_l1_harvest *harvest) {
    claim->owed = 0;
    for (uint32_t i = 0; i < claim->count; i++) {
        if (!is_over(l1, claim->parts[i], footprint, 0, -1)) continue;
        if (evict_own_locked(l1, shard, group, claim->parts[i], harvest)) continue;
        if (is_over(l1, claim->parts[i], footprint, held_up(l1, claim->parts[i]), 1)) {
            sx_l1_count(l1, shard, &shard->limit_refused, 1);
            return false;
        }
        claim->owed |= 1u << i;
    }
    return true;
}

/* One step of the table's hand, for a part only. Returns whether an entry left. */
static bool visit(sx_l1 *l1, sx_epoch_record *record, sx_l1_group *group, uint32_t number) {
    sx_l1_harvest harvest;
    harvest.count = 0;
    sx_l1_latch_acquire(&group->latch);
    bool evicted = evict_own_locked(l1, sx_l1_shard_of(l1, record), group, number, &harvest);
    sx_l1_latch_release(&group->latch);
    sx_l1_retire(l1, record, &harvest);
    return evicted;
}

void sx_l1_claim_pay(sx_l1 *l1, sx_epoch_record *record, const sx_l1_claim *claim) {
    for (uint32_t i = 0; i < claim->count; i++) {
        if (!is_over(l1, claim->parts[i], 0, 0, 0)) continue;
        int64_t less = (claim->owed >> i & 1) != 0 ? 0 : held_up(l1, claim->parts[i]); /* one for one empties nothing */
        for (uint32_t visits = 0; visits < PART_VISITS && is_over(l1, claim->parts[i], 0, less, 0); visits++) {
            sx_l1_group *high, *low = sx_l1_hand_next(l1, &high);
            if (visit(l1, record, low, claim->parts[i])) break;
            if (high != NULL && visit(l1, record, high, claim->parts[i])) break;
        }
    }
}
