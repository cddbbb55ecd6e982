/* SPDX-License-Identifier: Apache-2.0 */
/* Starts private servers, forms a cluster of them, breaks them as told, and removes every trace. */
#include "bench/cluster/cluster.h"

#include <errno.h>
#include <ftw.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "bench/cluster/certs.h"
#include "bench/cluster/process.h"
#include "bench/cluster/wire.h"

enum { SLOTS = 16384, START_MS = 20000, FORM_MS = 30000, COMMAND_MS = 5000, ATTEMPTS = 6, BUS = 10000 };

typedef struct node {
    uint16_t port, announced, announced_bus; /* announced: 0 where they are the same */
    uint16_t tls_port;                       /* 0 without TLS */
    int port_lock, tls_port_lock;
    pid_t pid;
    bool with_debug; /* the server knows --enable-debug-command */
    char id[41];
    char directory[256];
    char log[300];
} node;

struct sx_cluster {
    sx_cluster_options options;
    char *password;
    char **extra;
    uint32_t count;
    char directory[200];
    char seeds[SX_CLUSTER_NODES_MAX * 24];
    node nodes[SX_CLUSTER_NODES_MAX];
};

/* Where clients that are measured or tested come in, and the bus: TLS where there is TLS. */
static uint16_t client_port(const node *n) { return n->tls_port != 0 ? n->tls_port : n->port; }

static int64_t now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void sleep_ms(long ms) {
    struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = (ms % 1000) * 1000000};
    nanosleep(&t, NULL);
}

static bool begins(const char *text, const char *with) { return strncmp(text, with, strlen(with)) == 0; }

/* ---- commands ---- */

char *sx_cluster_command_argv(sx_cluster *cluster, uint32_t index, size_t argc, const char *const *argv) {
    return sx_wire_call(cluster->nodes[index].port, cluster->password, COMMAND_MS, argc, argv);
}

static char *call_line(sx_cluster *cluster, uint32_t index, char *line) {
    const char **argv = malloc((strlen(line) / 2 + 1) * sizeof *argv); /* a word and the space behind it are two bytes */
    if (argv == NULL) abort();
    size_t argc = 0;
    char *rest = NULL;
    for (char *word = strtok_r(line, " ", &rest); word != NULL; word = strtok_r(NULL, " ", &rest)) argv[argc++] = word;
    char *answer = sx_cluster_command_argv(cluster, index, argc, argv);
    free(argv);
    return answer;
}

char *sx_cluster_command(sx_cluster *cluster, uint32_t index, const char *format, ...) {
    char *line = NULL;
    va_list arguments;
    va_start(arguments, format);
    int size = vasprintf(&line, format, arguments);
    va_end(arguments);
    if (size < 0) abort();
    char *answer = call_line(cluster, index, line);
    free(line);
    return answer;
}

bool sx_cluster_answers(sx_cluster *cluster, uint32_t index, const char *expected, const char *command) {
    char *answer = sx_cluster_command(cluster, index, "%s", command);
    bool same = strcmp(answer, expected) == 0;
    free(answer);
    return same;
}

/* Whether the answer holds a text. */
static bool answer_has(sx_cluster *cluster, uint32_t index, const char *command, const char *text) {
    char *answer = sx_cluster_command(cluster, index, "%s", command);
    bool found = answer[0] != '-' && strstr(answer, text) != NULL;
    free(answer);
    return found;
}

/* ---- one server ---- */

static pid_t spawn_node(sx_cluster *cluster, uint32_t index) {
    node *n = &cluster->nodes[index];
    const char *name = NULL;
    const char *path = sx_process_binary(&name);
    char port[8], announced[8], announced_bus[8], timeout[16];
    snprintf(port, sizeof port, "%u", n->port);
    snprintf(announced, sizeof announced, "%u", n->announced);
    snprintf(announced_bus, sizeof announced_bus, "%u", n->announced_bus);
    snprintf(timeout, sizeof timeout, "%u", cluster->options.node_timeout_ms);
    const char *args[SX_PROCESS_ARGS_MAX + 1] = {
        name, "--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--daemonize", "no",
        "--dir", n->directory, "--repl-diskless-sync", "yes", "--repl-diskless-sync-delay", "0",
        "--protected-mode", "no"};
    size_t argc = 19;
    if (n->with_debug) {
        args[argc++] = "--enable-debug-command";
        args[argc++] = "yes";
    }
    if (cluster->options.primaries > 0) {
        const char *more[] = {"--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf",
                              "--cluster-node-timeout", timeout};
        for (size_t i = 0; i < sizeof more / sizeof more[0]; i++) args[argc++] = more[i];
    }
    if (n->announced != 0) {
        const char *more[] = {"--cluster-announce-port", announced, "--cluster-announce-bus-port", announced_bus};
        for (size_t i = 0; i < sizeof more / sizeof more[0]; i++) args[argc++] = more[i];
    }
    char tls_port[8], ca[300], crt[300], key[300];
    if (cluster->options.tls) {
        snprintf(tls_port, sizeof tls_port, "%u", n->tls_port);
        snprintf(ca, sizeof ca, "%s/ca.crt", cluster->directory);
        snprintf(crt, sizeof crt, "%s/server.crt", cluster->directory);
        snprintf(key, sizeof key, "%s/server.key", cluster->directory);
        const char *more[] = {"--tls-port", tls_port, "--tls-ca-cert-file", ca, "--tls-cert-file", crt, "--tls-key-file", key,
                              "--tls-cluster", "yes", "--tls-replication", "yes"};
        for (size_t i = 0; i < sizeof more / sizeof more[0]; i++) args[argc++] = more[i];
    }
    if (cluster->password[0] != '\0') {
        const char *more[] = {"--requirepass", cluster->password, "--masterauth", cluster->password};
        for (size_t i = 0; i < sizeof more / sizeof more[0]; i++) args[argc++] = more[i];
    }
    for (char **extra = cluster->extra; *extra != NULL; extra++) {
        if (argc == SX_PROCESS_ARGS_MAX) abort(); /* rather than a server without some of its options */
        args[argc++] = *extra;
    }
    args[argc] = NULL;
    return sx_process_spawn(path, args, n->log);
}

/* Waits until the child that we started, and no other server on that port, answers. */
static bool wait_ready(sx_cluster *cluster, uint32_t index) {
    node *n = &cluster->nodes[index];
    char mine[48];
    snprintf(mine, sizeof mine, "process_id:%ld\r\n", (long)n->pid);
    int64_t until = now_ms() + START_MS;
    while (now_ms() < until) {
        if (sx_process_has_ended(n->pid)) {
            n->pid = 0;
            return false;
        }
        if (answer_has(cluster, index, "INFO server", mine) && answer_has(cluster, index, "PING", "PONG")) return true;
        sleep_ms(10);
    }
    return false;
}

static void close_locks(node *n) {
    if (n->port_lock >= 0) close(n->port_lock);
    if (n->tls_port_lock >= 0) close(n->tls_port_lock);
    n->port_lock = n->tls_port_lock = -1;
}

static int start_node(sx_cluster *cluster, uint32_t index) {
    node *n = &cluster->nodes[index];
    for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
        n->with_debug = attempt < ATTEMPTS / 2; /* servers before 7.0 don't know the argument */
        n->port_lock = sx_process_port_reserve(&n->port);
        if (cluster->options.tls) n->tls_port_lock = sx_process_port_reserve(&n->tls_port);
        if (n->port_lock < 0 || (cluster->options.tls && n->tls_port_lock < 0)) return -1;
        n->pid = spawn_node(cluster, index);
        if (n->pid > 0 && wait_ready(cluster, index)) return 0;
        sx_process_end(n->pid);
        n->pid = 0;
        close_locks(n);
    }
    return -1;
}

/* ---- forming the cluster ---- */

static bool expect_ok(sx_cluster *cluster, uint32_t index, const char *command, char *error, size_t size) {
    char *answer = sx_cluster_command(cluster, index, "%s", command);
    bool ok = strcmp(answer, "OK") == 0;
    if (!ok) snprintf(error, size, "node %u: %s: %s", index, command, answer);
    free(answer);
    return ok;
}

static bool all_nodes(sx_cluster *cluster, const char *command, const char *text, uint32_t from, uint32_t timeout_ms) {
    int64_t until = now_ms() + timeout_ms;
    for (uint32_t i = from; i < cluster->count; i++) {
        if (cluster->nodes[i].pid == 0) continue;
        while (!answer_has(cluster, i, command, text)) {
            if (now_ms() > until) return false;
            sleep_ms(20);
        }
    }
    return true;
}

static bool form_primaries(sx_cluster *cluster, char *error, size_t size) {
    char line[128];
    for (uint32_t i = 0; i < cluster->count; i++) {
        char *id = sx_cluster_command(cluster, i, "CLUSTER MYID");
        snprintf(cluster->nodes[i].id, sizeof cluster->nodes[i].id, "%.40s", id);
        free(id);
        snprintf(line, sizeof line, "CLUSTER SET-CONFIG-EPOCH %u", i + 1);
        if (!expect_ok(cluster, i, line, error, size)) return false;
        uint32_t primaries = cluster->options.primaries;
        if (i >= primaries) continue;
        snprintf(line, sizeof line, "CLUSTER ADDSLOTSRANGE %u %u", i * SLOTS / primaries,
                 (i + 1) * SLOTS / primaries - 1);
        if (!expect_ok(cluster, i, line, error, size)) return false;
    }
    for (uint32_t i = 1; i < cluster->count; i++) {
        snprintf(line, sizeof line, "CLUSTER MEET 127.0.0.1 %u", client_port(&cluster->nodes[i]));
        if (!expect_ok(cluster, 0, line, error, size)) return false;
    }
    snprintf(line, sizeof line, "cluster_known_nodes:%u\r\n", cluster->count);
    if (all_nodes(cluster, "CLUSTER INFO", line, 0, FORM_MS)) return true;
    snprintf(error, size, "the nodes did not meet within %d ms", FORM_MS);
    return false;
}

/* How many replicas a node has heard of. */
static uint32_t replicas_known(sx_cluster *cluster, uint32_t index) {
    char *nodes = sx_cluster_command(cluster, index, "CLUSTER NODES");
    uint32_t count = 0;
    for (const char *at = nodes; (at = strstr(at, "slave ")) != NULL; at++) count++;
    free(nodes);
    return count;
}

static bool form_replicas(sx_cluster *cluster, char *error, size_t size) {
    char line[128];
    for (uint32_t i = cluster->options.primaries; i < cluster->count; i++) {
        uint32_t primary = (i - cluster->options.primaries) / cluster->options.replicas;
        snprintf(line, sizeof line, "CLUSTER REPLICATE %s", cluster->nodes[primary].id);
        int64_t until = now_ms() + FORM_MS;
        while (!expect_ok(cluster, i, line, error, size)) {
            if (now_ms() > until) return false;
            sleep_ms(20);
        }
    }
    if (!all_nodes(cluster, "INFO replication", "master_link_status:up", cluster->options.primaries, FORM_MS)) {
        snprintf(error, size, "the replicas were not in sync within %d ms", FORM_MS);
        return false;
    }
    int64_t until = now_ms() + FORM_MS; /* replication is known at once, roles by gossip */
    for (uint32_t i = 0; i < cluster->count; i++) {
        while (replicas_known(cluster, i) < cluster->count - cluster->options.primaries) {
            if (now_ms() > until) {
                snprintf(error, size, "node %u did not hear of the replicas within %d ms", i, FORM_MS);
                return false;
            }
            sleep_ms(20);
        }
    }
    return true;
}

int sx_cluster_wait_ok(sx_cluster *cluster, uint32_t timeout_ms) {
    if (cluster->options.primaries == 0) return 0;
    return all_nodes(cluster, "CLUSTER INFO", "cluster_state:ok", 0, timeout_ms) ? 0 : -1;
}

static bool form(sx_cluster *cluster, char *error, size_t size) {
    if (!form_primaries(cluster, error, size)) return false;
    if (cluster->options.replicas > 0 && !form_replicas(cluster, error, size)) return false;
    if (sx_cluster_wait_ok(cluster, FORM_MS) == 0) return true;
    snprintf(error, size, "the cluster was not ok within %d ms", FORM_MS);
    return false;
}

/* ---- life ---- */

static bool copy_options(sx_cluster *cluster, const sx_cluster_options *options) {
    cluster->options = *options;
    if (options->node_timeout_ms == 0) cluster->options.node_timeout_ms = 1500;
    cluster->password = strdup(options->password == NULL ? "" : options->password);
    size_t count = 0;
    while (options->extra != NULL && options->extra[count] != NULL) count++;
    cluster->extra = calloc(count + 1, sizeof *cluster->extra);
    if (cluster->password == NULL || cluster->extra == NULL) return false;
    for (size_t i = 0; i < count; i++) {
        cluster->extra[i] = strdup(options->extra[i]);
        if (cluster->extra[i] == NULL) return false;
    }
    cluster->options.extra = NULL;
    cluster->options.password = NULL;
    return true;
}

static bool make_directories(sx_cluster *cluster) {
    const char *base = getenv("TMPDIR");
    snprintf(cluster->directory, sizeof cluster->directory, "%.150s/strata-redis-XXXXXX",
             base == NULL || base[0] == '\0' ? "/tmp" : base);
    if (mkdtemp(cluster->directory) == NULL) {
        cluster->directory[0] = '\0';
        return false;
    }
    for (uint32_t i = 0; i < cluster->count; i++) {
        node *n = &cluster->nodes[i];
        snprintf(n->directory, sizeof n->directory, "%s/%u", cluster->directory, i);
        snprintf(n->log, sizeof n->log, "%.200s/%u/log", cluster->directory, i);
        if (mkdir(n->directory, 0700) != 0) return false;
    }
    return true;
}

static bool make_certificates(const sx_cluster *cluster) {
    return sx_certs_authority(cluster->directory, "ca") == 0 &&
           sx_certs_issue(cluster->directory, "ca", "server", "IP:127.0.0.1,IP:::1,DNS:localhost", 1) == 0;
}

static int remove_entry(const char *path, const struct stat *status, int kind, struct FTW *walk) {
    (void)status;
    (void)kind;
    (void)walk;
    return remove(path);
}

void sx_cluster_stop(sx_cluster *cluster) {
    if (cluster == NULL) return;
    for (uint32_t i = 0; i < cluster->count; i++) {
        sx_process_end(cluster->nodes[i].pid);
        close_locks(&cluster->nodes[i]);
    }
    if (cluster->directory[0] != '\0') nftw(cluster->directory, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
    for (char **extra = cluster->extra; extra != NULL && *extra != NULL; extra++) free(*extra);
    free(cluster->extra);
    free(cluster->password);
    free(cluster);
}

static bool start_all(sx_cluster *cluster, char *error, size_t size) {
    if (!make_directories(cluster)) {
        snprintf(error, size, "no temporary directory: %s", strerror(errno));
        return false;
    }
    if (cluster->options.tls && !make_certificates(cluster)) {
        snprintf(error, size, "no certificates: this build has no OpenSSL, or can't write them");
        return false;
    }
    size_t used = 0;
    for (uint32_t i = 0; i < cluster->count; i++) {
        if (start_node(cluster, i) != 0) {
            snprintf(error, size, "server %u did not start", i);
            return false;
        }
        used += (size_t)snprintf(cluster->seeds + used, sizeof cluster->seeds - used, "%s127.0.0.1:%u",
                                 i == 0 ? "" : ",", client_port(&cluster->nodes[i]));
    }
    return cluster->options.primaries == 0 || form(cluster, error, size);
}

bool sx_cluster_available(void) {
    const char *name;
    return sx_process_binary(&name) != NULL;
}

int sx_cluster_start(const sx_cluster_options *options, sx_cluster **out, char *error, size_t error_size) {
    uint32_t count = options->primaries == 0 ? 1 : options->primaries * (1 + options->replicas);
    if (count > SX_CLUSTER_NODES_MAX || !sx_cluster_available()) {
        snprintf(error, error_size, count > SX_CLUSTER_NODES_MAX ? "too many nodes" : "no redis-server binary found");
        return -1;
    }
    sx_cluster *cluster = calloc(1, sizeof *cluster);
    if (cluster == NULL) return -1;
    cluster->count = count;
    for (uint32_t i = 0; i < count; i++) cluster->nodes[i].port_lock = cluster->nodes[i].tls_port_lock = -1;
    if (!copy_options(cluster, options) || !start_all(cluster, error, error_size)) {
        sx_cluster_stop(cluster);
        return -1;
    }
    *out = cluster;
    return 0;
}

/* ---- questions ---- */

uint32_t sx_cluster_node_count(const sx_cluster *cluster) { return cluster->count; }
uint16_t sx_cluster_port(const sx_cluster *cluster, uint32_t index) { return cluster->nodes[index].port; }
uint16_t sx_cluster_tls_port(const sx_cluster *cluster, uint32_t index) { return cluster->nodes[index].tls_port; }
const char *sx_cluster_certs(const sx_cluster *cluster) { return cluster->directory; }
pid_t sx_cluster_pid(const sx_cluster *cluster, uint32_t index) { return cluster->nodes[index].pid; }
const char *sx_cluster_node_id(const sx_cluster *cluster, uint32_t index) { return cluster->nodes[index].id; }
const char *sx_cluster_log_path(const sx_cluster *cluster, uint32_t index) { return cluster->nodes[index].log; }
const char *sx_cluster_seeds(const sx_cluster *cluster) { return cluster->seeds; }

/* ---- faults ---- */

uint16_t sx_cluster_bus_port(const sx_cluster *cluster, uint32_t index) { return (uint16_t)(cluster->nodes[index].port + BUS); }

int sx_cluster_announce(sx_cluster *cluster, uint32_t index, uint16_t port, uint16_t bus_port) {
    char line[96], error[256];
    snprintf(line, sizeof line, "CONFIG SET cluster-announce-port %u cluster-announce-bus-port %u", port, bus_port);
    cluster->nodes[index].announced = port;
    cluster->nodes[index].announced_bus = bus_port;
    return expect_ok(cluster, index, line, error, sizeof error) ? 0 : -1;
}

int sx_cluster_kill(sx_cluster *cluster, uint32_t index) {
    if (cluster->nodes[index].pid == 0) return -1;
    sx_process_end(cluster->nodes[index].pid);
    cluster->nodes[index].pid = 0;
    return 0;
}

int sx_cluster_pause(sx_cluster *cluster, uint32_t index) {
    return cluster->nodes[index].pid > 0 ? kill(cluster->nodes[index].pid, SIGSTOP) : -1;
}

int sx_cluster_resume(sx_cluster *cluster, uint32_t index) {
    return cluster->nodes[index].pid > 0 ? kill(cluster->nodes[index].pid, SIGCONT) : -1;
}

int sx_cluster_restart(sx_cluster *cluster, uint32_t index) {
    char dump[300];
    sx_cluster_kill(cluster, index);
    /* What a replica was sent when it synchronised would be loaded again. */
    snprintf(dump, sizeof dump, "%.255s/dump.rdb", cluster->nodes[index].directory);
    unlink(dump);
    cluster->nodes[index].pid = spawn_node(cluster, index);
    return cluster->nodes[index].pid > 0 && wait_ready(cluster, index) ? 0 : -1;
}

/* ---- slots ---- */

/* Whether a node's own line of CLUSTER NODES says that it is a primary which owns slot. */
static bool owns(const char *nodes, uint16_t slot) {
    const char *self = strstr(nodes, "myself,master");
    if (self == NULL) return false;
    const char *at = self;
    for (int fields = 0; fields < 6 && at != NULL; fields++) at = strpbrk(at + 1, " \n");
    while (at != NULL && *at == ' ') {
        char *end;
        long first = strtol(at + 1, &end, 10);
        long last = *end == '-' ? strtol(end + 1, &end, 10) : first;
        if (first <= slot && slot <= last) return true;
        at = *end == ' ' ? end : NULL;
    }
    return false;
}

int sx_cluster_owner(sx_cluster *cluster, uint16_t slot) {
    for (uint32_t i = 0; i < cluster->count; i++) {
        if (cluster->nodes[i].pid == 0) continue;
        char *nodes = sx_cluster_command(cluster, i, "CLUSTER NODES");
        bool found = begins(nodes, "-") ? false : owns(nodes, slot);
        free(nodes);
        if (found) return (int)i;
    }
    return -1;
}

int sx_cluster_slot_give(sx_cluster *cluster, uint16_t slot, uint32_t to) {
    char line[128], error[256];
    snprintf(line, sizeof line, "CLUSTER SETSLOT %u NODE %s", slot, cluster->nodes[to].id);
    int from = sx_cluster_owner(cluster, slot);
    /* The new owner first, so that it takes a newer epoch before anybody contradicts; then the old one and the rest. */
    if (!expect_ok(cluster, to, line, error, sizeof error)) return -1;
    if (from >= 0 && (uint32_t)from != to && !expect_ok(cluster, (uint32_t)from, line, error, sizeof error)) return -1;
    for (uint32_t i = 0; i < cluster->options.primaries; i++) {
        if (cluster->nodes[i].pid > 0 && i != to) expect_ok(cluster, i, line, error, sizeof error);
    }
    return 0;
}

int sx_cluster_slot_migrating(sx_cluster *cluster, uint16_t slot, uint32_t to) {
    char line[128], error[256];
    int from = sx_cluster_owner(cluster, slot);
    if (from < 0) return -1;
    snprintf(line, sizeof line, "CLUSTER SETSLOT %u IMPORTING %s", slot, cluster->nodes[from].id);
    if (!expect_ok(cluster, to, line, error, sizeof error)) return -1;
    snprintf(line, sizeof line, "CLUSTER SETSLOT %u MIGRATING %s", slot, cluster->nodes[to].id);
    return expect_ok(cluster, (uint32_t)from, line, error, sizeof error) ? 0 : -1;
}
