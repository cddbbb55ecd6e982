/* SPDX-License-Identifier: Apache-2.0 */
/* The workloads, each a loop that does nothing else: keys come from tables drawn before. All relaxed accesses: flags and
   sums of a benchmark, read after the threads that wrote them were joined. */
#include "bench/l1/measure.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "bench/zipf.h"

#define DRAWS (UINT64_C(1) << 22)

static uint32_t *zipf_draws, *uniform_draws; /* const after init */
static uint64_t key_count;
static _Atomic uint64_t fresh_keys; /* numbers beyond key_count, never given twice */

typedef struct worker {
    const cache_kind *kind;
    void *cache;
    measure_work work;
    uint64_t operations, first; /* where in the draws it begins */
    uint64_t gets, hits, wrong;
    clockid_t clock;
    double seconds; /* by this clock */
    bench_histogram *histogram;
    pthread_barrier_t *start;
    _Atomic bool *stop; /* NULL, or: go on until it is set */
    pthread_t thread;
} worker;

bool measure_init(uint64_t keys, double theta, uint64_t seed) {
    key_count = keys;
    zipf_draws = malloc(DRAWS * sizeof *zipf_draws);
    uniform_draws = malloc(DRAWS * sizeof *uniform_draws);
    if (zipf_draws == NULL || uniform_draws == NULL) return false;
    bench_zipf zipf;
    bench_permutation permutation;
    bench_random random;
    bench_zipf_init(&zipf, keys, theta);
    bench_permutation_init(&permutation, keys, seed);
    bench_random_init(&random, seed, 1);
    for (uint64_t i = 0; i < DRAWS; i++) {
        zipf_draws[i] = (uint32_t)bench_permutation_map(&permutation, bench_zipf_draw(&zipf, &random));
        uniform_draws[i] = (uint32_t)bench_random_below(&random, keys);
    }
    return true;
}

void measure_deinit(void) {
    free(zipf_draws);
    free(uniform_draws);
}

static double seconds_of(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}
static int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void set(const worker *w, void *part, uint64_t number) {
    uint8_t value[CACHE_VALUE_BYTES] = {0};
    memcpy(value, &number, sizeof number);
    cache_key key = cache_key_of(number);
    w->kind->set(w->cache, part, &key, value);
}

static bool get(worker *w, void *part, uint64_t number) {
    uint8_t value[CACHE_VALUE_BYTES];
    cache_key key = cache_key_of(number);
    bool hit = w->kind->get(w->cache, part, &key, value);
    w->wrong += hit && memcmp(value, &number, sizeof number) != 0;
    w->hits += hit;
    return hit;
}

static void batches(worker *w, void *part) {
    uint8_t values[CACHE_BATCH * CACHE_VALUE_BYTES];
    cache_key keys[CACHE_BATCH];
    for (uint64_t i = 0; i < w->operations; i += CACHE_BATCH) {
        for (uint64_t k = 0; k < CACHE_BATCH; k++) keys[k] = cache_key_of(uniform_draws[(w->first + i + k) % DRAWS]);
        w->hits += w->kind->get_batch(w->cache, part, keys, values);
    }
}

static void latencies(worker *w, void *part) {
    for (uint64_t i = 0; i < w->operations; i++) {
        uint64_t number = zipf_draws[(w->first + i) % DRAWS];
        int64_t begun_ns = now_ns();
        (void)get(w, part, number);
        bench_histogram_add(w->histogram, now_ns() - begun_ns);
    }
}

static void sets(worker *w, void *part) {
    for (uint64_t i = 0; w->stop == NULL ? i < w->operations : !atomic_load_explicit(w->stop, memory_order_relaxed); i++)
        set(w, part, zipf_draws[(w->first + i) % DRAWS]);
}

static void work(worker *w, void *part) {
    w->gets = w->operations;
    switch (w->work) {
    case MEASURE_GET:
        for (uint64_t i = 0; i < w->operations; i++) (void)get(w, part, zipf_draws[(w->first + i) % DRAWS]);
        break;
    case MEASURE_MIX:
        w->gets = 0;
        for (uint64_t i = 0; i < w->operations; i++) {
            uint64_t number = zipf_draws[(w->first + i) % DRAWS];
            bool write = i % 20 == 0;
            w->gets += !write;
            if (write || !get(w, part, number)) set(w, part, number);
        }
        break;
    case MEASURE_BATCH: batches(w, part); break;
    case MEASURE_HOT:
        for (uint64_t i = 0; i < w->operations; i++) (void)get(w, part, zipf_draws[0]);
        break;
    case MEASURE_LATENCY: latencies(w, part); break;
    case MEASURE_OVERWRITE: sets(w, part); break;
    case MEASURE_INSERT:
        for (uint64_t i = 0; i < w->operations; i++)
            set(w, part, key_count + atomic_fetch_add_explicit(&fresh_keys, 1, memory_order_relaxed));
        break;
    default: break;
    }
}

static void *run(void *argument) {
    worker *w = argument;
    void *part = w->kind->enter(w->cache);
    pthread_barrier_wait(w->start);
    double begun = seconds_of(w->clock);
    work(w, part);
    w->seconds = seconds_of(w->clock) - begun;
    w->kind->leave(w->cache, part);
    return NULL;
}

measure_result measure_run(const cache_kind *kind, void *cache, measure_work what, uint32_t threads, uint64_t operations,
                           bench_histogram *histogram, bool beside) {
    worker workers[MEASURE_THREADS_MAX + 1];
    static uint64_t round;
    pthread_barrier_t start;
    _Atomic bool stop = false;
    uint32_t all = threads + beside;
    round++;
    pthread_barrier_init(&start, NULL, all);
    for (uint32_t i = 0; i < all; i++) {
        workers[i] = (worker){.kind = kind, .cache = cache, .clock = all == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, .work = i < threads ? what : MEASURE_OVERWRITE,
                              .operations = operations, .first = round * 1000003 + i * (DRAWS / 3),
                              .histogram = histogram, .start = &start, .stop = i < threads ? NULL : &stop};
        pthread_create(&workers[i].thread, NULL, run, &workers[i]);
    }
    measure_result result = {.histogram = histogram};
    uint64_t gets = 0, hits = 0;
    for (uint32_t i = 0; i < all; i++) {
        if (i == threads) atomic_store_explicit(&stop, true, memory_order_relaxed);
        pthread_join(workers[i].thread, NULL);
        if (i >= threads) continue;
        result.ns += workers[i].seconds * 1e9 / (double)operations / threads;
        result.millions += (double)operations / workers[i].seconds * 1e-6;
        gets += workers[i].gets;
        hits += workers[i].hits;
        result.wrong += workers[i].wrong;
    }
    result.hit_ratio = gets == 0 ? 0 : (double)hits / (double)gets;
    pthread_barrier_destroy(&start);
    return result;
}

void measure_fill(const cache_kind *kind, void *cache) {
    worker w = {.kind = kind, .cache = cache};
    void *part = kind->enter(cache);
    for (uint64_t number = 0; number < key_count; number++) set(&w, part, number);
    kind->leave(cache, part);
}
