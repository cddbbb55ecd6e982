/* SPDX-License-Identifier: Apache-2.0 */
/* Usage analysis: switched on and off, and told of reads. A read that is looked at takes its namespace's lock, or is skipped where another
   thread has it: no read waits for another, nor for who asks what was seen. */
#include "core/flow/analysis/analysis.h"

#include <string.h>

#include "core/flow/configured.h"

#define WINDOW_NS (100 * SX_NS_PER_MS) /* within which a read follows another */

void sx_seen_key_set(strata_seen_key *out, const void *key, size_t size) {
    size_t kept = size < sizeof out->bytes ? size : sizeof out->bytes;
    memset(out, 0, sizeof *out);
    out->size = (uint32_t)size;
    memcpy(out->bytes, key, kept);
}

/* ---- reads ----------------------------------------------------------------------------------------------------- */

/* How many reads until the next that is looked at: at random, so that no rhythm of the program's is in step with it. */
static uint32_t draw(sx_trail *trail, int64_t sample) {
    if (trail->random == 0) trail->random = (uint64_t)(uintptr_t)trail | 1;
    trail->random ^= trail->random << 13;
    trail->random ^= trail->random >> 7;
    trail->random ^= trail->random << 17;
    return 1 + (uint32_t)((trail->random >> 11) % (uint64_t)(2 * sample - 1));
}

static bool is_drawn(sx_trail *trail, int64_t sample) {
    if (trail->left == 0) trail->left = draw(trail, sample);
    if (--trail->left != 0) return false;
    trail->left = draw(trail, sample);
    return true;
}

/* The read that was looked at last has its successor with this one, if that is another key and soon enough. */
static void follow(strata_session *session, strata_namespace *ns, strata_bytes key, uint64_t hash) {
    sx_trail *trail = &session->trail;
    sx_analysis *first = trail->first;
    if (hash == trail->first_hash) return;
    trail->first = NULL;
    if (sx_engine_now(session->engine) - trail->first_ns > WINDOW_NS || !sx_lock_try(&first->lock)) return;
    sx_pairs_next_locked(first, trail->first_hash, ns, hash, key);
    sx_lock_release(&first->lock);
}

static void look(strata_session *session, sx_analysis *analysis, strata_bytes key, uint64_t hash, const strata_result *result, bool answered,
                 bool leads) {
    if (!sx_lock_try(&analysis->lock)) {
        (void)sx_counter_add_shared(&analysis->skipped, 1);
        return;
    }
    bool fresh;
    uint32_t place = sx_sketch_add(&analysis->hot, hash, &fresh);
    if (fresh) sx_seen_key_set(&analysis->hot_keys[place], key.data, key.size);
    analysis->sampled++;
    analysis->missed += !answered;
    if (answered && result->age_ms != STRATA_AGE_UNKNOWN) sx_analysis_add(&analysis->age, result->age_ms);
    if (leads) sx_pairs_first_locked(analysis, hash, key);
    sx_lock_release(&analysis->lock);
    if (!leads) return;
    session->trail.first = analysis;
    session->trail.first_hash = hash;
    session->trail.first_ns = sx_engine_now(session->engine);
}

void sx_analysis_note_read(strata_session *session, strata_namespace *ns, strata_bytes key, uint64_t hash, const strata_result *result,
                           int32_t status, bool in_batch) {
    strata *engine = session->engine;
    if (session->apart) return;
    sx_analysis *analysis = sx_analysis_of(engine, ns->index);
    if (analysis == NULL) return;
    if (in_batch) session->trail.first = NULL;
    else if (session->trail.first != NULL) follow(session, ns, key, hash);
    bool answered = status == STRATA_OK || status == STRATA_STALE;
    sx_prefetch_note_read(session, hash, answered);
    if (!in_batch) sx_prefetch_after(session, analysis, hash);
    if (is_drawn(&session->trail, sx_hot_read(&engine->hot.analysis_sample))) look(session, analysis, key, hash, result, answered, !in_batch);
}

/* ---- made and switched ------------------------------------------------------------------------------------------ */

static void analysis_free(strata *engine, sx_analysis *analysis) {
    sx_sketch_deinit(&analysis->hot, &engine->alloc);
    sx_sketch_deinit(&analysis->firsts, &engine->alloc);
    sx_release(&engine->alloc, analysis->hot_keys, analysis->keys * sizeof *analysis->hot_keys);
    sx_release(&engine->alloc, (void *)(uintptr_t)analysis->leads, analysis->leads_count * sizeof *analysis->leads);
    sx_release(&engine->alloc, analysis->first_keys, analysis->keys * sizeof *analysis->first_keys);
    sx_lock_deinit(&analysis->lock);
    sx_release(&engine->alloc, analysis, sizeof *analysis);
}

static sx_analysis *analysis_create(strata *engine) {
    sx_analysis *analysis = sx_allocate_zero(&engine->alloc, sizeof *analysis);
    if (analysis == NULL) return NULL;
    if (sx_lock_init(&analysis->lock, SX_RANK_ANALYSIS) != STRATA_OK) {
        sx_release(&engine->alloc, analysis, sizeof *analysis);
        return NULL;
    }
    uint32_t keys = analysis->keys = (uint32_t)sx_config_int(engine->config, "flow.analysis_keys");
    analysis->hot_keys = sx_allocate_zero(&engine->alloc, keys * sizeof *analysis->hot_keys);
    analysis->first_keys = sx_allocate_zero(&engine->alloc, keys * sizeof *analysis->first_keys);
    analysis->leads_count = 64;
    while (analysis->leads_count < 4 * keys) analysis->leads_count *= 2;
    analysis->leads = sx_allocate_zero(&engine->alloc, analysis->leads_count * sizeof *analysis->leads);
    bool room = sx_sketch_init(&analysis->hot, &engine->alloc, keys);
    room = sx_sketch_init(&analysis->firsts, &engine->alloc, keys) && room && analysis->hot_keys != NULL && analysis->first_keys != NULL &&
           analysis->leads != NULL;
    if (room) return analysis;
    analysis_free(engine, analysis);
    return NULL;
}

/* There, or made. STRATA_OK; STRATA_E_OVERLOADED; STRATA_E_NOMEM. */
static int32_t make_locked(strata_namespace *ns) {
    strata *engine = ns->engine;
    sx_analyses *all = &engine->analyses;
    if (atomic_load_explicit(&all->of[ns->index], memory_order_relaxed) != NULL) return STRATA_OK; /* relaxed: made under this lock */
    uint32_t made = atomic_load_explicit(&all->made, memory_order_relaxed); /* relaxed: written under this lock */
    if (made == STRATA_ANALYSES_MAX) return STRATA_E_OVERLOADED;
    sx_analysis *analysis = analysis_create(engine);
    if (analysis == NULL) return STRATA_E_NOMEM;
    atomic_store_explicit(&all->of[ns->index], analysis, memory_order_release); /* [order: analysis] publishes it */
    atomic_store_explicit(&all->made, made + 1, memory_order_relaxed);          /* relaxed: a hint for the keeper */
    return STRATA_OK;
}

static bool is_wanted_locked(const strata_namespace *ns, strata_analyze mode) {
    if (mode != STRATA_ANALYZE_DEFAULT) return mode == STRATA_ANALYZE_ON;
    sx_configured configured;
    sx_configured_read(ns->engine->config, ns->name, ns->name_size, &configured);
    if (configured.analysis >= 0) return configured.analysis != 0;
    return sx_config_int(ns->engine->config, "flow.analysis") != 0;
}

bool sx_analysis_apply_locked(strata_namespace *ns) {
    bool on = ns->engine->l1_on && is_wanted_locked(ns, ns->analyze) && make_locked(ns) == STRATA_OK;
    on = sx_intervals_want_locked(ns, SX_INTERVALS_OF_ANALYSIS, on) && on;
    sx_analysis *analysis = sx_analysis_of(ns->engine, ns->index);
    if (analysis != NULL) atomic_store_explicit(&analysis->on, on, memory_order_relaxed); /* relaxed: a hint for the keeper */
    return on;
}

void sx_analysis_destroy(strata *engine) {
    sx_prefetch_destroy(engine);
    for (uint32_t i = 0; i < SX_NAMESPACES_MAX; i++) {
        sx_analysis *analysis = atomic_load_explicit(&engine->analyses.of[i], memory_order_relaxed); /* relaxed: nobody else is left */
        if (analysis != NULL) analysis_free(engine, analysis);
    }
}

int32_t strata_namespace_analyze(strata_namespace *ns, strata_analyze mode) {
    if (ns == NULL || (uint32_t)mode > STRATA_ANALYZE_OFF) return STRATA_E_INVALID;
    strata *engine = ns->engine;
    int32_t status = sx_engine_alive(engine);
    if (status != STRATA_OK) return status;
    sx_lock_acquire(&engine->lock);
    if (is_wanted_locked(ns, mode)) {
        status = make_locked(ns);
        if (status == STRATA_OK && !sx_intervals_make_locked(ns)) status = STRATA_E_NOMEM;
    }
    if (status == STRATA_OK) {
        ns->analyze = mode;
        sx_rollout_apply_locked(ns);
    }
    sx_lock_release(&engine->lock);
    return status;
}

/* ---- read ------------------------------------------------------------------------------------------------------- */

/* STRATA_OK, with NULL for a namespace that was never analysed. */
static int32_t find(const strata_namespace *ns, sx_analysis **out) {
    if (ns == NULL) return STRATA_E_INVALID;
    int32_t status = sx_engine_alive(ns->engine);
    if (status == STRATA_OK) *out = sx_analysis_of(ns->engine, ns->index);
    return status;
}

int32_t strata_analysis_read(strata_namespace *ns, strata_analysis *out) {
    if (out == NULL || !sx_struct_receives(out->struct_size)) return STRATA_E_INVALID;
    sx_analysis *analysis = NULL;
    int32_t status = find(ns, &analysis);
    if (status != STRATA_OK) return status;
    strata_analysis whole = {.on = sx_is_analysed(ns), .sample = sx_hot_read(&ns->engine->hot.analysis_sample)};
    if (analysis != NULL) {
        sx_lock_acquire(&analysis->lock);
        whole.sampled = analysis->sampled;
        whole.missed = analysis->missed;
        whole.skipped = sx_counter_read(&analysis->skipped);
        whole.walks = analysis->walks;
        whole.entries = analysis->told.entries;
        whole.bytes = analysis->told.bytes;
        whole.endless = analysis->told.endless;
        sx_lock_release(&analysis->lock);
    }
    sx_struct_fill(out, &whole, sizeof whole);
    return STRATA_OK;
}

#define CHUNK 64u /* keys that are copied under the lock at once: the keeper may wait for it */

/* A sketch as it was at one moment, ranked; what its places stand for is looked up afterwards, a few at a time. */
typedef struct ranked {
    sx_analysis *analysis; /* NULL: never analysed */
    const sx_sketch *of;
    sx_sketch then;
    uint32_t *order;
    uint32_t used;
} ranked;

static void ranked_deinit(const strata_namespace *ns, ranked *r) {
    const sx_alloc *alloc = &ns->engine->alloc;
    uint32_t keys = r->analysis->keys;
    sx_release(alloc, r->then.places, keys * sizeof *r->then.places);
    sx_release(alloc, r->then.heap, keys * sizeof *r->then.heap);
    sx_release(alloc, r->order, keys * sizeof *r->order);
}

/* What all lists begin with. firsts: of keys that others follow; else of hot ones. To be ended where it is STRATA_OK and there is an analysis. */
static int32_t ranked_init(strata_namespace *ns, const void *out, size_t max, size_t *count, bool firsts, ranked *r) {
    *r = (ranked){0};
    if (count == NULL || (out == NULL && max != 0)) return STRATA_E_INVALID;
    int32_t status = find(ns, &r->analysis);
    if (status != STRATA_OK) return status;
    *count = 0;
    if (r->analysis == NULL) return STRATA_OK;
    const sx_alloc *alloc = &ns->engine->alloc;
    uint32_t keys = r->analysis->keys;
    r->of = firsts ? &r->analysis->firsts : &r->analysis->hot;
    r->then.places = sx_allocate(alloc, keys * sizeof *r->then.places);
    r->then.heap = sx_allocate(alloc, keys * sizeof *r->then.heap);
    r->order = sx_allocate(alloc, keys * sizeof *r->order);
    if (r->then.places == NULL || r->then.heap == NULL || r->order == NULL) {
        ranked_deinit(ns, r);
        return STRATA_E_NOMEM;
    }
    sx_lock_acquire(&r->analysis->lock);
    r->then.used = r->of->used;
    memcpy(r->then.places, r->of->places, r->of->used * sizeof *r->then.places);
    memcpy(r->then.heap, r->of->heap, r->of->used * sizeof *r->then.heap);
    sx_lock_release(&r->analysis->lock);
    r->used = sx_sketch_ranking(&r->then, r->order);
    return STRATA_OK;
}

/* Whether what lies beside the place is still the same key's. */
static bool is_same_locked(const ranked *r, uint32_t place) { return r->of->places[place].hash == r->then.places[place].hash; }

int32_t strata_analysis_hot_keys(strata_namespace *ns, strata_hot_key *out, size_t max, size_t *count) {
    ranked r;
    int32_t status = ranked_init(ns, out, max, count, false, &r);
    if (status != STRATA_OK || r.analysis == NULL) return status;
    for (uint32_t i = 0; i < r.used && *count < max;) {
        sx_lock_acquire(&r.analysis->lock);
        for (uint32_t end = i + CHUNK; i < end && i < r.used && *count < max; i++) {
            const sx_sketch_place *then = &r.then.places[r.order[i]];
            if (is_same_locked(&r, r.order[i])) out[(*count)++] = (strata_hot_key){r.analysis->hot_keys[r.order[i]], then->count, then->error};
        }
        sx_lock_release(&r.analysis->lock);
    }
    ranked_deinit(ns, &r);
    return STRATA_OK;
}

/* Writes a key's successors, the most frequent first. */
static void list_successors(const sx_first *first, strata_key_pair *out, size_t max, size_t *count) {
    for (uint32_t told = 0, limit = UINT32_MAX; told != (1u << SX_SUCCESSORS) - 1 && *count < max;) {
        uint32_t best = SX_SUCCESSORS;
        for (uint32_t i = 0; i < SX_SUCCESSORS; i++) {
            bool left = (told >> i & 1) == 0 && first->next[i].count != 0 && first->next[i].count <= limit;
            if (left && (best == SX_SUCCESSORS || first->next[i].count > first->next[best].count)) best = i;
        }
        if (best == SX_SUCCESSORS) return;
        told |= 1u << best;
        const sx_successor *next = &first->next[best];
        out[(*count)++] = (strata_key_pair){first->key, next->key, next->ns, first->seen, next->count, next->error};
    }
}

int32_t strata_analysis_pairs(strata_namespace *ns, strata_key_pair *out, size_t max, size_t *count) {
    ranked r;
    int32_t status = ranked_init(ns, out, max, count, true, &r);
    if (status != STRATA_OK || r.analysis == NULL) return status;
    for (uint32_t i = 0; i < r.used && *count < max;) {
        sx_lock_acquire(&r.analysis->lock);
        for (uint32_t end = i + CHUNK; i < end && i < r.used && *count < max; i++) {
            if (is_same_locked(&r, r.order[i])) list_successors(&r.analysis->first_keys[r.order[i]], out, max, count);
        }
        sx_lock_release(&r.analysis->lock);
    }
    ranked_deinit(ns, &r);
    return STRATA_OK;
}

int32_t strata_analysis_big_keys(strata_namespace *ns, strata_big_key *out, size_t max, size_t *count) {
    if (count == NULL || (out == NULL && max != 0)) return STRATA_E_INVALID;
    sx_analysis *analysis = NULL;
    int32_t status = find(ns, &analysis);
    if (status != STRATA_OK) return status;
    *count = 0;
    if (analysis == NULL) return STRATA_OK;
    sx_lock_acquire(&analysis->lock);
    for (; *count < analysis->told.big_count && *count < max; ++*count) out[*count] = analysis->told.big[*count];
    sx_lock_release(&analysis->lock);
    return STRATA_OK;
}

int32_t strata_analysis_histogram(strata_namespace *ns, strata_analyzed what, strata_histogram *out) {
    if (out == NULL || !sx_struct_receives(out->struct_size) || (uint32_t)what >= STRATA_ANALYZED) return STRATA_E_INVALID;
    sx_analysis *analysis = NULL;
    int32_t status = find(ns, &analysis);
    if (status != STRATA_OK) return status;
    strata_histogram whole = {0};
    if (what == STRATA_ANALYZED_WRITE_INTERVAL) {
        sx_intervals_read(ns, &whole);
    } else if (analysis != NULL) {
        const strata_histogram *const of[] = {&analysis->age, &analysis->told.ttl_left, &analysis->told.ttl_given, &analysis->told.value_bytes};
        sx_lock_acquire(&analysis->lock);
        whole = *of[what];
        sx_lock_release(&analysis->lock);
    }
    sx_struct_fill(out, &whole, sizeof whole);
    return STRATA_OK;
}

int32_t strata_analysis_reset(strata_namespace *ns) {
    sx_analysis *analysis = NULL;
    int32_t status = find(ns, &analysis);
    if (status == STRATA_OK) sx_intervals_reset(ns);
    if (status != STRATA_OK || analysis == NULL) return status;
    sx_lock_acquire(&analysis->lock);
    analysis->sampled = analysis->missed = analysis->walks = 0;
    atomic_store_explicit(&analysis->skipped, 0, memory_order_relaxed); /* relaxed: statistic */
    memset(&analysis->age, 0, sizeof analysis->age);
    memset(&analysis->told, 0, sizeof analysis->told);
    sx_sketch_clear(&analysis->hot);
    sx_sketch_clear(&analysis->firsts);
    sx_lock_release(&analysis->lock);
    return STRATA_OK;
}
