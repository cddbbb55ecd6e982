/* SPDX-License-Identifier: Apache-2.0 */
/* The cluster object against a real cluster: the map, redirects, scripts, and nodes that go away. ctest: timeout=300 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include <strata/status.h>

#include "bench/cluster/cluster.h"
#include "core/key/key.h"
#include "tests/support/drive.h"

static sx_cluster *servers;

/* Every server command below is one that any test may rely on: the cluster is put right again by who breaks it. */
static int start_servers(void **state) {
    (void)state;
    char error[256];
    const sx_cluster_options options = {.primaries = 3, .replicas = 1, .node_timeout_ms = 1000};
    if (sx_cluster_start(&options, &servers, error, sizeof error) == 0) return 0;
    fprintf(stderr, "no cluster: %s\n", error);
    return -1;
}

static int stop_servers(void **state) {
    (void)state;
    sx_cluster_stop(servers);
    return 0;
}

static void say(uint32_t node, const char *expected, const char *words) {
    char *answer = sx_cluster_command(servers, node, "%s", words);
    if (strcmp(answer, expected) != 0) fail_msg("%s: %s, not %s", words, answer, expected);
    free(answer);
}

static void open_it(test_drive *drive) {
    test_drive_init(drive);
    test_drive_open(drive, SX_REDIS_MODE_AUTO, sx_cluster_seeds(servers));
    assert_true(test_drive_wait_map(drive, 5000));
    assert_true(sx_redis_cluster_is_cluster(drive->cluster));
}

static uint16_t slot_of(const char *key) { return (uint16_t)sx_key_slot(key, strlen(key)); }

static void reads_the_map(void **state) {
    (void)state;
    test_drive drive;
    open_it(&drive);
    for (int i = 0; i < 100 && sx_redis_cluster_node_count(drive.cluster) < 6; i++) {
        sx_redis_cluster_refresh(drive.cluster); /* a replica is listed once its offset has gone round */
        test_drive_turn(&drive, 100);
    }
    assert_int_equal(drive.topologies, 1); /* owners are the same all the time */
    assert_int_equal(sx_redis_cluster_node_count(drive.cluster), 6);
    for (uint32_t slot = 0; slot < SX_SLOTS; slot++) assert_non_null(sx_redis_cluster_owner(drive.cluster, (uint16_t)slot));
    sx_redis_node *first = sx_redis_cluster_owner(drive.cluster, 0);
    assert_string_equal(first->id, sx_cluster_node_id(servers, 0));
    assert_int_equal(first->address.port, sx_cluster_port(servers, 0));
    assert_true(first->primary);
    assert_true(sx_redis_cluster_server(drive.cluster)->cluster);
    assert_true(test_drive_call_until_ok(&drive, "SET a 1", 1, 2000));
    int64_t ms = sx_redis_cluster_server_ms(drive.cluster, sx_redis_cluster_owner(drive.cluster, slot_of("a")),
                                            sx_loop_now_ns(drive.loop));
    int64_t real_ms = (int64_t)time(NULL) * 1000;
    assert_true(ms > real_ms - 2000 && ms < real_ms + 3000);
    test_drive_close(&drive);
}

static void many_at_once(void **state) {
    (void)state;
    enum { COUNT = 10000 };
    test_drive drive;
    open_it(&drive);
    test_request *requests = calloc(COUNT, sizeof *requests);
    for (int i = 0; i < COUNT; i++) {
        char words[64];
        snprintf(words, sizeof words, "SET key:%d value:%d", i, i);
        test_request_init(&drive, &requests[i], words, 1, 10000);
        test_request_submit(&drive, &requests[i]);
    }
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(test_request_wait(&drive, &requests[i]), SX_REDIS_OK);
        test_request_deinit(&requests[i]);
    }
    for (int i = 0; i < COUNT; i++) {
        char words[64];
        snprintf(words, sizeof words, "GET key:%d", i);
        test_request_init(&drive, &requests[i], words, 1, 10000);
        test_request_submit(&drive, &requests[i]);
    }
    for (int i = 0; i < COUNT; i++) {
        char expected[64];
        snprintf(expected, sizeof expected, "value:%d", i);
        assert_int_equal(test_request_wait(&drive, &requests[i]), SX_REDIS_OK);
        assert_string_equal(requests[i].reply, expected);
        assert_true(requests[i].request.identity != 0);
        test_request_deinit(&requests[i]);
    }
    assert_int_equal(sx_redis_metric_read(drive.cluster, SX_REDIS_METRIC_MOVED), 0);
    free(requests);
    test_drive_close(&drive);
}

/* The least of five times: what else the loop does meanwhile allocates too. */
static int64_t allocations_of(test_drive *drive, const char *words) {
    int64_t least = INT64_MAX;
    for (int i = 0; i < 5; i++) {
        test_alloc_fail_at(&drive->alloc, 0); /* counts anew */
        assert_int_equal(test_drive_call(drive, words, 1, 5000, NULL), SX_REDIS_OK);
        int64_t calls = atomic_load(&drive->alloc.calls);
        if (calls < least) least = calls;
    }
    return least;
}

/* The buffer that the first one needed is kept for the next. */
static void a_megabyte_finds_its_buffer(void **state) {
    (void)state;
    test_drive drive;
    open_it(&drive);
    assert_true(test_drive_call_until_ok(&drive, "SETRANGE {big}1 1048575 x", 1, 5000));
    assert_true(test_drive_call_until_ok(&drive, "SET {big}2 small", 1, 2000));
    (void)allocations_of(&drive, "GET {big}1");
    int64_t small = allocations_of(&drive, "GET {big}2");
    assert_int_equal(allocations_of(&drive, "GET {big}1"), small);
    assert_true(test_drive_call_until_ok(&drive, "DEL {big}1", 1, 2000));
    assert_true(test_drive_call_until_ok(&drive, "DEL {big}2", 1, 2000));
    test_drive_close(&drive);
}

static void follows_moved(void **state) {
    (void)state;
    const char *key = "follows";
    test_drive drive;
    open_it(&drive);
    assert_int_equal(test_drive_call(&drive, "GET follows", 1, 2000, NULL), SX_REDIS_OK);
    int from = sx_cluster_owner(servers, slot_of(key));
    uint32_t to = ((uint32_t)from + 1) % 3;
    assert_int_equal(sx_cluster_slot_give(servers, slot_of(key), to), 0);
    int topologies = drive.topologies;
    assert_int_equal(test_drive_call(&drive, "SET follows 1", 1, 2000, NULL), SX_REDIS_OK);
    assert_true(drive.redirects >= 1);
    assert_true(drive.topologies > topologies);
    assert_string_equal(sx_redis_cluster_owner(drive.cluster, slot_of(key))->id, sx_cluster_node_id(servers, to));
    int redirects = drive.redirects; /* and goes there directly from now on */
    assert_int_equal(test_drive_call(&drive, "GET follows", 1, 2000, NULL), SX_REDIS_OK);
    assert_int_equal(drive.redirects, redirects);
    say(to, "1", "DEL follows");
    assert_int_equal(sx_cluster_slot_give(servers, slot_of(key), (uint32_t)from), 0);
    test_drive_close(&drive);
}

static void follows_ask_without_learning_it(void **state) {
    (void)state;
    const char *key = "asked";
    char reply[256], words[128];
    test_drive drive;
    open_it(&drive);
    assert_true(test_drive_call_until_ok(&drive, "GET asked", 1, 2000));
    int from = sx_cluster_owner(servers, slot_of(key));
    uint32_t to = ((uint32_t)from + 1) % 3;
    assert_int_equal(sx_cluster_slot_migrating(servers, slot_of(key), to), 0);
    assert_int_equal(test_drive_call(&drive, "SET asked moved", 1, 2000, NULL), SX_REDIS_OK);
    assert_int_equal(test_drive_call(&drive, "GET asked", 1, 2000, reply), SX_REDIS_OK);
    assert_string_equal(reply, "moved");
    assert_int_equal(drive.asks, 2);
    assert_string_equal(sx_redis_cluster_owner(drive.cluster, slot_of(key))->id,
                        sx_cluster_node_id(servers, (uint32_t)from));
    snprintf(words, sizeof words, "CLUSTER SETSLOT %u STABLE", slot_of(key));
    assert_int_equal(sx_cluster_slot_give(servers, slot_of(key), to), 0);
    say(to, "1", "DEL asked");
    assert_int_equal(sx_cluster_slot_give(servers, slot_of(key), (uint32_t)from), 0);
    test_drive_close(&drive);
}

static void tells_tryagain(void **state) {
    (void)state;
    test_drive drive;
    open_it(&drive);
    assert_true(test_drive_call_until_ok(&drive, "SET {try}1 here", 1, 2000));
    int from = sx_cluster_owner(servers, slot_of("{try}1"));
    uint32_t to = ((uint32_t)from + 1) % 3;
    assert_int_equal(sx_cluster_slot_migrating(servers, slot_of("{try}1"), to), 0);
    assert_int_equal(test_drive_call(&drive, "MGET {try}1 {try}2", 1, 2000, NULL), SX_REDIS_TRYAGAIN);
    char words[64];
    snprintf(words, sizeof words, "CLUSTER SETSLOT %u STABLE", slot_of("{try}1"));
    say((uint32_t)from, "OK", words);
    say(to, "OK", words);
    assert_int_equal(test_drive_call(&drive, "MGET {try}1 {try}2", 1, 2000, NULL), SX_REDIS_OK);
    test_drive_close(&drive);
}

static void scripts_survive_a_flush(void **state) {
    (void)state;
    static sx_redis_script script = {.text = "return redis.call('GET', KEYS[1])"};
    test_drive drive;
    test_drive_init(&drive);
    drive.scripts[0] = &script;
    test_drive_open(&drive, SX_REDIS_MODE_CLUSTER, sx_cluster_seeds(servers));
    assert_true(test_drive_wait_map(&drive, 5000));
    assert_true(test_drive_call_until_ok(&drive, "SET scripted yes", 1, 2000));
    assert_int_equal(strlen(script.sha), 40);
    for (int flushed = 0; flushed < 2; flushed++) {
        for (int read_only = 0; read_only < 2; read_only++) {
            test_request request;
            test_request_init(&drive, &request, "1 scripted", 1, 2000);
            request.request.script = &script;
            request.request.read_only = read_only == 1;
            test_request_submit(&drive, &request);
            assert_int_equal(test_request_wait(&drive, &request), SX_REDIS_OK);
            assert_string_equal(request.reply, "yes");
            test_request_deinit(&request);
        }
        if (flushed == 0) say((uint32_t)sx_cluster_owner(servers, slot_of("scripted")), "OK", "SCRIPT FLUSH");
    }
    assert_int_equal(sx_redis_metric_read(drive.cluster, SX_REDIS_METRIC_SCRIPT_RELOADS), 1);
    test_drive_close(&drive);
}

typedef struct confirmation {
    bool called;
    int32_t status;
} confirmation;

static void confirmed(void *context, int32_t status) {
    ((confirmation *)context)->called = true;
    ((confirmation *)context)->status = status;
}

static int32_t confirm(test_drive *drive, sx_redis_node *node) {
    confirmation answer = {false, 0};
    sx_redis_cluster_confirm(drive->cluster, node, sx_loop_now_ns(drive->loop) + SX_NS_PER_S, confirmed, &answer);
    assert_false(answer.called);
    for (int i = 0; i < 6000 && !answer.called; i++) sx_loop_turn(drive->loop, 5);
    assert_true(answer.called);
    return answer.status;
}

static void confirms_owners(void **state) {
    (void)state;
    test_drive drive;
    open_it(&drive);
    test_drive_turn(&drive, 100);
    sx_redis_node *node = sx_redis_cluster_owner(drive.cluster, 0);
    assert_int_equal(confirm(&drive, node), STRATA_OK);
    int from = sx_cluster_owner(servers, 0);
    uint32_t to = ((uint32_t)from + 1) % 3;
    assert_int_equal(sx_cluster_slot_give(servers, 0, to), 0);
    assert_int_equal(confirm(&drive, node), STRATA_E_REFUSED); /* our map still gives it slot 0 */
    assert_int_equal(sx_cluster_slot_give(servers, 0, (uint32_t)from), 0);
    test_drive_close(&drive);
}

static void a_killed_connection_comes_back(void **state) {
    (void)state;
    test_drive drive;
    open_it(&drive);
    assert_int_equal(test_drive_call(&drive, "SET victim 1", 1, 2000, NULL), SX_REDIS_OK);
    uint32_t owner = (uint32_t)sx_cluster_owner(servers, slot_of("victim"));
    test_request request; /* sent, and held by the server when the connection is killed */
    test_request_init(&drive, &request, "BLPOP victim:list{victim} 0", 1, 5000);
    request.request.slot = slot_of("victim");
    test_request_submit(&drive, &request);
    test_drive_turn(&drive, 50);
    char *killed = sx_cluster_command(servers, owner, "CLIENT KILL TYPE normal SKIPME yes");
    assert_true(atoi(killed) >= 1);
    free(killed);
    assert_int_equal(test_request_wait(&drive, &request), SX_REDIS_LOST);
    test_request_deinit(&request);
    assert_int_equal(test_drive_call(&drive, "GET victim", 1, 2000, NULL), SX_REDIS_OK); /* at once */
    test_drive_close(&drive);
}

static void an_idle_second_connection_survives_a_timeout(void **state) {
    (void)state;
    test_drive drive;
    open_it(&drive);
    test_request first, held, late;
    for (int i = 0; i < 500 && sx_redis_metric_read(drive.cluster, SX_REDIS_METRIC_BULK) == 0; i++) {
        test_request_init(&drive, &first, "GET idle", 1, 2000);
        first.request.bulk = true;
        test_request_submit(&drive, &first);
        assert_int_equal(test_request_wait(&drive, &first), SX_REDIS_OK);
        test_request_deinit(&first);
    }
    assert_true(sx_redis_metric_read(drive.cluster, SX_REDIS_METRIC_BULK) > 0);
    test_drive_turn(&drive, 1300); /* longer than a connect timeout */
    test_request_init(&drive, &held, "BLPOP list{idle} 0", 1, 8000);
    test_request_init(&drive, &late, "GET idle", 1, 100);
    held.request.bulk = late.request.bulk = true;
    test_request_submit(&drive, &held);
    test_request_submit(&drive, &late);
    assert_int_equal(test_request_wait(&drive, &late), SX_REDIS_TIMEOUT_SENT);
    assert_int_equal(test_drive_call(&drive, "LPUSH list{idle} 1", 1, 2000, NULL), SX_REDIS_OK);
    assert_int_equal(test_request_wait(&drive, &held), SX_REDIS_OK);
    test_request_deinit(&held);
    test_request_deinit(&late);
    test_drive_close(&drive);
}

static void a_paused_node_keeps_deadlines(void **state) {
    (void)state;
    enum { COUNT = 200 };
    test_drive drive;
    open_it(&drive);
    assert_int_equal(test_drive_call(&drive, "DEL paused", 1, 2000, NULL), SX_REDIS_OK);
    uint32_t owner = (uint32_t)sx_cluster_owner(servers, slot_of("paused"));
    static test_request requests[COUNT];
    char *value = malloc(65536);
    memset(value, 'v', 65535);
    value[65535] = '\0';
    char *words = malloc(65536 + 64);
    assert_int_equal(sx_cluster_pause(servers, owner), 0);
    int sent = 0, unsent = 0;
    for (int i = 0; i < COUNT; i++) { /* far more than a socket takes: most are never sent */
        snprintf(words, 65536 + 64, "APPEND paused %s", value);
        test_request_init(&drive, &requests[i], words, 1, 0);
    }
    for (int i = 0; i < COUNT; i++) {
        requests[i].request.deadline_ns = sx_loop_now_ns(drive.loop) + 200 * SX_NS_PER_MS;
        test_request_submit(&drive, &requests[i]);
        if (i % 50 == 49) sx_loop_turn(drive.loop, 0);
    }
    for (int i = 0; i < COUNT; i++) {
        sx_redis_outcome outcome = test_request_wait(&drive, &requests[i]);
        assert_true(outcome == SX_REDIS_TIMEOUT_SENT || outcome == SX_REDIS_TIMEOUT_UNSENT);
        sent += outcome == SX_REDIS_TIMEOUT_SENT;
        unsent += outcome == SX_REDIS_TIMEOUT_UNSENT;
        test_request_deinit(&requests[i]);
    }
    assert_true(sent > 0 && unsent > 0);
    assert_int_equal(sx_cluster_resume(servers, owner), 0);
    test_drive_turn(&drive, 100);
    /* What was never sent is never executed; the connection goes on where it was. */
    char reply[256];
    assert_true(test_drive_call_until_ok(&drive, "GET nothing{paused}", 1, 3000));
    assert_int_equal(test_drive_call(&drive, "STRLEN paused", 1, 2000, reply), SX_REDIS_OK);
    int appended = atoi(reply + 1) / 65535;
    if (appended > sent) fail_msg("%d executed, %d were said to be sent", appended, sent);
    assert_int_equal(sx_redis_metric_read(drive.cluster, SX_REDIS_METRIC_DISCONNECTS), 0);
    free(value);
    free(words);
    test_drive_close(&drive);
}

static void a_full_queue_refuses_at_once(void **state) {
    (void)state;
    test_drive drive;
    test_drive_init(&drive);
    drive.settings.queue_ops_max = 10;
    test_drive_open(&drive, SX_REDIS_MODE_AUTO, sx_cluster_seeds(servers));
    static test_request requests[30];
    int overloaded = 0;
    for (int i = 0; i < 30; i++) { /* first without a map */
        test_request_init(&drive, &requests[i], "GET full", 1, 2000);
        test_request_submit(&drive, &requests[i]);
    }
    for (int i = 0; i < 30; i++) {
        overloaded += test_request_wait(&drive, &requests[i]) == SX_REDIS_OVERLOADED;
        test_request_deinit(&requests[i]);
    }
    assert_int_equal(overloaded, 20);
    overloaded = 0;
    for (int i = 0; i < 30; i++) { /* then on a connection */
        test_request_init(&drive, &requests[i], "GET full", 1, 2000);
        test_request_submit(&drive, &requests[i]);
    }
    for (int i = 0; i < 30; i++) {
        overloaded += test_request_wait(&drive, &requests[i]) == SX_REDIS_OVERLOADED;
        test_request_deinit(&requests[i]);
    }
    assert_int_equal(overloaded, 20);
    test_drive_close(&drive);
}

static void encode_nothing(sx_redis_request *request, const sx_redis_node *node) { (void)request, (void)node; }

/* How many of ten are refused while there is no map yet. */
static int refused_of_ten(test_drive *drive, size_t held, size_t weight) {
    test_request requests[10];
    int overloaded = 0;
    for (int i = 0; i < 10; i++) {
        test_request_init(drive, &requests[i], "GET full", 1, 2000);
        requests[i].request.encode = encode_nothing;
        requests[i].request.held = held;
        requests[i].request.weight = weight;
        test_request_submit(drive, &requests[i]);
    }
    for (int i = 0; i < 10; i++) {
        overloaded += test_request_wait(drive, &requests[i]) == SX_REDIS_OVERLOADED;
        test_request_deinit(&requests[i]);
    }
    return overloaded;
}

static void a_queue_counts_what_is_held(void **state) {
    (void)state;
    static const struct { size_t held, weight; int refused; } cases[] = {
        {20000, 0, 7}, /* three fit, and what is refused leaves no trace in the count */
        {0, 20000, 0}, /* what is expected in return is not here yet */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        test_drive drive;
        test_drive_init(&drive);
        drive.settings.queue_bytes_max = 65536;
        test_drive_open(&drive, SX_REDIS_MODE_AUTO, sx_cluster_seeds(servers));
        assert_int_equal(refused_of_ten(&drive, cases[i].held, cases[i].weight), cases[i].refused);
        test_drive_close(&drive);
    }
}

static void a_killed_primary_is_replaced(void **state) {
    (void)state;
    test_drive drive;
    open_it(&drive);
    assert_int_equal(test_drive_call(&drive, "SET survivor 1", 1, 2000, NULL), SX_REDIS_OK);
    test_drive_turn(&drive, 100); /* replicated */
    sx_redis_node *old = sx_redis_cluster_owner(drive.cluster, slot_of("survivor"));
    assert_int_equal(sx_cluster_kill(servers, (uint32_t)sx_cluster_owner(servers, slot_of("survivor"))), 0);
    assert_true(test_drive_call_until_ok(&drive, "GET survivor", 1, 15000));
    assert_true(sx_redis_cluster_owner(drive.cluster, slot_of("survivor")) != old);
    char reply[256];
    assert_int_equal(test_drive_call(&drive, "GET survivor", 1, 2000, reply), SX_REDIS_OK);
    assert_string_equal(reply, "1");
    test_drive_close(&drive);
}

static void clusterdown_is_told(void **state) {
    (void)state;
    test_drive drive; /* a primary without a replica now: no full coverage any more */
    open_it(&drive);
    int victim = sx_cluster_owner(servers, slot_of("survivor"));
    assert_true(victim >= 0);
    assert_int_equal(sx_cluster_kill(servers, (uint32_t)victim), 0);
    bool told = false;
    int64_t until = sx_loop_now_ns(drive.loop) + 15 * SX_NS_PER_S;
    uint16_t other = 0; /* a slot of somebody alive */
    while (sx_redis_cluster_owner(drive.cluster, other) == sx_redis_cluster_owner(drive.cluster, slot_of("survivor"))) {
        other = (uint16_t)(other + 4096);
    }
    while (!told && sx_loop_now_ns(drive.loop) < until) {
        test_request request;
        test_request_init(&drive, &request, "DBSIZE", 0, 200);
        sx_command_clear(&request.request.command);
        char key[16];
        for (int i = 0;; i++) {
            snprintf(key, sizeof key, "k%d", i);
            if (sx_redis_cluster_owner(drive.cluster, slot_of(key)) == sx_redis_cluster_owner(drive.cluster, other)) break;
        }
        sx_command_text(&request.request.command, "GET");
        sx_command_text(&request.request.command, key);
        request.request.slot = slot_of(key);
        test_request_submit(&drive, &request);
        told = test_request_wait(&drive, &request) == SX_REDIS_CLUSTERDOWN;
        test_request_deinit(&request);
        test_drive_turn(&drive, 20);
    }
    assert_true(told);
    test_drive_close(&drive);
}

int main(void) {
    if (!sx_cluster_available()) return 77;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_the_map),
        cmocka_unit_test(many_at_once),
        cmocka_unit_test(a_megabyte_finds_its_buffer),
        cmocka_unit_test(follows_moved),
        cmocka_unit_test(follows_ask_without_learning_it),
        cmocka_unit_test(tells_tryagain),
        cmocka_unit_test(scripts_survive_a_flush),
        cmocka_unit_test(confirms_owners),
        cmocka_unit_test(a_killed_connection_comes_back),
        cmocka_unit_test(an_idle_second_connection_survives_a_timeout),
        cmocka_unit_test(a_paused_node_keeps_deadlines),
        cmocka_unit_test(a_full_queue_refuses_at_once),
        cmocka_unit_test(a_queue_counts_what_is_held),
        cmocka_unit_test(a_killed_primary_is_replaced),
        cmocka_unit_test(clusterdown_is_told), /* last: nothing works after it */
    };
    return cmocka_run_group_tests(tests, start_servers, stop_servers);
}
