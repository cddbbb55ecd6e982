/* SPDX-License-Identifier: Apache-2.0 */
/* What parts of L1 occupy, counted as entries enter and as their memory comes back; limits of parts; and counters that threads
   have for themselves, or share where there are many. */
#include "fixture.h"

#include <pthread.h>

#include "l1/table.h"

#define ALL      0u /* the part of every entry */
#define PARTS    5u /* besides it four, by the key's number */
#define NOISY    1u
#define UNIVERSE 4000u

static uint64_t number_of(const sx_item *item) {
    uint64_t number;
    memcpy(&number, sx_item_key(item), 8);
    return number;
}
static uint32_t parts_of(void *context, const sx_item *item, uint32_t parts[SX_L1_PARTS_EACH]) {
    (void)context;
    parts[0] = ALL;
    parts[1] = 1 + (uint32_t)(number_of(item) % (PARTS - 1));
    return 2;
}
static const sx_l1_parts parts = {.count = PARTS, .of = parts_of};

static bool sum_up(void *context, sx_item *item) {
    sx_l1_usage *sums = context;
    uint32_t numbers[SX_L1_PARTS_EACH];
    uint32_t count = parts_of(NULL, item, numbers);
    for (uint32_t i = 0; i < count; i++) {
        sums[numbers[i]].entries++;
        sums[numbers[i]].bytes += (int64_t)sx_item_footprint(item);
    }
    return false;
}

/* Where nobody writes and nothing waits to be freed, it is what a walk finds. */
static void check_against_walk(fixture *f) {
    sx_l1_usage sums[PARTS] = {{0}};
    uint64_t cursor = 0;
    reclaim_all(f);
    do sx_l1_walk(f->l1, f->record, &cursor, 100, sum_up, sums);
    while (cursor != 0);
    for (uint32_t p = 0; p < PARTS; p++) {
        sx_l1_usage usage = sx_l1_usage_read(f->l1, p);
        assert_int_equal(usage.entries, sums[p].entries);
        assert_int_equal(usage.bytes, sums[p].bytes);
    }
    assert_int_equal(sums[ALL].entries, metric(f, SX_L1_METRIC_ENTRIES));
}

/* Whatever entries do, and whoever else still holds them. */
static void test_usage_is_what_is_there(void **state) {
    (void)state;
    fixture f;
    fixture_init(&f, 1 << 20, 1 << 16);
    assert_int_equal(sx_l1_watch_parts(f.l1, &parts), STRATA_OK);
    uint64_t random = 1;
    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < 2000; i++) {
            uint64_t r = random_next(&random), number = r % UNIVERSE;
            if ((r >> 32 & 15) == 0) (void)remove_below(&f, f.record, number, UINT64_MAX);
            sx_item *item = item_try(&f, number, 1, r >> 40 & 511, (r >> 36 & 7) == 0 ? atomic_load(&f.now_ns) + 1 : SX_EXPIRES_NEVER);
            assert_non_null(item);
            (void)put_with(&f, f.record, number, item, SX_L1_PUT_ALWAYS);
            if ((r >> 50 & 7) == 0) (void)put_with(&f, f.record, number, item, SX_L1_PUT_ALWAYS); /* itself: counts once */
            sx_item_release(item);
            if (i % 50 == 0) (void)sx_epoch_reclaim(f.epoch);
        }
        atomic_fetch_add(&f.now_ns, 2 * SX_NS_PER_S);
        while (sx_l1_maintain_on_keeper(f.l1, f.record, atomic_load(&f.now_ns))) continue;
        check_against_walk(&f);
    }
    assert_true(metric(&f, SX_L1_METRIC_EVICTIONS) > 1000 && metric(&f, SX_L1_METRIC_EXPIRATIONS) > 100);
    fixture_deinit(&f);
}

static uint64_t hits(fixture *f, uint64_t from, uint64_t to, uint64_t step) {
    uint64_t there = 0;
    for (uint64_t i = from; i < to; i += step) there += n_of(f, i) != UINT64_MAX;
    return there;
}

/* A part that takes whatever it gets displaces the others; with a limit it displaces itself, and is still in use. */
static void test_limit_of_a_part(void **state) {
    (void)state;
    enum { QUIET = 2000, NOISE = 200000 };
    for (int limited = 0; limited < 2; limited++) {
        fixture f;
        fixture_init(&f, 1 << 20, 1 << 16);
        assert_int_equal(sx_l1_watch_parts(f.l1, &parts), STRATA_OK);
        int64_t limit = 200000;
        if (limited) sx_l1_limit_part(f.l1, NOISY, limit);
        for (uint64_t i = 0; i < QUIET; i++) assert_int_equal(put_new(&f, f.record, i * 4 + 1, 1, 100), STRATA_OK);
        int64_t most = 0;
        for (uint64_t i = 0; i < NOISE; i++) {
            sx_item *item = item_of(&f, (UNIVERSE + i) * 4, 1, 100);
            int32_t status = put_with(&f, f.record, (UNIVERSE + i) * 4, item, SX_L1_PUT_ALWAYS);
            assert_true(status == STRATA_OK || (limited && status == STRATA_E_OVERLOADED));
            sx_item_release(item);
            (void)n_of(&f, (UNIVERSE + i) * 4); /* used again, as no scan would */
            if (i % 16 == 0) (void)sx_epoch_reclaim(f.epoch);
            int64_t bytes = sx_l1_usage_read(f.l1, NOISY).bytes;
            if (bytes > most) most = bytes;
        }
        uint64_t kept = hits(&f, 1, QUIET * 4, 4);
        if (limited) {
            assert_true(kept > QUIET * 98 / 100);
            assert_in_range(most, limit * 3 / 4, limit + limit / 8);
            assert_true(hits(&f, (UNIVERSE + NOISE - 1000) * 4, (UNIVERSE + NOISE) * 4, 4) > 400);
            /* Lower while in use: the part's own puts bring it there. */
            sx_l1_limit_part(f.l1, NOISY, limit / 4);
            for (uint64_t i = 0; i < 4000; i++) {
                sx_item *item = item_of(&f, i * 4, 1, 100);
                (void)put_with(&f, f.record, i * 4, item, SX_L1_PUT_ALWAYS);
                sx_item_release(item);
                if (i % 16 == 0) (void)sx_epoch_reclaim(f.epoch);
            }
            reclaim_all(&f);
            assert_in_range(sx_l1_usage_read(f.l1, NOISY).bytes, limit / 8, limit / 4 + limit / 32);
        } else {
            assert_true(kept < QUIET / 2);
        }
        check_against_walk(&f);
        fixture_deinit(&f);
    }
}

/* Evictions that free nothing yet are not repeated: a part at its limit keeps what it has while a reader stands still. */
static void test_limit_while_nothing_is_freed(void **state) {
    (void)state;
    fixture f;
    fixture_init(&f, 1 << 20, 1 << 16);
    assert_int_equal(sx_l1_watch_parts(f.l1, &parts), STRATA_OK);
    sx_l1_limit_part(f.l1, NOISY, 300000);
    for (uint64_t i = 0; i < 4000; i++) {
        (void)put_new(&f, f.record, i * 4, 1, 100);
        if (i % 16 == 0) (void)sx_epoch_reclaim(f.epoch);
    }
    reclaim_all(&f);
    int64_t before = sx_l1_usage_read(f.l1, NOISY).entries;
    sx_epoch_record *reader;
    assert_int_equal(sx_epoch_register(f.epoch, &reader), STRATA_OK);
    sx_epoch_pin(reader);
    uint64_t overwritten = 0;
    for (uint64_t i = 0; i < 4000 && overwritten < 400; i++) {
        if (n_of(&f, i * 4) == UINT64_MAX) continue;
        assert_int_equal(put_new(&f, f.record, i * 4, 2, 100), STRATA_OK);
        overwritten++;
    }
    sx_epoch_unpin(reader);
    reclaim_all(&f);
    assert_in_range(sx_l1_usage_read(f.l1, NOISY).entries, before - 150, before);
    assert_int_equal(put_new(&f, f.record, 8000 * 4, 1, 100), STRATA_OK);
    check_against_walk(&f);
    sx_epoch_unregister(reader);
    fixture_deinit(&f);
}

/* The same for a part that is small beside the whole: what is retired is much for it, and little for the whole. It keeps what it has, and
   new keys come in, one for one, until the whole's bound of what is retired is reached. */
static void test_a_small_part_while_nothing_is_freed(void **state) {
    (void)state;
    fixture f;
    fixture_init(&f, 16 << 20, 1 << 16);
    assert_int_equal(sx_l1_watch_parts(f.l1, &parts), STRATA_OK);
    const int64_t limit = 128 << 10;
    sx_l1_limit_part(f.l1, NOISY, limit);
    for (uint64_t i = 0; i < 40000; i++) assert_int_equal(put_new(&f, f.record, i * 4 + 1, 1, 100), STRATA_OK); /* so that few groups have one of the part */
    for (uint64_t i = 0; i < 2000; i++) {
        (void)put_new(&f, f.record, i * 4, 1, 100);
        if (i % 16 == 0) (void)sx_epoch_reclaim(f.epoch);
    }
    reclaim_all(&f);
    sx_l1_usage before = sx_l1_usage_read(f.l1, NOISY);
    assert_in_range(before.bytes, limit * 3 / 4, limit + limit / 8);
    sx_epoch_record *reader;
    assert_int_equal(sx_epoch_register(f.epoch, &reader), STRATA_OK);
    sx_epoch_pin(reader);
    for (uint64_t n = 2; n < 5; n++) {
        for (uint64_t i = 0; i < 2000; i++) {
            if (n_of(&f, i * 4) == n - 1) assert_int_equal(put_new(&f, f.record, i * 4, n, 100), STRATA_OK);
        }
    }
    uint64_t kept = hits(&f, 0, 8000, 4);
    assert_in_range(kept, before.entries * 4 / 5, before.entries);
    for (uint64_t i = 3000; i < 4000; i++) assert_int_equal(put_new(&f, f.record, i * 4, 1, 100), STRATA_OK);
    assert_in_range(hits(&f, 0, 16000, 4), kept * 3 / 4, kept * 5 / 4);
    int32_t status = STRATA_OK;
    for (uint64_t i = 4000; i < 40000 && status == STRATA_OK; i++) status = put_new(&f, f.record, i * 4, 1, 100);
    assert_int_equal(status, STRATA_E_OVERLOADED);
    assert_true(sx_l1_refuses_new(f.l1));
    assert_true(metric(&f, SX_L1_METRIC_BYTES_USED) <= 16 << 20);
    sx_epoch_unpin(reader);
    reclaim_all(&f);
    assert_in_range(sx_l1_usage_read(f.l1, NOISY).bytes, limit / 2, limit + limit / 4);
    check_against_walk(&f);
    /* What is held up is all of others': still one for one. */
    uint64_t there = hits(&f, 0, 160000, 4);
    sx_epoch_pin(reader);
    for (uint64_t i = 0; i < 4000; i++) assert_int_equal(put_new(&f, f.record, i * 4 + 1, 2, 100), STRATA_OK);
    for (uint64_t i = 50000; i < 51500; i++) assert_int_equal(put_new(&f, f.record, i * 4, 1, 100), STRATA_OK);
    sx_epoch_unpin(reader);
    reclaim_all(&f);
    assert_in_range(sx_l1_usage_read(f.l1, NOISY).entries, there * 3 / 4, there * 5 / 4);
    check_against_walk(&f);
    sx_epoch_unregister(reader);
    fixture_deinit(&f);
}

/* More threads than there are shards of their own, each writing to the same few. */
#define THREADS 4u
#define PUTS    60000u
typedef struct writer {
    fixture *f;
    sx_epoch_record *record;
    pthread_t thread;
} writer;

static void *put_many(void *argument) {
    writer *w = argument;
    uint64_t random = w->record->number;
    for (uint32_t i = 0; i < PUTS; i++) {
        (void)put_new(w->f, w->record, random_next(&random) % UNIVERSE, 1, 100);
        if (i % 16 == 0) (void)sx_epoch_reclaim(w->f->epoch);
    }
    return NULL;
}

static void test_threads_share_what_is_left(void **state) {
    (void)state;
    fixture f;
    fixture_init(&f, 1 << 20, 1 << 16);
    assert_int_equal(sx_l1_watch_parts(f.l1, &parts), STRATA_OK);
    enum { RECORDS = 128 };
    sx_epoch_record *records[RECORDS];
    for (uint32_t i = 0; i < RECORDS; i++) assert_int_equal(sx_epoch_register(f.epoch, &records[i]), STRATA_OK);
    writer writers[THREADS];
    uint32_t apart = SX_L1_SHARDS - SX_L1_SHARDS_OWN;
    for (uint32_t i = 0; i < THREADS; i++) {
        writers[i] = (writer){.f = &f, .record = records[SX_L1_SHARDS_OWN + i * apart]};
        assert_ptr_equal(sx_l1_shard_of(f.l1, writers[i].record), sx_l1_shard_of(f.l1, writers[0].record));
    }
    for (uint32_t i = 0; i < THREADS; i++) assert_int_equal(pthread_create(&writers[i].thread, NULL, put_many, &writers[i]), 0);
    for (uint32_t i = 0; i < THREADS; i++) pthread_join(writers[i].thread, NULL);
    assert_int_equal(metric(&f, SX_L1_METRIC_INSERTS) + metric(&f, SX_L1_METRIC_REPLACES) + metric(&f, SX_L1_METRIC_REFUSED),
                     THREADS * PUTS);
    check_against_walk(&f);
    for (uint64_t i = 0; i < UNIVERSE; i++) (void)remove_below(&f, f.record, i, UINT64_MAX);
    reclaim_all(&f);
    assert_int_equal(sx_l1_usage_read(f.l1, ALL).bytes, 0);
    assert_int_equal(metric(&f, SX_L1_METRIC_ENTRIES), 0);
    for (uint32_t i = 0; i < RECORDS; i++) {
        assert_true(records[i]->number == i + 1); /* the fixture's is the first */
        for (uint32_t k = 0; k < i && i < SX_L1_SHARDS_OWN - 1; k++)
            assert_ptr_not_equal(sx_l1_shard_of(f.l1, records[k]), sx_l1_shard_of(f.l1, records[i]));
    }
    for (uint32_t i = 0; i < RECORDS; i++) sx_epoch_unregister(records[i]);
    fixture_deinit(&f);
}

static void test_no_memory_for_parts(void **state) {
    (void)state;
    fixture f;
    fixture_init(&f, 1 << 20, 1 << 16);
    atomic_store(&f.fail_at, atomic_load(&f.calls));
    assert_int_equal(sx_l1_watch_parts(f.l1, &parts), STRATA_E_NOMEM);
    int64_t used = metric(&f, SX_L1_METRIC_BYTES_USED);
    assert_int_equal(sx_l1_watch_parts(f.l1, &parts), STRATA_OK);
    assert_in_range(metric(&f, SX_L1_METRIC_BYTES_USED) - used, 1, 450 * PARTS + 4096);
    fixture_deinit(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_usage_is_what_is_there),
        cmocka_unit_test(test_limit_of_a_part),
        cmocka_unit_test(test_limit_while_nothing_is_freed),
        cmocka_unit_test(test_a_small_part_while_nothing_is_freed),
        cmocka_unit_test(test_threads_share_what_is_left),
        cmocka_unit_test(test_no_memory_for_parts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
