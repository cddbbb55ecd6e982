/* SPDX-License-Identifier: Apache-2.0 */
/* Events: what happens in an engine, one by one, for who watches. Included by strata.h. */
#ifndef STRATA_EVENTS_H
#define STRATA_EVENTS_H

#include <strata/strata.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum strata_event_kind {
    STRATA_EVENT_HIT = 0,        /* L1 answered */
    STRATA_EVENT_MISS = 1,       /* L1 did not */
    STRATA_EVENT_STALE = 2,      /* L1 answered as stale */
    STRATA_EVENT_L2 = 3,         /* a get was answered by L2, or failed there; value: ns from call to answer */
    STRATA_EVENT_LOAD = 4,       /* a get was answered by a loader, likewise */
    STRATA_EVENT_SET = 5,        /* a set has ended, likewise */
    STRATA_EVENT_INVALIDATE = 6, /* an invalidation has ended, likewise */
    STRATA_EVENT_HEARD = 7,      /* a message says that a key was written or invalidated, by whomever; value: n */
    STRATA_EVENT_EVICTED = 8,    /* an entry left L1 to make room; value: the bytes that it occupied */
    STRATA_EVENT_EXPIRED = 9,    /* an entry left L1 because its time was over, likewise */
    STRATA_EVENT_BREAKER = 10,   /* status: 1 opened, 0 closed; value: the server's index, see strata_stats_node */
    STRATA_EVENT_TRUST = 11      /* status: 1 gained, 0 lost; value: the partition */
} strata_event_kind;
#define STRATA_EVENT_KINDS 12
#define STRATA_EVENTS_ALL 0xfffu
#define STRATA_EVENTS_CAPACITY_MAX 65536

typedef struct strata_event {
    int64_t time_ns;           /* the engine's clock */
    const strata_namespace *ns; /* NULL where it is about none */
    uint64_t key_hash;         /* of its key, see strata_event_key; 0 none */
    int64_t value;
    int32_t status;            /* how it ended */
    uint32_t kind;             /* strata_event_kind */
} strata_event;

/*
 * Begins to keep events, changes which, or ends it. Each session, the loop and the keeper write into rings of their own, which nobody waits
 * for: what finds its ring full is dropped and counted. Nothing is kept, and nothing costs more, where nobody watches. Who watches what leaves
 * L1 has each entry that does read once more, and its key hashed.
 *   engine    an engine
 *   kinds     bits 1 << strata_event_kind; 0 ends it, and what was not drained is dropped
 *   capacity  events that a ring holds, a power of two, 16 .. STRATA_EVENTS_CAPACITY_MAX; 0 for 1024; as it was at first where there are rings already
 * Returns: STRATA_OK; STRATA_E_INVALID; STRATA_E_NOMEM: nothing has changed; STRATA_E_CLOSED; STRATA_E_FORKED.
 * Owns:    nothing.
 * Threads: any.
 * Blocks:  on a lock held for a few instructions.
 * Since:   0.1
 */
STRATA_API int32_t strata_events_watch(strata *engine, uint32_t kinds, uint32_t capacity);

/*
 * Takes events that were kept. Those of one session are in their order; those of several, of the loop and the keeper are told apart by
 * their times.
 *   engine   an engine
 *   out      receives up to max events
 *   max      room at out
 *   count    receives how many
 *   dropped  receives how many were dropped since the last call; may be NULL
 * Returns: STRATA_OK; STRATA_E_INVALID; STRATA_E_CLOSED; STRATA_E_FORKED.
 * Owns:    nothing.
 * Threads: any, one after the other.
 * Blocks:  on a lock held while at most max events are copied.
 * Since:   0.1
 */
STRATA_API int32_t strata_events_drain(strata *engine, strata_event *out, size_t max, size_t *count, uint64_t *dropped);

/*
 * Tells by what number events name a key: another one in each process.
 *   ns   a namespace
 *   key  1 .. STRATA_KEY_BYTES_MAX bytes
 *   out  receives the number
 * Returns: STRATA_OK; STRATA_E_INVALID; STRATA_E_KEY_SIZE.
 * Owns:    nothing.
 * Threads: any.
 * Blocks:  never.
 * Since:   0.1
 */
STRATA_API int32_t strata_event_key(const strata_namespace *ns, strata_bytes key, uint64_t *out);

#ifdef __cplusplus
}
#endif
#endif
