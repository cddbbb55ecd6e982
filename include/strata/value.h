/* SPDX-License-Identifier: Apache-2.0 */
/* Values: bytes as they are, msgpack packed into the library's buffer, and msgpack read in place. */
#ifndef STRATA_VALUE_H
#define STRATA_VALUE_H

#include <stddef.h>
#include <stdint.h>
#include <strata/status.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A run of bytes that somebody else owns. data may be NULL only where size is 0. */
typedef struct strata_bytes {
    const void *data;
    size_t size;
} strata_bytes;

/* A counted reference to a value: keeps its bytes alive and unchanged until released. */
typedef struct strata_value strata_value;

/*
 * Creates a counted value holding a copy of some bytes, outside any cache.
 *   bytes  what to copy, at most 512 MiB
 *   out    receives the reference
 * Returns: STRATA_OK; STRATA_E_INVALID; STRATA_E_VALUE_SIZE; STRATA_E_NOMEM.
 * Owns:    the caller owns *out: strata_value_release.
 * Threads: any.
 * Blocks:  never.
 * Since:   0.1
 */
STRATA_API int32_t strata_value_create(strata_bytes bytes, strata_value **out);

/*
 * Takes one more reference to a value.
 *   value  a live reference
 * Returns: the same value.
 * Owns:    the caller owns the new reference: strata_value_release.
 * Threads: any.
 * Blocks:  never.
 * Since:   0.1
 */
STRATA_API strata_value *strata_value_retain(strata_value *value);

/*
 * Gives one reference back; the last one frees the value. May be called after its engine was closed.
 *   value  a live reference, or NULL for nothing to do
 * Returns: nothing.
 * Owns:    takes the caller's reference.
 * Threads: any.
 * Blocks:  never.
 * Since:   0.1
 */
STRATA_API void strata_value_release(strata_value *value);

/*
 * The bytes of a value.
 *   value  a live reference
 * Returns: bytes, aligned to 8, that live as long as the reference.
 * Owns:    nothing.
 * Threads: any.
 * Blocks:  never.
 * Since:   0.1
 */
STRATA_API strata_bytes strata_value_bytes(const strata_value *value);

/* ---- writing msgpack -------------------------------------------------------------------------------------- */

/* Packs msgpack straight into a buffer of the library that strata_set takes without another copy of ours. Errors
   stick: after the first one every call returns it, so a chain may be checked once, at strata_packer_finish. */
typedef struct strata_packer strata_packer;

/*
 * Creates a packer.
 *   out  receives the packer
 * Returns: STRATA_OK; STRATA_E_NOMEM.
 * Owns:    the caller owns *out: strata_packer_destroy.
 * Threads: any; a packer is used by one thread at a time.
 * Blocks:  never.
 * Since:   0.1
 */
STRATA_API int32_t strata_packer_create(strata_packer **out);

/*
 * Frees a packer and its buffer.
 *   packer  a packer, or NULL
 * Returns: nothing.
 * Owns:    takes the packer.
 * Threads: the one using it.
 * Blocks:  never.
 * Since:   0.1
 */
STRATA_API void strata_packer_destroy(strata_packer *packer);

/*
 * Empties a packer for the next value; its buffer is kept, a sticking error is cleared.
 *   packer  a packer
 * Returns: nothing.
 * Owns:    nothing.
 * Threads: the one using it.
 * Blocks:  never.
 * Since:   0.1
 */
STRATA_API void strata_packer_reset(strata_packer *packer);

/*
 * Appends nil.
 *   packer  a packer
 * Returns: STRATA_OK; STRATA_E_NOMEM; the sticking error.
 * Owns:    nothing.
 * Threads: the one using it.
 * Blocks:  never.
 * Since:   0.1
 */
STRATA_API int32_t strata_pack_nil(strata_packer *packer);

/*
 * Appends a boolean.
 *   packer  a packer
 *   value   0 is false, anything else true
 * Returns: STRATA_OK; STRATA_E_NOMEM; the sticking error.
 * Owns:    nothing.
 * Threads: the one using it.
 * Blocks:  never.
 * Since:   0.1
 */
STRATA_API int32_t strata_pack_bool(strata_packer *packer, int value);

/*
 * Appends a signed integer in its shortest form.
 *   packer  a packer
 *   value   the integer
 * Returns: STRATA_OK; STRATA_E_NOMEM; the sticking error.
 * Owns:    nothing.
 * Threads: the one using it.
 * Blocks:  never.
 * Since:   0.1
 */
STRATA_API int32_t strata_pack_int(strata_packer *packer, int64_t value);

/*
 * Appends an unsigned integer in its shortest form.
 *   packer  a packer
 *   value   the integer
 * Returns: STRATA_OK; STRATA_E_NOMEM; the sticking error.
 * Owns:    nothing.
 * Threads: the one using it.
 * Blocks:  never.
 * Since:   0.1
 */
STRATA_API int32_t strata_pack_uint(strata_packer *packer, uint64_t value);

/*
 * Appends a double.
 *   packer  a packer
 *   value   the number
 * Returns: STRATA_OK; STRATA_E_NOMEM; the sticking error.
 * Owns:    nothing.
 * Threads: the one using it.
 * Blocks:  never.
 * Since:   0.1
 */
STRATA_API int32_t strata_pack_double(strata_packer *packer, double value);

/*
 * Appends a string (UTF-8 by convention, not checked).
 *   packer  a packer
 *   text    its bytes, below 4 GiB, copied
 * Returns: STRATA_OK; STRATA_E_INVALID; STRATA_E_NOMEM; the sticking error.
 * Owns:    nothing.
 * Threads: the one using it.
 * Blocks:  never.
 * Since:   0.1
 */
STRATA_API int32_t strata_pack_str(strata_packer *packer, strata_bytes text);

/*
 * Appends a byte string.
 *   packer  a packer
 *   bytes   below 4 GiB, copied
 * Returns: STRATA_OK; STRATA_E_INVALID; STRATA_E_NOMEM; the sticking error.
 * Owns:    nothing.
 * Threads: the one using it.
 * Blocks:  never.
 * Since:   0.1
 */
STRATA_API int32_t strata_pack_bin(strata_packer *packer, strata_bytes bytes);

/*
 * Opens an array: the next count values are its elements.
 *   packer  a packer
 *   count   elements
 * Returns: STRATA_OK; STRATA_E_INVALID beyond 64 levels of nesting; STRATA_E_NOMEM; the sticking error.
 * Owns:    nothing.
 * Threads: the one using it.
 * Blocks:  never.
 * Since:   0.1
 */
STRATA_API int32_t strata_pack_array(strata_packer *packer, uint32_t count);

/*
 * Opens a map: the next 2 x count values are its keys and values in turn.
 *   packer  a packer
 *   count   pairs
 * Returns: STRATA_OK; STRATA_E_INVALID beyond 64 levels of nesting; STRATA_E_NOMEM; the sticking error.
 * Owns:    nothing.
 * Threads: the one using it.
 * Blocks:  never.
 * Since:   0.1
 */
STRATA_API int32_t strata_pack_map(strata_packer *packer, uint32_t count);

/*
 * Ends a value and shows it, ready for strata_set.
 *   packer  a packer holding exactly one complete msgpack value
 *   out     receives the bytes, which live until the next call on the packer
 * Returns: STRATA_OK; STRATA_E_TYPE where it is not exactly one complete value; the sticking error.
 * Owns:    nothing; the packer keeps the bytes.
 * Threads: the one using it.
 * Blocks:  never.
 * Since:   0.1
 */
STRATA_API int32_t strata_packer_finish(strata_packer *packer, strata_bytes *out);

/* ---- reading msgpack in place ------------------------------------------------------------------------------ */

typedef enum strata_type {
    STRATA_TYPE_NIL = 0,
    STRATA_TYPE_BOOL = 1,
    STRATA_TYPE_INT = 2,  /* fits int64 */
    STRATA_TYPE_UINT = 3, /* above INT64_MAX */
    STRATA_TYPE_DOUBLE = 4,
    STRATA_TYPE_STR = 5,
    STRATA_TYPE_BIN = 6,
    STRATA_TYPE_ARRAY = 7,
    STRATA_TYPE_MAP = 8,
    STRATA_TYPE_EXT = 9
} strata_type;

/* One msgpack value inside bytes that somebody else owns; a plain struct on the caller's stack. Nothing is unpacked or
   allocated: a field is found by skipping over what precedes it. Nesting deeper than 64 is STRATA_E_CORRUPT. */
typedef struct strata_field {
    const uint8_t *at;  /* first byte of this value */
    const uint8_t *end; /* end of the bytes it lies in */
} strata_field;

/*
 * Takes bytes as one msgpack value, having checked that all of it is well formed and nothing follows.
 *   bytes  the value, as stored
 *   out    receives the root
 * Returns: STRATA_OK; STRATA_E_CORRUPT.
 * Owns:    nothing; *out points into bytes.
 * Threads: any.
 * Blocks:  never.
 * Since:   0.1
 */
STRATA_API int32_t strata_field_root(strata_bytes bytes, strata_field *out);

/*
 * The type of a field.
 *   field  a field
 *   out    receives the type
 * Returns: STRATA_OK; STRATA_E_CORRUPT.
 * Owns:    nothing.
 * Threads: any.
 * Blocks:  never.
 * Since:   0.1
 */
STRATA_API int32_t strata_field_type(strata_field field, strata_type *out);

/*
 * Reads a boolean.
 *   field  a field
 *   out    receives 0 or 1
 * Returns: STRATA_OK; STRATA_E_TYPE; STRATA_E_CORRUPT.
 * Owns:    nothing.
 * Threads: any.
 * Blocks:  never.
 * Since:   0.1
 */
STRATA_API int32_t strata_field_bool(strata_field field, int *out);

/*
 * Reads an integer that fits int64.
 *   field  a field
 *   out    receives the integer
 * Returns: STRATA_OK; STRATA_E_TYPE; STRATA_E_CORRUPT.
 * Owns:    nothing.
 * Threads: any.
 * Blocks:  never.
 * Since:   0.1
 */
STRATA_API int32_t strata_field_int(strata_field field, int64_t *out);

/*
 * Reads an integer that is not negative.
 *   field  a field
 *   out    receives the integer
 * Returns: STRATA_OK; STRATA_E_TYPE; STRATA_E_CORRUPT.
 * Owns:    nothing.
 * Threads: any.
 * Blocks:  never.
 * Since:   0.1
 */
STRATA_API int32_t strata_field_uint(strata_field field, uint64_t *out);

/*
 * Reads a number as a double: floats exactly, integers converted.
 *   field  a field
 *   out    receives the number
 * Returns: STRATA_OK; STRATA_E_TYPE; STRATA_E_CORRUPT.
 * Owns:    nothing.
 * Threads: any.
 * Blocks:  never.
 * Since:   0.1
 */
STRATA_API int32_t strata_field_double(strata_field field, double *out);

/*
 * Shows a string or byte string in place.
 *   field  a field
 *   out    receives its bytes (not zero-terminated)
 * Returns: STRATA_OK; STRATA_E_TYPE; STRATA_E_CORRUPT.
 * Owns:    nothing; *out points into the field's bytes.
 * Threads: any.
 * Blocks:  never.
 * Since:   0.1
 */
STRATA_API int32_t strata_field_bytes(strata_field field, strata_bytes *out);

/*
 * Counts the elements of an array or the pairs of a map.
 *   field  a field
 *   out    receives the count
 * Returns: STRATA_OK; STRATA_E_TYPE; STRATA_E_CORRUPT.
 * Owns:    nothing.
 * Threads: any.
 * Blocks:  never.
 * Since:   0.1
 */
STRATA_API int32_t strata_field_count(strata_field field, uint32_t *out);

/*
 * Finds an element of an array, skipping over the ones before it.
 *   array  a field of type array
 *   index  0-based
 *   out    receives the element
 * Returns: STRATA_OK; STRATA_E_TYPE; STRATA_E_END beyond the last; STRATA_E_CORRUPT.
 * Owns:    nothing.
 * Threads: any.
 * Blocks:  never.
 * Since:   0.1
 */
STRATA_API int32_t strata_field_at(strata_field array, uint32_t index, strata_field *out);

/*
 * Finds the value of a map's first pair whose key is a string or byte string equal to name.
 *   map   a field of type map
 *   name  zero-terminated
 *   out   receives the value
 * Returns: STRATA_OK; STRATA_E_TYPE; STRATA_E_END where there is no such key; STRATA_E_CORRUPT.
 * Owns:    nothing.
 * Threads: any.
 * Blocks:  never.
 * Since:   0.1
 */
STRATA_API int32_t strata_field_get(strata_field map, const char *name, strata_field *out);

/*
 * Steps to the value that follows this one in the same array or map, for walking without a search per element. The
 * caller counts; the first element comes from strata_field_first.
 *   field  a field
 *   out    receives the next field
 * Returns: STRATA_OK; STRATA_E_END; STRATA_E_CORRUPT.
 * Owns:    nothing.
 * Threads: any.
 * Blocks:  never.
 * Since:   0.1
 */
STRATA_API int32_t strata_field_next(strata_field field, strata_field *out);

/*
 * The first element of an array, or the first key of a map.
 *   field  a field of type array or map
 *   out    receives it
 * Returns: STRATA_OK; STRATA_E_TYPE; STRATA_E_END where it is empty; STRATA_E_CORRUPT.
 * Owns:    nothing.
 * Threads: any.
 * Blocks:  never.
 * Since:   0.1
 */
STRATA_API int32_t strata_field_first(strata_field field, strata_field *out);

#ifdef __cplusplus
}
#endif
#endif
