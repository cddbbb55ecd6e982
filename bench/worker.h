/* SPDX-License-Identifier: Apache-2.0 */
/* One thread of load: starts operations in a closed or open loop, and judges and times every answer. */
#ifndef BENCH_WORKER_H
#define BENCH_WORKER_H

#include <pthread.h>
#include <strata/strata.h>

#include "bench/loader.h"
#include "bench/run.h"

typedef struct bench_worker bench_worker;

/* One operation under way. */
typedef struct bench_slot {
    bench_worker *worker;
    struct bench_slot *next_free;
    bench_outcome outcome; /* of a write; a read's is known by its answer */
    uint32_t key, version; /* of a write: what is written */
    int64_t intended_ns, began_ns;
    uint64_t floor;
    uint32_t tag_floor;
    bool plain; /* a get: it may find nothing */
} bench_slot;

struct bench_worker {
    bench_run *run;
    strata *engine;
    strata_namespace *ns;
    bench_loader *loader;
    uint32_t process, thread;
    pthread_t handle;
    /* owner: the worker's thread */
    strata_session *session;
    bench_numbers *numbers;
    bench_stream stream;
    bench_random arrivals;
    bench_slot *slots, *free_slots;
    uint32_t outstanding;
    uint32_t dispatch_count;
    bool recording;
    unsigned char *value;
    int32_t failure; /* why the thread could not work at all */
};

/* The thread's function; argument is a bench_worker whose first fields are filled. */
void *bench_worker_thread(void *argument);

#endif
