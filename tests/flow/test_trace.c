/* SPDX-License-Identifier: Apache-2.0 */
/* Traces of one engine without L2: which calls have spans, what these say, and what a loader is handed. */
#include "tests/flow/fixture.h"

#include <stdio.h>

#include "core/flow/engine.h"
#include "tests/support/spans.h"

#define SAMPLED   "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
#define UNSAMPLED "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"
#define STATE     "rojo=1,congo=t61rcWkgMzE"

typedef struct traced {
    fixture *f;
    test_spans spans;
    /* what its loader saw */
    char traceparent[64], tracestate[64];
    int64_t takes_ms;
} traced;

static traced *open_traced(uint32_t flags, bool told) {
    traced *t = calloc(1, sizeof *t);
    t->f = fixture_create();
    test_spans_init(&t->spans);
    strata_open_options template_ = {.clock = {&t->f->clock, fixture_now_ns}};
    const strata_tracer tracer = {.struct_size = sizeof tracer, .flags = flags, .span = test_spans_tell, .context = &t->spans};
    if (told) template_.tracer = &tracer;
    fixture_open(t->f, TEST_OPTIONS("l2.mode", "none", "flow.ttl_jitter", "0"), &template_);
    return t;
}

static void close_traced(traced *t) {
    fixture_close(t->f);
    free(t);
}

static void set_context(traced *t, const char *traceparent, const char *tracestate) {
    assert_int_equal(strata_session_trace(t->f->session, test_bytes(traceparent), test_bytes(tracestate)), STRATA_OK);
}

static void load(strata_load *loading, void *user) {
    traced *t = user;
    strata_bytes text = strata_load_traceparent(loading);
    (void)snprintf(t->traceparent, sizeof t->traceparent, "%.*s", (int)text.size, text.size == 0 ? "" : (const char *)text.data);
    text = strata_load_tracestate(loading);
    (void)snprintf(t->tracestate, sizeof t->tracestate, "%.*s", (int)text.size, text.size == 0 ? "" : (const char *)text.data);
    fixture_advance(t->f, t->takes_ms);
    (void)strata_load_finish(loading, t->f->status, test_bytes("v"), NULL);
}

static int32_t get_or_load_within(traced *t, const char *key, const strata_op_options *options) {
    strata_result result;
    int32_t status = strata_get_or_load_wait(t->f->session, t->f->ns, test_bytes(key), options, load, t, &result);
    if (status == STRATA_OK || status == STRATA_STALE) strata_result_release(t->f->session, &result);
    return status;
}

static int32_t get_or_load(traced *t, const char *key) { return get_or_load_within(t, key, NULL); }

static void a_get_and_its_load_are_told(void **state) {
    (void)state;
    traced *t = open_traced(STRATA_TRACE_KEYS, true);
    set_context(t, SAMPLED, STATE);
    t->takes_ms = 30;
    int64_t before_ns = test_clock_now_ns(&t->f->clock);
    assert_int_equal(get_or_load(t, "k"), STRATA_OK);
    test_span get = test_spans_await(&t->spans, "strata.get_or_load", 0), loaded = test_spans_await(&t->spans, "strata.load", 0);
    static const uint8_t trace_id[] = {0x4b, 0xf9, 0x2f, 0x35, 0x77, 0xb3, 0x4d, 0xa6, 0xa3, 0xce, 0x92, 0x9d, 0x0e, 0x0e, 0x47, 0x36};
    static const uint8_t parent_id[] = {0x00, 0xf0, 0x67, 0xaa, 0x0b, 0xa9, 0x02, 0xb7};
    assert_memory_equal(get.span.trace_id, trace_id, 16);
    assert_memory_equal(get.span.parent_id, parent_id, 8);
    assert_true(test_span_is_child(&loaded, &get));
    assert_memory_not_equal(get.span.span_id, parent_id, 8);
    assert_memory_not_equal(get.span.span_id, loaded.span.span_id, 8);
    assert_true(get.span.status == STRATA_OK && get.span.source == STRATA_FROM_LOADER && loaded.span.status == STRATA_OK);
    assert_ptr_equal(get.span.ns, t->f->ns);
    uint64_t hash;
    assert_int_equal(strata_event_key(t->f->ns, test_bytes("k"), &hash), STRATA_OK);
    assert_true(get.span.key_hash == hash && loaded.span.key_hash == hash);
    assert_string_equal(get.key, "k");
    assert_string_equal(loaded.key, "k");
    assert_string_equal(get.tracestate, STATE);
    assert_string_equal(loaded.tracestate, STATE);
    assert_true(get.span.start_ns == before_ns && loaded.span.start_ns == before_ns);
    assert_true(get.span.end_ns == before_ns + 30 * SX_NS_PER_MS && loaded.span.end_ns == get.span.end_ns);
    assert_true(get.span.end_unix_ns - get.span.start_unix_ns == 30 * SX_NS_PER_MS);
    assert_true(get.span.start_unix_ns > INT64_C(1600000000) * SX_NS_PER_S);
    assert_int_equal(get.span.struct_size, sizeof(strata_span));
    /* The loader names its own span as the parent. */
    sx_traceparent given;
    assert_true(sx_traceparent_decode(t->traceparent, strlen(t->traceparent), &given));
    assert_memory_equal(given.trace_id, trace_id, 16);
    assert_memory_equal(given.parent_id, loaded.span.span_id, 8);
    assert_int_equal(given.flags, SX_TRACE_SAMPLED);
    assert_string_equal(t->tracestate, STATE);
    assert_int_equal(test_metric(t->f->engine, "trace.spans"), 2);
    close_traced(t);
}

static void answers_of_l1_and_writes_are_told(void **state) {
    (void)state;
    traced *t = open_traced(0, true);
    set_context(t, SAMPLED, "");
    assert_int_equal(test_set(t->f->session, t->f->ns, "k", "v"), STRATA_OK);
    assert_int_equal(fixture_get(t->f, "k"), STRATA_OK);
    assert_int_equal(fixture_peek(t->f, "k"), STRATA_OK);
    assert_int_equal(fixture_get(t->f, "none"), STRATA_MISS);
    assert_int_equal(strata_invalidate_wait(t->f->session, t->f->ns, test_bytes("k"), NULL), STRATA_OK);
    test_span set = test_spans_await(&t->spans, "strata.set", 0), get = test_spans_await(&t->spans, "strata.get", 0);
    assert_true(set.span.status == STRATA_OK && set.span.source == STRATA_FROM_NONE && set.span.key_hash != 0);
    assert_true(get.span.status == STRATA_OK && get.span.source == STRATA_FROM_L1);
    assert_true(pthread_equal(get.thread, pthread_self()));
    assert_string_equal(get.key, ""); /* not asked for */
    assert_string_equal(get.tracestate, "");
    assert_int_equal(test_spans_await(&t->spans, "strata.get", 1).span.status, STRATA_MISS);
    assert_int_equal(test_spans_await(&t->spans, "strata.peek", 0).span.source, STRATA_FROM_L1);
    (void)test_spans_await(&t->spans, "strata.invalidate", 0);
    /* A failure of the loader is the span's. */
    t->f->status = -1;
    assert_int_equal(get_or_load(t, "k"), STRATA_E_LOAD_FAILED);
    assert_int_equal(test_spans_await(&t->spans, "strata.get_or_load", 0).span.status, STRATA_E_LOAD_FAILED);
    assert_int_equal(test_spans_await(&t->spans, "strata.load", 0).span.status, STRATA_E_LOAD_FAILED);
    close_traced(t);
}

static void a_batch_is_the_parent_of_its_reads(void **state) {
    (void)state;
    traced *t = open_traced(STRATA_TRACE_KEYS, true);
    assert_int_equal(test_set(t->f->session, t->f->ns, "here", "v"), STRATA_OK);
    set_context(t, SAMPLED, "");
    const strata_bytes keys[] = {test_bytes("here"), test_bytes("a"), test_bytes("b")}, values[] = {test_bytes("v"), test_bytes("v"), test_bytes("v")};
    strata_result results[3];
    assert_int_equal(strata_mset_wait(t->f->session, t->f->ns, &keys[0], values, 1, NULL, results), STRATA_OK);
    test_span mset = test_spans_await(&t->spans, "strata.mset", 0), set = test_spans_await(&t->spans, "strata.set", 0);
    assert_true(test_span_is_child(&set, &mset));
    assert_int_equal(strata_mget_wait(t->f->session, t->f->ns, keys, 3, NULL, results), STRATA_OK);
    for (int i = 0; i < 3; i++) strata_result_release(t->f->session, &results[i]);
    (void)test_spans_await(&t->spans, "strata.mget", 0);
    assert_int_equal(test_spans_count(&t->spans, "strata.get"), 0); /* L1, and nobody, was asked */
    assert_int_equal(fixture_get(t->f, "here"), STRATA_OK); /* after the batch the context is the program's again */
    test_span mget = test_spans_await(&t->spans, "strata.mget", 0), get = test_spans_await(&t->spans, "strata.get", 0);
    assert_memory_equal(get.span.parent_id, mget.span.parent_id, 8);
    close_traced(t);
}

#define OTHER "00-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-bbbbbbbbbbbbbbbb-01"

static bool is_of(const test_span *span, const char *traceparent) {
    sx_traceparent context;
    assert_true(sx_traceparent_decode(traceparent, strlen(traceparent), &context));
    return memcmp(span->span.trace_id, context.trace_id, 16) == 0 && memcmp(span->span.parent_id, context.parent_id, 8) == 0;
}

static strata_op_options within(const char *traceparent, const char *tracestate) {
    return (strata_op_options){.struct_size = sizeof(strata_op_options), .traceparent = test_bytes(traceparent), .tracestate = test_bytes(tracestate)};
}

/* Calls of many requests by one session: each says its own trace, whatever the session's is. */
static void a_call_may_have_its_own_trace(void **state) {
    (void)state;
    traced *t = open_traced(0, true);
    fixture *f = t->f;
    strata_op_options other = within(OTHER, STATE);
    for (int i = 0; i < 2; i++) { /* of a session without one, and with one */
        test_spans_clear(&t->spans);
        const char *key = i == 0 ? "a" : "b";
        assert_int_equal(get_or_load_within(t, key, &other), STRATA_OK);
        test_span get = test_spans_await(&t->spans, "strata.get_or_load", 0), loaded = test_spans_await(&t->spans, "strata.load", 0);
        assert_true(is_of(&get, OTHER) && test_span_is_child(&loaded, &get));
        assert_string_equal(get.tracestate, STATE);
        assert_string_equal(t->tracestate, STATE);
        assert_int_equal(get_or_load_within(t, key, &other), STRATA_OK); /* of L1 */
        get = test_spans_await(&t->spans, "strata.get_or_load", 1);
        assert_true(is_of(&get, OTHER) && get.span.source == STRATA_FROM_L1);
        assert_int_equal(strata_set_wait(f->session, f->ns, test_bytes(key), test_bytes("v"), &other, NULL), STRATA_OK);
        test_span set = test_spans_await(&t->spans, "strata.set", 0);
        assert_true(is_of(&set, OTHER));
        const strata_bytes keys[] = {test_bytes(key), test_bytes("none")};
        strata_result results[2];
        assert_int_equal(strata_mset_wait(f->session, f->ns, keys, keys, 1, &other, results), STRATA_OK);
        test_span mset = test_spans_await(&t->spans, "strata.mset", 0);
        set = test_spans_await(&t->spans, "strata.set", 1);
        assert_true(is_of(&mset, OTHER) && test_span_is_child(&set, &mset));
        int count = t->spans.count;
        assert_int_equal(fixture_get(f, key), STRATA_OK); /* and then the session's is the session's again */
        assert_int_equal(t->spans.count, count + i);
        if (i == 1) {
            get = test_spans_await(&t->spans, "strata.get", 0);
            assert_true(is_of(&get, SAMPLED));
        }
        set_context(t, SAMPLED, "");
    }
    close_traced(t);
}

static void what_a_call_says_of_its_trace_is_judged_as_the_sessions(void **state) {
    (void)state;
    traced *t = open_traced(0, true);
    set_context(t, SAMPLED, "");
    strata_op_options unsampled = within(UNSAMPLED, STATE), malformed = within("00-nonsense", ""), alone = within("", STATE);
    assert_int_equal(get_or_load_within(t, "u", &unsampled), STRATA_OK);
    assert_string_equal(t->traceparent, UNSAMPLED);
    assert_string_equal(t->tracestate, STATE);
    assert_int_equal(get_or_load_within(t, "m", &malformed), STRATA_OK); /* of no trace */
    assert_string_equal(t->traceparent, "");
    assert_int_equal(test_metric(t->f->engine, "trace.malformed"), 1);
    assert_int_equal(t->spans.count, 0);
    assert_int_equal(get_or_load_within(t, "s", &alone), STRATA_OK); /* the session's */
    test_span get = test_spans_await(&t->spans, "strata.get_or_load", 0);
    assert_true(is_of(&get, SAMPLED));
    assert_string_equal(get.tracestate, "");
    strata_op_options wrong[] = {within(OTHER, ""), within(OTHER, STATE)};
    wrong[0].traceparent.data = NULL;
    wrong[1].tracestate.data = NULL;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(get_or_load_within(t, "w", &wrong[i]), STRATA_E_INVALID);
        assert_int_equal(strata_set_wait(t->f->session, t->f->ns, test_bytes("w"), test_bytes("v"), &wrong[i], NULL), STRATA_E_INVALID);
    }
    close_traced(t);
}

/* Background work belongs to the call that triggered it, which may be over by then. */
static void a_refresh_is_a_child_of_what_began_it(void **state) {
    (void)state;
    traced *t = open_traced(0, true);
    fixture *f = t->f;
    assert_int_equal(fixture_policy(f, (strata_namespace_policy){.ttl_ms = 1000, .refresh_percent = 50}), STRATA_OK);
    assert_int_equal(get_or_load(t, "k"), STRATA_OK);
    fixture_advance(f, 700);
    set_context(t, SAMPLED, STATE);
    assert_int_equal(get_or_load(t, "k"), STRATA_OK);
    test_span get = test_spans_await(&t->spans, "strata.get_or_load", 0);
    assert_true(get.span.source == STRATA_FROM_L1 && is_of(&get, SAMPLED));
    assert_int_equal(test_spans_count(&t->spans, "strata.refresh"), 0);
    set_context(t, "", "");
    t->takes_ms = 30;
    for (int64_t end_ms = test_now_ms() + 20000; test_spans_count(&t->spans, "strata.refresh") == 0 && test_now_ms() < end_ms;)
        (void)strata_session_wait(f->session, 10);
    test_span refresh = test_spans_await(&t->spans, "strata.refresh", 0), loaded = test_spans_await(&t->spans, "strata.load", 0);
    assert_true(test_span_is_child(&refresh, &get) && test_span_is_child(&loaded, &refresh));
    assert_int_equal(refresh.span.status, STRATA_OK);
    assert_true(refresh.span.start_ns >= get.span.start_ns && refresh.span.end_ns >= refresh.span.start_ns + 30 * SX_NS_PER_MS);
    /* One that is not needed, for another thread's is under way, is none. */
    t->takes_ms = 0;
    fixture_advance(f, 2000);
    test_spans_clear(&t->spans);
    assert_int_equal(fixture_policy(f, (strata_namespace_policy){.ttl_ms = 1000, .stale_while_refreshing_ms = 60000, .throttle_ms = 1}), STRATA_OK);
    assert_int_equal(get_or_load(t, "j"), STRATA_OK);
    fixture_advance(f, 1500);
    strata_session *other = test_engine_session(f->engine);
    strata_result result;
    assert_int_equal(strata_get_or_load(other, f->ns, test_bytes("j"), NULL, fixture_load, f, &result, fixture_done, f), STRATA_STALE);
    strata_result_release(other, &result);
    set_context(t, SAMPLED, "");
    fixture_advance(f, 10);
    assert_int_equal(get_or_load(t, "j"), STRATA_STALE);
    strata_session_close(other);
    assert_int_equal(test_spans_count(&t->spans, "strata.refresh"), 0);
    close_traced(t);
}

static void without_a_sampled_context_nothing_is(void **state) {
    (void)state;
    traced *t = open_traced(0, true);
    assert_int_equal(get_or_load(t, "a"), STRATA_OK); /* no context */
    assert_string_equal(t->traceparent, "");
    set_context(t, UNSAMPLED, STATE);
    assert_int_equal(get_or_load(t, "b"), STRATA_OK);
    assert_string_equal(t->traceparent, UNSAMPLED); /* handed on all the same */
    assert_string_equal(t->tracestate, STATE);
    assert_int_equal(fixture_get(t->f, "b"), STRATA_OK);
    assert_int_equal(test_set(t->f->session, t->f->ns, "c", "v"), STRATA_OK);
    set_context(t, SAMPLED, STATE);
    set_context(t, "", "");
    assert_int_equal(get_or_load(t, "d"), STRATA_OK);
    assert_string_equal(t->traceparent, "");
    assert_string_equal(t->tracestate, "");
    assert_int_equal(test_metric(t->f->engine, "trace.spans"), 0);
    assert_int_equal(t->spans.count, 0);
    close_traced(t);
    t = open_traced(0, false); /* nobody to tell: the context is handed on */
    set_context(t, SAMPLED, STATE);
    assert_int_equal(get_or_load(t, "k"), STRATA_OK);
    assert_string_equal(t->traceparent, SAMPLED);
    assert_string_equal(t->tracestate, STATE);
    assert_int_equal(fixture_get(t->f, "k"), STRATA_OK);
    close_traced(t);
}

static void what_is_malformed_is_left_out_and_counted(void **state) {
    (void)state;
    traced *t = open_traced(0, true);
    char text[STRATA_TRACESTATE_BYTES_MAX + 2];
    set_context(t, SAMPLED, "");
    set_context(t, "00-nonsense", STATE); /* and the former context is over */
    assert_int_equal(get_or_load(t, "a"), STRATA_OK);
    assert_string_equal(t->traceparent, "");
    assert_int_equal(test_metric(t->f->engine, "trace.malformed"), 1);
    assert_int_equal(test_metric(t->f->engine, "trace.spans"), 0);
    set_context(t, SAMPLED, "a=b\nc=d");
    assert_int_equal(get_or_load(t, "b"), STRATA_OK);
    assert_string_equal(t->tracestate, "");
    assert_int_not_equal(strlen(t->traceparent), 0);
    assert_int_equal(test_metric(t->f->engine, "trace.malformed"), 2);
    memset(text, 'a', sizeof text);
    text[sizeof text - 1] = 0;
    set_context(t, SAMPLED, text);
    assert_int_equal(test_metric(t->f->engine, "trace.malformed"), 3);
    assert_int_equal(strata_session_trace(NULL, test_bytes(SAMPLED), test_bytes("")), STRATA_E_INVALID);
    assert_int_equal(strata_session_trace(t->f->session, (strata_bytes){NULL, 55}, test_bytes("")), STRATA_E_INVALID);
    close_traced(t);
    strata *engine = NULL;
    strata_error error = {0};
    const strata_tracer wrong[] = {{.struct_size = sizeof *wrong, .span = test_spans_tell, .flags = 8},
                                   {.struct_size = sizeof *wrong},
                                   {.struct_size = 3, .span = test_spans_tell}};
    for (int i = 0; i < 3; i++) {
        strata_open_options template_ = {.tracer = &wrong[i]};
        assert_int_equal(test_engine_try(TEST_OPTIONS("l2.mode", "none"), &template_, &engine, &error), STRATA_E_INVALID);
        assert_non_null(strstr(error.text, "tracer"));
    }
}

/* A session that closes while its load is under way, and a load that is finished after its engine: each span is told once, nothing leaks. */
static void spans_outlive_what_they_are_of(void **state) {
    (void)state;
    traced *t = open_traced(0, true);
    set_context(t, SAMPLED, STATE);
    fixture_hold(t->f, "k");
    strata_session_close(t->f->session);
    test_span get = test_spans_await(&t->spans, "strata.get_or_load", 0);
    assert_int_equal(get.span.status, STRATA_E_CANCELLED);
    assert_int_equal(strata_close(t->f->engine, 1000), STRATA_OK);
    assert_int_equal(test_spans_count(&t->spans, "strata.load"), 0);
    assert_int_equal(strata_load_traceparent(t->f->kept).size, STRATA_TRACEPARENT_BYTES);
    (void)strata_load_finish(t->f->kept, STRATA_OK, test_bytes("v"), NULL);
    test_span loaded = test_spans_await(&t->spans, "strata.load", 0);
    assert_true(test_span_is_child(&loaded, &get));
    assert_int_equal(t->spans.count, 2);
    free(t->f);
    free(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_get_and_its_load_are_told),
        cmocka_unit_test(answers_of_l1_and_writes_are_told),
        cmocka_unit_test(a_batch_is_the_parent_of_its_reads),
        cmocka_unit_test(a_call_may_have_its_own_trace),
        cmocka_unit_test(what_a_call_says_of_its_trace_is_judged_as_the_sessions),
        cmocka_unit_test(a_refresh_is_a_child_of_what_began_it),
        cmocka_unit_test(without_a_sampled_context_nothing_is),
        cmocka_unit_test(what_is_malformed_is_left_out_and_counted),
        cmocka_unit_test(spans_outlive_what_they_are_of),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
