/* SPDX-License-Identifier: Apache-2.0 */
/* Closing an engine: refuse, drain within the deadline, cut off what is left, take the rooms down. */
#include <time.h>

#include "core/flow/engine.h"
#include "core/flow/lock/lock.h"

static void stopped(void *context) {
    strata *engine = context;
    sx_lock_acquire(&engine->lock);
    engine->stopped = true;
    pthread_cond_signal(&engine->changed);
    sx_lock_release(&engine->lock);
}

static void trust_stopped(void *context) {
    strata *engine = context;
    sx_redis_cluster_stop_on_loop(engine->cluster, stopped, engine);
}

static void foreign_stopped(void *context) {
    strata *engine = context;
    sx_trust_stop_on_loop(engine->trust, trust_stopped, engine);
}

static void stop_on_loop(sx_task *task) {
    strata *engine = SX_CONTAINER(task, strata, stop_task);
    engine->stopping = true;
    sx_loop_timer_cancel(engine->loop, &engine->window.timer);
    sx_flight_cut_off_on_loop(engine);
    sx_gather_cut_off_on_loop(engine);
    if (engine->unknown_count + engine->owed_count != 0)
        sx_log_write(&engine->log, SX_LOG_WARN, "closed with %u invalidations that L2 has not executed",
                     engine->unknown_count + engine->owed_count);
    sx_unknown_cut_off_on_loop(engine);
    sx_sweep_cut_off_on_loop(engine);
    sx_lockings_cut_off_on_loop(engine);
    if (!engine->l2_on) {
        stopped(engine);
        return;
    }
    sx_audit_stop_on_loop(engine);
    sx_store_stop_on_loop(engine->store);
    sx_foreign_stop_on_loop(engine->foreign, foreign_stopped, engine);
}

/* Refreshes that only a session's thread can load are not waited for: it need never come back. */
static bool any_pending(const strata *engine) {
    /* [order: close-idle] in this order: what ends in between counts as pending still; what the operations wrote is ordered by
       the loop's join */
    int64_t pending = atomic_load_explicit(&engine->pending, memory_order_acquire);
    return pending > atomic_load_explicit(&engine->idle, memory_order_relaxed); /* relaxed: as above */
}

static bool drain(strata *engine, uint32_t deadline_ms) {
    sx_clock clock = {NULL, NULL};
    int64_t end_ns = sx_clock_now_ns(&clock) + (int64_t)deadline_ms * SX_NS_PER_MS;
    while (any_pending(engine)) {
        if (sx_clock_now_ns(&clock) >= end_ns) return false;
        struct timespec time = {0, 1000000};
        (void)nanosleep(&time, NULL);
    }
    return true;
}

int32_t strata_close(strata *engine, uint32_t deadline_ms) {
    if (engine == NULL) return STRATA_OK;
    if (sx_engine_forked(engine)) return STRATA_E_FORKED;
    assert(!sx_loop_is_current(engine->loop));
    atomic_store_explicit(engine->live, SX_LIVE_CLOSED, memory_order_relaxed); /* relaxed: only makes calls refuse */
    sx_lock_acquire(&engine->lock);
    while (engine->warmings != 0) pthread_cond_wait(&engine->changed, &engine->lock.mutex); /* they see that it is closed */
    sx_config_watch *watch = engine->watch;
    engine->watch = NULL;
    sx_lock_release(&engine->lock);
    sx_config_watch_stop(watch);
    sx_prefetch_stop(engine);
    bool drained = drain(engine, deadline_ms);
    engine->stop_task.run_on_loop = stop_on_loop;
    sx_loop_post(engine->loop, &engine->stop_task);
    sx_lock_acquire(&engine->lock);
    while (!engine->stopped) pthread_cond_wait(&engine->changed, &engine->lock.mutex);
    sx_lock_release(&engine->lock);
    sx_engine_take_down(engine);
    sx_engine_release(engine);
    return drained ? STRATA_OK : STRATA_E_TIMEOUT;
}
