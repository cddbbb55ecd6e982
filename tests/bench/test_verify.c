/* SPDX-License-Identifier: Apache-2.0 */
/* The referee must catch every kind of wrong read, and must not cry over reads that are allowed. */
#include "bench/verify.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define DELTA_NS  INT64_C(500000000)
#define SECOND_NS INT64_C(1000000000)
#define KEY       5u

static bench_database database;

static uint32_t size_of(const void *context, uint32_t key, uint32_t version) {
    (void)context;
    return 100 + key + version % 50;
}

static uint32_t commit(uint32_t process, uint32_t key, bool acknowledged, int64_t now_ns) {
    uint32_t version = bench_database_write_begin(&database, 0, key);
    assert_true(version != 0);
    bench_database_write_end(&database, process, key, version, acknowledged, now_ns);
    return version;
}

/* What process 1 gets told for a value of that version, read at that time. */
static bench_verdict judge_at(uint32_t version, int64_t began_ns, uint64_t floor, bool declared_stale) {
    unsigned char value[512];
    uint32_t size = size_of(NULL, KEY, version), found;
    bench_value_make(value, KEY, version, size);
    bench_read read = {.process = 1,
                       .key = KEY,
                       .began_ns = began_ns,
                       .floor = floor,
                       .bytes = value,
                       .size = size,
                       .declared_stale = declared_stale,
                       .cached = true};
    return bench_verify_read(&database, &read, size_of, NULL, &found);
}

static int set_up(void **state) {
    (void)state;
    return bench_database_create(&database, 16, 2, DELTA_NS);
}

static int tear_down(void **state) {
    (void)state;
    bench_database_destroy(&database);
    return 0;
}

static void test_bytes(void **state) {
    (void)state;
    unsigned char value[512];
    uint32_t size = size_of(NULL, KEY, 1), found;
    bench_read read = {.process = 1, .key = KEY, .began_ns = SECOND_NS, .bytes = value, .size = size};
    bench_value_make(value, KEY, 1, size);
    assert_int_equal(bench_verify_read(&database, &read, size_of, NULL, &found), BENCH_VERDICT_GOOD);
    assert_int_equal(found, 1);
    for (uint32_t i = 0; i < size; i++) { /* any changed byte */
        value[i] ^= 0x10;
        bench_verdict verdict = bench_verify_read(&database, &read, size_of, NULL, &found);
        assert_int_equal(verdict, i < 4   ? BENCH_VERDICT_MALFORMED
                                  : i < 8 ? BENCH_VERDICT_WRONG_SIZE
                                          : BENCH_VERDICT_WRONG_CHECKSUM);
        value[i] ^= 0x10;
    }
    read.size = size - 1;
    assert_int_equal(bench_verify_read(&database, &read, size_of, NULL, &found), BENCH_VERDICT_WRONG_SIZE);
    read.size = 31;
    assert_int_equal(bench_verify_read(&database, &read, size_of, NULL, &found), BENCH_VERDICT_MALFORMED);
    read.size = size;
    bench_value_make(value, KEY + 1, 1, size);
    assert_int_equal(bench_verify_read(&database, &read, size_of, NULL, &found), BENCH_VERDICT_WRONG_KEY);
    bench_value_make(value, KEY, 1, size + 1); /* whole in itself, but not as it was written */
    read.size = size + 1;
    assert_int_equal(bench_verify_read(&database, &read, size_of, NULL, &found), BENCH_VERDICT_WRONG_SIZE);
}

static void test_version_that_nobody_wrote(void **state) {
    (void)state;
    assert_int_equal(judge_at(1, SECOND_NS, 0, false), BENCH_VERDICT_GOOD);
    assert_int_equal(judge_at(2, SECOND_NS, 0, false), BENCH_VERDICT_FUTURE);
    assert_int_equal(judge_at(0, SECOND_NS, 0, false), BENCH_VERDICT_FUTURE);
}

static void test_staleness(void **state) {
    (void)state;
    int64_t ack_ns = 10 * SECOND_NS;
    commit(0, KEY, true, ack_ns);
    assert_int_equal(judge_at(1, ack_ns + DELTA_NS - 1, 0, false), BENCH_VERDICT_GOOD);
    assert_int_equal(judge_at(1, ack_ns + DELTA_NS, 0, false), BENCH_VERDICT_STALE);
    assert_int_equal(judge_at(2, ack_ns + DELTA_NS, 0, false), BENCH_VERDICT_GOOD);
    assert_int_equal(judge_at(1, ack_ns + 9 * SECOND_NS, 0, true), BENCH_VERDICT_GOOD); /* it said so */
}

static void test_staleness_of_a_key_written_all_the_time(void **state) {
    (void)state;
    int64_t now_ns = SECOND_NS;
    uint32_t caught = 0;
    for (int i = 0; i < 1000; i++, now_ns += DELTA_NS / 20) {
        commit(0, KEY, true, now_ns);
        uint32_t version = bench_database_version(&database, KEY);
        assert_int_equal(judge_at(version, now_ns, 0, false), BENCH_VERDICT_GOOD);
        if (i >= 21) /* twenty writes within the bound: the one before them is the oldest that may be read */
            assert_int_equal(judge_at(version - 20, now_ns, 0, false), BENCH_VERDICT_GOOD);
        if (i >= 60 && judge_at(version - 41, now_ns, 0, false) == BENCH_VERDICT_STALE) caught++;
    }
    assert_true(caught > 900); /* at the latest when it is twice as old as allowed */
}

static void test_unacknowledged_writes_bind_nobody(void **state) {
    (void)state;
    commit(1, KEY, false, SECOND_NS);
    assert_int_equal(judge_at(1, 100 * SECOND_NS, bench_database_floor(&database, 1, KEY), false),
                     BENCH_VERDICT_GOOD);
}

static void test_own_writes(void **state) {
    (void)state;
    uint64_t before = bench_database_floor(&database, 1, KEY);
    commit(1, KEY, true, SECOND_NS);
    uint64_t after = bench_database_floor(&database, 1, KEY);
    assert_int_equal(judge_at(1, SECOND_NS, before, false),
                     BENCH_VERDICT_GOOD); /* began before it was complete */
    assert_int_equal(judge_at(1, SECOND_NS, after, false), BENCH_VERDICT_OWN_WRITE);
    assert_int_equal(judge_at(1, SECOND_NS, after, true),
                     BENCH_VERDICT_OWN_WRITE); /* no policy excuses that */
    assert_int_equal(judge_at(1, SECOND_NS, bench_database_floor(&database, 0, KEY), false),
                     BENCH_VERDICT_GOOD);
}

static void test_going_back(void **state) {
    (void)state;
    commit(0, KEY, true, SECOND_NS);
    uint64_t before = bench_database_floor(&database, 1, KEY);
    assert_int_equal(judge_at(2, SECOND_NS, before, false), BENCH_VERDICT_GOOD);
    uint64_t after = bench_database_floor(&database, 1, KEY);
    assert_int_equal(judge_at(1, SECOND_NS, before, false), BENCH_VERDICT_GOOD);
    assert_int_equal(judge_at(1, SECOND_NS, after, false), BENCH_VERDICT_WENT_BACK);
}

/* A superseded load obliges nobody, but is itself bound by what was seen. */
static void test_uncached_loads(void **state) {
    (void)state;
    unsigned char value[512];
    uint32_t found;
    commit(0, KEY, true, SECOND_NS);
    commit(0, KEY, false, SECOND_NS);
    bench_read read = {
        .process = 1, .key = KEY, .began_ns = SECOND_NS, .bytes = value, .size = size_of(NULL, KEY, 3)};
    bench_value_make(value, KEY, 3, (uint32_t)read.size);
    assert_int_equal(bench_verify_read(&database, &read, size_of, NULL, &found), BENCH_VERDICT_GOOD);
    assert_int_equal(judge_at(2, SECOND_NS, bench_database_floor(&database, 1, KEY), false),
                     BENCH_VERDICT_GOOD);
    read.size = size_of(NULL, KEY, 1);
    read.floor = bench_database_floor(&database, 1, KEY);
    bench_value_make(value, KEY, 1, (uint32_t)read.size);
    assert_int_equal(bench_verify_read(&database, &read, size_of, NULL, &found), BENCH_VERDICT_WENT_BACK);
}

static void test_one_writer_per_key(void **state) {
    (void)state;
    uint32_t version = bench_database_write_begin(&database, 0, KEY);
    assert_int_equal(version, 2);
    assert_int_equal(bench_database_write_begin(&database, 0, KEY), 0);
    assert_int_equal(bench_database_write_begin(&database, 0, KEY + 1), 2);
    bench_database_write_end(&database, 0, KEY, version, true, 1);
    assert_int_equal(bench_database_write_begin(&database, 0, KEY), 3);
}

#define TAG_A 8u
#define TAG_B 9u

/* What process 1 gets told for a value of version 1 that was loaded when its tags were of these versions together. */
static bench_verdict judge_stamp(uint32_t stamp, int64_t began_ns, bool declared_stale) {
    static const uint32_t rows[] = {TAG_A, TAG_B};
    unsigned char value[512];
    uint32_t size = size_of(NULL, KEY, 1), found;
    bench_value_make(value, KEY, (uint64_t)stamp << 32 | 1, size);
    bench_read read = {.process = 1,
                       .key = KEY,
                       .began_ns = began_ns,
                       .bytes = value,
                       .size = size,
                       .declared_stale = declared_stale,
                       .cached = true,
                       .tag_rows = rows,
                       .tag_count = 2,
                       .tag_floor = bench_tags_own(&database, 1, rows, 2)};
    return bench_verify_read(&database, &read, size_of, NULL, &found);
}

static void test_tags(void **state) {
    (void)state;
    assert_int_equal(judge_stamp(2, SECOND_NS, false), BENCH_VERDICT_GOOD);
    assert_int_equal(judge_stamp(3, SECOND_NS, false), BENCH_VERDICT_FUTURE);
    (void)commit(0, TAG_A, true, SECOND_NS); /* another process's binds after the bound */
    assert_int_equal(judge_stamp(3, SECOND_NS, false), BENCH_VERDICT_GOOD);
    assert_int_equal(judge_stamp(2, SECOND_NS + DELTA_NS - 1, false), BENCH_VERDICT_GOOD);
    assert_int_equal(judge_stamp(2, SECOND_NS + DELTA_NS, false), BENCH_VERDICT_OUTDATED_TAG);
    assert_int_equal(judge_stamp(2, SECOND_NS + DELTA_NS, true), BENCH_VERDICT_GOOD);
    (void)commit(1, TAG_B, true, SECOND_NS); /* one's own binds at once, whatever the answer says of itself */
    assert_int_equal(judge_stamp(4, SECOND_NS, false), BENCH_VERDICT_GOOD);
    assert_int_equal(judge_stamp(2, SECOND_NS, true), BENCH_VERDICT_OUTDATED_TAG);
    assert_int_equal(judge_stamp(0, 9 * SECOND_NS, false), BENCH_VERDICT_GOOD); /* a set's: it says nothing of tags */
}

/* Since when a version is known to be overtaken: from the first acknowledgement of a newer one that is still remembered. */
static void test_overtaken(void **state) {
    (void)state;
    assert_true(bench_database_overtaken_ns(&database, KEY, 1) == 0);
    (void)commit(0, KEY, true, SECOND_NS);
    (void)commit(0, KEY, false, SECOND_NS + 10);
    assert_true(bench_database_overtaken_ns(&database, KEY, 1) == SECOND_NS);
    assert_true(bench_database_overtaken_ns(&database, KEY, 2) == 0);
    (void)commit(0, KEY, true, 2 * SECOND_NS);
    assert_true(bench_database_overtaken_ns(&database, KEY, 1) == SECOND_NS);
    assert_true(bench_database_overtaken_ns(&database, KEY, 2) == 2 * SECOND_NS);
    assert_true(bench_database_overtaken_ns(&database, KEY, 4) == 0);
}

/* A killed process leaves locks, and floors that don't bind the next one. */
static void test_forgotten_process(void **state) {
    (void)state;
    assert_int_equal(bench_database_write_begin(&database, 0, KEY), 2);
    bench_database_saw(&database, 0, KEY, 1);
    bench_database_saw(&database, 1, KEY, 1);
    assert_int_equal(bench_database_write_begin(&database, 1, KEY), 0);
    bench_database_forget_process(&database, 1);
    assert_int_equal(bench_database_write_begin(&database, 1, KEY), 0); /* another's lock stays */
    bench_database_forget_process(&database, 0);
    assert_true(bench_database_floor(&database, 0, KEY) == 0 && bench_database_floor(&database, 1, KEY) == 0);
    assert_int_equal(bench_database_write_begin(&database, 1, KEY), 3);
}

int main(void) {
#define CASE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(test_bytes),
        CASE(test_version_that_nobody_wrote),
        CASE(test_staleness),
        CASE(test_staleness_of_a_key_written_all_the_time),
        CASE(test_unacknowledged_writes_bind_nobody),
        CASE(test_own_writes),
        CASE(test_going_back),
        CASE(test_uncached_loads),
        CASE(test_one_writer_per_key),
        CASE(test_tags),
        CASE(test_overtaken),
        CASE(test_forgotten_process),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
