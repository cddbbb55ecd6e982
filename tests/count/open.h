/* SPDX-License-Identifier: Apache-2.0 */
/* What the programs have that are counted: an engine without L2, a session and a namespace. */
#ifndef TESTS_COUNT_OPEN_H
#define TESTS_COUNT_OPEN_H

#include <stdbool.h>

#include <strata/strata.h>

/* tracer may be NULL. False: there is nothing to count. */
static inline bool count_open(const strata_tracer *tracer, strata **engine, strata_session **session, strata_namespace **ns) {
    strata_config *config;
    strata_error error;
    if (strata_config_create(&config) != STRATA_OK) return false;
    strata_open_options options = {.struct_size = sizeof options, .config = config, .tracer = tracer};
    bool good = strata_config_set(config, "l2.mode", "none", &error) == STRATA_OK && strata_open(&options, engine, &error) == STRATA_OK;
    strata_config_destroy(config);
    return good && strata_session_open(*engine, session) == STRATA_OK && strata_namespace_open(*engine, "n", 1, ns) == STRATA_OK;
}

#endif
