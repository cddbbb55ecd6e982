/* SPDX-License-Identifier: Apache-2.0 */
/* Who occupies L1: namespaces and tenants as the parts that it counts and limits. Included by engine.h. */
#ifndef SX_CORE_FLOW_TENANTS_H
#define SX_CORE_FLOW_TENANTS_H

#include "core/flow/engine.h"

typedef struct sx_tenants sx_tenants;

#define SX_TENANTS_LIMIT_MIN   65536 /* of a limit in bytes */
#define SX_TENANTS_ENTRIES_MIN 64    /* of one in entries: below, its sixteenths are nothing */

/* Has a new L1 count by namespace and tenant. Not where flow.l1_usage is off. */
int32_t sx_tenants_create(strata *engine, strata_error *error);
/* Whether an L1 that is made smaller has room for what counts its guests, which was made at open. Lock: engine */
int32_t sx_tenants_check_locked(const strata *engine, const sx_config *next, strata_error *error);
/* Once nothing of L1 is left. NULL is nothing to do. */
void sx_tenants_destroy(strata *engine);
/* Limits as options and program have them. Lock: engine */
void sx_tenants_apply_locked(strata *engine);
/* A namespace's limits and priority as the program has them, or else the configuration. Not where nothing is counted. Lock: engine */
void sx_tenants_limit_locked(strata_namespace *ns, const sx_quota *configured);
/* Where a session counts for each place. False when out of memory. */
bool sx_tenants_session_add(strata_session *session);
void sx_tenants_session_free(strata_session *session);
/* It stays counted. Lock: engine */
void sx_tenants_session_end_locked(const strata_session *session);
/* A read of a key, which L1 answered or not. On the session's thread. */
void sx_tenants_read(strata_session *session, strata_bytes key, bool hit);
/* Reads are told from here on as if none had been. Takes the engine's lock for some thousand tenants at a time. */
void sx_tenants_reset(strata *engine);
/* What a namespace occupies. False where that is not counted. */
bool sx_tenants_usage(const strata_namespace *ns, sx_l1_usage *out);

#endif
