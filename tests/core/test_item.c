/* SPDX-License-Identifier: Apache-2.0 */
/* Items and heaps: layout, counts, and values that outlive their engine. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <pthread.h>

#include <strata/status.h>
#include <strata/value.h>

#include "core/memory/item.h"
#include "tests/support/alloc.h"

static const sx_item_facts facts = {.n = 1,
                                    .id = 2,
                                    .app_version = 3,
                                    .written_ms = 4,
                                    .expires_ns = 5,
                                    .generation = 6,
                                    .ns = 7,
                                    .partition = 8};

static void test_layout(void **state) {
    (void)state;
    test_alloc alloc;
    test_alloc_init(&alloc);
    sx_heap *heap = NULL;
    assert_int_equal(sx_heap_create(&alloc.table, &heap), STRATA_OK);
    sx_item *item = sx_item_create(heap, "key", 3, "value", 5, &facts);
    assert_non_null(item);
    assert_int_equal((uintptr_t)sx_item_value(item) % 8, 0);
    assert_memory_equal(sx_item_value(item), "value", 5);
    assert_memory_equal(sx_item_key(item), "key", 3);
    assert_int_equal(item->n, 1);
    assert_int_equal(item->id, 2);
    assert_int_equal(sx_item_app_version(item), 3);
    assert_int_equal(item->written_ms, 4);
    assert_int_equal(sx_item_expires_ns(item), 5);
    assert_int_equal(atomic_load(&item->generation), 6);
    assert_int_equal(item->ns, 7);
    assert_int_equal(item->partition, 8);
    assert_int_equal(sx_item_size(item), sizeof(sx_item) + 8 + 5 + 8); /* the key's padding; the app's version */
    assert_true(sx_item_footprint(item) >= sx_item_size(item));
    sx_item_retain(item);
    sx_item_release(item);
    assert_memory_equal(sx_item_value(item), "value", 5);
    sx_item_release(item);
    sx_item_facts plain = facts;
    plain.app_version = 0;
    plain.aged = true;
    sx_item *aged = sx_item_create(heap, "k", 1, "value", 5, &plain);
    assert_int_equal(sx_item_size(aged), sizeof(sx_item) + 8 + 8 + sizeof(sx_item_aging));
    assert_int_equal((uintptr_t)sx_item_aging_of(aged) % 8, 0);
    assert_int_equal(sx_item_fresh_ns(aged), 5);
    sx_item_aging_of(aged)->gone_ns = 9;
    assert_int_equal(sx_item_gone_ns(aged), 9);
    sx_item_release(aged);
    plain.tags = (const uint8_t *)"tags";
    plain.tags_size = 4;
    aged = sx_item_create(heap, "k", 1, "value", 5, &plain);
    sx_item_aging_of(aged)->gone_ns = INT64_MAX;
    assert_memory_equal(sx_item_tagging_of(aged)->bytes, "tags", 4);
    assert_true((uint8_t *)sx_item_tagging_of(aged) >= (uint8_t *)(sx_item_aging_of(aged) + 1));
    sx_item_release(aged);
    plain.aged = false;
    plain.tags_size = 0;
    sx_item *empty = sx_item_create(heap, "k", 1, NULL, 0, &plain);
    assert_int_equal(sx_item_size(empty), sizeof(sx_item) + 8);
    assert_int_equal(sx_item_app_version(empty), 0);
    assert_int_equal(sx_item_fresh_ns(empty), 5);
    assert_int_equal(sx_item_gone_ns(empty), 5);
    sx_item_release(empty);
    test_alloc_fail_at(&alloc, 1);
    assert_null(sx_item_create(heap, "k", 1, NULL, 100, &facts));
    sx_heap_release(heap);
    test_alloc_check_empty(&alloc);
}

/* An allocator that does not keep the alignment it is asked for is one that has no memory. */
static void *askew_allocate(void *context, size_t size, size_t alignment) {
    (void)alignment;
    char *memory = malloc(size + 8);
    ++*(int *)context;
    return memory == NULL ? NULL : memory + 8;
}
static void askew_release(void *context, void *memory, size_t size) {
    (void)size;
    --*(int *)context;
    free((char *)memory - 8);
}
static void test_alignment_is_insisted_on(void **state) {
    (void)state;
    int held = 0;
    sx_alloc askew;
    sx_alloc_wrap(&askew, &held, askew_allocate, askew_release);
    sx_heap *heap = NULL;
    assert_int_equal(sx_heap_create(&askew, &heap), STRATA_OK);
    assert_null(sx_item_create(heap, "key", 3, "value", 5, &facts));
    sx_heap_release(heap);
    assert_int_equal(held, 0);
}

/* The same for addresses that a slot of L1 has no bits for. */
static void *high_allocate(void *context, size_t size, size_t alignment) {
    (void)alignment;
    if (++*(int *)context == 1) return malloc(size); /* the heap itself */
    return (void *)(uintptr_t)(UINT64_C(1) << 48);
}
static void high_release(void *context, void *memory, size_t size) {
    (void)size;
    --*(int *)context;
    if ((uintptr_t)memory >> 47 == 0) free(memory);
}
static void test_addresses_of_48_bits_are_insisted_on(void **state) {
    (void)state;
    int held = 0;
    sx_alloc high;
    sx_alloc_wrap(&high, &held, high_allocate, high_release);
    sx_heap *heap = NULL;
    assert_int_equal(sx_heap_create(&high, &heap), STRATA_OK);
    assert_null(sx_item_create(heap, "key", 3, "value", 5, &facts));
    assert_int_equal(held, 1);
    sx_heap_release(heap);
    assert_int_equal(held, 0);
}

/* The engine's reference goes first, as in a close with a value still held. */
static void outlive(const sx_alloc *injected) {
    sx_heap *heap = NULL;
    assert_int_equal(sx_heap_create(injected, &heap), STRATA_OK);
    sx_item *item = sx_item_create(heap, "k", 1, "kept", 4, &facts);
    sx_item_retain_outside(item); /* the program's */
    sx_item_retain_outside(item); /* once more: one heap reference for both */
    assert_int_equal(atomic_load(&heap->refs), 2);
    sx_item_release(item); /* the table's */
    sx_heap_release(heap); /* the engine's */
    assert_memory_equal(sx_item_value(item), "kept", 4);
    sx_item_release(item);
    strata_bytes bytes = strata_value_bytes(item);
    assert_int_equal(bytes.size, 4);
    assert_memory_equal(bytes.data, "kept", 4);
    strata_value_release(item);
}

static void test_outlives_engine(void **state) {
    (void)state;
    test_alloc alloc;
    test_alloc_init(&alloc);
    outlive(&alloc.table);
    test_alloc_check_empty(&alloc);
    outlive(NULL);
}

static void test_heap_failures(void **state) {
    (void)state;
    test_alloc alloc;
    test_alloc_init(&alloc);
    test_alloc_fail_at(&alloc, 1);
    sx_heap *heap = NULL;
    assert_int_equal(sx_heap_create(&alloc.table, &heap), STRATA_E_NOMEM);
    assert_null(heap);
    assert_ptr_equal(sx_heap_default(), sx_heap_default());
}

/* Each item finds its own heap, whatever others came and went; and there are not more than items can name. */
static void test_heaps_by_number(void **state) {
    (void)state;
    enum { SOME = SX_HEAPS_MAX + 1 };
    static sx_heap *heaps[SOME];
    test_alloc alloc;
    test_alloc_init(&alloc);
    uint32_t count = 0;
    int32_t status;
    while ((status = sx_heap_create(&alloc.table, &heaps[count])) == STRATA_OK) assert_true(++count < SOME);
    assert_int_equal(status, STRATA_E_OVERLOADED);
    assert_int_equal(count, SX_HEAPS_MAX - 1); /* and the default one */
    for (uint32_t i = 0; i < count; i++) {
        sx_item *item = sx_item_create(heaps[i], "key", 3, "value", 5, &facts);
        assert_non_null(item);
        assert_ptr_equal(sx_item_heap(item), heaps[i]);
        sx_item_release(item);
    }
    sx_heap_release(heaps[7]);
    heaps[7] = NULL;
    assert_int_equal(sx_heap_create(&alloc.table, &heaps[7]), STRATA_OK);
    assert_int_equal(sx_heap_create(&alloc.table, &heaps[count]), STRATA_E_OVERLOADED);
    for (uint32_t i = 0; i < count; i++) sx_heap_release(heaps[i]);
    test_alloc_check_empty(&alloc);
    sx_item *item = sx_item_create(sx_heap_default(), "key", 3, "value", 5, &facts);
    assert_ptr_equal(sx_item_heap(item), sx_heap_default());
    sx_item_release(item);
}

/* What others read of an item, where it is: a byte more is one for each entry of L1. */
static void test_header_is_small(void **state) {
    (void)state;
    assert_int_equal(sizeof(sx_item), 56);
    assert_int_equal(offsetof(sx_item, ns), 0);
    assert_int_equal(offsetof(sx_item, partition), 2);
    assert_int_equal(offsetof(sx_item, refs), 8);
    assert_int_equal(offsetof(sx_item, value_size), 12);
    assert_int_equal(offsetof(sx_item, n), 16);
    assert_int_equal(offsetof(sx_item, id), 24);
    assert_int_equal(offsetof(sx_item, written_ms), 32);
    assert_int_equal(offsetof(sx_item, expires_ns), 40);
    assert_int_equal(offsetof(sx_item, generation), 48);
    test_alloc alloc;
    test_alloc_init(&alloc);
    sx_heap *heap = NULL;
    assert_int_equal(sx_heap_create(&alloc.table, &heap), STRATA_OK);
    static const char longest[SX_ITEM_KEY_MAX + 1] = "key";
    sx_item_facts all = facts;
    all.nothing = SX_ITEM_ABSENT;
    all.packed = SX_ITEM_LZ4 | SX_ITEM_ZSTD;
    all.tags = (const uint8_t *)"tags";
    all.tags_size = 4;
    all.etag = (const uint8_t *)"etag";
    all.etag_size = 4;
    sx_item *item = sx_item_create(heap, longest, SX_ITEM_KEY_MAX, "value", 5, &all);
    assert_int_equal(item->key_size, SX_ITEM_KEY_MAX);
    assert_int_equal(item->flags, SX_ITEM_APP_VERSION | SX_ITEM_TAGS | SX_ITEM_AGING | SX_ITEM_ABSENT | SX_ITEM_ETAG | SX_ITEM_PACKED);
    assert_ptr_equal(sx_item_heap(item), heap);
    assert_memory_equal(sx_item_key(item), longest, SX_ITEM_KEY_MAX);
    assert_memory_equal(sx_item_value(item), "value", 5);
    sx_item_release(item);
    assert_null(sx_item_create(heap, longest, SX_ITEM_KEY_MAX + 1, "value", 5, &facts));
    sx_heap_release(heap);
    test_alloc_check_empty(&alloc);
}

static void *retain_and_release(void *argument) {
    sx_item *item = argument;
    for (int i = 0; i < 50000; i++) {
        if (i % 2 == 0) {
            sx_item_retain(item);
        } else {
            sx_item_retain_outside(item);
        }
        if (*sx_item_value(item) != 'v') return item;
        sx_item_release(item);
    }
    sx_item_release(item);
    return NULL;
}

static void test_threads(void **state) {
    (void)state;
    test_alloc alloc;
    test_alloc_init(&alloc);
    sx_heap *heap = NULL;
    assert_int_equal(sx_heap_create(&alloc.table, &heap), STRATA_OK);
    sx_item *item = sx_item_create(heap, "k", 1, "v", 1, &facts);
    pthread_t threads[3];
    for (int i = 0; i < 3; i++) {
        sx_item_retain(item);
        assert_int_equal(pthread_create(&threads[i], NULL, retain_and_release, item), 0);
    }
    sx_item_release(item);
    for (int i = 0; i < 3; i++) {
        void *failed = NULL;
        assert_int_equal(pthread_join(threads[i], &failed), 0);
        assert_null(failed);
    }
    assert_int_equal(atomic_load(&heap->refs), 1);
    sx_heap_release(heap);
    test_alloc_check_empty(&alloc);
}

static void test_values(void **state) {
    (void)state;
    strata_value *value = NULL;
    assert_int_equal(strata_value_create((strata_bytes){"abc", 3}, &value), STRATA_OK);
    assert_ptr_equal(strata_value_retain(value), value);
    strata_value_release(value);
    strata_bytes bytes = strata_value_bytes(value);
    assert_int_equal(bytes.size, 3);
    assert_memory_equal(bytes.data, "abc", 3);
    strata_value_release(value);
    strata_value_release(NULL);
    value = NULL;
    assert_int_equal(strata_value_create((strata_bytes){NULL, 3}, &value), STRATA_E_INVALID);
    assert_int_equal(strata_value_create((strata_bytes){"", (512u << 20) + 1}, &value), STRATA_E_VALUE_SIZE);
    assert_null(value);
    assert_int_equal(strata_value_create((strata_bytes){NULL, 0}, &value), STRATA_OK);
    assert_int_equal(strata_value_bytes(value).size, 0);
    strata_value_release(value);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layout),        cmocka_unit_test(test_alignment_is_insisted_on),
        cmocka_unit_test(test_header_is_small), cmocka_unit_test(test_heaps_by_number),
        cmocka_unit_test(test_addresses_of_48_bits_are_insisted_on),
        cmocka_unit_test(test_outlives_engine),
        cmocka_unit_test(test_heap_failures), cmocka_unit_test(test_threads),
        cmocka_unit_test(test_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
