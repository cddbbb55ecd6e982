/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of L1 share: an allocator that counts and fails, a clock that is set, keys, items, and their check. */
#ifndef TESTS_L1_FIXTURE_H
#define TESTS_L1_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/memory/epoch.h"
#include "core/memory/heap.h"
#include "core/memory/item.h"
#include "l1/l1.h"
#include "strata/status.h"

#define KEY_BYTES 16u

typedef struct fixture {
    _Atomic int64_t allocated;  /* bytes, as occupied */
    _Atomic int64_t calls;      /* of allocate */
    _Atomic int64_t fail_at;    /* this call fails and all later ones while fail_on; negative: none */
    bool fail_on;
    _Atomic int64_t now_ns;
    sx_alloc alloc;
    sx_heap *heap;
    sx_epoch *epoch;
    sx_epoch_record *record;
    sx_clock clock;
    sx_key_secret secret;
    sx_l1 *l1;
} fixture;

static inline size_t fixture_usable(void *context, size_t size) {
    (void)context;
    return (size + 15) & ~(size_t)15;
}
static inline void *fixture_allocate(void *context, size_t size, size_t alignment) {
    fixture *f = context;
    int64_t call = atomic_fetch_add(&f->calls, 1);
    int64_t fail_at = atomic_load(&f->fail_at);
    if (fail_at >= 0 && (f->fail_on ? call >= fail_at : call == fail_at)) return NULL;
    void *memory = NULL;
    if (posix_memalign(&memory, alignment < 16 ? 16 : alignment, size == 0 ? 1 : size) != 0) return NULL;
    atomic_fetch_add(&f->allocated, (int64_t)fixture_usable(NULL, size));
    return memory;
}
static inline void fixture_release(void *context, void *memory, size_t size) {
    fixture *f = context;
    atomic_fetch_sub(&f->allocated, (int64_t)fixture_usable(NULL, size));
    free(memory);
}
static inline int64_t fixture_now(void *context) {
    fixture *f = context;
    return atomic_load(&f->now_ns);
}

static inline uint64_t mix(uint64_t x) {
    x = (x ^ (x >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94D049BB133111EB);
    return x ^ (x >> 31);
}
static inline uint64_t random_next(uint64_t *state) { return mix(*state += UINT64_C(0x9E3779B97F4A7C15)); }

/* The heap and epoch exist; the store is tried. */
static inline int32_t fixture_try(fixture *f, int64_t bytes_max, int64_t item_bytes_max) {
    sx_l1_settings settings = {.bytes_max = bytes_max, .item_bytes_max = item_bytes_max};
    return sx_l1_create(f->heap, f->epoch, &f->clock, &f->secret, &settings, &f->l1);
}
static inline void fixture_prepare(fixture *f) {
    memset(f, 0, sizeof *f);
    atomic_store(&f->fail_at, -1);
    atomic_store(&f->now_ns, SX_NS_PER_S);
    f->alloc = (sx_alloc){f, fixture_allocate, fixture_release, fixture_usable};
    f->clock = (sx_clock){f, fixture_now};
    for (size_t i = 0; i < sizeof f->secret.bytes; i++) f->secret.bytes[i] = (uint8_t)mix(i + 1);
    assert_int_equal(sx_heap_create(&f->alloc, &f->heap), STRATA_OK);
    assert_int_equal(sx_epoch_create(sx_alloc_default(), &f->epoch), STRATA_OK);
    assert_int_equal(sx_epoch_register(f->epoch, &f->record), STRATA_OK);
}
static inline void fixture_init(fixture *f, int64_t bytes_max, int64_t item_bytes_max) {
    fixture_prepare(f);
    assert_int_equal(fixture_try(f, bytes_max, item_bytes_max), STRATA_OK);
}
/* Everything that was allocated must have come back. */
static inline void fixture_deinit(fixture *f) {
    sx_l1_destroy(f->l1);
    sx_epoch_unregister(f->record);
    sx_epoch_destroy(f->epoch);
    sx_heap_release(f->heap);
    assert_int_equal(atomic_load(&f->allocated), 0);
}

static inline void key_of(uint64_t number, uint8_t key[KEY_BYTES]) {
    memcpy(key, &number, 8);
    uint64_t second = mix(number);
    memcpy(key + 8, &second, 8);
}
static inline uint64_t hash_of(const fixture *f, uint64_t number) {
    uint8_t key[KEY_BYTES];
    key_of(number, key);
    return sx_l1_hash(&f->secret, 1, key, sizeof key);
}
/* The value says which key it belongs to: number, repeated. NULL when out of memory. */
static inline sx_item *item_try(fixture *f, uint64_t number, uint64_t n, size_t value_size, int64_t expires_ns) {
    uint8_t key[KEY_BYTES];
    key_of(number, key);
    sx_item_facts facts = {.n = n, .id = number + n, .expires_ns = expires_ns, .generation = 1, .ns = 1};
    sx_item *item = sx_item_create(f->heap, key, sizeof key, NULL, value_size, &facts);
    if (item == NULL) return NULL;
    memset(sx_item_value(item), (int)(uint8_t)mix(number), value_size);
    return item;
}
static inline sx_item *item_of(fixture *f, uint64_t number, uint64_t n, size_t value_size) {
    sx_item *item = item_try(f, number, n, value_size, SX_EXPIRES_NEVER);
    assert_non_null(item);
    return item;
}
static inline bool item_is_sound(const sx_item *item, uint64_t number) {
    uint8_t key[KEY_BYTES];
    key_of(number, key);
    if (item->key_size != KEY_BYTES || memcmp(sx_item_key(item), key, KEY_BYTES) != 0) return false;
    if (item->id != number + item->n) return false;
    uint8_t fill = (uint8_t)mix(number);
    if (item->value_size == 0) return true;
    return sx_item_value(item)[0] == fill && sx_item_value(item)[item->value_size - 1] == fill;
}
static inline int32_t put_with(fixture *f, sx_epoch_record *record, uint64_t number, sx_item *item,
                               sx_l1_put_rule rule) {
    return sx_l1_put(f->l1, record, hash_of(f, number), item, rule);
}
/* Makes an item, puts it, gives up the reference. */
static inline int32_t put_new(fixture *f, sx_epoch_record *record, uint64_t number, uint64_t n, size_t value_size) {
    sx_item *item = item_of(f, number, n, value_size);
    int32_t status = put_with(f, record, number, item, SX_L1_PUT_NEWER);
    sx_item_release(item);
    return status;
}
static inline sx_item *find_pinned(const fixture *f, uint64_t number) {
    uint8_t key[KEY_BYTES];
    key_of(number, key);
    return sx_l1_find_pinned(f->l1, hash_of(f, number), 1, key, sizeof key);
}
/* The n of the key's entry, or UINT64_MAX. */
static inline uint64_t n_of(fixture *f, uint64_t number) {
    sx_epoch_pin(f->record);
    const sx_item *item = find_pinned(f, number);
    uint64_t n = item != NULL ? item->n : UINT64_MAX;
    if (item != NULL) assert_true(item_is_sound(item, number));
    sx_epoch_unpin(f->record);
    return n;
}
static inline bool remove_below(fixture *f, sx_epoch_record *record, uint64_t number, uint64_t below_n) {
    uint8_t key[KEY_BYTES];
    key_of(number, key);
    return sx_l1_remove(f->l1, record, hash_of(f, number), 1, key, sizeof key, below_n);
}
static inline int64_t metric(const fixture *f, uint32_t row) { return sx_l1_metric_read(f->l1, row); }
static inline void reclaim_all(fixture *f) {
    for (int i = 0; i < 8; i++) (void)sx_epoch_reclaim(f->epoch);
}

#endif
