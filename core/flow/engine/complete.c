/* SPDX-License-Identifier: Apache-2.0 */
/* Completions: an operation's one answer, carried to its session or to a callback on the loop. */
#include "core/flow/engine.h"

static void deliver(sx_op *op) {
    strata_session *session = op->session;
    strata *engine = session->engine;
    if (op->undecided) sx_gather_decided(op);
    if (op->status == STRATA_E_TIMEOUT)
        (void)sx_counter_add_shared(op->ns == NULL ? &engine->counters[SX_FLOW_METRIC_TIMEOUTS] : &op->ns->stats->flow[SX_FLOW_METRIC_TIMEOUTS], 1);
    if (sx_loop_is_current(engine->loop)) {
        sx_stats_note_op_on_loop(op);
        sx_events_op_on_loop(op);
    }
    if (op->refresh && engine->executor.execute == NULL) /* [order: close-idle] */
        atomic_fetch_sub_explicit(&engine->idle, 1, memory_order_relaxed); /* relaxed: close reads it after pending */
    if (op->kind == SX_OP_GET || op->kind == SX_OP_LOAD) sx_pending_end(engine, sx_read_cost(op->tags_size) + sx_span_cost(op->span)); /* writes count themselves */
    sx_span_end(op->span, op->status, (strata_source)op->source);
    op->span = NULL;
    if ((op->flags & STRATA_ON_LOOP) != 0 && op->done != NULL && sx_loop_is_current(engine->loop)) {
        assert(sx_lock_none_held());
        strata_result result;
        (void)sx_result_from_op(engine, &result, op);
        op->done(op->user, &result);
        strata_result_release(session, &result);
        op->delivered = true;
    }
    if (sx_loop_is_current(engine->loop)) sx_session_post_on_loop(session, &op->letter);
    else sx_session_post(session, &op->letter);
}

void sx_op_complete(sx_op *op, int32_t status, strata_source source, sx_item *item) {
    assert(op->flight == NULL && op->work == NULL);
    op->status = status;
    op->source = (uint8_t)source;
    if (item != NULL && (item->flags & SX_ITEM_ABSENT) != 0) {
        op->status = STRATA_MISS;
        op->reason = STRATA_REASON_ABSENT;
        op->version_n = item->n;
        op->version_id = item->id;
    } else if (item != NULL && !op->refresh) {
        sx_item_retain(item);
        op->item = item;
    }
    deliver(op);
}

void sx_op_complete_version(sx_op *op, int32_t status, uint64_t n, uint64_t id) {
    assert(op->flight == NULL && op->work == NULL);
    op->status = status;
    op->source = STRATA_FROM_NONE;
    op->version_n = n;
    op->version_id = id;
    deliver(op);
}
