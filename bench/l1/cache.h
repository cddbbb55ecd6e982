/* SPDX-License-Identifier: Apache-2.0 */
/* What strata-bench l1 asks of a cache in this process, be it ours or a peer: keys of 16 bytes, values of 100. */
#ifndef BENCH_L1_CACHE_H
#define BENCH_L1_CACHE_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "bench/random.h"

#define CACHE_KEY_BYTES   16u
#define CACHE_VALUE_BYTES 100u
#define CACHE_BATCH       16u

typedef struct cache_key {
    uint8_t bytes[CACHE_KEY_BYTES];
} cache_key;

static inline cache_key cache_key_of(uint64_t number) {
    cache_key key;
    uint64_t second = bench_mix(number);
    memcpy(key.bytes, &number, 8);
    memcpy(key.bytes + 8, &second, 8);
    return key;
}

/* A cache, as a table of its operations. Values begin with their key's number, so that a wrong one is found. */
typedef struct cache_kind {
    const char *name;
    bool evicts;
    /* Room for entries of the above sizes (a cache that counts bytes finds its limit by tune); NULL when out of memory. */
    void *(*create)(uint64_t entries_max);
    void (*destroy)(void *cache);
    /* The calling thread's part, to be handed to get and set. */
    void *(*enter)(void *cache);
    void (*leave)(void *cache, void *part);
    /* Copies the value out. */
    bool (*get)(void *cache, void *part, const cache_key *key, uint8_t *value);
    void (*set)(void *cache, void *part, const cache_key *key, const uint8_t *value);
    /* NULL, or: gets of CACHE_BATCH keys at once, copied one after the other; how many were there. */
    uint32_t (*get_batch)(void *cache, void *part, const cache_key *keys, uint8_t *values);
    uint64_t (*entries)(void *cache);
    /* NULL, or: adapts a limit in bytes so that it will hold entries_max. */
    void (*tune)(void *cache, uint64_t entries_max);
} cache_kind;

extern const cache_kind cache_l1, cache_ht, cache_lru;
extern const cache_kind cache_rocks_lru, cache_rocks_clock, cache_tbb_hash, cache_tbb_unordered; /* peers.cpp, where their packages are */

/* Bytes of metadata an entry of ours costs, and how they are made up. */
typedef struct cache_l1_bytes {
    double header, rounding, index;
} cache_l1_bytes;
cache_l1_bytes cache_l1_metadata(void *cache);
/* The keeper's round, by hand: for single-threaded replays. */
void cache_l1_tend(void *cache);
int64_t cache_l1_bytes_max(void *cache);
/* As create, with a limit in bytes and without a keeper's thread. */
/* Set before anything is created. */
extern bool cache_l1_small_pages;
void *cache_l1_create_bytes(int64_t bytes_max);
/* For replays: a policy of sx_l1_policy, whether a key is there (a hit), values of any size up to 64 MiB, and bytes of keys and
   values that are held. */
void cache_l1_policy(void *cache, uint32_t policy);
bool cache_l1_touch(void *cache, void *part, const cache_key *key);
void cache_l1_set_sized(void *cache, void *part, const cache_key *key, const void *value, uint32_t size);
int64_t cache_l1_payload(void *cache);

#endif
