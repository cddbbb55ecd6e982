/* SPDX-License-Identifier: Apache-2.0 */
/* strata-bench l2: what an answer from L2 costs. */
#ifndef BENCH_L2_MAIN_H
#define BENCH_L2_MAIN_H

/* argv without the program and subcommand. Returns the exit status. */
int bench_l2_main(int argc, char **argv);

#endif
