/* SPDX-License-Identifier: Apache-2.0 */
/* The nodes that were ever heard of, and a data connection to each that is wanted: kept, lost, tried again. */
#include "l2/redis/cluster_private.h"

#include <assert.h>

#include <strata/status.h>

#define BACKOFF_FIRST_NS (50 * SX_NS_PER_MS)
#define BACKOFF_MAX_NS (30 * SX_NS_PER_S)
#define BACKOFF_WANTED_NS SX_NS_PER_S /* the longest while requests come */
#define STABLE_NS SX_NS_PER_S         /* ready for less counts as a failed attempt */

/* ---- the table ---- */

static void backoff_over(sx_timer *timer) {
    sx_redis_peer_connect((sx_redis_peer *)(void *)((char *)timer - offsetof(sx_redis_peer, backoff)));
}

static sx_redis_peer *add(sx_redis_cluster *cluster, const char *id, const sx_redis_address *address) {
    if (cluster->peer_count == SX_REDIS_NODES_MAX) {
        sx_redis_cluster_set_error(cluster, STRATA_E_SYSTEM, "more than %d nodes were seen", SX_REDIS_NODES_MAX);
        return NULL;
    }
    sx_redis_peer *peer = sx_allocate_zero(cluster->settings->alloc, sizeof *peer);
    if (peer == NULL) return NULL;
    peer->cluster = cluster;
    peer->node.index = cluster->peer_count;
    peer->node.address = *address;
    memcpy(peer->node.id, id, strlen(id) + 1);
    peer->backoff.fire_on_loop = backoff_over;
    peer->offset_ns = INT64_MIN;
    peer->silent_read_ns = INT64_MIN;
    cluster->peers[cluster->peer_count++] = peer;
    return peer;
}

/* Prefers one that owns slots: an address may have been another node's before. */
static sx_redis_peer *find_at(sx_redis_cluster *cluster, const sx_redis_address *address, bool without_id) {
    sx_redis_peer *found = NULL;
    for (uint32_t i = 0; i < cluster->peer_count; i++) {
        sx_redis_peer *peer = cluster->peers[i];
        if (!sx_redis_address_same(&peer->node.address, address) || (without_id && peer->node.id[0] != '\0')) continue;
        if (found == NULL || peer->node.primary || !found->node.primary) found = peer;
    }
    return found;
}

sx_redis_peer *sx_redis_peer_at(sx_redis_cluster *cluster, const sx_redis_address *address) {
    sx_redis_peer *peer = find_at(cluster, address, false);
    return peer != NULL ? peer : add(cluster, "", address);
}

sx_redis_peer *sx_redis_peer_get(sx_redis_cluster *cluster, const char *id, const sx_redis_address *address) {
    for (uint32_t i = 0; i < cluster->peer_count; i++) {
        sx_redis_peer *peer = cluster->peers[i];
        if (strcmp(peer->node.id, id) != 0) continue;
        sx_redis_peer_move(peer, address);
        return peer;
    }
    sx_redis_peer *peer = find_at(cluster, address, true); /* known from a redirect only, until now */
    if (peer == NULL) return add(cluster, id, address);
    memcpy(peer->node.id, id, strlen(id) + 1);
    return peer;
}

void sx_redis_peer_move(sx_redis_peer *peer, const sx_redis_address *address) {
    if (sx_redis_address_same(&peer->node.address, address)) return;
    peer->node.address = *address;
    if (peer->conn != NULL) sx_redis_conn_close(peer->conn, STRATA_E_UNAVAILABLE, "the node has another address now");
    sx_redis_bulk_close(peer, STRATA_E_UNAVAILABLE, "the node has another address now");
}

sx_redis_peer *sx_redis_peer_random_ready(sx_redis_cluster *cluster, const sx_redis_peer *except, bool primary) {
    sx_redis_peer *chosen = NULL;
    uint32_t met = 0;
    for (uint32_t i = 0; i < cluster->peer_count; i++) {
        sx_redis_peer *peer = cluster->peers[i];
        if (peer == except || peer->conn == NULL || !sx_redis_conn_is_ready(peer->conn)) continue;
        if (primary && !peer->node.primary) continue;
        if (peer->silent_read_ns == sx_redis_conn_last_read_ns(peer->conn)) continue; /* hangs, perhaps */
        if (sx_key_random_next(&cluster->random) % ++met == 0) chosen = peer;
    }
    return chosen;
}

/* ---- the connection ---- */

static void on_ready(void *context, sx_redis_conn *conn) {
    sx_redis_peer *peer = context;
    sx_redis_cluster *cluster = peer->cluster;
    const sx_redis_server *server = sx_redis_conn_server(conn);
    if (server->cluster != cluster->is_cluster) {
        sx_redis_conn_fail(conn, STRATA_E_CONFIG, server->cluster ? "is a node of a cluster" : "is not in cluster mode");
        return;
    }
    if (!cluster->is_cluster && !sx_redis_conn_identity(conn)->primary) {
        sx_redis_conn_fail(conn, STRATA_E_L2_DOWN, "is a replica");
        return;
    }
    peer->was_ready = true;
    peer->failing = false;
    peer->ready_ns = sx_loop_now_ns(cluster->loop);
    peer->offset_ns = sx_redis_conn_offset_ns(conn);
    peer->silent_read_ns = INT64_MIN;
    sx_redis_cluster_note(cluster, SX_REDIS_METRIC_CONNECTS, 1);
    sx_redis_cluster_note(cluster, SX_REDIS_METRIC_NODES_CONNECTED, 1);
    sx_log_write(cluster->settings->log, SX_LOG_DEBUG, "l2: connected to %s:%u", peer->node.address.host,
                 peer->node.address.port);
    sx_redis_queue_dispatch(cluster, &peer->waiting);
}

static bool is_wanted(const sx_redis_peer *peer) { return peer->node.primary || peer->waiting.first != NULL; }

static void back_off(sx_redis_peer *peer, int64_t now_ns) {
    sx_redis_cluster *cluster = peer->cluster;
    uint32_t doublings = peer->attempts < 16 ? peer->attempts : 16;
    int64_t most = BACKOFF_FIRST_NS << doublings;
    if (most > BACKOFF_MAX_NS) most = BACKOFF_MAX_NS;
    peer->attempts++;
    peer->node.attempts_failed++;
    peer->failing = true;
    peer->failed_ns = now_ns;
    sx_loop_timer_set(cluster->loop, &peer->backoff,
                      now_ns + most / 2 + sx_redis_cluster_jitter(cluster, most / 2 + 1));
}

static void on_closed(void *context, sx_redis_conn *conn, int32_t status, const char *reason) {
    sx_redis_peer *peer = context;
    sx_redis_cluster *cluster = peer->cluster;
    assert(peer->conn == conn);
    (void)conn;
    int64_t now_ns = sx_loop_now_ns(cluster->loop);
    bool was_ready = peer->was_ready;
    bool stable = was_ready && now_ns - peer->ready_ns >= STABLE_NS;
    peer->conn = NULL;
    peer->was_ready = false;
    if (was_ready) {
        sx_redis_cluster_note(cluster, SX_REDIS_METRIC_DISCONNECTS, 1);
        sx_redis_cluster_note(cluster, SX_REDIS_METRIC_NODES_CONNECTED, -1);
    }
    if (cluster->stopping) {
        sx_redis_cluster_wake(cluster);
        return;
    }
    sx_redis_cluster_set_error(cluster, status, "%s", reason);
    if (was_ready || peer->attempts == 0) sx_log_write(cluster->settings->log, SX_LOG_WARN, "l2: %s", reason);
    sx_redis_refresh_soon(cluster);
    if (stable) peer->attempts = 0;
    if (was_ready && peer->attempts == 0) { /* the first attempt at once; one that is soon lost again waits */
        peer->attempts = 1;
        if (is_wanted(peer)) sx_redis_peer_connect(peer);
        return;
    }
    sx_redis_queue_end(&peer->waiting, SX_REDIS_UNREACHABLE);
    if (peer->node.primary) {
        back_off(peer, now_ns);
    } else {
        peer->failing = false; /* nobody waits: the next request tries at once */
    }
}

void sx_redis_peer_connect(sx_redis_peer *peer) {
    sx_redis_cluster *cluster = peer->cluster;
    if (peer->conn != NULL || cluster->stopping) return;
    if (sx_timer_is_set(&peer->backoff)) return;
    const sx_redis_conn_events events = {peer, on_ready, NULL, on_closed};
    int32_t status = sx_redis_conn_open(cluster->loop, cluster->settings, &peer->node.address, &events, &peer->conn);
    if (status == STRATA_OK) {
        sx_redis_conn_count(peer->conn, &cluster->counters[SX_REDIS_METRIC_BYTES_IN],
                            &cluster->counters[SX_REDIS_METRIC_BYTES_OUT]);
        return;
    }
    peer->conn = NULL;
    sx_redis_cluster_set_error(cluster, status, "%s:%u: no resources for a connection", peer->node.address.host,
                               peer->node.address.port);
    sx_redis_queue_end(&peer->waiting, SX_REDIS_UNREACHABLE);
    back_off(peer, sx_loop_now_ns(cluster->loop));
}

void sx_redis_peer_hurry(sx_redis_peer *peer) {
    sx_redis_cluster *cluster = peer->cluster;
    if (!sx_timer_is_set(&peer->backoff)) {
        sx_redis_peer_connect(peer);
        return;
    }
    int64_t due = peer->failed_ns + BACKOFF_WANTED_NS;
    if (peer->backoff.due_ns > due) {
        sx_loop_timer_set(cluster->loop, &peer->backoff, due);
    }
}

/* A connection that hangs without closing: requests time out, no byte comes. After a connect timeout of that, a new one
   is worth trying. */
void sx_redis_peer_note_timeout(sx_redis_peer *peer) {
    if (peer->conn == NULL || !sx_redis_conn_is_ready(peer->conn)) return;
    sx_redis_cluster *cluster = peer->cluster;
    int64_t now_ns = sx_loop_now_ns(cluster->loop);
    int64_t read_ns = sx_redis_conn_last_read_ns(peer->conn);
    if (peer->silent_read_ns != read_ns) {
        peer->silent_read_ns = read_ns;
        peer->silent_since_ns = now_ns;
        return;
    }
    if (now_ns - peer->silent_since_ns < cluster->settings->connect_timeout_ns) return;
    peer->silent_read_ns = INT64_MIN;
    sx_redis_conn_fail(peer->conn, STRATA_E_TIMEOUT, "no answer for %lld ms",
                       (long long)((now_ns - peer->silent_since_ns) / SX_NS_PER_MS));
}
