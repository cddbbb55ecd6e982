/* SPDX-License-Identifier: Apache-2.0 */
/* The store: requests to the cluster under a deadline, with retries, backoff and a circuit breaker per node. */
#ifndef SX_L2_STORE_H
#define SX_L2_STORE_H

#include <stdatomic.h>

#include "core/config/option.h"
#include "core/observe/histogram.h"
#include "core/observe/metric.h"
#include "l2/redis/cluster.h"

extern const sx_option_table sx_store_options; /* l2.mode, l2.timeout, retry_*, breaker_*, value_bytes_max, open_wait */

typedef struct sx_store sx_store;

enum { SX_STORE_TOKENS = 1000, SX_STORE_TOKENS_PER_S = 200 };

/* What breakers go by. atomic: relaxed, numbers that stand for themselves; they may change while in use */
typedef struct sx_breaker_limits {
    _Atomic int64_t failures; /* a node's faults in a row that open its breaker; 0: never, and what is open closes with its node's next request */
    _Atomic int64_t open_ns;  /* how long after it opened one probe is let through (half-open) */
} sx_breaker_limits;

typedef struct sx_store_settings {
    int64_t retry_base_ns;        /* first backoff; doubles, full jitter */
    int64_t retry_max_ns;
    const sx_breaker_limits *breaker; /* outlive the store */
    /* A node's breaker has opened, or closed. On the loop, where nothing but a note may be taken; NULL: nobody wants to know. */
    void (*on_breaker)(void *context, const sx_redis_node *node, bool opened);
    void *context;
} sx_store_settings;

/* One operation. Embedded; lives until done. owner: loop. The caller fills request's command/encode, script, read_only,
   slot, deadline_ns; the store uses request.done itself. */
typedef struct sx_store_op {
    sx_redis_request request;
    /* Exactly once, never inside submit. STRATA_OK: reply is no error. A failure: reply is NULL, or the error reply.
       A write that may have been executed ends with STRATA_E_UNKNOWN_OUTCOME; such a write is never sent twice. What
       may be tried again is, until its deadline and as far as the budget reaches: an operation's first retry is free,
       as is each after TRYAGAIN (a slot that moves); any further one takes a token of the store's SX_STORE_TOKENS,
       which come back at SX_STORE_TOKENS_PER_S. So t seconds of outage see at most one retry an operation and
       SX_STORE_TOKENS + t * SX_STORE_TOKENS_PER_S more. An open breaker answers STRATA_E_UNAVAILABLE at once. */
    void (*done)(struct sx_store_op *op, int32_t status, const sx_resp *reply);
    void *context;
    bool write;
    bool stop_at_tryagain; /* a TRYAGAIN ends it instead of being retried */
    bool tryagain;         /* for done to read: some attempt was answered TRYAGAIN */
    /* private */
    sx_store *store;
    sx_timer retry_timer;
    struct sx_store_op *next, *previous;
    int64_t backoff_ns;
    int64_t sent_ns;     /* when this attempt was begun */
    int32_t pending_status;
    bool retried;
    bool out_of_time;    /* for done to read: it failed because no retry fitted in before its deadline */
    uint32_t probe_node; /* index + 1 where this attempt is a breaker's probe */
} sx_store_op;

int32_t sx_store_create(sx_loop *loop, const sx_alloc *alloc, sx_redis_cluster *cluster,
                        const sx_store_settings *settings, sx_store **out);
/* On the loop: ends what waits for a retry with STRATA_E_CLOSED; later submits too. */
void sx_store_stop_on_loop(sx_store *store);
void sx_store_destroy(sx_store *store);
void sx_store_submit_on_loop(sx_store *store, sx_store_op *op);

typedef enum sx_breaker_state { SX_BREAKER_CLOSED, SX_BREAKER_OPEN, SX_BREAKER_HALF_OPEN } sx_breaker_state;
sx_breaker_state sx_store_breaker_on_loop(const sx_store *store, uint32_t node_index);

/* What is counted for one server. owner: loop */
typedef struct sx_store_node {
    sx_counter requests;      /* attempts */
    sx_counter failures;      /* of them, by the server's fault */
    sx_counter timeouts;      /* of those, without an answer in time */
    sx_counter breaker_opens;
    sx_histogram latency;     /* of answers, ns */
} sx_store_node;
/* NULL: nothing was sent there, or there was no memory to count it. */
const sx_store_node *sx_store_node_on_loop(const sx_store *store, uint32_t node_index);
/* All of it begins anew. */
void sx_store_nodes_reset_on_loop(sx_store *store);

enum {
    SX_STORE_METRIC_RETRIES,
    SX_STORE_METRIC_UNKNOWN_OUTCOMES,
    SX_STORE_METRIC_BREAKER_OPENS,
    SX_STORE_METRIC_BREAKER_REFUSALS,
    SX_STORE_METRIC_BREAKERS_OPEN, /* gauge */
    SX_STORE_METRIC_RETRIES_REFUSED,
    SX_STORE_METRIC_COUNT
};
extern const sx_metric_row sx_store_metrics[SX_STORE_METRIC_COUNT];
int64_t sx_store_metric_read(const sx_store *store, uint32_t metric); /* any thread */

#endif
