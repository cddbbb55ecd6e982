/* SPDX-License-Identifier: Apache-2.0 */
/* An op and what it waits on know each other, under the op's stripe's lock, until one of them lets go: the work as it ends, or the op's
   session as it closes or cancels it. */
#include "core/flow/engine.h"

void sx_work_link(sx_work *work, sx_op *op) {
    assert(op->work == NULL && op->flight == NULL);
    work->op = op;
    op->work = work;
}

void sx_work_begin(sx_work *work, sx_op *op, bool sync, sx_op **out) {
    op->sync = sync;
    if (op->done == NULL && !sync) { /* nobody waits */
        sx_session_op_free(op);
        op = NULL;
    } else {
        sx_work_link(work, op);
    }
    *out = op;
}

sx_op *sx_work_take_locked(sx_work *work) {
    sx_op *op = work->op;
    work->op = NULL;
    if (op != NULL) op->work = NULL;
    return op;
}

sx_op *sx_work_take(strata *engine, sx_work *work, uint32_t stripe) {
    sx_flights_lock(engine->flights, stripe);
    sx_op *op = sx_work_take_locked(work);
    sx_flights_unlock(engine->flights, stripe);
    return op;
}

bool sx_op_leave_locked(sx_op *op) {
    sx_work *work = op->work;
    assert(sx_flights_is_locked(op->session->engine->flights, op->stripe));
    if (op->flight != NULL) {
        sx_flight_leave_locked(op);
        return true;
    }
    if (work == NULL || (work->leave_locked != NULL && !work->leave_locked(work))) return false;
    (void)sx_work_take_locked(work);
    return true;
}

int32_t sx_op_wait(sx_op *op) {
    sx_session_await(op->session, &op->arrived);
    int32_t status = op->status;
    sx_session_op_free(op);
    return status;
}
