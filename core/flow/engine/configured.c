/* SPDX-License-Identifier: Apache-2.0 */
/* Options of namespaces: what a configuration may give each of them, and how that joins what the program has set.

   A field of the policy that the program set is the program's; so is a limit. Of the keys that use a tier, program, namespace's option and
   the option for all have to let each in: so whoever operates it can always switch a namespace off. */
#include "core/flow/configured.h"

#include <string.h>

#include "core/flow/dictionaries.h"
#include "core/flow/engine.h"
#include "core/flow/foreign.h"
#include "core/flow/rollout.h"
#include "core/flow/tenants.h"

#define DAY_NS      (24 * 3600 * SX_NS_PER_S)
#define SPAN_NS_MAX (366 * DAY_NS)
#define TTL_NS_MAX  (100 * SPAN_NS_MAX)

/* Rows of the table below. */
enum {
    TTL,
    ENDLESS,
    L1_TTL,
    TTL_JITTER,
    REFRESH,
    STALE_WHILE_REFRESHING,
    STALE_IF_FAILING,
    THROTTLE,
    SOFT_TIMEOUT,
    LOAD_TIMEOUT,
    ABSENT_TTL,
    ERROR_TTL,
    L1_IDLE,
    COMPRESS,
    COMPRESS_MIN,
    L1_COMPRESSED,
    WAITERS_MAX,
    TTL_ADAPTIVE_MIN,
    TTL_ADAPTIVE_MAX,
    L1_BYTES_MAX,
    L1_ENTRIES_MAX,
    L1_PRIORITY,
    ANALYSIS,
    ENABLED,
    L1_PER_MILLE,
    L2_PER_MILLE,
    ROWS
};

#define SPAN(row_name, least, otherwise, text)                                                                                       \
    {.name = row_name, .type = SX_OPTION_DURATION, .min = least, .max = SPAN_NS_MAX, .default_text = otherwise, .hot = true, .doc = text}

static const sx_option rows[ROWS] = {
    [TTL] = {.name = "ttl",
             .type = SX_OPTION_DURATION,
             .min = SX_NS_PER_MS,
             .max = TTL_NS_MAX,
             .default_text = "flow.ttl",
             .hot = true,
             .doc = "of what is written or loaded without one"},
    [ENDLESS] = {.name = "endless",
                 .type = SX_OPTION_BOOLEAN,
                 .default_text = "false",
                 .hot = true,
                 .doc = "values may be stored without an end, where their writer asks for it"},
    [L1_TTL] = {.name = "l1_ttl",
                .type = SX_OPTION_DURATION,
                .max = TTL_NS_MAX,
                .default_text = "0s",
                .hot = true,
                .doc = "how long L1 answers before it asks L2 again; 0s: as long as the value lives"},
    [TTL_JITTER] = {.name = "ttl_jitter",
                    .type = SX_OPTION_PERCENT,
                    .max = 90,
                    .default_text = "flow.ttl_jitter",
                    .hot = true,
                    .doc = "up to how much of its time to live a value lives shorter"},
    [REFRESH] = {.name = "refresh",
                 .type = SX_OPTION_PERCENT,
                 .max = 99,
                 .default_text = "0%",
                 .hot = true,
                 .doc = "after that part of its time to live a value that is used is refreshed in the background; 0%: not before its end"},
    [STALE_WHILE_REFRESHING] = SPAN("stale_while_refreshing", 0, "0s", "how long after its end a value is answered while it is refreshed"),
    [STALE_IF_FAILING] = SPAN("stale_if_failing", 0, "0s", "how long after its end a value is answered where loader or L2 fail"),
    [THROTTLE] = SPAN("throttle", SX_NS_PER_MS, "1s", "how long after a failed load or a refresh was begun the next is held back"),
    [SOFT_TIMEOUT] = SPAN("soft_timeout", 0, "0s", "how long a load is waited for where there is a value that failing would answer; 0s: to the deadline"),
    [LOAD_TIMEOUT] = SPAN("load_timeout", SX_NS_PER_MS, "flow.load_timeout", "when a load is given up"),
    [ABSENT_TTL] = SPAN("absent_ttl", 0, "0s", "how long it is kept that a loader found nothing; 0s: not at all"),
    [ERROR_TTL] = SPAN("error_ttl", 0, "0s", "how long this process answers at once that a load failed; 0s: not at all"),
    [L1_IDLE] = SPAN("l1_idle", 0, "0s", "L1 forgets a value that was not read there for so long; 0s: not before the end of its time"),
    [COMPRESS] = {.name = "compress",
                  .type = SX_OPTION_CHOICE,
                  .choices = "none|lz4|zstd",
                  .default_text = "flow.compress",
                  .hot = true,
                  .doc = "how values are compressed on their way to L2"},
    [COMPRESS_MIN] = {.name = "compress_min",
                      .type = SX_OPTION_BYTES,
                      .min = 64,
                      .max = INT64_C(1) << 29,
                      .default_text = "flow.compress_min",
                      .hot = true,
                      .doc = "smaller values are never compressed"},
    [L1_COMPRESSED] = {.name = "l1_compressed",
                       .type = SX_OPTION_BOOLEAN,
                       .default_text = "false",
                       .hot = true,
                       .doc = "L1 keeps compressed what is: more entries, and each hit decompresses for itself"},
    [WAITERS_MAX] = {.name = "waiters_max",
                     .type = SX_OPTION_INTEGER,
                     .max = UINT32_MAX,
                     .default_text = "0",
                     .hot = true,
                     .doc = "how many operations of this process may wait for one key at a time, more are refused as overloaded; 0: as many as flow.pending_max"},
    [TTL_ADAPTIVE_MIN] = SPAN("ttl_adaptive_min", 0, "0s", "with ttl_adaptive_max: the least time to live that is made of it"),
    [TTL_ADAPTIVE_MAX] = SPAN("ttl_adaptive_max", 0, "0s",
                              "the time to live of what is written or loaded without one follows write intervals, up to this; 0s: it does not"),
    [L1_BYTES_MAX] = {.name = "l1_bytes_max",
                      .type = SX_OPTION_BYTES,
                      .min = SX_TENANTS_LIMIT_MIN,
                      .max = INT64_C(16) << 40,
                      .default_text = "l1.bytes",
                      .hot = true,
                      .doc = "with flow.l1_usage: how much of L1 the namespace may occupy"},
    [L1_ENTRIES_MAX] = {.name = "l1_entries_max",
                        .type = SX_OPTION_INTEGER,
                        .min = SX_TENANTS_ENTRIES_MIN,
                        .max = INT64_C(1) << 40,
                        .default_text = "no limit",
                        .hot = true,
                        .doc = "with flow.l1_usage: how many entries of L1 the namespace may have"},
    [L1_PRIORITY] = {.name = "l1_priority",
                     .type = SX_OPTION_CHOICE,
                     .choices = "low|normal|high",
                     .default_text = "normal",
                     .hot = true,
                     .doc = "with flow.l1_usage: where L1 wants room, entries of a lower priority leave before those of a higher one, which never leave for them"},
    [ANALYSIS] = {.name = "analysis",
                  .type = SX_OPTION_BOOLEAN,
                  .default_text = "flow.analysis",
                  .hot = true,
                  .doc = "look at which keys are hot, big, and read one after the other (strata/analysis.h), where the program says nothing else"},
    [ENABLED] = {.name = "enabled",
                 .type = SX_OPTION_BOOLEAN,
                 .default_text = "true",
                 .hot = true,
                 .doc = "off: no key of the namespace uses L1, nor L2 unless its keys are foreign ones (strata/rollout.h says what that means)"},
    [L1_PER_MILLE] = {.name = "l1_per_mille",
                      .type = SX_OPTION_INTEGER,
                      .max = 1000,
                      .default_text = "1000",
                      .hot = true,
                      .doc = "how many keys of a thousand use L1, at most"},
    [L2_PER_MILLE] = {.name = "l2_per_mille",
                      .type = SX_OPTION_INTEGER,
                      .max = 1000,
                      .default_text = "1000",
                      .hot = true,
                      .doc = "how many keys of a thousand use L2, at most; not for foreign keys"},
};
const sx_option_table sx_namespace_options = {rows, ROWS};
_Static_assert(ROWS <= SX_NAMESPACE_OPTIONS_MAX, "a configuration has room for them");

/* ---- reading --------------------------------------------------------------------------------------------------- */

static int64_t number_of(const sx_config_namespace *ns, size_t row, int64_t otherwise) {
    int64_t number = otherwise;
    (void)sx_config_namespace_int(ns, row, &number);
    return number;
}

/* Rounded up, for 0 means something else. */
static int64_t ms_of(const sx_config_namespace *ns, size_t row) { return (number_of(ns, row, 0) + SX_NS_PER_MS - 1) / SX_NS_PER_MS; }

void sx_configured_read(const sx_config *config, const char *name, size_t size, sx_configured *out) {
    const sx_config_namespace *ns = sx_config_namespace_find(config, name, size);
    bool enabled = number_of(ns, ENABLED, 1) != 0;
    int64_t jitter = number_of(ns, TTL_JITTER, 0), given;
    if (jitter == 0 && sx_config_namespace_int(ns, TTL_JITTER, &given)) jitter = -1; /* it says none, not nothing */
    int64_t flags = (number_of(ns, ENDLESS, 0) != 0 ? STRATA_POLICY_ENDLESS : 0) | (number_of(ns, L1_COMPRESSED, 0) != 0 ? STRATA_POLICY_L1_COMPRESSED : 0);
    *out = (sx_configured){.policy = {.flags = flags,
                                      .ttl_ms = ms_of(ns, TTL),
                                      .l1_ttl_ms = ms_of(ns, L1_TTL),
                                      .ttl_jitter_percent = jitter,
                                      .refresh_percent = number_of(ns, REFRESH, 0),
                                      .stale_while_refreshing_ms = ms_of(ns, STALE_WHILE_REFRESHING),
                                      .stale_if_failing_ms = ms_of(ns, STALE_IF_FAILING),
                                      .throttle_ms = ms_of(ns, THROTTLE),
                                      .soft_timeout_ms = ms_of(ns, SOFT_TIMEOUT),
                                      .load_timeout_ms = ms_of(ns, LOAD_TIMEOUT),
                                      .absent_ttl_ms = ms_of(ns, ABSENT_TTL),
                                      .error_ttl_ms = ms_of(ns, ERROR_TTL),
                                      .l1_idle_ms = ms_of(ns, L1_IDLE),
                                      .compress = number_of(ns, COMPRESS, -1) + STRATA_COMPRESS_NONE,
                                      .compress_min_bytes = number_of(ns, COMPRESS_MIN, 0),
                                      .waiters_max = number_of(ns, WAITERS_MAX, 0),
                                      .ttl_adaptive_min_ms = ms_of(ns, TTL_ADAPTIVE_MIN),
                                      .ttl_adaptive_max_ms = ms_of(ns, TTL_ADAPTIVE_MAX)},
                           .l1_per_mille = enabled ? number_of(ns, L1_PER_MILLE, 1000) : 0,
                           .l2_per_mille = enabled ? number_of(ns, L2_PER_MILLE, 1000) : 0,
                           .analysis = number_of(ns, ANALYSIS, -1),
                           .quota = {.bytes_max = number_of(ns, L1_BYTES_MAX, 0),
                                     .entries_max = number_of(ns, L1_ENTRIES_MAX, 0),
                                     .priority = (uint32_t)(number_of(ns, L1_PRIORITY, -1) + STRATA_PRIORITY_LOW)}};
}

/* ---- checking -------------------------------------------------------------------------------------------------- */

int32_t sx_configured_check_foreign(const sx_config *config, const char *name, size_t size, strata_error *error) {
    static const uint8_t none[] = {REFRESH, STALE_WHILE_REFRESHING, STALE_IF_FAILING, ABSENT_TTL, ERROR_TTL, L1_IDLE, COMPRESS, L1_COMPRESSED, TTL_ADAPTIVE_MAX};
    const sx_config_namespace *ns = sx_config_namespace_find(config, name, size);
    for (size_t i = 0; i < sizeof none; i++) {
        if (number_of(ns, none[i], 0) == 0) continue;
        return sx_config_refuse(error, STRATA_E_CONFIG, "option 'namespace.%s.%s' can't be set: the namespace is a foreign one", name,
                                rows[none[i]].name);
    }
    if (number_of(ns, L2_PER_MILLE, 1000) == 1000) return STRATA_OK;
    return sx_config_refuse(error, STRATA_E_CONFIG, "option 'namespace.%s.%s' can't be set: the namespace is a foreign one", name,
                            rows[L2_PER_MILLE].name);
}

static int32_t check_limit(const strata *engine, const sx_config_namespace *ns, strata_error *error) {
    static const uint8_t counted[] = {L1_BYTES_MAX, L1_ENTRIES_MAX, L1_PRIORITY};
    int64_t limit;
    for (size_t i = 0; engine->tenants == NULL && i < sizeof counted; i++) {
        if (!sx_config_namespace_int(ns, counted[i], &limit)) continue;
        return sx_config_refuse(error, STRATA_E_CONFIG, "option 'namespace.%s.%s': option 'flow.l1_usage' is off, nothing is counted that could be limited",
                                sx_config_namespace_name(ns), rows[counted[i]].name);
    }
    return STRATA_OK;
}

static int32_t check_compress(const sx_config_namespace *ns, strata_error *error) {
    if (number_of(ns, COMPRESS, 0) != SX_COMPRESSION_ZSTD || sx_compression_known(SX_COMPRESSION_ZSTD)) return STRATA_OK;
    return sx_config_refuse(error, STRATA_E_CONFIG, "option 'namespace.%s.%s': this library was built without zstd", sx_config_namespace_name(ns),
                            rows[COMPRESS].name);
}

int32_t sx_configured_check(const strata *engine, const sx_config *config, strata_error *error) {
    int32_t status = STRATA_OK;
    const sx_config_namespace *ns;
    if (sx_config_int(config, "flow.compress") == SX_COMPRESSION_ZSTD && !sx_compression_known(SX_COMPRESSION_ZSTD))
        return sx_config_refuse(error, STRATA_E_CONFIG, "option 'flow.compress': this library was built without zstd");
    for (size_t i = 0; status == STRATA_OK && (ns = sx_config_namespace_at(config, i)) != NULL; i++) {
        status = check_limit(engine, ns, error);
        if (status == STRATA_OK) status = check_compress(ns, error);
    }
    for (uint32_t i = 0; status == STRATA_OK && i < engine->namespace_count; i++) {
        const strata_namespace *open = engine->namespaces[i];
        if (sx_namespace_is_foreign(open)) status = sx_configured_check_foreign(config, open->name, open->name_size, error);
    }
    return status;
}

/* ---- applying -------------------------------------------------------------------------------------------------- */

void sx_configured_apply_locked(strata_namespace *ns) {
    sx_configured configured;
    sx_configured_read(ns->engine->config, ns->name, ns->name_size, &configured);
    sx_policy_apply_locked(ns, &configured.policy);
    sx_rollout_apply_locked(ns);
    sx_dictionaries_apply_locked(ns);
    if (ns->engine->tenants != NULL) sx_tenants_limit_locked(ns, &configured.quota);
}
