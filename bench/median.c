/* SPDX-License-Identifier: Apache-2.0 */
/* Sorts and takes the middle. */
#include "bench/median.h"

#include <math.h>
#include <stdlib.h>

static int by_value(const void *left, const void *right) {
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

void bench_sort(double *values, size_t count) { qsort(values, count, sizeof *values, by_value); }

double bench_median(double *values, size_t count) {
    if (count == 0) return NAN;
    bench_sort(values, count);
    return (values[(count - 1) / 2] + values[count / 2]) / 2;
}

double bench_noise(const double *values, size_t count) {
    double *halves = count >= 4 ? malloc(count * sizeof *halves) : NULL;
    if (halves == NULL) return NAN;
    size_t evens = (count + 1) / 2;
    for (size_t i = 0; i < count; i++) halves[i % 2 == 0 ? i / 2 : evens + i / 2] = values[i];
    double even = bench_median(halves, evens), odd = bench_median(halves + evens, count - evens);
    free(halves);
    return fabs(even - odd) / fmin(even, odd);
}
