/* SPDX-License-Identifier: Apache-2.0 */
/* The namespaces of the tormentor's keys: their policies, their keys' names, and who makes all of one invalid at once. */
#include "tests/torment/torment.h"

#include <stdio.h>
#include <string.h>

#include "core/key/key.h"
#include "core/memory/alloc.h"
#include "tests/support/engine.h"

#define FOREIGN  "foreign:"
#define SWEEP_MS 2500 /* then a pattern's invalidation is given up: peace waits no longer for anything */

const char *torment_space_name(torment_space space) {
    static const char *const names[] = {"plain", "grouped", "aged", "failing", "swapped", "guarded", "foreign"};
    _Static_assert(sizeof names / sizeof names[0] == TORMENT_SPACES, "one name each");
    return names[space];
}

strata_namespace *torment_space_open(strata *engine, torment_space space) {
    strata_namespace *ns = NULL;
    if (space == TORMENT_FOREIGN) {
        strata_foreign_options foreign = {.struct_size = sizeof foreign, .prefix = test_bytes(FOREIGN)};
        return strata_namespace_open_foreign(engine, torment_space_name(space), &foreign, &ns, NULL) == STRATA_OK ? ns : NULL;
    }
    ns = test_engine_ns(engine, torment_space_name(space));
    strata_namespace_policy policy = {.struct_size = sizeof policy};
    if (space == TORMENT_AGED) {
        policy.ttl_ms = 1200;
        policy.refresh_percent = 50;
        policy.stale_while_refreshing_ms = 2500;
        policy.throttle_ms = 100;
    } else if (space == TORMENT_FAILING) {
        policy.ttl_ms = 700;
        policy.stale_if_failing_ms = TORMENT_FAILING_MS;
        policy.soft_timeout_ms = 40;
        policy.throttle_ms = 50;
        policy.error_ttl_ms = 30;
    } else if (space == TORMENT_GUARDED) {
        policy.absent_ttl_ms = 10000;
    }
    if (space == TORMENT_GROUPED &&
        strata_namespace_set_untrusted(ns, STRATA_UNTRUSTED_SERVE_STALE, TORMENT_UNPROVEN_MS) != STRATA_OK)
        return NULL;
    if (strata_namespace_policy_set(ns, &policy, NULL) != STRATA_OK) return NULL;
    return ns;
}

/* ---- keys ---- */

static struct { char name[TORMENT_NAME]; uint32_t partition; } keys[TORMENT_KEYS];

/* In namespaces that are cleared all keys are of one tenant, and the first is its name alone. */
static void put_name(char name[TORMENT_NAME], uint32_t key, uint32_t variant) {
    torment_space space = torment_space_of(key);
    if (!torment_is_cleared(space)) snprintf(name, TORMENT_NAME, "h%u.%u", key, variant);
    else if (key < TORMENT_CLIENTS * TORMENT_SPACES && key % TORMENT_CLIENTS == 0) snprintf(name, TORMENT_NAME, "@s%d", space);
    else snprintf(name, TORMENT_NAME, "@s%d:h%u.%u", space, key, variant);
}

/* A writer's second key of a namespace lies in the partition of its first: what is written together goes as one script. A foreign key lies
   in the slot of a partition: what happens to that happens to it. */
bool torment_keys_init(void) {
    sx_key_tags *tags;
    if (sx_key_tags_create(sx_alloc_default(), TORMENT_PARTITIONS, &tags) != 0) return false;
    for (uint32_t k = 0; k < TORMENT_KEYS; k++) {
        char *name = keys[k].name;
        bool second = k / (TORMENT_CLIENTS * TORMENT_SPACES) == 1;
        keys[k].partition = second ? keys[k % (TORMENT_CLIENTS * TORMENT_SPACES)].partition : k * 5 % TORMENT_PARTITIONS;
        if (torment_space_of(k) == TORMENT_FOREIGN) {
            snprintf(name, TORMENT_NAME, "{%s}h%u", tags->tags[keys[k].partition].text, k);
            continue;
        }
        uint32_t variant = 0;
        do put_name(name, k, variant++);
        while (second && sx_key_partition(name, strlen(name), TORMENT_PARTITIONS) != keys[k].partition);
        keys[k].partition = sx_key_partition(name, strlen(name), TORMENT_PARTITIONS);
    }
    sx_key_tags_destroy(tags);
    return true;
}

const char *torment_key_name(uint32_t key) { return keys[key].name; }
uint32_t torment_key_partition(uint32_t key) { return keys[key].partition; }

uint32_t torment_key_of(strata_bytes name) {
    for (uint32_t k = 0; k < TORMENT_KEYS; k++)
        if (strlen(keys[k].name) == name.size && memcmp(keys[k].name, name.data, name.size) == 0) return k;
    return 0;
}

/* ---- all at once ---- */

typedef struct sweep {
    const torment_shared *shared;
    int64_t until_ns;
} sweep;

static int32_t watch(void *user, const strata_pattern_progress *progress) {
    const sweep *s = user;
    (void)progress;
    return torment_now_ns() > s->until_ns || atomic_load(&s->shared->stop) != 0;
}

int32_t torment_space_sweep(strata_session *session, strata_namespace *ns, torment_space space, bool tenant, const torment_shared *shared) {
    char name[8];
    sweep s = {shared, torment_now_ns() + SWEEP_MS * INT64_C(1000000)};
    strata_pattern_options options = {.struct_size = sizeof options, .progress = watch, .progress_user = &s};
    snprintf(name, sizeof name, "s%d", space);
    if (tenant) return strata_tenant_clear_wait(session, ns, test_bytes(name), &options);
    return strata_invalidate_pattern_wait(session, ns, test_bytes("@s*"), &options);
}

int32_t torment_space_clear(strata_session *session, strata_namespace *ns) {
    strata_op_options options = {.struct_size = sizeof options, .deadline_ms = TORMENT_DEADLINE_MS};
    return strata_clear_wait(session, ns, &options);
}
