/* SPDX-License-Identifier: Apache-2.0 */
/* A Redis Cluster, or one standalone server, as one thing: slot map, a data connection per primary, redirects. */
#ifndef SX_L2_REDIS_CLUSTER_H
#define SX_L2_REDIS_CLUSTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/config/option.h"
#include "core/observe/metric.h"
#include "l2/redis/conn.h"

extern const sx_option_table sx_redis_options; /* l2.nodes, l2.username, l2.password, l2.connect_timeout, queue limits */

/* How an attempt ended. */
typedef enum sx_redis_outcome {
    SX_REDIS_OK,           /* a reply that is no error */
    SX_REDIS_ERROR,        /* an error reply without a rule of its own */
    SX_REDIS_TRYAGAIN,
    SX_REDIS_CLUSTERDOWN,
    SX_REDIS_LOADING,
    SX_REDIS_MASTERDOWN,
    SX_REDIS_READONLY,
    SX_REDIS_BUSY,
    SX_REDIS_OOM,
    SX_REDIS_NOREPLICAS,
    SX_REDIS_NOAUTH,       /* NOAUTH, WRONGPASS */
    SX_REDIS_NOPERM,
    SX_REDIS_REDIRECTS,    /* MOVED or ASK too many times */
    SX_REDIS_NO_OWNER,     /* no node is known to own the slot */
    SX_REDIS_UNREACHABLE,  /* never written to a socket */
    SX_REDIS_BACKING_OFF,  /* never written: the last attempt to connect failed, the next one is not due yet */
    SX_REDIS_LOST,         /* written, connection closed before the reply: may have been executed */
    SX_REDIS_TIMEOUT_UNTRIED, /* nothing was tried with the server: between attempts to connect, or it came too late */
    SX_REDIS_TIMEOUT_UNSENT,  /* it did not let us connect, or took no bytes */
    SX_REDIS_TIMEOUT_SENT, /* may have been, or still be, executed */
    SX_REDIS_OVERLOADED,
    SX_REDIS_NOMEM,
    SX_REDIS_CLOSED        /* the cluster object is closing; never written */
} sx_redis_outcome;

/* Each outcome's rule, one row each. */
typedef struct sx_redis_rule {
    int32_t status;     /* what the caller is told in the end */
    bool executed;      /* may have been executed */
    bool retry;         /* a later attempt may succeed */
    bool node_fault;    /* counts against the node's breaker */
    const char *name;
} sx_redis_rule;
const sx_redis_rule *sx_redis_rule_of(sx_redis_outcome outcome);
static inline bool sx_redis_is_timeout(sx_redis_outcome outcome) {
    return outcome >= SX_REDIS_TIMEOUT_UNTRIED && outcome <= SX_REDIS_TIMEOUT_SENT;
}

typedef struct sx_redis_cluster sx_redis_cluster;

/* One node, known by its id; lives as long as the cluster object. owner: loop. */
typedef struct sx_redis_node {
    uint32_t index;           /* small and stable: for tables beside */
    char id[SX_REDIS_ID_MAX]; /* "" in standalone */
    sx_redis_address address;
    bool primary;             /* owns slots, as far as we know */
    uint32_t attempts_failed; /* to connect, ever: wraps */
} sx_redis_node;
#define SX_REDIS_NODES_MAX 1024

/* How requests go together: those of one slot and kind that are submitted in one turn of the loop may go as one command.
   Each ends as if it had gone alone, but that a deadline that passes before anything was written counts as sent, and that a
   key that holds no string is answered as absent. const */
#define SX_REDIS_GROUP_MAX 32
struct sx_redis_request;
typedef struct sx_redis_group_kind {
    const sx_redis_script *script; /* of the group's command; NULL: a plain one, which changes nothing */
    uint32_t members_max;          /* 2 .. SX_REDIS_GROUP_MAX */
    size_t bytes_max;              /* of their weights; what is heavier goes alone */
    /* Into an empty command, in the place of each member's own encode. */
    void (*encode)(struct sx_redis_request *const *members, uint32_t count, const sx_redis_node *node,
                   sx_command *command);
    /* A member's part of the reply, which may be made in scratch; NULL: the reply makes no sense. */
    const sx_resp *(*part)(const sx_resp *reply, uint32_t count, uint32_t index, sx_resp scratch[3]);
} sx_redis_group_kind;

/* One command and its fate. Embedded in whatever it serves; must live until done. owner: loop. */
typedef struct sx_redis_request {
    /* set by the caller */
    sx_command command;            /* or made by encode */
    const sx_redis_script *script; /* NULL for a plain command */
    bool read_only;
    bool bulk;                     /* a large reply is expected: it should not delay others. Reads only: order is lost */
    uint16_t slot;
    int64_t deadline_ns;
    size_t weight;                 /* in a group: bytes of the command, or of the reply that is expected */
    size_t held;                   /* bytes that whoever asks holds for it, where encode makes the command; 0 for few */
    const sx_redis_group_kind *group_kind; /* NULL: goes alone */
    uint64_t group_tag;            /* only those with the same go together */
    uint64_t group_key;            /* no two with the same do; 0: any */
    /* Called before each send, redirects included, where not NULL: makes command anew for that node (its clock). */
    void (*encode)(struct sx_redis_request *request, const sx_redis_node *node);
    /* Exactly once, never inside submit. reply lives during the call; NULL unless SX_REDIS_OK or an error reply. */
    void (*done)(struct sx_redis_request *request, sx_redis_outcome outcome, const sx_resp *reply);
    /* for done to read */
    uint64_t identity;             /* of the connection that answered; 0 none */
    sx_redis_node *node;           /* last one tried */
    /* private */
    sx_timer timer;
    struct sx_redis_request *next, *previous;
    sx_redis_conn *conn;
    uint64_t ticket;
    struct sx_redis_group *group;
    sx_redis_cluster *cluster;
    uint8_t redirects, state, flags, outcome;
} sx_redis_request;

typedef struct sx_redis_cluster_events {
    void *context;
    /* The first map is there, or some slot has another owner than before. */
    void (*on_topology)(void *context);
    /* MOVED or ASK was answered for this slot (before the map changes). */
    void (*on_redirect)(void *context, uint16_t slot, bool asking);
} sx_redis_cluster_events;

typedef enum sx_redis_mode { SX_REDIS_MODE_AUTO, SX_REDIS_MODE_STANDALONE, SX_REDIS_MODE_CLUSTER } sx_redis_mode;

/* nodes: "host:port,host:port,[::1]:port,unix:/path". Kept as seeds forever. A Unix socket leads to a standalone server. */
int32_t sx_redis_cluster_create(sx_loop *loop, const sx_redis_settings *settings, sx_redis_mode mode,
                                const char *nodes, const sx_redis_cluster_events *events, sx_redis_cluster **out,
                                char *error, size_t error_size);
/* On the loop. Connects to the seeds until one answers, then reads the map; goes on by itself for ever. */
void sx_redis_cluster_start_on_loop(sx_redis_cluster *cluster);
/* On the loop. Fails what is pending with SX_REDIS_CLOSED/LOST, closes all; then(context) runs once everything is. */
void sx_redis_cluster_stop_on_loop(sx_redis_cluster *cluster, void (*then)(void *context), void *context);
void sx_redis_cluster_destroy(sx_redis_cluster *cluster);

/* All below: on the loop. */
void sx_redis_cluster_submit(sx_redis_cluster *cluster, sx_redis_request *request);
bool sx_redis_cluster_is_cluster(const sx_redis_cluster *cluster); /* once a map is there */
bool sx_redis_cluster_has_map(const sx_redis_cluster *cluster);
/* Why there is none yet, "" at first: "127.0.0.1:7000: connection refused"; status classifies. */
const char *sx_redis_cluster_last_error(const sx_redis_cluster *cluster, int32_t *status);
sx_redis_node *sx_redis_cluster_owner(sx_redis_cluster *cluster, uint16_t slot); /* NULL none */
uint32_t sx_redis_cluster_node_count(const sx_redis_cluster *cluster);
sx_redis_node *sx_redis_cluster_node(sx_redis_cluster *cluster, uint32_t index);
/* What is known of the servers (the first that answered). NULL before. */
const sx_redis_server *sx_redis_cluster_server(const sx_redis_cluster *cluster);
/* The node's wall clock at now_ns of ours, in ms, from the last handshake or note; -1 unknown. */
int64_t sx_redis_cluster_server_ms(const sx_redis_cluster *cluster, const sx_redis_node *node, int64_t now_ns);
/* A deadline of ours by that clock, rounded up, for a script that refuses what is later; 0 unknown. */
int64_t sx_redis_cluster_deadline_ms(const sx_redis_cluster *cluster, const sx_redis_node *node, int64_t now_ns, int64_t deadline_ns);
/* A better reading of a node's clock (a heartbeat's TIME). */
void sx_redis_cluster_note_clock(sx_redis_cluster *cluster, sx_redis_node *node, int64_t offset_ns);
/* Have the map read again soon (coalesced, jittered). */
void sx_redis_cluster_refresh(sx_redis_cluster *cluster);
/* The data connection's identity of that node may be outdated (promotion): read it again in order with its commands. */
void sx_redis_cluster_reidentify(sx_redis_cluster *cluster, sx_redis_node *node);
/* Asks another primary than node, now, whether node is the owner of the slots that our map gives it, at its current
   config epoch. fn: STRATA_OK yes (also where there is no other primary to ask, or in standalone); STRATA_E_REFUSED no;
   STRATA_E_UNAVAILABLE nobody answered in time. Never inside the call. */
void sx_redis_cluster_confirm(sx_redis_cluster *cluster, sx_redis_node *node, int64_t deadline_ns,
                              void (*fn)(void *context, int32_t status), void *context);

enum {
    SX_REDIS_METRIC_NODES_CONNECTED,
    SX_REDIS_METRIC_COMMANDS,
    SX_REDIS_METRIC_BYTES_OUT,
    SX_REDIS_METRIC_BYTES_IN,
    SX_REDIS_METRIC_CONNECTS,
    SX_REDIS_METRIC_DISCONNECTS,
    SX_REDIS_METRIC_MOVED,
    SX_REDIS_METRIC_ASK,
    SX_REDIS_METRIC_MAP_REFRESHES,
    SX_REDIS_METRIC_TIMEOUTS,
    SX_REDIS_METRIC_SCRIPT_RELOADS,
    SX_REDIS_METRIC_BULK,
    SX_REDIS_METRIC_TLS_HANDSHAKES,
    SX_REDIS_METRIC_TLS_RESUMED,
    SX_REDIS_METRIC_GROUPED,
    SX_REDIS_METRIC_COUNT
};
extern const sx_metric_row sx_redis_metrics[SX_REDIS_METRIC_COUNT];
int64_t sx_redis_metric_read(const sx_redis_cluster *cluster, uint32_t metric); /* any thread */

#endif
