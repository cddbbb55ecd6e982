/* SPDX-License-Identifier: Apache-2.0 */
/* Simulated policies by hand-computed sequences and by the ratios of an independent simulator; the store's lru beside them. */
/* ctest: timeout=600 */
#include "bench/hitratio/simulate.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bench/hitratio/play.h"
#include "bench/random.h"

#define LETTERS_MAX 96u
#define TOLERANCE   0.005

/* Letters are keys, numbered in the order of their first appearance. */
static bench_requests requests_of(const char *letters, uint32_t *keys, uint32_t *sizes) {
    bench_requests r = {.keys = keys, .sizes = sizes};
    int numbers[256];
    memset(numbers, 255, sizeof numbers);
    for (; letters[r.count] != '\0'; r.count++) {
        int *number = &numbers[(uint8_t)letters[r.count]];
        if (*number < 0) *number = (int)r.distinct++;
        keys[r.count] = (uint32_t)*number;
        sizes[r.count] = 1;
    }
    return r;
}

static uint64_t misses_of(hitratio_policy policy, const bench_requests *r, uint64_t capacity) {
    hitratio_misses misses;
    assert_true(hitratio_simulate(policy, r, capacity, false, &misses));
    return misses.misses;
}

static void test_by_hand(void **state) {
    (void)state;
    static const struct {
        hitratio_policy policy;
        const char *letters;
        uint64_t capacity, misses;
    } cases[] = {
        /* D puts A out although A was just used, A then B, B then C */
        {HITRATIO_FIFO, "ABCADABC", 3, 7},
        /* D puts B out: A stays; B puts C out, C puts D out */
        {HITRATIO_LRU, "ABCADABC", 3, 6},
        /* D: A goes round without its bit, B leaves; then A hits, B puts C out, C: A goes round, D leaves */
        {HITRATIO_CLOCK, "ABCADABC", 3, 6},
        /* A's bit is spent on D, and A is not as new as B and C for it, but it is newer than them: E puts C out, A hits */
        {HITRATIO_CLOCK, "ABCADEA", 3, 5},
        /* D: the hand clears A, takes B and rests at C, which E takes; A was not moved: F takes D, and A hits */
        {HITRATIO_SIEVE, "ABCADEFA", 3, 6},
        /* the same under clock: F finds A the oldest, without its bit */
        {HITRATIO_CLOCK, "ABCADEFA", 3, 7},
        /* C leaves for D since A and B come sooner; then B hits, C puts A or B out, D hits */
        {HITRATIO_BELADY, "ABCDABCD", 3, 5},
        {HITRATIO_BELADY, "ABCADBA", 2, 5},
        /* room for 20, two of them probation: A, hit twice, goes to main when it is the oldest; B leaves in its stead */
        {HITRATIO_S3FIFO, "AAABCDEFGHIJKLMNOPQRSTUVAB", 20, 23},
        /* hit once it leaves with its ghost; B is the next that leaves when A comes back, into main, and stays there */
        {HITRATIO_S3FIFO, "AABCDEFGHIJKLMNOPQRSTUVA", 20, 23},
        {HITRATIO_S3FIFO, "ABCDEFGHIJKLMNOPQRSTUVAWXYZabcdefghijklmnopA", 20, 43},
        {HITRATIO_LRU, "ABCDEFGHIJKLMNOPQRSTUVAWXYZabcdefghijklmnopA", 20, 44},
        /* three hits of A in probation count for nothing in main: U puts it out, the oldest, and B hits */
        {HITRATIO_S3FIFO, "AAAABBBCCCDDDEEEFFFGGGHHHIIIJJJKKKLLLMMMNNNOOOPPPQQQRRRSSSTTTUB", 20, 21},
        /* D puts B out; B was known: two of the three are to be keys seen again, it puts C out; so C puts A out, which takes
           the place of D, as the one key seen once is what is wanted and A comes from the other side's ghosts */
        {HITRATIO_ARC, "ABCADABCAD", 3, 8},
        /* a window of one, once the rest is full: K sends J and A to H there, who were used longest ago, and I loses against J;
           then none of K to N was asked for as often */
        {HITRATIO_WTINYLFU, "ABCDEFGHIJABCDEFGHIKLMNABCDEFGHI", 10, 15},
        {HITRATIO_LRU, "ABCDEFGHIJABCDEFGHIKLMNABCDEFGHI", 10, 23},
        /* the second I was asked for more often than J, and takes its place */
        {HITRATIO_WTINYLFU, "ABCDEFGHIJABCDEFGHIKILIJ", 10, 14},
        /* I wins, and the window that it leaves is empty: H makes room too, and is missed */
        {HITRATIO_WTINYLFU, "ABCDEFGHIJABCDEFGHIKILH", 10, 14},
        {HITRATIO_S3FIFO, "AAAA", 10, 4}, /* one place in probation takes nothing, as in the reference */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint32_t keys[LETTERS_MAX], sizes[LETTERS_MAX];
        bench_requests r = requests_of(cases[i].letters, keys, sizes);
        uint64_t misses = misses_of(cases[i].policy, &r, cases[i].capacity);
        if (misses != cases[i].misses)
            fail_msg("%s, %s in %llu: %llu misses instead of %llu", hitratio_policy_names[cases[i].policy], cases[i].letters,
                     (unsigned long long)cases[i].capacity, (unsigned long long)misses, (unsigned long long)cases[i].misses);
    }
}

static void test_bytes(void **state) {
    (void)state;
    uint32_t keys[LETTERS_MAX], sizes[LETTERS_MAX] = {0};
    bench_requests r = requests_of("ABCACBDA", keys, sizes);
    for (uint64_t i = 0; i < r.count; i++) sizes[i] = (uint32_t[]){4, 2, 6, 11}[keys[i]];
    hitratio_misses misses;
    assert_true(hitratio_simulate(HITRATIO_LRU, &r, 10, true, &misses));
    /* C puts A out (B stays: 8), A puts B out (10), C hits, B puts A out (8), D is too large for all, A puts C out */
    assert_int_equal(misses.misses, 7);
    assert_int_equal(misses.bytes_missed, 4 + 2 + 6 + 4 + 2 + 11 + 4);
    assert_int_equal(misses.bytes, 4 + 2 + 6 + 4 + 6 + 2 + 11 + 4);
}

static void test_belady_is_a_bound(void **state) {
    (void)state;
    enum { COUNT = 4000, KEYS = 200 };
    static uint32_t keys[COUNT], sizes[COUNT];
    bench_random random;
    bench_random_init(&random, 7, 0);
    bench_requests r = {.keys = keys, .sizes = sizes, .count = COUNT, .distinct = KEYS};
    for (uint32_t i = 0; i < COUNT; i++) {
        double unit = bench_random_unit(&random);
        keys[i] = (uint32_t)(unit * unit * KEYS);
        sizes[i] = 1;
    }
    for (uint64_t capacity = 1; capacity <= KEYS; capacity += 7) {
        uint64_t bound = misses_of(HITRATIO_BELADY, &r, capacity);
        for (int policy = 0; policy < HITRATIO_BELADY; policy++)
            assert_true(misses_of((hitratio_policy)policy, &r, capacity) >= bound);
    }
}

/* The store, fitted to a few places: its budget's steps are larger than one entry, and what fits is kept, not what was tried last. */
static void test_the_store_holds_what_it_may(void **state) {
    (void)state;
    enum { COUNT = 6000, KEYS = 600 };
    static uint32_t keys[COUNT], sizes[COUNT];
    bench_random random;
    bench_random_init(&random, 11, 0);
    bench_requests r = {.keys = keys, .sizes = sizes, .count = COUNT, .distinct = KEYS};
    for (uint32_t i = 0; i < COUNT; i++) {
        keys[i] = (uint32_t)(bench_random_unit(&random) * KEYS);
        sizes[i] = 1;
    }
    for (uint64_t capacity = 1; capacity <= 200; capacity += 7) {
        hitratio_play play, again;
        assert_true(hitratio_play_store(1 /* lru */, &r, capacity, false, &play));
        assert_true(play.fits && play.held <= (double)capacity);
        if (capacity > 100) assert_true(play.held > 0.9 * (double)capacity);
        assert_true(hitratio_play_store(1, &r, capacity, false, &again));
        assert_true(again.misses.misses == play.misses.misses && again.bytes_max == play.bytes_max);
    }
}

/* ---- the reference ---- */

/* Columns of the reference after trace, fraction and capacity. */
static const int columns[HITRATIO_POLICIES] = {[HITRATIO_FIFO] = 0, [HITRATIO_CLOCK] = 1, [HITRATIO_LRU] = 2, [HITRATIO_SIEVE] = 4,
                                               [HITRATIO_S3FIFO] = 5, [HITRATIO_WTINYLFU] = 6, [HITRATIO_ARC] = 7, [HITRATIO_BELADY] = 9};
#define COLUMNS 10

/* One row of the table; NAN where it is empty. */
static bool parse_row(char *line, char *name, uint64_t *capacity, double *fraction, double *values) {
    char *field = line;
    for (int i = 0; i < COLUMNS + 3; i++) {
        if (field == NULL) return false;
        char *comma = strchr(field, ',');
        if (comma != NULL) *comma = '\0';
        if (i == 0) snprintf(name, 64, "%.63s", field);
        else if (i == 1) *fraction = strtod(field, NULL);
        else if (i == 2) *capacity = strtoull(field, NULL, 10);
        else values[i - 3] = field[0] == '\0' || field[0] == '\n' ? NAN : strtod(field, NULL);
        field = comma != NULL ? comma + 1 : NULL;
    }
    return true;
}

static void check_row(const char *name, const bench_requests *r, uint64_t capacity, double fraction, const double *values) {
    for (int policy = 0; policy < HITRATIO_POLICIES; policy++) {
        double expected = values[columns[policy]];
        if (isnan(expected)) continue;
        double ratio = (double)misses_of((hitratio_policy)policy, r, capacity) / (double)r->count;
        if (fabs(ratio - expected) > TOLERANCE)
            fail_msg("%s at %g, %s: %.4f instead of %.4f", name, fraction, hitratio_policy_names[policy], ratio, expected);
    }
#ifdef __SANITIZE_THREAD__
    return; /* minutes, of one thread */
#endif
    if (capacity < 100) return; /* the index alone is as large */
    hitratio_play play;
    /* The store's own policies: what they miss of LRU's misses where a ghost's return counts as a hit. */
    static const uint32_t own[2] = {0 /* s3fifo */, 3 /* adaptive */};
    for (uint32_t i = 0; i < 2 && strcmp(name, "cloudphysics_io") == 0 && capacity > 1000; i++) {
        assert_true(hitratio_play_store(own[i], r, capacity, false, &play));
        double share = (double)play.misses.misses / (double)r->count / values[columns[HITRATIO_LRU]];
        if (!play.fits || share > 0.935) fail_msg("%s at %g: policy %u misses %.4f of LRU's", name, fraction, own[i], share);
    }
    assert_true(hitratio_play_store(1 /* lru */, r, capacity, false, &play));
    double ratio = (double)play.misses.misses / (double)r->count, lru = values[columns[HITRATIO_LRU]];
    if (!play.fits || fabs(ratio - lru) > 0.02)
        fail_msg("%s at %g: the store's lru misses %.4f instead of %.4f, holds %.0f", name, fraction, ratio, lru, play.held);
}

static void test_reference(void **state) {
    (void)state;
    static const char *const traces[] = {"adaptsize", "cloudphysics_io", "loop", "multi2", "two_pools", "web12"};
    const char *folder = getenv("STRATA_TEST_TRACES"), *project = getenv("STRATA_TEST_SOURCE_DIR");
    char beside[2048], path[4096], line[512], name[64], error[512];
    snprintf(beside, sizeof beside, "%s/../shared/traces", project != NULL ? project : ".");
    if (folder == NULL) folder = beside;
    snprintf(path, sizeof path, "%s/missratio_reference.csv", folder);
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        print_message("skipped: no %s (STRATA_TEST_TRACES names the folder)\n", path);
        skip();
        return;
    }
    uint32_t rows = 0;
    for (size_t t = 0; t < sizeof traces / sizeof traces[0]; t++) {
        bench_requests r;
        uint64_t capacity = 0;
        double fraction = 0, values[COLUMNS];
        snprintf(path, sizeof path, "%s/%s.kv12.zst", folder, traces[t]);
        if (!bench_requests_read(path, &r, error, sizeof error)) fail_msg("%s", error);
        rewind(file);
        while (fgets(line, sizeof line, file) != NULL) {
            if (!parse_row(line, name, &capacity, &fraction, values) || strcmp(name, traces[t]) != 0) continue;
            check_row(name, &r, capacity, fraction, values);
            rows++;
        }
        bench_requests_release(&r);
    }
    fclose(file);
    assert_true(rows >= 18);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_by_hand), cmocka_unit_test(test_bytes),
                                       cmocka_unit_test(test_belady_is_a_bound), cmocka_unit_test(test_the_store_holds_what_it_may),
                                       cmocka_unit_test(test_reference)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
