/* SPDX-License-Identifier: Apache-2.0 */
/* Writing a snapshot: one walk through L1 counts how many entries are how hot, one for each heat writes them, hottest first. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <xxhash.h>

#include "core/flow/warm/warm.h"

#define STEP_GROUPS 16u /* of a walk under one pin: a few hundred entries */
#define NAME "%s.%06u" /* of a file that is being written to be that path's */
#define NAMES_TRIED 1000u

typedef struct writing {
    strata *engine;
    int fd;
    char name[PATH_MAX];       /* while it is written */
    bool named;                /* it has that */
    int failure;               /* errno of the first failure; 0 none */
    sx_buf out;                /* what is not in the file yet */
    sx_snapshot_head head;
    uint64_t entries_max;
    uint32_t heat;             /* that is being written */
    uint32_t namespaces;       /* those that there were at the beginning */
    int64_t now_ns;
    uint64_t counts[SX_L1_HEATS];
} writing;

static bool write_all(writing *w, const uint8_t *bytes, size_t size, off_t at) {
    while (size > 0 && w->failure == 0) {
        ssize_t put = pwrite(w->fd, bytes, size, at);
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) {
            w->failure = errno;
            return false;
        }
        bytes += put;
        at += put;
        size -= (size_t)put;
    }
    return w->failure == 0;
}

/* Whole blocks, and at the end what is left. */
static bool flush(writing *w, bool all) {
    size_t at = 0;
    if (w->out.failed) w->failure = ENOMEM;
    while (w->failure == 0 && (w->out.size - at >= SX_SNAPSHOT_BLOCK || (all && at < w->out.size))) {
        size_t size = w->out.size - at < SX_SNAPSHOT_BLOCK ? w->out.size - at : SX_SNAPSHOT_BLOCK;
        w->head.sum = XXH3_64bits_withSeed(w->out.data + at, size, w->head.sum);
        if (!write_all(w, w->out.data + at, size, (off_t)(SX_SNAPSHOT_HEAD + w->head.bytes))) return false;
        w->head.bytes += size;
        at += size;
    }
    if (w->failure != 0) return false;
    if (at > 0) memmove(w->out.data, w->out.data + at, w->out.size - at);
    w->out.size -= at;
    return true;
}

static void put(writing *w, uint64_t value, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) sx_buf_append_byte(&w->out, (uint8_t)(value >> 8 * i));
}

static bool is_wanted(const writing *w, const sx_item *item) {
    return (item->flags & SX_ITEM_NOTHING) == 0 && item->ns < w->namespaces && w->now_ns < sx_item_fresh_ns(item);
}

static void count(void *context, sx_item *item, uint32_t heat) {
    writing *w = context;
    w->counts[heat] += is_wanted(w, item);
}

static void append(void *context, sx_item *item, uint32_t heat) {
    writing *w = context;
    if (heat != w->heat || !is_wanted(w, item) || w->head.entries == w->entries_max) return;
    put(w, item->ns, 2);
    put(w, item->key_size, 2);
    put(w, item->value_size, 4);
    sx_buf_append(&w->out, sx_item_key(item), item->key_size);
    w->head.entries++;
}

static int32_t walk(writing *w, sx_epoch_record *record, void (*visit)(void *, sx_item *, uint32_t), bool (*stop)(void *),
                    void *context) {
    uint64_t cursor = 0;
    do {
        sx_l1_walk_heats(w->engine->l1, record, &cursor, STEP_GROUPS, visit, w);
        if (!flush(w, false)) return STRATA_E_SYSTEM;
        if (stop != NULL && stop(context)) return STRATA_E_CANCELLED;
    } while (cursor != 0 && w->head.entries < w->entries_max);
    return STRATA_OK;
}

static void put_namespaces(writing *w) {
    strata *engine = w->engine;
    sx_lock_acquire(&engine->lock);
    w->namespaces = engine->namespace_count;
    for (uint32_t i = 0; i < w->namespaces; i++) {
        const strata_namespace *ns = engine->namespaces[i];
        sx_buf_append_byte(&w->out, (uint8_t)ns->name_size);
        sx_buf_append(&w->out, ns->name, ns->name_size);
        put(w, ns->version, 4);
    }
    sx_lock_release(&engine->lock);
    w->head.namespaces = w->namespaces;
}

static int32_t write_body(writing *w, bool (*stop)(void *), void *context) {
    sx_epoch_record *record = NULL;
    int32_t status = sx_epoch_register(w->engine->epoch, &record);
    if (status != STRATA_OK) return status;
    put_namespaces(w);
    status = walk(w, record, count, stop, context);
    for (w->heat = SX_L1_HEATS; w->heat-- > 0 && status == STRATA_OK && w->head.entries < w->entries_max;) {
        if (w->counts[w->heat] != 0) status = walk(w, record, append, stop, context);
    }
    sx_epoch_unregister(record);
    if (status == STRATA_OK && !flush(w, true)) status = STRATA_E_SYSTEM;
    return status;
}

/* ---- the file ---- */

static void folder_of(const char *path, char folder[PATH_MAX]) {
    const char *slash = strrchr(path, '/');
    size_t size = slash == NULL ? 1 : slash == path ? 1 : (size_t)(slash - path);
    memcpy(folder, slash == NULL ? "." : path, size);
    folder[size] = 0;
}

static bool is_named(int fd, const char *name) {
    struct stat here, there;
    return fstat(fd, &here) == 0 && lstat(name, &there) == 0 && here.st_dev == there.st_dev && here.st_ino == there.st_ino;
}

/* A snapshot, or the beginning of one: its head is written last. */
static bool is_snapshot(int fd) {
    static const char unfinished[8];
    char head[8];
    ssize_t size = pread(fd, head, sizeof head, 0);
    return size == 0 || (size == sizeof head && (memcmp(head, SX_SNAPSHOT_MAGIC, sizeof head) == 0 || memcmp(head, unfinished, sizeof head) == 0));
}

/* Its writer was killed: one that lives holds a lock on it. True where the name is free now. */
static bool remove_left(const char *name) {
    struct stat status;
    int fd = open(name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    bool left = fd >= 0 && fstat(fd, &status) == 0 && S_ISREG(status.st_mode) && is_snapshot(fd) && flock(fd, LOCK_EX | LOCK_NB) == 0 &&
                is_named(fd, name) && unlink(name) == 0;
    if (fd >= 0) (void)close(fd);
    return left;
}

/* A name that nobody else writes under, by make, which sets errno to EEXIST where it is taken. */
static bool take_name(writing *w, const char *path, int (*make)(writing *w)) {
    for (unsigned i = 0; i < NAMES_TRIED && !w->named; i++) {
        (void)snprintf(w->name, sizeof w->name, NAME, path, i);
        w->named = make(w) == 0;
        if (w->named || errno != EEXIST) break;
        w->named = remove_left(w->name) && make(w) == 0;
    }
    return w->named;
}

static int make_file(writing *w) {
    w->fd = open(w->name, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, S_IRUSR | S_IWUSR);
    if (w->fd < 0) return -1;
    bool taken = flock(w->fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK; /* where a file system has no locks, there is none to be had */
    if (!taken && is_named(w->fd, w->name)) return 0;
    (void)close(w->fd); /* it was taken for left before it was locked */
    w->fd = -1;
    errno = EEXIST;
    return -1;
}

static int make_link(writing *w) {
    char from[32];
    (void)snprintf(from, sizeof from, "/proc/self/fd/%d", w->fd);
    return linkat(AT_FDCWD, from, AT_FDCWD, w->name, AT_SYMLINK_FOLLOW);
}

/* Without a name until it is complete, so that nothing stays behind where its writer is killed; where the file system has no such files,
   under one from the beginning. For its owner's eyes, as keys may be private. */
static bool create(writing *w, const char *path) {
    char folder[PATH_MAX];
    folder_of(path, folder);
    w->fd = access("/proc/self/fd", X_OK) == 0 ? open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, S_IRUSR | S_IWUSR) : -1;
    if (w->fd < 0) return take_name(w, path, make_file);
    (void)flock(w->fd, LOCK_EX | LOCK_NB);
    return true;
}

/* So that the name, too, outlives a crash of the machine. Where a file system can't, the file is complete all the same. */
static void sync_folder(const char *path) {
    char folder[PATH_MAX];
    folder_of(path, folder);
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return;
    (void)fsync(fd);
    (void)close(fd);
}

static int32_t publish(writing *w, const char *path) {
    uint8_t head[SX_SNAPSHOT_HEAD];
    sx_snapshot_head_encode(&w->head, head);
    if (!write_all(w, head, sizeof head, 0)) return STRATA_E_SYSTEM;
    if (fsync(w->fd) != 0 || (!w->named && !take_name(w, path, make_link)) || rename(w->name, path) != 0) {
        w->failure = errno;
        return STRATA_E_SYSTEM;
    }
    w->named = false;
    sync_folder(path);
    return STRATA_OK;
}

static int32_t refuse(strata_error *error, int32_t status, const char *path, int number) {
    char reason[128];
    if (number == ENOMEM) status = STRATA_E_NOMEM;
    error->status = status;
    (void)snprintf(error->text, sizeof error->text, "%.300s: can't be written: %s", path,
                   number != 0 ? strerror_r(number, reason, sizeof reason) : strata_status_text(status));
    return status;
}

int32_t sx_snapshot_write(strata *engine, const char *path, uint64_t entries_max, bool (*stop)(void *context), void *context,
                          uint64_t *written, strata_error *error) {
    writing w = {.engine = engine, .entries_max = entries_max, .now_ns = sx_engine_now(engine)};
    int size = snprintf(w.name, sizeof w.name, NAME, path, 0u);
    if (size < 0 || (size_t)size >= sizeof w.name) return refuse(error, STRATA_E_SYSTEM, path, ENAMETOOLONG);
    if (!create(&w, path)) return refuse(error, STRATA_E_SYSTEM, path, errno);
    sx_buf_init(&w.out, &engine->alloc);
    int32_t status = write_body(&w, stop, context);
    if (status == STRATA_OK) status = publish(&w, path);
    sx_buf_deinit(&w.out);
    if (status != STRATA_OK && w.named) (void)unlink(w.name); /* while it is locked: the name may be another's then */
    (void)close(w.fd);
    if (status != STRATA_OK) return refuse(error, status, path, w.failure);
    if (written != NULL) *written = w.head.entries;
    return STRATA_OK;
}
