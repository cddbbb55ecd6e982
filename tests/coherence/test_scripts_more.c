/* SPDX-License-Identifier: Apache-2.0 */
/* The scripts on a real server: values that travel with their message. */
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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_value_travels_as_it_is_stored, clean),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
