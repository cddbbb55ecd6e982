/* SPDX-License-Identifier: Apache-2.0 */
/* The "database" behind the cache: one row per key in memory that all processes share, with what is needed to judge a read.

   A row's version is the truth. A writer of a key holds the row's lock from before it raises the version until the cache
   answered; then, if the cache said OK, it acknowledges the version with the time. Three acknowledgements are kept: the latest;
   a middle one, which stays until it is older than the staleness bound; and the one that was the middle before, whose age is
   between one and two bounds where a key is written all the time. So a read of a busy key is judged too. */
#ifndef BENCH_DATABASE_H
#define BENCH_DATABASE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct bench_row {
    _Atomic uint32_t locked;   /* 1 + the process of the writer that has the row; 0: nobody */
    _Atomic uint32_t sequence; /* odd while the acknowledgements change; a seqlock */
    _Atomic uint32_t version;  /* starts at 1; lock: row; read by anyone */
    _Atomic uint32_t latest_version, middle_version, settled_version; /* 0: none yet */
    _Atomic int64_t latest_ns, middle_ns, settled_ns;
} bench_row;

/* What one process has done and seen of a key: floors below which it must never read. Both in one word: seen << 32 | own. */
typedef _Atomic uint64_t bench_floor;

typedef struct bench_database {
    bench_row *rows;     /* count, shared */
    bench_floor *floors; /* processes x count, shared */
    uint32_t count;
    uint32_t processes;
    int64_t staleness_max_ns; /* INT64_MAX where processes need not agree */
    size_t mapped_bytes;
} bench_database;

/* Memory shared with processes that are forked later. NULL when out of memory. */
void *bench_shared_allocate(size_t size);
void bench_shared_release(void *memory, size_t size);

/* 0 or -1. Before fork. */
int bench_database_create(bench_database *database, uint32_t count, uint32_t processes,
                          int64_t staleness_max_ns);
void bench_database_destroy(bench_database *database);

uint32_t bench_database_version(const bench_database *database, uint32_t key);
/* Takes the key's writer lock without waiting and raises its version; 0 where another writer has it, else the new version. */
uint32_t bench_database_write_begin(bench_database *database, uint32_t process, uint32_t key);
/* Ends the write; acknowledged: the cache said that everybody will see it. */
void bench_database_write_end(bench_database *database, uint32_t process, uint32_t key, uint32_t version,
                              bool acknowledged, int64_t now_ns);
/* After a process was killed, before another takes its place: its locks are free, and nothing binds its successor's reads. */
void bench_database_forget_process(bench_database *database, uint32_t process);
/* The newest version known to have been acknowledged at or before a time; 0 for none. */
uint32_t bench_database_acknowledged(const bench_database *database, uint32_t key, int64_t by_ns);

/* When a version newer than this one was first known to be acknowledged; 0 where none was. */
int64_t bench_database_overtaken_ns(const bench_database *database, uint32_t key, uint32_t version);

static inline uint32_t bench_floor_own(uint64_t word) {
    return (uint32_t)word;
}
static inline uint32_t bench_floor_seen(uint64_t word) {
    return (uint32_t)(word >> 32);
}
/* To be taken before a read begins. */
uint64_t bench_database_floor(const bench_database *database, uint32_t process, uint32_t key);
/* After a read that was good: the process has seen this version. */
void bench_database_saw(bench_database *database, uint32_t process, uint32_t key, uint32_t version);

#endif
