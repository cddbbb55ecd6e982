/* SPDX-License-Identifier: Apache-2.0 */
/* Drills under traffic: what a paused, dead, resharded or disconnecting server costs, and for how long. STRATA_DRILL=full
   runs them at their full rates and lengths; an argument chooses one by its name. */
// ctest: timeout=600
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/flow/engine.h"
#include "core/memory/atomic.h"
#include "l2/store.h"
#include "tests/support/cluster.h"
#include "tests/support/engine.h"
#include "tests/support/place.h"
#include "tests/support/proxy.h"
#include "tests/support/traffic.h"

/* Deadlines are kept to 10 ms; the time for which a machine did not run us is taken off, not what caches lose by it. */
#define OVERRUN_US_MAX ((SX_TSAN ? 1000 : 100) * 1000)

static bool full(void) {
    const char *how = getenv("STRATA_DRILL");
    return how != NULL && strcmp(how, "full") == 0;
}

static uint32_t rate(void) { return full() ? 20000 : SX_TSAN ? 1000 : 4000; }

static sx_cluster *start_cluster(uint32_t replicas, uint32_t timeout_ms) {
    return test_cluster_start(&(sx_cluster_options){.primaries = 3, .replicas = replicas, .node_timeout_ms = timeout_ms});
}

/* Retries and readings of the map stay within their stated rules. */
static void check_bounds(strata *engine, uint64_t operations, int64_t outage_ms) {
    int64_t retries = test_metric(engine, "l2.retries"), maps = test_metric(engine, "l2.map_refreshes");
    fprintf(stderr, "retries %lld (refused %lld), maps %lld, breaker opened %lld times and refused %lld\n",
            (long long)retries, (long long)test_metric(engine, "l2.retries_refused"), (long long)maps,
            (long long)test_metric(engine, "l2.breaker_opens"), (long long)test_metric(engine, "l2.breaker_refusals"));
    assert_true(retries <= (int64_t)operations + SX_STORE_TOKENS + outage_ms * SX_STORE_TOKENS_PER_S / 1000);
    assert_true(maps <= 10 + outage_ms * 5 / 2 / 1000 * 2);
}

/* What stopped the generator stopped what it waited for. */
static void check_deadlines(const test_traffic_result *result) {
    assert_true(result->overrun_own_us_max < OVERRUN_US_MAX + result->own_pause_us_max);
}

/* Nothing failed in that time, on a machine that runs us; one that stands still now and then makes some of them late, for as long as that
   and a deadline. */
static void check_well(const test_traffic_result *result, int64_t from_ms, int64_t to_ms) {
    int64_t bad_ms = 0;
    for (int64_t ms = from_ms; ms < to_ms; ms += TEST_TRAFFIC_SLICE_MS)
        if (test_traffic_failed(result, ms, ms + TEST_TRAFFIC_SLICE_MS) != 0) bad_ms += TEST_TRAFFIC_SLICE_MS;
    if (bad_ms > (full() ? 0 : (to_ms - from_ms) * 2 / 3))
        fail_msg("%llu failed from %lld to %lld ms, in %lld of these", (unsigned long long)test_traffic_failed(result, from_ms, to_ms),
                 (long long)from_ms, (long long)to_ms, (long long)bad_ms);
}

static void a_paused_primary_costs_little(void **state) {
    (void)state;
    sx_cluster *cluster = start_cluster(0, 30000); /* nobody takes over, nobody notices */
    test_traffic_options how = {.rate = rate(), .keys = 1000, .writes = 20, .deadline_ms = 200};
    test_traffic *traffic = test_traffic_start(sx_cluster_seeds(cluster), NULL, &how);
    test_sleep_ms(1000);
    assert_int_equal(sx_cluster_pause(cluster, 0), 0);
    int64_t paused_ms = test_traffic_ms(traffic);
    const uint32_t pause_ms = full() ? 5000 : 3000;
    test_sleep_ms(pause_ms);
    assert_int_equal(sx_cluster_resume(cluster, 0), 0);
    test_sleep_ms(3000);
    int64_t end_ms = test_traffic_ms(traffic);
    check_bounds(test_traffic_engine(traffic), (uint64_t)rate() * (uint64_t)end_ms / 1000, end_ms - paused_ms);
    test_traffic_result *result = test_traffic_stop(traffic);
    test_traffic_print(result, "a paused primary");
    assert_int_equal(result->wrong, 0);
    assert_int_equal(result->lost_writes, 0);
    check_deadlines(result);
    assert_true(test_traffic_failed(result, paused_ms, end_ms) > 0);
    check_well(result, 0, paused_ms - TEST_TRAFFIC_SLICE_MS);
    check_well(result, end_ms - 1000, end_ms);
    free(result);
    sx_cluster_stop(cluster);
}

/* A read of traffic's engine is answered, at last. */
static void await_service(test_traffic *traffic) {
    strata_session *session = test_engine_session(test_traffic_engine(traffic));
    strata_namespace *ns = test_engine_ns(test_traffic_engine(traffic), "traffic");
    strata_op_options past_l1 = {.struct_size = sizeof past_l1, .flags = STRATA_BYPASS_L1, .deadline_ms = 200};
    strata_result result = {.status = STRATA_E_UNAVAILABLE};
    for (int64_t end_ms = test_now_ms() + 30000; result.status < 0 && test_now_ms() < end_ms; test_sleep_ms(10))
        result.status = strata_get_wait(session, ns, test_bytes("t0"), &past_l1, &result);
    assert_true(result.status >= 0);
    if (result.status == STRATA_OK) strata_result_release(session, &result);
    strata_session_close(session);
}

/* It accepts connections, also new ones, and takes whatever is sent. */
static void a_server_that_never_answers_keeps_no_deadline_waiting(void **state) {
    (void)state;
    sx_cluster *cluster = test_cluster_start(&(sx_cluster_options){.primaries = 0});
    const uint16_t port = sx_cluster_port(cluster, 0);
    proxy *between = proxy_start(&port, 1);
    assert_non_null(between);
    char seeds[32];
    snprintf(seeds, sizeof seeds, "127.0.0.1:%u", proxy_port(between, 0));
    test_traffic_options how = {.rate = rate() / 2, .keys = 1000, .writes = 20, .deadline_ms = 200};
    test_traffic *traffic = test_traffic_start(seeds, NULL, &how);
    test_sleep_ms(1000);
    const proxy_fault silent = {.kind = PROXY_DROP, .until_ns = INT64_MAX, .percent = 100, .to_server = true, .to_client = true};
    int64_t silent_ms = test_traffic_ms(traffic);
    proxy_set(between, 0, &silent);
    test_sleep_ms(full() ? 5000 : 3000);
    int64_t speaks_ms = test_traffic_ms(traffic);
    proxy_set(between, 0, &(proxy_fault){.kind = PROXY_GOOD});
    await_service(traffic);
    int64_t end_ms = test_traffic_ms(traffic);
    check_bounds(test_traffic_engine(traffic), (uint64_t)rate() * (uint64_t)end_ms / 1000, end_ms - silent_ms);
    test_traffic_result *result = test_traffic_stop(traffic);
    test_traffic_print(result, "a server that never answers");
    fprintf(stderr, "silent from %lld to %lld ms, in service at %lld ms\n", (long long)silent_ms, (long long)speaks_ms, (long long)end_ms);
    assert_int_equal(result->wrong, 0);
    assert_int_equal(result->lost_writes, 0);
    assert_true(test_traffic_failed(result, silent_ms, speaks_ms) > 0);
    if (full()) { /* else the machine may be anything */
        check_well(result, 0, silent_ms - TEST_TRAFFIC_SLICE_MS);
        assert_true(result->overrun_own_us_max < OVERRUN_US_MAX);
    }
    free(result);
    proxy_stop(between);
    sx_cluster_stop(cluster);
}

/* Until the slot has an owner that calls the cluster ok again: when that was, by the traffic's clock. */
static int64_t promoted(sx_cluster *cluster, uint16_t slot, const test_traffic *traffic) {
    for (int i = 0; i < 1500; i++) {
        int owner = sx_cluster_owner(cluster, slot);
        if (owner >= 0) {
            char *info = sx_cluster_command(cluster, (uint32_t)owner, "CLUSTER INFO");
            bool ok = strstr(info, "cluster_state:ok") != NULL;
            free(info);
            if (ok) return test_traffic_ms(traffic);
        }
        test_sleep_ms(10);
    }
    fail_msg("nobody was promoted");
    return 0;
}

static void a_dead_primary_costs_the_failover(void **state) {
    (void)state;
    sx_cluster *cluster = start_cluster(1, 1500);
    test_traffic_options how = {.rate = rate(), .keys = 1000, .writes = 20, .deadline_ms = 200, .may_lose = true};
    test_traffic *traffic = test_traffic_start(sx_cluster_seeds(cluster), NULL, &how);
    test_sleep_ms(full() ? 5000 : 2000);
    int64_t killed_ms = test_traffic_ms(traffic);
    assert_int_equal(sx_cluster_kill(cluster, 1), 0);
    int64_t promoted_ms = promoted(cluster, 8192, traffic);
    test_sleep_ms(full() ? 8000 : 5000);
    int64_t end_ms = test_traffic_ms(traffic);
    check_bounds(test_traffic_engine(traffic), (uint64_t)rate() * (uint64_t)end_ms / 1000, end_ms - killed_ms);
    test_traffic_result *result = test_traffic_stop(traffic);
    test_traffic_print(result, "a dead primary");
    int64_t well_ms = promoted_ms;
    while (well_ms < promoted_ms + 4000 && test_traffic_failed(result, well_ms, promoted_ms + 4000) > 0)
        well_ms += TEST_TRAFFIC_SLICE_MS;
    fprintf(stderr, "killed at %lld ms, promoted at %lld ms; the last error %lld ms after; p99 by then:",
            (long long)killed_ms, (long long)promoted_ms, (long long)(well_ms - promoted_ms));
    for (int64_t ms = promoted_ms; ms < promoted_ms + 3000; ms += 250)
        fprintf(stderr, " %u", test_traffic_p99_us(result, ms));
    fprintf(stderr, " us every 250 ms, %u before\n", test_traffic_p99_us(result, killed_ms - 500));
    assert_int_equal(result->wrong, 0);
    check_well(result, 0, killed_ms - TEST_TRAFFIC_SLICE_MS);
    check_well(result, promoted_ms + 2000, end_ms);
    check_deadlines(result);
    free(result);
    sx_cluster_stop(cluster);
}

static void resharding_fails_nothing(void **state) {
    (void)state;
    sx_cluster *cluster = start_cluster(0, 0);
    test_traffic_options how = {.rate = rate() / 2, .keys = 2000, .writes = 20, .deadline_ms = 3000};
    test_traffic *traffic = test_traffic_start(sx_cluster_seeds(cluster), NULL, &how);
    test_sleep_ms(1000);
    int64_t began_ms = test_traffic_ms(traffic);
    const uint32_t slots = full() ? 100 : 40;
    for (uint32_t i = 0; i < slots; i++) { /* each of them has keys */
        uint16_t slot = test_place_at(i).slot;
        int from = sx_cluster_owner(cluster, slot);
        assert_true(from >= 0);
        test_cluster_move_slot(cluster, slot, (uint32_t)from, ((uint32_t)from + 1) % 3, 5);
    }
    int64_t moved_ms = test_traffic_ms(traffic);
    test_sleep_ms(1000);
    fprintf(stderr, "%u slots in %lld ms: ask %lld, moved %lld, maps %lld, retries %lld\n", slots,
            (long long)(moved_ms - began_ms), (long long)test_metric(test_traffic_engine(traffic), "l2.ask"),
            (long long)test_metric(test_traffic_engine(traffic), "l2.moved"),
            (long long)test_metric(test_traffic_engine(traffic), "l2.map_refreshes"),
            (long long)test_metric(test_traffic_engine(traffic), "l2.retries"));
    /* Few operations of a slow build meet the moment in which a slot is on its way: then the map's news is all. */
    assert_true(test_metric(test_traffic_engine(traffic), SX_TSAN ? "l2.map_refreshes" : "l2.ask") > 0);
    test_traffic_result *result = test_traffic_stop(traffic);
    test_traffic_print(result, "resharding");
    assert_int_equal(result->reads_failed, 0);
    assert_int_equal(result->writes_failed, 0);
    assert_int_equal(result->wrong, 0); /* nothing goes back: no write was executed twice */
    assert_int_equal(result->missing, 0);
    assert_int_equal(result->lost_writes, 0);
    free(result);
    sx_cluster_stop(cluster);
}

static void killed_clients_come_back(void **state) {
    (void)state;
    sx_cluster *cluster = start_cluster(0, 0);
    test_traffic_options how = {.rate = rate(), .keys = 1000, .writes = 20, .deadline_ms = 2000};
    test_traffic *traffic = test_traffic_start(sx_cluster_seeds(cluster), NULL, &how);
    test_sleep_ms(1500);
    int64_t began_ms = test_traffic_ms(traffic);
    for (int round = 0; round < 3; round++) { /* connections that have been well for a while */
        for (uint32_t i = 0; i < 3; i++) {
            free(sx_cluster_command(cluster, i, "CLIENT KILL TYPE normal"));
            free(sx_cluster_command(cluster, i, "CLIENT KILL TYPE pubsub"));
        }
        test_sleep_ms(1300);
    }
    test_sleep_ms(1000);
    int64_t end_ms = test_traffic_ms(traffic);
    check_bounds(test_traffic_engine(traffic), (uint64_t)rate() * (uint64_t)end_ms / 1000, end_ms - began_ms);
    test_traffic_result *result = test_traffic_stop(traffic);
    test_traffic_print(result, "killed clients");
    assert_int_equal(result->wrong, 0);
    assert_int_equal(result->lost_writes, 0);
    assert_int_equal(result->reads_failed, 0); /* each is tried again */
    assert_true(result->unknown > 0 || result->writes_failed == 0); /* others fail only behind one of unknown outcome */
    check_deadlines(result);
    free(result);
    sx_cluster_stop(cluster);
}

/* ---- who shares a flight ---- */

static strata_load *kept;
static void keep_load(strata_load *load, void *user) {
    (void)user;
    kept = load;
}

typedef struct told {
    int32_t status;
    strata_source source;
    int64_t at_ms;
    int count;
} told;

static void tell(void *user, const strata_result *result) {
    told *t = user;
    t->status = result->status;
    t->source = result->source;
    t->at_ms = test_now_ms();
    t->count++;
}

static void wait_told(strata_session *session, told *t) {
    for (int i = 0; i < 3000 && t->count == 0; i++) strata_session_wait(session, 10);
    assert_int_equal(t->count, 1);
}

/* An engine over one server. */
typedef struct one {
    sx_cluster *cluster;
    strata *engine;
    strata_session *session;
    strata_namespace *ns;
} one;

static one one_open(const char *option, const char *value) {
    one o = {.cluster = test_cluster_start(&(sx_cluster_options){0})};
    o.engine = test_engine_open(TEST_OPTIONS("l2.nodes", sx_cluster_seeds(o.cluster), "l2.open_wait", "5s", option, value), NULL);
    o.session = test_engine_session(o.engine);
    o.ns = test_engine_ns(o.engine, "n");
    return o;
}

static void one_close(one *o) {
    strata_session_close(o->session);
    strata_close(o->engine, 2000);
    sx_cluster_stop(o->cluster);
}

/* The first of two operations on one key fails for want of time; the second has more. */
static void start_two(one *o, told *first, told *second) {
    strata_op_options brief = {.struct_size = sizeof brief, .deadline_ms = 300};
    strata_op_options patient = {.struct_size = sizeof patient, .deadline_ms = 6000};
    strata_result result;
    assert_int_equal(sx_cluster_kill(o->cluster, 0), 0);
    test_sleep_ms(50);
    assert_int_equal(strata_get(o->session, o->ns, test_bytes("k"), &brief, &result, tell, first), STRATA_PENDING);
    test_sleep_ms(50);
    assert_int_equal(strata_get(o->session, o->ns, test_bytes("k"), &patient, &result, tell, second), STRATA_PENDING);
}

/* What is loaded is there, whether L2 takes it or not. */
static void a_fill_that_hangs_keeps_nobody(void **state) {
    (void)state;
    one o = one_open("flow.l2_timeout", "15s");
    strata_op_options options = {.struct_size = sizeof options, .deadline_ms = 1500};
    strata_result result;
    told loader = {0}, reader = {0};
    int64_t began_ms = test_now_ms();
    assert_int_equal(strata_get_or_load(o.session, o.ns, test_bytes("k"), &options, keep_load, NULL, &result, tell, &loader),
                     STRATA_PENDING);
    for (int i = 0; i < 3000 && kept == NULL; i++) strata_session_wait(o.session, 10);
    assert_non_null(kept);
    assert_int_equal(strata_get_or_load(o.session, o.ns, test_bytes("k"), &options, keep_load, NULL, &result, tell, &reader),
                     STRATA_PENDING);
    assert_int_equal(sx_cluster_pause(o.cluster, 0), 0);
    assert_int_equal(strata_load_finish(kept, STRATA_OK, test_bytes("loaded"), NULL), STRATA_OK);
    wait_told(o.session, &loader);
    wait_told(o.session, &reader);
    assert_int_equal(loader.status, STRATA_OK);
    assert_int_equal(reader.status, STRATA_OK);
    assert_int_equal(reader.source, STRATA_FROM_LOADER);
    assert_true(reader.at_ms - began_ms < 10000);
    assert_int_equal(sx_cluster_resume(o.cluster, 0), 0);
    test_engine_await_trust(o.engine, 30000);
    assert_string_equal(test_get(o.session, o.ns, "k"), "loaded"); /* L2 took it in the end */
    one_close(&o);
}

/* Who joins a flight has time of their own, which does not end with that of the one who began it. */
static void a_joiner_has_its_own_time(void **state) {
    (void)state;
    one o = one_open("l2.breaker_failures", "0");
    told first = {0}, second = {0};
    start_two(&o, &first, &second);
    wait_told(o.session, &first);
    assert_true(first.status == STRATA_E_UNAVAILABLE || first.status == STRATA_E_TIMEOUT);
    test_sleep_ms(500);
    assert_int_equal(second.count, 0);
    assert_int_equal(sx_cluster_restart(o.cluster, 0), 0);
    wait_told(o.session, &second);
    assert_int_equal(second.status, STRATA_MISS);
    one_close(&o);
}

/* Refused after the first round failed for want of time: who is left is told so, once. */
static void who_is_left_is_told_of_a_refusal(void **state) {
    (void)state;
    one o = one_open("l2.breaker_failures", "0");
    told first = {0}, second = {0};
    start_two(&o, &first, &second);
    atomic_store(&o.engine->refused, STRATA_E_LAYOUT); /* as where a server of another layout is met meanwhile */
    wait_told(o.session, &first);
    wait_told(o.session, &second);
    assert_int_equal(second.status, STRATA_E_LAYOUT);
    one_close(&o);
}

int main(int argc, char **argv) {
    if (!sx_cluster_available()) return 77;
    if (argc > 1) cmocka_set_test_filter(argv[1]); /* one drill: its name */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_fill_that_hangs_keeps_nobody),
        cmocka_unit_test(a_joiner_has_its_own_time),
        cmocka_unit_test(who_is_left_is_told_of_a_refusal),
        cmocka_unit_test(a_paused_primary_costs_little),
        cmocka_unit_test(a_server_that_never_answers_keeps_no_deadline_waiting),
        cmocka_unit_test(a_dead_primary_costs_the_failover),
        cmocka_unit_test(resharding_fails_nothing),
        cmocka_unit_test(killed_clients_come_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
