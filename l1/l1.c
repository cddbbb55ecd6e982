/* SPDX-License-Identifier: Apache-2.0 */
/* The store as a whole: its making and end, its budget, its options and metrics. */
#include "l1/table.h"

/* What it is. A hit costs the two cache misses it can't avoid: one line of the index, and the item. So all that a find
   needs to decide, and all that eviction needs to know of an entry, is in that line: seven slots of tag, size class and
   address, seven bytes of policy, one control byte. Four such buckets and a line of ghosts are a group of up to 28
   entries, the unit of locking, of eviction and of growth. There is no queue, no list and no count that a hit touches.

   Finds (find.c) run under an epoch pin and take no lock. A slot is published with release and read with acquire; the
   item behind it is immutable, and the table's reference to it is dropped only when no pin can see it any more. A find
   looks at the key's home bucket, and at the group's other buckets only if the home's control byte says that entries had
   to go there; insertions bring them home where they can.

   Writers (write.c) take the latch of one group for some hundred nanoseconds. Evictions (policy.c) are within the group of
   the key that is put, then, if that did not pay, in the groups the hand comes by (keep.c).

   Growth (grow.c) splits one group at a time, so that no put and no find ever waits for more than that. A group carries
   its level in each control byte: the number of hash bits it has in common with its entries. A find that reads a level
   which does not fit goes on to the group that the level leads to; a find that missed reads the level again, since a
   split sets it before it empties the slots it moved. Full groups are split out of turn, so below the budget entries
   leave only where 28 others of a half-filled round crowd them out, about once in a million. A table whose budget is nearly
   used up has as many groups as its entries can fill, for few entries a group are a poor choice of victims.

   The budget. bytes_max bounds: the index's segments; the footprints of items in the table; and the bytes that were
   retired, by anybody in the same epoch domain, and not yet freed. A large segment counts for the pages of it that are in
   use, until its round is over. The last part can't be had back by evicting, for what
   is evicted is retired first. Therefore a tenth of the budget is left to it: entries fill nine tenths, and when retired
   memory exceeds its tenth, because a reader stays pinned or the keeper does not come, puts are refused; those of new keys at
   three quarters of it, for an overwrite that is refused costs an entry that may be in use. Footprints are
   summed in 64 shards, and a shard brings its sum to the total in portions of 1/16384 of the budget; the limit is lower by
   what the shards may withhold, and the keeper brings a shard's sum in where the budget has shrunk below it. What a put under way has
   displaced is in no sum until it is retired: by so few items for each thread that writes is the promise short of exact.

   What blocks whom. Finds: wait-free, but for the restarts that growth itself causes, a bounded number for each doubling.
   Writers: not lock-free; one that is preempted while it holds a group's latch delays the writers of that group, and
   whoever holds the round latch delays growth and puts into full groups. A pinned reader delays freeing, nothing else. */

static const sx_option rows[] = {
    {.name = "l1.enabled", .type = SX_OPTION_BOOLEAN, .min = 0, .max = 1, .default_text = "true",
     .doc = "Keep values in this process. Off, every get asks L2."},
    {.name = "l1.bytes", .type = SX_OPTION_BYTES, .min = INT64_C(1) << 20, .max = INT64_C(1) << 44,
     .default_text = "256MiB", .hot = true,
     .doc = "Budget of L1: items, index and policy, and memory retired but not freed yet. A tenth is left to the last."},
    {.name = "l1.huge_pages", .type = SX_OPTION_BOOLEAN, .min = 0, .max = 1, .default_text = "true",
     .doc = "Wish for pages of 2 MB where l1.bytes is 64 MiB or more at open: finds miss the processor's table of pages less. "
            "The kernel must allow it (transparent_hugepage: madvise or always)."},
    {.name = "l1.policy", .type = SX_OPTION_CHOICE, .choices = "s3fifo|lru|clock|adaptive", .default_text = "s3fifo", .hot = true,
     .doc = "Which entries leave for new ones: s3fifo, the least often and least lately used and the largest, scans and loops "
            "pass by; lru, the least lately used; clock, the oldest that was not used since its last turn; adaptive, s3fifo with "
            "more or less room for new entries, as some groups of the table show to be better."},
    {.name = "l1.item_bytes_max", .type = SX_OPTION_BYTES, .min = 64, .max = INT64_C(1) << 26, .default_text = "1MiB",
     .doc = "Longest key and value together that L1 keeps; longer ones live in L2 only."},
};
const sx_option_table sx_l1_options = {rows, sizeof rows / sizeof rows[0]};

const sx_metric_row sx_l1_metrics[SX_L1_METRIC_COUNT] = {
    [SX_L1_METRIC_ENTRIES] = {"l1.entries", "1", "Entries in the table.", 1},
    [SX_L1_METRIC_BYTES_USED] = {"l1.bytes_used", "bytes",
                                 "Items' footprints, index and policy, retired but not freed bytes.", 1},
    [SX_L1_METRIC_BYTES_MAX] = {"l1.bytes_max", "bytes", "The budget.", 1},
    [SX_L1_METRIC_BYTES_RESIDENT] = {"l1.bytes_resident", "bytes",
                                     "Pages that the allocator of L1's memory holds, -1 where it doesn't say: beyond "
                                     "l1.bytes_used it is fragmentation and caches.", 1},
    [SX_L1_METRIC_BYTES_METADATA] = {"l1.bytes_metadata", "bytes", "All of l1.bytes_used but keys and values.", 1},
    [SX_L1_METRIC_INSERTS] = {"l1.inserts", "operations", "Entries put where none of the key was.", 0},
    [SX_L1_METRIC_REPLACES] = {"l1.replaces", "operations", "Entries put in place of one of the same key.", 0},
    [SX_L1_METRIC_EVICTIONS] = {"l1.evictions", "operations", "Entries removed to make room.", 0},
    [SX_L1_METRIC_LIMIT_EVICTIONS] = {"l1.limit_evictions", "operations", "Of these, entries of a tenant or namespace that was at its limit.", 0},
    [SX_L1_METRIC_EXPIRATIONS] = {"l1.expirations", "operations", "Entries removed because their time was over.", 0},
    [SX_L1_METRIC_IDLED] = {"l1.idled", "operations", "Of these, entries that nobody had read for as long as their policy allows.", 0},
    [SX_L1_METRIC_REMOVALS] = {"l1.removals", "operations", "Entries removed by name.", 0},
    [SX_L1_METRIC_REFUSED] = {"l1.refused", "operations", "Puts of items too large, while retired memory is stuck, or beyond a limit.", 0},
    [SX_L1_METRIC_TOO_LARGE] = {"l1.too_large", "operations",
                                "Values that are kept in L2 only: longer than l1.item_bytes_max, or than the budget.", 0},
    [SX_L1_METRIC_LIMIT_REFUSED] = {"l1.limit_refused", "operations",
                                    "Of l1.refused, puts for a tenant or namespace that was beyond its limit.", 0},
    [SX_L1_METRIC_RANK_REFUSED] = {"l1.priority_refused", "operations",
                                   "Of l1.refused, puts for which only entries of a higher priority could have left.", 0},
};

int32_t sx_l1_create(sx_heap *heap, sx_epoch *epoch, const sx_clock *clock, const sx_key_secret *secret,
                     const sx_l1_settings *settings, sx_l1 **out) {
    assert(settings->bytes_max > 0 && settings->item_bytes_max >= 0);
    sx_l1 *l1 = heap->alloc.allocate(heap->alloc.context, sizeof *l1, SX_NO_SHARING);
    if (l1 == NULL) return STRATA_E_NOMEM;
    memset(l1, 0, sizeof *l1);
    l1->heap = heap;
    l1->epoch = epoch;
    l1->clock = clock;
    l1->item_bytes_max = settings->item_bytes_max;
    l1->started_ns = sx_clock_now_ns(clock);
    l1->crawled_ns = l1->started_ns;
    l1->secret = *secret;
    atomic_init(&l1->bytes_max, settings->bytes_max);
    atomic_init(&l1->policy, (uint8_t)settings->policy);
    atomic_init(&l1->index_bytes, (int64_t)heap->alloc.usable(heap->alloc.context, sizeof *l1));
    int32_t status = sx_l1_root_create(l1);
    if (status != STRATA_OK) {
        sx_release(&heap->alloc, l1, sizeof *l1);
        return status;
    }
    *out = l1;
    return STRATA_OK;
}

void sx_l1_destroy(sx_l1 *l1) {
    if (l1 == NULL) return;
    sx_l1_root_destroy(l1);
    sx_release(&l1->heap->alloc, l1, sizeof *l1);
}

void sx_l1_resize(sx_l1 *l1, int64_t bytes_max) {
    assert(bytes_max > 0);
    atomic_store_explicit(&l1->bytes_max, bytes_max, memory_order_relaxed); /* relaxed: compared afresh each time */
}

void sx_l1_policy_change(sx_l1 *l1, sx_l1_policy policy) {
    atomic_store_explicit(&l1->policy, (uint8_t)policy, memory_order_relaxed); /* relaxed: read afresh each time */
}

static int64_t sum(const sx_l1 *l1, size_t offset) {
    int64_t total = 0;
    for (uint32_t i = 0, used = sx_l1_shards_used(l1); i < used; i++) {
        total += sx_counter_read((const sx_counter *)((const char *)&l1->shards[i] + offset));
    }
    return total;
}

/* Exact when nobody writes. */
static int64_t items_bytes(const sx_l1 *l1) { return sum(l1, offsetof(sx_l1_shard, bytes)); }

int64_t sx_l1_metric_read(const sx_l1 *l1, uint32_t metric) {
    switch (metric) {
    case SX_L1_METRIC_ENTRIES: return sx_l1_entries(l1);
    case SX_L1_METRIC_BYTES_USED:
        return items_bytes(l1) + sx_l1_index_bytes(l1) + (int64_t)sx_epoch_retired_bytes(l1->epoch);
    case SX_L1_METRIC_BYTES_MAX: return sx_l1_bytes_max(l1);
    case SX_L1_METRIC_BYTES_RESIDENT: return sx_alloc_arena_resident(&l1->heap->alloc);
    case SX_L1_METRIC_BYTES_METADATA:
        return sx_l1_metric_read(l1, SX_L1_METRIC_BYTES_USED) - sum(l1, offsetof(sx_l1_shard, payload)) +
               sx_heap_freed(l1->heap);
    case SX_L1_METRIC_INSERTS: return sum(l1, offsetof(sx_l1_shard, inserts));
    case SX_L1_METRIC_REPLACES: return sum(l1, offsetof(sx_l1_shard, replaces));
    case SX_L1_METRIC_EVICTIONS: return sum(l1, offsetof(sx_l1_shard, evictions));
    case SX_L1_METRIC_LIMIT_EVICTIONS: return sum(l1, offsetof(sx_l1_shard, limit_evictions));
    case SX_L1_METRIC_EXPIRATIONS: return sum(l1, offsetof(sx_l1_shard, expirations));
    case SX_L1_METRIC_IDLED: return sum(l1, offsetof(sx_l1_shard, idled));
    case SX_L1_METRIC_REMOVALS: return sum(l1, offsetof(sx_l1_shard, removals));
    case SX_L1_METRIC_REFUSED: return sum(l1, offsetof(sx_l1_shard, refused));
    case SX_L1_METRIC_TOO_LARGE: return sum(l1, offsetof(sx_l1_shard, too_large));
    case SX_L1_METRIC_LIMIT_REFUSED: return sum(l1, offsetof(sx_l1_shard, limit_refused));
    case SX_L1_METRIC_RANK_REFUSED: return sum(l1, offsetof(sx_l1_shard, rank_refused));
    default: break;
    }
    assert(metric < SX_L1_METRIC_COUNT);
    return 0;
}
