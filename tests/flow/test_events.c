/* SPDX-License-Identifier: Apache-2.0 */
/* Events: each thing that happens is told once, in its order, or counted as dropped; and nothing is kept where nobody watches. */
#include "tests/flow/fixture.h"

#include <stdio.h>

#include <pthread.h>

#include "core/flow/engine.h"

static int setup(void **state) {
    return fixture_setup(state, TEST_OPTIONS("l2.mode", "none", "flow.ttl_jitter", "0", "l1.bytes", "1MiB"));
}

static size_t drain(fixture *f, strata_event *out, size_t max, uint64_t *dropped) {
    size_t count = 99;
    assert_int_equal(strata_events_drain(f->engine, out, max, &count, dropped), STRATA_OK);
    return count;
}

static uint64_t hash_of(fixture *f, const char *key) {
    uint64_t hash = 0;
    assert_int_equal(strata_event_key(f->ns, test_bytes(key), &hash), STRATA_OK);
    return hash;
}

static void what_happens_is_told(void **state) {
    fixture *f = *state;
    strata_event events[16];
    uint64_t dropped = 99;
    assert_int_equal(test_set(f->session, f->ns, "k", "v"), STRATA_OK);
    (void)fixture_peek(f, "k");
    assert_int_equal(drain(f, events, 16, &dropped), 0); /* nobody watched */
    assert_int_equal(strata_events_watch(f->engine, STRATA_EVENTS_ALL & ~(1u << STRATA_EVENT_EVICTED), 0), STRATA_OK);
    assert_int_equal(fixture_peek(f, "k"), STRATA_OK);
    fixture_advance(f, 5);
    assert_int_equal(fixture_peek(f, "none"), STRATA_MISS);
    assert_int_equal(fixture_get(f, "k"), STRATA_OK);
    assert_int_equal(fixture_get_or_load(f, "loaded", NULL), STRATA_OK);
    size_t count = drain(f, events, 16, &dropped);
    assert_int_equal(dropped, 0);
    assert_int_equal(count, 5);
    const strata_event *own[5], *of_loop = NULL;
    int owns = 0;
    for (size_t i = 0; i < count; i++) {
        assert_ptr_equal(events[i].ns, f->ns);
        if (events[i].kind == STRATA_EVENT_LOAD) of_loop = &events[i];
        else own[owns++] = &events[i];
    }
    assert_non_null(of_loop);
    assert_true(of_loop->key_hash == hash_of(f, "loaded") && of_loop->status == STRATA_OK && of_loop->value >= 0);
    const strata_event_kind kinds[] = {STRATA_EVENT_HIT, STRATA_EVENT_MISS, STRATA_EVENT_HIT, STRATA_EVENT_MISS};
    const char *const keys[] = {"k", "none", "k", "loaded"};
    for (int i = 0; i < 4; i++) {
        assert_int_equal(own[i]->kind, kinds[i]);
        assert_true(own[i]->key_hash == hash_of(f, keys[i]));
    }
    assert_true(own[1]->time_ns - own[0]->time_ns == 5 * SX_NS_PER_MS);
    assert_int_equal(drain(f, events, 16, NULL), 0); /* once */
    assert_int_equal(strata_events_watch(f->engine, 1u << STRATA_EVENT_MISS, 0), STRATA_OK);
    (void)fixture_peek(f, "k");
    (void)fixture_peek(f, "none");
    assert_int_equal(drain(f, events, 16, NULL), 1);
    assert_int_equal(events[0].kind, STRATA_EVENT_MISS);
    (void)fixture_peek(f, "none");
    assert_int_equal(strata_events_watch(f->engine, 0, 0), STRATA_OK);
    (void)fixture_peek(f, "none");
    assert_int_equal(drain(f, events, 16, NULL), 0);
}

static void a_full_ring_drops_and_says_so(void **state) {
    fixture *f = *state;
    strata_event events[64];
    uint64_t dropped;
    assert_int_equal(strata_events_watch(f->engine, 1u << STRATA_EVENT_MISS, 16), STRATA_OK);
    for (int i = 0; i < 40; i++) {
        char key[16];
        snprintf(key, sizeof key, "%d", i);
        (void)fixture_peek(f, key);
    }
    assert_int_equal(drain(f, events, 10, &dropped), 10);
    assert_int_equal(dropped, 24);
    assert_true(events[0].key_hash == hash_of(f, "0") && events[9].key_hash == hash_of(f, "9"));
    (void)fixture_peek(f, "next");
    assert_int_equal(drain(f, events, 64, &dropped), 7);
    assert_int_equal(dropped, 0);
    assert_true(events[0].key_hash == hash_of(f, "10") && events[6].key_hash == hash_of(f, "next"));
    strata_session *other = test_engine_session(f->engine); /* opened while somebody watches */
    assert_null(test_peek(other, f->ns, "none"));
    assert_int_equal(drain(f, events, 64, NULL), 1);
    for (int i = 0; i < 3; i++) assert_null(test_peek(other, f->ns, "none"));
    strata_session_close(other);
    assert_int_equal(drain(f, events, 64, &dropped), 0);
    assert_int_equal(dropped, 3); /* went with it */
}

/* Drains until so many of a kind have come for each of the keys' numbers that are set, or ever. */
enum { MANY = 3000, RING = 8192 };
static int drain_left(fixture *f, strata_event_kind kind, const uint64_t *hashes, bool *gone, int already) {
    static strata_event events[RING];
    size_t count = drain(f, events, RING, NULL);
    for (size_t e = 0; e < count; e++) {
        if (events[e].kind != kind) continue;
        assert_ptr_equal(events[e].ns, f->ns);
        assert_in_range(events[e].value, 200, 1000);
        int i = 0;
        while (i < MANY && hashes[i] != events[e].key_hash) i++;
        assert_true(i < MANY && !gone[i]); /* one of ours, and once */
        gone[i] = true;
        already++;
    }
    return already;
}

static void what_leaves_l1_is_told(void **state) {
    fixture *f = *state;
    static uint64_t hashes[MANY];
    static bool evicted[MANY], expired[MANY];
    char value[280], key[16];
    int out = 0, over = 0;
    memset(value, 'v', sizeof value - 1);
    value[sizeof value - 1] = 0;
    memset(evicted, 0, sizeof evicted);
    memset(expired, 0, sizeof expired);
    assert_int_equal(strata_events_watch(f->engine, 1u << STRATA_EVENT_EVICTED, RING), STRATA_OK);
    for (int i = 0; i < MANY; i++) {
        snprintf(key, sizeof key, "%d", i);
        hashes[i] = hash_of(f, key);
        while (test_set(f->session, f->ns, key, value) == STRATA_E_OVERLOADED) test_sleep_ms(1);
    }
    out = drain_left(f, STRATA_EVENT_EVICTED, hashes, evicted, out);
    assert_true(out > 0);
    int64_t evictions = -1;
    for (int i = 0; i < 100; i++) { /* the keeper goes on for a little, and tells of its own later */
        int64_t before = evictions;
        evictions = test_metric(f->engine, "l1.evictions");
        if (out == evictions && before == evictions) break;
        test_sleep_ms(100);
        out = drain_left(f, STRATA_EVENT_EVICTED, hashes, evicted, out);
    }
    assert_int_equal(out, evictions);
    for (int i = 0; i < MANY; i++) {
        snprintf(key, sizeof key, "%d", i);
        if (evicted[i]) assert_int_equal(fixture_peek(f, key), STRATA_MISS);
    }
    /* Watched no more, nothing is told; and what expires is another kind. */
    assert_int_equal(strata_events_watch(f->engine, 1u << STRATA_EVENT_EXPIRED, 0), STRATA_OK);
    int64_t entries = test_metric(f->engine, "l1.entries");
    assert_true(entries > 0);
    fixture_advance(f, 3600 * 1000);
    for (int i = 0; i < 1000 && over < entries; i++) {
        test_sleep_ms(10);
        over = drain_left(f, STRATA_EVENT_EXPIRED, hashes, expired, over);
    }
    assert_int_equal(over, entries);
    assert_int_equal(over, test_metric(f->engine, "l1.expirations"));
}

static void writes_within_their_call_are_told(void **state) {
    fixture *f = *state;
    strata_event events[16];
    assert_int_equal(strata_events_watch(f->engine, 1u << STRATA_EVENT_SET | 1u << STRATA_EVENT_INVALIDATE, 0), STRATA_OK);
    assert_int_equal(test_set(f->session, f->ns, "k", "v"), STRATA_OK);
    assert_int_equal(strata_invalidate_wait(f->session, f->ns, test_bytes("k"), NULL), STRATA_OK);
    assert_int_equal(strata_set(f->session, f->ns, test_bytes("l"), test_bytes("v"), NULL, NULL, NULL), STRATA_OK);
    assert_int_equal(drain(f, events, 16, NULL), 3);
    const strata_event_kind kinds[] = {STRATA_EVENT_SET, STRATA_EVENT_INVALIDATE, STRATA_EVENT_SET};
    const char *const keys[] = {"k", "k", "l"};
    for (int i = 0; i < 3; i++) {
        assert_int_equal(events[i].kind, kinds[i]);
        assert_true(events[i].key_hash == hash_of(f, keys[i]) && events[i].ns == f->ns && events[i].status == STRATA_OK && events[i].value >= 0);
    }
}

static void nonsense_is_refused(void **state) {
    fixture *f = *state;
    size_t count;
    uint64_t hash;
    assert_int_equal(strata_events_watch(f->engine, 1u << STRATA_EVENT_KINDS, 0), STRATA_E_INVALID);
    assert_int_equal(strata_events_watch(f->engine, 1, 17), STRATA_E_INVALID);
    assert_int_equal(strata_events_watch(f->engine, 1, 8), STRATA_E_INVALID);
    assert_int_equal(strata_events_drain(f->engine, NULL, 5, &count, NULL), STRATA_E_INVALID);
    assert_int_equal(strata_event_key(f->ns, (strata_bytes){"", 0}, &hash), STRATA_E_KEY_SIZE);
}

/* Two sessions write, come and go, while one thread drains: what is told and what is dropped is all there was. */
enum { ROUNDS = 20, READS = 2000 };
static void *reader(void *argument) {
    fixture *f = argument;
    for (int i = 0; i < ROUNDS; i++) {
        strata_session *session = test_engine_session(f->engine);
        for (int j = 0; j < READS; j++) (void)test_peek(session, f->ns, "none");
        strata_session_close(session);
    }
    atomic_fetch_add(&f->calls, 1);
    return NULL;
}

static void none_is_lost_between_threads(void **state) {
    fixture *f = *state;
    strata_event events[256];
    uint64_t dropped, all = 0;
    pthread_t threads[2];
    assert_int_equal(strata_events_watch(f->engine, 1u << STRATA_EVENT_MISS, 64), STRATA_OK);
    for (int i = 0; i < 2; i++) assert_int_equal(pthread_create(&threads[i], NULL, reader, f), 0);
    for (bool over = false; !over;) {
        over = atomic_load(&f->calls) == 2;
        size_t count = drain(f, events, 256, &dropped);
        for (size_t i = 0; i < count; i++) assert_true(events[i].kind == STRATA_EVENT_MISS && events[i].ns == f->ns);
        all += count + dropped;
    }
    for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
    (void)drain(f, events, 0, &dropped);
    assert_int_equal(all + dropped, 2 * ROUNDS * READS);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_happens_is_told, setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(a_full_ring_drops_and_says_so, setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(what_leaves_l1_is_told, setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(writes_within_their_call_are_told, setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(nonsense_is_refused, setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(none_is_lost_between_threads, setup, fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
