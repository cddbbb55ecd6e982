/* SPDX-License-Identifier: Apache-2.0 */
/* What a connection does before it is ready, in one round trip: RESP3 and credentials, who answers, its clock, the
   scripts; and the reading again of who answers. */
#include "l2/redis/conn_private.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include <xxhash.h>

#include <strata/status.h>

enum { USERNAME_BYTES_MAX = 256, PASSWORD_BYTES_MAX = 512 };

typedef struct login {
    char username[USERNAME_BYTES_MAX + 1];
    char password[PASSWORD_BYTES_MAX + 2]; /* one more, to see that a file's is too long */
} login;

struct sx_redis_identify {
    sx_redis_conn *conn;
    struct sx_redis_identify *next;
    void (*then)(void *context, sx_redis_conn *conn);
    void *context;
};

typedef struct span {
    const char *text;
    size_t size;
} span;

static bool begins(const sx_resp *reply, const char *word) {
    size_t size = strlen(word);
    return reply->size >= size && memcmp(reply->text, word, size) == 0;
}

/* ---- INFO ---- */

static bool info_field(const sx_resp *info, const char *name, span *out) {
    return sx_redis_info_field(info, name, &out->text, &out->size);
}

static bool span_is(span s, const char *text) { return s.size == strlen(text) && memcmp(s.text, text, s.size) == 0; }

static bool info_id(const sx_resp *info, const char *name, char out[SX_REDIS_ID_MAX]) {
    span field;
    if (!info_field(info, name, &field) || field.size == 0 || field.size >= SX_REDIS_ID_MAX) return false;
    memcpy(out, field.text, field.size);
    out[field.size] = '\0';
    return true;
}

static void set_token(sx_redis_conn *conn) {
    char all[SX_REDIS_HOST_MAX + 2 * SX_REDIS_ID_MAX + 16];
    int size = snprintf(all, sizeof all, "%s\n%u\n%s\n%s", conn->address.host, conn->address.port, conn->identity.run_id,
                        conn->identity.replid);
    uint64_t token = XXH3_64bits(all, (size_t)size);
    conn->identity.token = token == 0 ? 1 : token;
}

/* ---- replies ---- */

static int32_t error_status(const sx_resp *error) {
    if (begins(error, "NOPROTO") || begins(error, "ERR unknown command")) return STRATA_E_VERSION;
    if (begins(error, "WRONGPASS") || begins(error, "NOAUTH") || begins(error, "NOPERM") || begins(error, "DENIED") ||
        begins(error, "ERR AUTH") || begins(error, "ERR invalid password")) {
        return STRATA_E_AUTH;
    }
    if (begins(error, "LOADING") || begins(error, "MASTERDOWN") || begins(error, "CLUSTERDOWN")) return STRATA_E_L2_DOWN;
    if (begins(error, "ERR max number of clients")) return STRATA_E_UNAVAILABLE;
    return STRATA_E_REFUSED;
}

/* How much of an error may be told. Who does not know a command repeats its arguments, and HELLO's are credentials. */
static size_t quotable(const sx_resp *error) {
    static const char arguments[] = "with args";
    const char *from = memmem(error->text, error->size, arguments, sizeof arguments - 1);
    size_t size = from == NULL ? error->size : (size_t)(from - error->text);
    while (size > 0 && (error->text[size - 1] == ' ' || error->text[size - 1] == ',')) size--;
    return size < 150 ? size : 150;
}

/* Closes unless reply is of the type wanted. */
static bool expect(sx_redis_conn *conn, const char *what, sx_resp_type type, const sx_resp *reply) {
    if (conn->state == SX_REDIS_CONN_CLOSING) return false;
    if (reply->type == type) return true;
    if (reply->type == SX_RESP_ERROR) {
        sx_redis_conn_fail(conn, error_status(reply), "%s: %.*s", what, (int)quotable(reply), reply->text);
    } else {
        sx_redis_conn_fail(conn, STRATA_E_PROTOCOL, "%s: an answer of an unexpected type", what);
    }
    return false;
}

static void one_done(sx_redis_conn *conn) {
    assert(conn->handshake_left > 0);
    if (--conn->handshake_left > 0) return;
    sx_loop_timer_cancel(conn->loop, &conn->connect_timer);
    conn->state = SX_REDIS_CONN_READY;
    if (conn->events.on_ready != NULL) conn->events.on_ready(conn->events.context, conn);
}

static void hello_answered(void *context, int32_t status, const sx_resp *reply) {
    sx_redis_conn *conn = context;
    if (status != STRATA_OK || !expect(conn, "HELLO", SX_RESP_MAP, reply)) return;
    const sx_resp *proto = sx_resp_map_get(reply, "proto");
    uint64_t version = 0;
    if (!sx_resp_to_uint(proto, &version) || version != 3) {
        sx_redis_conn_fail(conn, STRATA_E_VERSION, "HELLO: the server doesn't speak RESP3");
        return;
    }
    one_done(conn);
}

static void time_answered(void *context, int32_t status, const sx_resp *reply) {
    sx_redis_conn *conn = context;
    if (status != STRATA_OK || !expect(conn, "TIME", SX_RESP_ARRAY, reply)) return;
    uint64_t seconds, micros;
    if (reply->count != 2 || !sx_resp_to_uint(&reply->items[0], &seconds) || !sx_resp_to_uint(&reply->items[1], &micros) ||
        seconds > (uint64_t)1 << 33 || micros >= 1000000) {
        sx_redis_conn_fail(conn, STRATA_E_PROTOCOL, "TIME: not a time");
        return;
    }
    int64_t now = sx_loop_now_ns(conn->loop);
    int64_t midpoint = conn->time_sent_ns + (now - conn->time_sent_ns) / 2;
    conn->offset_ns = (int64_t)seconds * SX_NS_PER_S + (int64_t)micros * SX_NS_PER_US - midpoint;
    one_done(conn);
}

/* INFO server */
static bool take_server(sx_redis_conn *conn, const sx_resp *reply) {
    if (!expect(conn, "INFO", SX_RESP_STRING, reply)) return false;
    if (!sx_redis_server_read(reply, &conn->server) || !info_id(reply, "run_id", conn->identity.run_id)) {
        sx_redis_conn_fail(conn, STRATA_E_PROTOCOL, "INFO: neither redis_version nor run_id");
        return false;
    }
    return true;
}

/* INFO replication */
static bool take_replication(sx_redis_conn *conn, const sx_resp *reply) {
    span role;
    if (!expect(conn, "INFO", SX_RESP_STRING, reply)) return false;
    if (!info_field(reply, "role", &role) || !info_id(reply, "master_replid", conn->identity.replid)) {
        sx_redis_conn_fail(conn, STRATA_E_PROTOCOL, "INFO: neither role nor master_replid");
        return false;
    }
    conn->identity.primary = span_is(role, "master");
    set_token(conn);
    return true;
}

static void server_answered(void *context, int32_t status, const sx_resp *reply) {
    if (status == STRATA_OK && take_server(context, reply)) one_done(context);
}

static void replication_answered(void *context, int32_t status, const sx_resp *reply) {
    if (status == STRATA_OK && take_replication(context, reply)) one_done(context);
}

static void cluster_answered(void *context, int32_t status, const sx_resp *reply) {
    sx_redis_conn *conn = context;
    if (status != STRATA_OK || !expect(conn, "INFO", SX_RESP_STRING, reply)) return;
    span enabled;
    conn->server.cluster = info_field(reply, "cluster_enabled", &enabled) && span_is(enabled, "1");
    one_done(conn);
}

static bool is_sha(const sx_resp *reply) {
    if (reply->type != SX_RESP_STRING || reply->size != 40) return false;
    for (size_t i = 0; i < 40; i++) {
        char c = reply->text[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'))) return false;
    }
    return true;
}

static void script_answered(void *context, int32_t status, const sx_resp *reply) {
    sx_redis_conn *conn = context;
    if (status != STRATA_OK || conn->state == SX_REDIS_CONN_CLOSING) return;
    sx_redis_script *script = conn->settings->scripts[conn->script_next++];
    if (is_sha(reply)) {
        if (script->sha[0] == '\0') memcpy(script->sha, reply->text, 40);
        script->sha[40] = '\0';
    } else if (conn->settings->log != NULL) {
        bool text = reply->type == SX_RESP_ERROR || reply->type == SX_RESP_STRING;
        sx_log_write(conn->settings->log, SX_LOG_WARN, "%s:%u: SCRIPT LOAD: %.*s; sending scripts whole",
                     conn->address.host, conn->address.port, text ? (int)(reply->size < 150 ? reply->size : 150) : 1,
                     text ? reply->text : "?");
    }
    one_done(conn);
}

/* ---- sending ---- */

static void send_words(sx_redis_conn *conn, sx_command *command, sx_redis_reply_fn fn) {
    if (conn->state == SX_REDIS_CONN_CLOSING) return;
    sx_redis_how plain = {.read_only = false};
    if (sx_redis_conn_queue(conn, command, NULL, plain, fn, conn, NULL) == STRATA_OK) {
        conn->handshake_left++;
    } else {
        sx_redis_conn_fail(conn, STRATA_E_NOMEM, "out of memory");
    }
    sx_command_clear(command);
}

static void send_text(sx_redis_conn *conn, const char *first, const char *second, sx_redis_reply_fn fn) {
    sx_command command;
    sx_command_init(&command, conn->settings->alloc);
    sx_command_text(&command, first);
    if (second != NULL) sx_command_text(&command, second);
    send_words(conn, &command, fn);
    sx_command_deinit(&command);
}

/* The file's text without the end of its line. False: the connection is closed with the reason. */
static bool read_password(sx_redis_conn *conn, char out[PASSWORD_BYTES_MAX + 2]) {
    const char *path = conn->settings->password_file;
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe without a writer must not stop the loop */
    ssize_t size = file < 0 ? -1 : read(file, out, PASSWORD_BYTES_MAX + 2);
    int why = errno;
    if (file >= 0) (void)close(file);
    if (size < 0) {
        sx_redis_conn_fail(conn, STRATA_E_AUTH, "l2.password_file: %.100s: %s", path, uv_strerror(uv_translate_sys_error(why)));
        return false;
    }
    while (size > 0 && (out[size - 1] == '\n' || out[size - 1] == '\r')) size--;
    if (size == 0 || size > PASSWORD_BYTES_MAX || memchr(out, '\0', (size_t)size) != NULL) {
        explicit_bzero(out, PASSWORD_BYTES_MAX + 2);
        sx_redis_conn_fail(conn, STRATA_E_AUTH, "l2.password_file: %.100s: not a text of 1 to %d bytes", path,
                           PASSWORD_BYTES_MAX);
        return false;
    }
    out[size] = '\0';
    return true;
}

/* Anew for each connection: what it says may have changed, and a server that refused it is asked again with what is said
   then. False: the connection is closed with the reason. */
static bool find_login(sx_redis_conn *conn, login *out) {
    const sx_redis_settings *settings = conn->settings;
    const bool file = settings->password_file != NULL && settings->password_file[0] != '\0';
    snprintf(out->username, sizeof out->username, "%s", settings->username == NULL ? "" : settings->username);
    snprintf(out->password, sizeof out->password, "%s", settings->password == NULL || file ? "" : settings->password);
    if (file && !read_password(conn, out->password)) return false;
    if (settings->login == NULL) return true;
    int32_t status = settings->login(settings->login_context, out->username, sizeof out->username, out->password,
                                     PASSWORD_BYTES_MAX + 1);
    out->username[sizeof out->username - 1] = '\0';
    out->password[PASSWORD_BYTES_MAX] = '\0';
    if (status == STRATA_OK) return true;
    sx_redis_conn_fail(conn, STRATA_E_AUTH, "the program's credentials: %s", strata_status_name(status));
    return false;
}

static void send_hello(sx_redis_conn *conn) {
    const sx_redis_settings *settings = conn->settings;
    login as;
    if (!find_login(conn, &as)) {
        explicit_bzero(&as, sizeof as);
        return;
    }
    sx_command command;
    sx_command_init(&command, settings->alloc);
    command.args.secret = conn->out.secret = as.password[0] != '\0';
    sx_command_text(&command, "HELLO");
    sx_command_text(&command, "3");
    if (as.password[0] != '\0') {
        sx_command_text(&command, "AUTH");
        sx_command_text(&command, as.username[0] != '\0' ? as.username : "default");
        sx_command_text(&command, as.password);
    }
    if (settings->client_name != NULL && settings->client_name[0] != '\0') {
        sx_command_text(&command, "SETNAME");
        sx_command_text(&command, settings->client_name);
    }
    send_words(conn, &command, hello_answered);
    sx_command_deinit(&command);
    explicit_bzero(&as, sizeof as);
}

void sx_redis_conn_handshake(sx_redis_conn *conn) {
    send_hello(conn);
    if (conn->state == SX_REDIS_CONN_CLOSING) return;
    conn->time_sent_ns = sx_loop_now_ns(conn->loop);
    send_text(conn, "TIME", NULL, time_answered);
    send_text(conn, "INFO", "server", server_answered);
    send_text(conn, "INFO", "replication", replication_answered);
    send_text(conn, "INFO", "cluster", cluster_answered);
    sx_command command;
    sx_command_init(&command, conn->settings->alloc);
    for (sx_redis_script *const *script = conn->settings->scripts; script != NULL && *script != NULL; script++) {
        sx_command_text(&command, "SCRIPT");
        sx_command_text(&command, "LOAD");
        sx_command_text(&command, (*script)->text);
        send_words(conn, &command, script_answered);
    }
    sx_command_deinit(&command);
    sx_redis_conn_flush(conn);
}

/* ---- the identity again ---- */

static void identify_server(void *context, int32_t status, const sx_resp *reply) {
    sx_redis_identify *identify = context;
    if (status == STRATA_OK) (void)take_server(identify->conn, reply);
}

static void identify_replication(void *context, int32_t status, const sx_resp *reply) {
    sx_redis_identify *identify = context;
    sx_redis_conn *conn = identify->conn;
    if (status != STRATA_OK || !take_replication(conn, reply)) return; /* freed with the connection */
    sx_redis_identify **link = &conn->identifying;
    while (*link != identify) link = &(*link)->next;
    *link = identify->next;
    void (*then)(void *, sx_redis_conn *) = identify->then;
    void *then_context = identify->context;
    sx_release(conn->settings->alloc, identify, sizeof *identify);
    if (then != NULL) then(then_context, conn);
}

static int32_t queue_info(sx_redis_conn *conn, const char *section, sx_redis_reply_fn fn, void *context) {
    sx_command command;
    sx_command_init(&command, conn->settings->alloc);
    sx_command_text(&command, "INFO");
    sx_command_text(&command, section);
    sx_redis_how plain = {.read_only = false};
    int32_t status = sx_redis_conn_queue(conn, &command, NULL, plain, fn, context, NULL);
    sx_command_deinit(&command);
    return status;
}

void sx_redis_conn_identify(sx_redis_conn *conn, void (*then)(void *context, sx_redis_conn *conn), void *context) {
    if (conn->state != SX_REDIS_CONN_READY) return;
    sx_redis_identify *identify = sx_allocate_zero(conn->settings->alloc, sizeof *identify);
    if (identify != NULL) {
        identify->conn = conn;
        identify->then = then;
        identify->context = context;
        identify->next = conn->identifying;
        conn->identifying = identify;
        if (queue_info(conn, "server", identify_server, identify) == STRATA_OK &&
            queue_info(conn, "replication", identify_replication, identify) == STRATA_OK) {
            return;
        }
    }
    sx_redis_conn_fail(conn, STRATA_E_NOMEM, "out of memory"); /* an identity that may be old must not stay */
}

void sx_redis_conn_identify_free(sx_redis_conn *conn) {
    while (conn->identifying != NULL) {
        sx_redis_identify *identify = conn->identifying;
        conn->identifying = identify->next;
        sx_release(conn->settings->alloc, identify, sizeof *identify);
    }
}
