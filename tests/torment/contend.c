/* SPDX-License-Identifier: Apache-2.0 */
/* A client's thread for what all clients share beside values: locks, which it holds and looks how long, and numbers, to which it adds.
   It also has its process do without a tier now and then, in one namespace. */
#include "tests/torment/torment.h"

#include <stdio.h>

#include "tests/support/engine.h"

static uint64_t dice(torment_contender *me, uint64_t sides) { return torment_random(&me->random) % sides; }

void torment_lock_name(char name[TORMENT_NAME], uint32_t lock) { snprintf(name, TORMENT_NAME, "lock%u", lock); }
void torment_counter_name(char name[TORMENT_NAME], uint32_t counter) { snprintf(name, TORMENT_NAME, "count%u", counter); }

/* Holds it for a while, and writes down until when it was said to be held. */
static void hold(torment_contender *me, const strata_lock *lock, history_op *op) {
    int64_t until_ns = torment_now_ns() + (int64_t)dice(me, 500) * 1000000;
    for (int64_t now_ns; (now_ns = torment_now_ns()) < until_ns && !atomic_load(&me->shared->stop);) {
        int64_t left_ms = strata_lock_left_ms(lock);
        if (left_ms == 0) break; /* given up before its end, maybe */
        op->end_ns = now_ns + left_ms * 1000000;
        torment_sleep_ms(5);
    }
    if (op->end_ns > torment_now_ns()) op->end_ns = torment_now_ns(); /* it is released now */
}

static void lock_one(torment_contender *me, strata_session *session) {
    char name[TORMENT_NAME];
    uint32_t number = (uint32_t)dice(me, TORMENT_LOCKS);
    torment_lock_name(name, number);
    strata_lock_options options = {.struct_size = sizeof options, .ttl_ms = 50 + (int64_t)dice(me, 500), .deadline_ms = TORMENT_DEADLINE_MS,
                                   .flags = (dice(me, 2) == 0 ? STRATA_LOCK_TRY : 0) | (dice(me, 2) == 0 ? STRATA_LOCK_RENEW : 0)};
    strata_lock *lock = NULL;
    history_op op = {.kind = HISTORY_TOKEN, .key = TORMENT_LOCK + number, .start_ns = torment_now_ns()};
    if (strata_lock_acquire_wait(session, me->spaces[TORMENT_PLAIN], test_bytes(name), &options, &lock) != STRATA_OK) return;
    op.end_ns = torment_now_ns();
    op.value = strata_lock_token(lock);
    torment_record(me->client, me->log, op);
    op.kind = HISTORY_HELD;
    op.start_ns = op.end_ns;
    hold(me, lock, &op);
    if (op.end_ns > op.start_ns) torment_record(me->client, me->log, op);
    atomic_fetch_add(&me->shared->held, 1);
    if (dice(me, 4) != 0) (void)strata_lock_release_wait(session, lock);
    strata_lock_close(lock);
}

static void count_one(torment_contender *me, strata_session *session) {
    char name[TORMENT_NAME];
    uint32_t number = (uint32_t)dice(me, TORMENT_COUNTERS);
    torment_counter_name(name, number);
    strata_op_options options = {.struct_size = sizeof options, .deadline_ms = TORMENT_DEADLINE_MS};
    int64_t value = 0;
    atomic_fetch_add(&me->shared->counts[number], 1);
    history_op op = {.kind = HISTORY_COUNTED, .key = TORMENT_COUNTER + number, .start_ns = torment_now_ns()};
    int32_t status = strata_incr_wait(session, me->spaces[TORMENT_PLAIN], test_bytes(name), 1, &options, &value);
    op.end_ns = torment_now_ns();
    if (status != STRATA_OK && status != STRATA_E_UNKNOWN_OUTCOME) atomic_fetch_sub(&me->shared->counts[number], 1); /* it was not added */
    if (status != STRATA_OK) return;
    op.value = (uint64_t)value;
    op.n = atomic_load(&me->shared->counts[number]);
    torment_record(me->client, me->log, op);
    atomic_fetch_add(&me->shared->counted, 1);
}

/* Not in the plain one, whose loads are judged by their leases. */
static void roll(torment_contender *me, torment_space *space, bool off) {
    static const uint32_t flags[] = {STRATA_ROLLOUT_L1_OFF, STRATA_ROLLOUT_L2_OFF, STRATA_ROLLOUT_OFF};
    strata_rollout rollout = {.struct_size = sizeof rollout};
    if (off) {
        *space = (torment_space)(TORMENT_GROUPED + dice(me, TORMENT_GUARDED - TORMENT_GROUPED));
        rollout.flags = flags[dice(me, 3)];
        atomic_fetch_add(&me->shared->rolled, 1);
    }
    (void)strata_namespace_rollout_set(me->spaces[*space], &rollout, NULL);
}

void *torment_contend(void *contender) {
    torment_contender *me = contender;
    strata_session *session = test_engine_session(me->engine);
    torment_space space = TORMENT_GROUPED;
    bool off = false;
    int64_t next_ns = torment_now_ns();
    while (!atomic_load(&me->shared->stop)) {
        if (dice(me, 8) == 0) lock_one(me, session);
        else count_one(me, session);
        if (dice(me, 4) == 0) torment_tell_divergent(me->client, me->shared, me->spaces[TORMENT_PLAIN]);
        torment_sleep_ms((int64_t)dice(me, 20));
        if (torment_now_ns() < next_ns) continue;
        off = !off;
        roll(me, &space, off);
        next_ns = torment_now_ns() + (int64_t)(off ? 100 + dice(me, 900) : 500 + dice(me, 3000)) * 1000000;
    }
    strata_session_close(session);
    return NULL;
}
