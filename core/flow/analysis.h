/* SPDX-License-Identifier: Apache-2.0 */
/* Usage analysis as the rest of flow sees it: the flag that says whether to look at a read at all, and who is told. Included by engine.h. */
#ifndef SX_CORE_FLOW_ANALYSIS_H
#define SX_CORE_FLOW_ANALYSIS_H

#include "core/flow/engine.h"

#define SX_NS_ANALYSED (1u << 29) /* in strata_namespace.without, beside the parts of the keys */

static inline bool sx_is_analysed(const strata_namespace *ns) {
    return (atomic_load_explicit(&ns->without, memory_order_relaxed) & SX_NS_ANALYSED) != 0; /* relaxed: a hint; who sees it late misses some */
}

/* L1's answer to a read, on the session's thread; in_batch: what follows it was asked for together with it. Apart, so that a hit carries only
   the test before. */
void sx_analysis_note_read(strata_session *session, strata_namespace *ns, strata_bytes key, uint64_t hash, const strata_result *result,
                           int32_t status, bool in_batch);
/* A part of the walk through L1. */
void sx_analysis_walk_on_keeper(strata *engine, sx_epoch_record *record);

/* Whether the namespace is to be analysed, as its switch and the option say, and has what that takes. Lock: engine */
bool sx_analysis_apply_locked(strata_namespace *ns);
void sx_analysis_destroy(strata *engine);

/* prefetch.c */
static inline struct sx_prefetcher *sx_prefetcher_of(const strata *engine) {
    return atomic_load_explicit(&engine->analyses.prefetcher, memory_order_acquire); /* [order: prefetcher] observes it as it was made */
}
/* Makes the thread that reads ahead, where the options want one; out of memory or threads there is none, until they change again. Lock: engine */
void sx_prefetch_apply_locked(strata *engine);
/* Ends its thread and waits for it. */
void sx_prefetch_stop(strata *engine);

#endif
