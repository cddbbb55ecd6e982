/* SPDX-License-Identifier: Apache-2.0 */
/* Ours: the store of l1/ as flow uses it, with a keeper's thread beside it. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "bench/l1/cache.h"
#include "l1/l1.h"
#include "strata/status.h"

#define KEEPER_PERIOD_NS 2000000

typedef struct store {
    sx_heap *heap;
    sx_epoch *epoch;
    sx_epoch_record *keeper_record;
    sx_clock clock;
    sx_key_secret secret;
    sx_l1 *l1;
    pthread_t keeper;
    bool has_keeper;
    _Atomic bool stop;
} store;

void cache_l1_tend(void *cache) {
    store *s = cache;
    bool more = sx_l1_maintain_on_keeper(s->l1, s->keeper_record, sx_clock_now_ns(&s->clock));
    (void)(more ? sx_epoch_reclaim(s->epoch) : sx_epoch_reclaim_left(s->epoch));
}

static void *keep(void *cache) {
    store *s = cache;
    while (!atomic_load(&s->stop)) { /* tidy: allow order, a flag of a benchmark */
        cache_l1_tend(s);
        nanosleep(&(struct timespec){.tv_nsec = KEEPER_PERIOD_NS}, NULL);
    }
    return NULL;
}

bool cache_l1_small_pages;

void *cache_l1_create_bytes(int64_t bytes_max) {
    store *s = calloc(1, sizeof *s);
    if (s == NULL) return NULL;
    for (size_t i = 0; i < sizeof s->secret.bytes; i++) s->secret.bytes[i] = (uint8_t)bench_mix(i + 1);
    sx_l1_settings settings = {.bytes_max = bytes_max, .item_bytes_max = 1 << 26};
    if (sx_heap_create(NULL, &s->heap) != STRATA_OK) return NULL;
    if (bytes_max >= SX_L1_HUGE_BYTES_MIN && !cache_l1_small_pages) sx_alloc_arena_huge_pages(&s->heap->alloc);
    if (sx_epoch_create(sx_alloc_default(), &s->epoch) != STRATA_OK ||
        sx_epoch_register(s->epoch, &s->keeper_record) != STRATA_OK ||
        sx_l1_create(s->heap, s->epoch, &s->clock, &s->secret, &settings, &s->l1) != STRATA_OK)
        return NULL; /* the program ends */
    return s;
}

static void *create(uint64_t entries_max) {
    store *s = cache_l1_create_bytes((int64_t)entries_max * 300 + (1 << 20));
    if (s != NULL) s->has_keeper = pthread_create(&s->keeper, NULL, keep, s) == 0;
    return s;
}

static void destroy(void *cache) {
    store *s = cache;
    atomic_store(&s->stop, true); /* tidy: allow order, a flag of a benchmark */
    if (s->has_keeper) pthread_join(s->keeper, NULL);
    sx_l1_destroy(s->l1);
    sx_epoch_unregister(s->keeper_record);
    sx_epoch_destroy(s->epoch);
    sx_heap_release(s->heap);
    free(s);
}

static void *enter(void *cache) {
    store *s = cache;
    sx_epoch_record *record = NULL;
    (void)sx_epoch_register(s->epoch, &record);
    return record;
}
static void leave(void *cache, void *part) {
    (void)cache;
    sx_epoch_unregister(part);
}

static bool get(void *cache, void *part, const cache_key *key, uint8_t *value) {
    store *s = cache;
    uint64_t hash = sx_l1_hash(&s->secret, 1, key->bytes, sizeof key->bytes);
    sx_epoch_pin(part);
    const sx_item *item = sx_l1_find_pinned(s->l1, hash, 1, key->bytes, sizeof key->bytes);
    if (item != NULL) memcpy(value, sx_item_value(item), CACHE_VALUE_BYTES);
    sx_epoch_unpin(part);
    return item != NULL;
}

static uint32_t get_batch(void *cache, void *part, const cache_key *keys, uint8_t *values) {
    store *s = cache;
    uint64_t hashes[CACHE_BATCH];
    uint32_t found = 0;
    sx_epoch_pin(part);
    for (uint32_t i = 0; i < CACHE_BATCH; i++) {
        hashes[i] = sx_l1_hash(&s->secret, 1, keys[i].bytes, CACHE_KEY_BYTES);
        sx_l1_prefetch(s->l1, hashes[i]);
    }
    for (uint32_t i = 0; i < CACHE_BATCH; i++) sx_l1_prefetch_item(s->l1, hashes[i]);
    for (uint32_t i = 0; i < CACHE_BATCH; i++) {
        const sx_item *item = sx_l1_find_pinned(s->l1, hashes[i], 1, keys[i].bytes, CACHE_KEY_BYTES);
        if (item == NULL) continue;
        memcpy(values + i * CACHE_VALUE_BYTES, sx_item_value(item), CACHE_VALUE_BYTES);
        found++;
    }
    sx_epoch_unpin(part);
    return found;
}

void cache_l1_set_sized(void *cache, void *part, const cache_key *key, const void *value, uint32_t size) {
    store *s = cache;
    uint64_t hash = sx_l1_hash(&s->secret, 1, key->bytes, sizeof key->bytes);
    sx_l1_prefetch_put(s->l1, part, hash);
    sx_item_facts facts = {.n = 1, .id = 1, .written_ms = 1, .expires_ns = SX_EXPIRES_NEVER, .generation = 1, .ns = 1};
    sx_item *item = sx_item_create(s->heap, key->bytes, sizeof key->bytes, value, size, &facts);
    if (item == NULL) return;
    (void)sx_l1_put(s->l1, part, hash, item, SX_L1_PUT_ALWAYS);
    sx_item_release(item);
}

static void set(void *cache, void *part, const cache_key *key, const uint8_t *value) {
    cache_l1_set_sized(cache, part, key, value, CACHE_VALUE_BYTES);
}

bool cache_l1_touch(void *cache, void *part, const cache_key *key) {
    store *s = cache;
    uint64_t hash = sx_l1_hash(&s->secret, 1, key->bytes, sizeof key->bytes);
    sx_epoch_pin(part);
    bool there = sx_l1_find_pinned(s->l1, hash, 1, key->bytes, sizeof key->bytes) != NULL;
    sx_epoch_unpin(part);
    return there;
}

void cache_l1_policy(void *cache, uint32_t policy) {
    store *s = cache;
    sx_l1_policy_change(s->l1, (sx_l1_policy)policy);
}

int64_t cache_l1_payload(void *cache) {
    const store *s = cache;
    return sx_l1_metric_read(s->l1, SX_L1_METRIC_BYTES_USED) - sx_l1_metric_read(s->l1, SX_L1_METRIC_BYTES_METADATA);
}

static uint64_t entries(void *cache) {
    const store *s = cache;
    return (uint64_t)sx_l1_metric_read(s->l1, SX_L1_METRIC_ENTRIES);
}

static int64_t footprint(store *s) {
    sx_item_facts facts = {.written_ms = 1, .expires_ns = SX_EXPIRES_NEVER};
    sx_item *item = sx_item_create(s->heap, "0123456789abcdef", CACHE_KEY_BYTES, NULL, CACHE_VALUE_BYTES, &facts);
    int64_t bytes = (int64_t)sx_item_footprint(item);
    sx_item_release(item);
    return bytes;
}

int64_t cache_l1_bytes_max(void *cache) {
    const store *s = cache;
    return sx_l1_metric_read(s->l1, SX_L1_METRIC_BYTES_MAX);
}

static void tune(void *cache, uint64_t entries_max) {
    store *s = cache;
    int64_t missing = (int64_t)entries_max - (int64_t)entries(s);
    sx_l1_resize(s->l1, cache_l1_bytes_max(s) + missing * footprint(s) * 10 / 9);
}

cache_l1_bytes cache_l1_metadata(void *cache) {
    store *s = cache;
    double all = (double)sx_l1_metric_read(s->l1, SX_L1_METRIC_BYTES_METADATA) / (double)entries(s);
    sx_item_facts facts = {.written_ms = 1, .expires_ns = SX_EXPIRES_NEVER};
    sx_item *item = sx_item_create(s->heap, "0123456789abcdef", CACHE_KEY_BYTES, NULL, CACHE_VALUE_BYTES, &facts);
    cache_l1_bytes bytes;
    bytes.header = (double)sx_item_size(item) - CACHE_KEY_BYTES - CACHE_VALUE_BYTES;
    bytes.rounding = (double)sx_item_footprint(item) - (double)sx_item_size(item);
    bytes.index = all - bytes.header - bytes.rounding;
    sx_item_release(item);
    return bytes;
}

const cache_kind cache_l1 = {.name = "l1", .evicts = true, .create = create, .destroy = destroy, .enter = enter,
                             .leave = leave, .get = get, .set = set, .get_batch = get_batch, .entries = entries,
                             .tune = tune};
