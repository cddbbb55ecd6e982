/* SPDX-License-Identifier: Apache-2.0 */
/* Clears, patterns and what they make invalid, in orders that two connections can bring about: answers come over one,
   messages over the other. Here the loop is handed them one by one. */
// ctest: timeout=300
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <stdatomic.h>

#include <cmocka.h>

#include "core/flow/engine.h"
#include "tests/support/cluster.h"
#include "tests/support/engine.h"
#include "tests/support/place.h"
#include "tests/support/side.h"

static sx_cluster *cluster;

static int setup(void **state) {
    (void)state;
    sx_cluster_options options = {.primaries = 3};
    cluster = test_cluster_start(&options);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    sx_cluster_stop(cluster);
    return 0;
}

/* ---- an engine, and what its loop is handed ---- */

static void open_side(test_side *s) {
    test_side_open(s, "crossing", TEST_OPTIONS("l2.nodes", sx_cluster_seeds(cluster), "l2.open_wait", "10s"), NULL);
}

#define LATE_N (UINT64_C(1) << 52) /* later than whatever a counter says */

/* What arrives in the loop in one turn, or while the answer about the floors is on its way. */
typedef struct crossing {
    sx_task task;
    sx_store_op op;
    sx_floors_asked asked;
    test_side *s;
    const char *key;
    void (*arrives)(struct crossing *c);
    bool asks;
    strata_namespace *opened;
    uint64_t n;
    uint32_t partition;
    bool good, known, opened_known;
    uint64_t floor;
    _Atomic int over; /* atomic: release / acquire; the above is read after it */
} crossing;

static void crossing_over(crossing *c) {
    c->known = sx_floors_known_on_loop(c->s->engine, c->s->ns, c->partition);
    c->opened_known = c->opened != NULL && sx_floors_known_on_loop(c->s->engine, c->opened, c->partition);
    c->floor = sx_floors_of_on_loop(c->s->engine, c->s->ns, c->partition);
    atomic_store_explicit(&c->over, 1, memory_order_release);
}

static void crossing_answered(sx_store_op *op, int32_t status, const sx_resp *reply) {
    crossing *c = SX_CONTAINER(op, crossing, op);
    c->good = status == STRATA_OK && sx_floors_answered_on_loop(c->s->engine, op, c->partition, &c->asked, reply);
    sx_command_deinit(&op->request.command);
    crossing_over(c);
}

static void crossing_run(sx_task *task) {
    crossing *c = SX_CONTAINER(task, crossing, task);
    strata *engine = c->s->engine;
    if (c->asks) {
        sx_command_init(&c->op.request.command, &engine->alloc);
        sx_floors_ask_on_loop(engine, &c->op, c->partition, sx_loop_now_ns(engine->loop) + 5 * SX_NS_PER_S, &c->asked,
                              crossing_answered);
    }
    if (c->arrives != NULL) c->arrives(c);
    if (!c->asks) crossing_over(c);
}

static crossing cross(test_side *s, const char *key, uint64_t n, bool asks, void (*arrives)(crossing *c)) {
    crossing c = {.task = {.run_on_loop = crossing_run}, .s = s, .key = key, .n = n, .asks = asks, .arrives = arrives};
    c.good = true;
    c.partition = test_place_of(key).partition;
    sx_loop_post(s->engine->loop, &c.task);
    while (atomic_load_explicit(&c.over, memory_order_acquire) == 0) test_sleep_ms(1);
    assert_true(c.good);
    return c;
}

static void message_arrives(crossing *c, sx_message_kind kind) {
    const strata_namespace *ns = c->s->ns;
    sx_message message = {.kind = kind, .sequenced = true, .n = c->n, .id = 4711,
                          .ns = ns->name, .ns_size = ns->name_size, .ns_version = ns->version};
    sx_envelope envelope = {.n = c->n, .id = 4711, .payload = (const uint8_t *)"carried", .payload_size = 7};
    sx_buf value;
    sx_buf_init(&value, &c->s->engine->alloc);
    if (kind == SX_MESSAGE_VALUE) {
        sx_envelope_encode(&value, &envelope);
        message.key = (const uint8_t *)c->key;
        message.key_size = strlen(c->key);
        message.value = value.data;
        message.value_size = value.size;
    }
    sx_apply_message_on_loop(c->s->engine, c->partition, &message);
    sx_buf_deinit(&value);
}

static void value_arrives(crossing *c) { message_arrives(c, SX_MESSAGE_VALUE); }
static void pattern_arrives(crossing *c) { message_arrives(c, SX_MESSAGE_PATTERN); }
static void clear_done(crossing *c) { sx_apply_clear_on_loop(c->s->engine, c->s->ns, c->partition, c->n); }

static void opens(crossing *c) {
    c->good = strata_namespace_open(c->s->engine, "crossing", 2, &c->opened) == STRATA_OK;
}

/* An answer that tells of a clear and proves nothing; then its message. */
static void floor_arrives_first(crossing *c) {
    char n[24];
    int size = snprintf(n, sizeof n, "%llu", (unsigned long long)c->n);
    const sx_resp items[] = {{.type = SX_RESP_STRING, .size = 10, .text = "crossing:1"},
                             {.type = SX_RESP_STRING, .size = (size_t)size, .text = n}};
    const sx_resp reply = {.type = SX_RESP_ARRAY, .count = 2, .items = items};
    c->good = sx_floors_answered_on_loop(c->s->engine, &c->op, c->partition, &c->asked, &reply);
    message_arrives(c, SX_MESSAGE_CLEAR);
}

/* ---- tests ---- */

static void a_floor_that_is_known_makes_no_clear_unheard(void **state) {
    (void)state;
    test_side a;
    open_side(&a);
    assert_int_equal(test_set(a.session, a.ns, "k", "old"), STRATA_OK);
    assert_string_equal(test_peek(a.session, a.ns, "k"), "old");
    crossing c = cross(&a, "k", LATE_N, false, floor_arrives_first);
    assert_true(c.floor == LATE_N);
    assert_null(test_peek(a.session, a.ns, "k"));
    test_side_close(&a);
}

/* Message 5, then the clear at 6 by this process, whose answer comes first. */
static void a_value_from_before_an_own_clear_is_not_taken(void **state) {
    (void)state;
    test_side a;
    open_side(&a);
    assert_int_equal(test_set(a.session, a.ns, "value", "old"), STRATA_OK);
    for (uint64_t i = 0; i < 100 && test_metric(a.engine, "flow.values_taken") == 0; i++) { /* a slow machine's trust may lapse */
        (void)cross(&a, "value", LATE_N - 200 + i, false, value_arrives);
        if (test_metric(a.engine, "flow.values_taken") == 0)
            assert_int_equal(test_set(a.session, a.ns, "value", "old"), STRATA_OK);
    }
    assert_int_equal(test_metric(a.engine, "flow.values_taken"), 1);
    assert_string_equal(test_peek(a.session, a.ns, "value"), "carried");
    (void)cross(&a, "value", LATE_N, false, clear_done);
    (void)cross(&a, "value", LATE_N - 1, false, value_arrives);
    assert_int_equal(test_metric(a.engine, "flow.values_taken"), 1);
    assert_null(test_peek(a.session, a.ns, "value"));
    test_side_close(&a);
}

/* Of its clears nothing was heard before it was opened, and the answer may be from before them. */
static void a_namespace_opened_while_floors_are_asked_for_is_not_known(void **state) {
    (void)state;
    test_side a;
    open_side(&a);
    crossing c = cross(&a, "k", 0, true, opens);
    assert_true(c.known);
    assert_false(c.opened_known);
    test_side_close(&a);
}

/* A replaced primary's clear: its n is no floor at the successor, which has never come so far. */
static void a_floor_of_a_lost_clear_is_asked_for_again(void **state) {
    (void)state;
    test_side a;
    open_side(&a);
    crossing c = cross(&a, "k", LATE_N, true, clear_done);
    assert_false(c.known); /* who knows which came first? */
    c = cross(&a, "k", 0, true, NULL);
    assert_true(c.known);
    assert_true(c.floor < LATE_N);
    (void)cross(&a, "k", LATE_N, false, clear_done);
    c = cross(&a, "k", LATE_N - 1, false, clear_done); /* once more, by the successor */
    assert_false(c.known);
    c = cross(&a, "k", 0, true, NULL);
    assert_true(c.known);
    assert_true(c.floor < LATE_N);
    test_side_close(&a);
}

/* What it brings may have matched, and have left L2 unseen: evicted, before the scan came by. */
static void what_a_pattern_overtakes_is_not_kept(void **state) {
    (void)state;
    test_side a;
    open_side(&a);
    test_side_hold(&a, "loading", NULL);
    int64_t superseded = test_metric(a.engine, "flow.fills_superseded");
    (void)cross(&a, "loading", 1, false, pattern_arrives);
    strata_load_finish(a.kept, STRATA_OK, test_bytes("old"), NULL);
    test_side_await(&a, 1);
    assert_int_equal(a.status, STRATA_OK);
    assert_int_equal(test_metric(a.engine, "flow.fills_superseded"), superseded + 1);
    assert_null(test_peek(a.session, a.ns, "loading"));
    test_side_close(&a);
}

int main(void) {
    if (!sx_cluster_available()) return 77;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_floor_that_is_known_makes_no_clear_unheard),
        cmocka_unit_test(a_value_from_before_an_own_clear_is_not_taken),
        cmocka_unit_test(a_namespace_opened_while_floors_are_asked_for_is_not_known),
        cmocka_unit_test(a_floor_of_a_lost_clear_is_asked_for_again),
        cmocka_unit_test(what_a_pattern_overtakes_is_not_kept),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
