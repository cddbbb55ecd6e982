/* SPDX-License-Identifier: Apache-2.0 */
/* Floors: at which n each namespace was last cleared, partition by partition. What has a smaller n is invalid. */
#ifndef SX_CORE_FLOW_FLOORS_H
#define SX_CORE_FLOW_FLOORS_H

#include <strata/strata.h>

#include "coherence/trust.h"
#include "l2/store.h"

/* What this process knows of one partition's counter. owner: loop */
typedef struct sx_floor {
    uint64_t base;       /* what is older belongs to a counter that is gone, whatever its namespace */
    uint64_t generation; /* the partition's, at which the floors are proven; 0 not */
    int64_t asked_ns;    /* when L2 was last asked, with an answer; INT64_MIN never */
    uint64_t raises;     /* CLEAR messages heard, and own ones done */
    uint32_t names;      /* namespaces that were open when it was asked for: of others no clear may have been heard */
} sx_floor;

/* What is noted when a partition's floors are asked for. owner: loop */
typedef struct sx_floors_asked {
    sx_trust_mark mark;
    int64_t at_ns;
    uint64_t raises;
    uint32_t names; /* open namespaces */
} sx_floors_asked;

int32_t sx_floors_create(strata *engine);
void sx_floors_destroy(strata *engine);

/* ---- on the loop ---- */
/* Whether they are known: proven now, or, where the partition is not trusted, read no longer ago than an answer may be old. */
bool sx_floors_known_on_loop(const strata *engine, const strata_namespace *ns, uint32_t partition);
uint64_t sx_floors_of_on_loop(const strata *engine, const strata_namespace *ns, uint32_t partition);
/* The namespace was cleared at n: by a message, or by this process. Makes its entries unproven. */
void sx_floors_raise_on_loop(strata *engine, strata_namespace *ns, uint32_t partition, uint64_t n);
/* Asks L2 through an op that is not under way; done then hands the reply to answered. */
void sx_floors_ask_on_loop(strata *engine, sx_store_op *op, uint32_t partition, int64_t deadline_ns, sx_floors_asked *asked,
                           void (*done)(sx_store_op *op, int32_t status, const sx_resp *reply));
/* False where the reply makes no sense. */
bool sx_floors_answered_on_loop(strata *engine, const sx_store_op *op, uint32_t partition, const sx_floors_asked *asked,
                                const sx_resp *reply);

#endif
