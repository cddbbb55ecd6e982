/* SPDX-License-Identifier: Apache-2.0 */
/* A configuration: every option's value with the layer it came from, and the staging that makes layers all or none. */
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/config/values.h"

#define SHOWN_BYTES 80 /* of a refused value */
#define NAME_BYTES 128

int32_t sx_config_refuse(strata_error *error, int32_t status, const char *format, ...) {
    if (error == NULL) return status;
    error->status = status;
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(error->text, sizeof error->text, format, arguments);
    va_end(arguments);
    for (unsigned char *at = (unsigned char *)error->text; *at != '\0'; at++) {
        if (*at < 0x20 || *at == 0x7f) *at = '?';
    }
    return status;
}

static size_t size_of(size_t count) {
    return sizeof(sx_config) + count * sizeof(sx_config_value);
}

static void value_deinit(const sx_alloc *alloc, sx_config_value *value) {
    if (value->text != NULL) {
        volatile char *at = value->text; /* may be a password */
        for (size_t i = 0; i < value->text_size; i++) at[i] = 0;
        sx_release(alloc, value->text, value->text_size + 1);
    }
    value->text = NULL;
}

/* ---- life ----------------------------------------------------------------------------------------------------- */

int32_t sx_config_create(const sx_alloc *alloc, sx_config **out) {
    size_t count = sx_option_count();
    sx_config *config = sx_allocate_zero(alloc, size_of(count));
    if (config == NULL) return STRATA_E_NOMEM;
    config->alloc = alloc;
    config->count = count;
    for (size_t i = 0; i < count; i++) {
        const sx_option *option = sx_option_at(i);
        sx_config_value *value = &config->values[i];
        size_t size = strlen(option->default_text);
        sx_option_fault fault = sx_option_parse(option, option->default_text, size, &value->number);
        assert(fault == SX_OPTION_FINE && "a default outside its own range");
        (void)fault;
        if (!sx_option_is_text(option)) continue;
        value->text = sx_allocate_text(alloc, option->default_text, size);
        value->text_size = size;
        if (value->text == NULL) {
            strata_config_destroy(config);
            return STRATA_E_NOMEM;
        }
    }
    *out = config;
    return STRATA_OK;
}

int32_t strata_config_create(strata_config **out) {
    return sx_config_create(sx_alloc_default(), out);
}

void strata_config_destroy(strata_config *config) {
    if (config == NULL) return;
    for (size_t i = 0; i < config->count; i++) value_deinit(config->alloc, &config->values[i]);
    sx_config_namespaces_deinit(config->alloc, &config->namespaces);
    sx_release(config->alloc, config, size_of(config->count));
}

sx_config *sx_config_copy(const sx_config *config) {
    sx_config *copy = sx_allocate_zero(config->alloc, size_of(config->count));
    if (copy == NULL) return NULL;
    copy->alloc = config->alloc;
    copy->count = config->count;
    for (size_t i = 0; i < config->count; i++) {
        const sx_config_value *from = &config->values[i];
        copy->values[i] = *from;
        if (from->text == NULL) continue;
        copy->values[i].text = sx_allocate_text(config->alloc, from->text, from->text_size);
        if (copy->values[i].text == NULL) {
            strata_config_destroy(copy);
            return NULL;
        }
    }
    if (!sx_config_namespaces_copy(config->alloc, &config->namespaces, &copy->namespaces)) {
        strata_config_destroy(copy);
        return NULL;
    }
    return copy;
}

/* ---- staging -------------------------------------------------------------------------------------------------- */

int32_t sx_config_stage_init(sx_config_stage *stage, sx_config *config, strata_config_source source,
                             strata_error *error) {
    *stage = (sx_config_stage){.config = config, .source = source, .error = error};
    if (config->count == 0) return STRATA_OK;
    stage->values = sx_allocate_zero(config->alloc, config->count * sizeof *stage->values);
    if (stage->values == NULL || !sx_config_namespaces_copy(config->alloc, &config->namespaces, &stage->namespaces)) {
        sx_config_stage_deinit(stage);
        return sx_config_refuse(error, STRATA_E_NOMEM, "out of memory");
    }
    return STRATA_OK;
}

void sx_config_stage_deinit(sx_config_stage *stage) {
    if (stage->values == NULL) return;
    const sx_config *config = stage->config;
    for (size_t i = 0; i < config->count; i++) value_deinit(config->alloc, &stage->values[i]);
    sx_release(config->alloc, stage->values, config->count * sizeof *stage->values);
    stage->values = NULL;
    sx_config_namespaces_deinit(config->alloc, &stage->namespaces);
}

/* Says what is wrong with a value; a secret is not shown. */
static int32_t refuse_value(strata_error *error, const char *place, const sx_option *option, const char *name,
                            sx_option_fault fault, const char *text, size_t size) {
    char range[SX_OPTION_TEXT_MAX], shown[SHOWN_BYTES + 8];
    sx_option_print_range(option, range, sizeof range);
    bool secret = option->type == SX_OPTION_SECRET;
    int length = size > SHOWN_BYTES ? SHOWN_BYTES : (int)size;
    (void)snprintf(shown, sizeof shown, secret ? "the value" : "'%.*s%s'", length, text,
                   size > SHOWN_BYTES ? "..." : "");
    char fault_text[64];
    switch (fault) {
    case SX_OPTION_MALFORMED:
        (void)snprintf(fault_text, sizeof fault_text, "is not %s", sx_option_noun(option));
        break;
    case SX_OPTION_NOT_POWER_OF_TWO:
        (void)snprintf(fault_text, sizeof fault_text, "is not a power of two");
        break;
    case SX_OPTION_CONTROL_CHARACTER:
        (void)snprintf(fault_text, sizeof fault_text, "contains a control character");
        break;
    default: (void)snprintf(fault_text, sizeof fault_text, "is out of range"); break;
    }
    return sx_config_refuse(error, STRATA_E_CONFIG, "%soption '%s': %s %s; allowed %s", place, name,
                            shown, fault_text, range);
}

int32_t sx_config_stage_take(sx_config_stage *stage, const char *place, uint32_t line, const sx_option *option, const char *name,
                             sx_config_value *value, const char *text, size_t size) {
    if (value->place != 0 && stage->source == STRATA_CONFIG_FILE) {
        return sx_config_refuse(stage->error, STRATA_E_CONFIG, "%soption '%s': set twice, first in line %u",
                                place, name, (unsigned)value->place);
    }
    if (value->place != 0) return sx_config_refuse(stage->error, STRATA_E_CONFIG, "%soption '%s': set twice", place, name);
    int64_t number = 0;
    sx_option_fault fault = sx_option_parse(option, text, size, &number);
    if (fault != SX_OPTION_FINE) return refuse_value(stage->error, place, option, name, fault, text, size);
    value->place = line;
    if (value->source > stage->source) return STRATA_OK; /* a namespace's, which stands where it will stay */
    if (sx_option_is_text(option)) {
        value->text = sx_allocate_text(stage->config->alloc, text, size);
        if (value->text == NULL)
            return sx_config_refuse(stage->error, STRATA_E_NOMEM, "%sout of memory", place);
        value->text_size = size;
    }
    value->number = number;
    value->source = stage->source;
    return STRATA_OK;
}

int32_t sx_config_stage_put(sx_config_stage *stage, const char *place, uint32_t line, size_t index,
                            const char *text, size_t size) {
    const sx_option *option = sx_option_at(index);
    return sx_config_stage_take(stage, place, line, option, option->name, &stage->values[index], text, size);
}

int32_t sx_config_stage_put_named(sx_config_stage *stage, const char *place, uint32_t line, const char *name, size_t name_size,
                                  const char *text, size_t size) {
    size_t index = sx_option_index(name, name_size);
    if (index != stage->config->count) return sx_config_stage_put(stage, place, line, index, text, size);
    const sx_option *option;
    int32_t status;
    sx_config_value *value =
        sx_config_namespaces_place(stage->config->alloc, &stage->namespaces, name, name_size, &option, &status);
    if (value != NULL) {
        char shown[NAME_BYTES];
        (void)snprintf(shown, sizeof shown, "%.*s", (int)name_size, name); /* a good name is shorter */
        return sx_config_stage_take(stage, place, line, option, shown, value, text, size);
    }
    if (status == STRATA_E_NOMEM) return sx_config_refuse(stage->error, status, "%sout of memory", place);
    if (status == STRATA_E_OVERLOADED)
        return sx_config_refuse(stage->error, STRATA_E_CONFIG, "%soptions for more than %d namespaces", place,
                                SX_CONFIG_NAMESPACES_MAX);
    int length = name_size > SHOWN_BYTES ? SHOWN_BYTES : (int)name_size;
    return sx_config_refuse(stage->error, STRATA_E_CONFIG, "%sunknown option '%.*s'", place, length, name);
}

void sx_config_stage_commit(sx_config_stage *stage) {
    sx_config *config = stage->config;
    for (size_t i = 0; i < config->count; i++) {
        sx_config_value *staged = &stage->values[i];
        if (staged->place == 0 || config->values[i].source > stage->source) continue;
        value_deinit(config->alloc, &config->values[i]);
        config->values[i] = *staged;
        config->values[i].place = 0;
        *staged = (sx_config_value){0};
    }
    for (size_t i = 0; i < stage->namespaces.count; i++) {
        for (size_t row = 0; row < SX_NAMESPACE_OPTIONS_MAX; row++) stage->namespaces.all[i].values[row].place = 0;
    }
    sx_config_namespaces before = config->namespaces;
    config->namespaces = stage->namespaces;
    stage->namespaces = before;
}

/* ---- one option ----------------------------------------------------------------------------------------------- */

int32_t strata_config_set(strata_config *config, const char *name, const char *value, strata_error *error) {
    return sx_config_change(config, &name, &value, 1, error);
}

int32_t sx_config_print(const sx_option *option, const sx_config_value *value, char *text, size_t text_size) {
    char printed[SX_OPTION_TEXT_MAX];
    const char *from = printed;
    if (option->type == SX_OPTION_SECRET) {
        from = "***";
    } else if (option->type == SX_OPTION_STRING) {
        from = value->text;
    } else {
        sx_option_print(option, value->number, printed, sizeof printed);
    }
    size_t size = strlen(from) + 1;
    if (size > text_size) return STRATA_E_VALUE_SIZE;
    memcpy(text, from, size);
    return STRATA_OK;
}

static int32_t get_namespace(const strata_config *config, const char *name, char *text, size_t text_size,
                             strata_config_source *source) {
    const sx_option *option;
    const sx_config_value *value = sx_config_namespaces_find(&config->namespaces, name, strlen(name), &option);
    if (option == NULL) return STRATA_E_CONFIG;
    if (value != NULL && value->source != STRATA_CONFIG_DEFAULT) {
        if (source != NULL) *source = value->source;
        return sx_config_print(option, value, text, text_size);
    }
    size_t size = strlen(option->default_text) + 1;
    if (size > text_size) return STRATA_E_VALUE_SIZE;
    memcpy(text, option->default_text, size);
    if (source != NULL) *source = STRATA_CONFIG_DEFAULT;
    return STRATA_OK;
}

int32_t strata_config_get(const strata_config *config, const char *name, char *text, size_t text_size,
                          strata_config_source *source) {
    size_t index = sx_option_index(name, strlen(name));
    if (index == config->count) return get_namespace(config, name, text, text_size, source);
    const sx_config_value *value = &config->values[index];
    int32_t status = sx_config_print(sx_option_at(index), value, text, text_size);
    if (status == STRATA_OK && source != NULL) *source = value->source;
    return status;
}

int64_t sx_config_int(const sx_config *config, const char *name) {
    size_t index = sx_option_index(name, strlen(name));
    assert(index < config->count && !sx_option_is_text(sx_option_at(index)));
    return config->values[index].number;
}

const char *sx_config_text(const sx_config *config, const char *name) {
    size_t index = sx_option_index(name, strlen(name));
    assert(index < config->count && sx_option_is_text(sx_option_at(index)));
    return config->values[index].text;
}
