/* SPDX-License-Identifier: Apache-2.0 */
/* One server, well-behaved or not: standalone mode, credentials, and a scripted server that lies, stalls and hangs up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include <strata/status.h>

#include "l2/redis/conn_private.h"
#include "tests/support/cluster.h"
#include "tests/support/drive.h"

/* ---- a server that does what it is told ---- */

static const char INFO_SERVER[] = "# Server\r\nredis_version:7.0.15\r\nrun_id:0123456789012345678901234567890123456789\r\n";
static const char INFO_REPLICATION[] = "role:master\r\nmaster_replid:9876543210987654321098765432109876543210\r\n";

typedef struct fake {
    int listener;
    uint16_t port;
    pthread_t thread;
    _Atomic bool stop;
    _Atomic int accepted;
    bool silent;          /* accepts, and that is all */
    bool greet;           /* shakes hands as a server would */
    const char *hello;    /* instead of the reply to HELLO */
    const char *answer;   /* to anything after the handshake; NULL: closes */
    size_t answer_size;
    bool drip;            /* a byte at a time */
} fake;

static void put(int fd, const fake *f, const char *bytes, size_t size) {
    for (size_t at = 0; at < size;) {
        ssize_t n = send(fd, bytes + at, f->drip ? 1 : size - at, MSG_NOSIGNAL);
        if (n <= 0) return;
        at += (size_t)n;
    }
}

static void put_bulk(int fd, const fake *f, const char *text) {
    char bytes[512];
    int size = snprintf(bytes, sizeof bytes, "$%zu\r\n%s\r\n", strlen(text), text);
    put(fd, f, bytes, (size_t)size);
}

/* The handshake's replies, once all of its commands are here. */
static void greet(int fd, const fake *f) {
    const char *hello = f->hello != NULL ? f->hello : "%2\r\n+server\r\n+redis\r\n+proto\r\n:3\r\n";
    put(fd, f, hello, strlen(hello));
    put(fd, f, "*2\r\n$10\r\n1700000000\r\n$1\r\n0\r\n", 28);
    put_bulk(fd, f, INFO_SERVER);
    put_bulk(fd, f, INFO_REPLICATION);
    put_bulk(fd, f, "cluster_enabled:0\r\n");
}

static void serve(int fd, fake *f) {
    char bytes[65536];
    bool greeted = !f->greet;
    while (!f->stop) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (poll(&p, 1, 20) <= 0) continue;
        ssize_t n = recv(fd, bytes, sizeof bytes - 1, 0);
        if (n <= 0) return;
        bytes[n] = '\0';
        if (f->silent) continue;
        if (!greeted) {
            greet(fd, f);
            greeted = true;
            continue;
        }
        if (f->answer == NULL) return;
        put(fd, f, f->answer, f->answer_size);
    }
}

static void *fake_main(void *argument) {
    fake *f = argument;
    while (!f->stop) {
        struct pollfd p = {.fd = f->listener, .events = POLLIN};
        if (poll(&p, 1, 20) <= 0) continue;
        int fd = accept(f->listener, NULL, NULL);
        if (fd < 0) continue;
        f->accepted++;
        serve(fd, f);
        close(fd);
    }
    return NULL;
}

static void fake_start(fake *f) {
    f->listener = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {.sin_family = AF_INET};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(f->listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(f->listener, 16), 0);
    socklen_t size = sizeof address;
    getsockname(f->listener, (struct sockaddr *)&address, &size);
    f->port = ntohs(address.sin_port);
    assert_int_equal(pthread_create(&f->thread, NULL, fake_main, f), 0);
}

static void fake_stop(fake *f) {
    f->stop = true;
    pthread_join(f->thread, NULL);
    close(f->listener);
}

/* ---- one connection ---- */

typedef struct watch {
    int ready, pushes, closed, replies;
    int32_t status, reply_status;
    char reason[512];
} watch;

static void on_ready(void *context, sx_redis_conn *conn) {
    (void)conn;
    ((watch *)context)->ready++;
}
static void on_push(void *context, sx_redis_conn *conn, const sx_resp *push) {
    (void)conn;
    assert_true(push->type == SX_RESP_PUSH || push->type == SX_RESP_ERROR);
    ((watch *)context)->pushes++;
}
static void on_closed(void *context, sx_redis_conn *conn, int32_t status, const char *reason) {
    (void)conn;
    watch *w = context;
    w->closed++;
    w->status = status;
    snprintf(w->reason, sizeof w->reason, "%s", reason);
}
static void on_reply(void *context, int32_t status, const sx_resp *reply) {
    (void)reply;
    watch *w = context;
    w->replies++;
    w->reply_status = status;
}

static sx_redis_conn *open_conn(test_drive *drive, watch *w, const char *host, uint16_t port) {
    sx_redis_address address = {.port = port};
    snprintf(address.host, sizeof address.host, "%s", host);
    const sx_redis_conn_events events = {w, on_ready, on_push, on_closed};
    sx_redis_conn *conn = NULL;
    memset(w, 0, sizeof *w);
    assert_int_equal(sx_redis_conn_open(drive->loop, &drive->settings, &address, &events, &conn), STRATA_OK);
    assert_int_equal(w->closed, 0);
    return conn;
}

static void turn_until(test_drive *drive, const int *count, int wanted) {
    for (int i = 0; i < 6000 && *count < wanted; i++) sx_loop_turn(drive->loop, 5);
    assert_int_equal(*count, wanted);
}

static void send_words(test_drive *drive, sx_redis_conn *conn, watch *w, const char *words, bool replies) {
    test_request made;
    test_request_init(drive, &made, words, 0, 1000);
    int32_t status =
        sx_redis_conn_send(conn, &made.request.command, NULL, false, false, replies ? on_reply : NULL, w, NULL);
    assert_int_equal(status, STRATA_OK);
    test_request_deinit(&made);
}

static void nobody_listens(void **state) {
    (void)state;
    test_drive drive;
    test_drive_init(&drive);
    watch w;
    (void)open_conn(&drive, &w, "127.0.0.1", 1);
    turn_until(&drive, &w.closed, 1);
    assert_int_equal(w.status, STRATA_E_UNAVAILABLE);
    assert_string_equal(w.reason, "127.0.0.1:1: connection refused");
    (void)open_conn(&drive, &w, "localhost", 1); /* by name, each of its addresses */
    turn_until(&drive, &w.closed, 1);
    assert_string_equal(w.reason, "localhost:1: connection refused");
    (void)open_conn(&drive, &w, "::1", 1);
    turn_until(&drive, &w.closed, 1);
    assert_memory_equal(w.reason, "[::1]:1: ", 9);
    sx_redis_conn *conn = open_conn(&drive, &w, "no-such-host.invalid", 1); /* closed while looked up */
    sx_redis_conn_close(conn, STRATA_E_CLOSED, "enough");
    sx_redis_conn_close(conn, STRATA_E_SYSTEM, "twice");
    turn_until(&drive, &w.closed, 1);
    assert_int_equal(w.status, STRATA_E_CLOSED);
    for (int i = 0; i < 6000 && drive.alloc.live > 1; i++) sx_loop_turn(drive.loop, 5);
    test_drive_close(&drive);
}

static void accepts_but_never_answers(void **state) {
    (void)state;
    fake f = {.silent = true};
    fake_start(&f);
    test_drive drive;
    test_drive_init(&drive);
    drive.settings.connect_timeout_ns = 100 * SX_NS_PER_MS;
    watch w;
    (void)open_conn(&drive, &w, "127.0.0.1", f.port);
    turn_until(&drive, &w.closed, 1);
    assert_int_equal(w.status, STRATA_E_TIMEOUT);
    assert_non_null(strstr(w.reason, "no answer within 100 ms"));
    assert_int_equal(w.ready, 0);
    test_drive_close(&drive);
    fake_stop(&f);
}

static void bad_handshakes_have_names(void **state) {
    (void)state;
    static const struct {
        const char *hello;
        int32_t status;
        const char *why;
    } cases[] = {
        {"-ERR unknown command `HELLO`, with args beginning with: `3`, `AUTH`, `default`, `hunter2`, `SETNAME`, \r\n",
         STRATA_E_VERSION, "HELLO: ERR unknown command `HELLO`"},
        {"-ERR unknown command 'HELLO', with args beginning with: '3' 'AUTH' 'default' 'hunter2' \r\n", STRATA_E_VERSION,
         "HELLO: ERR unknown command 'HELLO'"},
        {"-ERR unknown command `HELLO`\r\n", STRATA_E_VERSION, "unknown command"},
        {"-NOPROTO unsupported protocol version\r\n", STRATA_E_VERSION, "NOPROTO"},
        {"%1\r\n+proto\r\n:2\r\n", STRATA_E_VERSION, "RESP3"},
        {"-WRONGPASS invalid\r\n", STRATA_E_AUTH, "WRONGPASS"},
        {"-LOADING dataset\r\n", STRATA_E_L2_DOWN, "LOADING"},
        {"+OK\r\n", STRATA_E_PROTOCOL, "unexpected type"},
        {"\x15\x03\x01", STRATA_E_PROTOCOL, "the server speaks TLS here, and l2.tls is off"},
        {"HTTP/1.1 400 Bad Request\r\n\r\n", STRATA_E_PROTOCOL, "no type"},
        {"*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n", STRATA_E_PROTOCOL, "deeper"},
        {"$99999999999\r\n", STRATA_E_PROTOCOL, "at most"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        fake f = {.greet = true, .hello = cases[i].hello, .drip = i % 2 == 1};
        fake_start(&f);
        test_drive drive;
        test_drive_init(&drive);
        watch w;
        (void)open_conn(&drive, &w, "127.0.0.1", f.port);
        turn_until(&drive, &w.closed, 1);
        if (w.status != cases[i].status || strstr(w.reason, cases[i].why) == NULL) fail_msg("%zu: %d %s", i, w.status, w.reason);
        assert_null(strstr(w.reason, "hunter2")); /* what we said is not repeated: the password is in it */
        test_drive_close(&drive);
        fake_stop(&f);
    }
}

static void broken_replies_end_the_connection(void **state) {
    (void)state;
    static const struct {
        const char *answer;
        int32_t status;
        int32_t reply_status;
    } cases[] = {
        {"\x01\x02\x03garbage", STRATA_E_PROTOCOL, STRATA_E_UNKNOWN_OUTCOME},
        {"$100\r\nhalf a reply", STRATA_E_CLOSED, STRATA_E_UNKNOWN_OUTCOME},
        {NULL, STRATA_E_UNAVAILABLE, STRATA_E_UNKNOWN_OUTCOME},
        {"+one\r\n+two\r\n", STRATA_E_PROTOCOL, STRATA_OK},
        {"+one\r\n-ERR max number of clients reached\r\n", STRATA_E_UNAVAILABLE, STRATA_OK},
        {"$-7\r\n", STRATA_E_PROTOCOL, STRATA_E_UNKNOWN_OUTCOME},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *answer = cases[i].answer;
        fake f = {.greet = true, .answer = answer, .answer_size = answer == NULL ? 0 : strlen(answer)};
        fake_start(&f);
        test_drive drive;
        test_drive_init(&drive);
        watch w;
        sx_redis_conn *conn = open_conn(&drive, &w, "127.0.0.1", f.port);
        turn_until(&drive, &w.ready, 1);
        send_words(&drive, conn, &w, "GET x", true);
        if (cases[i].status == STRATA_E_CLOSED) {
            test_drive_turn(&drive, 50);
            assert_int_equal(w.replies, 0);
            sx_redis_conn_close(conn, STRATA_E_CLOSED, "enough");
        }
        turn_until(&drive, &w.closed, 1);
        if (w.status != cases[i].status) fail_msg("%zu: %d %s", i, w.status, w.reason);
        assert_int_equal(w.replies, 1);
        assert_int_equal(w.reply_status, cases[i].reply_status);
        test_drive_close(&drive);
        fake_stop(&f);
    }
}

static void loading_is_told_and_retriable(void **state) {
    (void)state;
    fake f = {.greet = true, .answer = "-LOADING Redis is loading\r\n", .answer_size = 27};
    fake_start(&f);
    test_drive drive;
    test_drive_init(&drive);
    char nodes[64], reply[256];
    snprintf(nodes, sizeof nodes, "127.0.0.1:%u", f.port);
    test_drive_open(&drive, SX_REDIS_MODE_AUTO, nodes);
    for (int i = 0; i < 6000 && !sx_redis_cluster_has_map(drive.cluster); i++) sx_loop_turn(drive.loop, 5);
    assert_int_equal(test_drive_call(&drive, "GET x", 1, 2000, reply), SX_REDIS_LOADING);
    assert_memory_equal(reply, "-LOADING", 8);
    assert_true(sx_redis_rule_of(SX_REDIS_LOADING)->retry);
    test_drive_close(&drive);
    fake_stop(&f);
}

/* ---- a real server ---- */

static void standalone_works(void **state) {
    (void)state;
    char reply[256];
    const sx_cluster_options options = {.primaries = 0, .password = "secret"};
    sx_cluster *server = test_cluster_start(&options);
    test_drive drive;
    test_drive_init(&drive); /* without the password: refused, and said so */
    test_drive_open(&drive, SX_REDIS_MODE_AUTO, sx_cluster_seeds(server));
    assert_false(test_drive_wait_map(&drive, 200));
    int32_t status;
    const char *why = sx_redis_cluster_last_error(drive.cluster, &status);
    assert_int_equal(status, STRATA_E_AUTH);
    assert_non_null(strstr(why, "NOAUTH"));
    assert_int_equal(test_drive_call(&drive, "GET x", 1, 100, NULL), SX_REDIS_TIMEOUT_UNTRIED);
    test_drive_close(&drive);

    test_drive_init(&drive);
    drive.settings.password = "secret";
    char nodes[128];
    snprintf(nodes, sizeof nodes, "127.0.0.1:1, %s", sx_cluster_seeds(server)); /* the first seed is dead */
    test_drive_open(&drive, SX_REDIS_MODE_AUTO, nodes);
    assert_true(test_drive_wait_map(&drive, 2000));
    assert_false(sx_redis_cluster_is_cluster(drive.cluster));
    assert_int_equal(test_drive_call(&drive, "SET x 1", 1, 1000, NULL), SX_REDIS_OK);
    assert_int_equal(test_drive_call(&drive, "INCR x", 1, 1000, reply), SX_REDIS_OK);
    assert_string_equal(reply, ":2");
    assert_int_equal(test_drive_call(&drive, "LPUSH x 1", 1, 1000, reply), SX_REDIS_ERROR);
    assert_int_equal(sx_redis_metric_read(drive.cluster, SX_REDIS_METRIC_CONNECTS), 1);

    assert_int_equal(sx_cluster_kill(server, 0), 0);
    test_drive_turn(&drive, 100);
    sx_redis_outcome outcome = test_drive_call(&drive, "GET x", 1, 500, NULL);
    assert_true(outcome == SX_REDIS_UNREACHABLE || outcome == SX_REDIS_BACKING_OFF); /* as the next attempt is near or not */
    assert_int_equal(sx_cluster_restart(server, 0), 0);
    assert_true(test_drive_call_until_ok(&drive, "GET x", 1, 3000));
    test_drive_close(&drive);

    test_drive_init(&drive); /* the wrong mode */
    drive.settings.password = "secret";
    test_drive_open(&drive, SX_REDIS_MODE_CLUSTER, sx_cluster_seeds(server));
    assert_false(test_drive_wait_map(&drive, 200));
    (void)sx_redis_cluster_last_error(drive.cluster, &status);
    assert_int_equal(status, STRATA_E_CONFIG);
    test_drive_close(&drive);
    sx_cluster_stop(server);
}

/* Neither what was sent nor what never could be stays in memory that was given back. */
static void a_password_is_wiped(void **state) {
    (void)state;
    static const char PASSWORD[] = "correct horse battery staple";
    sx_cluster *server = test_cluster_start(&(sx_cluster_options){.primaries = 0, .password = PASSWORD});
    test_drive drive;
    test_drive_init(&drive);
    drive.settings.password = drive.alloc.secret = PASSWORD;
    test_drive_open(&drive, SX_REDIS_MODE_AUTO, sx_cluster_seeds(server));
    assert_true(test_drive_wait_map(&drive, 2000));
    assert_int_equal(test_drive_call(&drive, "SET x 1", 1, 1000, NULL), SX_REDIS_OK);
    test_drive_close(&drive);
    assert_int_equal(atomic_load(&drive.alloc.told), 0);
    sx_cluster_stop(server);
}

static void pushes_and_forgetting(void **state) {
    (void)state;
    const sx_cluster_options options = {.primaries = 0};
    sx_cluster *server = test_cluster_start(&options);
    test_drive drive;
    test_drive_init(&drive);
    watch w;
    sx_redis_conn *conn = open_conn(&drive, &w, "127.0.0.1", sx_cluster_port(server, 0));
    turn_until(&drive, &w.ready, 1);
    uint64_t token = sx_redis_conn_identity(conn)->token;
    assert_true(token != 0);
    sx_redis_conn_identify(conn, NULL, NULL);
    send_words(&drive, conn, &w, "SUBSCRIBE a b c", false);
    send_words(&drive, conn, &w, "PING", true); /* in order behind them */
    turn_until(&drive, &w.replies, 1);
    assert_int_equal(w.pushes, 3);
    assert_true(sx_redis_conn_identity(conn)->token == token);
    send_words(&drive, conn, &w, "SUBSCRIBE a", false);
    send_words(&drive, conn, &w, "GET", true); /* refused by an error: not the subscription's */
    turn_until(&drive, &w.replies, 2);
    assert_int_equal(w.pushes, 4);
    send_words(&drive, conn, &w, "SUBSCRIBE", false); /* refused by an error: comes where pushes come */
    send_words(&drive, conn, &w, "UNSUBSCRIBE a", false);
    send_words(&drive, conn, &w, "PING", true);
    turn_until(&drive, &w.replies, 3);
    assert_int_equal(w.pushes, 6);
    free(sx_cluster_command(server, 0, "PUBLISH b hello"));
    turn_until(&drive, &w.pushes, 7);

    /* Forgotten before the turn's end: never executed, and the next reply is the next command's. */
    test_request made;
    uint64_t ticket;
    test_request_init(&drive, &made, "SET forgotten 1", 0, 1000);
    assert_int_equal(sx_redis_conn_send(conn, &made.request.command, NULL, false, false, on_reply, &w, &ticket), STRATA_OK);
    assert_false(sx_redis_conn_forget(conn, ticket));
    assert_false(sx_redis_conn_forget(conn, ticket));
    test_request_deinit(&made);
    /* What comes behind it is a value still, not lines. */
    test_request_init(&drive, &made, "SET value \r\nSET\tinjected\t1\r\n", 0, 1000);
    assert_int_equal(sx_redis_conn_send(conn, &made.request.command, NULL, false, false, on_reply, &w, NULL), STRATA_OK);
    test_request_deinit(&made);
    send_words(&drive, conn, &w, "PING", true);
    turn_until(&drive, &w.replies, 5);
    assert_true(sx_cluster_answers(server, 0, "0", "EXISTS forgotten injected"));
    assert_true(sx_cluster_answers(server, 0, "18", "STRLEN value"));
    sx_redis_conn_close(conn, STRATA_OK, "done");
    turn_until(&drive, &w.closed, 1);
    test_drive_close(&drive);
    sx_cluster_stop(server);
}

/* ---- much at once ---- */

typedef struct slow {
    test_drive *drive;
    sx_timer timer;
    int ready, pushes, pushes_before; /* it fired */
} slow;

static void slow_ready(void *context, sx_redis_conn *conn) {
    (void)conn;
    ((slow *)context)->ready = 1;
}

static void slow_push(void *context, sx_redis_conn *conn, const sx_resp *push) {
    (void)conn, (void)push;
    slow *s = context;
    s->pushes++;
    int64_t until_ns = sx_loop_now_ns(s->drive->loop) + SX_NS_PER_MS / 4;
    while (sx_loop_now_ns(s->drive->loop) < until_ns) {}
}

static void slow_fire(sx_timer *timer) {
    slow *s = (slow *)(void *)((char *)timer - offsetof(slow, timer));
    s->pushes_before = s->pushes;
}

/* Messages without end on one connection: libuv reads on, and timers are kept all the same, and another's answer is read. */
static void a_flood_keeps_timers(void **state) {
    (void)state;
    enum { MESSAGES = 1200 }; /* of 1 KiB: twenty reads */
    char words[1200] = "PUBLISH flood ";
    sx_cluster *server = test_cluster_start(&(sx_cluster_options){.primaries = 0});
    test_drive drive;
    test_drive_init(&drive);
    slow s = {.drive = &drive, .timer = {.fire_on_loop = slow_fire}};
    const sx_redis_conn_events events = {&s, slow_ready, slow_push, NULL};
    sx_redis_conn *conn = NULL;
    sx_redis_address address = {.port = sx_cluster_port(server, 0)};
    snprintf(address.host, sizeof address.host, "127.0.0.1");
    assert_int_equal(sx_redis_conn_open(drive.loop, &drive.settings, &address, &events, &conn), STRATA_OK);
    turn_until(&drive, &s.ready, 1);
    watch w = {0};
    sx_redis_conn *other = open_conn(&drive, &w, "127.0.0.1", sx_cluster_port(server, 0));
    turn_until(&drive, &w.ready, 1);
    send_words(&drive, conn, &w, "SUBSCRIBE flood", false);
    turn_until(&drive, &s.pushes, 1);
    memset(words + strlen(words), 'x', 1024);
    for (int i = 0; i < MESSAGES; i++) free(sx_cluster_command(server, 0, "%s", words));
    sx_loop_timer_set(drive.loop, &s.timer, sx_loop_now_ns(drive.loop) + 5 * SX_NS_PER_MS);
    send_words(&drive, other, &w, "PING", true);
    turn_until(&drive, &w.replies, 1);
    assert_in_range(s.pushes, 1, MESSAGES * 9 / 10);
    turn_until(&drive, &s.pushes, 1 + MESSAGES);
    test_drive_turn(&drive, 10);
    assert_in_range(s.pushes_before, 1, MESSAGES / 3);
    sx_redis_conn_close(conn, STRATA_OK, "done");
    sx_redis_conn_close(other, STRATA_OK, "done");
    test_drive_turn(&drive, 20);
    test_drive_close(&drive);
    sx_cluster_stop(server);
}

/* ---- what a forgotten command becomes ---- */

/* One command, all of it, of strings that no server finds too long. */
static void expect_one_command(sx_resp_parser *parser, uint8_t *bytes, size_t size) {
    size_t consumed = 0, wanted = 0;
    const sx_resp *value = NULL;
    memset(bytes, 'x', size);
    sx_redis_nothing_put(bytes, size);
    if (sx_resp_parse(parser, bytes, size, &consumed, &wanted, &value) != STRATA_OK || consumed != size)
        fail_msg("%zu bytes: not one whole command", size);
    assert_int_equal(value->type, SX_RESP_ARRAY);
    assert_true(value->count > 0);
    for (uint32_t i = 0; i < value->count; i++) {
        assert_int_equal(value->items[i].type, SX_RESP_STRING);
        assert_true(value->items[i].size <= 1 << 20);
        const sx_resp *item = &value->items[i];
        if (item->size > 0 && (item->text[0] != 0 || memcmp(item->text, item->text + 1, item->size - 1) != 0))
            fail_msg("%zu bytes: something of the old ones is left", size);
    }
}

static void nothing_has_any_length(void **state) {
    (void)state;
    const sx_resp_limits limits = {.depth_max = 8, .elements_max = 1000, .bulk_bytes_max = 1 << 20};
    sx_resp_parser *parser = NULL;
    assert_int_equal(sx_resp_parser_create(sx_alloc_default(), &limits, &parser), STRATA_OK);
    enum { PIECE_ROOM = 524299, ROOM = 12 * PIECE_ROOM };
    uint8_t *bytes = malloc(ROOM);
    for (size_t size = 10; size < 3000; size++) expect_one_command(parser, bytes, size);
    for (size_t size = 99990; size < 100030; size++) expect_one_command(parser, bytes, size);
    static const size_t pieces[] = {1, 8, 9}; /* and where the number of strings gets a second digit */
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        for (size_t more = 0; more < 150; more++) expect_one_command(parser, bytes, pieces[i] * PIECE_ROOM + more);
    }
    free(bytes);
    sx_resp_parser_destroy(parser);
}

static void huge_replies_pass_and_memory_shrinks(void **state) {
    (void)state;
    const sx_cluster_options options = {.primaries = 0};
    sx_cluster *server = test_cluster_start(&options);
    test_drive drive;
    test_drive_init(&drive);
    test_drive_open(&drive, SX_REDIS_MODE_STANDALONE, sx_cluster_seeds(server));
    assert_true(test_drive_wait_map(&drive, 2000));
    assert_int_equal(test_drive_call(&drive, "SETRANGE big 33554431 x", 1, 20000, NULL), SX_REDIS_OK);
    int64_t before = drive.alloc.bytes;
    assert_int_equal(test_drive_call(&drive, "GET big", 1, 20000, NULL), SX_REDIS_OK);
    assert_true(drive.alloc.bytes < before + (1 << 20));
    assert_int_equal(test_drive_call(&drive, "SETRANGE big 268435455 x", 1, 20000, NULL), SX_REDIS_OK);
    assert_int_equal(test_drive_call(&drive, "GET big", 1, 20000, NULL), SX_REDIS_LOST); /* beyond the limit: cut off */
    assert_int_equal(test_drive_call(&drive, "PING", 0, 2000, NULL), SX_REDIS_OK);
    test_drive_close(&drive);
    sx_cluster_stop(server);
}

static int32_t create_once(test_alloc *alloc, void *context) {
    sx_loop *loop = context;
    sx_clock clock = {NULL, NULL};
    sx_redis_settings settings = {.alloc = &alloc->table, .clock = &clock, .limits = {8, 1000, 1000}};
    sx_redis_cluster *cluster = NULL;
    char error[128];
    int32_t status = sx_redis_cluster_create(loop, &settings, SX_REDIS_MODE_AUTO, "a:1,[::1]:2", NULL, &cluster, error,
                                             sizeof error);
    if (status == STRATA_OK) sx_redis_cluster_destroy(cluster);
    return status;
}

static void create_survives_failed_allocations(void **state) {
    (void)state;
    test_drive drive;
    test_drive_init(&drive);
    assert_true(test_alloc_sweep(create_once, drive.loop) > 1);
    static const char *const bad[] = {"", ",", "host", "host:", "host:0", "host:65536", ":1", "[::1:1", "a b:1", "?:1", "a:1,b"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char error[128] = "";
        sx_redis_cluster *cluster = NULL;
        assert_int_equal(sx_redis_cluster_create(drive.loop, &drive.settings, SX_REDIS_MODE_AUTO, bad[i], NULL, &cluster,
                                                 error, sizeof error), STRATA_E_CONFIG);
        assert_non_null(strstr(error, "l2.nodes"));
    }
    test_drive_close(&drive);
}

int main(void) {
    if (!sx_cluster_available()) return 77;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nobody_listens),
        cmocka_unit_test(accepts_but_never_answers),
        cmocka_unit_test(bad_handshakes_have_names),
        cmocka_unit_test(broken_replies_end_the_connection),
        cmocka_unit_test(loading_is_told_and_retriable),
        cmocka_unit_test(standalone_works),
        cmocka_unit_test(a_password_is_wiped),
        cmocka_unit_test(pushes_and_forgetting),
        cmocka_unit_test(nothing_has_any_length),
        cmocka_unit_test(a_flood_keeps_timers),
        cmocka_unit_test(huge_replies_pass_and_memory_shrinks),
        cmocka_unit_test(create_survives_failed_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
