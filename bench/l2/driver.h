/* SPDX-License-Identifier: Apache-2.0 */
/* The load that every peer is put under: so many GETs under way on one libuv loop, one key after the other. Private to the
   peers: each says how it sends a key and calls back when an answer is there. */
#ifndef BENCH_L2_DRIVER_H
#define BENCH_L2_DRIVER_H

#include <stdbool.h>
#include <uv.h>

#include "bench/l2/l2.h"

typedef struct bench_driver bench_driver;

typedef struct bench_driver_slot {
    bench_driver *driver;
    int64_t began_ns; /* 0: not timed */
} bench_driver_slot;

/* Asks for a key; the answer is told by bench_driver_answered. */
typedef void (*bench_driver_send_fn)(void *client, const struct bench_l2_key *key, bench_driver_slot *slot);

/* owner: one thread. The latency and key list may be used between runs. */
struct bench_driver {
    const bench_l2_keys *keys;
    bench_driver_send_fn send;
    void *client;
    uv_loop_t loop;
    uint32_t next_key, outstanding;
    int64_t warm_ns, end_ns;
    bool recording;
    uint64_t operations, failures;
    bench_histogram latency;
    bench_l2_usage before, after;
};

void bench_driver_init(bench_driver *driver, const bench_l2_keys *keys, bench_driver_send_fn send, void *client);
/* Runs the loop with so many outstanding; the first tenth is not recorded. */
void bench_driver_run(bench_driver *driver, uint32_t outstanding, double seconds, bench_l2_sample *sample);
/* good: the value was there and as long as it should be. */
void bench_driver_answered(bench_driver_slot *slot, bool good);
/* Runs the loop until nothing is left in it. */
void bench_driver_deinit(bench_driver *driver);

#endif
