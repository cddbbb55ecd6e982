/* SPDX-License-Identifier: Apache-2.0 */
/* Trust when nodes change: slots that move, primaries that die or are replaced while paused, a standalone server. */
// ctest: timeout=300
#include "tests/coherence/process.h"

static void a_moved_slot_is_followed(void **state) {
    (void)state;
    process p;
    process_open(&p, &(options){0});
    gain_all(&p);
    uint64_t before = generation_of(&p, 0);
    uint32_t from = owner_of(&p, 0), to = (from + 1) % 3;
    command_at(&p, 0, "DEL", "n"); /* an empty slot is given away at once */
    run(&p, 1);
    int64_t lost = metric(&p, SX_TRUST_METRIC_LOST);
    assert_int_equal(sx_cluster_slot_give(servers, p.tags->tags[0].slot, to), 0);
    run_until_metric(&p, SX_TRUST_METRIC_LOST, lost + 1);
    run(&p, 300);
    gain_all(&p);
    assert_int_equal(owner_of(&p, 0), to);
    assert_true(generation_of(&p, 0) > before);
    uint32_t messages = p.messages[0];
    run_until_heard(&p, 0, invalidate(&p, 0));
    assert_int_equal(p.messages[0], messages + 1);
    free(sx_cluster_command(servers, to, "FLUSHALL"));
    run(&p, 300);
    process_close(&p);
}

static void a_migrating_slot_is_not_trusted(void **state) {
    (void)state;
    process p;
    process_open(&p, &(options){0});
    gain_all(&p);
    uint32_t from = owner_of(&p, 20), to = (from + 1) % 3;
    assert_int_equal(sx_cluster_slot_migrating(servers, p.tags->tags[20].slot, to), 0);
    command_at(&p, 20, "DEL", "n"); /* as if the counter had moved: the owner answers ASK */
    run_until_untrusted(&p, 20);
    run(&p, 300);
    for (int i = 0; i < 5000 && trusted_count(&p) != P - 1; i++) sx_loop_turn(p.loop, 2);
    assert_int_equal(trusted_count(&p), P - 1);
    assert_false(is_trusted(&p, 20));
    free(sx_cluster_command(servers, from, "CLUSTER SETSLOT %u STABLE", p.tags->tags[20].slot));
    free(sx_cluster_command(servers, to, "CLUSTER SETSLOT %u STABLE", p.tags->tags[20].slot));
    gain_all(&p);
    process_close(&p);
}

/* ---- with replicas ---- */

static int with_replicas(void **state) {
    (void)state;
    start_servers(&(sx_cluster_options){.primaries = 3, .replicas = 1, .node_timeout_ms = 1000});
    return 0;
}

static void a_dead_primary_is_replaced(void **state) {
    (void)state;
    process p;
    uint64_t before[P];
    process_open(&p, &(options){.delta_ms = 400});
    gain_all(&p);
    generations(&p, before);
    uint32_t node = owner_of(&p, 0);
    assert_int_equal(sx_cluster_kill(servers, node), 0);
    run_until_untrusted(&p, 0);
    assert_true(run_until(&p, all_trusted, 40000));
    for (uint32_t i = 0; i < P; i++) {
        uint32_t owner = owner_of(&p, i);
        assert_int_equal(generation_of(&p, i), before[i] + (owner >= 3 ? 1 : 0));
    }
    assert_true(owner_of(&p, 0) >= 3);
    run_until_heard(&p, 0, invalidate(&p, 0));
    assert_true(p.messages[0] > 0);
    process_close(&p);
}

/* The primary is paused, replaced, resumed: it answers what was queued with its old counters before it knows. */
static void a_resumed_primary_is_not_believed(void **state) {
    (void)state;
    process p;
    process_open(&p, &(options){.delta_ms = 400});
    gain_all(&p);
    uint64_t before = generation_of(&p, 0);
    uint32_t node = owner_of(&p, 0);
    assert_int_equal(sx_cluster_pause(servers, node), 0);
    int64_t end_ns = sx_clock_now_ns(&p.clock) + 30 * SX_NS_PER_S;
    uint32_t replica = 3 + node;
    /* Our loop stands still, as a process that is paused with it; its heartbeat is in the node's socket. */
    while (sx_cluster_owner(servers, p.tags->tags[0].slot) != (int)replica && sx_clock_now_ns(&p.clock) < end_ns)
        usleep(20000);
    free(sx_cluster_command(servers, replica, "HINCRBY {%s}s1:n n 1", p.tags->tags[0].text)); /* a write at the new one */
    assert_false(is_trusted(&p, 0));
    assert_int_equal(sx_cluster_resume(servers, node), 0);
    end_ns = sx_clock_now_ns(&p.clock) + 30 * SX_NS_PER_S;
    while (!is_trusted(&p, 0) && sx_clock_now_ns(&p.clock) < end_ns) sx_loop_turn(p.loop, 1);
    assert_true(is_trusted(&p, 0));
    assert_true(generation_of(&p, 0) > before); /* never by the old counters */
    process_close(&p);
}

/* ---- standalone ---- */

static int standalone(void **state) {
    (void)state;
    start_servers(&(sx_cluster_options){0});
    return 0;
}

static void standalone_works_alike(void **state) {
    (void)state;
    process p;
    uint64_t before[P];
    process_open(&p, &(options){.beat_counters = 10});
    gain_all(&p);
    run_until_heard(&p, 12, invalidate(&p, 12));
    generations(&p, before);
    int64_t lost = metric(&p, SX_TRUST_METRIC_LOST);
    kill_subscriptions();
    run_until_metric(&p, SX_TRUST_METRIC_LOST, lost + P);
    gain_all(&p);
    for (uint32_t i = 0; i < P; i++) assert_int_equal(generation_of(&p, i), before[i]);
    command_at(&p, 12, "HINCRBY", "n n 1");
    run_until_metric(&p, SX_TRUST_METRIC_COUNTER_MISMATCHES, 1); /* within a rotation through all counters */
    assert_int_equal(metric(&p, SX_TRUST_METRIC_COUNTER_MISMATCHES), 1);
    gain_all(&p);
    assert_int_equal(generation_of(&p, 12), before[12] + 1);
    process_close(&p);
}

static void standalone_must_be_master(void **state) {
    (void)state;
    process p;
    uint64_t before[P];
    process_open(&p, &(options){0});
    gain_all(&p);
    generations(&p, before);
    free(sx_cluster_command(servers, 0, "REPLICAOF 127.0.0.1 1"));
    for (int i = 0; i < 5000 && trusted_count(&p) != 0; i++) sx_loop_turn(p.loop, 2);
    assert_int_equal(trusted_count(&p), 0);
    free(sx_cluster_command(servers, 0, "REPLICAOF NO ONE"));
    gain_all(&p);
    for (uint32_t i = 0; i < P; i++) assert_int_equal(generation_of(&p, i), before[i] + 1); /* another history */
    process_close(&p);
}

static void a_restarted_server_is_another(void **state) {
    (void)state;
    process p;
    uint64_t before[P];
    process_open(&p, &(options){0});
    gain_all(&p);
    generations(&p, before);
    int64_t lost = metric(&p, SX_TRUST_METRIC_LOST);
    assert_int_equal(sx_cluster_restart(servers, 0), 0);
    run_until_metric(&p, SX_TRUST_METRIC_LOST, lost + P);
    gain_all(&p);
    for (uint32_t i = 0; i < P; i++) assert_true(generation_of(&p, i) > before[i]);
    process_close(&p);
}

static bool says(const char *text) {
    char *info = sx_cluster_command(servers, 0, "INFO replication");
    bool found = strstr(info, text) != NULL;
    free(info);
    return found;
}

/* p may be NULL. */
static void await_word(process *p, const char *text) {
    for (int i = 0; i < 1500 && !says(text); i++) {
        if (p != NULL) run(p, 20);
        else nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    }
    assert_true(says(text));
}

static int standalone_without_backlog(void **state) {
    (void)state;
    start_servers(&(sx_cluster_options){.primaries = 0, .extra = (const char *const[]){"--repl-backlog-ttl", "1", NULL}});
    return 0;
}

/* Without replicas it frees its backlog after a while, and then has another replication id. */
static void a_replication_id_that_changes_unheard_is_found_out(void **state) {
    (void)state;
    process p;
    uint64_t before[P];
    char error[256] = "";
    sx_cluster *replica = NULL;
    assert_int_equal(sx_cluster_start(&(sx_cluster_options){.primaries = 0}, &replica, error, sizeof error), 0);
    free(sx_cluster_command(replica, 0, "REPLICAOF 127.0.0.1 %u", sx_cluster_port(servers, 0)));
    await_word(NULL, "state=online"); /* the first replica changes the id, too */
    process_open(&p, &(options){0});
    gain_all(&p);
    generations(&p, before);
    invalidate(&p, 7);
    const uint64_t first = p.answered_by;
    assert_true(first == sx_trust_identity_on_loop(p.trust, 7));
    free(sx_cluster_command(replica, 0, "REPLICAOF NO ONE"));
    await_word(&p, "repl_backlog_active:0");
    run(&p, 200);
    invalidate(&p, 7);
    assert_true(p.answered_by == first); /* by a connection from before: it and trust go on as they were */
    gain_all(&p);
    for (uint32_t i = 0; i < P; i++) assert_int_equal(generation_of(&p, i), before[i]);

    free(sx_cluster_command(servers, 0, "CLIENT KILL TYPE normal")); /* not the subscription */
    run(&p, 1000);
    invalidate(&p, 7);
    assert_true(p.answered_by != first);
    sx_trust_mark mark = sx_trust_mark_on_loop(p.trust, 7);
    assert_false(sx_trust_may_fill_on_loop(p.trust, 7, &mark, p.answered_by));
    run(&p, 200);
    gain_all(&p);
    assert_true(p.answered_by == sx_trust_identity_on_loop(p.trust, 7));
    for (uint32_t i = 0; i < P; i++) assert_int_equal(generation_of(&p, i), before[i] + 1);
    assert_false(sx_trust_may_fill_on_loop(p.trust, 7, &mark, p.answered_by)); /* asked in the former term */
    mark = sx_trust_mark_on_loop(p.trust, 7);
    invalidate(&p, 7);
    assert_true(sx_trust_may_fill_on_loop(p.trust, 7, &mark, p.answered_by));
    process_close(&p);
    sx_cluster_stop(replica);
}

static char socket_path[64];

static int standalone_on_two_addresses(void **state) {
    (void)state;
    snprintf(socket_path, sizeof socket_path, "/tmp/strata-trust-%d.sock", (int)getpid());
    const char *const extra[] = {"--unixsocket", socket_path, NULL};
    start_servers(&(sx_cluster_options){.primaries = 0, .extra = extra});
    return 0;
}

static void a_server_that_is_reached_by_another_seed_is_trusted_there(void **state) {
    (void)state;
    process p;
    char nodes[128];
    snprintf(nodes, sizeof nodes, "unix:%s, %s", socket_path, sx_cluster_seeds(servers));
    process_open(&p, &(options){.nodes = nodes});
    gain_all(&p);
    invalidate(&p, 7);
    const uint64_t before = p.answered_by;
    assert_true(before == sx_trust_identity_on_loop(p.trust, 7));
    assert_int_equal(unlink(socket_path), 0); /* the subscription there lives on */
    free(sx_cluster_command(servers, 0, "CLIENT KILL TYPE normal"));
    run(&p, 1000);
    invalidate(&p, 7);
    assert_true(p.answered_by != before);
    gain_all(&p);
    assert_true(p.answered_by == sx_trust_identity_on_loop(p.trust, 7));
    process_close(&p);
}

int main(int argc, char **argv) {
    if (!sx_cluster_available()) return 77;
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest moving[] = {
        CASE(a_migrating_slot_is_not_trusted),
        CASE(a_moved_slot_is_followed),
    };
    const struct CMUnitTest replaced[] = {
        cmocka_unit_test(a_dead_primary_is_replaced),
    };
    const struct CMUnitTest resumed[] = {
        cmocka_unit_test(a_resumed_primary_is_not_believed),
    };
    const struct CMUnitTest alone[] = {
        CASE(standalone_works_alike),
        CASE(standalone_must_be_master),
        CASE(a_restarted_server_is_another),
    };
    const struct CMUnitTest without_backlog[] = {
        CASE(a_replication_id_that_changes_unheard_is_found_out),
    };
    const struct CMUnitTest two_addresses[] = {
        CASE(a_server_that_is_reached_by_another_seed_is_trusted_there),
    };
    int failed = 0;
    failed += cmocka_run_group_tests(moving, three_primaries, stop_servers);
    failed += cmocka_run_group_tests(replaced, with_replicas, stop_servers);
    failed += cmocka_run_group_tests(resumed, with_replicas, stop_servers);
    failed += cmocka_run_group_tests(alone, standalone, stop_servers);
    failed += cmocka_run_group_tests(without_backlog, standalone_without_backlog, stop_servers);
    failed += cmocka_run_group_tests(two_addresses, standalone_on_two_addresses, stop_servers);
    return failed;
}
