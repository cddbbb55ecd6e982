/* SPDX-License-Identifier: Apache-2.0 */
/* The cluster object's life and the questions that it answers. */
#include "l2/redis/cluster_private.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

#include <strata/status.h>

/* ---- for the other files ---- */

void sx_redis_cluster_set_error(sx_redis_cluster *cluster, int32_t status, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    char text[SX_REDIS_REASON_MAX]; /* the arguments may be of the old text */
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    memcpy(cluster->error, text, sizeof text);
    cluster->error_status = status;
}

int64_t sx_redis_cluster_jitter(sx_redis_cluster *cluster, int64_t bound_ns) {
    return bound_ns <= 0 ? 0 : (int64_t)(sx_key_random_next(&cluster->random) % (uint64_t)bound_ns);
}

static bool all_closed(const sx_redis_cluster *cluster) {
    if (cluster->refresh.probe != NULL || cluster->ending.first != NULL || cluster->confirms_ending != NULL) return false;
    for (uint32_t i = 0; i < cluster->peer_count; i++) {
        const sx_redis_peer *peer = cluster->peers[i];
        if (peer->conn != NULL || peer->bulk != NULL || peer->confirm.busy) return false;
    }
    return true;
}

static void task_on_loop(sx_task *task) {
    sx_redis_cluster *cluster = (sx_redis_cluster *)(void *)((char *)task - offsetof(sx_redis_cluster, task));
    cluster->task_posted = false;
    sx_redis_requests_end_due(cluster);
    sx_redis_confirms_end_due(cluster);
    if (!cluster->stopping || cluster->stopped == NULL || cluster->task_posted || !all_closed(cluster)) return;
    void (*stopped)(void *) = cluster->stopped;
    cluster->stopped = NULL;
    stopped(cluster->stopped_context);
}

void sx_redis_cluster_wake(sx_redis_cluster *cluster) {
    if (cluster->task_posted) return;
    cluster->task_posted = true;
    sx_loop_post(cluster->loop, &cluster->task);
}

/* ---- life ---- */

static int32_t read_seeds(sx_redis_cluster *cluster, const char *nodes, char *error, size_t error_size) {
    const char *at = nodes;
    while (*at != '\0') {
        size_t size = strcspn(at, ",");
        const char *text = at;
        size_t trimmed = size;
        while (trimmed > 0 && *text == ' ') text++, trimmed--;
        while (trimmed > 0 && text[trimmed - 1] == ' ') trimmed--;
        at += size + (at[size] == ',' ? 1 : 0);
        if (cluster->seed_count == SX_REDIS_SEEDS_MAX) {
            snprintf(error, error_size, "l2.nodes: more than %d addresses", SX_REDIS_SEEDS_MAX);
            return STRATA_E_CONFIG;
        }
        if (!sx_redis_address_read(text, trimmed, NULL, &cluster->seeds[cluster->seed_count])) {
            snprintf(error, error_size, "l2.nodes: '%.*s' is neither host:port nor unix:/path (of 107 bytes at most)", (int)(trimmed < 200 ? trimmed : 200), text);
            return STRATA_E_CONFIG;
        }
        cluster->seed_count++;
    }
    for (uint32_t i = 0; i < cluster->seed_count && cluster->settings->tls != NULL; i++) {
        if (!sx_redis_address_is_unix(&cluster->seeds[i])) continue;
        snprintf(error, error_size, "l2.tls is on, and l2.nodes has '%s': servers speak no TLS on Unix sockets",
                 cluster->seeds[i].host);
        return STRATA_E_CONFIG;
    }
    if (cluster->seed_count > 0) return STRATA_OK;
    snprintf(error, error_size, "l2.nodes: no address");
    return STRATA_E_CONFIG;
}

static void refresh_due(sx_timer *timer) {
    sx_redis_refresh *refresh = (sx_redis_refresh *)(void *)((char *)timer - offsetof(sx_redis_refresh, timer));
    sx_redis_refresh_start((sx_redis_cluster *)(void *)((char *)refresh - offsetof(sx_redis_cluster, refresh)));
}

int32_t sx_redis_cluster_create(sx_loop *loop, const sx_redis_settings *settings, sx_redis_mode mode,
                                const char *nodes, const sx_redis_cluster_events *events, sx_redis_cluster **out,
                                char *error, size_t error_size) {
    sx_redis_cluster *cluster = sx_allocate_zero(settings->alloc, sizeof *cluster);
    if (cluster == NULL) {
        snprintf(error, error_size, "out of memory");
        return STRATA_E_NOMEM;
    }
    cluster->loop = loop;
    cluster->settings = settings;
    cluster->mode = mode;
    if (events != NULL) cluster->events = *events;
    cluster->task.run_on_loop = task_on_loop;
    sx_command_init(&cluster->group_command, settings->alloc);
    cluster->refresh.timer.fire_on_loop = refresh_due;
    cluster->seeds = sx_allocate_zero(settings->alloc, SX_REDIS_SEEDS_MAX * sizeof *cluster->seeds);
    int32_t status = cluster->seeds == NULL ? STRATA_E_NOMEM : sx_key_random_init(&cluster->random);
    if (status == STRATA_OK) {
        status = read_seeds(cluster, nodes, error, error_size);
        if (status == STRATA_OK) status = sx_redis_nat_read(cluster, settings->nat, error, error_size);
    } else {
        snprintf(error, error_size, status == STRATA_E_NOMEM ? "out of memory" : "no random numbers");
    }
    if (status == STRATA_OK) {
        *out = cluster;
    } else {
        sx_redis_cluster_destroy(cluster);
    }
    return status;
}

void sx_redis_cluster_start_on_loop(sx_redis_cluster *cluster) {
    assert(sx_loop_is_current(cluster->loop));
    cluster->started = true;
    sx_redis_refresh_start(cluster);
}

void sx_redis_cluster_stop_on_loop(sx_redis_cluster *cluster, void (*then)(void *context), void *context) {
    assert(sx_loop_is_current(cluster->loop));
    assert(!cluster->stopping);
    sx_redis_groups_send(cluster);
    cluster->stopping = true;
    cluster->stopped = then;
    cluster->stopped_context = context;
    sx_redis_queue_end(&cluster->waiting, SX_REDIS_CLOSED);
    sx_redis_refresh_stop(cluster);
    for (uint32_t i = 0; i < cluster->peer_count; i++) {
        sx_redis_peer *peer = cluster->peers[i];
        sx_loop_timer_cancel(cluster->loop, &peer->backoff);
        sx_redis_queue_end(&peer->waiting, SX_REDIS_CLOSED);
        if (peer->conn != NULL) sx_redis_conn_close(peer->conn, STRATA_E_CLOSED, "the engine is closing");
        sx_redis_bulk_close(peer, STRATA_E_CLOSED, "the engine is closing");
    }
    sx_redis_cluster_wake(cluster);
}

void sx_redis_cluster_destroy(sx_redis_cluster *cluster) {
    if (cluster == NULL) return;
    const sx_alloc *alloc = cluster->settings->alloc;
    for (uint32_t i = 0; i < cluster->peer_count; i++) {
        assert(cluster->peers[i]->conn == NULL && cluster->peers[i]->bulk == NULL);
        sx_release(alloc, cluster->peers[i], sizeof *cluster->peers[i]);
    }
    sx_redis_nat_free(cluster);
    sx_redis_groups_free(cluster);
    sx_release(alloc, cluster->seeds, SX_REDIS_SEEDS_MAX * sizeof *cluster->seeds);
    sx_release(alloc, cluster, sizeof *cluster);
}

/* ---- questions ---- */

bool sx_redis_cluster_is_cluster(const sx_redis_cluster *cluster) { return cluster->is_cluster; }
bool sx_redis_cluster_has_map(const sx_redis_cluster *cluster) { return cluster->has_map; }

const char *sx_redis_cluster_last_error(const sx_redis_cluster *cluster, int32_t *status) {
    if (status != NULL) *status = cluster->error_status;
    return cluster->error;
}

sx_redis_node *sx_redis_cluster_owner(sx_redis_cluster *cluster, uint16_t slot) {
    uint16_t owner = cluster->owner[slot];
    return owner == 0 ? NULL : &cluster->peers[owner - 1]->node;
}

uint32_t sx_redis_cluster_node_count(const sx_redis_cluster *cluster) { return cluster->peer_count; }

sx_redis_node *sx_redis_cluster_node(sx_redis_cluster *cluster, uint32_t index) {
    return index < cluster->peer_count ? &cluster->peers[index]->node : NULL;
}

const sx_redis_server *sx_redis_cluster_server(const sx_redis_cluster *cluster) {
    return cluster->has_server ? &cluster->server : NULL;
}

int64_t sx_redis_cluster_server_ms(const sx_redis_cluster *cluster, const sx_redis_node *node, int64_t now_ns) {
    (void)cluster;
    const sx_redis_peer *peer = (const sx_redis_peer *)node;
    if (peer == NULL || peer->offset_ns == INT64_MIN) return -1;
    return (now_ns + peer->offset_ns) / SX_NS_PER_MS;
}

int64_t sx_redis_cluster_deadline_ms(const sx_redis_cluster *cluster, const sx_redis_node *node, int64_t now_ns, int64_t deadline_ns) {
    int64_t server_ms = sx_redis_cluster_server_ms(cluster, node, now_ns);
    int64_t left_ms = (deadline_ns - now_ns) / SX_NS_PER_MS;
    return server_ms < 0 ? 0 : server_ms + (left_ms > 0 ? left_ms : 0) + 1;
}

void sx_redis_cluster_note_clock(sx_redis_cluster *cluster, sx_redis_node *node, int64_t offset_ns) {
    assert(sx_loop_is_current(cluster->loop));
    (void)cluster;
    ((sx_redis_peer *)node)->offset_ns = offset_ns;
}

void sx_redis_cluster_refresh(sx_redis_cluster *cluster) {
    assert(sx_loop_is_current(cluster->loop));
    sx_redis_refresh_soon(cluster);
}

void sx_redis_cluster_reidentify(sx_redis_cluster *cluster, sx_redis_node *node) {
    assert(sx_loop_is_current(cluster->loop));
    (void)cluster;
    sx_redis_peer *peer = (sx_redis_peer *)node;
    if (peer->conn != NULL) sx_redis_conn_identify(peer->conn, NULL, NULL);
    if (peer->bulk != NULL) sx_redis_conn_identify(peer->bulk, NULL, NULL);
}
