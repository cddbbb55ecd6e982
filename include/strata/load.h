/* SPDX-License-Identifier: Apache-2.0 */
/* What a loader may ask of its load, beyond its key. Included by strata.h, where loads are explained. */
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

#ifdef __cplusplus
}
#endif
#endif
