/* SPDX-License-Identifier: Apache-2.0 */
/* Keys: what must be the same in every process for ever (partitions, slots, tags, names), and what must not be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <strata/status.h>

#include "core/key/key.h"
#include "tests/support/alloc.h"

static uint32_t slot(const char *name) {
    return sx_key_slot(name, strlen(name));
}

static void test_slots(void **state) {
    (void)state;
    assert_int_equal(slot("123456789"), 0x31c3 % SX_SLOTS);
    assert_int_equal(slot("foo"), 12182);
    assert_int_equal(slot(""), 0);
    assert_int_equal(slot("{foo}bar"), slot("foo"));
    assert_int_equal(slot("x{foo}{bar}"), slot("foo"));
    assert_int_equal(slot("foo{{bar}}zap"), slot("{bar"));
    assert_int_not_equal(slot("{}foo"), slot("foo")); /* an empty tag is none */
    assert_int_not_equal(slot("{foo"), slot("foo"));
    assert_int_equal(sx_key_slot(NULL, 0), 0);
    assert_int_equal(sx_key_slot("{a}\0b", 5), slot("a"));
}

static void test_partitions(void **state) {
    (void)state;
    assert_int_equal(sx_key_partition("user:1", 6, 1), 0);
    assert_int_equal(sx_key_partition("", 0, 4096), 0x2d06800538d394c2 % 4096); /* XXH3-64 of nothing */
    /* XXH3-64 of "abc" is 78af5f94892f3950 */
    assert_int_equal(sx_key_partition("abc", 3, 256), 0x50);
    assert_int_equal(sx_key_partition("abc", 3, 4096), 0x950);
}

static void test_tags(void **state) {
    (void)state;
    for (uint32_t p = 1; p <= SX_PARTITIONS_MAX; p *= 2) {
        sx_key_tags *tags = NULL;
        assert_int_equal(sx_key_tags_create(sx_alloc_default(), p, &tags), STRATA_OK);
        for (uint32_t i = 0; i < p; i++) {
            assert_int_equal(strlen(tags->tags[i].text), tags->tags[i].size);
            assert_int_equal(tags->tags[i].slot, slot(tags->tags[i].text));
            assert_in_range(tags->tags[i].slot, i * SX_SLOTS / p, (i + 1) * SX_SLOTS / p - 1);
        }
        sx_key_tags_destroy(tags);
    }
    sx_key_tags *tags = NULL;
    assert_int_equal(sx_key_tags_create(sx_alloc_default(), 0, &tags), STRATA_E_INVALID);
    assert_int_equal(sx_key_tags_create(sx_alloc_default(), 3, &tags), STRATA_E_INVALID);
    assert_int_equal(sx_key_tags_create(sx_alloc_default(), 8192, &tags), STRATA_E_INVALID);
    assert_null(tags);
    sx_key_tags_destroy(NULL);
}

/* Data in Redis is found by these: they never change. */
static void test_golden_tags(void **state) {
    (void)state;
    static const char *const golden[] = {"cv", "14", "6y", "10", "6u", "7o", "6q", "18"};
    sx_key_tags *tags = NULL;
    assert_int_equal(sx_key_tags_create(sx_alloc_default(), 256, &tags), STRATA_OK);
    for (size_t i = 0; i < sizeof golden / sizeof golden[0]; i++)
        assert_string_equal(tags->tags[i].text, golden[i]);
    sx_buf all;
    sx_buf_init(&all, sx_alloc_default());
    for (uint32_t i = 0; i < 256; i++) sx_buf_append(&all, tags->tags[i].text, tags->tags[i].size + 1u);
    assert_int_equal(sx_key_partition(all.data, all.size, 4096), 2114); /* of the whole table */
    sx_buf_deinit(&all);
    sx_key_tags_destroy(tags);
}

static void test_names(void **state) {
    (void)state;
    sx_key_tags *tags = NULL;
    assert_int_equal(sx_key_tags_create(sx_alloc_default(), 1, &tags), STRATA_OK);
    sx_buf buf;
    sx_buf_init(&buf, sx_alloc_default());
    sx_key_name_value(&buf, tags, 0, "users", 5, 4294967295u, "a\0b", 3);
    assert_int_equal(buf.size, 26);
    assert_memory_equal(buf.data, "{0}s1:users:4294967295:a\0b", 26);
    sx_buf_clear(&buf, 1000);
    sx_key_name_counter(&buf, tags, 0);
    assert_int_equal(buf.size, 7);
    assert_memory_equal(buf.data, "{0}s1:n", 7);
    sx_buf_clear(&buf, 1000);
    sx_key_name_channel(&buf, tags, 0);
    assert_int_equal(buf.size, 7);
    assert_memory_equal(buf.data, "{0}s1:c", 7);
    sx_buf_clear(&buf, 1000);
    sx_key_name_marker(&buf, tags, 0, "1:k", 3); /* never the name of a value: that of "k" in version 1 of "t", say */
    assert_int_equal(buf.size, 10);
    assert_memory_equal(buf.data, "{0}s1:#1:k", 10);
    sx_buf_deinit(&buf);
    sx_key_tags_destroy(tags);
}

static int32_t tags_step(test_alloc *alloc, void *context) {
    (void)context;
    sx_key_tags *tags = NULL;
    int32_t status = sx_key_tags_create(&alloc->table, 64, &tags);
    sx_key_tags_destroy(tags);
    return status;
}

static void test_tags_without_memory(void **state) {
    (void)state;
    assert_int_equal(test_alloc_sweep(tags_step, NULL), 3);
}

static void test_secret_hash(void **state) {
    (void)state;
    sx_key_secret one, two;
    assert_int_equal(sx_key_secret_init(&one), STRATA_OK);
    assert_int_equal(sx_key_secret_init(&two), STRATA_OK);
    assert_int_equal(sx_key_hash(&one, 3, "key", 3), sx_key_hash(&one, 3, "key", 3));
    assert_int_not_equal(sx_key_hash(&one, 3, "key", 3), sx_key_hash(&two, 3, "key", 3));
    assert_int_not_equal(sx_key_hash(&one, 3, "key", 3), sx_key_hash(&one, 4, "key", 3));
    /* Every bit of the hash is used, whatever the length of the key. */
    for (size_t size = 0; size < 300; size += 13) {
        uint64_t ones = 0, zeros = 0;
        char key[300] = {0};
        for (uint16_t ns = 0; ns < 100; ns++) {
            uint64_t hash = sx_key_hash(&one, ns, key, size);
            ones |= hash;
            zeros |= ~hash;
        }
        assert_int_equal(ones & zeros, UINT64_MAX);
    }
}

static void test_random(void **state) {
    (void)state;
    sx_key_random random, other;
    assert_int_equal(sx_key_random_init(&random), STRATA_OK);
    assert_int_equal(sx_key_random_init(&other), STRATA_OK);
    assert_int_not_equal(sx_key_random_next(&random), sx_key_random_next(&other));
    /* The published sequence of xoshiro256** from the state 1, 2, 3, 4. Its second number, 0, is skipped. */
    sx_key_random known = {{1, 2, 3, 4}};
    assert_int_equal(sx_key_random_next(&known), 11520);
    assert_int_equal(sx_key_random_next(&known), 1509978240);
    assert_int_equal(sx_key_random_next(&known), UINT64_C(1215971899390074240));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_slots),       cmocka_unit_test(test_partitions),
        cmocka_unit_test(test_tags),        cmocka_unit_test(test_golden_tags),
        cmocka_unit_test(test_names),       cmocka_unit_test(test_tags_without_memory),
        cmocka_unit_test(test_secret_hash), cmocka_unit_test(test_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
