/* SPDX-License-Identifier: Apache-2.0 */
/* A flight's life on the loop: its rounds, its deadlines, who gets which answer, its end. */
#include <string.h>

#include "core/flow/engine.h"

/* ---- being known to the loop -------------------------------------------------------------------------------- */

static void activate(sx_flight *flight) {
    strata *engine = flight->engine;
    if (flight->active) return;
    flight->active = true;
    flight->active_previous = NULL;
    flight->active_next = engine->active_flights;
    if (engine->active_flights != NULL) engine->active_flights->active_previous = flight;
    engine->active_flights = flight;
}

static void flight_free(sx_flight *flight) {
    strata *engine = flight->engine;
    if (flight->active) {
        if (flight->active_previous != NULL) flight->active_previous->active_next = flight->active_next;
        else engine->active_flights = flight->active_next;
        if (flight->active_next != NULL) flight->active_next->active_previous = flight->active_previous;
    }
    sx_loop_timer_cancel(engine->loop, &flight->timer);
    if (flight->candidate != NULL) sx_item_release(flight->candidate);
    if (flight->loaded_item != NULL) sx_item_release(flight->loaded_item);
    sx_packed_deinit(&flight->loaded_packed);
    if (flight->judged != NULL) sx_item_release(flight->judged);
    if (flight->fallback != NULL) sx_item_release(flight->fallback);
    sx_aged_forget_on_loop(flight);
    sx_span_drop(flight->span);
    sx_release(&engine->alloc, flight->tags, flight->tags_room);
    flight->tags = NULL;
    sx_flight_recycle_on_loop(flight);
}

/* Nobody can join from here on. True where nothing points at it any more. */
static bool end_locked(sx_flight *flight) {
    assert(flight->waiters == NULL);
    sx_load_forget_locked(flight);
    sx_flight_remove_locked(flight);
    flight->state = SX_FLIGHT_DONE;
    return !flight->posted && !flight->in_store;
}

void sx_flight_end_on_loop(sx_flight *flight) {
    strata *engine = flight->engine;
    sx_flights_lock(engine->flights, flight->stripe);
    bool free = end_locked(flight);
    sx_flights_unlock(engine->flights, flight->stripe);
    if (free) flight_free(flight);
}

/* ---- answers ------------------------------------------------------------------------------------------------ */

/* Whether this round's result is new enough for op: it joined before the round asked, or the version shows it. */
static bool may_have(const sx_flight *flight, const sx_op *op, const sx_item *item) {
    if (op->join_seq <= flight->phase_seq || SX_BROKEN(join)) return true;
    return item != NULL && item->n != 0 && item->n >= op->join_min_n && flight->barrier <= flight->phase_seq;
}

sx_op *sx_flight_take_on_loop(sx_flight *flight, sx_flight_filter filter, const void *context) {
    sx_op *taken = NULL, **tail = &taken;
    sx_flights_lock(flight->engine->flights, flight->stripe);
    for (sx_op *op = flight->waiters, *next; op != NULL; op = next) {
        next = op->wait_next;
        if (!filter(flight, op, context)) continue;
        sx_flight_leave_locked(op);
        *tail = op;
        tail = &op->wait_next;
    }
    sx_flights_unlock(flight->engine->flights, flight->stripe);
    return taken;
}

static void complete_all(sx_op *ops, int32_t status, strata_source source, sx_item *item) {
    for (sx_op *next; ops != NULL; ops = next) {
        next = ops->wait_next;
        ops->wait_next = NULL;
        sx_op_complete(ops, status, source, item);
    }
}

/* What can't be answered: with a value past its end, where the policy allows it. */
static void complete_failed(sx_flight *flight, sx_op *ops, int32_t status) {
    complete_all(sx_aged_rescue_on_loop(flight, ops, status), status, STRATA_FROM_NONE, NULL);
}

typedef struct answer {
    sx_flight_whom whom;
    strata_source source;
    const sx_item *item;
} answer;

static bool answered(const sx_flight *flight, const sx_op *op, const void *context) {
    const answer *a = context;
    if (a->whom == SX_FLIGHT_READERS && op->loader != NULL) return false;
    if ((a->source == STRATA_FROM_L1 || a->source == STRATA_FROM_L2) && sx_aged_is_beyond_l2(op)) return false;
    return may_have(flight, op, a->item);
}

void sx_flight_answer_on_loop(sx_flight *flight, sx_flight_whom whom, int32_t status, strata_source source,
                              sx_item *item) {
    answer a = {whom, source, item};
    sx_op *ops = sx_flight_take_on_loop(flight, answered, &a);
    if (status < 0) complete_failed(flight, ops, status);
    else complete_all(ops, status, source, item);
}

static bool everyone(const sx_flight *flight, const sx_op *op, const void *context) {
    (void)flight, (void)op, (void)context;
    return true;
}

void sx_flight_fail_on_loop(sx_flight *flight, int32_t status) {
    complete_failed(flight, sx_flight_take_on_loop(flight, everyone, NULL), status);
    sx_flight_round_over_on_loop(flight);
}

void sx_flight_round_over_on_loop(sx_flight *flight) {
    strata *engine = flight->engine;
    sx_flights_lock(engine->flights, flight->stripe);
    bool again = flight->waiters != NULL;
    bool free = false;
    if (again) flight->state = SX_FLIGHT_NEW;
    else free = end_locked(flight);
    sx_flights_unlock(engine->flights, flight->stripe);
    if (!again) {
        if (free) flight_free(flight);
    } else if (engine->stopping) {
        sx_flight_fail_on_loop(flight, STRATA_E_CLOSED);
    } else {
        sx_counter_add_shared(&engine->counters[SX_FLOW_METRIC_RESTARTS], 1);
        sx_fetch_begin_on_loop(flight);
    }
}

/* ---- deadlines ---------------------------------------------------------------------------------------------- */

static bool is_due(const sx_flight *flight, const sx_op *op, const void *context) {
    (void)flight;
    return op->deadline_ns <= *(const int64_t *)context;
}

/* A load that was not started when its asker left is taken back, as is a refresh's that others wait for; one that never ends
   is given up. */
static void check_load(sx_flight *flight, int64_t now_ns) {
    strata *engine = flight->engine;
    bool take_back = false, give_up = false;
    sx_flights_lock(engine->flights, flight->stripe);
    if (flight->state == SX_FLIGHT_LOADING && flight->load != NULL) {
        take_back = (!flight->load->started && flight->asker == NULL) || sx_flight_idles_locked(flight);
        give_up = now_ns >= flight->load_deadline_ns;
        if (give_up) sx_load_keep_tags_locked(flight);
        if (take_back || give_up) sx_load_forget_locked(flight);
    }
    sx_flights_unlock(engine->flights, flight->stripe);
    if (!take_back && !give_up) return;
    int32_t status = give_up ? STRATA_E_TIMEOUT : sx_load_start_on_loop(flight);
    if (status == STRATA_OK) return;
    if (status != STRATA_MISS) { /* else only readers are left, who ask L2 again */
        sx_aged_failed_on_loop(flight);
        complete_failed(flight, sx_flight_take_on_loop(flight, everyone, NULL), status);
    }
    sx_load_abandon_on_loop(flight);
}

void sx_flight_give_up_on_loop(sx_flight *flight, int64_t deadline_ns, int32_t status) {
    complete_failed(flight, sx_flight_take_on_loop(flight, is_due, &deadline_ns), status);
}

static bool is_due_and_may_have(const sx_flight *flight, const sx_op *op, const void *context) {
    return is_due(flight, op, context) && may_have(flight, op, flight->loaded_item);
}

/* Answers those whose deadline has passed. Like its timer by what has been read: the answer to one whose time came later may lie in its socket, whatever the clock says. */
static void time_out(sx_flight *flight) {
    int64_t now_ns = sx_loop_read_ns(flight->engine->loop);
    if (flight->in_store && flight->loaded_item != NULL) { /* it is loaded, only L2 has not taken it yet */
        sx_op *served = sx_flight_take_on_loop(flight, is_due_and_may_have, &now_ns);
        if (served != NULL) {
            flight->shown = true;
            sx_load_replaces_on_loop(flight);
        }
        complete_all(served, STRATA_OK, STRATA_FROM_LOADER, flight->loaded_item);
    }
    complete_failed(flight, sx_flight_take_on_loop(flight, is_due, &now_ns), STRATA_E_TIMEOUT);
}

static void due_on_loop(sx_timer *timer) {
    sx_flight *flight = SX_CONTAINER(timer, sx_flight, timer);
    sx_aged_soft_timeout_on_loop(flight, sx_loop_read_ns(flight->engine->loop));
    time_out(flight);
    sx_flight_arm_on_loop(flight);
    sx_flights_lock(flight->engine->flights, flight->stripe);
    bool waiting = flight->state == SX_FLIGHT_WAITING;
    sx_flights_unlock(flight->engine->flights, flight->stripe);
    /* Either may free the flight. */
    if (waiting) sx_await_look_on_loop(flight);
    else check_load(flight, sx_loop_now_ns(flight->engine->loop));
}

void sx_flight_arm_on_loop(sx_flight *flight) {
    strata *engine = flight->engine;
    int64_t due_ns = INT64_MAX;
    sx_flights_lock(engine->flights, flight->stripe);
    for (const sx_op *op = flight->waiters; op != NULL; op = op->wait_next) {
        if (op->deadline_ns < due_ns) due_ns = op->deadline_ns;
        if (op->soft_ns < due_ns) due_ns = op->soft_ns;
    }
    flight->earliest_ns = due_ns;
    if (flight->state == SX_FLIGHT_LOADING && flight->load_deadline_ns < due_ns) due_ns = flight->load_deadline_ns;
    if (flight->state == SX_FLIGHT_WAITING && flight->wait_until_ns < due_ns) due_ns = flight->wait_until_ns;
    sx_flights_unlock(engine->flights, flight->stripe);
    if (due_ns == INT64_MAX) {
        sx_loop_timer_cancel(engine->loop, &flight->timer);
        return;
    }
    flight->timer.fire_on_loop = due_on_loop;
    sx_loop_timer_set(engine->loop, &flight->timer, due_ns);
}

/* ---- the task ----------------------------------------------------------------------------------------------- */

void sx_flight_run_on_loop(sx_task *task) {
    sx_flight *flight = SX_CONTAINER(task, sx_flight, task);
    strata *engine = flight->engine;
    assert(sx_loop_is_current(engine->loop));
    sx_flights_lock(engine->flights, flight->stripe);
    flight->posted = false;
    sx_flight_state state = flight->state;
    bool loaded = flight->loaded && state == SX_FLIGHT_LOADING;
    bool in_store = flight->in_store;
    sx_flights_unlock(engine->flights, flight->stripe);
    if (state == SX_FLIGHT_DONE) {
        if (!in_store) flight_free(flight);
        return;
    }
    activate(flight);
    if (engine->stopping && !in_store) {
        sx_flight_fail_on_loop(flight, STRATA_E_CLOSED);
        return;
    }
    sx_flight_arm_on_loop(flight);
    if (state == SX_FLIGHT_NEW) sx_fetch_begin_on_loop(flight);
    else if (state == SX_FLIGHT_WAITING) sx_await_look_on_loop(flight);
    else if (loaded) sx_load_loaded_on_loop(flight);
    else if (state == SX_FLIGHT_LOADING) check_load(flight, sx_loop_now_ns(engine->loop));
}

void sx_flight_cut_off_on_loop(strata *engine) {
    for (sx_flight *flight = engine->active_flights, *next; flight != NULL; flight = next) {
        next = flight->active_next;
        if (!flight->in_store) sx_flight_fail_on_loop(flight, STRATA_E_CLOSED); /* else its reply's failure ends it */
    }
}
