/* SPDX-License-Identifier: Apache-2.0 */
/* The loads of one batch, gathered so that its loader is asked for many keys at once.

   A key of a batch is decided once it is known whether the loader must be asked for it: answered, loaded by somebody else, or to
   be loaded. When all are, or the first has waited for SX_GATHER_NS, what is to be loaded goes out together. What comes later,
   because somebody else's load failed, goes out by itself. */
#ifndef SX_CORE_FLOW_GATHER_H
#define SX_CORE_FLOW_GATHER_H

#include <stdatomic.h>
#include <stdint.h>

#include <strata/strata.h>

#include "core/loop/loop.h"

#define SX_GATHER_NS (5 * SX_NS_PER_MS)

struct sx_op;

/* Loads that go out as one: the first, chained by more. */
typedef struct sx_gathered {
    strata_load *first, *last;
    uint32_t count;
} sx_gathered;

typedef struct sx_gather {
    /* const after create */
    strata *engine;
    strata_batch_loader_fn loader;
    void *user;
    _Atomic uint32_t refs;      /* atomic: acq_rel on release [order: gather-free]; the call, its ops and its loads */
    _Atomic uint32_t undecided; /* atomic: relaxed; ops, and one for the call that starts them */
    sx_gathered here;           /* owner: session's thread, inside the call; without L2 */
    /* owner: loop */
    sx_gathered waiting;
    sx_task task;               /* posted once, by the call */
    sx_turn_end end;
    sx_timer timer;
    struct sx_gather *next, *previous; /* among the engine's that have loads waiting */
} sx_gather;

/* With one reference, the caller's. NULL when out of memory. */
sx_gather *sx_gather_create(strata *engine, strata_batch_loader_fn loader, void *user);
void sx_gather_retain(sx_gather *gather);
void sx_gather_release(sx_gather *gather);
/* An op of the batch that nobody else knows yet. */
void sx_gather_join(sx_gather *gather, struct sx_op *op);
/* Whether the loader must be asked for the op is known. Its stripe's lock is held, or it is linked nowhere. */
void sx_gather_decided(struct sx_op *op);
void sx_gather_less(sx_gather *gather);
/* A load of the batch is to go out. Any thread, no lock held. own: elsewhere than on the loop, it is the thread of the batch's
   call, inside that; another one's load goes out by itself, at once, and the gather may go with it. */
void sx_gather_add(sx_gather *gather, strata_load *load, bool own);
/* The call has started all ops: takes its reference. */
void sx_gather_started(sx_gather *gather);
/* The loader of the batch's ops: has the program's run those of the chain that are still wanted. */
void sx_gather_run(strata_load *first, void *gather);
/* The engine closes: what waits goes out, to be dropped. */
void sx_gather_cut_off_on_loop(strata *engine);

#endif
