/* SPDX-License-Identifier: Apache-2.0 */
/* Floors: what clearing a namespace leaves behind. A clear writes one number per partition, the n that it took there: every
   value of the namespace with a smaller n is invalid, wherever it lies, and needs not be found.

   The numbers are fields of the partition's counter, so that they can't be lost without it. They are proven like entries:
   read at a generation of the partition, kept up to date by CLEAR messages, and good while that generation is trusted. In
   L1 a clear makes all entries of the namespace unproven (strata_namespace.clears is part of what a hit compares); the next
   read of each finds its version in L2 unchanged, and its n below the floor or not. */
#include "core/flow/floors.h"

#include "core/flow/engine.h"

int32_t sx_floors_create(strata *engine) {
    engine->floors = sx_allocate_zero(&engine->alloc, engine->partitions * sizeof *engine->floors);
    if (engine->floors == NULL) return STRATA_E_NOMEM;
    for (uint32_t i = 0; i < engine->partitions; i++) engine->floors[i].asked_ns = INT64_MIN;
    return STRATA_OK;
}

void sx_floors_destroy(strata *engine) {
    for (uint32_t i = 0; i < engine->namespace_count; i++) {
        strata_namespace *ns = engine->namespaces[i];
        sx_release(&engine->alloc, ns->floors, engine->partitions * sizeof *ns->floors);
        ns->floors = NULL;
    }
    sx_release(&engine->alloc, engine->floors, engine->partitions * sizeof *engine->floors);
    engine->floors = NULL;
}

bool sx_floors_known_on_loop(const strata *engine, const strata_namespace *ns, uint32_t partition) {
    assert(sx_loop_is_current(engine->loop));
    const sx_floor *floor = &engine->floors[partition];
    if (ns->index >= floor->names) return false;
    sx_trust_mark mark = sx_trust_mark_on_loop(engine->trust, partition);
    if (mark.term != 0) return floor->generation == mark.generation;
    return floor->asked_ns != INT64_MIN &&
           sx_loop_now_ns(engine->loop) - floor->asked_ns < sx_trust_max_staleness_ns(engine->trust);
}

uint64_t sx_floors_of_on_loop(const strata *engine, const strata_namespace *ns, uint32_t partition) {
    assert(sx_loop_is_current(engine->loop) && partition < engine->partitions);
    uint64_t base = engine->floors[partition].base, own = ns->floors == NULL ? 0 : ns->floors[partition];
    return own > base ? own : base;
}

/* False when out of memory. */
static bool put(strata *engine, strata_namespace *ns, uint32_t partition, uint64_t n) {
    if (ns->floors == NULL && n != 0)
        ns->floors = sx_allocate_zero(&engine->alloc, engine->partitions * sizeof *ns->floors);
    if (ns->floors != NULL) ns->floors[partition] = n;
    return ns->floors != NULL || n == 0;
}

void sx_floors_raise_on_loop(strata *engine, strata_namespace *ns, uint32_t partition, uint64_t n) {
    sx_floor *floor = &engine->floors[partition];
    floor->raises++;
    uint64_t known = sx_floors_of_on_loop(engine, ns, partition);
    /* Asked again: until there is memory to know the answer; or since a replaced primary may have acknowledged what is known. */
    if (n < known || (n > known && !put(engine, ns, partition, n))) floor->generation = 0;
    sx_namespace_cleared(ns); /* also where the floor is known: an answer that told of it makes nothing unproven */
}

static uint32_t open_namespaces(strata *engine) {
    sx_lock_acquire(&engine->lock);
    uint32_t count = engine->namespace_count;
    sx_lock_release(&engine->lock);
    return count;
}

void sx_floors_ask_on_loop(strata *engine, sx_store_op *op, uint32_t partition, int64_t deadline_ns, sx_floors_asked *asked,
                           void (*done)(sx_store_op *op, int32_t status, const sx_resp *reply)) {
    sx_command_clear(&op->request.command);
    sx_publish_encode_counter(&engine->publish, partition, &op->request.command);
    op->request.script = &engine->scripts.counter;
    op->request.slot = engine->tags->tags[partition].slot;
    op->request.deadline_ns = deadline_ns;
    op->request.encode = NULL;
    op->request.read_only = false;
    op->request.bulk = false;
    op->write = false; /* executed twice, or late, it finds what is there */
    op->done = done;
    asked->mark = sx_trust_mark_on_loop(engine->trust, partition);
    asked->at_ns = sx_loop_now_ns(engine->loop);
    asked->raises = engine->floors[partition].raises;
    asked->names = open_namespaces(engine);
    sx_counter_add_shared(&engine->counters[SX_FLOW_METRIC_FLOORS_ASKED], 1);
    sx_store_submit_on_loop(engine->store, op);
}

bool sx_floors_answered_on_loop(strata *engine, const sx_store_op *op, uint32_t partition, const sx_floors_asked *asked,
                                const sx_resp *reply) {
    sx_floor *floor = &engine->floors[partition];
    /* Where it proves something, and no clear was heard of in between, it is all there is: at another server than before the
       floors may be lower. Else they only rise, and are asked for again: too high, they would refuse every fill. */
    bool proves = asked->raises == floor->raises, kept = true;
    proves = sx_trust_may_fill_on_loop(engine->trust, partition, &asked->mark, op->request.identity) && proves;
    if (proves && floor->generation != asked->mark.generation) {
        floor->base = 0;
        for (uint32_t i = 0; i < asked->names; i++) (void)put(engine, engine->namespaces[i], partition, 0);
    }
    size_t at = 0;
    for (sx_publish_floor said; sx_publish_next_floor(reply, &at, &said);) {
        if (said.ns == NULL) {
            if (said.n > floor->base) floor->base = said.n;
            continue;
        }
        strata_namespace *ns = sx_names_find(engine->names, said.ns, said.ns_size, said.ns_version);
        if (ns != NULL && said.n > sx_floors_of_on_loop(engine, ns, partition))
            kept = put(engine, ns, partition, said.n) && kept;
    }
    if (at != reply->count || !kept) return false;
    floor->names = asked->names;
    floor->asked_ns = asked->at_ns;
    if (proves) floor->generation = asked->mark.generation;
    return true;
}
