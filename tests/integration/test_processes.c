/* SPDX-License-Identifier: Apache-2.0 */
/* Two processes over one cluster: a set in one is seen by the other within the bound, also across a killed subscription. */
// ctest: serial
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <signal.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/support/cluster.h"
#include "tests/support/engine.h"

#define STALENESS_MS 500

/* The child obeys one-byte orders and answers each with one byte. */
typedef struct child {
    pid_t pid;
    int orders[2], answers[2];
} child;

static void child_main(child *c, const char *seeds) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    strata *engine = test_engine_open(TEST_OPTIONS("l2.nodes", seeds, "l2.open_wait", "5s"), NULL);
    strata_session *session = test_engine_session(engine);
    strata_namespace *ns = test_engine_ns(engine, "shared");
    char order, text[16];
    for (int round = 0; read(c->orders[0], &order, 1) == 1 && order != 'q'; round++) {
        int32_t status;
        snprintf(text, sizeof text, "%c", order);
        if (order == '-') status = strata_invalidate_wait(session, ns, test_bytes("k"), NULL);
        else status = test_set(session, ns, "k", text);
        char answer = status == STRATA_OK ? '+' : '!';
        if (write(c->answers[1], &answer, 1) != 1) break;
    }
    strata_session_close(session);
    _exit(strata_close(engine, 1000) == STRATA_OK ? 0 : 1);
}

static void child_start(child *c, const char *seeds) {
    assert_int_equal(pipe(c->orders), 0);
    assert_int_equal(pipe(c->answers), 0);
    c->pid = fork();
    if (c->pid != 0) return;
    child_main(c, seeds);
}

static void child_do(child *c, char order) {
    char answer = 0;
    assert_int_equal(write(c->orders[1], &order, 1), 1);
    assert_int_equal(read(c->answers[0], &answer, 1), 1);
    assert_int_equal(answer, '+');
}

static void one_process_sees_the_writes_of_another(void **state) {
    (void)state;
    sx_cluster *cluster;
    child c;
    sx_cluster_options options = {.primaries = 3};
    cluster = test_cluster_start(&options);
    child_start(&c, sx_cluster_seeds(cluster));
    strata *engine = test_engine_open(TEST_OPTIONS("l2.nodes", sx_cluster_seeds(cluster), "l2.open_wait", "5s"), NULL);
    strata_session *session = test_engine_session(engine);
    strata_namespace *ns = test_engine_ns(engine, "shared");
    int64_t worst_ms = 0;
    char old[2] = "";
    for (int i = 0; i < 200; i++) {
        char order[2] = {(char)(i % 10 == 9 ? '-' : 'A' + i % 26), 0};
        bool cut = i % 50 == 25;
        for (uint32_t n = 0; cut && n < 3; n++) free(sx_cluster_command(cluster, n, "CLIENT KILL TYPE pubsub"));
        child_do(&c, order[0]);
        int64_t acked_ms = test_now_ms();
        for (;;) { /* until L1 no longer answers the old value */
            const char *now = test_peek(session, ns, "k");
            if (now == NULL || strcmp(now, old) != 0) break;
            assert_true(test_now_ms() - acked_ms <= STALENESS_MS);
        }
        if (test_now_ms() - acked_ms > worst_ms) worst_ms = test_now_ms() - acked_ms;
        const char *got = test_get(session, ns, "k");
        if (order[0] == '-') assert_null(got);
        else assert_string_equal(got, order);
        snprintf(old, sizeof old, "%s", got == NULL ? "" : got);
        test_sleep_ms(2); /* most rounds find L1 trusted, not only those between two cuts */
    }
    fprintf(stderr, "worst invalidation lag %lld ms\n", (long long)worst_ms);
    assert_true(test_metric(engine, "l1.inserts") > 100);
    strata_session_close(session);
    assert_int_equal(strata_close(engine, 1000), STRATA_OK);
    int status = 1;
    assert_int_equal(write(c.orders[1], "q", 1), 1);
    waitpid(c.pid, &status, 0);
    assert_int_equal(status, 0);
    sx_cluster_stop(cluster);
}

/* ---- a process that was paused ---------------------------------------------------------------------------------- */

/* What parent and child share: the parent's acknowledged writes, the child's verdict. */
typedef struct shared {
    _Atomic int64_t acked;    /* newest value acknowledged */
    _Atomic int64_t acked_ms; /* when */
    _Atomic int64_t hits, beyond;
    _Atomic int stop;
} shared;

/* Reads from L1 without a rest, so that a resumed process answers before its own loop has noticed anything. */
static void watcher_main(shared *s, const char *seeds) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    strata *engine = test_engine_open(TEST_OPTIONS("l2.nodes", seeds, "l2.open_wait", "5s"), NULL);
    strata_session *session = test_engine_session(engine);
    strata_namespace *ns = test_engine_ns(engine, "shared");
    while (!atomic_load(&s->stop)) {
        (void)test_get(session, ns, "paused");
        for (int i = 0; i < 2000; i++) {
            int64_t acked_ms = atomic_load(&s->acked_ms), acked = atomic_load(&s->acked), start_ms = test_now_ms();
            const char *text = test_peek(session, ns, "paused");
            if (text == NULL) break;
            atomic_fetch_add(&s->hits, 1);
            if (atoll(text) < acked && acked_ms + STALENESS_MS < start_ms) atomic_fetch_add(&s->beyond, 1);
        }
    }
    strata_session_close(session);
    _exit(strata_close(engine, 1000) == STRATA_OK ? 0 : 1);
}

static void a_paused_process_does_not_trust_what_it_held(void **state) {
    (void)state;
    char text[32];
    sx_cluster_options options = {.primaries = 3};
    sx_cluster *cluster = test_cluster_start(&options);
    shared *s = mmap(NULL, sizeof *s, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(s, MAP_FAILED);
    pid_t watcher = fork();
    if (watcher == 0) watcher_main(s, sx_cluster_seeds(cluster));
    strata *engine = test_engine_open(TEST_OPTIONS("l2.nodes", sx_cluster_seeds(cluster), "l2.open_wait", "5s"), NULL);
    strata_session *session = test_engine_session(engine);
    strata_namespace *ns = test_engine_ns(engine, "shared");
    assert_int_equal(test_set(session, ns, "paused", "0"), STRATA_OK);
    for (int64_t value = 1; value <= 12; value++) {
        int64_t hits = atomic_load(&s->hits);
        for (int i = 0; i < 6000 && atomic_load(&s->hits) < hits + 1000; i++) test_sleep_ms(5);
        assert_true(atomic_load(&s->hits) >= hits + 1000);
        kill(watcher, SIGSTOP);
        test_sleep_ms(20);
        snprintf(text, sizeof text, "%lld", (long long)value);
        assert_int_equal(test_set(session, ns, "paused", text), STRATA_OK);
        atomic_store(&s->acked_ms, test_now_ms());
        atomic_store(&s->acked, value);
        test_sleep_ms(STALENESS_MS + 60);
        kill(watcher, SIGCONT);
        test_sleep_ms(20);
    }
    atomic_store(&s->stop, 1);
    int status = 1;
    waitpid(watcher, &status, 0);
    assert_int_equal(status, 0);
    assert_int_equal(atomic_load(&s->beyond), 0);
    munmap(s, sizeof *s);
    strata_session_close(session);
    assert_int_equal(strata_close(engine, 1000), STRATA_OK);
    sx_cluster_stop(cluster);
}

int main(void) {
    if (!sx_cluster_available()) return 77;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_process_sees_the_writes_of_another),
        cmocka_unit_test(a_paused_process_does_not_trust_what_it_held),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
