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

/* One number. All strings live forever. */
typedef struct strata_metric {
    const char *name; /* "l1.hits" */
    const char *unit; /* "operations", "bytes", "ns", "1" */
    const char *doc;  /* one line */
    int gauge;        /* 1 for a level, 0 for a count since open */
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

#ifdef __cplusplus
}
#endif
#endif
