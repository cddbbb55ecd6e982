/* SPDX-License-Identifier: Apache-2.0 */
/* Rollout: either tier switched off, or on for a part of the keys, for one namespace while the program runs. Included by strata.h, where
   operations are explained. */
#ifndef STRATA_ROLLOUT_H
#define STRATA_ROLLOUT_H

#include <strata/strata.h>

#ifdef __cplusplus
extern "C" {
#endif

#define STRATA_ROLLOUT_L1_OFF 0x1u
#define STRATA_ROLLOUT_L2_OFF 0x2u
#define STRATA_ROLLOUT_OFF 0x3u /* both: the namespace is not cached */

/* Which keys of a namespace use which tier. A key's place is a hash of its bytes: the same in every process, and who raises a part
   keeps the keys that were in. The options flow.l1_part and flow.l2_part bound it for all namespaces, namespace.NAME.enabled, .l1_per_mille
   and .l2_per_mille for one.

   Without L1 a key is answered by L2 or the loader, and enters L1 no more. What is there already goes on being invalidated as ever, and
   is only answered, once the key is in again, as long as that is proven: nothing that happened meanwhile is missed.

   Without L2 a key is neither read from L2 nor stored there: L1 answers what it holds and can prove, else the loader, whose value is for who
   waits. An invalidation is executed in L2 as ever, since other processes rely on it, and so is a set, as an invalidation: what was
   there is gone, everywhere. Only sets with a condition (strata/conditions.h) go on storing, and numbers (strata_incr) are counted: L2 is
   what judges them, by values that no read here shows. Where there is no L2 at all this part means nothing.

   Zero stands for all keys; struct_size first. */
typedef struct strata_rollout {
    uint32_t struct_size;  /* sizeof(strata_rollout) */
    uint32_t flags;        /* STRATA_ROLLOUT_L1_OFF | STRATA_ROLLOUT_L2_OFF */
    uint32_t l1_per_mille; /* 1 .. 1000: how many keys of a thousand use L1; 0 for all */
    uint32_t l2_per_mille; /* 1 .. 1000: how many keys of a thousand use L2; 0 for all */
} strata_rollout;

/*
 * Changes which keys of a namespace use which tier.
 *   ns       a namespace
 *   rollout  copied
 *   error    receives the field and its allowed range; may be NULL
 * Returns: STRATA_OK; STRATA_E_INVALID for a struct that can't be read; STRATA_E_CONFIG for a field out of range: nothing
 *          has changed; STRATA_E_CLOSED; STRATA_E_FORKED.
 * Owns:    nothing.
 * Threads: any; operations under way see the old parts or the new ones.
 * Blocks:  on a lock held for a few instructions.
 * Since:   0.1
 */
STRATA_API int32_t strata_namespace_rollout_set(strata_namespace *ns, const strata_rollout *rollout, strata_error *error);

/*
 * Reads which keys of a namespace use which tier, as it was set.
 *   ns       a namespace
 *   rollout  struct_size set; receives it
 * Returns: STRATA_OK; STRATA_E_INVALID; STRATA_E_CLOSED; STRATA_E_FORKED.
 * Owns:    nothing.
 * Threads: any.
 * Blocks:  on a lock held for a few instructions.
 * Since:   0.1
 */
STRATA_API int32_t strata_namespace_rollout_get(const strata_namespace *ns, strata_rollout *rollout);

#ifdef __cplusplus
}
#endif
#endif
