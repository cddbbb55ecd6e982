/* SPDX-License-Identifier: Apache-2.0 */
/* Invalidations that were acknowledged, for as long as a failover may still undo them: replication is asynchronous. When
   a partition's primary is another than before, those of its window are replayed.

   A ring, oldest first, bounded in number and bytes. What is forgotten early is counted: a failover would lose it. */
#include <string.h>

#include "core/flow/engine.h"

/* An answer came from a server that is not the one that trust stands on: asked again once that is cleared up. */
#define DOUBT_NS (1 * SX_NS_PER_S)
#define FIRST_CAPACITY 64

typedef struct sx_recovery_entry {
    sx_item *key; /* for its key bytes only */
    strata_namespace *ns;
    uint64_t hash;
    uint64_t n;
    uint64_t identity; /* of who acknowledged it */
    int64_t at_ns;
    uint32_t partition;
} sx_recovery_entry;

static int64_t bytes_of(const sx_recovery_entry *entry) {
    return (int64_t)(sizeof *entry + sx_item_footprint(entry->key));
}

static sx_recovery_entry *at(const sx_recovery *window, uint32_t index) {
    return &window->entries[(window->head + index) & (window->capacity - 1)];
}

static void drop_oldest(strata *engine) {
    sx_recovery *window = &engine->window;
    sx_recovery_entry *entry = at(window, 0);
    window->bytes -= bytes_of(entry);
    sx_item_release(entry->key);
    window->head = (window->head + 1) & (window->capacity - 1);
    window->count--;
    sx_counter_add_shared(&engine->counters[SX_FLOW_METRIC_RECOVERY_WINDOW], -1);
}

static bool grow(strata *engine) {
    sx_recovery *window = &engine->window;
    uint32_t capacity = window->capacity == 0 ? FIRST_CAPACITY : 2 * window->capacity;
    sx_recovery_entry *entries = sx_allocate(&engine->alloc, capacity * sizeof *entries);
    if (entries == NULL) return false;
    for (uint32_t i = 0; i < window->count; i++) entries[i] = *at(window, i);
    sx_release(&engine->alloc, window->entries, window->capacity * sizeof *entries);
    window->entries = entries;
    window->capacity = capacity;
    window->head = 0;
    return true;
}

static void overflowed(strata *engine, const char *what) {
    sx_counter_add_shared(&engine->counters[SX_FLOW_METRIC_RECOVERY_OVERFLOWED], 1);
    uint64_t dropped;
    if (sx_log_gate_open(&engine->window.gate, sx_loop_now_ns(engine->loop), SX_NS_PER_S, &dropped))
        sx_log_write(&engine->log, SX_LOG_ERROR,
                     "%s: more than coherence.recovery_ops_max or recovery_bytes_max allow is not remembered", what);
}

void sx_recovery_note_on_loop(const sx_write *write, uint64_t n) {
    strata *engine = write->engine;
    sx_recovery *window = &engine->window;
    int64_t now_ns = sx_loop_now_ns(engine->loop);
    if (engine->stopping) return;
    while (window->count != 0 && now_ns - at(window, 0)->at_ns > engine->replay_window_ns) drop_oldest(engine);
    sx_recovery_entry entry = {write->item, write->ns, write->hash, n, write->store_op.request.identity,
                               now_ns,      write->partition};
    sx_trust_mark mark = sx_trust_mark_on_loop(engine->trust, entry.partition);
    if (mark.term != 0 && entry.identity != sx_trust_identity_on_loop(engine->trust, entry.partition)) {
        /* A primary that was replaced and does not know it yet? Its n says nothing then. */
        (void)sx_trust_may_fill_on_loop(engine->trust, entry.partition, &mark, entry.identity); /* has it say who it is */
        sx_recovery_owe_on_loop(engine, entry.ns, entry.key, entry.hash, entry.partition, UINT64_MAX, DOUBT_NS);
        return;
    }
    while (window->count != 0 && (window->count >= engine->recovery_ops_max ||
                                  window->bytes + bytes_of(&entry) > engine->recovery_bytes_max)) {
        drop_oldest(engine);
        overflowed(engine, "acknowledged invalidations");
    }
    if (window->count == window->capacity && !grow(engine)) {
        overflowed(engine, "an acknowledged invalidation");
        return;
    }
    sx_item_retain(entry.key);
    window->count++;
    window->bytes += bytes_of(&entry);
    *at(window, window->count - 1) = entry;
    sx_counter_add_shared(&engine->counters[SX_FLOW_METRIC_RECOVERY_WINDOW], 1);
}

void sx_recovery_owe_on_loop(strata *engine, strata_namespace *ns, sx_item *key, uint64_t hash, uint32_t partition,
                             uint64_t replay_n, int64_t after_ns) {
    if (!sx_unknown_owe_on_loop(engine, ns, key, hash, partition, replay_n, after_ns))
        overflowed(engine, "invalidations that failed");
}

/* ---- after a failover ---------------------------------------------------------------------------------------- */

static void replay_on_loop(sx_task *task) {
    strata *engine = SX_CONTAINER(task, strata, window.task);
    sx_recovery *window = &engine->window;
    int64_t now_ns = sx_loop_now_ns(engine->loop), after_ns = 0;
    window->posted = false;
    for (uint32_t i = 0; i < window->count && !engine->stopping; i++) {
        sx_recovery_entry *entry = at(window, i);
        int64_t proven_ns = window->replaced[entry->partition];
        if (proven_ns == INT64_MAX || now_ns - entry->at_ns > engine->replay_window_ns ||
            entry->identity == sx_trust_identity_on_loop(engine->trust, entry->partition))
            continue;
        /* Acknowledged before the old primary was last proven to be one: then its n orders it among all values that came
           from there, and what is of another order can only have a smaller n without need. */
        uint64_t n = entry->at_ns <= proven_ns ? entry->n : UINT64_MAX;
        sx_recovery_owe_on_loop(engine, entry->ns, entry->key, entry->hash, entry->partition, n, after_ns);
        after_ns += SX_RECOVERY_PACE_NS;
        entry->identity = sx_trust_identity_on_loop(engine->trust, entry->partition); /* its replay is waited for apart */
    }
    for (uint32_t p = 0; p < engine->partitions; p++) window->replaced[p] = INT64_MAX;
}

void sx_recovery_replaced_on_loop(void *context, uint32_t partition, int64_t proven_ns) {
    strata *engine = context;
    sx_recovery *window = &engine->window;
    sx_renewed_replaced_on_loop(engine);
    if (window->count == 0 || engine->stopping || SX_BROKEN(replay)) return;
    if (window->replaced[partition] > proven_ns) window->replaced[partition] = proven_ns;
    if (window->posted) return;
    window->posted = true;
    window->task.run_on_loop = replay_on_loop;
    sx_loop_post(engine->loop, &window->task); /* once for all partitions of a node */
}

/* ---- life ---------------------------------------------------------------------------------------------------- */

int32_t sx_recovery_init(strata *engine) {
    const sx_config *config = engine->config;
    engine->recovery_ops_max = (uint32_t)sx_config_int(config, "coherence.recovery_ops_max");
    engine->recovery_bytes_max = sx_config_int(config, "coherence.recovery_bytes_max");
    engine->replay_window_ns = sx_config_int(config, "coherence.replay_window");
    engine->window.replaced = sx_allocate(&engine->alloc, engine->partitions * sizeof *engine->window.replaced);
    if (engine->window.replaced == NULL) return STRATA_E_NOMEM;
    for (uint32_t p = 0; p < engine->partitions; p++) engine->window.replaced[p] = INT64_MAX;
    return STRATA_OK;
}

void sx_recovery_deinit(strata *engine) {
    sx_recovery *window = &engine->window;
    while (window->count != 0) drop_oldest(engine);
    sx_release(&engine->alloc, window->entries, window->capacity * sizeof *window->entries);
    if (window->replaced != NULL)
        sx_release(&engine->alloc, window->replaced, engine->partitions * sizeof *window->replaced);
    window->entries = NULL;
    window->replaced = NULL;
    window->capacity = 0;
}
