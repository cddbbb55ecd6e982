/* SPDX-License-Identifier: Apache-2.0 */
/* Options: each room declares a table of rows that say everything about its options; this parses, checks, layers and
   prints them. */
#ifndef SX_CORE_CONFIG_OPTION_H
#define SX_CORE_CONFIG_OPTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <strata/config.h>

#include "core/memory/buf.h"

typedef enum sx_option_type {
    SX_OPTION_INTEGER,  /* int64_t; "12" */
    SX_OPTION_BYTES,    /* int64_t; "4096", "64KiB", "256MiB", "2GiB", "1TiB" */
    SX_OPTION_DURATION, /* int64_t nanoseconds; "250us", "500ms", "30s", "5m", "2h", "7d" (a unit is required) */
    SX_OPTION_PERCENT,  /* int64_t; "10%" or "10" */
    SX_OPTION_BOOLEAN,  /* int64_t 0 or 1; "true", "false", "on", "off" */
    SX_OPTION_CHOICE,   /* int64_t index into choices */
    SX_OPTION_STRING,   /* const char *; min and max bound its length */
    SX_OPTION_SECRET    /* as string, printed as "***" */
} sx_option_type;

typedef struct sx_option {
    const char *name;          /* "l1.bytes": section, dot, key; [a-z0-9_] */
    sx_option_type type;
    int64_t min, max;          /* inclusive, in the type's own unit */
    const char *default_text;  /* as in a file */
    const char *choices;       /* "a|b|c" for SX_OPTION_CHOICE, else NULL */
    bool hot;
    bool power_of_two;
    const char *doc;
} sx_option;

/* A room's table. Rooms export `extern const sx_option_table sx_l1_options;` and the like. */
typedef struct sx_option_table {
    const sx_option *rows;
    size_t count;
} sx_option_table;

typedef struct strata_config sx_config;

/* Every table there is, in the order of the reference page. Defined in core/flow, the only room that knows all rooms. */
extern const sx_option_table *const sx_option_tables[];
extern const size_t sx_option_table_count;

/* Options that every namespace may be given for itself: "namespace.NAME.row", in a file under [namespace.NAME], whether it is open or not.
   They are numbers, all hot, and have no value until they are set: default_text says what holds then. Defined beside sx_option_tables. */
extern const sx_option_table sx_namespace_options;
#define SX_NAMESPACE_OPTIONS_MAX 32

/* What one namespace was given. */
typedef struct sx_config_namespace sx_config_namespace;

/* Reads by full name; the name must exist and be of the type's family (asserted). Strings live as long as config. */
int64_t sx_config_int(const sx_config *config, const char *name);
const char *sx_config_text(const sx_config *config, const char *name);
/* A deep copy, for an engine to keep. NULL when out of memory. */
sx_config *sx_config_copy(const sx_config *config);
/* Sets several in the program's layer: all or none. A name that is NULL is unknown. */
int32_t sx_config_change(sx_config *config, const char *const *names, const char *const *values, size_t count, strata_error *error);
/* What a file has set has its default again. STRATA_E_NOMEM: nothing has changed. */
int32_t sx_config_forget_file(sx_config *config);
/* Reads the text of a whole file; name is for messages. */
int32_t sx_config_load_text(sx_config *config, const char *name, const char *text, size_t size, strata_error *error);
/* All of a file, at most 1 MiB, into an empty buffer. */
int32_t sx_config_read_file(const char *path, sx_buf *buf, strata_error *error);
/* Whether two have another value of an option; its layers may differ. */
bool sx_config_differs(const sx_config *a, const sx_config *b, size_t index);
/* Exchanges an option's value and layer. Can't fail. */
void sx_config_swap(sx_config *a, sx_config *b, size_t index);
/* By index, for as long as the configuration is not changed; NULL beyond the last. */
const sx_config_namespace *sx_config_namespace_at(const sx_config *config, size_t index);
const char *sx_config_namespace_name(const sx_config_namespace *ns);
/* NULL where nothing was given to that name. */
const sx_config_namespace *sx_config_namespace_find(const sx_config *config, const char *name, size_t size);
/* The number of a row of sx_namespace_options; false where it has none, or ns is NULL. */
bool sx_config_namespace_int(const sx_config_namespace *ns, size_t row, int64_t *number);
/* Whether a row, or any namespace's, has another value; either may be NULL. */
bool sx_config_namespace_differs(const sx_config_namespace *a, const sx_config_namespace *b, size_t row);
bool sx_config_namespaces_differ(const sx_config *a, const sx_config *b);
/* Exchanges what all namespaces were given. Can't fail. */
void sx_config_swap_namespaces(sx_config *a, sx_config *b);
/* Fills error (which may be NULL) and returns status. */
int32_t sx_config_refuse(strata_error *error, int32_t status, const char *format, ...) __attribute__((format(printf, 3, 4)));
size_t sx_option_count(void);
const sx_option *sx_option_at(size_t index);
/* The row of a name, or NULL. */
const sx_option *sx_option_find(const char *name);

#endif
