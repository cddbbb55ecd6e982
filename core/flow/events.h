/* SPDX-License-Identifier: Apache-2.0 */
/* Events for who watches: rings of one writer and one reader each, and the flag that says whether to write at all. Included by engine.h. */
#ifndef SX_CORE_FLOW_EVENTS_H
#define SX_CORE_FLOW_EVENTS_H

#include "core/flow/engine.h"

#define SX_NS_WATCHED (1u << 28) /* in strata_namespace.without, beside the parts of the keys */

#define SX_NS_TENANTS (1u << 30) /* likewise: reads are counted by tenant */

static inline bool sx_is_watched(const strata_namespace *ns) {
    return (atomic_load_explicit(&ns->without, memory_order_relaxed) & SX_NS_WATCHED) != 0; /* relaxed: a hint; who sees it late misses some */
}
/* Whether all of its keys use both tiers, nobody watches or analyses, and no tenants are counted: one test for a hit. */
static inline bool sx_namespace_is_plain(const strata_namespace *ns) {
    return SX_LIKELY(atomic_load_explicit(&ns->without, memory_order_relaxed) == 0); /* relaxed: as above */
}

/* L1's answer to a read. Apart, so that a hit carries only the test before. */
void sx_events_read(strata_session *session, const strata_namespace *ns, uint64_t hash, int32_t status);
/* An operation that has ended, on the loop. */
void sx_events_op_on_loop(const sx_op *op);
void sx_events_heard_on_loop(strata *engine, const strata_namespace *ns, uint64_t hash, uint64_t n);
void sx_events_breaker_on_loop(void *engine, const sx_redis_node *node, bool opened);
void sx_events_trust_on_loop(void *engine, uint32_t partition, bool gained);
/* A write that has ended: within its call, on the session's thread; on the loop, where no op waited for it. */
void sx_events_written(strata_session *session, const strata_namespace *ns, uint64_t hash, bool invalidated, int32_t status, int64_t took_ns);
void sx_events_write_on_loop(const sx_write *write, int32_t status);
/* Has L1 tell what leaves it. */
void sx_events_watch_l1(strata *engine);
/* The thread that has this record writes its events there. */
static inline void sx_events_record(sx_epoch_record *record, sx_event_ring *_Atomic *place) { record->user = (void *)(uintptr_t)place; }

/* Room for a session that is being opened, where somebody watches. Lock: engine, as for the next */
bool sx_events_session_add_locked(strata_session *session);
void sx_events_session_end_locked(strata_session *session);
void sx_events_destroy(strata *engine);

#endif
