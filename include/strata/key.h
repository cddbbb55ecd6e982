/* SPDX-License-Identifier: Apache-2.0 */
/* Keys made of segments, so that no two different lists of segments ever make the same key. Included by strata.h. */
#ifndef STRATA_KEY_H
#define STRATA_KEY_H

#include <stddef.h>
#include <stdint.h>
#include <strata/value.h>

#ifdef __cplusplus
extern "C" {
#endif

#define STRATA_QUERY_BYTES_MAX 65536 /* of msgpack, for strata_query_hash and strata_key_query */
#define STRATA_QUERY_HASH_BYTES 16

/* A key being built in a buffer of the caller's, up to STRATA_KEY_BYTES_MAX bytes; a plain struct on the caller's stack.
   Segments are joined by ':'. In a segment ':' is written %3A and '%' %25, and a leading '@' %40 or '~' %7E; every other
   byte stands for itself. Errors stick: after the first one every call returns it, so a chain may be checked once, at
   strata_key_finish. */
typedef struct strata_key {
    char *bytes;
    uint32_t size;
    uint32_t capacity;
    uint32_t segments;
    int32_t status;
} strata_key;

/*
 * Begins a key.
 *   key     what to begin; whatever it held is forgotten
 *   buffer  where the key's bytes go; must outlive their use
 *   size    bytes at buffer
 * Returns: nothing.
 * Owns:    nothing; there is nothing to end.
 * Threads: the one using it.
 * Blocks:  never.
 * Since:   0.1
 */
STRATA_API void strata_key_begin(strata_key *key, void *buffer, size_t size);

/*
 * Names whom the key belongs to: "@tenant" in front of its segments, which no plain segment looks like.
 *   key     a key without segments
 *   tenant  at least one byte
 * Returns: STRATA_OK; STRATA_E_INVALID where it is empty or not the first; STRATA_E_KEY_SIZE where the buffer or
 *          STRATA_KEY_BYTES_MAX is exceeded; the sticking error.
 * Owns:    nothing.
 * Threads: the one using it.
 * Blocks:  never.
 * Since:   0.1
 */
STRATA_API int32_t strata_key_tenant(strata_key *key, strata_bytes tenant);

/*
 * Appends a segment.
 *   key      a key
 *   segment  any bytes, also none
 * Returns: STRATA_OK; STRATA_E_INVALID; STRATA_E_KEY_SIZE where the buffer or STRATA_KEY_BYTES_MAX is exceeded; the
 *          sticking error.
 * Owns:    nothing.
 * Threads: the one using it.
 * Blocks:  never.
 * Since:   0.1
 */
STRATA_API int32_t strata_key_segment(strata_key *key, strata_bytes segment);

/*
 * Appends a zero-terminated text as a segment.
 *   key   a key
 *   text  zero-terminated
 * Returns: as strata_key_segment.
 * Owns:    nothing.
 * Threads: the one using it.
 * Blocks:  never.
 * Since:   0.1
 */
STRATA_API int32_t strata_key_text(strata_key *key, const char *text);

/*
 * Appends a number as a segment, the same as its decimal digits as text.
 *   key     a key
 *   number  the number
 * Returns: as strata_key_segment.
 * Owns:    nothing.
 * Threads: the one using it.
 * Blocks:  never.
 * Since:   0.1
 */
STRATA_API int32_t strata_key_int(strata_key *key, int64_t number);

/*
 * Appends the hash of structured parameters as a segment: '~' and 32 hexadecimal digits, see strata_query_hash.
 *   key    a key
 *   query  one msgpack value (strata_packer_finish makes one) of at most STRATA_QUERY_BYTES_MAX bytes
 * Returns: as strata_query_hash and strata_key_segment.
 * Owns:    nothing.
 * Threads: the one using it.
 * Blocks:  never.
 * Since:   0.1
 */
STRATA_API int32_t strata_key_query(strata_key *key, strata_bytes query);

/*
 * Ends a key and shows it.
 *   key  a key with a tenant or at least one segment
 *   out  receives its bytes, in the buffer
 * Returns: STRATA_OK; STRATA_E_KEY_SIZE where the key is empty; the sticking error.
 * Owns:    nothing.
 * Threads: the one using it.
 * Blocks:  never.
 * Since:   0.1
 */
STRATA_API int32_t strata_key_finish(const strata_key *key, strata_bytes *out);

/*
 * Hashes structured parameters so that what means the same gives the same hash, in every process and language: XXH3-128
 * (seed 0, big endian) of the value in canonical msgpack, in which integers, strings, byte strings, arrays and maps take
 * their shortest form, every floating-point number is a double (one NaN, no negative zero), and the pairs of a map are in
 * the order of their keys' canonical bytes. An integer and a double differ, and so do a string and a byte string.
 *   query  one msgpack value of at most STRATA_QUERY_BYTES_MAX bytes
 *   out    receives STRATA_QUERY_HASH_BYTES bytes
 * Returns: STRATA_OK; STRATA_E_CORRUPT; STRATA_E_VALUE_SIZE where it is longer; STRATA_E_INVALID where a map has a key
 *          twice; STRATA_E_NOMEM.
 * Owns:    nothing.
 * Threads: any.
 * Blocks:  never.
 * Since:   0.1
 */
STRATA_API int32_t strata_query_hash(strata_bytes query, uint8_t out[STRATA_QUERY_HASH_BYTES]);

#ifdef __cplusplus
}
#endif
#endif
