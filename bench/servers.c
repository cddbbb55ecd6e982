/* SPDX-License-Identifier: Apache-2.0 */
/* Finds the fields of INFO that say what a server spends. */
#include "bench/servers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The number behind "\nname:", 0 where there is none. */
static double field(const char *text, const char *name) {
    char line[64];
    snprintf(line, sizeof line, "\n%s:", name);
    const char *at = strstr(text, line);
    return at != NULL ? strtod(at + strlen(line), NULL) : 0;
}

void bench_server_info_parse(bench_server_info *info, const char *text) {
    *info = (bench_server_info){
        .known = strstr(text, "redis_version:") != NULL,
        .cpu_user_us = (int64_t)(field(text, "used_cpu_user") * 1e6),
        .cpu_system_us = (int64_t)(field(text, "used_cpu_sys") * 1e6),
        .commands = (int64_t)field(text, "total_commands_processed"),
        .net_in_bytes = (int64_t)field(text, "total_net_input_bytes"),
        .net_out_bytes = (int64_t)field(text, "total_net_output_bytes"),
        .evicted_keys = (int64_t)field(text, "evicted_keys"),
        .memory_bytes = (int64_t)field(text, "used_memory"),
        .resident_bytes = (int64_t)field(text, "used_memory_rss"),
        .clients = (int64_t)field(text, "connected_clients"),
        .channels = (int64_t)field(text, "pubsub_channels") + (int64_t)field(text, "pubsubshard_channels"),
    };
    const char *keys = strstr(text, "\ndb0:keys=");
    if (keys != NULL) info->keys = strtoll(keys + strlen("\ndb0:keys="), NULL, 10);
}

void bench_servers_read(sx_cluster *cluster, uint32_t count, bench_server_info *list) {
    for (uint32_t i = 0; i < count; i++) {
        list[i] = (bench_server_info){.known = false};
        if (sx_cluster_pid(cluster, i) == 0) continue;
        char *text = sx_cluster_command(cluster, i, "INFO");
        if (text != NULL) bench_server_info_parse(&list[i], text);
        free(text);
    }
}
