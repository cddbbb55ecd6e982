/* SPDX-License-Identifier: Apache-2.0 */
/* Eviction policies as their papers have them, simulated: what the store is measured against. */
#ifndef BENCH_HITRATIO_SIMULATE_H
#define BENCH_HITRATIO_SIMULATE_H

#include "bench/requests.h"

typedef enum hitratio_policy {
    HITRATIO_FIFO,
    HITRATIO_LRU,
    HITRATIO_CLOCK,  /* one bit; who was used goes round once more */
    HITRATIO_SIEVE,  /* one bit and a hand that moves from old to new; nothing changes its place */
    HITRATIO_S3FIFO, /* a tenth probation, who was hit twice there goes to main; ghosts for nine tenths */
    HITRATIO_WTINYLFU, /* a window of one hundredth; behind it a segmented LRU that a sketch of counts guards */
    HITRATIO_ARC,      /* seen once and seen again, and ghosts of both that move the border */
    HITRATIO_BELADY, /* knows the future: who is asked for last leaves. A bound where every object counts 1 */
    HITRATIO_POLICIES
} hitratio_policy;
extern const char *const hitratio_policy_names[HITRATIO_POLICIES];

typedef struct hitratio_misses {
    uint64_t misses, bytes_missed, bytes;
} hitratio_misses;

/* Plays requests through a policy with room for capacity: objects, or bytes where by_bytes (then each counts its size, and what is
   larger than the room is not taken). False when out of memory. */
bool hitratio_simulate(hitratio_policy policy, const bench_requests *requests, uint64_t capacity, bool by_bytes,
                       hitratio_misses *out);

#endif
