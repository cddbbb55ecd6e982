/* SPDX-License-Identifier: Apache-2.0 */
/* What a lost subscription costs a warm process: bytes that it moves to read all its entries again, where nothing was written
   meanwhile, where something was in every partition, and where it had thrown everything away. */
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "bench/coherence/coherence.h"
#include "bench/run.h"

#define ENTRIES     100000
#define OUTSTANDING 256
#define OTHERS      8192 /* keys beside: each partition has some */
#define STOPPED_NS  (800 * BENCH_NS_PER_MS)

typedef struct reconnect_reading {
    int64_t bytes_in, bytes_out, revalidated, hits;
    double seconds;
    int failed;
} reconnect_reading;

typedef struct reconnect_board {
    const bench_coherence *bench;
    _Atomic int asked, answered; /* numbers of readings; a negative answer: it failed */
    _Atomic int cold;            /* the next reading is by an engine that holds nothing */
    reconnect_reading reading;
} reconnect_board;

static strata_bytes name(char *text, size_t size, const char *prefix, uint64_t number) {
    int length = snprintf(text, size, "%s:%llu", prefix, (unsigned long long)number);
    return (strata_bytes){text, (size_t)length};
}

typedef struct counted {
    uint64_t done, failed;
} counted;

static void done(void *user, const strata_result *result) {
    counted *count = user;
    count->done++;
    count->failed += result->status != STRATA_OK;
}

/* ---- the process that holds ---- */

static void read_all(strata *engine, strata_session *session, strata_namespace *ns, reconnect_reading *out) {
    counted count = {0};
    strata_op_options how = {.struct_size = sizeof how, .deadline_ms = 10000};
    char text[32];
    *out = (reconnect_reading){.bytes_in = -bench_coherence_metric(engine, "l2.bytes_in"),
                               .bytes_out = -bench_coherence_metric(engine, "l2.bytes_out"),
                               .revalidated = -bench_coherence_metric(engine, "l2.revalidated")};
    int64_t start_ns = bench_now_ns();
    for (uint64_t i = 0, asked = 0; i < ENTRIES || count.done < asked;) {
        for (; i < ENTRIES && asked - count.done < OUTSTANDING; i++) {
            strata_result result;
            int32_t status = strata_get(session, ns, name(text, sizeof text, "warm", i), &how, &result, done, &count);
            if (status == STRATA_OK) {
                out->hits++;
                strata_result_release(session, &result);
            } else if (status == STRATA_PENDING) {
                asked++;
            } else {
                out->failed++;
            }
        }
        if (count.done < asked) (void)strata_session_wait(session, 10);
    }
    out->seconds = (double)(bench_now_ns() - start_ns) / 1e9;
    out->failed += (int)count.failed;
    out->bytes_in += bench_coherence_metric(engine, "l2.bytes_in");
    out->bytes_out += bench_coherence_metric(engine, "l2.bytes_out");
    out->revalidated += bench_coherence_metric(engine, "l2.revalidated");
}

static bool is_trusted(strata *engine) {
    int64_t give_up_ns = bench_now_ns() + 10 * BENCH_NS_PER_S;
    while (bench_coherence_metric(engine, "coherence.partitions_trusted") < 256 && bench_now_ns() < give_up_ns)
        bench_coherence_sleep_until(bench_now_ns() + 5 * BENCH_NS_PER_MS);
    return bench_now_ns() < give_up_ns;
}

static void hold_all(void *argument) {
    reconnect_board *board = argument;
    const char *const pairs[] = {"l1.bytes", "256MiB", NULL};
    strata *engine = NULL;
    strata_session *session = NULL;
    strata_namespace *ns = NULL;
    atomic_store(&board->cold, 1);
    for (int number = 1;; number++) {
        while (atomic_load(&board->asked) < number) bench_coherence_sleep_until(bench_now_ns() + BENCH_NS_PER_MS);
        if (atomic_exchange(&board->cold, 0) != 0) {
            if (session != NULL) strata_session_close(session);
            if (engine != NULL) (void)strata_close(engine, 1000);
            engine = bench_coherence_open(board->bench, pairs);
            if (engine == NULL || strata_session_open(engine, &session) != STRATA_OK ||
                strata_namespace_open(engine, "reconnect", 1, &ns) != STRATA_OK)
                break;
        }
        if (!is_trusted(engine)) break;
        read_all(engine, session, ns, &board->reading);
        atomic_store(&board->answered, number);
    }
    atomic_store(&board->answered, -1);
}

/* ---- the process that measures ---- */

typedef struct reconnect_side {
    reconnect_board *board;
    strata_session *session;
    strata_namespace *ns;
    int pid;
    int number;
    char *value;
} reconnect_side;

static bool set_all(const reconnect_side *side, const char *prefix, uint64_t keys) {
    counted count = {0};
    strata_op_options how = {.struct_size = sizeof how, .deadline_ms = 10000};
    char text[32];
    for (uint64_t i = 0; i < keys || count.done < i;) {
        for (; i < keys && i - count.done < OUTSTANDING; i++) {
            strata_bytes value = {side->value, side->board->bench->value_bytes};
            if (strata_set(side->session, side->ns, name(text, sizeof text, prefix, i), value, &how, done, &count) !=
                STRATA_PENDING)
                return false;
        }
        (void)strata_session_wait(side->session, 10);
    }
    return count.failed == 0;
}

static bool reading(reconnect_side *side, const char *what) {
    reconnect_board *board = side->board;
    atomic_store(&board->asked, ++side->number);
    int answered;
    while ((answered = atomic_load(&board->answered)) != side->number && answered >= 0)
        bench_coherence_sleep_until(bench_now_ns() + BENCH_NS_PER_MS);
    if (answered < 0 || board->reading.failed != 0) return false;
    if (what != NULL)
        printf("%-44s %10.2f MB in %8.2f MB out %9lld from L1 %9lld by header %7.2f s\n", what,
               (double)board->reading.bytes_in / 1e6, (double)board->reading.bytes_out / 1e6, (long long)board->reading.hits,
               (long long)board->reading.revalidated, board->reading.seconds);
    double in = (double)board->reading.bytes_in, out = (double)board->reading.bytes_out, took_us = board->reading.seconds * 1e6;
    const bench_result_column columns[] = {{"received_bytes", &in}, {"sent_bytes", &out}, {"took_us", &took_us}};
    if (what != NULL) bench_coherence_case(board->bench, what, columns, 3, 1);
    return true;
}

/* The holder is stopped, and its subscriptions are closed meanwhile. */
static bool lose(reconnect_side *side, bool write) {
    const bench_coherence *bench = side->board->bench;
    if (kill(side->pid, SIGSTOP) != 0) return false;
    bench_coherence_sleep_until(bench_now_ns() + STOPPED_NS);
    for (uint32_t i = 0; i < sx_cluster_node_count(bench->cluster); i++)
        free(sx_cluster_command(bench->cluster, i, "CLIENT KILL TYPE pubsub"));
    bool good = true;
    if (write) {
        bench_coherence_sleep_until(bench_now_ns() + STOPPED_NS); /* our own is back */
        good = set_all(side, "other", OTHERS);
    }
    if (kill(side->pid, SIGCONT) != 0) return false;
    bench_coherence_sleep_until(bench_now_ns() + STOPPED_NS); /* it has noticed */
    return good;
}

static bool measure(reconnect_side *side) {
    if (!set_all(side, "warm", ENTRIES)) return false;
    printf("%d entries of %llu bytes, all read again\n", ENTRIES, (unsigned long long)side->board->bench->value_bytes);
    bool good = reading(side, "cold") && reading(side, "warm");
    good = good && lose(side, false) && reading(side, "after a reconnect, nothing written");
    good = good && lose(side, true) && reading(side, "after a reconnect, every partition written to");
    atomic_store(&side->board->cold, 1);
    return good && reading(side, "after a flush");
}

bool bench_coherence_reconnect(const bench_coherence *bench) {
    reconnect_board *board = bench_coherence_share(sizeof *board);
    if (board == NULL) return false;
    board->bench = bench;
    reconnect_side side = {.board = board, .pid = bench_coherence_fork(hold_all, board), .value = calloc(1, bench->value_bytes)};
    strata *engine = bench_coherence_open(bench, NULL);
    bool good = side.pid > 0 && engine != NULL && side.value != NULL &&
                strata_session_open(engine, &side.session) == STRATA_OK &&
                strata_namespace_open(engine, "reconnect", 1, &side.ns) == STRATA_OK && measure(&side);
    if (side.session != NULL) strata_session_close(side.session);
    if (engine != NULL) (void)strata_close(engine, 1000);
    if (side.pid > 0) {
        (void)kill(side.pid, SIGKILL);
        (void)waitpid(side.pid, NULL, 0);
    }
    free(side.value);
    (void)munmap(board, sizeof *board);
    return good;
}
