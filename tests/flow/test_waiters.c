/* SPDX-License-Identifier: Apache-2.0 */
/* Those who wait for one key: how many may, and how a loader learns that its result is of no more use. */
#include "core/flow/engine.h"
#include "tests/flow/fixture.h"

static int setup(void **state) {
    return fixture_setup(state, TEST_OPTIONS("l2.mode", "none", "flow.load_timeout", "10s", "flow.deadline", "1h"));
}

static int setup_small(void **state) {
    return fixture_setup(state, TEST_OPTIONS("l2.mode", "none", "flow.load_timeout", "10s", "flow.deadline", "1h", "flow.pending_max", "1"));
}

static int32_t join(fixture *f, const char *key) {
    strata_result result;
    int32_t status = strata_get_or_load(f->session, f->ns, test_bytes(key), NULL, fixture_load, f, &result, fixture_done, f);
    return status == STRATA_PENDING ? status : fixture_take(f, status, &result);
}

static void await(fixture *f, int answers) {
    for (int64_t end_ms = test_now_ms() + 10000; f->answers < answers && test_now_ms() < end_ms;) (void)strata_session_wait(f->session, 10);
    assert_int_equal(f->answers, answers);
}

static int64_t refused(const fixture *f) { return test_metric(f->engine, "flow.waiters_refused"); }

static void no_more_than_the_policy_allows(void **state) {
    fixture *f = *state;
    assert_int_equal(fixture_policy(f, (strata_namespace_policy){.waiters_max = 3}), STRATA_OK);
    fixture_hold(f, "k");
    assert_int_equal(join(f, "k"), STRATA_PENDING);
    assert_int_equal(join(f, "k"), STRATA_PENDING);
    assert_int_equal(join(f, "k"), STRATA_E_OVERLOADED);
    assert_int_equal(fixture_get_or_load(f, "k", NULL), STRATA_E_OVERLOADED);
    assert_int_equal(refused(f), 2);
    assert_int_equal(test_metric(f->engine, "flow.pending"), 3);
    assert_int_equal(fixture_get_or_load(f, "other", NULL), STRATA_OK); /* nobody waits for that */
    /* A hot one, while they wait. */
    assert_int_equal(fixture_policy(f, (strata_namespace_policy){.waiters_max = 4}), STRATA_OK);
    assert_int_equal(join(f, "k"), STRATA_PENDING);
    assert_int_equal(join(f, "k"), STRATA_E_OVERLOADED);
    assert_int_equal(strata_load_finish(f->kept, STRATA_OK, test_bytes("v"), NULL), STRATA_OK);
    await(f, 4);
    assert_int_equal(f->answered, STRATA_OK);
    assert_int_equal(test_metric(f->engine, "flow.pending"), 0);
    assert_int_equal(fixture_get_or_load(f, "k", NULL), STRATA_OK);
    assert_int_equal(refused(f), 3);
}

/* Who leaves makes room, while the others go on waiting. */
static void who_leaves_makes_room(void **state) {
    fixture *f = *state;
    strata_result result;
    strata_session *other = test_engine_session(f->engine);
    assert_int_equal(fixture_policy(f, (strata_namespace_policy){.waiters_max = 2}), STRATA_OK);
    fixture_hold(f, "k");
    assert_int_equal(strata_get_or_load(other, f->ns, test_bytes("k"), NULL, fixture_load, f, &result, fixture_done, f), STRATA_PENDING);
    assert_int_equal(join(f, "k"), STRATA_E_OVERLOADED);
    strata_session_close(other); /* tells it STRATA_E_CANCELLED */
    assert_int_equal(f->answers, 1);
    assert_int_equal(join(f, "k"), STRATA_PENDING);
    assert_int_equal(join(f, "k"), STRATA_E_OVERLOADED);
    assert_int_equal(strata_load_finish(f->kept, STRATA_OK, test_bytes("v"), NULL), STRATA_OK);
    await(f, 3);
}

/* A refresh that a session has begun, and does not come back for, takes nobody's place. */
static void a_refresh_takes_no_place(void **state) {
    fixture *f = *state;
    strata_result result;
    strata_session *other = test_engine_session(f->engine);
    assert_int_equal(fixture_policy(f, (strata_namespace_policy){.ttl_ms = 1000, .refresh_percent = 50, .waiters_max = 1}), STRATA_OK);
    assert_int_equal(fixture_get_or_load(f, "k", NULL), STRATA_OK);
    fixture_advance(f, 700);
    assert_int_equal(join(f, "k"), STRATA_OK);
    assert_int_equal(test_metric(f->engine, "flow.pending"), 1);
    assert_int_equal(strata_invalidate_wait(other, f->ns, test_bytes("k"), NULL), STRATA_OK);
    assert_int_equal(strata_get_or_load_wait(other, f->ns, test_bytes("k"), NULL, fixture_load, f, &result), STRATA_OK);
    strata_result_release(other, &result);
    strata_session_close(other);
    assert_int_equal(refused(f), 0);
}

static void load_many(strata_load *const *loads, size_t count, void *user) {
    (void)user;
    for (size_t i = 0; i < count; i++) assert_int_equal(strata_load_finish(loads[i], STRATA_OK, test_bytes("w"), NULL), STRATA_OK);
}

/* Of a batch only the key that so many wait for. */
static void a_batch_is_refused_in_part(void **state) {
    fixture *f = *state;
    assert_int_equal(fixture_policy(f, (strata_namespace_policy){.waiters_max = 1}), STRATA_OK);
    fixture_hold(f, "k");
    strata_bytes keys[] = {test_bytes("a"), test_bytes("k"), test_bytes("b")};
    strata_result results[3];
    assert_int_equal(strata_mget_or_load_wait(f->session, f->ns, keys, 3, NULL, load_many, f, results), STRATA_OK);
    assert_int_equal(results[0].status, STRATA_OK);
    assert_int_equal(results[1].status, STRATA_E_OVERLOADED);
    assert_int_equal(results[2].status, STRATA_OK);
    for (int i = 0; i < 3; i++) strata_result_release(f->session, &results[i]);
    assert_int_equal(strata_load_finish(f->kept, STRATA_OK, test_bytes("v"), NULL), STRATA_OK);
    await(f, 1);
}

/* Its loads outlast what they cover: they are held while the clock goes on. */
static strata_namespace_policy covered(uint32_t waiters_max) {
    return (strata_namespace_policy){.ttl_ms = 1000, .stale_if_failing_ms = 60000, .ttl_jitter_percent = STRATA_NO_JITTER, .waiters_max = waiters_max,
                                     .load_timeout_ms = 600000};
}

/* Where failures are covered, so is this one: who can't wait has what is past its end, and is told so. */
static void who_is_refused_has_what_is_past_its_end(void **state) {
    fixture *f = *state;
    assert_int_equal(fixture_policy(f, covered(1)), STRATA_OK);
    assert_int_equal(fixture_get_or_load(f, "k", NULL), STRATA_OK);
    fixture_advance(f, 2000);
    fixture_hold(f, "k");
    assert_int_equal(join(f, "k"), STRATA_STALE);
    assert_int_equal(fixture_get_or_load(f, "k", NULL), STRATA_STALE);
    assert_int_equal(f->reason, STRATA_REASON_CROWDED);
    assert_int_equal(f->source, STRATA_FROM_L1);
    assert_string_equal(f->text, "v");
    assert_int_equal(refused(f), 2);
    assert_int_equal(test_metric(f->engine, "flow.crowded"), 2);
    assert_int_equal(test_metric(f->engine, "l1.aged_served"), 2);
    assert_int_equal(test_metric(f->engine, "flow.pending"), 1);
    /* Not who passes by L1, nor who wants it anew, nor for another key that there is nothing of. */
    static const uint32_t flags[] = {STRATA_BYPASS_L1, STRATA_REFRESH};
    for (int i = 0; i < 2; i++) {
        strata_op_options past = {.struct_size = sizeof past, .flags = flags[i]};
        assert_int_equal(fixture_get_or_load(f, "k", &past), STRATA_E_OVERLOADED);
    }
    strata_load *load = f->kept;
    fixture_hold(f, "new");
    assert_int_equal(fixture_get_or_load(f, "new", NULL), STRATA_E_OVERLOADED);
    assert_int_equal(strata_load_finish(f->kept, STRATA_OK, test_bytes("w"), NULL), STRATA_OK);
    /* Nor for longer than failures are covered. */
    fixture_advance(f, 60000);
    assert_int_equal(join(f, "k"), STRATA_E_OVERLOADED);
    assert_int_equal(fixture_policy(f, (strata_namespace_policy){.ttl_ms = 1000, .waiters_max = 1}), STRATA_OK);
    assert_int_equal(join(f, "k"), STRATA_E_OVERLOADED);
    assert_int_equal(strata_load_finish(load, STRATA_OK, test_bytes("w"), NULL), STRATA_OK);
    await(f, 2);
}

/* What was invalidated meanwhile is nobody's, and neither is what a tag of it ended. */
static void but_not_what_was_invalidated(void **state) {
    fixture *f = *state;
    strata_bytes tag = test_bytes("t");
    strata_op_options tagged = {.struct_size = sizeof tagged, .tags = &tag, .tag_count = 1};
    assert_int_equal(fixture_policy(f, covered(1)), STRATA_OK);
    static const char *const keys[] = {"k", "t", "c"};
    for (int i = 0; i < 3; i++) {
        assert_int_equal(fixture_get_or_load(f, keys[i], i == 1 ? &tagged : NULL), STRATA_OK);
        fixture_advance(f, 2000);
        fixture_hold(f, keys[i]);
        assert_int_equal(join(f, keys[i]), STRATA_STALE);
        if (i == 0) assert_int_equal(strata_invalidate_wait(f->session, f->ns, test_bytes("k"), NULL), STRATA_OK);
        if (i == 1) assert_int_equal(strata_invalidate_tags_wait(f->session, &tag, 1, NULL), STRATA_OK);
        if (i == 2) assert_int_equal(strata_clear_wait(f->session, f->ns, NULL), STRATA_OK);
        assert_int_equal(join(f, keys[i]), STRATA_E_OVERLOADED);
        assert_int_equal(strata_load_finish(f->kept, STRATA_OK, test_bytes("w"), NULL), STRATA_OK);
        await(f, 1);
    }
}

/* What is pending bounds reads likewise. */
static void nor_who_finds_too_much_pending(void **state) {
    fixture *f = *state;
    assert_int_equal(fixture_policy(f, covered(0)), STRATA_OK);
    assert_int_equal(fixture_get_or_load(f, "k", NULL), STRATA_OK);
    fixture_advance(f, 2000);
    fixture_hold(f, "other");
    assert_int_equal(fixture_get_or_load(f, "k", NULL), STRATA_STALE);
    assert_int_equal(f->reason, STRATA_REASON_CROWDED);
    assert_int_equal(fixture_get_or_load(f, "none", NULL), STRATA_E_OVERLOADED);
    strata_bytes keys[] = {test_bytes("k"), test_bytes("none")};
    strata_result results[2];
    assert_int_equal(strata_mget_or_load_wait(f->session, f->ns, keys, 2, NULL, load_many, f, results), STRATA_OK);
    assert_true(results[0].status == STRATA_STALE && results[0].reason == STRATA_REASON_CROWDED && results[0].value.size == 1);
    assert_int_equal(results[1].status, STRATA_E_OVERLOADED);
    for (int i = 0; i < 2; i++) strata_result_release(f->session, &results[i]);
    assert_int_equal(strata_load_finish(f->kept, STRATA_OK, test_bytes("w"), NULL), STRATA_OK);
    await(f, 1);
}

static void a_batch_has_it_too(void **state) {
    fixture *f = *state;
    assert_int_equal(fixture_policy(f, covered(1)), STRATA_OK);
    assert_int_equal(fixture_get_or_load(f, "k", NULL), STRATA_OK);
    fixture_advance(f, 2000);
    fixture_hold(f, "k");
    strata_bytes keys[] = {test_bytes("a"), test_bytes("k")};
    strata_result results[2];
    assert_int_equal(strata_mget_or_load_wait(f->session, f->ns, keys, 2, NULL, load_many, f, results), STRATA_OK);
    assert_int_equal(results[0].status, STRATA_OK);
    assert_true(results[1].status == STRATA_STALE && results[1].reason == STRATA_REASON_CROWDED);
    assert_memory_equal(results[1].value.data, "v", 1);
    for (int i = 0; i < 2; i++) strata_result_release(f->session, &results[i]);
    assert_int_equal(strata_load_finish(f->kept, STRATA_OK, test_bytes("w"), NULL), STRATA_OK);
    await(f, 1);
}

static void a_loader_learns_how_long_it_is_wanted(void **state) {
    fixture *f = *state;
    fixture_hold(f, "k");
    assert_int_equal(strata_load_left_ms(f->kept), 10000);
    fixture_advance(f, 9999);
    assert_int_equal(strata_load_left_ms(f->kept), 1);
    fixture_advance(f, 5000);
    assert_int_equal(strata_load_left_ms(f->kept), 0);
    assert_int_equal(strata_load_finish(f->kept, STRATA_OK, test_bytes("late"), NULL), STRATA_OK);
    await(f, 1);
    assert_int_equal(fixture_policy(f, (strata_namespace_policy){.load_timeout_ms = 300}), STRATA_OK);
    fixture_hold(f, "p");
    assert_int_equal(strata_load_left_ms(f->kept), 300);
    assert_int_equal(strata_load_finish(f->kept, STRATA_OK, test_bytes("v"), NULL), STRATA_OK);
    await(f, 1);
}

/* Closed: whatever time it had, nobody wants it. */
static void not_by_an_engine_that_is_closed(void **state) {
    (void)state;
    fixture *f = fixture_create();
    strata_open_options template_ = {.clock = {&f->clock, fixture_now_ns}};
    fixture_open(f, TEST_OPTIONS("l2.mode", "none", "flow.load_timeout", "10s", "flow.deadline", "1h"), &template_);
    fixture_hold(f, "k");
    assert_true(strata_load_left_ms(f->kept) > 9000);
    assert_int_equal(strata_close(f->engine, 0), STRATA_E_TIMEOUT);
    assert_int_equal(strata_load_left_ms(f->kept), 0);
    (void)strata_load_finish(f->kept, STRATA_OK, test_bytes("v"), NULL);
    strata_session_close(f->session);
    free(f);
}

typedef struct waiter {
    fixture *f;
    strata_load *load; /* kept by its loader */
    struct waiter *early;
    strata_result result;
    int32_t status;
    _Atomic int answers;
} waiter;

static void keep(strata_load *load, void *user) {
    waiter *w = user;
    w->load = load;
    atomic_fetch_add(&w->f->calls, 1);
}

static void note(void *user, const strata_result *result) {
    waiter *w = user;
    w->status = result->status;
    atomic_fetch_add(&w->answers, 1);
}

/* On the loop, which stands still here: meanwhile the load ends, and then the time of all is over. */
static void stand_still(void *user, const strata_result *result) {
    waiter *w = user;
    fixture_advance(w->f, 200);
    assert_int_equal(strata_load_finish(w->early->load, STRATA_OK, test_bytes("v"), NULL), STRATA_OK);
    fixture_advance(w->f, 1000);
    note(user, result);
}

static void wait_for(fixture *f, waiter *w, const char *key, uint32_t deadline_ms, bool on_loop) {
    strata_op_options options = {.struct_size = sizeof options, .deadline_ms = deadline_ms, .flags = on_loop ? STRATA_ON_LOOP : 0};
    *w = (waiter){.f = f};
    assert_int_equal(strata_get_or_load(f->session, f->ns, test_bytes(key), &options, keep, w, &w->result, on_loop ? stand_still : note, w),
                     STRATA_PENDING);
}

/* One's time is over; another's was not when its answer came, however late the loop looks. */
static void each_has_its_own_time(void **state) {
    fixture *f = *state;
    waiter still, early, late;
    wait_for(f, &still, "other", 100, true);
    wait_for(f, &early, "k", 100, false);
    still.early = &early;
    for (int64_t end_ms = test_now_ms() + 10000; atomic_load(&f->calls) < 2 && test_now_ms() < end_ms;) (void)strata_session_wait(f->session, 10);
    assert_int_equal(atomic_load(&f->calls), 2);
    wait_for(f, &late, "k", 400, false);
    fixture_advance(f, 100);
    for (int64_t end_ms = test_now_ms() + 10000; atomic_load(&late.answers) == 0 && test_now_ms() < end_ms;)
        (void)strata_session_wait(f->session, 10);
    assert_int_equal(atomic_load(&still.answers), 1);
    assert_int_equal(still.status, STRATA_E_TIMEOUT);
    assert_int_equal(early.status, STRATA_E_TIMEOUT);
    assert_int_equal(late.status, STRATA_OK);
    assert_int_equal(strata_load_finish(still.load, STRATA_OK, test_bytes("v"), NULL), STRATA_OK); /* nobody waits for it */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(no_more_than_the_policy_allows, setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(who_leaves_makes_room, setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(a_refresh_takes_no_place, setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(a_batch_is_refused_in_part, setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(who_is_refused_has_what_is_past_its_end, setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(but_not_what_was_invalidated, setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(nor_who_finds_too_much_pending, setup_small, fixture_teardown),
        cmocka_unit_test_setup_teardown(a_batch_has_it_too, setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(a_loader_learns_how_long_it_is_wanted, setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(each_has_its_own_time, setup, fixture_teardown),
        cmocka_unit_test(not_by_an_engine_that_is_closed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
