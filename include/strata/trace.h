/* SPDX-License-Identifier: Apache-2.0 */
/* Tracing: which trace a session's calls belong to, in the form of W3C Trace Context, and the spans that they tell. Included by
   strata.h.

   A context is a session's: the program sets it before the calls that belong to a request, and takes it away after them; or it is one
   call's (strata_op_options.traceparent), where a session serves many requests at a time. Of a context that is sampled each call is a
   span, a child of the program's, with what it had to do as its own children: strata.get > strata.l2, strata.load, strata.fill. What was
   under way already when a call came is a child of the call that began it. A refresh in the background is a span too, strata.refresh, a
   child of the call that triggered it, which may have ended before. Without a context, and with one that is not sampled, calls cost what
   they cost without a tracer. */
#ifndef STRATA_TRACE_H
#define STRATA_TRACE_H

#include <strata/strata.h>

#ifdef __cplusplus
extern "C" {
#endif

#define STRATA_TRACEPARENT_BYTES 55
#define STRATA_TRACESTATE_BYTES_MAX 512
#define STRATA_TRACE_KEYS 0x1u /* strata_tracer.flags: spans show the keys that they are about */

/* What took from when to when. All of it lives during the call that tells it. */
typedef struct strata_span {
    uint32_t struct_size;       /* sizeof(strata_span) as the library knows it */
    int32_t status;             /* how it ended */
    uint8_t trace_id[16];
    uint8_t span_id[8];
    uint8_t parent_id[8];
    const char *name;           /* "strata.get"; lives forever. strata.peek, .get, .get_or_load, .set, .invalidate, .exists, .touch, .incr,
                                   .counter_delete, .mget, .mget_or_load, .mset, .minvalidate, .invalidate_tags, .clear,
                                   .invalidate_pattern, .invalidate_cascade, .lock_acquire, .lock_renew, .lock_release; and within those .l2, .load, .fill, .refresh */
    const strata_namespace *ns; /* NULL where it is about none */
    uint64_t key_hash;          /* of its key, see strata_event_key; 0 none */
    strata_bytes key;           /* empty without STRATA_TRACE_KEYS */
    int64_t start_ns, end_ns;   /* the engine's clock */
    int64_t start_unix_ns, end_unix_ns; /* the time of day: as it was at the start, and so much later */
    uint8_t source;             /* strata_source */
    uint8_t reserved[7];
    strata_bytes tracestate;    /* of its context */
} strata_span;

/* Who is told of spans; given at open. struct_size first. */
typedef struct strata_tracer {
    uint32_t struct_size; /* sizeof(strata_tracer) */
    uint32_t flags;       /* STRATA_TRACE_KEYS */
    /* Called on the thread on which a span ends, under no lock of Strata: a session's own for what is answered at once, the engine's loop
       for what L2 answers, whoever finishes a load for that. Must be quick (the loop waits for it), copy what it keeps, and call no
       function of Strata. A load that is finished after strata_close is told too: context lives as long as loads do. */
    void (*span)(void *context, const strata_span *span);
    void *context;
} strata_tracer;

/*
 * Says which trace a session's calls belong to from now on.
 *   session      a session
 *   traceparent  as the header of that name came; empty: to none. What is malformed is as if there were none (trace.malformed)
 *   tracestate   as that header came, its lines joined by commas, or empty; handed on as it is. One longer than
 *                STRATA_TRACESTATE_BYTES_MAX, or with other than printable characters, is left out (trace.malformed)
 * Returns: STRATA_OK, also for what is malformed; STRATA_E_INVALID, STRATA_E_NOMEM: calls belong to no trace; STRATA_E_CLOSED;
 *          STRATA_E_FORKED.
 * Owns:    nothing; both are copied.
 * Threads: the session's.
 * Blocks:  never.
 * Since:   0.1
 */
STRATA_API int32_t strata_session_trace(strata_session *session, strata_bytes traceparent, strata_bytes tracestate);

/*
 * What a loader says to its source, so that it knows to which trace the request belongs: the span of this load where the
 * context of the call that asked for it is sampled and the engine has a tracer, else the context as it came.
 *   load  a load that is not finished
 * Returns: a header's value, STRATA_TRACEPARENT_BYTES long, alive until the load is ended; empty without a context.
 * Owns:    nothing.
 * Threads: any.
 * Blocks:  never.
 * Since:   0.1
 */
STRATA_API strata_bytes strata_load_traceparent(const strata_load *load);

/*
 * The tracestate that came with it.
 *   load  a load that is not finished
 * Returns: a header's value, alive until the load is ended; empty where there is none.
 * Owns:    nothing.
 * Threads: any.
 * Blocks:  never.
 * Since:   0.1
 */
STRATA_API strata_bytes strata_load_tracestate(const strata_load *load);

#ifdef __cplusplus
}
#endif
#endif
