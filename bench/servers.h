/* SPDX-License-Identifier: Apache-2.0 */
/* What the servers say of themselves: INFO, before and after each phase of a run. */
#ifndef BENCH_SERVERS_H
#define BENCH_SERVERS_H

#include <stdbool.h>
#include <stdint.h>

#include "bench/cluster/cluster.h"

typedef struct bench_server_info {
    bool known; /* it answered */
    int64_t cpu_user_us, cpu_system_us;
    int64_t commands, net_in_bytes, net_out_bytes, evicted_keys; /* since it started */
    int64_t memory_bytes, resident_bytes, keys, clients, channels;
} bench_server_info;

/* Reads the text of INFO; what it does not say stays 0. */
void bench_server_info_parse(bench_server_info *info, const char *text);
/* Asks every node. */
void bench_servers_read(sx_cluster *cluster, uint32_t count, bench_server_info *list);

#endif
