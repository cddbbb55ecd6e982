/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzzes decompression: nothing is written beyond what was claimed and bounded, whatever the block says. */
#include <stdlib.h>

#include "core/codec/compress.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1) return 0;
    sx_compression how = data[0] % 2 == 0 ? SX_COMPRESSION_LZ4 : SX_COMPRESSION_ZSTD;
    size_t claim = sx_decompressed_size(data + 1, size - 1);
    if (claim == 0 || claim > 1 << 16) return 0;
    void *bytes = malloc(claim); /* exactly, for the sanitizer to see */
    (void)sx_decompress(how, data + 1, size - 1, bytes, claim);
    free(bytes);
    return 0;
}
