/* SPDX-License-Identifier: Apache-2.0 */
/* Buffered reading of plain files and zstd streams, with truncation told from a proper end. */
#include "bench/trace_stream.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#define INPUT_BYTES  ((size_t)128 * 1024)
#define OUTPUT_BYTES ((size_t)256 * 1024)

struct bench_stream_bytes {
    FILE *file;
    ZSTD_DStream *zstd; /* NULL for a plain file */
    size_t frame_open;  /* what zstd last said: 0 between frames */
    ZSTD_inBuffer input;
    size_t begin, end; /* unread part of output */
    int at_end;
    int output_was_full; /* zstd may hold more without further input */
    uint8_t input_bytes[INPUT_BYTES];
    uint8_t output[OUTPUT_BYTES];
};

static int is_zstd(const uint8_t *bytes, size_t size) {
    static const uint8_t magic[4] = {0x28, 0xb5, 0x2f, 0xfd};
    return size >= 4 && memcmp(bytes, magic, 4) == 0;
}

static int name_says_zstd(const char *path) {
    size_t size = strlen(path);
    return size > 4 && strcmp(path + size - 4, ".zst") == 0;
}

bench_stream_bytes *bench_stream_bytes_open(const char *path, char *error, size_t error_size) {
    bench_stream_bytes *stream = calloc(1, sizeof *stream);
    if (stream == NULL) {
        snprintf(error, error_size, "%s: out of memory", path);
        return NULL;
    }
    stream->file = fopen(path, "rb");
    if (stream->file == NULL) {
        snprintf(error, error_size, "%s: can't be opened: %s", path, strerror(errno));
        goto failed;
    }
    size_t size = fread(stream->input_bytes, 1, INPUT_BYTES, stream->file);
    if (ferror(stream->file)) {
        snprintf(error, error_size, "%s: can't be read: %s", path, strerror(errno));
        goto failed;
    }
    stream->input = (ZSTD_inBuffer){stream->input_bytes, size, 0};
    if (is_zstd(stream->input_bytes, size)) {
        stream->zstd = ZSTD_createDStream();
        if (stream->zstd == NULL) {
            snprintf(error, error_size, "%s: out of memory", path);
            goto failed;
        }
    } else if (name_says_zstd(path) && size > 0) {
        snprintf(error, error_size, "%s: the name ends in .zst, but the content is not zstd", path);
        goto failed;
    }
    return stream;
failed:
    bench_stream_bytes_close(stream);
    return NULL;
}

/* Adds to output; 0, or -1 with a text. */
static int fill(bench_stream_bytes *stream, char *error, size_t error_size) {
    if (stream->begin > 0) {
        memmove(stream->output, stream->output + stream->begin, stream->end - stream->begin);
        stream->end -= stream->begin;
        stream->begin = 0;
    }
    if (stream->input.pos == stream->input.size && !stream->output_was_full) {
        size_t size = fread(stream->input_bytes, 1, INPUT_BYTES, stream->file);
        if (ferror(stream->file)) {
            snprintf(error, error_size, "can't be read: %s", strerror(errno));
            return -1;
        }
        stream->input = (ZSTD_inBuffer){stream->input_bytes, size, 0};
        if (size == 0 && stream->zstd != NULL && stream->frame_open != 0) {
            snprintf(error, error_size, "the compressed data ends in the middle");
            return -1;
        }
        if (size == 0) stream->at_end = 1;
    }
    if (stream->zstd == NULL) {
        size_t left = stream->input.size - stream->input.pos, room = OUTPUT_BYTES - stream->end;
        size_t count = left < room ? left : room;
        memcpy(stream->output + stream->end, stream->input_bytes + stream->input.pos, count);
        stream->input.pos += count;
        stream->end += count;
    } else if (!stream->at_end) {
        ZSTD_outBuffer output = {stream->output, OUTPUT_BYTES, stream->end};
        size_t said = ZSTD_decompressStream(stream->zstd, &output, &stream->input);
        if (ZSTD_isError(said)) {
            snprintf(error, error_size, "the compressed data is damaged: %s", ZSTD_getErrorName(said));
            return -1;
        }
        stream->frame_open = said;
        stream->output_was_full = output.pos == OUTPUT_BYTES;
        stream->end = output.pos;
    }
    return 0;
}

long bench_stream_bytes_peek(bench_stream_bytes *stream, size_t wanted, const uint8_t **out, char *error,
                             size_t error_size) {
    while (stream->end - stream->begin < wanted && !stream->at_end)
        if (fill(stream, error, error_size) != 0) return -1;
    *out = stream->output + stream->begin;
    return (long)(stream->end - stream->begin);
}

void bench_stream_bytes_skip(bench_stream_bytes *stream, size_t count) {
    stream->begin += count;
}

void bench_stream_bytes_close(bench_stream_bytes *stream) {
    if (stream == NULL) return;
    if (stream->file != NULL) fclose(stream->file);
    ZSTD_freeDStream(stream->zstd);
    free(stream);
}
