/* SPDX-License-Identifier: Apache-2.0 */
/* What an engine and a session keep for the analysis of usage (core/flow/analysis). */
#ifndef SX_CORE_FLOW_TRAIL_H
#define SX_CORE_FLOW_TRAIL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/flow/names.h"

struct sx_analysis;
struct sx_prefetcher;

/* Of all namespaces. */
typedef struct sx_analyses {
    /* By namespace. atomic: release by who makes it, acquire by who reads [order: analysis]; NULL: never analysed */
    struct sx_analysis *_Atomic of[SX_NAMESPACES_MAX];
    _Atomic uint32_t made; /* atomic: relaxed, a hint: whether there is anything to walk for; written under the lock engine */
    struct sx_prefetcher *_Atomic prefetcher; /* atomic: release by who makes it, acquire by who reads [order: prefetcher]; NULL: none yet */
    uint64_t cursor;       /* owner: keeper; of its walk */
    int64_t walked_ns;     /* owner: keeper; when it went on with it */
    bool walking;          /* owner: keeper; has begun one */
} sx_analyses;

/* Where a session is among the reads that are looked at. owner: its thread */
typedef struct sx_trail {
    uint32_t left;              /* reads until the next one that is looked at; 0: not begun yet */
    uint64_t random;
    struct sx_analysis *first;  /* of the namespace of the read that was looked at last; NULL: it has its successor */
    uint64_t first_hash;
    int64_t first_ns;
} sx_trail;

#endif
