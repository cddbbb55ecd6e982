/* SPDX-License-Identifier: Apache-2.0 */
/* Keys of segments: no two lists make one key. Hashes of parameters: what means the same hashes the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <strata/strata.h>

#include "core/codec/canonical.h"
#include "tests/support/alloc.h"

static strata_bytes text(const char *s) { return (strata_bytes){s, strlen(s)}; }

/* The key of a tenant (NULL none) and segments, up to the first NULL. */
static const char *built(const char *tenant, const char *const *segments) {
    static char buffer[128];
    strata_key key;
    strata_bytes bytes = {0};
    strata_key_begin(&key, buffer, sizeof buffer - 1);
    if (tenant != NULL) (void)strata_key_tenant(&key, text(tenant));
    for (; *segments != NULL; segments++) (void)strata_key_text(&key, *segments);
    if (strata_key_finish(&key, &bytes) != STRATA_OK) return NULL;
    assert_ptr_equal(bytes.data, buffer);
    buffer[bytes.size] = '\0';
    return buffer;
}
#define KEY(tenant, ...) built(tenant, (const char *const[]){__VA_ARGS__, NULL})

static void test_segments(void **state) {
    (void)state;
    assert_string_equal(KEY(NULL, "user", "7"), "user:7");
    assert_string_equal(KEY(NULL, "a:b", "c"), "a%3Ab:c");
    assert_string_equal(KEY(NULL, "100%", ""), "100%25:");
    assert_string_equal(KEY(NULL, "@home", "a@b", "~x~"), "%40home:a@b:%7Ex~");
    assert_string_equal(KEY("acme", "user", "7"), "@acme:user:7");
    assert_string_equal(KEY("@:", "u"), "@%40%3A:u");
    assert_string_equal(KEY("acme", NULL), "@acme");
    assert_null(KEY(NULL, NULL));
    assert_null(KEY(NULL, ""));
    assert_string_equal(KEY(NULL, "", ""), ":");
    char buffer[64];
    strata_key key;
    strata_bytes bytes;
    strata_key_begin(&key, buffer, sizeof buffer);
    assert_int_equal(strata_key_int(&key, INT64_MIN), STRATA_OK);
    assert_int_equal(strata_key_segment(&key, (strata_bytes){"\0\xff", 2}), STRATA_OK);
    assert_int_equal(strata_key_finish(&key, &bytes), STRATA_OK);
    assert_int_equal(bytes.size, 23);
    assert_memory_equal(bytes.data, "-9223372036854775808:\0\xff", 23);
}

static void test_refusals(void **state) {
    (void)state;
    char buffer[5000];
    strata_key key;
    strata_bytes bytes;
    strata_key_begin(&key, buffer, 4);
    assert_int_equal(strata_key_text(&key, "abcd"), STRATA_OK);
    assert_int_equal(strata_key_text(&key, ""), STRATA_E_KEY_SIZE);
    assert_int_equal(strata_key_tenant(&key, text("t")), STRATA_E_KEY_SIZE); /* sticks */
    assert_int_equal(strata_key_finish(&key, &bytes), STRATA_E_KEY_SIZE);
    strata_key_begin(&key, buffer, 4);
    assert_int_equal(strata_key_text(&key, "ab:"), STRATA_E_KEY_SIZE); /* as written, not as given */
    strata_key_begin(&key, buffer, sizeof buffer);
    for (int i = 0; i < STRATA_KEY_BYTES_MAX / 16; i++) (void)strata_key_text(&key, "0123456789abcde");
    assert_int_equal(strata_key_finish(&key, &bytes), STRATA_OK);
    assert_int_equal(bytes.size, STRATA_KEY_BYTES_MAX - 1);
    assert_int_equal(strata_key_text(&key, "1"), STRATA_E_KEY_SIZE);
    strata_key_begin(&key, buffer, sizeof buffer);
    assert_int_equal(strata_key_text(&key, "a"), STRATA_OK);
    assert_int_equal(strata_key_tenant(&key, text("t")), STRATA_E_INVALID);
    strata_key_begin(&key, buffer, sizeof buffer);
    assert_int_equal(strata_key_tenant(&key, text("")), STRATA_E_INVALID);
    strata_key_begin(&key, buffer, sizeof buffer);
    assert_int_equal(strata_key_text(&key, NULL), STRATA_E_INVALID);
    strata_key_begin(&key, NULL, 10);
    assert_int_equal(strata_key_text(&key, "a"), STRATA_E_INVALID);
    strata_key_begin(&key, buffer, sizeof buffer);
    assert_int_equal(strata_key_query(&key, (strata_bytes){"\xc1", 1}), STRATA_E_CORRUPT);
    assert_int_equal(strata_key_finish(&key, &bytes), STRATA_E_CORRUPT);
}

/* Every list of up to three segments of up to two of these bytes, with and without tenants: as many keys as lists. */
static int compare_texts(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static void test_no_two_lists_make_one_key(void **state) {
    (void)state;
    static const char letters[] = ":%@~3";
    char words[31][3] = {""};
    size_t count = 1, keys = 0;
    for (size_t i = 0; i < 5; i++) words[count++][0] = letters[i];
    for (size_t i = 0; i < 25; i++) memcpy(words[count++], (char[]){letters[i / 5], letters[i % 5], 0}, 3);
    assert_int_equal(count, 31);
    char **all = calloc(100000, sizeof *all);
    for (size_t shape = 0; shape < 6; shape++) { /* with a tenant or not, and one to three segments */
        size_t segments = 1 + shape % 3, most = segments == 1 ? 31 : segments == 2 ? 31 * 31 : 31 * 31 * 31;
        bool tenant = shape >= 3;
        if (tenant && segments == 3) continue;
        for (size_t n = 0; n < most; n++) {
            const char *list[4] = {words[n % 31], segments > 1 ? words[n / 31 % 31] : NULL, segments > 2 ? words[n / 961] : NULL, NULL};
            for (size_t t = 1; t < (tenant ? 31u : 2u); t++) {
                const char *key = built(tenant ? words[t] : NULL, list);
                if (key != NULL) all[keys++] = strdup(key);
            }
        }
    }
    assert_int_equal(keys, 31 + 961 + 29791 - 1 + 30 * (31 + 961)); /* one empty text is no key */
    qsort(all, keys, sizeof *all, compare_texts);
    for (size_t i = 1; i < keys; i++)
        if (strcmp(all[i - 1], all[i]) == 0) fail_msg("two lists make %s", all[i]);
    for (size_t i = 0; i < keys; i++) free(all[i]);
    free(all);
}

/* The hash of a value is that of these bytes. */
static void hashes_as(const char *value, size_t size, const char *canonical, size_t canonical_size) {
    uint8_t hash[STRATA_QUERY_HASH_BYTES];
    XXH128_canonical_t expected;
    XXH128_canonicalFromHash(&expected, XXH3_128bits(canonical, canonical_size));
    assert_int_equal(strata_query_hash((strata_bytes){value, size}, hash), STRATA_OK);
    assert_memory_equal(hash, expected.digest, sizeof hash);
}
#define HASHES_AS(value, canonical) hashes_as(value, sizeof(value) - 1, canonical, sizeof(canonical) - 1)

static void test_one_form_each(void **state) {
    (void)state;
    HASHES_AS("\xc0", "\xc0");
    HASHES_AS("\xc2", "\xc2");
    HASHES_AS("\xc3", "\xc3");
    HASHES_AS("\xcf\0\0\0\0\0\0\0\7", "\7");
    HASHES_AS("\xd3\0\0\0\0\0\0\0\7", "\7");
    HASHES_AS("\xd1\xff\xff", "\xff");
    HASHES_AS("\xd3\xff\xff\xff\xff\xff\xff\xff\x7f", "\xd1\xff\x7f");
    HASHES_AS("\xca\x3f\x80\0\0", "\xcb\x3f\xf0\0\0\0\0\0\0");
    HASHES_AS("\xcb\x80\0\0\0\0\0\0\0", "\xcb\0\0\0\0\0\0\0\0");
    HASHES_AS("\xcb\xff\xf0\0\0\0\0\0\1", "\xcb\x7f\xf8\0\0\0\0\0\0");
    HASHES_AS("\xca\xff\xc0\0\0", "\xcb\x7f\xf8\0\0\0\0\0\0");
    HASHES_AS("\xdb\0\0\0\2hi", "\xa2hi");
    HASHES_AS("\xc6\0\0\0\2hi", "\xc4\2hi");
    HASHES_AS("\xc7\1\5x", "\xd4\5x");
    HASHES_AS("\xc9\0\0\0\3\5xyz", "\xc7\3\5xyz");
    HASHES_AS("\xdd\0\0\0\2\1\xdc\0\0", "\x92\1\x90");
    HASHES_AS("\x81\xa1k\xcd\0\1", "\x81\xa1k\1");
    HASHES_AS("\xdf\0\0\0\3\xa1z\1\xa1y\2\xa2xx\3", "\x83\xa1y\2\xa1z\1\xa2xx\3");
    /* in order inside of others, in keys as well, and behind a map of one pair */
    HASHES_AS("\x82\xa1" "b\x82\2\0\1\0\x81\x82\2\0\1\0\0\x81\1\2", "\x82\x81\x82\1\0\2\0\0\x81\1\2\xa1" "b\x82\1\0\2\0");
    HASHES_AS("\x92\x81\5\6\x82\4\4\3\3", "\x92\x81\5\6\x82\3\3\4\4");
    /* the same number is one key, however it is written */
    HASHES_AS("\x82\xcc\7\0\6\1", "\x82\6\1\7\0");
}

static void test_bad_queries(void **state) {
    (void)state;
    uint8_t hash[STRATA_QUERY_HASH_BYTES];
    assert_int_equal(strata_query_hash((strata_bytes){NULL, 0}, hash), STRATA_E_CORRUPT);
    assert_int_equal(strata_query_hash((strata_bytes){"\1\2", 2}, hash), STRATA_E_CORRUPT);
    assert_int_equal(strata_query_hash((strata_bytes){"\x92\1", 2}, hash), STRATA_E_CORRUPT);
    assert_int_equal(strata_query_hash((strata_bytes){"\x82\7\0\xcc\7\1", 6}, hash), STRATA_E_INVALID);
    assert_int_equal(strata_query_hash((strata_bytes){"\x91\x82\xa1k\0\xd9\1k\1", 9}, hash), STRATA_E_INVALID);
    char deep[66];
    memset(deep, 0x91, sizeof deep);
    deep[65] = 0;
    assert_int_equal(strata_query_hash((strata_bytes){deep, sizeof deep}, hash), STRATA_E_CORRUPT);
    assert_int_equal(strata_query_hash((strata_bytes){deep + 2, sizeof deep - 2}, hash), STRATA_OK);
    static char large[STRATA_QUERY_BYTES_MAX + 1] = "\xc6\0\xff\xfc"; /* 5 bytes of head are too many by one */
    assert_int_equal(strata_query_hash((strata_bytes){large, sizeof large}, hash), STRATA_E_VALUE_SIZE);
    memcpy(large, "\xc6\0\0\xff\xfb", 5);
    assert_int_equal(strata_query_hash((strata_bytes){large, STRATA_QUERY_BYTES_MAX}, hash), STRATA_OK);
}

static int32_t rewrite(test_alloc *alloc, void *context) {
    (void)context;
    static const char value[] = "\x83\xa1z\x82\2\0\1\0\xa1y\2\xa1x\xa9" "123456789";
    sx_buf buf;
    sx_buf_init(&buf, &alloc->table);
    int32_t status = sx_msgpack_write_canonical(&buf, value, sizeof value - 1);
    sx_buf_deinit(&buf);
    return status;
}

static void test_without_memory(void **state) {
    (void)state;
    assert_true(test_alloc_sweep(rewrite, NULL) >= 3);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_segments),      cmocka_unit_test(test_refusals),    cmocka_unit_test(test_no_two_lists_make_one_key),
        cmocka_unit_test(test_one_form_each), cmocka_unit_test(test_bad_queries), cmocka_unit_test(test_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
