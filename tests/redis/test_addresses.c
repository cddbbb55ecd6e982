/* SPDX-License-Identifier: Apache-2.0 */
/* How servers are found and who we say we are: Unix sockets, IPv6, names that move, what a cluster tells of itself, and
   credentials that change. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>
#include <dlfcn.h>
#include <netdb.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include <strata/status.h>

#include "bench/cluster/cluster.h"
#include "l2/redis/cluster.h"
#include "tests/support/drive.h"

/* Where "moving.test" is; libuv's lookups come here. owner: the test, while none is under way. */
static _Atomic int moving_to;
static _Atomic int lookups;

__attribute__((visibility("default"))) int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **out) {
    int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    *(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
    bool ours = name != NULL && strcmp(name, "moving.test") == 0;
    if (ours) lookups++;
    return real(ours ? (moving_to == 1 ? "127.0.0.1" : "127.0.0.2") : name, service, hints, out);
}

static sx_cluster *start(const sx_cluster_options *options) {
    sx_cluster *servers = NULL;
    char error[256];
    if (sx_cluster_start(options, &servers, error, sizeof error) != 0) fail_msg("%s", error);
    return servers;
}

static void expect_no_map(const char *nodes, sx_redis_mode mode, int32_t status, const char *why) {
    test_drive drive;
    test_drive_init(&drive);
    test_drive_open(&drive, mode, nodes);
    assert_false(test_drive_wait_map(&drive, 300));
    int32_t said;
    const char *text = sx_redis_cluster_last_error(drive.cluster, &said);
    if (said != status || strstr(text, why) == NULL) fail_msg("%d %s", said, text);
    test_drive_close(&drive);
}

static void unix_sockets(void **state) {
    (void)state;
    char path[] = "/tmp/strata-unix-XXXXXX", socket_path[64], nodes[128], reply[256];
    assert_non_null(mkdtemp(path));
    snprintf(socket_path, sizeof socket_path, "%s/redis.sock", path);
    snprintf(nodes, sizeof nodes, "unix:%s/none.sock, unix:%s", path, socket_path); /* the first seed is dead */
    const char *const extra[] = {"--unixsocket", socket_path, "--bind", "127.0.0.1", NULL};
    sx_cluster *server = start(&(sx_cluster_options){.primaries = 0, .extra = extra});
    test_drive drive;
    test_drive_init(&drive);
    test_drive_open(&drive, SX_REDIS_MODE_AUTO, nodes);
    assert_true(test_drive_wait_map(&drive, 2000));
    assert_int_equal(test_drive_call(&drive, "SET x 41", 1, 1000, NULL), SX_REDIS_OK);
    assert_int_equal(test_drive_call(&drive, "INCR x", 1, 1000, reply), SX_REDIS_OK);
    assert_string_equal(reply, ":42");
    assert_int_equal(test_drive_call(&drive, "SETRANGE big 33554431 x", 1, 5000, NULL), SX_REDIS_OK);
    assert_int_equal(test_drive_call(&drive, "GET big", 1, 20000, NULL), SX_REDIS_OK);
    assert_int_equal(sx_cluster_restart(server, 0), 0);
    assert_true(test_drive_call_until_ok(&drive, "SET x 1", 1, 5000));
    test_drive_close(&drive);
    sx_cluster_stop(server);
    snprintf(nodes, sizeof nodes, "unix:%s/none.sock", path);
    expect_no_map(nodes, SX_REDIS_MODE_AUTO, STRATA_E_UNAVAILABLE, "none.sock: no such file or directory");

    server = start(&(sx_cluster_options){.primaries = 1, .extra = extra}); /* a node of a cluster leads to others */
    snprintf(nodes, sizeof nodes, "unix:%s", socket_path);
    expect_no_map(nodes, SX_REDIS_MODE_AUTO, STRATA_E_CONFIG, "a node of a cluster, which a Unix socket alone can't lead to");
    sx_cluster_stop(server);
    (void)unlink(socket_path);
    assert_int_equal(rmdir(path), 0);
}

static void an_ipv6_address(void **state) {
    (void)state;
    const char *const extra[] = {"--bind", "127.0.0.1", "-::1", NULL};
    sx_cluster *server = start(&(sx_cluster_options){.primaries = 0, .extra = extra});
    struct sockaddr_in6 to = {.sin6_family = AF_INET6, .sin6_port = htons(sx_cluster_port(server, 0)), .sin6_addr = in6addr_loopback};
    int probe = socket(AF_INET6, SOCK_STREAM, 0);
    bool there = probe >= 0 && connect(probe, (const struct sockaddr *)&to, sizeof to) == 0;
    if (probe >= 0) close(probe);
    if (there) {
        char nodes[64];
        test_drive drive;
        test_drive_init(&drive);
        snprintf(nodes, sizeof nodes, "[::1]:%u", sx_cluster_port(server, 0));
        test_drive_open(&drive, SX_REDIS_MODE_AUTO, nodes);
        assert_true(test_drive_wait_map(&drive, 2000));
        assert_int_equal(test_drive_call(&drive, "PING", 0, 1000, NULL), SX_REDIS_OK);
        test_drive_close(&drive);
    }
    sx_cluster_stop(server);
    if (!there) skip(); /* a machine without IPv6 */
}

/* A name is looked up again for each attempt: the server that it leads to may be another. */
static void a_name_that_moves(void **state) {
    (void)state;
    sx_cluster *server = start(&(sx_cluster_options){.primaries = 0});
    char nodes[64];
    snprintf(nodes, sizeof nodes, "moving.test:%u", sx_cluster_port(server, 0));
    moving_to = 2; /* nobody is there */
    test_drive drive;
    test_drive_init(&drive);
    test_drive_open(&drive, SX_REDIS_MODE_AUTO, nodes);
    assert_false(test_drive_wait_map(&drive, 200));
    assert_non_null(strstr(sx_redis_cluster_last_error(drive.cluster, NULL), "moving.test:"));
    moving_to = 1;
    if (!test_drive_wait_map(&drive, 3000)) fail_msg("%s", sx_redis_cluster_last_error(drive.cluster, NULL));
    assert_true(test_drive_call_until_ok(&drive, "PING", 0, 2000));
    int before = lookups;
    assert_true(before >= 2);
    free(sx_cluster_command(server, 0, "CLIENT KILL TYPE normal"));
    test_drive_turn(&drive, 50);
    assert_true(test_drive_call_until_ok(&drive, "PING", 0, 2000));
    assert_true(lookups > before);
    test_drive_close(&drive);
    sx_cluster_stop(server);
}

static void all_nodes(sx_cluster *servers, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void all_nodes(sx_cluster *servers, const char *format, ...) {
    for (uint32_t i = 0; i < sx_cluster_node_count(servers); i++) {
        char line[128];
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(line, sizeof line, format, arguments);
        va_end(arguments);
        assert_true(sx_cluster_answers(servers, i, "OK", line));
    }
}

/* Every key is reached, and every node under the host that is wanted. */
static void expect_hosts(const char *seeds, const char *nat, const char *host) {
    test_drive drive;
    test_drive_init(&drive);
    drive.settings.nat = nat;
    test_drive_open(&drive, SX_REDIS_MODE_CLUSTER, seeds);
    assert_true(test_drive_wait_map(&drive, 3000));
    for (int i = 0; i < 20; i++) {
        char words[32];
        snprintf(words, sizeof words, "SET key%d x", i);
        assert_true(test_drive_call_until_ok(&drive, words, 1, 3000));
    }
    uint32_t primaries = 0;
    for (uint32_t i = 0; i < sx_redis_cluster_node_count(drive.cluster); i++) {
        const sx_redis_node *node = sx_redis_cluster_node(drive.cluster, i);
        if (node->primary && strcmp(node->address.host, host) != 0) fail_msg("%s is not %s", node->address.host, host);
        primaries += node->primary;
    }
    assert_int_equal(primaries, 3);
    test_drive_close(&drive);
}

static void what_a_cluster_tells_of_itself(void **state) {
    (void)state;
    sx_cluster *servers = start(&(sx_cluster_options){.primaries = 3});
    const char *seeds = sx_cluster_seeds(servers);
    char first[64], nat[512] = "";
    snprintf(first, sizeof first, "localhost:%u", sx_cluster_port(servers, 0));
    expect_hosts(first, NULL, "127.0.0.1");
    all_nodes(servers, "CONFIG SET cluster-preferred-endpoint-type unknown-endpoint"); /* as the one that was asked */
    expect_hosts(first, NULL, "localhost");
    all_nodes(servers, "CONFIG SET cluster-announce-hostname localhost");
    all_nodes(servers, "CONFIG SET cluster-preferred-endpoint-type hostname");
    test_drive waiting;
    test_drive_init(&waiting);
    test_drive_turn(&waiting, 1500); /* gossip */
    test_drive_close(&waiting);
    expect_hosts(seeds, NULL, "localhost");
    for (uint32_t i = 0; i < 3; i++) { /* names that nobody can look up */
        char line[128];
        snprintf(line, sizeof line, "CONFIG SET cluster-announce-hostname node-%u.invalid", i);
        assert_true(sx_cluster_answers(servers, i, "OK", line));
        snprintf(line, sizeof line, "%snode-%u.invalid:%u=127.0.0.1:%u", i == 0 ? "" : ", ", i, sx_cluster_port(servers, i),
                 sx_cluster_port(servers, i));
        strncat(nat, line, sizeof nat - strlen(nat) - 1);
    }
    test_drive_init(&waiting);
    test_drive_turn(&waiting, 1500);
    test_drive_close(&waiting);
    expect_hosts(seeds, nat, "127.0.0.1");

    /* A redirect's address is translated too. */
    uint16_t slot = 12182; /* foo */
    int owner = sx_cluster_owner(servers, slot);
    assert_true(owner >= 0);
    test_drive drive;
    test_drive_init(&drive);
    drive.settings.nat = nat;
    test_drive_open(&drive, SX_REDIS_MODE_CLUSTER, seeds);
    assert_true(test_drive_wait_map(&drive, 3000));
    assert_true(test_drive_call_until_ok(&drive, "DEL foo", 1, 3000));
    assert_int_equal(sx_cluster_slot_give(servers, slot, ((uint32_t)owner + 1) % 3), 0);
    assert_int_equal(test_drive_call(&drive, "SET foo x", 1, 3000, NULL), SX_REDIS_OK);
    assert_int_equal(sx_redis_metric_read(drive.cluster, SX_REDIS_METRIC_MOVED), 1);
    test_drive_close(&drive);
    sx_cluster_stop(servers);
}

static bool stats_have(sx_cluster *servers, const char *text) {
    bool found = false;
    for (uint32_t i = 0; i < sx_cluster_node_count(servers); i++) {
        char *stats = sx_cluster_command(servers, i, "INFO commandstats");
        found = found || strstr(stats, text) != NULL;
        free(stats);
    }
    return found;
}

/* CLUSTER SHARDS is asked; who refuses it is asked for SLOTS. */
static void how_the_map_is_asked_for(void **state) {
    (void)state;
    sx_cluster *servers = start(&(sx_cluster_options){.primaries = 3});
    expect_hosts(sx_cluster_seeds(servers), NULL, "127.0.0.1");
    assert_true(stats_have(servers, "cmdstat_cluster|shards:"));
    assert_false(stats_have(servers, "cmdstat_cluster|slots:"));
    all_nodes(servers, "ACL SETUSER default -cluster|shards");
    expect_hosts(sx_cluster_seeds(servers), NULL, "127.0.0.1");
    assert_true(stats_have(servers, "cmdstat_cluster|slots:"));
    sx_cluster_stop(servers);
}

static void bad_addresses_are_named(void **state) {
    (void)state;
    static const char *const bad[][2] = {
        {"unix:", "l2.nodes: 'unix:' is neither host:port nor unix:/path"},
        {"unix:relative.sock", "l2.nodes: 'unix:relative.sock'"},
        {"unix:/0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678", "l2.nodes"},
    };
    static const char *const bad_nat[] = {"a:1", "a:1=", "=b:1", "a:1=b", "a=b:1", "a:1=b:2,c", "a:1=b:0"};
    char error[300];
    test_drive drive;
    test_drive_init(&drive);
    sx_redis_cluster *cluster = NULL;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(sx_redis_cluster_create(drive.loop, &drive.settings, SX_REDIS_MODE_AUTO, bad[i][0], NULL, &cluster, error,
                                                 sizeof error), STRATA_E_CONFIG);
        if (strstr(error, bad[i][1]) == NULL) fail_msg("%s", error);
    }
    for (size_t i = 0; i < sizeof bad_nat / sizeof bad_nat[0]; i++) {
        drive.settings.nat = bad_nat[i];
        assert_int_equal(sx_redis_cluster_create(drive.loop, &drive.settings, SX_REDIS_MODE_AUTO, "a:1", NULL, &cluster, error,
                                                 sizeof error), STRATA_E_CONFIG);
        if (strstr(error, "l2.nat: '") == NULL) fail_msg("%s", error);
    }
    test_drive_close(&drive);
}

/* ---- credentials ---- */

typedef struct teller {
    const char *username, *password;
    int32_t status;
    int calls;
    char given_username[64], given_password[64];
} teller;

static int32_t tell(void *context, char *username, size_t username_size, char *password, size_t password_size) {
    teller *t = context;
    t->calls++;
    assert_int_equal(username_size, 257);
    assert_int_equal(password_size, 513);
    snprintf(t->given_username, sizeof t->given_username, "%s", username);
    snprintf(t->given_password, sizeof t->given_password, "%s", password);
    snprintf(username, username_size, "%s", t->username);
    snprintf(password, password_size, "%s", t->password);
    return t->status;
}

/* Turns until the last error is a refusal with that text. */
static const char *refused(test_drive *drive, const char *wanted) {
    int32_t status = STRATA_OK;
    const char *why = "";
    for (int i = 0; i < 400 && (status != STRATA_E_AUTH || strstr(why, wanted) == NULL); i++) {
        sx_loop_turn(drive->loop, 5);
        why = sx_redis_cluster_last_error(drive->cluster, &status);
    }
    if (status != STRATA_E_AUTH || strstr(why, wanted) == NULL) fail_msg("%d %s", status, why);
    assert_int_not_equal(test_drive_call(drive, "PING", 0, 200, NULL), SX_REDIS_OK);
    return why;
}

static void credentials_that_change(void **state) {
    (void)state;
    sx_cluster *server = start(&(sx_cluster_options){.primaries = 0, .password = "first"});
    assert_true(sx_cluster_answers(server, 0, "OK", "ACL SETUSER worker on >one ~* &* +@all"));
    teller t = {.username = "worker", .password = "one", .status = STRATA_OK};
    test_drive drive;
    test_drive_init(&drive);
    drive.settings.username = "fallback";
    drive.settings.password = "unused";
    drive.settings.login = tell;
    drive.settings.login_context = &t;
    test_drive_open(&drive, SX_REDIS_MODE_AUTO, sx_cluster_seeds(server));
    assert_true(test_drive_wait_map(&drive, 3000));
    char reply[256];
    assert_int_equal(test_drive_call(&drive, "ACL WHOAMI", 0, 2000, reply), SX_REDIS_OK);
    assert_string_equal(reply, "worker");
    assert_string_equal(t.given_username, "fallback");
    assert_string_equal(t.given_password, "unused");

    /* Another password: the server refuses the old one, until the program says the new one. */
    assert_true(sx_cluster_answers(server, 0, "OK", "ACL SETUSER worker resetpass >two"));
    free(sx_cluster_command(server, 0, "CLIENT KILL USER worker"));
    const char *why = refused(&drive, "WRONGPASS");
    assert_null(strstr(why, "one"));
    t.password = "two";
    int calls = t.calls;
    assert_true(test_drive_call_until_ok(&drive, "PING", 0, 5000));
    assert_true(t.calls > calls);

    t.status = STRATA_E_TIMEOUT; /* nothing to say now */
    free(sx_cluster_command(server, 0, "CLIENT KILL USER worker"));
    (void)refused(&drive, "the program's credentials: STRATA_E_TIMEOUT");
    t.status = STRATA_OK;
    assert_true(test_drive_call_until_ok(&drive, "PING", 0, 5000));
    test_drive_close(&drive);
    sx_cluster_stop(server);
}

int main(void) {
    if (!sx_cluster_available()) return 77;
    (void)signal(SIGPIPE, SIG_IGN); /* the loop's own thread blocks it */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unix_sockets),
        cmocka_unit_test(an_ipv6_address),
        cmocka_unit_test(a_name_that_moves),
        cmocka_unit_test(what_a_cluster_tells_of_itself),
        cmocka_unit_test(how_the_map_is_asked_for),
        cmocka_unit_test(bad_addresses_are_named),
        cmocka_unit_test(credentials_that_change),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
