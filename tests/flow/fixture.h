/* SPDX-License-Identifier: Apache-2.0 */
/* What tests of one engine without L2 share: a clock that they move, a loader that ends as they say, and its last answer. */
#ifndef TESTS_FLOW_FIXTURE_H
#define TESTS_FLOW_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/time/clock.h"
#include "tests/support/clock.h"
#include "tests/support/engine.h"

typedef struct fixture {
    strata *engine;
    strata_namespace *ns;
    strata_session *session;
    test_clock clock;
    /* the loader */
    _Atomic int calls;
    int32_t status;
    const char *value;
    strata_load_result details;
    bool keep;
    strata_load *kept;
    int32_t finished; /* what the end of its last load was answered */
    /* the last answer */
    int answers; /* of those that came later */
    int32_t answered;
    uint8_t reason, source;
    int64_t ttl_ms;
    char text[32];
} fixture;

static inline int64_t fixture_now_ns(void *clock) { return test_clock_now_ns(clock); }

/* Not opened yet, so that its address can be given to what it is opened with. */
static inline fixture *fixture_create(void) {
    fixture *f = calloc(1, sizeof *f);
    f->value = "v";
    f->details.struct_size = sizeof f->details;
    test_clock_init(&f->clock, INT64_C(1000000000000));
    return f;
}

static inline void fixture_open(fixture *f, const char *const *pairs, const strata_open_options *template_) {
    f->engine = test_engine_open(pairs, template_);
    f->ns = test_engine_ns(f->engine, "alone");
    f->session = test_engine_session(f->engine);
}

static inline int32_t fixture_policy(fixture *f, strata_namespace_policy policy) {
    strata_error error;
    policy.struct_size = sizeof policy;
    return strata_namespace_policy_set(f->ns, &policy, &error);
}

static inline void fixture_close(fixture *f) {
    strata_session_close(f->session);
    assert_int_equal(strata_close(f->engine, 1000), STRATA_OK);
    free(f);
}

/* A test's setup: an engine with these options, by the fixture's clock. */
static inline int fixture_setup(void **state, const char *const *pairs) {
    fixture *f = fixture_create();
    strata_open_options template_ = {.clock = {&f->clock, fixture_now_ns}};
    fixture_open(f, pairs, &template_);
    *state = f;
    return 0;
}

static inline int fixture_teardown(void **state) {
    fixture_close(*state);
    return 0;
}

static inline void fixture_advance(fixture *f, int64_t ms) { test_clock_advance(&f->clock, ms * SX_NS_PER_MS); }

static inline void fixture_load(strata_load *load, void *user) {
    fixture *f = user;
    atomic_fetch_add(&f->calls, 1);
    if (f->keep) f->kept = load;
    else f->finished = strata_load_finish(load, f->status, test_bytes(f->value), &f->details);
}

/* Notes an answer, lets go of its value, and gives its status back. */
static inline int32_t fixture_take(fixture *f, int32_t status, strata_result *result) {
    f->answered = status;
    f->reason = 0;
    f->text[0] = 0;
    if (status != STRATA_OK && status != STRATA_STALE) return status;
    f->reason = result->reason;
    f->source = result->source;
    f->ttl_ms = result->ttl_ms;
    memcpy(f->text, result->value.data, result->value.size);
    f->text[result->value.size] = 0;
    strata_result_release(f->session, result);
    return status;
}

/* A completion. */
static inline void fixture_done(void *user, const strata_result *result) {
    fixture *f = user;
    f->answers++;
    f->answered = result->status;
    f->reason = result->reason;
}

static inline int32_t fixture_get_or_load(fixture *f, const char *key, const strata_op_options *options) {
    strata_result result;
    int32_t status = strata_get_or_load_wait(f->session, f->ns, test_bytes(key), options, fixture_load, f, &result);
    return fixture_take(f, status, &result);
}

static inline int32_t fixture_get(fixture *f, const char *key) {
    strata_result result;
    return fixture_take(f, strata_get_wait(f->session, f->ns, test_bytes(key), NULL, &result), &result);
}

static inline int32_t fixture_peek(fixture *f, const char *key) {
    strata_result result;
    return fixture_take(f, strata_peek(f->session, f->ns, test_bytes(key), &result), &result);
}

/* Starts a load that its loader keeps, and waits until it does. */
static inline void fixture_hold(fixture *f, const char *key) {
    strata_result result;
    f->keep = true;
    f->kept = NULL;
    f->answers = 0;
    assert_int_equal(strata_get_or_load(f->session, f->ns, test_bytes(key), NULL, fixture_load, f, &result, fixture_done, f),
                     STRATA_PENDING);
    for (int64_t end_ms = test_now_ms() + 10000; f->kept == NULL && test_now_ms() < end_ms;) (void)strata_session_wait(f->session, 10);
    assert_non_null(f->kept);
    f->keep = false;
}

#endif
