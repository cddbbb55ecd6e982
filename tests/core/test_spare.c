/* SPDX-License-Identifier: Apache-2.0 */
/* Memory of items that pass L1 by: used again, bounded, and lost nowhere, whoever gives it back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>
#include <pthread.h>

#include <strata/status.h>

#include "core/memory/item.h"
#include "tests/support/alloc.h"

static const sx_item_facts passing = {.n = 1, .expires_ns = SX_EXPIRES_NEVER, .app_version = 7, .passes = true};

static sx_heap *heap_over(test_alloc *alloc) {
    test_alloc_init(alloc);
    sx_heap *heap = NULL;
    assert_int_equal(sx_heap_create(&alloc->table, &heap), STRATA_OK);
    return heap;
}

static sx_item *item_of(sx_heap *heap, size_t value_size) {
    sx_item *item = sx_item_create(heap, "key", 3, NULL, value_size, &passing);
    assert_non_null(item);
    memset(sx_item_value(item), 'v', value_size);
    assert_int_equal(sx_item_app_version(item), 7);
    return item;
}

static void rooms_hold_what_they_are_for(void **state) {
    (void)state;
    size_t before = 0, rooms = 0;
    for (size_t size = 1; size <= SX_SPARE_ROOM_MAX; size += size < 5000 ? 1 : 97) {
        size_t room = sx_spare_room(size);
        assert_true(room >= size && room >= before);
        assert_true(size <= SX_SPARE_ROOM_MIN || (room - size) * 5 < room);
        assert_int_equal(sx_spare_room(room), room);
        rooms += room != before;
        before = room;
    }
    assert_int_equal(before, SX_SPARE_ROOM_MAX);
    assert_int_equal(rooms, SX_SPARE_ROOMS);
    assert_int_equal(sx_spare_room(SX_SPARE_ROOM_MAX + 1), 0);
}

/* An item that has nothing behind its value is asked for in a room all the same. */
static void nothing_behind_the_value_is_a_room_too(void **state) {
    (void)state;
    test_alloc alloc;
    sx_heap *heap = heap_over(&alloc);
    sx_item_facts facts = passing;
    facts.app_version = 0;
    sx_item *item = sx_item_create(heap, "key", 3, NULL, 500, &facts);
    assert_int_equal(sx_item_size(item), sx_spare_room(sizeof(sx_item) + 8 + 500));
    assert_true(sx_item_footprint(item) >= sx_item_size(item));
    sx_item_release(item);
    sx_heap_release(heap);
    test_alloc_check_empty(&alloc);
}

static void what_is_given_back_is_the_next_ones(void **state) {
    (void)state;
#if defined(__SANITIZE_ADDRESS__)
    skip(); /* no memory is kept where uses after free are looked for */
#endif
    test_alloc alloc;
    sx_heap *heap = heap_over(&alloc);
    static const size_t sizes[] = {0, 1, 100, 1000, 16 * 1024, 1024 * 1024};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        sx_item *two[2] = {item_of(heap, sizes[i]), item_of(heap, sizes[i])};
        sx_item_release(two[0]);
        sx_item_release(two[1]);
        int64_t calls = atomic_load(&alloc.calls);
        for (int round = 0; round < 3; round++) {
            sx_item *again[2] = {item_of(heap, sizes[i]), item_of(heap, sizes[i])};
            assert_ptr_not_equal(again[0], again[1]);
            assert_true(again[0] == two[0] || again[0] == two[1]);
            sx_item_release(again[0]);
            sx_item_release(again[1]);
        }
        assert_int_equal(atomic_load(&alloc.calls), calls);
        sx_item_facts keeps = passing; /* what L1 is to keep takes no more memory than it needs */
        keeps.passes = false;
        sx_item *kept = sx_item_create(heap, "key", 3, NULL, sizes[i], &keeps);
        assert_int_equal(atomic_load(&alloc.calls), calls + 1);
        assert_int_equal(sx_item_size(kept), sizeof(sx_item) + 8 + sizes[i] + 8);
        sx_item_release(kept);
    }
    sx_heap_release(heap);
    test_alloc_check_empty(&alloc);
}

static void what_waits_is_bounded(void **state) {
    (void)state;
    enum { MANY = 100, SIZE = 100 * 1024 };
    test_alloc alloc;
    sx_heap *heap = heap_over(&alloc);
    sx_item *items[MANY];
    for (int i = 0; i < MANY; i++) items[i] = item_of(heap, SIZE);
    int64_t own = atomic_load(&alloc.bytes) - MANY * (int64_t)sx_item_size(items[0]);
    for (int i = 0; i < MANY; i++) sx_item_release(items[i]);
    assert_true(atomic_load(&alloc.bytes) - own <= SX_SPARE_BYTES_MAX);
    assert_true(SX_SPARE_BYTES_MAX == 0 || atomic_load(&alloc.bytes) - own > SX_SPARE_BYTES_MAX / 2);
    sx_item *large = item_of(heap, SX_SPARE_ROOM_MAX); /* with its key and header more than is ever kept */
    assert_int_equal(sx_item_size(large), sizeof(sx_item) + 8 + SX_SPARE_ROOM_MAX + 8);
    int64_t live = atomic_load(&alloc.live);
    sx_item_release(large);
    assert_int_equal(atomic_load(&alloc.live), live - 1);
    sx_heap_release(heap);
    test_alloc_check_empty(&alloc);
}

/* Large ones that nobody asks for any more do not keep small ones out. */
static void what_waits_in_vain_leaves(void **state) {
    (void)state;
#if defined(__SANITIZE_ADDRESS__)
    skip(); /* nothing waits */
#endif
    test_alloc alloc;
    sx_heap *heap = heap_over(&alloc);
    sx_item *large[2];
    size_t half = (size_t)(INT64_C(4) * 1024 * 1024) / 2 - sizeof(sx_item) - 100;
    for (int i = 0; i < 2; i++) large[i] = item_of(heap, half);
    for (int i = 0; i < 2; i++) sx_item_release(large[i]);
    for (size_t size = 100; size <= 100000; size *= 10) {
        sx_item_release(item_of(heap, size));
        int64_t calls = atomic_load(&alloc.calls);
        sx_item_release(item_of(heap, size));
        assert_int_equal(atomic_load(&alloc.calls), calls);
    }
    sx_heap_release(heap);
    test_alloc_check_empty(&alloc);
}

/* Its heap's last reference is the program's. */
static void what_outlives_the_engine_is_not_lost(void **state) {
    (void)state;
    test_alloc alloc;
    sx_heap *heap = heap_over(&alloc);
    sx_item *item = item_of(heap, 10);
    sx_item_retain_outside(item);
    sx_item_release(item);
    sx_heap_release(heap);
    assert_int_equal(*sx_item_value(item), 'v');
    sx_item_release(item);
    test_alloc_check_empty(&alloc);
}

/* ---- threads ---- */

enum { GIVERS = 3, ROUNDS = 2000, AT_ONCE = 6 };
typedef struct giver {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    sx_item *items[AT_ONCE];
    uint32_t count;
    bool over, failed;
} giver;

static void *give_back(void *argument) {
    giver *g = argument;
    pthread_mutex_lock(&g->lock);
    while (!g->over || g->count > 0) {
        if (g->count == 0) {
            pthread_cond_wait(&g->changed, &g->lock);
            continue;
        }
        sx_item *item = g->items[--g->count];
        pthread_cond_signal(&g->changed);
        pthread_mutex_unlock(&g->lock);
        for (uint32_t i = 0; i < item->value_size; i++) g->failed |= sx_item_value(item)[i] != (uint8_t)item->n;
        sx_item_release(item);
        pthread_mutex_lock(&g->lock);
    }
    pthread_mutex_unlock(&g->lock);
    return NULL;
}

static void hand_over(giver *g, sx_item *item) {
    pthread_mutex_lock(&g->lock);
    while (g->count == AT_ONCE) pthread_cond_wait(&g->changed, &g->lock);
    g->items[g->count++] = item;
    pthread_cond_signal(&g->changed);
    pthread_mutex_unlock(&g->lock);
}

static void nobody_has_what_another_has(void **state) {
    (void)state;
    test_alloc alloc;
    sx_heap *heap = heap_over(&alloc);
    giver givers[GIVERS] = {0};
    pthread_t threads[GIVERS];
    for (int i = 0; i < GIVERS; i++) {
        pthread_mutex_init(&givers[i].lock, NULL);
        pthread_cond_init(&givers[i].changed, NULL);
        assert_int_equal(pthread_create(&threads[i], NULL, give_back, &givers[i]), 0);
    }
    for (uint32_t round = 0; round < ROUNDS; round++) {
        sx_item_facts facts = passing;
        facts.n = round & 255;
        size_t size = round % 3 == 0 ? 40 : 200;
        sx_item *item = sx_item_create(heap, "key", 3, NULL, size, &facts);
        assert_non_null(item);
        memset(sx_item_value(item), (int)facts.n, size);
        hand_over(&givers[round % GIVERS], item);
    }
    for (int i = 0; i < GIVERS; i++) {
        pthread_mutex_lock(&givers[i].lock);
        givers[i].over = true;
        pthread_cond_signal(&givers[i].changed);
        pthread_mutex_unlock(&givers[i].lock);
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_false(givers[i].failed);
        pthread_cond_destroy(&givers[i].changed);
        pthread_mutex_destroy(&givers[i].lock);
    }
#if !defined(__SANITIZE_ADDRESS__)
    assert_true(atomic_load(&alloc.calls) < ROUNDS / 4); /* no more are out at once than all givers hold */
#endif
    sx_heap_release(heap);
    test_alloc_check_empty(&alloc);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rooms_hold_what_they_are_for),
        cmocka_unit_test(nothing_behind_the_value_is_a_room_too),
        cmocka_unit_test(what_is_given_back_is_the_next_ones),
        cmocka_unit_test(what_waits_is_bounded),
        cmocka_unit_test(what_waits_in_vain_leaves),
        cmocka_unit_test(what_outlives_the_engine_is_not_lost),
        cmocka_unit_test(nobody_has_what_another_has),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
