/* SPDX-License-Identifier: Apache-2.0 */
/* The audit: some entries of L1 that would be served as fresh are compared with what stands in L2, and every difference is
   counted by its cause. Only one cause says that a promise was broken. */
#include <string.h>

#include "core/flow/engine.h"

#define TICK_NS (100 * SX_NS_PER_MS)
#define ATTEMPT_NS (1 * SX_NS_PER_S)
#define CHECKS_MAX 256     /* under way at once */
#define WALK_GROUPS_MAX 32 /* looked at for one entry */

/* What a value of L2 is to the one of L1 that differs from it. */
typedef enum sx_audit_cause { SX_AUDIT_ABSENT, SX_AUDIT_RELOADED, SX_AUDIT_OTHER } sx_audit_cause;

/* One entry under examination: its header; where that differs the whole value, now and when the staleness bound has passed. owner: loop. */
typedef struct sx_audit_check {
    strata *engine;
    strata_namespace *ns;
    sx_item *item;
    uint64_t hash;
    bool whole, again;    /* what is asked for: the value, for the second time */
    sx_audit_cause first; /* of the value, when it was asked for first, and its version */
    uint64_t first_n, first_id;
    bool in_store;
    sx_store_op store_op;
    sx_timer timer;
    struct sx_audit_check *next, *previous;
} sx_audit_check;

static void check_free(sx_audit_check *check) {
    strata *engine = check->engine;
    sx_audit *audit = &engine->audit;
    if (check->previous != NULL) check->previous->next = check->next;
    else audit->checks = check->next;
    if (check->next != NULL) check->next->previous = check->previous;
    audit->under_way--;
    sx_loop_timer_cancel(engine->loop, &check->timer);
    sx_command_deinit(&check->store_op.request.command);
    sx_item_release(check->item);
    sx_release(&engine->alloc, check, sizeof *check);
}

/* Whether a reader would be given the item now, as fresh. */
static bool is_served(strata *engine, uint64_t hash, const sx_item *item) {
    int64_t lease_ns;
    uint64_t generation;
    sx_namespace_trust(engine->namespaces[item->ns], &engine->words[item->partition], &lease_ns, &generation);
    sx_epoch_pin(engine->loop_record);
    bool there = sx_l1_find_pinned(engine->l1, hash, item->ns, sx_item_key(item), item->key_size) == item;
    int64_t now_ns = sx_loop_now_ns(engine->loop);
    uint64_t stamped = atomic_load_explicit(&item->generation, memory_order_relaxed); /* relaxed: as a reader compares it */
    bool proven = stamped == generation;
    if (there && stamped == (generation | SX_ITEM_TAGGED))
        proven = sx_marks_check_pinned(engine, item, now_ns, &lease_ns) == SX_VALID;
    sx_epoch_unpin(engine->loop_record);
    return there && proven && now_ns < lease_ns && now_ns < sx_item_l1_ns(item);
}

static void ask(sx_audit_check *check);

static void ask_again(sx_timer *timer) { ask(SX_CONTAINER(timer, sx_audit_check, timer)); }

static bool has_bytes_of(strata *engine, const sx_envelope *envelope, const sx_item *item) {
    sx_item_facts facts = {.ns = item->ns};
    sx_item *stored = NULL;
    sx_item *shown = NULL;
    if (sx_item_is_packed(item)) { /* compressed by another process, or anew, its bytes may be others */
        if (sx_packed_undo(engine, item, &shown) != STRATA_OK) return false;
        item = shown;
    }
    bool same = sx_packed_item(engine, "", 0, envelope, false, &facts, &stored) == STRATA_OK && stored->value_size == item->value_size &&
                memcmp(sx_item_value(stored), sx_item_value(item), item->value_size) == 0;
    if (stored != NULL) sx_item_release(stored);
    if (shown != NULL) sx_item_release(shown);
    return same;
}

static sx_audit_cause cause_of(strata *engine, const sx_item *item, const sx_resp *reply, sx_envelope *envelope) {
    sx_envelope_kind kind = SX_ENVELOPE_CORRUPT;
    if (reply->type == SX_RESP_STRING) kind = sx_envelope_decode(reply->text, reply->size, envelope);
    if (reply->type == SX_RESP_NULL || kind == SX_ENVELOPE_LEASE) return SX_AUDIT_ABSENT;
    bool refreshed = kind == SX_ENVELOPE_VALUE && (envelope->flags & SX_ENVELOPE_REFRESHED) != 0; /* nobody wrote it */
    if (refreshed || (kind == SX_ENVELOPE_VALUE && has_bytes_of(engine, envelope, item))) return SX_AUDIT_RELOADED;
    return SX_AUDIT_OTHER;
}

/* It differs, did so before the bound passed, and is served all the same. What was another value then was written then, whatever is
   there now: its message is not under way any more. Where there was none, or the same bytes, one may have been written since. */
static void judge(sx_audit_check *check, const sx_resp *reply) {
    strata *engine = check->engine;
    const sx_item *item = check->item;
    sx_envelope envelope = {0};
    sx_audit_cause cause = cause_of(engine, item, reply, &envelope);
    if (check->first == SX_AUDIT_OTHER) cause = SX_AUDIT_OTHER;
    else if (cause == SX_AUDIT_OTHER) {
        sx_count(check->ns, SX_FLOW_METRIC_AUDIT_IN_FLIGHT);
        return;
    }
    if (cause == SX_AUDIT_ABSENT) {
        sx_count(check->ns, SX_FLOW_METRIC_AUDIT_ABSENT);
        return;
    }
    (void)sx_l1_remove_item(engine->l1, engine->loop_record, check->hash, check->item);
    if (cause == SX_AUDIT_RELOADED) {
        sx_count(check->ns, SX_FLOW_METRIC_AUDIT_RELOADED);
        return;
    }
    sx_count(check->ns, SX_FLOW_METRIC_AUDIT_DIVERGENT);
    uint64_t dropped;
    if (sx_log_gate_open(&engine->audit.gate, sx_loop_now_ns(engine->loop), SX_NS_PER_S, &dropped))
        sx_log_write(&engine->log, SX_LOG_ERROR,
                     "audit: L1 serves a value of namespace %s that is not the one in L2: version %llu %016llx, in L2 %llu %016llx, partition %u",
                     check->ns->name, (unsigned long long)item->n, (unsigned long long)item->id, (unsigned long long)check->first_n,
                     (unsigned long long)check->first_id, (unsigned)item->partition);
}

static bool is_same(const sx_item *item, const sx_resp *reply) {
    sx_envelope envelope;
    return reply->type == SX_RESP_STRING && sx_envelope_decode_front(reply->text, reply->size, &envelope) == SX_ENVELOPE_VALUE &&
           envelope.n == item->n && envelope.id == item->id;
}

static void asked(sx_store_op *op, int32_t status, const sx_resp *reply) {
    sx_audit_check *check = SX_CONTAINER(op, sx_audit_check, store_op);
    strata *engine = check->engine;
    check->in_store = false;
    bool served = status == STRATA_OK && !engine->stopping && is_served(engine, check->hash, check->item);
    if (status != STRATA_OK || engine->stopping) {
        check_free(check);
        return;
    }
    if (!check->whole) sx_count(check->ns, SX_FLOW_METRIC_AUDIT_CHECKED);
    if (is_same(check->item, reply)) {
        if (check->whole) sx_count(check->ns, SX_FLOW_METRIC_AUDIT_IN_FLIGHT); /* restored: it was a moment's difference */
    } else if (!served) {
        bool expired = sx_loop_now_ns(engine->loop) >= sx_item_l1_ns(check->item);
        sx_count(check->ns, expired ? SX_FLOW_METRIC_AUDIT_EXPIRED : SX_FLOW_METRIC_AUDIT_IN_FLIGHT);
    } else if (!check->whole) {
        check->whole = true;
        ask(check);
        return;
    } else if (!check->again) {
        sx_envelope envelope = {0};
        check->again = true;
        check->first = cause_of(engine, check->item, reply, &envelope);
        check->first_n = envelope.n;
        check->first_id = envelope.id;
        check->timer.fire_on_loop = ask_again;
        sx_loop_timer_set(engine->loop, &check->timer,
                          sx_loop_now_ns(engine->loop) + sx_trust_max_staleness_ns(engine->trust));
        return;
    } else {
        judge(check, reply);
    }
    check_free(check);
}

static void ask(sx_audit_check *check) {
    strata *engine = check->engine;
    const sx_item *item = check->item;
    sx_store_op *op = &check->store_op;
    sx_publish_key key = {.partition = item->partition, .ns = check->ns->name, .ns_size = check->ns->name_size,
                          .ns_version = check->ns->version, .key = sx_item_key(item), .key_size = item->key_size};
    sx_command_clear(&op->request.command);
    if (check->whole) sx_publish_encode_get(&engine->publish, &key, &op->request.command);
    else sx_publish_encode_front(&engine->publish, &key, &op->request.command);
    op->request.script = NULL;
    op->request.encode = NULL;
    op->request.slot = engine->tags->tags[item->partition].slot;
    op->request.deadline_ns = sx_loop_now_ns(engine->loop) + ATTEMPT_NS;
    op->write = false;
    op->done = asked;
    check->in_store = true;
    sx_store_submit_on_loop(engine->store, op);
}

/* ---- sampling ------------------------------------------------------------------------------------------------- */

typedef struct sample {
    strata *engine;
    sx_item *item; /* retained */
    uint32_t seen;
} sample;

/* Any of a group's entries, each as likely as the others. Runs under the walk's pin. */
static bool choose(void *context, sx_item *item) {
    sample *s = context;
    if (item->n == 0 || sx_key_random_next(&s->engine->random) % ++s->seen != 0) return false;
    sx_item_retain(item);
    if (s->item != NULL) sx_item_release(s->item);
    s->item = item;
    return false;
}

static void begin(strata *engine, sx_item *item) {
    sx_audit *audit = &engine->audit;
    uint64_t hash = sx_l1_hash(&engine->secret, item->ns, sx_item_key(item), item->key_size);
    sx_audit_check *check = is_served(engine, hash, item) ? sx_allocate_zero(&engine->alloc, sizeof *check) : NULL;
    if (check == NULL) {
        sx_item_release(item);
        return;
    }
    check->engine = engine;
    sx_lock_acquire(&engine->lock);
    check->ns = engine->namespaces[item->ns];
    sx_lock_release(&engine->lock);
    check->item = item;
    check->hash = hash;
    sx_command_init(&check->store_op.request.command, &engine->alloc);
    check->next = audit->checks;
    if (audit->checks != NULL) audit->checks->previous = check;
    audit->checks = check;
    audit->under_way++;
    ask(check);
}

static void tick(sx_timer *timer) {
    strata *engine = SX_CONTAINER(timer, strata, audit.timer);
    sx_audit *audit = &engine->audit;
    int64_t rate = sx_hot_read(&engine->hot.audit_per_s);
    if (engine->stopping || !engine->l1_on) return;
    audit->credit += rate;
    for (; audit->credit >= 10 && audit->under_way < CHECKS_MAX; audit->credit -= 10) {
        sample s = {.engine = engine};
        for (int i = 0; i < WALK_GROUPS_MAX && s.item == NULL; i++)
            sx_l1_walk(engine->l1, engine->loop_record, &audit->cursor, 1, choose, &s);
        if (s.item == NULL) break; /* next to empty */
        begin(engine, s.item);
    }
    if (audit->credit > rate + 10) audit->credit = rate + 10; /* what could not be done is not made up for */
    sx_loop_timer_set(engine->loop, timer, sx_loop_now_ns(engine->loop) + (rate == 0 ? SX_NS_PER_S : TICK_NS));
}

void sx_audit_start_on_loop(strata *engine) {
    engine->audit.timer.fire_on_loop = tick;
    sx_loop_timer_set(engine->loop, &engine->audit.timer, sx_loop_now_ns(engine->loop) + TICK_NS);
}

void sx_audit_stop_on_loop(strata *engine) {
    sx_loop_timer_cancel(engine->loop, &engine->audit.timer);
    for (sx_audit_check *check = engine->audit.checks, *next; check != NULL; check = next) {
        next = check->next;
        if (!check->in_store) check_free(check); /* the others end with the store */
    }
}
