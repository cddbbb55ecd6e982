/* SPDX-License-Identifier: Apache-2.0 */
/* Tags over a real cluster: what one process invalidates no other serves, whatever is lost, loaded or replaced meanwhile. */
// ctest: timeout=600
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/flow/engine.h"
#include "core/key/key.h"
#include "tests/support/cluster.h"
#include "tests/support/engine.h"
#include "tests/support/place.h"
#include "tests/support/side.h"

static sx_cluster *cluster;

static int setup(void **state) {
    (void)state;
    sx_cluster_options options = {.primaries = 3, .replicas = 1};
    cluster = test_cluster_start(&options);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    sx_cluster_stop(cluster);
    return 0;
}

static void open_side(test_side *s) {
    test_side_open(s, "tags", TEST_OPTIONS("l2.nodes", sx_cluster_seeds(cluster), "l2.open_wait", "10s"), NULL);
}

static void set_tagged(test_side *s, const char *key, const char *value, const char *const *names) {
    strata_bytes tags[STRATA_TAGS_MAX];
    strata_op_options options = {.struct_size = sizeof options, .deadline_ms = 5000, .tags = tags};
    options.tag_count = test_side_tags(tags, names);
    assert_int_equal(strata_set_wait(s->session, s->ns, test_bytes(key), test_bytes(value), &options, NULL), STRATA_OK);
}

static void invalidate(test_side *s, const char *const *names) {
    strata_bytes tags[STRATA_TAGS_MAX];
    strata_op_options options = {.struct_size = sizeof options, .deadline_ms = 10000};
    uint32_t count = test_side_tags(tags, names);
    assert_int_equal(strata_invalidate_tags_wait(s->session, tags, count, &options), STRATA_OK);
}

/* ---- what a tag is for ---- */

static void one_message_invalidates_all_that_have_it(void **state) {
    (void)state;
    enum { KEYS = 300 };
    test_side a, b;
    char key[32];
    open_side(&a);
    open_side(&b);
    for (int i = 0; i < KEYS; i++) {
        snprintf(key, sizeof key, "group:%d", i);
        set_tagged(&a, key, "old", i % 2 == 0 ? TEST_TAGS("even", "all") : TEST_TAGS("odd", "all"));
        assert_string_equal(test_get(b.session, b.ns, key), "old");
    }
    assert_int_equal(test_set(a.session, a.ns, "plain", "stays"), STRATA_OK);
    assert_string_equal(test_get(b.session, b.ns, "plain"), "stays");
    test_sleep_ms(200); /* the messages of the writes have come */
    int64_t messages = test_metric(b.engine, "coherence.messages"), commands = test_metric(a.engine, "l2.commands");
    invalidate(&a, TEST_TAGS("even"));
    assert_int_equal(test_metric(a.engine, "l2.commands") - commands, 1);
    assert_true(test_metric_wait(b.engine, "coherence.messages", messages + 1, 30000));
    for (int i = 0; i < KEYS; i++) {
        snprintf(key, sizeof key, "group:%d", i);
        test_side *sides[] = {&a, &b};
        for (int k = 0; k < 2; k++) {
            if (i % 2 == 0) assert_null(test_peek(sides[k]->session, sides[k]->ns, key));
            else assert_string_equal(test_peek(sides[k]->session, sides[k]->ns, key), "old");
            if (i % 2 == 0) assert_null(test_get(sides[k]->session, sides[k]->ns, key)); /* nor from L2 */
        }
    }
    assert_int_equal(test_metric(b.engine, "coherence.messages"), messages + 1);
    assert_string_equal(test_peek(b.session, b.ns, "plain"), "stays");
    /* Loaded again it is valid, everywhere. */
    assert_string_equal(test_side_read(&b, "group:0", "new", TEST_TAGS("even", "all")), "new");
    assert_string_equal(test_get(a.session, a.ns, "group:0"), "new");
    assert_string_equal(test_peek(a.session, a.ns, "group:0"), "new");
    invalidate(&b, TEST_TAGS("all", "unheard of"));
    test_side_await_gone(&a, "group:0");
    assert_null(test_get(a.session, a.ns, "group:1"));
    test_side_close(&a);
    test_side_close(&b);
}

static void a_load_from_before_an_invalidation_is_cached_nowhere(void **state) {
    (void)state;
    test_side a, b;
    open_side(&a);
    open_side(&b);
    test_side_hold(&a, "loading", TEST_TAGS("race"));
    invalidate(&b, TEST_TAGS("race"));
    strata_load_finish(a.kept, STRATA_OK, test_bytes("old"), NULL);
    test_side_await(&a, 1);
    assert_string_equal(a.answer, "old"); /* who asked before is told what it asked for */
    test_sleep_ms(50);
    assert_null(test_peek(a.session, a.ns, "loading"));
    assert_null(test_get(a.session, a.ns, "loading"));
    assert_null(test_get(b.session, b.ns, "loading"));
    assert_string_equal(test_side_read(&b, "loading", "new", TEST_TAGS("race")), "new");
    assert_string_equal(test_get(a.session, a.ns, "loading"), "new");
    test_side_close(&a);
    test_side_close(&b);
}

static void join_after(bool own) {
    test_side a, b;
    open_side(&a);
    open_side(&b);
    test_side_hold(&a, "joined", TEST_TAGS("join"));
    strata_load *before = a.kept;
    int64_t messages = test_metric(a.engine, "coherence.messages");
    invalidate(own ? &a : &b, TEST_TAGS("join"));
    assert_true(test_metric_wait(a.engine, "coherence.messages", messages + 1, 30000));
    test_sleep_ms(20);
    test_side late = a; /* its answers apart */
    test_side_start(&late, "joined", "new", TEST_TAGS("join"));
    strata_load_finish(before, STRATA_OK, test_bytes("old"), NULL);
    test_side_await(&a, 1);
    test_side_await(&late, 1);
    assert_string_equal(a.answer, "old");
    assert_string_equal(late.answer, "new");
    assert_int_equal(late.calls, 1);
    assert_string_equal(test_get(a.session, a.ns, "joined"), "new");
    assert_int_equal(strata_invalidate_wait(a.session, a.ns, test_bytes("joined"), NULL), STRATA_OK);
    test_side_close(&a);
    test_side_close(&b);
}

static void who_joins_after_an_invalidation_waits_for_another_load(void **state) {
    (void)state;
    join_after(true);
    join_after(false); /* another process's */
}

/* The nonce of a tag that the loader names was learnt while it ran: it says nothing of what the loader saw. */
static void a_nonce_from_after_the_loaders_beginning_is_too_late(void **state) {
    (void)state;
    test_side a, b;
    open_side(&a);
    open_side(&b);
    test_side_hold(&a, "overtaken", NULL);
    strata_bytes late = test_bytes("learnt later");
    strata_load_result details = {.struct_size = sizeof details, .tags = &late, .tag_count = 1};
    invalidate(&b, TEST_TAGS("learnt later"));
    set_tagged(&a, "teacher", "x", TEST_TAGS("learnt later"));
    assert_int_equal(strata_load_finish(a.kept, STRATA_OK, test_bytes("old"), &details), STRATA_OK);
    test_side_await(&a, 1);
    test_sleep_ms(50);
    assert_null(test_peek(a.session, a.ns, "overtaken"));
    assert_null(test_get(b.session, b.ns, "overtaken"));
    test_side_close(&a);
    test_side_close(&b);
}

static void tags_that_only_the_loader_names_need_a_second_load(void **state) {
    (void)state;
    test_side a;
    open_side(&a);
    a.late[0] = "late:1";
    a.late[1] = "late:2";
    assert_string_equal(test_side_read(&a, "late", "first", NULL), "first");
    assert_int_equal(test_metric(a.engine, "flow.tags_too_late"), 1);
    test_sleep_ms(50);
    assert_null(test_get(a.session, a.ns, "late"));
    assert_string_equal(test_side_read(&a, "late", "second", NULL), "second"); /* their markers are known now */
    assert_int_equal(test_metric(a.engine, "flow.tags_too_late"), 1);
    assert_string_equal(test_get(a.session, a.ns, "late"), "second");
    invalidate(&a, TEST_TAGS("late:2"));
    assert_null(test_get(a.session, a.ns, "late"));
    test_side_close(&a);
}

/* ---- two connections ---- */

/* A marker that is asked for on the loop; with a message, that arrives while the answer is on its way. */
typedef struct crossing {
    sx_task task;
    sx_store_op op;
    strata *engine;
    sx_tag tag;
    sx_marks_asked asked;
    bool message;
    uint64_t read, proven;
    _Atomic int over; /* atomic: release / acquire; the above is read after it */
} crossing;

static void crossing_answered(sx_store_op *op, int32_t status, const sx_resp *reply) {
    crossing *c = SX_CONTAINER(op, crossing, op);
    sx_message message = {.kind = SX_MESSAGE_TAG, .sequenced = true, .n = UINT64_C(1) << 52, .id = 4711,
                          .key = c->tag.name, .key_size = c->tag.size};
    uint32_t partition = sx_key_partition(c->tag.name, c->tag.size, c->engine->partitions);
    if (c->message) sx_apply_message_on_loop(c->engine, partition, &message);
    if (status == STRATA_OK) c->read = sx_marks_answered_on_loop(c->engine, op, &c->tag, &c->asked, reply);
    c->proven = sx_marks_nonce_on_loop(c->engine, &c->tag, INT64_MAX);
    sx_command_deinit(&op->request.command);
    atomic_store_explicit(&c->over, 1, memory_order_release);
}

static void crossing_ask(sx_task *task) {
    crossing *c = SX_CONTAINER(task, crossing, task);
    sx_command_init(&c->op.request.command, &c->engine->alloc);
    sx_marks_ask_on_loop(c->engine, &c->op, &c->tag, sx_loop_now_ns(c->engine->loop) + 5 * SX_NS_PER_S, &c->asked,
                         crossing_answered);
}

static void cross(crossing *c, test_side *s, const char *name, bool message) {
    *c = (crossing){.task = {.run_on_loop = crossing_ask}, .engine = s->engine, .message = message};
    c->tag.name = (const uint8_t *)name;
    c->tag.size = strlen(name);
    sx_loop_post(s->engine->loop, &c->task);
    while (atomic_load_explicit(&c->over, memory_order_acquire) == 0) test_sleep_ms(1);
    assert_true(c->read != 0);
}

/* The marker's answer is older than the message that came before it: it must not be believed after that. */
static void a_message_that_overtakes_the_markers_answer_is_not_forgotten(void **state) {
    (void)state;
    test_side a;
    crossing c;
    open_side(&a);
    cross(&c, &a, "crossed", true);
    assert_true(c.proven == 0);
    cross(&c, &a, "crossed", false); /* asked after it, the answer is good */
    assert_true(c.proven == c.read);
    test_side_close(&a);
}

/* ---- what is lost ---- */

/* The invalidation's message reaches nobody: what was tagged must be proven by the marker, not by the message. */
static void a_lost_message_brings_nothing_back(void **state) {
    (void)state;
    test_side a, b;
    test_cutter cutter;
    char key[32];
    open_side(&a);
    open_side(&b);
    for (int i = 0; i < 50; i++) {
        snprintf(key, sizeof key, "lost:%d", i);
        set_tagged(&a, key, "old", TEST_TAGS("lost"));
        assert_string_equal(test_get(b.session, b.ns, key), "old");
        assert_string_equal(test_peek(b.session, b.ns, key), "old");
    }
    set_tagged(&a, "other", "stays", TEST_TAGS("kept"));
    assert_string_equal(test_get(b.session, b.ns, "other"), "stays");
    test_cutter_start(&cutter, cluster, 3);
    assert_true(test_metric_wait(b.engine, "coherence.lost", 256, 30000));
    invalidate(&a, TEST_TAGS("lost"));
    test_sleep_ms(600); /* beyond the bound */
    assert_null(test_peek(b.session, b.ns, "lost:0"));
    assert_null(test_get(b.session, b.ns, "lost:1")); /* untrusted */
    test_cutter_stop(&cutter);
    test_engine_await_trust(b.engine, 20000);
    for (int i = 0; i < 50; i++) {
        snprintf(key, sizeof key, "lost:%d", i);
        assert_null(test_peek(b.session, b.ns, key));
        assert_null(test_get(b.session, b.ns, key));
    }
    int64_t hits = test_metric(b.engine, "l2.hits");
    assert_string_equal(test_get(b.session, b.ns, "other"), "stays"); /* proven again: no payload moved */
    assert_int_equal(test_metric(b.engine, "l2.hits"), hits);
    test_side_close(&a);
    test_side_close(&b);
}

/* A tag is invalidated and the message does not exist: only the counter moves. The entries' own partitions notice nothing. */
static void a_message_that_never_came(void **state) {
    (void)state;
    test_side a;
    char key[32];
    open_side(&a);
    for (int i = 0; i < 50; i++) {
        snprintf(key, sizeof key, "silent:%d", i);
        set_tagged(&a, key, "old", TEST_TAGS("silent"));
        assert_string_equal(test_peek(a.session, a.ns, key), "old");
    }
    test_place place = test_place_of("silent");
    uint32_t owner = test_node_of(cluster, "silent");
    free(sx_cluster_command(cluster, owner, "DEL {%s}s1:#silent", place.tag));
    free(sx_cluster_command(cluster, owner, "HINCRBY {%s}s1:n n 1", place.tag));
    test_sleep_ms(600); /* beyond the bound */
    test_engine_await_trust(a.engine, 20000);
    for (int i = 0; i < 50; i++) {
        snprintf(key, sizeof key, "silent:%d", i);
        assert_null(test_peek(a.session, a.ns, key));
        assert_null(test_get(a.session, a.ns, key));
    }
    test_side_close(&a);
}

/* The marker is gone (evicted, FLUSHALL, a restart without data): all that it vouched for is invalid. */
static void a_missing_marker_invalidates(void **state) {
    (void)state;
    test_side a, b;
    open_side(&a);
    set_tagged(&a, "orphan", "old", TEST_TAGS("orphaned"));
    free(sx_cluster_command(cluster, test_node_of(cluster, "orphaned"), "DEL {%s}s1:#orphaned", test_place_of("orphaned").tag));
    open_side(&b);
    assert_null(test_get(b.session, b.ns, "orphan"));
    assert_string_equal(test_side_read(&b, "orphan", "new", TEST_TAGS("orphaned")), "new");
    test_side_close(&a);
    test_side_close(&b);
}

/* Expired or evicted, a marker is created again by who comes first. The others hear of it, else each would take its own
   nonce for the present one and the other's values for outdated. */
static void a_marker_that_was_lost_is_one_for_all(void **state) {
    (void)state;
    test_side a, b;
    char name[64];
    open_side(&a);
    set_tagged(&a, "one:1", "old", TEST_TAGS("one for all"));
    snprintf(name, sizeof name, "{%s}s1:#one for all", test_place_of("one for all").tag);
    const char *const words[] = {"DEL", name};
    free(sx_cluster_command_argv(cluster, test_node_of(cluster, "one for all"), 2, words));
    open_side(&b);
    set_tagged(&b, "one:2", "new", TEST_TAGS("one for all"));
    test_side_await_gone(&a, "one:1");
    assert_string_equal(test_get(a.session, a.ns, "one:2"), "new");
    set_tagged(&a, "one:3", "new", TEST_TAGS("one for all"));
    int64_t outdated = test_metric(a.engine, "flow.outdated") + test_metric(b.engine, "flow.outdated");
    for (int i = 0; i < 3; i++) {
        assert_string_equal(test_get(a.session, a.ns, "one:2"), "new");
        assert_string_equal(test_get(b.session, b.ns, "one:3"), "new");
    }
    assert_int_equal(test_metric(a.engine, "flow.outdated") + test_metric(b.engine, "flow.outdated"), outdated);
    test_side_close(&a);
    test_side_close(&b);
}

static _Atomic int64_t days; /* that the engine's clock is ahead */

static int64_t later_ns(void *context) {
    (void)context;
    struct timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now);
    return ((int64_t)now.tv_sec + atomic_load(&days) * 86400) * SX_NS_PER_S + now.tv_nsec;
}

/* Who uses a tag for longer than its marker lives asks for it again in time. */
static void a_marker_that_is_used_does_not_expire(void **state) {
    (void)state;
    strata_open_options with = {.struct_size = sizeof with, .clock = {.now_ns = later_ns}};
    test_side a;
    test_side_open(&a, "tags", TEST_OPTIONS("l2.nodes", sx_cluster_seeds(cluster), "l2.open_wait", "10s"), &with);
    set_tagged(&a, "used", "1", TEST_TAGS("used"));
    int64_t asked = test_metric(a.engine, "flow.markers_asked");
    set_tagged(&a, "used", "2", TEST_TAGS("used"));
    assert_int_equal(test_metric(a.engine, "flow.markers_asked"), asked);
    atomic_store(&days, 11);
    assert_true(test_metric_wait(a.engine, "coherence.gained", 257, 20000)); /* the leases were over */
    test_engine_await_trust(a.engine, 20000);
    asked = test_metric(a.engine, "flow.markers_asked");
    set_tagged(&a, "used", "3", TEST_TAGS("used"));
    assert_int_equal(test_metric(a.engine, "flow.markers_asked"), asked + 1);
    set_tagged(&a, "used", "4", TEST_TAGS("used"));
    assert_int_equal(test_metric(a.engine, "flow.markers_asked"), asked + 1);
    test_side_close(&a);
    atomic_store(&days, 0);
}

/* The tag's primary is replaced: its entries are proven anew, and what is invalidated at the successor is so everywhere. */
static void a_failover_of_the_markers_node(void **state) {
    (void)state;
    test_side a, b;
    open_side(&a);
    open_side(&b);
    set_tagged(&a, "moved:1", "old", TEST_TAGS("moving"));
    set_tagged(&a, "moved:2", "kept", TEST_TAGS("staying"));
    assert_string_equal(test_get(b.session, b.ns, "moved:1"), "old");
    assert_string_equal(test_get(b.session, b.ns, "moved:2"), "kept");
    uint32_t owner = test_node_of(cluster, "moving");
    test_sleep_ms(200); /* the replica has it */
    int64_t bumps = test_metric(b.engine, "coherence.generation_bumps");
    sx_cluster_kill(cluster, owner);
    assert_true(test_metric_wait(b.engine, "coherence.generation_bumps", bumps + 1, 20000));
    test_engine_await_trust(b.engine, 20000);
    test_engine_await_trust(a.engine, 20000);
    assert_string_equal(test_get(b.session, b.ns, "moved:1"), "old");
    invalidate(&a, TEST_TAGS("moving"));
    test_side_await_gone(&b, "moved:1");
    assert_null(test_get(b.session, b.ns, "moved:1"));
    assert_string_equal(test_get(b.session, b.ns, "moved:2"), "kept");
    test_side_close(&a);
    test_side_close(&b);
}

/* The successor has not seen the invalidation: its sender repeats it there, else all that was tagged would be back. */
static void a_failover_undoes_no_acknowledged_invalidation(void **state) {
    (void)state;
    test_side a, b;
    char name[32], key[32];
    int in_tag = 0, elsewhere = 0;
    for (;; in_tag++) { /* a tag of node 0, an entry of node 1: which stays where it is */
        snprintf(name, sizeof name, "lost tag %d", in_tag);
        if (test_node_of(cluster, name) == 0) break;
    }
    for (;; elsewhere++) {
        snprintf(key, sizeof key, "undone:%d", elsewhere);
        if (test_node_of(cluster, key) == 1) break;
    }
    open_side(&a);
    open_side(&b);
    set_tagged(&a, key, "old", TEST_TAGS(name));
    assert_string_equal(test_get(b.session, b.ns, key), "old");
    test_sleep_ms(500); /* the replica has the marker */
    assert_int_equal(sx_cluster_pause(cluster, 3), 0);
    free(sx_cluster_command(cluster, 0, "CLIENT KILL TYPE replica"));
    invalidate(&a, TEST_TAGS(name));
    test_side_await_gone(&b, key);
    test_sleep_ms(300);
    assert_int_equal(sx_cluster_kill(cluster, 0), 0);
    assert_int_equal(sx_cluster_resume(cluster, 3), 0);
    assert_true(test_metric_wait(a.engine, "recovery.tags_repeated", 1, 20000));
    test_engine_await_trust(a.engine, 20000);
    test_engine_await_trust(b.engine, 20000);
    for (int i = 0; i < 30000 && test_metric(a.engine, "flow.pending") != 0; i++) test_sleep_ms(1);
    test_sleep_ms(700);
    assert_null(test_get(b.session, b.ns, key));
    assert_null(test_get(a.session, a.ns, key));
    test_side_close(&a);
    test_side_close(&b);
}

int main(void) {
    if (!sx_cluster_available()) return 77;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_message_invalidates_all_that_have_it),
        cmocka_unit_test(a_load_from_before_an_invalidation_is_cached_nowhere),
        cmocka_unit_test(who_joins_after_an_invalidation_waits_for_another_load),
        cmocka_unit_test(tags_that_only_the_loader_names_need_a_second_load),
        cmocka_unit_test(a_nonce_from_after_the_loaders_beginning_is_too_late),
        cmocka_unit_test(a_message_that_overtakes_the_markers_answer_is_not_forgotten),
        cmocka_unit_test(a_message_that_never_came),
        cmocka_unit_test(a_lost_message_brings_nothing_back),
        cmocka_unit_test(a_missing_marker_invalidates),
        cmocka_unit_test(a_marker_that_was_lost_is_one_for_all),
        cmocka_unit_test(a_marker_that_is_used_does_not_expire),
        cmocka_unit_test(a_failover_undoes_no_acknowledged_invalidation), /* node 0 is gone */
        cmocka_unit_test(a_failover_of_the_markers_node),                 /* and another */
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
