/* SPDX-License-Identifier: Apache-2.0 */
/* Tracing: contexts that a session's calls belong to, and spans from their begin to the program's tracer.

   A context is made when a program names one; a span where a call of a context that is sampled begins something, and only where
   somebody is told. A span is told once, by who ends it: so its memory is as bounded as what is under way. */
#include "core/flow/trace.h"

#include <string.h>

#include "core/flow/engine.h"

static size_t size_of(const sx_span *span) { return sizeof *span + span->state_size + span->key_size; }

/* Ids differ in a process as a hash of what is counted does, and between processes as their secrets do. */
static void new_id(strata *engine, uint8_t id[8]) {
    uint64_t value;
    do {
        /* relaxed: a number that is nobody else's */
        uint64_t count = atomic_fetch_add_explicit(&engine->span_ids, 1, memory_order_relaxed);
        value = sx_key_hash(&engine->secret, UINT16_MAX, &count, sizeof count);
    } while (value == 0);
    memcpy(id, &value, 8);
}

/* ---- counted --------------------------------------------------------------------------------------------------- */

sx_span *sx_span_retain(sx_span *span) {
    /* relaxed: whoever retains holds a reference already */
    if (span != NULL) atomic_fetch_add_explicit(&span->refs, 1, memory_order_relaxed);
    return span;
}

void sx_span_drop(sx_span *span) {
    while (span != NULL && atomic_fetch_sub_explicit(&span->refs, 1, memory_order_acq_rel) == 1) { /* [order: span-free] */
        sx_span *context = span->context;
        sx_release(&span->engine->alloc, span, size_of(span));
        span = context;
    }
}

/* ---- spans ----------------------------------------------------------------------------------------------------- */

sx_span *sx_span_begin(sx_span *parent, const sx_span_about *about) {
    if (parent == NULL) return NULL;
    strata *engine = parent->engine;
    bool told = engine->tracer.span != NULL && (parent->own.flags & SX_TRACE_SAMPLED) != 0;
    if (!told) return sx_span_retain(parent);
    uint32_t key_size = (engine->tracer.flags & STRATA_TRACE_KEYS) != 0 ? (uint32_t)about->key.size : 0;
    sx_span *span = sx_allocate_zero(&engine->alloc, sizeof *span + key_size);
    if (span == NULL) {
        sx_counter_add_shared(&engine->counters[SX_FLOW_METRIC_SPANS_LOST], 1);
        return NULL;
    }
    atomic_init(&span->refs, 1);
    span->key_size = key_size;
    span->engine = engine;
    span->context = sx_span_retain(parent->name == NULL ? parent : parent->context);
    span->name = about->name;
    span->ns = about->ns;
    span->hash = about->hash;
    span->own = parent->own;
    memcpy(span->parent, parent->own.parent_id, sizeof span->parent);
    new_id(engine, span->own.parent_id);
    sx_traceparent_encode(&span->own, span->text);
    if (key_size != 0) memcpy(span->bytes, about->key.data, key_size);
    sx_span_restart(span);
    return span;
}

void sx_span_restart(sx_span *span) {
    if (!sx_span_is_told(span)) return;
    span->start_ns = sx_engine_now(span->engine);
    span->start_unix_ns = sx_clock_unix_ns();
}

void sx_span_end(sx_span *span, int32_t status, strata_source source) {
    if (sx_span_is_told(span)) {
        strata *engine = span->engine;
        int64_t end_ns = sx_engine_now(engine);
        assert(sx_lock_none_held());
        strata_span told = {.struct_size = sizeof told,
                            .status = status,
                            .name = span->name,
                            .ns = span->ns,
                            .key_hash = span->hash,
                            .key = {span->bytes, span->key_size},
                            .start_ns = span->start_ns,
                            .end_ns = end_ns,
                            .start_unix_ns = span->start_unix_ns,
                            .end_unix_ns = span->start_unix_ns + (end_ns - span->start_ns),
                            .source = (uint8_t)source,
                            .tracestate = {span->context->bytes, span->context->state_size}};
        memcpy(told.trace_id, span->own.trace_id, sizeof told.trace_id);
        memcpy(told.span_id, span->own.parent_id, sizeof told.span_id);
        memcpy(told.parent_id, span->parent, sizeof told.parent_id);
        engine->tracer.span(engine->tracer.context, &told);
        sx_counter_add_shared(&engine->counters[SX_FLOW_METRIC_SPANS], 1);
    }
    sx_span_drop(span);
}

sx_span *sx_trace_call(strata_session *session, const sx_span_about *about) { return sx_span_begin(session->trace, about); }

/* ---- public ---------------------------------------------------------------------------------------------------- */

static sx_span *context_create(strata *engine, const sx_traceparent *given, strata_bytes tracestate) {
    if (!sx_tracestate_is_sound(tracestate.data, tracestate.size)) {
        sx_counter_add_shared(&engine->counters[SX_FLOW_METRIC_TRACE_MALFORMED], 1);
        tracestate.size = 0;
    }
    sx_span *context = sx_allocate_zero(&engine->alloc, sizeof *context + tracestate.size);
    if (context == NULL) return NULL;
    atomic_init(&context->refs, 1);
    context->engine = engine;
    context->own = *given;
    sx_traceparent_encode(given, context->text);
    context->state_size = (uint32_t)tracestate.size;
    if (tracestate.size != 0) memcpy(context->bytes, tracestate.data, tracestate.size);
    return context;
}

/* Of a session that has none. */
static int32_t set_context(strata_session *session, strata_bytes traceparent, strata_bytes tracestate) {
    strata *engine = session->engine;
    sx_traceparent given;
    if (!sx_traceparent_decode(traceparent.data, traceparent.size, &given)) {
        sx_counter_add_shared(&engine->counters[SX_FLOW_METRIC_TRACE_MALFORMED], 1);
        return STRATA_OK;
    }
    session->trace = context_create(engine, &given, tracestate);
    if (session->trace == NULL) return STRATA_E_NOMEM;
    if (engine->tracer.span != NULL && (given.flags & SX_TRACE_SAMPLED) != 0) session->unusual |= SX_SESSION_TRACED;
    return STRATA_OK;
}

int32_t strata_session_trace(strata_session *session, strata_bytes traceparent, strata_bytes tracestate) {
    if (session == NULL) return STRATA_E_INVALID;
    int32_t status = sx_engine_alive(session->engine);
    if (status != STRATA_OK) return status;
    sx_span_drop(session->trace);
    session->trace = NULL;
    session->unusual &= (uint8_t)~SX_SESSION_TRACED;
    if ((traceparent.data == NULL && traceparent.size != 0) || (tracestate.data == NULL && tracestate.size != 0)) return STRATA_E_INVALID;
    return traceparent.size == 0 ? STRATA_OK : set_context(session, traceparent, tracestate);
}

void sx_trace_enter(strata_session *session, const strata_op_options *options, sx_trace_scope *scope) {
    scope->entered = options != NULL && options->traceparent.size != 0;
    if (SX_LIKELY(!scope->entered)) return;
    scope->before = session->trace;
    scope->unusual = session->unusual;
    session->trace = NULL;
    session->unusual &= (uint8_t)~SX_SESSION_TRACED;
    if (set_context(session, options->traceparent, options->tracestate) != STRATA_OK)
        sx_counter_add_shared(&session->engine->counters[SX_FLOW_METRIC_SPANS_LOST], 1);
}

void sx_trace_leave(strata_session *session, const sx_trace_scope *scope) {
    if (SX_LIKELY(!scope->entered)) return;
    sx_span_drop(session->trace);
    session->trace = scope->before;
    session->unusual = scope->unusual;
}

strata_bytes strata_load_traceparent(const strata_load *load) {
    strata_bytes text = {NULL, 0};
    if (load->span != NULL) text = (strata_bytes){load->span->text, SX_TRACEPARENT_BYTES};
    return text;
}

strata_bytes strata_load_tracestate(const strata_load *load) {
    strata_bytes text = {NULL, 0};
    if (load->span == NULL) return text;
    const sx_span *context = load->span->name == NULL ? load->span : load->span->context;
    if (context->state_size != 0) text = (strata_bytes){context->bytes, context->state_size};
    return text;
}
