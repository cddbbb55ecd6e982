/* SPDX-License-Identifier: Apache-2.0 */
/* Zipf draws against the exact probabilities, for exponents on both sides of one; and that the permutation is one. */
#include "bench/zipf.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

/* Chi-squared of the draws over all ranks; with 999 degrees of freedom, mean 999 and deviation 45. */
static double chi_squared(uint64_t count, double theta, uint64_t draws) {
    uint64_t *seen = calloc(count, sizeof *seen);
    bench_zipf zipf;
    bench_random random;
    double total = 0, sum = 0;
    assert_non_null(seen);
    bench_zipf_init(&zipf, count, theta);
    bench_random_init(&random, 42, (uint64_t)(theta * 1000));
    for (uint64_t i = 0; i < draws; i++) {
        uint64_t rank = bench_zipf_draw(&zipf, &random);
        assert_true(rank < count);
        seen[rank]++;
    }
    for (uint64_t i = 0; i < count; i++) total += pow((double)(i + 1), -theta);
    for (uint64_t i = 0; i < count; i++) {
        double expected = (double)draws * pow((double)(i + 1), -theta) / total;
        sum += ((double)seen[i] - expected) * ((double)seen[i] - expected) / expected;
    }
    free(seen);
    return sum;
}

static void test_matches_exact_probabilities(void **state) {
    (void)state;
    static const double thetas[] = {0, 0.2, 0.5, 0.9, 0.99, 1, 1.01, 1.2};
    for (size_t i = 0; i < sizeof thetas / sizeof thetas[0]; i++) {
        double found = chi_squared(1000, thetas[i], 2000000);
        if (found > 999 + 5 * 45) fail_msg("theta %g: chi-squared %g", thetas[i], found);
    }
}

static void test_extremes(void **state) {
    (void)state;
    bench_zipf zipf;
    bench_random random;
    bench_random_init(&random, 1, 1);
    bench_zipf_init(&zipf, 1, 0.99);
    for (int i = 0; i < 1000; i++) assert_true(bench_zipf_draw(&zipf, &random) == 0);
    bench_zipf_init(&zipf, UINT64_C(1000000000), 0.8);
    uint64_t largest = 0;
    for (int i = 0; i < 100000; i++) {
        uint64_t rank = bench_zipf_draw(&zipf, &random);
        if (rank > largest) largest = rank;
    }
    assert_true(largest < UINT64_C(1000000000) && largest > UINT64_C(900000000));
}

static void test_permutation_is_a_bijection(void **state) {
    (void)state;
    static const uint64_t counts[] = {1, 2, 3, 4, 5, 100, 4095, 4096, 4097, 100003};
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        unsigned char *hit = calloc(counts[i], 1);
        bench_permutation permutation;
        assert_non_null(hit);
        bench_permutation_init(&permutation, counts[i], 9);
        for (uint64_t j = 0; j < counts[i]; j++) {
            uint64_t image = bench_permutation_map(&permutation, j);
            assert_true(image < counts[i] && !hit[image]);
            hit[image] = 1;
        }
        free(hit);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_matches_exact_probabilities),
        cmocka_unit_test(test_extremes),
        cmocka_unit_test(test_permutation_is_a_bijection),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
