/* SPDX-License-Identifier: Apache-2.0 */
/* Asking L2: the header of an unproven entry, the value, or a lease to load under; and what enters L1. */
#include <string.h>

#include "core/flow/engine.h"
#include "core/flow/foreign.h"

sx_publish_key sx_flight_publish_key(const sx_flight *flight) {
    sx_publish_key key = {flight->partition,      flight->ns->name, flight->ns->name_size,
                          flight->ns->version, flight->key,      flight->key_size,  SX_PUBLISH_VALUE};
    return key;
}

static void front_done(sx_store_op *op, int32_t status, const sx_resp *reply);
static void value_done(sx_store_op *op, int32_t status, const sx_resp *reply);
static void lease_done(sx_store_op *op, int32_t status, const sx_resp *reply);

/* ---- large values ------------------------------------------------------------------------------------------- */

/* A guess: keys may share a slot and even a fingerprint. Wrong, a request takes the other of two connections. */
static uint16_t *large_slot(strata *engine, uint64_t hash) { return &engine->large[hash % SX_LARGE_SLOTS]; }
static uint16_t large_print(uint64_t hash) { return (uint16_t)(hash / SX_LARGE_SLOTS | 1); }

static bool is_noted(strata *engine, uint64_t hash) { return *large_slot(engine, hash) == large_print(hash); }
static bool is_large(strata *engine, uint64_t hash) { return engine->bulk_bytes != 0 && is_noted(engine, hash); }
bool sx_fetch_is_large_on_loop(const sx_flight *flight) { return is_noted(flight->engine, flight->hash); }

/* What a tracking connection may not have survived (SX_SIZE_FATAL) stays large while it is not smaller, whatever the option says: no
   server is known to limit its subscribers to less. */
#define FATAL_BYTES_MIN ((size_t)1024 * 1024)

void sx_fetch_note_size_on_loop(strata *engine, uint64_t hash, size_t size) {
    assert(sx_loop_is_current(engine->loop));
    if (SX_UNLIKELY(size == SX_SIZE_FATAL || (engine->bulk_bytes != 0 && size > (size_t)engine->bulk_bytes)))
        *large_slot(engine, hash) = large_print(hash);
    else if (SX_UNLIKELY(is_noted(engine, hash)) && size < FATAL_BYTES_MIN) *large_slot(engine, hash) = 0;
}

/* What a value's read is expected to answer: a large one rules out groups for a while. */
static void note_met(strata *engine, size_t size) {
    size_t *met = &engine->value_bytes_met;
    *met = size > *met ? size : *met - *met / 64;
}

/* ---- reads ---- */

static sx_flight *flight_of(sx_redis_request *request) {
    sx_store_op *op = SX_CONTAINER(request, sx_store_op, request);
    return SX_CONTAINER(op, sx_flight, store_op);
}

static void encode_get(sx_redis_request *request, const sx_redis_node *node) {
    (void)node;
    sx_flight *flight = flight_of(request);
    sx_publish_key key = sx_flight_publish_key(flight);
    sx_command_clear(&request->command);
    sx_publish_encode_get(&flight->engine->publish, &key, &request->command);
}

static void encode_gets(sx_redis_request *const *members, uint32_t count, const sx_redis_node *node, sx_command *command) {
    (void)node;
    for (uint32_t i = 0; i < count; i++) {
        sx_publish_key key = sx_flight_publish_key(flight_of(members[i]));
        sx_publish_encode_get_more(&flight_of(members[i])->engine->publish, &key, command);
    }
}

#define GROUP_BYTES_MAX ((size_t)64 * 1024) /* expected in one answer: small ones behind it don't wait long */

sx_redis_group_kind sx_fetch_group(void) {
    return (sx_redis_group_kind){NULL, SX_REDIS_GROUP_MAX, GROUP_BYTES_MAX, encode_gets, sx_publish_get_part};
}

/* ---- sending ------------------------------------------------------------------------------------------------ */

static void traced_done(sx_store_op *op, int32_t status, const sx_resp *reply) {
    sx_flight *flight = SX_CONTAINER(op, sx_flight, store_op);
    sx_span *span = flight->asked_span;
    flight->asked_span = NULL;
    sx_span_end(span, status, status == STRATA_OK ? STRATA_FROM_L2 : STRATA_FROM_NONE);
    flight->asked_done(op, status, reply);
}

void sx_fetch_submit_on_loop(sx_flight *flight, const sx_redis_script *script, int64_t deadline_ns,
                             void (*done)(sx_store_op *, int32_t, const sx_resp *)) {
    strata *engine = flight->engine;
    sx_store_op *op = &flight->store_op;
    op->request.script = script;
    op->request.slot = engine->tags->tags[flight->partition].slot;
    op->request.deadline_ns = deadline_ns;
    op->request.read_only = false;
    bool fills = script == &engine->scripts.fill || script == &engine->scripts.refill || script == &engine->scripts.extend;
    op->request.encode = fills ? sx_load_encode_fill_for : done == value_done ? encode_get : NULL;
    /* Nothing that writes goes by the second connection: a lease must not change places with what takes it back. */
    op->request.bulk = done == value_done && is_large(engine, flight->hash);
    op->request.group_kind = done == value_done && !op->request.bulk ? &engine->gets : NULL;
    op->request.weight = flight->key_size + engine->value_bytes_met + SX_ENVELOPE_HEAD_BYTES;
    op->write = false; /* nothing a flight sends does harm when it is executed twice or late: leases see to that */
    op->done = done;
    if (SX_UNLIKELY(sx_span_is_told(flight->span))) {
        const sx_span_about about = {fills ? "strata.fill" : "strata.l2", flight->ns, flight->hash, {flight->key, flight->key_size}};
        flight->asked_span = sx_span_begin(flight->span, &about);
        flight->asked_done = done;
        op->done = traced_done;
    }
    flight->mark = sx_trust_mark_on_loop(engine->trust, flight->partition);
    flight->in_store = true;
    sx_store_submit_on_loop(engine->store, op);
}

/* As long as anybody waits, but leaving a loader its share. */
int64_t sx_fetch_deadline_locked(const sx_flight *flight, bool *wants_load) {
    strata *engine = flight->engine;
    int64_t latest_ns = 0, now_ns = sx_loop_recent_ns(engine->loop);
    *wants_load = false;
    for (const sx_op *op = flight->waiters; op != NULL; op = op->wait_next) {
        if (op->deadline_ns > latest_ns) latest_ns = op->deadline_ns;
        *wants_load |= op->loader != NULL;
    }
    int64_t share_ns = now_ns + sx_hot_read(&engine->hot.l2_timeout_ns);
    return *wants_load && share_ns < latest_ns ? share_ns : latest_ns;
}

static void take_and_send(sx_flight *flight) {
    bool wants_load;
    sx_flights_lock(flight->engine->flights, flight->stripe);
    (void)sx_fetch_deadline_locked(flight, &wants_load);
    sx_flights_unlock(flight->engine->flights, flight->stripe);
    if (wants_load && flight->candidate == NULL && !flight->leased) sx_tagged_take_on_loop(flight);
    else sx_fetch_send_on_loop(flight);
}

/* Nothing that L2 holds can be judged without them. */
static void floors_done(sx_store_op *op, int32_t status, const sx_resp *reply) {
    sx_flight *flight = SX_CONTAINER(op, sx_flight, store_op);
    if (!sx_fetch_back_on_loop(flight)) return;
    if (status == STRATA_OK &&
        !sx_floors_answered_on_loop(flight->engine, op, flight->partition, &flight->floor_asked, reply))
        status = STRATA_E_CORRUPT;
    if (status == STRATA_OK) take_and_send(flight);
    else sx_fetch_missed_on_loop(flight, status);
}

/* Whether L2 is not to be asked: the key is without it, or all who wait are. */
static bool is_without(sx_flight *flight) {
    if (!sx_rollout_l2(flight->ns, flight->key, flight->key_size)) return true;
    bool all = true;
    sx_flights_lock(flight->engine->flights, flight->stripe);
    for (const sx_op *op = flight->waiters; op != NULL && all; op = op->wait_next) all = (op->flags & STRATA_BYPASS_L2) != 0;
    all = all && flight->waiters != NULL;
    sx_flights_unlock(flight->engine->flights, flight->stripe);
    return all;
}

void sx_fetch_begin_on_loop(sx_flight *flight) {
    strata *engine = flight->engine;
    bool wants_load;
    sx_flights_lock(engine->flights, flight->stripe);
    flight->state = SX_FLIGHT_FETCHING;
    flight->phase_seq = flight->seq;
    int64_t deadline_ns = sx_fetch_deadline_locked(flight, &wants_load);
    sx_flights_unlock(engine->flights, flight->stripe);
    int32_t refused = engine->l2_on
                          ? atomic_load_explicit(&engine->refused, memory_order_relaxed) /* relaxed: a status */
                          : STRATA_MISS;
    if (engine->l2_on && sx_unknown_hides_on_loop(engine, flight->hash, flight->ns->index, flight->key, flight->key_size)) {
        flight->no_lease = true; /* what a loader brings is for those who wait */
        refused = STRATA_MISS;
    }
    flight->without = engine->l2_on && is_without(flight);
    if (flight->without) refused = STRATA_MISS;
    if (refused != STRATA_OK) {
        flight->store_op.out_of_time = false; /* of a former round: nothing was sent in this one */
        sx_fetch_missed_on_loop(flight, refused);
        return;
    }
    flight->send_deadline_ns = deadline_ns;
    if (sx_namespace_is_foreign(flight->ns)) {
        sx_raw_fetch_on_loop(flight);
        return;
    }
    if (sx_floors_known_on_loop(engine, flight->ns, flight->partition)) {
        take_and_send(flight);
        return;
    }
    flight->in_store = true;
    sx_floors_ask_on_loop(engine, &flight->store_op, flight->partition, deadline_ns, &flight->floor_asked, floors_done);
}

void sx_fetch_send_on_loop(sx_flight *flight) {
    strata *engine = flight->engine;
    bool wants_load;
    sx_flights_lock(engine->flights, flight->stripe);
    (void)sx_fetch_deadline_locked(flight, &wants_load);
    sx_flights_unlock(engine->flights, flight->stripe);
    int64_t deadline_ns = flight->send_deadline_ns;
    sx_command *command = &flight->store_op.request.command;
    sx_publish_key key = sx_flight_publish_key(flight);
    const sx_redis_script *script = NULL;
    /* Where a large value is expected no lease is tried first: its reply would be that value. Where one was judged invalid
       the lease takes its place, else it would be read again and again. */
    bool large = !flight->over && is_large(engine, flight->hash);
    if (flight->old != NULL && wants_load && !flight->no_lease) {
        sx_aged_claim_on_loop(flight);
        return;
    }
    if (!flight->leased) sx_aged_forget_on_loop(flight);
    sx_command_clear(command);
    if (flight->candidate != NULL) {
        sx_publish_encode_front(&engine->publish, &key, command);
        sx_fetch_submit_on_loop(flight, NULL, deadline_ns, front_done);
    } else if (wants_load && !flight->leased && !flight->no_lease && !large) {
        flight->token = sx_key_random_next(&engine->random);
        script = &engine->scripts.over;
        if (flight->over)
            sx_publish_encode_over(&engine->publish, &key, flight->over_n, flight->over_written_ms, flight->over_id,
                                   flight->token, engine->lease_ms, command);
        else
            sx_publish_encode_lease(&engine->publish, &engine->scripts, &key, flight->token, engine->lease_ms, command,
                                    &script);
        flight->over = false;
        sx_fetch_submit_on_loop(flight, script, deadline_ns, lease_done);
    } else {
        sx_fetch_submit_on_loop(flight, NULL, deadline_ns, value_done);
    }
}

/* What the answer to a request proves was so when it was asked. */
static uint64_t generation_of(const sx_flight *flight) {
    if (SX_BROKEN(fill_stamp)) return sx_trust_mark_on_loop(flight->engine->trust, flight->partition).generation;
    return flight->mark.generation;
}

/* ---- what came back ----------------------------------------------------------------------------------------- */

bool sx_fetch_back_on_loop(sx_flight *flight) {
    strata *engine = flight->engine;
    flight->in_store = false;
    sx_flights_lock(engine->flights, flight->stripe);
    bool over = flight->state == SX_FLIGHT_DONE;
    flight->passes = !flight->fill || !engine->l1_on;
    sx_flights_unlock(engine->flights, flight->stripe);
    if (over) sx_flight_end_on_loop(flight);
    return !over;
}

static bool insert_locked(sx_flight *flight, sx_item *item, uint64_t identity) {
    strata *engine = flight->engine;
    if (!flight->fill || !sx_rollout_l1(flight->ns, flight->key, flight->key_size)) return false;
    if ((item->n < flight->min_n && !SX_BROKEN(min_n)) ||
        (flight->barrier > flight->phase_seq && !SX_BROKEN(barrier))) {
        sx_count(flight->ns, SX_FLOW_METRIC_FILLS_SUPERSEDED);
        return false;
    }
    if (!sx_trust_may_fill_on_loop(engine->trust, flight->partition, &flight->mark, identity) ||
        sx_unknown_holds_on_loop(engine, flight->hash, item)) {
        sx_count(flight->ns, SX_FLOW_METRIC_FILLS_REFUSED);
        return false;
    }
    if (!sx_marks_stamp(engine, engine->loop_record, item, generation_of(flight))) {
        sx_count(flight->ns, SX_FLOW_METRIC_FILLS_REFUSED);
        return false;
    }
    return sx_l1_put(engine->l1, engine->loop_record, flight->hash, item, SX_L1_PUT_NEWER) == STRATA_OK;
}

uint64_t sx_fetch_insert_on_loop(sx_flight *flight, sx_item *item) {
    strata *engine = flight->engine;
    sx_flights_lock(engine->flights, flight->stripe);
    bool quiet = flight->seq == flight->phase_seq;
    /* Also where the insertion is then refused; an own write in progress learns of it too. */
    if (!SX_BROKEN(observed))
        sx_apply_observed_locked(engine, flight->hash, flight->ns->index, flight->key, flight->key_size, item->n);
    bool inserted = insert_locked(flight, item, flight->identity);
    /* Nor does what was loaded anew, and may have kept its n, leave the former value in L1: it would be answered after this one. */
    if (!inserted && engine->l1_on && !SX_BROKEN(observed))
        (void)sx_l1_remove_other(engine->l1, engine->loop_record, flight->hash, flight->ns->index, flight->key, flight->key_size, item->n,
                                 item->id);
    uint64_t seq = quiet ? flight->seq : 0;
    sx_flights_unlock(engine->flights, flight->stripe);
    return seq;
}

int32_t sx_fetch_item_on_loop(strata *engine, const strata_namespace *ns, uint32_t partition, strata_bytes key,
                              const sx_envelope *envelope, const sx_redis_node *node, bool passes, sx_item **out) {
    int64_t now_ns = sx_loop_now_ns(engine->loop);
    int64_t server_ms = node == NULL ? -1 : sx_redis_cluster_server_ms(engine->cluster, node, now_ns);
    int64_t left_ms = sx_envelope_left_ms(envelope, server_ms);
    sx_lifetime life = {envelope->ttl_ms, envelope->stale_ms < SX_TTL_MS_MAX ? envelope->stale_ms : SX_TTL_MS_MAX};
    if (left_ms <= -life.stale_ms) return STRATA_MISS;
    sx_policy policy;
    sx_policy_read(ns, &policy);
    sx_item_facts facts = {.n = envelope->n,
                           .id = envelope->id,
                           .app_version = envelope->app_version,
                           .written_ms = server_ms < 0 ? INT64_MIN
                                                       : now_ns / SX_NS_PER_MS - (server_ms - envelope->written_ms),
                           .ns = ns->index,
                           .partition = (uint16_t)partition,
                           .etag = envelope->etag,
                           .etag_size = envelope->etag_size <= STRATA_ETAG_BYTES_MAX ? envelope->etag_size : 0, /* another writer's */
                           .passes = passes,
                           .aged = sx_policy_ages(&policy) || life.stale_ms != 0,
                           .nothing = (envelope->flags & SX_ENVELOPE_ABSENT) != 0 ? SX_ITEM_ABSENT : 0};
    if (envelope->tags_size > 1) { /* else nil */
        if (!sx_tags_sound(envelope->tags, envelope->tags_size)) return STRATA_E_CORRUPT;
        facts.tags = envelope->tags;
        facts.tags_size = envelope->tags_size;
    }
    int32_t status = sx_packed_item(engine, key.data, key.size, envelope, (policy.flags & STRATA_POLICY_L1_COMPRESSED) != 0, &facts, out);
    if (status == STRATA_OK) sx_policy_age(&policy, *out, now_ns, left_ms, &life);
    return status;
}

/* A stored value that holds: into L1 and to the waiters. */
static void valid(sx_flight *flight, sx_item *item) {
    if (sx_loop_now_ns(flight->engine->loop) >= sx_item_fresh_ns(item)) {
        sx_aged_read_on_loop(flight, item);
        return;
    }
    sx_count(flight->ns, (item->flags & SX_ITEM_ABSENT) == 0 ? SX_FLOW_METRIC_L2_HITS : SX_FLOW_METRIC_L2_ABSENT);
    (void)sx_fetch_insert_on_loop(flight, item);
    sx_flight_answer_on_loop(flight, SX_FLIGHT_EVERYONE, STRATA_OK, STRATA_FROM_L2, item);
    if (sx_aged_renew_on_loop(flight, item)) return;
    sx_item_release(item);
    sx_flight_round_over_on_loop(flight);
}

static void outdated(sx_flight *flight, sx_item *item, bool candidate) {
    sx_count(flight->ns, SX_FLOW_METRIC_OUTDATED);
    sx_fetch_judged_on_loop(flight, item, candidate, false);
}

bool sx_fetch_is_cleared_on_loop(const sx_flight *flight, const sx_item *item) {
    return !SX_BROKEN(floor) && item->n < sx_floors_of_on_loop(flight->engine, flight->ns, flight->partition);
}

/* A stored value, that may be cleared, or whose tags may not hold. */
static void hit(sx_flight *flight, const sx_envelope *envelope) {
    strata *engine = flight->engine;
    sx_item *item = NULL;
    int32_t status = sx_fetch_item_on_loop(engine, flight->ns, flight->partition, (strata_bytes){flight->key, flight->key_size},
                                           envelope, flight->store_op.request.node, flight->passes, &item);
    if (status == STRATA_MISS || status == STRATA_E_CORRUPT) {
        if (status == STRATA_E_CORRUPT) sx_count(flight->ns, SX_FLOW_METRIC_CORRUPT);
        sx_fetch_missed_on_loop(flight, status);
        return;
    }
    if (status != STRATA_OK) {
        sx_flight_fail_on_loop(flight, status);
        return;
    }
    flight->over_n = envelope->n;
    flight->over_id = envelope->id;
    flight->over_written_ms = envelope->written_ms;
    flight->identity = flight->store_op.request.identity;
    if (sx_fetch_is_cleared_on_loop(flight, item)) outdated(flight, item, false);
    else if (sx_item_tagging_of(item) != NULL) sx_tagged_judge_on_loop(flight, item, false);
    else valid(flight, item);
}

/* Whether the server that answered may lack an invalidation that this process has been told of as failed. */
static bool is_hidden(const sx_flight *flight) {
    return sx_recovery_hides_on_loop(flight->engine, flight->hash, flight->ns->index, flight->key, flight->key_size,
                                     flight->store_op.request.identity);
}

/* What stands at the key: a value, somebody's lease, nothing, or something that is not ours. */
void sx_fetch_stored_on_loop(sx_flight *flight, const sx_resp *reply) {
    strata *engine = flight->engine;
    sx_envelope envelope;
    size_t size = reply->type == SX_RESP_STRING ? reply->size : 0;
    sx_fetch_note_size_on_loop(engine, flight->hash, size);
    note_met(engine, size);
    if (reply->type == SX_RESP_NULL) {
        sx_count(flight->ns, SX_FLOW_METRIC_L2_MISSES);
        sx_fetch_missed_on_loop(flight, STRATA_MISS);
        return;
    }
    sx_envelope_kind kind = reply->type == SX_RESP_STRING
                                ? sx_envelope_decode(reply->text, reply->size, &envelope)
                                : SX_ENVELOPE_CORRUPT;
    if (kind == SX_ENVELOPE_VALUE && is_hidden(flight)) {
        flight->no_lease = true; /* as where it is owed still */
        sx_fetch_missed_on_loop(flight, STRATA_MISS);
        return;
    }
    if (kind == SX_ENVELOPE_VALUE) {
        hit(flight, &envelope);
        return;
    }
    flight->awaited = kind == SX_ENVELOPE_LEASE ? envelope.id : 0;
    sx_count(flight->ns, kind == SX_ENVELOPE_LEASE ? SX_FLOW_METRIC_L2_MISSES : SX_FLOW_METRIC_CORRUPT);
    sx_fetch_missed_on_loop(flight, kind == SX_ENVELOPE_LEASE ? STRATA_EXISTS : STRATA_E_CORRUPT);
}

static void value_done(sx_store_op *op, int32_t status, const sx_resp *reply) {
    sx_flight *flight = SX_CONTAINER(op, sx_flight, store_op);
    if (!sx_fetch_back_on_loop(flight)) return;
    /* Perhaps what all of a group ask for is larger than their deadlines allow: for a while each goes alone, and learns. */
    if (status == STRATA_E_TIMEOUT) note_met(flight->engine, GROUP_BYTES_MAX);
    if (status == STRATA_OK) sx_fetch_stored_on_loop(flight, reply);
    else sx_fetch_missed_on_loop(flight, status);
}

static void lease_done(sx_store_op *op, int32_t status, const sx_resp *reply) {
    sx_flight *flight = SX_CONTAINER(op, sx_flight, store_op);
    /* A lease of ours that was placed by an attempt whose reply got lost is found by its token. */
    sx_envelope envelope;
    flight->leased = status == STRATA_OK &&
                     (reply->type == SX_RESP_NULL ||
                      (reply->type == SX_RESP_STRING &&
                       sx_envelope_decode(reply->text, reply->size, &envelope) == SX_ENVELOPE_LEASE &&
                       envelope.id == flight->token));
    flight->lease_node = op->request.node;
    if (!sx_fetch_back_on_loop(flight)) return;
    if (flight->leased) {
        sx_count(flight->ns, SX_FLOW_METRIC_L2_MISSES);
        sx_fetch_missed_on_loop(flight, STRATA_MISS);
    } else if (status == STRATA_OK) {
        sx_fetch_stored_on_loop(flight, reply);
    } else if (status == STRATA_E_L2_FULL) {
        flight->no_lease = true; /* but a value may be there, and be read */
        sx_fetch_begin_on_loop(flight);
    } else {
        sx_fetch_missed_on_loop(flight, status);
    }
}

strata_source sx_fetch_proven_on_loop(sx_flight *flight, sx_item *item) {
    strata *engine = flight->engine;
    strata_source source = STRATA_FROM_NONE;
    sx_flights_lock(engine->flights, flight->stripe);
    if ((item->n >= flight->min_n || SX_BROKEN(min_n)) &&
        (flight->barrier <= flight->phase_seq || SX_BROKEN(barrier)))
        source = STRATA_FROM_L2;
    if (source != STRATA_FROM_NONE &&
        sx_trust_may_fill_on_loop(engine->trust, flight->partition, &flight->mark, flight->identity) &&
        !sx_unknown_holds_on_loop(engine, flight->hash, item) &&
        sx_marks_stamp(engine, engine->loop_record, item, generation_of(flight)))
        source = STRATA_FROM_L1;
    sx_flights_unlock(engine->flights, flight->stripe);
    return source;
}

/* An entry of L1 that L2 still holds, and whose tags hold. */
static void same_version(sx_flight *flight, sx_item *item) {
    strata_source source = sx_fetch_proven_on_loop(flight, item);
    if (source == STRATA_FROM_NONE) {
        sx_item_release(item);
        sx_fetch_begin_on_loop(flight);
        return;
    }
    sx_count(flight->ns, SX_FLOW_METRIC_REVALIDATED);
    sx_item_used(item, sx_loop_now_ns(flight->engine->loop));
    sx_flight_answer_on_loop(flight, SX_FLIGHT_EVERYONE, STRATA_OK, source, item);
    sx_item_release(item);
    sx_flight_round_over_on_loop(flight);
}

static void front_done(sx_store_op *op, int32_t status, const sx_resp *reply) {
    sx_flight *flight = SX_CONTAINER(op, sx_flight, store_op);
    if (!sx_fetch_back_on_loop(flight)) return;
    strata *engine = flight->engine;
    sx_envelope front;
    sx_item *item = flight->candidate;
    if (status != STRATA_OK) {
        sx_fetch_missed_on_loop(flight, status);
        return;
    }
    bool same = reply->type == SX_RESP_STRING &&
                sx_envelope_decode_front(reply->text, reply->size, &front) == SX_ENVELOPE_VALUE &&
                front.n == item->n && (front.id == item->id || SX_BROKEN(version_id)) && sx_loop_now_ns(engine->loop) < sx_item_l1_ns(item);
    flight->candidate = NULL;
    if (!same) {
        sx_item_release(item);
        sx_fetch_begin_on_loop(flight);
        return;
    }
    flight->over_n = front.n;
    flight->over_id = front.id;
    flight->over_written_ms = front.written_ms;
    flight->identity = op->request.identity;
    if (sx_fetch_is_cleared_on_loop(flight, item)) outdated(flight, item, true);
    else if (sx_item_tagging_of(item) != NULL) sx_tagged_judge_on_loop(flight, item, true);
    else same_version(flight, item);
}

void sx_fetch_judged_on_loop(sx_flight *flight, sx_item *item, bool candidate, bool good) {
    if (good && candidate) {
        same_version(flight, item);
    } else if (good) {
        valid(flight, item);
    } else { /* in L2's place a lease may stand, of whoever loads it again */
        if (candidate) (void)sx_l1_remove_item(flight->engine->l1, flight->engine->loop_record, flight->hash, item);
        sx_item_release(item);
        flight->over = true;
        sx_count(flight->ns, SX_FLOW_METRIC_L2_MISSES);
        sx_fetch_missed_on_loop(flight, STRATA_MISS);
    }
}

/* ---- no value ----------------------------------------------------------------------------------------------- */

void sx_fetch_missed_on_loop(sx_flight *flight, int32_t status) {
    strata *engine = flight->engine;
    int32_t told = status == STRATA_EXISTS ? STRATA_MISS : status;
    if (flight->candidate != NULL) sx_item_release(flight->candidate);
    flight->candidate = NULL;
    if (!flight->leased) sx_aged_forget_on_loop(flight);
    /* L2 holds nothing: whatever L1 held may have been invalidated. */
    if (engine->l2_on && status >= 0 && !flight->without) sx_aged_drop_fallback_on_loop(flight);
    if (status == STRATA_E_CLOSED || engine->stopping) {
        sx_flight_fail_on_loop(flight, STRATA_E_CLOSED);
        return;
    }
    /* The time of those who waited when it was sent is over, or only its share of it; who joined later may have some left. */
    bool late = status == STRATA_E_TIMEOUT || (status < 0 && flight->store_op.out_of_time);
    if (late) sx_flight_give_up_on_loop(flight, flight->store_op.request.deadline_ns, told);
    else sx_flight_answer_on_loop(flight, SX_FLIGHT_READERS, told, STRATA_FROM_NONE, NULL);
    sx_flights_lock(engine->flights, flight->stripe);
    bool wants_load = false;
    for (const sx_op *op = flight->waiters; op != NULL; op = op->wait_next) wants_load |= op->loader != NULL;
    sx_flights_unlock(engine->flights, flight->stripe);
    if (wants_load && status == STRATA_EXISTS && !SX_BROKEN(lease_wait)) {
        sx_await_begin_on_loop(flight);
        return;
    }
    /* A plain miss without our lease: somebody who wants to load joined after the request was sent. */
    bool ask_lease = wants_load && status == STRATA_MISS && engine->l2_on && !flight->leased && !flight->no_lease && !flight->without;
    int32_t started = wants_load && !ask_lease ? sx_load_start_on_loop(flight) : STRATA_MISS;
    if (started == STRATA_OK) return;
    if (started < 0) sx_flight_fail_on_loop(flight, started);
    else if (flight->leased) sx_load_abandon_on_loop(flight);
    else if (ask_lease || wants_load || late || status >= 0) sx_flight_round_over_on_loop(flight);
    else sx_flight_fail_on_loop(flight, told);
}
