/* SPDX-License-Identifier: Apache-2.0 */
/* Foreign namespaces: how one is opened, what its keys are called in L2, and what a change that a server tells of does. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/flow/configured.h"
#include "core/flow/engine.h"
#include "core/flow/foreign.h"

_Static_assert(STRATA_PREFIX_BYTES_MAX == SX_FOREIGN_PREFIX_BYTES_MAX, "as the header says");
_Static_assert(SX_PARTITIONS_MAX + SX_FOREIGN_WORDS <= UINT16_MAX, "an item's partition is one of either kind");

/* ---- names ---- */

size_t sx_foreign_name(const strata_namespace *ns, const void *key, size_t key_size, uint8_t *out) {
    memcpy(out, ns->prefix, ns->prefix_size);
    memcpy(out + ns->prefix_size, key, key_size);
    return ns->prefix_size + key_size;
}

uint32_t sx_foreign_partition(const strata_namespace *ns, const void *key, size_t key_size) {
    uint8_t name[SX_FOREIGN_NAME_BYTES_MAX];
    size_t size = sx_foreign_name(ns, key, key_size, name);
    return ns->engine->partitions + sx_key_slot(name, size) / SX_FOREIGN_WORD_SLOTS;
}

bool sx_foreign_allows(const strata_namespace *ns, const strata_op_options *options) {
    return !sx_namespace_is_foreign(ns) || (options->tag_count == 0 && options->app_version == 0);
}

/* ---- changes ---- */

void sx_foreign_changed_on_loop(void *context, void *owner, const void *key, size_t key_size) {
    strata *engine = context;
    const strata_namespace *ns = owner;
    if (key_size > STRATA_KEY_BYTES_MAX || SX_BROKEN(tracked_change)) return; /* no key of ours is that long */
    uint64_t hash = sx_l1_hash(&engine->secret, ns->index, key, key_size);
    uint32_t stripe = sx_flight_stripe(hash);
    sx_flights_lock(engine->flights, stripe);
    sx_flights_mark_locked(engine->flights, hash, ns->index, key, key_size, 0);
    if (engine->l1_on) (void)sx_l1_remove(engine->l1, engine->loop_record, hash, ns->index, key, key_size, UINT64_MAX);
    sx_flights_unlock(engine->flights, stripe);
}

/* ---- opening ---- */

static void follow_on_loop(sx_task *task) {
    strata_namespace *ns = SX_CONTAINER(task, strata_namespace, follow);
    sx_foreign_follow_on_loop(ns->engine->foreign, ns->prefix, ns->prefix_size, ns);
}

__attribute__((format(printf, 2, 3))) static int32_t refuse(strata_error *error, const char *format, ...) {
    if (error == NULL) return STRATA_E_CONFIG;
    va_list list;
    va_start(list, format);
    (void)vsnprintf(error->text, sizeof error->text, format, list);
    va_end(list);
    return error->status = STRATA_E_CONFIG;
}

/* Whether one of them begins with the other. */
static bool overlap(const char *a, size_t a_size, const char *b, size_t b_size) {
    return memcmp(a, b, a_size < b_size ? a_size : b_size) == 0;
}

/* Keys of Strata's own must not be taken for values. */
static bool is_own(const strata *engine, const strata_bytes *prefix) {
    static const char layout[] = SX_KEY_NAME_LAYOUT;
    if (overlap(prefix->data, prefix->size, layout, sizeof layout - 1)) return true;
    for (uint32_t i = 0; i < engine->partitions; i++) {
        char name[SX_TAG_BYTES_MAX + 8];
        int size = snprintf(name, sizeof name, "{%s}s%d:", engine->tags->tags[i].text, SX_WIRE_VERSION);
        if (overlap(prefix->data, prefix->size, name, (size_t)size)) return true;
    }
    return false;
}

static int32_t check_locked(const strata *engine, const strata_bytes *prefix, strata_error *error) {
    if (is_own(engine, prefix)) return refuse(error, "a foreign prefix covers names of Strata's own keys");
    for (uint32_t i = 0; i < engine->namespace_count; i++) {
        const strata_namespace *other = engine->namespaces[i];
        if (sx_namespace_is_foreign(other) && overlap(prefix->data, prefix->size, other->prefix, other->prefix_size))
            return refuse(error, "a foreign prefix and that of namespace '%s' begin with one another", other->name);
    }
    return engine->foreign_count == SX_FOREIGN_PREFIXES_MAX ? STRATA_E_OVERLOADED : STRATA_OK;
}

static int32_t open_locked(strata *engine, const char *name, size_t size, const strata_bytes *prefix, strata_namespace **out,
                           bool *new, strata_error *error) {
    strata_namespace *found = sx_names_find(engine->names, name, size, 0);
    *new = false;
    if (found != NULL) {
        if (found->prefix_size != prefix->size || memcmp(found->prefix, prefix->data, prefix->size) != 0)
            return refuse(error, "namespace '%s' is open already, with another prefix or none", name);
        *out = found;
        return STRATA_OK;
    }
    int32_t status = check_locked(engine, prefix, error);
    if (status == STRATA_OK) status = sx_configured_check_foreign(engine->config, name, size, error);
    if (status == STRATA_OK) status = sx_namespace_add_locked(engine, name, size, 0, prefix, out);
    if (status != STRATA_OK) return status;
    engine->foreign_count++;
    *new = true;
    return STRATA_OK;
}

int32_t strata_namespace_open_foreign(strata *engine, const char *name, const strata_foreign_options *given,
                                      strata_namespace **out, strata_error *error) {
    strata_foreign_options whole;
    const strata_foreign_options *options = sx_struct_whole(given, &whole, sizeof whole);
    if (engine == NULL || name == NULL || out == NULL || options == NULL ||
        !sx_struct_fits(options, options->struct_size, sizeof *options) || options->reserved != 0 || options->prefix.data == NULL)
        return STRATA_E_INVALID;
    int32_t status = sx_engine_alive(engine);
    if (status != STRATA_OK) return status;
    size_t size = strnlen(name, SX_NAMESPACE_BYTES_MAX + 1);
    const strata_bytes *prefix = &options->prefix;
    if (!sx_key_namespace_is_good(name, size)) return STRATA_E_INVALID;
    if (prefix->size == 0 || prefix->size > STRATA_PREFIX_BYTES_MAX)
        return refuse(error, "a foreign prefix must have 1 .. %d bytes", STRATA_PREFIX_BYTES_MAX);
    if (!engine->l2_on) return strata_namespace_open(engine, name, 0, out);
    bool new;
    strata_namespace *opened = NULL;
    sx_lock_acquire(&engine->lock);
    status = open_locked(engine, name, size, prefix, &opened, &new, error);
    sx_lock_release(&engine->lock);
    if (status != STRATA_OK) return status;
    if (new) {
        opened->follow.run_on_loop = follow_on_loop;
        sx_loop_post(engine->loop, &opened->follow);
    }
    *out = opened;
    return STRATA_OK;
}
