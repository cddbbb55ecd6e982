/* SPDX-License-Identifier: Apache-2.0 */
/* Invalidating tags and clearing namespaces: each tag's marker gets a new nonce, each partition a new floor, and is announced,
   all of a call at once. */
#include <string.h>

#include "core/flow/engine.h"
#include "core/flow/write/begun.h"
#include "core/flow/foreign.h"

#define REPEAT_NS (2 * SX_NS_PER_S)
#define ANNOUNCE_NS (5 * SX_NS_PER_S)
_Static_assert(STRATA_PATTERN_BYTES_MAX <= STRATA_TAG_BYTES_MAX, "a part has room for either");

/* One tag of a call, or a namespace in one partition. owner: loop */
typedef struct renewal_part {
    sx_store_op store_op;
    struct sx_renewal *renewal;
    sx_asked asked;
    strata_namespace *ns; /* what is cleared; NULL: a tag */
    uint64_t nonce; /* of the last time it was sent */
    uint32_t partition;
    uint32_t size;
    uint8_t name[STRATA_TAG_BYTES_MAX]; /* the tag; of a namespace: none, or the pattern that is announced */
} renewal_part;

typedef struct sx_renewal {
    sx_task task;
    strata *engine;
    sx_work work;           /* lock: stripe */
    uint32_t stripe;        /* const: whose lock guards op */
    int64_t deadline_ns;
    uint32_t count, left;
    int32_t status;         /* the first failure */
    strata_namespace *announced; /* of a pattern; else NULL */
    bool repeated;          /* for nobody: what a failover may have undone */
    void (*ended)(void *context, int32_t status); /* NULL none */
    void *ended_context;
    renewal_part parts[];
} sx_renewal;

static size_t size_of(uint32_t count) { return sizeof(sx_renewal) + count * sizeof(renewal_part); }

/* What a call holds in memory, the commands that are sent included. */
static int64_t cost_of(uint32_t count) { return SX_OP_COST + (int64_t)size_of(count) + (int64_t)count * SX_OP_COST; }

static void renewal_free(sx_renewal *renewal) {
    for (uint32_t i = 0; i < renewal->count; i++) sx_command_deinit(&renewal->parts[i].store_op.request.command);
    sx_release(&renewal->engine->alloc, renewal, size_of(renewal->count));
}

static void end_on_loop(sx_renewal *renewal) {
    strata *engine = renewal->engine;
    sx_pending_end(engine, cost_of(renewal->count));
    if (renewal->announced != NULL) /* here its own messages may still be on their way */
        sx_apply_pattern_on_loop(engine, renewal->announced, SX_PARTITIONS_ALL);
    sx_op *op = sx_work_take(engine, &renewal->work, renewal->stripe);
    if (op != NULL) sx_op_complete(op, renewal->status, STRATA_FROM_NONE, NULL);
    if (renewal->ended != NULL) renewal->ended(renewal->ended_context, renewal->status);
    renewal_free(renewal);
}

static void tag_renewed(const renewal_part *tag, int32_t status, uint64_t n) {
    strata *engine = tag->renewal->engine;
    if (status == STRATA_OK) sx_marks_renewed_on_loop(engine, tag->name, tag->size, n, tag->nonce);
    else sx_marks_doubt_on_loop(engine, tag->name, tag->size); /* it may have been executed, or still be */
    sx_flights_mark_tag(engine, tag->name, tag->size, status == STRATA_OK ? tag->nonce : 0);
}

static void tag_over(renewal_part *tag, int32_t status, uint64_t n) {
    sx_renewal *renewal = tag->renewal;
    strata *engine = renewal->engine;
    if (tag->ns == NULL) tag_renewed(tag, status, n);
    else if (status == STRATA_OK && tag->size == 0) sx_apply_clear_on_loop(engine, tag->ns, tag->partition, n);
    if ((status == STRATA_OK || renewal->repeated) && (tag->ns == NULL || tag->size == 0))
        sx_recovery_note_renewal_on_loop(engine, tag->ns, tag->name, tag->size, tag->partition,
                                         status == STRATA_OK ? tag->store_op.request.identity : 0, renewal->repeated);
    if (status != STRATA_OK && renewal->status == STRATA_OK) renewal->status = status;
    if (--renewal->left == 0) end_on_loop(renewal);
}

static void transmit(renewal_part *tag);

static void untrust_told(sx_store_op *op, int32_t status, const sx_resp *reply) {
    (void)reply;
    renewal_part *tag = SX_CONTAINER(op, renewal_part, store_op);
    if (status != STRATA_OK) {
        tag_over(tag, status, 0);
        return;
    }
    sx_asked_told(tag->renewal->engine, &tag->asked, tag->partition);
    transmit(tag);
}

static void tag_done(sx_store_op *op, int32_t status, const sx_resp *reply) {
    renewal_part *tag = SX_CONTAINER(op, renewal_part, store_op);
    strata *engine = tag->renewal->engine;
    uint64_t n = 0;
    int64_t server_ms;
    sx_publish_verdict verdict = status == STRATA_OK ? sx_publish_decode(reply, &n, &server_ms) : SX_PUBLISH_DONE;
    if (verdict == SX_PUBLISH_LATE && tag->asked.held_back) {
        if (sx_asked_must_tell(engine, op, tag->partition))
            sx_asked_tell_on_loop(engine, op, tag->partition, untrust_told);
        else transmit(tag);
        return;
    }
    if (verdict != SX_PUBLISH_DONE) status = STRATA_E_UNKNOWN_OUTCOME; /* an answer that makes no sense */
    tag_over(tag, status, n);
}

/* Executed late, or twice, a clear removes more than it had to, and nothing less. */
static void encode_clear(sx_redis_request *request, const sx_redis_node *node) {
    sx_store_op *op = SX_CONTAINER(request, sx_store_op, request);
    renewal_part *part = SX_CONTAINER(op, renewal_part, store_op);
    strata *engine = part->renewal->engine;
    sx_publish_write command = {.key = {.partition = part->partition,
                                        .ns = part->ns->name,
                                        .ns_size = part->ns->name_size,
                                        .ns_version = part->ns->version,
                                        .key = part->name,
                                        .key_size = part->size}};
    sx_asked_encode(engine, &part->asked, node, &command);
    sx_command_clear(&request->command);
    sx_publish_encode_clear(&engine->publish, &command.key, command.deadline_ms, &request->command);
}

static void encode_tag(sx_redis_request *request, const sx_redis_node *node) {
    sx_store_op *op = SX_CONTAINER(request, sx_store_op, request);
    renewal_part *tag = SX_CONTAINER(op, renewal_part, store_op);
    strata *engine = tag->renewal->engine;
    sx_buf tail;
    /* Each time it is sent it is another nonce: one that was executed without our knowing may be in entries by now, which the
       same nonce, executed again after another process's renewal, would make valid once more. So no deadline is needed: what is
       renewed late, or twice, names a nonce that nobody holds. */
    tag->nonce = sx_key_random_next(&engine->random);
    sx_marks_encode_tail(engine, tag->nonce, &tail);
    sx_publish_write command = {.key = {.partition = tag->partition,
                                        .key = tag->name,
                                        .key_size = tag->size,
                                        .what = SX_PUBLISH_TAG},
                                .id = tag->nonce,
                                .ttl_ms = SX_MARKS_TTL_MS,
                                .tail = tail.data,
                                .tail_size = tail.size};
    sx_asked_encode(engine, &tag->asked, node, &command);
    sx_command_clear(&request->command);
    sx_publish_encode_write(&engine->publish, &command, &request->command);
    if (tail.failed) request->command.args.failed = true;
    sx_buf_deinit(&tail);
}

static void transmit(renewal_part *tag) {
    strata *engine = tag->renewal->engine;
    sx_store_op *op = &tag->store_op;
    op->request.script = tag->ns == NULL ? &engine->scripts.write : &engine->scripts.clear;
    op->request.slot = engine->tags->tags[tag->partition].slot;
    op->request.deadline_ns = tag->renewal->deadline_ns;
    op->request.encode = tag->ns == NULL ? encode_tag : encode_clear;
    op->write = false; /* sent again where its outcome is unknown: see there */
    op->done = tag_done;
    sx_store_submit_on_loop(engine->store, op);
}

static void run_on_loop(sx_task *task) {
    sx_renewal *renewal = SX_CONTAINER(task, sx_renewal, task);
    strata *engine = renewal->engine;
    int32_t refused = atomic_load_explicit(&engine->refused, memory_order_relaxed); /* relaxed: a status */
    if (engine->stopping) refused = STRATA_E_CLOSED;
    renewal->left = renewal->count;
    for (uint32_t i = 0, count = renewal->count; i < count; i++) { /* the last one's end frees it */
        renewal_part *tag = &renewal->parts[i];
        if (refused != STRATA_OK) tag_over(tag, refused, 0);
        else transmit(tag);
    }
}

static sx_renewal *renewal_create(strata *engine, uint32_t count, int64_t deadline_ns) {
    sx_renewal *renewal = sx_allocate_zero(&engine->alloc, size_of(count));
    if (renewal == NULL) return NULL;
    renewal->task.run_on_loop = run_on_loop;
    renewal->engine = engine;
    renewal->deadline_ns = deadline_ns;
    renewal->count = count;
    for (uint32_t i = 0; i < count; i++) {
        sx_command_init(&renewal->parts[i].store_op.request.command, &engine->alloc);
        renewal->parts[i].renewal = renewal;
    }
    return renewal;
}

static void name_tag(renewal_part *part, const void *name, size_t size) {
    part->size = (uint32_t)size;
    part->partition = sx_key_partition(name, size, part->renewal->engine->partitions);
    memcpy(part->name, name, size);
}

bool sx_renewal_repeat_on_loop(strata *engine, strata_namespace *ns, uint32_t partition, const void *name, uint32_t size) {
    sx_renewal *renewal = renewal_create(engine, 1, sx_loop_now_ns(engine->loop) + REPEAT_NS);
    if (renewal == NULL) return false;
    if (ns == NULL) name_tag(&renewal->parts[0], name, size);
    renewal->parts[0].ns = ns;
    renewal->parts[0].partition = partition;
    renewal->repeated = true;
    sx_pending_begin(engine, cost_of(1));
    sx_counter_add_shared(&engine->counters[SX_FLOW_METRIC_TAGS_REPEATED], 1);
    sx_loop_post(engine->loop, &renewal->task);
    return true;
}

bool sx_renewal_announce_on_loop(strata *engine, strata_namespace *ns, const void *pattern, uint32_t size, sx_work *from,
                                 int32_t status, void (*ended)(void *context, int32_t status), void *context) {
    sx_renewal *renewal = renewal_create(engine, engine->partitions, sx_loop_now_ns(engine->loop) + ANNOUNCE_NS);
    if (renewal == NULL) return false;
    for (uint32_t i = 0; i < engine->partitions; i++) {
        renewal_part *part = &renewal->parts[i];
        part->ns = ns;
        part->partition = i;
        part->size = size;
        memcpy(part->name, pattern, size);
    }
    renewal->status = status;
    renewal->announced = ns;
    renewal->ended = ended;
    renewal->ended_context = context;
    sx_flights_lock(engine->flights, renewal->stripe);
    sx_op *op = sx_work_take_locked(from); /* under the lock that its session's close looks under: at no time is it nobody's */
    if (op != NULL) sx_work_link(&renewal->work, op);
    sx_flights_unlock(engine->flights, renewal->stripe);
    sx_pending_begin(engine, cost_of(engine->partitions));
    run_on_loop(&renewal->task);
    return true;
}

void sx_renewal_start_on_loop(strata *engine, strata_namespace *ns, const void *tag, uint32_t size, int64_t deadline_ns,
                              void (*ended)(void *context, int32_t status), void *context) {
    uint32_t count = ns == NULL ? 1 : engine->partitions;
    sx_renewal *renewal = renewal_create(engine, count, deadline_ns);
    if (renewal == NULL) {
        ended(context, STRATA_E_NOMEM);
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (ns == NULL) name_tag(&renewal->parts[i], tag, size);
        else renewal->parts[i].partition = i;
        renewal->parts[i].ns = ns;
    }
    renewal->ended = ended;
    renewal->ended_context = context;
    sx_pending_begin(engine, cost_of(count));
    run_on_loop(&renewal->task);
}

/* Without L2 the markers here are all there are. */
static int32_t renew_here(strata *engine, const strata_bytes *tags, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        sx_marks_renew_here(engine, tags[i].data, tags[i].size);
        sx_flights_mark_tag(engine, tags[i].data, tags[i].size, 0);
    }
    return STRATA_OK;
}

/* Loads under way first: what they bring after that is as old as what is there. */
static int32_t clear_here(strata *engine, strata_namespace *ns) {
    sx_flights_mark_wide(engine->flights, SX_PARTITIONS_ALL, ns, 0);
    sx_namespace_cleared(ns);
    return STRATA_OK;
}

/* ---- public -------------------------------------------------------------------------------------------------- */

/* What is to be renewed: tags, or a namespace in all partitions. */
typedef struct renewal_call {
    strata_session *session;
    const strata_bytes *tags;
    strata_namespace *ns; /* NULL: tags */
    uint32_t count;
    const strata_op_options *options;
    strata_done_fn done;
    void *user;
    bool sync;
} renewal_call;

static int32_t start_on_loop(const renewal_call *call, sx_op **out) {
    strata *engine = call->session->engine;
    uint32_t count = call->count;
    if (!sx_pending_fits(engine, cost_of(count))) return STRATA_E_OVERLOADED;
    sx_op *op = sx_session_op(call->session, SX_OP_INVALIDATE, call->options, call->done, call->user);
    if (op == NULL) return STRATA_E_NOMEM;
    sx_renewal *renewal = renewal_create(engine, count, op->deadline_ns);
    if (renewal == NULL) {
        sx_session_op_free(op);
        return STRATA_E_NOMEM;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (call->ns == NULL) name_tag(&renewal->parts[i], call->tags[i].data, call->tags[i].size);
        else renewal->parts[i].partition = i;
        renewal->parts[i].ns = call->ns;
    }
    sx_trace_scope scope;
    sx_trace_enter(call->session, call->options, &scope);
    if (sx_session_is_traced(call->session))
        op->span = sx_trace_call(call->session, &(sx_span_about){call->ns == NULL ? "strata.invalidate_tags" : "strata.clear", call->ns, 0, {NULL, 0}});
    sx_trace_leave(call->session, &scope);
    sx_work_begin(&renewal->work, op, call->sync, out);
    sx_pending_begin(engine, cost_of(count));
    sx_loop_post(engine->loop, &renewal->task);
    return STRATA_PENDING;
}

static int32_t start(const renewal_call *given, sx_op **out) {
    strata_op_options whole;
    renewal_call with_whole = *given;
    const renewal_call *call = &with_whole;
    with_whole.options = sx_struct_whole(given->options, &whole, sizeof whole);
    strata_session *session = call->session;
    strata *engine = session->engine;
    int32_t status = sx_engine_alive(engine);
    if (status == STRATA_OK && sx_session_is_closing(session)) status = STRATA_E_CLOSED;
    if (status == STRATA_OK) status = sx_options_check(call->options);
    if (status != STRATA_OK) return status;
    if (call->ns == NULL) (void)sx_counter_add(&session->counters[SX_SESSION_METRIC_TAGS_INVALIDATED], call->count);
    else (void)sx_session_count(session, call->ns, SX_SESSION_METRIC_CLEARS);
    if (engine->l2_on) return start_on_loop(call, out);
    return call->ns == NULL ? renew_here(engine, call->tags, call->count) : clear_here(engine, call->ns);
}

static int32_t start_and_wait(const renewal_call *call) {
    sx_op *op = NULL;
    int32_t status = start(call, &op);
    return status == STRATA_PENDING ? sx_op_wait(op) : status;
}

int32_t strata_invalidate_tags(strata_session *session, const strata_bytes *tags, uint32_t count,
                               const strata_op_options *options, strata_done_fn done, void *user) {
    if (session == NULL || count == 0 || !sx_tags_good(tags, count)) return STRATA_E_INVALID;
    sx_op *op;
    renewal_call call = {session, tags, NULL, count, options, done, user, false};
    return start(&call, &op);
}

int32_t strata_invalidate_tags_wait(strata_session *session, const strata_bytes *tags, uint32_t count,
                                    const strata_op_options *options) {
    if (session == NULL || count == 0 || !sx_tags_good(tags, count)) return STRATA_E_INVALID;
    renewal_call call = {session, tags, NULL, count, options, NULL, NULL, true};
    return start_and_wait(&call);
}

int32_t strata_clear(strata_session *session, strata_namespace *ns, const strata_op_options *options, strata_done_fn done,
                     void *user) {
    if (session == NULL || ns == NULL || ns->engine != session->engine) return STRATA_E_INVALID;
    if (sx_namespace_is_foreign(ns)) return STRATA_E_FOREIGN;
    sx_op *op;
    renewal_call call = {session, NULL, ns, session->engine->partitions, options, done, user, false};
    return start(&call, &op);
}

int32_t strata_clear_wait(strata_session *session, strata_namespace *ns, const strata_op_options *options) {
    if (session == NULL || ns == NULL || ns->engine != session->engine) return STRATA_E_INVALID;
    if (sx_namespace_is_foreign(ns)) return STRATA_E_FOREIGN;
    renewal_call call = {session, NULL, ns, session->engine->partitions, options, NULL, NULL, true};
    return start_and_wait(&call);
}
