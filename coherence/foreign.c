/* SPDX-License-Identifier: Apache-2.0 */
/* Foreign keys as the rest of the engine sees them: the words that say until when they are proven, and their reads.

   A read goes down the connection that the server's invalidations come by. The server answers in order and tells of a
   change after it: so whatever changes a value after it was read is heard of after the answer, and takes it out of L1
   again. Nothing needs to be remembered between a question and its answer. */
#include "coherence/foreign.h"

#include <assert.h>
#include <string.h>

#include <strata/status.h>

#include "coherence/foreign_state.h"
#include "core/observe/broken.h"

const sx_metric_row sx_foreign_metrics[SX_FOREIGN_METRIC_COUNT] = {
    [SX_FOREIGN_METRIC_NODES] = {"foreign.nodes", "1", "primaries whose foreign keys are proven fresh now", 1},
    [SX_FOREIGN_METRIC_MESSAGES] = {"foreign.messages", "messages", "invalidations received from tracking", 0},
    [SX_FOREIGN_METRIC_KEYS] = {"foreign.keys", "1", "keys that they named", 0},
    [SX_FOREIGN_METRIC_FLUSHES] = {"foreign.flushes", "1", "times a primary said that all its keys are gone", 0},
    [SX_FOREIGN_METRIC_LOST] = {"foreign.lost", "1", "times tracking at a primary ended, and with it the use of its keys in L1", 0},
    [SX_FOREIGN_METRIC_READS] = {"foreign.reads", "operations", "reads by a tracking connection, which L1 may keep", 0},
};

void sx_foreign_count(sx_foreign *foreign, uint32_t metric, int64_t more) { sx_counter_add(&foreign->metrics[metric], more); }

/* ---- the words ---- */

bool sx_foreign_owns(const sx_foreign *foreign, const sx_foreign_node *node, uint32_t word) {
    const uint16_t *owners = &foreign->owners[word * SX_FOREIGN_WORD_SLOTS];
    for (uint32_t i = 0; i < foreign->owner_counts[word]; i++)
        if (owners[i] == node->record->index) return true;
    return false;
}

void sx_foreign_lease(sx_foreign_node *node, int64_t lease_ns) {
    sx_foreign *foreign = node->foreign;
    if (node->lease_ns == INT64_MIN) sx_foreign_count(foreign, SX_FOREIGN_METRIC_NODES, 1);
    node->lease_ns = lease_ns;
    for (uint32_t w = 0; w < SX_FOREIGN_WORDS; w++) {
        if (!sx_foreign_owns(foreign, node, w)) continue;
        int64_t least_ns = lease_ns;
        for (uint32_t i = 0; i < foreign->owner_counts[w]; i++) {
            const sx_foreign_node *owner = foreign->nodes[foreign->owners[w * SX_FOREIGN_WORD_SLOTS + i]];
            if (owner->lease_ns < least_ns) least_ns = owner->lease_ns;
        }
        if (least_ns != INT64_MIN)
            sx_trust_word_lease(&foreign->words[w], least_ns, least_ns - sx_trust_max_staleness_ns(foreign->trust));
    }
}

static void doubt_word(sx_foreign *foreign, uint32_t word) {
    sx_trust_word_end(&foreign->words[word]);
    if (!SX_BROKEN(tracked_end)) sx_trust_word_doubt(&foreign->words[word]);
}

void sx_foreign_doubt(sx_foreign_node *node) {
    if (node->lease_ns != INT64_MIN) sx_foreign_count(node->foreign, SX_FOREIGN_METRIC_NODES, -1);
    node->lease_ns = INT64_MIN;
    for (uint32_t w = 0; w < SX_FOREIGN_WORDS; w++)
        if (sx_foreign_owns(node->foreign, node, w)) doubt_word(node->foreign, w);
}

/* ---- the map ---- */

/* The owners of a word's slots, each once. 0 where some slot has none, or its node no place here. */
static uint32_t find_owners(sx_foreign *foreign, uint32_t word, uint16_t owners[SX_FOREIGN_WORD_SLOTS]) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < SX_FOREIGN_WORD_SLOTS; i++) {
        sx_redis_node *record = sx_redis_cluster_owner(foreign->cluster, (uint16_t)(word * SX_FOREIGN_WORD_SLOTS + i));
        sx_foreign_node *node;
        if (record == NULL || sx_foreign_node_get(foreign, record, &node) != STRATA_OK) return 0;
        uint32_t at = 0;
        while (at < count && owners[at] != record->index) at++;
        if (at == count) owners[count++] = (uint16_t)record->index;
    }
    return count;
}

void sx_foreign_topology_on_loop(sx_foreign *foreign) {
    assert(sx_loop_is_current(foreign->loop));
    if (foreign->stopping || foreign->prefix_count == 0 || !sx_redis_cluster_has_map(foreign->cluster)) return;
    for (uint32_t w = 0; w < SX_FOREIGN_WORDS; w++) {
        uint16_t owners[SX_FOREIGN_WORD_SLOTS], *known = &foreign->owners[w * SX_FOREIGN_WORD_SLOTS];
        uint32_t count = find_owners(foreign, w, owners);
        if (count == foreign->owner_counts[w] && memcmp(owners, known, count * sizeof *known) == 0) continue;
        doubt_word(foreign, w);
        foreign->owner_counts[w] = (uint16_t)count;
        memcpy(known, owners, count * sizeof *known);
    }
    for (uint32_t i = 0; i < foreign->node_count; i++)
        if (foreign->nodes[i] != NULL) sx_foreign_node_step(foreign->nodes[i]);
}

void sx_foreign_follow_on_loop(sx_foreign *foreign, const char *prefix, size_t size, void *owner) {
    assert(sx_loop_is_current(foreign->loop) && size <= SX_FOREIGN_PREFIX_BYTES_MAX);
    assert(foreign->prefix_count < SX_FOREIGN_PREFIXES_MAX);
    if (!foreign->tracks || foreign->stopping) return;
    sx_foreign_prefix *new = &foreign->prefixes[foreign->prefix_count++];
    memcpy(new->text, prefix, size);
    new->size = (uint32_t)size;
    new->owner = owner;
    sx_foreign_topology_on_loop(foreign);
}

/* ---- reads ---- */

static sx_foreign_node *owner_of(const sx_foreign *foreign, uint16_t slot) {
    const sx_redis_node *record = sx_redis_cluster_owner(foreign->cluster, slot);
    return record == NULL ? NULL : foreign->nodes[record->index];
}

static uint64_t generation_of(const sx_foreign *foreign, uint16_t slot) {
    int64_t lease_ns;
    uint64_t generation;
    sx_trust_read(&foreign->words[slot / SX_FOREIGN_WORD_SLOTS], &lease_ns, &generation);
    return generation;
}

static void finish(sx_foreign_read *read, int32_t status, const sx_resp *reply) {
    sx_loop_timer_cancel(read->foreign->loop, &read->timer);
    read->done(read, status, reply);
}

static void on_ttl(void *context, int32_t status, const sx_resp *reply) {
    sx_foreign_read *read = context;
    if (status == STRATA_OK && reply->type == SX_RESP_INTEGER) read->ttl_ms = reply->integer;
}

static void on_value(void *context, int32_t status, const sx_resp *reply) { finish(context, status, reply); }

static void late_on_loop(sx_timer *timer) {
    sx_foreign_read *read = (sx_foreign_read *)(void *)((char *)timer - offsetof(sx_foreign_read, timer));
    (void)sx_redis_conn_forget(read->conn, read->ttl_ticket);
    (void)sx_redis_conn_forget(read->conn, read->ticket);
    finish(read, STRATA_E_TIMEOUT, NULL);
}

static int32_t ask(sx_foreign_read *read, const char *verb, const void *name, size_t size, sx_redis_reply_fn fn,
                    uint64_t *ticket) {
    sx_command command;
    sx_command_init(&command, read->foreign->alloc);
    sx_command_text(&command, verb);
    sx_command_arg(&command, name, size);
    int32_t status = command.args.failed
                         ? STRATA_E_NOMEM
                         : sx_redis_conn_send(read->conn, &command, NULL, true, false, fn, read, ticket);
    sx_command_deinit(&command);
    return status;
}

int32_t sx_foreign_read_on_loop(sx_foreign *foreign, sx_foreign_read *read, const void *name, size_t name_size) {
    assert(sx_loop_is_current(foreign->loop));
    const sx_foreign_node *node = owner_of(foreign, read->slot);
    if (node == NULL || node->closing || !node->tracking) return STRATA_E_UNAVAILABLE;
    uint32_t place = 0;
    while (place < node->prefixes && foreign->prefixes[place].owner != read->owner) place++;
    if (place == node->prefixes) return STRATA_E_UNAVAILABLE; /* not asked for yet */
    read->foreign = foreign;
    read->conn = node->conn;
    read->generation = generation_of(foreign, read->slot);
    read->ttl_ms = INT64_MIN;
    read->sent_ns = sx_loop_now_ns(foreign->loop);
    /* The time to live first: what changes between the two is heard of before the value, or after it. */
    int32_t status = ask(read, "PTTL", name, name_size, on_ttl, &read->ttl_ticket);
    if (status != STRATA_OK) return status;
    status = ask(read, "GET", name, name_size, on_value, &read->ticket);
    if (status != STRATA_OK) {
        (void)sx_redis_conn_forget(read->conn, read->ttl_ticket);
        return status;
    }
    sx_foreign_count(foreign, SX_FOREIGN_METRIC_READS, 1);
    read->timer.fire_on_loop = late_on_loop;
    sx_loop_timer_set(foreign->loop, &read->timer, read->deadline_ns);
    return STRATA_OK;
}

bool sx_foreign_may_fill_on_loop(const sx_foreign *foreign, const sx_foreign_read *read, uint64_t *generation) {
    const sx_foreign_node *node = owner_of(foreign, read->slot);
    *generation = generation_of(foreign, read->slot);
    return node != NULL && node->conn == read->conn && node->tracking && !node->closing && *generation == read->generation;
}

/* ---- life ---- */

int32_t sx_foreign_create(sx_loop *loop, const sx_alloc *alloc, const sx_log *log, sx_redis_cluster *cluster, sx_trust *trust,
                          const sx_redis_settings *redis, bool tracks, const sx_foreign_events *events, sx_trust_word *words,
                          sx_foreign **out) {
    static sx_redis_script *const none[] = {NULL};
    sx_foreign *foreign = sx_allocate_zero(alloc, sizeof *foreign);
    if (foreign == NULL) return STRATA_E_NOMEM;
    int32_t status = sx_key_random_init(&foreign->random);
    if (status != STRATA_OK) {
        sx_release(alloc, foreign, sizeof *foreign);
        return status;
    }
    foreign->loop = loop;
    foreign->alloc = alloc;
    foreign->log = log;
    foreign->cluster = cluster;
    foreign->trust = trust;
    foreign->redis = *redis;
    foreign->redis.scripts = none;
    foreign->redis.client_name = "strata-tracking";
    foreign->tracks = tracks;
    foreign->events = *events;
    foreign->words = words;
    for (uint32_t w = 0; w < SX_FOREIGN_WORDS; w++) {
        atomic_init(&words[w].lease_until_ns, INT64_MIN);
        atomic_init(&words[w].proven_ns, INT64_MIN);
        atomic_init(&words[w].generation, 1);
    }
    *out = foreign;
    return STRATA_OK;
}

static void run_then_on_loop(sx_task *task) {
    sx_foreign *foreign = (sx_foreign *)(void *)((char *)task - offsetof(sx_foreign, stopped));
    foreign->then(foreign->then_context);
}

void sx_foreign_settle(sx_foreign *foreign) {
    assert(foreign->pending > 0);
    if (--foreign->pending > 0 || !foreign->stopping) return;
    foreign->stopped.run_on_loop = run_then_on_loop;
    sx_loop_post(foreign->loop, &foreign->stopped);
}

void sx_foreign_stop_on_loop(sx_foreign *foreign, void (*then)(void *context), void *context) {
    assert(sx_loop_is_current(foreign->loop) && !foreign->stopping);
    foreign->then = then;
    foreign->then_context = context;
    foreign->pending++; /* this call itself */
    foreign->stopping = true;
    for (uint32_t i = 0; i < foreign->node_count; i++) {
        if (foreign->nodes[i] == NULL) continue;
        sx_loop_timer_cancel(foreign->loop, &foreign->nodes[i]->timer);
        sx_foreign_node_close(foreign->nodes[i], STRATA_E_CLOSED, "closing");
    }
    sx_foreign_settle(foreign);
}

void sx_foreign_destroy(sx_foreign *foreign) {
    if (foreign == NULL) return;
    assert(foreign->pending == 0);
    for (uint32_t i = 0; i < foreign->node_count; i++) sx_foreign_node_destroy(foreign->nodes[i]);
    sx_release(foreign->alloc, foreign, sizeof *foreign);
}

int64_t sx_foreign_metric_read(const sx_foreign *foreign, uint32_t metric) {
    assert(metric < SX_FOREIGN_METRIC_COUNT);
    return sx_counter_read(&foreign->metrics[metric]);
}
