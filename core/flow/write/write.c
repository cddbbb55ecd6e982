/* SPDX-License-Identifier: Apache-2.0 */
/* Writes: set and invalidate, from the call through the script on the primary to this process's own L1. */
#include <string.h>

#include "core/flow/call.h"
#include "core/flow/foreign.h"
#include "core/observe/probe.h"

/* ---- starting, on the caller's thread ------------------------------------------------------------------------ */

static void write_free(sx_write *write) {
    strata *engine = write->engine;
    sx_command_deinit(&write->store_op.request.command);
    sx_buf_deinit(&write->tail);
    sx_packed_deinit(&write->packed);
    if (write->item != NULL) sx_item_release(write->item);
    sx_span_drop(write->span);
    sx_release(&engine->alloc, write, sizeof *write);
}

static void run_write_on_loop(sx_task *task);

static int64_t cost_of(const sx_write *write) {
    const sx_item_tagging *tagging = sx_item_tagging_of(write->item);
    return sx_write_cost(write->item->key_size, write->item->value_size, tagging == NULL ? 0 : tagging->size) + sx_span_cost(write->span);
}

static sx_span *span_of(const sx_write *write, sx_span *parent, const char *name) {
    const sx_span_about about = {name, write->ns, write->hash, {sx_item_key(write->item), write->item->key_size}};
    return sx_span_begin(parent, &about);
}

/* The write with its own copy of key and value, the value already in its envelope. record: the caller's, where L1 is written at once;
   else NULL. */
static sx_write *write_create(strata *engine, strata_namespace *ns, strata_bytes key, const strata_bytes *value,
                              const sx_op *op, uint64_t app_version, sx_epoch_record *record) {
    sx_policy policy;
    sx_policy_read(ns, &policy);
    sx_write *write = sx_allocate_zero(&engine->alloc, sizeof *write);
    if (write == NULL) return NULL;
    write->task.run_on_loop = run_write_on_loop;
    write->engine = engine;
    write->ns = ns;
    write->invalidate = value == NULL;
    write->partition = sx_namespace_partition(ns, key.data, key.size);
    write->hash = sx_l1_hash(&engine->secret, ns->index, key.data, key.size);
    if (record != NULL) sx_l1_prefetch_put(engine->l1, record, write->hash);
    write->deadline_ns = op->deadline_ns;
    sx_command_init(&write->store_op.request.command, &engine->alloc);
    sx_buf_init(&write->tail, &engine->alloc);
    int64_t now_ns = sx_engine_now(engine);
    write->life = sx_policy_lifetime(ns, op->ttl_ms, write->hash, now_ns);
    sx_item_facts facts = {.app_version = app_version,
                           .written_ms = now_ns / SX_NS_PER_MS,
                           .generation = 1,
                           .ns = ns->index,
                           .partition = (uint16_t)write->partition,
                           .tags = value == NULL ? NULL : op->tags,
                           .tags_size = value == NULL ? 0 : op->tags_size,
                           .aged = value != NULL && sx_policy_ages(&policy)};
    write->item = sx_packed_create(ns, &policy, key, value == NULL ? (strata_bytes){NULL, 0} : *value, value != NULL, &facts, &write->packed);
    if (write->item == NULL) {
        write_free(write);
        return NULL;
    }
    sx_policy_age(&policy, write->item, now_ns, sx_lifetime_left_ms(&write->life), &write->life);
    return write;
}

/* Without L2 the write is this: L1 changed under the stripe's lock, loads under way barred from undoing it. */
static int32_t write_here(strata_session *session, sx_write *write) {
    strata *engine = write->engine;
    sx_item *item = write->item;
    int32_t status = STRATA_OK;
    uint32_t stripe = sx_flight_stripe(write->hash);
    const sx_item_tagging *tagging = sx_item_tagging_of(item);
    if (tagging != NULL && !sx_marks_take_here(engine, session->record, tagging->bytes, tagging->size))
        status = STRATA_E_NOMEM;
    sx_flights_lock(engine->flights, stripe);
    sx_flights_mark_locked(engine->flights, write->hash, item->ns, sx_item_key(item), item->key_size, 0);
    if (!engine->l1_on) {
        /* nothing is kept anywhere */
    } else if (write->invalidate || status != STRATA_OK || !sx_rollout_l1(write->ns, sx_item_key(item), item->key_size) ||
               !sx_marks_stamp(engine, session->record, item, 1)) {
        (void)sx_l1_remove(engine->l1, session->record, write->hash, item->ns, sx_item_key(item), item->key_size,
                           UINT64_MAX);
    } else {
        status = sx_l1_put(engine->l1, session->record, write->hash, item, SX_L1_PUT_ALWAYS);
    }
    sx_flights_unlock(engine->flights, stripe);
    if (SX_UNLIKELY(sx_is_watched(write->ns)))
        sx_events_written(session, write->ns, write->hash, write->invalidate, status, sx_engine_now(engine) - write->start_ns);
    sx_span_end(write->span, status, STRATA_FROM_NONE);
    write->span = NULL;
    sx_intervals_note(write->ns, write->hash, sx_engine_now(engine));
    write_free(write);
    return status;
}

int32_t sx_write_start(strata_session *session, strata_namespace *ns, strata_bytes key, const strata_bytes *value,
                       const strata_op_options *options, const sx_publish_condition *condition, sx_op *op) {
    strata *engine = session->engine;
    (void)sx_session_count(session, ns, value == NULL ? SX_SESSION_METRIC_INVALIDATES : SX_SESSION_METRIC_SETS);
    /* What L2 is not to hold is gone from there all the same, and from other processes. */
    bool removes = engine->l2_on && condition == NULL && !sx_rollout_l2(ns, key.data, key.size);
    if (removes && value != NULL && SX_BROKEN(rolled_set)) return STRATA_OK;
    if (removes) value = NULL;
    uint64_t app_version = options == NULL ? 0 : options->app_version;
    if (condition != NULL && condition->app_version != 0) app_version = condition->app_version;
    sx_write *write = write_create(engine, ns, key, value, op, app_version, engine->l1_on && !engine->l2_on ? session->record : NULL);
    if (write == NULL) return STRATA_E_NOMEM;
    if (condition != NULL) write->condition = *condition;
    write->start_ns = op->start_ns;
    if (sx_session_is_traced(session))
        write->span = span_of(write, session->trace, op->kind == SX_OP_INVALIDATE ? "strata.invalidate" : "strata.set");
    if (!engine->l2_on) return write_here(session, write);
    op->ns = ns;
    op->hash = write->hash;
    op->stripe = sx_flight_stripe(write->hash);
    if (op->done != NULL || op->sync || op->batch != NULL) sx_work_link(&write->work, op);
    sx_pending_begin(engine, cost_of(write));
    sx_loop_post(engine->loop, &write->task);
    return STRATA_PENDING;
}

/* ---- on the loop --------------------------------------------------------------------------------------------- */

static sx_publish_key publish_key(const sx_write *write) {
    sx_publish_key key = {write->partition,   write->ns->name,           write->ns->name_size,
                          write->ns->version, sx_item_key(write->item), write->item->key_size,
                          SX_PUBLISH_VALUE};
    return key;
}

static void end(sx_write *write, int32_t status, uint64_t n, uint64_t id) {
    strata *engine = write->engine;
    sx_loop_timer_cancel(engine->loop, &write->timer);
    sx_pending_end(engine, cost_of(write));
    uint32_t stripe = sx_flight_stripe(write->hash);
    sx_flights_lock(engine->flights, stripe);
    sx_write_mark_remove_locked(engine->flights, &write->seen);
    sx_op *op = sx_work_take_locked(&write->work);
    sx_flights_unlock(engine->flights, stripe);
    sx_span_end(write->span, status, STRATA_FROM_NONE);
    write->span = NULL;
    if (op != NULL) sx_op_complete_version(op, status, n, id);
    else if (write->start_ns != 0) sx_events_write_on_loop(write, status);
    if (write->ended != NULL) write->ended(write->ended_context, status);
    write_free(write);
}

void sx_write_end_on_loop(sx_write *write, int32_t status, uint64_t n) { end(write, status, n, n == 0 ? 0 : write->id); }

/* What L1 holds is not what is there, or this would not have been refused: whoever reads it again and tries with that, would be
   refused for ever. Nothing is published where L2 evicts, nor where a value is loaded anew, which may keep its n. */
static void disproved_locked(sx_write *write, uint64_t n, uint64_t id) {
    strata *engine = write->engine;
    const sx_item *item = write->item;
    const void *key = sx_item_key(item);
    if (n != 0) sx_apply_observed_locked(engine, write->hash, item->ns, key, item->key_size, n);
    if (!engine->l1_on) return;
    if (n == 0) (void)sx_l1_remove(engine->l1, engine->loop_record, write->hash, item->ns, key, item->key_size, UINT64_MAX);
    else (void)sx_l1_remove_other(engine->l1, engine->loop_record, write->hash, item->ns, key, item->key_size, n, id);
}

/* Its condition does not hold: nothing was changed, but a version was seen. n 0: nothing is there. */
static void conflict(sx_write *write, uint64_t n, uint64_t id) {
    strata *engine = write->engine;
    uint32_t stripe = sx_flight_stripe(write->hash);
    sx_counter_add_shared(&engine->counters[SX_FLOW_METRIC_CONFLICTS], 1);
    sx_flights_lock(engine->flights, stripe);
    disproved_locked(write, n, id);
    sx_flights_unlock(engine->flights, stripe);
    end(write, write->condition.only == SX_PUBLISH_IF_ABSENT ? STRATA_EXISTS : STRATA_CONFLICT, n, id);
}

/* The outcome is known: what we wrote is what this process sees from now on. */
static void written(sx_write *write, uint64_t n) {
    strata *engine = write->engine;
    sx_item *item = write->item;
    uint32_t stripe = sx_flight_stripe(write->hash);
    sx_fetch_note_size_on_loop(engine, write->hash, write->tail.size);
    item->n = n; /* nobody else has seen the item yet */
    item->id = write->id;
    uint64_t identity = write->store_op.request.identity;
    sx_unknown_settled_on_loop(engine, write->hash, item->ns, sx_item_key(item), item->key_size, write->submitted_ns, n, identity);
    sx_flights_lock(engine->flights, stripe);
    bool newest = n >= write->seen.min_n || SX_BROKEN(min_n);
    sx_write_mark_remove_locked(engine->flights, &write->seen);
    sx_apply_observed_locked(engine, write->hash, item->ns, sx_item_key(item), item->key_size, n);
    if (!write->invalidate && newest && sx_rollout_l1(write->ns, sx_item_key(item), item->key_size) &&
        sx_trust_may_fill_on_loop(engine->trust, write->partition, &write->mark, identity) &&
        !sx_unknown_holds_on_loop(engine, write->hash, item) &&
        sx_marks_stamp(engine, engine->loop_record, item, write->mark.generation))
        (void)sx_l1_put(engine->l1, engine->loop_record, write->hash, item, SX_L1_PUT_NEWER);
    sx_flights_unlock(engine->flights, stripe);
    /* What had failed is settled at this server now, by a set too. */
    bool owed = sx_recovery_hides_on_loop(engine, write->hash, item->ns, sx_item_key(item), item->key_size, identity);
    if (write->invalidate || owed)
        sx_recovery_note_on_loop(engine, write->ns, item, write->hash, write->partition, n, identity, owed);
    /* An own write of unknown outcome may still happen after this one: done is what is settled. */
    write->done_n = n;
    if (!sx_unknown_queue_on_loop(write)) sx_write_end_on_loop(write, STRATA_OK, n);
}

static void transmit(sx_write *write);

/* It failed, and nothing of it was executed: an invalidation is owed to L2 from here on. */
static void failed(sx_write *write, int32_t status) {
    bool owes = write->invalidate && !sx_namespace_is_foreign(write->ns);
    if (owes && status != STRATA_E_CLOSED && !SX_BROKEN(owed))
        sx_recovery_owe_on_loop(write->engine, write->ns, write->item, write->hash, write->partition);
    sx_write_end_on_loop(write, status, 0);
}

/* TRYAGAIN: the holders learn at once that something is on its way; told or not, the invalidation is tried until its
   deadline. */
static void warned(sx_store_op *op, int32_t status, const sx_resp *reply) {
    (void)status, (void)reply;
    transmit(SX_CONTAINER(op, sx_write, store_op));
}

static void untrust_told(sx_store_op *op, int32_t status, const sx_resp *reply) {
    (void)reply;
    sx_write *write = SX_CONTAINER(op, sx_write, store_op);
    if (status != STRATA_OK) { /* the write itself was not sent */
        failed(write, status);
        return;
    }
    sx_asked_told(write->engine, &write->asked, write->partition);
    transmit(write);
}

static void write_done(sx_store_op *op, int32_t status, const sx_resp *reply) {
    sx_write *write = SX_CONTAINER(op, sx_write, store_op);
    strata *engine = write->engine;
    sx_span_end(write->asked_span, status, STRATA_FROM_NONE);
    write->asked_span = NULL;
    uint64_t n = 0;
    int64_t server_ms;
    sx_publish_verdict verdict = status == STRATA_OK ? sx_publish_decode(reply, &n, &server_ms) : SX_PUBLISH_DONE;
    if (status == STRATA_OK && verdict == SX_PUBLISH_DONE) {
        written(write, n);
        return;
    }
    uint64_t id;
    if (status == STRATA_OK && write->condition.only != SX_PUBLISH_ALWAYS && sx_publish_decode_conflict(reply, &n, &id)) {
        conflict(write, n, id);
        return;
    }
    if (verdict == SX_PUBLISH_LATE && write->asked.held_back) {
        if (sx_asked_must_tell(engine, op, write->partition))
            sx_asked_tell_on_loop(engine, op, write->partition, untrust_told);
        else transmit(write);
        return;
    }
    if (op->tryagain && write->invalidate && !write->warned && !engine->stopping) {
        write->warned = true;
        sx_asked_tell_on_loop(engine, op, write->partition, warned);
        return;
    }
    if (verdict == SX_PUBLISH_LATE || verdict == SX_PUBLISH_EARLY) status = STRATA_E_TIMEOUT; /* nothing was done */
    else if (status == STRATA_OK) status = STRATA_E_UNKNOWN_OUTCOME; /* an answer that makes no sense */
    if (status == STRATA_E_UNKNOWN_OUTCOME && !SX_BROKEN(unknown_bypass) && sx_unknown_add_on_loop(engine, write) != STRATA_OK)
        sx_log_write(&engine->log, SX_LOG_ERROR, "a write of unknown outcome could not be remembered: out of memory");
    if (status == STRATA_E_UNKNOWN_OUTCOME) sx_write_end_on_loop(write, status, 0);
    else failed(write, status);
}

static sx_write *write_of(sx_redis_request *request) {
    sx_store_op *op = SX_CONTAINER(request, sx_store_op, request);
    return SX_CONTAINER(op, sx_write, store_op);
}

/* Whether its message carries the value. */
static bool carries(const sx_write *write) {
    return (int64_t)(SX_ENVELOPE_HEAD_BYTES + write->tail.size) <= sx_hot_read(&write->engine->hot.carry_bytes_max);
}

/* The write as that node is to see it. */
static sx_publish_write prepare(sx_write *write, const sx_redis_node *node) {
    strata *engine = write->engine;
    int64_t now_ns = sx_loop_now_ns(engine->loop);
    sx_publish_write command = {.key = publish_key(write),
                                .id = write->id,
                                .deadline_ms = SX_BROKEN(write_deadline) ? 0 : sx_redis_cluster_deadline_ms(engine->cluster, node, now_ns, write->deadline_ns),
                                .ttl_ms = sx_lifetime_kept_ms(&write->life),
                                .tail = write->invalidate ? NULL : write->tail.data,
                                .tail_size = write->tail.size,
                                .carry = carries(write),
                                .condition = write->condition};
    sx_asked_encode(engine, &write->asked, node, &command);
    if (command.deadline_ms > write->server_deadline_ms) write->server_deadline_ms = command.deadline_ms;
    return command;
}

static void encode(sx_redis_request *request, const sx_redis_node *node) {
    sx_write *write = write_of(request);
    sx_publish_write command = prepare(write, node);
    sx_command_clear(&request->command);
    if (write->condition.only == SX_PUBLISH_ALWAYS)
        sx_publish_encode_write(&write->engine->publish, &command, &request->command);
    else sx_publish_encode_write_if(&write->engine->publish, &command, &request->command);
}

static void encode_group(sx_redis_request *const *members, uint32_t count, const sx_redis_node *node,
                         sx_command *command) {
    sx_publish_write writes[SX_REDIS_GROUP_MAX];
    for (uint32_t i = 0; i < count; i++) writes[i] = prepare(write_of(members[i]), node);
    sx_publish_encode_writes(&write_of(members[0])->engine->publish, writes, count, command);
}

#define GROUP_BYTES_MAX ((size_t)64 * 1024)
#define GROUPED_BYTES_MAX ((size_t)4 * 1024) /* the script passes once more over each value of a group */

sx_redis_group_kind sx_write_group(const strata *engine) {
    return (sx_redis_group_kind){&engine->scripts.writes, SX_REDIS_GROUP_MAX, GROUP_BYTES_MAX, encode_group,
                                 sx_publish_writes_part};
}

static void transmit(sx_write *write) {
    strata *engine = write->engine;
    sx_store_op *op = &write->store_op;
    bool always = write->condition.only == SX_PUBLISH_ALWAYS;
    op->request.script = always ? &engine->scripts.write : &engine->scripts.write_if;
    op->request.slot = engine->tags->tags[write->partition].slot;
    op->request.deadline_ns = write->deadline_ns;
    op->request.encode = encode;
    op->request.held = op->request.weight = (size_t)write->item->key_size + write->tail.size + SX_OP_COST;
    op->request.group_kind = !always || carries(write) || write->tail.size > GROUPED_BYTES_MAX ? NULL : &engine->writes;
    op->request.group_tag = write->ns->index;
    op->request.group_key = write->hash;
    op->write = true;
    op->stop_at_tryagain = write->invalidate && !write->warned;
    op->done = write_done;
    if (write->invalidate) SX_PROBE3(invalidate__out, &write->ns->name[0], sx_item_key(write->item), (uint32_t)write->item->key_size);
    if (SX_UNLIKELY(sx_span_is_told(write->span))) write->asked_span = span_of(write, write->span, "strata.l2");
    sx_store_submit_on_loop(engine->store, op);
}

void sx_write_submit_on_loop(sx_write *write) {
    strata *engine = write->engine;
    sx_loop_timer_cancel(engine->loop, &write->timer);
    write->submitted_ns = sx_loop_now_ns(engine->loop);
    write->id = sx_key_random_next(&engine->random);
    if (!write->invalidate) {
        sx_envelope envelope = sx_packed_envelope(write->item, &write->packed, write->id, &write->life);
        sx_envelope_encode_tail(&write->tail, &envelope);
        if (write->tail.failed) {
            sx_write_end_on_loop(write, STRATA_E_NOMEM, 0);
            return;
        }
    }
    write->seen.hash = write->hash;
    write->seen.item = write->item;
    uint32_t stripe = sx_flight_stripe(write->hash);
    sx_flights_lock(engine->flights, stripe);
    sx_write_mark_add_locked(engine->flights, &write->seen);
    sx_flights_unlock(engine->flights, stripe);
    write->mark = sx_trust_mark_on_loop(engine->trust, write->partition);
    transmit(write);
}

/* ---- tags ---- */

static void taken(sx_store_op *op, int32_t status, const sx_resp *reply);

/* Takes the nonces of its tags, then goes on: nothing is stored whose tags' markers are not known. */
static void take_next(sx_write *write) {
    strata *engine = write->engine;
    const sx_item_tagging *tagging = sx_item_tagging_of(write->item);
    sx_tag tag;
    write->tag_next = write->tag_at;
    while (tagging != NULL && sx_tags_next(tagging->bytes, tagging->size, &write->tag_next, &tag)) {
        uint64_t nonce = sx_marks_nonce_on_loop(engine, &tag, INT64_MAX);
        if (nonce == 0) {
            sx_marks_ask_on_loop(engine, &write->store_op, &tag, write->deadline_ns, &write->tag_asked, taken);
            return;
        }
        sx_tag_put(&tag, nonce);
        write->tag_at = write->tag_next;
    }
    if (!sx_unknown_queue_on_loop(write)) sx_write_submit_on_loop(write);
}

static void taken(sx_store_op *op, int32_t status, const sx_resp *reply) {
    sx_write *write = SX_CONTAINER(op, sx_write, store_op);
    const sx_item_tagging *tagging = sx_item_tagging_of(write->item);
    sx_tag tag;
    size_t at = write->tag_at;
    (void)sx_tags_next(tagging->bytes, tagging->size, &at, &tag);
    uint64_t nonce =
        status != STRATA_OK ? 0 : sx_marks_answered_on_loop(write->engine, op, &tag, &write->tag_asked, reply);
    if (nonce == 0) {
        sx_write_end_on_loop(write, status == STRATA_OK ? STRATA_E_CORRUPT : status, 0);
        return;
    }
    sx_tag_put(&tag, nonce);
    write->tag_at = write->tag_next;
    take_next(write);
}

static void run_write_on_loop(sx_task *task) {
    sx_write *write = SX_CONTAINER(task, sx_write, task);
    strata *engine = write->engine;
    int32_t refused = atomic_load_explicit(&engine->refused, memory_order_relaxed); /* relaxed: a status */
    if (engine->stopping) refused = STRATA_E_CLOSED;
    if (refused != STRATA_OK) {
        failed(write, refused);
        return;
    }
    if (sx_namespace_is_foreign(write->ns)) sx_raw_write_on_loop(write);
    else take_next(write);
}

void sx_write_invalidate_on_loop(strata *engine, strata_namespace *ns, const void *key, size_t key_size, int64_t deadline_ns,
                                 void (*ended)(void *context, int32_t status), void *context) {
    sx_op how = {.deadline_ns = deadline_ns};
    sx_write *write = write_create(engine, ns, (strata_bytes){key, key_size}, NULL, &how, 0, NULL);
    if (write == NULL) {
        ended(context, STRATA_E_NOMEM);
        return;
    }
    write->ended = ended;
    write->ended_context = context;
    sx_pending_begin(engine, cost_of(write));
    run_write_on_loop(&write->task);
}

/* ---- public -------------------------------------------------------------------------------------------------- */

static int32_t start(const sx_write_call *call, strata_done_fn done, void *user, bool sync, sx_op **out) {
    strata_session *session = call->session;
    const strata_bytes *value = call->value;
    strata_op_options whole;
    const strata_op_options *options = sx_struct_whole(call->options, &whole, sizeof whole);
    int32_t status = sx_read_check(session, call->ns, call->key, options);
    if (status != STRATA_OK) return status;
    strata *engine = session->engine;
    if (value != NULL && value->size > (size_t)engine->value_bytes_max) return STRATA_E_VALUE_SIZE;
    if (value != NULL && value->size != 0 && value->data == NULL) return STRATA_E_INVALID;
    if (call->condition != NULL && sx_namespace_is_foreign(call->ns)) return STRATA_E_FOREIGN;
    if (call->condition != NULL && !engine->l2_on) return STRATA_E_UNAVAILABLE;
    if (!sx_pending_fits(engine, sx_write_cost(call->key.size, value == NULL ? 0 : value->size, 0))) return STRATA_E_OVERLOADED;
    sx_op *op = sx_session_op(session, value == NULL ? SX_OP_INVALIDATE : SX_OP_SET, options, done, user);
    if (op == NULL) return STRATA_E_NOMEM;
    op->sync = sync;
    sx_trace_scope scope;
    sx_trace_enter(session, options, &scope);
    status = sx_write_start(session, call->ns, call->key, value, options, call->condition, op);
    sx_trace_leave(session, &scope);
    if (status != STRATA_PENDING || (done == NULL && !sync)) sx_session_op_free(op); /* nobody waits */
    else *out = op;
    return status;
}

int32_t sx_write_call_async(const sx_write_call *call, strata_done_fn done, void *user) {
    sx_op *op;
    return start(call, done, user, false, &op);
}

int32_t sx_write_call_wait(const sx_write_call *call, strata_result *out) {
    sx_op *op = NULL;
    int32_t status = start(call, NULL, NULL, true, &op);
    if (status != STRATA_PENDING) {
        if (status == STRATA_OK && out != NULL) sx_result_init(out, STRATA_OK);
        return status;
    }
    strata_session *session = call->session;
    sx_session_await(session, &op->arrived);
    status = op->status;
    if (status >= 0 && out != NULL) (void)sx_result_from_op(session->engine, out, op);
    sx_session_op_free(op);
    return status;
}

int32_t strata_set(strata_session *session, strata_namespace *ns, strata_bytes key, strata_bytes value,
                   const strata_op_options *options, strata_done_fn done, void *user) {
    sx_write_call call = {session, ns, key, &value, options, NULL};
    return sx_write_call_async(&call, done, user);
}

int32_t strata_set_wait(strata_session *session, strata_namespace *ns, strata_bytes key, strata_bytes value,
                        const strata_op_options *options, strata_result *out) {
    sx_write_call call = {session, ns, key, &value, options, NULL};
    return sx_write_call_wait(&call, out);
}

int32_t strata_invalidate(strata_session *session, strata_namespace *ns, strata_bytes key,
                          const strata_op_options *options, strata_done_fn done, void *user) {
    sx_write_call call = {session, ns, key, NULL, options, NULL};
    return sx_write_call_async(&call, done, user);
}

int32_t strata_invalidate_wait(strata_session *session, strata_namespace *ns, strata_bytes key,
                               const strata_op_options *options) {
    sx_write_call call = {session, ns, key, NULL, options, NULL};
    return sx_write_call_wait(&call, NULL);
}
