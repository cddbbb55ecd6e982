/* SPDX-License-Identifier: Apache-2.0 */
/* strata-bench coherence: how fast processes hear of writes, and what that costs. */
#ifndef BENCH_COHERENCE_MAIN_H
#define BENCH_COHERENCE_MAIN_H

/* argv without the program and subcommand. Returns the exit status. */
int bench_coherence_main(int argc, char **argv);

#endif
