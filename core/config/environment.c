/* SPDX-License-Identifier: Apache-2.0 */
/* The environment layer: STRATA_<SECTION>_<KEY>. STRATA_TEST_ and STRATA_BENCH_ belong to our tools and are skipped. */
#include <string.h>
#include <unistd.h>

#include "core/config/values.h"

#define SHOWN_BYTES 80

static bool starts_with(const char *text, const char *prefix) {
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

static int32_t read_variable(sx_config_stage *stage, const char *variable) {
    if (!starts_with(variable, "STRATA_")) return STRATA_OK;
    if (starts_with(variable, "STRATA_TEST_") || starts_with(variable, "STRATA_BENCH_")) return STRATA_OK;
    const char *equal = strchr(variable, '=');
    if (equal == NULL) return STRATA_OK; /* no variable at all */
    size_t size = (size_t)(equal - variable);
    size_t index = sx_option_index_environment(variable, size);
    int shown = size > SHOWN_BYTES ? SHOWN_BYTES : (int)size;
    if (index == stage->config->count) {
        return sx_config_refuse(stage->error, STRATA_E_CONFIG, "%.*s: no option has this variable", shown,
                                variable);
    }
    char place[SHOWN_BYTES + 3];
    memcpy(place, variable, (size_t)shown);
    memcpy(place + shown, ": ", 3);
    return sx_config_stage_put(stage, place, 1, index, equal + 1, strlen(equal + 1));
}

int32_t strata_config_load_environment(strata_config *config, strata_error *error) {
    sx_config_stage stage;
    int32_t status = sx_config_stage_init(&stage, config, STRATA_CONFIG_ENVIRONMENT, error);
    for (char **at = environ; status == STRATA_OK && at != NULL && *at != NULL; at++) {
        status = read_variable(&stage, *at);
    }
    if (status == STRATA_OK) sx_config_stage_commit(&stage);
    sx_config_stage_deinit(&stage);
    return status;
}
