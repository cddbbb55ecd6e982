/* SPDX-License-Identifier: Apache-2.0 */
/* Packing and reading in place: what a packer wrote is found by fields and by msgpack-c, and mistakes are told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <msgpack.h>

#include <strata/value.h>

#include "core/codec/packer.h"
#include "tests/support/alloc.h"

static strata_bytes text(const char *s) {
    return (strata_bytes){s, strlen(s)};
}

static strata_packer *created(void) {
    strata_packer *packer = NULL;
    assert_int_equal(strata_packer_create(&packer), STRATA_OK);
    return packer;
}

static void test_round_trip(void **state) {
    (void)state;
    strata_packer *packer = created();
    (void)strata_pack_map(packer, 4);
    (void)strata_pack_str(packer, text("name"));
    (void)strata_pack_str(packer, text("Ada"));
    (void)strata_pack_bin(packer, text("list"));
    (void)strata_pack_array(packer, 7);
    (void)strata_pack_nil(packer);
    (void)strata_pack_bool(packer, 5);
    (void)strata_pack_int(packer, INT64_MIN);
    (void)strata_pack_uint(packer, UINT64_MAX);
    (void)strata_pack_double(packer, 0.1);
    (void)strata_pack_array(packer, 0);
    (void)strata_pack_map(packer, 0);
    (void)strata_pack_int(packer, 12);
    (void)strata_pack_nil(packer);
    (void)strata_pack_str(packer, text("age"));
    assert_int_equal(strata_pack_int(packer, 36), STRATA_OK);
    strata_bytes bytes;
    assert_int_equal(strata_packer_finish(packer, &bytes), STRATA_OK);
    strata_field root, field, element;
    assert_int_equal(strata_field_root(bytes, &root), STRATA_OK);
    int64_t integer = 0;
    assert_int_equal(strata_field_get(root, "age", &field), STRATA_OK);
    assert_int_equal(strata_field_int(field, &integer), STRATA_OK);
    assert_int_equal(integer, 36);
    assert_int_equal(strata_field_get(root, "nam", &field), STRATA_E_END);
    assert_int_equal(strata_field_get(root, "name", &field), STRATA_OK);
    strata_bytes name;
    assert_int_equal(strata_field_bytes(field, &name), STRATA_OK);
    assert_int_equal(name.size, 3);
    assert_memory_equal(name.data, "Ada", 3);
    assert_int_equal(strata_field_get(root, "list", &field), STRATA_OK);
    static const strata_type types[] = {STRATA_TYPE_NIL,  STRATA_TYPE_BOOL,   STRATA_TYPE_INT,
                                        STRATA_TYPE_UINT, STRATA_TYPE_DOUBLE, STRATA_TYPE_ARRAY,
                                        STRATA_TYPE_MAP};
    assert_int_equal(strata_field_first(field, &element), STRATA_OK);
    for (uint32_t i = 0; i < 7; i++) {
        strata_field at;
        strata_type type;
        assert_int_equal(strata_field_at(field, i, &at), STRATA_OK);
        assert_ptr_equal(at.at, element.at); /* walking and indexing agree */
        assert_int_equal(strata_field_type(at, &type), STRATA_OK);
        assert_int_equal(type, types[i]);
        assert_int_equal(strata_field_next(element, &element), STRATA_OK);
    }
    assert_int_equal(strata_field_at(field, 7, &element), STRATA_E_END);
    strata_packer_destroy(packer);
    strata_packer_destroy(NULL);
}

static void test_scalars(void **state) {
    (void)state;
    static const uint8_t bytes[] = {0x97, 0xc3, 0xff, 0x7f, 0xca, 0x3f, 0xc0, 0,    0,    0xc7,
                                    0,    5,    0xd3, 0x80, 0,    0,    0,    0,    0,    0,
                                    0,    0xcf, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    strata_field root, f[7];
    assert_int_equal(strata_field_root((strata_bytes){bytes, sizeof bytes}, &root), STRATA_OK);
    for (uint32_t i = 0; i < 7; i++) assert_int_equal(strata_field_at(root, i, &f[i]), STRATA_OK);
    int truth = 7;
    int64_t integer = 7;
    uint64_t natural = 7;
    double real = 7;
    strata_type type;
    strata_bytes span;
    uint32_t count = 7;
    assert_int_equal(strata_field_bool(f[0], &truth), STRATA_OK);
    assert_int_equal(truth, 1);
    assert_int_equal(strata_field_int(f[0], &integer), STRATA_E_TYPE);
    assert_int_equal(strata_field_uint(f[1], &natural), STRATA_E_TYPE); /* -1 */
    assert_int_equal(strata_field_double(f[1], &real), STRATA_OK);
    assert_true(real == -1.0);
    assert_int_equal(strata_field_uint(f[2], &natural), STRATA_OK);
    assert_int_equal(natural, 127);
    assert_int_equal(strata_field_double(f[3], &real), STRATA_OK);
    assert_true(real == 1.5);
    assert_int_equal(strata_field_int(f[3], &integer), STRATA_E_TYPE);
    assert_int_equal(integer, 7); /* untouched by failures */
    assert_int_equal(strata_field_type(f[4], &type), STRATA_OK);
    assert_int_equal(type, STRATA_TYPE_EXT);
    assert_int_equal(strata_field_bytes(f[4], &span), STRATA_E_TYPE);
    assert_int_equal(strata_field_int(f[5], &integer), STRATA_OK);
    assert_int_equal(integer, INT64_MIN);
    assert_int_equal(strata_field_int(f[6], &integer), STRATA_E_TYPE);
    assert_int_equal(strata_field_uint(f[6], &natural), STRATA_OK);
    assert_int_equal(natural, UINT64_MAX);
    assert_int_equal(strata_field_next(f[6], &f[6]), STRATA_E_END);
    assert_int_equal(strata_field_bool(root, &truth), STRATA_E_TYPE);
    assert_int_equal(strata_field_count(root, &count), STRATA_OK);
    assert_int_equal(count, 7);
    assert_int_equal(strata_field_count(f[0], &count), STRATA_E_TYPE);
    assert_int_equal(strata_field_first(f[0], &f[0]), STRATA_E_TYPE);
    assert_int_equal(strata_field_get(root, "x", &f[0]), STRATA_E_TYPE);
    assert_int_equal(strata_field_at(f[1], 0, &f[0]), STRATA_E_TYPE);
}

static void test_corrupt(void **state) {
    (void)state;
    strata_field root, field;
    static const uint8_t two[] = {0x01, 0x02}, cut[] = {0x92, 0x01}, odd[] = {0x81, 0xa1, 'x'},
                         empty[] = {0x90};
    assert_int_equal(strata_field_root((strata_bytes){NULL, 0}, &root), STRATA_E_CORRUPT);
    assert_int_equal(strata_field_root((strata_bytes){two, 0}, &root), STRATA_E_CORRUPT);
    assert_int_equal(strata_field_root((strata_bytes){two, 2}, &root), STRATA_E_CORRUPT);
    assert_int_equal(strata_field_root((strata_bytes){cut, 2}, &root), STRATA_E_CORRUPT);
    assert_int_equal(strata_field_root((strata_bytes){odd, 3}, &root), STRATA_E_CORRUPT);
    /* Fields that nobody checked as a root are checked all the same. */
    field = (strata_field){odd, odd + 3};
    strata_type type;
    assert_int_equal(strata_field_get(field, "x", &root), STRATA_E_CORRUPT);
    assert_int_equal(strata_field_next(field, &root), STRATA_E_CORRUPT);
    field = (strata_field){cut, cut + 2};
    assert_int_equal(strata_field_at(field, 1, &root), STRATA_E_CORRUPT);
    field = (strata_field){two + 2, two + 2};
    assert_int_equal(strata_field_type(field, &type), STRATA_E_CORRUPT);
    field = (strata_field){NULL, NULL};
    assert_int_equal(strata_field_type(field, &type), STRATA_E_CORRUPT);
    assert_int_equal(strata_field_root((strata_bytes){empty, 1}, &root), STRATA_OK);
    assert_int_equal(strata_field_first(root, &field), STRATA_E_END);
}

static void test_finish(void **state) {
    (void)state;
    strata_packer *packer = created();
    strata_bytes bytes = {NULL, 77};
    assert_int_equal(strata_packer_finish(packer, &bytes), STRATA_E_TYPE); /* nothing */
    (void)strata_pack_array(packer, 2);
    (void)strata_pack_map(packer, 1);
    (void)strata_pack_nil(packer);
    assert_int_equal(strata_packer_finish(packer, &bytes), STRATA_E_TYPE); /* the map lacks a value */
    (void)strata_pack_nil(packer);
    assert_int_equal(strata_packer_finish(packer, &bytes), STRATA_E_TYPE); /* the array lacks one */
    assert_int_equal(bytes.size, 77);
    (void)strata_pack_nil(packer);
    assert_int_equal(strata_packer_finish(packer, &bytes), STRATA_OK);
    assert_int_equal(strata_packer_finish(packer, &bytes), STRATA_OK);
    assert_int_equal(bytes.size, 5);
    (void)strata_pack_nil(packer);
    assert_int_equal(strata_packer_finish(packer, &bytes), STRATA_E_TYPE); /* two values */
    strata_packer_reset(packer);
    (void)strata_pack_array(packer, 0);
    assert_int_equal(strata_packer_finish(packer, &bytes), STRATA_OK);
    strata_packer_destroy(packer);
}

static void test_errors_stick(void **state) {
    (void)state;
    strata_packer *packer = created();
    strata_bytes bytes;
    assert_int_equal(strata_pack_str(packer, (strata_bytes){NULL, 1}), STRATA_E_INVALID);
    assert_int_equal(strata_pack_nil(packer), STRATA_E_INVALID);
    assert_int_equal(strata_pack_map(packer, 1), STRATA_E_INVALID);
    assert_int_equal(strata_packer_finish(packer, &bytes), STRATA_E_INVALID);
    strata_packer_reset(packer);
    for (int i = 0; i < 64; i++) assert_int_equal(strata_pack_array(packer, 1), STRATA_OK);
    assert_int_equal(strata_pack_array(packer, 0), STRATA_E_INVALID); /* readers would refuse it */
    strata_packer_reset(packer);
    for (int i = 0; i < 64; i++) assert_int_equal(strata_pack_array(packer, 1), STRATA_OK);
    assert_int_equal(strata_pack_nil(packer), STRATA_OK);
    assert_int_equal(strata_packer_finish(packer, &bytes), STRATA_OK);
    strata_field root;
    assert_int_equal(strata_field_root(bytes, &root), STRATA_OK);
    strata_packer_destroy(packer);
}

/* Random packing beside msgpack-c's own packer: the same bytes, and complete exactly when the tree is. */
static void pack_both(strata_packer *packer, msgpack_packer *pk, unsigned *seed, int depth) {
    strata_bytes bytes;
    assert_true(depth == 3 || strata_packer_finish(packer, &bytes) == STRATA_E_TYPE);
    uint64_t number = ((uint64_t)rand_r(seed) << 33 ^ (uint64_t)rand_r(seed)) >> (rand_r(seed) % 64);
    uint32_t count = (uint32_t)rand_r(seed) % 20;
    switch (rand_r(seed) % (depth > 0 ? 9 : 6)) {
    case 0: (void)strata_pack_nil(packer), (void)msgpack_pack_nil(pk); break;
    case 1:
        (void)strata_pack_int(packer, (int64_t)number), (void)msgpack_pack_int64(pk, (int64_t)number);
        break;
    case 2: (void)strata_pack_uint(packer, number), (void)msgpack_pack_uint64(pk, number); break;
    case 3:
        (void)strata_pack_double(packer, (double)number), (void)msgpack_pack_double(pk, (double)number);
        break;
    case 4:
        (void)strata_pack_str(packer, (strata_bytes){"strata strata strata", count});
        (void)msgpack_pack_str_with_body(pk, "strata strata strata", count);
        break;
    case 5: (void)strata_pack_bool(packer, 1), (void)msgpack_pack_true(pk); break;
    case 6:
        (void)strata_pack_map(packer, count), (void)msgpack_pack_map(pk, count);
        for (uint32_t i = 0; i < 2 * count; i++) pack_both(packer, pk, seed, depth - 1);
        break;
    default:
        (void)strata_pack_array(packer, count), (void)msgpack_pack_array(pk, count);
        for (uint32_t i = 0; i < count; i++) pack_both(packer, pk, seed, depth - 1);
    }
}

static void test_against_msgpack_c(void **state) {
    (void)state;
    strata_packer *packer = created();
    msgpack_sbuffer theirs;
    msgpack_sbuffer_init(&theirs);
    for (unsigned round = 0; round < 1000; round++) {
        unsigned seed = round;
        strata_packer_reset(packer);
        msgpack_sbuffer_clear(&theirs);
        msgpack_packer pk;
        msgpack_packer_init(&pk, &theirs, msgpack_sbuffer_write);
        pack_both(packer, &pk, &seed, 3);
        strata_bytes ours;
        assert_int_equal(strata_packer_finish(packer, &ours), STRATA_OK);
        assert_int_equal(ours.size, theirs.size);
        assert_memory_equal(ours.data, theirs.data, ours.size);
        strata_field root;
        assert_int_equal(strata_field_root(ours, &root), STRATA_OK);
    }
    msgpack_sbuffer_destroy(&theirs);
    strata_packer_destroy(packer);
}

static int32_t pack_step(test_alloc *alloc, void *context) {
    (void)context;
    strata_packer *packer = NULL;
    int32_t status = sx_packer_create(&alloc->table, &packer);
    if (status != STRATA_OK) return status;
    static const char filler[3000];
    strata_bytes bytes;
    (void)strata_pack_array(packer, 3);
    (void)strata_pack_bin(packer, (strata_bytes){filler, 60});
    (void)strata_pack_bin(packer, (strata_bytes){filler, 3000});
    (void)strata_pack_nil(packer);
    status = strata_packer_finish(packer, &bytes);
    strata_packer_destroy(packer);
    return status;
}

static void test_allocation_failures(void **state) {
    (void)state;
    assert_true(test_alloc_sweep(pack_step, NULL) >= 4);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_scalars),
        cmocka_unit_test(test_corrupt),
        cmocka_unit_test(test_finish),
        cmocka_unit_test(test_errors_stick),
        cmocka_unit_test(test_against_msgpack_c),
        cmocka_unit_test(test_allocation_failures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
