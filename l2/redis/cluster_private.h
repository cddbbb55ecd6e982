/* SPDX-License-Identifier: Apache-2.0 */
/* The cluster's inside, shared by the files that make it up: peers, requests, the map and how it is read. */
#ifndef SX_L2_REDIS_CLUSTER_PRIVATE_H
#define SX_L2_REDIS_CLUSTER_PRIVATE_H

#include "core/key/key.h"
#include "l2/redis/cluster.h"
#include "l2/redis/conn_private.h"

#define SX_REDIS_SEEDS_MAX 64
#define SX_REDIS_REDIRECTS_MAX 16
#define SX_REDIS_OPEN_GROUPS 64

typedef struct sx_redis_group sx_redis_group; /* group.c */

/* Bits of a request's flags. */
enum {
    SX_REDIS_REQUEST_ASKING = 1,
    SX_REDIS_REQUEST_EVAL = 2, /* the node doesn't have its script */
    SX_REDIS_REQUEST_ALONE = 4 /* its group was answered what may not be its own answer */
};

/* Requests in the order of their coming, linked through themselves. */
typedef struct sx_redis_queue {
    sx_redis_request *first, *last;
    uint32_t ops;
    size_t bytes;
} sx_redis_queue;

/* Where a node is that servers tell of by another address. */
typedef struct sx_redis_nat {
    sx_redis_address from, to;
} sx_redis_nat;

/* A question to other primaries about one node. */
typedef struct sx_redis_confirm {
    struct sx_redis_confirm *next; /* among those that end soon */
    sx_redis_cluster *cluster;
    struct sx_redis_peer *subject;
    struct sx_redis_peer *asked;
    sx_redis_conn *conn;
    uint64_t ticket;
    sx_timer timer;
    void (*fn)(void *context, int32_t status);
    void *context;
    int32_t status;
    uint32_t tries;
    bool busy;
    bool embedded;
} sx_redis_confirm;

/* A node with all that we keep about it. */
typedef struct sx_redis_peer {
    sx_redis_node node; /* first: the public part */
    sx_redis_cluster *cluster;
    sx_redis_conn *conn;   /* NULL between attempts */
    bool was_ready;        /* conn has been ready */
    bool failing;          /* the last attempt failed */
    uint32_t attempts;     /* failed in a row */
    int64_t ready_ns;      /* when conn became ready */
    int64_t failed_ns;     /* when the last attempt failed */
    sx_timer backoff;
    int64_t offset_ns;     /* INT64_MIN unknown */
    int64_t silent_read_ns; /* last_read_ns at the first timeout without bytes since; INT64_MIN none */
    int64_t silent_since_ns;
    sx_redis_queue waiting; /* for conn to be ready */
    sx_redis_conn *bulk;    /* for large replies; NULL until one is expected, and after it was lost */
    int64_t bulk_again_ns;  /* no attempt before */
    int64_t bulk_silent_read_ns; /* as above, of bulk; 0 none */
    int64_t bulk_silent_since_ns;
    bool groups_refused;         /* the user may not read several keys at once */
    sx_redis_confirm confirm;
} sx_redis_peer;

/* How the map is read: one question at a time, to a live peer or through a probe to a seed. */
typedef struct sx_redis_refresh {
    sx_timer timer;      /* the next reading */
    sx_timer limit;      /* an answer's */
    bool asking;
    bool again;          /* asked for while one was under way */
    bool wished;         /* timer is for a wish: later wishes share it */
    bool changed;        /* the one under way, or a MOVED since, told something new */
    int64_t ended_ns;    /* when the last one ended */
    int64_t gap_ns;      /* no wish is granted within it after that; grows while readings tell nothing new */
    sx_redis_conn *conn; /* asked; NULL while the probe connects */
    uint64_t ticket;
    sx_redis_conn *probe;
    sx_redis_address asked;
    bool shards;         /* CLUSTER SHARDS was asked, else SLOTS */
    bool no_shards;      /* a server refused that: SLOTS from now on */
    uint32_t tries;      /* live peers asked in vain */
    uint32_t candidate;  /* next of seeds, then peers, to probe */
    uint32_t failures;   /* rounds in a row over all candidates */
} sx_redis_refresh;

/* owner: loop, unless said. */
struct sx_redis_cluster {
    sx_loop *loop;                     /* const after create, as all down to nat_most */
    const sx_redis_settings *settings;
    sx_redis_mode mode;
    sx_redis_cluster_events events;
    sx_redis_address *seeds;
    uint32_t seed_count;
    sx_redis_nat *nat;
    uint32_t nat_count, nat_most;
    bool started, stopping;
    bool has_map, is_cluster, has_server;
    sx_redis_server server;
    sx_key_random random;
    sx_redis_peer *peers[SX_REDIS_NODES_MAX];
    uint32_t peer_count;
    uint16_t owner[SX_SLOTS];   /* index + 1; 0 nobody */
    uint16_t scratch[SX_SLOTS]; /* a map being read */
    sx_redis_refresh refresh;
    sx_redis_queue waiting;     /* for a map */
    sx_redis_queue ending;      /* their outcomes are told by task */
    sx_redis_confirm *confirms_ending;
    sx_redis_group *open_groups[SX_REDIS_OPEN_GROUPS]; /* of this turn */
    uint64_t open_places;       /* which of them are there, as bits */
    sx_redis_group *spare_groups;
    sx_command group_command;
    sx_turn_end gather;
    sx_task task;
    bool task_posted;
    void (*stopped)(void *context);
    void *stopped_context;
    int32_t error_status;
    char error[SX_REDIS_REASON_MAX];
    sx_counter counters[SX_REDIS_METRIC_COUNT]; /* written on the loop, read anywhere */
};

static inline void sx_redis_cluster_note(sx_redis_cluster *cluster, uint32_t metric, int64_t more) {
    sx_counter_add(&cluster->counters[metric], more);
}

/* cluster.c */
void sx_redis_cluster_set_error(sx_redis_cluster *cluster, int32_t status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void sx_redis_cluster_wake(sx_redis_cluster *cluster); /* runs the task soon: ends what waits to be ended */
/* Uniform in [0, bound_ns). */
int64_t sx_redis_cluster_jitter(sx_redis_cluster *cluster, int64_t bound_ns);

/* outcome.c: which outcome an error reply is. NOSCRIPT, MOVED and ASK are dealt with before. */
sx_redis_outcome sx_redis_outcome_of_error(const sx_resp *error);
bool sx_redis_error_begins(const sx_resp *error, const char *word);

/* slots.c: topology texts, read without trust. */
typedef struct sx_redis_range {
    uint16_t first, last;
    sx_redis_address address;
    char id[SX_REDIS_ID_MAX];
    bool primary;
} sx_redis_range;
/* Calls fn for each node of each range of a CLUSTER SLOTS reply, a range's primary first. False where it is malformed,
   or fn refused. */
bool sx_redis_slots_read(const sx_resp *reply, const sx_redis_address *asked,
                         bool (*fn)(void *context, const sx_redis_range *range), void *context);
/* The same of CLUSTER SHARDS; the port is that for TLS or the other. Who is no primary comes once, with any range. False too where
   it is not clear who a shard's primary is. */
bool sx_redis_shards_read(const sx_resp *reply, const sx_redis_address *asked, bool tls,
                          bool (*fn)(void *context, const sx_redis_range *range), void *context);
/* "host:port", "[::1]:port", "::1:port"; ":port" means asked's host (NULL: refused, and "unix:/path" is taken instead). */
bool sx_redis_address_read(const char *text, size_t size, const char *asked_host, sx_redis_address *out);
/* "MOVED 3999 127.0.0.1:6381" or "ASK ...". */
bool sx_redis_redirect_read(const sx_resp *error, const char *asked_host, bool *asking, uint16_t *slot,
                            sx_redis_address *out);
/* Whether CLUSTER NODES calls id a primary that has not failed and owns every slot for which owned says so, and the node
   that says this hears a majority of the primaries. */
bool sx_redis_nodes_confirm(const char *text, size_t size, const char *id, const uint16_t owner[SX_SLOTS],
                            uint16_t owned_by);

/* nat.c */
int32_t sx_redis_nat_read(sx_redis_cluster *cluster, const char *text, char *error, size_t error_size);
void sx_redis_nat_free(sx_redis_cluster *cluster);
/* An address that a server told becomes the one that we reach it at. */
void sx_redis_nat_apply(const sx_redis_cluster *cluster, sx_redis_address *address);

/* peers.c */
sx_redis_peer *sx_redis_peer_get(sx_redis_cluster *cluster, const char *id, const sx_redis_address *address);
sx_redis_peer *sx_redis_peer_at(sx_redis_cluster *cluster, const sx_redis_address *address);
void sx_redis_peer_move(sx_redis_peer *peer, const sx_redis_address *address);
/* Connects now, unless connected, connecting or in backoff. */
void sx_redis_peer_connect(sx_redis_peer *peer);
/* Requests want it while it is in backoff: the next attempt is not put off for longer than a second. */
void sx_redis_peer_hurry(sx_redis_peer *peer);
sx_redis_peer *sx_redis_peer_random_ready(sx_redis_cluster *cluster, const sx_redis_peer *except, bool primary);
void sx_redis_peer_note_timeout(sx_redis_peer *peer);

/* bulk.c */
/* The node's connection for large replies; NULL while there is none that can be used, but then one is on its way. */
sx_redis_conn *sx_redis_bulk_conn(sx_redis_peer *peer);
void sx_redis_bulk_close(sx_redis_peer *peer, int32_t status, const char *reason);
/* A request on it has timed out: where nothing was heard of it since a first one did, a connect timeout ago, it is given up. */
void sx_redis_bulk_note_timeout(sx_redis_peer *peer);

/* request.c */
void sx_redis_queue_add(sx_redis_queue *queue, sx_redis_request *request);
void sx_redis_queue_remove(sx_redis_queue *queue, sx_redis_request *request);
/* Sends again what waits in queue, each wherever it belongs now. */
void sx_redis_queue_dispatch(sx_redis_cluster *cluster, sx_redis_queue *queue);
void sx_redis_queue_end(sx_redis_queue *queue, sx_redis_outcome outcome);
/* Those of a peer's queue whose slot has another owner now. */
void sx_redis_queue_reroute(sx_redis_peer *peer);
void sx_redis_requests_end_due(sx_redis_cluster *cluster);
/* By itself, on a connection that is ready. */
void sx_redis_request_send(sx_redis_request *request, sx_redis_peer *peer);
/* It was sent on conn, or not, by that status. */
void sx_redis_request_sent(sx_redis_request *request, sx_redis_conn *conn, int32_t status);
/* What the server answered to it; NULL: what makes no sense. */
void sx_redis_request_reply(sx_redis_request *request, int32_t status, const sx_resp *reply);
/* To that node once more, with these flags besides. */
void sx_redis_request_again(sx_redis_request *request, sx_redis_peer *peer, uint8_t flags);

/* group.c */
/* Takes the request into a group that goes at the turn's end. False: it must go alone. */
bool sx_redis_group_add(sx_redis_request *request, sx_redis_peer *peer);
/* Of a group that is sent: as sx_redis_conn_forget. */
bool sx_redis_group_forget(sx_redis_request *request);
/* Sends what is open now: all, or a slot's writes, so that what comes after them stays behind them. */
void sx_redis_groups_send(sx_redis_cluster *cluster);
void sx_redis_groups_send_writes(sx_redis_cluster *cluster, uint16_t slot);
void sx_redis_groups_free(sx_redis_cluster *cluster);

/* refresh.c. Wishes share one reading, at a random time within 50 ms; readings that tell nothing new grow rarer, from
   50 ms apart to 400 ms: an outage of t seconds costs at most 5 + 2.5 t of them, however many operations fail. */
void sx_redis_refresh_start(sx_redis_cluster *cluster);
void sx_redis_refresh_soon(sx_redis_cluster *cluster);
void sx_redis_refresh_stop(sx_redis_cluster *cluster);

/* map.c */
/* shards: a reply to CLUSTER SHARDS, else SLOTS. */
bool sx_redis_map_apply(sx_redis_cluster *cluster, const sx_resp *reply, bool shards, const sx_redis_address *asked);
void sx_redis_map_standalone(sx_redis_cluster *cluster, const sx_redis_address *address);
void sx_redis_map_moved(sx_redis_cluster *cluster, uint16_t slot, sx_redis_peer *to);

/* confirm.c */
void sx_redis_confirms_end_due(sx_redis_cluster *cluster);

#endif
