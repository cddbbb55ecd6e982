/* SPDX-License-Identifier: Apache-2.0 */
/* Requests of one slot and turn go as one command, and each ends as if it had gone alone. ctest: timeout=300 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <strata/status.h>

#include "l2/redis/cluster_private.h"
#include "tests/support/cluster.h"
#include "tests/support/drive.h"

enum { COUNT = 8 };

static sx_cluster *servers;

static int start_servers(void **state) {
    (void)state;
    const sx_cluster_options options = {.primaries = 2};
    servers = test_cluster_start(&options);
    return 0;
}

static int stop_servers(void **state) {
    (void)state;
    sx_cluster_stop(servers);
    return 0;
}

/* ---- two kinds: GET as MGET, SET by a script that refuses the value "bad" ---- */

/* The arguments of a member's command from that one on. */
static void append(sx_command *command, const sx_redis_request *member, uint32_t from, uint32_t count) {
    const char *at = (const char *)member->command.args.data;
    for (uint32_t i = 0; i < from + count; i++) {
        size_t size = (size_t)strtoul(at + 1, (char **)(uintptr_t)&at, 10);
        at += 2;
        if (i >= from) sx_command_arg(command, at, size);
        at += size + 2;
    }
}

static void encode_gets(sx_redis_request *const *members, uint32_t count, const sx_redis_node *node, sx_command *command) {
    (void)node;
    sx_command_text(command, "MGET");
    for (uint32_t i = 0; i < count; i++) append(command, members[i], 1, 1);
}

static void encode_sets(sx_redis_request *const *members, uint32_t count, const sx_redis_node *node, sx_command *command) {
    (void)node;
    sx_command_int(command, count);
    for (uint32_t i = 0; i < count; i++) append(command, members[i], 1, 1);
    for (uint32_t i = 0; i < count; i++) append(command, members[i], 2, 1);
}

static const sx_resp *part(const sx_resp *reply, uint32_t count, uint32_t index, sx_resp scratch[3]) {
    scratch[0] = (sx_resp){.type = SX_RESP_NULL};
    return reply->type == SX_RESP_ARRAY && reply->count == count ? &reply->items[index] : NULL;
}

static sx_redis_script sets_script = {
    .text = "local out = {}\n"
            "for i, key in ipairs(KEYS) do\n"
            "  if ARGV[i] == 'bad' then out[i] = redis.error_reply('REFUSED it is bad')\n"
            "  elseif ARGV[i] ~= 'odd' then out[i] = redis.call('SET', key, ARGV[i]) end\n"
            "end\n"
            "return out"};
static const sx_redis_group_kind gets = {NULL, 16, 1000, encode_gets, part};
static const sx_redis_group_kind sets = {&sets_script, 16, 1000, encode_sets, part};

typedef struct several {
    test_drive *drive;
    test_request requests[COUNT];
} several;

static void open_it(test_drive *drive, sx_cluster *cluster) {
    test_drive_init(drive);
    drive->scripts[0] = &sets_script;
    test_drive_open(drive, SX_REDIS_MODE_AUTO, sx_cluster_seeds(cluster));
    assert_true(test_drive_wait_map(drive, 5000));
    assert_true(test_drive_call_until_ok(drive, "GET {g}0", 1, 3000));
    assert_true(test_drive_call_until_ok(drive, "GET {other}0", 1, 3000));
}

static int open_drive(void **state) {
    static test_drive drive;
    open_it(&drive, servers);
    *state = &drive;
    return 0;
}

static int close_drive(void **state) {
    test_drive_close(*state);
    return 0;
}

static void init(several *s, test_drive *drive, const sx_redis_group_kind *kind, const char *word, int timeout_ms) {
    s->drive = drive;
    for (int i = 0; i < COUNT; i++) {
        char words[64];
        snprintf(words, sizeof words, kind == &gets ? "GET {g}%d" : "SET {g}%d %s%d", i, word, i);
        test_request_init(drive, &s->requests[i], words, 1, timeout_ms);
        s->requests[i].request.group_kind = kind;
    }
}

static void submit(several *s) {
    for (int i = 0; i < COUNT; i++) test_request_submit(s->drive, &s->requests[i]);
}

static void expect(several *s, const char *word) {
    for (int i = 0; i < COUNT; i++) {
        char expected[64];
        snprintf(expected, sizeof expected, "%s%d", word, i);
        assert_int_equal(test_request_wait(s->drive, &s->requests[i]), SX_REDIS_OK);
        assert_string_equal(s->requests[i].reply, s->requests[i].request.group_kind == &gets ? expected : "OK");
        assert_true(s->requests[i].request.identity != 0);
    }
}

static void deinit(several *s) {
    for (int i = 0; i < COUNT; i++) test_request_deinit(&s->requests[i]);
}

static void all(test_drive *drive, const sx_redis_group_kind *kind, const char *word) {
    several s;
    init(&s, drive, kind, word, 3000);
    submit(&s);
    expect(&s, word);
    deinit(&s);
}

static int64_t commands(const test_drive *drive) { return sx_redis_metric_read(drive->cluster, SX_REDIS_METRIC_COMMANDS); }
static int64_t grouped(const test_drive *drive) { return sx_redis_metric_read(drive->cluster, SX_REDIS_METRIC_GROUPED); }

/* ---- */

static void a_turns_requests_of_a_slot_are_one_command(void **state) {
    test_drive *drive = *state;
    int64_t before = commands(drive);
    all(drive, &sets, "v");
    assert_int_equal(commands(drive), before + 1);
    all(drive, &gets, "v");
    assert_int_equal(commands(drive), before + 2);
    assert_int_equal(grouped(drive), 2 * COUNT);
}

static void who_is_alone_goes_as_it_would_without(void **state) {
    test_drive *drive = *state;
    test_request one;
    test_request_init(drive, &one, "SET {g}0 alone", 1, 3000);
    one.request.group_kind = &sets;
    test_request_submit(drive, &one);
    sx_loop_turn(drive->loop, 0); /* and at once */
    assert_int_equal(test_request_wait(drive, &one), SX_REDIS_OK);
    test_request_deinit(&one);
    assert_int_equal(grouped(drive), 0);
}

static void what_must_not_go_together_does_not(void **state) {
    test_drive *drive = *state;
    several s;
    init(&s, drive, &sets, "w", 3000);
    s.requests[1].request.group_tag = 7;
    for (int i = 2; i < 4; i++) s.requests[i].request.group_key = 1; /* as if of one key */
    s.requests[4].request.weight = 1001;
    s.requests[5].request.weight = 600;
    s.requests[6].request.weight = 600;
    int64_t before = commands(drive);
    submit(&s);
    expect(&s, "w");
    /* 0 | 1 | 2 | 3 | 4 alone | 5 | 6 7 */
    assert_int_equal(commands(drive), before + 7);
    assert_int_equal(grouped(drive), 2);
    deinit(&s);
    all(drive, &gets, "w");
}

static void writes_keep_their_order(void **state) {
    test_drive *drive = *state;
    several s;
    init(&s, drive, &sets, "first", 3000);
    submit(&s);
    test_request last;
    test_request_init(drive, &last, "APPEND {g}3 later", 1, 3000); /* goes alone, behind them */
    test_request_submit(drive, &last);
    expect(&s, "first");
    assert_int_equal(test_request_wait(drive, &last), SX_REDIS_OK);
    assert_string_equal(last.reply, ":11");
    test_request_deinit(&last);
    deinit(&s);
}

static void one_of_them_is_refused(void **state) {
    test_drive *drive = *state;
    several s;
    init(&s, drive, &sets, "x", 3000);
    test_request_deinit(&s.requests[5]);
    test_request_init(drive, &s.requests[5], "SET {g}5 bad", 1, 3000);
    s.requests[5].request.group_kind = &sets;
    submit(&s);
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(test_request_wait(drive, &s.requests[i]), i == 5 ? SX_REDIS_ERROR : SX_REDIS_OK);
        assert_string_equal(s.requests[i].reply, i == 5 ? "-REFUSED it is bad" : "OK");
    }
    deinit(&s);
}

static void an_answer_of_another_length_is_nobodys(void **state) {
    test_drive *drive = *state;
    several s;
    init(&s, drive, &sets, "x", 3000);
    test_request_deinit(&s.requests[COUNT - 1]);
    test_request_init(drive, &s.requests[COUNT - 1], "SET {g}7 odd", 1, 3000);
    s.requests[COUNT - 1].request.group_kind = &sets;
    submit(&s);
    for (int i = 0; i < COUNT; i++) assert_int_equal(test_request_wait(drive, &s.requests[i]), SX_REDIS_ERROR);
    deinit(&s);
}

static void a_group_follows_its_slot(void **state) {
    test_drive *drive = *state;
    uint16_t slot = (uint16_t)sx_key_slot("g", 1);
    uint32_t from = (uint32_t)sx_cluster_owner(servers, slot);
    for (int i = 0; i < COUNT; i++) {
        char *answer = sx_cluster_command(servers, from, "DEL {g}%d", i);
        free(answer);
    }
    assert_int_equal(sx_cluster_slot_give(servers, slot, 1 - from), 0);
    all(drive, &sets, "moved");
    assert_true(drive->redirects >= 1);
    all(drive, &gets, "moved");
    for (int i = 0; i < COUNT; i++) {
        char *answer = sx_cluster_command(servers, 1 - from, "DEL {g}%d", i);
        free(answer);
    }
    assert_int_equal(sx_cluster_slot_give(servers, slot, from), 0);
}

/* Half of the keys are here, the other half will be there: the server says TRYAGAIN to the group, not to any of it. */
static void a_group_is_split_where_its_slot_moves(void **state) {
    test_drive *drive = *state;
    uint16_t slot = (uint16_t)sx_key_slot("g", 1);
    uint32_t from = (uint32_t)sx_cluster_owner(servers, slot);
    for (int i = 0; i < COUNT; i++) {
        char *answer = i % 2 == 0 ? sx_cluster_command(servers, from, "SET {g}%d half%d", i, i)
                                  : sx_cluster_command(servers, from, "DEL {g}%d", i);
        free(answer);
    }
    assert_int_equal(sx_cluster_slot_migrating(servers, slot, 1 - from), 0);
    several s;
    init(&s, drive, &gets, "", 3000);
    submit(&s);
    for (int i = 0; i < COUNT; i++) {
        char expected[64];
        snprintf(expected, sizeof expected, "half%d", i);
        assert_int_equal(test_request_wait(drive, &s.requests[i]), SX_REDIS_OK);
        assert_string_equal(s.requests[i].reply, i % 2 == 0 ? expected : "nil");
    }
    assert_int_equal(drive->asks, COUNT / 2);
    deinit(&s);
    for (uint32_t node = 0; node < 2; node++) {
        char *answer = sx_cluster_command(servers, node, "CLUSTER SETSLOT %u STABLE", slot);
        assert_string_equal(answer, "OK");
        free(answer);
    }
}

static void a_group_survives_a_flush_of_scripts(void **state) {
    test_drive *drive = *state;
    uint32_t owner = (uint32_t)sx_cluster_owner(servers, (uint16_t)sx_key_slot("g", 1));
    assert_true(sx_cluster_answers(servers, owner, "OK", "SCRIPT FLUSH"));
    int64_t before = commands(drive);
    all(drive, &sets, "flushed");
    all(drive, &sets, "again");
    assert_int_equal(commands(drive), before + 3); /* by its sha, with its text, by its sha */
    assert_int_equal(sx_redis_metric_read(drive->cluster, SX_REDIS_METRIC_SCRIPT_RELOADS), 1);
    all(drive, &gets, "again");
}

static void without_the_right_to_read_several_each_goes_alone(void **state) {
    (void)state;
    sx_cluster *server = test_cluster_start(&(sx_cluster_options){0});
    test_drive drive;
    open_it(&drive, server);
    all(&drive, &sets, "r");
    assert_true(sx_cluster_answers(server, 0, "OK", "ACL SETUSER default -mget"));
    int64_t before = commands(&drive);
    all(&drive, &gets, "r");
    assert_int_equal(commands(&drive), before + 1 + COUNT);
    all(&drive, &gets, "r"); /* it is not asked again */
    assert_int_equal(commands(&drive), before + 1 + 2 * COUNT);
    test_drive_close(&drive);
    sx_cluster_stop(server);
}

static void deadlines_are_each_members_own(void **state) {
    (void)state;
    sx_cluster *server = test_cluster_start(&(sx_cluster_options){0});
    test_drive drive;
    open_it(&drive, server);
    several s;
    init(&s, &drive, &sets, "d", 3000);
    s.requests[2].request.deadline_ns = sx_loop_recent_ns(drive.loop);                   /* over before it is asked */
    s.requests[3].request.deadline_ns = sx_loop_now_ns(drive.loop) + 100 * SX_NS_PER_MS; /* while the server stands */
    assert_int_equal(sx_cluster_pause(server, 0), 0);
    submit(&s);
    assert_int_equal(test_request_wait(&drive, &s.requests[2]), SX_REDIS_TIMEOUT_UNTRIED);
    assert_int_equal(test_request_wait(&drive, &s.requests[3]), SX_REDIS_TIMEOUT_SENT);
    assert_int_equal(sx_cluster_resume(server, 0), 0);
    for (int i = 0; i < COUNT; i++)
        if (i != 2 && i != 3) assert_int_equal(test_request_wait(&drive, &s.requests[i]), SX_REDIS_OK);
    assert_int_equal(grouped(&drive), COUNT - 1);
    deinit(&s);
    init(&s, &drive, &gets, "d", 100); /* all of them give up: the answer, when it comes, goes nowhere */
    assert_int_equal(sx_cluster_pause(server, 0), 0);
    submit(&s);
    for (int i = 0; i < COUNT; i++) assert_int_equal(test_request_wait(&drive, &s.requests[i]), SX_REDIS_TIMEOUT_SENT);
    assert_int_equal(sx_cluster_resume(server, 0), 0);
    deinit(&s);
    char reply[256];
    assert_int_equal(test_drive_call(&drive, "GET {g}4", 1, 3000, reply), SX_REDIS_OK);
    assert_string_equal(reply, "d4");
    assert_int_equal(test_drive_call(&drive, "GET {g}2", 1, 3000, reply), SX_REDIS_OK);
    assert_string_equal(reply, "nil");
    test_drive_close(&drive);
    sx_cluster_stop(server);
}

static void a_lost_connection_is_each_members_loss(void **state) {
    (void)state;
    sx_cluster *server = test_cluster_start(&(sx_cluster_options){0});
    test_drive drive;
    open_it(&drive, server);
    several s;
    init(&s, &drive, &sets, "l", 3000);
    assert_int_equal(sx_cluster_pause(server, 0), 0);
    submit(&s);
    test_drive_turn(&drive, 50);
    assert_int_equal(sx_cluster_kill(server, 0), 0);
    for (int i = 0; i < COUNT; i++) assert_int_equal(test_request_wait(&drive, &s.requests[i]), SX_REDIS_LOST);
    deinit(&s);
    test_drive_close(&drive);
    sx_cluster_stop(server);
}

static void what_is_gathered_ends_with_the_cluster(void **state) {
    (void)state;
    test_drive drive;
    open_it(&drive, servers);
    several s;
    init(&s, &drive, &sets, "e", 3000);
    for (int i = 0; i < COUNT; i++) { /* its memory is the test's: it is used while all else is taken down */
        test_request_deinit(&s.requests[i]);
        sx_command_init(&s.requests[i].request.command, sx_alloc_default());
        sx_command_text(&s.requests[i].request.command, "SET");
        sx_command_text(&s.requests[i].request.command, "{g}e");
        sx_command_text(&s.requests[i].request.command, "e");
    }
    submit(&s);
    test_drive_close(&drive);
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(s.requests[i].ends, 1);
        assert_true(s.requests[i].outcome == SX_REDIS_CLOSED || s.requests[i].outcome == SX_REDIS_LOST);
    }
    deinit(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_turns_requests_of_a_slot_are_one_command, open_drive, close_drive),
        cmocka_unit_test_setup_teardown(who_is_alone_goes_as_it_would_without, open_drive, close_drive),
        cmocka_unit_test_setup_teardown(what_must_not_go_together_does_not, open_drive, close_drive),
        cmocka_unit_test_setup_teardown(writes_keep_their_order, open_drive, close_drive),
        cmocka_unit_test_setup_teardown(one_of_them_is_refused, open_drive, close_drive),
        cmocka_unit_test_setup_teardown(an_answer_of_another_length_is_nobodys, open_drive, close_drive),
        cmocka_unit_test_setup_teardown(a_group_follows_its_slot, open_drive, close_drive),
        cmocka_unit_test_setup_teardown(a_group_is_split_where_its_slot_moves, open_drive, close_drive),
        cmocka_unit_test_setup_teardown(a_group_survives_a_flush_of_scripts, open_drive, close_drive),
        cmocka_unit_test(without_the_right_to_read_several_each_goes_alone),
        cmocka_unit_test(deadlines_are_each_members_own),
        cmocka_unit_test(a_lost_connection_is_each_members_loss),
        cmocka_unit_test(what_is_gathered_ends_with_the_cluster),
    };
    return cmocka_run_group_tests(tests, start_servers, stop_servers);
}
