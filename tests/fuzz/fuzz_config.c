/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzzes the configuration file: a refused one leaves no trace and a message, an accepted one reads its own print. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/config/values.h"
#include "tests/support/options.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void get(const sx_config *config, size_t index, char *text, strata_config_source *source) {
    int32_t status = strata_config_get(config, sx_option_at(index)->name, text, 512, source);
    assert(status == STRATA_OK);
    (void)status;
}

static void check_accepted(const sx_config *config, sx_config *other) {
    for (size_t i = 0; i < sx_option_count(); i++) {
        const sx_option *option = sx_option_at(i);
        char text[512], again[512];
        strata_config_source source;
        get(config, i, text, &source);
        if (option->type == SX_OPTION_SECRET) {
            assert(strcmp(text, "***") == 0);
            continue;
        }
        if (!sx_option_is_text(option) && option->type != SX_OPTION_CHOICE) {
            int64_t number = sx_config_int(config, option->name);
            assert(number >= option->min && number <= option->max);
        }
        int32_t status = strata_config_set(other, option->name, text, NULL);
        assert(status == STRATA_OK);
        (void)status;
        get(other, i, again, &source);
        assert(strcmp(text, again) == 0);
    }
}

/* What namespaces were given is printed as it is read, too. */
static void check_namespaces(const sx_config *config, sx_config *other) {
    const sx_config_namespace *ns;
    for (size_t i = 0; (ns = sx_config_namespace_at(config, i)) != NULL; i++) {
        for (size_t row = 0; row < sx_namespace_options.count; row++) {
            const sx_option *option = &sx_namespace_options.rows[row];
            char name[256], text[512];
            int64_t number;
            if (!sx_config_namespace_int(ns, row, &number)) continue;
            assert(option->type == SX_OPTION_BOOLEAN || (number >= option->min && number <= option->max));
            (void)snprintf(name, sizeof name, "namespace.%s.%s", sx_config_namespace_name(ns), option->name);
            int32_t status = strata_config_get(config, name, text, sizeof text, NULL);
            assert(status == STRATA_OK);
            status = strata_config_set(other, name, text, NULL);
            assert(status == STRATA_OK);
            (void)status;
        }
    }
    assert(!sx_config_namespaces_differ(config, other));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    sx_config *config = NULL, *untouched = NULL;
    if (strata_config_create(&config) != STRATA_OK || strata_config_create(&untouched) != STRATA_OK) abort();
    strata_error error = {0};
    int32_t status = sx_config_load_text(config, "fuzz", (const char *)data, size, &error);
    if (status == STRATA_OK) {
        check_accepted(config, untouched);
        check_namespaces(config, untouched);
    } else {
        assert(status == STRATA_E_CONFIG && error.status == status);
        assert(sx_config_namespace_at(config, 0) == NULL);
        assert(strncmp(error.text, "fuzz:", 5) == 0 && strlen(error.text) < sizeof error.text);
        for (size_t i = 0; i < sx_option_count(); i++) {
            char text[512];
            strata_config_source source;
            get(config, i, text, &source);
            assert(source == STRATA_CONFIG_DEFAULT);
        }
    }
    strata_config_destroy(config);
    strata_config_destroy(untouched);
    return 0;
}
