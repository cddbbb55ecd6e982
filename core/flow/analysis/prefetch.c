/* SPDX-License-Identifier: Apache-2.0 */
/* Prefetch: a key that is mostly read after another is read ahead into L1, by a thread that reads like a session of the program, one key at a
   time. So what it brings is as fresh as anything else, L2 never has more than one of its requests to answer, and where L2 is slow the
   queue is full and no more is asked for. */
#include <string.h>

#include "core/flow/analysis/analysis.h"

#define QUEUE       64u
#define RECENT      4096u /* keys that were asked for lately, by hash */
#define DEADLINE_MS 200u
#define SURE_MIN    8u    /* times that a key was looked at before anything follows from it */
#define AHEAD_NS    (50 * SX_NS_PER_MS) /* what the rate may be ahead by */

/* What became of a key that was asked for, in the low bits of its hash. */
enum { ASKED = 1, FETCHED = 2, ABSENT = 3, STATES = 3 };

typedef struct wish {
    strata_namespace *ns;
    uint64_t hash;
    strata_seen_key key;
} wish;

struct sx_prefetcher {
    strata *engine;
    sx_thread thread;
    _Atomic uint64_t recent[RECENT]; /* atomic: relaxed, each a number that stands for itself */
    sx_lock lock;
    pthread_cond_t changed;
    /* lock: lock */
    wish queue[QUEUE];
    uint32_t first, count;
    int64_t next_ns; /* when the rate allows the next */
    bool stop;
};

static void count(strata *engine, uint32_t metric) { (void)sx_counter_add_shared(&engine->counters[metric], 1); }

static _Atomic uint64_t *recent_of(struct sx_prefetcher *p, uint64_t hash) { return &p->recent[(hash >> 20) % RECENT]; }

/* From one state to another, unless somebody else was first. */
static bool turn(_Atomic uint64_t *recent, uint64_t from, uint64_t to) {
    return atomic_compare_exchange_strong_explicit(recent, &from, to, memory_order_relaxed, memory_order_relaxed); /* relaxed: stands for itself */
}

/* ---- its thread ------------------------------------------------------------------------------------------------- */

static bool next_wish(struct sx_prefetcher *p, wish *out) {
    sx_lock_acquire(&p->lock);
    while (p->count == 0 && !p->stop) pthread_cond_wait(&p->changed, &p->lock.mutex);
    bool go_on = !p->stop;
    if (go_on) {
        *out = p->queue[p->first];
        p->first = (p->first + 1) % QUEUE;
        p->count--;
    }
    sx_lock_release(&p->lock);
    return go_on;
}

static void fetch(struct sx_prefetcher *p, strata_session *session, const wish *w) {
    strata_op_options options = {.struct_size = sizeof options, .deadline_ms = DEADLINE_MS};
    strata_result result;
    uint64_t asked = (w->hash & ~(uint64_t)STATES) | ASKED;
    int32_t status = strata_get_wait(session, w->ns, (strata_bytes){w->key.bytes, w->key.size}, &options, &result);
    bool there = status == STRATA_OK || status == STRATA_STALE;
    if (there) strata_result_release(session, &result);
    if (there) count(p->engine, SX_FLOW_METRIC_PREFETCH_FETCHED);
    else if (status == STRATA_MISS) count(p->engine, SX_FLOW_METRIC_PREFETCH_ABSENT);
    (void)turn(recent_of(p, w->hash), asked, there ? asked - ASKED + FETCHED : status == STRATA_MISS ? asked - ASKED + ABSENT : 0);
}

static void run(void *argument) {
    struct sx_prefetcher *p = argument;
    strata_session *session = NULL;
    wish w;
    while (next_wish(p, &w)) {
        if (session == NULL && sx_session_open(p->engine, true, &session) != STRATA_OK) continue;
        fetch(p, session, &w);
    }
    strata_session_close(session);
}

/* ---- asked for, on sessions' threads ----------------------------------------------------------------------------- */

/* Takes the key's place among the recent ones; false where it has been asked for already. */
static bool claim(struct sx_prefetcher *p, uint64_t hash) {
    _Atomic uint64_t *recent = recent_of(p, hash);
    uint64_t asked = (hash & ~(uint64_t)STATES) | ASKED, before = atomic_load_explicit(recent, memory_order_relaxed); /* relaxed: stands for itself */
    bool same = (before & ~(uint64_t)STATES) == (asked & ~(uint64_t)STATES) && before != 0;
    if (same && (before & STATES) != FETCHED) return false; /* it is on its way, or L2 has none */
    if (!turn(recent, before, asked)) return false;
    if ((before & STATES) == FETCHED) count(p->engine, SX_FLOW_METRIC_PREFETCH_WASTED); /* nobody read it while it was known */
    return true;
}

/* A place in the queue, if the rate allows one. */
static bool enqueue(struct sx_prefetcher *p, const wish *w, int64_t now_ns) {
    int64_t pace_ns = SX_NS_PER_S / sx_hot_read(&p->engine->hot.prefetch_per_s);
    if (!sx_lock_try(&p->lock)) return false;
    bool room = p->count < QUEUE && p->next_ns <= now_ns + AHEAD_NS && !p->stop && claim(p, w->hash);
    if (room) {
        p->queue[(p->first + p->count++) % QUEUE] = *w;
        p->next_ns = (p->next_ns > now_ns ? p->next_ns : now_ns) + pace_ns;
        pthread_cond_signal(&p->changed);
    }
    sx_lock_release(&p->lock);
    return room;
}

/* The key that mostly follows, as far as is known. */
static bool successor_of(sx_analysis *analysis, uint64_t hash, int64_t percent, wish *out) {
    if (!sx_lock_try(&analysis->lock)) return false;
    uint32_t place = sx_sketch_find(&analysis->firsts, hash);
    const sx_first *first = place == SX_SKETCH_NONE ? NULL : &analysis->first_keys[place];
    const sx_successor *best = NULL;
    for (uint32_t i = 0; first != NULL && first->seen >= SURE_MIN && i < SX_SUCCESSORS; i++) {
        const sx_successor *next = &first->next[i];
        if (next->key.size > STRATA_SEEN_KEY_BYTES || 100 * (next->count - next->error) < percent * first->seen) continue;
        if (best == NULL || next->count - next->error > best->count - best->error) best = next;
    }
    if (best != NULL) *out = (wish){best->ns, best->hash, best->key};
    sx_lock_release(&analysis->lock);
    return best != NULL;
}

static bool is_in_l1(strata_session *session, const wish *w) {
    strata *engine = session->engine;
    sx_epoch_pin(session->record);
    sx_item *item = sx_l1_find_pinned(engine->l1, w->hash, w->ns->index, w->key.bytes, w->key.size);
    bool there = item != NULL && sx_engine_now(engine) < sx_item_gone_ns(item);
    sx_epoch_unpin(session->record);
    return there;
}

void sx_prefetch_after(strata_session *session, sx_analysis *analysis, uint64_t hash) {
    strata *engine = session->engine;
    int64_t percent = sx_hot_read(&engine->hot.prefetch_percent);
    struct sx_prefetcher *p = sx_prefetcher_of(engine);
    wish w;
    if (percent == 0 || p == NULL || !sx_pairs_may_lead(analysis, hash) || !successor_of(analysis, hash, percent, &w)) return;
    if (is_in_l1(session, &w) || !sx_rollout_l1(w.ns, w.key.bytes, w.key.size) || !sx_rollout_l2(w.ns, w.key.bytes, w.key.size)) return;
    count(engine, enqueue(p, &w, sx_engine_now(engine)) ? SX_FLOW_METRIC_PREFETCH_ASKED : SX_FLOW_METRIC_PREFETCH_REFUSED);
}

void sx_prefetch_note_read(const strata_session *session, uint64_t hash, bool answered) {
    strata *engine = session->engine;
    struct sx_prefetcher *p = sx_prefetcher_of(engine);
    if (p == NULL) return;
    _Atomic uint64_t *recent = recent_of(p, hash);
    uint64_t is = atomic_load_explicit(recent, memory_order_relaxed); /* relaxed: stands for itself */
    if (SX_LIKELY(is == 0 || (is ^ hash) > STATES || !turn(recent, is, 0))) return;
    if ((is & STATES) == FETCHED) count(engine, answered ? SX_FLOW_METRIC_PREFETCH_USED : SX_FLOW_METRIC_PREFETCH_WASTED);
    else if ((is & STATES) == ASKED && !answered) count(engine, SX_FLOW_METRIC_PREFETCH_LATE);
}

/* ---- made and stopped --------------------------------------------------------------------------------------------- */

void sx_prefetch_apply_locked(strata *engine) {
    bool wanted = sx_config_int(engine->config, "flow.prefetch") != 0 && engine->l1_on && engine->l2_on;
    if (!wanted || sx_prefetcher_of(engine) != NULL) return;
    struct sx_prefetcher *p = sx_allocate_zero(&engine->alloc, sizeof *p);
    if (p == NULL) return;
    p->engine = engine;
    if (sx_lock_init(&p->lock, SX_RANK_ANALYSIS) != STRATA_OK) {
        sx_release(&engine->alloc, p, sizeof *p);
        return;
    }
    pthread_cond_init(&p->changed, NULL);
    if (sx_thread_start(&p->thread, "strata-prefetch", run, p) == STRATA_OK) {
        atomic_store_explicit(&engine->analyses.prefetcher, p, memory_order_release); /* [order: prefetcher] publishes it */
        return;
    }
    pthread_cond_destroy(&p->changed);
    sx_lock_deinit(&p->lock);
    sx_release(&engine->alloc, p, sizeof *p);
}

void sx_prefetch_stop(strata *engine) {
    struct sx_prefetcher *p = sx_prefetcher_of(engine);
    if (p == NULL) return;
    sx_lock_acquire(&p->lock);
    bool before = p->stop;
    p->stop = true;
    pthread_cond_signal(&p->changed);
    sx_lock_release(&p->lock);
    if (!before) sx_thread_join(&p->thread);
}

void sx_prefetch_destroy(strata *engine) {
    struct sx_prefetcher *p = sx_prefetcher_of(engine);
    if (p == NULL) return;
    pthread_cond_destroy(&p->changed);
    sx_lock_deinit(&p->lock);
    sx_release(&engine->alloc, p, sizeof *p);
}
