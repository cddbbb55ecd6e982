/* SPDX-License-Identifier: Apache-2.0 */
/* Four processes over a real cluster write down all they do and see while connections, servers, scripts and processes
   suffer; afterwards the history is judged. STRATA_TORMENT_SECONDS and STRATA_TORMENT_SEED change how long and what. */
// ctest: timeout=300 serial
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
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/support/cluster.h"
#include "tests/support/engine.h"
#include "tests/support/history.h"

#define PROCESSES    4
#define KEYS         16
#define STALENESS_MS 500

typedef struct shared {
    _Atomic uint64_t truth[KEYS]; /* key k is written by process k % PROCESSES alone */
    _Atomic int ready, stop;
} shared;

typedef struct actor {
    shared *s;
    uint32_t process;
    FILE *out;
    uint64_t random;
} actor;

static int64_t now_ns(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * INT64_C(1000000000) + time.tv_nsec;
}

static uint64_t next_random(uint64_t *random) {
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    return *random;
}

static void record(actor *me, history_op op) {
    op.process = me->process;
    (void)fwrite(&op, sizeof op, 1, me->out);
}

static void load_truth(strata_load *load, void *user) {
    actor *me = user;
    strata_bytes key = strata_load_key(load);
    char name[16] = "", text[32];
    memcpy(name, key.data, key.size < sizeof name ? key.size : sizeof name - 1);
    history_op op = {.kind = HISTORY_LOAD, .key = (uint32_t)atoi(name + 1), .start_ns = now_ns()};
    op.value = atomic_load(&me->s->truth[op.key]);
    if (next_random(&me->random) % 4 == 0) test_sleep_ms(5);
    snprintf(text, sizeof text, "%llu", (unsigned long long)op.value);
    op.end_ns = now_ns();
    record(me, op);
    strata_load_finish(load, STRATA_OK, test_bytes(text), NULL);
}

static void read_one(actor *me, strata_session *session, strata_namespace *ns, uint32_t key) {
    char name[16], text[32] = "";
    snprintf(name, sizeof name, "h%u", key);
    strata_op_options options = {.struct_size = sizeof options, .deadline_ms = 500};
    strata_result result;
    history_op op = {.kind = HISTORY_READ, .key = key, .start_ns = now_ns()};
    int32_t status = strata_get_or_load_wait(session, ns, test_bytes(name), &options, load_truth, me, &result);
    op.end_ns = now_ns();
    if (status != STRATA_OK) return;
    if (result.value.size < sizeof text) memcpy(text, result.value.data, result.value.size);
    op.value = strtoull(text, NULL, 10);
    op.n = result.version_n;
    op.source = (uint8_t)result.source;
    record(me, op);
    strata_result_release(session, &result);
}

static void write_one(actor *me, strata_session *session, strata_namespace *ns, uint32_t key) {
    char name[16], text[32];
    snprintf(name, sizeof name, "h%u", key);
    strata_op_options options = {.struct_size = sizeof options, .deadline_ms = 500};
    bool set = next_random(&me->random) % 2 == 0;
    history_op op = {.kind = set ? HISTORY_SET : HISTORY_INVALIDATE, .key = key};
    op.value = atomic_fetch_add(&me->s->truth[key], 1) + 1;
    snprintf(text, sizeof text, "%llu", (unsigned long long)op.value);
    op.start_ns = now_ns();
    int32_t status = set ? strata_set_wait(session, ns, test_bytes(name), test_bytes(text), &options, NULL)
                         : strata_invalidate_wait(session, ns, test_bytes(name), &options);
    op.end_ns = now_ns();
    if (status == STRATA_OK) record(me, op);
}

static void act(shared *s, uint32_t process, const char *seeds, const char *path, uint64_t seed) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    actor me = {.s = s, .process = process, .out = fopen(path, "wb"), .random = seed * 31 + process + 1};
    strata *engine = test_engine_open(TEST_OPTIONS("l2.nodes", seeds, "l2.open_wait", "10s", /* half of them send the value along */
                                                   "coherence.value_bytes_max", process % 2 == 0 ? "1KiB" : "0"), NULL);
    strata_session *session = test_engine_session(engine);
    strata_namespace *ns = test_engine_ns(engine, "history");
    atomic_fetch_add(&s->ready, 1);
    for (uint64_t i = 0; !atomic_load(&s->stop); i++) {
        uint32_t key = (uint32_t)(next_random(&me.random) % KEYS);
        if (i % 64 != 0) {
            read_one(&me, session, ns, key);
        } else if (next_random(&me.random) % 8 != 0) {
            write_one(&me, session, ns, process);
        } else { /* the other keys twice, and then for long not at all: what goes wrong with them is seen */
            key = key - key % PROCESSES + process;
            write_one(&me, session, ns, key);
            test_sleep_ms(2);
            write_one(&me, session, ns, key);
        }
        if (i % 4 == 0) test_sleep_ms(1);
    }
    strata_session_close(session);
    int32_t status = strata_close(engine, 2000);
    _exit(fclose(me.out) == 0 && status != STRATA_E_INVALID ? 0 : 1);
}

/* One fault, over when it returns. None lets a primary be replaced. */
static void torment(sx_cluster *cluster, const pid_t *pids, uint64_t *random) {
    uint32_t node = (uint32_t)(next_random(random) % 3);
    pid_t pid = pids[next_random(random) % PROCESSES];
    switch (next_random(random) % 6) {
    case 0:
        for (uint32_t i = 0; i < 90; i++) {
            free(sx_cluster_command(cluster, i % 3, "CLIENT KILL TYPE pubsub"));
            if (i % 3 == 2) test_sleep_ms(5);
        }
        break;
    case 1: free(sx_cluster_command(cluster, node, "CLIENT KILL TYPE normal")); break;
    case 2: free(sx_cluster_command(cluster, node, "SCRIPT FLUSH")); break;
    case 3: free(sx_cluster_command(cluster, node, "FLUSHALL")); break;
    case 4:
        (void)sx_cluster_pause(cluster, node);
        test_sleep_ms((uint32_t)(50 + next_random(random) % 600));
        (void)sx_cluster_resume(cluster, node);
        break;
    default:
        kill(pid, SIGSTOP);
        test_sleep_ms((uint32_t)(50 + next_random(random) % 900));
        kill(pid, SIGCONT);
        break;
    }
    test_sleep_ms((uint32_t)(next_random(random) % 300));
}

static uint64_t setting(const char *name, uint64_t otherwise) {
    const char *text = getenv(name);
    return text == NULL || *text == 0 ? otherwise : strtoull(text, NULL, 10);
}

static void judge(char paths[PROCESSES][64]) {
    history_op *ops = NULL;
    size_t count = 0, reads = 0;
    for (int i = 0; i < PROCESSES; i++) {
        assert_int_equal(history_read(paths[i], &ops, &count), 0);
        unlink(paths[i]);
    }
    for (size_t i = 0; i < count; i++) reads += ops[i].kind == HISTORY_READ && ops[i].source == STRATA_FROM_L1;
    /* Leases are not judged: a FLUSHALL ends them. */
    history_rules rules = {.bound_ns = STALENESS_MS * INT64_C(1000000)};
    history_report report;
    bool good = history_check(ops, count, &rules, &report);
    fprintf(stderr, "%zu operations, %zu reads from L1, the oldest %.1f ms of %d\n", count, reads,
            (double)report.oldest_ns / 1e6, STALENESS_MS);
    for (int f = 0; f < HISTORY_FAULTS; f++) {
        const history_op *worst = report.worst[f];
        if (report.faults[f] != 0)
            fprintf(stderr, "%s: %llu; key %u process %u read %llu (n %llu, source %u), process %u had %llu (n %llu) %.3f ms before\n",
                    history_fault_name((history_fault)f), (unsigned long long)report.faults[f], worst[0].key,
                    worst[0].process, (unsigned long long)worst[0].value, (unsigned long long)worst[0].n,
                    worst[0].source, worst[1].process, (unsigned long long)worst[1].value,
                    (unsigned long long)worst[1].n, (double)(worst[0].start_ns - worst[1].end_ns) / 1e6);
    }
    free(ops);
    assert_true(reads > 1000);
    assert_true(good);
}

static void a_tormented_history_keeps_the_promises(void **state) {
    (void)state;
    uint64_t seed = setting("STRATA_TORMENT_SEED", 1), random = seed * 0x9e3779b97f4a7c15u + 1;
    int64_t time_ms = (int64_t)setting("STRATA_TORMENT_SECONDS", 6) * 1000;
    char paths[PROCESSES][64];
    sx_cluster *cluster = test_cluster_start(&(sx_cluster_options){.primaries = 3});
    shared *s = mmap(NULL, sizeof *s, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(s != MAP_FAILED);
    pid_t pids[PROCESSES];
    for (uint32_t i = 0; i < PROCESSES; i++) {
        snprintf(paths[i], sizeof paths[i], "/tmp/strata-history-%d-%u", (int)getpid(), i);
        pids[i] = fork();
        assert_true(pids[i] >= 0);
        if (pids[i] == 0) act(s, i, sx_cluster_seeds(cluster), paths[i], seed);
    }
    for (int i = 0; i < 20000 && atomic_load(&s->ready) < PROCESSES; i++) test_sleep_ms(1);
    test_sleep_ms(500);
    int64_t end_ms = test_now_ms() + time_ms;
    int faults = 0;
    for (; test_now_ms() < end_ms; faults++) torment(cluster, pids, &random);
    test_sleep_ms(1000);
    atomic_store(&s->stop, 1);
    for (int i = 0; i < PROCESSES; i++) {
        int status = 1;
        waitpid(pids[i], &status, 0);
        assert_int_equal(status, 0);
    }
    sx_cluster_stop(cluster);
    munmap(s, sizeof *s);
    fprintf(stderr, "seed %llu, %d faults\n", (unsigned long long)seed, faults);
    judge(paths);
}

int main(void) {
    if (!sx_cluster_available()) return 77;
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_tormented_history_keeps_the_promises)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
