/* SPDX-License-Identifier: Apache-2.0 */
/* Writes with a condition: what the public calls ask of a set, which is judged in L2 by the script that executes it. */
#include "core/flow/call.h"

static const sx_publish_condition absent = {.only = SX_PUBLISH_IF_ABSENT};

static sx_publish_condition same(uint64_t n, uint64_t id) {
    return (sx_publish_condition){.only = SX_PUBLISH_IF_SAME, .n = n, .id = id};
}

/* A version that no number was given to orders nothing. */
static bool newer(const strata_op_options *given, sx_publish_condition *out) {
    strata_op_options whole;
    const strata_op_options *options = sx_struct_whole(given, &whole, sizeof whole);
    if (options == NULL || options->struct_size < sizeof whole) return false;
    *out = (sx_publish_condition){.only = SX_PUBLISH_IF_NEWER, .app_version = options->app_version};
    return options->app_version != 0;
}

int32_t strata_set_if_version(strata_session *session, strata_namespace *ns, strata_bytes key, strata_bytes value,
                              uint64_t version_n, uint64_t version_id, const strata_op_options *options,
                              strata_done_fn done, void *user) {
    sx_publish_condition condition = same(version_n, version_id);
    sx_write_call call = {session, ns, key, &value, options, &condition};
    return version_n == 0 ? STRATA_E_INVALID : sx_write_call_async(&call, done, user);
}

int32_t strata_set_if_version_wait(strata_session *session, strata_namespace *ns, strata_bytes key, strata_bytes value,
                                   uint64_t version_n, uint64_t version_id, const strata_op_options *options,
                                   strata_result *out) {
    sx_publish_condition condition = same(version_n, version_id);
    sx_write_call call = {session, ns, key, &value, options, &condition};
    return version_n == 0 ? STRATA_E_INVALID : sx_write_call_wait(&call, out);
}

int32_t strata_set_if_newer(strata_session *session, strata_namespace *ns, strata_bytes key, strata_bytes value,
                            const strata_op_options *options, strata_done_fn done, void *user) {
    sx_publish_condition condition;
    if (!newer(options, &condition)) return STRATA_E_INVALID;
    sx_write_call call = {session, ns, key, &value, options, &condition};
    return sx_write_call_async(&call, done, user);
}

int32_t strata_set_if_newer_wait(strata_session *session, strata_namespace *ns, strata_bytes key, strata_bytes value,
                                 const strata_op_options *options, strata_result *out) {
    sx_publish_condition condition;
    if (!newer(options, &condition)) return STRATA_E_INVALID;
    sx_write_call call = {session, ns, key, &value, options, &condition};
    return sx_write_call_wait(&call, out);
}

int32_t strata_add(strata_session *session, strata_namespace *ns, strata_bytes key, strata_bytes value,
                   const strata_op_options *options, strata_done_fn done, void *user) {
    sx_write_call call = {session, ns, key, &value, options, &absent};
    return sx_write_call_async(&call, done, user);
}

int32_t strata_add_wait(strata_session *session, strata_namespace *ns, strata_bytes key, strata_bytes value,
                        const strata_op_options *options, strata_result *out) {
    sx_write_call call = {session, ns, key, &value, options, &absent};
    return sx_write_call_wait(&call, out);
}
