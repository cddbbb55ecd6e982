/* SPDX-License-Identifier: Apache-2.0 */
/* Statistics: what an engine has done and how it stands. */
#ifndef STRATA_STATS_H
#define STRATA_STATS_H

#include <stddef.h>
#include <stdint.h>
#include <strata/status.h>

#ifdef __cplusplus
extern "C" {
#endif

struct strata;
struct strata_namespace;

/* One number. All strings live forever. */
typedef struct strata_metric {
    const char *name; /* "l1.hits" */
    const char *unit; /* "operations", "bytes", "ns", "1" */
    const char *doc;  /* one line */
    int gauge;        /* 1 for a level, 0 for a count since open, or since strata_stats_reset */
    int by_namespace; /* 1 where strata_stats_namespace tells it too */
} strata_metric;

/*
 * Counts the metrics there are.
 * Returns: their number; indices 0 .. number - 1 are taken by the calls below.
 * Owns:    nothing.
 * Threads: any.
 * Blocks:  never.
 * Since:   0.1
 */
STRATA_API size_t strata_metric_count(void);

/*
 * Describes one metric.
 *   index  0-based
 *   out    receives the description
 * Returns: STRATA_OK; STRATA_E_END beyond the last.
 * Owns:    nothing; all strings live forever.
 * Threads: any.
 * Blocks:  never.
 * Since:   0.1
 */
STRATA_API int32_t strata_metric_describe(size_t index, strata_metric *out);

/*
 * Reads all metrics without stopping anyone: each number is exact for some moment during the call.
 *   engine  an open engine
 *   values  receives count numbers, in the order of strata_metric_describe
 *   count   numbers at values; beyond strata_metric_count() they are left alone
 * Returns: STRATA_OK; STRATA_E_INVALID; STRATA_E_FORKED.
 * Owns:    nothing.
 * Threads: any.
 * Blocks:  on a lock held by session open and close.
 * Since:   0.1
 */
STRATA_API int32_t strata_stats_read(struct strata *engine, int64_t *values, size_t count);

/*
 * Reads one metric by its name.
 *   engine  an open engine
 *   name    "l1.hits"
 *   value   receives the number
 * Returns: STRATA_OK; STRATA_E_INVALID for an unknown name; STRATA_E_FORKED.
 * Owns:    nothing.
 * Threads: any.
 * Blocks:  on a lock held by session open and close.
 * Since:   0.1
 */
STRATA_API int32_t strata_stats_value(struct strata *engine, const char *name, int64_t *value);

#define STRATA_STATS_NONE INT64_MIN /* not counted in that scope */

/*
 * Reads what is counted for one namespace, without stopping anyone.
 *   ns      a namespace
 *   values  receives count numbers, in the order of strata_metric_describe; STRATA_STATS_NONE where by_namespace is
 *           0; and for l1.entries and l1.bytes_used without flow.l1_usage
 *   count   numbers at values; beyond strata_metric_count() they are left alone
 * Returns: STRATA_OK; STRATA_E_INVALID; STRATA_E_FORKED.
 * Owns:    nothing.
 * Threads: any.
 * Blocks:  on a lock held by session open and close.
 * Since:   0.1
 */
STRATA_API int32_t strata_stats_namespace(const struct strata_namespace *ns, int64_t *values, size_t count);

/* What took how long. */
typedef enum strata_latency {
    STRATA_LATENCY_L1 = 0,   /* gets that L1 answered: one in 1024 is measured, the others would be slower for it */
    STRATA_LATENCY_L2 = 1,   /* gets that were answered by L2, or failed there, from the call to the completion's being sent to its session */
    STRATA_LATENCY_LOAD = 2, /* gets that a loader answered, likewise */
    STRATA_LATENCY_SET = 3   /* sets and invalidations, likewise; none without L2, where they are over in the call */
} strata_latency;
#define STRATA_LATENCIES 4

#define STRATA_HISTOGRAM_BUCKETS 266

/* How often which numbers were seen. Eight buckets to each doubling from 16 on; what is less is in the first, what is 2^37
   (137 s in nanoseconds) and more in the last. */
typedef struct strata_histogram {
    uint32_t struct_size; /* sizeof(strata_histogram) */
    uint32_t reserved;    /* 0 */
    int64_t count;        /* the sum of counts */
    int64_t sum;          /* of the numbers themselves */
    int64_t counts[STRATA_HISTOGRAM_BUCKETS];
} strata_histogram;

/*
 * Reads a histogram of latencies, in nanoseconds, without stopping anyone.
 *   engine   an open engine
 *   ns       a namespace of it; NULL for all together
 *   latency  which
 *   out      struct_size set; receives the histogram
 * Returns: STRATA_OK; STRATA_E_INVALID; STRATA_E_FORKED.
 * Owns:    nothing.
 * Threads: any.
 * Blocks:  on a lock held by session open and close.
 * Since:   0.1
 */
STRATA_API int32_t strata_stats_latency(struct strata *engine, const struct strata_namespace *ns, strata_latency latency,
                                        strata_histogram *out);

/*
 * The least number that is too large for a bucket.
 *   bucket  0 .. STRATA_HISTOGRAM_BUCKETS - 1
 * Returns: the bound; INT64_MAX for the last bucket.
 * Owns:    nothing.
 * Threads: any.
 * Blocks:  never.
 * Since:   0.1
 */
STRATA_API int64_t strata_histogram_bound(size_t bucket);

/*
 * Tells below which number a part of what was seen lies: at most an eighth too large.
 *   histogram  a histogram, as strata_stats_latency gives it
 *   quantile   0 .. 1; 0.99 for what all but one in a hundred stay below
 * Returns: the bound of the bucket in which that part is complete; 0 where nothing was seen; INT64_MAX where it is the last.
 * Owns:    nothing.
 * Threads: any.
 * Blocks:  never.
 * Since:   0.1
 */
STRATA_API int64_t strata_histogram_quantile(const strata_histogram *histogram, double quantile);

#define STRATA_NODE_PRIMARY 0x1u      /* owns slots, as far as is known */
#define STRATA_NODE_BREAKER_OPEN 0x2u /* operations for it fail at once; also while one operation tries it again */

/* One server of L2, as this process sees it. */
typedef struct strata_node_stats {
    uint32_t struct_size; /* sizeof(strata_node_stats) */
    uint32_t flags;       /* STRATA_NODE_PRIMARY | STRATA_NODE_BREAKER_OPEN */
    char address[320];    /* "10.0.0.1:6379", "unix:/run/redis.sock" */
    char id[64];          /* its name in the cluster; "" for a standalone server */
    int64_t requests;     /* attempts that went there, or were to */
    int64_t failures;     /* of them, those that failed as the server's fault: refused, lost, timed out, loading */
    int64_t timeouts;     /* of those, those without an answer in time */
    int64_t breaker_opens;
    strata_histogram latency; /* of answers, in nanoseconds, as the loop sees it */
} strata_node_stats;

/*
 * Reads what is counted for one server of L2.
 *   engine  an open engine
 *   index   0-based; a server keeps its index as long as the engine is open
 *   out     struct_size set, and that of latency; receives the numbers
 * Returns: STRATA_OK; STRATA_E_END beyond the last, and where there is no L2; STRATA_E_INVALID; STRATA_E_CLOSED; STRATA_E_FORKED.
 * Owns:    nothing.
 * Threads: any.
 * Blocks:  until the loop's next turn, not on the network.
 * Since:   0.1
 */
STRATA_API int32_t strata_stats_node(struct strata *engine, uint32_t index, strata_node_stats *out);

/*
 * Begins to count anew: counters, those of namespaces and servers too, and histograms are told from here on as if they had been 0 now.
 * Gauges stay what they are. Nobody is stopped: the numbers of this moment are remembered and subtracted.
 *   engine  an open engine
 * Returns: STRATA_OK; STRATA_E_INVALID; STRATA_E_NOMEM: nothing has changed; STRATA_E_CLOSED; STRATA_E_FORKED.
 * Owns:    nothing.
 * Threads: any.
 * Blocks:  until the loop's next turn, not on the network.
 * Since:   0.1
 */
STRATA_API int32_t strata_stats_reset(struct strata *engine);

#ifdef __cplusplus
}
#endif
#endif
