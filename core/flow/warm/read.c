/* SPDX-License-Identifier: Apache-2.0 */
/* Reading a snapshot: all of it is checked before any of it is used, and nothing of it is held but two blocks. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <xxhash.h>

#include "core/flow/warm/warm.h"

static uint64_t get(const uint8_t *bytes, uint32_t count) {
    uint64_t value = 0;
    for (uint32_t i = count; i-- > 0;) value = value << 8 | bytes[i];
    return value;
}
static void put(uint8_t *bytes, uint64_t value, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) bytes[i] = (uint8_t)(value >> 8 * i);
}

void sx_snapshot_head_encode(const sx_snapshot_head *head, uint8_t out[SX_SNAPSHOT_HEAD]) {
    memset(out, 0, SX_SNAPSHOT_HEAD);
    memcpy(out, SX_SNAPSHOT_MAGIC, 8);
    put(out + 8, SX_SNAPSHOT_FORMAT, 4);
    put(out + 12, head->namespaces, 4);
    put(out + 16, head->entries, 8);
    put(out + 24, head->bytes, 8);
    put(out + 32, head->sum, 8);
    put(out + 56, XXH3_64bits(out, 56), 8);
}

static int32_t refuse(strata_error *error, int32_t status, const char *path, const char *why) {
    error->status = status;
    (void)snprintf(error->text, sizeof error->text, "%.300s: %s", path, why);
    return status;
}

static int32_t refuse_system(strata_error *error, const char *path, int number) {
    char reason[128];
    return refuse(error, number == ENOENT ? STRATA_MISS : STRATA_E_SYSTEM, path, strerror_r(number, reason, sizeof reason));
}

/* Reads exactly so much; false at an end before that. */
static bool read_all(sx_snapshot_reader *reader, uint8_t *out, size_t size) {
    while (size > 0) {
        ssize_t got = read(reader->fd, out, size);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return false;
        out += got;
        size -= (size_t)got;
    }
    return true;
}

static bool rewind_to_body(sx_snapshot_reader *reader) {
    reader->unread = reader->head.bytes;
    reader->left = reader->head.entries;
    reader->at = reader->size = 0;
    reader->sum = 0;
    reader->changed = false;
    return lseek(reader->fd, SX_SNAPSHOT_HEAD, SEEK_SET) == SX_SNAPSHOT_HEAD;
}

/* The next bytes, which stay until the next call; NULL where there are no more so many. At most one block. */
static const uint8_t *take(sx_snapshot_reader *reader, size_t size) {
    if (reader->size - reader->at < size && reader->unread > 0 && !reader->failed) {
        size_t kept = reader->size - reader->at;
        size_t block = reader->unread < SX_SNAPSHOT_BLOCK ? (size_t)reader->unread : SX_SNAPSHOT_BLOCK;
        memmove(reader->bytes, reader->bytes + reader->at, kept);
        reader->at = 0;
        reader->size = kept;
        if (!read_all(reader, reader->bytes + kept, block)) {
            reader->failed = true;
            return NULL;
        }
        reader->sum = XXH3_64bits_withSeed(reader->bytes + kept, block, reader->sum);
        reader->size += block;
        reader->unread -= block;
    }
    if (reader->size - reader->at < size) return NULL;
    reader->at += size;
    return reader->bytes + reader->at - size;
}

bool sx_snapshot_next_name(sx_snapshot_reader *reader, sx_snapshot_name *out) {
    const uint8_t *size = take(reader, 1);
    if (size == NULL || *size == 0 || *size > SX_NAMESPACE_BYTES_MAX) return false;
    out->size = *size;
    const uint8_t *rest = take(reader, out->size + 4);
    if (rest == NULL) return false;
    memcpy(out->text, rest, out->size);
    out->text[out->size] = 0;
    out->version = (uint32_t)get(rest + out->size, 4);
    return true;
}

static bool parse_entry(sx_snapshot_reader *reader, sx_snapshot_entry *out) {
    const uint8_t *fixed = take(reader, 8);
    if (fixed == NULL) return false;
    out->ns = (uint16_t)get(fixed, 2);
    out->key_size = (uint16_t)get(fixed + 2, 2);
    out->value_size = (uint32_t)get(fixed + 4, 4);
    if (out->ns >= reader->head.namespaces || out->key_size == 0 || out->key_size > SX_KEY_BYTES_MAX) return false;
    out->key = take(reader, out->key_size);
    return out->key != NULL;
}

bool sx_snapshot_next_entry(sx_snapshot_reader *reader, sx_snapshot_entry *out) {
    if (reader->left == 0 || reader->changed) return false;
    bool good = parse_entry(reader, out);
    if (good) reader->left--;
    bool ends = reader->left == 0;
    reader->changed = !good || (ends && (reader->unread > 0 || reader->at != reader->size || reader->sum != reader->head.sum));
    return good;
}

/* What the head says of the file; NULL where it is good. */
static const char *check_head(sx_snapshot_reader *reader, uint64_t file_bytes, char *text, size_t text_size) {
    uint8_t head[SX_SNAPSHOT_HEAD];
    if (file_bytes < sizeof head) return "not a snapshot: shorter than a snapshot's head";
    if (!read_all(reader, head, sizeof head)) return "can't be read to its end";
    if (memcmp(head, SX_SNAPSHOT_MAGIC, 8) != 0) return "not a snapshot: it does not begin with " SX_SNAPSHOT_MAGIC;
    if (get(head + 56, 8) != XXH3_64bits(head, 56)) return "the snapshot's head was changed: its checksum is wrong";
    if (get(head + 8, 4) != SX_SNAPSHOT_FORMAT) {
        (void)snprintf(text, text_size, "a snapshot of format %u, and this version reads format %u", (unsigned)get(head + 8, 4),
                       SX_SNAPSHOT_FORMAT);
        return text;
    }
    reader->head = (sx_snapshot_head){(uint32_t)get(head + 12, 4), get(head + 16, 8), get(head + 24, 8), get(head + 32, 8)};
    if (reader->head.bytes != file_bytes - sizeof head) return "the snapshot is cut short, or something was appended to it";
    if (reader->head.namespaces > SX_NAMESPACES_MAX) return "the snapshot names more namespaces than there may be";
    return NULL;
}

static const char *check_body(sx_snapshot_reader *reader) {
    sx_snapshot_name name;
    sx_snapshot_entry entry;
    bool good = true;
    for (uint32_t i = 0; i < reader->head.namespaces && good; i++) good = sx_snapshot_next_name(reader, &name);
    while (good && reader->left > 0) good = sx_snapshot_next_entry(reader, &entry);
    if (reader->failed) return "can't be read to its end";
    if (!good || reader->unread > 0 || reader->at != reader->size) return "the snapshot is malformed";
    return reader->sum == reader->head.sum ? NULL : "the snapshot was changed: its checksum is wrong";
}

int32_t sx_snapshot_open(sx_snapshot_reader *reader, const char *path, strata_error *error) {
    struct stat facts;
    char text[96];
    memset(reader, 0, sizeof *reader);
    reader->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe must not hold us up: it is refused below */
    if (reader->fd < 0) return refuse_system(error, path, errno);
    const char *wrong = NULL;
    if (fstat(reader->fd, &facts) != 0 || !S_ISREG(facts.st_mode)) wrong = "not a snapshot: not a file";
    if (wrong == NULL) wrong = check_head(reader, (uint64_t)facts.st_size, text, sizeof text);
    if (wrong == NULL && !rewind_to_body(reader)) wrong = "can't be read to its end";
    if (wrong == NULL) wrong = check_body(reader);
    if (wrong == NULL && !rewind_to_body(reader)) wrong = "can't be read to its end";
    if (wrong == NULL) return STRATA_OK;
    sx_snapshot_close(reader);
    return refuse(error, STRATA_E_CORRUPT, path, wrong);
}

void sx_snapshot_close(sx_snapshot_reader *reader) {
    if (reader->fd >= 0) (void)close(reader->fd);
    reader->fd = -1;
}
