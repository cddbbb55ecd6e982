/* SPDX-License-Identifier: Apache-2.0 */
/* A subcommand's result file. */
#include "bench/result.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "bench/environment.h"

bool bench_result_open(bench_json *json, const char *path, const char *schema) {
    bench_environment environment;
    FILE *file = fopen(path, "w");
    if (file == NULL) {
        fprintf(stderr, "strata-bench: %s can't be written: %s\n", path, strerror(errno));
        return false;
    }
    bench_environment_read(&environment);
    bench_json_init(json, file);
    bench_json_object_begin(json, NULL);
    bench_json_text(json, "schema", schema);
    bench_json_object_begin(json, "environment");
    bench_environment_put_fields(json, &environment);
    bench_json_object_end(json);
    return true;
}

bool bench_result_close(bench_json *json) {
    bench_json_object_end(json);
    bool failed = ferror(json->file) != 0;
    failed = fclose(json->file) != 0 || failed;
    if (failed) fprintf(stderr, "strata-bench: not all of the result could be written: %s\n", strerror(errno));
    return !failed;
}

void bench_result_case(bench_json *json, const char *name, const bench_result_column *columns, uint32_t column_count, uint32_t rounds) {
    bench_json_object_begin(json, NULL);
    bench_json_text(json, "name", name);
    bench_json_array_begin(json, "rounds");
    for (uint32_t i = 0; i < rounds; i++) {
        bench_json_object_begin(json, NULL);
        for (uint32_t k = 0; k < column_count; k++) bench_json_number(json, columns[k].name, columns[k].samples[i]);
        bench_json_object_end(json);
    }
    bench_json_array_end(json);
    bench_json_object_end(json);
}
