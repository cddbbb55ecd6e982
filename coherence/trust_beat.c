/* SPDX-License-Identifier: Apache-2.0 */
/* The heartbeat: what it asks, what its answer proves, and for how long.

   Redis answers in order, so the answer proves that every message executed before it was received and applied. It was
   asked at sent_ns: until sent_ns + delta nothing older than delta can be unknown here. That holds only for the owner of
   the slots. A node that was paused, replaced and resumed answers too; so heartbeats form a chain, each answered before
   the lease of the one before was over (too short for a failover, since delta is at most half of the node timeout). At
   the start of a chain another primary must have named the node as owner: that is its first link. */
#include <assert.h>

#include <strata/status.h>

#include "coherence/trust_state.h"

#define CONFIRM_WAIT_NS (25 * SX_NS_PER_MS)
#define CONFIRM_DEADLINE_NS (1 * SX_NS_PER_S)
#define ABSENT_WAIT_NS (50 * SX_NS_PER_MS)
#define RESTART_GAP 65536 /* as for messages: a jump of a counter made anew */
#define IDLE_NS SX_NS_PER_S /* without use; then heartbeats are fewer */

static void log_gated(sx_trust_node *node, const char *what, const char *text, size_t size) {
    uint64_t dropped = 0;
    sx_trust *trust = node->trust;
    if (!sx_log_gate_open(&node->gate, sx_loop_now_ns(trust->loop), SX_NS_PER_S, &dropped)) return;
    sx_log_write(trust->log, SX_LOG_WARN, "coherence: %s:%u: %s%.*s", node->record->address.host,
                 node->record->address.port, what, (int)(size < 200 ? size : 200), text);
}

/* ---- identity ---- */

static void on_identified(void *context, sx_redis_conn *conn) {
    sx_trust_node *node = context;
    if (node->conn != conn || node->closing) return;
    const sx_redis_identity *identity = sx_redis_conn_identity(conn);
    node->identifying = false;
    node->identified_seq = node->identify_seq;
    uint64_t token = identity->primary ? identity->token : 0;
    if (token != node->identity && node->trusted > 0) sx_trust_lose_node(node);
    node->identity = token;
    if (token == 0) {
        log_gated(node, "not a primary", "", 0);
        sx_redis_cluster_refresh(node->trust->cluster);
    }
    sx_trust_node_step(node);
}

/* Subscribed, and nothing but proof is missing. */
static bool is_waiting(const sx_trust_node *node, const sx_trust_partition *p) {
    return p->node == node && p->stage == SX_TRUST_SUBSCRIBED;
}

static void identify(sx_trust_node *node, int64_t now_ns) {
    sx_trust *trust = node->trust;
    if (node->identifying) return;
    bool needed = node->doubted;
    for (uint32_t i = 0; i < trust->settings.partitions && !needed; i++) {
        const sx_trust_partition *p = &trust->partitions[i];
        /* A replica is asked again and again, but not more often than that. */
        if (!is_waiting(node, p)) continue;
        needed = p->since > node->identify_seq || (node->identity == 0 && now_ns >= node->beat_ns);
    }
    if (!needed) return;
    node->doubted = false;
    node->identify_seq = ++node->seq;
    node->identifying = true;
    sx_redis_conn_identify(node->conn, on_identified, node);
}

/* A lease is as good whatever the interval: a longer one only leaves an answer less time to come. So it is for a process that
   nobody uses, as long as everything is well and each heartbeat asks for all. */
int64_t sx_trust_beat_interval_ns(const sx_trust_node *node, int64_t now_ns) {
    const sx_trust *trust = node->trust;
    bool well = node->trusted == node->owned && node->owned <= trust->settings.beat_counters;
    return sx_trust_delta_ns(trust) / (well && now_ns - trust->used_ns >= IDLE_NS ? 2 : 5);
}

static void note_use(sx_trust *trust, int64_t now_ns) {
    if (now_ns < trust->use_look_ns) return;
    trust->use_look_ns = now_ns + sx_trust_delta_ns(trust) / 10; /* half of the shortest interval */
    if (trust->events.is_used == NULL || trust->events.is_used(trust->events.context)) trust->used_ns = now_ns;
}

/* Heartbeats are due on a grid that all nodes share, so that one wake-up serves them all; never later than an interval
   after the last. */
static int64_t next_beat_ns(const sx_trust_node *node, int64_t sent_ns, int64_t now_ns) {
    int64_t interval_ns = sx_trust_beat_interval_ns(node, now_ns);
    return sent_ns <= 0 ? sent_ns + interval_ns : (sent_ns / interval_ns + 1) * interval_ns;
}

/* ---- the chain ---- */

void sx_trust_beat_lapse(sx_trust_node *node, int64_t now_ns) {
    if (!node->chained || now_ns < node->lease_ns || SX_BROKEN(lease_over)) return;
    node->chained = false;
    node->confirmed = false;
    if (node->trusted > 0) sx_trust_count(node->trust, SX_TRUST_METRIC_BEATS_LATE, 1);
    sx_trust_lose_node(node);
    node->lapse_seq = ++node->seq;
}

static void on_confirmed(void *context, int32_t status) {
    sx_trust_node *node = context;
    sx_trust *trust = node->trust;
    node->confirming = false;
    if (!trust->stopping) {
        int64_t now_ns = sx_loop_now_ns(trust->loop);
        if (status == STRATA_OK && node->confirm_seq > node->lapse_seq) {
            node->confirmed = true;
            node->confirmed_seq = ++node->seq;
        } else {
            node->confirm_ns = now_ns + CONFIRM_WAIT_NS;
            if (status == STRATA_E_REFUSED) sx_redis_cluster_refresh(trust->cluster);
            /* At the very start the others are not connected yet. */
            if (status == STRATA_E_REFUSED || (status != STRATA_OK && node->lease_ns != INT64_MIN))
                log_gated(node, "ownership not confirmed by another primary", "", 0);
        }
        sx_trust_node_step(node);
    }
    sx_trust_settle(trust);
}

static void confirm(sx_trust_node *node, int64_t now_ns) {
    sx_trust *trust = node->trust;
    if (node->confirmed && now_ns >= node->confirm_asked_ns + sx_trust_delta_ns(trust)) node->confirmed = false;
    if (node->chained || node->confirmed || node->confirming || now_ns < node->confirm_ns) return;
    if (SX_BROKEN(confirm)) {
        node->confirm_asked_ns = now_ns;
        node->confirmed = true;
        node->confirmed_seq = ++node->seq;
        return;
    }
    node->confirming = true;
    node->confirm_seq = ++node->seq;
    node->confirm_asked_ns = now_ns;
    node->confirm_ns = now_ns + sx_trust_delta_ns(trust) / 5;
    trust->pending++;
    sx_redis_cluster_confirm(trust->cluster, node->record, now_ns + CONFIRM_DEADLINE_NS, on_confirmed, node);
}

/* Until when this heartbeat, answered now, proves anything; INT64_MIN: it does not. */
static int64_t proven_until(const sx_trust_node *node, int64_t now_ns) {
    int64_t delta_ns = sx_trust_delta_ns(node->trust);
    int64_t until_ns = (SX_BROKEN(lease_from_sent) ? now_ns : node->beat.sent_ns) + delta_ns;
    if (!node->chained) {
        /* The confirmation is the first link: what it says holds as of when it was asked. */
        if (!node->confirmed || node->beat.seq < node->confirmed_seq) return INT64_MIN;
        if (node->confirm_asked_ns + delta_ns < until_ns && !SX_BROKEN(confirm_link)) until_ns = node->confirm_asked_ns + delta_ns;
    }
    return now_ns < until_ns ? until_ns : INT64_MIN;
}

/* ---- what an answer says of one counter ---- */

/* FLUSHALL publishes nothing; a counter that was there and is gone is how it shows. */
static void on_absent(sx_trust_node *node, uint32_t partition, int64_t now_ns) {
    sx_trust *trust = node->trust;
    sx_trust_partition *p = &trust->partitions[partition];
    p->known = false;
    if (!p->absent && !SX_BROKEN(absent)) {
        p->absent = true;
        if (SX_BROKEN(absent_node)) sx_trust_lose(trust, partition);
        else sx_trust_lose_node(node);
        sx_trust_layout_again(trust);
        log_gated(node, "a counter is missing", "", 0);
    }
    p->retry_ns = now_ns + ABSENT_WAIT_NS;
    if (trust->layout == SX_TRUST_LAYOUT_AGREED && !p->creating) sx_trust_create_counter(trust, partition, now_ns);
}

static void on_counter(sx_trust_node *node, uint32_t partition, uint64_t counter) {
    sx_trust *trust = node->trust;
    sx_trust_partition *p = &trust->partitions[partition];
    p->absent = false;
    if (p->stage != SX_TRUST_TRUSTED || counter == p->last || SX_BROKEN(beat_counter)) return;
    /* Every message before this answer has been applied: one was lost, or the counter is another one. */
    bool restarted = counter < p->last || counter - p->last > RESTART_GAP;
    p->hole = true;
    sx_trust_count(trust, SX_TRUST_METRIC_COUNTER_MISMATCHES, 1);
    sx_trust_lose(trust, partition);
    if (restarted && !SX_BROKEN(restart_gap)) sx_trust_lose_node(node);
}

static bool contains(const sx_resp *text, const char *part) {
    return memmem(text->text, text->size, part, strlen(part)) != NULL;
}

static void on_counter_error(sx_trust_node *node, uint32_t partition, const sx_resp *error, int64_t now_ns) {
    sx_trust *trust = node->trust;
    sx_trust_lose(trust, partition);
    trust->partitions[partition].retry_ns = now_ns + ABSENT_WAIT_NS;
    /* A slot that is leaving concerns one partition; anything else (the cluster is down) may concern them all. */
    if (!contains(error, "non local key")) sx_trust_lose_node(node);
    sx_redis_cluster_refresh(trust->cluster);
    log_gated(node, "a counter can't be read: ", error->text, error->size);
}

static bool is_heard(const sx_trust_node *node, uint32_t partition) {
    const sx_trust_partition *p = &node->trust->partitions[partition];
    return p->node == node && p->stage >= SX_TRUST_SUBSCRIBED &&
           (p->since < node->beat.seq || SX_BROKEN(since));
}

/* Ends trust where the answer contradicts it. */
static void judge(sx_trust_node *node, const sx_resp *counters, int64_t now_ns) {
    for (uint32_t i = 0; i < node->beat.count; i++) {
        uint32_t partition = node->beat.partitions[i];
        const sx_resp *item = &counters[i];
        uint64_t counter = 0;
        if (!is_heard(node, partition)) continue;
        if (item->type == SX_RESP_NULL) on_absent(node, partition, now_ns);
        else if (sx_resp_to_uint(item, &counter)) on_counter(node, partition, counter);
        else on_counter_error(node, partition, item, now_ns);
    }
}

static bool gain(sx_trust_node *node, const sx_resp *counters, int64_t until_ns) {
    sx_trust *trust = node->trust;
    bool gained = false;
    if (!sx_trust_check_passed(node) || node->identity == 0) return false;
    for (uint32_t i = 0; i < node->beat.count; i++) {
        uint32_t partition = node->beat.partitions[i];
        const sx_trust_partition *p = &trust->partitions[partition];
        uint64_t counter = 0;
        if (!is_heard(node, partition) || p->stage != SX_TRUST_SUBSCRIBED) continue;
        if (p->since > node->identified_seq || !sx_resp_to_uint(&counters[i], &counter)) continue;
        sx_trust_gain(trust, partition, counter, until_ns);
        gained = true;
    }
    return gained;
}

/* ---- answers ---- */

static void on_role(void *context, int32_t status, const sx_resp *reply) {
    sx_trust_node *node = context;
    if (status != STRATA_OK) return;
    node->beat.is_master =
        reply->type == SX_RESP_ARRAY && reply->count > 0 && sx_resp_is_text(&reply->items[0], "master");
}

static void on_beat_error(sx_trust_node *node, const sx_resp *reply) {
    sx_trust *trust = node->trust;
    if (reply->size >= 8 && memcmp(reply->text, "NOSCRIPT", 8) == 0) {
        node->beat_eval = true;
        node->beat_ns = INT64_MIN;
        return;
    }
    sx_trust_lose_node(node);
    log_gated(node, "heartbeat refused: ", reply->text, reply->size);
    if (reply->size >= 6 && memcmp(reply->text, "NOPERM", 6) == 0)
        sx_trust_refuse(trust, STRATA_E_AUTH, "%s:%u does not let us run the heartbeat: %.*s",
                        node->record->address.host, node->record->address.port,
                        (int)(reply->size < 200 ? reply->size : 200), reply->text);
}

static bool read_time(const sx_resp *reply, int64_t *server_ns) {
    uint64_t seconds, microseconds;
    if (!sx_resp_to_uint(&reply->items[0], &seconds) || !sx_resp_to_uint(&reply->items[1], &microseconds)) return false;
    if (seconds > INT64_MAX / SX_NS_PER_S - 1 || microseconds >= 1000000) return false;
    *server_ns = (int64_t)seconds * SX_NS_PER_S + (int64_t)microseconds * SX_NS_PER_US;
    return true;
}

static void on_answer(sx_trust_node *node, const sx_resp *reply, int64_t now_ns) {
    sx_trust *trust = node->trust;
    int64_t server_ns;
    if (reply->type != SX_RESP_ARRAY || reply->count != node->beat.count + 2 || !read_time(reply, &server_ns)) {
        sx_trust_count(trust, SX_TRUST_METRIC_MALFORMED, 1);
        sx_trust_node_close(node, STRATA_E_PROTOCOL, "a heartbeat's answer makes no sense");
        return;
    }
    if (!node->beat.is_master) {
        sx_trust_lose_node(node);
        node->chained = false;
        node->confirmed = false;
        log_gated(node, "not a master any more", "", 0);
        sx_redis_cluster_refresh(trust->cluster);
        return;
    }
    sx_trust_count(trust, SX_TRUST_METRIC_BEATS, 1);
    node->beat_eval = false;
    int64_t middle_ns = node->beat.sent_ns + (now_ns - node->beat.sent_ns) / 2;
    sx_redis_cluster_note_clock(trust->cluster, node->record, server_ns - middle_ns);
    int64_t until_ns = proven_until(node, now_ns);
    judge(node, reply->items + 2, now_ns);
    if (until_ns == INT64_MIN) return;
    node->chained = true;
    node->failures = 0;
    if (until_ns > node->lease_ns) node->lease_ns = until_ns;
    for (uint32_t i = 0; i < trust->settings.partitions; i++)
        if (trust->partitions[i].node == node && trust->partitions[i].stage == SX_TRUST_TRUSTED)
            sx_trust_extend(trust, i, node->lease_ns);
    if (gain(node, reply->items + 2, node->lease_ns)) node->beat_ns = now_ns; /* others may be waiting */
}

static void on_beat(void *context, int32_t status, const sx_resp *reply) {
    sx_trust_node *node = context;
    sx_trust *trust = node->trust;
    if (status != STRATA_OK || node->closing || trust->stopping) return;
    int64_t now_ns = sx_loop_now_ns(trust->loop);
    assert(node->beat.outstanding);
    node->beat.outstanding = false;
    node->beat_ns = next_beat_ns(node, node->beat.sent_ns, now_ns);
    /* An answer that comes after the lease is over must not extend it, whenever it was asked. */
    sx_trust_beat_lapse(node, now_ns);
    if (reply->type == SX_RESP_ERROR) on_beat_error(node, reply);
    else on_answer(node, reply, now_ns);
    sx_trust_node_step(node);
}

/* ---- questions ---- */

static bool add_next(sx_trust_node *node, uint32_t *cursor, sx_trust_stage stage) {
    sx_trust *trust = node->trust;
    uint32_t count = trust->settings.partitions;
    for (uint32_t tries = 0; tries < count; tries++) {
        *cursor = *cursor + 1 < count ? *cursor + 1 : 0;
        const sx_trust_partition *p = &trust->partitions[*cursor];
        if (p->node != node || p->stage != stage) continue;
        node->beat.partitions[node->beat.count++] = *cursor;
        return true;
    }
    return false;
}

/* Those that wait first, then those that are trusted, each in rotation and at most once. */
static void choose(sx_trust_node *node) {
    sx_trust *trust = node->trust;
    uint32_t waiting = 0, trusted = 0;
    for (uint32_t i = 0; i < trust->settings.partitions; i++) {
        const sx_trust_partition *p = &trust->partitions[i];
        waiting += is_waiting(node, p) ? 1 : 0;
        trusted += p->node == node && p->stage == SX_TRUST_TRUSTED ? 1 : 0;
    }
    node->beat.count = 0;
    while (waiting > 0 && node->beat.count < trust->settings.beat_counters &&
           add_next(node, &node->waiting, SX_TRUST_SUBSCRIBED))
        waiting--;
    while (trusted > 0 && node->beat.count < trust->settings.beat_counters &&
           add_next(node, &node->rotation, SX_TRUST_TRUSTED))
        trusted--;
}

static int32_t send_beat(sx_trust_node *node) {
    sx_trust *trust = node->trust;
    sx_command role, beat;
    sx_command_init(&role, trust->alloc);
    sx_command_init(&beat, trust->alloc);
    int32_t status = STRATA_OK;
    bool cluster = sx_redis_cluster_is_cluster(trust->cluster);
    node->beat.is_master = cluster; /* there a demotion shows as sunsubscribe */
    if (!cluster) {
        sx_command_text(&role, "ROLE");
        status = sx_redis_conn_send(node->conn, &role, NULL, false, false, on_role, node, NULL);
    }
    if (node->beat_eval) {
        sx_command_text(&beat, sx_redis_conn_server(node->conn)->eval_ro ? "EVAL_RO" : "EVAL");
        sx_command_text(&beat, trust->scripts->beat.text);
    }
    sx_publish_encode_beat(trust->publish, node->beat.partitions, node->beat.count, &beat);
    if (status == STRATA_OK)
        status = sx_redis_conn_send(node->conn, &beat, node->beat_eval ? NULL : &trust->scripts->beat, true, false,
                                    on_beat, node, NULL);
    sx_command_deinit(&role);
    sx_command_deinit(&beat);
    return status;
}

/* Whether a heartbeat sent now may make some partition trusted. */
static bool is_gainable(const sx_trust_node *node, int64_t now_ns) {
    const sx_trust *trust = node->trust;
    if (!sx_trust_check_passed(node) || node->identity == 0 || !(node->chained || node->confirmed)) return false;
    for (uint32_t i = 0; i < trust->settings.partitions; i++) {
        const sx_trust_partition *p = &trust->partitions[i];
        if (is_waiting(node, p) && p->since < node->identified_seq && p->retry_ns <= now_ns) return true;
    }
    return false;
}

void sx_trust_beat_step(sx_trust_node *node, int64_t now_ns) {
    sx_trust *trust = node->trust;
    identify(node, now_ns);
    confirm(node, now_ns);
    if (node->beat.outstanding) return;
    if (now_ns < node->beat_ns && is_gainable(node, now_ns)) {
        int64_t soon_ns = node->beat.sent_ns + sx_trust_delta_ns(trust) / 50;
        if (soon_ns < node->beat_ns) node->beat_ns = soon_ns;
    }
    if (now_ns < node->beat_ns) return;
    choose(node);
    node->beat.seq = ++node->seq;
    node->beat.sent_ns = sx_loop_now_ns(trust->loop);
    note_use(trust, node->beat.sent_ns);
    node->beat_ns = next_beat_ns(node, node->beat.sent_ns, node->beat.sent_ns);
    node->beat.outstanding = send_beat(node) == STRATA_OK;
}

void sx_trust_beat_reset(sx_trust_node *node) {
    node->beat.outstanding = false;
    node->beat_eval = false;
    node->identifying = false;
    node->doubted = false;
    node->beat_ns = INT64_MIN;
}
