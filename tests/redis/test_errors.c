/* SPDX-License-Identifier: Apache-2.0 */
/* What a real server refuses, and the rule that each refusal follows. Redirects, TRYAGAIN, CLUSTERDOWN and NOSCRIPT are in
   test_cluster.c: they need a cluster. */
// ctest: timeout=300
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <unistd.h>

#include <cmocka.h>

#include <strata/status.h>

#include "l2/redis/cluster_private.h"
#include "tests/support/cluster.h"
#include "tests/support/drive.h"
#include "tests/support/talk.h"

static sx_cluster *server_start(const char *password, const char *const *extra) {
    const sx_cluster_options options = {.primaries = 0, .password = password, .extra = extra};
    return test_cluster_start(&options);
}

static void open_drive(test_drive *drive, sx_cluster *server) {
    test_drive_init(drive);
    test_drive_open(drive, SX_REDIS_MODE_AUTO, sx_cluster_seeds(server));
    assert_true(test_drive_wait_map(drive, 3000));
    assert_true(test_drive_call_until_ok(drive, "SET k v", 1, 3000));
}

static void run(sx_cluster *server, const char *command) {
    if (command == NULL) return;
    char *answer = sx_cluster_command(server, 0, "%s", command);
    if (strcmp(answer, "OK") != 0) fail_msg("%s: %s", command, answer);
    free(answer);
}

/* ---- states that a server can be put into ---- */

static void each_refusal_has_its_rule(void **state) {
    (void)state;
    static const struct {
        const char *make, *more, *request, *undo;
        sx_redis_outcome outcome;
        int32_t status;
        bool executed, retry;
    } cases[] = {
        {"CONFIG SET maxmemory 1", NULL, "SET k v", "CONFIG SET maxmemory 0", SX_REDIS_OOM, STRATA_E_L2_FULL, false, false},
        {"CONFIG SET min-replicas-to-write 1", NULL, "SET k v", "CONFIG SET min-replicas-to-write 0", SX_REDIS_NOREPLICAS,
         STRATA_E_L2_DOWN, false, true},
        {"ACL SETUSER default -get", NULL, "GET k", "ACL SETUSER default +get", SX_REDIS_NOPERM, STRATA_E_AUTH, false, false},
        {"ACL SETUSER default resetkeys", NULL, "GET k", "ACL SETUSER default ~*", SX_REDIS_NOPERM, STRATA_E_AUTH, false,
         false},
        {"REPLICAOF 127.0.0.1 1", NULL, "SET k v", "REPLICAOF NO ONE", SX_REDIS_READONLY, STRATA_E_L2_DOWN, false, true},
        {"REPLICAOF 127.0.0.1 1", "CONFIG SET replica-serve-stale-data no", "GET k", "REPLICAOF NO ONE",
         SX_REDIS_MASTERDOWN, STRATA_E_L2_DOWN, false, true},
        {NULL, NULL, "LLEN k", NULL, SX_REDIS_ERROR, STRATA_E_REFUSED, true, false}, /* WRONGTYPE */
        {NULL, NULL, "NOSUCHCOMMAND k", NULL, SX_REDIS_ERROR, STRATA_E_REFUSED, true, false},
    };
    sx_cluster *server = server_start("", NULL);
    test_drive drive;
    open_drive(&drive, server);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        run(server, cases[i].make);
        run(server, cases[i].more);
        char reply[256];
        sx_redis_outcome outcome = test_drive_call(&drive, cases[i].request, 1, 1000, reply);
        const sx_redis_rule *rule = sx_redis_rule_of(outcome);
        if (outcome != cases[i].outcome) fail_msg("%s: %s (%s)", cases[i].request, rule->name, reply);
        assert_int_equal(rule->status, cases[i].status);
        assert_true(rule->executed == cases[i].executed && rule->retry == cases[i].retry && !rule->node_fault);
        run(server, cases[i].undo);
        assert_int_equal(test_drive_call(&drive, "SET k v", 1, 1000, NULL), SX_REDIS_OK); /* the connection goes on */
    }
    assert_int_equal(sx_redis_metric_read(drive.cluster, SX_REDIS_METRIC_DISCONNECTS), 0);
    test_drive_close(&drive);
    sx_cluster_stop(server);
}

/* Repeats a read until it has that outcome; any other than OK fails. */
static void expect_within(test_drive *drive, sx_redis_outcome wanted, int wait_ms) {
    sx_redis_outcome outcome = SX_REDIS_OK;
    for (int64_t until = sx_loop_now_ns(drive->loop) + wait_ms * SX_NS_PER_MS;
         outcome != wanted && sx_loop_now_ns(drive->loop) < until;) {
        outcome = test_drive_call(drive, "GET k", 1, 3000, NULL);
        assert_true(outcome == SX_REDIS_OK || outcome == wanted);
    }
    assert_int_equal(outcome, wanted);
}

static void a_script_that_does_not_end_is_busy(void **state) {
    (void)state;
    sx_cluster *server = server_start("", (const char *const[]){"--lua-time-limit", "20", NULL});
    test_drive drive;
    open_drive(&drive, server);
    test_talk *talk = test_talk_open(sx_cluster_port(server, 0), true);
    sx_command endless;
    sx_command_init(&endless, sx_alloc_default());
    sx_command_text(&endless, "0");
    const sx_redis_script script = {.text = "while true do end"};
    test_talk_send(talk, &endless, &script);
    expect_within(&drive, SX_REDIS_BUSY, 3000);
    run(server, "SCRIPT KILL");
    assert_true(test_drive_call_until_ok(&drive, "GET k", 1, 3000));
    sx_command_deinit(&endless);
    test_talk_close(talk);
    test_drive_close(&drive);
    sx_cluster_stop(server);
}

static void a_server_that_loads_says_so(void **state) {
    (void)state;
    sx_cluster *server = server_start("", (const char *const[]){"--loading-process-events-interval-bytes", "1024",
                                                                "--key-load-delay", "1000", NULL});
    test_drive drive;
    open_drive(&drive, server);
    char *filled = sx_cluster_command(server, 0, "DEBUG POPULATE 2000 filler 64");
    bool able = strcmp(filled, "OK") == 0;
    free(filled);
    if (able) {
        test_talk *talk = test_talk_open(sx_cluster_port(server, 0), true);
        sx_command reload;
        sx_command_init(&reload, sx_alloc_default());
        sx_command_text(&reload, "DEBUG");
        sx_command_text(&reload, "RELOAD");
        test_talk_send(talk, &reload, NULL);
        expect_within(&drive, SX_REDIS_LOADING, 5000);
        assert_true(test_drive_call_until_ok(&drive, "GET k", 1, 10000));
        sx_command_deinit(&reload);
        test_talk_close(talk);
    }
    test_drive_close(&drive);
    sx_cluster_stop(server);
    if (!able) skip(); /* its DEBUG is off */
}

/* ---- refused at the door ---- */

static void expect_refused(sx_cluster *server, const char *username, const char *password, int32_t status,
                           const char *text) {
    test_drive drive;
    test_drive_init(&drive);
    drive.settings.username = username;
    drive.settings.password = password;
    test_drive_open(&drive, SX_REDIS_MODE_AUTO, sx_cluster_seeds(server));
    assert_false(test_drive_wait_map(&drive, 300));
    int32_t told;
    const char *why = sx_redis_cluster_last_error(drive.cluster, &told);
    if (strstr(why, text) == NULL) fail_msg("%s", why);
    assert_int_equal(told, status);
    test_drive_close(&drive);
}

static void credentials_are_checked_at_the_door(void **state) {
    (void)state;
    sx_cluster *server = server_start("secret", NULL);
    expect_refused(server, "", "", STRATA_E_AUTH, "NOAUTH");
    expect_refused(server, "", "wrong", STRATA_E_AUTH, "WRONGPASS");
    expect_refused(server, "nobody", "secret", STRATA_E_AUTH, "WRONGPASS");
    run(server, "ACL SETUSER app on >word ~* &* +@all -info");
    expect_refused(server, "app", "word", STRATA_E_AUTH, "NOPERM");
    run(server, "ACL SETUSER app +info");
    test_drive drive;
    test_drive_init(&drive);
    drive.settings.username = "app";
    drive.settings.password = "word";
    test_drive_open(&drive, SX_REDIS_MODE_AUTO, sx_cluster_seeds(server));
    assert_true(test_drive_wait_map(&drive, 3000));
    assert_true(test_drive_call_until_ok(&drive, "SET k v", 1, 3000));
    test_drive_close(&drive);
    sx_cluster_stop(server);
}

static void write_file(const char *path, const char *text) {
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

/* A password is replaced in the file and at the server while connections live. */
static void a_password_file_is_read_for_each_connection(void **state) {
    (void)state;
    sx_cluster *server = server_start("", NULL);
    run(server, "ACL SETUSER app on >first ~* &* +@all");
    char path[] = "/tmp/strata-password-XXXXXX";
    int made = mkstemp(path);
    assert_true(made >= 0);
    close(made);
    static const struct {
        const char *text, *why;
    } cases[] = {{NULL, "no such file"}, {"", "not a text"}, {"\n", "not a text"}, {"wrong\n", "WRONGPASS"}};
    char too_long[600];
    memset(too_long, 'x', sizeof too_long - 1);
    too_long[sizeof too_long - 1] = '\0';
    test_drive drive;
    for (size_t i = 0; i <= sizeof cases / sizeof cases[0]; i++) {
        bool last = i == sizeof cases / sizeof cases[0];
        test_drive_init(&drive);
        drive.settings.username = "app";
        drive.settings.password = "first"; /* not asked for where there is a file */
        drive.settings.password_file = !last && cases[i].text == NULL ? "/nonexistent" : path;
        write_file(path, last ? too_long : cases[i].text == NULL ? "" : cases[i].text);
        test_drive_open(&drive, SX_REDIS_MODE_AUTO, sx_cluster_seeds(server));
        assert_false(test_drive_wait_map(&drive, 200));
        int32_t told;
        const char *why = sx_redis_cluster_last_error(drive.cluster, &told);
        if (strstr(why, last ? "not a text" : cases[i].why) == NULL) fail_msg("%s", why);
        assert_int_equal(told, STRATA_E_AUTH);
        test_drive_close(&drive);
    }
    write_file(path, "first\n");
    test_drive_init(&drive);
    drive.settings.username = "app";
    drive.settings.password_file = path;
    test_drive_open(&drive, SX_REDIS_MODE_AUTO, sx_cluster_seeds(server));
    assert_true(test_drive_wait_map(&drive, 3000));
    assert_true(test_drive_call_until_ok(&drive, "SET k v", 1, 3000));
    run(server, "ACL SETUSER app resetpass >second");
    write_file(path, "second");
    free(sx_cluster_command(server, 0, "CLIENT KILL USER app"));
    test_drive_turn(&drive, 50);
    assert_true(test_drive_call_until_ok(&drive, "GET k", 1, 5000));
    assert_true(sx_redis_metric_read(drive.cluster, SX_REDIS_METRIC_DISCONNECTS) >= 1);
    test_drive_close(&drive);
    unlink(path);
    sx_cluster_stop(server);
}

static void a_full_server_is_waited_for(void **state) {
    (void)state;
    sx_cluster *server = server_start("", NULL);
    test_talk *talk = test_talk_open(sx_cluster_port(server, 0), true);
    (void)test_talk_say(talk, "CONFIG SET maxclients 1");
    test_drive drive;
    test_drive_init(&drive);
    test_drive_open(&drive, SX_REDIS_MODE_AUTO, sx_cluster_seeds(server));
    assert_false(test_drive_wait_map(&drive, 300));
    int32_t told;
    const char *why = sx_redis_cluster_last_error(drive.cluster, &told);
    /* The server may close before it has read what we sent: then its words are lost with the connection. */
    if (strstr(why, "max number of clients") == NULL && strstr(why, "reset") == NULL) fail_msg("%s", why);
    assert_int_equal(told, STRATA_E_UNAVAILABLE);
    (void)test_talk_say(talk, "CONFIG SET maxclients 100");
    assert_true(test_drive_wait_map(&drive, 5000));
    assert_true(test_drive_call_until_ok(&drive, "SET k v", 1, 3000));
    test_talk_close(talk);
    test_drive_close(&drive);
    sx_cluster_stop(server);
}

/* ---- texts that no server here can be made to say ---- */

static void each_word_is_known(void **state) {
    (void)state;
    static const struct {
        const char *text;
        sx_redis_outcome outcome;
    } cases[] = {
        {"TRYAGAIN Multiple keys request during rehashing of slot", SX_REDIS_TRYAGAIN},
        {"CLUSTERDOWN The cluster is down", SX_REDIS_CLUSTERDOWN},
        {"CLUSTERDOWN Hash slot not served", SX_REDIS_CLUSTERDOWN},
        /* From inside a script, perhaps after a write of it: not to be tried again as if nothing had happened. */
        {"ERR Script attempted to execute a command while the cluster is down", SX_REDIS_ERROR},
        {"LOADING Redis is loading the dataset in memory", SX_REDIS_LOADING},
        {"MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.", SX_REDIS_MASTERDOWN},
        {"READONLY You can't write against a read only replica.", SX_REDIS_READONLY},
        {"READONLY You can't write against a read only replica. script: x, on @user_script:1.", SX_REDIS_READONLY},
        {"BUSY Redis is busy running a script.", SX_REDIS_BUSY},
        {"BUSYKEY Target key name already exists.", SX_REDIS_ERROR},
        {"OOM command not allowed when used memory > 'maxmemory'.", SX_REDIS_OOM},
        {"NOREPLICAS Not enough good replicas to write.", SX_REDIS_NOREPLICAS},
        {"MISCONF Errors writing to the AOF file", SX_REDIS_NOREPLICAS},
        {"NOAUTH Authentication required.", SX_REDIS_NOAUTH},
        {"WRONGPASS invalid username-password pair", SX_REDIS_NOAUTH},
        {"NOPERM User default has no permissions", SX_REDIS_NOPERM},
        {"ERR something", SX_REDIS_ERROR},
        {"", SX_REDIS_ERROR},
        {"OOMPH", SX_REDIS_ERROR},
        {"OO", SX_REDIS_ERROR},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        sx_resp error = {.type = SX_RESP_ERROR, .size = strlen(cases[i].text), .text = cases[i].text};
        if (sx_redis_outcome_of_error(&error) != cases[i].outcome)
            fail_msg("%s: %s", cases[i].text, sx_redis_rule_of(sx_redis_outcome_of_error(&error))->name);
    }
}

int main(void) {
    if (!sx_cluster_available()) return 77;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_word_is_known),
        cmocka_unit_test(each_refusal_has_its_rule),
        cmocka_unit_test(a_script_that_does_not_end_is_busy),
        cmocka_unit_test(a_server_that_loads_says_so),
        cmocka_unit_test(credentials_are_checked_at_the_door),
        cmocka_unit_test(a_password_file_is_read_for_each_connection),
        cmocka_unit_test(a_full_server_is_waited_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
