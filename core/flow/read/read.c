/* SPDX-License-Identifier: Apache-2.0 */
/* Reads: the L1 hit that takes no lock, and how a miss joins or starts its key's flight. */
#include <string.h>

#include "core/flow/engine.h"
#include "core/flow/foreign.h"
#include "core/observe/probe.h"

#define L1_TIMED 1024 /* gets, of which one is measured */
#define TRACED INT32_MAX /* the call is as it should be, and has a span */

static void count(strata_session *session, const strata_namespace *ns, uint32_t metric) { (void)sx_session_count(session, ns, metric); }

/* What any read is refused for. Its options are looked at apart from that, so that a hit without any calls nothing for them. */
static inline int32_t check(const strata_session *session, const strata_namespace *ns, strata_bytes key) {
    if (session == NULL || ns == NULL) return STRATA_E_INVALID;
    int32_t status = sx_engine_alive(session->engine);
    if (status != STRATA_OK) return status;
    if (key.data == NULL || key.size == 0 || key.size > STRATA_KEY_BYTES_MAX) return STRATA_E_KEY_SIZE;
    if (ns->engine != session->engine) return STRATA_E_INVALID;
    if (SX_LIKELY(session->unusual == 0)) return STRATA_OK;
    return sx_session_is_closing(session) ? STRATA_E_CLOSED : TRACED; /* closed: from a callback inside its close */
}

static int32_t check_options(const strata_namespace *ns, const strata_op_options *options) {
    int32_t status = sx_options_check(options);
    if (status == STRATA_OK && !sx_foreign_allows(ns, options)) return STRATA_E_FOREIGN;
    return status == STRATA_OK && !sx_policy_allows(ns, options->ttl_ms) ? STRATA_E_TTL : status;
}

int32_t sx_read_check(const strata_session *session, const strata_namespace *ns, strata_bytes key,
                      const strata_op_options *options) {
    int32_t status = check(session, ns, key);
    if (status == TRACED) status = STRATA_OK;
    return status != STRATA_OK || options == NULL ? status : check_options(ns, options);
}

/* The policy for unproven entries of a namespace, and how long they may be served as stale. */
static int64_t policy_of(const strata_namespace *ns, int64_t *stale_max_ns) {
    const sx_hot *hot = &ns->engine->hot;
    int64_t own = sx_hot_read(&ns->untrusted);
    *stale_max_ns = (own >> 2) * SX_NS_PER_MS;
    if ((own & 3) != STRATA_UNTRUSTED_DEFAULT) return (own & 3) - 1;
    *stale_max_ns = sx_hot_read(&hot->serve_stale_max_ns);
    return sx_hot_read(&hot->untrusted);
}
_Static_assert(STRATA_UNTRUSTED_REVALIDATE - 1 == SX_UNTRUSTED_REVALIDATE && STRATA_UNTRUSTED_BYPASS - 1 == SX_UNTRUSTED_BYPASS &&
                   STRATA_UNTRUSTED_SERVE_STALE - 1 == SX_UNTRUSTED_SERVE_STALE,
               "policies as the option counts them, after the default");

/* Up to when nothing that happened to it, or to one of its tags, is missing; it was found to be of this generation. */
static int64_t proven_of(const strata *engine, const sx_trust_word *word, const sx_item *item, int64_t now_ns) {
    /* relaxed: a bound that is shown and compared */
    int64_t proven_ns = atomic_load_explicit(&word->proven_ns, memory_order_relaxed), until_ns = INT64_MAX;
    if (sx_item_tagging_of(item) == NULL) return proven_ns;
    if (sx_marks_check_pinned(engine, item, now_ns, &until_ns) != SX_VALID) return INT64_MIN; /* since a moment */
    until_ns -= sx_trust_max_staleness_ns(engine->trust); /* the lease ends delta after its heartbeat was sent */
    return until_ns < proven_ns ? until_ns : proven_ns;
}

/* An item that can't be proven fresh now: served as stale where the policy says so, else left for revalidation. */
static int32_t peek_unproven(strata_session *session, const strata_namespace *ns, const sx_trust_word *word, bool trusted, bool same_generation,
                             sx_item *item, int64_t now_ns, strata_result *out, sx_read_more *more) {
    int64_t stale_max_ns, policy = policy_of(ns, &stale_max_ns);
    count(session, ns, SX_SESSION_METRIC_L1_UNPROVEN);
    int64_t proven_ns = same_generation ? proven_of(session->engine, word, item, now_ns) : INT64_MIN;
    if (!trusted && same_generation && policy == SX_UNTRUSTED_SERVE_STALE && proven_ns != INT64_MIN &&
        now_ns - proven_ns <= stale_max_ns && now_ns < sx_item_fresh_ns(item)) {
        count(session, ns, SX_SESSION_METRIC_L1_STALE);
        sx_result_pinned(out, STRATA_STALE, item, now_ns, (now_ns - proven_ns) / SX_NS_PER_US);
        int32_t status = sx_item_is_packed(item) && (more == NULL || !more->bare) ? sx_result_unpack_pinned(session, out) : STRATA_STALE;
        out->reason = STRATA_REASON_UNPROVEN;
        return status;
    }
    if (more != NULL && item->n != 0 && now_ns < sx_item_l1_ns(item) && (trusted || policy != SX_UNTRUSTED_BYPASS)) {
        sx_item_retain(item);
        more->candidate = item;
    }
    sx_epoch_unpin(session->record);
    return STRATA_MISS;
}

/* Whether the entry, and its tags, were proven in this generation; tags may end that sooner. */
static inline bool is_same(const strata *engine, sx_item *item, int64_t now_ns, uint64_t generation, int64_t *lease_ns) {
    /* relaxed: compared with the generation that was acquired; restamping publishes nothing else */
    uint64_t stamped = atomic_load_explicit(&item->generation, memory_order_relaxed); /* relaxed: as above */
    bool same = stamped == generation || SX_BROKEN(unproven);
    if (SX_UNLIKELY(!same) && stamped == (generation | SX_ITEM_TAGGED)) {
        int64_t until_ns = *lease_ns;
        same = sx_marks_check_pinned(engine, item, now_ns, &until_ns) == SX_VALID;
        *lease_ns = until_ns;
    }
    return same;
}

static inline bool is_trusted(int64_t now_ns, int64_t lease_ns) {
    return now_ns < lease_ns || (SX_BROKEN(lease_over) && lease_ns != INT64_MIN);
}

/* No write older than this is missing from what L1 answers. */
static inline int64_t staleness_of(const strata *engine, int64_t now_ns, int64_t lease_ns) {
    if (!engine->l2_on) return 0;
    /* the lease ends delta after its heartbeat was sent */
    return (now_ns - (lease_ns - sx_trust_max_staleness_ns(engine->trust))) / SX_NS_PER_US;
}

static int32_t missed(strata_session *session, const strata_namespace *ns, uint32_t metric) {
    sx_epoch_unpin(session->record);
    count(session, ns, metric);
    return STRATA_MISS;
}

/* Trust is not asked for: L2 may be what fails. So tags end it where they are known to be others than before its loader ran;
   one that could not be asked for then does so once it is known. */
static bool error_stands(const strata *engine, const sx_item *item, int64_t now_ns, uint64_t generation) {
    /* relaxed: compared with the generation that was acquired */
    uint64_t stamped = atomic_load_explicit(&item->generation, memory_order_relaxed);
    if (sx_item_tagging_of(item) == NULL) return stamped == generation;
    int64_t until_ns = INT64_MAX;
    return stamped == (generation | SX_ITEM_TAGGED) && sx_marks_judge_pinned(engine, item, now_ns, &until_ns) != SX_OUTDATED;
}

/* Nothing, or an entry past the least of its times. Apart, so that hits carry none of it. */
static __attribute__((noinline)) int32_t peek_aged(strata_session *session, const strata_namespace *ns, const sx_trust_word *word, int64_t lease_ns,
                                 uint64_t generation, sx_item *item, strata_result *out, sx_read_more *more) {
    const strata *engine = session->engine;
    int64_t now_ns = sx_engine_now(engine);
    bool nothing = item != NULL && (item->flags & SX_ITEM_NOTHING) != 0;
    if (item == NULL || now_ns >= sx_item_gone_ns(item)) return missed(session, ns, SX_SESSION_METRIC_L1_MISSES);
    if (nothing && (item->flags & SX_ITEM_ERROR) != 0) {
        bool loads = more != NULL && more->loads && error_stands(engine, item, now_ns, generation);
        (void)missed(session, ns, loads ? SX_SESSION_METRIC_L1_ERRORS : SX_SESSION_METRIC_L1_MISSES);
        return loads ? STRATA_E_LOAD_FAILED : STRATA_MISS;
    }
    bool same = is_same(engine, item, now_ns, generation, &lease_ns), trusted = is_trusted(now_ns, lease_ns);
    if (nothing) {
        if (more != NULL) more->absent = (trusted && same) || SX_BROKEN(absent_proof);
        return missed(session, ns, trusted && same ? SX_SESSION_METRIC_L1_ABSENT : SX_SESSION_METRIC_L1_MISSES);
    }
    if ((!trusted || !same) && !SX_BROKEN(aged_proof))
        return peek_unproven(session, ns, word, trusted, same, item, now_ns, out, more);
    return sx_aged_answer_pinned(session, ns, item, now_ns, staleness_of(engine, now_ns, lease_ns), out, more);
}

int32_t sx_read_peek(strata_session *session, uint64_t hash, uint32_t partition, const strata_namespace *ns,
                     strata_bytes key, strata_result *out, sx_read_more *more) {
    strata *engine = session->engine;
    int64_t lease_ns;
    uint64_t generation;
    const sx_trust_word *word = &engine->words[partition];
    /* The words before the entry: a lease that is seen covers every removal it stands for. */
    sx_namespace_trust(ns, word, &lease_ns, &generation);
    sx_epoch_pin(session->record);
    sx_item *item = sx_l1_find_pinned(engine->l1, hash, ns->index, key.data, key.size);
    int64_t now_ns = item == NULL ? 0 : sx_engine_now(engine);
    if (item == NULL || now_ns >= sx_item_expires_ns(item)) {
        int32_t status = peek_aged(session, ns, word, lease_ns, generation, item, out, more);
        if (status == STRATA_MISS) SX_PROBE2(miss, &ns->name[0], hash);
        return status;
    }
    bool same = is_same(engine, item, now_ns, generation, &lease_ns), trusted = is_trusted(now_ns, lease_ns);
    if (SX_UNLIKELY(!trusted || !same))
        return peek_unproven(session, ns, word, trusted, same, item, now_ns, out, more);
    count(session, ns, SX_SESSION_METRIC_L1_HITS);
    SX_PROBE2(hit, &ns->name[0], hash);
    sx_result_pinned(out, STRATA_OK, item, now_ns, staleness_of(engine, now_ns, lease_ns));
    return SX_UNLIKELY(sx_item_is_packed(item)) && (more == NULL || !more->bare) ? sx_result_unpack_pinned(session, out) : STRATA_OK;
}

/* Whether one more may wait for what others wait for. */
static bool may_join_locked(const sx_flight *flight) {
    sx_policy policy;
    sx_policy_read(flight->ns, &policy);
    if (policy.waiters_max == 0 || flight->waiter_count < policy.waiters_max) return true;
    sx_count(flight->ns, SX_FLOW_METRIC_WAITERS_REFUSED);
    return false;
}

/* What L1 may answer instead, by the same proof as a hit, and up to the same end as where a load fails. */
static bool covers(const strata *engine, sx_item *item, int64_t now_ns, int64_t stale_ms, uint64_t generation, int64_t *lease_ns) {
    return item != NULL && (item->flags & SX_ITEM_NOTHING) == 0 && now_ns < sx_time_add(sx_item_fresh_ns(item), stale_ms * SX_NS_PER_MS) &&
           is_same(engine, item, now_ns, generation, lease_ns) && is_trusted(now_ns, *lease_ns);
}

int32_t sx_read_crowded(strata_session *session, const strata_namespace *ns, strata_bytes key, uint64_t hash, uint32_t partition,
                        uint32_t flags, strata_result *out) {
    strata *engine = session->engine;
    int64_t lease_ns;
    uint64_t generation;
    sx_policy policy;
    sx_policy_read(ns, &policy);
    if (policy.stale_if_failing_ms == 0 || (flags & (STRATA_BYPASS_L1 | STRATA_REFRESH)) != 0 || !sx_rollout_l1(ns, key.data, key.size))
        return STRATA_E_OVERLOADED;
    sx_namespace_trust(ns, &engine->words[partition], &lease_ns, &generation); /* before the entry, as for a hit */
    sx_epoch_pin(session->record);
    sx_item *item = sx_l1_find_pinned(engine->l1, hash, ns->index, key.data, key.size);
    int64_t now_ns = sx_engine_now(engine);
    if (!covers(engine, item, now_ns, policy.stale_if_failing_ms, generation, &lease_ns)) {
        sx_epoch_unpin(session->record);
        return STRATA_E_OVERLOADED;
    }
    bool fresh = now_ns < sx_item_expires_ns(item); /* it has just come */
    int32_t status = fresh ? STRATA_OK : STRATA_STALE;
    count(session, ns, fresh ? SX_SESSION_METRIC_L1_HITS : SX_SESSION_METRIC_L1_AGED);
    if (!fresh) sx_count(ns, SX_FLOW_METRIC_CROWDED);
    sx_result_pinned(out, status, item, now_ns, staleness_of(engine, now_ns, lease_ns));
    if (sx_item_is_packed(item)) status = sx_result_unpack_pinned(session, out);
    out->reason = fresh ? STRATA_REASON_NONE : STRATA_REASON_CROWDED;
    return status;
}

int32_t sx_read_slow(strata_session *session, strata_namespace *ns, strata_bytes key, uint64_t hash,
                     uint32_t partition, sx_op *op, const sx_read_more *more) {
    strata *engine = session->engine;
    sx_item *given = more->candidate != NULL ? more->candidate : more->refresh;
    const sx_gather *own = op->gather;
    bool fresh = false, post = false, joined = false;
    int32_t refused = STRATA_E_NOMEM;
    uint32_t stripe = sx_flight_stripe(hash);
    op->ns = ns;
    op->hash = hash;
    op->stripe = stripe;
    sx_flights_lock(engine->flights, stripe);
    sx_flight *flight = sx_flight_find_locked(engine->flights, hash, ns->index, key.data, key.size);
    if (flight == NULL) {
        flight = sx_flight_create_locked(engine, ns, hash, partition, key.data, key.size);
        fresh = flight != NULL;
    } else if (!op->refresh && !may_join_locked(flight)) {
        flight = NULL;
        refused = STRATA_E_OVERLOADED;
    } else if (!op->refresh) {
        sx_count(ns, SX_FLOW_METRIC_JOINS);
        if ((op->flags & STRATA_REFRESH) != 0) sx_flight_renew_locked(flight);
    } else {
        flight->cancelled = false; /* nobody waits, but it is counted on */
    }
    if (flight != NULL && (fresh || !op->refresh)) { /* what is under way is as good as a refresh */
        joined = true;
        sx_flight_join_locked(flight, op);
        if (!fresh && op->undecided) sx_gather_decided(op); /* it is somebody else's to fetch */
        if (!fresh && sx_flight_idles_locked(flight)) post = sx_flight_want_post_locked(flight);
        if (fresh) {
            flight->span = sx_span_retain(op->span);
            flight->candidate = more->candidate;
            flight->old = engine->l2_on && op->refresh ? given : NULL;
            if (engine->l2_on || !op->refresh) given = NULL;
            flight->fallback = sx_aged_fallback_locked(session, flight);
            flight->fallback_seq = flight->seq;
            if (!engine->l2_on) flight->state = SX_FLIGHT_LOADING; /* nobody to ask first */
        }
        sx_pending_begin(engine, sx_read_cost(op->tags_size) + sx_span_cost(op->span));
        if (op->refresh && engine->executor.execute == NULL) /* [order: close-idle] */
            atomic_fetch_add_explicit(&engine->idle, 1, memory_order_relaxed); /* relaxed: nothing begins once close reads it */
        int64_t due_ns = op->soft_ns < op->deadline_ns ? op->soft_ns : op->deadline_ns;
        if (due_ns < flight->earliest_ns) {
            flight->earliest_ns = due_ns;
            post |= sx_flight_want_post_locked(flight);
        }
    }
    sx_flights_unlock(engine->flights, stripe);
    if (given != NULL) sx_item_release(given);
    if (!joined) return refused;
    if (post) sx_loop_post(engine->loop, &flight->task);
    /* A flight that loads, but has no load yet, can't end. */
    if (fresh && !engine->l2_on) sx_load_start_on_caller(flight, session, own);
    return STRATA_PENDING;
}

/* ---- public ------------------------------------------------------------------------------------------------- */

void sx_read_note(strata_session *session, const strata_namespace *ns, strata_bytes key, uint64_t hash, int32_t status) {
    if (sx_is_watched(ns)) sx_events_read(session, ns, hash, status);
    if (session->engine->tenants != NULL) sx_tenants_read(session, key, status == STRATA_OK || status == STRATA_STALE);
}

/* L1's answer where keys are without it, where somebody watches, or analyses, and where it is timed. Apart, so that other hits carry none of it. */
static __attribute__((noinline)) int32_t peek_special(strata_session *session, uint64_t hash, uint32_t partition, strata_namespace *ns,
                                                      strata_bytes key, strata_result *out, sx_read_more *more, bool timed) {
    if (!sx_rollout_l1(ns, key.data, key.size)) return STRATA_MISS;
    int64_t start_ns = timed ? sx_engine_now(session->engine) : 0;
    int32_t status = sx_read_peek(session, hash, partition, ns, key, out, more);
    if (timed && (status == STRATA_OK || status == STRATA_STALE))
        sx_histogram_add_shared(&ns->stats->latency[STRATA_LATENCY_L1], sx_engine_now(session->engine) - start_ns);
    sx_read_note(session, ns, key, hash, status);
    if (sx_is_analysed(ns)) sx_analysis_note_read(session, ns, key, hash, out, status, false);
    return status;
}

/* A call's span, told once it is answered, here or by the op that it makes. Meanwhile the session is as others are. */
static void span_begin(strata_session *session, const strata_namespace *ns, strata_bytes key, const char *name) {
    uint64_t hash = sx_l1_hash(&session->engine->secret, ns->index, key.data, key.size);
    session->span = sx_trace_call(session, &(sx_span_about){name, ns, hash, key});
    session->unusual &= (uint8_t)~SX_SESSION_TRACED;
}
static void span_end(strata_session *session, int32_t status, const strata_result *out) {
    sx_span *span = session->span;
    session->span = NULL;
    session->unusual |= SX_SESSION_TRACED;
    bool answered = status == STRATA_OK || status == STRATA_STALE;
    sx_span_end(span, status, answered ? (strata_source)out->source : STRATA_FROM_NONE);
}

static __attribute__((noinline)) int32_t peek_traced(strata_session *session, strata_namespace *ns, strata_bytes key, strata_result *out) {
    span_begin(session, ns, key, "strata.peek");
    int32_t status = strata_peek(session, ns, key, out);
    span_end(session, status, out);
    return status;
}

int32_t strata_peek(strata_session *session, strata_namespace *ns, strata_bytes key, strata_result *out) {
    int32_t status = check(session, ns, key);
    if (SX_UNLIKELY(status != STRATA_OK)) return status == TRACED ? peek_traced(session, ns, key, out) : status;
    if (out == NULL) return STRATA_E_INVALID;
    strata *engine = session->engine;
    uint32_t partition = sx_namespace_partition(ns, key.data, key.size);
    uint64_t hash = sx_l1_hash(&engine->secret, ns->index, key.data, key.size);
    if (SX_UNLIKELY(!sx_namespace_is_plain(ns))) return peek_special(session, hash, partition, ns, key, out, NULL, false);
    return sx_read_peek(session, hash, partition, ns, key, out, NULL);
}

typedef struct read_call {
    sx_op_kind kind;
    const strata_op_options *options;
    strata_loader_fn loader;
    void *loader_user;
    strata_done_fn done;
    void *user;
    bool sync;
} read_call;

void sx_read_give_loader(sx_op *op, const strata_namespace *ns, strata_loader_fn loader, void *user) {
    op->loader = loader;
    op->loader_user = user;
    sx_policy policy;
    sx_policy_read(ns, &policy);
    if (policy.soft_timeout_ms != 0)
        op->soft_ns = sx_time_add(sx_engine_now(ns->engine), policy.soft_timeout_ms * SX_NS_PER_MS);
}

/* Refreshes in the background what was answered. Where there is no room for that, it is tried again once the throttle
   allows it. */
void sx_read_refresh(strata_session *session, strata_namespace *ns, strata_bytes key, uint64_t hash, uint32_t partition,
                     const strata_op_options *options, strata_loader_fn loader, void *user, sx_gather *gather,
                     const sx_read_more *more) {
    strata *engine = session->engine;
    sx_op *op = NULL;
    bool stored = !engine->l2_on || sx_rollout_l2(ns, key.data, key.size); /* else nobody would have anything of it */
    if (stored && sx_session_may_refresh(session) && sx_pending_fits(engine, SX_OP_COST))
        op = sx_session_op(session, SX_OP_LOAD, options, NULL, NULL);
    if (op == NULL) {
        sx_item_release(more->refresh);
        return;
    }
    sx_read_give_loader(op, ns, loader, user);
    if (gather != NULL) sx_gather_retain(gather);
    op->gather = gather;
    op->span = sx_span_begin(session->span != NULL ? session->span : session->trace, &(sx_span_about){"strata.refresh", ns, hash, key});
    op->soft_ns = INT64_MAX; /* nobody waits */
    op->flags = 0;
    op->cancel_id = 0; /* its caller has the answer */
    op->refresh = true;
    op->deadline_ns = sx_time_add(sx_engine_now(engine), sx_load_timeout_ns(ns) + sx_hot_read(&engine->hot.l2_timeout_ns));
    if (sx_read_slow(session, ns, key, hash, partition, op, more) != STRATA_PENDING) sx_session_op_free(op); /* it is told of nowhere */
}

bool sx_read_asks_l2(const strata_namespace *ns, strata_bytes key, uint32_t flags) {
    return ns->engine->l2_on && (flags & STRATA_BYPASS_L2) == 0 && sx_rollout_l2(ns, key.data, key.size);
}

int32_t sx_read_refused(sx_op *op, strata_bytes key, uint32_t partition, int32_t status, strata_result *out) {
    if (status == STRATA_E_OVERLOADED) status = sx_read_crowded(op->session, op->ns, key, op->hash, partition, op->flags, out);
    sx_span_end(op->span, status, status >= 0 ? STRATA_FROM_L1 : STRATA_FROM_NONE);
    op->span = NULL;
    sx_session_op_free(op);
    return status;
}

static void drop_candidate(sx_read_more *more) {
    if (more->candidate != NULL) sx_item_release(more->candidate);
    more->candidate = NULL;
}

static int32_t read_traced(strata_session *session, strata_namespace *ns, strata_bytes key, const read_call *call,
                           strata_result *out, sx_op **under_way);
static int32_t read_apart(strata_session *session, strata_namespace *ns, strata_bytes key, const read_call *call,
                          strata_result *out, sx_op **under_way);

static bool has_own_trace(const strata_op_options *options) {
    return options != NULL && options->struct_size >= sizeof *options && options->traceparent.size != 0;
}

/* Answers at once, or hands over an op that is under way. */
static int32_t read_key(strata_session *session, strata_namespace *ns, strata_bytes key, const read_call *call,
                        strata_result *out, sx_op **under_way) {
    strata_op_options whole;
    const strata_op_options *options = NULL;
    uint32_t flags = 0;
    int32_t status = check(session, ns, key);
    if (status == STRATA_OK && SX_UNLIKELY(call->options != NULL)) {
        options = sx_struct_whole(call->options, &whole, sizeof whole);
        status = check_options(ns, options);
        if (status == STRATA_OK) flags = options->flags;
        if (status == STRATA_OK && SX_UNLIKELY(has_own_trace(options))) return read_apart(session, ns, key, call, out, under_way);
    }
    if (SX_UNLIKELY(status != STRATA_OK)) return status == TRACED ? read_traced(session, ns, key, call, out, under_way) : status;
    strata *engine = session->engine;
    int64_t gets = sx_session_count(session, ns, SX_SESSION_METRIC_GETS);
    uint32_t partition = sx_namespace_partition(ns, key.data, key.size);
    uint64_t hash = sx_l1_hash(&engine->secret, ns->index, key.data, key.size);
    sx_read_more more = {.loads = call->kind == SX_OP_LOAD};
    if ((flags & (STRATA_BYPASS_L1 | STRATA_REFRESH)) == 0) {
        bool timed = gets % L1_TIMED == 0;
        if (SX_UNLIKELY(timed || !sx_namespace_is_plain(ns)))
            status = peek_special(session, hash, partition, ns, key, out, &more, timed);
        else status = sx_read_peek(session, hash, partition, ns, key, out, &more);
        if (more.refresh != NULL)
            sx_read_refresh(session, ns, key, hash, partition, options, call->loader, call->loader_user, NULL, &more);
        if (status != STRATA_MISS || more.absent) return status;
    }
    bool asks = sx_read_asks_l2(ns, key, flags);
    if (!asks) drop_candidate(&more); /* it is not revalidated */
    if (!asks && call->kind == SX_OP_GET) return STRATA_MISS;
    sx_op *op = NULL;
    if (!sx_pending_fits(engine, SX_OP_COST)) status = STRATA_E_OVERLOADED;
    else if ((op = sx_session_op(session, call->kind, options, call->done, call->user)) == NULL)
        status = STRATA_E_NOMEM;
    if (op == NULL) {
        drop_candidate(&more);
        return status == STRATA_E_OVERLOADED ? sx_read_crowded(session, ns, key, hash, partition, flags, out) : status;
    }
    op->sync = call->sync;
    op->span = session->span != NULL ? session->span : sx_span_retain(session->trace);
    session->span = NULL;
    if (call->loader != NULL) sx_read_give_loader(op, ns, call->loader, call->loader_user);
    status = sx_read_slow(session, ns, key, hash, partition, op, &more);
    if (status == STRATA_PENDING) *under_way = op;
    else status = sx_read_refused(op, key, partition, status, out);
    return status;
}

static __attribute__((noinline)) int32_t read_traced(strata_session *session, strata_namespace *ns, strata_bytes key, const read_call *call,
                                                     strata_result *out, sx_op **under_way) {
    if (has_own_trace(call->options)) return read_apart(session, ns, key, call, out, under_way);
    span_begin(session, ns, key, call->kind == SX_OP_LOAD ? "strata.get_or_load" : "strata.get");
    int32_t status = read_key(session, ns, key, call, out, under_way);
    span_end(session, status, out);
    return status;
}

/* In the trace that its options name, instead of the session's. */
static __attribute__((noinline)) int32_t read_apart(strata_session *session, strata_namespace *ns, strata_bytes key, const read_call *call,
                                                    strata_result *out, sx_op **under_way) {
    int32_t status = check_options(ns, call->options);
    if (status != STRATA_OK) return status;
    sx_trace_scope scope;
    strata_op_options rest = *call->options;
    read_call within = *call;
    rest.struct_size = sizeof rest; /* what a newer header has besides is zero */
    rest.traceparent = rest.tracestate = (strata_bytes){NULL, 0};
    within.options = &rest;
    sx_trace_enter(session, call->options, &scope);
    status = read_key(session, ns, key, &within, out, under_way);
    sx_trace_leave(session, &scope);
    return status;
}

static int32_t read_wait(strata_session *session, strata_namespace *ns, strata_bytes key, const read_call *call,
                         strata_result *out) {
    if (out == NULL) return STRATA_E_INVALID;
    sx_op *op = NULL;
    int32_t status = read_key(session, ns, key, call, out, &op);
    if (status != STRATA_PENDING) return status;
    sx_session_await(session, &op->arrived);
    status = op->status;
    if (status == STRATA_OK || status == STRATA_STALE) status = sx_result_from_op(session->engine, out, op);
    sx_session_op_free(op);
    return status;
}

int32_t strata_get(strata_session *session, strata_namespace *ns, strata_bytes key, const strata_op_options *options,
                   strata_result *out, strata_done_fn done, void *user) {
    if (out == NULL || done == NULL) return STRATA_E_INVALID;
    sx_op *op;
    read_call call = {SX_OP_GET, options, NULL, NULL, done, user, false};
    return read_key(session, ns, key, &call, out, &op);
}

int32_t strata_get_wait(strata_session *session, strata_namespace *ns, strata_bytes key,
                        const strata_op_options *options, strata_result *out) {
    read_call call = {SX_OP_GET, options, NULL, NULL, NULL, NULL, true};
    return read_wait(session, ns, key, &call, out);
}

int32_t strata_get_or_load(strata_session *session, strata_namespace *ns, strata_bytes key,
                           const strata_op_options *options, strata_loader_fn loader, void *loader_user,
                           strata_result *out, strata_done_fn done, void *user) {
    if (out == NULL || done == NULL || loader == NULL) return STRATA_E_INVALID;
    sx_op *op;
    read_call call = {SX_OP_LOAD, options, loader, loader_user, done, user, false};
    return read_key(session, ns, key, &call, out, &op);
}

int32_t strata_get_or_load_wait(strata_session *session, strata_namespace *ns, strata_bytes key,
                                const strata_op_options *options, strata_loader_fn loader, void *loader_user,
                                strata_result *out) {
    if (loader == NULL) return STRATA_E_INVALID;
    read_call call = {SX_OP_LOAD, options, loader, loader_user, NULL, NULL, true};
    return read_wait(session, ns, key, &call, out);
}
