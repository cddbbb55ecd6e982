/* SPDX-License-Identifier: Apache-2.0 */
/* What a configuration gives namespaces: before they are open and after, below what the program sets, all or nothing. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/flow/configured.h"
#include "core/flow/engine.h"
#include "tests/flow/fixture.h"

typedef struct written {
    char path[64];
    char log[16][256];
    int lines;
} written;

static written file;

static void note(void *context, strata_log_level level, const char *line) {
    (void)context;
    (void)level;
    if (file.lines < 16) (void)snprintf(file.log[file.lines++], sizeof file.log[0], "%s", line);
}

static int said(const char *text) {
    int times = 0;
    for (int i = 0; i < file.lines; i++) times += strstr(file.log[i], text) != NULL;
    return times;
}

static int setup(void **state) {
    fixture *f = fixture_create();
    memset(&file, 0, sizeof file);
    (void)snprintf(file.path, sizeof file.path, "/tmp/strata-configured-%ld.conf", (long)getpid());
    strata_open_options template_ = {.clock = {&f->clock, fixture_now_ns}, .log = note};
    fixture_open(f, TEST_OPTIONS("l2.mode", "none", "flow.ttl_jitter", "0", "flow.ttl", "60s", "flow.l1_usage", "on", "namespace.late.ttl", "7s"),
                 &template_);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    (void)unlink(file.path);
    fixture_close(*state);
    return 0;
}

static int32_t reload(fixture *f, const char *text, strata_error *error) {
    FILE *out = fopen(file.path, "w");
    assert_non_null(out);
    (void)fputs(text, out);
    assert_int_equal(fclose(out), 0);
    return strata_options_reload(f->engine, file.path, error);
}

static int64_t ttl_of(fixture *f, strata_namespace *ns, const char *key) {
    strata_result result;
    assert_int_equal(test_set(f->session, ns, key, "v"), STRATA_OK);
    if (strata_peek(f->session, ns, test_bytes(key), &result) != STRATA_OK) return -1;
    int64_t ttl_ms = result.ttl_ms;
    strata_result_release(f->session, &result);
    return ttl_ms;
}

static strata_namespace_policy effective(const strata_namespace *ns) {
    strata_namespace_policy policy = {.struct_size = sizeof policy};
    assert_int_equal(strata_namespace_policy_effective(ns, &policy), STRATA_OK);
    return policy;
}

static uint64_t version(fixture *f) {
    uint64_t version = 0;
    assert_int_equal(strata_options_version(f->engine, &version), STRATA_OK);
    return version;
}

static void a_namespace_takes_what_it_is_given(void **state) {
    fixture *f = *state;
    strata_error error;
    strata_namespace *late;
    assert_int_equal(ttl_of(f, f->ns, "a"), 60000);
    assert_int_equal(strata_namespace_open(f->engine, "late", 3, &late), STRATA_OK);
    assert_int_equal(ttl_of(f, late, "a"), 7000); /* what was there before it was open */
    assert_int_equal(reload(f, "[namespace.alone]\nttl = 30s\n[namespace.later]\nttl = 9s\n", &error), STRATA_OK);
    assert_int_equal(ttl_of(f, f->ns, "b"), 30000);
    assert_int_equal(ttl_of(f, late, "b"), 7000);
    assert_int_equal(ttl_of(f, test_engine_ns(f->engine, "later"), "b"), 9000);
    assert_int_equal(version(f), 2);
    assert_int_equal(said("option namespace.alone.ttl changed from flow.ttl to 30s (configuration 2)"), 1);
    assert_int_equal(said("option namespace.later.ttl changed from flow.ttl to 9s (configuration 2)"), 1);
    assert_int_equal(reload(f, "[namespace.alone]\nttl = 30s\n", &error), STRATA_OK);
    assert_int_equal(said("option namespace.later.ttl changed from 9s to flow.ttl (configuration 3)"), 1);
    assert_int_equal(ttl_of(f, test_engine_ns(f->engine, "later"), "c"), 60000);
    assert_int_equal(reload(f, "[namespace.alone]\nttl = 30s\n", &error), STRATA_OK);
    assert_int_equal(version(f), 3); /* nothing is another */
    assert_int_equal(strata_option_set(f->engine, "namespace.alone.ttl", "20s", &error), STRATA_OK);
    assert_int_equal(ttl_of(f, f->ns, "d"), 20000);
    char text[32];
    assert_int_equal(strata_option_get(f->engine, "namespace.alone.ttl", text, sizeof text), STRATA_OK);
    assert_string_equal(text, "20s");
}

static bool is_analysed(strata_namespace *ns) {
    strata_analysis analysis = {.struct_size = sizeof analysis};
    assert_int_equal(strata_analysis_read(ns, &analysis), STRATA_OK);
    return analysis.on != 0;
}

/* Every row of the table reaches its field. */
static void every_field_is_given(void **state) {
    fixture *f = *state;
    strata_error error;
    assert_int_equal(reload(f,
                            "[namespace.alone]\nttl = 1s\nendless = on\nl1_ttl = 2s\nttl_jitter = 3%\nrefresh = 4%\nstale_while_refreshing = 5s\n"
                            "stale_if_failing = 6s\nthrottle = 7s\nsoft_timeout = 8s\nload_timeout = 9s\nabsent_ttl = 10s\nerror_ttl = 11s\n"
                            "l1_idle = 12s\ncompress = lz4\ncompress_min = 128\nl1_compressed = on\nwaiters_max = 77\nl1_bytes_max = 128KiB\nl1_entries_max = 777\nl1_priority = high\nanalysis = on\nl1_per_mille = 250\nl2_per_mille = 500\n",
                            &error),
                     STRATA_OK);
    strata_namespace_policy policy = effective(f->ns);
    const strata_namespace_policy wanted = {.struct_size = sizeof wanted,
                                            .flags = STRATA_POLICY_ENDLESS | STRATA_POLICY_L1_COMPRESSED,
                                            .ttl_ms = 1000,
                                            .l1_ttl_ms = 2000,
                                            .ttl_jitter_percent = 3,
                                            .refresh_percent = 4,
                                            .stale_while_refreshing_ms = 5000,
                                            .stale_if_failing_ms = 6000,
                                            .throttle_ms = 7000,
                                            .soft_timeout_ms = 8000,
                                            .load_timeout_ms = 9000,
                                            .absent_ttl_ms = 10000,
                                            .error_ttl_ms = 11000,
                                            .l1_idle_ms = 12000,
                                            .compress = STRATA_COMPRESS_LZ4,
                                            .compress_min_bytes = 128,
                                            .waiters_max = 77};
    assert_memory_equal(&policy, &wanted, sizeof policy);
    policy = (strata_namespace_policy){.struct_size = sizeof policy};
    assert_int_equal(strata_namespace_policy_get(f->ns, &policy), STRATA_OK);
    assert_int_equal(policy.ttl_ms, 0); /* the program gave it nothing */
    strata_usage usage = {.struct_size = sizeof usage};
    assert_int_equal(strata_namespace_usage(f->ns, &usage), STRATA_OK);
    assert_int_equal(usage.bytes_max, 128 * 1024);
    assert_int_equal(usage.entries_max, 777);
    assert_int_equal(usage.priority, STRATA_PRIORITY_HIGH);
    assert_true(is_analysed(f->ns));
    assert_int_equal(strata_namespace_analyze(f->ns, STRATA_ANALYZE_OFF), STRATA_OK); /* the program's switch is above it */
    assert_false(is_analysed(f->ns));
    assert_int_equal(strata_namespace_analyze(f->ns, STRATA_ANALYZE_DEFAULT), STRATA_OK);
    assert_int_equal(reload(f, "[flow]\nanalysis = on\n[namespace.alone]\nanalysis = off\n", &error), STRATA_OK);
    assert_true(!is_analysed(f->ns) && is_analysed(test_engine_ns(f->engine, "another")));
    assert_int_equal(reload(f, "[namespace.alone]\nl1_per_mille = 250\nl2_per_mille = 500\n", &error), STRATA_OK);
    assert_true(!is_analysed(f->ns));
    sx_configured configured;
    sx_configured_read(f->engine->config, "alone", 5, &configured);
    assert_int_equal(configured.l1_per_mille, 250);
    assert_int_equal(configured.l2_per_mille, 500);
    assert_int_equal(reload(f, "[namespace.alone]\nttl_jitter = 0%\n", &error), STRATA_OK);
    assert_int_equal(effective(f->ns).ttl_jitter_percent, STRATA_NO_JITTER); /* 0% is said, not left out */
    assert_int_equal(reload(f, "", &error), STRATA_OK);
    policy = effective(f->ns);
    const strata_namespace_policy none = {.struct_size = sizeof none};
    assert_memory_equal(&policy, &none, sizeof policy);
    assert_int_equal(strata_namespace_usage(f->ns, &usage), STRATA_OK);
    assert_int_equal(usage.bytes_max, STRATA_L1_UNLIMITED);
    assert_int_equal(usage.entries_max, STRATA_L1_UNLIMITED);
    assert_int_equal(usage.priority, STRATA_PRIORITY_NORMAL);
}

static void the_programs_word_stands_above_it(void **state) {
    fixture *f = *state;
    strata_error error;
    static const char both[] = "[namespace.alone]\nttl = 30s\nthrottle = 3s\nl1_bytes_max = 128KiB\n";
    assert_int_equal(fixture_policy(f, (strata_namespace_policy){.ttl_ms = 20000}), STRATA_OK);
    assert_int_equal(strata_namespace_limit(f->ns, 256 * 1024, &error), STRATA_OK);
    assert_int_equal(reload(f, both, &error), STRATA_OK);
    assert_int_equal(ttl_of(f, f->ns, "a"), 20000);
    assert_int_equal(effective(f->ns).throttle_ms, 3000); /* of which it says nothing */
    assert_int_equal(reload(f, "[namespace.alone]\nttl = 30s\nthrottle = 1500us\nl1_bytes_max = 128KiB\n", &error), STRATA_OK);
    assert_int_equal(effective(f->ns).throttle_ms, 2); /* never less, for 0 means something else */
    assert_int_equal(reload(f, both, &error), STRATA_OK);
    strata_namespace_policy policy = {.struct_size = sizeof policy};
    assert_int_equal(strata_namespace_policy_get(f->ns, &policy), STRATA_OK);
    assert_int_equal(policy.ttl_ms, 20000);
    assert_int_equal(policy.throttle_ms, 0);
    strata_usage usage = {.struct_size = sizeof usage};
    assert_int_equal(strata_namespace_usage(f->ns, &usage), STRATA_OK);
    assert_int_equal(usage.bytes_max, 256 * 1024);
    assert_int_equal(fixture_policy(f, (strata_namespace_policy){.throttle_ms = 1}), STRATA_OK);
    assert_int_equal(ttl_of(f, f->ns, "b"), 30000); /* given back */
    assert_int_equal(effective(f->ns).throttle_ms, 1);
    assert_int_equal(strata_namespace_limit(f->ns, 0, &error), STRATA_OK);
    assert_int_equal(strata_namespace_usage(f->ns, &usage), STRATA_OK);
    assert_int_equal(usage.bytes_max, 128 * 1024);
}

static int in_l1(fixture *f) {
    int count = 0;
    for (int i = 0; i < 1000; i++) {
        char key[16];
        (void)snprintf(key, sizeof key, "k%d", i);
        assert_int_equal(test_set(f->session, f->ns, key, "v"), STRATA_OK);
        count += test_peek(f->session, f->ns, key) != NULL;
    }
    return count;
}

static void parts_bound_each_other(void **state) {
    fixture *f = *state;
    strata_error error;
    strata_rollout rollout = {.struct_size = sizeof rollout};
    assert_int_equal(in_l1(f), 1000);
    assert_int_equal(reload(f, "[namespace.alone]\nl1_per_mille = 500\n", &error), STRATA_OK);
    assert_in_range(in_l1(f), 400, 600);
    rollout.l1_per_mille = 100;
    assert_int_equal(strata_namespace_rollout_set(f->ns, &rollout, &error), STRATA_OK);
    assert_in_range(in_l1(f), 50, 160);
    rollout.l1_per_mille = 900;
    assert_int_equal(strata_namespace_rollout_set(f->ns, &rollout, &error), STRATA_OK);
    assert_in_range(in_l1(f), 400, 600);
    assert_int_equal(reload(f, "[namespace.alone]\nenabled = off\nl1_per_mille = 1000\n", &error), STRATA_OK);
    assert_int_equal(in_l1(f), 0);
    rollout.l1_per_mille = 0;
    assert_int_equal(strata_namespace_rollout_set(f->ns, &rollout, &error), STRATA_OK);
    assert_int_equal(in_l1(f), 0);
    assert_int_equal(reload(f, "", &error), STRATA_OK);
    assert_int_equal(in_l1(f), 1000);
}

static void a_bad_file_changes_nothing(void **state) {
    fixture *f = *state;
    strata_error error;
    assert_int_equal(reload(f, "[namespace.alone]\nttl = 30s\n", &error), STRATA_OK);
    const int64_t deadline_ms = sx_hot_read(&f->engine->hot.deadline_ms);
    const struct {
        const char *text, *part;
    } bad[] = {{"[namespace.alone]\nttl = 5s\nttl_jitter = 91%\n", ":3: option 'namespace.alone.ttl_jitter': '91%' is out of range; allowed 0% .. 90%"},
               {"[flow]\ndeadline = 9s\n[namespace.other]\nrefresh = 100%\n", ":4: option 'namespace.other.refresh'"},
               {"[namespace.alone]\nttl = 5s\n[l1]\nitem_bytes_max = 64\n", "option 'l1.item_bytes_max' can't change while open"},
               {"[namespace.alone]\nttl = 5s\nttl = 6s\n", ":3: option 'namespace.alone.ttl': set twice, first in line 2"},
               {"[namespace.alone]\nttl = 5s\nl1_bytes_max = 1KiB\n", ":3: option 'namespace.alone.l1_bytes_max': '1KiB' is out of range"},
               {"[namespace.al one]\nttl = 5s\n", ":1: unknown section 'namespace.al one'"},
               {"[namespace.alone]\nttl = 5s\ndeadline = 5s\n", ":3: unknown option 'namespace.alone.deadline'"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(reload(f, bad[i].text, &error), STRATA_E_CONFIG);
        assert_non_null(strstr(error.text, bad[i].part));
        assert_int_equal(effective(f->ns).ttl_ms, 30000);
        assert_int_equal(sx_hot_read(&f->engine->hot.deadline_ms), deadline_ms);
    }
    assert_int_equal(version(f), 2);
    strata_namespace_policy policy = {.struct_size = 3};
    assert_int_equal(strata_namespace_policy_effective(f->ns, &policy), STRATA_E_INVALID);
    assert_int_equal(strata_namespace_policy_effective(NULL, &policy), STRATA_E_INVALID);
}

static void a_limit_needs_somebody_who_counts(void **state) {
    (void)state;
    strata *engine = NULL;
    strata_error error;
    const char *const limited[] = {"l2.mode", "none", "namespace.a.l1_bytes_max", "1MiB", NULL};
    assert_int_equal(test_engine_try(limited, NULL, &engine, &error), STRATA_E_CONFIG);
    assert_non_null(strstr(error.text, "option 'namespace.a.l1_bytes_max': option 'flow.l1_usage' is off"));
    engine = test_engine_open(TEST_OPTIONS("l2.mode", "none"), NULL);
    assert_int_equal(strata_option_set(engine, "namespace.b.l1_bytes_max", "1MiB", &error), STRATA_E_CONFIG);
    assert_non_null(strstr(error.text, "option 'namespace.b.l1_bytes_max': option 'flow.l1_usage' is off"));
    assert_int_equal(strata_close(engine, 1000), STRATA_OK);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_namespace_takes_what_it_is_given, setup, teardown),
        cmocka_unit_test_setup_teardown(every_field_is_given, setup, teardown),
        cmocka_unit_test_setup_teardown(the_programs_word_stands_above_it, setup, teardown),
        cmocka_unit_test_setup_teardown(parts_bound_each_other, setup, teardown),
        cmocka_unit_test_setup_teardown(a_bad_file_changes_nothing, setup, teardown),
        cmocka_unit_test(a_limit_needs_somebody_who_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
