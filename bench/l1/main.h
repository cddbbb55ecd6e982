/* SPDX-License-Identifier: Apache-2.0 */
/* strata-bench l1: the in-process store beside peers. */
#ifndef BENCH_L1_MAIN_H
#define BENCH_L1_MAIN_H

/* argv without the program and subcommand. Returns the exit status. */
int bench_l1_main(int argc, char **argv);

#endif
