/* SPDX-License-Identifier: Apache-2.0 */
/* Invalidating what matches a pattern: L2's nodes are scanned one after the other, and each key that is found is invalidated
   like any other, a batch at a time, no faster than was asked for. Last, every partition announces PATTERN, which has every
   process prove its entries of the namespace anew: so it finds those that L2 does not hold any more.

   A partition is done once the node that owned it has been scanned from beginning to end, by one and the same server, and owns
   it still; else it is scanned again: a cursor says nothing to another server, even one at the same address. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/flow/engine.h"
#include "core/flow/write/begun.h"
#include "core/flow/foreign.h"

#define SCAN_COUNT 512
#define NAMES_MAX 65536             /* in one step's answer: far more than SCAN_COUNT brings */
#define SCAN_NS (5 * SX_NS_PER_S)   /* for one step */
#define KEYS_NS SX_NS_PER_S         /* for one batch's invalidations; a later write of such a key waits so long where the outcome is not known */
#define KEYS_PER_S 20000
#define ROUNDS_MAX 64               /* scans that were in vain, before a topology that never rests is a failure */
#define AGAIN_NS (100 * SX_NS_PER_MS) /* after each of them */

enum { WAITS, SCANNED, DONE };

struct sx_sweep {
    sx_task task;
    sx_task wake;              /* posted where its session closes, for the loop to see that at once */
    sx_store_op store_op;      /* owner: loop, as all below unless said */
    sx_timer timer;
    strata *engine;
    strata_namespace *ns;
    sx_work work;              /* lock: stripe 0 */
    bool telling;              /* lock: stripe 0; progress runs, and the op stays meanwhile: the session can't be gone before */
    bool left;                 /* lock: stripe 0; its session closes */
    bool woken;                /* lock: stripe 0, until its op is gone; wake is on its way, and frees what has ended meanwhile */
    bool ended;
    strata_progress_fn progress;
    void *progress_user;
    int32_t (*take)(void *context, const void *key, size_t size); /* what is found is told to, and left alone; NULL: invalidated */
    void *take_context;
    void (*told)(void *context, int32_t status); /* its end, where the engine itself began it; NULL none */
    void *told_context;
    uint32_t keys_per_s;
    bool waiting;              /* for the timer */
    uint64_t found, invalidated;
    uint32_t done, rounds;
    uint32_t under_way;        /* invalidations, and one for who starts them */
    int64_t next_ns;           /* when the next step may go out */
    int32_t status;            /* the first failure */
    uint32_t at;               /* the partition whose owner is being scanned */
    const sx_redis_node *node;
    uint64_t identity;         /* of the server that answered the present scan's first step */
    char cursor[24];
    struct sx_sweep *next, **link; /* in engine->sweeps */
    uint32_t pattern_size, also_size;
    uint8_t pattern[STRATA_PATTERN_BYTES_MAX];
    uint8_t also[STRATA_PATTERN_BYTES_MAX]; /* a key that goes with what matches; also_size 0: none */
    uint8_t partitions[];      /* WAITS, SCANNED by the present scan, or DONE */
};

static size_t size_of(const strata *engine) { return sizeof(struct sx_sweep) + engine->partitions; }
static int64_t cost_of(const strata *engine) { return SX_OP_COST + (int64_t)size_of(engine); }

/* ---- its end --------------------------------------------------------------------------------------------------- */

/* What its op waited for is given up. Where progress is being told it ends the op itself, at once after that. */
static bool leave_locked(sx_work *work) {
    struct sx_sweep *sweep = SX_CONTAINER(work, struct sx_sweep, work);
    sweep->left = true;
    sweep->woken = true;
    sx_loop_post(sweep->engine->loop, &sweep->wake); /* the lock keeps the sweep, and so the loop */
    return !sweep->telling;
}

/* Its op is gone. */
static void sweep_free(struct sx_sweep *sweep) {
    strata *engine = sweep->engine;
    sx_loop_timer_cancel(engine->loop, &sweep->timer);
    sweep->waiting = false;
    if (!sweep->ended) sx_counter_add_shared(&engine->counters[SX_FLOW_METRIC_SWEEPS], -1);
    sweep->ended = true;
    if (sweep->woken) return;
    if (sweep->next != NULL) sweep->next->link = sweep->link;
    *sweep->link = sweep->next;
    sx_command_deinit(&sweep->store_op.request.command);
    sx_pending_end(engine, cost_of(engine));
    sx_release(&engine->alloc, sweep, size_of(engine));
}

static void end(struct sx_sweep *sweep, int32_t status) {
    sx_op *op = sx_work_take(sweep->engine, &sweep->work, 0);
    if (op != NULL) sx_op_complete(op, status, STRATA_FROM_NONE, NULL);
    void (*told)(void *context, int32_t status) = sweep->told;
    void *context = sweep->told_context;
    sweep_free(sweep);
    if (told != NULL) told(context, status);
}

/* All is scanned: what L2 does not hold any more is found by who holds it. */
static void announce(struct sx_sweep *sweep) {
    if (sx_renewal_announce_on_loop(sweep->engine, sweep->ns, sweep->pattern, sweep->pattern_size, &sweep->work, sweep->status, sweep->told,
                                    sweep->told_context))
        sweep_free(sweep);
    else end(sweep, STRATA_E_NOMEM);
}

static bool is_left(struct sx_sweep *sweep) {
    sx_flights_lock(sweep->engine->flights, 0);
    bool left = sweep->left;
    sx_flights_unlock(sweep->engine->flights, 0);
    return left;
}

/* Its session closes. Where a request or a batch is under way, what follows that sees it. */
static void wake_on_loop(sx_task *task) {
    struct sx_sweep *sweep = SX_CONTAINER(task, struct sx_sweep, wake);
    sx_flights_lock(sweep->engine->flights, 0);
    sweep->woken = false;
    sx_flights_unlock(sweep->engine->flights, 0);
    if (sweep->ended) sweep_free(sweep);
    else if (sweep->waiting) end(sweep, STRATA_E_CANCELLED);
}

/* ---- scanning -------------------------------------------------------------------------------------------------- */

static const sx_redis_node *owner_of(const strata *engine, uint32_t partition) {
    return sx_redis_cluster_owner(engine->cluster, engine->tags->tags[partition].slot);
}

/* The next node to scan. False where there is none left. */
static bool choose(struct sx_sweep *sweep) {
    strata *engine = sweep->engine;
    for (sweep->at = 0; sweep->at < engine->partitions && sweep->partitions[sweep->at] == DONE;) sweep->at++;
    if (sweep->at == engine->partitions) return false;
    sweep->node = owner_of(engine, sweep->at);
    for (uint32_t i = 0; i < engine->partitions; i++) {
        if (sweep->partitions[i] != DONE) sweep->partitions[i] = owner_of(engine, i) == sweep->node ? SCANNED : WAITS;
    }
    memcpy(sweep->cursor, "0", 2);
    return true;
}

static void scanned(sx_store_op *op, int32_t status, const sx_resp *reply);

/* More than a second's worth is not asked for: a batch's invalidations start all at once. */
static void encode_step(struct sx_sweep *sweep, sx_command *command) {
    sx_publish_key key = {.ns = sweep->ns->name, .ns_size = sweep->ns->name_size, .ns_version = sweep->ns->version,
                          .key = sweep->pattern, .key_size = sweep->pattern_size};
    char count[16];
    (void)snprintf(count, sizeof count, "%" PRIu32, sweep->keys_per_s < SCAN_COUNT ? sweep->keys_per_s : SCAN_COUNT);
    sx_command_clear(command);
    sx_publish_encode_scan(&key, sweep->cursor, count, command);
}

static void step(struct sx_sweep *sweep) {
    strata *engine = sweep->engine;
    if (engine->stopping || is_left(sweep)) {
        end(sweep, engine->stopping ? STRATA_E_CLOSED : STRATA_E_CANCELLED);
        return;
    }
    if (sweep->node == NULL && !choose(sweep)) {
        if (sweep->take != NULL) end(sweep, sweep->status);
        else announce(sweep);
        return;
    }
    if (sweep->node == NULL || sweep->rounds > ROUNDS_MAX) {
        end(sweep, STRATA_E_UNAVAILABLE);
        return;
    }
    sx_store_op *op = &sweep->store_op;
    encode_step(sweep, &op->request.command);
    op->request.script = NULL;
    op->request.slot = engine->tags->tags[sweep->at].slot;
    op->request.deadline_ns = sx_loop_now_ns(engine->loop) + SCAN_NS;
    op->write = false;
    op->done = scanned;
    sx_store_submit_on_loop(engine->store, op);
}

static void fire(sx_timer *timer) {
    struct sx_sweep *sweep = SX_CONTAINER(timer, struct sx_sweep, timer);
    sweep->waiting = false;
    step(sweep);
}

/* When it is time. */
static void go_on(struct sx_sweep *sweep) {
    strata *engine = sweep->engine;
    if (sweep->next_ns <= sx_loop_now_ns(engine->loop) || engine->stopping || is_left(sweep)) { /* its wake may have been */
        step(sweep);
        return;
    }
    sweep->waiting = true;
    sweep->timer.fire_on_loop = fire;
    sx_loop_timer_set(engine->loop, &sweep->timer, sweep->next_ns);
}

/* What was scanned, or a part of it, was scanned in vain. */
static void scan_again(struct sx_sweep *sweep) {
    int64_t after_ns = sx_loop_now_ns(sweep->engine->loop) + AGAIN_NS;
    if (sweep->next_ns < after_ns) sweep->next_ns = after_ns;
    sweep->rounds++;
    sweep->node = NULL;
}

/* Whether the node that was scanned is the partition's primary. Where there is no trust nobody knows better than the map;
   where another server is trusted, who answers as that node is found out. */
static bool is_owned(struct sx_sweep *sweep, uint32_t partition) {
    sx_trust *trust = sweep->engine->trust;
    if (owner_of(sweep->engine, partition) != sweep->node) return false;
    sx_trust_mark mark = sx_trust_mark_on_loop(trust, partition);
    return mark.term == 0 || sx_trust_may_fill_on_loop(trust, partition, &mark, sweep->identity);
}

/* The node is scanned to its end: its partitions are done where they are its own still. */
static void node_over(struct sx_sweep *sweep) {
    bool all = true;
    for (uint32_t i = 0; i < sweep->engine->partitions; i++) {
        if (sweep->partitions[i] != SCANNED) continue;
        bool owned = is_owned(sweep, i);
        sweep->partitions[i] = owned ? DONE : WAITS;
        sweep->done += owned;
        all = all && owned;
    }
    if (!all) scan_again(sweep);
    sweep->node = NULL;
}

/* False where the session closes. Else its close waits until telling_over. */
static bool telling_begins(struct sx_sweep *sweep) {
    sx_flights_lock(sweep->engine->flights, 0);
    sweep->telling = !sweep->left;
    bool telling = sweep->telling;
    sx_flights_unlock(sweep->engine->flights, 0);
    return telling;
}

/* False where the session closes by now: then the sweep must end its op. */
static bool telling_over(struct sx_sweep *sweep) {
    sx_flights_lock(sweep->engine->flights, 0);
    sweep->telling = false;
    bool stays = !sweep->left;
    sx_flights_unlock(sweep->engine->flights, 0);
    return stays;
}

/* False where the call is to end. The session's close waits until progress has returned. */
static bool tell(struct sx_sweep *sweep) {
    strata *engine = sweep->engine;
    if (sweep->progress == NULL) return true;
    if (!telling_begins(sweep)) return false;
    strata_pattern_progress progress = {.found = sweep->found,
                                        .invalidated = sweep->invalidated,
                                        .partitions_done = sweep->done,
                                        .partitions = engine->partitions};
    bool more = sweep->progress(sweep->progress_user, &progress) == 0;
    return telling_over(sweep) && more;
}

static void batch_over(struct sx_sweep *sweep) {
    if (--sweep->under_way != 0) return;
    if (sweep->node != NULL && strcmp(sweep->cursor, "0") == 0) node_over(sweep);
    if (tell(sweep)) go_on(sweep);
    else end(sweep, STRATA_E_CANCELLED);
}

static void key_over(void *context, int32_t status) {
    struct sx_sweep *sweep = context;
    if (status == STRATA_OK) sweep->invalidated++;
    else if (sweep->status == STRATA_OK) sweep->status = status;
    batch_over(sweep);
}

/* STRATA_OK, and which key of ours it is; STRATA_MISS, it is another's. */
static int32_t decode(struct sx_sweep *sweep, const sx_resp *name, sx_publish_key *key) {
    strata *engine = sweep->engine;
    *key = (sx_publish_key){.ns = sweep->ns->name, .ns_size = sweep->ns->name_size, .ns_version = sweep->ns->version};
    int32_t ours = name->type != SX_RESP_STRING ? STRATA_MISS : sx_publish_decode_name(&engine->publish, engine->partitions, name, key);
    if (ours < 0 && sweep->status == STRATA_OK) sweep->status = ours;
    return ours;
}

static void invalidate_key(struct sx_sweep *sweep, const void *key, size_t size) {
    sweep->under_way++;
    sx_write_invalidate_on_loop(sweep->engine, sweep->ns, key, size, sx_loop_now_ns(sweep->engine->loop) + KEYS_NS, key_over, sweep);
}

static void invalidate_all(struct sx_sweep *sweep, const sx_resp *names) {
    int64_t now_ns = sx_loop_now_ns(sweep->engine->loop);
    uint32_t count = 0;
    sweep->under_way = 1; /* for who starts them */
    for (uint32_t i = 0; i < names->count; i++) {
        sx_publish_key key;
        if (decode(sweep, &names->items[i], &key) != STRATA_OK || SX_BROKEN(pattern_keys)) continue;
        count++;
        invalidate_key(sweep, key.key, key.key_size);
    }
    sweep->found += count;
    if (sweep->next_ns < now_ns) sweep->next_ns = now_ns;
    sweep->next_ns += (int64_t)count * SX_NS_PER_S / sweep->keys_per_s;
    batch_over(sweep);
}

/* Before anything is scanned: it need not be in L2 to be counted as found. */
static void invalidate_also(struct sx_sweep *sweep) {
    sweep->under_way = 1;
    sweep->found++;
    invalidate_key(sweep, sweep->also, sweep->also_size);
    batch_over(sweep);
}

/* Tells of all that was found, and goes on where that is wanted. */
static void take_all(struct sx_sweep *sweep, const sx_resp *names) {
    bool more = telling_begins(sweep);
    for (uint32_t i = 0; i < names->count && more; i++) {
        sx_publish_key key;
        if (decode(sweep, &names->items[i], &key) == STRATA_OK) more = sweep->take(sweep->take_context, key.key, key.key_size) == STRATA_OK;
    }
    more = telling_over(sweep) && more;
    sweep->under_way = 1;
    if (more) batch_over(sweep);
    else end(sweep, STRATA_E_CANCELLED);
}

static void scanned(sx_store_op *op, int32_t status, const sx_resp *reply) {
    struct sx_sweep *sweep = SX_CONTAINER(op, struct sx_sweep, store_op);
    bool sound = status == STRATA_OK && reply->type == SX_RESP_ARRAY && reply->count == 2 &&
                 reply->items[0].type == SX_RESP_STRING && reply->items[0].size < sizeof sweep->cursor &&
                 reply->items[1].type == SX_RESP_ARRAY && reply->items[1].count <= NAMES_MAX;
    if (!sound) {
        end(sweep, status == STRATA_OK ? STRATA_E_CORRUPT : status);
        return;
    }
    if (strcmp(sweep->cursor, "0") == 0) sweep->identity = op->request.identity;
    if (op->request.node != sweep->node || op->request.identity != sweep->identity) { /* another owner, or another server */
        scan_again(sweep);
        go_on(sweep);
        return;
    }
    memcpy(sweep->cursor, reply->items[0].text, reply->items[0].size);
    sweep->cursor[reply->items[0].size] = 0;
    if (sweep->take != NULL) take_all(sweep, &reply->items[1]);
    else invalidate_all(sweep, &reply->items[1]);
}

/* ---- its beginning --------------------------------------------------------------------------------------------- */

static void run_on_loop(sx_task *task) {
    struct sx_sweep *sweep = SX_CONTAINER(task, struct sx_sweep, task);
    strata *engine = sweep->engine;
    int32_t refused = atomic_load_explicit(&engine->refused, memory_order_relaxed); /* relaxed: a status */
    sweep->link = &engine->sweeps;
    sweep->next = engine->sweeps;
    if (sweep->next != NULL) sweep->next->link = &sweep->next;
    engine->sweeps = sweep;
    sx_counter_add_shared(&engine->counters[SX_FLOW_METRIC_SWEEPS], 1);
    if (refused != STRATA_OK) end(sweep, refused);
    else if (sweep->also_size != 0 && !engine->stopping) invalidate_also(sweep);
    else step(sweep);
}

/* Those that wait for their time; the others' requests end them. */
void sx_sweep_cut_off_on_loop(strata *engine) {
    for (struct sx_sweep *sweep = engine->sweeps, *next; sweep != NULL; sweep = next) {
        next = sweep->next;
        if (sweep->waiting) end(sweep, STRATA_E_CLOSED);
    }
}

typedef struct sweep_call {
    strata_session *session;
    strata_namespace *ns;
    strata_bytes pattern, also;
    const strata_pattern_options *options;
    strata_done_fn done;
    void *user;
    bool sync;
    int32_t (*take)(void *context, const void *key, size_t size);
    void *take_context;
} sweep_call;

static int32_t check(const sweep_call *call) {
    const strata_pattern_options *options = call->options;
    if (call->session == NULL || call->ns == NULL || call->ns->engine != call->session->engine) return STRATA_E_INVALID;
    int32_t status = sx_engine_alive(call->session->engine);
    if (status != STRATA_OK) return status;
    if (sx_session_is_closing(call->session)) return STRATA_E_CLOSED;
    if (sx_namespace_is_foreign(call->ns)) return STRATA_E_FOREIGN;
    if (call->pattern.data == NULL || call->pattern.size == 0 || call->pattern.size > STRATA_PATTERN_BYTES_MAX)
        return STRATA_E_INVALID;
    return options == NULL || sx_struct_fits(options, options->struct_size, sizeof *options) ? STRATA_OK : STRATA_E_INVALID;
}

static int32_t start(const sweep_call *given, sx_op **out) {
    strata_pattern_options whole;
    sweep_call with_whole = *given;
    const sweep_call *call = &with_whole;
    with_whole.options = sx_struct_whole(given->options, &whole, sizeof whole);
    int32_t status = check(call);
    if (status != STRATA_OK) return status;
    strata *engine = call->session->engine;
    const strata_pattern_options *options = call->options;
    if (!engine->l2_on && call->take != NULL) return STRATA_MISS;
    if (!engine->l2_on) return strata_clear(call->session, call->ns, NULL, NULL, NULL); /* nobody to ask which keys there are */
    if (!sx_pending_fits(engine, cost_of(engine))) return STRATA_E_OVERLOADED;
    sx_op *op = sx_session_op(call->session, SX_OP_INVALIDATE, NULL, call->done, call->user);
    if (op == NULL) return STRATA_E_NOMEM;
    struct sx_sweep *sweep = sx_allocate_zero(&engine->alloc, size_of(engine));
    if (sweep == NULL) {
        sx_session_op_free(op);
        return STRATA_E_NOMEM;
    }
    sweep->task.run_on_loop = run_on_loop;
    sweep->wake.run_on_loop = wake_on_loop;
    sweep->engine = engine;
    sweep->ns = call->ns;
    sweep->keys_per_s = options == NULL || options->keys_per_s == 0 ? KEYS_PER_S : options->keys_per_s;
    sweep->progress = options == NULL ? NULL : options->progress;
    sweep->progress_user = options == NULL ? NULL : options->progress_user;
    sweep->take = call->take;
    sweep->take_context = call->take_context;
    sweep->pattern_size = (uint32_t)call->pattern.size;
    memcpy(sweep->pattern, call->pattern.data, call->pattern.size);
    sweep->also_size = (uint32_t)call->also.size;
    if (call->also.size != 0) memcpy(sweep->also, call->also.data, call->also.size);
    sx_command_init(&sweep->store_op.request.command, &engine->alloc);
    op->sync = call->sync;
    if (sx_session_is_traced(call->session))
        op->span = sx_trace_call(call->session, &(sx_span_about){"strata.invalidate_pattern", call->ns, 0, {NULL, 0}});
    sweep->work.leave_locked = leave_locked;
    sx_work_link(&sweep->work, op); /* where nobody is told, too: its session's end ends it */
    *out = op;
    sx_pending_begin(engine, cost_of(engine));
    sx_loop_post(engine->loop, &sweep->task);
    return STRATA_PENDING;
}

void sx_sweep_start_on_loop(strata *engine, strata_namespace *ns, const void *pattern, uint32_t size, strata_progress_fn progress,
                            void (*ended)(void *context, int32_t status), void *context) {
    struct sx_sweep *sweep = sx_allocate_zero(&engine->alloc, size_of(engine));
    if (sweep == NULL) {
        ended(context, STRATA_E_NOMEM);
        return;
    }
    sweep->wake.run_on_loop = wake_on_loop;
    sweep->engine = engine;
    sweep->ns = ns;
    sweep->keys_per_s = KEYS_PER_S;
    sweep->progress = progress;
    sweep->progress_user = context;
    sweep->told = ended;
    sweep->told_context = context;
    sweep->pattern_size = size;
    memcpy(sweep->pattern, pattern, size);
    sx_command_init(&sweep->store_op.request.command, &engine->alloc);
    sx_pending_begin(engine, cost_of(engine));
    run_on_loop(&sweep->task);
}

int32_t sx_sweep_collect(strata_session *session, strata_namespace *ns, strata_bytes pattern, uint32_t keys_per_s,
                         int32_t (*take)(void *context, const void *key, size_t size), void *context, strata_done_fn done, void *user) {
    sx_op *op;
    strata_pattern_options options = {.struct_size = sizeof options, .keys_per_s = keys_per_s};
    sweep_call call = {session, ns, pattern, {0}, &options, done, user, false, take, context};
    return start(&call, &op);
}

static int32_t start_and_wait(const sweep_call *call) {
    sx_op *op = NULL;
    int32_t status = start(call, &op);
    return status == STRATA_PENDING ? sx_op_wait(op) : status;
}

int32_t sx_sweep_with(strata_session *session, strata_namespace *ns, strata_bytes pattern, strata_bytes also, const strata_pattern_options *options,
                      strata_done_fn done, void *user, bool sync) {
    sx_op *op;
    sweep_call call = {session, ns, pattern, also, options, done, user, sync, NULL, NULL};
    assert(also.size <= STRATA_PATTERN_BYTES_MAX);
    return sync ? start_and_wait(&call) : start(&call, &op);
}

/* ---- public ---------------------------------------------------------------------------------------------------- */

int32_t strata_invalidate_pattern(strata_session *session, strata_namespace *ns, strata_bytes pattern,
                                  const strata_pattern_options *options, strata_done_fn done, void *user) {
    return sx_sweep_with(session, ns, pattern, (strata_bytes){0}, options, done, user, false);
}

int32_t strata_invalidate_pattern_wait(strata_session *session, strata_namespace *ns, strata_bytes pattern,
                                       const strata_pattern_options *options) {
    return sx_sweep_with(session, ns, pattern, (strata_bytes){0}, options, NULL, NULL, true);
}
