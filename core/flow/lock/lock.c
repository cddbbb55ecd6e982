/* SPDX-License-Identifier: Apache-2.0 */
/* Locks of the program: each acquisition has an identity of its own, by which one script grants, renews and releases it, so that a
   request which is sent twice does nothing twice. Whoever waits asks again; nothing is published. */
#include <sched.h>
#include <string.h>

#include "core/flow/lock/lock.h"

#define TTL_MS_MIN 10
#define TTL_MS_MAX (INT64_C(24) * 3600 * 1000)
#define KEEP_MS    TTL_MS_MAX            /* that the last token is remembered after a lock's end */
#define AGAIN_NS   (5 * SX_NS_PER_MS)    /* between two questions of who waits, at least, and up to ten times that */
#define RETRY_MIN_NS (10 * SX_NS_PER_MS) /* after a renewal that failed */
#define LOCK_FLAGS (STRATA_LOCK_TRY | STRATA_LOCK_RENEW)

struct strata_lock {
    /* const after the call that made it */
    strata *engine;
    strata_namespace *ns;
    uint32_t partition, flags, deadline_ms;
    int64_t ttl_ms;
    strata_lost_fn lost;
    void *lost_user;
    _Atomic uint64_t token;   /* atomic: relaxed; a number that stands for itself */
    _Atomic int64_t until_ns; /* atomic: relaxed; likewise; 0: not held, or not known to be */
    bool telling;  /* lock: stripe 0; lost runs, and its lock stays meanwhile */
    bool gone;     /* lock: stripe 0; closed: nobody is told any more */
    /* owner: loop */
    sx_task close_task;
    uint64_t id;         /* 0: nothing was asked yet */
    uint32_t under_way;  /* lockings of it */
    bool granted, asked; /* asked: it may be held without our knowing */
    bool released, closed;
    struct sx_locking *keeper; /* renews it */
    uint32_t name_size;
    uint8_t name[];
};

/* One call, or the renewing of a lock by itself. owner: loop, unless said */
struct sx_locking {
    sx_task task;
    sx_store_op store_op;
    sx_timer timer;
    strata_lock *lock;
    sx_publish_lock_step step;
    sx_work work;        /* lock: stripe 0 */
    bool keeps;          /* not a call: the lock's keeper */
    bool waiting;        /* for the timer */
    int64_t ttl_ms;
    int64_t deadline_ns;
    int64_t submitted_ns;
    struct sx_locking *next, **link; /* in engine->lockings */
};

static int64_t cost_of(const strata_lock *lock) { return SX_OP_COST + (int64_t)sizeof(struct sx_locking) + (int64_t)lock->name_size; }
static void count(strata_lock *lock, uint32_t metric) { sx_counter_add_shared(&lock->engine->counters[metric], 1); }

static void set_until(strata_lock *lock, int64_t until_ns) {
    atomic_store_explicit(&lock->until_ns, until_ns, memory_order_relaxed); /* relaxed: a number that stands for itself */
}
static int64_t until(const strata_lock *lock) {
    return atomic_load_explicit(&lock->until_ns, memory_order_relaxed); /* relaxed: as above */
}

/* Of a request that its caller gave none. */
static int64_t deadline_of(const strata_lock *lock) {
    return sx_time_add(sx_engine_now(lock->engine), sx_hot_read(&lock->engine->hot.deadline_ms) * SX_NS_PER_MS);
}

/* ---- ends ------------------------------------------------------------------------------------------------------ */

static void lock_free(strata_lock *lock) {
    strata *engine = lock->engine;
    sx_release(&engine->alloc, lock, sizeof *lock + lock->name_size);
    sx_engine_release(engine);
}

static struct sx_locking *locking_create(strata_lock *lock, sx_publish_lock_step step, int64_t deadline_ns);
static void begin_on_loop(sx_task *task);

/* A release that nobody waits for. False: there is none, and the lock ends with its ttl. */
static bool give_back(strata_lock *lock) {
    struct sx_locking *release = lock->engine->stopping ? NULL : locking_create(lock, SX_PUBLISH_LOCK_RELEASE, deadline_of(lock));
    if (release == NULL) return false;
    sx_pending_begin(lock->engine, cost_of(lock));
    begin_on_loop(&release->task);
    return true;
}

/* Nobody has it any more: what may be held is given back, and the last of its lockings frees it. */
static void settle(strata_lock *lock) {
    if (!lock->closed || lock->under_way != 0) return;
    if (!lock->asked || lock->released || !give_back(lock)) lock_free(lock);
}

static void end(struct sx_locking *locking, int32_t status) {
    strata_lock *lock = locking->lock;
    strata *engine = lock->engine;
    sx_loop_timer_cancel(engine->loop, &locking->timer);
    sx_op *op = sx_work_take(engine, &locking->work, 0);
    /* relaxed: our own */
    if (op != NULL) sx_op_complete_version(op, status, status == STRATA_OK ? atomic_load_explicit(&lock->token, memory_order_relaxed) : 0, 0);
    if (locking->next != NULL) locking->next->link = locking->link;
    *locking->link = locking->next;
    if (lock->keeper == locking) lock->keeper = NULL;
    if (!locking->keeps) sx_pending_end(engine, cost_of(lock));
    sx_command_deinit(&locking->store_op.request.command);
    sx_release(&engine->alloc, locking, sizeof *locking);
    lock->under_way--;
    settle(lock);
}

/* It is not held any more, and nobody gave it back. */
static void lose(strata_lock *lock) {
    strata *engine = lock->engine;
    set_until(lock, 0);
    count(lock, SX_FLOW_METRIC_LOCKS_LOST);
    sx_flights_lock(engine->flights, 0);
    lock->telling = !lock->gone && lock->lost != NULL;
    bool telling = lock->telling;
    sx_flights_unlock(engine->flights, 0);
    if (!telling) return;
    lock->lost(lock->lost_user);
    sx_flights_lock(engine->flights, 0);
    lock->telling = false;
    sx_flights_unlock(engine->flights, 0);
}

static void enlist(struct sx_locking *locking) {
    strata *engine = locking->lock->engine;
    locking->lock->under_way++;
    locking->link = &engine->lockings;
    locking->next = engine->lockings;
    if (locking->next != NULL) locking->next->link = &locking->next;
    engine->lockings = locking;
}

/* ---- asking ---------------------------------------------------------------------------------------------------- */

static void attempt(struct sx_locking *locking);

static void fire(sx_timer *timer) {
    struct sx_locking *locking = SX_CONTAINER(timer, struct sx_locking, timer);
    locking->waiting = false;
    attempt(locking);
}

static void attempt_at(struct sx_locking *locking, int64_t at_ns) {
    locking->waiting = true;
    locking->timer.fire_on_loop = fire;
    sx_loop_timer_set(locking->lock->engine->loop, &locking->timer, at_ns);
}

static void encode(sx_redis_request *request, const sx_redis_node *node) {
    sx_store_op *op = SX_CONTAINER(request, sx_store_op, request);
    struct sx_locking *locking = SX_CONTAINER(op, struct sx_locking, store_op);
    strata_lock *lock = locking->lock;
    strata *engine = lock->engine;
    sx_publish_lock command = {.key = {.partition = lock->partition,
                                       .ns = lock->ns->name,
                                       .ns_size = lock->ns->name_size,
                                       .ns_version = lock->ns->version,
                                       .key = lock->name,
                                       .key_size = lock->name_size,
                                       .what = SX_PUBLISH_LOCK},
                               .step = locking->step,
                               .id = lock->id,
                               .deadline_ms = sx_redis_cluster_deadline_ms(engine->cluster, node, sx_loop_now_ns(engine->loop), locking->deadline_ns),
                               .ttl_ms = locking->ttl_ms,
                               .keep_ms = KEEP_MS};
    sx_command_clear(&request->command);
    sx_publish_encode_lock(&engine->publish, &command, &request->command);
}

/* When its keeper renews it next. */
static void keep_on(struct sx_locking *keeper) {
    keeper->deadline_ns = 0;
    attempt_at(keeper, sx_loop_now_ns(keeper->lock->engine->loop) + keeper->ttl_ms * SX_NS_PER_MS / 3);
}

static void start_keeper(strata_lock *lock) {
    struct sx_locking *keeper = locking_create(lock, SX_PUBLISH_LOCK_RENEW, 0);
    if (keeper == NULL) return; /* it is held for its ttl, as left_ms says, and no longer */
    keeper->keeps = true;
    lock->keeper = keeper;
    enlist(keeper);
    keep_on(keeper);
}

/* Granted, or renewed: left_ms as of some time after the request was submitted. The server's end is in whole milliseconds of its
   clock, which may be just over; a hundredth is for clocks that do not go alike. */
static void held(struct sx_locking *locking, uint64_t token, int64_t left_ms) {
    strata_lock *lock = locking->lock;
    bool first = !lock->granted;
    /* relaxed: a number that stands for itself */
    atomic_store_explicit(&lock->token, token, memory_order_relaxed);
    lock->granted = true;
    if (!lock->released) set_until(lock, locking->submitted_ns + (left_ms - 1 - left_ms / 100) * SX_NS_PER_MS);
    if (first && (lock->flags & STRATA_LOCK_RENEW) != 0 && !lock->closed && !lock->engine->stopping) start_keeper(lock);
}

/* A renewal of the keeper's own failed. */
static void keeper_failed(struct sx_locking *keeper, bool lost) {
    strata_lock *lock = keeper->lock;
    int64_t now_ns = sx_loop_now_ns(lock->engine->loop);
    int64_t again_ns = keeper->ttl_ms * SX_NS_PER_MS / 10;
    if (again_ns < RETRY_MIN_NS) again_ns = RETRY_MIN_NS;
    if (!lost && now_ns + again_ns < until(lock)) {
        attempt_at(keeper, now_ns + again_ns);
        return;
    }
    lose(lock);
    end(keeper, STRATA_CONFLICT);
}

/* Another holds it for left_ms more: the next question, in time for the deadline, and not together with all who wait. */
static void ask_again(struct sx_locking *locking, int64_t left_ms) {
    strata *engine = locking->lock->engine;
    int64_t now_ns = sx_loop_now_ns(engine->loop);
    int64_t rest_ns = AGAIN_NS + (int64_t)(sx_key_random_next(&engine->random) % (uint64_t)(9 * AGAIN_NS));
    if (rest_ns > (left_ms + 1) * SX_NS_PER_MS) rest_ns = (left_ms + 1) * SX_NS_PER_MS;
    if (locking->lock->released || locking->lock->closed) { /* nobody wants it any more */
        end(locking, STRATA_E_CANCELLED);
        return;
    }
    if ((locking->lock->flags & STRATA_LOCK_TRY) != 0 || now_ns + rest_ns >= locking->deadline_ns) {
        count(locking->lock, SX_FLOW_METRIC_LOCKS_REFUSED);
        end(locking, STRATA_CONFLICT);
        return;
    }
    attempt_at(locking, now_ns + rest_ns);
}

static void answered(struct sx_locking *locking, uint64_t token, int64_t left_ms) {
    strata_lock *lock = locking->lock;
    if (locking->step == SX_PUBLISH_LOCK_ACQUIRE && token == 0) {
        lock->asked = false;
        ask_again(locking, left_ms);
        return;
    }
    if (locking->step == SX_PUBLISH_LOCK_ACQUIRE && lock->released) { /* while it was asked for: the release may have come first */
        (void)give_back(lock);
        end(locking, STRATA_E_CANCELLED);
        return;
    }
    if (locking->step != SX_PUBLISH_LOCK_RELEASE) held(locking, token, left_ms);
    static const uint32_t metrics[] = {[SX_PUBLISH_LOCK_ACQUIRE] = SX_FLOW_METRIC_LOCKS_ACQUIRED,
                                       [SX_PUBLISH_LOCK_RENEW] = SX_FLOW_METRIC_LOCKS_RENEWED,
                                       [SX_PUBLISH_LOCK_RELEASE] = SX_FLOW_METRIC_LOCKS_RELEASED};
    count(lock, metrics[locking->step]);
    if (locking->keeps) keep_on(locking);
    else end(locking, STRATA_OK);
}

static void asked_done(sx_store_op *op, int32_t status, const sx_resp *reply) {
    struct sx_locking *locking = SX_CONTAINER(op, struct sx_locking, store_op);
    strata_lock *lock = locking->lock;
    uint64_t token = 0;
    int64_t left_ms = 0;
    sx_publish_verdict verdict = status == STRATA_OK ? sx_publish_decode_lock(reply, &token, &left_ms) : SX_PUBLISH_DONE;
    if (verdict == SX_PUBLISH_LATE) status = STRATA_E_TIMEOUT;
    else if (verdict == SX_PUBLISH_LOST) status = STRATA_CONFLICT;
    else if (verdict != SX_PUBLISH_DONE) status = STRATA_E_CORRUPT;
    if (status == STRATA_CONFLICT && locking->step == SX_PUBLISH_LOCK_ACQUIRE && !lock->released && !lock->closed) {
        /* It was granted, and over before we heard of it: as another, for this one is granted no second time. */
        lock->id = sx_key_random_next(&lock->engine->random);
        attempt(locking);
        return;
    }
    if (locking->keeps && (lock->released || lock->closed || lock->engine->stopping)) {
        end(locking, STRATA_E_CANCELLED);
    } else if (status == STRATA_OK) {
        answered(locking, token, left_ms);
    } else if (locking->keeps) {
        keeper_failed(locking, status == STRATA_CONFLICT);
    } else {
        if (locking->step == SX_PUBLISH_LOCK_RENEW && status == STRATA_CONFLICT) set_until(lock, 0);
        end(locking, status);
    }
}

static void attempt(struct sx_locking *locking) {
    strata_lock *lock = locking->lock;
    strata *engine = lock->engine;
    sx_store_op *op = &locking->store_op;
    locking->submitted_ns = sx_loop_now_ns(engine->loop);
    if (locking->keeps) {
        locking->deadline_ns = until(lock);
        if (locking->deadline_ns <= locking->submitted_ns) { /* the loop slept past its end */
            lose(lock);
            end(locking, STRATA_CONFLICT);
            return;
        }
    }
    lock->asked = true;
    op->request.script = &engine->scripts.lock;
    op->request.slot = engine->tags->tags[lock->partition].slot;
    op->request.deadline_ns = locking->deadline_ns;
    op->request.encode = encode;
    op->write = false; /* sent again where its outcome is unknown: the same identity is granted, renewed or released once */
    op->done = asked_done;
    sx_store_submit_on_loop(engine->store, op);
}

/* ---- beginning ------------------------------------------------------------------------------------------------- */

static struct sx_locking *locking_create(strata_lock *lock, sx_publish_lock_step step, int64_t deadline_ns) {
    strata *engine = lock->engine;
    struct sx_locking *locking = sx_allocate_zero(&engine->alloc, sizeof *locking);
    if (locking == NULL) return NULL;
    locking->task.run_on_loop = begin_on_loop;
    locking->lock = lock;
    locking->step = step;
    locking->ttl_ms = lock->ttl_ms;
    locking->deadline_ns = deadline_ns;
    sx_command_init(&locking->store_op.request.command, &engine->alloc);
    return locking;
}

/* A release ends the renewing; a renewal under way ends it when it is answered. */
static void begin_release(strata_lock *lock) {
    lock->released = true;
    set_until(lock, 0);
    if (lock->keeper != NULL && lock->keeper->waiting) end(lock->keeper, STRATA_E_CANCELLED);
}

static void begin_on_loop(sx_task *task) {
    struct sx_locking *locking = SX_CONTAINER(task, struct sx_locking, task);
    strata_lock *lock = locking->lock;
    int32_t refused = atomic_load_explicit(&lock->engine->refused, memory_order_relaxed); /* relaxed: a status */
    if (lock->id == 0) lock->id = sx_key_random_next(&lock->engine->random);
    enlist(locking);
    if (locking->step == SX_PUBLISH_LOCK_RELEASE) begin_release(lock);
    if (lock->engine->stopping) refused = STRATA_E_CLOSED;
    if (refused != STRATA_OK) end(locking, refused);
    else attempt(locking);
}

void sx_lockings_cut_off_on_loop(strata *engine) {
    for (struct sx_locking *locking = engine->lockings, *next; locking != NULL; locking = next) {
        next = locking->next;
        if (locking->waiting) end(locking, STRATA_E_CLOSED);
    }
}

static void close_on_loop(sx_task *task) {
    strata_lock *lock = SX_CONTAINER(task, strata_lock, close_task);
    lock->closed = true;
    lock->under_way++; /* so that the keeper's end is not the lock's */
    if (lock->keeper != NULL && lock->keeper->waiting) end(lock->keeper, STRATA_E_CANCELLED);
    lock->under_way--;
    settle(lock);
}

/* ---- public ---------------------------------------------------------------------------------------------------- */

/* What every call has. */
typedef struct locking_call {
    strata_session *session;
    strata_lock *lock;
    sx_publish_lock_step step;
    int64_t ttl_ms;       /* 0: the lock's */
    uint32_t deadline_ms; /* 0: the engine's */
    strata_done_fn done;
    void *user;
    bool sync;
} locking_call;

static bool ttl_fits(int64_t ttl_ms) { return ttl_ms >= TTL_MS_MIN && ttl_ms <= TTL_MS_MAX; }

static int32_t start(const locking_call *call, sx_op **out) {
    static const char *const names[] = {"strata.lock_acquire", "strata.lock_renew", "strata.lock_release"};
    strata_session *session = call->session;
    strata_lock *lock = call->lock;
    if (session == NULL || lock == NULL || lock->engine != session->engine || (call->ttl_ms != 0 && !ttl_fits(call->ttl_ms)))
        return STRATA_E_INVALID;
    strata *engine = session->engine;
    int32_t status = sx_engine_alive(engine);
    if (status == STRATA_OK && sx_session_is_closing(session)) status = STRATA_E_CLOSED;
    if (status == STRATA_OK && !sx_pending_fits(engine, cost_of(lock))) status = STRATA_E_OVERLOADED;
    if (status != STRATA_OK) return status;
    strata_op_options how = {.struct_size = sizeof how, .deadline_ms = call->deadline_ms};
    sx_op *op = sx_session_op(session, SX_OP_INVALIDATE, &how, call->done, call->user);
    if (op == NULL) return STRATA_E_NOMEM;
    struct sx_locking *locking = locking_create(lock, call->step, op->deadline_ns);
    if (locking == NULL) {
        sx_session_op_free(op);
        return STRATA_E_NOMEM;
    }
    if (call->ttl_ms != 0) locking->ttl_ms = call->ttl_ms;
    if (sx_session_is_traced(session)) op->span = sx_trace_call(session, &(sx_span_about){names[call->step], lock->ns, 0, {NULL, 0}});
    sx_work_begin(&locking->work, op, call->sync, out);
    sx_pending_begin(engine, cost_of(lock));
    sx_loop_post(engine->loop, &locking->task);
    return STRATA_PENDING;
}

static int32_t start_and_wait(const locking_call *call) {
    sx_op *op = NULL;
    int32_t status = start(call, &op);
    return status == STRATA_PENDING ? sx_op_wait(op) : status;
}

static int32_t lock_create(strata_session *session, strata_namespace *ns, strata_bytes name, const strata_lock_options *given,
                           strata_lock **out) {
    strata_lock_options whole;
    const strata_lock_options *options = sx_struct_whole(given, &whole, sizeof whole);
    int32_t status = sx_read_check(session, ns, name, NULL);
    if (status != STRATA_OK) return status;
    strata *engine = session->engine;
    if (!engine->l2_on || options == NULL || !sx_struct_fits(options, options->struct_size, sizeof *options)) return STRATA_E_INVALID;
    if ((options->flags & ~LOCK_FLAGS) != 0 || options->reserved != 0 || !ttl_fits(options->ttl_ms)) return STRATA_E_INVALID;
    strata_lock *lock = sx_allocate_zero(&engine->alloc, sizeof *lock + name.size);
    if (lock == NULL) return STRATA_E_NOMEM;
    lock->engine = engine;
    lock->ns = ns;
    lock->partition = sx_key_partition(name.data, name.size, engine->partitions);
    lock->flags = options->flags;
    lock->ttl_ms = options->ttl_ms;
    lock->deadline_ms = options->deadline_ms;
    lock->lost = options->lost;
    lock->lost_user = options->lost_user;
    lock->close_task.run_on_loop = close_on_loop;
    lock->name_size = (uint32_t)name.size;
    memcpy(lock->name, name.data, name.size);
    sx_engine_retain(engine);
    *out = lock;
    return STRATA_OK;
}

int32_t strata_lock_acquire(strata_session *session, strata_namespace *ns, strata_bytes name, const strata_lock_options *options,
                            strata_lock **out, strata_done_fn done, void *user) {
    sx_op *op;
    strata_lock *lock;
    if (out == NULL) return STRATA_E_INVALID;
    int32_t status = lock_create(session, ns, name, options, &lock);
    if (status != STRATA_OK) return status;
    locking_call call = {session, lock, SX_PUBLISH_LOCK_ACQUIRE, 0, lock->deadline_ms, done, user, false};
    status = start(&call, &op);
    if (status == STRATA_PENDING) *out = lock;
    else lock_free(lock);
    return status;
}

int32_t strata_lock_acquire_wait(strata_session *session, strata_namespace *ns, strata_bytes name, const strata_lock_options *options,
                                 strata_lock **out) {
    strata_lock *lock;
    if (out == NULL) return STRATA_E_INVALID;
    int32_t status = lock_create(session, ns, name, options, &lock);
    if (status != STRATA_OK) return status;
    locking_call call = {session, lock, SX_PUBLISH_LOCK_ACQUIRE, 0, lock->deadline_ms, NULL, NULL, true};
    status = start_and_wait(&call);
    if (status == STRATA_OK) *out = lock;
    else strata_lock_close(lock);
    return status;
}

uint64_t strata_lock_token(const strata_lock *lock) {
    return atomic_load_explicit(&lock->token, memory_order_relaxed); /* relaxed: its owner was told before */
}

int64_t strata_lock_left_ms(const strata_lock *lock) {
    int64_t left_ns = until(lock) - sx_engine_now(lock->engine);
    return left_ns > 0 ? left_ns / SX_NS_PER_MS : 0;
}

int32_t strata_lock_renew(strata_session *session, strata_lock *lock, int64_t ttl_ms, strata_done_fn done, void *user) {
    sx_op *op;
    locking_call call = {session, lock, SX_PUBLISH_LOCK_RENEW, ttl_ms, 0, done, user, false};
    return start(&call, &op);
}

int32_t strata_lock_renew_wait(strata_session *session, strata_lock *lock, int64_t ttl_ms) {
    locking_call call = {session, lock, SX_PUBLISH_LOCK_RENEW, ttl_ms, 0, NULL, NULL, true};
    return start_and_wait(&call);
}

int32_t strata_lock_release(strata_session *session, strata_lock *lock, strata_done_fn done, void *user) {
    sx_op *op;
    locking_call call = {session, lock, SX_PUBLISH_LOCK_RELEASE, 0, 0, done, user, false};
    return start(&call, &op);
}

int32_t strata_lock_release_wait(strata_session *session, strata_lock *lock) {
    locking_call call = {session, lock, SX_PUBLISH_LOCK_RELEASE, 0, 0, NULL, NULL, true};
    return start_and_wait(&call);
}

void strata_lock_close(strata_lock *lock) {
    if (lock == NULL || sx_engine_forked(lock->engine)) return;
    strata *engine = lock->engine;
    sx_flights_lock(engine->flights, 0);
    lock->gone = true;
    while (lock->telling) {
        sx_flights_unlock(engine->flights, 0);
        sched_yield();
        sx_flights_lock(engine->flights, 0);
    }
    sx_flights_unlock(engine->flights, 0);
    if (sx_engine_alive(engine) == STRATA_OK) sx_loop_post(engine->loop, &lock->close_task);
    else lock_free(lock); /* its requests have ended with the engine */
}
