/* SPDX-License-Identifier: Apache-2.0 */
/* Sorts and takes the middle. */
#include "bench/median.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

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

bool bench_median_interval(const double *values, size_t count, double *low, double *high) {
    /* The median is below the value of rank r (from 0) where at most r of count tosses of a coin fall below it. */
    double each = pow(0.5, (double)count), below = each;
    size_t rank = 0;
    if (below > 0.025) return false;
    for (;;) {
        each *= (double)(count - rank) / (double)(rank + 1);
        if (below + each > 0.025) break;
        below += each;
        rank++;
    }
    double *sorted = malloc(count * sizeof *sorted);
    if (sorted == NULL) return false;
    memcpy(sorted, values, count * sizeof *sorted);
    bench_sort(sorted, count);
    *low = sorted[rank];
    *high = sorted[count - 1 - rank];
    free(sorted);
    return true;
}
