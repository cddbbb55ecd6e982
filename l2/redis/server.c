/* SPDX-License-Identifier: Apache-2.0 */
/* What servers are and can do: the texts of INFO, and one table of what came with which version of which product. */
#include "l2/redis/conn_private.h"

#include <stdio.h>

/* A server is the first product whose version field its INFO has; who imitates Redis without saying so counts as Redis.
   Valkey goes on telling redis_version, of the Redis that it came from. */
static const struct product {
    const char *name, *field;
} products[] = {
    {"Valkey", "valkey_version"},
    {"Redis", "redis_version"},
};
enum { PRODUCTS = sizeof products / sizeof products[0] };

#define V(major, minor) ((uint32_t)(major) << 16 | (uint32_t)(minor) << 8)

/* Since which version of each product, as above. Valkey's first is 7.2.4, with all that Redis 7.2 has. */
static const struct capability {
    size_t offset; /* of the bool in sx_redis_server */
    uint32_t since[PRODUCTS];
} capabilities[] = {
    /*                                                     Valkey   Redis */
    {offsetof(sx_redis_server, sharded_pubsub),           {V(7, 2), V(7, 0)}}, /* SSUBSCRIBE, SPUBLISH */
    {offsetof(sx_redis_server, eval_ro),                  {V(7, 2), V(7, 0)}}, /* EVAL_RO, EVALSHA_RO */
    {offsetof(sx_redis_server, set_nx_get),               {V(7, 2), V(7, 0)}}, /* SET with NX and GET at once */
    {offsetof(sx_redis_server, cluster_shards),           {V(7, 2), V(7, 0)}}, /* CLUSTER SHARDS */
};

bool sx_redis_info_field(const sx_resp *info, const char *name, const char **text, size_t *text_size) {
    if (info->type != SX_RESP_STRING) return false;
    const char *at = info->text;
    const char *end = at + info->size;
    size_t name_size = strlen(name);
    while (at < end) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        const char *next = stop == NULL ? end : stop + 1;
        size_t size = (size_t)((stop == NULL ? end : stop) - at);
        if (size > 0 && at[size - 1] == '\r') size--;
        if (size > name_size && at[name_size] == ':' && memcmp(at, name, name_size) == 0) {
            *text = at + name_size + 1;
            *text_size = size - name_size - 1;
            return true;
        }
        at = next;
    }
    return false;
}

/* "7.0.15" as 0x07000f; 0 where it is nothing like that. */
static uint32_t parse_version(const char *text, size_t size) {
    uint32_t version = 0;
    size_t at = 0;
    for (int part = 0; part < 3; part++) {
        uint32_t number = 0;
        size_t first = at;
        while (at < size && text[at] >= '0' && text[at] <= '9' && number < 256) number = number * 10 + (uint32_t)(text[at++] - '0');
        if (at == first && part < 2) return 0;
        version = version << 8 | (number > 255 ? 255 : number);
        if (at < size && text[at] == '.') at++;
    }
    return version;
}

bool sx_redis_server_read(const sx_resp *info, sx_redis_server *out) {
    for (size_t p = 0; p < PRODUCTS; p++) {
        const char *text;
        size_t size;
        if (!sx_redis_info_field(info, products[p].field, &text, &size)) continue;
        out->product = products[p].name;
        out->version = parse_version(text, size);
        for (size_t i = 0; i < sizeof capabilities / sizeof capabilities[0]; i++) {
            const struct capability *one = &capabilities[i];
            *(bool *)((char *)out + one->offset) = out->version >= one->since[p];
        }
        return true;
    }
    return false;
}
