/* SPDX-License-Identifier: Apache-2.0 */
/* A connection's sending side: commands are queued into one buffer, written out once a turn, and remembered in a ring
   until their replies come.

   A command that is forgotten before the kernel had any of its bytes must never be executed. Its bytes are overwritten
   with a command of the same length that does nothing (nothing.c). */
#include "l2/redis/conn_private.h"

#include <assert.h>
#include <strings.h>

#include <strata/status.h>

#include "core/memory/atomic.h"

enum {
    RING_FIRST = 64,
    OUT_KEEP = 256 * 1024,
    TRY_WRITE_MAX = 1 << 30,
    PUSHES_MAX = (1 << 24) - 1
};

static const char ASKING[] = "*1\r\n$6\r\nASKING\r\n";

static sx_redis_entry *entry_at(sx_redis_conn *conn, uint64_t number) {
    return &conn->ring[number & (conn->ring_capacity - 1)];
}

static bool grow_ring(sx_redis_conn *conn) {
    uint32_t capacity = conn->ring_capacity == 0 ? RING_FIRST : conn->ring_capacity * 2;
    const sx_alloc *alloc = conn->settings->alloc;
    sx_redis_entry *grown = sx_allocate(alloc, capacity * sizeof *grown);
    if (grown == NULL) return false;
    for (uint64_t i = conn->head; i != conn->tail; i++) grown[i & (capacity - 1)] = *entry_at(conn, i);
    sx_release(alloc, conn->ring, conn->ring_capacity * sizeof *conn->ring);
    conn->ring = grown;
    conn->ring_capacity = capacity;
    return true;
}

/* ---- writing ---- */

uint64_t sx_redis_conn_handed(const sx_redis_conn *conn) {
    if (conn->state == SX_REDIS_CONN_CLOSING) return conn->handed_final;
    if (!conn->is_writing) return conn->out_begin;
    if (conn->secure != NULL) return conn->writing_begin + sx_redis_secure_encrypted(conn);
    const uv_stream_t *stream = (const uv_stream_t *)&conn->tcp;
    return conn->writing_begin + conn->writing.size - uv_stream_get_write_queue_size(stream);
}

void sx_redis_conn_flush_at_end(sx_turn_end *end) {
    sx_redis_conn_flush((sx_redis_conn *)(void *)((char *)end - offsetof(sx_redis_conn, flush)));
}

static inline void flush_soon(sx_redis_conn *conn) {
    if (conn->state != SX_REDIS_CONN_CLOSING && !conn->is_writing && conn->out.size > 0)
        sx_loop_turn_end(conn->loop, &conn->flush);
}

void sx_redis_conn_flush_soon(sx_redis_conn *conn) { flush_soon(conn); }

static void written(uv_write_t *request, int result) {
    sx_redis_conn *conn = request->data;
    if (conn->state == SX_REDIS_CONN_CLOSING) return;
    conn->is_writing = false; /* after a failure all of it counts as handed over */
    sx_buf_clear(&conn->writing, 0);
    if (result < 0) {
        sx_redis_conn_fail(conn, STRATA_E_UNAVAILABLE, "writing: %s", uv_strerror(result));
        return;
    }
    flush_soon(conn);
}

static void write_rest(sx_redis_conn *conn, size_t done) {
    sx_buf swap = conn->writing;
    conn->writing = conn->out;
    conn->out = swap;
    conn->writing_begin = conn->out_begin;
    conn->out_begin += conn->writing.size;
    conn->is_writing = true;
    conn->write.data = conn;
    uv_buf_t rest = {.base = (char *)conn->writing.data + done, .len = conn->writing.size - done};
    int result = uv_write(&conn->write, (uv_stream_t *)&conn->tcp, &rest, 1, written);
    if (result < 0) {
        conn->is_writing = false;
        sx_redis_conn_fail(conn, STRATA_E_UNAVAILABLE, "writing: %s", uv_strerror(result));
    }
}

void sx_redis_conn_flush(sx_redis_conn *conn) {
    if (conn->state == SX_REDIS_CONN_CLOSING || conn->is_writing || conn->out.size == 0) return;
    if (SX_UNLIKELY(conn->secure != NULL)) {
        sx_redis_secure_flush(conn);
        return;
    }
    size_t size = conn->out.size;
    if (conn->bytes_out != NULL) sx_counter_add(conn->bytes_out, (int64_t)size);
    uv_buf_t all = {.base = (char *)conn->out.data, .len = size < TRY_WRITE_MAX ? size : TRY_WRITE_MAX};
    int result = uv_try_write((uv_stream_t *)&conn->tcp, &all, 1);
    if (result < 0 && result != UV_EAGAIN) {
        sx_redis_conn_fail(conn, STRATA_E_UNAVAILABLE, "writing: %s", uv_strerror(result));
        return;
    }
    size_t done = result > 0 ? (size_t)result : 0;
    if (SX_UNLIKELY(done < size)) {
        write_rest(conn, done);
        return;
    }
    conn->out_begin += size;
    sx_buf_clear(&conn->out, OUT_KEEP);
}

/* ---- queueing ---- */

static size_t put_number(uint8_t *out, char mark, size_t number) {
    uint8_t digits[20];
    size_t count = 0, at = 0;
    do {
        digits[count++] = (uint8_t)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    out[at++] = (uint8_t)mark;
    while (count > 0) out[at++] = digits[--count];
    out[at++] = '\r';
    out[at++] = '\n';
    return at;
}

static void put_bulk(sx_buf *out, const char *text, size_t size) {
    uint8_t head[24];
    sx_buf_append(out, head, put_number(head, '$', size));
    sx_buf_append(out, text, size);
    sx_buf_append(out, "\r\n", 2);
}

static void put_script(const sx_redis_conn *conn, sx_buf *out, const sx_redis_script *script, sx_redis_how how) {
    bool by_sha = script->sha[0] != '\0' && !how.eval;
    bool ro = how.read_only && conn->server.eval_ro;
    static const char *const names[] = {"EVAL", "EVAL_RO", "EVALSHA", "EVALSHA_RO"};
    const char *name = names[(by_sha ? 2 : 0) + (ro ? 1 : 0)];
    const char *body = by_sha ? script->sha : script->text;
    put_bulk(out, name, strlen(name));
    put_bulk(out, body, strlen(body));
}

/* How many pushes confirm a subscription command: one for each name. */
static void expect_pushes(sx_redis_entry *entry, const sx_command *command) {
    entry->flags |= SX_REDIS_ENTRY_PUSHES;
    uint32_t names = command->argc > 1 ? command->argc - 1 : 1;
    entry->expected = (names < PUSHES_MAX ? names : PUSHES_MAX) & PUSHES_MAX;
    const char *bytes = (const char *)command->args.data; /* "$12\r\nUNSUBSCRIBE\r\n" */
    const char *name = memchr(bytes, '\n', command->args.size);
    size_t left = name == NULL ? 0 : command->args.size - (size_t)(++name - bytes);
    for (size_t i = 0; i + 5 <= left && i < 2; i++) {
        if (strncasecmp(name + i, "unsub", 5) == 0) entry->flags |= SX_REDIS_ENTRY_UNSUB;
    }
}

int32_t sx_redis_conn_queue(sx_redis_conn *conn, const sx_command *command, const sx_redis_script *script,
                            sx_redis_how how, sx_redis_reply_fn fn, void *context, uint64_t *ticket) {
    if (command->args.failed) return STRATA_E_NOMEM;
    if (conn->tail - conn->head == conn->ring_capacity && !grow_ring(conn)) return STRATA_E_NOMEM;
    sx_buf *out = &conn->out;
    const size_t before = out->size;
    uint8_t head[24];
    if (how.asking) sx_buf_append(out, ASKING, sizeof ASKING - 1);
    sx_buf_append(out, head, put_number(head, '*', (size_t)command->argc + (script != NULL ? 2 : 0)));
    if (script != NULL) put_script(conn, out, script, how);
    sx_buf_append(out, command->args.data, command->args.size);
    if (SX_UNLIKELY(out->failed || out->size - before > UINT32_MAX)) {
        out->size = before; /* the bytes before are whole, and stay */
        out->failed = false;
        return STRATA_E_NOMEM;
    }
    sx_redis_entry *entry = entry_at(conn, conn->tail);
    entry->fn = fn;
    entry->context = context;
    entry->begin = conn->out_begin + before;
    entry->size = (uint32_t)(out->size - before);
    entry->flags = how.asking ? SX_REDIS_ENTRY_ASKING : 0;
    entry->expected = how.parts & PUSHES_MAX;
    if (SX_UNLIKELY(fn == NULL)) expect_pushes(entry, command);
    conn->queued_bytes += entry->size;
    if (ticket != NULL) *ticket = conn->tail;
    conn->tail++;
    flush_soon(conn);
    return STRATA_OK;
}

int32_t sx_redis_conn_send_how(sx_redis_conn *conn, const sx_command *command, const sx_redis_script *script,
                               sx_redis_how how, sx_redis_reply_fn fn, void *context, uint64_t *ticket) {
    if (conn->state != SX_REDIS_CONN_READY) return STRATA_E_UNAVAILABLE;
    const sx_redis_settings *settings = conn->settings;
    size_t size = command->args.size + (script != NULL && (how.eval || script->sha[0] == '\0') ? strlen(script->text) : 0);
    if (conn->tail - conn->head >= settings->queue_ops_max) return STRATA_E_OVERLOADED;
    /* One that is too big by itself may go when nothing else waits. */
    if (conn->queued_bytes > 0 && (size > settings->queue_bytes_max ||
                                   conn->queued_bytes > settings->queue_bytes_max - size)) {
        return STRATA_E_OVERLOADED;
    }
    return sx_redis_conn_queue(conn, command, script, how, fn, context, ticket);
}

int32_t sx_redis_conn_send(sx_redis_conn *conn, const sx_command *command, const sx_redis_script *script,
                           bool read_only, bool asking, sx_redis_reply_fn fn, void *context, uint64_t *ticket) {
    sx_redis_how how = {.read_only = read_only, .asking = asking};
    return sx_redis_conn_send_how(conn, command, script, how, fn, context, ticket);
}

/* ---- forgetting ---- */

static void reply_to_nobody(void *context, int32_t status, const sx_resp *reply) {
    (void)context;
    (void)status;
    (void)reply;
}

bool sx_redis_conn_forget(sx_redis_conn *conn, uint64_t ticket) {
    if (ticket < conn->head || ticket >= conn->tail) return true;
    sx_redis_entry *entry = entry_at(conn, ticket);
    uint64_t handed = sx_redis_conn_handed(conn);
    if ((entry->flags & SX_REDIS_ENTRY_GONE) != 0) return false;
    entry->fn = reply_to_nobody;
    entry->context = NULL;
    if (entry->begin < handed) return true;
    if (conn->state == SX_REDIS_CONN_CLOSING) return false;
    uint8_t *bytes = entry->begin >= conn->out_begin ? conn->out.data + (entry->begin - conn->out_begin)
                                                     : conn->writing.data + (entry->begin - conn->writing_begin);
    sx_redis_nothing_put(bytes, entry->size);
    entry->flags = SX_REDIS_ENTRY_GONE; /* one answer comes, whatever would have */
    entry->expected = 0;
    return false;
}

void sx_redis_conn_fail_all(sx_redis_conn *conn) {
    while (conn->head != conn->tail) {
        sx_redis_entry entry = *entry_at(conn, conn->head++);
        conn->queued_bytes -= entry.size;
        if (entry.fn == NULL) continue;
        bool sent = entry.begin < conn->handed_final;
        entry.fn(entry.context, sent ? STRATA_E_UNKNOWN_OUTCOME : STRATA_E_UNAVAILABLE, NULL);
    }
}
