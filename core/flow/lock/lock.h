/* SPDX-License-Identifier: Apache-2.0 */
/* What the rest of flow knows of locks: that they end. Private to core/flow. */
#ifndef SX_CORE_FLOW_LOCK_LOCK_H
#define SX_CORE_FLOW_LOCK_LOCK_H

#include "core/flow/engine.h"

/* Those that wait for their time; the others' requests end them. */
void sx_lockings_cut_off_on_loop(strata *engine);

#endif
