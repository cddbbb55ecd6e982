/* SPDX-License-Identifier: Apache-2.0 */
/* The set of namespaces: as many as there may be, told apart by version, found while others are opened. */
#include "core/flow/names.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/flow/engine.h"
#include "tests/support/alloc.h"

#define COUNT 1024u

static strata_namespace namespaces[COUNT];

static void name(uint32_t i, strata_namespace *out) {
    memset(out, 0, sizeof *out);
    out->name_size = (uint32_t)snprintf(out->name, sizeof out->name, "space.%u", i / 2);
    out->version = i % 2;
    out->index = (uint16_t)i;
}

static void test_every_one_is_found(void **state) {
    (void)state;
    sx_names *names;
    assert_int_equal(sx_names_create(sx_alloc_default(), COUNT, &names), STRATA_OK);
    for (uint32_t i = 0; i < COUNT; i++) {
        name(i, &namespaces[i]);
        assert_null(sx_names_find(names, namespaces[i].name, namespaces[i].name_size, namespaces[i].version));
        sx_names_add(names, &namespaces[i]);
    }
    for (uint32_t i = 0; i < COUNT; i++) {
        const strata_namespace *ns = &namespaces[i];
        assert_ptr_equal(sx_names_find(names, ns->name, ns->name_size, ns->version), ns);
        assert_null(sx_names_find(names, ns->name, ns->name_size, 2));
        assert_null(sx_names_find(names, ns->name, ns->name_size - 1, 7));
    }
    char longest[SX_NAMESPACE_BYTES_MAX + 1];
    memset(longest, 'x', sizeof longest);
    assert_null(sx_names_find(names, longest, sizeof longest, 0));
    assert_null(sx_names_find(names, longest, 0, 0));
    sx_names_destroy(names);
    sx_names_destroy(NULL);
}

/* All memory is taken at the beginning, and all of it comes back. */
static int32_t create_and_fill(test_alloc *memory, void *context) {
    (void)context;
    sx_names *names = NULL;
    int32_t status = sx_names_create(&memory->table, 16, &names);
    if (status != STRATA_OK) return status;
    int64_t taken = memory->calls;
    for (uint32_t i = 0; i < 16; i++) {
        name(i, &namespaces[i]);
        sx_names_add(names, &namespaces[i]);
    }
    assert_int_equal(memory->calls, taken);
    sx_names_destroy(names);
    return status;
}

static void test_memory(void **state) {
    (void)state;
    assert_true(test_alloc_sweep(create_and_fill, NULL) > 1);
}

static _Atomic uint32_t added;

/* What was added before the look is found, with its fields. */
static void *find_all(void *argument) {
    for (uint32_t seen = 0; seen < COUNT;) {
        seen = atomic_load_explicit(&added, memory_order_acquire);
        for (uint32_t i = 0; i < COUNT; i += 7) {
            strata_namespace wanted;
            name(i, &wanted);
            const strata_namespace *ns = sx_names_find(argument, wanted.name, wanted.name_size, wanted.version);
            if (ns != NULL && ns->index != i) abort();
            if (ns == NULL && i < seen) abort();
        }
    }
    return NULL;
}

static void test_found_while_opened(void **state) {
    (void)state;
    sx_names *names;
    pthread_t thread;
    assert_int_equal(sx_names_create(sx_alloc_default(), COUNT, &names), STRATA_OK);
    atomic_store(&added, 0);
    assert_int_equal(pthread_create(&thread, NULL, find_all, names), 0);
    for (uint32_t i = 0; i < COUNT; i++) {
        name(i, &namespaces[i]);
        sx_names_add(names, &namespaces[i]);
        atomic_store(&added, i + 1);
    }
    assert_int_equal(pthread_join(thread, NULL), 0);
    sx_names_destroy(names);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_one_is_found), cmocka_unit_test(test_memory),
                                       cmocka_unit_test(test_found_while_opened)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
