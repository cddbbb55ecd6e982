/* SPDX-License-Identifier: Apache-2.0 */
/* The holes that other two-tier caches are known to have, one test each, against a real cluster. A speaks to the servers
   directly; B by a proxy that delays, stalls, swallows or loses what it is told to, of its subscriptions, of its data, or of
   both. (One more, an invalidation during a background refresh, is a test of that name among those of integration.aging. One
   here is nobody else's: failed invalidations that count as settled by what ran before them.) */
// ctest: timeout=300
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/memory/alloc.h"
#include "tests/support/cluster.h"
#include "tests/support/engine.h"
#include "tests/support/place.h"
#include "tests/support/proxy.h"
#include "tests/support/side.h"
#include "tests/support/talk.h"

#define NODES        3
#define STALENESS_MS 500
#define KEYS         24

static sx_cluster *cluster;

static int setup(void **state) {
    (void)state;
    sx_cluster_options options = {.primaries = NODES};
    cluster = test_cluster_start(&options);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    sx_cluster_stop(cluster);
    return 0;
}

typedef struct world {
    test_side a, b;
    proxy *proxy;
    const char *test; /* its keys are its own */
    char key[KEYS][40];
    uint32_t node[KEYS]; /* of the key's slot */
} world;

static void open_side(test_side *s, const char *seeds, const char *nat) {
    test_side_open(s, "holes", TEST_OPTIONS("l2.nodes", seeds, "l2.nat", nat, "l2.open_wait", "10s", "l2.breaker_open", "100ms"),
                   NULL);
}

static world *open_world(const char *test) {
    world *w = calloc(1, sizeof *w);
    uint16_t ports[NODES];
    char nat[256] = "", seeds[128] = "";
    for (uint32_t i = 0; i < NODES; i++) ports[i] = sx_cluster_port(cluster, i);
    w->proxy = proxy_start(ports, NODES);
    assert_non_null(w->proxy);
    for (uint32_t i = 0; i < NODES; i++) {
        uint16_t through = proxy_port(w->proxy, i);
        size_t used = strlen(nat), seeded = strlen(seeds);
        snprintf(nat + used, sizeof nat - used, "%s127.0.0.1:%u=127.0.0.1:%u", i == 0 ? "" : ",", ports[i], through);
        snprintf(seeds + seeded, sizeof seeds - seeded, "%s127.0.0.1:%u", i == 0 ? "" : ",", through);
    }
    w->test = test;
    open_side(&w->a, sx_cluster_seeds(cluster), "");
    open_side(&w->b, seeds, nat);
    for (int i = 0; i < KEYS; i++) {
        snprintf(w->key[i], sizeof w->key[i], "%s:%d", test, i);
        w->node[i] = test_node_of(cluster, w->key[i]);
    }
    return w;
}

static void close_world(world *w) {
    test_side_close(&w->a);
    test_side_close(&w->b);
    proxy_stop(w->proxy);
    free(w);
}

/* Of all nodes, until the next. */
static void strike(world *w, proxy_fault_kind kind, proxy_whose whose, uint32_t delay_ms) {
    proxy_fault fault = {.kind = kind, .until_ns = INT64_MAX, .delay_ms = delay_ms, .percent = 100, .to_server = true,
                         .to_client = true, .whose = whose};
    for (uint32_t i = 0; i < NODES; i++) proxy_set(w->proxy, i, &fault);
    proxy_settle(w->proxy);
}

static void heal_node(world *w, uint32_t node) {
    proxy_set(w->proxy, node, &(proxy_fault){.kind = PROXY_GOOD});
    proxy_settle(w->proxy);
}

static void heal(world *w) {
    for (uint32_t i = 0; i < NODES; i++) heal_node(w, i);
}

static bool is_text(const char *text, const char *expected) { return text != NULL && strcmp(text, expected) == 0; }

static void expect_text(const char *text, const char *expected, const char *key) {
    if (!is_text(text, expected)) fail_msg("%s is %s, not %s", key, text == NULL ? "nothing" : text, expected);
}

/* Until B's L1 has it: not where trust has lapsed for a moment. */
static void hold(world *w, const char *key) {
    const char *text = NULL;
    for (int i = 0; i < 200 && !is_text(text, "old"); i++) {
        expect_text(test_get(w->b.session, w->b.ns, key), "old", key);
        text = test_peek(w->b.session, w->b.ns, key);
        if (text == NULL) test_sleep_ms(10);
    }
    expect_text(text, "old", key);
}

/* All keys, written by A and held by both. */
static void spread(world *w) {
    for (int i = 0; i < KEYS; i++) {
        assert_int_equal(test_set(w->a.session, w->a.ns, w->key[i], "old"), STRATA_OK);
        hold(w, w->key[i]);
    }
}

/* What stands in L2, by A. */
static const char *stored(world *w, const char *key) {
    static char text[32];
    strata_op_options bypass = {.struct_size = sizeof bypass, .flags = STRATA_BYPASS_L1, .deadline_ms = 3000};
    strata_result result;
    int32_t status = strata_get_wait(w->a.session, w->a.ns, test_bytes(key), &bypass, &result);
    if (status == STRATA_MISS) return NULL;
    assert_int_equal(status, STRATA_OK);
    snprintf(text, sizeof text, "%.*s", (int)result.value.size, (const char *)result.value.data);
    strata_result_release(w->a.session, &result);
    return text;
}

static void invalidate_by_a(world *w, const char *key) {
    assert_int_equal(strata_invalidate_wait(w->a.session, w->a.ns, test_bytes(key), NULL), STRATA_OK);
}

/* Every step'th key was written by then: from the bound on, until the time is over, B's L1 answers nothing that is old. */
static void expect_nothing_old(world *w, int64_t written_ms, int step, int64_t for_ms) {
    while (test_now_ms() < written_ms + for_ms) {
        for (int i = 0; i < KEYS; i += step) {
            int64_t start_ms = test_now_ms();
            const char *text = test_peek(w->b.session, w->b.ns, w->key[i]);
            if (start_ms > written_ms + STALENESS_MS && is_text(text, "old"))
                fail_msg("%s is still served %lld ms after it was replaced", w->key[i], (long long)(start_ms - written_ms));
        }
        test_sleep_ms(2);
    }
}

/* ---- fills ---- */

/* B reads; while the answer is on its way the key is invalidated, and the message is there before it. Where B first asked for
   something else, as after a lapse of trust, the value was gone when it was asked: then once more. */
static void a_stale_fill_between_read_and_invalidation(void **state) {
    (void)state;
    world *w = open_world("fill");
    int crossed = 0;
    for (int i = 0; i < KEYS && crossed < 4; i++) {
        const char *key = w->key[i];
        assert_null(test_get(w->b.session, w->b.ns, key)); /* from here on it knows all that a read needs but the value */
        assert_int_equal(test_set(w->a.session, w->a.ns, key, "old"), STRATA_OK);
        strike(w, PROXY_DELAY, PROXY_DATA, 60);
        int answers = w->b.answers;
        strata_result result;
        assert_int_equal(strata_get(w->b.session, w->b.ns, test_bytes(key), NULL, &result, test_side_done, &w->b), STRATA_PENDING);
        test_sleep_ms(90); /* the answer has begun its way back */
        invalidate_by_a(w, key);
        test_side_await(&w->b, answers + 1);
        heal(w);
        crossed += strcmp(w->b.answer, "old") == 0; /* as it was when it was asked */
        assert_null(test_peek(w->b.session, w->b.ns, key));
        assert_null(test_get(w->b.session, w->b.ns, key));
    }
    assert_int_equal(crossed, 4);
    close_world(w);
}

/* Nor does B hear of what happened meanwhile: L2 itself must refuse. */
static void a_stale_l2_set_by_a_slow_loader(void **state) {
    (void)state;
    world *w = open_world("loader");
    strike(w, PROXY_LOSE, PROXY_ALL, 0);
    for (int i = 0; i < 4; i++) {
        const char *key = w->key[i];
        test_side_hold(&w->b, key, NULL);
        if (i % 2 == 0) invalidate_by_a(w, key);
        else assert_int_equal(test_set(w->a.session, w->a.ns, key, "new"), STRATA_OK);
        assert_int_equal(strata_load_finish(w->b.kept, STRATA_OK, test_bytes("old"), NULL), STRATA_OK);
        test_side_await(&w->b, 1);
        assert_string_equal(w->b.answer, "old"); /* who waited asked before */
        assert_false(is_text(stored(w, key), "old"));
        assert_false(is_text(test_peek(w->b.session, w->b.ns, key), "old"));
        assert_int_equal(is_text(stored(w, key), "new"), i % 2 != 0);
    }
    close_world(w);
}

/* ---- messages ---- */

static void messages_missed_during_reconnect(void **state) {
    (void)state;
    world *w = open_world("reconnect");
    spread(w);
    strike(w, PROXY_DROP, PROXY_SUBSCRIPTIONS, 0);
    for (int i = 0; i < KEYS; i += 2) assert_int_equal(test_set(w->a.session, w->a.ns, w->key[i], "new"), STRATA_OK);
    int64_t written_ms = test_now_ms();
    heal(w); /* which closes them */
    expect_nothing_old(w, written_ms, 2, STALENESS_MS + 200);
    test_engine_await_trust(w->b.engine, 20000);
    int64_t revalidated = test_metric(w->b.engine, "l2.revalidated");
    for (int i = 0; i < KEYS; i++)
        expect_text(test_get(w->b.session, w->b.ns, w->key[i]), i % 2 == 0 ? "new" : "old", w->key[i]);
    assert_true(test_metric(w->b.engine, "l2.revalidated") <= revalidated + KEYS / 2); /* the others by their headers, if at all */
    close_world(w);
}

/* Nothing says that the connection is none any more. */
static void half_open_connections(void **state) {
    (void)state;
    world *w = open_world("half");
    spread(w);
    strike(w, PROXY_DROP, PROXY_SUBSCRIPTIONS, 0);
    for (int i = 0; i < KEYS; i++) assert_int_equal(test_set(w->a.session, w->a.ns, w->key[i], "new"), STRATA_OK);
    expect_nothing_old(w, test_now_ms(), 1, STALENESS_MS + 400);
    for (int i = 0; i < KEYS; i++) expect_text(test_get(w->b.session, w->b.ns, w->key[i]), "new", w->key[i]); /* L2 is asked */
    heal(w);
    test_engine_await_trust(w->b.engine, 20000);
    close_world(w);
}

static void a_lost_tag_message_that_resurrects_whole_groups(void **state) {
    (void)state;
    world *w = open_world("tag");
    strata_bytes tag = test_bytes("holes");
    strata_op_options tagged = {.struct_size = sizeof tagged, .tags = &tag, .tag_count = 1, .deadline_ms = 3000};
    for (int i = 0; i < KEYS; i++) {
        strata_bytes key = test_bytes(w->key[i]);
        assert_int_equal(strata_set_wait(w->a.session, w->a.ns, key, test_bytes("old"), &tagged, NULL), STRATA_OK);
        hold(w, w->key[i]);
    }
    strike(w, PROXY_LOSE, PROXY_ALL, 0);
    assert_int_equal(strata_invalidate_tags_wait(w->a.session, &tag, 1, NULL), STRATA_OK);
    expect_nothing_old(w, test_now_ms(), 1, STALENESS_MS + 300);
    for (int i = 0; i < KEYS; i++) assert_null(test_get(w->b.session, w->b.ns, w->key[i]));
    assert_true(proxy_harm(w->proxy) > 0);
    heal(w);
    for (int i = 0; i < KEYS; i++) assert_null(test_get(w->b.session, w->b.ns, w->key[i]));
    close_world(w);
}

/* B's own write is answered after A's later one was heard of: by then its value is the older one. */
static void messages_applied_out_of_order(void **state) {
    (void)state;
    world *w = open_world("order");
    int crossed = 0;
    for (int i = 0; i < KEYS && crossed < 4; i++) {
        const char *key = w->key[i];
        strike(w, PROXY_DELAY, PROXY_DATA, 60);
        int answers = w->b.answers;
        int64_t set_ms = test_now_ms();
        assert_int_equal(strata_set(w->b.session, w->b.ns, test_bytes(key), test_bytes("old"), NULL, test_side_done, &w->b),
                         STRATA_PENDING);
        while (!is_text(stored(w, key), "old") && test_now_ms() < set_ms + 1000) test_sleep_ms(1);
        assert_int_equal(test_set(w->a.session, w->a.ns, key, "new"), STRATA_OK);
        int64_t replaced_ms = test_now_ms();
        test_side_await(&w->b, answers + 1);
        crossed += test_now_ms() > replaced_ms + 20; /* else it was answered before */
        heal(w);
        assert_int_equal(w->b.status, STRATA_OK);
        test_sleep_ms(20);
        assert_false(is_text(test_peek(w->b.session, w->b.ns, key), "old"));
        expect_text(test_get(w->b.session, w->b.ns, key), "new", key);
        expect_text(test_get(w->a.session, w->a.ns, key), "new", key);
    }
    assert_int_equal(crossed, 4);
    close_world(w);
}

/* ---- writes ---- */

/* What L2 did not take is nobody's value, neither while it can't be asked nor afterwards. */
static void local_first_writes_that_stay_when_l2_fails(void **state) {
    (void)state;
    world *w = open_world("local");
    spread(w);
    strike(w, PROXY_DROP, PROXY_DATA, 0);
    strata_op_options brief = {.struct_size = sizeof brief, .deadline_ms = 50};
    for (int i = 0; i < KEYS; i++) {
        int32_t status = strata_set_wait(w->b.session, w->b.ns, test_bytes(w->key[i]), test_bytes("local"), &brief, NULL);
        assert_true(status < 0);
        assert_false(is_text(test_peek(w->b.session, w->b.ns, w->key[i]), "local"));
    }
    heal(w);
    TEST_AWAIT(test_metric(w->b.engine, "flow.unknown_keys") == 0, test_sleep_ms(10));
    assert_int_equal(test_metric(w->b.engine, "flow.unknown_keys"), 0);
    for (int i = 0; i < KEYS; i++) {
        assert_false(is_text(stored(w, w->key[i]), "local"));
        const char *text = test_get(w->b.session, w->b.ns, w->key[i]);
        assert_false(is_text(text, "local"));
        assert_int_equal(text != NULL, stored(w, w->key[i]) != NULL);
    }
    close_world(w);
}

static int64_t owed(world *w) { return test_metric(w->b.engine, "recovery.waiting") + test_metric(w->b.engine, "flow.unknown_keys"); }

/* Two nodes can't be reached, then one can: what the other is owed is in nobody's way, whichever was first. */
static void recovery_queues_that_die_at_the_first_failing_item(void **state) {
    (void)state;
    world *w = open_world("queue");
    spread(w);
    strike(w, PROXY_DROP, PROXY_DATA, 0);
    heal_node(w, 2);
    strata_op_options brief = {.struct_size = sizeof brief, .deadline_ms = 50};
    int of[2] = {0, 0};
    for (int i = 0; i < KEYS; i++) {
        int32_t status = strata_invalidate_wait(w->b.session, w->b.ns, test_bytes(w->key[i]), w->node[i] == 2 ? NULL : &brief);
        assert_true(w->node[i] == 2 ? status == STRATA_OK : status < 0); /* never reported as done */
        if (w->node[i] != 2) of[w->node[i]]++;
    }
    assert_true(of[0] > 0 && of[1] > 0);
    assert_int_equal(owed(w), of[0] + of[1]);
    for (uint32_t node = 2; node-- > 0;) { /* the one that failed last first */
        heal_node(w, node);
        int64_t left = node == 1 ? of[0] : 0;
        TEST_AWAIT(owed(w) <= left, test_sleep_ms(10));
        assert_int_equal(owed(w), left);
        for (int i = 0; i < KEYS; i++)
            if (w->node[i] == node) assert_null(stored(w, w->key[i]));
    }
    close_world(w);
}

/* What B says to the servers, or what they answer, is held back until the next. */
static void stall(world *w, bool to_server) {
    proxy_fault fault = {.kind = PROXY_STALL, .until_ns = INT64_MAX, .percent = 100, .to_server = to_server, .to_client = !to_server,
                         .whose = PROXY_DATA};
    for (uint32_t i = 0; i < NODES; i++) proxy_set(w->proxy, i, &fault);
    proxy_settle(w->proxy);
}

/* B's write is held back until it is refused as too late, but what settles it is executed; nobody tells B. A writes. An
   invalidation of B waits behind all that until its time is over: it failed after A's value was there, which must go. Where
   B took the server's clock to be ahead, its write was not too late: then once more. */
static void failed_invalidations_settled_by_what_ran_before_them(void **state) {
    (void)state;
    world *w = open_world("before");
    strata_op_options brief = {.struct_size = sizeof brief, .deadline_ms = 50};
    int settled = 0;
    for (int i = 0; i < KEYS && settled < 4; i++) {
        const char *key = w->key[i];
        assert_int_equal(test_set(w->b.session, w->b.ns, key, "first"), STRATA_OK);
        stall(w, true);
        int32_t late = strata_set_wait(w->b.session, w->b.ns, test_bytes(key), test_bytes("late"), &brief, NULL);
        if (late == STRATA_E_TIMEOUT) { /* the machine did not let it be sent in time: there is nothing to settle */
            heal(w);
            continue;
        }
        assert_int_equal(late, STRATA_E_UNKNOWN_OUTCOME);
        test_sleep_ms(100);
        stall(w, false);
        for (int j = 0; j < 60 && stored(w, key) != NULL; j++) test_sleep_ms(5);
        settled += stored(w, key) == NULL;
        assert_int_equal(test_set(w->a.session, w->a.ns, key, "old"), STRATA_OK);
        assert_int_equal(strata_invalidate_wait(w->b.session, w->b.ns, test_bytes(key), &brief), STRATA_E_TIMEOUT);
        heal(w);
        TEST_AWAIT(owed(w) == 0, test_sleep_ms(10));
        assert_int_equal(owed(w), 0);
        assert_null(stored(w, key));
        assert_null(test_get(w->b.session, w->b.ns, key));
    }
    assert_int_equal(settled, 4);
    close_world(w);
}

static void read_number(const sx_resp *push, uint64_t *n, uint64_t *gaps) {
    static const size_t at = 2; /* array of some, kind, then n as cf and 8 bytes */
    if (push->type != SX_RESP_PUSH || push->count != 3 || push->items[2].size < at + 9) return;
    const uint8_t *bytes = (const uint8_t *)push->items[2].text;
    uint64_t number = 0;
    if (bytes[at] != 0xcf) return;
    for (size_t i = 1; i <= 8; i++) number = number << 8 | bytes[at + i];
    if (*n != 0 && number != *n + 1) ++*gaps;
    *n = number;
}

/* The connections of who writes are cut in the middle of answers, again and again: no write is executed without its message,
   none is told without having been executed. */
static void write_and_publish_that_are_not_atomic(void **state) {
    (void)state;
    world *w = open_world("atomic");
    const char *key = w->key[0];
    test_talk *talk = test_talk_open(sx_cluster_port(cluster, w->node[0]), true);
    char words[64];
    snprintf(words, sizeof words, "SSUBSCRIBE {%s}s1:c", test_place_of(key).tag);
    assert_non_null(test_talk_say(talk, words));
    strata_op_options brief = {.struct_size = sizeof brief, .deadline_ms = 100};
    uint64_t last = 0, gaps = 0;
    int told = 0;
    for (int i = 0; i < 60; i++) {
        if (i % 3 == 0) strike(w, PROXY_CUT, PROXY_DATA, 0);
        strata_bytes value = test_bytes(i % 2 == 0 ? "even" : "odd");
        told += strata_set_wait(w->b.session, w->b.ns, test_bytes(key), value, &brief, NULL) == STRATA_OK;
        heal(w);
        test_sleep_ms(5);
        for (const sx_resp *push; (push = test_talk_read(talk, 0)) != NULL;) read_number(push, &last, &gaps);
    }
    TEST_AWAIT(owed(w) == 0, test_sleep_ms(10));
    test_sleep_ms(100);
    for (const sx_resp *push; (push = test_talk_read(talk, 20)) != NULL;) read_number(push, &last, &gaps);
    snprintf(words, sizeof words, "HGET {%s}s1:n n", test_place_of(key).tag);
    char *counter = sx_cluster_command(cluster, w->node[0], "%s", words);
    assert_true(told > 0);
    assert_true(last != 0 && last == strtoull(counter, NULL, 10)); /* the last write was published */
    assert_true(gaps == 0);                                        /* and so was each before it */
    free(counter);
    test_talk_close(talk);
    close_world(w);
}

/* ---- slots ---- */

/* A slot leaves, is written where it went, and returns, while B hears nothing: the owner is the one it knew. */
static void slots_that_come_back_to_an_old_owner(void **state) {
    (void)state;
    world *w = open_world("slot");
    const char *key = w->key[0];
    uint32_t home = w->node[0], guest = (home + 1) % NODES;
    assert_int_equal(test_set(w->a.session, w->a.ns, key, "old"), STRATA_OK);
    hold(w, key);
    strike(w, PROXY_DROP, PROXY_SUBSCRIPTIONS, 0);
    test_cluster_move_slot(cluster, test_place_of(key).slot, home, guest, 0);
    assert_int_equal(test_set(w->a.session, w->a.ns, key, "new"), STRATA_OK);
    int64_t written_ms = test_now_ms();
    test_cluster_move_slot(cluster, test_place_of(key).slot, guest, home, 0);
    heal(w);
    while (test_now_ms() < written_ms + STALENESS_MS + 500) {
        int64_t start_ms = test_now_ms();
        if (is_text(test_peek(w->b.session, w->b.ns, key), "old")) assert_true(start_ms <= written_ms + STALENESS_MS);
        test_sleep_ms(2);
    }
    test_engine_await_trust(w->b.engine, 20000);
    expect_text(test_get(w->b.session, w->b.ns, key), "new", key);
    expect_text(stored(w, key), "new", key);
    close_world(w);
}

int main(void) {
    if (!sx_cluster_available()) return 77;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stale_fill_between_read_and_invalidation),
        cmocka_unit_test(a_stale_l2_set_by_a_slow_loader),
        cmocka_unit_test(messages_missed_during_reconnect),
        cmocka_unit_test(half_open_connections),
        cmocka_unit_test(a_lost_tag_message_that_resurrects_whole_groups),
        cmocka_unit_test(messages_applied_out_of_order),
        cmocka_unit_test(local_first_writes_that_stay_when_l2_fails),
        cmocka_unit_test(recovery_queues_that_die_at_the_first_failing_item),
        cmocka_unit_test(failed_invalidations_settled_by_what_ran_before_them),
        cmocka_unit_test(write_and_publish_that_are_not_atomic),
        cmocka_unit_test(slots_that_come_back_to_an_old_owner),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
