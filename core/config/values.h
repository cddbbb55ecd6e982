/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the config room: one option's value as text and as number, and a configuration as an array of values. */
#ifndef SX_CORE_CONFIG_VALUES_H
#define SX_CORE_CONFIG_VALUES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <strata/config.h>

#include "core/config/option.h"
#include "core/key/key.h"
#include "core/memory/alloc.h"

#define SX_OPTION_TEXT_MAX 128 /* a printed number or range of numbers, zero included */

/* One option's value in one layer. */
typedef struct sx_config_value {
    int64_t number;
    char *text; /* strings and secrets, of text_size + 1 bytes; else NULL */
    size_t text_size;
    strata_config_source source;
    uint32_t place; /* while staged: 0 is not set, else the line it was set in (1 where there are no lines) */
} sx_config_value;

/* What one namespace was given: by row, source STRATA_CONFIG_DEFAULT where nothing. */
struct sx_config_namespace {
    char name[SX_NAMESPACE_BYTES_MAX + 1];
    sx_config_value values[SX_NAMESPACE_OPTIONS_MAX];
};

#define SX_CONFIG_NAMESPACES_MAX 1024
/* Those of a configuration, in the order they came. */
typedef struct sx_config_namespaces {
    sx_config_namespace *all;
    size_t count, capacity;
} sx_config_namespaces;

/* owner: one thread at a time. */
struct strata_config {
    const sx_alloc *alloc; /* const after create */
    size_t count;          /* const after create */
    sx_config_namespaces namespaces;
    sx_config_value values[];
};

/* ---- option.c: rows ---- */

/* The index of a name of size bytes, or sx_option_count(). */
size_t sx_option_index(const char *name, size_t size);
/* As above for "STRATA_L1_BYTES". */
size_t sx_option_index_environment(const char *name, size_t size);
bool sx_option_is_text(const sx_option *option);

/* ---- text.c: values as text ---- */

typedef enum sx_option_fault {
    SX_OPTION_FINE,
    SX_OPTION_MALFORMED,
    SX_OPTION_OUT_OF_RANGE,
    SX_OPTION_NOT_POWER_OF_TWO,
    SX_OPTION_CONTROL_CHARACTER
} sx_option_fault;

/* Checks text against the option, and reads its number unless it is of a text type. */
sx_option_fault sx_option_parse(const sx_option *option, const char *text, size_t size, int64_t *number);
/* Prints a number of the option's type in the form a file would hold, with the largest unit that is exact. */
void sx_option_print(const sx_option *option, int64_t number, char *text, size_t text_size);
/* Prints what is allowed: "1MiB .. 16TiB", "a|b|c", "0 .. 255 bytes". */
void sx_option_print_range(const sx_option *option, char *text, size_t text_size);
/* "size", "duration", ... as in "is not a size", article included. */
const char *sx_option_noun(const sx_option *option);

/* ---- config.c: layers ---- */

/* A configuration of defaults. */
int32_t sx_config_create(const sx_alloc *alloc, sx_config **out);

/* A set of values on their way into one layer: all of them or none. */
typedef struct sx_config_stage {
    sx_config *config;
    strata_config_source source;
    sx_config_value *values; /* as many as options */
    sx_config_namespaces namespaces; /* what the configuration's will be */
    strata_error *error;     /* may be NULL */
} sx_config_stage;

int32_t sx_config_stage_init(sx_config_stage *stage, sx_config *config, strata_config_source source,
                             strata_error *error);
/* Checks and stages one value. place is where it stood, for the message: "file:3: " or ""; line is 1 or more. Refuses
   what is staged already. */
int32_t sx_config_stage_put(sx_config_stage *stage, const char *place, uint32_t line, size_t index,
                            const char *text, size_t size);
/* The same by name, which may be one of a namespace's. */
int32_t sx_config_stage_put_named(sx_config_stage *stage, const char *place, uint32_t line, const char *name, size_t name_size,
                                  const char *text, size_t size);
/* Puts what is staged into the configuration, below no higher layer; can't fail. */
void sx_config_stage_commit(sx_config_stage *stage);
void sx_config_stage_deinit(sx_config_stage *stage);
/* Checks a value and puts it into a place of the stage, unless a higher layer has it; name is for messages. */
int32_t sx_config_stage_take(sx_config_stage *stage, const char *place, uint32_t line, const sx_option *option, const char *name,
                             sx_config_value *value, const char *text, size_t size);
/* Prints a value as a file would hold it; a secret as "***". STRATA_E_VALUE_SIZE. */
int32_t sx_config_print(const sx_option *option, const sx_config_value *value, char *text, size_t text_size);

/* ---- namespaces.c: what namespaces are given ---- */

#define SX_CONFIG_NAMESPACE "namespace." /* what their options' names begin with */

/* A copy, into one that is empty. False when out of memory. */
bool sx_config_namespaces_copy(const sx_alloc *alloc, const sx_config_namespaces *from, sx_config_namespaces *to);
void sx_config_namespaces_deinit(const sx_alloc *alloc, sx_config_namespaces *namespaces);
/* Forgets what a file gave, and whom nothing is given any more. */
void sx_config_namespaces_forget_file(sx_config_namespaces *namespaces);
/* The place of "namespace.NAME.row" and its row, made where it is not there; NULL where there is no such option (STRATA_E_CONFIG), for
   namespaces beyond the most there may be (STRATA_E_OVERLOADED), and when out of memory. */
sx_config_value *sx_config_namespaces_place(const sx_alloc *alloc, sx_config_namespaces *namespaces, const char *name, size_t size,
                                            const sx_option **option, int32_t *status);
/* The same without making it: NULL where it is not there, *option NULL where it is no option. */
const sx_config_value *sx_config_namespaces_find(const sx_config_namespaces *namespaces, const char *name, size_t size,
                                                 const sx_option **option);

#endif
