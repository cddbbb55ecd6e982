/* SPDX-License-Identifier: Apache-2.0 */
/* Snapshots written by the program's call, and by a thread of the engine's own every so often. */
#include <string.h>
#include <time.h>

#include "core/flow/warm/warm.h"

#define INTERVALS_ENOUGH 10u /* after which a process knows what is hot, whatever it began with */

static const sx_option rows[] = {
    {.name = "warm.snapshot_path",
     .type = SX_OPTION_STRING,
     .min = 0,
     .max = 3072,
     .default_text = "",
     .doc = "file that the names of L1's hottest entries are written to, for strata_warm_snapshot after a restart; empty: none"},
    {.name = "warm.snapshot_every",
     .type = SX_OPTION_DURATION,
     .min = 100 * SX_NS_PER_MS,
     .max = 366 * 24 * 3600 * SX_NS_PER_S,
     .default_text = "30s",
     .doc = "rest between two snapshots, where there is a warm.snapshot_path"},
    {.name = "warm.snapshot_entries",
     .type = SX_OPTION_INTEGER,
     .min = 1,
     .max = 1 << 30,
     .default_text = "1000000",
     .doc = "most entries of a snapshot"},
};
const sx_option_table sx_warm_options = {rows, sizeof rows / sizeof *rows};

/* The thread that writes. */
struct sx_snapshots {
    sx_thread thread;
    strata *engine;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    bool stop; /* lock: mutex */
};

static bool is_stopped(void *context) {
    struct sx_snapshots *s = context;
    pthread_mutex_lock(&s->mutex);
    bool stop = s->stop;
    pthread_mutex_unlock(&s->mutex);
    return stop;
}

/* Sleeps, or returns early when told to stop. Answers whether to go on. */
static bool rest(struct sx_snapshots *s, int64_t time_ns) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    int64_t at_ns = (int64_t)until.tv_nsec + time_ns;
    until.tv_sec += (time_t)(at_ns / SX_NS_PER_S);
    until.tv_nsec = (long)(at_ns % SX_NS_PER_S);
    pthread_mutex_lock(&s->mutex);
    while (!s->stop && pthread_cond_timedwait(&s->wake, &s->mutex, &until) == 0) {}
    bool go_on = !s->stop;
    pthread_mutex_unlock(&s->mutex);
    return go_on;
}

static int32_t write_one(strata *engine, const char *path, uint64_t entries_max, struct sx_snapshots *s, uint64_t *written,
                         strata_error *error) {
    uint64_t entries = 0;
    if (path == NULL) path = sx_config_text(engine->config, "warm.snapshot_path"); /* not hot: const after open */
    if (path[0] == '\0') return STRATA_E_INVALID;
    if (entries_max == 0) entries_max = (uint64_t)sx_config_int(engine->config, "warm.snapshot_entries");
    int32_t status = sx_snapshot_write(engine, path, entries_max, s == NULL ? NULL : is_stopped, s, &entries, error);
    if (status == STRATA_OK) {
        sx_counter_add_shared(&engine->counters[SX_FLOW_METRIC_SNAPSHOTS], 1);
        /* relaxed: statistic */
        atomic_store_explicit(&engine->counters[SX_FLOW_METRIC_SNAPSHOT_ENTRIES], (int64_t)entries, memory_order_relaxed);
    } else if (status != STRATA_E_CANCELLED) {
        sx_counter_add_shared(&engine->counters[SX_FLOW_METRIC_SNAPSHOT_FAILURES], 1);
    }
    if (status == STRATA_OK && written != NULL) *written = entries;
    return status;
}

/* How many entries the file names that the last process left; 0 where there is none, or it is of no use. */
static int64_t entries_left(strata *engine) {
    sx_snapshot_reader *reader = sx_allocate(&engine->alloc, sizeof *reader);
    strata_error error;
    if (reader == NULL) return 0;
    int32_t status = sx_snapshot_open(reader, sx_config_text(engine->config, "warm.snapshot_path"), &error); /* not hot: const after open */
    int64_t entries = status == STRATA_OK ? (int64_t)reader->head.entries : 0;
    if (status == STRATA_OK) sx_snapshot_close(reader);
    sx_release(&engine->alloc, reader, sizeof *reader);
    return entries;
}

/* What the last process wrote is worth more than a handful of names, as where a process dies again and again, or could not warm while L2
   was away. So it stays until a warming from a snapshot has ended well, L1 has half as many entries, or the program has run for so
   many intervals that what is hot is known anew. */
static bool is_worth_more(strata *engine, int64_t left, uint32_t intervals) {
    int64_t entries = sx_l1_metric_read(engine->l1, SX_L1_METRIC_ENTRIES);
    sx_lock_acquire(&engine->lock);
    bool used = engine->snapshot_used;
    sx_lock_release(&engine->lock);
    return entries > 0 && (used || entries >= left / 2 || intervals >= INTERVALS_ENOUGH);
}

static void keep(void *argument) {
    struct sx_snapshots *s = argument;
    strata *engine = s->engine;
    bool failed = false;
    int64_t every_ns = sx_config_int(engine->config, "warm.snapshot_every"), left = entries_left(engine);
    uint32_t intervals = 0;
    while (rest(s, every_ns)) {
        strata_error error;
        if (intervals < INTERVALS_ENOUGH) intervals++;
        if (!is_worth_more(engine, left, intervals)) continue;
        int32_t status = write_one(engine, NULL, 0, s, NULL, &error);
        if (status != STRATA_OK && status != STRATA_E_CANCELLED && !failed)
            sx_log_write(&engine->log, SX_LOG_WARN, "snapshot: %s; tried again every warm.snapshot_every", error.text);
        else if (status == STRATA_OK && failed) sx_log_write(&engine->log, SX_LOG_INFO, "snapshot: written again");
        failed = status != STRATA_OK;
    }
}

int32_t sx_snapshots_start(strata *engine) {
    if (!engine->l1_on || sx_config_text(engine->config, "warm.snapshot_path")[0] == '\0') return STRATA_OK;
    struct sx_snapshots *s = sx_allocate_zero(&engine->alloc, sizeof *s);
    if (s == NULL) return STRATA_E_NOMEM;
    s->engine = engine;
    pthread_mutex_init(&s->mutex, NULL);
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&s->wake, &attributes);
    pthread_condattr_destroy(&attributes);
    int32_t status = sx_thread_start(&s->thread, "strata-snapshot", keep, s);
    if (status == STRATA_OK) {
        engine->snapshots = s;
        return STRATA_OK;
    }
    pthread_cond_destroy(&s->wake);
    pthread_mutex_destroy(&s->mutex);
    sx_release(&engine->alloc, s, sizeof *s);
    return status;
}

void sx_snapshots_stop(strata *engine) {
    struct sx_snapshots *s = engine->snapshots;
    if (s == NULL) return;
    pthread_mutex_lock(&s->mutex);
    s->stop = true;
    pthread_cond_signal(&s->wake);
    pthread_mutex_unlock(&s->mutex);
    sx_thread_join(&s->thread);
    pthread_cond_destroy(&s->wake);
    pthread_mutex_destroy(&s->mutex);
    sx_release(&engine->alloc, s, sizeof *s);
    engine->snapshots = NULL;
}

int32_t strata_snapshot_write(strata *engine, const char *path, uint64_t entries_max, uint64_t *written, strata_error *error) {
    strata_error local;
    if (engine == NULL) return STRATA_E_INVALID;
    if (error == NULL) error = &local;
    int32_t status = sx_engine_alive(engine);
    if (status == STRATA_OK && !engine->l1_on) status = STRATA_E_INVALID;
    return status != STRATA_OK ? status : write_one(engine, path, entries_max, NULL, written, error);
}
