/* SPDX-License-Identifier: Apache-2.0 */
/* The trace formats: telling them apart, and decoding their records. */
#include "bench/trace.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "bench/random.h"
#include "bench/trace_monitor.h"
#include "bench/trace_stream.h"

#define COLUMNS_MAX    32
#define LINE_BYTES_MAX ((size_t)16 * 1024)
#define NO_COLUMN      UINT32_MAX
#define ACCEPTED       "accepted are kv12, oracleGeneral, csv with a header, Twitter csv, output of MONITOR, each plain or as .zst"

struct bench_trace {
    bench_stream_bytes *bytes;
    bench_trace_format format;
    uint64_t record_number; /* of the record read last, 1-based */
    uint64_t line_number;
    uint32_t column_count, key_column, size_column, operation_column, time_column;
    uint32_t keys_taken; /* of a MONITOR line that names several */
    char path[512];
};

const char *bench_trace_format_name(bench_trace_format format) {
    static const char *const names[] = {"auto", "kv12", "oracleGeneral", "csv", "twitter", "monitor"};
    return names[format];
}

bench_trace_format bench_trace_format_of(const bench_trace *trace) {
    return trace->format;
}

static uint32_t u32_at(const uint8_t *at) {
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}
static uint64_t u64_at(const uint8_t *at) {
    return (uint64_t)u32_at(at) | (uint64_t)u32_at(at + 4) << 32;
}

/* ---- telling formats apart ---------------------------------------------------------------------------------- */

static bench_trace_format format_by_name(const char *path) {
    const char *slash = strrchr(path, '/'), *name = slash != NULL ? slash + 1 : path;
    if (strcasestr(name, "oraclegeneral") != NULL) return BENCH_TRACE_ORACLE_GENERAL;
    if (strcasestr(name, "kv12") != NULL) return BENCH_TRACE_KV12;
    return BENCH_TRACE_AUTO;
}

static int looks_like_text(const uint8_t *bytes, size_t size) {
    for (size_t i = 0; i < size && i < 4096; i++)
        if ((bytes[i] < 0x20 && bytes[i] != '\n' && bytes[i] != '\r' && bytes[i] != '\t') || bytes[i] == 0x7f)
            return 0;
    return size > 0;
}

/* Up to 64 records whose clock does not go back, of plausible sizes, each with a later next access or none. */
static int looks_like_oracle(const uint8_t *bytes, size_t size) {
    size_t count = size / 24;
    uint32_t last = 0;
    for (size_t i = 0; i < count && i < 64; i++) {
        const uint8_t *at = bytes + i * 24;
        int64_t next = (int64_t)u64_at(at + 16);
        if (u32_at(at) < last || u32_at(at + 12) > 1u << 30 || next < -2 || next == 0) return 0;
        if (next > (INT64_C(1) << 48) && next != INT64_MAX) return 0;
        last = u32_at(at);
    }
    return count > 0;
}

static int looks_like_kv12(const uint8_t *bytes, size_t size) {
    size_t count = size / 12;
    for (size_t i = 0; i < count && i < 128; i++) {
        uint32_t bytes_of_value = u32_at(bytes + i * 12 + 8);
        if (bytes_of_value == 0 || bytes_of_value > 1u << 30) return 0;
    }
    return count > 0;
}

/* Splits text[0 .. size - 1] at commas; how many fields there are, of which the first max are described. */
static uint32_t split(const char *text, size_t size, const char **fields, size_t *sizes, uint32_t max) {
    uint32_t count = 0;
    for (size_t at = 0;;) {
        const char *comma = memchr(text + at, ',', size - at);
        size_t end = comma != NULL ? (size_t)(comma - text) : size, begin = at;
        while (begin < end && isspace((unsigned char)text[begin])) begin++;
        if (count < max) {
            fields[count] = text + begin;
            sizes[count] = end - begin;
        }
        count++;
        if (comma == NULL) return count;
        at = end + 1;
    }
}

static int parse_u64(const char *text, size_t size, uint64_t *out) {
    uint64_t value = 0;
    if (size == 0 || size > 20) return -1;
    for (size_t i = 0; i < size; i++) {
        if (!isdigit((unsigned char)text[i])) return -1;
        uint64_t digit = (uint64_t)(text[i] - '0');
        if (value > (UINT64_MAX - digit) / 10) return -1;
        value = value * 10 + digit;
    }
    *out = value;
    return 0;
}

static int looks_like_twitter(const char *line, size_t size) {
    const char *fields[8];
    size_t sizes[8];
    uint64_t number;
    return split(line, size, fields, sizes, 8) == 7 && parse_u64(fields[0], sizes[0], &number) == 0 &&
           parse_u64(fields[2], sizes[2], &number) == 0 && parse_u64(fields[3], sizes[3], &number) == 0 &&
           parse_u64(fields[6], sizes[6], &number) == 0;
}

static size_t line_size(const uint8_t *bytes, size_t size) {
    const uint8_t *newline = memchr(bytes, '\n', size);
    size_t length = newline != NULL ? (size_t)(newline - bytes) : size;
    return length > 0 && bytes[length - 1] == '\r' ? length - 1 : length;
}

/* A first line without any number is a header. */
static int looks_like_header(const char *line, size_t size) {
    const char *fields[COLUMNS_MAX];
    size_t sizes[COLUMNS_MAX];
    uint32_t count = split(line, size, fields, sizes, COLUMNS_MAX);
    if (count < 1 || count > COLUMNS_MAX) return 0;
    for (uint32_t i = 0; i < count; i++)
        if (sizes[i] == 0 || !(isalpha((unsigned char)fields[i][0]) || fields[i][0] == '_')) return 0;
    return 1;
}

static bench_trace_format format_by_content(const uint8_t *bytes, size_t size) {
    if (looks_like_text(bytes, size)) {
        size_t length = line_size(bytes, size);
        const char *line = (const char *)bytes;
        return bench_monitor_looks_like(line, length) ? BENCH_TRACE_MONITOR
               : looks_like_twitter(line, length)     ? BENCH_TRACE_TWITTER
               : looks_like_header(line, length) ? BENCH_TRACE_CSV
                                                 : BENCH_TRACE_AUTO;
    }
    if (looks_like_oracle(bytes, size)) return BENCH_TRACE_ORACLE_GENERAL;
    return looks_like_kv12(bytes, size) ? BENCH_TRACE_KV12 : BENCH_TRACE_AUTO;
}

/* ---- opening ------------------------------------------------------------------------------------------------ */

static uint32_t column_named(const char *const *fields, const size_t *sizes, uint32_t count,
                             const char *names) {
    for (const char *at = names; *at != '\0';) {
        size_t length = strcspn(at, "|");
        for (uint32_t i = 0; i < count; i++)
            if (sizes[i] == length && strncasecmp(fields[i], at, length) == 0) return i;
        at += length + (at[length] == '|');
    }
    return NO_COLUMN;
}

static void describe(const uint8_t *bytes, size_t size, char *text, size_t text_size) {
    size_t used = 0;
    int is_text = looks_like_text(bytes, size);
    size_t shown = is_text ? line_size(bytes, size) : size;
    if (shown > (is_text ? 60u : 16u)) shown = is_text ? 60 : 16;
    used += (size_t)snprintf(text, text_size, is_text ? "text that begins '" : "bytes");
    for (size_t i = 0; i < shown; i++)
        used += (size_t)snprintf(text + used, text_size - used, is_text ? "%c" : " %02x", bytes[i]);
    snprintf(text + used, text_size - used, "%s", is_text ? "'" : "");
}

/* Reads the header of a csv; 0, or -1 with a text. */
static int read_header(bench_trace *trace, const uint8_t *bytes, size_t size, char *error,
                       size_t error_size) {
    const char *fields[COLUMNS_MAX];
    size_t sizes[COLUMNS_MAX], length = line_size(bytes, size);
    uint32_t count = split((const char *)bytes, length, fields, sizes, COLUMNS_MAX);
    if (count <= COLUMNS_MAX) {
        trace->column_count = count;
        trace->key_column =
            column_named(fields, sizes, count, "lbn|key|obj_id|object_id|objectid|id|block|address");
        trace->size_column =
            column_named(fields, sizes, count, "size|value_size|obj_size|size_bytes|bytes|length");
        trace->operation_column = column_named(fields, sizes, count, "op|operation|type");
        trace->time_column = column_named(fields, sizes, count, "time|timestamp|ts");
    }
    if (count > COLUMNS_MAX || trace->key_column == NO_COLUMN) {
        char found[256];
        describe(bytes, size, found, sizeof found);
        snprintf(error, error_size, "%s: found %s: no column of keys (lbn, key, obj_id, id, block)",
                 trace->path, found);
        return -1;
    }
    const uint8_t *newline = memchr(bytes, '\n', size);
    bench_stream_bytes_skip(trace->bytes, newline != NULL ? (size_t)(newline - bytes) + 1 : size);
    trace->line_number = 1;
    return 0;
}

static int identify(bench_trace *trace, bench_trace_format wanted, char *error, size_t error_size) {
    const uint8_t *bytes;
    char matter[256];
    long size = bench_stream_bytes_peek(trace->bytes, LINE_BYTES_MAX, &bytes, matter, sizeof matter);
    if (size < 0) {
        snprintf(error, error_size, "%s: %s", trace->path, matter);
        return -1;
    }
    if (size == 0) {
        snprintf(error, error_size, "%s: found an empty file; " ACCEPTED, trace->path);
        return -1;
    }
    bench_trace_format named = format_by_name(trace->path), seen = format_by_content(bytes, (size_t)size);
    int text = looks_like_text(bytes, (size_t)size);
    trace->format = wanted != BENCH_TRACE_AUTO ? wanted : named != BENCH_TRACE_AUTO ? named : seen;
    int text_wanted = trace->format >= BENCH_TRACE_CSV;
    int fits = trace->format != BENCH_TRACE_AUTO && text == text_wanted;
    if (fits && trace->format == BENCH_TRACE_CSV && seen > BENCH_TRACE_CSV) fits = 0;
    if (fits && trace->format > BENCH_TRACE_CSV && seen != trace->format) fits = 0;
    if (!fits) {
        describe(bytes, (size_t)size, matter, sizeof matter);
        if (trace->format == BENCH_TRACE_AUTO)
            snprintf(error, error_size, "%s: found %s; " ACCEPTED, trace->path, matter);
        else
            snprintf(error, error_size, "%s: %s %s, but found %s; " ACCEPTED, trace->path,
                     wanted != BENCH_TRACE_AUTO ? "asked for as" : "named like",
                     bench_trace_format_name(trace->format), matter);
        return -1;
    }
    return trace->format == BENCH_TRACE_CSV ? read_header(trace, bytes, (size_t)size, error, error_size) : 0;
}

bench_trace *bench_trace_open(const char *path, bench_trace_format format, char *error, size_t error_size) {
    bench_trace *trace = calloc(1, sizeof *trace);
    if (trace == NULL) {
        snprintf(error, error_size, "%s: out of memory", path);
        return NULL;
    }
    snprintf(trace->path, sizeof trace->path, "%s", path);
    trace->bytes = bench_stream_bytes_open(path, error, error_size);
    if (trace->bytes == NULL || identify(trace, format, error, error_size) != 0) {
        bench_trace_close(trace);
        return NULL;
    }
    return trace;
}

void bench_trace_close(bench_trace *trace) {
    if (trace == NULL) return;
    bench_stream_bytes_close(trace->bytes);
    free(trace);
}

/* ---- records ------------------------------------------------------------------------------------------------ */

static int next_binary(bench_trace *trace, bench_trace_record *record, char *matter, size_t matter_size) {
    size_t wanted = trace->format == BENCH_TRACE_KV12 ? 12 : 24;
    const uint8_t *bytes;
    long size = bench_stream_bytes_peek(trace->bytes, wanted, &bytes, matter, matter_size);
    if (size <= 0) return (int)size;
    if ((size_t)size < wanted) {
        snprintf(matter, matter_size, "the file ends after %ld of its %zu bytes", size, wanted);
        return -1;
    }
    int oracle = trace->format == BENCH_TRACE_ORACLE_GENERAL;
    *record = (bench_trace_record){.key = u64_at(bytes + (oracle ? 4 : 0)),
                                   .size_bytes = u32_at(bytes + (oracle ? 12 : 8)),
                                   .time_us = oracle ? (int64_t)u32_at(bytes) * 1000000 : -1};
    bench_stream_bytes_skip(trace->bytes, wanted);
    return 1;
}

static uint64_t key_of(const char *text, size_t size) {
    uint64_t key;
    if (parse_u64(text, size, &key) == 0) return key;
    key = bench_mix(size);
    for (size_t i = 0; i < size; i++) key = bench_mix(key ^ (uint64_t)(unsigned char)text[i]);
    return key;
}

static bench_trace_operation operation_of(const char *text, size_t size) {
    static const char *const writes[] = {
        "set",  "add",  "replace", "cas", "append", "prepend",
        "incr", "decr", "write",   "w",   "2a"}; /* 2a: SCSI WRITE(10), as the block traces have it */
    static const char *const deletes[] = {"delete", "del", "remove", "invalidate"};
    for (size_t i = 0; i < sizeof writes / sizeof writes[0]; i++)
        if (strlen(writes[i]) == size && strncasecmp(writes[i], text, size) == 0) return BENCH_TRACE_WRITE;
    for (size_t i = 0; i < sizeof deletes / sizeof deletes[0]; i++)
        if (strlen(deletes[i]) == size && strncasecmp(deletes[i], text, size) == 0) return BENCH_TRACE_DELETE;
    return BENCH_TRACE_READ;
}

static int decode_line(const bench_trace *trace, const char *line, size_t length, bench_trace_record *record,
                       char *matter, size_t matter_size) {
    const char *fields[COLUMNS_MAX];
    size_t sizes[COLUMNS_MAX];
    int twitter = trace->format == BENCH_TRACE_TWITTER;
    uint32_t wanted = twitter ? 7 : trace->column_count,
             count = split(line, length, fields, sizes, COLUMNS_MAX);
    uint32_t key = twitter ? 1 : trace->key_column, value = twitter ? 3 : trace->size_column;
    uint32_t operation = twitter ? 5 : trace->operation_column;
    uint64_t bytes = 1;
    if (count != wanted) {
        snprintf(matter, matter_size, "line %llu has %u fields instead of %u",
                 (unsigned long long)trace->line_number, count, wanted);
        return -1;
    }
    if (sizes[key] == 0) {
        snprintf(matter, matter_size, "line %llu has no key", (unsigned long long)trace->line_number);
        return -1;
    }
    if (value != NO_COLUMN && (parse_u64(fields[value], sizes[value], &bytes) != 0 || bytes > UINT32_MAX)) {
        snprintf(matter, matter_size, "line %llu: '%.*s' is no size", (unsigned long long)trace->line_number,
                 (int)(sizes[value] > 40 ? 40 : sizes[value]), fields[value]);
        return -1;
    }
    *record = (bench_trace_record){.key = key_of(fields[key], sizes[key]), .size_bytes = (uint32_t)bytes, .time_us = -1};
    uint32_t time = twitter ? 0 : trace->time_column;
    if (time != NO_COLUMN) record->time_us = bench_monitor_time_us(fields[time], sizes[time]);
    if (operation != NO_COLUMN) record->operation = operation_of(fields[operation], sizes[operation]);
    return 1;
}

/* 1 and a record; 0 where the line names no key, or no further one. */
static int decode_monitor(bench_trace *trace, const char *line, size_t length, bench_trace_record *record, char *matter,
                          size_t matter_size) {
    bench_monitor_key key;
    int outcome = bench_monitor_decode(line, length, trace->keys_taken, &key);
    trace->keys_taken = outcome == 1 ? trace->keys_taken + 1 : 0;
    if (outcome < 0)
        snprintf(matter, matter_size, "line %llu: not SECONDS [DATABASE CLIENT] \"COMMAND\" ...", (unsigned long long)trace->line_number);
    if (outcome != 1) return outcome;
    *record = (bench_trace_record){
        .key = key_of(key.text, key.size), .size_bytes = key.value_bytes, .operation = key.operation, .time_us = key.time_us};
    return 1;
}

static int next_line(bench_trace *trace, bench_trace_record *record, char *matter, size_t matter_size) {
    for (;;) {
        const uint8_t *bytes;
        long size = bench_stream_bytes_peek(trace->bytes, LINE_BYTES_MAX, &bytes, matter, matter_size);
        if (size <= 0) return (int)size;
        const uint8_t *newline = memchr(bytes, '\n', (size_t)size);
        trace->line_number++;
        if (newline == NULL && (size_t)size >= LINE_BYTES_MAX) {
            snprintf(matter, matter_size, "line %llu is longer than %zu bytes",
                     (unsigned long long)trace->line_number, LINE_BYTES_MAX);
            return -1;
        }
        size_t length = line_size(bytes, (size_t)size);
        int outcome = length == 0 ? 0
                      : trace->format == BENCH_TRACE_MONITOR
                          ? decode_monitor(trace, (const char *)bytes, length, record, matter, matter_size)
                          : decode_line(trace, (const char *)bytes, length, record, matter, matter_size);
        if (trace->keys_taken > 0) { /* the line has more */
            trace->line_number--;
            return outcome;
        }
        bench_stream_bytes_skip(trace->bytes, newline != NULL ? (size_t)(newline - bytes) + 1 : (size_t)size);
        if (outcome != 0) return outcome;
    }
}

int bench_trace_next(bench_trace *trace, bench_trace_record *record, char *error, size_t error_size) {
    char matter[256];
    int binary = trace->format == BENCH_TRACE_KV12 || trace->format == BENCH_TRACE_ORACLE_GENERAL;
    int outcome = binary ? next_binary(trace, record, matter, sizeof matter)
                         : next_line(trace, record, matter, sizeof matter);
    if (outcome == 1) trace->record_number++;
    if (outcome < 0)
        snprintf(error, error_size, "%s: %s record %llu: %s", trace->path,
                 bench_trace_format_name(trace->format), (unsigned long long)trace->record_number + 1,
                 matter);
    return outcome;
}
