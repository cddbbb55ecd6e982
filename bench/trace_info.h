/* SPDX-License-Identifier: Apache-2.0 */
/* strata-bench trace-info: what a trace is made of. */
#ifndef BENCH_TRACE_INFO_H
#define BENCH_TRACE_INFO_H

#include <stdint.h>

#include "bench/trace_table.h"

/* How many different keys were asked for since the same key was asked for last: distances[d] requests of distance d, d below
   key_count; an LRU of c entries answers all of distance below c. NULL when out of memory; to be freed. */
uint64_t *bench_reuse_distances(const bench_trace_table *table);
/* How often each key is asked for, the most popular first, with its number; NULL when out of memory; to be freed. */
typedef struct bench_key_count {
    uint64_t count;
    uint32_t key;
} bench_key_count;
bench_key_count *bench_key_counts(const bench_trace_table *table);

/* argv without the program and subcommand. */
int bench_trace_info_main(int argc, char **argv);

#endif
