/* SPDX-License-Identifier: Apache-2.0 */
/* Values compressed in L2, and in L1 where a namespace wishes it: smaller there, the same everywhere else, whoever wrote, loaded or reads them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/codec/compress.h"
#include "l2/envelope.h"
#include "tests/support/cluster.h"
#include "tests/support/dictionary.h"
#include "tests/support/engine.h"
#include "tests/support/side.h"
#include "tests/support/talk.h"

enum { SIZE = 20000 };

typedef struct fixture {
    sx_cluster *cluster;
    test_side packing, plain; /* both read what either wrote */
    char text[SIZE], noise[SIZE];
} fixture;

static const strata_op_options past_l1 = {.struct_size = sizeof past_l1, .flags = STRATA_BYPASS_L1, .deadline_ms = 5000};

static void open_side(test_side *s, sx_cluster *cluster, const char *compress, const char *in_l1) {
    test_side_open(s, "n", TEST_OPTIONS("l2.nodes", sx_cluster_seeds(cluster), "l2.open_wait", "5s", "flow.compress", compress,
                                        "coherence.value_bytes_max", "4KiB", "coherence.partitions", "1",
                                        "l2.value_bytes_max", "1MiB", "namespace.n.l1_compressed", in_l1,
                                        "coherence.audit_per_s", "1000"), NULL);
}

static int setup_with(void **state, const char *in_l1) {
    fixture *f = calloc(1, sizeof *f);
    f->cluster = test_cluster_start(&(sx_cluster_options){0});
    open_side(&f->packing, f->cluster, "lz4", in_l1);
    open_side(&f->plain, f->cluster, "none", in_l1);
    uint64_t random = 5;
    for (size_t i = 0; i < SIZE; i++) {
        random = random * UINT64_C(6364136223846793005) + 1442695040888963407u;
        f->noise[i] = (char)(random >> 56);
        f->text[i] = "{\"name\":\"value\"}"[i % 16];
    }
    *state = f;
    return 0;
}

static int setup(void **state) { return setup_with(state, "off"); }
static int setup_in_l1(void **state) { return setup_with(state, "on"); }

static int teardown(void **state) {
    fixture *f = *state;
    assert_int_equal(test_metric(f->packing.engine, "audit.divergent"), 0);
    assert_int_equal(test_metric(f->plain.engine, "audit.divergent"), 0);
    test_side_close(&f->packing);
    test_side_close(&f->plain);
    sx_cluster_stop(f->cluster);
    free(f);
    return 0;
}

static void set(test_side *s, const char *key, const char *value, size_t size) {
    assert_int_equal(strata_set_wait(s->session, s->ns, test_bytes(key), (strata_bytes){value, size}, NULL, NULL), STRATA_OK);
}

static void reads(test_side *s, const char *key, const char *value, size_t size, const strata_op_options *options) {
    strata_result result;
    assert_int_equal(strata_get_wait(s->session, s->ns, test_bytes(key), options, &result), STRATA_OK);
    assert_int_equal(result.value.size, size);
    assert_memory_equal(result.value.data, value, size);
    strata_result_release(s->session, &result);
}

/* Bytes stored for a key; there is one partition, whose tag is the first candidate. */
static long stored(fixture *f, const char *key) {
    char *answer = sx_cluster_command(f->cluster, 0, "STRLEN {0}s1:n:1:%s", key);
    long size = strtol(answer, NULL, 10);
    free(answer);
    return size;
}

static void what_is_set(void **state) {
    fixture *f = *state;
    set(&f->packing, "text", f->text, SIZE);
    assert_in_range(stored(f, "text"), 20, SIZE / 10);
    reads(&f->packing, "text", f->text, SIZE, NULL);
    reads(&f->packing, "text", f->text, SIZE, &past_l1);
    reads(&f->plain, "text", f->text, SIZE, NULL); /* who reads need not be configured */
    assert_true(test_metric(f->packing.engine, "flow.compress_saved") > SIZE * 9 / 10);
    assert_true(test_metric(f->packing.engine, "flow.decompressed") >= 1);
    assert_true(test_metric(f->plain.engine, "flow.decompressed") >= 1);
    set(&f->packing, "noise", f->noise, SIZE);
    assert_true(stored(f, "noise") > SIZE);
    reads(&f->plain, "noise", f->noise, SIZE, NULL);
    set(&f->packing, "small", f->text, 1023);
    assert_true(stored(f, "small") > 1023);
    assert_int_equal(test_metric(f->packing.engine, "flow.compressed"), 1);
    assert_int_equal(test_metric(f->packing.engine, "flow.compress_skipped"), 1);
    set(&f->plain, "text", f->text, SIZE);
    assert_true(stored(f, "text") > SIZE);
    reads(&f->packing, "text", f->text, SIZE, &past_l1);
    assert_int_equal(test_metric(f->plain.engine, "flow.compressed"), 0);
}

static void load_text(strata_load *load, void *user) {
    fixture *f = user;
    strata_load_finish(load, STRATA_OK, (strata_bytes){f->text, SIZE}, NULL);
}

static void what_is_loaded(void **state) {
    fixture *f = *state;
    strata_result result;
    int32_t status = strata_get_or_load_wait(f->packing.session, f->packing.ns, test_bytes("loaded"), NULL, load_text, f,
                                             &result);
    assert_int_equal(status, STRATA_OK);
    assert_int_equal(result.value.size, SIZE);
    strata_result_release(f->packing.session, &result);
    assert_in_range(stored(f, "loaded"), 20, SIZE / 10);
    reads(&f->packing, "loaded", f->text, SIZE, NULL);
    reads(&f->plain, "loaded", f->text, SIZE, NULL);
}

/* Small enough, as stored, to travel with the message that announces it. */
static void what_travels_with_its_message(void **state) {
    fixture *f = *state;
    set(&f->packing, "hot", f->text, SIZE);
    reads(&f->plain, "hot", f->text, SIZE, NULL);
    f->text[7] = '!';
    set(&f->packing, "hot", f->text, SIZE);
    assert_true(test_metric_wait(f->plain.engine, "flow.values_taken", 1, 30000));
    strata_result result;
    assert_int_equal(strata_peek(f->plain.session, f->plain.ns, test_bytes("hot"), &result), STRATA_OK);
    assert_memory_equal(result.value.data, f->text, SIZE);
    strata_result_release(f->plain.session, &result);
}

static void by_zstd_and_hot(void **state) {
    fixture *f = *state;
    assert_int_equal(strata_option_set(f->plain.engine, "flow.compress", "zstd", NULL), STRATA_OK);
    assert_int_equal(strata_option_set(f->plain.engine, "flow.compress_min", "64", NULL), STRATA_OK);
    set(&f->plain, "z", f->text, 200);
    assert_true(stored(f, "z") < 150);
    reads(&f->packing, "z", f->text, 200, NULL);
    assert_int_equal(strata_option_set(f->plain.engine, "flow.compress", "none", NULL), STRATA_OK);
    set(&f->plain, "z", f->text, 200);
    assert_true(stored(f, "z") > 200);
}

static void load_sample(strata_load *load, void *user) {
    char value[TEST_SAMPLE_BYTES];
    size_t size = test_sample(1, 100001, value);
    ++*(int *)user;
    strata_load_finish(load, STRATA_OK, (strata_bytes){value, size}, NULL);
}

/* A dictionary that only one side knows: for the other its values are malformed ones, in whose place a loader answers; never other bytes. With it at
   open, from a file, they are read. */
static void by_a_dictionary(void **state) {
    fixture *f = *state;
    if (!sx_compression_known(SX_COMPRESSION_ZSTD)) return;
    static uint8_t bytes[TEST_DICTIONARY_BYTES];
    char value[TEST_SAMPLE_BYTES], path[64], option[192];
    size_t size = test_dictionary(1, bytes), value_size = test_sample(1, 100000, value);
    strata_error error;
    assert_int_equal(strata_option_set(f->packing.engine, "namespace.n.compress", "zstd", &error), STRATA_OK);
    assert_int_equal(strata_option_set(f->packing.engine, "namespace.n.compress_min", "64", &error), STRATA_OK);
    set(&f->packing, "a", value, value_size);
    long without = stored(f, "a");
    assert_int_equal(strata_namespace_dictionary(f->packing.ns, (strata_bytes){bytes, size}, &error), STRATA_OK);
    set(&f->packing, "a", value, value_size);
    assert_true(stored(f, "a") < without);
    reads(&f->packing, "a", value, value_size, &past_l1);
    strata_result result;
    assert_true(strata_get_wait(f->plain.session, f->plain.ns, test_bytes("a"), &past_l1, &result) != STRATA_OK);
    assert_true(test_metric(f->plain.engine, "flow.dictionary_unknown") > 0 && test_metric(f->plain.engine, "l2.corrupt") > 0);
    int loads = 0;
    assert_int_equal(strata_get_or_load_wait(f->plain.session, f->plain.ns, test_bytes("a"), NULL, load_sample, &loads, &result), STRATA_OK);
    assert_int_equal(loads, 1);
    strata_result_release(f->plain.session, &result);
    reads(&f->packing, "a", value, value_size, &past_l1); /* who can read it still does */

    snprintf(path, sizeof path, "/tmp/strata-dictionary-%u", (unsigned)sx_cluster_port(f->cluster, 0));
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
    set(&f->packing, "a", value, value_size);
    strata *engine = NULL;
    snprintf(option, sizeof option, "other=%s,n=%s", path, path);
    test_side third;
    test_side_open(&third, "n", TEST_OPTIONS("l2.nodes", sx_cluster_seeds(f->cluster), "l2.open_wait", "5s", "coherence.partitions", "1",
                                             "flow.compress", "zstd", "flow.compress_min", "64", "flow.dictionaries", option), NULL);
    reads(&third, "a", value, value_size, &past_l1);
    set(&third, "b", value, value_size);
    assert_true(stored(f, "b") < without);
    reads(&f->packing, "b", value, value_size, &past_l1);
    test_side_close(&third);
    static const char *const bad[] = {"n=/nowhere", "n", "=x", "n=", "n=/dev/null"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(test_engine_try(TEST_OPTIONS("l2.mode", "none", "flow.dictionaries", bad[i]), NULL, &engine, &error),
                         i == 0 ? STRATA_E_SYSTEM : STRATA_E_CONFIG);
        assert_non_null(strstr(error.text, "option 'flow.dictionaries'"));
    }
    (void)remove(path);
}

/* A stored claim of what it will be when unpacked, or a way of packing that there is not: malformed, and no memory is
   taken for it. */
static void bad_claims(void **state) {
    fixture *f = *state;
    struct { const char *payload; size_t size; uint64_t flags; } bad[] = {
        {NULL, 0, 1}, /* large, below */
        {"\x7f\xff\xff\xff\x10x", 6, 1},     /* 2 GiB */
        {"\x00\x00\x00\x00\x10x", 6, 1},     /* nothing */
        {"\x00\x00\x00\x05", 4, 1},          /* no block */
        {"\x00\x00\x00\x05hello", 9, 1},     /* not one */
        {"\x00\x00\x00\x05hello", 9, 2},
        {"\x00\x00\x00\x05hello", 9, 3},     /* no such way */
        {"hello", 5, SX_ENVELOPE_FLAGS + 1}, /* no such flag */
    };
    static const char zeros[(1 << 20) + 1];
    sx_buf large; /* well formed, and one byte larger than this engine's l2.value_bytes_max */
    sx_buf_init(&large, sx_alloc_default());
    assert_true(sx_compress(&large, SX_COMPRESSION_LZ4, zeros, sizeof zeros));
    bad[0].payload = (const char *)large.data;
    bad[0].size = large.size;
    test_talk *talk = test_talk_open(sx_cluster_port(f->cluster, 0), false);
    sx_command command;
    sx_command_init(&command, sx_alloc_default());
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        sx_buf buf;
        char key[16], name[32];
        strata_result result;
        sx_buf_init(&buf, sx_alloc_default());
        sx_envelope envelope = {.n = 1, .id = 7, .written_ms = 1, .flags = bad[i].flags,
                                .payload = (const uint8_t *)bad[i].payload, .payload_size = bad[i].size};
        sx_envelope_encode(&buf, &envelope);
        snprintf(key, sizeof key, "bad%zu", i);
        snprintf(name, sizeof name, "{0}s1:n:1:%s", key);
        sx_command_text(&command, "SET");
        sx_command_text(&command, name);
        sx_command_arg(&command, buf.data, buf.size);
        assert_memory_equal(test_talk_call(talk, &command, NULL)->text, "OK", 2);
        int32_t status = strata_get_wait(f->plain.session, f->plain.ns, test_bytes(key), NULL, &result);
        if (status != STRATA_E_CORRUPT) fail_msg("case %zu: %s", i, strata_status_text(status));
        assert_int_equal(test_metric(f->plain.engine, "l2.corrupt"), 2 * i + 1); /* the load looks, too */
        /* what is loaded takes its place */
        assert_int_equal(strata_get_or_load_wait(f->plain.session, f->plain.ns, test_bytes(key), NULL, load_text, f, &result),
                         STRATA_OK);
        strata_result_release(f->plain.session, &result);
        sx_buf_deinit(&buf);
    }
    sx_command_deinit(&command);
    sx_buf_deinit(&large);
    test_talk_close(talk);
}

static void expect_unpacked(test_side *s, int64_t count) { assert_int_equal(test_metric(s->engine, "l1.unpacked"), count); }

/* As it came, whatever this process would make of it itself; who loses its proof proves it again by the same version. */
static void l1_keeps_what_l2_holds(void **state) {
    fixture *f = *state;
    set(&f->packing, "text", f->text, SIZE);
    reads(&f->packing, "text", f->text, SIZE, NULL);
    expect_unpacked(&f->packing, 1);
    reads(&f->plain, "text", f->text, SIZE, NULL);
    expect_unpacked(&f->plain, 0); /* that was L2's answer */
    int64_t misses = test_metric(f->plain.engine, "l1.misses");
    for (int i = 1; i < 5; i++) {
        reads(&f->plain, "text", f->text, SIZE, NULL);
        expect_unpacked(&f->plain, i);
    }
    assert_int_equal(test_metric(f->plain.engine, "l1.misses"), misses);
    assert_true(test_metric(f->plain.engine, "l1.bytes_used") - test_metric(f->plain.engine, "l1.bytes_metadata") < SIZE / 4);
    strata_op_options options = {.struct_size = sizeof options, .ttl_ms = 3600000};
    assert_int_equal(strata_touch_wait(f->plain.session, f->plain.ns, test_bytes("text"), &options, NULL), STRATA_OK);
    reads(&f->plain, "text", f->text, SIZE, NULL);
    expect_unpacked(&f->plain, 5);
    assert_int_equal(strata_invalidate_wait(f->packing.session, f->packing.ns, test_bytes("text"), NULL), STRATA_OK);
    test_side_await_gone(&f->plain, "text");
}

/* Another version of the same value, stored as it is, is nothing that differs. */
static void the_audit_compares_what_is_shown(void **state) {
    fixture *f = *state;
    set(&f->packing, "text", f->text, SIZE);
    set(&f->plain, "copy", f->text, SIZE);
    reads(&f->packing, "text", f->text, SIZE, NULL);
    char *copied = sx_cluster_command(f->cluster, 0, "COPY {0}s1:n:1:copy {0}s1:n:1:text REPLACE");
    assert_string_equal(copied, "1");
    free(copied);
    assert_true(test_metric_wait(f->packing.engine, "audit.reloaded", 1, 20000));
}

int main(int argc, char **argv) {
    if (!sx_cluster_available()) return 77;
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_set, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_loaded, setup, teardown),
        cmocka_unit_test_setup_teardown(what_travels_with_its_message, setup, teardown),
        cmocka_unit_test_setup_teardown(by_zstd_and_hot, setup, teardown),
        cmocka_unit_test_setup_teardown(by_a_dictionary, setup, teardown),
        {"by_a_dictionary, in L1 too", by_a_dictionary, setup_in_l1, teardown, NULL},
        cmocka_unit_test_setup_teardown(bad_claims, setup, teardown),
        {"what_is_set, in L1 too", what_is_set, setup_in_l1, teardown, NULL},
        {"what_is_loaded, in L1 too", what_is_loaded, setup_in_l1, teardown, NULL},
        {"what_travels_with_its_message, in L1 too", what_travels_with_its_message, setup_in_l1, teardown, NULL},
        {"by_zstd_and_hot, in L1 too", by_zstd_and_hot, setup_in_l1, teardown, NULL},
        {"bad_claims, in L1 too", bad_claims, setup_in_l1, teardown, NULL},
        cmocka_unit_test_setup_teardown(l1_keeps_what_l2_holds, setup_in_l1, teardown),
        cmocka_unit_test_setup_teardown(the_audit_compares_what_is_shown, setup_in_l1, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
