/* SPDX-License-Identifier: Apache-2.0 */
/* Events: written by sessions, loop and keeper into rings of their own, read by whoever drains, under the engine's lock.

   A ring has one writer, who never waits, and one reader at a time. The writer publishes an event by the ring's end, the reader gives the
   place back by its start. Rings are made when somebody begins to watch, and stay until their session or the engine ends. */
#include "core/flow/events.h"

#include <string.h>

#include "core/observe/probe.h"

#define CAPACITY_MIN     16u
#define CAPACITY_DEFAULT 1024u

struct sx_event_ring {
    uint32_t capacity; /* const; a power of two */
    _Alignas(SX_NO_SHARING) _Atomic uint64_t end;   /* atomic: release by the writer, acquire by the reader [order: event-put] */
    sx_counter dropped;                             /* writer: the ring's */
    _Alignas(SX_NO_SHARING) _Atomic uint64_t start; /* atomic: release by the reader, acquire by the writer [order: event-taken] */
    uint64_t dropped_told;                          /* lock: engine */
    strata_event events[];
};

static size_t size_of(uint32_t capacity) { return sizeof(sx_event_ring) + capacity * sizeof(strata_event); }

/* ---- writing -------------------------------------------------------------------------------------------------- */

static void put(sx_event_ring *ring, const strata_event *event) {
    uint64_t end = atomic_load_explicit(&ring->end, memory_order_relaxed);       /* relaxed: its only writer */
    uint64_t start = atomic_load_explicit(&ring->start, memory_order_acquire);   /* [order: event-taken] observes that the place was read */
    if (end - start == ring->capacity) {
        (void)sx_counter_add(&ring->dropped, 1);
        return;
    }
    ring->events[end & (ring->capacity - 1)] = *event;
    atomic_store_explicit(&ring->end, end + 1, memory_order_release);            /* [order: event-put] publishes the event */
}

static bool wants(const strata *engine, strata_event_kind kind) {
    return (atomic_load_explicit(&engine->events.kinds, memory_order_relaxed) >> kind & 1) != 0; /* relaxed: a number that stands for itself */
}

/* Into a ring that is there once somebody has watched. */
static void write_event(const strata *engine, sx_event_ring *const _Atomic *place, const strata_event *event) {
    if (!wants(engine, (strata_event_kind)event->kind)) return;
    sx_event_ring *ring = atomic_load_explicit(place, memory_order_acquire); /* [order: event-ring] observes the ring as it was made */
    if (ring != NULL) put(ring, event);
}

void sx_events_read(strata_session *session, const strata_namespace *ns, uint64_t hash, int32_t status) {
    strata_event event = {.time_ns = sx_engine_now(session->engine), .ns = ns, .key_hash = hash, .status = status,
                          .kind = status == STRATA_OK ? STRATA_EVENT_HIT : status == STRATA_STALE ? STRATA_EVENT_STALE : STRATA_EVENT_MISS};
    write_event(session->engine, &session->events, &event);
}

static void write_on_loop(const strata *engine, strata_event *event) {
    event->time_ns = sx_loop_recent_ns(engine->loop);
    write_event(engine, &engine->events.loop, event);
}

void sx_events_op_on_loop(const sx_op *op) {
    if (op->ns == NULL || op->kind == SX_OP_ERRAND || op->refresh || !sx_is_watched(op->ns)) return;
    const strata *engine = op->session->engine;
    strata_event_kind kind = op->kind == SX_OP_SET ? STRATA_EVENT_SET : STRATA_EVENT_INVALIDATE;
    if (op->kind == SX_OP_GET || op->kind == SX_OP_LOAD)
        kind = op->source == STRATA_FROM_LOADER || op->status == STRATA_E_LOAD_FAILED ? STRATA_EVENT_LOAD : STRATA_EVENT_L2;
    strata_event event = {.ns = op->ns, .key_hash = op->hash, .status = op->status, .kind = kind,
                          .value = sx_loop_recent_ns(engine->loop) - op->start_ns};
    write_on_loop(engine, &event);
}

void sx_events_written(strata_session *session, const strata_namespace *ns, uint64_t hash, bool invalidated, int32_t status, int64_t took_ns) {
    strata_event event = {.time_ns = sx_engine_now(session->engine), .ns = ns, .key_hash = hash, .status = status, .value = took_ns,
                          .kind = invalidated ? STRATA_EVENT_INVALIDATE : STRATA_EVENT_SET};
    write_event(session->engine, &session->events, &event);
}

void sx_events_write_on_loop(const sx_write *write, int32_t status) {
    if (!sx_is_watched(write->ns)) return;
    strata_event event = {.ns = write->ns, .key_hash = write->hash, .status = status,
                          .kind = write->invalidate ? STRATA_EVENT_INVALIDATE : STRATA_EVENT_SET,
                          .value = sx_loop_recent_ns(write->engine->loop) - write->start_ns};
    write_on_loop(write->engine, &event);
}

void sx_events_heard_on_loop(strata *engine, const strata_namespace *ns, uint64_t hash, uint64_t n) {
    SX_PROBE3(invalidate__in, &ns->name[0], hash, n);
    strata_event event = {.ns = ns, .key_hash = hash, .kind = STRATA_EVENT_HEARD, .value = (int64_t)n};
    if (sx_is_watched(ns)) write_on_loop(engine, &event);
}

void sx_events_breaker_on_loop(void *engine, const sx_redis_node *node, bool opened) {
    strata_event event = {.kind = STRATA_EVENT_BREAKER, .status = opened, .value = node->index};
    write_on_loop(engine, &event);
}

void sx_events_trust_on_loop(void *engine, uint32_t partition, bool gained) {
    if (gained) SX_PROBE1(trust__gained, partition);
    else SX_PROBE1(trust__lost, partition);
    strata_event event = {.kind = STRATA_EVENT_TRUST, .status = gained, .value = partition};
    write_on_loop(engine, &event);
}

/* L1's word: on whichever thread put what took the entry's place, or found it expired. */
static void left_l1(void *context, const sx_epoch_record *record, const sx_item *item, uint64_t hash, size_t footprint, bool expired) {
    strata *engine = context;
    sx_event_ring *_Atomic *place = record->user;
    strata_event event = {.time_ns = sx_engine_now(engine), .ns = engine->namespaces[item->ns], .key_hash = hash, .value = (int64_t)footprint,
                          .kind = expired ? STRATA_EVENT_EXPIRED : STRATA_EVENT_EVICTED};
    if (place != NULL) write_event(engine, place, &event);
}

void sx_events_watch_l1(strata *engine) { sx_l1_watch_left(engine->l1, left_l1, engine); }

/* ---- rings ----------------------------------------------------------------------------------------------------- */

/* There, or made. */
static bool make_ring_locked(strata *engine, sx_event_ring *_Atomic *place) {
    if (atomic_load_explicit(place, memory_order_relaxed) != NULL) return true; /* relaxed: made under this lock */
    sx_event_ring *ring = engine->alloc.allocate(engine->alloc.context, size_of(engine->events.capacity), SX_NO_SHARING);
    if (ring == NULL) return false;
    memset(ring, 0, size_of(engine->events.capacity));
    ring->capacity = engine->events.capacity;
    atomic_store_explicit(place, ring, memory_order_release); /* [order: event-ring] publishes it */
    return true;
}

static void free_ring(strata *engine, sx_event_ring *_Atomic *place) {
    sx_event_ring *ring = atomic_exchange_explicit(place, NULL, memory_order_relaxed); /* relaxed: its writer is gone */
    if (ring != NULL) sx_release(&engine->alloc, ring, size_of(ring->capacity));
}

bool sx_events_session_add_locked(strata_session *session) {
    return session->engine->events.capacity == 0 || make_ring_locked(session->engine, &session->events);
}

static uint64_t waiting_locked(const sx_event_ring *ring) {
    /* [order: event-put] observes the events; relaxed: the reader's own */
    return atomic_load_explicit(&ring->end, memory_order_acquire) - atomic_load_explicit(&ring->start, memory_order_relaxed);
}

/* What was dropped and not told of. */
static uint64_t dropped_locked(sx_event_ring *ring) {
    uint64_t all = (uint64_t)sx_counter_read(&ring->dropped), more = all - ring->dropped_told;
    ring->dropped_told = all;
    return more;
}

void sx_events_session_end_locked(strata_session *session) {
    sx_event_ring *ring = atomic_load_explicit(&session->events, memory_order_relaxed); /* relaxed: made under this lock */
    if (ring != NULL) session->engine->events.dropped += waiting_locked(ring) + dropped_locked(ring);
    free_ring(session->engine, &session->events);
}

void sx_events_destroy(strata *engine) {
    free_ring(engine, &engine->events.loop);
    free_ring(engine, &engine->events.keeper);
}

/* ---- public ---------------------------------------------------------------------------------------------------- */

/* Takes up to max events; out NULL: drops them. */
static size_t take_locked(strata *engine, sx_event_ring *ring, strata_event *out, size_t max) {
    if (ring == NULL) return 0;
    engine->events.dropped += dropped_locked(ring);
    uint64_t start = atomic_load_explicit(&ring->start, memory_order_relaxed); /* relaxed: the reader's own */
    uint64_t waiting = waiting_locked(ring);
    size_t count = waiting < max ? (size_t)waiting : max;
    for (size_t i = 0; i < count && out != NULL; i++) out[i] = ring->events[(start + i) & (ring->capacity - 1)];
    atomic_store_explicit(&ring->start, start + count, memory_order_release); /* [order: event-taken] publishes that they were read */
    return count;
}

/* The rings in turn, another one first each time, so that none is always last. */
static size_t take_all_locked(strata *engine, strata_event *out, size_t max) {
    size_t count = 0;
    uint32_t rings = 2;
    for (const strata_session *s = engine->sessions; s != NULL; s = s->next) rings++;
    uint32_t first = engine->events.turn++ % rings;
    for (uint32_t round = 0; round < 2; round++) { /* from the first to the end, then up to it */
        uint32_t at = 0;
        sx_event_ring *_Atomic *own[2] = {&engine->events.loop, &engine->events.keeper};
        for (uint32_t i = 0; i < 2; i++, at++) {
            if ((at >= first) != (round == 0)) continue;
            /* relaxed: made under this lock */
            count += take_locked(engine, atomic_load_explicit(own[i], memory_order_relaxed), out == NULL ? NULL : out + count, max - count);
        }
        for (strata_session *s = engine->sessions; s != NULL; s = s->next, at++) {
            if ((at >= first) != (round == 0)) continue;
            /* relaxed: as above */
            count += take_locked(engine, atomic_load_explicit(&s->events, memory_order_relaxed), out == NULL ? NULL : out + count, max - count);
        }
    }
    return count;
}

static bool make_all_locked(strata *engine) {
    bool room = make_ring_locked(engine, &engine->events.loop) && make_ring_locked(engine, &engine->events.keeper);
    for (strata_session *s = engine->sessions; room && s != NULL; s = s->next) room = make_ring_locked(engine, &s->events);
    return room;
}

int32_t strata_events_watch(strata *engine, uint32_t kinds, uint32_t capacity) {
    if (capacity == 0) capacity = CAPACITY_DEFAULT;
    if (engine == NULL || (kinds & ~STRATA_EVENTS_ALL) != 0 || capacity < CAPACITY_MIN || capacity > STRATA_EVENTS_CAPACITY_MAX ||
        (capacity & (capacity - 1)) != 0)
        return STRATA_E_INVALID;
    int32_t status = sx_engine_alive(engine);
    if (status != STRATA_OK) return status;
    sx_lock_acquire(&engine->lock);
    if (kinds != 0 && engine->events.capacity == 0) engine->events.capacity = capacity;
    if (kinds != 0 && !make_all_locked(engine)) status = STRATA_E_NOMEM;
    if (status == STRATA_OK) {
        if (kinds == 0) (void)take_all_locked(engine, NULL, SIZE_MAX);
        atomic_store_explicit(&engine->events.kinds, kinds, memory_order_relaxed); /* relaxed: a number that stands for itself */
        if (engine->l1 != NULL) sx_l1_tell_left(engine->l1, (kinds & (1u << STRATA_EVENT_EVICTED | 1u << STRATA_EVENT_EXPIRED)) != 0);
        for (uint32_t i = 0; i < engine->namespace_count; i++) sx_rollout_apply_locked(engine->namespaces[i]);
    }
    sx_lock_release(&engine->lock);
    return status;
}

int32_t strata_events_drain(strata *engine, strata_event *out, size_t max, size_t *count, uint64_t *dropped) {
    if (engine == NULL || count == NULL || (out == NULL && max != 0)) return STRATA_E_INVALID;
    int32_t status = sx_engine_alive(engine);
    if (status != STRATA_OK) return status;
    sx_lock_acquire(&engine->lock);
    *count = max == 0 ? 0 : take_all_locked(engine, out, max);
    if (dropped != NULL) {
        *dropped = engine->events.dropped;
        engine->events.dropped = 0;
    }
    sx_lock_release(&engine->lock);
    return STRATA_OK;
}

int32_t strata_event_key(const strata_namespace *ns, strata_bytes key, uint64_t *out) {
    if (ns == NULL || out == NULL || key.data == NULL) return STRATA_E_INVALID;
    if (key.size == 0 || key.size > STRATA_KEY_BYTES_MAX) return STRATA_E_KEY_SIZE;
    *out = sx_l1_hash(&ns->engine->secret, ns->index, key.data, key.size);
    return STRATA_OK;
}
