/* SPDX-License-Identifier: Apache-2.0 */
/* Invalidations that were acknowledged, of keys, of tags and of namespaces, for as long as a failover may still undo them: replication is
   asynchronous.

   One that matters is in one of two places. Here, with the server that acknowledged it; or under way, as a key that owes it
   (unknown.c) or as a renewal (renew.c). Where trust stands on another server than that one, it goes from here to there,
   and comes back once it is acknowledged again: so another failover finds it in either place, whenever it comes.

   What failed first is read past by this process as long as it is here, wherever another server than that one answers: nothing
   says that the value there is not the one that was to be removed.

   Keys and tags are in a ring, oldest first, bounded in number and bytes. What finds no room is forgotten: its namespace is cleared
   in its partition where it would have been repeated. Only tags are lost, and counted. A clear takes no room in the ring: in each
   partition the last one of a namespace stands for all before it. */
#include <string.h>

#include "core/flow/engine.h"

#define AGAIN_NS (500 * SX_NS_PER_MS) /* until it is cleared up who is the primary */
#define TAGS_AT_ONCE 1024 /* and clears */
#define STARTED 64
#define FIRST_CAPACITY 64

typedef struct sx_recovery_entry {
    sx_item *item;        /* for its key bytes only: the key's, or the tag's name */
    strata_namespace *ns; /* of a key; else NULL */
    uint64_t hash;
    uint64_t n;           /* UINT64_MAX: its place in the order is not known */
    uint64_t identity;    /* of who acknowledged it; 0: nobody has */
    int64_t at_ns;
    uint64_t older;       /* where owed: the place of the one before it in its bucket */
    uint32_t partition;
    bool owed;            /* its caller was told that it failed: another server's answers are read past */
} sx_recovery_entry;

static void count(strata *engine, uint32_t metric, int64_t more) {
    sx_counter_add_shared(&engine->counters[metric], more);
}

/* ---- the ring ------------------------------------------------------------------------------------------------- */

static int64_t bytes_of(const sx_recovery_entry *entry) {
    return (int64_t)(sizeof *entry + sx_item_footprint(entry->item));
}

/* Places are numbered without end; those from head to head + count are taken. */
static sx_recovery_entry *at_place(const sx_recovery *window, uint64_t place) {
    return &window->entries[place & (window->capacity - 1)];
}

static sx_recovery_entry *at(const sx_recovery *window, uint32_t index) { return at_place(window, window->head + index); }

/* The oldest, with its reference to the item. */
static sx_recovery_entry take(strata *engine) {
    sx_recovery *window = &engine->window;
    sx_recovery_entry entry = *at(window, 0);
    window->bytes -= bytes_of(&entry);
    window->head++;
    window->count--;
    window->owed -= entry.owed;
    count(engine, SX_FLOW_METRIC_RECOVERY_WINDOW, -1);
    return entry;
}

static void drop_oldest(strata *engine) { sx_item_release(take(engine).item); }

static bool grow(strata *engine) {
    sx_recovery *window = &engine->window;
    uint32_t capacity = window->capacity == 0 ? FIRST_CAPACITY : 2 * window->capacity;
    sx_recovery_entry *entries = sx_allocate(&engine->alloc, capacity * sizeof *entries);
    if (entries == NULL) return false;
    for (uint32_t i = 0; i < window->count; i++) entries[(window->head + i) & (capacity - 1)] = *at(window, i);
    sx_release(&engine->alloc, window->entries, window->capacity * sizeof *entries);
    window->entries = entries;
    window->capacity = capacity;
    return true;
}

/* Where there is room. Takes over the entry's reference. */
static void put(strata *engine, const sx_recovery_entry *entry) {
    sx_recovery *window = &engine->window;
    assert(window->count < window->capacity);
    window->count++;
    window->bytes += bytes_of(entry);
    uint64_t place = window->head + window->count - 1;
    *at_place(window, place) = *entry;
    if (entry->owed) {
        uint64_t *newest = &window->newest[entry->hash % SX_UNKNOWN_BUCKETS];
        at_place(window, place)->older = *newest;
        *newest = place;
        window->owed++;
    }
    count(engine, SX_FLOW_METRIC_RECOVERY_WINDOW, 1);
}

/* The newest of those of the key that were owed; NULL: none. */
static const sx_recovery_entry *find_owed(const strata *engine, uint64_t hash, uint16_t ns, const void *key, size_t key_size) {
    const sx_recovery *window = &engine->window;
    if (window->owed == 0) return NULL;
    /* Who has left the ring is followed by none that has not. */
    for (uint64_t place = window->newest[hash % SX_UNKNOWN_BUCKETS]; place - window->head < window->count;) {
        const sx_recovery_entry *entry = at_place(window, place);
        if (entry->hash == hash && entry->item->ns == ns && entry->item->key_size == key_size &&
            memcmp(sx_item_key(entry->item), key, key_size) == 0)
            return entry;
        place = entry->older;
    }
    return NULL;
}

static void log_overflow(strata *engine, const char *what) {
    count(engine, SX_FLOW_METRIC_RECOVERY_OVERFLOWED, 1);
    uint64_t dropped;
    if (sx_log_gate_open(&engine->window.gate, sx_loop_now_ns(engine->loop), SX_NS_PER_S, &dropped))
        sx_log_write(&engine->log, SX_LOG_ERROR,
                     "%s: more than coherence.recovery_ops_max or recovery_bytes_max allow is not remembered", what);
}

/* ---- what is cleared again ------------------------------------------------------------------------------------ */

/* Of one namespace in one partition: it was cleared, or something of it was forgotten, for which it is cleared instead. */
struct sx_recovery_clear {
    int64_t at_ns;     /* the last; 0: nothing */
    uint64_t identity; /* of who acknowledged it all; 0: nobody has, or several */
};

static void look_again(strata *engine);

/* False when out of memory. */
static bool keep_clear(strata *engine, strata_namespace *ns, uint32_t partition, uint64_t identity) {
    if (ns->reclear == NULL) ns->reclear = sx_allocate_zero(&engine->alloc, engine->partitions * sizeof *ns->reclear);
    if (ns->reclear == NULL) return false;
    struct sx_recovery_clear *reclear = &ns->reclear[partition];
    bool same = reclear->at_ns == 0 || reclear->identity == identity;
    reclear->at_ns = sx_loop_now_ns(engine->loop);
    reclear->identity = same ? identity : 0;
    engine->window.reclears = true;
    if (reclear->identity != sx_trust_identity_on_loop(engine->trust, partition)) look_again(engine);
    return true;
}

static void forget(strata *engine, strata_namespace *ns, uint32_t partition, uint64_t identity) {
    log_overflow(engine, ns == NULL ? "invalidations of tags" : "invalidations");
    if (ns != NULL && !engine->stopping && !SX_BROKEN(replay)) (void)keep_clear(engine, ns, partition, identity);
}

static void forget_oldest(strata *engine) {
    sx_recovery_entry entry = take(engine);
    forget(engine, entry.ns, entry.partition, entry.identity);
    sx_item_release(entry.item);
}

/* ---- what was lost -------------------------------------------------------------------------------------------- */

static bool is_over(const strata *engine, const sx_recovery_entry *entry, int64_t now_ns) {
    return entry->identity != 0 && now_ns - entry->at_ns > engine->replay_window_ns;
}

static bool is_lost(const strata *engine, const sx_recovery_entry *entry) {
    return entry->identity != sx_trust_identity_on_loop(engine->trust, entry->partition);
}

/* One walk through the ring. */
typedef struct walk {
    strata *engine;
    int64_t after_ns;          /* the next key's first attempt: not all at once */
    uint32_t tags;             /* started */
    sx_item *started[STARTED]; /* the last such tag of each place */
} walk;

/* Executed anew, by the present servers. False: not now. Takes over the entry's reference where it answers true. */
static bool repeat_renewal(walk *w, const sx_recovery_entry *entry) {
    sx_item **last = &w->started[entry->hash % STARTED];
    const sx_item *item = entry->item;
    if (*last != NULL && (*last)->key_size == item->key_size &&
        memcmp(sx_item_key(*last), sx_item_key(item), item->key_size) == 0) {
        count(w->engine, SX_FLOW_METRIC_RECOVERY_SUPERSEDED, 1);
        sx_item_release(entry->item);
        return true;
    }
    if (w->tags == TAGS_AT_ONCE ||
        !sx_renewal_repeat_on_loop(w->engine, NULL, entry->partition, sx_item_key(item), item->key_size))
        return false;
    w->tags++;
    count(w->engine, SX_FLOW_METRIC_RECOVERY_QUEUED, 1);
    if (*last != NULL) sx_item_release(*last);
    *last = entry->item;
    return true;
}

/* Whether something of it is still to be cleared. */
static bool clear_again(walk *w, strata_namespace *ns, uint32_t partition, int64_t now_ns) {
    strata *engine = w->engine;
    struct sx_recovery_clear *reclear = &ns->reclear[partition];
    if (reclear->at_ns == 0) return false;
    if (reclear->identity == sx_trust_identity_on_loop(engine->trust, partition)) return false;
    bool over = reclear->identity != 0 && now_ns - reclear->at_ns > engine->replay_window_ns;
    if (!over) {
        if (w->tags == TAGS_AT_ONCE || sx_trust_mark_on_loop(engine->trust, partition).term == 0 ||
            !sx_renewal_repeat_on_loop(engine, ns, partition, "", 0))
            return true;
        w->tags++;
        count(engine, SX_FLOW_METRIC_RECOVERY_QUEUED, 1);
        count(engine, SX_FLOW_METRIC_RECOVERY_CLEARED, 1);
    }
    reclear->at_ns = 0;
    return false;
}

static bool clear_all_again(walk *w, int64_t now_ns) {
    strata *engine = w->engine;
    sx_lock_acquire(&engine->lock);
    uint32_t names = engine->namespace_count;
    sx_lock_release(&engine->lock);
    bool again = false;
    for (uint32_t i = 0; i < names && engine->window.reclears; i++) {
        strata_namespace *ns = engine->namespaces[i];
        for (uint32_t p = 0; ns->reclear != NULL && p < engine->partitions; p++)
            if (clear_again(w, ns, p, now_ns)) again = true;
    }
    return again;
}

static bool repeat_key(walk *w, const sx_recovery_entry *entry) {
    strata *engine = w->engine;
    /* Acknowledged before the old primary was last proven to be one: then its n orders it among all values that came
       from there, and what is of another order can only have a smaller n without need. */
    uint64_t n = entry->at_ns <= engine->window.replaced[entry->partition] ? entry->n : UINT64_MAX;
    if (!sx_unknown_owe_on_loop(engine, entry->ns, entry->item, entry->hash, entry->partition, n, w->after_ns)) return false;
    w->after_ns += SX_RECOVERY_PACE_NS;
    sx_item_release(entry->item);
    return true;
}

/* Has what the present servers have not acknowledged executed anew; where nobody is trusted yet, later. */
static void look(strata *engine) {
    sx_recovery *window = &engine->window;
    int64_t now_ns = sx_loop_now_ns(engine->loop);
    walk w = {.engine = engine};
    bool again = false;
    if (engine->stopping) return;
    if (window->reclears) again = clear_all_again(&w, now_ns);
    for (uint32_t left = window->count; left > 0; left--) {
        sx_recovery_entry entry = take(engine);
        if (is_over(engine, &entry, now_ns)) {
            sx_item_release(entry.item);
            continue;
        }
        bool lost = is_lost(engine, &entry);
        if (lost && sx_trust_mark_on_loop(engine->trust, entry.partition).term != 0 &&
            (entry.ns == NULL ? repeat_renewal(&w, &entry) : repeat_key(&w, &entry)))
            continue;
        again = again || lost;
        put(engine, &entry);
    }
    for (uint32_t i = 0; i < STARTED; i++)
        if (w.started[i] != NULL) sx_item_release(w.started[i]);
    for (uint32_t p = 0; p < engine->partitions; p++) window->replaced[p] = INT64_MIN;
    if (again) look_again(engine);
}

static void look_on_timer(sx_timer *timer) {
    strata *engine = SX_CONTAINER(timer, strata, window.timer);
    engine->window.waiting = false;
    look(engine);
}

static void look_on_loop(sx_task *task) {
    strata *engine = SX_CONTAINER(task, strata, window.task);
    engine->window.posted = false;
    look(engine);
}

static void look_again(strata *engine) {
    sx_recovery *window = &engine->window;
    if (window->waiting || engine->stopping) return;
    window->waiting = true;
    window->timer.fire_on_loop = look_on_timer;
    sx_loop_timer_set(engine->loop, &window->timer, sx_loop_now_ns(engine->loop) + AGAIN_NS);
}

void sx_recovery_replaced_on_loop(void *context, uint32_t partition, int64_t proven_ns) {
    strata *engine = context;
    sx_recovery *window = &engine->window;
    if ((window->count == 0 && !window->reclears) || engine->stopping) return;
    if (window->replaced[partition] == INT64_MIN || window->replaced[partition] > proven_ns)
        window->replaced[partition] = proven_ns;
    if (window->posted) return;
    window->posted = true;
    window->task.run_on_loop = look_on_loop;
    sx_loop_post(engine->loop, &window->task); /* once for all partitions of a node */
}

/* ---- noting ---------------------------------------------------------------------------------------------------- */

/* Takes over the entry's reference. */
static void note(strata *engine, sx_recovery_entry *entry) {
    sx_recovery *window = &engine->window;
    entry->at_ns = sx_loop_now_ns(engine->loop);
    while (window->count != 0 && is_over(engine, at(window, 0), entry->at_ns)) drop_oldest(engine);
    while (window->count != 0 && (window->count >= engine->recovery_ops_max ||
                                  window->bytes + bytes_of(entry) > engine->recovery_bytes_max))
        forget_oldest(engine);
    if (window->count == window->capacity && !grow(engine)) {
        forget(engine, entry->ns, entry->partition, entry->identity);
        sx_item_release(entry->item);
        return;
    }
    put(engine, entry);
    if (is_lost(engine, entry)) look_again(engine);
}

bool sx_recovery_hides_on_loop(const strata *engine, uint64_t hash, uint16_t ns, const void *key, size_t key_size,
                               uint64_t identity) {
    const sx_recovery_entry *entry = find_owed(engine, hash, ns, key, key_size);
    if (entry == NULL || SX_BROKEN(owed_elsewhere)) return false;
    return entry->identity != identity && !is_over(engine, entry, sx_loop_now_ns(engine->loop));
}

void sx_recovery_note_on_loop(strata *engine, strata_namespace *ns, sx_item *key, uint64_t hash, uint32_t partition, uint64_t n,
                              uint64_t identity, bool owed) {
    if (engine->stopping || SX_BROKEN(replay)) return;
    sx_recovery_entry entry = {.item = key, .ns = ns, .hash = hash, .n = n, .identity = identity, .partition = partition, .owed = owed};
    sx_trust_mark mark = sx_trust_mark_on_loop(engine->trust, partition);
    if (mark.term != 0 && is_lost(engine, &entry)) {
        /* A primary that was replaced and does not know it yet? Its n says nothing then. */
        (void)sx_trust_may_fill_on_loop(engine->trust, partition, &mark, identity); /* has it say who it is */
        entry.n = UINT64_MAX;
    }
    sx_item_retain(key);
    note(engine, &entry);
}

void sx_recovery_note_renewal_on_loop(strata *engine, strata_namespace *ns, const void *name, uint32_t size,
                                      uint32_t partition, uint64_t identity, bool repeated) {
    if (engine->stopping || SX_BROKEN(replay)) return;
    if (repeated && identity != 0) count(engine, SX_FLOW_METRIC_RECOVERY_REPLAYED, 1);
    if (ns != NULL) {
        if (!keep_clear(engine, ns, partition, identity)) log_overflow(engine, "clears");
        return;
    }
    sx_item_facts facts = {.expires_ns = SX_EXPIRES_NEVER, .partition = (uint16_t)partition};
    uint64_t hash = sx_l1_hash(&engine->secret, 0, name, size);
    sx_recovery_entry entry = {.hash = hash, .identity = identity, .partition = partition};
    entry.item = sx_item_create(engine->heap, name, size, "", 0, &facts);
    if (entry.item == NULL) forget(engine, NULL, partition, identity);
    else note(engine, &entry);
}

void sx_recovery_owe_on_loop(strata *engine, strata_namespace *ns, sx_item *key, uint64_t hash, uint32_t partition) {
    if (!sx_unknown_owe_on_loop(engine, ns, key, hash, partition, 0, 0)) forget(engine, ns, partition, 0);
}

/* ---- life ---------------------------------------------------------------------------------------------------- */

int32_t sx_recovery_init(strata *engine) {
    const sx_config *config = engine->config;
    engine->recovery_ops_max = (uint32_t)sx_config_int(config, "coherence.recovery_ops_max");
    engine->recovery_bytes_max = sx_config_int(config, "coherence.recovery_bytes_max");
    engine->replay_window_ns = sx_config_int(config, "coherence.replay_window");
    engine->window.head = 1; /* so that 0 is the place of none */
    engine->window.replaced = sx_allocate(&engine->alloc, engine->partitions * sizeof *engine->window.replaced);
    if (engine->window.replaced == NULL) return STRATA_E_NOMEM;
    for (uint32_t p = 0; p < engine->partitions; p++) engine->window.replaced[p] = INT64_MIN;
    return STRATA_OK;
}

void sx_recovery_deinit(strata *engine) {
    sx_recovery *window = &engine->window;
    while (window->count != 0) drop_oldest(engine);
    for (uint32_t i = 0; i < engine->namespace_count; i++) {
        strata_namespace *ns = engine->namespaces[i];
        if (ns->reclear != NULL) sx_release(&engine->alloc, ns->reclear, engine->partitions * sizeof *ns->reclear);
        ns->reclear = NULL;
    }
    sx_release(&engine->alloc, window->entries, window->capacity * sizeof *window->entries);
    if (window->replaced != NULL)
        sx_release(&engine->alloc, window->replaced, engine->partitions * sizeof *window->replaced);
    window->entries = NULL;
    window->replaced = NULL;
    window->capacity = 0;
}
