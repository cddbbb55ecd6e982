/* SPDX-License-Identifier: Apache-2.0 */
/* The charts of a result: latencies by percentile, and everything that has a course over time. */
#ifndef BENCH_HTML_CURVES_H
#define BENCH_HTML_CURVES_H

#include <jansson.h>
#include <stdio.h>

/* What people call a histogram or outcome of this name in a result; the name itself where it has no other. */
const char *bench_html_title(const char *name);

/* Draws what the result holds; nothing where it holds none of it. */
void bench_html_curves(FILE *out, const json_t *root);

#endif
