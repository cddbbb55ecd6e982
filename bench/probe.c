/* SPDX-License-Identifier: Apache-2.0 */
/* Two threads in two processes pass one key at a time back and forth over a board in shared memory. */
#include "bench/probe.h"

#include <stdlib.h>
#include <sys/prctl.h>

#define PRIME_TIMEOUT_NS (2 * BENCH_NS_PER_S)
#define WATCH_TIMEOUT_NS (10 * BENCH_NS_PER_S)
/* Between two looks the watcher sleeps: spinning would take the CPU from the very write it waits for, where CPUs are few. The
   lag is therefore known to about this and what waking up takes. */
#define LOOK_GAP_NS (10 * BENCH_NS_PER_US)

static void sleep_ns(int64_t ns) {
    struct timespec time = {ns / BENCH_NS_PER_S, ns % BENCH_NS_PER_S};
    if (ns > 0) nanosleep(&time, NULL);
}

static bool over(const bench_probe *probe) {
    bench_shared *shared = probe->run->shared;
    return atomic_load(&shared->stop) != 0 || bench_now_ns() >= atomic_load(&shared->end_ns);
}

static strata_bytes key_bytes(const bench_probe *probe, uint32_t key, char text[BENCH_KEY_BYTES_MAX]) {
    return (strata_bytes){text, bench_key_encode(&probe->run->workload, key, text)};
}

/* ---- process 0 ---------------------------------------------------------------------------------------------- */

typedef struct written {
    uint32_t version;
    int64_t called_ns, acknowledged_ns;
    int32_t status;
} written;

static written write_key(bench_probe *probe, uint32_t key, bool set) {
    bench_database *database = &probe->run->database;
    char text[BENCH_KEY_BYTES_MAX];
    strata_bytes name = key_bytes(probe, key, text);
    written outcome = {.version = bench_database_write_begin(database, probe->process, key), .status = STRATA_E_OVERLOADED};
    if (outcome.version == 0) return outcome;
    uint32_t size = bench_workload_value_bytes(&probe->run->workload, key, outcome.version);
    if (set) bench_value_make(probe->value, key, outcome.version, size);
    outcome.called_ns = bench_now_ns();
    outcome.status =
        set ? strata_set_wait(probe->session, probe->ns, name, (strata_bytes){probe->value, size}, NULL, NULL)
            : strata_invalidate_wait(probe->session, probe->ns, name, NULL);
    outcome.acknowledged_ns = bench_now_ns();
    bench_database_write_end(database, probe->process, key, outcome.version, outcome.status == STRATA_OK,
                             outcome.acknowledged_ns);
    return outcome;
}

/* Waits until the watcher has left a state; the state it is in then. */
static uint32_t wait_while(bench_probe *probe, uint32_t state, int64_t timeout_ns) {
    bench_probe_board *board = &probe->run->shared->probe_board;
    int64_t give_up_ns = bench_now_ns() + timeout_ns;
    while (atomic_load(&board->state) == state && bench_now_ns() < give_up_ns && !over(probe))
        sleep_ns(100000);
    return atomic_load(&board->state);
}

static void sample(bench_probe *probe, uint32_t key, bool set) {
    bench_probe_numbers *numbers = &probe->run->shared->probe;
    bench_probe_board *board = &probe->run->shared->probe_board;
    written first = write_key(probe, key, true);
    if (first.status != STRATA_OK) {
        bench_count_add(&numbers->failed, 1);
        return;
    }
    atomic_store(&board->key, key);
    atomic_store(&board->version, first.version);
    atomic_store(&board->state, BENCH_PROBE_PRIME);
    uint32_t state = wait_while(probe, BENCH_PROBE_PRIME, PRIME_TIMEOUT_NS);
    written second = {.status = STRATA_E_CANCELLED};
    if (state == BENCH_PROBE_WATCHING || state == BENCH_PROBE_SEEN) {
        second = write_key(probe, key, set);
        state = wait_while(probe, BENCH_PROBE_WATCHING, WATCH_TIMEOUT_NS + BENCH_NS_PER_S);
    }
    int64_t seen_ns = atomic_load(&board->seen_ns);
    if (second.status != STRATA_OK || (state != BENCH_PROBE_SEEN && over(probe))) {
        if (!over(probe)) bench_count_add(&numbers->failed, 1);
    } else if (state != BENCH_PROBE_SEEN) {
        bench_count_add(&numbers->never_seen, 1);
    } else if (seen_ns < second.called_ns) {
        bench_count_add(&numbers->discarded, 1);
    } else {
        bench_histogram_add(&numbers->after_ack[set ? 0 : 1], seen_ns - second.acknowledged_ns);
        bench_histogram_add(&numbers->after_call[set ? 0 : 1], seen_ns - second.called_ns);
    }
    /* The watcher leaves WATCHING by itself, if only at its timeout; the board is free then. */
    while (wait_while(probe, BENCH_PROBE_WATCHING, WATCH_TIMEOUT_NS) == BENCH_PROBE_WATCHING &&
           !over(probe)) {}
    atomic_store(&board->state, BENCH_PROBE_IDLE);
}

void *bench_probe_writer_thread(void *argument) {
    bench_probe *probe = argument;
    bench_run *run = probe->run;
    int64_t gap_ns = (int64_t)((double)BENCH_NS_PER_S / run->settings.probe_rate);
    int64_t due_ns = bench_now_ns() + 500 * BENCH_NS_PER_MS;
    probe->value = malloc(run->value_bytes_max);
    if (probe->value != NULL && strata_session_open(probe->engine, &probe->session) == STRATA_OK) {
        for (uint32_t i = 0; !over(probe); i++, due_ns += gap_ns) {
            int64_t now_ns = bench_now_ns();
            if (now_ns > due_ns) due_ns = now_ns; /* a lost turn is not made up for */
            while (now_ns < due_ns && !over(probe)) {
                sleep_ns(due_ns - now_ns < 50 * BENCH_NS_PER_MS ? due_ns - now_ns : 50 * BENCH_NS_PER_MS);
                now_ns = bench_now_ns();
            }
            if (!over(probe)) sample(probe, run->workload.keys + i % BENCH_PROBE_KEYS, i % 2 == 0);
        }
        strata_session_close(probe->session);
    }
    free(probe->value);
    return NULL;
}

/* ---- process 1 ---------------------------------------------------------------------------------------------- */

/* The version that L1 answers with; 0 where it has none. */
static uint32_t peek_version(bench_probe *probe, strata_bytes key) {
    strata_result result;
    bench_value_header header;
    uint32_t version = 0;
    int32_t status = strata_peek(probe->session, probe->ns, key, &result);
    if (status != STRATA_OK && status != STRATA_STALE) return 0;
    if (bench_value_check(result.value.data, result.value.size, &header) == BENCH_VALUE_GOOD)
        version = (uint32_t)header.version;
    strata_result_release(probe->session, &result);
    return version;
}

/* Brings the version into this process's L1. */
static bool prime(bench_probe *probe, strata_bytes key, uint32_t version) {
    int64_t give_up_ns = bench_now_ns() + PRIME_TIMEOUT_NS / 2;
    while (bench_now_ns() < give_up_ns && !over(probe)) {
        strata_result result;
        int32_t status = strata_get_or_load_wait(probe->session, probe->ns, key, NULL, bench_loader_load,
                                                 probe->loader, &result);
        if (status == STRATA_OK || status == STRATA_STALE) strata_result_release(probe->session, &result);
        if (peek_version(probe, key) == version) return true;
        sleep_ns(BENCH_NS_PER_MS);
    }
    return false;
}

/* Looks until the version is no longer answered. */
static bool watch(bench_probe *probe, strata_bytes key, uint32_t version) {
    bench_probe_board *board = &probe->run->shared->probe_board;
    int64_t began_ns = bench_now_ns(), now_ns = began_ns;
    while (now_ns - began_ns < WATCH_TIMEOUT_NS && !over(probe)) {
        bool gone = peek_version(probe, key) != version;
        now_ns = bench_now_ns();
        if (gone) {
            atomic_store(&board->seen_ns, now_ns);
            return true;
        }
        sleep_ns(LOOK_GAP_NS);
    }
    return false;
}

void *bench_probe_watcher_thread(void *argument) {
    bench_probe *probe = argument;
    bench_probe_board *board = &probe->run->shared->probe_board;
    prctl(PR_SET_TIMERSLACK, 1000ul);
    if (strata_session_open(probe->engine, &probe->session) != STRATA_OK) return NULL;
    while (!over(probe)) {
        char text[BENCH_KEY_BYTES_MAX];
        if (atomic_load(&board->state) != BENCH_PROBE_PRIME) {
            sleep_ns(500000);
            continue;
        }
        strata_bytes key = key_bytes(probe, atomic_load(&board->key), text);
        uint32_t version = atomic_load(&board->version);
        if (!prime(probe, key, version)) {
            atomic_store(&board->state, BENCH_PROBE_FAILED);
            continue;
        }
        atomic_store(&board->state, BENCH_PROBE_WATCHING);
        atomic_store(&board->state, watch(probe, key, version) ? BENCH_PROBE_SEEN : BENCH_PROBE_FAILED);
    }
    strata_session_close(probe->session);
    return NULL;
}
