/* SPDX-License-Identifier: Apache-2.0 */
/* What the harness itself costs: the loop of l1 around a cache that does nothing, and drawing and recording one operation of
   tiered. Each is the least of many tries, for other work on the machine only adds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "bench/l1/measure.h"
#include "bench/run.h"

enum { TRIES = 30, OPERATIONS = 50000 };

/* Sanitizers and -O1 are not what results are measured with. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define FACTOR 20.0
#elif SX_DEBUG
#define FACTOR 3.0
#else
#define FACTOR 1.0
#endif
#define EMPTY_NS_MAX (15 * FACTOR)
#define DRAW_NS_MAX  (150 * FACTOR)

static void *enter(void *cache) { return cache; }
static void leave(void *cache, void *part) { (void)cache, (void)part; }
static bool get(void *cache, void *part, const cache_key *key, uint8_t *value) {
    (void)cache, (void)part;
    memcpy(value, key->bytes, 8); /* the number that the loop expects */
    return true;
}

static void test_an_empty_operation(void **state) {
    (void)state;
    const cache_kind empty = {.name = "empty", .enter = enter, .leave = leave, .get = get};
    double least_ns = 1e9;
    int cache = 0;
    assert_true(measure_init(100000, 0.99, 1));
    for (int i = 0; i < TRIES; i++) {
        measure_result result = measure_run(&empty, &cache, MEASURE_GET, 1, OPERATIONS, NULL, false);
        assert_true(result.wrong == 0 && result.hit_ratio == 1);
        if (result.ns < least_ns) least_ns = result.ns;
    }
    measure_deinit();
    print_message("an empty operation of l1: %.1f ns\n", least_ns);
    assert_true(least_ns > 0 && least_ns <= EMPTY_NS_MAX);
}

/* Without the two readings of the clock, which every latency contains and the report tells. */
static void test_drawing_and_recording(void **state) {
    (void)state;
    static bench_histogram histogram;
    bench_workload_settings settings = {.distribution = "zipf:0.99", .keys = 100000, .value_bytes = {100, 100, BENCH_SHAPE_UNIFORM},
                                        .value_bytes_max = 65536, .set_percent = 3, .invalidate_percent = 1, .seed = 1};
    bench_workload workload;
    bench_stream stream;
    bench_operation operation;
    char error[256], key[BENCH_KEY_BYTES_MAX];
    double least_ns = 1e9;
    assert_int_equal(bench_workload_create(&workload, &settings, error, sizeof error), 0);
    bench_stream_init(&stream, &workload, 0, 1, 0);
    for (int i = 0; i < TRIES; i++) {
        int64_t start_ns = bench_now_ns();
        for (int j = 0; j < OPERATIONS; j++) {
            (void)bench_stream_next(&stream, &operation);
            bench_histogram_add(&histogram, (int64_t)bench_key_encode(&workload, operation.key, key) + operation.key);
        }
        double each_ns = (double)(bench_now_ns() - start_ns) / OPERATIONS;
        if (each_ns < least_ns) least_ns = each_ns;
    }
    bench_workload_destroy(&workload);
    print_message("drawing and recording an operation of tiered: %.1f ns\n", least_ns);
    assert_true(bench_count_read(&histogram.count) == TRIES * OPERATIONS && least_ns <= DRAW_NS_MAX);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_an_empty_operation), cmocka_unit_test(test_drawing_and_recording)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
