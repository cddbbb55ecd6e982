/* SPDX-License-Identifier: Apache-2.0 */
/* Allocators: alignment, private arenas that leave nothing behind, several threads, wrapped functions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <pthread.h>

#include <strata/status.h>

#include "core/memory/alloc.h"
#include "core/memory/buf.h"
#include "tests/support/alloc.h"

static void check_table(const sx_alloc *alloc) {
    static const size_t sizes[] = {0, 1, 7, 8, 16, 17, 100, 192, 1000, 4096, 4097, 100000, 5000000};
    for (size_t alignment = 16; alignment <= 64; alignment *= 2) {
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            size_t size = alignment == 16 ? sizes[i] : (sizes[i] / alignment + 1) * alignment;
            void *memory = alloc->allocate(alloc->context, size, alignment);
            assert_non_null(memory);
            assert_int_equal((uintptr_t)memory % alignment, 0);
            memset(memory, 0xee, size);
            assert_true(alloc->usable(alloc->context, size) >= size);
            alloc->release(alloc->context, memory, size);
        }
    }
    sx_release(alloc, NULL, 5);
    uint8_t *zeros = sx_allocate_zero(alloc, 333);
    assert_non_null(zeros);
    for (int i = 0; i < 333; i++) assert_int_equal(zeros[i], 0);
    sx_release(alloc, zeros, 333);
    char *text = sx_allocate_text(alloc, "abcdef", 3);
    assert_string_equal(text, "abc");
    sx_release(alloc, text, 4);
#if SX_ALLOC_JEMALLOC /* the sanitizers' malloc ends the process instead */
    assert_null(sx_allocate(alloc, SIZE_MAX / 2));
#endif
    assert_null(sx_allocate_text(alloc, "", SIZE_MAX));
}

static void test_default(void **state) {
    (void)state;
    check_table(sx_alloc_default());
}

static void test_arena(void **state) {
    (void)state;
    sx_alloc alloc;
    assert_int_equal(sx_alloc_arena_create(&alloc), STRATA_OK);
    check_table(&alloc);
    sx_alloc_arena_destroy(&alloc);
}

/* A field of the kernel's sums over this process's memory, in bytes; -1 where it has none. */
static int64_t kernel_sum(const char *field) {
    char line[256];
    long long kib = -1;
    FILE *file = fopen("/proc/self/smaps_rollup", "r");
    if (file == NULL) return -1;
    while (fgets(line, sizeof line, file) != NULL)
        if (strncmp(line, field, strlen(field)) == 0) (void)sscanf(line + strlen(field), ": %lld", &kib);
    (void)fclose(file);
    return kib < 0 ? -1 : kib * 1024;
}

static bool kernel_grants_huge_pages(void) {
    char line[128] = "";
    FILE *file = fopen("/sys/kernel/mm/transparent_hugepage/enabled", "r");
    if (file == NULL) return false;
    bool read = fgets(line, sizeof line, file) != NULL;
    (void)fclose(file);
    return read && strstr(line, "[never]") == NULL;
}

/* What an arena that wishes for them takes comes in pages of 2 MB; what will be touched little by little does not. */
static void test_huge_pages(void **state) {
    (void)state;
    enum { BYTES = 64 << 20, STEP = 2 << 20 };
    sx_alloc alloc;
    assert_int_equal(sx_alloc_arena_create(&alloc), STRATA_OK);
    if (sx_alloc_arena_resident(&alloc) < 0 || !kernel_grants_huge_pages()) {
        sx_alloc_arena_destroy(&alloc);
        skip();
    }
    sx_alloc_arena_huge_pages(&alloc);
    int64_t huge = kernel_sum("AnonHugePages"), resident;
    char *whole = sx_allocate(&alloc, BYTES), *sparse = sx_allocate(&alloc, BYTES);
    assert_non_null(whole);
    assert_non_null(sparse);
    for (size_t i = 0; i < BYTES; i += 4096) whole[i] = 1;
    assert_true(kernel_sum("AnonHugePages") - huge >= BYTES / 4); /* memory may be in pieces: not all can be */
    sx_alloc_arena_sparse(&alloc, sparse, BYTES, true);
    resident = kernel_sum("Rss");
    for (size_t i = STEP / 2; i < BYTES; i += STEP) sparse[i] = 1;
    assert_true(kernel_sum("Rss") - resident < BYTES / 4);
    sx_release(&alloc, whole, BYTES);
    sx_release(&alloc, sparse, BYTES);
    sx_alloc_arena_destroy(&alloc);
    sx_alloc_arena_huge_pages(sx_alloc_default()); /* no arena: nothing to do */
}

/* What is still allocated goes with the arena, and its pages with it: many arenas in turn don't add up. */
static void test_arena_ends(void **state) {
    (void)state;
    for (int round = 0; round < 200; round++) {
        sx_alloc alloc;
        assert_int_equal(sx_alloc_arena_create(&alloc), STRATA_OK);
        int64_t before = sx_alloc_arena_resident(&alloc);
        if (before < 0) { /* libc: nothing would be given back */
            sx_alloc_arena_destroy(&alloc);
            return;
        }
        void *first = NULL;
        for (int i = 0; i < 1000; i++) {
            void *memory = sx_allocate(&alloc, 4096);
            assert_non_null(memory);
            memset(memory, 1, 4096);
            if (i == 0) first = memory;
        }
        assert_true(sx_alloc_arena_resident(&alloc) >= before + 1000 * 4096);
        assert_true(sx_alloc_arena_resident(&alloc) < before + 2 * 1000 * 4096);
        sx_release(&alloc, first, 4096);
        sx_alloc_arena_destroy(&alloc);
    }
}

/* Whatever comes and goes, in bursts that overflow what is kept at hand: who has a region has it alone, and all of it. */
static void test_arena_regions(void **state) {
    (void)state;
    enum { SLOTS = 1500, STEPS = 120000, BURST = 300, SIZE_MAX_HERE = 4400 };
    static uint8_t *regions[SLOTS];
    static uint16_t sizes[SLOTS];
    sx_alloc alloc;
    uint64_t random = 1;
    assert_int_equal(sx_alloc_arena_create(&alloc), STRATA_OK);
    for (size_t size = 0; size <= SIZE_MAX_HERE; size++)
        assert_int_equal(alloc.usable(alloc.context, size), sx_alloc_default()->usable(NULL, size));
    for (uint32_t step = 0; step < STEPS; step++) {
        random = random * UINT64_C(6364136223846793005) + 1442695040888963407;
        /* For a time most come, then most go; by their slot small ones, or of any size. */
        uint32_t slot = (uint32_t)(random >> 33) % SLOTS;
        bool coming = step / BURST % 2 == 0;
        if (regions[slot] != NULL) {
            if (coming) continue;
            for (uint32_t i = 0; i < sizes[slot]; i++) assert_int_equal(regions[slot][i], slot & 255u);
            sx_release(&alloc, regions[slot], sizes[slot]);
            regions[slot] = NULL;
        } else if (coming) {
            sizes[slot] = (uint16_t)((random >> 20) % (slot % 2 == 0 ? 260 : SIZE_MAX_HERE));
            regions[slot] = sx_allocate(&alloc, sizes[slot]);
            assert_non_null(regions[slot]);
            memset(regions[slot], (int)(slot & 255u), sizes[slot]);
        }
    }
    for (uint32_t slot = 0; slot < SLOTS; slot++) {
        if (regions[slot] != NULL) sx_release(&alloc, regions[slot], sizes[slot]);
        regions[slot] = NULL;
    }
    sx_alloc_arena_destroy(&alloc);
}

#define THREADS 4
#define OBJECTS 20000

static sx_alloc shared;
static void *given[THREADS][OBJECTS];

static size_t size_of(int i) {
    return (size_t)(i * 37 % 700) + 8;
}

static void *allocate_many(void *argument) {
    int me = (int)(intptr_t)argument;
    for (int i = 0; i < OBJECTS; i++) {
        given[me][i] = sx_allocate(&shared, size_of(i));
        if (given[me][i] != NULL) memset(given[me][i], me + 1, size_of(i));
        if (i % 3 == 0) { /* some come back at once */
            sx_release(&shared, given[me][i], size_of(i));
            given[me][i] = NULL;
        }
    }
    return NULL;
}

/* Regions freed by other threads than theirs, while caches are shared by processor: none is ever handed out twice. */
static void test_arena_threads(void **state) {
    (void)state;
    assert_int_equal(sx_alloc_arena_create(&shared), STRATA_OK);
    for (int round = 0; round < 3; round++) {
        pthread_t threads[THREADS];
        for (int i = 0; i < THREADS; i++) {
            assert_int_equal(pthread_create(&threads[i], NULL, allocate_many, (void *)(intptr_t)i), 0);
        }
        for (int i = 0; i < THREADS; i++) assert_int_equal(pthread_join(threads[i], NULL), 0);
        for (int t = 0; t < THREADS; t++) {
            for (int i = 0; i < OBJECTS; i++) {
                const uint8_t *bytes = given[t][i];
                if (bytes == NULL) continue;
                assert_int_equal(bytes[0], t + 1);
                assert_int_equal(bytes[size_of(i) - 1], t + 1);
                sx_release(&shared, given[t][i], size_of(i));
            }
        }
    }
    sx_alloc_arena_destroy(&shared);
}

static void test_wrap(void **state) {
    (void)state;
    test_alloc alloc;
    test_alloc_init(&alloc);
    assert_int_equal(alloc.table.usable(alloc.table.context, 17), 32);
    assert_int_equal(sx_alloc_arena_resident(&alloc.table), -1);
    void *memory = sx_allocate(&alloc.table, 10);
    assert_int_equal(atomic_load(&alloc.bytes), 10);
    sx_release(&alloc.table, memory, 10);
    test_alloc_check_empty(&alloc);
}

/* ---- buffers -------------------------------------------------------------------------------------------------- */

static void test_buf(void **state) {
    (void)state;
    test_alloc alloc;
    test_alloc_init(&alloc);
    sx_buf buf;
    sx_buf_init(&buf, &alloc.table);
    sx_buf_append(&buf, NULL, 0);
    assert_null(buf.data);
    for (int i = 0; i < 1000; i++) sx_buf_append_byte(&buf, (uint8_t)i);
    assert_false(buf.failed);
    assert_int_equal(buf.size, 1000);
    for (int i = 0; i < 1000; i++) assert_int_equal(buf.data[i], (uint8_t)i);
    assert_int_equal(atomic_load(&alloc.live), 1);
    sx_buf_clear(&buf, buf.capacity);
    assert_int_equal(buf.size, 0);
    assert_non_null(buf.data);
    sx_buf_clear(&buf, buf.capacity - 1);
    assert_null(buf.data);
    assert_false(sx_buf_reserve(&buf, SIZE_MAX));
    assert_true(buf.failed);
    sx_buf_append(&buf, "x", 1); /* the failure sticks */
    assert_int_equal(buf.size, 0);
    sx_buf_clear(&buf, 0);
    test_alloc_fail_at(&alloc, 1);
    sx_buf_append(&buf, "x", 1);
    assert_true(buf.failed);
    sx_buf_clear(&buf, 0);
    sx_buf_append(&buf, "x", 1);
    assert_false(buf.failed);
    sx_buf_deinit(&buf);
    test_alloc_check_empty(&alloc);
}

/* A failed growth leaves what was there to be freed, and no other trace. */
static void test_buf_growth_fails(void **state) {
    (void)state;
    test_alloc alloc;
    test_alloc_init(&alloc);
    sx_buf buf;
    sx_buf_init(&buf, &alloc.table);
    sx_buf_append(&buf, "hello", 5);
    test_alloc_fail_at(&alloc, 1);
    assert_false(sx_buf_reserve(&buf, 1000));
    assert_true(buf.failed);
    sx_buf_deinit(&buf);
    assert_false(buf.failed);
    test_alloc_check_empty(&alloc);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_default),
        cmocka_unit_test(test_arena),
        cmocka_unit_test(test_huge_pages), cmocka_unit_test(test_arena_ends),
        cmocka_unit_test(test_arena_regions),
        cmocka_unit_test(test_arena_threads),
        cmocka_unit_test(test_wrap),
        cmocka_unit_test(test_buf),
        cmocka_unit_test(test_buf_growth_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
