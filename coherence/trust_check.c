/* SPDX-License-Identifier: Apache-2.0 */
/* What a node must prove before it is trusted: its version, its configuration, and that what we publish comes back. */
#include <assert.h>

#include <strata/status.h>

#include "coherence/trust_state.h"

#define CONFIG_AGAIN_NS (60 * SX_NS_PER_S)
#define REFUSED_AGAIN_NS (5 * SX_NS_PER_S)
#define PROBE_PATIENCE_NS (1500 * SX_NS_PER_MS)
#define PROBE_AGAIN_NS (100 * SX_NS_PER_MS)
#define PROBE_AGAIN_MAX_NS (5 * SX_NS_PER_S)
#define PROBE_TRIES 3 /* that may pass silently: the map may be behind */

static const char *host_of(const sx_trust_node *node) { return node->record->address.host; }
static uint16_t port_of(const sx_trust_node *node) { return node->record->address.port; }

/* ---- version ---- */

static bool is_new_enough(const sx_trust_node *node) {
    const sx_redis_server *server = sx_redis_conn_server(node->conn);
    bool cluster = sx_redis_cluster_is_cluster(node->trust->cluster);
    if (cluster ? server->sharded_pubsub : server->version >= 0x060200) return true;
    sx_trust_refuse(node->trust, STRATA_E_VERSION, "%s:%u runs %s %u.%u.%u: %s", host_of(node), port_of(node), server->product,
                    (unsigned)(server->version >> 16), (unsigned)(server->version >> 8 & 0xff),
                    (unsigned)(server->version & 0xff),
                    cluster ? "a cluster needs 7.0 (sharded publish and subscribe)" : "at least 6.2 is needed");
    return false;
}

/* ---- configuration ---- */

static void clamp_delta(sx_trust *trust) {
    int64_t delta_ns = trust->settings.max_staleness_ns;
    for (uint32_t i = 0; i < trust->node_count; i++) {
        const sx_trust_node *node = trust->nodes[i];
        if (node == NULL || node->owned == 0 || !node->config_known) continue;
        int64_t timeout_ns = node->timeout_ns > 0 ? node->timeout_ns : trust->settings.node_timeout_ns;
        if (timeout_ns / 2 < delta_ns) delta_ns = timeout_ns / 2;
    }
    if (delta_ns < SX_NS_PER_MS) delta_ns = SX_NS_PER_MS;
    if (delta_ns == sx_trust_delta_ns(trust)) return;
    atomic_store_explicit(&trust->delta_ns, delta_ns, memory_order_relaxed); /* relaxed: a bound to report */
    if (delta_ns < trust->settings.max_staleness_ns)
        sx_log_write(trust->log, SX_LOG_WARN,
                     "coherence: max_staleness is %lld ms, not %lld ms: half of cluster-node-timeout",
                     (long long)(delta_ns / SX_NS_PER_MS), (long long)(trust->settings.max_staleness_ns / SX_NS_PER_MS));
}

static void on_config(void *context, int32_t status, const sx_resp *reply) {
    sx_trust_node *node = context;
    sx_trust *trust = node->trust;
    if (status != STRATA_OK || node->closing || trust->stopping) return;
    node->config_asking = false;
    node->config_ns = sx_loop_now_ns(trust->loop) + CONFIG_AGAIN_NS;
    const sx_resp *timeout = sx_resp_map_get(reply, "cluster-node-timeout");
    const sx_resp *reads = sx_resp_map_get(reply, "cluster-allow-reads-when-down");
    uint64_t timeout_ms = 0;
    if (timeout != NULL && sx_resp_to_uint(timeout, &timeout_ms) && timeout_ms > 0 && timeout_ms < INT32_MAX)
        node->timeout_ns = (int64_t)timeout_ms * SX_NS_PER_MS;
    else if (!node->config_known)
        sx_log_write(trust->log, SX_LOG_INFO,
                     "coherence: %s:%u does not tell its cluster-node-timeout, coherence.node_timeout is taken",
                     host_of(node), port_of(node));
    node->config_known = true;
    node->config_refused = reads != NULL && !sx_resp_is_text(reads, "no");
    clamp_delta(trust);
    if (node->config_refused) {
        node->config_ns = sx_loop_now_ns(trust->loop) + REFUSED_AGAIN_NS;
        sx_trust_lose_node(node);
        sx_trust_refuse(trust, STRATA_E_CONFIG,
                        "%s:%u has cluster-allow-reads-when-down on: a node that is cut off would be believed",
                        host_of(node), port_of(node));
    }
    sx_trust_node_step(node);
}

static void ask_config(sx_trust_node *node, int64_t now_ns) {
    sx_trust *trust = node->trust;
    if (!sx_redis_cluster_is_cluster(trust->cluster)) {
        node->config_known = true; /* no failover without us: nothing to clamp to */
        return;
    }
    if (node->config_asking || (node->config_known && now_ns < node->config_ns)) return;
    sx_command command;
    sx_command_init(&command, trust->alloc);
    sx_command_text(&command, "CONFIG");
    sx_command_text(&command, "GET");
    sx_command_text(&command, "cluster-node-timeout");
    sx_command_text(&command, "cluster-allow-reads-when-down");
    node->config_asking =
        sx_redis_conn_send(node->conn, &command, NULL, true, false, on_config, node, NULL) == STRATA_OK;
    sx_command_deinit(&command);
}

/* ---- probe ---- */

static void fail_probe(sx_trust_node *node, int64_t now_ns) {
    int64_t wait_ns = PROBE_AGAIN_NS << (node->probe_tries < 8 ? node->probe_tries : 8);
    node->probe = SX_TRUST_CHECK_WAITING;
    node->probe_ns = now_ns + (wait_ns < PROBE_AGAIN_MAX_NS ? wait_ns : PROBE_AGAIN_MAX_NS);
    node->probe_tries++;
}

static void pass_probe(sx_trust_node *node) {
    if (!node->probe_replied || !node->probe_received) return;
    node->probe = SX_TRUST_CHECK_PASSED;
    node->probe_tries = 0;
    sx_trust_node_kick(node);
}

/* Whether the error says that something is not permitted, or not there. 0: it may pass by itself. */
static int32_t classify(sx_redis_outcome outcome, const char *text) {
    if (outcome == SX_REDIS_NOPERM || outcome == SX_REDIS_NOAUTH || strstr(text, "NOPERM") != NULL ||
        strstr(text, "ACL failure") != NULL || strstr(text, "can't run this command") != NULL ||
        strstr(text, "can't access at least one") != NULL)
        return STRATA_E_AUTH;
    if (strstr(text, "nknown Redis command") != NULL || strstr(text, "unknown command") != NULL)
        return STRATA_E_VERSION;
    return STRATA_OK;
}

static void on_probe_done(sx_redis_request *request, sx_redis_outcome outcome, const sx_resp *reply) {
    sx_trust_node *node = ((sx_trust_request *)(void *)request)->node;
    sx_trust *trust = node->trust;
    node->probe_pending = false;
    sx_command_deinit(&request->command);
    if (!trust->stopping && node->probe == SX_TRUST_CHECK_RUNNING) {
        char text[SX_TRUST_TEXT_MAX];
        sx_trust_reply_text(outcome, reply, text, sizeof text);
        /* The script publishes first; what refuses writes for a while says nothing about permissions. */
        bool passing = outcome == SX_REDIS_OOM || outcome == SX_REDIS_NOREPLICAS || strncmp(text, "MISCONF", 7) == 0;
        if (outcome == SX_REDIS_OK || passing) {
            node->probe_replied = true;
            pass_probe(node);
        } else {
            int32_t status = classify(outcome, text);
            if (status != STRATA_OK)
                sx_trust_refuse(trust, status, "%s:%u does not let us write and publish: %s", host_of(node),
                                port_of(node), text);
            fail_probe(node, sx_loop_now_ns(trust->loop));
        }
    }
    sx_trust_settle(trust);
}

void sx_trust_check_probe_received(sx_trust_node *node, uint64_t id) {
    if (node->probe != SX_TRUST_CHECK_RUNNING || id != node->probe_id) return;
    node->probe_received = true;
    pass_probe(node);
}

static void start_probe(sx_trust_node *node, int64_t now_ns) {
    sx_trust *trust = node->trust;
    uint32_t partition = 0;
    while (partition < trust->settings.partitions &&
           (trust->partitions[partition].node != node || trust->partitions[partition].stage < SX_TRUST_SUBSCRIBED))
        partition++;
    if (partition == trust->settings.partitions) return;
    sx_trust_request *probe = &node->probe_request;
    sx_trust_request_init(probe, trust, trust->tags->tags[partition].slot, &trust->scripts->probe, on_probe_done);
    probe->node = node;
    node->probe_id = sx_key_random_next(&trust->random);
    sx_publish_encode_probe(trust->publish, partition, node->probe_id, &probe->request.command);
    node->probe = SX_TRUST_CHECK_RUNNING;
    node->probe_pending = true;
    node->probe_replied = false;
    node->probe_received = false;
    node->probe_ns = now_ns + PROBE_PATIENCE_NS;
    sx_redis_cluster_submit(trust->cluster, &probe->request);
}

/* The script ran, somewhere, but its message did not come. */
static void give_up_probe(sx_trust_node *node, int64_t now_ns) {
    if (node->probe_replied && node->probe_tries >= PROBE_TRIES)
        sx_trust_refuse(node->trust, STRATA_E_AUTH,
                        "%s:%u: a message published for one of its partitions is not received from it", host_of(node),
                        port_of(node));
    fail_probe(node, now_ns);
}

/* ---- all of it ---- */

bool sx_trust_check_passed(const sx_trust_node *node) {
    return node->ready && !node->closing && node->config_known && !node->config_refused &&
           node->probe == SX_TRUST_CHECK_PASSED && node->trust->layout == SX_TRUST_LAYOUT_AGREED;
}

void sx_trust_check_step(sx_trust_node *node, int64_t now_ns) {
    if (node->trust->layout == SX_TRUST_LAYOUT_UNKNOWN) sx_trust_layout_step(node->trust);
    if (!is_new_enough(node)) return;
    ask_config(node, now_ns);
    if (node->probe == SX_TRUST_CHECK_RUNNING && !node->probe_pending && now_ns >= node->probe_ns)
        give_up_probe(node, now_ns);
    if (node->probe == SX_TRUST_CHECK_WAITING && !node->probe_pending && now_ns >= node->probe_ns)
        start_probe(node, now_ns);
}

void sx_trust_check_reset(sx_trust_node *node) {
    node->config_asking = false;
    node->config_ns = INT64_MIN;
    node->probe = SX_TRUST_CHECK_WAITING;
    node->probe_ns = INT64_MIN;
    node->probe_tries = 0;
}
