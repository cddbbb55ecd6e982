/* SPDX-License-Identifier: Apache-2.0 */
/* LZ4 blocks and, where the build has it, zstd frames. */
#include "core/codec/compress.h"

#include <assert.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include <lz4.h>
#if SX_HAS_ZSTD
#include <pthread.h>
#include <xxhash.h>
#include <zstd.h>
#endif

enum { PREFIX = 4, ZSTD_LEVEL = 3, SAVES_ONE_IN = 8 };
enum { FRAME_FLAGS_AT = 4, FRAME_HAS_SUM = 4 }; /* RFC 8878, 3.1.1.1.1 */

bool sx_compression_known(uint64_t how) { return how == SX_COMPRESSION_LZ4 || (how == SX_COMPRESSION_ZSTD && SX_HAS_ZSTD); }

#if SX_HAS_ZSTD
/* What zstd works with is large to make: each thread keeps what it has used until it ends. */
typedef struct contexts {
    ZSTD_DCtx *undo;
    ZSTD_CCtx *make; /* only dictionaries need one */
} contexts;

static struct {
    pthread_once_t once;
    pthread_key_t key;
    bool kept;
} own = {.once = PTHREAD_ONCE_INIT};

static void free_contexts(void *kept) {
    contexts *c = kept;
    (void)ZSTD_freeDCtx(c->undo);
    (void)ZSTD_freeCCtx(c->make);
    free(c);
}
static void make_key(void) { own.kept = pthread_key_create(&own.key, free_contexts) == 0; }

/* A library that is unloaded leaves no destructor behind for threads that end later. */
__attribute__((destructor)) static void delete_key(void) {
    if (own.kept) (void)pthread_key_delete(own.key);
}

/* The thread's; NULL when out of memory. */
static contexts *contexts_of_thread(void) {
    (void)pthread_once(&own.once, make_key);
    if (!own.kept) return NULL;
    contexts *c = pthread_getspecific(own.key);
    if (c != NULL || (c = calloc(1, sizeof *c)) == NULL || pthread_setspecific(own.key, c) == 0) return c;
    free(c);
    return NULL;
}

struct sx_dictionary {
    const sx_alloc *alloc;
    ZSTD_CDict *make;
    ZSTD_DDict *undo;
    uint32_t id;
    uint64_t sum; /* of the bytes it is of */
    size_t size;
};

static size_t decompress_zstd(const sx_dictionary *dictionary, void *bytes, size_t size, const void *block, size_t block_size) {
    contexts *c = contexts_of_thread();
    if (c != NULL && c->undo == NULL) c->undo = ZSTD_createDCtx();
    if (c == NULL || c->undo == NULL) return dictionary == NULL ? ZSTD_decompress(bytes, size, block, block_size) : 0;
    if (dictionary == NULL) return ZSTD_decompressDCtx(c->undo, bytes, size, block, block_size);
    /* A dictionary is known by its id, and another one may have that too: only the sum of what was compressed tells. */
    if (block_size <= FRAME_FLAGS_AT || (((const uint8_t *)block)[FRAME_FLAGS_AT] & FRAME_HAS_SUM) == 0) return 0;
    return ZSTD_decompress_usingDDict(c->undo, bytes, size, block, block_size, dictionary->undo);
}

static size_t compress_zstd(const sx_dictionary *dictionary, void *block, size_t room, const void *bytes, size_t size) {
    size_t used;
    if (dictionary == NULL) {
        used = ZSTD_compress(block, room, bytes, size, ZSTD_LEVEL);
    } else {
        contexts *c = contexts_of_thread();
        if (c != NULL && c->make == NULL) c->make = ZSTD_createCCtx();
        if (c == NULL || c->make == NULL) return 0;
        (void)ZSTD_CCtx_reset(c->make, ZSTD_reset_session_and_parameters);
        (void)ZSTD_CCtx_setParameter(c->make, ZSTD_c_checksumFlag, 1); /* without it what comes out can't be read: see above */
        if (ZSTD_isError(ZSTD_CCtx_refCDict(c->make, dictionary->make))) return 0;
        used = ZSTD_compress2(c->make, block, room, bytes, size);
    }
    return ZSTD_isError(used) ? 0 : used;
}
#endif

/* ---- dictionaries ---------------------------------------------------------------------------------------------- */

static int32_t refuse(strata_error *error, int32_t status, const char *text) {
    if (error == NULL) return status;
    error->status = status;
    (void)snprintf(error->text, sizeof error->text, "%s", text);
    return status;
}

int32_t sx_dictionary_create(const sx_alloc *alloc, const void *bytes, size_t size, sx_dictionary **out, strata_error *error) {
#if SX_HAS_ZSTD
    uint32_t id = size > SX_DICTIONARY_BYTES_MAX ? 0 : ZSTD_getDictID_fromDict(bytes, size);
    if (size > SX_DICTIONARY_BYTES_MAX) return refuse(error, STRATA_E_CONFIG, "a dictionary of more than 1 MiB");
    if (id == 0) return refuse(error, STRATA_E_CONFIG, "not a dictionary as 'zstd --train' makes them: it has no id");
    sx_dictionary *dictionary = sx_allocate_zero(alloc, sizeof *dictionary);
    if (dictionary == NULL) return refuse(error, STRATA_E_NOMEM, "out of memory");
    *dictionary = (sx_dictionary){.alloc = alloc, .id = id, .sum = XXH3_64bits(bytes, size), .size = size};
    dictionary->make = ZSTD_createCDict(bytes, size, ZSTD_LEVEL);
    dictionary->undo = ZSTD_createDDict(bytes, size);
    if (dictionary->make != NULL && dictionary->undo != NULL) {
        *out = dictionary;
        return STRATA_OK;
    }
    sx_dictionary_destroy(dictionary);
    return refuse(error, STRATA_E_CONFIG, "a dictionary that is malformed, or out of memory");
#else
    (void)alloc;
    (void)bytes;
    (void)size;
    (void)out;
    return refuse(error, STRATA_E_CONFIG, "this library was built without zstd, and so without dictionaries");
#endif
}

#if SX_HAS_ZSTD
void sx_dictionary_destroy(sx_dictionary *dictionary) {
    if (dictionary == NULL) return;
    (void)ZSTD_freeCDict(dictionary->make);
    (void)ZSTD_freeDDict(dictionary->undo);
    sx_release(dictionary->alloc, dictionary, sizeof *dictionary);
}

uint32_t sx_dictionary_id(const sx_dictionary *dictionary) { return dictionary->id; }

bool sx_dictionary_is_of(const sx_dictionary *dictionary, const void *bytes, size_t size) {
    return dictionary->size == size && dictionary->sum == XXH3_64bits(bytes, size);
}

uint32_t sx_compressed_dictionary(sx_compression how, const void *packed, size_t packed_size) {
    if (how != SX_COMPRESSION_ZSTD || packed_size <= PREFIX) return 0;
    return ZSTD_getDictID_fromFrame((const char *)packed + PREFIX, packed_size - PREFIX);
}
#else /* there are none */
void sx_dictionary_destroy(sx_dictionary *dictionary) { (void)dictionary; }
uint32_t sx_dictionary_id(const sx_dictionary *dictionary) {
    (void)dictionary;
    return 0;
}
bool sx_dictionary_is_of(const sx_dictionary *dictionary, const void *bytes, size_t size) {
    (void)bytes;
    return dictionary != NULL && size == 0;
}
uint32_t sx_compressed_dictionary(sx_compression how, const void *packed, size_t packed_size) {
    (void)packed;
    (void)packed_size;
    (void)how;
    return 0;
}
#endif

/* ---- values ---------------------------------------------------------------------------------------------------- */

/* Writes at most room bytes; 0 where that is too little. */
static size_t compress_block(sx_compression how, const sx_dictionary *dictionary, const void *bytes, size_t size, void *block, size_t room) {
#if SX_HAS_ZSTD
    if (how == SX_COMPRESSION_ZSTD) return compress_zstd(dictionary, block, room, bytes, size);
#endif
    assert(how == SX_COMPRESSION_LZ4);
    (void)how;
    (void)dictionary;
    int used = LZ4_compress_default(bytes, block, (int)size, (int)room);
    return used > 0 ? (size_t)used : 0;
}

bool sx_compress(sx_buf *out, sx_compression how, const void *bytes, size_t size) { return sx_compress_with(out, how, NULL, bytes, size); }

bool sx_compress_with(sx_buf *out, sx_compression how, const sx_dictionary *dictionary, const void *bytes, size_t size) {
    assert(out->size == 0);
    if (!sx_compression_known(how) || size > LZ4_MAX_INPUT_SIZE) return false;
    size_t pays = size - size / SAVES_ONE_IN; /* with the prefix */
    if (pays <= PREFIX || !sx_buf_reserve(out, pays)) return false;
    size_t used = compress_block(how, dictionary, bytes, size, out->data + PREFIX, pays - PREFIX);
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
    return sx_decompress_with(how, NULL, packed, packed_size, bytes, size);
}

bool sx_decompress_with(sx_compression how, const sx_dictionary *dictionary, const void *packed, size_t packed_size, void *bytes, size_t size) {
    assert(packed_size > PREFIX && size == sx_decompressed_size(packed, packed_size));
    if (!sx_compression_known(how) || packed_size > INT_MAX || size > INT_MAX) return false;
    const char *block = (const char *)packed + PREFIX;
    size_t block_size = packed_size - PREFIX;
#if SX_HAS_ZSTD
    if (how == SX_COMPRESSION_ZSTD) return decompress_zstd(dictionary, bytes, size, block, block_size) == size;
#endif
    (void)dictionary;
    return LZ4_decompress_safe(block, bytes, (int)block_size, (int)size) == (int)size;
}
