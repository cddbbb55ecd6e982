/* SPDX-License-Identifier: Apache-2.0 */
/* What a message or an observed version does to this process: older entries go, flights learn what they must not bring. */
#include <string.h>

#include "core/flow/engine.h"
#include "core/flow/foreign.h"

void sx_apply_observed_locked(strata *engine, uint64_t hash, uint16_t ns, const void *key, size_t key_size,
                              uint64_t n) {
    assert(sx_flights_is_locked(engine->flights, sx_flight_stripe(hash)));
    sx_flights_mark_locked(engine->flights, hash, ns, key, key_size, n);
    if (engine->l1_on) (void)sx_l1_remove(engine->l1, engine->loop_record, hash, ns, key, key_size, n);
}

/* The write behind a message is later than the heartbeat whose answer came before it on the same connection. */
static void settle(strata *engine, uint64_t hash, const strata_namespace *ns, const void *key, size_t key_size,
                   uint32_t partition, uint64_t n) {
    if (engine->owed_count == 0) return;
    /* relaxed: this thread writes it */
    int64_t proven_ns = atomic_load_explicit(&engine->words[partition].proven_ns, memory_order_relaxed);
    uint64_t identity = sx_trust_identity_on_loop(engine->trust, partition);
    sx_unknown_settled_on_loop(engine, hash, ns->index, key, key_size, proven_ns, n, identity);
}

static void apply_key(strata *engine, const strata_namespace *ns, uint32_t partition, const void *key, size_t key_size,
                      uint64_t n) {
    uint64_t hash = sx_l1_hash(&engine->secret, ns->index, key, key_size);
    settle(engine, hash, ns, key, key_size, partition, n);
    sx_events_heard_on_loop(engine, ns, hash, n);
    sx_intervals_note(ns, hash, sx_loop_recent_ns(engine->loop));
    uint32_t stripe = sx_flight_stripe(hash);
    sx_flights_lock(engine->flights, stripe);
    if (SX_BROKEN(apply)) sx_flights_mark_locked(engine->flights, hash, ns->index, key, key_size, n);
    else sx_apply_observed_locked(engine, hash, ns->index, key, key_size, n);
    sx_flights_unlock(engine->flights, stripe);
}

/* The new value as an item, or NULL where it can't be used. */
static sx_item *carried(strata *engine, const strata_namespace *ns, uint32_t partition, const sx_message *message) {
    sx_envelope envelope;
    if (sx_envelope_decode(message->value, message->value_size, &envelope) != SX_ENVELOPE_VALUE ||
        envelope.n != message->n || envelope.id != message->id)
        return NULL;
    const sx_redis_node *node = sx_redis_cluster_owner(engine->cluster, engine->tags->tags[partition].slot);
    sx_item *item = NULL;
    (void)sx_fetch_item_on_loop(engine, ns, partition, (strata_bytes){message->key, message->key_size}, &envelope, node, false, &item);
    return item;
}

/* VALUE: whoever holds the key takes the new value in its place. In trust only: then nothing between the entry's proof
   and this message was missed, so that what is put is the newest, and proven as of now. */
static void apply_value(strata *engine, uint32_t partition, const strata_namespace *ns, const sx_message *message) {
    sx_trust_mark mark = sx_trust_mark_on_loop(engine->trust, partition);
    /* A clear by this process may have overtaken it: its answer came over another connection. */
    bool usable = engine->l1_on && mark.term != 0 && message->n >= sx_floors_of_on_loop(engine, ns, partition);
    sx_item *item = usable ? carried(engine, ns, partition, message) : NULL;
    uint64_t hash = sx_l1_hash(&engine->secret, ns->index, message->key, message->key_size);
    settle(engine, hash, ns, message->key, message->key_size, partition, message->n);
    sx_events_heard_on_loop(engine, ns, hash, message->n);
    sx_intervals_note(ns, hash, sx_loop_recent_ns(engine->loop));
    uint32_t stripe = sx_flight_stripe(hash);
    sx_flights_lock(engine->flights, stripe);
    if (item != NULL && !sx_unknown_holds_on_loop(engine, hash, item) &&
        sx_marks_stamp(engine, engine->loop_record, item, mark.generation) &&
        sx_l1_put(engine->l1, engine->loop_record, hash, item, SX_L1_PUT_HELD) == STRATA_OK)
        sx_count(ns, SX_FLOW_METRIC_VALUES_TAKEN);
    /* What could not be replaced is removed like any other. */
    sx_apply_observed_locked(engine, hash, ns->index, message->key, message->key_size, message->n);
    sx_flights_unlock(engine->flights, stripe);
    if (item != NULL) sx_item_release(item);
}

static void apply_filled(strata *engine, const strata_namespace *ns, const sx_message *message) {
    uint64_t hash = sx_l1_hash(&engine->secret, ns->index, message->key, message->key_size);
    uint32_t stripe = sx_flight_stripe(hash);
    sx_flights_lock(engine->flights, stripe);
    sx_flight *flight =
        sx_flight_find_locked(engine->flights, hash, ns->index, message->key, message->key_size);
    if (flight != NULL) sx_await_filled_locked(flight, message->id);
    sx_flights_unlock(engine->flights, stripe);
}

void sx_apply_clear_on_loop(strata *engine, strata_namespace *ns, uint32_t partition, uint64_t n) {
    if (!SX_BROKEN(clear_flights)) sx_flights_mark_wide(engine->flights, partition, ns, n);
    sx_floors_raise_on_loop(engine, ns, partition, n);
}

void sx_apply_pattern_on_loop(strata *engine, strata_namespace *ns, uint32_t partition) {
    sx_flights_mark_wide(engine->flights, partition, ns, 0);
    sx_namespace_cleared(ns);
}

void sx_apply_message_on_loop(void *context, uint32_t partition, const sx_message *message) {
    strata *engine = context;
    assert(sx_loop_is_current(engine->loop));
    if (message->kind == SX_MESSAGE_TAG && SX_BROKEN(tag_heard)) return;
    if (message->kind == SX_MESSAGE_TAG) {
        sx_marks_renewed_on_loop(engine, message->key, message->key_size, message->n, message->id);
        sx_flights_mark_tag(engine, message->key, message->key_size, message->id);
        return;
    }
    if (message->kind == SX_MESSAGE_UNTRUST && !SX_BROKEN(untrust_heard)) {
        sx_flights_mark_wide(engine->flights, partition, NULL, 0);
        return;
    }
    strata_namespace *ns = sx_names_find(engine->names, message->ns, message->ns_size, message->ns_version);
    if (ns == NULL || sx_namespace_is_foreign(ns)) return; /* nothing of it can be here */
    switch (message->kind) {
    case SX_MESSAGE_FILLED:
        apply_filled(engine, ns, message);
        break;
    case SX_MESSAGE_VALUE:
        apply_value(engine, partition, ns, message);
        break;
    case SX_MESSAGE_KEY:
        apply_key(engine, ns, partition, message->key, message->key_size, message->n);
        break;
    case SX_MESSAGE_KEYS: {
        const uint8_t *cursor = NULL, *key;
        size_t key_size;
        while (sx_message_next_key(message, &cursor, &key, &key_size))
            apply_key(engine, ns, partition, key, key_size, message->n);
        break;
    }
    case SX_MESSAGE_CLEAR:
        sx_apply_clear_on_loop(engine, ns, partition, message->n);
        break;
    case SX_MESSAGE_PATTERN: /* what matched was invalidated key by key; what L2 does not hold is found by proving it anew */
        sx_apply_pattern_on_loop(engine, ns, partition);
        break;
    default:
        break;
    }
}
