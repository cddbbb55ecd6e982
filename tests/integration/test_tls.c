/* SPDX-License-Identifier: Apache-2.0 */
/* Engines over a cluster that speaks TLS: coherence as ever, and an opening that says what is wrong with a certificate. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bench/cluster/certs.h"
#include "bench/cluster/cluster.h"
#include "core/key/key.h"
#include "tests/support/engine.h"

typedef struct fixture {
    sx_cluster *cluster;
    char ca[300], cert[300], key[300];
} fixture;

static int setup(void **state) {
    fixture *f = calloc(1, sizeof *f);
    char error[256];
    sx_cluster_options options = {.primaries = 3, .password = "secret", .tls = true};
    if (sx_cluster_start(&options, &f->cluster, error, sizeof error) != 0) fail_msg("%s", error);
    const char *folder = sx_cluster_certs(f->cluster);
    snprintf(f->ca, sizeof f->ca, "%s/ca.crt", folder);
    snprintf(f->cert, sizeof f->cert, "%s/server.crt", folder);
    snprintf(f->key, sizeof f->key, "%s/server.key", folder);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    fixture *f = *state;
    sx_cluster_stop(f->cluster);
    free(f);
    return 0;
}

static strata *open_engine_as(const fixture *f, const char *username) {
    const char *const *options =
        TEST_OPTIONS("l2.nodes", sx_cluster_seeds(f->cluster), "l2.open_wait", "5s", "l2.username", username, "l2.password", "secret",
                     "l2.tls", "on", "l2.tls_ca_file", f->ca, "l2.tls_cert_file", f->cert, "l2.tls_key_file", f->key);
    return test_engine_open(options, NULL);
}

static strata *open_engine(const fixture *f) { return open_engine_as(f, ""); }

static void two_engines_agree(void **state) {
    const fixture *f = *state;
    strata *a = open_engine(f), *b = open_engine(f);
    strata_session *in_a = test_engine_session(a), *in_b = test_engine_session(b);
    strata_namespace *of_a = test_engine_ns(a, "users"), *of_b = test_engine_ns(b, "users");
    assert_int_equal(test_metric(a, "coherence.partitions_trusted"), 256);
    for (int i = 0; i < 50; i++) {
        char key[16], value[16];
        snprintf(key, sizeof key, "k%d", i);
        snprintf(value, sizeof value, "v%d", i);
        assert_int_equal(test_set(in_a, of_a, key, "old"), STRATA_OK);
        assert_string_equal(test_get(in_b, of_b, key), "old");
        assert_int_equal(test_set(in_a, of_a, key, value), STRATA_OK);
        const int64_t until_ms = test_now_ms() + 2000;
        while (strcmp(test_get(in_b, of_b, key), value) != 0) assert_true(test_now_ms() < until_ms);
    }
    /* The probe, three nodes' data connections and subscriptions; bulk ones may come. */
    assert_true(test_metric(a, "l2.tls_handshakes") >= 7);
    assert_true(test_metric(a, "l2.tls_resumed") >= 1);
    strata_session_close(in_a);
    strata_session_close(in_b);
    assert_int_equal(strata_close(a, 2000), STRATA_OK);
    assert_int_equal(strata_close(b, 2000), STRATA_OK);
}

/* As another program does it. */
static void write_foreign(const fixture *f, const char *key, const char *value) {
    char name[32];
    uint16_t slot = (uint16_t)sx_key_slot(name, (size_t)snprintf(name, sizeof name, "f:%s", key));
    int node = sx_cluster_owner(f->cluster, slot);
    assert_true(node >= 0);
    char *answer = sx_cluster_command(f->cluster, (uint32_t)node, "SET %s %s", name, value);
    assert_string_equal(answer, "OK");
    free(answer);
}

static void await_value(strata_session *session, strata_namespace *ns, const char *key, const char *value, bool here) {
    const char *text = NULL;
    for (int64_t end_ms = test_now_ms() + 10000; test_now_ms() < end_ms; test_sleep_ms(2)) {
        text = test_get(session, ns, key);
        if (text != NULL && strcmp(text, value) == 0 && here) text = test_peek(session, ns, key);
        if (text != NULL && strcmp(text, value) == 0) return;
    }
    fail_msg("%s is %s, not %s", key, text == NULL ? "nothing" : text, value);
}

/* What docs/WIRE.md says that a user needs, and no more, is enough for foreign keys too. */
static void a_narrow_user_follows_foreign_keys(void **state) {
    const fixture *f = *state;
    for (uint32_t i = 0; i < 3; i++) {
        char *answer = sx_cluster_command(
            f->cluster, i,
            "ACL SETUSER narrow on >secret resetkeys ~{*}s1:* ~s1:layout ~f:* resetchannels &{*}s1:c &s1:tracking -@all +eval +evalsha "
            "+evalsha_ro +eval_ro +script|load +time +get +mget +set +getrange +setrange +pttl +pexpire +scan +exists +hincrby +hset +hdel "
            "+hget +hmget +hgetall +hlen +unlink +publish +spublish +subscribe +ssubscribe +unsubscribe +sunsubscribe +hello +info +role "
            "+ping +asking +cluster|nodes +cluster|slots +cluster|shards +client|tracking");
        assert_string_equal(answer, "OK");
        free(answer);
    }
    strata *engine = open_engine_as(f, "narrow");
    strata_session *session = test_engine_session(engine);
    strata_foreign_options options = {.struct_size = sizeof options, .prefix = test_bytes("f:")};
    strata_namespace *ns = NULL;
    strata_error error = {0};
    if (strata_namespace_open_foreign(engine, "foreign", &options, &ns, &error) != STRATA_OK) fail_msg("%s", error.text);
    assert_true(test_metric_wait(engine, "foreign.nodes", 3, 30000));
    for (int i = 0; i < 9; i++) {
        char key[16];
        snprintf(key, sizeof key, "k%d", i);
        write_foreign(f, key, "old");
        await_value(session, ns, key, "old", true);
        write_foreign(f, key, "new");
        await_value(session, ns, key, "new", false);
        assert_int_equal(test_set(session, ns, key, "own"), STRATA_OK);
        await_value(session, ns, key, "own", true);
        assert_int_equal(strata_invalidate_wait(session, ns, test_bytes(key), NULL), STRATA_OK);
        assert_null(test_get(session, ns, key));
    }
    strata_session_close(session);
    assert_int_equal(strata_close(engine, 2000), STRATA_OK);
}

static void opening_says_what_is_wrong(void **state) {
    const fixture *f = *state;
    const char *folder = sx_cluster_certs(f->cluster);
    char other[300];
    assert_int_equal(sx_certs_authority(folder, "other"), 0);
    snprintf(other, sizeof other, "%s/other.crt", folder);
    const char *seeds = sx_cluster_seeds(f->cluster);
    strata *engine = NULL;
    strata_error error;
    int32_t status = test_engine_try(TEST_OPTIONS("l2.nodes", seeds, "l2.open_wait", "500ms", "l2.password", "secret", "l2.tls",
                                                  "on", "l2.tls_ca_file", other, "l2.tls_cert_file", f->cert,
                                                  "l2.tls_key_file", f->key), NULL, &engine, &error);
    assert_int_equal(status, STRATA_E_AUTH);
    assert_non_null(strstr(error.text, "TLS: the server's certificate: "));
    assert_null(strstr(error.text, "secret"));
    status = test_engine_try(TEST_OPTIONS("l2.nodes", seeds, "l2.tls", "on", "l2.tls_ca_file", "/nowhere"), NULL, &engine, &error);
    assert_int_equal(status, STRATA_E_CONFIG);
    assert_non_null(strstr(error.text, "l2.tls_ca_file: '/nowhere': "));
    status = test_engine_try(TEST_OPTIONS("l2.nodes", "127.0.0.1:1, unix:/nowhere", "l2.tls", "on"), NULL, &engine, &error);
    assert_int_equal(status, STRATA_E_CONFIG);
    assert_non_null(strstr(error.text, "l2.tls is on, and l2.nodes has 'unix:/nowhere': "));
}

static void without_openssl_it_is_refused(void **state) {
    (void)state;
    strata *engine = NULL;
    strata_error error;
    assert_int_equal(test_engine_try(TEST_OPTIONS("l2.tls", "on"), NULL, &engine, &error), STRATA_E_CONFIG);
    assert_non_null(strstr(error.text, "l2.tls: this build has no TLS"));
}

int main(void) {
    const struct CMUnitTest none[] = {cmocka_unit_test(without_openssl_it_is_refused)};
    if (!sx_certs_available()) return cmocka_run_group_tests(none, NULL, NULL);
    if (!sx_cluster_available()) return 77;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_engines_agree),
        cmocka_unit_test(a_narrow_user_follows_foreign_keys),
        cmocka_unit_test(opening_says_what_is_wrong),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
