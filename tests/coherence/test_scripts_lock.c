/* SPDX-License-Identifier: Apache-2.0 */
/* The script of locks on a real server: what comes late, or twice. */
// ctest: timeout=300
#include "tests/coherence/scripts.h"
#include "tests/support/cluster.h"

static sx_publish_verdict ask(sx_publish_lock_step step, uint64_t id, int64_t ttl_ms, uint64_t *token, int64_t *left_ms) {
    sx_publish_lock lock = {.key = key, .step = step, .id = id, .ttl_ms = ttl_ms, .keep_ms = 60000};
    lock.key.what = SX_PUBLISH_LOCK;
    sx_command_clear(&command);
    sx_publish_encode_lock(&publish, &lock, &command);
    return sx_publish_decode_lock(test_talk_call(wire, &command, &scripts.lock), token, left_ms);
}

static void sent_twice_it_is_granted_once(void **state) {
    (void)state;
    uint64_t first = 0, again = 0;
    int64_t left_ms = 0;
    assert_int_equal(ask(SX_PUBLISH_LOCK_ACQUIRE, 1, 60000, &first, &left_ms), SX_PUBLISH_DONE);
    assert_true(first > 0 && left_ms == 60000);
    assert_int_equal(ask(SX_PUBLISH_LOCK_ACQUIRE, 1, 60000, &again, &left_ms), SX_PUBLISH_DONE);
    assert_int_equal(again, first);
    assert_int_equal(ask(SX_PUBLISH_LOCK_ACQUIRE, 2, 60000, &again, &left_ms), SX_PUBLISH_DONE);
    assert_int_equal(again, 0); /* another holds it */
    assert_in_range(left_ms, 1, 60000);
    assert_int_equal(ask(SX_PUBLISH_LOCK_RELEASE, 1, 1, &again, &left_ms), SX_PUBLISH_DONE);
    assert_int_equal(ask(SX_PUBLISH_LOCK_RELEASE, 1, 1, &again, &left_ms), SX_PUBLISH_DONE); /* told the same */
    assert_int_equal(ask(SX_PUBLISH_LOCK_RELEASE, 2, 1, &again, &left_ms), SX_PUBLISH_LOST);
}

static void what_is_over_is_not_granted_anew(void **state) {
    (void)state;
    uint64_t token = 0, before = 0;
    int64_t left_ms = 0;
    assert_int_equal(ask(SX_PUBLISH_LOCK_ACQUIRE, 1, 60000, &before, &left_ms), SX_PUBLISH_DONE);
    assert_int_equal(ask(SX_PUBLISH_LOCK_RELEASE, 1, 1, &token, &left_ms), SX_PUBLISH_DONE);
    assert_int_equal(ask(SX_PUBLISH_LOCK_ACQUIRE, 1, 60000, &token, &left_ms), SX_PUBLISH_LOST); /* it lay in a paused server */
    assert_int_equal(ask(SX_PUBLISH_LOCK_ACQUIRE, 2, 10, &token, &left_ms), SX_PUBLISH_DONE);
    assert_true(token > before);
    nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    assert_int_equal(ask(SX_PUBLISH_LOCK_ACQUIRE, 2, 60000, &token, &left_ms), SX_PUBLISH_LOST);
    before = token;
    assert_int_equal(ask(SX_PUBLISH_LOCK_ACQUIRE, 3, 60000, &token, &left_ms), SX_PUBLISH_DONE);
    assert_true(token > before);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(sent_twice_it_is_granted_once, clean),
        cmocka_unit_test_setup(what_is_over_is_not_granted_anew, clean),
    };
    if (!sx_cluster_available()) return 77;
    return cmocka_run_group_tests(tests, setup, teardown);
}
