/* SPDX-License-Identifier: Apache-2.0 */
/* What a coherent set costs the servers, beside SET and SPUBLISH to one subscriber, pipelined by hand, in rounds that take
   turns. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench/coherence/coherence.h"
#include "bench/median.h"
#include "bench/run.h"

#define OUTSTANDING 64
#define KEYS        1024
#define NODES_MAX   16
#define ROUNDS_MAX  64
#define MESSAGE     60 /* bytes: about what a KEY message has */

/* ---- the engine ---- */

typedef struct cost_engine {
    _Atomic uint64_t done, failed;
} cost_engine;

static void set_done(void *user, const strata_result *result) {
    cost_engine *count = user;
    atomic_fetch_add(result->status == STRATA_OK ? &count->done : &count->failed, 1);
}

/* Sets for so long, so many outstanding. Server time per set in us; negative where one failed. */
static double by_engine(const bench_coherence *bench, strata_session *session, strata_namespace *ns) {
    cost_engine count = {0};
    strata_op_options how = {.struct_size = sizeof how, .deadline_ms = 5000};
    char *value = calloc(1, bench->value_bytes);
    double before_s = bench_coherence_server_cpu_s(bench);
    int64_t end_ns = bench_now_ns() + (int64_t)(bench->seconds * 1e9);
    uint64_t sent = 0;
    while (value != NULL && (bench_now_ns() < end_ns || sent > count.done + count.failed)) {
        while (bench_now_ns() < end_ns && sent - count.done - count.failed < OUTSTANDING) {
            char key[24];
            int length = snprintf(key, sizeof key, "key:%llu", (unsigned long long)(sent % KEYS));
            int32_t status = strata_set(session, ns, (strata_bytes){key, (size_t)length},
                                        (strata_bytes){value, bench->value_bytes}, &how, set_done, &count);
            sent++;
            if (status != STRATA_PENDING) atomic_fetch_add(&count.failed, 1);
        }
        (void)strata_session_wait(session, 10);
    }
    double used_s = bench_coherence_server_cpu_s(bench) - before_s;
    free(value);
    return count.failed != 0 || count.done == 0 ? -1 : used_s * 1e6 / (double)count.done;
}

/* ---- by hand ---- */

typedef struct cost_node {
    int sets, hears; /* sockets */
    char key[32];    /* whose slot is here; "{key}c" is its channel */
    char *batch;
    size_t batch_bytes;
    pthread_t drain;
} cost_node;

static int connect_to(uint16_t port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)&address, sizeof address) != 0) {
        close(fd);
        fd = -1;
    }
    return fd;
}

static bool send_all(int fd, const char *bytes, size_t size) {
    for (ssize_t sent; size > 0; bytes += sent, size -= (size_t)sent)
        if ((sent = send(fd, bytes, size, MSG_NOSIGNAL)) <= 0) return false;
    return true;
}

/* Reads until so many lines have ended. */
static bool await_lines(int fd, uint32_t lines) {
    char bytes[16384];
    while (lines > 0) {
        ssize_t got = recv(fd, bytes, sizeof bytes, 0);
        if (got <= 0) return false;
        for (ssize_t i = 0; i < got; i++) {
            if (bytes[i] == '-') return false;
            lines -= bytes[i] == '\n' && lines > 0;
        }
    }
    return true;
}

static void *drain(void *argument) {
    int fd = *(const int *)argument;
    char bytes[65536];
    while (recv(fd, bytes, sizeof bytes, 0) > 0) {}
    return NULL;
}

static bool open_node(const bench_coherence *bench, uint32_t index, cost_node *node) {
    node->sets = connect_to(sx_cluster_port(bench->cluster, index));
    node->hears = connect_to(sx_cluster_port(bench->cluster, index));
    size_t room = OUTSTANDING * (bench->value_bytes + MESSAGE + 256);
    node->batch = calloc(1, room);
    if (node->sets < 0 || node->hears < 0 || node->batch == NULL) return false;
    char value[65537];
    memset(value, 'v', bench->value_bytes);
    for (uint32_t i = 0; node->batch_bytes == 0; i++) { /* a key of this node */
        snprintf(node->key, sizeof node->key, "{hand%u}", i);
        char *answer = sx_cluster_command(bench->cluster, index, "SET %s v", node->key);
        bool here = strcmp(answer, "OK") == 0;
        free(answer);
        if (!here) continue;
        for (int k = 0; k < OUTSTANDING; k++)
            node->batch_bytes += (size_t)snprintf(
                node->batch + node->batch_bytes, room - node->batch_bytes,
                "*5\r\n$3\r\nSET\r\n$%zu\r\n%s\r\n$%u\r\n%.*s\r\n$2\r\nPX\r\n$6\r\n300000\r\n*3\r\n$8\r\nSPUBLISH\r\n$%zu\r\n%sc\r\n$%d\r\n%.*s\r\n",
                strlen(node->key), node->key, (unsigned)bench->value_bytes, (int)bench->value_bytes, value,
                strlen(node->key) + 1, node->key, MESSAGE, MESSAGE, value);
    }
    char text[128];
    int length = snprintf(text, sizeof text, "*2\r\n$10\r\nSSUBSCRIBE\r\n$%zu\r\n%sc\r\n", strlen(node->key) + 1, node->key);
    return send_all(node->hears, text, (size_t)length) && await_lines(node->hears, 6) &&
           pthread_create(&node->drain, NULL, drain, &node->hears) == 0;
}

static void close_node(cost_node *node) {
    if (node->drain != 0) {
        (void)shutdown(node->hears, SHUT_RDWR);
        pthread_join(node->drain, NULL);
    }
    if (node->sets >= 0) close(node->sets);
    if (node->hears >= 0) close(node->hears);
    free(node->batch);
}

static double by_hand(const bench_coherence *bench, cost_node *nodes, uint32_t count) {
    double before_s = bench_coherence_server_cpu_s(bench);
    int64_t end_ns = bench_now_ns() + (int64_t)(bench->seconds * 1e9);
    uint64_t done = 0;
    for (bool good = true; good && bench_now_ns() < end_ns; done += (uint64_t)count * OUTSTANDING) {
        for (uint32_t i = 0; i < count; i++) good = good && send_all(nodes[i].sets, nodes[i].batch, nodes[i].batch_bytes);
        for (uint32_t i = 0; i < count; i++) good = good && await_lines(nodes[i].sets, 2 * OUTSTANDING);
        if (!good) return -1;
    }
    return (bench_coherence_server_cpu_s(bench) - before_s) * 1e6 / (double)done;
}

bool bench_coherence_cost(const bench_coherence *bench) {
    cost_node nodes[NODES_MAX] = {0};
    uint32_t count = sx_cluster_node_count(bench->cluster), rounds = (uint32_t)bench->rounds;
    strata *engine = bench_coherence_open(bench, NULL);
    strata_session *session = NULL;
    strata_namespace *ns = NULL;
    bool good = engine != NULL && count <= NODES_MAX && strata_session_open(engine, &session) == STRATA_OK &&
                strata_namespace_open(engine, "cost", 1, &ns) == STRATA_OK;
    for (uint32_t i = 0; good && i < count; i++) good = open_node(bench, i, &nodes[i]);
    double ours[ROUNDS_MAX], theirs[ROUNDS_MAX];
    for (uint32_t i = 0; good && i < rounds; i++) {
        ours[i] = by_engine(bench, session, ns);
        theirs[i] = by_hand(bench, nodes, count);
        good = ours[i] > 0 && theirs[i] > 0;
    }
    if (good) {
        double set = bench_median(ours, rounds), hand = bench_median(theirs, rounds);
        printf("server time per write, %u rounds of %.1f s in turns, medians: coherent set, %d outstanding in all, %.2f us; SET + "
               "SPUBLISH, %d in one piece to each server, %.2f us; x %.2f\n",
               rounds, bench->seconds, OUTSTANDING, set, OUTSTANDING, hand, set / hand);
    } else {
        fprintf(stderr, "coherence: a write failed\n");
    }
    for (uint32_t i = 0; i < count && i < NODES_MAX; i++) close_node(&nodes[i]);
    if (session != NULL) strata_session_close(session);
    if (engine != NULL) (void)strata_close(engine, 1000);
    return good;
}
