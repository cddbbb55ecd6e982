/* SPDX-License-Identifier: Apache-2.0 */
/* An allocator for tests: counts what is live, checks sizes on release, and fails the allocation it is told to. */
#ifndef SX_TESTS_SUPPORT_ALLOC_H
#define SX_TESTS_SUPPORT_ALLOC_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/memory/alloc.h"

typedef struct test_alloc {
    sx_alloc table;            /* hand out &alloc.table */
    _Atomic int64_t live;      /* allocations not released */
    _Atomic int64_t bytes;     /* their bytes, as asked for */
    _Atomic int64_t calls;     /* allocations tried since init or test_alloc_fail_at */
    _Atomic int64_t fail_at;   /* this call fails, 1-based; 0 for none */
    _Atomic int64_t fail_from; /* this call and all later ones fail; 0 for none */
    _Atomic int64_t failed;    /* how many failed */
    const char *secret;        /* NULL, or a text that no memory may hold when it is released */
    _Atomic int64_t told;      /* how often it did */
} test_alloc;

void test_alloc_init(test_alloc *alloc);
/* The k-th allocation from now on fails, 1-based; 0: none does. Restarts calls and failed. */
void test_alloc_fail_at(test_alloc *alloc, int64_t k);
/* The k-th allocation from now on and all after it fail; 0: none does. */
void test_alloc_fail_from(test_alloc *alloc, int64_t k);
/* Stops the test where anything is live. */
void test_alloc_check_empty(test_alloc *alloc);

/* Runs step with the 1st, 2nd, ... allocation failing until it runs through without having met the failure. step answers
   a status and leaves nothing allocated; every run that met one must answer STRATA_E_NOMEM. Returns the runs. */
int test_alloc_sweep(int32_t (*step)(test_alloc *alloc, void *context), void *context);

#endif
