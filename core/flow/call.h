/* SPDX-License-Identifier: Apache-2.0 */
/* Writes as the public calls make them. Private to core/flow. */
#ifndef SX_CORE_FLOW_CALL_H
#define SX_CORE_FLOW_CALL_H

#include "core/flow/engine.h"

/* A write from the public call on. value NULL: an invalidation. condition NULL: none; its app_version is the value's. */
typedef struct sx_write_call {
    strata_session *session;
    strata_namespace *ns;
    strata_bytes key;
    const strata_bytes *value;
    const strata_op_options *options;
    const sx_publish_condition *condition;
} sx_write_call;
int32_t sx_write_call_async(const sx_write_call *call, strata_done_fn done, void *user);
/* out may be NULL. */
int32_t sx_write_call_wait(const sx_write_call *call, strata_result *out);

#endif
