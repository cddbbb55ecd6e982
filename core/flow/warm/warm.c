/* SPDX-License-Identifier: Apache-2.0 */
/* Warming: a thread that reads keys like a session of the program, so many at once and so many a second, until they are all read
   or it is told to stop. Where its keys come from is all that differs: a list, a scan of L2, a snapshot. */
#include <string.h>
#include <time.h>

#include "core/flow/warm/warm.h"
#include "core/flow/write/begun.h"

#define DEADLINE_MS 5000u
#define TELL_NS     (100 * SX_NS_PER_MS)
#define WAIT_MS     20u                  /* between two looks at whether to go on */
#define AHEAD_NS    (5 * SX_NS_PER_MS)   /* what a limited rate may be ahead by, so that not each key is slept for */
#define IN_VAIN_NS  (5 * SX_NS_PER_S)    /* of failures alone, before L2 is taken to be away */
#define PAUSE_NS    (100 * SX_NS_PER_MS) /* after a failure, so that an L2 that fails at once does not end all in a moment */
#define SCAN_PER_S  1000000u
#define LOOK_KEYS   64u                  /* asked for between two looks at whether L1 is full */

typedef enum source { FROM_KEYS, FROM_PATTERN, FROM_SNAPSHOT } source;

struct strata_warm {
    sx_thread thread;
    /* const once it runs */
    strata *engine;
    strata_namespace *ns; /* of keys and patterns */
    source from;
    strata_warm_options options;
    uint32_t window;      /* reads at once */
    uint32_t pattern_size;
    uint8_t pattern[STRATA_PATTERN_BYTES_MAX];
    /* owner: its thread; while L2 is scanned, the loop */
    sx_buf keys;          /* one after the other, each behind the two bytes of its size */
    size_t keys_at;
    bool enough;          /* the scan found more than was asked for */
    int32_t scan_status;
    bool scan_over;
    /* owner: its thread */
    strata_session *session;
    strata_warm_progress now;
    uint32_t under_way;
    int64_t evictions;    /* of L1 for want of room, when it was last looked at */
    int64_t next_ns, told_ns;
    int64_t failing_ns;   /* since when nothing but failures came; 0: since the last answer none */
    sx_snapshot_reader reader;
    strata_namespace *names[SX_NAMESPACES_MAX]; /* of a snapshot's namespaces those that are open */
    _Atomic bool cancelled; /* atomic: relaxed; only makes it stop */
    sx_lock lock;
    pthread_cond_t changed;
    /* lock: lock */
    strata_warm_progress progress;
    bool over;
    int32_t status;
};

static bool is_cancelled(const strata_warm *warm) {
    return atomic_load_explicit(&warm->cancelled, memory_order_relaxed); /* relaxed: only makes it stop */
}

/* STRATA_OK while it is to go on. */
static int32_t may_go_on(const strata_warm *warm) {
    return is_cancelled(warm) ? STRATA_E_CANCELLED : sx_engine_alive(warm->engine);
}

/* The operating system's clock: an injected one need not run while we sleep. */
static int64_t now_ns(void) {
    sx_clock clock = {NULL, NULL};
    return sx_clock_now_ns(&clock);
}

/* ---- telling --------------------------------------------------------------------------------------------------- */

static void publish(strata_warm *warm) {
    sx_lock_acquire(&warm->lock);
    warm->progress = warm->now;
    sx_lock_release(&warm->lock);
}

static void tell(strata_warm *warm) {
    publish(warm);
    warm->told_ns = now_ns();
    if (warm->options.progress != NULL && warm->options.progress(warm->options.progress_user, &warm->now) != 0) strata_warm_cancel(warm);
}

static void count(strata_warm *warm, uint64_t *number, uint32_t metric) {
    ++*number;
    sx_counter_add_shared(&warm->engine->counters[metric], 1);
}

/* ---- reading --------------------------------------------------------------------------------------------------- */

static void answered(strata_warm *warm, int32_t status) {
    if (status == STRATA_OK || status == STRATA_STALE) count(warm, &warm->now.warmed, SX_FLOW_METRIC_WARM_WARMED);
    else if (status == STRATA_MISS) count(warm, &warm->now.absent, SX_FLOW_METRIC_WARM_ABSENT);
    else count(warm, &warm->now.failed, SX_FLOW_METRIC_WARM_FAILED);
    int64_t at_ns = now_ns();
    if (status >= 0 || status == STRATA_E_LOAD_FAILED) {
        warm->failing_ns = 0;
        return;
    }
    if (warm->failing_ns == 0) warm->failing_ns = at_ns;
    if (warm->next_ns < at_ns + PAUSE_NS) warm->next_ns = at_ns + PAUSE_NS;
}

static void done(void *user, const strata_result *result) {
    strata_warm *warm = user;
    warm->under_way--;
    answered(warm, result->status);
}

static int32_t start(strata_warm *warm, strata_namespace *ns, strata_bytes key, strata_result *result) {
    const strata_warm_options *options = &warm->options;
    strata_op_options how = {.struct_size = sizeof how, .deadline_ms = options->deadline_ms == 0 ? DEADLINE_MS : options->deadline_ms};
    if (options->loader == NULL) return strata_get(warm->session, ns, key, &how, result, done, warm);
    return strata_get_or_load(warm->session, ns, key, &how, options->loader, options->loader_user, result, done, warm);
}

static void rest(strata_warm *warm) {
    (void)strata_session_wait(warm->session, WAIT_MS);
    if (now_ns() - warm->told_ns >= TELL_NS) tell(warm);
}

/* Begins one read. An engine that has too much to do is given time. */
static int32_t ask(strata_warm *warm, strata_namespace *ns, strata_bytes key) {
    strata_result result;
    int32_t status = start(warm, ns, key, &result);
    while (status == STRATA_E_OVERLOADED || status == STRATA_E_NOMEM) {
        rest(warm);
        int32_t go_on = may_go_on(warm);
        if (go_on != STRATA_OK) return go_on;
        status = start(warm, ns, key, &result);
    }
    if (status == STRATA_E_CLOSED) return status;
    count(warm, &warm->now.asked, SX_FLOW_METRIC_WARM_ASKED);
    if (status == STRATA_PENDING) {
        warm->under_way++;
        return STRATA_OK;
    }
    if (status == STRATA_OK || status == STRATA_STALE) strata_result_release(warm->session, &result);
    answered(warm, status);
    return STRATA_OK;
}

/* Until there is room for half a window, so that many are asked for in one turn of the loop, and until it is time. */
static int32_t pace(strata_warm *warm) {
    bool drain = warm->under_way >= warm->window;
    for (;;) {
        int32_t status = may_go_on(warm);
        int64_t at_ns = now_ns();
        if (status != STRATA_OK) return status;
        if (at_ns - warm->told_ns >= TELL_NS) tell(warm);
        if (warm->failing_ns != 0 && at_ns - warm->failing_ns >= IN_VAIN_NS) return STRATA_E_UNAVAILABLE;
        bool early = warm->next_ns - at_ns > AHEAD_NS;
        bool waits = drain && warm->under_way > warm->window / 2;
        if (!early && !waits) break;
        int64_t left_ms = (warm->next_ns - at_ns) / SX_NS_PER_MS;
        (void)strata_session_wait(warm->session, waits || left_ms > WAIT_MS ? WAIT_MS : (uint32_t)left_ms);
    }
    if (warm->options.keys_per_s == 0) return STRATA_OK;
    if (warm->next_ns < now_ns() - AHEAD_NS) warm->next_ns = now_ns() - AHEAD_NS;
    warm->next_ns += SX_NS_PER_S / warm->options.keys_per_s;
    return STRATA_OK;
}

/* ---- where keys come from -------------------------------------------------------------------------------------- */

static bool keep_key(strata_warm *warm, const void *key, size_t size) {
    uint8_t head[2] = {(uint8_t)size, (uint8_t)(size >> 8)};
    if (warm->keys.size + size + sizeof head > STRATA_WARM_BYTES_MAX) return false;
    sx_buf_append(&warm->keys, head, sizeof head);
    sx_buf_append(&warm->keys, key, size);
    return !warm->keys.failed;
}

/* Called on the loop, while our thread waits. */
static int32_t found(void *context, const void *key, size_t size) {
    strata_warm *warm = context;
    if (may_go_on(warm) != STRATA_OK) return STRATA_E_CANCELLED;
    if (warm->now.keys == warm->options.keys_max || !keep_key(warm, key, size)) {
        warm->enough = true;
        return STRATA_E_CANCELLED;
    }
    warm->now.keys++;
    return STRATA_OK;
}

static void scanned(void *user, const strata_result *result) {
    strata_warm *warm = user;
    warm->scan_over = true;
    warm->scan_status = result->status;
}

static int32_t scan(strata_warm *warm) {
    int32_t status = sx_sweep_collect(warm->session, warm->ns, (strata_bytes){warm->pattern, warm->pattern_size}, SCAN_PER_S, found, warm,
                                      scanned, warm);
    if (status == STRATA_MISS) return STRATA_OK; /* without L2 there is nothing to find */
    if (status != STRATA_PENDING) return status;
    while (!warm->scan_over && may_go_on(warm) == STRATA_OK) (void)strata_session_wait(warm->session, WAIT_MS);
    status = may_go_on(warm);
    if (status != STRATA_OK) return status;
    if (warm->keys.failed) return STRATA_E_NOMEM;
    return warm->enough ? STRATA_OK : warm->scan_status;
}

static bool next_entry(strata_warm *warm, strata_namespace **ns, strata_bytes *key) {
    sx_snapshot_entry entry;
    while (warm->now.asked + warm->now.skipped < warm->now.keys && sx_snapshot_next_entry(&warm->reader, &entry)) {
        *ns = warm->names[entry.ns];
        *key = (strata_bytes){entry.key, entry.key_size};
        if (*ns != NULL) return true;
        warm->now.skipped++;
    }
    return false;
}

static bool next(strata_warm *warm, strata_namespace **ns, strata_bytes *key) {
    if (warm->from == FROM_SNAPSHOT) return next_entry(warm, ns, key);
    if (warm->keys_at == warm->keys.size) return false;
    const uint8_t *at = warm->keys.data + warm->keys_at;
    *ns = warm->ns;
    *key = (strata_bytes){at + 2, (size_t)at[0] | (size_t)at[1] << 8};
    warm->keys_at += 2 + key->size;
    return true;
}

/* What left L1 for want of room, and not because a guest was at its limit. */
static int64_t displaced(const sx_l1 *l1) {
    return sx_l1_metric_read(l1, SX_L1_METRIC_EVICTIONS) - sx_l1_metric_read(l1, SX_L1_METRIC_LIMIT_EVICTIONS);
}

/* What is named by the program is warmed whatever leaves for it; what was hot once must not displace what is hotter. Where there is
   room, an entry that leaves says nothing: its group was full. */
static bool is_full(strata_warm *warm) {
    if (warm->from == FROM_KEYS) return false;
    if (warm->now.asked % LOOK_KEYS != 0) return warm->now.full != 0;
    int64_t evictions = displaced(warm->engine->l1);
    if (evictions > warm->evictions && sx_l1_is_nearly_full(warm->engine->l1)) warm->now.full = 1;
    warm->evictions = evictions;
    return warm->now.full != 0;
}

/* ---- its thread ------------------------------------------------------------------------------------------------ */

static int32_t read_keys(strata_warm *warm) {
    strata_namespace *ns;
    strata_bytes key;
    int32_t status = STRATA_OK;
    while (status == STRATA_OK && !is_full(warm) && next(warm, &ns, &key)) {
        status = pace(warm);
        if (status == STRATA_OK) status = ask(warm, ns, key);
    }
    while (status == STRATA_OK && warm->under_way > 0) { /* each has its deadline */
        rest(warm);
        status = may_go_on(warm);
    }
    if (status == STRATA_OK && warm->reader.failed) status = STRATA_E_SYSTEM;
    else if (status == STRATA_OK && warm->reader.changed) status = STRATA_E_CORRUPT;
    return status;
}

static void end(strata_warm *warm, int32_t status) {
    strata *engine = warm->engine;
    sx_lock_acquire(&warm->lock);
    warm->progress = warm->now;
    warm->status = status;
    warm->over = true;
    pthread_cond_broadcast(&warm->changed);
    sx_lock_release(&warm->lock);
    sx_counter_add_shared(&engine->counters[SX_FLOW_METRIC_WARM_RUNNING], -1);
    sx_lock_acquire(&engine->lock); /* from here on the engine may close */
    engine->warmings--;
    /* Failures that are few are keys' own; many, L2's. */
    if (warm->from == FROM_SNAPSHOT && status == STRATA_OK && warm->now.failed <= warm->now.asked / 2) engine->snapshot_used = true;
    pthread_cond_signal(&engine->changed);
    sx_lock_release(&engine->lock);
}

static void run(void *argument) {
    strata_warm *warm = argument;
    int32_t status = sx_session_open(warm->engine, true, &warm->session);
    warm->told_ns = warm->next_ns = now_ns();
    if (status == STRATA_OK) {
        if (warm->from == FROM_PATTERN) status = scan(warm);
        if (status == STRATA_OK) status = read_keys(warm);
        strata_session_close(warm->session);
        tell(warm);
    }
    end(warm, status);
}

/* ---- public ---------------------------------------------------------------------------------------------------- */

static int32_t check(strata *engine, const strata_warm_options *given) {
    strata_warm_options whole;
    const strata_warm_options *options = sx_struct_whole(given, &whole, sizeof whole);
    if (options != NULL && (!sx_struct_fits(options, options->struct_size, sizeof *options) || options->priority > STRATA_WARM_HIGH))
        return STRATA_E_INVALID;
    int32_t status = sx_engine_alive(engine);
    return status == STRATA_OK && !engine->l1_on ? STRATA_E_INVALID : status;
}

static void warm_free(strata_warm *warm) {
    strata *engine = warm->engine;
    sx_snapshot_close(&warm->reader);
    sx_buf_deinit(&warm->keys);
    pthread_cond_destroy(&warm->changed);
    sx_lock_deinit(&warm->lock);
    sx_release(&engine->alloc, warm, sizeof *warm);
    sx_engine_release(engine);
}

static int32_t warm_create(strata *engine, strata_namespace *ns, source from, const strata_warm_options *options, strata_warm **out) {
    static const uint32_t windows[] = {[STRATA_WARM_NORMAL] = 1024, [STRATA_WARM_LOW] = 64, [STRATA_WARM_HIGH] = 8192};
    strata_warm *warm = sx_allocate_zero(&engine->alloc, sizeof *warm);
    if (warm == NULL) return STRATA_E_NOMEM;
    int32_t status = sx_lock_init(&warm->lock, SX_RANK_WARM);
    if (status != STRATA_OK) {
        sx_release(&engine->alloc, warm, sizeof *warm);
        return status;
    }
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&warm->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    warm->engine = engine;
    warm->ns = ns;
    warm->from = from;
    warm->reader.fd = -1;
    strata_warm_options whole;
    if (options != NULL) memcpy(&warm->options, sx_struct_whole(options, &whole, sizeof whole), sizeof warm->options);
    if (warm->options.keys_max == 0) warm->options.keys_max = STRATA_WARM_KEYS_DEFAULT;
    warm->window = windows[warm->options.priority];
    warm->evictions = displaced(engine->l1);
    sx_buf_init(&warm->keys, &engine->alloc);
    sx_engine_retain(engine);
    *out = warm;
    return STRATA_OK;
}

/* Takes over warm where it fails. */
static int32_t launch(strata_warm *warm, strata_warm **out) {
    strata *engine = warm->engine;
    warm->progress = warm->now;
    sx_lock_acquire(&engine->lock);
    int32_t status = sx_engine_alive(engine);
    engine->warmings += status == STRATA_OK;
    sx_lock_release(&engine->lock);
    if (status == STRATA_OK) {
        sx_counter_add_shared(&engine->counters[SX_FLOW_METRIC_WARM_RUNNING], 1);
        status = sx_thread_start(&warm->thread, "strata-warm", run, warm);
        if (status != STRATA_OK) end(warm, status);
    }
    if (status == STRATA_OK) *out = warm;
    else warm_free(warm);
    return status;
}

int32_t strata_warm_keys(strata_namespace *ns, const strata_bytes *keys, size_t count, const strata_warm_options *options,
                         strata_warm **out) {
    if (ns == NULL || keys == NULL || count == 0 || out == NULL) return STRATA_E_INVALID;
    strata_warm *warm;
    int32_t status = check(ns->engine, options);
    for (size_t i = 0; i < count && status == STRATA_OK; i++) {
        if (keys[i].data == NULL || keys[i].size == 0 || keys[i].size > STRATA_KEY_BYTES_MAX) status = STRATA_E_KEY_SIZE;
    }
    if (status == STRATA_OK) status = warm_create(ns->engine, ns, FROM_KEYS, options, &warm);
    if (status != STRATA_OK) return status;
    for (size_t i = 0; i < count; i++) {
        if (keep_key(warm, keys[i].data, keys[i].size)) continue;
        status = warm->keys.failed ? STRATA_E_NOMEM : STRATA_E_INVALID;
        warm_free(warm);
        return status;
    }
    warm->now.keys = count;
    return launch(warm, out);
}

int32_t strata_warm_pattern(strata_namespace *ns, strata_bytes pattern, const strata_warm_options *options, strata_warm **out) {
    if (ns == NULL || out == NULL || pattern.data == NULL || pattern.size == 0 || pattern.size > STRATA_PATTERN_BYTES_MAX)
        return STRATA_E_INVALID;
    strata_warm *warm;
    int32_t status = check(ns->engine, options);
    if (status == STRATA_OK) status = warm_create(ns->engine, ns, FROM_PATTERN, options, &warm);
    if (status != STRATA_OK) return status;
    warm->pattern_size = (uint32_t)pattern.size;
    memcpy(warm->pattern, pattern.data, pattern.size);
    return launch(warm, out);
}

/* Which of the snapshot's namespaces are open. */
static void find_names(strata_warm *warm) {
    sx_snapshot_name name;
    for (uint32_t i = 0; i < warm->reader.head.namespaces && sx_snapshot_next_name(&warm->reader, &name); i++)
        warm->names[i] = sx_names_find(warm->engine->names, name.text, name.size, name.version);
}

int32_t strata_warm_snapshot(strata *engine, const char *path, const strata_warm_options *options, strata_warm **out,
                             strata_error *error) {
    if (engine == NULL || out == NULL) return STRATA_E_INVALID;
    strata_warm *warm;
    strata_error local;
    if (error == NULL) error = &local;
    int32_t status = check(engine, options);
    if (status != STRATA_OK) return status;
    if (path == NULL) path = sx_config_text(engine->config, "warm.snapshot_path"); /* not hot: const after open */
    if (path[0] == '\0') return STRATA_E_INVALID;
    status = warm_create(engine, NULL, FROM_SNAPSHOT, options, &warm);
    if (status != STRATA_OK) return status;
    status = sx_snapshot_open(&warm->reader, path, error);
    if (status != STRATA_OK) {
        warm_free(warm);
        return status;
    }
    find_names(warm);
    uint64_t entries = warm->reader.head.entries, most = warm->options.keys_max;
    warm->now.keys = entries < most ? entries : most;
    return launch(warm, out);
}

int32_t strata_warm_wait(strata_warm *warm, uint32_t timeout_ms, strata_warm_progress *progress) {
    if (warm == NULL) return STRATA_E_INVALID;
    if (sx_engine_forked(warm->engine)) return STRATA_E_FORKED;
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    int64_t at_ns = (int64_t)until.tv_nsec + (int64_t)timeout_ms * SX_NS_PER_MS;
    until.tv_sec += (time_t)(at_ns / SX_NS_PER_S);
    until.tv_nsec = (long)(at_ns % SX_NS_PER_S);
    sx_lock_acquire(&warm->lock);
    while (!warm->over && pthread_cond_timedwait(&warm->changed, &warm->lock.mutex, &until) == 0) {}
    int32_t status = warm->over ? warm->status : STRATA_PENDING;
    if (progress != NULL) *progress = warm->progress;
    sx_lock_release(&warm->lock);
    return status;
}

void strata_warm_cancel(strata_warm *warm) {
    atomic_store_explicit(&warm->cancelled, true, memory_order_relaxed); /* relaxed: only makes it stop */
}

void strata_warm_close(strata_warm *warm) {
    if (warm == NULL || sx_engine_forked(warm->engine)) return;
    strata_warm_cancel(warm);
    sx_thread_join(&warm->thread);
    warm_free(warm);
}
