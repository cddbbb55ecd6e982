/* SPDX-License-Identifier: Apache-2.0 */
/* What an idle process costs the servers: its subscription and heartbeats, by how many counters each of these reads. */
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "bench/coherence/coherence.h"
#include "bench/median.h"
#include "bench/run.h"

#define ROUNDS_MAX 64

typedef struct idle_side {
    const bench_coherence *bench;
    const char *counters;
    _Atomic int ready;     /* 1: all engines are trusted; -1: one is not */
    _Atomic int64_t beats; /* of all engines, lately */
} idle_side;

enum { ENGINES_MAX = 256 };

static void be_idle(void *argument) {
    idle_side *side = argument;
    const char *pairs[] = {"coherence.beat_counters", side->counters, "l1.bytes", "1MiB", NULL};
    strata *engines[ENGINES_MAX];
    uint64_t count = side->bench->engines < ENGINES_MAX ? side->bench->engines : ENGINES_MAX;
    for (uint64_t i = 0; i < count; i++) {
        engines[i] = bench_coherence_open(side->bench, pairs);
        if (engines[i] != NULL) continue;
        atomic_store(&side->ready, -1);
        return;
    }
    bench_coherence_sleep_until(bench_now_ns() + 2 * BENCH_NS_PER_S); /* until they count as idle */
    for (;;) {
        int64_t beats = 0, one = 0;
        for (uint64_t i = 0; i < count; i++) {
            if (strata_stats_value(engines[i], "coherence.beats", &one) == STRATA_OK) beats += one;
        }
        atomic_store(&side->beats, beats);
        atomic_store(&side->ready, 1);
        bench_coherence_sleep_until(bench_now_ns() + BENCH_NS_PER_S / 20);
    }
}

/* Server time a second, in s. */
static double used(const bench_coherence *bench) {
    double before_s = bench_coherence_server_cpu_s(bench);
    int64_t start_ns = bench_now_ns();
    bench_coherence_sleep_until(start_ns + (int64_t)(bench->seconds * 1e9));
    double used_s = bench_coherence_server_cpu_s(bench) - before_s;
    return used_s * 1e9 / (double)(bench_now_ns() - start_ns);
}

static bool with(const bench_coherence *bench, idle_side *side, const char *counters) {
    side->bench = bench;
    side->counters = counters;
    atomic_store(&side->ready, 0);
    double values[ROUNDS_MAX], alone[ROUNDS_MAX];
    uint32_t rounds = (uint32_t)bench->rounds, nodes = sx_cluster_node_count(bench->cluster);
    for (uint32_t i = 0; i < rounds; i++) alone[i] = used(bench);
    int pid = bench_coherence_fork(be_idle, side);
    if (pid <= 0) return false;
    while (atomic_load(&side->ready) == 0) bench_coherence_sleep_until(bench_now_ns() + 10 * BENCH_NS_PER_MS);
    bool good = atomic_load(&side->ready) == 1;
    int64_t beats = atomic_load(&side->beats), began_ns = bench_now_ns();
    for (uint32_t i = 0; good && i < rounds; i++) values[i] = used(bench);
    beats = atomic_load(&side->beats) - beats;
    double beats_s = (double)beats * 1e9 / (double)(bench_now_ns() - began_ns) / (double)bench->engines / nodes;
    (void)kill(pid, SIGKILL);
    (void)waitpid(pid, NULL, 0);
    if (!good) return false;
    double each_us = (bench_median(values, rounds) - bench_median(alone, rounds)) * 1e6 /
                     (double)bench->engines / nodes;
    char name[48];
    double server_us[ROUNDS_MAX], base = bench_median(alone, rounds);
    for (uint32_t i = 0; i < rounds; i++) server_us[i] = (values[i] - base) * 1e6 / (double)bench->engines / nodes;
    snprintf(name, sizeof name, "idle, %s counters a heartbeat", counters);
    const bench_result_column column = {"server_us", server_us};
    bench_coherence_case(bench, name, &column, 1, rounds);
    printf("%10s %16.0f %14.1f %14.1f %24.1f\n", counters, each_us, beats_s, each_us / beats_s, each_us * 1000 / 1e4);
    return true;
}

bool bench_coherence_idle(const bench_coherence *bench) {
    static const char *const counters[] = {"4", "16", "43", "86", "256"};
    idle_side *side = bench_coherence_share(sizeof *side);
    if (side == NULL) return false;
    printf("an idle process at each of %u servers with 256 partitions in all, %llu engines\n"
           "%10s %16s %14s %14s %24s\n",
           sx_cluster_node_count(bench->cluster), (unsigned long long)bench->engines, "counters", "server us/s",
           "heartbeats/s", "us/heartbeat", "1000 processes: % of core");
    bool good = true;
    for (size_t i = 0; good && i < sizeof counters / sizeof *counters; i++) good = with(bench, side, counters[i]);
    (void)munmap(side, sizeof *side);
    return good;
}
