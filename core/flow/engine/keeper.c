/* SPDX-License-Identifier: Apache-2.0 */
/* The keeper: a thread that brings L1 under its budget, expires, and frees what no reader can see any more. */
#include <time.h>

#include "core/flow/engine.h"

/* Rest between rounds: short while memory is waiting to be freed, else ever longer. L1's crawl sees every group
   once in a second and a half: what has expired is gone within two seconds. */
#define BUSY_NS (2 * SX_NS_PER_MS)
#define IDLE_FIRST_NS (100 * SX_NS_PER_MS)
#define IDLE_MAX_NS (400 * SX_NS_PER_MS)
/* Of L1, one after the other while there is more to do: each has a pin of its own, so that none is long. */
#define ROUNDS_MAX 8
/* A pin that is in the way for so long is told of, once in so much. */
#define STALL_NS     (100 * SX_NS_PER_MS)
#define STALL_LOG_NS (10 * SX_NS_PER_S)

/* Sleeps, or returns early when told to stop. Answers whether to go on. */
static bool rest(strata *engine, int64_t time_ns) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    int64_t at_ns = (int64_t)until.tv_nsec + time_ns;
    until.tv_sec += (time_t)(at_ns / SX_NS_PER_S);
    until.tv_nsec = (long)(at_ns % SX_NS_PER_S);
    pthread_mutex_lock(&engine->keeper_mutex);
    if (!engine->keeper_stop) (void)pthread_cond_timedwait(&engine->keeper_wake, &engine->keeper_mutex, &until);
    bool go_on = !engine->keeper_stop;
    pthread_mutex_unlock(&engine->keeper_mutex);
    return go_on;
}

/* A pin that keeps retired memory from being freed: which one, and when it was first noticed. owner: keeper */
typedef struct stall {
    uint64_t since;
    int64_t noticed_ns;
    sx_log_gate gate;
} stall;

/* Where retired memory has used up its part of the budget, puts are refused: say who reads for so long. */
static void watch_readers(strata *engine, stall *s) {
    char name[SX_EPOCH_NAME_BYTES];
    uint64_t since;
    if (engine->l1 == NULL || !sx_l1_refuses_new(engine->l1) || !sx_epoch_oldest(engine->epoch, name, &since)) {
        s->since = 0;
        return;
    }
    int64_t now_ns = sx_engine_now(engine);
    if (s->since != since) {
        s->since = since;
        s->noticed_ns = now_ns;
    }
    uint64_t dropped;
    if (now_ns - s->noticed_ns < STALL_NS || !sx_log_gate_open(&s->gate, now_ns, STALL_LOG_NS, &dropped)) return;
    sx_log_write(&engine->log, SX_LOG_WARN,
                 "L1 refuses values: %lld bytes can't be freed because %s has not released a result for %lld ms; "
                 "release results soon, or keep them with strata_result_retain",
                 (long long)sx_epoch_retired_bytes(engine->epoch), name[0] != '\0' ? name : "a session",
                 (long long)((now_ns - s->noticed_ns) / SX_NS_PER_MS));
}

/* Rounds, until little is left to do. Returns whether something is, or was. */
static bool work(strata *engine, sx_epoch_record *record) {
    bool more = true;
    size_t freed = 0;
    for (uint32_t i = 0; i < ROUNDS_MAX && more; i++) {
        more = engine->l1 != NULL && sx_l1_maintain_on_keeper(engine->l1, record, sx_engine_now(engine));
        /* While there is more to do, room is wanted at once; else writers go first, where any frees. */
        freed += more ? sx_epoch_reclaim(engine->epoch) : sx_epoch_reclaim_left(engine->epoch);
    }
    return more || freed != 0 || sx_epoch_retired_bytes(engine->epoch) != 0;
}

static void keep(void *argument) {
    strata *engine = argument;
    sx_epoch_record *record = NULL;
    stall stalled = {0};
    int64_t rest_ns = IDLE_FIRST_NS;
    while (rest(engine, rest_ns)) {
        if (record == NULL && sx_epoch_register(engine->epoch, &record) != STRATA_OK) continue;
        sx_events_record(record, &engine->events.keeper);
        bool busy = work(engine, record);
        watch_readers(engine, &stalled);
        sx_analysis_walk_on_keeper(engine, record);
        if (busy) rest_ns = BUSY_NS;
        else if (rest_ns < IDLE_FIRST_NS) rest_ns = IDLE_FIRST_NS;
        else rest_ns = rest_ns * 2 < IDLE_MAX_NS ? rest_ns * 2 : IDLE_MAX_NS;
    }
    if (record != NULL) sx_epoch_unregister(record);
}

int32_t sx_keeper_start(strata *engine) {
    pthread_condattr_t attributes;
    if (pthread_mutex_init(&engine->keeper_mutex, NULL) != 0) return STRATA_E_SYSTEM;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    int failed = pthread_cond_init(&engine->keeper_wake, &attributes);
    pthread_condattr_destroy(&attributes);
    int32_t status = failed ? STRATA_E_SYSTEM : sx_thread_start(&engine->keeper, "strata-keeper", keep, engine);
    if (status != STRATA_OK) {
        if (!failed) pthread_cond_destroy(&engine->keeper_wake);
        pthread_mutex_destroy(&engine->keeper_mutex);
        return status;
    }
    engine->keeper_started = true;
    return STRATA_OK;
}

void sx_keeper_stop(strata *engine) {
    if (!engine->keeper_started) return;
    pthread_mutex_lock(&engine->keeper_mutex);
    engine->keeper_stop = true;
    pthread_cond_signal(&engine->keeper_wake);
    pthread_mutex_unlock(&engine->keeper_mutex);
    sx_thread_join(&engine->keeper);
    pthread_cond_destroy(&engine->keeper_wake);
    pthread_mutex_destroy(&engine->keeper_mutex);
    engine->keeper_started = false;
}
