/* SPDX-License-Identifier: Apache-2.0 */
/* A subcommand's result file: one JSON object that begins with its schema and where it was measured. */
#ifndef BENCH_RESULT_H
#define BENCH_RESULT_H

#include <stdbool.h>
#include <stdint.h>

#include "bench/json.h"

/* Opens the file and begins the object; schema is "strata-bench/NAME/VERSION". False, and says why, where it can't be written. */
bool bench_result_open(bench_json *json, const char *path, const char *schema);
/* Ends the object and closes the file; false, and says so, where not all of it could be written. */
bool bench_result_close(bench_json *json);

/* One number of a case, a sample for each round; its name ends in its unit. */
typedef struct bench_result_column {
    const char *name;
    const double *samples;
} bench_result_column;
/* An element of "cases". */
void bench_result_case(bench_json *json, const char *name, const bench_result_column *columns, uint32_t column_count, uint32_t rounds);

#endif
