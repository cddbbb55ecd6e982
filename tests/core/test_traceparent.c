/* SPDX-License-Identifier: Apache-2.0 */
/* traceparent and tracestate, read as the standard says: what it calls invalid is refused, what later versions add is not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "core/codec/traceparent.h"

#define GOOD "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

static bool decodes(const char *text) {
    sx_traceparent out;
    return sx_traceparent_decode(text, strlen(text), &out);
}

static void what_is_read_is_written(void **state) {
    (void)state;
    static const uint8_t trace_id[] = {0x4b, 0xf9, 0x2f, 0x35, 0x77, 0xb3, 0x4d, 0xa6, 0xa3, 0xce, 0x92, 0x9d, 0x0e, 0x0e, 0x47, 0x36};
    static const uint8_t parent_id[] = {0x00, 0xf0, 0x67, 0xaa, 0x0b, 0xa9, 0x02, 0xb7};
    sx_traceparent read;
    char text[SX_TRACEPARENT_BYTES + 1];
    assert_true(sx_traceparent_decode(GOOD, SX_TRACEPARENT_BYTES, &read));
    assert_memory_equal(read.trace_id, trace_id, 16);
    assert_memory_equal(read.parent_id, parent_id, 8);
    assert_int_equal(read.flags, SX_TRACE_SAMPLED);
    sx_traceparent_encode(&read, text);
    assert_string_equal(text, GOOD);
}

static void later_versions_are_read_as_this_one(void **state) {
    (void)state;
    sx_traceparent read;
    char text[SX_TRACEPARENT_BYTES + 1];
    static const char longer[] = "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-fe-what-the-future-will-be-like";
    assert_true(sx_traceparent_decode(longer, sizeof longer - 1, &read));
    assert_int_equal(read.flags, 0); /* of flags only what is known is handed on */
    sx_traceparent_encode(&read, text);
    assert_string_equal(text, "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00");
    assert_true(decodes("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"));
    assert_false(decodes("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01.what"));
    assert_false(decodes("ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"));
}

static void what_is_malformed_is_refused(void **state) {
    (void)state;
    static const char *const bad[] = {
        "", "00", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01 ", "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01", "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        "0G-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "00-4bf92f3577b34da6a3ce929d0e0e473g-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902bX-01", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0x",
        "00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "00-4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7_01", "4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01----",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (decodes(bad[i])) fail_msg("taken: '%s'", bad[i]);
    }
    for (size_t size = 0; size < SX_TRACEPARENT_BYTES; size++) {
        sx_traceparent read;
        assert_false(sx_traceparent_decode(GOOD, size, &read));
    }
    sx_traceparent untouched = {.flags = 77};
    assert_false(sx_traceparent_decode("00-", 3, &untouched));
    assert_int_equal(untouched.flags, 77);
}

static void state_is_what_a_header_can_hold(void **state) {
    (void)state;
    char text[SX_TRACESTATE_BYTES_MAX + 1];
    memset(text, 'a', sizeof text);
    assert_true(sx_tracestate_is_sound(text, SX_TRACESTATE_BYTES_MAX));
    assert_false(sx_tracestate_is_sound(text, SX_TRACESTATE_BYTES_MAX + 1));
    assert_true(sx_tracestate_is_sound(NULL, 0));
    assert_true(sx_tracestate_is_sound("rojo=00f067aa0ba902b7,\tcongo=t61rcWkgMzE ~", 42));
    assert_false(sx_tracestate_is_sound("a=1\r\nx: y", 9));
    assert_false(sx_tracestate_is_sound("a=\x80", 3));
    assert_false(sx_tracestate_is_sound("a=\x7f", 3));
    assert_false(sx_tracestate_is_sound("a=\0b", 4));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_read_is_written),
        cmocka_unit_test(later_versions_are_read_as_this_one),
        cmocka_unit_test(what_is_malformed_is_refused),
        cmocka_unit_test(state_is_what_a_header_can_hold),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
