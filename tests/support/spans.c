/* SPDX-License-Identifier: Apache-2.0 */
/* A tracer that keeps what it is told, for tests. */
#include "tests/support/spans.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/engine.h"

void test_spans_init(test_spans *spans) {
    spans->count = 0;
    pthread_mutex_init(&spans->mutex, NULL);
}

static void copy_text(char *out, size_t size, strata_bytes text) {
    (void)snprintf(out, size, "%.*s", (int)text.size, text.size == 0 ? "" : (const char *)text.data);
}

void test_spans_tell(void *context, const strata_span *span) {
    test_spans *spans = context;
    pthread_mutex_lock(&spans->mutex);
    if (spans->count < TEST_SPANS_MAX) {
        test_span *kept = &spans->all[spans->count++];
        kept->span = *span;
        copy_text(kept->key, sizeof kept->key, span->key);
        copy_text(kept->tracestate, sizeof kept->tracestate, span->tracestate);
        kept->thread = pthread_self();
    }
    pthread_mutex_unlock(&spans->mutex);
}

static int find(test_spans *spans, const char *name, int nth, test_span *out) {
    int found = 0;
    pthread_mutex_lock(&spans->mutex);
    for (int i = 0; i < spans->count; i++) {
        if (strcmp(spans->all[i].span.name, name) != 0) continue;
        if (found++ == nth && out != NULL) *out = spans->all[i];
    }
    pthread_mutex_unlock(&spans->mutex);
    return found;
}

int test_spans_count(test_spans *spans, const char *name) { return find(spans, name, -1, NULL); }

test_span test_spans_await(test_spans *spans, const char *name, int nth) {
    test_span out = {0};
    for (int i = 0; i < 2000; i++) {
        if (find(spans, name, nth, &out) > nth) return out;
        test_sleep_ms(5);
    }
    fail_msg("no span '%s' number %d", name, nth);
    return out;
}

void test_spans_clear(test_spans *spans) {
    pthread_mutex_lock(&spans->mutex);
    spans->count = 0;
    pthread_mutex_unlock(&spans->mutex);
}

bool test_span_is_child(const test_span *child, const test_span *parent) {
    return memcmp(child->span.trace_id, parent->span.trace_id, 16) == 0 && memcmp(child->span.parent_id, parent->span.span_id, 8) == 0;
}
