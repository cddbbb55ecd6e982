/* SPDX-License-Identifier: Apache-2.0 */
/* Whether sessions ask for anything, as heartbeats want to know it: found out without waiting for anybody. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <pthread.h>

#include "core/flow/engine.h"
#include "tests/support/engine.h"

/* Until nothing new is seen: each kind of request is told of for itself. */
static void settle(strata *engine) {
    for (uint32_t i = 0; i < SX_SESSION_METRIC_COUNT; i++) (void)sx_stats_used_on_loop(engine);
    assert_false(sx_stats_used_on_loop(engine));
}

static void each_kind_of_request_is_seen(void **state) {
    (void)state;
    strata *engine = test_engine_open(TEST_OPTIONS("l2.mode", "none"), NULL);
    strata_namespace *ns = test_engine_ns(engine, "users");
    strata_session *session = test_engine_session(engine);
    settle(engine);
    assert_int_equal(test_set(session, ns, "key", "value"), STRATA_OK);
    assert_true(sx_stats_used_on_loop(engine));
    settle(engine);
    assert_non_null(test_peek(session, ns, "key"));
    assert_true(sx_stats_used_on_loop(engine));
    settle(engine);
    assert_int_equal(strata_invalidate_wait(session, ns, test_bytes("key"), NULL), STRATA_OK);
    assert_true(sx_stats_used_on_loop(engine));
    settle(engine);
    strata_session_close(session); /* what it did stays counted */
    settle(engine);
    assert_int_equal(strata_close(engine, 1000), STRATA_OK);
}

static void *look(void *engine) { return sx_stats_used_on_loop(engine) ? engine : NULL; }

static void who_holds_the_lock_is_not_waited_for(void **state) {
    (void)state;
    strata *engine = test_engine_open(TEST_OPTIONS("l2.mode", "none"), NULL);
    settle(engine);
    pthread_t thread;
    void *used = NULL;
    sx_lock_acquire(&engine->lock);
    assert_int_equal(pthread_create(&thread, NULL, look, engine), 0);
    int late = -1;
    for (int i = 0; i < 1000 && late != 0; i++) {
        late = pthread_tryjoin_np(thread, &used);
        if (late != 0) test_sleep_ms(10);
    }
    sx_lock_release(&engine->lock);
    if (late != 0) (void)pthread_join(thread, &used);
    assert_int_equal(late, 0);
    assert_ptr_equal(used, engine); /* who can't look takes it for used */
    assert_false(sx_stats_used_on_loop(engine));
    assert_int_equal(strata_close(engine, 1000), STRATA_OK);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_kind_of_request_is_seen),
        cmocka_unit_test(who_holds_the_lock_is_not_waited_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
