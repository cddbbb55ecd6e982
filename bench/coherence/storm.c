/* SPDX-License-Identifier: Apache-2.0 */
/* A storm of invalidations: several processes receive it while they read other keys from L1. None may be lost, nobody may
   lose trust, and reads go on. */
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "bench/coherence/coherence.h"
#include "bench/histogram.h"
#include "bench/run.h"

#define RECEIVERS_MAX 32
#define KEYS          2000 /* that are invalidated */
#define HITS          256  /* that are read */
#define READS         16   /* a millisecond, each timed */
#define UNDER_WAY_MAX 20000
#define SETTLE_NS     (5 * BENCH_NS_PER_S)

enum { PHASE_FILL, PHASE_CALM, PHASE_STORM, PHASE_COUNT, PHASE_END };

typedef struct storm_receiver {
    _Atomic int phase;              /* it is in; -1: it failed */
    _Atomic int64_t messages;       /* received, kept up to date in PHASE_COUNT */
    _Atomic int64_t lost, holes;    /* since the calm began */
    _Atomic uint64_t misses;        /* reads that L1 did not answer */
    _Atomic int64_t held;           /* invalidated keys that L1 still answers, looked at in PHASE_COUNT; -1: not yet */
    bench_histogram hits[PHASE_END];
} storm_receiver;

typedef struct storm_board {
    const bench_coherence *bench;
    _Atomic int phase;
    _Atomic uint32_t next; /* receiver */
    _Atomic uint64_t invalidated; /* keys 0 .. that - 1 */
    storm_receiver receivers[RECEIVERS_MAX];
} storm_board;

static strata_bytes name(char *text, size_t size, const char *prefix, uint64_t number) {
    int length = snprintf(text, size, "%s:%llu", prefix, (unsigned long long)number);
    return (strata_bytes){text, (size_t)length};
}

/* ---- a receiver ---- */

static void read_some(storm_receiver *receiver, strata_session *session, strata_namespace *ns, uint64_t *number, int phase) {
    char text[32];
    strata_result result;
    for (int i = 0; i < READS; i++) {
        strata_bytes key = name(text, sizeof text, "hit", (*number)++ % HITS);
        int64_t start_ns = bench_now_ns();
        int32_t status = strata_peek(session, ns, key, &result);
        int64_t took_ns = bench_now_ns() - start_ns;
        if (status == STRATA_OK) {
            strata_result_release(session, &result);
            bench_histogram_add(&receiver->hits[phase], took_ns);
        } else {
            atomic_fetch_add(&receiver->misses, 1);
        }
    }
}

static int64_t count_held(strata_session *session, strata_namespace *ns, uint64_t keys) {
    char text[32];
    strata_result result;
    int64_t held = 0;
    for (uint64_t i = 0; i < keys; i++) {
        if (strata_peek(session, ns, name(text, sizeof text, "key", i), &result) != STRATA_OK) continue;
        strata_result_release(session, &result);
        held++;
    }
    return held;
}

static void receive(void *argument) {
    storm_board *board = argument;
    storm_receiver *receiver = &board->receivers[atomic_fetch_add(&board->next, 1)];
    strata *engine = bench_coherence_open(board->bench, NULL);
    strata_session *session = NULL;
    strata_namespace *ns = NULL;
    if (engine == NULL || strata_session_open(engine, &session) != STRATA_OK ||
        strata_namespace_open(engine, "storm", 1, &ns) != STRATA_OK) {
        atomic_store(&receiver->phase, -1);
        return;
    }
    while (atomic_load(&board->phase) == PHASE_FILL) bench_coherence_sleep_until(bench_now_ns() + BENCH_NS_PER_MS);
    char text[32];
    for (uint64_t i = 0; i < KEYS + HITS; i++) {
        strata_result result;
        strata_bytes key = i < KEYS ? name(text, sizeof text, "key", i) : name(text, sizeof text, "hit", i - KEYS);
        if (strata_get_wait(session, ns, key, NULL, &result) == STRATA_OK) strata_result_release(session, &result);
    }
    int64_t messages = bench_coherence_metric(engine, "coherence.messages");
    int64_t lost = bench_coherence_metric(engine, "coherence.lost"), holes = bench_coherence_metric(engine, "coherence.holes");
    uint64_t number = 0;
    atomic_store(&receiver->phase, PHASE_CALM);
    for (int phase; (phase = atomic_load(&board->phase)) != PHASE_END;) {
        read_some(receiver, session, ns, &number, phase);
        atomic_store(&receiver->messages, bench_coherence_metric(engine, "coherence.messages") - messages);
        if (phase == PHASE_COUNT) atomic_store(&receiver->held, count_held(session, ns, atomic_load(&board->invalidated)));
        atomic_store(&receiver->lost, bench_coherence_metric(engine, "coherence.lost") - lost);
        atomic_store(&receiver->holes, bench_coherence_metric(engine, "coherence.holes") - holes);
        bench_coherence_sleep_until(bench_now_ns() + BENCH_NS_PER_MS);
    }
}

/* ---- the writer ---- */

typedef struct storm_count {
    _Atomic uint64_t done, failed;
} storm_count;

static void done(void *user, const strata_result *result) {
    storm_count *count = user;
    atomic_fetch_add(result->status == STRATA_OK ? &count->done : &count->failed, 1);
}

/* Invalidations at the rate, as far as it goes. Seconds until the last was acknowledged. */
static double blow(const bench_coherence *bench, strata_session *session, strata_namespace *ns, storm_count *count) {
    strata_op_options how = {.struct_size = sizeof how, .flags = STRATA_ON_LOOP, .deadline_ms = 10000};
    int64_t start_ns = bench_now_ns();
    uint64_t total = (uint64_t)(bench->storm_rate * bench->seconds), sent = 0;
    while (sent < total) {
        uint64_t due = (uint64_t)((double)(bench_now_ns() - start_ns) / 1e9 * bench->storm_rate);
        for (; sent < due && sent < total && sent - count->done - count->failed < UNDER_WAY_MAX; sent++) {
            char text[32];
            if (strata_invalidate(session, ns, name(text, sizeof text, "key", sent % KEYS), &how, done, count) !=
                STRATA_PENDING)
                atomic_fetch_add(&count->failed, 1);
        }
        (void)strata_session_dispatch(session, 0);
        bench_coherence_sleep_until(bench_now_ns() + BENCH_NS_PER_MS);
    }
    while (count->done + count->failed < sent) bench_coherence_sleep_until(bench_now_ns() + BENCH_NS_PER_MS);
    return (double)(bench_now_ns() - start_ns) / 1e9;
}

static bool fill(const bench_coherence *bench, strata_session *session, strata_namespace *ns) {
    char text[32], *value = calloc(1, bench->value_bytes);
    bool good = value != NULL;
    for (uint64_t i = 0; good && i < KEYS + HITS; i++) {
        strata_bytes key = i < KEYS ? name(text, sizeof text, "key", i) : name(text, sizeof text, "hit", i - KEYS);
        good = strata_set_wait(session, ns, key, (strata_bytes){value, bench->value_bytes}, NULL, NULL) == STRATA_OK;
    }
    free(value);
    return good;
}

static bool await(storm_board *board, int phase) {
    for (uint32_t i = 0; i < board->bench->receivers; i++) {
        while (atomic_load(&board->receivers[i].phase) == PHASE_FILL)
            bench_coherence_sleep_until(bench_now_ns() + BENCH_NS_PER_MS);
        if (atomic_load(&board->receivers[i].phase) != phase) return false;
    }
    return true;
}

/* Invalidations that a server executes together are told by one message: each receiver must have heard as many as the writer has. */
static bool judge(storm_board *board, strata *writer, int64_t heard_before, uint64_t sent, double seconds) {
    int64_t heard = 0;
    uint64_t count = board->bench->receivers;
    int64_t give_up_ns = bench_now_ns() + SETTLE_NS;
    bool all = false, good = true;
    while (!all && bench_now_ns() < give_up_ns) {
        heard = bench_coherence_metric(writer, "coherence.messages") - heard_before;
        all = heard > 0;
        for (uint32_t i = 0; i < count; i++)
            all = all && atomic_load(&board->receivers[i].messages) == heard && atomic_load(&board->receivers[i].held) == 0;
        bench_coherence_sleep_until(bench_now_ns() + 5 * BENCH_NS_PER_MS);
    }
    printf("storm: %llu invalidations in %.2f s (%.0f/s) to %llu processes, in %lld messages\n%10s %10s %8s %8s %8s %10s %14s %14s\n",
           (unsigned long long)sent, seconds, (double)sent / seconds, (unsigned long long)count, (long long)heard, "process", "received",
           "old", "holes", "trust", "misses", "hit p99 calm", "hit p99 storm");
    for (uint32_t i = 0; i < count; i++) {
        storm_receiver *r = &board->receivers[i];
        int64_t messages = atomic_load(&r->messages), held = atomic_load(&r->held), lost = atomic_load(&r->lost), holes = atomic_load(&r->holes);
        printf("%10u %10lld %8lld %8lld %8lld %10llu %11llu ns %11llu ns\n", i, (long long)messages, (long long)held, (long long)holes,
               (long long)lost, (unsigned long long)atomic_load(&r->misses),
               (unsigned long long)bench_histogram_quantile_ns(&r->hits[PHASE_CALM], 0.99),
               (unsigned long long)bench_histogram_quantile_ns(&r->hits[PHASE_STORM], 0.99));
        good = good && heard > 0 && messages == heard && held == 0 && holes == 0 && lost == 0 && atomic_load(&r->misses) == 0;
    }
    double calm_ns[RECEIVERS_MAX], storm_ns[RECEIVERS_MAX], missing[RECEIVERS_MAX], per_second[RECEIVERS_MAX];
    for (uint32_t i = 0; i < count; i++) {
        storm_receiver *r = &board->receivers[i];
        calm_ns[i] = (double)bench_histogram_quantile_ns(&r->hits[PHASE_CALM], 0.99);
        storm_ns[i] = (double)bench_histogram_quantile_ns(&r->hits[PHASE_STORM], 0.99);
        missing[i] = (double)(heard - atomic_load(&r->messages));
        per_second[i] = (double)sent / seconds;
    }
    const bench_result_column columns[] = {{"per_second", per_second}, {"messages_missing", missing}, {"hit_p99_calm_ns", calm_ns},
                                           {"hit_p99_ns", storm_ns}};
    bench_coherence_case(board->bench, "storm", columns, 4, (uint32_t)count);
    if (!good) printf("storm: LOST messages, trust or reads\n");
    return good;
}

bool bench_coherence_storm(const bench_coherence *bench) {
    storm_board *board = bench_coherence_share(sizeof *board);
    if (board == NULL) return false;
    board->bench = bench;
    for (uint64_t i = 0; i < bench->receivers; i++) atomic_store(&board->receivers[i].held, -1);
    int pids[RECEIVERS_MAX];
    bool good = true;
    for (uint64_t i = 0; i < bench->receivers; i++) good = (pids[i] = bench_coherence_fork(receive, board)) > 0 && good;
    strata *engine = good ? bench_coherence_open(bench, NULL) : NULL;
    strata_session *session = NULL;
    strata_namespace *ns = NULL;
    storm_count count = {0};
    good = engine != NULL && strata_session_open(engine, &session) == STRATA_OK &&
           strata_namespace_open(engine, "storm", 1, &ns) == STRATA_OK && fill(bench, session, ns);
    atomic_store(&board->phase, PHASE_CALM);
    good = good && await(board, PHASE_CALM);
    if (good) {
        bench_coherence_sleep_until(bench_now_ns() + (int64_t)(bench->seconds * 1e9));
        atomic_store(&board->phase, PHASE_STORM);
        int64_t heard_before = bench_coherence_metric(engine, "coherence.messages");
        double seconds = blow(bench, session, ns, &count);
        atomic_store(&board->invalidated, count.done < KEYS ? count.done : KEYS);
        atomic_store(&board->phase, PHASE_COUNT);
        good = judge(board, engine, heard_before, count.done, seconds) && count.failed == 0;
    }
    atomic_store(&board->phase, PHASE_END);
    if (session != NULL) strata_session_close(session);
    if (engine != NULL) (void)strata_close(engine, 1000);
    for (uint64_t i = 0; i < bench->receivers; i++) {
        if (pids[i] <= 0) continue;
        (void)kill(pids[i], SIGKILL);
        (void)waitpid(pids[i], NULL, 0);
    }
    (void)munmap(board, sizeof *board);
    return good;
}
