/* SPDX-License-Identifier: Apache-2.0 */
/* Results that are lists of cases, each with rounds of numbers. */
#ifndef BENCH_HTML_CASES_H
#define BENCH_HTML_CASES_H

#include <jansson.h>
#include <stdio.h>

/* Tables, one for all cases whose rounds have the same numbers: medians, and relations with their intervals. Nothing without cases. */
void bench_html_cases(FILE *out, const json_t *root);
/* "case,round,NUMBER..." and a line per round. -1 without cases. */
int bench_csv_cases(FILE *out, const json_t *root);

#endif
