/* SPDX-License-Identifier: Apache-2.0 */
/* The scripts on a real server: exact bytes, counters, refusals, what is published, and what is left when they fail. */
// ctest: timeout=600
#include "tests/coherence/scripts.h"
#include "tests/support/alloc.h"
#include "tests/support/cluster.h"

/* ---- writes ---- */

static void a_set_stores_numbers_and_publishes(void **state) {
    (void)state;
    int64_t before_us = server_us();
    uint64_t n = 0;
    int64_t ms = 0;
    sx_publish_write write = write_of(true);
    assert_int_equal(do_write(&write, &n, &ms), SX_PUBLISH_DONE);
    assert_true((int64_t)n >= before_us && (int64_t)n <= server_us()); /* a missing counter starts at TIME */
    assert_true(n > (UINT64_C(1) << 50) && ms >= before_us / 1000 && ms <= server_us() / 1000);
    assert_int_equal(counter(), n);
    assert_stored(n, ms, tail, TAIL);
    int64_t ttl = say("PTTL", value_name)->integer;
    assert_true(ttl > 50000 && ttl <= 60000);
    sx_message m;
    assert_true(next_message(&m));
    assert_int_equal(m.kind, SX_MESSAGE_KEY);
    assert_int_equal(m.n, n);
    assert_int_equal(m.id, write.id);
    assert_int_equal(m.ns_version, 3);
    assert_memory_equal(m.ns, "user", 4);
    assert_memory_equal(m.key, "alice", 5);
    for (int i = 1; i <= 10; i++) {
        assert_int_equal(must_write(i % 2 == 0), n + (uint64_t)i);
        assert_true(next_message(&m));
        assert_int_equal(m.n, n + (uint64_t)i);
    }
}

static void numbers_are_exact_to_2_53(void **state) {
    (void)state;
    static const uint64_t starts[] = {1, 255, 65535, 2147483647, 4294967295, 1800000000000000, 9007199254740989};
    for (size_t i = 0; i < sizeof starts / sizeof starts[0]; i++) {
        char words[128];
        snprintf(words, sizeof words, "HSET %s n %" PRIu64, counter_name, starts[i]);
        assert_int_equal(test_talk_say(wire, words)->type, SX_RESP_INTEGER);
        for (uint64_t step = 1; step <= 2; step++) {
            uint64_t n = 0;
            int64_t ms = 0;
            sx_publish_write write = write_of(true);
            assert_int_equal(do_write(&write, &n, &ms), SX_PUBLISH_DONE);
            assert_int_equal(n, starts[i] + step);
            assert_stored(n, ms, tail, TAIL);
            sx_message m;
            assert_true(next_message(&m));
            assert_int_equal(m.n, n);
        }
    }
    /* Beyond, it is not a number we can count with: begin anew. */
    assert_true(must_write(true) < 9007199254740992);
    assert_true(counter() < 9007199254740992);
}

static void an_invalidation_removes_and_publishes(void **state) {
    (void)state;
    uint64_t n = must_write(true);
    assert_true(is_there());
    assert_int_equal(must_write(false), n + 1);
    assert_false(is_there());
    sx_message m;
    assert_true(next_message(&m) && next_message(&m));
    assert_int_equal(m.n, n + 1);
    /* Also where there was nothing. */
    assert_int_equal(must_write(false), n + 2);
    assert_true(next_message(&m));
}

static void no_ttl_is_no_expiry(void **state) {
    (void)state;
    sx_publish_write write = write_of(true);
    uint64_t n;
    int64_t ms;
    write.ttl_ms = 0;
    assert_int_equal(do_write(&write, &n, &ms), SX_PUBLISH_DONE);
    assert_int_equal(say("PTTL", value_name)->integer, -1);
}

static void a_deadline_is_kept(void **state) {
    (void)state;
    uint64_t n = must_write(true), other = 7;
    int64_t ms = 8;
    sx_message m;
    assert_true(next_message(&m));
    for (int set = 0; set < 2; set++) {
        sx_publish_write write = write_of(set == 1);
        write.deadline_ms = server_us() / 1000 - 5;
        assert_int_equal(do_write(&write, &other, &ms), SX_PUBLISH_LATE);
        write.deadline_ms = 0;
        write.not_before_ms = server_us() / 1000 + 1000;
        assert_int_equal(do_write(&write, &other, &ms), SX_PUBLISH_EARLY);
    }
    assert_int_equal(other, 7);
    assert_int_equal(ms, 8);
    assert_true(is_there());
    assert_int_equal(counter(), n);
    assert_true(nothing_published());
    sx_publish_write write = write_of(false);
    write.deadline_ms = server_us() / 1000 + 5000;
    write.not_before_ms = server_us() / 1000 - 5;
    assert_int_equal(do_write(&write, &other, &ms), SX_PUBLISH_DONE);
    assert_int_equal(other, n + 1);
}

/* ---- out of memory ---- */

static void fill_memory(void) {
    assert_true(sx_resp_is_text(test_talk_say(wire, "CONFIG SET maxmemory 1"), "OK"));
    assert_int_equal(test_talk_say(wire, "SET other 1")->type, SX_RESP_ERROR);
}

static void out_of_memory_leaves_no_half_set(void **state) {
    (void)state;
    uint64_t n = must_write(true);
    sx_message m;
    assert_true(next_message(&m));
    fill_memory();
    sx_publish_write write = write_of(true);
    sx_publish_encode_write(&publish, &write, &command);
    const sx_resp *reply = test_talk_call(wire, &command, &scripts.write);
    assert_int_equal(reply->type, SX_RESP_ERROR);
    assert_memory_equal(reply->text, "OOM", 3);
    assert_true(is_there());
    assert_int_equal(counter(), n);
    assert_true(nothing_published());
}

static void out_of_memory_does_not_stop_an_invalidation(void **state) {
    (void)state;
    uint64_t n = must_write(true);
    sx_message m;
    assert_true(next_message(&m));
    fill_memory();
    assert_int_equal(must_write(false), n + 1);
    assert_false(is_there());
    assert_true(next_message(&m));
    assert_int_equal(m.n, n + 1);
}

/* Where the counter can't count, whatever the reason, nobody goes on believing in what was there. */
static void a_refused_number_publishes_untrust(void **state) {
    (void)state;
    char words[256];
    snprintf(words, sizeof words, "RPUSH %s x", counter_name);
    assert_int_equal(test_talk_say(wire, words)->integer, 1);
    snprintf(words, sizeof words, "SET %s old", value_name);
    assert_true(sx_resp_is_text(test_talk_say(wire, words), "OK"));
    sx_publish_write write = write_of(true);
    sx_publish_encode_write(&publish, &write, &command);
    assert_int_equal(test_talk_call(wire, &command, &scripts.write)->type, SX_RESP_ERROR);
    assert_true(is_there());
    assert_true(nothing_published());
    write = write_of(false);
    sx_publish_encode_write(&publish, &write, &command);
    assert_int_equal(test_talk_call(wire, &command, &scripts.write)->type, SX_RESP_ERROR);
    assert_false(is_there());
    sx_message m;
    assert_true(next_message(&m));
    assert_int_equal(m.kind, SX_MESSAGE_UNTRUST);
}

/* ---- leases ---- */

static const uint8_t lease_bytes[] = "\x93\x02\xcf\x00\x00\x00\x00\x00\x00\x00\x2a\xc2";

static const sx_resp *place(uint64_t token) {
    const sx_redis_script *script;
    sx_publish_encode_lease(&publish, &scripts, &key, token, 10000, &command, &script);
    return test_talk_call(wire, &command, script);
}

static void leases_are_placed_once(void **state) {
    (void)state;
    for (int by_script = 0; by_script < 2; by_script++) {
        publish.set_nx_get = by_script == 0;
        assert_int_equal(say("DEL", value_name)->type, SX_RESP_INTEGER);
        assert_int_equal(place(42)->type, SX_RESP_NULL);
        const sx_resp *there = place(43);
        assert_int_equal(there->type, SX_RESP_STRING);
        assert_int_equal(there->size, 12);
        assert_memory_equal(there->text, lease_bytes, 12);
        int64_t ttl = say("PTTL", value_name)->integer;
        assert_true(ttl > 5000 && ttl <= 10000);
    }
    publish.set_nx_get = true;
}

static uint64_t floor_known; /* by whoever fills */

static sx_publish_verdict do_fill(uint64_t token, int64_t deadline_ms, uint64_t *n, int64_t *ms) {
    sx_publish_encode_fill(&publish, &key, token, deadline_ms, 60000, tail, TAIL, floor_known, &command);
    return sx_publish_decode(test_talk_call(wire, &command, &scripts.fill), n, ms);
}

static void a_fill_needs_its_lease(void **state) {
    (void)state;
    uint64_t n = must_write(false), filled = 0;
    int64_t ms = 0;
    sx_message m;
    assert_true(next_message(&m));
    assert_int_equal(do_fill(42, 0, &filled, &ms), SX_PUBLISH_LOST);
    floor_known = n; /* the counter was made just now */
    assert_int_equal(place(42)->type, SX_RESP_NULL);
    assert_int_equal(do_fill(43, 0, &filled, &ms), SX_PUBLISH_LOST);
    assert_int_equal(do_fill(42, server_us() / 1000 - 5, &filled, &ms), SX_PUBLISH_LATE);
    assert_int_equal(do_fill(42, 0, &filled, &ms), SX_PUBLISH_DONE);
    assert_int_equal(filled, n); /* a load is no write */
    assert_int_equal(counter(), n);
    assert_stored(n, ms, tail, TAIL);
    assert_true(nothing_published());
    assert_int_equal(do_fill(42, 0, &filled, &ms), SX_PUBLISH_LOST);
    /* An invalidation between takes the lease away. */
    assert_int_equal(must_write(false), n + 1);
    assert_true(next_message(&m));
    assert_int_equal(place(44)->type, SX_RESP_NULL);
    assert_int_equal(must_write(false), n + 2);
    assert_int_equal(do_fill(44, 0, &filled, &ms), SX_PUBLISH_LOST);
    assert_false(is_there());
}

static void a_fill_without_a_counter_is_not_stored(void **state) {
    (void)state;
    uint64_t n = 0;
    int64_t ms = 0;
    floor_known = 1;
    assert_int_equal(place(42)->type, SX_RESP_NULL);
    assert_int_equal(do_fill(42, 0, &n, &ms), SX_PUBLISH_LOST);
    assert_false(is_there());
    assert_true(counter() == 0);
}

static const sx_resp *await(uint64_t token) {
    sx_publish_encode_await(&publish, &key, token, &command);
    return test_talk_call(wire, &command, &scripts.await);
}

static void mark_awaited(uint64_t token) {
    const sx_resp *left = await(token);
    assert_true(left->type == SX_RESP_INTEGER && left->integer > 5000 && left->integer <= 10000);
}

static void awaiting_changes_one_byte(void **state) {
    (void)state;
    assert_int_equal(await(42)->type, SX_RESP_NULL); /* no lease */
    assert_int_equal(place(42)->type, SX_RESP_NULL);
    assert_memory_equal(await(43)->text, lease_bytes, 12); /* another's */
    for (int i = 0; i < 2; i++) mark_awaited(42); /* the second finds the time that the first left */
    const sx_resp *there = await(43);
    assert_int_equal(there->size, 12);
    assert_memory_equal(there->text, lease_bytes, 11);
    assert_int_equal((uint8_t)there->text[11], 0xc3);
    must_write(true);
    assert_int_equal(await(42)->size, 20 + TAIL); /* overwritten: what GET answers */
}

static void an_awaited_lease_is_announced(void **state) {
    (void)state;
    uint64_t n = 0;
    int64_t ms = 0;
    sx_message m;
    floor_known = must_write(false);
    assert_true(next_message(&m));
    assert_int_equal(place(42)->type, SX_RESP_NULL);
    mark_awaited(42);
    assert_int_equal(do_fill(42, 0, &n, &ms), SX_PUBLISH_DONE);
    assert_true(next_message(&m));
    assert_int_equal(m.kind, SX_MESSAGE_FILLED);
    assert_int_equal(m.id, 42);
    assert_memory_equal(m.key, "alice", 5);
    assert_int_equal(say("DEL", value_name)->integer, 1);
    assert_int_equal(place(43)->type, SX_RESP_NULL);
    mark_awaited(43);
    sx_publish_encode_abandon(&publish, &key, 43, &command);
    assert_int_equal(test_talk_call(wire, &command, &scripts.abandon)->integer, 1);
    assert_true(next_message(&m));
    assert_int_equal(m.kind, SX_MESSAGE_FILLED);
    assert_int_equal(m.id, 43);
}

static void only_the_holder_abandons(void **state) {
    (void)state;
    assert_int_equal(place(42)->type, SX_RESP_NULL);
    sx_publish_encode_abandon(&publish, &key, 43, &command);
    assert_int_equal(test_talk_call(wire, &command, &scripts.abandon)->integer, 0);
    assert_true(is_there());
    sx_publish_encode_abandon(&publish, &key, 42, &command);
    assert_int_equal(test_talk_call(wire, &command, &scripts.abandon)->integer, 1);
    assert_false(is_there());
    assert_true(nothing_published());
    must_write(true);
    sx_publish_encode_abandon(&publish, &key, 42, &command);
    assert_int_equal(test_talk_call(wire, &command, &scripts.abandon)->integer, 0);
    assert_true(is_there());
}

/* ---- clears ---- */

static uint64_t must_clear(void) {
    uint64_t n = 0;
    int64_t ms = 0;
    sx_publish_key whole = key;
    whole.key_size = 0;
    sx_publish_encode_clear(&publish, &whole, 0, &command);
    assert_int_equal(sx_publish_decode(test_talk_call(wire, &command, &scripts.clear), &n, &ms), SX_PUBLISH_DONE);
    return n;
}

static void a_clear_is_numbered_published_and_remembered(void **state) {
    (void)state;
    sx_message m;
    uint64_t n = must_write(true);
    assert_true(next_message(&m));
    assert_int_equal(must_clear(), n + 1);
    assert_true(next_message(&m));
    assert_int_equal(m.kind, SX_MESSAGE_CLEAR);
    assert_true(m.n == n + 1 && m.ns_size == 4 && memcmp(m.ns, "user", 4) == 0 && m.ns_version == 3);
    sx_publish_encode_counter(&publish, key.partition, &command);
    const sx_resp *reply = test_talk_call(wire, &command, &scripts.counter);
    size_t at = 0, named = 0;
    for (sx_publish_floor floor; sx_publish_next_floor(reply, &at, &floor);) {
        assert_true(floor.ns == NULL ? floor.n == n : floor.n == n + 1);
        if (floor.ns == NULL) continue;
        named++;
        assert_true(floor.ns_size == 4 && memcmp(floor.ns, "user", 4) == 0 && floor.ns_version == 3);
    }
    assert_int_equal(at, reply->count);
    assert_int_equal(named, 1);
    /* One that was held back for an ASK does nothing. */
    uint64_t unused = 0;
    int64_t ms = 0;
    sx_publish_encode_clear(&publish, &key, 1, &command);
    assert_int_equal(sx_publish_decode(test_talk_call(wire, &command, &scripts.clear), &unused, &ms), SX_PUBLISH_LATE);
    assert_int_equal(counter(), n + 1);
    /* A pattern is announced, and nothing is cleared. */
    sx_publish_encode_clear(&publish, &key, 0, &command);
    assert_int_equal(sx_publish_decode(test_talk_call(wire, &command, &scripts.clear), &unused, &ms), SX_PUBLISH_DONE);
    assert_true(next_message(&m));
    assert_int_equal(m.kind, SX_MESSAGE_PATTERN);
    assert_true(m.n == n + 2 && m.key_size == 5 && memcmp(m.key, "alice", 5) == 0);
    sx_publish_encode_counter(&publish, key.partition, &command);
    reply = test_talk_call(wire, &command, &scripts.counter);
    at = 0;
    for (sx_publish_floor floor; sx_publish_next_floor(reply, &at, &floor);) assert_true(floor.n <= n + 1);
    /* Memory limits don't stop it. */
    assert_true(sx_resp_is_text(test_talk_say(wire, "CONFIG SET maxmemory 1"), "OK"));
    assert_int_equal(must_clear(), n + 3);
    assert_true(next_message(&m));
}

static void a_load_from_before_a_clear_is_not_stored(void **state) {
    (void)state;
    sx_message m;
    uint64_t n = must_write(false), filled = 0;
    int64_t ms = 0;
    assert_true(next_message(&m));
    assert_int_equal(place(42)->type, SX_RESP_NULL);
    floor_known = n;
    uint64_t cleared = must_clear();
    assert_true(next_message(&m));
    sx_publish_encode_await(&publish, &key, 42, &command);
    assert_int_equal(test_talk_call(wire, &command, &scripts.await)->type, SX_RESP_INTEGER);
    assert_int_equal(do_fill(42, 0, &filled, &ms), SX_PUBLISH_LOST);
    assert_false(is_there()); /* the next one loads */
    assert_true(next_message(&m));
    assert_int_equal(m.kind, SX_MESSAGE_FILLED); /* and who waits is told */
    floor_known = cleared + 1; /* a failover lost that one, and this one came after it */
    assert_int_equal(place(43)->type, SX_RESP_NULL);
    assert_int_equal(do_fill(43, 0, &filled, &ms), SX_PUBLISH_LOST);
    assert_false(is_there());
    assert_int_equal(place(43)->type, SX_RESP_NULL);
    floor_known = cleared;
    assert_int_equal(do_fill(43, 0, &filled, &ms), SX_PUBLISH_DONE);
    assert_int_equal(filled, cleared); /* at its n, and valid */
    /* A counter that is gone takes with it what it knew. */
    assert_int_equal(say("DEL", counter_name)->integer, 1);
    assert_int_equal(say("DEL", value_name)->integer, 1);
    assert_int_equal(place(44)->type, SX_RESP_NULL);
    assert_int_equal(do_fill(44, 0, &filled, &ms), SX_PUBLISH_LOST);
}

static void floors_that_make_no_sense_are_refused(void **state) {
    (void)state;
    static const char *const names[] = {"user", "user:", ":3", "user:x", "user:4294967296", "user:99999999999"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const sx_resp items[] = {{.type = SX_RESP_STRING, .size = strlen(names[i]), .text = names[i]},
                                 {.type = SX_RESP_STRING, .size = 1, .text = "7"}};
        const sx_resp reply = {.type = SX_RESP_ARRAY, .count = 2, .items = items};
        sx_publish_floor floor;
        size_t at = 0;
        assert_false(sx_publish_next_floor(&reply, &at, &floor));
        assert_int_equal(at, 0);
    }
    const sx_resp nothing = {.type = SX_RESP_NULL};
    sx_publish_floor floor;
    size_t at = 0;
    assert_false(sx_publish_next_floor(&nothing, &at, &floor));
    assert_true(at != nothing.count);
}

/* What SCAN finds may have any name. */
static void names_are_taken_apart_or_refused(void **state) {
    (void)state;
    const char *ours = tags->tags[key.partition].text, *other = tags->tags[(key.partition + 1) % P].text;
    const struct {
        const char *tag, *rest;
        bool good;
    } names[] = {{ours, "}s1:user:3:alice", true},   {other, "}s1:user:3:alice", false}, {ours, "}s1:user:4:alice", false},
                 {ours, "}s1:users:3:alice", false}, {ours, "}s1:user:3:", false},       {ours, "s1:user:3:alice", false}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char text[64];
        int size = snprintf(text, sizeof text, "{%s%s", names[i].tag, names[i].rest);
        const sx_resp name = {.type = SX_RESP_STRING, .size = (size_t)size, .text = text};
        sx_publish_key found = {.ns = "user", .ns_size = 4, .ns_version = 3};
        assert_int_equal(sx_publish_decode_name(&publish, P, &name, &found), names[i].good ? STRATA_OK : STRATA_MISS);
        if (!names[i].good) continue;
        assert_int_equal(found.partition, key.partition);
        assert_int_equal(found.key_size, 5);
        assert_memory_equal(found.key, "alice", 5);
    }
    /* What can't be compared is not another's. */
    test_alloc alloc;
    test_alloc_init(&alloc);
    sx_publish poor = publish;
    poor.alloc = &alloc.table;
    test_alloc_fail_from(&alloc, 1);
    const sx_resp name = {.type = SX_RESP_STRING, .size = 4, .text = "{}s1"};
    sx_publish_key found = {.ns = "user", .ns_size = 4, .ns_version = 3};
    assert_int_equal(sx_publish_decode_name(&poor, P, &name, &found), STRATA_E_NOMEM);
}

/* ---- heartbeat, counter, probe ---- */

static void counters_are_created_once(void **state) {
    (void)state;
    int64_t before_us = server_us();
    sx_publish_encode_counter(&publish, key.partition, &command);
    sx_publish_floor floor;
    size_t at = 0;
    assert_true(sx_publish_next_floor(test_talk_call(wire, &command, &scripts.counter), &at, &floor));
    assert_true(floor.ns == NULL && (int64_t)floor.n >= before_us && counter() == floor.n); /* nothing from before counts */
    uint64_t n = floor.n;
    sx_publish_encode_counter(&publish, key.partition, &command);
    at = 0;
    assert_true(sx_publish_next_floor(test_talk_call(wire, &command, &scripts.counter), &at, &floor));
    assert_true(floor.n == n && counter() == n);
}

static void a_beat_tells_time_and_counters(void **state) {
    (void)state;
    uint64_t n = must_write(false), read = 0, s = 0;
    uint32_t wrong = (key.partition + 1) % P, missing = (key.partition + 2) % P;
    char words[128];
    snprintf(words, sizeof words, "RPUSH {%s}s1:n x", tags->tags[wrong].text);
    assert_int_equal(test_talk_say(wire, words)->integer, 1);
    const uint32_t asked[] = {key.partition, wrong, missing, key.partition};
    sx_publish_encode_beat(&publish, asked, 4, &command);
    const sx_resp *reply = test_talk_call(wire, &command, &scripts.beat);
    assert_int_equal(reply->type, SX_RESP_ARRAY);
    assert_int_equal(reply->count, 6);
    assert_true(sx_resp_to_uint(&reply->items[0], &s) && s > 1600000000);
    assert_true(sx_resp_to_uint(&reply->items[2], &read) && read == n);
    assert_int_equal(reply->items[3].type, SX_RESP_STRING);
    assert_int_equal(reply->items[3].text[0], '-');
    assert_int_equal(reply->items[4].type, SX_RESP_NULL);
    assert_true(sx_resp_to_uint(&reply->items[5], &read) && read == n);
}

static void a_probe_comes_back_and_leaves_nothing(void **state) {
    (void)state;
    sx_publish_encode_probe(&publish, key.partition, 77, &command);
    assert_int_equal(test_talk_call(wire, &command, &scripts.probe)->integer, 1);
    sx_message m;
    assert_true(next_message(&m));
    assert_int_equal(m.kind, SX_MESSAGE_PROBE);
    assert_int_equal(m.id, 77);
    assert_int_equal(test_talk_say(wire, "DBSIZE")->integer, 0);
}

static void plain_commands(void **state) {
    (void)state;
    uint64_t n = must_write(true);
    sx_publish_encode_get(&publish, &key, &command);
    assert_int_equal(test_talk_call(wire, &command, NULL)->size, 20 + TAIL);
    sx_publish_encode_front(&publish, &key, &command);
    const sx_resp *front = test_talk_call(wire, &command, NULL);
    assert_int_equal(front->size, 29);
    assert_int_equal((uint8_t)front->text[10], n & 0xff);
}

static void malformed_replies_are_seen(void **state) {
    (void)state;
    uint64_t n = 7;
    int64_t ms = 8;
    sx_resp pair[2] = {{.type = SX_RESP_INTEGER, .integer = 5}, {.type = SX_RESP_INTEGER, .integer = 6}};
    sx_resp reply = {.type = SX_RESP_ARRAY, .count = 2, .items = pair};
    assert_int_equal(sx_publish_decode(NULL, &n, &ms), SX_PUBLISH_MALFORMED);
    reply.count = 1;
    assert_int_equal(sx_publish_decode(&reply, &n, &ms), SX_PUBLISH_MALFORMED);
    reply.count = 2;
    pair[0].integer = 0;
    assert_int_equal(sx_publish_decode(&reply, &n, &ms), SX_PUBLISH_MALFORMED);
    pair[0].integer = 5;
    pair[1].type = SX_RESP_STRING;
    assert_int_equal(sx_publish_decode(&reply, &n, &ms), SX_PUBLISH_MALFORMED);
    for (int64_t none = -4; none <= 0; none += 4) {
        reply = (sx_resp){.type = SX_RESP_INTEGER, .integer = none};
        assert_int_equal(sx_publish_decode(&reply, &n, &ms), SX_PUBLISH_MALFORMED);
    }
    assert_int_equal(n, 7);
    assert_int_equal(ms, 8);
}

/* ---- in a cluster ---- */

static void a_foreign_channel_is_refused(void **state) {
    (void)state;
    sx_cluster *cluster = test_cluster_start(&(sx_cluster_options){.primaries = 3});
    uint16_t slot = tags->tags[key.partition].slot;
    int owner = sx_cluster_owner(cluster, slot);
    assert_true(owner >= 0);
    test_talk *kept_wire = wire, *kept_listener = listener;
    wire = test_talk_open(sx_cluster_port(cluster, (uint32_t)owner), false);
    publish.sharded = true;
    listen_at(sx_cluster_port(cluster, (uint32_t)owner));
    uint64_t n = must_write(true);
    sx_message m;
    assert_true(next_message(&m) && m.n == n);
    sx_publish_encode_probe(&publish, key.partition, 78, &command);
    assert_int_equal(test_talk_call(wire, &command, &scripts.probe)->integer, 1);
    assert_true(next_message(&m) && m.id == 78);
    /* A beat across slots of its node; a foreign partition answers with an error, not with another node's counter. */
    uint32_t near = key.partition ^ 1, far = (key.partition + P / 2) % P;
    const uint32_t asked[] = {key.partition, near, far};
    sx_publish_encode_beat(&publish, asked, 3, &command);
    const sx_resp *reply = test_talk_call(wire, &command, &scripts.beat);
    uint64_t read = 0;
    assert_true(sx_resp_to_uint(&reply->items[2], &read) && read == n);
    assert_int_equal(reply->items[3].type, SX_RESP_NULL);
    assert_int_equal(reply->items[4].type, SX_RESP_STRING);
    assert_non_null(memmem(reply->items[4].text, reply->items[4].size, "non local key", 13));
    /* A channel of another node's slot: the script fails after its SET, which is why permissions are probed first. */
    sx_command_text(&command, "2");
    sx_command_text(&command, value_name);
    sx_command_text(&command, counter_name);
    for (int i = 0; i < 3; i++) sx_command_text(&command, "0");
    sx_command_text(&command, "SPUBLISH");
    char foreign[64];
    snprintf(foreign, sizeof foreign, "{%s}s1:c", tags->tags[far].text);
    sx_command_text(&command, foreign);
    sx_command_text(&command, "\x96\x01");
    sx_command_text(&command, "x");
    sx_command_text(&command, "tail");
    assert_int_equal(test_talk_call(wire, &command, &scripts.write)->type, SX_RESP_ERROR);
    assert_int_equal(counter(), n + 1);
    test_talk_close(wire);
    test_talk_close(listener);
    wire = kept_wire;
    listener = kept_listener;
    sx_cluster_stop(cluster);
}

int main(void) {
    if (!sx_cluster_available()) return 77;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_set_stores_numbers_and_publishes, clean),
        cmocka_unit_test_setup(numbers_are_exact_to_2_53, clean),
        cmocka_unit_test_setup(an_invalidation_removes_and_publishes, clean),
        cmocka_unit_test_setup(no_ttl_is_no_expiry, clean),
        cmocka_unit_test_setup(a_deadline_is_kept, clean),
        cmocka_unit_test_setup(out_of_memory_leaves_no_half_set, clean),
        cmocka_unit_test_setup(out_of_memory_does_not_stop_an_invalidation, clean),
        cmocka_unit_test_setup(a_refused_number_publishes_untrust, clean),
        cmocka_unit_test_setup(leases_are_placed_once, clean),
        cmocka_unit_test_setup(a_fill_needs_its_lease, clean),
        cmocka_unit_test_setup(a_fill_without_a_counter_is_not_stored, clean),
        cmocka_unit_test_setup(awaiting_changes_one_byte, clean),
        cmocka_unit_test_setup(an_awaited_lease_is_announced, clean),
        cmocka_unit_test_setup(only_the_holder_abandons, clean),
        cmocka_unit_test_setup(a_clear_is_numbered_published_and_remembered, clean),
        cmocka_unit_test_setup(a_load_from_before_a_clear_is_not_stored, clean),
        cmocka_unit_test(floors_that_make_no_sense_are_refused),
        cmocka_unit_test(names_are_taken_apart_or_refused),
        cmocka_unit_test_setup(counters_are_created_once, clean),
        cmocka_unit_test_setup(a_beat_tells_time_and_counters, clean),
        cmocka_unit_test_setup(a_probe_comes_back_and_leaves_nothing, clean),
        cmocka_unit_test_setup(plain_commands, clean),
        cmocka_unit_test(malformed_replies_are_seen),
        cmocka_unit_test_setup(a_foreign_channel_is_refused, clean),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
