/* SPDX-License-Identifier: Apache-2.0 */
/* LZ4 blocks and, where the build has it, zstd frames. */
#include "core/codec/compress.h"

#include <assert.h>
#include <limits.h>

#include <lz4.h>
#if SX_HAS_ZSTD
#include <pthread.h>
#include <zstd.h>
#endif

enum { PREFIX = 4, ZSTD_LEVEL = 3, SAVES_ONE_IN = 8 };

bool sx_compression_known(uint64_t how) { return how == SX_COMPRESSION_LZ4 || (how == SX_COMPRESSION_ZSTD && SX_HAS_ZSTD); }

#if SX_HAS_ZSTD
/* What zstd works with is large to make: each thread that decompresses keeps one until it ends. */
static struct {
    pthread_once_t once;
    pthread_key_t key;
    bool kept;
} contexts = {.once = PTHREAD_ONCE_INIT};

static void free_context(void *context) { (void)ZSTD_freeDCtx(context); }
static void make_key(void) { contexts.kept = pthread_key_create(&contexts.key, free_context) == 0; }

/* A library that is unloaded leaves no destructor behind for threads that end later. */
__attribute__((destructor)) static void delete_key(void) {
    if (contexts.kept) (void)pthread_key_delete(contexts.key);
}

static size_t decompress_zstd(void *bytes, size_t size, const void *block, size_t block_size) {
    (void)pthread_once(&contexts.once, make_key);
    ZSTD_DCtx *context = contexts.kept ? pthread_getspecific(contexts.key) : NULL;
    if (context == NULL && contexts.kept && (context = ZSTD_createDCtx()) != NULL && pthread_setspecific(contexts.key, context) != 0) {
        free_context(context);
        context = NULL;
    }
    if (context == NULL) return ZSTD_decompress(bytes, size, block, block_size);
    return ZSTD_decompressDCtx(context, bytes, size, block, block_size);
}
#endif

/* Writes at most room bytes; 0 where that is too little. */
static size_t compress_block(sx_compression how, const void *bytes, size_t size, void *block, size_t room) {
#if SX_HAS_ZSTD
    if (how == SX_COMPRESSION_ZSTD) {
        size_t used = ZSTD_compress(block, room, bytes, size, ZSTD_LEVEL);
        return ZSTD_isError(used) ? 0 : used;
    }
#endif
    assert(how == SX_COMPRESSION_LZ4);
    (void)how;
    int used = LZ4_compress_default(bytes, block, (int)size, (int)room);
    return used > 0 ? (size_t)used : 0;
}

bool sx_compress(sx_buf *out, sx_compression how, const void *bytes, size_t size) {
    assert(out->size == 0);
    if (!sx_compression_known(how) || size > LZ4_MAX_INPUT_SIZE) return false;
    size_t pays = size - size / SAVES_ONE_IN; /* with the prefix */
    if (pays <= PREFIX || !sx_buf_reserve(out, pays)) return false;
    size_t used = compress_block(how, bytes, size, out->data + PREFIX, pays - PREFIX);
    if (used == 0) return false;
    for (int i = 0; i < PREFIX; i++) out->data[i] = (uint8_t)(size >> (8 * (PREFIX - 1 - i)));
    out->size = PREFIX + used;
    return true;
}

size_t sx_decompressed_size(const void *packed, size_t packed_size) {
    const uint8_t *prefix = packed;
    if (packed_size <= PREFIX) return 0;
    size_t size = 0;
    for (int i = 0; i < PREFIX; i++) size = size << 8 | prefix[i];
    return size;
}

bool sx_decompress(sx_compression how, const void *packed, size_t packed_size, void *bytes, size_t size) {
    assert(packed_size > PREFIX && size == sx_decompressed_size(packed, packed_size));
    if (!sx_compression_known(how) || packed_size > INT_MAX || size > INT_MAX) return false;
    const char *block = (const char *)packed + PREFIX;
    size_t block_size = packed_size - PREFIX;
#if SX_HAS_ZSTD
    if (how == SX_COMPRESSION_ZSTD) return decompress_zstd(bytes, size, block, block_size) == size;
#endif
    return LZ4_decompress_safe(block, bytes, (int)block_size, (int)size) == (int)size;
}
