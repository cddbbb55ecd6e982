/* SPDX-License-Identifier: Apache-2.0 */
/* The command line of the tiered job: values, defaults, refusals, contradictions. */
#include "bench/options.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bench/tiered.h"

static char error[512];

static bench_options_outcome parse(bench_settings *settings, const char *line) {
    static char copy[512];
    static char *argv[32];
    int argc = 0;
    bench_options_given given;
    *settings = (bench_settings){0};
    snprintf(copy, sizeof copy, "%s", line);
    for (char *word = strtok(copy, " "); word != NULL; word = strtok(NULL, " ")) argv[argc++] = word;
    error[0] = '\0';
    bench_options_outcome outcome =
        bench_options_parse(&bench_tiered_options, argc, argv, settings, &given, error, sizeof error);
    if (outcome == BENCH_OPTIONS_OK && bench_tiered_settle(settings, &given, error, sizeof error) != 0)
        outcome = BENCH_OPTIONS_WRONG;
    return outcome;
}

static void expect_wrong(const char *line, const char *word) {
    bench_settings settings;
    if (parse(&settings, line) != BENCH_OPTIONS_WRONG || strstr(error, word) == NULL)
        fail_msg("'%s' gives: '%s'", line, error);
}

static void test_defaults(void **state) {
    (void)state;
    bench_settings settings;
    assert_int_equal(parse(&settings, ""), BENCH_OPTIONS_OK);
    assert_string_equal(settings.workload.distribution, "zipf:0.99");
    assert_true(settings.processes == 2 && settings.threads == 1 && settings.seconds == 30);
    assert_true(settings.workload.set_percent == 3 && settings.workload.invalidate_percent == 1);
    assert_true(settings.workload.value_bytes_max == 65536 && settings.l2 == BENCH_L2_CLUSTER);
}

/* Every preset's words name options, hold values in range, and don't contradict each other. */
static void test_presets(void **state) {
    (void)state;
    bench_settings settings;
    assert_true(bench_tiered_options.preset_count > 0);
    for (size_t i = 0; i < bench_tiered_options.preset_count; i++) {
        const bench_option_preset *preset = &bench_tiered_options.presets[i];
        char line[512] = "";
        for (const char *const *word = preset->words; *word != NULL; word++) {
            strcat(line, *word);
            strcat(line, " ");
        }
        if (parse(&settings, line) != BENCH_OPTIONS_OK) fail_msg("%s: %s", preset->name, error);
        snprintf(line, sizeof line, "--preset %s", preset->name);
        if (parse(&settings, line) != BENCH_OPTIONS_OK) fail_msg("%s: %s", preset->name, error);
    }
    expect_wrong("--preset none", "none named 'none'");
    expect_wrong("--preset", "none named ''");
}

/* What is given stands above the preset, wherever it stands; a list takes the place of the preset's. */
static void test_preset_is_overridden(void **state) {
    (void)state;
    bench_settings settings;
    assert_int_equal(parse(&settings, "--preset=node-killed"), BENCH_OPTIONS_OK);
    assert_true(settings.replicas == 1 && settings.seconds == 20 && settings.faults.count == 1 && settings.allow_errors);
    assert_int_equal(parse(&settings, "--seconds 7 --preset node-killed --fault pause:1@2+1 --fault kill:0@3"), BENCH_OPTIONS_OK);
    assert_true(settings.seconds == 7 && settings.replicas == 1 && settings.faults.count == 2);
    assert_string_equal(settings.faults.items[0], "pause:1@2+1");
    expect_wrong("--preset node-killed --seconds 1 --seconds 2", "twice");
    expect_wrong("--preset node-killed --l2 none", "--l2");
}

static void test_every_default_parses(void **state) {
    (void)state;
    for (size_t i = 0; i < bench_tiered_options.count; i++) {
        const bench_option *row = &bench_tiered_options.rows[i];
        bench_settings settings;
        char line[128];
        assert_true(bench_tiered_options.count <= BENCH_OPTIONS_MAX && row->doc != NULL);
        assert_true((row->argument == NULL) == (row->kind == BENCH_OPTION_FLAG));
        if (row->default_text == NULL) continue;
        snprintf(line, sizeof line, "--%s=%s", row->name, row->default_text);
        bench_options_outcome outcome = parse(&settings, line);
        /* Some may only be given with another. */
        if (outcome == BENCH_OPTIONS_WRONG && strstr(error, "means nothing") == NULL)
            fail_msg("%s: %s", line, error);
    }
}

static void test_values(void **state) {
    (void)state;
    bench_settings settings;
    assert_int_equal(
        parse(&settings,
              "--keys 1.5m --value-bytes 64-4KiB --ttl=100-200 --l1-bytes 8MiB --rate 0 --config a=b "
              "--config c=d --l2 standalone --allow-errors"),
        BENCH_OPTIONS_OK);
    assert_true(settings.workload.keys == 1500000 && settings.outstanding == 16);
    assert_true(settings.workload.value_bytes.min == 64 && settings.workload.value_bytes.max == 4096);
    assert_true(settings.workload.ttl_ms.min == 100 && settings.workload.ttl_ms.max == 200);
    assert_true(settings.l1_bytes == 8u << 20 && settings.l2 == BENCH_L2_STANDALONE && settings.allow_errors);
    assert_int_equal(settings.config.count, 2);
    assert_string_equal(settings.config.items[1], "c=d");
    assert_int_equal(parse(&settings, "--standalone"), BENCH_OPTIONS_OK);
    assert_int_equal(settings.l2, BENCH_L2_STANDALONE);
    assert_int_equal(parse(&settings, "--seconds 5 --help"), BENCH_OPTIONS_HELP);
}

static void test_refusals(void **state) {
    (void)state;
    expect_wrong("--bogus 1", "unknown option --bogus");
    expect_wrong("trace.kv12", "'trace.kv12' is not an option");
    expect_wrong("--keys", "--keys needs a value");
    expect_wrong("--keys many", "'many' is not N in 1 .. 1000000000");
    expect_wrong("--keys 0", "in 1 ..");
    expect_wrong("--keys 1.5", "is not N");
    expect_wrong("--keys -5", "is not N");
    expect_wrong("--keys 0x10", "is not N");
    expect_wrong("--keys nan", "is not N");
    expect_wrong("--set-percent 101", "0 .. 100");
    expect_wrong("--l2 memcached", "none of cluster|standalone|none");
    expect_wrong("--seconds 5 --seconds 6", "given twice");
    expect_wrong("--allow-errors=yes", "takes no value");
    expect_wrong("--ttl 200-100", "is not MS");
    expect_wrong("--value-bytes 8", "at least 32");
    expect_wrong("--json=", "empty");
}

static void test_contradictions(void **state) {
    (void)state;
    expect_wrong("--trace a.kv12 --dist uniform", "--trace and --dist contradict");
    expect_wrong("--trace a.kv12 --keys 5", "contradict");
    expect_wrong("--passes 2", "--passes means nothing without --trace");
    expect_wrong("--trace a --passes 2 --seconds 5", "contradict");
    expect_wrong("--trace-format csv", "without --trace");
    expect_wrong("--trace a --trace-operations --set-percent 5", "contradict");
    expect_wrong("--standalone --l2 cluster", "contradict");
    expect_wrong("--l2 none --nodes a:1", "contradict");
    expect_wrong("--nodes a:1 --primaries 3", "contradict");
    expect_wrong("--l2 none --primaries 3", "means nothing");
    expect_wrong("--rate 0 --arrivals poisson", "means nothing");
    expect_wrong("--processes 1 --probe-rate 5", "two processes");
    expect_wrong("--value-bytes 100k --value-bytes-max 50KiB", "above --value-bytes-max");
    expect_wrong("--set-percent 60 --invalidate-percent 41", "more than 100 together");
    expect_wrong("--fault kill:0@9 --seconds 9", "--fault at 9 s and --seconds 9 contradict");
    expect_wrong("--fault kill:3@1", "a node below 3");
    expect_wrong("--restart 0@9 --seconds 5", "--restart and --seconds contradict");
    bench_settings settings;
    assert_int_equal(parse(&settings, "--fault kill:5@1 --replicas 1 --seconds 9"), BENCH_OPTIONS_OK);
    assert_int_equal(parse(&settings, "--fault pause:1@8+3 --seconds 9"), BENCH_OPTIONS_OK);
    assert_int_equal(parse(&settings, "--fault kill:1@8 --trace a --passes 2"), BENCH_OPTIONS_OK);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults), cmocka_unit_test(test_presets), cmocka_unit_test(test_preset_is_overridden),       cmocka_unit_test(test_every_default_parses),
        cmocka_unit_test(test_values),         cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_contradictions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
