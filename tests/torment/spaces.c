/* SPDX-License-Identifier: Apache-2.0 */
/* The namespaces of the tormentor's keys: their policies, their keys' names, and who makes all of one invalid at once. */
#include "tests/torment/torment.h"

#include <stdio.h>
#include <string.h>

#include "core/key/key.h"
#include "tests/support/engine.h"

#define SWEEP_MS 2500 /* then a pattern's invalidation is given up: peace waits no longer for anything */

const char *torment_space_name(torment_space space) {
    static const char *const names[] = {"plain", "grouped", "aged", "failing", "swapped"};
    _Static_assert(sizeof names / sizeof names[0] == TORMENT_SPACES, "one name each");
    return names[space];
}

strata_namespace *torment_space_open(strata *engine, torment_space space) {
    strata_namespace *ns = test_engine_ns(engine, torment_space_name(space));
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
    }
    if (space == TORMENT_GROUPED &&
        strata_namespace_set_untrusted(ns, STRATA_UNTRUSTED_SERVE_STALE, TORMENT_UNPROVEN_MS) != STRATA_OK)
        return NULL;
    if (strata_namespace_policy_set(ns, &policy, NULL) != STRATA_OK) return NULL;
    return ns;
}

/* A writer's second key of a namespace lies in the partition of its first: what is written together goes as one script. */
void torment_key_name(char name[TORMENT_NAME], uint32_t key) {
    uint32_t first = key % (TORMENT_CLIENTS * TORMENT_SPACES);
    char of_first[TORMENT_NAME];
    snprintf(name, TORMENT_NAME, "h%u.0", key);
    if (key / (TORMENT_CLIENTS * TORMENT_SPACES) != 1) return;
    snprintf(of_first, sizeof of_first, "h%u.0", first);
    uint32_t wanted = sx_key_partition(of_first, strlen(of_first), TORMENT_PARTITIONS);
    for (uint32_t i = 1; sx_key_partition(name, strlen(name), TORMENT_PARTITIONS) != wanted; i++)
        snprintf(name, TORMENT_NAME, "h%u.%u", key, i);
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

int32_t torment_space_sweep(strata_session *session, strata_namespace *ns, const torment_shared *shared) {
    sweep s = {shared, torment_now_ns() + SWEEP_MS * INT64_C(1000000)};
    strata_pattern_options options = {.struct_size = sizeof options, .progress = watch, .progress_user = &s};
    return strata_invalidate_pattern_wait(session, ns, test_bytes("h*"), &options);
}

int32_t torment_space_clear(strata_session *session, strata_namespace *ns) {
    strata_op_options options = {.struct_size = sizeof options, .deadline_ms = TORMENT_DEADLINE_MS};
    return strata_clear_wait(session, ns, &options);
}
