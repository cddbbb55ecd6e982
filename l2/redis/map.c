/* SPDX-License-Identifier: Apache-2.0 */
/* The slot map: taking over a new one as a whole, or one slot of it after MOVED, and telling who must know. */
#include "l2/redis/cluster_private.h"

#include <strata/status.h>

static bool take_range(void *context, const sx_redis_range *range) {
    sx_redis_cluster *cluster = context;
    sx_redis_address address = range->address;
    sx_redis_nat_apply(cluster, &address);
    sx_redis_peer *peer = sx_redis_peer_get(cluster, range->id, &address);
    if (peer == NULL) return false;
    if (!range->primary) return true; /* known, for when it is promoted */
    for (uint32_t slot = range->first; slot <= range->last; slot++) {
        cluster->scratch[slot] = (uint16_t)(peer->node.index + 1);
    }
    return true;
}

/* Who owns slots is connected to; who newly does is asked again who it is: a replica's identity is older than its
   promotion. */
static void set_primaries(sx_redis_cluster *cluster) {
    uint64_t owns[SX_REDIS_NODES_MAX / 64] = {0};
    for (uint32_t slot = 0; slot < SX_SLOTS; slot++) {
        uint32_t owner = cluster->owner[slot];
        if (owner != 0) owns[(owner - 1) / 64] |= UINT64_C(1) << ((owner - 1) % 64);
    }
    for (uint32_t i = 0; i < cluster->peer_count; i++) {
        sx_redis_peer *peer = cluster->peers[i];
        bool primary = (owns[i / 64] >> (i % 64) & 1) != 0;
        bool promoted = primary && !peer->node.primary;
        peer->node.primary = primary;
        if (promoted && peer->conn != NULL && sx_redis_conn_is_ready(peer->conn)) {
            sx_redis_conn_identify(peer->conn, NULL, NULL);
        }
        if (primary) {
            sx_redis_peer_connect(peer);
        } else {
            sx_loop_timer_cancel(cluster->loop, &peer->backoff);
            peer->failing = false;
        }
    }
}

static void changed(sx_redis_cluster *cluster, bool first) {
    cluster->has_map = true;
    cluster->refresh.changed = true;
    set_primaries(cluster);
    if (first) {
        cluster->error[0] = '\0';
        cluster->error_status = STRATA_OK;
    }
    for (uint32_t i = 0; i < cluster->peer_count; i++) sx_redis_queue_reroute(cluster->peers[i]);
    sx_redis_queue_dispatch(cluster, &cluster->waiting);
    if (cluster->events.on_topology != NULL) cluster->events.on_topology(cluster->events.context);
}

bool sx_redis_map_apply(sx_redis_cluster *cluster, const sx_resp *reply, bool shards, const sx_redis_address *asked) {
    memset(cluster->scratch, 0, sizeof cluster->scratch);
    bool tls = cluster->settings->tls != NULL;
    if (shards ? !sx_redis_shards_read(reply, asked, tls, take_range, cluster)
               : !sx_redis_slots_read(reply, asked, take_range, cluster)) {
        sx_redis_cluster_set_error(cluster, STRATA_E_PROTOCOL, "%s:%u: CLUSTER %s: malformed", asked->host, asked->port,
                                   shards ? "SHARDS" : "SLOTS");
        return false;
    }
    uint32_t owned = 0;
    for (uint32_t slot = 0; slot < SX_SLOTS; slot++) owned += cluster->scratch[slot] != 0;
    if (owned == 0) {
        sx_redis_cluster_set_error(cluster, STRATA_E_L2_DOWN, "%s:%u: no slot is assigned", asked->host, asked->port);
        return false;
    }
    if (shards && owned < SX_SLOTS) { /* or nobody owns the others: SLOTS says which */
        sx_redis_cluster_set_error(cluster, STRATA_E_PROTOCOL, "%s:%u: CLUSTER SHARDS: %u slots have no owner", asked->host,
                                   asked->port, (unsigned)(SX_SLOTS - owned));
        return false;
    }
    bool first = !cluster->has_map;
    cluster->is_cluster = true;
    if (first || memcmp(cluster->owner, cluster->scratch, sizeof cluster->owner) != 0) {
        memcpy(cluster->owner, cluster->scratch, sizeof cluster->owner);
        changed(cluster, first);
    }
    return true;
}

void sx_redis_map_standalone(sx_redis_cluster *cluster, const sx_redis_address *address) {
    bool first = !cluster->has_map;
    if (cluster->peer_count == 0) {
        if (sx_redis_peer_at(cluster, address) == NULL) {
            sx_redis_cluster_set_error(cluster, STRATA_E_NOMEM, "out of memory");
            return;
        }
    }
    sx_redis_peer *peer = cluster->peers[0];
    bool moved = !sx_redis_address_same(&peer->node.address, address);
    sx_redis_peer_move(peer, address);
    sx_loop_timer_cancel(cluster->loop, &peer->backoff); /* it has just answered */
    peer->failing = false;
    if (!first && !moved) {
        sx_redis_peer_connect(peer);
        return;
    }
    cluster->is_cluster = false;
    for (uint32_t slot = 0; slot < SX_SLOTS; slot++) cluster->owner[slot] = 1;
    changed(cluster, first);
}

void sx_redis_map_moved(sx_redis_cluster *cluster, uint16_t slot, sx_redis_peer *to) {
    sx_redis_refresh_soon(cluster);
    uint16_t owner = (uint16_t)(to->node.index + 1);
    if (cluster->owner[slot] == owner) return;
    cluster->owner[slot] = owner;
    changed(cluster, false);
}
