/* SPDX-License-Identifier: Apache-2.0 */
/* What an engine that nobody uses costs: how often its threads wake up, and that its leases stay as good. */
// ctest: serial
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <dirent.h>

#include <cmocka.h>

#include "tests/support/cluster.h"
#include "tests/support/engine.h"

enum { SERVERS = 3, REST_MS = 2000, WATCHED_MS = 3000, WAKES_MOST = 20, BEATS_IN_USE = 10 };

/* Of all threads but this one: how often they slept and were woken. */
static uint64_t wakes(void) {
    uint64_t sum = 0;
    DIR *tasks = opendir("/proc/self/task");
    assert_non_null(tasks);
    for (struct dirent *e; (e = readdir(tasks)) != NULL;) {
        char path[300], line[128];
        bool ours = false;
        unsigned long long count = 0;
        snprintf(path, sizeof path, "/proc/self/task/%s/status", e->d_name);
        FILE *file = e->d_name[0] == '.' ? NULL : fopen(path, "r");
        while (file != NULL && fgets(line, sizeof line, file) != NULL) {
            ours = ours || strncmp(line, "Name:\tstrata-", 13) == 0;
            (void)sscanf(line, "voluntary_ctxt_switches: %llu", &count);
        }
        if (file != NULL) fclose(file);
        if (ours) sum += count;
    }
    closedir(tasks);
    return sum;
}

typedef struct fixture {
    sx_cluster *cluster;
    strata *engine;
    strata_namespace *ns;
    strata_session *session;
} fixture;

static int setup(void **state) {
    fixture *f = calloc(1, sizeof *f);
    f->cluster = test_cluster_start(&(sx_cluster_options){.primaries = SERVERS});
    f->engine = test_engine_open(TEST_OPTIONS("l2.nodes", sx_cluster_seeds(f->cluster), "l2.open_wait", "5s"), NULL);
    f->ns = test_engine_ns(f->engine, "users");
    f->session = test_engine_session(f->engine);
    test_engine_await_trust(f->engine, 30000);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    fixture *f = *state;
    strata_session_close(f->session);
    assert_int_equal(strata_close(f->engine, 2000), STRATA_OK);
    sx_cluster_stop(f->cluster);
    free(f);
    return 0;
}

static void an_idle_engine_sleeps(void **state) {
    fixture *f = *state;
    assert_int_equal(strata_set_wait(f->session, f->ns, test_bytes("k"), test_bytes("v"), NULL, NULL), STRATA_OK);
    test_sleep_ms(REST_MS);
    uint64_t before = wakes();
    test_sleep_ms(WATCHED_MS);
    uint64_t woken = wakes() - before;
    print_message("%.1f wake-ups a second\n", (double)woken * 1000 / WATCHED_MS);
    assert_in_range(woken, 1, WAKES_MOST * WATCHED_MS / 1000);
    strata_result result; /* nothing of what L1 held has to be asked for again */
    assert_int_equal(strata_peek(f->session, f->ns, test_bytes("k"), &result), STRATA_OK);
    strata_result_release(f->session, &result);
}

static void one_in_use_beats_faster(void **state) {
    fixture *f = *state;
    assert_int_equal(strata_set_wait(f->session, f->ns, test_bytes("k"), test_bytes("v"), NULL, NULL), STRATA_OK);
    test_sleep_ms(REST_MS);
    int64_t beats = 0, began_ms = 0;
    for (int i = 0; i < 60; i++) {
        strata_result result;
        if (i == 20) { /* from a second on, the use was noticed */
            beats = test_metric(f->engine, "coherence.beats");
            began_ms = test_now_ms();
        }
        if (strata_peek(f->session, f->ns, test_bytes("k"), &result) == STRATA_OK) /* by itself: no flight, no loop */
            strata_result_release(f->session, &result);
        test_sleep_ms(50);
    }
    beats = test_metric(f->engine, "coherence.beats") - beats;
    int64_t each = beats * 1000 / ((test_now_ms() - began_ms) * SERVERS);
    print_message("%lld heartbeats a second at each server\n", (long long)each);
    assert_true(each >= BEATS_IN_USE * 6 / 10);
}

int main(void) {
    if (!sx_cluster_available()) return 77;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_idle_engine_sleeps, setup, teardown),
        cmocka_unit_test_setup_teardown(one_in_use_beats_faster, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
