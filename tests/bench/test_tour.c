/* SPDX-License-Identifier: Apache-2.0 */
/* The tour's screen: each stop's numbers in their sentences, stops that failed left out, each caution once. */
#include "bench/tour.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static char *print(json_t *const *results) {
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    bench_tour_print(out, results);
    assert_int_equal(fclose(out), 0);
    return text;
}

static void expect(const char *text, const char *words) {
    if (strstr(text, words) == NULL) fail_msg("no '%s' in:\n%s", words, text);
}

static json_t *parse(const char *text) {
    json_t *root = json_loads(text, 0, NULL);
    assert_non_null(root);
    return root;
}

static const char tiers[] =
    "{\"result\": {\"failure_count\": 12, \"operations_per_second\": 9999.6, \"read_share\": {\"l1_hit\": 0.75, \"l2_hit\": 0.2, \"load\": 0.05}},"
    "\"service\": {\"l1_hit\": {\"p50_ns\": 700, \"p99_ns\": 1500}, \"l2_hit\": {\"p50_ns\": 90000, \"p99_ns\": 360000}},"
    "\"verification\": {\"good\": 1000, \"wrong\": 2},"
    "\"cautions\": [\"the machine was not quiet: don't quote these latencies\"]}";
static const char fault[] =
    "{\"result\": {\"operations_per_second\": 5000, \"seconds\": 11, \"failure_count\": 377}, \"verification\": {\"good\": 500, \"wrong\": 0},"
    "\"events\": [{\"seconds\": 4, \"failures\": 377, \"last_failure_s\": 3.54}],"
    "\"cautions\": [\"the machine was not quiet: don't quote these latencies\"]}";
static const char l1[] =
    "{\"cases\": [{\"name\": \"get, all fits, 1 thread, l1\", \"median_ns\": 80}, {\"name\": \"get, all fits, 1 thread, ck_ht\", "
    "\"median_ns\": 100}, {\"name\": \"get, all fits, 1 thread, lru16\", \"median_ns\": 160}, {\"name\": \"get, all fits, 2 threads, "
    "l1\", \"median_millions_per_second\": 21.5}]}";

static void test_screen(void **state) {
    (void)state;
    json_t *results[BENCH_TOUR_STOPS] = {[BENCH_TOUR_L1] = parse(l1), [BENCH_TOUR_TIERS] = parse(tiers), [BENCH_TOUR_FAULT] = parse(fault)};
    char *text = print(results);
    expect(text, "a hit takes 80 ns; 2 threads do 21.5 million a second");
    expect(text, "0.80 of the time of ck_ht");
    expect(text, "0.50 of that of a textbook LRU");
    expect(text, "3 Redis servers, 10000 operations a second");
    expect(text, "75.0 % of the reads were answered by L1      in   700 ns, 99 of 100 within 1.50 µs");
    expect(text, "377 operations failed, the last one 3.5 s after the kill; then its replica had taken over");
    expect(text, "CAUTION  tiers: 12 operations failed");
    expect(text, "CAUTION  stampede: no result; what it said is in stampede.txt");
    assert_null(strstr(text, "CAUTION  fault: 377"));
    expect(text, "Checked: 1500 reads, each against its key, its version and the staleness bound; wrong: 2");
    expect(text, "CAUTION  tiers, fault: the machine was not quiet");
    assert_null(strstr(text, "as fast as it goes"));
    assert_null(strstr(text, "Stampede:"));
    free(text);
    for (int i = 0; i < BENCH_TOUR_STOPS; i++) json_decref(results[i]);
}

static void test_what_went_wrong(void **state) {
    (void)state;
    json_t *results[BENCH_TOUR_STOPS] = {
        [BENCH_TOUR_FAULT] = parse("{\"result\": {\"operations_per_second\": 5000, \"seconds\": 11}, "
                                   "\"events\": [{\"seconds\": 3, \"failures\": 9000, \"last_failure_s\": 7.9}]}"),
        [BENCH_TOUR_STAMPEDE] = parse("{\"readers\": 10000, \"processes_count\": 4, \"failure_count\": 7, \"wrong\": 2, \"p99_ns\": 60000000, "
                                      "\"rounds\": [{\"loads\": 1}, {\"loads\": 2}]}")};
    char *text = print(results);
    expect(text, "9000 operations failed, the last one 7.9 s after the kill, which was the end: no replica had taken over");
    expect(text, "loader calls: 2; 7 were not answered, 2 wrongly; of the others 99 of 100 within 60 ms");
    expect(text, "CAUTION  l1: no result");
    assert_null(strstr(text, "In the process"));
    free(text);
    for (int i = 0; i < BENCH_TOUR_STOPS; i++) json_decref(results[i]);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_screen), cmocka_unit_test(test_what_went_wrong)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
