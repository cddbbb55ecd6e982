/* SPDX-License-Identifier: Apache-2.0 */
/* The store over real servers: reads are retried inside their deadline, writes never executed twice, breakers per node. */
// ctest: timeout=300
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <strata/status.h>

#include "core/key/key.h"
#include "l2/store.h"
#include "tests/support/cluster.h"
#include "tests/support/drive.h"

typedef struct operation {
    sx_store_op op;
    test_alloc *alloc;
    int ends;
    int32_t status;
    int64_t ended_ns;
    int64_t began_us; /* what the machine had taken from this thread */
    char reply[64];
} operation;

static const sx_breaker_limits LIMITS = {5, SX_NS_PER_S}, LONG = {5, 10 * SX_NS_PER_S};
static const sx_store_settings SETTINGS = {.retry_base_ns = 2 * SX_NS_PER_MS, .retry_max_ns = 50 * SX_NS_PER_MS, .breaker = &LIMITS};

static void op_done(sx_store_op *op, int32_t status, const sx_resp *reply) {
    operation *o = (operation *)(void *)op;
    o->ends++;
    o->status = status;
    o->ended_ns = sx_clock_now_ns(&(sx_clock){NULL, NULL});
    if (reply != NULL && (reply->type == SX_RESP_STRING || reply->type == SX_RESP_ERROR)) {
        snprintf(o->reply, sizeof o->reply, "%.*s", (int)(reply->size < 60 ? reply->size : 60), reply->text);
    }
}

static void submit(test_drive *drive, sx_store *store, operation *o, bool write, int timeout_ms, const char *verb,
                   const char *key, const char *value) {
    memset(o, 0, sizeof *o);
    o->began_us = test_delay_us(0);
    sx_redis_request *request = &o->op.request;
    sx_command_init(&request->command, &drive->alloc.table);
    sx_command_text(&request->command, verb);
    sx_command_text(&request->command, key);
    if (value != NULL) sx_command_text(&request->command, value);
    request->slot = (uint16_t)sx_key_slot(key, strlen(key));
    request->deadline_ns = sx_loop_now_ns(drive->loop) + timeout_ms * SX_NS_PER_MS;
    o->op.write = write;
    o->op.done = op_done;
    sx_store_submit_on_loop(store, &o->op);
    assert_int_equal(o->ends, 0);
}

static int32_t wait(test_drive *drive, operation *o) {
    const int64_t until_ns = o->op.request.deadline_ns + 5 * SX_NS_PER_S;
    while (o->ends == 0 && sx_loop_now_ns(drive->loop) < until_ns) sx_loop_turn(drive->loop, 5);
    assert_int_equal(o->ends, 1);
    assert_true(test_drive_in_time(o->op.request.deadline_ns, o->ended_ns, o->began_us));
    sx_command_deinit(&o->op.request.command);
    return o->status;
}

static int32_t call(test_drive *drive, sx_store *store, bool write, int timeout_ms, const char *verb, const char *key,
                    const char *value) {
    operation o;
    submit(drive, store, &o, write, timeout_ms, verb, key, value);
    return wait(drive, &o);
}

static sx_cluster *server_start(void) {
    const sx_cluster_options options = {.primaries = 0};
    return test_cluster_start(&options);
}

static sx_store *open_store_with(test_drive *drive, const char *nodes, const sx_store_settings *settings) {
    sx_store *store = NULL;
    test_drive_init(drive);
    drive->settings.connect_timeout_ns = 300 * SX_NS_PER_MS;
    test_drive_open(drive, SX_REDIS_MODE_AUTO, nodes);
    assert_int_equal(sx_store_create(drive->loop, &drive->alloc.table, drive->cluster, settings, &store), STRATA_OK);
    assert_true(test_drive_wait_map(drive, 3000));
    return store;
}

static sx_store *open_store(test_drive *drive, const char *nodes) { return open_store_with(drive, nodes, &SETTINGS); }

static void close_store(test_drive *drive, sx_store *store) {
    sx_store_stop_on_loop(store);
    sx_store_destroy(store);
    test_drive_close(drive);
}

static void lost_reads_are_retried_and_lost_writes_are_not(void **state) {
    (void)state;
    sx_cluster *server = server_start();
    test_drive drive;
    sx_store *store = open_store(&drive, sx_cluster_seeds(server));
    assert_int_equal(call(&drive, store, true, 1000, "SET", "k", "v"), STRATA_OK);
    test_drive_turn(&drive, 1100); /* stable: a lost connection is opened again at once */
    operation read, write;
    /* Both are held by the server when their connection is killed; the read is answered by its retry. */
    submit(&drive, store, &write, true, 3000, "BLPOP", "list", "0");
    submit(&drive, store, &read, false, 3000, "GET", "k", NULL);
    test_drive_turn(&drive, 50);
    free(sx_cluster_command(server, 0, "CLIENT KILL TYPE normal SKIPME yes"));
    assert_int_equal(wait(&drive, &write), STRATA_E_UNKNOWN_OUTCOME);
    assert_int_equal(wait(&drive, &read), STRATA_OK);
    assert_string_equal(read.reply, "v");
    assert_true(sx_store_metric_read(store, SX_STORE_METRIC_RETRIES) >= 1);
    assert_int_equal(sx_store_metric_read(store, SX_STORE_METRIC_UNKNOWN_OUTCOMES), 1);
    close_store(&drive, store);
    sx_cluster_stop(server);
}

/* A write that is refused and tried again until its deadline. Where the deadline falls into an attempt, that attempt's fate
   is what is told; any other time the refusal is. */
static void expect_down(test_drive *drive, sx_store *store) {
    int32_t status = STRATA_E_TIMEOUT;
    for (int i = 0; i < 8 && status != STRATA_E_L2_DOWN; i++) {
        status = call(drive, store, true, 300, "SET", "k", "w");
        assert_true(status == STRATA_E_L2_DOWN || status == STRATA_E_TIMEOUT || status == STRATA_E_UNKNOWN_OUTCOME);
    }
    assert_int_equal(status, STRATA_E_L2_DOWN);
}

static void error_replies_have_their_status(void **state) {
    (void)state;
    sx_cluster *server = server_start();
    test_drive drive;
    sx_store *store = open_store(&drive, sx_cluster_seeds(server));
    assert_int_equal(call(&drive, store, true, 1000, "SET", "k", "v"), STRATA_OK);
    assert_int_equal(call(&drive, store, false, 1000, "LLEN", "k", NULL), STRATA_E_REFUSED);
    free(sx_cluster_command(server, 0, "CONFIG SET maxmemory 1"));
    assert_int_equal(call(&drive, store, true, 1000, "SET", "k", "w"), STRATA_E_L2_FULL);
    free(sx_cluster_command(server, 0, "CONFIG SET maxmemory 0"));
    free(sx_cluster_command(server, 0, "CONFIG SET min-replicas-to-write 1"));
    expect_down(&drive, store); /* NOREPLICAS, retried in vain */
    assert_true(sx_store_metric_read(store, SX_STORE_METRIC_RETRIES) >= 1);
    free(sx_cluster_command(server, 0, "CONFIG SET min-replicas-to-write 0"));
    free(sx_cluster_command(server, 0, "ACL SETUSER default -set"));
    assert_int_equal(call(&drive, store, true, 1000, "SET", "k", "w"), STRATA_E_AUTH); /* NOPERM */
    free(sx_cluster_command(server, 0, "ACL SETUSER default +set"));
    free(sx_cluster_command(server, 0, "REPLICAOF 127.0.0.1 1"));
    expect_down(&drive, store); /* READONLY */
    free(sx_cluster_command(server, 0, "REPLICAOF NO ONE"));
    assert_int_equal(call(&drive, store, true, 1000, "SET", "k", "w"), STRATA_OK);
    close_store(&drive, store);
    sx_cluster_stop(server);
}

static void a_paused_server_opens_its_breaker(void **state) {
    (void)state;
    sx_cluster *server = server_start();
    test_drive drive;
    sx_store *store = open_store(&drive, sx_cluster_seeds(server));
    assert_int_equal(call(&drive, store, true, 1000, "SET", "k", "v"), STRATA_OK);
    assert_int_equal(sx_cluster_pause(server, 0), 0);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(sx_store_breaker_on_loop(store, 0), SX_BREAKER_CLOSED);
        bool write = i == 0; /* sent and not answered: nobody knows */
        assert_int_equal(call(&drive, store, write, 100, write ? "SET" : "GET", "k", write ? "w" : NULL),
                         write ? STRATA_E_UNKNOWN_OUTCOME : STRATA_E_TIMEOUT);
    }
    assert_int_equal(sx_store_breaker_on_loop(store, 0), SX_BREAKER_OPEN);
    assert_int_equal(sx_store_metric_read(store, SX_STORE_METRIC_BREAKERS_OPEN), 1);
    int64_t refusals = sx_store_metric_read(store, SX_STORE_METRIC_BREAKER_REFUSALS);
    assert_int_equal(call(&drive, store, false, 200, "GET", "k", NULL), STRATA_E_UNAVAILABLE); /* at once: it is not even sent */
    assert_int_equal(sx_store_metric_read(store, SX_STORE_METRIC_BREAKER_REFUSALS), refusals + 1);
    assert_int_equal(sx_cluster_resume(server, 0), 0);
    test_drive_turn(&drive, 1050);
    assert_int_equal(call(&drive, store, false, 1000, "GET", "k", NULL), STRATA_OK); /* the probe */
    assert_int_equal(sx_store_breaker_on_loop(store, 0), SX_BREAKER_CLOSED);
    assert_int_equal(sx_store_metric_read(store, SX_STORE_METRIC_BREAKERS_OPEN), 0);
    assert_true(sx_store_metric_read(store, SX_STORE_METRIC_BREAKER_REFUSALS) >= 1);
    close_store(&drive, store);
    sx_cluster_stop(server);
}

/* A server that refuses connections: who waited for an attempt and who came after it tell of the same one. */
static void an_attempt_is_one_fault(void **state) {
    (void)state;
    const sx_store_settings settings = {.retry_base_ns = 60 * SX_NS_PER_MS, .retry_max_ns = 60 * SX_NS_PER_MS, .breaker = &LONG};
    sx_cluster *server = server_start();
    test_drive drive;
    sx_store *store = open_store_with(&drive, sx_cluster_seeds(server), &settings);
    assert_int_equal(call(&drive, store, true, 1000, "SET", "k", "v"), STRATA_OK);
    const sx_redis_node *node = sx_redis_cluster_owner(drive.cluster, 0);
    assert_int_equal(sx_cluster_kill(server, 0), 0);
    test_drive_turn(&drive, 20);
    assert_int_equal(call(&drive, store, false, 20000, "GET", "k", NULL), STRATA_E_UNAVAILABLE);
    assert_int_equal(sx_store_breaker_on_loop(store, 0), SX_BREAKER_OPEN);
    assert_true(node->attempts_failed >= 5);
    close_store(&drive, store);
    sx_cluster_stop(server);
}

/* Operations whose time is over before the next attempt is due have nothing to tell of the server. */
static void between_attempts_is_no_fault(void **state) {
    (void)state;
    const sx_store_settings settings = {.retry_base_ns = 2 * SX_NS_PER_MS, .retry_max_ns = 2 * SX_NS_PER_MS, .breaker = &LONG};
    sx_cluster *server = server_start();
    test_drive drive;
    sx_store *store = open_store_with(&drive, sx_cluster_seeds(server), &settings);
    assert_int_equal(call(&drive, store, true, 1000, "SET", "k", "v"), STRATA_OK);
    const sx_redis_node *node = sx_redis_cluster_owner(drive.cluster, 0);
    assert_int_equal(sx_cluster_kill(server, 0), 0);
    test_drive_turn(&drive, 20);
    int late = 0;
    while (node->attempts_failed < 4) {
        int32_t status = call(&drive, store, false, 8, "GET", "k", NULL);
        assert_true(status == STRATA_E_TIMEOUT || status == STRATA_E_UNAVAILABLE);
        late += status == STRATA_E_TIMEOUT;
        if (node->attempts_failed < 5)
            assert_int_equal(sx_store_breaker_on_loop(store, 0), SX_BREAKER_CLOSED);
    }
    assert_true(late > 0);
    close_store(&drive, store);
    sx_cluster_stop(server);
}

static void retries_have_a_budget(void **state) {
    (void)state;
    enum { COUNT = 2000 };
    sx_cluster *server = server_start();
    test_drive drive;
    sx_store *store = open_store(&drive, sx_cluster_seeds(server));
    free(sx_cluster_command(server, 0, "CONFIG SET min-replicas-to-write 1")); /* which closes no connection */
    operation *many = calloc(COUNT, sizeof *many);
    int64_t began_ns = sx_loop_now_ns(drive.loop);
    for (int i = 0; i < COUNT; i++) submit(&drive, store, &many[i], true, 6000, "SET", "k", "w"); /* NOREPLICAS */
    for (int i = 0; i < COUNT; i++) assert_true(wait(&drive, &many[i]) < 0);
    int64_t took_ns = sx_loop_now_ns(drive.loop) - began_ns;
    int64_t most = COUNT + SX_STORE_TOKENS + took_ns / (SX_NS_PER_S / SX_STORE_TOKENS_PER_S) + 1;
    assert_in_range(sx_store_metric_read(store, SX_STORE_METRIC_RETRIES), COUNT, most);
    assert_true(sx_store_metric_read(store, SX_STORE_METRIC_RETRIES_REFUSED) > 0);
    free(many);
    close_store(&drive, store);
    sx_cluster_stop(server);
}

static void stopping_ends_what_waits(void **state) {
    (void)state;
    sx_cluster *server = server_start();
    test_drive drive;
    sx_store *store = open_store(&drive, sx_cluster_seeds(server));
    assert_int_equal(call(&drive, store, true, 1000, "SET", "k", "v"), STRATA_OK);
    sx_cluster_kill(server, 0);
    test_drive_turn(&drive, 20);
    operation waiting, later;
    submit(&drive, store, &waiting, false, 5000, "GET", "k", NULL);
    test_drive_turn(&drive, 10);
    sx_store_stop_on_loop(store);
    submit(&drive, store, &later, false, 5000, "GET", "k", NULL);
    assert_int_equal(wait(&drive, &later), STRATA_E_CLOSED);
    int32_t status = wait(&drive, &waiting);
    assert_true(status == STRATA_E_CLOSED || status == STRATA_E_UNAVAILABLE);
    sx_store_destroy(store);
    test_drive_close(&drive);
    sx_cluster_stop(server);
}

int main(void) {
    if (!sx_cluster_available()) return 77;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lost_reads_are_retried_and_lost_writes_are_not),
        cmocka_unit_test(error_replies_have_their_status),
        cmocka_unit_test(a_paused_server_opens_its_breaker),
        cmocka_unit_test(an_attempt_is_one_fault),
        cmocka_unit_test(between_attempts_is_no_fault),
        cmocka_unit_test(retries_have_a_budget),
        cmocka_unit_test(stopping_ends_what_waits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
