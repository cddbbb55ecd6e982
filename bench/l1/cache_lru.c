/* SPDX-License-Identifier: Apache-2.0 */
/* A peer: the textbook's LRU, a chained hash table and a list in each of 16 shards, and a mutex around both. */
#include <pthread.h>
#include <stdlib.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "bench/l1/cache.h"
#include "core/memory/alloc.h"

#define SHARDS 16u

typedef struct node {
    struct node *chain, *previous, *next;
    uint64_t hash;
    uint8_t key[CACHE_KEY_BYTES];
    uint8_t value[CACHE_VALUE_BYTES];
} node;

typedef struct shard {
    _Alignas(128) pthread_mutex_t lock;
    node **chains;
    uint64_t mask, count, count_max;
    node head; /* of the ring: next is the latest */
} shard;

static void unlink_node(node *n) {
    n->previous->next = n->next;
    n->next->previous = n->previous;
}
static void link_first(shard *s, node *n) {
    n->next = s->head.next;
    n->previous = &s->head;
    s->head.next->previous = n;
    s->head.next = n;
}

static void *create(uint64_t entries_max) {
    shard *shards = sx_alloc_default()->allocate(NULL, SHARDS * sizeof *shards, 128);
    if (shards == NULL) return NULL;
    memset(shards, 0, SHARDS * sizeof *shards);
    for (uint32_t i = 0; i < SHARDS; i++) {
        shard *s = &shards[i];
        pthread_mutex_init(&s->lock, NULL);
        s->count_max = entries_max / SHARDS + 1;
        for (s->mask = 1; s->mask < s->count_max * 3 / 2; s->mask *= 2) {}
        s->chains = calloc(s->mask, sizeof(node *));
        if (s->chains == NULL) return NULL;
        s->mask--;
        s->head.next = s->head.previous = &s->head;
    }
    return shards;
}

static void destroy(void *cache) {
    shard *shards = cache;
    for (uint32_t i = 0; i < SHARDS; i++) {
        for (node *n = shards[i].head.next, *next; n != &shards[i].head; n = next) {
            next = n->next;
            sx_release(sx_alloc_default(), n, sizeof *n);
        }
        free(shards[i].chains);
    }
    sx_release(sx_alloc_default(), shards, SHARDS * sizeof *shards);
}

static void *enter(void *cache) { return cache; }
static void leave(void *cache, void *part) { (void)cache, (void)part; }

static uint64_t hash_of(const cache_key *key) { return XXH3_64bits_withSeed(key->bytes, CACHE_KEY_BYTES, 1); }

static node *find(shard *s, uint64_t hash, const cache_key *key) {
    node *n = s->chains[hash & s->mask];
    while (n != NULL && (n->hash != hash || memcmp(n->key, key->bytes, CACHE_KEY_BYTES) != 0)) n = n->chain;
    return n;
}

static bool get(void *cache, void *part, const cache_key *key, uint8_t *value) {
    (void)part;
    uint64_t hash = hash_of(key);
    shard *s = (shard *)cache + (hash >> 60);
    pthread_mutex_lock(&s->lock);
    node *n = find(s, hash, key);
    if (n != NULL) {
        unlink_node(n);
        link_first(s, n);
        memcpy(value, n->value, CACHE_VALUE_BYTES);
    }
    pthread_mutex_unlock(&s->lock);
    return n != NULL;
}

static void evict(shard *s) {
    node *last = s->head.previous;
    node **at = &s->chains[last->hash & s->mask];
    while (*at != last) at = &(*at)->chain;
    *at = last->chain;
    unlink_node(last);
    s->count--;
    sx_release(sx_alloc_default(), last, sizeof *last);
}

static void set(void *cache, void *part, const cache_key *key, const uint8_t *value) {
    (void)part;
    uint64_t hash = hash_of(key);
    shard *s = (shard *)cache + (hash >> 60);
    pthread_mutex_lock(&s->lock);
    node *n = find(s, hash, key);
    if (n != NULL) unlink_node(n);
    else if ((n = sx_allocate(sx_alloc_default(), sizeof *n)) != NULL) {
        if (s->count == s->count_max) evict(s);
        memcpy(n->key, key->bytes, CACHE_KEY_BYTES);
        n->hash = hash;
        n->chain = s->chains[hash & s->mask];
        s->chains[hash & s->mask] = n;
        s->count++;
    }
    if (n != NULL) {
        memcpy(n->value, value, CACHE_VALUE_BYTES);
        link_first(s, n);
    }
    pthread_mutex_unlock(&s->lock);
}

static uint64_t entries(void *cache) {
    const shard *shards = cache;
    uint64_t count = 0;
    for (uint32_t i = 0; i < SHARDS; i++) count += shards[i].count;
    return count;
}

const cache_kind cache_lru = {.name = "lru16", .evicts = true, .create = create, .destroy = destroy, .enter = enter,
                              .leave = leave, .get = get, .set = set, .entries = entries};
