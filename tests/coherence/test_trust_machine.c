/* SPDX-License-Identifier: Apache-2.0 */
/* The rules of trust one by one: a scripted node and an injected clock in place of the wire client, so that answers can be
   late, wrong or held back at will. */
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
    uint32_t opened, closed, refreshed, reidentified;
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

static int64_t now(void) { return test_clock_now_ns(&w.clock); }

int32_t sx_redis_conn_open(sx_loop *loop, const sx_redis_settings *settings, const sx_redis_address *address,
                           const sx_redis_conn_events *events, sx_redis_conn **out) {
    (void)loop;
    (void)settings;
    (void)address;
    assert_null(w.conn);
    w.conn = calloc(1, sizeof *w.conn);
    assert_non_null(w.conn);
    w.conn->events = *events;
    w.conn->server = (sx_redis_server){0x07000f, true, true, true, true};
    w.opened++;
    *out = w.conn;
    return STRATA_OK;
}

void sx_redis_conn_close(sx_redis_conn *conn, int32_t status, const char *reason) {
    (void)status;
    (void)reason;
    conn->closing = true;
}

const sx_redis_identity *sx_redis_conn_identity(const sx_redis_conn *conn) { return &conn->identity; }
const sx_redis_server *sx_redis_conn_server(const sx_redis_conn *conn) { return &conn->server; }

void sx_redis_conn_identify(sx_redis_conn *conn, void (*then)(void *context, sx_redis_conn *conn), void *context) {
    assert_null(conn->identified);
    conn->identified = then;
    conn->identified_context = context;
}

/* The next argument of an encoded command, copied. */
static const char *next_arg(const char *at, char *out, size_t room) {
    size_t size = (size_t)strtoul(at + 1, NULL, 10);
    at = strchr(at, '\n') + 1;
    assert_true(size < room);
    memcpy(out, at, size);
    out[size] = '\0';
    return at + size + 2;
}

static uint32_t partition_of(const char *name) {
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

static void push3(const char *what, const char *channel, const void *payload, size_t size) {
    sx_resp items[3] = {{.type = SX_RESP_STRING, .size = strlen(what), .text = what},
                        {.type = SX_RESP_STRING, .size = strlen(channel), .text = channel},
                        {.type = SX_RESP_STRING, .size = size, .text = payload}};
    if (payload == NULL) items[2] = (sx_resp){.type = SX_RESP_INTEGER, .integer = 1};
    sx_resp push = {.type = SX_RESP_PUSH, .count = 3, .items = items};
    w.conn->events.on_push(w.conn->events.context, w.conn, &push);
}

static const char *channel_of(uint32_t partition) {
    static char name[32];
    snprintf(name, sizeof name, "{%s}s1:c", w.tags->tags[partition].text);
    return name;
}

static void message(uint32_t partition, uint64_t n) {
    uint8_t bytes[] = "\x96\x01\xcf........\x05\xa2ns\x01\xc4\x01k";
    for (int i = 0; i < 8; i++) bytes[3 + i] = (uint8_t)(n >> (56 - 8 * i));
    push3("smessage", channel_of(partition), bytes, sizeof bytes - 1);
}

static void set_counter(uint32_t partition, uint64_t n) {
    snprintf(w.text[partition], sizeof w.text[partition], "%llu", (unsigned long long)n);
    w.n[partition] = n;
    w.counters[partition] = w.text[partition];
}

/* A write at the node: its number and its message. */
static void write_at(uint32_t partition) {
    set_counter(partition, w.n[partition] + 1);
    message(partition, w.n[partition]);
}

static void answer_beat(const sent *s) {
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

static void answer_config(const sent *s) {
    sx_resp items[4] = {{.type = SX_RESP_STRING, .size = 20, .text = "cluster-node-timeout"},
                        {.type = SX_RESP_STRING, .size = 5, .text = "15000"},
                        {.type = SX_RESP_STRING, .size = 29, .text = "cluster-allow-reads-when-down"},
                        {.type = SX_RESP_STRING, .size = 2, .text = "no"}};
    sx_resp reply = {.type = SX_RESP_MAP, .count = 2, .items = items};
    s->fn(s->context, STRATA_OK, &reply);
}

static bool answer_next(void) {
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

static void answer_request(sx_redis_request *request) {
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

static void finish_confirm(int32_t status) {
    void (*fn)(void *, int32_t) = w.confirm;
    assert_non_null(fn);
    w.confirm = NULL;
    fn(w.confirm_context, status);
}

static void finish_close(void) {
    sx_redis_conn *conn = w.conn;
    w.closed++;
    for (uint32_t i = conn->head; i < conn->tail; i++)
        if (conn->queue[i].fn != NULL) conn->queue[i].fn(conn->queue[i].context, STRATA_E_UNKNOWN_OUTCOME, NULL);
    w.conn = NULL;
    conn->events.on_closed(conn->events.context, conn, STRATA_E_UNAVAILABLE, "test");
    free(conn);
}

/* Everything that is not held back. */
static void settle(void) {
    for (int i = 0; i < 40; i++) {
        sx_loop_turn(w.loop, 0);
        if (w.conn != NULL && w.conn->closing) finish_close();
        if (w.conn != NULL && !w.conn->ready) {
            w.conn->ready = true;
            w.conn->events.on_ready(w.conn->events.context, w.conn);
        }
        while (answer_next()) {}
        if (w.conn != NULL && w.conn->identified != NULL && !w.hold_identify) {
            void (*then)(void *, sx_redis_conn *) = w.conn->identified;
            w.conn->identified = NULL;
            w.conn->identity.token = w.token;
            w.conn->identity.primary = true;
            then(w.conn->identified_context, w.conn);
        }
        if (w.confirm != NULL && !w.hold_confirm) finish_confirm(w.confirm_status);
        while (w.request_count > 0) answer_request(w.requests[--w.request_count]);
    }
}

static void pass(int64_t ms) {
    for (int64_t i = 0; i < ms; i += 5) {
        test_clock_advance(&w.clock, 5 * MS);
        settle();
    }
}

/* ---- the process ---- */

static void on_message(void *context, uint32_t partition, const sx_message *m) {
    (void)context;
    (void)partition;
    w.messages += m->sequenced ? 1 : 0;
}

static void on_refused(void *context, int32_t status, const char *text) {
    (void)context;
    (void)text;
    w.refused = status;
}

static int setup(void **state) {
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
    const sx_trust_events events = {NULL, on_message, on_refused};
    assert_int_equal(sx_trust_create(w.loop, alloc, &w.log, &w.cluster, w.tags, &w.publish, &w.scripts, &settings,
                                     &events, w.words, &w.trust),
                     STRATA_OK);
    sx_trust_start_on_loop(w.trust);
    return 0;
}

static void on_stopped(void *context) {
    (void)context;
    w.stopped = true;
}

static int teardown(void **state) {
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

static int64_t lease(uint32_t partition) {
    int64_t lease_ns;
    uint64_t generation;
    sx_trust_read(&w.words[partition], &lease_ns, &generation);
    return lease_ns;
}

static uint64_t generation(uint32_t partition) {
    int64_t lease_ns;
    uint64_t generation_now;
    sx_trust_read(&w.words[partition], &lease_ns, &generation_now);
    return generation_now;
}

static bool trusted(uint32_t partition) { return now() < lease(partition); }

static uint32_t count_trusted(void) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < P; i++) count += trusted(i) ? 1 : 0;
    return count;
}

static void gain_all(void) {
    pass(200);
    assert_int_equal(count_trusted(), P);
}

/* The heartbeat that waits for its answer. */
static sent *held_beat(void) {
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

static void answer_held(void) {
    w.hold_beats = false;
    assert_true(answer_next());
    w.hold_beats = true;
}

static int64_t metric(uint32_t which) { return sx_trust_metric_read(w.trust, which); }

/* ---- leases ---- */

static void a_lease_counts_from_sending(void **state) {
    (void)state;
    gain_all();
    w.hold_beats = true;
    int64_t sent_ns = held_beat()->at_ns;
    int64_t before = lease(0);
    pass(200);
    assert_int_equal(lease(0), before); /* nothing but an answer extends */
    answer_held();
    assert_int_equal(lease(0), sent_ns + DELTA);
    assert_true(lease(0) < now() + DELTA - 190 * MS);
}

static void one_heartbeat_at_a_time(void **state) {
    (void)state;
    gain_all();
    w.hold_beats = true;
    (void)held_beat();
    pass(250);
    assert_int_equal(w.conn->tail - w.conn->head, 1);
}

static void a_late_answer_does_not_extend(void **state) {
    (void)state;
    gain_all();
    uint64_t before = generation(0);
    uint32_t confirms = w.confirms;
    w.hold_beats = w.hold_confirm = true;
    (void)held_beat();
    test_clock_advance(&w.clock, DELTA); /* no timer of ours ran meanwhile: the process was paused */
    assert_int_equal(count_trusted(), 0);
    answer_held();
    assert_int_equal(count_trusted(), 0);
    assert_true(lease(0) == INT64_MIN);
    assert_int_equal(metric(SX_TRUST_METRIC_BEATS_LATE), 1);
    w.hold_beats = false;
    pass(300); /* heartbeats are answered, but another primary has not confirmed the node */
    assert_int_equal(count_trusted(), 0);
    assert_int_equal(w.confirms, confirms + 1);
    /* The heartbeat under way when the confirmation comes doesn't count. */
    w.hold_beats = true;
    (void)held_beat();
    w.hold_confirm = false;
    finish_confirm(STRATA_OK);
    w.hold_confirm = true;
    answer_held();
    assert_int_equal(count_trusted(), 0);
    w.hold_confirm = false;
    w.hold_beats = false;
    gain_all();
    assert_int_equal(generation(0), before);
}

static void a_lapse_is_noticed_without_an_answer(void **state) {
    (void)state;
    gain_all();
    w.hold_beats = true;
    pass(600);
    assert_true(lease(0) == INT64_MIN);
    assert_int_equal(metric(SX_TRUST_METRIC_PARTITIONS_TRUSTED), 0);
    sx_trust_mark mark = sx_trust_mark_on_loop(w.trust, 0);
    assert_int_equal(mark.term, 0);
}

static void a_refused_confirmation_is_no_trust(void **state) {
    (void)state;
    gain_all();
    w.confirm_status = STRATA_E_REFUSED;
    w.hold_beats = true;
    pass(600);
    w.hold_beats = false;
    uint32_t refreshed = w.refreshed;
    pass(500);
    assert_int_equal(count_trusted(), 0);
    assert_true(w.refreshed > refreshed);
    w.confirm_status = STRATA_E_UNAVAILABLE;
    pass(500);
    assert_int_equal(count_trusted(), 0);
    w.confirm_status = STRATA_OK;
    gain_all();
}

static void the_first_lease_begins_with_the_confirmation(void **state) {
    (void)state;
    w.hold_confirm = true;
    pass(100);
    int64_t asked_ns = w.confirm_at_ns;
    assert_int_equal(count_trusted(), 0);
    pass(100);
    w.hold_beats = true;
    while (w.conn->head < w.conn->tail) answer_held();
    finish_confirm(STRATA_OK);
    pass(5);
    (void)held_beat();
    answer_held();
    assert_int_equal(lease(0), asked_ns + DELTA);
}

static void a_confirmation_grows_old(void **state) {
    (void)state;
    w.hold_beats = true;
    pass(50);
    assert_int_equal(w.confirms, 1);
    (void)held_beat();
    pass(600);
    answer_held(); /* asked after the confirmation, answered too long after it */
    assert_int_equal(count_trusted(), 0);
    w.hold_beats = false;
    gain_all();
    assert_true(w.confirms >= 2);
}

static void a_quick_reconnect_needs_no_confirmation(void **state) {
    (void)state;
    gain_all();
    uint32_t confirms = w.confirms;
    uint64_t before = generation(0);
    w.conn->closing = true;
    settle();
    gain_all();
    assert_int_equal(w.confirms, confirms);
    assert_int_equal(w.opened, 2);
    assert_int_equal(generation(0), before);
    /* After the lease is over it does. */
    w.conn->closing = true;
    test_clock_advance(&w.clock, DELTA + MS);
    settle();
    gain_all();
    assert_int_equal(w.confirms, confirms + 1);
    assert_int_equal(generation(0), before);
}

static void an_unanswered_heartbeat_closes(void **state) {
    (void)state;
    gain_all();
    w.hold_beats = true;
    (void)held_beat();
    pass(900);
    assert_int_equal(w.closed, 0);
    pass(150);
    assert_int_equal(w.closed, 1);
}

/* ---- order ---- */

static void messages_continue_or_are_holes(void **state) {
    (void)state;
    gain_all();
    uint64_t before = generation(1);
    for (int i = 0; i < 5; i++) write_at(1);
    assert_true(trusted(1));
    pass(150);
    assert_true(trusted(1));
    set_counter(1, w.n[1] + 1); /* its message is lost */
    write_at(1);
    assert_true(lease(1) == INT64_MIN);
    assert_true(trusted(0));
    assert_int_equal(metric(SX_TRUST_METRIC_HOLES), 1);
    w.hold_beats = true;
    for (int i = 0; i < 10 && !trusted(1); i++) { /* a stream of writes doesn't keep it from coming back */
        (void)held_beat();
        write_at(1);
        answer_held();
        settle();
    }
    assert_true(trusted(1));
    assert_int_equal(generation(1), before + 1);
}

static void writes_missed_while_away_are_seen(void **state) {
    (void)state;
    gain_all();
    uint64_t before = generation(1);
    w.conn->closing = true;
    set_counter(1, w.n[1] + 3);
    settle();
    gain_all();
    assert_int_equal(generation(1), before + 1);
    assert_int_equal(generation(2), before);
}

static void a_restarted_counter_suspects_all(void **state) {
    (void)state;
    gain_all();
    set_counter(1, UINT64_C(1700000000000000));
    message(1, w.n[1]);
    assert_int_equal(count_trusted(), 0);
    gain_all();
    message(1, 5); /* back */
    assert_int_equal(count_trusted(), 0);
}

static void holes_while_untrusted_are_remembered(void **state) {
    (void)state;
    gain_all();
    uint64_t before = generation(2);
    w.conn->closing = true;
    w.hold_identify = true;
    settle();
    pass(50);
    assert_false(trusted(2));
    message(2, w.n[2] + 2); /* one was missed ... */
    set_counter(2, w.n[2]); /* ... and yet the counter is what it was */
    w.hold_identify = false;
    gain_all();
    assert_int_equal(generation(2), before + 1);
    assert_int_equal(generation(1), before);
}

static void messages_while_untrusted_may_continue(void **state) {
    (void)state;
    gain_all();
    uint64_t before = generation(2);
    w.conn->closing = true;
    w.hold_identify = true;
    settle();
    pass(50);
    write_at(2);
    write_at(2);
    w.hold_identify = false;
    gain_all();
    assert_int_equal(generation(2), before);
}

static void a_counter_ahead_is_a_lost_message(void **state) {
    (void)state;
    gain_all();
    uint64_t before = generation(3);
    set_counter(3, w.n[3] + 1);
    pass(105);
    assert_int_equal(metric(SX_TRUST_METRIC_COUNTER_MISMATCHES), 1);
    gain_all();
    assert_int_equal(generation(3), before + 1);
    assert_int_equal(generation(2), before);
}

static void what_was_asked_before_a_loss_proves_nothing(void **state) {
    (void)state;
    gain_all();
    uint64_t before = generation(2);
    w.hold_beats = true;
    (void)held_beat();
    sx_trust_redirect_on_loop(w.trust, w.tags->tags[2].slot, true);
    assert_true(lease(2) == INT64_MIN);
    settle();
    answer_held();
    assert_true(lease(2) == INT64_MIN);
    assert_true(trusted(1)); /* the others are extended */
    w.hold_beats = false;
    gain_all();
    assert_int_equal(generation(2), before);
}

static void an_answer_extends_only_who_is_trusted(void **state) {
    (void)state;
    w.hold_subscribe[3] = true;
    pass(300);
    assert_int_equal(count_trusted(), 3);
    assert_true(lease(3) == INT64_MIN);
    w.hold_subscribe[3] = false;
    pass(1500); /* the subscription is asked for again */
    assert_int_equal(count_trusted(), P);
}

static void an_identity_after_the_subscription_is_needed(void **state) {
    (void)state;
    w.hold_identify = true;
    pass(300);
    assert_int_equal(count_trusted(), 0);
    w.hold_identify = false;
    gain_all();
    uint64_t before = generation(0);
    w.hold_identify = true;
    push3("sunsubscribe", channel_of(0), NULL, 0);
    pass(1000);
    assert_int_equal(count_trusted(), P - 1); /* what it was before the subscription says nothing */
    w.hold_identify = false;
    gain_all();
    assert_int_equal(generation(0), before);
    w.token = 78;
    w.conn->closing = true;
    settle();
    gain_all();
    for (uint32_t i = 0; i < P; i++) assert_int_equal(generation(i), before + 1);
}

static void a_lost_slot_is_subscribed_again(void **state) {
    (void)state;
    gain_all();
    uint64_t before = generation(0);
    push3("sunsubscribe", channel_of(0), NULL, 0);
    assert_true(lease(0) == INT64_MIN);
    assert_int_equal(count_trusted(), P - 1);
    assert_true(w.refreshed > 0);
    pass(1000);
    assert_int_equal(count_trusted(), P);
    assert_int_equal(generation(0), before);
}

static void another_owner_is_another_connection(void **state) {
    (void)state;
    gain_all();
    for (uint32_t i = 0; i < P; i++) w.owners[i] = NULL;
    sx_trust_topology_on_loop(w.trust);
    assert_int_equal(count_trusted(), 0);
    settle();
    assert_int_equal(w.closed, 1); /* nothing is left there */
    w.token = 79;
    for (uint32_t i = 0; i < P; i++) w.owners[i] = &w.other;
    sx_trust_topology_on_loop(w.trust);
    gain_all();
    assert_int_equal(generation(0), 3);
}

/* ---- nonsense ---- */

static void malformed_messages_are_holes(void **state) {
    (void)state;
    gain_all();
    uint64_t before = generation(1);
    push3("smessage", channel_of(1), "nonsense", 8);
    assert_true(lease(1) == INT64_MIN);
    assert_int_equal(count_trusted(), P - 1);
    gain_all();
    assert_int_equal(generation(1), before + 1);
    push3("smessage", channel_of(1), NULL, 0); /* a number for a payload */
    assert_true(lease(1) == INT64_MIN);
    push3("smessage", "{0}s1:x", "nonsense", 8);
    push3("message", channel_of(0), "nonsense", 8);
    push3("invalidate", "", NULL, 0);
    assert_true(trusted(0));
    assert_int_equal(metric(SX_TRUST_METRIC_MALFORMED), 2);
}

static void untrust_forces_proof(void **state) {
    (void)state;
    gain_all();
    uint64_t before = generation(1);
    push3("smessage", channel_of(1), "\x92\x08\x00", 3);
    assert_true(lease(1) == INT64_MIN);
    gain_all();
    assert_int_equal(generation(1), before + 1);
}

static void wrong_answer(const sx_resp *reply) {
    w.hold_beats = true;
    sent s = *held_beat();
    w.conn->head = w.conn->tail = 0;
    s.fn(s.context, STRATA_OK, reply);
    w.hold_beats = false;
}

static void malformed_answers_close(void **state) {
    (void)state;
    sx_resp items[2 + P] = {{.type = SX_RESP_STRING, .size = 10, .text = "1700000000"},
                            {.type = SX_RESP_STRING, .size = 3, .text = "123"}};
    sx_resp reply = {.type = SX_RESP_INTEGER, .integer = 1};
    for (uint32_t round = 0; round < 4; round++) {
        gain_all();
        wrong_answer(&reply);
        assert_int_equal(count_trusted(), 0);
        settle();
        assert_int_equal(w.closed, round + 1);
        if (round == 0) reply = (sx_resp){.type = SX_RESP_ARRAY, .count = 1, .items = items};
        if (round == 1) reply = (sx_resp){.type = SX_RESP_ARRAY, .count = 3 + P, .items = items};
        if (round == 2) {
            reply = (sx_resp){.type = SX_RESP_ARRAY, .count = 2 + P, .items = items};
            items[0].text = "17000000zz";
        }
    }
    assert_int_equal(metric(SX_TRUST_METRIC_MALFORMED), 4);
}

static void an_error_ends_trust_of_all(void **state) {
    (void)state;
    gain_all();
    sx_resp reply = {.type = SX_RESP_ERROR, .size = 9, .text = "BUSY wait"};
    wrong_answer(&reply);
    assert_int_equal(count_trusted(), 0);
    gain_all();
    w.counters[2] = "-ERR the cluster is down";
    pass(105);
    assert_int_equal(count_trusted(), 0);
    set_counter(2, w.n[2]);
    gain_all();
    w.counters[2] = "-ERR Script attempted to access a non local key in a cluster node";
    pass(150);
    assert_int_equal(count_trusted(), P - 1);
    set_counter(2, w.n[2]);
    gain_all();
    w.counters[2] = "12x";
    pass(5);
    pass(105);
    assert_false(trusted(2));
}

static void a_missing_counter_ends_trust_of_all(void **state) {
    (void)state;
    gain_all();
    int64_t lost = metric(SX_TRUST_METRIC_LOST);
    w.counters[2] = NULL;
    pass(100);
    assert_true(metric(SX_TRUST_METRIC_LOST) >= lost + P);
    pass(300);
    assert_int_equal(count_trusted(), P - 1); /* the others need not wait for it */
    set_counter(2, 5);
    gain_all();
    assert_int_equal(generation(2), 3);
    assert_int_equal(generation(1), 2);
}

static void another_layout_is_refused(void **state) {
    (void)state;
    w.layout = "wire=1 partitions=8";
    pass(300);
    assert_int_equal(count_trusted(), 0);
    assert_int_equal(w.refused, STRATA_E_LAYOUT);
    w.layout = "wire=1 partitions=4";
    pass(10000);
    assert_int_equal(count_trusted(), P);
}

static void marks_follow_terms(void **state) {
    (void)state;
    gain_all();
    sx_trust_mark mark = sx_trust_mark_on_loop(w.trust, 1);
    assert_true(sx_trust_may_fill_on_loop(w.trust, 1, &mark, 77));
    assert_false(sx_trust_may_fill_on_loop(w.trust, 1, &mark, 78));
    assert_int_equal(w.reidentified, 1);
    w.hold_beats = true;
    (void)held_beat();
    test_clock_advance(&w.clock, DELTA); /* over, though nobody noticed */
    assert_false(sx_trust_may_fill_on_loop(w.trust, 1, &mark, 77));
    w.hold_beats = false;
    gain_all();
    assert_false(sx_trust_may_fill_on_loop(w.trust, 1, &mark, 77)); /* another term of the same generation */
    mark = sx_trust_mark_on_loop(w.trust, 1);
    assert_true(sx_trust_may_fill_on_loop(w.trust, 1, &mark, 77));
}

#define CASE(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(int argc, char **argv) {
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        CASE(a_lease_counts_from_sending), CASE(one_heartbeat_at_a_time), CASE(a_late_answer_does_not_extend),
        CASE(a_lapse_is_noticed_without_an_answer), CASE(a_refused_confirmation_is_no_trust),
        CASE(the_first_lease_begins_with_the_confirmation), CASE(a_confirmation_grows_old),
        CASE(a_quick_reconnect_needs_no_confirmation), CASE(an_unanswered_heartbeat_closes),
        CASE(messages_continue_or_are_holes), CASE(writes_missed_while_away_are_seen),
        CASE(a_restarted_counter_suspects_all),
        CASE(holes_while_untrusted_are_remembered), CASE(messages_while_untrusted_may_continue),
        CASE(a_counter_ahead_is_a_lost_message), CASE(what_was_asked_before_a_loss_proves_nothing),
        CASE(an_answer_extends_only_who_is_trusted), CASE(an_identity_after_the_subscription_is_needed),
        CASE(a_lost_slot_is_subscribed_again), CASE(another_owner_is_another_connection),
        CASE(malformed_messages_are_holes), CASE(untrust_forces_proof), CASE(malformed_answers_close),
        CASE(an_error_ends_trust_of_all), CASE(a_missing_counter_ends_trust_of_all), CASE(another_layout_is_refused),
        CASE(marks_follow_terms),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
