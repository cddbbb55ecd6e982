/* SPDX-License-Identifier: Apache-2.0 */
/* Trust against real servers: gained, kept, lost and regained as the protocol says, under the faults that matter. */
// ctest: timeout=300
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include <strata/status.h>

#include "bench/cluster/cluster.h"
#include "coherence/trust.h"

#define P 64

/* One process's worth of coherence, driven by hand in the test's thread. */
typedef struct process {
    sx_loop *loop;
    sx_clock clock;
    sx_log log;
    sx_publish_scripts scripts;
    sx_redis_settings redis;
    sx_key_tags *tags;
    sx_publish publish;
    sx_redis_cluster *cluster;
    sx_trust *trust;
    sx_trust_word words[P];
    uint32_t messages[P]; /* sequenced ones */
    uint64_t last_n[P];
    int32_t refused;
    char refused_text[512];
    uint32_t refusals;
    bool stopped;
} process;

static sx_cluster *servers;

/* ---- the process ---- */

static void on_message(void *context, uint32_t partition, const sx_message *message) {
    process *p = context;
    if (!message->sequenced) return;
    p->messages[partition]++;
    p->last_n[partition] = message->n;
}

static void on_refused(void *context, int32_t status, const char *text) {
    process *p = context;
    p->refused = status;
    p->refusals++;
    snprintf(p->refused_text, sizeof p->refused_text, "%s", text);
}

static void on_topology(void *context) {
    process *p = context;
    p->publish.sharded = sx_redis_cluster_is_cluster(p->cluster);
    p->publish.set_nx_get = true;
    if (p->trust != NULL) sx_trust_topology_on_loop(p->trust);
}

static void on_redirect(void *context, uint16_t slot, bool asking) {
    process *p = context;
    if (p->trust != NULL) sx_trust_redirect_on_loop(p->trust, slot, asking);
}

static void write_log(void *context, int level, const char *line) {
    (void)context;
    if (getenv("STRATA_TEST_VERBOSE") != NULL) fprintf(stderr, "%d %s\n", level, line);
}

typedef struct options {
    uint32_t partitions, beat_counters;
    int64_t delta_ms;
    const char *username, *password;
} options;

static void process_open(process *p, const options *o) {
    memset(p, 0, sizeof *p);
    const sx_alloc *alloc = sx_alloc_default();
    p->log.write = write_log;
    sx_publish_scripts_init(&p->scripts);
    p->redis = (sx_redis_settings){.alloc = alloc,
                                   .clock = &p->clock,
                                   .log = &p->log,
                                   .username = o->username == NULL ? "" : o->username,
                                   .password = o->password == NULL ? "" : o->password,
                                   .client_name = "test",
                                   .connect_timeout_ns = SX_NS_PER_S,
                                   .limits = {16, 1u << 20, 64u << 20},
                                   .queue_bytes_max = 64u << 20,
                                   .queue_ops_max = 100000,
                                   .scripts = p->scripts.all};
    uint32_t partitions = o->partitions == 0 ? P : o->partitions;
    assert_int_equal(sx_loop_create(alloc, &p->clock, &p->log, &p->loop), STRATA_OK);
    assert_int_equal(sx_key_tags_create(alloc, partitions, &p->tags), STRATA_OK);
    p->publish = (sx_publish){.alloc = alloc, .tags = p->tags};
    char error[256] = "";
    const sx_redis_cluster_events cluster_events = {p, on_topology, on_redirect};
    assert_int_equal(sx_redis_cluster_create(p->loop, &p->redis, SX_REDIS_MODE_AUTO, sx_cluster_seeds(servers),
                                             &cluster_events, &p->cluster, error, sizeof error),
                     STRATA_OK);
    const sx_trust_settings settings = {
        &p->redis, partitions, (o->delta_ms == 0 ? 500 : o->delta_ms) * SX_NS_PER_MS, 15 * SX_NS_PER_S,
        o->beat_counters == 0 ? 128 : o->beat_counters};
    const sx_trust_events events = {p, on_message, on_refused};
    assert_int_equal(sx_trust_create(p->loop, alloc, &p->log, p->cluster, p->tags, &p->publish, &p->scripts, &settings,
                                     &events, p->words, &p->trust),
                     STRATA_OK);
    sx_trust_start_on_loop(p->trust);
    sx_redis_cluster_start_on_loop(p->cluster);
}

static void on_stopped(void *context) { ((process *)context)->stopped = true; }

static void process_close(process *p) {
    sx_trust_stop_on_loop(p->trust, on_stopped, p);
    for (int i = 0; i < 3000 && !p->stopped; i++) sx_loop_turn(p->loop, 1);
    assert_true(p->stopped);
    for (uint32_t i = 0; i < p->tags->partitions; i++) {
        int64_t lease_ns;
        uint64_t generation;
        sx_trust_read(&p->words[i], &lease_ns, &generation);
        assert_true(lease_ns == INT64_MIN);
    }
    p->stopped = false;
    sx_redis_cluster_stop_on_loop(p->cluster, on_stopped, p);
    for (int i = 0; i < 3000 && !p->stopped; i++) sx_loop_turn(p->loop, 1);
    assert_true(p->stopped);
    sx_trust_destroy(p->trust);
    sx_redis_cluster_destroy(p->cluster);
    sx_loop_destroy(p->loop);
    sx_key_tags_destroy(p->tags);
}

/* ---- what the tests ask ---- */

static bool is_trusted(const process *p, uint32_t partition) {
    int64_t lease_ns;
    uint64_t generation;
    sx_trust_read(&p->words[partition], &lease_ns, &generation);
    return sx_clock_now_ns(&p->clock) < lease_ns;
}

static uint64_t generation_of(const process *p, uint32_t partition) {
    int64_t lease_ns;
    uint64_t generation;
    sx_trust_read(&p->words[partition], &lease_ns, &generation);
    return generation;
}

static uint32_t trusted_count(const process *p) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < p->tags->partitions; i++) count += is_trusted(p, i) ? 1 : 0;
    return count;
}

static bool all_trusted(process *p) { return trusted_count(p) == p->tags->partitions; }

static void run(process *p, int64_t ms) {
    int64_t end_ns = sx_clock_now_ns(&p->clock) + ms * SX_NS_PER_MS;
    while (sx_clock_now_ns(&p->clock) < end_ns) sx_loop_turn(p->loop, 2);
}

static bool run_until(process *p, bool (*done)(process *), int64_t ms) {
    int64_t end_ns = sx_clock_now_ns(&p->clock) + ms * SX_NS_PER_MS;
    while (sx_clock_now_ns(&p->clock) < end_ns) {
        if (done(p)) return true;
        sx_loop_turn(p->loop, 2);
    }
    return done(p);
}

static void gain_all(process *p) {
    if (!run_until(p, all_trusted, 8000))
        fail_msg("%u of %u partitions trusted: %s", trusted_count(p), p->tags->partitions, p->refused_text);
}

static uint32_t owner_of(const process *p, uint32_t partition) {
    if (!sx_redis_cluster_is_cluster(p->cluster)) return 0;
    int owner = sx_cluster_owner(servers, p->tags->tags[partition].slot);
    assert_true(owner >= 0);
    return (uint32_t)owner;
}

/* One command at the partition's owner; "%s" stands for "{tag}s1:". */
static void command_at(const process *p, uint32_t partition, const char *before, const char *after) {
    char *answer = sx_cluster_command(servers, owner_of(p, partition), "%s {%s}s1:%s", before,
                                      p->tags->tags[partition].text, after);
    if (answer[0] == '-') fail_msg("%s: %s", before, answer);
    free(answer);
}

typedef struct pending_write {
    sx_redis_request request;
    bool done;
    sx_redis_outcome outcome;
    uint64_t n;
} pending_write;

static void on_written(sx_redis_request *request, sx_redis_outcome outcome, const sx_resp *reply) {
    pending_write *write = (pending_write *)(void *)request;
    int64_t ms;
    write->done = true;
    write->outcome = outcome;
    if (outcome == SX_REDIS_OK) assert_int_equal(sx_publish_decode(reply, &write->n, &ms), SX_PUBLISH_DONE);
}

/* An invalidation of some key of the partition by this process; its number. */
static uint64_t invalidate(process *p, uint32_t partition) {
    pending_write write = {.done = false};
    sx_command_init(&write.request.command, sx_alloc_default());
    const sx_publish_write what = {
        .key = {.partition = partition, .ns = "ns", .ns_size = 2, .ns_version = 1, .key = "k", .key_size = 1}, .id = 5};
    sx_publish_encode_write(&p->publish, &what, &write.request.command);
    write.request.script = &p->scripts.write;
    write.request.slot = p->tags->tags[partition].slot;
    write.request.deadline_ns = sx_clock_now_ns(&p->clock) + 2 * SX_NS_PER_S;
    write.request.done = on_written;
    sx_redis_cluster_submit(p->cluster, &write.request);
    for (int i = 0; i < 2000 && !write.done; i++) sx_loop_turn(p->loop, 1);
    assert_true(write.done);
    assert_int_equal(write.outcome, SX_REDIS_OK);
    sx_command_deinit(&write.request.command);
    return write.n;
}

static void kill_subscriptions(void) {
    for (uint32_t i = 0; i < sx_cluster_node_count(servers); i++)
        free(sx_cluster_command(servers, i, "CLIENT KILL TYPE pubsub"));
}

static int64_t metric(const process *p, uint32_t which) { return sx_trust_metric_read(p->trust, which); }

static void generations(const process *p, uint64_t out[P]) {
    for (uint32_t i = 0; i < p->tags->partitions; i++) out[i] = generation_of(p, i);
}

static void start_servers(const sx_cluster_options *o) {
    char error[256] = "";
    if (sx_cluster_start(o, &servers, error, sizeof error) != 0) fail_msg("%s", error);
}

/* ---- a cluster of three ---- */

static int three_primaries(void **state) {
    (void)state;
    start_servers(&(sx_cluster_options){.primaries = 3, .node_timeout_ms = 3000});
    return 0;
}

static int flush_all(void **state) {
    (void)state;
    for (uint32_t i = 0; i < sx_cluster_node_count(servers); i++) free(sx_cluster_command(servers, i, "FLUSHALL"));
    return 0;
}

static int stop_servers(void **state) {
    (void)state;
    sx_cluster_stop(servers);
    servers = NULL;
    return 0;
}

static void gains_and_keeps_all_partitions(void **state) {
    (void)state;
    process p;
    process_open(&p, &(options){0});
    gain_all(&p);
    assert_int_equal(metric(&p, SX_TRUST_METRIC_PARTITIONS_TRUSTED), P);
    int64_t lost = metric(&p, SX_TRUST_METRIC_LOST), beats = metric(&p, SX_TRUST_METRIC_BEATS);
    run(&p, 1500);
    assert_int_equal(trusted_count(&p), P);
    assert_int_equal(metric(&p, SX_TRUST_METRIC_LOST), lost);
    int64_t more = metric(&p, SX_TRUST_METRIC_BEATS) - beats;
    assert_true(more >= 3 * 10 && more <= 3 * 18); /* every 100 ms to three nodes */
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
    for (int i = 0; i < 100; i++) n = invalidate(&a, 7);
    run(&b, 200);
    assert_int_equal(b.messages[7], 100);
    assert_int_equal(b.last_n[7], n);
    assert_int_equal(a.messages[7], 100);
    assert_int_equal(metric(&b, SX_TRUST_METRIC_HOLES), 0);
    gain_all(&a);
    run(&a, 20);
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
    int64_t gained = metric(&p, SX_TRUST_METRIC_GAINED);
    kill_subscriptions();
    run(&p, 20);
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
    kill_subscriptions();
    command_at(&p, 9, "INCR", "n"); /* a write whose message we don't see, before we are back */
    run(&p, 20);
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
    command_at(&p, 9, "INCR", "n");
    invalidate(&p, 9);
    run(&p, 5);
    assert_int_equal(metric(&p, SX_TRUST_METRIC_HOLES) + metric(&p, SX_TRUST_METRIC_COUNTER_MISMATCHES), 1);
    gain_all(&p);
    assert_int_equal(generation_of(&p, 9), before[9] + 1);
    command_at(&p, 10, "INCR", "n");
    run(&p, 150);
    assert_true(metric(&p, SX_TRUST_METRIC_COUNTER_MISMATCHES) >= 1);
    gain_all(&p);
    assert_int_equal(generation_of(&p, 10), before[10] + 1);
    /* Going back is as bad. */
    command_at(&p, 11, "DECR", "n");
    invalidate(&p, 11);
    run(&p, 150);
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
    char name[64];
    snprintf(name, sizeof name, "{%s}s1:c", p.tags->tags[5].text);
    const char *const untrust[] = {"EVAL", "return redis.call('SPUBLISH', KEYS[1], '\\146\\8\\0')", "1", name};
    free(sx_cluster_command_argv(servers, owner_of(&p, 5), 4, untrust));
    snprintf(name, sizeof name, "{%s}s1:c", p.tags->tags[6].text);
    const char *const nonsense[] = {"SPUBLISH", name, "hello"};
    free(sx_cluster_command_argv(servers, owner_of(&p, 6), 3, nonsense));
    run(&p, 20);
    assert_int_equal(metric(&p, SX_TRUST_METRIC_MALFORMED), 1);
    assert_int_equal(metric(&p, SX_TRUST_METRIC_LOST), 2);
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
    assert_true(run_until(&p, some_lost, 300));
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
    assert_false(is_trusted(&p, 0));
    assert_true(metric(&p, SX_TRUST_METRIC_BEATS_LATE) >= 1);
    assert_int_equal(sx_cluster_resume(servers, node), 0);
    gain_all(&p);
    process_close(&p);
}

static void layout_is_agreed_on(void **state) {
    (void)state;
    process p, q;
    process_open(&p, &(options){0});
    gain_all(&p);
    process_open(&q, &(options){.partitions = 32});
    run(&q, 400);
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
    run(&p, 500);
    assert_int_equal(p.refused, STRATA_E_CONFIG);
    for (uint32_t i = 0; i < P; i++) assert_int_equal(is_trusted(&p, i), owner_of(&p, i) != 1);
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
        run(&p, 500);
        assert_int_equal(p.refused, STRATA_E_AUTH);
        assert_int_equal(trusted_count(&p), 0);
        process_close(&p);
    }
}

static void a_moved_slot_is_followed(void **state) {
    (void)state;
    process p;
    process_open(&p, &(options){0});
    gain_all(&p);
    uint64_t before = generation_of(&p, 0);
    uint32_t from = owner_of(&p, 0), to = (from + 1) % 3;
    command_at(&p, 0, "DEL", "n"); /* an empty slot is given away at once */
    run(&p, 1);
    assert_int_equal(sx_cluster_slot_give(servers, p.tags->tags[0].slot, to), 0);
    run(&p, 300);
    gain_all(&p);
    assert_int_equal(owner_of(&p, 0), to);
    assert_true(generation_of(&p, 0) > before);
    uint32_t messages = p.messages[0];
    invalidate(&p, 0);
    run(&p, 50);
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
    run(&p, 300);
    assert_int_equal(trusted_count(&p), P - 1);
    assert_false(is_trusted(&p, 20));
    free(sx_cluster_command(servers, from, "CLUSTER SETSLOT %u STABLE", p.tags->tags[20].slot));
    free(sx_cluster_command(servers, to, "CLUSTER SETSLOT %u STABLE", p.tags->tags[20].slot));
    gain_all(&p);
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
    read.request.deadline_ns = sx_clock_now_ns(&p.clock) + SX_NS_PER_S;
    read.request.done = on_written;
    sx_redis_cluster_submit(p.cluster, &read.request);
    for (int i = 0; i < 1000 && !read.done; i++) sx_loop_turn(p.loop, 1);
    assert_true(read.request.identity != 0);
    assert_true(sx_trust_may_fill_on_loop(p.trust, 4, &mark, read.request.identity));
    assert_false(sx_trust_may_fill_on_loop(p.trust, 4, &none, read.request.identity));
    assert_false(sx_trust_may_fill_on_loop(p.trust, 4, &mark, read.request.identity + 1));
    assert_false(sx_trust_may_fill_on_loop(p.trust, 4, &mark, 0));
    kill_subscriptions();
    run(&p, 20);
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
    gain_all(&p);
    int64_t lost = metric(&p, SX_TRUST_METRIC_LOST);
    for (uint32_t i = 0; i < 3; i++) free(sx_cluster_command(servers, i, "SCRIPT FLUSH"));
    run(&p, 700);
    assert_int_equal(metric(&p, SX_TRUST_METRIC_LOST), lost);
    assert_int_equal(trusted_count(&p), P);
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
    run(&p, 30);
    assert_false(is_trusted(&p, 0));
    assert_true(run_until(&p, all_trusted, 15000));
    for (uint32_t i = 0; i < P; i++) {
        uint32_t owner = owner_of(&p, i);
        assert_int_equal(generation_of(&p, i), before[i] + (owner >= 3 ? 1 : 0));
    }
    assert_true(owner_of(&p, 0) >= 3);
    invalidate(&p, 0);
    run(&p, 50);
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
    int64_t end_ns = sx_clock_now_ns(&p.clock) + 10 * SX_NS_PER_S;
    uint32_t replica = 3 + node;
    /* Our loop stands still, as a process that is paused with it; its heartbeat is in the node's socket. */
    while (sx_cluster_owner(servers, p.tags->tags[0].slot) != (int)replica && sx_clock_now_ns(&p.clock) < end_ns)
        usleep(20000);
    free(sx_cluster_command(servers, replica, "INCR {%s}s1:n", p.tags->tags[0].text)); /* a write at the new one */
    assert_false(is_trusted(&p, 0));
    assert_int_equal(sx_cluster_resume(servers, node), 0);
    end_ns = sx_clock_now_ns(&p.clock) + 10 * SX_NS_PER_S;
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
    uint64_t n = invalidate(&p, 12);
    run(&p, 50);
    assert_int_equal(p.last_n[12], n);
    generations(&p, before);
    kill_subscriptions();
    run(&p, 20);
    gain_all(&p);
    for (uint32_t i = 0; i < P; i++) assert_int_equal(generation_of(&p, i), before[i]);
    command_at(&p, 12, "INCR", "n");
    run(&p, 900); /* a rotation through all counters */
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
    run(&p, 200);
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
    assert_int_equal(sx_cluster_restart(servers, 0), 0);
    run(&p, 20);
    gain_all(&p);
    for (uint32_t i = 0; i < P; i++) assert_true(generation_of(&p, i) > before[i]);
    process_close(&p);
}

#define CASE(function) cmocka_unit_test_setup(function, flush_all)

int main(int argc, char **argv) {
    if (!sx_cluster_available()) return 77;
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest three[] = {
        CASE(gains_and_keeps_all_partitions), CASE(delivers_messages_in_order),
        CASE(a_cut_without_writes_keeps_generations), CASE(a_write_missed_meanwhile_bumps_one),
        CASE(a_lost_message_is_a_hole), CASE(untrust_and_malformed_end_trust),
        CASE(flushall_ends_trust_of_the_whole_node), CASE(a_paused_node_lapses_and_is_confirmed),
        CASE(layout_is_agreed_on), CASE(delta_is_clamped_to_half_the_node_timeout),
        CASE(reads_when_down_are_refused), CASE(missing_permissions_are_named),
        CASE(marks_say_what_may_be_kept), CASE(forgotten_scripts_are_sent_again),
        CASE(a_migrating_slot_is_not_trusted), CASE(a_moved_slot_is_followed),
    };
    const struct CMUnitTest replicated[] = {
        cmocka_unit_test(a_dead_primary_is_replaced),
    };
    const struct CMUnitTest resumed[] = {
        cmocka_unit_test(a_resumed_primary_is_not_believed),
    };
    const struct CMUnitTest alone[] = {
        CASE(standalone_works_alike), CASE(standalone_must_be_master), CASE(a_restarted_server_is_another),
    };
    int failed = cmocka_run_group_tests(three, three_primaries, stop_servers);
    failed += cmocka_run_group_tests(replicated, with_replicas, stop_servers);
    failed += cmocka_run_group_tests(resumed, with_replicas, stop_servers);
    failed += cmocka_run_group_tests(alone, standalone, stop_servers);
    return failed;
}
