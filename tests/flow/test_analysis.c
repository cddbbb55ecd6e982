/* SPDX-License-Identifier: Apache-2.0 */
/* Usage analysis: what is told of hot, big and successive keys, ages and times is what the test did; and nothing where it is off. */
#include "core/flow/analysis/analysis.h"
#include "tests/flow/fixture.h"

#include <pthread.h>
#include <stdio.h>

#include "tests/support/alloc.h"

static int setup(void **state) {
    return fixture_setup(state, TEST_OPTIONS("l2.mode", "none", "flow.ttl_jitter", "0", "l1.bytes", "4MiB", "flow.analysis_sample", "1",
                                             "flow.analysis_keys", "16"));
}

static int setup_on(void **state) {
    (void)setup(state);
    fixture *f = *state;
    assert_int_equal(strata_namespace_analyze(f->ns, STRATA_ANALYZE_ON), STRATA_OK);
    return 0;
}

static strata_analysis read_of(strata_namespace *ns) {
    strata_analysis a = {.struct_size = sizeof a};
    assert_int_equal(strata_analysis_read(ns, &a), STRATA_OK);
    return a;
}

static strata_histogram histogram_of(strata_namespace *ns, strata_analyzed what) {
    strata_histogram h = {.struct_size = sizeof h};
    assert_int_equal(strata_analysis_histogram(ns, what, &h), STRATA_OK);
    return h;
}

static size_t hot_of(strata_namespace *ns, strata_hot_key *out, size_t max) {
    size_t count = 99;
    assert_int_equal(strata_analysis_hot_keys(ns, out, max, &count), STRATA_OK);
    return count;
}

static size_t pairs_of(strata_namespace *ns, strata_key_pair *out, size_t max) {
    size_t count = 99;
    assert_int_equal(strata_analysis_pairs(ns, out, max, &count), STRATA_OK);
    return count;
}

static bool is_key(const strata_seen_key *key, const char *text) {
    return key->size == strlen(text) && memcmp(key->bytes, text, key->size) == 0;
}

/* Until the keeper has seen all of L1 once more from now on: the walk that is under way may have passed by already. */
static strata_analysis await_walk(strata_namespace *ns) {
    int64_t from = read_of(ns).walks, end_ms = test_now_ms() + 60000;
    while (read_of(ns).walks < from + 2 && test_now_ms() < end_ms) test_sleep_ms(20);
    assert_true(read_of(ns).walks >= from + 2);
    return read_of(ns);
}

/* ---- switches --------------------------------------------------------------------------------------------------- */

static void nothing_is_looked_at_where_it_is_off(void **state) {
    fixture *f = *state;
    strata_hot_key hot[4];
    (void)fixture_peek(f, "k");
    strata_analysis a = read_of(f->ns);
    assert_true(a.on == 0 && a.sampled == 0 && a.sample == 1);
    assert_int_equal(hot_of(f->ns, hot, 4), 0);
    assert_int_equal(strata_namespace_analyze(f->ns, STRATA_ANALYZE_ON), STRATA_OK);
    (void)fixture_peek(f, "k");
    assert_true(read_of(f->ns).on == 1 && read_of(f->ns).sampled == 1);
    assert_int_equal(strata_namespace_analyze(f->ns, STRATA_ANALYZE_OFF), STRATA_OK);
    (void)fixture_peek(f, "k");
    assert_true(read_of(f->ns).on == 0 && read_of(f->ns).sampled == 1); /* what was seen is told still */
    assert_int_equal(hot_of(f->ns, hot, 4), 1);
}

static void the_option_is_for_who_says_nothing(void **state) {
    fixture *f = *state;
    strata_namespace *other = test_engine_ns(f->engine, "other");
    assert_int_equal(strata_namespace_analyze(other, STRATA_ANALYZE_OFF), STRATA_OK);
    assert_int_equal(strata_option_set(f->engine, "flow.analysis", "true", NULL), STRATA_OK);
    strata_namespace *later = test_engine_ns(f->engine, "later");
    assert_true(read_of(f->ns).on == 1 && read_of(other).on == 0 && read_of(later).on == 1);
    assert_int_equal(strata_namespace_analyze(other, STRATA_ANALYZE_DEFAULT), STRATA_OK);
    assert_int_equal(read_of(other).on, 1);
    assert_int_equal(strata_option_set(f->engine, "flow.analysis", "false", NULL), STRATA_OK);
    assert_true(read_of(f->ns).on == 0 && read_of(other).on == 0);
}

static void there_is_room_for_so_many_namespaces(void **state) {
    fixture *f = *state;
    strata_namespace *ns = NULL;
    for (int i = 0; i <= STRATA_ANALYSES_MAX; i++) {
        char name[16];
        snprintf(name, sizeof name, "ns%d", i);
        ns = test_engine_ns(f->engine, name);
        assert_int_equal(strata_namespace_analyze(ns, STRATA_ANALYZE_ON), i < STRATA_ANALYSES_MAX ? STRATA_OK : STRATA_E_OVERLOADED);
    }
    assert_int_equal(read_of(ns).on, 0);
    assert_int_equal(strata_option_set(f->engine, "flow.analysis", "true", NULL), STRATA_OK);
    assert_true(read_of(ns).on == 0 && read_of(f->ns).on == 0); /* left out */
}

static void nonsense_is_refused(void **state) {
    fixture *f = *state;
    strata_analysis a = {.struct_size = 1};
    strata_histogram h = {.struct_size = sizeof h};
    size_t count;
    assert_int_equal(strata_namespace_analyze(f->ns, (strata_analyze)3), STRATA_E_INVALID);
    assert_int_equal(strata_namespace_analyze(NULL, STRATA_ANALYZE_ON), STRATA_E_INVALID);
    assert_int_equal(strata_analysis_read(f->ns, &a), STRATA_E_INVALID);
    assert_int_equal(strata_analysis_histogram(f->ns, (strata_analyzed)STRATA_ANALYZED, &h), STRATA_E_INVALID);
    assert_int_equal(strata_analysis_hot_keys(f->ns, NULL, 1, &count), STRATA_E_INVALID);
    assert_int_equal(strata_analysis_pairs(f->ns, NULL, 0, NULL), STRATA_E_INVALID);
    assert_int_equal(strata_analysis_big_keys(NULL, NULL, 0, &count), STRATA_E_INVALID);
    assert_int_equal(strata_analysis_report(f->ns, (strata_report_format)2, 0, NULL, 0, &count), STRATA_E_INVALID);
    assert_int_equal(strata_analysis_reset(NULL), STRATA_E_INVALID);
}

static void without_memory_nothing_changes(void **state) {
    (void)state;
    test_alloc alloc;
    test_alloc_init(&alloc);
    strata_open_options template_ = {.allocator = {alloc.table.context, alloc.table.allocate, alloc.table.release}};
    strata *engine = test_engine_open(TEST_OPTIONS("l2.mode", "none", "l1.bytes", "4MiB"), &template_);
    strata_namespace *ns = test_engine_ns(engine, "alone");
    int32_t status = STRATA_E_NOMEM;
    int failures = 0;
    test_sleep_ms(500); /* the keeper has what it needs: each failure is a call's */
    for (; status == STRATA_E_NOMEM && failures < 100; failures++) {
        test_alloc_fail_at(&alloc, failures + 1);
        status = strata_namespace_analyze(ns, STRATA_ANALYZE_ON);
        assert_int_equal(read_of(ns).on, status == STRATA_OK);
    }
    test_alloc_fail_at(&alloc, 0);
    assert_true(status == STRATA_OK && failures > 8);
    assert_int_equal(strata_close(engine, 1000), STRATA_OK);
    test_alloc_check_empty(&alloc);
}

/* ---- reads ------------------------------------------------------------------------------------------------------ */

static void hot_keys_come_first(void **state) {
    fixture *f = *state;
    strata_hot_key hot[16];
    assert_int_equal(test_set(f->session, f->ns, "hot", "v"), STRATA_OK);
    for (int i = 0; i < 300; i++) {
        char key[16];
        snprintf(key, sizeof key, "%d", i);
        assert_int_equal(fixture_peek(f, "hot"), STRATA_OK);
        if (i % 2 == 0) assert_int_equal(fixture_get(f, "warm"), STRATA_MISS);
        (void)fixture_peek(f, key);
    }
    assert_int_equal(hot_of(f->ns, hot, 16), 16);
    assert_true(is_key(&hot[0].key, "hot") && is_key(&hot[1].key, "warm"));
    assert_true(hot[0].count >= 300 && hot[0].count - hot[0].error <= 300 && hot[0].error <= 750 / 16);
    assert_true(hot[1].count >= 150 && hot[1].count - hot[1].error <= 150);
    assert_int_equal(hot_of(f->ns, hot, 1), 1);
    strata_analysis a = read_of(f->ns);
    assert_true(a.sampled == 750 && a.missed == 450 && a.skipped == 0);
    assert_int_equal(strata_analysis_reset(f->ns), STRATA_OK);
    assert_int_equal(hot_of(f->ns, hot, 16), 0);
    assert_int_equal(read_of(f->ns).sampled, 0);
}

static void a_sample_is_about_as_large_as_asked_for(void **state) {
    fixture *f = *state;
    assert_int_equal(strata_option_set(f->engine, "flow.analysis_sample", "16", NULL), STRATA_OK);
    for (int i = 0; i < 16000; i++) (void)fixture_peek(f, "k");
    strata_analysis a = read_of(f->ns);
    assert_true(a.sample == 16 && a.sampled > 500 && a.sampled < 2000);
}

static void the_age_of_what_is_answered(void **state) {
    fixture *f = *state;
    strata_op_options forever = {.struct_size = sizeof forever, .ttl_ms = 100000000};
    strata_bytes value = test_bytes("v");
    assert_int_equal(strata_set_wait(f->session, f->ns, test_bytes("k"), value, &forever, NULL), STRATA_OK);
    (void)fixture_peek(f, "absent");
    for (int i = 0; i < 10; i++) assert_int_equal(fixture_peek(f, "k"), STRATA_OK);
    fixture_advance(f, 10000);
    assert_int_equal(fixture_peek(f, "k"), STRATA_OK);
    strata_histogram h = histogram_of(f->ns, STRATA_ANALYZED_AGE);
    assert_true(h.count == 11 && h.sum == 10000);
    assert_int_equal(strata_histogram_quantile(&h, 0.5), 16);
    int64_t oldest = strata_histogram_quantile(&h, 1);
    assert_true(oldest > 10000 && oldest <= 11250);
}

/* ---- pairs ------------------------------------------------------------------------------------------------------ */

static void what_is_read_next_is_a_pair(void **state) {
    fixture *f = *state;
    strata_namespace *other = test_engine_ns(f->engine, "other");
    strata_key_pair pairs[16];
    assert_int_equal(strata_namespace_analyze(other, STRATA_ANALYZE_ON), STRATA_OK);
    for (int i = 0; i < 40; i++) {
        (void)fixture_peek(f, "a");
        (void)fixture_peek(f, "a"); /* itself is no successor */
        if (i % 4 != 0) (void)test_peek(f->session, other, "b");
        else (void)fixture_peek(f, "c");
        fixture_advance(f, 101); /* too late to follow */
    }
    size_t count = pairs_of(f->ns, pairs, 16);
    assert_int_equal(count, 2);
    assert_true(is_key(&pairs[0].first, "a") && is_key(&pairs[0].second, "b") && pairs[0].second_ns == other);
    assert_true(is_key(&pairs[1].first, "a") && is_key(&pairs[1].second, "c") && pairs[1].second_ns == f->ns);
    assert_true(pairs[0].count == 30 && pairs[1].count == 10 && pairs[0].firsts == 80);
    assert_int_equal(pairs_of(other, pairs, 16), 0); /* nothing came soon after it */
    assert_int_equal(pairs_of(f->ns, pairs, 1), 1);
}

static void a_batch_has_no_successors(void **state) {
    fixture *f = *state;
    strata_key_pair pairs[16];
    strata_bytes keys[3] = {test_bytes("x"), test_bytes("y"), test_bytes("z")};
    strata_result results[3];
    (void)fixture_peek(f, "a");
    assert_int_equal(strata_mget_wait(f->session, f->ns, keys, 3, NULL, results), STRATA_OK);
    (void)fixture_peek(f, "b");
    assert_int_equal(pairs_of(f->ns, pairs, 16), 0);
    assert_int_equal(read_of(f->ns).sampled, 5);
}

static void pairs_follow_the_latest(void **state) {
    fixture *f = *state;
    strata_key_pair pairs[16];
    for (int i = 0; i < 1000; i++) {
        (void)fixture_peek(f, "a");
        (void)fixture_peek(f, i < 500 ? "old" : "new");
        fixture_advance(f, 101);
    }
    size_t count = pairs_of(f->ns, pairs, 16);
    assert_true(count >= 1 && is_key(&pairs[0].second, "new"));
    assert_true(pairs[0].firsts < 256 && 100 * pairs[0].count > 80 * pairs[0].firsts);
}

static void the_least_successor_gives_way(void **state) {
    fixture *f = *state;
    strata_key_pair pairs[16];
    for (int i = 0; i < 30; i++) {
        char other[16];
        snprintf(other, sizeof other, "%d", i);
        for (int j = 0; j < 4; j++) {
            (void)fixture_peek(f, "a");
            (void)fixture_peek(f, j == 0 ? other : "b");
            fixture_advance(f, 101);
        }
    }
    size_t count = pairs_of(f->ns, pairs, 4);
    assert_int_equal(count, 4); /* as many as are kept of a key */
    assert_true(is_key(&pairs[0].second, "b") && pairs[0].count == 90 && pairs[0].firsts == 120);
    assert_int_equal(pairs[0].error, 0);
    for (size_t i = 1; i < count; i++) {
        assert_true(is_key(&pairs[i].first, "a") && pairs[i].count <= 30);
        assert_int_equal(pairs[i].count - pairs[i].error, 1); /* as often as it came */
    }
}

/* ---- what L1 holds ----------------------------------------------------------------------------------------------- */

static void what_l1_holds_is_walked_through(void **state) {
    fixture *f = *state;
    static char large[3000];
    memset(large, 'x', sizeof large);
    for (int i = 0; i < 200; i++) {
        char key[16];
        snprintf(key, sizeof key, "%d", i);
        strata_op_options options = {.struct_size = sizeof options, .ttl_ms = i % 2 == 0 ? 1000000 : 9000000};
        strata_bytes value = {large, i < 40 ? 1000 + (size_t)i : 10};
        assert_int_equal(strata_set_wait(f->session, f->ns, test_bytes(key), value, &options, NULL), STRATA_OK);
    }
    fixture_advance(f, 500000);
    assert_int_equal(test_set(f->session, test_engine_ns(f->engine, "other"), "k", "v"), STRATA_OK); /* not told of */
    strata_analysis a = await_walk(f->ns);
    assert_int_equal(a.entries, 200);
    assert_int_equal(a.bytes, 40 * 1000 + 39 * 20 + 160 * 10 + 10 + 90 * 2 + 100 * 3);
    strata_histogram left = histogram_of(f->ns, STRATA_ANALYZED_TTL_LEFT), given = histogram_of(f->ns, STRATA_ANALYZED_TTL_GIVEN);
    assert_true(left.count == 200 && left.sum == 100 * (INT64_C(500000) + 8500000));
    assert_true(given.count == 200 && given.sum == 100 * (INT64_C(1000000) + 9000000));
    strata_histogram bytes = histogram_of(f->ns, STRATA_ANALYZED_BYTES);
    assert_int_equal(bytes.sum, 40 * 1000 + 39 * 20 + 160 * 10);
    strata_big_key big[64];
    size_t count;
    assert_int_equal(strata_analysis_big_keys(f->ns, big, 64, &count), STRATA_OK);
    assert_int_equal(count, STRATA_BIG_KEYS_MAX);
    for (size_t i = 0; i < count; i++) {
        char key[16];
        snprintf(key, sizeof key, "%d", 39 - (int)i);
        assert_true(is_key(&big[i].key, key) && big[i].bytes == 1039 - (int64_t)i);
    }
    fixture_advance(f, 600000); /* every other one expires */
    for (int i = 0; i < 3000 && await_walk(f->ns).entries != 100; i++) test_sleep_ms(10);
    assert_int_equal(read_of(f->ns).entries, 100);
}

static void endless_values_are_counted_apart(void **state) {
    fixture *f = *state;
    assert_int_equal(fixture_policy(f, (strata_namespace_policy){.flags = STRATA_POLICY_ENDLESS, .ttl_ms = STRATA_EXPIRES_NEVER}), STRATA_OK);
    assert_int_equal(test_set(f->session, f->ns, "k", "v"), STRATA_OK);
    strata_analysis a = await_walk(f->ns);
    assert_true(a.entries == 1 && a.endless == 1);
    assert_int_equal(histogram_of(f->ns, STRATA_ANALYZED_TTL_LEFT).count, 0);
}

/* ---- report ------------------------------------------------------------------------------------------------------ */

static void the_report_tells_all(void **state) {
    fixture *f = *state;
    char text[8192], long_key[200];
    size_t needed = 0;
    memset(long_key, 'l', sizeof long_key);
    strata_bytes odd = {"q\"\\\n", 4};
    strata_result result;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(strata_peek(f->session, f->ns, odd, &result), STRATA_MISS);
        assert_int_equal(strata_peek(f->session, f->ns, (strata_bytes){long_key, sizeof long_key}, &result), STRATA_MISS);
    }
    assert_int_equal(test_set(f->session, f->ns, "k", "value"), STRATA_OK);
    (void)await_walk(f->ns);
    assert_int_equal(strata_analysis_report(f->ns, STRATA_REPORT_TEXT, 0, NULL, 0, &needed), STRATA_E_VALUE_SIZE);
    assert_true(needed > 100 && needed < sizeof text);
    assert_int_equal(strata_analysis_report(f->ns, STRATA_REPORT_TEXT, 0, text, sizeof text, NULL), STRATA_OK);
    assert_non_null(strstr(text, "alone:1, analysed\n"));
    assert_non_null(strstr(text, "  \"q\\\"\\\\\\x0a\" 3, 0 less at most\n"));
    assert_non_null(strstr(text, "lll...\" "));
    assert_non_null(strstr(text, "  \"k\" 5 bytes\n"));
    assert_non_null(strstr(text, " -> "));
    assert_int_equal(strata_analysis_report(f->ns, STRATA_REPORT_JSON, 1, text, sizeof text, &needed), STRATA_OK);
    assert_int_equal(needed, strlen(text) + 1);
    assert_non_null(strstr(text, "{\"namespace\":\"alone\",\"version\":1,\"on\":1,\"sample\":1,\"sampled\":6,"));
    assert_non_null(strstr(text, "\"big\":[{\"key\":\"k\",\"bytes\":5}]"));
    assert_true(text[needed - 2] == '}');
    assert_int_equal(strata_analysis_report(f->ns, STRATA_REPORT_JSON, 1, text, needed - 1, &needed), STRATA_E_VALUE_SIZE);
}

/* ---- threads ----------------------------------------------------------------------------------------------------- */

enum { THREADS = 3, READS = 20000 };
static void *reads(void *argument) {
    fixture *f = argument;
    strata_session *session = test_engine_session(f->engine);
    for (int i = 0; i < READS; i++) {
        char key[16];
        snprintf(key, sizeof key, "%d", i % 50);
        (void)test_peek(session, f->ns, key);
    }
    strata_session_close(session);
    atomic_fetch_add(&f->calls, 1);
    return NULL;
}

/* Whoever holds what reads are told to: they go on, and what was not told is counted. */
static void readers_wait_for_nobody(void **state) {
    fixture *f = *state;
    sx_analysis *analysis = sx_analysis_of(f->engine, f->ns->index);
    pthread_t thread;
    sx_lock_acquire(&analysis->lock);
    int created = pthread_create(&thread, NULL, reads, f);
    for (int64_t end_ms = test_now_ms() + 60000; created == 0 && atomic_load(&f->calls) == 0 && test_now_ms() < end_ms;) test_sleep_ms(1);
    int over = atomic_load(&f->calls);
    sx_lock_release(&analysis->lock);
    assert_int_equal(created, 0);
    pthread_join(thread, NULL);
    assert_int_equal(over, 1);
    strata_analysis a = read_of(f->ns);
    assert_int_equal(a.sampled, 0);
    assert_int_equal(a.skipped, READS);
}

static void all_reads_are_told_or_counted(void **state) {
    fixture *f = *state;
    pthread_t threads[THREADS];
    char text[8192];
    for (int i = 0; i < THREADS; i++) assert_int_equal(pthread_create(&threads[i], NULL, reads, f), 0);
    for (int i = 0; atomic_load(&f->calls) < THREADS; i++) {
        (void)strata_analysis_report(f->ns, STRATA_REPORT_JSON, 0, text, sizeof text, NULL);
        assert_int_equal(strata_namespace_analyze(f->ns, i % 5 == 0 ? STRATA_ANALYZE_OFF : STRATA_ANALYZE_ON), STRATA_OK);
        test_sleep_ms(1);
    }
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    strata_analysis a = read_of(f->ns);
    assert_true(a.sampled + a.skipped <= THREADS * READS);
    assert_int_equal(strata_analysis_reset(f->ns), STRATA_OK);
    assert_int_equal(strata_namespace_analyze(f->ns, STRATA_ANALYZE_ON), STRATA_OK);
    atomic_store(&f->calls, 0);
    for (int i = 0; i < THREADS; i++) assert_int_equal(pthread_create(&threads[i], NULL, reads, f), 0);
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    a = read_of(f->ns);
    assert_int_equal(a.sampled + a.skipped, THREADS * READS);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(nothing_is_looked_at_where_it_is_off, setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(the_option_is_for_who_says_nothing, setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(there_is_room_for_so_many_namespaces, setup, fixture_teardown),
        cmocka_unit_test(without_memory_nothing_changes),
        cmocka_unit_test_setup_teardown(nonsense_is_refused, setup_on, fixture_teardown),
        cmocka_unit_test_setup_teardown(hot_keys_come_first, setup_on, fixture_teardown),
        cmocka_unit_test_setup_teardown(a_sample_is_about_as_large_as_asked_for, setup_on, fixture_teardown),
        cmocka_unit_test_setup_teardown(the_age_of_what_is_answered, setup_on, fixture_teardown),
        cmocka_unit_test_setup_teardown(what_is_read_next_is_a_pair, setup_on, fixture_teardown),
        cmocka_unit_test_setup_teardown(a_batch_has_no_successors, setup_on, fixture_teardown),
        cmocka_unit_test_setup_teardown(pairs_follow_the_latest, setup_on, fixture_teardown),
        cmocka_unit_test_setup_teardown(the_least_successor_gives_way, setup_on, fixture_teardown),
        cmocka_unit_test_setup_teardown(what_l1_holds_is_walked_through, setup_on, fixture_teardown),
        cmocka_unit_test_setup_teardown(endless_values_are_counted_apart, setup_on, fixture_teardown),
        cmocka_unit_test_setup_teardown(the_report_tells_all, setup_on, fixture_teardown),
        cmocka_unit_test_setup_teardown(readers_wait_for_nobody, setup_on, fixture_teardown),
        cmocka_unit_test_setup_teardown(all_reads_are_told_or_counted, setup_on, fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
