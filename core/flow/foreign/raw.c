/* SPDX-License-Identifier: Apache-2.0 */
/* Foreign keys in L2: raw values read by the tracking connection, or where there is none past L1; plain SET and UNLINK.

   L1 holds what a tracking connection answered, until that or an own write says that it changed. So it is never filled by
   a write or a loader, and what came by another way takes out what is there: that can't be newer. */
#include <string.h>

#include "core/flow/engine.h"
#include "core/flow/foreign.h"

/* ---- reads ---- */

static sx_item *item_of(const sx_flight *flight, const sx_resp *reply, int64_t expires_ns) {
    sx_item_facts facts = {.written_ms = INT64_MIN,
                           .expires_ns = expires_ns,
                           .ns = flight->ns->index,
                           .passes = flight->passes,
                           .partition = (uint16_t)flight->partition};
    return sx_item_create(flight->engine->heap, flight->key, flight->key_size, reply->text, reply->size, &facts);
}

/* L1's entry becomes item, or goes (NULL). */
static void keep(sx_flight *flight, sx_item *item, uint64_t generation) {
    strata *engine = flight->engine;
    if (!engine->l1_on) return;
    sx_flights_lock(engine->flights, flight->stripe);
    bool quiet = flight->barrier <= flight->phase_seq; /* else its time to live may be that of the value before */
    if (item != NULL && !quiet) sx_count(flight->ns, SX_FLOW_METRIC_FILLS_SUPERSEDED);
    bool kept = item != NULL && quiet && flight->fill && sx_rollout_l1(flight->ns, flight->key, flight->key_size);
    if (kept && sx_marks_stamp(engine, engine->loop_record, item, generation))
        (void)sx_l1_put(engine->l1, engine->loop_record, flight->hash, item, SX_L1_PUT_ALWAYS);
    else
        (void)sx_l1_remove(engine->l1, engine->loop_record, flight->hash, flight->ns->index, flight->key, flight->key_size, UINT64_MAX);
    sx_flights_unlock(engine->flights, flight->stripe);
}

/* How long L1 may answer what was read: as long as Redis holds it, counted from before it was asked, nor longer than the
   namespace's values live. */
static int64_t end_of(const sx_flight *flight, int64_t ttl_ms, int64_t sent_ns) {
    sx_policy policy;
    sx_policy_read(flight->ns, &policy);
    sx_lifetime life = sx_policy_lifetime(flight->ns, 0, flight->hash, sent_ns);
    int64_t left_ms = sx_lifetime_left_ms(&life);
    if (ttl_ms >= 0 && ttl_ms < left_ms) left_ms = ttl_ms;
    if (policy.l1_ttl_ms != 0 && policy.l1_ttl_ms < left_ms) left_ms = policy.l1_ttl_ms;
    return left_ms > SX_TTL_MS_MAX ? SX_EXPIRES_NEVER : sx_time_add(sent_ns, left_ms * SX_NS_PER_MS);
}

/* What GET answered. tracked: how; NULL: by a connection that L1 can't rely on. */
static void answered(sx_flight *flight, const sx_resp *reply, const sx_foreign_read *tracked) {
    strata *engine = flight->engine;
    sx_item *item = NULL;
    uint64_t generation = 0;
    sx_fetch_note_size_on_loop(engine, flight->hash, reply->type == SX_RESP_STRING ? reply->size : 0);
    if (reply->type == SX_RESP_STRING) {
        int64_t end_ns = tracked == NULL ? SX_EXPIRES_NEVER : end_of(flight, tracked->ttl_ms, tracked->sent_ns);
        item = item_of(flight, reply, end_ns);
        if (item == NULL) {
            sx_flight_fail_on_loop(flight, STRATA_E_NOMEM);
            return;
        }
    }
    bool kept = item != NULL && tracked != NULL && tracked->ttl_ms >= -1 &&
                sx_foreign_may_fill_on_loop(engine->foreign, tracked, &generation);
    keep(flight, kept ? item : NULL, generation);
    if (item == NULL) {
        sx_count(flight->ns, reply->type == SX_RESP_NULL ? SX_FLOW_METRIC_L2_MISSES : SX_FLOW_METRIC_CORRUPT);
        sx_fetch_missed_on_loop(flight, reply->type == SX_RESP_NULL ? STRATA_MISS : STRATA_E_PROTOCOL);
        return;
    }
    sx_count(flight->ns, SX_FLOW_METRIC_L2_HITS);
    sx_flight_answer_on_loop(flight, SX_FLIGHT_EVERYONE, STRATA_OK, STRATA_FROM_L2, item);
    if (sx_aged_renew_on_loop(flight, item)) return;
    sx_item_release(item);
    sx_flight_round_over_on_loop(flight);
}

static bool is_wrong_type(const sx_resp *reply) {
    return reply != NULL && reply->type == SX_RESP_ERROR && reply->size >= 9 && memcmp(reply->text, "WRONGTYPE", 9) == 0;
}

static void failed(sx_flight *flight, int32_t status) {
    keep(flight, NULL, 0);
    sx_fetch_missed_on_loop(flight, status);
}

/* Past L1, with all that the store can do about a slot or node that is not what it was. */
static void stored_done(sx_store_op *op, int32_t status, const sx_resp *reply) {
    sx_flight *flight = SX_CONTAINER(op, sx_flight, store_op);
    if (!sx_fetch_back_on_loop(flight)) return;
    if (status == STRATA_OK) answered(flight, reply, NULL);
    else failed(flight, is_wrong_type(reply) ? STRATA_E_TYPE : status);
}

static void ask_store(sx_flight *flight, const uint8_t *name, size_t name_size) {
    sx_store_op *op = &flight->store_op;
    sx_command_clear(&op->request.command);
    sx_command_text(&op->request.command, "GET");
    sx_command_arg(&op->request.command, name, name_size);
    op->request.script = NULL;
    op->request.slot = (uint16_t)sx_key_slot(name, name_size);
    op->request.deadline_ns = flight->send_deadline_ns;
    op->request.read_only = false;
    op->request.encode = NULL;
    op->request.bulk = flight->engine->bulk_bytes != 0 && sx_fetch_is_large_on_loop(flight);
    op->request.group_kind = NULL;
    op->write = false;
    op->done = stored_done;
    flight->in_store = true;
    sx_store_submit_on_loop(flight->engine->store, op);
}

static void tracked_done(sx_foreign_read *read, int32_t status, const sx_resp *reply) {
    sx_flight *flight = SX_CONTAINER(read, sx_flight, tracked);
    if (!sx_fetch_back_on_loop(flight)) return;
    if (status == STRATA_OK && reply->type != SX_RESP_ERROR) {
        answered(flight, reply, read);
    } else if (status == STRATA_E_TIMEOUT) {
        failed(flight, status);
    } else if (is_wrong_type(reply)) {
        failed(flight, STRATA_E_TYPE);
    } else if (flight->engine->stopping) {
        sx_flight_fail_on_loop(flight, STRATA_E_CLOSED);
    } else { /* lost, or not there: MOVED, ASK, LOADING .. */
        /* It may be the value that no such connection survives, by its size: not twice. */
        if (status != STRATA_OK) sx_fetch_note_size_on_loop(flight->engine, flight->hash, SX_SIZE_FATAL);
        uint8_t name[SX_FOREIGN_NAME_BYTES_MAX];
        ask_store(flight, name, sx_foreign_name(flight->ns, flight->key, flight->key_size, name));
    }
}

void sx_raw_fetch_on_loop(sx_flight *flight) {
    assert(flight->candidate == NULL); /* nothing that has no version can be proven anew */
    uint8_t name[SX_FOREIGN_NAME_BYTES_MAX];
    size_t name_size = sx_foreign_name(flight->ns, flight->key, flight->key_size, name);
    sx_foreign_read *read = &flight->tracked;
    flight->no_lease = true; /* what a loader brings is for those who wait */
    flight->store_op.out_of_time = false; /* of a former round */
    read->owner = flight->ns;
    read->slot = (uint16_t)sx_key_slot(name, name_size);
    read->deadline_ns = flight->send_deadline_ns;
    read->done = tracked_done;
    /* A large value would hold up what tells of changes. */
    if (!sx_fetch_is_large_on_loop(flight) &&
        sx_foreign_read_on_loop(flight->engine->foreign, read, name, name_size) == STRATA_OK)
        flight->in_store = true;
    else
        ask_store(flight, name, name_size);
}

/* ---- writes ---- */

/* Whatever became of it: what this process held before is not answered any more, nor what is being read. The server's
   word of it may come before or after this. */
static void write_done(sx_store_op *op, int32_t status, const sx_resp *reply) {
    (void)reply;
    sx_write *write = SX_CONTAINER(op, sx_write, store_op);
    strata *engine = write->engine;
    sx_fetch_note_size_on_loop(engine, write->hash, write->item->value_size);
    sx_foreign_changed_on_loop(engine, write->ns, sx_item_key(write->item), write->item->key_size);
    sx_write_end_on_loop(write, status, 0);
}

void sx_raw_write_on_loop(sx_write *write) {
    sx_store_op *op = &write->store_op;
    sx_command *command = &op->request.command;
    const sx_item *item = write->item;
    uint8_t name[SX_FOREIGN_NAME_BYTES_MAX];
    size_t name_size = sx_foreign_name(write->ns, sx_item_key(item), item->key_size, name);
    sx_command_text(command, write->invalidate ? "UNLINK" : "SET");
    sx_command_arg(command, name, name_size);
    if (!write->invalidate) sx_command_arg(command, sx_item_value(item), item->value_size);
    if (!write->invalidate && write->life.ttl_ms != 0) {
        sx_command_text(command, "PX");
        sx_command_int(command, write->life.ttl_ms);
    }
    op->request.slot = (uint16_t)sx_key_slot(name, name_size);
    op->request.deadline_ns = write->deadline_ns;
    op->write = true;
    op->done = write_done;
    sx_store_submit_on_loop(write->engine->store, op);
}
