/* SPDX-License-Identifier: Apache-2.0 */
/* Command-line options as tables: each row names an option, its unit, default, range and place, and is parsed, checked and
   explained from there. */
#ifndef BENCH_OPTIONS_H
#define BENCH_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "bench/range.h"

/* How every command ends. 0: fine; 1: wrong or failed operations; 2: wrong command line; 3: could not run. */
enum { BENCH_EXIT_GOOD = 0, BENCH_EXIT_BAD = 1, BENCH_EXIT_USAGE = 2, BENCH_EXIT_SETUP = 3 };

#define BENCH_LIST_MAX 64
/* Values of an option that may be given several times, in order. */
typedef struct bench_list {
    const char *items[BENCH_LIST_MAX];
    uint32_t count;
} bench_list;

typedef enum bench_option_kind {
    BENCH_OPTION_FLAG,   /* uint8_t; takes no value */
    BENCH_OPTION_COUNT,  /* uint64_t; "1000", "20k", "1.5m" */
    BENCH_OPTION_BYTES,  /* uint64_t; "4096", "64KiB", "8MiB" */
    BENCH_OPTION_NUMBER, /* double */
    BENCH_OPTION_RANGE,  /* bench_range; "100", "64-4096" or "64-4096:log", also with units of bytes */
    BENCH_OPTION_TEXT,   /* const char * */
    BENCH_OPTION_CHOICE, /* uint32_t index into choices */
    BENCH_OPTION_LIST    /* bench_list; repeatable */
} bench_option_kind;

typedef struct bench_option {
    const char *name; /* without the dashes */
    bench_option_kind kind;
    const char *argument;     /* unit or form of the value, as --help shows it; NULL for a flag */
    const char *default_text; /* parsed like a given value; NULL for none */
    double min, max;          /* of numbers and ranges, inclusive */
    const char *choices;      /* "a|b|c" */
    size_t offset;            /* of the field in the settings */
    const char *doc;
    const char *section; /* printed above the row; NULL to stay in the last one */
} bench_option;

/* Two options that contradict each other, or of which the first means nothing without the second. */
typedef struct bench_option_rule {
    const char *name;
    enum { BENCH_RULE_CONFLICTS, BENCH_RULE_NEEDS } rule;
    const char *other;
} bench_option_rule;

/* Settings under a name, --preset NAME: parsed before what is given, which overrides them. */
typedef struct bench_option_preset {
    const char *name;
    const char *doc;
    const char *const *words; /* "--name", "value", ...; ends with NULL */
} bench_option_preset;

#define BENCH_OPTIONS_MAX 64
typedef struct bench_option_table {
    const char *command; /* "strata-bench tiered" */
    const char *about;   /* printed first in --help */
    const bench_option *rows;
    size_t count; /* at most BENCH_OPTIONS_MAX */
    const bench_option_rule *rules;
    size_t rule_count;
    const bench_option_preset *presets; /* NULL for none */
    size_t preset_count;
    const char *preset; /* taken where none is given; may be NULL */
} bench_option_table;

/* Which rows were given. */
typedef struct bench_options_given {
    uint64_t bits;
} bench_options_given;

typedef enum bench_options_outcome {
    BENCH_OPTIONS_OK,
    BENCH_OPTIONS_HELP,
    BENCH_OPTIONS_WRONG
} bench_options_outcome;

/* Fills settings with defaults, then with a preset, and then with argv[0 .. argc - 1], "--name value" or "--name=value". On WRONG error says which
   option, what was found and what is allowed; strings point into argv. */
bench_options_outcome bench_options_parse(const bench_option_table *table, int argc, char *const *argv,
                                          void *settings, bench_options_given *given, char *error,
                                          size_t error_size);
/* The same for a command's main function. False: help, or what is wrong, was printed, and the command ends with *outcome. */
bool bench_options_take(const bench_option_table *table, int argc, char *const *argv, void *settings, bench_options_given *given,
                        int *outcome);
/* Says what is wrong with a command's options, and what it ends with. */
int bench_options_refuse(const bench_option_table *table, const char *error);
int bench_options_was_given(const bench_option_table *table, const bench_options_given *given,
                            const char *name);
void bench_options_help(const bench_option_table *table, FILE *out);
/* Prints the value an option has now. */
void bench_options_print(const bench_option *row, const void *settings, char *text, size_t text_size);

#endif
