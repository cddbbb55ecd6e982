/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses that servers tell of each other, where we reach them at others: behind a translator, a tunnel, a container's
   ports. */
#include "l2/redis/cluster_private.h"

#include <stdio.h>

#include <strata/status.h>

static bool read_pair(sx_redis_nat *pair, const char *text, size_t size) {
    const char *equals = memchr(text, '=', size);
    if (equals == NULL) return false;
    size_t from = (size_t)(equals - text);
    return sx_redis_address_read(text, from, NULL, &pair->from) &&
           sx_redis_address_read(equals + 1, size - from - 1, NULL, &pair->to);
}

int32_t sx_redis_nat_read(sx_redis_cluster *cluster, const char *text, char *error, size_t error_size) {
    if (text == NULL || text[0] == '\0') return STRATA_OK;
    uint32_t most = 1;
    for (const char *at = text; *at != '\0'; at++) most += *at == ',';
    cluster->nat = sx_allocate_zero(cluster->settings->alloc, most * sizeof *cluster->nat);
    if (cluster->nat == NULL) {
        snprintf(error, error_size, "out of memory");
        return STRATA_E_NOMEM;
    }
    cluster->nat_most = most;
    for (const char *at = text; *at != '\0';) {
        size_t size = strcspn(at, ",");
        const char *item = at;
        size_t trimmed = size;
        while (trimmed > 0 && *item == ' ') item++, trimmed--;
        while (trimmed > 0 && item[trimmed - 1] == ' ') trimmed--;
        at += size + (at[size] == ',' ? 1 : 0);
        if (!read_pair(&cluster->nat[cluster->nat_count], item, trimmed)) {
            snprintf(error, error_size, "l2.nat: '%.*s' is not host:port=host:port", (int)(trimmed < 150 ? trimmed : 150), item);
            return STRATA_E_CONFIG;
        }
        cluster->nat_count++;
    }
    return STRATA_OK;
}

void sx_redis_nat_free(sx_redis_cluster *cluster) {
    sx_release(cluster->settings->alloc, cluster->nat, cluster->nat_most * sizeof *cluster->nat);
}

void sx_redis_nat_apply(const sx_redis_cluster *cluster, sx_redis_address *address) {
    for (uint32_t i = 0; i < cluster->nat_count; i++) {
        const sx_redis_nat *pair = &cluster->nat[i];
        if (!sx_redis_address_same(&pair->from, address)) continue;
        *address = pair->to;
        return;
    }
}
