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
        "*1\r\n*3\r\n:0\r\n:4\r\n+h\r\n"};
    seen s;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (read_text(bad[i], &s)) fail_msg("'%s' was accepted", bad[i]);
    }
    assert_true(read_text("*0\r\n", &s));
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
        cmocka_unit_test(redirects),     cmocka_unit_test(confirmation),
        cmocka_unit_test(error_replies_and_rules),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
