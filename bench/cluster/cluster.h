/* SPDX-License-Identifier: Apache-2.0 */
/* Private Redis servers for benchmarks and tests: one standalone server, or a cluster formed here, on loopback, gone
   with the process that started them.

   The binary is STRATA_TEST_SERVER, else redis-server from PATH, else redis-check-rdb (the same binary) run under the
   name redis-server. Nothing is installed, no service is touched. Ports are taken from 20000..22765 (and +10000 for the
   cluster's bus), data lives in a directory of its own below TMPDIR.

   One thread at a time per object. The thread that starts the servers must live as long as they shall: the kernel kills
   them when it ends. */
#ifndef SX_BENCH_CLUSTER_CLUSTER_H
#define SX_BENCH_CLUSTER_CLUSTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <sys/types.h>

#define SX_CLUSTER_NODES_MAX 64

typedef struct sx_cluster_options {
    uint32_t primaries;       /* 0: one standalone server */
    uint32_t replicas;        /* of each primary */
    uint32_t node_timeout_ms; /* 0: 1500 */
    const char *password;     /* NULL or "": none */
    bool tls;                 /* clients, replication and bus under TLS, on ports of their own; client certificates are wanted */
    const char *const *extra; /* more arguments of each server, NULL-terminated: "--maxmemory", "20mb"; may be NULL */
} sx_cluster_options;

typedef struct sx_cluster sx_cluster;

/* Whether a server binary was found: tests skip where there is none. */
bool sx_cluster_available(void);

/* Nodes 0 .. primaries-1 are the primaries, with equal ranges of slots; node primaries + p * replicas + r is a replica of
   p. Returns when every node calls the cluster ok and replicas are in sync. 0, or -1 with a text in error. */
int sx_cluster_start(const sx_cluster_options *options, sx_cluster **out, char *error, size_t error_size);
/* Kills the servers and removes their directory. NULL is nothing to do. */
void sx_cluster_stop(sx_cluster *cluster);

uint32_t sx_cluster_node_count(const sx_cluster *cluster);
uint16_t sx_cluster_port(const sx_cluster *cluster, uint32_t node);
pid_t sx_cluster_pid(const sx_cluster *cluster, uint32_t node); /* 0 while killed */
const char *sx_cluster_node_id(const sx_cluster *cluster, uint32_t node); /* "" in standalone */
const char *sx_cluster_log_path(const sx_cluster *cluster, uint32_t node);
/* With tls: the port for it. The other one speaks plainly, for sx_cluster_command. */
uint16_t sx_cluster_tls_port(const sx_cluster *cluster, uint32_t node);
/* With tls: where ca.crt and ca.key are, and server.crt and server.key for 127.0.0.1 and localhost; for a client too. */
const char *sx_cluster_certs(const sx_cluster *cluster);
/* "127.0.0.1:20000,127.0.0.1:20001,...", the ports for TLS where there are such */
const char *sx_cluster_seeds(const sx_cluster *cluster);

/* Has a node announce other ports than its own, now and after a restart: a proxy's, for clients and for the other nodes.
   0 or -1. */
int sx_cluster_announce(sx_cluster *cluster, uint32_t node, uint16_t port, uint16_t bus_port);
uint16_t sx_cluster_bus_port(const sx_cluster *cluster, uint32_t node);

/* Faults. 0 or -1. */
int sx_cluster_kill(sx_cluster *cluster, uint32_t node);    /* SIGKILL, and waits for its end */
int sx_cluster_pause(sx_cluster *cluster, uint32_t node);   /* SIGSTOP */
int sx_cluster_resume(sx_cluster *cluster, uint32_t node);  /* SIGCONT */
int sx_cluster_restart(sx_cluster *cluster, uint32_t node); /* kills where it still runs; same port, empty memory */

/* One command on a connection of its own, at most 5 s. Returns a text to be freed: errors begin with '-', an absent value
   is "(nil)", elements of an aggregate are separated by newlines. A failure of the connection is "-IO ...". */
char *sx_cluster_command(sx_cluster *cluster, uint32_t node, const char *format, ...)
    __attribute__((format(printf, 3, 4))); /* words are separated by spaces */
char *sx_cluster_command_argv(sx_cluster *cluster, uint32_t node, size_t argc, const char *const *argv);
/* As command, whether the answer is expected exactly. */
bool sx_cluster_answers(sx_cluster *cluster, uint32_t node, const char *expected, const char *command);

/* The node that says of itself that it is a primary owning slot, or -1. */
int sx_cluster_owner(sx_cluster *cluster, uint16_t slot);
/* Gives an empty slot to another primary at once and tells every node. 0 or -1. */
int sx_cluster_slot_give(sx_cluster *cluster, uint16_t slot, uint32_t to);
/* Puts a slot into migration: keys absent at the owner are answered with ASK. 0 or -1. */
int sx_cluster_slot_migrating(sx_cluster *cluster, uint16_t slot, uint32_t to);
/* Waits until every running node calls the cluster ok. 0 or -1. */
int sx_cluster_wait_ok(sx_cluster *cluster, uint32_t timeout_ms);

#endif
