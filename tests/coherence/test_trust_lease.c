/* SPDX-License-Identifier: Apache-2.0 */
/* Leases of trust against a scripted node: from when they count, until when, and who must confirm the node first. */
#include "tests/coherence/scripted.h"

/* ---- leases ---- */

static void a_lease_counts_from_sending(void **state) {
    (void)state;
    gain_all();
    w.hold_beats = true;
    int64_t sent_ns = held_beat()->at_ns;
    int64_t before = lease(0);
    pass(200);
    assert_int_equal(lease(0), before); /* nothing but an answer extends */
    answer_held();
    assert_int_equal(lease(0), sent_ns + DELTA);
    assert_true(lease(0) < now() + DELTA - 190 * MS);
}

static void one_heartbeat_at_a_time(void **state) {
    (void)state;
    gain_all();
    w.hold_beats = true;
    (void)held_beat();
    pass(250);
    assert_int_equal(w.conn->tail - w.conn->head, 1);
}

static void a_late_answer_does_not_extend(void **state) {
    (void)state;
    gain_all();
    uint64_t before = generation(0);
    uint32_t confirms = w.confirms;
    w.hold_beats = w.hold_confirm = true;
    (void)held_beat();
    test_clock_advance(&w.clock, DELTA); /* no timer of ours ran meanwhile: the process was paused */
    assert_int_equal(count_trusted(), 0);
    answer_held();
    assert_int_equal(count_trusted(), 0);
    assert_true(lease(0) == INT64_MIN);
    assert_int_equal(metric(SX_TRUST_METRIC_BEATS_LATE), 1);
    w.hold_beats = false;
    pass(300); /* heartbeats are answered, but another primary has not confirmed the node */
    assert_int_equal(count_trusted(), 0);
    assert_int_equal(w.confirms, confirms + 1);
    /* The heartbeat under way when the confirmation comes doesn't count. */
    w.hold_beats = true;
    (void)held_beat();
    w.hold_confirm = false;
    finish_confirm(STRATA_OK);
    w.hold_confirm = true;
    answer_held();
    assert_int_equal(count_trusted(), 0);
    w.hold_confirm = false;
    w.hold_beats = false;
    gain_all();
    assert_int_equal(generation(0), before);
}

static void a_lapse_is_noticed_without_an_answer(void **state) {
    (void)state;
    gain_all();
    w.hold_beats = true;
    pass(600);
    assert_true(lease(0) == INT64_MIN);
    assert_int_equal(metric(SX_TRUST_METRIC_PARTITIONS_TRUSTED), 0);
    sx_trust_mark mark = sx_trust_mark_on_loop(w.trust, 0);
    assert_int_equal(mark.term, 0);
}

static void a_refused_confirmation_is_no_trust(void **state) {
    (void)state;
    gain_all();
    w.confirm_status = STRATA_E_REFUSED;
    w.hold_beats = true;
    pass(600);
    w.hold_beats = false;
    uint32_t refreshed = w.refreshed;
    pass(500);
    assert_int_equal(count_trusted(), 0);
    assert_true(w.refreshed > refreshed);
    w.confirm_status = STRATA_E_UNAVAILABLE;
    pass(500);
    assert_int_equal(count_trusted(), 0);
    w.confirm_status = STRATA_OK;
    gain_all();
}

static void the_first_lease_begins_with_the_confirmation(void **state) {
    (void)state;
    w.hold_confirm = true;
    pass(100);
    int64_t asked_ns = w.confirm_at_ns;
    assert_int_equal(count_trusted(), 0);
    pass(100);
    w.hold_beats = true;
    while (w.conn->head < w.conn->tail) answer_held();
    finish_confirm(STRATA_OK);
    pass(5);
    (void)held_beat();
    answer_held();
    assert_int_equal(lease(0), asked_ns + DELTA);
}

static void a_confirmation_grows_old(void **state) {
    (void)state;
    w.hold_beats = true;
    pass(50);
    assert_int_equal(w.confirms, 1);
    (void)held_beat();
    pass(600);
    answer_held(); /* asked after the confirmation, answered too long after it */
    assert_int_equal(count_trusted(), 0);
    w.hold_beats = false;
    gain_all();
    assert_true(w.confirms >= 2);
}

static void a_quick_reconnect_needs_no_confirmation(void **state) {
    (void)state;
    gain_all();
    uint32_t confirms = w.confirms;
    uint64_t before = generation(0);
    w.conn->closing = true;
    settle();
    gain_all();
    assert_int_equal(w.confirms, confirms);
    assert_int_equal(w.opened, 2);
    assert_int_equal(generation(0), before);
    /* After the lease is over it does. */
    w.conn->closing = true;
    test_clock_advance(&w.clock, DELTA + MS);
    settle();
    gain_all();
    assert_int_equal(w.confirms, confirms + 1);
    assert_int_equal(generation(0), before);
}

static void an_unanswered_heartbeat_closes(void **state) {
    (void)state;
    gain_all();
    w.hold_beats = true;
    (void)held_beat();
    pass(900);
    assert_int_equal(w.closed, 0);
    pass(150);
    assert_int_equal(w.closed, 1);
}

static int wire[2];

static void on_readable(uv_poll_t *poll, int status, int events) {
    char byte;
    (void)status, (void)events;
    sx_loop_awake(w.loop);
    assert_int_equal(read(wire[0], &byte, 1), 1);
    sx_trust_topology_on_loop(w.trust); /* a map that was asked for came first, and has every node looked at */
    uv_close((uv_handle_t *)poll, NULL);
    if (!w.conn->closing) answer_held();
}

/* A process that stood still for so long finds the answer in its socket. */
static void a_heartbeat_answered_but_not_read_keeps_the_connection(void **state) {
    (void)state;
    gain_all();
    w.hold_beats = true;
    (void)held_beat();
    uv_poll_t poll;
    assert_int_equal(pipe(wire), 0);
    assert_int_equal(uv_poll_init(sx_loop_uv(w.loop), &poll, wire[0]), 0);
    assert_int_equal(uv_poll_start(&poll, UV_READABLE, on_readable), 0);
    assert_int_equal(write(wire[1], "x", 1), 1);
    test_clock_advance(&w.clock, 1500 * MS);
    settle();
    assert_int_equal(w.closed, 0);
    w.hold_beats = false;
    gain_all();
    assert_int_equal(w.opened, 1);
    (void)close(wire[0]), (void)close(wire[1]);
}

static void marks_follow_terms(void **state) {
    (void)state;
    gain_all();
    sx_trust_mark mark = sx_trust_mark_on_loop(w.trust, 1);
    assert_true(sx_trust_may_fill_on_loop(w.trust, 1, &mark, 77));
    assert_false(sx_trust_may_fill_on_loop(w.trust, 1, &mark, 78));
    assert_int_equal(w.reidentified, 1);
    w.hold_beats = true;
    (void)held_beat();
    test_clock_advance(&w.clock, DELTA); /* over, though nobody noticed */
    assert_false(sx_trust_may_fill_on_loop(w.trust, 1, &mark, 77));
    w.hold_beats = false;
    gain_all();
    assert_false(sx_trust_may_fill_on_loop(w.trust, 1, &mark, 77)); /* another term of the same generation */
    mark = sx_trust_mark_on_loop(w.trust, 1);
    assert_true(sx_trust_may_fill_on_loop(w.trust, 1, &mark, 77));
}

/* A server's replication id may change, and nobody tells: who connects to it later is answered under another identity. */
static void another_identity_is_asked_for_on_both_sides(void **state) {
    (void)state;
    gain_all();
    uint64_t before = generation(1);
    uint32_t identifies = w.identifies;
    w.token = 78;
    sx_trust_mark mark = sx_trust_mark_on_loop(w.trust, 1);
    for (int i = 0; i < 100; i++) assert_false(sx_trust_may_fill_on_loop(w.trust, 1, &mark, 0)); /* nobody's */
    gain_all();
    assert_int_equal(w.identifies, identifies);
    assert_int_equal(sx_trust_identity_on_loop(w.trust, 1), 77);

    w.hold_identify = true;
    w.reidentified = 0;
    for (int i = 0; i < 100; i++) assert_false(sx_trust_may_fill_on_loop(w.trust, 1, &mark, 78));
    settle();
    assert_int_equal(w.reidentified, 1);
    assert_int_equal(w.identifies, identifies + 1);
    assert_true(sx_trust_may_fill_on_loop(w.trust, 1, &mark, 77)); /* a data connection's word ends no trust */
    w.hold_identify = false;
    gain_all();
    assert_int_equal(sx_trust_identity_on_loop(w.trust, 1), 78);
    for (uint32_t i = 0; i < P; i++) assert_int_equal(generation(i), before + 1);
    assert_false(sx_trust_may_fill_on_loop(w.trust, 1, &mark, 78)); /* asked before */
    mark = sx_trust_mark_on_loop(w.trust, 1);
    assert_true(sx_trust_may_fill_on_loop(w.trust, 1, &mark, 78));

    /* A data connection that knows it by its former id costs a question, no trust. */
    identifies = w.identifies;
    assert_false(sx_trust_may_fill_on_loop(w.trust, 1, &mark, 77));
    gain_all();
    assert_int_equal(w.identifies, identifies + 1);
    assert_true(sx_trust_may_fill_on_loop(w.trust, 1, &mark, 78));
    assert_int_equal(generation(1), before + 1);
}

/* One that was replaced meanwhile has another one too. */
static void another_identity_does_not_stand_for_a_confirmation(void **state) {
    (void)state;
    gain_all();
    uint64_t before = generation(1);
    sx_trust_mark mark = sx_trust_mark_on_loop(w.trust, 1);
    w.token = 78;
    w.hold_identify = w.hold_beats = true;
    assert_false(sx_trust_may_fill_on_loop(w.trust, 1, &mark, 78));
    w.confirm_status = STRATA_E_REFUSED;
    pass(600); /* it stands still */
    assert_int_equal(count_trusted(), 0);
    w.hold_identify = w.hold_beats = false;
    pass(500);
    assert_int_equal(count_trusted(), 0);
    w.confirm_status = STRATA_OK;
    gain_all();
    assert_int_equal(generation(1), before + 1);

    mark = sx_trust_mark_on_loop(w.trust, 1);
    w.token = 79;
    w.hold_beats = true;
    sent *beat = held_beat();
    assert_false(sx_trust_may_fill_on_loop(w.trust, 1, &mark, 79));
    settle(); /* it says who it is before it answers that */
    assert_int_equal(count_trusted(), 0);
    assert_ptr_equal(held_beat(), beat);
    answer_held();
    assert_int_equal(count_trusted(), 0); /* asked before */
    w.hold_beats = false;
    gain_all();
    assert_int_equal(generation(1), before + 2);
}

/* What it says of itself counts from when it was asked, also where it was asked while all was well. */
static void an_identity_asked_for_before_a_loss_proves_nothing(void **state) {
    (void)state;
    gain_all();
    sx_trust_mark mark = sx_trust_mark_on_loop(w.trust, 1);
    w.hold_identify = true;
    assert_false(sx_trust_may_fill_on_loop(w.trust, 1, &mark, 78));
    settle();
    set_counter(1, w.n[1] + 1); /* a hole */
    write_at(1);
    assert_false(trusted(1));
    finish_identify();
    pass(300);
    assert_false(trusted(1));
    assert_int_equal(count_trusted(), P - 1);
    w.hold_identify = false;
    gain_all();
}

int main(int argc, char **argv) {
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        CASE(a_lease_counts_from_sending),
        CASE(one_heartbeat_at_a_time),
        CASE(a_late_answer_does_not_extend),
        CASE(a_lapse_is_noticed_without_an_answer),
        CASE(a_refused_confirmation_is_no_trust),
        CASE(the_first_lease_begins_with_the_confirmation),
        CASE(a_confirmation_grows_old),
        CASE(a_quick_reconnect_needs_no_confirmation),
        CASE(an_unanswered_heartbeat_closes),
        CASE(a_heartbeat_answered_but_not_read_keeps_the_connection),
        CASE(marks_follow_terms),
        CASE(another_identity_is_asked_for_on_both_sides),
        CASE(another_identity_does_not_stand_for_a_confirmation),
        CASE(an_identity_asked_for_before_a_loss_proves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
