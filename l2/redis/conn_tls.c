/* SPDX-License-Identifier: Apache-2.0 */
/* A connection under TLS: the same buffers and rules as conn_send.c and conn_read.c have, with a stream between them and
   the socket.

   What is encrypted counts as handed to the kernel: it can't be taken back. So no more is encrypted than goes out at
   once, and while the socket takes nothing, commands wait as plain bytes, where they can still be forgotten. */
#include "l2/redis/conn_private.h"

#include <assert.h>

#include <strata/status.h>

#include "l2/redis/tls.h"

enum { CHUNK = 64 * 1024, SENDING_KEEP = 128 * 1024, IN_SIZE = 64 * 1024 };

/* owner: loop. */
struct sx_redis_secure {
    sx_redis_tls_stream *stream;
    bool handshaken;
    bool busy;        /* sending is in libuv's hands */
    bool deaf;        /* the server takes nothing any more; what it has said tells why */
    size_t encrypted; /* of conn->writing */
    sx_buf sending;
    uint8_t in[IN_SIZE];
};

int32_t sx_redis_secure_open(sx_redis_conn *conn) {
    const sx_alloc *alloc = conn->settings->alloc;
    sx_redis_secure *secure = sx_allocate_zero(alloc, sizeof *secure);
    if (secure == NULL) return STRATA_E_NOMEM;
    int32_t status = sx_redis_tls_stream_open(conn->settings->tls, &conn->address, &secure->stream);
    if (status != STRATA_OK) {
        sx_release(alloc, secure, sizeof *secure);
        return status;
    }
    sx_buf_init(&secure->sending, alloc);
    conn->secure = secure;
    return STRATA_OK;
}

void sx_redis_secure_free(sx_redis_conn *conn) {
    sx_redis_secure *secure = conn->secure;
    if (secure == NULL) return;
    sx_redis_tls_stream_close(secure->stream);
    sx_buf_deinit(&secure->sending);
    sx_release(conn->settings->alloc, secure, sizeof *secure);
    conn->secure = NULL;
}

static void fail_stream(sx_redis_conn *conn, int32_t status) {
    sx_redis_conn_fail(conn, status, "%s", sx_redis_tls_stream_error(conn->secure->stream));
}

/* ---- sending ---- */

size_t sx_redis_secure_encrypted(const sx_redis_conn *conn) { return conn->secure->encrypted; }

static void pump(sx_redis_conn *conn);

/* A server that refuses us says so and hangs up. Where we learn of the latter first, by writing, the former is still to
   be read, or the end of it all; the connect timeout bounds that. */
static void fail_write(sx_redis_conn *conn, int result) {
    if (conn->state == SX_REDIS_CONN_READY) sx_redis_conn_fail(conn, STRATA_E_UNAVAILABLE, "writing: %s", uv_strerror(result));
    else conn->secure->deaf = true;
}

static void sent(uv_write_t *request, int result) {
    sx_redis_conn *conn = request->data;
    if (conn->state == SX_REDIS_CONN_CLOSING) return;
    conn->secure->busy = false;
    sx_buf_clear(&conn->secure->sending, SENDING_KEEP);
    if (result < 0) {
        fail_write(conn, result);
        return;
    }
    pump(conn);
}

/* What the stream wants sent is handed to the socket, the rest of it to libuv. False: busy, or of no use. */
static bool push(sx_redis_conn *conn) {
    sx_redis_secure *secure = conn->secure;
    sx_buf *out = sx_redis_tls_stream_out(secure->stream);
    if (out->size == 0) return true;
    if (secure->deaf) return false;
    if (conn->bytes_out != NULL) sx_counter_add(conn->bytes_out, (int64_t)out->size);
    uv_buf_t all = {.base = (char *)out->data, .len = out->size};
    int result = uv_try_write((uv_stream_t *)&conn->tcp, &all, 1);
    size_t done = result > 0 ? (size_t)result : 0;
    if (result == UV_EAGAIN || (result >= 0 && done < out->size)) {
        sx_buf swap = secure->sending;
        secure->sending = *out;
        *out = swap;
        secure->busy = true;
        conn->write.data = conn;
        uv_buf_t rest = {.base = (char *)secure->sending.data + done, .len = secure->sending.size - done};
        result = uv_write(&conn->write, (uv_stream_t *)&conn->tcp, &rest, 1, sent);
        if (result >= 0) return false;
    }
    if (result < 0) {
        fail_write(conn, result);
        return false;
    }
    sx_buf_clear(out, SENDING_KEEP);
    return true;
}

static void pump(sx_redis_conn *conn) {
    sx_redis_secure *secure = conn->secure;
    while (!secure->busy && conn->state != SX_REDIS_CONN_CLOSING && push(conn) && conn->is_writing) {
        size_t left = conn->writing.size - secure->encrypted;
        size_t size = left < CHUNK ? left : CHUNK;
        if (left == 0) {
            conn->is_writing = false;
            sx_buf_clear(&conn->writing, SENDING_KEEP);
            sx_redis_conn_flush_soon(conn);
            continue;
        }
        int32_t status = sx_redis_tls_stream_write(secure->stream, conn->writing.data + secure->encrypted, size);
        if (status != STRATA_OK) {
            fail_stream(conn, status == STRATA_PENDING ? STRATA_E_PROTOCOL : status);
            return;
        }
        secure->encrypted += size;
    }
}

void sx_redis_secure_flush(sx_redis_conn *conn) {
    assert(conn->secure->handshaken && !conn->is_writing);
    sx_buf swap = conn->writing;
    conn->writing = conn->out;
    conn->out = swap;
    conn->writing_begin = conn->out_begin;
    conn->out_begin += conn->writing.size;
    conn->is_writing = true;
    conn->secure->encrypted = 0;
    pump(conn);
}

/* ---- receiving ---- */

static void shake_hands(sx_redis_conn *conn) {
    int32_t status = sx_redis_tls_stream_handshake(conn->secure->stream);
    pump(conn); /* the server may be owed an explanation */
    if (conn->state == SX_REDIS_CONN_CLOSING || status == STRATA_PENDING) return;
    if (status != STRATA_OK) {
        fail_stream(conn, status);
        return;
    }
    conn->secure->handshaken = true;
    conn->state = SX_REDIS_CONN_HANDSHAKE;
    sx_redis_conn_handshake(conn);
}

static void decrypt(sx_redis_conn *conn) {
    while (conn->state != SX_REDIS_CONN_CLOSING) {
        size_t room, size = 0;
        uint8_t *to = sx_redis_conn_room(conn, &room);
        if (room == 0) {
            sx_redis_conn_fail(conn, STRATA_E_NOMEM, "out of memory for a reply");
            return;
        }
        int32_t status = sx_redis_tls_stream_read(conn->secure->stream, to, room, &size);
        if (status == STRATA_PENDING) break;
        if (status != STRATA_OK) {
            fail_stream(conn, status);
            return;
        }
        sx_redis_conn_take(conn, size);
    }
    pump(conn); /* an answer to a change of keys */
}

static void give_room(uv_handle_t *handle, size_t suggested, uv_buf_t *out) {
    (void)suggested;
    sx_redis_conn *conn = handle->data;
    *out = sx_redis_conn_leaves(conn) ? uv_buf_init(NULL, 0) : uv_buf_init((char *)conn->secure->in, IN_SIZE);
}

static void received(uv_stream_t *stream, ssize_t size, const uv_buf_t *buf) {
    sx_redis_conn *conn = stream->data;
    if (!sx_redis_conn_received(conn, size, buf->len)) return;
    sx_redis_tls_stream_give(conn->secure->stream, conn->secure->in, (size_t)size);
    if (!conn->secure->handshaken) shake_hands(conn);
    if (conn->secure->handshaken) decrypt(conn);
}

void sx_redis_secure_start(sx_redis_conn *conn) {
    conn->last_read_ns = sx_loop_now_ns(conn->loop);
    int result = uv_read_start((uv_stream_t *)&conn->tcp, give_room, received);
    if (result < 0) sx_redis_conn_fail(conn, STRATA_E_SYSTEM, "reading: %s", uv_strerror(result));
    else shake_hands(conn);
}
