/* SPDX-License-Identifier: Apache-2.0 */
/* Looking at a value without its bytes: whether it is there, how long it lives, and having it live longer. */
#include "core/flow/errand.h"
#include "core/flow/foreign.h"

static sx_errand *errand_of(sx_store_op *op) { return SX_CONTAINER(op, sx_errand, store_op); }

/* ---- longer in L1 --------------------------------------------------------------------------------------------- */

/* L1's entry of that version lives longer too: a copy takes its place, as proven as it is itself. */
static void extend(strata *engine, sx_epoch_record *record, const strata_namespace *ns, uint64_t hash, strata_bytes key,
                   uint64_t n, uint64_t id, const sx_lifetime *life, int64_t now_ns) {
    uint32_t stripe = sx_flight_stripe(hash);
    sx_policy policy;
    sx_policy_read(ns, &policy);
    int64_t ends_ns = life->ttl_ms == 0 ? SX_EXPIRES_NEVER : now_ns + life->ttl_ms * SX_NS_PER_MS;
    sx_flights_lock(engine->flights, stripe);
    sx_epoch_pin(record);
    const sx_item *item = sx_l1_find_pinned(engine->l1, hash, ns->index, key.data, key.size);
    bool same = item != NULL && item->n == n && item->id == id && (item->flags & SX_ITEM_NOTHING) == 0 &&
                sx_item_fresh_ns(item) < ends_ns;
    sx_item *copy = same ? sx_item_copy(item) : NULL;
    sx_epoch_unpin(record);
    if (copy != NULL) {
        copy->written_ms = now_ns / SX_NS_PER_MS;
        sx_policy_age(&policy, copy, now_ns, sx_lifetime_left_ms(life), life);
        (void)sx_l1_put(engine->l1, record, hash, copy, SX_L1_PUT_NEWER);
        sx_item_release(copy);
    }
    sx_flights_unlock(engine->flights, stripe);
}

/* ---- on the loop ---- */

static void over(sx_errand *errand, int32_t status) {
    strata *engine = errand->engine;
    sx_item *item = errand->item;
    strata_bytes key = {errand->key, errand->key_size};
    if (status == STRATA_OK && errand->touches && engine->l1_on) {
        sx_lifetime life = {.ttl_ms = errand->life.ttl_ms, .stale_ms = errand->stale_ms};
        extend(engine, engine->loop_record, errand->ns, errand->hash, key, item->n, item->id, &life, sx_loop_now_ns(engine->loop));
    }
    sx_errand_end_on_loop(errand, status, status == STRATA_OK ? item : NULL, 0);
}

static void marked(sx_store_op *op, int32_t status, const sx_resp *reply);

/* A tag that was invalidated: what is there is not, for any reader. */
static void judge_next(sx_errand *errand) {
    strata *engine = errand->engine;
    const sx_item_tagging *tagging = sx_item_tagging_of(errand->item);
    sx_tag tag;
    errand->tag_next = errand->tag_at;
    while (tagging != NULL && sx_tags_next(tagging->bytes, tagging->size, &errand->tag_next, &tag)) {
        uint64_t nonce = sx_marks_nonce_on_loop(engine, &tag, INT64_MAX);
        if (nonce == 0) {
            sx_marks_ask_on_loop(engine, &errand->store_op, &tag, errand->deadline_ns, &errand->tag_asked, marked);
            return;
        }
        if (nonce != tag.nonce) {
            over(errand, STRATA_MISS);
            return;
        }
        errand->tag_at = errand->tag_next;
    }
    over(errand, STRATA_OK);
}

static void marked(sx_store_op *op, int32_t status, const sx_resp *reply) {
    sx_errand *errand = errand_of(op);
    const sx_item_tagging *tagging = sx_item_tagging_of(errand->item);
    sx_tag tag;
    size_t at = errand->tag_at;
    (void)sx_tags_next(tagging->bytes, tagging->size, &at, &tag);
    uint64_t nonce =
        status != STRATA_OK ? 0 : sx_marks_answered_on_loop(errand->engine, op, &tag, &errand->tag_asked, reply);
    if (nonce == 0) {
        over(errand, status == STRATA_OK ? STRATA_E_CORRUPT : status);
    } else if (nonce != tag.nonce) {
        over(errand, STRATA_MISS);
    } else {
        errand->tag_at = errand->tag_next;
        judge_next(errand);
    }
}

static void looked(sx_store_op *op, int32_t status, const sx_resp *reply) {
    sx_errand *errand = errand_of(op);
    strata *engine = errand->engine;
    const char *bytes = NULL;
    size_t size = 0;
    sx_envelope envelope;
    if (status == STRATA_OK && reply->type == SX_RESP_INTEGER) status = STRATA_E_TIMEOUT; /* refused as late */
    else if (status == STRATA_OK && !sx_publish_decode_look(reply, &bytes, &size)) status = STRATA_E_PROTOCOL;
    if (status == STRATA_OK && bytes == NULL) status = STRATA_MISS;
    if (status == STRATA_OK && sx_envelope_decode_head(bytes, size, &envelope) != SX_ENVELOPE_VALUE) status = STRATA_E_CORRUPT;
    bool hidden = sx_unknown_hides_on_loop(engine, errand->hash, errand->ns->index, errand->key, errand->key_size) ||
                  sx_recovery_hides_on_loop(engine, errand->hash, errand->ns->index, errand->key, errand->key_size, op->request.identity);
    if (status == STRATA_OK && (hidden || (envelope.flags & SX_ENVELOPE_ABSENT) != 0)) status = STRATA_MISS;
    if (status == STRATA_OK) {
        envelope.flags = 0; /* there is nothing to unpack */
        envelope.payload = (const uint8_t *)"";
        errand->stale_ms = envelope.stale_ms;
        status = sx_fetch_item_on_loop(engine, errand->ns, errand->partition, (strata_bytes){errand->key, errand->key_size},
                                       &envelope, op->request.node, true, &errand->item);
    }
    if (status == STRATA_OK) judge_next(errand);
    else over(errand, status);
}

static void encode(sx_redis_request *request, const sx_redis_node *node) {
    sx_errand *errand = errand_of(SX_CONTAINER(request, sx_store_op, request));
    sx_publish_key key = sx_errand_publish_key(errand, SX_PUBLISH_VALUE);
    sx_command_clear(&request->command);
    sx_publish_encode_look(&errand->engine->publish, &key, sx_errand_deadline_ms(errand, node),
                           errand->touches ? errand->life.ttl_ms : -1, &request->command);
}

/* Executed twice it does no harm. */
static void send_on_loop(sx_errand *errand) {
    sx_counter_add_shared(&errand->engine->counters[SX_FLOW_METRIC_LOOKS], 1);
    sx_errand_submit_on_loop(errand, &errand->engine->scripts.look, false, encode, looked);
}

/* ---- public -------------------------------------------------------------------------------------------------- */

/* What L1 may answer with, its bytes left out. */
static int32_t answer_here(strata_session *session, const strata_namespace *ns, strata_bytes key, uint64_t hash, strata_result *out) {
    uint32_t partition = sx_key_partition(key.data, key.size, session->engine->partitions);
    strata_result found;
    sx_read_more more = {.bare = true};
    int32_t status = sx_read_peek(session, hash, partition, ns, key, &found, &more);
    if (more.candidate != NULL) sx_item_release(more.candidate);
    if (status == STRATA_OK || status == STRATA_STALE) strata_result_release(session, &found);
    if (status != STRATA_OK) return STRATA_MISS;
    found.value = (strata_bytes){NULL, 0};
    *out = found;
    return STRATA_OK;
}

typedef struct look_call {
    strata_session *session;
    strata_namespace *ns;
    strata_bytes key;
    const strata_op_options *options;
    bool touches;
} look_call;

/* Answers at once, or hands over an op that is under way. */
static int32_t look(const look_call *given, strata_result *out, strata_done_fn done, void *user, bool sync, sx_op **op) {
    strata_op_options whole;
    const strata_op_options *options = sx_struct_whole(given->options, &whole, sizeof whole);
    strata_session *session = given->session;
    strata_namespace *ns = given->ns;
    strata_bytes key = given->key;
    int32_t status = sx_read_check(session, ns, key, options);
    if (status != STRATA_OK) return status;
    if (sx_namespace_is_foreign(ns)) return STRATA_E_FOREIGN;
    strata *engine = session->engine;
    uint64_t hash = sx_l1_hash(&engine->secret, ns->index, key.data, key.size);
    uint32_t flags = options == NULL ? 0 : options->flags;
    bool here = (flags & STRATA_BYPASS_L1) == 0 && sx_rollout_l1(ns, key.data, key.size);
    int64_t now_ns = sx_engine_now(engine);
    sx_lifetime life = sx_policy_lifetime(ns, options == NULL ? 0 : options->ttl_ms, hash, now_ns);
    bool asks = sx_read_asks_l2(ns, key, flags);
    if (here && (!given->touches || !asks) && answer_here(session, ns, key, hash, out) == STRATA_OK) {
        if (given->touches) extend(engine, session->record, ns, hash, key, out->version_n, out->version_id, &life, now_ns);
        return given->touches ? answer_here(session, ns, key, hash, out) : STRATA_OK;
    }
    if (!asks) return STRATA_MISS;
    sx_errand_call call = {session, ns, key, options, send_on_loop, 0, given->touches, done, user, sync, given->touches ? "strata.touch" : "strata.exists"};
    return sx_errand_start(&call, &life, op);
}

static int32_t look_wait(const look_call *call, strata_result *out) {
    sx_op *op = NULL;
    strata_result own;
    strata_result *result = out == NULL ? &own : out;
    int32_t status = look(call, result, NULL, NULL, true, &op);
    if (status == STRATA_PENDING) {
        status = sx_errand_wait(call->session, op, result);
        strata_result_release(call->session, result);
    }
    return status;
}

int32_t strata_exists(strata_session *session, strata_namespace *ns, strata_bytes key, const strata_op_options *options,
                      strata_result *out, strata_done_fn done, void *user) {
    look_call call = {session, ns, key, options, false};
    sx_op *op;
    return out == NULL || done == NULL ? STRATA_E_INVALID : look(&call, out, done, user, false, &op);
}

int32_t strata_exists_wait(strata_session *session, strata_namespace *ns, strata_bytes key, const strata_op_options *options,
                           strata_result *out) {
    look_call call = {session, ns, key, options, false};
    return look_wait(&call, out);
}

int32_t strata_get_ttl_wait(strata_session *session, strata_namespace *ns, strata_bytes key, const strata_op_options *options,
                            int64_t *ttl_ms) {
    look_call call = {session, ns, key, options, false};
    strata_result result;
    int32_t status = ttl_ms == NULL ? STRATA_E_INVALID : look_wait(&call, &result);
    if (status == STRATA_OK) *ttl_ms = result.ttl_ms;
    return status;
}

int32_t strata_get_ttl(strata_session *session, strata_namespace *ns, strata_bytes key, const strata_op_options *options,
                       int64_t *ttl_ms, strata_done_fn done, void *user) {
    look_call call = {session, ns, key, options, false};
    strata_result result;
    sx_op *op;
    int32_t status = ttl_ms == NULL || done == NULL ? STRATA_E_INVALID : look(&call, &result, done, user, false, &op);
    if (status == STRATA_OK) *ttl_ms = result.ttl_ms;
    return status;
}

int32_t strata_touch(strata_session *session, strata_namespace *ns, strata_bytes key, const strata_op_options *options,
                     strata_result *out, strata_done_fn done, void *user) {
    look_call call = {session, ns, key, options, true};
    sx_op *op;
    return out == NULL || done == NULL ? STRATA_E_INVALID : look(&call, out, done, user, false, &op);
}

int32_t strata_touch_wait(strata_session *session, strata_namespace *ns, strata_bytes key, const strata_op_options *options,
                          strata_result *out) {
    look_call call = {session, ns, key, options, true};
    return look_wait(&call, out);
}
