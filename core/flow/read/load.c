/* SPDX-License-Identifier: Apache-2.0 */
/* Loads: handing a key to the application's loader, taking its answer back, and filling L2 under the lease. */
#include <string.h>

#include "core/flow/engine.h"
#include "core/flow/foreign.h"
#include "core/observe/probe.h"

static void load_free(strata_load *load) {
    strata *engine = load->engine;
    sx_release(&engine->alloc, load->tags, load->tags_size);
    if (load->gather != NULL) sx_gather_release(load->gather);
    if (load->base != NULL) sx_item_release(load->base);
    sx_span_drop(load->span);
    sx_release(&engine->alloc, load, sizeof *load + load->key_size);
    sx_engine_release(engine);
}

/* ---- out to the application --------------------------------------------------------------------------------- */

static void run_task(void *argument) { sx_load_run(argument); }

/* The tags of the operation whose loader it is: with the nonces that were taken for them, or, where those were another's,
   without. */
static bool copy_tags_locked(strata_load *load, sx_flight *flight, const sx_op *asked, sx_epoch_record *record) {
    if (asked->tags == NULL) return true;
    sx_flight_tagged_locked(flight);
    bool same = flight->tags_size != 0 && sx_tags_same(flight->tags, flight->tags_size, asked->tags, asked->tags_size);
    load->tags = sx_allocate(&load->engine->alloc, asked->tags_size);
    if (load->tags == NULL) return false;
    load->tags_size = asked->tags_size;
    memcpy(load->tags, same ? flight->tags : asked->tags, asked->tags_size);
    strata *engine = load->engine;
    if (engine->l2_on) return true;
    return sx_marks_take_here(engine, record, load->tags, load->tags_size);
}

int64_t sx_load_timeout_ns(const strata_namespace *ns) {
    sx_policy policy;
    sx_policy_read(ns, &policy);
    return policy.load_timeout_ms != 0 ? policy.load_timeout_ms * SX_NS_PER_MS : sx_hot_read(&ns->engine->hot.load_timeout_ns);
}

/* What was claimed, unless it was cleared before this: the floor that the load begins with would let it be renewed. */
static sx_item *claimed_of(const sx_flight *flight) {
    sx_item *item = flight->claimed;
    return item != NULL && sx_fetch_is_cleared_on_loop(flight, item) ? NULL : item;
}

/* Whose loader is asked. A refresh is a flight's first waiter, and its only one of that kind. */
static sx_op *asked_locked(const sx_flight *flight) {
    sx_op *refresh = flight->waiters != NULL && flight->waiters->refresh ? flight->waiters : NULL;
    sx_op *asked = refresh != NULL ? refresh->wait_next : flight->waiters;
    while (asked != NULL && asked->loader == NULL) asked = asked->wait_next;
    if (asked != NULL || refresh == NULL) return asked;
    bool alone = flight->waiters == flight->waiters_tail;
    return alone || flight->engine->executor.execute != NULL ? refresh : NULL;
}

/* What the load is to renew, with a reference: what was claimed, or without L2 what L1 holds, unless a tag of it has ended: renewed
   with the nonces that it has, it could not be kept. NULL: nothing. */
static sx_item *base_locked(const sx_flight *flight) {
    sx_item *here = flight->seq == flight->fallback_seq ? flight->fallback : NULL;
    sx_item *base = flight->engine->l2_on ? claimed_of(flight) : here;
    if (base == NULL || (base->flags & SX_ITEM_NOTHING) != 0) return NULL;
    const sx_item_tagging *tagging = sx_item_tagging_of(base);
    if (base == here && tagging != NULL && !sx_marks_hold_here(flight->engine, tagging)) return NULL;
    sx_item_retain(base);
    return base;
}

/* On a thread that has this epoch record, inside the call whose gather that is, if any. */
static int32_t start(sx_flight *flight, sx_epoch_record *record, const sx_gather *own) {
    strata *engine = flight->engine;
    assert(sx_lock_none_held());
    strata_load *load = sx_allocate_zero(&engine->alloc, sizeof *load + flight->key_size);
    if (load == NULL) return STRATA_E_NOMEM;
    load->letter.kind = SX_MAIL_LOAD;
    load->engine = engine;
    load->ns = flight->ns;
    load->stripe = flight->stripe;
    load->key_size = flight->key_size;
    memcpy(load->key, flight->key, flight->key_size);
    bool executor = engine->executor.execute != NULL;
    strata_session *session = NULL;
    sx_flights_lock(engine->flights, flight->stripe);
    sx_op *asked = asked_locked(flight);
    sx_gather *gather = NULL;
    bool decides = false;
    bool room = asked == NULL || copy_tags_locked(load, flight, asked, record);
    if (asked != NULL && room) {
        load->loader = asked->loader;
        load->loader_user = asked->loader_user;
        load->base = base_locked(flight);
        load->gather = gather = asked->gather;
        if (gather != NULL) sx_gather_retain(gather);
        decides = asked->undecided;
        asked->undecided = false;
        load->span = sx_span_begin(asked->span, &(sx_span_about){"strata.load", flight->ns, flight->hash, {flight->key, flight->key_size}});
        load->flight = flight;
        flight->load = load;
        flight->asker = asked;
        flight->asked_ttl_ms = asked->ttl_ms;
        flight->state = SX_FLIGHT_LOADING;
        flight->phase_seq = flight->seq;
        bool floored = engine->l2_on && !sx_namespace_is_foreign(flight->ns);
        flight->floor = floored ? sx_floors_of_on_loop(engine, flight->ns, flight->partition) : 0;
        flight->load_deadline_ns = load->deadline_ns =
            sx_time_add(sx_engine_now(engine), sx_load_timeout_ns(flight->ns));
        flight->load_start_ns = sx_engine_now(engine);
        if (!executor) {
            load->session = session = asked->session;
            sx_session_post_announce(session);
        }
    }
    sx_flights_unlock(engine->flights, flight->stripe);
    sx_engine_retain(engine);
    if (asked == NULL || !room) {
        load_free(load);
        return asked == NULL ? STRATA_MISS : STRATA_E_NOMEM;
    }
    sx_count(load->ns, SX_FLOW_METRIC_LOADS);
    if (gather != NULL) {
        if (decides) sx_gather_less(gather);
        sx_gather_add(gather, load, gather == own);
        return STRATA_OK;
    }
    /* From here on, and where it was added, the load may be finished, and the flight gone, at any moment. */
    if (executor) engine->executor.execute(engine->executor.context, run_task, load);
    else sx_session_post_announced(session, &load->letter);
    return STRATA_OK;
}

int32_t sx_load_start_on_loop(sx_flight *flight) {
    assert(sx_loop_is_current(flight->engine->loop));
    return start(flight, flight->engine->loop_record, NULL);
}

void sx_load_keep_tags_locked(sx_flight *flight) {
    strata *engine = flight->engine;
    const strata_load *load = flight->load;
    assert(sx_flights_is_locked(engine->flights, flight->stripe));
    flight->tags_size = 0;
    if (load == NULL || load->tags_size == 0) return;
    if (flight->tags_room < load->tags_size) {
        sx_release(&engine->alloc, flight->tags, flight->tags_room);
        flight->tags = sx_allocate(&engine->alloc, load->tags_size);
        flight->tags_room = flight->tags == NULL ? 0 : load->tags_size;
    }
    flight->tags_size = flight->tags_room == 0 ? 0 : load->tags_size;
    if (flight->tags_size != 0) memcpy(flight->tags, load->tags, load->tags_size);
    else flight->fill = false; /* what is not known to depend on tags is not kept */
}

/* Hands an outcome to the flight; true where the caller must post it by post_announced, which it is announced for: the
   flight, and with it the loop, is there now, but once the lock is released close may end both. */
static bool hand_over_locked(sx_flight *flight, int32_t status, sx_item *item, const sx_packed *packed) {
    if (status < 0 && status != STRATA_E_CANCELLED) sx_load_keep_tags_locked(flight);
    flight->load = NULL;
    flight->loaded = true;
    flight->loaded_status = status;
    flight->loaded_item = item;
    sx_packed_deinit(&flight->loaded_packed);
    if (packed != NULL) flight->loaded_packed = *packed;
    if (!sx_flight_want_post_locked(flight)) return false;
    /* relaxed: the loop can't stop before the decrement, which comes after */
    atomic_fetch_add_explicit(&flight->engine->posters, 1, memory_order_relaxed);
    return true;
}

static void post_announced(strata *engine, sx_flight *flight) {
    sx_loop_post(engine->loop, &flight->task);
    atomic_fetch_sub_explicit(&engine->posters, 1, memory_order_release); /* [order: loop-posters] */
}

void sx_load_start_on_caller(sx_flight *flight, const strata_session *session, const sx_gather *own) {
    strata *engine = flight->engine;
    int32_t status = start(flight, session->record, own);
    if (status == STRATA_OK) return;
    if (status == STRATA_MISS) status = STRATA_E_CANCELLED; /* they have left: nobody is told */
    sx_flights_lock(engine->flights, flight->stripe);
    bool post = hand_over_locked(flight, status, NULL, NULL);
    sx_flights_unlock(engine->flights, flight->stripe);
    if (post) post_announced(engine, flight);
}

static void drop(strata_load *load) {
    strata *engine = load->engine;
    sx_flights_lock(engine->flights, load->stripe);
    sx_flight *flight = load->flight;
    bool post = flight != NULL && hand_over_locked(flight, STRATA_E_CANCELLED, NULL, NULL);
    sx_flights_unlock(engine->flights, load->stripe);
    if (post) post_announced(engine, flight);
    load_free(load);
}

bool sx_load_begin(strata_load *load) {
    strata *engine = load->engine;
    sx_flights_lock(engine->flights, load->stripe);
    /* Whose loader it is has not been answered yet: from then on loader_user may be gone. */
    load->started = load->flight != NULL && load->flight->asker != NULL;
    bool started = load->started;
    sx_flights_unlock(engine->flights, load->stripe);
    if (!started) {
        drop(load);
        return false;
    }
    sx_span_restart(load->span);
    SX_PROBE3(load__begin, &load->ns->name[0], &load->key[0], load->key_size);
    return true;
}

void sx_load_run(strata_load *load) {
    /* A batch's looks itself which of them are still wanted. */
    if (load->gather != NULL || sx_load_begin(load)) load->loader(load, load->loader_user);
}

void sx_load_drop(strata_load *load) {
    for (strata_load *next; load != NULL; load = next) {
        next = load->more;
        drop(load);
    }
}

void sx_load_forget_locked(sx_flight *flight) {
    if (flight->load == NULL) return;
    flight->load->flight = NULL;
    flight->load = NULL;
}

strata_bytes strata_load_key(const strata_load *load) {
    strata_bytes key = {load->key, load->key_size};
    return key;
}

int64_t strata_load_left_ms(const strata_load *load) {
    strata *engine = load->engine;
    if (sx_engine_forked(engine)) return 0;
    sx_flights_lock(engine->flights, load->stripe);
    bool wanted = load->flight != NULL;
    sx_flights_unlock(engine->flights, load->stripe);
    int64_t left_ns = load->deadline_ns - sx_engine_now(engine);
    return wanted && left_ns > 0 ? (left_ns + SX_NS_PER_MS - 1) / SX_NS_PER_MS : 0;
}

int32_t strata_load_is_cancelled(const strata_load *load) {
    strata *engine = load->engine;
    if (sx_engine_forked(engine)) return 1;
    sx_flights_lock(engine->flights, load->stripe);
    bool cancelled = load->flight == NULL || load->flight->cancelled;
    sx_flights_unlock(engine->flights, load->stripe);
    return cancelled;
}

/* ---- back from the application ------------------------------------------------------------------------------ */

static int32_t loaded_item(strata_load *load, strata_bytes value, const strata_load_result *details, uint16_t nothing,
                           sx_packed *packed, sx_item **out) {
    strata *engine = load->engine;
    if (value.size != 0 && value.data == NULL) return STRATA_E_INVALID;
    if (value.size > (size_t)engine->value_bytes_max) return STRATA_E_VALUE_SIZE;
    sx_item_facts facts = {.app_version = details == NULL ? 0 : details->app_version,
                           .written_ms = sx_engine_now(engine) / SX_NS_PER_MS,
                           .expires_ns = SX_EXPIRES_NEVER,
                           .ns = load->ns->index,
                           .partition = (uint16_t)sx_namespace_partition(load->ns, load->key, load->key_size)};
    sx_policy policy;
    sx_policy_read(load->ns, &policy);
    facts.aged = sx_policy_ages(&policy);
    facts.nothing = nothing;
    facts.etag = details == NULL ? NULL : details->etag.data;
    facts.etag_size = details == NULL ? 0 : details->etag.size;
    sx_buf tags;
    sx_buf_init(&tags, &engine->alloc);
    bool few = sx_tags_encode(&tags, load->tags, load->tags_size, details == NULL ? NULL : details->tags,
                              details == NULL ? 0 : details->tag_count);
    facts.tags = tags.data;
    facts.tags_size = tags.size;
    bool kept = nothing == 0 && (details == NULL || (details->flags & STRATA_LOAD_DONT_CACHE) == 0);
    if (few && !tags.failed)
        *out = sx_packed_create(load->ns, &policy, (strata_bytes){load->key, load->key_size}, value, kept, &facts, packed);
    sx_buf_deinit(&tags);
    if (!few) return STRATA_E_INVALID;
    return *out == NULL ? STRATA_E_NOMEM : STRATA_OK;
}

static bool keeps_absences(const strata_namespace *ns) {
    sx_policy policy;
    sx_policy_read(ns, &policy);
    return policy.absent_ttl_ms != 0;
}

/* Whether the one whose loader it is has left: from then on it may be broken off, and is never asked for again. */
static bool is_left(const strata_load *load) {
    strata *engine = load->engine;
    sx_flights_lock(engine->flights, load->stripe);
    bool left = load->flight == NULL || load->flight->asker == NULL;
    sx_flights_unlock(engine->flights, load->stripe);
    return left;
}

/* Hands the outcome over, if anybody still wants it, and ends the load. */
static void deliver(strata_load *load, int32_t status, sx_item *item, sx_packed *packed, int64_t ttl_ms, uint32_t flags,
                    bool unmodified) {
    strata *engine = load->engine;
    bool post = false;
    if (status < 0 && status != STRATA_E_CANCELLED) sx_count(load->ns, SX_FLOW_METRIC_LOAD_FAILURES);
    SX_PROBE4(load__end, &load->ns->name[0], &load->key[0], load->key_size, status);
    sx_span_end(load->span, status, STRATA_FROM_LOADER); /* before anything that comes of it */
    load->span = NULL;
    sx_flights_lock(engine->flights, load->stripe);
    sx_flight *flight = load->flight;
    if (flight != NULL) {
        flight->loaded_ttl_ms = ttl_ms;
        flight->loaded_flags = flags;
        flight->unmodified = unmodified;
        post = hand_over_locked(flight, status, item, packed);
        *packed = (sx_packed){0};
        item = NULL;
    }
    sx_flights_unlock(engine->flights, load->stripe);
    if (post) post_announced(engine, flight);
    if (item != NULL) sx_item_release(item);
    sx_packed_deinit(packed);
    load_free(load);
}

int32_t strata_load_finish(strata_load *load, int32_t status, strata_bytes value, const strata_load_result *details) {
    if (load == NULL) return STRATA_E_INVALID;
    strata *engine = load->engine;
    if (sx_engine_forked(engine)) return STRATA_E_FORKED;
    int32_t answer = STRATA_OK;
    sx_item *item = NULL;
    sx_packed packed = {0};
    strata_load_result whole;
    details = sx_struct_whole(details, &whole, sizeof whole);
    if (details != NULL &&
        (!sx_struct_fits(details, details->struct_size, sizeof *details) || (details->flags & ~STRATA_LOAD_DONT_CACHE) != 0 || details->ttl_ms < 0 ||
         details->reserved_2 != 0 || details->etag.size > STRATA_ETAG_BYTES_MAX ||
         (details->etag.size != 0 && details->etag.data == NULL) || !sx_tags_good(details->tags, details->tag_count)))
        answer = STRATA_E_INVALID;
    else if (details != NULL && !sx_policy_allows(load->ns, details->ttl_ms))
        answer = STRATA_E_TTL;
    else if (status == STRATA_OK) {
        answer = loaded_item(load, value, details, 0, &packed, &item);
    } else if (status == STRATA_MISS && keeps_absences(load->ns)) {
        answer = loaded_item(load, (strata_bytes){"", 0}, details, SX_ITEM_ABSENT, &packed, &item);
        sx_count(load->ns, SX_FLOW_METRIC_ABSENCES);
        status = STRATA_OK;
    }
    if (answer != STRATA_OK) status = answer;
    else if (status == STRATA_E_CANCELLED && !is_left(load)) status = STRATA_E_LOAD_FAILED;
    else if (status != STRATA_OK && status != STRATA_MISS && status != STRATA_E_CANCELLED) status = STRATA_E_LOAD_FAILED;
    deliver(load, status, item, &packed, details == NULL ? 0 : details->ttl_ms, details == NULL ? 0 : details->flags, false);
    return answer;
}

strata_bytes strata_load_etag(const strata_load *load) {
    strata_bytes etag = {NULL, 0};
    if (load->base != NULL) etag.data = sx_item_etag(load->base, &etag.size);
    return etag;
}

int32_t strata_load_not_modified(strata_load *load, int64_t ttl_ms) {
    if (load == NULL) return STRATA_E_INVALID;
    if (sx_engine_forked(load->engine)) return STRATA_E_FORKED;
    sx_item *item = NULL;
    sx_packed packed = {0};
    int32_t answer = ttl_ms < 0 || load->base == NULL ? STRATA_E_INVALID : sx_policy_allows(load->ns, ttl_ms) ? STRATA_OK : STRATA_E_TTL;
    if (answer == STRATA_OK && (item = sx_item_copy(load->base)) == NULL) answer = STRATA_E_NOMEM;
    if (answer == STRATA_OK) {
        item->written_ms = sx_engine_now(load->engine) / SX_NS_PER_MS;
        sx_count(load->ns, SX_FLOW_METRIC_NOT_MODIFIED);
    }
    deliver(load, answer, item, &packed, ttl_ms, 0, true);
    return answer;
}

/* ---- filling ------------------------------------------------------------------------------------------------- */

/* How long the loaded value lives: the loader's word, else that of the operation whose loader it is, also where that one has
   left, else its namespace's. */
static sx_lifetime loaded_lifetime(const sx_flight *flight, const sx_policy *policy, int64_t now_ns) {
    if ((flight->loaded_item->flags & SX_ITEM_ABSENT) != 0) return sx_policy_nothing(flight->loaded_ttl_ms, policy->absent_ttl_ms);
    int64_t asked_ms = flight->loaded_ttl_ms != 0 ? flight->loaded_ttl_ms : flight->asked_ttl_ms;
    return sx_policy_lifetime(flight->ns, asked_ms, flight->hash, now_ns);
}

static void answer_loaded(sx_flight *flight, int32_t status, sx_item *item) {
    sx_flight_answer_on_loop(flight, SX_FLIGHT_EVERYONE, status, STRATA_FROM_LOADER, item);
    if (item != NULL) sx_item_release(item);
}

static void fill_done(sx_store_op *op, int32_t status, const sx_resp *reply) {
    sx_flight *flight = SX_CONTAINER(op, sx_flight, store_op);
    sx_item *item = flight->loaded_item;
    uint64_t n;
    int64_t server_ms;
    flight->loaded_item = NULL;
    flight->in_store = false;
    if (status == STRATA_OK) flight->leased = false; /* stored, or lost; else it may stand there for others to wait for */
    if (status == STRATA_OK && sx_publish_decode(reply, &n, &server_ms) == SX_PUBLISH_DONE) {
        if (!flight->shown) { /* nobody else has seen the item yet */
            item->n = n;
            item->id = flight->token;
            flight->identity = op->request.identity;
            (void)sx_fetch_insert_on_loop(flight, item);
        }
    } else {
        sx_load_replaces_on_loop(flight);
        if (SX_BROKEN(lost_fill) && status == STRATA_OK) {
            item->n = flight->min_n > 0 ? flight->min_n : 1;
            item->generation = flight->mark.generation;
            (void)sx_fetch_insert_on_loop(flight, item);
        }
        if (status == STRATA_OK) sx_count(flight->ns, SX_FLOW_METRIC_FILLS_SUPERSEDED);
    }
    answer_loaded(flight, STRATA_OK, item);
    sx_load_abandon_on_loop(flight);
}

/* What the lease, or the claim, is for. */
static void encode_value(sx_flight *flight, const sx_publish_key *key, int64_t deadline_ms, int64_t ttl_ms,
                         const uint8_t *tail, size_t tail_size) {
    const sx_publish *publish = &flight->engine->publish;
    sx_command *command = &flight->store_op.request.command;
    const sx_item *old = flight->claimed;
    if (old == NULL)
        sx_publish_encode_fill(publish, key, flight->token, deadline_ms, ttl_ms, tail, tail_size, flight->floor, command);
    else
        sx_publish_encode_refill(publish, key, old->n, old->id, flight->token, deadline_ms, ttl_ms, tail, tail_size, flight->floor,
                                 command);
}

/* A lease is good at the node that granted it: a failover may have lost the invalidation that removed it. Elsewhere the
   fill is made one that the script refuses. */
void sx_load_encode_fill_for(sx_redis_request *request, const sx_redis_node *node) {
    sx_store_op *op = SX_CONTAINER(request, sx_store_op, request);
    sx_flight *flight = SX_CONTAINER(op, sx_flight, store_op);
    if (node == flight->lease_node || SX_BROKEN(lease_node)) return;
    sx_publish_key key = sx_flight_publish_key(flight);
    sx_command_clear(&request->command);
    encode_value(flight, &key, SX_LONG_PAST_MS, 0, NULL, 0);
}

/* The bytes are there already. */
static bool encode_extend(sx_flight *flight, const sx_lifetime *life) {
    sx_command *command = &flight->store_op.request.command;
    sx_publish_key key = sx_flight_publish_key(flight);
    sx_command_clear(command);
    encode_value(flight, &key, 0, life->ttl_ms, NULL, 0);
    return !command->args.failed;
}

static bool encode_fill(sx_flight *flight, const sx_item *item, const sx_lifetime *life) {
    strata *engine = flight->engine;
    sx_envelope envelope = sx_packed_envelope(item, &flight->loaded_packed, flight->token, life);
    if (flight->claimed != NULL) envelope.flags |= SX_ENVELOPE_REFRESHED;
    sx_buf tail;
    sx_buf_init(&tail, &engine->alloc);
    sx_envelope_encode_tail(&tail, &envelope);
    sx_command *command = &flight->store_op.request.command;
    sx_publish_key key = sx_flight_publish_key(flight);
    sx_command_clear(command);
    /* No deadline: a late fill finds its lease gone. */
    encode_value(flight, &key, 0, sx_lifetime_kept_ms(life), tail.data, tail.size);
    bool good = !tail.failed && !command->args.failed;
    sx_buf_deinit(&tail);
    sx_packed_deinit(&flight->loaded_packed);
    return good;
}

static void abandon_done(sx_store_op *op, int32_t status, const sx_resp *reply) {
    (void)status, (void)reply; /* a lease that could not be removed expires */
    sx_flight *flight = SX_CONTAINER(op, sx_flight, store_op);
    flight->in_store = false;
    flight->leased = false;
    sx_flight_round_over_on_loop(flight);
}

void sx_load_abandon_on_loop(sx_flight *flight) {
    strata *engine = flight->engine;
    if (!flight->leased || engine->stopping) {
        flight->leased = false;
        sx_flight_round_over_on_loop(flight);
        return;
    }
    sx_flights_lock(engine->flights, flight->stripe);
    flight->state = SX_FLIGHT_FILLING;
    sx_flights_unlock(engine->flights, flight->stripe);
    sx_command *command = &flight->store_op.request.command;
    sx_publish_key key = sx_flight_publish_key(flight);
    if (flight->claimed != NULL) key.what = SX_PUBLISH_REFRESH;
    sx_command_clear(command);
    sx_publish_encode_abandon(&engine->publish, &key, flight->token, command);
    int64_t deadline_ns = sx_loop_now_ns(engine->loop) + sx_hot_read(&engine->hot.l2_timeout_ns);
    sx_fetch_submit_on_loop(flight, &engine->scripts.abandon, deadline_ns, abandon_done);
}

/* What was to be refreshed is no more. */
static void remove_value(sx_flight *flight) {
    strata *engine = flight->engine;
    sx_publish_key key = sx_flight_publish_key(flight);
    sx_command_clear(&flight->store_op.request.command);
    encode_value(flight, &key, 0, 0, NULL, 0);
    int64_t deadline_ns = sx_loop_now_ns(engine->loop) + sx_hot_read(&engine->hot.l2_timeout_ns);
    sx_fetch_submit_on_loop(flight, &engine->scripts.refill, deadline_ns, abandon_done);
}

/* What was loaded is not the flight's any more. Without L2 a caller's thread may be looking at its tags (sx_flights_mark_tag):
   it is released only after this. */
static void take_loaded(sx_flight *flight) {
    sx_flights *flights = flight->engine->flights;
    sx_flights_lock(flights, flight->stripe);
    flight->loaded_item = NULL;
    sx_flights_unlock(flights, flight->stripe);
}

void sx_load_loaded_on_loop(sx_flight *flight) {
    strata *engine = flight->engine;
    sx_flights_lock(engine->flights, flight->stripe);
    flight->loaded = false;
    flight->state = SX_FLIGHT_FILLING;
    int32_t status = flight->loaded_status;
    sx_item *item = flight->loaded_item, *unkept = NULL;
    sx_policy policy;
    sx_policy_read(flight->ns, &policy);
    if (status == STRATA_OK && (item->flags & SX_ITEM_ABSENT) != 0 &&
        sx_policy_nothing(flight->loaded_ttl_ms, policy.absent_ttl_ms).ttl_ms == 0) { /* the policy is another since it came */
        unkept = item;
        flight->loaded_item = NULL;
        status = STRATA_MISS;
    }
    sx_flights_unlock(engine->flights, flight->stripe);
    if (unkept != NULL) sx_item_release(unkept);
    if (status != STRATA_OK) {
        if (status == STRATA_MISS) sx_load_not_stored_on_loop(flight);
        else if (status != STRATA_E_CANCELLED) sx_aged_failed_on_loop(flight);
        if (status != STRATA_E_CANCELLED) answer_loaded(flight, status, NULL); /* else another one loads */
        if (status == STRATA_MISS && flight->claimed != NULL) remove_value(flight);
        else sx_load_abandon_on_loop(flight);
        return;
    }
    int64_t now_ns = sx_loop_now_ns(engine->loop);
    sx_lifetime life = loaded_lifetime(flight, &policy, now_ns);
    sx_policy_age(&policy, item, now_ns, sx_lifetime_left_ms(&life), &life);
    if ((flight->loaded_flags & STRATA_LOAD_DONT_CACHE) != 0 || sx_namespace_is_foreign(flight->ns)) {
        take_loaded(flight);
        answer_loaded(flight, STRATA_OK, item);
        sx_load_abandon_on_loop(flight);
        return;
    }
    bool known = sx_tagged_late_on_loop(flight, item);
    if (!known) {
        take_loaded(flight);
        sx_count(flight->ns, SX_FLOW_METRIC_TAGS_TOO_LATE);
        sx_item_retain(item);
        sx_load_replaces_on_loop(flight);
        answer_loaded(flight, STRATA_OK, item);
        sx_tagged_learn_on_loop(flight, item);
        return;
    }
    bool extends = flight->unmodified && flight->claimed != NULL;
    if (flight->leased && (extends ? encode_extend(flight, &life) : encode_fill(flight, item, &life))) {
        int64_t deadline_ns = now_ns + sx_hot_read(&engine->hot.l2_timeout_ns);
        const sx_redis_script *refill = extends ? &engine->scripts.extend : &engine->scripts.refill;
        flight->shown = false;
        sx_fetch_submit_on_loop(flight, flight->claimed == NULL ? &engine->scripts.fill : refill, deadline_ns, fill_done);
        return;
    }
    take_loaded(flight);
    if (!engine->l2_on) sx_load_keep_here_on_loop(flight, item);
    else sx_load_not_stored_on_loop(flight);
    answer_loaded(flight, STRATA_OK, item);
    sx_load_abandon_on_loop(flight);
}
