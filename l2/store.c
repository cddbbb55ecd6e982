/* SPDX-License-Identifier: Apache-2.0 */
/* Operations over the cluster: each attempt passes its node's breaker, what may be tried again is, under one deadline. */
#include "l2/store.h"

#include <assert.h>
#include <string.h>

#include <strata/status.h>

#include "core/key/key.h"
#include "core/memory/atomic.h"
#include "core/observe/probe.h"
#include "l2/breaker.h"

#define TOKEN_NS (SX_NS_PER_S / SX_STORE_TOKENS_PER_S)
#define VALUE_BYTES_MAX_MIN 1024
#define VALUE_BYTES_MAX_MAX (INT64_C(512) * 1024 * 1024)

struct sx_store {
    sx_loop *loop; /* const after create, as the next three */
    const sx_alloc *alloc;
    sx_redis_cluster *cluster;
    sx_store_settings settings;
    bool stopping;                             /* owner: loop, as all below but the counters */
    sx_key_random random;
    sx_store_op *waiting;                      /* for a retry, or for being told an end */
    int64_t tokens_ns;                         /* time that one token after the other takes to come back, not yet spent */
    int64_t tokens_at_ns;                      /* when tokens_ns was true */
    sx_breaker breakers[SX_REDIS_NODES_MAX];
    sx_store_node *nodes[SX_REDIS_NODES_MAX];  /* NULL until something was sent there */
    sx_counter counters[SX_STORE_METRIC_COUNT]; /* written on the loop, read anywhere */
};

/* ---- who waits ---- */

static void wait_until(sx_store_op *op, int64_t due_ns) {
    sx_store *store = op->store;
    op->previous = NULL;
    op->next = store->waiting;
    if (store->waiting != NULL) store->waiting->previous = op;
    store->waiting = op;
    sx_loop_timer_set(store->loop, &op->retry_timer, due_ns);
}

static void wait_over(sx_store_op *op) {
    sx_store *store = op->store;
    sx_loop_timer_cancel(store->loop, &op->retry_timer);
    *(op->previous == NULL ? &store->waiting : &op->previous->next) = op->next;
    if (op->next != NULL) op->next->previous = op->previous;
    op->next = op->previous = NULL;
}

static void finish(sx_store_op *op, int32_t status, const sx_resp *reply) {
    op->request.group_kind = NULL; /* whoever submits it next may not know of groups */
    if (status == STRATA_E_UNKNOWN_OUTCOME) sx_counter_add(&op->store->counters[SX_STORE_METRIC_UNKNOWN_OUTCOMES], 1);
    op->done(op, status, reply);
}

/* Inside submit nothing is told: the end waits for the next turn. */
static void finish_soon(sx_store_op *op, int32_t status) {
    op->pending_status = status;
    wait_until(op, sx_loop_now_ns(op->store->loop));
}

/* ---- servers ---- */

static sx_store_node *node_of(sx_store *store, const sx_redis_node *node) {
    sx_store_node **place = &store->nodes[node->index];
    if (SX_UNLIKELY(*place == NULL)) *place = sx_allocate_zero(store->alloc, sizeof **place);
    return *place;
}

static void note_node(sx_store_op *op, const sx_redis_rule *rule, sx_redis_outcome outcome) {
    sx_store_node *stats = op->request.node == NULL ? NULL : node_of(op->store, op->request.node);
    if (stats == NULL) return;
    (void)sx_counter_add(&stats->requests, 1);
    if (rule->node_fault && outcome != SX_REDIS_TIMEOUT_UNTRIED) (void)sx_counter_add(&stats->failures, 1);
    if (sx_redis_is_timeout(outcome)) (void)sx_counter_add(&stats->timeouts, 1);
    if (outcome == SX_REDIS_OK) {
        int64_t took_ns = sx_loop_recent_ns(op->store->loop) - op->sent_ns;
        sx_histogram_add(&stats->latency, took_ns > 0 ? took_ns : 0);
    }
}

const sx_store_node *sx_store_node_on_loop(const sx_store *store, uint32_t node_index) {
    assert(sx_loop_is_current(store->loop));
    return node_index < SX_REDIS_NODES_MAX ? store->nodes[node_index] : NULL;
}

void sx_store_nodes_reset_on_loop(sx_store *store) {
    assert(sx_loop_is_current(store->loop));
    for (uint32_t i = 0; i < SX_REDIS_NODES_MAX; i++) {
        if (store->nodes[i] != NULL) memset(store->nodes[i], 0, sizeof *store->nodes[i]);
    }
}

/* ---- breakers ---- */

/* What its state has become: half open is still open to who looks on. */
static void note_breaker(sx_store *store, const sx_redis_node *node, sx_breaker_state before) {
    sx_breaker_state now = store->breakers[node->index].state;
    bool opened = now == SX_BREAKER_OPEN, was_closed = before == SX_BREAKER_CLOSED;
    if (now == before) return;
    sx_store_node *stats = opened ? node_of(store, node) : NULL;
    if (opened) sx_counter_add(&store->counters[SX_STORE_METRIC_BREAKER_OPENS], 1);
    if (stats != NULL) (void)sx_counter_add(&stats->breaker_opens, 1);
    if (was_closed == (now == SX_BREAKER_CLOSED)) return;
    if (store->settings.on_breaker != NULL) store->settings.on_breaker(store->settings.context, node, was_closed);
    sx_counter_add(&store->counters[SX_STORE_METRIC_BREAKERS_OPEN], was_closed ? 1 : -1);
}

static void note_result(sx_store_op *op, const sx_redis_rule *rule, sx_redis_outcome outcome) {
    sx_store *store = op->store;
    sx_redis_node *node = op->request.node;
    if (op->probe_node != 0 && (node == NULL || node->index + 1 != op->probe_node)) {
        sx_breaker_probe_cancel(&store->breakers[op->probe_node - 1]); /* it was redirected, or never went */
        op->probe_node = 0;
    }
    if (node == NULL) return;
    sx_breaker *breaker = &store->breakers[node->index];
    bool probe = op->probe_node != 0;
    if (SX_LIKELY(!probe && outcome == SX_REDIS_OK && breaker->state == SX_BREAKER_CLOSED)) {
        breaker->failures = 0;
        return;
    }
    op->probe_node = 0;
    bool says_nothing = outcome == SX_REDIS_NOMEM || outcome == SX_REDIS_OVERLOADED || outcome == SX_REDIS_CLOSED;
    bool untried = outcome == SX_REDIS_BACKING_OFF || outcome == SX_REDIS_TIMEOUT_UNTRIED;
    if (outcome == SX_REDIS_TIMEOUT_UNTRIED || (untried && !probe)) /* no news, unless of an attempt that nobody has told of yet */
        says_nothing = node->attempts_failed == breaker->attempts_seen;
    if (untried || outcome == SX_REDIS_UNREACHABLE) breaker->attempts_seen = node->attempts_failed;
    if (says_nothing) {
        if (probe) sx_breaker_probe_cancel(breaker);
        return;
    }
    sx_breaker_state before = breaker->state;
    sx_breaker_result(breaker, store->settings.breaker, probe, rule->node_fault, sx_loop_now_ns(store->loop));
    note_breaker(store, node, before);
}

/* False: refused. */
static bool pass_breaker(sx_store_op *op) {
    sx_store *store = op->store;
    op->probe_node = 0;
    sx_redis_node *node = sx_redis_cluster_owner(store->cluster, op->request.slot);
    if (node == NULL) return true;
    sx_breaker *breaker = &store->breakers[node->index];
    if (SX_LIKELY(breaker->state == SX_BREAKER_CLOSED)) return true;
    sx_breaker_state before = breaker->state;
    sx_breaker_verdict verdict = sx_breaker_ask(breaker, store->settings.breaker, sx_loop_now_ns(store->loop));
    note_breaker(store, node, before);
    if (verdict == SX_BREAKER_PROBE) op->probe_node = node->index + 1;
    if (verdict != SX_BREAKER_REFUSE) return true;
    sx_counter_add(&store->counters[SX_STORE_METRIC_BREAKER_REFUSALS], 1);
    sx_redis_cluster_refresh(store->cluster); /* somebody else may own the slot by now */
    return false;
}

/* ---- attempts ---- */

static void attempt_done(sx_redis_request *request, sx_redis_outcome outcome, const sx_resp *reply);

/* False: the breaker refused it. */
static bool attempt(sx_store_op *op) {
    if (!pass_breaker(op)) return false;
    op->request.done = attempt_done;
    op->sent_ns = sx_loop_recent_ns(op->store->loop);
    SX_PROBE2(l2__send, op, op->request.slot);
    sx_redis_cluster_submit(op->store->cluster, &op->request);
    return true;
}

static void retry_due(sx_timer *timer) {
    sx_store_op *op = (sx_store_op *)(void *)((char *)timer - offsetof(sx_store_op, retry_timer));
    wait_over(op);
    if (op->pending_status != STRATA_PENDING) {
        finish(op, op->pending_status, NULL);
        return;
    }
    sx_counter_add(&op->store->counters[SX_STORE_METRIC_RETRIES], 1);
    if (!attempt(op)) finish(op, STRATA_E_UNAVAILABLE, NULL);
}

/* One token less; false where there is none. */
static bool take_token(sx_store *store, int64_t now_ns) {
    int64_t tokens_ns = sx_time_add(store->tokens_ns, now_ns - store->tokens_at_ns);
    if (tokens_ns > SX_STORE_TOKENS * TOKEN_NS) tokens_ns = SX_STORE_TOKENS * TOKEN_NS;
    bool any = tokens_ns >= TOKEN_NS;
    store->tokens_ns = any ? tokens_ns - TOKEN_NS : tokens_ns;
    store->tokens_at_ns = now_ns;
    if (!any) sx_counter_add(&store->counters[SX_STORE_METRIC_RETRIES_REFUSED], 1);
    return any;
}

/* Full jitter: anywhere in [0, backoff], which doubles. False where the deadline comes first, or the budget is spent. */
static bool retry_later(sx_store_op *op, bool free) {
    sx_store *store = op->store;
    const sx_store_settings *settings = &store->settings;
    int64_t now_ns = sx_loop_now_ns(store->loop);
    bool first = !op->retried;
    op->backoff_ns = op->backoff_ns == 0 ? settings->retry_base_ns : op->backoff_ns * 2;
    if (op->backoff_ns > settings->retry_max_ns) op->backoff_ns = settings->retry_max_ns;
    int64_t wait_ns = (int64_t)(sx_key_random_next(&store->random) % ((uint64_t)op->backoff_ns + 1));
    int64_t due_ns = sx_time_add(now_ns, wait_ns);
    op->out_of_time = due_ns >= op->request.deadline_ns;
    if (op->out_of_time || (!first && !free && !take_token(store, now_ns))) return false;
    op->retried = true;
    op->pending_status = STRATA_PENDING;
    wait_until(op, due_ns);
    return true;
}

static void attempt_done(sx_redis_request *request, sx_redis_outcome outcome, const sx_resp *reply) {
    sx_store_op *op = (sx_store_op *)(void *)((char *)request - offsetof(sx_store_op, request));
    const sx_redis_rule *rule = sx_redis_rule_of(outcome);
    SX_PROBE3(l2__reply, op, request->slot, (int)outcome);
    note_node(op, rule, outcome);
    note_result(op, rule, outcome);
    if (SX_LIKELY(outcome == SX_REDIS_OK)) {
        finish(op, STRATA_OK, reply);
        return;
    }
    if (op->write && rule->executed) {
        finish(op, STRATA_E_UNKNOWN_OUTCOME, reply);
        return;
    }
    if (outcome == SX_REDIS_TRYAGAIN) op->tryagain = true;
    bool stop = op->store->stopping || (op->stop_at_tryagain && outcome == SX_REDIS_TRYAGAIN);
    if (rule->retry && !stop && retry_later(op, outcome == SX_REDIS_TRYAGAIN)) return;
    finish(op, op->store->stopping ? STRATA_E_CLOSED : rule->status, reply);
}

void sx_store_submit_on_loop(sx_store *store, sx_store_op *op) {
    assert(sx_loop_is_current(store->loop));
    op->store = store;
    op->backoff_ns = 0;
    op->retried = op->out_of_time = op->tryagain = false;
    op->next = op->previous = NULL;
    memset(&op->retry_timer, 0, sizeof op->retry_timer);
    op->retry_timer.fire_on_loop = retry_due;
    if (SX_UNLIKELY(store->stopping)) {
        finish_soon(op, STRATA_E_CLOSED);
    } else if (SX_UNLIKELY(!attempt(op))) {
        finish_soon(op, STRATA_E_UNAVAILABLE);
    }
}

/* ---- life ---- */

int32_t sx_store_create(sx_loop *loop, const sx_alloc *alloc, sx_redis_cluster *cluster,
                        const sx_store_settings *settings, sx_store **out) {
    sx_store *store = sx_allocate_zero(alloc, sizeof *store);
    if (store == NULL) return STRATA_E_NOMEM;
    store->loop = loop;
    store->alloc = alloc;
    store->cluster = cluster;
    store->settings = *settings;
    store->tokens_ns = SX_STORE_TOKENS * TOKEN_NS;
    store->tokens_at_ns = sx_loop_now_ns(loop);
    int32_t status = sx_key_random_init(&store->random);
    if (status == STRATA_OK) {
        *out = store;
    } else {
        sx_release(alloc, store, sizeof *store);
    }
    return status;
}

void sx_store_stop_on_loop(sx_store *store) {
    assert(sx_loop_is_current(store->loop));
    store->stopping = true;
    sx_store_op *list = store->waiting;
    store->waiting = NULL; /* what their ends submit waits in a new list */
    while (list != NULL) {
        sx_store_op *op = list;
        list = op->next;
        if (list != NULL) list->previous = NULL;
        sx_loop_timer_cancel(store->loop, &op->retry_timer);
        op->next = op->previous = NULL;
        finish(op, op->pending_status == STRATA_PENDING ? STRATA_E_CLOSED : op->pending_status, NULL);
    }
}

void sx_store_destroy(sx_store *store) {
    if (store == NULL) return;
    assert(store->waiting == NULL);
    for (uint32_t i = 0; i < SX_REDIS_NODES_MAX; i++) sx_release(store->alloc, store->nodes[i], sizeof *store->nodes[i]);
    sx_release(store->alloc, store, sizeof *store);
}

sx_breaker_state sx_store_breaker_on_loop(const sx_store *store, uint32_t node_index) {
    assert(sx_loop_is_current(store->loop));
    return node_index < SX_REDIS_NODES_MAX ? store->breakers[node_index].state : SX_BREAKER_CLOSED;
}

static const sx_option option_rows[] = {
    {"l2.mode", SX_OPTION_CHOICE, 0, 3, "auto", "none|auto|standalone|cluster", false, false,
     "What L2 is: nothing at all, whatever the first server says, one standalone server, or a Redis Cluster."},
    {"l2.retry_base", SX_OPTION_DURATION, 0, 10 * SX_NS_PER_S, "2ms", NULL, false, false,
     "Longest wait before the first retry; doubles from retry to retry, each waits a random part of it."},
    {"l2.retry_max", SX_OPTION_DURATION, 0, 60 * SX_NS_PER_S, "100ms", NULL, false, false,
     "Longest wait before any retry."},
    {"l2.breaker_failures", SX_OPTION_INTEGER, 0, 1000000, "5", NULL, true, false,
     "Faults of one server in a row after which operations for it fail at once; 0: never."},
    {"l2.breaker_open", SX_OPTION_DURATION, SX_NS_PER_MS, 600 * SX_NS_PER_S, "1s", NULL, true, false,
     "How long a server that failed so often is left alone before one operation tries it."},
    {"l2.value_bytes_max", SX_OPTION_BYTES, VALUE_BYTES_MAX_MIN, VALUE_BYTES_MAX_MAX, "64MiB", NULL, false, false,
     "Largest value."},
    {"l2.open_wait", SX_OPTION_DURATION, 0, 600 * SX_NS_PER_S, "1s", NULL, false, false,
     "How long opening waits for a server to answer before it goes on without; with 0s it does not ask."},
};
const sx_option_table sx_store_options = {option_rows, sizeof option_rows / sizeof option_rows[0]};

const sx_metric_row sx_store_metrics[SX_STORE_METRIC_COUNT] = {
    [SX_STORE_METRIC_RETRIES] = {"l2.retries", "operations", "Attempts after the first.", 0},
    [SX_STORE_METRIC_UNKNOWN_OUTCOMES] = {"l2.unknown_outcomes", "operations",
                                          "Writes that may or may not have been executed.", 0},
    [SX_STORE_METRIC_BREAKER_OPENS] = {"l2.breaker_opens", "operations", "Times that a server's breaker opened.", 0},
    [SX_STORE_METRIC_BREAKER_REFUSALS] = {"l2.breaker_refusals", "operations", "Operations failed by an open breaker.", 0},
    [SX_STORE_METRIC_BREAKERS_OPEN] = {"l2.breakers_open", "1", "Servers whose breaker is open.", 1},
    [SX_STORE_METRIC_RETRIES_REFUSED] = {"l2.retries_refused", "operations",
                                         "Attempts that were not made because the budget of retries was spent.", 0},
};

int64_t sx_store_metric_read(const sx_store *store, uint32_t metric) {
    return sx_counter_read(&store->counters[metric]);
}
