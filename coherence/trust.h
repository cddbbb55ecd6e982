/* SPDX-License-Identifier: Apache-2.0 */
/* Trust: which partitions of this L1 are proven fresh, until when, and since which generation. */
#ifndef SX_COHERENCE_TRUST_H
#define SX_COHERENCE_TRUST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "coherence/message.h"
#include "coherence/publish.h"
#include "coherence/trust_word.h"
#include "core/config/option.h"
#include "core/observe/metric.h"
#include "l2/redis/cluster.h"

extern const sx_option_table sx_coherence_options; /* coherence.max_staleness, partitions, node_timeout, beat_counters,
                                                      lease (of loads), untrusted, tags_max, value_bytes_max, serve_stale_max */

typedef struct sx_trust sx_trust;

typedef struct sx_trust_events {
    void *context;
    /* Applies one sequenced message, FILLED or UNTRUST. On the loop, in channel order, before any later lease. */
    void (*on_message)(void *context, uint32_t partition, const sx_message *message);
    /* This L2 can't be used as configured: layout, permissions, cluster-allow-reads-when-down, version. On the loop, at
       most once per distinct text; trust is not gained until a later check passes. */
    void (*on_refused)(void *context, int32_t status, const char *text);
    /* L2's layout is ours: only from here on may anything be written there. On the loop, again after each check. */
    void (*on_agreed)(void *context);
    /* The partition is trusted again, but stands on another node, run or data than before, which was last proven to be
       the primary at proven_ns: what it acknowledged may be lost. On the loop; may be NULL. */
    void (*on_replaced)(void *context, uint32_t partition, int64_t proven_ns);
    /* The words of some partitions have changed. On the loop, where nothing but a note may be taken; may be NULL. */
    void (*on_word)(void *context);
    /* Whether anything was asked of this process since the last call. On the loop, about as often as heartbeats go out, which
       are fewer while it says no; NULL: always. */
    bool (*is_used)(void *context);
    /* Trust in a partition was gained, or lost. On the loop, where nothing but a note may be taken; may be NULL. */
    void (*on_trust)(void *context, uint32_t partition, bool gained);
} sx_trust_events;

typedef struct sx_trust_settings {
    const sx_redis_settings *redis; /* for the subscription connections */
    uint32_t partitions;
    int64_t max_staleness_ns;       /* delta; a heartbeat goes out every delta / 5, delta / 2 where nobody asks */
    int64_t node_timeout_ns;        /* configured fallback where CONFIG GET is refused; delta is clamped to half of it */
    uint32_t beat_counters;         /* counters per heartbeat, in rotation */
} sx_trust_settings;

/* words: partitions entries, owned by the caller, initialised here. cluster, publish, scripts and tags outlive it. */
int32_t sx_trust_create(sx_loop *loop, const sx_alloc *alloc, const sx_log *log, sx_redis_cluster *cluster,
                        const sx_key_tags *tags, const sx_publish *publish, sx_publish_scripts *scripts,
                        const sx_trust_settings *settings, const sx_trust_events *events, sx_trust_word *words,
                        sx_trust **out);
void sx_trust_start_on_loop(sx_trust *trust);
/* Ends all trust, closes the subscription connections; then(context) once they are closed. */
void sx_trust_stop_on_loop(sx_trust *trust, void (*then)(void *context), void *context);
void sx_trust_destroy(sx_trust *trust);

/* From the cluster's events, on the loop. */
void sx_trust_topology_on_loop(sx_trust *trust);
void sx_trust_redirect_on_loop(sx_trust *trust, uint16_t slot, bool asking);

/* What a flight remembers when it sends its request. */
typedef struct sx_trust_mark {
    uint64_t generation;
    uint64_t term; /* counts gains of trust; 0 where untrusted */
} sx_trust_mark;
sx_trust_mark sx_trust_mark_on_loop(sx_trust *trust, uint32_t partition);
/* Whether a reply from the connection with that identity may enter L1: trusted then and now, in one term and generation,
   and answered by the very node, run and replication id that trust stands on. Where they differ, the data connections and
   the subscription's identify themselves again. */
bool sx_trust_may_fill_on_loop(sx_trust *trust, uint32_t partition, const sx_trust_mark *mark, uint64_t identity);

/* Of whom the partition's trust stands or last stood on; 0 before. On the loop. */
uint64_t sx_trust_identity_on_loop(const sx_trust *trust, uint32_t partition);

/* Until when the node is proven to be a primary that nobody has replaced; INT64_MIN: it is not. *ends counts how often that
   proof has ended. On the loop. */
int64_t sx_trust_node_lease_on_loop(const sx_trust *trust, const sx_redis_node *record, uint64_t *ends);

/* The staleness bound in force (after clamping). Any thread. */
int64_t sx_trust_max_staleness_ns(const sx_trust *trust);

enum {
    SX_TRUST_METRIC_PARTITIONS_TRUSTED, /* gauge */
    SX_TRUST_METRIC_MESSAGES,
    SX_TRUST_METRIC_HOLES,
    SX_TRUST_METRIC_GAINED,
    SX_TRUST_METRIC_LOST,
    SX_TRUST_METRIC_GENERATION_BUMPS,
    SX_TRUST_METRIC_BEATS,
    SX_TRUST_METRIC_BEATS_LATE,         /* lapsed leases */
    SX_TRUST_METRIC_COUNTER_MISMATCHES,
    SX_TRUST_METRIC_MALFORMED,
    SX_TRUST_METRIC_COUNT
};
extern const sx_metric_row sx_trust_metrics[SX_TRUST_METRIC_COUNT];
int64_t sx_trust_metric_read(const sx_trust *trust, uint32_t metric); /* any thread */

#endif
