/* SPDX-License-Identifier: Apache-2.0 */
/* What the loop takes from the allocator for a get past L1 once it has run for a while: nothing. */
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

enum { SLACK = 20 }; /* of a hundred gets, so many may have allocated: heartbeats and the keeper go on meanwhile */

/* Values of a size, and how many gets of them are under way at once. Allocations of fewer bytes are not looked at. */
typedef struct workload {
    size_t value_bytes, counts_from;
    uint32_t keys, outstanding, warm, counted;
} workload;

static const workload small = {7, 0, 300, 32, 3000, 6000}, medium = {16 * 1024, 8 * 1024, 100, 32, 600, 1500},
                      large = {1024 * 1024, 512 * 1024, 3, 2, 20, 100};

typedef struct fixture {
    sx_cluster *cluster;
    strata *engine;
    strata_namespace *ns;
    strata_session *session;
    uint32_t under_way, failed;
    _Atomic uint64_t allocations; /* of all threads but the session's, of that many bytes and more */
    _Atomic size_t counts_from;
} fixture;

static _Thread_local bool is_session_thread;

static void *count_allocate(void *context, size_t size, size_t alignment) {
    fixture *f = context;
    if (!is_session_thread && size >= atomic_load(&f->counts_from)) atomic_fetch_add(&f->allocations, 1);
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

/* Each key in turn, count times; what comes back is awaited where so many are under way. Answers the allocations meanwhile. */
static uint64_t run(fixture *f, const workload *load, uint32_t count, const char *value) {
    uint64_t before = atomic_load(&f->allocations);
    for (uint32_t i = 0; i < count; i++) {
        char key[48];
        strata_op_options past_l1 = {.struct_size = sizeof past_l1, .flags = STRATA_BYPASS_L1, .deadline_ms = 20000};
        snprintf(key, sizeof key, "%zu:%u", load->value_bytes, i % load->keys);
        strata_result result;
        f->under_way++;
        int32_t status = value != NULL ? strata_set(f->session, f->ns, test_bytes(key), (strata_bytes){value, load->value_bytes}, &past_l1, ended, f)
                                       : strata_get(f->session, f->ns, test_bytes(key), &past_l1, &result, ended, f);
        assert_int_equal(status, STRATA_PENDING);
        while (f->under_way >= load->outstanding) (void)strata_session_wait(f->session, 100);
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

static void gets_allocate_nothing(fixture *f, const workload *load) {
#if defined(__SANITIZE_ADDRESS__)
    skip(); /* no memory is kept where uses after free are looked for */
#endif
    char *value = calloc(1, load->value_bytes);
    atomic_store(&f->counts_from, load->counts_from);
    (void)run(f, load, load->keys, value);
    (void)run(f, load, load->warm, NULL);
    uint64_t allocations = run(f, load, load->counted, NULL);
    free(value);
    print_message("%u gets of %zu bytes: %llu allocations on the loop\n", load->counted, load->value_bytes, (unsigned long long)allocations);
    assert_in_range(allocations, 0, load->counted * SLACK / 100);
}

static void a_get_past_l1_allocates_nothing(void **state) { gets_allocate_nothing(*state, &small); }
static void nor_one_of_16_kib(void **state) { gets_allocate_nothing(*state, &medium); }
static void nor_one_of_1_mib(void **state) { gets_allocate_nothing(*state, &large); }

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_get_past_l1_allocates_nothing),
        cmocka_unit_test(nor_one_of_16_kib),
        cmocka_unit_test(nor_one_of_1_mib),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
