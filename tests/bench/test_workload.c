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
                                              .value_bytes = {100, 100, BENCH_SHAPE_UNIFORM},
                                              .value_bytes_max = 65536,
                                              .ttl_ms = {1000, 2000, BENCH_SHAPE_UNIFORM},
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

/* So many of the reads are followed by one of the key's partner, which is followed by what the distribution says. */
static void test_pairs(void **state) {
    (void)state;
    bench_workload workload;
    bench_workload_settings settings = plain;
    settings.pairs_percent = 60;
    settings.set_percent = 0;
    settings.invalidate_percent = 10;
    assert_int_equal(bench_workload_create(&workload, &settings, error, sizeof error), 0);
    bench_stream stream;
    bench_operation operation, before = {.kind = BENCH_INVALIDATE};
    int reads = 0, followed = 0;
    bench_stream_init(&stream, &workload, 0, 1, 0);
    for (int i = 0; i < 100000; i++) {
        assert_true(bench_stream_next(&stream, &operation));
        assert_true(operation.key < workload.keys && operation.ttl_ms >= 1000 && operation.ttl_ms <= 2000);
        bool follows = before.kind == BENCH_READ && operation.kind == BENCH_READ && operation.key == (before.key ^ 1);
        followed += follows;
        reads += operation.kind == BENCH_READ && !follows;
        before = operation;
        if (follows) before.kind = BENCH_INVALIDATE;
    }
    assert_true(followed > reads * 57 / 100 && followed < reads * 63 / 100);
    bench_workload_destroy(&workload);
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

/* Each copy of a trace's keys gets every request, at the same time of the trace's clock; a pass begins where the last one ended. */
static void test_amplified(void **state) {
    (void)state;
    enum { COUNT = 10, COPIES = 3, THREADS = 2, PASSES = 2 };
    char path[] = "/tmp/strata-workload-XXXXXX";
    FILE *file = fdopen(mkstemp(path), "w");
    assert_non_null(file);
    fprintf(file, "key,size,time\n");
    for (int i = 0; i < COUNT; i++) fprintf(file, "%d,%d,%d\n", i % 5, 100 + i % 5, 50 + i);
    fclose(file);
    bench_workload workload;
    bench_workload_settings settings = plain;
    settings.trace_path = path;
    settings.amplify = COPIES;
    assert_int_equal(bench_workload_create(&workload, &settings, error, sizeof error), 0);
    unlink(path);
    assert_int_equal(workload.keys, 5 * COPIES);
    uint32_t seen[5 * COPIES] = {0};
    int64_t last_us = 0;
    for (uint32_t i = 0; i < THREADS; i++) {
        bench_stream stream;
        bench_operation operation;
        bench_stream_init(&stream, &workload, i, THREADS, PASSES);
        for (last_us = -1; bench_stream_next(&stream, &operation); last_us = operation.due_us) {
            assert_true(operation.due_us >= last_us && operation.due_us % 1000000 == 0);
            assert_int_equal(operation.due_us / 1000000 % 9 % 5, operation.due_us == 18000000 || operation.due_us == 9000000 ? 0 : operation.key % 5);
            seen[operation.key]++;
        }
    }
    assert_int_equal(last_us, 18000000);
    for (int i = 0; i < 5 * COPIES; i++) assert_int_equal(seen[i], COUNT / 5 * PASSES);
    assert_int_equal(bench_workload_value_bytes(&workload, 5 + 3, 1), 103);
    bench_workload_destroy(&workload);
}

static void count_keys(const bench_workload *workload, uint32_t *counts, int draws) {
    bench_stream stream;
    bench_operation operation;
    bench_stream_init(&stream, workload, 0, 1, 0);
    for (int i = 0; i < draws; i++) {
        assert_true(bench_stream_next(&stream, &operation));
        counts[operation.key]++;
    }
}

static void test_hotspot(void **state) {
    (void)state;
    static uint32_t counts[1000];
    bench_workload workload;
    bench_workload_settings settings = plain;
    uint32_t hot = 0, hot_requests = 0;
    settings.keys = 1000;
    settings.distribution = "hotspot:5:90";
    assert_int_equal(bench_workload_create(&workload, &settings, error, sizeof error), 0);
    count_keys(&workload, counts, 200000);
    for (int i = 0; i < 1000; i++) {
        assert_true(counts[i] > 0);
        if (counts[i] > 1000) hot++, hot_requests += counts[i];
    }
    assert_int_equal(hot, 50);
    assert_true(hot_requests > 178000 && hot_requests < 182000);
    settings.distribution = "hotspot:0:90";
    assert_int_equal(bench_workload_create(&workload, &settings, error, sizeof error), -1);
}

static void test_weights(void **state) {
    (void)state;
    uint32_t counts[4] = {0};
    char path[] = "/tmp/strata-weights-XXXXXX", name[64];
    bench_workload workload;
    bench_workload_settings settings = plain;
    FILE *file = fdopen(mkstemp(path), "w");
    assert_non_null(file);
    fputs("# a key a line\n1.3\n\n0.5 200\n0\n2.2 300\n", file);
    fclose(file);
    snprintf(name, sizeof name, "file:%s", path);
    settings.distribution = name;
    assert_int_equal(bench_workload_create(&workload, &settings, error, sizeof error), 0);
    assert_int_equal(workload.keys, 4);
    count_keys(&workload, counts, 400000);
    assert_true(counts[0] > 128000 && counts[0] < 132000 && counts[1] > 48500 && counts[1] < 51500 && counts[2] == 0);
    assert_int_equal(bench_workload_value_bytes(&workload, 3, 1), 300);
    bench_workload_destroy(&workload);
    file = fopen(path, "a");
    fputs("much\n", file);
    fclose(file);
    assert_int_equal(bench_workload_create(&workload, &settings, error, sizeof error), -1);
    assert_non_null(strstr(error, "line 7"));
    unlink(path);
}

/* Each set takes the next key of its thread; reads are mostly of keys set shortly before, by any thread. */
static void test_latest(void **state) {
    (void)state;
    bench_workload workload;
    bench_workload_settings settings = plain;
    bench_stream stream;
    bench_operation operation;
    uint32_t newest = 1, near = 0, reads = 0;
    settings.distribution = "latest:1.2";
    settings.set_percent = 20;
    assert_int_equal(bench_workload_create(&workload, &settings, error, sizeof error), 0);
    bench_stream_init(&stream, &workload, 1, 4, 0);
    for (int i = 0; i < 20000; i++) {
        assert_true(bench_stream_next(&stream, &operation));
        if (operation.kind == BENCH_SET) {
            newest += 4;
            assert_int_equal(operation.key, newest);
        } else {
            reads++;
            near += (newest + workload.keys - operation.key) % workload.keys < 100;
        }
    }
    assert_true(near > reads / 2 && near < reads);
}

/* Half of what a log range draws lies below its geometric mean, and most of what a Pareto one draws near its minimum. */
static void test_shapes(void **state) {
    (void)state;
    enum { COUNT = 100000 };
    static const bench_range ranges[] = {{1, 10000, BENCH_SHAPE_UNIFORM}, {1, 10000, BENCH_SHAPE_LOG}, {1, 10000, BENCH_SHAPE_PARETO}};
    static const uint32_t below_100[] = {1, 50, 99};
    for (size_t i = 0; i < 3; i++) {
        bench_random random;
        uint32_t below = 0, above = 0;
        bench_random_init(&random, 1, i);
        for (int j = 0; j < COUNT; j++) {
            uint64_t value = bench_range_draw(&ranges[i], bench_random_next(&random));
            assert_true(value >= 1 && value <= 10000);
            below += value < 100;
            above += value > 5000;
        }
        assert_true(below + COUNT / 50 >= COUNT / 100 * below_100[i] && below <= COUNT / 100 * below_100[i] + COUNT / 50);
        assert_true(above > 0);
        assert_true(bench_range_draw(&ranges[i], UINT64_MAX) == 10000 && bench_range_draw(&ranges[i], 0) == 1);
    }
}

/* A value's tags are different ones, as many as the range says, and the same each time. */
static void test_tags(void **state) {
    (void)state;
    bench_workload workload;
    bench_workload_settings settings = plain;
    uint32_t counts[BENCH_TAGS_MAX + 1] = {0};
    settings.tags = 100;
    settings.tags_each = (bench_range){1, 4, BENCH_SHAPE_UNIFORM};
    settings.tag_distribution = "uniform";
    settings.tag_percent = 10;
    settings.get_percent = 20;
    assert_int_equal(bench_workload_create(&workload, &settings, error, sizeof error), 0);
    for (uint32_t key = 0; key < 1000; key++) {
        uint32_t tags[BENCH_TAGS_MAX], again[BENCH_TAGS_MAX], count = bench_workload_tags(&workload, key, tags);
        assert_int_equal(bench_workload_tags(&workload, key, again), count);
        assert_memory_equal(tags, again, count * sizeof tags[0]);
        for (uint32_t i = 0; i < count; i++) {
            assert_true(tags[i] < 100);
            for (uint32_t j = 0; j < i; j++) assert_true(tags[i] != tags[j]);
        }
        counts[count]++;
    }
    assert_true(counts[0] == 0 && counts[1] > 200 && counts[4] > 150 && counts[1] + counts[2] + counts[3] + counts[4] == 1000);
    bench_stream stream;
    bench_operation operation;
    uint32_t kinds[5] = {0};
    bench_stream_init(&stream, &workload, 0, 1, 0);
    for (int i = 0; i < 100000; i++) {
        assert_true(bench_stream_next(&stream, &operation));
        kinds[operation.kind]++;
        assert_true(operation.kind != BENCH_TAG || operation.key < 100);
    }
    assert_true(kinds[BENCH_TAG] > 9500 && kinds[BENCH_TAG] < 10500 && kinds[BENCH_GET] > 19500 && kinds[BENCH_GET] < 20500);
}

static void test_keys_and_sizes(void **state) {
    (void)state;
    char text[BENCH_KEY_BYTES_MAX];
    bench_workload workload = {.settings = plain};
    static const uint32_t keys[] = {0, 1, 255, 123456789, UINT32_MAX - 1};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        assert_int_equal(bench_key_encode(&workload, keys[i], text), BENCH_KEY_BYTES_MIN);
        assert_int_equal(bench_key_decode(text, 16), keys[i]);
    }
    assert_int_equal(bench_key_decode(text, 15), UINT32_MAX);
    text[0] = 'x';
    assert_int_equal(bench_key_decode(text, 16), UINT32_MAX);
    bench_workload_settings settings = plain;
    settings.key_bytes = (bench_range){20, 40, BENCH_SHAPE_LOG};
    settings.value_bytes = (bench_range){64, 4096, BENCH_SHAPE_UNIFORM};
    assert_int_equal(bench_workload_create(&workload, &settings, error, sizeof error), 0);
    for (uint32_t i = 0; i < 100; i++) {
        size_t size = bench_key_encode(&workload, i, text);
        assert_true(size >= 20 && size <= 40 && bench_key_encode(&workload, i, text) == size);
        assert_int_equal(bench_key_decode(text, size), i);
    }
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
        cmocka_unit_test(test_pairs),
        cmocka_unit_test(test_pinned),
        cmocka_unit_test(test_shares),
        cmocka_unit_test(test_trace_is_dealt_out_whole),
        cmocka_unit_test(test_amplified),
        cmocka_unit_test(test_hotspot),
        cmocka_unit_test(test_weights),
        cmocka_unit_test(test_latest),
        cmocka_unit_test(test_shapes),
        cmocka_unit_test(test_tags),
        cmocka_unit_test(test_keys_and_sizes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
