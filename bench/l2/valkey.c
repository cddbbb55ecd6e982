/* SPDX-License-Identifier: Apache-2.0 */
/* Another peer, where it is installed: libvalkey's asynchronous cluster client on libuv. It finds the node by itself. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/l2/l2.h"
#include "bench/run.h"

#ifdef BENCH_HAS_VALKEY

#include <valkey/adapters/libuv.h>
#include <valkey/cluster.h>
#include <valkey/valkey.h>

typedef struct valkey_slot {
    bench_valkey *peer;
    int64_t began_ns; /* 0: not timed */
} valkey_slot;

struct bench_valkey {
    const bench_l2_keys *keys;
    uv_loop_t loop;
    valkeyClusterAsyncContext *context;
    uint32_t next_key, outstanding;
    int64_t warm_ns, end_ns;
    bool recording;
    uint64_t operations, failures;
    bench_histogram latency;
    bench_l2_usage before, after;
};

const char *bench_valkey_name(void) {
    static char name[32];
    snprintf(name, sizeof name, "libvalkey %d.%d.%d", LIBVALKEY_VERSION_MAJOR, LIBVALKEY_VERSION_MINOR,
             LIBVALKEY_VERSION_PATCH);
    return name;
}

static void start(valkey_slot *slot);

static void look_at_clock(bench_valkey *peer) {
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

static void ended(valkeyClusterAsyncContext *context, void *answer, void *user) {
    (void)context;
    valkey_slot *slot = user;
    bench_valkey *peer = slot->peer;
    const valkeyReply *reply = answer;
    if (reply == NULL || reply->type != VALKEY_REPLY_STRING || (size_t)reply->len != peer->keys->value_bytes)
        peer->failures++;
    if (peer->end_ns != 0) peer->operations++;
    if (slot->began_ns != 0) bench_histogram_add(&peer->latency, bench_now_ns() - slot->began_ns);
    if (peer->end_ns != 0 && peer->operations % BENCH_L2_LATENCY_EVERY == 0) look_at_clock(peer);
    if (peer->end_ns != 0) start(slot);
    else if (--peer->outstanding == 0) uv_stop(&peer->loop);
}

static void start(valkey_slot *slot) {
    bench_valkey *peer = slot->peer;
    const struct bench_l2_key *key = &peer->keys->list[peer->next_key];
    if (++peer->next_key == peer->keys->count) peer->next_key = 0;
    const char *words[] = {"GET", key->text};
    const size_t sizes[] = {3, BENCH_L2_KEY_BYTES};
    slot->began_ns = peer->next_key % BENCH_L2_LATENCY_EVERY == 0 ? bench_now_ns() : 0;
    if (valkeyClusterAsyncCommandArgv(peer->context, ended, slot, 2, words, sizes) != VALKEY_OK) abort();
}

bench_valkey *bench_valkey_open(const bench_l2_keys *keys) {
    if (!keys->cluster) return NULL;
    bench_valkey *peer = calloc(1, sizeof *peer);
    if (peer == NULL) return NULL;
    peer->keys = keys;
    (void)uv_loop_init(&peer->loop);
    valkeyClusterOptions options = {.initial_nodes = keys->seeds, .options = VALKEY_OPT_BLOCKING_INITIAL_UPDATE};
    (void)valkeyClusterOptionsUseLibuv(&options, &peer->loop);
    peer->context = valkeyClusterAsyncConnectWithOptions(&options);
    if (peer->context == NULL || peer->context->err != 0) abort(); /* a measurement that can't begin */
    return peer;
}

void bench_valkey_run(bench_valkey *peer, uint32_t outstanding, double seconds, bench_l2_sample *sample) {
    valkey_slot *slots = calloc(outstanding, sizeof *slots);
    peer->next_key = 0;
    peer->operations = peer->failures = 0;
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

void bench_valkey_close(bench_valkey *peer) {
    if (peer == NULL) return;
    valkeyClusterAsyncDisconnect(peer->context);
    (void)uv_run(&peer->loop, UV_RUN_DEFAULT);
    valkeyClusterAsyncFree(peer->context);
    (void)uv_loop_close(&peer->loop);
    free(peer);
}

#else

const char *bench_valkey_name(void) { return "no libvalkey"; }
bench_valkey *bench_valkey_open(const bench_l2_keys *keys) {
    (void)keys;
    return NULL;
}
void bench_valkey_run(bench_valkey *peer, uint32_t outstanding, double seconds, bench_l2_sample *sample) {
    (void)peer;
    (void)outstanding;
    (void)seconds;
    (void)sample;
}
void bench_valkey_close(bench_valkey *peer) { (void)peer; }

#endif
