/* SPDX-License-Identifier: Apache-2.0 */
/* Options changed while open: all or none, by the program, by a file that is read again, and by one that is watched. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/flow/engine.h"
#include "tests/support/engine.h"

#define LINES 64

typedef struct fixture {
    strata *engine;
    char path[64], other[72];
    pthread_mutex_t mutex;
    char lines[LINES][256];
    int count; /* of lines; lock: mutex */
    _Atomic bool no_memory;
    _Atomic int by_watch; /* allocations */
} fixture;

static void *allocate(void *context, size_t size, size_t alignment) {
    fixture *f = context;
    void *memory = NULL;
    char thread[16] = "";
    if (pthread_getname_np(pthread_self(), thread, sizeof thread) == 0 && strcmp(thread, "strata-config") == 0) atomic_fetch_add(&f->by_watch, 1);
    if (atomic_load(&f->no_memory) || posix_memalign(&memory, alignment < sizeof(void *) ? sizeof(void *) : alignment, size) != 0) return NULL;
    return memory;
}

static void release(void *context, void *memory, size_t size) {
    (void)context;
    (void)size;
    free(memory);
}

static void note(void *context, strata_log_level level, const char *line) {
    fixture *f = context;
    (void)level;
    pthread_mutex_lock(&f->mutex);
    if (f->count < LINES) snprintf(f->lines[f->count++], sizeof f->lines[0], "%s", line);
    pthread_mutex_unlock(&f->mutex);
}

static int said(fixture *f, const char *text) {
    int times = 0;
    pthread_mutex_lock(&f->mutex);
    for (int i = 0; i < f->count; i++) times += strstr(f->lines[i], text) != NULL;
    pthread_mutex_unlock(&f->mutex);
    return times;
}

/* Replaces the file as a whole. */
static void write_file(fixture *f, const char *text) {
    FILE *file = fopen(f->other, "w");
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(rename(f->other, f->path), 0);
}

static int setup(void **state) {
    fixture *f = calloc(1, sizeof *f);
    pthread_mutex_init(&f->mutex, NULL);
    snprintf(f->path, sizeof f->path, "/tmp/strata-reload-%ld.conf", (long)getpid());
    snprintf(f->other, sizeof f->other, "%s.new", f->path);
    write_file(f, "[flow]\ndeadline = 3s\nttl = 7m\n");
    strata_config *config;
    assert_int_equal(strata_config_create(&config), STRATA_OK);
    assert_int_equal(strata_config_load_file(config, f->path, NULL), STRATA_OK);
    assert_int_equal(strata_config_set(config, "l2.mode", "none", NULL), STRATA_OK);
    strata_open_options options = {.struct_size = sizeof options, .config = config, .log = note, .log_context = f,
                                   .allocator = {f, allocate, release}};
    assert_int_equal(strata_open(&options, &f->engine, NULL), STRATA_OK);
    strata_config_destroy(config);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    fixture *f = *state;
    assert_int_equal(strata_close(f->engine, 1000), STRATA_OK);
    (void)unlink(f->path);
    pthread_mutex_destroy(&f->mutex);
    free(f);
    return 0;
}

static void expect(fixture *f, const char *name, const char *value) {
    char text[64];
    assert_int_equal(strata_option_get(f->engine, name, text, sizeof text), STRATA_OK);
    assert_string_equal(text, value);
}

static uint64_t version(fixture *f) {
    uint64_t version = 0;
    assert_int_equal(strata_options_version(f->engine, &version), STRATA_OK);
    return version;
}

static void test_all_or_none(void **state) {
    fixture *f = *state;
    strata_error error;
    assert_int_equal(version(f), 1);
    assert_int_equal(strata_options_set(f->engine, TEST_OPTIONS("flow.deadline", "flow.ttl"), TEST_OPTIONS("5s", "9m"), 2, &error), STRATA_OK);
    expect(f, "flow.deadline", "5s");
    expect(f, "flow.ttl", "9m");
    assert_int_equal(version(f), 2);
    assert_int_equal(sx_hot_read(&f->engine->hot.deadline_ms), 5000);
    assert_int_equal(said(f, "option flow.deadline changed from 3s to 5s (configuration 2)"), 1);
    assert_int_equal(said(f, "option flow.ttl changed from 7m to 9m (configuration 2)"), 1);
    const struct {
        const char *name, *value, *text;
    } bad[] = {{"flow.ttl", "0s", "option 'flow.ttl': '0s' is out of range; allowed 1ms .. 366d"},
               {"flow.tll", "1s", "unknown option 'flow.tll'"},
               {"flow.deadline", "2s", "option 'flow.deadline': set twice"},
               {"flow.pending_max", "5", "option 'flow.pending_max' can't change while open"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const char *names[] = {"flow.deadline", bad[i].name}, *values[] = {"1s", bad[i].value};
        assert_int_equal(strata_options_set(f->engine, names, values, 2, &error), STRATA_E_CONFIG);
        assert_string_equal(error.text, bad[i].text);
        assert_int_equal(strata_options_set(f->engine, names, values, 2, NULL), STRATA_E_CONFIG);
        expect(f, "flow.deadline", "5s");
        assert_int_equal(sx_hot_read(&f->engine->hot.deadline_ms), 5000);
    }
    assert_int_equal(strata_options_set(f->engine, TEST_OPTIONS("flow.ttl"), TEST_OPTIONS("9m"), 1, &error), STRATA_OK);
    assert_int_equal(version(f), 2); /* nothing is another */
    assert_int_equal(said(f, "changed from"), 2);
    assert_int_equal(strata_options_set(f->engine, NULL, NULL, 1, &error), STRATA_E_INVALID);
}

static void test_a_file_again(void **state) {
    fixture *f = *state;
    strata_error error;
    assert_int_equal(strata_option_set(f->engine, "flow.ttl_jitter", "20%", NULL), STRATA_OK);
    write_file(f, "[flow]\nttl = 8m\nttl_jitter = 30%\n[l1]\nbytes = 64MiB\n");
    assert_int_equal(strata_options_reload(f->engine, f->path, &error), STRATA_OK);
    expect(f, "flow.ttl", "8m");
    expect(f, "flow.deadline", "1s");     /* the file says nothing any more */
    expect(f, "flow.ttl_jitter", "20%");  /* the program's word holds */
    expect(f, "l1.bytes", "64MiB");
    assert_int_equal(test_metric(f->engine, "l1.bytes_max"), 64 << 20);
    assert_int_equal(version(f), 3);
    const struct {
        const char *text, *part;
    } bad[] = {{"[flow]\nttl = 5m\ndeadline = soon\n", ":3: option 'flow.deadline': 'soon' is not a duration"},
               {"[flow]\nttl = 5m\nnothing = 1\n", ":3: unknown option 'flow.nothing'"},
               {"[flow]\nttl = 5m\npending_max = 3\n", "option 'flow.pending_max' can't change while open"},
               {"ttl = 5m\n", "a key before the first [section]"},
               {"[flow]\nttl = 5m\nttl = 6m\n", "set twice"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        write_file(f, bad[i].text);
        assert_int_equal(strata_options_reload(f->engine, f->path, &error), STRATA_E_CONFIG);
        assert_non_null(strstr(error.text, bad[i].part));
        expect(f, "flow.ttl", "8m");
    }
    assert_int_equal(strata_options_reload(f->engine, "/nowhere/at/all", &error), STRATA_E_SYSTEM);
    assert_int_equal(version(f), 3);
    write_file(f, "[flow]\nttl = 8m\npending_max = 1048576\n[l1]\nbytes = 64MiB\n"); /* not hot, but what it is */
    assert_int_equal(strata_options_reload(f->engine, f->path, &error), STRATA_OK);
    assert_int_equal(version(f), 3);
}

static bool becomes(fixture *f, const char *name, const char *value) {
    char text[64] = "";
    for (int i = 0; i < 500; i++) {
        assert_int_equal(strata_option_get(f->engine, name, text, sizeof text), STRATA_OK);
        if (strcmp(text, value) == 0) return true;
        test_sleep_ms(10);
    }
    return false;
}

static void test_a_file_watched(void **state) {
    fixture *f = *state;
    strata_error error;
    assert_int_equal(strata_options_watch(f->engine, f->path, 9, &error), STRATA_E_CONFIG);
    assert_int_equal(strata_options_watch(f->engine, f->path, 10, &error), STRATA_OK);
    write_file(f, "[flow]\nttl = 8m\n");
    assert_true(becomes(f, "flow.ttl", "8m"));
    write_file(f, "[flow]\nttl = never\n");
    for (int i = 0; i < 3000 && said(f, "configuration not taken: ") == 0; i++) test_sleep_ms(10);
    test_sleep_ms(50);
    assert_int_equal(said(f, "configuration not taken: "), 1); /* not with each look */
    expect(f, "flow.ttl", "8m");
    assert_int_equal(unlink(f->path), 0);
    test_sleep_ms(30);
    expect(f, "flow.ttl", "8m");
    write_file(f, "[flow]\nttl = 9m\n");
    assert_true(becomes(f, "flow.ttl", "9m"));
    assert_int_equal(strata_options_watch(f->engine, f->path, 0, &error), STRATA_OK); /* in the place of the first */
    assert_int_equal(strata_options_watch(f->engine, NULL, 0, &error), STRATA_OK);
    write_file(f, "[flow]\nttl = 10m\n");
    test_sleep_ms(50);
    expect(f, "flow.ttl", "9m");
    assert_int_equal(strata_options_watch(f->engine, f->path, 10, &error), STRATA_OK); /* ends with the engine */
}

/* What failed, though the file is good, is tried until it does not, and told of once. */
static void test_what_failed_is_tried_again(void **state) {
    fixture *f = *state;
    assert_int_equal(strata_options_watch(f->engine, f->path, 10, NULL), STRATA_OK);
    atomic_store(&f->no_memory, true);
    write_file(f, "[flow]\nttl = 8m\n");
    for (int i = 0; i < 3000 && said(f, "configuration not taken: ") == 0; i++) test_sleep_ms(10);
    test_sleep_ms(100);
    assert_int_equal(said(f, "configuration not taken: "), 1);
    expect(f, "flow.ttl", "7m");
    atomic_store(&f->no_memory, false);
    assert_true(becomes(f, "flow.ttl", "8m"));
    atomic_store(&f->no_memory, true);
    write_file(f, "[flow]\nttl = never\n");
    for (int i = 0; i < 3000 && said(f, "configuration not taken: ") == 1; i++) test_sleep_ms(10);
    atomic_store(&f->no_memory, false); /* now it is the file's fault, for which it is not read again */
    for (int i = 0; i < 3000 && said(f, "'never'") == 0; i++) test_sleep_ms(10);
    assert_int_equal(said(f, "configuration not taken: "), 3);
    int before = atomic_load(&f->by_watch);
    assert_in_range(before, 1, 1 << 20);
    test_sleep_ms(100);
    assert_int_equal(atomic_load(&f->by_watch), before);
}

/* Readers see all of one change or none, and no option is lost between two who change at once. */
typedef struct changer {
    strata *engine;
    const char *const *names;
    _Atomic int stop, changes;
} changer;

static void *change(void *argument) {
    changer *c = argument;
    for (int i = 0; atomic_load(&c->stop) == 0; i++) {
        const char *values[] = {i % 2 == 0 ? "2s" : "3s", i % 2 == 0 ? "2m" : "3m"};
        assert_int_equal(strata_options_set(c->engine, c->names, values, 2, NULL), STRATA_OK);
        atomic_fetch_add(&c->changes, 1);
    }
    return NULL;
}

static void test_changes_at_once(void **state) {
    fixture *f = *state;
    changer pair = {f->engine, TEST_OPTIONS("flow.deadline", "flow.ttl"), 0, 0};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, change, &pair), 0);
    for (int i = 0; i < 300 || atomic_load(&pair.changes) < 10; i++) {
        char text[16];
        snprintf(text, sizeof text, "%d%%", i % 90);
        assert_int_equal(strata_option_set(f->engine, "flow.ttl_jitter", text, NULL), STRATA_OK);
        expect(f, "flow.ttl_jitter", text);
    }
    atomic_store(&pair.stop, 1);
    pthread_join(thread, NULL);
    char deadline[16], ttl[16];
    assert_int_equal(strata_option_get(f->engine, "flow.deadline", deadline, sizeof deadline), STRATA_OK);
    assert_int_equal(strata_option_get(f->engine, "flow.ttl", ttl, sizeof ttl), STRATA_OK);
    assert_int_equal(deadline[0], ttl[0]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_all_or_none, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_file_again, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_file_watched, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_failed_is_tried_again, setup, teardown),
        cmocka_unit_test_setup_teardown(test_changes_at_once, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
