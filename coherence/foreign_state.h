/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of foreign keys share: who owns which slots, and one tracking connection per primary. All owner: loop. */
#ifndef SX_COHERENCE_FOREIGN_STATE_H
#define SX_COHERENCE_FOREIGN_STATE_H

#include "coherence/foreign.h"

typedef struct sx_foreign_node {
    sx_foreign *foreign;
    sx_redis_node *record;
    sx_timer timer; /* the next step */
    sx_redis_conn *conn;
    bool ready;
    bool closing;
    bool asked;          /* to track */
    bool tracking;       /* which it confirmed */
    uint32_t prefixes;   /* that it was asked to track */
    uint64_t trust_ends; /* of the node's trust, when it was asked */
    uint32_t failures;   /* since the last lease */
    int64_t open_ns;     /* no new connection before */
    bool beating;        /* a PING is under way */
    int64_t beat_ns;     /* when the last one was sent */
    int64_t before_ns;   /* when the last one that was answered was sent; INT64_MIN none on this connection */
    int64_t next_ns;     /* the next one is due */
    int64_t lease_ns;    /* INT64_MIN none */
    sx_log_gate gate;
} sx_foreign_node;

typedef struct sx_foreign_prefix {
    uint32_t size;
    char text[SX_FOREIGN_PREFIX_BYTES_MAX];
    void *owner;
} sx_foreign_prefix;

struct sx_foreign {
    sx_loop *loop;
    const sx_alloc *alloc;
    const sx_log *log;
    sx_redis_cluster *cluster;
    sx_trust *trust;
    sx_redis_settings redis; /* without scripts */
    sx_foreign_events events;
    sx_trust_word *words;
    bool tracks;
    bool stopping;
    bool warned; /* that nobody bounds what a server keeps for us */
    sx_key_random random;
    uint32_t prefix_count;
    sx_foreign_prefix prefixes[SX_FOREIGN_PREFIXES_MAX];
    /* Of each word, the nodes that own its slots, each once: owner_counts[w] from owners[w * SX_FOREIGN_WORD_SLOTS] on; 0
       where some slot's is not known. */
    uint16_t owners[SX_SLOTS];
    uint16_t owner_counts[SX_FOREIGN_WORDS];
    sx_foreign_node *nodes[SX_REDIS_NODES_MAX]; /* by the record's index; made when first needed */
    uint32_t node_count;

    uint32_t pending; /* connections */
    void (*then)(void *context);
    void *then_context;
    sx_task stopped;
    sx_counter metrics[SX_FOREIGN_METRIC_COUNT];
};

/* ---- foreign.c: the words ---- */
void sx_foreign_count(sx_foreign *foreign, uint32_t metric, int64_t more);
bool sx_foreign_owns(const sx_foreign *foreign, const sx_foreign_node *node, uint32_t word);
/* The node is proven until then: so is each word all of whose owners are. */
void sx_foreign_lease(sx_foreign_node *node, int64_t lease_ns);
/* Whatever was read from the node is unproven, for ever. */
void sx_foreign_doubt(sx_foreign_node *node);
/* One thing under way has ended. */
void sx_foreign_settle(sx_foreign *foreign);

/* ---- foreign_node.c ---- */
int32_t sx_foreign_node_get(sx_foreign *foreign, sx_redis_node *record, sx_foreign_node **out);
void sx_foreign_node_destroy(sx_foreign_node *node);
/* Does whatever is due and sets the timer for what is next. */
void sx_foreign_node_step(sx_foreign_node *node);
void sx_foreign_node_close(sx_foreign_node *node, int32_t status, const char *reason);

#endif
