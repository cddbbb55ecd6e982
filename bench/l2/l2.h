/* SPDX-License-Identifier: Apache-2.0 */
/* Measuring L2's client from the inside: one sample per call, of our client, of a peer, and of the whole engine. */
#ifndef BENCH_L2_L2_H
#define BENCH_L2_L2_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bench/histogram.h"

#define BENCH_L2_NODES_MAX     16
#define BENCH_L2_KEY_BYTES     16
#define BENCH_L2_LATENCY_EVERY 16 /* one operation of so many is timed where the clock would cost as much as it */

/* What all sides ask for: keys that lie at the nodes in equal parts. */
typedef struct bench_l2_keys {
    uint32_t count;
    uint32_t value_bytes;
    uint32_t node_count;
    uint16_t ports[BENCH_L2_NODES_MAX];
    struct bench_l2_key {
        char text[BENCH_L2_KEY_BYTES + 1];
        uint16_t slot;
        uint8_t node; /* whose port it is asked at */
    } *list;
    const char *seeds;
    const char *certs; /* folder of ca.crt, server.crt and server.key where our client speaks TLS; else NULL */
    bool cluster;
} bench_l2_keys;

/* Per operation unless said. Negative: not measured. */
typedef struct bench_l2_sample {
    double per_second;
    double cpu_us, system_us; /* of the client's threads; system is a part of cpu */
    double wakes;             /* times that a thread of the client went to sleep */
    double loop_wakes;        /* of these, the loop's */
    double allocations;       /* through the allocator table, on the loop */
    double p50_us, p99_us;
    uint64_t failures;
} bench_l2_sample;

/* wire.c: our client alone, store and cluster on a loop thread of their own. */
typedef struct bench_wire bench_wire;
bench_wire *bench_wire_open(const bench_l2_keys *keys);
/* Sets each key once. False where one could not be. */
bool bench_wire_fill(bench_wire *wire);
void bench_wire_run(bench_wire *wire, uint32_t outstanding, double seconds, bench_l2_sample *sample);
void bench_wire_close(bench_wire *wire);

/* peer.c: hiredis, its asynchronous interface on libuv, a connection per node, told which key lies where. */
typedef struct bench_peer bench_peer;
bench_peer *bench_peer_open(const bench_l2_keys *keys);
void bench_peer_run(bench_peer *peer, uint32_t outstanding, double seconds, bench_l2_sample *sample);
/* The same without libuv: one blocking round trip after the other, the least that an answer from L2 can cost. */
void bench_peer_round_trips(bench_peer *peer, double seconds, bench_l2_sample *sample);
void bench_peer_close(bench_peer *peer);
const char *bench_peer_name(void);

/* valkey.c: libvalkey, likewise, where it is installed and the servers are a cluster; NULL where not. */
typedef struct bench_valkey bench_valkey;
bench_valkey *bench_valkey_open(const bench_l2_keys *keys);
void bench_valkey_run(bench_valkey *peer, uint32_t outstanding, double seconds, bench_l2_sample *sample);
void bench_valkey_close(bench_valkey *peer);
const char *bench_valkey_name(void);

/* path.c: the engine, from a session to Redis and back, every get an L1 miss. */
typedef struct bench_path bench_path;
bench_path *bench_path_open(const bench_l2_keys *keys, bool count_allocations, const char *const *options);
bool bench_path_fill(bench_path *path);
/* Whether the gets from here on pass L1 by. */
void bench_path_past_l1(bench_path *path, bool past);
/* rate 0: closed loop with so many outstanding; else an open loop, latency from the intended start. */
void bench_path_run(bench_path *path, double rate, uint32_t outstanding, double seconds, bench_l2_sample *sample);
/* From here on so many gets of values of 1 MB are under way beside the others; they are not counted. False: not set. */
bool bench_path_large(bench_path *path, uint32_t outstanding);
/* Wake-ups of all the engine's threads in a second without operations. */
double bench_path_idle_wakes(bench_path *path, double seconds);
void bench_path_close(bench_path *path);

/* clock.c */
typedef struct bench_l2_usage {
    int64_t wall_ns, cpu_ns, system_ns;
    int64_t wakes;
} bench_l2_usage;
void bench_l2_usage_thread(bench_l2_usage *usage);
void bench_l2_usage_process(bench_l2_usage *usage);
/* Wake-ups of this process's threads of that name so far; NULL: of all. */
int64_t bench_l2_wakes(const char *name);
void bench_l2_sample_set(bench_l2_sample *sample, const bench_l2_usage *before, const bench_l2_usage *after,
                         uint64_t operations, const bench_histogram *latency);

#endif
