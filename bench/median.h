/* SPDX-License-Identifier: Apache-2.0 */
/* The median, the same one everywhere. */
#ifndef BENCH_MEDIAN_H
#define BENCH_MEDIAN_H

#include <stdbool.h>
#include <stddef.h>

/* Ascending. */
void bench_sort(double *values, size_t count);
/* The middle value, the mean of the two middle ones where count is even; NAN of none. Sorts the values. */
double bench_median(double *values, size_t count);
/* How far apart the medians of two measurements like this one may be, 95 times of 100, as a part of the median: the root of 2 times
   half the interval below, and of five or four values, half of all between the least and the largest. NAN of fewer. */
double bench_noise(const double *values, size_t count);
#define BENCH_NOISE_MAX 0.03
/* Between which two of the values the median of whatever they are drawn from lies, at least 95 times of 100, whatever it is. False,
   with both untouched, of fewer than six: not even the least and the largest would do. */
bool bench_median_interval(const double *values, size_t count, double *low, double *high);

#endif
