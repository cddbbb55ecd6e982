/* SPDX-License-Identifier: Apache-2.0 */
/* A connection's receiving side: one growing buffer, parsed in place; each reply goes to the oldest command. */
#include "l2/redis/conn_private.h"

#include <assert.h>
#include <limits.h>

#include <strata/status.h>

#include "core/memory/atomic.h"

/* IN_KEEP: values of 1 MiB, in their envelopes, are read into a buffer that is there already, and moved no more. */
enum { IN_FIRST = 64 * 1024, IN_KEEP = (1024 + 64) * 1024, READ_MIN = 16 * 1024, READ_MAX = 64 * 1024, MESSAGE_SPARE = 64 * 1024 * 1024,
       TLS_ALERT = 0x15 };

static sx_redis_entry *oldest(sx_redis_conn *conn) {
    return &conn->ring[conn->head & (conn->ring_capacity - 1)];
}

static void drop_oldest(sx_redis_conn *conn) {
    conn->queued_bytes -= oldest(conn)->size;
    conn->head++;
}

static bool is_awaiting(const sx_redis_conn *conn) { return conn->head != conn->tail; }

static bool contains(const sx_resp *value, const char *word) {
    return value->type == SX_RESP_STRING && memmem(value->text, value->size, word, strlen(word)) != NULL;
}

static void take_push(sx_redis_conn *conn, const sx_resp *push) {
    if (push->count > 0 && contains(&push->items[0], "subscribe") && is_awaiting(conn)) {
        sx_redis_entry *entry = oldest(conn);
        bool unsub = contains(&push->items[0], "unsub");
        bool wants_unsub = (entry->flags & SX_REDIS_ENTRY_UNSUB) != 0;
        if ((entry->flags & SX_REDIS_ENTRY_PUSHES) != 0 && unsub == wants_unsub && --entry->expected == 0) {
            drop_oldest(conn);
        }
    }
    if (conn->state == SX_REDIS_CONN_READY && conn->events.on_push != NULL) {
        conn->events.on_push(conn->events.context, conn, push);
    }
}

static void take_unasked(sx_redis_conn *conn, const sx_resp *reply) {
    if (reply->type == SX_RESP_ERROR) { /* "-ERR max number of clients reached", "-DENIED ..." */
        sx_redis_conn_fail(conn, STRATA_E_UNAVAILABLE, "%.*s", (int)(reply->size < 200 ? reply->size : 200), reply->text);
    } else {
        sx_redis_conn_fail(conn, STRATA_E_PROTOCOL, "a reply that nobody asked for");
    }
}

static void take_reply(sx_redis_conn *conn, const sx_resp *reply) {
    while (is_awaiting(conn) && (oldest(conn)->flags & SX_REDIS_ENTRY_PUSHES) != 0) {
        drop_oldest(conn);
        if (reply->type != SX_RESP_ERROR) continue; /* its pushes were counted wrong: the reply is for the next */
        if (conn->events.on_push != NULL) conn->events.on_push(conn->events.context, conn, reply);
        return;
    }
    if (SX_UNLIKELY(!is_awaiting(conn))) {
        take_unasked(conn, reply);
        return;
    }
    sx_redis_entry *entry = oldest(conn);
    if (SX_UNLIKELY((entry->flags & SX_REDIS_ENTRY_ASKING) != 0)) {
        entry->flags &= (uint8_t)~SX_REDIS_ENTRY_ASKING;
        return;
    }
    sx_redis_reply_fn fn = entry->fn;
    void *context = entry->context;
    drop_oldest(conn);
    fn(context, STRATA_OK, reply);
}

static void resize_input(sx_redis_conn *conn, size_t capacity) {
    const sx_alloc *alloc = conn->settings->alloc;
    uint8_t *moved = sx_allocate(alloc, capacity);
    if (moved == NULL) return;
    size_t kept = conn->in_end - conn->in_begin;
    if (kept > 0) memcpy(moved, conn->in + conn->in_begin, kept);
    sx_release(alloc, conn->in, conn->in_capacity);
    conn->in = moved;
    conn->in_capacity = capacity;
    conn->in_begin = 0;
    conn->in_end = kept;
}

/* A message of many strings, each within its limit, is bounded as a whole too. */
static void check_size(sx_redis_conn *conn) {
    const size_t one = conn->settings->limits.bulk_bytes_max;
    const sx_redis_entry *entry = is_awaiting(conn) ? oldest(conn) : NULL;
    size_t parts = entry != NULL && (entry->flags & SX_REDIS_ENTRY_PUSHES) == 0 && entry->expected > 2 ? entry->expected : 2;
    const size_t most = one > SIZE_MAX / (2 * parts) ? SIZE_MAX : parts * one + MESSAGE_SPARE;
    if (conn->in_end - conn->in_begin > most) {
        sx_redis_conn_fail(conn, STRATA_E_PROTOCOL, "reading: one reply of more than %zu bytes", most);
    }
}

static void take_input(sx_redis_conn *conn) {
    while (conn->in_begin < conn->in_end && conn->state != SX_REDIS_CONN_CLOSING) {
        size_t consumed = 0;
        const sx_resp *value = NULL;
        int32_t status = sx_resp_parse(conn->parser, conn->in + conn->in_begin, conn->in_end - conn->in_begin, &consumed,
                                       &conn->in_wanted, &value);
        if (status == STRATA_PENDING) {
            check_size(conn);
            break;
        }
        if (SX_UNLIKELY(status != STRATA_OK)) {
            bool alert = conn->state == SX_REDIS_CONN_HANDSHAKE && conn->in[conn->in_begin] == TLS_ALERT;
            sx_redis_conn_fail(conn, status, "reading: %s%s", sx_resp_parser_error(conn->parser),
                               alert && conn->secure == NULL ? ": the server speaks TLS here, and l2.tls is off" : "");
            return;
        }
        conn->in_begin += consumed;
        conn->in_wanted = 0;
        if (value->type == SX_RESP_PUSH) {
            take_push(conn, value);
        } else {
            take_reply(conn, value);
        }
    }
    if (conn->in_begin == conn->in_end) {
        conn->in_begin = conn->in_end = 0;
        if (SX_UNLIKELY(conn->in_capacity > IN_KEEP)) resize_input(conn, IN_FIRST);
    }
}

/* ---- libuv's side ---- */

/* Room behind what is there: by moving it to the front, else by growing. A length in a header alone does not make us
   allocate much of it: the buffer at most doubles, when it is nearly full. */
static void make_room(sx_redis_conn *conn) {
    const size_t have = conn->in_end - conn->in_begin;
    const size_t want = conn->in_wanted > have + READ_MIN ? conn->in_wanted : have + READ_MIN;
    if (conn->in_capacity - conn->in_end >= READ_MIN && conn->in_capacity - conn->in_begin >= conn->in_wanted) return;
    const bool nearly_full = conn->in_capacity - have < READ_MIN;
    if (want <= conn->in_capacity || (want > IN_KEEP && !nearly_full)) {
        if (conn->in_begin > 0) memmove(conn->in, conn->in + conn->in_begin, have);
        conn->in_begin = 0;
        conn->in_end = have;
        return;
    }
    size_t capacity = want;
    if (want <= IN_FIRST) capacity = IN_FIRST;
    if (want > IN_KEEP && conn->in_capacity * 2 < want) capacity = conn->in_capacity * 2;
    if (capacity < have + READ_MIN) capacity = have + READ_MIN;
    resize_input(conn, capacity);
}

uint8_t *sx_redis_conn_room(sx_redis_conn *conn, size_t *room) {
    make_room(conn);
    const size_t have = conn->in_end - conn->in_begin, left = conn->in_wanted > have ? conn->in_wanted - have : 0;
    const size_t most = left > READ_MAX ? left : READ_MAX; /* many small replies at once would hold up everything else */
    *room = conn->in_capacity - conn->in_end;
    if (*room > most) *room = most;
    return *room > 0 ? conn->in + conn->in_end : NULL;
}

bool sx_redis_conn_leaves(sx_redis_conn *conn) {
    return conn->leaves = sx_loop_leaves(conn->loop, conn->last_read_ns);
}

static void give_room(uv_handle_t *handle, size_t suggested, uv_buf_t *out) {
    (void)suggested;
    sx_redis_conn *conn = handle->data;
    size_t room = 0;
    char *at = sx_redis_conn_leaves(conn) ? NULL : (char *)sx_redis_conn_room(conn, &room);
    *out = uv_buf_init(at, room > INT_MAX ? INT_MAX : (unsigned)room); /* none: libuv reports ENOBUFS */
}

bool sx_redis_conn_received(sx_redis_conn *conn, ssize_t size, size_t room) {
    sx_loop_awake(conn->loop);
    sx_loop_note_read(conn->loop, conn, size > 0 && (size_t)size == room);
    if (conn->state == SX_REDIS_CONN_CLOSING || size == 0) return false;
    if (size == UV_ENOBUFS && conn->leaves) return false; /* the next poll tells of what is left */
    if (size == UV_ENOBUFS) {
        sx_redis_conn_fail(conn, STRATA_E_NOMEM, "out of memory for a reply");
        return false;
    }
    if (size < 0) {
        const char *why = size == UV_EOF ? "closed by the server" : uv_strerror((int)size);
        const char *when = "";
        if (conn->state == SX_REDIS_CONN_SECURING) when = " during TLS's handshake";
        else if (conn->secure == NULL && conn->state == SX_REDIS_CONN_HANDSHAKE && conn->head == 0)
            when = " before it said anything: does it expect TLS? l2.tls is off";
        sx_redis_conn_fail(conn, STRATA_E_UNAVAILABLE, "%s%s", why, when);
        return false;
    }
    conn->last_read_ns = sx_loop_recent_ns(conn->loop);
    if (conn->bytes_in != NULL) sx_counter_add(conn->bytes_in, (int64_t)size);
    return true;
}

void sx_redis_conn_take(sx_redis_conn *conn, size_t size) {
    conn->in_end += size;
    take_input(conn);
}

static void received(uv_stream_t *stream, ssize_t size, const uv_buf_t *buf) {
    sx_redis_conn *conn = stream->data;
    if (sx_redis_conn_received(conn, size, buf->len)) sx_redis_conn_take(conn, (size_t)size);
}

void sx_redis_conn_read_start(sx_redis_conn *conn) {
    conn->last_read_ns = sx_loop_now_ns(conn->loop);
    int result = uv_read_start((uv_stream_t *)&conn->tcp, give_room, received);
    if (result < 0) sx_redis_conn_fail(conn, STRATA_E_SYSTEM, "reading: %s", uv_strerror(result));
}
