/* SPDX-License-Identifier: Apache-2.0 */
/* A connection's life: finding addresses, connecting to the first that answers, and closing in order. */
#include "l2/redis/conn_private.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

#include <strata/status.h>

enum { KEEPALIVE_S = 15, DEPTH_MIN = 8, BULK_MIN = 1024 * 1024 };

struct sx_redis_resolve {
    uv_getaddrinfo_t request;
    sx_redis_conn *conn; /* NULL once it has gone */
    const sx_alloc *alloc;
};

static void connect_next(sx_redis_conn *conn);

void sx_redis_conn_fail(sx_redis_conn *conn, int32_t status, const char *format, ...) {
    char text[SX_REDIS_REASON_MAX], reason[SX_REDIS_REASON_MAX];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    bool bare_v6 = strchr(conn->address.host, ':') != NULL;
    if (sx_redis_address_is_unix(&conn->address)) {
        snprintf(reason, sizeof reason, "%s: %.200s", conn->address.host, text);
    } else {
        snprintf(reason, sizeof reason, bare_v6 ? "[%s]:%u: %.200s" : "%s:%u: %.200s", conn->address.host,
                 conn->address.port, text);
    }
    sx_redis_conn_close(conn, status, reason);
}

/* ---- closing ---- */

static void finish_close(sx_redis_conn *conn) {
    if (conn->state != SX_REDIS_CONN_CLOSING || conn->tcp_open || conn->closer_open) return;
    sx_redis_conn_fail_all(conn);
    if (conn->events.on_closed != NULL) {
        conn->events.on_closed(conn->events.context, conn, conn->close_status, conn->reason);
    }
    const sx_alloc *alloc = conn->settings->alloc;
    sx_redis_conn_identify_free(conn);
    sx_redis_secure_free(conn);
    sx_resp_parser_destroy(conn->parser);
    sx_release(alloc, conn->in, conn->in_capacity);
    sx_release(alloc, conn->ring, conn->ring_capacity * sizeof *conn->ring);
    sx_buf_deinit(&conn->out);
    sx_buf_deinit(&conn->writing);
    sx_release(alloc, conn, sizeof *conn);
}

static void tcp_closed(uv_handle_t *handle) {
    sx_redis_conn *conn = handle->data;
    conn->tcp_open = false;
    if (conn->state == SX_REDIS_CONN_CLOSING) {
        finish_close(conn);
    } else {
        connect_next(conn);
    }
}

static void closer_closed(uv_handle_t *handle) {
    sx_redis_conn *conn = handle->data;
    conn->closer_open = false;
    finish_close(conn);
}

void sx_redis_conn_close(sx_redis_conn *conn, int32_t status, const char *reason) {
    if (conn->state == SX_REDIS_CONN_CLOSING) return;
    conn->handed_final = sx_redis_conn_handed(conn);
    conn->state = SX_REDIS_CONN_CLOSING;
    conn->close_status = status;
    snprintf(conn->reason, sizeof conn->reason, "%s", reason);
    sx_loop_timer_cancel(conn->loop, &conn->connect_timer);
    if (conn->resolve != NULL) {
        conn->resolve->conn = NULL;
        (void)uv_cancel((uv_req_t *)&conn->resolve->request); /* refused where a thread is at it: it ends by itself */
        conn->resolve = NULL;
    }
    sx_loop_turn_end_cancel(conn->loop, &conn->flush);
    uv_close((uv_handle_t *)&conn->closer, closer_closed);
    if (conn->tcp_open && !uv_is_closing((uv_handle_t *)&conn->tcp)) {
        uv_close((uv_handle_t *)&conn->tcp, tcp_closed);
    }
}

/* ---- connecting ---- */

static void connected(uv_connect_t *request, int result) {
    sx_redis_conn *conn = request->data;
    if (conn->state == SX_REDIS_CONN_CLOSING) return;
    if (result < 0) {
        if (conn->address_next < conn->address_count) {
            uv_close((uv_handle_t *)&conn->tcp, tcp_closed);
        } else {
            sx_redis_conn_fail(conn, STRATA_E_UNAVAILABLE, "%s", uv_strerror(result));
        }
        return;
    }
    if (!sx_redis_address_is_unix(&conn->address)) {
        (void)uv_tcp_nodelay(&conn->tcp, 1);
        (void)uv_tcp_keepalive(&conn->tcp, 1, KEEPALIVE_S);
    }
    if (conn->settings->tls != NULL) {
        conn->state = SX_REDIS_CONN_SECURING;
        sx_redis_secure_start(conn);
        return;
    }
    conn->state = SX_REDIS_CONN_HANDSHAKE;
    sx_redis_conn_read_start(conn);
    if (conn->state == SX_REDIS_CONN_HANDSHAKE) sx_redis_conn_handshake(conn);
}

static void connect_next(sx_redis_conn *conn) {
    conn->state = SX_REDIS_CONN_CONNECTING;
    int result = uv_tcp_init(sx_loop_uv(conn->loop), &conn->tcp);
    if (result == 0) {
        conn->tcp_open = true;
        conn->tcp.data = conn;
        conn->connect.data = conn;
        const struct sockaddr_storage *address = &conn->addresses[conn->address_next++];
        result = uv_tcp_connect(&conn->connect, &conn->tcp, (const struct sockaddr *)address, connected);
    }
    if (result == 0) return;
    if (conn->tcp_open && conn->address_next < conn->address_count) {
        uv_close((uv_handle_t *)&conn->tcp, tcp_closed);
    } else {
        sx_redis_conn_fail(conn, STRATA_E_UNAVAILABLE, "%s", uv_strerror(result));
    }
}

static void connect_unix(sx_redis_conn *conn) {
    conn->state = SX_REDIS_CONN_CONNECTING;
    (void)uv_pipe_init(sx_loop_uv(conn->loop), &conn->pipe, 0); /* can't fail */
    conn->tcp_open = true;
    conn->pipe.data = conn;
    conn->connect.data = conn;
    uv_pipe_connect(&conn->connect, &conn->pipe, conn->address.host + sizeof SX_REDIS_UNIX - 1, connected);
}

static void resolved(uv_getaddrinfo_t *request, int result, struct addrinfo *list) {
    sx_redis_resolve *resolve = request->data;
    sx_redis_conn *conn = resolve->conn;
    if (conn != NULL) {
        conn->resolve = NULL;
        for (struct addrinfo *one = list; one != NULL; one = one->ai_next) {
            if (conn->address_count == SX_REDIS_ADDRESSES_MAX || one->ai_addrlen > sizeof conn->addresses[0]) continue;
            memcpy(&conn->addresses[conn->address_count++], one->ai_addr, one->ai_addrlen);
        }
    }
    uv_freeaddrinfo(list);
    sx_release(resolve->alloc, resolve, sizeof *resolve);
    if (conn == NULL) return;
    if (result < 0 || conn->address_count == 0) {
        sx_redis_conn_fail(conn, STRATA_E_UNAVAILABLE, "%s", result < 0 ? uv_strerror(result) : "no address");
    } else {
        connect_next(conn);
    }
}

static int32_t start_resolve(sx_redis_conn *conn) {
    const sx_alloc *alloc = conn->settings->alloc;
    sx_redis_resolve *resolve = sx_allocate_zero(alloc, sizeof *resolve);
    if (resolve == NULL) return STRATA_E_NOMEM;
    resolve->request.data = resolve;
    resolve->conn = conn;
    resolve->alloc = alloc;
    char service[8];
    snprintf(service, sizeof service, "%u", conn->address.port);
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    int result = uv_getaddrinfo(sx_loop_uv(conn->loop), &resolve->request, resolved, conn->address.host, service, &hints);
    if (result != 0) {
        sx_release(alloc, resolve, sizeof *resolve);
        return result == UV_ENOMEM ? STRATA_E_NOMEM : STRATA_E_SYSTEM;
    }
    conn->resolve = resolve;
    return STRATA_OK;
}

static void connect_timeout(sx_timer *timer) {
    sx_redis_conn *conn = (sx_redis_conn *)(void *)((char *)timer - offsetof(sx_redis_conn, connect_timer));
    static const char *const doing[] = {"no address found", "not connected", "connected, but no TLS handshake (does it speak TLS?)",
                                        "connected, but no answer"};
    sx_redis_conn_fail(conn, STRATA_E_TIMEOUT, "%s within %lld ms", doing[conn->state],
                       (long long)(conn->settings->connect_timeout_ns / SX_NS_PER_MS));
}

static int32_t create_parser(const sx_redis_settings *settings, sx_resp_parser **out) {
    sx_resp_limits limits = settings->limits; /* topology and INFO must fit, whatever values may */
    if (limits.depth_max < DEPTH_MIN) limits.depth_max = DEPTH_MIN;
    if (limits.bulk_bytes_max < BULK_MIN) limits.bulk_bytes_max = BULK_MIN;
    return sx_resp_parser_create(settings->alloc, &limits, out);
}

int32_t sx_redis_conn_open(sx_loop *loop, const sx_redis_settings *settings, const sx_redis_address *address,
                           const sx_redis_conn_events *events, sx_redis_conn **out) {
    sx_redis_conn *conn = sx_allocate_zero(settings->alloc, sizeof *conn);
    if (conn == NULL) return STRATA_E_NOMEM;
    conn->loop = loop;
    conn->settings = settings;
    conn->address = *address;
    conn->events = *events;
    conn->offset_ns = INT64_MIN;
    sx_buf_init(&conn->out, settings->alloc);
    sx_buf_init(&conn->writing, settings->alloc);
    int32_t status = create_parser(settings, &conn->parser);
    if (status == STRATA_OK && settings->tls != NULL) status = sx_redis_secure_open(conn);
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    if (status != STRATA_OK || sx_redis_address_is_unix(address)) {
    } else if (uv_ip4_addr(address->host, address->port, &v4) == 0) {
        memcpy(&conn->addresses[conn->address_count++], &v4, sizeof v4);
    } else if (uv_ip6_addr(address->host, address->port, &v6) == 0) {
        memcpy(&conn->addresses[conn->address_count++], &v6, sizeof v6);
    } else {
        status = start_resolve(conn);
    }
    if (status != STRATA_OK) {
        sx_redis_secure_free(conn);
        sx_resp_parser_destroy(conn->parser);
        sx_release(settings->alloc, conn, sizeof *conn);
        return status;
    }
    (void)uv_idle_init(sx_loop_uv(loop), &conn->closer); /* can't fail */
    conn->closer.data = conn;
    conn->closer_open = true;
    conn->flush.run_on_loop = sx_redis_conn_flush_at_end;
    conn->connect_timer.fire_on_loop = connect_timeout;
    sx_loop_timer_set(loop, &conn->connect_timer, sx_time_add(sx_loop_now_ns(loop), settings->connect_timeout_ns));
    *out = conn;
    if (sx_redis_address_is_unix(address)) connect_unix(conn);
    else if (conn->address_count > 0) connect_next(conn);
    return STRATA_OK;
}

/* ---- questions ---- */

bool sx_redis_conn_is_ready(const sx_redis_conn *conn) { return conn->state == SX_REDIS_CONN_READY; }
const sx_redis_identity *sx_redis_conn_identity(const sx_redis_conn *conn) { return &conn->identity; }
const sx_redis_server *sx_redis_conn_server(const sx_redis_conn *conn) { return &conn->server; }
const sx_redis_address *sx_redis_conn_address(const sx_redis_conn *conn) { return &conn->address; }
int64_t sx_redis_conn_offset_ns(const sx_redis_conn *conn) { return conn->offset_ns; }
int64_t sx_redis_conn_last_read_ns(const sx_redis_conn *conn) { return conn->last_read_ns; }

void sx_redis_conn_count(sx_redis_conn *conn, sx_counter *bytes_in, sx_counter *bytes_out) {
    conn->bytes_in = bytes_in;
    conn->bytes_out = bytes_out;
}
