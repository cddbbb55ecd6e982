/* SPDX-License-Identifier: Apache-2.0 */
/* Finds time, command and keys in the lines that MONITOR prints. */
#include "bench/trace_monitor.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

/* Commands of strings, and those of other types that read or write a whole key. Their first key is the first argument. */
static const struct {
    const char *name;
    bench_trace_operation operation;
    uint32_t step;  /* 0: one key; else every so many arguments are a key */
    uint32_t value; /* argument that is the value, from 1; 0: none */
} commands[] = {
    {"get", BENCH_TRACE_READ, 0, 0},       {"mget", BENCH_TRACE_READ, 1, 0},      {"getrange", BENCH_TRACE_READ, 0, 0},
    {"getex", BENCH_TRACE_READ, 0, 0},     {"exists", BENCH_TRACE_READ, 1, 0},    {"strlen", BENCH_TRACE_READ, 0, 0},
    {"hget", BENCH_TRACE_READ, 0, 0},      {"hmget", BENCH_TRACE_READ, 0, 0},     {"hgetall", BENCH_TRACE_READ, 0, 0},
    {"smembers", BENCH_TRACE_READ, 0, 0},  {"sismember", BENCH_TRACE_READ, 0, 0}, {"lrange", BENCH_TRACE_READ, 0, 0},
    {"zrange", BENCH_TRACE_READ, 0, 0},    {"zscore", BENCH_TRACE_READ, 0, 0},    {"set", BENCH_TRACE_WRITE, 0, 2},
    {"setnx", BENCH_TRACE_WRITE, 0, 2},    {"setex", BENCH_TRACE_WRITE, 0, 3},    {"psetex", BENCH_TRACE_WRITE, 0, 3},
    {"getset", BENCH_TRACE_WRITE, 0, 2},   {"mset", BENCH_TRACE_WRITE, 2, 2},     {"append", BENCH_TRACE_WRITE, 0, 0},
    {"incr", BENCH_TRACE_WRITE, 0, 0},     {"decr", BENCH_TRACE_WRITE, 0, 0},     {"incrby", BENCH_TRACE_WRITE, 0, 0},
    {"hset", BENCH_TRACE_WRITE, 0, 0},     {"hmset", BENCH_TRACE_WRITE, 0, 0},    {"hdel", BENCH_TRACE_WRITE, 0, 0},
    {"hincrby", BENCH_TRACE_WRITE, 0, 0},  {"sadd", BENCH_TRACE_WRITE, 0, 0},     {"srem", BENCH_TRACE_WRITE, 0, 0},
    {"zadd", BENCH_TRACE_WRITE, 0, 0},     {"zrem", BENCH_TRACE_WRITE, 0, 0},     {"lpush", BENCH_TRACE_WRITE, 0, 0},
    {"rpush", BENCH_TRACE_WRITE, 0, 0},    {"lpop", BENCH_TRACE_WRITE, 0, 0},     {"rpop", BENCH_TRACE_WRITE, 0, 0},
    {"del", BENCH_TRACE_DELETE, 1, 0},     {"unlink", BENCH_TRACE_DELETE, 1, 0},  {"getdel", BENCH_TRACE_DELETE, 0, 0},
};
enum { COMMANDS = sizeof commands / sizeof commands[0] };

int64_t bench_monitor_time_us(const char *text, size_t size) {
    int64_t us = 0, unit = 1000000;
    size_t i = 0;
    for (; i < size && isdigit((unsigned char)text[i]); i++) {
        if (us > INT64_MAX / 20) return -1;
        us = us * 10 + (int64_t)(text[i] - '0') * unit;
    }
    if (i == 0) return -1;
    if (i < size && text[i] == '.')
        for (i++; i < size && isdigit((unsigned char)text[i]); i++) us += (int64_t)(text[i] - '0') * (unit /= 10);
    return i == size ? us : -1;
}

/* A quoted word from *at on; its text within the quotes, and how many bytes that stands for. 0 at the end, -1 malformed. */
static int next_word(const char *line, size_t size, size_t *at, const char **text, size_t *length, uint32_t *bytes) {
    size_t i = *at;
    while (i < size && line[i] == ' ') i++;
    if (i == size) return 0;
    if (line[i++] != '"') return -1;
    *text = line + i;
    *bytes = 0;
    for (; i < size && line[i] != '"'; i++, (*bytes)++)
        if (line[i] == '\\') i += i + 1 < size && line[i + 1] == 'x' ? 3 : 1;
    if (i >= size) return -1;
    *length = (size_t)(line + i - *text);
    *at = i + 1;
    return 1;
}

/* Where the words begin; 0 where this is no line of MONITOR. */
static size_t find_words(const char *line, size_t size, int64_t *time_us) {
    const char *blank = memchr(line, ' ', size);
    size_t at = blank != NULL ? (size_t)(blank - line) : size;
    *time_us = bench_monitor_time_us(line, at);
    if (*time_us < 0 || memchr(line, '.', at) == NULL || at + 1 >= size || line[at + 1] != '[') return 0;
    const char *bracket = memmem(line + at, size - at, "] \"", 3); /* an address may have brackets of its own */
    return bracket != NULL ? (size_t)(bracket - line) + 1 : 0;
}

int bench_monitor_looks_like(const char *line, size_t size) {
    int64_t time_us;
    if (size == 2 && memcmp(line, "OK", 2) == 0) return 1; /* what MONITOR says first */
    return find_words(line, size, &time_us) != 0;
}

int bench_monitor_decode(const char *line, size_t size, uint32_t which, bench_monitor_key *out) {
    const char *text;
    size_t length, at;
    uint32_t bytes, command = 0;
    if (size == 2 && memcmp(line, "OK", 2) == 0) return 0;
    *out = (bench_monitor_key){.value_bytes = 1};
    at = find_words(line, size, &out->time_us);
    if (at == 0 || next_word(line, size, &at, &text, &length, &bytes) != 1) return -1;
    while (command < COMMANDS && (strlen(commands[command].name) != length || strncasecmp(commands[command].name, text, length) != 0)) command++;
    if (command == COMMANDS) return 0;
    uint32_t step = commands[command].step, key = 1 + which * step, value = commands[command].value;
    if (step == 0 && which > 0) return 0;
    int found = 0;
    for (uint32_t argument = 1;; argument++) {
        int outcome = next_word(line, size, &at, &text, &length, &bytes);
        if (outcome < 0) return -1;
        if (outcome == 0) break;
        if (argument == key) {
            out->text = text;
            out->size = length;
            out->operation = commands[command].operation;
            found = 1;
        } else if (value != 0 && argument == key + value - 1) {
            out->value_bytes = bytes > 0 ? bytes : 1;
        }
        if (argument >= key + value && argument > key) break;
    }
    return found;
}
