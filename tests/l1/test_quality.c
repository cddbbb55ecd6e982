/* SPDX-License-Identifier: Apache-2.0 */
/* Whether what is evicted was worth least: hit ratios against a true LRU of the same bytes, and a scan beside hot keys. */
#include "fixture.h"

#include <math.h>

#define KEYS 100000u
#define VALUE_BYTES 100u
#define REQUESTS 800000u
#define CAPACITY 10000 /* entries, about */

static double zipf_sums[KEYS];

static void zipf_init(double skew) {
    double sum = 0;
    for (uint32_t i = 0; i < KEYS; i++) {
        sum += 1 / pow(i + 1, skew);
        zipf_sums[i] = sum;
    }
}

static uint64_t zipf_next(uint64_t *random) {
    double at = (double)(random_next(random) >> 11) / 9007199254740992.0 * zipf_sums[KEYS - 1];
    uint32_t low = 0;
    uint32_t high = KEYS - 1;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (zipf_sums[middle] < at) low = middle + 1;
        else high = middle;
    }
    return low;
}

/* A true LRU of entries. */
typedef struct lru {
    uint32_t previous[KEYS + 1], next[KEYS + 1]; /* KEYS is the ring's head */
    bool present[KEYS];
    int64_t count, count_max;
} lru;

static void lru_unlink(lru *l, uint32_t i) {
    l->next[l->previous[i]] = l->next[i];
    l->previous[l->next[i]] = l->previous[i];
}
static bool lru_access(lru *l, uint32_t i) {
    bool hit = l->present[i];
    if (hit) lru_unlink(l, i);
    else l->count++;
    l->present[i] = true;
    l->next[i] = l->next[KEYS];
    l->previous[i] = KEYS;
    l->previous[l->next[KEYS]] = i;
    l->next[KEYS] = i;
    if (l->count > l->count_max) {
        uint32_t last = l->previous[KEYS];
        lru_unlink(l, last);
        l->present[last] = false;
        l->count--;
    }
    return hit;
}

static bool l1_access(fixture *f, uint64_t number) {
    if (n_of(f, number) != UINT64_MAX) return true;
    assert_int_equal(put_new(f, f->record, number, 1, VALUE_BYTES), STRATA_OK);
    if (metric(f, SX_L1_METRIC_INSERTS) % 64 == 0) (void)sx_epoch_reclaim(f->epoch);
    return false;
}

/* The budget whose entries' part holds CAPACITY entries, index apart. */
static void quality_init(fixture *f) {
    fixture_init(f, INT64_C(1) << 26, 1 << 16);
    sx_item *item = item_of(f, 1, 1, VALUE_BYTES);
    int64_t footprint = (int64_t)sx_item_footprint(item);
    sx_item_release(item);
    int64_t index = CAPACITY / 14 * 320;
    sx_l1_resize(f->l1, (CAPACITY * footprint + index) * 10 / 9);
}

static void test_zipf_as_good_as_lru(void **state) {
    (void)state;
    fixture f;
    quality_init(&f);
    zipf_init(0.99);
    lru *l = calloc(1, sizeof *l);
    assert_non_null(l);
    l->next[KEYS] = KEYS;
    l->previous[KEYS] = KEYS;
    uint64_t random = 11;
    int64_t hits = 0;
    int64_t lru_hits = 0;
    for (uint32_t i = 0; i < REQUESTS; i++) {
        l->count_max = metric(&f, SX_L1_METRIC_ENTRIES) > CAPACITY / 2 ? metric(&f, SX_L1_METRIC_ENTRIES) : CAPACITY / 2;
        uint64_t number = zipf_next(&random);
        bool hit = l1_access(&f, number);
        bool lru_hit = lru_access(l, (uint32_t)number);
        if (i < REQUESTS / 4) continue;
        hits += hit;
        lru_hits += lru_hit;
    }
    double ratio = (double)hits / (REQUESTS * 3 / 4);
    double lru_ratio = (double)lru_hits / (REQUESTS * 3 / 4);
    print_message("zipf 0.99: hit ratio %.4f, LRU of as many entries (%lld) %.4f\n", ratio, (long long)l->count,
                  lru_ratio);
    assert_true(l->count > CAPACITY * 8 / 10);
    assert_true(ratio > lru_ratio); /* S3-FIFO gains some points on this */
    free(l);
    fixture_deinit(&f);
}

/* Keys that were hit some times stay through a scan of many times the capacity. */
static void test_scan_does_not_flush(void **state) {
    (void)state;
    fixture f;
    quality_init(&f);
    const uint64_t hot = CAPACITY / 2;
    for (int round = 0; round < 3; round++) {
        for (uint64_t i = 0; i < hot; i++) (void)l1_access(&f, i);
    }
    uint64_t hits = 0;
    for (uint64_t i = 0; i < CAPACITY * 10; i++) {
        (void)l1_access(&f, 1000000 + i);
        if (i % 4 == 0) hits += l1_access(&f, i / 4 % hot);
    }
    double ratio = (double)hits / (CAPACITY * 10 / 4);
    print_message("hot keys beside a scan of ten times the capacity: hit ratio %.4f\n", ratio);
    assert_true(ratio > 0.97);
    fixture_deinit(&f);
}

/* Groups that fill up before the average does are split out of turn: the budget is used, not the luck of the hash. */
static void test_the_budget_is_used(void **state) {
    (void)state;
    fixture f;
    quality_init(&f);
    int64_t least = INT64_MAX;
    for (uint64_t i = 0; i < CAPACITY * 5; i++) {
        (void)l1_access(&f, i);
        int64_t used = metric(&f, SX_L1_METRIC_BYTES_USED) - (int64_t)sx_epoch_retired_bytes(f.epoch);
        if (i > CAPACITY * 2 && used < least) least = used;
    }
    double share = (double)least / (double)metric(&f, SX_L1_METRIC_BYTES_MAX);
    print_message("entries and index hold %.3f of the budget, %.1f entries a group\n", share,
                  (double)metric(&f, SX_L1_METRIC_ENTRIES) * 320 /
                      (double)(metric(&f, SX_L1_METRIC_BYTES_USED) - (int64_t)sx_epoch_retired_bytes(f.epoch) -
                               metric(&f, SX_L1_METRIC_ENTRIES) * 192));
    assert_true(share > 0.88);
    fixture_deinit(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_zipf_as_good_as_lru),
        cmocka_unit_test(test_scan_does_not_flush),
        cmocka_unit_test(test_the_budget_is_used),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
