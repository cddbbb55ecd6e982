/* SPDX-License-Identifier: Apache-2.0 */
/* Tags whose invalidation was acknowledged, for as long as a failover may still undo it: the successor's marker has the old
   nonce then, and all that was tagged would be valid again. Where trust stands on another server, they are renewed anew.
   A queue, oldest first, bounded in number. */
#include <string.h>

#include "core/flow/engine.h"

#define AGAIN_NS (500 * SX_NS_PER_MS)

struct sx_renewed {
    struct sx_renewed *next;
    int64_t at_ns;
    uint64_t identity; /* of who acknowledged it; 0: nobody has */
    uint32_t partition;
    uint32_t size;
    uint8_t name[];
};

static void drop(strata *engine, struct sx_renewed **link) {
    struct sx_renewed *entry = *link;
    *link = entry->next;
    if (engine->renewed_tail == &entry->next) engine->renewed_tail = link;
    engine->renewed_count--;
    sx_release(&engine->alloc, entry, sizeof *entry + entry->size);
}

static void look(sx_timer *timer);

static void look_at(strata *engine, int64_t due_ns) {
    if (engine->stopping) return;
    engine->renewed_timer.fire_on_loop = look;
    sx_loop_timer_set(engine->loop, &engine->renewed_timer, due_ns);
}

static bool lost(strata *engine, const struct sx_renewed *entry) {
    return entry->identity != sx_trust_identity_on_loop(engine->trust, entry->partition);
}

/* Renews what the present servers have not acknowledged; where nobody is trusted yet, later. */
static void look(sx_timer *timer) {
    strata *engine = SX_CONTAINER(timer, strata, renewed_timer);
    int64_t now_ns = sx_loop_now_ns(engine->loop);
    bool again = false;
    for (struct sx_renewed **link = &engine->renewed; *link != NULL;) {
        struct sx_renewed *entry = *link;
        bool untrusted = sx_trust_mark_on_loop(engine->trust, entry->partition).term == 0;
        if (!lost(engine, entry) && now_ns - entry->at_ns <= engine->replay_window_ns) {
            link = &entry->next;
        } else if (lost(engine, entry) && (untrusted || !sx_renewal_repeat_on_loop(engine, entry->name, entry->size))) {
            again = true;
            link = &entry->next;
        } else {
            drop(engine, link);
        }
    }
    if (again) look_at(engine, now_ns + AGAIN_NS);
}

void sx_renewed_note_on_loop(strata *engine, const void *name, uint32_t size, uint32_t partition, uint64_t identity) {
    if (engine->stopping || SX_BROKEN(replay)) return;
    int64_t now_ns = sx_loop_now_ns(engine->loop);
    while (engine->renewed != NULL && !lost(engine, engine->renewed) &&
           now_ns - engine->renewed->at_ns > engine->replay_window_ns)
        drop(engine, &engine->renewed);
    if (engine->renewed_count >= engine->recovery_ops_max) {
        drop(engine, &engine->renewed);
        sx_counter_add_shared(&engine->counters[SX_FLOW_METRIC_RECOVERY_OVERFLOWED], 1);
    }
    struct sx_renewed *entry = sx_allocate(&engine->alloc, sizeof *entry + size);
    if (entry == NULL) {
        sx_counter_add_shared(&engine->counters[SX_FLOW_METRIC_RECOVERY_OVERFLOWED], 1);
        return;
    }
    *entry = (struct sx_renewed){.at_ns = now_ns, .identity = identity, .partition = partition, .size = size};
    memcpy(entry->name, name, size);
    if (engine->renewed == NULL) engine->renewed_tail = &engine->renewed;
    *engine->renewed_tail = entry;
    engine->renewed_tail = &entry->next;
    engine->renewed_count++;
    if (lost(engine, entry)) look_at(engine, now_ns + AGAIN_NS); /* a primary that was replaced and does not know it? */
}

void sx_renewed_replaced_on_loop(strata *engine) {
    if (engine->renewed != NULL) look_at(engine, sx_loop_now_ns(engine->loop));
}

void sx_renewed_deinit(strata *engine) {
    while (engine->renewed != NULL) drop(engine, &engine->renewed);
}
