/* SPDX-License-Identifier: Apache-2.0 */
/* Many threads do everything at once without L2: each operation ends exactly once, and no read is older than its start. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include <cmocka.h>

#include "tests/support/engine.h"

#define KEYS       48
#define WORKERS    4
#define FINISHERS  2
#define ROUNDS     8 /* or more, until everything happened */
#define ROUNDS_MAX 100
#define ROUND_MS   350

/* A loader that was called, or a task of the executor, waiting for a finisher thread. */
typedef struct job {
    struct job *next;
    strata_load *load;
    void (*task)(void *argument);
    void *argument;
} job;

/* The source of truth: key k is written by thread k % WORKERS only. version: what a loader finds; floor: the version
   whose set or invalidation has returned. A read that begins after that must not find less. */
typedef struct world {
    strata *engine;
    strata_namespace *ns;
    _Atomic uint64_t version[KEYS], floor[KEYS];
    _Atomic int64_t started, ended, cancelled, hits, loads, timeouts, wrong;
    _Atomic int stop, parked, closed, over;
    pthread_mutex_t lock;
    job *jobs; /* lock: lock */
} world;

typedef struct worker {
    world *w;
    uint32_t index;
    uint64_t random;
    strata_session *session;
    pthread_t thread;
} worker;

/* One asynchronous operation. */
typedef struct call {
    world *w;
    strata_session *session; /* NULL: its callback may run on the loop */
    int key;
    uint64_t floor;
    int ends;
} call;

static uint64_t next_random(worker *me) {
    me->random ^= me->random << 13;
    me->random ^= me->random >> 7;
    me->random ^= me->random << 17;
    return me->random;
}

static void key_text(char out[16], int key) {
    snprintf(out, 16, "key%d", key);
}
static void value_text(char out[48], int key, uint64_t version) {
    snprintf(out, 48, "key%d=%llu", key, (unsigned long long)version);
}

static void check_value(world *w, int key, uint64_t floor, const strata_result *result) {
    char text[48] = "", prefix[16], *rest = NULL;
    size_t size = result->value.size;
    if (size != 0 && size < sizeof text) memcpy(text, result->value.data, size);
    key_text(prefix, key);
    size_t length = strlen(prefix);
    bool good = strncmp(text, prefix, length) == 0 && text[length] == '=';
    uint64_t version = good ? strtoull(text + length + 1, &rest, 10) : 0;
    if (good && *rest == 0 && version >= floor) return;
    fprintf(stderr, "key %d: '%s', but %llu was written before (source %d)\n", key, text,
            (unsigned long long)floor, result->source);
    atomic_fetch_add(&w->wrong, 1);
}

/* ---- loaders -------------------------------------------------------------------------------------------------- */

static void finish(world *w, strata_load *load) {
    char text[48], prefix[16] = "";
    strata_bytes key = strata_load_key(load);
    memcpy(prefix, key.data, key.size < sizeof prefix ? key.size : sizeof prefix - 1);
    int k = atoi(prefix + 3);
    uint64_t version = atomic_load(&w->version[k]);
    value_text(text, k, version);
    if (version % 7 == 0) sched_yield();
    strata_load_result details = {.struct_size = sizeof details, .ttl_ms = version % 5 == 0 ? 3 : 0};
    if (version % 11 == 0)
        strata_load_finish(load, STRATA_MISS, test_bytes(""), NULL);
    else
        strata_load_finish(load, STRATA_OK, test_bytes(text), &details);
}

static void push(world *w, job made) {
    job *j = malloc(sizeof *j);
    *j = made;
    pthread_mutex_lock(&w->lock);
    j->next = w->jobs;
    w->jobs = j;
    pthread_mutex_unlock(&w->lock);
}

/* One in three ends inside the call, the others on another thread. */
static void load(strata_load *run, void *user) {
    world *w = user;
    if (atomic_fetch_add(&w->loads, 1) % 3 == 0)
        finish(w, run);
    else
        push(w, (job){.load = run});
}

static void execute(void *context, void (*task)(void *argument), void *argument) {
    push(context, (job){.task = task, .argument = argument});
}

static void *finisher(void *argument) {
    world *w = argument;
    for (;;) {
        pthread_mutex_lock(&w->lock);
        job *j = w->jobs;
        if (j != NULL) w->jobs = j->next;
        pthread_mutex_unlock(&w->lock);
        if (j == NULL) {
            if (atomic_load(&w->over)) return NULL;
            sched_yield();
            continue;
        }
        if (j->task != NULL)
            j->task(j->argument);
        else
            finish(w, j->load);
        free(j);
    }
}

/* ---- operations ----------------------------------------------------------------------------------------------- */

static void done(void *user, const strata_result *result) {
    call *c = user;
    world *w = c->w;
    if (c->ends++ != 0) atomic_fetch_add(&w->wrong, 1);
    if (result->status == STRATA_OK) check_value(w, c->key, c->floor, result);
    if (result->status == STRATA_E_TIMEOUT) atomic_fetch_add(&w->timeouts, 1);
    if (result->status == STRATA_E_CANCELLED) {
        atomic_fetch_add(&w->cancelled, 1);
        strata_result ignored;
        if (c->session != NULL && strata_get_or_load(c->session, w->ns, test_bytes("key0"), NULL, load, w,
                                                     &ignored, done, NULL) != STRATA_E_CLOSED)
            atomic_fetch_add(&w->wrong, 1);
    }
    atomic_fetch_add(&w->ended, 1);
    free(c); /* a second completion would use it */
}

static strata_op_options random_options(worker *me) {
    uint64_t r = next_random(me);
    strata_op_options options = {.struct_size = sizeof options};
    if (r % 3 == 0) options.deadline_ms = 1 + (uint32_t)(r >> 8) % 4;
    if (r % 5 == 0) options.flags |= STRATA_ON_LOOP;
    if (r % 17 == 0) options.flags |= STRATA_BYPASS_L1;
    return options;
}

static void load_async(worker *me, int key) {
    world *w = me->w;
    char name[16];
    key_text(name, key);
    strata_op_options options = random_options(me);
    call *c = malloc(sizeof *c);
    *c = (call){w, (options.flags & STRATA_ON_LOOP) != 0 ? NULL : me->session, key,
                atomic_load(&w->floor[key]), 0};
    uint64_t floor = c->floor; /* c may be gone when the call returns */
    strata_result result;
    atomic_fetch_add(&w->started, 1);
    int32_t status =
        strata_get_or_load(me->session, w->ns, test_bytes(name), &options, load, w, &result, done, c);
    if (status == STRATA_PENDING) return;
    atomic_fetch_add(&w->ended, 1);
    free(c);
    if (status == STRATA_OK) {
        check_value(w, key, floor, &result);
        atomic_fetch_add(&w->hits, 1);
        strata_result_release(me->session, &result);
    }
}

static void load_and_wait(worker *me, int key) {
    world *w = me->w;
    char name[16];
    key_text(name, key);
    strata_op_options options = random_options(me);
    uint64_t floor = atomic_load(&w->floor[key]);
    strata_result result;
    if (strata_get_or_load_wait(me->session, w->ns, test_bytes(name), &options, load, w, &result) !=
        STRATA_OK)
        return;
    check_value(w, key, floor, &result);
    strata_result_release(me->session, &result);
}

static void write_own(worker *me, uint64_t r) {
    world *w = me->w;
    int key = (int)((r >> 8) % (KEYS / WORKERS) * WORKERS + me->index);
    char name[16], text[48];
    key_text(name, key);
    uint64_t version = atomic_fetch_add(&w->version[key], 1) + 1;
    value_text(text, key, version);
    int32_t status = r % 2 == 0 ? strata_invalidate(me->session, w->ns, test_bytes(name), NULL, NULL, NULL)
                                : test_set(me->session, w->ns, name, text);
    if (status == STRATA_OK) atomic_store(&w->floor[key], version);
}

static void read_many(worker *me) {
    world *w = me->w;
    char names[6][16];
    strata_bytes keys[6];
    uint64_t floors[6];
    strata_result results[6];
    for (int i = 0; i < 6; i++) {
        key_text(names[i], i * 7);
        keys[i] = test_bytes(names[i]);
        floors[i] = atomic_load(&w->floor[i * 7]);
    }
    if (strata_mget_wait(me->session, w->ns, keys, 6, NULL, results) != STRATA_OK) return;
    for (int i = 0; i < 6; i++) {
        if (results[i].status == STRATA_OK) check_value(w, i * 7, floors[i], &results[i]);
        strata_result_release(me->session, &results[i]);
    }
}

static void *brief_thread(void *argument) { /* leaves its session to the end of the thread */
    worker *me = argument;
    me->session = test_engine_session(me->w->engine);
    for (int i = 0; i < 8; i++) load_async(me, (int)(next_random(me) % KEYS));
    strata_session_dispatch(me->session, 2);
    return NULL;
}

static void step(worker *me) {
    uint64_t r = next_random(me);
    int key = (int)((r >> 16) % KEYS);
    switch (r % 16) {
    case 0:
    case 1:
    case 2: write_own(me, r >> 4); break;
    case 3: load_and_wait(me, key); break;
    case 4: read_many(me); break;
    case 5: strata_session_wait(me->session, 1); break;
    case 6:
    case 7: strata_session_dispatch(me->session, (uint32_t)(r >> 20) % 4); break;
    case 8:
        if ((r >> 32) % 64 == 0) {
            worker brief = {.w = me->w, .index = me->index, .random = r | 1};
            pthread_create(&brief.thread, NULL, brief_thread, &brief);
            pthread_join(brief.thread, NULL);
        } else if ((r >> 32) % 8 == 1) {
            strata_session_close(me->session);
            me->session = test_engine_session(me->w->engine);
        }
        break;
    default: load_async(me, key);
    }
}

static void *worker_thread(void *argument) {
    worker *me = argument;
    world *w = me->w;
    me->session = test_engine_session(w->engine);
    while (!atomic_load(&w->stop)) step(me);
    if (me->index == 0) strata_session_close(me->session);
    atomic_fetch_add(&w->parked, 1);
    while (!atomic_load(&w->closed)) sched_yield(); /* the engine closes, loads still end */
    if (me->index != 0) strata_session_close(me->session);
    return NULL;
}

/* ---- rounds --------------------------------------------------------------------------------------------------- */

static void run_round(world *w, int round) {
    worker workers[WORKERS] = {{0}};
    pthread_t finishers[FINISHERS];
    strata_open_options template_ = {0};
    if (round % 2 == 1) template_.executor = (strata_executor){w, execute};
    w->engine = test_engine_open(TEST_OPTIONS("l2.mode", "none", "flow.load_timeout", "20ms"), &template_);
    w->ns = test_engine_ns(w->engine, "stress");
    w->stop = w->parked = w->closed = w->over = 0;
    for (int i = 0; i < FINISHERS; i++) pthread_create(&finishers[i], NULL, finisher, w);
    for (uint32_t i = 0; i < WORKERS; i++) {
        workers[i] =
            (worker){.w = w, .index = i, .random = UINT64_C(88172645463325252) * (i + 1) + (uint64_t)round};
        pthread_create(&workers[i].thread, NULL, worker_thread, &workers[i]);
    }
    test_sleep_ms(ROUND_MS);
    atomic_store(&w->stop, 1);
    while (atomic_load(&w->parked) < WORKERS) sched_yield();
    (void)strata_close(w->engine, (uint32_t)round % 3);
    atomic_store(&w->closed, 1);
    for (int i = 0; i < WORKERS; i++) pthread_join(workers[i].thread, NULL);
    atomic_store(&w->over, 1);
    for (int i = 0; i < FINISHERS; i++) pthread_join(finishers[i], NULL);
    assert_int_equal(w->started, w->ended);
    assert_int_equal(w->wrong, 0);
}

/* What a loader was late for, and what the close cut off, is a matter of luck. */
static bool had_of_each(const world *w) { return w->hits > 100 && w->loads > 100 && w->timeouts > 0 && w->cancelled > 0; }

static void everything_at_once(void **state) {
    (void)state;
    world *w = calloc(1, sizeof *w);
    pthread_mutex_init(&w->lock, NULL);
    int rounds = 0;
    while (rounds < ROUNDS || (rounds < ROUNDS_MAX && !had_of_each(w))) run_round(w, rounds++);
    fprintf(stderr, "operations %lld, at once %lld, loads %lld, timeouts %lld, cancelled %lld\n",
            (long long)w->started, (long long)w->hits, (long long)w->loads, (long long)w->timeouts,
            (long long)w->cancelled);
    assert_true(had_of_each(w));
    pthread_mutex_destroy(&w->lock);
    free(w);
}

/* ---- loads that end while the engine closes -------------------------------------------------------------------- */

#define LATE_ROUNDS  40
#define LATE_LOADS   64
#define LATE_THREADS 8

typedef struct late {
    strata_load *loads[LATE_LOADS];
    int count; /* owner: the session's thread, before go */
    _Atomic int next, go;
} late;

static void late_load(strata_load *run, void *user) {
    late *l = user;
    l->loads[l->count++] = run;
}

static void late_done(void *user, const strata_result *result) {
    (void)user, (void)result;
}

static void *late_finisher(void *argument) {
    late *l = argument;
    while (atomic_load(&l->go) == 0) sched_yield();
    for (int i; (i = atomic_fetch_add(&l->next, 1)) < l->count;)
        strata_load_finish(l->loads[i], STRATA_OK, test_bytes("late"), NULL);
    return NULL;
}

static void loads_end_while_the_engine_closes(void **state) {
    (void)state;
    for (int round = 0; round < LATE_ROUNDS; round++) {
        late l = {.count = 0};
        strata *engine = test_engine_open(TEST_OPTIONS("l2.mode", "none"), NULL);
        strata_namespace *ns = test_engine_ns(engine, "late");
        strata_session *session = test_engine_session(engine);
        for (int i = 0; i < LATE_LOADS; i++) {
            char key[16];
            strata_result result;
            key_text(key, i);
            strata_get_or_load(session, ns, test_bytes(key), NULL, late_load, &l, &result, late_done, NULL);
        }
        while (l.count < LATE_LOADS) strata_session_wait(session, 10);
        pthread_t threads[LATE_THREADS];
        for (int i = 0; i < LATE_THREADS; i++) pthread_create(&threads[i], NULL, late_finisher, &l);
        atomic_store(&l.go, 1);
        (void)strata_close(engine, 0);
        for (int i = 0; i < LATE_THREADS; i++) pthread_join(threads[i], NULL);
        strata_session_close(session);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(everything_at_once),
                                       cmocka_unit_test(loads_end_while_the_engine_closes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
