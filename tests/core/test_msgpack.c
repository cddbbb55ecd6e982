/* SPDX-License-Identifier: Apache-2.0 */
/* The wire's msgpack against msgpack-c: random values written by one are read by the other; what is malformed is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>
#include <msgpack.h>

#include "core/codec/msgpack.h"
#include "tests/support/alloc.h"

static uint64_t random_number(unsigned *seed) {
    uint64_t number = 0;
    for (int i = 0; i < 5; i++) number = number << 15 ^ (uint64_t)rand_r(seed);
    return number >> (rand_r(seed) % 64);
}

static void test_numbers(void **state) {
    (void)state;
    unsigned seed = 1;
    sx_buf buf;
    sx_buf_init(&buf, sx_alloc_default());
    for (int i = 0; i < 20000; i++) {
        uint64_t number = random_number(&seed);
        int64_t negative = -(int64_t)(random_number(&seed) >> 1);
        sx_buf_clear(&buf, SIZE_MAX);
        sx_msgpack_write_uint(&buf, number);
        sx_msgpack_write_int(&buf, negative);
        size_t shortest = buf.size;
        sx_msgpack_write_uint_fixed(&buf, number);
        assert_int_equal(buf.size, shortest + 9);
        sx_msgpack_write_nil(&buf);
        sx_msgpack_reader reader = sx_msgpack_reader_over(buf.data, buf.size);
        assert_int_equal(sx_msgpack_read_uint(&reader), number);
        assert_false(sx_msgpack_read_nil(&reader));
        assert_int_equal(sx_msgpack_read_int(&reader), negative);
        assert_int_equal(sx_msgpack_read_uint(&reader), number);
        assert_true(sx_msgpack_read_nil(&reader));
        assert_true(reader.ok && reader.at == reader.end);
        assert_int_equal(sx_msgpack_read_uint(&reader), 0);
        assert_false(reader.ok);
        msgpack_unpacked unpacked;
        msgpack_unpacked_init(&unpacked);
        size_t offset = 0;
        assert_int_equal(msgpack_unpack_next(&unpacked, (const char *)buf.data, buf.size, &offset),
                         MSGPACK_UNPACK_SUCCESS);
        assert_int_equal(unpacked.data.via.u64, number);
        (void)msgpack_unpack_next(&unpacked, (const char *)buf.data, buf.size, &offset);
        assert_int_equal(unpacked.data.via.i64, negative);
        (void)msgpack_unpack_next(&unpacked, (const char *)buf.data, buf.size, &offset);
        assert_int_equal(unpacked.data.via.u64, number);
        msgpack_unpacked_destroy(&unpacked);
    }
    sx_buf_deinit(&buf);
}

/* A random tree, by msgpack-c; at most depth containers nested. */
static void pack_random(msgpack_packer *pk, unsigned *seed, int depth) {
    static char bytes[70000];
    size_t size = (size_t)rand_r(seed) % 40;
    if (rand_r(seed) % 60 == 0) size = (size_t)rand_r(seed) % sizeof bytes;
    switch (rand_r(seed) % (depth > 0 ? 12 : 9)) {
    case 0: (void)msgpack_pack_nil(pk); break;
    case 1: (void)(rand_r(seed) % 2 ? msgpack_pack_true(pk) : msgpack_pack_false(pk)); break;
    case 2: (void)msgpack_pack_uint64(pk, random_number(seed)); break;
    case 3: (void)msgpack_pack_int64(pk, (int64_t)random_number(seed)); break;
    case 4: (void)msgpack_pack_double(pk, (double)random_number(seed) / 7); break;
    case 5: (void)msgpack_pack_float(pk, (float)random_number(seed)); break;
    case 6: (void)msgpack_pack_str_with_body(pk, bytes, size); break;
    case 7: (void)msgpack_pack_bin_with_body(pk, bytes, size); break;
    case 8: (void)msgpack_pack_ext_with_body(pk, bytes, size, (int8_t)rand_r(seed)); break;
    case 9:
    case 10:
        (void)msgpack_pack_array(pk, size);
        for (size_t i = 0; i < size && size < 40; i++) pack_random(pk, seed, depth - 1);
        for (size_t i = 0; i < size && size >= 40; i++) (void)msgpack_pack_nil(pk);
        break;
    default:
        (void)msgpack_pack_map(pk, size % 40);
        for (size_t i = 0; i < 2 * (size % 40); i++) pack_random(pk, seed, depth - 1);
    }
}

/* One value, its end, and every shorter piece of it: never an end before the end. */
static void test_trees(void **state) {
    (void)state;
    msgpack_sbuffer packed;
    msgpack_sbuffer_init(&packed);
    for (unsigned round = 0; round < 3000; round++) {
        unsigned seed = round;
        msgpack_sbuffer_clear(&packed);
        msgpack_packer pk;
        msgpack_packer_init(&pk, &packed, msgpack_sbuffer_write);
        pack_random(&pk, &seed, 2);
        size_t size = packed.size;
        uint8_t *exact = malloc(size); /* of its own, for the address sanitizer */
        assert_non_null(exact);
        memcpy(exact, packed.data, size);
        assert_ptr_equal(sx_msgpack_value_end(exact, exact + size), exact + size);
        for (int i = 0; i < 20; i++) {
            size_t cut = (size_t)rand_r(&seed) % size;
            assert_null(sx_msgpack_value_end(exact, exact + cut));
        }
        free(exact);
    }
    msgpack_sbuffer_destroy(&packed);
}

/* Random bytes: whoever of the two accepts, both see the same end. */
static void test_garbage(void **state) {
    (void)state;
    unsigned seed = 5;
    int accepted = 0;
    for (int round = 0; round < 100000; round++) {
        uint8_t bytes[12];
        for (size_t i = 0; i < sizeof bytes; i++) {
            bytes[i] = (uint8_t)(rand_r(&seed) >> 3);
            if (bytes[i] == 0xdd || bytes[i] == 0xdf)
                bytes[i] = 0xdc; /* msgpack-c allocates what those claim */
        }
        const uint8_t *end = sx_msgpack_value_end(bytes, bytes + sizeof bytes);
        msgpack_unpacked unpacked;
        msgpack_unpacked_init(&unpacked);
        size_t offset = 0;
        msgpack_unpack_return theirs =
            msgpack_unpack_next(&unpacked, (const char *)bytes, sizeof bytes, &offset);
        if (end != NULL) {
            accepted++;
            assert_int_equal(theirs, MSGPACK_UNPACK_SUCCESS);
            assert_int_equal(offset, end - bytes);
        } else {
            assert_int_not_equal(theirs, MSGPACK_UNPACK_SUCCESS);
        }
        msgpack_unpacked_destroy(&unpacked);
    }
    assert_true(accepted > 1000);
}

static void test_texts(void **state) {
    (void)state;
    static const size_t sizes[] = {0, 1, 31, 32, 255, 256, 65535, 65536};
    static uint8_t bytes[65536];
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        sx_buf buf;
        sx_buf_init(&buf, sx_alloc_default());
        sx_msgpack_write_array(&buf, 3);
        sx_msgpack_write_str(&buf, bytes, sizes[i]);
        sx_msgpack_write_bin(&buf, bytes, sizes[i]);
        sx_msgpack_write_bin_header(&buf, (uint32_t)sizes[i]);
        sx_buf_append(&buf, bytes, sizes[i]);
        sx_msgpack_reader reader = sx_msgpack_reader_over(buf.data, buf.size);
        assert_int_equal(sx_msgpack_read_array(&reader), 3);
        for (int text = 0; text < 3; text++) {
            size_t size = 99;
            const uint8_t *at = sx_msgpack_read_bytes(&reader, &size);
            assert_non_null(at);
            assert_int_equal(size, sizes[i]);
            assert_memory_equal(at, bytes, size);
        }
        assert_true(reader.ok && reader.at == reader.end);
        sx_buf_deinit(&buf);
    }
}

static void test_failure_sticks(void **state) {
    (void)state;
    static const uint8_t bytes[] = {0x01, 0xa1, 'x', 0x02};
    sx_msgpack_reader reader = sx_msgpack_reader_over(bytes, sizeof bytes);
    assert_int_equal(sx_msgpack_read_array(&reader), 0); /* it is a number */
    assert_false(reader.ok);
    size_t size = 5;
    assert_int_equal(sx_msgpack_read_uint(&reader), 0);
    assert_int_equal(sx_msgpack_read_int(&reader), 0);
    assert_null(sx_msgpack_read_bytes(&reader, &size));
    assert_int_equal(size, 0);
    assert_false(sx_msgpack_read_nil(&reader));
    sx_msgpack_skip(&reader);
    assert_ptr_equal(reader.at, bytes);
    reader = sx_msgpack_reader_over(bytes, sizeof bytes);
    sx_msgpack_skip(&reader);
    sx_msgpack_skip(&reader);
    assert_int_equal(sx_msgpack_read_int(&reader), 2);
    assert_true(reader.ok);
}

static void test_limits_of_integers(void **state) {
    (void)state;
    static const uint8_t above[] = {0xcf, 0x80, 0, 0, 0, 0, 0, 0, 0};
    static const uint8_t minus_one[] = {0xff};
    sx_msgpack_reader reader = sx_msgpack_reader_over(above, sizeof above);
    assert_int_equal(sx_msgpack_read_int(&reader), 0);
    assert_false(reader.ok);
    reader = sx_msgpack_reader_over(above, sizeof above);
    assert_int_equal(sx_msgpack_read_uint(&reader), UINT64_C(1) << 63);
    reader = sx_msgpack_reader_over(minus_one, 1);
    assert_int_equal(sx_msgpack_read_uint(&reader), 0);
    assert_false(reader.ok);
    reader = sx_msgpack_reader_over(minus_one, 1);
    assert_int_equal(sx_msgpack_read_int(&reader), -1);
}

/* Counts and sizes that the bytes can't hold fail at once, whatever they claim. */
static void test_claims(void **state) {
    (void)state;
    static const uint8_t claims[][6] = {{0xdd, 0xff, 0xff, 0xff, 0xff, 0xc0}, /* array of 4 G elements */
                                        {0xdf, 0xff, 0xff, 0xff, 0xff, 0xc0}, /* map */
                                        {0xdb, 0xff, 0xff, 0xff, 0xff, 0xc0}, /* str */
                                        {0xc6, 0xff, 0xff, 0xff, 0xff, 0xc0}, /* bin */
                                        {0xc9, 0xff, 0xff, 0xff, 0xff, 0xc0}, /* ext */
                                        {0x93, 0xc0, 0xc0, 0x95, 0xc0, 0xc0}, /* arrays */
                                        {0xc1, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0}};
    clock_t start = clock();
    for (size_t i = 0; i < sizeof claims / sizeof claims[0]; i++) {
        sx_msgpack_reader reader = sx_msgpack_reader_over(claims[i], sizeof claims[i]);
        sx_msgpack_skip(&reader);
        assert_false(reader.ok);
    }
    sx_msgpack_reader reader = sx_msgpack_reader_over(claims[0], sizeof claims[0]);
    assert_int_equal(sx_msgpack_read_array(&reader), 0);
    assert_false(reader.ok);
    assert_true(clock() - start < CLOCKS_PER_SEC / 10);
}

static void test_depth(void **state) {
    (void)state;
    static uint8_t nested[200000];
    memset(nested, 0x91, sizeof nested);
    nested[SX_MSGPACK_DEPTH_MAX] = 0xc0;
    assert_ptr_equal(sx_msgpack_value_end(nested, nested + sizeof nested), nested + SX_MSGPACK_DEPTH_MAX + 1);
    nested[SX_MSGPACK_DEPTH_MAX] = 0x90; /* an empty one is one too many */
    assert_null(sx_msgpack_value_end(nested, nested + sizeof nested));
    nested[SX_MSGPACK_DEPTH_MAX] = 0x91;
    assert_null(sx_msgpack_value_end(nested, nested + sizeof nested));
}

static void test_no_memory(void **state) {
    (void)state;
    test_alloc alloc;
    test_alloc_init(&alloc);
    test_alloc_fail_at(&alloc, 1);
    sx_buf buf;
    sx_buf_init(&buf, &alloc.table);
    sx_msgpack_write_array(&buf, 2);
    sx_msgpack_write_uint(&buf, 1);
    sx_msgpack_write_str(&buf, "x", 1);
    assert_true(buf.failed);
    assert_int_equal(buf.size, 0);
    sx_buf_deinit(&buf);
    test_alloc_check_empty(&alloc);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers),        cmocka_unit_test(test_trees),
        cmocka_unit_test(test_garbage),        cmocka_unit_test(test_texts),
        cmocka_unit_test(test_failure_sticks), cmocka_unit_test(test_limits_of_integers),
        cmocka_unit_test(test_claims),         cmocka_unit_test(test_depth),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
