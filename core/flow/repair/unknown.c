/* SPDX-License-Identifier: Apache-2.0 */
/* Keys that owe L2 an invalidation: after a write of unknown outcome, one that runs after that write's own deadline; after
   an invalidation that failed, that one; after a failover, one that was acknowledged before and may be lost. Such a key
   bypasses L1 until its invalidation has run. */
#include <string.h>

#include "core/flow/engine.h"

#define UNKNOWN_MAX 65536
#define RETRY_NS (50 * SX_NS_PER_MS)
#define RETRY_MAX_NS (400 * SX_NS_PER_MS)
#define RETRY_EACH_NS (50 * SX_NS_PER_US) /* all keys together try no oftener than that */
#define DEFERRED_MAX 20
#define ATTEMPT_NS (2 * SX_NS_PER_S)

/* One key. owner: loop. */
typedef struct sx_unknown {
    struct sx_unknown *next;
    strata *engine;
    strata_namespace *ns;
    sx_item *key; /* for its key bytes only */
    uint64_t hash;
    uint32_t partition;
    int64_t not_before_ms; /* server time after which the write can't happen any more; 0: no outcome is unknown */
    uint64_t replay_n;    /* not 0: executed as this n, perhaps lost by a failover; values that are newer stay */
    int64_t wanted_ns;    /* when its last invalidation failed, or the failover was seen */
    bool invalidated;     /* what stands in L2 is what an invalidation was to remove: not read by this process */
    bool untrust;         /* TRYAGAIN was answered: UNTRUST is published before the next attempt */
    bool untrust_done;
    int64_t attempted_ms; /* not_before_ms as the attempt under way says it */
    int64_t retry_ns;     /* doubles: many keys may wait for one node */
    sx_write *queue, *queue_tail; /* later writes of the key */
    sx_store_op store_op;
    sx_asked asked;
    bool in_store;
    uint8_t deferred;     /* attempts put off for writes under way */
    bool once_more;       /* wanted again since the attempt under way was sent */
    sx_timer timer;
} sx_unknown;

static sx_unknown *find_key(const strata *engine, uint64_t hash, uint16_t ns, const void *key, size_t key_size) {
    if (engine->unknown_count + engine->owed_count == 0) return NULL;
    for (sx_unknown *unknown = engine->unknown[hash % SX_UNKNOWN_BUCKETS]; unknown != NULL; unknown = unknown->next) {
        if (unknown->hash == hash && unknown->key->ns == ns && unknown->key->key_size == key_size &&
            memcmp(sx_item_key(unknown->key), key, key_size) == 0)
            return unknown;
    }
    return NULL;
}

static sx_unknown *find(const strata *engine, uint64_t hash, const sx_item *key) {
    return find_key(engine, hash, key->ns, sx_item_key(key), key->key_size);
}

bool sx_unknown_holds_on_loop(const strata *engine, uint64_t hash, const sx_item *key) {
    return find(engine, hash, key) != NULL;
}

bool sx_unknown_hides_on_loop(const strata *engine, uint64_t hash, uint16_t ns, const void *key, size_t key_size) {
    const sx_unknown *unknown = find_key(engine, hash, ns, key, key_size);
    return unknown != NULL && unknown->invalidated && !SX_BROKEN(owed_hidden);
}

static void count(strata *engine, uint32_t metric) { sx_counter_add_shared(&engine->counters[metric], 1); }

/* First of all: nothing that could be wrong stays in L1, or gets there. */
static void clear_here(strata *engine, uint64_t hash, const sx_item *key) {
    uint32_t stripe = sx_flight_stripe(hash);
    sx_flights_lock(engine->flights, stripe);
    sx_flights_mark_locked(engine->flights, hash, key->ns, sx_item_key(key), key->key_size, 0);
    if (engine->l1_on)
        (void)sx_l1_remove(engine->l1, engine->loop_record, hash, key->ns, sx_item_key(key), key->key_size,
                           UINT64_MAX);
    sx_flights_unlock(engine->flights, stripe);
}

/* ---- the queue behind it ------------------------------------------------------------------------------------- */

static void unqueue(sx_unknown *unknown, sx_write *write) {
    if (write->previous != NULL) write->previous->next = write->next;
    else unknown->queue = write->next;
    if (write->next != NULL) write->next->previous = write->previous;
    else unknown->queue_tail = write->previous;
    write->next = write->previous = NULL;
}

static void queued_too_long(sx_timer *timer) {
    sx_write *write = SX_CONTAINER(timer, sx_write, timer);
    sx_unknown *unknown = find(write->engine, write->hash, write->item);
    unqueue(unknown, write);
    /* What settles the one before it settles this too, if it is sent from now on. */
    if (write->invalidate && !SX_BROKEN(owed)) {
        if (unknown->in_store) unknown->once_more = true; /* that may be executed already, before this was wanted */
        unknown->invalidated = true;
        clear_here(write->engine, write->hash, write->item); /* what is being loaded is not for who asks from now on */
    }
    /* Never sent; or executed, but perhaps undone by the one before it. */
    sx_write_end_on_loop(write, write->done_n == 0 ? STRATA_E_TIMEOUT : STRATA_E_UNKNOWN_OUTCOME, 0);
}

bool sx_unknown_queue_on_loop(sx_write *write) {
    strata *engine = write->engine;
    if (SX_BROKEN(unknown_queue)) return false;
    sx_unknown *unknown = find(engine, write->hash, write->item);
    if (unknown == NULL || unknown->not_before_ms == 0) { /* what is only owed orders nothing: a later write settles it */
        if (write->done_n != 0 || engine->unknown_count < UNKNOWN_MAX) return false;
        if (write->invalidate && !SX_BROKEN(owed))
            sx_recovery_owe_on_loop(engine, write->ns, write->item, write->hash, write->partition);
        sx_write_end_on_loop(write, STRATA_E_OVERLOADED, 0); /* it might need a place that isn't there */
        return true;
    }
    write->previous = unknown->queue_tail;
    if (unknown->queue_tail != NULL) unknown->queue_tail->next = write;
    else unknown->queue = write;
    unknown->queue_tail = write;
    write->timer.fire_on_loop = queued_too_long;
    sx_loop_timer_set(engine->loop, &write->timer, write->deadline_ns);
    return true;
}

/* ---- resolving ----------------------------------------------------------------------------------------------- */

/* Keys of unknown outcome and keys that only owe an invalidation are counted, and bounded, apart. */
static void gauge(const sx_unknown *unknown, int32_t change) {
    strata *engine = unknown->engine;
    bool owed = unknown->not_before_ms == 0;
    uint32_t *number = owed ? &engine->owed_count : &engine->unknown_count;
    *number = (uint32_t)((int32_t)*number + change);
    if (owed) engine->owed_bytes += change * (int64_t)(sizeof *unknown + sx_item_footprint(unknown->key));
    sx_counter_add_shared(&engine->counters[owed ? SX_FLOW_METRIC_RECOVERY_WAITING : SX_FLOW_METRIC_UNKNOWN_KEYS],
                          change);
}

static void unknown_free(sx_unknown *unknown) {
    strata *engine = unknown->engine;
    sx_unknown **link = &engine->unknown[unknown->hash % SX_UNKNOWN_BUCKETS];
    while (*link != unknown) link = &(*link)->next;
    *link = unknown->next;
    gauge(unknown, -1);
    sx_loop_timer_cancel(engine->loop, &unknown->timer);
    sx_command_deinit(&unknown->store_op.request.command);
    sx_item_release(unknown->key);
    sx_release(&engine->alloc, unknown, sizeof *unknown);
}

static void attempt(sx_timer *timer);

static void again(sx_unknown *unknown, int64_t after_ns) {
    unknown->timer.fire_on_loop = attempt;
    sx_loop_timer_set(unknown->engine->loop, &unknown->timer, sx_loop_now_ns(unknown->engine->loop) + after_ns);
}

/* The key's past is settled: what comes next is ordered after it. */
static void resolved(sx_unknown *unknown, uint64_t n, bool stayed) {
    strata *engine = unknown->engine;
    sx_item *key = unknown->key;
    if (stayed) count(engine, SX_FLOW_METRIC_RECOVERY_SUPERSEDED);
    else if (unknown->not_before_ms == 0) count(engine, SX_FLOW_METRIC_RECOVERY_REPLAYED);
    uint32_t stripe = sx_flight_stripe(unknown->hash);
    sx_flights_lock(engine->flights, stripe);
    sx_apply_observed_locked(engine, unknown->hash, key->ns, sx_item_key(key), key->key_size, n);
    sx_flights_unlock(engine->flights, stripe);
    if (unknown->not_before_ms != 0) count(engine, SX_FLOW_METRIC_UNKNOWN_RESOLVED);
    if (unknown->invalidated) /* what stayed is no older than what was replayed */
        sx_recovery_note_on_loop(engine, unknown->ns, key, unknown->hash, unknown->partition, stayed ? unknown->replay_n : n,
                                 unknown->store_op.request.identity, true);
    sx_write *queue = unknown->queue;
    unknown_free(unknown);
    for (sx_write *next; queue != NULL; queue = next) {
        next = queue->next;
        queue->next = queue->previous = NULL;
        if (queue->done_n == 0) sx_write_submit_on_loop(queue);
        else sx_write_end_on_loop(queue, STRATA_OK, queue->done_n);
    }
}

static int64_t longer(sx_unknown *unknown) {
    strata *engine = unknown->engine;
    int64_t most_ns = RETRY_MAX_NS + (engine->unknown_count + engine->owed_count) * RETRY_EACH_NS;
    unknown->retry_ns = unknown->retry_ns == 0 ? RETRY_NS : 2 * unknown->retry_ns;
    if (unknown->retry_ns > most_ns) unknown->retry_ns = most_ns;
    int64_t part_ns = unknown->retry_ns / 4; /* those that failed together don't come back together */
    return unknown->retry_ns - (int64_t)(sx_key_random_next(&engine->random) % (uint64_t)part_ns);
}

static void untrust_told(sx_store_op *op, int32_t status, const sx_resp *reply) {
    (void)reply;
    sx_unknown *unknown = SX_CONTAINER(op, sx_unknown, store_op);
    unknown->in_store = false;
    if (unknown->engine->stopping) {
        unknown_free(unknown);
        return;
    }
    if (status == STRATA_OK && unknown->untrust) unknown->untrust_done = true;
    else if (status == STRATA_OK) sx_asked_told(unknown->engine, &unknown->asked, unknown->partition);
    bool at_once = status == STRATA_OK && !unknown->untrust;
    unknown->untrust = false;
    again(unknown, at_once ? 0 : longer(unknown));
}

static void attempt_done(sx_store_op *op, int32_t status, const sx_resp *reply) {
    sx_unknown *unknown = SX_CONTAINER(op, sx_unknown, store_op);
    unknown->in_store = false;
    uint64_t n;
    int64_t server_ms;
    bool held_back = status == STRATA_OK && unknown->asked.held_back, once_more = unknown->once_more;
    unknown->once_more = false;
    unknown->untrust = op->tryagain && !unknown->untrust_done;
    if (!unknown->engine->stopping &&
        (unknown->untrust ||
         (held_back && sx_asked_must_tell(unknown->engine, op, unknown->partition)))) {
        unknown->in_store = true;
        sx_asked_tell_on_loop(unknown->engine, op, unknown->partition, untrust_told);
        return;
    }
    if (unknown->engine->stopping) unknown_free(unknown); /* the cut-off has ended its queue */
    else if (status != STRATA_OK) again(unknown, longer(unknown));
    else if (sx_publish_decode(reply, &n, &server_ms) != SX_PUBLISH_DONE) again(unknown, RETRY_NS);
    else if (unknown->not_before_ms > unknown->attempted_ms || once_more) again(unknown, 0); /* or failed, meanwhile */
    else resolved(unknown, n, reply->count == 3 && reply->items[2].integer == 1);
}

static void encode(sx_redis_request *request, const sx_redis_node *node) {
    sx_store_op *op = SX_CONTAINER(request, sx_store_op, request);
    sx_unknown *unknown = SX_CONTAINER(op, sx_unknown, store_op);
    strata *engine = unknown->engine;
    const sx_item *key = unknown->key;
    /* Without a deadline of its own: an invalidation that happens late does no harm to what is right. */
    sx_publish_write command = {.key = {unknown->partition, unknown->ns->name, unknown->ns->name_size,
                                        unknown->ns->version, sx_item_key(key), key->key_size,
                                        SX_PUBLISH_VALUE},
                                .id = sx_key_random_next(&engine->random),
                                .not_before_ms = SX_BROKEN(unknown_not_before) ? 0 : unknown->not_before_ms};
    sx_asked_encode(engine, &unknown->asked, node, &command);
    unknown->attempted_ms = unknown->not_before_ms;
    sx_command_clear(&request->command);
    if (request->script == &engine->scripts.replay)
        sx_publish_encode_replay(&engine->publish, &command.key, command.id, command.deadline_ms, unknown->replay_n,
                                 &request->command);
    else sx_publish_encode_write(&engine->publish, &command, &request->command);
}

/* A write of this process is under way: it may be later than what is owed, and settles it then. */
static bool defer(sx_unknown *unknown) {
    strata *engine = unknown->engine;
    if (unknown->not_before_ms != 0 || unknown->deferred == DEFERRED_MAX) return false;
    uint32_t stripe = sx_flight_stripe(unknown->hash);
    sx_flights_lock(engine->flights, stripe);
    bool written = sx_flights_is_written_locked(engine->flights, unknown->hash, unknown->key->ns,
                                                sx_item_key(unknown->key), unknown->key->key_size);
    sx_flights_unlock(engine->flights, stripe);
    if (written) unknown->deferred++;
    return written;
}

static void attempt(sx_timer *timer) {
    sx_unknown *unknown = SX_CONTAINER(timer, sx_unknown, timer);
    strata *engine = unknown->engine;
    if (defer(unknown)) {
        again(unknown, RETRY_NS);
        return;
    }
    sx_store_op *op = &unknown->store_op;
    if (atomic_load_explicit(&engine->refused, memory_order_relaxed) != STRATA_OK) { /* relaxed: a status */
        again(unknown, longer(unknown));
        return;
    }
    op->request.script = unknown->replay_n != 0 ? &engine->scripts.replay : &engine->scripts.write;
    op->request.slot = engine->tags->tags[unknown->partition].slot;
    op->request.deadline_ns = sx_loop_now_ns(engine->loop) + ATTEMPT_NS;
    op->stop_at_tryagain = !unknown->untrust_done;
    op->request.encode = encode;
    op->write = true;
    op->done = attempt_done;
    unknown->in_store = true;
    sx_store_submit_on_loop(engine->store, op);
}

/* ---- adding --------------------------------------------------------------------------------------------------- */

static sx_unknown *create(strata *engine, strata_namespace *ns, sx_item *key, uint64_t hash, uint32_t partition,
                          int64_t not_before_ms) {
    sx_unknown *unknown = sx_allocate_zero(&engine->alloc, sizeof *unknown);
    if (unknown == NULL) return NULL;
    sx_item_retain(key);
    unknown->engine = engine;
    unknown->ns = ns;
    unknown->key = key;
    unknown->hash = hash;
    unknown->partition = partition;
    unknown->not_before_ms = not_before_ms;
    sx_command_init(&unknown->store_op.request.command, &engine->alloc);
    sx_unknown **bucket = &engine->unknown[hash % SX_UNKNOWN_BUCKETS];
    unknown->next = *bucket;
    *bucket = unknown;
    gauge(unknown, 1);
    return unknown;
}

int32_t sx_unknown_add_on_loop(strata *engine, const sx_write *write) {
    clear_here(engine, write->hash, write->item);
    if (engine->stopping) return STRATA_OK; /* nobody reads here any more, and nothing is sent */
    sx_unknown *unknown = find(engine, write->hash, write->item);
    if (unknown == NULL) {
        unknown = create(engine, write->ns, write->item, write->hash, write->partition, write->server_deadline_ms);
        if (unknown == NULL) return STRATA_E_NOMEM;
        again(unknown, 0);
    } else if (write->server_deadline_ms > unknown->not_before_ms) {
        gauge(unknown, -1);
        unknown->not_before_ms = write->server_deadline_ms;
        gauge(unknown, 1);
    }
    unknown->replay_n = 0;
    if (write->invalidate) unknown->invalidated = true;
    return STRATA_OK;
}

/* Room for one more, within the bounds of recovery. */
static bool has_room(const strata *engine, const sx_item *key) {
    return engine->owed_count < engine->recovery_ops_max &&
           engine->owed_bytes + (int64_t)(sizeof(sx_unknown) + sx_item_footprint(key)) <= engine->recovery_bytes_max;
}

bool sx_unknown_owe_on_loop(strata *engine, strata_namespace *ns, sx_item *key, uint64_t hash, uint32_t partition,
                            uint64_t replay_n, int64_t after_ns) {
    clear_here(engine, hash, key);
    if (engine->stopping) return true;
    sx_unknown *unknown = find(engine, hash, key);
    if (unknown != NULL) { /* the last one of a key wins; one whose place in the order is not known beats a replay */
        count(engine, SX_FLOW_METRIC_RECOVERY_SUPERSEDED);
        if (replay_n == 0) unknown->replay_n = 0;
        else if (unknown->replay_n != 0 && unknown->replay_n < replay_n) unknown->replay_n = replay_n;
    } else {
        unknown = has_room(engine, key) ? create(engine, ns, key, hash, partition, 0) : NULL;
        if (unknown == NULL) return false;
        unknown->replay_n = replay_n;
        again(unknown, after_ns);
    }
    if (unknown->in_store) unknown->once_more = true;
    unknown->invalidated = true;
    unknown->wanted_ns = sx_loop_now_ns(engine->loop);
    count(engine, SX_FLOW_METRIC_RECOVERY_QUEUED);
    return true;
}

void sx_unknown_settled_on_loop(strata *engine, uint64_t hash, uint16_t ns, const void *key, size_t key_size,
                                int64_t proven_ns, uint64_t n, uint64_t identity) {
    sx_unknown *unknown = find_key(engine, hash, ns, key, key_size);
    if (unknown == NULL || unknown->not_before_ms != 0 || unknown->in_store || proven_ns <= unknown->wanted_ns) return;
    count(engine, SX_FLOW_METRIC_RECOVERY_SUPERSEDED);
    sx_recovery_note_on_loop(engine, unknown->ns, unknown->key, hash, unknown->partition, n, identity, true);
    unknown_free(unknown);
}

static void cut_off(sx_unknown *unknown) {
    for (sx_write *write; (write = unknown->queue) != NULL;) {
        unqueue(unknown, write);
        sx_write_end_on_loop(write, write->done_n == 0 ? STRATA_E_CLOSED : STRATA_E_UNKNOWN_OUTCOME, 0);
    }
    if (!unknown->in_store) unknown_free(unknown);
}

void sx_unknown_cut_off_on_loop(strata *engine) {
    for (uint32_t b = 0; b < SX_UNKNOWN_BUCKETS; b++) {
        for (sx_unknown *unknown = engine->unknown[b], *next; unknown != NULL; unknown = next) {
            next = unknown->next;
            cut_off(unknown);
        }
    }
}
