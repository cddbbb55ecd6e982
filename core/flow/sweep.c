/* SPDX-License-Identifier: Apache-2.0 */
/* Invalidating what matches a pattern: L2's nodes are scanned one after the other, and each key that is found is invalidated
   like any other, a batch at a time, no faster than was asked for. Last, every partition announces PATTERN, which has every
   process prove its entries of the namespace anew: so it finds those that L2 does not hold any more.

   A partition is done once the node that owned it has been scanned from beginning to end and owns it still; else it is
   scanned again at its new owner. */
#include <string.h>

#include "core/flow/engine.h"

#define SCAN_COUNT "512"
#define SCAN_NS (5 * SX_NS_PER_S)   /* for one step, and for one batch's invalidations */
#define KEYS_PER_S 20000
#define ROUNDS_MAX 64               /* scans of a node, before a topology that never rests is a failure */

enum { WAITS, SCANNED, DONE };

struct sx_sweep {
    sx_task task;
    sx_store_op store_op;      /* owner: loop, as all below unless said */
    sx_timer timer;
    strata *engine;
    strata_namespace *ns;
    sx_op *op;                 /* lock: stripe 0; NULL where nobody waits */
    bool told;                 /* const: somebody waits, and going away ends it */
    strata_progress_fn progress;
    void *progress_user;
    uint32_t keys_per_s;
    bool waiting;              /* for the timer */
    uint64_t found, invalidated;
    uint32_t done, rounds;
    uint32_t left;             /* invalidations under way, and one for who starts them */
    int64_t next_ns;           /* when the next step may go out */
    int32_t status;            /* the first failure */
    uint32_t at;               /* the partition whose owner is being scanned */
    const sx_redis_node *node;
    char cursor[24];
    struct sx_sweep *next, **link; /* in engine->sweeps */
    uint32_t pattern_size;
    uint8_t pattern[STRATA_PATTERN_BYTES_MAX];
    uint8_t partitions[];      /* WAITS, SCANNED by the present scan, or DONE */
};


static size_t size_of(const strata *engine) { return sizeof(struct sx_sweep) + engine->partitions; }
static int64_t cost_of(const strata *engine) { return SX_OP_COST + (int64_t)size_of(engine); }

/* ---- its end --------------------------------------------------------------------------------------------------- */

void sx_sweep_forget_locked(sx_op *op) {
    assert(sx_flights_is_locked(op->session->engine->flights, op->stripe));
    op->sweep->op = NULL;
    op->sweep = NULL;
}

/* Nobody can forget it from here on. */
static sx_op *take_op(struct sx_sweep *sweep) {
    strata *engine = sweep->engine;
    sx_flights_lock(engine->flights, 0);
    sx_op *op = sweep->op;
    sweep->op = NULL;
    if (op != NULL) op->sweep = NULL;
    sx_flights_unlock(engine->flights, 0);
    return op;
}

static void sweep_free(struct sx_sweep *sweep) {
    strata *engine = sweep->engine;
    if (sweep->next != NULL) sweep->next->link = sweep->link;
    *sweep->link = sweep->next;
    sx_loop_timer_cancel(engine->loop, &sweep->timer);
    sx_command_deinit(&sweep->store_op.request.command);
    sx_pending_end(engine, cost_of(engine));
    sx_release(&engine->alloc, sweep, size_of(engine));
}

static void end(struct sx_sweep *sweep, int32_t status) {
    sx_op *op = take_op(sweep);
    if (op != NULL) sx_op_complete(op, status, STRATA_FROM_NONE, NULL);
    sweep_free(sweep);
}

/* All is scanned: what L2 does not hold any more is found by who holds it. */
static void announce(struct sx_sweep *sweep) {
    sx_op *op = take_op(sweep);
    if (!sx_renewal_announce_on_loop(sweep->engine, sweep->ns, sweep->pattern, sweep->pattern_size, op, sweep->status) &&
        op != NULL)
        sx_op_complete(op, STRATA_E_NOMEM, STRATA_FROM_NONE, NULL);
    sweep_free(sweep);
}

static bool is_left(struct sx_sweep *sweep) {
    sx_flights_lock(sweep->engine->flights, 0);
    bool left = sweep->told && sweep->op == NULL;
    sx_flights_unlock(sweep->engine->flights, 0);
    return left;
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
    sweep->rounds++;
    sweep->node = owner_of(engine, sweep->at);
    for (uint32_t i = 0; i < engine->partitions; i++) {
        if (sweep->partitions[i] != DONE) sweep->partitions[i] = owner_of(engine, i) == sweep->node ? SCANNED : WAITS;
    }
    memcpy(sweep->cursor, "0", 2);
    return true;
}

static void scanned(sx_store_op *op, int32_t status, const sx_resp *reply);

static void step(struct sx_sweep *sweep) {
    strata *engine = sweep->engine;
    if (engine->stopping || is_left(sweep)) {
        end(sweep, STRATA_E_CLOSED);
        return;
    }
    if (sweep->node == NULL && !choose(sweep)) {
        announce(sweep);
        return;
    }
    if (sweep->node == NULL || sweep->rounds > ROUNDS_MAX) {
        end(sweep, STRATA_E_UNAVAILABLE);
        return;
    }
    sx_store_op *op = &sweep->store_op;
    sx_command *command = &op->request.command;
    sx_publish_key key = {.ns = sweep->ns->name, .ns_size = sweep->ns->name_size, .ns_version = sweep->ns->version,
                          .key = sweep->pattern, .key_size = sweep->pattern_size};
    sx_command_clear(command);
    sx_publish_encode_scan(&key, sweep->cursor, SCAN_COUNT, command);
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

/* The node is scanned to its end: its partitions are done where they are its own still. */
static void node_over(struct sx_sweep *sweep) {
    for (uint32_t i = 0; i < sweep->engine->partitions; i++) {
        if (sweep->partitions[i] != SCANNED) continue;
        bool owned = owner_of(sweep->engine, i) == sweep->node;
        sweep->partitions[i] = owned ? DONE : WAITS;
        sweep->done += owned;
    }
    sweep->node = NULL;
}

static void batch_over(struct sx_sweep *sweep) {
    strata *engine = sweep->engine;
    if (--sweep->left != 0) return;
    if (sweep->node != NULL && strcmp(sweep->cursor, "0") == 0) node_over(sweep);
    strata_pattern_progress progress = {.found = sweep->found,
                                        .invalidated = sweep->invalidated,
                                        .partitions_done = sweep->done,
                                        .partitions = engine->partitions};
    if (sweep->progress != NULL && sweep->progress(sweep->progress_user, &progress) != 0) {
        end(sweep, STRATA_E_CANCELLED);
        return;
    }
    if (sweep->next_ns <= sx_loop_now_ns(engine->loop) || engine->stopping) {
        step(sweep);
        return;
    }
    sweep->waiting = true;
    sweep->timer.fire_on_loop = fire;
    sx_loop_timer_set(engine->loop, &sweep->timer, sweep->next_ns);
}

static void key_over(void *context, int32_t status) {
    struct sx_sweep *sweep = context;
    if (status == STRATA_OK) sweep->invalidated++;
    else if (sweep->status == STRATA_OK) sweep->status = status;
    batch_over(sweep);
}

static void invalidate_all(struct sx_sweep *sweep, const sx_resp *names) {
    strata *engine = sweep->engine;
    int64_t now_ns = sx_loop_now_ns(engine->loop);
    uint32_t count = 0;
    sweep->left = 1; /* for who starts them */
    for (uint32_t i = 0; i < names->count; i++) {
        sx_publish_key key = {.ns = sweep->ns->name, .ns_size = sweep->ns->name_size, .ns_version = sweep->ns->version};
        if (names->items[i].type != SX_RESP_STRING ||
            !sx_publish_decode_name(&engine->publish, engine->partitions, &names->items[i], &key))
            continue;
        count++;
        sweep->left++;
        sx_write_invalidate_on_loop(engine, sweep->ns, key.key, key.key_size, now_ns + SCAN_NS, key_over, sweep);
    }
    sweep->found += count;
    if (sweep->next_ns < now_ns) sweep->next_ns = now_ns;
    sweep->next_ns += (int64_t)count * SX_NS_PER_S / sweep->keys_per_s;
    batch_over(sweep);
}

static void scanned(sx_store_op *op, int32_t status, const sx_resp *reply) {
    struct sx_sweep *sweep = SX_CONTAINER(op, struct sx_sweep, store_op);
    bool sound = status == STRATA_OK && reply->type == SX_RESP_ARRAY && reply->count == 2 &&
                 reply->items[0].type == SX_RESP_STRING && reply->items[0].size < sizeof sweep->cursor &&
                 reply->items[1].type == SX_RESP_ARRAY;
    if (!sound) {
        end(sweep, status == STRATA_OK ? STRATA_E_CORRUPT : status);
        return;
    }
    if (op->request.node != sweep->node) { /* the partition has another owner: its scan begins anew */
        sweep->node = NULL;
        step(sweep);
        return;
    }
    memcpy(sweep->cursor, reply->items[0].text, reply->items[0].size);
    sweep->cursor[reply->items[0].size] = 0;
    invalidate_all(sweep, &reply->items[1]);
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
    if (refused != STRATA_OK) end(sweep, refused);
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
    strata_bytes pattern;
    const strata_pattern_options *options;
    strata_done_fn done;
    void *user;
    bool sync;
} sweep_call;

static int32_t check(const sweep_call *call) {
    const strata_pattern_options *options = call->options;
    if (call->session == NULL || call->ns == NULL || call->ns->engine != call->session->engine) return STRATA_E_INVALID;
    int32_t status = sx_engine_alive(call->session->engine);
    if (status != STRATA_OK) return status;
    if (call->session->closing) return STRATA_E_CLOSED;
    if (call->pattern.data == NULL || call->pattern.size == 0 || call->pattern.size > STRATA_PATTERN_BYTES_MAX)
        return STRATA_E_INVALID;
    return options == NULL || sx_struct_fits(options, options->struct_size, sizeof *options) ? STRATA_OK : STRATA_E_INVALID;
}

static int32_t start(const sweep_call *call, sx_op **out) {
    int32_t status = check(call);
    if (status != STRATA_OK) return status;
    strata *engine = call->session->engine;
    const strata_pattern_options *options = call->options;
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
    sweep->engine = engine;
    sweep->ns = call->ns;
    sweep->keys_per_s = options == NULL || options->keys_per_s == 0 ? KEYS_PER_S : options->keys_per_s;
    sweep->progress = options == NULL ? NULL : options->progress;
    sweep->progress_user = options == NULL ? NULL : options->progress_user;
    sweep->pattern_size = (uint32_t)call->pattern.size;
    memcpy(sweep->pattern, call->pattern.data, call->pattern.size);
    sx_command_init(&sweep->store_op.request.command, &engine->alloc);
    op->sync = call->sync;
    sweep->told = call->done != NULL || call->sync;
    if (sweep->told) {
        sweep->op = op;
        op->sweep = sweep;
        *out = op;
    } else {
        sx_session_op_free(op); /* nobody waits */
    }
    sx_pending_begin(engine, cost_of(engine));
    sx_loop_post(engine->loop, &sweep->task);
    return STRATA_PENDING;
}

/* ---- public ---------------------------------------------------------------------------------------------------- */

int32_t strata_invalidate_pattern(strata_session *session, strata_namespace *ns, strata_bytes pattern,
                                  const strata_pattern_options *options, strata_done_fn done, void *user) {
    sx_op *op;
    sweep_call call = {session, ns, pattern, options, done, user, false};
    return start(&call, &op);
}

int32_t strata_invalidate_pattern_wait(strata_session *session, strata_namespace *ns, strata_bytes pattern,
                                       const strata_pattern_options *options) {
    sx_op *op = NULL;
    sweep_call call = {session, ns, pattern, options, NULL, NULL, true};
    int32_t status = start(&call, &op);
    if (status != STRATA_PENDING) return status;
    sx_session_await(session, &op->arrived);
    status = op->status;
    sx_session_op_free(op);
    return status;
}
