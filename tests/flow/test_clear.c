/* SPDX-License-Identifier: Apache-2.0 */
/* Clearing a namespace without L2: nothing of before is served, whatever was under way. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/engine.h"

typedef struct fixture {
    strata *engine;
    strata_session *session;
    strata_namespace *ns;
    strata_load *kept;
    int answers;
} fixture;

static void open_fixture(fixture *f) {
    *f = (fixture){.engine = test_engine_open(TEST_OPTIONS("l2.mode", "none"), NULL)};
    f->session = test_engine_session(f->engine);
    f->ns = test_engine_ns(f->engine, "cleared");
}

static void close_fixture(fixture *f) {
    strata_session_close(f->session);
    assert_int_equal(strata_close(f->engine, 1000), STRATA_OK);
}

static void keep(strata_load *load, void *user) { ((fixture *)user)->kept = load; }

static void done(void *user, const strata_result *result) {
    ((fixture *)user)->answers++;
    assert_int_equal(result->status, STRATA_OK);
}

static void start_load(fixture *f, const char *key) {
    strata_op_options options = {.struct_size = sizeof options, .deadline_ms = 5000};
    strata_result result;
    f->kept = NULL;
    assert_int_equal(strata_get_or_load(f->session, f->ns, test_bytes(key), &options, keep, f, &result, done, f), STRATA_PENDING);
    for (int i = 0; i < 500 && f->kept == NULL; i++) strata_session_wait(f->session, 10);
    assert_non_null(f->kept);
}

static void finish(fixture *f, const char *value) {
    int before = f->answers;
    assert_int_equal(strata_load_finish(f->kept, STRATA_OK, test_bytes(value), NULL), STRATA_OK);
    for (int i = 0; i < 500 && f->answers == before; i++) strata_session_wait(f->session, 10);
    assert_int_equal(f->answers, before + 1);
}

static void what_was_there_is_gone(void **state) {
    (void)state;
    fixture f;
    char key[32];
    strata_bytes tag = test_bytes("tag");
    strata_op_options tagged = {.struct_size = sizeof tagged, .tags = &tag, .tag_count = 1};
    open_fixture(&f);
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
    close_fixture(&f);
}

static void a_load_from_before_is_not_kept(void **state) {
    (void)state;
    fixture f;
    open_fixture(&f);
    start_load(&f, "loading");
    assert_int_equal(strata_clear(f.session, f.ns, NULL, NULL, NULL), STRATA_OK);
    finish(&f, "old");
    assert_null(test_peek(f.session, f.ns, "loading"));
    start_load(&f, "loading");
    finish(&f, "new");
    assert_string_equal(test_peek(f.session, f.ns, "loading"), "new");
    close_fixture(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_there_is_gone),
        cmocka_unit_test(a_load_from_before_is_not_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
