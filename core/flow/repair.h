/* SPDX-License-Identifier: Apache-2.0 */
/* What makes good: keys that owe L2 an invalidation, what a failover may have lost, and the audit. Included by engine.h. */
#ifndef SX_CORE_FLOW_REPAIR_H
#define SX_CORE_FLOW_REPAIR_H

#include "core/flow/engine.h"

/* unknown.c */
/* The quarantine of keys with a write of unknown outcome. All on the loop. */
bool sx_unknown_holds_on_loop(const strata *engine, uint64_t hash, const sx_item *key);
/* True where the write was queued behind an unresolved one of its key, or refused (then it has ended). */
bool sx_unknown_queue_on_loop(sx_write *write);
int32_t sx_unknown_add_on_loop(strata *engine, const sx_write *write);
/* Whether L2 holds what an invalidation of this process was to remove. */
bool sx_unknown_hides_on_loop(const strata *engine, uint64_t hash, uint16_t ns, const void *key, size_t key_size);
/* An invalidation that must still be executed, in after_ns at the earliest; replay_n: it was already, as this n, so that
   newer values stay (0: it was not). False where there is no room. */
bool sx_unknown_owe_on_loop(strata *engine, strata_namespace *ns, sx_item *key, uint64_t hash, uint32_t partition,
                            uint64_t replay_n, int64_t after_ns);
/* A write of the key was executed as n, later than proven_ns: what was owed before that is not any more, but for a failover
   of the server of that identity. */
void sx_unknown_settled_on_loop(strata *engine, uint64_t hash, uint16_t ns, const void *key, size_t key_size,
                                int64_t proven_ns, uint64_t n, uint64_t identity);
void sx_unknown_cut_off_on_loop(strata *engine);

/* recovery.c: on the loop but for init and deinit */
int32_t sx_recovery_init(strata *engine);
void sx_recovery_deinit(strata *engine);
/* The server of that identity has nothing of the key that is older than n, because of an invalidation; owed: of one that had
   failed. */
void sx_recovery_note_on_loop(strata *engine, strata_namespace *ns, sx_item *key, uint64_t hash, uint32_t partition, uint64_t n,
                              uint64_t identity, bool owed);
/* Whether the server of that identity may lack one that had failed: what stands there is not read. */
bool sx_recovery_hides_on_loop(const strata *engine, uint64_t hash, uint16_t ns, const void *key, size_t key_size,
                               uint64_t identity);
/* A tag's invalidation, or (ns not NULL) a namespace's clear in one partition, was acknowledged by the server of that
   identity; 0: it must be repeated. repeated: it was. */
void sx_recovery_note_renewal_on_loop(strata *engine, strata_namespace *ns, const void *name, uint32_t size,
                                      uint32_t partition, uint64_t identity, bool repeated);
/* An invalidation that failed: sx_unknown_owe_on_loop, counting what there is no room for. */
void sx_recovery_owe_on_loop(strata *engine, strata_namespace *ns, sx_item *key, uint64_t hash, uint32_t partition);
/* Trust in a partition was gained at another server than before, which was last proven at proven_ns. */
void sx_recovery_replaced_on_loop(void *engine, uint32_t partition, int64_t proven_ns);

/* audit.c: on the loop */
void sx_audit_start_on_loop(strata *engine);
void sx_audit_stop_on_loop(strata *engine);

#endif
