/* SPDX-License-Identifier: Apache-2.0 */
/* Batches that load, without L2: who is asked for what, each key's own end, and what happens where the caller goes. */
#include <stdio.h>

#include "core/flow/engine.h"
#include "tests/flow/fixture.h"

#define KEYS 100

typedef struct asked {
    int calls;
    size_t keys;
    char names[1024]; /* of the last call, each followed by a space */
    bool keep;
    size_t kept_count;
    strata_load *kept[KEYS];
} asked;

static void load_many(strata_load *const *loads, size_t count, void *user) {
    asked *a = user;
    a->calls++;
    a->keys += count;
    a->names[0] = 0;
    for (size_t i = 0; i < count; i++) {
        strata_bytes key = strata_load_key(loads[i]);
        size_t used = strlen(a->names);
        snprintf(a->names + used, sizeof a->names - used, "%.*s ", (int)key.size, (const char *)key.data);
    }
    for (size_t i = 0; i < count; i++) {
        strata_bytes key = strata_load_key(loads[i]);
        bool fails = memchr(key.data, 'x', key.size) != NULL, misses = memchr(key.data, 'm', key.size) != NULL;
        if (a->keep) a->kept[a->kept_count++] = loads[i];
        else (void)strata_load_finish(loads[i], fails ? -100 : misses ? STRATA_MISS : STRATA_OK, key, NULL);
    }
}

static strata_executor executor_of(void *context, void (*execute)(void *, void (*)(void *), void *)) {
    return (strata_executor){context, execute};
}

static fixture *open_batch(const strata_executor *executor) {
    fixture *f = fixture_create();
    strata_open_options template_ = {.clock = {&f->clock, fixture_now_ns}};
    if (executor != NULL) template_.executor = *executor;
    fixture_open(f, TEST_OPTIONS("l2.mode", "none", "flow.ttl_jitter", "0"), &template_);
    return f;
}

static int32_t read_many(fixture *f, const char *const *names, size_t count, asked *a, strata_result *results) {
    strata_bytes keys[KEYS];
    for (size_t i = 0; i < count; i++) keys[i] = test_bytes(names[i]);
    return strata_mget_or_load_wait(f->session, f->ns, keys, count, NULL, load_many, a, results);
}

static void release_all(fixture *f, strata_result *results, size_t count) {
    for (size_t i = 0; i < count; i++) strata_result_release(f->session, &results[i]);
}

static void the_loader_gets_what_is_missing_at_once(void **state) {
    (void)state;
    fixture *f = open_batch(NULL);
    static const char *const names[] = {"a", "b", "x", "m", "c"};
    strata_result results[5];
    asked a = {0};
    assert_int_equal(test_set(f->session, f->ns, "b", "set"), STRATA_OK);
    assert_int_equal(read_many(f, names, 5, &a, results), STRATA_OK);
    assert_int_equal(a.calls, 1);
    assert_string_equal(a.names, "a x m c ");
    assert_int_equal(test_metric(f->engine, "flow.batch_loads"), 1);
    assert_int_equal(test_metric(f->engine, "flow.loads"), 4);
    static const int32_t expected[] = {STRATA_OK, STRATA_OK, STRATA_E_LOAD_FAILED, STRATA_MISS, STRATA_OK};
    for (int i = 0; i < 5; i++) assert_int_equal(results[i].status, expected[i]);
    assert_int_equal(results[0].source, STRATA_FROM_LOADER);
    assert_int_equal(results[1].source, STRATA_FROM_L1);
    assert_memory_equal(results[1].value.data, "set", 3);
    assert_memory_equal(results[4].value.data, "c", 1);
    release_all(f, results, 5);
    assert_int_equal(read_many(f, names, 5, &a, results), STRATA_OK); /* what was found is kept */
    assert_int_equal(a.calls, 2);
    assert_string_equal(a.names, "x m ");
    release_all(f, results, 5);
    fixture_close(f);
}

static void what_is_asked_for_twice_is_loaded_once(void **state) {
    (void)state;
    fixture *f = open_batch(NULL);
    static const char *const names[] = {"a", "a", "b", "a"};
    strata_result results[4];
    asked a = {0};
    assert_int_equal(read_many(f, names, 4, &a, results), STRATA_OK);
    assert_string_equal(a.names, "a b ");
    for (int i = 0; i < 4; i++) assert_int_equal(results[i].status, STRATA_OK);
    release_all(f, results, 4);
    fixture_close(f);
}

typedef struct arrival {
    int count;
    int32_t status[KEYS];
} arrival;

static void arrived(void *user, const strata_result *results, size_t count) {
    arrival *all = user;
    all->count++;
    for (size_t i = 0; i < count; i++) all->status[i] = results[i].status;
}

static int32_t start_many(fixture *f, const char *const *names, size_t count, asked *a, arrival *all) {
    strata_bytes keys[KEYS];
    for (size_t i = 0; i < count; i++) keys[i] = test_bytes(names[i]);
    return strata_mget_or_load(f->session, f->ns, keys, count, NULL, load_many, a, arrived, all);
}

static void who_loads_already_is_waited_for(void **state) {
    (void)state;
    fixture *f = open_batch(NULL);
    static const char *const names[] = {"a", "held", "b"};
    asked a = {0};
    arrival all = {0};
    fixture_hold(f, "held");
    assert_int_equal(start_many(f, names, 3, &a, &all), STRATA_PENDING);
    for (int i = 0; i < 20; i++) (void)strata_session_wait(f->session, 10);
    assert_int_equal(a.calls, 1);
    assert_string_equal(a.names, "a b ");
    assert_int_equal(all.count, 0);
    assert_int_equal(strata_load_finish(f->kept, STRATA_OK, test_bytes("theirs"), NULL), STRATA_OK);
    for (int i = 0; i < 3000 && all.count == 0; i++) (void)strata_session_wait(f->session, 10);
    assert_int_equal(all.count, 1);
    for (int i = 0; i < 3; i++) assert_int_equal(all.status[i], STRATA_OK);
    assert_int_equal(a.calls, 1);
    fixture_close(f);
}

static void loads_may_end_later_and_elsewhere(void **state) {
    (void)state;
    fixture *f = open_batch(NULL);
    static const char *const names[] = {"a", "b", "c"};
    asked a = {.keep = true};
    arrival all = {0};
    assert_int_equal(start_many(f, names, 3, &a, &all), STRATA_PENDING);
    for (int i = 0; i < 3000 && a.kept_count < 3; i++) (void)strata_session_wait(f->session, 10);
    assert_int_equal(a.kept_count, 3);
    for (size_t i = 3; i-- > 0;) assert_int_equal(strata_load_finish(a.kept[i], STRATA_OK, test_bytes("v"), NULL), STRATA_OK);
    for (int i = 0; i < 3000 && all.count == 0; i++) (void)strata_session_wait(f->session, 10);
    assert_int_equal(all.count, 1);
    for (int i = 0; i < 3; i++) assert_int_equal(all.status[i], STRATA_OK);
    fixture_close(f);
}

/* The session closes before it has run the loader: that is never asked. */
static void a_session_that_closes_asks_nobody(void **state) {
    (void)state;
    fixture *f = open_batch(NULL);
    static const char *const names[] = {"a", "b", "c"};
    asked a = {0};
    arrival all = {0};
    assert_int_equal(start_many(f, names, 3, &a, &all), STRATA_PENDING);
    strata_session_close(f->session);
    f->session = NULL;
    assert_int_equal(a.calls, 0);
    assert_int_equal(all.count, 1);
    for (int i = 0; i < 3; i++) assert_int_equal(all.status[i], STRATA_E_CANCELLED);
    f->session = test_engine_session(f->engine);
    assert_int_equal(fixture_get_or_load(f, "a", NULL), STRATA_OK);
    fixture_close(f);
}

static void execute_at_once(void *context, void (*task)(void *argument), void *argument) {
    (void)context;
    task(argument);
}

static void an_executor_runs_it(void **state) {
    (void)state;
    strata_executor executor = executor_of(NULL, execute_at_once);
    fixture *f = open_batch(&executor);
    static char text[KEYS][16];
    const char *names[KEYS];
    static strata_result results[KEYS];
    asked a = {0};
    for (int i = 0; i < KEYS; i++) {
        snprintf(text[i], sizeof text[i], "k%d", i);
        names[i] = text[i];
    }
    assert_int_equal(read_many(f, names, KEYS, &a, results), STRATA_OK);
    assert_int_equal(a.calls, 1);
    assert_int_equal(a.keys, KEYS);
    for (int i = 0; i < KEYS; i++) {
        assert_int_equal(results[i].status, STRATA_OK);
        assert_memory_equal(results[i].value.data, names[i], strlen(names[i]));
    }
    release_all(f, results, KEYS);
    fixture_close(f);
}

typedef struct later {
    void (*task)(void *argument);
    void *argument;
} later;

static void execute_later(void *context, void (*task)(void *argument), void *argument) {
    *(later *)context = (later){task, argument};
}

/* By the time that the executor runs it, nobody wants it any more: the loader's user may be gone. */
static void who_has_left_is_not_loaded_for(void **state) {
    (void)state;
    later stored = {0};
    strata_executor executor = executor_of(&stored, execute_later);
    fixture *f = open_batch(&executor);
    static const char *const names[] = {"a", "b"};
    asked a = {0};
    arrival all = {0};
    assert_int_equal(start_many(f, names, 2, &a, &all), STRATA_PENDING);
    assert_non_null(stored.task);
    strata_session_close(f->session);
    stored.task(stored.argument);
    assert_int_equal(a.calls, 0);
    assert_int_equal(all.count, 1);
    f->session = test_engine_session(f->engine);
    fixture_close(f);
}

static void refreshes_go_together_too(void **state) {
    (void)state;
    fixture *f = open_batch(NULL);
    assert_int_equal(fixture_policy(f, (strata_namespace_policy){.ttl_ms = 10000, .refresh_percent = 50}), STRATA_OK);
    static const char *const names[] = {"a", "b", "c"};
    static strata_result results[3];
    static asked a; /* lives as long as a refresh may need it */
    a = (asked){0};
    assert_int_equal(read_many(f, names, 3, &a, results), STRATA_OK);
    release_all(f, results, 3);
    fixture_advance(f, 6000);
    assert_int_equal(read_many(f, names, 3, &a, results), STRATA_OK);
    for (int i = 0; i < 3; i++) assert_int_equal(results[i].source, STRATA_FROM_L1);
    release_all(f, results, 3);
    for (int i = 0; i < 3000 && test_metric(f->engine, "flow.pending") != 0; i++) (void)strata_session_wait(f->session, 10);
    assert_int_equal(a.calls, 2);
    assert_string_equal(a.names, "a b c ");
    fixture_advance(f, 6000);
    assert_int_equal(fixture_peek(f, "a"), STRATA_OK);
    fixture_close(f);
}

static void errors_that_are_remembered_are_told_of_at_once(void **state) {
    (void)state;
    fixture *f = open_batch(NULL);
    assert_int_equal(fixture_policy(f, (strata_namespace_policy){.error_ttl_ms = 10000, .absent_ttl_ms = 10000}), STRATA_OK);
    static const char *const names[] = {"x", "m", "a"};
    strata_result results[3];
    asked a = {0};
    for (int i = 0; i < 2; i++) {
        assert_int_equal(read_many(f, names, 3, &a, results), STRATA_OK);
        assert_int_equal(results[0].status, STRATA_E_LOAD_FAILED);
        assert_int_equal(results[1].status, STRATA_MISS);
        assert_int_equal(results[1].reason, STRATA_REASON_ABSENT);
        assert_int_equal(results[2].status, STRATA_OK);
        release_all(f, results, 3);
    }
    assert_int_equal(a.calls, 1);
    fixture_close(f);
}

static void many_are_invalidated(void **state) {
    (void)state;
    fixture *f = open_batch(NULL);
    strata_bytes keys[] = {test_bytes("a"), test_bytes("b"), test_bytes("never")};
    strata_result results[3];
    assert_int_equal(test_set(f->session, f->ns, "a", "v"), STRATA_OK);
    assert_int_equal(test_set(f->session, f->ns, "b", "v"), STRATA_OK);
    assert_int_equal(test_set(f->session, f->ns, "c", "v"), STRATA_OK);
    assert_int_equal(strata_minvalidate_wait(f->session, f->ns, keys, 3, NULL, results), STRATA_OK);
    for (int i = 0; i < 3; i++) assert_int_equal(results[i].status, STRATA_OK);
    assert_null(test_peek(f->session, f->ns, "a"));
    assert_null(test_peek(f->session, f->ns, "b"));
    assert_string_equal(test_peek(f->session, f->ns, "c"), "v");
    assert_int_equal(test_metric(f->engine, "flow.invalidates"), 3);
    arrival all = {0};
    assert_int_equal(strata_minvalidate(f->session, f->ns, keys, 3, NULL, arrived, &all), STRATA_PENDING);
    assert_int_equal(strata_session_wait(f->session, 100), 1);
    assert_int_equal(all.count, 1);
    assert_int_equal(strata_minvalidate(f->session, f->ns, keys, 0, NULL, arrived, &all), STRATA_E_INVALID);
    assert_int_equal(strata_mget_or_load(f->session, f->ns, keys, 3, NULL, NULL, NULL, arrived, &all), STRATA_E_INVALID);
    fixture_close(f);
}

/* A batch of another session that comes just as one that refreshes has made its flight, and has not asked for a loader yet: that
   is when the memory for the load is asked for. */
typedef struct between {
    fixture *f;
    strata_session *other;
    const strata_op_options *options;
    size_t count; /* of keys */
    bool armed;
    asked a;
    arrival all;
    _Atomic int64_t live;
} between;

static void *allocate_between(void *context, size_t size, size_t alignment) {
    between *b = context;
    if (b->armed && size == sizeof(strata_load) + 1) {
        strata_bytes keys[] = {test_bytes("k"), test_bytes("l")};
        b->armed = false;
        assert_int_equal(strata_mget_or_load(b->other, b->f->ns, keys, b->count, b->options, load_many, &b->a, arrived, &b->all), STRATA_PENDING);
    }
    void *memory = NULL;
    if (posix_memalign(&memory, alignment < sizeof(void *) ? sizeof(void *) : alignment, size) != 0) return NULL;
    atomic_fetch_add(&b->live, 1);
    return memory;
}

static void release_between(void *context, void *memory, size_t size) {
    between *b = context;
    (void)size;
    if (memory != NULL) atomic_fetch_sub(&b->live, 1);
    free(memory);
}

static void open_between(between *b, const strata_executor *executor, const strata_op_options *options) {
    *b = (between){.f = fixture_create(), .options = options, .count = 2};
    fixture *f = b->f;
    strata_open_options template_ = {.clock = {&f->clock, fixture_now_ns}, .allocator = {b, allocate_between, release_between}};
    if (executor != NULL) template_.executor = *executor;
    fixture_open(f, TEST_OPTIONS("l2.mode", "none", "flow.ttl_jitter", "0"), &template_);
    assert_int_equal(fixture_policy(f, (strata_namespace_policy){.ttl_ms = 10000, .refresh_percent = 50}), STRATA_OK);
    b->other = test_engine_session(f->engine);
    assert_int_equal(fixture_get_or_load(f, "k", NULL), STRATA_OK);
    fixture_advance(f, 6000);
    b->armed = true;
}

static void close_between(between *b) {
    for (int i = 0; i < 500 && (b->all.count == 0 || test_metric(b->f->engine, "flow.pending") != 0); i++) {
        (void)strata_session_wait(b->other, 10);
        (void)strata_session_dispatch(b->f->session, 0);
    }
    assert_int_equal(b->all.count, 1);
    for (size_t i = 0; i < b->count; i++) assert_int_equal(b->all.status[i], STRATA_OK);
    assert_int_equal(b->a.keys, b->count);
    strata_session_close(b->other);
    fixture_close(b->f);
    assert_int_equal(b->live, 0);
}

static const strata_op_options past_l1 = {.struct_size = sizeof past_l1, .flags = STRATA_BYPASS_L1, .deadline_ms = 3000};

/* Its loader is asked rather than that of the refresh, on the other session's thread; its own call is over by then. */
static void a_refresh_that_is_joined_asks_the_batch(void **state) {
    (void)state;
    between b;
    open_between(&b, NULL, &past_l1);
    assert_int_equal(fixture_get_or_load(b.f, "k", NULL), STRATA_OK);
    assert_false(b.armed);
    assert_int_equal(test_metric(b.f->engine, "flow.joins"), 1);
    close_between(&b);
}

static void so_does_one_of_a_batch(void **state) {
    (void)state;
    between b;
    static const char *const names[] = {"k"};
    static strata_result results[1];
    static asked a;
    open_between(&b, NULL, &past_l1);
    assert_int_equal(read_many(b.f, names, 1, &a, results), STRATA_OK);
    assert_false(b.armed);
    release_all(b.f, results, 1);
    close_between(&b);
    assert_int_equal(a.calls, 0);
}

static void so_does_one_with_an_executor(void **state) {
    (void)state;
    between b;
    strata_executor executor = executor_of(NULL, execute_at_once);
    open_between(&b, &executor, &past_l1);
    assert_int_equal(fixture_get_or_load(b.f, "k", NULL), STRATA_OK);
    assert_false(b.armed);
    close_between(&b);
}

/* What is forgotten so that the batch's tags have room is retired by the thread that does so. */
static void tags_are_taken_by_the_thread_that_is_there(void **state) {
    (void)state;
    between b;
    strata_bytes tag = test_bytes("new");
    strata_op_options options = past_l1;
    options.tags = &tag;
    options.tag_count = 1;
    open_between(&b, NULL, &options);
    b.count = 1;
    b.armed = false;
    strata_bytes known = test_bytes("known");
    strata_op_options tagged = {.struct_size = sizeof tagged, .tags = &known, .tag_count = 1};
    assert_int_equal(fixture_get_or_load(b.f, "t", &tagged), STRATA_OK);
    sx_marks *marks = b.f->engine->marks;
    assert_int_equal(marks->count, 1);
    marks->count_max = 1; /* the option has no such value */
    b.armed = true;
    assert_int_equal(fixture_get_or_load(b.f, "k", NULL), STRATA_OK);
    assert_false(b.armed);
    assert_int_equal(marks->count, 1);
    assert_int_equal(atomic_load(&b.other->record->unreported), 0);
    assert_in_range(atomic_load(&b.f->session->record->unreported), 1, 1 << 16);
    close_between(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_loader_gets_what_is_missing_at_once),
        cmocka_unit_test(what_is_asked_for_twice_is_loaded_once),
        cmocka_unit_test(who_loads_already_is_waited_for),
        cmocka_unit_test(loads_may_end_later_and_elsewhere),
        cmocka_unit_test(a_session_that_closes_asks_nobody),
        cmocka_unit_test(an_executor_runs_it),
        cmocka_unit_test(who_has_left_is_not_loaded_for),
        cmocka_unit_test(refreshes_go_together_too),
        cmocka_unit_test(errors_that_are_remembered_are_told_of_at_once),
        cmocka_unit_test(many_are_invalidated),
        cmocka_unit_test(a_refresh_that_is_joined_asks_the_batch),
        cmocka_unit_test(so_does_one_of_a_batch),
        cmocka_unit_test(so_does_one_with_an_executor),
        cmocka_unit_test(tags_are_taken_by_the_thread_that_is_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
