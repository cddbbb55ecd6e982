/* SPDX-License-Identifier: Apache-2.0 */
/* The lag of an invalidation: a process sets and notes when that is acknowledged, another looks at its L1 without rest and
   notes when the old value is no longer answered. Beside the keys that are looked at others are set, at a given rate. */
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "bench/coherence/coherence.h"
#include "bench/histogram.h"
#include "bench/median.h"
#include "bench/run.h"

#define PROBES        64
#define PROBE_NS      (2 * BENCH_NS_PER_MS)
#define PROBE_RATE    500.0
#define LOAD_KEYS     1000
#define LOAD_MOST     20000 /* sets under way at once */
#define PATIENCE_NS   (2 * BENCH_NS_PER_S)
#define ROUNDS_MAX    64

/* Shared by the two processes. atomic: a probe's number is stored after what belongs to it. */
typedef struct lag_board {
    const bench_coherence *bench;
    _Atomic int filled;        /* L2 holds all keys */
    _Atomic int ready;         /* 1: the reader holds all keys; -1: it failed */
    _Atomic uint64_t asked;    /* number of the probe that is being set */
    _Atomic uint64_t acked;    /* acknowledged, at acked_ns */
    _Atomic int64_t acked_ns;
    _Atomic uint64_t seen;     /* measured, and held again */
    _Atomic uint64_t missed;   /* never seen */
    _Atomic int clear;         /* the histogram is to be emptied */
    bench_histogram lag;
} lag_board;

static strata_bytes name(char *text, size_t size, const char *prefix, uint64_t number) {
    int length = snprintf(text, size, "%s:%llu", prefix, (unsigned long long)number);
    return (strata_bytes){text, (size_t)length};
}

/* ---- the process that looks ---- */

static bool is_old(strata_session *session, strata_namespace *ns, strata_bytes key, uint64_t number) {
    strata_result result;
    uint64_t found = number;
    if (strata_peek(session, ns, key, &result) != STRATA_OK) return false;
    memcpy(&found, result.value.data, sizeof found);
    strata_result_release(session, &result);
    return found < number;
}

static void hold(strata_session *session, strata_namespace *ns, strata_bytes key) {
    strata_result result;
    int32_t status = strata_get_wait(session, ns, key, NULL, &result);
    if (status == STRATA_OK || status == STRATA_STALE) strata_result_release(session, &result);
}

static void look(lag_board *board, strata_session *session, strata_namespace *ns, uint64_t number) {
    char text[32];
    strata_bytes key = name(text, sizeof text, "probe", number % PROBES);
    int64_t give_up_ns = bench_now_ns() + PATIENCE_NS, seen_ns;
    bool old;
    while ((old = is_old(session, ns, key, number)) && bench_now_ns() < give_up_ns) sched_yield();
    seen_ns = bench_now_ns();
    while (atomic_load(&board->acked) != number && bench_now_ns() < give_up_ns) sched_yield();
    if (atomic_exchange(&board->clear, 0) != 0) bench_histogram_clear(&board->lag);
    if (old || atomic_load(&board->acked) != number) atomic_fetch_add(&board->missed, 1);
    else bench_histogram_add(&board->lag, seen_ns - atomic_load(&board->acked_ns));
    hold(session, ns, key);
    atomic_store(&board->seen, number);
}

static void read_all(void *argument) {
    lag_board *board = argument;
    strata *engine = bench_coherence_open(board->bench, NULL);
    strata_session *session = NULL;
    strata_namespace *ns = NULL;
    if (engine == NULL || strata_session_open(engine, &session) != STRATA_OK ||
        strata_namespace_open(engine, "lag", 1, &ns) != STRATA_OK) {
        atomic_store(&board->ready, -1);
        return;
    }
    char text[32];
    while (atomic_load(&board->filled) == 0) bench_coherence_sleep_until(bench_now_ns() + BENCH_NS_PER_MS);
    for (uint64_t i = 0; i < PROBES; i++) hold(session, ns, name(text, sizeof text, "probe", i));
    atomic_store(&board->ready, 1);
    for (uint64_t number = 1;; number++) {
        while (atomic_load(&board->asked) < number) bench_coherence_sleep_until(bench_now_ns() + 20 * BENCH_NS_PER_US);
        look(board, session, ns, number);
    }
}

/* ---- the process that sets ---- */

typedef struct lag_load {
    strata *engine;
    double rate;
    size_t value_bytes;
    _Atomic int stop;
    _Atomic uint64_t sent, done, failed;
} lag_load;

static void load_done(void *user, const strata_result *result) {
    lag_load *load = user;
    atomic_fetch_add(result->status == STRATA_OK ? &load->done : &load->failed, 1);
}

static void *set_all(void *argument) {
    lag_load *load = argument;
    strata_session *session = NULL;
    strata_namespace *ns = NULL;
    char text[32], *value = calloc(1, load->value_bytes);
    if (value == NULL || strata_session_open(load->engine, &session) != STRATA_OK ||
        strata_namespace_open(load->engine, "lag", 1, &ns) != STRATA_OK)
        abort();
    strata_op_options how = {.struct_size = sizeof how, .flags = STRATA_ON_LOOP, .deadline_ms = 2000};
    int64_t start_ns = bench_now_ns();
    for (uint64_t sent = 0; !atomic_load(&load->stop);) {
        uint64_t due = (uint64_t)((double)(bench_now_ns() - start_ns) / 1e9 * load->rate);
        for (; sent < due; sent++) {
            if (atomic_load(&load->sent) - atomic_load(&load->done) - atomic_load(&load->failed) >= LOAD_MOST) break;
            strata_bytes bytes = {value, load->value_bytes};
            int32_t status = strata_set(session, ns, name(text, sizeof text, "load", sent % LOAD_KEYS), bytes, &how,
                                        load_done, load);
            atomic_fetch_add(&load->sent, 1);
            if (status != STRATA_PENDING) atomic_fetch_add(&load->failed, 1);
        }
        (void)strata_session_dispatch(session, 0);
        bench_coherence_sleep_until(bench_now_ns() + BENCH_NS_PER_MS);
    }
    while (atomic_load(&load->sent) != atomic_load(&load->done) + atomic_load(&load->failed))
        bench_coherence_sleep_until(bench_now_ns() + BENCH_NS_PER_MS);
    strata_session_close(session);
    free(value);
    return NULL;
}

typedef struct lag_side {
    lag_board *board;
    strata *engine;
    strata_session *session;
    strata_namespace *ns;
    uint64_t number;
    char *value;
} lag_side;

/* One probe; the reader is given time to hold the key again. */
static bool probe(lag_side *side) {
    lag_board *board = side->board;
    char text[32];
    uint64_t number = ++side->number;
    memcpy(side->value, &number, sizeof number);
    atomic_store(&board->asked, number);
    bench_coherence_sleep_until(bench_now_ns() + 100 * BENCH_NS_PER_US); /* it has begun to look */
    strata_bytes bytes = {side->value, board->bench->value_bytes};
    int32_t status = strata_set_wait(side->session, side->ns, name(text, sizeof text, "probe", number % PROBES), bytes,
                                     NULL, NULL);
    atomic_store(&board->acked_ns, bench_now_ns());
    atomic_store(&board->acked, number);
    int64_t give_up_ns = bench_now_ns() + 2 * PATIENCE_NS;
    while (atomic_load(&board->seen) != number && bench_now_ns() < give_up_ns)
        bench_coherence_sleep_until(bench_now_ns() + 50 * BENCH_NS_PER_US);
    return status == STRATA_OK;
}

static bool round_of(lag_side *side, double rate, double *p50_us, double *p99_us, double *per_s) {
    lag_board *board = side->board;
    lag_load load = {.engine = side->engine, .rate = rate - PROBE_RATE, .value_bytes = board->bench->value_bytes};
    pthread_t thread;
    if (load.rate < 1) load.rate = 1;
    if (pthread_create(&thread, NULL, set_all, &load) != 0) return false;
    bool good = true;
    atomic_store(&board->clear, 1);
    int64_t start_ns = bench_now_ns(), at_ns = start_ns;
    uint64_t probes = 0;
    while (bench_now_ns() - start_ns < (int64_t)(board->bench->seconds * 1e9)) {
        good = probe(side) && good;
        probes++;
        at_ns += PROBE_NS;
        if (at_ns < bench_now_ns()) at_ns = bench_now_ns();
        bench_coherence_sleep_until(at_ns);
    }
    double seconds = (double)(bench_now_ns() - start_ns) / 1e9;
    uint64_t done = atomic_load(&load.done);
    atomic_store(&load.stop, 1);
    pthread_join(thread, NULL);
    *p50_us = (double)bench_histogram_quantile_ns(&board->lag, 0.5) / 1e3;
    *p99_us = (double)bench_histogram_quantile_ns(&board->lag, 0.99) / 1e3;
    *per_s = (double)(done + probes) / seconds;
    return good && atomic_load(&load.failed) == 0;
}

static bool measure(lag_side *side) {
    static const double rates[] = {1000, 5000, 10000, 20000, 50000};
    const bench_coherence *bench = side->board->bench;
    bool good = true;
    printf("lag of an invalidation between two processes, %llu rounds of %.1f s, medians\n%12s %12s %10s %10s\n",
           (unsigned long long)bench->rounds, bench->seconds, "asked/s", "set/s", "p50 us", "p99 us");
    for (size_t r = 0; r < sizeof rates / sizeof *rates; r++) {
        double p50[ROUNDS_MAX], p99[ROUNDS_MAX], per_s[ROUNDS_MAX];
        uint32_t rounds = (uint32_t)bench->rounds;
        bool fine = true;
        for (uint32_t i = 0; i < rounds; i++) fine = round_of(side, rates[r], &p50[i], &p99[i], &per_s[i]) && fine;
        char name[48];
        snprintf(name, sizeof name, "lag, %.0f sets/s", rates[r]);
        const bench_result_column columns[] = {{"per_second", per_s}, {"p50_us", p50}, {"p99_us", p99}};
        bench_coherence_case(bench, name, columns, 3, rounds);
        printf("%12.0f %12.0f %10.0f %10.0f%s\n", rates[r], bench_median(per_s, rounds),
               bench_median(p50, rounds), bench_median(p99, rounds), fine ? "" : "  some sets FAILED");
        good = good && (fine || rates[r] > 10000);
    }
    uint64_t missed = atomic_load(&side->board->missed);
    if (missed != 0) printf("%llu probes were not seen within 2 s\n", (unsigned long long)missed);
    return good && missed == 0;
}

bool bench_coherence_lag(const bench_coherence *bench) {
    lag_board *board = bench_coherence_share(sizeof *board);
    if (board == NULL) return false;
    board->bench = bench;
    int pid = bench_coherence_fork(read_all, board);
    lag_side side = {.board = board, .engine = bench_coherence_open(bench, NULL), .value = calloc(1, bench->value_bytes)};
    bool good = pid > 0 && side.engine != NULL && side.value != NULL &&
                strata_session_open(side.engine, &side.session) == STRATA_OK &&
                strata_namespace_open(side.engine, "lag", 1, &side.ns) == STRATA_OK;
    char text[32];
    for (uint64_t i = 0; good && i < PROBES; i++) {
        strata_bytes bytes = {side.value, bench->value_bytes};
        good = strata_set_wait(side.session, side.ns, name(text, sizeof text, "probe", i), bytes, NULL, NULL) == STRATA_OK;
    }
    atomic_store(&board->filled, 1);
    while (good && atomic_load(&board->ready) == 0) bench_coherence_sleep_until(bench_now_ns() + BENCH_NS_PER_MS);
    good = good && atomic_load(&board->ready) == 1 && measure(&side);
    if (side.session != NULL) strata_session_close(side.session);
    if (side.engine != NULL) (void)strata_close(side.engine, 1000);
    if (pid > 0) {
        (void)kill(pid, SIGKILL);
        (void)waitpid(pid, NULL, 0);
    }
    free(side.value);
    (void)munmap(board, sizeof *board);
    return good;
}
