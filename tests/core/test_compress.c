/* SPDX-License-Identifier: Apache-2.0 */
/* Compressed payloads: what comes back is what went in, what does not pay is left alone, and no claim is believed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/codec/compress.h"
#include "tests/support/alloc.h"
#include "tests/support/dictionary.h"

enum { LARGEST = 300000 };

static const sx_compression kinds[] = {SX_COMPRESSION_LZ4, SX_COMPRESSION_ZSTD};

static uint8_t *text_of(size_t size) {
    uint8_t *bytes = malloc(size + 1);
    for (size_t i = 0; i < size; i++) bytes[i] = (uint8_t)((size_t)"{\"name\":\"value\"}"[i % 16] + (i / 97) % 3);
    return bytes;
}

static uint8_t *noise_of(size_t size) {
    uint8_t *bytes = malloc(size + 1);
    uint64_t random = 7;
    for (size_t i = 0; i < size; i++) {
        random = random * UINT64_C(6364136223846793005) + 1442695040888963407u;
        bytes[i] = (uint8_t)(random >> 56);
    }
    return bytes;
}

static void test_round_trip(void **state) {
    (void)state;
    static const size_t sizes[] = {64, 100, 1000, 4096, 65536, LARGEST};
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        if (!sx_compression_known(kinds[k])) continue;
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            uint8_t *bytes = text_of(sizes[i]), *back = malloc(sizes[i]);
            sx_buf packed;
            sx_buf_init(&packed, sx_alloc_default());
            assert_true(sx_compress(&packed, kinds[k], bytes, sizes[i]));
            assert_true(packed.size <= sizes[i] - sizes[i] / 8);
            assert_int_equal(sx_decompressed_size(packed.data, packed.size), sizes[i]);
            assert_true(sx_decompress(kinds[k], packed.data, packed.size, back, sizes[i]));
            assert_memory_equal(back, bytes, sizes[i]);
            sx_buf_deinit(&packed);
            free(bytes);
            free(back);
        }
    }
}

static void test_what_does_not_pay(void **state) {
    (void)state;
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        for (size_t size = 0; size <= 4096; size = size * 2 + 1) {
            uint8_t *bytes = noise_of(size);
            sx_buf packed;
            sx_buf_init(&packed, sx_alloc_default());
            assert_false(sx_compress(&packed, kinds[k], bytes, size));
            assert_int_equal(packed.size, 0);
            sx_buf_deinit(&packed);
            free(bytes);
        }
        for (size_t part = 16; part >= 4; part /= 4) { /* one part of so many is nought: saves too little, then enough */
            uint8_t *bytes = noise_of(4096);
            memset(bytes, 0, 4096 / part);
            sx_buf packed;
            sx_buf_init(&packed, sx_alloc_default());
            assert_int_equal(sx_compress(&packed, kinds[k], bytes, 4096), part == 4 && sx_compression_known(kinds[k]));
            sx_buf_deinit(&packed);
            free(bytes);
        }
    }
    sx_buf packed;
    sx_buf_init(&packed, sx_alloc_default());
    uint8_t *bytes = text_of(4096);
    assert_false(sx_compress(&packed, SX_COMPRESSION_NONE, bytes, 4096));
    assert_false(sx_compress(&packed, (sx_compression)3, bytes, 4096));
    assert_false(sx_compression_known(SX_COMPRESSION_NONE) || sx_compression_known(3));
    free(bytes);
}

/* Every cut and every changed byte: refused, or other bytes of the same size; never more than there is room for. */
static void test_no_claim_is_believed(void **state) {
    (void)state;
    enum { SIZE = 700 };
    uint8_t *bytes = text_of(SIZE);
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        if (!sx_compression_known(kinds[k])) continue;
        sx_buf packed;
        sx_buf_init(&packed, sx_alloc_default());
        assert_true(sx_compress(&packed, kinds[k], bytes, SIZE));
        for (size_t cut = 0; cut < packed.size; cut++) {
            uint8_t *less = malloc(cut + 1), back[SIZE];
            memcpy(less, packed.data, cut);
            size_t claim = sx_decompressed_size(less, cut);
            assert_int_equal(claim, cut <= 4 ? 0 : SIZE);
            if (claim != 0) assert_false(sx_decompress(kinds[k], less, cut, back, claim));
            free(less);
        }
        for (size_t at = 4; at < packed.size; at++) {
            uint8_t *changed = malloc(packed.size), *back = malloc(SIZE);
            memcpy(changed, packed.data, packed.size);
            changed[at] ^= 0xff;
            (void)sx_decompress(kinds[k], changed, packed.size, back, SIZE);
            free(changed);
            free(back);
        }
        packed.data[3]--; /* says one less than it is, then one more */
        uint8_t back[SIZE + 1];
        assert_false(sx_decompress(kinds[k], packed.data, packed.size, back, SIZE - 1));
        packed.data[3] = (uint8_t)(packed.data[3] + 2);
        assert_false(sx_decompress(kinds[k], packed.data, packed.size, back, SIZE + 1));
        sx_buf_deinit(&packed);
    }
    assert_false(sx_decompress((sx_compression)3, "\0\0\0\1x", 5, &(char){0}, 1));
    free(bytes);
}

/* One of the same id, of which a word that values are put together from is another: known by the sum alone. */
static void test_dictionaries_of_one_id(void **state) {
    (void)state;
    uint8_t bytes[TEST_DICTIONARY_BYTES];
    size_t size = test_dictionary(1, bytes);
    sx_dictionary *dictionary = NULL, *twin = NULL;
    strata_error error;
    if (!sx_compression_known(SX_COMPRESSION_ZSTD)) return;
    assert_int_equal(sx_dictionary_create(sx_alloc_default(), bytes, size, &dictionary, &error), STRATA_OK);
    for (size_t i = 0; i + 12 < size; i++)
        if (memcmp(bytes + i, "country_code", 12) == 0) bytes[i] = 'C';
    assert_int_equal(sx_dictionary_create(sx_alloc_default(), bytes, size, &twin, &error), STRATA_OK);
    assert_int_equal(sx_dictionary_id(twin), sx_dictionary_id(dictionary));
    for (uint32_t i = 0; i < 100; i++) {
        char value[TEST_SAMPLE_BYTES], back[TEST_SAMPLE_BYTES];
        size_t value_size = test_sample(1, 100000 + i, value);
        sx_buf packed;
        sx_buf_init(&packed, sx_alloc_default());
        assert_true(sx_compress_with(&packed, SX_COMPRESSION_ZSTD, dictionary, value, value_size));
        assert_false(sx_decompress_with(SX_COMPRESSION_ZSTD, twin, packed.data, packed.size, back, value_size));
        packed.data[8] &= (uint8_t)~4u; /* nor does it say that it has no sum */
        assert_false(sx_decompress_with(SX_COMPRESSION_ZSTD, dictionary, packed.data, packed.size, back, value_size));
        sx_buf_deinit(&packed);
    }
    sx_dictionary_destroy(twin);
    sx_dictionary_destroy(dictionary);
}

/* Small values become smaller by it, say which one it was, and are read with no other. */
static void test_dictionaries(void **state) {
    (void)state;
    uint8_t bytes[TEST_DICTIONARY_BYTES], others[TEST_DICTIONARY_BYTES];
    size_t size = test_dictionary(1, bytes), other_size = test_dictionary(2, others);
    sx_dictionary *dictionary = NULL, *other = NULL;
    strata_error error;
    if (!sx_compression_known(SX_COMPRESSION_ZSTD)) {
        assert_int_equal(sx_dictionary_create(sx_alloc_default(), "x", 1, &dictionary, &error), STRATA_E_CONFIG);
        assert_non_null(strstr(error.text, "built without zstd"));
        return;
    }
    assert_true(size > 0 && other_size > 0);
    assert_int_equal(sx_dictionary_create(sx_alloc_default(), bytes, size, &dictionary, &error), STRATA_OK);
    assert_int_equal(sx_dictionary_create(sx_alloc_default(), others, other_size, &other, &error), STRATA_OK);
    assert_true(sx_dictionary_id(dictionary) != 0 && sx_dictionary_id(dictionary) != sx_dictionary_id(other));
    assert_true(sx_dictionary_is_of(dictionary, bytes, size) && !sx_dictionary_is_of(dictionary, others, other_size));
    size_t with = 0, without = 0;
    for (uint32_t i = 0; i < 100; i++) {
        char value[TEST_SAMPLE_BYTES], back[TEST_SAMPLE_BYTES];
        size_t value_size = test_sample(1, 100000 + i, value);
        sx_buf packed, plain;
        sx_buf_init(&packed, sx_alloc_default());
        sx_buf_init(&plain, sx_alloc_default());
        assert_true(sx_compress_with(&packed, SX_COMPRESSION_ZSTD, dictionary, value, value_size));
        assert_true(sx_compress(&plain, SX_COMPRESSION_ZSTD, value, value_size));
        with += packed.size;
        without += plain.size;
        assert_int_equal(sx_compressed_dictionary(SX_COMPRESSION_ZSTD, packed.data, packed.size), sx_dictionary_id(dictionary));
        assert_int_equal(sx_compressed_dictionary(SX_COMPRESSION_LZ4, packed.data, packed.size), 0);
        assert_int_equal(sx_compressed_dictionary(SX_COMPRESSION_ZSTD, plain.data, plain.size), 0);
        assert_true(sx_decompress_with(SX_COMPRESSION_ZSTD, dictionary, packed.data, packed.size, back, value_size));
        assert_memory_equal(back, value, value_size);
        assert_false(sx_decompress(SX_COMPRESSION_ZSTD, packed.data, packed.size, back, value_size));
        assert_false(sx_decompress_with(SX_COMPRESSION_ZSTD, other, packed.data, packed.size, back, value_size));
        assert_true(sx_decompress(SX_COMPRESSION_ZSTD, plain.data, plain.size, back, value_size));
        for (size_t cut = 0; cut < packed.size; cut++) /* whatever it says, none is found by accident */
            assert_true(sx_compressed_dictionary(SX_COMPRESSION_ZSTD, packed.data, cut) % sx_dictionary_id(dictionary) == 0);
        sx_buf_deinit(&packed);
        sx_buf_deinit(&plain);
    }
    print_message("values of %zu bytes by a dictionary, %zu without, on average\n", with / 100, without / 100);
    assert_true(with < without * 3 / 4);
    sx_dictionary_destroy(other);
    assert_int_equal(sx_dictionary_create(sx_alloc_default(), "nothing of the kind", 19, &other, &error), STRATA_E_CONFIG);
    assert_string_equal(error.text, "not a dictionary as 'zstd --train' makes them: it has no id");
    uint8_t *large = calloc(1, SX_DICTIONARY_BYTES_MAX + 1);
    memcpy(large, bytes, size);
    assert_int_equal(sx_dictionary_create(sx_alloc_default(), large, SX_DICTIONARY_BYTES_MAX + 1, &other, &error), STRATA_E_CONFIG);
    assert_int_equal(sx_dictionary_create(sx_alloc_default(), bytes, 9, &other, NULL), STRATA_E_CONFIG); /* an id, and nothing behind it */
    free(large);
    sx_dictionary_destroy(dictionary);
}

static void test_without_memory(void **state) {
    (void)state;
    test_alloc alloc;
    test_alloc_init(&alloc);
    uint8_t *bytes = text_of(1000);
    sx_buf packed;
    sx_buf_init(&packed, &alloc.table);
    test_alloc_fail_at(&alloc, 1);
    assert_false(sx_compress(&packed, SX_COMPRESSION_LZ4, bytes, 1000));
    sx_buf_deinit(&packed);
    test_alloc_check_empty(&alloc);
    free(bytes);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_what_does_not_pay),
        cmocka_unit_test(test_no_claim_is_believed),
        cmocka_unit_test(test_dictionaries), cmocka_unit_test(test_dictionaries_of_one_id),
        cmocka_unit_test(test_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
