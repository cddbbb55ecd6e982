/* SPDX-License-Identifier: Apache-2.0 */
/* A blocking connection to a Redis server for tests that look at exact bytes. */
#ifndef SX_TESTS_SUPPORT_TALK_H
#define SX_TESTS_SUPPORT_TALK_H

#include "l2/redis/conn.h"
#include "l2/redis/resp.h"

typedef struct test_talk test_talk;

/* Connects to 127.0.0.1:port and, with resp3, says HELLO 3. Fails the test where that fails. */
test_talk *test_talk_open(uint16_t port, bool resp3);
void test_talk_close(test_talk *talk);
/* Sends a command (with script: EVAL and its text before the arguments) and clears it. */
void test_talk_send(test_talk *talk, sx_command *command, const sx_redis_script *script);
/* The next reply or push; lives until the next call. NULL where nothing came within wait_ms. */
const sx_resp *test_talk_read(test_talk *talk, int wait_ms);
const sx_resp *test_talk_call(test_talk *talk, sx_command *command, const sx_redis_script *script);
/* Words separated by spaces. */
const sx_resp *test_talk_say(test_talk *talk, const char *words);

#endif
