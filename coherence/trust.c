/* SPDX-License-Identifier: Apache-2.0 */
/* Trust as the rest of the engine sees it: the words of all partitions, who writes them and when, and what a flight may
   conclude from them. */
#include <assert.h>

#include <strata/status.h>

#include "coherence/trust_state.h"

/* Connections are asked for their identity at most this often. */
#define REIDENTIFY_NS (20 * SX_NS_PER_MS)

void sx_trust_count(sx_trust *trust, uint32_t metric, int64_t more) {
    sx_counter_add(&trust->metrics[metric], more);
}

/* ---- the words ---- */

static void changed(const sx_trust *trust) {
    if (trust->events.on_word != NULL) trust->events.on_word(trust->events.context);
}

void sx_trust_gain(sx_trust *trust, uint32_t partition, uint64_t counter, int64_t lease_ns) {
    sx_trust_partition *p = &trust->partitions[partition];
    sx_trust_word *word = &trust->words[partition];
    assert(p->stage == SX_TRUST_SUBSCRIBED && p->node->identity != 0);
    bool proven = p->known && (!p->hole || SX_BROKEN(hole_bump)) && (p->last == counter || SX_BROKEN(counter_bump)) &&
                  (p->identity == p->node->identity || SX_BROKEN(identity_bump));
    if (SX_BROKEN(generation) && p->term != 0) proven = true;
    if (!proven) {
        sx_trust_word_doubt(word);
        if (p->term != 0) sx_trust_count(trust, SX_TRUST_METRIC_GENERATION_BUMPS, 1);
    }
    if (p->identity != p->node->identity && trust->events.on_replaced != NULL) /* at first too: writes don't wait for trust */
        /* relaxed: only the loop writes it */
        trust->events.on_replaced(trust->events.context, partition,
                                  atomic_load_explicit(&word->proven_ns, memory_order_relaxed));
    p->known = true;
    p->hole = false;
    p->last = counter;
    p->identity = p->node->identity;
    p->stage = SX_TRUST_TRUSTED;
    p->term++;
    p->node->trusted++;
    sx_trust_count(trust, SX_TRUST_METRIC_GAINED, 1);
    sx_trust_count(trust, SX_TRUST_METRIC_PARTITIONS_TRUSTED, 1);
    sx_trust_extend(trust, partition, lease_ns);
    if (trust->events.on_trust != NULL) trust->events.on_trust(trust->events.context, partition, true);
}

void sx_trust_extend(sx_trust *trust, uint32_t partition, int64_t lease_ns) {
    assert(trust->partitions[partition].stage == SX_TRUST_TRUSTED);
    sx_trust_word_lease(&trust->words[partition], lease_ns, lease_ns - sx_trust_delta_ns(trust));
    changed(trust);
}

void sx_trust_lose(sx_trust *trust, uint32_t partition) {
    sx_trust_partition *p = &trust->partitions[partition];
    if (p->stage == SX_TRUST_TRUSTED) {
        sx_trust_word_end(&trust->words[partition]);
        changed(trust);
        p->stage = SX_TRUST_SUBSCRIBED;
        if (--p->node->trusted == 0) p->node->ends++;
        sx_trust_count(trust, SX_TRUST_METRIC_LOST, 1);
        sx_trust_count(trust, SX_TRUST_METRIC_PARTITIONS_TRUSTED, -1);
        if (trust->events.on_trust != NULL) trust->events.on_trust(trust->events.context, partition, false);
    }
    if (p->node != NULL) p->since = ++p->node->seq;
}

void sx_trust_lose_node(sx_trust_node *node) {
    sx_trust *trust = node->trust;
    for (uint32_t i = 0; i < trust->settings.partitions; i++)
        if (trust->partitions[i].node == node) sx_trust_lose(trust, i);
}

void sx_trust_lose_all(sx_trust *trust) {
    for (uint32_t i = 0; i < trust->settings.partitions; i++) sx_trust_lose(trust, i);
}

int64_t sx_trust_delta_ns(const sx_trust *trust) {
    return atomic_load_explicit(&trust->delta_ns, memory_order_relaxed); /* relaxed: a bound to report */
}

uint64_t sx_trust_identity_on_loop(const sx_trust *trust, uint32_t partition) {
    assert(sx_loop_is_current(trust->loop) && partition < trust->settings.partitions);
    return trust->partitions[partition].identity;
}

int64_t sx_trust_node_lease_on_loop(const sx_trust *trust, const sx_redis_node *record, uint64_t *ends) {
    assert(sx_loop_is_current(trust->loop));
    const sx_trust_node *node = trust->nodes[record->index];
    *ends = node == NULL ? 0 : node->ends;
    return node != NULL && node->chained && node->trusted > 0 ? node->lease_ns : INT64_MIN;
}

int64_t sx_trust_max_staleness_ns(const sx_trust *trust) { return sx_trust_delta_ns(trust); }

/* ---- flights ---- */

static bool is_leased(const sx_trust *trust, uint32_t partition) {
    int64_t lease_ns;
    uint64_t generation;
    sx_trust_read(&trust->words[partition], &lease_ns, &generation);
    return trust->partitions[partition].stage == SX_TRUST_TRUSTED && sx_loop_now_ns(trust->loop) < lease_ns;
}

sx_trust_mark sx_trust_mark_on_loop(sx_trust *trust, uint32_t partition) {
    assert(sx_loop_is_current(trust->loop) && partition < trust->settings.partitions);
    sx_trust_mark mark = {0, 0};
    int64_t lease_ns;
    sx_trust_read(&trust->words[partition], &lease_ns, &mark.generation);
    if (is_leased(trust, partition)) mark.term = trust->partitions[partition].term;
    return mark;
}

bool sx_trust_may_fill_on_loop(sx_trust *trust, uint32_t partition, const sx_trust_mark *mark, uint64_t identity) {
    assert(sx_loop_is_current(trust->loop) && partition < trust->settings.partitions);
    const sx_trust_partition *p = &trust->partitions[partition];
    int64_t lease_ns;
    uint64_t generation;
    sx_trust_read(&trust->words[partition], &lease_ns, &generation);
    if (mark->term == 0 || ((mark->term != p->term || mark->generation != generation) && !SX_BROKEN(fill_term)))
        return false;
    if (!is_leased(trust, partition)) return false;
    if ((identity != 0 && identity == p->identity) || SX_BROKEN(fill_identity)) return true;
    int64_t now_ns = sx_loop_now_ns(trust->loop);
    if (now_ns >= p->node->reidentify_ns) {
        p->node->reidentify_ns = now_ns + REIDENTIFY_NS;
        sx_redis_cluster_reidentify(trust->cluster, p->node->record);
        if (identity != 0) sx_trust_node_doubt(p->node);
    }
    return false;
}

/* ---- the map ---- */

void sx_trust_topology_on_loop(sx_trust *trust) {
    assert(sx_loop_is_current(trust->loop));
    if (!trust->started || trust->stopping || !sx_redis_cluster_has_map(trust->cluster)) return;
    for (uint32_t i = 0; i < trust->settings.partitions; i++) {
        sx_redis_node *record = sx_redis_cluster_owner(trust->cluster, trust->tags->tags[i].slot);
        sx_trust_node *node = NULL;
        if (record != NULL && sx_trust_node_get(trust, record, &node) != STRATA_OK)
            sx_log_write(trust->log, SX_LOG_ERROR, "coherence: no memory for node %s:%u", record->address.host,
                         record->address.port);
        if (trust->partitions[i].node == node) continue;
        sx_trust_node_detach(trust, i);
        if (node != NULL) sx_trust_node_attach(trust, i, node);
    }
    for (uint32_t i = 0; i < trust->node_count; i++)
        if (trust->nodes[i] != NULL) sx_trust_node_step(trust->nodes[i]);
    sx_trust_layout_step(trust);
}

void sx_trust_redirect_on_loop(sx_trust *trust, uint16_t slot, bool asking) {
    assert(sx_loop_is_current(trust->loop) && slot < SX_SLOTS);
    (void)asking; /* both say that this node no longer answers for the slot alone */
    uint32_t partition = (uint32_t)slot * trust->settings.partitions / SX_SLOTS;
    if (trust->stopping || trust->tags->tags[partition].slot != slot || SX_BROKEN(redirect)) return;
    sx_trust_node *node = trust->partitions[partition].node;
    if (node == NULL) return;
    sx_trust_lose(trust, partition);
    sx_trust_node_kick(node);
}

/* ---- life ---- */

static void run_then_on_loop(sx_task *task) {
    sx_trust *trust = (sx_trust *)(void *)((char *)task - offsetof(sx_trust, stopped));
    trust->then(trust->then_context);
}

void sx_trust_settle(sx_trust *trust) {
    assert(trust->pending > 0);
    if (--trust->pending > 0 || !trust->stopping) return;
    trust->stopped.run_on_loop = run_then_on_loop;
    sx_loop_post(trust->loop, &trust->stopped);
}

int32_t sx_trust_create(sx_loop *loop, const sx_alloc *alloc, const sx_log *log, sx_redis_cluster *cluster,
                        const sx_key_tags *tags, const sx_publish *publish, sx_publish_scripts *scripts,
                        const sx_trust_settings *settings, const sx_trust_events *events, sx_trust_word *words,
                        sx_trust **out) {
    assert(settings->partitions == tags->partitions && settings->beat_counters > 0 && settings->max_staleness_ns > 0);
    sx_trust *trust = sx_allocate_zero(alloc, sizeof *trust);
    if (trust == NULL) return STRATA_E_NOMEM;
    trust->loop = loop;
    trust->alloc = alloc;
    trust->log = log;
    trust->cluster = cluster;
    trust->tags = tags;
    trust->publish = publish;
    trust->scripts = scripts;
    trust->settings = *settings;
    trust->events = *events;
    trust->words = words;
    int32_t status = sx_key_random_init(&trust->random);
    if (status == STRATA_OK) {
        trust->partitions = sx_allocate_zero(alloc, settings->partitions * sizeof *trust->partitions);
        if (trust->partitions == NULL) status = STRATA_E_NOMEM;
    }
    if (status != STRATA_OK) {
        sx_release(alloc, trust, sizeof *trust);
        return status;
    }
    atomic_init(&trust->delta_ns, settings->max_staleness_ns);
    for (uint32_t i = 0; i < settings->partitions; i++) {
        trust->partitions[i].absent = true;
        atomic_init(&words[i].lease_until_ns, INT64_MIN);
        atomic_init(&words[i].proven_ns, INT64_MIN);
        atomic_init(&words[i].generation, 1);
    }
    *out = trust;
    return STRATA_OK;
}

void sx_trust_start_on_loop(sx_trust *trust) {
    assert(sx_loop_is_current(trust->loop));
    trust->started = true;
    sx_trust_topology_on_loop(trust);
}

void sx_trust_stop_on_loop(sx_trust *trust, void (*then)(void *context), void *context) {
    assert(sx_loop_is_current(trust->loop) && !trust->stopping);
    trust->then = then;
    trust->then_context = context;
    trust->pending++; /* this call itself */
    trust->stopping = true;
    sx_trust_lose_all(trust);
    sx_loop_timer_cancel(trust->loop, &trust->timer);
    for (uint32_t i = 0; i < trust->node_count; i++) {
        if (trust->nodes[i] == NULL) continue;
        sx_loop_timer_cancel(trust->loop, &trust->nodes[i]->timer);
        sx_trust_node_close(trust->nodes[i], STRATA_E_CLOSED, "closing");
    }
    sx_trust_settle(trust);
}

void sx_trust_destroy(sx_trust *trust) {
    if (trust == NULL) return;
    assert(trust->pending == 0);
    for (uint32_t i = 0; i < trust->node_count; i++) sx_trust_node_destroy(trust->nodes[i]);
    sx_release(trust->alloc, trust->partitions, trust->settings.partitions * sizeof *trust->partitions);
    sx_release(trust->alloc, trust, sizeof *trust);
}

int64_t sx_trust_metric_read(const sx_trust *trust, uint32_t metric) {
    assert(metric < SX_TRUST_METRIC_COUNT);
    return sx_counter_read(&trust->metrics[metric]);
}
