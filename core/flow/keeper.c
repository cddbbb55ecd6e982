/* SPDX-License-Identifier: Apache-2.0 */
/* The keeper: a thread that brings L1 under its budget, expires, and frees what no reader can see any more. */
#include <time.h>

#include "core/flow/engine.h"

/* Rest between rounds: short while memory is waiting to be freed, else ever longer. L1's crawl sees every group
   once in a second and a half: what has expired is gone within two seconds. */
#define BUSY_NS (2 * SX_NS_PER_MS)
#define IDLE_FIRST_NS (100 * SX_NS_PER_MS)
#define IDLE_MAX_NS (400 * SX_NS_PER_MS)

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

static void keep(void *argument) {
    strata *engine = argument;
    sx_epoch_record *record = NULL;
    int64_t rest_ns = IDLE_FIRST_NS;
    while (rest(engine, rest_ns)) {
        bool busy;
        if (record == NULL && sx_epoch_register(engine->epoch, &record) != STRATA_OK) continue;
        busy = engine->l1 != NULL && sx_l1_maintain_on_keeper(engine->l1, record, sx_engine_now(engine));
        if (sx_epoch_reclaim(engine->epoch) != 0 || sx_epoch_retired_bytes(engine->epoch) != 0) busy = true;
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
