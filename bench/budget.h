/* SPDX-License-Identifier: Apache-2.0 */
/* strata-bench budget: what fits into an L1 that keeps values compressed, and what its readers notice when the budget changes. */
#ifndef BENCH_BUDGET_H
#define BENCH_BUDGET_H

/* argv without the program and subcommand. */
int bench_budget_main(int argc, char **argv);

#endif
