/* SPDX-License-Identifier: Apache-2.0 */
/* The machine's CPU time less our own. */
#include "bench/others.h"

#include <unistd.h>

#include "bench/environment.h"
#include "bench/run.h"

bench_others bench_others_read(const pid_t *servers, uint32_t count) {
    bench_others now = {.machine_us = bench_cpu_busy_us(), .own_us = bench_cpu_of_us(getpid()), .wall_us = bench_now_ns() / 1000};
    for (uint32_t i = 0; i < count; i++) now.own_us += bench_cpu_of_us(servers[i]);
    return now;
}

double bench_others_share(const bench_others *before, const bench_others *after) {
    double all_us = (double)(after->wall_us - before->wall_us) * (double)sysconf(_SC_NPROCESSORS_ONLN);
    double others_us = (double)(after->machine_us - before->machine_us) - (double)(after->own_us - before->own_us);
    return all_us > 0 && others_us > 0 ? others_us / all_us : 0;
}
