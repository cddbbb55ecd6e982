/* SPDX-License-Identifier: Apache-2.0 */
/* The envelope's bytes, pinned: a change here is a change of the wire; and nothing corrupt is taken for a value. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "l2/envelope.h"

/* clang-format off */
static const uint8_t golden[] = {
    0x9b, 0x01,
    0xcf, 0x00, 0x06, 0x0a, 0x24, 0x18, 0x1e, 0x40, 0x01, /* n */
    0xcf, 0x00, 0x00, 0x01, 0x8b, 0xcf, 0xe5, 0x68, 0x00, /* written_at_ms 1700000000000 */
    0xcf, 0xde, 0xad, 0xbe, 0xef, 0x01, 0x02, 0x03, 0x04, /* id */
    0x07,                                                 /* app_version */
    0xcd, 0xea, 0x60,                                     /* ttl_ms 60000 */
    0xcd, 0x03, 0xe8,                                     /* stale_ms 1000 */
    0x00,                                                 /* flags */
    0xc0,                                                 /* tags */
    0xc4, 0x02, 'e', '1',                                 /* etag */
    0xc4, 0x05, 'h', 'e', 'l', 'l', 'o'};                 /* payload */
static const uint8_t golden_lease[] = {0x93, 0x02, 0xcf, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0xc2};
/* clang-format on */

static const sx_envelope SAMPLE = {.n = UINT64_C(0x00060a24181e4001), .id = UINT64_C(0xdeadbeef01020304),
                                   .app_version = 7, .written_ms = INT64_C(1700000000000), .ttl_ms = 60000,
                                   .stale_ms = 1000, .etag = (const uint8_t *)"e1", .etag_size = 2,
                                   .payload = (const uint8_t *)"hello", .payload_size = 5};

static void bytes_are_pinned(void **state) {
    (void)state;
    sx_buf buf;
    sx_buf_init(&buf, sx_alloc_default());
    sx_envelope_encode(&buf, &SAMPLE);
    assert_int_equal(buf.size, sizeof golden);
    assert_memory_equal(buf.data, golden, sizeof golden);
    sx_buf_clear(&buf, 4096);
    sx_envelope_encode_tail(&buf, &SAMPLE); /* what a script puts behind its head */
    assert_int_equal(buf.size, sizeof golden - SX_ENVELOPE_HEAD_BYTES);
    assert_memory_equal(buf.data, golden + SX_ENVELOPE_HEAD_BYTES, buf.size);
    sx_buf_clear(&buf, 4096);
    sx_envelope_encode_lease(&buf, UINT64_C(0x0102030405060708));
    assert_int_equal(buf.size, sizeof golden_lease);
    assert_memory_equal(buf.data, golden_lease, sizeof golden_lease);
    sx_buf_deinit(&buf);
}

static void golden_bytes_are_read(void **state) {
    (void)state;
    sx_envelope e;
    assert_int_equal(sx_envelope_decode(golden, sizeof golden, &e), SX_ENVELOPE_VALUE);
    assert_true(e.n == SAMPLE.n && e.id == SAMPLE.id && e.app_version == 7 && e.written_ms == SAMPLE.written_ms);
    assert_true(e.ttl_ms == 60000 && e.stale_ms == 1000 && e.flags == 0);
    assert_int_equal(e.etag_size, 2);
    assert_int_equal(e.payload_size, 5);
    assert_memory_equal(e.payload, "hello", 5);
    assert_ptr_equal(e.payload, golden + sizeof golden - 5); /* in place */
    assert_int_equal(sx_envelope_decode_front(golden, SX_ENVELOPE_FRONT_BYTES, &e), SX_ENVELOPE_VALUE);
    assert_true(e.n == SAMPLE.n && e.id == SAMPLE.id && e.payload == NULL);
    assert_int_equal(sx_envelope_decode(golden_lease, sizeof golden_lease, &e), SX_ENVELOPE_LEASE);
    assert_true(e.id == UINT64_C(0x0102030405060708) && e.n == 0);
    uint8_t awaited[sizeof golden_lease];
    memcpy(awaited, golden_lease, sizeof awaited);
    awaited[11] = 0xc3;
    assert_int_equal(sx_envelope_decode_front(awaited, sizeof awaited, &e), SX_ENVELOPE_LEASE);
}

static void every_truncation_and_tail_is_corrupt(void **state) {
    (void)state;
    sx_envelope e;
    for (size_t size = 0; size < sizeof golden; size++) {
        uint8_t *copy = malloc(size + 1); /* exact size: the sanitizer sees any read beyond */
        memcpy(copy, golden, size);
        uint8_t *exact = size == 0 ? NULL : realloc(copy, size);
        assert_int_equal(sx_envelope_decode(exact == NULL ? copy : exact, size, &e), SX_ENVELOPE_CORRUPT);
        assert_null(e.payload);
        free(exact == NULL ? copy : exact);
    }
    uint8_t longer[sizeof golden + 1];
    memcpy(longer, golden, sizeof golden);
    longer[sizeof golden] = 0;
    assert_int_equal(sx_envelope_decode(longer, sizeof longer, &e), SX_ENVELOPE_CORRUPT);
    for (size_t size = 0; size < sizeof golden_lease; size++) {
        assert_int_equal(sx_envelope_decode(golden_lease, size, &e), SX_ENVELOPE_CORRUPT);
    }
}

static void spoilt_bytes_never_break_the_reader(void **state) {
    (void)state;
    uint8_t copy[sizeof golden];
    sx_envelope e;
    for (size_t at = 0; at < sizeof golden; at++) {
        for (int byte = 0; byte < 256; byte++) {
            memcpy(copy, golden, sizeof golden);
            copy[at] = (uint8_t)byte;
            if (sx_envelope_decode(copy, sizeof copy, &e) != SX_ENVELOPE_VALUE) continue;
            assert_true(e.payload >= copy && e.payload + e.payload_size <= copy + sizeof copy);
            assert_true(e.ttl_ms >= 0 && e.stale_ms >= 0 && e.written_ms >= 0);
        }
    }
    memcpy(copy, golden, sizeof golden);
    copy[1] = 3; /* a format of the future */
    assert_int_equal(sx_envelope_decode(copy, sizeof copy, &e), SX_ENVELOPE_CORRUPT);
    memcpy(copy, golden, sizeof golden);
    copy[12] = 0x80; /* written before time began */
    assert_int_equal(sx_envelope_decode(copy, sizeof copy, &e), SX_ENVELOPE_CORRUPT);
}

static void tags_are_left_in_place_and_bounded(void **state) {
    (void)state;
    sx_buf buf;
    sx_buf_init(&buf, sx_alloc_default());
    uint8_t tags[3 + 65] = {0xdc, 0, 64};
    sx_envelope e = SAMPLE;
    e.tags = tags;
    e.tags_size = 3 + 64;
    sx_envelope_encode(&buf, &e);
    assert_int_equal(sx_envelope_decode(buf.data, buf.size, &e), SX_ENVELOPE_VALUE);
    assert_int_equal(e.tags_size, 67);
    assert_memory_equal(e.tags, tags, 67);
    e = SAMPLE;
    tags[2] = 65;
    e.tags = tags;
    e.tags_size = 3 + 65;
    sx_buf_clear(&buf, 4096);
    sx_envelope_encode(&buf, &e);
    assert_int_equal(sx_envelope_decode(buf.data, buf.size, &e), SX_ENVELOPE_CORRUPT);
    sx_buf_deinit(&buf);
}

static void remaining_is_clamped(void **state) {
    (void)state;
    sx_envelope e = {.written_ms = 1000, .ttl_ms = 100};
    assert_int_equal(sx_envelope_remaining_ms(&e, -1), 100);
    assert_int_equal(sx_envelope_remaining_ms(&e, 500), 100); /* a reader whose clock is behind gains nothing */
    assert_int_equal(sx_envelope_remaining_ms(&e, 1000), 100);
    assert_int_equal(sx_envelope_remaining_ms(&e, 1099), 1);
    assert_int_equal(sx_envelope_remaining_ms(&e, 1100), 0);
    assert_int_equal(sx_envelope_remaining_ms(&e, INT64_MAX), 0);
    e.ttl_ms = 0;
    assert_true(sx_envelope_remaining_ms(&e, 5000) == INT64_MAX);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_are_pinned),
        cmocka_unit_test(golden_bytes_are_read),
        cmocka_unit_test(every_truncation_and_tail_is_corrupt),
        cmocka_unit_test(spoilt_bytes_never_break_the_reader),
        cmocka_unit_test(tags_are_left_in_place_and_bounded),
        cmocka_unit_test(remaining_is_clamped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
