/* SPDX-License-Identifier: Apache-2.0 */
/* A proxy between clients and servers that misbehaves as told: one port for each server, one thread for all of them.

   Servers announce the proxy's ports, or clients translate (l2.nat), so that they come by here whatever map they read. Replication goes the same way, but is
   told from clients by its first bytes, and suffers from nothing but PROXY_LAG. What is told by its first bytes to be of the
   cluster's bus is bytes only: no message of it is looked for. */
#ifndef SX_TESTS_SUPPORT_PROXY_H
#define SX_TESTS_SUPPORT_PROXY_H

#include <stdbool.h>
#include <stdint.h>

typedef enum proxy_fault_kind {
    PROXY_GOOD,
    PROXY_DELAY, /* each byte arrives later */
    PROXY_STALL, /* nothing goes on in one direction or both; afterwards it does, also from clients that have left */
    PROXY_LATE,  /* clients are cut off, but what they had sent arrives, later */
    PROXY_LAG,   /* replicas hear nothing, and catch up afterwards */
    PROXY_DROP,  /* what is sent is swallowed, both ends believe to be connected; closed when the fault is over */
    PROXY_CUT,   /* the next reply is sent in part, then the connection is reset */
    PROXY_LOSE   /* single messages of channels vanish without a trace */
} proxy_fault_kind;

/* Whose connections: a client subscribes over one of its own. */
typedef enum proxy_whose { PROXY_ALL, PROXY_SUBSCRIPTIONS, PROXY_DATA } proxy_whose;

typedef struct proxy_fault {
    proxy_fault_kind kind;
    int64_t until_ns;    /* CLOCK_MONOTONIC */
    uint32_t delay_ms;   /* DELAY */
    uint32_t percent;    /* of connections; LOSE: of messages */
    bool to_server, to_client; /* STALL and DROP: which directions */
    proxy_whose whose;
    uint64_t seed;
} proxy_fault;

typedef struct proxy proxy;

/* Listens on one free port of 127.0.0.1 for each server port, and starts the thread. NULL on failure. */
proxy *proxy_start(const uint16_t *server_ports, uint32_t count);
void proxy_stop(proxy *p);
uint16_t proxy_port(const proxy *p, uint32_t server);
/* The fault of one server from now on, instead of what it had. */
void proxy_set(proxy *p, uint32_t server, const proxy_fault *fault);
/* Waits until the proxy does what it was told. */
void proxy_settle(const proxy *p);
/* Messages lost, connections cut or dropped so far. */
uint64_t proxy_harm(const proxy *p);

#endif
