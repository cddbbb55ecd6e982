/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of warming share: snapshots as files, read and written, and the thread that writes them. Private to core/flow. */
#ifndef SX_CORE_FLOW_WARM_WARM_H
#define SX_CORE_FLOW_WARM_WARM_H

#include <stdbool.h>
#include <stdint.h>

#include "core/flow/engine.h"

extern const sx_option_table sx_warm_options;

/* A snapshot, all numbers little-endian: a head of 64 bytes, namespaces, entries, hottest first.

     head       "STRATAHS", u32 format, u32 namespaces, u64 entries, u64 bytes of the rest, u64 sum of the rest, zeros, and in the
                last eight bytes the XXH3-64 of the 56 before
     namespace  u8 size, name, u32 version
     entry      u16 namespace, u16 size of the key, u32 size of its value, key

   The sum is XXH3-64 over blocks of SX_SNAPSHOT_BLOCK bytes, the last one shorter, each seeded with the one before, the first
   with 0. The head is written last. */
#define SX_SNAPSHOT_MAGIC  "STRATAHS"
#define SX_SNAPSHOT_FORMAT 1u
#define SX_SNAPSHOT_HEAD   64u
#define SX_SNAPSHOT_BLOCK  65536u

typedef struct sx_snapshot_head {
    uint32_t namespaces;
    uint64_t entries, bytes, sum;
} sx_snapshot_head;
void sx_snapshot_head_encode(const sx_snapshot_head *head, uint8_t out[SX_SNAPSHOT_HEAD]);

/* Reads one, a block at a time; owner: one thread. */
typedef struct sx_snapshot_reader {
    int fd;
    sx_snapshot_head head;
    uint64_t unread;  /* bytes of the file behind the buffer */
    uint64_t sum;     /* of the blocks read so far */
    uint64_t left;    /* entries not given yet */
    size_t at, size;  /* in the buffer */
    bool failed;      /* the file can't be read, or ends where it should not */
    bool changed;     /* what was read is not what was checked: known at the end, or where it makes no sense */
    uint8_t bytes[2 * SX_SNAPSHOT_BLOCK];
} sx_snapshot_reader;

typedef struct sx_snapshot_name {
    char text[SX_NAMESPACE_BYTES_MAX + 1];
    uint32_t size, version;
} sx_snapshot_name;

typedef struct sx_snapshot_entry {
    uint16_t ns;
    uint16_t key_size;
    uint32_t value_size;
    const uint8_t *key; /* until the next is read */
} sx_snapshot_entry;

/* Opens path and checks all of it. STRATA_OK: what follows can only fail by the file system, or because
   somebody writes into the file meanwhile. STRATA_MISS: there is no such file.
   STRATA_E_SYSTEM; STRATA_E_CORRUPT. error says why; never NULL. */
int32_t sx_snapshot_open(sx_snapshot_reader *reader, const char *path, strata_error *error);
void sx_snapshot_close(sx_snapshot_reader *reader);
/* As many as head.namespaces, then entries until false: at the end, or where it failed. */
bool sx_snapshot_next_name(sx_snapshot_reader *reader, sx_snapshot_name *out);
bool sx_snapshot_next_entry(sx_snapshot_reader *reader, sx_snapshot_entry *out);

/* Writes the hottest entries_max of L1 to path. stop, where not NULL, is asked now and then whether to give up
   (STRATA_E_CANCELLED). error: never NULL. */
int32_t sx_snapshot_write(strata *engine, const char *path, uint64_t entries_max, bool (*stop)(void *context), void *context,
                          uint64_t *written, strata_error *error);

/* The engine's own thread that writes them, where there is a path. */
int32_t sx_snapshots_start(strata *engine);
void sx_snapshots_stop(strata *engine);

#endif
