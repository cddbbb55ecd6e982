/* SPDX-License-Identifier: Apache-2.0 */
/* A request's way: to the slot's owner, after redirects, back to whoever asked; never past its deadline. */
#include "l2/redis/cluster_private.h"

#include <assert.h>

#include <strata/status.h>

#include "core/memory/atomic.h"

enum { REQUEST_IDLE, REQUEST_WAITING_MAP, REQUEST_WAITING_PEER, REQUEST_GATHERED, REQUEST_SENT, REQUEST_ENDING };
#define NEAR_NS (150 * SX_NS_PER_MS)

enum { COMMAND_KEEP = 1024 };

static sx_redis_peer *peer_of(const sx_redis_request *request) { return (sx_redis_peer *)request->node; }

/* ---- queues ---- */

/* What a request holds in memory while it waits, but for its structure: what is encoded later is held elsewhere. */
static size_t held(const sx_redis_request *request) {
    size_t size = request->command.args.size;
    return request->encode != NULL && request->held > size ? request->held : size;
}

void sx_redis_queue_add(sx_redis_queue *queue, sx_redis_request *request) {
    request->next = NULL;
    request->previous = queue->last;
    *(queue->last == NULL ? &queue->first : &queue->last->next) = request;
    queue->last = request;
    queue->ops++;
    queue->bytes += held(request);
}

void sx_redis_queue_remove(sx_redis_queue *queue, sx_redis_request *request) {
    *(request->previous == NULL ? &queue->first : &request->previous->next) = request->next;
    *(request->next == NULL ? &queue->last : &request->next->previous) = request->previous;
    request->next = request->previous = NULL;
    queue->ops--;
    queue->bytes -= held(request); /* encode is not called while it waits */
}

static bool has_room(const sx_redis_cluster *cluster, const sx_redis_queue *queue, const sx_redis_request *request) {
    const sx_redis_settings *settings = cluster->settings;
    if (queue->ops >= settings->queue_ops_max) return false;
    size_t size = held(request);
    return queue->bytes == 0 || (size <= settings->queue_bytes_max && queue->bytes <= settings->queue_bytes_max - size);
}

/* ---- ends ---- */

static void finish(sx_redis_request *request, sx_redis_outcome outcome, const sx_resp *reply) {
    sx_redis_cluster *cluster = request->cluster;
    sx_loop_timer_cancel(cluster->loop, &request->timer);
    request->state = REQUEST_IDLE;
    request->conn = NULL;
    if (sx_redis_is_timeout(outcome)) {
        sx_redis_cluster_note(cluster, SX_REDIS_METRIC_TIMEOUTS, 1);
    }
    request->done(request, outcome, reply);
}

/* For where done must not be called: in submit, and wherever more is to be done with the queues. */
static void end_soon(sx_redis_request *request, sx_redis_outcome outcome) {
    sx_loop_timer_cancel(request->cluster->loop, &request->timer);
    request->state = REQUEST_ENDING;
    request->outcome = (uint8_t)outcome;
    sx_redis_queue_add(&request->cluster->ending, request);
    sx_redis_cluster_wake(request->cluster);
}

void sx_redis_requests_end_due(sx_redis_cluster *cluster) {
    uint32_t count = cluster->ending.ops; /* what done submits and fails comes with the next task */
    for (; count > 0 && cluster->ending.first != NULL; count--) {
        sx_redis_request *request = cluster->ending.first;
        sx_redis_queue_remove(&cluster->ending, request);
        finish(request, (sx_redis_outcome)request->outcome, NULL);
    }
    if (cluster->ending.first != NULL) sx_redis_cluster_wake(cluster);
}

void sx_redis_queue_end(sx_redis_queue *queue, sx_redis_outcome outcome) {
    while (queue->first != NULL) {
        sx_redis_request *request = queue->first;
        sx_redis_queue_remove(queue, request);
        end_soon(request, outcome);
    }
}

static void deadline_passed(sx_timer *timer) {
    sx_redis_request *request = (sx_redis_request *)(void *)((char *)timer - offsetof(sx_redis_request, timer));
    sx_redis_cluster *cluster = request->cluster;
    sx_redis_outcome outcome = SX_REDIS_TIMEOUT_UNTRIED;
    if (request->state == REQUEST_WAITING_MAP) {
        sx_redis_queue_remove(&cluster->waiting, request);
    } else if (request->state == REQUEST_WAITING_PEER) {
        sx_redis_queue_remove(&peer_of(request)->waiting, request);
        if (peer_of(request)->conn != NULL) outcome = SX_REDIS_TIMEOUT_UNSENT;
    } else {
        assert(request->state == REQUEST_SENT);
        bool sent = request->group != NULL ? sx_redis_group_forget(request)
                                           : sx_redis_conn_forget(request->conn, request->ticket);
        if (sent) outcome = SX_REDIS_TIMEOUT_SENT;
        else outcome = SX_REDIS_TIMEOUT_UNSENT;
        if (request->conn == peer_of(request)->bulk) sx_redis_bulk_note_timeout(peer_of(request));
        else sx_redis_peer_note_timeout(peer_of(request));
    }
    finish(request, outcome, NULL);
}

/* ---- replies ---- */

static void dispatch_to(sx_redis_request *request, sx_redis_peer *peer);
static void on_reply(void *context, int32_t status, const sx_resp *reply);

void sx_redis_request_sent(sx_redis_request *request, sx_redis_conn *conn, int32_t status) {
    if (SX_UNLIKELY(status != STRATA_OK)) {
        end_soon(request, status == STRATA_E_OVERLOADED ? SX_REDIS_OVERLOADED
                          : status == STRATA_E_NOMEM    ? SX_REDIS_NOMEM
                                                        : SX_REDIS_UNREACHABLE);
        return;
    }
    request->conn = conn;
    request->state = REQUEST_SENT;
}

void sx_redis_request_send(sx_redis_request *request, sx_redis_peer *peer) {
    sx_redis_groups_send_writes(request->cluster, request->slot);
    bool made_anew = request->encode != NULL && request->command.args.size == 0;
    if (request->encode != NULL) request->encode(request, &peer->node);
    sx_redis_how how = {.read_only = request->read_only, .asking = (request->flags & SX_REDIS_REQUEST_ASKING) != 0,
                        .eval = (request->flags & SX_REDIS_REQUEST_EVAL) != 0};
    sx_redis_conn *bulk = SX_UNLIKELY(request->bulk) ? sx_redis_bulk_conn(peer) : NULL;
    sx_redis_conn *conn = bulk != NULL ? bulk : peer->conn;
    int32_t status = sx_redis_conn_send_how(conn, &request->command, request->script, how, on_reply, request,
                                            &request->ticket);
    sx_redis_request_sent(request, conn, status);
    if (SX_UNLIKELY(status != STRATA_OK)) return;
    if (made_anew) sx_buf_clear(&request->command.args, COMMAND_KEEP); /* as it will be for the next attempt */
    if (bulk != NULL) sx_redis_cluster_note(request->cluster, SX_REDIS_METRIC_BULK, 1);
    sx_redis_cluster_note(request->cluster, SX_REDIS_METRIC_COMMANDS, 1);
}

static void redirect(sx_redis_request *request, bool asking, uint16_t slot, const sx_redis_address *address) {
    sx_redis_cluster *cluster = request->cluster;
    sx_redis_cluster_note(cluster, asking ? SX_REDIS_METRIC_ASK : SX_REDIS_METRIC_MOVED, 1);
    if (cluster->events.on_redirect != NULL) cluster->events.on_redirect(cluster->events.context, slot, asking);
    sx_redis_peer *peer = sx_redis_peer_at(cluster, address);
    if (peer == NULL) {
        end_soon(request, SX_REDIS_NOMEM);
        return;
    }
    request->flags = (uint8_t)((request->flags & ~(SX_REDIS_REQUEST_ASKING | SX_REDIS_REQUEST_EVAL | SX_REDIS_REQUEST_ALONE)) |
                               (asking ? SX_REDIS_REQUEST_ASKING : 0));
    bool too_many = ++request->redirects > SX_REDIS_REDIRECTS_MAX;
    if (too_many) {
        end_soon(request, SX_REDIS_REDIRECTS);
    } else {
        dispatch_to(request, peer);
    }
    if (!asking) sx_redis_map_moved(cluster, slot, peer);
}

static void on_error_reply(sx_redis_request *request, const sx_resp *reply) {
    sx_redis_cluster *cluster = request->cluster;
    sx_redis_peer *peer = peer_of(request);
    bool asking;
    uint16_t slot;
    sx_redis_address address;
    if (cluster->is_cluster && sx_redis_redirect_read(reply, peer->node.address.host, &asking, &slot, &address)) {
        if (cluster->stopping) {
            finish(request, SX_REDIS_CLOSED, NULL);
        } else {
            sx_redis_nat_apply(cluster, &address);
            redirect(request, asking, slot, &address);
        }
        return;
    }
    if (request->script != NULL && (request->flags & SX_REDIS_REQUEST_EVAL) == 0 && sx_redis_error_begins(reply, "NOSCRIPT")) {
        sx_redis_cluster_note(cluster, SX_REDIS_METRIC_SCRIPT_RELOADS, 1);
        request->flags |= SX_REDIS_REQUEST_EVAL;
        dispatch_to(request, peer);
        return;
    }
    sx_redis_outcome outcome = sx_redis_outcome_of_error(reply);
    if (outcome == SX_REDIS_READONLY || outcome == SX_REDIS_MASTERDOWN || outcome == SX_REDIS_CLUSTERDOWN) {
        sx_redis_refresh_soon(cluster);
    }
    finish(request, outcome, reply);
}

void sx_redis_request_reply(sx_redis_request *request, int32_t status, const sx_resp *reply) {
    assert(request->state == REQUEST_SENT);
    request->state = REQUEST_IDLE;
    if (SX_UNLIKELY(status != STRATA_OK)) {
        bool stopping = request->cluster->stopping;
        finish(request, status == STRATA_E_UNKNOWN_OUTCOME ? SX_REDIS_LOST
                        : stopping                         ? SX_REDIS_CLOSED
                                                           : SX_REDIS_UNREACHABLE, NULL);
        return;
    }
    request->identity = sx_redis_conn_identity(request->conn)->token;
    if (SX_UNLIKELY(reply == NULL)) {
        finish(request, SX_REDIS_ERROR, NULL);
    } else if (SX_UNLIKELY(reply->type == SX_RESP_ERROR)) {
        on_error_reply(request, reply);
    } else {
        finish(request, SX_REDIS_OK, reply);
    }
}

static void on_reply(void *context, int32_t status, const sx_resp *reply) {
    sx_redis_request_reply(context, status, reply);
}

void sx_redis_request_again(sx_redis_request *request, sx_redis_peer *peer, uint8_t flags) {
    request->flags |= flags;
    request->state = REQUEST_IDLE;
    dispatch_to(request, peer);
}

/* ---- finding the way ---- */

static void dispatch_to(sx_redis_request *request, sx_redis_peer *peer) {
    sx_redis_cluster *cluster = request->cluster;
    request->node = &peer->node;
    /* So no timer finds it gathered, or written to a connection and not yet flushed: both end with the turn, and timers of what
       was not due then come later. */
    if (SX_UNLIKELY(request->deadline_ns <= sx_loop_recent_ns(cluster->loop))) {
        end_soon(request, SX_REDIS_TIMEOUT_UNTRIED);
        return;
    }
    if (SX_LIKELY(peer->conn != NULL && sx_redis_conn_is_ready(peer->conn))) {
        if (request->group_kind == NULL || !sx_redis_group_add(request, peer)) sx_redis_request_send(request, peer);
        else request->state = REQUEST_GATHERED;
        return;
    }
    if (peer->conn == NULL && peer->failing) { /* between attempts: the next is waited for where it is near */
        sx_redis_peer_hurry(peer);
        sx_redis_refresh_soon(cluster);
    }
    if (peer->conn == NULL && peer->failing && peer->backoff.due_ns - sx_loop_now_ns(cluster->loop) > NEAR_NS) {
        end_soon(request, SX_REDIS_BACKING_OFF);
        return;
    }
    if (!has_room(cluster, &peer->waiting, request)) {
        end_soon(request, SX_REDIS_OVERLOADED);
        return;
    }
    request->state = REQUEST_WAITING_PEER;
    sx_redis_queue_add(&peer->waiting, request);
    sx_redis_peer_connect(peer);
}

static void dispatch(sx_redis_request *request) {
    sx_redis_cluster *cluster = request->cluster;
    if (SX_UNLIKELY(!cluster->has_map)) {
        if (!has_room(cluster, &cluster->waiting, request)) {
            end_soon(request, SX_REDIS_OVERLOADED);
            return;
        }
        request->state = REQUEST_WAITING_MAP;
        sx_redis_queue_add(&cluster->waiting, request);
        return;
    }
    uint16_t owner = cluster->owner[request->slot];
    if (SX_UNLIKELY(owner == 0)) {
        sx_redis_refresh_soon(cluster);
        end_soon(request, SX_REDIS_NO_OWNER);
        return;
    }
    dispatch_to(request, cluster->peers[owner - 1]);
}

void sx_redis_queue_dispatch(sx_redis_cluster *cluster, sx_redis_queue *queue) {
    (void)cluster;
    uint32_t count = queue->ops; /* those that come back to this queue are not met again */
    for (; count > 0 && queue->first != NULL; count--) {
        sx_redis_request *request = queue->first;
        sx_redis_peer *peer = request->state == REQUEST_WAITING_PEER ? peer_of(request) : NULL;
        sx_redis_queue_remove(queue, request);
        if (peer != NULL) {
            dispatch_to(request, peer); /* also what was redirected there */
        } else {
            dispatch(request);
        }
    }
}

void sx_redis_queue_reroute(sx_redis_peer *peer) {
    sx_redis_cluster *cluster = peer->cluster;
    uint32_t count = peer->waiting.ops;
    sx_redis_request *next = peer->waiting.first;
    for (; count > 0 && next != NULL; count--) {
        sx_redis_request *request = next;
        next = request->next;
        if (cluster->owner[request->slot] == peer->node.index + 1 || (request->flags & SX_REDIS_REQUEST_ASKING) != 0) continue;
        sx_redis_queue_remove(&peer->waiting, request);
        dispatch(request);
    }
}

void sx_redis_cluster_submit(sx_redis_cluster *cluster, sx_redis_request *request) {
    assert(sx_loop_is_current(cluster->loop));
    assert(request->slot < SX_SLOTS && request->done != NULL);
    request->cluster = cluster;
    request->identity = 0;
    request->node = NULL;
    request->conn = NULL;
    request->group = NULL;
    request->next = request->previous = NULL;
    request->redirects = 0;
    request->flags = 0;
    request->state = REQUEST_IDLE;
    memset(&request->timer, 0, sizeof request->timer);
    request->timer.fire_on_loop = deadline_passed;
    if (SX_UNLIKELY(cluster->stopping)) {
        end_soon(request, SX_REDIS_CLOSED);
        return;
    }
    sx_loop_timer_set(cluster->loop, &request->timer, request->deadline_ns);
    dispatch(request);
}
