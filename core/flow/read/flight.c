/* SPDX-License-Identifier: Apache-2.0 */
/* The table of flights: stripes of locks, each over a few chains. */
#include "core/flow/flight.h"

#include <string.h>

#include "core/flow/engine.h"

typedef struct sx_stripe {
    sx_lock lock;
    sx_flight *buckets[SX_STRIPE_BUCKETS]; /* lock: this stripe */
    sx_write_mark *writes[SX_STRIPE_BUCKETS]; /* lock: this stripe */
    sx_flight *spares;                     /* lock: this stripe; memory of ended flights */
    uint32_t spare_count;                  /* lock: this stripe */
} sx_stripe;

struct sx_flights {
    _Atomic uint32_t tagged; /* atomic: relaxed; flights that depend on tags: on the loop, or ordered by the lock of the marks */
    sx_stripe stripes[SX_STRIPES];
};

int32_t sx_flights_create(const sx_alloc *alloc, sx_flights **out) {
    sx_flights *flights = sx_allocate_zero(alloc, sizeof *flights);
    if (flights == NULL) return STRATA_E_NOMEM;
    for (uint32_t i = 0; i < SX_STRIPES; i++) {
        int32_t status = sx_lock_init(&flights->stripes[i].lock, SX_RANK_FLIGHT);
        if (status == STRATA_OK) continue;
        while (i-- > 0) sx_lock_deinit(&flights->stripes[i].lock);
        sx_release(alloc, flights, sizeof *flights);
        return status;
    }
    *out = flights;
    return STRATA_OK;
}

static void release(const sx_alloc *alloc, sx_flight *flight) {
    sx_command_deinit(&flight->store_op.request.command);
    sx_release(alloc, flight, sizeof *flight + flight->key_room);
}

void sx_flights_destroy(const sx_alloc *alloc, sx_flights *flights) {
    if (flights == NULL) return;
    for (uint32_t i = 0; i < SX_STRIPES; i++) {
        sx_stripe *stripe = &flights->stripes[i];
        while (stripe->spares != NULL) {
            sx_flight *flight = stripe->spares;
            stripe->spares = flight->next;
            release(alloc, flight);
        }
        sx_lock_deinit(&stripe->lock);
    }
    sx_release(alloc, flights, sizeof *flights);
}

void sx_flights_lock(sx_flights *flights, uint32_t stripe) { sx_lock_acquire(&flights->stripes[stripe].lock); }
void sx_flights_unlock(sx_flights *flights, uint32_t stripe) { sx_lock_release(&flights->stripes[stripe].lock); }
bool sx_flights_is_locked(const sx_flights *flights, uint32_t stripe) {
    return sx_lock_is_held(&flights->stripes[stripe].lock);
}

static uint32_t place_in(uint64_t hash) { return (uint32_t)(hash >> 40) % SX_STRIPE_BUCKETS; }

static sx_flight **bucket_of(sx_flights *flights, uint64_t hash) {
    return &flights->stripes[sx_flight_stripe(hash)].buckets[place_in(hash)];
}

sx_flight *sx_flight_find_locked(sx_flights *flights, uint64_t hash, uint16_t ns, const void *key, size_t key_size) {
    assert(sx_flights_is_locked(flights, sx_flight_stripe(hash)));
    for (sx_flight *f = *bucket_of(flights, hash); f != NULL; f = f->next) {
        if (f->hash == hash && f->ns->index == ns && f->key_size == key_size && memcmp(f->key, key, key_size) == 0)
            return f;
    }
    return NULL;
}

/* Zeroed but for key_room and the command, whose buffer is kept. NULL when out of memory. */
static sx_flight *take_memory_locked(strata *engine, sx_stripe *stripe, size_t key_size) {
    size_t room = key_size > SX_FLIGHT_KEY_ROOM ? key_size : SX_FLIGHT_KEY_ROOM;
    sx_flight *flight = stripe->spares;
    if (flight == NULL || room > SX_FLIGHT_KEY_ROOM) {
        flight = sx_allocate_zero(&engine->alloc, sizeof *flight + room);
        if (flight == NULL) return NULL;
        sx_command_init(&flight->store_op.request.command, &engine->alloc);
    } else {
        stripe->spares = flight->next;
        stripe->spare_count--;
        sx_command command = flight->store_op.request.command;
        memset(flight, 0, sizeof *flight);
        flight->store_op.request.command = command;
    }
    flight->key_room = (uint32_t)room;
    return flight;
}

void sx_flight_tagged_locked(sx_flight *flight) {
    assert(sx_flights_is_locked(flight->engine->flights, flight->stripe));
    if (flight->tagged) return;
    flight->tagged = true;
    /* relaxed: it takes the nonces after this, under the lock of the marks: who renews one later sees the count */
    atomic_fetch_add_explicit(&flight->engine->flights->tagged, 1, memory_order_relaxed);
}

void sx_flight_recycle_on_loop(sx_flight *flight) {
    strata *engine = flight->engine;
    if (flight->tagged) /* relaxed: it is linked nowhere any more */
        atomic_fetch_sub_explicit(&engine->flights->tagged, 1, memory_order_relaxed); /* relaxed: as above */
    sx_stripe *stripe = &engine->flights->stripes[flight->stripe];
    sx_command *command = &flight->store_op.request.command;
    if (command->args.capacity > SX_FLIGHT_COMMAND_KEEP) sx_command_deinit(command);
    sx_lock_acquire(&stripe->lock);
    bool keep = flight->key_room == SX_FLIGHT_KEY_ROOM && stripe->spare_count + 1 <= SX_STRIPE_SPARES;
    if (keep) {
        flight->next = stripe->spares;
        stripe->spares = flight;
        stripe->spare_count++;
    }
    sx_lock_release(&stripe->lock);
    if (!keep) release(&engine->alloc, flight);
}

sx_flight *sx_flight_create_locked(strata *engine, strata_namespace *ns, uint64_t hash, uint32_t partition,
                                   const void *key, size_t key_size) {
    sx_flight *flight = take_memory_locked(engine, &engine->flights->stripes[sx_flight_stripe(hash)], key_size);
    if (flight == NULL) return NULL;
    flight->engine = engine;
    flight->ns = ns;
    flight->hash = hash;
    flight->partition = partition;
    flight->stripe = sx_flight_stripe(hash);
    flight->key_size = (uint32_t)key_size;
    memcpy(flight->key, key, key_size);
    flight->seq = 1;
    flight->phase_seq = 1;
    flight->earliest_ns = INT64_MAX;
    flight->task.run_on_loop = sx_flight_run_on_loop;
    sx_flight **bucket = bucket_of(engine->flights, hash);
    flight->next = *bucket;
    *bucket = flight;
    flight->in_table = true;
    sx_count(ns, SX_FLOW_METRIC_FLIGHTS);
    return flight;
}

void sx_flight_remove_locked(sx_flight *flight) {
    assert(sx_flights_is_locked(flight->engine->flights, flight->stripe));
    if (!flight->in_table) return;
    sx_flight **link = bucket_of(flight->engine->flights, flight->hash);
    while (*link != flight) link = &(*link)->next;
    *link = flight->next;
    flight->next = NULL;
    flight->in_table = false;
}

void sx_flight_join_locked(sx_flight *flight, sx_op *op) {
    op->flight = flight;
    op->stripe = flight->stripe;
    op->join_min_n = flight->min_n;
    op->join_seq = flight->seq;
    op->wait_next = NULL;
    op->wait_previous = flight->waiters_tail;
    if (flight->waiters_tail != NULL) flight->waiters_tail->wait_next = op;
    else flight->waiters = op;
    flight->waiters_tail = op;
    flight->waiter_count += !op->refresh;
    flight->cancelled = false;
    if ((op->flags & STRATA_BYPASS_L1) == 0) flight->fill = true;
}

void sx_flight_leave_locked(sx_op *op) {
    sx_flight *flight = op->flight;
    if (op->wait_previous != NULL) op->wait_previous->wait_next = op->wait_next;
    else flight->waiters = op->wait_next;
    if (op->wait_next != NULL) op->wait_next->wait_previous = op->wait_previous;
    else flight->waiters_tail = op->wait_previous;
    op->wait_next = op->wait_previous = NULL;
    flight->waiter_count -= !op->refresh;
    op->flight = NULL;
    if (flight->asker == op) flight->asker = NULL;
}

bool sx_flight_idles_locked(const sx_flight *flight) {
    return flight->engine->executor.execute == NULL && flight->state == SX_FLIGHT_LOADING && flight->load != NULL &&
           !flight->load->started && flight->asker != NULL && flight->asker->refresh && flight->waiters != flight->waiters_tail;
}

void sx_flight_wake_locked(sx_flight *flight) {
    /* Only the loop marks a flight that waits, and only it frees one: posting inside the lock is safe. */
    if (flight->state == SX_FLIGHT_WAITING && sx_flight_want_post_locked(flight))
        sx_loop_post(flight->engine->loop, &flight->task);
}

static void mark(sx_flight *flight, uint64_t n) {
    flight->heard_seq = ++flight->seq;
    if (n == 0) flight->barrier = flight->seq;
    else if (n > flight->min_n) flight->min_n = n;
    sx_flight_wake_locked(flight);
}

void sx_flight_renew_locked(sx_flight *flight) {
    if (flight->state != SX_FLIGHT_LOADING && flight->state != SX_FLIGHT_FILLING) return;
    flight->fallback_seq += flight->fallback_seq == flight->seq; /* nothing was heard of it: it covers who waits still */
    flight->barrier = ++flight->seq;
}

static sx_write_mark **writes_at(sx_flights *flights, uint64_t hash) {
    return &flights->stripes[sx_flight_stripe(hash)].writes[place_in(hash)];
}

static void mark_write(sx_write_mark *write, uint64_t n) {
    if (n == 0) write->min_n = UINT64_MAX;
    else if (n > write->min_n) write->min_n = n;
}

static bool is_key(const sx_item *item, uint16_t ns, const void *key, size_t key_size) {
    return item->ns == ns && item->key_size == key_size && memcmp(sx_item_key(item), key, key_size) == 0;
}

void sx_flights_mark_locked(sx_flights *flights, uint64_t hash, uint16_t ns, const void *key, size_t key_size,
                            uint64_t n) {
    sx_flight *flight = sx_flight_find_locked(flights, hash, ns, key, key_size);
    if (flight != NULL) mark(flight, n);
    for (sx_write_mark *w = *writes_at(flights, hash); w != NULL; w = w->next) {
        if (w->hash == hash && is_key(w->item, ns, key, key_size)) mark_write(w, n);
    }
}

bool sx_flights_is_written_locked(const sx_flights *flights, uint64_t hash, uint16_t ns, const void *key,
                                  size_t key_size) {
    for (const sx_write_mark *w = flights->stripes[sx_flight_stripe(hash)].writes[place_in(hash)]; w != NULL; w = w->next)
        if (w->hash == hash && is_key(w->item, ns, key, key_size)) return true;
    return false;
}

static bool is_in(uint32_t partition, uint32_t wanted) { return wanted == partition || wanted == SX_PARTITIONS_ALL; }

void sx_flights_mark_wide(sx_flights *flights, uint32_t partition, const strata_namespace *ns, uint64_t n) {
    for (uint32_t s = 0; s < SX_STRIPES; s++) {
        sx_flights_lock(flights, s);
        for (uint32_t b = 0; b < SX_STRIPE_BUCKETS; b++) {
            for (sx_flight *f = flights->stripes[s].buckets[b]; f != NULL; f = f->next) {
                if (is_in(f->partition, partition) && (ns == NULL || f->ns == ns)) mark(f, n);
            }
        }
        for (uint32_t b = 0; b < SX_STRIPE_BUCKETS; b++) {
            for (sx_write_mark *w = flights->stripes[s].writes[b]; w != NULL; w = w->next) {
                if (is_in(w->item->partition, partition) && (ns == NULL || w->item->ns == ns->index)) mark_write(w, n);
            }
        }
        sx_flights_unlock(flights, s);
    }
}

static bool depends(const uint8_t *bytes, size_t bytes_size, const void *name, size_t size, uint64_t nonce) {
    sx_tag tag;
    for (size_t at = 0; bytes != NULL && sx_tags_next(bytes, bytes_size, &at, &tag);) {
        if (tag.size == size && memcmp(tag.name, name, size) == 0) return nonce == 0 || tag.nonce != nonce;
    }
    return false;
}

static bool item_depends(const sx_item *item, const void *name, size_t size, uint64_t nonce) {
    const sx_item_tagging *tagging = item == NULL ? NULL : sx_item_tagging_of(item);
    return tagging != NULL && depends(tagging->bytes, tagging->size, name, size, nonce);
}

void sx_flights_mark_tag(strata *engine, const void *name, size_t size, uint64_t nonce) {
    sx_flights *flights = engine->flights;
    /* relaxed: see sx_flight_tagged_locked */
    if (atomic_load_explicit(&flights->tagged, memory_order_relaxed) == 0) return;
    for (uint32_t s = 0; s < SX_STRIPES; s++) {
        sx_flights_lock(flights, s);
        for (uint32_t b = 0; b < SX_STRIPE_BUCKETS; b++) {
            for (sx_flight *f = flights->stripes[s].buckets[b]; f != NULL; f = f->next) {
                /* The loop's own are looked at on the loop, which this is where there are any. What is judged or claimed, with
                   requests in between, was so for those who have joined already. */
                bool own = engine->l2_on;
                if ((f->load != NULL && depends(f->load->tags, f->load->tags_size, name, size, nonce)) ||
                    item_depends(f->loaded_item, name, size, nonce) ||
                    (own && (item_depends(f->judged, name, size, nonce) || item_depends(f->old, name, size, nonce) ||
                             item_depends(f->claimed, name, size, nonce))))
                    mark(f, 0);
            }
        }
        sx_flights_unlock(flights, s);
    }
}

void sx_write_mark_add_locked(sx_flights *flights, sx_write_mark *write) {
    sx_write_mark **writes = writes_at(flights, write->hash);
    write->previous = NULL;
    write->next = *writes;
    if (*writes != NULL) (*writes)->previous = write;
    *writes = write;
    write->registered = true;
}

void sx_write_mark_remove_locked(sx_flights *flights, sx_write_mark *write) {
    if (!write->registered) return;
    if (write->previous != NULL) write->previous->next = write->next;
    else *writes_at(flights, write->hash) = write->next;
    if (write->next != NULL) write->next->previous = write->previous;
    write->registered = false;
}

bool sx_flight_want_post_locked(sx_flight *flight) {
    if (flight->posted) return false;
    flight->posted = true;
    return true;
}
