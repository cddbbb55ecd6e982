/* SPDX-License-Identifier: Apache-2.0 */
/* Snapshots of the hot set as files: what is written is read, hottest first; what was changed in any way is refused, with its
   reason, and nothing of it is used. */
#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <pthread.h>
#include <xxhash.h>

#include "core/flow/engine.h"
#include "core/flow/warm/warm.h"
#include "tests/support/engine.h"

static char folder[] = "/tmp/strata-snapshot-XXXXXX";
static char path[64];

static int setup(void **state) {
    (void)state;
    if (mkdtemp(folder) == NULL) return -1;
    snprintf(path, sizeof path, "%s/hot", folder);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    (void)unlink(path);
    return rmdir(folder); /* which fails where something else was left there */
}

typedef struct side {
    strata *engine;
    strata_namespace *ns;
    strata_session *session;
} side;

static side open_side(const char *policy, const char *bytes) {
    side s = {.engine = test_engine_open(TEST_OPTIONS("l2.mode", "none", "l1.policy", policy, "l1.bytes", bytes), NULL)};
    s.ns = test_engine_ns(s.engine, "users");
    s.session = test_engine_session(s.engine);
    return s;
}

static void close_side(side *s) {
    strata_session_close(s->session);
    assert_int_equal(strata_close(s->engine, 1000), STRATA_OK);
}

static void set_many(side *s, int count) {
    char key[32];
    for (int i = 0; i < count; i++) {
        snprintf(key, sizeof key, "key:%d", i);
        assert_int_equal(test_set(s->session, s->ns, key, "value"), STRATA_OK);
    }
}

static uint64_t write_file(side *s, uint64_t most) {
    uint64_t written = 0;
    strata_error error = {0};
    if (strata_snapshot_write(s->engine, path, most, &written, &error) != STRATA_OK) fail_msg("%s", error.text);
    return written;
}

/* ---- what is written ---- */

static void what_is_written_is_read(void **state) {
    (void)state;
    enum { KEYS = 20000 };
    side s = open_side("s3fifo", "64MiB");
    set_many(&s, KEYS);
    strata_namespace *other = test_engine_ns(s.engine, "orders");
    assert_int_equal(test_set(s.session, other, "one", "value"), STRATA_OK);
    assert_int_equal(write_file(&s, 0), KEYS + 1);
    static sx_snapshot_reader reader;
    static char seen[KEYS];
    strata_error error = {0};
    sx_snapshot_name name;
    sx_snapshot_entry entry;
    assert_int_equal(sx_snapshot_open(&reader, path, &error), STRATA_OK);
    assert_int_equal(reader.head.namespaces, 2);
    assert_true(sx_snapshot_next_name(&reader, &name));
    assert_string_equal(name.text, "users");
    assert_int_equal(name.version, 1);
    assert_true(sx_snapshot_next_name(&reader, &name));
    assert_string_equal(name.text, "orders");
    int count = 0, orders = 0;
    while (sx_snapshot_next_entry(&reader, &entry)) {
        assert_int_equal(entry.value_size, 5);
        if (entry.ns == 1) {
            orders++;
            continue;
        }
        char key[32] = "";
        memcpy(key, entry.key, entry.key_size);
        seen[atoi(key + 4)]++;
        count++;
    }
    assert_int_equal(count, KEYS);
    assert_int_equal(orders, 1);
    for (int i = 0; i < KEYS; i++) assert_int_equal(seen[i], 1);
    sx_snapshot_close(&reader);
    struct stat facts;
    assert_int_equal(stat(path, &facts), 0);
    assert_int_equal(facts.st_mode & 0777, 0600);
    assert_int_equal(test_metric(s.engine, "warm.snapshots"), 1);
    assert_int_equal(test_metric(s.engine, "warm.snapshot_entries"), KEYS + 1);
    close_side(&s);
}

/* Of 20000 keys each hundredth is read again and again: these are what a snapshot of so many holds. */
static void the_hottest_come_first(void **state) {
    (void)state;
    enum { KEYS = 20000, STEP = 100, HOT = KEYS / STEP };
    static const char *const policies[] = {"s3fifo", "lru", "clock", "adaptive"};
    for (size_t p = 0; p < sizeof policies / sizeof *policies; p++) {
        side s = open_side(policies[p], "64MiB");
        char key[32];
        set_many(&s, KEYS);
        for (int i = 0; i < KEYS; i += STEP) {
            snprintf(key, sizeof key, "key:%d", i);
            assert_non_null(test_peek(s.session, s.ns, key));
        }
        assert_int_equal(write_file(&s, HOT), HOT);
        static sx_snapshot_reader reader;
        strata_error error = {0};
        sx_snapshot_name name;
        sx_snapshot_entry entry;
        assert_int_equal(sx_snapshot_open(&reader, path, &error), STRATA_OK);
        assert_true(sx_snapshot_next_name(&reader, &name));
        int hot = 0;
        while (sx_snapshot_next_entry(&reader, &entry)) {
            char text[32] = "";
            memcpy(text, entry.key, entry.key_size);
            hot += atoi(text + 4) % STEP == 0;
        }
        sx_snapshot_close(&reader);
        if (hot < HOT * 95 / 100) fail_msg("%s: %d of %d are hot", policies[p], hot, HOT);
        close_side(&s);
    }
}

/* How many names are in the folder. */
static int names_in_folder(void) {
    int count = 0;
    DIR *listing = opendir(folder);
    assert_non_null(listing);
    for (const struct dirent *entry; (entry = readdir(listing)) != NULL;) count += entry->d_name[0] != '.';
    closedir(listing);
    return count;
}

typedef struct watcher {
    int looks, names;
} watcher;

static bool look(void *context) {
    watcher *w = context;
    w->looks++;
    w->names += names_in_folder();
    return false;
}

/* Who is killed while he writes leaves no file behind, where the file system knows of files without a name. */
static void what_is_being_written_has_no_name(void **state) {
    (void)state;
    (void)unlink(path);
    int nameless = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (nameless < 0) skip();
    close(nameless);
    side s = open_side("s3fifo", "64MiB");
    set_many(&s, 5000);
    watcher w = {0};
    strata_error error = {0};
    assert_int_equal(sx_snapshot_write(s.engine, path, UINT64_MAX, look, &w, NULL, &error), STRATA_OK);
    assert_in_range(w.looks, 2, 1000000);
    assert_int_equal(w.names, 0);
    assert_int_equal(names_in_folder(), 1);
    /* A name that such a writer has for a moment is left alone; one whose writer was killed is removed. */
    char taken[80];
    snprintf(taken, sizeof taken, "%s.000000", path);
    int other = open(taken, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
    assert_int_equal(flock(other, LOCK_EX), 0);
    assert_int_equal(sx_snapshot_write(s.engine, path, UINT64_MAX, NULL, NULL, NULL, &error), STRATA_OK);
    assert_int_equal(names_in_folder(), 2);
    assert_int_equal(write(other, SX_SNAPSHOT_MAGIC, 8), 8);
    close(other);
    assert_int_equal(sx_snapshot_write(s.engine, path, UINT64_MAX, NULL, NULL, NULL, &error), STRATA_OK);
    assert_int_equal(names_in_folder(), 1);
    /* What is no file of ours is not. */
    other = open(taken, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
    assert_int_equal(write(other, "somebody's own", 14), 14);
    close(other);
    assert_int_equal(sx_snapshot_write(s.engine, path, UINT64_MAX, NULL, NULL, NULL, &error), STRATA_OK);
    assert_int_equal(names_in_folder(), 2);
    assert_int_equal(unlink(taken), 0);
    assert_int_equal(mkfifo(taken, 0600), 0);
    assert_int_equal(sx_snapshot_write(s.engine, path, UINT64_MAX, NULL, NULL, NULL, &error), STRATA_OK);
    assert_int_equal(names_in_folder(), 2);
    assert_int_equal(unlink(taken), 0);
    close_side(&s);
}

static void expired_entries_and_absences_are_not_named(void **state) {
    (void)state;
    side s = open_side("s3fifo", "8MiB");
    strata_op_options brief = {.struct_size = sizeof brief, .ttl_ms = 1};
    strata_namespace_policy policy = {.struct_size = sizeof policy, .ttl_jitter_percent = STRATA_NO_JITTER};
    assert_int_equal(strata_namespace_policy_set(s.ns, &policy, NULL), STRATA_OK);
    assert_int_equal(test_set(s.session, s.ns, "stays", "v"), STRATA_OK);
    assert_int_equal(strata_set_wait(s.session, s.ns, test_bytes("goes"), test_bytes("v"), &brief, NULL), STRATA_OK);
    test_sleep_ms(5);
    assert_int_equal(write_file(&s, 0), 1);
    close_side(&s);
}

static void a_path_that_cant_be_written_is_told(void **state) {
    (void)state;
    side s = open_side("s3fifo", "8MiB");
    strata_error error = {0};
    assert_int_equal(strata_snapshot_write(s.engine, "/nowhere/at/all", 0, NULL, &error), STRATA_E_SYSTEM);
    assert_non_null(strstr(error.text, "/nowhere/at/all"));
    assert_int_equal(strata_snapshot_write(s.engine, NULL, 0, NULL, &error), STRATA_E_INVALID);
    (void)unlink(path);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(strata_snapshot_write(s.engine, path, 0, NULL, &error), STRATA_E_SYSTEM);
    assert_int_equal(rmdir(path), 0); /* a folder stays one */
    assert_int_equal(rmdir(folder), 0); /* and nothing is left beside it */
    assert_int_equal(mkdir(folder, 0700), 0);
    assert_int_equal(test_metric(s.engine, "warm.snapshot_failures"), 2);
    close_side(&s);
}

/* An engine with a path writes by itself; one that has nothing in L1 leaves what is there alone. */
static void snapshots_are_written_by_themselves(void **state) {
    (void)state;
    (void)unlink(path);
    const char *const *pairs = TEST_OPTIONS("l2.mode", "none", "warm.snapshot_path", path, "warm.snapshot_every", "100ms");
    side s = {.engine = test_engine_open(pairs, NULL)};
    s.ns = test_engine_ns(s.engine, "users");
    s.session = test_engine_session(s.engine);
    test_sleep_ms(300);
    assert_int_equal(access(path, F_OK), -1);
    set_many(&s, 10);
    assert_true(test_metric_wait(s.engine, "warm.snapshots", 1, 30000));
    assert_true(test_metric_wait(s.engine, "warm.snapshot_entries", 10, 30000));
    close_side(&s);
    assert_int_equal(access(path, F_OK), 0);
}

static side open_writing(const char *every) {
    side s = {.engine = test_engine_open(TEST_OPTIONS("l2.mode", "none", "warm.snapshot_path", path, "warm.snapshot_every", every), NULL)};
    s.ns = test_engine_ns(s.engine, "users");
    s.session = test_engine_session(s.engine);
    return s;
}

/* A process with little to tell leaves what the one before it wrote, until it has used that, has about as much, or ran for long. */
static void a_handful_does_not_replace_what_was_hot(void **state) {
    (void)state;
    enum { KEYS = 2000 };
    for (int how = 0; how < 3; how++) {
        (void)unlink(path);
        side before = open_side("s3fifo", "8MiB");
        set_many(&before, KEYS);
        assert_int_equal(write_file(&before, 0), KEYS);
        close_side(&before);
        side s = open_writing(how == 2 ? "100ms" : "500ms");
        set_many(&s, 10);
        if (how < 2) {
            test_sleep_ms(1200);
            assert_int_equal(test_metric(s.engine, "warm.snapshots"), 0);
        }
        if (how == 0) set_many(&s, KEYS / 2);
        if (how == 1) {
            strata_warm *warm;
            assert_int_equal(strata_warm_snapshot(s.engine, NULL, NULL, &warm, NULL), STRATA_OK);
            assert_int_equal(strata_warm_wait(warm, 10000, NULL), STRATA_OK);
            strata_warm_close(warm);
        }
        assert_true(test_metric_wait(s.engine, "warm.snapshots", 1, how == 2 ? 20000 : 3000));
        close_side(&s);
    }
}

/* ---- what is refused ---- */

static uint8_t *load(size_t *size) {
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    static uint8_t bytes[1 << 20];
    *size = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    return bytes;
}

static void store(const uint8_t *bytes, size_t size) {
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    fclose(file);
}

static void refused(int32_t status, const char *word) {
    static sx_snapshot_reader reader;
    strata_error error = {0};
    assert_int_equal(sx_snapshot_open(&reader, path, &error), status);
    assert_int_equal(error.status, status);
    if (strstr(error.text, word) == NULL || strstr(error.text, folder) == NULL) fail_msg("%s: no word of %s", error.text, word);
}

/* The sums as they should be, so that what is behind them is looked at. */
static void seal(uint8_t *bytes, size_t size) {
    sx_snapshot_head head = {0};
    memcpy(&head.namespaces, bytes + 12, 4);
    memcpy(&head.entries, bytes + 16, 8);
    head.bytes = size - SX_SNAPSHOT_HEAD;
    for (size_t at = SX_SNAPSHOT_HEAD; at < size; at += SX_SNAPSHOT_BLOCK) {
        size_t block = size - at < SX_SNAPSHOT_BLOCK ? size - at : SX_SNAPSHOT_BLOCK;
        head.sum = XXH3_64bits_withSeed(bytes + at, block, head.sum);
    }
    uint8_t text[SX_SNAPSHOT_HEAD];
    sx_snapshot_head_encode(&head, text);
    memcpy(bytes, text, sizeof text);
}

static void what_was_changed_is_refused(void **state) {
    (void)state;
    side s = open_side("s3fifo", "8MiB");
    set_many(&s, 40);
    assert_int_equal(write_file(&s, 0), 40);
    size_t size;
    uint8_t good[4096], changed[4096];
    memcpy(good, load(&size), sizeof good);
    assert_in_range(size, 100, sizeof good);
    for (size_t i = 0; i < size; i++) { /* any bit of any byte, any length */
        memcpy(changed, good, size);
        changed[i] = (uint8_t)(changed[i] ^ 1u << i % 8);
        store(changed, size);
        refused(STRATA_E_CORRUPT, i < 8 ? "begin" : i < SX_SNAPSHOT_HEAD ? "head was changed" : "the snapshot");
        store(good, i);
        refused(STRATA_E_CORRUPT, i < SX_SNAPSHOT_HEAD ? "shorter" : "cut short");
    }
    memcpy(changed, good, size);
    changed[size] = 0;
    store(changed, size + 1);
    refused(STRATA_E_CORRUPT, "appended");
    uint32_t format = 2;
    memcpy(changed + 8, &format, 4);
    uint64_t sum = XXH3_64bits(changed, 56);
    memcpy(changed + 56, &sum, 8);
    store(changed, size);
    refused(STRATA_E_CORRUPT, "format 2");
    (void)unlink(path);
    refused(STRATA_MISS, "No such file");
    assert_int_equal(mkdir(path, 0700), 0);
    refused(STRATA_E_CORRUPT, "not a file");
    assert_int_equal(rmdir(path), 0);
    static uint8_t large[8192];
    memcpy(large, good, SX_SNAPSHOT_HEAD);
    uint32_t namespaces = 1, version = 1;
    uint64_t entries = 1;
    uint16_t key_size = 5000; /* no key is */
    memcpy(large + 12, &namespaces, 4);
    memcpy(large + 16, &entries, 8);
    memcpy(large + SX_SNAPSHOT_HEAD, "\1n", 2);
    memcpy(large + SX_SNAPSHOT_HEAD + 2, &version, 4);
    memcpy(large + SX_SNAPSHOT_HEAD + 8, &key_size, 2);
    seal(large, SX_SNAPSHOT_HEAD + 6 + 8 + 5000);
    store(large, SX_SNAPSHOT_HEAD + 6 + 8 + 5000);
    refused(STRATA_E_CORRUPT, "malformed");
    (void)unlink(path);
    strata_warm *warm = NULL;
    strata_error error = {0};
    assert_int_equal(strata_warm_snapshot(s.engine, path, NULL, &warm, &error), STRATA_MISS);
    assert_null(warm);
    store(good, size);
    close_side(&s);
}

/* Bytes at random behind sums that are right: read to an end or refused, never believed beyond their bounds. */
static void what_is_malformed_is_refused(void **state) {
    (void)state;
    size_t size;
    static uint8_t good[4096], changed[4096];
    memcpy(good, load(&size), sizeof good);
    uint64_t random = 88172645463325252u;
    int refusals = 0;
    for (int round = 0; round < 3000; round++) {
        memcpy(changed, good, size);
        size_t length = size;
        for (int k = 0; k <= round % 4; k++) {
            random ^= random << 13, random ^= random >> 7, random ^= random << 17;
            size_t at = 12 + random % (size - 12);
            changed[at] = (uint8_t)(random >> 32);
            if (random >> 62 == 0) length = SX_SNAPSHOT_HEAD + (random >> 20) % (size - SX_SNAPSHOT_HEAD);
        }
        seal(changed, length);
        store(changed, length);
        static sx_snapshot_reader reader;
        strata_error error = {0};
        int32_t status = sx_snapshot_open(&reader, path, &error);
        refusals += status != STRATA_OK;
        if (status == STRATA_OK) sx_snapshot_close(&reader);
        else assert_int_equal(status, STRATA_E_CORRUPT);
    }
    assert_in_range(refusals, 1000, 2999);
    store(good, size);
}

/* ---- what is warmed ---- */

typedef struct neighbour {
    side *s;
    strata_namespace *ns;
    atomic_bool stop;
} neighbour;

/* Always at the limit: each of its keys evicts another. */
static void *overflow(void *argument) {
    neighbour *n = argument;
    strata_session *session = test_engine_session(n->s->engine);
    char key[32];
    for (uint64_t i = 0; !atomic_load(&n->stop); i++) {
        snprintf(key, sizeof key, "noise:%llu", (unsigned long long)i);
        (void)strata_set_wait(session, n->ns, test_bytes(key), test_bytes("value"), NULL, NULL);
        if (i % 64 == 63) test_sleep_ms(1);
    }
    strata_session_close(session);
    return NULL;
}

static void load_value(strata_load *waiting, void *user) {
    (void)user;
    (void)strata_load_finish(waiting, STRATA_OK, test_bytes("value"), NULL);
}

/* Another value for the file's last byte, which is a key's. */
static void change_file(strata_load *waiting, void *changed) {
    if (!*(bool *)changed) {
        FILE *file = fopen(path, "r+b");
        assert_non_null(file);
        assert_int_equal(fseek(file, -1, SEEK_END), 0);
        assert_int_equal(fputc('#', file), '#');
        fclose(file);
    }
    *(bool *)changed = true;
    load_value(waiting, NULL);
}

/* What is written into after it was checked is told. */
static void a_file_that_changes_meanwhile_is_told(void **state) {
    (void)state;
    enum { KEYS = 30000 };
    side s = open_side("s3fifo", "64MiB");
    set_many(&s, KEYS);
    assert_int_equal(write_file(&s, 0), KEYS);
    close_side(&s);
    s = open_side("s3fifo", "64MiB");
    for (int round = 0; round < 2; round++) { /* its keys are asked for while its last block is not read yet; then as it is refused */
        bool changed = round == 1;
        strata_warm_options options = {.struct_size = sizeof options, .loader = change_file, .loader_user = &changed};
        strata_warm *warm;
        strata_error error;
        int32_t status = strata_warm_snapshot(s.engine, path, &options, &warm, &error);
        assert_int_equal(status, round == 0 ? STRATA_OK : STRATA_E_CORRUPT);
        if (round == 1) continue;
        assert_int_equal(strata_warm_wait(warm, 60000, NULL), STRATA_E_CORRUPT);
        strata_warm_close(warm);
    }
    close_side(&s);
}

/* Until what leaves is taken for a sign that there is no more room; a tenth of the budget is still free, and in a table that had many
   small entries before no group is full either. */
static void nearly_fill(side *s) {
    static const char value[4096];
    strata_namespace *ns = test_engine_ns(s->engine, "filling");
    char key[32];
    for (int i = 0; i < 20000; i++) {
        snprintf(key, sizeof key, "small:%d", i);
        (void)strata_set_wait(s->session, ns, test_bytes(key), test_bytes("v"), NULL, NULL);
    }
    for (int i = 0; i < 20000; i++) { /* but as many that it does not shrink, which costs entries too */
        if (i % 4 == 0) continue;
        snprintf(key, sizeof key, "small:%d", i);
        assert_int_equal(strata_invalidate_wait(s->session, ns, test_bytes(key), NULL), STRATA_OK);
    }
    for (int i = 0; i < 10000 && !sx_l1_is_nearly_full(s->engine->l1); i++) {
        snprintf(key, sizeof key, "fill:%d", i);
        while (strata_set_wait(s->session, ns, test_bytes(key), (strata_bytes){value, sizeof value}, NULL, NULL) == STRATA_E_OVERLOADED)
            test_sleep_ms(1); /* what was removed is not freed yet */
    }
    assert_true(sx_l1_is_nearly_full(s->engine->l1));
}

/* What leaves because of a limit does not mean that L1 is full, however little room is left. */
static void a_neighbour_at_its_limit_ends_no_warming(void **state) {
    (void)state;
    enum { KEYS = 300 };
    side before = open_side("s3fifo", "16MiB");
    set_many(&before, KEYS);
    assert_int_equal(write_file(&before, 0), KEYS);
    close_side(&before);
    side s = {.engine = test_engine_open(TEST_OPTIONS("l2.mode", "none", "flow.l1_usage", "on", "l1.bytes", "16MiB"), NULL)};
    s.ns = test_engine_ns(s.engine, "users");
    s.session = test_engine_session(s.engine);
    neighbour n = {.s = &s, .ns = test_engine_ns(s.engine, "noise")};
    nearly_fill(&s);
    int64_t before_noise = test_metric(s.engine, "l1.evictions");
    assert_int_equal(strata_namespace_limit(n.ns, 64 << 10, NULL), STRATA_OK);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, overflow, &n), 0);
    for (int i = 0; i < 6000 && test_metric(s.engine, "l1.evictions") == before_noise; i++) test_sleep_ms(5);
    int64_t evictions = test_metric(s.engine, "l1.evictions");
    assert_true(evictions > before_noise);
    strata_warm_options options = {.struct_size = sizeof options, .keys_per_s = 1000, .loader = load_value};
    strata_warm *warm;
    strata_error error;
    strata_warm_progress progress;
    assert_int_equal(strata_warm_snapshot(s.engine, path, &options, &warm, &error), STRATA_OK);
    assert_int_equal(strata_warm_wait(warm, 60000, &progress), STRATA_OK);
    strata_warm_close(warm);
    atomic_store(&n.stop, true);
    pthread_join(thread, NULL);
    assert_true(test_metric(s.engine, "l1.evictions") > evictions);
    assert_int_equal(progress.full, 0);
    assert_int_equal(progress.warmed, KEYS);
    close_side(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(what_is_being_written_has_no_name), cmocka_unit_test(the_hottest_come_first),
        cmocka_unit_test(expired_entries_and_absences_are_not_named),
        cmocka_unit_test(a_path_that_cant_be_written_is_told),
        cmocka_unit_test(snapshots_are_written_by_themselves),
        cmocka_unit_test(a_handful_does_not_replace_what_was_hot),
        cmocka_unit_test(what_was_changed_is_refused),
        cmocka_unit_test(what_is_malformed_is_refused),
        cmocka_unit_test(a_file_that_changes_meanwhile_is_told),
        cmocka_unit_test(a_neighbour_at_its_limit_ends_no_warming),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
