/* SPDX-License-Identifier: Apache-2.0 */
/* A real server, the scripts, and one key of theirs: what the tests of scripts share. */
#ifndef SX_TESTS_COHERENCE_SCRIPTS_H
#define SX_TESTS_COHERENCE_SCRIPTS_H

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include <strata/status.h>

#include "bench/cluster/cluster.h"
#include "coherence/message.h"
#include "coherence/publish.h"
#include "tests/support/talk.h"

#define P 256

static sx_cluster *server;
static sx_key_tags *tags;
static sx_publish_scripts scripts;
static sx_publish publish;
static test_talk *wire;      /* writes */
static test_talk *listener;  /* subscribed to the key's channel */
static sx_publish_key key;
static sx_command command;
static char value_name[128], counter_name[64], channel_name[64];
static const uint8_t tail[] = "\xcf\x01\x02\x03\x04\x05\x06\x07\x08" "rest of it";
#define TAIL (sizeof tail - 1)

static inline void name_of(char *out, void (*write)(sx_buf *, const sx_key_tags *, uint32_t)) {
    sx_buf buf;
    sx_buf_init(&buf, sx_alloc_default());
    write(&buf, tags, key.partition);
    memcpy(out, buf.data, buf.size);
    out[buf.size] = '\0';
    sx_buf_deinit(&buf);
}

static inline void prepare_key(void) {
    sx_publish_scripts_init(&scripts);
    assert_int_equal(sx_key_tags_create(sx_alloc_default(), P, &tags), STRATA_OK);
    key = (sx_publish_key){.ns = "user", .ns_size = 4, .ns_version = 3, .key = "alice", .key_size = 5};
    key.partition = sx_key_partition(key.key, key.key_size, P);
    publish = (sx_publish){.alloc = sx_alloc_default(), .tags = tags, .sharded = false, .set_nx_get = true};
    name_of(counter_name, sx_key_name_counter);
    name_of(channel_name, sx_key_name_channel);
    snprintf(value_name, sizeof value_name, "{%s}s1:user:3:alice", tags->tags[key.partition].text);
    sx_command_init(&command, sx_alloc_default());
}

static inline const sx_resp *say(const char *verb, const char *name) {
    char words[256];
    snprintf(words, sizeof words, "%s %s", verb, name);
    return test_talk_say(wire, words);
}

static inline void listen_at(uint16_t port) {
    char words[128];
    listener = test_talk_open(port, true);
    snprintf(words, sizeof words, "%s %s", publish.sharded ? "SSUBSCRIBE" : "SUBSCRIBE", channel_name);
    assert_int_equal(test_talk_say(listener, words)->type, SX_RESP_PUSH);
}

static inline int setup(void **state) {
    (void)state;
    char error[256] = "";
    if (!sx_cluster_available()) skip();
    if (sx_cluster_start(&(sx_cluster_options){0}, &server, error, sizeof error) != 0) fail_msg("%s", error);
    prepare_key();
    wire = test_talk_open(sx_cluster_port(server, 0), false);
    listen_at(sx_cluster_port(server, 0));
    return 0;
}

static inline int teardown(void **state) {
    (void)state;
    sx_command_deinit(&command);
    test_talk_close(wire);
    test_talk_close(listener);
    sx_key_tags_destroy(tags);
    sx_cluster_stop(server);
    return 0;
}

/* An empty server, whatever the test before did. */
static inline int clean(void **state) {
    (void)state;
    assert_true(sx_resp_is_text(test_talk_say(wire, "CONFIG SET maxmemory 0"), "OK"));
    assert_true(sx_resp_is_text(test_talk_say(wire, "FLUSHALL"), "OK"));
    while (test_talk_read(listener, 0) != NULL) {}
    return 0;
}

/* ---- what the tests look at ---- */

static inline int64_t server_us(void) {
    const sx_resp *time = test_talk_say(wire, "TIME");
    uint64_t s = 0, us = 0;
    assert_true(sx_resp_to_uint(&time->items[0], &s) && sx_resp_to_uint(&time->items[1], &us));
    return (int64_t)s * 1000000 + (int64_t)us;
}

static inline sx_publish_write write_of(bool set) {
    return (sx_publish_write){.key = key, .id = 0x0102030405060708, .ttl_ms = set ? 60000 : 0,
                              .tail = set ? tail : NULL, .tail_size = set ? TAIL : 0};
}

/* *ms: written_at, as it is stored. */
/* What the value says of when it was written. */
static inline int64_t stored_ms(void) {
    char words[160];
    snprintf(words, sizeof words, "GETRANGE %s 12 19", value_name);
    const sx_resp *at = test_talk_say(wire, words);
    int64_t ms = 0;
    for (size_t i = 0; i < at->size; i++) ms = ms * 256 + (uint8_t)at->text[i];
    return ms;
}

static inline sx_publish_verdict do_write(const sx_publish_write *write, uint64_t *n, int64_t *ms) {
    int64_t unknown;
    sx_publish_encode_write(&publish, write, &command);
    sx_publish_verdict verdict = sx_publish_decode(test_talk_call(wire, &command, &scripts.write), n, &unknown);
    if (verdict != SX_PUBLISH_DONE) return verdict;
    assert_int_equal(unknown, -1);
    *ms = write->key.what == SX_PUBLISH_VALUE ? stored_ms() : 0;
    return verdict;
}

static inline uint64_t must_write(bool set) {
    uint64_t n = 0;
    int64_t ms = 0;
    sx_publish_write write = write_of(set);
    assert_int_equal(do_write(&write, &n, &ms), SX_PUBLISH_DONE);
    return n;
}

static inline bool next_message(sx_message *out) {
    const sx_resp *push = test_talk_read(listener, 300);
    if (push == NULL) return false;
    assert_int_equal(push->type, SX_RESP_PUSH);
    assert_true(sx_resp_is_text(&push->items[0], publish.sharded ? "smessage" : "message"));
    assert_int_equal(sx_message_decode(push->items[2].text, push->items[2].size, out), STRATA_OK);
    return true;
}

static inline bool nothing_published(void) { return test_talk_read(listener, 50) == NULL; }
static inline bool is_there(void) { return say("EXISTS", value_name)->integer == 1; }

static inline uint64_t counter(void) {
    uint64_t n = 0;
    char words[128];
    snprintf(words, sizeof words, "HGET %s n", counter_name);
    const sx_resp *reply = test_talk_say(wire, words);
    if (reply->type == SX_RESP_NULL) return 0;
    assert_true(sx_resp_to_uint(reply, &n));
    return n;
}

static inline void assert_stored(uint64_t n, int64_t ms, const uint8_t *rest, size_t size) {
    uint8_t expected[128] = {0x9b, 0x01, 0xcf};
    for (int i = 0; i < 8; i++) expected[3 + i] = (uint8_t)(n >> (56 - 8 * i));
    expected[11] = 0xcf;
    for (int i = 0; i < 8; i++) expected[12 + i] = (uint8_t)((uint64_t)ms >> (56 - 8 * i));
    memcpy(expected + 20, rest, size);
    const sx_resp *stored = say("GET", value_name);
    assert_int_equal(stored->type, SX_RESP_STRING);
    assert_int_equal(stored->size, 20 + size);
    assert_memory_equal(stored->text, expected, 20 + size);
}

#endif
