/* SPDX-License-Identifier: Apache-2.0 */
/* What coherence costs and how fast it is: parts of strata-bench coherence, each over servers that are running. */
#ifndef BENCH_COHERENCE_COHERENCE_H
#define BENCH_COHERENCE_COHERENCE_H

#include <stdbool.h>
#include <stdint.h>

#include <strata/strata.h>

#include "bench/cluster/cluster.h"
#include "bench/result.h"

typedef struct bench_coherence {
    uint64_t rounds, value_bytes, primaries, receivers, engines, outstanding;
    double seconds, storm_rate;
    uint32_t only;
    const char *json_path;
    bench_json *json; /* NULL: nothing is to be written */
    sx_cluster *cluster;
} bench_coherence;

/* Opens an engine at the servers; pairs of options, NULL-terminated, may be NULL. NULL where it fails, or where not all
   partitions are trusted within seconds. */
strata *bench_coherence_open(const bench_coherence *bench, const char *const *pairs);
int64_t bench_coherence_metric(strata *engine, const char *name);
/* Processor time of all servers since they were started, in s. */
double bench_coherence_server_cpu_s(const bench_coherence *bench);
/* Memory that forked processes share, all zero. */
void *bench_coherence_share(size_t size);
/* Forks; the child runs and ends with its parent, whatever happens. The pid, or -1. */
int bench_coherence_fork(void (*run)(void *argument), void *argument);
void bench_coherence_sleep_until(int64_t at_ns);

/* A case of the result file, where one is to be written. */
void bench_coherence_case(const bench_coherence *bench, const char *name, const bench_result_column *columns, uint32_t column_count,
                          uint32_t rounds);

/* Each prints its part; false where something did not hold. */
bool bench_coherence_lag(const bench_coherence *bench);
bool bench_coherence_cost(const bench_coherence *bench);
bool bench_coherence_idle(const bench_coherence *bench);
bool bench_coherence_storm(const bench_coherence *bench);
bool bench_coherence_reconnect(const bench_coherence *bench);

#endif
