/* SPDX-License-Identifier: Apache-2.0 */
/* Changes of a configuration in use: several options at once, a file read again, and what differs between two. */
#include <string.h>

#include "core/config/values.h"

int32_t sx_config_change(sx_config *config, const char *const *names, const char *const *values, size_t count,
                         strata_error *error) {
    sx_config_stage stage;
    int32_t status = sx_config_stage_init(&stage, config, STRATA_CONFIG_PROGRAM, error);
    for (size_t i = 0; i < count && status == STRATA_OK; i++) {
        if (names[i] == NULL || values[i] == NULL)
            status = sx_config_refuse(error, STRATA_E_CONFIG, "unknown option '%.80s'", names[i] == NULL ? "" : names[i]);
        else
            status = sx_config_stage_put_named(&stage, "", 1, names[i], strlen(names[i]), values[i], strlen(values[i]));
    }
    if (status == STRATA_OK) sx_config_stage_commit(&stage);
    sx_config_stage_deinit(&stage);
    return status;
}

int32_t sx_config_forget_file(sx_config *config) {
    sx_config *defaults;
    int32_t status = sx_config_create(config->alloc, &defaults);
    if (status != STRATA_OK) return status;
    for (size_t i = 0; i < config->count; i++) {
        if (config->values[i].source == STRATA_CONFIG_FILE) sx_config_swap(config, defaults, i);
    }
    strata_config_destroy(defaults);
    sx_config_namespaces_forget_file(&config->namespaces);
    return STRATA_OK;
}

bool sx_config_differs(const sx_config *a, const sx_config *b, size_t index) {
    const sx_config_value *left = &a->values[index], *right = &b->values[index];
    if (!sx_option_is_text(sx_option_at(index))) return left->number != right->number;
    return left->text_size != right->text_size || memcmp(left->text, right->text, left->text_size) != 0;
}

void sx_config_swap(sx_config *a, sx_config *b, size_t index) {
    sx_config_value value = a->values[index];
    a->values[index] = b->values[index];
    b->values[index] = value;
}
