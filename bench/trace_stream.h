/* SPDX-License-Identifier: Apache-2.0 */
/* The bytes of a file, decompressed where it is zstd, through one buffer of fixed size. */
#ifndef BENCH_TRACE_STREAM_H
#define BENCH_TRACE_STREAM_H

#include <stddef.h>
#include <stdint.h>

typedef struct bench_stream_bytes bench_stream_bytes;

/* NULL with a text in error. */
bench_stream_bytes *bench_stream_bytes_open(const char *path, char *error, size_t error_size);
/* Shows at least wanted of the next bytes (at most BENCH_STREAM_PEEK_MAX), fewer only at the end. -1 with a text where the file
   can't be read or decompressed, else how many there are. */
#define BENCH_STREAM_PEEK_MAX ((size_t)64 * 1024)
long bench_stream_bytes_peek(bench_stream_bytes *stream, size_t wanted, const uint8_t **out, char *error,
                             size_t error_size);
/* Steps over bytes that peek has shown. */
void bench_stream_bytes_skip(bench_stream_bytes *stream, size_t count);
void bench_stream_bytes_close(bench_stream_bytes *stream);

#endif
