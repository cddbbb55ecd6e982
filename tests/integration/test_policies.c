/* SPDX-License-Identifier: Apache-2.0 */
/* What a namespace does with entries that can't be proven fresh: each by its own policy, and every answer says how stale it
   may be. */
// ctest: timeout=300
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/cluster.h"
#include "tests/support/engine.h"

static void each_namespace_has_its_own(void **state) {
    (void)state;
    sx_cluster *cluster = test_cluster_start(&(sx_cluster_options){0});
    strata *engine = test_engine_open(TEST_OPTIONS("l2.nodes", sx_cluster_seeds(cluster), "l2.open_wait", "5s"), NULL);
    strata_session *session = test_engine_session(engine);
    strata_namespace *plain = test_engine_ns(engine, "plain"), *bypass = test_engine_ns(engine, "bypass"),
                     *stale = test_engine_ns(engine, "stale"), *brief = test_engine_ns(engine, "brief");
    assert_int_equal(strata_namespace_set_untrusted(bypass, STRATA_UNTRUSTED_BYPASS, 0), STRATA_OK);
    assert_int_equal(strata_namespace_set_untrusted(stale, STRATA_UNTRUSTED_SERVE_STALE, 60000), STRATA_OK);
    assert_int_equal(strata_namespace_set_untrusted(brief, STRATA_UNTRUSTED_SERVE_STALE, 600), STRATA_OK);
    assert_int_equal(strata_namespace_set_untrusted(brief, STRATA_UNTRUSTED_BYPASS, 1), STRATA_E_INVALID);
    assert_int_equal(strata_namespace_set_untrusted(NULL, STRATA_UNTRUSTED_BYPASS, 0), STRATA_E_INVALID);
    test_engine_await_trust(engine, 30000);
    strata_namespace *all[] = {plain, bypass, stale, brief};
    strata_result result;
    for (int i = 0; i < 4; i++) {
        assert_int_equal(test_set(session, all[i], "k", "v"), STRATA_OK);
        assert_int_equal(strata_peek(session, all[i], test_bytes("k"), &result), STRATA_OK);
        assert_in_range(result.staleness_us, 0, 500000);
        strata_result_release(session, &result);
    }
    assert_int_equal(sx_cluster_pause(cluster, 0), 0);
    test_sleep_ms(1000);
    assert_int_equal(strata_peek(session, plain, test_bytes("k"), &result), STRATA_MISS);
    assert_int_equal(strata_peek(session, bypass, test_bytes("k"), &result), STRATA_MISS);
    assert_int_equal(strata_peek(session, brief, test_bytes("k"), &result), STRATA_MISS); /* for too long */
    assert_int_equal(strata_peek(session, stale, test_bytes("k"), &result), STRATA_STALE);
    assert_in_range(result.staleness_us, 900000, 20000000); /* nobody could have told of a write for so long */
    strata_result_release(session, &result);
    strata_error why;
    assert_int_equal(strata_namespace_set_untrusted(stale, STRATA_UNTRUSTED_DEFAULT, 0), STRATA_OK);
    assert_int_equal(strata_peek(session, stale, test_bytes("k"), &result), STRATA_MISS);
    assert_int_equal(strata_option_set(engine, "coherence.untrusted", "serve_stale", &why), STRATA_OK);
    assert_int_equal(strata_peek(session, stale, test_bytes("k"), &result), STRATA_STALE);
    strata_result_release(session, &result);
    assert_int_equal(strata_peek(session, bypass, test_bytes("k"), &result), STRATA_MISS);
    assert_int_equal(strata_option_set(engine, "coherence.untrusted", "revalidate", &why), STRATA_OK);

    /* Not proven, nor provable: a read before trust is back asks for the header, or for everything. */
    assert_int_equal(sx_cluster_resume(cluster, 0), 0);
    test_engine_await_trust(engine, 30000);
    for (int i = 0; i < 4; i++) assert_string_equal(test_get(session, all[i], "k"), "v");
    strata_session_close(session);
    strata_close(engine, 1000);
    sx_cluster_stop(cluster);
}

static void load(strata_load *load, void *user) {
    ++*(int *)user;
    strata_load_finish(load, STRATA_OK, test_bytes("loaded"), NULL);
}

/* Where values may be used past their end, how old they are must be known: of a server that nobody here has spoken to before, by its
   first answer. Else each would count as over, and be loaded. */
static void a_successors_clock_is_known_with_its_first_answer(void **state) {
    (void)state;
    enum { KEYS = 200 };
    sx_cluster *cluster = test_cluster_start(&(sx_cluster_options){.primaries = 3, .replicas = 1});
    strata *engine = test_engine_open(TEST_OPTIONS("l2.nodes", sx_cluster_seeds(cluster), "l2.open_wait", "5s", "l1.enabled", "false"),
                                      NULL);
    strata_session *session = test_engine_session(engine);
    strata_namespace *ns = test_engine_ns(engine, "n");
    strata_namespace_policy policy = {.struct_size = sizeof policy, .ttl_ms = 60000, .stale_if_failing_ms = 60000};
    assert_int_equal(strata_namespace_policy_set(ns, &policy, NULL), STRATA_OK);
    test_engine_await_trust(engine, 30000);
    char key[16];
    int loads = 0;
    for (int i = 0; i < KEYS; i++) {
        snprintf(key, sizeof key, "k%d", i);
        assert_int_equal(test_set(session, ns, key, "v"), STRATA_OK);
    }
    free(sx_cluster_command(cluster, 3, "CLUSTER FAILOVER"));
    for (bool master = false; !master; test_sleep_ms(5)) { /* ctest ends it otherwise */
        char *role = sx_cluster_command(cluster, 3, "ROLE");
        master = strncmp(role, "master", 6) == 0;
        free(role);
    }
    for (int i = 0; i < KEYS; i++) { /* moved to it one by one */
        strata_op_options options = {.struct_size = sizeof options, .deadline_ms = 3000};
        strata_result result;
        snprintf(key, sizeof key, "k%d", i);
        assert_int_equal(strata_get_or_load_wait(session, ns, test_bytes(key), &options, load, &loads, &result), STRATA_OK);
        assert_memory_equal(result.value.data, "v", 1);
        assert_in_range(result.ttl_ms, 1, 60000);
        strata_result_release(session, &result);
    }
    assert_int_equal(loads, 0);
    strata_session_close(session);
    strata_close(engine, 1000);
    sx_cluster_stop(cluster);
}

int main(void) {
    if (!sx_cluster_available()) return 77;
    const struct CMUnitTest tests[] = {cmocka_unit_test(each_namespace_has_its_own),
                                       cmocka_unit_test(a_successors_clock_is_known_with_its_first_answer)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
