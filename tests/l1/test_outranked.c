/* SPDX-License-Identifier: Apache-2.0 */
/* A put of a low rank into a group that is full of a higher one, while the budget shrinks between any two of its atomic accesses. */
// ctest: scheduled
#include "fixture.h"

#include "l1/table.h"

#define BUDGET (INT64_C(1) << 20)
#define HIGHS  SX_L1_POSITIONS

static fixture f;
static int64_t points, shrink_at, shrink_to; /* shrink_at: at this point, negative: never */

void test_schedule_point(void);
void test_schedule_point(void) {
    if (points++ == shrink_at) sx_l1_resize(f.l1, shrink_to);
}

static uint32_t part_of(void *context, const sx_item *item, uint32_t parts[SX_L1_PARTS_EACH]) {
    (void)context;
    parts[0] = item->n == 1; /* low, which is put last */
    return 1;
}
static const sx_l1_parts parts = {.count = 2, .of = part_of};

/* The next number whose key is of the first group. */
static uint64_t next_of_group(uint64_t number) {
    uint64_t mask = sx_l1_mask(sx_l1_root_get(f.l1)->base);
    do number++;
    while ((hash_of(&f, number) & mask) != 0);
    return number;
}

/* Returns how many points the put had. */
static int64_t put_low(int64_t at, bool into_full) {
    points = 0;
    shrink_at = -1;
    fixture_init(&f, BUDGET, 1 << 16);
    assert_int_equal(sx_l1_watch_parts(f.l1, &parts), STRATA_OK);
    sx_l1_rank_part(f.l1, 0, SX_L1_RANK_HIGH);
    sx_l1_rank_part(f.l1, 1, SX_L1_RANK_LOW);
    uint64_t highs[HIGHS], number = 0;
    uint32_t count = into_full ? HIGHS : HIGHS / 2;
    for (uint32_t i = 0; i < count; i++) {
        highs[i] = number = next_of_group(number);
        assert_int_equal(put_new(&f, f.record, number, 2, 1000), STRATA_OK);
    }
    /* Half of what is there has room then. */
    int64_t live = metric(&f, SX_L1_METRIC_BYTES_USED) - sx_l1_index_bytes(f.l1);
    for (shrink_to = BUDGET; sx_l1_live_max(f.l1) > live / 2; shrink_to -= 256) sx_l1_resize(f.l1, shrink_to);
    sx_l1_resize(f.l1, BUDGET);
    number = next_of_group(number);
    points = 0;
    shrink_at = at;
    int32_t status = put_new(&f, f.record, number, 1, 1000);
    shrink_at = -1;
    int64_t taken = points;
    assert_true(status == STRATA_OK || status == STRATA_E_OVERLOADED);
    assert_int_equal(metric(&f, SX_L1_METRIC_RANK_REFUSED), status == STRATA_E_OVERLOADED);
    assert_int_equal(metric(&f, SX_L1_METRIC_REFUSED), status == STRATA_E_OVERLOADED);
    bool there = n_of(&f, number) == 1; /* who came in leaves again, where the hand finds nobody else */
    assert_int_equal(there + metric(&f, SX_L1_METRIC_EVICTIONS), status == STRATA_OK);
    for (uint32_t i = 0; i < count; i++) assert_int_equal(n_of(&f, highs[i]), 2);
    assert_int_equal(metric(&f, SX_L1_METRIC_ENTRIES), count + there);
    reclaim_all(&f);
    fixture_deinit(&f);
    return taken;
}

static void test_the_budget_shrinks_at_any_step(void **state) {
    (void)state;
    for (int into_full = 0; into_full < 2; into_full++) {
        int64_t all = put_low(-1, into_full);
        assert_true(all > 20);
        for (int64_t at = 0; at < all; at++) (void)put_low(at, into_full);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_the_budget_shrinks_at_any_step)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
