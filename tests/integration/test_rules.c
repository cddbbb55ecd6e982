/* SPDX-License-Identifier: Apache-2.0 */
/* Dependency rules over a real cluster: what they take, what they refuse, what an event comes to, and what the log remembers. */
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
#include "tests/support/side.h"

static sx_cluster *cluster;

static int setup(void **state) {
    (void)state;
    sx_cluster_options options = {.primaries = 3, .replicas = 0};
    cluster = test_cluster_start(&options);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    sx_cluster_stop(cluster);
    return 0;
}

static test_side open_side(const char *ns, const char *rules) {
    test_side s;
    test_side_open(&s, ns, TEST_OPTIONS("l2.mode", "cluster", "l2.nodes", sx_cluster_seeds(cluster), "l2.open_wait", "10s", "flow.deadline", "5s", "invalidation.rules", rules, "invalidation.log_entries", "4"), NULL);
    return s;
}

static test_side open_alone(void) {
    test_side s;
    test_side_open(&s, "alone", TEST_OPTIONS("l2.mode", "none"), NULL);
    return s;
}

static void set_tagged(test_side *s, strata_namespace *ns, const char *key, const char *tag) {
    strata_bytes tags[] = {test_bytes(tag)};
    strata_op_options options = {.struct_size = sizeof options, .tags = tags, .tag_count = 1};
    assert_int_equal(strata_set_wait(s->session, ns, test_bytes(key), test_bytes("v"), &options, NULL), STRATA_OK);
}

/* ---- events ---- */

static void an_event_takes_with_it_what_depends_on_it(void **state) {
    (void)state;
    const char *rules = "client:{id} -> client:{id}:*, tag user_clients, client_list:{id} in lists@2; client_list:{id} in lists@2 -> report:{id}, tag t-{id}";
    test_side a = open_side("cascade", rules), b = open_side("cascade", "");
    strata_namespace *lists;
    assert_int_equal(strata_namespace_open(a.engine, "lists", 2, &lists), STRATA_OK);
    static const char *const mine[] = {"client:7", "client:7:name", "client:7:orders:1", "client:8", "client:77:name", "other"};
    for (size_t i = 0; i < sizeof mine / sizeof *mine; i++) assert_int_equal(test_set(a.session, a.ns, mine[i], "v"), STRATA_OK);
    assert_int_equal(test_set(a.session, lists, "client_list:7", "v"), STRATA_OK);
    assert_int_equal(test_set(a.session, lists, "client_list:8", "v"), STRATA_OK);
    assert_int_equal(test_set(a.session, lists, "report:7", "v"), STRATA_OK);
    set_tagged(&a, a.ns, "page", "user_clients");
    set_tagged(&a, a.ns, "page7", "t-7");
    set_tagged(&a, a.ns, "page8", "t-8");
    for (size_t i = 0; i < sizeof mine / sizeof *mine; i++) assert_string_equal(test_get(b.session, b.ns, mine[i]), "v");

    strata_cascade counts = {0};
    assert_int_equal(strata_invalidate_cascade_wait(a.session, a.ns, test_bytes("client:7"), NULL, &counts), STRATA_OK);
    assert_int_equal(counts.keys, 3); /* itself, the list, the report */
    assert_int_equal(counts.tags, 2);
    assert_int_equal(counts.patterns, 1);
    assert_int_equal(counts.found, 2);
    assert_int_equal(counts.clears + counts.failed, 0);
    for (size_t i = 0; i < sizeof mine / sizeof *mine; i++) {
        if (i < 3) assert_null(test_get(a.session, a.ns, mine[i]));
        else assert_string_equal(test_get(a.session, a.ns, mine[i]), "v");
    }
    assert_null(test_get(a.session, lists, "client_list:7"));
    assert_null(test_get(a.session, lists, "report:7"));
    assert_string_equal(test_get(a.session, lists, "client_list:8"), "v");
    assert_null(test_get(a.session, a.ns, "page"));
    assert_null(test_get(a.session, a.ns, "page7"));
    assert_string_equal(test_get(a.session, a.ns, "page8"), "v");
    test_sleep_ms(600); /* the bound */
    for (size_t i = 0; i < 3; i++) assert_null(test_get(b.session, b.ns, mine[i]));

    assert_int_equal(strata_invalidate_cascade_wait(a.session, a.ns, test_bytes("nothing"), NULL, &counts), STRATA_OK);
    assert_int_equal(counts.keys, 1);
    assert_int_equal(counts.tags + counts.patterns + counts.clears, 0);
    assert_int_equal(strata_invalidate_cascade_wait(b.session, b.ns, test_bytes("client:8"), NULL, &counts), STRATA_OK);
    assert_int_equal(counts.keys, 1); /* rules are a process's own */
    assert_int_equal(test_metric(a.engine, "invalidation.events"), 2);
    assert_int_equal(test_metric(a.engine, "invalidation.event_parts"), 7);
    test_side_close(&a);
    test_side_close(&b);
}

static void what_a_name_stands_for_is_no_pattern(void **state) {
    (void)state;
    test_side a = open_side("globs", "c:{id} -> d:{id}:*");
    static const char *const keys[] = {"d:[a*]:1", "d:a:1", "d:[ab]:1"};
    for (int i = 0; i < 3; i++) assert_int_equal(test_set(a.session, a.ns, keys[i], "v"), STRATA_OK);
    strata_cascade counts;
    assert_int_equal(strata_invalidate_cascade_wait(a.session, a.ns, test_bytes("c:[a*]"), NULL, &counts), STRATA_OK);
    assert_int_equal(counts.found, 1);
    assert_null(test_get(a.session, a.ns, keys[0]));
    for (int i = 1; i < 3; i++) assert_string_equal(test_get(a.session, a.ns, keys[i]), "v");
    test_side_close(&a);
}

static void rules_are_replaced_while_running(void **state) {
    (void)state;
    test_side a = open_alone();
    strata_cascade counts;
    strata_namespace *cleared = test_engine_ns(a.engine, "cleared");
    assert_int_equal(strata_rules_set(a.engine, "a:{x} -> b:{x}, c:{x}, b:{x}; b:{x} -> c:{x}, clear cleared", NULL), STRATA_OK);
    assert_int_equal(test_set(a.session, cleared, "k", "v"), STRATA_OK);
    assert_int_equal(test_set(a.session, a.ns, "c:1", "v"), STRATA_OK);
    assert_int_equal(strata_invalidate_cascade_wait(a.session, a.ns, test_bytes("a:1"), NULL, &counts), STRATA_OK);
    assert_int_equal(counts.keys, 3); /* nothing twice */
    assert_int_equal(counts.clears, 1);
    assert_null(test_peek(a.session, cleared, "k"));
    assert_null(test_peek(a.session, a.ns, "c:1"));
    assert_int_equal(strata_rules_set(a.engine, "a:{x} -> nowhere", NULL), STRATA_OK);
    assert_int_equal(strata_invalidate_cascade_wait(a.session, a.ns, test_bytes("a:1"), NULL, &counts), STRATA_OK);
    assert_int_equal(counts.keys, 2);
    assert_int_equal(strata_rules_set(a.engine, "", NULL), STRATA_OK);
    assert_int_equal(strata_invalidate_cascade_wait(a.session, a.ns, test_bytes("a:1"), NULL, &counts), STRATA_OK);
    assert_int_equal(counts.keys, 1);
    test_side_close(&a);
}

/* How many parts a rule makes of a key. */
static uint32_t parts_of(test_side *a, const char *rules, const char *key) {
    strata_cascade counts;
    strata_error error = {0};
    if (strata_rules_set(a->engine, rules, &error) != STRATA_OK) fail_msg("%s", error.text);
    assert_int_equal(strata_invalidate_cascade_wait(a->session, a->ns, test_bytes(key), NULL, &counts), STRATA_OK);
    return counts.keys;
}

static void a_source_matches_whole_keys(void **state) {
    (void)state;
    test_side a = open_alone();
    assert_int_equal(parts_of(&a, "a:{x} -> z", "a:1"), 2);
    assert_int_equal(parts_of(&a, "a:{x} -> z", "a:"), 1);
    assert_int_equal(parts_of(&a, "a:{x} -> z", "a:1:2"), 1);
    assert_int_equal(parts_of(&a, "a:{x} -> z", "ba:1"), 1);
    assert_int_equal(parts_of(&a, "a:{x}:b -> z", "a:1:b"), 2);
    assert_int_equal(parts_of(&a, "a:{x}:b -> z", "a:1:bb"), 1);
    assert_int_equal(parts_of(&a, "a:{x}-{y} -> t:{y}:{x}", "a:1-2-3"), 2);
    test_side_close(&a);
}

/* ---- what is refused ---- */

static void refused(test_side *a, const char *rules, const char *word) {
    strata_error error = {0};
    assert_int_equal(strata_rules_set(a->engine, rules, &error), STRATA_E_CONFIG);
    if (strstr(error.text, word) == NULL) fail_msg("%s: \"%s\" says no word of %s", rules, error.text, word);
    strata_cascade counts;
    assert_int_equal(strata_invalidate_cascade_wait(a->session, a->ns, test_bytes("keep:1"), NULL, &counts), STRATA_OK);
    assert_int_equal(counts.keys, 2); /* the rules of before */
}

static void what_is_wrong_is_refused_with_its_reason(void **state) {
    (void)state;
    test_side a = open_alone();
    assert_int_equal(strata_rules_set(a.engine, "keep:{x} -> kept:{x}", NULL), STRATA_OK);
    refused(&a, "a", "'->'");
    refused(&a, "a -> ", "expected a text");
    refused(&a, "a -> b c", "expected ','");
    refused(&a, "a -> b; c => d", "rule 2");
    refused(&a, "a{x -> b", "in braces");
    refused(&a, "a{X} -> b", "in braces");
    refused(&a, "a} -> b", "without '{'");
    refused(&a, "a{x} -> b{y}", "{y} is not");
    refused(&a, "a{x}:{x} -> b", "twice");
    refused(&a, "a{x}{y} -> b", "nothing between");
    refused(&a, "a* -> b", "'*' is for");
    refused(&a, "a -> tag b*", "'*' is for");
    refused(&a, "a -> b\\", "behind '\\'");
    refused(&a, "a in n@x -> b", "version");
    refused(&a, "a in n@4294967296 -> b", "version");
    refused(&a, "a -> clear n!", "no name of a namespace");
    refused(&a, "a:{x} -> a:{x}", "circle");
    refused(&a, "a:{x} -> b:{x}; b:{y} -> c:{y}; c:{z} -> a:{z}", "circle");
    refused(&a, "a:{x} -> a{x}:1; a{x}:1 -> a:{x}", "circle");
    refused(&a, "a:{x} -> b:{x} in other; b:{x} in other -> a:{x} in third; a:{x} in third -> b:9 in other", "circle");
    refused(&a, "k1 -> k2; k2 -> k3; k3 -> k4; k4 -> k5; k5 -> k6; k6 -> k7; k7 -> k8; k8 -> k9; k9 -> k10", "more than 8 rules");
    static char many[8000];
    for (int i = 0; i < 65; i++) snprintf(many + strlen(many), sizeof many - strlen(many), "s%d -> t%d;", i, i);
    refused(&a, many, "more than 64 rules");
    memset(many, 'x', 5000);
    refused(&a, many, "4096");
    /* Near circles that are none. */
    assert_int_equal(strata_rules_set(a.engine, "a:{x} -> b:{x} in other; b:{x} in third -> a:{x}; c:{x} -> c:{x}:1, c:*; k -> k\\*", NULL), STRATA_OK);
    assert_int_equal(strata_rules_set(a.engine, "k1 -> k2; k2 -> k3; k3 -> k4; k4 -> k5; k5 -> k6; k6 -> k7; k7 -> k8; k8 -> k9", NULL), STRATA_OK);
    assert_int_equal(strata_rules_set(a.engine, NULL, NULL), STRATA_E_INVALID);
    test_side_close(&a);
    strata *engine = NULL;
    strata_error error = {0};
    assert_int_equal(test_engine_try(TEST_OPTIONS("l2.mode", "none", "invalidation.rules", "x -> x"), NULL, &engine, &error), STRATA_E_CONFIG);
    assert_non_null(strstr(error.text, "circle"));
}

static void what_is_too_much_is_refused(void **state) {
    (void)state;
    test_side a = open_alone();
    static char key[4000], rules[4000];
    memset(key, 'k', sizeof key - 1);
    assert_int_equal(strata_rules_set(a.engine, "{x} -> tag {x}", NULL), STRATA_OK);
    strata_cascade counts = {.keys = 99};
    assert_int_equal(strata_invalidate_cascade_wait(a.session, a.ns, test_bytes(key), NULL, &counts), STRATA_E_KEY_SIZE);
    assert_int_equal(counts.keys, 99);
    assert_int_equal(strata_rules_set(a.engine, "{x} -> y:{x}{x}", NULL), STRATA_OK);
    assert_int_equal(strata_invalidate_cascade_wait(a.session, a.ns, test_bytes(key), NULL, NULL), STRATA_E_KEY_SIZE);
    /* Each of 32 keys has 32 more, and some. */
    for (int i = 0; i < 34; i++) snprintf(rules + strlen(rules), sizeof rules - strlen(rules), "%sb:%d", i == 0 ? "a -> " : ",", i);
    for (int i = 0; i < 34; i++) snprintf(rules + strlen(rules), sizeof rules - strlen(rules), "%s%d:{x}", i == 0 ? "; b:{x} -> " : ",", i);
    assert_int_equal(strata_rules_set(a.engine, rules, NULL), STRATA_OK);
    assert_int_equal(strata_invalidate_cascade_wait(a.session, a.ns, test_bytes("a"), NULL, NULL), STRATA_E_OVERLOADED);
    strata_cascade_options options = {.struct_size = sizeof options, .actor = key};
    assert_int_equal(strata_invalidate_cascade_wait(a.session, a.ns, test_bytes("a"), &options, NULL), STRATA_E_INVALID);
    test_side_close(&a);
}

/* ---- the log ---- */

static void the_log_remembers_the_last_events(void **state) {
    (void)state;
    test_side a = open_side("log", "k:{x} -> l:{x}, tag t");
    strata_event_entry entries[10];
    size_t read = 99;
    assert_int_equal(strata_event_log_read(a.engine, 0, entries, 10, &read), STRATA_OK);
    assert_int_equal(read, 0);
    strata_cascade_options options = {.struct_size = sizeof options, .actor = "import job"};
    char key[16];
    for (int i = 1; i <= 6; i++) {
        snprintf(key, sizeof key, "k:%d", i);
        assert_int_equal(strata_invalidate_cascade_wait(a.session, a.ns, test_bytes(key), i == 6 ? &options : NULL, NULL), STRATA_OK);
    }
    assert_int_equal(strata_event_log_read(a.engine, 0, entries, 10, &read), STRATA_OK);
    assert_int_equal(read, 4); /* as many as are kept */
    for (size_t i = 0; i < read; i++) {
        assert_int_equal(entries[i].number, 3 + i);
        snprintf(key, sizeof key, "k:%d", (int)(3 + i));
        assert_string_equal(entries[i].key, key);
        assert_int_equal(entries[i].key_size, 3);
        assert_string_equal(entries[i].namespace_name, "log");
        assert_int_equal(entries[i].status, STRATA_OK);
        assert_int_equal(entries[i].counts.keys, 2);
        assert_int_equal(entries[i].counts.tags, 1);
        assert_true(entries[i].took_us > 0 && entries[i].ended_ms > 1700000000000);
    }
    assert_string_equal(entries[3].actor, "import job");
    assert_string_equal(entries[2].actor, "");
    assert_int_equal(strata_event_log_read(a.engine, 5, entries, 10, &read), STRATA_OK);
    assert_int_equal(read, 1);
    assert_int_equal(entries[0].number, 6);
    assert_int_equal(strata_event_log_read(a.engine, 0, entries, 2, &read), STRATA_OK);
    assert_int_equal(read, 2);
    assert_int_equal(entries[0].number, 3);
    assert_int_equal(strata_event_log_read(a.engine, 6, entries, 10, &read), STRATA_OK);
    assert_int_equal(read, 0);
    test_side_close(&a);
}

/* ---- ends ---- */

static void count_answer(void *user, const strata_result *result) {
    int32_t *told = user;
    told[0]++;
    told[1] = result->status;
}

static void who_waits_is_told_once_however_it_ends(void **state) {
    (void)state;
    test_side a = open_side("ends", "k:{x} -> l:{x}, m:{x}:*, tag t, clear ends2");
    int32_t told[2] = {0};
    strata_cascade counts = {0};
    assert_int_equal(strata_invalidate_cascade(a.session, a.ns, test_bytes("k:1"), NULL, &counts, count_answer, told), STRATA_PENDING);
    for (int i = 0; i < 600 && told[0] == 0; i++) (void)strata_session_wait(a.session, 50);
    assert_int_equal(told[0], 1);
    assert_int_equal(told[1], STRATA_OK);
    assert_int_equal(counts.keys + counts.patterns + counts.tags + counts.clears, 5);
    assert_int_equal(strata_invalidate_cascade(a.session, a.ns, test_bytes("k:2"), NULL, &counts, count_answer, told), STRATA_PENDING);
    assert_int_equal(strata_invalidate_cascade(a.session, a.ns, test_bytes("k:3"), NULL, NULL, NULL, NULL), STRATA_PENDING);
    strata_session_close(a.session);
    assert_int_equal(told[0], 2);
    a.session = test_engine_session(a.engine);
    assert_true(test_metric_wait(a.engine, "invalidation.events", 3, 30000)); /* what was begun goes on */
    assert_int_equal(strata_invalidate_cascade(a.session, a.ns, test_bytes("k:4"), NULL, &counts, count_answer, told), STRATA_PENDING);
    (void)strata_close(a.engine, 0);
    strata_session_close(a.session);
    assert_int_equal(told[0], 3);
}

static void a_foreign_namespace_has_no_patterns(void **state) {
    (void)state;
    test_side a = open_side("foreign_rules", "c:{x} -> c:{x}:*; d:{x} -> clear plain; e:{x} -> f:{x}");
    strata_foreign_options options = {.struct_size = sizeof options, .prefix = test_bytes("fr:")};
    strata_namespace *foreign;
    strata_cascade counts = {0};
    assert_int_equal(strata_namespace_open_foreign(a.engine, "fr", &options, &foreign, NULL), STRATA_OK);
    assert_int_equal(strata_invalidate_cascade_wait(a.session, foreign, test_bytes("c:1"), NULL, &counts), STRATA_E_FOREIGN);
    assert_int_equal(strata_invalidate_cascade_wait(a.session, foreign, test_bytes("d:1"), NULL, &counts), STRATA_OK);
    assert_int_equal(strata_invalidate_cascade_wait(a.session, foreign, test_bytes("e:1"), NULL, &counts), STRATA_OK);
    assert_int_equal(counts.keys, 2);
    test_side_close(&a);
}

static void patterns_go_one_after_the_other(void **state) {
    (void)state;
    test_side a = open_side("turns", "k:{x} -> a:{x}:*, b:{x}:*, c:{x}:*, d:{x}:*");
    static const char *const mine[] = {"a:1:x", "b:1:x", "c:1:x", "d:1:x"};
    for (size_t i = 0; i < 4; i++) assert_int_equal(test_set(a.session, a.ns, mine[i], "v"), STRATA_OK);
    strata_cascade counts = {0};
    int32_t told[2] = {0};
    assert_int_equal(strata_invalidate_cascade(a.session, a.ns, test_bytes("k:1"), NULL, &counts, count_answer, told), STRATA_PENDING);
    int64_t most = 0;
    while (told[0] == 0) {
        int64_t now = test_metric(a.engine, "invalidation.sweeps");
        if (now > most) most = now;
        (void)strata_session_dispatch(a.session, 1);
    }
    assert_int_equal(told[1], STRATA_OK);
    assert_int_equal(counts.found, 4);
    assert_int_equal(most, 1);
    test_side_close(&a);
}

int main(void) {
    if (!sx_cluster_available()) return 77;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_event_takes_with_it_what_depends_on_it),
        cmocka_unit_test(what_a_name_stands_for_is_no_pattern),
        cmocka_unit_test(rules_are_replaced_while_running),
        cmocka_unit_test(a_source_matches_whole_keys),
        cmocka_unit_test(what_is_wrong_is_refused_with_its_reason),
        cmocka_unit_test(what_is_too_much_is_refused),
        cmocka_unit_test(the_log_remembers_the_last_events),
        cmocka_unit_test(who_waits_is_told_once_however_it_ends),
        cmocka_unit_test(a_foreign_namespace_has_no_patterns),
        cmocka_unit_test(patterns_go_one_after_the_other),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
