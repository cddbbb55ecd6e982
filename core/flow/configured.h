/* SPDX-License-Identifier: Apache-2.0 */
/* What the configuration gives a namespace, below what the program sets itself. */
#ifndef SX_CORE_FLOW_CONFIGURED_H
#define SX_CORE_FLOW_CONFIGURED_H

#include <strata/strata.h>

#include "core/config/option.h"
#include "core/flow/policy.h"

/* Zero where nothing is given, but for the parts. */
typedef struct sx_configured {
    sx_policy policy;
    int64_t l1_per_mille, l2_per_mille; /* of the keys; 0 none */
    int64_t analysis; /* -1: nothing is said */
    sx_quota quota;
} sx_configured;

void sx_configured_read(const sx_config *config, const char *ns, size_t ns_size, sx_configured *out);
/* Whether an engine can give its namespaces what the configuration says. Lock: engine, once it is open */
int32_t sx_configured_check(const strata *engine, const sx_config *config, strata_error *error);
/* The same for a foreign namespace, which is about to be opened. */
int32_t sx_configured_check_foreign(const sx_config *config, const char *ns, size_t ns_size, strata_error *error);
/* A namespace's policy, rollout and limit as program and configuration have them. Lock: engine */
void sx_configured_apply_locked(strata_namespace *ns);

#endif
