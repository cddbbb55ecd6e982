/* SPDX-License-Identifier: Apache-2.0 */
/* One process's worth of coherence against real servers, driven by hand in the test's thread. */
#ifndef SX_TESTS_COHERENCE_PROCESS_H
#define SX_TESTS_COHERENCE_PROCESS_H

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
    uint64_t answered_by; /* identity of who executed the last invalidation */
    int32_t refused;
    char refused_text[512];
    uint32_t refusals;
    bool stopped;
} process;

static sx_cluster *servers;

/* ---- the process ---- */

static inline void on_message(void *context, uint32_t partition, const sx_message *message) {
    process *p = context;
    if (!message->sequenced) return;
    p->messages[partition]++;
    p->last_n[partition] = message->n;
}

static inline void on_refused(void *context, int32_t status, const char *text) {
    process *p = context;
    p->refused = status;
    p->refusals++;
    snprintf(p->refused_text, sizeof p->refused_text, "%s", text);
}

static inline void on_topology(void *context) {
    process *p = context;
    p->publish.sharded = sx_redis_cluster_is_cluster(p->cluster);
    p->publish.set_nx_get = true;
    if (p->trust != NULL) sx_trust_topology_on_loop(p->trust);
}

static inline void on_redirect(void *context, uint16_t slot, bool asking) {
    process *p = context;
    if (p->trust != NULL) sx_trust_redirect_on_loop(p->trust, slot, asking);
}

static inline void write_log(void *context, int level, const char *line) {
    (void)context;
    if (getenv("STRATA_TEST_VERBOSE") != NULL) fprintf(stderr, "%d %s\n", level, line);
}

typedef struct options {
    uint32_t partitions, beat_counters;
    int64_t delta_ms;
    const char *username, *password;
    const char *nodes; /* NULL: the servers' addresses */
} options;

static inline void process_open(process *p, const options *o) {
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
    assert_int_equal(sx_redis_cluster_create(p->loop, &p->redis, SX_REDIS_MODE_AUTO,
                                             o->nodes == NULL ? sx_cluster_seeds(servers) : o->nodes, &cluster_events, &p->cluster, error, sizeof error),
                     STRATA_OK);
    const sx_trust_settings settings = {
        &p->redis, partitions, (o->delta_ms == 0 ? 500 : o->delta_ms) * SX_NS_PER_MS, 15 * SX_NS_PER_S,
        o->beat_counters == 0 ? 128 : o->beat_counters};
    const sx_trust_events events = {p, on_message, on_refused, NULL, NULL, NULL, NULL, NULL};
    assert_int_equal(sx_trust_create(p->loop, alloc, &p->log, p->cluster, p->tags, &p->publish, &p->scripts, &settings,
                                     &events, p->words, &p->trust),
                     STRATA_OK);
    sx_trust_start_on_loop(p->trust);
    sx_redis_cluster_start_on_loop(p->cluster);
}

static inline void on_stopped(void *context) { ((process *)context)->stopped = true; }

static inline void process_close(process *p) {
    sx_trust_stop_on_loop(p->trust, on_stopped, p);
    for (int i = 0; i < 20000 && !p->stopped; i++) sx_loop_turn(p->loop, 1);
    assert_true(p->stopped);
    for (uint32_t i = 0; i < p->tags->partitions; i++) {
        int64_t lease_ns;
        uint64_t generation;
        sx_trust_read(&p->words[i], &lease_ns, &generation);
        assert_true(lease_ns == INT64_MIN);
    }
    p->stopped = false;
    sx_redis_cluster_stop_on_loop(p->cluster, on_stopped, p);
    for (int i = 0; i < 20000 && !p->stopped; i++) sx_loop_turn(p->loop, 1);
    assert_true(p->stopped);
    sx_trust_destroy(p->trust);
    sx_redis_cluster_destroy(p->cluster);
    sx_loop_destroy(p->loop);
    sx_key_tags_destroy(p->tags);
}

/* ---- what the tests ask ---- */

static inline bool is_trusted(const process *p, uint32_t partition) {
    int64_t lease_ns;
    uint64_t generation;
    sx_trust_read(&p->words[partition], &lease_ns, &generation);
    return sx_clock_now_ns(&p->clock) < lease_ns;
}

static inline uint64_t generation_of(const process *p, uint32_t partition) {
    int64_t lease_ns;
    uint64_t generation;
    sx_trust_read(&p->words[partition], &lease_ns, &generation);
    return generation;
}

static inline uint32_t trusted_count(const process *p) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < p->tags->partitions; i++) count += is_trusted(p, i) ? 1 : 0;
    return count;
}

static inline bool all_trusted(process *p) { return trusted_count(p) == p->tags->partitions; }

static inline void run(process *p, int64_t ms) {
    int64_t end_ns = sx_clock_now_ns(&p->clock) + ms * SX_NS_PER_MS;
    while (sx_clock_now_ns(&p->clock) < end_ns) sx_loop_turn(p->loop, 2);
}

static inline bool run_until(process *p, bool (*done)(process *), int64_t ms) {
    int64_t end_ns = sx_clock_now_ns(&p->clock) + ms * SX_NS_PER_MS;
    while (sx_clock_now_ns(&p->clock) < end_ns) {
        if (done(p)) return true;
        sx_loop_turn(p->loop, 2);
    }
    return done(p);
}

static inline void gain_all(process *p) {
    if (!run_until(p, all_trusted, 30000))
        fail_msg("%u of %u partitions trusted: %s", trusted_count(p), p->tags->partitions, p->refused_text);
}

static inline uint32_t owner_of(const process *p, uint32_t partition) {
    if (!sx_redis_cluster_is_cluster(p->cluster)) return 0;
    int owner = sx_cluster_owner(servers, p->tags->tags[partition].slot);
    assert_true(owner >= 0);
    return (uint32_t)owner;
}

/* One command at the partition's owner; "%s" stands for "{tag}s1:". */
static inline void command_at(const process *p, uint32_t partition, const char *before, const char *after) {
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

static inline void on_written(sx_redis_request *request, sx_redis_outcome outcome, const sx_resp *reply) {
    pending_write *write = (pending_write *)(void *)request;
    int64_t ms;
    write->done = true;
    write->outcome = outcome;
    if (outcome == SX_REDIS_OK) assert_int_equal(sx_publish_decode(reply, &write->n, &ms), SX_PUBLISH_DONE);
}

/* An invalidation of some key of the partition by this process; its number. */
static inline uint64_t invalidate(process *p, uint32_t partition) {
    pending_write write = {.done = false};
    sx_command_init(&write.request.command, sx_alloc_default());
    const sx_publish_write what = {
        .key = {.partition = partition, .ns = "ns", .ns_size = 2, .ns_version = 1, .key = "k", .key_size = 1}, .id = 5};
    sx_publish_encode_write(&p->publish, &what, &write.request.command);
    write.request.script = &p->scripts.write;
    write.request.slot = p->tags->tags[partition].slot;
    write.request.deadline_ns = sx_clock_now_ns(&p->clock) + 10 * SX_NS_PER_S;
    write.request.done = on_written;
    sx_redis_cluster_submit(p->cluster, &write.request);
    for (int i = 0; i < 15000 && !write.done; i++) sx_loop_turn(p->loop, 1);
    assert_true(write.done);
    assert_int_equal(write.outcome, SX_REDIS_OK);
    p->answered_by = write.request.identity;
    sx_command_deinit(&write.request.command);
    return write.n;
}

static inline void kill_subscriptions(void) {
    for (uint32_t i = 0; i < sx_cluster_node_count(servers); i++)
        free(sx_cluster_command(servers, i, "CLIENT KILL TYPE pubsub"));
}

static inline int64_t metric(const process *p, uint32_t which) { return sx_trust_metric_read(p->trust, which); }

/* Until it is at least that; for ten seconds at most, which only a machine that stands still takes. */
static inline void run_until_metric(process *p, uint32_t which, int64_t least) {
    for (int64_t end_ns = sx_clock_now_ns(&p->clock) + 10 * SX_NS_PER_S; metric(p, which) < least && sx_clock_now_ns(&p->clock) < end_ns;)
        sx_loop_turn(p->loop, 2);
    assert_true(metric(p, which) >= least);
}

/* Until its last message of the partition is that; then, that it is. */
static inline void run_until_heard(process *p, uint32_t partition, uint64_t n) {
    for (int64_t end_ns = sx_clock_now_ns(&p->clock) + 10 * SX_NS_PER_S; p->last_n[partition] != n && sx_clock_now_ns(&p->clock) < end_ns;)
        sx_loop_turn(p->loop, 2);
    assert_int_equal(p->last_n[partition], n);
}

static inline void run_until_untrusted(process *p, uint32_t partition) {
    for (int64_t end_ns = sx_clock_now_ns(&p->clock) + 10 * SX_NS_PER_S; is_trusted(p, partition) && sx_clock_now_ns(&p->clock) < end_ns;)
        sx_loop_turn(p->loop, 2);
    assert_false(is_trusted(p, partition));
}

static inline bool is_refused(process *p) { return p->refused != STRATA_OK; }

static inline void generations(const process *p, uint64_t out[P]) {
    for (uint32_t i = 0; i < p->tags->partitions; i++) out[i] = generation_of(p, i);
}

static inline void start_servers(const sx_cluster_options *o) {
    char error[256] = "";
    if (sx_cluster_start(o, &servers, error, sizeof error) != 0) fail_msg("%s", error);
}

static inline int three_primaries(void **state) {
    (void)state;
    start_servers(&(sx_cluster_options){.primaries = 3, .node_timeout_ms = 3000});
    return 0;
}

static inline int flush_all(void **state) {
    (void)state;
    for (uint32_t i = 0; i < sx_cluster_node_count(servers); i++) free(sx_cluster_command(servers, i, "FLUSHALL"));
    return 0;
}

static inline int stop_servers(void **state) {
    (void)state;
    sx_cluster_stop(servers);
    servers = NULL;
    return 0;
}

#define CASE(function) cmocka_unit_test_setup(function, flush_all)

#endif
