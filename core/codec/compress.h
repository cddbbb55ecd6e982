/* SPDX-License-Identifier: Apache-2.0 */
/* Compressed payloads: what they were is said by four bytes in front of the block, big endian. */
#ifndef SX_CORE_CODEC_COMPRESS_H
#define SX_CORE_CODEC_COMPRESS_H

#include <strata/config.h>

#include "core/memory/buf.h"

/* As stored in an envelope's flags: never renumbered. */
typedef enum sx_compression { SX_COMPRESSION_NONE = 0, SX_COMPRESSION_LZ4 = 1, SX_COMPRESSION_ZSTD = 2 } sx_compression;

/* Whether this build has it. */
bool sx_compression_known(uint64_t how);

/* What zstd learned of many small values that are alike; const once made, for any thread. */
typedef struct sx_dictionary sx_dictionary;
#define SX_DICTIONARY_BYTES_MAX (1u << 20)
/* Of what `zstd --train` writes. STRATA_OK; STRATA_E_CONFIG where it is none, which error says; STRATA_E_NOMEM. */
int32_t sx_dictionary_create(const sx_alloc *alloc, const void *bytes, size_t size, sx_dictionary **out, strata_error *error);
void sx_dictionary_destroy(sx_dictionary *dictionary);
/* Never 0. */
uint32_t sx_dictionary_id(const sx_dictionary *dictionary);
bool sx_dictionary_is_of(const sx_dictionary *dictionary, const void *bytes, size_t size);
/* Of the dictionary that something was compressed with; 0: with none, or it is malformed. */
uint32_t sx_compressed_dictionary(sx_compression how, const void *packed, size_t packed_size);

/* Fills an empty buffer. False where that does not save an eighth, or fails: then the buffer is empty. Any thread. */
bool sx_compress(sx_buf *out, sx_compression how, const void *bytes, size_t size);
/* The same with a dictionary where how is SX_COMPRESSION_ZSTD; NULL: without. */
bool sx_compress_with(sx_buf *out, sx_compression how, const sx_dictionary *dictionary, const void *bytes, size_t size);

/* The size of what was compressed, as it claims, or 0 where it can't be the output of sx_compress. */
size_t sx_decompressed_size(const void *packed, size_t packed_size);
/* Fills size bytes, which must be what sx_decompressed_size says. False where it is malformed; bytes then mean nothing. */
bool sx_decompress(sx_compression how, const void *packed, size_t packed_size, void *bytes, size_t size);
/* The same of what was compressed with a dictionary: with any other, also one of the same id, it is malformed. */
bool sx_decompress_with(sx_compression how, const sx_dictionary *dictionary, const void *packed, size_t packed_size, void *bytes, size_t size);

#endif
