/* SPDX-License-Identifier: Apache-2.0 */
/* The rules by which a read is judged, the plainest first. */
#include "bench/verify.h"

const char *bench_verdict_word(bench_verdict verdict) {
    static const char *const words[] = {
#define WORD(name, word, text) word,
        BENCH_VERDICT_TABLE(WORD)
#undef WORD
    };
    return words[verdict];
}

const char *bench_verdict_text(bench_verdict verdict) {
    static const char *const texts[] = {
#define TEXT(name, word, text) text,
        BENCH_VERDICT_TABLE(TEXT)
#undef TEXT
    };
    return texts[verdict];
}

/* Whether the version found is one that this read may have. */
static bench_verdict judge_version(const bench_database *database, const bench_read *read, uint64_t found) {
    if (found == 0 || found > bench_database_version(database, read->key)) return BENCH_VERDICT_FUTURE;
    if (found < bench_floor_own(read->floor)) return BENCH_VERDICT_OWN_WRITE;
    if (read->declared_stale) return BENCH_VERDICT_GOOD;
    if (database->staleness_max_ns < INT64_MAX) {
        int64_t by_ns = read->began_ns - database->staleness_max_ns;
        if (found < bench_database_acknowledged(database, read->key, by_ns)) return BENCH_VERDICT_STALE;
    }
    return found < bench_floor_seen(read->floor) ? BENCH_VERDICT_WENT_BACK : BENCH_VERDICT_GOOD;
}

uint32_t bench_tags_stamp(const bench_database *database, const uint32_t *rows, uint32_t count) {
    uint32_t sum = 0;
    for (uint32_t i = 0; i < count; i++) sum += bench_database_version(database, rows[i]);
    return sum;
}

/* A tag that was never invalidated is of version 1. */
uint32_t bench_tags_own(const bench_database *database, uint32_t process, const uint32_t *rows, uint32_t count) {
    uint32_t sum = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t own = bench_floor_own(bench_database_floor(database, process, rows[i]));
        sum += own > 1 ? own : 1;
    }
    return sum;
}

static bench_verdict judge_tags(const bench_database *database, const bench_read *read, uint32_t stamp) {
    if (stamp == 0) return BENCH_VERDICT_GOOD;
    if (stamp > bench_tags_stamp(database, read->tag_rows, read->tag_count)) return BENCH_VERDICT_FUTURE;
    if (stamp < read->tag_floor) return BENCH_VERDICT_OUTDATED_TAG;
    if (read->declared_stale || database->staleness_max_ns == INT64_MAX) return BENCH_VERDICT_GOOD;
    uint32_t bound = 0;
    for (uint32_t i = 0; i < read->tag_count; i++) {
        uint32_t version = bench_database_acknowledged(database, read->tag_rows[i], read->began_ns - database->staleness_max_ns);
        bound += version > 1 ? version : 1;
    }
    return stamp < bound ? BENCH_VERDICT_OUTDATED_TAG : BENCH_VERDICT_GOOD;
}

bench_verdict bench_verify_read(bench_database *database, const bench_read *read, bench_size_fn size_of,
                                const void *context, uint32_t *version) {
    bench_value_header header = {0};
    *version = 0;
    switch (bench_value_check(read->bytes, read->size, &header)) {
    case BENCH_VALUE_MALFORMED: return BENCH_VERDICT_MALFORMED;
    case BENCH_VALUE_WRONG_SIZE: return BENCH_VERDICT_WRONG_SIZE;
    case BENCH_VALUE_WRONG_CHECKSUM: return BENCH_VERDICT_WRONG_CHECKSUM;
    case BENCH_VALUE_GOOD: break;
    }
    if (header.key != read->key) return BENCH_VERDICT_WRONG_KEY;
    if (header.version > UINT32_MAX && read->tag_count == 0) return BENCH_VERDICT_FUTURE;
    *version = (uint32_t)header.version;
    if (size_of != NULL && size_of(context, read->key, *version) != read->size)
        return BENCH_VERDICT_WRONG_SIZE;
    bench_verdict verdict = judge_version(database, read, *version);
    if (verdict == BENCH_VERDICT_GOOD) verdict = judge_tags(database, read, (uint32_t)(header.version >> 32));
    if (verdict == BENCH_VERDICT_GOOD && read->cached && !read->declared_stale &&
        *version > bench_floor_seen(read->floor))
        bench_database_saw(database, read->process, read->key, *version);
    return verdict;
}
