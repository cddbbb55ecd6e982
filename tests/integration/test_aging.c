/* SPDX-License-Identifier: Apache-2.0 */
/* How values age where there is an L2: two processes' worth of engines at one cluster. */
// ctest: timeout=300
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bench/cluster/cluster.h"
#include "tests/support/cluster.h"
#include "tests/support/engine.h"
#include "tests/support/place.h"
#include "tests/support/talk.h"

typedef struct side {
    strata *engine;
    strata_namespace *ns;
    strata_session *session;
    /* its loader */
    int calls;
    int32_t status;
    const char *value;
    bool keep;
    strata_load *kept;
    /* its last answer */
    int answers;
    int32_t answered;
    uint8_t reason, source;
    char text[32];
} side;

static sx_cluster *cluster;

static int setup(void **state) {
    (void)state;
    char error[256];
    sx_cluster_options options = {.primaries = 3};
    if (sx_cluster_start(&options, &cluster, error, sizeof error) != 0) fail_msg("%s", error);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    sx_cluster_stop(cluster);
    return 0;
}

static side open_side(const char *ns, strata_namespace_policy policy) {
    side s = {.value = "v"};
    s.engine = test_engine_open(TEST_OPTIONS("l2.nodes", sx_cluster_seeds(cluster), "l2.open_wait", "10s", "flow.ttl_jitter",
                                             "0"), NULL);
    s.ns = test_engine_ns(s.engine, ns);
    s.session = test_engine_session(s.engine);
    policy.struct_size = sizeof policy;
    assert_int_equal(strata_namespace_policy_set(s.ns, &policy, NULL), STRATA_OK);
    test_engine_await_trust(s.engine, 30000);
    return s;
}

static void close_side(side *s) {
    strata_session_close(s->session);
    strata_close(s->engine, 1000);
}

static void l1_asks_again_after_its_own_time(void **state) {
    (void)state;
    strata_namespace_policy policy = {.ttl_ms = 60000, .l1_ttl_ms = 1500};
    side a = open_side("l1ttl", policy), b = open_side("l1ttl", policy);
    strata_result result;
    assert_int_equal(test_set(a.session, a.ns, "k", "v"), STRATA_OK);
    assert_int_equal(strata_peek(a.session, a.ns, test_bytes("k"), &result), STRATA_OK);
    assert_in_range(result.ttl_ms, 50000, 60000); /* of the value, not of L1's copy */
    strata_result_release(a.session, &result);
    assert_string_equal(test_get(b.session, b.ns, "k"), "v");
    assert_string_equal(test_peek(b.session, b.ns, "k"), "v");
    test_sleep_ms(1510);
    assert_null(test_peek(a.session, a.ns, "k"));
    assert_null(test_peek(b.session, b.ns, "k"));
    assert_int_equal(strata_get_wait(b.session, b.ns, test_bytes("k"), NULL, &result), STRATA_OK);
    assert_int_equal(result.source, STRATA_FROM_L2);
    assert_in_range(result.ttl_ms, 40000, 58500);
    strata_result_release(b.session, &result);
    assert_string_equal(test_peek(b.session, b.ns, "k"), "v");
    close_side(&a);
    close_side(&b);
}

/* ---- past their end -------------------------------------------------------------------------------------------- */

static void load(strata_load *load, void *user) {
    side *s = user;
    s->calls++;
    if (s->keep) s->kept = load;
    else strata_load_finish(load, s->status, test_bytes(s->value), NULL);
}

static void note(side *s, int32_t status, const strata_result *result) {
    s->answered = status;
    s->answers++;
    s->reason = s->source = 0;
    s->text[0] = 0;
    if (status != STRATA_OK && status != STRATA_STALE) return;
    s->reason = result->reason;
    s->source = result->source;
    memcpy(s->text, result->value.data, result->value.size);
    s->text[result->value.size] = 0;
}

static int32_t get_or_load_tagged(side *s, const char *key, const char *tag) {
    strata_bytes tags[] = {test_bytes(tag == NULL ? "" : tag)};
    strata_op_options options = {.struct_size = sizeof options, .tags = tags, .tag_count = tag != NULL, .deadline_ms = 3000};
    strata_result result;
    int32_t status = strata_get_or_load_wait(s->session, s->ns, test_bytes(key), &options, load, s, &result);
    note(s, status, &result);
    if (status == STRATA_OK || status == STRATA_STALE) strata_result_release(s->session, &result);
    return status;
}

static int32_t get_or_load(side *s, const char *key) { return get_or_load_tagged(s, key, NULL); }

static int32_t get(side *s, const char *key) {
    strata_result result;
    int32_t status = strata_get_wait(s->session, s->ns, test_bytes(key), NULL, &result);
    note(s, status, &result);
    if (status == STRATA_OK || status == STRATA_STALE) strata_result_release(s->session, &result);
    return status;
}

static void done(void *user, const strata_result *result) { note(user, result->status, result); }

/* A load that its loader keeps. */
static void begin(side *s, const char *key) {
    strata_result result;
    s->keep = true;
    s->kept = NULL;
    s->answers = 0;
    int32_t status = strata_get_or_load(s->session, s->ns, test_bytes(key), NULL, load, s, &result, done, s);
    if (status == STRATA_STALE) strata_result_release(s->session, &result);
    else assert_int_equal(status, STRATA_PENDING);
    TEST_AWAIT(s->kept != NULL, strata_session_wait(s->session, 10));
    assert_non_null(s->kept);
    s->keep = false;
}

static void finish(side *s, int32_t status, const char *value) {
    assert_int_equal(strata_load_finish(s->kept, status, test_bytes(value), NULL), STRATA_OK);
    TEST_AWAIT(test_metric(s->engine, "flow.pending") == 0, strata_session_wait(s->session, 10));
    test_sleep_ms(20); /* what nobody waits for is done by then */
    (void)strata_session_wait(s->session, 1); /* and what was answered as the last that was under way is told */
}

static void expect(const side *s, int32_t status, strata_reason reason, const char *text) {
    assert_int_equal(s->answered, status);
    assert_int_equal(s->reason, reason);
    assert_string_equal(s->text, text);
}

static const strata_namespace_policy refreshing = {.ttl_ms = 300, .stale_while_refreshing_ms = 60000, .throttle_ms = 50};
static const strata_namespace_policy failing = {.ttl_ms = 300, .stale_if_failing_ms = 60000, .throttle_ms = 5000};

static void one_process_refreshes_for_all(void **state) {
    (void)state;
    side a = open_side("one", refreshing), b = open_side("one", refreshing), c = open_side("one", refreshing),
         plain = open_side("one", (strata_namespace_policy){0});
    assert_int_equal(get_or_load(&a, "k"), STRATA_OK);
    test_sleep_ms(320);
    begin(&b, "k"); /* finds it in L2 past its end, and waits for its own loader */
    assert_int_equal(get(&c, "k"), STRATA_STALE); /* it stays there meanwhile */
    expect(&c, STRATA_STALE, STRATA_REASON_REFRESHING, "v");
    assert_int_equal(c.source, STRATA_FROM_L2);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(get_or_load(&a, "k"), STRATA_STALE);
        expect(&a, STRATA_STALE, STRATA_REASON_REFRESHING, "v");
        assert_int_equal(get_or_load(&c, "k"), STRATA_STALE);
    }
    assert_true(test_metric_wait(a.engine, "flow.refreshes_elsewhere", 1, 30000));
    plain.value = "own";
    assert_int_equal(get_or_load(&plain, "k"), STRATA_OK); /* without such a policy: for itself, and not stored */
    expect(&plain, STRATA_OK, STRATA_REASON_NONE, "own");
    assert_null(test_peek(plain.session, plain.ns, "k"));
    assert_int_equal(test_metric(b.engine, "flow.refreshes"), 1);
    finish(&b, STRATA_OK, "w");
    expect(&b, STRATA_OK, STRATA_REASON_NONE, "w");
    assert_string_equal(test_peek(b.session, b.ns, "k"), "w");
    TEST_AWAIT(get_or_load(&a, "k") == STRATA_OK, test_sleep_ms(5)); /* asks L2 first, and finds it refreshed */
    expect(&a, STRATA_OK, STRATA_REASON_NONE, "w");
    assert_int_equal(a.calls + c.calls, 1);
    close_side(&plain);
    close_side(&a);
    close_side(&b);
    close_side(&c);
}

static void an_invalidation_during_a_background_refresh(void **state) {
    (void)state;
    side a = open_side("during", refreshing), b = open_side("during", refreshing);
    assert_int_equal(get_or_load(&a, "gone"), STRATA_OK);
    assert_int_equal(get_or_load(&a, "set"), STRATA_OK);
    test_sleep_ms(320);
    begin(&a, "gone");
    assert_int_equal(strata_invalidate_wait(b.session, b.ns, test_bytes("gone"), NULL), STRATA_OK);
    finish(&a, STRATA_OK, "from before");
    assert_null(test_get(a.session, a.ns, "gone"));
    assert_null(test_get(b.session, b.ns, "gone"));
    assert_int_equal(get_or_load(&a, "cleared"), STRATA_OK);
    test_sleep_ms(320);
    begin(&a, "cleared");
    assert_int_equal(strata_clear_wait(b.session, b.ns, NULL), STRATA_OK);
    finish(&a, STRATA_OK, "from before");
    assert_null(test_get(a.session, a.ns, "cleared"));
    assert_null(test_get(b.session, b.ns, "cleared"));
    assert_int_equal(get_or_load(&a, "set"), STRATA_OK);
    test_sleep_ms(320);
    begin(&a, "set");
    assert_int_equal(test_set(b.session, b.ns, "set", "new"), STRATA_OK);
    finish(&a, STRATA_OK, "from before");
    assert_string_equal(test_get(b.session, b.ns, "set"), "new");
    assert_string_equal(test_get(a.session, a.ns, "set"), "new");
    close_side(&a);
    close_side(&b);
}

static void what_the_source_has_no_more_is_gone(void **state) {
    (void)state;
    side a = open_side("source", refreshing), b = open_side("source", refreshing);
    assert_int_equal(get_or_load(&a, "k"), STRATA_OK);
    test_sleep_ms(320);
    begin(&a, "k");
    finish(&a, STRATA_MISS, "");
    assert_int_equal(get(&a, "k"), STRATA_MISS);
    assert_int_equal(get(&b, "k"), STRATA_MISS);
    close_side(&a);
    close_side(&b);
}

static void a_failing_loader_is_covered_in_any_process(void **state) {
    (void)state;
    side a = open_side("failing", failing), b = open_side("failing", failing), plain = open_side("failing", (strata_namespace_policy){0});
    assert_int_equal(get_or_load_tagged(&a, "k", "tag"), STRATA_OK);
    assert_int_equal(get_or_load(&a, "other"), STRATA_OK);
    test_sleep_ms(320);
    a.status = b.status = plain.status = STRATA_E_LOAD_FAILED;
    assert_int_equal(get_or_load_tagged(&b, "k", "tag"), STRATA_STALE);
    expect(&b, STRATA_STALE, STRATA_REASON_FAILED, "v");
    assert_int_equal(b.source, STRATA_FROM_L2);
    assert_int_equal(get_or_load_tagged(&b, "k", "tag"), STRATA_STALE); /* from L1, without another load */
    assert_int_equal(b.source, STRATA_FROM_L1);
    assert_int_equal(b.calls, 1);
    assert_int_equal(get_or_load(&a, "other"), STRATA_STALE);
    assert_int_equal(get(&b, "other"), STRATA_MISS); /* nothing failed: it is over */
    assert_int_equal(get_or_load(&plain, "other"), STRATA_E_LOAD_FAILED); /* no such policy there */
    strata_bytes tags[] = {test_bytes("tag")};
    assert_int_equal(strata_invalidate_tags_wait(a.session, tags, 1, NULL), STRATA_OK);
    test_sleep_ms(200);
    assert_int_equal(get_or_load_tagged(&b, "k", "tag"), STRATA_E_LOAD_FAILED); /* a tag's invalidation holds for it too */
    assert_int_equal(strata_invalidate_wait(a.session, a.ns, test_bytes("other"), NULL), STRATA_OK);
    assert_int_equal(get_or_load(&b, "other"), STRATA_E_LOAD_FAILED);
    assert_int_equal(get_or_load(&a, "other"), STRATA_E_LOAD_FAILED);
    close_side(&a);
    close_side(&b);
    close_side(&plain);
}

/* Its reader asked before the invalidation, but is answered after it. */
static void what_is_invalidated_meanwhile_covers_nothing(void **state) {
    (void)state;
    side a = open_side("meanwhile", failing), b = open_side("meanwhile", failing);
    assert_int_equal(get_or_load(&a, "k"), STRATA_OK);
    test_sleep_ms(320);
    begin(&a, "k");
    assert_int_equal(strata_invalidate_wait(b.session, b.ns, test_bytes("k"), NULL), STRATA_OK);
    test_sleep_ms(100);
    finish(&a, STRATA_E_LOAD_FAILED, "");
    assert_int_equal(a.answered, STRATA_E_LOAD_FAILED);
    close_side(&a);
    close_side(&b);
}

/* The entry has a tag that the operation does not name. */
static void a_tag_that_is_invalidated_meanwhile(void **state) {
    (void)state;
    side a = open_side("tagged", failing), b = open_side("tagged", failing);
    assert_int_equal(get_or_load_tagged(&a, "k", "t"), STRATA_OK);
    test_sleep_ms(320);
    begin(&a, "k");
    strata_bytes tags[] = {test_bytes("t")};
    assert_int_equal(strata_invalidate_tags_wait(b.session, tags, 1, NULL), STRATA_OK);
    test_sleep_ms(100);
    finish(&a, STRATA_E_LOAD_FAILED, "");
    assert_int_equal(a.answered, STRATA_E_LOAD_FAILED);
    close_side(&a);
    close_side(&b);
}

/* The invalidation was missed, and that is known: L1's entry is of another generation. */
static void what_was_missed_covers_nothing(void **state) {
    (void)state;
    strata_namespace_policy policy = failing;
    policy.ttl_ms = 60000;
    policy.l1_ttl_ms = 200;
    side a = open_side("missed", policy), b = open_side("missed", policy);
    assert_int_equal(get_or_load(&a, "k"), STRATA_OK);
    test_sleep_ms(220);
    for (uint32_t i = 0; i < 3; i++) assert_int_equal(sx_cluster_pause(cluster, i), 0);
    a.answers = 0;
    strata_op_options options = {.struct_size = sizeof options, .deadline_ms = 20000};
    strata_result result;
    a.keep = true;
    assert_int_equal(strata_get_or_load(a.session, a.ns, test_bytes("k"), &options, load, &a, &result, done, &a), STRATA_PENDING);
    TEST_AWAIT(a.kept != NULL, strata_session_wait(a.session, 10));
    for (uint32_t i = 0; i < 3; i++) assert_int_equal(sx_cluster_resume(cluster, i), 0);
    assert_non_null(a.kept);
    test_engine_await_trust(a.engine, 30000);
    test_cutter cutter;
    test_cutter_start(&cutter, cluster, 3);
    test_sleep_ms(100);
    assert_int_equal(strata_invalidate_wait(b.session, b.ns, test_bytes("k"), NULL), STRATA_OK);
    test_sleep_ms(200);
    test_cutter_stop(&cutter);
    test_engine_await_trust(a.engine, 30000);
    finish(&a, STRATA_E_LOAD_FAILED, "");
    assert_int_equal(a.answered, STRATA_E_LOAD_FAILED);
    close_side(&a);
    close_side(&b);
}

/* Likewise of what L2 answered past its end: before the invalidation was missed, or while such could be missed. */
static void what_was_missed_after_reading_covers_nothing(void **state) {
    (void)state;
    for (int untrusted = 0; untrusted < 2; untrusted++) {
        side a = open_side(untrusted ? "read2" : "read1", failing), b = open_side(untrusted ? "read2" : "read1", failing);
        assert_int_equal(get_or_load(&a, "k"), STRATA_OK);
        test_sleep_ms(320);
        if (!untrusted) begin(&a, "k");
        test_cutter cutter;
        test_cutter_start(&cutter, cluster, 3);
        test_sleep_ms(untrusted ? 1200 : 100);
        if (untrusted) begin(&a, "k");
        assert_int_equal(test_metric(a.engine, "l2.aged"), 1);
        assert_int_equal(strata_invalidate_wait(b.session, b.ns, test_bytes("k"), NULL), STRATA_OK);
        test_sleep_ms(200);
        test_cutter_stop(&cutter);
        test_engine_await_trust(a.engine, 30000);
        finish(&a, STRATA_E_LOAD_FAILED, "");
        assert_int_equal(a.answered, STRATA_E_LOAD_FAILED);
        close_side(&a);
        close_side(&b);
    }
}

/* The right to refresh is asked for, and answered only after the tag was invalidated. */
static void a_tag_that_is_invalidated_while_a_refresh_is_claimed(void **state) {
    (void)state;
    side a = open_side("claim", (strata_namespace_policy){.ttl_ms = 60000, .refresh_percent = 1}), before = a, after = a;
    uint32_t node = test_node_of(cluster, "k");
    char tag[16] = "t0";
    for (int i = 0; test_node_of(cluster, tag) == node; i++) snprintf(tag, sizeof tag, "t%d", i);
    assert_int_equal(get_or_load_tagged(&a, "k", tag), STRATA_OK);
    test_sleep_ms(620);
    a.value = "w";
    strata_op_options bypass = {.struct_size = sizeof bypass, .flags = STRATA_BYPASS_L1};
    strata_result result;
    strata_bytes named[] = {test_bytes(tag)};
    assert_int_equal(sx_cluster_pause(cluster, node), 0);
    int32_t hit = get_or_load_tagged(&a, "k", tag);
    int32_t first = strata_get(a.session, a.ns, test_bytes("k"), &bypass, &result, done, &before);
    int32_t invalidated = strata_invalidate_tags_wait(a.session, named, 1, NULL);
    int32_t second = strata_get(a.session, a.ns, test_bytes("k"), NULL, &result, done, &after);
    assert_int_equal(sx_cluster_resume(cluster, node), 0);
    assert_int_equal(hit, STRATA_OK);
    assert_int_equal(first, STRATA_PENDING);
    assert_int_equal(invalidated, STRATA_OK);
    assert_int_equal(second, STRATA_PENDING);
    TEST_AWAIT(before.answers != 0 && after.answers != 0, strata_session_wait(a.session, 10));
    assert_string_not_equal(before.text, "v"); /* a miss, or what is loaded */
    assert_string_not_equal(after.text, "v");
    assert_true(after.answered == STRATA_MISS || after.answered == STRATA_OK);
    assert_int_equal(test_metric(a.engine, "flow.refreshes"), 1);
    close_side(&a);
}

/* Nothing failed, so its end counts also where another process refreshes it. */
static void only_a_failure_is_covered(void **state) {
    (void)state;
    side a = open_side("others", failing), b = open_side("others", failing);
    assert_int_equal(get_or_load(&a, "k"), STRATA_OK);
    test_sleep_ms(320);
    begin(&a, "k");
    b.value = "own";
    assert_int_equal(get_or_load(&b, "k"), STRATA_OK);
    expect(&b, STRATA_OK, STRATA_REASON_NONE, "own");
    assert_int_equal(test_metric(b.engine, "flow.refreshes_elsewhere"), 1);
    finish(&a, STRATA_OK, "w");
    close_side(&a);
    close_side(&b);
}

/* An error is remembered only where there is nothing better: here an entry of another generation, to be proven again. */
static void an_error_takes_no_entrys_place(void **state) {
    (void)state;
    side a = open_side("error", (strata_namespace_policy){.ttl_ms = 60000, .error_ttl_ms = 60000}), b = open_side("error", refreshing);
    char beside[16] = "";
    for (int i = 0; beside[0] == 0 || test_place_of(beside).partition != test_place_of("k").partition; i++)
        snprintf(beside, sizeof beside, "x%d", i);
    assert_int_equal(get_or_load(&a, "k"), STRATA_OK);
    test_cutter cutter;
    test_cutter_start(&cutter, cluster, 3);
    test_sleep_ms(100);
    assert_int_equal(strata_invalidate_wait(b.session, b.ns, test_bytes(beside), NULL), STRATA_OK); /* most likely missed */
    test_sleep_ms(200);
    test_cutter_stop(&cutter);
    test_engine_await_trust(a.engine, 30000);
    for (uint32_t i = 0; i < 3; i++) assert_int_equal(sx_cluster_pause(cluster, i), 0);
    test_sleep_ms(1200);
    a.status = STRATA_E_LOAD_FAILED;
    int32_t k = get_or_load(&a, "k"), other = get_or_load(&a, "other");
    for (uint32_t i = 0; i < 3; i++) assert_int_equal(sx_cluster_resume(cluster, i), 0);
    assert_int_equal(k, STRATA_E_LOAD_FAILED);
    assert_int_equal(other, STRATA_E_LOAD_FAILED);
    assert_int_equal(test_metric(a.engine, "flow.errors_cached"), 1);
    test_engine_await_trust(a.engine, 30000);
    assert_int_equal(get_or_load(&a, "k"), STRATA_OK);
    close_side(&a);
    close_side(&b);
}

/* Nobody told of it, but L2 was asked: it holds nothing. */
static void what_l2_lost_covers_nothing(void **state) {
    (void)state;
    side a = open_side("lost", failing);
    assert_int_equal(get_or_load(&a, "k"), STRATA_OK);
    test_sleep_ms(320);
    char words[64];
    snprintf(words, sizeof words, "DEL {%s}s1:lost:1:k", test_place_of("k").tag);
    int deleted = 0;
    for (uint32_t i = 0; i < 3; i++) {
        test_talk *talk = test_talk_open(sx_cluster_port(cluster, i), false);
        const sx_resp *reply = test_talk_say(talk, words); /* the others answer MOVED */
        deleted += reply->type == SX_RESP_INTEGER && reply->integer == 1;
        test_talk_close(talk);
    }
    assert_int_equal(deleted, 1);
    a.status = STRATA_E_LOAD_FAILED;
    assert_int_equal(get_or_load(&a, "k"), STRATA_E_LOAD_FAILED);
    close_side(&a);
}

static void an_l2_that_fails_is_covered(void **state) {
    (void)state;
    strata_namespace_policy policy = failing;
    policy.stale_while_refreshing_ms = 0;
    side a = open_side("down", policy);
    assert_int_equal(get_or_load(&a, "k"), STRATA_OK);
    assert_int_equal(get_or_load(&a, "gone"), STRATA_OK);
    assert_int_equal(strata_invalidate_wait(a.session, a.ns, test_bytes("gone"), NULL), STRATA_OK);
    test_sleep_ms(320);
    for (uint32_t i = 0; i < 3; i++) assert_int_equal(sx_cluster_pause(cluster, i), 0);
    test_sleep_ms(700);
    a.status = STRATA_E_LOAD_FAILED;
    int32_t k = get_or_load(&a, "k"), reason = a.reason, plain = get(&a, "k"), gone = get_or_load(&a, "gone");
    for (uint32_t i = 0; i < 3; i++) assert_int_equal(sx_cluster_resume(cluster, i), 0);
    assert_int_equal(k, STRATA_STALE);
    assert_int_equal(reason, STRATA_REASON_FAILED);
    assert_int_equal(plain, STRATA_STALE);
    assert_int_equal(gone, STRATA_E_LOAD_FAILED);
    test_engine_await_trust(a.engine, 30000);
    close_side(&a);
}

/* ---- refreshes that hold up nobody ------------------------------------------------------------------------------ */

static const strata_namespace_policy ahead = {.ttl_ms = 60000, .refresh_percent = 1, .throttle_ms = 50};

/* Starts a refresh of k that only a's session could load, and then a read of what L2 holds, by a session that waits. */
static strata_session *read_beside_a_refresh(side *a) {
    strata_result result;
    strata_op_options past_l1 = {.struct_size = sizeof past_l1, .flags = STRATA_BYPASS_L1, .deadline_ms = 3000};
    strata_session *reader = test_engine_session(a->engine);
    a->answers = 0;
    assert_int_equal(get_or_load(a, "k"), STRATA_OK);
    assert_int_equal(strata_get(reader, a->ns, test_bytes("k"), &past_l1, &result, done, a), STRATA_PENDING);
    return reader;
}

static void wait_for_it(side *a, strata_session *reader) {
    a->answers = 0;
    TEST_AWAIT(a->answers != 0, strata_session_wait(reader, 10));
    assert_int_equal(a->answers, 1);
    expect(a, STRATA_OK, STRATA_REASON_NONE, "v");
    assert_int_equal(a->source, STRATA_FROM_L2);
    strata_session_close(reader);
}

static void a_thread_that_left_holds_up_nobody(void **state) {
    (void)state;
    side a = open_side("left", ahead);
    assert_int_equal(get_or_load(&a, "k"), STRATA_OK);
    test_sleep_ms(650);
    assert_int_equal(get_or_load(&a, "k"), STRATA_OK);
    assert_true(test_metric_wait(a.engine, "flow.refreshes", 1, 30000));
    test_sleep_ms(60);
    strata_session *reader = read_beside_a_refresh(&a);
    wait_for_it(&a, reader);
    assert_int_equal(a.calls, 1);
    close_side(&a);
}

static void set_memory_of_l2(const char *limit) {
    for (uint32_t i = 0; i < 3; i++) free(sx_cluster_command(cluster, i, "CONFIG SET maxmemory %s", limit));
}

/* There is no memory for a lease, but what is there can be read. */
static void a_full_l2_answers_all_the_same(void **state) {
    (void)state;
    side a = open_side("full", ahead);
    assert_int_equal(get_or_load(&a, "k"), STRATA_OK);
    test_sleep_ms(650);
    set_memory_of_l2("1");
    for (uint32_t i = 0; i < 3; i++) assert_int_equal(sx_cluster_pause(cluster, i), 0);
    strata_session *reader = read_beside_a_refresh(&a);
    for (uint32_t i = 0; i < 3; i++) assert_int_equal(sx_cluster_resume(cluster, i), 0);
    wait_for_it(&a, reader);
    set_memory_of_l2("0");
    close_side(&a);
}

/* ---- nothing --------------------------------------------------------------------------------------------------- */

static void an_absence_is_known_to_all(void **state) {
    (void)state;
    strata_namespace_policy policy = {.ttl_ms = 60000, .absent_ttl_ms = 1500, .error_ttl_ms = 60000};
    side a = open_side("absent", policy), b = open_side("absent", policy);
    a.status = b.status = STRATA_MISS;
    assert_int_equal(get_or_load(&a, "k"), STRATA_MISS);
    assert_int_equal(get_or_load(&a, "k"), STRATA_MISS);
    assert_int_equal(get_or_load(&b, "k"), STRATA_MISS);
    assert_int_equal(get_or_load(&b, "k"), STRATA_MISS);
    assert_int_equal(get(&b, "k"), STRATA_MISS);
    assert_int_equal(a.calls, 1);
    assert_int_equal(b.calls, 0);
    assert_int_equal(test_metric(b.engine, "l2.absent"), 1);
    assert_int_equal(test_metric(b.engine, "l1.absent_hits"), 2);
    assert_int_equal(test_set(a.session, a.ns, "k", "new"), STRATA_OK); /* and so is its end */
    TEST_AWAIT(test_get(b.session, b.ns, "k") != NULL, test_sleep_ms(10));
    assert_string_equal(test_get(b.session, b.ns, "k"), "new");
    assert_int_equal(get_or_load(&a, "brief"), STRATA_MISS);
    test_sleep_ms(1520);
    b.status = STRATA_OK;
    assert_int_equal(get_or_load(&b, "brief"), STRATA_OK);
    /* An error is this process's own, and ends with a write anywhere. */
    b.status = STRATA_E_LOAD_FAILED;
    assert_int_equal(get_or_load(&b, "failing"), STRATA_E_LOAD_FAILED);
    b.status = STRATA_OK;
    assert_int_equal(get_or_load(&b, "failing"), STRATA_E_LOAD_FAILED);
    assert_int_equal(test_set(a.session, a.ns, "failing", "new"), STRATA_OK);
    TEST_AWAIT(get_or_load(&b, "failing") == STRATA_OK, test_sleep_ms(10));
    expect(&b, STRATA_OK, STRATA_REASON_NONE, "new");
    close_side(&a);
    close_side(&b);
}

int main(void) {
    if (!sx_cluster_available()) return 77;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(l1_asks_again_after_its_own_time), cmocka_unit_test(one_process_refreshes_for_all),
        cmocka_unit_test(a_thread_that_left_holds_up_nobody), cmocka_unit_test(a_full_l2_answers_all_the_same),
        cmocka_unit_test(an_invalidation_during_a_background_refresh), cmocka_unit_test(what_the_source_has_no_more_is_gone),
        cmocka_unit_test(a_failing_loader_is_covered_in_any_process), cmocka_unit_test(what_is_invalidated_meanwhile_covers_nothing),
        cmocka_unit_test(a_tag_that_is_invalidated_meanwhile), cmocka_unit_test(what_was_missed_covers_nothing),
        cmocka_unit_test(what_was_missed_after_reading_covers_nothing),
        cmocka_unit_test(a_tag_that_is_invalidated_while_a_refresh_is_claimed), cmocka_unit_test(only_a_failure_is_covered),
        cmocka_unit_test(an_error_takes_no_entrys_place),
        cmocka_unit_test(what_l2_lost_covers_nothing), cmocka_unit_test(an_absence_is_known_to_all),
        cmocka_unit_test(an_l2_that_fails_is_covered)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
