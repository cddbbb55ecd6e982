/* SPDX-License-Identifier: Apache-2.0 */
/* Looking at entries, having them live longer, and counting, by two processes' worth of engines at one cluster. */
// ctest: timeout=300
#include <inttypes.h>
#include <pthread.h>
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
#include "tests/support/side.h"

static sx_cluster *cluster;

static int setup(void **state) {
    (void)state;
    cluster = test_cluster_start(&(sx_cluster_options){.primaries = 3, .node_timeout_ms = 20000});
    return 0;
}

static int teardown(void **state) {
    (void)state;
    sx_cluster_stop(cluster);
    return 0;
}

static test_side open_side(const char *ns) {
    test_side s;
    test_side_open(&s, ns, TEST_OPTIONS("l2.nodes", sx_cluster_seeds(cluster), "l2.open_wait", "10s", "flow.ttl_jitter", "0"), NULL);
    return s;
}

static strata_op_options ttl_of(int64_t ttl_ms) {
    return (strata_op_options){.struct_size = sizeof(strata_op_options), .ttl_ms = ttl_ms};
}

static void set_for(test_side *s, const char *key, const char *value, int64_t ttl_ms) {
    strata_op_options options = ttl_of(ttl_ms);
    assert_int_equal(strata_set_wait(s->session, s->ns, test_bytes(key), test_bytes(value), &options, NULL), STRATA_OK);
}

static int32_t exists(test_side *s, const char *key, strata_result *out) {
    return strata_exists_wait(s->session, s->ns, test_bytes(key), NULL, out);
}

static int32_t touch(test_side *s, const char *key, int64_t ttl_ms, strata_result *out) {
    strata_op_options options = ttl_of(ttl_ms);
    return strata_touch_wait(s->session, s->ns, test_bytes(key), &options, out);
}

static void what_a_reader_would_find_exists(void **state) {
    (void)state;
    test_side a = open_side("exists"), b = open_side("exists");
    strata_result result, got;
    int64_t ttl_ms = 7;
    assert_int_equal(exists(&a, "k", &result), STRATA_MISS);
    assert_int_equal(strata_get_ttl_wait(a.session, a.ns, test_bytes("k"), NULL, &ttl_ms), STRATA_MISS);
    assert_int_equal(ttl_ms, 7);
    set_for(&a, "k", "value", 60000);
    int64_t looks = test_metric(a.engine, "flow.looks");
    assert_int_equal(exists(&a, "k", &result), STRATA_OK);
    assert_int_equal(test_metric(a.engine, "flow.looks"), looks); /* L1 knows */
    assert_int_equal(exists(&b, "k", &got), STRATA_OK);
    assert_int_equal(test_metric(b.engine, "flow.looks"), 1);
    assert_int_equal(got.version_n, result.version_n);
    assert_int_equal(got.version_id, result.version_id);
    assert_int_equal(got.value.size, 0);
    assert_in_range(got.ttl_ms, 50000, 60000);
    assert_in_range(got.age_ms, 0, 10000);
    assert_null(test_peek(b.session, b.ns, "k")); /* nothing was brought */
    assert_int_equal(strata_get_ttl_wait(b.session, b.ns, test_bytes("k"), NULL, &ttl_ms), STRATA_OK);
    assert_in_range(ttl_ms, 50000, 60000);
    assert_int_equal(strata_invalidate_wait(a.session, a.ns, test_bytes("k"), NULL), STRATA_OK);
    assert_int_equal(exists(&b, "k", &result), STRATA_MISS);
    set_for(&a, "brief", "value", 1500);
    assert_int_equal(exists(&b, "brief", &result), STRATA_OK);
    test_sleep_ms(1550);
    assert_int_equal(exists(&b, "brief", &result), STRATA_MISS);
    set_for(&a, "cleared", "value", 60000);
    assert_int_equal(strata_clear_wait(a.session, a.ns, NULL), STRATA_OK);
    assert_int_equal(exists(&b, "cleared", &result), STRATA_MISS);
    assert_int_equal(touch(&b, "cleared", 60000, &result), STRATA_MISS);
    test_side_close(&a);
    test_side_close(&b);
}

static void what_its_tags_make_invalid_does_not(void **state) {
    (void)state;
    test_side a = open_side("tags"), b = open_side("tags");
    strata_bytes tags[] = {test_bytes("one"), test_bytes("two")};
    strata_op_options options = {.struct_size = sizeof options, .tags = tags, .tag_count = 2, .ttl_ms = 60000};
    strata_result result;
    assert_int_equal(strata_set_wait(a.session, a.ns, test_bytes("k"), test_bytes("v"), &options, NULL), STRATA_OK);
    assert_int_equal(exists(&b, "k", &result), STRATA_OK);
    assert_int_equal(touch(&b, "k", 120000, &result), STRATA_OK);
    assert_string_equal(test_get(b.session, b.ns, "k"), "v");
    assert_int_equal(strata_invalidate_tags_wait(a.session, tags + 1, 1, NULL), STRATA_OK);
    TEST_AWAIT(exists(&b, "k", &result) != STRATA_OK, test_sleep_ms(10));
    assert_int_equal(exists(&b, "k", &result), STRATA_MISS);
    assert_int_equal(touch(&a, "k", 600000, &result), STRATA_MISS);
    assert_null(test_get(a.session, a.ns, "k"));
    test_side_close(&a);
    test_side_close(&b);
}

static void a_touch_extends_and_moves_nothing(void **state) {
    (void)state;
    test_side a = open_side("touch"), b = open_side("touch");
    strata_result result, before;
    char large[5000];
    memset(large, 'x', sizeof large);
    /* By numbers of each width, to each. */
    static const int64_t ttls[] = {4000, 70000, 5000000000, 90000, 6000};
    for (size_t from = 0; from < 4; from++) {
        strata_op_options options = ttl_of(ttls[from]);
        assert_int_equal(strata_set_wait(a.session, a.ns, test_bytes("k"), (strata_bytes){large, sizeof large}, &options, &before), STRATA_OK);
        for (size_t to = 0; to < 5; to++) {
            int64_t longest = ttls[from];
            assert_int_equal(touch(&b, "k", ttls[to], &result), STRATA_OK);
            for (size_t i = 0; i <= to; i++) longest = ttls[i] > longest ? ttls[i] : longest;
            assert_in_range(result.ttl_ms, longest - 3500, longest);
            assert_int_equal(result.version_n, before.version_n);
            assert_int_equal(result.version_id, before.version_id);
        }
        strata_result got;
        assert_int_equal(strata_get_wait(b.session, b.ns, test_bytes("k"), NULL, &got), STRATA_OK);
        assert_int_equal(got.value.size, sizeof large);
        assert_memory_equal(got.value.data, large, sizeof large);
        strata_result_release(b.session, &got);
        assert_int_equal(strata_invalidate_wait(b.session, b.ns, test_bytes("k"), NULL), STRATA_OK);
    }
    assert_int_equal(touch(&a, "nothing", 1000, &result), STRATA_MISS);
    test_side_close(&a);
    test_side_close(&b);
}

static void what_is_touched_lives(void **state) {
    (void)state;
    test_side a = open_side("lives"), b = open_side("lives");
    strata_result result;
    set_for(&a, "k", "v", 2000);
    assert_string_equal(test_get(b.session, b.ns, "k"), "v");
    assert_int_equal(touch(&a, "k", 60000, &result), STRATA_OK);
    strata_result peeked;
    assert_int_equal(strata_peek(a.session, a.ns, test_bytes("k"), &peeked), STRATA_OK);
    assert_in_range(peeked.ttl_ms, 50000, 60000);
    assert_int_equal(peeked.version_id, result.version_id);
    strata_result_release(a.session, &peeked);
    test_sleep_ms(2050);
    assert_string_equal(test_peek(a.session, a.ns, "k"), "v");
    assert_null(test_peek(b.session, b.ns, "k")); /* its copy kept its time */
    assert_string_equal(test_get(b.session, b.ns, "k"), "v");
    /* Past its end it is not brought back. */
    set_for(&a, "old", "v", 100);
    test_sleep_ms(150);
    assert_int_equal(touch(&a, "old", 60000, &result), STRATA_MISS);
    /* Without end, where the namespace allows it, and never shortened from there. */
    assert_int_equal(touch(&a, "k", STRATA_EXPIRES_NEVER, &result), STRATA_E_TTL);
    strata_namespace_policy policy = {.struct_size = sizeof policy, .flags = STRATA_POLICY_ENDLESS};
    assert_int_equal(strata_namespace_policy_set(a.ns, &policy, NULL), STRATA_OK);
    assert_int_equal(touch(&a, "k", STRATA_EXPIRES_NEVER, &result), STRATA_OK);
    assert_int_equal(result.ttl_ms, STRATA_EXPIRES_NEVER);
    assert_int_equal(touch(&a, "k", 1000, &result), STRATA_OK);
    assert_int_equal(result.ttl_ms, STRATA_EXPIRES_NEVER);
    /* Nobody was told: it is no write. */
    assert_int_equal(test_metric(a.engine, "flow.sets"), 2);
    test_side_close(&a);
    test_side_close(&b);
}

#define THREADS 4
#define STEPS   100

static void *count_up(void *argument) {
    test_side *s = argument;
    strata_session *session = test_engine_session(s->engine);
    for (int i = 0; i < STEPS; i++) {
        if (strata_incr_wait(session, s->ns, test_bytes("sum"), i % 2 == 0 ? 3 : -1, NULL, NULL) != STRATA_OK) abort();
    }
    strata_session_close(session);
    return NULL;
}

static int32_t incr(test_side *s, const char *key, int64_t change, int64_t *out) {
    return strata_incr_wait(s->session, s->ns, test_bytes(key), change, NULL, out);
}

static void numbers_are_counted_by_all(void **state) {
    (void)state;
    test_side sides[2] = {open_side("count"), open_side("count")};
    pthread_t threads[THREADS];
    int64_t sum = 0;
    for (int i = 0; i < THREADS; i++) assert_int_equal(pthread_create(&threads[i], NULL, count_up, &sides[i % 2]), 0);
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    assert_int_equal(incr(&sides[0], "sum", 0, &sum), STRATA_OK);
    assert_int_equal(sum, THREADS * STEPS);
    /* A value of the same key is another thing, and so is an invalidation. */
    assert_int_equal(test_set(sides[0].session, sides[0].ns, "sum", "v"), STRATA_OK);
    assert_int_equal(strata_invalidate_wait(sides[0].session, sides[0].ns, test_bytes("sum"), NULL), STRATA_OK);
    assert_int_equal(incr(&sides[1], "sum", 1, &sum), STRATA_OK);
    assert_int_equal(sum, THREADS * STEPS + 1);
    for (int i = 0; i < 2; i++) test_side_close(&sides[i]);
}

static void numbers_have_64_bits(void **state) {
    (void)state;
    test_side a = open_side("wide");
    int64_t number = 0;
    assert_int_equal(incr(&a, "n", (INT64_C(1) << 53) + 1, &number), STRATA_OK);
    assert_int_equal(incr(&a, "n", 2, &number), STRATA_OK);
    assert_true(number == (INT64_C(1) << 53) + 3);
    assert_int_equal(incr(&a, "max", INT64_MAX, &number), STRATA_OK);
    assert_true(number == INT64_MAX);
    assert_int_equal(incr(&a, "max", 1, &number), STRATA_E_RANGE);
    assert_int_equal(incr(&a, "max", 0, &number), STRATA_OK);
    assert_true(number == INT64_MAX);
    assert_int_equal(incr(&a, "min", INT64_MIN, &number), STRATA_OK);
    assert_true(number == INT64_MIN);
    assert_int_equal(incr(&a, "min", -1, &number), STRATA_E_RANGE);
    assert_int_equal(incr(&a, "", 1, &number), STRATA_E_KEY_SIZE);
    test_side_close(&a);
}

static char *say(const char *verb, const char *key, const char *rest) {
    return sx_cluster_command(cluster, test_node_of(cluster, key), "%s {%s}s1:=window:1:%s%s", verb, test_place_of(key).tag, key, rest);
}

static void a_number_has_a_window(void **state) {
    (void)state;
    test_side a = open_side("window");
    int64_t number = 0;
    strata_op_options options = ttl_of(2000);
    for (int i = 1; i <= 3; i++) {
        assert_int_equal(strata_incr_wait(a.session, a.ns, test_bytes("n"), 1, &options, &number), STRATA_OK);
        assert_int_equal(number, i);
        test_sleep_ms(250);
    }
    test_sleep_ms(1300); /* it counts from the first */
    assert_int_equal(strata_incr_wait(a.session, a.ns, test_bytes("n"), 1, &options, &number), STRATA_OK);
    assert_int_equal(number, 1);
    options = ttl_of(STRATA_EXPIRES_NEVER);
    assert_int_equal(strata_incr_wait(a.session, a.ns, test_bytes("n"), 1, &options, &number), STRATA_E_TTL);
    /* What is not ours is left as it is. */
    char *answer = say("SET", "foreign", " text");
    assert_string_equal(answer, "OK");
    free(answer);
    assert_int_equal(incr(&a, "foreign", 1, &number), STRATA_E_TYPE);
    answer = say("GET", "foreign", "");
    assert_string_equal(answer, "text");
    free(answer);
    free(say("HSET", "word", " n word"));
    assert_int_equal(incr(&a, "word", 1, &number), STRATA_E_TYPE);
    test_side_close(&a);
}

static void a_number_is_removed(void **state) {
    (void)state;
    test_side a = open_side("window"), b = open_side("window");
    int64_t number = -7;
    strata_op_options options = ttl_of(60000);
    assert_int_equal(strata_incr_wait(a.session, a.ns, test_bytes("gone"), 41, &options, &number), STRATA_OK);
    assert_int_equal(strata_counter_delete_wait(b.session, b.ns, test_bytes("gone"), NULL, &number), STRATA_OK);
    assert_int_equal(number, 41);
    assert_int_equal(strata_counter_delete_wait(b.session, b.ns, test_bytes("gone"), NULL, &number), STRATA_OK);
    assert_int_equal(number, 0);
    options = ttl_of(120000);
    assert_int_equal(strata_incr_wait(a.session, a.ns, test_bytes("gone"), 2, &options, &number), STRATA_OK);
    assert_int_equal(number, 2); /* from 0, and with a life of its own */
    char *answer = say("PTTL", "gone", "");
    assert_in_range(atoll(answer), 60001, 120000);
    free(answer);
    assert_int_equal(test_set(a.session, a.ns, "gone", "v"), STRATA_OK); /* a value of the same key is another matter */
    assert_int_equal(strata_counter_delete_wait(a.session, a.ns, test_bytes("gone"), NULL, NULL), STRATA_OK);
    assert_string_equal(test_get(b.session, b.ns, "gone"), "v");
    /* What is not ours stays. */
    free(say("SET", "strange", " text"));
    assert_int_equal(strata_counter_delete_wait(a.session, a.ns, test_bytes("strange"), NULL, &number), STRATA_E_TYPE);
    answer = say("GET", "strange", "");
    assert_string_equal(answer, "text");
    free(answer);
    free(say("HSET", "odd", " other field"));
    assert_int_equal(strata_counter_delete_wait(a.session, a.ns, test_bytes("odd"), NULL, &number), STRATA_E_TYPE);
    assert_int_equal(strata_counter_delete_wait(a.session, a.ns, test_bytes(""), NULL, &number), STRATA_E_KEY_SIZE);
    test_side_close(&a);
    test_side_close(&b);
}

typedef struct answer {
    int count;
    int32_t status;
    int64_t number;
    int64_t ttl_ms;
} answer;

static void told(void *user, const strata_result *result) {
    answer *a = user;
    a->count++;
    a->status = result->status;
    a->number = strata_result_count(result);
    a->ttl_ms = result->ttl_ms;
}

static void answers_may_come_later(void **state) {
    (void)state;
    test_side a = open_side("later");
    strata_result result;
    answer got = {0};
    assert_int_equal(strata_incr(a.session, a.ns, test_bytes("n"), 5, NULL, told, &got), STRATA_PENDING);
    while (got.count < 1) strata_session_wait(a.session, 100);
    assert_int_equal(got.number, 5);
    assert_int_equal(strata_incr(a.session, a.ns, test_bytes("n"), 5, NULL, NULL, NULL), STRATA_PENDING);
    int64_t number = 0;
    assert_int_equal(incr(&a, "n", 1, &number), STRATA_OK);
    assert_int_equal(number, 11);
    answer removed = {0};
    assert_int_equal(strata_counter_delete(a.session, a.ns, test_bytes("n"), NULL, told, &removed), STRATA_PENDING);
    while (removed.count < 1) strata_session_wait(a.session, 100);
    assert_int_equal(removed.status, STRATA_OK);
    assert_int_equal(removed.number, 11);
    assert_int_equal(strata_exists(a.session, a.ns, test_bytes("k"), NULL, &result, told, &got), STRATA_PENDING);
    while (got.count < 2) strata_session_wait(a.session, 100);
    assert_int_equal(got.status, STRATA_MISS);
    set_for(&a, "k", "v", 60000);
    assert_int_equal(strata_exists(a.session, a.ns, test_bytes("k"), NULL, &result, told, &got), STRATA_OK);
    assert_int_equal(strata_touch(a.session, a.ns, test_bytes("k"), NULL, &result, told, &got), STRATA_PENDING);
    while (got.count < 3) strata_session_wait(a.session, 100);
    assert_int_equal(got.status, STRATA_OK);
    int64_t ttl_ms = 0;
    strata_op_options of_l2 = {.struct_size = sizeof of_l2, .flags = STRATA_BYPASS_L1};
    assert_int_equal(strata_get_ttl(a.session, a.ns, test_bytes("k"), NULL, &ttl_ms, told, &got), STRATA_OK);
    assert_in_range(ttl_ms, 30000, 600000);
    assert_int_equal(got.count, 3); /* answered at once is not answered again */
    answer lives = {0};
    assert_int_equal(strata_get_ttl(a.session, a.ns, test_bytes("k"), &of_l2, &ttl_ms, told, &lives), STRATA_PENDING);
    while (lives.count < 1) strata_session_wait(a.session, 100);
    assert_int_equal(lives.status, STRATA_OK);
    assert_in_range(lives.ttl_ms, 30000, 600000);
    assert_int_equal(strata_get_ttl(a.session, a.ns, test_bytes("none"), NULL, &ttl_ms, told, &lives), STRATA_PENDING);
    while (lives.count < 2) strata_session_wait(a.session, 100);
    assert_int_equal(lives.status, STRATA_MISS);
    assert_int_equal(strata_get_ttl(a.session, a.ns, test_bytes("k"), NULL, NULL, told, &lives), STRATA_E_INVALID);
    /* A session that closes is told so, and nothing is left behind. */
    assert_int_equal(strata_incr(a.session, a.ns, test_bytes("n"), 1, NULL, told, &got), STRATA_PENDING);
    assert_int_equal(strata_touch(a.session, a.ns, test_bytes("k"), NULL, &result, told, &got), STRATA_PENDING);
    strata_session_close(a.session);
    assert_int_equal(got.count, 5);
    a.session = test_engine_session(a.engine);
    test_side_close(&a);
}

static void keys_that_others_write_have_none_of_it(void **state) {
    (void)state;
    test_side a = open_side("own");
    strata_result result;
    int64_t number;
    strata_error error;
    strata_foreign_options options = {.struct_size = sizeof options, .prefix = test_bytes("entries:")};
    assert_int_equal(strata_namespace_open_foreign(a.engine, "entries", &options, &a.ns, &error), STRATA_OK);
    assert_int_equal(exists(&a, "k", &result), STRATA_E_FOREIGN);
    assert_int_equal(touch(&a, "k", 1000, &result), STRATA_E_FOREIGN);
    assert_int_equal(incr(&a, "k", 1, &number), STRATA_E_FOREIGN);
    assert_int_equal(strata_counter_delete_wait(a.session, a.ns, test_bytes("k"), NULL, &number), STRATA_E_FOREIGN);
    test_side_close(&a);
}

static void without_l2_l1_is_asked(void **state) {
    (void)state;
    test_side s;
    test_side_open(&s, "n", TEST_OPTIONS("l2.mode", "none", "flow.ttl_jitter", "0"), NULL);
    strata_result result;
    int64_t number;
    assert_int_equal(exists(&s, "k", &result), STRATA_MISS);
    set_for(&s, "k", "v", 5000);
    assert_int_equal(exists(&s, "k", &result), STRATA_OK);
    assert_int_equal(touch(&s, "k", 60000, &result), STRATA_OK);
    assert_in_range(result.ttl_ms, 50000, 60000);
    assert_int_equal(touch(&s, "k", 1000, &result), STRATA_OK);
    assert_in_range(result.ttl_ms, 50000, 60000);
    assert_string_equal(test_peek(s.session, s.ns, "k"), "v");
    assert_int_equal(touch(&s, "none", 1000, &result), STRATA_MISS);
    assert_int_equal(incr(&s, "n", 1, &number), STRATA_E_UNAVAILABLE);
    assert_int_equal(strata_counter_delete_wait(s.session, s.ns, test_bytes("n"), NULL, &number), STRATA_E_UNAVAILABLE);
    test_side_close(&s);
}

int main(void) {
    if (!sx_cluster_available()) return 77;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_reader_would_find_exists), cmocka_unit_test(what_its_tags_make_invalid_does_not),
        cmocka_unit_test(a_touch_extends_and_moves_nothing), cmocka_unit_test(what_is_touched_lives),
        cmocka_unit_test(numbers_are_counted_by_all),      cmocka_unit_test(numbers_have_64_bits),
        cmocka_unit_test(a_number_has_a_window),           cmocka_unit_test(a_number_is_removed),
        cmocka_unit_test(answers_may_come_later),
        cmocka_unit_test(keys_that_others_write_have_none_of_it), cmocka_unit_test(without_l2_l1_is_asked),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
