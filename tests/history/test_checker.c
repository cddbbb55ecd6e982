/* SPDX-License-Identifier: Apache-2.0 */
/* The checker of histories itself: each violation is named, and what is allowed is not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include <strata/strata.h>

#include "tests/support/history.h"

static const history_rules rules = {.bound_ns = 500, .lease_ns = 1000};

static history_op op(history_kind kind, uint32_t process, int64_t start_ns, int64_t end_ns, uint64_t value) {
    return (history_op){.kind = (uint8_t)kind, .process = process, .start_ns = start_ns, .end_ns = end_ns,
                        .value = value, .source = STRATA_FROM_L1};
}

static history_op with(history_op o, uint8_t source, uint64_t n) {
    o.source = source;
    o.n = n;
    return o;
}

/* The only fault in ops, HISTORY_FAULTS for none. */
static history_fault only_fault(history_op *ops, size_t count, const history_rules *by) {
    history_report report;
    history_fault found = HISTORY_FAULTS;
    bool good = history_check(ops, count, by, &report);
    for (int f = 0; f < HISTORY_FAULTS; f++) {
        if (report.faults[f] == 0) continue;
        assert_true(found == HISTORY_FAULTS && report.faults[f] == 1);
        found = (history_fault)f;
    }
    assert_true(good == (found == HISTORY_FAULTS));
    return found;
}
#define ONLY_FAULT(...)                                                          \
    only_fault((history_op[]){__VA_ARGS__}, sizeof(history_op[]){__VA_ARGS__} / sizeof(history_op), &rules)

static void staleness_is_judged_by_the_bound(void **state) {
    (void)state;
    history_op set = op(HISTORY_SET, 1, 0, 100, 7);
    assert_int_equal(ONLY_FAULT(set, op(HISTORY_READ, 2, 601, 610, 6)), HISTORY_STALE);
    assert_int_equal(ONLY_FAULT(op(HISTORY_READ, 2, 601, 610, 6), set), HISTORY_STALE); /* in any order */
    assert_int_equal(ONLY_FAULT(set, op(HISTORY_READ, 2, 600, 1000, 6)), HISTORY_FAULTS);
    assert_int_equal(ONLY_FAULT(set, op(HISTORY_READ, 2, 601, 610, 8)), HISTORY_FAULTS);
    history_op other = op(HISTORY_READ, 2, 601, 610, 6);
    other.key = 1;
    assert_int_equal(ONLY_FAULT(set, other), HISTORY_FAULTS);
    /* L2 has no excuse, but for what a failover lost; a loader's answer is its own. */
    history_op read = with(op(HISTORY_READ, 2, 101, 110, 6), STRATA_FROM_L2, 0);
    assert_int_equal(ONLY_FAULT(set, read), HISTORY_STALE);
    assert_int_equal(ONLY_FAULT(set, with(read, STRATA_FROM_LOADER, 0)), HISTORY_FAULTS);
    history_rules lost = rules;
    lost.sets_may_be_lost = true;
    assert_int_equal(only_fault((history_op[]){set, read}, 2, &lost), HISTORY_FAULTS);
}

static void own_writes_have_no_grace(void **state) {
    (void)state;
    history_op set = op(HISTORY_SET, 1, 0, 100, 7);
    assert_int_equal(ONLY_FAULT(set, op(HISTORY_READ, 1, 101, 110, 6)), HISTORY_OWN_WRITE);
    assert_int_equal(ONLY_FAULT(set, op(HISTORY_READ, 1, 99, 110, 6)), HISTORY_FAULTS); /* not yet acknowledged */
    assert_int_equal(ONLY_FAULT(op(HISTORY_INVALIDATE, 1, 0, 100, 7), op(HISTORY_READ, 1, 101, 110, 6)),
                     HISTORY_OWN_WRITE);
}

static void versions_only_grow_in_a_process(void **state) {
    (void)state;
    history_op first = with(op(HISTORY_READ, 1, 0, 10, 5), STRATA_FROM_L1, 20);
    history_op second = with(op(HISTORY_READ, 1, 11, 12, 5), STRATA_FROM_L1, 19);
    assert_int_equal(ONLY_FAULT(first, second), HISTORY_BACK);
    second.process = 2;
    assert_int_equal(ONLY_FAULT(first, second), HISTORY_FAULTS);
    second.process = 1;
    second.start_ns = 9; /* at the same time */
    assert_int_equal(ONLY_FAULT(first, second), HISTORY_FAULTS);
    assert_int_equal(ONLY_FAULT(first, with(op(HISTORY_READ, 1, 11, 12, 5), STRATA_FROM_LOADER, 0)), HISTORY_FAULTS);
}

static void an_old_load_after_an_invalidation_is_a_resurrection(void **state) {
    (void)state;
    history_op load = op(HISTORY_LOAD, 1, 0, 200, 6), gone = op(HISTORY_INVALIDATE, 2, 50, 100, 7);
    history_op read = with(op(HISTORY_READ, 3, 300, 310, 6), STRATA_FROM_L2, 0);
    assert_int_equal(ONLY_FAULT(load, gone, read), HISTORY_RESURRECTED);
    assert_int_equal(ONLY_FAULT(load, gone, op(HISTORY_READ, 3, 601, 610, 6)), HISTORY_RESURRECTED);
    assert_int_equal(ONLY_FAULT(load, gone, op(HISTORY_READ, 3, 600, 610, 6)), HISTORY_FAULTS);
    assert_int_equal(ONLY_FAULT(op(HISTORY_LOAD, 1, 0, 40, 6), gone, read), HISTORY_STALE); /* it was there before */
}

static void a_lease_allows_one_load(void **state) {
    (void)state;
    history_op load = op(HISTORY_LOAD, 1, 0, 2000, 6), second = op(HISTORY_LOAD, 2, 500, 600, 6);
    assert_int_equal(ONLY_FAULT(load, second), HISTORY_LOADED_TWICE);
    assert_int_equal(ONLY_FAULT(load, op(HISTORY_LOAD, 2, 1000, 1100, 6)), HISTORY_FAULTS); /* the lease is over */
    assert_int_equal(ONLY_FAULT(load, op(HISTORY_INVALIDATE, 3, 100, 200, 6), second), HISTORY_FAULTS);
    load.end_ns = 500;
    assert_int_equal(ONLY_FAULT(load, second), HISTORY_FAULTS);
}

static void a_read_is_no_older_than_it_says(void **state) {
    (void)state;
    history_rules micro = {.bound_ns = 500000};
    history_op set = op(HISTORY_SET, 1, 0, 100, 7), read = op(HISTORY_READ, 2, 50100, 50200, 6);
    read.said_us = 10; /* and is 50 */
    assert_int_equal(only_fault((history_op[]){set, read}, 2, &micro), HISTORY_UNDERSTATED);
    read.said_us = 50;
    assert_int_equal(only_fault((history_op[]){set, read}, 2, &micro), HISTORY_FAULTS);
}

static void two_fills_at_once_are_one_too_many(void **state) {
    (void)state;
    history_op first = op(HISTORY_LOAD, 1, 0, 200, 6), second = op(HISTORY_LOAD, 1, 150, 300, 6);
    assert_int_equal(ONLY_FAULT(first, second), HISTORY_FAULTS); /* one of them stayed with its waiters */
    first.filled = second.filled = 1;
    assert_int_equal(ONLY_FAULT(first, second), HISTORY_FILLED_TWICE);
    second.start_ns = 200;
    assert_int_equal(ONLY_FAULT(first, second), HISTORY_FAULTS);
}

static history_op version(history_op o, uint8_t source, uint64_t id) {
    o.source = source;
    o.id = id;
    return o;
}

static void what_was_seen_replaced_does_not_return(void **state) {
    (void)state;
    /* Nobody was told that the write succeeded, but somebody has read it. */
    history_op seen = version(op(HISTORY_READ, 1, 0, 10, 7), STRATA_FROM_L2, 70);
    history_op old = version(op(HISTORY_READ, 2, 11, 20, 6), STRATA_FROM_L2, 60);
    assert_int_equal(ONLY_FAULT(seen, old), HISTORY_UNDONE);
    assert_int_equal(ONLY_FAULT(op(HISTORY_FAILED_WRITE, 3, 0, 5, 6), seen, old), HISTORY_FAULTS); /* now it has happened */
    assert_int_equal(ONLY_FAULT(op(HISTORY_FAILED_WRITE, 3, 0, 5, 5), seen, old), HISTORY_UNDONE);
    old.start_ns = 9;
    assert_int_equal(ONLY_FAULT(seen, old), HISTORY_FAULTS);
}

static history_rules with_loss(const history_loss *loss) {
    history_rules r = rules;
    r.losses = loss;
    r.loss_count = 1;
    return r;
}

static void a_failover_excuses_what_it_may_have_lost(void **state) {
    (void)state;
    history_loss loss = {.from_ns = 50, .to_ns = 200, .partitions = 1};
    history_rules lossy = with_loss(&loss);
    history_op set = version(op(HISTORY_SET, 1, 0, 100, 7), 0, 70), before = op(HISTORY_SET, 1, 0, 49, 7);
    history_op read = version(op(HISTORY_READ, 2, 201, 210, 6), STRATA_FROM_L2, 60);
    assert_int_equal(only_fault((history_op[]){set, read}, 2, &lossy), HISTORY_FAULTS);
    assert_int_equal(only_fault((history_op[]){before, read}, 2, &lossy), HISTORY_STALE); /* had reached the replica */
    history_op during = read;
    during.start_ns = 199; /* it may come from the old primary */
    assert_int_equal(only_fault((history_op[]){before, during}, 2, &lossy), HISTORY_FAULTS);
    /* Somebody found the write there afterwards: it was not lost. */
    history_op found = version(op(HISTORY_READ, 3, 201, 205, 7), STRATA_FROM_L2, 70);
    read.start_ns = 206;
    assert_int_equal(only_fault((history_op[]){set, found, read}, 3, &lossy), HISTORY_STALE);
    history_op told = set;
    told.end_ns = 250; /* later than that */
    history_op later = version(op(HISTORY_READ, 3, 251, 260, 7), STRATA_FROM_L2, 70);
    assert_int_equal(only_fault((history_op[]){told, later, read}, 3, &lossy), HISTORY_FAULTS);
    history_op gone = op(HISTORY_INVALIDATE, 1, 0, 100, 7);
    assert_int_equal(only_fault((history_op[]){gone, read}, 2, &lossy), HISTORY_FAULTS);
    loss.partitions = 2;
    assert_int_equal(only_fault((history_op[]){set, read}, 2, &lossy), HISTORY_STALE);
    loss = (history_loss){.from_ns = 50, .to_ns = 200, .partitions = 1, .lossless = true};
    assert_int_equal(only_fault((history_op[]){set, read}, 2, &lossy), HISTORY_STALE);
}

static void what_a_failover_lost_is_gone_for_all(void **state) {
    (void)state;
    history_loss loss = {.from_ns = 50, .to_ns = 200, .partitions = 1};
    history_rules lossy = with_loss(&loss);
    history_op set = version(op(HISTORY_SET, 1, 0, 100, 7), 0, 70);
    history_op witness = version(op(HISTORY_READ, 2, 201, 210, 6), STRATA_FROM_L2, 60);
    history_op read = version(op(HISTORY_READ, 3, 711, 712, 7), STRATA_FROM_L1, 70);
    assert_int_equal(only_fault((history_op[]){set, witness, read}, 3, &lossy), HISTORY_REVIVED);
    read.start_ns = 710;
    assert_int_equal(only_fault((history_op[]){set, witness, read}, 3, &lossy), HISTORY_FAULTS);
    read = version(op(HISTORY_READ, 3, 711, 712, 7), STRATA_FROM_L1, 71); /* loaded anew */
    assert_int_equal(only_fault((history_op[]){set, witness, read}, 3, &lossy), HISTORY_FAULTS);
}

static void what_was_flushed_is_gone_for_all(void **state) {
    (void)state;
    history_loss flush = {.from_ns = 150, .to_ns = 200, .partitions = 1};
    history_rules flushed = rules;
    flushed.flushes = &flush;
    flushed.flush_count = 1;
    history_op set = version(op(HISTORY_SET, 1, 0, 100, 7), 0, 70);
    history_op read = version(op(HISTORY_READ, 3, 701, 702, 7), STRATA_FROM_L1, 70);
    assert_int_equal(only_fault((history_op[]){set, read}, 2, &flushed), HISTORY_FLUSHED);
    read.start_ns = 699;
    assert_int_equal(only_fault((history_op[]){set, read}, 2, &flushed), HISTORY_FAULTS);
    read.start_ns = 701;
    set.end_ns = 160; /* perhaps executed after it */
    assert_int_equal(only_fault((history_op[]){set, read}, 2, &flushed), HISTORY_FAULTS);
}

static void an_answer_of_l2_may_be_that_of_a_read_it_joined(void **state) {
    (void)state;
    history_rules joining = rules;
    joining.join_ns = 100;
    history_op set = op(HISTORY_SET, 1, 0, 100, 7);
    history_op first = with(op(HISTORY_READ, 2, 90, 300, 6), STRATA_FROM_L2, 0), joined = first;
    joined.start_ns = 150;
    assert_int_equal(only_fault((history_op[]){set, first, joined}, 3, &joining), HISTORY_FAULTS);
    joined.process = 3; /* another process has nothing to join */
    assert_int_equal(only_fault((history_op[]){set, first, joined}, 3, &joining), HISTORY_STALE);
}

/* Those that an invalidation must have reached when everybody had been left in peace at 300. */
static void what_a_process_owes_is_executed_in_peace(void **state) {
    (void)state;
    history_loss loss = {.from_ns = 50, .to_ns = 200, .partitions = 1};
    history_rules lossy = with_loss(&loss);
    int64_t peace[] = {150, 300}, killed[] = {0, 0, 0};
    lossy.repeated_ns = peace;
    lossy.repeated_count = 2;
    lossy.killed_ns = killed;
    lossy.killed_count = 3;
    history_op gone = op(HISTORY_INVALIDATE, 1, 0, 100, 7);
    history_op stored = version(op(HISTORY_READ, 2, 301, 310, 6), STRATA_FROM_L2, 60);
    history_op kept = op(HISTORY_READ, 2, 301, 310, 6), early = stored, newer = stored;
    assert_int_equal(only_fault((history_op[]){gone, stored}, 2, &lossy), HISTORY_FORGOTTEN);
    assert_int_equal(only_fault((history_op[]){gone, kept}, 2, &lossy), HISTORY_FORGOTTEN);
    early.start_ns = 299; /* the failover was not over at 150 */
    assert_int_equal(only_fault((history_op[]){gone, early}, 2, &lossy), HISTORY_FAULTS);
    newer.value = 7;
    assert_int_equal(only_fault((history_op[]){gone, newer}, 2, &lossy), HISTORY_FAULTS);
    killed[1] = 299; /* and with it what it owed */
    assert_int_equal(only_fault((history_op[]){gone, stored}, 2, &lossy), HISTORY_FAULTS);
    killed[1] = 301;
    assert_int_equal(only_fault((history_op[]){gone, stored}, 2, &lossy), HISTORY_FORGOTTEN);
    lossy.repeated_count = 1; /* it was never left in peace */
    assert_int_equal(only_fault((history_op[]){gone, stored}, 2, &lossy), HISTORY_FAULTS);
    /* The same of one that failed, by its own process at once. */
    history_op failed = op(HISTORY_FAILED_WRITE, 1, 0, 100, 7);
    lossy.repeated_count = 2;
    lossy.loss_count = 0;
    assert_int_equal(only_fault((history_op[]){failed, stored}, 2, &lossy), HISTORY_FAULTS); /* a set */
    failed.invalidates = 1;
    assert_int_equal(only_fault((history_op[]){failed, stored}, 2, &lossy), HISTORY_FORGOTTEN);
    history_op own = op(HISTORY_READ, 1, 101, 110, 6), before = own;
    before.start_ns = 100 - 1;
    assert_int_equal(only_fault((history_op[]){failed, own}, 2, &lossy), HISTORY_OWN_WRITE);
    assert_int_equal(only_fault((history_op[]){failed, before}, 2, &lossy), HISTORY_FAULTS);
    lossy.loss_count = 1; /* also where it was executed at last by a primary that was replaced, and where nobody was left in peace */
    loss = (history_loss){.from_ns = 120, .to_ns = 200, .partitions = 1};
    own.start_ns = 210, own.end_ns = 220;
    lossy.repeated_count = 0;
    assert_int_equal(only_fault((history_op[]){failed, own}, 2, &lossy), HISTORY_OWN_WRITE);
    lossy.repeated_count = 2;
    lossy.loss_count = 0;
    own.start_ns = 101, own.end_ns = 110;
    own.process = 2;
    assert_int_equal(only_fault((history_op[]){failed, own}, 2, &lossy), HISTORY_FAULTS);
}

static void a_tags_number_is_judged_within_the_bound(void **state) {
    (void)state;
    history_rules tags = rules;
    tags.tags_from = 5;
    history_op gone = op(HISTORY_INVALIDATE, 1, 0, 100, 7);
    history_op read = with(op(HISTORY_READ, 2, 600, 610, 6), STRATA_FROM_L2, 0);
    gone.key = read.key = 4;
    assert_int_equal(only_fault((history_op[]){gone, read}, 2, &tags), HISTORY_STALE);
    gone.key = read.key = 5;
    assert_int_equal(only_fault((history_op[]){gone, read}, 2, &tags), HISTORY_FAULTS);
    read.start_ns = 601;
    assert_int_equal(only_fault((history_op[]){gone, read}, 2, &tags), HISTORY_STALE);
}

/* Ages in the units of rules.bound_ns would be less than the ms that a result is allowed: so all of it is in ms here. */
static void what_was_flagged_stale_is_judged_by_what_it_is_allowed(void **state) {
    (void)state;
    const int64_t ms = 1000000;
    history_rules in_ms = rules;
    in_ms.bound_ns = 500 * ms;
    history_op gone = op(HISTORY_INVALIDATE, 1, 0, 100 * ms, 7);
    history_op read = with(op(HISTORY_READ, 2, 1100 * ms, 1110 * ms, 6), STRATA_FROM_L1, 0), own = read;
    assert_int_equal(only_fault((history_op[]){gone, read}, 2, &in_ms), HISTORY_STALE);
    read.allowed_ms = 1000;
    assert_int_equal(only_fault((history_op[]){gone, read}, 2, &in_ms), HISTORY_FAULTS);
    read.source = STRATA_FROM_L2;
    assert_int_equal(only_fault((history_op[]){gone, read}, 2, &in_ms), HISTORY_FAULTS);
    read.start_ns++;
    assert_int_equal(only_fault((history_op[]){gone, read}, 2, &in_ms), HISTORY_STALE);
    read.start_ns--;
    read.said_us = 999998;
    assert_int_equal(only_fault((history_op[]){gone, read}, 2, &in_ms), HISTORY_UNDERSTATED);
    own.allowed_ms = 1000; /* allows nobody to miss a write of his own */
    own.process = 1;
    assert_int_equal(only_fault((history_op[]){gone, own}, 2, &in_ms), HISTORY_OWN_WRITE);
}

static void keys_of_a_partition_share_its_losses(void **state) {
    (void)state;
    const uint8_t partition_of[] = {3, 3, 4};
    history_loss loss = {.from_ns = 50, .to_ns = 200, .partitions = 1 << 3};
    history_rules lossy = with_loss(&loss);
    lossy.partition_of = partition_of;
    history_op gone = op(HISTORY_INVALIDATE, 1, 0, 100, 7), read = op(HISTORY_READ, 2, 601, 610, 6);
    gone.key = read.key = 1;
    assert_int_equal(only_fault((history_op[]){gone, read}, 2, &lossy), HISTORY_FAULTS);
    gone.key = read.key = 2;
    assert_int_equal(only_fault((history_op[]){gone, read}, 2, &lossy), HISTORY_STALE);
}

static history_op swap(uint32_t process, int64_t start_ns, int64_t end_ns, uint64_t value, uint64_t before) {
    history_op o = op(HISTORY_SET, process, start_ns, end_ns, value);
    o.before = before;
    return o;
}

static void one_version_is_replaced_once(void **state) {
    (void)state;
    history_op first = swap(1, 0, 100, 7, 50), second = swap(2, 50, 200, 8, 50);
    assert_int_equal(ONLY_FAULT(first, second), HISTORY_SWAPPED_TWICE);
    assert_int_equal(ONLY_FAULT(first, swap(2, 50, 200, 8, 51)), HISTORY_FAULTS);
    assert_int_equal(ONLY_FAULT(op(HISTORY_SET, 1, 0, 100, 7), op(HISTORY_SET, 2, 50, 200, 8)), HISTORY_FAULTS); /* without a condition */
    second.kind = HISTORY_REFUSED;
    assert_int_equal(ONLY_FAULT(first, second), HISTORY_FAULTS);
    second.kind = HISTORY_FAILED_WRITE;
    assert_int_equal(ONLY_FAULT(first, second), HISTORY_FAULTS);
    history_rules lost = rules;
    lost.losses = &(history_loss){90, 120, UINT64_MAX, false};
    lost.loss_count = 1;
    second.kind = HISTORY_SET;
    assert_int_equal(only_fault((history_op[]){first, second}, 2, &lost), HISTORY_FAULTS);
}

static void what_was_refused_is_read_by_nobody(void **state) {
    (void)state;
    history_op refused = swap(1, 0, 100, 7, 50), read = op(HISTORY_READ, 2, 20, 30, 7);
    refused.kind = HISTORY_REFUSED;
    assert_int_equal(ONLY_FAULT(refused, read), HISTORY_FAULTS); /* a load may know the number */
    read.written = 1;
    assert_int_equal(ONLY_FAULT(refused, read), HISTORY_REFUSED_SEEN);
    read.value = 8;
    assert_int_equal(ONLY_FAULT(refused, read), HISTORY_FAULTS);
}

static void tokens_and_numbers_only_grow(void **state) {
    (void)state;
    history_rules gone = rules;
    gone.evictions = &(history_loss){10, 20, UINT64_MAX, false};
    gone.eviction_count = 1;
    static const history_kind kinds[] = {HISTORY_TOKEN, HISTORY_COUNTED};
    static const history_fault faults[] = {HISTORY_TOKEN_BACK, HISTORY_MISCOUNTED};
    for (int i = 0; i < 2; i++) {
        history_op first = op(kinds[i], 1, 0, 10, 7), second = op(kinds[i], 2, 20, 30, 8);
        first.n = second.n = 100;
        assert_int_equal(ONLY_FAULT(first, second), HISTORY_FAULTS);
        second.value = 7;
        assert_int_equal(ONLY_FAULT(first, second), faults[i]);
        assert_int_equal(only_fault((history_op[]){first, second}, 2, &gone), i == 0 ? faults[i] : HISTORY_FAULTS);
        second.value = 6;
        assert_int_equal(ONLY_FAULT(first, second), faults[i]);
        second.start_ns = 9; /* beside each other */
        assert_int_equal(ONLY_FAULT(first, second), HISTORY_FAULTS);
    }
    history_op often = op(HISTORY_COUNTED, 1, 0, 10, 7);
    often.n = 6; /* times that anybody had begun to */
    assert_int_equal(ONLY_FAULT(often), HISTORY_MISCOUNTED);
}

static void what_yields_replaces_nothing(void **state) {
    (void)state;
    history_op set = op(HISTORY_SET, 1, 0, 100, 7), add = op(HISTORY_SET, 1, 200, 300, 9);
    assert_int_equal(ONLY_FAULT(set, add), HISTORY_FAULTS);
    add.yields = 1;
    assert_int_equal(ONLY_FAULT(set, add), HISTORY_OVERRIDDEN);
    assert_int_equal(ONLY_FAULT(add), HISTORY_FAULTS);
    assert_int_equal(ONLY_FAULT(set, op(HISTORY_INVALIDATE, 1, 120, 130, 8), add), HISTORY_FAULTS);
    assert_int_equal(ONLY_FAULT(set, op(HISTORY_REFUSED, 1, 120, 130, 8), add), HISTORY_OVERRIDDEN);
    assert_int_equal(ONLY_FAULT(op(HISTORY_FAILED_WRITE, 1, 0, 1, 6), set, add), HISTORY_FAULTS); /* it may come yet */
    history_op successor = add;
    successor.process = 2; /* what was under way when its predecessor was killed, nobody noted */
    assert_int_equal(ONLY_FAULT(set, successor), HISTORY_FAULTS);
    history_rules gone = rules;
    gone.evictions = &(history_loss){150, 160, UINT64_MAX, false};
    gone.eviction_count = 1;
    assert_int_equal(only_fault((history_op[]){set, add}, 2, &gone), HISTORY_FAULTS);
}

static void one_holds_a_lock(void **state) {
    (void)state;
    history_op first = op(HISTORY_HELD, 1, 0, 100, 7);
    assert_int_equal(ONLY_FAULT(first, op(HISTORY_HELD, 2, 99, 150, 8)), HISTORY_HELD_TWICE);
    assert_int_equal(ONLY_FAULT(first, op(HISTORY_HELD, 2, 10, 50, 8)), HISTORY_HELD_TWICE);
    assert_int_equal(ONLY_FAULT(first, op(HISTORY_HELD, 2, 100, 150, 8)), HISTORY_FAULTS);
    history_rules gone = rules;
    gone.flushes = &(history_loss){40, 50, UINT64_MAX, false};
    gone.flush_count = 1;
    assert_int_equal(only_fault((history_op[]){first, op(HISTORY_HELD, 2, 60, 150, 8)}, 2, &gone), HISTORY_FAULTS);
    assert_int_equal(only_fault((history_op[]){first, op(HISTORY_HELD, 2, 30, 150, 8)}, 2, &gone), HISTORY_HELD_TWICE);
}

static void files_are_read_one_after_another(void **state) {
    (void)state;
    history_op *ops = NULL;
    size_t count = 0;
    char path[] = "/tmp/strata-history-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    for (int64_t i = 0; i < 1000; i++) {
        history_op o = op(HISTORY_SET, 1, i, i + 1, (uint64_t)i);
        assert_int_equal(write(fd, &o, sizeof o), sizeof o);
    }
    close(fd);
    assert_int_equal(history_read(path, &ops, &count), 0);
    assert_int_equal(history_read(path, &ops, &count), 0);
    unlink(path);
    assert_int_equal(count, 2000);
    assert_int_equal(ops[1999].value, 999);
    assert_int_equal(history_read(path, &ops, &count), -1);
    free(ops);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(staleness_is_judged_by_the_bound),
        cmocka_unit_test(own_writes_have_no_grace),
        cmocka_unit_test(versions_only_grow_in_a_process),
        cmocka_unit_test(an_old_load_after_an_invalidation_is_a_resurrection),
        cmocka_unit_test(a_lease_allows_one_load),
        cmocka_unit_test(a_read_is_no_older_than_it_says),
        cmocka_unit_test(two_fills_at_once_are_one_too_many),
        cmocka_unit_test(what_was_seen_replaced_does_not_return),
        cmocka_unit_test(a_failover_excuses_what_it_may_have_lost),
        cmocka_unit_test(what_a_failover_lost_is_gone_for_all),
        cmocka_unit_test(what_was_flushed_is_gone_for_all),
        cmocka_unit_test(an_answer_of_l2_may_be_that_of_a_read_it_joined),
        cmocka_unit_test(what_a_process_owes_is_executed_in_peace),
        cmocka_unit_test(a_tags_number_is_judged_within_the_bound),
        cmocka_unit_test(what_was_flagged_stale_is_judged_by_what_it_is_allowed),
        cmocka_unit_test(keys_of_a_partition_share_its_losses),
        cmocka_unit_test(one_version_is_replaced_once),
        cmocka_unit_test(what_was_refused_is_read_by_nobody),
        cmocka_unit_test(what_yields_replaces_nothing),
        cmocka_unit_test(tokens_and_numbers_only_grow),
        cmocka_unit_test(one_holds_a_lock),
        cmocka_unit_test(files_are_read_one_after_another),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
