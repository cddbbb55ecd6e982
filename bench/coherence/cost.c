/* SPDX-License-Identifier: Apache-2.0 */
/* What a coherent set costs the servers, beside SET and SPUBLISH to one subscriber, sent by hand, in rounds that take turns.
   Both sides have as many writes outstanding, and send what is free to go as one piece to each server. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "bench/coherence/coherence.h"
#include "bench/median.h"
#include "bench/random.h"
#include "bench/run.h"

#define KEYS        1024
#define KEY_BYTES   24
#define PARTITIONS  256 /* the engine's default */
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

/* What is written: keys of all partitions, or of a single one. */
typedef struct cost_case {
    const char *name;
    bool one_partition;
    char keys[KEYS][KEY_BYTES];
} cost_case;

static void find_keys(cost_case *what) {
    uint32_t found = 0;
    for (uint64_t i = 0; found < KEYS; i++) {
        int length = snprintf(what->keys[found], KEY_BYTES, "key:%llu", (unsigned long long)i);
        if (!what->one_partition || XXH3_64bits(what->keys[found], (size_t)length) % PARTITIONS == 0) found++;
    }
}

/* Sets for so long, so many outstanding. Server time per set in us; negative where one failed. */
static double by_engine(const bench_coherence *bench, strata_session *session, strata_namespace *ns, const cost_case *what) {
    cost_engine count = {0};
    strata_op_options how = {.struct_size = sizeof how, .deadline_ms = 5000};
    char *value = calloc(1, bench->value_bytes);
    double before_s = bench_coherence_server_cpu_s(bench);
    int64_t end_ns = bench_now_ns() + (int64_t)(bench->seconds * 1e9);
    uint64_t sent = 0;
    while (value != NULL && (bench_now_ns() < end_ns || sent > count.done + count.failed)) {
        while (bench_now_ns() < end_ns && sent - count.done - count.failed < bench->outstanding) {
            const char *key = what->keys[sent % KEYS];
            int32_t status = strata_set(session, ns, (strata_bytes){key, strlen(key)},
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
    char *batch;     /* as many pairs as may be outstanding */
    size_t pair_bytes;
    uint32_t to_send, lines;
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
    size_t room = bench->outstanding * (bench->value_bytes + MESSAGE + 256);
    node->batch = calloc(1, room);
    if (node->sets < 0 || node->hears < 0 || node->batch == NULL) return false;
    char value[65537];
    memset(value, 'v', bench->value_bytes);
    for (uint32_t i = 0; node->pair_bytes == 0; i++) { /* a key of this node */
        snprintf(node->key, sizeof node->key, "{hand%u}", i);
        char *answer = sx_cluster_command(bench->cluster, index, "SET %s v", node->key);
        bool here = strcmp(answer, "OK") == 0;
        free(answer);
        if (!here) continue;
        node->pair_bytes = (size_t)snprintf(
            node->batch, room,
            "*5\r\n$3\r\nSET\r\n$%zu\r\n%s\r\n$%u\r\n%.*s\r\n$2\r\nPX\r\n$6\r\n300000\r\n*3\r\n$8\r\nSPUBLISH\r\n$%zu\r\n%sc\r\n$%d\r\n%.*s\r\n",
            strlen(node->key), node->key, (unsigned)bench->value_bytes, (int)bench->value_bytes, value,
            strlen(node->key) + 1, node->key, MESSAGE, MESSAGE, value);
        for (uint64_t k = 1; k < bench->outstanding; k++)
            memcpy(node->batch + k * node->pair_bytes, node->batch, node->pair_bytes);
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

/* Takes what has come. Pairs that are answered; negative where one failed. */
static int32_t take(cost_node *node) {
    char bytes[16384];
    ssize_t got = recv(node->sets, bytes, sizeof bytes, 0);
    if (got <= 0) return -1;
    for (ssize_t i = 0; i < got; i++) {
        if (bytes[i] == '-') return -1;
        node->lines += bytes[i] == '\n';
    }
    int32_t pairs = (int32_t)(node->lines / 2);
    node->lines %= 2;
    return pairs;
}

/* As the engine does: who is free goes to the node of its key, and each node gets all of its own in one piece. */
static double by_hand(const bench_coherence *bench, cost_node *nodes, uint32_t count) {
    bench_random random;
    bench_random_init(&random, 1, 0);
    double before_s = bench_coherence_server_cpu_s(bench);
    int64_t end_ns = bench_now_ns() + (int64_t)(bench->seconds * 1e9);
    uint64_t done = 0, outstanding = 0;
    while (outstanding > 0 || bench_now_ns() < end_ns) {
        struct pollfd polled[NODES_MAX];
        for (; bench_now_ns() < end_ns && outstanding < bench->outstanding; outstanding++)
            nodes[bench_random_below(&random, count)].to_send++;
        for (uint32_t i = 0; i < count; i++) {
            if (!send_all(nodes[i].sets, nodes[i].batch, nodes[i].to_send * nodes[i].pair_bytes)) return -1;
            nodes[i].to_send = 0;
            polled[i] = (struct pollfd){.fd = nodes[i].sets, .events = POLLIN};
        }
        if (outstanding > 0 && poll(polled, count, 5000) <= 0) return -1;
        for (uint32_t i = 0; i < count; i++) {
            int32_t pairs = polled[i].revents == 0 ? 0 : take(&nodes[i]);
            if (pairs < 0) return -1;
            done += (uint64_t)pairs;
            outstanding -= (uint64_t)pairs;
        }
    }
    return (bench_coherence_server_cpu_s(bench) - before_s) * 1e6 / (double)done;
}

static bool measure(const bench_coherence *bench, strata_session *session, strata_namespace *ns, cost_case *what,
                    cost_node *nodes, uint32_t count) {
    double ours[ROUNDS_MAX], theirs[ROUNDS_MAX];
    uint32_t rounds = (uint32_t)bench->rounds;
    find_keys(what);
    for (uint32_t i = 0; i < rounds; i++) {
        ours[i] = by_engine(bench, session, ns, what);
        theirs[i] = by_hand(bench, nodes, what->one_partition ? 1 : count);
        if (ours[i] <= 0 || theirs[i] <= 0) return false;
    }
    char name[64];
    snprintf(name, sizeof name, "server time of a write, %s", what->name);
    const bench_result_column columns[] = {{"coherent_set_us", ours}, {"set_spublish_us", theirs}};
    bench_coherence_case(bench, name, columns, 2, rounds);
    double set = bench_median(ours, rounds), hand = bench_median(theirs, rounds);
    printf("server time per write, %u rounds of %.1f s in turns, medians, %llu outstanding, %s: coherent set %.2f us; SET + SPUBLISH "
           "%.2f us; x %.2f\n",
           rounds, bench->seconds, (unsigned long long)bench->outstanding, what->name, set, hand, set / hand);
    return true;
}

bool bench_coherence_cost(const bench_coherence *bench) {
    cost_node nodes[NODES_MAX] = {0};
    uint32_t count = sx_cluster_node_count(bench->cluster);
    static cost_case cases[] = {{.name = "all partitions"}, {.name = "one partition", .one_partition = true}};
    strata *engine = bench_coherence_open(bench, NULL);
    strata_session *session = NULL;
    strata_namespace *ns = NULL;
    bool good = engine != NULL && count <= NODES_MAX && strata_session_open(engine, &session) == STRATA_OK &&
                strata_namespace_open(engine, "cost", 1, &ns) == STRATA_OK;
    for (uint32_t i = 0; good && i < count; i++) good = open_node(bench, i, &nodes[i]);
    for (uint32_t i = 0; good && i < sizeof cases / sizeof cases[0]; i++)
        good = measure(bench, session, ns, &cases[i], nodes, count);
    if (!good) fprintf(stderr, "coherence: a write failed\n");
    for (uint32_t i = 0; i < count && i < NODES_MAX; i++) close_node(&nodes[i]);
    if (session != NULL) strata_session_close(session);
    if (engine != NULL) (void)strata_close(engine, 1000);
    return good;
}
