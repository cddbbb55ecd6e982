/* SPDX-License-Identifier: Apache-2.0 */
/* The engine without L2: every operation of the public API as a plain in-process cache. */
#include <poll.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/memory/heap.h"
#include "tests/flow/fixture.h"
#include "tests/support/alloc.h"

static int setup(void **state) {
    fixture *f = fixture_create();
    fixture_open(f, TEST_OPTIONS("l2.mode", "none"), NULL);
    *state = f;
    return 0;
}

static void set_is_read_back(void **state) {
    fixture *f = *state;
    assert_null(test_peek(f->session, f->ns, "a"));
    assert_null(test_get(f->session, f->ns, "a"));
    assert_int_equal(test_set(f->session, f->ns, "a", "one"), STRATA_OK);
    assert_string_equal(test_peek(f->session, f->ns, "a"), "one");
    assert_string_equal(test_get(f->session, f->ns, "a"), "one");
    assert_int_equal(test_set(f->session, f->ns, "a", ""), STRATA_OK);
    assert_string_equal(test_peek(f->session, f->ns, "a"), "");
    strata_namespace *other = test_engine_ns(f->engine, "orders");
    assert_null(test_peek(f->session, other, "a"));
    assert_int_equal(strata_invalidate_wait(f->session, f->ns, test_bytes("a"), NULL), STRATA_OK);
    assert_null(test_peek(f->session, f->ns, "a"));
    assert_int_equal(test_metric(f->engine, "flow.sets"), 2);
    assert_int_equal(test_metric(f->engine, "l1.entries"), 0);
}

static void values_expire_by_the_injected_clock(void **state) {
    fixture *f = *state;
    strata_open_options template_ = {.clock = {&f->clock, fixture_now_ns}};
    strata *engine = test_engine_open(TEST_OPTIONS("l2.mode", "none", "flow.ttl_jitter", "0"), &template_);
    strata_namespace *ns = test_engine_ns(engine, "users");
    strata_session *session = test_engine_session(engine);
    strata_namespace_policy endless = {.struct_size = sizeof endless, .flags = STRATA_POLICY_ENDLESS};
    assert_int_equal(strata_namespace_policy_set(ns, &endless, NULL), STRATA_OK);
    strata_op_options ttl = {.struct_size = sizeof ttl, .ttl_ms = 1000};
    strata_op_options never = {.struct_size = sizeof never, .ttl_ms = STRATA_EXPIRES_NEVER};
    assert_int_equal(strata_set_wait(session, ns, test_bytes("a"), test_bytes("1"), &ttl, NULL), STRATA_OK);
    assert_int_equal(strata_set_wait(session, ns, test_bytes("b"), test_bytes("2"), &never, NULL), STRATA_OK);
    test_clock_advance(&f->clock, INT64_C(400000000));
    strata_result result;
    assert_int_equal(strata_peek(session, ns, test_bytes("a"), &result), STRATA_OK);
    assert_int_equal(result.ttl_ms, 600);
    assert_int_equal(result.age_ms, 400);
    assert_int_equal(result.source, STRATA_FROM_L1);
    strata_result_release(session, &result);
    test_clock_advance(&f->clock, INT64_C(600000000));
    assert_null(test_peek(session, ns, "a"));
    test_clock_advance(&f->clock, INT64_C(1000000000) * 3600 * 24 * 400);
    assert_string_equal(test_peek(session, ns, "b"), "2");
    strata_session_close(session);
    strata_close(engine, 1000);
}

/* ---- loads --------------------------------------------------------------------------------------------------- */

typedef struct loader {
    int calls;
    int32_t status;
    const char *value;
    strata_load *kept; /* where it does not finish at once */
    bool keep;
} loader;

static void load(strata_load *run, void *user) {
    loader *l = user;
    l->calls++;
    if (l->keep) l->kept = run;
    else strata_load_finish(run, l->status, test_bytes(l->value), NULL);
}

typedef struct answers {
    int count;
    int32_t status;
    char value[64];
    uint8_t source;
} answers;

static void done(void *user, const strata_result *result) {
    answers *a = user;
    a->count++;
    a->status = result->status;
    a->source = result->source;
    assert_true(result->value.size < sizeof a->value);
    memcpy(a->value, result->value.size == 0 ? "" : result->value.data, result->value.size);
    a->value[result->value.size] = 0;
}

static void wait_for(strata_session *session, const int *count, int wanted) {
    for (int i = 0; i < 3000 && *count < wanted; i++) strata_session_wait(session, 10);
    assert_int_equal(*count, wanted);
}

static void one_load_serves_all_who_wait(void **state) {
    fixture *f = *state;
    loader l = {.value = "loaded", .keep = true};
    answers a = {0}, b = {0};
    strata_result result;
    assert_int_equal(strata_get_or_load(f->session, f->ns, test_bytes("k"), NULL, load, &l, &result, done, &a),
                     STRATA_PENDING);
    assert_int_equal(strata_get_or_load(f->session, f->ns, test_bytes("k"), NULL, load, &l, &result, done, &b),
                     STRATA_PENDING);
    assert_int_equal(a.count + b.count, 0); /* never before the starting call returned */
    wait_for(f->session, &l.calls, 1);
    assert_int_equal(strata_load_key(l.kept).size, 1);
    strata_load_finish(l.kept, STRATA_OK, test_bytes("loaded"), NULL);
    wait_for(f->session, &a.count, 1);
    wait_for(f->session, &b.count, 1);
    assert_int_equal(l.calls, 1);
    assert_string_equal(b.value, "loaded");
    assert_int_equal(a.source, STRATA_FROM_LOADER);
    assert_string_equal(test_peek(f->session, f->ns, "k"), "loaded");
    assert_int_equal(test_metric(f->engine, "flow.loads"), 1);
}

static void a_load_overtaken_by_an_invalidation_is_not_kept(void **state) {
    fixture *f = *state;
    loader l = {.value = "old", .keep = true};
    answers before = {0}, after = {0};
    strata_result result;
    strata_get_or_load(f->session, f->ns, test_bytes("k"), NULL, load, &l, &result, done, &before);
    wait_for(f->session, &l.calls, 1);
    assert_int_equal(strata_invalidate_wait(f->session, f->ns, test_bytes("k"), NULL), STRATA_OK);
    strata_get_or_load(f->session, f->ns, test_bytes("k"), NULL, load, &l, &result, done, &after);
    strata_load *first = l.kept;
    l.keep = false;
    l.value = "new";
    strata_load_finish(first, STRATA_OK, test_bytes("old"), NULL);
    wait_for(f->session, &before.count, 1);
    wait_for(f->session, &after.count, 1);
    assert_string_equal(before.value, "old");
    assert_string_equal(after.value, "new"); /* who asked after the invalidation is not given the older result */
    assert_int_equal(l.calls, 2);
    assert_string_equal(test_peek(f->session, f->ns, "k"), "new");
}

static void a_set_during_a_load_stays(void **state) {
    fixture *f = *state;
    loader l = {.value = "old", .keep = true};
    answers a = {0};
    strata_result result;
    strata_get_or_load(f->session, f->ns, test_bytes("k"), NULL, load, &l, &result, done, &a);
    wait_for(f->session, &l.calls, 1);
    assert_int_equal(test_set(f->session, f->ns, "k", "set"), STRATA_OK);
    strata_load_finish(l.kept, STRATA_OK, test_bytes("old"), NULL);
    wait_for(f->session, &a.count, 1);
    assert_string_equal(test_peek(f->session, f->ns, "k"), "set");
}

static void loads_fail_and_miss(void **state) {
    fixture *f = *state;
    loader failing = {.status = STRATA_E_UNAVAILABLE, .value = ""}, absent = {.status = STRATA_MISS, .value = ""};
    strata_result result;
    assert_int_equal(strata_get_or_load_wait(f->session, f->ns, test_bytes("x"), NULL, load, &failing, &result),
                     STRATA_E_LOAD_FAILED);
    assert_int_equal(strata_get_or_load_wait(f->session, f->ns, test_bytes("x"), NULL, load, &absent, &result),
                     STRATA_MISS);
    loader good = {.value = "v"};
    assert_int_equal(strata_get_or_load_wait(f->session, f->ns, test_bytes("x"), NULL, load, &good, &result), STRATA_OK);
    assert_int_equal(result.source, STRATA_FROM_LOADER);
    strata_result_release(f->session, &result);
    assert_int_equal(test_metric(f->engine, "flow.load_failures"), 1);
}

static void a_load_that_never_ends_times_out(void **state) {
    fixture *f = *state;
    loader l = {.value = "", .keep = true};
    strata_op_options options = {.struct_size = sizeof options, .deadline_ms = 50};
    strata_result result;
    int64_t start_ms = test_now_ms();
    assert_int_equal(strata_get_or_load_wait(f->session, f->ns, test_bytes("x"), &options, load, &l, &result),
                     STRATA_E_TIMEOUT);
    int64_t took_ms = test_now_ms() - start_ms;
    assert_in_range(took_ms, 49, 4000);
    assert_non_null(l.kept);
    strata_load_finish(l.kept, STRATA_OK, test_bytes("late"), NULL); /* still fills the cache */
    for (int i = 0; i < 6000 && test_peek(f->session, f->ns, "x") == NULL; i++) test_sleep_ms(5);
    assert_string_equal(test_peek(f->session, f->ns, "x"), "late");
}

static void a_load_that_nobody_runs_is_asked_of_another(void **state) {
    fixture *f = *state;
    strata_session *lazy = test_engine_session(f->engine); /* never dispatched in time */
    loader never = {.value = "never"}, good = {.value = "good"};
    strata_op_options brief = {.struct_size = sizeof brief, .deadline_ms = 30};
    answers a = {0};
    strata_result result;
    strata_get_or_load(lazy, f->ns, test_bytes("x"), &brief, load, &never, &result, done, &a);
    assert_int_equal(strata_get_or_load_wait(f->session, f->ns, test_bytes("x"), NULL, load, &good, &result), STRATA_OK);
    assert_memory_equal(result.value.data, "good", 4);
    strata_result_release(f->session, &result);
    wait_for(lazy, &a.count, 1);
    assert_int_equal(a.status, STRATA_E_TIMEOUT);
    assert_int_equal(never.calls, 0);
    strata_session_close(lazy);
}

static void a_session_that_closes_cancels_and_passes_its_load_on(void **state) {
    fixture *f = *state;
    strata_session *leaving = test_engine_session(f->engine);
    loader l = {.value = "v"};
    answers gone = {0}, stays = {0};
    strata_result result;
    strata_get_or_load(leaving, f->ns, test_bytes("x"), NULL, load, &l, &result, done, &gone);
    strata_get_or_load(f->session, f->ns, test_bytes("x"), NULL, load, &l, &result, done, &stays);
    strata_session_close(leaving);
    assert_int_equal(gone.count, 1);
    assert_int_equal(gone.status, STRATA_E_CANCELLED);
    wait_for(f->session, &stays.count, 1);
    assert_int_equal(stays.status, STRATA_OK);
    assert_int_equal(l.calls, 1);
}

typedef struct pool {
    void (*task)(void *);
    void *argument;
    pthread_t thread;
    int started;
} pool;

static void *pool_thread(void *argument) {
    pool *p = argument;
    p->task(p->argument);
    return NULL;
}

static void pool_execute(void *context, void (*task)(void *), void *argument) {
    pool *p = context;
    p->task = task;
    p->argument = argument;
    p->started++;
    pthread_create(&p->thread, NULL, pool_thread, p);
}

static void loaders_run_on_the_executor(void **state) {
    (void)state;
    pool p = {0};
    strata_open_options template_ = {.executor = {&p, pool_execute}};
    strata *engine = test_engine_open(TEST_OPTIONS("l2.mode", "none"), &template_);
    strata_session *session = test_engine_session(engine);
    strata_namespace *ns = test_engine_ns(engine, "n");
    loader l = {.value = "v"};
    strata_result result;
    assert_int_equal(strata_get_or_load_wait(session, ns, test_bytes("x"), NULL, load, &l, &result), STRATA_OK);
    strata_result_release(session, &result);
    assert_int_equal(p.started, 1);
    pthread_join(p.thread, NULL);
    strata_session_close(session);
    strata_close(engine, 1000);
}

/* ---- results, batches, sessions ------------------------------------------------------------------------------ */

static void a_kept_value_outlives_its_engine(void **state) {
    (void)state;
    strata *engine = test_engine_open(TEST_OPTIONS("l2.mode", "none"), NULL);
    strata_session *session = test_engine_session(engine);
    strata_namespace *ns = test_engine_ns(engine, "n");
    test_set(session, ns, "x", "kept");
    strata_result result;
    assert_int_equal(strata_peek(session, ns, test_bytes("x"), &result), STRATA_OK);
    strata_value *value = NULL;
    assert_int_equal(strata_result_retain(session, &result, &value), STRATA_OK);
    strata_result_release(session, &result);
    strata_session_close(session);
    strata_close(engine, 1000);
    assert_memory_equal(strata_value_bytes(value).data, "kept", 4);
    strata_value_release(strata_value_retain(value));
    strata_value_release(value);
}

static void batch_done(void *user, const strata_result *results, size_t count) {
    int *seen = user;
    assert_int_equal(count, 3);
    assert_int_equal(results[0].status, STRATA_OK);
    assert_int_equal(results[1].status, STRATA_MISS);
    assert_memory_equal(results[2].value.data, "three", 5);
    (*seen)++;
}

static void batches_answer_key_by_key(void **state) {
    fixture *f = *state;
    strata_bytes keys[] = {test_bytes("1"), test_bytes("2"), test_bytes("3")};
    strata_bytes set_keys[] = {keys[0], keys[2]}, values[] = {test_bytes("one"), test_bytes("three")};
    strata_result results[3];
    assert_int_equal(strata_mset_wait(f->session, f->ns, set_keys, values, 2, NULL, results), STRATA_OK);
    assert_int_equal(results[1].status, STRATA_OK);
    assert_int_equal(strata_mget_wait(f->session, f->ns, keys, 3, NULL, results), STRATA_OK);
    assert_memory_equal(results[0].value.data, "one", 3);
    assert_int_equal(results[1].status, STRATA_MISS);
    for (int i = 0; i < 3; i++) strata_result_release(f->session, &results[i]);
    int seen = 0;
    assert_int_equal(strata_mget(f->session, f->ns, keys, 3, NULL, batch_done, &seen), STRATA_PENDING);
    assert_int_equal(seen, 0);
    assert_int_equal(strata_session_dispatch(f->session, 0), 1);
    assert_int_equal(seen, 1);
    assert_int_equal(strata_mset(f->session, f->ns, set_keys, values, 2, NULL, NULL, NULL), STRATA_PENDING);
    assert_int_equal(strata_session_dispatch(f->session, 0), 1);
}

/* More keys than are asked for together: each answer belongs to its key. */
static void long_batches_keep_their_order(void **state) {
    fixture *f = *state;
    enum { COUNT = 41 };
    uint32_t numbers[COUNT];
    strata_bytes keys[COUNT], values[COUNT];
    strata_result results[COUNT];
    for (uint32_t i = 0; i < COUNT; i++) {
        numbers[i] = 1000 + i;
        keys[i] = values[i] = (strata_bytes){&numbers[i], sizeof numbers[i]};
    }
    assert_int_equal(strata_mset_wait(f->session, f->ns, keys, values, COUNT, NULL, results), STRATA_OK);
    for (uint32_t i = 0; i < COUNT; i += 3)
        assert_int_equal(strata_invalidate_wait(f->session, f->ns, keys[i], NULL), STRATA_OK);
    assert_int_equal(strata_mget_wait(f->session, f->ns, keys, COUNT, NULL, results), STRATA_OK);
    for (uint32_t i = 0; i < COUNT; i++) {
        assert_int_equal(results[i].status, i % 3 == 0 ? STRATA_MISS : STRATA_OK);
        if (i % 3 != 0) assert_memory_equal(results[i].value.data, &numbers[i], sizeof numbers[i]);
        strata_result_release(f->session, &results[i]);
    }
}

static void the_descriptor_tells_of_completions(void **state) {
    fixture *f = *state;
    strata_bytes keys[] = {test_bytes("1")};
    struct pollfd poller = {strata_session_fd(f->session), POLLIN, 0};
    assert_int_equal(poll(&poller, 1, 0), 0);
    for (int i = 0; i < 3; i++)
        strata_mset(f->session, f->ns, keys, keys, 1, NULL, NULL, NULL);
    assert_int_equal(poll(&poller, 1, 1000), 1);
    assert_int_equal(strata_session_dispatch(f->session, 1), 1);
    assert_int_equal(poll(&poller, 1, 0), 1); /* two are left */
    assert_int_equal(strata_session_dispatch(f->session, 0), 2);
    assert_int_equal(strata_session_dispatch(f->session, 0), 0);
    assert_int_equal(strata_session_wait(f->session, 10), 0);
    assert_int_equal(poll(&poller, 1, 0), 0);
}

static void sessions_survive_their_engine(void **state) {
    (void)state;
    strata *engine = test_engine_open(TEST_OPTIONS("l2.mode", "none"), NULL);
    strata_session *session = test_engine_session(engine);
    strata_namespace *ns = test_engine_ns(engine, "n");
    loader l = {.value = "", .keep = true};
    answers a = {0};
    strata_result result;
    test_set(session, ns, "x", "pinned");
    assert_int_equal(strata_peek(session, ns, test_bytes("x"), &result), STRATA_OK);
    strata_result other;
    strata_get_or_load(session, ns, test_bytes("y"), NULL, load, &l, &other, done, &a);
    wait_for(session, &l.calls, 1);
    assert_int_equal(strata_close(engine, 10), STRATA_E_TIMEOUT); /* the load had to be cut off */
    assert_memory_equal(result.value.data, "pinned", 6);          /* a pin holds */
    assert_int_equal(strata_peek(session, ns, test_bytes("x"), &other), STRATA_E_CLOSED);
    assert_int_equal(test_set(session, ns, "x", "no"), STRATA_E_CLOSED);
    assert_int_equal(strata_session_dispatch(session, 0), 1);
    assert_int_equal(a.status, STRATA_E_CLOSED);
    strata_load_finish(l.kept, STRATA_OK, test_bytes("late"), NULL);
    strata_result_release(session, &result);
    strata_session_close(session);
}

static void *open_and_leave(void *argument) {
    fixture *f = argument;
    strata_session *session = test_engine_session(f->engine);
    strata_session *second = test_engine_session(f->engine);
    assert_non_null(second);
    static answers ignored; /* used when this function has returned */
    static loader l = {.value = "v"};
    strata_result result;
    strata_get_or_load(session, f->ns, test_bytes("t"), NULL, load, &l, &result, done, &ignored);
    return NULL; /* closes neither: the end of the thread does, and completes inside it */
}

static void a_thread_that_ends_closes_its_sessions(void **state) {
    fixture *f = *state;
    int64_t before = test_metric(f->engine, "flow.sessions");
    pthread_t thread;
    pthread_create(&thread, NULL, open_and_leave, f);
    pthread_join(thread, NULL);
    assert_int_equal(test_metric(f->engine, "flow.sessions"), before);
}

static void a_forked_child_is_told_so(void **state) {
    fixture *f = *state;
    test_set(f->session, f->ns, "a", "1");
    pid_t child = fork();
    if (child == 0) {
        strata_result result;
        strata_session *session;
        int good = strata_peek(f->session, f->ns, test_bytes("a"), &result) == STRATA_E_FORKED &&
                   strata_session_open(f->engine, &session) == STRATA_E_FORKED &&
                   test_set(f->session, f->ns, "a", "2") == STRATA_E_FORKED &&
                   strata_session_dispatch(f->session, 0) == STRATA_E_FORKED &&
                   strata_close(f->engine, 0) == STRATA_E_FORKED;
        strata_session_close(f->session);
        _exit(good ? 0 : 1);
    }
    int status = 1;
    waitpid(child, &status, 0);
    assert_int_equal(status, 0);
    assert_string_equal(test_peek(f->session, f->ns, "a"), "1");
}

/* ---- bad input ------------------------------------------------------------------------------------------------ */

static void bad_arguments_have_a_status(void **state) {
    fixture *f = *state;
    strata_result result;
    static char long_key[STRATA_KEY_BYTES_MAX + 1];
    strata_bytes too_long = {long_key, sizeof long_key}, empty = {"", 0}, none = {NULL, 3};
    assert_int_equal(strata_peek(f->session, f->ns, too_long, &result), STRATA_E_KEY_SIZE);
    assert_int_equal(strata_peek(f->session, f->ns, empty, &result), STRATA_E_KEY_SIZE);
    assert_int_equal(strata_set_wait(f->session, f->ns, test_bytes("a"), none, NULL, NULL), STRATA_E_INVALID);
    strata_op_options bad = {.struct_size = 3}, flags = {.struct_size = sizeof flags, .flags = 0x80};
    assert_int_equal(strata_get_wait(f->session, f->ns, test_bytes("a"), &bad, &result), STRATA_E_INVALID);
    assert_int_equal(strata_get_wait(f->session, f->ns, test_bytes("a"), &flags, &result), STRATA_E_INVALID);
    assert_int_equal(strata_mget_wait(f->session, f->ns, NULL, 0, NULL, &result), STRATA_E_INVALID);
    strata_namespace *ns;
    assert_int_equal(strata_namespace_open(f->engine, "", 1, &ns), STRATA_E_INVALID);
    assert_int_equal(strata_namespace_open(f->engine, "a:b", 1, &ns), STRATA_E_INVALID);
    strata *second = test_engine_open(TEST_OPTIONS("l2.mode", "none"), NULL);
    strata_namespace *foreign = test_engine_ns(second, "x");
    assert_int_equal(strata_peek(f->session, foreign, test_bytes("a"), &result), STRATA_E_INVALID);
    strata_close(second, 0);
    strata_open_options options = {.struct_size = 3};
    strata_error error;
    strata *engine;
    assert_int_equal(strata_open(&options, &engine, &error), STRATA_E_INVALID);
    assert_non_null(strstr(error.text, "struct_size"));
}

static void options_change_while_open(void **state) {
    fixture *f = *state;
    char text[64];
    strata_error error;
    assert_int_equal(strata_option_get(f->engine, "l1.bytes", text, sizeof text), STRATA_OK);
    assert_string_equal(text, "256MiB");
    assert_int_equal(strata_option_set(f->engine, "l1.bytes", "64MiB", &error), STRATA_OK);
    assert_int_equal(test_metric(f->engine, "l1.bytes_max"), 64 << 20);
    assert_int_equal(strata_option_set(f->engine, "l1.bytes", "3 parsecs", &error), STRATA_E_CONFIG);
    assert_non_null(strstr(error.text, "l1.bytes"));
    assert_int_equal(strata_option_set(f->engine, "l1.policy", "lru", &error), STRATA_OK);
    assert_int_equal(strata_option_get(f->engine, "l1.policy", text, sizeof text), STRATA_OK);
    assert_string_equal(text, "lru");
    assert_int_equal(strata_option_set(f->engine, "l1.policy", "mru", &error), STRATA_E_CONFIG);
    assert_non_null(strstr(error.text, "l1.policy"));
    assert_int_equal(strata_option_set(f->engine, "coherence.partitions", "512", &error), STRATA_E_CONFIG);
    assert_string_equal(error.text, "option 'coherence.partitions' can't change while open");
    assert_int_equal(strata_option_set(f->engine, "no.such", "1", &error), STRATA_E_CONFIG);
}

static void *failing_allocate(void *context, size_t size, size_t alignment) {
    test_alloc *alloc = context;
    return alloc->table.allocate(alloc->table.context, size, alignment);
}
static void failing_release(void *context, void *memory, size_t size) {
    test_alloc *alloc = context;
    alloc->table.release(alloc->table.context, memory, size);
}

/* Every allocation of an engine's life is made to fail in turn: a status, no crash, nothing left behind. */
static void out_of_memory_is_a_status(void **state) {
    (void)state;
    for (int64_t k = 1;; k++) {
        test_alloc alloc;
        test_alloc_init(&alloc);
        strata_open_options template_ = {.allocator = {&alloc, failing_allocate, failing_release}};
        strata *engine = NULL;
        strata_error error;
        test_alloc_fail_at(&alloc, k);
        int32_t status = test_engine_try(TEST_OPTIONS("l2.mode", "none", "l1.bytes", "1MiB"), &template_, &engine, &error);
        if (status == STRATA_OK) {
            strata_session *session = NULL;
            strata_namespace *ns = NULL;
            loader l = {.value = "v"};
            strata_result result;
            if (strata_namespace_open(engine, "n", 1, &ns) == STRATA_OK &&
                strata_session_open(engine, &session) == STRATA_OK) {
                (void)test_set(session, ns, "a", "1");
                if (strata_get_or_load_wait(session, ns, test_bytes("b"), NULL, load, &l, &result) == STRATA_OK)
                    strata_result_release(session, &result);
                strata_bytes key = test_bytes("c");
                (void)strata_mset(session, ns, &key, &key, 1, NULL, NULL, NULL);
            }
            strata_session_close(session);
            strata_close(engine, 1000);
        } else {
            assert_int_equal(status, STRATA_E_NOMEM);
        }
        test_alloc_check_empty(&alloc);
        if (alloc.failed != 0) continue;
        assert_int_equal(status, STRATA_OK); /* else nothing of all this was tried */
        break;
    }
}

/* Items name their heap in a few bits: where a process has as many as that, the next engine is refused, and told why. */
static void a_process_has_room_for_so_many_engines(void **state) {
    (void)state;
    static sx_heap *heaps[SX_HEAPS_MAX];
    uint32_t count = 0;
    test_alloc alloc;
    test_alloc_init(&alloc);
    while (count < SX_HEAPS_MAX && sx_heap_create(&alloc.table, &heaps[count]) == STRATA_OK) count++;
    strata *engine = NULL;
    strata_error error = {0};
    assert_int_equal(test_engine_try(TEST_OPTIONS("l2.mode", "none"), NULL, &engine, &error), STRATA_E_OVERLOADED);
    assert_null(engine);
    assert_non_null(strstr(error.text, "no room for another engine: a process has at most 1023"));
    sx_heap_release(heaps[--count]);
    assert_int_equal(test_engine_try(TEST_OPTIONS("l2.mode", "none"), NULL, &engine, &error), STRATA_OK);
    assert_int_equal(strata_close(engine, 1000), STRATA_OK);
    while (count > 0) sx_heap_release(heaps[--count]);
    test_alloc_check_empty(&alloc);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(set_is_read_back, setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(values_expire_by_the_injected_clock, setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(one_load_serves_all_who_wait, setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(a_load_overtaken_by_an_invalidation_is_not_kept, setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(a_set_during_a_load_stays, setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(loads_fail_and_miss, setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(a_load_that_never_ends_times_out, setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(a_load_that_nobody_runs_is_asked_of_another, setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(a_session_that_closes_cancels_and_passes_its_load_on, setup, fixture_teardown),
        cmocka_unit_test(loaders_run_on_the_executor),
        cmocka_unit_test(a_kept_value_outlives_its_engine),
        cmocka_unit_test(a_process_has_room_for_so_many_engines),
        cmocka_unit_test_setup_teardown(batches_answer_key_by_key, setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(long_batches_keep_their_order, setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(the_descriptor_tells_of_completions, setup, fixture_teardown),
        cmocka_unit_test(sessions_survive_their_engine),
        cmocka_unit_test_setup_teardown(a_thread_that_ends_closes_its_sessions, setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(a_forked_child_is_told_so, setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(bad_arguments_have_a_status, setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(options_change_while_open, setup, fixture_teardown),
        cmocka_unit_test(out_of_memory_is_a_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
