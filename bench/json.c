/* SPDX-License-Identifier: Apache-2.0 */
/* A streaming JSON writer with indentation. */
#include "bench/json.h"

#include <inttypes.h>
#include <math.h>

void bench_json_init(bench_json *json, FILE *file) {
    *json = (bench_json){.file = file};
}

static void put_text(bench_json *json, const char *text) {
    fputc('"', json->file);
    for (const unsigned char *at = (const unsigned char *)text; *at != '\0'; at++) {
        if (*at == '"' || *at == '\\')
            fprintf(json->file, "\\%c", *at);
        else if (*at < 0x20)
            fprintf(json->file, "\\u%04x", *at);
        else
            fputc(*at, json->file);
    }
    fputc('"', json->file);
}

static void begin_value(bench_json *json, const char *name) {
    if (json->filled[json->depth]) fputc(',', json->file);
    if (json->depth > 0) fprintf(json->file, "\n%*s", (int)json->depth * 2, "");
    json->filled[json->depth] = true;
    if (name == NULL) return;
    put_text(json, name);
    fputs(": ", json->file);
}

static void open_with(bench_json *json, const char *name, char bracket) {
    begin_value(json, name);
    fputc(bracket, json->file);
    if (json->depth + 1 < sizeof json->filled / sizeof json->filled[0]) json->depth++;
    json->filled[json->depth] = false;
}

static void close_with(bench_json *json, char bracket) {
    bool filled = json->filled[json->depth];
    json->depth--;
    if (filled) fprintf(json->file, "\n%*s", (int)json->depth * 2, "");
    fputc(bracket, json->file);
    if (json->depth == 0) fputc('\n', json->file);
}

void bench_json_object_begin(bench_json *json, const char *name) {
    open_with(json, name, '{');
}
void bench_json_object_end(bench_json *json) {
    close_with(json, '}');
}
void bench_json_array_begin(bench_json *json, const char *name) {
    open_with(json, name, '[');
}
void bench_json_array_end(bench_json *json) {
    close_with(json, ']');
}

void bench_json_text(bench_json *json, const char *name, const char *value) {
    begin_value(json, name);
    put_text(json, value);
}

void bench_json_integer(bench_json *json, const char *name, int64_t value) {
    begin_value(json, name);
    fprintf(json->file, "%" PRId64, value);
}

void bench_json_number(bench_json *json, const char *name, double value) {
    begin_value(json, name);
    if (isfinite(value))
        fprintf(json->file, "%.9g", value);
    else
        fputs("null", json->file);
}

void bench_json_boolean(bench_json *json, const char *name, bool value) {
    begin_value(json, name);
    fputs(value ? "true" : "false", json->file);
}
