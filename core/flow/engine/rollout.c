/* SPDX-License-Identifier: Apache-2.0 */
/* Rollout: the parts of the keys that use L1 and L2, as the options and each namespace have them, made one word. */
#include "core/flow/rollout.h"

#include <stdio.h>

#include "core/flow/configured.h"
#include "core/flow/foreign.h"

#include <xxhash.h>

#define SEED UINT64_C(0x5374726174610001) /* not the hash that chooses partitions: each of them has keys of all parts */

bool sx_rollout_is_out(uint32_t without, const void *key, size_t key_size) {
    uint64_t place = XXH3_64bits_withSeed(key, key_size, SEED) % SX_ROLLOUT_ALL;
    return place >= SX_ROLLOUT_ALL - without;
}

static uint32_t least(uint32_t a, uint32_t b) { return a < b ? a : b; }

/* How many keys of SX_ROLLOUT_ALL are without a tier: the option for all, the namespace's and the program have to let each in. */
static uint32_t without(int64_t percent, int64_t configured_per_mille, bool off, uint32_t per_mille) {
    uint32_t in = off ? 0 : per_mille == 0 ? SX_ROLLOUT_ALL : per_mille * (SX_ROLLOUT_ALL / 1000);
    uint32_t configured = (uint32_t)configured_per_mille * (SX_ROLLOUT_ALL / 1000);
    return SX_ROLLOUT_ALL - least(in, least(configured, (uint32_t)percent * (SX_ROLLOUT_ALL / 100)));
}

void sx_rollout_apply_locked(strata_namespace *ns) {
    const strata *engine = ns->engine;
    const strata_rollout *own = &ns->rollout;
    sx_configured configured;
    sx_configured_read(engine->config, ns->name, ns->name_size, &configured);
    uint32_t l1 = without(sx_config_int(engine->config, "flow.l1_part"), configured.l1_per_mille,
                          !engine->l1_on || (own->flags & STRATA_ROLLOUT_L1_OFF) != 0, own->l1_per_mille);
    uint32_t l2 = 0; /* foreign: L2 is where its keys are */
    if (!sx_namespace_is_foreign(ns))
        l2 = without(sx_config_int(engine->config, "flow.l2_part"), configured.l2_per_mille, (own->flags & STRATA_ROLLOUT_L2_OFF) != 0,
                     own->l2_per_mille);
    uint32_t kinds = atomic_load_explicit(&engine->events.kinds, memory_order_relaxed); /* relaxed: written under this lock */
    uint32_t seen = (kinds == 0 ? 0 : SX_NS_WATCHED) | (sx_analysis_apply_locked(ns) ? SX_NS_ANALYSED : 0) | (engine->tenants == NULL ? 0 : SX_NS_TENANTS);
    atomic_store_explicit(&ns->without, l1 | l2 << SX_ROLLOUT_BITS | seen, memory_order_relaxed); /* relaxed: a number that stands for itself */
}

static int32_t refuse(strata_error *error, const char *field, const char *range) {
    if (error == NULL) return STRATA_E_CONFIG;
    error->status = STRATA_E_CONFIG;
    (void)snprintf(error->text, sizeof error->text, "rollout field '%s' must be %s", field, range);
    return STRATA_E_CONFIG;
}

static int32_t check(const strata_namespace *ns, const strata_rollout *given, strata_error *error) {
    if (sx_namespace_is_foreign(ns) && ((given->flags & STRATA_ROLLOUT_L2_OFF) != 0 || given->l2_per_mille != 0))
        return refuse(error, "l2_per_mille", "0 in a foreign namespace, without STRATA_ROLLOUT_L2_OFF");
    if ((given->flags & ~STRATA_ROLLOUT_OFF) != 0) return refuse(error, "flags", "STRATA_ROLLOUT_L1_OFF, STRATA_ROLLOUT_L2_OFF or both");
    if (given->l1_per_mille > 1000) return refuse(error, "l1_per_mille", "0 .. 1000");
    if (given->l2_per_mille > 1000) return refuse(error, "l2_per_mille", "0 .. 1000");
    return STRATA_OK;
}

int32_t strata_namespace_rollout_set(strata_namespace *ns, const strata_rollout *given, strata_error *error) {
    strata_rollout whole;
    given = sx_struct_whole(given, &whole, sizeof whole);
    if (ns == NULL || given == NULL || !sx_struct_fits(given, given->struct_size, sizeof *given)) return STRATA_E_INVALID;
    int32_t status = sx_engine_alive(ns->engine);
    if (status == STRATA_OK) status = check(ns, given, error);
    if (status != STRATA_OK) return status;
    sx_lock_acquire(&ns->engine->lock);
    strata_rollout before = ns->rollout;
    ns->rollout = *given;
    sx_rollout_apply_locked(ns);
    sx_lock_release(&ns->engine->lock);
    sx_log_write(&ns->engine->log, SX_LOG_INFO,
                 "rollout of namespace %s:%u changed from flags %u, l1 %u, l2 %u per mille to flags %u, l1 %u, l2 %u", ns->name,
                 (unsigned)ns->version, (unsigned)before.flags, (unsigned)before.l1_per_mille, (unsigned)before.l2_per_mille,
                 (unsigned)given->flags, (unsigned)given->l1_per_mille, (unsigned)given->l2_per_mille);
    return STRATA_OK;
}

int32_t strata_namespace_rollout_get(const strata_namespace *ns, strata_rollout *out) {
    if (ns == NULL || out == NULL || !sx_struct_receives(out->struct_size)) return STRATA_E_INVALID;
    int32_t status = sx_engine_alive(ns->engine);
    if (status != STRATA_OK) return status;
    sx_lock_acquire(&ns->engine->lock);
    strata_rollout whole = ns->rollout;
    sx_lock_release(&ns->engine->lock);
    sx_struct_fill(out, &whole, sizeof whole);
    return STRATA_OK;
}
