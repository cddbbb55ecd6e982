/* SPDX-License-Identifier: Apache-2.0 */
/* The invalidation probe: how soon after a write another process stops answering the old value from its L1. */
#ifndef BENCH_PROBE_H
#define BENCH_PROBE_H

#include <pthread.h>
#include <strata/strata.h>

#include "bench/loader.h"
#include "bench/run.h"

typedef struct bench_probe {
    bench_run *run;
    strata *engine;
    strata_namespace *ns;
    bench_loader *loader;
    uint32_t process;
    pthread_t handle;
    /* owner: the probe's thread */
    strata_session *session;
    unsigned char *value;
} bench_probe;

/* The thread of process 0 that writes, and the one of process 1 that watches; argument is a bench_probe. */
void *bench_probe_writer_thread(void *argument);
void *bench_probe_watcher_thread(void *argument);

#endif
