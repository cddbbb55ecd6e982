/* SPDX-License-Identifier: Apache-2.0 */
/* The message codec: its exact bytes, and that nothing malformed is let through. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include <strata/status.h>

#include "coherence/message.h"
#include "core/codec/msgpack.h"

static sx_buf buf;

static int setup(void **state) {
    (void)state;
    sx_buf_init(&buf, sx_alloc_default());
    return 0;
}

static int teardown(void **state) {
    (void)state;
    sx_buf_deinit(&buf);
    return 0;
}

#define SAYS(text) assert_bytes(text, sizeof text - 1)
static void assert_bytes(const char *bytes, size_t size) {
    assert_false(buf.failed);
    assert_int_equal(buf.size, size);
    assert_memory_equal(buf.data, bytes, size);
}

static const char key_message[] = "\x96\x01\xcf\x00\x06\x51\x4e\x9b\x3d\x1c\x07"
                                  "\xcf\x11\x22\x33\x44\x55\x66\x77\x88\xa4user\x03\xc4\x03k\x00y";
static const char keys_message[] = "\x96\x02\x07\x09\xa4user\x03\x92\xc4\x01" "a\xa2" "bc";
static const char value_message[] = "\x97\x03\x07\x09\xa4user\x03\xc4\x01k\xc4\x02\xc0\xc0";
static const char tag_message[] = "\x94\x04\x07\x09\xc4\x03tag";
static const char pattern_message[] = "\x95\x05\x07\xa4user\x03\xc4\x02" "a*";
static const char clear_message[] = "\x94\x06\x07\xa4user\xce\xff\xff\xff\xff";
static const char filled_message[] = "\x96\x07\x00\x09\xa4user\x03\xc4\x01k";
static const char untrust_message[] = "\x92\x08\x00";
static const char probe_message[] = "\x93\x00\x00\xcf\xff\xff\xff\xff\xff\xff\xff\xff";

#define GOOD(name) {name, sizeof name - 1}
static const struct good {
    const char *bytes;
    size_t size;
} good[] = {GOOD(key_message),   GOOD(keys_message),   GOOD(value_message),   GOOD(tag_message),  GOOD(pattern_message),
            GOOD(clear_message), GOOD(filled_message), GOOD(untrust_message), GOOD(probe_message)};
#define GOOD_COUNT (sizeof good / sizeof good[0])

static void writes_exact_bytes(void **state) {
    (void)state;
    sx_message_encode_head(&buf, SX_MESSAGE_KEY);
    SAYS("\x96\x01");
    sx_msgpack_write_uint_fixed(&buf, 0x0006514e9b3d1c07); /* what the script does */
    sx_message_encode_key_rest(&buf, 0x1122334455667788, "user", 4, 3, "k\0y", 3);
    SAYS(key_message);
    sx_buf_clear(&buf, SIZE_MAX);
    sx_message_encode_filled(&buf, 9, "user", 4, 3, "k", 1);
    SAYS(filled_message);
    sx_buf_clear(&buf, SIZE_MAX);
    sx_message_encode_untrust(&buf);
    SAYS(untrust_message);
    sx_buf_clear(&buf, SIZE_MAX);
    sx_message_encode_probe(&buf, UINT64_MAX);
    SAYS(probe_message);
    static const char *const heads[] = {"\x93", "\x96\x01", "\x96\x02", "\x97\x03", "\x94\x04",
                                        "\x95\x05", "\x94\x06", "\x96\x07", "\x92\x08"};
    for (uint32_t kind = 1; kind <= SX_MESSAGE_UNTRUST; kind++) {
        sx_buf_clear(&buf, SIZE_MAX);
        sx_message_encode_head(&buf, (sx_message_kind)kind);
        assert_bytes(heads[kind], 2);
    }
}

static void reads_every_kind(void **state) {
    (void)state;
    sx_message m;
    assert_int_equal(sx_message_decode(key_message, sizeof key_message - 1, &m), STRATA_OK);
    assert_int_equal(m.kind, SX_MESSAGE_KEY);
    assert_true(m.sequenced);
    assert_int_equal(m.n, 0x0006514e9b3d1c07);
    assert_int_equal(m.id, 0x1122334455667788);
    assert_int_equal(m.ns_size, 4);
    assert_memory_equal(m.ns, "user", 4);
    assert_int_equal(m.ns_version, 3);
    assert_int_equal(m.key_size, 3);
    assert_memory_equal(m.key, "k\0y", 3);
    assert_int_equal(sx_message_decode(value_message, sizeof value_message - 1, &m), STRATA_OK);
    assert_int_equal(m.value_size, 2);
    assert_memory_equal(m.value, "\xc0\xc0", 2);
    assert_int_equal(sx_message_decode(tag_message, sizeof tag_message - 1, &m), STRATA_OK);
    assert_int_equal(m.id, 9);
    assert_int_equal(m.ns_size, 0);
    assert_memory_equal(m.key, "tag", 3);
    assert_int_equal(sx_message_decode(pattern_message, sizeof pattern_message - 1, &m), STRATA_OK);
    assert_int_equal(m.id, 0);
    assert_memory_equal(m.key, "a*", 2);
    assert_int_equal(sx_message_decode(clear_message, sizeof clear_message - 1, &m), STRATA_OK);
    assert_int_equal(m.ns_version, UINT32_MAX);
    assert_null(m.key);
    assert_int_equal(sx_message_decode(filled_message, sizeof filled_message - 1, &m), STRATA_OK);
    assert_false(m.sequenced);
    assert_int_equal(m.id, 9);
    assert_int_equal(sx_message_decode(untrust_message, sizeof untrust_message - 1, &m), STRATA_OK);
    assert_int_equal(m.kind, SX_MESSAGE_UNTRUST);
    assert_false(m.sequenced);
    assert_int_equal(sx_message_decode(probe_message, sizeof probe_message - 1, &m), STRATA_OK);
    assert_int_equal(m.id, UINT64_MAX);
}

static void walks_keys(void **state) {
    (void)state;
    sx_message m;
    assert_int_equal(sx_message_decode(keys_message, sizeof keys_message - 1, &m), STRATA_OK);
    assert_int_equal(m.keys, 2);
    const uint8_t *cursor = NULL, *key = NULL;
    size_t size = 0;
    assert_true(sx_message_next_key(&m, &cursor, &key, &size));
    assert_int_equal(size, 1);
    assert_memory_equal(key, "a", 1);
    assert_true(sx_message_next_key(&m, &cursor, &key, &size));
    assert_int_equal(size, 2);
    assert_memory_equal(key, "bc", 2);
    assert_false(sx_message_next_key(&m, &cursor, &key, &size));
    assert_int_equal(sx_message_decode(key_message, sizeof key_message - 1, &m), STRATA_OK);
    cursor = NULL;
    assert_false(sx_message_next_key(&m, &cursor, &key, &size));
}

/* In memory of exactly its size, so that a sanitizer sees a read beyond it. */
static int32_t decode_exact(const char *bytes, size_t size) {
    char *copy = malloc(size == 0 ? 1 : size);
    assert_non_null(copy);
    if (size > 0) memcpy(copy, bytes, size);
    sx_message m;
    int32_t status = sx_message_decode(copy, size, &m);
    free(copy);
    return status;
}

static void refuses_every_truncation_and_extension(void **state) {
    (void)state;
    for (size_t i = 0; i < GOOD_COUNT; i++) {
        char longer[64];
        memcpy(longer, good[i].bytes, good[i].size);
        longer[good[i].size] = '\0';
        assert_int_equal(decode_exact(longer, good[i].size), STRATA_OK);
        assert_int_equal(decode_exact(longer, good[i].size + 1), STRATA_E_CORRUPT);
        for (size_t size = 0; size < good[i].size; size++)
            assert_int_equal(decode_exact(longer, size), STRATA_E_CORRUPT);
    }
}

#define BAD(text) {text, sizeof text - 1}
static void refuses_what_it_can_not_apply(void **state) {
    (void)state;
    static const struct good bad[] = {
        BAD("\x92\x09\x00"),                               /* unknown kind */
        BAD("\x92\xff\x00"),                               /* negative kind */
        BAD("\x92\xa1\x08\x00"),                           /* kind as text */
        BAD("\x82\x08\x00\x01\x00"),                       /* a map */
        BAD("\x93\x08\x00\x00"),                           /* UNTRUST with a count of another */
        BAD("\x92\x08\x01"),                               /* unsequenced, but numbered */
        BAD("\x96\x07\x01\x09\xa4user\x03\xc4\x01k"),      /* the same */
        BAD("\x96\x01\x00\x09\xa4user\x03\xc4\x01k"),      /* sequenced without a number */
        BAD("\x96\x01\xff\x09\xa4user\x03\xc4\x01k"),      /* negative n */
        BAD("\x96\x01\x07\xc0\xa4user\x03\xc4\x01k"),      /* no id */
        BAD("\x96\x01\x07\x09\xa0\x03\xc4\x01k"),          /* empty namespace */
        BAD("\x96\x01\x07\x09\xa4user\x03\xc4\x00"),       /* empty key */
        BAD("\x96\x01\x07\x09\xa4user\x03\x07"),           /* key as a number */
        BAD("\x96\x01\x07\x09\xa4user\xcf\x00\x00\x00\x01\x00\x00\x00\x00\xc4\x01k"), /* version over 32 bits */
        BAD("\x96\x02\x07\x09\xa4user\x03\x90"),           /* KEYS without any */
        BAD("\x96\x02\x07\x09\xa4user\x03\x92\xa1" "a\xa0"), /* an empty one among them */
        BAD("\x96\x02\x07\x09\xa4user\x03\xdd\xff\xff\xff\xff"), /* a count beyond the bytes */
        BAD("\x97\x03\x07\x09\xa4user\x03\xc4\x01k\xc4\x00"), /* VALUE without a value */
        BAD("\x94\x04\x07\x09\xc4\x00"),                   /* TAG without a tag */
        BAD("\xdc\x00\x02"),                               /* cut short */
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (decode_exact(bad[i].bytes, bad[i].size) != STRATA_E_CORRUPT) fail_msg("case %zu was accepted", i);
    char long_key[5000] = "\x96\x01\x07\x09\xa4user\x03\xc5\x10\x01"; /* 4097 bytes */
    assert_int_equal(decode_exact(long_key, 13 + 4097), STRATA_E_CORRUPT);
    char long_ns[128] = "\x96\x01\x07\x09\xd9\x41";
    memset(long_ns + 6, 'n', 65);
    memcpy(long_ns + 6 + 65, "\x03\xc4\x01k", 4);
    assert_int_equal(decode_exact(long_ns, 6 + 65 + 4), STRATA_E_CORRUPT);
}

static void survives_changed_bytes(void **state) {
    (void)state;
    for (size_t i = 0; i < GOOD_COUNT; i++) {
        for (size_t at = 0; at < good[i].size; at++) {
            for (int byte = 0; byte < 256; byte++) {
                char copy[64];
                memcpy(copy, good[i].bytes, good[i].size);
                copy[at] = (char)byte;
                int32_t status = decode_exact(copy, good[i].size);
                assert_true(status == STRATA_OK || status == STRATA_E_CORRUPT);
            }
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(writes_exact_bytes, setup, teardown),
        cmocka_unit_test(reads_every_kind),
        cmocka_unit_test(walks_keys),
        cmocka_unit_test(refuses_every_truncation_and_extension),
        cmocka_unit_test(refuses_what_it_can_not_apply),
        cmocka_unit_test(survives_changed_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
