/* SPDX-License-Identifier: Apache-2.0 */
/* Compressed payloads: what they were is said by four bytes in front of the block, big endian. */
#ifndef SX_CORE_CODEC_COMPRESS_H
#define SX_CORE_CODEC_COMPRESS_H

#include "core/memory/buf.h"

/* As stored in an envelope's flags: never renumbered. */
typedef enum sx_compression { SX_COMPRESSION_NONE = 0, SX_COMPRESSION_LZ4 = 1, SX_COMPRESSION_ZSTD = 2 } sx_compression;

/* Whether this build has it. */
bool sx_compression_known(uint64_t how);

/* Fills an empty buffer. False where that does not save an eighth, or fails: then the buffer is empty. Any thread. */
bool sx_compress(sx_buf *out, sx_compression how, const void *bytes, size_t size);

/* The size of what was compressed, as it claims, or 0 where it can't be the output of sx_compress. */
size_t sx_decompressed_size(const void *packed, size_t packed_size);
/* Fills size bytes, which must be what sx_decompressed_size says. False where it is malformed; bytes then mean nothing. */
bool sx_decompress(sx_compression how, const void *packed, size_t packed_size, void *bytes, size_t size);

#endif
