/* SPDX-License-Identifier: Apache-2.0 */
/* A server that stands still under full load: operations are refused at once, and memory stays within its bound.
   STRATA_STALL_SECONDS says how long it stands still; 2 by default. */
// ctest: timeout=600 serial
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/support/cluster.h"
#include "tests/support/engine.h"

enum { KEYS = 200, VALUE_BYTES = 16 * 1024, LIMIT_MIB = 16, MIB = 1 << 20 };

typedef struct fixture {
    sx_cluster *cluster;
    strata *engine;
    strata_namespace *ns;
    strata_session *session;
    _Atomic int64_t live, peak; /* bytes that the engine holds */
    uint32_t under_way;
    uint64_t started, refused;
} fixture;

static void *count_allocate(void *context, size_t size, size_t alignment) {
    fixture *f = context;
    void *memory = alignment <= 16 ? malloc(size) : aligned_alloc(alignment, (size + alignment - 1) & ~(alignment - 1));
    if (memory == NULL) return NULL;
    int64_t live = atomic_fetch_add(&f->live, (int64_t)size) + (int64_t)size, peak = atomic_load(&f->peak);
    while (live > peak && !atomic_compare_exchange_weak(&f->peak, &peak, live)) {}
    return memory;
}

static void count_release(void *context, void *memory, size_t size) {
    fixture *f = context;
    atomic_fetch_sub(&f->live, (int64_t)size);
    free(memory);
}

static void ended(void *user, const strata_result *result) {
    fixture *f = user;
    (void)result;
    f->under_way--;
}

static int setup(void **state) {
    fixture *f = calloc(1, sizeof *f);
    sx_cluster_options options = {.primaries = 0};
    f->cluster = test_cluster_start(&options);
    strata_open_options open = {.struct_size = sizeof open, .allocator = {f, count_allocate, count_release}};
    f->engine = test_engine_open(TEST_OPTIONS("l2.nodes", sx_cluster_seeds(f->cluster), "l2.open_wait", "5s",
                                              "l1.bytes", "1MiB", "flow.pending_bytes_max", "16MiB"),
                                 &open);
    f->ns = test_engine_ns(f->engine, "users");
    f->session = test_engine_session(f->engine);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    fixture *f = *state;
    strata_session_close(f->session);
    assert_int_equal(strata_close(f->engine, 5000), STRATA_OK);
    assert_int_equal(f->live, 0);
    sx_cluster_stop(f->cluster);
    free(f);
    return 0;
}

/* A set or a get, in turns over the keys; what is refused is not waited for. */
static void one_more(fixture *f, const char *value) {
    char key[32];
    strata_op_options past_l1 = {.struct_size = sizeof past_l1, .flags = STRATA_BYPASS_L1, .deadline_ms = 1000};
    strata_result result;
    uint64_t i = f->started++;
    snprintf(key, sizeof key, "key:%u", (unsigned)(i / 2 % KEYS));
    f->under_way++;
    int32_t status = i % 2 == 0 ? strata_set(f->session, f->ns, test_bytes(key), (strata_bytes){value, VALUE_BYTES},
                                             &past_l1, ended, f)
                                : strata_get(f->session, f->ns, test_bytes(key), &past_l1, &result, ended, f);
    if (status == STRATA_PENDING) return;
    assert_int_equal(status, STRATA_E_OVERLOADED);
    f->under_way--;
    f->refused++;
    (void)strata_session_wait(f->session, 1);
}

static void memory_stays_within_its_bound(void **state) {
    fixture *f = *state;
    const char *given = getenv("STRATA_STALL_SECONDS");
    int64_t stall_ms = 1000 * (given == NULL ? 2 : strtoll(given, NULL, 10));
    char *value = calloc(1, VALUE_BYTES);
    for (int i = 0; i < 2 * KEYS; i++) one_more(f, value);
    while (f->under_way > 0) (void)strata_session_wait(f->session, 100);
    int64_t before = f->live;
    f->peak = before;
    assert_int_equal(sx_cluster_pause(f->cluster, 0), 0);
    for (int64_t end_ms = test_now_ms() + stall_ms; test_now_ms() < end_ms;) one_more(f, value);
    assert_int_equal(sx_cluster_resume(f->cluster, 0), 0);
    int64_t more = f->peak - before;
    print_message("%llu operations in %lld ms, %llu refused; %.1f MiB more at most, of %d\n",
                  (unsigned long long)f->started, (long long)stall_ms, (unsigned long long)f->refused,
                  (double)more / MIB, LIMIT_MIB);
    assert_true(f->refused > 0);
    assert_int_equal(test_metric(f->engine, "flow.overloaded"), f->refused);
    /* A connection's buffers grow by doubling: what they hold counts once, what they could hold twice. */
    assert_in_range(more, MIB, 2 * LIMIT_MIB * MIB);
    while (f->under_way > 0) (void)strata_session_wait(f->session, 100);
    assert_int_equal(test_metric(f->engine, "flow.pending_bytes"), 0);
    int32_t status = STRATA_E_TIMEOUT;
    for (int64_t end_ms = test_now_ms() + 20000; status != STRATA_OK && test_now_ms() < end_ms;)
        status = test_set(f->session, f->ns, "key:0", "after");
    assert_int_equal(status, STRATA_OK);
    free(value);
}

/* Invalidations of tags hold more than their number: each call has room for the names, commands and answers of all. */
static void so_do_invalidations_of_tags(void **state) {
    fixture *f = *state;
    enum { CALLS_MAX = 8192 };
    strata_op_options options = {.struct_size = sizeof options, .deadline_ms = 2000};
    char names[STRATA_TAGS_MAX][16];
    strata_bytes tags[STRATA_TAGS_MAX];
    for (int i = 0; i < STRATA_TAGS_MAX; i++) {
        snprintf(names[i], sizeof names[i], "tag:%d", i);
        tags[i] = test_bytes(names[i]);
    }
    int64_t before = f->live;
    int32_t status = STRATA_PENDING;
    int calls = 0;
    f->peak = before;
    assert_int_equal(sx_cluster_pause(f->cluster, 0), 0);
    for (; calls < CALLS_MAX && status == STRATA_PENDING; calls++) {
        status = strata_invalidate_tags(f->session, tags, STRATA_TAGS_MAX, &options, ended, f);
        if (status == STRATA_PENDING) f->under_way++;
    }
    assert_int_equal(sx_cluster_resume(f->cluster, 0), 0);
    assert_int_equal(status, STRATA_E_OVERLOADED);
    assert_in_range(calls, 16, CALLS_MAX - 1);
    assert_in_range(f->peak - before, 1, 2 * LIMIT_MIB * MIB);
    while (f->under_way > 0) (void)strata_session_wait(f->session, 100);
    assert_int_equal(test_metric(f->engine, "flow.pending_bytes"), 0);
    assert_int_equal(test_metric(f->engine, "flow.pending"), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_stays_within_its_bound),
        cmocka_unit_test(so_do_invalidations_of_tags),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
