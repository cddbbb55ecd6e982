/* SPDX-License-Identifier: Apache-2.0 */
/* Invalidations that failed, or that a failover lost: repeated until they are executed, while this process looks past the
   key, and without harm to what is newer. */
// ctest: timeout=600
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/cluster.h"
#include "tests/support/engine.h"
#include "tests/support/place.h"

#define KEYS 60

typedef struct world {
    sx_cluster *cluster;
    strata *a, *b;
    strata_session *in_a, *in_b;
    strata_namespace *ns_a, *ns_b;
    char key[KEYS][16];
    uint32_t node[KEYS]; /* of the key's slot */
} world;

static world *world_open(uint32_t replicas, uint32_t node_timeout_ms, const char *const *options) {
    world *w = calloc(1, sizeof *w);
    const char *const extra[] = {"--repl-diskless-sync-delay", "0", NULL};
    sx_cluster_options servers = {.primaries = 3, .replicas = replicas, .node_timeout_ms = node_timeout_ms, .extra = extra};
    w->cluster = test_cluster_start(&servers);
    const char *pairs[16] = {"l2.nodes", sx_cluster_seeds(w->cluster), "l2.open_wait", "5s", NULL};
    for (int i = 0; options != NULL && options[i] != NULL; i++) pairs[4 + i] = options[i];
    w->a = test_engine_open(pairs, NULL);
    w->b = test_engine_open(pairs, NULL);
    w->in_a = test_engine_session(w->a);
    w->in_b = test_engine_session(w->b);
    w->ns_a = test_engine_ns(w->a, "n");
    w->ns_b = test_engine_ns(w->b, "n");
    test_engine_await_trust(w->a, 30000);
    test_engine_await_trust(w->b, 30000);
    for (int i = 0; i < KEYS; i++) {
        snprintf(w->key[i], sizeof w->key[i], "k%d", i);
        w->node[i] = test_node_of(w->cluster, w->key[i]);
        assert_int_equal(test_set(w->in_a, w->ns_a, w->key[i], "old"), STRATA_OK);
        assert_string_equal(test_get(w->in_b, w->ns_b, w->key[i]), "old");
    }
    return w;
}

static void world_close(world *w) {
    strata_session_close(w->in_a);
    strata_session_close(w->in_b);
    strata_close(w->a, 1000);
    strata_close(w->b, 1000);
    sx_cluster_stop(w->cluster);
    free(w);
}

static int32_t invalidate(world *w, const char *key, uint32_t deadline_ms) {
    strata_op_options options = {.struct_size = sizeof options, .deadline_ms = deadline_ms};
    return strata_invalidate_wait(w->in_a, w->ns_a, test_bytes(key), &options);
}

/* What stands in L2, by B. */
static const char *stored(world *w, const char *key) {
    static char text[64];
    strata_op_options bypass = {.struct_size = sizeof bypass, .flags = STRATA_BYPASS_L1, .deadline_ms = 3000};
    strata_result result;
    int32_t status = strata_get_wait(w->in_b, w->ns_b, test_bytes(key), &bypass, &result);
    if (status == STRATA_MISS) return NULL;
    if (status != STRATA_OK) fail_msg("%s: %s", key, strata_status_name(status));
    snprintf(text, sizeof text, "%.*s", (int)result.value.size, (const char *)result.value.data);
    strata_result_release(w->in_b, &result);
    return text;
}

static int64_t owed(world *w) { return test_metric(w->a, "recovery.waiting") + test_metric(w->a, "flow.unknown_keys"); }

static bool owes_at_most(world *w, int64_t most, int64_t timeout_ms) {
    int64_t end_ms = test_now_ms() + timeout_ms;
    while (owed(w) > most && test_now_ms() < end_ms) test_sleep_ms(5);
    return owed(w) <= most;
}

static int on_node(const world *w, uint32_t node) {
    int count = 0;
    for (int i = 0; i < KEYS; i++) count += w->node[i] == node;
    return count;
}

/* Two primaries hang; what one of them owes when the other is back stays owed, and is in nobody's way. */
static void what_failed_is_repeated_when_its_server_is_back(void **state) {
    (void)state;
    world *w = world_open(0, 30000, TEST_OPTIONS("l2.breaker_open", "200ms"));
    for (uint32_t node = 0; node < 2; node++) assert_int_equal(sx_cluster_pause(w->cluster, node), 0);
    int failed = 0;
    for (int i = 0; i < KEYS; i++) {
        int32_t status = invalidate(w, w->key[i], w->node[i] == 2 ? 10000 : 20);
        if (w->node[i] == 2) assert_int_equal(status, STRATA_OK);
        else assert_true(status < 0); /* never reported as done */
        failed += status < 0;
    }
    assert_int_equal(owed(w), failed);
    assert_true(test_metric(w->a, "recovery.queued") > 0); /* the breaker was open: never sent */
    assert_true(test_metric(w->a, "flow.unknown_keys") > 0);
    for (int i = 0; i < KEYS; i++) {
        assert_null(test_peek(w->in_a, w->ns_a, w->key[i]));
        assert_null(test_get(w->in_a, w->ns_a, w->key[i])); /* at once: L2 is not asked for what is known to be old */
    }
    assert_int_equal(sx_cluster_resume(w->cluster, 0), 0);
    assert_true(owes_at_most(w, on_node(w, 1), 30000));
    test_sleep_ms(200);
    assert_int_equal(owed(w), on_node(w, 1));
    for (int i = 0; i < KEYS; i++)
        if (w->node[i] == 0) assert_null(stored(w, w->key[i]));
    assert_int_equal(sx_cluster_resume(w->cluster, 1), 0);
    assert_true(owes_at_most(w, 0, 30000));
    test_engine_await_trust(w->b, 30000);
    for (int i = 0; i < KEYS; i++) {
        assert_null(stored(w, w->key[i]));
        assert_null(test_get(w->in_b, w->ns_b, w->key[i]));
        assert_null(test_get(w->in_a, w->ns_a, w->key[i]));
    }
    assert_int_equal(test_metric(w->a, "recovery.replayed") + test_metric(w->a, "recovery.superseded") +
                         test_metric(w->a, "flow.unknown_resolved") >= failed, 1);
    world_close(w);
}

/* A write of this process that is later than what failed settles it: it is not undone by a replay. */
static void a_later_write_settles_what_failed(void **state) {
    (void)state;
    world *w = world_open(0, 30000, TEST_OPTIONS("l2.breaker_open", "200ms"));
    for (uint32_t node = 0; node < 3; node++) assert_int_equal(sx_cluster_pause(w->cluster, node), 0);
    for (int i = 0; i < KEYS; i++) assert_true(invalidate(w, w->key[i], 20) < 0);
    int64_t waiting = test_metric(w->a, "recovery.waiting");
    assert_true(waiting > 0);
    test_sleep_ms(1000); /* the pauses between attempts have grown */
    for (uint32_t node = 0; node < 3; node++) assert_int_equal(sx_cluster_resume(w->cluster, node), 0);
    strata_op_options patient = {.struct_size = sizeof patient, .deadline_ms = 5000};
    for (int i = KEYS - 1; i >= 0; i--) { /* the last ones were never sent */
        int32_t status;
        while ((status = strata_set_wait(w->in_a, w->ns_a, test_bytes(w->key[i]), test_bytes("new"), &patient, NULL)) ==
               STRATA_E_UNAVAILABLE)
            test_sleep_ms(5); /* the breaker */
        assert_int_equal(status, STRATA_OK);
    }
    assert_true(owes_at_most(w, 0, 30000));
    for (int i = 0; i < KEYS; i++) {
        const char *text = stored(w, w->key[i]);
        if (text == NULL || strcmp(text, "new") != 0) fail_msg("%s is %s", w->key[i], text == NULL ? "gone" : text);
    }
    world_close(w);
}

/* A replica that did not hear of them takes over: acknowledged invalidations are executed there too, and what was written
   after one of them stays. */
static void a_failover_undoes_no_acknowledged_invalidation(void **state) {
    (void)state;
    world *w = world_open(1, 1500, NULL);
    int lost[KEYS], newer[KEYS], losts = 0, newers = 0;
    for (int i = 0; i < KEYS; i++) {
        if (w->node[i] != 0) continue;
        if ((losts + newers) % 2 == 0) lost[losts++] = i;
        else newer[newers++] = i;
    }
    assert_true(losts > 3 && newers > 3);
    for (int i = 0; i < newers; i++) {
        assert_int_equal(invalidate(w, w->key[newer[i]], 10000), STRATA_OK);
        strata_bytes text = test_bytes("newer");
        assert_int_equal(strata_set_wait(w->in_b, w->ns_b, test_bytes(w->key[newer[i]]), text, NULL, NULL), STRATA_OK);
    }
    test_sleep_ms(700); /* replicated, and older than the last proof that the primary is one */
    assert_int_equal(sx_cluster_pause(w->cluster, 3), 0);
    free(sx_cluster_command(w->cluster, 0, "CLIENT KILL TYPE replica"));
    for (int i = 0; i < losts; i++) assert_int_equal(invalidate(w, w->key[lost[i]], 10000), STRATA_OK);
    assert_true(test_metric(w->a, "recovery.window") >= losts + newers);
    test_sleep_ms(300);
    assert_int_equal(sx_cluster_kill(w->cluster, 0), 0);
    assert_int_equal(sx_cluster_resume(w->cluster, 3), 0);
    assert_true(test_metric_wait(w->a, "recovery.queued", losts + newers, 20000));
    assert_true(owes_at_most(w, 0, 30000));
    for (int i = 0; i < losts; i++) assert_null(stored(w, w->key[lost[i]]));
    for (int i = 0; i < newers; i++) {
        const char *text = stored(w, w->key[newer[i]]);
        if (text == NULL || strcmp(text, "newer") != 0) fail_msg("%s is %s", w->key[newer[i]], text == NULL ? "gone" : text);
    }
    assert_true(test_metric(w->a, "recovery.replayed") >= losts);
    assert_true(test_metric(w->a, "recovery.superseded") >= newers);
    for (int i = 0; i < losts; i++) assert_null(test_get(w->in_b, w->ns_b, w->key[lost[i]])); /* nor proven from L1 */
    world_close(w);
}

/* What failed is executed at last, at a primary whose replica hears nothing; that takes over, with the old values. */
static void what_was_repeated_is_so_again_after_a_failover(void **state) {
    (void)state;
    world *w = world_open(1, 1500, TEST_OPTIONS("l2.breaker_open", "100ms"));
    test_sleep_ms(700); /* replicated */
    assert_int_equal(sx_cluster_pause(w->cluster, 3), 0);
    free(sx_cluster_command(w->cluster, 0, "CLIENT KILL TYPE replica"));
    assert_int_equal(sx_cluster_pause(w->cluster, 0), 0);
    int64_t queued = test_metric(w->a, "recovery.queued"), unknown = test_metric(w->a, "flow.unknown_resolved");
    for (int i = 0; i < KEYS; i++)
        if (w->node[i] == 0) assert_true(invalidate(w, w->key[i], 10) < 0);
    int64_t failed = test_metric(w->a, "recovery.queued") - queued;
    assert_true(failed > 0);
    assert_int_equal(sx_cluster_resume(w->cluster, 0), 0);
    assert_true(owes_at_most(w, 0, 30000));
    assert_true(test_metric(w->a, "flow.unknown_resolved") > unknown); /* both kinds of failure */
    for (int i = 0; i < KEYS; i++)
        if (w->node[i] == 0) assert_null(stored(w, w->key[i]));
    assert_true(test_metric(w->a, "recovery.window") >= on_node(w, 0));
    queued = test_metric(w->a, "recovery.queued");
    assert_int_equal(sx_cluster_kill(w->cluster, 0), 0);
    assert_int_equal(sx_cluster_resume(w->cluster, 3), 0);
    assert_true(test_metric_wait(w->a, "recovery.queued", queued + on_node(w, 0), 20000));
    assert_true(owes_at_most(w, 0, 30000));
    for (int i = 0; i < KEYS; i++)
        if (w->node[i] == 0) assert_null(stored(w, w->key[i]));
    world_close(w);
}

static void count_done(void *user, const strata_result *result) {
    *(int *)user += result->status == STRATA_OK;
}

/* A primary is paused, replaced and resumed, and acknowledges what it finds in its buffers before it hears of that. */
static void what_a_replaced_primary_acknowledges_is_repeated(void **state) {
    (void)state;
    world *w = world_open(1, 1500, TEST_OPTIONS("flow.l2_timeout", "30s"));
    test_sleep_ms(700);
    assert_int_equal(sx_cluster_pause(w->cluster, 0), 0);
    strata_op_options patient = {.struct_size = sizeof patient, .deadline_ms = 30000};
    int done = 0, sent = 0;
    for (int i = 0; i < KEYS; i++) {
        if (w->node[i] != 0) continue;
        assert_int_equal(strata_invalidate(w->in_a, w->ns_a, test_bytes(w->key[i]), &patient, count_done, &done), STRATA_PENDING);
        sent++;
    }
    int64_t gained = test_metric(w->a, "coherence.gained");
    free(sx_cluster_command(w->cluster, 3, "CLUSTER FAILOVER TAKEOVER"));
    assert_true(test_metric_wait(w->a, "coherence.gained", gained + 1, 30000)); /* at the successor */
    test_engine_await_trust(w->a, 30000);
    int64_t queued = test_metric(w->a, "recovery.queued");
    assert_int_equal(sx_cluster_resume(w->cluster, 0), 0);
    for (int64_t end_ms = test_now_ms() + 30000; done < sent && test_now_ms() < end_ms;) {
        (void)strata_session_dispatch(w->in_a, 0);
        test_sleep_ms(2);
    }
    print_message("acknowledged: %d of %d, repeated: %d\n", done, sent, (int)(test_metric(w->a, "recovery.queued") - queued));
    int64_t end_ms = test_now_ms() + 30000;
    for (int i = 0; i < KEYS; i++) {
        while (w->node[i] == 0 && stored(w, w->key[i]) != NULL && test_now_ms() < end_ms) test_sleep_ms(20);
        if (w->node[i] == 0) assert_null(stored(w, w->key[i]));
    }
    world_close(w);
}

/* A primary acknowledges while nobody is trusted yet, is then replaced by a replica that has heard nothing of it. */
static void what_came_before_the_first_trust_is_repeated(void **state) {
    (void)state;
    world *w = world_open(1, 1500, NULL);
    test_sleep_ms(700);
    assert_int_equal(sx_cluster_pause(w->cluster, 3), 0);
    free(sx_cluster_command(w->cluster, 0, "CLIENT KILL TYPE replica"));
    /* No heartbeat is allowed to the new one, so that it trusts nobody. */
    for (uint32_t i = 0; i < 6; i++)
        if (i != 3) free(sx_cluster_command(w->cluster, i, "ACL SETUSER blind on nopass ~* &* +@all -ssubscribe"));
    strata *blind = test_engine_open(TEST_OPTIONS("l2.nodes", sx_cluster_seeds(w->cluster), "l2.open_wait", "0s", "l2.username",
                                                  "blind", "l2.password", "any"),
                                     NULL);
    strata_session *session = test_engine_session(blind);
    strata_namespace *ns = test_engine_ns(blind, "n");
    strata_op_options patient = {.struct_size = sizeof patient, .deadline_ms = 5000};
    for (int i = 0; i < KEYS; i++) {
        if (w->node[i] != 0) continue;
        int32_t status = STRATA_E_UNAVAILABLE;
        for (int64_t end_ms = test_now_ms() + 30000; status != STRATA_OK && test_now_ms() < end_ms; test_sleep_ms(5))
            status = strata_invalidate_wait(session, ns, test_bytes(w->key[i]), &patient);
        assert_int_equal(status, STRATA_OK);
    }
    assert_int_equal(test_metric(blind, "coherence.partitions_trusted"), 0);
    assert_int_equal(sx_cluster_kill(w->cluster, 0), 0);
    assert_int_equal(sx_cluster_resume(w->cluster, 3), 0);
    test_sleep_ms(200);
    for (uint32_t i = 1; i < 6; i++) free(sx_cluster_command(w->cluster, i, "ACL SETUSER blind on nopass ~* &* +@all"));
    test_engine_await_trust(blind, 20000);
    assert_true(test_metric_wait(blind, "recovery.queued", on_node(w, 0), 30000));
    int64_t end_ms = test_now_ms() + 30000;
    while (test_metric(blind, "recovery.waiting") > 0 && test_now_ms() < end_ms) test_sleep_ms(5);
    for (int i = 0; i < KEYS; i++)
        if (w->node[i] == 0) assert_null(stored(w, w->key[i]));
    strata_session_close(session);
    strata_close(blind, 1000);
    world_close(w);
}

/* A process that trusts nobody, as long as it may not subscribe. */
typedef struct blind {
    strata *engine;
    strata_session *session;
    strata_namespace *ns;
} blind;

static void may_subscribe(world *w, bool may) {
    for (uint32_t i = may ? 1 : 0; i < 6; i++) /* 0 is dead by then */
        free(sx_cluster_command(w->cluster, i, "ACL SETUSER blind on nopass ~* &* +@all %s", may ? "+ssubscribe" : "-ssubscribe"));
}

static int32_t set_blindly(const blind *b, const char *key, const char *value, int64_t timeout_ms) {
    strata_op_options options = {.struct_size = sizeof options, .deadline_ms = 1000};
    int32_t status;
    int64_t end_ms = test_now_ms() + timeout_ms;
    while ((status = strata_set_wait(b->session, b->ns, test_bytes(key), test_bytes(value), &options, NULL)) != STRATA_OK &&
           test_now_ms() < end_ms)
        test_sleep_ms(5);
    return status;
}

static blind open_blind(world *w, const char *window) {
    blind b = {.engine = test_engine_open(TEST_OPTIONS("l2.nodes", sx_cluster_seeds(w->cluster), "l2.open_wait", "0s", "l2.username",
                                                       "blind", "l2.password", "any", "coherence.replay_window", window),
                                          NULL)};
    b.session = test_engine_session(b.engine);
    b.ns = test_engine_ns(b.engine, "n");
    assert_int_equal(set_blindly(&b, "first", "any", 5000), STRATA_OK);
    return b;
}

static void fails_blindly(const blind *b, const char *key) {
    strata_op_options hasty = {.struct_size = sizeof hasty, .deadline_ms = 10};
    assert_true(strata_invalidate_wait(b->session, b->ns, test_bytes(key), &hasty) < 0);
    assert_null(test_get(b->session, b->ns, key));
}

static bool owes_nothing(const blind *b) {
    int64_t owes = 1;
    for (int64_t end_ms = test_now_ms() + 30000; owes > 0 && test_now_ms() < end_ms; test_sleep_ms(5))
        owes = test_metric(b->engine, "recovery.waiting") + test_metric(b->engine, "flow.unknown_keys");
    return owes == 0;
}

/* What failed is executed at last by a primary that a replica replaces which has heard nothing of it. Who owed it reads nothing
   there before it can trust that one, but what it wrote there itself; what others wrote at the first it does read. */
static void what_was_repeated_is_not_read_from_a_successor(void **state) {
    (void)state;
    world *w = world_open(1, 1500, NULL);
    const char *keys[KEYS];
    int count = 0;
    for (int i = 0; i < KEYS; i++)
        if (w->node[i] == 0) keys[count++] = w->key[i];
    assert_true(count > 4);
    may_subscribe(w, false);
    blind b = open_blind(w, "30s"), brief = open_blind(w, "0s");
    test_sleep_ms(700); /* replicated */
    assert_int_equal(sx_cluster_pause(w->cluster, 3), 0);
    free(sx_cluster_command(w->cluster, 0, "CLIENT KILL TYPE replica"));
    for (int i = 0; i < count; i++) assert_string_equal(test_get(b.session, b.ns, keys[i]), "old");
    assert_string_equal(test_get(brief.session, brief.ns, keys[2]), "old");
    assert_int_equal(sx_cluster_pause(w->cluster, 0), 0);
    for (int i = 0; i < count; i++) fails_blindly(&b, keys[i]);
    fails_blindly(&brief, keys[2]);
    assert_int_equal(sx_cluster_resume(w->cluster, 0), 0);
    assert_true(owes_nothing(&b) && owes_nothing(&brief));
    assert_int_equal(test_set(w->in_b, w->ns_b, keys[0], "new"), STRATA_OK);
    assert_string_equal(test_get(b.session, b.ns, keys[0]), "new");
    assert_int_equal(sx_cluster_kill(w->cluster, 0), 0);
    assert_int_equal(sx_cluster_resume(w->cluster, 3), 0);
    assert_int_equal(set_blindly(&b, keys[1], "own", 20000), STRATA_OK);
    assert_string_equal(test_get(b.session, b.ns, keys[1]), "own");
    for (int i = 0; i < count; i++) {
        if (i == 1) continue;
        assert_null(test_get(b.session, b.ns, keys[i]));
        assert_string_equal(stored(w, keys[i]), "old"); /* to everybody else, until it is repeated */
    }
    assert_string_equal(test_get(brief.session, brief.ns, keys[2]), "old"); /* for as long as the window */
    assert_int_equal(test_metric(b.engine, "coherence.partitions_trusted"), 0);
    int64_t queued = test_metric(b.engine, "recovery.queued");
    may_subscribe(w, true);
    assert_true(test_metric_wait(b.engine, "recovery.queued", queued + count, 20000));
    assert_true(owes_nothing(&b));
    for (int i = 2; i < count; i++) assert_null(stored(w, keys[i]));
    assert_int_equal(test_set(w->in_b, w->ns_b, keys[2], "newer"), STRATA_OK);
    test_sleep_ms(100);
    assert_string_equal(test_get(b.session, b.ns, keys[2]), "newer"); /* nothing is hidden any more */
    strata_session_close(b.session);
    strata_session_close(brief.session);
    strata_close(b.engine, 1000);
    strata_close(brief.engine, 1000);
    world_close(w);
}

static void keep_load(strata_load *load, void *user) { *(strata_load **)user = load; }

/* A lease that a replica has heard of, but not of the invalidation that removed it, whose sender is gone: when it has taken
   over, what was loaded under that lease is not stored there. */
static void a_successor_takes_no_fill_for_anothers_lease(void **state) {
    (void)state;
    world *w = world_open(1, 1500, TEST_OPTIONS("coherence.lease", "30s"));
    int k = 0, done = 0;
    while (w->node[k] != 0) k++;
    assert_int_equal(invalidate(w, w->key[k], 10000), STRATA_OK);
    while (test_peek(w->in_b, w->ns_b, w->key[k]) != NULL) test_sleep_ms(1);
    strata_load *load = NULL;
    strata_result result;
    strata_op_options patient = {.struct_size = sizeof patient, .deadline_ms = 30000};
    assert_int_equal(strata_get_or_load(w->in_b, w->ns_b, test_bytes(w->key[k]), &patient, keep_load, &load, &result, count_done, &done),
                     STRATA_PENDING);
    while (load == NULL) strata_session_wait(w->in_b, 10);
    test_sleep_ms(700); /* replicated */
    assert_int_equal(sx_cluster_pause(w->cluster, 3), 0);
    free(sx_cluster_command(w->cluster, 0, "CLIENT KILL TYPE replica"));
    strata *sender = test_engine_open(TEST_OPTIONS("l2.nodes", sx_cluster_seeds(w->cluster), "l2.open_wait", "5s"), NULL);
    strata_session *session = test_engine_session(sender);
    strata_namespace *ns = test_engine_ns(sender, "n");
    free(sx_cluster_command(w->cluster, 0, "CLIENT KILL TYPE pubsub")); /* who loads doesn't hear of it */
    assert_int_equal(strata_invalidate_wait(session, ns, test_bytes(w->key[k]), &patient), STRATA_OK);
    strata_session_close(session);
    strata_close(sender, 1000);
    assert_int_equal(sx_cluster_kill(w->cluster, 0), 0);
    assert_int_equal(sx_cluster_resume(w->cluster, 3), 0);
    int64_t bumps = test_metric(w->b, "coherence.generation_bumps");
    assert_true(test_metric_wait(w->b, "coherence.generation_bumps", bumps + 1, 20000));
    test_engine_await_trust(w->b, 30000);
    assert_int_equal(strata_load_finish(load, STRATA_OK, test_bytes("old"), NULL), STRATA_OK);
    while (done == 0) strata_session_wait(w->in_b, 10);
    assert_null(test_peek(w->in_b, w->ns_b, w->key[k]));
    test_sleep_ms(100);
    assert_null(stored(w, w->key[k]));
    world_close(w);
}

static int kept(world *w) {
    int count = 0;
    for (int i = 0; i < KEYS; i++) count += stored(w, w->key[i]) != NULL;
    return count;
}

static void recovery_is_bounded(void **state) {
    (void)state;
    world *w = world_open(0, 30000, TEST_OPTIONS("coherence.recovery_ops_max", "5", "l2.breaker_open", "3s"));
    assert_true(test_metric(w->a, "recovery.overflowed") == 0);
    for (uint32_t node = 0; node < 3; node++) assert_int_equal(sx_cluster_pause(w->cluster, node), 0);
    for (int i = 0; i < KEYS; i++) assert_true(invalidate(w, w->key[i], 20) < 0);
    assert_int_equal(test_metric(w->a, "recovery.waiting"), 5);
    assert_true(test_metric(w->a, "recovery.overflowed") > 0);
    for (uint32_t node = 0; node < 3; node++) assert_int_equal(sx_cluster_resume(w->cluster, node), 0);
    assert_true(owes_at_most(w, 0, 70000)); /* the breaker */
    assert_true(test_metric_wait(w->a, "recovery.cleared", 1, 30000));
    for (int64_t end_ms = test_now_ms() + 30000; kept(w) != 0 && test_now_ms() < end_ms;) test_sleep_ms(50);
    assert_int_equal(kept(w), 0); /* what could not be remembered is cleared instead */
    world_close(w);
}

static void carry(world *w, const char *name) {
    char port[8];
    snprintf(port, sizeof port, "%u", sx_cluster_port(w->cluster, 1));
    const char *argv[] = {"MIGRATE", "127.0.0.1", port, "", "0", "5000", "KEYS", name};
    char *answer = sx_cluster_command_argv(w->cluster, 0, 8, argv);
    assert_string_equal(answer, "OK");
    free(answer);
}

/* Key and counter on different sides of a slot that moves: nothing can be executed, so the holders are warned, and the
   invalidation happens when the slot has arrived. */
static void tryagain_is_warned_of_and_repeated(void **state) {
    (void)state;
    world *w = world_open(0, 1500, NULL);
    int k = 0;
    while (w->node[k] != 0) k++;
    test_place place = test_place_of(w->key[k]);
    assert_int_equal(sx_cluster_slot_migrating(w->cluster, place.slot, 1), 0);
    char name[64];
    snprintf(name, sizeof name, "{%s}s1:n:1:%s", place.tag, w->key[k]);
    carry(w, name);
    int64_t untrusts = test_metric(w->a, "flow.untrusts"), lost = test_metric(w->b, "coherence.lost");
    int32_t status = invalidate(w, w->key[k], 1500); /* time enough for many refusals; where it ends in an attempt, that one's fate is told */
    assert_true(status == STRATA_E_L2_DOWN || status == STRATA_E_TIMEOUT || status == STRATA_E_UNKNOWN_OUTCOME);
    assert_true(test_metric(w->a, "flow.untrusts") > untrusts); /* by now: the warning is not put off */
    assert_true(test_metric_wait(w->b, "coherence.lost", lost + 1, 30000));
    assert_int_equal(owed(w), 1);
    assert_null(test_get(w->in_a, w->ns_a, w->key[k]));
    for (;;) {
        char *rest = sx_cluster_command(w->cluster, 0, "CLUSTER GETKEYSINSLOT %u 1", place.slot);
        bool moved = rest[0] != 0;
        if (moved) carry(w, rest);
        free(rest);
        if (!moved) break;
    }
    assert_true(owes_at_most(w, 0, 15000)); /* all is at the target: ASK works */
    assert_int_equal(sx_cluster_slot_give(w->cluster, place.slot, 1), 0);
    assert_null(stored(w, w->key[k]));
    test_engine_await_trust(w->b, 30000);
    assert_null(test_get(w->in_b, w->ns_b, w->key[k]));
    world_close(w);
}

int main(void) {
    if (!sx_cluster_available()) return 77;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_failed_is_repeated_when_its_server_is_back),
        cmocka_unit_test(a_later_write_settles_what_failed),
        cmocka_unit_test(a_failover_undoes_no_acknowledged_invalidation),
        cmocka_unit_test(what_was_repeated_is_so_again_after_a_failover),
        cmocka_unit_test(what_a_replaced_primary_acknowledges_is_repeated),
        cmocka_unit_test(what_came_before_the_first_trust_is_repeated),
        cmocka_unit_test(what_was_repeated_is_not_read_from_a_successor),
        cmocka_unit_test(a_successor_takes_no_fill_for_anothers_lease),
        cmocka_unit_test(recovery_is_bounded),
        cmocka_unit_test(tryagain_is_warned_of_and_repeated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
