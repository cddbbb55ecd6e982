/* SPDX-License-Identifier: Apache-2.0 */
/* Namespaces: named once, found again, alive as long as the engine. */
#include <string.h>

#include "core/flow/configured.h"
#include "core/flow/engine.h"
#include "core/flow/foreign.h"

int32_t sx_namespace_add_locked(strata *engine, const char *name, size_t size, uint32_t version, const strata_bytes *prefix,
                                strata_namespace **out) {
    if (engine->namespace_count == SX_NAMESPACES_MAX) return STRATA_E_OVERLOADED;
    strata_namespace *ns = sx_allocate_zero(&engine->alloc, sizeof *ns);
    char *copy = prefix == NULL || ns == NULL ? NULL : sx_allocate(&engine->alloc, prefix->size);
    if (ns == NULL || (prefix != NULL && copy == NULL)) {
        sx_release(&engine->alloc, ns, sizeof *ns);
        return STRATA_E_NOMEM;
    }
    if (copy != NULL) {
        memcpy(copy, prefix->data, prefix->size);
        ns->prefix = copy;
        ns->prefix_size = (uint16_t)prefix->size;
    }
    ns->engine = engine;
    memcpy(ns->name, name, size);
    ns->name_size = (uint32_t)size;
    ns->version = version;
    ns->index = (uint16_t)engine->namespace_count;
    if (!sx_stats_namespace_add_locked(engine, ns)) {
        sx_release(&engine->alloc, copy, ns->prefix_size);
        sx_release(&engine->alloc, ns, sizeof *ns);
        return STRATA_E_NOMEM;
    }
    engine->namespaces[engine->namespace_count++] = ns;
    sx_configured_apply_locked(ns);
    sx_names_add(engine->names, ns);
    *out = ns;
    return STRATA_OK;
}

int32_t strata_namespace_set_untrusted(strata_namespace *ns, strata_untrusted policy, uint32_t serve_stale_max_ms) {
    if (ns == NULL || policy < STRATA_UNTRUSTED_DEFAULT || policy > STRATA_UNTRUSTED_SERVE_STALE) return STRATA_E_INVALID;
    if (policy != STRATA_UNTRUSTED_SERVE_STALE && serve_stale_max_ms != 0) return STRATA_E_INVALID;
    int32_t status = sx_engine_alive(ns->engine);
    if (status != STRATA_OK) return status;
    /* relaxed: a number that stands for itself */
    atomic_store_explicit(&ns->untrusted, (int64_t)serve_stale_max_ms << 2 | (int64_t)policy, memory_order_relaxed);
    return STRATA_OK;
}

int32_t strata_namespace_open(strata *engine, const char *name, uint32_t version, strata_namespace **out) {
    if (engine == NULL || name == NULL || out == NULL) return STRATA_E_INVALID;
    int32_t status = sx_engine_alive(engine);
    if (status != STRATA_OK) return status;
    size_t size = strnlen(name, SX_NAMESPACE_BYTES_MAX + 1);
    if (!sx_key_namespace_is_good(name, size)) return STRATA_E_INVALID;
    sx_lock_acquire(&engine->lock);
    strata_namespace *found = sx_names_find(engine->names, name, size, version);
    if (found == NULL) status = sx_namespace_add_locked(engine, name, size, version, NULL, out);
    else if (sx_namespace_is_foreign(found)) status = STRATA_E_INVALID;
    else *out = found;
    sx_lock_release(&engine->lock);
    return status;
}
