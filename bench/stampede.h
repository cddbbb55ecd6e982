/* SPDX-License-Identifier: Apache-2.0 */
/* strata-bench stampede: many readers in several processes ask for one cold key at the same moment. */
#ifndef BENCH_STAMPEDE_H
#define BENCH_STAMPEDE_H

/* argv without the program and subcommand. */
int bench_stampede_main(int argc, char **argv);

#endif
