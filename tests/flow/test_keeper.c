/* SPDX-License-Identifier: Apache-2.0 */
/* The keeper does what is waiting in rounds one after the other, and rests after several of them, not after each. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <dirent.h>

#include <cmocka.h>

#include "tests/support/engine.h"

#define KEYS 100000
#define RESTS_MAX 24

static bool task_line(const char *task, const char *file, const char *wanted, char line[256]) {
    char path[512];
    (void)snprintf(path, sizeof path, "/proc/self/task/%s/%s", task, file);
    FILE *f = fopen(path, "r");
    if (f == NULL) return false;
    bool found = false;
    while (!found && fgets(line, 256, f) != NULL) found = strncmp(line, wanted, strlen(wanted)) == 0;
    (void)fclose(f);
    return found;
}

/* How often the keeper has given its processor away, as it does in each rest. */
static long keeper_rests(void) {
    long rests = -1;
    char line[256];
    DIR *tasks = opendir("/proc/self/task");
    assert_non_null(tasks);
    for (struct dirent *task = readdir(tasks); task != NULL; task = readdir(tasks)) {
        if (!task_line(task->d_name, "comm", "strata-keeper", line)) continue;
        assert_true(task_line(task->d_name, "status", "voluntary_ctxt_switches:", line));
        assert_int_equal(sscanf(line, "voluntary_ctxt_switches: %ld", &rests), 1);
    }
    (void)closedir(tasks);
    return rests;
}

static void a_smaller_budget_is_met_with_few_rests(void **state) {
    (void)state;
    strata *engine = test_engine_open(TEST_OPTIONS("l2.mode", "none", "l1.bytes", "64MiB"), NULL);
    strata_namespace *ns = test_engine_ns(engine, "users");
    strata_session *session = test_engine_session(engine);
    char key[16];
    for (int i = 0; i < KEYS; i++) {
        (void)snprintf(key, sizeof key, "k%d", i);
        assert_int_equal(test_set(session, ns, key, "value"), STRATA_OK);
    }
    assert_true(test_metric(engine, "l1.entries") > KEYS / 2);
    strata_error error;
    long before = keeper_rests();
    assert_true(before >= 0);
    assert_int_equal(strata_option_set(engine, "l1.bytes", "1MiB", &error), STRATA_OK);
    for (int i = 0; i < 3000 && test_metric(engine, "l1.bytes_used") > 1 << 20; i++) test_sleep_ms(10);
    assert_true(test_metric(engine, "l1.bytes_used") <= 1 << 20);
    long rests = keeper_rests() - before;
    print_message("%ld rests\n", rests);
    assert_in_range(rests, 1, RESTS_MAX);
    strata_session_close(session);
    assert_int_equal(strata_close(engine, 1000), STRATA_OK);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_smaller_budget_is_met_with_few_rests)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
