/* SPDX-License-Identifier: Apache-2.0 */
/* Values that L1 keeps compressed: more of them in the same room, and every way to read one shows what was written. */
#include <stdio.h>
#include <string.h>

#include "core/flow/engine.h"
#include "tests/flow/fixture.h"
#include "tests/support/alloc.h"
#include "tests/support/dictionary.h"

enum { SIZE = 4000, KEYS = 4000 };

static char text[SIZE], noise[SIZE];
static test_alloc memory;

static void *allocate(void *context, size_t size, size_t alignment) {
    (void)context;
    return memory.table.allocate(memory.table.context, size, alignment);
}

static void release(void *context, void *bytes, size_t size) {
    (void)context;
    memory.table.release(memory.table.context, bytes, size);
}

static void open_with(void **state, const char *compress, bool own_memory) {
    fixture *f = fixture_create();
    strata_open_options template_ = {.clock = {&f->clock, fixture_now_ns}};
    if (own_memory) {
        test_alloc_init(&memory);
        template_.allocator = (strata_allocator){&memory, allocate, release};
    }
    fixture_open(f, TEST_OPTIONS("l2.mode", "none", "flow.ttl_jitter", "0", "flow.compress", compress, "l1.bytes", "4MiB"), &template_);
    uint64_t random = 5;
    for (size_t i = 0; i < SIZE; i++) {
        random = random * UINT64_C(6364136223846793005) + 1442695040888963407u;
        noise[i] = (char)(random >> 56);
        text[i] = "{\"name\":\"value\"}"[i % 16];
    }
    *state = f;
}

static int setup_lz4(void **state) {
    open_with(state, "lz4", false);
    return 0;
}

static int setup_zstd(void **state) {
    open_with(state, sx_compression_known(SX_COMPRESSION_ZSTD) ? "zstd" : "lz4", false);
    return 0;
}

static int setup_memory(void **state) {
    open_with(state, "lz4", true);
    return 0;
}

static int32_t keep_compressed(fixture *f) {
    return fixture_policy(f, (strata_namespace_policy){.flags = STRATA_POLICY_L1_COMPRESSED});
}

static void set(fixture *f, const char *key, const char *value, size_t size) {
    assert_int_equal(strata_set_wait(f->session, f->ns, test_bytes(key), (strata_bytes){value, size}, NULL, NULL), STRATA_OK);
}

static void shows(fixture *f, strata_result *result, const char *value, size_t size) {
    assert_int_equal(result->value.size, size);
    assert_memory_equal(result->value.data, value, size);
    assert_int_equal((uintptr_t)result->value.data % 8, 0);
    strata_result_release(f->session, result);
}

static int64_t unpacked(fixture *f) { return test_metric(f->engine, "l1.unpacked"); }

static void every_way_to_read(void **state) {
    fixture *f = *state;
    strata_result result;
    assert_int_equal(keep_compressed(f), STRATA_OK);
    set(f, "text", text, SIZE);
    assert_int_equal(strata_peek(f->session, f->ns, test_bytes("text"), &result), STRATA_OK);
    assert_int_equal(result.source, STRATA_FROM_L1);
    assert_false(sx_epoch_is_pinned(f->session->record)); /* however long it is held, it holds nothing up */
    strata_value *kept;
    assert_int_equal(strata_result_retain(f->session, &result, &kept), STRATA_OK);
    assert_int_equal(result.ttl_ms, 300000);
    shows(f, &result, text, SIZE);
    assert_int_equal(unpacked(f), 1);
    assert_int_equal(strata_get_wait(f->session, f->ns, test_bytes("text"), NULL, &result), STRATA_OK);
    assert_int_equal(unpacked(f), 2);
    set(f, "text", noise, SIZE); /* another one; what is held stays what it is */
    shows(f, &result, text, SIZE);
    assert_memory_equal(strata_value_bytes(kept).data, text, SIZE);
    strata_value_release(kept);
    assert_int_equal(strata_peek(f->session, f->ns, test_bytes("text"), &result), STRATA_OK);
    shows(f, &result, noise, SIZE);
    assert_int_equal(unpacked(f), 2); /* it did not pay */
    set(f, "small", text, 1000);
    assert_int_equal(strata_peek(f->session, f->ns, test_bytes("small"), &result), STRATA_OK);
    shows(f, &result, text, 1000);
    assert_int_equal(unpacked(f), 2);
    set(f, "a", text, SIZE);
    set(f, "b", text, SIZE - 1);
    strata_bytes keys[] = {test_bytes("a"), test_bytes("b"), test_bytes("small")};
    strata_result results[3];
    assert_int_equal(strata_mget_wait(f->session, f->ns, keys, 3, NULL, results), STRATA_OK);
    shows(f, &results[0], text, SIZE);
    shows(f, &results[1], text, SIZE - 1);
    shows(f, &results[2], text, 1000);
    assert_int_equal(unpacked(f), 4);
}

static void load_text(strata_load *load, void *user) {
    (void)user;
    assert_int_equal(strata_load_finish(load, STRATA_OK, (strata_bytes){text, SIZE}, NULL), STRATA_OK);
}

static void what_is_loaded_and_what_is_past_its_end(void **state) {
    fixture *f = *state;
    strata_result result;
    assert_int_equal(fixture_policy(f, (strata_namespace_policy){.flags = STRATA_POLICY_L1_COMPRESSED, .ttl_ms = 1000, .stale_while_refreshing_ms = 5000}),
                     STRATA_OK);
    assert_int_equal(strata_get_or_load_wait(f->session, f->ns, test_bytes("k"), NULL, load_text, NULL, &result), STRATA_OK);
    assert_int_equal(result.source, STRATA_FROM_LOADER);
    shows(f, &result, text, SIZE);
    assert_int_equal(unpacked(f), 0); /* counted are hits */
    fixture_advance(f, 2000);
    assert_int_equal(strata_peek(f->session, f->ns, test_bytes("k"), &result), STRATA_STALE);
    assert_int_equal(result.reason, STRATA_REASON_REFRESHING);
    shows(f, &result, text, SIZE);
    assert_int_equal(unpacked(f), 1);
}

/* Who does not want the bytes has nothing undone. */
static void what_is_looked_at_stays_packed(void **state) {
    fixture *f = *state;
    strata_result result;
    int64_t ttl_ms = 0;
    assert_int_equal(keep_compressed(f), STRATA_OK);
    set(f, "text", text, SIZE);
    assert_int_equal(strata_exists_wait(f->session, f->ns, test_bytes("text"), NULL, &result), STRATA_OK);
    assert_int_equal(result.value.size, 0);
    assert_int_equal(strata_get_ttl_wait(f->session, f->ns, test_bytes("text"), NULL, &ttl_ms), STRATA_OK);
    assert_int_equal(ttl_ms, 300000);
    strata_op_options longer = {.struct_size = sizeof longer, .ttl_ms = 400000};
    assert_int_equal(strata_touch_wait(f->session, f->ns, test_bytes("text"), &longer, &result), STRATA_OK);
    assert_int_equal(result.ttl_ms, 400000);
    assert_false(sx_epoch_is_pinned(f->session->record));
    assert_int_equal(unpacked(f), 0);
    assert_int_equal(strata_peek(f->session, f->ns, test_bytes("text"), &result), STRATA_OK);
    shows(f, &result, text, SIZE);
    assert_int_equal(unpacked(f), 1);
}

static int32_t give(fixture *f, uint32_t kind, strata_error *error) {
    uint8_t bytes[TEST_DICTIONARY_BYTES];
    return strata_namespace_dictionary(f->ns, (strata_bytes){bytes, test_dictionary(kind, bytes)}, error);
}

static void set_sample(fixture *f, const char *key, uint32_t kind) {
    char value[TEST_SAMPLE_BYTES];
    set(f, key, value, test_sample(kind, 100000, value));
}

static void shows_sample(fixture *f, const char *key, uint32_t kind) {
    char value[TEST_SAMPLE_BYTES];
    strata_result result;
    size_t size = test_sample(kind, 100000, value);
    assert_int_equal(strata_peek(f->session, f->ns, test_bytes(key), &result), STRATA_OK);
    shows(f, &result, value, size);
}

static int64_t saved_by(fixture *f, const char *key) {
    int64_t before = test_metric(f->engine, "flow.compress_saved");
    set_sample(f, key, 1);
    return test_metric(f->engine, "flow.compress_saved") - before;
}

/* What was compressed with one dictionary is read while another is in use, and while none is. */
static void by_dictionaries(void **state) {
    fixture *f = *state;
    strata_error error = {0};
    if (!sx_compression_known(SX_COMPRESSION_ZSTD)) {
        assert_int_equal(strata_namespace_dictionary(f->ns, (strata_bytes){"x", 1}, &error), STRATA_E_CONFIG);
        assert_int_equal(strata_option_set(f->engine, "flow.compress", "zstd", &error), STRATA_E_CONFIG);
        assert_string_equal(error.text, "option 'flow.compress': this library was built without zstd");
        assert_int_equal(strata_option_set(f->engine, "namespace.x.compress", "zstd", &error), STRATA_E_CONFIG);
        assert_string_equal(error.text, "option 'namespace.x.compress': this library was built without zstd");
        return;
    }
    assert_int_equal(fixture_policy(f, (strata_namespace_policy){.flags = STRATA_POLICY_L1_COMPRESSED, .compress = STRATA_COMPRESS_ZSTD,
                                                                 .compress_min_bytes = 64}),
                     STRATA_OK);
    int64_t without = saved_by(f, "without");
    assert_int_equal(give(f, 1, &error), STRATA_OK);
    int64_t with = saved_by(f, "first");
    assert_true(with > without);
    assert_int_equal(give(f, 2, &error), STRATA_OK);
    set_sample(f, "second", 2);
    assert_int_equal(strata_namespace_dictionary(f->ns, (strata_bytes){NULL, 0}, &error), STRATA_OK);
    assert_int_equal(saved_by(f, "none"), without);
    shows_sample(f, "without", 1);
    shows_sample(f, "first", 1);
    shows_sample(f, "second", 2);
    shows_sample(f, "none", 1);
    assert_int_equal(unpacked(f), 4);
    for (int i = 0; i < 100; i++) assert_int_equal(give(f, (uint32_t)(1 + i % 2), &error), STRATA_OK); /* known already */
    uint8_t bytes[TEST_DICTIONARY_BYTES];
    size_t size = test_dictionary(1, bytes);
    bytes[size - 1] ^= 1; /* another, that says to be the first */
    assert_int_equal(strata_namespace_dictionary(f->ns, (strata_bytes){bytes, size}, &error), STRATA_E_CONFIG);
    assert_non_null(strstr(error.text, "another dictionary with the id"));
    int32_t status = STRATA_OK;
    uint32_t given = 0;
    for (; status == STRATA_OK && given < 200; given += status == STRATA_OK) { /* the id is in the bytes 4 .. 7 */
        for (uint32_t b = 0; b < 4; b++) bytes[4 + b] = (uint8_t)((1000 + given) >> 8 * b);
        status = strata_namespace_dictionary(f->ns, (strata_bytes){bytes, size}, &error);
    }
    assert_int_equal(status, STRATA_E_OVERLOADED);
    assert_int_equal(given, 62);
    assert_int_equal(strata_namespace_dictionary(f->ns, (strata_bytes){NULL, 1}, NULL), STRATA_E_INVALID);
    shows_sample(f, "first", 1);
}

/* What is there when the policy changes stays what it is, and readable. */
static void the_policy_may_change(void **state) {
    fixture *f = *state;
    strata_result result;
    set(f, "plain", text, SIZE);
    assert_int_equal(keep_compressed(f), STRATA_OK);
    set(f, "packed", text, SIZE);
    assert_int_equal(strata_option_set(f->engine, "flow.compress", "none", NULL), STRATA_OK);
    set(f, "none", text, SIZE);
    assert_int_equal(fixture_policy(f, (strata_namespace_policy){.compress = STRATA_COMPRESS_LZ4, .compress_min_bytes = 64}), STRATA_OK);
    set(f, "again", text, SIZE); /* compressed for an L2 that is not there */
    static const char *const keys[] = {"plain", "packed", "none", "again"};
    for (int i = 0; i < 4; i++) {
        assert_int_equal(strata_peek(f->session, f->ns, test_bytes(keys[i]), &result), STRATA_OK);
        shows(f, &result, text, SIZE);
    }
    assert_int_equal(unpacked(f), 1);
    assert_int_equal(fixture_policy(f, (strata_namespace_policy){.flags = STRATA_POLICY_L1_COMPRESSED, .compress = STRATA_COMPRESS_LZ4,
                                                                 .compress_min_bytes = 64}),
                     STRATA_OK);
    set(f, "few", text, 80);
    assert_int_equal(strata_peek(f->session, f->ns, test_bytes("few"), &result), STRATA_OK);
    shows(f, &result, text, 80);
    assert_int_equal(unpacked(f), 2);
    assert_int_equal(fixture_policy(f, (strata_namespace_policy){.compress = 4}), STRATA_E_CONFIG);
    assert_int_equal(fixture_policy(f, (strata_namespace_policy){.compress_min_bytes = 63}), STRATA_E_CONFIG);
}

static int fill(fixture *f) {
    char key[16];
    strata_result result;
    int held = 0;
    for (int i = 0; i < KEYS; i++) {
        (void)snprintf(key, sizeof key, "k%d", i);
        text[0] = (char)('a' + i % 26);
        int32_t status;
        while ((status = strata_set_wait(f->session, f->ns, test_bytes(key), (strata_bytes){text, SIZE}, NULL, NULL)) == STRATA_E_OVERLOADED)
            test_sleep_ms(1); /* L1 takes more once the keeper has freed what left it */
        assert_int_equal(status, STRATA_OK);
    }
    for (int i = 0; i < KEYS; i++) {
        (void)snprintf(key, sizeof key, "k%d", i);
        if (strata_peek(f->session, f->ns, test_bytes(key), &result) != STRATA_OK) continue;
        text[0] = (char)('a' + i % 26);
        shows(f, &result, text, SIZE);
        held++;
    }
    return held;
}

static void more_are_held(void **state) {
    fixture *f = *state;
    int plain = fill(f);
    assert_int_equal(keep_compressed(f), STRATA_OK);
    int packed = fill(f);
    print_message("%d values of %d bytes held as they are, %d compressed\n", plain, SIZE, packed);
    assert_true(plain < KEYS / 2 && packed > 3 * plain);
    int64_t used = test_metric(f->engine, "l1.bytes_used"), max = test_metric(f->engine, "l1.bytes_max");
    assert_true(used <= max);
}

/* A hit that finds no room for what it is to show says so, and lets go of what it held: the next one has room. */
static void without_memory(void **state) {
    fixture *f = *state;
    strata_result result;
    assert_int_equal(keep_compressed(f), STRATA_OK);
    set(f, "k", text, SIZE);
    strata_bytes key = test_bytes("k");
    test_alloc_fail_from(&memory, 1);
    assert_int_equal(strata_peek(f->session, f->ns, key, &result), STRATA_E_NOMEM);
    assert_int_equal(strata_get_wait(f->session, f->ns, key, NULL, &result), STRATA_E_NOMEM);
    assert_int_equal(result.value.size, 0);
    strata_result_release(f->session, &result);
    assert_false(sx_epoch_is_pinned(f->session->record));
    test_alloc_fail_from(&memory, 0);
    assert_int_equal(strata_peek(f->session, f->ns, key, &result), STRATA_OK);
    shows(f, &result, text, SIZE);
    assert_int_equal(unpacked(f), 3);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        {"every_way_to_read, lz4", every_way_to_read, setup_lz4, fixture_teardown, NULL},
        cmocka_unit_test_setup_teardown(what_is_loaded_and_what_is_past_its_end, setup_lz4, fixture_teardown),
        cmocka_unit_test_setup_teardown(the_policy_may_change, setup_lz4, fixture_teardown),
        cmocka_unit_test_setup_teardown(what_is_looked_at_stays_packed, setup_lz4, fixture_teardown),
        cmocka_unit_test_setup_teardown(by_dictionaries, setup_lz4, fixture_teardown),
        cmocka_unit_test_setup_teardown(more_are_held, setup_lz4, fixture_teardown),
        cmocka_unit_test_setup_teardown(without_memory, setup_memory, fixture_teardown),
        {"every_way_to_read, zstd", every_way_to_read, setup_zstd, fixture_teardown, NULL},
        {"more_are_held, zstd", more_are_held, setup_zstd, fixture_teardown, NULL},
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
