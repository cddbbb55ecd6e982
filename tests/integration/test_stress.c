/* SPDX-License-Identifier: Apache-2.0 */
/* Two engines over one server under load, their connections cut all the while: no read goes back, own writes are seen. */
// ctest: timeout=300 serial
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <pthread.h>
#include <stdatomic.h>

#include <cmocka.h>

#include "tests/support/alloc.h"
#include "tests/support/cluster.h"
#include "tests/support/engine.h"

#define KEYS      24
#define WORKERS   4
#define STRESS_MS 4000

static sx_cluster *start_server(void) {
    sx_cluster_options options = {.primaries = 0};
    return test_cluster_start(&options);
}

/* ---- versions never go back ------------------------------------------------------------------------------------ */

/* Key k is written by worker k % WORKERS only, which raises truth, writes, and then raises floor and floor_n of its own
   engine: whatever begins to be read there after that may be no older. */
typedef struct world {
    strata *engines[2];
    strata_namespace *ns[2];
    _Atomic uint64_t truth[KEYS], floor[2][KEYS], floor_n[2][KEYS];
    _Atomic int64_t reads, from_l1, sets, invalidates, loads, unknown, failures, wrong;
    _Atomic int stop;
} world;

typedef struct worker {
    world *w;
    uint32_t index, side;
    uint64_t random;
    uint64_t last_n[KEYS]; /* the newest version that this thread has read */
    strata_session *session;
    pthread_t thread;
} worker;

static uint64_t next_random(worker *me) {
    me->random ^= me->random << 13;
    me->random ^= me->random >> 7;
    me->random ^= me->random << 17;
    return me->random;
}

static void key_text(char out[16], int key) {
    snprintf(out, 16, "key%d", key);
}

static void wrong(worker *me, int key, const char *what, uint64_t got, uint64_t wanted, uint8_t source) {
    fprintf(stderr, "worker %u key %d: %s %llu after %llu (source %u)\n", me->index, key, what,
            (unsigned long long)got, (unsigned long long)wanted, source);
    atomic_fetch_add(&me->w->wrong, 1);
}

static void check(worker *me, int key, uint64_t floor, uint64_t floor_n, const strata_result *result) {
    char text[32] = "";
    atomic_fetch_add(&me->w->reads, 1);
    if (result->source == STRATA_FROM_L1) atomic_fetch_add(&me->w->from_l1, 1);
    if (result->value.size < sizeof text) memcpy(text, result->value.data, result->value.size);
    uint64_t value = strtoull(text, NULL, 10);
    if (value % 100 != (uint64_t)key) wrong(me, key, "another key's value", value, 0, result->source);
    if (value / 100 < floor) wrong(me, key, "value", value / 100, floor, result->source);
    if (result->version_n == 0) return; /* straight from a loader */
    if (result->version_n < floor_n)
        wrong(me, key, "own version", result->version_n, floor_n, result->source);
    if (result->version_n < me->last_n[key])
        wrong(me, key, "version", result->version_n, me->last_n[key], result->source);
    me->last_n[key] = result->version_n;
}

static void load(strata_load *run, void *user) {
    worker *me = user;
    char text[32], name[16] = "";
    strata_bytes key = strata_load_key(run);
    memcpy(name, key.data, key.size < sizeof name ? key.size : sizeof name - 1);
    int k = atoi(name + 3);
    atomic_fetch_add(&me->w->loads, 1);
    snprintf(text, sizeof text, "%llu",
             (unsigned long long)(atomic_load(&me->w->truth[k]) * 100 + (uint64_t)k));
    if (next_random(me) % 8 == 0) test_sleep_ms(2);
    strata_load_finish(run, STRATA_OK, test_bytes(text), NULL);
}

static void read_one(worker *me, int key, bool loads) {
    world *w = me->w;
    char name[16];
    key_text(name, key);
    uint64_t floor = atomic_load(&w->floor[me->side][key]), floor_n = atomic_load(&w->floor_n[me->side][key]);
    strata_op_options options = {.struct_size = sizeof options};
    if (next_random(me) % 8 == 0) options.flags = STRATA_BYPASS_L1;
    strata_result result;
    int32_t status = loads
                         ? strata_get_or_load_wait(me->session, w->ns[me->side], test_bytes(name), &options,
                                                   load, me, &result)
                         : strata_get_wait(me->session, w->ns[me->side], test_bytes(name), &options, &result);
    if (status < 0) atomic_fetch_add(&w->failures, 1);
    if (status != STRATA_OK) return;
    check(me, key, floor, floor_n, &result);
    strata_result_release(me->session, &result);
}

static void write_one(worker *me, int key) {
    world *w = me->w;
    char name[16], text[32];
    key_text(name, key);
    uint64_t version = atomic_fetch_add(&w->truth[key], 1) + 1;
    snprintf(text, sizeof text, "%llu", (unsigned long long)(version * 100 + (uint64_t)key));
    strata_result result = {0};
    int32_t status;
    if (next_random(me) % 3 == 0) {
        status = strata_invalidate_wait(me->session, w->ns[me->side], test_bytes(name), NULL);
        atomic_fetch_add(&w->invalidates, 1);
    } else {
        status =
            strata_set_wait(me->session, w->ns[me->side], test_bytes(name), test_bytes(text), NULL, &result);
        atomic_fetch_add(&w->sets, 1);
    }
    if (status == STRATA_E_UNKNOWN_OUTCOME) atomic_fetch_add(&w->unknown, 1);
    if (status != STRATA_OK) return;
    atomic_store(&w->floor[me->side][key], version);
    if (result.version_n != 0) atomic_store(&w->floor_n[me->side][key], result.version_n);
}

static void *worker_thread(void *argument) {
    worker *me = argument;
    me->session = test_engine_session(me->w->engines[me->side]);
    while (!atomic_load(&me->w->stop)) {
        uint64_t r = next_random(me);
        int key = (int)((r >> 8) % KEYS);
        if (r % 8 == 0)
            write_one(me, (int)((r >> 8) % (KEYS / WORKERS) * WORKERS + me->index));
        else
            read_one(me, key, r % 8 < 4);
    }
    strata_session_close(me->session);
    return NULL;
}

static void no_read_goes_back(void **state) {
    sx_cluster *server = *state;
    world *w = calloc(1, sizeof *w);
    worker workers[WORKERS];
    memset(workers, 0, sizeof workers);
    for (int i = 0; i < 2; i++) {
        w->engines[i] = test_engine_open(TEST_OPTIONS("l2.nodes", sx_cluster_seeds(server), "l2.open_wait",
                                                      "5s", "l2.breaker_failures", "5"),
                                         NULL); /* no breaker: L2 is asked all the while */
        w->ns[i] = test_engine_ns(w->engines[i], "stress");
    }
    for (uint32_t i = 0; i < WORKERS; i++) {
        workers[i].w = w;
        workers[i].index = i;
        workers[i].side = i % 2;
        workers[i].random = UINT64_C(88172645463325252) * (i + 1);
        pthread_create(&workers[i].thread, NULL, worker_thread, &workers[i]);
    }
    int64_t end_ms = test_now_ms() + STRESS_MS;
    for (int i = 0; test_now_ms() < end_ms; i++) {
        test_sleep_ms(150);
        free(sx_cluster_command(server, 0,
                                i % 2 == 0 ? "CLIENT KILL TYPE normal" : "CLIENT KILL TYPE pubsub"));
    }
    atomic_store(&w->stop, 1);
    for (int i = 0; i < WORKERS; i++) pthread_join(workers[i].thread, NULL);
    fprintf(
        stderr,
        "reads %lld (from L1 %lld), loads %lld, sets %lld, invalidations %lld, unknown %lld, failures %lld\n",
        (long long)w->reads, (long long)w->from_l1, (long long)w->loads, (long long)w->sets,
        (long long)w->invalidates, (long long)w->unknown, (long long)w->failures);
    assert_int_equal(w->wrong, 0);
    assert_true(w->reads > 500 && w->from_l1 > 100 && w->sets > 50 && w->loads > 20);
    for (int i = 0; i < 2; i++) assert_int_equal(strata_close(w->engines[i], 2000), STRATA_OK);
    free(w);
}

/* ---- a server that does not answer for a while ------------------------------------------------------------------- */

typedef struct answer {
    int count;
    int32_t status;
} answer;

static void done(void *user, const strata_result *result) {
    answer *a = user;
    a->count++;
    a->status = result->status;
}

/* A read that joins another one's request ends at its own deadline, not at that of the request. */
static void who_joins_a_request_has_his_own_deadline(void **state) {
    sx_cluster *server = *state;
    strata *engine =
        test_engine_open(TEST_OPTIONS("l2.nodes", sx_cluster_seeds(server), "l2.open_wait", "5s"), NULL);
    strata_namespace *ns = test_engine_ns(engine, "joins");
    strata_session *session = test_engine_session(engine);
    strata_op_options brief = {.struct_size = sizeof brief, .deadline_ms = 40};
    strata_op_options patient = {.struct_size = sizeof patient, .deadline_ms = 5000};
    answer first = {0}, second = {0};
    strata_result result;
    sx_cluster_pause(server, 0);
    assert_int_equal(strata_get(session, ns, test_bytes("j"), &brief, &result, done, &first), STRATA_PENDING);
    test_sleep_ms(10);
    assert_int_equal(strata_get(session, ns, test_bytes("j"), &patient, &result, done, &second),
                     STRATA_PENDING);
    for (int i = 0; i < 3000 && first.count == 0; i++) strata_session_wait(session, 10);
    strata_session_wait(session, 100);
    int early = second.count;
    sx_cluster_resume(server, 0);
    for (int i = 0; i < 3000 && second.count == 0; i++) strata_session_wait(session, 10);
    assert_int_equal(first.status, STRATA_E_TIMEOUT);
    assert_int_equal(early, 0);
    assert_int_equal(second.status, STRATA_MISS);
    strata_session_close(session);
    strata_close(engine, 1000);
}

static void *counted_allocate(void *context, size_t size, size_t alignment) {
    test_alloc *alloc = context;
    return alloc->table.allocate(alloc->table.context, size, alignment);
}
static void counted_release(void *context, void *memory, size_t size) {
    test_alloc *alloc = context;
    alloc->table.release(alloc->table.context, memory, size);
}

/* Writes that have to be cut off leave nothing behind: no memory, no request. */
static void writes_under_way_at_close_leave_nothing(void **state) {
    sx_cluster *server = *state;
    test_alloc alloc;
    test_alloc_init(&alloc);
    strata_open_options template_ = {.allocator = {&alloc, counted_allocate, counted_release}};
    strata *engine = test_engine_open(
        TEST_OPTIONS("l2.nodes", sx_cluster_seeds(server), "l2.open_wait", "5s", "l1.bytes", "1MiB"),
        &template_);
    strata_namespace *ns = test_engine_ns(engine, "cut");
    strata_session *session = test_engine_session(engine);
    answer answers[8] = {{0}};
    sx_cluster_pause(server, 0);
    for (int i = 0; i < 8; i++) {
        char key[16];
        key_text(key, i);
        assert_int_equal(strata_set(session, ns, test_bytes(key), test_bytes("v"), NULL, done, &answers[i]),
                         STRATA_PENDING);
    }
    test_sleep_ms(20);
    assert_int_equal(strata_close(engine, 20), STRATA_E_TIMEOUT);
    sx_cluster_resume(server, 0);
    strata_session_close(session);
    for (int i = 0; i < 8; i++) {
        assert_int_equal(answers[i].count, 1);
        assert_int_equal(answers[i].status, STRATA_E_UNKNOWN_OUTCOME);
    }
    test_alloc_check_empty(&alloc);
}

static int setup(void **state) {
    *state = start_server();
    return 0;
}

static int teardown(void **state) {
    sx_cluster_stop(*state);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(no_read_goes_back, setup, teardown),
        cmocka_unit_test_setup_teardown(who_joins_a_request_has_his_own_deadline, setup, teardown),
        cmocka_unit_test_setup_teardown(writes_under_way_at_close_leave_nothing, setup, teardown),
    };
    if (!sx_cluster_available()) return 77;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
