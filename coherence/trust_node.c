/* SPDX-License-Identifier: Apache-2.0 */
/* One subscription connection per node: opened, subscribed to the node's partitions, and opened again when it is gone. */
#include <assert.h>

#include <strata/status.h>

#include "coherence/trust_state.h"

#define RECONNECT_FIRST_NS (10 * SX_NS_PER_MS)
#define RECONNECT_MAX_NS (1 * SX_NS_PER_S)
#define RESUBSCRIBE_NS (250 * SX_NS_PER_MS)
#define UNANSWERED_MIN_NS (1 * SX_NS_PER_S)

static void fire_on_loop(sx_timer *timer) {
    sx_trust_node_step((sx_trust_node *)(void *)((char *)timer - offsetof(sx_trust_node, timer)));
}

int32_t sx_trust_node_get(sx_trust *trust, sx_redis_node *record, sx_trust_node **out) {
    assert(record->index < SX_REDIS_NODES_MAX);
    sx_trust_node *node = trust->nodes[record->index];
    if (node == NULL) {
        node = sx_allocate_zero(trust->alloc, sizeof *node);
        if (node == NULL) return STRATA_E_NOMEM;
        node->trust = trust;
        node->record = record;
        node->lease_ns = INT64_MIN;
        node->timer.fire_on_loop = fire_on_loop;
        size_t places = trust->settings.beat_counters * sizeof *node->beat.partitions;
        node->beat.partitions = sx_allocate_zero(trust->alloc, places);
        if (node->beat.partitions == NULL) {
            sx_release(trust->alloc, node, sizeof *node);
            return STRATA_E_NOMEM;
        }
        trust->nodes[record->index] = node;
        if (record->index >= trust->node_count) trust->node_count = record->index + 1;
    }
    *out = node;
    return STRATA_OK;
}

void sx_trust_node_destroy(sx_trust_node *node) {
    if (node == NULL) return;
    assert(node->conn == NULL && !node->probe_pending && !node->confirming);
    const sx_alloc *alloc = node->trust->alloc;
    sx_release(alloc, node->beat.partitions, node->trust->settings.beat_counters * sizeof *node->beat.partitions);
    sx_release(alloc, node, sizeof *node);
}

/* ---- partitions come and go ---- */

/* One (S)SUBSCRIBE or (S)UNSUBSCRIBE; its answer is a push. */
static bool send_channel(sx_trust_node *node, const char *verb, uint32_t partition) {
    sx_trust *trust = node->trust;
    sx_command command;
    sx_buf name;
    sx_command_init(&command, trust->alloc);
    sx_buf_init(&name, trust->alloc);
    sx_key_name_channel(&name, trust->tags, partition);
    sx_command_text(&command, verb);
    if (name.failed) command.args.failed = true;
    else sx_command_arg(&command, name.data, name.size);
    int32_t status = command.args.failed
                         ? STRATA_E_NOMEM
                         : sx_redis_conn_send(node->conn, &command, NULL, false, false, NULL, NULL, NULL);
    sx_buf_deinit(&name);
    sx_command_deinit(&command);
    return status == STRATA_OK;
}

void sx_trust_node_detach(sx_trust *trust, uint32_t partition) {
    sx_trust_partition *p = &trust->partitions[partition];
    sx_trust_node *node = p->node;
    if (node == NULL) return;
    sx_trust_lose(trust, partition);
    if (p->stage != SX_TRUST_UNSUBSCRIBED && node->ready && !node->closing)
        (void)send_channel(node, sx_redis_cluster_is_cluster(trust->cluster) ? "SUNSUBSCRIBE" : "UNSUBSCRIBE",
                           partition);
    p->stage = SX_TRUST_UNSUBSCRIBED;
    p->node = NULL;
    node->owned--;
}

void sx_trust_node_attach(sx_trust *trust, uint32_t partition, sx_trust_node *node) {
    sx_trust_partition *p = &trust->partitions[partition];
    assert(p->node == NULL && p->stage == SX_TRUST_UNSUBSCRIBED);
    p->node = node;
    p->since = ++node->seq;
    p->retry_ns = INT64_MIN;
    node->owned++;
}

static void subscribe(sx_trust_node *node, int64_t now_ns) {
    sx_trust *trust = node->trust;
    bool sharded = sx_redis_cluster_is_cluster(trust->cluster);
    for (uint32_t i = 0; i < trust->settings.partitions; i++) {
        sx_trust_partition *p = &trust->partitions[i];
        if (p->node != node || p->stage > SX_TRUST_SUBSCRIBING || p->retry_ns > now_ns) continue;
        /* A subscription that is refused is answered by an error that names no channel: so it is asked for again. */
        p->stage = SX_TRUST_UNSUBSCRIBED;
        p->retry_ns = now_ns + (p->retry_ns == INT64_MIN ? UNANSWERED_MIN_NS : RESUBSCRIBE_NS);
        if (send_channel(node, sharded ? "SSUBSCRIBE" : "SUBSCRIBE", i)) p->stage = SX_TRUST_SUBSCRIBING;
        else p->retry_ns = now_ns + RESUBSCRIBE_NS;
    }
}

/* ---- the connection ---- */

static void on_ready(void *context, sx_redis_conn *conn) {
    sx_trust_node *node = context;
    (void)conn;
    node->ready = true;
    sx_log_write(node->trust->log, SX_LOG_DEBUG, "coherence: subscribing at %s:%u", node->record->address.host,
                 node->record->address.port);
    sx_trust_node_step(node);
}

static void on_push(void *context, sx_redis_conn *conn, const sx_resp *push) {
    sx_trust_node *node = context;
    if (node->closing || node->conn != conn) return;
    sx_trust_push(node, push);
}

static void on_closed(void *context, sx_redis_conn *conn, int32_t status, const char *reason) {
    sx_trust_node *node = context;
    sx_trust *trust = node->trust;
    (void)status;
    assert(node->conn == conn);
    (void)conn;
    sx_trust_lose_node(node);
    for (uint32_t i = 0; i < trust->settings.partitions; i++) {
        sx_trust_partition *p = &trust->partitions[i];
        if (p->node != node) continue;
        p->stage = SX_TRUST_UNSUBSCRIBED;
        p->retry_ns = INT64_MIN;
    }
    node->conn = NULL;
    node->ready = false;
    node->closing = false;
    sx_trust_beat_reset(node);
    sx_trust_check_reset(node);
    int64_t now_ns = sx_loop_now_ns(trust->loop);
    uint64_t dropped = 0;
    if (node->owned > 0 && !trust->stopping && sx_log_gate_open(&node->gate, now_ns, SX_NS_PER_S, &dropped))
        sx_log_write(trust->log, SX_LOG_WARN, "coherence: subscription at %s:%u lost: %s", node->record->address.host,
                     node->record->address.port, reason);
    /* The first attempt at once, then ever later, each somewhere in its second half. */
    node->open_ns = now_ns;
    if (node->failures > 0) {
        int64_t wait_ns = RECONNECT_FIRST_NS << (node->failures < 8 ? node->failures : 8);
        if (wait_ns > RECONNECT_MAX_NS) wait_ns = RECONNECT_MAX_NS;
        uint64_t half = (uint64_t)wait_ns / 2;
        node->open_ns += (int64_t)(half + sx_key_random_next(&trust->random) % half);
        sx_redis_cluster_refresh(trust->cluster);
    }
    node->failures++;
    if (!trust->stopping) sx_trust_node_kick(node);
    sx_trust_settle(trust);
}

void sx_trust_node_close(sx_trust_node *node, int32_t status, const char *reason) {
    if (node->conn == NULL || node->closing) return;
    sx_trust_lose_node(node);
    node->closing = true;
    sx_redis_conn_close(node->conn, status, reason);
}

static void open_conn(sx_trust_node *node, int64_t now_ns) {
    sx_trust *trust = node->trust;
    const sx_redis_conn_events events = {node, on_ready, on_push, on_closed};
    int32_t status =
        sx_redis_conn_open(trust->loop, trust->settings.redis, &node->record->address, &events, &node->conn);
    if (status == STRATA_OK) {
        trust->pending++;
        return;
    }
    node->conn = NULL;
    node->open_ns = now_ns + RECONNECT_MAX_NS;
    sx_log_write(trust->log, SX_LOG_ERROR, "coherence: no connection to %s:%u: %s", node->record->address.host,
                 node->record->address.port, strata_status_text(status));
}

/* ---- the step ---- */

/* When to look again although nothing happens. */
static int64_t next_step_ns(const sx_trust_node *node, int64_t now_ns) {
    int64_t next_ns = now_ns + sx_trust_beat_interval_ns(node, now_ns);
    if (node->conn == NULL) next_ns = node->open_ns;
    else if (!node->beat.outstanding && node->beat_ns < next_ns) next_ns = node->beat_ns;
    if (node->trusted > 0 && node->lease_ns < next_ns) next_ns = node->lease_ns;
    return next_ns > now_ns ? next_ns : now_ns;
}

/* By what has been read: the answer may lie in its socket while this process is what was slow. */
static bool is_unanswered(const sx_trust_node *node) {
    int64_t patience_ns = sx_trust_delta_ns(node->trust);
    if (patience_ns < UNANSWERED_MIN_NS) patience_ns = UNANSWERED_MIN_NS;
    return node->beat.outstanding && sx_loop_read_ns(node->trust->loop) - node->beat.sent_ns >= patience_ns;
}

void sx_trust_node_step(sx_trust_node *node) {
    sx_trust *trust = node->trust;
    assert(sx_loop_is_current(trust->loop));
    if (trust->stopping) return;
    int64_t now_ns = sx_loop_now_ns(trust->loop);
    sx_trust_beat_lapse(node, now_ns);
    if (node->conn == NULL) {
        if (node->owned == 0) return;
        if (now_ns >= node->open_ns) open_conn(node, now_ns);
    } else if (node->closing) {
        return; /* on_closed goes on */
    } else if (node->owned == 0) {
        sx_trust_node_close(node, STRATA_E_CLOSED, "the node owns no partition any more");
        return;
    } else if (!sx_redis_address_same(sx_redis_conn_address(node->conn), &node->record->address)) {
        /* The data connections are there already: identities from two addresses are never the same. */
        sx_trust_node_close(node, STRATA_E_UNAVAILABLE, "the node has another address now");
        return;
    } else if (is_unanswered(node)) {
        sx_trust_node_close(node, STRATA_E_TIMEOUT, "a heartbeat was not answered");
        return;
    } else if (node->ready) {
        subscribe(node, now_ns);
        sx_trust_check_step(node, now_ns);
        sx_trust_beat_step(node, now_ns);
    }
    if (node->closing) return;
    sx_loop_timer_set(trust->loop, &node->timer, next_step_ns(node, now_ns));
}

void sx_trust_node_kick(sx_trust_node *node) {
    sx_trust *trust = node->trust;
    if (trust->stopping) return;
    sx_loop_timer_set(trust->loop, &node->timer, sx_loop_now_ns(trust->loop));
}

void sx_trust_node_doubt(sx_trust_node *node) {
    node->doubted = true;
    sx_trust_node_kick(node);
}
