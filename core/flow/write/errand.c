/* SPDX-License-Identifier: Apache-2.0 */
/* An errand from the call to its end. */
#include "core/flow/errand.h"

#include <string.h>

static int64_t cost_of(const sx_errand *errand) { return 2 * SX_OP_COST + errand->key_size + errand->span_cost; }

static void run_on_loop(sx_task *task) {
    sx_errand *errand = SX_CONTAINER(task, sx_errand, task);
    strata *engine = errand->engine;
    int32_t refused = atomic_load_explicit(&engine->refused, memory_order_relaxed); /* relaxed: a status */
    if (engine->stopping) refused = STRATA_E_CLOSED;
    if (refused != STRATA_OK) sx_errand_end_on_loop(errand, refused, NULL, 0);
    else errand->send_on_loop(errand);
}

int32_t sx_errand_start(const sx_errand_call *call, const sx_lifetime *life, sx_op **out) {
    strata_session *session = call->session;
    strata *engine = session->engine;
    if (!sx_pending_fits(engine, 2 * SX_OP_COST + (int64_t)call->key.size)) return STRATA_E_OVERLOADED;
    sx_errand *errand = sx_allocate_zero(&engine->alloc, sizeof *errand + call->key.size);
    sx_op *op = errand == NULL ? NULL : sx_session_op(session, SX_OP_ERRAND, call->options, call->done, call->user);
    if (op == NULL) {
        if (errand != NULL) sx_release(&engine->alloc, errand, sizeof *errand + call->key.size);
        return STRATA_E_NOMEM;
    }
    errand->task.run_on_loop = run_on_loop;
    errand->engine = engine;
    errand->ns = call->ns;
    errand->send_on_loop = call->send_on_loop;
    errand->hash = sx_l1_hash(&engine->secret, call->ns->index, call->key.data, call->key.size);
    errand->partition = sx_key_partition(call->key.data, call->key.size, engine->partitions);
    errand->deadline_ns = op->deadline_ns;
    errand->change = call->change;
    errand->touches = call->touches;
    errand->life = *life;
    errand->key_size = (uint32_t)call->key.size;
    memcpy(errand->key, call->key.data, call->key.size);
    sx_command_init(&errand->store_op.request.command, &engine->alloc);
    op->ns = call->ns;
    op->stripe = sx_flight_stripe(errand->hash);
    sx_trace_scope scope;
    sx_trace_enter(session, call->options, &scope);
    if (sx_session_is_traced(session)) op->span = sx_trace_call(session, &(sx_span_about){call->name, call->ns, errand->hash, call->key});
    sx_trace_leave(session, &scope);
    errand->span_cost = sx_span_cost(op->span);
    sx_work_begin(&errand->work, op, call->sync, out);
    sx_pending_begin(engine, cost_of(errand));
    sx_loop_post(engine->loop, &errand->task);
    return STRATA_PENDING;
}

int32_t sx_errand_wait(strata_session *session, sx_op *op, strata_result *out) {
    sx_session_await(session, &op->arrived);
    int32_t status = op->status;
    if (out != NULL) (void)sx_result_from_op(session->engine, out, op);
    sx_session_op_free(op);
    return status;
}

void sx_errand_end_on_loop(sx_errand *errand, int32_t status, sx_item *item, uint64_t n) {
    strata *engine = errand->engine;
    sx_pending_end(engine, cost_of(errand));
    sx_op *op = sx_work_take(engine, &errand->work, sx_flight_stripe(errand->hash));
    if (op != NULL && item != NULL) sx_op_complete(op, status, STRATA_FROM_L2, item);
    else if (op != NULL) sx_op_complete_version(op, status, n, 0);
    if (errand->item != NULL) sx_item_release(errand->item);
    sx_command_deinit(&errand->store_op.request.command);
    sx_release(&engine->alloc, errand, sizeof *errand + errand->key_size);
}

sx_publish_key sx_errand_publish_key(const sx_errand *errand, sx_publish_what what) {
    sx_publish_key key = {errand->partition, errand->ns->name, errand->ns->name_size, errand->ns->version,
                          errand->key,       errand->key_size, what};
    return key;
}

int64_t sx_errand_deadline_ms(const sx_errand *errand, const sx_redis_node *node) {
    strata *engine = errand->engine;
    return sx_redis_cluster_deadline_ms(engine->cluster, node, sx_loop_now_ns(engine->loop), errand->deadline_ns);
}

void sx_errand_submit_on_loop(sx_errand *errand, const sx_redis_script *script, bool write,
                              void (*encode)(sx_redis_request *request, const sx_redis_node *node),
                              void (*done)(sx_store_op *op, int32_t status, const sx_resp *reply)) {
    strata *engine = errand->engine;
    sx_store_op *op = &errand->store_op;
    op->request.script = script;
    op->request.slot = engine->tags->tags[errand->partition].slot;
    op->request.deadline_ns = errand->deadline_ns;
    op->request.encode = encode;
    op->request.held = op->request.weight = (size_t)errand->key_size + SX_OP_COST;
    op->write = write;
    op->done = done;
    sx_store_submit_on_loop(engine->store, op);
}
