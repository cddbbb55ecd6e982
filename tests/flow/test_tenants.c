/* SPDX-License-Identifier: Apache-2.0 */
/* Tenants and namespaces as guests of one L1: each is counted for itself, and one that is noisy does not evict the others. */
// ctest: timeout=300
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/flow/engine.h"
#include "tests/support/engine.h"

typedef struct fixture {
    strata *engine;
    strata_namespace *ns, *other;
    strata_session *session;
    int64_t refused; /* because of a limit or a priority, as put knows it */
} fixture;

static fixture *open_fixture(const char *const *pairs) {
    fixture *f = calloc(1, sizeof *f);
    f->engine = test_engine_open(pairs, NULL);
    f->ns = test_engine_ns(f->engine, "guests");
    f->other = test_engine_ns(f->engine, "other");
    f->session = test_engine_session(f->engine);
    return f;
}

static void close_fixture(fixture *f) {
    strata_session_close(f->session);
    assert_int_equal(strata_close(f->engine, 1000), STRATA_OK);
    free(f);
}

static strata_bytes key_of(char *buffer, size_t size, const char *tenant, uint32_t number) {
    strata_key key;
    strata_bytes bytes;
    strata_key_begin(&key, buffer, size);
    if (tenant != NULL) (void)strata_key_tenant(&key, test_bytes(tenant));
    (void)strata_key_int(&key, number);
    assert_int_equal(strata_key_finish(&key, &bytes), STRATA_OK);
    return bytes;
}

#define TURNS_MAX 60000 /* of 1 ms in which the keeper has its turn, on any machine */

/* As long as its guest's limit does not refuse it, it goes in: while memory that was retired is stuck, as where the keeper stands still
   with a pin, it is put again. */
static void put(fixture *f, strata_namespace *ns, const char *tenant, uint32_t number, size_t size) {
    static char value[4096];
    char buffer[64];
    strata_bytes key = key_of(buffer, sizeof buffer, tenant, number);
    for (int i = 0; i < TURNS_MAX; i++) {
        int32_t status = strata_set_wait(f->session, ns, key, (strata_bytes){value, size}, NULL, NULL);
        if (status == STRATA_OK) return;
        assert_int_equal(status, STRATA_E_OVERLOADED);
        int64_t before = f->refused;
        f->refused = test_metric(f->engine, "l1.limit_refused") + test_metric(f->engine, "l1.priority_refused");
        if (f->refused != before) return;
        test_sleep_ms(1);
    }
    fail_msg("nothing that was retired is freed");
}

static bool has(fixture *f, strata_namespace *ns, const char *tenant, uint32_t number) {
    char buffer[64];
    strata_result result;
    if (strata_peek(f->session, ns, key_of(buffer, sizeof buffer, tenant, number), &result) != STRATA_OK) return false;
    strata_result_release(f->session, &result);
    return true;
}

static strata_usage of_tenant(fixture *f, const char *tenant) {
    strata_usage usage = {.struct_size = sizeof usage};
    assert_int_equal(strata_tenant_usage(f->engine, test_bytes(tenant), &usage), STRATA_OK);
    return usage;
}

static strata_usage of_namespace(const strata_namespace *ns) {
    strata_usage usage = {.struct_size = sizeof usage};
    assert_int_equal(strata_namespace_usage(ns, &usage), STRATA_OK);
    return usage;
}

/* What left counts until it is freed, which is the keeper's. */
static strata_usage await_bytes(fixture *f, const char *tenant, int64_t most) {
    strata_usage usage = of_tenant(f, tenant);
    for (int i = 0; i < TURNS_MAX && usage.bytes > most; i++, usage = of_tenant(f, tenant)) test_sleep_ms(1);
    return usage;
}

static void test_each_is_counted(void **state) {
    (void)state;
    fixture *f = open_fixture(TEST_OPTIONS("l2.mode", "none", "flow.l1_usage", "on"));
    for (uint32_t i = 0; i < 10; i++) put(f, f->ns, "acme", i, 1000);
    for (uint32_t i = 0; i < 3; i++) put(f, f->other, "acme", i, 1000);
    for (uint32_t i = 0; i < 5; i++) put(f, f->ns, "a:b", i, 100); /* escaped in the key */
    put(f, f->ns, NULL, 7, 100);
    strata_usage acme = of_tenant(f, "acme"), odd = of_tenant(f, "a:b"), ns = of_namespace(f->ns), other = of_namespace(f->other);
    assert_int_equal(acme.entries, 13);
    assert_in_range(acme.bytes, 13 * 1000, 13 * 1400);
    assert_int_equal(odd.entries, 5);
    assert_int_equal(ns.entries, 16);
    assert_int_equal(other.entries, 3);
    assert_true(acme.bytes_max == STRATA_L1_UNLIMITED && ns.bytes_max == STRATA_L1_UNLIMITED);
    assert_int_equal(of_tenant(f, "a").entries, 0); /* never met */
    assert_int_equal(ns.entries + other.entries, test_metric(f->engine, "l1.entries"));
    int64_t *values = calloc(strata_metric_count(), sizeof *values);
    strata_metric metric;
    assert_int_equal(strata_stats_namespace(f->ns, values, strata_metric_count()), STRATA_OK);
    for (size_t i = 0; strata_metric_describe(i, &metric) == STRATA_OK; i++) {
        if (strcmp(metric.name, "l1.entries") == 0) assert_int_equal(values[i], 16);
        if (strcmp(metric.name, "l1.bytes_used") == 0) assert_int_equal(values[i], ns.bytes);
    }
    free(values);
    char buffer[64];
    for (uint32_t i = 0; i < 10; i++)
        assert_int_equal(strata_invalidate_wait(f->session, f->ns, key_of(buffer, sizeof buffer, "acme", i), NULL), STRATA_OK);
    for (int i = 0; i < TURNS_MAX && of_tenant(f, "acme").entries != 3; i++) test_sleep_ms(1); /* as their memory is freed */
    assert_int_equal(of_tenant(f, "acme").entries, 3);
    close_fixture(f);
}

#define QUIET_KEYS 2000u

/* A tenant whose working set fits, read all over again, beside one that reads each of ever new keys three times: what part of the quiet
   one's reads L1 answers. */
static double quiet_ratio(fixture *f) {
    uint32_t hits = 0, reads = 0, noisy = 0;
    for (uint32_t round = 0; round < 5; round++) {
        for (uint32_t i = 0; i < QUIET_KEYS; i++) {
            bool hit = has(f, f->ns, "quiet", i);
            if (!hit) put(f, f->ns, "quiet", i, 500);
            if (round > 1) {
                hits += hit;
                reads++;
            }
            for (uint32_t j = 0; j < 5; j++, noisy++) {
                if (!has(f, f->ns, "noisy", noisy)) put(f, f->ns, "noisy", noisy, 500);
                (void)has(f, f->ns, "noisy", noisy);
                (void)has(f, f->ns, "noisy", noisy - noisy % 64);
            }
        }
    }
    return (double)hits / reads;
}

static void test_a_noisy_tenant_evicts_its_own(void **state) {
    (void)state;
    const char *const options[] = {"l2.mode", "none", "flow.l1_usage", "on", "l1.bytes", "4MiB", "l1.policy", "lru", NULL};
    fixture *f = open_fixture(options);
    double without = quiet_ratio(f);
    close_fixture(f);
    f = open_fixture(options);
    strata_error error;
    assert_int_equal(strata_tenant_limit(f->engine, test_bytes("noisy"), 1 << 20, &error), STRATA_OK);
    assert_int_equal(of_tenant(f, "noisy").bytes_max, 1 << 20);
    double with = quiet_ratio(f);
    const int64_t most = (1 << 20) + (1 << 20) / 8;
    strata_usage noisy = await_bytes(f, "noisy", most);
    print_message("quiet tenant's hit ratio: %.3f without a limit of the noisy one, %.3f with; noisy has %lld bytes\n", without, with,
                  (long long)noisy.bytes);
    assert_true(without < 0.5);
    assert_true(with > 0.95);
    assert_in_range(noisy.bytes, (1 << 20) / 4, most);
    close_fixture(f);
    f = open_fixture(options); /* the same by a part for each tenant, and by a namespace's limit */
    assert_int_equal(strata_option_set(f->engine, "flow.tenant_part", "40%", NULL), STRATA_OK);
    assert_int_equal(of_tenant(f, "noisy").bytes_max, (4 << 20) / 100 * 40);
    assert_true(quiet_ratio(f) > 0.95);
    close_fixture(f);
}

static void test_a_namespace_is_limited(void **state) {
    (void)state;
    fixture *f = open_fixture(TEST_OPTIONS("l2.mode", "none", "flow.l1_usage", "on", "l1.bytes", "8MiB"));
    assert_int_equal(strata_namespace_limit(f->other, 256 << 10, NULL), STRATA_OK);
    assert_int_equal(of_namespace(f->other).bytes_max, 256 << 10);
    for (uint32_t i = 0; i < 1000; i++) put(f, f->ns, NULL, i, 500);
    for (uint32_t i = 0; i < 20000; i++) put(f, f->other, NULL, i, 500);
    const int64_t most = (256 << 10) + (256 << 10) / 8;
    for (int i = 0; i < TURNS_MAX && of_namespace(f->other).bytes > most; i++) test_sleep_ms(1);
    assert_in_range(of_namespace(f->other).bytes, (256 << 10) / 4, most); /* one key is put at a time, and one evicts one */
    uint32_t left = 0;
    for (uint32_t i = 0; i < 1000; i++) left += has(f, f->ns, NULL, i);
    assert_true(left >= 990);
    int64_t limited = test_metric(f->engine, "l1.limit_evictions"), refused = test_metric(f->engine, "l1.limit_refused");
    print_message("%lld evicted, of them %lld, and %lld refused, because of the limit\n", (long long)test_metric(f->engine, "l1.evictions"),
                  (long long)limited, (long long)refused);
    assert_true(limited > 0 && limited <= test_metric(f->engine, "l1.evictions"));
    /* Nearly all that left did because of it. By entries that finds see: what was evicted and is not freed yet is none of these. */
    int64_t there = test_metric(f->engine, "l1.entries") - left;
    assert_in_range(limited + refused + there, 20000 - 10, 20000);
    close_fixture(f);
}

static strata_quota quota_of(strata_priority priority, int64_t entries_max) {
    return (strata_quota){.struct_size = sizeof(strata_quota), .priority = priority, .entries_max = entries_max};
}

static void test_a_namespace_has_so_many_entries(void **state) {
    (void)state;
    fixture *f = open_fixture(TEST_OPTIONS("l2.mode", "none", "flow.l1_usage", "on", "l1.bytes", "8MiB", "namespace.other.l1_entries_max", "4000"));
    assert_int_equal(of_namespace(f->other).entries_max, 4000);
    strata_quota quota = quota_of(STRATA_PRIORITY_DEFAULT, 400);
    assert_int_equal(strata_namespace_quota_set(f->other, &quota, NULL), STRATA_OK); /* the program's stands above it */
    assert_int_equal(of_namespace(f->other).entries_max, 400);
    assert_int_equal(of_namespace(f->other).bytes_max, STRATA_L1_UNLIMITED);
    for (uint32_t i = 0; i < 1000; i++) put(f, f->ns, NULL, i, 500);
    for (uint32_t i = 0; i < 20000; i++) put(f, f->other, NULL, i, 10 + i % 5 * 100);
    for (int i = 0; i < TURNS_MAX && of_namespace(f->other).entries > 450; i++) test_sleep_ms(1);
    assert_in_range(of_namespace(f->other).entries, 100, 450);
    uint32_t left = 0;
    for (uint32_t i = 0; i < 1000; i++) left += has(f, f->ns, NULL, i);
    assert_true(left >= 990);
    quota.entries_max = 0;
    assert_int_equal(strata_namespace_quota_set(f->other, &quota, NULL), STRATA_OK);
    assert_int_equal(of_namespace(f->other).entries_max, 4000);
    assert_int_equal(strata_namespace_limit(f->other, 1 << 20, NULL), STRATA_OK); /* leaves the rest */
    assert_int_equal(of_namespace(f->other).entries_max, 4000);
    strata_error error;
    quota.entries_max = 63;
    assert_int_equal(strata_namespace_quota_set(f->other, &quota, &error), STRATA_E_CONFIG);
    assert_string_equal(error.text, "a limit of entries must be 64 or more, or 0");
    quota = quota_of((strata_priority)4, 0);
    assert_int_equal(strata_namespace_quota_set(f->other, &quota, &error), STRATA_E_CONFIG);
    quota = quota_of(STRATA_PRIORITY_LOW, 0);
    quota.struct_size = 0;
    assert_int_equal(strata_namespace_quota_set(f->other, &quota, &error), STRATA_E_INVALID);
    assert_int_equal(of_namespace(f->other).bytes_max, 1 << 20);
    close_fixture(f);
    f = open_fixture(TEST_OPTIONS("l2.mode", "none"));
    quota = quota_of(STRATA_PRIORITY_LOW, 0);
    assert_int_equal(strata_namespace_quota_set(f->ns, &quota, &error), STRATA_E_CONFIG);
    assert_int_equal(strata_option_set(f->engine, "namespace.other.l1_priority", "low", &error), STRATA_E_CONFIG);
    close_fixture(f);
}

/* A namespace that is read from time to time, beside one that runs through new keys and reads each three times. */
static uint32_t left_after_noise(fixture *f) {
    uint32_t left = 0;
    for (uint32_t i = 0; i < QUIET_KEYS; i++) put(f, f->ns, NULL, i, 500);
    for (uint32_t i = 0; i < 10 * QUIET_KEYS; i++) {
        put(f, f->other, NULL, i, 500);
        (void)has(f, f->other, NULL, i);
        (void)has(f, f->other, NULL, i - i % 64);
    }
    for (uint32_t i = 0; i < QUIET_KEYS; i++) left += has(f, f->ns, NULL, i);
    return left;
}

static void test_a_low_priority_evicts_no_higher_one(void **state) {
    (void)state;
    const char *const options[] = {"l2.mode", "none", "flow.l1_usage", "on", "l1.bytes", "4MiB", "l1.policy", "lru", NULL};
    fixture *f = open_fixture(options);
    uint32_t without = left_after_noise(f);
    close_fixture(f);
    f = open_fixture(options);
    strata_quota low = quota_of(STRATA_PRIORITY_LOW, 0);
    assert_int_equal(of_namespace(f->other).priority, STRATA_PRIORITY_NORMAL);
    assert_int_equal(strata_namespace_quota_set(f->other, &low, NULL), STRATA_OK);
    assert_int_equal(of_namespace(f->other).priority, STRATA_PRIORITY_LOW);
    uint32_t with = left_after_noise(f), noisy = (uint32_t)of_namespace(f->other).entries;
    print_message("of %u entries %u are left beside a noisy namespace, %u where that is of a low priority and has %u\n", (unsigned)QUIET_KEYS,
                  (unsigned)without, (unsigned)with, (unsigned)noisy);
    assert_true(without < QUIET_KEYS / 2);
    assert_true(with >= QUIET_KEYS - QUIET_KEYS / 100);
    assert_true(noisy > 500); /* it has the rest */
    close_fixture(f);
    f = open_fixture(options); /* the same by the configuration, while open, and by what is high */
    assert_int_equal(strata_option_set(f->engine, "namespace.guests.l1_priority", "high", NULL), STRATA_OK);
    assert_int_equal(of_namespace(f->ns).priority, STRATA_PRIORITY_HIGH);
    assert_true(left_after_noise(f) >= QUIET_KEYS - QUIET_KEYS / 100);
    close_fixture(f);
}

/* Beyond its limit, as where that fell, a tenant has nothing kept in groups that have none of its entries. */
static void test_a_limit_refuses(void **state) {
    (void)state;
    fixture *f = open_fixture(TEST_OPTIONS("l2.mode", "none", "flow.l1_usage", "on", "l1.bytes", "64MiB"));
    for (uint32_t i = 0; i < 20000; i++) put(f, f->ns, NULL, i, 100);
    for (uint32_t i = 0; i < 200; i++) put(f, f->ns, "acme", i, 1000);
    assert_int_equal(test_metric(f->engine, "l1.limit_evictions") + test_metric(f->engine, "l1.limit_refused"), 0);
    assert_int_equal(strata_tenant_limit(f->engine, test_bytes("acme"), 64 << 10, NULL), STRATA_OK);
    uint32_t refused = 0;
    char buffer[64];
    for (uint32_t i = 200; i < 250; i++) {
        strata_bytes key = key_of(buffer, sizeof buffer, "acme", i);
        refused += strata_set_wait(f->session, f->ns, key, (strata_bytes){"v", 1}, NULL, NULL) == STRATA_E_OVERLOADED;
    }
    assert_true(refused > 0);
    assert_int_equal(test_metric(f->engine, "l1.limit_refused"), refused);
    assert_int_equal(test_metric(f->engine, "l1.refused"), refused);
    close_fixture(f);
}

static void test_no_room_and_nonsense(void **state) {
    (void)state;
    strata_error error;
    strata_usage usage = {.struct_size = sizeof usage};
    fixture *f = open_fixture(TEST_OPTIONS("l2.mode", "none", "flow.l1_usage", "on", "flow.tenants_max", "2"));
    put(f, f->ns, "a", 1, 10);
    put(f, f->ns, "b", 1, 10);
    put(f, f->ns, "c", 1, 10); /* counted, as one of the rest */
    assert_int_equal(of_tenant(f, "a").entries + of_tenant(f, "b").entries, 2);
    assert_int_equal(strata_tenant_usage(f->engine, test_bytes("c"), &usage), STRATA_E_OVERLOADED);
    assert_int_equal(strata_tenant_limit(f->engine, test_bytes("c"), 1 << 20, &error), STRATA_E_OVERLOADED);
    assert_string_equal(error.text, "no room for another tenant: option 'flow.tenants_max'");
    assert_int_equal(strata_tenant_limit(f->engine, test_bytes("a"), 100, &error), STRATA_E_CONFIG);
    assert_int_equal(strata_tenant_limit(f->engine, test_bytes(""), 1 << 20, &error), STRATA_E_INVALID);
    assert_int_equal(strata_tenant_usage(NULL, test_bytes("a"), &usage), STRATA_E_INVALID);
    close_fixture(f);
    f = open_fixture(TEST_OPTIONS("l2.mode", "none"));
    assert_int_equal(strata_tenant_limit(f->engine, test_bytes("a"), 1 << 20, &error), STRATA_E_CONFIG);
    assert_int_equal(strata_namespace_usage(f->ns, &usage), STRATA_E_CONFIG);
    close_fixture(f);
}

/* An L1 that counting tenants would use up is refused, and the same one with fewer of them is not. */
static void test_more_tenants_than_l1_has_room_for(void **state) {
    (void)state;
    strata *engine = NULL;
    strata_error error = {0};
    const char *const many[] = {"l2.mode", "none", "flow.l1_usage", "on", "l1.bytes", "16MiB", "flow.tenants_max", "65536", NULL};
    assert_int_equal(test_engine_try(many, NULL, &engine, &error), STRATA_E_CONFIG);
    assert_null(engine);
    assert_non_null(strstr(error.text, "flow.tenants_max"));
    assert_non_null(strstr(error.text, "65536"));
    fixture *f = open_fixture(TEST_OPTIONS("l2.mode", "none", "flow.l1_usage", "on", "l1.bytes", "16MiB", "flow.tenants_max", "8192"));
    put(f, f->ns, "a", 1, 1000);
    assert_true(has(f, f->ns, "a", 1));
    close_fixture(f);
}

/* What counts guests was made at open and stays: an L1 that has no room for it is refused later too. */
static void test_l1_is_not_made_smaller_than_what_counts(void **state) {
    (void)state;
    strata_error error = {0};
    char text[32];
    fixture *f = open_fixture(TEST_OPTIONS("l2.mode", "none", "flow.l1_usage", "on", "l1.bytes", "64MiB", "flow.tenants_max", "16384"));
    assert_int_equal(strata_option_set(f->engine, "l1.bytes", "8MiB", &error), STRATA_E_CONFIG);
    assert_non_null(strstr(error.text, "option 'l1.bytes'"));
    assert_non_null(strstr(error.text, "31690297 or more")); /* 1024 namespaces and 16384 tenants at 512 bytes, in 9 of 32 */
    assert_int_equal(strata_option_get(f->engine, "l1.bytes", text, sizeof text), STRATA_OK);
    assert_string_equal(text, "64MiB");
    assert_int_equal(strata_option_set(f->engine, "l1.bytes", "31690296", &error), STRATA_E_CONFIG);
    assert_int_equal(strata_option_set(f->engine, "l1.bytes", "31690297", &error), STRATA_OK);
    assert_int_equal(strata_option_set(f->engine, "flow.ttl", "1m", &error), STRATA_OK);
    put(f, f->ns, "a", 1, 1000);
    assert_true(has(f, f->ns, "a", 1));
    close_fixture(f);
    f = open_fixture(TEST_OPTIONS("l2.mode", "none", "l1.bytes", "64MiB", "flow.tenants_max", "16384")); /* nothing is counted */
    assert_int_equal(strata_option_set(f->engine, "l1.bytes", "8MiB", &error), STRATA_OK);
    close_fixture(f);
}

/* What each tenant's reads find, by peek, get and batch, of one session or several, and from a reset on. */
static void test_reads_are_counted_by_tenant(void **state) {
    (void)state;
    fixture *f = open_fixture(TEST_OPTIONS("l2.mode", "none", "flow.l1_usage", "on"));
    char buffer[64], more[64];
    strata_result result, results[2];
    for (uint32_t i = 0; i < 3; i++) assert_false(has(f, f->ns, "acme", i)); /* nobody has met it yet */
    for (uint32_t i = 0; i < 4; i++) put(f, f->ns, "acme", i, 100);
    put(f, f->other, "bolt", 1, 100);
    put(f, f->ns, NULL, 1, 100);
    assert_true(has(f, f->ns, NULL, 1)); /* nobody's */
    for (uint32_t i = 0; i < 6; i++) assert_int_equal(has(f, f->ns, "acme", i), i < 4);
    assert_int_equal(strata_get_wait(f->session, f->ns, key_of(buffer, sizeof buffer, "acme", 1), NULL, &result), STRATA_OK);
    strata_result_release(f->session, &result);
    strata_bytes keys[] = {key_of(buffer, sizeof buffer, "acme", 2), key_of(more, sizeof more, "acme", 77)};
    assert_int_equal(strata_mget_wait(f->session, f->ns, keys, 2, NULL, results), STRATA_OK);
    for (int i = 0; i < 2; i++) strata_result_release(f->session, &results[i]);
    strata_session *first = f->session;
    f->session = test_engine_session(f->engine);
    assert_true(has(f, f->other, "bolt", 1));
    assert_true(has(f, f->ns, "acme", 0));
    strata_session_close(f->session); /* what it counted stays counted */
    f->session = first;
    strata_usage acme = of_tenant(f, "acme"), bolt = of_tenant(f, "bolt"), never = of_tenant(f, "never"), ns = of_namespace(f->ns);
    assert_true(acme.hits == 4 + 1 + 1 + 1 && acme.misses == 2 + 1);
    assert_true(bolt.hits == 1 && bolt.misses == 0);
    assert_true(never.hits == 0 && never.misses == 0);
    assert_true(ns.hits == 4 + 1 + 1 + 1 + 1 && ns.misses == 3 + 2 + 1);
    assert_int_equal(strata_stats_reset(f->engine), STRATA_OK);
    assert_true(has(f, f->ns, "acme", 0));
    acme = of_tenant(f, "acme");
    ns = of_namespace(f->ns);
    assert_true(acme.hits == 1 && acme.misses == 0 && ns.hits == 1 && ns.misses == 0);
    close_fixture(f);
}

/* However many they are, and after the session that counted them. */
static void test_reads_of_many_tenants(void **state) {
    (void)state;
    enum { TENANTS = 300 };
    fixture *f = open_fixture(TEST_OPTIONS("l2.mode", "none", "flow.l1_usage", "on", "flow.tenants_max", "16384"));
    char name[16];
    uint32_t told = 0;
    for (int round = 0; round < 2; round++) {
        strata_session *first = f->session;
        f->session = test_engine_session(f->engine);
        for (uint32_t i = 0; i < TENANTS; i++) {
            snprintf(name, sizeof name, "t%u", (unsigned)i);
            put(f, f->ns, name, 1, 10);
            for (uint32_t k = 0; k <= i % 3; k++) assert_true(has(f, f->ns, name, 1));
            assert_false(has(f, f->ns, name, 2));
        }
        strata_session_close(f->session);
        f->session = first;
        for (uint32_t i = 0; i < TENANTS; i++) {
            snprintf(name, sizeof name, "t%u", (unsigned)i);
            strata_usage usage = of_tenant(f, name);
            told += usage.hits == 1 + i % 3 && usage.misses == 1;
        }
        assert_int_equal(told, (round + 1) * TENANTS);
        assert_int_equal(strata_stats_reset(f->engine), STRATA_OK);
        assert_true(of_tenant(f, "t0").hits == 0 && of_tenant(f, "t299").misses == 0);
    }
    close_fixture(f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_is_counted),
        cmocka_unit_test(test_a_noisy_tenant_evicts_its_own),
        cmocka_unit_test(test_a_namespace_is_limited),
        cmocka_unit_test(test_a_namespace_has_so_many_entries),
        cmocka_unit_test(test_a_low_priority_evicts_no_higher_one),
        cmocka_unit_test(test_a_limit_refuses),
        cmocka_unit_test(test_no_room_and_nonsense),
        cmocka_unit_test(test_more_tenants_than_l1_has_room_for),
        cmocka_unit_test(test_reads_are_counted_by_tenant),
        cmocka_unit_test(test_reads_of_many_tenants),
        cmocka_unit_test(test_l1_is_not_made_smaller_than_what_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
