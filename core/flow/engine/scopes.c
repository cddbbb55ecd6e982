/* SPDX-License-Identifier: Apache-2.0 */
/* Statistics by namespace and by server, latencies, and the base that a reset has subtracted from all of them.

   Who counts is the only writer, or pays for a locked instruction where the operation is slow anyway. A session's thread
   counts in a tally of its own for each namespace: those are made, for all sessions there are, before anybody gets the
   namespace's handle, so that no operation looks whether its tally is there. */
#include "core/flow/scopes.h"

#include <stdio.h>
#include <string.h>

#include "core/flow/engine.h"

/* What a namespace's numbers were when they were reset. */
typedef struct sx_ns_base {
    int64_t session[SX_SESSION_METRIC_COUNT];
    int64_t flow[SX_FLOW_METRIC_COUNT];
    strata_histogram latency[STRATA_LATENCIES];
} sx_ns_base;

/* Which of flow's counters are counted by namespace. */
static const bool by_namespace[SX_FLOW_METRIC_COUNT] = {
    [SX_FLOW_METRIC_FLIGHTS] = true,       [SX_FLOW_METRIC_JOINS] = true,
    [SX_FLOW_METRIC_WAITERS_REFUSED] = true, [SX_FLOW_METRIC_CROWDED] = true,
    [SX_FLOW_METRIC_L2_HITS] = true,       [SX_FLOW_METRIC_L2_MISSES] = true,
    [SX_FLOW_METRIC_REVALIDATED] = true,   [SX_FLOW_METRIC_LOADS] = true,
    [SX_FLOW_METRIC_LOAD_FAILURES] = true, [SX_FLOW_METRIC_L2_AGED] = true,
    [SX_FLOW_METRIC_L2_ABSENT] = true,     [SX_FLOW_METRIC_ABSENCES] = true,
    [SX_FLOW_METRIC_REFRESHES] = true,     [SX_FLOW_METRIC_REFRESHES_ELSEWHERE] = true,
    [SX_FLOW_METRIC_RESCUED] = true,       [SX_FLOW_METRIC_SOFT_TIMEOUTS] = true,
    [SX_FLOW_METRIC_TIMEOUTS] = true,      [SX_FLOW_METRIC_CANCELLED] = true,
    [SX_FLOW_METRIC_CORRUPT] = true,
    [SX_FLOW_METRIC_FILLS_REFUSED] = true, [SX_FLOW_METRIC_FILLS_SUPERSEDED] = true,
    [SX_FLOW_METRIC_OUTDATED] = true,      [SX_FLOW_METRIC_TAGS_TOO_LATE] = true,
    [SX_FLOW_METRIC_VALUES_TAKEN] = true,  [SX_FLOW_METRIC_AUDIT_CHECKED] = true,
    [SX_FLOW_METRIC_AUDIT_IN_FLIGHT] = true, [SX_FLOW_METRIC_AUDIT_EXPIRED] = true,
    [SX_FLOW_METRIC_AUDIT_ABSENT] = true,  [SX_FLOW_METRIC_AUDIT_RELOADED] = true,
    [SX_FLOW_METRIC_AUDIT_DIVERGENT] = true,
};

bool sx_stats_is_by_namespace(uint32_t metric) { return by_namespace[metric]; }

/* ---- tallies ------------------------------------------------------------------------------------------------- */

bool sx_stats_namespace_add_locked(strata *engine, strata_namespace *ns) {
    ns->stats = sx_allocate_zero(&engine->alloc, sizeof *ns->stats);
    bool room = ns->stats != NULL;
    for (strata_session *s = engine->sessions; room && s != NULL; s = s->next) {
        s->tallies[ns->index] = sx_allocate_zero(&engine->alloc, sizeof(sx_tally));
        room = s->tallies[ns->index] != NULL;
    }
    if (room) return true;
    for (strata_session *s = engine->sessions; s != NULL; s = s->next) {
        sx_release(&engine->alloc, s->tallies[ns->index], sizeof(sx_tally));
        s->tallies[ns->index] = NULL;
    }
    sx_stats_namespace_free(engine, ns);
    return false;
}

bool sx_stats_session_add_locked(strata_session *session) {
    strata *engine = session->engine;
    for (uint32_t i = 0; i < engine->namespace_count; i++) {
        session->tallies[i] = sx_allocate_zero(&engine->alloc, sizeof(sx_tally));
        if (session->tallies[i] == NULL) return false;
    }
    return true;
}

void sx_stats_session_end_locked(strata_session *session) {
    strata *engine = session->engine;
    for (uint32_t i = 0; i < SX_SESSION_METRIC_COUNT && !session->apart; i++) {
        engine->past[i] += sx_counter_read(&session->counters[i]);
        for (uint32_t n = 0; n < engine->namespace_count; n++)
            engine->namespaces[n]->stats->past[i] += sx_counter_read(&session->tallies[n]->counters[i]);
    }
}

void sx_stats_session_free(strata_session *session) {
    for (uint32_t i = 0; i < SX_NAMESPACES_MAX; i++)
        sx_release(&session->engine->alloc, session->tallies[i], sizeof(sx_tally));
}

void sx_stats_namespace_free(strata *engine, strata_namespace *ns) {
    if (ns->stats == NULL) return;
    sx_release(&engine->alloc, ns->stats->base, sizeof(sx_ns_base));
    sx_release(&engine->alloc, ns->stats, sizeof *ns->stats);
    ns->stats = NULL;
}

/* ---- sums ---------------------------------------------------------------------------------------------------- */

static int64_t session_of_locked(const strata *engine, const strata_namespace *ns, uint32_t metric) {
    int64_t sum = ns->stats->past[metric];
    for (const strata_session *s = engine->sessions; s != NULL; s = s->next)
        sum += s->apart ? 0 : sx_counter_read(&s->tallies[ns->index]->counters[metric]);
    return sum;
}

int64_t sx_stats_session_sum_locked(strata *engine, uint32_t metric) {
    int64_t sum = engine->past[metric];
    for (const strata_session *s = engine->sessions; s != NULL; s = s->next)
        sum += s->apart ? 0 : sx_counter_read(&s->counters[metric]);
    for (uint32_t i = 0; i < engine->namespace_count; i++) sum += session_of_locked(engine, engine->namespaces[i], metric);
    return sum;
}

int64_t sx_stats_flow_sum_locked(strata *engine, uint32_t metric) {
    int64_t sum = sx_counter_read(&engine->counters[metric]);
    for (uint32_t i = 0; i < engine->namespace_count; i++) sum += sx_counter_read(&engine->namespaces[i]->stats->flow[metric]);
    return sum;
}

void sx_stats_reads_locked(const strata_namespace *ns, int64_t *hits, int64_t *misses) {
    int64_t now[SX_SESSION_METRIC_COUNT];
    for (uint32_t i = 0; i < SX_SESSION_METRIC_COUNT; i++)
        now[i] = session_of_locked(ns->engine, ns, i) - (ns->stats->base == NULL ? 0 : ns->stats->base->session[i]);
    *hits = now[SX_SESSION_METRIC_L1_HITS] + now[SX_SESSION_METRIC_L1_STALE] + now[SX_SESSION_METRIC_L1_AGED];
    *misses = now[SX_SESSION_METRIC_L1_MISSES] + now[SX_SESSION_METRIC_L1_ABSENT] + now[SX_SESSION_METRIC_L1_ERRORS] +
              now[SX_SESSION_METRIC_L1_UNPROVEN] - now[SX_SESSION_METRIC_L1_STALE];
}

/* Takes what a base holds out of a histogram. */
static void subtract(strata_histogram *from, const strata_histogram *base) {
    from->count -= base->count;
    from->sum -= base->sum;
    for (uint32_t i = 0; i < STRATA_HISTOGRAM_BUCKETS; i++) from->counts[i] -= base->counts[i];
}

static void read_latency_locked(const strata_namespace *ns, strata_latency latency, strata_histogram *out) {
    sx_histogram_read(&ns->stats->latency[latency], out);
    if (ns->stats->base != NULL) subtract(out, &ns->stats->base->latency[latency]);
}

void sx_stats_note_op_on_loop(const sx_op *op) {
    if (op->ns == NULL || op->kind == SX_OP_ERRAND || op->refresh || op->session->apart || op->status == STRATA_E_CANCELLED || op->status == STRATA_E_CLOSED) return;
    strata_latency latency = STRATA_LATENCY_SET;
    if (op->kind == SX_OP_GET || op->kind == SX_OP_LOAD)
        latency = op->source == STRATA_FROM_LOADER || op->status == STRATA_E_LOAD_FAILED ? STRATA_LATENCY_LOAD : STRATA_LATENCY_L2;
    int64_t took_ns = sx_loop_recent_ns(op->session->engine->loop) - op->start_ns;
    sx_histogram_add(&op->ns->stats->latency[latency], took_ns > 0 ? took_ns : 0);
}

/* ---- public -------------------------------------------------------------------------------------------------- */

int32_t strata_stats_namespace(const strata_namespace *ns, int64_t *values, size_t count) {
    if (ns == NULL || (values == NULL && count != 0)) return STRATA_E_INVALID;
    strata *engine = ns->engine;
    if (sx_engine_forked(engine)) return STRATA_E_FORKED;
    if (count > strata_metric_count()) count = strata_metric_count();
    for (size_t i = 0; i < count; i++) values[i] = STRATA_STATS_NONE;
    sx_lock_acquire(&engine->lock);
    const sx_ns_base *base = ns->stats->base;
    size_t first = sx_stats_first_of(sx_session_metrics);
    for (uint32_t i = 0; i < SX_SESSION_METRIC_COUNT && first + i < count; i++) {
        if (i == SX_SESSION_METRIC_TAGS_INVALIDATED) continue; /* a tag is of no namespace */
        values[first + i] = session_of_locked(engine, ns, i) - (base == NULL ? 0 : base->session[i]);
    }
    first = sx_stats_first_of(sx_flow_metrics);
    for (uint32_t i = 0; i < SX_FLOW_METRIC_COUNT && first + i < count; i++) {
        if (by_namespace[i]) values[first + i] = sx_counter_read(&ns->stats->flow[i]) - (base == NULL ? 0 : base->flow[i]);
    }
    sx_lock_release(&engine->lock);
    sx_l1_usage usage;
    if (!sx_tenants_usage(ns, &usage)) return STRATA_OK;
    first = sx_stats_first_of(sx_l1_metrics);
    if (first + SX_L1_METRIC_ENTRIES < count) values[first + SX_L1_METRIC_ENTRIES] = usage.entries;
    if (first + SX_L1_METRIC_BYTES_USED < count) values[first + SX_L1_METRIC_BYTES_USED] = usage.bytes;
    return STRATA_OK;
}

int32_t strata_stats_latency(strata *engine, const strata_namespace *ns, strata_latency latency, strata_histogram *out) {
    if (engine == NULL || out == NULL || !sx_struct_receives(out->struct_size) || (ns != NULL && ns->engine != engine) ||
        (uint32_t)latency >= STRATA_LATENCIES)
        return STRATA_E_INVALID;
    if (sx_engine_forked(engine)) return STRATA_E_FORKED;
    strata_histogram whole = {.struct_size = sizeof whole};
    sx_lock_acquire(&engine->lock);
    if (ns != NULL) read_latency_locked(ns, latency, &whole);
    for (uint32_t i = 0; ns == NULL && i < engine->namespace_count; i++)
        read_latency_locked(engine->namespaces[i], latency, &whole);
    sx_lock_release(&engine->lock);
    sx_struct_fill(out, &whole, sizeof whole);
    return STRATA_OK;
}

/* ---- servers: on the loop, whose they are -------------------------------------------------------------------- */

/* Something for the loop to do while a caller waits. */
typedef struct loop_call {
    sx_task task;
    void (*run_on_loop)(struct loop_call *call);
    strata *engine;
    uint32_t index;
    strata_node_stats *out;
    int32_t status;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    bool done; /* lock: mutex */
} loop_call;

static void call_on_loop(sx_task *task) {
    loop_call *call = SX_CONTAINER(task, loop_call, task);
    call->run_on_loop(call);
    pthread_mutex_lock(&call->mutex);
    call->done = true;
    pthread_cond_signal(&call->changed); /* under the lock: the call is gone once it is released */
    pthread_mutex_unlock(&call->mutex);
}

static int32_t call(loop_call *call) {
    strata *engine = call->engine;
    if (sx_loop_is_current(engine->loop)) {
        call->run_on_loop(call);
        return call->status;
    }
    if (pthread_mutex_init(&call->mutex, NULL) != 0) return STRATA_E_SYSTEM;
    if (pthread_cond_init(&call->changed, NULL) != 0) {
        pthread_mutex_destroy(&call->mutex);
        return STRATA_E_SYSTEM;
    }
    call->task.run_on_loop = call_on_loop;
    sx_loop_post(engine->loop, &call->task);
    pthread_mutex_lock(&call->mutex);
    while (!call->done) pthread_cond_wait(&call->changed, &call->mutex);
    pthread_mutex_unlock(&call->mutex);
    pthread_cond_destroy(&call->changed);
    pthread_mutex_destroy(&call->mutex);
    return call->status;
}

static void print_address(const sx_redis_address *address, char *text, size_t size) {
    bool v6 = strchr(address->host, ':') != NULL;
    if (sx_redis_address_is_unix(address)) (void)snprintf(text, size, "%s", address->host);
    else (void)snprintf(text, size, v6 ? "[%s]:%u" : "%s:%u", address->host, (unsigned)address->port);
}

static void read_node_on_loop(loop_call *call) {
    strata *engine = call->engine;
    if (call->index >= sx_redis_cluster_node_count(engine->cluster)) {
        call->status = STRATA_E_END;
        return;
    }
    const sx_redis_node *node = sx_redis_cluster_node(engine->cluster, call->index);
    strata_node_stats *out = call->out;
    *out = (strata_node_stats){.struct_size = sizeof *out, .latency = {.struct_size = sizeof out->latency}};
    if (node->primary) out->flags |= STRATA_NODE_PRIMARY;
    if (sx_store_breaker_on_loop(engine->store, call->index) != SX_BREAKER_CLOSED) out->flags |= STRATA_NODE_BREAKER_OPEN;
    print_address(&node->address, out->address, sizeof out->address);
    (void)snprintf(out->id, sizeof out->id, "%s", node->id);
    const sx_store_node *stats = sx_store_node_on_loop(engine->store, call->index);
    if (stats == NULL) return;
    out->requests = sx_counter_read(&stats->requests);
    out->failures = sx_counter_read(&stats->failures);
    out->timeouts = sx_counter_read(&stats->timeouts);
    out->breaker_opens = sx_counter_read(&stats->breaker_opens);
    sx_histogram_read(&stats->latency, &out->latency);
}

/* Whether it goes as far as the histogram, its last field, which says its size itself. */
static bool has_latency(const strata_node_stats *out) {
    return out->struct_size >= offsetof(strata_node_stats, latency) + sizeof out->latency.struct_size;
}

static bool node_receives(const strata_node_stats *out) {
    if (!sx_struct_receives(out->struct_size)) return false;
    if (!has_latency(out)) return true;
    return sx_struct_receives(out->latency.struct_size) &&
           out->latency.struct_size <= out->struct_size - offsetof(strata_node_stats, latency);
}

static void fill_node(strata_node_stats *out, const strata_node_stats *whole) {
    uint32_t latency_size = has_latency(out) ? out->latency.struct_size : 0;
    sx_struct_fill(out, whole, offsetof(strata_node_stats, latency));
    if (latency_size == 0) return;
    out->latency.struct_size = latency_size;
    sx_struct_fill(&out->latency, &whole->latency, sizeof whole->latency);
}

int32_t strata_stats_node(strata *engine, uint32_t index, strata_node_stats *out) {
    if (engine == NULL || out == NULL || !node_receives(out)) return STRATA_E_INVALID;
    int32_t status = sx_engine_alive(engine);
    if (status != STRATA_OK) return status;
    if (!engine->l2_on) return STRATA_E_END;
    strata_node_stats whole;
    loop_call read = {.run_on_loop = read_node_on_loop, .engine = engine, .index = index, .out = &whole};
    status = call(&read);
    if (status == STRATA_OK) fill_node(out, &whole);
    return status;
}

/* ---- reset --------------------------------------------------------------------------------------------------- */

static void reset_nodes_on_loop(loop_call *call) { sx_store_nodes_reset_on_loop(call->engine->store); }

/* Room for everything first, so that nothing is half done. */
static bool make_room_locked(strata *engine) {
    if (engine->base == NULL) engine->base = sx_allocate_zero(&engine->alloc, strata_metric_count() * sizeof *engine->base);
    bool room = engine->base != NULL;
    for (uint32_t i = 0; room && i < engine->namespace_count; i++) {
        sx_ns_stats *stats = engine->namespaces[i]->stats;
        if (stats->base == NULL) stats->base = sx_allocate_zero(&engine->alloc, sizeof *stats->base);
        room = stats->base != NULL;
    }
    return room;
}

static void note_base_locked(const strata *engine, const strata_namespace *ns) {
    sx_ns_base *base = ns->stats->base;
    for (uint32_t i = 0; i < SX_SESSION_METRIC_COUNT; i++) base->session[i] = session_of_locked(engine, ns, i);
    for (uint32_t i = 0; i < SX_FLOW_METRIC_COUNT; i++) base->flow[i] = sx_counter_read(&ns->stats->flow[i]);
    for (uint32_t i = 0; i < STRATA_LATENCIES; i++) {
        base->latency[i] = (strata_histogram){.struct_size = sizeof base->latency[i]};
        sx_histogram_read(&ns->stats->latency[i], &base->latency[i]);
    }
}

int32_t strata_stats_reset(strata *engine) {
    if (engine == NULL) return STRATA_E_INVALID;
    int32_t status = sx_engine_alive(engine);
    if (status != STRATA_OK) return status;
    sx_lock_acquire(&engine->lock);
    if (make_room_locked(engine)) {
        sx_stats_raw_locked(engine, engine->base);
        for (uint32_t i = 0; i < engine->namespace_count; i++) note_base_locked(engine, engine->namespaces[i]);
    } else {
        status = STRATA_E_NOMEM; /* bases of zeros take nothing away */
    }
    sx_lock_release(&engine->lock);
    if (status == STRATA_OK) sx_tenants_reset(engine);
    if (status != STRATA_OK || !engine->l2_on) return status;
    loop_call reset = {.run_on_loop = reset_nodes_on_loop, .engine = engine};
    return call(&reset);
}
