/* SPDX-License-Identifier: Apache-2.0 */
/* What a load brings is followed by nothing older in L1, also where it is kept in no cache. */
#include "core/flow/engine.h"
#include "core/flow/rollout.h"

/* With L2, L1 may lose a value that is newer than what was loaded: the next read asks for it. */
void sx_load_replaces_on_loop(sx_flight *flight) {
    strata *engine = flight->engine;
    sx_aged_drop_fallback_on_loop(flight);
    sx_flights_lock(engine->flights, flight->stripe);
    if (engine->l1_on && (engine->l2_on || flight->heard_seq <= flight->phase_seq))
        (void)sx_l1_remove(engine->l1, engine->loop_record, flight->hash, flight->ns->index, flight->key, flight->key_size, UINT64_MAX);
    sx_flights_unlock(engine->flights, flight->stripe);
}

/* Whether who waits wanted it in the place of what there is: another, who passes by a tier, has it for himself alone. */
static bool is_anew_locked(const sx_flight *flight) {
    for (const sx_op *op = flight->waiters; op != NULL; op = op->wait_next)
        if ((op->flags & STRATA_REFRESH) != 0) return true;
    return false;
}

void sx_load_keep_here_on_loop(sx_flight *flight, sx_item *item) {
    strata *engine = flight->engine;
    if (!engine->l1_on) return;
    bool used = sx_rollout_l1(flight->ns, flight->key, flight->key_size);
    sx_flights_lock(engine->flights, flight->stripe);
    bool kept = false, latest = flight->heard_seq <= flight->phase_seq;
    if (used && flight->fill && latest)
        kept = sx_marks_stamp(engine, engine->loop_record, item, 1) &&
               sx_l1_put(engine->l1, engine->loop_record, flight->hash, item, SX_L1_PUT_ALWAYS) == STRATA_OK;
    else if (used && flight->fill) sx_count(flight->ns, SX_FLOW_METRIC_FILLS_SUPERSEDED);
    if (!used || (latest && !kept && (flight->fill || is_anew_locked(flight))))
        (void)sx_l1_remove(engine->l1, engine->loop_record, flight->hash, item->ns, flight->key, flight->key_size, UINT64_MAX);
    sx_flights_unlock(engine->flights, flight->stripe);
}

void sx_load_not_stored_on_loop(sx_flight *flight) {
    strata *engine = flight->engine;
    sx_flights_lock(engine->flights, flight->stripe);
    bool replaces = (engine->l2_on ? !flight->without : flight->fill) || is_anew_locked(flight);
    sx_flights_unlock(engine->flights, flight->stripe);
    if (replaces) sx_load_replaces_on_loop(flight);
}
