/* SPDX-License-Identifier: Apache-2.0 */
/* The referee: judges every value that was read by its bytes and by what had been promised when the read began. */
#ifndef BENCH_VERIFY_H
#define BENCH_VERIFY_H

#include <stdint.h>

#include "bench/database.h"
#include "bench/value.h"

/* X(NAME, word for tables and JSON, what it means) */
#define BENCH_VERDICT_TABLE(X)                                                                               \
    X(GOOD, "good", "the read is what was promised")                                                         \
    X(MALFORMED, "malformed", "not a value of this benchmark")                                               \
    X(WRONG_KEY, "wrong_key", "another key's value")                                                         \
    X(WRONG_SIZE, "wrong_size", "not as long as it was written")                                             \
    X(WRONG_CHECKSUM, "wrong_checksum", "changed bytes")                                                     \
    X(FUTURE, "future", "a version that nobody wrote")                                                       \
    X(STALE, "stale", "older than a write acknowledged more than the staleness bound before the read began") \
    X(OWN_WRITE, "own_write", "older than a write this process had completed before the read began")         \
    X(WENT_BACK, "went_back", "older than what this process had read before")                                \
    X(OUTDATED_TAG, "outdated_tag", "loaded before a tag of it was invalidated, by us or longer ago than the bound") \
    X(ABSENT, "absent", "a miss, though the loader always has a value")

typedef enum bench_verdict {
#define BENCH_VERDICT_ENUM_(name, word, text) BENCH_VERDICT_##name,
    BENCH_VERDICT_TABLE(BENCH_VERDICT_ENUM_)
#undef BENCH_VERDICT_ENUM_
        BENCH_VERDICT_COUNT
} bench_verdict;

const char *bench_verdict_word(bench_verdict verdict);
const char *bench_verdict_text(bench_verdict verdict);

/* One read, as it was asked and answered. */
typedef struct bench_read {
    uint32_t process;
    uint32_t key;
    int64_t began_ns; /* before the call */
    uint64_t floor;   /* bench_database_floor, before the call */
    const void *bytes;
    size_t size;
    bool declared_stale; /* the result said that it may be older: only this process's own writes bind it */
    /* A loader's value that a write overtook goes to its waiters and into no cache. It may be newer than what the caches hold,
       because the database is written first; so it does not oblige later reads. */
    bool cached;
    const uint32_t *tag_rows; /* rows of the key's tags; the value's version holds their stamp in its upper half, 0 for none */
    uint32_t tag_count;
    uint32_t tag_floor; /* bench_tags_own before the call */
} bench_read;

/* A stamp is the sum of the tags' versions. Versions only grow: a value whose stamp is below the sum of versions that bind a read
   has at least one tag that is older than it may be. (One that is ahead may hide one that is behind, so not all are found.) */
uint32_t bench_tags_stamp(const bench_database *database, const uint32_t *rows, uint32_t count);
/* What this process itself has invalidated. */
uint32_t bench_tags_own(const bench_database *database, uint32_t process, const uint32_t *rows, uint32_t count);

/* How long a key's value of some version is; NULL where the header's word is enough. */
typedef uint32_t (*bench_size_fn)(const void *context, uint32_t key, uint32_t version);

/* Judges; notes a good read in the process's floor. version receives what was found, 0 where unreadable. */
bench_verdict bench_verify_read(bench_database *database, const bench_read *read, bench_size_fn size_of,
                                const void *context, uint32_t *version);

#endif
