/* SPDX-License-Identifier: Apache-2.0 */
/* Requests through the real store, whose budget is fitted until it holds what the simulated policies may hold. */
#ifndef BENCH_HITRATIO_PLAY_H
#define BENCH_HITRATIO_PLAY_H

#include "bench/hitratio/simulate.h"

typedef struct hitratio_play {
    hitratio_misses misses;
    double held;       /* on average since it was full: entries, or bytes of their values */
    bool fits;         /* false: no budget tried held as little as it may, so its misses are not comparable */
    int64_t bytes_max; /* the budget that did it: headers, keys, values, rounding, index */
} hitratio_play;

/* policy: of sx_l1_policy. A miss is followed by a put of a value as long as the trace says (by_bytes) or of 100 bytes. */
bool hitratio_play_store(uint32_t policy, const bench_requests *requests, uint64_t capacity, bool by_bytes, hitratio_play *out);

#endif
