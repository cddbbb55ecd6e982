/* SPDX-License-Identifier: Apache-2.0 */
/* strata-bench hitratio: misses on traces. */
#ifndef BENCH_HITRATIO_MAIN_H
#define BENCH_HITRATIO_MAIN_H

/* argv without the program and subcommand. Returns the exit status. */
int bench_hitratio_main(int argc, char **argv);

#endif
