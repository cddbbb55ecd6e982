/* SPDX-License-Identifier: Apache-2.0 */
/* How much of the machine other programs took while something was measured. */
#ifndef BENCH_OTHERS_H
#define BENCH_OTHERS_H

#include <stdint.h>
#include <sys/types.h>

#define BENCH_OTHERS_MAX 0.05

/* CPU time so far: of the whole machine, and of this program with its servers. */
typedef struct bench_others {
    int64_t machine_us, own_us, wall_us;
} bench_others;
bench_others bench_others_read(const pid_t *servers, uint32_t count);
/* What others took between two readings, as a part of all processors' time. */
double bench_others_share(const bench_others *before, const bench_others *after);

#endif
