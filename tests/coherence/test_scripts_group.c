/* SPDX-License-Identifier: Apache-2.0 */
/* The script of several writes on a real server: each keeps its own rules, all share one number and one message. */
// ctest: timeout=300
#include "tests/coherence/scripts.h"

enum { COUNT = 8 };

static char names[COUNT][16];

static void writes_of(sx_publish_write *writes) {
    for (int i = 0; i < COUNT; i++) {
        writes[i] = write_of(true);
        snprintf(names[i], sizeof names[i], "key%d", i);
        writes[i].key.key = names[i];
        writes[i].key.key_size = strlen(names[i]);
        writes[i].id = 100 + (uint64_t)i;
    }
}

static const sx_resp *do_writes(const sx_publish_write *writes) {
    sx_command_clear(&command);
    sx_publish_encode_writes(&publish, writes, COUNT, &command);
    return test_talk_call(wire, &command, &scripts.writes);
}

static sx_publish_verdict verdict(const sx_resp *reply, uint32_t index, uint64_t *n, int64_t *ms) {
    sx_resp scratch[3];
    return sx_publish_decode(sx_publish_writes_part(reply, COUNT, index, scratch), n, ms);
}

static void look_at(int index) {
    snprintf(value_name, sizeof value_name, "{%s}s1:user:3:%.15s", tags->tags[key.partition].text, names[index]);
}

static void assert_named(const char *const *expected) {
    sx_message m;
    const uint8_t *cursor = NULL, *name;
    size_t size;
    assert_true(next_message(&m));
    assert_int_equal(m.kind, SX_MESSAGE_KEYS);
    assert_int_equal(m.n, counter());
    assert_int_equal(m.ns_version, 3);
    assert_memory_equal(m.ns, "user", 4);
    for (; *expected != NULL; expected++) {
        assert_true(sx_message_next_key(&m, &cursor, &name, &size));
        assert_int_equal(size, strlen(*expected));
        assert_memory_equal(name, *expected, size);
    }
    assert_false(sx_message_next_key(&m, &cursor, &name, &size));
    assert_true(nothing_published());
}

static const char *const everyone[] = {"key0", "key1", "key2", "key3", "key4", "key5", "key6", "key7", NULL};

static void all_are_stored_under_one_number(void **state) {
    (void)state;
    sx_publish_write writes[COUNT];
    writes_of(writes);
    writes[6].ttl_ms = 0;
    int64_t before_us = server_us();
    const sx_resp *reply = do_writes(writes);
    uint64_t n = 0, first = 0;
    int64_t ms = 0;
    for (uint32_t i = 0; i < COUNT; i++) {
        assert_int_equal(verdict(reply, i, &n, &ms), SX_PUBLISH_DONE);
        if (i == 0) first = n;
        assert_int_equal(n, first);
    }
    assert_true((int64_t)n >= before_us); /* a missing counter starts at TIME */
    look_at(0);
    ms = stored_ms();
    assert_true(ms >= before_us / 1000 && ms <= server_us() / 1000);
    assert_int_equal(counter(), n);
    assert_named(everyone);
    for (int i = 0; i < COUNT; i++) {
        look_at(i);
        assert_stored(n, ms, tail, TAIL);
        int64_t ttl = say("PTTL", value_name)->integer;
        assert_true(i == 6 ? ttl == -1 : ttl > 50000 && ttl <= 60000);
    }
    writes[6].ttl_ms = writes[0].ttl_ms;
    (void)do_writes(writes); /* one ttl for all */
    assert_int_equal(counter(), n + 1);
    assert_named(everyone);
    for (int i = 0; i < COUNT; i++) {
        look_at(i);
        int64_t ttl = say("PTTL", value_name)->integer;
        assert_true(ttl > 50000 && ttl <= 60000);
    }
}

static void who_is_late_is_refused_alone(void **state) {
    (void)state;
    sx_publish_write writes[COUNT];
    writes_of(writes);
    int64_t now_ms = server_us() / 1000;
    for (int i = 0; i < COUNT; i++) writes[i].deadline_ms = i == 3 ? now_ms - 1 : now_ms + 60000;
    writes[5].deadline_ms = 0; /* none */
    writes[3].tail = NULL;     /* an invalidation that comes too late does nothing either */
    static char name_of_300[300];
    memset(name_of_300, 'k', sizeof name_of_300);
    writes[0].key.key = name_of_300;
    writes[0].key.key_size = sizeof name_of_300;
    writes[6].ttl_ms = 0;
    look_at(3);
    char words[160];
    snprintf(words, sizeof words, "SET %s stays", value_name);
    assert_true(sx_resp_is_text(test_talk_say(wire, words), "OK"));
    const sx_resp *reply = do_writes(writes);
    uint64_t n;
    int64_t ms;
    for (uint32_t i = 0; i < COUNT; i++)
        assert_int_equal(verdict(reply, i, &n, &ms), i == 3 ? SX_PUBLISH_LATE : SX_PUBLISH_DONE);
    assert_true(is_there());
    static char text_of_300[sizeof name_of_300 + 1];
    memcpy(text_of_300, name_of_300, sizeof name_of_300);
    const char *const others[] = {text_of_300, "key1", "key2", "key4", "key5", "key6", "key7", NULL};
    assert_named(others);
    for (int i = 4; i < COUNT; i++) {
        look_at(i);
        assert_true(i == 6 ? say("PTTL", value_name)->integer == -1 : say("PTTL", value_name)->integer > 50000);
    }
    for (int i = 0; i < COUNT; i++) writes[i].deadline_ms = now_ms - 1;
    uint64_t before = counter();
    reply = do_writes(writes);
    for (uint32_t i = 0; i < COUNT; i++) assert_int_equal(verdict(reply, i, &n, &ms), SX_PUBLISH_LATE);
    assert_int_equal(counter(), before);
    assert_true(nothing_published());
}

static void invalidations_go_among_them(void **state) {
    (void)state;
    sx_publish_write writes[COUNT];
    writes_of(writes);
    (void)do_writes(writes);
    assert_named(everyone);
    for (int i = 0; i < COUNT; i += 2) writes[i].tail = NULL;
    (void)do_writes(writes);
    assert_named(everyone);
    for (int i = 0; i < COUNT; i++) {
        look_at(i);
        assert_int_equal(is_there(), i % 2 == 1);
    }
}

static void without_memory_sets_fail_and_invalidations_do_not(void **state) {
    (void)state;
    sx_publish_write writes[COUNT];
    uint64_t n;
    int64_t ms;
    writes_of(writes);
    (void)do_writes(writes);
    assert_named(everyone);
    uint64_t before = counter();
    assert_true(sx_resp_is_text(test_talk_say(wire, "CONFIG SET maxmemory 1"), "OK"));
    const sx_resp *reply = do_writes(writes);
    for (uint32_t i = 0; i < COUNT; i++) {
        sx_resp scratch[3];
        const sx_resp *own = sx_publish_writes_part(reply, COUNT, i, scratch);
        assert_int_equal(own->type, SX_RESP_ERROR);
        assert_memory_equal(own->text, "OOM", 3);
    }
    assert_int_equal(counter(), before);
    assert_true(nothing_published());
    writes[0].tail = NULL;
    reply = do_writes(writes);
    assert_int_equal(verdict(reply, 0, &n, &ms), SX_PUBLISH_DONE);
    look_at(0);
    assert_false(is_there());
    assert_int_equal(counter(), before + 1);
}

/* A user of the server who may run the script, but may set some of its keys only. */
static void become_picky(void) {
    static const char user[] = "ACL SETUSER picky on nopass ~* &* +@all -set (+set ~*key[013467])";
    assert_true(sx_resp_is_text(test_talk_say(wire, user), "OK"));
    assert_true(sx_resp_is_text(test_talk_say(wire, "AUTH picky any"), "OK"));
}

/* Of what picky writes: the server refuses two sets, and a third comes too late where late says so. */
static void two_are_refused(bool late) {
    sx_publish_write writes[COUNT];
    writes_of(writes);
    (void)do_writes(writes);
    assert_named(everyone);
    uint64_t before = counter();
    look_at(6);
    int64_t before_ms = stored_ms();
    become_picky();
    writes[5].ttl_ms = 0; /* each by its own way to SET */
    if (late) writes[6].deadline_ms = server_us() / 1000 - 1;
    const sx_resp *reply = do_writes(writes);
    for (uint32_t i = 0; i < COUNT; i++) {
        sx_resp scratch[3];
        uint64_t n = 0;
        int64_t ms = 0;
        const sx_resp *own = sx_publish_writes_part(reply, COUNT, i, scratch);
        assert_non_null(own);
        if (i == 2 || i == 5) {
            assert_int_equal(own->type, SX_RESP_ERROR);
        } else if (i == 6 && late) {
            assert_int_equal(verdict(reply, i, &n, &ms), SX_PUBLISH_LATE);
        } else {
            assert_int_equal(verdict(reply, i, &n, &ms), SX_PUBLISH_DONE);
            assert_int_equal(n, before + 1);
        }
    }
    assert_true(sx_resp_is_text(test_talk_say(wire, "AUTH default any"), "OK"));
    assert_int_equal(test_talk_say(wire, "ACL DELUSER picky")->integer, 1);
    assert_int_equal(counter(), before + 1);
    look_at(6);
    if (late) assert_stored(before, before_ms, tail, TAIL);
    else assert_stored(before + 1, stored_ms(), tail, TAIL);
}

static void what_one_set_is_refused_is_its_own(void **state) {
    (void)state;
    /* Who was refused has no value any more, and everybody is told. */
    static const char *const others[] = {"key0", "key1", "key2", "key3", "key4", "key5", "key7", NULL};
    for (int late = 0; late < 2; late++) {
        two_are_refused(late != 0);
        assert_named(late != 0 ? others : everyone);
        for (int i = 0; i < COUNT; i++) {
            look_at(i);
            assert_int_equal(is_there(), i != 2 && i != 5);
        }
    }
}

static void a_counter_that_can_not_move_stops_all(void **state) {
    (void)state;
    sx_publish_write writes[COUNT];
    char words[160];
    sx_message m;
    writes_of(writes);
    writes[0].tail = NULL;
    snprintf(words, sizeof words, "LPUSH %s x", counter_name);
    assert_int_equal(test_talk_say(wire, words)->type, SX_RESP_INTEGER);
    const sx_resp *reply = do_writes(writes);
    for (uint32_t i = 0; i < COUNT; i++) {
        sx_resp scratch[3];
        assert_int_equal(sx_publish_writes_part(reply, COUNT, i, scratch)->type, SX_RESP_ERROR);
    }
    assert_true(next_message(&m)); /* one of them has removed its key */
    assert_int_equal(m.kind, SX_MESSAGE_UNTRUST);
    look_at(1);
    assert_false(is_there());
}

static void what_makes_no_sense_is_nobodys_answer(void **state) {
    (void)state;
    const sx_resp items[] = {{.type = SX_RESP_INTEGER, .integer = 5}, {.type = SX_RESP_INTEGER, .integer = 6},
                             {.type = SX_RESP_INTEGER, .integer = 1}, {.type = SX_RESP_INTEGER, .integer = 2},
                             {.type = SX_RESP_NULL}};
    sx_resp scratch[3];
    const sx_resp reply = {.type = SX_RESP_ARRAY, .count = 5, .items = items};
    assert_non_null(sx_publish_writes_part(&reply, 3, 0, scratch));
    assert_null(sx_publish_writes_part(&reply, 3, 1, scratch));
    assert_null(sx_publish_writes_part(&reply, 3, 2, scratch));
    assert_null(sx_publish_writes_part(&reply, 4, 0, scratch));
    assert_ptr_equal(sx_publish_writes_part(&items[0], 3, 0, scratch), &items[0]); /* all were done */
    const sx_resp none = {.type = SX_RESP_INTEGER, .integer = 0}, late = {.type = SX_RESP_INTEGER, .integer = -1},
                  early = {.type = SX_RESP_INTEGER, .integer = -2};
    assert_null(sx_publish_writes_part(&none, 3, 0, scratch));
    assert_ptr_equal(sx_publish_writes_part(&late, 3, 0, scratch), &late);
    assert_null(sx_publish_writes_part(&early, 3, 0, scratch));
    assert_null(sx_publish_get_part(&reply, 4, 0, scratch));
    assert_ptr_equal(sx_publish_get_part(&reply, 5, 4, scratch), &items[4]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(all_are_stored_under_one_number, clean),
        cmocka_unit_test_setup(who_is_late_is_refused_alone, clean),
        cmocka_unit_test_setup(invalidations_go_among_them, clean),
        cmocka_unit_test_setup(without_memory_sets_fail_and_invalidations_do_not, clean),
        cmocka_unit_test_setup(what_one_set_is_refused_is_its_own, clean),
        cmocka_unit_test_setup(a_counter_that_can_not_move_stops_all, clean),
        cmocka_unit_test_setup(what_makes_no_sense_is_nobodys_answer, clean),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
