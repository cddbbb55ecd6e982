/* SPDX-License-Identifier: Apache-2.0 */
/* A range of sizes or times, and how values are spread over it. */
#ifndef BENCH_RANGE_H
#define BENCH_RANGE_H

#include <stdint.h>

#define BENCH_RANGE_FORM "MIN-MAX[:log|:pareto]"
typedef enum bench_shape {
    BENCH_SHAPE_UNIFORM,
    BENCH_SHAPE_LOG,   /* every power of two as likely as the next */
    BENCH_SHAPE_PARETO /* most near min, few near max: a bounded Pareto of exponent 1.16, "80 of 100 in 20" */
} bench_shape;

typedef struct bench_range {
    uint64_t min, max; /* inclusive; min >= 1 unless uniform */
    bench_shape shape;
} bench_range;

/* The value for 64 random bits: the same bits give the same value. */
uint64_t bench_range_draw(const bench_range *range, uint64_t bits);
/* "", ":log" or ":pareto". */
const char *bench_shape_suffix(bench_shape shape);

#endif
