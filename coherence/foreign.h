/* SPDX-License-Identifier: Apache-2.0 */
/* Keys that programs without Strata write: followed by Redis's own tracking, over one connection per primary by which they
   are read too. What is promised of them, and why it holds: docs/PROTOCOL.md, "Foreign writers". */
#ifndef SX_COHERENCE_FOREIGN_H
#define SX_COHERENCE_FOREIGN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "coherence/trust.h"
#include "core/key/key.h"
#include "core/observe/metric.h"
#include "l2/redis/cluster.h"

/* Trust words of foreign keys: each for as many slots in a row. */
#define SX_FOREIGN_WORDS 256
#define SX_FOREIGN_WORD_SLOTS (SX_SLOTS / SX_FOREIGN_WORDS)
#define SX_FOREIGN_PREFIXES_MAX 64
#define SX_FOREIGN_PREFIX_BYTES_MAX 128
#define SX_FOREIGN_NAME_BYTES_MAX (SX_FOREIGN_PREFIX_BYTES_MAX + SX_KEY_BYTES_MAX)

typedef struct sx_foreign sx_foreign;

typedef struct sx_foreign_events {
    void *context;
    /* Somebody changed the key behind one of the prefixes, or it is gone. On the loop; before any later lease. */
    void (*on_key)(void *context, void *owner, const void *key, size_t key_size);
} sx_foreign_events;

/* words: SX_FOREIGN_WORDS, owned by the caller, initialised here. cluster and trust outlive it. tracks: false, and
   nothing is ever followed. */
int32_t sx_foreign_create(sx_loop *loop, const sx_alloc *alloc, const sx_log *log, sx_redis_cluster *cluster, sx_trust *trust,
                          const sx_redis_settings *redis, bool tracks, const sx_foreign_events *events, sx_trust_word *words,
                          sx_foreign **out);
/* Ends all leases, closes the connections, which fails what is asked; then(context) once they are closed. On the loop. */
void sx_foreign_stop_on_loop(sx_foreign *foreign, void (*then)(void *context), void *context);
void sx_foreign_destroy(sx_foreign *foreign);

/* Follows one more prefix from here on; what is followed already becomes unproven once. No prefix begins with another; at
   most SX_FOREIGN_PREFIXES_MAX. owner: for on_key. On the loop. */
void sx_foreign_follow_on_loop(sx_foreign *foreign, const char *prefix, size_t size, void *owner);
/* From the cluster's events, on the loop. */
void sx_foreign_topology_on_loop(sx_foreign *foreign);

/* One read of a value and its time to live. Embedded in whatever it serves; must live until done. owner: loop. */
typedef struct sx_foreign_read {
    /* set by the caller */
    const void *owner; /* whose prefix it has */
    uint16_t slot;     /* of its whole name */
    int64_t deadline_ns;
    /* Exactly once, never inside sx_foreign_read_on_loop. STRATA_OK: reply is what GET answered, an error perhaps, and lives
       during the call. STRATA_E_TIMEOUT. Another failure: the connection was lost. */
    void (*done)(struct sx_foreign_read *read, int32_t status, const sx_resp *reply);
    /* for done to read */
    int64_t ttl_ms;     /* what PTTL answered: -1 endless; INT64_MIN it failed */
    int64_t sent_ns;
    /* private */
    sx_foreign *foreign;
    sx_redis_conn *conn;
    sx_timer timer;
    uint64_t ticket, ttl_ticket;
    uint64_t generation;
} sx_foreign_read;

/* Asks the slot's owner, where that is followed. STRATA_OK; STRATA_E_UNAVAILABLE, STRATA_E_OVERLOADED, STRATA_E_NOMEM: then
   done is not called. On the loop. */
int32_t sx_foreign_read_on_loop(sx_foreign *foreign, sx_foreign_read *read, const void *name, size_t name_size);
/* Inside done: whether what was answered may enter L1, and under which generation. */
bool sx_foreign_may_fill_on_loop(const sx_foreign *foreign, const sx_foreign_read *read, uint64_t *generation);

enum {
    SX_FOREIGN_METRIC_NODES, /* gauge */
    SX_FOREIGN_METRIC_MESSAGES,
    SX_FOREIGN_METRIC_KEYS,
    SX_FOREIGN_METRIC_FLUSHES,
    SX_FOREIGN_METRIC_LOST,
    SX_FOREIGN_METRIC_READS,
    SX_FOREIGN_METRIC_COUNT
};
extern const sx_metric_row sx_foreign_metrics[SX_FOREIGN_METRIC_COUNT];
int64_t sx_foreign_metric_read(const sx_foreign *foreign, uint32_t metric); /* any thread */

#endif
