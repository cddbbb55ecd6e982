/* SPDX-License-Identifier: Apache-2.0 */
/* Writes that are answered with ASK: what executes at the importing node is published where nobody listens yet, so the
   partition's owner publishes UNTRUST first.

   The command for a node that is not the slot's owner is held back: it is encoded with a deadline long past, which the
   script refuses. Its writer then has UNTRUST published, and sends the write again. Nobody regains trust in between: ASK
   means that the counter has left the owner. What was told is good for the next attempt only. */
#include "core/flow/engine.h"

static const sx_redis_node *owner_of(const strata *engine, uint32_t partition) {
    return sx_redis_cluster_owner(engine->cluster, engine->tags->tags[partition].slot);
}

void sx_asked_encode(strata *engine, sx_asked *asked, const sx_redis_node *node, sx_publish_write *write) {
    const sx_redis_node *owner = owner_of(engine, write->key.partition);
    asked->held_back = false;
    if (SX_BROKEN(untrust_told)) return;
    if (node == owner) {
        if (asked->used) asked->told = NULL;
        asked->used = true;
        return;
    }
    if (owner != NULL && asked->told == owner) return;
    asked->held_back = true;
    write->deadline_ms = SX_LONG_PAST_MS;
}

bool sx_asked_must_tell(const strata *engine, const sx_store_op *op, uint32_t partition) {
    return owner_of(engine, partition) != op->request.node; /* else it was MOVED, and the map has followed */
}

void sx_asked_tell_on_loop(strata *engine, sx_store_op *op, uint32_t partition,
                           void (*done)(sx_store_op *op, int32_t status, const sx_resp *reply)) {
    sx_counter_add_shared(&engine->counters[SX_FLOW_METRIC_UNTRUSTS], 1);
    op->request.script = NULL;
    op->request.encode = NULL;
    op->write = false; /* told twice does no harm */
    op->done = done;
    sx_command_clear(&op->request.command);
    sx_publish_encode_untrust(&engine->publish, partition, &op->request.command);
    sx_store_submit_on_loop(engine->store, op);
}

void sx_asked_told(const strata *engine, sx_asked *asked, uint32_t partition) {
    asked->told = owner_of(engine, partition);
    asked->used = false;
}
