/* SPDX-License-Identifier: Apache-2.0 */
/* A tracer that keeps what it is told, for tests. */
#ifndef TESTS_SUPPORT_SPANS_H
#define TESTS_SUPPORT_SPANS_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include <strata/strata.h>

#define TEST_SPANS_MAX 256

/* A span, copied; its tracestate and key as texts. */
typedef struct test_span {
    strata_span span;
    char key[64];
    char tracestate[64];
    pthread_t thread;
} test_span;

typedef struct test_spans {
    pthread_mutex_t mutex;
    int count; /* lock: mutex */
    test_span all[TEST_SPANS_MAX];
} test_spans;

void test_spans_init(test_spans *spans);
/* As a strata_tracer's. */
void test_spans_tell(void *spans, const strata_span *span);
/* How many of that name there are. */
int test_spans_count(test_spans *spans, const char *name);
/* The nth of that name, from 0; waits for it, and fails the test where it does not come. */
test_span test_spans_await(test_spans *spans, const char *name, int nth);
/* Forgets all. */
void test_spans_clear(test_spans *spans);
bool test_span_is_child(const test_span *child, const test_span *parent);

#endif
