/* SPDX-License-Identifier: Apache-2.0 */
/* The scripts on a real server: values that travel with their message, leases over outdated values, markers. */
// ctest: timeout=300
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

static int64_t claim(uint64_t n, uint64_t id, uint64_t token) {
    sx_command_clear(&command);
    sx_publish_encode_claim(&publish, &key, n, id, token, 60000, &command);
    const sx_resp *reply = test_talk_call(wire, &command, &scripts.claim);
    return reply->type == SX_RESP_INTEGER ? reply->integer : -(int64_t)reply->type;
}

static uint64_t refill_floor;

static sx_publish_verdict refill(uint64_t n, uint64_t id, uint64_t token, int64_t deadline_ms, const uint8_t *rest,
                                 uint64_t *new_n, int64_t *ms) {
    sx_command_clear(&command);
    sx_publish_encode_refill(&publish, &key, n, id, token, deadline_ms, 30000, rest, TAIL, refill_floor, &command);
    return sx_publish_decode(test_talk_call(wire, &command, &scripts.refill), new_n, ms);
}

static void a_refresh_replaces_that_version_only(void **state) {
    (void)state;
    uint64_t n = 0, now = 0;
    int64_t ms = 0;
    sx_publish_write write = write_of(true);
    assert_int_equal(claim(1, 1, 42), -(int64_t)SX_RESP_NULL);
    assert_int_equal(do_write(&write, &n, &ms), SX_PUBLISH_DONE);
    refill_floor = n; /* a counter begins with one */
    assert_int_equal(claim(n + 1, write.id, 42), -(int64_t)SX_RESP_STRING); /* it is told what is there instead */
    assert_int_equal(claim(n, write.id + 1, 42), -(int64_t)SX_RESP_STRING);
    assert_int_equal(claim(n, write.id, 42), 1);
    assert_int_equal(claim(n, write.id, 42), 1); /* its answer was lost */
    assert_int_equal(claim(n, write.id, 43), 0);
    assert_stored(n, ms, tail, TAIL); /* where it was */
    while (next_message(&(sx_message){0})) {}
    assert_int_equal(refill(n, write.id, 43, 0, tail, &now, &ms), SX_PUBLISH_LOST);
    assert_int_equal(refill(n, write.id, 42, 1, tail, &now, &ms), SX_PUBLISH_LATE);
    assert_int_equal(refill(n, write.id, 42, 0, tail, &now, &ms), SX_PUBLISH_DONE);
    assert_int_equal(now, n); /* no write */
    assert_true(nothing_published());
    assert_stored(now, ms, tail, TAIL);
    int64_t ttl = say("PTTL", value_name)->integer;
    assert_true(ttl > 20000 && ttl <= 30000);
    assert_int_equal(refill(n, write.id, 42, 0, tail, &now, &ms), SX_PUBLISH_LOST); /* a claim is good once */

    assert_int_equal(claim(n, write.id, 44), 1); /* the test's value has the same id again */
    assert_int_equal(do_write(&write, &n, &ms), SX_PUBLISH_DONE);
    assert_int_equal(refill(n - 1, write.id, 44, 0, tail, &now, &ms), SX_PUBLISH_LOST); /* it was written meanwhile */
    assert_stored(n, ms, tail, TAIL);
    assert_int_equal(claim(n, write.id, 45), 1); /* who lost it is no obstacle */
    sx_publish_key side = key;
    side.what = SX_PUBLISH_REFRESH;
    sx_command_clear(&command);
    sx_publish_encode_abandon(&publish, &side, 45, &command);
    assert_int_equal(test_talk_call(wire, &command, &scripts.abandon)->integer, 1);
    assert_true(is_there());
    sx_command_clear(&command);
    side = key;
    side.key_size = 0; /* the whole namespace */
    sx_publish_encode_clear(&publish, &side, 0, &command);
    assert_int_equal(sx_publish_decode(test_talk_call(wire, &command, &scripts.clear), &now, &ms), SX_PUBLISH_DONE);
    assert_int_equal(claim(n, write.id, 46), 1);
    refill_floor = now - 1;
    assert_int_equal(refill(n, write.id, 46, 0, tail, &now, &ms), SX_PUBLISH_LOST); /* cleared since the loader was asked */
    assert_int_equal(claim(n, write.id, 46), 1);
    refill_floor = now + 1; /* of a clear that a failover lost */
    assert_int_equal(refill(n, write.id, 46, 0, tail, &now, &ms), SX_PUBLISH_LOST);
    refill_floor--;
    assert_int_equal(claim(n, write.id, 46), 1);
    assert_int_equal(refill(n, write.id, 46, 0, NULL, &now, &ms), SX_PUBLISH_DONE);
    assert_false(is_there());
}

static sx_publish_verdict extend(uint64_t n, uint64_t id, uint64_t token, uint64_t floor) {
    uint64_t new_n;
    int64_t ms;
    sx_command_clear(&command);
    sx_publish_encode_refill(&publish, &key, n, id, token, 0, 30000, NULL, 0, floor, &command);
    return sx_publish_decode(test_talk_call(wire, &command, &scripts.extend), &new_n, &ms);
}

static void an_extension_is_of_that_version_only(void **state) {
    (void)state;
    uint64_t n = 0, floor, cleared = 0;
    int64_t ms = 0, cleared_ms;
    sx_publish_write write = write_of(true);
    assert_int_equal(do_write(&write, &n, &ms), SX_PUBLISH_DONE);
    floor = n; /* a counter begins with one */
    assert_int_equal(claim(n, write.id, 42), 1);
    assert_int_equal(extend(n, write.id, 43, floor), SX_PUBLISH_LOST);
    assert_stored(n, ms, tail, TAIL);
    assert_int_equal(extend(n, write.id, 42, floor), SX_PUBLISH_DONE);
    assert_int_equal(claim(n, 42, 44), 1); /* by the token it is another version */
    assert_int_equal(do_write(&write, &n, &ms), SX_PUBLISH_DONE);
    assert_int_equal(extend(n - 1, 42, 44, floor), SX_PUBLISH_LOST); /* it was written meanwhile */
    assert_stored(n, ms, tail, TAIL);
    sx_publish_key whole = key;
    whole.key_size = 0;
    sx_command_clear(&command);
    sx_publish_encode_clear(&publish, &whole, 0, &command);
    assert_int_equal(sx_publish_decode(test_talk_call(wire, &command, &scripts.clear), &cleared, &cleared_ms), SX_PUBLISH_DONE);
    for (uint64_t known = cleared - 1; known <= cleared + 1; known += 2) { /* since the loader was asked; by a clear that a failover lost */
        assert_int_equal(claim(n, write.id, 45), 1);
        assert_int_equal(extend(n, write.id, 45, known), SX_PUBLISH_LOST);
        assert_stored(n, ms, tail, TAIL);
    }
}

static uint64_t clear_named(const char *name, size_t size) {
    sx_publish_key whole = key;
    uint64_t n = 0;
    int64_t ms;
    whole.key_size = 0;
    whole.ns = name;
    whole.ns_size = size;
    sx_command_clear(&command);
    sx_publish_encode_clear(&publish, &whole, 0, &command);
    assert_int_equal(sx_publish_decode(test_talk_call(wire, &command, &scripts.clear), &n, &ms), SX_PUBLISH_DONE);
    return n;
}

/* However many namespaces and versions are cleared in the course of time. */
static void too_many_floors_become_one_for_all(void **state) {
    (void)state;
    sx_message m;
    char name[16];
    uint64_t n = 0;
    for (int i = 0; i < SX_PUBLISH_FLOORS_MAX; i++) {
        n = clear_named(name, (size_t)snprintf(name, sizeof name, "ns%d", i));
        assert_true(next_message(&m) && m.kind == SX_MESSAGE_CLEAR);
    }
    assert_int_equal(say("HLEN", counter_name)->integer, SX_PUBLISH_FLOORS_MAX + 2);
    n = clear_named("ns7", 3); /* one more time is no more */
    assert_true(next_message(&m) && m.kind == SX_MESSAGE_CLEAR);
    assert_int_equal(say("HLEN", counter_name)->integer, SX_PUBLISH_FLOORS_MAX + 2);
    assert_int_equal(clear_named("new", 3), n + 1);
    assert_true(next_message(&m) && m.kind == SX_MESSAGE_UNTRUST); /* everybody asks again, also who hears no more than this n */
    assert_true(next_message(&m) && m.kind == SX_MESSAGE_CLEAR && m.n == n + 1);
    sx_command_clear(&command);
    sx_publish_encode_counter(&publish, key.partition, &command);
    const sx_resp *reply = test_talk_call(wire, &command, &scripts.counter);
    size_t at = 0, floors = 0;
    for (sx_publish_floor floor; sx_publish_next_floor(reply, &at, &floor); floors++)
        assert_true(floor.ns == NULL && floor.n == n + 1); /* of all namespaces, nothing older */
    assert_int_equal(at, reply->count);
    assert_int_equal(floors, 1);
    assert_int_equal(clear_named("ns7", 3), n + 2);
    assert_true(next_message(&m) && m.kind == SX_MESSAGE_CLEAR);
    assert_int_equal(say("HLEN", counter_name)->integer, 3);
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
    snprintf(marker_name, sizeof marker_name, "{%s}s1:#alice", tags->tags[key.partition].text);
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
        cmocka_unit_test_setup(a_refresh_replaces_that_version_only, clean),
        cmocka_unit_test_setup(an_extension_is_of_that_version_only, clean),
        cmocka_unit_test_setup(too_many_floors_become_one_for_all, clean),
        cmocka_unit_test_setup(a_marker_is_created_once_and_renewed, clean),
        cmocka_unit_test_setup(out_of_memory_does_not_keep_a_marker, clean),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
