/* SPDX-License-Identifier: Apache-2.0 */
/* The scripts on a real server: values that travel with their message, leases over outdated values, markers. */
// ctest: timeout=120
#include "tests/coherence/scripts.h"

static void a_value_travels_as_it_is_stored(void **state) {
    (void)state;
    uint64_t n = 0;
    int64_t ms = 0;
    sx_message m;
    sx_publish_write write = write_of(true);
    write.carry = true;
    assert_int_equal(do_write(&write, &n, &ms), SX_PUBLISH_DONE);
    assert_stored(n, ms, tail, TAIL);
    assert_true(next_message(&m));
    assert_int_equal(m.kind, SX_MESSAGE_VALUE);
    assert_int_equal(m.n, n);
    assert_int_equal(m.id, write.id);
    assert_memory_equal(m.key, "alice", 5);
    const sx_resp *stored = say("GET", value_name);
    assert_int_equal(m.value_size, stored->size);
    assert_memory_equal(m.value, stored->text, stored->size);
    write = write_of(false); /* nothing to carry */
    write.carry = true;
    assert_int_equal(do_write(&write, &n, &ms), SX_PUBLISH_DONE);
    assert_true(next_message(&m));
    assert_int_equal(m.kind, SX_MESSAGE_KEY);
}

static void over(uint64_t n, int64_t written_ms, uint64_t id, const char *says) {
    sx_command_clear(&command);
    sx_publish_encode_over(&publish, &key, n, written_ms, id, 42, 60000, &command);
    const sx_resp *reply = test_talk_call(wire, &command, &scripts.over);
    if (says == NULL) assert_int_equal(reply->type, SX_RESP_NULL);
    else assert_int_equal(reply->type, SX_RESP_STRING);
}

static void a_lease_takes_the_place_of_that_version_only(void **state) {
    (void)state;
    uint64_t n = 0;
    int64_t ms = 0;
    sx_publish_write write = write_of(true);
    assert_int_equal(do_write(&write, &n, &ms), SX_PUBLISH_DONE);
    over(n + 1, ms, write.id, "the value");
    over(n, ms + 1, write.id, "the value");
    over(n, ms, write.id + 1, "the value");
    assert_stored(n, ms, tail, TAIL);
    over(n, ms, write.id, NULL);
    assert_int_equal(say("STRLEN", value_name)->integer, 12);
    over(n, ms, write.id, "the lease");
    assert_int_equal(say("DEL", value_name)->integer, 1);
    over(n, ms, write.id, NULL); /* nothing there: as good */
    assert_int_equal(say("STRLEN", value_name)->integer, 12);
    int64_t ttl = say("PTTL", value_name)->integer;
    assert_true(ttl > 50000 && ttl <= 60000);
}

static uint64_t mark(const sx_publish_key *tag, uint64_t nonce, uint64_t *n) {
    uint8_t marker[] = {0xcf, 0, 0, 0, 0, 0, 0, 0, 0, 'x'};
    for (int i = 0; i < 8; i++) marker[1 + i] = (uint8_t)(nonce >> (56 - 8 * i));
    sx_command_clear(&command);
    sx_publish_encode_mark(&publish, tag, nonce, 60000, marker, sizeof marker, &command);
    const sx_resp *reply = test_talk_call(wire, &command, &scripts.mark);
    assert_int_equal(reply->type, SX_RESP_STRING);
    assert_true(reply->size >= 29);
    uint64_t found = 0;
    *n = 0;
    for (int i = 0; i < 8; i++) *n = *n << 8 | (uint8_t)reply->text[3 + i];
    for (int i = 0; i < 8; i++) found = found << 8 | (uint8_t)reply->text[21 + i];
    return found;
}

static void a_marker_is_created_once_and_renewed(void **state) {
    (void)state;
    sx_publish_key tag = key;
    tag.what = SX_PUBLISH_TAG;
    uint64_t n = 0, before = 0, counted = must_write(true);
    sx_message m;
    char marker_name[64], expire[80];
    snprintf(marker_name, sizeof marker_name, "{%s}s1:t:alice", tags->tags[key.partition].text);
    snprintf(expire, sizeof expire, "PEXPIRE %s 5000", marker_name);
    assert_true(next_message(&m));
    assert_true(mark(&tag, 7, &n) == 7);
    assert_true(n == counted + 1 && counter() == n); /* what has another nonce than before is renewed, and announced */
    assert_true(next_message(&m));
    assert_int_equal(m.kind, SX_MESSAGE_TAG);
    assert_true(m.n == n && m.id == 7);
    assert_memory_equal(m.key, "alice", 5);
    before = n;
    assert_int_equal(test_talk_say(wire, expire)->integer, 1);
    assert_true(mark(&tag, 8, &n) == 7);
    assert_true(n == before && counter() == n);
    assert_true(nothing_published());
    assert_true(say("PTTL", marker_name)->integer > 50000); /* it is used: its time begins anew */
    sx_publish_write write = {.key = tag, .id = 9, .ttl_ms = 60000, .tail = tail, .tail_size = TAIL, .carry = true};
    int64_t ms = 0;
    assert_int_equal(do_write(&write, &n, &ms), SX_PUBLISH_DONE);
    assert_true(n == counted + 2);
    assert_true(next_message(&m));
    assert_int_equal(m.kind, SX_MESSAGE_TAG);
    assert_true(m.n == n && m.id == 9);
    assert_memory_equal(m.key, "alice", 5);
    assert_true(is_there()); /* the value of that name is another key */
}

/* Memory is at its end: a marker that can't be stored is gone, which invalidates as well. */
static void out_of_memory_does_not_keep_a_marker(void **state) {
    (void)state;
    sx_publish_key tag = key;
    tag.what = SX_PUBLISH_TAG;
    uint64_t n = 0;
    int64_t ms = 0;
    sx_message m;
    assert_true(mark(&tag, 7, &n) == 7);
    assert_true(next_message(&m));
    assert_true(sx_resp_is_text(test_talk_say(wire, "CONFIG SET maxmemory 1"), "OK"));
    sx_publish_write write = {.key = tag, .id = 9, .ttl_ms = 60000, .tail = tail, .tail_size = TAIL};
    assert_int_equal(do_write(&write, &n, &ms), SX_PUBLISH_DONE);
    assert_true(next_message(&m));
    assert_int_equal(m.kind, SX_MESSAGE_TAG);
    assert_true(sx_resp_is_text(test_talk_say(wire, "CONFIG SET maxmemory 0"), "OK"));
    assert_true(mark(&tag, 10, &n) != 7);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_value_travels_as_it_is_stored, clean),
        cmocka_unit_test_setup(a_lease_takes_the_place_of_that_version_only, clean),
        cmocka_unit_test_setup(a_marker_is_created_once_and_renewed, clean),
        cmocka_unit_test_setup(out_of_memory_does_not_keep_a_marker, clean),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
