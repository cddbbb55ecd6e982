/* SPDX-License-Identifier: Apache-2.0 */
/* Tracking connections against scripted nodes: what is asked, when a lease begins and how long it is, what ends it. The
   client's functions and trust's are this file's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <strata/status.h>

#include "coherence/foreign.h"
#include "tests/support/clock.h"

#define MS    SX_NS_PER_MS
#define DELTA (500 * MS)
#define NODES 2
#define QUEUE 64

typedef struct sent {
    char words[256]; /* separated by spaces */
    int64_t at_ns;
    sx_redis_reply_fn fn;
    void *context;
    bool forgotten;
} sent;

struct sx_redis_conn {
    sx_redis_conn_events events;
    sx_redis_address address;
    sent queue[QUEUE];
    uint32_t head, tail;
    bool closing;
};

struct sx_redis_cluster {
    int unused;
};

static struct world {
    test_clock clock;
    sx_clock clock_table;
    sx_log log;
    sx_loop *loop;
    sx_redis_settings redis;
    struct sx_redis_cluster cluster;
    sx_redis_node node[NODES];
    uint16_t first; /* slots below belong to node 0 */
    sx_redis_conn *conn[NODES];
    uint32_t opened;
    int64_t trusted_for_ns; /* from now on; 0: not trusted */
    uint64_t ends;
    sx_foreign *foreign;
    sx_trust_word words[SX_FOREIGN_WORDS];
    char changed[64];
    uint32_t done;
    int32_t status;
    bool may_fill, stopped;
    char value[32];
} w;

static int64_t now(void) { return test_clock_now_ns(&w.clock); }

/* ---- in place of the wire client and of trust ---- */

int32_t sx_redis_conn_open(sx_loop *loop, const sx_redis_settings *settings, const sx_redis_address *address,
                           const sx_redis_conn_events *events, sx_redis_conn **out) {
    (void)loop;
    assert_null(settings->scripts[0]);
    uint32_t node = address->port;
    assert_null(w.conn[node]);
    sx_redis_conn *conn = calloc(1, sizeof *conn);
    assert_non_null(conn);
    *conn = (sx_redis_conn){.events = *events, .address = *address};
    w.opened++;
    *out = w.conn[node] = conn;
    return STRATA_OK;
}
void sx_redis_conn_close(sx_redis_conn *conn, int32_t status, const char *reason) {
    (void)status, (void)reason;
    conn->closing = true;
}
const sx_redis_address *sx_redis_conn_address(const sx_redis_conn *conn) { return &conn->address; }
int32_t sx_redis_conn_send(sx_redis_conn *conn, const sx_command *command, const sx_redis_script *script, bool read_only,
                           bool asking, sx_redis_reply_fn fn, void *context, uint64_t *ticket) {
    (void)read_only, (void)asking;
    assert_null(script);
    assert_true(!conn->closing && conn->tail < QUEUE);
    sent *s = &conn->queue[conn->tail++];
    *s = (sent){.fn = fn, .context = context, .at_ns = now()};
    const char *at = (const char *)command->args.data;
    size_t used = 0;
    for (uint32_t i = 0; i < command->argc; i++) {
        size_t size = 0;
        for (at++; *at != '\r'; at++) size = size * 10 + (size_t)(*at - '0');
        used += (size_t)snprintf(s->words + used, sizeof s->words - used, "%s%.*s", i == 0 ? "" : " ", (int)size, at + 2);
        at += 2 + size + 2;
    }
    if (ticket != NULL) *ticket = conn->tail - 1;
    return STRATA_OK;
}
bool sx_redis_conn_forget(sx_redis_conn *conn, uint64_t ticket) {
    conn->queue[ticket].forgotten = true;
    return true;
}
bool sx_redis_cluster_has_map(const sx_redis_cluster *cluster) { return cluster != NULL; }
sx_redis_node *sx_redis_cluster_owner(sx_redis_cluster *cluster, uint16_t slot) {
    (void)cluster;
    return &w.node[slot < w.first ? 0 : 1];
}
int64_t sx_trust_max_staleness_ns(const sx_trust *trust) {
    (void)trust;
    return DELTA;
}
int64_t sx_trust_node_lease_on_loop(const sx_trust *trust, const sx_redis_node *record, uint64_t *ends) {
    (void)trust, (void)record;
    *ends = w.ends;
    return w.trusted_for_ns == 0 ? INT64_MIN : now() + w.trusted_for_ns;
}

/* ---- what the nodes do ---- */

static void turn(void) {
    for (int i = 0; i < 10; i++) sx_loop_turn(w.loop, 0);
}

static void finish_closed(void) {
    for (uint32_t node = 0; node < NODES; node++) {
        sx_redis_conn *conn = w.conn[node];
        if (conn == NULL || !conn->closing) continue;
        w.conn[node] = NULL;
        for (uint32_t i = conn->head; i < conn->tail; i++) {
            const sent *s = &conn->queue[i];
            if (s->fn != NULL && !s->forgotten) s->fn(s->context, STRATA_E_UNKNOWN_OUTCOME, NULL);
        }
        conn->events.on_closed(conn->events.context, conn, STRATA_E_UNAVAILABLE, "test");
        free(conn);
    }
    turn();
}

static const char *next_of(uint32_t node) {
    const sx_redis_conn *conn = w.conn[node];
    return conn == NULL || conn->head == conn->tail ? "" : conn->queue[conn->head].words;
}

static int64_t answer(uint32_t node, sx_resp_type type, const char *text, int64_t integer) {
    sx_redis_conn *conn = w.conn[node];
    assert_true(conn != NULL && conn->head < conn->tail);
    const sent s = conn->queue[conn->head++];
    sx_resp reply = {.type = type};
    if (type == SX_RESP_INTEGER) reply.integer = integer;
    else reply.text = text;
    if (text != NULL) reply.size = strlen(text);
    if (s.fn != NULL && !s.forgotten) s.fn(s.context, STRATA_OK, &reply);
    turn();
    return s.at_ns;
}

/* Answers a PING. Returns when it was sent. */
static int64_t pong(uint32_t node) {
    assert_string_equal(next_of(node), "PING");
    return answer(node, SX_RESP_STRING, "PONG", 0);
}

/* names: NULL for a null. */
static void push(uint32_t node, const char *name) {
    sx_resp key = {.type = SX_RESP_STRING, .text = name, .size = name == NULL ? 0 : strlen(name)};
    sx_resp items[2] = {{.type = SX_RESP_STRING, .text = "invalidate", .size = 10},
                        {.type = SX_RESP_ARRAY, .count = 1, .items = &key}};
    if (name == NULL) items[1] = (sx_resp){.type = SX_RESP_NULL};
    sx_resp all = {.type = SX_RESP_PUSH, .count = 2, .items = items};
    w.conn[node]->events.on_push(w.conn[node]->events.context, w.conn[node], &all);
    turn();
}

static void pass(int64_t ms) {
    for (int64_t i = 0; i < ms; i += 5) {
        test_clock_advance(&w.clock, 5 * MS);
        turn();
        finish_closed();
    }
}

static void connect_node(uint32_t node) {
    assert_non_null(w.conn[node]);
    w.conn[node]->events.on_ready(w.conn[node]->events.context, w.conn[node]);
    turn();
}

/* Up to where its first PING is sent. */
static void track(uint32_t node) {
    connect_node(node);
    assert_string_equal(next_of(node), "SUBSCRIBE s1:tracking");
    w.conn[node]->head++; /* answered by a push that nobody needs */
    assert_string_equal(next_of(node), "CLIENT TRACKING ON BCAST PREFIX f:");
    (void)answer(node, SX_RESP_STRING, "OK", 0);
}

/* The lease and generation of a word. */
static int64_t lease(uint32_t word, uint64_t *generation) {
    int64_t lease_ns;
    uint64_t read;
    sx_trust_read(&w.words[word], &lease_ns, generation == NULL ? &read : generation);
    return lease_ns;
}
static bool is_leased(uint32_t word) { return now() < lease(word, NULL); }

static void lease_node(uint32_t node) {
    track(node);
    (void)pong(node);
    (void)pong(node);
    assert_true(is_leased(node == 0 ? 0 : SX_FOREIGN_WORDS - 1));
}

static void on_key(void *context, void *owner, const void *key, size_t size) {
    assert_ptr_equal(context, &w);
    assert_ptr_equal(owner, w.value);
    snprintf(w.changed, sizeof w.changed, "%.*s", (int)size, (const char *)key);
}

static void done(sx_foreign_read *read, int32_t status, const sx_resp *reply) {
    uint64_t generation;
    w.done++;
    w.status = status;
    w.may_fill = status == STRATA_OK && sx_foreign_may_fill_on_loop(w.foreign, read, &generation);
    if (reply != NULL && reply->type == SX_RESP_STRING) snprintf(w.value, sizeof w.value, "%.*s", (int)reply->size, reply->text);
}

static int setup(void **state) {
    (void)state;
    memset(&w, 0, sizeof w);
    test_clock_init(&w.clock, INT64_C(1000000000000));
    w.clock_table = test_clock_table(&w.clock);
    for (uint32_t i = 0; i < NODES; i++) w.node[i] = (sx_redis_node){.index = i, .address = {"127.0.0.1", (uint16_t)i}, .primary = true};
    w.first = SX_SLOTS / 2;
    w.trusted_for_ns = DELTA;
    assert_int_equal(sx_loop_create(sx_alloc_default(), &w.clock_table, &w.log, &w.loop), STRATA_OK);
    const sx_foreign_events events = {&w, on_key};
    assert_int_equal(sx_foreign_create(w.loop, sx_alloc_default(), &w.log, &w.cluster, NULL, &w.redis, true, &events, w.words, &w.foreign),
                     STRATA_OK);
    sx_foreign_topology_on_loop(w.foreign);
    assert_int_equal(w.opened, 0); /* nothing to follow yet */
    sx_foreign_follow_on_loop(w.foreign, "f:", 2, w.value);
    turn();
    assert_int_equal(w.opened, NODES);
    return 0;
}

static void on_stopped(void *context) {
    (void)context;
    w.stopped = true;
}

static int teardown(void **state) {
    (void)state;
    sx_foreign_stop_on_loop(w.foreign, on_stopped, NULL);
    finish_closed();
    assert_true(w.stopped);
    sx_foreign_destroy(w.foreign);
    sx_loop_destroy(w.loop);
    return 0;
}

/* ---- leases ---- */

/* One answer may have overtaken a change that was executed before it: the one before it can't have. */
static void a_lease_counts_from_the_ping_before(void **state) {
    (void)state;
    track(0);
    int64_t first_ns = pong(0);
    assert_false(is_leased(0));
    pass(20);
    assert_false(is_leased(0));
    int64_t second_ns = pong(0);
    assert_int_equal(lease(0, NULL), first_ns + DELTA);
    assert_int_equal(sx_foreign_metric_read(w.foreign, SX_FOREIGN_METRIC_NODES), 1);
    assert_false(is_leased(SX_FOREIGN_WORDS - 1)); /* the other node's */
    pass(75);
    assert_string_equal(next_of(0), ""); /* the next is not due */
    pass(5);
    (void)pong(0);
    assert_int_equal(lease(0, NULL), second_ns + DELTA);
}

static void no_lease_outlasts_the_nodes_trust(void **state) {
    (void)state;
    track(0);
    (void)pong(0);
    w.trusted_for_ns = 30 * MS;
    (void)pong(0);
    assert_int_equal(lease(0, NULL), now() + 30 * MS);
    w.trusted_for_ns = 0;
    pass(30);
    assert_false(is_leased(0));
    assert_null(w.conn[0]); /* what comes later proves nothing of what was read before */
}

static void an_answer_that_is_late_ends_it(void **state) {
    (void)state;
    uint64_t before, after;
    lease_node(0);
    pass(100);
    assert_string_equal(next_of(0), "PING");
    test_clock_advance(&w.clock, DELTA); /* no timer of ours ran meanwhile: the process stood still */
    (void)lease(0, &before);
    (void)pong(0);
    assert_false(is_leased(0));
    finish_closed();
    (void)lease(0, &after);
    assert_true(after > before);
    assert_int_equal(sx_foreign_metric_read(w.foreign, SX_FOREIGN_METRIC_LOST), 1);
    lease_node(0);
}

static void trust_that_ended_meanwhile_ends_it(void **state) {
    (void)state;
    uint64_t before, after;
    lease_node(0);
    (void)lease(0, &before);
    w.ends++; /* and began again, between two steps */
    pass(100);
    (void)lease(0, &after);
    assert_true(after > before);
    assert_int_equal(w.opened, NODES + 1);
    lease_node(0);
}

static void a_node_that_does_not_answer_is_given_up(void **state) {
    (void)state;
    track(0);
    for (int i = 0; i < 12; i++) pass(100);
    assert_int_equal(w.opened, NODES + 1);
    track(0);
    (void)answer(0, SX_RESP_ERROR, "ERR no", 0);
    finish_closed();
    assert_null(w.conn[0]); /* not at once again */
    for (int i = 0; i < 60 && w.conn[0] == NULL; i++) pass(100);
    connect_node(0);
    w.conn[0]->head++;
    (void)answer(0, SX_RESP_ERROR, "NOPERM no", 0); /* CLIENT TRACKING */
    finish_closed();
    assert_null(w.conn[0]);
    assert_false(is_leased(0));
}

static void nothing_is_tracked_without_trust(void **state) {
    (void)state;
    lease_node(0);
    w.trusted_for_ns = 0;
    w.ends++;
    for (int i = 0; i < 10; i++) pass(100);
    assert_null(w.conn[0]);
    uint32_t opened = w.opened;
    for (int i = 0; i < 50; i++) pass(100);
    assert_int_equal(w.opened, opened);
    w.trusted_for_ns = DELTA;
    for (int i = 0; i < 60 && w.conn[0] == NULL; i++) pass(100);
    lease_node(0);
}

/* ---- messages ---- */

static void a_change_names_its_key(void **state) {
    (void)state;
    lease_node(0);
    push(0, "f:k");
    assert_string_equal(w.changed, "k");
    push(0, "g:x"); /* not ours: ignored */
    push(0, "f:");
    assert_string_equal(w.changed, "k");
    assert_int_equal(sx_foreign_metric_read(w.foreign, SX_FOREIGN_METRIC_MESSAGES), 3);
    assert_true(is_leased(0));
}

static void a_flush_is_of_all_keys_of_the_node(void **state) {
    (void)state;
    uint64_t before, after, other_before, other_after;
    lease_node(0);
    lease_node(1);
    (void)lease(0, &before);
    (void)lease(SX_FOREIGN_WORDS - 1, &other_before);
    push(0, NULL);
    (void)lease(0, &after);
    (void)lease(SX_FOREIGN_WORDS - 1, &other_after);
    assert_true(after > before && !is_leased(0));
    assert_true(other_after == other_before && is_leased(SX_FOREIGN_WORDS - 1));
    pass(100);
    (void)pong(0);
    assert_true(is_leased(0)); /* the connection is as good as before */
}

/* ---- slots ---- */

static void slots_of_two_nodes_need_both(void **state) {
    (void)state;
    uint32_t shared = SX_FOREIGN_WORDS / 2;
    uint64_t before, after;
    w.first += SX_FOREIGN_WORD_SLOTS / 2;
    lease_node(0);
    lease_node(1);
    assert_true(is_leased(shared));
    (void)lease(shared, &before);
    sx_foreign_topology_on_loop(w.foreign); /* now some of them have moved */
    (void)lease(shared, &after);
    assert_true(after > before && !is_leased(shared));
    pass(100);
    (void)pong(0);
    assert_true(is_leased(shared));
    sx_redis_conn_close(w.conn[1], 0, "test");
    finish_closed();
    assert_false(is_leased(shared));
    pass(100);
    (void)pong(0);
    assert_false(is_leased(shared));
    assert_true(is_leased(shared - 1));
}

/* ---- reads ---- */

static sx_foreign_read read_slot(uint16_t slot) {
    return (sx_foreign_read){.owner = w.value, .slot = slot, .deadline_ns = now() + 50 * MS, .done = done};
}

static void a_read_goes_down_the_tracking_connection(void **state) {
    (void)state;
    sx_foreign_read read = read_slot(7);
    assert_int_equal(sx_foreign_read_on_loop(w.foreign, &read, "f:k", 3), STRATA_E_UNAVAILABLE);
    track(0);
    assert_int_equal(sx_foreign_read_on_loop(w.foreign, &read, "f:k", 3), STRATA_OK);
    (void)pong(0);
    assert_string_equal(next_of(0), "PTTL f:k"); /* before the value: never that of a later one */
    (void)answer(0, SX_RESP_INTEGER, NULL, 1234);
    assert_string_equal(next_of(0), "GET f:k");
    (void)answer(0, SX_RESP_STRING, "v", 0);
    assert_int_equal(w.done, 1);
    assert_true(w.may_fill && read.ttl_ms == 1234);
    assert_string_equal(w.value, "v");
    sx_foreign_read stranger = read_slot(7);
    stranger.owner = &stranger;
    assert_int_equal(sx_foreign_read_on_loop(w.foreign, &stranger, "h:k", 3), STRATA_E_UNAVAILABLE);
}

static void what_was_doubted_meanwhile_may_not_enter(void **state) {
    (void)state;
    lease_node(0);
    lease_node(1);
    sx_foreign_read read = read_slot(7);
    assert_int_equal(sx_foreign_read_on_loop(w.foreign, &read, "f:k", 3), STRATA_OK);
    push(0, NULL);
    w.conn[0]->head += strcmp(next_of(0), "PING") == 0 ? 1 : 0;
    (void)answer(0, SX_RESP_INTEGER, NULL, -1);
    (void)answer(0, SX_RESP_STRING, "v", 0);
    assert_int_equal(w.done, 1);
    assert_false(w.may_fill);
    read = read_slot(7); /* and where the slot is another node's by then */
    assert_int_equal(sx_foreign_read_on_loop(w.foreign, &read, "f:k", 3), STRATA_OK);
    w.first = 0;
    (void)answer(0, SX_RESP_INTEGER, NULL, -1);
    (void)answer(0, SX_RESP_STRING, "v", 0);
    assert_int_equal(w.done, 2);
    assert_false(w.may_fill);
}

static void a_read_ends_once(void **state) {
    (void)state;
    lease_node(0);
    sx_foreign_read read = read_slot(7);
    assert_int_equal(sx_foreign_read_on_loop(w.foreign, &read, "f:k", 3), STRATA_OK);
    pass(50);
    assert_int_equal(w.done, 1);
    assert_int_equal(w.status, STRATA_E_TIMEOUT);
    while (next_of(0)[0] != 0) (void)answer(0, SX_RESP_STRING, "v", 0);
    assert_int_equal(w.done, 1); /* the answers find nobody */
    read = read_slot(7);
    assert_int_equal(sx_foreign_read_on_loop(w.foreign, &read, "f:k", 3), STRATA_OK);
    sx_redis_conn_close(w.conn[0], 0, "test");
    finish_closed();
    assert_int_equal(w.done, 2);
    assert_int_equal(w.status, STRATA_E_UNKNOWN_OUTCOME);
    pass(60);
    assert_int_equal(w.done, 2);
}

#define CASE(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {CASE(a_lease_counts_from_the_ping_before),
                                       CASE(no_lease_outlasts_the_nodes_trust),
                                       CASE(an_answer_that_is_late_ends_it),
                                       CASE(trust_that_ended_meanwhile_ends_it),
                                       CASE(a_node_that_does_not_answer_is_given_up),
                                       CASE(nothing_is_tracked_without_trust),
                                       CASE(a_change_names_its_key),
                                       CASE(a_flush_is_of_all_keys_of_the_node),
                                       CASE(slots_of_two_nodes_need_both),
                                       CASE(a_read_goes_down_the_tracking_connection),
                                       CASE(what_was_doubted_meanwhile_may_not_enter),
                                       CASE(a_read_ends_once)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
