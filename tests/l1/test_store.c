/* SPDX-License-Identifier: Apache-2.0 */
/* L1's contract, one call at a time: rules of put and remove, budget, expiry, refusals, walks, failures. */
#include "fixture.h"
#include "l1/glance.h"

static void test_put_find_remove(void **state) {
    (void)state;
    fixture f;
    fixture_init(&f, 1 << 20, 1 << 16);
    assert_true(n_of(&f, 1) == UINT64_MAX);
    assert_int_equal(put_new(&f, f.record, 1, 5, 100), STRATA_OK);
    assert_true(n_of(&f, 1) == 5);
    assert_int_equal(metric(&f, SX_L1_METRIC_ENTRIES), 1);
    assert_true(remove_below(&f, f.record, 1, UINT64_MAX));
    assert_false(remove_below(&f, f.record, 1, UINT64_MAX));
    assert_true(n_of(&f, 1) == UINT64_MAX);
    assert_int_equal(metric(&f, SX_L1_METRIC_ENTRIES), 0);
    assert_int_equal(metric(&f, SX_L1_METRIC_REMOVALS), 1);
    assert_int_equal(put_new(&f, f.record, 2, 0, 0), STRATA_OK); /* an empty value */
    assert_true(n_of(&f, 2) == 0);
    fixture_deinit(&f);
}

static void test_namespaces_are_apart(void **state) {
    (void)state;
    fixture f;
    fixture_init(&f, 1 << 20, 1 << 16);
    assert_int_equal(put_new(&f, f.record, 1, 5, 100), STRATA_OK);
    uint8_t key[KEY_BYTES];
    key_of(1, key);
    sx_epoch_pin(f.record);
    /* Same hash on purpose: the item decides. */
    assert_null(sx_l1_find_pinned(f.l1, hash_of(&f, 1), 2, key, sizeof key));
    assert_null(sx_l1_find_pinned(f.l1, hash_of(&f, 1), 1, key, sizeof key - 1));
    sx_epoch_unpin(f.record);
    fixture_deinit(&f);
}

static void test_newer_rule(void **state) {
    (void)state;
    fixture f;
    fixture_init(&f, 1 << 20, 1 << 16);
    assert_int_equal(put_new(&f, f.record, 1, 5, 10), STRATA_OK);
    assert_int_equal(put_new(&f, f.record, 1, 4, 10), STRATA_EXISTS);
    assert_true(n_of(&f, 1) == 5);
    sx_item *other = item_of(&f, 1, 5, 20); /* equal n replaces */
    other->id = 99;
    assert_int_equal(put_with(&f, f.record, 1, other, SX_L1_PUT_NEWER), STRATA_OK);
    sx_epoch_pin(f.record);
    assert_ptr_equal(find_pinned(&f, 1), other);
    sx_epoch_unpin(f.record);
    assert_int_equal(put_with(&f, f.record, 1, other, SX_L1_PUT_NEWER), STRATA_OK); /* itself */
    sx_item_release(other);
    assert_int_equal(put_new(&f, f.record, 1, 6, 10), STRATA_OK);
    sx_item *older = item_of(&f, 1, 3, 10);
    assert_int_equal(put_with(&f, f.record, 1, older, SX_L1_PUT_ALWAYS), STRATA_OK);
    sx_item_release(older);
    assert_true(n_of(&f, 1) == 3);
    sx_item *proven = item_of(&f, 1, 2, 10); /* another generation's order says nothing */
    atomic_store(&proven->generation, 2);
    assert_int_equal(put_with(&f, f.record, 1, proven, SX_L1_PUT_NEWER), STRATA_OK);
    sx_item_release(proven);
    sx_item *tagged = item_of(&f, 1, 7, 10); /* tags change nothing of that order */
    atomic_store(&tagged->generation, 2 | SX_ITEM_TAGGED);
    assert_int_equal(put_with(&f, f.record, 1, tagged, SX_L1_PUT_NEWER), STRATA_OK);
    sx_item_release(tagged);
    sx_item *untagged = item_of(&f, 1, 6, 10);
    atomic_store(&untagged->generation, 2);
    assert_int_equal(put_with(&f, f.record, 1, untagged, SX_L1_PUT_NEWER), STRATA_EXISTS);
    sx_item_release(untagged);
    sx_item *brief = item_try(&f, 2, 9, 10, SX_NS_PER_S + 5);
    assert_int_equal(put_with(&f, f.record, 2, brief, SX_L1_PUT_NEWER), STRATA_OK);
    sx_item_release(brief);
    assert_int_equal(put_new(&f, f.record, 2, 8, 10), STRATA_EXISTS);
    atomic_store(&f.now_ns, SX_NS_PER_S + 5);
    assert_true(n_of(&f, 2) == 9); /* finds say nothing about expiry */
    assert_int_equal(put_new(&f, f.record, 2, 8, 10), STRATA_OK);
    assert_int_equal(metric(&f, SX_L1_METRIC_ENTRIES), 2);
    fixture_deinit(&f);
}

/* What comes with a message goes only where there is something older of the key. */
static void test_held_rule(void **state) {
    (void)state;
    fixture f;
    fixture_init(&f, 1 << 20, 1 << 16);
    sx_item *item = item_of(&f, 1, 5, 10);
    assert_int_equal(put_with(&f, f.record, 1, item, SX_L1_PUT_HELD), STRATA_MISS);
    assert_true(n_of(&f, 1) == UINT64_MAX);
    assert_int_equal(metric(&f, SX_L1_METRIC_ENTRIES), 0);
    assert_int_equal(put_new(&f, f.record, 1, 4, 10), STRATA_OK);
    assert_int_equal(put_with(&f, f.record, 1, item, SX_L1_PUT_HELD), STRATA_OK);
    assert_int_equal(n_of(&f, 1), 5);
    assert_int_equal(put_with(&f, f.record, 1, item, SX_L1_PUT_HELD), STRATA_EXISTS);
    sx_item *newer = item_of(&f, 1, 6, 10);
    atomic_store(&newer->generation, 2); /* whatever the generation: it is never taken back */
    assert_int_equal(put_with(&f, f.record, 1, newer, SX_L1_PUT_NEWER), STRATA_OK);
    assert_int_equal(put_with(&f, f.record, 1, item, SX_L1_PUT_HELD), STRATA_EXISTS);
    assert_int_equal(n_of(&f, 1), 6);
    sx_item_release(item);
    sx_item_release(newer);
    fixture_deinit(&f);
}

static void test_remove_below(void **state) {
    (void)state;
    fixture f;
    fixture_init(&f, 1 << 20, 1 << 16);
    assert_int_equal(put_new(&f, f.record, 1, 5, 10), STRATA_OK);
    assert_false(remove_below(&f, f.record, 1, 4));
    assert_false(remove_below(&f, f.record, 1, 5));
    assert_true(remove_below(&f, f.record, 1, 6));
    sx_item *item = item_of(&f, 1, 5, 10);
    sx_item *same = item_of(&f, 1, 5, 10);
    assert_int_equal(put_with(&f, f.record, 1, item, SX_L1_PUT_NEWER), STRATA_OK);
    assert_false(sx_l1_remove_item(f.l1, f.record, hash_of(&f, 1), same));
    assert_true(sx_l1_remove_item(f.l1, f.record, hash_of(&f, 1), item));
    assert_false(sx_l1_remove_item(f.l1, f.record, hash_of(&f, 1), item));
    sx_item_release(item);
    sx_item_release(same);
    fixture_deinit(&f);
}

static void test_remove_other(void **state) {
    (void)state;
    static const struct {
        uint64_t n, id;
        bool removed;
    } told[] = {{4, 7, false}, {4, 8, false}, {5, 7, false}, {5, 8, true}, {5, 0, true}, {6, 7, true}};
    fixture f;
    fixture_init(&f, 1 << 20, 1 << 16);
    sx_item *item = item_of(&f, 1, 5, 10);
    item->id = 7;
    for (size_t i = 0; i < sizeof told / sizeof told[0]; i++) {
        assert_int_equal(put_with(&f, f.record, 1, item, SX_L1_PUT_NEWER), STRATA_OK);
        bool removed = sx_l1_remove_other(f.l1, f.record, hash_of(&f, 1), item->ns, sx_item_key(item), item->key_size, told[i].n, told[i].id);
        assert_int_equal(removed, told[i].removed);
        assert_int_equal(metric(&f, SX_L1_METRIC_ENTRIES), told[i].removed ? 0 : 1);
    }
    sx_item_release(item);
    fixture_deinit(&f);
}

/* Keys of one hash differ in a single byte, wherever it is; the tag 0 is that of empty slots too. */
static void test_keys_of_one_hash_are_apart(void **state) {
    (void)state;
    static const size_t sizes[] = {1, 4, 7, 8, 9, 12, 15, 16, 17, 40};
    static const uint64_t hashes[] = {UINT64_C(0x5550000000000001), 1};
    fixture f;
    fixture_init(&f, 1 << 20, 1 << 16);
    sx_item_facts facts = {.n = 1, .expires_ns = SX_EXPIRES_NEVER, .ns = 1};
    for (size_t i = 0; i < 2 * sizeof sizes / sizeof sizes[0]; i++) {
        size_t size = sizes[i / 2];
        uint64_t hash = hashes[i % 2];
        uint8_t keys[4][40] = {{0}}; /* the last is the others without their byte */
        keys[0][size - 1] = 1;
        keys[1][size / 2] ^= 2;
        keys[2][0] ^= 4;
        for (uint8_t k = 0; k < 4; k++) {
            sx_item *item = sx_item_create(f.heap, keys[k], size, &k, 1, &facts);
            assert_int_equal(sx_l1_put(f.l1, f.record, hash, item, SX_L1_PUT_ALWAYS), STRATA_OK);
            sx_item_release(item);
        }
        for (uint8_t k = 0; k < 4; k++) {
            sx_epoch_pin(f.record);
            const sx_item *item = sx_l1_find_pinned(f.l1, hash, 1, keys[k], size);
            assert_non_null(item);
            assert_int_equal(sx_item_value(item)[0], k);
            assert_null(sx_l1_find_pinned(f.l1, hash, 2, keys[k], size));
            sx_epoch_unpin(f.record);
        }
        for (uint8_t k = 0; k < 4; k++) assert_true(sx_l1_remove(f.l1, f.record, hash, 1, keys[k], size, UINT64_MAX));
        assert_int_equal(metric(&f, SX_L1_METRIC_ENTRIES), 0);
    }
    fixture_deinit(&f);
}

/* With vectors and without: the same bits, wherever the tag is, also where it is that of an empty slot. */
static void test_tags_by_vector(void **state) {
    (void)state;
    static sx_l1_bucket bucket;
    uint64_t random = 3;
    for (uint32_t i = 0; i < 20000; i++) {
        uint64_t hash = i % 5 == 0 ? random_next(&random) >> 12 : random_next(&random);
        uint32_t wanted = 0;
        for (uint32_t k = 0; k < SX_L1_SLOTS; k++) {
            uint64_t r = random_next(&random);
            uint64_t slot = r % 4 == 0 ? 0 : r % 4 == 1 ? hash ^ r >> 12 : r % 4 == 2 ? hash ^ UINT64_C(1) << (52 + (r >> 8) % 12) : r;
            atomic_store(&bucket.slots[k], slot);
            atomic_store(&bucket.policy[k], (uint8_t)(hash >> 56));
            wanted |= (uint32_t)(slot >> 52 == hash >> 52) << k;
        }
        atomic_store(&bucket.control, (uint8_t)(hash >> 56));
        assert_int_equal(sx_l1_tags_match_portable(&bucket, hash), wanted);
        assert_int_equal(sx_l1_tags_match(&bucket, hash), wanted);
    }
}

/* The same of a group at a glance. */
static void test_glance_by_vector(void **state) {
    (void)state;
    static sx_l1_group group;
    uint64_t random = 5;
    for (uint32_t i = 0; i < 20000; i++) {
        uint32_t wanted = 0;
        for (uint32_t position = 0; position < SX_L1_POSITIONS; position++) {
            uint64_t r = random_next(&random), some = UINT64_C(1) << (r >> 8) % 64;
            sx_l1_bucket *bucket = &group.buckets[position / SX_L1_SLOTS];
            uint64_t slot = r % 4 == 0 ? 0 : r % 4 == 1 ? some : random_next(&random);
            atomic_store(&bucket->slots[position % SX_L1_SLOTS], slot);
            atomic_store(&bucket->policy[position % SX_L1_SLOTS], (uint8_t)(r >> 16));
            atomic_store(&bucket->control, (uint8_t)(r >> 24));
            wanted |= (uint32_t)(slot != 0) << sx_l1_position_lane(position);
        }
        uint32_t classes = 0, match = 0;
        for (uint32_t k = 0; k < SX_L1_GHOSTS; k++) {
            uint64_t r = random_next(&random);
            group.ghosts[k] = (uint16_t)(r % 3 * 0x801 + i % 2);
            match |= (uint32_t)(group.ghosts[k] == 0x801) << k;
            sx_l1_rank rank = (sx_l1_rank)(r >> 32) % 3; /* beside it */
            sx_l1_rank_set_locked(&group, k, SX_L1_RANK_HIGH);
            sx_l1_rank_set_locked(&group, k, rank);
            assert_int_equal(sx_l1_rank_get_locked(&group, k), rank);
        }
        atomic_store(&group.due, 0x80018001u);
        group.cursor = group.books = 0x80;
        group.tick = 1;
        assert_int_equal(sx_l1_ghosts_match_locked(&group, 0x801), match);
        assert_int_equal(sx_l1_ghosts_match_portable_locked(&group, 0x801), match);
        sx_l1_glance one, two;
        sx_l1_glance_locked(&group, &one);
        sx_l1_glance_portable_locked(&group, &two);
        assert_int_equal(two.taken, wanted);
        assert_int_equal(one.taken, wanted);
        assert_int_equal(sx_l1_taken_locked(&group), wanted);
        assert_int_equal(sx_l1_taken_portable_locked(&group), wanted);
        assert_int_equal(sx_l1_count_locked(&group), __builtin_popcount(wanted));
        assert_int_equal(one.main, two.main);
        assert_int_equal(one.hit, two.hit);
        assert_int_equal(two.main & ~wanted, 0);
        for (uint32_t position = 0; position < SX_L1_POSITIONS; position++) {
            uint32_t lane = sx_l1_position_lane(position);
            assert_int_equal(sx_l1_lane_position(lane), position);
            assert_int_equal(sx_l1_lanes_of(1u << position), 1u << lane);
            assert_int_equal(one.policy[lane], sx_l1_policy_get(&group, position));
            assert_int_equal(two.policy[lane], one.policy[lane]);
            assert_int_equal(one.classes[lane], sx_l1_slot_class(sx_l1_slot_get_locked(&group, position)));
            assert_int_equal(two.classes[lane], one.classes[lane]);
            classes += one.classes[lane];
            assert_int_equal((one.main >> lane & 1u) != 0, (wanted >> lane & 1u) != 0 && (one.policy[lane] & SX_L1_MAIN) != 0);
            assert_int_equal((one.hit >> lane & 1u) != 0, (wanted >> lane & 1u) != 0 && (one.policy[lane] & SX_L1_HIT) != 0);
        }
        for (uint32_t home = 0; home < SX_L1_BUCKETS; home++) {
            uint32_t homes = 0;
            for (uint32_t position = 0; position < SX_L1_POSITIONS; position++) {
                uint64_t slot = sx_l1_slot_get_locked(&group, position);
                homes |= (uint32_t)(slot != 0 && slot >> 62 == home) << sx_l1_position_lane(position);
            }
            assert_int_equal(sx_l1_homes_locked(&group, home), homes);
            assert_int_equal(sx_l1_homes_portable_locked(&group, home), homes);
        }
        assert_int_equal(sx_l1_glance_classes(&one), classes);
        assert_int_equal(sx_l1_glance_classes(&two), classes);
    }
}

/* What a slot knows of an item's size is what was put, also where its class can't say it; keys and values are counted off
   when their memory comes back. */
static void test_books_are_exact(void **state) {
    (void)state;
    fixture f;
    fixture_init(&f, 1 << 26, 1 << 24);
    int64_t empty = metric(&f, SX_L1_METRIC_BYTES_USED);
    for (size_t size = 0; size < ((size_t)1 << 23); size = size < 2000 ? size + 16 : size + size / 37) {
        int64_t before = atomic_load(&f.allocated);
        assert_int_equal(put_new(&f, f.record, 1, 1, size), STRATA_OK);
        assert_int_equal(metric(&f, SX_L1_METRIC_BYTES_USED) - empty, atomic_load(&f.allocated) - before);
        assert_int_equal(metric(&f, SX_L1_METRIC_BYTES_USED) - metric(&f, SX_L1_METRIC_BYTES_METADATA), KEY_BYTES + size);
        assert_int_equal(put_new(&f, f.record, 1, 2, 100), STRATA_OK); /* in its place */
        reclaim_all(&f);
        assert_int_equal(metric(&f, SX_L1_METRIC_BYTES_USED) - metric(&f, SX_L1_METRIC_BYTES_METADATA), KEY_BYTES + 100);
        assert_true(remove_below(&f, f.record, 1, UINT64_MAX));
        reclaim_all(&f);
        assert_int_equal(metric(&f, SX_L1_METRIC_BYTES_USED), empty);
        assert_int_equal(metric(&f, SX_L1_METRIC_BYTES_METADATA), empty);
    }
    fixture_deinit(&f);
}

/* A put that fails leaves nothing older behind, and something newer alone. */
static void test_failures_leave_nothing_older(void **state) {
    (void)state;
    fixture f;
    fixture_init(&f, 1 << 20, 1000);
    assert_int_equal(put_new(&f, f.record, 1, 5, 984), STRATA_OK);
    assert_int_equal(put_new(&f, f.record, 1, 4, 985), STRATA_EXISTS);
    assert_true(n_of(&f, 1) == 5);
    assert_int_equal(put_new(&f, f.record, 1, 6, 985), STRATA_E_VALUE_SIZE);
    assert_true(n_of(&f, 1) == UINT64_MAX);
    assert_int_equal(metric(&f, SX_L1_METRIC_REFUSED), 1);
    assert_int_equal(metric(&f, SX_L1_METRIC_TOO_LARGE), 1);
    fixture_deinit(&f);
    fixture_init(&f, 1 << 20, 1 << 22);
    assert_int_equal(put_new(&f, f.record, 1, 6, 1 << 20), STRATA_E_VALUE_SIZE); /* larger than the budget */
    fixture_deinit(&f);
}

/* A pinned reader keeps what is retired from being freed: puts stop at a tenth of the budget, and go on afterwards. */
static void test_stalled_reader_stops_puts(void **state) {
    (void)state;
    fixture f;
    fixture_init(&f, 1 << 20, 1 << 16);
    sx_epoch_record *reader;
    assert_int_equal(sx_epoch_register(f.epoch, &reader), STRATA_OK);
    sx_epoch_pin(reader);
    int32_t status = STRATA_OK;
    uint64_t puts = 0;
    for (; status == STRATA_OK && puts < 100000; puts++) {
        status = put_new(&f, f.record, puts % 10, puts, 1000);
        (void)sx_epoch_reclaim(f.epoch);
        assert_true(metric(&f, SX_L1_METRIC_BYTES_USED) <= metric(&f, SX_L1_METRIC_BYTES_MAX));
    }
    assert_int_equal(status, STRATA_E_OVERLOADED);
    assert_in_range(puts, 90, 120);
    assert_int_equal(metric(&f, SX_L1_METRIC_TOO_LARGE), 0);
    assert_int_equal(metric(&f, SX_L1_METRIC_BYTES_RESIDENT), -1); /* the fixture's allocator doesn't say */
    assert_true(n_of(&f, (puts - 1) % 10) == UINT64_MAX);
    assert_true(remove_below(&f, f.record, (puts + 1) % 10, UINT64_MAX)); /* never fails for lack of anything */
    sx_epoch_unpin(reader);
    reclaim_all(&f);
    assert_int_equal(put_new(&f, f.record, 1, puts, 1000), STRATA_OK);
    sx_epoch_unregister(reader);
    fixture_deinit(&f);
}

/* After every put: what the metric says, and what the allocator says, are within the budget. */
static void test_budget_with_mixed_sizes(void **state) {
    (void)state;
    fixture f;
    fixture_init(&f, 1 << 22, 1 << 18);
    uint64_t random = 7;
    int64_t most = 0;
    for (uint64_t i = 0; i < 60000; i++) {
        uint64_t r = random_next(&random);
        size_t size = (size_t)(r >> 32) % ((size_t)1 << (4 + r % 13));
        int32_t status = put_new(&f, f.record, r >> 8 & 0xffff, i, size);
        assert_true(status == STRATA_OK || status == STRATA_E_OVERLOADED);
        int64_t used = metric(&f, SX_L1_METRIC_BYTES_USED);
        assert_true(used <= metric(&f, SX_L1_METRIC_BYTES_MAX));
        assert_true(used <= atomic_load(&f.allocated)); /* the heap's own struct is not L1's */
        assert_true(used + 4096 >= atomic_load(&f.allocated));
        /* A tenth is not for entries: what one large item displaces must be found wherever it is. */
        assert_true(used - (int64_t)sx_epoch_retired_bytes(f.epoch) <= metric(&f, SX_L1_METRIC_BYTES_MAX) / 10 * 9 + 9);
        if (used > most) most = used;
        if (i % 16 == 0) (void)sx_epoch_reclaim(f.epoch);
        if (i % 256 == 0) (void)sx_l1_maintain_on_keeper(f.l1, f.record, atomic_load(&f.now_ns));
    }
    assert_true(most > (int64_t)(0.85 * (1 << 22)));
    assert_true(metric(&f, SX_L1_METRIC_EVICTIONS) > 1000);
    assert_true(metric(&f, SX_L1_METRIC_BYTES_METADATA) < metric(&f, SX_L1_METRIC_BYTES_USED));
    fixture_deinit(&f);
}

static void test_expiry_gives_memory_back(void **state) {
    (void)state;
    fixture f;
    fixture_init(&f, 1 << 26, 1 << 16);
    const uint64_t count = 50000;
    for (uint64_t i = 0; i < count; i++) {
        int64_t expires = i % 2 == 0 ? SX_EXPIRES_NEVER : SX_NS_PER_S * 3;
        sx_item *item = item_try(&f, i, 1, 100, expires);
        assert_int_equal(put_with(&f, f.record, i, item, SX_L1_PUT_NEWER), STRATA_OK);
        sx_item_release(item);
    }
    int64_t full = metric(&f, SX_L1_METRIC_BYTES_USED);
    int64_t now = SX_NS_PER_S;
    for (; now < SX_NS_PER_S * 3; now += 50 * SX_NS_PER_MS) {
        atomic_store(&f.now_ns, now);
        (void)sx_l1_maintain_on_keeper(f.l1, f.record, now);
    }
    assert_int_equal(metric(&f, SX_L1_METRIC_EXPIRATIONS), 0);
    for (; now <= SX_NS_PER_S * 5; now += 50 * SX_NS_PER_MS) {
        atomic_store(&f.now_ns, now);
        (void)sx_l1_maintain_on_keeper(f.l1, f.record, now);
        (void)sx_epoch_reclaim(f.epoch);
    }
    assert_int_equal(metric(&f, SX_L1_METRIC_EXPIRATIONS), (int64_t)count / 2);
    assert_int_equal(metric(&f, SX_L1_METRIC_ENTRIES), (int64_t)count / 2);
    assert_int_equal(metric(&f, SX_L1_METRIC_EVICTIONS), 0);
    reclaim_all(&f);
    assert_true(metric(&f, SX_L1_METRIC_BYTES_USED) < full * 65 / 100);
    for (uint64_t i = 0; i < count; i++) assert_true(n_of(&f, i) == (i % 2 == 0 ? 1 : UINT64_MAX));
    fixture_deinit(&f);
}

/* The budget shrinks to a sixty-fourth: items and index follow, in bounded steps of the keeper. */
static void test_resize_is_the_keepers_work(void **state) {
    (void)state;
    fixture f;
    fixture_init(&f, 1 << 26, 1 << 16);
    for (uint64_t i = 0; i < 200000; i++) assert_int_equal(put_new(&f, f.record, i, 1, 50), STRATA_OK);
    sx_l1_resize(f.l1, 1 << 20);
    int32_t status;
    int rounds = 0;
    for (bool more = true; more; rounds++) {
        assert_true(rounds < 5000);
        more = sx_l1_maintain_on_keeper(f.l1, f.record, atomic_load(&f.now_ns));
        (void)sx_epoch_reclaim(f.epoch);
        status = put_new(&f, f.record, 1, 1, 50);
        assert_true(status == STRATA_OK || status == STRATA_E_OVERLOADED);
    }
    for (int i = 0; i < 1000; i++) (void)sx_l1_maintain_on_keeper(f.l1, f.record, atomic_load(&f.now_ns));
    reclaim_all(&f);
    assert_true(metric(&f, SX_L1_METRIC_BYTES_USED) <= 1 << 20);
    for (uint64_t i = 0; i < 10000; i++) {
        assert_int_equal(put_new(&f, f.record, i, 1, 50), STRATA_OK);
        if (i % 64 == 0) reclaim_all(&f);
    }
    assert_true(metric(&f, SX_L1_METRIC_BYTES_USED) <= 1 << 20);
    sx_l1_resize(f.l1, 1 << 26);
    reclaim_all(&f);
    for (uint64_t i = 0; i < 100000; i++) assert_int_equal(put_new(&f, f.record, i, 2, 50), STRATA_OK);
    for (uint64_t i = 0; i < 100000; i++) assert_true(n_of(&f, i) == 2);
    fixture_deinit(&f);
}

/* A thread that went idle before the budget shrank withholds from the total no more than the new budget allows. */
static void test_shards_follow_a_resize(void **state) {
    (void)state;
    fixture f;
    fixture_init(&f, 1 << 30, 1 << 16);
    sx_epoch_record *idle[64] = {NULL};
    uint32_t count = 0;
    do assert_int_equal(sx_epoch_register(f.epoch, &idle[count++]), STRATA_OK);
    while (count < 64 && sx_l1_shard_of(f.l1, idle[count - 1]) == sx_l1_shard_of(f.l1, f.record));
    for (uint64_t i = 0; i < 200; i++) assert_int_equal(put_new(&f, idle[count - 1], i, 1, 1000), STRATA_OK);
    sx_l1_resize(f.l1, 1 << 17);
    for (int i = 0; i < 100; i++) {
        (void)sx_l1_maintain_on_keeper(f.l1, f.record, atomic_load(&f.now_ns));
        (void)sx_epoch_reclaim(f.epoch);
    }
    assert_true(metric(&f, SX_L1_METRIC_BYTES_USED) <= 1 << 17);
    while (count > 0) sx_epoch_unregister(idle[--count]);
    fixture_deinit(&f);
}

/* A round of splits that turns into one of merges retires of its segment what it has counted, not what was never touched. */
static void test_a_round_retires_what_it_counted(void **state) {
    (void)state;
    fixture f;
    fixture_init(&f, 1 << 26, 1 << 16);
    uint64_t count = 0;
    const sx_l1_root *root;
    do {
        assert_int_equal(put_new(&f, f.record, count++, 1, 20), STRATA_OK);
        root = sx_l1_root_get(f.l1);
    } while (root->top < 11 || root->top == root->base);
    for (uint64_t i = 0; i < count; i++) assert_true(remove_below(&f, f.record, i, UINT64_MAX));
    root = sx_l1_root_get(f.l1);
    assert_true(root->top > root->base && !root->merging);
    reclaim_all(&f);
    int64_t used = metric(&f, SX_L1_METRIC_BYTES_USED);
    while (sx_l1_maintain_on_keeper(f.l1, f.record, atomic_load(&f.now_ns))) continue;
    assert_int_equal(sx_l1_root_get(f.l1)->base, 0);
    assert_in_range(metric(&f, SX_L1_METRIC_BYTES_USED), 0, used + 32 * (int64_t)sizeof(sx_l1_root)); /* and the roots */
    reclaim_all(&f);
    fixture_deinit(&f);
}

static bool visit_count(void *context, sx_item *item) {
    uint8_t *seen = context;
    uint64_t number;
    memcpy(&number, sx_item_key(item), 8);
    seen[number]++;
    return number % 3 == 0;
}

/* Every entry is visited though the table grows during the walk, and those asked for are removed. */
static void test_walk_while_growing(void **state) {
    (void)state;
    fixture f;
    fixture_init(&f, 1 << 26, 1 << 16);
    enum { COUNT = 3000, MORE = 40000 };
    uint8_t *seen = calloc(COUNT + MORE, 1);
    assert_non_null(seen);
    for (uint64_t i = 0; i < COUNT; i++) assert_int_equal(put_new(&f, f.record, i, 1, 20), STRATA_OK);
    uint64_t cursor = 0;
    uint64_t next = COUNT;
    do {
        sx_l1_walk(f.l1, f.record, &cursor, 3, visit_count, seen);
        for (int i = 0; i < 200 && next < COUNT + MORE; i++) {
            assert_int_equal(put_new(&f, f.record, next++, 1, 20), STRATA_OK);
        }
    } while (cursor != 0);
    for (uint64_t i = 0; i < COUNT; i++) {
        assert_int_equal(seen[i], 1);
        assert_true(n_of(&f, i) == (i % 3 == 0 ? UINT64_MAX : 1));
    }
    free(seen);
    fixture_deinit(&f);
}

/* Each allocation in turn fails, once and for good. Puts never need memory: the table stays as small as it is. */
static void test_allocation_failures(void **state) {
    (void)state;
    for (int on = 0; on < 2; on++) {
        for (int64_t fail_at = 0; fail_at < 60; fail_at++) {
            fixture f;
            fixture_prepare(&f);
            sx_item *items[200];
            for (uint64_t i = 0; i < 200; i++) items[i] = item_of(&f, i, 1, 30);
            f.fail_on = on != 0;
            atomic_store(&f.fail_at, atomic_load(&f.calls) + fail_at);
            int32_t status = fixture_try(&f, 1 << 22, 1 << 16);
            assert_int_equal(status, fail_at < 4 ? STRATA_E_NOMEM : STRATA_OK);
            if (status != STRATA_OK) f.l1 = NULL;
            for (uint64_t i = 0; i < 200; i++) {
                if (f.l1 == NULL) break;
                assert_int_equal(put_with(&f, f.record, i, items[i], SX_L1_PUT_NEWER), STRATA_OK);
                assert_true(n_of(&f, i) == 1);
                (void)sx_l1_maintain_on_keeper(f.l1, f.record, atomic_load(&f.now_ns));
                if (i % 50 == 49) assert_true(remove_below(&f, f.record, i, UINT64_MAX));
            }
            for (uint64_t i = 0; i < 200; i++) sx_item_release(items[i]);
            fixture_deinit(&f);
        }
    }
}

static void test_tables(void **state) {
    (void)state;
    assert_int_equal(sx_l1_options.count, 5);
    for (size_t i = 0; i < sx_l1_options.count; i++) {
        assert_memory_equal(sx_l1_options.rows[i].name, "l1.", 3);
        assert_non_null(sx_l1_options.rows[i].default_text);
    }
    for (size_t i = 0; i < SX_L1_METRIC_COUNT; i++) assert_memory_equal(sx_l1_metrics[i].name, "l1.", 3);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_put_find_remove),
        cmocka_unit_test(test_namespaces_are_apart),
        cmocka_unit_test(test_newer_rule),
        cmocka_unit_test(test_held_rule),
        cmocka_unit_test(test_remove_below), cmocka_unit_test(test_remove_other),
        cmocka_unit_test(test_keys_of_one_hash_are_apart),
        cmocka_unit_test(test_tags_by_vector),
        cmocka_unit_test(test_glance_by_vector),
        cmocka_unit_test(test_books_are_exact),
        cmocka_unit_test(test_failures_leave_nothing_older),
        cmocka_unit_test(test_stalled_reader_stops_puts),
        cmocka_unit_test(test_budget_with_mixed_sizes),
        cmocka_unit_test(test_expiry_gives_memory_back),
        cmocka_unit_test(test_resize_is_the_keepers_work),
        cmocka_unit_test(test_shards_follow_a_resize),
        cmocka_unit_test(test_a_round_retires_what_it_counted),
        cmocka_unit_test(test_walk_while_growing),
        cmocka_unit_test(test_allocation_failures),
        cmocka_unit_test(test_tables),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
