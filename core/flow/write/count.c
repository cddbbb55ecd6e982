/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers that L2 counts: added to and removed by a script, kept in no L1. */
#include "core/flow/errand.h"
#include "core/flow/foreign.h"

static sx_errand *errand_of(sx_store_op *op) { return SX_CONTAINER(op, sx_errand, store_op); }

static void encode(sx_redis_request *request, const sx_redis_node *node) {
    sx_errand *errand = errand_of(SX_CONTAINER(request, sx_store_op, request));
    sx_publish_key key = sx_errand_publish_key(errand, SX_PUBLISH_COUNT);
    sx_command_clear(&request->command);
    sx_publish_encode_count(&errand->engine->publish, &key, sx_errand_deadline_ms(errand, node), errand->change,
                            errand->life.ttl_ms, &request->command);
}

static void encode_delete(sx_redis_request *request, const sx_redis_node *node) {
    sx_errand *errand = errand_of(SX_CONTAINER(request, sx_store_op, request));
    sx_publish_key key = sx_errand_publish_key(errand, SX_PUBLISH_COUNT);
    sx_command_clear(&request->command);
    sx_publish_encode_uncount(&errand->engine->publish, &key, sx_errand_deadline_ms(errand, node), &request->command);
}

static void counted(sx_store_op *op, int32_t status, const sx_resp *reply) {
    int64_t number = 0;
    if (status == STRATA_OK) status = sx_publish_decode_count(reply, &number);
    sx_errand_end_on_loop(errand_of(op), status, NULL, (uint64_t)number);
}

static void send_on_loop(sx_errand *errand) {
    sx_counter_add_shared(&errand->engine->counters[SX_FLOW_METRIC_COUNTS], 1);
    sx_errand_submit_on_loop(errand, &errand->engine->scripts.count, !SX_BROKEN(count_once), encode, counted);
}

static void delete_on_loop(sx_errand *errand) {
    sx_counter_add_shared(&errand->engine->counters[SX_FLOW_METRIC_COUNTS], 1);
    sx_errand_submit_on_loop(errand, &errand->engine->scripts.count, true, encode_delete, counted);
}

typedef struct count_call {
    strata_session *session;
    strata_namespace *ns;
    strata_bytes key;
    const strata_op_options *options;
    bool deletes;
    int64_t change;
} count_call;

static int32_t start(const count_call *given, strata_done_fn done, void *user, bool sync, sx_op **op) {
    strata_op_options whole;
    const strata_op_options *options = sx_struct_whole(given->options, &whole, sizeof whole);
    strata_session *session = given->session;
    strata_namespace *ns = given->ns;
    strata_bytes key = given->key;
    int32_t status = sx_read_check(session, ns, key, options);
    if (status != STRATA_OK) return status;
    if (sx_namespace_is_foreign(ns)) return STRATA_E_FOREIGN;
    if (!session->engine->l2_on) return STRATA_E_UNAVAILABLE;
    sx_policy policy;
    sx_policy_read(ns, &policy);
    int64_t ttl_ms = options == NULL || options->ttl_ms == 0 ? policy.ttl_ms : options->ttl_ms;
    sx_lifetime life = {.ttl_ms = sx_ttl_ms(ttl_ms != 0 ? ttl_ms : sx_hot_read(&session->engine->hot.ttl_ms))};
    sx_errand_call call = {session, ns, key, options, given->deletes ? delete_on_loop : send_on_loop, given->change, false, done, user, sync,
                           given->deletes ? "strata.counter_delete" : "strata.incr"};
    return sx_errand_start(&call, &life, op);
}

static int32_t start_and_wait(const count_call *call, int64_t *out) {
    sx_op *op = NULL;
    strata_result result;
    int32_t status = start(call, NULL, NULL, true, &op);
    if (status != STRATA_PENDING) return status;
    status = sx_errand_wait(call->session, op, &result);
    if (status == STRATA_OK && out != NULL) *out = strata_result_count(&result);
    return status;
}

int32_t strata_incr(strata_session *session, strata_namespace *ns, strata_bytes key, int64_t change,
                    const strata_op_options *options, strata_done_fn done, void *user) {
    sx_op *op;
    count_call call = {session, ns, key, options, false, change};
    return start(&call, done, user, false, &op);
}

int32_t strata_incr_wait(strata_session *session, strata_namespace *ns, strata_bytes key, int64_t change,
                         const strata_op_options *options, int64_t *out) {
    count_call call = {session, ns, key, options, false, change};
    return start_and_wait(&call, out);
}

int32_t strata_counter_delete(strata_session *session, strata_namespace *ns, strata_bytes key, const strata_op_options *options,
                              strata_done_fn done, void *user) {
    sx_op *op;
    count_call call = {session, ns, key, options, true, 0};
    return start(&call, done, user, false, &op);
}

int32_t strata_counter_delete_wait(strata_session *session, strata_namespace *ns, strata_bytes key, const strata_op_options *options,
                                   int64_t *out) {
    count_call call = {session, ns, key, options, true, 0};
    return start_and_wait(&call, out);
}

int64_t strata_result_count(const strata_result *result) { return (int64_t)result->version_n; }
