/* SPDX-License-Identifier: Apache-2.0 */
/* Inverts the distribution functions of the shapes. */
#include "bench/range.h"

#include <math.h>

#include "bench/random.h"

#define PARETO_EXPONENT 1.16

uint64_t bench_range_draw(const bench_range *range, uint64_t bits) {
    if (range->min == range->max) return range->min;
    if (range->shape == BENCH_SHAPE_UNIFORM) return range->min + bench_scale(bits, range->max - range->min + 1);
    double unit = (double)(bits >> 11) * 0x1.0p-53, ratio = (double)range->min / ((double)range->max + 1);
    double factor = range->shape == BENCH_SHAPE_LOG ? pow(ratio, -unit) : pow(1 - unit * (1 - pow(ratio, PARETO_EXPONENT)), -1 / PARETO_EXPONENT);
    uint64_t value = (uint64_t)((double)range->min * factor);
    return value < range->min ? range->min : value > range->max ? range->max : value;
}

const char *bench_shape_suffix(bench_shape shape) {
    static const char *const suffixes[] = {"", ":log", ":pareto"};
    return suffixes[shape];
}
