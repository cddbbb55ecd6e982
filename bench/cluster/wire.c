/* SPDX-License-Identifier: Apache-2.0 */
/* The blocking client behind sx_cluster_command: connect, send, read one reply into a growing text. */
#include "bench/cluster/wire.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

typedef struct text {
    char *bytes;
    size_t size, capacity;
} text;

static void text_append(text *t, const void *bytes, size_t size) {
    if (t->size + size + 1 > t->capacity) {
        t->capacity = (t->size + size + 1) * 2;
        char *grown = realloc(t->bytes, t->capacity);
        if (grown == NULL) abort();
        t->bytes = grown;
    }
    if (size > 0) memcpy(t->bytes + t->size, bytes, size);
    t->size += size;
    t->bytes[t->size] = '\0';
}

static void text_add(text *t, const char *words) { text_append(t, words, strlen(words)); }

typedef struct reader {
    int fd;
    size_t at, size;
    char bytes[16384];
} reader;

static int read_byte(reader *r) {
    if (r->at == r->size) {
        ssize_t got;
        do got = recv(r->fd, r->bytes, sizeof r->bytes, 0);
        while (got < 0 && errno == EINTR);
        if (got <= 0) return -1;
        r->at = 0;
        r->size = (size_t)got;
    }
    return (unsigned char)r->bytes[r->at++];
}

static bool read_line(reader *r, text *line) {
    int c;
    while ((c = read_byte(r)) != '\r') {
        if (c < 0) return false;
        char byte = (char)c;
        text_append(line, &byte, 1);
    }
    return read_byte(r) == '\n';
}

static bool read_bulk(reader *r, long size, text *out) {
    for (long i = 0; i < size; i++) {
        int c = read_byte(r);
        if (c < 0) return false;
        char byte = (char)c;
        text_append(out, &byte, 1);
    }
    return read_byte(r) == '\r' && read_byte(r) == '\n';
}

static bool read_reply(reader *r, text *out) { // NOLINT(misc-no-recursion): our own servers' depth
    int type = read_byte(r);
    text line = {NULL, 0, 0};
    text_add(&line, "");
    bool ok = type >= 0 && read_line(r, &line);
    long number = ok ? strtol(line.bytes, NULL, 10) : 0;
    if (!ok) {
    } else if (type == '+' || type == ':') {
        text_add(out, line.bytes);
    } else if (type == '-') {
        text_add(out, "-");
        text_add(out, line.bytes);
    } else if (type == '$' && number >= 0) {
        ok = read_bulk(r, number, out);
    } else if (type == '*' && number >= 0) {
        for (long i = 0; ok && i < number; i++) {
            if (i > 0) text_add(out, "\n");
            ok = read_reply(r, out);
        }
    } else if (type == '$' || type == '*') {
        text_add(out, "(nil)");
    } else {
        ok = false;
    }
    free(line.bytes);
    return ok;
}

static bool send_command(int fd, size_t argc, const char *const *argv) {
    text request = {NULL, 0, 0};
    char head[32];
    snprintf(head, sizeof head, "*%zu\r\n", argc);
    text_add(&request, head);
    for (size_t i = 0; i < argc; i++) {
        snprintf(head, sizeof head, "$%zu\r\n", strlen(argv[i]));
        text_add(&request, head);
        text_add(&request, argv[i]);
        text_add(&request, "\r\n");
    }
    size_t sent = 0;
    while (sent < request.size) {
        ssize_t n = send(fd, request.bytes + sent, request.size - sent, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) break;
        sent += (size_t)n;
    }
    bool ok = sent == request.size;
    free(request.bytes);
    return ok;
}

static char *failure(const char *what) {
    text t = {NULL, 0, 0};
    text_add(&t, "-IO ");
    text_add(&t, what);
    text_add(&t, ": ");
    text_add(&t, strerror(errno));
    return t.bytes;
}

char *sx_wire_call(uint16_t port, const char *password, uint32_t timeout_ms, size_t argc, const char *const *argv) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return failure("socket");
    struct timeval limit = {.tv_sec = timeout_ms / 1000, .tv_usec = (timeout_ms % 1000) * 1000};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        char *why = failure("connect");
        close(fd);
        return why;
    }
    reader *r = calloc(1, sizeof *r);
    if (r == NULL) abort();
    r->fd = fd;
    text out = {NULL, 0, 0};
    text_add(&out, "");
    bool ok = true;
    if (password != NULL && password[0] != '\0') {
        const char *auth[] = {"AUTH", password};
        ok = send_command(fd, 2, auth) && read_reply(r, &out);
        out.size = 0;
        out.bytes[0] = '\0';
    }
    ok = ok && send_command(fd, argc, argv) && read_reply(r, &out);
    if (!ok) {
        free(out.bytes);
        out.bytes = failure("no reply");
    }
    close(fd);
    free(r);
    return out.bytes;
}
