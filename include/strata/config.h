/* SPDX-License-Identifier: Apache-2.0 */
/* Configuration: named options from defaults, a file, the environment and the program, each layer above the last. */
#ifndef STRATA_CONFIG_H
#define STRATA_CONFIG_H

#include <stddef.h>
#include <stdint.h>
#include <strata/status.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A set of option values. Each option is declared once, in the table of the room that uses it: docs/CONFIG.md is
   printed from those tables. A value remembers where it came from: default < file < environment < program. A lower
   layer never replaces a higher one, whatever the order of calls. */
typedef struct strata_config strata_config;

typedef enum strata_config_source {
    STRATA_CONFIG_DEFAULT = 0,
    STRATA_CONFIG_FILE = 1,
    STRATA_CONFIG_ENVIRONMENT = 2,
    STRATA_CONFIG_PROGRAM = 3
} strata_config_source;

/* What an option is: one row of its room's table. All strings live forever. */
typedef struct strata_option_info {
    const char *name;          /* "l1.bytes" */
    const char *environment;   /* "STRATA_L1_BYTES" */
    const char *type;          /* "bytes", "duration", "integer", "percent", "boolean", "choice", "string",
                                "secret" */
    const char *range;         /* "1MiB .. 16TiB", "revalidate|bypass|serve_stale", "" */
    const char *default_text;  /* as it would be written in a file */
    const char *doc;           /* one line */
    int hot;                   /* 1 where strata_option_set may change it while open */
} strata_option_info;

/*
 * Creates a configuration holding every default.
 *   out  receives it
 * Returns: STRATA_OK; STRATA_E_NOMEM.
 * Owns:    the caller owns *out: strata_config_destroy.
 * Threads: any; a configuration is used by one thread at a time.
 * Blocks:  never.
 * Since:   0.1
 */
STRATA_API int32_t strata_config_create(strata_config **out);

/*
 * Frees a configuration; engines opened with it keep their own copy.
 *   config  a configuration, or NULL
 * Returns: nothing.
 * Owns:    takes the configuration.
 * Threads: the one using it.
 * Blocks:  never.
 * Since:   0.1
 */
STRATA_API void strata_config_destroy(strata_config *config);

/*
 * Reads a file of `[section]` and `key = value` lines into the file layer: all of it or, on a failure, nothing.
 *   config  a configuration
 *   path    the file, at most 1 MiB
 *   error   receives file, line, the option and its allowed range; may be NULL
 * Returns: STRATA_OK; STRATA_E_CONFIG; STRATA_E_SYSTEM where it can't be read; STRATA_E_NOMEM.
 * Owns:    nothing; strings are copied.
 * Threads: the one using it.
 * Blocks:  on the file system.
 * Since:   0.1
 */
STRATA_API int32_t strata_config_load_file(strata_config *config, const char *path, strata_error *error);

/*
 * Reads the variables STRATA_<SECTION>_<KEY> of the process's environment into the environment layer: all or nothing.
 * Variables beginning with STRATA_TEST_ or STRATA_BENCH_ belong to Strata's own tools and are ignored.
 *   config  a configuration
 *   error   receives the variable, its value and the allowed range; may be NULL
 * Returns: STRATA_OK; STRATA_E_CONFIG (an unknown STRATA_ variable too); STRATA_E_NOMEM.
 * Owns:    nothing; strings are copied.
 * Threads: the one using it, while nobody changes the environment.
 * Blocks:  never.
 * Since:   0.1
 */
STRATA_API int32_t strata_config_load_environment(strata_config *config, strata_error *error);

/*
 * Sets one option in the program layer.
 *   config  a configuration
 *   name    "section.key"
 *   value   as it would stand in a file: "256MiB", "500ms", "true", "cluster"
 *   error   receives the option and its allowed range; may be NULL
 * Returns: STRATA_OK; STRATA_E_CONFIG; STRATA_E_NOMEM.
 * Owns:    nothing; strings are copied.
 * Threads: the one using it.
 * Blocks:  never.
 * Since:   0.1
 */
STRATA_API int32_t strata_config_set(strata_config *config, const char *name, const char *value,
                                     strata_error *error);

/*
 * Prints the value an option has now, in the form a file would hold; a secret prints as "***".
 *   config       a configuration
 *   name         "section.key"
 *   text         receives the value, zero-terminated
 *   text_size    bytes at text
 *   source       receives the layer it came from; may be NULL
 * Returns: STRATA_OK; STRATA_E_CONFIG for an unknown name; STRATA_E_VALUE_SIZE where text_size is too small.
 * Owns:    nothing.
 * Threads: the one using it.
 * Blocks:  never.
 * Since:   0.1
 */
STRATA_API int32_t strata_config_get(const strata_config *config, const char *name, char *text,
                                     size_t text_size, strata_config_source *source);

/*
 * Counts the options there are.
 * Returns: their number; indices 0 .. number - 1 are taken by strata_config_option.
 * Owns:    nothing.
 * Threads: any.
 * Blocks:  never.
 * Since:   0.1
 */
STRATA_API size_t strata_config_option_count(void);

/*
 * Describes one option, for a reference page or a command line.
 *   index  0-based
 *   out    receives the description
 * Returns: STRATA_OK; STRATA_E_END beyond the last.
 * Owns:    nothing; all strings live forever.
 * Threads: any.
 * Blocks:  never.
 * Since:   0.1
 */
STRATA_API int32_t strata_config_option(size_t index, strata_option_info *out);

/*
 * Describes one of the options that each namespace may be given, open or not: "namespace.NAME.ttl", in a file `ttl` below
 * `[namespace.NAME]`. All are hot, none is read from the environment. What a program sets of a namespace itself (strata/policy.h)
 * stands above them, field by field.
 *   index  0-based
 *   out    receives the description; name is "ttl", environment is empty, default_text says what holds while nothing is set
 * Returns: STRATA_OK; STRATA_E_END beyond the last.
 * Owns:    nothing; all strings live forever.
 * Threads: any.
 * Blocks:  never.
 * Since:   0.1
 */
STRATA_API int32_t strata_config_namespace_option(size_t index, strata_option_info *out);

#ifdef __cplusplus
}
#endif
#endif
