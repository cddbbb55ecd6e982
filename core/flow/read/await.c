/* SPDX-License-Identifier: Apache-2.0 */
/* Waiting for another process's load: its lease is marked as awaited, and FILLED, a write, or its end wakes the flight.

   Who waits relies on the partition's messages. A message can be lost only with the subscription, which ends the
   partition's trust: so while the term of trust in which the lease was marked lasts, nothing is asked; once it is over,
   or where there was none, L2 is asked again at growing intervals. */
#include "core/flow/engine.h"

#define BACKOFF_NS (10 * SX_NS_PER_MS)
#define BACKOFF_MAX_NS (200 * SX_NS_PER_MS)

/* How often to see whether trust still lasts; costs no request. */
#define LOOK_NS (250 * SX_NS_PER_MS)

static bool hears(const sx_flight *flight) {
    sx_trust_mark now = sx_trust_mark_on_loop(flight->engine->trust, flight->partition);
    return flight->mark.term != 0 && flight->mark.term == now.term;
}

/* When to look again. */
static int64_t next_look(sx_flight *flight, int64_t now_ns) {
    int64_t after_ns = LOOK_NS;
    if (!hears(flight)) {
        flight->backoff_ns = flight->backoff_ns == 0 ? BACKOFF_NS : 2 * flight->backoff_ns;
        if (flight->backoff_ns > BACKOFF_MAX_NS) flight->backoff_ns = BACKOFF_MAX_NS;
        after_ns = flight->backoff_ns;
    }
    return now_ns + after_ns < flight->lease_end_ns ? now_ns + after_ns : flight->lease_end_ns;
}

static void await_done(sx_store_op *op, int32_t status, const sx_resp *reply) {
    sx_flight *flight = SX_CONTAINER(op, sx_flight, store_op);
    strata *engine = flight->engine;
    if (!sx_fetch_back_on_loop(flight)) return;
    if (status != STRATA_OK) {
        sx_fetch_missed_on_loop(flight, status);
        return;
    }
    if (reply->type != SX_RESP_INTEGER) { /* it has ended meanwhile */
        sx_fetch_stored_on_loop(flight, reply);
        return;
    }
    int64_t now_ns = sx_loop_now_ns(engine->loop);
    int64_t left_ms = reply->integer >= 0 && reply->integer < engine->lease_ms ? reply->integer : engine->lease_ms;
    flight->lease_end_ns = now_ns + (left_ms + 1) * SX_NS_PER_MS;
    int64_t wait_until_ns = next_look(flight, now_ns);
    sx_flights_lock(engine->flights, flight->stripe);
    /* What woke us may have come on the subscription before this reply did. */
    bool wait = !flight->filled && flight->seq == flight->phase_seq && flight->waiters != NULL;
    if (wait) {
        flight->state = SX_FLIGHT_WAITING;
        flight->wait_until_ns = wait_until_ns;
    }
    sx_flights_unlock(engine->flights, flight->stripe);
    if (wait) sx_flight_arm_on_loop(flight);
    else sx_flight_round_over_on_loop(flight);
}

static void ask(sx_flight *flight) {
    strata *engine = flight->engine;
    bool wants_load;
    sx_flights_lock(engine->flights, flight->stripe);
    for (sx_op *op = flight->waiters; op != NULL; op = op->wait_next) {
        if (op->undecided) sx_gather_decided(op); /* somebody else loads it */
    }
    flight->state = SX_FLIGHT_FETCHING;
    flight->phase_seq = flight->seq;
    flight->filled = false;
    int64_t deadline_ns = sx_fetch_deadline_locked(flight, &wants_load);
    sx_flights_unlock(engine->flights, flight->stripe);
    sx_command *command = &flight->store_op.request.command;
    sx_publish_key key = sx_flight_publish_key(flight);
    sx_command_clear(command);
    sx_publish_encode_await(&engine->publish, &key, flight->awaited, command);
    sx_fetch_submit_on_loop(flight, &engine->scripts.await, deadline_ns, await_done);
}

void sx_await_begin_on_loop(sx_flight *flight) {
    flight->backoff_ns = 0;
    sx_counter_add_shared(&flight->engine->counters[SX_FLOW_METRIC_LEASES_AWAITED], 1);
    ask(flight);
}

void sx_await_look_on_loop(sx_flight *flight) {
    strata *engine = flight->engine;
    int64_t now_ns = sx_loop_now_ns(engine->loop);
    sx_flights_lock(engine->flights, flight->stripe);
    bool woken = flight->filled || flight->seq != flight->phase_seq || flight->waiters == NULL;
    bool early = now_ns < flight->wait_until_ns;
    sx_flights_unlock(engine->flights, flight->stripe);
    if (woken || now_ns >= flight->lease_end_ns) {
        sx_flight_round_over_on_loop(flight); /* who still waits asks for the value, or for the lease */
        return;
    }
    if (early) return;
    if (!hears(flight)) {
        ask(flight);
        return;
    }
    int64_t wait_until_ns = next_look(flight, now_ns);
    sx_flights_lock(engine->flights, flight->stripe);
    flight->wait_until_ns = wait_until_ns;
    sx_flights_unlock(engine->flights, flight->stripe);
    sx_flight_arm_on_loop(flight);
}

void sx_await_filled_locked(sx_flight *flight, uint64_t token) {
    assert(sx_flights_is_locked(flight->engine->flights, flight->stripe));
    if (token != flight->awaited) return;
    flight->filled = true;
    sx_flight_wake_locked(flight);
}
