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
