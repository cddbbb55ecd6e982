/* SPDX-License-Identifier: Apache-2.0 */
/* Tags without L2, the bytes that hold them, and markers that are forgotten for lack of room. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <pthread.h>
#include <stdatomic.h>

#include <cmocka.h>

#include "core/codec/msgpack.h"
#include "core/flow/tags.h"
#include "tests/support/engine.h"

typedef struct fixture {
    strata *engine;
    strata_session *session;
    strata_namespace *ns;
    const char *value;
    const char *late;
    strata_load *kept;
    int calls, answers;
    char answer[32];
} fixture;

static void open_fixture(fixture *f, const char *tags_max) {
    *f = (fixture){.engine = test_engine_open(TEST_OPTIONS("l2.mode", "none", "coherence.tags_max", tags_max), NULL)};
    f->session = test_engine_session(f->engine);
    f->ns = test_engine_ns(f->engine, "tags");
}

static void close_fixture(fixture *f) {
    strata_session_close(f->session);
    assert_int_equal(strata_close(f->engine, 1000), STRATA_OK);
}

static int32_t set(fixture *f, const char *key, const char *value, const char *tag) {
    strata_bytes tags[2] = {test_bytes(tag), test_bytes("all")};
    strata_op_options options = {.struct_size = sizeof options, .tags = tags, .tag_count = 2};
    return strata_set_wait(f->session, f->ns, test_bytes(key), test_bytes(value), &options, NULL);
}

static int32_t invalidate(fixture *f, const char *tag) {
    strata_bytes tags[] = {test_bytes(tag)};
    return strata_invalidate_tags_wait(f->session, tags, 1, NULL);
}

static void load(strata_load *load, void *user) {
    fixture *f = user;
    strata_bytes late = test_bytes(f->late == NULL ? "" : f->late);
    strata_load_result details = {.struct_size = sizeof details, .tags = &late, .tag_count = f->late != NULL};
    f->calls++;
    if (f->value == NULL) f->kept = load;
    else assert_int_equal(strata_load_finish(load, STRATA_OK, test_bytes(f->value), &details), STRATA_OK);
}

static void done(void *user, const strata_result *result) {
    fixture *f = user;
    f->answers++;
    assert_int_equal(result->status, STRATA_OK);
    memcpy(f->answer, result->value.data, result->value.size);
    f->answer[result->value.size] = 0;
}

static int32_t start_load(fixture *f, const char *key, const char *tag) {
    strata_bytes tags[] = {test_bytes(tag == NULL ? "" : tag)};
    strata_op_options options = {.struct_size = sizeof options, .tags = tags, .tag_count = tag != NULL, .deadline_ms = 5000};
    strata_result result;
    int32_t status = strata_get_or_load(f->session, f->ns, test_bytes(key), &options, load, f, &result, done, f);
    if (status == STRATA_OK) strata_result_release(f->session, &result);
    return status;
}

static void await_answers(fixture *f, int count) {
    for (int i = 0; i < 3000 && f->answers < count; i++) strata_session_wait(f->session, 10);
    assert_int_equal(f->answers, count);
}

static void invalidated_without_l2(void **state) {
    (void)state;
    fixture f;
    open_fixture(&f, "64");
    assert_int_equal(set(&f, "a", "1", "x"), STRATA_OK);
    assert_int_equal(set(&f, "b", "2", "y"), STRATA_OK);
    assert_int_equal(test_set(f.session, f.ns, "c", "3"), STRATA_OK);
    assert_string_equal(test_peek(f.session, f.ns, "a"), "1");
    assert_int_equal(invalidate(&f, "x"), STRATA_OK);
    assert_null(test_peek(f.session, f.ns, "a"));
    assert_string_equal(test_peek(f.session, f.ns, "b"), "2");
    assert_int_equal(invalidate(&f, "nobody's"), STRATA_OK);
    assert_string_equal(test_peek(f.session, f.ns, "b"), "2");
    assert_int_equal(set(&f, "a", "4", "x"), STRATA_OK);
    assert_string_equal(test_peek(f.session, f.ns, "a"), "4");
    assert_int_equal(invalidate(&f, "all"), STRATA_OK);
    assert_null(test_peek(f.session, f.ns, "a"));
    assert_null(test_peek(f.session, f.ns, "b"));
    assert_string_equal(test_peek(f.session, f.ns, "c"), "3");
    assert_int_equal(test_metric(f.engine, "flow.tags_invalidated"), 3);
    close_fixture(&f);
}

static void a_load_that_was_overtaken(void **state) {
    (void)state;
    fixture f;
    open_fixture(&f, "64");
    assert_int_equal(start_load(&f, "k", "t"), STRATA_PENDING);
    for (int i = 0; i < 3000 && f.kept == NULL; i++) strata_session_wait(f.session, 10);
    strata_load *before = f.kept;
    assert_int_equal(invalidate(&f, "t"), STRATA_OK);
    f.value = "new";
    assert_int_equal(start_load(&f, "k", "t"), STRATA_PENDING); /* joins, but is not answered what is old */
    assert_int_equal(strata_load_finish(before, STRATA_OK, test_bytes("old"), NULL), STRATA_OK);
    await_answers(&f, 2);
    assert_string_equal(f.answer, "new");
    assert_int_equal(f.calls, 2);
    assert_string_equal(test_peek(f.session, f.ns, "k"), "new");
    close_fixture(&f);
}

static void late_tags_need_a_second_load(void **state) {
    (void)state;
    fixture f;
    open_fixture(&f, "64");
    f.value = "v";
    f.late = "late";
    assert_int_equal(start_load(&f, "k", NULL), STRATA_PENDING);
    await_answers(&f, 1);
    for (int i = 0; i < 30000 && test_metric(f.engine, "flow.pending") != 0; i++) test_sleep_ms(1);
    assert_null(test_peek(f.session, f.ns, "k"));
    test_sleep_ms(5);
    assert_int_equal(start_load(&f, "k", NULL), STRATA_PENDING);
    await_answers(&f, 2);
    assert_string_equal(test_peek(f.session, f.ns, "k"), "v");
    assert_int_equal(invalidate(&f, "late"), STRATA_OK);
    assert_null(test_peek(f.session, f.ns, "k"));
    close_fixture(&f);
}

/* More tags than there is room for: entries whose markers were forgotten are misses, never wrong. */
static void forgotten_markers(void **state) {
    (void)state;
    fixture f;
    char key[32];
    open_fixture(&f, "16");
    for (int i = 0; i < 1000; i++) {
        snprintf(key, sizeof key, "k%d", i);
        assert_int_equal(set(&f, key, key, key), STRATA_OK);
        assert_string_equal(test_peek(f.session, f.ns, key), key);
    }
    int left = 0;
    for (int i = 0; i < 1000; i++) {
        snprintf(key, sizeof key, "k%d", i);
        left += test_peek(f.session, f.ns, key) != NULL;
        assert_int_equal(invalidate(&f, key), STRATA_OK);
        assert_null(test_peek(f.session, f.ns, key));
    }
    assert_in_range(left, 1, 16);
    close_fixture(&f);
}

static void what_is_refused(void **state) {
    (void)state;
    fixture f;
    char large[STRATA_TAG_BYTES_MAX + 2];
    memset(large, 'x', sizeof large - 1);
    large[sizeof large - 1] = 0;
    strata_bytes many[STRATA_TAGS_MAX + 1];
    for (size_t i = 0; i <= STRATA_TAGS_MAX; i++) many[i] = test_bytes("t");
    open_fixture(&f, "64");
    assert_int_equal(invalidate(&f, ""), STRATA_E_INVALID);
    assert_int_equal(invalidate(&f, large), STRATA_E_INVALID);
    assert_int_equal(strata_invalidate_tags_wait(f.session, many, 0, NULL), STRATA_E_INVALID);
    assert_int_equal(strata_invalidate_tags_wait(f.session, NULL, 1, NULL), STRATA_E_INVALID);
    assert_int_equal(strata_invalidate_tags_wait(f.session, many, STRATA_TAGS_MAX + 1, NULL), STRATA_E_INVALID);
    assert_int_equal(strata_invalidate_tags_wait(f.session, many, STRATA_TAGS_MAX, NULL), STRATA_OK);
    assert_int_equal(set(&f, "k", "v", large), STRATA_E_INVALID);
    assert_int_equal(set(&f, "k", "v", "all"), STRATA_OK); /* named twice is named once */
    assert_int_equal(invalidate(&f, "all"), STRATA_OK);
    assert_null(test_peek(f.session, f.ns, "k"));
    close_fixture(&f);
}

static void they_count_in_what_is_pending(void **state) {
    (void)state;
    fixture f;
    char name[201];
    memset(name, 't', sizeof name - 1);
    name[sizeof name - 1] = 0;
    open_fixture(&f, "100");
    assert_int_equal(start_load(&f, "plain", NULL), STRATA_PENDING);
    int64_t plain = test_metric(f.engine, "flow.pending_bytes");
    for (int i = 0; i < 3000 && f.calls < 1; i++) strata_session_wait(f.session, 10);
    strata_load *first = f.kept;
    assert_int_equal(start_load(&f, "tagged", name), STRATA_PENDING);
    assert_true(test_metric(f.engine, "flow.pending_bytes") >= 2 * plain + 2 * 200);
    for (int i = 0; i < 3000 && f.calls < 2; i++) strata_session_wait(f.session, 10);
    assert_int_equal(strata_load_finish(first, STRATA_OK, test_bytes("v"), NULL), STRATA_OK);
    assert_int_equal(strata_load_finish(f.kept, STRATA_OK, test_bytes("v"), NULL), STRATA_OK);
    await_answers(&f, 2);
    assert_int_equal(test_metric(f.engine, "flow.pending_bytes"), 0);
    close_fixture(&f);
}

static void bytes_from_outside(void **state) {
    (void)state;
    sx_buf buf;
    sx_buf_init(&buf, sx_alloc_default());
    strata_bytes tags[] = {test_bytes("one"), test_bytes("two"), test_bytes("one")};
    assert_true(sx_tags_encode(&buf, NULL, 0, tags, 3));
    assert_true(sx_tags_sound(buf.data, buf.size));
    assert_int_equal(buf.size, 1 + 2 * (2 + 3 + 9));
    for (size_t size = 0; size < buf.size; size++) assert_false(sx_tags_sound(buf.data, size));
    sx_tag tag;
    size_t at = 0;
    assert_true(sx_tags_next(buf.data, buf.size, &at, &tag));
    assert_memory_equal(tag.name, "one", 3);
    sx_tag_put(&tag, 0x0102030405060708);
    at = 0;
    assert_true(sx_tags_next(buf.data, buf.size, &at, &tag));
    assert_true(tag.nonce == 0x0102030405060708);
    assert_true(sx_tags_next(buf.data, buf.size, &at, &tag));
    assert_memory_equal(tag.name, "two", 3);
    assert_false(sx_tags_next(buf.data, buf.size, &at, &tag));
    assert_true(sx_tags_name(buf.data, buf.size, "two", 3));
    assert_false(sx_tags_name(buf.data, buf.size, "tw", 2));
    static const char *const bad[] = {"\x90", "\x91\xc4\x01" "a", "\x92\xc4", "\x92\xc4\x01" "a\xc0", "\xc0"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(sx_tags_sound((const uint8_t *)bad[i], strlen(bad[i])));
    assert_true(sx_tags_sound((const uint8_t *)"\x92\xa1" "a\x05", 4)); /* another writer's widths */
    sx_buf_deinit(&buf);
}

/* The sanitizers' test: without L2 a thread of the program looks for what depends on a tag in what the loop is storing. */
typedef struct invalidator {
    strata *engine;
    _Atomic int stop, count;
} invalidator;

static void *invalidate_all_the_time(void *argument) {
    invalidator *v = argument;
    strata_session *session = test_engine_session(v->engine);
    strata_bytes tags[] = {test_bytes("t")};
    while (!atomic_load(&v->stop)) {
        (void)strata_invalidate_tags_wait(session, tags, 1, NULL);
        atomic_fetch_add(&v->count, 1);
    }
    strata_session_close(session);
    return NULL;
}

static void loads_beside_invalidations(void **state) {
    (void)state;
    fixture f;
    open_fixture(&f, "1024");
    f.value = "loaded";
    invalidator v = {.engine = f.engine};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, invalidate_all_the_time, &v), 0);
    strata_bytes tags[] = {test_bytes("t")};
    strata_op_options options = {.struct_size = sizeof options, .tags = tags, .tag_count = 1};
    for (int i = 0; i < 20000 || atomic_load(&v.count) < 100; i++) {
        strata_result result;
        char key[16];
        snprintf(key, sizeof key, "k%d", i % 7);
        int32_t status = strata_get_or_load_wait(f.session, f.ns, test_bytes(key), &options, load, &f, &result);
        assert_int_equal(status, STRATA_OK);
        assert_memory_equal(result.value.data, "loaded", 6);
        strata_result_release(f.session, &result);
    }
    atomic_store(&v.stop, 1);
    pthread_join(thread, NULL);
    close_fixture(&f);
}

typedef struct source {
    int calls, unchanged;
} source;

static void load_unless_unmodified(strata_load *load, void *user) {
    source *s = user;
    strata_load_result details = {.struct_size = sizeof details, .etag = test_bytes("one")};
    bool same = strata_load_etag(load).size == 3;
    s->calls++;
    s->unchanged += same;
    assert_int_equal(same ? strata_load_not_modified(load, 0) : strata_load_finish(load, STRATA_OK, test_bytes("v"), &details), STRATA_OK);
}

static void read_unless_unmodified(fixture *f, source *s) {
    strata_bytes tags[] = {test_bytes("t")};
    strata_op_options options = {.struct_size = sizeof options, .tags = tags, .tag_count = 1};
    strata_result result;
    assert_int_equal(strata_get_or_load_wait(f->session, f->ns, test_bytes("k"), &options, load_unless_unmodified, s, &result), STRATA_OK);
    assert_int_equal(result.value.size, 1);
    strata_result_release(f->session, &result);
}

/* What a load renews is what L1 holds with its tags: not where one of them has ended. */
static void what_ended_by_its_tag_is_loaded_and_kept(void **state) {
    (void)state;
    fixture f;
    source s = {0};
    open_fixture(&f, "1000");
    strata_namespace_policy policy = {.struct_size = sizeof policy, .ttl_ms = 60000, .stale_if_failing_ms = 60000};
    assert_int_equal(strata_namespace_policy_set(f.ns, &policy, NULL), STRATA_OK);
    read_unless_unmodified(&f, &s);
    assert_int_equal(invalidate(&f, "t"), STRATA_OK);
    for (int i = 0; i < 2; i++) {
        read_unless_unmodified(&f, &s);
        assert_int_equal(s.calls, 2);
        assert_int_equal(s.unchanged, 0);
    }
    strata_op_options refresh = {.struct_size = sizeof refresh, .flags = STRATA_REFRESH};
    strata_result result;
    assert_int_equal(strata_get_or_load_wait(f.session, f.ns, test_bytes("k"), &refresh, load_unless_unmodified, &s, &result), STRATA_OK);
    strata_result_release(f.session, &result);
    assert_int_equal(s.unchanged, 1);
    read_unless_unmodified(&f, &s);
    assert_int_equal(s.calls, 3);
    assert_int_equal(invalidate(&f, "t"), STRATA_OK); /* it has kept its tag */
    read_unless_unmodified(&f, &s);
    assert_int_equal(s.calls, 4);
    close_fixture(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(invalidated_without_l2), cmocka_unit_test(a_load_that_was_overtaken),
        cmocka_unit_test(late_tags_need_a_second_load), cmocka_unit_test(forgotten_markers),
        cmocka_unit_test(what_is_refused), cmocka_unit_test(bytes_from_outside),
        cmocka_unit_test(they_count_in_what_is_pending), cmocka_unit_test(loads_beside_invalidations),
        cmocka_unit_test(what_ended_by_its_tag_is_loaded_and_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
