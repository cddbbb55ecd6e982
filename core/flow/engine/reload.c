/* SPDX-License-Identifier: Apache-2.0 */
/* Changes of an open engine's options: all or nothing, by the program or by a file, which may be watched.

   A change is made on a copy. What it would change is checked there, and then exchanged with the engine's own values one by one,
   which can't fail: texts that rooms have been given at open are never touched, since those options are not hot. */
#include <stdio.h>
#include <string.h>

#include <sys/stat.h>

#include "core/flow/configured.h"
#include "core/flow/engine.h"

#define WATCH_MS_MIN     10
#define WATCH_MS_MAX     3600000
#define WATCH_MS_DEFAULT 1000
#define VALUE_BYTES      256 /* of a value in the log */

/* ---- a change ------------------------------------------------------------------------------------------------ */

/* How a change is made of a copy. */
typedef struct change {
    const char *const *names, *const *values; /* options; NULL: a file */
    size_t count;
    const char *path;
    const sx_buf *text;
} change;

static int32_t make(const change *how, sx_config *config, strata_error *error) {
    if (how->names != NULL) return sx_config_change(config, how->names, how->values, how->count, error);
    int32_t status = sx_config_forget_file(config);
    if (status != STRATA_OK) return sx_config_refuse(error, status, "%.200s: out of memory", how->path);
    return sx_config_load_text(config, how->path, (const char *)how->text->data, how->text->size, error);
}

/* Whether an engine that is open can take it, and whether it changes anything. */
static int32_t check(const strata *engine, const sx_config *next, strata_error *error, bool *changes) {
    const sx_config *present = engine->config;
    *changes = sx_config_namespaces_differ(present, next);
    for (size_t i = 0; i < sx_option_count(); i++) {
        if (!sx_config_differs(present, next, i)) continue;
        *changes = true;
        if (!sx_option_at(i)->hot)
            return sx_config_refuse(error, STRATA_E_CONFIG, "option '%s' can't change while open", sx_option_at(i)->name);
    }
    return sx_configured_check(engine, next, error);
}

static void tell_option(const strata *engine, const sx_config *before, const sx_config *after, const char *name, uint64_t version) {
    char old[VALUE_BYTES], now[VALUE_BYTES];
    if (strata_config_get(before, name, old, sizeof old, NULL) != STRATA_OK) (void)snprintf(old, sizeof old, "(long)");
    if (strata_config_get(after, name, now, sizeof now, NULL) != STRATA_OK) (void)snprintf(now, sizeof now, "(long)");
    sx_log_write(&engine->log, SX_LOG_INFO, "option %s changed from %s to %s (configuration %llu)", name, old, now,
                 (unsigned long long)version);
}

/* Of a namespace that one of them gives something. */
static void tell_namespace(const strata *engine, const sx_config *before, const sx_config *after, const char *name, uint64_t version) {
    const sx_config_namespace *old = sx_config_namespace_find(before, name, strlen(name)), *now = sx_config_namespace_find(after, name, strlen(name));
    for (size_t row = 0; row < sx_namespace_options.count; row++) {
        char whole[2 * SX_NAMESPACE_BYTES_MAX];
        if (!sx_config_namespace_differs(old, now, row)) continue;
        (void)snprintf(whole, sizeof whole, "namespace.%s.%s", name, sx_namespace_options.rows[row].name);
        tell_option(engine, before, after, whole, version);
    }
}

/* Logs what is another, outside of any lock: the log is the program's. */
static void tell(const strata *engine, const sx_config *before, const sx_config *after, uint64_t version) {
    for (size_t i = 0; i < sx_option_count(); i++) {
        const sx_option *option = sx_option_at(i);
        if (option->hot && sx_config_differs(before, after, i)) tell_option(engine, before, after, option->name, version);
    }
    const sx_config_namespace *ns;
    for (size_t i = 0; (ns = sx_config_namespace_at(after, i)) != NULL; i++)
        tell_namespace(engine, before, after, sx_config_namespace_name(ns), version);
    for (size_t i = 0; (ns = sx_config_namespace_at(before, i)) != NULL; i++) {
        const char *name = sx_config_namespace_name(ns);
        if (sx_config_namespace_find(after, name, strlen(name)) == NULL) tell_namespace(engine, before, after, name, version);
    }
}

static int32_t apply(strata *engine, const change *how, strata_error *error) {
    uint64_t version = 0;
    bool changes = false;
    sx_config *after = NULL;
    sx_lock_acquire(&engine->lock);
    sx_config *next = sx_config_copy(engine->config);
    int32_t status = next == NULL ? sx_config_refuse(error, STRATA_E_NOMEM, "out of memory") : make(how, next, error);
    if (status == STRATA_OK) status = check(engine, next, error, &changes);
    if (status == STRATA_OK) status = sx_tenants_check_locked(engine, next, error);
    if (status == STRATA_OK && (after = sx_config_copy(next)) == NULL) status = sx_config_refuse(error, STRATA_E_NOMEM, "out of memory");
    if (status == STRATA_OK) {
        for (size_t i = 0; i < sx_option_count(); i++) {
            if (sx_option_at(i)->hot) sx_config_swap(engine->config, next, i); /* what does not differ may be of another layer */
        }
        sx_config_swap_namespaces(engine->config, next);
        sx_engine_apply_hot(engine);
        if (changes) engine->config_version++;
        version = engine->config_version;
    }
    sx_lock_release(&engine->lock);
    if (changes && status == STRATA_OK) tell(engine, next, after, version);
    strata_config_destroy(after);
    strata_config_destroy(next);
    return status;
}

int32_t strata_options_set(strata *engine, const char *const *names, const char *const *values, size_t count, strata_error *error) {
    if (engine == NULL || (count != 0 && (names == NULL || values == NULL))) return STRATA_E_INVALID;
    int32_t status = sx_engine_alive(engine);
    if (status != STRATA_OK || count == 0) return status;
    return apply(engine, &(change){.names = names, .values = values, .count = count}, error);
}

int32_t strata_option_set(strata *engine, const char *name, const char *value, strata_error *error) {
    if (name == NULL || value == NULL) return STRATA_E_INVALID;
    return strata_options_set(engine, &name, &value, 1, error);
}

static int32_t reload(strata *engine, const char *path, strata_error *error) {
    sx_buf text;
    sx_buf_init(&text, &engine->alloc);
    int32_t status = sx_config_read_file(path, &text, error);
    if (status == STRATA_OK) status = apply(engine, &(change){.path = path, .text = &text}, error);
    if (text.data != NULL) explicit_bzero(text.data, text.size); /* may hold a password */
    sx_buf_deinit(&text);
    return status;
}

int32_t strata_options_reload(strata *engine, const char *path, strata_error *error) {
    if (engine == NULL || path == NULL) return STRATA_E_INVALID;
    int32_t status = sx_engine_alive(engine);
    return status == STRATA_OK ? reload(engine, path, error) : status;
}

int32_t strata_options_version(strata *engine, uint64_t *version) {
    if (engine == NULL || version == NULL) return STRATA_E_INVALID;
    if (sx_engine_forked(engine)) return STRATA_E_FORKED;
    sx_lock_acquire(&engine->lock);
    *version = engine->config_version;
    sx_lock_release(&engine->lock);
    return STRATA_OK;
}

/* ---- a watch ------------------------------------------------------------------------------------------------- */

/* What tells one state of a file from another. */
typedef struct file_state {
    bool there;
    dev_t device;
    ino_t inode;
    off_t size;
    struct timespec changed;
} file_state;

struct sx_config_watch {
    strata *engine;
    uint32_t interval_ms;
    char *path;
    size_t path_size;
    file_state seen;    /* what was taken, or refused for what it says */
    file_state failed;  /* what could not be read, and why */
    int32_t status;
    sx_thread thread;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    bool stop; /* lock: mutex */
};

static file_state look(const char *path) {
    struct stat s;
    file_state state = {0};
    if (stat(path, &s) != 0) return state;
    state = (file_state){.there = true, .device = s.st_dev, .inode = s.st_ino, .size = s.st_size, .changed = s.st_mtim};
    return state;
}

static bool is_same(const file_state *a, const file_state *b) {
    return a->there == b->there && a->device == b->device && a->inode == b->inode && a->size == b->size &&
           a->changed.tv_sec == b->changed.tv_sec && a->changed.tv_nsec == b->changed.tv_nsec;
}

static bool rest(sx_config_watch *watch) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    int64_t at_ns = (int64_t)until.tv_nsec + (int64_t)watch->interval_ms * SX_NS_PER_MS;
    until.tv_sec += (time_t)(at_ns / SX_NS_PER_S);
    until.tv_nsec = (long)(at_ns % SX_NS_PER_S);
    pthread_mutex_lock(&watch->mutex);
    int timed_out = 0;
    while (!watch->stop && timed_out == 0) timed_out = pthread_cond_timedwait(&watch->wake, &watch->mutex, &until);
    bool go_on = !watch->stop;
    pthread_mutex_unlock(&watch->mutex);
    return go_on;
}

/* The state is that of before the file is read: what changes meanwhile is seen as a change of it the next time. Where the machine
   failed, not the file, it is tried again with each look, and logged once. */
static void take(sx_config_watch *watch, const file_state *now) {
    strata_error error = {0};
    int32_t status = reload(watch->engine, watch->path, &error);
    bool told = status == watch->status && is_same(now, &watch->failed);
    if (status == STRATA_OK || status == STRATA_E_CONFIG) watch->seen = *now;
    watch->failed = *now;
    watch->status = status;
    if (status != STRATA_OK && !told) sx_log_write(&watch->engine->log, SX_LOG_WARN, "configuration not taken: %s", error.text);
}

static void run(void *argument) {
    sx_config_watch *watch = argument;
    while (rest(watch)) {
        file_state now = look(watch->path);
        if (is_same(&now, &watch->seen)) continue;
        if (now.there) take(watch, &now);
        else watch->seen = now;
    }
}

static void watch_free(sx_config_watch *watch) {
    const sx_alloc *alloc = &watch->engine->alloc;
    sx_release(alloc, watch->path, watch->path_size + 1);
    sx_release(alloc, watch, sizeof *watch);
}

void sx_config_watch_stop(sx_config_watch *watch) {
    if (watch == NULL) return;
    pthread_mutex_lock(&watch->mutex);
    watch->stop = true;
    pthread_cond_signal(&watch->wake);
    pthread_mutex_unlock(&watch->mutex);
    sx_thread_join(&watch->thread);
    pthread_cond_destroy(&watch->wake);
    pthread_mutex_destroy(&watch->mutex);
    watch_free(watch);
}

static int32_t watch_start(strata *engine, const char *path, uint32_t interval_ms, sx_config_watch **out) {
    sx_config_watch *watch = sx_allocate_zero(&engine->alloc, sizeof *watch);
    if (watch == NULL) return STRATA_E_NOMEM;
    watch->engine = engine;
    watch->interval_ms = interval_ms;
    watch->path_size = strlen(path);
    watch->path = sx_allocate_text(&engine->alloc, path, watch->path_size);
    watch->seen = look(path);
    int32_t status = watch->path == NULL ? STRATA_E_NOMEM : STRATA_OK;
    pthread_condattr_t attributes;
    if (status == STRATA_OK && pthread_mutex_init(&watch->mutex, NULL) != 0) status = STRATA_E_SYSTEM;
    if (status == STRATA_OK) {
        pthread_condattr_init(&attributes);
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
        bool waits = pthread_cond_init(&watch->wake, &attributes) == 0;
        pthread_condattr_destroy(&attributes);
        status = waits ? sx_thread_start(&watch->thread, "strata-config", run, watch) : STRATA_E_SYSTEM;
        if (status != STRATA_OK && waits) pthread_cond_destroy(&watch->wake);
        if (status != STRATA_OK) pthread_mutex_destroy(&watch->mutex);
    }
    if (status != STRATA_OK) watch_free(watch);
    else *out = watch;
    return status;
}

int32_t strata_options_watch(strata *engine, const char *path, uint32_t interval_ms, strata_error *error) {
    if (engine == NULL) return STRATA_E_INVALID;
    int32_t status = sx_engine_alive(engine);
    if (status != STRATA_OK) return status;
    if (interval_ms == 0) interval_ms = WATCH_MS_DEFAULT;
    if (path != NULL && (interval_ms < WATCH_MS_MIN || interval_ms > WATCH_MS_MAX))
        return sx_config_refuse(error, STRATA_E_CONFIG, "the interval must be %d .. %d ms", WATCH_MS_MIN, WATCH_MS_MAX);
    sx_config_watch *watch = NULL;
    if (path != NULL) status = watch_start(engine, path, interval_ms, &watch);
    if (status != STRATA_OK) return sx_config_refuse(error, status, "%.200s: can't be watched: %s", path, strata_status_text(status));
    sx_lock_acquire(&engine->lock);
    sx_config_watch *before = engine->watch;
    engine->watch = watch;
    sx_lock_release(&engine->lock);
    sx_config_watch_stop(before);
    return STRATA_OK;
}
