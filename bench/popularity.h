/* SPDX-License-Identifier: Apache-2.0 */
/* Which key is asked for next: uniform, Zipf, a hot part, the newest ones, or by the weights of a file. */
#ifndef BENCH_POPULARITY_H
#define BENCH_POPULARITY_H

#include <stddef.h>
#include <stdint.h>

#include "bench/random.h"
#include "bench/zipf.h"

#define BENCH_POPULARITY_FORM "zipf:THETA|uniform|hotspot:KEYS:REQUESTS|latest:THETA|file:PATH"

typedef enum bench_popularity_kind {
    BENCH_POPULARITY_UNIFORM,
    BENCH_POPULARITY_ZIPF,
    BENCH_POPULARITY_HOTSPOT, /* a part of the keys gets a part of the requests, each part uniform */
    BENCH_POPULARITY_LATEST,  /* Zipf over the keys in the order in which they were set last */
    BENCH_POPULARITY_WEIGHTS  /* of a file, a key a line */
} bench_popularity_kind;

/* Const after create. */
typedef struct bench_popularity {
    bench_popularity_kind kind;
    uint32_t keys;
    bench_zipf zipf;
    bench_permutation scatter;
    uint32_t hot_keys;
    uint64_t hot_below; /* of 64 random bits */
    /* Walker's alias table: column i keeps a draw below share[i], else gives it to other[i]. */
    uint64_t *share;
    uint32_t *other;
    uint32_t *sizes; /* second numbers of the file's lines; NULL where there are none */
} bench_popularity;

/* keys: how many there are; a file brings its own number. 0, or -1 with a text that begins with what. */
int bench_popularity_create(bench_popularity *popularity, const char *what, const char *text, uint32_t keys, uint64_t seed,
                            char *error, size_t error_size);
void bench_popularity_destroy(bench_popularity *popularity);
/* newest: the key that was set last, of which LATEST counts back. */
uint32_t bench_popularity_draw(const bench_popularity *popularity, bench_random *random, uint32_t newest);

#endif
