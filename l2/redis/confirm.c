/* SPDX-License-Identifier: Apache-2.0 */
/* Asking another primary whether a node still owns what our map gives it. */
#include "l2/redis/cluster_private.h"

#include <strata/status.h>

enum { TRIES = 3 };

static void end(sx_redis_confirm *confirm, int32_t status) {
    sx_redis_cluster *cluster = confirm->cluster;
    sx_loop_timer_cancel(cluster->loop, &confirm->timer);
    if (confirm->conn != NULL) (void)sx_redis_conn_forget(confirm->conn, confirm->ticket);
    confirm->conn = NULL;
    confirm->status = status;
    confirm->next = cluster->confirms_ending;
    cluster->confirms_ending = confirm;
    sx_redis_cluster_wake(cluster);
}

void sx_redis_confirms_end_due(sx_redis_cluster *cluster) {
    sx_redis_confirm *confirm = cluster->confirms_ending;
    cluster->confirms_ending = NULL;
    while (confirm != NULL) {
        sx_redis_confirm copy = *confirm;
        confirm->busy = false;
        if (!copy.embedded) sx_release(cluster->settings->alloc, confirm, sizeof *confirm);
        confirm = copy.next;
        copy.fn(copy.context, copy.status);
    }
}

static void too_late(sx_timer *timer) {
    end((sx_redis_confirm *)(void *)((char *)timer - offsetof(sx_redis_confirm, timer)), STRATA_E_UNAVAILABLE);
}

static void ask_one(sx_redis_confirm *confirm);

static void answered(void *context, int32_t status, const sx_resp *reply) {
    sx_redis_confirm *confirm = context;
    sx_redis_cluster *cluster = confirm->cluster;
    confirm->conn = NULL;
    if (status != STRATA_OK || reply->type != SX_RESP_STRING) {
        ask_one(confirm);
        return;
    }
    uint16_t owned_by = (uint16_t)(confirm->subject->node.index + 1);
    bool yes = sx_redis_nodes_confirm(reply->text, reply->size, confirm->subject->node.id, cluster->owner, owned_by);
    if (!yes) sx_redis_refresh_soon(cluster);
    end(confirm, yes ? STRATA_OK : STRATA_E_REFUSED);
}

static bool has_other_primary(const sx_redis_cluster *cluster, const sx_redis_peer *subject) {
    for (uint32_t i = 0; i < cluster->peer_count; i++) {
        if (cluster->peers[i] != subject && cluster->peers[i]->node.primary) return true;
    }
    return false;
}

static void ask_one(sx_redis_confirm *confirm) {
    sx_redis_cluster *cluster = confirm->cluster;
    sx_redis_peer *peer = sx_redis_peer_random_ready(cluster, confirm->subject, true);
    if (cluster->stopping || peer == NULL || confirm->tries++ >= TRIES) {
        end(confirm, STRATA_E_UNAVAILABLE);
        return;
    }
    sx_command command;
    sx_command_init(&command, cluster->settings->alloc);
    sx_command_text(&command, "CLUSTER");
    sx_command_text(&command, "NODES");
    int32_t status =
        sx_redis_conn_send(peer->conn, &command, NULL, true, false, answered, confirm, &confirm->ticket);
    sx_command_deinit(&command);
    if (status == STRATA_OK) {
        confirm->conn = peer->conn;
    } else {
        end(confirm, STRATA_E_UNAVAILABLE);
    }
}

void sx_redis_cluster_confirm(sx_redis_cluster *cluster, sx_redis_node *node, int64_t deadline_ns,
                              void (*fn)(void *context, int32_t status), void *context) {
    sx_redis_peer *subject = (sx_redis_peer *)node;
    sx_redis_confirm *confirm = &subject->confirm;
    if (confirm->busy) {
        confirm = sx_allocate_zero(cluster->settings->alloc, sizeof *confirm);
        if (confirm == NULL) { /* the second at once about one node, and no memory: the only case inside the call */
            fn(context, STRATA_E_UNAVAILABLE);
            return;
        }
    }
    memset(confirm, 0, sizeof *confirm);
    confirm->cluster = cluster;
    confirm->subject = subject;
    confirm->fn = fn;
    confirm->context = context;
    confirm->busy = true;
    confirm->embedded = confirm == &subject->confirm;
    confirm->timer.fire_on_loop = too_late;
    if (cluster->stopping || !cluster->has_map) {
        end(confirm, STRATA_E_UNAVAILABLE);
    } else if (!cluster->is_cluster || !has_other_primary(cluster, subject)) {
        end(confirm, STRATA_OK);
    } else {
        sx_loop_timer_set(cluster->loop, &confirm->timer, deadline_ns);
        ask_one(confirm);
    }
}
