/* SPDX-License-Identifier: Apache-2.0 */
/* Foreign namespaces on a real cluster: keys that plain clients write, how soon L1 stops answering what they were, and what
   this process writes itself. */
// ctest: timeout=300 serial
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "tests/integration/foreign.h"

/* ---- changes ---- */

typedef struct writes {
    _Atomic int stop;
    _Atomic int64_t acked, acked_ms; /* the newest value whose write was answered, and when */
} writes;

static void *write_all(void *argument) {
    writes *w = argument;
    test_talk *talk = talk_to_owner("hot");
    char value[24];
    for (int64_t i = 1; !atomic_load(&w->stop); i++) {
        snprintf(value, sizeof value, "%lld", (long long)i);
        say(talk, "SET " PREFIX "%s %s", "hot", value);
        atomic_store(&w->acked_ms, test_now_ms());
        atomic_store(&w->acked, i);
        test_sleep_ms((uint32_t)(i % 4));
    }
    test_talk_close(talk);
    return NULL;
}

/* Every answer of L1, and none of it too old. False where tracking was lost meanwhile, as it is where the machine stands still. */
static bool watch_plain_writes(void) {
    side sides[2] = {open_side(3), open_side(3)};
    writes w = {0};
    pthread_t thread;
    write_plain("hot", "0");
    pthread_create(&thread, NULL, write_all, &w);
    int64_t end_ms = test_now_ms() + 2000, worst_ms = 0, hits = 0, newest[2] = {0, 0}, lost = 0;
    while (test_now_ms() < end_ms) {
        for (int i = 0; i < 2; i++) {
            int64_t acked = atomic_load(&w.acked), late_ms = test_now_ms() - atomic_load(&w.acked_ms);
            const char *seen = test_peek(sides[i].session, sides[i].ns, "hot");
            hits += seen != NULL ? 1 : 0;
            if (seen != NULL && atoll(seen) < acked && late_ms > worst_ms) worst_ms = late_ms;
            if (seen == NULL) seen = test_get(sides[i].session, sides[i].ns, "hot");
            if (atoll(seen) < newest[i]) fail_msg("%s after %lld", seen, (long long)newest[i]); /* never back */
            newest[i] = atoll(seen);
        }
    }
    atomic_store(&w.stop, 1);
    pthread_join(thread, NULL);
    print_message("%lld answers by L1, %lld writes; an old one at most %lld ms after the write\n", (long long)hits,
                  (long long)w.acked, (long long)worst_ms);
    assert_true(hits > 100 && w.acked > 100);
    assert_true(worst_ms <= STALENESS_MS + SLACK_MS);
    for (int i = 0; i < 2; i++) {
        assert_true(test_metric(sides[i].engine, "foreign.keys") > 100);
        lost += test_metric(sides[i].engine, "foreign.lost");
        close_side(&sides[i]);
    }
    return lost == 0;
}

static void plain_writes_are_seen_within_the_bound(void **state) {
    (void)state;
    bool kept = false;
    for (int i = 0; i < 6 && !kept; i++) kept = watch_plain_writes();
    assert_true(kept);
}

static void every_kind_of_change_counts(void **state) {
    (void)state;
    static const char *const changes[] = {"SET " PREFIX "x new", "DEL " PREFIX "x", "APPEND " PREFIX "x more",
                                          "PEXPIRE " PREFIX "x 60000"};
    side s = open_side(3);
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        write_plain("x", "old");
        hold(&s, "x", "old");
        test_talk *talk = talk_to_owner("x");
        int64_t messages = test_metric(s.engine, "foreign.messages");
        say(talk, "%s", changes[i]);
        assert_true(test_metric_wait(s.engine, "foreign.messages", messages + 1, 30000));
        for (int64_t until_ms = test_now_ms() + 2000; test_peek(s.session, s.ns, "x") != NULL;) { /* counted, then applied */
            assert_true(test_now_ms() < until_ms);
            sched_yield();
        }
        test_talk_close(talk);
    }
    close_side(&s);
}

static void what_happens_is_told(void **state) {
    (void)state;
    side s = open_side(3);
    assert_int_equal(strata_events_watch(s.engine, STRATA_EVENTS_ALL, 4096), STRATA_OK);
    write_plain("told", "v");
    hold(&s, "told", "v");
    assert_int_equal(test_set(s.session, s.ns, "told", "w"), STRATA_OK);
    static strata_event events[4096];
    uint64_t hash;
    size_t count;
    int kinds[STRATA_EVENT_KINDS] = {0};
    assert_int_equal(strata_event_key(s.ns, test_bytes("told"), &hash), STRATA_OK);
    assert_int_equal(strata_events_drain(s.engine, events, 4096, &count, NULL), STRATA_OK);
    for (size_t i = 0; i < count; i++) kinds[events[i].kind] += events[i].ns == s.ns && events[i].key_hash == hash;
    assert_in_range(kinds[STRATA_EVENT_MISS], 1, 4096);
    assert_in_range(kinds[STRATA_EVENT_HIT], 1, 4096);
    assert_in_range(kinds[STRATA_EVENT_L2], 1, 4096);
    assert_int_equal(kinds[STRATA_EVENT_SET], 1);
    close_side(&s);
}

/* The time to live is Redis's, and nothing longer. */
static void a_value_ends_when_redis_says(void **state) {
    (void)state;
    side s = open_side(3);
    test_talk *talk = talk_to_owner("brief");
    say(talk, "DEBUG SET-ACTIVE-EXPIRE 0"); /* else its invalidation would do */
    say(talk, "SET " PREFIX "%s %s PX 1500", "brief", "v");
    int64_t set_ms = test_now_ms(), seen_ms = set_ms, asked_ms = set_ms;
    hold(&s, "brief", "v");
    for (; test_peek(s.session, s.ns, "brief") != NULL && seen_ms < set_ms + 5000; asked_ms = test_now_ms()) {
        seen_ms = asked_ms; /* before it was asked: however late the answer is looked at */
        test_sleep_ms(2);
    }
    assert_true(seen_ms <= set_ms + 1500);
    say(talk, "DEBUG SET-ACTIVE-EXPIRE 1");
    TEST_AWAIT(test_get(s.session, s.ns, "brief") == NULL, test_sleep_ms(2)); /* L1's end may be the earlier one */
    assert_null(test_get(s.session, s.ns, "brief"));
    test_talk_close(talk);
    close_side(&s);
}

static void flushed_keys_are_not_answered(void **state) {
    (void)state;
    side s = open_side(3);
    char key[16];
    for (int i = 0; i < 30; i++) {
        snprintf(key, sizeof key, "a%d", i);
        write_plain(key, "old");
        hold(&s, key, "old");
    }
    for (uint32_t node = 0; node < 3; node++) free(sx_cluster_command(cluster, node, "FLUSHALL"));
    int64_t start_ms = test_now_ms(), seen_ms = start_ms, asked_ms = start_ms;
    for (int i = 0; i < 30; i++) {
        snprintf(key, sizeof key, "a%d", i);
        for (; test_peek(s.session, s.ns, key) != NULL && seen_ms < start_ms + 5000; asked_ms = test_now_ms()) {
            seen_ms = asked_ms;
            test_sleep_ms(1);
        }
        assert_null(test_get(s.session, s.ns, key));
    }
    assert_true(seen_ms - start_ms < STALENESS_MS + SLACK_MS);
    assert_int_equal(test_metric(s.engine, "foreign.flushes"), 3);
    write_plain("a1", "new");
    hold(&s, "a1", "new"); /* and L1 works again */
    close_side(&s);
}

#define MANY 20000

static void many_keys_change_at_once(void **state) {
    (void)state;
    side s = open_side(3);
    test_talk *talk = talk_to_owner("{m}");
    char words[64], key[16];
    sx_command command;
    sx_command_init(&command, sx_alloc_default());
    int64_t start_ms = 0;
    for (int round = 0; round < 2; round++) {
        start_ms = test_now_ms();
        int64_t lost = test_metric(s.engine, "foreign.lost"), due = test_metric(s.engine, "foreign.keys") + MANY;
        for (int i = 0; i < MANY; i += 100) {
            sx_command_text(&command, "MSET");
            for (int k = i; k < i + 100; k++) {
                snprintf(words, sizeof words, PREFIX "{m}%d", k);
                sx_command_text(&command, words);
                sx_command_text(&command, round == 0 ? "old" : "new");
            }
            assert_int_equal(test_talk_call(talk, &command, NULL)->type, SX_RESP_STRING);
        }
        for (int i = 0; i < MANY && round == 0; i++) {
            snprintf(key, sizeof key, "{m}%d", i);
            assert_string_equal(test_get(s.session, s.ns, key), "old");
        }
        /* A machine too busy for heartbeats loses the connection, and what it would have told. */
        int64_t end_ms = test_now_ms() + 5000;
        while (test_metric(s.engine, "foreign.keys") < due && test_metric(s.engine, "foreign.lost") == lost && test_now_ms() < end_ms)
            test_sleep_ms(1);
        assert_true(test_metric(s.engine, "foreign.keys") >= due || test_metric(s.engine, "foreign.lost") > lost);
    }
    sx_command_deinit(&command);
    print_message("%d keys were changed and heard of in %lld ms\n", MANY, (long long)(test_now_ms() - start_ms));
    for (int i = 0; i < MANY; i++) {
        snprintf(key, sizeof key, "{m}%d", i);
        const char *seen = test_peek(s.session, s.ns, key);
        assert_true(seen == NULL || strcmp(seen, "new") == 0);
    }
    test_talk_close(talk);
    close_side(&s);
}

/* One server, from which all goes that is said of several. */
static void a_standalone_server_is_followed(void **state) {
    (void)state;
    sx_cluster *all = cluster;
    cluster = test_cluster_start(&(sx_cluster_options){.primaries = 0});
    test_talk *talk = test_talk_open(sx_cluster_port(cluster, 0), false);
    side s = open_side(1);
    say(talk, "SET " PREFIX "k old");
    hold(&s, "k", "old");
    int64_t start_ms = test_now_ms();
    say(talk, "SET " PREFIX "k new");
    (void)gone(&s, "k", "old", start_ms);
    hold(&s, "k", "new");
    start_ms = test_now_ms();
    say(talk, "REPLICAOF 127.0.0.1 1"); /* then nothing is proven any more */
    (void)gone(&s, "k", "new", start_ms);
    assert_int_equal(test_metric(s.engine, "foreign.nodes"), 0);
    test_talk_close(talk);
    close_side(&s);
    sx_cluster_stop(cluster);
    cluster = all;
}

/* ---- own operations ---- */

static void load(strata_load *load, void *user) { strata_load_finish(load, STRATA_OK, test_bytes(user), NULL); }

static void load_tagged(strata_load *load, void *user) {
    strata_bytes tag = test_bytes("t");
    strata_load_result details = {.struct_size = sizeof details, .tags = &tag, .tag_count = 1};
    assert_int_equal(strata_load_finish(load, STRATA_OK, test_bytes(user), &details), STRATA_OK);
}

static void own_writes_are_plain_and_read_back(void **state) {
    (void)state;
    side s = open_side(3), other = open_side(3);
    test_talk *talk = talk_to_owner("own");
    char value[24];
    for (int i = 0; i < 300; i++) {
        snprintf(value, sizeof value, "%d", i);
        assert_int_equal(test_set(s.session, s.ns, "own", value), STRATA_OK);
        assert_string_equal(test_get(s.session, s.ns, "own"), value);
        const char *seen = test_peek(s.session, s.ns, "own");
        assert_true(seen == NULL || strcmp(seen, value) == 0);
        if (i % 10 == 0) (void)test_get(other.session, other.ns, "own");
    }
    assert_in_range(test_talk_say(talk, "PTTL " PREFIX "own")->integer, 200000, 300000); /* flow.ttl, less its jitter */
    const sx_resp *stored = test_talk_say(talk, "GET " PREFIX "own");
    assert_int_equal(stored->size, 3);
    assert_memory_equal(stored->text, "299", 3);
    hold(&other, "own", "299");
    assert_int_equal(strata_invalidate_wait(s.session, s.ns, test_bytes("own"), NULL), STRATA_OK);
    assert_null(test_get(s.session, s.ns, "own"));
    (void)gone(&other, "own", "299", test_now_ms());

    strata_result result;
    for (int i = 0; i < 2; i++) {
        strata_loader_fn loader = i == 0 ? load : load_tagged;
        assert_int_equal(strata_get_or_load_wait(s.session, s.ns, test_bytes("own"), NULL, loader, "loaded", &result), STRATA_OK);
        assert_int_equal(result.source, STRATA_FROM_LOADER);
        strata_result_release(s.session, &result);
    }
    /* What is stored is no answer for who wants it loaded; nor is it replaced. */
    strata_op_options anew = {.struct_size = sizeof anew, .flags = STRATA_REFRESH}, past_l2 = {.struct_size = sizeof past_l2, .flags = STRATA_BYPASS_L2};
    say(talk, "SET " PREFIX "own stored");
    for (int i = 0; i < 2; i++) {
        assert_int_equal(strata_get_or_load_wait(s.session, s.ns, test_bytes("own"), i == 0 ? &anew : &past_l2, load, "loaded", &result), STRATA_OK);
        assert_memory_equal(result.value.data, i == 0 ? "loaded" : "stored", 6); /* the second has it from L1 */
        strata_result_release(s.session, &result);
        hold(&s, "own", "stored");
    }
    assert_int_equal(strata_option_set(s.engine, "flow.l2_part", "0%", NULL), STRATA_OK);
    assert_int_equal(test_set(s.session, s.ns, "own", "stored"), STRATA_OK); /* not an invalidation: others live by it */
    hold(&s, "own", "stored");
    strata_rollout rollout = {.struct_size = sizeof rollout, .flags = STRATA_ROLLOUT_L2_OFF};
    assert_int_equal(strata_namespace_rollout_set(s.ns, &rollout, NULL), STRATA_E_CONFIG);
    rollout.flags = STRATA_ROLLOUT_L1_OFF;
    assert_int_equal(strata_namespace_rollout_set(s.ns, &rollout, NULL), STRATA_OK);
    assert_null(test_peek(s.session, s.ns, "own"));
    assert_string_equal(test_get(s.session, s.ns, "own"), "stored");
    say(talk, "DEL " PREFIX "own");
    assert_null(test_get(s.session, s.ns, "own"));
    assert_int_equal(test_metric(s.engine, "flow.markers_asked"), 0); /* nothing is stored that could depend on them */
    assert_null(test_get(s.session, s.ns, "own")); /* stored nowhere */
    assert_null(test_peek(s.session, s.ns, "own"));
    test_talk_close(talk);
    close_side(&other);
    close_side(&s);
}

/* What other programs read is as it was given; so nothing is compressed, not even for nothing. */
static void raw_values_are_not_compressed(void **state) {
    (void)state;
    static char text[4096];
    side s = open_side(3);
    strata_result result;
    memset(text, 'x', sizeof text - 1);
    assert_int_equal(strata_option_set(s.engine, "flow.compress", "lz4", NULL), STRATA_OK);
    assert_int_equal(strata_get_or_load_wait(s.session, s.ns, test_bytes("long"), NULL, load, text, &result), STRATA_OK);
    assert_int_equal(result.value.size, sizeof text - 1);
    strata_result_release(s.session, &result);
    assert_int_equal(test_set(s.session, s.ns, "long", text), STRATA_OK);
    assert_int_equal(test_metric(s.engine, "flow.compressed"), 0);
    test_talk *talk = talk_to_owner("long");
    const sx_resp *stored = test_talk_say(talk, "GET " PREFIX "long");
    assert_int_equal(stored->size, sizeof text - 1);
    assert_memory_equal(stored->text, text, sizeof text - 1);
    strata_namespace *own = test_engine_ns(s.engine, "own");
    assert_int_equal(test_set(s.session, own, "long", text), STRATA_OK);
    assert_int_equal(test_metric(s.engine, "flow.compressed"), 1); /* where they are ours, they are */
    test_talk_close(talk);
    close_side(&s);
}

static void count(void *user, const strata_result *result) {
    assert_int_equal(result->status, STRATA_OK);
    ++*(int *)user;
}

/* The word of an own write comes by another connection than its answer, and here behind much else. */
static void an_own_write_does_not_wait_for_the_word_of_it(void **state) {
    (void)state;
    static char large[60000];
    enum { LARGE = 150, ROUNDS = 12 };
    side s = open_side(3);
    char key[32], value[16];
    memset(large, 'x', sizeof large);
    strata_bytes bytes = {large, sizeof large};
    for (int i = 0; i < LARGE; i++) {
        snprintf(key, sizeof key, "{own}%d", i);
        assert_int_equal(strata_set_wait(s.session, s.ns, test_bytes(key), bytes, NULL, NULL), STRATA_OK);
    }
    strata_op_options past_l1 = {.struct_size = sizeof past_l1, .flags = STRATA_BYPASS_L1, .deadline_ms = 10000};
    int answered = 0, late = 0;
    (void)test_set(s.session, s.ns, "{own}", "0");
    for (int round = 1; round <= ROUNDS; round++) {
        snprintf(value, sizeof value, "%d", round - 1);
        hold(&s, "{own}", value);
        int64_t keys = test_metric(s.engine, "foreign.keys");
        for (int i = 0; i < LARGE; i++) {
            strata_result result;
            snprintf(key, sizeof key, "{own}%d", i);
            assert_int_equal(strata_get(s.session, s.ns, test_bytes(key), &past_l1, &result, count, &answered), STRATA_PENDING);
        }
        snprintf(value, sizeof value, "%d", round);
        assert_int_equal(test_set(s.session, s.ns, "{own}", value), STRATA_OK);
        late += test_metric(s.engine, "foreign.keys") == keys ? 1 : 0;
        const char *seen = test_peek(s.session, s.ns, "{own}");
        if (seen != NULL) assert_string_equal(seen, value);
        while (answered < round * LARGE) (void)strata_session_wait(s.session, 100);
        assert_string_equal(test_get(s.session, s.ns, "{own}"), value);
    }
    print_message("%d of %d own writes were done before the word of them came\n", late, ROUNDS);
    close_side(&s);
}

static void what_raw_values_can_not_do_is_refused(void **state) {
    (void)state;
    side s = open_side(3);
    test_talk *talk = talk_to_owner("list");
    strata_result result;
    strata_bytes key = test_bytes("list");
    say(talk, "DEL " PREFIX "list");
    say(talk, "RPUSH " PREFIX "%s %s", "list", "v");
    for (int i = 0; i < 2; i++)
        assert_int_equal(strata_get_wait(s.session, s.ns, key, NULL, &result), STRATA_E_TYPE);
    assert_int_equal(strata_get_or_load_wait(s.session, s.ns, key, NULL, load, "v", &result), STRATA_OK);
    strata_result_release(s.session, &result);

    strata_bytes tag = test_bytes("t");
    strata_op_options tagged = {.struct_size = sizeof tagged, .tags = &tag, .tag_count = 1};
    strata_op_options versioned = {.struct_size = sizeof versioned, .app_version = 1};
    assert_int_equal(strata_set_wait(s.session, s.ns, key, key, &tagged, NULL), STRATA_E_FOREIGN);
    assert_int_equal(strata_set_wait(s.session, s.ns, key, key, &versioned, NULL), STRATA_E_FOREIGN);
    assert_int_equal(strata_add_wait(s.session, s.ns, key, key, NULL, NULL), STRATA_E_FOREIGN);
    assert_int_equal(strata_clear_wait(s.session, s.ns, NULL), STRATA_E_FOREIGN);
    assert_int_equal(strata_clear(s.session, s.ns, NULL, NULL, NULL), STRATA_E_FOREIGN);
    assert_int_equal(strata_invalidate_pattern_wait(s.session, s.ns, test_bytes("*"), NULL), STRATA_E_FOREIGN);
    assert_int_equal(strata_tenant_clear_wait(s.session, s.ns, test_bytes("acme"), NULL), STRATA_E_FOREIGN);
    strata_error error;
    strata_namespace_policy policy = {.struct_size = sizeof policy, .refresh_percent = 50};
    assert_int_equal(strata_namespace_policy_set(s.ns, &policy, &error), STRATA_E_CONFIG);
    assert_non_null(strstr(error.text, "refresh_percent"));
    policy = (strata_namespace_policy){.struct_size = sizeof policy, .ttl_ms = 1000};
    assert_int_equal(strata_namespace_policy_set(s.ns, &policy, NULL), STRATA_OK);
    /* Nor does the configuration give it what it can't have, before it is open or after. */
    assert_int_equal(strata_option_set(s.engine, "namespace.foreign.error_ttl", "1s", &error), STRATA_E_CONFIG);
    assert_string_equal(error.text, "option 'namespace.foreign.error_ttl' can't be set: the namespace is a foreign one");
    assert_int_equal(strata_option_set(s.engine, "namespace.foreign.l2_per_mille", "5", NULL), STRATA_E_CONFIG);
    assert_int_equal(strata_option_set(s.engine, "namespace.foreign.ttl", "5s", NULL), STRATA_OK);
    strata_namespace *ns = NULL;
    strata_foreign_options third = {.struct_size = sizeof third, .prefix = test_bytes("third:")};
    assert_int_equal(strata_option_set(s.engine, "namespace.third.refresh", "50%", NULL), STRATA_OK);
    assert_int_equal(strata_namespace_open_foreign(s.engine, "third", &third, &ns, &error), STRATA_E_CONFIG);
    assert_string_equal(error.text, "option 'namespace.third.refresh' can't be set: the namespace is a foreign one");

    static const char *const wrong[] = {"f:x", "f", "{0}s1:", "{", "s1:layout"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        strata_foreign_options options = {.struct_size = sizeof options, .prefix = test_bytes(wrong[i])};
        assert_int_equal(strata_namespace_open_foreign(s.engine, "other", &options, &ns, &error), STRATA_E_CONFIG);
        assert_true(error.text[0] != 0);
    }
    strata_foreign_options options = {.struct_size = sizeof options, .prefix = test_bytes("g:")};
    assert_int_equal(strata_namespace_open_foreign(s.engine, "foreign", &options, &ns, &error), STRATA_E_CONFIG);
    assert_int_equal(strata_namespace_open(s.engine, "foreign", 0, &ns), STRATA_E_INVALID);
    options.prefix.size = 0;
    assert_int_equal(strata_namespace_open_foreign(s.engine, "other", &options, &ns, &error), STRATA_E_CONFIG);
    options.reserved = 1;
    assert_int_equal(strata_namespace_open_foreign(s.engine, "other", &options, &ns, &error), STRATA_E_INVALID);
    assert_ptr_equal(open_ns(s.engine, "foreign", PREFIX), s.ns);
    test_talk_close(talk);
    close_side(&s);
}

static void more_than_one_prefix_is_followed(void **state) {
    (void)state;
    side s = open_side(3);
    write_plain("p", "old");
    hold(&s, "p", "old");
    side second = s;
    second.ns = open_ns(s.engine, "second", "second:");
    test_talk *talk = test_talk_open(sx_cluster_port(cluster, (uint32_t)sx_cluster_owner(cluster, (uint16_t)sx_key_slot("second:p", 8))), false);
    say(talk, "SET second:%s %s", "p", "old");
    hold(&second, "p", "old");
    int64_t start_ms = test_now_ms();
    say(talk, "SET second:%s %s", "p", "new");
    (void)gone(&second, "p", "old", start_ms);
    hold(&s, "p", "old");
    start_ms = test_now_ms();
    write_plain("p", "new");
    (void)gone(&s, "p", "old", start_ms);
    test_talk_close(talk);
    close_side(&s);
}

int main(void) {
    if (!sx_cluster_available()) return 77;
    const struct CMUnitTest tests[] = {cmocka_unit_test(plain_writes_are_seen_within_the_bound),
                                       cmocka_unit_test(every_kind_of_change_counts),
                                       cmocka_unit_test(what_happens_is_told),
                                       cmocka_unit_test(a_value_ends_when_redis_says),
                                       cmocka_unit_test(flushed_keys_are_not_answered),
                                       cmocka_unit_test(many_keys_change_at_once),
                                       cmocka_unit_test(a_standalone_server_is_followed),
                                       cmocka_unit_test(own_writes_are_plain_and_read_back),
                                       cmocka_unit_test(raw_values_are_not_compressed),
                                       cmocka_unit_test(an_own_write_does_not_wait_for_the_word_of_it),
                                       cmocka_unit_test(what_raw_values_can_not_do_is_refused),
                                       cmocka_unit_test(more_than_one_prefix_is_followed)};
    return cmocka_run_group_tests(tests, start_cluster, stop_cluster);
}
