/* SPDX-License-Identifier: Apache-2.0 */
/* Clearing a namespace without L2: nothing of before is served, whatever was under way. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/engine.h"
#include "tests/support/side.h"

static void open_side(test_side *f) { test_side_open(f, "cleared", TEST_OPTIONS("l2.mode", "none"), NULL); }

static void finish(test_side *f, const char *value) {
    assert_int_equal(strata_load_finish(f->kept, STRATA_OK, test_bytes(value), NULL), STRATA_OK);
    test_side_await(f, 1);
    assert_int_equal(f->status, STRATA_OK);
}

static void what_was_there_is_gone(void **state) {
    (void)state;
    test_side f;
    char key[32];
    strata_bytes tag = test_bytes("tag");
    strata_op_options tagged = {.struct_size = sizeof tagged, .tags = &tag, .tag_count = 1};
    open_side(&f);
    strata_namespace *other = test_engine_ns(f.engine, "other");
    for (int i = 0; i < 100; i++) {
        snprintf(key, sizeof key, "key:%d", i);
        assert_int_equal(strata_set_wait(f.session, f.ns, test_bytes(key), test_bytes("old"), i % 2 == 0 ? NULL : &tagged, NULL),
                         STRATA_OK);
        assert_string_equal(test_peek(f.session, f.ns, key), "old");
    }
    assert_int_equal(test_set(f.session, other, "key:1", "stays"), STRATA_OK);
    assert_int_equal(strata_clear_wait(f.session, f.ns, NULL), STRATA_OK);
    assert_int_equal(test_metric(f.engine, "flow.clears"), 1);
    for (int i = 0; i < 100; i++) {
        snprintf(key, sizeof key, "key:%d", i);
        assert_null(test_peek(f.session, f.ns, key));
        assert_null(test_get(f.session, f.ns, key));
    }
    assert_string_equal(test_peek(f.session, other, "key:1"), "stays");
    assert_int_equal(test_set(f.session, f.ns, "key:1", "new"), STRATA_OK);
    assert_string_equal(test_peek(f.session, f.ns, "key:1"), "new");
    test_side_close(&f);
}

static void a_load_from_before_is_not_kept(void **state) {
    (void)state;
    test_side f;
    open_side(&f);
    test_side_hold(&f, "loading", NULL);
    assert_int_equal(strata_clear(f.session, f.ns, NULL, NULL, NULL), STRATA_OK);
    finish(&f, "old");
    assert_null(test_peek(f.session, f.ns, "loading"));
    test_side_hold(&f, "loading", NULL);
    finish(&f, "new");
    assert_string_equal(test_peek(f.session, f.ns, "loading"), "new");
    test_side_close(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_there_is_gone),
        cmocka_unit_test(a_load_from_before_is_not_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
