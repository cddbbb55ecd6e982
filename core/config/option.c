/* SPDX-License-Identifier: Apache-2.0 */
/* The rows of all option tables: finding one, and describing them to a program. */
#include "core/config/option.h"

#include <assert.h>
#include <string.h>

#include <pthread.h>

#include "core/config/values.h"

#define OPTIONS_MAX       160
#define ENVIRONMENT_BYTES 64
#define PREFIX            "STRATA_"

size_t sx_option_count(void) {
    size_t count = 0;
    for (size_t i = 0; i < sx_option_table_count; i++) count += sx_option_tables[i]->count;
    return count;
}

const sx_option *sx_option_at(size_t index) {
    for (size_t i = 0; i < sx_option_table_count; i++) {
        if (index < sx_option_tables[i]->count) return &sx_option_tables[i]->rows[index];
        index -= sx_option_tables[i]->count;
    }
    return NULL;
}

size_t sx_option_index(const char *name, size_t size) {
    size_t count = sx_option_count();
    for (size_t i = 0; i < count; i++) {
        const char *known = sx_option_at(i)->name;
        if (strlen(known) == size && memcmp(known, name, size) == 0) return i;
    }
    return count;
}

const sx_option *sx_option_find(const char *name) {
    return sx_option_at(sx_option_index(name, strlen(name)));
}

bool sx_option_is_text(const sx_option *option) {
    return option->type == SX_OPTION_STRING || option->type == SX_OPTION_SECRET;
}

static char environment_character(char c) {
    if (c == '.') return '_';
    return c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
}

size_t sx_option_index_environment(const char *name, size_t size) {
    size_t count = sx_option_count();
    size_t prefix = strlen(PREFIX);
    if (size < prefix || memcmp(name, PREFIX, prefix) != 0) return count;
    for (size_t i = 0; i < count; i++) {
        const char *known = sx_option_at(i)->name;
        if (strlen(known) != size - prefix) continue;
        size_t at = 0;
        while (known[at] != '\0' && environment_character(known[at]) == name[prefix + at]) at++;
        if (known[at] == '\0') return i;
    }
    return count;
}

/* ---- descriptions --------------------------------------------------------------------------------------------- */

/* The strings of strata_option_info that no table holds. const after the first use, guarded by pthread_once. */
static struct {
    char environment[ENVIRONMENT_BYTES];
    char range[SX_OPTION_TEXT_MAX];
} described[OPTIONS_MAX];
static char ranges[SX_NAMESPACE_OPTIONS_MAX][SX_OPTION_TEXT_MAX]; /* likewise, of namespaces' options */

static void describe_all(void) {
    for (size_t i = 0; i < sx_option_count() && i < OPTIONS_MAX; i++) {
        const sx_option *option = sx_option_at(i);
        size_t prefix = strlen(PREFIX);
        memcpy(described[i].environment, PREFIX, prefix);
        for (size_t at = 0; option->name[at] != '\0' && prefix + at + 1 < ENVIRONMENT_BYTES; at++) {
            described[i].environment[prefix + at] = environment_character(option->name[at]);
        }
        sx_option_print_range(option, described[i].range, sizeof described[i].range);
    }
}

static void describe_namespaces(void) {
    for (size_t i = 0; i < sx_namespace_options.count; i++)
        sx_option_print_range(&sx_namespace_options.rows[i], ranges[i], sizeof ranges[i]);
}

static strata_option_info info_of(const sx_option *option, const char *environment, const char *range) {
    static const char *const types[] = {
        [SX_OPTION_INTEGER] = "integer", [SX_OPTION_BYTES] = "bytes",     [SX_OPTION_DURATION] = "duration",
        [SX_OPTION_PERCENT] = "percent", [SX_OPTION_BOOLEAN] = "boolean", [SX_OPTION_CHOICE] = "choice",
        [SX_OPTION_STRING] = "string",   [SX_OPTION_SECRET] = "secret"};
    return (strata_option_info){.name = option->name,
                                .environment = environment,
                                .type = types[option->type],
                                .range = option->choices != NULL ? option->choices : range,
                                .default_text = option->default_text,
                                .doc = option->doc,
                                .hot = option->hot};
}

size_t strata_config_option_count(void) {
    return sx_option_count();
}

int32_t strata_config_option(size_t index, strata_option_info *out) {
    const sx_option *option = sx_option_at(index);
    if (option == NULL) return STRATA_E_END;
    assert(sx_option_count() <= OPTIONS_MAX);
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, describe_all);
    *out = info_of(option, described[index].environment, described[index].range);
    return STRATA_OK;
}

int32_t strata_config_namespace_option(size_t index, strata_option_info *out) {
    if (index >= sx_namespace_options.count) return STRATA_E_END;
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, describe_namespaces);
    *out = info_of(&sx_namespace_options.rows[index], "", ranges[index]);
    return STRATA_OK;
}
