/* SPDX-License-Identifier: Apache-2.0 */
/* Sets with a condition on a real server: what is refused changes nothing and is heard of by nobody. */
// ctest: timeout=300
#include <unistd.h>

#include "l2/envelope.h"
#include "tests/coherence/scripts.h"
#include "tests/support/cluster.h"

static sx_buf stored_tail;

static sx_publish_write conditional_of(sx_publish_only only, uint64_t id, uint64_t app_version, int64_t ttl_ms, uint8_t flags) {
    sx_envelope envelope = {.id = id, .app_version = app_version, .ttl_ms = ttl_ms, .flags = flags, .payload = (const uint8_t *)"v",
                            .payload_size = 1};
    sx_buf_clear(&stored_tail, SIZE_MAX);
    sx_envelope_encode_tail(&stored_tail, &envelope);
    return (sx_publish_write){.key = key, .id = id, .ttl_ms = 60000, .tail = stored_tail.data, .tail_size = stored_tail.size,
                              .condition = {.only = only, .app_version = app_version}};
}

static sx_publish_write conditional(sx_publish_only only, uint64_t id, uint64_t app_version) {
    return conditional_of(only, id, app_version, 60000, 0);
}

/* n where it was done; 0 where it was refused, with the version of what is there. */
static uint64_t ask(const sx_publish_write *write, uint64_t *held_n, uint64_t *held_id) {
    uint64_t n = 0;
    int64_t ms = 0;
    sx_command_clear(&command);
    sx_publish_encode_write_if(&publish, write, &command);
    const sx_resp *reply = test_talk_call(wire, &command, &scripts.write_if);
    if (sx_publish_decode_conflict(reply, held_n, held_id)) return 0;
    assert_int_equal(sx_publish_decode(reply, &n, &ms), SX_PUBLISH_DONE);
    return n;
}

static void forget_messages(void) {
    while (test_talk_read(listener, 20) != NULL) {}
}

static void refused(const sx_publish_write *write, uint64_t n, uint64_t id) {
    uint64_t held_n = 7, held_id = 7, before = counter();
    forget_messages();
    assert_int_equal(ask(write, &held_n, &held_id), 0);
    assert_int_equal(held_n, n);
    assert_int_equal(held_id, id);
    assert_int_equal(counter(), before);
    assert_true(nothing_published());
}

static uint64_t done(const sx_publish_write *write) {
    uint64_t held_n, held_id;
    uint64_t n = ask(write, &held_n, &held_id);
    assert_true(n != 0);
    return n;
}

static void the_same_version_alone(void **state) {
    (void)state;
    sx_publish_write write = conditional(SX_PUBLISH_IF_SAME, 11, 0);
    write.condition.n = 1;
    refused(&write, 0, 0); /* nothing is there */
    sx_publish_write first = conditional(SX_PUBLISH_IF_ABSENT, 10, 0);
    uint64_t n = done(&first);
    write = conditional(SX_PUBLISH_IF_SAME, 11, 0);
    write.condition.n = n;
    write.condition.id = 9;
    refused(&write, n, 10); /* another id */
    write.condition = (sx_publish_condition){.only = SX_PUBLISH_IF_SAME, .n = n - 1, .id = 10};
    refused(&write, n, 10); /* another n */
    write.condition.n = n;
    forget_messages();
    write.carry = true;
    assert_int_equal(done(&write), n + 1);
    sx_message m;
    assert_true(next_message(&m));
    assert_int_equal(m.kind, SX_MESSAGE_VALUE);
    assert_int_equal(m.n, n + 1);
    sx_publish_write other = conditional(SX_PUBLISH_IF_SAME, 12, 0);
    other.condition.n = n;
    other.condition.id = 10;
    refused(&other, n + 1, 11);
}

static void sent_again_it_is_done_once(void **state) {
    (void)state;
    sx_publish_write write = conditional(SX_PUBLISH_IF_ABSENT, 10, 0);
    uint64_t n = done(&write);
    forget_messages();
    assert_int_equal(done(&write), n);
    assert_int_equal(counter(), n);
    assert_true(nothing_published());
}

static void newer_by_all_of_64_bits(void **state) {
    (void)state;
    static const uint64_t steps[] = {1,          127,        128,        255,        256,
                                     65535,      65536,      UINT32_MAX, UINT64_C(1) << 32, (UINT64_C(1) << 32) + 1,
                                     (UINT64_C(1) << 53) + 1, (UINT64_C(1) << 53) + 2, INT64_MAX,  UINT64_MAX};
    uint64_t n = 0, id = 0;
    for (uint32_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        sx_publish_write write = conditional(SX_PUBLISH_IF_NEWER, 100 + i, steps[i]);
        n = done(&write);
        id = 100 + i;
        write = conditional(SX_PUBLISH_IF_NEWER, 500 + i, steps[i]);
        refused(&write, n, id);
        write = conditional(SX_PUBLISH_IF_NEWER, 500 + i, steps[i] - 1);
        refused(&write, n, id);
    }
    must_write(false);
    sx_publish_write write = conditional(SX_PUBLISH_IF_NEWER, 999, 1);
    done(&write); /* an invalidation forgets */
}

/* What stays past its end, to be answered instead of a failure, holds nobody up: but who names its version is refused nothing by that. */
static void past_its_end_it_has_no_number(void **state) {
    (void)state;
    static const sx_publish_only all[] = {SX_PUBLISH_IF_NEWER, SX_PUBLISH_IF_ABSENT};
    for (uint64_t i = 0; i < 2; i++) {
        must_write(false);
        sx_publish_write write = conditional_of(SX_PUBLISH_IF_ABSENT, 10 + i, 9, 500, 0);
        uint64_t n = done(&write);
        write = conditional(all[i], 20 + i, 3);
        refused(&write, n, 10 + i);
        usleep(600000);
        assert_true(is_there());
        write = conditional(all[i], 20 + i, 3);
        done(&write);
        write = conditional(SX_PUBLISH_IF_NEWER, 30 + i, 3);
        refused(&write, counter(), 20 + i);
    }
}

/* That the source has none is known as of a version too. */
static void an_absence_is_newer_than_what_is_older(void **state) {
    (void)state;
    sx_publish_write write = conditional_of(SX_PUBLISH_IF_ABSENT, 10, 9, 60000, SX_ENVELOPE_ABSENT);
    uint64_t n = done(&write);
    write = conditional(SX_PUBLISH_IF_NEWER, 11, 9);
    refused(&write, n, 10);
    write = conditional(SX_PUBLISH_IF_NEWER, 12, 10);
    done(&write);
    must_write(false);
    write = conditional_of(SX_PUBLISH_IF_ABSENT, 13, 9, 60000, SX_ENVELOPE_ABSENT);
    done(&write);
    write = conditional(SX_PUBLISH_IF_ABSENT, 14, 1);
    done(&write);
}

static void a_lease_is_no_value(void **state) {
    (void)state;
    const sx_redis_script *script;
    static const sx_publish_only all[] = {SX_PUBLISH_IF_ABSENT, SX_PUBLISH_IF_NEWER};
    for (int i = 0; i < 2; i++) {
        sx_publish_write write = conditional(all[i], 10 + (uint64_t)i, 3);
        must_write(false);
        sx_command_clear(&command);
        sx_publish_encode_lease(&publish, &scripts, &key, 42, 60000, &command, &script);
        (void)test_talk_call(wire, &command, script);
        done(&write);
        assert_int_equal(say("STRLEN", value_name)->integer, 20 + stored_tail.size);
    }
}

static void late_is_late(void **state) {
    (void)state;
    sx_publish_write write = conditional(SX_PUBLISH_IF_ABSENT, 10, 0);
    uint64_t n;
    int64_t ms;
    write.deadline_ms = server_us() / 1000 - 5;
    sx_command_clear(&command);
    sx_publish_encode_write_if(&publish, &write, &command);
    assert_int_equal(sx_publish_decode(test_talk_call(wire, &command, &scripts.write_if), &n, &ms), SX_PUBLISH_LATE);
    assert_false(is_there());
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(the_same_version_alone, clean),
        cmocka_unit_test_setup(sent_again_it_is_done_once, clean),
        cmocka_unit_test_setup(newer_by_all_of_64_bits, clean),
        cmocka_unit_test_setup(past_its_end_it_has_no_number, clean),
        cmocka_unit_test_setup(an_absence_is_newer_than_what_is_older, clean),
        cmocka_unit_test_setup(a_lease_is_no_value, clean),
        cmocka_unit_test_setup(late_is_late, clean),
    };
    if (!sx_cluster_available()) return 77;
    sx_buf_init(&stored_tail, sx_alloc_default());
    int failed = cmocka_run_group_tests(tests, setup, teardown);
    sx_buf_deinit(&stored_tail);
    return failed;
}
