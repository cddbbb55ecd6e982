/* SPDX-License-Identifier: Apache-2.0 */
/* The counting allocator: what an engine allocates is counted, and a hit in L1 allocates nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "bench/allocations.h"
#include "tests/support/engine.h"

static void what_is_allocated_is_counted(void **state) {
    (void)state;
    bench_allocations allocations = {0};
    const strata_open_options how = {.allocator = bench_allocations_table(&allocations)};
    strata *engine = test_engine_open(TEST_OPTIONS("l2.mode", "none", "l1.bytes", "1MiB"), &how);
    strata_namespace *ns = test_engine_ns(engine, "counted");
    strata_session *session = test_engine_session(engine);
    int64_t opened = atomic_load(&allocations.count);
    assert_true(opened > 10);
    assert_int_equal(test_set(session, ns, "k", "v"), STRATA_OK);
    int64_t set = atomic_load(&allocations.count);
    assert_true(set > opened);
    for (int i = 0; i < 100; i++) assert_string_equal(test_get(session, ns, "k"), "v");
    assert_in_range(atomic_load(&allocations.count) - set, 0, 20); /* the keeper's and the loop's own, not one a hit */
    strata_session_close(session);
    assert_int_equal(strata_close(engine, 1000), STRATA_OK);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(what_is_allocated_is_counted)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
