/* SPDX-License-Identifier: Apache-2.0 */
/* A scripted node and an injected clock in place of the wire client, so that answers can be late, wrong or held back at
   will. Included by one file of a program: it defines the functions of the client that trust calls. */
#ifndef SX_TESTS_COHERENCE_SCRIPTED_H
#define SX_TESTS_COHERENCE_SCRIPTED_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include <strata/status.h>

#include "coherence/trust.h"
#include "tests/support/clock.h"

#define P 4
#define MS SX_NS_PER_MS
#define DELTA (500 * MS)
#define QUEUE 256

/* ---- the scripted node: this file's own sx_redis_conn and sx_redis_cluster ---- */

typedef enum kind { KIND_SUBSCRIBE, KIND_UNSUBSCRIBE, KIND_CONFIG, KIND_BEAT } kind;

typedef struct sent {
    kind kind;
    char channel[32];
    uint32_t partitions[P];
    uint32_t count;
    int64_t at_ns;
    sx_redis_reply_fn fn;
    void *context;
} sent;

struct sx_redis_conn {
    sx_redis_conn_events events;
    sx_redis_address address;
    sx_redis_identity identity;
    sx_redis_server server;
    sent queue[QUEUE];
    uint32_t head, tail;
    void (*identified)(void *, sx_redis_conn *);
    void *identified_context;
    bool closing;
    bool ready;
};

struct sx_redis_cluster {
    int unused;
};

static struct world {
    test_clock clock;
    sx_clock clock_table;
    sx_log log;
    sx_loop *loop;
    sx_key_tags *tags;
    sx_publish publish;
    sx_publish_scripts scripts;
    sx_redis_settings redis;
    struct sx_redis_cluster cluster;
    sx_redis_node node, other;
    sx_redis_node *owners[P];
    sx_redis_conn *conn;
    uint32_t opened, closed, refreshed, reidentified, identifies;
    uint64_t token;
    const char *counters[P]; /* what a heartbeat answers; NULL: a null */
    uint64_t n[P];
    char text[P][24];
    bool hold_beats, hold_confirm, hold_identify, hold_subscribe[P];
    void (*confirm)(void *, int32_t);
    void *confirm_context;
    uint32_t confirms;
    int64_t confirm_at_ns;
    int32_t confirm_status;
    sx_redis_request *requests[16];
    uint32_t request_count;
    const char *layout;
    sx_trust *trust;
    sx_trust_word words[P];
    uint32_t messages;
    int32_t refused;
    bool stopped;
} w;

static inline int64_t now(void) { return test_clock_now_ns(&w.clock); }

int32_t sx_redis_conn_open(sx_loop *loop, const sx_redis_settings *settings, const sx_redis_address *address,
                           const sx_redis_conn_events *events, sx_redis_conn **out) {
    (void)loop;
    (void)settings;
    assert_null(w.conn);
    w.conn = calloc(1, sizeof *w.conn);
    assert_non_null(w.conn);
    w.conn->events = *events;
    w.conn->address = *address;
    w.conn->server = (sx_redis_server){"Redis", 0x07000f, true, true, true, true, true};
    w.opened++;
    *out = w.conn;
    return STRATA_OK;
}

void sx_redis_conn_close(sx_redis_conn *conn, int32_t status, const char *reason) {
    (void)status;
    (void)reason;
    conn->closing = true;
}

const sx_redis_address *sx_redis_conn_address(const sx_redis_conn *conn) { return &conn->address; }
const sx_redis_identity *sx_redis_conn_identity(const sx_redis_conn *conn) { return &conn->identity; }
const sx_redis_server *sx_redis_conn_server(const sx_redis_conn *conn) { return &conn->server; }

void sx_redis_conn_identify(sx_redis_conn *conn, void (*then)(void *context, sx_redis_conn *conn), void *context) {
    assert_null(conn->identified);
    w.identifies++;
    conn->identified = then;
    conn->identified_context = context;
}

/* The next argument of an encoded command, copied. */
static inline const char *next_arg(const char *at, char *out, size_t room) {
    size_t size = 0; /* the bytes are not zero-terminated: no string function may see them */
    for (at++; *at != '\r'; at++) size = size * 10 + (size_t)(*at - '0');
    at += 2;
    assert_true(size < room);
    memcpy(out, at, size);
    out[size] = '\0';
    return at + size + 2;
}

static inline uint32_t partition_of(const char *name) {
    uint32_t slot = sx_key_slot(name, strlen(name));
    return slot * P / SX_SLOTS;
}

int32_t sx_redis_conn_send(sx_redis_conn *conn, const sx_command *command, const sx_redis_script *script,
                           bool read_only, bool asking, sx_redis_reply_fn fn, void *context, uint64_t *ticket) {
    (void)asking;
    (void)ticket;
    assert_true(conn->ready && conn->tail < QUEUE);
    if (conn->closing) return STRATA_E_UNAVAILABLE;
    sent *s = &conn->queue[conn->tail++];
    *s = (sent){.fn = fn, .context = context, .at_ns = now()};
    char word[64];
    const char *at = next_arg((const char *)command->args.data, word, sizeof word);
    if (script != NULL) {
        assert_ptr_equal(script, &w.scripts.beat);
        assert_true(read_only);
        s->kind = KIND_BEAT;
        for (uint32_t i = 1; i < command->argc; i++) {
            at = next_arg(at, word, sizeof word);
            s->partitions[s->count++] = partition_of(word);
        }
        return STRATA_OK;
    }
    s->kind = strcmp(word, "SSUBSCRIBE") == 0     ? KIND_SUBSCRIBE
              : strcmp(word, "SUNSUBSCRIBE") == 0 ? KIND_UNSUBSCRIBE
                                                  : KIND_CONFIG;
    (void)next_arg(at, s->channel, sizeof s->channel);
    return STRATA_OK;
}

bool sx_redis_cluster_is_cluster(const sx_redis_cluster *cluster) { return cluster != NULL; }
bool sx_redis_cluster_has_map(const sx_redis_cluster *cluster) { return cluster != NULL; }
void sx_redis_cluster_refresh(sx_redis_cluster *cluster) { w.refreshed += cluster != NULL ? 1 : 0; }
void sx_redis_cluster_reidentify(sx_redis_cluster *cluster, sx_redis_node *node) {
    (void)cluster;
    (void)node;
    w.reidentified++;
}
void sx_redis_cluster_note_clock(sx_redis_cluster *cluster, sx_redis_node *node, int64_t offset_ns) {
    (void)cluster;
    (void)node;
    (void)offset_ns;
}
sx_redis_node *sx_redis_cluster_owner(sx_redis_cluster *cluster, uint16_t slot) {
    (void)cluster;
    return w.owners[(uint32_t)slot * P / SX_SLOTS];
}
void sx_redis_cluster_confirm(sx_redis_cluster *cluster, sx_redis_node *node, int64_t deadline_ns,
                              void (*fn)(void *context, int32_t status), void *context) {
    (void)cluster;
    (void)node;
    (void)deadline_ns;
    assert_null(w.confirm);
    w.confirm = fn;
    w.confirm_context = context;
    w.confirm_at_ns = now();
    w.confirms++;
}
void sx_redis_cluster_submit(sx_redis_cluster *cluster, sx_redis_request *request) {
    (void)cluster;
    assert_true(w.request_count < 16);
    w.requests[w.request_count++] = request;
}

/* ---- what it does ---- */

static inline void push3(const char *what, const char *channel, const void *payload, size_t size) {
    sx_resp items[3] = {{.type = SX_RESP_STRING, .size = strlen(what), .text = what},
                        {.type = SX_RESP_STRING, .size = strlen(channel), .text = channel},
                        {.type = SX_RESP_STRING, .size = size, .text = payload}};
    if (payload == NULL) items[2] = (sx_resp){.type = SX_RESP_INTEGER, .integer = 1};
    sx_resp push = {.type = SX_RESP_PUSH, .count = 3, .items = items};
    w.conn->events.on_push(w.conn->events.context, w.conn, &push);
}

static inline const char *channel_of(uint32_t partition) {
    static char name[32];
    snprintf(name, sizeof name, "{%s}s1:c", w.tags->tags[partition].text);
    return name;
}

static inline void message(uint32_t partition, uint64_t n) {
    uint8_t bytes[] = "\x96\x01\xcf........\x05\xa2ns\x01\xc4\x01k";
    for (int i = 0; i < 8; i++) bytes[3 + i] = (uint8_t)(n >> (56 - 8 * i));
    push3("smessage", channel_of(partition), bytes, sizeof bytes - 1);
}

static inline void set_counter(uint32_t partition, uint64_t n) {
    snprintf(w.text[partition], sizeof w.text[partition], "%llu", (unsigned long long)n);
    w.n[partition] = n;
    w.counters[partition] = w.text[partition];
}

/* A write at the node: its number and its message. */
static inline void write_at(uint32_t partition) {
    set_counter(partition, w.n[partition] + 1);
    message(partition, w.n[partition]);
}

static inline void answer_beat(const sent *s) {
    sx_resp items[2 + P] = {{.type = SX_RESP_STRING, .size = 10, .text = "1700000000"},
                            {.type = SX_RESP_STRING, .size = 3, .text = "123"}};
    for (uint32_t i = 0; i < s->count; i++) {
        const char *text = w.counters[s->partitions[i]];
        if (text == NULL) items[2 + i] = (sx_resp){.type = SX_RESP_NULL};
        else items[2 + i] = (sx_resp){.type = SX_RESP_STRING, .size = strlen(text), .text = text};
    }
    sx_resp reply = {.type = SX_RESP_ARRAY, .count = s->count + 2, .items = items};
    s->fn(s->context, STRATA_OK, &reply);
}

static inline void answer_config(const sent *s) {
    sx_resp items[4] = {{.type = SX_RESP_STRING, .size = 20, .text = "cluster-node-timeout"},
                        {.type = SX_RESP_STRING, .size = 5, .text = "15000"},
                        {.type = SX_RESP_STRING, .size = 29, .text = "cluster-allow-reads-when-down"},
                        {.type = SX_RESP_STRING, .size = 2, .text = "no"}};
    sx_resp reply = {.type = SX_RESP_MAP, .count = 2, .items = items};
    s->fn(s->context, STRATA_OK, &reply);
}

static inline bool answer_next(void) {
    sx_redis_conn *conn = w.conn;
    if (conn == NULL || conn->closing || conn->head == conn->tail) return false;
    const sent s = conn->queue[conn->head];
    if (s.kind == KIND_BEAT && w.hold_beats) return false;
    if (++conn->head == conn->tail) conn->head = conn->tail = 0;
    if (s.kind == KIND_SUBSCRIBE && !w.hold_subscribe[partition_of(s.channel)]) push3("ssubscribe", s.channel, NULL, 0);
    if (s.kind == KIND_UNSUBSCRIBE) push3("sunsubscribe", s.channel, NULL, 0);
    if (s.kind == KIND_CONFIG) answer_config(&s);
    if (s.kind == KIND_BEAT) answer_beat(&s);
    return true;
}

static inline void answer_request(sx_redis_request *request) {
    sx_resp reply = {.type = SX_RESP_INTEGER, .integer = 1};
    if (request->script == NULL) reply = (sx_resp){.type = SX_RESP_STRING, .size = strlen(w.layout), .text = w.layout};
    if (request->script == &w.scripts.probe && w.conn != NULL && !w.conn->closing) {
        const char *bytes = (const char *)request->command.args.data;
        const uint8_t *probe = memmem(bytes, request->command.args.size, "\x93\x00\x00", 3);
        const uint8_t *end = request->command.args.data + request->command.args.size - 2;
        push3("smessage", channel_of((uint32_t)request->slot * P / SX_SLOTS), probe, (size_t)(end - probe));
    }
    request->done(request, SX_REDIS_OK, &reply);
}

static inline void finish_confirm(int32_t status) {
    void (*fn)(void *, int32_t) = w.confirm;
    assert_non_null(fn);
    w.confirm = NULL;
    fn(w.confirm_context, status);
}

static inline void finish_identify(void) {
    void (*then)(void *, sx_redis_conn *) = w.conn->identified;
    assert_non_null(then);
    w.conn->identified = NULL;
    w.conn->identity.token = w.token;
    w.conn->identity.primary = true;
    then(w.conn->identified_context, w.conn);
}

static inline void finish_close(void) {
    sx_redis_conn *conn = w.conn;
    w.closed++;
    for (uint32_t i = conn->head; i < conn->tail; i++)
        if (conn->queue[i].fn != NULL) conn->queue[i].fn(conn->queue[i].context, STRATA_E_UNKNOWN_OUTCOME, NULL);
    w.conn = NULL;
    conn->events.on_closed(conn->events.context, conn, STRATA_E_UNAVAILABLE, "test");
    free(conn);
}

/* Everything that is not held back. */
static inline void settle(void) {
    for (int i = 0; i < 40; i++) {
        sx_loop_turn(w.loop, 0);
        if (w.conn != NULL && w.conn->closing) finish_close();
        if (w.conn != NULL && !w.conn->ready) {
            w.conn->ready = true;
            w.conn->events.on_ready(w.conn->events.context, w.conn);
        }
        while (answer_next()) {}
        if (w.conn != NULL && w.conn->identified != NULL && !w.hold_identify) finish_identify();
        if (w.confirm != NULL && !w.hold_confirm) finish_confirm(w.confirm_status);
        while (w.request_count > 0) answer_request(w.requests[--w.request_count]);
    }
}

static inline void pass(int64_t ms) {
    for (int64_t i = 0; i < ms; i += 5) {
        test_clock_advance(&w.clock, 5 * MS);
        settle();
    }
}

/* ---- the process ---- */

static inline void on_message(void *context, uint32_t partition, const sx_message *m) {
    (void)context;
    (void)partition;
    w.messages += m->sequenced ? 1 : 0;
}

static inline void on_refused(void *context, int32_t status, const char *text) {
    (void)context;
    (void)text;
    w.refused = status;
}

static inline int setup(void **state) {
    (void)state;
    memset(&w, 0, sizeof w);
    test_clock_init(&w.clock, INT64_C(1000000000000));
    w.clock_table = test_clock_table(&w.clock);
    w.layout = "wire=1 partitions=4";
    w.token = 77;
    w.node = (sx_redis_node){.index = 0, .id = "a", .address = {"127.0.0.1", 1}, .primary = true};
    w.other = (sx_redis_node){.index = 1, .id = "b", .address = {"127.0.0.1", 2}, .primary = true};
    for (uint32_t i = 0; i < P; i++) {
        w.owners[i] = &w.node;
        set_counter(i, 1000000 * (i + 1));
    }
    const sx_alloc *alloc = sx_alloc_default();
    assert_int_equal(sx_loop_create(alloc, &w.clock_table, &w.log, &w.loop), STRATA_OK);
    assert_int_equal(sx_key_tags_create(alloc, P, &w.tags), STRATA_OK);
    sx_publish_scripts_init(&w.scripts);
    w.publish = (sx_publish){.alloc = alloc, .tags = w.tags, .sharded = true, .set_nx_get = true};
    const sx_trust_settings settings = {&w.redis, P, DELTA, 15 * SX_NS_PER_S, P};
    const sx_trust_events events = {NULL, on_message, on_refused, NULL, NULL, NULL, NULL, NULL};
    assert_int_equal(sx_trust_create(w.loop, alloc, &w.log, &w.cluster, w.tags, &w.publish, &w.scripts, &settings,
                                     &events, w.words, &w.trust),
                     STRATA_OK);
    sx_trust_start_on_loop(w.trust);
    return 0;
}

static inline void on_stopped(void *context) {
    (void)context;
    w.stopped = true;
}

static inline int teardown(void **state) {
    (void)state;
    w.hold_beats = w.hold_confirm = w.hold_identify = false;
    sx_trust_stop_on_loop(w.trust, on_stopped, NULL);
    settle();
    assert_true(w.stopped);
    sx_trust_destroy(w.trust);
    sx_loop_destroy(w.loop);
    sx_key_tags_destroy(w.tags);
    return 0;
}

static inline int64_t lease(uint32_t partition) {
    int64_t lease_ns;
    uint64_t generation;
    sx_trust_read(&w.words[partition], &lease_ns, &generation);
    return lease_ns;
}

static inline uint64_t generation(uint32_t partition) {
    int64_t lease_ns;
    uint64_t generation_now;
    sx_trust_read(&w.words[partition], &lease_ns, &generation_now);
    return generation_now;
}

static inline bool trusted(uint32_t partition) { return now() < lease(partition); }

static inline uint32_t count_trusted(void) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < P; i++) count += trusted(i) ? 1 : 0;
    return count;
}

static inline void gain_all(void) {
    pass(200);
    assert_int_equal(count_trusted(), P);
}

/* The heartbeat that waits for its answer. */
static inline sent *held_beat(void) {
    assert_true(w.hold_beats);
    for (int i = 0; i < 60; i++) {
        sx_redis_conn *conn = w.conn;
        if (conn != NULL && conn->head < conn->tail && conn->queue[conn->head].kind == KIND_BEAT)
            return &conn->queue[conn->head];
        pass(5);
    }
    fail_msg("no heartbeat was sent");
    return NULL;
}

static inline void answer_held(void) {
    w.hold_beats = false;
    assert_true(answer_next());
    w.hold_beats = true;
}

static inline int64_t metric(uint32_t which) { return sx_trust_metric_read(w.trust, which); }

#define CASE(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

#endif
