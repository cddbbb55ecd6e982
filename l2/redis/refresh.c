/* SPDX-License-Identifier: Apache-2.0 */
/* Reading the map: from a random live node, else from seeds and known nodes one after the other, again and again. */
#include "l2/redis/cluster_private.h"

#include <strata/status.h>

#define SOON_NS (50 * SX_NS_PER_MS)         /* wishes within it share one reading */
#define GAP_MAX_NS (8 * SOON_NS)
#define SLOWLY_NS (30 * SX_NS_PER_S)
#define BACKOFF_FIRST_NS (50 * SX_NS_PER_MS)
#define BACKOFF_MAX_NS (30 * SX_NS_PER_S)
#define BACKOFF_WANTED_NS SX_NS_PER_S
enum { LIVE_TRIES = 3 };

static void ask_next(sx_redis_cluster *cluster);

/* ---- when ---- */

static void schedule(sx_redis_cluster *cluster, int64_t in_ns) {
    int64_t due = sx_loop_now_ns(cluster->loop) + in_ns;
    sx_timer *timer = &cluster->refresh.timer;
    if (sx_timer_is_set(timer) && timer->due_ns <= due) return;
    sx_loop_timer_set(cluster->loop, timer, due);
}

void sx_redis_refresh_soon(sx_redis_cluster *cluster) {
    if (!cluster->started || cluster->stopping) return;
    if (cluster->refresh.asking) {
        cluster->refresh.again = true;
        return;
    }
    sx_redis_refresh *refresh = &cluster->refresh;
    if (!cluster->has_map || refresh->wished) return; /* that is being worked on already */
    refresh->wished = true;
    int64_t quiet_ns = sx_loop_now_ns(cluster->loop) - refresh->ended_ns;
    int64_t rest_ns = refresh->gap_ns > quiet_ns ? refresh->gap_ns - quiet_ns : 0;
    schedule(cluster, rest_ns + sx_redis_cluster_jitter(cluster, SOON_NS));
}

/* What one more reading in vain costs the next; a change, or a time without wishes, forgives. */
static void set_gap(sx_redis_cluster *cluster, int64_t now_ns) {
    sx_redis_refresh *refresh = &cluster->refresh;
    bool fresh = refresh->changed || refresh->gap_ns == 0 || now_ns - refresh->ended_ns > 4 * GAP_MAX_NS;
    refresh->gap_ns = fresh ? SOON_NS : 2 * refresh->gap_ns;
    if (refresh->gap_ns > GAP_MAX_NS) refresh->gap_ns = GAP_MAX_NS;
    refresh->changed = false;
    refresh->wished = false;
    refresh->ended_ns = now_ns;
}

static void round_over(sx_redis_cluster *cluster, bool ok) {
    sx_redis_refresh *refresh = &cluster->refresh;
    sx_loop_timer_cancel(cluster->loop, &refresh->limit);
    refresh->asking = false;
    refresh->conn = NULL;
    refresh->tries = 0;
    if (cluster->stopping) return;
    bool again = refresh->again;
    refresh->again = false;
    set_gap(cluster, sx_loop_now_ns(cluster->loop));
    if (ok) {
        sx_redis_cluster_note(cluster, SX_REDIS_METRIC_MAP_REFRESHES, 1);
        refresh->failures = 0;
        schedule(cluster, SLOWLY_NS - sx_redis_cluster_jitter(cluster, SLOWLY_NS / 4));
        if (again) sx_redis_refresh_soon(cluster);
    } else {
        int64_t most = BACKOFF_FIRST_NS << (refresh->failures < 16 ? refresh->failures : 16);
        int64_t cap = cluster->waiting.first != NULL || !cluster->has_map ? BACKOFF_WANTED_NS : BACKOFF_MAX_NS;
        if (most > cap) most = cap;
        refresh->failures++;
        schedule(cluster, most / 2 + sx_redis_cluster_jitter(cluster, most / 2 + 1));
    }
}

/* ---- asking ---- */

static void close_probe(sx_redis_cluster *cluster, const char *why) {
    if (cluster->refresh.probe != NULL) sx_redis_conn_close(cluster->refresh.probe, STRATA_OK, why);
}

/* The one that was asked does not help. */
static void asked_in_vain(sx_redis_cluster *cluster) {
    sx_loop_timer_cancel(cluster->loop, &cluster->refresh.limit);
    cluster->refresh.conn = NULL;
    if (cluster->refresh.probe != NULL) {
        close_probe(cluster, "of no use"); /* its on_closed goes on */
    } else {
        ask_next(cluster);
    }
}

/* Whether the error is one that a server gives for a while to any question. */
static bool is_passing(const sx_resp *error) {
    sx_redis_outcome outcome = sx_redis_outcome_of_error(error);
    return outcome != SX_REDIS_ERROR && outcome != SX_REDIS_NOPERM;
}

static const char *question(const sx_redis_refresh *refresh) { return refresh->shards ? "SHARDS" : "SLOTS"; }

static bool ask(sx_redis_cluster *cluster, sx_redis_conn *conn, bool shards);

static void map_answered(void *context, int32_t status, const sx_resp *reply) {
    sx_redis_cluster *cluster = context;
    sx_redis_refresh *refresh = &cluster->refresh;
    sx_redis_conn *conn = refresh->conn;
    refresh->conn = NULL;
    if (cluster->stopping) return;
    if (status == STRATA_OK && reply->type == SX_RESP_ERROR) {
        if (refresh->shards && !is_passing(reply)) { /* unknown there, or not permitted: what all know will do */
            refresh->no_shards = true;
            if (ask(cluster, conn, false)) return;
        }
        sx_redis_outcome outcome = sx_redis_outcome_of_error(reply);
        sx_redis_cluster_set_error(cluster, sx_redis_rule_of(outcome)->status, "%s:%u: CLUSTER %s: %.*s",
                                   refresh->asked.host, refresh->asked.port, question(refresh),
                                   (int)(reply->size < 150 ? reply->size : 150), reply->text);
    } else if (status == STRATA_OK && sx_redis_map_apply(cluster, reply, refresh->shards, &refresh->asked)) {
        close_probe(cluster, "the map is read");
        round_over(cluster, true);
        return;
    } else if (status == STRATA_OK && refresh->shards && ask(cluster, conn, false)) {
        return; /* slots that two primaries claim, or none, perhaps: SLOTS says whose they are */
    }
    asked_in_vain(cluster);
}

static bool ask(sx_redis_cluster *cluster, sx_redis_conn *conn, bool shards) {
    sx_redis_refresh *refresh = &cluster->refresh;
    sx_command command;
    sx_command_init(&command, cluster->settings->alloc);
    sx_command_text(&command, "CLUSTER");
    refresh->shards = shards && sx_redis_conn_server(conn)->cluster_shards && !refresh->no_shards;
    sx_command_text(&command, question(refresh));
    refresh->asked = *sx_redis_conn_address(conn);
    int32_t status = sx_redis_conn_send(conn, &command, NULL, true, false, map_answered, cluster, &refresh->ticket);
    sx_command_deinit(&command);
    if (status != STRATA_OK) return false;
    refresh->conn = conn;
    sx_loop_timer_set(cluster->loop, &refresh->limit,
                      sx_time_add(sx_loop_now_ns(cluster->loop), cluster->settings->connect_timeout_ns));
    return true;
}

static void answer_late(sx_timer *timer) {
    sx_redis_refresh *refresh = (sx_redis_refresh *)(void *)((char *)timer - offsetof(sx_redis_refresh, limit));
    sx_redis_cluster *cluster = (sx_redis_cluster *)(void *)((char *)refresh - offsetof(sx_redis_cluster, refresh));
    if (refresh->conn == NULL) return;
    (void)sx_redis_conn_forget(refresh->conn, refresh->ticket);
    sx_redis_cluster_set_error(cluster, STRATA_E_TIMEOUT, "%s:%u: CLUSTER %s: no answer", refresh->asked.host,
                               refresh->asked.port, question(refresh));
    asked_in_vain(cluster);
}

/* ---- probes ---- */

static void probe_ready(void *context, sx_redis_conn *conn) {
    sx_redis_cluster *cluster = context;
    const sx_redis_server *server = sx_redis_conn_server(conn);
    bool want_cluster = cluster->mode == SX_REDIS_MODE_CLUSTER || (cluster->has_map && cluster->is_cluster);
    bool want_standalone = cluster->mode == SX_REDIS_MODE_STANDALONE || (cluster->has_map && !cluster->is_cluster);
    if (want_cluster && !server->cluster) {
        sx_redis_conn_fail(conn, STRATA_E_CONFIG, "is not in cluster mode");
    } else if (want_standalone && server->cluster) {
        sx_redis_conn_fail(conn, STRATA_E_CONFIG, "is a node of a cluster");
    } else if (server->cluster && sx_redis_address_is_unix(sx_redis_conn_address(conn))) {
        sx_redis_conn_fail(conn, STRATA_E_CONFIG, "is a node of a cluster, which a Unix socket alone can't lead to");
    } else if (!server->cluster && !sx_redis_conn_identity(conn)->primary) {
        sx_redis_conn_fail(conn, STRATA_E_L2_DOWN, "is a replica");
    } else {
        if (!cluster->has_server) cluster->server = *server;
        cluster->has_server = true;
        if (!server->cluster) {
            sx_redis_map_standalone(cluster, sx_redis_conn_address(conn));
            close_probe(cluster, "found");
            round_over(cluster, cluster->has_map);
        } else if (!ask(cluster, conn, true)) {
            sx_redis_conn_fail(conn, STRATA_E_NOMEM, "out of memory");
        }
    }
}

static void probe_closed(void *context, sx_redis_conn *conn, int32_t status, const char *reason) {
    sx_redis_cluster *cluster = context;
    (void)conn;
    cluster->refresh.probe = NULL;
    if (cluster->stopping) {
        sx_redis_cluster_wake(cluster);
        return;
    }
    if (!cluster->refresh.asking) return; /* it has served */
    if (status != STRATA_OK) sx_redis_cluster_set_error(cluster, status, "%s", reason);
    ask_next(cluster);
}

static void probe_next(sx_redis_cluster *cluster) {
    sx_redis_refresh *refresh = &cluster->refresh;
    const sx_redis_conn_events events = {cluster, probe_ready, NULL, probe_closed};
    uint32_t count = cluster->seed_count + cluster->peer_count;
    while (refresh->candidate < count) {
        uint32_t i = refresh->candidate++;
        const sx_redis_address *address =
            i < cluster->seed_count ? &cluster->seeds[i] : &cluster->peers[i - cluster->seed_count]->node.address;
        int32_t status = sx_redis_conn_open(cluster->loop, cluster->settings, address, &events, &refresh->probe);
        if (status == STRATA_OK) return;
        refresh->probe = NULL;
        sx_redis_cluster_set_error(cluster, status, "%s:%u: no resources for a connection", address->host, address->port);
    }
    refresh->candidate = 0;
    if (refresh->failures == 0) {
        sx_log_write(cluster->settings->log, SX_LOG_WARN, "l2: no server tells the topology: %s", cluster->error);
    }
    round_over(cluster, false);
}

static void ask_next(sx_redis_cluster *cluster) {
    sx_redis_refresh *refresh = &cluster->refresh;
    while (cluster->has_map && cluster->is_cluster && refresh->tries++ < LIVE_TRIES) {
        sx_redis_peer *peer = sx_redis_peer_random_ready(cluster, NULL, false);
        if (peer == NULL) break;
        if (ask(cluster, peer->conn, true)) return;
    }
    probe_next(cluster);
}

void sx_redis_refresh_start(sx_redis_cluster *cluster) {
    sx_redis_refresh *refresh = &cluster->refresh;
    if (refresh->asking || cluster->stopping) return;
    refresh->limit.fire_on_loop = answer_late;
    if (cluster->has_map && !cluster->is_cluster && cluster->peers[0]->conn != NULL &&
        sx_redis_conn_is_ready(cluster->peers[0]->conn)) {
        round_over(cluster, true); /* standalone and well */
        return;
    }
    if (refresh->probe != NULL) { /* the last one is still closing */
        schedule(cluster, SX_NS_PER_MS);
        return;
    }
    refresh->asking = true;
    refresh->tries = 0;
    refresh->candidate = 0;
    ask_next(cluster);
}

void sx_redis_refresh_stop(sx_redis_cluster *cluster) {
    sx_loop_timer_cancel(cluster->loop, &cluster->refresh.timer);
    sx_loop_timer_cancel(cluster->loop, &cluster->refresh.limit);
    close_probe(cluster, "stopping");
}
