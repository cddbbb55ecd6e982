/* SPDX-License-Identifier: Apache-2.0 */
/* The median, the same one everywhere. */
#ifndef BENCH_MEDIAN_H
#define BENCH_MEDIAN_H

#include <stddef.h>

/* Ascending. */
void bench_sort(double *values, size_t count);
/* The middle value, the mean of the two middle ones where count is even; NAN of none. Sorts the values. */
double bench_median(double *values, size_t count);

#endif
