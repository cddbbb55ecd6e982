/* SPDX-License-Identifier: Apache-2.0 */
/* L1 against a map that does the same in the simplest way: random operations, one thread, a clock that is set. */
#include "fixture.h"

#define UNIVERSE 8000u
#define OPERATIONS (SX_TSAN ? 40000u : 400000u) /* of one thread, which that sanitizer makes slow for nothing */

/* What the simple map knows of a key. */
typedef struct known {
    sx_item *item; /* own reference; NULL: absent */
} known;

typedef struct model {
    fixture f;
    known keys[UNIVERSE];
    uint64_t random;
    bool evicts; /* the budget is small: entries may be gone */
} model;

static bool expired(const model *m, const sx_item *item) { return sx_item_expires_ns(item) <= atomic_load(&m->f.now_ns); }

static void forget(model *m, uint64_t number) {
    if (m->keys[number].item != NULL) sx_item_release(m->keys[number].item);
    m->keys[number].item = NULL;
}

/* Looks, and takes note of what eviction or expiry was allowed to do. */
static void step_find(model *m, uint64_t number) {
    sx_epoch_pin(m->f.record);
    sx_item *item = find_pinned(&m->f, number);
    sx_item *known_item = m->keys[number].item;
    if (item != NULL) {
        assert_ptr_equal(item, known_item);
        assert_true(item_is_sound(item, number));
    } else if (known_item != NULL) {
        assert_true(m->evicts || expired(m, known_item));
    }
    sx_epoch_unpin(m->f.record);
    if (item == NULL) forget(m, number);
}

static void step_put(model *m, uint64_t number, uint64_t r) {
    step_find(m, number);
    sx_item *there = m->keys[number].item;
    int64_t ttl = (int64_t)(r >> 20 & 0xff) * SX_NS_PER_MS * 100;
    int64_t expires = (r >> 28 & 3) == 0 ? atomic_load(&m->f.now_ns) + ttl : SX_EXPIRES_NEVER;
    size_t size = (size_t)(r >> 44) % ((r >> 30 & 63) == 0 ? 5000 : 200);
    if ((r >> 30 & 255) == 1) size = 4000 - KEY_BYTES;     /* the largest */
    if ((r >> 30 & 255) == 2) size = 4000 - KEY_BYTES + 1; /* and one more */
    if ((r >> 30 & 63) == 3) size = 0;
    sx_item *item = item_try(&m->f, number, r >> 40 & 7, size, expires);
    assert_non_null(item);
    atomic_store(&item->generation, r >> 36 & 1);
    sx_l1_put_rule rule = (r >> 37 & 7) == 0 ? SX_L1_PUT_ALWAYS : SX_L1_PUT_NEWER;
    bool keep = rule == SX_L1_PUT_NEWER && there != NULL && there->n > item->n && !expired(m, there) &&
                atomic_load(&there->generation) == atomic_load(&item->generation);
    bool large = size + KEY_BYTES > 4000;
    int32_t status = put_with(&m->f, m->f.record, number, item, rule);
    if (keep) {
        assert_int_equal(status, STRATA_EXISTS);
        sx_item_release(item);
        step_find(m, number);
        return;
    }
    forget(m, number);
    if (large) assert_int_equal(status, STRATA_E_VALUE_SIZE);
    else if (status != STRATA_OK) assert_true(m->evicts && status == STRATA_E_OVERLOADED);
    if (status == STRATA_OK) m->keys[number].item = item;
    else sx_item_release(item);
    step_find(m, number);
    if (status == STRATA_OK && !m->evicts && !expired(m, item)) assert_non_null(m->keys[number].item);
}

static void step_remove(model *m, uint64_t number, uint64_t r) {
    step_find(m, number);
    sx_item *there = m->keys[number].item;
    bool removed;
    if ((r >> 20 & 3) == 0 && there != NULL) {
        removed = sx_l1_remove_item(m->f.l1, m->f.record, hash_of(&m->f, number), there);
        assert_true(removed);
    } else {
        uint64_t below = (r >> 22 & 1) == 0 ? UINT64_MAX : r >> 24 & 7;
        removed = remove_below(&m->f, m->f.record, number, below);
        assert_int_equal(removed, there != NULL && (below == UINT64_MAX || there->n < below));
    }
    if (removed) forget(m, number);
    step_find(m, number);
}

static void step_keeper(model *m, uint64_t r) {
    atomic_fetch_add(&m->f.now_ns, (int64_t)(r >> 20 & 127) * SX_NS_PER_MS);
    (void)sx_l1_maintain_on_keeper(m->f.l1, m->f.record, atomic_load(&m->f.now_ns));
    (void)sx_epoch_reclaim(m->f.epoch);
}

static bool visit_known(void *context, sx_item *item) {
    model *m = context;
    uint64_t number;
    memcpy(&number, sx_item_key(item), 8);
    assert_true(number < UNIVERSE);
    assert_ptr_equal(item, m->keys[number].item);
    return false;
}

/* A walk in steps with other operations between them: all that was there before, and is there after, is seen. */
typedef struct walking {
    model *m;
    uint8_t seen[UNIVERSE];
    uint64_t remove; /* numbers divisible by it */
} walking;

static bool visit_walking(void *context, sx_item *item) {
    walking *w = context;
    uint64_t number;
    memcpy(&number, sx_item_key(item), 8);
    assert_true(number < UNIVERSE);
    assert_ptr_equal(item, w->m->keys[number].item);
    w->seen[number] = 1;
    if (number % w->remove != 0) return false;
    forget(w->m, number);
    return true;
}

static void step_any(model *m, uint32_t removals);

static void step_walk(model *m, uint64_t r) {
    walking *w = calloc(1, sizeof *w);
    assert_non_null(w);
    w->m = m;
    w->remove = 2 + (r >> 20) % 50;
    sx_item *before[UNIVERSE];
    for (uint64_t i = 0; i < UNIVERSE; i++) {
        before[i] = m->keys[i].item;
        if (before[i] != NULL) sx_item_retain(before[i]); /* so that no other item has its address later */
    }
    uint64_t cursor = 0;
    do {
        sx_l1_walk(m->f.l1, m->f.record, &cursor, 1 + (uint32_t)(r >> 30) % 40, visit_walking, w);
        for (int i = 0; i < 8; i++) step_any(m, 20);
    } while (cursor != 0);
    for (uint64_t i = 0; i < UNIVERSE; i++) {
        step_find(m, i);
        if (before[i] == NULL) continue;
        if (before[i] == m->keys[i].item) assert_true(w->seen[i]);
        sx_item_release(before[i]);
    }
    free(w);
}

/* The budget of a store that evicts changes; what is beyond it leaves with the keeper's rounds. */
static void step_resize(model *m, uint64_t r) {
    if (!m->evicts) return;
    int64_t bytes = (INT64_C(1) << 19) + (int64_t)(r >> 20) % (INT64_C(1) << 20);
    sx_l1_resize(m->f.l1, bytes);
    for (int i = 0; i < 50; i++) {
        bool more = sx_l1_maintain_on_keeper(m->f.l1, m->f.record, atomic_load(&m->f.now_ns));
        (void)sx_epoch_reclaim(m->f.epoch);
        if (!more) break;
    }
    reclaim_all(&m->f);
    assert_true(metric(&m->f, SX_L1_METRIC_BYTES_USED) <= bytes);
}

static void step_any(model *m, uint32_t removals) {
    uint64_t r = random_next(&m->random);
    uint64_t number = (r & 0xffff) % UNIVERSE;
    uint64_t kind = (r >> 16) % 100;
    if (kind < removals) step_remove(m, number, mix(r));
    else if (kind < 95) step_put(m, number, mix(r));
    else step_keeper(m, mix(r));
}

static void check_all(model *m) {
    int64_t entries = 0;
    for (uint64_t i = 0; i < UNIVERSE; i++) {
        step_find(m, i);
        entries += m->keys[i].item != NULL;
    }
    assert_int_equal(metric(&m->f, SX_L1_METRIC_ENTRIES), entries);
    uint64_t cursor = 0;
    do sx_l1_walk(m->f.l1, m->f.record, &cursor, 16, visit_known, m);
    while (cursor != 0);
    if (!m->evicts) assert_int_equal(metric(&m->f, SX_L1_METRIC_EVICTIONS), 0);
    assert_true(metric(&m->f, SX_L1_METRIC_BYTES_USED) <= metric(&m->f, SX_L1_METRIC_BYTES_MAX));
}

static void run(uint64_t seed, int64_t bytes_max, bool evicts) {
    model *m = calloc(1, sizeof *m);
    assert_non_null(m);
    fixture_init(&m->f, bytes_max, 4000);
    m->random = seed;
    m->evicts = evicts;
    for (uint32_t i = 0; i < OPERATIONS; i++) {
        /* The share of removals swings, so that the table grows and shrinks. */
        step_any(m, i / (OPERATIONS / 8) % 2 == 0 ? 10 : 60);
        if (i % 10000 == 9999) step_walk(m, random_next(&m->random));
        if (i % 20000 == 4999) step_resize(m, random_next(&m->random));
        if (i % (OPERATIONS / 16) == 0) check_all(m);
    }
    check_all(m);
    for (uint64_t i = 0; i < UNIVERSE; i++) forget(m, i);
    fixture_deinit(&m->f);
    free(m);
}

static void test_below_the_budget(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 3; seed++) run(seed, INT64_C(1) << 26, false);
}

static void test_at_the_budget(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 3; seed++) run(seed, INT64_C(1) << 20, true);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_below_the_budget),
        cmocka_unit_test(test_at_the_budget),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
