/* SPDX-License-Identifier: Apache-2.0 */
/* What arrives on a subscription connection unasked: confirmations, lost slots, and the messages of the channels. */
#include <assert.h>

#include <strata/status.h>

#include "coherence/trust_state.h"

#define RESUBSCRIBE_NS (50 * SX_NS_PER_MS)

/* A missing counter restarts from the server's clock in microseconds, so its next n is far from the old one, or below. */
#define RESTART_GAP 65536

/* The partition that a channel belongs to, where it is one of this node's. */
static bool find_partition(const sx_trust_node *node, const sx_resp *channel, uint32_t *out) {
    const sx_trust *trust = node->trust;
    if (channel->type != SX_RESP_STRING || channel->size == 0) return false;
    uint32_t slot = sx_key_slot(channel->text, channel->size);
    uint32_t partition = slot * trust->settings.partitions / SX_SLOTS;
    const struct sx_key_tag *tag = &trust->tags->tags[partition];
    static const char rest[] = "s1:c"; /* after "{tag}" */
    size_t size = (size_t)tag->size + 2 + sizeof rest - 1;
    if (tag->slot != slot || channel->size != size || channel->text[0] != '{') return false;
    if (memcmp(channel->text + 1, tag->text, tag->size) != 0 || channel->text[1 + tag->size] != '}') return false;
    if (memcmp(channel->text + 2 + tag->size, rest, sizeof rest - 1) != 0) return false;
    *out = partition;
    return trust->partitions[partition].node == node;
}

static void miss(sx_trust_node *node, uint32_t partition, uint32_t metric) {
    sx_trust *trust = node->trust;
    trust->partitions[partition].hole = true;
    sx_trust_count(trust, metric, 1);
    sx_trust_lose(trust, partition);
    sx_trust_node_kick(node);
}

/* Whether n continues what is known; a hole where it does not. What comes after a hole says nothing more: the counter of
   a later heartbeat will be the new beginning. */
static void follow(sx_trust_node *node, uint32_t partition, uint64_t n) {
    sx_trust_partition *p = &node->trust->partitions[partition];
    if (!p->known || p->hole) return;
    if (n == p->last + 1 || (SX_BROKEN(hole) && n > p->last)) {
        p->last = n;
        return;
    }
    bool restarted = n <= p->last || n - p->last > RESTART_GAP;
    miss(node, partition, SX_TRUST_METRIC_HOLES);
    /* A counter made anew may mean that everything is: FLUSHALL publishes nothing. */
    if (restarted && !SX_BROKEN(restart_gap)) sx_trust_lose_node(node);
}

static void receive(sx_trust_node *node, uint32_t partition, const sx_resp *payload) {
    sx_trust *trust = node->trust;
    sx_message message;
    sx_trust_count(trust, SX_TRUST_METRIC_MESSAGES, 1);
    if (payload->type != SX_RESP_STRING || sx_message_decode(payload->text, payload->size, &message) != STRATA_OK) {
        miss(node, partition, SX_TRUST_METRIC_MALFORMED);
        return;
    }
    if (message.kind == SX_MESSAGE_PROBE) {
        sx_trust_check_probe_received(node, message.id);
        return;
    }
    if (message.kind == SX_MESSAGE_UNTRUST && !SX_BROKEN(untrust_heard)) {
        /* Something happened that has no number: whoever has entries must prove them. */
        trust->partitions[partition].hole = true;
        sx_trust_lose(trust, partition);
        sx_trust_node_kick(node);
    }
    if (message.sequenced) follow(node, partition, message.n);
    trust->events.on_message(trust->events.context, partition, &message);
}

static void confirmed(sx_trust_node *node, uint32_t partition) {
    sx_trust_partition *p = &node->trust->partitions[partition];
    if (p->stage != SX_TRUST_SUBSCRIBING) return;
    p->stage = SX_TRUST_SUBSCRIBED;
    p->since = ++node->seq;
    p->retry_ns = INT64_MIN;
    sx_trust_node_kick(node);
}

/* The error that answers a subscription names no channel: the step asks again for those that stay unconfirmed. */
static void refused(sx_trust_node *node, const sx_resp *error) {
    sx_trust *trust = node->trust;
    int size = error->size < 200 ? (int)error->size : 200;
    if (size >= 6 && memcmp(error->text, "NOPERM", 6) == 0)
        sx_trust_refuse(trust, STRATA_E_AUTH, "%s:%u does not let us subscribe: %.*s", node->record->address.host,
                        node->record->address.port, size, error->text);
    else
        sx_redis_cluster_refresh(trust->cluster);
}

/* Nobody asked for it (a partition that we left is not this node's any more): the slot is gone. */
static void unsubscribed(sx_trust_node *node, uint32_t partition) {
    sx_trust *trust = node->trust;
    sx_trust_partition *p = &trust->partitions[partition];
    if (SX_BROKEN(sunsubscribe)) return;
    sx_trust_lose(trust, partition);
    p->stage = SX_TRUST_UNSUBSCRIBED;
    p->retry_ns = sx_loop_now_ns(trust->loop) + RESUBSCRIBE_NS;
    sx_redis_cluster_refresh(trust->cluster);
    sx_trust_node_kick(node);
}

void sx_trust_push(sx_trust_node *node, const sx_resp *push) {
    if (push->type == SX_RESP_ERROR) refused(node, push);
    if (push->type != SX_RESP_PUSH || push->count < 3) return;
    bool sharded = sx_redis_cluster_is_cluster(node->trust->cluster);
    const sx_resp *what = &push->items[0];
    uint32_t partition;
    if (!find_partition(node, &push->items[1], &partition)) return;
    if (sx_resp_is_text(what, sharded ? "smessage" : "message")) {
        receive(node, partition, &push->items[2]);
    } else if (sx_resp_is_text(what, sharded ? "ssubscribe" : "subscribe")) {
        confirmed(node, partition);
    } else if (sx_resp_is_text(what, sharded ? "sunsubscribe" : "unsubscribe")) {
        unsubscribed(node, partition);
    }
}
