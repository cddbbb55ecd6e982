/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of trust share: partitions, nodes, and the steps between them. Everything here is owner: loop unless it
   says otherwise.

   A node's sequence (seq) orders what was sent and learnt: what was sent before a partition was subscribed or lost its
   trust proves nothing about it. So a partition keeps since, the sequence at that moment, and is trusted again only by
   an identity and a heartbeat whose sequences are greater. */
#ifndef SX_COHERENCE_TRUST_STATE_H
#define SX_COHERENCE_TRUST_STATE_H

#include "coherence/trust.h"
#include "core/observe/broken.h"

#define SX_TRUST_TEXT_MAX 400
#define SX_TRUST_TEXTS 16

typedef enum sx_trust_stage {
    SX_TRUST_UNSUBSCRIBED,
    SX_TRUST_SUBSCRIBING, /* sent, not yet confirmed by a push */
    SX_TRUST_SUBSCRIBED,  /* confirmed; to be proven by an identity and a heartbeat */
    SX_TRUST_TRUSTED
} sx_trust_stage;

typedef struct sx_trust_node sx_trust_node;

typedef struct sx_trust_partition {
    sx_trust_node *node;  /* whom we believe to own it; NULL nobody */
    sx_trust_stage stage;
    bool known;           /* last was proven once, by a counter */
    bool hole;            /* something was missed: the next gain bumps the generation */
    bool absent;          /* its counter was missing, or never seen */
    bool creating;        /* a request to create the counter is under way */
    uint64_t last;        /* the newest n that continues what was proven */
    uint64_t identity;    /* of the node when trust was last gained */
    uint64_t term;        /* counts gains */
    uint64_t since;       /* node's seq of the confirmed subscription or of the last loss */
    int64_t retry_ns;     /* no subscription or creation before */
} sx_trust_partition;

typedef struct sx_trust_beat {
    bool outstanding;
    bool is_master;       /* standalone: ROLE, answered before the counters */
    uint64_t seq;
    int64_t sent_ns;      /* clock read before it was queued */
    uint32_t count;
    uint32_t *partitions; /* settings.beat_counters places */
} sx_trust_beat;

typedef enum sx_trust_check { SX_TRUST_CHECK_WAITING, SX_TRUST_CHECK_RUNNING, SX_TRUST_CHECK_PASSED } sx_trust_check;

/* One request of a node or of the layout; its memory lives until done. */
typedef struct sx_trust_request {
    sx_redis_request request;
    sx_trust *trust;
    sx_trust_node *node;
    uint32_t partition;
} sx_trust_request;

struct sx_trust_node {
    sx_trust *trust;
    sx_redis_node *record;
    sx_timer timer;         /* the next step */
    uint32_t owned;         /* partitions */
    uint32_t trusted;
    uint64_t ends;          /* times that trusted became 0 */

    sx_redis_conn *conn;    /* NULL until opened */
    bool ready;
    bool closing;
    uint32_t failures;      /* since the last heartbeat that counted */
    int64_t open_ns;        /* no new connection before */

    uint64_t seq;
    uint64_t identity;      /* token as of identified_seq; 0 none */
    uint64_t identify_seq;  /* sent */
    uint64_t identified_seq;
    bool identifying;
    bool doubted;           /* a data connection to it has another identity: asked again, trusted or not */

    /* The chain: heartbeats, each answered before the lease of the one before was over. Where it broke, another primary
       must confirm the node, asked later, and only heartbeats sent after that answer count. */
    bool chained;
    int64_t lease_ns;
    uint64_t lapse_seq;
    bool confirming;
    bool confirmed;
    uint64_t confirm_seq;   /* asked */
    int64_t confirm_asked_ns;
    uint64_t confirmed_seq; /* answered */
    int64_t confirm_ns;     /* not asked again before */

    sx_trust_beat beat;
    int64_t beat_ns;        /* the next one is due */
    uint32_t rotation;      /* partition after which the next trusted counters are taken */
    uint32_t waiting;       /* the same for those that gain */
    bool beat_eval;         /* the server has forgotten the script */

    bool config_asking;
    bool config_known;      /* answered, or refused by the server */
    bool config_refused;    /* by us */
    int64_t config_ns;      /* asked again then */
    int64_t timeout_ns;     /* cluster-node-timeout; 0 unknown */
    sx_trust_check probe;
    bool probe_replied;
    bool probe_received;
    uint32_t probe_tries;
    uint64_t probe_id;
    uint32_t probe_partition;
    int64_t probe_ns;       /* RUNNING: gives up; WAITING: not before */
    int64_t reidentify_ns;  /* connections whose identities differ: not asked again before */
    sx_trust_request probe_request;
    bool probe_pending;     /* the request is not done */
    sx_log_gate gate;
};

typedef enum sx_trust_layout {
    SX_TRUST_LAYOUT_UNKNOWN,
    SX_TRUST_LAYOUT_READING,
    SX_TRUST_LAYOUT_WRITING,
    SX_TRUST_LAYOUT_AGREED
} sx_trust_layout;

struct sx_trust {
    sx_loop *loop;
    const sx_alloc *alloc;
    const sx_log *log;
    sx_redis_cluster *cluster;
    const sx_key_tags *tags;
    const sx_publish *publish;
    sx_publish_scripts *scripts;
    sx_trust_settings settings;
    sx_trust_events events;
    sx_trust_word *words;
    sx_key_random random;
    sx_trust_partition *partitions;
    sx_trust_node *nodes[SX_REDIS_NODES_MAX]; /* by the record's index; made when first needed */
    uint32_t node_count;                      /* places looked at */
    _Atomic int64_t delta_ns;                 /* atomic: relaxed; a bound to report, written by the loop */
    bool started;
    bool stopping;
    int64_t use_look_ns;    /* when that is to be looked at again: once an interval, not for each node */
    int64_t used_ns;        /* when something was last asked of this process, as far as heartbeats found out */

    sx_trust_layout layout;
    bool layout_again;      /* asked for while a check was under way */
    int64_t layout_ns;      /* not asked again before */
    uint32_t layout_failures;
    sx_trust_request layout_request;
    sx_timer timer;         /* for the layout */

    uint32_t pending;       /* connections, requests and confirmations under way */
    void (*then)(void *context);
    void *then_context;
    sx_task stopped;

    uint64_t texts[SX_TRUST_TEXTS]; /* hashes of what was refused and told */
    uint32_t text_next;
    sx_counter metrics[SX_TRUST_METRIC_COUNT];
};

/* ---- trust.c: the words ---- */
void sx_trust_gain(sx_trust *trust, uint32_t partition, uint64_t counter, int64_t lease_ns);
void sx_trust_extend(sx_trust *trust, uint32_t partition, int64_t lease_ns);
/* Ends trust if there is any; whatever was sent before no longer proves the partition. */
void sx_trust_lose(sx_trust *trust, uint32_t partition);
void sx_trust_lose_node(sx_trust_node *node);
void sx_trust_lose_all(sx_trust *trust);
void sx_trust_count(sx_trust *trust, uint32_t metric, int64_t more);
int64_t sx_trust_delta_ns(const sx_trust *trust);
/* One thing under way has ended. */
void sx_trust_settle(sx_trust *trust);

/* ---- trust_node.c ---- */
int32_t sx_trust_node_get(sx_trust *trust, sx_redis_node *record, sx_trust_node **out);
void sx_trust_node_destroy(sx_trust_node *node);
/* Does whatever is due and sets the timer for what is next. */
void sx_trust_node_step(sx_trust_node *node);
/* A step soon, from places where none may run. */
void sx_trust_node_kick(sx_trust_node *node);
/* The subscription connection is asked again who it is. */
void sx_trust_node_doubt(sx_trust_node *node);
void sx_trust_node_close(sx_trust_node *node, int32_t status, const char *reason);
void sx_trust_node_detach(sx_trust *trust, uint32_t partition);
void sx_trust_node_attach(sx_trust *trust, uint32_t partition, sx_trust_node *node);

/* ---- trust_push.c ---- */
void sx_trust_push(sx_trust_node *node, const sx_resp *push);

/* ---- trust_beat.c ---- */
/* Notices the end of the chain's lease. */
void sx_trust_beat_lapse(sx_trust_node *node, int64_t now_ns);
void sx_trust_beat_step(sx_trust_node *node, int64_t now_ns);
/* How far apart the node's heartbeats are. */
int64_t sx_trust_beat_interval_ns(const sx_trust_node *node, int64_t now_ns);
void sx_trust_beat_reset(sx_trust_node *node);

/* ---- trust_check.c ---- */
bool sx_trust_check_passed(const sx_trust_node *node);
void sx_trust_check_step(sx_trust_node *node, int64_t now_ns);
void sx_trust_check_reset(sx_trust_node *node);
void sx_trust_check_probe_received(sx_trust_node *node, uint64_t id);

/* ---- trust_layout.c ---- */
void sx_trust_layout_step(sx_trust *trust);
/* A counter was missing: the layout may be gone too. */
void sx_trust_layout_again(sx_trust *trust);
void sx_trust_create_counter(sx_trust *trust, uint32_t partition, int64_t now_ns);
/* Prepares a request with a deadline of a second and counts it as pending. */
void sx_trust_request_init(sx_trust_request *request, sx_trust *trust, uint16_t slot, const sx_redis_script *script,
                           void (*done)(sx_redis_request *, sx_redis_outcome, const sx_resp *));
/* Tells the engine why this L2 is not usable, once per text. */
void sx_trust_refuse(sx_trust *trust, int32_t status, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* What a failed request says: the server's text or the outcome's name. */
void sx_trust_reply_text(sx_redis_outcome outcome, const sx_resp *reply, char *out, size_t size);

#endif
