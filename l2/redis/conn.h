/* SPDX-License-Identifier: Apache-2.0 */
/* One connection to one Redis node: handshake, pipelining in order, pushes, and the identity of who answers. */
#ifndef SX_L2_REDIS_CONN_H
#define SX_L2_REDIS_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "core/loop/loop.h"
#include "l2/redis/resp.h"

#define SX_REDIS_HOST_MAX 256
#define SX_REDIS_ID_MAX 41

typedef struct sx_redis_tls sx_redis_tls; /* tls.h */

typedef struct sx_redis_address {
    char host[SX_REDIS_HOST_MAX];
    uint16_t port;
} sx_redis_address;

/* A Unix socket's address is "unix:" and its path for host, port 0. */
#define SX_REDIS_UNIX "unix:"
static inline bool sx_redis_address_is_unix(const sx_redis_address *address) {
    return strncmp(address->host, SX_REDIS_UNIX, sizeof SX_REDIS_UNIX - 1) == 0;
}
static inline bool sx_redis_address_same(const sx_redis_address *a, const sx_redis_address *b) {
    return a->port == b->port && strcmp(a->host, b->host) == 0;
}

/* Who answers on a connection: equal tokens mean same node address, run id and master_replid. */
typedef struct sx_redis_identity {
    uint64_t token; /* hash of the texts below; 0 unknown */
    char run_id[SX_REDIS_ID_MAX];
    char replid[SX_REDIS_ID_MAX];
    bool primary; /* role at that time */
} sx_redis_identity;

/* What the server is, found at the handshake. */
typedef struct sx_redis_server {
    const char *product;   /* "Redis", "Valkey" */
    uint32_t version;      /* the product's own, 0x00MMmmpp: 7.0.15 is 0x07000f */
    bool cluster;          /* cluster_enabled */
    bool sharded_pubsub;   /* these by the table in server.c */
    bool eval_ro;
    bool set_nx_get;
    bool cluster_shards;
} sx_redis_server;

/* A script that connections load at their handshake. owner: loop; sha is "" until a server told it. */
typedef struct sx_redis_script {
    const char *text;
    char sha[41];
} sx_redis_script;

/* const while any connection that uses it lives. */
typedef struct sx_redis_settings {
    const sx_alloc *alloc;
    const sx_clock *clock;
    const sx_log *log;
    const char *username;       /* "" for the default user */
    const char *password;       /* "" for no AUTH */
    const char *password_file;  /* NULL or "": none; else read at each handshake, instead of password */
    /* NULL: none. Else called at each handshake, on the loop, with username and password as above: may replace both, texts
       within these sizes. Anything but STRATA_OK ends the connection with STRATA_E_AUTH. */
    int32_t (*login)(void *context, char *username, size_t username_size, char *password, size_t password_size);
    void *login_context;
    const char *nat;            /* NULL or "": none; else "host:port=host:port,...": as servers tell, as we reach them */
    const char *client_name;
    sx_redis_tls *tls;          /* NULL: plain */
    int64_t connect_timeout_ns; /* for connect and handshake together */
    sx_resp_limits limits;
    size_t queue_bytes_max;     /* unsent and unanswered bytes of one connection */
    uint32_t queue_ops_max;     /* unanswered commands of one connection */
    sx_redis_script *const *scripts; /* NULL-terminated */
} sx_redis_settings;

typedef struct sx_redis_conn sx_redis_conn;

/* Exactly once per command sent. reply lives during the call and may be an ERROR; NULL where status is a failure:
   STRATA_E_UNAVAILABLE (never written to the socket) or STRATA_E_UNKNOWN_OUTCOME (written; closed before the reply). */
typedef void (*sx_redis_reply_fn)(void *context, int32_t status, const sx_resp *reply);

/* All on the loop; none may destroy the connection inside on_push or a reply (close is fine). */
typedef struct sx_redis_conn_events {
    void *context;
    void (*on_ready)(void *context, sx_redis_conn *conn); /* handshake done: identity and server are known */
    /* PUSH messages; and an ERROR, the refusal of the oldest command that was sent with fn == NULL. */
    void (*on_push)(void *context, sx_redis_conn *conn, const sx_resp *push);
    /* Exactly once, after all pending replies failed; the connection is freed when it returns. */
    void (*on_closed)(void *context, sx_redis_conn *conn, int32_t status, const char *reason);
} sx_redis_conn_events;

/* Starts connecting; returns STRATA_OK or STRATA_E_NOMEM / STRATA_E_SYSTEM at once (then no event follows). */
int32_t sx_redis_conn_open(sx_loop *loop, const sx_redis_settings *settings, const sx_redis_address *address,
                           const sx_redis_conn_events *events, sx_redis_conn **out);
/* Closes soon; on_closed follows, never inside this call. Idempotent. */
void sx_redis_conn_close(sx_redis_conn *conn, int32_t status, const char *reason);

bool sx_redis_conn_is_ready(const sx_redis_conn *conn);
const sx_redis_identity *sx_redis_conn_identity(const sx_redis_conn *conn);
const sx_redis_server *sx_redis_conn_server(const sx_redis_conn *conn);
const sx_redis_address *sx_redis_conn_address(const sx_redis_conn *conn);

/* Queues a command; written at the end of the turn together with everything else. With script: args are "numkeys, keys,
   args" and EVALSHA/EVAL (read_only: the _RO form where the server has it) is put before them. ASKING precedes it where
   asking. A command for which the server will send no reply in order but pushes (SUBSCRIBE ...) takes fn == NULL.
   *ticket (may be NULL) names it for sx_redis_conn_forget.
   Returns STRATA_OK; STRATA_E_OVERLOADED; STRATA_E_UNAVAILABLE where not ready; STRATA_E_NOMEM: then fn is not called. */
int32_t sx_redis_conn_send(sx_redis_conn *conn, const sx_command *command, const sx_redis_script *script,
                           bool read_only, bool asking, sx_redis_reply_fn fn, void *context, uint64_t *ticket);
/* Its reply, when it comes, goes nowhere. Answers whether any byte of it may have been written; if not, none ever is. */
bool sx_redis_conn_forget(sx_redis_conn *conn, uint64_t ticket);
/* Reads run id, replid and role again, in order with other commands; then(context) runs after the identity is updated,
   and not at all where the connection closes first. */
void sx_redis_conn_identify(sx_redis_conn *conn, void (*then)(void *context, sx_redis_conn *conn), void *context);
/* Server wall clock minus our clock, in ns, as of the handshake or the last note; INT64_MIN unknown. */
int64_t sx_redis_conn_offset_ns(const sx_redis_conn *conn);

#endif
