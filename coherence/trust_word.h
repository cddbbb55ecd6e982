/* SPDX-License-Identifier: Apache-2.0 */
/* The word that says of a partition until when, and since which generation, its entries are proven: its writes by the loop,
   its read before every hit. */
#ifndef SX_COHERENCE_TRUST_WORD_H
#define SX_COHERENCE_TRUST_WORD_H

#include <stdatomic.h>
#include <stdint.h>

/* What a reader needs to know of a partition. Written by the loop, read by everybody.
   A reader loads lease first, then generation, then finds the entry, then reads the clock: the entry is fresh if
   now < lease and its generation is equal. What the lease's release store published: every removal caused by a message
   that was received before the heartbeat reply, and the generation.
   Losing trust stores lease = INT64_MIN first; a new generation is stored before the lease that goes with it. */
typedef struct sx_trust_word {
    _Atomic(int64_t) lease_until_ns; /* atomic: release / acquire [order: trust-lease]; INT64_MIN untrusted */
    _Atomic(uint64_t) generation;    /* atomic: release / acquire [order: trust-generation]; starts at 1 */
    _Atomic(int64_t) proven_ns;      /* atomic: relaxed, a bound shown and compared, nothing is read through it: t_sent of
                                        the last answered heartbeat while trusted; kept when trust is lost; INT64_MIN never */
} sx_trust_word;

/* Reads a partition's word in the order that its promise needs. Any thread; the entry is found and the clock is read
   after it. */
static inline void sx_trust_read(const sx_trust_word *word, int64_t *lease_until_ns, uint64_t *generation) {
    *lease_until_ns = atomic_load_explicit(&word->lease_until_ns, memory_order_acquire); /* [order: trust-lease] */
    *generation = atomic_load_explicit(&word->generation, memory_order_acquire); /* [order: trust-generation] */
}

/* The loop's: a lease until then, proven by what was sent at proven_ns. Every removal that it covers is done. */
static inline void sx_trust_word_lease(sx_trust_word *word, int64_t lease_ns, int64_t proven_ns) {
    /* relaxed: a bound that is shown and compared, nothing is read through it */
    atomic_store_explicit(&word->proven_ns, proven_ns, memory_order_relaxed);
    atomic_store_explicit(&word->lease_until_ns, lease_ns, memory_order_release); /* [order: trust-lease] */
}
/* The loop's: nobody may count on the partition. */
static inline void sx_trust_word_end(sx_trust_word *word) {
    atomic_store_explicit(&word->lease_until_ns, INT64_MIN, memory_order_release); /* [order: trust-lease] */
}
/* The loop's, while there is no lease: what is there is not proven any more, entry by entry. */
static inline void sx_trust_word_doubt(sx_trust_word *word) {
    /* relaxed: only the loop writes it */
    uint64_t generation = atomic_load_explicit(&word->generation, memory_order_relaxed);
    atomic_store_explicit(&word->generation, generation + 1, memory_order_release); /* [order: trust-generation] */
}

#endif
