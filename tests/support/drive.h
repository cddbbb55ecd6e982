/* SPDX-License-Identifier: Apache-2.0 */
/* A cluster object on a loop that the test turns by hand, and requests of words that wait for their end. */
#ifndef SX_TESTS_SUPPORT_DRIVE_H
#define SX_TESTS_SUPPORT_DRIVE_H

#include "core/memory/atomic.h"
#include "l2/redis/cluster.h"
#include "tests/support/alloc.h"
#include "tests/support/delay.h"

/* How late a request may end: 10 ms are promised; a machine that stands still now and then is given more, and the thread
   sanitizer much more. */
#define TEST_DEADLINE_SLACK_NS ((SX_TSAN ? 1500 : 600) * SX_NS_PER_MS)
/* Whether what was to end by deadline_ns ended in time, what the machine took from this thread meanwhile left aside; began_us:
   test_delay_us as it began. */
bool test_drive_in_time(int64_t deadline_ns, int64_t ended_ns, int64_t began_us);

typedef struct test_drive {
    test_alloc alloc;
    sx_clock clock;
    sx_log log;
    sx_loop *loop;
    sx_redis_settings settings; /* may be changed before test_drive_open */
    sx_redis_script *scripts[4];
    sx_redis_cluster *cluster;
    int topologies, redirects, asks;
    bool stopped;
    char error[512];
} test_drive;

/* A request with words for its command and room for the answer. */
typedef struct test_request {
    sx_redis_request request;
    bool ended;
    int ends;
    sx_redis_outcome outcome;
    int64_t ended_ns;
    int64_t began_us; /* what the machine had taken from this thread */
    char reply[256]; /* strings, errors with '-', integers with ':', "nil", aggregates as "*<count>" */
} test_request;

void test_drive_init(test_drive *drive);
/* Creates and starts; fails the test where create does. */
void test_drive_open(test_drive *drive, sx_redis_mode mode, const char *nodes);
/* Turns until there is a map: true, or false after wait_ms. */
bool test_drive_wait_map(test_drive *drive, int wait_ms);
void test_drive_turn(test_drive *drive, int for_ms);
/* Stops, destroys, checks that no memory is left. */
void test_drive_close(test_drive *drive);

/* Words are separated by single spaces. The slot is that of the word at key (0: slot 0). */
void test_request_init(test_drive *drive, test_request *request, const char *words, int key, int timeout_ms);
void test_request_submit(test_drive *drive, test_request *request);
sx_redis_outcome test_request_wait(test_drive *drive, test_request *request);
void test_request_deinit(test_request *request);
/* All in one; reply (may be NULL) takes 256 bytes. */
sx_redis_outcome test_drive_call(test_drive *drive, const char *words, int key, int timeout_ms, char *reply);
/* Repeats until the outcome is OK: true, or false after wait_ms. */
bool test_drive_call_until_ok(test_drive *drive, const char *words, int key, int wait_ms);

#endif
