/* SPDX-License-Identifier: Apache-2.0 */
/* The trace readers on small files of every format, whole, compressed, cut short, damaged and mistaken. */
#include "bench/trace.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zstd.h>

#include <cmocka.h>

#include "bench/trace_table.h"

static char folder[64];
static char error[1024];

static const char *path_of(const char *name) {
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static const char *write_file(const char *name, const void *bytes, size_t size) {
    const char *path = path_of(name);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
    return path;
}

static size_t kv12(unsigned char *out, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        uint64_t key = UINT64_C(0x100000000) + i % 7;
        uint32_t size = 100 + i % 7;
        memcpy(out + i * 12, &key, 8);
        memcpy(out + i * 12 + 8, &size, 4);
    }
    return (size_t)count * 12;
}

static size_t oracle(unsigned char *out, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        uint32_t time = 1000 + i, size = 512;
        uint64_t key = 77 + i % 5;
        int64_t next = i + 5 < count ? (int64_t)i + 6 : -1;
        memcpy(out + i * 24, &time, 4);
        memcpy(out + i * 24 + 4, &key, 8);
        memcpy(out + i * 24 + 12, &size, 4);
        memcpy(out + i * 24 + 16, &next, 8);
    }
    return (size_t)count * 24;
}

/* Reads all; the number of records, or -1 with the text in error. */
static long read_all(const char *path, bench_trace_format format, bench_trace_record *last) {
    error[0] = '\0';
    bench_trace *trace = bench_trace_open(path, format, error, sizeof error);
    long count = 0;
    int outcome;
    bench_trace_record record;
    if (trace == NULL) return -1;
    while ((outcome = bench_trace_next(trace, &record, error, sizeof error)) == 1) {
        count++;
        if (last != NULL) *last = record;
    }
    bench_trace_close(trace);
    return outcome == 0 ? count : -1;
}

static void expect_refused(const char *path, const char *word) {
    assert_int_equal(read_all(path, BENCH_TRACE_AUTO, NULL), -1);
    if (strstr(error, word) == NULL || strstr(error, path) == NULL) fail_msg("error is: %s", error);
}

static void test_binary_formats(void **state) {
    (void)state;
    static unsigned char bytes[24 * 100];
    bench_trace_record last;
    const char *path = write_file("a.kv12", bytes, kv12(bytes, 100));
    assert_int_equal(read_all(path, BENCH_TRACE_AUTO, &last), 100);
    assert_true(last.key == UINT64_C(0x100000000) + 99 % 7 && last.size_bytes == 100 + 99 % 7);
    path = write_file("named_otherwise", bytes, kv12(bytes, 100));
    assert_int_equal(read_all(path, BENCH_TRACE_AUTO, NULL), 100);
    path = write_file("b.oracleGeneral.bin", bytes, oracle(bytes, 60));
    assert_int_equal(read_all(path, BENCH_TRACE_AUTO, &last), 60);
    assert_true(last.key == 77 + 59 % 5 && last.size_bytes == 512);
    path = write_file("by_content", bytes, oracle(bytes, 60));
    assert_int_equal(read_all(path, BENCH_TRACE_AUTO, NULL), 60);
    path = write_file("forced", bytes, oracle(bytes, 60));
    assert_int_equal(read_all(path, BENCH_TRACE_KV12, NULL), 120);
}

static void test_text_formats(void **state) {
    (void)state;
    static const char blocks[] =
        "version,time,op,size,lbn\n1,5633898,2a,512,42932745\n1,5633899,28,4096,42932746\r\n";
    static const char twitter[] = "0,q:q:1:8WTfjZU14ee,17,213,4,get,0\n0,yDqF:3q:1AJr,15,27,2,set,3600\n"
                                  "1,12345,5,0,2,delete,0\n";
    bench_trace_record last;
    const char *path = write_file("blocks.csv", blocks, sizeof blocks - 1);
    assert_int_equal(read_all(path, BENCH_TRACE_AUTO, &last), 2);
    assert_true(last.key == 42932746 && last.size_bytes == 4096 && last.operation == BENCH_TRACE_READ);
    path = write_file("no_newline.csv", blocks, 50);
    assert_int_equal(read_all(path, BENCH_TRACE_AUTO, &last), 1);
    assert_int_equal(last.operation, BENCH_TRACE_WRITE);
    path = write_file("cluster52.csv", twitter, sizeof twitter - 1);
    assert_int_equal(read_all(path, BENCH_TRACE_AUTO, &last), 3);
    assert_true(last.key == 12345 && last.operation == BENCH_TRACE_DELETE);
    static const char by_name[] = "obj_id,value_size\nabc,5\nabd,6\n";
    path = write_file("named.csv", by_name, sizeof by_name - 1);
    assert_int_equal(read_all(path, BENCH_TRACE_AUTO, &last), 2);
    assert_int_equal(last.size_bytes, 6);
}

static const char monitor[] =
    "OK\n1339518083.107412 [0 127.0.0.1:60866] \"keys\" \"*\"\n"
    "1339518084.207412 [0 127.0.0.1:60866] \"SET\" \"a\\\"b\" \"\\x00\\x01three\" \"EX\" \"10\"\n"
    "1339518085.000001 [0 lua] \"mget\" \"x\" \"a\\\"b\" \"y\"\n"
    "1339518085.5 [0 unix:/run/redis] \"setex\" \"y\" \"100\" \"12345678\"\n"
    "1339518086.0 [0 [::1]:60866] \"UNLINK\" \"y\"\n";

/* Several keys of a line are several requests; what names no key is none; a set tells the size of a key read before it. */
static void test_monitor(void **state) {
    (void)state;
    bench_trace_record last;
    bench_trace_table table;
    const char *path = write_file("commands.txt", monitor, sizeof monitor - 1);
    assert_int_equal(read_all(path, BENCH_TRACE_AUTO, &last), 6);
    assert_true(last.operation == BENCH_TRACE_DELETE && last.time_us == INT64_C(1339518086000000));
    assert_int_equal(bench_trace_table_load(&table, path, BENCH_TRACE_AUTO, error, sizeof error), 0);
    assert_true(table.format == BENCH_TRACE_MONITOR && table.request_count == 6 && table.key_count == 3);
    static const uint32_t keys[] = {0, 1, 0, 2, 2, 2};
    for (uint32_t i = 0; i < 6; i++) assert_int_equal(table.requests[i].key, keys[i]);
    assert_true(table.requests[0].operation == BENCH_TRACE_WRITE && table.requests[2].operation == BENCH_TRACE_READ);
    assert_true(table.sizes[0] == 7 && table.sizes[1] == 1 && table.sizes[2] == 8);
    assert_true(table.times_us[0] == 0 && table.times_us[4] == 1292588 && table.times_us[5] == 1792588);
    bench_trace_table_free(&table);
    path = write_file("broken.txt", monitor, sizeof monitor - 3); /* a quote is missing */
    expect_refused(path, "line 6");
}

/* A clock of whole seconds is spread; one that goes back stands still; without one for every record there is none. */
static void test_times(void **state) {
    (void)state;
    static const char blocks[] = "key,time\n1,10\n2,10\n3,10\n4,10\n5,14\n6,13\n";
    bench_trace_table table;
    const char *path = write_file("times.csv", blocks, sizeof blocks - 1);
    assert_int_equal(bench_trace_table_load(&table, path, BENCH_TRACE_AUTO, error, sizeof error), 0);
    static const int64_t times_us[] = {0, 1000000, 2000000, 3000000, 4000000, 6000000};
    assert_non_null(table.times_us);
    for (uint32_t i = 0; i < 6; i++) assert_int_equal(table.times_us[i], times_us[i]);
    bench_trace_table_free(&table);
    path = write_file("untimely.csv", "key,time\n1,10\n2,noon\n", 21);
    assert_int_equal(bench_trace_table_load(&table, path, BENCH_TRACE_AUTO, error, sizeof error), 0);
    assert_null(table.times_us);
    bench_trace_table_free(&table);
}

static void test_zstd(void **state) {
    (void)state;
    enum { COUNT = 200000 }; /* more than any buffer inside */
    unsigned char *plain = malloc(COUNT * 12), *packed = malloc(ZSTD_compressBound(COUNT * 12));
    assert_true(plain != NULL && packed != NULL);
    size_t size = kv12(plain, COUNT),
           packed_size = ZSTD_compress(packed, ZSTD_compressBound(size), plain, size, 1);
    assert_false(ZSTD_isError(packed_size));
    const char *path = write_file("c.kv12.zst", packed, packed_size);
    assert_int_equal(read_all(path, BENCH_TRACE_AUTO, NULL), COUNT);
    path = write_file("no_suffix.kv12", packed, packed_size);
    assert_int_equal(read_all(path, BENCH_TRACE_AUTO, NULL), COUNT);
    expect_refused(write_file("cut.kv12.zst", packed, packed_size - 5), "ends in the middle");
    expect_refused(write_file("not.kv12.zst", plain, size), "not zstd");
    memset(packed + packed_size / 2, 0xff, 8);
    expect_refused(write_file("damaged.kv12.zst", packed, packed_size), "damaged");
    free(plain);
    free(packed);
}

static void test_damaged(void **state) {
    (void)state;
    static unsigned char bytes[24 * 20];
    size_t size = kv12(bytes, 20);
    expect_refused(write_file("cut.kv12", bytes, size - 5),
                   "record 20: the file ends after 7 of its 12 bytes");
    size = oracle(bytes, 20);
    expect_refused(write_file("cut.oracleGeneral", bytes, size - 23),
                   "record 20: the file ends after 1 of its 24");
    static const char fields[] = "time,size,lbn\n1,512,3\n1,512\n";
    expect_refused(write_file("fields.csv", fields, sizeof fields - 1),
                   "record 2: line 3 has 2 fields instead of 3");
    static const char size_text[] = "time,size,lbn\n1,large,3\n";
    expect_refused(write_file("size.csv", size_text, sizeof size_text - 1),
                   "record 1: line 2: 'large' is no size");
    static const char no_key[] = "time,size,lbn\n1,5,\n";
    expect_refused(write_file("no_key.csv", no_key, sizeof no_key - 1), "has no key");
}

static void test_mistaken(void **state) {
    (void)state;
    static const char prose[] = "Dear reader, this is not a trace.\n";
    static const char columns[] = "colour,shape\nred,round\n";
    static char wide[40000];
    expect_refused(path_of("nowhere.kv12"), "can't be opened");
    expect_refused(write_file("empty.kv12", "", 0), "empty file; accepted are kv12, oracleGeneral, csv");
    expect_refused(write_file("prose.txt", prose, sizeof prose - 1), "no column of keys");
    expect_refused(write_file("columns.csv", columns, sizeof columns - 1), "no column of keys");
    expect_refused(write_file("prose.kv12", prose, sizeof prose - 1),
                   "named like kv12, but found text that begins 'Dear");
    expect_refused(write_file("noise.bin", "\x00\x01\x02\x03", 4), "found bytes 00 01 02 03; accepted are");
    memset(wide, 'a', sizeof wide);
    memcpy(wide, "key\n", 4);
    expect_refused(write_file("wide.csv", wide, sizeof wide), "line 2 is longer than");
}

static void test_table(void **state) {
    (void)state;
    static unsigned char bytes[12 * 100];
    bench_trace_table table;
    const char *path = write_file("t.kv12", bytes, kv12(bytes, 100));
    assert_int_equal(bench_trace_table_load(&table, path, BENCH_TRACE_AUTO, error, sizeof error), 0);
    assert_true(table.request_count == 100 && table.key_count == 7);
    for (uint32_t i = 0; i < 100; i++) assert_int_equal(table.requests[i].key, i % 7);
    for (uint32_t i = 0; i < 7; i++) assert_int_equal(table.sizes[i], 100 + i);
    bench_trace_table_free(&table);
    for (uint32_t i = 0; i < 100; i++) memcpy(bytes + i * 12 + 8, "\x01\0\0\0", 4);
    path = write_file("u.kv12", bytes, sizeof bytes);
    assert_int_equal(bench_trace_table_load(&table, path, BENCH_TRACE_AUTO, error, sizeof error), 0);
    assert_null(table.sizes);
    bench_trace_table_free(&table);
    path = write_file("only_header.csv", "key,size\n", 9);
    assert_int_equal(bench_trace_table_load(&table, path, BENCH_TRACE_AUTO, error, sizeof error), -1);
    assert_non_null(strstr(error, "no records"));
}

static int set_up(void **state) {
    (void)state;
    const char *parent = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/strata-trace-XXXXXX",
             parent != NULL && strlen(parent) < 30 ? parent : "/tmp");
    return mkdtemp(folder) != NULL ? 0 : -1;
}

static int tear_down(void **state) {
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -r '%s'", folder);
    return system(command);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_binary_formats), cmocka_unit_test(test_text_formats),
        cmocka_unit_test(test_monitor),
        cmocka_unit_test(test_times),
        cmocka_unit_test(test_zstd),           cmocka_unit_test(test_damaged),
        cmocka_unit_test(test_mistaken),       cmocka_unit_test(test_table),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
