/* SPDX-License-Identifier: Apache-2.0 */
/* Groups: requests of one slot and kind that come in one turn of the loop go to the server as one command.

   A group is open until the turn's end, right before its connection is written out: nothing waits for it, and what is
   alone by then goes as it would have gone without. The reply is taken apart again. What a server answers to the whole
   (MOVED, a closed connection) is each member's answer; what only a group is answered with (TRYAGAIN, for instance,
   where a slot moves) has its members sent one by one. */
#include "l2/redis/cluster_private.h"

#include <assert.h>

#include <strata/status.h>

#include "core/memory/atomic.h"

#define COMMAND_KEEP ((size_t)64 * 1024)

/* owner: loop */
struct sx_redis_group {
    struct sx_redis_group *next; /* among the spare ones */
    sx_redis_peer *peer;
    const sx_redis_group_kind *kind;
    uint64_t tag;
    uint16_t slot;
    uint32_t count, left; /* members ever; those still there, once it is sent */
    size_t bytes;
    bool eval;
    sx_redis_conn *conn;
    uint64_t ticket;
    sx_redis_request *members[SX_REDIS_GROUP_MAX]; /* in the order of their coming; NULL: its deadline passed */
};

/* Writes and reads of a slot have places of their own: reads may change places with what is beside them. */
static uint32_t place_of(uint16_t slot, bool writes) {
    uint32_t mixed = (uint32_t)slot ^ ((uint32_t)slot >> 6);
    return (mixed & (SX_REDIS_OPEN_GROUPS / 2 - 1)) * 2 + writes;
}

static void recycle(sx_redis_cluster *cluster, sx_redis_group *group) {
    group->next = cluster->spare_groups;
    cluster->spare_groups = group;
}

/* ---- what comes back ---- */

/* Whether each member could be answered otherwise than the group is. */
static bool must_split(const sx_redis_group *group, const sx_resp *error) {
    sx_redis_outcome outcome = sx_redis_outcome_of_error(error);
    if (outcome == SX_REDIS_NOPERM && group->kind->script == NULL) group->peer->groups_refused = true;
    return outcome == SX_REDIS_TRYAGAIN || (outcome == SX_REDIS_NOPERM && group->kind->script == NULL);
}

static void on_group_reply(void *context, int32_t status, const sx_resp *reply) {
    sx_redis_group *group = context;
    sx_redis_cluster *cluster = group->peer->cluster;
    bool whole = status != STRATA_OK || reply->type == SX_RESP_ERROR;
    uint8_t again = 0;
    if (status == STRATA_OK && whole && must_split(group, reply)) again = SX_REDIS_REQUEST_ALONE;
    if (status == STRATA_OK && whole && group->kind->script != NULL && !group->eval && sx_redis_error_begins(reply, "NOSCRIPT")) {
        again = SX_REDIS_REQUEST_EVAL;
        sx_redis_cluster_note(cluster, SX_REDIS_METRIC_SCRIPT_RELOADS, 1);
    }
    for (uint32_t i = 0; i < group->count; i++) {
        sx_redis_request *request = group->members[i];
        sx_resp scratch[3];
        if (request == NULL) continue;
        request->group = NULL;
        if (again != 0) sx_redis_request_again(request, group->peer, again);
        else if (whole) sx_redis_request_reply(request, status, reply);
        else sx_redis_request_reply(request, STRATA_OK, group->kind->part(reply, group->count, i, scratch));
    }
    recycle(cluster, group);
}

/* ---- sending ---- */

static void transmit(sx_redis_group *group) {
    sx_redis_peer *peer = group->peer;
    sx_redis_cluster *cluster = peer->cluster;
    sx_command *command = &cluster->group_command;
    sx_redis_how how = {.read_only = group->members[0]->read_only, .parts = group->count};
    for (uint32_t i = 0; i < group->count; i++)
        if ((group->members[i]->flags & SX_REDIS_REQUEST_EVAL) != 0) how.eval = true;
    group->eval = how.eval;
    group->kind->encode(group->members, group->count, &peer->node, command);
    group->conn = peer->conn;
    group->left = group->count;
    int32_t status = sx_redis_conn_send_how(peer->conn, command, group->kind->script, how, on_group_reply, group,
                                            &group->ticket);
    command->argc = 0;
    sx_buf_clear(&command->args, COMMAND_KEEP);
    for (uint32_t i = 0; i < group->count; i++) sx_redis_request_sent(group->members[i], peer->conn, status);
    if (SX_UNLIKELY(status != STRATA_OK)) {
        for (uint32_t i = 0; i < group->count; i++) group->members[i]->group = NULL;
        recycle(cluster, group);
        return;
    }
    sx_redis_cluster_note(cluster, SX_REDIS_METRIC_COMMANDS, 1);
    sx_redis_cluster_note(cluster, SX_REDIS_METRIC_GROUPED, group->count);
}

static void close_place(sx_redis_cluster *cluster, uint32_t place) {
    sx_redis_group *group = cluster->open_groups[place];
    cluster->open_places &= ~(UINT64_C(1) << place);
    cluster->open_groups[place] = NULL;
    bool ready = group->peer->conn != NULL && sx_redis_conn_is_ready(group->peer->conn);
    if (ready && group->count > 1) {
        transmit(group);
        return;
    }
    for (uint32_t i = 0; i < group->count; i++) {
        sx_redis_request *request = group->members[i];
        request->group = NULL;
        if (ready) sx_redis_request_send(request, group->peer);
        else sx_redis_request_again(request, group->peer, 0);
    }
    recycle(cluster, group);
}

void sx_redis_groups_send(sx_redis_cluster *cluster) {
    while (cluster->open_places != 0) close_place(cluster, (uint32_t)__builtin_ctzll(cluster->open_places));
}

static void turn_over(sx_turn_end *end) {
    sx_redis_groups_send((sx_redis_cluster *)(void *)((char *)end - offsetof(sx_redis_cluster, gather)));
}

void sx_redis_groups_send_writes(sx_redis_cluster *cluster, uint16_t slot) {
    uint32_t place = place_of(slot, true);
    const sx_redis_group *group = cluster->open_groups[place];
    if (SX_UNLIKELY(group != NULL) && group->slot == slot) close_place(cluster, place);
}

/* ---- gathering ---- */

static bool takes(const sx_redis_group *group, const sx_redis_peer *peer, const sx_redis_request *request) {
    if (group->peer != peer || group->slot != request->slot || group->kind != request->group_kind ||
        group->tag != request->group_tag || group->count >= group->kind->members_max ||
        group->bytes + request->weight > group->kind->bytes_max)
        return false;
    for (uint32_t i = 0; request->group_key != 0 && i < group->count; i++)
        if (group->members[i]->group_key == request->group_key) return false;
    return true;
}

static sx_redis_group *open_group(sx_redis_cluster *cluster, sx_redis_peer *peer, const sx_redis_request *request) {
    sx_redis_group *group = cluster->spare_groups;
    if (group != NULL) cluster->spare_groups = group->next;
    else group = sx_allocate(cluster->settings->alloc, sizeof *group);
    if (group == NULL) return NULL;
    group->peer = peer;
    group->kind = request->group_kind;
    group->tag = request->group_tag;
    group->slot = request->slot;
    group->count = 0;
    group->bytes = 0;
    return group;
}

bool sx_redis_group_add(sx_redis_request *request, sx_redis_peer *peer) {
    sx_redis_cluster *cluster = request->cluster;
    const sx_redis_group_kind *kind = request->group_kind;
    if ((request->flags & (SX_REDIS_REQUEST_ASKING | SX_REDIS_REQUEST_ALONE)) != 0 ||
        (kind->script == NULL && peer->groups_refused) || request->weight > kind->bytes_max)
        return false;
    uint32_t place = place_of(request->slot, kind->script != NULL);
    sx_redis_group *group = cluster->open_groups[place];
    if (group != NULL && !takes(group, peer, request)) {
        close_place(cluster, place);
        group = NULL;
    }
    if (group == NULL) {
        group = open_group(cluster, peer, request);
        if (group == NULL) return false;
        cluster->open_groups[place] = group;
        cluster->open_places |= UINT64_C(1) << place;
        cluster->gather.run_on_loop = turn_over;
        sx_loop_turn_end_first(cluster->loop, &cluster->gather);
    }
    group->members[group->count++] = request;
    group->bytes += request->weight;
    request->group = group;
    return true;
}

static uint32_t index_of(const sx_redis_group *group, const sx_redis_request *request) {
    uint32_t i = 0;
    while (group->members[i] != request) i++;
    return i;
}

bool sx_redis_group_forget(sx_redis_request *request) {
    sx_redis_group *group = request->group;
    group->members[index_of(group, request)] = NULL;
    request->group = NULL;
    if (--group->left > 0) return true; /* the others' bytes are its own */
    bool sent = sx_redis_conn_forget(group->conn, group->ticket);
    recycle(group->peer->cluster, group);
    return sent;
}

void sx_redis_groups_free(sx_redis_cluster *cluster) {
    assert(cluster->open_places == 0);
    sx_loop_turn_end_cancel(cluster->loop, &cluster->gather);
    for (sx_redis_group *group; (group = cluster->spare_groups) != NULL;) {
        cluster->spare_groups = group->next;
        sx_release(cluster->settings->alloc, group, sizeof *group);
    }
    sx_command_deinit(&cluster->group_command);
}
