/* SPDX-License-Identifier: Apache-2.0 */
/* Driving a cluster object by hand, for the tests of l2. */
#include "tests/support/drive.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <strata/status.h>

#include "core/key/key.h"

static void count_topology(void *context) { ((test_drive *)context)->topologies++; }

static void count_redirect(void *context, uint16_t slot, bool asking) {
    test_drive *drive = context;
    assert_true(slot < SX_SLOTS);
    drive->redirects++;
    if (asking) drive->asks++;
}

static void count_stop(void *context) { ((test_drive *)context)->stopped = true; }

void test_drive_init(test_drive *drive) {
    memset(drive, 0, sizeof *drive);
    test_alloc_init(&drive->alloc);
    drive->settings = (sx_redis_settings){.alloc = &drive->alloc.table, .clock = &drive->clock, .log = &drive->log,
                                          .username = "", .password = "", .client_name = "strata-test",
                                          .connect_timeout_ns = SX_NS_PER_S,
                                          .limits = {.depth_max = 8, .elements_max = 1 << 20, .bulk_bytes_max = 64 << 20},
                                          .queue_bytes_max = 64 << 20, .queue_ops_max = 65536,
                                          .scripts = drive->scripts};
    assert_int_equal(sx_loop_create(&drive->alloc.table, &drive->clock, &drive->log, &drive->loop), STRATA_OK);
}

void test_drive_open(test_drive *drive, sx_redis_mode mode, const char *nodes) {
    const sx_redis_cluster_events events = {drive, count_topology, count_redirect};
    int32_t status = sx_redis_cluster_create(drive->loop, &drive->settings, mode, nodes, &events, &drive->cluster,
                                             drive->error, sizeof drive->error);
    if (status != STRATA_OK) fail_msg("create: %s", drive->error);
    sx_redis_cluster_start_on_loop(drive->cluster);
}

static bool before(test_drive *drive, int64_t until_ns) { return sx_loop_now_ns(drive->loop) < until_ns; }

bool test_drive_wait_map(test_drive *drive, int wait_ms) {
    int64_t until = sx_loop_now_ns(drive->loop) + wait_ms * SX_NS_PER_MS;
    while (!sx_redis_cluster_has_map(drive->cluster) && before(drive, until)) sx_loop_turn(drive->loop, 5);
    return sx_redis_cluster_has_map(drive->cluster);
}

void test_drive_turn(test_drive *drive, int for_ms) {
    int64_t until = sx_loop_now_ns(drive->loop) + for_ms * SX_NS_PER_MS;
    while (before(drive, until)) sx_loop_turn(drive->loop, 2);
}

void test_drive_close(test_drive *drive) {
    if (drive->cluster != NULL) {
        sx_redis_cluster_stop_on_loop(drive->cluster, count_stop, drive);
        int64_t until = sx_loop_now_ns(drive->loop) + 10 * SX_NS_PER_S;
        while (!drive->stopped && before(drive, until)) sx_loop_turn(drive->loop, 5);
        assert_true(drive->stopped);
        sx_redis_cluster_destroy(drive->cluster);
    }
    sx_loop_destroy(drive->loop);
    test_alloc_check_empty(&drive->alloc);
}

static void keep_reply(test_request *request, const sx_resp *reply) {
    size_t size = sizeof request->reply;
    request->reply[0] = '\0';
    if (reply == NULL) return;
    int shown = (int)(reply->size < 200 ? reply->size : 200);
    switch (reply->type) {
    case SX_RESP_NULL: snprintf(request->reply, size, "nil"); break;
    case SX_RESP_STRING: snprintf(request->reply, size, "%.*s", shown, reply->text); break;
    case SX_RESP_ERROR: snprintf(request->reply, size, "-%.*s", shown, reply->text); break;
    case SX_RESP_INTEGER: snprintf(request->reply, size, ":%lld", (long long)reply->integer); break;
    default: snprintf(request->reply, size, "*%u", reply->count); break;
    }
}

static void request_done(sx_redis_request *inner, sx_redis_outcome outcome, const sx_resp *reply) {
    test_request *request = (test_request *)(void *)((char *)inner - offsetof(test_request, request));
    request->ended = true;
    request->ends++;
    request->outcome = outcome;
    request->ended_ns = sx_clock_now_ns(&(sx_clock){NULL, NULL});
    keep_reply(request, reply);
}

void test_request_init(test_drive *drive, test_request *request, const char *words, int key, int timeout_ms) {
    memset(request, 0, sizeof *request);
    sx_redis_request *inner = &request->request;
    sx_command_init(&inner->command, &drive->alloc.table);
    int count = 0;
    for (const char *at = words; *at != '\0'; count++) {
        size_t size = strcspn(at, " ");
        sx_command_arg(&inner->command, at, size);
        if (count == key && key > 0) inner->slot = (uint16_t)sx_key_slot(at, size);
        at += size + (at[size] == ' ' ? 1 : 0);
    }
    inner->done = request_done;
    inner->deadline_ns = sx_loop_now_ns(drive->loop) + timeout_ms * SX_NS_PER_MS;
}

bool test_drive_in_time(int64_t deadline_ns, int64_t ended_ns, int64_t began_us) {
    int64_t taken_us = test_delay_us(0) - began_us;
    return ended_ns - deadline_ns <= TEST_DEADLINE_SLACK_NS + taken_us * SX_NS_PER_US;
}

void test_request_submit(test_drive *drive, test_request *request) {
    request->began_us = test_delay_us(0);
    sx_redis_cluster_submit(drive->cluster, &request->request);
    assert_false(request->ended); /* never inside submit */
}

sx_redis_outcome test_request_wait(test_drive *drive, test_request *request) {
    int64_t until = request->request.deadline_ns + 5 * SX_NS_PER_S;
    while (!request->ended && before(drive, until)) sx_loop_turn(drive->loop, 5);
    assert_true(request->ended);
    assert_int_equal(request->ends, 1);
    assert_true(test_drive_in_time(request->request.deadline_ns, request->ended_ns, request->began_us));
    return request->outcome;
}

void test_request_deinit(test_request *request) { sx_command_deinit(&request->request.command); }

sx_redis_outcome test_drive_call(test_drive *drive, const char *words, int key, int timeout_ms, char *reply) {
    test_request request;
    test_request_init(drive, &request, words, key, timeout_ms);
    test_request_submit(drive, &request);
    sx_redis_outcome outcome = test_request_wait(drive, &request);
    if (reply != NULL) memcpy(reply, request.reply, sizeof request.reply);
    test_request_deinit(&request);
    return outcome;
}

bool test_drive_call_until_ok(test_drive *drive, const char *words, int key, int wait_ms) {
    int64_t until = sx_loop_now_ns(drive->loop) + wait_ms * SX_NS_PER_MS;
    while (before(drive, until)) {
        if (test_drive_call(drive, words, key, 200, NULL) == SX_REDIS_OK) return true;
        test_drive_turn(drive, 10);
    }
    return false;
}
