/* SPDX-License-Identifier: Apache-2.0 */
/* Topology texts and error replies: what is meant, what is refused, and that every outcome has a sound rule. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <strata/status.h>

#include "l2/redis/cluster_private.h"
#include "tests/support/drive.h"

#define ID "0123456789012345678901234567890123456789"

static const sx_redis_address ASKED = {.host = "10.0.0.1", .port = 7000};

typedef struct seen {
    int count;
    sx_redis_range last;
} seen;

static bool keep(void *context, const sx_redis_range *range) {
    seen *s = context;
    s->count++;
    s->last = *range;
    return true;
}

static bool read_text(const char *text, seen *s) {
    const sx_resp_limits limits = {.depth_max = 8, .elements_max = 1000, .bulk_bytes_max = 1000};
    sx_resp_parser *parser;
    assert_int_equal(sx_resp_parser_create(sx_alloc_default(), &limits, &parser), STRATA_OK);
    size_t consumed, wanted;
    const sx_resp *value;
    memset(s, 0, sizeof *s);
    assert_int_equal(sx_resp_parse(parser, (const uint8_t *)text, strlen(text), &consumed, &wanted, &value), STRATA_OK);
    bool ok = sx_redis_slots_read(value, &ASKED, keep, s);
    sx_resp_parser_destroy(parser);
    return ok;
}

static void endpoints(void **state) {
    (void)state;
    static const struct {
        const char *host, *expected; /* NULL: not usable */
    } cases[] = {{"+10.0.0.9\r\n", "10.0.0.9"}, {"_\r\n", "10.0.0.1"},  {"$-1\r\n", "10.0.0.1"}, {"$0\r\n\r\n", "10.0.0.1"},
                 {"+?\r\n", NULL},              {"+::1\r\n", "::1"},    {"+node-1.example\r\n", "node-1.example"},
                 {"$3\r\na b\r\n", NULL}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[256];
        seen s;
        snprintf(text, sizeof text, "*1\r\n*3\r\n:0\r\n:100\r\n*3\r\n%s:7001\r\n+" ID "\r\n", cases[i].host);
        assert_true(read_text(text, &s));
        assert_int_equal(s.count, cases[i].expected != NULL);
        if (cases[i].expected == NULL) continue;
        assert_string_equal(s.last.address.host, cases[i].expected);
        assert_true(s.last.address.port == 7001 && s.last.first == 0 && s.last.last == 100 && s.last.primary);
        assert_string_equal(s.last.id, ID);
    }
    seen s; /* unknown to the server, but its metadata has an address */
    assert_true(read_text("*1\r\n*3\r\n:0\r\n:1\r\n*4\r\n+?\r\n:1\r\n+a\r\n%1\r\n+ip\r\n+10.1.1.1\r\n", &s));
    assert_string_equal(s.last.address.host, "10.1.1.1");
}

static void malformed_maps_are_refused(void **state) {
    (void)state;
    static const char *const bad[] = {
        "+OK\r\n", ":1\r\n", "_\r\n", "*1\r\n:1\r\n", "*1\r\n*2\r\n:0\r\n:1\r\n",
        "*1\r\n*3\r\n:0\r\n:16384\r\n*3\r\n+h\r\n:1\r\n+a\r\n", "*1\r\n*3\r\n:5\r\n:4\r\n*3\r\n+h\r\n:1\r\n+a\r\n",
        "*1\r\n*3\r\n:-1\r\n:4\r\n*3\r\n+h\r\n:1\r\n+a\r\n", "*1\r\n*3\r\n:0\r\n:4\r\n*2\r\n+h\r\n:1\r\n",
        "*1\r\n*3\r\n:0\r\n:4\r\n*3\r\n+h\r\n:65536\r\n+a\r\n", "*1\r\n*3\r\n:0\r\n:4\r\n*3\r\n:1\r\n:1\r\n+a\r\n",
        "*1\r\n*3\r\n:0\r\n:4\r\n*3\r\n+h\r\n:1\r\n+\r\n", "*1\r\n*3\r\n:0\r\n:4\r\n*3\r\n+h\r\n:1\r\n+" ID "x\r\n",
        "*1\r\n*3\r\n:0\r\n:4\r\n+h\r\n",
        "*2\r\n*3\r\n:0\r\n:16383\r\n*3\r\n+h\r\n:1\r\n+a\r\n*3\r\n:4\r\n:4\r\n*3\r\n+h\r\n:1\r\n+a\r\n"};
    seen s;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (read_text(bad[i], &s)) fail_msg("'%s' was accepted", bad[i]);
    }
    assert_true(read_text("*0\r\n", &s));
}

/* ---- CLUSTER SHARDS ---- */

#define NODE(id, endpoint, role, health) \
    "%7\r\n+id\r\n+" id "\r\n+port\r\n:7001\r\n+tls-port\r\n:7002\r\n+ip\r\n+10.2.2.2\r\n+endpoint\r\n" endpoint "\r\n+role\r\n+" role \
    "\r\n+health\r\n+" health "\r\n"
#define SHARD(slots, nodes) "%2\r\n+slots\r\n" slots "+nodes\r\n" nodes

typedef struct owners {
    char of_3[SX_REDIS_ID_MAX], of_9[SX_REDIS_ID_MAX];
    sx_redis_address at_3;
    int primaries, others;
} owners;

static bool note_owner(void *context, const sx_redis_range *range) {
    owners *o = context;
    *(range->primary ? &o->primaries : &o->others) += 1;
    if (!range->primary) return true;
    if (range->first <= 3 && 3 <= range->last) {
        memcpy(o->of_3, range->id, sizeof o->of_3);
        o->at_3 = range->address;
    }
    if (range->first <= 9 && 9 <= range->last) memcpy(o->of_9, range->id, sizeof o->of_9);
    return true;
}

static bool read_shards(const char *text, bool tls, owners *o) {
    const sx_resp_limits limits = {.depth_max = 8, .elements_max = 1000, .bulk_bytes_max = 1000};
    sx_resp_parser *parser;
    assert_int_equal(sx_resp_parser_create(sx_alloc_default(), &limits, &parser), STRATA_OK);
    size_t consumed, wanted;
    const sx_resp *value;
    memset(o, 0, sizeof *o);
    assert_int_equal(sx_resp_parse(parser, (const uint8_t *)text, strlen(text), &consumed, &wanted, &value), STRATA_OK);
    bool ok = sx_redis_shards_read(value, &ASKED, tls, note_owner, o);
    sx_resp_parser_destroy(parser);
    return ok;
}

static void shards(void **state) {
    (void)state;
    owners o;
    /* Two ranges, a replica, and a shard that holds nothing. */
    const char *usual = "*2\r\n" SHARD("*4\r\n:0\r\n:5\r\n:8\r\n:10\r\n",
                                       "*2\r\n" NODE("aa", "+h1", "replica", "online") NODE("bb", "+h2", "master", "online"))
        SHARD("*0\r\n", "*1\r\n" NODE("cc", "+h3", "master", "online"));
    assert_true(read_shards(usual, false, &o));
    assert_string_equal(o.of_3, "bb");
    assert_string_equal(o.of_9, "bb");
    assert_string_equal(o.at_3.host, "h2");
    assert_true(o.primaries == 2 && o.others == 1 && o.at_3.port == 7001);
    assert_true(read_shards(usual, true, &o));
    assert_int_equal(o.at_3.port, 7002);
    /* After a failover the old primary may still be told as one: failed. */
    assert_true(read_shards("*1\r\n" SHARD("*2\r\n:0\r\n:9\r\n", "*2\r\n" NODE("aa", "+h1", "master", "online")
                                           NODE("bb", "+h2", "master", "fail")), false, &o));
    assert_string_equal(o.of_3, "aa");
    assert_true(read_shards("*1\r\n" SHARD("*2\r\n:0\r\n:9\r\n", "*1\r\n" NODE("bb", "+h2", "master", "fail")), false, &o));
    assert_string_equal(o.of_3, "bb");
    assert_false(read_shards("*1\r\n" SHARD("*2\r\n:0\r\n:9\r\n", "*2\r\n" NODE("aa", "+h1", "master", "online")
                                            NODE("bb", "+h2", "master", "online")), false, &o));
    assert_false(read_shards("*1\r\n" SHARD("*2\r\n:0\r\n:9\r\n", "*1\r\n" NODE("bb", "+h2", "replica", "online")), false, &o));
    /* Slots told from the first node, which owns none any more. */
    assert_false(read_shards("*1\r\n" SHARD("*0\r\n", "*2\r\n" NODE("aa", "+h1", "master", "fail")
                                            NODE("bb", "+h2", "master", "online")), false, &o));
    assert_true(read_shards("*1\r\n" SHARD("*0\r\n", "*2\r\n" NODE("aa", "+h1", "replica", "online")
                                           NODE("bb", "+h2", "master", "online")), false, &o));
    static const char *const hosts[][2] = {{"_", "10.0.0.1"}, {"+", "10.0.0.1"}, {"+?", "10.2.2.2"}, {"+::1", "::1"}};
    static const char before[] = "*1\r\n%2\r\n+slots\r\n*2\r\n:3\r\n:3\r\n+nodes\r\n*1\r\n%5\r\n+id\r\n+x\r\n+port\r\n:1\r\n+ip\r\n"
                                 "+10.2.2.2\r\n+role\r\n+master\r\n+endpoint\r\n";
    for (size_t i = 0; i < sizeof hosts / sizeof hosts[0]; i++) {
        char text[512];
        snprintf(text, sizeof text, "%s%s\r\n", before, hosts[i][0]);
        assert_true(read_shards(text, false, &o));
        assert_string_equal(o.at_3.host, hosts[i][1]);
    }
}

static void malformed_shards_are_refused(void **state) {
    (void)state;
    static const char *const bad[] = {
        "+OK\r\n", "*1\r\n:1\r\n", "*1\r\n%0\r\n", "*1\r\n" SHARD("+x\r\n", "*0\r\n"), "*1\r\n" SHARD("*1\r\n:1\r\n", "*0\r\n"),
        "*1\r\n" SHARD("*2\r\n:0\r\n:9\r\n", "+x\r\n"), "*1\r\n" SHARD("*2\r\n:0\r\n:9\r\n", "*0\r\n"),
        "*1\r\n" SHARD("*2\r\n:0\r\n:16384\r\n", "*1\r\n" NODE("aa", "+h1", "master", "online")),
        "*1\r\n" SHARD("*2\r\n:9\r\n:8\r\n", "*1\r\n" NODE("aa", "+h1", "master", "online")),
        "*1\r\n" SHARD("*4\r\n:0\r\n:16383\r\n:9\r\n:9\r\n", "*1\r\n" NODE("aa", "+h1", "master", "online")),
        "*2\r\n" SHARD("*2\r\n:0\r\n:16383\r\n", "*1\r\n" NODE("aa", "+h1", "master", "online"))
            SHARD("*2\r\n:0\r\n:0\r\n", "*1\r\n" NODE("bb", "+h2", "master", "online")),
        "*1\r\n" SHARD("*2\r\n+x\r\n:8\r\n", "*1\r\n" NODE("aa", "+h1", "master", "online")),
        "*1\r\n" SHARD("*2\r\n:0\r\n:9\r\n", "*1\r\n" NODE("", "+h1", "master", "online")),
        "*1\r\n" SHARD("*2\r\n:0\r\n:9\r\n", "*1\r\n" NODE(ID "x", "+h1", "master", "online")),
        "*1\r\n" SHARD("*2\r\n:0\r\n:9\r\n", "*1\r\n:1\r\n"),
        "*1\r\n" SHARD("*2\r\n:0\r\n:9\r\n", "*1\r\n%2\r\n+id\r\n+a\r\n+port\r\n:1\r\n"),
        "*1\r\n" SHARD("*2\r\n:0\r\n:9\r\n", "*1\r\n%3\r\n+id\r\n+a\r\n+port\r\n:65536\r\n+role\r\n+master\r\n"),
    };
    owners o;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (read_shards(bad[i], false, &o)) fail_msg("%zu was accepted", i);
    }
    assert_true(read_shards("*0\r\n", false, &o));
}

/* A map is taken from SHARDS only where it has all slots; SLOTS says whether the others have no owner. */
static void shards_that_lack_slots_are_no_map(void **state) {
    (void)state;
    static const struct {
        const char *text;
        bool whole;
    } cases[] = {
        {"*2\r\n" SHARD("*2\r\n:0\r\n:16382\r\n", "*1\r\n" NODE("aa", "+127.0.0.1", "master", "online"))
             SHARD("*0\r\n", "*1\r\n" NODE("bb", "+127.0.0.2", "master", "online")), false},
        {"*1\r\n" SHARD("*2\r\n:0\r\n:16383\r\n", "*1\r\n" NODE("aa", "+127.0.0.1", "master", "online")), true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        test_drive drive;
        test_drive_init(&drive);
        test_drive_open(&drive, SX_REDIS_MODE_CLUSTER, "127.0.0.1:1");
        const sx_resp_limits limits = {.depth_max = 8, .elements_max = 1000, .bulk_bytes_max = 1000};
        sx_resp_parser *parser;
        assert_int_equal(sx_resp_parser_create(sx_alloc_default(), &limits, &parser), STRATA_OK);
        size_t consumed, wanted;
        const sx_resp *value;
        assert_int_equal(sx_resp_parse(parser, (const uint8_t *)cases[i].text, strlen(cases[i].text), &consumed, &wanted, &value),
                         STRATA_OK);
        assert_int_equal(sx_redis_map_apply(drive.cluster, value, true, &ASKED), cases[i].whole);
        assert_int_equal(sx_redis_cluster_has_map(drive.cluster), cases[i].whole);
        sx_resp_parser_destroy(parser);
        test_drive_close(&drive);
    }
}

/* ---- what a server is ---- */

static void capabilities(void **state) {
    (void)state;
    static const struct {
        const char *info, *product;
        uint32_t version;
        bool seven; /* all that came with Redis 7.0 */
    } cases[] = {
        {"# Server\r\nredis_version:6.0.20\r\n", "Redis", 0x060014, false},
        {"# Server\r\nredis_version:6.2.14\r\nredis_git_sha1:0\r\n", "Redis", 0x06020e, false},
        {"# Server\r\nredis_version:7.0.0\r\n", "Redis", 0x070000, true},
        {"# Server\r\nredis_version:7.4.2\r\n", "Redis", 0x070402, true},
        {"# Server\r\nredis_version:8.2.1\r\n", "Redis", 0x080201, true},
        {"redis_version:255.255.255\n", "Redis", 0xffffff, true},
        {"# Server\r\nredis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:7.2.5\r\n", "Valkey", 0x070205, true},
        {"# Server\r\nredis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:8.1.3\r\n", "Valkey", 0x080103, true},
        {"# Server\r\nredis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:9.0.0-rc1\r\n", "Valkey", 0x090000, true},
        {"redis_version:unstable\r\n", "Redis", 0, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        sx_resp info = {.type = SX_RESP_STRING, .size = strlen(cases[i].info), .text = cases[i].info};
        sx_redis_server server = {.cluster = true};
        assert_true(sx_redis_server_read(&info, &server));
        assert_string_equal(server.product, cases[i].product);
        assert_int_equal(server.version, cases[i].version);
        assert_true(server.cluster);
        assert_int_equal(server.sharded_pubsub, cases[i].seven);
        assert_int_equal(server.eval_ro, cases[i].seven);
        assert_int_equal(server.set_nx_get, cases[i].seven);
        assert_int_equal(server.cluster_shards, cases[i].seven);
    }
    sx_redis_server server;
    sx_resp none = {.type = SX_RESP_STRING, .size = 11, .text = "run_id:abc\n"};
    assert_false(sx_redis_server_read(&none, &server));
    none.type = SX_RESP_INTEGER;
    assert_false(sx_redis_server_read(&none, &server));
}

static bool redirect(const char *text, bool *asking, uint16_t *slot, sx_redis_address *out) {
    sx_resp error = {.type = SX_RESP_ERROR, .size = strlen(text), .text = text};
    return sx_redis_redirect_read(&error, "10.0.0.1", asking, slot, out);
}

static void redirects(void **state) {
    (void)state;
    bool asking;
    uint16_t slot;
    sx_redis_address to;
    assert_true(redirect("MOVED 3999 127.0.0.1:6381", &asking, &slot, &to));
    assert_true(!asking && slot == 3999 && to.port == 6381);
    assert_string_equal(to.host, "127.0.0.1");
    assert_true(redirect("ASK 16383 ::1:6381", &asking, &slot, &to));
    assert_true(asking && slot == 16383);
    assert_string_equal(to.host, "::1");
    assert_true(redirect("MOVED 1 :6381", &asking, &slot, &to));
    assert_string_equal(to.host, "10.0.0.1");
    static const char *const bad[] = {"MOVED", "MOVED ", "MOVED 1", "MOVED 1 ", "MOVED 16384 h:1", "MOVED -1 h:1", "MOVED x h:1",
                                      "MOVED 1 h", "MOVED 1 h:", "MOVED 1 h:0", "MOVED 1 h:65536", "MOVED 1 ?:1",
                                      "MOVED 1 a\tb:1", "MOVEDX 1 h:1", "ASKED 1 h:1", "ERR MOVED 1 h:1", ""};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (redirect(bad[i], &asking, &slot, &to)) fail_msg("'%s' was accepted", bad[i]);
    }
}

static void confirmation(void **state) {
    (void)state;
    static uint16_t owner[SX_SLOTS];
    for (int i = 0; i <= 100; i++) owner[i] = 1;
    owner[200] = 1;
    static const struct {
        const char *line;
        bool yes;
    } cases[] = {
        {ID " h:1@2 master - 0 0 1 connected 0-100 200\n", true},
        {ID " h:1@2 master - 0 0 1 connected 0-100 200 [300->-abc]\r\n", true},
        {"x h:1@2 slave " ID " 0 0 1 connected\n" ID " h:1@2 master - 0 0 1 connected 0-16383\n", true},
        {ID " h:1@2 master - 0 0 1 connected 0-100\n", false},
        {ID " h:1@2 master - 0 0 1 connected 0-99 200\n", false},
        {ID " h:1@2 master,fail - 0 0 1 connected 0-100 200\n", false},
        {ID " h:1@2 master,fail? - 0 0 1 connected 0-100 200\n", false},
        {ID " h:1@2 slave x 0 0 1 connected 0-100 200\n", false},
        {ID " h:1@2 master - 0 0 1 connected 0-100 99999\n", false},
        {ID " h:1@2 master - 0 0 1 connected 0-100 2x0\n", false},
        {ID "\n", false}, {"", false}, {"\n\n \n", false},
        {"x " ID " master - 0 0 1 connected 0-16383\n", false},
        /* Who hears no majority of the primaries with slots knows nothing of what that decides. */
        {"x h:1@2 master,fail? - 0 0 1 connected 300\n" ID " h:1@2 master - 0 0 1 connected 0-100 200\n", false},
        {"x h:1@2 master,fail? - 0 0 1 connected\n" ID " h:1@2 master - 0 0 1 connected 0-100 200\n", true},
        {"x h:1@2 master,fail? - 0 0 1 connected [300-<-abc]\n" ID " h:1@2 master - 0 0 1 connected 0-100 200\n", true},
        {"x h:1@2 slave,fail? - 0 0 1 connected 300\n" ID " h:1@2 master - 0 0 1 connected 0-100 200\n", true},
        {"x h:1@2 master,fail - 0 0 1 connected 300\ny h:1@2 master - 0 0 1 connected 400\n" ID
         " h:1@2 master - 0 0 1 connected 0-100 200\n", true},
        {ID " h:1@2 master - 0 0 1 connected 0-100 200\nx h:1@2 master,fail - 0 0 1 connected 300\n"
         "y h:1@2 master,fail? - 0 0 1 connected 400\n", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (sx_redis_nodes_confirm(cases[i].line, strlen(cases[i].line), ID, owner, 1) != cases[i].yes) {
            fail_msg("'%s'", cases[i].line);
        }
    }
}

static void error_replies_and_rules(void **state) {
    (void)state;
    static const struct {
        const char *text;
        sx_redis_outcome outcome;
        int32_t status;
        bool executed, retry;
    } cases[] = {
        {"ERR wrong", SX_REDIS_ERROR, STRATA_E_REFUSED, true, false},
        {"WRONGTYPE x", SX_REDIS_ERROR, STRATA_E_REFUSED, true, false},
        {"TRYAGAIN x", SX_REDIS_TRYAGAIN, STRATA_E_L2_DOWN, false, true},
        {"CLUSTERDOWN x", SX_REDIS_CLUSTERDOWN, STRATA_E_L2_DOWN, false, true},
        {"LOADING x", SX_REDIS_LOADING, STRATA_E_L2_DOWN, false, true},
        {"MASTERDOWN x", SX_REDIS_MASTERDOWN, STRATA_E_L2_DOWN, false, true},
        {"READONLY x", SX_REDIS_READONLY, STRATA_E_L2_DOWN, false, true},
        {"BUSY x", SX_REDIS_BUSY, STRATA_E_L2_DOWN, false, true},
        {"BUSYKEY x", SX_REDIS_ERROR, STRATA_E_REFUSED, true, false},
        {"OOM x", SX_REDIS_OOM, STRATA_E_L2_FULL, false, false},
        {"NOREPLICAS x", SX_REDIS_NOREPLICAS, STRATA_E_L2_DOWN, false, true},
        {"MISCONF x", SX_REDIS_NOREPLICAS, STRATA_E_L2_DOWN, false, true},
        {"NOAUTH x", SX_REDIS_NOAUTH, STRATA_E_AUTH, false, false},
        {"NOPERM x", SX_REDIS_NOPERM, STRATA_E_AUTH, false, false},
        {"", SX_REDIS_ERROR, STRATA_E_REFUSED, true, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        sx_resp error = {.type = SX_RESP_ERROR, .size = strlen(cases[i].text), .text = cases[i].text};
        assert_int_equal(sx_redis_outcome_of_error(&error), cases[i].outcome);
        const sx_redis_rule *rule = sx_redis_rule_of(cases[i].outcome);
        assert_int_equal(rule->status, cases[i].status);
        assert_int_equal(rule->executed, cases[i].executed);
        assert_int_equal(rule->retry, cases[i].retry);
    }
    for (int i = 0; i <= SX_REDIS_CLOSED; i++) assert_non_null(sx_redis_rule_of((sx_redis_outcome)i)->name);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(endpoints),     cmocka_unit_test(malformed_maps_are_refused),
        cmocka_unit_test(shards),
        cmocka_unit_test(malformed_shards_are_refused),
        cmocka_unit_test(shards_that_lack_slots_are_no_map),
        cmocka_unit_test(capabilities),
        cmocka_unit_test(redirects),     cmocka_unit_test(confirmation),
        cmocka_unit_test(error_replies_and_rules),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
