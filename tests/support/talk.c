/* SPDX-License-Identifier: Apache-2.0 */
/* The blocking connection of tests: a socket, the command encoder and the parser of the wire client. */
#include "tests/support/talk.h"

#include <stdarg.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <strata/status.h>

#define BYTES_MAX (8u << 20)

struct test_talk {
    int fd;
    sx_resp_parser *parser;
    uint8_t *bytes;
    size_t begin, end;
};

test_talk *test_talk_open(uint16_t port, bool resp3) {
    test_talk *talk = sx_allocate_zero(sx_alloc_default(), sizeof *talk);
    assert_non_null(talk);
    talk->bytes = sx_allocate(sx_alloc_default(), BYTES_MAX);
    assert_non_null(talk->bytes);
    const sx_resp_limits limits = {16, 100000, 4u << 20};
    assert_int_equal(sx_resp_parser_create(sx_alloc_default(), &limits, &talk->parser), STRATA_OK);
    talk->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(connect(talk->fd, (const struct sockaddr *)&to, sizeof to), 0);
    if (resp3) assert_int_equal(test_talk_say(talk, "HELLO 3")->type, SX_RESP_MAP);
    return talk;
}

void test_talk_close(test_talk *talk) {
    if (talk == NULL) return;
    close(talk->fd);
    sx_resp_parser_destroy(talk->parser);
    sx_release(sx_alloc_default(), talk->bytes, BYTES_MAX);
    sx_release(sx_alloc_default(), talk, sizeof *talk);
}

void test_talk_send(test_talk *talk, sx_command *command, const sx_redis_script *script) {
    assert_false(command->args.failed);
    sx_buf out;
    sx_buf_init(&out, sx_alloc_default());
    char head[64];
    int size = snprintf(head, sizeof head, "*%u\r\n", command->argc + (script != NULL ? 2u : 0u));
    sx_buf_append(&out, head, (size_t)size);
    if (script != NULL) {
        size = snprintf(head, sizeof head, "$4\r\nEVAL\r\n$%zu\r\n", strlen(script->text));
        sx_buf_append(&out, head, (size_t)size);
        sx_buf_append(&out, script->text, strlen(script->text));
        sx_buf_append(&out, "\r\n", 2);
    }
    sx_buf_append(&out, command->args.data, command->args.size);
    for (size_t at = 0; at < out.size;) {
        ssize_t sent = send(talk->fd, out.data + at, out.size - at, MSG_NOSIGNAL);
        assert_true(sent > 0);
        at += (size_t)sent;
    }
    sx_buf_deinit(&out);
    sx_command_deinit(command);
    sx_command_init(command, sx_alloc_default());
}

const sx_resp *test_talk_read(test_talk *talk, int wait_ms) {
    for (;;) {
        size_t consumed = 0, wanted = 0;
        const sx_resp *out = NULL;
        int32_t status = STRATA_PENDING;
        if (talk->end > talk->begin)
            status = sx_resp_parse(talk->parser, talk->bytes + talk->begin, talk->end - talk->begin, &consumed, &wanted,
                                   &out);
        if (status == STRATA_OK) {
            talk->begin += consumed;
            return out;
        }
        assert_int_equal(status, STRATA_PENDING);
        struct pollfd one = {.fd = talk->fd, .events = POLLIN};
        if (poll(&one, 1, wait_ms) <= 0) return NULL;
        if (talk->begin == talk->end || talk->end == BYTES_MAX) { /* what has been read makes room */
            memmove(talk->bytes, talk->bytes + talk->begin, talk->end - talk->begin);
            talk->end -= talk->begin;
            talk->begin = 0;
        }
        assert_true(talk->end < BYTES_MAX);
        ssize_t got = recv(talk->fd, talk->bytes + talk->end, BYTES_MAX - talk->end, 0);
        if (got <= 0) return NULL;
        talk->end += (size_t)got;
    }
}

const sx_resp *test_talk_call(test_talk *talk, sx_command *command, const sx_redis_script *script) {
    test_talk_send(talk, command, script);
    const sx_resp *reply = test_talk_read(talk, 5000);
    assert_non_null(reply);
    return reply;
}

const sx_resp *test_talk_say(test_talk *talk, const char *words) {
    sx_command command;
    sx_command_init(&command, sx_alloc_default());
    while (*words != '\0') {
        size_t size = strcspn(words, " ");
        sx_command_arg(&command, words, size);
        words += size + (words[size] == ' ' ? 1 : 0);
    }
    const sx_resp *reply = test_talk_call(talk, &command, NULL);
    sx_command_deinit(&command);
    return reply;
}
