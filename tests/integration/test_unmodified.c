/* SPDX-License-Identifier: Apache-2.0 */
/* Refreshes whose source says that nothing has changed: with L2, by two processes' worth of engines, and without. */
// ctest: timeout=300
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/cluster.h"
#include "tests/support/engine.h"
#include "tests/support/place.h"
#include "tests/support/proxy.h"

#define NODES   3
#define SLOW_MS 80 /* in each direction */

typedef struct side {
    strata *engine;
    strata_namespace *ns;
    strata_session *session;
    /* its source */
    int calls, unchanged;
    const char *etag;
    int64_t ttl_ms;
    char seen[300]; /* what the last load was to compare with */
    int32_t ended;  /* what its end was answered */
    bool keep;
    strata_load *kept;
} side;

static sx_cluster *cluster;
static char body[6000];

static int setup(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof body; i++) body[i] = (char)('a' + i * i % 23);
    cluster = test_cluster_start(&(sx_cluster_options){.primaries = NODES, .node_timeout_ms = 20000});
    return 0;
}

static int teardown(void **state) {
    (void)state;
    sx_cluster_stop(cluster);
    return 0;
}

static side open_side_at(const char *ns, const char *mode, const char *compress, const char *seeds, const char *nat) {
    side s = {.etag = "one"};
    strata_namespace_policy policy = {.struct_size = sizeof policy, .ttl_ms = 300, .stale_if_failing_ms = 60000};
    s.engine = test_engine_open(TEST_OPTIONS("l2.nodes", seeds, "l2.nat", nat, "l2.open_wait", "10s", "flow.ttl_jitter", "0", "l2.mode",
                                             mode, "flow.compress", compress), NULL);
    s.ns = test_engine_ns(s.engine, ns);
    s.session = test_engine_session(s.engine);
    assert_int_equal(strata_namespace_policy_set(s.ns, &policy, NULL), STRATA_OK);
    if (strcmp(mode, "none") != 0) test_engine_await_trust(s.engine, 30000);
    return s;
}

static side open_side(const char *ns, const char *mode, const char *compress) {
    return open_side_at(ns, mode, compress, sx_cluster_seeds(cluster), "");
}

static void close_side(side *s) {
    strata_session_close(s->session);
    assert_int_equal(strata_close(s->engine, 2000), STRATA_OK);
}

static void end_load(side *s, strata_load *load) {
    strata_bytes etag = strata_load_etag(load);
    snprintf(s->seen, sizeof s->seen, "%.*s", (int)etag.size, etag.size == 0 ? "" : (const char *)etag.data);
    if (strcmp(s->seen, s->etag) == 0) {
        s->unchanged++;
        s->ended = strata_load_not_modified(load, s->ttl_ms);
        return;
    }
    strata_load_result details = {.struct_size = sizeof details, .ttl_ms = s->ttl_ms, .etag = test_bytes(s->etag)};
    s->ended = strata_load_finish(load, STRATA_OK, (strata_bytes){body, sizeof body}, &details);
}

static void load_body(strata_load *load, void *user) {
    side *s = user;
    s->calls++;
    if (s->keep) s->kept = load;
    else end_load(s, load);
}

static strata_result read_body(side *s) {
    strata_result result;
    assert_int_equal(strata_get_or_load_wait(s->session, s->ns, test_bytes("k"), NULL, load_body, s, &result), STRATA_OK);
    assert_int_equal(result.value.size, sizeof body);
    assert_memory_equal(result.value.data, body, sizeof body);
    strata_result_release(s->session, &result);
    return result;
}

/* Bytes that L2 holds for the key. */
static int64_t stored_size(const char *ns) {
    char *text = sx_cluster_command(cluster, test_node_of(cluster, "k"), "STRLEN {%s}s1:%s:1:k", test_place_of("k").tag, ns);
    int64_t size = atoll(text);
    free(text);
    return size;
}

static void its_bytes_stay_where_they_are(const char *ns, const char *compress) {
    side a = open_side(ns, "cluster", compress), b = open_side(ns, "cluster", compress);
    strata_result first = read_body(&a), next;
    assert_string_equal(a.seen, "");
    /* Whoever comes next after its end asks with the etag. By numbers of another width, and of the same. */
    static const int64_t ttls[] = {90000, 0, 300, 280, 0};
    side *sides[] = {&b, &b, &a, &b, &a};
    for (int i = 0; i < 5; i++) {
        side *s = sides[i];
        if (i != 1) test_sleep_ms(330);
        s->ttl_ms = ttls[i];
        int calls = s->calls, unchanged = s->unchanged;
        int64_t begun_ms = test_now_ms();
        if (i == 1) { /* it lives for 90 s now */
            next = read_body(s);
            assert_int_equal(s->calls, calls);
            assert_in_range(next.ttl_ms, 80000, 90000);
            assert_int_equal(next.version_n, first.version_n);
            assert_int_equal(next.version_id, first.version_id);
            strata_op_options again = {.struct_size = sizeof again, .flags = STRATA_REFRESH, .ttl_ms = 300};
            assert_int_equal(strata_get_or_load_wait(s->session, s->ns, test_bytes("k"), &again, load_body, s, &next), STRATA_OK);
            strata_result_release(s->session, &next);
        } else {
            next = read_body(s);
        }
        assert_int_equal(s->calls, calls + 1);
        assert_int_equal(s->unchanged, unchanged + 1);
        assert_int_equal(s->ended, STRATA_OK);
        assert_string_equal(s->seen, "one");
        assert_true(next.version_id != first.version_id);
        first = next;
        int32_t here = strata_peek(s->session, s->ns, test_bytes("k"), &next);
        if (here != STRATA_OK && test_now_ms() - begun_ms > 250) continue; /* it is over already */
        assert_int_equal(here, STRATA_OK); /* L1 has it too */
        assert_int_equal(next.version_id, first.version_id);
        strata_result_release(s->session, &next);
    }
    if (strcmp(compress, "none") != 0) assert_in_range(stored_size(ns), 100, sizeof body / 2); /* as it was stored first */
    assert_int_equal(test_metric(a.engine, "flow.not_modified") + test_metric(b.engine, "flow.not_modified"), 5);
    close_side(&a);
    close_side(&b);
}

static void an_unchanged_value_lives_on(void **state) {
    (void)state;
    its_bytes_stay_where_they_are("plain", "none");
    its_bytes_stay_where_they_are("packed", "lz4");
}

static void a_changed_one_is_loaded(void **state) {
    (void)state;
    side a = open_side("changed", "cluster", "none"), b = open_side("changed", "cluster", "none");
    (void)read_body(&a);
    test_sleep_ms(330);
    b.etag = "two";
    (void)read_body(&b);
    assert_string_equal(b.seen, "one");
    assert_int_equal(b.unchanged, 0);
    test_sleep_ms(330);
    a.etag = "two";
    (void)read_body(&a);
    assert_string_equal(a.seen, "two");
    assert_int_equal(a.unchanged, 1);
    close_side(&a);
    close_side(&b);
}

static void told(void *user, const strata_result *result) {
    *(int32_t *)user = result->status;
}

/* An invalidation while the source is asked wins. */
static void what_is_invalidated_meanwhile_is_not_brought_back(void **state) {
    (void)state;
    side a = open_side("inval", "cluster", "none"), b = open_side("inval", "cluster", "none");
    strata_result result;
    int32_t answered = STRATA_PENDING;
    (void)read_body(&a);
    test_sleep_ms(330);
    a.keep = true;
    assert_int_equal(strata_get_or_load(a.session, a.ns, test_bytes("k"), NULL, load_body, &a, &result, told, &answered), STRATA_PENDING);
    while (a.kept == NULL) strata_session_wait(a.session, 100);
    assert_int_equal(strata_invalidate_wait(b.session, b.ns, test_bytes("k"), NULL), STRATA_OK);
    a.keep = false;
    end_load(&a, a.kept);
    assert_int_equal(a.unchanged, 1);
    while (answered == STRATA_PENDING) strata_session_wait(a.session, 100);
    assert_int_equal(answered, STRATA_OK); /* who waited since before may have it */
    assert_null(test_get(a.session, a.ns, "k"));
    assert_null(test_get(b.session, b.ns, "k"));
    close_side(&a);
    close_side(&b);
}

/* A side whose connections for data are slow, those that tell of changes not. */
static side open_slow_side(const char *ns, proxy **through) {
    uint16_t ports[NODES];
    char nat[256] = "", seed[32];
    for (uint32_t i = 0; i < NODES; i++) ports[i] = sx_cluster_port(cluster, i);
    *through = proxy_start(ports, NODES);
    assert_non_null(*through);
    for (uint32_t i = 0; i < NODES; i++) {
        size_t used = strlen(nat);
        snprintf(nat + used, sizeof nat - used, "%s127.0.0.1:%u=127.0.0.1:%u", i == 0 ? "" : ",", ports[i], proxy_port(*through, i));
    }
    snprintf(seed, sizeof seed, "127.0.0.1:%u", proxy_port(*through, 0));
    side s = open_side_at(ns, "cluster", "none", seed, nat);
    proxy_fault slow = {.kind = PROXY_DELAY, .until_ns = INT64_MAX, .delay_ms = SLOW_MS, .percent = 100, .whose = PROXY_DATA};
    for (uint32_t i = 0; i < NODES; i++) proxy_set(*through, i, &slow);
    return s;
}

/* The claim of a value is under way while its namespace is cleared, and is granted: but there is nothing to compare with any more. */
static void what_is_cleared_meanwhile_is_not_brought_back(void **state) {
    (void)state;
#ifdef __SANITIZE_THREAD__
    skip(); /* a clear takes longer than the claim that it has to overtake */
#endif
    proxy *through;
    side a = open_slow_side("cleared", &through), b = open_side("cleared", "cluster", "none");
    strata_namespace_policy policy = {.struct_size = sizeof policy, .ttl_ms = 300, .stale_while_refreshing_ms = 60000};
    assert_int_equal(strata_namespace_policy_set(a.ns, &policy, NULL), STRATA_OK);
    bool crossed = false;
    b.ttl_ms = 900; /* of what it loads, so that A can read it before its end */
    for (int i = 0; i < 12 && !crossed; i++) {
        char key[16];
        strata_result result;
        snprintf(key, sizeof key, "c%d", i);
        strata_bytes name = test_bytes(key);
        assert_int_equal(strata_get_or_load_wait(b.session, b.ns, name, NULL, load_body, &b, &result), STRATA_OK);
        strata_result_release(b.session, &result);
        assert_int_equal(strata_get_wait(a.session, a.ns, name, NULL, &result), STRATA_OK);
        strata_result_release(a.session, &result);
        test_sleep_ms(930);
        int calls = a.calls;
        int64_t start_ms = test_now_ms();
        int32_t status = strata_get_or_load_wait(a.session, a.ns, name, NULL, load_body, &a, &result);
        if (status == STRATA_OK || status == STRATA_STALE) strata_result_release(a.session, &result);
        if (status != STRATA_STALE) continue; /* trust has lapsed for a moment: there is no claim */
        assert_int_equal(strata_clear_wait(b.session, b.ns, NULL), STRATA_OK);
        crossed = test_now_ms() < start_ms + SLOW_MS; /* the claim is not even granted */
        for (int j = 0; j < 300 && a.calls == calls; j++) strata_session_wait(a.session, 100);
        assert_int_equal(a.calls, calls + 1);
        assert_int_equal(a.ended, STRATA_OK);
        if (crossed) assert_string_equal(a.seen, "");
    }
    assert_true(crossed);
    close_side(&a);
    close_side(&b);
    proxy_stop(through);
}

static void insist(strata_load *load, void *user) {
    side *s = user;
    s->ended = strata_load_not_modified(load, 0);
}

static void what_is_not_there_can_not_be_unchanged(void **state) {
    (void)state;
    side a = open_side("nothing", "cluster", "none");
    strata_result result;
    assert_int_equal(strata_get_or_load_wait(a.session, a.ns, test_bytes("k"), NULL, insist, &a, &result), STRATA_E_INVALID);
    assert_int_equal(a.ended, STRATA_E_INVALID);
    assert_int_equal(test_metric(a.engine, "flow.not_modified"), 0);
    char large[STRATA_ETAG_BYTES_MAX + 2];
    memset(large, 'e', sizeof large);
    large[sizeof large - 1] = 0;
    a.etag = large;
    assert_int_equal(strata_get_or_load_wait(a.session, a.ns, test_bytes("k"), NULL, load_body, &a, &result), STRATA_E_INVALID);
    assert_int_equal(a.ended, STRATA_E_INVALID);
    large[STRATA_ETAG_BYTES_MAX] = 0;
    (void)read_body(&a);
    test_sleep_ms(330);
    (void)read_body(&a);
    assert_int_equal(a.unchanged, 1);
    assert_int_equal(strlen(a.seen), STRATA_ETAG_BYTES_MAX);
    close_side(&a);
}

static void without_l2_l1_keeps_the_etag(void **state) {
    (void)state;
    side a = open_side("alone", "none", "none");
    (void)read_body(&a);
    for (int i = 1; i <= 2; i++) {
        test_sleep_ms(330);
        (void)read_body(&a);
        assert_int_equal(a.unchanged, i);
        (void)read_body(&a);
        assert_int_equal(a.calls, i + 1);
    }
    close_side(&a);
}

int main(void) {
    if (!sx_cluster_available()) return 77;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_unchanged_value_lives_on),
        cmocka_unit_test(a_changed_one_is_loaded),
        cmocka_unit_test(what_is_invalidated_meanwhile_is_not_brought_back),
        cmocka_unit_test(what_is_cleared_meanwhile_is_not_brought_back),
        cmocka_unit_test(what_is_not_there_can_not_be_unchanged),
        cmocka_unit_test(without_l2_l1_keeps_the_etag),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
