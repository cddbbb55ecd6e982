/* SPDX-License-Identifier: Apache-2.0 */
/* Batches: many keys in one call, each an operation of its own, one completion for all. */
#include "core/flow/engine.h"
#include "core/flow/foreign.h"

typedef enum batch_kind { BATCH_GET, BATCH_LOAD, BATCH_SET, BATCH_INVALIDATE } batch_kind;

typedef struct batch_call {
    batch_kind kind;
    strata_session *session;
    strata_namespace *ns;
    const strata_bytes *keys;
    const strata_bytes *values; /* of BATCH_SET */
    size_t count;
    const strata_op_options *options;
    strata_done_many_fn done;
    void *user;
    strata_result *results; /* NULL: asynchronous */
    strata_batch_loader_fn loader; /* of BATCH_LOAD */
    void *loader_user;
} batch_call;

static uint32_t flags_of(const batch_call *call) { return call->options == NULL ? 0 : call->options->flags; }

static int32_t check(const batch_call *call) {
    if (call->keys == NULL || call->count == 0 || call->count > SX_BATCH_MAX) return STRATA_E_INVALID;
    if (sx_options_check(call->options) != STRATA_OK || (flags_of(call) & STRATA_ON_LOOP) != 0) return STRATA_E_INVALID;
    for (size_t i = 0; i < call->count; i++) {
        int32_t status = sx_read_check(call->session, call->ns, call->keys[i], call->options);
        if (status != STRATA_OK) return status;
        if (call->kind != BATCH_SET) continue;
        if (call->values[i].size > (size_t)call->session->engine->value_bytes_max) return STRATA_E_VALUE_SIZE;
        if (call->values[i].size != 0 && call->values[i].data == NULL) return STRATA_E_INVALID;
    }
    return STRATA_OK;
}

static bool reads(const batch_call *call) { return call->kind == BATCH_GET || call->kind == BATCH_LOAD; }

static size_t batch_size(size_t count) { return sizeof(sx_batch) + count * sizeof(strata_result); }

void sx_batch_finish(sx_batch *batch) {
    strata_session *session = batch->session;
    sx_span_end(batch->span, STRATA_OK, STRATA_FROM_NONE);
    if (batch->done != NULL) batch->done(batch->user, batch->results, batch->count);
    for (uint32_t i = 0; i < batch->count; i++) strata_result_release(session, &batch->results[i]);
    sx_release(&session->engine->alloc, batch, batch_size(batch->count));
}

void sx_batch_child_arrived(sx_op *op) {
    sx_batch *batch = op->batch;
    (void)sx_result_from_op(op->session->engine, &batch->results[op->batch_index], op);
    sx_session_op_free(op);
    batch->remaining--;
    if (batch->remaining == 0) {
        if (batch->sync) batch->over = true;
        else sx_batch_finish(batch);
    }
}

#define AHEAD 16u /* keys whose buckets and items are asked for together */

/* What a key's bytes say. */
typedef struct place {
    uint64_t hash;
    uint32_t partition;
} place;

/* Where some keys of a batch are; their cache misses in L1 are begun all together, first of buckets, then of items. */
static void look_ahead(const batch_call *call, uint32_t first, uint32_t count, place *places) {
    strata *engine = call->session->engine;
    bool l1 = engine->l1_on && reads(call);
    for (uint32_t i = 0; i < count; i++) {
        strata_bytes key = call->keys[first + i];
        places[i].hash = sx_l1_hash(&engine->secret, call->ns->index, key.data, key.size);
        places[i].partition = sx_namespace_partition(call->ns, key.data, key.size);
    }
    if (!l1 || count == 1) return;
    sx_epoch_pin(call->session->record);
    for (uint32_t i = 0; i < count; i++) sx_l1_prefetch(engine->l1, places[i].hash);
    for (uint32_t i = 0; i < count; i++) sx_l1_prefetch_item(engine->l1, places[i].hash);
    sx_epoch_unpin(call->session->record);
}

/* Whether L1 has the answer. */
static bool answer_here(const batch_call *call, strata_bytes key, const place *at, sx_gather *gather, strata_result *result,
                        sx_read_more *more) {
    strata_session *session = call->session;
    (void)sx_session_count(session, call->ns, SX_SESSION_METRIC_GETS);
    if ((flags_of(call) & (STRATA_BYPASS_L1 | STRATA_REFRESH)) != 0 || !sx_rollout_l1(call->ns, key.data, key.size)) return false;
    int32_t status = sx_read_peek(session, at->hash, at->partition, call->ns, key, result, more);
    if (SX_UNLIKELY(!sx_namespace_is_plain(call->ns))) sx_read_note(session, call->ns, key, at->hash, status);
    if (SX_UNLIKELY(sx_is_analysed(call->ns))) sx_analysis_note_read(session, call->ns, key, at->hash, result, status, true);
    if (more->refresh != NULL)
        sx_read_refresh(session, call->ns, key, at->hash, at->partition, call->options, sx_gather_run, gather, gather, more);
    if (status == STRATA_OK || status == STRATA_STALE) sx_result_keep(session, result);
    else result->status = status;
    if (more->absent) result->reason = STRATA_REASON_ABSENT;
    return status != STRATA_MISS || more->absent;
}

/* What a child holds in memory, beyond what it will count by itself. */
static int64_t cost_of(const batch_call *call, uint32_t index) {
    if (reads(call)) return SX_OP_COST;
    return sx_write_cost(call->keys[index].size, call->kind == BATCH_SET ? call->values[index].size : 0, 0);
}

/* What a key was answered at once, where L1 did not look like having it. */
static void answered(const batch_call *call, int32_t status, strata_result *result) {
    if (reads(call) && (status == STRATA_OK || status == STRATA_STALE)) sx_result_keep(call->session, result);
    else sx_result_init(result, status);
}

/* Frees op where it fails. */
static int32_t start_op(const batch_call *call, uint32_t index, const place *at, sx_gather *gather, sx_op *op,
                        const sx_read_more *more) {
    strata_session *session = call->session;
    strata_bytes key = call->keys[index];
    if (reads(call)) {
        if (gather != NULL) {
            sx_read_give_loader(op, call->ns, sx_gather_run, gather);
            sx_gather_join(gather, op);
        }
        int32_t status = sx_read_slow(session, call->ns, key, at->hash, at->partition, op, more);
        return status == STRATA_PENDING ? status : sx_read_refused(op, key, at->partition, status, &op->batch->results[index]);
    }
    const strata_bytes *value = call->kind == BATCH_SET ? &call->values[index] : NULL;
    int32_t status = sx_write_start(session, call->ns, key, value, call->options, NULL, op);
    if (status != STRATA_PENDING) sx_session_op_free(op);
    return status;
}

/* One key: answered at once into its result, or under way as a child. */
static void start_child(const batch_call *call, sx_batch *batch, uint32_t index, const place *at, sx_gather *gather) {
    static const sx_op_kind kinds[] = {SX_OP_GET, SX_OP_LOAD, SX_OP_SET, SX_OP_INVALIDATE};
    strata_session *session = call->session;
    strata *engine = session->engine;
    strata_result *result = &batch->results[index];
    sx_result_init(result, STRATA_MISS);
    sx_read_more more = {.loads = call->kind == BATCH_LOAD};
    if (reads(call) && answer_here(call, call->keys[index], at, gather, result, &more)) return;
    if (reads(call) && !sx_read_asks_l2(call->ns, call->keys[index], flags_of(call))) { /* then nothing is revalidated */
        if (more.candidate != NULL) sx_item_release(more.candidate);
        more.candidate = NULL;
        if (call->kind == BATCH_GET) return;
    }
    int32_t status = STRATA_E_NOMEM;
    sx_op *op = NULL;
    if (!sx_pending_fits(engine, cost_of(call, index))) status = STRATA_E_OVERLOADED;
    else op = sx_session_op(session, kinds[call->kind], call->options, NULL, NULL);
    if (op == NULL) {
        if (more.candidate != NULL) sx_item_release(more.candidate);
        if (status == STRATA_E_OVERLOADED && reads(call))
            status = sx_read_crowded(session, call->ns, call->keys[index], at->hash, at->partition, flags_of(call), result);
        answered(call, status, result);
        return;
    }
    op->batch = batch;
    op->batch_index = index;
    if (reads(call) && session->trace != NULL)
        op->span = sx_trace_call(session, &(sx_span_about){call->kind == BATCH_GET ? "strata.get" : "strata.get_or_load", call->ns, at->hash,
                                                           call->keys[index]});
    batch->remaining++;
    status = start_op(call, index, at, gather, op, &more);
    if (status == STRATA_PENDING) return;
    batch->remaining--;
    answered(call, status, result);
}

static int32_t run(const batch_call *given) {
    static const char *const names[] = {"strata.mget", "strata.mget_or_load", "strata.mset", "strata.minvalidate"};
    strata_op_options whole;
    batch_call with_whole = *given;
    const batch_call *call = &with_whole;
    with_whole.options = sx_struct_whole(given->options, &whole, sizeof whole);
    int32_t status = check(call);
    if (status != STRATA_OK) return status;
    strata_session *session = call->session;
    bool sync = call->results != NULL;
    sx_gather *gather = NULL;
    if (call->kind == BATCH_LOAD) {
        gather = sx_gather_create(session->engine, call->loader, call->loader_user);
        if (gather == NULL) return STRATA_E_NOMEM;
    }
    sx_batch local = {.session = session, .sync = true, .count = (uint32_t)call->count, .results = call->results};
    sx_batch *batch = &local;
    if (!sync) {
        batch = sx_allocate_zero(&session->engine->alloc, batch_size(call->count));
        if (batch == NULL) {
            if (gather != NULL) sx_gather_release(gather);
            return STRATA_E_NOMEM;
        }
        batch->letter.kind = SX_MAIL_BATCH;
        batch->session = session;
        batch->done = call->done;
        batch->user = call->user;
        batch->count = (uint32_t)call->count;
        batch->results = (strata_result *)(void *)(batch + 1);
    }
    sx_trace_scope scope;
    sx_trace_enter(session, call->options, &scope);
    sx_span *context = session->trace;
    if (SX_UNLIKELY(sx_session_is_traced(session))) { /* its keys' spans are children of its own */
        batch->span = sx_trace_call(session, &(sx_span_about){names[call->kind], call->ns, 0, {NULL, 0}});
        if (batch->span != NULL) session->trace = batch->span;
    }
    batch->remaining = 1; /* our own, so that no child ends the batch before all have started */
    for (uint32_t first = 0; first < batch->count; first += AHEAD) {
        place places[AHEAD];
        uint32_t count = batch->count - first < AHEAD ? batch->count - first : AHEAD;
        look_ahead(call, first, count, places);
        for (uint32_t i = 0; i < count; i++) start_child(call, batch, first + i, &places[i], gather);
    }
    session->trace = context;
    sx_trace_leave(session, &scope);
    if (gather != NULL) sx_gather_started(gather);
    batch->remaining--;
    if (sync) {
        batch->over = batch->remaining == 0;
        sx_session_await(session, &batch->over);
        sx_span_end(batch->span, STRATA_OK, STRATA_FROM_NONE);
        return STRATA_OK;
    }
    if (batch->remaining == 0) sx_session_post(session, &batch->letter);
    return STRATA_PENDING;
}

int32_t strata_mget(strata_session *session, strata_namespace *ns, const strata_bytes *keys, size_t count,
                    const strata_op_options *options, strata_done_many_fn done, void *user) {
    batch_call call = {BATCH_GET, session, ns, keys, NULL, count, options, done, user, NULL, NULL, NULL};
    return done == NULL ? STRATA_E_INVALID : run(&call);
}

int32_t strata_mget_wait(strata_session *session, strata_namespace *ns, const strata_bytes *keys, size_t count,
                         const strata_op_options *options, strata_result *results) {
    batch_call call = {BATCH_GET, session, ns, keys, NULL, count, options, NULL, NULL, results, NULL, NULL};
    return results == NULL ? STRATA_E_INVALID : run(&call);
}

int32_t strata_mget_or_load(strata_session *session, strata_namespace *ns, const strata_bytes *keys, size_t count,
                            const strata_op_options *options, strata_batch_loader_fn loader, void *loader_user,
                            strata_done_many_fn done, void *user) {
    batch_call call = {BATCH_LOAD, session, ns, keys, NULL, count, options, done, user, NULL, loader, loader_user};
    return done == NULL || loader == NULL ? STRATA_E_INVALID : run(&call);
}

int32_t strata_mget_or_load_wait(strata_session *session, strata_namespace *ns, const strata_bytes *keys, size_t count,
                                 const strata_op_options *options, strata_batch_loader_fn loader, void *loader_user,
                                 strata_result *results) {
    batch_call call = {BATCH_LOAD, session, ns, keys, NULL, count, options, NULL, NULL, results, loader, loader_user};
    return loader == NULL || results == NULL ? STRATA_E_INVALID : run(&call);
}

int32_t strata_mset(strata_session *session, strata_namespace *ns, const strata_bytes *keys,
                    const strata_bytes *values, size_t count, const strata_op_options *options,
                    strata_done_many_fn done, void *user) {
    batch_call call = {BATCH_SET, session, ns, keys, values, count, options, done, user, NULL, NULL, NULL};
    return values == NULL ? STRATA_E_INVALID : run(&call);
}

int32_t strata_mset_wait(strata_session *session, strata_namespace *ns, const strata_bytes *keys,
                         const strata_bytes *values, size_t count, const strata_op_options *options,
                         strata_result *results) {
    batch_call call = {BATCH_SET, session, ns, keys, values, count, options, NULL, NULL, results, NULL, NULL};
    return results == NULL || values == NULL ? STRATA_E_INVALID : run(&call);
}

int32_t strata_minvalidate(strata_session *session, strata_namespace *ns, const strata_bytes *keys, size_t count,
                           const strata_op_options *options, strata_done_many_fn done, void *user) {
    batch_call call = {BATCH_INVALIDATE, session, ns, keys, NULL, count, options, done, user, NULL, NULL, NULL};
    return run(&call);
}

int32_t strata_minvalidate_wait(strata_session *session, strata_namespace *ns, const strata_bytes *keys, size_t count,
                                const strata_op_options *options, strata_result *results) {
    batch_call call = {BATCH_INVALIDATE, session, ns, keys, NULL, count, options, NULL, NULL, results, NULL, NULL};
    return results == NULL ? STRATA_E_INVALID : run(&call);
}
