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
static void check_limit_while_nothing_is_freed(bool of_entries) {
    fixture f;
    fixture_init(&f, 1 << 20, 1 << 16);
    assert_int_equal(sx_l1_watch_parts(f.l1, &parts), STRATA_OK);
    if (of_entries) sx_l1_limit_part_entries(f.l1, NOISY, 1700);
    else sx_l1_limit_part(f.l1, NOISY, 300000);
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

static void test_limit_while_nothing_is_freed(void **state) {
    (void)state;
    check_limit_while_nothing_is_freed(false);
    check_limit_while_nothing_is_freed(true);
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

/* The same limit in entries: it holds whatever their size, and follows when it changes. */
static void test_limit_of_entries(void **state) {
    (void)state;
    fixture f;
    fixture_init(&f, 4 << 20, 1 << 16);
    assert_int_equal(sx_l1_watch_parts(f.l1, &parts), STRATA_OK);
    const int64_t limits[] = {1000, 300, 2000};
    for (uint64_t i = 0; i < 2000; i++) assert_int_equal(put_new(&f, f.record, i * 4 + 1, 1, 100), STRATA_OK);
    for (uint64_t round = 0; round < 3; round++) {
        int64_t limit = limits[round], most = 0;
        sx_l1_limit_part_entries(f.l1, NOISY, limit);
        for (uint64_t i = 0; i < 8000; i++) {
            (void)put_new(&f, f.record, i * 4, 1 + round, 50 + i % 7 * 40);
            if (i % 16 == 0) (void)sx_epoch_reclaim(f.epoch);
            int64_t entries = sx_l1_usage_read(f.l1, NOISY).entries;
            if (i > 4000 && entries > most) most = entries;
        }
        reclaim_all(&f);
        assert_in_range(most, limit * 3 / 4, limit + limit / 8);
        assert_in_range(sx_l1_usage_read(f.l1, NOISY).entries, limit * 3 / 4, limit + limit / 16);
        assert_true(hits(&f, 1, 8000, 4) >= 1960);
        check_against_walk(&f);
    }
    sx_l1_limit_part_entries(f.l1, NOISY, INT64_MAX);
    for (uint64_t i = 0; i < 4000; i++) assert_int_equal(put_new(&f, f.record, i * 4, 9, 50), STRATA_OK);
    reclaim_all(&f);
    assert_true(sx_l1_usage_read(f.l1, NOISY).entries > 3000);
    fixture_deinit(&f);
}

/* A limit that falls counts what stripes had kept for themselves: of a part that came while it had none. */
static void test_a_limit_that_comes_late(void **state) {
    (void)state;
    fixture f;
    fixture_init(&f, 64 << 20, 1 << 16);
    assert_int_equal(sx_l1_watch_parts(f.l1, &parts), STRATA_OK);
    const int64_t limit = 20000;
    for (uint64_t i = 0; i < 200; i++) assert_int_equal(put_new(&f, f.record, i * 4, 1, 100), STRATA_OK);
    sx_l1_limit_part(f.l1, NOISY, limit);
    for (uint64_t i = 200; i < 400; i++) (void)put_new(&f, f.record, i * 4, 1, 100);
    reclaim_all(&f);
    assert_in_range(sx_l1_usage_read(f.l1, NOISY).bytes, 1, limit + limit / 16);
    fixture_deinit(&f);
}

/* A limit that falls is reached by new keys that are refused, where few groups have one of the part. */
static void test_a_lower_limit_of_a_sparse_part(void **state) {
    (void)state;
    fixture f;
    fixture_init(&f, 16 << 20, 1 << 16);
    assert_int_equal(sx_l1_watch_parts(f.l1, &parts), STRATA_OK);
    for (uint64_t i = 0; i < 40000; i++) assert_int_equal(put_new(&f, f.record, i * 4 + 1, 1, 100), STRATA_OK);
    for (uint64_t i = 0; i < 1000; i++) assert_int_equal(put_new(&f, f.record, i * 4, 1, 100), STRATA_OK);
    int64_t limit = sx_l1_usage_read(f.l1, NOISY).bytes / 8;
    sx_l1_limit_part(f.l1, NOISY, limit);
    for (uint64_t i = 1000; i < 9000; i++) {
        (void)put_new(&f, f.record, i * 4, 1, 100);
        (void)sx_epoch_reclaim(f.epoch);
    }
    assert_in_range(sx_l1_usage_read(f.l1, NOISY).bytes, limit / 2, limit + limit / 8);
    assert_true(metric(&f, SX_L1_METRIC_LIMIT_REFUSED) > 0);
    check_against_walk(&f);
    fixture_deinit(&f);
}

/* ---- ranks ---- */

#define RANKS 3u
static uint32_t rank_parts_of(void *context, const sx_item *item, uint32_t numbers[SX_L1_PARTS_EACH]) {
    (void)context;
    numbers[0] = (uint32_t)(number_of(item) % RANKS);
    return 1;
}
static const sx_l1_parts rank_parts = {.count = RANKS, .of = rank_parts_of};

static void rank_fixture_init(fixture *f, int64_t bytes_max, sx_l1_policy policy) {
    fixture_init(f, bytes_max, 1 << 16);
    sx_l1_policy_change(f->l1, policy);
    assert_int_equal(sx_l1_watch_parts(f->l1, &rank_parts), STRATA_OK);
    for (uint32_t i = 0; i < RANKS; i++) sx_l1_rank_part(f->l1, i, (sx_l1_rank)i);
}

static void put_ranked(fixture *f, sx_l1_rank rank, uint64_t from, uint64_t to) {
    for (uint64_t i = from; i < to; i++) {
        (void)put_new(f, f->record, i * RANKS + (uint64_t)rank, 1, 100);
        if (i % 16 == 0) (void)sx_epoch_reclaim(f->epoch);
        if (i % 256 == 0) (void)sx_l1_maintain_on_keeper(f->l1, f->record, atomic_load(&f->now_ns));
    }
}

static uint64_t ranked_hits(fixture *f, sx_l1_rank rank, uint64_t to) { return hits(f, (uint64_t)rank, to * RANKS, RANKS); }

/* What is of a higher rank stays, whatever comes below it, and takes the room of what is of a lower one; by every policy, and while the
   table grows and shrinks. */
static void test_ranks(void **state) {
    (void)state;
    enum { HIGH = 2500, NOISE = 60000 };
    for (uint32_t policy = SX_L1_POLICY_S3FIFO; policy <= SX_L1_POLICY_ADAPTIVE; policy++) {
        fixture f;
        rank_fixture_init(&f, 1 << 20, (sx_l1_policy)policy);
        put_ranked(&f, SX_L1_RANK_LOW, 0, NOISE / 10);
        assert_true(ranked_hits(&f, SX_L1_RANK_LOW, NOISE / 10) > 3000); /* nobody else wants the room */
        put_ranked(&f, SX_L1_RANK_HIGH, 0, HIGH);
        assert_true(ranked_hits(&f, SX_L1_RANK_HIGH, HIGH) >= HIGH - HIGH / 100);
        for (uint64_t from = 0; from < NOISE; from += NOISE / 10) {
            put_ranked(&f, SX_L1_RANK_LOW, from, from + NOISE / 10);
            (void)hits(&f, from * RANKS, (from + NOISE / 10) * RANKS, RANKS); /* used again, as no scan would */
        }
        assert_true(ranked_hits(&f, SX_L1_RANK_HIGH, HIGH) >= HIGH - HIGH / 100);
        put_ranked(&f, SX_L1_RANK_NORMAL, 0, NOISE);
        assert_true(ranked_hits(&f, SX_L1_RANK_HIGH, HIGH) >= HIGH - HIGH / 100);
        assert_true(ranked_hits(&f, SX_L1_RANK_NORMAL, NOISE) > 500);
        assert_true(ranked_hits(&f, SX_L1_RANK_LOW, NOISE) < 100);
        assert_true(metric(&f, SX_L1_METRIC_RANK_REFUSED) > 0);
        assert_true(metric(&f, SX_L1_METRIC_BYTES_USED) <= 1 << 20);
        /* Among themselves they are as before. */
        put_ranked(&f, SX_L1_RANK_HIGH, HIGH, NOISE);
        assert_true(ranked_hits(&f, SX_L1_RANK_NORMAL, NOISE) < 100);
        reclaim_all(&f);
        fixture_deinit(&f);
    }
}

static void shrink(fixture *f, int64_t bytes) {
    sx_l1_resize(f->l1, bytes);
    for (int i = 0; i < 4000; i++) {
        atomic_fetch_add(&f->now_ns, SX_NS_PER_MS);
        (void)sx_l1_maintain_on_keeper(f->l1, f->record, atomic_load(&f->now_ns));
        (void)sx_epoch_reclaim(f->epoch);
    }
}

/* Ranks go with their entries as groups are split and merged, and a budget that shrinks takes the lowest first. */
static void test_ranks_while_the_budget_shrinks(void **state) {
    (void)state;
    enum { EACH = 4000 };
    fixture f;
    rank_fixture_init(&f, 8 << 20, SX_L1_POLICY_S3FIFO);
    for (uint64_t i = 0; i < EACH; i += 100) {
        for (uint32_t rank = 0; rank < RANKS; rank++) put_ranked(&f, (sx_l1_rank)rank, i, i + 100);
    }
    for (uint32_t rank = 0; rank < RANKS; rank++) assert_int_equal(ranked_hits(&f, (sx_l1_rank)rank, EACH), EACH);
    int64_t each = metric(&f, SX_L1_METRIC_BYTES_USED) / 3;
    shrink(&f, each * 3); /* room for little more than two of three, as a tenth is left to what is retired, and the index has its part */
    assert_true(ranked_hits(&f, SX_L1_RANK_HIGH, EACH) >= EACH - EACH / 50);
    assert_true(ranked_hits(&f, SX_L1_RANK_NORMAL, EACH) >= EACH - EACH / 50);
    assert_true(ranked_hits(&f, SX_L1_RANK_LOW, EACH) < EACH * 9 / 10);
    shrink(&f, each * 2);
    assert_true(ranked_hits(&f, SX_L1_RANK_HIGH, EACH) >= EACH - EACH / 50);
    assert_true(ranked_hits(&f, SX_L1_RANK_LOW, EACH) < EACH / 20);
    shrink(&f, 8 << 20);
    put_ranked(&f, SX_L1_RANK_LOW, 0, EACH); /* there is room again */
    assert_true(ranked_hits(&f, SX_L1_RANK_LOW, EACH) > EACH * 9 / 10);
    /* A part that has another rank from now on keeps what it has as that came. */
    sx_l1_rank_part(f.l1, SX_L1_RANK_LOW, SX_L1_RANK_HIGH);
    for (uint64_t i = 0; i < EACH / 2; i++) assert_int_equal(put_new(&f, f.record, i * RANKS, 2, 100), STRATA_OK);
    shrink(&f, each * 9 / 4);
    uint64_t anew = hits(&f, 0, EACH / 2 * RANKS, RANKS), old = hits(&f, EACH / 2 * RANKS, EACH * RANKS, RANKS);
    assert_true(anew >= EACH / 2 - EACH / 50 && old < EACH / 10);
    reclaim_all(&f);
    fixture_deinit(&f);
}

/* The same as the table becomes small, and for what is too large for those of its rank to make room. */
static void test_ranks_in_groups_that_merge(void **state) {
    (void)state;
    enum { EACH = 6000, KEPT = 600 };
    fixture f;
    rank_fixture_init(&f, 4 << 20, SX_L1_POLICY_S3FIFO);
    put_ranked(&f, SX_L1_RANK_HIGH, 0, EACH);
    put_ranked(&f, SX_L1_RANK_LOW, 0, EACH);
    int64_t index = metric(&f, SX_L1_METRIC_BYTES_METADATA);
    for (uint64_t i = KEPT; i < EACH; i++) {
        (void)remove_below(&f, f.record, i * RANKS + SX_L1_RANK_HIGH, UINT64_MAX);
        (void)remove_below(&f, f.record, i * RANKS + SX_L1_RANK_LOW, UINT64_MAX);
    }
    shrink(&f, 4 << 20);
    assert_true(metric(&f, SX_L1_METRIC_BYTES_METADATA) < index / 2);
    shrink(&f, 400000);
    put_ranked(&f, SX_L1_RANK_NORMAL, 0, 20000);
    assert_true(ranked_hits(&f, SX_L1_RANK_HIGH, KEPT) >= KEPT - KEPT / 50);
    int64_t most = 0;
    for (uint64_t i = 0; i < 400; i++) {
        (void)put_new(&f, f.record, (EACH + i) * RANKS, 1, 16000);
        (void)sx_epoch_reclaim(f.epoch);
        int64_t used = metric(&f, SX_L1_METRIC_BYTES_USED);
        if (used > most) most = used;
    }
    assert_true(most <= 400000);
    assert_true(ranked_hits(&f, SX_L1_RANK_HIGH, KEPT) >= KEPT - KEPT / 50);
    reclaim_all(&f);
    fixture_deinit(&f);
}

/* What an entry grows by is paid by who may leave for it, or it leaves itself: full of what is of a higher rank, the table keeps that, and its
   budget; by the overwrite of a small entry with a large one, and by a new one that has a group for itself. */
static void test_ranks_of_unequal_sizes(void **state) {
    (void)state;
    enum { BUDGET = 4 << 20, LARGE = 60000, LOWS = 8 };
    const size_t sizes[] = {100, 20000};
    for (int fill = 0; fill < 2; fill++) {
        fixture f;
        rank_fixture_init(&f, BUDGET, SX_L1_POLICY_S3FIFO);
        put_ranked(&f, SX_L1_RANK_LOW, 0, LOWS);
        uint64_t filled = 0;
        int64_t least = metric(&f, SX_L1_METRIC_EVICTIONS);
        while (metric(&f, SX_L1_METRIC_EVICTIONS) == least)
            (void)put_new(&f, f.record, filled++ * RANKS + SX_L1_RANK_HIGH, 1, sizes[fill]);
        int64_t bytes = BUDGET; /* full but for a few entries */
        while (sx_l1_live_max(f.l1) > sx_l1_live(f.l1)) sx_l1_resize(f.l1, bytes -= 4096);
        shrink(&f, bytes += 8192);
        uint64_t highs = ranked_hits(&f, SX_L1_RANK_HIGH, filled);
        int64_t refused = 0, given_up = 0, entries_low = (int64_t)ranked_hits(&f, SX_L1_RANK_LOW, LOWS);
        int64_t replaces = metric(&f, SX_L1_METRIC_REPLACES);
        for (uint64_t i = 0; i < 4 * LOWS; i++) { /* overwrites first, then new ones */
            int32_t status = put_new(&f, f.record, i * RANKS + SX_L1_RANK_LOW, 2, LARGE);
            assert_true(status == STRATA_OK || status == STRATA_E_OVERLOADED);
            if (status == STRATA_E_OVERLOADED) assert_int_equal(n_of(&f, i * RANKS + SX_L1_RANK_LOW), UINT64_MAX);
            given_up += status == STRATA_E_OVERLOADED && metric(&f, SX_L1_METRIC_REPLACES) > replaces;
            replaces = metric(&f, SX_L1_METRIC_REPLACES);
            refused += status == STRATA_E_OVERLOADED;
            reclaim_all(&f);
            assert_true(metric(&f, SX_L1_METRIC_BYTES_USED) <= bytes);
        }
        print_message("%llu high, %lld low, %lld refused, %lld of them overwrites\n", (unsigned long long)highs, (long long)entries_low,
                      (long long)refused, (long long)given_up);
        assert_true(refused >= LOWS && (fill != 0 || given_up > 0)); /* else the hand comes by the entry itself */
        assert_int_equal(metric(&f, SX_L1_METRIC_RANK_REFUSED), refused);
        assert_int_equal(metric(&f, SX_L1_METRIC_REFUSED), refused);
        shrink(&f, bytes);
        assert_int_equal(ranked_hits(&f, SX_L1_RANK_HIGH, filled), highs);
        fixture_deinit(&f);
    }
}

/* The keeper finds the few that are of a low rank, wherever they are, before it takes others. */
static void test_few_of_a_low_rank_leave_first(void **state) {
    (void)state;
    enum { HIGHS = 50000, LOWS = 20, LARGE = 50000 };
    fixture f;
    rank_fixture_init(&f, 16 << 20, SX_L1_POLICY_S3FIFO);
    for (uint64_t i = 0; i < HIGHS; i++) assert_int_equal(put_new(&f, f.record, i * RANKS + SX_L1_RANK_HIGH, 1, 100), STRATA_OK);
    for (uint64_t i = 0; i < LOWS; i++) (void)put_new(&f, f.record, i * RANKS + SX_L1_RANK_LOW, 1, LARGE); /* but into full groups */
    uint64_t there = ranked_hits(&f, SX_L1_RANK_LOW, LOWS);
    assert_in_range(there, LOWS / 4, LOWS);
    uint64_t highs = ranked_hits(&f, SX_L1_RANK_HIGH, HIGHS); /* a few left for others of their group */
    int64_t bytes = 16 << 20;
    while (sx_l1_live_max(f.l1) > sx_l1_live(f.l1)) sx_l1_resize(f.l1, bytes -= 4096);
    shrink(&f, bytes - (int64_t)there / 2 * LARGE);
    assert_int_equal(ranked_hits(&f, SX_L1_RANK_HIGH, HIGHS), highs);
    uint64_t lows = ranked_hits(&f, SX_L1_RANK_LOW, LOWS);
    print_message("%llu of %llu left\n", (unsigned long long)lows, (unsigned long long)there);
    assert_in_range(lows, 1, there - 1);
    shrink(&f, bytes / 2); /* others in the end */
    assert_int_equal(ranked_hits(&f, SX_L1_RANK_LOW, LOWS), 0);
    assert_true(metric(&f, SX_L1_METRIC_BYTES_USED) <= bytes / 2);
    highs = ranked_hits(&f, SX_L1_RANK_HIGH, HIGHS);
    assert_true(highs > HIGHS / 4);
    /* Once there was room, it begins with the lowest again. */
    shrink(&f, bytes);
    for (uint64_t i = 0; i < LOWS; i++) (void)put_new(&f, f.record, i * RANKS + SX_L1_RANK_LOW, 2, 10000);
    assert_true(ranked_hits(&f, SX_L1_RANK_LOW, LOWS) > LOWS / 2);
    for (bytes = 16 << 20; sx_l1_live_max(f.l1) > sx_l1_live(f.l1);) sx_l1_resize(f.l1, bytes -= 4096);
    shrink(&f, bytes - 30000);
    assert_int_equal(ranked_hits(&f, SX_L1_RANK_HIGH, HIGHS), highs);
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
        cmocka_unit_test(test_limit_of_entries),
        cmocka_unit_test(test_a_limit_that_comes_late),
        cmocka_unit_test(test_a_lower_limit_of_a_sparse_part),
        cmocka_unit_test(test_ranks),
        cmocka_unit_test(test_ranks_while_the_budget_shrinks),
        cmocka_unit_test(test_ranks_in_groups_that_merge),
        cmocka_unit_test(test_ranks_of_unequal_sizes),
        cmocka_unit_test(test_few_of_a_low_rank_leave_first),
        cmocka_unit_test(test_threads_share_what_is_left),
        cmocka_unit_test(test_no_memory_for_parts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
