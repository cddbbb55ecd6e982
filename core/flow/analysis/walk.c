/* SPDX-License-Identifier: Apache-2.0 */
/* What L1 holds: the keeper walks through it, some groups each time it wakes, and tells what it found once it has seen all. */
#include <string.h>

#include "core/flow/analysis/analysis.h"

#define STEPS  16u /* each with a pin of its own, so that none is long */
#define GROUPS 16u
#define PACE_NS (50 * SX_NS_PER_MS) /* while the keeper is busy */

/* The largest so far, each key once: a walk may come by an entry twice. */
static void note_big(sx_census *census, const sx_item *item) {
    uint32_t at = census->big_count;
    if (at == STRATA_BIG_KEYS_MAX && item->value_size <= census->big[at - 1].bytes) return;
    strata_seen_key key;
    sx_seen_key_set(&key, sx_item_key(item), item->key_size);
    for (uint32_t i = 0; i < census->big_count; i++) {
        if (census->big[i].bytes == item->value_size && memcmp(&census->big[i].key, &key, sizeof key) == 0) return;
    }
    if (at == STRATA_BIG_KEYS_MAX) at--;
    else census->big_count++;
    for (; at > 0 && census->big[at - 1].bytes < item->value_size; at--) census->big[at] = census->big[at - 1];
    census->big[at] = (strata_big_key){key, item->value_size};
}

typedef struct walk {
    strata *engine;
    int64_t now_ns;
} walk;

static bool visit(void *context, sx_item *item) {
    const walk *w = context;
    sx_analysis *analysis = sx_analysis_of(w->engine, item->ns);
    if (analysis == NULL || !analysis->whole || (item->flags & SX_ITEM_NOTHING) != 0) return false;
    sx_census *census = &analysis->walked;
    int64_t fresh_ns = sx_item_fresh_ns(item);
    census->entries++;
    census->bytes += item->key_size + (int64_t)item->value_size;
    sx_analysis_add(&census->value_bytes, item->value_size);
    note_big(census, item);
    if (fresh_ns == SX_EXPIRES_NEVER) {
        census->endless++;
        return false;
    }
    int64_t given_ms = fresh_ns / SX_NS_PER_MS - item->written_ms;
    sx_analysis_add(&census->ttl_left, fresh_ns > w->now_ns ? (fresh_ns - w->now_ns) / SX_NS_PER_MS : 0);
    if (item->written_ms != INT64_MIN) sx_analysis_add(&census->ttl_given, given_ms > 0 ? given_ms : 0);
    return false;
}

/* Whether there is anybody to walk for. */
static bool begin_all(strata *engine) {
    bool any = false;
    for (uint32_t i = 0; i < SX_NAMESPACES_MAX; i++) {
        sx_analysis *analysis = sx_analysis_of(engine, i);
        if (analysis == NULL) continue;
        memset(&analysis->walked, 0, sizeof analysis->walked);
        analysis->whole = atomic_load_explicit(&analysis->on, memory_order_relaxed); /* relaxed: a hint */
        any |= analysis->whole;
    }
    return any;
}

static void tell_all(strata *engine) {
    for (uint32_t i = 0; i < SX_NAMESPACES_MAX; i++) {
        sx_analysis *analysis = sx_analysis_of(engine, i);
        if (analysis == NULL || !analysis->whole) continue;
        sx_lock_acquire(&analysis->lock);
        analysis->told = analysis->walked;
        analysis->walks++;
        sx_lock_release(&analysis->lock);
    }
}

void sx_analysis_walk_on_keeper(strata *engine, sx_epoch_record *record) {
    sx_analyses *all = &engine->analyses;
    if (engine->l1 == NULL || atomic_load_explicit(&all->made, memory_order_relaxed) == 0) return; /* relaxed: a hint */
    sx_clock real = {NULL, NULL}; /* an injected one need not run */
    int64_t real_ns = sx_clock_now_ns(&real);
    if (real_ns - all->walked_ns < PACE_NS) return;
    all->walked_ns = real_ns;
    if (!all->walking && !begin_all(engine)) return;
    all->walking = true;
    walk w = {engine, sx_engine_now(engine)};
    for (uint32_t i = 0; i < STEPS; i++) {
        sx_l1_walk(engine->l1, record, &all->cursor, GROUPS, visit, &w);
        if (all->cursor == 0) {
            tell_all(engine);
            all->walking = false;
            return;
        }
    }
}
