/* SPDX-License-Identifier: Apache-2.0 */
/* Trust against a real cluster of three: gained, kept, lost and regained as the protocol says. */
// ctest: timeout=300
#include "tests/coherence/process.h"

static void gains_and_keeps_all_partitions(void **state) {
    (void)state;
    process p;
    process_open(&p, &(options){0});
    bool kept = false;
    for (int i = 0; i < 8 && !kept; i++) { /* once more where the machine stood still for long enough to lose it */
        gain_all(&p);
        int64_t lost = metric(&p, SX_TRUST_METRIC_LOST), beats = metric(&p, SX_TRUST_METRIC_BEATS);
        run(&p, 1500);
        int64_t more = metric(&p, SX_TRUST_METRIC_BEATS) - beats;
        kept = trusted_count(&p) == P && metric(&p, SX_TRUST_METRIC_PARTITIONS_TRUSTED) == P && metric(&p, SX_TRUST_METRIC_LOST) == lost &&
               more >= 3 * 10 && more <= 3 * 18; /* every 100 ms to three nodes */
    }
    assert_true(kept);
    assert_int_equal(p.refusals, 0);
    process_close(&p);
}

static void delivers_messages_in_order(void **state) {
    (void)state;
    process a, b;
    process_open(&a, &(options){0});
    process_open(&b, &(options){0});
    gain_all(&a);
    gain_all(&b);
    uint64_t n = 0;
    for (int i = 0; i < 100; i++) {
        n = invalidate(&a, 7);
        sx_loop_turn(b.loop, 0);
    }
    for (int i = 0; i < 200; i++) { /* one thread for both: neither may be left alone for long */
        sx_loop_turn(a.loop, 1);
        sx_loop_turn(b.loop, 1);
    }
    assert_int_equal(b.messages[7], 100);
    assert_int_equal(b.last_n[7], n);
    assert_int_equal(a.messages[7], 100);
    assert_int_equal(metric(&b, SX_TRUST_METRIC_HOLES), 0);
    assert_int_equal(trusted_count(&a), P);
    assert_int_equal(trusted_count(&b), P);
    process_close(&a);
    process_close(&b);
}

static void a_cut_without_writes_keeps_generations(void **state) {
    (void)state;
    process p;
    uint64_t before[P];
    process_open(&p, &(options){0});
    gain_all(&p);
    invalidate(&p, 3);
    run(&p, 150);
    generations(&p, before);
    int64_t gained = metric(&p, SX_TRUST_METRIC_GAINED), lost = metric(&p, SX_TRUST_METRIC_LOST);
    kill_subscriptions();
    run_until_metric(&p, SX_TRUST_METRIC_LOST, lost + P);
    gain_all(&p);
    assert_true(metric(&p, SX_TRUST_METRIC_GAINED) >= gained + P);
    for (uint32_t i = 0; i < P; i++) assert_int_equal(generation_of(&p, i), before[i]);
    process_close(&p);
}

static void a_write_missed_meanwhile_bumps_one(void **state) {
    (void)state;
    process p;
    uint64_t before[P];
    process_open(&p, &(options){0});
    gain_all(&p);
    generations(&p, before);
    int64_t lost = metric(&p, SX_TRUST_METRIC_LOST);
    kill_subscriptions();
    command_at(&p, 9, "HINCRBY", "n n 1"); /* a write whose message we don't see, before we are back */
    run_until_metric(&p, SX_TRUST_METRIC_LOST, lost + P);
    gain_all(&p);
    for (uint32_t i = 0; i < P; i++) assert_int_equal(generation_of(&p, i), before[i] + (i == 9 ? 1 : 0));
    process_close(&p);
}

static void a_lost_message_is_a_hole(void **state) {
    (void)state;
    process p;
    uint64_t before[P];
    process_open(&p, &(options){0});
    gain_all(&p);
    generations(&p, before);
    /* The number is taken, the message never comes: the next message or the next heartbeat shows it. */
    command_at(&p, 9, "HINCRBY", "n n 1");
    invalidate(&p, 9);
    run(&p, 5);
    assert_int_equal(metric(&p, SX_TRUST_METRIC_HOLES) + metric(&p, SX_TRUST_METRIC_COUNTER_MISMATCHES), 1);
    gain_all(&p);
    assert_int_equal(generation_of(&p, 9), before[9] + 1);
    int64_t mismatches = metric(&p, SX_TRUST_METRIC_COUNTER_MISMATCHES);
    command_at(&p, 10, "HINCRBY", "n n 1");
    run_until_metric(&p, SX_TRUST_METRIC_COUNTER_MISMATCHES, mismatches + 1);
    gain_all(&p);
    assert_int_equal(generation_of(&p, 10), before[10] + 1);
    /* Going back is as bad. */
    int64_t lost = metric(&p, SX_TRUST_METRIC_LOST);
    command_at(&p, 11, "HINCRBY", "n n -1");
    invalidate(&p, 11);
    run_until_metric(&p, SX_TRUST_METRIC_LOST, lost + 1);
    gain_all(&p);
    assert_int_equal(generation_of(&p, 11), before[11] + 1);
    for (uint32_t i = 0; i < P; i++)
        if (i < 9 || i > 11) assert_int_equal(generation_of(&p, i), before[i]);
    process_close(&p);
}

static void untrust_and_malformed_end_trust(void **state) {
    (void)state;
    process p;
    uint64_t before[P];
    process_open(&p, &(options){0});
    gain_all(&p);
    generations(&p, before);
    int64_t lost = metric(&p, SX_TRUST_METRIC_LOST);
    char name[64];
    snprintf(name, sizeof name, "{%s}s1:c", p.tags->tags[5].text);
    const char *const untrust[] = {"EVAL", "return redis.call('SPUBLISH', KEYS[1], '\\146\\8\\0')", "1", name};
    free(sx_cluster_command_argv(servers, owner_of(&p, 5), 4, untrust));
    snprintf(name, sizeof name, "{%s}s1:c", p.tags->tags[6].text);
    const char *const nonsense[] = {"SPUBLISH", name, "hello"};
    free(sx_cluster_command_argv(servers, owner_of(&p, 6), 3, nonsense));
    run_until_metric(&p, SX_TRUST_METRIC_MALFORMED, 1);
    run_until_metric(&p, SX_TRUST_METRIC_LOST, lost + 2);
    assert_int_equal(metric(&p, SX_TRUST_METRIC_MALFORMED), 1);
    gain_all(&p);
    for (uint32_t i = 0; i < P; i++)
        assert_int_equal(generation_of(&p, i), before[i] + (i == 5 || i == 6 ? 1 : 0));
    process_close(&p);
}

static bool some_lost(process *p) { return !all_trusted(p); }

static void flushall_ends_trust_of_the_whole_node(void **state) {
    (void)state;
    process p;
    uint64_t before[P];
    process_open(&p, &(options){.beat_counters = 2}); /* each heartbeat sees two counters only */
    gain_all(&p);
    generations(&p, before);
    uint32_t node = owner_of(&p, 0), theirs = 0;
    free(sx_cluster_command(servers, node, "FLUSHALL"));
    assert_true(run_until(&p, some_lost, 10000));
    for (uint32_t i = 0; i < P; i++) {
        if (owner_of(&p, i) != node) continue;
        theirs++;
        assert_false(is_trusted(&p, i));
    }
    assert_true(theirs > 10);
    gain_all(&p);
    for (uint32_t i = 0; i < P; i++)
        assert_int_equal(generation_of(&p, i), before[i] + (owner_of(&p, i) == node ? 1 : 0));
    process_close(&p);
}

static void a_paused_node_lapses_and_is_confirmed(void **state) {
    (void)state;
    process p;
    process_open(&p, &(options){.delta_ms = 300});
    gain_all(&p);
    uint32_t node = owner_of(&p, 0);
    run(&p, 100);
    assert_int_equal(sx_cluster_pause(servers, node), 0);
    run(&p, 320);
    bool trusted = is_trusted(&p, 0);
    run(&p, 320); /* a heartbeat that was on its way is late by then, too */
    int64_t late = metric(&p, SX_TRUST_METRIC_BEATS_LATE);
    assert_int_equal(sx_cluster_resume(servers, node), 0);
    assert_false(trusted);
    assert_true(late >= 1);
    gain_all(&p);
    process_close(&p);
}

static void layout_is_agreed_on(void **state) {
    (void)state;
    process p, q;
    process_open(&p, &(options){0});
    gain_all(&p);
    process_open(&q, &(options){.partitions = 32});
    assert_true(run_until(&q, is_refused, 10000));
    run(&q, 200);
    assert_int_equal(trusted_count(&q), 0);
    assert_int_equal(q.refused, STRATA_E_LAYOUT);
    assert_non_null(strstr(q.refused_text, "partitions=64"));
    assert_non_null(strstr(q.refused_text, "partitions=32"));
    assert_int_equal(q.refusals, 1);
    process_close(&q);
    process_close(&p);
}

static void delta_is_clamped_to_half_the_node_timeout(void **state) {
    (void)state;
    process p;
    process_open(&p, &(options){.delta_ms = 5000});
    gain_all(&p);
    assert_int_equal(sx_trust_max_staleness_ns(p.trust), 1500 * SX_NS_PER_MS);
    process_close(&p);
}

static void reads_when_down_are_refused(void **state) {
    (void)state;
    process p;
    free(sx_cluster_command(servers, 1, "CONFIG SET cluster-allow-reads-when-down yes"));
    process_open(&p, &(options){0});
    assert_true(run_until(&p, is_refused, 10000));
    assert_int_equal(p.refused, STRATA_E_CONFIG);
    uint32_t others = 0;
    for (uint32_t i = 0; i < P; i++) others += owner_of(&p, i) != 1;
    for (int i = 0; i < 5000 && trusted_count(&p) != others; i++) sx_loop_turn(p.loop, 2);
    assert_int_equal(trusted_count(&p), others);
    for (uint32_t i = 0; i < P; i++) assert_false(owner_of(&p, i) == 1 && is_trusted(&p, i));
    process_close(&p);
    free(sx_cluster_command(servers, 1, "CONFIG SET cluster-allow-reads-when-down no"));
}

static void missing_permissions_are_named(void **state) {
    (void)state;
    /* +@all but SPUBLISH; the second may not subscribe; the third has no channels. */
    static const char *const users[] = {"nopub on >x ~* &* +@all -spublish", "nosub on >x ~* &* +@all -ssubscribe",
                                        "nochannel on >x ~* resetchannels +@all", "nowrite on >x ~* &* +@all -unlink"};
    for (size_t u = 0; u < 4; u++) {
        for (uint32_t i = 0; i < 3; i++) {
            char *answer = sx_cluster_command(servers, i, "ACL SETUSER %s", users[u]);
            assert_string_equal(answer, "OK");
            free(answer);
        }
        char user[16];
        snprintf(user, sizeof user, "%.*s", (int)strcspn(users[u], " "), users[u]);
        process p;
        process_open(&p, &(options){.username = user, .password = "x"});
        assert_true(run_until(&p, is_refused, 10000));
        run(&p, 200);
        assert_int_equal(p.refused, STRATA_E_AUTH);
        assert_int_equal(trusted_count(&p), 0);
        process_close(&p);
    }
}

/* docs/WIRE.md, "Permissions". */
static void the_documented_permissions_suffice(void **state) {
    (void)state;
    for (uint32_t i = 0; i < 3; i++) {
        char *answer = sx_cluster_command(
            servers, i,
            "ACL SETUSER narrow on >x resetkeys ~{*}s1:* ~s1:layout resetchannels &{*}s1:c -@all +eval +evalsha "
            "+evalsha_ro +eval_ro +script|load +time +get +mget +set +getrange +setrange +pttl +pexpire +scan +exists +hincrby +hset +hdel "
            "+hget +hmget +hgetall +hlen +unlink +publish +spublish "
            "+subscribe +ssubscribe +unsubscribe +sunsubscribe +hello +info +role +ping +asking +cluster|nodes "
            "+cluster|slots +cluster|shards");
        assert_string_equal(answer, "OK");
        free(answer);
    }
    process p;
    process_open(&p, &(options){.username = "narrow", .password = "x"});
    gain_all(&p);
    uint64_t n = invalidate(&p, 3);
    run_until_heard(&p, 3, n);
    assert_int_equal(p.refusals, 0);
    process_close(&p);
}

static void marks_say_what_may_be_kept(void **state) {
    (void)state;
    process p;
    process_open(&p, &(options){0});
    sx_trust_mark none = sx_trust_mark_on_loop(p.trust, 4);
    assert_int_equal(none.term, 0);
    gain_all(&p);
    sx_trust_mark mark = sx_trust_mark_on_loop(p.trust, 4);
    assert_true(mark.term > 0);
    pending_write read = {.done = false};
    sx_command_init(&read.request.command, sx_alloc_default());
    uint64_t n = invalidate(&p, 4);
    (void)n;
    const sx_publish_write what = {
        .key = {.partition = 4, .ns = "ns", .ns_size = 2, .ns_version = 1, .key = "k", .key_size = 1}, .id = 5};
    sx_publish_encode_write(&p.publish, &what, &read.request.command);
    read.request.script = &p.scripts.write;
    read.request.slot = p.tags->tags[4].slot;
    read.request.deadline_ns = sx_clock_now_ns(&p.clock) + 10 * SX_NS_PER_S;
    read.request.done = on_written;
    sx_redis_cluster_submit(p.cluster, &read.request);
    for (int i = 0; i < 15000 && !read.done; i++) sx_loop_turn(p.loop, 1);
    assert_true(read.request.identity != 0);
    assert_true(sx_trust_may_fill_on_loop(p.trust, 4, &mark, read.request.identity));
    assert_false(sx_trust_may_fill_on_loop(p.trust, 4, &none, read.request.identity));
    assert_false(sx_trust_may_fill_on_loop(p.trust, 4, &mark, read.request.identity + 1));
    assert_false(sx_trust_may_fill_on_loop(p.trust, 4, &mark, 0));
    int64_t lost = metric(&p, SX_TRUST_METRIC_LOST);
    kill_subscriptions();
    run_until_metric(&p, SX_TRUST_METRIC_LOST, lost + P);
    gain_all(&p);
    /* Same generation, but trust ended between. */
    assert_int_equal(generation_of(&p, 4), mark.generation);
    assert_false(sx_trust_may_fill_on_loop(p.trust, 4, &mark, read.request.identity));
    sx_command_deinit(&read.request.command);
    process_close(&p);
}

static void forgotten_scripts_are_sent_again(void **state) {
    (void)state;
    process p;
    process_open(&p, &(options){0});
    bool kept = false;
    for (int attempt = 0; attempt < 8 && !kept; attempt++) { /* once more where the machine stood still for long enough to lose it */
        gain_all(&p);
        int64_t lost = metric(&p, SX_TRUST_METRIC_LOST);
        for (uint32_t i = 0; i < 3; i++) free(sx_cluster_command(servers, i, "SCRIPT FLUSH"));
        run(&p, 700);
        kept = metric(&p, SX_TRUST_METRIC_LOST) == lost && trusted_count(&p) == P;
    }
    assert_true(kept);
    process_close(&p);
}

static void at_all(const char *command) {
    for (uint32_t i = 0; i < sx_cluster_node_count(servers); i++) assert_true(sx_cluster_answers(servers, i, "OK", command));
}

/* Trust and data stand on one identity again once the nodes tell of themselves by other addresses. */
static void nodes_under_another_address_are_trusted_there(void **state) {
    (void)state;
    process p;
    process_open(&p, &(options){0});
    gain_all(&p);
    invalidate(&p, 7);
    const uint64_t before = p.answered_by;
    assert_true(before == sx_trust_identity_on_loop(p.trust, 7));
    at_all("CONFIG SET cluster-announce-hostname localhost");
    run(&p, 1500); /* gossip */
    at_all("CONFIG SET cluster-preferred-endpoint-type hostname");
    for (int i = 0; i < 10 && p.answered_by == before; i++) {
        sx_redis_cluster_refresh(p.cluster);
        run(&p, 500);
        invalidate(&p, 7);
    }
    assert_true(p.answered_by != before);
    run(&p, 500);
    gain_all(&p);
    assert_true(p.answered_by == sx_trust_identity_on_loop(p.trust, 7));
    at_all("CONFIG SET cluster-preferred-endpoint-type ip");
    process_close(&p);
}

int main(int argc, char **argv) {
    if (!sx_cluster_available()) return 77;
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest three[] = {
        CASE(gains_and_keeps_all_partitions),
        CASE(delivers_messages_in_order),
        CASE(a_cut_without_writes_keeps_generations),
        CASE(a_write_missed_meanwhile_bumps_one),
        CASE(a_lost_message_is_a_hole),
        CASE(untrust_and_malformed_end_trust),
        CASE(flushall_ends_trust_of_the_whole_node),
        CASE(a_paused_node_lapses_and_is_confirmed),
        CASE(layout_is_agreed_on),
        CASE(delta_is_clamped_to_half_the_node_timeout),
        CASE(reads_when_down_are_refused),
        CASE(missing_permissions_are_named),
        CASE(the_documented_permissions_suffice),
        CASE(marks_say_what_may_be_kept),
        CASE(forgotten_scripts_are_sent_again),
        CASE(nodes_under_another_address_are_trusted_there),
    };
    int failed = 0;
    failed += cmocka_run_group_tests(three, three_primaries, stop_servers);
    return failed;
}
