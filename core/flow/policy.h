/* SPDX-License-Identifier: Apache-2.0 */
/* A namespace's policy as the engine reads it, and what it makes of a value's times. */
#ifndef SX_CORE_FLOW_POLICY_H
#define SX_CORE_FLOW_POLICY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <strata/strata.h>

#include "core/memory/item.h"

/* As it was set: zeros stand for defaults. int64_t only: it is copied word by word. */
typedef struct sx_policy {
    int64_t flags;
    int64_t ttl_ms;
    int64_t l1_ttl_ms;
    int64_t ttl_jitter_percent; /* -1: none */
    int64_t refresh_percent;
    int64_t stale_while_refreshing_ms;
    int64_t stale_if_failing_ms;
    int64_t throttle_ms;
    int64_t soft_timeout_ms;
    int64_t load_timeout_ms;
    int64_t absent_ttl_ms;
    int64_t error_ttl_ms;
    int64_t l1_idle_ms;
    int64_t compress; /* strata_compression */
    int64_t compress_min_bytes;
    int64_t waiters_max;
    int64_t ttl_adaptive_min_ms;
    int64_t ttl_adaptive_max_ms; /* 0: the ttl does not adapt */
} sx_policy;
#define SX_POLICY_WORDS (sizeof(sx_policy) / sizeof(int64_t))

/* What a namespace may occupy of L1, and who leaves first there. */
typedef struct sx_quota {
    int64_t bytes_max, entries_max; /* 0 none */
    uint32_t priority;              /* strata_priority */
} sx_quota;

/* Where it is kept, so that any thread reads all of one policy while another replaces it. */
typedef struct sx_policy_place {
    _Atomic uint32_t turn;                   /* atomic: release / acquire [order: policy]; odd while it is replaced */
    _Atomic int64_t words[SX_POLICY_WORDS];  /* atomic: release / acquire [order: policy] */
} sx_policy_place;

/* What a value's times are. */
typedef struct sx_lifetime {
    int64_t ttl_ms;   /* 0: it never expires */
    int64_t stale_ms; /* L2 and L1 keep it for so much longer */
} sx_lifetime;

/* What L2 is told to keep a value for; 0: for ever. */
static inline int64_t sx_lifetime_kept_ms(const sx_lifetime *life) { return life->ttl_ms == 0 ? 0 : life->ttl_ms + life->stale_ms; }

/* What the program set, and where it left a field 0, what the configuration gives. Lock: engine */
void sx_policy_apply_locked(strata_namespace *ns, const sx_policy *configured);
void sx_policy_read(const strata_namespace *ns, sx_policy *out);
/* Of a caller's ttl, 0 where it said nothing: whether it has an end, or needs none here. */
bool sx_policy_allows(const strata_namespace *ns, int64_t asked_ms);
/* What an absence or an error lives for: asked_ms, or where that is 0 as the policy says. Never past that; ttl_ms 0 here: it is not kept. */
sx_lifetime sx_policy_nothing(int64_t asked_ms, int64_t policy_ms);
/* What a value written now lives for. hash: of its key. */
sx_lifetime sx_policy_lifetime(const strata_namespace *ns, int64_t asked_ms, uint64_t hash, int64_t now_ns);
/* ttl_ms, shortened by up to percent of it. */
int64_t sx_policy_jittered(int64_t ttl_ms, int64_t percent, uint64_t random);
/* Whether items of the namespace need a sx_item_aging. */
bool sx_policy_ages(const sx_policy *policy);
/* How long after a refresh was begun, or a load failed, the next is held back. */
int64_t sx_policy_throttle_ns(const sx_policy *policy);
/* Gives an item that nobody else has seen its times: left_ms of life (negative: over for so long; INT64_MAX: endless) out of
   life. */
void sx_policy_age(const sx_policy *policy, sx_item *item, int64_t now_ns, int64_t left_ms, const sx_lifetime *life);
static inline int64_t sx_lifetime_left_ms(const sx_lifetime *life) { return life->ttl_ms == 0 ? INT64_MAX : life->ttl_ms; }

#endif
