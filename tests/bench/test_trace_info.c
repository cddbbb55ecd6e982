/* SPDX-License-Identifier: Apache-2.0 */
/* Reuse distances beside an LRU that is played, and counts of keys. */
#include "bench/trace_info.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bench/zipf.h"

enum { KEYS = 300, REQUESTS = 20000 };

static bench_request requests[REQUESTS];
static bench_trace_table table = {.requests = requests, .request_count = REQUESTS, .key_count = KEYS};

static int set_up(void **state) {
    (void)state;
    bench_zipf zipf;
    bench_random random;
    bench_zipf_init(&zipf, KEYS, 0.8);
    bench_random_init(&random, 5, 0);
    for (uint32_t i = 0; i < REQUESTS; i++) requests[i].key = i < KEYS ? i : (uint32_t)bench_zipf_draw(&zipf, &random);
    return 0;
}

/* Hits of a list whose front is the key that was asked for last. */
static uint64_t play_lru(uint32_t capacity) {
    uint32_t list[KEYS + 1], used = 0;
    uint64_t hits = 0;
    for (uint32_t i = 0; i < REQUESTS; i++) {
        uint32_t at = 0;
        while (at < used && list[at] != requests[i].key) at++;
        hits += at < used;
        if (at == used && used < capacity) used++;
        if (at == capacity) at--;
        memmove(list + 1, list, at * sizeof list[0]);
        list[0] = requests[i].key;
    }
    return hits;
}

static void test_distances_are_those_of_an_lru(void **state) {
    (void)state;
    static const uint32_t capacities[] = {1, 2, 7, 30, 150, 299, 300};
    uint64_t *distances = bench_reuse_distances(&table);
    assert_non_null(distances);
    for (size_t i = 0; i < sizeof capacities / sizeof capacities[0]; i++) {
        uint64_t hits = 0;
        for (uint32_t d = 0; d < capacities[i]; d++) hits += distances[d];
        assert_true(hits == play_lru(capacities[i]));
    }
    free(distances);
}

static void test_counts(void **state) {
    (void)state;
    bench_key_count *counts = bench_key_counts(&table);
    uint64_t sum = 0, seen[KEYS] = {0};
    assert_non_null(counts);
    for (uint32_t i = 0; i < REQUESTS; i++) seen[requests[i].key]++;
    for (uint32_t i = 0; i < KEYS; i++) {
        assert_true(counts[i].count == seen[counts[i].key] && (i == 0 || counts[i].count <= counts[i - 1].count));
        sum += counts[i].count;
    }
    assert_true(sum == REQUESTS);
    free(counts);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_distances_are_those_of_an_lru),
        cmocka_unit_test(test_counts),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
