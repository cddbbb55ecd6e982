/* SPDX-License-Identifier: Apache-2.0 */
/* What a scripted node sends, in order, out of order or as nonsense, and what each does to trust and generation. */
#include "tests/coherence/scripted.h"

/* ---- order ---- */

static void messages_continue_or_are_holes(void **state) {
    (void)state;
    gain_all();
    uint64_t before = generation(1);
    for (int i = 0; i < 5; i++) write_at(1);
    assert_true(trusted(1));
    pass(150);
    assert_true(trusted(1));
    set_counter(1, w.n[1] + 1); /* its message is lost */
    write_at(1);
    assert_true(lease(1) == INT64_MIN);
    assert_true(trusted(0));
    assert_int_equal(metric(SX_TRUST_METRIC_HOLES), 1);
    w.hold_beats = true;
    for (int i = 0; i < 10 && !trusted(1); i++) { /* a stream of writes doesn't keep it from coming back */
        (void)held_beat();
        write_at(1);
        answer_held();
        settle();
    }
    assert_true(trusted(1));
    assert_int_equal(generation(1), before + 1);
}

static void writes_missed_while_away_are_seen(void **state) {
    (void)state;
    gain_all();
    uint64_t before = generation(1);
    w.conn->closing = true;
    set_counter(1, w.n[1] + 3);
    settle();
    gain_all();
    assert_int_equal(generation(1), before + 1);
    assert_int_equal(generation(2), before);
}

static void a_restarted_counter_suspects_all(void **state) {
    (void)state;
    gain_all();
    set_counter(1, UINT64_C(1700000000000000));
    message(1, w.n[1]);
    assert_int_equal(count_trusted(), 0);
    gain_all();
    message(1, 5); /* back */
    assert_int_equal(count_trusted(), 0);
}

static void holes_while_untrusted_are_remembered(void **state) {
    (void)state;
    gain_all();
    uint64_t before = generation(2);
    w.conn->closing = true;
    w.hold_identify = true;
    settle();
    pass(50);
    assert_false(trusted(2));
    message(2, w.n[2] + 2); /* one was missed ... */
    set_counter(2, w.n[2]); /* ... and yet the counter is what it was */
    w.hold_identify = false;
    gain_all();
    assert_int_equal(generation(2), before + 1);
    assert_int_equal(generation(1), before);
}

static void messages_while_untrusted_may_continue(void **state) {
    (void)state;
    gain_all();
    uint64_t before = generation(2);
    w.conn->closing = true;
    w.hold_identify = true;
    settle();
    pass(50);
    write_at(2);
    write_at(2);
    w.hold_identify = false;
    gain_all();
    assert_int_equal(generation(2), before);
}

static void a_counter_ahead_is_a_lost_message(void **state) {
    (void)state;
    gain_all();
    uint64_t before = generation(3);
    set_counter(3, w.n[3] + 1);
    pass(105);
    assert_int_equal(metric(SX_TRUST_METRIC_COUNTER_MISMATCHES), 1);
    gain_all();
    assert_int_equal(generation(3), before + 1);
    assert_int_equal(generation(2), before);
}

static void what_was_asked_before_a_loss_proves_nothing(void **state) {
    (void)state;
    gain_all();
    uint64_t before = generation(2);
    w.hold_beats = true;
    (void)held_beat();
    sx_trust_redirect_on_loop(w.trust, w.tags->tags[2].slot, true);
    assert_true(lease(2) == INT64_MIN);
    settle();
    answer_held();
    assert_true(lease(2) == INT64_MIN);
    assert_true(trusted(1)); /* the others are extended */
    w.hold_beats = false;
    gain_all();
    assert_int_equal(generation(2), before);
}

static void an_answer_extends_only_who_is_trusted(void **state) {
    (void)state;
    w.hold_subscribe[3] = true;
    pass(300);
    assert_int_equal(count_trusted(), 3);
    assert_true(lease(3) == INT64_MIN);
    w.hold_subscribe[3] = false;
    pass(1500); /* the subscription is asked for again */
    assert_int_equal(count_trusted(), P);
}

static void an_identity_after_the_subscription_is_needed(void **state) {
    (void)state;
    w.hold_identify = true;
    pass(300);
    assert_int_equal(count_trusted(), 0);
    w.hold_identify = false;
    gain_all();
    uint64_t before = generation(0);
    w.hold_identify = true;
    push3("sunsubscribe", channel_of(0), NULL, 0);
    pass(1000);
    assert_int_equal(count_trusted(), P - 1); /* what it was before the subscription says nothing */
    w.hold_identify = false;
    gain_all();
    assert_int_equal(generation(0), before);
    w.token = 78;
    w.conn->closing = true;
    settle();
    gain_all();
    for (uint32_t i = 0; i < P; i++) assert_int_equal(generation(i), before + 1);
}

static void a_lost_slot_is_subscribed_again(void **state) {
    (void)state;
    gain_all();
    uint64_t before = generation(0);
    push3("sunsubscribe", channel_of(0), NULL, 0);
    assert_true(lease(0) == INT64_MIN);
    assert_int_equal(count_trusted(), P - 1);
    assert_true(w.refreshed > 0);
    pass(1000);
    assert_int_equal(count_trusted(), P);
    assert_int_equal(generation(0), before);
}

static void another_owner_is_another_connection(void **state) {
    (void)state;
    gain_all();
    for (uint32_t i = 0; i < P; i++) w.owners[i] = NULL;
    sx_trust_topology_on_loop(w.trust);
    assert_int_equal(count_trusted(), 0);
    settle();
    assert_int_equal(w.closed, 1); /* nothing is left there */
    w.token = 79;
    for (uint32_t i = 0; i < P; i++) w.owners[i] = &w.other;
    sx_trust_topology_on_loop(w.trust);
    gain_all();
    assert_int_equal(generation(0), 3);
}

static void another_address_is_another_connection(void **state) {
    (void)state;
    gain_all();
    w.node.address.port++;
    w.token = 80;
    pass(200);
    assert_int_equal(w.closed, 1);
    gain_all();
    assert_int_equal(w.opened, 2);
    assert_true(sx_trust_identity_on_loop(w.trust, 0) == 80);
    pass(1000);
    assert_int_equal(w.opened, 2);
}

/* ---- nonsense ---- */

static void malformed_messages_are_holes(void **state) {
    (void)state;
    gain_all();
    uint64_t before = generation(1);
    push3("smessage", channel_of(1), "nonsense", 8);
    assert_true(lease(1) == INT64_MIN);
    assert_int_equal(count_trusted(), P - 1);
    gain_all();
    assert_int_equal(generation(1), before + 1);
    push3("smessage", channel_of(1), NULL, 0); /* a number for a payload */
    assert_true(lease(1) == INT64_MIN);
    push3("smessage", "{0}s1:x", "nonsense", 8);
    push3("message", channel_of(0), "nonsense", 8);
    push3("invalidate", "", NULL, 0);
    assert_true(trusted(0));
    assert_int_equal(metric(SX_TRUST_METRIC_MALFORMED), 2);
}

static void untrust_forces_proof(void **state) {
    (void)state;
    gain_all();
    uint64_t before = generation(1);
    push3("smessage", channel_of(1), "\x92\x08\x00", 3);
    assert_true(lease(1) == INT64_MIN);
    gain_all();
    assert_int_equal(generation(1), before + 1);
}

static void wrong_answer(const sx_resp *reply) {
    w.hold_beats = true;
    sent s = *held_beat();
    w.conn->head = w.conn->tail = 0;
    s.fn(s.context, STRATA_OK, reply);
    w.hold_beats = false;
}

static void malformed_answers_close(void **state) {
    (void)state;
    sx_resp items[2 + P] = {{.type = SX_RESP_STRING, .size = 10, .text = "1700000000"},
                            {.type = SX_RESP_STRING, .size = 3, .text = "123"}};
    sx_resp reply = {.type = SX_RESP_INTEGER, .integer = 1};
    for (uint32_t round = 0; round < 4; round++) {
        gain_all();
        wrong_answer(&reply);
        assert_int_equal(count_trusted(), 0);
        settle();
        assert_int_equal(w.closed, round + 1);
        if (round == 0) reply = (sx_resp){.type = SX_RESP_ARRAY, .count = 1, .items = items};
        if (round == 1) reply = (sx_resp){.type = SX_RESP_ARRAY, .count = 3 + P, .items = items};
        if (round == 2) {
            reply = (sx_resp){.type = SX_RESP_ARRAY, .count = 2 + P, .items = items};
            items[0].text = "17000000zz";
        }
    }
    assert_int_equal(metric(SX_TRUST_METRIC_MALFORMED), 4);
}

static void an_error_ends_trust_of_all(void **state) {
    (void)state;
    gain_all();
    sx_resp reply = {.type = SX_RESP_ERROR, .size = 9, .text = "BUSY wait"};
    wrong_answer(&reply);
    assert_int_equal(count_trusted(), 0);
    gain_all();
    w.counters[2] = "-ERR the cluster is down";
    pass(105);
    assert_int_equal(count_trusted(), 0);
    set_counter(2, w.n[2]);
    gain_all();
    w.counters[2] = "-ERR Script attempted to access a non local key in a cluster node";
    pass(150);
    assert_int_equal(count_trusted(), P - 1);
    set_counter(2, w.n[2]);
    gain_all();
    w.counters[2] = "12x";
    pass(5);
    pass(105);
    assert_false(trusted(2));
}

static void a_missing_counter_ends_trust_of_all(void **state) {
    (void)state;
    gain_all();
    int64_t lost = metric(SX_TRUST_METRIC_LOST);
    w.counters[2] = NULL;
    pass(100);
    assert_true(metric(SX_TRUST_METRIC_LOST) >= lost + P);
    pass(300);
    assert_int_equal(count_trusted(), P - 1); /* the others need not wait for it */
    set_counter(2, 5);
    gain_all();
    assert_int_equal(generation(2), 3);
    assert_int_equal(generation(1), 2);
}

static void another_layout_is_refused(void **state) {
    (void)state;
    w.layout = "wire=1 partitions=8";
    pass(300);
    assert_int_equal(count_trusted(), 0);
    assert_int_equal(w.refused, STRATA_E_LAYOUT);
    w.layout = "wire=1 partitions=4";
    pass(10000);
    assert_int_equal(count_trusted(), P);
}

int main(int argc, char **argv) {
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        CASE(messages_continue_or_are_holes),
        CASE(writes_missed_while_away_are_seen),
        CASE(a_restarted_counter_suspects_all),
        CASE(holes_while_untrusted_are_remembered),
        CASE(messages_while_untrusted_may_continue),
        CASE(a_counter_ahead_is_a_lost_message),
        CASE(what_was_asked_before_a_loss_proves_nothing),
        CASE(an_answer_extends_only_who_is_trusted),
        CASE(an_identity_after_the_subscription_is_needed),
        CASE(a_lost_slot_is_subscribed_again),
        CASE(another_owner_is_another_connection),
        CASE(another_address_is_another_connection),
        CASE(malformed_messages_are_holes),
        CASE(untrust_forces_proof),
        CASE(malformed_answers_close),
        CASE(an_error_ends_trust_of_all),
        CASE(a_missing_counter_ends_trust_of_all),
        CASE(another_layout_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
