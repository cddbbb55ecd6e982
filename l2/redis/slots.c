/* SPDX-License-Identifier: Apache-2.0 */
/* Reading topology from what servers say: CLUSTER SHARDS and SLOTS, redirects, addresses, CLUSTER NODES; nothing in them is trusted. */
#include "l2/redis/cluster_private.h"

#include <sys/un.h>

enum { UNIX_SIZE = sizeof SX_REDIS_UNIX - 1 };

/* ---- addresses ---- */

static bool read_port(const char *text, size_t size, uint16_t *out) {
    sx_resp digits = {.type = SX_RESP_STRING, .size = size, .text = text};
    uint64_t port;
    if (!sx_resp_to_uint(&digits, &port) || port == 0 || port > UINT16_MAX) return false;
    *out = (uint16_t)port;
    return true;
}

static bool set_host(sx_redis_address *address, const char *host, size_t size) {
    if (size == 0 || size >= SX_REDIS_HOST_MAX) return false;
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)host[i];
        if (c <= ' ' || c >= 127) return false;
    }
    memset(address->host, 0, sizeof address->host);
    memcpy(address->host, host, size);
    return true;
}

bool sx_redis_address_read(const char *text, size_t size, const char *asked_host, sx_redis_address *out) {
    if (asked_host == NULL && size > UNIX_SIZE && memcmp(text, SX_REDIS_UNIX, UNIX_SIZE) == 0) {
        out->port = 0;
        return size - UNIX_SIZE < sizeof((struct sockaddr_un){0}).sun_path && text[UNIX_SIZE] == '/' && set_host(out, text, size);
    }
    const char *colon = size == 0 ? NULL : memrchr(text, ':', size);
    if (colon == NULL || !read_port(colon + 1, size - (size_t)(colon + 1 - text), &out->port)) return false;
    size_t host = (size_t)(colon - text);
    if (host == 0) return asked_host != NULL && set_host(out, asked_host, strlen(asked_host));
    if (text[0] == '[') {
        if (host < 3 || text[host - 1] != ']') return false;
        return set_host(out, text + 1, host - 2);
    }
    if (host == 1 && text[0] == '?') return false;
    return set_host(out, text, host);
}

bool sx_redis_redirect_read(const sx_resp *error, const char *asked_host, bool *asking, uint16_t *slot,
                            sx_redis_address *out) {
    bool moved = sx_redis_error_begins(error, "MOVED");
    if (!moved && !sx_redis_error_begins(error, "ASK")) return false;
    const char *at = error->text + (moved ? 5 : 3);
    const char *end = error->text + error->size;
    if (at == end) return false;
    at++;
    const char *space = memchr(at, ' ', (size_t)(end - at));
    if (space == NULL) return false;
    sx_resp digits = {.type = SX_RESP_STRING, .size = (size_t)(space - at), .text = at};
    uint64_t number;
    if (!sx_resp_to_uint(&digits, &number) || number >= SX_SLOTS) return false;
    *slot = (uint16_t)number;
    *asking = !moved;
    return sx_redis_address_read(space + 1, (size_t)(end - space - 1), asked_host, out);
}

/* ---- CLUSTER SLOTS ---- */

/* [endpoint, port, id, metadata]: NULL and "" mean the host that was asked; "?" is one the server doesn't know, then
   metadata may hold an address. False: malformed. *usable: whether there is an address. */
static bool read_node(const sx_resp *node, const sx_redis_address *asked, sx_redis_range *range, bool *usable) {
    *usable = false;
    if (node->type != SX_RESP_ARRAY || node->count < 3) return false;
    const sx_resp *host = &node->items[0], *port = &node->items[1], *id = &node->items[2];
    uint64_t number;
    if (!sx_resp_to_uint(port, &number) || number > UINT16_MAX) return false;
    if (id->type != SX_RESP_STRING || id->size == 0 || id->size >= SX_REDIS_ID_MAX) return false;
    if (memchr(id->text, '\0', id->size) != NULL) return false;
    range->address.port = (uint16_t)number;
    memset(range->id, 0, sizeof range->id);
    memcpy(range->id, id->text, id->size);
    if (number == 0) return true;
    if (host->type == SX_RESP_NULL || (host->type == SX_RESP_STRING && host->size == 0)) {
        memcpy(range->address.host, asked->host, sizeof range->address.host);
        *usable = true;
        return true;
    }
    if (host->type != SX_RESP_STRING) return false;
    if (sx_resp_is_text(host, "?")) {
        host = node->count > 3 ? sx_resp_map_get(&node->items[3], "ip") : NULL;
        if (host == NULL || host->type != SX_RESP_STRING) return true;
    }
    *usable = set_host(&range->address, host->text, host->size);
    return true;
}

/* Ranges that together are more than all slots are no map, and would take as long to walk as there are many. */
static bool take_slots(uint32_t *left, uint64_t first, uint64_t last) {
    if (first > last || last >= SX_SLOTS || last - first + 1 > *left) return false;
    *left -= (uint32_t)(last - first + 1);
    return true;
}

bool sx_redis_slots_read(const sx_resp *reply, const sx_redis_address *asked,
                         bool (*fn)(void *context, const sx_redis_range *range), void *context) {
    uint32_t left = SX_SLOTS;
    if (reply->type != SX_RESP_ARRAY) return false;
    for (uint32_t i = 0; i < reply->count; i++) {
        const sx_resp *item = &reply->items[i];
        if (item->type != SX_RESP_ARRAY || item->count < 3) return false;
        uint64_t first, last;
        if (!sx_resp_to_uint(&item->items[0], &first) || !sx_resp_to_uint(&item->items[1], &last)) return false;
        if (!take_slots(&left, first, last)) return false;
        for (uint32_t n = 2; n < item->count; n++) {
            sx_redis_range range = {.first = (uint16_t)first, .last = (uint16_t)last, .primary = n == 2};
            bool usable;
            if (!read_node(&item->items[n], asked, &range, &usable)) return false;
            if (usable && !fn(context, &range)) return false;
        }
    }
    return true;
}

/* ---- CLUSTER SHARDS ---- */

static bool take_host(const sx_resp *host, const sx_redis_address *asked, sx_redis_range *range) {
    if (host == NULL || host->type == SX_RESP_NULL || (host->type == SX_RESP_STRING && host->size == 0)) {
        memcpy(range->address.host, asked->host, sizeof range->address.host);
        return true;
    }
    return host->type == SX_RESP_STRING && set_host(&range->address, host->text, host->size);
}

typedef struct shard_node {
    sx_redis_range range;
    bool usable; /* there is an address */
    bool failed;
} shard_node;

/* {id, port and tls-port where there are such, ip, endpoint, role, health, ...}: the endpoint as in CLUSTER SLOTS. */
static bool read_shard_node(const sx_resp *node, const sx_redis_address *asked, bool tls, shard_node *out) {
    memset(out, 0, sizeof *out);
    if (node->type != SX_RESP_MAP) return false;
    const sx_resp *id = sx_resp_map_get(node, "id"), *role = sx_resp_map_get(node, "role");
    const sx_resp *port = sx_resp_map_get(node, tls ? "tls-port" : "port");
    const sx_resp *host = sx_resp_map_get(node, "endpoint"), *health = sx_resp_map_get(node, "health");
    sx_redis_range *range = &out->range;
    uint64_t number = 0;
    if (id == NULL || id->type != SX_RESP_STRING || id->size == 0 || id->size >= SX_REDIS_ID_MAX) return false;
    if (memchr(id->text, '\0', id->size) != NULL || role == NULL || role->type != SX_RESP_STRING) return false;
    if (port != NULL && (!sx_resp_to_uint(port, &number) || number > UINT16_MAX)) return false;
    range->address.port = (uint16_t)number;
    memcpy(range->id, id->text, id->size);
    range->primary = sx_resp_is_text(role, "master");
    out->failed = health != NULL && sx_resp_is_text(health, "fail");
    if (host != NULL && sx_resp_is_text(host, "?")) {
        host = sx_resp_map_get(node, "ip");
        if (host == NULL) return true;
    }
    out->usable = number != 0 && take_host(host, asked, range);
    return true;
}

/* Which of the nodes owns the slots: its only primary, or the only one that has not failed. -1: malformed or not clear,
   for a while after a failover two may call themselves so. */
static int find_primary(const sx_resp *nodes, const sx_redis_address *asked, bool tls) {
    int well = -1, failed = -1, wells = 0, faileds = 0;
    for (uint32_t n = 0; n < nodes->count; n++) {
        shard_node node;
        if (!read_shard_node(&nodes->items[n], asked, tls, &node)) return -1;
        if (!node.range.primary) continue;
        *(node.failed ? &failed : &well) = (int)n;
        *(node.failed ? &faileds : &wells) += 1;
    }
    if (wells == 1) return well;
    return wells == 0 && faileds == 1 ? failed : -1;
}

/* Some servers tell a shard's slots from the first node in its list: none where that is a primary that was replaced, and
   the one that owns them is told as one as well. */
static bool has_two_primaries(const sx_resp *nodes, const sx_redis_address *asked, bool tls) {
    uint32_t primaries = 0;
    for (uint32_t n = 0; n < nodes->count; n++) {
        shard_node node;
        primaries += read_shard_node(&nodes->items[n], asked, tls, &node) && node.range.primary;
    }
    return primaries > 1;
}

static bool read_shard(const sx_resp *shard, const sx_redis_address *asked, bool tls, uint32_t *left,
                       bool (*fn)(void *context, const sx_redis_range *range), void *context) {
    const sx_resp *slots = sx_resp_map_get(shard, "slots"), *nodes = sx_resp_map_get(shard, "nodes");
    if (slots == NULL || slots->type != SX_RESP_ARRAY || slots->count % 2 != 0) return false;
    if (nodes == NULL || nodes->type != SX_RESP_ARRAY) return false;
    if (slots->count == 0) return !has_two_primaries(nodes, asked, tls);
    int primary = find_primary(nodes, asked, tls);
    if (primary < 0) return false;
    for (uint32_t n = 0; n < nodes->count; n++) {
        shard_node node;
        if (!read_shard_node(&nodes->items[n], asked, tls, &node)) return false;
        node.range.primary = (int)n == primary;
        uint32_t most = node.range.primary ? slots->count : 2; /* of others it matters who they are, not what they hold */
        for (uint32_t s = 0; s < most; s += 2) {
            uint64_t first, last;
            if (!sx_resp_to_uint(&slots->items[s], &first) || !sx_resp_to_uint(&slots->items[s + 1], &last)) return false;
            if (node.range.primary ? !take_slots(left, first, last) : first > last || last >= SX_SLOTS) return false;
            node.range.first = (uint16_t)first;
            node.range.last = (uint16_t)last;
            if (node.usable && !fn(context, &node.range)) return false;
        }
    }
    return true;
}

bool sx_redis_shards_read(const sx_resp *reply, const sx_redis_address *asked, bool tls,
                          bool (*fn)(void *context, const sx_redis_range *range), void *context) {
    uint32_t left = SX_SLOTS;
    if (reply->type != SX_RESP_ARRAY) return false;
    for (uint32_t i = 0; i < reply->count; i++) {
        if (reply->items[i].type != SX_RESP_MAP || !read_shard(&reply->items[i], asked, tls, &left, fn, context)) return false;
    }
    return true;
}

/* ---- CLUSTER NODES ---- */

typedef struct cursor {
    const char *at, *end;
} cursor;

/* The next word of a line; size 0 at its end. */
static const char *next_word(cursor *line, size_t *size) {
    while (line->at < line->end && *line->at == ' ') line->at++;
    const char *word = line->at;
    while (line->at < line->end && *line->at != ' ') line->at++;
    *size = (size_t)(line->at - word);
    return word;
}

/* Whether one of the comma-separated flags is exactly flag. */
static bool has_flag(const char *flags, size_t size, const char *flag) {
    size_t wanted = strlen(flag);
    for (size_t at = 0; at <= size;) {
        const char *comma = at < size ? memchr(flags + at, ',', size - at) : NULL;
        size_t stop = comma == NULL ? size : (size_t)(comma - flags);
        if (stop - at == wanted && memcmp(flags + at, flag, wanted) == 0) return true;
        at = stop + 1;
    }
    return false;
}

/* Sets bits for "5461-10922" or "3"; false for anything else (migrations in brackets among it). */
static bool read_slots(const char *word, size_t size, uint8_t bits[SX_SLOTS / 8]) {
    const char *dash = memchr(word, '-', size);
    sx_resp from = {.type = SX_RESP_STRING, .size = dash == NULL ? size : (size_t)(dash - word), .text = word};
    sx_resp to = from;
    if (dash != NULL) to = (sx_resp){.type = SX_RESP_STRING, .size = size - from.size - 1, .text = dash + 1};
    uint64_t first, last;
    if (!sx_resp_to_uint(&from, &first) || !sx_resp_to_uint(&to, &last) || first > last || last >= SX_SLOTS) return false;
    for (uint64_t slot = first; slot <= last; slot++) bits[slot / 8] |= (uint8_t)(1u << (slot % 8));
    return true;
}

/* One line: "<id> <address> <flags> <primary> <ping> <pong> <epoch> <link> <slot> ..." */
typedef struct peer_line {
    const char *id;
    size_t id_size;
    bool primary, good; /* good: nobody believes that it has failed */
    cursor slots;
} peer_line;

static peer_line read_line(cursor line) {
    peer_line peer = {.id = NULL};
    size_t size;
    peer.id = next_word(&line, &peer.id_size);
    (void)next_word(&line, &size); /* address */
    const char *flags = next_word(&line, &size);
    peer.primary = has_flag(flags, size, "master");
    peer.good = !has_flag(flags, size, "fail") && !has_flag(flags, size, "fail?") && !has_flag(flags, size, "noaddr") &&
                !has_flag(flags, size, "handshake");
    for (int skipped = 0; skipped < 5; skipped++) (void)next_word(&line, &size);
    peer.slots = line;
    return peer;
}

static bool has_slots(cursor slots) {
    size_t size;
    const char *word = next_word(&slots, &size);
    return size > 0 && word[0] != '[';
}

static bool has_all(cursor slots, const uint16_t owner[SX_SLOTS], uint16_t owned_by) {
    uint8_t bits[SX_SLOTS / 8] = {0};
    for (;;) {
        size_t size;
        const char *word = next_word(&slots, &size);
        if (size == 0) break;
        if (word[0] != '[' && !read_slots(word, size, bits)) return false;
    }
    for (uint32_t slot = 0; slot < SX_SLOTS; slot++) {
        if (owner[slot] == owned_by && (bits[slot / 8] >> (slot % 8) & 1) == 0) return false;
    }
    return true;
}

bool sx_redis_nodes_confirm(const char *text, size_t size, const char *id, const uint16_t owner[SX_SLOTS],
                            uint16_t owned_by) {
    const char *at = text, *end = text + size;
    size_t id_size = strlen(id);
    uint32_t primaries = 0, good = 0;
    bool confirmed = false;
    while (at < end && id_size > 0) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        if (stop == NULL) stop = end;
        cursor line = {at, stop > at && stop[-1] == '\r' ? stop - 1 : stop};
        peer_line peer = read_line(line);
        if (peer.primary && has_slots(peer.slots)) {
            primaries++;
            good += peer.good;
        }
        if (peer.id_size == id_size && memcmp(peer.id, id, id_size) == 0)
            confirmed = peer.primary && peer.good && has_all(peer.slots, owner, owned_by);
        at = stop + 1;
    }
    return confirmed && 2 * good > primaries;
}
