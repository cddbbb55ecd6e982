/* SPDX-License-Identifier: Apache-2.0 */
/* The loader: reads the "database", at once or, like a real one, a while later from a thread of its own. */
#ifndef BENCH_LOADER_H
#define BENCH_LOADER_H

#include <pthread.h>
#include <strata/strata.h>

#include "bench/run.h"

typedef struct bench_loader_job {
    strata_load *load;
    uint32_t key;
    uint64_t version; /* of the row, and in the upper half the stamp of its tags */
    int64_t due_ns;
    bool fails;
} bench_loader_job;

/* One per process. */
typedef struct bench_loader {
    bench_run *run;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    pthread_t thread;
    bench_loader_job *jobs; /* a heap, the one that is due first on top; lock: mutex, like all below */
    size_t capacity, count;
    bool started, stopping;
    _Atomic uint64_t asked; /* relaxed: numbers the draws of latency and failure */
} bench_loader;

/* 0 or -1. */
int bench_loader_start(bench_loader *loader, bench_run *run);
/* Finishes what is waiting, at once, and ends the thread. */
void bench_loader_stop(bench_loader *loader);
/* A strata_loader_fn; user is the bench_loader. The version is read now and delivered after the latency: the worst that a real
   loader can do. */
void bench_loader_load(strata_load *load, void *user);

#endif
