/* SPDX-License-Identifier: Apache-2.0 */
/* Spans and the contexts that they belong to (core/flow/engine/trace.c). */
#ifndef SX_CORE_FLOW_TRACE_H
#define SX_CORE_FLOW_TRACE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <strata/strata.h>

#include "core/codec/traceparent.h"

/* A context, as a program gave it, or a span of one that is sampled and told: who has a name. Counted; whoever has a reference may make
   children of it. */
typedef struct sx_span {
    _Atomic uint32_t refs; /* atomic: acq_rel on release [order: span-free] */
    uint32_t state_size;   /* of a context */
    uint32_t key_size;     /* of a span that shows it */
    /* const once it is known to others, but for the times, which are set again by who begins it */
    strata *engine;
    struct sx_span *context; /* of a span: a reference */
    const char *name;        /* NULL: a context */
    const strata_namespace *ns;
    uint64_t hash;
    uint8_t parent[8];       /* of a span */
    sx_traceparent own;      /* as its children see it */
    char text[SX_TRACEPARENT_BYTES + 1];
    int64_t start_ns, start_unix_ns;
    uint8_t bytes[]; /* tracestate or key */
} sx_span;

/* What a span is about. */
typedef struct sx_span_about {
    const char *name; /* lives forever */
    const strata_namespace *ns;
    uint64_t hash;
    strata_bytes key;
} sx_span_about;

/* A child of a span, or of a context, that begins now; of a context that is not told, that itself. With a reference; NULL of NULL, and
   when out of memory. Any thread, any lock but allocators'. */
sx_span *sx_span_begin(sx_span *parent, const sx_span_about *about);
/* It begins only now. */
void sx_span_restart(sx_span *span);
/* Tells a span, no lock held, and takes the reference. NULL, and a context, is told nobody. */
void sx_span_end(sx_span *span, int32_t status, strata_source source);
/* Takes the reference, and tells nobody. NULL is nothing to do. */
void sx_span_drop(sx_span *span);
sx_span *sx_span_retain(sx_span *span);

static inline bool sx_span_is_told(const sx_span *span) { return span != NULL && span->name != NULL; }
/* What it may hold in memory while an operation is under way. */
static inline int64_t sx_span_cost(const sx_span *span) {
    if (span == NULL) return 0;
    const sx_span *context = span->name == NULL ? span : span->context;
    return (int64_t)(2 * sizeof *span) + span->key_size + context->state_size;
}

/* What a session's context is while one call has its own. */
typedef struct sx_trace_scope {
    sx_span *before;
    uint8_t unusual;
    bool entered;
} sx_trace_scope;

/* The session is as if the context that the call's options name were its own, until left; where they name none nothing changes, and out
   of memory the call belongs to no trace. Options are checked ones. */
void sx_trace_enter(strata_session *session, const strata_op_options *options, sx_trace_scope *scope);
void sx_trace_leave(strata_session *session, const sx_trace_scope *scope);

/* A call of a session: its span, or its context where that is not told, or NULL. */
sx_span *sx_trace_call(strata_session *session, const sx_span_about *about);

#endif
