/* SPDX-License-Identifier: Apache-2.0 */
/* strata-bench compare: what changed between two results, or two sets of them, and how sure that is. */
#ifndef BENCH_COMPARE_COMPARE_H
#define BENCH_COMPARE_COMPARE_H

#include <stdio.h>

/* argv without the program and subcommand. Returns the exit status: 1 where a --fail-if holds. */
int bench_compare_main(int argc, char **argv);

/* The same, with the streams it writes to. */
int bench_compare(FILE *out, FILE *err, int argc, char *const *argv);

#endif
