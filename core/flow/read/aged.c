/* SPDX-License-Identifier: Apache-2.0 */
/* Values past their end: answered while they are refreshed, or where loading them anew fails; and refreshes ahead of it.

   L1 answers such a value by itself only under the same proof as any other, so it was not invalidated. Where L2 or the loader
   fails there may be no proof: then the value is one of which this process has heard nothing since it was proven last
   (its flight's seq, its partition's generation), for as long as the policy allows. What L2 answered counts as proven only
   where it might have entered L1. */
#include "core/flow/engine.h"
#include "core/flow/foreign.h"

/* A refresh that another process has begun: when to look whether it is done. */
#define ELSEWHERE_NS (100 * SX_NS_PER_MS)

static void add(strata *engine, uint32_t metric) { sx_counter_add_shared(&engine->counters[metric], 1); }

static int64_t relaxed(const _Atomic int64_t *number) {
    return atomic_load_explicit(number, memory_order_relaxed); /* relaxed: a hint that stands for itself */
}

/* ---- on the caller's thread ---------------------------------------------------------------------------------- */

/* One reader alone starts a refresh: the one who moves the time of the next. */
static bool claim_refresh(sx_item_aging *aging, const sx_policy *policy, int64_t now_ns) {
    int64_t next_ns = relaxed(&aging->refresh_ns);
    if (now_ns < next_ns) return false;
    int64_t after_ns = sx_time_add(now_ns, sx_policy_throttle_ns(policy));
    /* relaxed: one of many wins, and publishes nothing by it */
    return atomic_compare_exchange_strong_explicit(&aging->refresh_ns, &next_ns, after_ns, memory_order_relaxed,
                                                   memory_order_relaxed);
}

int32_t sx_aged_answer_pinned(strata_session *session, const strata_namespace *ns, sx_item *item, int64_t now_ns,
                              int64_t staleness_us, strata_result *out, sx_read_more *more) {
    sx_item_aging *aging = sx_item_aging_of(item);
    bool loads = more != NULL && more->loads;
    sx_policy policy;
    sx_policy_read(ns, &policy);
    int64_t over_ns = now_ns - aging->fresh_ns;
    strata_reason reason = STRATA_REASON_NONE;
    bool answers = now_ns < aging->l1_ns;
    bool refresh = loads && (answers || over_ns >= 0);
    if (over_ns >= 0 && over_ns < policy.stale_while_refreshing_ms * SX_NS_PER_MS) {
        answers = loads || more == NULL;
        reason = STRATA_REASON_REFRESHING;
    } else if (over_ns >= 0) {
        answers = loads && over_ns < policy.stale_if_failing_ms * SX_NS_PER_MS && now_ns < relaxed(&aging->failed_ns);
        refresh = false;
        reason = STRATA_REASON_FAILED;
    }
    if (!answers) {
        sx_epoch_unpin(session->record);
        (void)sx_session_count(session, ns, SX_SESSION_METRIC_L1_MISSES);
        return STRATA_MISS;
    }
    if (refresh && claim_refresh(aging, &policy, now_ns)) {
        sx_item_retain(item);
        more->refresh = item;
    }
    sx_item_used(item, now_ns);
    int32_t status = reason == STRATA_REASON_NONE ? STRATA_OK : STRATA_STALE;
    (void)sx_session_count(session, ns, status == STRATA_OK ? SX_SESSION_METRIC_L1_HITS : SX_SESSION_METRIC_L1_AGED);
    sx_result_pinned(out, status, item, now_ns, staleness_us);
    if (sx_item_is_packed(item) && (more == NULL || !more->bare)) status = sx_result_unpack_pinned(session, out);
    out->reason = (uint8_t)reason;
    return status;
}

sx_item *sx_aged_fallback_locked(strata_session *session, const sx_flight *flight) {
    strata *engine = flight->engine;
    sx_policy policy;
    sx_policy_read(flight->ns, &policy);
    if (!sx_policy_ages(&policy) || !sx_rollout_l1(flight->ns, flight->key, flight->key_size) || sx_namespace_is_foreign(flight->ns)) return NULL;
    sx_epoch_pin(session->record);
    sx_item *item = sx_l1_find_pinned(engine->l1, flight->hash, flight->ns->index, flight->key, flight->key_size);
    if (item != NULL && (item->flags & SX_ITEM_NOTHING) != 0) item = NULL;
    if (item != NULL) sx_item_retain(item);
    sx_epoch_unpin(session->record);
    return item;
}

/* ---- on the loop: instead of a failure ----------------------------------------------------------------------- */

/* Whether nothing can have happened to the item that this process should know of. */
static bool is_proven(const sx_flight *flight, const sx_item *item, const sx_policy *policy, int64_t now_ns) {
    strata *engine = flight->engine;
    if (!engine->l2_on) return true;
    const sx_trust_word *word = &engine->words[flight->partition];
    int64_t lease_ns;
    uint64_t generation;
    sx_namespace_trust(flight->ns, word, &lease_ns, &generation);
    if (sx_fetch_is_cleared_on_loop(flight, item)) return false;
    int64_t proven_ns = relaxed(&word->proven_ns);
    uint64_t term = sx_trust_mark_on_loop(engine->trust, flight->partition).term;
    /* relaxed: compared with the generation that was acquired */
    uint64_t stamped = atomic_load_explicit(&item->generation, memory_order_relaxed) & ~SX_ITEM_TAGGED;
    if (flight->fallback_read) {
        stamped = flight->fallback_mark.generation;
        if (flight->fallback_mark.term == 0 || (term != 0 && term != flight->fallback_mark.term)) return false;
    }
    if (stamped != generation && !SX_BROKEN(stale_generation)) return false;
    return now_ns < lease_ns || SX_BROKEN(stale_bound) ||
           (proven_ns != INT64_MIN && now_ns - proven_ns < policy->stale_if_failing_ms * SX_NS_PER_MS);
}

/* until_ns: when the proof of its markers ends; endless where it has none. */
static bool tags_hold_until(const strata *engine, const sx_item *item, int64_t now_ns, int64_t *until_ns) {
    *until_ns = INT64_MAX;
    if (sx_item_tagging_of(item) == NULL) return true;
    sx_epoch_pin(engine->loop_record);
    sx_verdict verdict = sx_marks_judge_pinned(engine, item, now_ns, until_ns);
    sx_epoch_unpin(engine->loop_record);
    return verdict == SX_VALID;
}

static bool tags_hold(const sx_flight *flight, const sx_item *item, int64_t now_ns) {
    int64_t until_ns;
    return tags_hold_until(flight->engine, item, now_ns, &until_ns);
}

/* The value that may be answered instead of a failure, with a reference; NULL where there is none. */
static sx_item *rescue(sx_flight *flight) {
    strata *engine = flight->engine;
    int64_t now_ns = sx_loop_now_ns(engine->loop);
    sx_policy policy;
    sx_policy_read(flight->ns, &policy);
    if (policy.stale_if_failing_ms == 0) return NULL;
    sx_flights_lock(engine->flights, flight->stripe);
    sx_item *item = flight->seq == flight->fallback_seq || SX_BROKEN(stale_heard) ? flight->fallback : NULL;
    if (item != NULL) sx_item_retain(item);
    sx_flights_unlock(engine->flights, flight->stripe);
    if (item == NULL) return NULL;
    int64_t end_ns = sx_time_add(sx_item_fresh_ns(item), policy.stale_if_failing_ms * SX_NS_PER_MS);
    if (now_ns < end_ns && is_proven(flight, item, &policy, now_ns) && !sx_unknown_holds_on_loop(engine, flight->hash, item) &&
        !sx_unknown_hides_on_loop(engine, flight->hash, item->ns, flight->key, flight->key_size) && tags_hold(flight, item, now_ns))
        return item;
    sx_item_release(item);
    return NULL;
}

/* No write older than this is missing, nor an invalidation of one of its tags. */
static int64_t staleness_us(const sx_flight *flight, const sx_item *item) {
    strata *engine = flight->engine;
    if (!engine->l2_on) return 0;
    int64_t now_ns = sx_loop_now_ns(engine->loop), until_ns;
    int64_t proven_ns = relaxed(&engine->words[flight->partition].proven_ns);
    if (proven_ns == INT64_MIN) return 0;
    if (tags_hold_until(engine, item, now_ns, &until_ns) && until_ns - sx_trust_max_staleness_ns(engine->trust) < proven_ns)
        proven_ns = until_ns - sx_trust_max_staleness_ns(engine->trust); /* the lease ends delta after its heartbeat was sent */
    return (now_ns - proven_ns) / SX_NS_PER_US;
}

static strata_source fallback_source(const sx_flight *flight) { return flight->fallback_read ? STRATA_FROM_L2 : STRATA_FROM_L1; }

static void tell(const sx_flight *flight, sx_op *ops, strata_reason reason, strata_source source, sx_item *item) {
    for (sx_op *next; ops != NULL; ops = next) {
        next = ops->wait_next;
        ops->wait_next = NULL;
        ops->reason = (uint8_t)reason;
        ops->staleness_us = staleness_us(flight, item);
        sx_op_complete(ops, reason == STRATA_REASON_NONE ? STRATA_OK : STRATA_STALE, source, item);
    }
}

/* Not where it comes from the tier that the op passes by. */
static bool may_be_covered(const sx_flight *flight, const sx_op *op) {
    return flight->fallback_read ? !sx_aged_is_beyond_l2(op) : (op->flags & (STRATA_BYPASS_L1 | STRATA_REFRESH)) == 0;
}

sx_op *sx_aged_rescue_on_loop(sx_flight *flight, sx_op *ops, int32_t status) {
    if (ops == NULL || status >= 0 || status == STRATA_E_CLOSED || status == STRATA_E_CANCELLED) return ops;
    sx_item *item = rescue(flight);
    if (item == NULL) return ops;
    sx_op *covered = NULL, *left = NULL, **covered_end = &covered, **left_end = &left;
    for (sx_op *next; ops != NULL; ops = next) {
        next = ops->wait_next;
        ops->wait_next = NULL;
        sx_op ***end = may_be_covered(flight, ops) ? &covered_end : &left_end;
        **end = ops;
        *end = &ops->wait_next;
    }
    if (covered != NULL) sx_count(flight->ns, SX_FLOW_METRIC_RESCUED);
    tell(flight, covered, STRATA_REASON_FAILED, fallback_source(flight), item);
    sx_item_release(item);
    return left;
}

void sx_aged_drop_fallback_on_loop(sx_flight *flight) {
    sx_flights_lock(flight->engine->flights, flight->stripe);
    sx_item *item = flight->fallback;
    flight->fallback = NULL;
    sx_flights_unlock(flight->engine->flights, flight->stripe);
    if (item != NULL) sx_item_release(item);
}

/* Whether L1 holds anything of the key that is of any use. Stripe lock held, as by who puts something there. */
static bool stands_locked(const sx_flight *flight) {
    strata *engine = flight->engine;
    sx_epoch_pin(engine->loop_record);
    const sx_item *item = sx_l1_find_pinned(engine->l1, flight->hash, flight->ns->index, flight->key, flight->key_size);
    bool stands = item != NULL && sx_loop_now_ns(engine->loop) < sx_item_gone_ns(item);
    sx_epoch_unpin(engine->loop_record);
    return stands;
}

/* That loading failed is remembered, in this process, unless something happened to the key meanwhile. It ends with its
   generation, as entries do: also with a clear; and with what its loader's tags were before it. */
static void remember_error(sx_flight *flight, const sx_policy *policy) {
    strata *engine = flight->engine;
    int64_t lease_ns;
    uint64_t generation;
    sx_namespace_trust(flight->ns, &engine->words[flight->partition], &lease_ns, &generation);
    sx_item_facts facts = {.written_ms = INT64_MIN, .generation = generation, .ns = flight->ns->index,
                           .partition = (uint16_t)flight->partition, .nothing = SX_ITEM_ERROR};
    if (flight->tags_size != 0) {
        facts.tags = flight->tags;
        facts.tags_size = flight->tags_size;
        facts.generation |= SX_ITEM_TAGGED;
    }
    sx_item *item = sx_item_create(engine->heap, flight->key, flight->key_size, "", 0, &facts);
    if (item == NULL) return;
    sx_lifetime life = sx_policy_nothing(0, policy->error_ttl_ms);
    sx_policy_age(policy, item, sx_loop_now_ns(engine->loop), life.ttl_ms, &life);
    sx_flights_lock(engine->flights, flight->stripe);
    if (flight->seq == flight->phase_seq && flight->fill && !stands_locked(flight) &&
        sx_l1_put(engine->l1, engine->loop_record, flight->hash, item, SX_L1_PUT_NEWER) == STRATA_OK)
        add(engine, SX_FLOW_METRIC_ERRORS_CACHED);
    sx_flights_unlock(engine->flights, flight->stripe);
    sx_item_release(item);
}

void sx_aged_failed_on_loop(sx_flight *flight) {
    sx_policy policy;
    sx_policy_read(flight->ns, &policy);
    int64_t after_ns = sx_time_add(sx_loop_now_ns(flight->engine->loop), sx_policy_throttle_ns(&policy));
    sx_item *items[] = {flight->fallback, flight->claimed};
    if (items[0] == NULL && items[1] == NULL && policy.error_ttl_ms != 0 && sx_rollout_l1(flight->ns, flight->key, flight->key_size))
        remember_error(flight, &policy);
    for (int i = 0; i < 2; i++) {
        sx_item_aging *aging = items[i] == NULL ? NULL : sx_item_aging_of(items[i]);
        if (aging == NULL) continue;
        atomic_store_explicit(&aging->refresh_ns, after_ns, memory_order_relaxed); /* relaxed: hints */
        atomic_store_explicit(&aging->failed_ns, after_ns, memory_order_relaxed);  /* relaxed: as above */
    }
}

static bool is_slow(const sx_flight *flight, const sx_op *op, const void *context) {
    return op->soft_ns <= *(const int64_t *)context && may_be_covered(flight, op);
}

void sx_aged_soft_timeout_on_loop(sx_flight *flight, int64_t now_ns) {
    strata *engine = flight->engine;
    bool due = false;
    sx_flights_lock(engine->flights, flight->stripe);
    for (const sx_op *op = flight->waiters; op != NULL; op = op->wait_next) due |= op->soft_ns <= now_ns;
    sx_flights_unlock(engine->flights, flight->stripe);
    if (!due) return;
    sx_item *item = rescue(flight);
    sx_op *slow = item == NULL ? NULL : sx_flight_take_on_loop(flight, is_slow, &now_ns);
    if (slow != NULL) {
        sx_count(flight->ns, SX_FLOW_METRIC_SOFT_TIMEOUTS);
        tell(flight, slow, STRATA_REASON_SLOW, fallback_source(flight), item);
    }
    sx_flights_lock(engine->flights, flight->stripe);
    for (sx_op *op = flight->waiters; op != NULL; op = op->wait_next)
        if (item == NULL || op->soft_ns <= now_ns) op->soft_ns = INT64_MAX; /* there is nothing for them */
    sx_flights_unlock(engine->flights, flight->stripe);
    if (item != NULL) sx_item_release(item);
}

/* ---- on the loop: what L2 holds is past its end -------------------------------------------------------------- */

static bool is_reader(const sx_flight *flight, const sx_op *op, const void *context) {
    (void)context;
    return op->loader == NULL && op->join_seq <= flight->phase_seq;
}

/* All with a loader, but not the one whose loader will be asked. */
static bool is_spared(const sx_flight *flight, const sx_op *op, const void *context) {
    return op != context && op->loader != NULL && op->join_seq <= flight->phase_seq && !sx_aged_is_beyond_l2(op);
}

bool sx_aged_is_beyond_l2(const sx_op *op) {
    return op->loader != NULL && (op->flags & (STRATA_REFRESH | STRATA_BYPASS_L2)) != 0;
}

/* Whether somebody waits whom nothing but a load can answer, that may be stored. */
static bool wants_anew(sx_flight *flight) {
    bool any = false;
    sx_flights_lock(flight->engine->flights, flight->stripe);
    for (const sx_op *op = flight->waiters; op != NULL && !any; op = op->wait_next)
        any = op->loader != NULL && (op->flags & STRATA_REFRESH) != 0;
    sx_flights_unlock(flight->engine->flights, flight->stripe);
    return any;
}

static const sx_op *first_loader(sx_flight *flight) {
    strata *engine = flight->engine;
    sx_flights_lock(engine->flights, flight->stripe);
    const sx_op *op = flight->waiters;
    while (op != NULL && op->loader == NULL) op = op->wait_next;
    sx_flights_unlock(engine->flights, flight->stripe);
    return op;
}

/* Of a value that L2 holds: how it may be answered now. STRATA_MISS: not at all. */
static int32_t standing(const sx_flight *flight, const sx_item *item) {
    sx_policy policy;
    sx_policy_read(flight->ns, &policy);
    int64_t over_ns = sx_loop_now_ns(flight->engine->loop) - sx_item_fresh_ns(item);
    if (over_ns < 0) return STRATA_OK;
    return over_ns < policy.stale_while_refreshing_ms * SX_NS_PER_MS ? STRATA_STALE : STRATA_MISS;
}

static void tell_standing(sx_flight *flight, sx_op *ops, int32_t status, strata_source source, sx_item *item) {
    if (status != STRATA_MISS) {
        tell(flight, ops, status == STRATA_OK ? STRATA_REASON_NONE : STRATA_REASON_REFRESHING, source, item);
        return;
    }
    for (sx_op *next; ops != NULL; ops = next) {
        next = ops->wait_next;
        ops->wait_next = NULL;
        sx_op_complete(ops, STRATA_MISS, STRATA_FROM_NONE, NULL);
    }
}

static void load_over(sx_flight *flight) {
    int32_t started = sx_load_start_on_loop(flight);
    if (started == STRATA_OK) return;
    if (started < 0) sx_flight_fail_on_loop(flight, started);
    else sx_load_abandon_on_loop(flight);
}

void sx_aged_read_on_loop(sx_flight *flight, sx_item *item) {
    strata *engine = flight->engine;
    sx_count(flight->ns, SX_FLOW_METRIC_L2_AGED);
    uint64_t seq = sx_fetch_insert_on_loop(flight, item);
    sx_trust_mark mark = flight->mark;
    mark.generation += sx_namespace_clears(flight->ns);
    if (!sx_trust_may_fill_on_loop(engine->trust, flight->partition, &flight->mark, flight->identity)) mark.term = 0;
    sx_flights_lock(engine->flights, flight->stripe);
    sx_item_retain(item);
    sx_item *before = flight->fallback;
    flight->fallback = item; /* of no use where seq is 0: nothing has that */
    flight->fallback_seq = seq;
    flight->fallback_read = true;
    flight->fallback_mark = mark;
    sx_flights_unlock(engine->flights, flight->stripe);
    if (before != NULL) sx_item_release(before);
    int32_t status = standing(flight, item);
    tell_standing(flight, sx_flight_take_on_loop(flight, is_reader, NULL), status, STRATA_FROM_L2, item);
    const sx_op *asker = first_loader(flight);
    if (asker != NULL && status == STRATA_STALE)
        tell(flight, sx_flight_take_on_loop(flight, is_spared, asker), STRATA_REASON_REFRESHING, STRATA_FROM_L2, item);
    if (asker != NULL && flight->no_lease) {
        sx_item_release(item);
        load_over(flight);
    } else if (asker != NULL && seq != 0) {
        flight->old = item; /* with its reference: to be claimed */
        sx_fetch_begin_on_loop(flight);
    } else {
        sx_item_release(item);
        sx_flight_round_over_on_loop(flight);
    }
}

bool sx_aged_renew_on_loop(sx_flight *flight, sx_item *item) {
    if (!wants_anew(flight)) return false;
    if (flight->no_lease) {
        sx_item_release(item);
        load_over(flight);
    } else {
        flight->old = item; /* to be claimed */
        sx_fetch_begin_on_loop(flight);
    }
    return true;
}

/* ---- on the loop: the right to refresh ----------------------------------------------------------------------- */

/* The version to be refreshed stands in L2: what it is worth now. Its tags and its namespace's floor as they are known by
   now, and what happened to the key since the claim was sent: as for a header that is read. STRATA_MISS: nothing. */
static int32_t judge_claimed(sx_flight *flight, sx_item *item, strata_source *source) {
    strata *engine = flight->engine;
    *source = STRATA_FROM_NONE;
    if (sx_fetch_is_cleared_on_loop(flight, item) || !tags_hold(flight, item, sx_loop_now_ns(engine->loop))) return STRATA_MISS;
    *source = sx_fetch_proven_on_loop(flight, item);
    return *source == STRATA_FROM_NONE ? STRATA_EXISTS : standing(flight, item);
}

/* It is ours to refresh: who does not load has his answer now, and where there is none yet, from the load. */
static void claimed(sx_flight *flight, sx_item *item) {
    strata_source source;
    int32_t stands = judge_claimed(flight, item, &source);
    sx_count(flight->ns, SX_FLOW_METRIC_REFRESHES);
    if (stands != STRATA_EXISTS)
        tell_standing(flight, sx_flight_take_on_loop(flight, is_reader, NULL), stands, source, item);
    load_over(flight);
}

/* Another process refreshes it. Who may have a value past its end need not wait for that; who may not loads for himself. */
static void left_to_others(sx_flight *flight, sx_item *item) {
    strata_source source;
    int32_t stands = judge_claimed(flight, item, &source);
    if (stands == STRATA_EXISTS) {
        sx_item_release(item);
        sx_fetch_begin_on_loop(flight);
        return;
    }
    tell_standing(flight, sx_flight_take_on_loop(flight, is_reader, NULL), stands, source, item);
    if (stands != STRATA_MISS)
        tell(flight, sx_flight_take_on_loop(flight, is_spared, NULL),
             stands == STRATA_OK ? STRATA_REASON_NONE : STRATA_REASON_REFRESHING, source, item);
    sx_item_release(item);
    if (stands != STRATA_MISS && !wants_anew(flight)) {
        sx_flight_round_over_on_loop(flight);
    } else {
        flight->no_lease = true; /* what it brings is not stored */
        load_over(flight);
    }
}

static void claim_done(sx_store_op *op, int32_t status, const sx_resp *reply) {
    sx_flight *flight = SX_CONTAINER(op, sx_flight, store_op);
    bool ours = status == STRATA_OK && reply->type == SX_RESP_INTEGER && reply->integer == 1;
    bool others = status == STRATA_OK && reply->type == SX_RESP_INTEGER && !ours;
    sx_item *item = flight->old;
    flight->old = NULL;
    flight->leased = ours;
    flight->claimed = ours ? item : NULL;
    flight->lease_node = op->request.node;
    flight->identity = op->request.identity;
    if (!sx_fetch_back_on_loop(flight)) {
        if (!ours) sx_item_release(item);
        return;
    }
    if (ours) {
        claimed(flight, item);
        return;
    }
    if (others) {
        sx_item_aging *aging = sx_item_aging_of(item);
        sx_count(flight->ns, SX_FLOW_METRIC_REFRESHES_ELSEWHERE);
        if (aging != NULL) /* relaxed: a hint */
            atomic_store_explicit(&aging->refresh_ns, sx_loop_now_ns(flight->engine->loop) + ELSEWHERE_NS, memory_order_relaxed);
        left_to_others(flight, item);
        return;
    }
    sx_item_release(item);
    if (status == STRATA_OK) {
        sx_fetch_stored_on_loop(flight, reply);
    } else if (status == STRATA_E_L2_FULL) {
        flight->no_lease = true; /* but it may be read */
        sx_fetch_begin_on_loop(flight);
    } else {
        sx_fetch_missed_on_loop(flight, status);
    }
}

void sx_aged_claim_on_loop(sx_flight *flight) {
    strata *engine = flight->engine;
    sx_command *command = &flight->store_op.request.command;
    sx_publish_key key = sx_flight_publish_key(flight);
    if (sx_item_tagging_of(flight->old) != NULL) {
        sx_flights_lock(engine->flights, flight->stripe);
        sx_flight_tagged_locked(flight);
        sx_flights_unlock(engine->flights, flight->stripe);
    }
    flight->token = sx_key_random_next(&engine->random);
    sx_command_clear(command);
    sx_publish_encode_claim(&engine->publish, &key, flight->old->n, flight->old->id, flight->token, engine->lease_ms, command);
    sx_fetch_submit_on_loop(flight, &engine->scripts.claim, flight->send_deadline_ns, claim_done);
}

void sx_aged_forget_on_loop(sx_flight *flight) {
    sx_item *items[] = {flight->old, flight->claimed};
    for (int i = 0; i < 2; i++) {
        if (items[i] != NULL) sx_item_release(items[i]);
    }
    flight->old = flight->claimed = NULL;
}
