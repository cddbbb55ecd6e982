/* SPDX-License-Identifier: Apache-2.0 */
/* Values known to be large are read over a second connection; all else, and everything where there is none, is not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/cluster.h"
#include "tests/support/engine.h"
#include "tests/support/side.h"

enum { LARGE = 300 * 1024 };

typedef struct fixture {
    sx_cluster *cluster;
    test_side a, b, never;
    char *value;
} fixture;

static const strata_op_options past_l1 = {.struct_size = sizeof past_l1, .flags = STRATA_BYPASS_L1, .deadline_ms = 5000};

static void open_side(test_side *s, sx_cluster *cluster, const char *bulk_bytes) {
    test_side_open(s, "users", TEST_OPTIONS("l2.nodes", sx_cluster_seeds(cluster), "l2.open_wait", "5s",
                                            "l2.bulk_bytes", bulk_bytes), NULL);
}

static int setup(void **state) {
    fixture *f = calloc(1, sizeof *f);
    sx_cluster_options options = {.primaries = 0};
    f->cluster = test_cluster_start(&options);
    open_side(&f->a, f->cluster, "64KiB");
    open_side(&f->b, f->cluster, "64KiB");
    open_side(&f->never, f->cluster, "0");
    f->value = malloc(LARGE);
    for (size_t i = 0; i < LARGE; i++) f->value[i] = (char)(i * 31 + i / 4096);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    fixture *f = *state;
    test_side_close(&f->a);
    test_side_close(&f->b);
    test_side_close(&f->never);
    sx_cluster_stop(f->cluster);
    free(f->value);
    free(f);
    return 0;
}

static int64_t bulk(const test_side *s) { return test_metric(s->engine, "l2.bulk_commands"); }

static void set_large(fixture *f, test_side *s, const char *key) {
    strata_bytes value = {f->value, LARGE};
    assert_int_equal(strata_set_wait(s->session, s->ns, test_bytes(key), value, &past_l1, NULL), STRATA_OK);
}

static void get(fixture *f, test_side *s, const char *key, size_t size) {
    strata_result result;
    assert_int_equal(strata_get_wait(s->session, s->ns, test_bytes(key), &past_l1, &result), STRATA_OK);
    assert_int_equal(result.value.size, size);
    assert_memory_equal(result.value.data, f->value, size);
    strata_result_release(s->session, &result);
}

/* Gets it until one more request went over the second connection. */
static void get_until_bulk(fixture *f, test_side *s, const char *key) {
    int64_t before = bulk(s), end_ms = test_now_ms() + 10000;
    while (bulk(s) == before && test_now_ms() < end_ms) get(f, s, key, LARGE);
    assert_true(bulk(s) > before);
}

static void what_was_seen_to_be_large_has_a_connection_of_its_own(void **state) {
    fixture *f = *state;
    set_large(f, &f->a, "big");
    assert_int_equal(test_set(f->a.session, f->a.ns, "small", ""), STRATA_OK);
    get_until_bulk(f, &f->a, "big"); /* its writer knows */
    assert_int_equal(bulk(&f->b), 0);
    get(f, &f->b, "big", LARGE); /* another process finds out */
    assert_int_equal(bulk(&f->b), 0);
    get_until_bulk(f, &f->b, "big");
    int64_t before = bulk(&f->b);
    for (int i = 0; i < 20; i++) get(f, &f->b, "small", 0);
    assert_int_equal(bulk(&f->b), before);
    get(f, &f->b, "big", LARGE);
    assert_int_equal(bulk(&f->b), before + 1);
}

static void never_where_it_is_switched_off(void **state) {
    fixture *f = *state;
    set_large(f, &f->never, "switched off");
    for (int i = 0; i < 5; i++) get(f, &f->never, "switched off", LARGE);
    assert_int_equal(bulk(&f->never), 0);
}

static void what_became_small_goes_with_the_small(void **state) {
    fixture *f = *state;
    set_large(f, &f->a, "shrinks");
    get_until_bulk(f, &f->b, "shrinks");
    assert_int_equal(test_set(f->a.session, f->a.ns, "shrinks", ""), STRATA_OK);
    get(f, &f->b, "shrinks", 0); /* the last that expects it to be large */
    int64_t before = bulk(&f->b);
    for (int i = 0; i < 5; i++) get(f, &f->b, "shrinks", 0);
    assert_int_equal(bulk(&f->b), before);
}

static void load(strata_load *running, void *user) {
    const fixture *f = user;
    strata_load_finish(running, STRATA_OK, (strata_bytes){f->value, LARGE}, NULL);
}

static void what_is_gone_is_loaded_under_a_lease(void **state) {
    fixture *f = *state;
    set_large(f, &f->a, "loaded");
    get_until_bulk(f, &f->b, "loaded");
    strata_result result;
    int64_t before = bulk(&f->b);
    assert_int_equal(strata_get_or_load_wait(f->b.session, f->b.ns, test_bytes("loaded"), &past_l1, load, f, &result),
                     STRATA_OK);
    assert_int_equal(result.source, STRATA_FROM_L2);
    assert_int_equal(bulk(&f->b), before + 1); /* no lease was tried first */
    strata_result_release(f->b.session, &result);
    assert_int_equal(strata_invalidate_wait(f->a.session, f->a.ns, test_bytes("loaded"), &past_l1), STRATA_OK);
    assert_int_equal(strata_get_or_load_wait(f->b.session, f->b.ns, test_bytes("loaded"), &past_l1, load, f, &result),
                     STRATA_OK);
    assert_int_equal(result.source, STRATA_FROM_LOADER);
    assert_int_equal(result.value.size, LARGE);
    strata_result_release(f->b.session, &result);
    get(f, &f->a, "loaded", LARGE); /* filled: there was a lease */
}

static void what_its_tags_made_invalid_is_loaded_over_it(void **state) {
    fixture *f = *state;
    strata_bytes tag = test_bytes("catalogue"), value = {f->value, LARGE};
    strata_op_options tagged = past_l1;
    tagged.tags = &tag;
    tagged.tag_count = 1;
    assert_int_equal(strata_set_wait(f->b.session, f->b.ns, test_bytes("tagged"), value, &tagged, NULL), STRATA_OK);
    get_until_bulk(f, &f->b, "tagged");
    assert_int_equal(strata_invalidate_tags_wait(f->b.session, &tag, 1, &past_l1), STRATA_OK);
    strata_result result;
    int64_t before = bulk(&f->b);
    assert_int_equal(strata_get_or_load_wait(f->b.session, f->b.ns, test_bytes("tagged"), &tagged, load, f, &result),
                     STRATA_OK);
    assert_int_equal(result.source, STRATA_FROM_LOADER);
    strata_result_release(f->b.session, &result);
    assert_int_equal(bulk(&f->b), before + 1); /* what is invalid is read once */
    get(f, &f->a, "tagged", LARGE);         /* filled: the lease took the place of what was invalid */
}

static void a_lost_connection_is_replaced(void **state) {
    fixture *f = *state;
    set_large(f, &f->a, "cut");
    get_until_bulk(f, &f->a, "cut");
    for (int i = 0; i < 3; i++) {
        free(sx_cluster_command(f->cluster, 0, "CLIENT KILL TYPE normal"));
        get(f, &f->a, "cut", LARGE);
    }
    get_until_bulk(f, &f->a, "cut");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_seen_to_be_large_has_a_connection_of_its_own),
        cmocka_unit_test(never_where_it_is_switched_off),
        cmocka_unit_test(what_became_small_goes_with_the_small),
        cmocka_unit_test(what_is_gone_is_loaded_under_a_lease),
        cmocka_unit_test(what_its_tags_made_invalid_is_loaded_over_it),
        cmocka_unit_test(a_lost_connection_is_replaced),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
