/* SPDX-License-Identifier: Apache-2.0 */
/* The peer: hiredis as it is packaged. Without it every number of the peer is missing, and the rest is measured. */
#include <stdlib.h>
#include <string.h>

#include "bench/l2/l2.h"
#include "bench/run.h"

#ifdef BENCH_HAS_HIREDIS

#include <hiredis/async.h>
#include <hiredis/hiredis.h>
#include <hiredis/adapters/libuv.h>

typedef struct peer_slot {
    bench_peer *peer;
    int64_t began_ns; /* 0: not timed */
} peer_slot;

struct bench_peer {
    const bench_l2_keys *keys;
    uv_loop_t loop;
    redisAsyncContext *contexts[BENCH_L2_NODES_MAX];
    redisContext *blocking[BENCH_L2_NODES_MAX];
    uint32_t next_key, outstanding;
    int64_t warm_ns, end_ns;
    bool recording;
    uint64_t operations, failures;
    bench_histogram latency;
    bench_l2_usage before, after;
};

const char *bench_peer_name(void) {
    static char name[32];
    snprintf(name, sizeof name, "hiredis %d.%d", HIREDIS_MAJOR, HIREDIS_MINOR);
    return name;
}

static void start(peer_slot *slot);

static void look_at_clock(bench_peer *peer) {
    int64_t now_ns = bench_now_ns();
    if (!peer->recording && peer->warm_ns != 0 && now_ns >= peer->warm_ns) {
        peer->warm_ns = 0;
        peer->recording = true;
        peer->operations = peer->failures = 0;
        bench_histogram_clear(&peer->latency);
        bench_l2_usage_thread(&peer->before);
    } else if (peer->recording && now_ns >= peer->end_ns) {
        bench_l2_usage_thread(&peer->after);
        peer->recording = false;
        peer->end_ns = 0;
    }
}

static void ended(redisAsyncContext *context, void *answer, void *user) {
    (void)context;
    peer_slot *slot = user;
    bench_peer *peer = slot->peer;
    const redisReply *reply = answer;
    if (reply == NULL || reply->type != REDIS_REPLY_STRING || (size_t)reply->len != peer->keys->value_bytes)
        peer->failures++;
    if (peer->end_ns != 0) peer->operations++;
    if (slot->began_ns != 0) bench_histogram_add(&peer->latency, bench_now_ns() - slot->began_ns);
    if (peer->end_ns != 0 && peer->operations % BENCH_L2_LATENCY_EVERY == 0) look_at_clock(peer);
    if (peer->end_ns != 0) start(slot);
    else if (--peer->outstanding == 0) uv_stop(&peer->loop);
}

static void start(peer_slot *slot) {
    bench_peer *peer = slot->peer;
    const struct bench_l2_key *key = &peer->keys->list[peer->next_key];
    if (++peer->next_key == peer->keys->count) peer->next_key = 0;
    const char *words[] = {"GET", key->text};
    const size_t sizes[] = {3, BENCH_L2_KEY_BYTES};
    slot->began_ns = peer->next_key % BENCH_L2_LATENCY_EVERY == 0 ? bench_now_ns() : 0;
    (void)redisAsyncCommandArgv(peer->contexts[key->node], ended, slot, 2, words, sizes);
}

bench_peer *bench_peer_open(const bench_l2_keys *keys) {
    bench_peer *peer = calloc(1, sizeof *peer);
    if (peer == NULL) return NULL;
    peer->keys = keys;
    (void)uv_loop_init(&peer->loop);
    for (uint32_t i = 0; i < keys->node_count; i++) {
        peer->contexts[i] = redisAsyncConnect("127.0.0.1", keys->ports[i]);
        peer->blocking[i] = redisConnect("127.0.0.1", keys->ports[i]);
        if (peer->contexts[i] == NULL || peer->contexts[i]->err != 0 || peer->blocking[i] == NULL ||
            peer->blocking[i]->err != 0 || redisLibuvAttach(peer->contexts[i], &peer->loop) != REDIS_OK)
            abort(); /* a measurement that can't begin */
    }
    return peer;
}

void bench_peer_run(bench_peer *peer, uint32_t outstanding, double seconds, bench_l2_sample *sample) {
    peer_slot *slots = calloc(outstanding, sizeof *slots);
    peer->next_key = 0;
    peer->operations = 0;
    peer->outstanding = outstanding;
    peer->recording = false;
    peer->warm_ns = bench_now_ns() + (int64_t)(seconds * 1e8);
    peer->end_ns = peer->warm_ns + (int64_t)(seconds * 1e9);
    for (uint32_t i = 0; i < outstanding; i++) {
        slots[i].peer = peer;
        start(&slots[i]);
    }
    (void)uv_run(&peer->loop, UV_RUN_DEFAULT);
    free(slots);
    bench_l2_sample_set(sample, &peer->before, &peer->after, peer->operations, &peer->latency);
    sample->failures = peer->failures;
}

void bench_peer_round_trips(bench_peer *peer, double seconds, bench_l2_sample *sample) {
    bench_l2_usage before, after;
    uint64_t operations = 0;
    bench_histogram_clear(&peer->latency);
    bench_l2_usage_thread(&before);
    for (int64_t now_ns = before.wall_ns; now_ns < before.wall_ns + (int64_t)(seconds * 1e9);) {
        const struct bench_l2_key *key = &peer->keys->list[operations++ % peer->keys->count];
        freeReplyObject(redisCommand(peer->blocking[key->node], "GET %b", key->text, (size_t)BENCH_L2_KEY_BYTES));
        int64_t end_ns = bench_now_ns();
        bench_histogram_add(&peer->latency, end_ns - now_ns);
        now_ns = end_ns;
    }
    bench_l2_usage_thread(&after);
    bench_l2_sample_set(sample, &before, &after, operations, &peer->latency);
}

void bench_peer_close(bench_peer *peer) {
    if (peer == NULL) return;
    for (uint32_t i = 0; i < peer->keys->node_count; i++) {
        redisAsyncFree(peer->contexts[i]);
        redisFree(peer->blocking[i]);
    }
    (void)uv_run(&peer->loop, UV_RUN_DEFAULT);
    (void)uv_loop_close(&peer->loop);
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
