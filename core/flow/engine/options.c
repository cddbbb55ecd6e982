/* SPDX-License-Identifier: Apache-2.0 */
/* Options: the list of all rooms' tables, flow's own, and those that may change while open. */
#include "core/flow/configured.h"
#include "core/flow/engine.h"
#include "core/flow/rules/rules.h"
#include "core/flow/warm/warm.h"

static const sx_option flow_rows[] = {
    {.name = "flow.deadline",
     .type = SX_OPTION_DURATION,
     .min = SX_NS_PER_MS,
     .max = 3600 * SX_NS_PER_S,
     .default_text = "1s",
     .hot = true,
     .doc = "how long an operation may take where its caller says nothing"},
    {.name = "flow.ttl",
     .type = SX_OPTION_DURATION,
     .min = SX_NS_PER_MS,
     .max = 366 * 24 * 3600 * SX_NS_PER_S,
     .default_text = "5m",
     .hot = true,
     .doc = "time to live of a value where neither its writer nor its namespace says anything"},
    {.name = "flow.ttl_jitter",
     .type = SX_OPTION_PERCENT,
     .min = 0,
     .max = 90,
     .default_text = "10%",
     .hot = true,
     .doc = "up to how much of its time to live a value lives shorter, at random, so that not all expire together"},
    {.name = "flow.l2_timeout",
     .type = SX_OPTION_DURATION,
     .min = SX_NS_PER_MS,
     .max = 3600 * SX_NS_PER_S,
     .default_text = "500ms",
     .hot = true,
     .doc = "how long get_or_load waits for L2 before it goes to the loader, at most"},
    {.name = "flow.load_timeout",
     .type = SX_OPTION_DURATION,
     .min = SX_NS_PER_MS,
     .max = 24 * 3600 * SX_NS_PER_S,
     .default_text = "10s",
     .hot = true,
     .doc = "when a load that has not finished is given up, so that its key can be loaded again"},
    {.name = "flow.pending_max",
     .type = SX_OPTION_INTEGER,
     .min = 1,
     .max = 1 << 30,
     .default_text = "1048576",
     .doc = "operations under way at once; more are refused as overloaded"},
    {.name = "flow.pending_bytes_max",
     .type = SX_OPTION_BYTES,
     .min = 1 << 20,
     .max = INT64_C(1) << 40,
     .default_text = "512MiB",
     .doc = "memory that operations under way may hold; more are refused as overloaded"},
    {.name = "flow.compress",
     .type = SX_OPTION_CHOICE,
     .default_text = "none",
     .choices = "none|lz4|zstd",
     .hot = true,
     .doc = "how values are compressed on their way to L2; L1 holds them as they are, unless their namespace says otherwise"},
    {.name = "flow.compress_min",
     .type = SX_OPTION_BYTES,
     .min = 64,
     .max = INT64_C(1) << 29,
     .default_text = "1KiB",
     .hot = true,
     .doc = "smaller values are never compressed"},
    {.name = "flow.dictionaries",
     .type = SX_OPTION_STRING,
     .min = 0,
     .max = 4096,
     .default_text = "",
     .doc = "dictionaries for zstd, as 'zstd --train' writes them: NAMESPACE=FILE, separated by commas; values of other namespaces are read with them too"},
    {.name = "flow.l1_part",
     .type = SX_OPTION_PERCENT,
     .min = 0,
     .max = 100,
     .default_text = "100%",
     .hot = true,
     .doc = "how many of the keys use L1, chosen by a hash of the key: 0 switches it off, and strata/rollout.h says what that means"},
    {.name = "flow.l2_part",
     .type = SX_OPTION_PERCENT,
     .min = 0,
     .max = 100,
     .default_text = "100%",
     .hot = true,
     .doc = "how many of the keys use L2, likewise"},
    {.name = "flow.l1_usage",
     .type = SX_OPTION_BOOLEAN,
     .min = 0,
     .max = 1,
     .default_text = "false",
     .doc = "count what each namespace and tenant occupies in L1, which limits of them need, and what a tenant's reads find there; hits of tenants' keys cost a hash more, values that enter a little more"},
    {.name = "flow.tenants_max",
     .type = SX_OPTION_INTEGER,
     .min = 1,
     .max = 65536,
     .default_text = "256",
     .doc = "with flow.l1_usage: tenants told apart, at 512 bytes of l1.bytes each and a quarter of it at most, and in each session 1 KiB for each 64 of them that are read there; those beyond, and some before, are counted as one"},
    {.name = "flow.tenant_part",
     .type = SX_OPTION_PERCENT,
     .min = 1,
     .max = 100,
     .default_text = "100%",
     .hot = true,
     .doc = "with flow.l1_usage: how much of l1.bytes one tenant may occupy that has no limit of its own"},
    {.name = "flow.analysis",
     .type = SX_OPTION_BOOLEAN,
     .min = 0,
     .max = 1,
     .default_text = "false",
     .hot = true,
     .doc = "look at which keys are hot, big, and read one after the other, in namespaces that say nothing else (strata/analysis.h)"},
    {.name = "flow.analysis_sample",
     .type = SX_OPTION_INTEGER,
     .min = 1,
     .max = 1000000,
     .default_text = "16",
     .hot = true,
     .doc = "of a namespace that is analysed one read in so many is looked at"},
    {.name = "flow.analysis_keys",
     .type = SX_OPTION_INTEGER,
     .min = 16,
     .max = 65536,
     .default_text = "256",
     .doc = "hot keys, and keys with successors, that are kept of a namespace that is analysed, at about 1 KiB each"},
    {.name = "flow.prefetch",
     .type = SX_OPTION_PERCENT,
     .min = 0,
     .max = 100,
     .default_text = "0%",
     .hot = true,
     .doc = "in namespaces that are analysed: a key that is read next at least so often after another is read ahead into L1; 0%: none is"},
    {.name = "flow.prefetch_per_s",
     .type = SX_OPTION_INTEGER,
     .min = 1,
     .max = 1000000,
     .default_text = "1000",
     .hot = true,
     .doc = "with flow.prefetch: most keys that are read ahead in a second"},
};
static const sx_option_table flow_options = {flow_rows, sizeof flow_rows / sizeof *flow_rows};

const sx_option_table *const sx_option_tables[] = {&sx_l1_options, &sx_store_options, &sx_redis_options,
                                                   &sx_coherence_options, &flow_options, &sx_warm_options, &sx_rules_options};
const size_t sx_option_table_count = sizeof sx_option_tables / sizeof *sx_option_tables;

static void put(_Atomic int64_t *option, int64_t value) {
    atomic_store_explicit(option, value, memory_order_relaxed); /* relaxed: a number that stands for itself */
}

void sx_engine_apply_hot(strata *engine) {
    const sx_config *config = engine->config;
    int64_t ttl_ms = sx_config_int(config, "flow.ttl") / SX_NS_PER_MS;
    put(&engine->hot.deadline_ms, sx_config_int(config, "flow.deadline") / SX_NS_PER_MS);
    put(&engine->hot.ttl_ms, ttl_ms);
    put(&engine->hot.ttl_jitter_percent, sx_config_int(config, "flow.ttl_jitter"));
    put(&engine->hot.l2_timeout_ns, sx_config_int(config, "flow.l2_timeout"));
    put(&engine->hot.breaker.failures, sx_config_int(config, "l2.breaker_failures"));
    put(&engine->hot.breaker.open_ns, sx_config_int(config, "l2.breaker_open"));
    put(&engine->hot.load_timeout_ns, sx_config_int(config, "flow.load_timeout"));
    put(&engine->hot.untrusted, sx_config_int(config, "coherence.untrusted"));
    put(&engine->hot.carry_bytes_max, sx_config_int(config, "coherence.value_bytes_max"));
    put(&engine->hot.compress, sx_config_int(config, "flow.compress"));
    put(&engine->hot.compress_min, sx_config_int(config, "flow.compress_min"));
    put(&engine->hot.audit_per_s, sx_config_int(config, "coherence.audit_per_s"));
    put(&engine->hot.analysis_sample, sx_config_int(config, "flow.analysis_sample"));
    put(&engine->hot.prefetch_percent, sx_config_int(config, "flow.prefetch"));
    put(&engine->hot.prefetch_per_s, sx_config_int(config, "flow.prefetch_per_s"));
    sx_prefetch_apply_locked(engine);
    put(&engine->hot.serve_stale_max_ns, sx_config_int(config, "coherence.serve_stale_max"));
    for (uint32_t i = 0; i < engine->namespace_count; i++) sx_configured_apply_locked(engine->namespaces[i]);
    if (engine->l1 != NULL) {
        sx_l1_resize(engine->l1, sx_config_int(config, "l1.bytes"));
        sx_tenants_apply_locked(engine);
        sx_l1_policy_change(engine->l1, (sx_l1_policy)sx_config_int(config, "l1.policy"));
    }
}

int32_t strata_option_get(strata *engine, const char *name, char *text, size_t text_size) {
    if (engine == NULL || name == NULL || text == NULL) return STRATA_E_INVALID;
    if (sx_engine_forked(engine)) return STRATA_E_FORKED;
    sx_lock_acquire(&engine->lock);
    int32_t status = strata_config_get(engine->config, name, text, text_size, NULL);
    sx_lock_release(&engine->lock);
    return status;
}
