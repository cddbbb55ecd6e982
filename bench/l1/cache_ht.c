/* SPDX-License-Identifier: Apache-2.0 */
/* A peer: ck_ht behind ck_epoch, a lock-free hash map for one writer at a time, which never evicts. */
#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>

#include <ck_epoch.h>
#include <ck_ht.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "bench/l1/cache.h"
#include "core/memory/alloc.h"

typedef struct node {
    ck_epoch_entry_t entry;
    uint8_t key[CACHE_KEY_BYTES];
    uint8_t value[CACHE_VALUE_BYTES];
} node;

typedef struct table {
    ck_ht_t ht;
    ck_epoch_t epoch;
    pthread_mutex_t writers;
    uint32_t retired; /* lock: writers */
} table;

static void *ht_malloc(size_t size) { return sx_allocate(sx_alloc_default(), size); }
static void ht_free(void *memory, size_t size, bool defer) {
    (void)defer; /* the table is made large enough never to grow under readers */
    sx_release(sx_alloc_default(), memory, size);
}
static struct ck_malloc ht_memory = {.malloc = ht_malloc, .free = ht_free};

static void hash_of(ck_ht_hash_t *out, const void *key, size_t size, uint64_t seed) {
    out->value = XXH3_64bits_withSeed(key, size, seed);
}

static void node_free(ck_epoch_entry_t *entry) { sx_release(sx_alloc_default(), entry, sizeof(node)); }

static void *create(uint64_t entries_max) {
    table *t = calloc(1, sizeof *t);
    if (t == NULL) return NULL;
    pthread_mutex_init(&t->writers, NULL);
    ck_epoch_init(&t->epoch);
    if (!ck_ht_init(&t->ht, CK_HT_MODE_BYTESTRING, hash_of, &ht_memory, 2 * entries_max, 6602834)) return NULL;
    return t;
}

static void destroy(void *cache) {
    table *t = cache;
    ck_ht_iterator_t iterator = CK_HT_ITERATOR_INITIALIZER;
    ck_ht_entry_t *entry;
    while (ck_ht_next(&t->ht, &iterator, &entry)) sx_release(sx_alloc_default(), ck_ht_entry_value(entry), sizeof(node));
    ck_ht_destroy(&t->ht);
    free(t);
}

static void *enter(void *cache) {
    table *t = cache;
    ck_epoch_record_t *record = sx_alloc_default()->allocate(NULL, sizeof *record, 128);
    if (record != NULL) ck_epoch_register(&t->epoch, record, NULL);
    return record;
}
static void leave(void *cache, void *part) {
    (void)cache;
    ck_epoch_barrier(part);
    ck_epoch_unregister(part); /* its memory stays: another thread may register it */
}

static bool get(void *cache, void *part, const cache_key *key, uint8_t *value) {
    table *t = cache;
    ck_ht_hash_t hash;
    ck_ht_entry_t entry;
    ck_epoch_section_t section;
    ck_ht_hash(&hash, &t->ht, key->bytes, CACHE_KEY_BYTES);
    ck_ht_entry_key_set(&entry, key->bytes, CACHE_KEY_BYTES);
    ck_epoch_begin(part, &section);
    bool found = ck_ht_get_spmc(&t->ht, hash, &entry);
    if (found) memcpy(value, ((const node *)ck_ht_entry_value(&entry))->value, CACHE_VALUE_BYTES);
    (void)ck_epoch_end(part, &section);
    return found;
}

static void set(void *cache, void *part, const cache_key *key, const uint8_t *value) {
    table *t = cache;
    node *n = sx_allocate(sx_alloc_default(), sizeof *n);
    if (n == NULL) return;
    memcpy(n->key, key->bytes, CACHE_KEY_BYTES);
    memcpy(n->value, value, CACHE_VALUE_BYTES);
    ck_ht_hash_t hash;
    ck_ht_entry_t entry;
    ck_ht_hash(&hash, &t->ht, n->key, CACHE_KEY_BYTES);
    ck_ht_entry_set(&entry, hash, n->key, CACHE_KEY_BYTES, n);
    pthread_mutex_lock(&t->writers);
    bool good = ck_ht_set_spmc(&t->ht, hash, &entry);
    node *old = good && !ck_ht_entry_empty(&entry) ? ck_ht_entry_value(&entry) : NULL;
    pthread_mutex_unlock(&t->writers);
    if (old == NULL || old == n) return;
    ck_epoch_call(part, &old->entry, node_free);
    if (((ck_epoch_record_t *)part)->n_pending > 64) (void)ck_epoch_poll(part);
}

static uint64_t entries(void *cache) {
    table *t = cache;
    return ck_ht_count(&t->ht);
}

const cache_kind cache_ht = {.name = "ck_ht", .create = create, .destroy = destroy, .enter = enter, .leave = leave,
                             .get = get, .set = set, .entries = entries};
