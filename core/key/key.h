/* SPDX-License-Identifier: Apache-2.0 */
/* From a key to its partition, slot and names in Redis: the same in every process, forever. */
#ifndef SX_CORE_KEY_KEY_H
#define SX_CORE_KEY_KEY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/memory/buf.h"

#define SX_KEY_BYTES_MAX 4096
#define SX_NAMESPACE_BYTES_MAX 64
#define SX_PARTITIONS_MAX 4096
#define SX_SLOTS 16384
#define SX_WIRE_VERSION 1
#define SX_TAG_BYTES_MAX 8

/* Whether it may be a namespace's: 1 .. SX_NAMESPACE_BYTES_MAX of [A-Za-z0-9_.-]. */
bool sx_key_namespace_is_good(const char *name, size_t size);

/* XXH3-64 with the default seed, mod partitions (a power of two). */
uint32_t sx_key_partition(const void *key, size_t size, uint32_t partitions);

/* CRC16 (XMODEM) of the name's hash tag, or of all of it, mod 16384: Redis Cluster's rule. */
uint32_t sx_key_slot(const void *name, size_t size);

/* The hash tags of all partitions: tag i's slot lies in [i*16384/P, (i+1)*16384/P). The tag of a partition is the
   first in the fixed order of candidates ("0", "1", ... in base 36, shortest first) that falls into its range and so
   never changes. const after create. */
typedef struct sx_key_tags {
    const sx_alloc *alloc;
    uint32_t partitions;
    struct sx_key_tag {
        char text[SX_TAG_BYTES_MAX]; /* zero-terminated */
        uint16_t slot;
        uint8_t size;
    } *tags;
} sx_key_tags;

int32_t sx_key_tags_create(const sx_alloc *alloc, uint32_t partitions, sx_key_tags **out);
void sx_key_tags_destroy(sx_key_tags *tags);

/* Names, appended to buf: value "{tag}s1:<ns>:<version>:<key>", counter "{tag}s1:n", channel "{tag}s1:c". */
void sx_key_name_value(sx_buf *buf, const sx_key_tags *tags, uint32_t partition, const char *ns, size_t ns_size,
                       uint32_t version, const void *key, size_t key_size);
void sx_key_name_counter(sx_buf *buf, const sx_key_tags *tags, uint32_t partition);
void sx_key_name_channel(sx_buf *buf, const sx_key_tags *tags, uint32_t partition);
/* Who refreshes a value: "{tag}s1:+<ns>:<version>:<key>"; no namespace begins with '+'. */
void sx_key_name_refresh(sx_buf *buf, const sx_key_tags *tags, uint32_t partition, const char *ns, size_t ns_size,
                         uint32_t version, const void *key, size_t key_size);
/* A number that is counted: "{tag}s1:=<ns>:<version>:<key>"; no namespace begins with '='. */
void sx_key_name_count(sx_buf *buf, const sx_key_tags *tags, uint32_t partition, const char *ns, size_t ns_size,
                       uint32_t version, const void *key, size_t key_size);
/* A lock of the program: "{tag}s1:!<ns>:<version>:<name>"; no namespace begins with '!'. */
void sx_key_name_lock(sx_buf *buf, const sx_key_tags *tags, uint32_t partition, const char *ns, size_t ns_size,
                      uint32_t version, const void *name, size_t name_size);
/* A tag's marker: "{tag}s1:#<tag>", in the partition of the tag's own bytes. */
void sx_key_name_marker(sx_buf *buf, const sx_key_tags *tags, uint32_t partition, const void *tag, size_t tag_size);
#define SX_KEY_NAME_LAYOUT "s1:layout"

/* L1's own hash, keyed by a random secret of the process so that keys can't be crafted against it. */
typedef struct sx_key_secret {
    uint8_t bytes[192];
} sx_key_secret;
int32_t sx_key_secret_init(sx_key_secret *secret); /* from the kernel's random source */
uint64_t sx_key_hash(const sx_key_secret *secret, uint16_t ns, const void *key, size_t size);

/* Random 64-bit identities for versions and tokens; never 0. Own state, seeded from the kernel; any thread may own one. */
typedef struct sx_key_random {
    uint64_t state[4];
} sx_key_random;
int32_t sx_key_random_init(sx_key_random *random);
uint64_t sx_key_random_next(sx_key_random *random);

#endif
