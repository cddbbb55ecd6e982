/* SPDX-License-Identifier: Apache-2.0 */
/* Results: how a value in L1 or in a completion is shown to the caller, and given back. */
#include <string.h>

#include "core/flow/engine.h"

/* private_[0] is the item; private_[1] says how it is held. */
static void *pinned_hold(void) { return (void *)(uintptr_t)1; }
static void *counted_hold(void) { return (void *)(uintptr_t)2; }

void sx_result_init(strata_result *result, int32_t status) {
    memset(result, 0, sizeof *result);
    result->status = status;
    result->age_ms = STRATA_AGE_UNKNOWN;
    result->ttl_ms = STRATA_EXPIRES_NEVER;
}

static void show_item(strata_result *result, const sx_item *item, int64_t now_ns) {
    result->value.data = sx_item_value(item);
    result->value.size = item->value_size;
    result->version_n = item->n;
    result->version_id = item->id;
    result->app_version = sx_item_app_version(item);
    int64_t now_ms = now_ns / SX_NS_PER_MS;
    if (item->written_ms != INT64_MIN) result->age_ms = now_ms > item->written_ms ? now_ms - item->written_ms : 0;
    int64_t fresh_ns = sx_item_fresh_ns(item);
    if (fresh_ns != SX_EXPIRES_NEVER) result->ttl_ms = fresh_ns > now_ns ? (fresh_ns - now_ns) / SX_NS_PER_MS : 0;
}

/* The result's value is that of a packed item, undone. What it costs is its reader's. */
static int32_t show_packed(strata *engine, strata_result *result, const sx_item *item) {
    sx_item *plain;
    int32_t status = sx_packed_undo(engine, item, &plain);
    if (status != STRATA_OK) {
        sx_result_init(result, status);
        return status;
    }
    result->value.data = sx_item_value(plain);
    result->value.size = plain->value_size;
    result->private_[0] = plain;
    result->private_[1] = counted_hold();
    return result->status;
}

void sx_result_pinned(strata_result *result, int32_t status, sx_item *item, int64_t now_ns,
                      int64_t staleness_us) {
    sx_result_init(result, status);
    show_item(result, item, now_ns);
    result->source = STRATA_FROM_L1;
    result->staleness_us = staleness_us;
    result->private_[0] = item;
    result->private_[1] = pinned_hold();
}

int32_t sx_result_unpack_pinned(strata_session *session, strata_result *result) {
    assert(result->private_[1] == pinned_hold());
    const sx_item *item = result->private_[0];
    (void)sx_session_count(session, session->engine->namespaces[item->ns], SX_SESSION_METRIC_L1_UNPACKED);
    int32_t status = show_packed(session->engine, result, item);
    sx_epoch_unpin(session->record);
    return status;
}

void sx_result_keep(strata_session *session, strata_result *result) {
    if (result->private_[1] == counted_hold()) return;
    assert(result->private_[1] == pinned_hold());
    sx_item_retain(result->private_[0]);
    result->private_[1] = counted_hold();
    sx_epoch_unpin(session->record);
}

int32_t sx_result_from_op(strata *engine, strata_result *result, sx_op *op) {
    sx_item *item = op->item;
    sx_result_init(result, op->status);
    result->source = op->source;
    result->reason = op->reason;
    result->staleness_us = op->staleness_us;
    op->item = NULL;
    if (item == NULL) {
        result->version_n = op->version_n;
        result->version_id = op->version_id;
        return result->status;
    }
    show_item(result, item, sx_engine_now(engine));
    result->private_[0] = item;
    result->private_[1] = counted_hold();
    if (SX_LIKELY(!sx_item_is_packed(item))) return result->status;
    int32_t status = show_packed(engine, result, item);
    sx_item_release(item);
    return status;
}

void strata_result_release(strata_session *session, strata_result *result) {
    sx_item *item = result->private_[0];
    if (item == NULL) return;
    if (result->private_[1] == pinned_hold()) {
        if (!sx_engine_forked(session->engine)) sx_epoch_unpin(session->record);
    } else {
        sx_item_release(item);
    }
    result->private_[0] = result->private_[1] = NULL;
    result->value.data = NULL;
    result->value.size = 0;
}

int32_t strata_result_retain(strata_session *session, const strata_result *result, strata_value **out) {
    (void)session;
    sx_item *item = result->private_[0];
    if (item == NULL) return STRATA_E_INVALID;
    sx_item_retain_outside(item);
    *out = item;
    return STRATA_OK;
}
