/* SPDX-License-Identifier: Apache-2.0 */
/* Writes of unknown outcome: their keys bypass L1 until an invalidation ran after the write's own deadline. */
#include <string.h>

#include "core/flow/engine.h"

#define UNKNOWN_MAX 65536
#define RETRY_NS (50 * SX_NS_PER_MS)
#define RETRY_MAX_NS (400 * SX_NS_PER_MS)
#define ATTEMPT_NS (2 * SX_NS_PER_S)

/* One key. owner: loop. */
typedef struct sx_unknown {
    struct sx_unknown *next;
    strata *engine;
    strata_namespace *ns;
    sx_item *key; /* for its key bytes only */
    uint64_t hash;
    uint32_t partition;
    int64_t not_before_ms; /* server time after which the write can't happen any more */
    int64_t attempted_ms; /* not_before_ms as the attempt under way says it */
    int64_t retry_ns;     /* doubles: many keys may wait for one node */
    sx_write *queue, *queue_tail; /* later writes of the key */
    sx_store_op store_op;
    sx_asked asked;
    bool in_store;
    sx_timer timer;
} sx_unknown;

static bool same_key(const sx_unknown *unknown, uint64_t hash, const sx_item *key) {
    return unknown->hash == hash && unknown->key->ns == key->ns && unknown->key->key_size == key->key_size &&
           memcmp(sx_item_key(unknown->key), sx_item_key(key), key->key_size) == 0;
}

static sx_unknown *find(const strata *engine, uint64_t hash, const sx_item *key) {
    for (sx_unknown *unknown = engine->unknown[hash % SX_UNKNOWN_BUCKETS]; unknown != NULL; unknown = unknown->next) {
        if (same_key(unknown, hash, key)) return unknown;
    }
    return NULL;
}

bool sx_unknown_holds_on_loop(const strata *engine, uint64_t hash, const sx_item *key) {
    return engine->unknown_count != 0 && find(engine, hash, key) != NULL;
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
    unqueue(find(write->engine, write->hash, write->item), write);
    /* Never sent; or executed, but perhaps undone by the one before it. */
    sx_write_end_on_loop(write, write->done_n == 0 ? STRATA_E_TIMEOUT : STRATA_E_UNKNOWN_OUTCOME, 0);
}

bool sx_unknown_queue_on_loop(sx_write *write) {
    strata *engine = write->engine;
    if (engine->unknown_count == 0 || SX_BROKEN(unknown_queue)) return false;
    sx_unknown *unknown = find(engine, write->hash, write->item);
    if (unknown == NULL) {
        if (write->done_n != 0 || engine->unknown_count < UNKNOWN_MAX) return false;
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

static void gauge(strata *engine, int32_t change) {
    engine->unknown_count = (uint32_t)((int32_t)engine->unknown_count + change);
    sx_counter_add_shared(&engine->counters[SX_FLOW_METRIC_UNKNOWN_KEYS], change);
}

static void unknown_free(sx_unknown *unknown) {
    strata *engine = unknown->engine;
    sx_unknown **link = &engine->unknown[unknown->hash % SX_UNKNOWN_BUCKETS];
    while (*link != unknown) link = &(*link)->next;
    *link = unknown->next;
    gauge(engine, -1);
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
static void resolved(sx_unknown *unknown, uint64_t n) {
    strata *engine = unknown->engine;
    const sx_item *key = unknown->key;
    uint32_t stripe = sx_flight_stripe(unknown->hash);
    sx_flights_lock(engine->flights, stripe);
    sx_apply_observed_locked(engine, unknown->hash, key->ns, sx_item_key(key), key->key_size, n);
    sx_flights_unlock(engine->flights, stripe);
    sx_counter_add_shared(&engine->counters[SX_FLOW_METRIC_UNKNOWN_RESOLVED], 1);
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
    unknown->retry_ns = unknown->retry_ns == 0 ? RETRY_NS : 2 * unknown->retry_ns;
    if (unknown->retry_ns > RETRY_MAX_NS) unknown->retry_ns = RETRY_MAX_NS;
    return unknown->retry_ns;
}

static void untrust_told(sx_store_op *op, int32_t status, const sx_resp *reply) {
    (void)reply;
    sx_unknown *unknown = SX_CONTAINER(op, sx_unknown, store_op);
    unknown->in_store = false;
    if (unknown->engine->stopping) {
        unknown_free(unknown);
        return;
    }
    if (status == STRATA_OK) sx_asked_told(unknown->engine, &unknown->asked, unknown->partition);
    again(unknown, status == STRATA_OK ? 0 : longer(unknown));
}

static void attempt_done(sx_store_op *op, int32_t status, const sx_resp *reply) {
    sx_unknown *unknown = SX_CONTAINER(op, sx_unknown, store_op);
    unknown->in_store = false;
    uint64_t n;
    int64_t server_ms;
    bool held_back = status == STRATA_OK && unknown->asked.held_back;
    if (held_back && !unknown->engine->stopping &&
        sx_asked_must_tell(unknown->engine, op, unknown->partition)) {
        unknown->in_store = true;
        sx_asked_tell_on_loop(unknown->engine, op, unknown->partition, untrust_told);
        return;
    }
    if (unknown->engine->stopping) unknown_free(unknown); /* the cut-off has ended its queue */
    else if (status != STRATA_OK) again(unknown, longer(unknown));
    else if (sx_publish_decode(reply, &n, &server_ms) != SX_PUBLISH_DONE) again(unknown, RETRY_NS);
    else if (unknown->not_before_ms > unknown->attempted_ms) again(unknown, 0); /* another write became unknown meanwhile */
    else resolved(unknown, n);
}

static void encode(sx_redis_request *request, const sx_redis_node *node) {
    sx_store_op *op = SX_CONTAINER(request, sx_store_op, request);
    sx_unknown *unknown = SX_CONTAINER(op, sx_unknown, store_op);
    strata *engine = unknown->engine;
    const sx_item *key = unknown->key;
    /* Without a deadline of its own: an invalidation that happens late does no harm to what is right. */
    sx_publish_write command = {.key = {unknown->partition, unknown->ns->name, unknown->ns->name_size,
                                        unknown->ns->version, sx_item_key(key), key->key_size},
                                .id = sx_key_random_next(&engine->random),
                                .not_before_ms = SX_BROKEN(unknown_not_before) ? 0 : unknown->not_before_ms};
    sx_asked_encode(engine, &unknown->asked, node, &command);
    unknown->attempted_ms = unknown->not_before_ms;
    sx_command_clear(&request->command);
    sx_publish_encode_write(&engine->publish, &command, &request->command);
}

static void attempt(sx_timer *timer) {
    sx_unknown *unknown = SX_CONTAINER(timer, sx_unknown, timer);
    strata *engine = unknown->engine;
    sx_store_op *op = &unknown->store_op;
    op->request.script = &engine->scripts.write;
    op->request.slot = engine->tags->tags[unknown->partition].slot;
    op->request.deadline_ns = sx_loop_now_ns(engine->loop) + ATTEMPT_NS;
    op->request.encode = encode;
    op->write = true;
    op->done = attempt_done;
    unknown->in_store = true;
    sx_store_submit_on_loop(engine->store, op);
}

int32_t sx_unknown_add_on_loop(strata *engine, const sx_write *write) {
    /* First of all: nothing that could be wrong stays in L1. */
    uint32_t stripe = sx_flight_stripe(write->hash);
    const sx_item *key = write->item;
    sx_flights_lock(engine->flights, stripe);
    sx_flights_mark_locked(engine->flights, write->hash, key->ns, sx_item_key(key), key->key_size, 0);
    if (engine->l1_on)
        (void)sx_l1_remove(engine->l1, engine->loop_record, write->hash, key->ns, sx_item_key(key), key->key_size,
                           UINT64_MAX);
    sx_flights_unlock(engine->flights, stripe);
    if (engine->stopping) return STRATA_OK; /* nobody reads here any more, and nothing is sent */
    sx_unknown *unknown = find(engine, write->hash, write->item);
    if (unknown != NULL) {
        if (write->server_deadline_ms > unknown->not_before_ms) unknown->not_before_ms = write->server_deadline_ms;
        return STRATA_OK;
    }
    unknown = sx_allocate_zero(&engine->alloc, sizeof *unknown);
    if (unknown == NULL) return STRATA_E_NOMEM;
    sx_item_retain(write->item);
    unknown->engine = engine;
    unknown->ns = write->ns;
    unknown->key = write->item;
    unknown->hash = write->hash;
    unknown->partition = write->partition;
    unknown->not_before_ms = write->server_deadline_ms;
    sx_command_init(&unknown->store_op.request.command, &engine->alloc);
    sx_unknown **bucket = &engine->unknown[write->hash % SX_UNKNOWN_BUCKETS];
    unknown->next = *bucket;
    *bucket = unknown;
    gauge(engine, 1);
    again(unknown, 0);
    return STRATA_OK;
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
