/* SPDX-License-Identifier: Apache-2.0 */
/* Writes JSON to a file: objects, arrays, numbers, texts; commas and escapes are taken care of. */
#ifndef BENCH_JSON_H
#define BENCH_JSON_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* owner: one thread. */
typedef struct bench_json {
    FILE *file;
    uint32_t depth;
    bool filled[32]; /* per depth: something was written, so a comma comes next */
} bench_json;

void bench_json_init(bench_json *json, FILE *file);
/* name is NULL inside arrays and for the root. */
void bench_json_object_begin(bench_json *json, const char *name);
void bench_json_object_end(bench_json *json);
void bench_json_array_begin(bench_json *json, const char *name);
void bench_json_array_end(bench_json *json);
void bench_json_text(bench_json *json, const char *name, const char *value);
void bench_json_integer(bench_json *json, const char *name, int64_t value);
/* null where it is not finite. */
void bench_json_number(bench_json *json, const char *name, double value);
void bench_json_boolean(bench_json *json, const char *name, bool value);

#endif
