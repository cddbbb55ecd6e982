/* SPDX-License-Identifier: Apache-2.0 */
/* Events: a key is invalidated with all that depends on it, each part as if it had been asked for alone, and the log remembers. */
#include <stdio.h>
#include <string.h>

#include "core/flow/rules/rules.h"
#include "core/flow/write/begun.h"

static const sx_option rows[] = {
    {.name = "invalidation.rules",
     .type = SX_OPTION_STRING,
     .min = 0,
     .max = STRATA_RULES_BYTES_MAX,
     .default_text = "",
     .doc = "what else strata_invalidate_cascade invalidates: \"client:{id} -> client:{id}:*, tag clients; ...\" (strata/rules.h)"},
    {.name = "invalidation.log_entries",
     .type = SX_OPTION_INTEGER,
     .min = 0,
     .max = 65536,
     .default_text = "256",
     .doc = "how many of the last events strata_event_log_read finds; 0: none"},
};
const sx_option_table sx_rules_options = {rows, sizeof rows / sizeof *rows};

/* The last events. lock: engine */
struct sx_event_log {
    uint32_t capacity;
    uint64_t count; /* ever */
    strata_event_entry entries[];
};

typedef struct part_under_way {
    struct sx_cascade *of;
    uint64_t found; /* by its pattern */
} part_under_way;

/* An event. owner: loop, unless said */
struct sx_cascade {
    sx_task task;
    strata *engine;
    strata_namespace *ns;
    sx_work work;        /* lock: stripe 0 */
    strata_cascade *out; /* the caller's, as long as there is an op */
    strata_cascade counts;
    int32_t status;      /* the first failure */
    uint32_t left;       /* parts under way, and one for who starts them */
    uint32_t sweep_at;   /* the patterns before this part have been started */
    bool sweeping, starting_sweeps;
    int64_t deadline_ns, began_ns;
    char actor[STRATA_ACTOR_BYTES_MAX + 1];
    part_under_way under_way[STRATA_CASCADE_PARTS_MAX];
    sx_parts parts;
};

/* ---- rules ----------------------------------------------------------------------------------------------------- */

int32_t strata_rules_set(strata *engine, const char *text, strata_error *error) {
    strata_error local;
    if (engine == NULL || text == NULL) return STRATA_E_INVALID;
    if (error == NULL) error = &local;
    int32_t status = sx_engine_alive(engine);
    if (status != STRATA_OK) return status;
    sx_rules *rules = sx_allocate_zero(&engine->alloc, sizeof *rules);
    if (rules == NULL) return STRATA_E_NOMEM;
    status = sx_rules_parse(engine, text, rules, error);
    if (status == STRATA_OK) {
        sx_lock_acquire(&engine->lock);
        sx_rules *before = engine->rules;
        engine->rules = rules;
        sx_lock_release(&engine->lock);
        rules = before;
    }
    if (rules != NULL) sx_release(&engine->alloc, rules, sizeof *rules);
    return status;
}

/* ---- the log --------------------------------------------------------------------------------------------------- */

static void remember(const struct sx_cascade *cascade) {
    strata *engine = cascade->engine;
    const sx_part *first = &cascade->parts.parts[0];
    struct sx_event_log *log = engine->event_log;
    if (log->capacity == 0) return;
    int64_t took_us = (sx_engine_now(engine) - cascade->began_ns) / SX_NS_PER_US, ended_ms = sx_clock_unix_ns() / SX_NS_PER_MS;
    sx_lock_acquire(&engine->lock);
    strata_event_entry *entry = &log->entries[log->count % log->capacity];
    memset(entry, 0, sizeof *entry);
    entry->number = ++log->count;
    entry->ended_ms = ended_ms;
    entry->took_us = took_us;
    entry->status = cascade->status;
    entry->key_size = first->size;
    entry->counts = cascade->counts;
    memcpy(entry->actor, cascade->actor, sizeof entry->actor);
    memcpy(entry->namespace_name, cascade->ns->name, cascade->ns->name_size);
    memcpy(entry->key, cascade->parts.bytes.data, first->size < sizeof entry->key ? first->size : sizeof entry->key - 1);
    sx_lock_release(&engine->lock);
}

int32_t strata_event_log_read(strata *engine, uint64_t after, strata_event_entry *out, size_t count, size_t *read) {
    if (engine == NULL || out == NULL || read == NULL) return STRATA_E_INVALID;
    if (sx_engine_forked(engine)) return STRATA_E_FORKED;
    const struct sx_event_log *log = engine->event_log;
    size_t taken = 0;
    sx_lock_acquire(&engine->lock);
    uint64_t oldest = log->count > log->capacity ? log->count - log->capacity : 0;
    for (uint64_t i = after > oldest ? after : oldest; i < log->count && taken < count; i++) out[taken++] = log->entries[i % log->capacity];
    sx_lock_release(&engine->lock);
    *read = taken;
    return STRATA_OK;
}

static size_t log_size(uint32_t capacity) { return sizeof(struct sx_event_log) + capacity * sizeof(strata_event_entry); }

int32_t sx_cascades_open(strata *engine, strata_error *error) {
    uint32_t capacity = (uint32_t)sx_config_int(engine->config, "invalidation.log_entries");
    engine->event_log = sx_allocate_zero(&engine->alloc, log_size(capacity));
    if (engine->event_log == NULL) return STRATA_E_NOMEM;
    engine->event_log->capacity = capacity;
    const char *text = sx_config_text(engine->config, "invalidation.rules");
    return text[0] == '\0' ? STRATA_OK : strata_rules_set(engine, text, error);
}

void sx_cascades_destroy(strata *engine) {
    if (engine->rules != NULL) sx_release(&engine->alloc, engine->rules, sizeof *engine->rules);
    if (engine->event_log != NULL) sx_release(&engine->alloc, engine->event_log, log_size(engine->event_log->capacity));
}

/* ---- an event -------------------------------------------------------------------------------------------------- */

static int64_t cost_of(void) { return SX_OP_COST + (int64_t)sizeof(struct sx_cascade); }

static void cascade_free(struct sx_cascade *cascade) {
    sx_buf_deinit(&cascade->parts.bytes);
    sx_release(&cascade->engine->alloc, cascade, sizeof *cascade);
}

/* All of it is over. */
static void sum_up(struct sx_cascade *cascade) {
    strata *engine = cascade->engine;
    for (uint32_t i = 0; i < cascade->parts.count; i++) cascade->counts.found += cascade->under_way[i].found;
    sx_counter_add_shared(&engine->counters[SX_FLOW_METRIC_EVENTS], 1);
    sx_counter_add_shared(&engine->counters[SX_FLOW_METRIC_EVENT_PARTS], cascade->parts.count);
    sx_counter_add_shared(&engine->counters[SX_FLOW_METRIC_EVENT_PARTS_FAILED], cascade->counts.failed);
    remember(cascade);
}

static void end(struct sx_cascade *cascade) {
    strata *engine = cascade->engine;
    sum_up(cascade);
    sx_op *op = sx_work_take(engine, &cascade->work, 0);
    if (op != NULL && cascade->out != NULL) *cascade->out = cascade->counts;
    if (op != NULL) sx_op_complete(op, cascade->status, STRATA_FROM_NONE, NULL);
    sx_pending_end(engine, cost_of());
    cascade_free(cascade);
}

static void note(struct sx_cascade *cascade, int32_t status) {
    if (status == STRATA_OK) return;
    cascade->counts.failed++;
    if (cascade->status == STRATA_OK) cascade->status = status;
}

static void part_over(void *context, int32_t status) {
    struct sx_cascade *cascade = ((part_under_way *)context)->of;
    note(cascade, status);
    if (--cascade->left == 0) end(cascade);
}

static void sweep_on(struct sx_cascade *cascade);

static void sweep_over(void *context, int32_t status) {
    struct sx_cascade *cascade = ((part_under_way *)context)->of;
    cascade->sweeping = false;
    sweep_on(cascade);
    part_over(context, status);
}

static int32_t note_found(void *user, const strata_pattern_progress *progress) {
    ((part_under_way *)user)->found = progress->found;
    return 0;
}

static void start_part(struct sx_cascade *cascade, uint32_t index) {
    strata *engine = cascade->engine;
    const sx_part *part = &cascade->parts.parts[index];
    part_under_way *under_way = &cascade->under_way[index];
    const uint8_t *bytes = cascade->parts.bytes.data + part->at;
    under_way->of = cascade;
    cascade->left++;
    switch (part->kind) {
    case SX_TARGET_KEY:
        sx_write_invalidate_on_loop(engine, part->ns, bytes, part->size, cascade->deadline_ns, part_over, under_way);
        break;
    case SX_TARGET_TAG:
    case SX_TARGET_CLEAR:
        sx_renewal_start_on_loop(engine, part->ns, bytes, part->size, cascade->deadline_ns, part_over, under_way);
        break;
    case SX_TARGET_PATTERN:
        sx_sweep_start_on_loop(engine, part->ns, bytes, part->size, note_found, sweep_over, under_way);
        break;
    }
}

/* Patterns go one after the other, for each is a scan of every server. */
static void sweep_on(struct sx_cascade *cascade) {
    if (cascade->starting_sweeps) return; /* one was over at once: who started it goes on */
    cascade->starting_sweeps = true;
    while (!cascade->sweeping && cascade->sweep_at < cascade->parts.count) {
        uint32_t index = cascade->sweep_at++;
        if (cascade->parts.parts[index].kind != SX_TARGET_PATTERN) continue;
        cascade->sweeping = true;
        start_part(cascade, index);
    }
    cascade->starting_sweeps = false;
}

static void run_on_loop(sx_task *task) {
    struct sx_cascade *cascade = SX_CONTAINER(task, struct sx_cascade, task);
    cascade->left = 1;
    for (uint32_t i = 0; i < cascade->parts.count; i++)
        if (cascade->parts.parts[i].kind != SX_TARGET_PATTERN) start_part(cascade, i);
    sweep_on(cascade);
    if (--cascade->left == 0) end(cascade);
}

/* Without L2 all of it is done here and now. */
static int32_t run_here(strata_session *session, struct sx_cascade *cascade) {
    for (uint32_t i = 0; i < cascade->parts.count; i++) {
        const sx_part *part = &cascade->parts.parts[i];
        strata_bytes bytes = {cascade->parts.bytes.data + part->at, part->size};
        int32_t status = STRATA_OK;
        if (part->kind == SX_TARGET_KEY) status = strata_invalidate(session, part->ns, bytes, NULL, NULL, NULL);
        else if (part->kind == SX_TARGET_TAG) status = strata_invalidate_tags(session, &bytes, 1, NULL, NULL, NULL);
        else status = strata_clear(session, part->ns, NULL, NULL, NULL); /* nobody to ask which keys match */
        note(cascade, status);
    }
    sum_up(cascade);
    return cascade->status;
}

/* ---- public ---------------------------------------------------------------------------------------------------- */

typedef struct cascade_call {
    strata_session *session;
    strata_namespace *ns;
    strata_bytes key;
    const strata_cascade_options *options;
    strata_cascade *out;
    strata_done_fn done;
    void *user;
    bool sync;
} cascade_call;

static int32_t cascade_create(const cascade_call *call, struct sx_cascade **out) {
    strata *engine = call->session->engine;
    struct sx_cascade *cascade = sx_allocate_zero(&engine->alloc, sizeof *cascade);
    if (cascade == NULL) return STRATA_E_NOMEM;
    cascade->task.run_on_loop = run_on_loop;
    cascade->engine = engine;
    cascade->ns = call->ns;
    cascade->began_ns = sx_engine_now(engine);
    if (call->options != NULL && call->options->actor != NULL) (void)snprintf(cascade->actor, sizeof cascade->actor, "%s", call->options->actor);
    sx_buf_init(&cascade->parts.bytes, &engine->alloc);
    sx_lock_acquire(&engine->lock);
    int32_t status = sx_rules_expand(engine->rules, call->ns, call->key, &cascade->parts);
    sx_lock_release(&engine->lock);
    if (status != STRATA_OK) {
        cascade_free(cascade);
        return status;
    }
    for (uint32_t i = 0; i < cascade->parts.count; i++) {
        uint32_t *counts[] = {[SX_TARGET_KEY] = &cascade->counts.keys, [SX_TARGET_PATTERN] = &cascade->counts.patterns,
                              [SX_TARGET_TAG] = &cascade->counts.tags, [SX_TARGET_CLEAR] = &cascade->counts.clears};
        ++*counts[cascade->parts.parts[i].kind];
    }
    *out = cascade;
    return STRATA_OK;
}

static int32_t start(const cascade_call *given, sx_op **out) {
    strata_cascade_options whole;
    cascade_call call = *given;
    call.options = sx_struct_whole(given->options, &whole, sizeof whole);
    const strata_cascade_options *options = call.options;
    int32_t status = sx_read_check(call.session, call.ns, call.key, NULL);
    if (status != STRATA_OK) return status;
    if (options != NULL && (!sx_struct_fits(options, options->struct_size, sizeof *options) ||
                            (options->actor != NULL && strnlen(options->actor, STRATA_ACTOR_BYTES_MAX + 1) > STRATA_ACTOR_BYTES_MAX)))
        return STRATA_E_INVALID;
    strata *engine = call.session->engine;
    struct sx_cascade *cascade;
    if (!sx_pending_fits(engine, cost_of())) return STRATA_E_OVERLOADED;
    status = cascade_create(&call, &cascade);
    if (status != STRATA_OK) return status;
    if (!engine->l2_on) {
        status = run_here(call.session, cascade);
        if (call.out != NULL) *call.out = cascade->counts;
        cascade_free(cascade);
        return status;
    }
    strata_op_options how = {.struct_size = sizeof how, .deadline_ms = options == NULL ? 0 : options->deadline_ms};
    sx_op *op = sx_session_op(call.session, SX_OP_INVALIDATE, &how, call.done, call.user);
    if (op == NULL) {
        cascade_free(cascade);
        return STRATA_E_NOMEM;
    }
    cascade->deadline_ns = op->deadline_ns;
    cascade->out = call.out;
    if (sx_session_is_traced(call.session))
        op->span = sx_trace_call(call.session, &(sx_span_about){"strata.invalidate_cascade", call.ns, 0, {NULL, 0}});
    sx_work_begin(&cascade->work, op, call.sync, out);
    sx_pending_begin(engine, cost_of());
    sx_loop_post(engine->loop, &cascade->task);
    return STRATA_PENDING;
}

int32_t strata_invalidate_cascade(strata_session *session, strata_namespace *ns, strata_bytes key, const strata_cascade_options *options,
                                  strata_cascade *out, strata_done_fn done, void *user) {
    sx_op *op;
    cascade_call call = {session, ns, key, options, out, done, user, false};
    return start(&call, &op);
}

int32_t strata_invalidate_cascade_wait(strata_session *session, strata_namespace *ns, strata_bytes key,
                                       const strata_cascade_options *options, strata_cascade *out) {
    sx_op *op = NULL;
    cascade_call call = {session, ns, key, options, out, NULL, NULL, true};
    int32_t status = start(&call, &op);
    return status == STRATA_PENDING ? sx_op_wait(op) : status;
}
