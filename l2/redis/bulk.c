/* SPDX-License-Identifier: Apache-2.0 */
/* A node's second connection, for replies that are known to be large: what is small does not wait behind them.

   It is opened when the first such request comes, which then goes on the first connection like everything else; so does
   everything while there is none. Nothing waits for it, nothing is tried again for its sake. */
#include "l2/redis/cluster_private.h"

#include <assert.h>

#include <strata/status.h>

#define AGAIN_NS SX_NS_PER_S /* after a failure */

static void on_ready(void *context, sx_redis_conn *conn) {
    sx_redis_peer *peer = context;
    sx_redis_cluster *cluster = peer->cluster;
    bool is_cluster = sx_redis_conn_server(conn)->cluster;
    if (is_cluster != cluster->is_cluster || (!is_cluster && !sx_redis_conn_identity(conn)->primary))
        sx_redis_conn_fail(conn, STRATA_E_UNAVAILABLE, "is another server than before");
}

static void on_closed(void *context, sx_redis_conn *conn, int32_t status, const char *reason) {
    sx_redis_peer *peer = context;
    assert(peer->bulk == conn);
    (void)conn, (void)status;
    peer->bulk = NULL;
    peer->bulk_again_ns = sx_loop_now_ns(peer->cluster->loop) + AGAIN_NS;
    if (peer->cluster->stopping) sx_redis_cluster_wake(peer->cluster);
    else sx_log_write(peer->cluster->settings->log, SX_LOG_DEBUG, "l2: second connection: %s", reason);
}

static void connect_bulk(sx_redis_peer *peer) {
    sx_redis_cluster *cluster = peer->cluster;
    if (cluster->stopping || sx_loop_recent_ns(cluster->loop) < peer->bulk_again_ns) return;
    const sx_redis_conn_events events = {peer, on_ready, NULL, on_closed};
    if (sx_redis_conn_open(cluster->loop, cluster->settings, &peer->node.address, &events, &peer->bulk) != STRATA_OK) {
        peer->bulk = NULL;
        peer->bulk_again_ns = sx_loop_now_ns(cluster->loop) + AGAIN_NS;
        return;
    }
    sx_redis_conn_count(peer->bulk, &cluster->counters[SX_REDIS_METRIC_BYTES_IN],
                        &cluster->counters[SX_REDIS_METRIC_BYTES_OUT]);
}

sx_redis_conn *sx_redis_bulk_conn(sx_redis_peer *peer) {
    if (peer->bulk == NULL) connect_bulk(peer);
    return peer->bulk != NULL && sx_redis_conn_is_ready(peer->bulk) ? peer->bulk : NULL;
}

void sx_redis_bulk_close(sx_redis_peer *peer, int32_t status, const char *reason) {
    if (peer->bulk != NULL) sx_redis_conn_close(peer->bulk, status, reason);
}

void sx_redis_bulk_note_timeout(sx_redis_peer *peer) {
    int64_t now_ns = sx_loop_now_ns(peer->cluster->loop);
    int64_t read_ns = sx_redis_conn_last_read_ns(peer->bulk);
    if (peer->bulk_silent_read_ns != read_ns) { /* the first since it was heard, which may be long ago: it was idle */
        peer->bulk_silent_read_ns = read_ns;
        peer->bulk_silent_since_ns = now_ns;
        return;
    }
    int64_t silent_ns = now_ns - peer->bulk_silent_since_ns;
    if (silent_ns < peer->cluster->settings->connect_timeout_ns) return;
    sx_redis_conn_fail(peer->bulk, STRATA_E_TIMEOUT, "no answer for %lld ms", (long long)(silent_ns / SX_NS_PER_MS));
}
