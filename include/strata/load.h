/* SPDX-License-Identifier: Apache-2.0 */
/* What a loader may ask of its load, beyond its key, and its other end. Included by strata.h, where loads are explained. */
#ifndef STRATA_LOAD_H
#define STRATA_LOAD_H

#include <strata/strata.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * How long a load's result is still of use. A loader that takes its time asks now and then, bounds what it asks its source by it, and
 * stops at 0: then it finishes the load with any status, which nobody is told.
 *   load  a load that is not finished
 * Returns: milliseconds until the load is given up (load_timeout_ms of the policy); 0 where it was, or the engine was closed.
 * Owns:    nothing.
 * Threads: any.
 * Blocks:  on a lock held for a few instructions.
 * Since:   0.1
 */
STRATA_API int64_t strata_load_left_ms(const strata_load *load);

/*
 * Whether nobody waits for a load any more because the last who did was cancelled (strata_cancel), or it was given up. A loader that
 * takes its time asks now and then. It may go on: what it finishes with is still kept, unless the load was given up. Or it stops, and
 * finishes the load with STRATA_E_CANCELLED: that is no failure, nothing remembers it, and who has asked for the key meanwhile has
 * another loader run. Where the caller whose loader it is still waits, that status is a failure as any other.
 *   load  a load that is not finished
 * Returns: 1, or 0 where somebody waits, or those who waited were answered otherwise and it is to go on in the background.
 * Owns:    nothing.
 * Threads: any.
 * Blocks:  on a lock held for a few instructions.
 * Since:   0.1
 */
STRATA_API int32_t strata_load_is_cancelled(const strata_load *load);

/*
 * What the source called the value that a load is to refresh: for a conditional request (If-None-Match, If-Modified-Since).
 *   load  a load that is not finished
 * Returns: its bytes, alive until the load is ended; empty where there is nothing to refresh, or its loader gave none.
 * Owns:    nothing.
 * Threads: any.
 * Blocks:  never.
 * Since:   0.1
 */
STRATA_API strata_bytes strata_load_etag(const strata_load *load);

/*
 * Ends a load, the source having said that the value is what it was: it lives on for a ttl from now on, in L2, where its bytes
 * are not moved, and in this process's L1. Its tags, app_version and etag stay.
 *   load    a load whose strata_load_etag is not empty
 *   ttl_ms  0 for the operation's, STRATA_EXPIRES_NEVER for none
 * Returns: STRATA_OK; STRATA_E_INVALID where there is nothing to refresh, STRATA_E_TTL or STRATA_E_NOMEM: the load ended with
 *          that failure.
 * Owns:    takes the load, as strata_load_finish does, in its place.
 * Threads: any, exactly once per load.
 * Blocks:  on a lock held for a few instructions.
 * Since:   0.1
 */
STRATA_API int32_t strata_load_not_modified(strata_load *load, int64_t ttl_ms);

#ifdef __cplusplus
}
#endif
#endif
