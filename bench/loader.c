/* SPDX-License-Identifier: Apache-2.0 */
/* Loads that finish after a fixed latency, in the order they began. */
#include "bench/loader.h"

#include <stdlib.h>

static void finish(bench_loader *loader, const bench_loader_job *job) {
    uint32_t size = bench_workload_value_bytes(&loader->run->workload, job->key, job->version);
    void *value = malloc(size);
    if (value != NULL) bench_value_make(value, job->key, job->version, size);
    (void)strata_load_finish(job->load, value != NULL ? STRATA_OK : STRATA_E_NOMEM,
                             (strata_bytes){value, value != NULL ? size : 0}, NULL);
    free(value);
}

/* Makes room for one more; 0 or -1. */
static int grow_locked(bench_loader *loader) {
    if (loader->count < loader->capacity) return 0;
    size_t capacity = loader->capacity == 0 ? 256 : loader->capacity * 2;
    bench_loader_job *jobs = malloc(capacity * sizeof *jobs);
    if (jobs == NULL) return -1;
    for (size_t i = 0; i < loader->count; i++) jobs[i] = loader->jobs[(loader->first + i) % loader->capacity];
    free(loader->jobs);
    loader->jobs = jobs;
    loader->capacity = capacity;
    loader->first = 0;
    return 0;
}

void bench_loader_load(strata_load *load, void *user) {
    bench_loader *loader = user;
    strata_bytes key = strata_load_key(load);
    bench_loader_job job = {.load = load, .key = bench_key_decode(key.data, key.size)};
    if (job.key >= loader->run->database.count) { /* not a key we asked for */
        (void)strata_load_finish(load, STRATA_E_LOAD_FAILED, (strata_bytes){NULL, 0}, NULL);
        return;
    }
    job.version = bench_database_version(&loader->run->database, job.key);
    if (!loader->started) {
        finish(loader, &job);
        return;
    }
    pthread_mutex_lock(&loader->mutex);
    job.due_ns = bench_now_ns() + (int64_t)loader->run->settings.loader_us * BENCH_NS_PER_US;
    int refused = loader->stopping || grow_locked(loader) != 0;
    if (!refused) {
        loader->jobs[(loader->first + loader->count++) % loader->capacity] = job;
        if (loader->count == 1) pthread_cond_signal(&loader->wake);
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
        bench_loader_job job = loader->jobs[loader->first];
        if (!loader->stopping && bench_now_ns() < job.due_ns) {
            struct timespec until = {job.due_ns / BENCH_NS_PER_S, job.due_ns % BENCH_NS_PER_S};
            pthread_cond_timedwait(&loader->wake, &loader->mutex, &until);
            continue;
        }
        loader->first = (loader->first + 1) % loader->capacity;
        loader->count--;
        pthread_mutex_unlock(&loader->mutex);
        finish(loader, &job);
        pthread_mutex_lock(&loader->mutex);
    }
    pthread_mutex_unlock(&loader->mutex);
    return NULL;
}

int bench_loader_start(bench_loader *loader, bench_run *run) {
    *loader = (bench_loader){.run = run};
    if (run->settings.loader_us == 0) return 0;
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
