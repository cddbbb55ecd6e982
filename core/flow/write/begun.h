/* SPDX-License-Identifier: Apache-2.0 */
/* Invalidations and scans that the engine begins by itself, for warmings and events. Private to core/flow. */
#ifndef SX_CORE_FLOW_WRITE_BEGUN_H
#define SX_CORE_FLOW_WRITE_BEGUN_H

#include "core/flow/engine.h"

/* Invalidates a tag (ns NULL), or clears a namespace, for the engine itself; ended may run inside. */
void sx_renewal_start_on_loop(strata *engine, strata_namespace *ns, const void *tag, uint32_t size, int64_t deadline_ns,
                              void (*ended)(void *context, int32_t status), void *context);
/* Invalidates a pattern for the engine itself; progress has ended's context, and ended may run inside. */
void sx_sweep_start_on_loop(strata *engine, strata_namespace *ns, const void *pattern, uint32_t size, strata_progress_fn progress,
                            void (*ended)(void *context, int32_t status), void *context);
/* Names the keys of a namespace that match a pattern, as L2 holds them, to take, on the loop, until that answers anything but
   STRATA_OK (then done is told STRATA_E_CANCELLED). take is not called any more once the session is closed. STRATA_PENDING: done is
   told, once; STRATA_MISS: there is no L2. */
int32_t sx_sweep_collect(strata_session *session, strata_namespace *ns, strata_bytes pattern, uint32_t keys_per_s,
                         int32_t (*take)(void *context, const void *key, size_t size), void *context, strata_done_fn done, void *user);

#endif
