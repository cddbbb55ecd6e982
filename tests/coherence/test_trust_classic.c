/* SPDX-License-Identifier: Apache-2.0 */
/* Why channels are sharded, and why holes are looked for: a classic PUBLISH passes the cluster's bus, which loses messages
   while a node hangs, and nobody's connection closes. What a subscriber of that node receives is relayed to trust. */
// ctest: timeout=300
#include "tests/coherence/scripted.h"

#include <unistd.h>

#include "tests/support/cluster.h"
#include "tests/support/talk.h"

#define CHANNEL "bus"
#define PADDING 65536 /* bytes of a message */
#define BURST   512   /* messages: more than the sockets of two links hold, so that some wait in the publisher's node */

static void pause_ms(uint32_t ms) { usleep(ms * 1000); }

/* Publishes n at one node; the other's subscribers get it over the bus. */
static void publish(test_talk *at, uint64_t n) {
    static char padding[PADDING];
    char text[32];
    memset(padding, 'p', sizeof padding);
    int size = snprintf(text, sizeof text, "%020llu", (unsigned long long)n);
    memcpy(padding, text, (size_t)size);
    sx_command command;
    sx_command_init(&command, sx_alloc_default());
    sx_command_text(&command, "PUBLISH");
    sx_command_text(&command, CHANNEL);
    sx_command_arg(&command, padding, sizeof padding);
    const sx_resp *reply = test_talk_call(at, &command, NULL);
    assert_int_equal(reply->type, SX_RESP_INTEGER);
    sx_command_deinit(&command);
}

/* What has arrived, or arrives in time where nothing has, each message as the partition's own; their number. */
static uint32_t relay(test_talk *from, int wait_ms, uint64_t *last) {
    uint32_t count = 0;
    for (const sx_resp *push; (push = test_talk_read(from, count == 0 ? wait_ms : 0)) != NULL; count++) {
        assert_true(push->type == SX_RESP_PUSH && push->count == 3 && push->items[2].size == PADDING);
        *last = strtoull(push->items[2].text, NULL, 10);
        message(1, *last);
    }
    return count;
}

/* As relay; one at least. */
static uint32_t relay_next(test_talk *from, uint64_t *last) {
    uint32_t count = relay(from, 20000, last);
    assert_true(count > 0);
    return count;
}

/* Whether the publisher's node holds another to be failing: its link has been given up. */
static bool is_missed(sx_cluster *cluster) {
    char *nodes = sx_cluster_command(cluster, 0, "CLUSTER NODES");
    bool missed = strstr(nodes, ",fail") != NULL; /* or "fail?": it thinks so, the majority not yet */
    free(nodes);
    return missed;
}

static void what_the_bus_loses_is_a_hole(void **state) {
    (void)state;
    const sx_cluster_options options = {.primaries = 3, .node_timeout_ms = 1500};
    sx_cluster *cluster = test_cluster_start(&options);
    test_talk *publisher = test_talk_open(sx_cluster_port(cluster, 0), false);
    test_talk *subscriber = test_talk_open(sx_cluster_port(cluster, 1), true);
    (void)test_talk_say(subscriber, "SUBSCRIBE " CHANNEL);
    gain_all();
    uint64_t first = w.n[1], n = first, last = first;
    uint64_t before = generation(1);
    uint32_t received = 0;
    for (int i = 0; i < 50; i++) {
        publish(publisher, ++n);
        received += relay(subscriber, 0, &last);
    }
    while (last < n) received += relay_next(subscriber, &last);
    assert_int_equal(received, 50); /* all is well: nothing is lost, and nothing is held to be */
    set_counter(1, n);
    pass(150);
    assert_true(trusted(1));
    assert_int_equal(metric(SX_TRUST_METRIC_HOLES), 0);

    assert_int_equal(sx_cluster_pause(cluster, 1), 0);
    for (int i = 0; i < BURST; i++) publish(publisher, ++n);
    while (!is_missed(cluster)) pause_ms(10); /* so its link was given up, with what had not left yet */
    assert_int_equal(sx_cluster_resume(cluster, 1), 0);
    for (uint64_t after = n; last <= after;) { /* until one arrives that was published since */
        publish(publisher, ++n);
        pause_ms(10);
        received += relay(subscriber, 0, &last);
    }
    while (last < n) received += relay_next(subscriber, &last);
    fprintf(stderr, "%u of %llu messages were lost\n", (unsigned)(n - first) - received, (unsigned long long)(n - first));
    assert_true(received < n - first); /* the connection is the same, and goes on */
    assert_true(metric(SX_TRUST_METRIC_HOLES) > 0);
    assert_true(lease(1) == INT64_MIN);
    set_counter(1, n);
    gain_all();
    assert_int_equal(generation(1), before + 1); /* what was held is proven anew */
    test_talk_close(subscriber);
    test_talk_close(publisher);
    sx_cluster_stop(cluster);
}

int main(void) {
    if (!sx_cluster_available()) return 77;
    const struct CMUnitTest tests[] = {CASE(what_the_bus_loses_is_a_hole)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
