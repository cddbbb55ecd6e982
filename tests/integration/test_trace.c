/* SPDX-License-Identifier: Apache-2.0 */
/* Traces where there is an L2: what a call asks of it is told as the call's children, and so is what its load does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/cluster.h"
#include "tests/support/engine.h"
#include "tests/support/side.h"
#include "tests/support/spans.h"

#define SAMPLED   "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
#define UNSAMPLED "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"

static sx_cluster *cluster;
static test_spans spans;

static int setup(void **state) {
    (void)state;
    sx_cluster_options options = {.primaries = 3, .node_timeout_ms = 20000};
    cluster = test_cluster_start(&options);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    sx_cluster_stop(cluster);
    return 0;
}

static void open_side(test_side *side) {
    const strata_tracer tracer = {.struct_size = sizeof tracer, .flags = STRATA_TRACE_KEYS, .span = test_spans_tell, .context = &spans};
    strata_open_options template_ = {.tracer = &tracer};
    test_spans_init(&spans);
    test_side_open(side, "traced", TEST_OPTIONS("l2.nodes", sx_cluster_seeds(cluster), "l2.open_wait", "10s"), &template_);
}

static void set_context(test_side *side, const char *traceparent) {
    assert_int_equal(strata_session_trace(side->session, test_bytes(traceparent), test_bytes("a=b")), STRATA_OK);
}

static bool lies_within(const test_span *child, const test_span *parent) {
    return child->span.start_ns >= parent->span.start_ns && child->span.end_ns <= parent->span.end_ns;
}

static void a_call_has_what_it_asked_as_children(void **state) {
    (void)state;
    test_side a;
    open_side(&a);
    set_context(&a, SAMPLED);
    assert_string_equal(test_side_read(&a, "k", "v", NULL), "v");
    test_span get = test_spans_await(&spans, "strata.get_or_load", 0);
    test_span asked = test_spans_await(&spans, "strata.l2", 0), loaded = test_spans_await(&spans, "strata.load", 0), filled = test_spans_await(&spans, "strata.fill", 0);
    assert_true(test_span_is_child(&asked, &get) && test_span_is_child(&loaded, &get) && test_span_is_child(&filled, &get));
    assert_true(lies_within(&asked, &get) && lies_within(&loaded, &get) && lies_within(&filled, &get));
    assert_true(asked.span.end_ns <= loaded.span.start_ns && loaded.span.end_ns <= filled.span.start_ns);
    assert_int_equal(get.span.source, STRATA_FROM_LOADER);
    assert_string_equal(asked.key, "k");
    assert_string_equal(filled.tracestate, "a=b");
    test_spans_clear(&spans);
    strata_op_options past_l1 = {.struct_size = sizeof past_l1, .flags = STRATA_BYPASS_L1};
    strata_result result;
    assert_int_equal(strata_get_wait(a.session, a.ns, test_bytes("k"), &past_l1, &result), STRATA_OK);
    strata_result_release(a.session, &result);
    get = test_spans_await(&spans, "strata.get", 0);
    asked = test_spans_await(&spans, "strata.l2", 0);
    assert_true(test_span_is_child(&asked, &get) && lies_within(&asked, &get));
    assert_true(get.span.source == STRATA_FROM_L2 && asked.span.source == STRATA_FROM_L2);
    assert_int_equal(test_spans_count(&spans, "strata.load"), 0);
    assert_string_equal(test_get(a.session, a.ns, "k"), "v");
    assert_int_equal(test_spans_await(&spans, "strata.get", 1).span.source, STRATA_FROM_L1);
    assert_int_equal(test_spans_count(&spans, "strata.l2"), 1);
    test_side_close(&a);
}

static void writes_and_others_are_told(void **state) {
    (void)state;
    test_side a;
    open_side(&a);
    set_context(&a, SAMPLED);
    assert_int_equal(test_set(a.session, a.ns, "w", "v"), STRATA_OK);
    test_span set = test_spans_await(&spans, "strata.set", 0), asked = test_spans_await(&spans, "strata.l2", 0);
    assert_true(test_span_is_child(&asked, &set) && lies_within(&asked, &set));
    /* One that nobody waits for is told too. */
    assert_int_equal(strata_invalidate(a.session, a.ns, test_bytes("w"), NULL, NULL, NULL), STRATA_PENDING);
    assert_int_equal(test_spans_await(&spans, "strata.invalidate", 0).span.status, STRATA_OK);
    strata_bytes tag = test_bytes("t");
    int64_t number;
    assert_int_equal(strata_invalidate_tags_wait(a.session, &tag, 1, NULL), STRATA_OK);
    assert_null(test_spans_await(&spans, "strata.invalidate_tags", 0).span.ns);
    assert_int_equal(strata_incr_wait(a.session, a.ns, test_bytes("n"), 1, NULL, &number), STRATA_OK);
    assert_string_equal(test_spans_await(&spans, "strata.incr", 0).key, "n");
    assert_int_equal(strata_exists_wait(a.session, a.ns, test_bytes("none"), NULL, NULL), STRATA_MISS);
    assert_int_equal(test_spans_await(&spans, "strata.exists", 0).span.status, STRATA_MISS);
    assert_int_equal(strata_clear_wait(a.session, a.ns, NULL), STRATA_OK);
    assert_ptr_equal(test_spans_await(&spans, "strata.clear", 0).span.ns, a.ns);
    strata_lock_options how = {.struct_size = sizeof how, .ttl_ms = 5000};
    strata_lock *lock;
    assert_int_equal(strata_lock_acquire_wait(a.session, a.ns, test_bytes("l"), &how, &lock), STRATA_OK);
    assert_int_equal(strata_lock_release_wait(a.session, lock), STRATA_OK);
    strata_lock_close(lock);
    (void)test_spans_await(&spans, "strata.lock_acquire", 0);
    (void)test_spans_await(&spans, "strata.lock_release", 0);
    test_side_close(&a);
}

/* Of calls that name a trace of their own, whatever the session's is. */
static void calls_of_their_own_traces(void **state) {
    (void)state;
    test_side a;
    open_side(&a);
    static const uint8_t trace_id[] = {0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa};
    strata_op_options options = {.struct_size = sizeof options, .deadline_ms = 20000,
                                 .traceparent = test_bytes("00-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-bbbbbbbbbbbbbbbb-01"), .tracestate = test_bytes("c=d")};
    const char *const names[] = {"strata.get", "strata.set", "strata.incr", "strata.invalidate_tags", "strata.clear", "strata.mget"};
    strata_bytes key = test_bytes("k"), tag = test_bytes("t");
    strata_result result;
    int64_t number;
    set_context(&a, SAMPLED);
    assert_int_equal(strata_get_wait(a.session, a.ns, test_bytes("nowhere"), &options, &result), STRATA_MISS);
    test_span get = test_spans_await(&spans, "strata.get", 0), asked = test_spans_await(&spans, "strata.l2", 0);
    assert_true(test_span_is_child(&asked, &get));
    assert_string_equal(asked.tracestate, "c=d");
    assert_int_equal(strata_set_wait(a.session, a.ns, key, test_bytes("v"), &options, NULL), STRATA_OK);
    assert_int_equal(strata_incr_wait(a.session, a.ns, test_bytes("n"), 1, &options, &number), STRATA_OK);
    assert_int_equal(strata_invalidate_tags_wait(a.session, &tag, 1, &options), STRATA_OK);
    assert_int_equal(strata_clear_wait(a.session, a.ns, &options), STRATA_OK);
    assert_int_equal(strata_mget_wait(a.session, a.ns, &key, 1, &options, &result), STRATA_OK);
    strata_result_release(a.session, &result);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        test_span span = test_spans_await(&spans, names[i], 0);
        assert_memory_equal(span.span.trace_id, trace_id, 16);
    }
    test_spans_clear(&spans);
    (void)test_get(a.session, a.ns, "k"); /* and then the session's is the session's again */
    get = test_spans_await(&spans, "strata.get", 0);
    assert_memory_not_equal(get.span.trace_id, trace_id, 16);
    test_side_close(&a);
}

static void a_batch_is_the_parent_of_what_l1_lacks(void **state) {
    (void)state;
    test_side a;
    open_side(&a);
    assert_int_equal(test_set(a.session, a.ns, "here", "v"), STRATA_OK);
    set_context(&a, SAMPLED);
    const strata_bytes keys[] = {test_bytes("here"), test_bytes("x"), test_bytes("y")};
    strata_result results[3];
    assert_int_equal(strata_mget_wait(a.session, a.ns, keys, 3, NULL, results), STRATA_OK);
    for (int i = 0; i < 3; i++) strata_result_release(a.session, &results[i]);
    test_span whole = test_spans_await(&spans, "strata.mget", 0);
    for (int i = 0; i < 2; i++) {
        test_span get = test_spans_await(&spans, "strata.get", i);
        assert_true(test_span_is_child(&get, &whole));
        assert_int_equal(get.span.status, STRATA_MISS);
    }
    assert_int_equal(test_spans_count(&spans, "strata.get"), 2);
    /* Who joins a flight is told by itself; what the flight asks belongs to who began it. */
    test_spans_clear(&spans);
    test_side_hold(&a, "held", NULL);
    strata_session *other = test_engine_session(a.engine);
    strata_result result;
    strata_op_options brief = {.struct_size = sizeof brief, .deadline_ms = 50};
    assert_int_equal(strata_session_trace(other, test_bytes("00-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-bbbbbbbbbbbbbbbb-01"), test_bytes("")), STRATA_OK);
    assert_int_equal(strata_get_or_load_wait(other, a.ns, test_bytes("held"), &brief, test_side_load, &a, &result), STRATA_E_TIMEOUT);
    test_span joined = test_spans_await(&spans, "strata.get_or_load", 0), asked = test_spans_await(&spans, "strata.l2", 0);
    assert_int_equal(joined.span.status, STRATA_E_TIMEOUT);
    assert_memory_not_equal(joined.span.trace_id, asked.span.trace_id, 16);
    strata_session_close(other);
    (void)strata_load_finish(a.kept, STRATA_OK, test_bytes("v"), NULL);
    test_side_await(&a, 1);
    (void)test_spans_await(&spans, "strata.fill", 0);
    test_side_close(&a);
}

static void unsampled_nothing_is_told(void **state) {
    (void)state;
    test_side a;
    open_side(&a);
    set_context(&a, UNSAMPLED);
    assert_string_equal(test_side_read(&a, "u", "v", NULL), "v");
    assert_int_equal(test_set(a.session, a.ns, "u", "w"), STRATA_OK);
    assert_string_equal(test_get(a.session, a.ns, "u"), "w");
    assert_int_equal(strata_clear_wait(a.session, a.ns, NULL), STRATA_OK);
    assert_int_equal(test_metric(a.engine, "trace.spans"), 0);
    test_side_close(&a);
    assert_int_equal(spans.count, 0);
}

int main(void) {
    if (!sx_cluster_available()) return 77;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_call_has_what_it_asked_as_children),
        cmocka_unit_test(writes_and_others_are_told),
        cmocka_unit_test(calls_of_their_own_traces),
        cmocka_unit_test(a_batch_is_the_parent_of_what_l1_lacks),
        cmocka_unit_test(unsampled_nothing_is_told),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
