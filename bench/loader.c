/* SPDX-License-Identifier: Apache-2.0 */
/* Loads that finish after a latency drawn from a range, or fail as often as asked for. */
#include "bench/loader.h"

#include <stdlib.h>

static void finish(bench_loader *loader, const bench_loader_job *job) {
    uint32_t size = bench_workload_value_bytes(&loader->run->workload, job->key, (uint32_t)job->version);
    void *value = job->fails ? NULL : malloc(size);
    if (value != NULL) bench_value_make(value, job->key, job->version, size);
    (void)strata_load_finish(job->load, value != NULL ? STRATA_OK : job->fails ? STRATA_E_LOAD_FAILED : STRATA_E_NOMEM,
                             (strata_bytes){value, value != NULL ? size : 0}, NULL);
    free(value);
}

/* ---- the heap ----------------------------------------------------------------------------------------------- */

/* Makes room for one more; 0 or -1. */
static int grow_locked(bench_loader *loader) {
    if (loader->count < loader->capacity) return 0;
    size_t capacity = loader->capacity == 0 ? 256 : loader->capacity * 2;
    bench_loader_job *jobs = realloc(loader->jobs, capacity * sizeof *jobs);
    if (jobs == NULL) return -1;
    loader->jobs = jobs;
    loader->capacity = capacity;
    return 0;
}

static void push_locked(bench_loader *loader, const bench_loader_job *job) {
    size_t at = loader->count++;
    for (; at > 0 && loader->jobs[(at - 1) / 2].due_ns > job->due_ns; at = (at - 1) / 2) loader->jobs[at] = loader->jobs[(at - 1) / 2];
    loader->jobs[at] = *job;
}

static bench_loader_job pop_locked(bench_loader *loader) {
    bench_loader_job first = loader->jobs[0], last = loader->jobs[--loader->count];
    size_t at = 0;
    for (size_t child = 1; child < loader->count; child = 2 * at + 1) {
        if (child + 1 < loader->count && loader->jobs[child + 1].due_ns < loader->jobs[child].due_ns) child++;
        if (loader->jobs[child].due_ns >= last.due_ns) break;
        loader->jobs[at] = loader->jobs[child];
        at = child;
    }
    loader->jobs[at] = last;
    return first;
}

/* ---- loading ------------------------------------------------------------------------------------------------ */

void bench_loader_load(strata_load *load, void *user) {
    bench_loader *loader = user;
    const bench_run *run = loader->run;
    strata_bytes key = strata_load_key(load);
    bench_loader_job job = {.load = load, .key = bench_key_decode(key.data, key.size)};
    uint32_t rows[BENCH_TAGS_MAX];
    if (job.key >= run->workload.keys + BENCH_PROBE_KEYS) { /* not a key we asked for */
        (void)strata_load_finish(load, STRATA_E_LOAD_FAILED, (strata_bytes){NULL, 0}, NULL);
        return;
    }
    uint32_t tags = bench_run_tag_rows(run, job.key, rows);
    uint64_t stamp = bench_tags_stamp(&run->database, rows, tags);
    job.version = stamp << 32 | bench_database_version(&run->database, job.key);
    uint64_t number = atomic_fetch_add_explicit(&loader->asked, 1, memory_order_relaxed);
    uint64_t bits = bench_mix(run->settings.workload.seed ^ bench_mix(number << 32 | job.key));
    job.fails = (double)(bench_mix(bits) >> 11) * 0x1.0p-53 < run->settings.loader_fail_percent / 100;
    if (!loader->started) {
        finish(loader, &job);
        return;
    }
    pthread_mutex_lock(&loader->mutex);
    job.due_ns = bench_now_ns() + (int64_t)bench_range_draw(&run->settings.loader_us, bits) * BENCH_NS_PER_US;
    int refused = loader->stopping || grow_locked(loader) != 0;
    if (!refused) {
        push_locked(loader, &job);
        if (loader->jobs[0].load == load) pthread_cond_signal(&loader->wake);
    }
    pthread_mutex_unlock(&loader->mutex);
    if (refused) finish(loader, &job);
}

static void *loader_thread(void *argument) {
    bench_loader *loader = argument;
    pthread_mutex_lock(&loader->mutex);
    while (!loader->stopping || loader->count > 0) {
        if (loader->count == 0) {
            pthread_cond_wait(&loader->wake, &loader->mutex);
            continue;
        }
        int64_t due_ns = loader->jobs[0].due_ns;
        if (!loader->stopping && bench_now_ns() < due_ns) {
            struct timespec until = {due_ns / BENCH_NS_PER_S, due_ns % BENCH_NS_PER_S};
            pthread_cond_timedwait(&loader->wake, &loader->mutex, &until);
            continue;
        }
        bench_loader_job job = pop_locked(loader);
        pthread_mutex_unlock(&loader->mutex);
        finish(loader, &job);
        pthread_mutex_lock(&loader->mutex);
    }
    pthread_mutex_unlock(&loader->mutex);
    return NULL;
}

int bench_loader_start(bench_loader *loader, bench_run *run) {
    *loader = (bench_loader){.run = run};
    if (run->settings.loader_us.max == 0) return 0;
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_mutex_init(&loader->mutex, NULL);
    pthread_cond_init(&loader->wake, &attributes);
    pthread_condattr_destroy(&attributes);
    loader->started = true; /* read by threads that are created later */
    if (pthread_create(&loader->thread, NULL, loader_thread, loader) == 0) return 0;
    loader->started = false;
    return -1;
}

void bench_loader_stop(bench_loader *loader) {
    if (!loader->started) return;
    pthread_mutex_lock(&loader->mutex);
    loader->stopping = true;
    pthread_cond_signal(&loader->wake);
    pthread_mutex_unlock(&loader->mutex);
    pthread_join(loader->thread, NULL);
    free(loader->jobs);
    loader->jobs = NULL;
}
