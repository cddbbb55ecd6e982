/* SPDX-License-Identifier: Apache-2.0 */
/* Policies of namespaces: set as a whole, read without a lock, and what they make of a value's times. */
#include "core/flow/policy.h"

#include <stdio.h>
#include <string.h>

#include "core/codec/compress.h"
#include "core/flow/configured.h"
#include "core/flow/engine.h"
#include "core/flow/foreign.h"

#define THROTTLE_MS 1000 /* where the policy says nothing */

/* ---- kept and read ------------------------------------------------------------------------------------------- */

void sx_policy_read(const strata_namespace *ns, sx_policy *out) {
    const sx_policy_place *place = &ns->policy;
    int64_t words[SX_POLICY_WORDS];
    uint32_t before, after;
    do {
        before = atomic_load_explicit(&place->turn, memory_order_acquire); /* [order: policy] observes the words behind it */
        for (size_t i = 0; i < SX_POLICY_WORDS; i++)
            /* [order: policy] observes the odd turn before it: who sees a new word sees that the turn is another */
            words[i] = atomic_load_explicit(&place->words[i], memory_order_acquire);
        after = atomic_load_explicit(&place->turn, memory_order_relaxed); /* relaxed: ordered by the words before it */
    } while (SX_UNLIKELY(before != after || before % 2 != 0));
    memcpy(out, words, sizeof words);
}

/* Lock: engine. */
static void replace_locked(sx_policy_place *place, const sx_policy *policy) {
    int64_t words[SX_POLICY_WORDS];
    memcpy(words, policy, sizeof words);
    uint32_t turn = atomic_load_explicit(&place->turn, memory_order_relaxed); /* relaxed: written under this lock */
    atomic_store_explicit(&place->turn, turn + 1, memory_order_relaxed); /* relaxed: published by the words behind it */
    for (size_t i = 0; i < SX_POLICY_WORDS; i++)
        atomic_store_explicit(&place->words[i], words[i], memory_order_release); /* [order: policy] publishes the odd turn */
    atomic_store_explicit(&place->turn, turn + 2, memory_order_release); /* [order: policy] publishes the words */
}

void sx_policy_apply_locked(strata_namespace *ns, const sx_policy *configured) {
    int64_t words[SX_POLICY_WORDS], otherwise[SX_POLICY_WORDS];
    memcpy(words, &ns->given, sizeof words);
    memcpy(otherwise, configured, sizeof otherwise);
    for (size_t i = 0; i < SX_POLICY_WORDS; i++) words[i] = words[i] != 0 ? words[i] : otherwise[i];
    sx_policy policy, present;
    memcpy(&policy, words, sizeof policy);
    policy.flags |= configured->flags;
    sx_policy_read(ns, &present);
    if (memcmp(&policy, &present, sizeof policy) != 0) replace_locked(&ns->policy, &policy);
    /* Without memory for it nothing is known, and so the ttl does not adapt. */
    (void)sx_intervals_want_locked(ns, SX_INTERVALS_OF_POLICY, policy.ttl_adaptive_max_ms != 0 && !sx_namespace_is_foreign(ns));
}

/* ---- set and shown ------------------------------------------------------------------------------------------- */

static int32_t refuse(strata_error *error, const char *field, const char *range) {
    if (error != NULL) {
        error->status = STRATA_E_CONFIG;
        (void)snprintf(error->text, sizeof error->text, "policy field '%s' must be %s", field, range);
    }
    return STRATA_E_CONFIG;
}

#define SPAN "0 .. 366 days"
static bool is_span(int64_t ms) { return ms >= 0 && ms <= INT64_C(366) * 24 * 3600 * 1000; }

/* What a raw value has no place for, or what would have its namespace's L1 answer without proof. */
static int32_t check_foreign(const strata_namespace_policy *given, strata_error *error) {
    static const char zero[] = "0 in a foreign namespace";
    if (given->refresh_percent != 0) return refuse(error, "refresh_percent", zero);
    if (given->stale_while_refreshing_ms != 0) return refuse(error, "stale_while_refreshing_ms", zero);
    if (given->stale_if_failing_ms != 0) return refuse(error, "stale_if_failing_ms", zero);
    if (given->absent_ttl_ms != 0) return refuse(error, "absent_ttl_ms", zero);
    if (given->error_ttl_ms != 0) return refuse(error, "error_ttl_ms", zero);
    if (given->l1_idle_ms != 0) return refuse(error, "l1_idle_ms", zero);
    if (given->compress > STRATA_COMPRESS_NONE) return refuse(error, "compress", "STRATA_COMPRESS_NONE or 0 in a foreign namespace");
    if ((given->flags & STRATA_POLICY_L1_COMPRESSED) != 0) return refuse(error, "flags", "STRATA_POLICY_ENDLESS or 0 in a foreign namespace");
    if (given->ttl_adaptive_max_ms != 0) return refuse(error, "ttl_adaptive_max_ms", zero);
    return STRATA_OK;
}

static int32_t check(const strata_namespace *ns, const strata_namespace_policy *given, strata_error *error) {
    if ((given->flags & ~(STRATA_POLICY_ENDLESS | STRATA_POLICY_L1_COMPRESSED)) != 0)
        return refuse(error, "flags", "STRATA_POLICY_ENDLESS, STRATA_POLICY_L1_COMPRESSED or both");
    if (given->ttl_ms < 0) return refuse(error, "ttl_ms", "0 or more");
    if (given->ttl_ms > SX_TTL_MS_MAX && (given->flags & STRATA_POLICY_ENDLESS) == 0)
        return refuse(error, "ttl_ms", "at most 100 years without STRATA_POLICY_ENDLESS");
    if (given->l1_ttl_ms < 0 || given->l1_ttl_ms > SX_TTL_MS_MAX) return refuse(error, "l1_ttl_ms", "0 .. 100 years");
    if (given->ttl_jitter_percent > 90 && given->ttl_jitter_percent != STRATA_NO_JITTER)
        return refuse(error, "ttl_jitter_percent", "0 .. 90 or STRATA_NO_JITTER");
    if (given->refresh_percent > 99) return refuse(error, "refresh_percent", "0 .. 99");
    if (!is_span(given->stale_while_refreshing_ms)) return refuse(error, "stale_while_refreshing_ms", SPAN);
    if (!is_span(given->stale_if_failing_ms)) return refuse(error, "stale_if_failing_ms", SPAN);
    if (!is_span(given->throttle_ms)) return refuse(error, "throttle_ms", SPAN);
    if (!is_span(given->soft_timeout_ms)) return refuse(error, "soft_timeout_ms", SPAN);
    if (!is_span(given->load_timeout_ms)) return refuse(error, "load_timeout_ms", SPAN);
    if (!is_span(given->absent_ttl_ms)) return refuse(error, "absent_ttl_ms", SPAN);
    if (!is_span(given->error_ttl_ms)) return refuse(error, "error_ttl_ms", SPAN);
    if (!is_span(given->l1_idle_ms)) return refuse(error, "l1_idle_ms", SPAN);
    if (given->compress > STRATA_COMPRESS_ZSTD) return refuse(error, "compress", "a strata_compression");
    if (given->compress == STRATA_COMPRESS_ZSTD && !sx_compression_known(SX_COMPRESSION_ZSTD))
        return refuse(error, "compress", "none of STRATA_COMPRESS_ZSTD, which this library was built without");
    if (given->compress_min_bytes != 0 && (given->compress_min_bytes < 64 || given->compress_min_bytes > INT64_C(1) << 29))
        return refuse(error, "compress_min_bytes", "64 .. 512 MiB, or 0");
    if (!is_span(given->ttl_adaptive_max_ms)) return refuse(error, "ttl_adaptive_max_ms", SPAN);
    if (given->ttl_adaptive_min_ms < 0 || given->ttl_adaptive_min_ms > given->ttl_adaptive_max_ms)
        return refuse(error, "ttl_adaptive_min_ms", "0 .. ttl_adaptive_max_ms");
    if (sx_namespace_is_foreign(ns)) return check_foreign(given, error);
    return STRATA_OK;
}

int32_t strata_namespace_policy_set(strata_namespace *ns, const strata_namespace_policy *given, strata_error *error) {
    strata_namespace_policy whole;
    given = sx_struct_whole(given, &whole, sizeof whole);
    if (ns == NULL || given == NULL || !sx_struct_fits(given, given->struct_size, sizeof *given))
        return STRATA_E_INVALID;
    int32_t status = sx_engine_alive(ns->engine);
    if (status == STRATA_OK) status = check(ns, given, error);
    if (status != STRATA_OK) return status;
    sx_policy policy = {.flags = given->flags,
                        .ttl_ms = given->ttl_ms,
                        .l1_ttl_ms = given->l1_ttl_ms,
                        .ttl_jitter_percent =
                            given->ttl_jitter_percent == STRATA_NO_JITTER ? -1 : (int64_t)given->ttl_jitter_percent,
                        .refresh_percent = given->refresh_percent,
                        .stale_while_refreshing_ms = given->stale_while_refreshing_ms,
                        .stale_if_failing_ms = given->stale_if_failing_ms,
                        .throttle_ms = given->throttle_ms,
                        .soft_timeout_ms = given->soft_timeout_ms,
                        .load_timeout_ms = given->load_timeout_ms,
                        .absent_ttl_ms = given->absent_ttl_ms,
                        .error_ttl_ms = given->error_ttl_ms,
                        .l1_idle_ms = given->l1_idle_ms,
                        .compress = given->compress,
                        .compress_min_bytes = given->compress_min_bytes,
                        .waiters_max = given->waiters_max,
                        .ttl_adaptive_min_ms = given->ttl_adaptive_min_ms,
                        .ttl_adaptive_max_ms = given->ttl_adaptive_max_ms};
    sx_lock_acquire(&ns->engine->lock);
    bool room = policy.ttl_adaptive_max_ms == 0 || sx_intervals_want_locked(ns, SX_INTERVALS_OF_POLICY, true);
    if (room) {
        ns->given = policy;
        sx_configured_apply_locked(ns);
    }
    sx_lock_release(&ns->engine->lock);
    if (!room) return STRATA_E_NOMEM;
    sx_log_write(&ns->engine->log, SX_LOG_INFO, "policy of namespace %s:%u replaced", ns->name, (unsigned)ns->version);
    return STRATA_OK;
}

static void show(const sx_policy *policy, strata_namespace_policy *out) {
    strata_namespace_policy whole = {
        .flags = (uint32_t)policy->flags,
        .ttl_ms = policy->ttl_ms,
        .l1_ttl_ms = policy->l1_ttl_ms,
        .ttl_jitter_percent = policy->ttl_jitter_percent < 0 ? STRATA_NO_JITTER : (uint32_t)policy->ttl_jitter_percent,
        .refresh_percent = (uint32_t)policy->refresh_percent,
        .stale_while_refreshing_ms = policy->stale_while_refreshing_ms,
        .stale_if_failing_ms = policy->stale_if_failing_ms,
        .throttle_ms = policy->throttle_ms,
        .soft_timeout_ms = policy->soft_timeout_ms,
        .load_timeout_ms = policy->load_timeout_ms,
        .absent_ttl_ms = policy->absent_ttl_ms,
        .error_ttl_ms = policy->error_ttl_ms,
        .l1_idle_ms = policy->l1_idle_ms,
        .compress = (uint32_t)policy->compress,
        .compress_min_bytes = policy->compress_min_bytes,
        .waiters_max = (uint32_t)policy->waiters_max,
        .ttl_adaptive_min_ms = policy->ttl_adaptive_min_ms,
        .ttl_adaptive_max_ms = policy->ttl_adaptive_max_ms};
    sx_struct_fill(out, &whole, sizeof whole);
}

int32_t strata_namespace_policy_get(const strata_namespace *ns, strata_namespace_policy *out) {
    if (ns == NULL || out == NULL || !sx_struct_receives(out->struct_size)) return STRATA_E_INVALID;
    int32_t status = sx_engine_alive(ns->engine);
    if (status != STRATA_OK) return status;
    sx_lock_acquire(&ns->engine->lock);
    sx_policy policy = ns->given;
    sx_lock_release(&ns->engine->lock);
    show(&policy, out);
    return STRATA_OK;
}

int32_t strata_namespace_policy_effective(const strata_namespace *ns, strata_namespace_policy *out) {
    if (ns == NULL || out == NULL || !sx_struct_receives(out->struct_size)) return STRATA_E_INVALID;
    int32_t status = sx_engine_alive(ns->engine);
    if (status != STRATA_OK) return status;
    sx_policy policy;
    sx_policy_read(ns, &policy);
    show(&policy, out);
    return STRATA_OK;
}

/* ---- times --------------------------------------------------------------------------------------------------- */

bool sx_policy_allows(const strata_namespace *ns, int64_t asked_ms) {
    if (SX_LIKELY(asked_ms <= SX_TTL_MS_MAX)) return true;
    sx_policy policy;
    sx_policy_read(ns, &policy);
    return (policy.flags & STRATA_POLICY_ENDLESS) != 0;
}

int64_t sx_policy_jittered(int64_t ttl_ms, int64_t percent, uint64_t random) {
    uint64_t span = (uint64_t)(ttl_ms / 100 * percent + ttl_ms % 100 * percent / 100);
    return ttl_ms - (int64_t)(random % (span + 1));
}

/* Two values of one key differ, and so do two keys written in one moment. */
static uint64_t scatter(uint64_t hash, int64_t now_ns) {
    uint64_t x = hash + (uint64_t)now_ns * UINT64_C(0x9E3779B97F4A7C15);
    x = (x ^ x >> 31) * UINT64_C(0xBF58476D1CE4E5B9);
    return x ^ x >> 29;
}

/* What write intervals suggest, within the policy's bounds; 0: nothing, or it does not adapt. */
static int64_t adapted_ms(const strata_namespace *ns, const sx_policy *policy) {
    int64_t ttl_ms = policy->ttl_adaptive_max_ms == 0 ? 0 : sx_intervals_suggested_ms(ns);
    if (ttl_ms == 0) return 0;
    if (ttl_ms < policy->ttl_adaptive_min_ms) ttl_ms = policy->ttl_adaptive_min_ms;
    return ttl_ms < policy->ttl_adaptive_max_ms ? ttl_ms : policy->ttl_adaptive_max_ms;
}

sx_lifetime sx_policy_lifetime(const strata_namespace *ns, int64_t asked_ms, uint64_t hash, int64_t now_ns) {
    const sx_hot *hot = &ns->engine->hot;
    sx_policy policy;
    sx_policy_read(ns, &policy);
    sx_lifetime life = {.ttl_ms = sx_hot_read(&hot->ttl_ms)};
    if (asked_ms == 0) asked_ms = adapted_ms(ns, &policy);
    if (asked_ms == 0) asked_ms = policy.ttl_ms;
    if (asked_ms != 0) life.ttl_ms = sx_ttl_ms(asked_ms);
    int64_t percent = policy.ttl_jitter_percent == 0 ? sx_hot_read(&hot->ttl_jitter_percent) : policy.ttl_jitter_percent;
    if (life.ttl_ms != 0 && percent > 0) life.ttl_ms = sx_policy_jittered(life.ttl_ms, percent, scatter(hash, now_ns));
    life.stale_ms = policy.stale_while_refreshing_ms;
    if (policy.stale_if_failing_ms > life.stale_ms) life.stale_ms = policy.stale_if_failing_ms;
    return life;
}

sx_lifetime sx_policy_nothing(int64_t asked_ms, int64_t policy_ms) {
    return (sx_lifetime){.ttl_ms = asked_ms > 0 && asked_ms <= SX_TTL_MS_MAX ? asked_ms : policy_ms};
}

bool sx_policy_ages(const sx_policy *policy) {
    return policy->l1_ttl_ms != 0 || policy->refresh_percent != 0 || policy->stale_while_refreshing_ms != 0 ||
           policy->stale_if_failing_ms != 0 || policy->l1_idle_ms != 0;
}

int64_t sx_policy_throttle_ns(const sx_policy *policy) {
    return (policy->throttle_ms != 0 ? policy->throttle_ms : THROTTLE_MS) * SX_NS_PER_MS;
}

static int64_t in_ms(int64_t now_ns, int64_t ms) {
    return ms < 0 ? now_ns + ms * SX_NS_PER_MS : sx_time_add(now_ns, ms * SX_NS_PER_MS);
}

/* When the first reader refreshes it, ahead of its end or after it. */
static int64_t refresh_at(const sx_policy *policy, int64_t fresh_ns, const sx_lifetime *life) {
    if (policy->refresh_percent == 0 || life->ttl_ms == 0 || fresh_ns == SX_EXPIRES_NEVER) return fresh_ns;
    return fresh_ns - life->ttl_ms * (100 - policy->refresh_percent) / 100 * SX_NS_PER_MS;
}

void sx_policy_age(const sx_policy *policy, sx_item *item, int64_t now_ns, int64_t left_ms, const sx_lifetime *life) {
    int64_t fresh_ns = left_ms > SX_TTL_MS_MAX ? SX_EXPIRES_NEVER : in_ms(now_ns, left_ms);
    sx_item_aging *aging = sx_item_aging_of(item);
    bool nothing = (item->flags & SX_ITEM_NOTHING) != 0;
    int64_t expires_ns = fresh_ns;
    if (aging != NULL) {
        int64_t l1_ns = policy->l1_ttl_ms == 0 ? fresh_ns : in_ms(now_ns, policy->l1_ttl_ms);
        if (l1_ns > fresh_ns) l1_ns = fresh_ns;
        int64_t refresh_ns = refresh_at(policy, fresh_ns, life);
        aging->fresh_ns = fresh_ns;
        aging->l1_ns = l1_ns;
        aging->gone_ns = life->stale_ms == 0 || fresh_ns == SX_EXPIRES_NEVER ? l1_ns : in_ms(fresh_ns, life->stale_ms);
        aging->due_ns = refresh_ns < l1_ns ? refresh_ns : l1_ns;
        aging->idle_ns = nothing ? 0 : policy->l1_idle_ms * SX_NS_PER_MS;
        atomic_store_explicit(&aging->used_ns, now_ns, memory_order_relaxed);       /* relaxed: nobody else has seen it */
        atomic_store_explicit(&aging->refresh_ns, refresh_ns, memory_order_relaxed); /* relaxed: as above */
        expires_ns = aging->due_ns;
        int64_t look_ns = aging->idle_ns == 0 ? INT64_MAX : now_ns + aging->idle_ns / 8;
        if (look_ns < expires_ns) expires_ns = look_ns;
    }
    if (nothing) expires_ns = INT64_MIN; /* so that no hit takes it for a value */
    atomic_store_explicit(&item->expires_ns, expires_ns, memory_order_relaxed); /* relaxed: as above */
}
