/* SPDX-License-Identifier: Apache-2.0 */
/* Entries with tags: taking nonces before a load or a write begins, and judging what L2 or L1 holds against the markers.

   A nonce that was taken before the loader ran shows in the stored value what the loader can have seen: where the tag is
   invalidated after that, the marker has another one, and the value is invalid wherever it went. So neither order nor time
   is needed, and a lost message costs no more than the entries that it would have removed: they are proven anew. */
#include <string.h>

#include "core/flow/engine.h"

static void add(strata *engine, uint32_t metric) { sx_counter_add_shared(&engine->counters[metric], 1); }

/* Before it depends on tags in any way. */
static void count(sx_flight *flight) {
    sx_flights_lock(flight->engine->flights, flight->stripe);
    sx_flight_tagged_locked(flight);
    sx_flights_unlock(flight->engine->flights, flight->stripe);
}

/* ---- before a load ------------------------------------------------------------------------------------------- */

static void taken(sx_store_op *op, int32_t status, const sx_resp *reply);

static void take_next(sx_flight *flight) {
    strata *engine = flight->engine;
    sx_tag tag;
    flight->tag_next = flight->tag_at;
    while (flight->tags_size != 0 && sx_tags_next(flight->tags, flight->tags_size, &flight->tag_next, &tag)) {
        uint64_t nonce = sx_marks_nonce_on_loop(engine, &tag, INT64_MAX);
        if (nonce == 0) {
            flight->in_store = true;
            sx_marks_ask_on_loop(engine, &flight->store_op, &tag, flight->send_deadline_ns, &flight->tag_asked, taken);
            return;
        }
        sx_tag_put(&tag, nonce);
        flight->tag_at = flight->tag_next;
    }
    sx_fetch_send_on_loop(flight);
}

static void taken(sx_store_op *op, int32_t status, const sx_resp *reply) {
    sx_flight *flight = SX_CONTAINER(op, sx_flight, store_op);
    if (!sx_fetch_back_on_loop(flight)) return;
    sx_tag tag;
    size_t at = flight->tag_at;
    (void)sx_tags_next(flight->tags, flight->tags_size, &at, &tag);
    uint64_t nonce =
        status != STRATA_OK ? 0 : sx_marks_answered_on_loop(flight->engine, op, &tag, &flight->tag_asked, reply);
    if (nonce == 0) {
        sx_fetch_missed_on_loop(flight, status == STRATA_OK ? STRATA_E_CORRUPT : status);
        return;
    }
    sx_tag_put(&tag, nonce);
    flight->tag_at = flight->tag_next;
    take_next(flight);
}

/* The first waiter with a loader is the one whose loader will run: its tags. False when out of memory. */
static bool copy_tags(sx_flight *flight) {
    strata *engine = flight->engine;
    bool good = true;
    flight->tags_size = 0;
    sx_flights_lock(engine->flights, flight->stripe);
    const sx_op *op = flight->waiters;
    while (op != NULL && op->loader == NULL) op = op->wait_next;
    if (op != NULL && op->tags != NULL) {
        if (flight->tags_room < op->tags_size) {
            sx_release(&engine->alloc, flight->tags, flight->tags_room);
            flight->tags = sx_allocate(&engine->alloc, op->tags_size);
            flight->tags_room = flight->tags == NULL ? 0 : op->tags_size;
        }
        good = flight->tags != NULL;
        if (good) {
            memcpy(flight->tags, op->tags, op->tags_size);
            flight->tags_size = op->tags_size;
        }
    }
    sx_flights_unlock(engine->flights, flight->stripe);
    return good;
}

void sx_tagged_take_on_loop(sx_flight *flight) {
    flight->tag_at = 0;
    if (!copy_tags(flight)) sx_flight_fail_on_loop(flight, STRATA_E_NOMEM);
    else take_next(flight);
}

/* ---- what is stored ------------------------------------------------------------------------------------------ */

static void judge_over(sx_flight *flight, bool valid) {
    sx_item *item = flight->judged;
    flight->judged = NULL;
    if (!valid) add(flight->engine, SX_FLOW_METRIC_OUTDATED);
    sx_fetch_judged_on_loop(flight, item, flight->judged_candidate, valid);
}

static void judge_asked(sx_store_op *op, int32_t status, const sx_resp *reply);

static void judge_next(sx_flight *flight) {
    strata *engine = flight->engine;
    const sx_item_tagging *tagging = sx_item_tagging_of(flight->judged);
    sx_tag tag;
    flight->tag_next = flight->tag_at;
    while (sx_tags_next(tagging->bytes, tagging->size, &flight->tag_next, &tag)) {
        uint64_t nonce = sx_marks_nonce_on_loop(engine, &tag, INT64_MAX);
        if (nonce == 0) {
            flight->in_store = true;
            sx_marks_ask_on_loop(engine, &flight->store_op, &tag, flight->send_deadline_ns, &flight->tag_asked, judge_asked);
            return;
        }
        if (nonce != tag.nonce && !SX_BROKEN(tag_nonce)) {
            judge_over(flight, false);
            return;
        }
        flight->tag_at = flight->tag_next;
    }
    judge_over(flight, true);
}

static void judge_asked(sx_store_op *op, int32_t status, const sx_resp *reply) {
    sx_flight *flight = SX_CONTAINER(op, sx_flight, store_op);
    if (!sx_fetch_back_on_loop(flight)) return;
    const sx_item_tagging *tagging = sx_item_tagging_of(flight->judged);
    sx_tag tag;
    size_t at = flight->tag_at;
    (void)sx_tags_next(tagging->bytes, tagging->size, &at, &tag);
    if (status != STRATA_OK) {
        sx_item_release(flight->judged);
        flight->judged = NULL;
        sx_fetch_missed_on_loop(flight, status);
        return;
    }
    uint64_t nonce = sx_marks_answered_on_loop(flight->engine, op, &tag, &flight->tag_asked, reply);
    flight->tag_at = flight->tag_next;
    if (nonce != tag.nonce || nonce == 0) judge_over(flight, false);
    else judge_next(flight);
}

void sx_tagged_judge_on_loop(sx_flight *flight, sx_item *item, bool candidate) {
    count(flight);
    flight->judged = item;
    flight->judged_candidate = candidate;
    flight->tag_at = 0;
    judge_next(flight);
}

/* ---- tags that only the loader named ------------------------------------------------------------------------- */

bool sx_tagged_late_on_loop(sx_flight *flight, sx_item *item) {
    const sx_item_tagging *tagging = sx_item_tagging_of(item);
    bool all = true;
    sx_tag tag;
    if (tagging != NULL) count(flight);
    for (size_t at = 0; tagging != NULL && sx_tags_next(tagging->bytes, tagging->size, &at, &tag);) {
        if (tag.nonce != 0) continue;
        uint64_t nonce = sx_marks_nonce_on_loop(flight->engine, &tag, flight->load_start_ns);
        if (nonce == 0) all = false;
        else sx_tag_put(&tag, nonce);
    }
    return all;
}

static void learnt(sx_store_op *op, int32_t status, const sx_resp *reply);

static void learn_next(sx_flight *flight) {
    strata *engine = flight->engine;
    const sx_item_tagging *tagging = sx_item_tagging_of(flight->judged);
    sx_tag tag;
    flight->tag_next = flight->tag_at;
    while (!engine->stopping && sx_tags_next(tagging->bytes, tagging->size, &flight->tag_next, &tag)) {
        if (tag.nonce == 0 && sx_marks_nonce_on_loop(engine, &tag, INT64_MAX) == 0) {
            int64_t deadline_ns = sx_loop_now_ns(engine->loop) + sx_hot_read(&engine->hot.l2_timeout_ns);
            flight->in_store = true;
            sx_marks_ask_on_loop(engine, &flight->store_op, &tag, deadline_ns, &flight->tag_asked, learnt);
            return;
        }
        flight->tag_at = flight->tag_next;
    }
    sx_item_release(flight->judged);
    flight->judged = NULL;
    sx_load_abandon_on_loop(flight);
}

static void learnt(sx_store_op *op, int32_t status, const sx_resp *reply) {
    sx_flight *flight = SX_CONTAINER(op, sx_flight, store_op);
    flight->in_store = false;
    const sx_item_tagging *tagging = sx_item_tagging_of(flight->judged);
    sx_tag tag;
    size_t at = flight->tag_at;
    (void)sx_tags_next(tagging->bytes, tagging->size, &at, &tag);
    if (status == STRATA_OK) (void)sx_marks_answered_on_loop(flight->engine, op, &tag, &flight->tag_asked, reply);
    flight->tag_at = flight->tag_next;
    learn_next(flight);
}

void sx_tagged_learn_on_loop(sx_flight *flight, sx_item *item) {
    strata *engine = flight->engine;
    if (!engine->l2_on) {
        const sx_item_tagging *tagging = sx_item_tagging_of(item);
        (void)sx_marks_take_here(engine, engine->loop_record, tagging->bytes, tagging->size);
        sx_item_release(item);
        sx_load_abandon_on_loop(flight);
        return;
    }
    flight->judged = item;
    flight->tag_at = 0;
    learn_next(flight);
}
