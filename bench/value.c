/* SPDX-License-Identifier: Apache-2.0 */
/* Making and checking values; fast enough not to hide what is being measured (about 2 bytes a cycle). */
#include "bench/value.h"

#include <string.h>

#include "bench/random.h"

#define MAGIC           UINT32_C(0x61727453) /* "Stra" */
#define CHECKSUM_OFFSET 24u

static uint64_t word_at(const unsigned char *bytes, size_t offset) {
    uint64_t word;
    memcpy(&word, bytes + offset, sizeof word);
    return word;
}

static uint64_t stir(uint64_t hash, uint64_t word) {
    hash = (hash ^ word) * UINT64_C(0x9e3779b97f4a7c15);
    return hash ^ (hash >> 29);
}

/* Over everything but the checksum itself; two lanes, so that multiplications overlap. */
static uint64_t checksum(const unsigned char *bytes, size_t size) {
    uint64_t a = stir(size, word_at(bytes, 0)), b = stir(word_at(bytes, 8), word_at(bytes, 16));
    size_t at = BENCH_VALUE_BYTES_MIN;
    for (; at + 16 <= size; at += 16) {
        a = stir(a, word_at(bytes, at));
        b = stir(b, word_at(bytes, at + 8));
    }
    for (; at < size; at++) a = stir(a, bytes[at]);
    return bench_mix(a ^ bench_mix(b));
}

void bench_value_make(void *out, uint64_t key, uint64_t version, uint32_t size_bytes) {
    unsigned char *bytes = out;
    uint32_t magic = MAGIC;
    memcpy(bytes, &magic, sizeof magic);
    memcpy(bytes + 4, &size_bytes, sizeof size_bytes);
    memcpy(bytes + 8, &key, sizeof key);
    memcpy(bytes + 16, &version, sizeof version);
    uint64_t filling = bench_mix(key ^ bench_mix(version)) | 1, word = filling;
    size_t at = BENCH_VALUE_BYTES_MIN;
    for (; at + 8 <= size_bytes; at += 8, word += filling) memcpy(bytes + at, &word, sizeof word);
    if (at < size_bytes) memcpy(bytes + at, &word, size_bytes - at);
    uint64_t sum = checksum(bytes, size_bytes);
    memcpy(bytes + CHECKSUM_OFFSET, &sum, sizeof sum);
}

bench_value_fault bench_value_check(const void *value, size_t size, bench_value_header *header) {
    const unsigned char *bytes = value;
    uint32_t magic;
    if (size < BENCH_VALUE_BYTES_MIN) return BENCH_VALUE_MALFORMED;
    memcpy(&magic, bytes, sizeof magic);
    if (magic != MAGIC) return BENCH_VALUE_MALFORMED;
    memcpy(&header->size_bytes, bytes + 4, sizeof header->size_bytes);
    memcpy(&header->key, bytes + 8, sizeof header->key);
    memcpy(&header->version, bytes + 16, sizeof header->version);
    if (header->size_bytes != size) return BENCH_VALUE_WRONG_SIZE;
    return word_at(bytes, CHECKSUM_OFFSET) == checksum(bytes, size) ? BENCH_VALUE_GOOD
                                                                    : BENCH_VALUE_WRONG_CHECKSUM;
}
