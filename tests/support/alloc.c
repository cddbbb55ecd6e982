/* SPDX-License-Identifier: Apache-2.0 */
/* The counting, failing allocator: a header before each region remembers its size. */
#include "tests/support/alloc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <strata/status.h>

#define HEAD_BYTES 128 /* keeps every alignment up to itself */
#define MAGIC      UINT64_C(0x5bd1e995c0ffee11)

typedef struct head {
    uint64_t magic;
    size_t size;
} head;

static void *allocate(void *context, size_t size, size_t alignment) {
    test_alloc *alloc = context;
    int64_t call = atomic_fetch_add(&alloc->calls, 1) + 1;
    int64_t from = atomic_load(&alloc->fail_from);
    if (call == atomic_load(&alloc->fail_at) || (from != 0 && call >= from)) {
        (void)atomic_fetch_add(&alloc->failed, 1);
        return NULL;
    }
    void *memory = NULL;
    if (alignment > HEAD_BYTES || posix_memalign(&memory, HEAD_BYTES, HEAD_BYTES + size) != 0) return NULL;
    head h = {MAGIC, size};
    memcpy(memory, &h, sizeof h);
    memset((char *)memory + HEAD_BYTES, 0xa5, size); /* nobody may count on zeros */
    (void)atomic_fetch_add(&alloc->live, 1);
    (void)atomic_fetch_add(&alloc->bytes, (int64_t)size);
    return (char *)memory + HEAD_BYTES;
}

static void release(void *context, void *memory, size_t size) {
    test_alloc *alloc = context;
    char *start = (char *)memory - HEAD_BYTES;
    head h;
    memcpy(&h, start, sizeof h);
    if (h.magic != MAGIC || h.size != size)
        abort(); /* freed twice, foreign, or with another size than asked for */
    if (alloc->secret != NULL && memmem(memory, size, alloc->secret, strlen(alloc->secret)) != NULL)
        (void)atomic_fetch_add(&alloc->told, 1);
    memset(start, 0x5a, HEAD_BYTES + size);
    (void)atomic_fetch_sub(&alloc->live, 1);
    (void)atomic_fetch_sub(&alloc->bytes, (int64_t)size);
    free(start);
}

void test_alloc_init(test_alloc *alloc) {
    memset(alloc, 0, sizeof *alloc);
    sx_alloc_wrap(&alloc->table, alloc, allocate, release);
}

void test_alloc_fail_at(test_alloc *alloc, int64_t k) {
    atomic_store(&alloc->calls, 0);
    atomic_store(&alloc->failed, 0);
    atomic_store(&alloc->fail_from, 0);
    atomic_store(&alloc->fail_at, k);
}

void test_alloc_fail_from(test_alloc *alloc, int64_t k) {
    test_alloc_fail_at(alloc, 0);
    atomic_store(&alloc->fail_from, k);
}

void test_alloc_check_empty(test_alloc *alloc) {
    assert_int_equal(atomic_load(&alloc->live), 0);
    assert_int_equal(atomic_load(&alloc->bytes), 0);
}

int test_alloc_sweep(int32_t (*step)(test_alloc *alloc, void *context), void *context) {
    for (int k = 1;; k++) {
        test_alloc alloc;
        test_alloc_init(&alloc);
        test_alloc_fail_at(&alloc, k);
        int32_t status = step(&alloc, context);
        test_alloc_check_empty(&alloc);
        if (atomic_load(&alloc.failed) == 0) {
            assert_int_equal(status, STRATA_OK);
            return k;
        }
        assert_int_equal(status, STRATA_E_NOMEM);
    }
}
