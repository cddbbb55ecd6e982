/* SPDX-License-Identifier: Apache-2.0 */
/* The connection's inside, shared by the files that make it up, and what the cluster asks of it beyond conn.h. */
#ifndef SX_L2_REDIS_CONN_PRIVATE_H
#define SX_L2_REDIS_CONN_PRIVATE_H

#include <netinet/in.h>

#include "core/observe/metric.h"
#include "l2/redis/conn.h"

#define SX_REDIS_ADDRESSES_MAX 8
#define SX_REDIS_REASON_MAX 512

typedef enum sx_redis_conn_state {
    SX_REDIS_CONN_RESOLVING,
    SX_REDIS_CONN_CONNECTING,
    SX_REDIS_CONN_SECURING, /* TLS's own handshake */
    SX_REDIS_CONN_HANDSHAKE,
    SX_REDIS_CONN_READY,
    SX_REDIS_CONN_CLOSING
} sx_redis_conn_state;

enum {
    SX_REDIS_ENTRY_ASKING = 1, /* the reply to ASKING comes before its own */
    SX_REDIS_ENTRY_PUSHES = 2, /* answered by pushes, or refused by one error reply */
    SX_REDIS_ENTRY_UNSUB = 4,  /* with PUSHES: those that confirm are unsubscriptions */
    SX_REDIS_ENTRY_GONE = 8    /* overwritten before it was sent, by what is refused */
};

/* A command whose reply is awaited, in a ring in the order of sending. */
typedef struct sx_redis_entry {
    sx_redis_reply_fn fn; /* NULL: the reply goes nowhere */
    void *context;
    uint64_t begin; /* of its bytes, counted since the connection began */
    uint32_t size;
    uint32_t expected : 24; /* with PUSHES: pushes to come; else strings that the reply may have, 0 few */
    uint32_t flags : 8;
} sx_redis_entry;

typedef struct sx_redis_identify sx_redis_identify; /* one reading of the identity under way */
typedef struct sx_redis_secure sx_redis_secure;     /* conn_tls.c */
typedef struct sx_redis_resolve sx_redis_resolve;   /* a name lookup, which may outlive its connection */

/* owner: loop, all of it. */
struct sx_redis_conn {
    sx_loop *loop;
    const sx_redis_settings *settings;
    sx_redis_address address;
    sx_redis_conn_events events;
    sx_redis_conn_state state;

    /* connecting */
    union {
        uv_tcp_t tcp;
        uv_pipe_t pipe; /* where the address is a Unix socket's */
    };
    bool tcp_open; /* initialised and its close callback not yet run */
    uv_connect_t connect;
    sx_timer connect_timer;
    sx_redis_resolve *resolve;
    struct sockaddr_storage addresses[SX_REDIS_ADDRESSES_MAX];
    uint32_t address_count, address_next;

    /* sending: bytes wait in out until the turn ends; what the kernel didn't take then is in writing */
    sx_turn_end flush; /* set while out holds something and nothing is being written */
    uv_idle_t closer;  /* never started: its close callback comes where there is no socket to close */
    bool closer_open;
    bool is_writing;
    uv_write_t write;
    sx_buf out, writing;
    uint64_t out_begin, writing_begin; /* place of their first byte in all bytes ever sent */
    uint64_t handed_final;             /* bytes the kernel had when closing began */
    sx_redis_secure *secure;           /* NULL without TLS */

    /* replies awaited: numbers head .. tail - 1, at number & (capacity - 1) */
    sx_redis_entry *ring;
    uint32_t ring_capacity;
    uint64_t head, tail;
    size_t queued_bytes;

    /* receiving */
    sx_resp_parser *parser;
    uint8_t *in;
    size_t in_begin, in_end, in_capacity, in_wanted;
    int64_t last_read_ns;
    bool leaves; /* libuv was given no room to read more in this turn */
    sx_counter *bytes_in, *bytes_out; /* the cluster's, or NULL */

    /* handshake */
    uint32_t handshake_left;
    uint32_t script_next; /* whose SCRIPT LOAD is answered next */
    int64_t time_sent_ns;
    int64_t offset_ns;
    sx_redis_identity identity;
    sx_redis_server server;
    sx_redis_identify *identifying; /* to be freed with the connection */

    int32_t close_status;
    char reason[SX_REDIS_REASON_MAX];
};

/* ---- for the cluster ---- */

typedef struct sx_redis_how {
    bool read_only;
    bool asking;
    bool eval; /* EVAL although a sha is known: the node doesn't have the script */
    uint32_t parts; /* strings that the reply may have, where there are many; < 2^24 */
} sx_redis_how;
/* As sx_redis_conn_send. */
int32_t sx_redis_conn_send_how(sx_redis_conn *conn, const sx_command *command, const sx_redis_script *script,
                               sx_redis_how how, sx_redis_reply_fn fn, void *context, uint64_t *ticket);
void sx_redis_conn_count(sx_redis_conn *conn, sx_counter *bytes_in, sx_counter *bytes_out);
/* When bytes last arrived, by the loop's clock. */
int64_t sx_redis_conn_last_read_ns(const sx_redis_conn *conn);

/* ---- between the connection's files ---- */

/* conn_send.c: as send_how, without the check for readiness and limits. */
int32_t sx_redis_conn_queue(sx_redis_conn *conn, const sx_command *command, const sx_redis_script *script,
                            sx_redis_how how, sx_redis_reply_fn fn, void *context, uint64_t *ticket);
/* Bytes that the kernel may have taken. */
uint64_t sx_redis_conn_handed(const sx_redis_conn *conn);
void sx_redis_conn_flush(sx_redis_conn *conn);
/* At the turn's end, which comes before the loop sleeps, wherever in the turn this is said. */
void sx_redis_conn_flush_soon(sx_redis_conn *conn);
void sx_redis_conn_flush_at_end(sx_turn_end *end);
/* Ends every awaited reply. */
void sx_redis_conn_fail_all(sx_redis_conn *conn);

/* nothing.c: fills the bytes of a command with one that does nothing, answered by one error. */
void sx_redis_nothing_put(uint8_t *bytes, size_t size);

/* conn_read.c */
void sx_redis_conn_read_start(sx_redis_conn *conn);
/* Before each read. True: it waits for the next turn; libuv gets no room, and comes again. */
bool sx_redis_conn_leaves(sx_redis_conn *conn);
/* What came of reading: false where there is nothing to take, or the connection is closed for it. */
bool sx_redis_conn_received(sx_redis_conn *conn, ssize_t size, size_t room);
/* Where plain bytes go next; *room is 0 when out of memory. Then so many of them are taken. */
uint8_t *sx_redis_conn_room(sx_redis_conn *conn, size_t *room);
void sx_redis_conn_take(sx_redis_conn *conn, size_t size);

/* conn_tls.c */
int32_t sx_redis_secure_open(sx_redis_conn *conn);
void sx_redis_secure_free(sx_redis_conn *conn);
/* Connected: reads, and begins TLS's handshake; sx_redis_conn_handshake follows. */
void sx_redis_secure_start(sx_redis_conn *conn);
void sx_redis_secure_flush(sx_redis_conn *conn);
/* How many bytes of conn->writing can't be taken back. */
size_t sx_redis_secure_encrypted(const sx_redis_conn *conn);

/* server.c: a field of INFO's text. */
bool sx_redis_info_field(const sx_resp *info, const char *name, const char **text, size_t *text_size);
/* From INFO server: product, version, and what follows from these. False where no version is told. */
bool sx_redis_server_read(const sx_resp *info, sx_redis_server *out);

/* handshake.c: sends all that must be known before use; ready, or closed with the reason, follows. */
void sx_redis_conn_handshake(sx_redis_conn *conn);
void sx_redis_conn_identify_free(sx_redis_conn *conn);

/* Closes with "host:port: " before the formatted reason. */
void sx_redis_conn_fail(sx_redis_conn *conn, int32_t status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
