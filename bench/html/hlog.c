/* SPDX-License-Identifier: Apache-2.0 */
/* The form is that of HdrHistogram's log, version 1.3, with histograms of its encoding V2: counts by bucket as variable-length numbers,
   runs of empty buckets as negative ones; in a zlib stream, here of stored blocks; in base 64. */
#include "bench/html/hlog.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define DIGITS       3                        /* of a value that are kept */
#define HALF_BITS    10                       /* a bucket beyond the first has 2^10 equal parts: enough for three digits */
#define HALF         (UINT64_C(1) << HALF_BITS)
#define HIGHEST_NS   (INT64_C(3600000000000)) /* what readers make room for: an hour */
#define COOKIE       0x1c849313u
#define COOKIE_ZLIB  0x1c849314u
#define BLOCK_MAX    65535u
#define NUMBER_BYTES 9u

typedef struct bytes {
    uint8_t *data;
    size_t size, capacity;
    int failed;
} bytes;

static void put(bytes *to, const void *data, size_t size) {
    if (to->size + size > to->capacity) {
        size_t capacity = 2 * (to->size + size);
        uint8_t *grown = realloc(to->data, capacity);
        to->failed = to->failed || grown == NULL;
        if (grown == NULL) return;
        to->data = grown;
        to->capacity = capacity;
    }
    memcpy(to->data + to->size, data, size);
    to->size += size;
}

static void put_byte(bytes *to, uint64_t value) {
    uint8_t byte = (uint8_t)value;
    put(to, &byte, 1);
}

/* Highest byte first. */
static void put_integer(bytes *to, uint64_t value, uint32_t size) {
    while (size-- > 0) put_byte(to, value >> (8 * size) & 255);
}

/* Seven bits a byte, lowest first, all but the last with the highest bit set; the ninth byte has eight. The sign is the lowest bit. */
static void put_number(bytes *to, int64_t number) {
    uint64_t rest = ((uint64_t)number << 1) ^ (number < 0 ? UINT64_MAX : 0);
    for (uint32_t i = 1; i < NUMBER_BYTES && rest > 127; i++, rest >>= 7) put_byte(to, (rest & 127) | 128);
    put_byte(to, rest);
}

/* The place of a value among the counts. */
static uint64_t place_of(uint64_t value) {
    uint32_t shift = 0;
    while (value >> shift >= 2 * HALF) shift++;
    return shift * HALF + (value >> shift);
}

static void put_counts(bytes *to, const json_t *buckets, double max_ns) {
    uint64_t next = 0, place = 0, count = 0;
    for (size_t i = 0; i + 1 < json_array_size(buckets); i += 2) {
        double high = json_number_value(json_array_get(buckets, i)), more = json_number_value(json_array_get(buckets, i + 1));
        if (!(high >= 0) || !(more >= 1)) continue;
        if (max_ns > 0 && high > max_ns) high = max_ns;
        uint64_t its = place_of(high < (double)HIGHEST_NS ? (uint64_t)high : (uint64_t)HIGHEST_NS);
        if (count > 0 && its != place) {
            put_number(to, (int64_t)count);
            next = place + 1;
            count = 0;
        }
        if (its > next && count == 0) put_number(to, its - next > 1 ? -(int64_t)(its - next) : 0);
        place = its;
        count += (uint64_t)more;
    }
    put_number(to, (int64_t)count);
}

static void put_histogram(bytes *to, const json_t *histogram) {
    bytes counts = {.data = NULL};
    put_counts(&counts, json_object_get(histogram, "buckets"), json_number_value(json_object_get(histogram, "max_ns")));
    put_integer(to, COOKIE, 4);
    put_integer(to, counts.size, 4);
    put_integer(to, 0, 4);
    put_integer(to, DIGITS, 4);
    put_integer(to, 1, 8);
    put_integer(to, (uint64_t)HIGHEST_NS, 8);
    put_integer(to, UINT64_C(0x3ff0000000000000), 8); /* the double 1: values are what they are */
    if (counts.failed) to->failed = 1;
    else put(to, counts.data, counts.size);
    free(counts.data);
}

/* A stream that packs nothing. */
static void put_stream(bytes *to, const bytes *content) {
    uint32_t a = 1, b = 0;
    put_integer(to, 0x7801, 2);
    for (size_t at = 0; at < content->size; at += BLOCK_MAX) {
        size_t left = content->size - at, size = left < BLOCK_MAX ? left : BLOCK_MAX;
        put_byte(to, left <= BLOCK_MAX);
        put_byte(to, size & 255);
        put_byte(to, size >> 8);
        put_byte(to, ~size & 255);
        put_byte(to, (~size >> 8) & 255);
        put(to, content->data + at, size);
    }
    for (size_t i = 0; i < content->size; i++) {
        a = (a + content->data[i]) % 65521;
        b = (b + a) % 65521;
    }
    put_integer(to, (uint64_t)b << 16 | a, 4);
}

static void write_base64(FILE *out, const bytes *from) {
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < from->size; i += 3) {
        size_t left = from->size - i;
        uint32_t three = (uint32_t)from->data[i] << 16 | (left > 1 ? (uint32_t)from->data[i + 1] << 8 : 0) | (left > 2 ? from->data[i + 2] : 0);
        fputc(letters[three >> 18], out);
        fputc(letters[three >> 12 & 63], out);
        fputc(left > 1 ? letters[three >> 6 & 63] : '=', out);
        fputc(left > 2 ? letters[three & 63] : '=', out);
    }
}

void bench_hlog_begin(FILE *out, double started_s) {
    fprintf(out, "#[Histogram log format version 1.3]\n#[StartTime: %.3f (seconds since epoch)]\n"
                 "\"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\"Interval_Compressed_Histogram\"\n", started_s);
}

int bench_hlog_add(FILE *out, const char *tag, double seconds, const json_t *histogram) {
    bytes plain = {.data = NULL}, stream = {.data = NULL}, whole = {.data = NULL};
    if (json_array_size(json_object_get(histogram, "buckets")) < 2) return -1;
    put_histogram(&plain, histogram);
    if (!plain.failed) put_stream(&stream, &plain);
    put_integer(&whole, COOKIE_ZLIB, 4);
    put_integer(&whole, stream.size, 4);
    if (!stream.failed) put(&whole, stream.data, stream.size);
    int failed = plain.failed || stream.failed || whole.failed;
    if (!failed) {
        fprintf(out, "Tag=%s,0.000,%.3f,%.6f,", tag, seconds, json_number_value(json_object_get(histogram, "max_ns")) / 1e6);
        write_base64(out, &whole);
        fputc('\n', out);
    }
    free(plain.data);
    free(stream.data);
    free(whole.data);
    return failed ? -1 : 0;
}
