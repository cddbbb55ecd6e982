/* SPDX-License-Identifier: Apache-2.0 */
/* What the loop takes from the allocator for an operation once it has run for a while: the value, and nothing else. */
// ctest: serial
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/support/cluster.h"
#include "tests/support/engine.h"

enum { KEYS = 300, OUTSTANDING = 32, WARM = 3000, COUNTED = 6000, SLACK = COUNTED / 20 };

typedef struct fixture {
    sx_cluster *cluster;
    strata *engine;
    strata_namespace *ns;
    strata_session *session;
    uint32_t under_way, failed;
    _Atomic uint64_t allocations; /* of all threads but the session's */
} fixture;

static _Thread_local bool is_session_thread;

static void *count_allocate(void *context, size_t size, size_t alignment) {
    fixture *f = context;
    if (!is_session_thread) atomic_fetch_add(&f->allocations, 1);
    return alignment <= 16 ? malloc(size) : aligned_alloc(alignment, (size + alignment - 1) & ~(alignment - 1));
}

static void count_release(void *context, void *memory, size_t size) {
    (void)context, (void)size;
    free(memory);
}

static void ended(void *user, const strata_result *result) {
    fixture *f = user;
    f->under_way--;
    if (result->status != STRATA_OK) f->failed++;
}

/* Each key in turn, count times; what comes back is awaited where so many are under way. */
static uint64_t run(fixture *f, uint32_t count, bool set) {
    uint64_t before = atomic_load(&f->allocations);
    for (uint32_t i = 0; i < count; i++) {
        char key[32];
        strata_op_options past_l1 = {.struct_size = sizeof past_l1, .flags = STRATA_BYPASS_L1};
        snprintf(key, sizeof key, "key:%u", i % KEYS);
        strata_result result;
        f->under_way++;
        int32_t status = set ? strata_set(f->session, f->ns, test_bytes(key), test_bytes("a value"), NULL, ended, f)
                             : strata_get(f->session, f->ns, test_bytes(key), &past_l1, &result, ended, f);
        assert_int_equal(status, STRATA_PENDING);
        while (f->under_way >= OUTSTANDING) (void)strata_session_wait(f->session, 100);
    }
    while (f->under_way > 0) (void)strata_session_wait(f->session, 100);
    assert_int_equal(f->failed, 0);
    return atomic_load(&f->allocations) - before;
}

static int setup(void **state) {
    fixture *f = calloc(1, sizeof *f);
    sx_cluster_options options = {.primaries = 0};
    f->cluster = test_cluster_start(&options);
    strata_open_options open = {.struct_size = sizeof open, .allocator = {f, count_allocate, count_release}};
    is_session_thread = true;
    f->engine = test_engine_open(TEST_OPTIONS("l2.nodes", sx_cluster_seeds(f->cluster), "l2.open_wait", "5s"), &open);
    f->ns = test_engine_ns(f->engine, "users");
    f->session = test_engine_session(f->engine);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    fixture *f = *state;
    strata_session_close(f->session);
    assert_int_equal(strata_close(f->engine, 2000), STRATA_OK);
    sx_cluster_stop(f->cluster);
    free(f);
    return 0;
}

static void a_get_allocates_its_value_only(void **state) {
#if defined(__SANITIZE_ADDRESS__)
    skip(); /* no memory is kept where uses after free are looked for */
#endif
    fixture *f = *state;
    (void)run(f, KEYS, true);
    (void)run(f, WARM, false);
    uint64_t allocations = run(f, COUNTED, false);
    print_message("%u gets: %llu allocations on the loop\n", COUNTED, (unsigned long long)allocations);
    assert_in_range(allocations, COUNTED, COUNTED + SLACK); /* heartbeats and the keeper go on meanwhile */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_get_allocates_its_value_only),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
