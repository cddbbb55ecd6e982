/* SPDX-License-Identifier: Apache-2.0 */
/* A slot moved to another primary and back, again and again, while two engines write and read it: no read is older than
   the bound allows, and what was acknowledged is there in the end. */
// ctest: timeout=300
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <pthread.h>
#include <stdatomic.h>

#include <cmocka.h>

#include "tests/support/cluster.h"
#include "tests/support/engine.h"
#include "tests/support/place.h"

#define STALENESS_MS 500
#define KEYS         12 /* all of the partition whose slot moves */
#define MOVES        8

typedef struct world {
    strata *writer, *reader;
    char key[KEYS][16];
    _Atomic int stop, hold; /* hold: the writer rests */
    _Atomic int64_t acked[KEYS], acked_ms[KEYS], tried[KEYS]; /* newest value acknowledged, when; newest sent */
    _Atomic int64_t sets, failures, unknown, reads, fresh, misses, stale, wrong;
} world;

static void *write_all(void *argument) {
    world *w = argument;
    strata_session *session = test_engine_session(w->writer);
    strata_namespace *ns = test_engine_ns(w->writer, "moving");
    strata_op_options options = {.struct_size = sizeof options, .deadline_ms = 400};
    for (int i = 0; !atomic_load(&w->stop); i = (i + 1) % KEYS) {
        if (atomic_load(&w->hold)) {
            test_sleep_ms(1);
            i--;
            continue;
        }
        char text[32];
        int64_t value = atomic_fetch_add(&w->tried[i], 1) + 1;
        snprintf(text, sizeof text, "%lld", (long long)value);
        int32_t status = strata_set_wait(session, ns, test_bytes(w->key[i]), test_bytes(text), &options, NULL);
        if (status == STRATA_OK) {
            atomic_store(&w->acked_ms[i], test_now_ms());
            atomic_store(&w->acked[i], value);
            atomic_fetch_add(&w->sets, 1);
        } else {
            atomic_fetch_add(status == STRATA_E_UNKNOWN_OUTCOME ? &w->unknown : &w->failures, 1);
        }
        test_sleep_ms(2);
    }
    strata_session_close(session);
    return NULL;
}

static int64_t number(const strata_result *result) {
    char text[32] = "";
    if (result->value.size < sizeof text) memcpy(text, result->value.data, result->value.size);
    return atoll(text);
}

static void *read_all(void *argument) {
    world *w = argument;
    strata_session *session = test_engine_session(w->reader);
    strata_namespace *ns = test_engine_ns(w->reader, "moving");
    strata_op_options options = {.struct_size = sizeof options, .deadline_ms = 300};
    int64_t last[KEYS] = {0};
    for (int i = 0; !atomic_load(&w->stop); i = (i + 1) % KEYS) {
        int64_t acked_ms = atomic_load(&w->acked_ms[i]), acked = atomic_load(&w->acked[i]), start_ms = test_now_ms();
        strata_result result;
        int32_t status = strata_get_wait(session, ns, test_bytes(w->key[i]), &options, &result);
        if (status == STRATA_OK) {
            int64_t got = number(&result);
            bool l1 = result.source == STRATA_FROM_L1;
            atomic_fetch_add(&w->reads, 1);
            if (l1) atomic_fetch_add(&w->fresh, 1);
            if (got < acked && (!l1 || acked_ms + STALENESS_MS < start_ms)) {
                atomic_fetch_add(&w->stale, 1);
                fprintf(stderr, "%s: %lld from %s, %lld acknowledged %lld ms before\n", w->key[i], (long long)got,
                        l1 ? "L1" : "L2", (long long)acked, (long long)(start_ms - acked_ms));
            }
            if (got < last[i]) atomic_fetch_add(&w->wrong, 1); /* goes back */
            last[i] = got;
            strata_result_release(session, &result);
        } else if (status == STRATA_MISS && acked != 0 && atomic_load(&w->unknown) == 0) {
            atomic_fetch_add(&w->misses, 1);
        }
        if (i == 0) test_sleep_ms(1);
    }
    strata_session_close(session);
    return NULL;
}

static void run(const char *beat_counters, uint32_t rest_ms, bool hold) {
    sx_cluster *cluster = test_cluster_start(&(sx_cluster_options){.primaries = 3});
    world *w = calloc(1, sizeof *w);
    for (int i = 0, n = 0; n < KEYS; i++) {
        snprintf(w->key[n], sizeof w->key[n], "m%d", i);
        if (test_place_of(w->key[n]).partition == 7) n++;
    }
    uint16_t slot = test_place_at(7).slot;
    const char *const *options = TEST_OPTIONS("l2.nodes", sx_cluster_seeds(cluster), "l2.open_wait", "5s",
                                              "coherence.beat_counters", beat_counters);
    w->writer = test_engine_open(options, NULL);
    w->reader = test_engine_open(options, NULL);
    pthread_t threads[2];
    pthread_create(&threads[0], NULL, write_all, w);
    pthread_create(&threads[1], NULL, read_all, w);
    test_sleep_ms(300);
    for (uint32_t i = 0; i < MOVES; i++) {
        uint32_t from = (uint32_t)sx_cluster_owner(cluster, slot);
        if (hold) { /* all is in the reader's L1 when the slot begins to move: it asks L2 for nothing */
            atomic_store(&w->hold, 1);
            test_sleep_ms(100);
        }
        uint32_t to = (from + 1) % 2;
        test_cluster_move_keys(cluster, slot, from, to, rest_ms);
        atomic_store(&w->hold, 0);
        test_sleep_ms(4 * rest_ms); /* everything is there, but the slot is not: every write is answered with ASK */
        assert_int_equal(sx_cluster_slot_give(cluster, slot, to), 0);
        int64_t sets = atomic_load(&w->sets), fresh = atomic_load(&w->fresh);
        for (int t = 0; t < 3000 && (atomic_load(&w->sets) < sets + KEYS || atomic_load(&w->fresh) < fresh + KEYS); t++)
            test_sleep_ms(10);
        assert_true(atomic_load(&w->sets) >= sets + KEYS); /* all goes on by itself */
        assert_true(atomic_load(&w->fresh) >= fresh + KEYS);
    }
    atomic_store(&w->stop, 1);
    for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
    fprintf(stderr, "sets %lld (failed %lld, unknown %lld), reads %lld (from L1 %lld), ask %lld\n", (long long)w->sets,
            (long long)w->failures, (long long)w->unknown, (long long)w->reads, (long long)w->fresh,
            (long long)test_metric(w->writer, "l2.ask"));
    assert_true(test_metric(w->writer, "l2.ask") > 0);
    strata_session *session = test_engine_session(w->reader);
    strata_namespace *ns = test_engine_ns(w->reader, "moving");
    for (int i = 0; i < KEYS; i++) {
        strata_result result;
        strata_op_options bypass = {.struct_size = sizeof bypass, .flags = STRATA_BYPASS_L1};
        assert_int_equal(strata_get_wait(session, ns, test_bytes(w->key[i]), &bypass, &result), STRATA_OK);
        assert_in_range(number(&result), w->acked[i], w->tried[i]);
        strata_result_release(session, &result);
    }
    strata_session_close(session);
    assert_int_equal(w->stale, 0);
    assert_int_equal(w->wrong, 0);
    assert_int_equal(w->misses, 0);
    strata_close(w->writer, 2000);
    strata_close(w->reader, 2000);
    sx_cluster_stop(cluster);
    free(w);
}

static void a_slot_moves_under_load(void **state) {
    (void)state;
    run("256", 60, false);
}

/* The counter of the slot is read by one heartbeat in many: what UNTRUST is for. */
static void a_slot_moves_between_rare_looks_at_its_counter(void **state) {
    (void)state;
    run("2", 250, true);
}

int main(void) {
    if (!sx_cluster_available()) return 77;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_slot_moves_under_load),
        cmocka_unit_test(a_slot_moves_between_rare_looks_at_its_counter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
