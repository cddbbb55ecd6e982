/* SPDX-License-Identifier: Apache-2.0 */
/* Values that travel with their message: eight processes hold a hot key, and a write of it costs one message, no read. */
// ctest: timeout=300
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/support/cluster.h"
#include "tests/support/engine.h"
#include "tests/support/place.h"
#include "tests/support/talk.h"

#define PROCESSES 8
#define WRITES    20

/* Shared by all processes: what each has counted when it saw the value of a round. */
typedef struct shared {
    _Atomic int begun, round;
    _Atomic int seen[PROCESSES]; /* rounds this process has seen; -1 at first */
    _Atomic int64_t fetched[PROCESSES], taken[PROCESSES], messages[PROCESSES], old[PROCESSES];
} shared;

static sx_cluster *cluster;

static int setup(void **state) {
    (void)state;
    sx_cluster_options options = {.primaries = 3, .node_timeout_ms = 20000}; /* a busy machine pauses everybody */
    cluster = test_cluster_start(&options);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    sx_cluster_stop(cluster);
    return 0;
}

static strata *open_engine(const char *value_bytes_max) {
    strata *engine = test_engine_open(TEST_OPTIONS("l2.nodes", sx_cluster_seeds(cluster), "l2.open_wait", "10s",
                                                   "coherence.value_bytes_max", value_bytes_max,
                                                   "coherence.max_staleness", "5s"), NULL);
    test_engine_await_trust(engine, 20000);
    return engine;
}

static void text_of(char text[32], int round) { snprintf(text, 32, "value %d", round); }

/* Holds the key (the last process does not) and looks at it with peek only from then on: nothing but messages can bring
   a new value. */
static void holder_main(shared *s, int me, bool carried) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    bool holds = me != PROCESSES - 1;
    strata *engine = open_engine("0"); /* who reads need not be configured */
    strata_session *session = test_engine_session(engine);
    strata_namespace *ns = test_engine_ns(engine, "values");
    char expected[32];
    while (atomic_load(&s->begun) == 0) test_sleep_ms(1);
    if (holds) (void)test_get(session, ns, "hot");
    int64_t fetched = test_metric(engine, "l2.hits"), messages = test_metric(engine, "coherence.messages");
    atomic_store(&s->seen[me], 0);
    for (int round = 1; round <= WRITES; round++) {
        while (atomic_load(&s->round) < round) test_sleep_ms(1);
        text_of(expected, round);
        for (int i = 0; i < 10000; i++) {
            /* A reader of a hot key: where L1 has nothing it asks L2. Without VALUE, that is a read for each process. */
            const char *text = !holds ? NULL : carried ? test_peek(session, ns, "hot") : test_get(session, ns, "hot");
            if (holds && text != NULL && strcmp(text, expected) == 0) break;
            if (!holds && test_metric(engine, "coherence.messages") >= messages + round) break;
            if (i == 9999) atomic_fetch_add(&s->old[me], 1);
            test_sleep_ms(1);
        }
        if (!holds && test_peek(session, ns, "hot") != NULL) atomic_fetch_add(&s->old[me], 1);
        atomic_store(&s->seen[me], round);
    }
    atomic_store(&s->fetched[me], test_metric(engine, "l2.hits") - fetched);
    atomic_store(&s->taken[me], test_metric(engine, "flow.values_taken"));
    atomic_store(&s->messages[me], test_metric(engine, "coherence.messages") - messages);
    strata_session_close(session);
    _exit(strata_close(engine, 1000) == STRATA_OK ? 0 : 1);
}

static void await_seen(shared *s, int round) {
    for (int me = 0; me < PROCESSES; me++) {
        for (int i = 0; i < 30000 && atomic_load(&s->seen[me]) < round; i++) test_sleep_ms(1);
        assert_true(atomic_load(&s->seen[me]) >= round);
    }
}

static void run(shared *s, const char *value_bytes_max, bool carried) {
    memset(s, 0, sizeof *s);
    pid_t pids[PROCESSES];
    for (int i = 0; i < PROCESSES; i++) {
        atomic_store(&s->seen[i], -1);
        pids[i] = fork();
        assert_true(pids[i] >= 0);
        if (pids[i] == 0) holder_main(s, i, carried);
    }
    strata *engine = open_engine(value_bytes_max);
    strata_session *session = test_engine_session(engine);
    strata_namespace *ns = test_engine_ns(engine, "values");
    assert_int_equal(test_set(session, ns, "hot", "value 0"), STRATA_OK);
    test_sleep_ms(100); /* whoever listens has heard of it */
    atomic_store(&s->begun, 1);
    await_seen(s, 0);
    for (int round = 1; round <= WRITES; round++) {
        char text[32];
        text_of(text, round);
        assert_int_equal(test_set(session, ns, "hot", text), STRATA_OK);
        atomic_store(&s->round, round);
        await_seen(s, round);
    }
    for (int i = 0; i < PROCESSES; i++) {
        int status = 1;
        waitpid(pids[i], &status, 0);
        assert_int_equal(status, 0);
        assert_int_equal(atomic_load(&s->old[i]), 0);
        assert_in_range(atomic_load(&s->messages[i]), WRITES, WRITES * 3 / 2); /* one for each write, and no other but where trust began anew */
    }
    strata_session_close(session);
    assert_int_equal(strata_close(engine, 1000), STRATA_OK);
}

static void a_write_of_a_held_key_costs_one_message_and_no_read(void **state) {
    (void)state;
    shared *s = mmap(NULL, sizeof *s, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(s != MAP_FAILED);
    run(s, "1KiB", true);
    for (int i = 0; i < PROCESSES; i++) {
        assert_int_equal(atomic_load(&s->fetched[i]), 0);
        assert_int_equal(atomic_load(&s->taken[i]), i == PROCESSES - 1 ? 0 : WRITES);
    }
    run(s, "0", false); /* and this is what it saves */
    int64_t fetched = 0;
    for (int i = 0; i < PROCESSES; i++) {
        fetched += atomic_load(&s->fetched[i]);
        assert_int_equal(atomic_load(&s->taken[i]), 0);
    }
    fprintf(stderr, "%d writes: no read with the value in the message, %lld without\n", WRITES, (long long)fetched);
    assert_in_range(fetched, WRITES * (PROCESSES - 1), WRITES * (PROCESSES - 1) * 2);
    munmap(s, sizeof *s);
}

static void what_is_larger_does_not_travel(void **state) {
    (void)state;
    char large[200];
    memset(large, 'x', sizeof large - 1);
    large[sizeof large - 1] = 0;
    strata *a = open_engine("128"), *b = open_engine("0");
    strata_session *at = test_engine_session(a), *bt = test_engine_session(b);
    strata_namespace *an = test_engine_ns(a, "values"), *bn = test_engine_ns(b, "values");
    assert_int_equal(test_set(at, an, "size", "small"), STRATA_OK);
    assert_string_equal(test_get(bt, bn, "size"), "small");
    assert_int_equal(test_set(at, an, "size", "still small"), STRATA_OK);
    assert_true(test_metric_wait(b, "flow.values_taken", 1, 30000));
    assert_string_equal(test_peek(bt, bn, "size"), "still small");
    int64_t removals = test_metric(b, "l1.removals");
    assert_int_equal(test_set(at, an, "size", large), STRATA_OK);
    assert_true(test_metric_wait(b, "l1.removals", removals + 1, 30000));
    assert_null(test_peek(bt, bn, "size"));
    assert_int_equal(test_metric(b, "flow.values_taken"), 1);
    assert_string_equal(test_get(bt, bn, "size"), large);
    strata_session_close(at);
    strata_session_close(bt);
    assert_int_equal(strata_close(a, 1000), STRATA_OK);
    assert_int_equal(strata_close(b, 1000), STRATA_OK);
}

/* UNTRUST comes right before a value: nobody knows what was between the entry and it, so the entry goes, and nothing takes its
   place. */
static void without_trust_no_value_is_taken(void **state) {
    (void)state;
    strata *a = open_engine("1KiB"), *b = open_engine("0");
    strata_session *at = test_engine_session(a), *bt = test_engine_session(b);
    strata_namespace *an = test_engine_ns(a, "values"), *bn = test_engine_ns(b, "values");
    test_engine_await_trust(b, 30000);
    assert_int_equal(test_set(at, an, "doubt", "old"), STRATA_OK);
    assert_string_equal(test_get(bt, bn, "doubt"), "old");
    assert_non_null(test_peek(bt, bn, "doubt"));
    uint32_t node = test_node_of(cluster, "doubt");
    char channel[64];
    int size = snprintf(channel, sizeof channel, "{%s}s1:c", test_place_of("doubt").tag);
    test_talk *talk = test_talk_open(sx_cluster_port(cluster, node), true);
    (void)test_talk_say(talk, "PING");
    sx_command untrust;
    sx_command_init(&untrust, sx_alloc_default());
    sx_command_text(&untrust, "SPUBLISH");
    sx_command_arg(&untrust, channel, (size_t)size);
    sx_command_arg(&untrust, "\x92\x08\x00", 3);
    int64_t taken = test_metric(b, "flow.values_taken");
    assert_int_equal(sx_cluster_pause(cluster, node), 0); /* it will read both at once, in the order in which they came */
    test_talk_send(talk, &untrust, NULL);
    test_sleep_ms(60);
    strata_op_options patient = {.struct_size = sizeof patient, .deadline_ms = 3000};
    assert_int_equal(strata_set(at, an, test_bytes("doubt"), test_bytes("new"), &patient, NULL, NULL), STRATA_PENDING);
    test_sleep_ms(60);
    assert_int_equal(sx_cluster_resume(cluster, node), 0);
    const char *text = NULL;
    for (int i = 0; i < 3000 && (text == NULL || strcmp(text, "new") != 0); i++) {
        test_sleep_ms(10);
        text = test_get(bt, bn, "doubt");
    }
    assert_string_equal(text, "new");
    sx_command_deinit(&untrust);
    test_talk_close(talk);
    assert_int_equal(test_metric(b, "flow.values_taken"), taken);
    strata_session_close(at);
    strata_session_close(bt);
    assert_int_equal(strata_close(a, 1000), STRATA_OK);
    assert_int_equal(strata_close(b, 1000), STRATA_OK);
}

/* A key with a write of unknown outcome takes no value: neither that of the later write, nor the lost one's own. */
static void a_key_of_unknown_outcome_takes_no_value(void **state) {
    (void)state;
    strata *a = open_engine("1KiB"), *b = open_engine("1KiB");
    strata_session *at = test_engine_session(a), *bt = test_engine_session(b);
    strata_namespace *an = test_engine_ns(a, "values"), *bn = test_engine_ns(b, "values");
    test_engine_await_trust(b, 30000);
    assert_int_equal(test_set(at, an, "lost", "old"), STRATA_OK);
    assert_string_equal(test_get(bt, bn, "lost"), "old");
    uint32_t node = test_node_of(cluster, "lost");
    int64_t taken = test_metric(b, "flow.values_taken");
    assert_int_equal(sx_cluster_pause(cluster, node), 0);
    strata_op_options brief = {.struct_size = sizeof brief, .deadline_ms = 600}, patient = {.struct_size = sizeof patient, .deadline_ms = 10000};
    assert_int_equal(strata_set(at, an, test_bytes("lost"), test_bytes("new"), &patient, NULL, NULL), STRATA_PENDING);
    assert_int_equal(strata_set_wait(bt, bn, test_bytes("lost"), test_bytes("lost"), &brief, NULL), STRATA_E_UNKNOWN_OUTCOME);
    assert_null(test_peek(bt, bn, "lost"));
    assert_int_equal(sx_cluster_resume(cluster, node), 0);
    assert_true(test_metric_wait(b, "flow.unknown_resolved", 1, 30000));
    test_sleep_ms(100);
    assert_int_equal(test_metric(b, "flow.values_taken"), taken);
    /* Whichever was executed last: the later write, or what settled the lost one. Never the lost one. */
    const char *text = test_get(bt, bn, "lost");
    assert_true(text == NULL || strcmp(text, "new") == 0);
    strata_session_close(at);
    strata_session_close(bt);
    assert_int_equal(strata_close(a, 1000), STRATA_OK);
    assert_int_equal(strata_close(b, 1000), STRATA_OK);
}

int main(void) {
    if (!sx_cluster_available()) return 77;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_write_of_a_held_key_costs_one_message_and_no_read),
        cmocka_unit_test(what_is_larger_does_not_travel),
        cmocka_unit_test(without_trust_no_value_is_taken),
        cmocka_unit_test(a_key_of_unknown_outcome_takes_no_value),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
