/* SPDX-License-Identifier: Apache-2.0 */
/* The peer: hiredis as it is packaged. Without it every number of the peer is missing, and the rest is measured. */
#include <stdlib.h>

#include "bench/l2/driver.h"
#include "bench/run.h"

#ifdef BENCH_HAS_HIREDIS

#include <hiredis/async.h>
#include <hiredis/hiredis.h>
#include <hiredis/adapters/libuv.h>

struct bench_peer {
    bench_driver driver;
    redisAsyncContext *contexts[BENCH_L2_NODES_MAX];
    redisContext *blocking[BENCH_L2_NODES_MAX];
};

const char *bench_peer_name(void) {
    static char name[32];
    snprintf(name, sizeof name, "hiredis %d.%d", HIREDIS_MAJOR, HIREDIS_MINOR);
    return name;
}

static void ended(redisAsyncContext *context, void *answer, void *user) {
    bench_driver_slot *slot = user;
    const redisReply *reply = answer;
    (void)context;
    bench_driver_answered(slot, reply != NULL && reply->type == REDIS_REPLY_STRING && (size_t)reply->len == slot->driver->keys->value_bytes);
}

static void send_key(void *client, const struct bench_l2_key *key, bench_driver_slot *slot) {
    bench_peer *peer = client;
    const char *words[] = {"GET", key->text};
    const size_t sizes[] = {3, BENCH_L2_KEY_BYTES};
    (void)redisAsyncCommandArgv(peer->contexts[key->node], ended, slot, 2, words, sizes);
}

bench_peer *bench_peer_open(const bench_l2_keys *keys) {
    bench_peer *peer = calloc(1, sizeof *peer);
    if (peer == NULL) return NULL;
    bench_driver_init(&peer->driver, keys, send_key, peer);
    for (uint32_t i = 0; i < keys->node_count; i++) {
        peer->contexts[i] = redisAsyncConnect("127.0.0.1", keys->ports[i]);
        peer->blocking[i] = redisConnect("127.0.0.1", keys->ports[i]);
        if (peer->contexts[i] == NULL || peer->contexts[i]->err != 0 || peer->blocking[i] == NULL ||
            peer->blocking[i]->err != 0 || redisLibuvAttach(peer->contexts[i], &peer->driver.loop) != REDIS_OK)
            abort(); /* a measurement that can't begin */
    }
    return peer;
}

void bench_peer_run(bench_peer *peer, uint32_t outstanding, double seconds, bench_l2_sample *sample) {
    bench_driver_run(&peer->driver, outstanding, seconds, sample);
}

void bench_peer_round_trips(bench_peer *peer, double seconds, bench_l2_sample *sample) {
    bench_l2_usage before, after;
    uint64_t operations = 0;
    bench_histogram_clear(&peer->driver.latency);
    bench_l2_usage_thread(&before);
    for (int64_t now_ns = before.wall_ns; now_ns < before.wall_ns + (int64_t)(seconds * 1e9);) {
        const struct bench_l2_key *key = &peer->driver.keys->list[operations++ % peer->driver.keys->count];
        freeReplyObject(redisCommand(peer->blocking[key->node], "GET %b", key->text, (size_t)BENCH_L2_KEY_BYTES));
        int64_t end_ns = bench_now_ns();
        bench_histogram_add(&peer->driver.latency, end_ns - now_ns);
        now_ns = end_ns;
    }
    bench_l2_usage_thread(&after);
    bench_l2_sample_set(sample, &before, &after, operations, &peer->driver.latency);
}

void bench_peer_close(bench_peer *peer) {
    if (peer == NULL) return;
    for (uint32_t i = 0; i < peer->driver.keys->node_count; i++) {
        redisAsyncFree(peer->contexts[i]);
        redisFree(peer->blocking[i]);
    }
    bench_driver_deinit(&peer->driver);
    free(peer);
}

#else

const char *bench_peer_name(void) { return "no peer"; }
bench_peer *bench_peer_open(const bench_l2_keys *keys) {
    (void)keys;
    return NULL;
}
void bench_peer_run(bench_peer *peer, uint32_t outstanding, double seconds, bench_l2_sample *sample) {
    (void)peer;
    (void)outstanding;
    (void)seconds;
    (void)sample;
}
void bench_peer_round_trips(bench_peer *peer, double seconds, bench_l2_sample *sample) {
    (void)peer;
    (void)seconds;
    (void)sample;
}
void bench_peer_close(bench_peer *peer) { (void)peer; }

#endif
