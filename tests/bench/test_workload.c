/* SPDX-License-Identifier: Apache-2.0 */
/* Streams of operations: the same for the same seed, pinned forever; in the shares asked for; a trace dealt out whole. */
#include "bench/workload.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char error[512];

static const bench_workload_settings plain = {.distribution = "zipf:0.99",
                                              .keys = 100000,
                                              .value_bytes = {100, 100},
                                              .value_bytes_max = 65536,
                                              .ttl_ms = {1000, 2000},
                                              .set_percent = 3,
                                              .invalidate_percent = 1,
                                              .seed = 1};

static uint64_t digest_of(const bench_workload *workload, uint32_t index, uint32_t count) {
    bench_stream stream;
    bench_operation operation;
    uint64_t digest = 0;
    bench_stream_init(&stream, workload, index, count, 0);
    for (int i = 0; i < 10000; i++) {
        assert_true(bench_stream_next(&stream, &operation));
        digest = bench_mix(digest ^ operation.key ^ (uint64_t)operation.kind << 40 ^
                           (uint64_t)operation.ttl_ms << 44);
    }
    return digest;
}

static void test_same_seed_same_operations(void **state) {
    (void)state;
    bench_workload first, second, other;
    bench_workload_settings settings = plain;
    assert_int_equal(bench_workload_create(&first, &settings, error, sizeof error), 0);
    assert_int_equal(bench_workload_create(&second, &settings, error, sizeof error), 0);
    settings.seed = 2;
    assert_int_equal(bench_workload_create(&other, &settings, error, sizeof error), 0);
    assert_true(digest_of(&first, 0, 2) == digest_of(&second, 0, 2));
    assert_true(digest_of(&first, 0, 2) != digest_of(&first, 1, 2));
    assert_true(digest_of(&first, 0, 2) != digest_of(&other, 0, 2));
}

/* Draws without floating point are the same everywhere: pinned. */
static void test_pinned(void **state) {
    (void)state;
    bench_workload workload;
    bench_workload_settings settings = plain;
    settings.distribution = "uniform";
    assert_int_equal(bench_workload_create(&workload, &settings, error, sizeof error), 0);
    bench_stream stream;
    bench_operation operation;
    uint64_t keys[4];
    bench_stream_init(&stream, &workload, 0, 1, 0);
    for (int i = 0; i < 4; i++) {
        assert_true(bench_stream_next(&stream, &operation));
        keys[i] = operation.key;
    }
    uint64_t digest = digest_of(&workload, 0, 1);
    if (digest != UINT64_C(0xe0e425c21588aeb3))
        fail_msg("keys %llu %llu %llu %llu, digest 0x%016llx", (unsigned long long)keys[0],
                 (unsigned long long)keys[1], (unsigned long long)keys[2], (unsigned long long)keys[3],
                 (unsigned long long)digest);
}

static void test_shares(void **state) {
    (void)state;
    enum { COUNT = 400000 };
    bench_workload workload;
    bench_workload_settings settings = plain;
    uint32_t kinds[3] = {0};
    settings.set_percent = 20;
    settings.invalidate_percent = 5;
    assert_int_equal(bench_workload_create(&workload, &settings, error, sizeof error), 0);
    bench_stream stream;
    bench_operation operation;
    bench_stream_init(&stream, &workload, 0, 1, 0);
    for (int i = 0; i < COUNT; i++) {
        assert_true(bench_stream_next(&stream, &operation));
        assert_true(operation.key < workload.keys && operation.ttl_ms >= 1000 && operation.ttl_ms <= 2000);
        kinds[operation.kind]++;
    }
    assert_true(kinds[BENCH_SET] > COUNT * 0.195 && kinds[BENCH_SET] < COUNT * 0.205);
    assert_true(kinds[BENCH_INVALIDATE] > COUNT * 0.0475 && kinds[BENCH_INVALIDATE] < COUNT * 0.0525);
    settings.set_percent = 60;
    settings.invalidate_percent = 41;
    assert_int_equal(bench_workload_create(&workload, &settings, error, sizeof error), -1);
    settings = plain;
    settings.distribution = "zipf:nine";
    assert_int_equal(bench_workload_create(&workload, &settings, error, sizeof error), -1);
    assert_non_null(strstr(error, "zipf:nine"));
}

static void test_trace_is_dealt_out_whole(void **state) {
    (void)state;
    enum { COUNT = 101, THREADS = 4, PASSES = 3 };
    char path[] = "/tmp/strata-workload-XXXXXX";
    int descriptor = mkstemp(path);
    FILE *file = fdopen(descriptor, "w");
    assert_non_null(file);
    fprintf(file, "key,size,op\n");
    for (int i = 0; i < COUNT; i++)
        fprintf(file, "%d,%d,%s\n", 1000 + i, 10 + i * 1000, i == 5 ? "delete" : i == 6 ? "set" : "get");
    fclose(file);
    bench_workload workload;
    bench_workload_settings settings = plain;
    settings.trace_path = path;
    settings.trace_operations = 1;
    assert_int_equal(bench_workload_create(&workload, &settings, error, sizeof error), 0);
    unlink(path);
    uint32_t seen[COUNT] = {0};
    for (uint32_t i = 0; i < THREADS; i++) {
        bench_stream stream;
        bench_operation operation;
        bench_stream_init(&stream, &workload, i, THREADS, PASSES);
        while (bench_stream_next(&stream, &operation)) {
            seen[operation.key]++;
            assert_int_equal(operation.kind, operation.key == 5   ? BENCH_INVALIDATE
                                             : operation.key == 6 ? BENCH_SET
                                                                  : BENCH_READ);
        }
    }
    for (int i = 0; i < COUNT; i++) assert_int_equal(seen[i], PASSES);
    assert_int_equal(bench_workload_value_bytes(&workload, 0, 1), BENCH_VALUE_BYTES_MIN);
    assert_int_equal(bench_workload_value_bytes(&workload, 3, 9), 3010);
    assert_int_equal(bench_workload_value_bytes(&workload, 100, 1), 65536);
    assert_int_equal(bench_workload_value_bytes(&workload, 101, 1),
                     100); /* beyond the trace: a probe's key */
    assert_int_equal(bench_workload_value_bytes_max(&workload), 65536);
    bench_stream stream; /* more threads than requests */
    bench_operation operation;
    bench_stream_init(&stream, &workload, 500, 600, 0);
    assert_false(bench_stream_next(&stream, &operation));
    bench_workload_destroy(&workload);
}

static void test_keys_and_sizes(void **state) {
    (void)state;
    char text[BENCH_KEY_BYTES];
    static const uint32_t keys[] = {0, 1, 255, 123456789, UINT32_MAX - 1};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        bench_key_encode(keys[i], text);
        assert_int_equal(bench_key_decode(text, sizeof text), keys[i]);
    }
    assert_int_equal(bench_key_decode(text, 15), UINT32_MAX);
    text[0] = 'x';
    assert_int_equal(bench_key_decode(text, sizeof text), UINT32_MAX);
    bench_workload workload;
    bench_workload_settings settings = plain;
    settings.value_bytes = (bench_range){64, 4096};
    assert_int_equal(bench_workload_create(&workload, &settings, error, sizeof error), 0);
    uint64_t sum = 0;
    for (uint32_t i = 0; i < 10000; i++) {
        uint32_t size = bench_workload_value_bytes(&workload, i % 100, i / 100 + 1);
        assert_true(size >= 64 && size <= 4096);
        assert_int_equal(size, bench_workload_value_bytes(&workload, i % 100, i / 100 + 1));
        sum += size;
    }
    assert_true(sum / 10000 > 2000 && sum / 10000 < 2160);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_seed_same_operations),
        cmocka_unit_test(test_pinned),
        cmocka_unit_test(test_shares),
        cmocka_unit_test(test_trace_is_dealt_out_whole),
        cmocka_unit_test(test_keys_and_sizes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
