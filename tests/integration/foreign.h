/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of foreign namespaces share: a cluster, engines that follow its plain keys, and clients that write them. */
#ifndef SX_TESTS_INTEGRATION_FOREIGN_H
#define SX_TESTS_INTEGRATION_FOREIGN_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/key/key.h"
#include "tests/support/cluster.h"
#include "tests/support/engine.h"
#include "tests/support/talk.h"

#define STALENESS_MS 500
#define SLACK_MS     100 /* of a busy machine: between an answer and the note of when it came */
#define PREFIX       "f:"

static sx_cluster *cluster;

typedef struct side {
    strata *engine;
    strata_session *session;
    strata_namespace *ns;
} side;

static inline strata_namespace *open_ns(strata *engine, const char *name, const char *prefix) {
    strata_foreign_options options = {.struct_size = sizeof options, .prefix = test_bytes(prefix)};
    strata_namespace *ns = NULL;
    strata_error error = {0};
    if (strata_namespace_open_foreign(engine, name, &options, &ns, &error) != STRATA_OK) fail_msg("%s", error.text);
    return ns;
}

static inline side open_side(uint32_t nodes) {
    side s = {.engine = test_engine_open(TEST_OPTIONS("l2.nodes", sx_cluster_seeds(cluster), "l2.open_wait", "5s"), NULL)};
    s.session = test_engine_session(s.engine);
    s.ns = open_ns(s.engine, "foreign", PREFIX);
    assert_true(test_metric_wait(s.engine, "foreign.nodes", nodes, 30000));
    return s;
}

static inline void close_side(side *s) {
    strata_session_close(s->session);
    strata_close(s->engine, 1000);
}

static inline uint16_t slot_of(const char *key) {
    char name[64];
    return (uint16_t)sx_key_slot(name, (size_t)snprintf(name, sizeof name, PREFIX "%s", key));
}

static inline test_talk *talk_to_owner(const char *key) {
    int node = sx_cluster_owner(cluster, slot_of(key));
    assert_true(node >= 0);
    return test_talk_open(sx_cluster_port(cluster, (uint32_t)node), false);
}

/* What a program without Strata does. */
__attribute__((format(printf, 2, 3))) static inline void say(test_talk *talk, const char *format, ...) {
    char words[256];
    va_list list;
    va_start(list, format);
    (void)vsnprintf(words, sizeof words, format, list);
    va_end(list);
    const sx_resp *reply = test_talk_say(talk, words);
    if (reply->type == SX_RESP_ERROR) fail_msg("%s: %.*s", words, (int)reply->size, reply->text);
}

static inline void write_plain(const char *key, const char *value) {
    test_talk *talk = talk_to_owner(key);
    say(talk, "SET " PREFIX "%s %s", key, value);
    test_talk_close(talk);
}

/* Reads it until L1 answers it. */
static inline void hold(side *s, const char *key, const char *value) {
    const char *seen = NULL;
    for (int i = 0; i < 3000 && seen == NULL; i++) {
        assert_string_equal(test_get(s->session, s->ns, key), value);
        seen = test_peek(s->session, s->ns, key);
        if (seen == NULL) test_sleep_ms(1);
    }
    assert_non_null(seen);
    assert_string_equal(seen, value);
}

/* L1 does not answer old any more within the bound, nor later. Answers after how many ms. */
static inline int64_t gone(side *s, const char *key, const char *old, int64_t since_ms) {
    const char *seen;
    int64_t last_ms = since_ms, asked_ms = since_ms; /* read before it is asked, so that a late look makes nothing of it older */
    for (; (seen = test_peek(s->session, s->ns, key)) != NULL && strcmp(seen, old) == 0; asked_ms = test_now_ms()) {
        last_ms = asked_ms;
        if (last_ms - since_ms > STALENESS_MS + SLACK_MS) fail_msg("%s is answered %s for %lld ms", key, old, (long long)(last_ms - since_ms));
    }
    int64_t end_ms = test_now_ms() + 2 * STALENESS_MS;
    while (test_now_ms() < end_ms) {
        seen = test_peek(s->session, s->ns, key);
        if (seen != NULL && strcmp(seen, old) == 0) fail_msg("%s is answered %s again", key, old);
        test_sleep_ms(5);
    }
    return last_ms - since_ms;
}

static inline int start_cluster(void **state) {
    (void)state;
    cluster = test_cluster_start(&(sx_cluster_options){.primaries = 3, .replicas = 1,
                                                       .extra = (const char *const[]){"--enable-debug-command", "yes", NULL}});
    return 0;
}

static inline int stop_cluster(void **state) {
    (void)state;
    sx_cluster_stop(cluster);
    return 0;
}

#endif
