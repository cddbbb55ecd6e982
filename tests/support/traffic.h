/* SPDX-License-Identifier: Apache-2.0 */
/* Open-loop traffic on one engine while something is broken: what was answered when, how late, and whether it was true.

   Each key has one writer at a time, which counts; a read past L1 that began after a write was acknowledged must not give
   less, and nothing may give more than was ever sent. */
#ifndef SX_TESTS_SUPPORT_TRAFFIC_H
#define SX_TESTS_SUPPORT_TRAFFIC_H

#include <stdbool.h>
#include <stdint.h>

#include <strata/strata.h>

enum { TEST_TRAFFIC_SLICES = 1200, TEST_TRAFFIC_SLICE_MS = 50 };

/* What ended within one slice of time. */
typedef struct test_slice {
    uint32_t ok, failed, slow; /* slow: took 1 ms or longer, of those that are ok */
    uint32_t by_intent_p99_us; /* of those that are ok; set by test_traffic_stop */
    uint32_t reads_failed, writes_failed;
} test_slice;

typedef struct test_traffic_options {
    uint32_t rate;        /* operations a second */
    uint32_t keys;
    uint32_t writes;      /* percent */
    uint32_t deadline_ms; /* of each operation */
    bool may_lose;        /* a primary dies: what it acknowledged last may be lost with it */
} test_traffic_options;

typedef struct test_traffic_result {
    uint64_t reads, writes;             /* that succeeded */
    uint64_t reads_failed, writes_failed, unknown;
    uint64_t wrong;                     /* values that can't be; each is printed */
    int64_t overrun_us_max;             /* the longest that an operation ended after its deadline */
    int64_t overrun_own_us_max;         /* the same less the time for which the machine did not run us though we could */
    int64_t own_pause_us_max;           /* the longest that this generator did not run */
    uint64_t missing;                   /* misses although something was acknowledged */
    uint64_t lost_writes;               /* keys that have an older value in the end than was acknowledged */
    uint32_t slices;
    test_slice slice[TEST_TRAFFIC_SLICES];
} test_traffic_result;

typedef struct test_traffic test_traffic;

test_traffic *test_traffic_start(const char *seeds, const char *const *options, const test_traffic_options *how);
/* Milliseconds since it began. */
int64_t test_traffic_ms(const test_traffic *traffic);
strata *test_traffic_engine(test_traffic *traffic);
/* Ends it, reads every key once more, closes the engine and tells. The result is to be freed. */
test_traffic_result *test_traffic_stop(test_traffic *traffic);
/* Of the slices from from_ms to to_ms: how many operations failed; p99 of the others from their intended time on. */
uint64_t test_traffic_failed(const test_traffic_result *result, int64_t from_ms, int64_t to_ms);
uint32_t test_traffic_p99_us(const test_traffic_result *result, int64_t at_ms);
void test_traffic_print(const test_traffic_result *result, const char *title);

#endif
