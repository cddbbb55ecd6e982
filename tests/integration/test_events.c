/* SPDX-License-Identifier: Apache-2.0 */
/* Events where there is an L2: what other processes say, what it answers, and what its servers' end does. */
// ctest: timeout=300
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/cluster.h"
#include "tests/support/engine.h"
#include "tests/support/side.h"

static sx_cluster *cluster;

static int setup(void **state) {
    (void)state;
    sx_cluster_options options = {.primaries = 3, .node_timeout_ms = 20000};
    cluster = test_cluster_start(&options);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    sx_cluster_stop(cluster);
    return 0;
}

static void open_side(test_side *side) {
    *side = (test_side){0};
    test_side_open(side, "events", TEST_OPTIONS("l2.nodes", sx_cluster_seeds(cluster), "l2.open_wait", "10s", "l2.breaker_failures", "2",
                                                "l2.breaker_open", "600s"), NULL);
    assert_int_equal(strata_events_watch(side->engine, STRATA_EVENTS_ALL, 4096), STRATA_OK);
}

/* How many of a kind have come so far, with a key's number (0: any) and status; waits until there are as many as that. */
static int await(test_side *side, strata_event_kind kind, uint64_t hash, int32_t status, int wanted, strata_event *last) {
    static strata_event events[4096];
    int found = 0;
    for (int i = 0; i < 500 && found < wanted; i++) {
        size_t count;
        uint64_t dropped;
        assert_int_equal(strata_events_drain(side->engine, events, 4096, &count, &dropped), STRATA_OK);
        assert_int_equal(dropped, 0);
        for (size_t e = 0; e < count; e++) {
            if (events[e].kind != kind || events[e].status != status || (hash != 0 && events[e].key_hash != hash)) continue;
            *last = events[e];
            found++;
        }
        if (found < wanted) test_sleep_ms(10);
    }
    return found;
}

static void l2_is_told_of(void **state) {
    (void)state;
    test_side a, b;
    strata_event event;
    uint64_t in_a, in_b;
    open_side(&a);
    open_side(&b);
    assert_int_equal(strata_event_key(a.ns, test_bytes("k"), &in_a), STRATA_OK);
    assert_int_equal(strata_event_key(b.ns, test_bytes("k"), &in_b), STRATA_OK);
    assert_int_equal(test_set(a.session, a.ns, "k", "v"), STRATA_OK);
    assert_int_equal(await(&a, STRATA_EVENT_SET, in_a, STRATA_OK, 1, &event), 1);
    assert_true(event.value > 0 && event.ns == a.ns);
    assert_int_equal(await(&b, STRATA_EVENT_HEARD, in_b, STRATA_OK, 1, &event), 1);
    assert_true(event.value > 0 && event.ns == b.ns);
    assert_string_equal(test_get(b.session, b.ns, "k"), "v");
    assert_int_equal(await(&b, STRATA_EVENT_L2, in_b, STRATA_OK, 1, &event), 1);
    assert_int_equal(strata_invalidate_wait(a.session, a.ns, test_bytes("k"), NULL), STRATA_OK);
    assert_int_equal(await(&a, STRATA_EVENT_INVALIDATE, in_a, STRATA_OK, 1, &event), 1);
    assert_int_equal(await(&b, STRATA_EVENT_HEARD, in_b, STRATA_OK, 1, &event), 1);
    /* Writes that nobody waits for. */
    assert_int_equal(strata_set(a.session, a.ns, test_bytes("k"), test_bytes("w"), NULL, NULL, NULL), STRATA_PENDING);
    assert_int_equal(await(&a, STRATA_EVENT_SET, in_a, STRATA_OK, 1, &event), 1);
    assert_true(event.value > 0);
    assert_int_equal(strata_invalidate(a.session, a.ns, test_bytes("k"), NULL, NULL, NULL), STRATA_PENDING);
    assert_int_equal(await(&a, STRATA_EVENT_INVALIDATE, in_a, STRATA_OK, 1, &event), 1);
    /* A server dies. */
    assert_int_equal(sx_cluster_kill(cluster, 1), 0);
    assert_true(await(&b, STRATA_EVENT_TRUST, 0, 0, 1, &event) > 0);
    assert_true(event.value >= 0 && event.value < 256);
    strata_op_options past_l1 = {.struct_size = sizeof past_l1, .flags = STRATA_BYPASS_L1, .deadline_ms = 200};
    strata_result result;
    for (int i = 0; i < 40; i++) {
        char key[16] = {'x', (char)('0' + i / 10), (char)('0' + i % 10), 0};
        (void)strata_get_wait(a.session, a.ns, test_bytes(key), &past_l1, &result);
    }
    assert_int_equal(await(&a, STRATA_EVENT_BREAKER, 0, 1, 1, &event), 1);
    strata_node_stats node = {.struct_size = sizeof node, .latency = {.struct_size = sizeof node.latency}};
    assert_int_equal(strata_stats_node(a.engine, (uint32_t)event.value, &node), STRATA_OK);
    assert_true((node.flags & STRATA_NODE_BREAKER_OPEN) != 0);
    test_side_close(&a);
    test_side_close(&b);
}

int main(void) {
    if (!sx_cluster_available()) return 77;
    const struct CMUnitTest tests[] = {cmocka_unit_test(l2_is_told_of)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
