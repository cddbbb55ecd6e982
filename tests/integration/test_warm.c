/* SPDX-License-Identifier: Apache-2.0 */
/* Warming over a real cluster: named keys, what matches a pattern, and the hot set of a process that ran before. */
// ctest: timeout=600
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/support/cluster.h"
#include "tests/support/engine.h"
#include "tests/support/side.h"

static sx_cluster *cluster;
static char folder[] = "/tmp/strata-warm-XXXXXX";
static char path[64];

static int setup(void **state) {
    (void)state;
    sx_cluster_options options = {.primaries = 3, .replicas = 0};
    cluster = test_cluster_start(&options);
    if (mkdtemp(folder) == NULL) return -1;
    snprintf(path, sizeof path, "%s/hot", folder);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    sx_cluster_stop(cluster);
    (void)unlink(path);
    return rmdir(folder);
}

static test_side open_side(const char *ns, const char *l1_bytes) {
    test_side s;
    test_side_open(&s, ns, TEST_OPTIONS("l2.mode", "cluster", "l2.nodes", sx_cluster_seeds(cluster), "l2.open_wait", "10s", "l1.bytes", l1_bytes, "warm.snapshot_path", path, "warm.snapshot_every", "1h"), NULL);
    return s;
}

static int count_in_l1(test_side *s, const char *word, int count) {
    int there = 0;
    char key[32];
    for (int i = 0; i < count; i++) {
        snprintf(key, sizeof key, "%s:%d", word, i);
        there += test_peek(s->session, s->ns, key) != NULL;
    }
    return there;
}

/* A machine that is busy may be late with a heartbeat: then L1 shows nothing for a moment. */
static void l1_has(test_side *s, const char *word, int count, int expected) {
    int there = -1;
    for (int64_t until_ms = test_now_ms() + 10000; there != expected && test_now_ms() < until_ms; test_sleep_ms(there == expected ? 0 : 20))
        there = count_in_l1(s, word, count);
    assert_int_equal(there, expected);
}

static strata_warm_progress end_of(strata_warm *warm, int32_t status) {
    strata_warm_progress progress;
    assert_int_equal(strata_warm_wait(warm, 60000, &progress), status);
    strata_warm_close(warm);
    return progress;
}

/* ---- a snapshot ---- */

/* What a process had in L1 its successor has again, as it is now and not as it was. */
static void a_successor_begins_warm_and_fresh(void **state) {
    (void)state;
    enum { KEYS = 5000 };
    test_side before = open_side("warm", "64MiB");
    test_side_set_many(&before, "key", "old", KEYS);
    strata_namespace *gone = test_engine_ns(before.engine, "warm.gone");
    assert_int_equal(test_set(before.session, gone, "k", "v"), STRATA_OK);
    uint64_t written = 0;
    assert_int_equal(strata_snapshot_write(before.engine, NULL, 0, &written, NULL), STRATA_OK);
    assert_int_equal(written, KEYS + 1);
    assert_int_equal(test_set(before.session, before.ns, "key:7", "new"), STRATA_OK);
    assert_int_equal(strata_invalidate_wait(before.session, before.ns, test_bytes("key:8"), NULL), STRATA_OK);
    test_side_close(&before);

    test_side after = open_side("warm", "64MiB");
    assert_int_equal(count_in_l1(&after, "key", KEYS), 0);
    int64_t gets = test_metric(after.engine, "flow.gets"), misses = test_metric(after.engine, "l1.misses");
    strata_warm *warm;
    assert_int_equal(strata_warm_snapshot(after.engine, NULL, NULL, &warm, NULL), STRATA_OK);
    strata_warm_progress progress = end_of(warm, STRATA_OK);
    assert_int_equal(progress.keys, KEYS + 1);
    assert_int_equal(progress.asked, KEYS);
    assert_int_equal(progress.warmed, KEYS - 1);
    assert_int_equal(progress.absent, 1);
    assert_int_equal(progress.skipped, 1);
    assert_int_equal(progress.failed + progress.full, 0);
    assert_int_equal(test_metric(after.engine, "flow.gets"), gets); /* warming's reads are not the program's */
    assert_int_equal(test_metric(after.engine, "l1.misses"), misses);
    /* What was read while a late heartbeat left its freshness unproven is not in L1. */
    for (int i = 0; i < 5 && test_metric(after.engine, "l1.entries") < KEYS - 1; i++) {
        assert_true(test_metric(after.engine, "flow.fills_refused") > 0);
        test_engine_await_trust(after.engine, 20000);
        assert_int_equal(strata_warm_snapshot(after.engine, NULL, NULL, &warm, NULL), STRATA_OK);
        assert_int_equal(end_of(warm, STRATA_OK).warmed, KEYS - 1);
    }
    l1_has(&after, "key", KEYS, KEYS - 1);
    assert_string_equal(test_get(after.session, after.ns, "key:7"), "new");
    assert_null(test_peek(after.session, after.ns, "key:8"));
    assert_true(test_metric(after.engine, "warm.warmed") >= KEYS - 1);
    assert_int_equal(test_metric(after.engine, "warm.running"), 0);
    assert_true(test_metric(after.engine, "l2.grouped") > 0);
    test_side_close(&after);
}

/* STRATA_TEST_WARM_KEYS=1000000 measures what docs/performance.md says. */
static void many_are_warm_in_time(void **state) {
    (void)state;
    const char *text = getenv("STRATA_TEST_WARM_KEYS");
    int keys = text == NULL ? 50000 : atoi(text);
    test_side before = open_side("many", "1GiB");
    test_side_set_many(&before, "key", "old", keys);
    int64_t began_ms = test_now_ms();
    uint64_t written = 0;
    assert_int_equal(strata_snapshot_write(before.engine, NULL, 10000000, &written, NULL), STRATA_OK);
    int64_t wrote_ms = test_now_ms() - began_ms;
    test_side_close(&before);
    test_side after = open_side("many", "1GiB");
    strata_warm_options options = {.struct_size = sizeof options, .keys_max = 10000000, .priority = STRATA_WARM_HIGH};
    strata_warm *warm;
    began_ms = test_now_ms();
    assert_int_equal(strata_warm_snapshot(after.engine, NULL, &options, &warm, NULL), STRATA_OK);
    strata_warm_progress progress = end_of(warm, STRATA_OK);
    int64_t warmed_ms = test_now_ms() - began_ms;
    print_message("%d keys: written in %lld ms, warm in %lld ms\n", keys, (long long)wrote_ms, (long long)warmed_ms);
    assert_int_equal(progress.asked, written);
    assert_true(warmed_ms < 60000);
    test_side_close(&after);
}

/* What was hot once does not displace what is there: it ends where L1 is full. */
static void a_full_l1_ends_it(void **state) {
    (void)state;
    enum { KEYS = 30000 };
    test_side before = open_side("full", "64MiB");
    test_side_set_many(&before, "key", "old", KEYS);
    assert_int_equal(strata_snapshot_write(before.engine, NULL, 0, NULL, NULL), STRATA_OK);
    test_side_close(&before);
    test_side after = open_side("full", "1MiB");
    strata_warm *warm;
    assert_int_equal(strata_warm_snapshot(after.engine, NULL, NULL, &warm, NULL), STRATA_OK);
    strata_warm_progress progress = end_of(warm, STRATA_OK);
    assert_int_equal(progress.full, 1);
    assert_in_range(progress.asked, 1000, KEYS - 1);
    test_side_close(&after);
}

/* ---- a pattern ---- */

static void what_matches_is_warmed(void **state) {
    (void)state;
    enum { KEYS = 3000 };
    test_side writer = open_side("pattern", "64MiB");
    test_side_set_many(&writer, "user", "old", KEYS);
    test_side_set_many(&writer, "order", "old", 100);
    test_side reader = open_side("pattern", "64MiB");
    strata_warm *warm;
    strata_warm_options options = {.struct_size = sizeof options, .priority = STRATA_WARM_HIGH};
    assert_int_equal(strata_warm_pattern(reader.ns, test_bytes("user:*"), &options, &warm), STRATA_OK);
    strata_warm_progress progress = end_of(warm, STRATA_OK);
    assert_int_equal(progress.keys, KEYS);
    assert_int_equal(progress.warmed, KEYS);
    for (int i = 0; i < 5 && test_metric(reader.engine, "l1.entries") < KEYS; i++) { /* as above: read while nothing could be proven */
        assert_true(test_metric(reader.engine, "flow.fills_refused") > 0);
        test_engine_await_trust(reader.engine, 30000);
        assert_int_equal(strata_warm_pattern(reader.ns, test_bytes("user:*"), &options, &warm), STRATA_OK);
        assert_int_equal(end_of(warm, STRATA_OK).warmed, KEYS);
    }
    l1_has(&reader, "user", KEYS, KEYS);
    l1_has(&reader, "order", 100, 0);
    l1_has(&writer, "user", KEYS, KEYS); /* nobody's are touched */
    test_side_close(&reader);
    reader = open_side("pattern", "64MiB");
    options = (strata_warm_options){.struct_size = sizeof options, .keys_max = 500};
    assert_int_equal(strata_warm_pattern(reader.ns, test_bytes("*"), &options, &warm), STRATA_OK);
    progress = end_of(warm, STRATA_OK);
    assert_int_equal(progress.keys, 500);
    assert_int_equal(progress.warmed, 500);
    assert_int_equal(test_metric(reader.engine, "l1.entries"), 500);
    assert_int_equal(strata_warm_pattern(reader.ns, test_bytes("nobody*"), NULL, &warm), STRATA_OK);
    progress = end_of(warm, STRATA_OK);
    assert_int_equal(progress.keys, 0);
    test_side_close(&reader);
    test_side_close(&writer);
}

/* ---- named keys ---- */

static void answer(strata_load *load, void *user) {
    atomic_fetch_add((atomic_int *)user, 1);
    strata_bytes key = strata_load_key(load);
    if (key.size > 5) (void)strata_load_finish(load, STRATA_MISS, test_bytes(""), NULL);
    else (void)strata_load_finish(load, STRATA_OK, test_bytes("loaded"), NULL);
}

static void what_l2_lacks_is_loaded(void **state) {
    (void)state;
    test_side a = open_side("loaded", "64MiB");
    static atomic_int loads;
    strata_bytes keys[] = {test_bytes("one"), test_bytes("two"), test_bytes("three"), test_bytes("nothing")};
    assert_int_equal(test_set(a.session, a.ns, "two", "set"), STRATA_OK);
    strata_warm_options options = {.struct_size = sizeof options, .loader = answer, .loader_user = &loads};
    strata_warm *warm;
    assert_int_equal(strata_warm_keys(a.ns, keys, 4, &options, &warm), STRATA_OK);
    strata_warm_progress progress = end_of(warm, STRATA_OK);
    assert_int_equal(progress.warmed, 3);
    assert_int_equal(progress.absent, 1);
    assert_int_equal(atomic_load(&loads), 3);
    assert_string_equal(test_get(a.session, a.ns, "one"), "loaded");
    assert_string_equal(test_get(a.session, a.ns, "two"), "set");
    assert_int_equal(test_metric(a.engine, "l1.entries"), 3);
    assert_int_equal(strata_warm_keys(a.ns, keys, 3, NULL, &warm), STRATA_OK); /* all there: asked of nobody */
    assert_int_equal(end_of(warm, STRATA_OK).warmed, 3);
    test_side_close(&a);
}

static int32_t stop_at(void *user, const strata_warm_progress *progress) { return progress->asked >= *(uint64_t *)user; }

typedef struct list {
    strata_bytes keys[3000];
    char text[3000][16];
} list;

static list *make_list(void) {
    list *l = malloc(sizeof *l);
    for (int i = 0; i < 3000; i++) {
        int size = snprintf(l->text[i], sizeof l->text[i], "key:%d", i);
        l->keys[i] = (strata_bytes){l->text[i], (size_t)size};
    }
    return l;
}

static void its_rate_is_kept_and_it_can_be_ended(void **state) {
    (void)state;
    test_side a = open_side("rate", "64MiB");
    list *l = make_list();
    strata_warm *warm;
    strata_warm_options options = {.struct_size = sizeof options, .keys_per_s = 1000};
    int64_t began_ms = test_now_ms();
    assert_int_equal(strata_warm_keys(a.ns, l->keys, 1000, &options, &warm), STRATA_OK);
    assert_int_equal(strata_warm_wait(warm, 0, NULL), STRATA_PENDING);
    assert_int_equal(test_metric(a.engine, "warm.running"), 1);
    assert_int_equal(end_of(warm, STRATA_OK).absent, 1000);
    assert_true(test_now_ms() - began_ms >= 900);

    uint64_t enough = 200;
    options.progress = stop_at;
    options.progress_user = &enough;
    assert_int_equal(strata_warm_keys(a.ns, l->keys, 3000, &options, &warm), STRATA_OK);
    assert_in_range(end_of(warm, STRATA_E_CANCELLED).asked, 200, 1500);

    options = (strata_warm_options){.struct_size = sizeof options, .keys_per_s = 10};
    assert_int_equal(strata_warm_keys(a.ns, l->keys, 3000, &options, &warm), STRATA_OK);
    strata_warm_cancel(warm);
    assert_true(end_of(warm, STRATA_E_CANCELLED).asked < 100);
    assert_int_equal(strata_warm_keys(a.ns, l->keys, 3000, &options, &warm), STRATA_OK);
    began_ms = test_now_ms();
    strata_warm_close(warm); /* one that goes on */
    assert_true(test_now_ms() - began_ms < 30000);
    free(l);
    test_side_close(&a);
}

static void an_engine_that_closes_ends_it(void **state) {
    (void)state;
    test_side a = open_side("closing", "64MiB");
    test_side_set_many(&a, "key", "old", 3000);
    list *l = make_list();
    strata_warm *slow, *fast, *scan;
    strata_warm_options options = {.struct_size = sizeof options, .keys_per_s = 10};
    assert_int_equal(strata_warm_keys(a.ns, l->keys, 3000, &options, &slow), STRATA_OK);
    assert_int_equal(strata_warm_keys(a.ns, l->keys, 3000, NULL, &fast), STRATA_OK);
    assert_int_equal(strata_warm_pattern(a.ns, test_bytes("*"), NULL, &scan), STRATA_OK);
    strata_session_close(a.session);
    assert_int_equal(strata_close(a.engine, 5000), STRATA_OK);
    assert_int_equal(strata_warm_wait(slow, 0, NULL), STRATA_E_CLOSED);
    int32_t status = strata_warm_wait(fast, 0, NULL);
    assert_true(status == STRATA_OK || status == STRATA_E_CLOSED);
    strata_warm_close(slow);
    strata_warm_close(fast);
    strata_warm_close(scan);
    free(l);
}

static void what_is_wrong_is_refused(void **state) {
    (void)state;
    test_side a = open_side("wrong", "64MiB");
    strata_warm *warm = NULL;
    strata_bytes key = test_bytes("key"), empty = {"", 0};
    strata_warm_options options = {.struct_size = sizeof options, .priority = 3};
    assert_int_equal(strata_warm_keys(a.ns, &key, 1, &options, &warm), STRATA_E_INVALID);
    assert_int_equal(strata_warm_keys(a.ns, &key, 0, NULL, &warm), STRATA_E_INVALID);
    assert_int_equal(strata_warm_keys(a.ns, &empty, 1, NULL, &warm), STRATA_E_KEY_SIZE);
    assert_int_equal(strata_warm_pattern(a.ns, empty, NULL, &warm), STRATA_E_INVALID);
    options = (strata_warm_options){.struct_size = 0};
    assert_int_equal(strata_warm_keys(a.ns, &key, 1, &options, &warm), STRATA_E_INVALID);
    strata *none = test_engine_open(TEST_OPTIONS("l2.mode", "none", "l1.enabled", "false"), NULL);
    assert_int_equal(strata_warm_keys(test_engine_ns(none, "n"), &key, 1, NULL, &warm), STRATA_E_INVALID);
    assert_int_equal(strata_close(none, 0), STRATA_OK);
    assert_null(warm);
    test_side_close(&a);
}

/* An L2 that is away is not asked a million times in a moment: it is waited for, then given up. */
static void an_l2_that_is_away_is_given_up(void **state) {
    (void)state;
    strata *engine = test_engine_open(TEST_OPTIONS("l2.nodes", "127.0.0.1:1", "l2.mode", "cluster", "l2.open_wait", "1ms"),
                                      &(strata_open_options){.log = NULL});
    strata_namespace *ns = test_engine_ns(engine, "away");
    list *l = make_list();
    strata_warm *warm;
    strata_warm_options options = {.struct_size = sizeof options, .priority = STRATA_WARM_LOW, .keys_per_s = 200, .deadline_ms = 200};
    assert_int_equal(strata_warm_keys(ns, l->keys, 3000, &options, &warm), STRATA_OK);
    strata_warm_progress progress = end_of(warm, STRATA_E_UNAVAILABLE);
    assert_true(progress.failed > 0 && progress.asked < 3000);
    assert_int_equal(strata_close(engine, 1000), STRATA_OK);
    free(l);
}

int main(void) {
    if (!sx_cluster_available()) return 77;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_successor_begins_warm_and_fresh), cmocka_unit_test(a_full_l1_ends_it),
        cmocka_unit_test(many_are_warm_in_time),
        cmocka_unit_test(what_matches_is_warmed),            cmocka_unit_test(what_l2_lacks_is_loaded),
        cmocka_unit_test(its_rate_is_kept_and_it_can_be_ended), cmocka_unit_test(an_engine_that_closes_ends_it),
        cmocka_unit_test(what_is_wrong_is_refused),          cmocka_unit_test(an_l2_that_is_away_is_given_up),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
