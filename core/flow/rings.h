/* SPDX-License-Identifier: Apache-2.0 */
/* What an engine keeps for who watches its events (core/flow/engine/events.c). */
#ifndef SX_CORE_FLOW_RINGS_H
#define SX_CORE_FLOW_RINGS_H

#include <stdatomic.h>
#include <stdint.h>

typedef struct sx_event_ring sx_event_ring;

typedef struct sx_events {
    uint32_t capacity;     /* lock: engine; of rings; 0: nobody has watched yet */
    uint32_t turn;         /* lock: engine; which ring is drained first */
    uint64_t dropped;      /* lock: engine; by rings that are no more, and as told by the others */
    _Atomic uint32_t kinds; /* atomic: relaxed, a number that stands for itself; bits 1 << strata_event_kind */
    sx_event_ring *_Atomic loop;   /* atomic: release by who makes it, acquire by its writer [order: event-ring] */
    sx_event_ring *_Atomic keeper; /* atomic: likewise */
} sx_events;

#endif
