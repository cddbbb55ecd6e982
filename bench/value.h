/* SPDX-License-Identifier: Apache-2.0 */
/* Values that prove what they are: bytes made from key, version and size, with a header and a checksum. */
#ifndef BENCH_VALUE_H
#define BENCH_VALUE_H

#include <stddef.h>
#include <stdint.h>

/* Layout, in the machine's byte order: magic u32, size u32, key u64, version u64, checksum u64 of all else, filling. */
#define BENCH_VALUE_BYTES_MIN 32u

typedef struct bench_value_header {
    uint32_t size_bytes;
    uint64_t key;
    uint64_t version;
} bench_value_header;

typedef enum bench_value_fault {
    BENCH_VALUE_GOOD = 0,
    BENCH_VALUE_MALFORMED, /* too short, or not one of ours */
    BENCH_VALUE_WRONG_SIZE,
    BENCH_VALUE_WRONG_CHECKSUM
} bench_value_fault;

/* Writes a value of size_bytes >= BENCH_VALUE_BYTES_MIN. */
void bench_value_make(void *out, uint64_t key, uint64_t version, uint32_t size_bytes);
/* Checks a value against itself and shows its header. */
bench_value_fault bench_value_check(const void *bytes, size_t size, bench_value_header *header);

#endif
