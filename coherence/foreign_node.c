/* SPDX-License-Identifier: Apache-2.0 */
/* One tracking connection per primary: opened, told what to track, kept proven by its heartbeat, given up when in doubt.

   The server collects what it has to say of prefixes until the end of a turn of its loop, so that a PING's answer may
   overtake a change that was executed before it in the same turn. The next PING is sent after that answer, and so belongs
   to a later turn: its answer comes behind everything that was executed before the first was sent. Hence a lease counts
   from when the PING before the one that is answered was sent.

   Whether the node still is the primary is not proven here but by trust in its partitions, whose lease bounds this one;
   the connection does not outlive it. */
#include <assert.h>
#include <stddef.h>

#include <strata/status.h>

#include "coherence/foreign_state.h"

#define RECONNECT_FIRST_NS (10 * SX_NS_PER_MS)
#define RECONNECT_MAX_NS (5 * SX_NS_PER_S)
#define UNANSWERED_MIN_NS (1 * SX_NS_PER_S)
/* Nobody publishes there. A client that subscribes to something has the output limit of subscribers: if it does not read,
   the server ends it. One that only tracks has none, and what it does not read is kept without bound. */
#define LIMITED "s1:tracking"

static void fire_on_loop(sx_timer *timer) {
    sx_foreign_node_step((sx_foreign_node *)(void *)((char *)timer - offsetof(sx_foreign_node, timer)));
}

int32_t sx_foreign_node_get(sx_foreign *foreign, sx_redis_node *record, sx_foreign_node **out) {
    assert(record->index < SX_REDIS_NODES_MAX);
    sx_foreign_node *node = foreign->nodes[record->index];
    if (node == NULL) {
        node = sx_allocate_zero(foreign->alloc, sizeof *node);
        if (node == NULL) return STRATA_E_NOMEM;
        node->foreign = foreign;
        node->record = record;
        node->lease_ns = INT64_MIN;
        node->timer.fire_on_loop = fire_on_loop;
        foreign->nodes[record->index] = node;
        if (record->index >= foreign->node_count) foreign->node_count = record->index + 1;
    }
    *out = node;
    return STRATA_OK;
}

void sx_foreign_node_destroy(sx_foreign_node *node) {
    if (node == NULL) return;
    assert(node->conn == NULL);
    sx_release(node->foreign->alloc, node, sizeof *node);
}

static void kick(sx_foreign_node *node) {
    if (!node->foreign->stopping)
        sx_loop_timer_set(node->foreign->loop, &node->timer, sx_loop_now_ns(node->foreign->loop));
}

static void log_gated(sx_foreign_node *node, const char *what, const char *text, size_t size) {
    uint64_t dropped = 0;
    sx_foreign *foreign = node->foreign;
    if (!sx_log_gate_open(&node->gate, sx_loop_now_ns(foreign->loop), SX_NS_PER_S, &dropped)) return;
    sx_log_write(foreign->log, SX_LOG_WARN, "foreign: %s:%u: %s%.*s", node->record->address.host, node->record->address.port,
                 what, (int)(size < 200 ? size : 200), text);
}

/* ---- the connection ---- */

/* What was read before counts for nothing any more. */
static void end(sx_foreign_node *node) {
    if (node->tracking) sx_foreign_count(node->foreign, SX_FOREIGN_METRIC_LOST, 1);
    node->tracking = false;
    sx_foreign_doubt(node);
}

void sx_foreign_node_close(sx_foreign_node *node, int32_t status, const char *reason) {
    if (node->conn == NULL || node->closing) return;
    end(node);
    node->closing = true;
    sx_redis_conn_close(node->conn, status, reason);
}

static void on_ready(void *context, sx_redis_conn *conn) {
    sx_foreign_node *node = context;
    (void)conn;
    node->ready = true;
    sx_foreign_node_step(node);
}

static void on_key(sx_foreign *foreign, const sx_resp *name) {
    for (uint32_t i = 0; i < foreign->prefix_count; i++) {
        const sx_foreign_prefix *prefix = &foreign->prefixes[i];
        if (name->size <= prefix->size || memcmp(name->text, prefix->text, prefix->size) != 0) continue;
        foreign->events.on_key(foreign->events.context, prefix->owner, name->text + prefix->size, name->size - prefix->size);
        return;
    }
}

static void invalidate(sx_foreign_node *node, const sx_resp *names) {
    sx_foreign *foreign = node->foreign;
    sx_foreign_count(foreign, SX_FOREIGN_METRIC_MESSAGES, 1);
    if (names->type == SX_RESP_NULL) { /* FLUSHALL, FLUSHDB, or another data set than before */
        sx_foreign_count(foreign, SX_FOREIGN_METRIC_FLUSHES, 1);
        sx_foreign_doubt(node);
    } else if (names->type != SX_RESP_ARRAY) {
        sx_foreign_node_close(node, STRATA_E_PROTOCOL, "an invalidation makes no sense");
    } else {
        for (size_t i = 0; i < names->count; i++)
            if (names->items[i].type == SX_RESP_STRING) on_key(foreign, &names->items[i]);
        sx_foreign_count(foreign, SX_FOREIGN_METRIC_KEYS, (int64_t)names->count);
    }
}

static void on_push(void *context, sx_redis_conn *conn, const sx_resp *push) {
    sx_foreign_node *node = context;
    if (node->closing || node->conn != conn) return;
    if (push->type == SX_RESP_ERROR && !node->foreign->warned) {
        node->foreign->warned = true; /* it goes on without */
        log_gated(node, "what this process does not read is not bounded there: ", push->text, push->size);
    }
    if (push->type == SX_RESP_PUSH && push->count == 2 && sx_resp_is_text(&push->items[0], "invalidate"))
        invalidate(node, &push->items[1]);
}

static void on_closed(void *context, sx_redis_conn *conn, int32_t status, const char *reason) {
    sx_foreign_node *node = context;
    sx_foreign *foreign = node->foreign;
    (void)status;
    assert(node->conn == conn);
    (void)conn;
    end(node);
    node->conn = NULL;
    node->ready = false;
    node->closing = false;
    node->beating = false;
    bool intended = foreign->stopping || (node->asked && node->prefixes != foreign->prefix_count);
    if (!intended) log_gated(node, "tracking ended: ", reason, strlen(reason));
    node->asked = false;
    /* The first attempt at once, then ever later, each somewhere in its second half. */
    node->open_ns = sx_loop_now_ns(foreign->loop);
    if (node->failures > 0) {
        int64_t wait_ns = RECONNECT_FIRST_NS << (node->failures < 10 ? node->failures : 10);
        if (wait_ns > RECONNECT_MAX_NS) wait_ns = RECONNECT_MAX_NS;
        uint64_t half = (uint64_t)wait_ns / 2;
        node->open_ns += (int64_t)(half + sx_key_random_next(&foreign->random) % half);
    }
    node->failures++;
    kick(node);
    sx_foreign_settle(foreign);
}

static void open_conn(sx_foreign_node *node, int64_t now_ns) {
    sx_foreign *foreign = node->foreign;
    const sx_redis_conn_events events = {node, on_ready, on_push, on_closed};
    int32_t status = sx_redis_conn_open(foreign->loop, &foreign->redis, &node->record->address, &events, &node->conn);
    if (status == STRATA_OK) {
        foreign->pending++;
        return;
    }
    node->conn = NULL;
    node->open_ns = now_ns + RECONNECT_MAX_NS;
    sx_log_write(foreign->log, SX_LOG_ERROR, "foreign: no connection to %s:%u: %s", node->record->address.host,
                 node->record->address.port, strata_status_text(status));
}

/* ---- tracking ---- */

static void on_tracking(void *context, int32_t status, const sx_resp *reply) {
    sx_foreign_node *node = context;
    if (status != STRATA_OK || node->closing) return;
    if (reply->type == SX_RESP_ERROR) {
        log_gated(node, "CLIENT TRACKING refused: ", reply->text, reply->size);
        sx_foreign_node_close(node, STRATA_E_REFUSED, "CLIENT TRACKING refused");
        return;
    }
    node->tracking = true;
    node->next_ns = INT64_MIN;
    sx_foreign_node_step(node);
}

static void track(sx_foreign_node *node) {
    sx_foreign *foreign = node->foreign;
    sx_command limited, tracking;
    sx_command_init(&limited, foreign->alloc);
    sx_command_init(&tracking, foreign->alloc);
    sx_command_text(&limited, "SUBSCRIBE");
    sx_command_text(&limited, LIMITED);
    static const char *const words[] = {"CLIENT", "TRACKING", "ON", "BCAST"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) sx_command_text(&tracking, words[i]);
    for (uint32_t i = 0; i < foreign->prefix_count; i++) {
        sx_command_text(&tracking, "PREFIX");
        sx_command_arg(&tracking, foreign->prefixes[i].text, foreign->prefixes[i].size);
    }
    node->asked = true;
    node->prefixes = foreign->prefix_count;
    node->before_ns = INT64_MIN;
    int32_t status = limited.args.failed || tracking.args.failed ? STRATA_E_NOMEM : STRATA_OK;
    if (status == STRATA_OK) status = sx_redis_conn_send(node->conn, &limited, NULL, false, false, NULL, NULL, NULL);
    if (status == STRATA_OK) status = sx_redis_conn_send(node->conn, &tracking, NULL, false, false, on_tracking, node, NULL);
    sx_command_deinit(&limited);
    sx_command_deinit(&tracking);
    if (status != STRATA_OK) sx_foreign_node_close(node, status, "tracking can't be asked for");
}

/* ---- heartbeat ---- */

/* Why the connection is good no more; NULL: it is. */
static const char *fault_of(const sx_foreign_node *node, int64_t now_ns) {
    const sx_foreign *foreign = node->foreign;
    int64_t patience_ns = sx_trust_max_staleness_ns(foreign->trust);
    uint64_t ends;
    (void)sx_trust_node_lease_on_loop(foreign->trust, node->record, &ends);
    if (patience_ns < UNANSWERED_MIN_NS) patience_ns = UNANSWERED_MIN_NS;
    if (!sx_redis_address_same(sx_redis_conn_address(node->conn), &node->record->address))
        return "the node has another address now";
    if (!node->asked) return NULL;
    if (node->prefixes != foreign->prefix_count) return "another prefix is to be tracked";
    if (ends != node->trust_ends) return "the node was not trusted for a while";
    if (node->lease_ns != INT64_MIN && now_ns >= node->lease_ns) return "its heartbeat came too late";
    if (node->beating && sx_loop_read_ns(foreign->loop) - node->beat_ns >= patience_ns) return "its heartbeat was not answered";
    return NULL;
}

static void on_pong(void *context, int32_t status, const sx_resp *reply) {
    sx_foreign_node *node = context;
    sx_foreign *foreign = node->foreign;
    if (status != STRATA_OK || node->closing || foreign->stopping) return;
    int64_t now_ns = sx_loop_now_ns(foreign->loop);
    const char *fault = reply->type == SX_RESP_ERROR ? "its heartbeat was refused" : fault_of(node, now_ns);
    if (fault != NULL) {
        sx_foreign_node_close(node, STRATA_E_UNAVAILABLE, fault);
        return;
    }
    uint64_t ends;
    int64_t until_ns = sx_trust_node_lease_on_loop(foreign->trust, node->record, &ends);
    int64_t since_ns = node->before_ns, delta_ns = sx_trust_max_staleness_ns(foreign->trust);
    if (since_ns == INT64_MIN) node->next_ns = now_ns; /* the first: the second proves it */
    else if (since_ns + delta_ns < until_ns) until_ns = since_ns + delta_ns;
    node->beating = false;
    node->before_ns = node->beat_ns;
    if (since_ns != INT64_MIN && until_ns > now_ns) {
        node->failures = 0;
        sx_foreign_lease(node, until_ns);
    }
    sx_foreign_node_step(node);
}

static void beat(sx_foreign_node *node, int64_t now_ns) {
    sx_foreign *foreign = node->foreign;
    if (!node->tracking || node->beating || now_ns < node->next_ns) return;
    sx_command command;
    sx_command_init(&command, foreign->alloc);
    sx_command_text(&command, "PING");
    node->beat_ns = sx_loop_now_ns(foreign->loop);
    node->next_ns = now_ns + sx_trust_max_staleness_ns(foreign->trust) / 5;
    node->beating = !command.args.failed &&
                    sx_redis_conn_send(node->conn, &command, NULL, false, false, on_pong, node, NULL) == STRATA_OK;
    sx_command_deinit(&command);
}

/* ---- the step ---- */

static bool is_wanted(const sx_foreign_node *node) {
    for (uint32_t w = 0; w < SX_FOREIGN_WORDS; w++)
        if (sx_foreign_owns(node->foreign, node, w)) return true;
    return false;
}

/* When to look again although nothing happens. */
static int64_t next_step_ns(const sx_foreign_node *node, int64_t now_ns) {
    int64_t next_ns = now_ns + sx_trust_max_staleness_ns(node->foreign->trust) / 5;
    if (node->conn == NULL && node->open_ns > now_ns) next_ns = node->open_ns;
    if (node->tracking && !node->beating && node->next_ns < next_ns) next_ns = node->next_ns;
    if (node->lease_ns != INT64_MIN && node->lease_ns < next_ns) next_ns = node->lease_ns;
    return next_ns > now_ns ? next_ns : now_ns;
}

void sx_foreign_node_step(sx_foreign_node *node) {
    sx_foreign *foreign = node->foreign;
    assert(sx_loop_is_current(foreign->loop));
    if (foreign->stopping || node->closing) return; /* on_closed goes on */
    int64_t now_ns = sx_loop_now_ns(foreign->loop);
    bool wanted = is_wanted(node);
    uint64_t ends;
    bool trusted = sx_trust_node_lease_on_loop(foreign->trust, node->record, &ends) > now_ns;
    if (node->conn == NULL) {
        if (!wanted) return;
        if (trusted && now_ns >= node->open_ns) open_conn(node, now_ns);
    } else {
        const char *fault = wanted ? fault_of(node, now_ns) : "the node owns no slot any more";
        if (fault != NULL) {
            sx_foreign_node_close(node, STRATA_E_UNAVAILABLE, fault);
            return;
        }
        if (node->ready && !node->asked && trusted) {
            node->trust_ends = ends;
            track(node);
        }
        beat(node, now_ns);
    }
    if (!node->closing) sx_loop_timer_set(foreign->loop, &node->timer, next_step_ns(node, now_ns));
}
