/* SPDX-License-Identifier: Apache-2.0 */
/* L1: the in-process store. Reads are wait-free under an epoch pin; writers lock a group; memory stays in its budget. */
#ifndef SX_L1_L1_H
#define SX_L1_L1_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/config/option.h"
#include "core/key/key.h"
#include "core/memory/epoch.h"
#include "core/memory/item.h"
#include "core/observe/metric.h"
#include "core/time/clock.h"

extern const sx_option_table sx_l1_options; /* l1.bytes and l1.policy (hot), l1.item_bytes_max, l1.enabled */

/* Metric rows and where their numbers are; sx_l1_metric_read(l1, i) reads row i. */
enum {
    SX_L1_METRIC_ENTRIES,
    SX_L1_METRIC_BYTES_USED,      /* items' footprints, index and policy, retired but not freed bytes */
    SX_L1_METRIC_BYTES_MAX,       /* the budget */
    SX_L1_METRIC_BYTES_RESIDENT,  /* pages that the items' allocator holds; -1 where it doesn't say */
    SX_L1_METRIC_BYTES_METADATA,  /* of them all but keys and values */
    SX_L1_METRIC_INSERTS,
    SX_L1_METRIC_REPLACES,
    SX_L1_METRIC_EVICTIONS,
    SX_L1_METRIC_LIMIT_EVICTIONS, /* of them, those because a part was at its limit */
    SX_L1_METRIC_EXPIRATIONS,
    SX_L1_METRIC_IDLED,           /* of them, those that were not used for long */
    SX_L1_METRIC_REMOVALS,
    SX_L1_METRIC_REFUSED,         /* too large, budget held by a stalled reader, or a part's limit */
    SX_L1_METRIC_TOO_LARGE,       /* of them, those beyond item_bytes_max or the whole budget: L2 only */
    SX_L1_METRIC_LIMIT_REFUSED,   /* of them, those because a part was beyond its limit */
    SX_L1_METRIC_RANK_REFUSED,    /* of them, those for which only entries of a higher rank could have left */
    SX_L1_METRIC_COUNT
};
extern const sx_metric_row sx_l1_metrics[SX_L1_METRIC_COUNT];

typedef struct sx_l1 sx_l1;

/* Who leaves first where room is wanted (policy.c); as in l1.policy's choices. */
typedef enum sx_l1_policy {
    SX_L1_POLICY_S3FIFO,
    SX_L1_POLICY_LRU,
    SX_L1_POLICY_CLOCK,
    SX_L1_POLICY_ADAPTIVE
} sx_l1_policy;

typedef struct sx_l1_settings {
    int64_t bytes_max;
    int64_t item_bytes_max; /* key and value */
    sx_l1_policy policy;
} sx_l1_settings;

/* The table's own memory comes from heap's allocator too. epoch outlives the store. */
int32_t sx_l1_create(sx_heap *heap, sx_epoch *epoch, const sx_clock *clock, const sx_key_secret *secret,
                     const sx_l1_settings *settings, sx_l1 **out);
/* Releases every item. No other thread may be inside a call. */
void sx_l1_destroy(sx_l1 *l1);

/* The hash that every call below takes, computed once per operation. */
static inline uint64_t sx_l1_hash(const sx_key_secret *secret, uint16_t ns, const void *key, size_t size) {
    return sx_key_hash(secret, ns, key, size);
}

/* Finds the live entry of a key, expired or not (the caller compares sx_item_expires_ns with its clock; the keeper
   removes it at sx_item_gone_ns), and notes the
   hit for the eviction policy. No lock, no allocation, no system call, no shared line written for a key that is hot
   already. record must be pinned; the item is safe to read until unpin, sx_item_retain makes it outlive that.
   What a find that begins after a load of an acquire-read word sees: every removal that happened before the store that
   the load read. Wait-free. */
sx_item *sx_l1_find_pinned(sx_l1 *l1, uint64_t hash, uint16_t ns, const void *key, size_t size);
/* Starts the memory accesses of a find, for batches. The caller is pinned. */
void sx_l1_prefetch(const sx_l1 *l1, uint64_t hash);
/* The second step, some keys later: of the item, where its bucket has come. The caller is pinned. */
void sx_l1_prefetch_item(const sx_l1 *l1, uint64_t hash);

/* Budgets from here on are worth pages of 2 MB. */
#define SX_L1_HUGE_BYTES_MIN (INT64_C(64) << 20)

/* What sx_l1_put does where an entry of the key exists already. */
typedef enum sx_l1_put_rule {
    SX_L1_PUT_NEWER,  /* replaces an entry with a smaller n, or an equal n and another id; an entry with equal (n, id)
                         is replaced too (it renews ttl and generation); an expired or other-generation entry always */
    SX_L1_PUT_HELD,   /* replaces an entry with a smaller n; where there is none, the answer is STRATA_MISS */
    SX_L1_PUT_ALWAYS  /* no versions (no L2) */
} sx_l1_put_rule;

/* Makes the item its key's entry. The table takes a reference of its own; the caller keeps his. Callers serialise puts
   and removals of one key among themselves (the flight's stripe); gets need not. record is the caller's (pinned or not).
   Returns STRATA_OK; STRATA_EXISTS where the rule keeps what is there; STRATA_MISS, see SX_L1_PUT_HELD;
   STRATA_E_VALUE_SIZE beyond item_bytes_max; STRATA_E_OVERLOADED where retired memory held by a stalled reader exceeds its share,
   for a new key three quarters of it, or where too few may leave for what it brings (sx_l1_rank). After any failure, and wherever a
   new item could not go in, NO older entry of the key remains (except with STRATA_EXISTS). */
int32_t sx_l1_put(sx_l1 *l1, sx_epoch_record *record, uint64_t hash, sx_item *item, sx_l1_put_rule rule);

/* Starts the memory accesses of a put, best before its item is made. */
void sx_l1_prefetch_put(const sx_l1 *l1, sx_epoch_record *record, uint64_t hash);

/* Removes the key's entry if its n is smaller than below_n (UINT64_MAX: any; entries with n == below_n stay). Never fails
   for lack of anything. Returns whether one was removed. */
bool sx_l1_remove(sx_l1 *l1, sx_epoch_record *record, uint64_t hash, uint16_t ns, const void *key, size_t size,
                  uint64_t below_n);
/* Removes the key's entry if it has a smaller n than that version, or the same n and another id. */
bool sx_l1_remove_other(sx_l1 *l1, sx_epoch_record *record, uint64_t hash, uint16_t ns, const void *key, size_t size, uint64_t n,
                        uint64_t id);
/* Removes this very item if it is still its key's entry (expiry, audits). */
bool sx_l1_remove_item(sx_l1 *l1, sx_epoch_record *record, uint64_t hash, sx_item *item);

/* Visits entries, weakly consistent, while others put, remove and evict and while the table grows or shrinks: an entry that is there
   from the first step to the last is visited at least once; twice only where its group was merged with another between two steps,
   never for a split; one that came or went meanwhile, perhaps. The order is that of the hashes' reversed bits, so that a cursor means
   the same at each size of the table. visit runs under a pin and no lock; true removes the entry. *cursor starts at 0 and is 0
   again at the end. A step looks at most at budget groups of at most 28 entries each; between steps nothing is held, and the cursor may
   be kept for as long as wanted. */
void sx_l1_walk(sx_l1 *l1, sx_epoch_record *record, uint64_t *cursor, uint32_t budget,
                bool (*visit)(void *context, sx_item *item), void *context);

/* The same for who only looks and wants to know how hot each entry is: 0 .. SX_L1_HEATS - 1, the last those that the policy would
   evict last. Heats are hints: they say how entries of one table compare, and change with every hit and insertion. */
#define SX_L1_HEATS 8u
void sx_l1_walk_heats(sx_l1 *l1, sx_epoch_record *record, uint64_t *cursor, uint32_t budget,
                      void (*visit)(void *context, sx_item *item, uint32_t heat), void *context);

/* Usage by parts. A hook says to which parts an entry belongs: to its namespace's, say, and to its tenant's. Counted are entries and
   the bytes they occupy, from the put until their memory is freed, which is some milliseconds after they left the table. */
#define SX_L1_PARTS_EACH 2u
typedef struct sx_l1_parts {
    uint32_t count; /* of parts; each costs 450 bytes of the budget */
    /* Writes the numbers of the item's parts, different ones below count, and returns how many. From what is const in the
       item, so that the answer is the same whenever it is asked; on any thread, under a latch, so without locks, memory or calls
       into the store. Until the epoch's end. */
    uint32_t (*of)(void *context, const sx_item *item, uint32_t parts[SX_L1_PARTS_EACH]);
    void *context;
} sx_l1_parts;
typedef struct sx_l1_usage {
    int64_t entries;
    int64_t bytes;
} sx_l1_usage;
/* Who leaves first where room is wanted: entries of the least rank there are, in the group that an entry enters and in those the hand comes by.
   Never one of a higher rank than that of the entry it leaves for: where there is no other, that one is refused. An entry has the rank that the
   first of its parts had as it was put. */
typedef enum sx_l1_rank { SX_L1_RANK_LOW, SX_L1_RANK_NORMAL, SX_L1_RANK_HIGH } sx_l1_rank;
/* Begins to count. Once, before the first put; one store of a heap may. Returns STRATA_OK or STRATA_E_NOMEM. */
int32_t sx_l1_watch_parts(sx_l1 *l1, const sx_l1_parts *parts);
/* What a part occupies. Any thread; a few dozen loads; exact once nobody writes. */
sx_l1_usage sx_l1_usage_read(const sx_l1 *l1, uint32_t part);
/* Bounds what a part occupies, to a sixteenth, while in use; INT64_MAX: no bound, as in the beginning. From a sixteenth below the limit on
   a new entry evicts one of the same part from its group. Where there is none it goes in, and one of the part leaves a group that the
   hand comes by; a sixteenth beyond the limit it is refused with STRATA_E_OVERLOADED. Overwrites are not refused. While a reader holds up what is retired, that does not count as
   the part's: it keeps what it has, and the whole's bounds hold. A limit that falls
   below what is there is reached by the part's own puts. */
void sx_l1_limit_part(sx_l1 *l1, uint32_t part, int64_t bytes_max);
/* The same for how many entries there are of a part, 64 or more; INT64_MAX: no bound. A put of such a part costs a few sums of some dozen loads each. */
void sx_l1_limit_part_entries(sx_l1 *l1, uint32_t part, int64_t entries_max);
/* Of what is put from here on; SX_L1_RANK_NORMAL in the beginning. Any thread. */
void sx_l1_rank_part(sx_l1 *l1, uint32_t part, sx_l1_rank rank);

/* Who is told of entries that left by themselves: once each, after that, on the thread that has this record, under no latch; the item is read
   during the call. Hit or not, an entry's line is cold by then. */
typedef void (*sx_l1_left_fn)(void *context, const sx_epoch_record *record, const sx_item *item, uint64_t hash, size_t footprint, bool expired);
/* Before the first put. */
void sx_l1_watch_left(sx_l1 *l1, sx_l1_left_fn left, void *context);
/* From here on, or no more: nothing but a flag is looked at meanwhile. */
void sx_l1_tell_left(sx_l1 *l1, bool tell);

/* The keeper's round: brings memory under the budget, expires with bounded work. record is the keeper's. Returns whether
   more work is waiting. */
bool sx_l1_maintain_on_keeper(sx_l1 *l1, sx_epoch_record *record, int64_t now_ns);

/* Whether seven eighths of what entries may occupy are used: what leaves now leaves for want of room. Below that an entry leaves here and
   there because its group is full, or its part at its limit. Any thread. */
bool sx_l1_is_nearly_full(const sx_l1 *l1);

/* Whether puts of new keys are refused for what is retired and not freed yet. Any thread. */
bool sx_l1_refuses_new(const sx_l1 *l1);

/* Changes the budget while in use. */
void sx_l1_resize(sx_l1 *l1, int64_t bytes_max);
/* Changes the policy while in use. Between recency (lru, clock) and queues (s3fifo, adaptive) ages are kept and
   so are hits not counted yet; counts of hits and ghosts are forgotten. */
void sx_l1_policy_change(sx_l1 *l1, sx_l1_policy policy);

int64_t sx_l1_metric_read(const sx_l1 *l1, uint32_t metric);

#endif
