/* SPDX-License-Identifier: Apache-2.0 */
/* Foreign namespaces where the tracking connection, the primary or the slot is another than before: L1 answers nothing that
   it can't have been told of. */
// ctest: timeout=600
#include "tests/integration/foreign.h"
#include "tests/support/proxy.h"

#define NODES 6 /* of the cluster, replicas too */

/* The id of a tracking connection, and its flags. */
static uint64_t tracker_of(uint32_t node, char flags[32]) {
    char *list = sx_cluster_command(cluster, node, "CLIENT LIST"), *rest = NULL;
    unsigned long long id = 0;
    for (char *line = strtok_r(list, "\n", &rest); line != NULL; line = strtok_r(NULL, "\n", &rest)) {
        const char *at = strstr(line, " flags=");
        if (strstr(line, "name=strata-tracking ") == NULL || at == NULL) continue;
        assert_int_equal(sscanf(line, "id=%llu", &id), 1);
        assert_int_equal(sscanf(at, " flags=%31s", flags), 1);
    }
    free(list);
    return id;
}

/* What it changes and when: the connection ends and the key changes in one step, so that nothing tells of it. */
static void a_lost_connection_proves_nothing(void **state) {
    (void)state;
    side s = open_side(3);
    char flags[32] = "", words[64];
    write_plain("k", "old");
    hold(&s, "k", "old");
    uint64_t id = tracker_of((uint32_t)sx_cluster_owner(cluster, slot_of("k")), flags);
    assert_true(id != 0);
    /* Tracking, of prefixes, and bounded like a subscriber. */
    assert_true(strchr(flags, 't') != NULL && strchr(flags, 'B') != NULL && strchr(flags, 'P') != NULL);
    test_talk *talk = talk_to_owner("k");
    int64_t start_ms = test_now_ms();
    (void)test_talk_say(talk, "MULTI");
    snprintf(words, sizeof words, "CLIENT KILL ID %llu", (unsigned long long)id);
    (void)test_talk_say(talk, words);
    (void)test_talk_say(talk, "SET " PREFIX "k new");
    assert_int_equal(test_talk_say(talk, "EXEC")->type, SX_RESP_ARRAY);
    (void)gone(&s, "k", "old", start_ms);
    assert_true(test_metric(s.engine, "foreign.lost") >= 1);
    hold(&s, "k", "new");
    test_talk_close(talk);
    close_side(&s);
}

/* A server that stands still: nothing comes, no error, no close. Afterwards it executes what was sent meanwhile. */
static void a_paused_primary_proves_nothing(void **state) {
    (void)state;
    side s = open_side(3);
    write_plain("k", "old");
    hold(&s, "k", "old");
    uint32_t node = (uint32_t)sx_cluster_owner(cluster, slot_of("k"));
    test_talk *talk = talk_to_owner("k");
    assert_int_equal(sx_cluster_pause(cluster, node), 0);
    int64_t start_ms = test_now_ms();
    int64_t seen_ms = start_ms, asked_ms = start_ms; /* read before it is asked, as in gone */
    for (; test_peek(s.session, s.ns, "k") != NULL && seen_ms < start_ms + 5000; asked_ms = test_now_ms()) {
        seen_ms = asked_ms;
        test_sleep_ms(1);
    }
    assert_true(seen_ms - start_ms <= STALENESS_MS + SLACK_MS);
    assert_int_equal(sx_cluster_resume(cluster, node), 0);
    say(talk, "SET " PREFIX "%s %s", "k", "new");
    (void)gone(&s, "k", "old", test_now_ms());
    hold(&s, "k", "new");
    test_talk_close(talk);
    close_side(&s);
}

/* ---- answers and words of a change that cross ---- */

#define CROSSED 4

/* A side whose connections for data answer later than those that tell of changes. */
static proxy *open_slow_side(side *s) {
    uint16_t ports[NODES];
    char nat[512] = "";
    for (uint32_t i = 0; i < NODES; i++) ports[i] = sx_cluster_port(cluster, i);
    proxy *through = proxy_start(ports, NODES);
    assert_non_null(through);
    for (uint32_t i = 0; i < NODES; i++) {
        size_t used = strlen(nat);
        snprintf(nat + used, sizeof nat - used, "%s127.0.0.1:%u=127.0.0.1:%u", i == 0 ? "" : ",", ports[i], proxy_port(through, i));
    }
    char seed[32];
    snprintf(seed, sizeof seed, "127.0.0.1:%u", proxy_port(through, 0));
    s->engine = test_engine_open(TEST_OPTIONS("l2.nodes", seed, "l2.nat", nat, "l2.open_wait", "5s"), NULL);
    s->session = test_engine_session(s->engine);
    s->ns = open_ns(s->engine, "foreign", PREFIX);
    assert_true(test_metric_wait(s->engine, "foreign.nodes", 3, 30000));
    proxy_fault slow = {.kind = PROXY_DELAY, .until_ns = INT64_MAX, .delay_ms = 60, .percent = 100, .whose = PROXY_DATA};
    for (uint32_t i = 0; i < NODES; i++) proxy_set(through, i, &slow);
    return through;
}

typedef struct answer {
    int32_t status;
    char text[16];
} answer;

static void answered(void *user, const strata_result *result) {
    answer *a = user;
    a->status = result->status;
    snprintf(a->text, sizeof a->text, "%.*s", result->status == STRATA_OK ? (int)result->value.size : 0,
             result->status == STRATA_OK ? (const char *)result->value.data : "");
}

static void start_read(const side *s, const char *key, answer *out) {
    strata_result result;
    strata_op_options patient = {.struct_size = sizeof patient, .deadline_ms = 5000};
    out->status = STRATA_PENDING;
    assert_int_equal(strata_get(s->session, s->ns, test_bytes(key), &patient, &result, answered, out), STRATA_PENDING);
    test_sleep_ms(90); /* it is at the server, which stands still, whichever connection it took */
}

/* A value that is read and changed in one turn of the server's loop. Where it was read first, the answer is old, and must not
   come into L1 behind the word of the change. */
static void a_change_behind_a_read_is_heard(void **state) {
    (void)state;
    side s;
    proxy *through = open_slow_side(&s);
    char key[32], words[64];
    int crossed = 0;
    for (int i = 0; i < 24 && crossed < CROSSED; i++) {
        answer a;
        snprintf(key, sizeof key, "{race}%d", i);
        test_talk *talk = talk_to_owner(key);
        uint32_t node = (uint32_t)sx_cluster_owner(cluster, slot_of(key));
        say(talk, "SET " PREFIX "%s %s", key, "old");
        sx_command command;
        sx_command_init(&command, sx_alloc_default());
        snprintf(words, sizeof words, PREFIX "%s", key);
        sx_command_text(&command, "SET");
        sx_command_text(&command, words);
        sx_command_text(&command, "new");
        assert_int_equal(sx_cluster_pause(cluster, node), 0);
        if (i % 3 != 2) start_read(&s, key, &a);
        test_talk_send(talk, &command, NULL);
        if (i % 3 == 2) start_read(&s, key, &a);
        assert_int_equal(sx_cluster_resume(cluster, node), 0);
        sx_command_deinit(&command);
        assert_non_null(test_talk_read(talk, 5000));
        int64_t changed_ms = test_now_ms();
        while (a.status == STRATA_PENDING) strata_session_wait(s.session, 100);
        assert_int_equal(a.status, STRATA_OK);
        crossed += strcmp(a.text, "old") == 0;
        (void)gone(&s, key, "old", changed_ms);
        test_talk_close(talk);
    }
    assert_int_equal(crossed, CROSSED);
    close_side(&s);
    proxy_stop(through);
}

static void keys_that_move_are_followed(void **state) {
    (void)state;
    side s = open_side(3);
    uint32_t from = (uint32_t)sx_cluster_owner(cluster, slot_of("moved")), to = (from + 1) % 3;
    write_plain("moved", "old");
    hold(&s, "moved", "old");
    test_cluster_move_keys(cluster, slot_of("moved"), from, to, 0);
    test_talk *talk = test_talk_open(sx_cluster_port(cluster, to), false);
    (void)test_talk_say(talk, "ASKING");
    int64_t start_ms = test_now_ms();
    say(talk, "SET " PREFIX "%s %s", "moved", "new"); /* at the importing node */
    (void)gone(&s, "moved", "old", start_ms);
    assert_string_equal(test_get(s.session, s.ns, "moved"), "new");
    assert_null(test_peek(s.session, s.ns, "moved")); /* read past L1: nobody would tell of a change */
    assert_int_equal(sx_cluster_slot_give(cluster, slot_of("moved"), to), 0);
    hold(&s, "moved", "new");
    start_ms = test_now_ms();
    say(talk, "SET " PREFIX "%s %s", "moved", "newer");
    (void)gone(&s, "moved", "new", start_ms);
    test_talk_close(talk);
    close_side(&s);
}

/* Whoever becomes primary has not told this process of anything. */
static void a_failover_ends_what_was_held(void **state) {
    (void)state;
    side s = open_side(3);
    uint32_t primary = (uint32_t)sx_cluster_owner(cluster, slot_of("k")), replica = (primary + 3) % 6;
    write_plain("k", "old");
    hold(&s, "k", "old");
    bool started = false;
    for (int i = 0; i < 500 && !started; i++) { /* in sync again, after what came before */
        char *moved = sx_cluster_command(cluster, replica, "CLUSTER FAILOVER");
        started = strcmp(moved, "OK") == 0;
        free(moved);
        if (!started) test_sleep_ms(20);
    }
    assert_true(started);
    while (sx_cluster_owner(cluster, slot_of("k")) != (int)replica) test_sleep_ms(2);
    int64_t start_ms = test_now_ms();
    write_plain("k", "new");
    print_message("an orderly failover: old for %lld ms\n", (long long)gone(&s, "k", "old", start_ms));
    hold(&s, "k", "new");
    assert_int_equal(sx_cluster_kill(cluster, replica), 0);
    while (sx_cluster_owner(cluster, slot_of("k")) != (int)primary) test_sleep_ms(10);
    start_ms = test_now_ms();
    write_plain("k", "newest");
    print_message("a killed primary: old for %lld ms\n", (long long)gone(&s, "k", "new", start_ms));
    for (int i = 0; i < 3000 && test_metric(s.engine, "foreign.nodes") != 3; i++) test_sleep_ms(10);
    hold(&s, "k", "newest");
    close_side(&s);
}

/* It stands still until another one has its place, and then goes on: what it has to say is of no worth. */
static void a_replaced_primary_is_not_believed(void **state) {
    (void)state;
    side s = open_side(3);
    int primary = sx_cluster_owner(cluster, slot_of("k"));
    write_plain("k", "old");
    hold(&s, "k", "old");
    assert_int_equal(sx_cluster_pause(cluster, (uint32_t)primary), 0);
    int owner = primary;
    for (int i = 0; i < 1000 && (owner == primary || owner < 0); i++) {
        test_sleep_ms(10);
        uint32_t replica = ((uint32_t)primary + 3) % 6;
        char *role = sx_cluster_command(cluster, replica, "ROLE");
        if (strncmp(role, "master", 6) == 0) owner = (int)replica;
        free(role);
    }
    assert_int_not_equal(owner, primary);
    test_talk *talk = test_talk_open(sx_cluster_port(cluster, (uint32_t)owner), false);
    say(talk, "SET " PREFIX "%s %s", "k", "new");
    int64_t start_ms = test_now_ms();
    assert_int_equal(sx_cluster_resume(cluster, (uint32_t)primary), 0);
    (void)gone(&s, "k", "old", start_ms);
    hold(&s, "k", "new");
    test_talk_close(talk);
    close_side(&s);
}

/* What a server keeps for a subscriber is limited, and so is what it may answer a tracking connection. */
/* parted: the option says of smaller ones, too, that they are large. */
static void a_huge_value_costs_once(const char *bulk_bytes, bool parted) {
    side s = {.engine = test_engine_open(TEST_OPTIONS("l2.nodes", sx_cluster_seeds(cluster), "l2.open_wait", "5s", "l2.bulk_bytes", bulk_bytes),
                                         NULL)};
    s.session = test_engine_session(s.engine);
    s.ns = open_ns(s.engine, "foreign", PREFIX);
    assert_true(test_metric_wait(s.engine, "foreign.nodes", 3, 30000));
    strata_result result;
    test_talk *talk = talk_to_owner("{huge}");
    strata_op_options patient = {.struct_size = sizeof patient, .deadline_ms = 10000};
    say(talk, "SETRANGE " PREFIX "{huge}large 2000000 x");
    /* The store's connection for such is opened by the first. */
    for (int i = 0; parted && i < 400 && test_metric(s.engine, "l2.bulk_commands") == 0; i++) { /* too large for L1, too */
        assert_int_equal(strata_get_wait(s.session, s.ns, test_bytes("{huge}large"), &patient, &result), STRATA_OK);
        strata_result_release(s.session, &result);
        test_sleep_ms(5);
    }
    int64_t bulk = test_metric(s.engine, "l2.bulk_commands"), reads = test_metric(s.engine, "foreign.reads");
    assert_int_equal(bulk > 0, parted);
    say(talk, "SETRANGE " PREFIX "{huge} 34000000 x");
    for (int i = 0; i < 4; i++) {
        assert_int_equal(strata_get_wait(s.session, s.ns, test_bytes("{huge}"), &patient, &result), STRATA_OK);
        assert_int_equal(result.value.size, 34000001);
        strata_result_release(s.session, &result);
    }
    assert_true(test_metric(s.engine, "foreign.lost") >= 1); /* a busy machine may have been late, too */
    assert_in_range(test_metric(s.engine, "foreign.reads") - reads, 0, 1); /* none, where it was */
    if (parted) assert_int_equal(test_metric(s.engine, "l2.bulk_commands") - bulk, 4); /* the first too: small ones don't wait behind it */
    say(talk, "SET " PREFIX "{huge} small");
    assert_string_equal(test_get(s.session, s.ns, "{huge}"), "small");
    hold(&s, "{huge}", "small"); /* and then it is one like any other */
    test_talk_close(talk);
    close_side(&s);
}

static void a_huge_value_costs_the_connection_once(void **state) {
    (void)state;
    a_huge_value_costs_once("64KiB", true);
    a_huge_value_costs_once("0", false); /* nothing else is large */
    a_huge_value_costs_once("1GiB", false);
}

static void it_can_be_switched_off(void **state) {
    (void)state;
    strata *engine = test_engine_open(TEST_OPTIONS("l2.nodes", sx_cluster_seeds(cluster), "coherence.foreign", "none"), NULL);
    strata_session *session = test_engine_session(engine);
    strata_namespace *ns = open_ns(engine, "foreign", PREFIX);
    write_plain("k", "v");
    for (int i = 0; i < 20; i++) {
        assert_string_equal(test_get(session, ns, "k"), "v");
        assert_null(test_peek(session, ns, "k"));
    }
    strata_session_close(session);
    strata_close(engine, 1000);
}

int main(void) {
    if (!sx_cluster_available()) return 77;
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_lost_connection_proves_nothing),
                                       cmocka_unit_test(a_paused_primary_proves_nothing),
                                       cmocka_unit_test(a_change_behind_a_read_is_heard),
                                       cmocka_unit_test(keys_that_move_are_followed),
                                       cmocka_unit_test(a_huge_value_costs_the_connection_once),
                                       cmocka_unit_test(it_can_be_switched_off),
                                       cmocka_unit_test(a_replaced_primary_is_not_believed),
                                       cmocka_unit_test(a_failover_ends_what_was_held)};
    return cmocka_run_group_tests(tests, start_cluster, stop_cluster);
}
