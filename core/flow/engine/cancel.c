/* SPDX-License-Identifier: Apache-2.0 */
/* Cancelling: operations that their caller gives up, while their session, and what they waited on, go on. */
#include "core/flow/engine.h"

/* The loader asked for the op may not have been started: then the loop takes it back, for another who waits or for good. */
static bool unasked_locked(sx_flight *flight) {
    bool unasked = flight->state == SX_FLIGHT_LOADING && flight->load != NULL && !flight->load->started && flight->asker == NULL;
    return unasked && sx_flight_want_post_locked(flight);
}

static bool cancel(sx_op *op) {
    strata *engine = op->session->engine;
    sx_flights_lock(engine->flights, op->stripe);
    sx_flight *flight = op->flight;
    bool ours = sx_op_leave_locked(op); /* else it has its answer */
    bool post = flight != NULL && unasked_locked(flight);
    if (flight != NULL) flight->cancelled = flight->waiters == NULL;
    sx_flights_unlock(engine->flights, op->stripe);
    if (!ours) return false;
    if (post) sx_loop_post(engine->loop, &flight->task); /* the op is pending, and so the loop there */
    (void)sx_counter_add_shared(op->ns == NULL ? &engine->counters[SX_FLOW_METRIC_CANCELLED] : &op->ns->stats->flow[SX_FLOW_METRIC_CANCELLED], 1);
    sx_op_complete(op, STRATA_E_CANCELLED, STRATA_FROM_NONE, NULL);
    return true;
}

int32_t strata_cancel(strata_session *session, uint64_t cancel_id) {
    if (session == NULL || cancel_id == 0) return STRATA_E_INVALID;
    if (sx_engine_forked(session->engine)) return STRATA_E_FORKED;
    int32_t ended = 0;
    for (sx_op *op = session->outstanding; op != NULL; op = op->out_next) ended += op->cancel_id == cancel_id && cancel(op);
    return ended;
}
