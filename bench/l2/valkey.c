/* SPDX-License-Identifier: Apache-2.0 */
/* Another peer, where it is installed: libvalkey's asynchronous cluster client on libuv. It finds the node by itself. */
#include <stdio.h>
#include <stdlib.h>

#include "bench/l2/driver.h"
#include "bench/run.h"

#ifdef BENCH_HAS_VALKEY

#include <valkey/adapters/libuv.h>
#include <valkey/cluster.h>
#include <valkey/valkey.h>

struct bench_valkey {
    bench_driver driver;
    valkeyClusterAsyncContext *context;
};

const char *bench_valkey_name(void) {
    static char name[32];
    snprintf(name, sizeof name, "libvalkey %d.%d.%d", LIBVALKEY_VERSION_MAJOR, LIBVALKEY_VERSION_MINOR,
             LIBVALKEY_VERSION_PATCH);
    return name;
}

static void ended(valkeyClusterAsyncContext *context, void *answer, void *user) {
    bench_driver_slot *slot = user;
    const valkeyReply *reply = answer;
    (void)context;
    bench_driver_answered(slot, reply != NULL && reply->type == VALKEY_REPLY_STRING && (size_t)reply->len == slot->driver->keys->value_bytes);
}

static void send_key(void *client, const struct bench_l2_key *key, bench_driver_slot *slot) {
    bench_valkey *peer = client;
    const char *words[] = {"GET", key->text};
    const size_t sizes[] = {3, BENCH_L2_KEY_BYTES};
    if (valkeyClusterAsyncCommandArgv(peer->context, ended, slot, 2, words, sizes) != VALKEY_OK) abort();
}

bench_valkey *bench_valkey_open(const bench_l2_keys *keys) {
    if (!keys->cluster || keys->certs != NULL) return NULL; /* the seeds speak TLS then */
    bench_valkey *peer = calloc(1, sizeof *peer);
    if (peer == NULL) return NULL;
    bench_driver_init(&peer->driver, keys, send_key, peer);
    valkeyClusterOptions options = {.initial_nodes = keys->seeds, .options = VALKEY_OPT_BLOCKING_INITIAL_UPDATE};
    (void)valkeyClusterOptionsUseLibuv(&options, &peer->driver.loop);
    peer->context = valkeyClusterAsyncConnectWithOptions(&options);
    if (peer->context == NULL || peer->context->err != 0) abort(); /* a measurement that can't begin */
    return peer;
}

void bench_valkey_run(bench_valkey *peer, uint32_t outstanding, double seconds, bench_l2_sample *sample) {
    bench_driver_run(&peer->driver, outstanding, seconds, sample);
}

void bench_valkey_close(bench_valkey *peer) {
    if (peer == NULL) return;
    valkeyClusterAsyncDisconnect(peer->context);
    (void)uv_run(&peer->driver.loop, UV_RUN_DEFAULT);
    valkeyClusterAsyncFree(peer->context);
    bench_driver_deinit(&peer->driver);
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
