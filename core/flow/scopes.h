/* SPDX-License-Identifier: Apache-2.0 */
/* What is counted by namespace: a tally of each session's own, and what others count for it. */
#ifndef SX_CORE_FLOW_SCOPES_H
#define SX_CORE_FLOW_SCOPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <strata/strata.h>

#include "core/flow/metrics.h"
#include "core/observe/histogram.h"

struct sx_op;

/* What one session counts for one namespace. writer: the session's thread */
typedef struct sx_tally {
    sx_counter counters[SX_SESSION_METRIC_COUNT];
} sx_tally;

/* What is counted for one namespace by others. */
typedef struct sx_ns_stats {
    sx_counter flow[SX_FLOW_METRIC_COUNT];      /* several writers */
    sx_histogram latency[STRATA_LATENCIES];     /* L1: several writers; the others: the loop */
    int64_t past[SX_SESSION_METRIC_COUNT];      /* lock: engine; tallies of closed sessions */
    struct sx_ns_base *base;                    /* lock: engine; subtracted from what is told; NULL: never reset */
} sx_ns_stats;

/* Lock: engine, for all that end in _locked. */
/* Room for a namespace that is being opened, in all sessions; false, and nothing has changed, when out of memory. */
bool sx_stats_namespace_add_locked(strata *engine, strata_namespace *ns);
/* Room for all namespaces in a session that is being opened. */
bool sx_stats_session_add_locked(strata_session *session);
/* What the session has counted stays counted. */
void sx_stats_session_end_locked(strata_session *session);
void sx_stats_session_free(strata_session *session);
void sx_stats_namespace_free(strata *engine, strata_namespace *ns);
/* Of all namespaces together. */
int64_t sx_stats_session_sum_locked(strata *engine, uint32_t metric);
int64_t sx_stats_flow_sum_locked(strata *engine, uint32_t metric);
/* Of a namespace: reads that L1 answered, fresh or stale, and those that it did not. */
void sx_stats_reads_locked(const strata_namespace *ns, int64_t *hits, int64_t *misses);
/* An operation that took from its start until now. On the loop. */
void sx_stats_note_op_on_loop(const struct sx_op *op);
bool sx_stats_is_by_namespace(uint32_t metric); /* of flow's */
/* stats.c */
/* The index of a table's first row among all metrics. */
size_t sx_stats_first_of(const sx_metric_row *rows);
/* All metrics as they are, nothing subtracted. */
void sx_stats_raw_locked(strata *engine, int64_t *values);

#endif
