/* SPDX-License-Identifier: Apache-2.0 */
/* Engines over a Unix socket, which log in with what the program says: coherence as over any other connection. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "bench/cluster/cluster.h"
#include "tests/support/engine.h"

static _Atomic int asked;

static int32_t login(void *context, char *username, size_t username_size, char *password, size_t password_size) {
    asked++;
    assert_int_equal(strlen(username), 0);
    (void)username_size;
    snprintf(password, password_size, "%s", (const char *)context);
    return STRATA_OK;
}

static void two_engines_agree(void **state) {
    (void)state;
    char folder[] = "/tmp/strata-unix-XXXXXX", path[64], nodes[80], error[256], secret[] = "secret";
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/redis.sock", folder);
    snprintf(nodes, sizeof nodes, "unix:%s", path);
    const char *const extra[] = {"--unixsocket", path, NULL};
    sx_cluster *server = NULL;
    const sx_cluster_options options = {.primaries = 0, .password = secret, .extra = extra};
    if (sx_cluster_start(&options, &server, error, sizeof error) != 0) fail_msg("%s", error);
    const strata_open_options open = {.struct_size = sizeof open, .credentials = {secret, login}};
    const char *const *pairs = TEST_OPTIONS("l2.nodes", nodes, "l2.open_wait", "5s");
    strata *a = test_engine_open(pairs, &open), *b = test_engine_open(pairs, &open);
    assert_true(asked >= 4); /* data and subscription of both */
    strata_session *in_a = test_engine_session(a), *in_b = test_engine_session(b);
    strata_namespace *of_a = test_engine_ns(a, "users"), *of_b = test_engine_ns(b, "users");
    assert_int_equal(test_metric(b, "coherence.partitions_trusted"), 256);
    assert_int_equal(test_set(in_a, of_a, "k", "old"), STRATA_OK);
    assert_string_equal(test_get(in_b, of_b, "k"), "old");
    assert_int_equal(test_set(in_a, of_a, "k", "new"), STRATA_OK);
    const int64_t until_ms = test_now_ms() + 2000;
    while (strcmp(test_get(in_b, of_b, "k"), "new") != 0) assert_true(test_now_ms() < until_ms);
    strata_session_close(in_a);
    strata_session_close(in_b);
    assert_int_equal(strata_close(a, 2000), STRATA_OK);
    assert_int_equal(strata_close(b, 2000), STRATA_OK);
    sx_cluster_stop(server);
    (void)unlink(path);
    assert_int_equal(rmdir(folder), 0);
}

int main(void) {
    if (!sx_cluster_available()) return 77;
    const struct CMUnitTest tests[] = {cmocka_unit_test(two_engines_agree)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
