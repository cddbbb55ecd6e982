/* SPDX-License-Identifier: Apache-2.0 */
/* Statistics: all rooms' metric tables as one list, read without stopping anyone. */
#include <string.h>

#include "core/flow/engine.h"

const sx_metric_row sx_session_metrics[SX_SESSION_METRIC_COUNT] = {
    [SX_SESSION_METRIC_L1_HITS] = {"l1.hits", "operations", "reads answered as fresh from L1", 0},
    [SX_SESSION_METRIC_L1_MISSES] = {"l1.misses", "operations", "reads that found nothing in L1", 0},
    [SX_SESSION_METRIC_L1_UNPROVEN] = {"l1.unproven", "operations", "reads that found an entry not proven fresh", 0},
    [SX_SESSION_METRIC_L1_STALE] = {"l1.stale_served", "operations", "reads answered as stale, as the policy says", 0},
    [SX_SESSION_METRIC_L1_AGED] = {"l1.aged_served", "operations", "reads answered from L1 with a value past its end, as the policy says", 0},
    [SX_SESSION_METRIC_L1_ABSENT] = {"l1.absent_hits", "operations", "reads answered from L1 that the source has nothing", 0},
    [SX_SESSION_METRIC_L1_ERRORS] = {"l1.error_hits", "operations", "reads answered with a failure of a moment ago, without a load", 0},
    [SX_SESSION_METRIC_L1_UNPACKED] = {"l1.unpacked", "operations", "values that L1 keeps compressed, decompressed for their readers", 0},
    [SX_SESSION_METRIC_GETS] = {"flow.gets", "operations", "reads started, batches counted by key", 0},
    [SX_SESSION_METRIC_SETS] = {"flow.sets", "operations", "sets started", 0},
    [SX_SESSION_METRIC_INVALIDATES] = {"flow.invalidates", "operations", "invalidations started", 0},
    [SX_SESSION_METRIC_TAGS_INVALIDATED] = {"flow.tags_invalidated", "operations", "invalidations of tags started", 0},
    [SX_SESSION_METRIC_CLEARS] = {"flow.clears", "operations", "clears of namespaces started", 0},
};

const sx_metric_row sx_flow_metrics[SX_FLOW_METRIC_COUNT] = {
    [SX_FLOW_METRIC_PENDING] = {"flow.pending", "operations", "operations under way", 1},
    [SX_FLOW_METRIC_PENDING_BYTES] = {"flow.pending_bytes", "bytes", "memory that operations under way may hold", 1},
    [SX_FLOW_METRIC_OVERLOADED] = {"flow.overloaded", "operations",
                                   "operations refused because too many, or too many bytes, are under way", 0},
    [SX_FLOW_METRIC_SESSIONS] = {"flow.sessions", "1", "sessions open", 1},
    [SX_FLOW_METRIC_FLIGHTS] = {"flow.flights", "operations", "fetches and loads started", 0},
    [SX_FLOW_METRIC_JOINS] = {"flow.joins", "operations", "reads that joined a flight under way", 0},
    [SX_FLOW_METRIC_CROWDED] = {"flow.crowded", "operations", "reads that could not wait and got a value past its end", 0},
    [SX_FLOW_METRIC_WAITERS_REFUSED] = {"flow.waiters_refused", "operations", "reads refused because as many as the policy allows wait for their key", 0},
    [SX_FLOW_METRIC_L2_HITS] = {"l2.hits", "operations", "values found in L2", 0},
    [SX_FLOW_METRIC_L2_MISSES] = {"l2.misses", "operations", "keys that L2 does not hold", 0},
    [SX_FLOW_METRIC_REVALIDATED] = {"l2.revalidated", "operations", "L1 entries proven again by their header", 0},
    [SX_FLOW_METRIC_LOADS] = {"flow.loads", "operations", "loaders asked", 0},
    [SX_FLOW_METRIC_NOT_MODIFIED] = {"flow.not_modified", "operations", "loads that found the value unchanged, and extended it", 0},
    [SX_FLOW_METRIC_BATCH_LOADS] = {"flow.batch_loads", "operations", "times a batch's loader was asked, for one key or many", 0},
    [SX_FLOW_METRIC_LOAD_FAILURES] = {"flow.load_failures", "operations", "loads that failed", 0},
    [SX_FLOW_METRIC_LEASES_AWAITED] = {"flow.leases_awaited", "operations",
                                       "waits for a load of another process", 0},
    [SX_FLOW_METRIC_L2_AGED] = {"l2.aged", "operations", "values found in L2 past their end", 0},
    [SX_FLOW_METRIC_L2_ABSENT] = {"l2.absent", "operations", "keys that L2 knows the source to have nothing for", 0},
    [SX_FLOW_METRIC_ABSENCES] = {"flow.absences", "operations", "loads that found nothing, which is kept as the policy says", 0},
    [SX_FLOW_METRIC_ERRORS_CACHED] = {"flow.errors_cached", "operations", "failures of loads that are remembered, as the policy says", 0},
    [SX_FLOW_METRIC_REFRESHES] = {"flow.refreshes", "operations", "values that this process began to refresh in L2", 0},
    [SX_FLOW_METRIC_REFRESHES_ELSEWHERE] = {"flow.refreshes_elsewhere", "operations",
                                            "refreshes left to another process, which was first", 0},
    [SX_FLOW_METRIC_RESCUED] = {"flow.failures_hidden", "operations",
                                "failures answered with a value past its end, as the policy says; counted by load, not by reader", 0},
    [SX_FLOW_METRIC_SOFT_TIMEOUTS] = {"flow.soft_timeouts", "operations",
                                      "loads that took longer than the soft timeout, whose readers got a value past its end", 0},
    [SX_FLOW_METRIC_LOOKS] = {"flow.looks", "operations", "questions to L2 about a value without its bytes, and extensions of its life", 0},
    [SX_FLOW_METRIC_COUNTS] = {"flow.counts", "operations", "additions to numbers that L2 counts, and their removals", 0},
    [SX_FLOW_METRIC_CONFLICTS] = {"flow.conflicts", "operations", "sets refused because their condition did not hold", 0},
    [SX_FLOW_METRIC_FILLS_SUPERSEDED] = {"flow.fills_superseded", "operations",
                                         "results not cached because something newer happened to the key", 0},
    [SX_FLOW_METRIC_FILLS_REFUSED] = {"flow.fills_refused", "operations",
                                      "results not kept in L1 because their freshness can't be proven", 0},
    [SX_FLOW_METRIC_RESTARTS] = {"flow.restarts", "operations", "flights that asked again, for late joiners or after another's load", 0},
    [SX_FLOW_METRIC_TIMEOUTS] = {"flow.timeouts", "operations", "operations that ended at their deadline", 0},
    [SX_FLOW_METRIC_CANCELLED] = {"flow.cancelled", "operations", "operations that strata_cancel ended", 0},
    [SX_FLOW_METRIC_CORRUPT] = {"l2.corrupt", "operations", "stored values that are malformed", 0},
    [SX_FLOW_METRIC_COMPRESSED] = {"flow.compressed", "operations", "values compressed on their way to L2", 0},
    [SX_FLOW_METRIC_COMPRESS_SKIPPED] = {"flow.compress_skipped", "operations",
                                         "values stored as they are because compressing saves less than an eighth", 0},
    [SX_FLOW_METRIC_COMPRESS_SAVED] = {"flow.compress_saved", "bytes", "what compressed values are smaller by", 0},
    [SX_FLOW_METRIC_DECOMPRESSED] = {"flow.decompressed", "operations", "values that came from L2 compressed", 0},
    [SX_FLOW_METRIC_DICTIONARY_UNKNOWN] = {"flow.dictionary_unknown", "operations",
                                           "values that were compressed with a dictionary which is not known here: as good as malformed", 0},
    [SX_FLOW_METRIC_UNTRUSTS] = {"flow.untrusts", "messages",
                                 "UNTRUST published before a write to a slot that migrates", 0},
    [SX_FLOW_METRIC_VALUES_TAKEN] = {"flow.values_taken", "operations",
                                     "entries replaced by the value that came with a message", 0},
    [SX_FLOW_METRIC_MARKS_ASKED] = {"flow.markers_asked", "operations", "markers of tags that L2 was asked for", 0},
    [SX_FLOW_METRIC_FLOORS_ASKED] = {"flow.floors_asked", "operations",
                                     "times L2 was asked when a partition's namespaces were cleared", 0},
    [SX_FLOW_METRIC_OUTDATED] = {"flow.outdated", "operations", "values found with a tag that was invalidated", 0},
    [SX_FLOW_METRIC_TAGS_REPEATED] = {"recovery.tags_repeated", "operations",
                                      "invalidations of tags, and clears of a partition, repeated at another server than acknowledged them", 0},
    [SX_FLOW_METRIC_TAGS_TOO_LATE] = {"flow.tags_too_late", "operations",
                                      "loads not cached because their tags were not known before", 0},
    [SX_FLOW_METRIC_UNKNOWN_KEYS] = {"flow.unknown_keys", "1", "keys with a write of unknown outcome", 1},
    [SX_FLOW_METRIC_UNKNOWN_RESOLVED] = {"flow.unknown_resolved", "operations", "unknown outcomes resolved", 0},
    [SX_FLOW_METRIC_RECOVERY_WAITING] = {"recovery.waiting", "1",
                                         "keys whose failed, or possibly lost, invalidation is still to be executed", 1},
    [SX_FLOW_METRIC_RECOVERY_WINDOW] = {"recovery.window", "1",
                                        "acknowledged invalidations kept in case that a failover loses them", 1},
    [SX_FLOW_METRIC_RECOVERY_QUEUED] = {"recovery.queued", "operations", "invalidations to be repeated by this process", 0},
    [SX_FLOW_METRIC_RECOVERY_REPLAYED] = {"recovery.replayed", "operations", "of these, executed", 0},
    [SX_FLOW_METRIC_RECOVERY_SUPERSEDED] = {"recovery.superseded", "operations",
                                            "of these, not needed any more: the key was written or invalidated since", 0},
    [SX_FLOW_METRIC_RECOVERY_OVERFLOWED] = {"recovery.overflowed", "operations",
                                            "invalidations that recovery had no room to remember", 0},
    [SX_FLOW_METRIC_RECOVERY_CLEARED] = {"recovery.cleared", "operations",
                                         "partitions in which a namespace was cleared again, or for such invalidations", 0},
    [SX_FLOW_METRIC_EVENTS] = {"invalidation.events", "operations", "invalidations with what depends on them that have ended", 0},
    [SX_FLOW_METRIC_EVENT_PARTS] = {"invalidation.event_parts", "operations", "keys, tags, patterns and namespaces that these named", 0},
    [SX_FLOW_METRIC_EVENT_PARTS_FAILED] = {"invalidation.event_parts_failed", "operations", "of these, those that failed", 0},
    [SX_FLOW_METRIC_SWEEPS] = {"invalidation.sweeps", "1", "scans of L2 for a pattern that are under way", 1},
    [SX_FLOW_METRIC_LOCKS_ACQUIRED] = {"lock.acquired", "operations", "locks acquired", 0},
    [SX_FLOW_METRIC_LOCKS_REFUSED] = {"lock.refused", "operations", "acquisitions that ended because another held the lock", 0},
    [SX_FLOW_METRIC_LOCKS_RENEWED] = {"lock.renewed", "operations", "renewals of locks, by call or by themselves", 0},
    [SX_FLOW_METRIC_LOCKS_RELEASED] = {"lock.released", "operations", "locks released", 0},
    [SX_FLOW_METRIC_LOCKS_LOST] = {"lock.lost", "operations", "locks renewed by themselves that are not held, or not known to be, any more", 0},
    [SX_FLOW_METRIC_WARM_RUNNING] = {"warm.running", "1", "warmings under way", 1},
    [SX_FLOW_METRIC_WARM_ASKED] = {"warm.asked", "operations", "keys that warmings asked for", 0},
    [SX_FLOW_METRIC_WARM_WARMED] = {"warm.warmed", "operations", "of these, found or loaded", 0},
    [SX_FLOW_METRIC_WARM_ABSENT] = {"warm.absent", "operations", "of these, held nowhere", 0},
    [SX_FLOW_METRIC_WARM_FAILED] = {"warm.failed", "operations", "of these, not answered", 0},
    [SX_FLOW_METRIC_PREFETCH_ASKED] = {"prefetch.asked", "operations", "keys asked for because they mostly follow one that was read", 0},
    [SX_FLOW_METRIC_PREFETCH_FETCHED] = {"prefetch.fetched", "operations", "of these, found in L2", 0},
    [SX_FLOW_METRIC_PREFETCH_ABSENT] = {"prefetch.absent", "operations", "of these, held nowhere", 0},
    [SX_FLOW_METRIC_PREFETCH_REFUSED] = {"prefetch.refused", "operations", "keys not asked for: the rate, a full queue, or asked for a moment ago", 0},
    [SX_FLOW_METRIC_PREFETCH_USED] = {"prefetch.used", "operations", "keys found so that L1 then answered a read of", 0},
    [SX_FLOW_METRIC_PREFETCH_LATE] = {"prefetch.late", "operations", "keys read while they were asked for", 0},
    [SX_FLOW_METRIC_PREFETCH_WASTED] = {"prefetch.wasted", "operations", "keys found that left L1, or were forgotten, before they were read", 0},
    [SX_FLOW_METRIC_SNAPSHOTS] = {"warm.snapshots", "operations", "snapshots of the hot set written", 0},
    [SX_FLOW_METRIC_SNAPSHOT_ENTRIES] = {"warm.snapshot_entries", "1", "entries of the last one", 1},
    [SX_FLOW_METRIC_SNAPSHOT_FAILURES] = {"warm.snapshot_failures", "operations", "snapshots that could not be written", 0},
    [SX_FLOW_METRIC_SPANS] = {"trace.spans", "operations", "spans told to the program's tracer", 0},
    [SX_FLOW_METRIC_SPANS_LOST] = {"trace.lost", "operations", "spans not told for want of memory", 0},
    [SX_FLOW_METRIC_TRACE_MALFORMED] = {"trace.malformed", "operations", "headers traceparent and tracestate that were left out, as the standard says", 0},
    [SX_FLOW_METRIC_AUDIT_CHECKED] = {"audit.checked", "1", "entries of L1 compared with L2", 0},
    [SX_FLOW_METRIC_AUDIT_IN_FLIGHT] = {"audit.in_flight", "1",
                                        "of these, different, but replaced, no longer trusted, or written again within the bound", 0},
    [SX_FLOW_METRIC_AUDIT_EXPIRED] = {"audit.expired", "1", "of these, different at the end of their time", 0},
    [SX_FLOW_METRIC_AUDIT_ABSENT] = {"audit.absent", "1",
                                     "of these, no longer in L2: evicted there, or removed without Strata", 0},
    [SX_FLOW_METRIC_AUDIT_RELOADED] = {"audit.reloaded", "1", "of these, in L2 as another version of the same bytes", 0},
    [SX_FLOW_METRIC_AUDIT_DIVERGENT] = {"audit.divergent", "1",
                                        "of these, still another value after the bound: a promise broken, or L2 changed without Strata",
                                        0},
};

static int64_t read_session(strata *engine, uint32_t metric) {
    return sx_stats_session_sum_locked(engine, metric);
}
static int64_t read_flow(strata *engine, uint32_t metric) {
    if (metric == SX_FLOW_METRIC_PENDING)
        return atomic_load_explicit(&engine->pending, memory_order_relaxed); /* relaxed: statistic */
    if (metric == SX_FLOW_METRIC_PENDING_BYTES)
        return atomic_load_explicit(&engine->pending_bytes, memory_order_relaxed); /* relaxed: statistic */
    return sx_stats_flow_sum_locked(engine, metric);
}
static int64_t read_l1(strata *engine, uint32_t metric) {
    return engine->l1 == NULL ? 0 : sx_l1_metric_read(engine->l1, metric);
}
static int64_t read_redis(strata *engine, uint32_t metric) {
    return engine->cluster == NULL ? 0 : sx_redis_metric_read(engine->cluster, metric);
}
static int64_t read_store(strata *engine, uint32_t metric) {
    return engine->store == NULL ? 0 : sx_store_metric_read(engine->store, metric);
}
static int64_t read_trust(strata *engine, uint32_t metric) {
    return engine->trust == NULL ? 0 : sx_trust_metric_read(engine->trust, metric);
}

static int64_t read_foreign(strata *engine, uint32_t metric) {
    return engine->foreign == NULL ? 0 : sx_foreign_metric_read(engine->foreign, metric);
}

bool sx_stats_used_on_loop(strata *engine) {
    if (!sx_lock_try(&engine->lock)) return true; /* somebody is at work */
    bool used = false;
    for (uint32_t i = 0; i < SX_SESSION_METRIC_COUNT && !used; i++) {
        uint32_t metric = (engine->asked_first + i) % SX_SESSION_METRIC_COUNT;
        int64_t asked = read_session(engine, metric);
        used = asked != engine->asked[metric];
        engine->asked[metric] = asked;
        if (used) engine->asked_first = metric; /* as a rule it changes again */
    }
    sx_lock_release(&engine->lock);
    return used;
}

typedef struct source {
    const sx_metric_row *rows;
    uint32_t count;
    int64_t (*read)(strata *engine, uint32_t metric);
} source;

static const source sources[] = {
    {sx_session_metrics, SX_SESSION_METRIC_COUNT, read_session}, {sx_l1_metrics, SX_L1_METRIC_COUNT, read_l1},
    {sx_flow_metrics, SX_FLOW_METRIC_COUNT, read_flow},          {sx_store_metrics, SX_STORE_METRIC_COUNT, read_store},
    {sx_redis_metrics, SX_REDIS_METRIC_COUNT, read_redis},       {sx_trust_metrics, SX_TRUST_METRIC_COUNT, read_trust},
    {sx_foreign_metrics, SX_FOREIGN_METRIC_COUNT, read_foreign},
};
enum { SOURCES = sizeof sources / sizeof *sources };

static const source *find(size_t index, uint32_t *row) {
    for (uint32_t i = 0; i < SOURCES; i++) {
        if (index < sources[i].count) {
            *row = (uint32_t)index;
            return &sources[i];
        }
        index -= sources[i].count;
    }
    return NULL;
}

size_t sx_stats_first_of(const sx_metric_row *rows) {
    size_t first = 0;
    for (uint32_t i = 0; sources[i].rows != rows; i++) first += sources[i].count;
    return first;
}

size_t strata_metric_count(void) {
    size_t count = 0;
    for (uint32_t i = 0; i < SOURCES; i++) count += sources[i].count;
    return count;
}

int32_t strata_metric_describe(size_t index, strata_metric *out) {
    uint32_t row;
    const source *from = find(index, &row);
    if (from == NULL) return STRATA_E_END;
    if (out == NULL) return STRATA_E_INVALID;
    const sx_metric_row *metric = &from->rows[row];
    out->name = metric->name;
    out->unit = metric->unit;
    out->doc = metric->doc;
    out->gauge = metric->gauge;
    out->by_namespace = from->rows == sx_session_metrics ? row != SX_SESSION_METRIC_TAGS_INVALIDATED
                                                         : (from->rows == sx_flow_metrics && sx_stats_is_by_namespace(row)) ||
                                                               (from->rows == sx_l1_metrics && (row == SX_L1_METRIC_ENTRIES || row == SX_L1_METRIC_BYTES_USED));
    return STRATA_OK;
}

void sx_stats_raw_locked(strata *engine, int64_t *values) {
    uint32_t row;
    const source *from;
    for (size_t i = 0; (from = find(i, &row)) != NULL; i++) values[i] = from->read(engine, row);
}

/* What is told of a metric. Lock: engine */
static int64_t told(strata *engine, const source *from, uint32_t row, size_t index) {
    int64_t value = from->read(engine, row);
    return engine->base == NULL || from->rows[row].gauge ? value : value - engine->base[index];
}

int32_t strata_stats_read(strata *engine, int64_t *values, size_t count) {
    if (engine == NULL || (values == NULL && count != 0)) return STRATA_E_INVALID;
    if (sx_engine_forked(engine)) return STRATA_E_FORKED;
    sx_lock_acquire(&engine->lock);
    uint32_t row;
    for (size_t i = 0; i < count; i++) {
        const source *from = find(i, &row);
        if (from == NULL) break;
        values[i] = told(engine, from, row, i);
    }
    sx_lock_release(&engine->lock);
    return STRATA_OK;
}

int32_t strata_stats_value(strata *engine, const char *name, int64_t *value) {
    if (engine == NULL || name == NULL || value == NULL) return STRATA_E_INVALID;
    if (sx_engine_forked(engine)) return STRATA_E_FORKED;
    for (uint32_t i = 0; i < SOURCES; i++) {
        for (uint32_t row = 0; row < sources[i].count; row++) {
            if (strcmp(sources[i].rows[row].name, name) != 0) continue;
            sx_lock_acquire(&engine->lock);
            *value = told(engine, &sources[i], row, sx_stats_first_of(sources[i].rows) + row);
            sx_lock_release(&engine->lock);
            return STRATA_OK;
        }
    }
    return STRATA_E_INVALID;
}
