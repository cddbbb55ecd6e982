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

double bench_noise(const double *values, size_t count) {
    double low = INFINITY, high = -INFINITY, *copy = count >= 4 ? malloc(count * sizeof *copy) : NULL;
    if (copy == NULL) return NAN;
    memcpy(copy, values, count * sizeof *copy);
    double middle = bench_median(copy, count);
    if (!bench_median_interval(values, count, &low, &high)) {
        low = copy[0];
        high = copy[count - 1];
    }
    free(copy);
    return sqrt(0.5) * (high - low) / middle;
}
