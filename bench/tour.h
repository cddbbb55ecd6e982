/* SPDX-License-Identifier: Apache-2.0 */
/* strata-bench tour: a minute that shows what there is, for somebody who sees it for the first time. */
#ifndef BENCH_TOUR_H
#define BENCH_TOUR_H

#include <jansson.h>
#include <stdio.h>

/* Results of the stops by their place; NULL where a stop failed. */
typedef enum bench_tour_place { BENCH_TOUR_L1, BENCH_TOUR_TIERS, BENCH_TOUR_FAST, BENCH_TOUR_COHERENCE, BENCH_TOUR_STAMPEDE, BENCH_TOUR_FAULT, BENCH_TOUR_STOPS } bench_tour_place;

/* One screen of results, in plain words. */
void bench_tour_print(FILE *out, json_t *const results[BENCH_TOUR_STOPS]);

/* argv without the program and subcommand. */
int bench_tour_main(int argc, char **argv);

#endif
