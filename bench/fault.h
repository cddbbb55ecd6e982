/* SPDX-License-Identifier: Apache-2.0 */
/* Faults of our own servers at given times of a run. */
#ifndef BENCH_FAULT_H
#define BENCH_FAULT_H

#include <stddef.h>
#include <stdint.h>

#include "bench/cluster/cluster.h"
#include "bench/options.h"

#define BENCH_EVENTS_MAX (2 * BENCH_LIST_MAX + 2) /* a restart has two */

typedef enum bench_fault_kind {
    BENCH_FAULT_KILL,     /* SIGKILL */
    BENCH_FAULT_PAUSE,    /* SIGSTOP, for as long as given */
    BENCH_FAULT_RESUME,
    BENCH_FAULT_RESTART,  /* with empty memory */
    BENCH_FAULT_FLUSH,    /* FLUSHALL */
    BENCH_FAULT_CLIENTS,  /* every client of the node is disconnected */
    BENCH_FAULT_FAILOVER, /* the node, a replica, takes over from its primary */
    BENCH_FAULT_KINDS
} bench_fault_kind;

/* One thing to do to a node. */
typedef struct bench_fault {
    bench_fault_kind kind;
    uint32_t node;
    double seconds; /* after recording began */
} bench_fault;

typedef struct bench_event {
    double seconds;
    char text[48];
} bench_event;

/* owner: one thread. */
typedef struct bench_faults {
    bench_fault list[BENCH_EVENTS_MAX]; /* by time */
    uint32_t count, next;
    bench_event events[BENCH_EVENTS_MAX]; /* what was done, and when */
    uint32_t event_count;
} bench_faults;

#define BENCH_FAULT_FORM "KIND:NODE@SECONDS[+SECONDS]"

/* Parses texts such as "kill:0@10" or "pause:2@5+1.5"; 0, or -1 with a text. nodes: how many there are. */
int bench_faults_parse(bench_faults *faults, const bench_list *texts, uint32_t nodes, char *error, size_t error_size);
/* Notes that something happened, for reports. */
void bench_faults_note(bench_faults *faults, double seconds, const char *text);
/* Does what is due, seconds after recording began. By the thread that started the servers. */
void bench_faults_run(bench_faults *faults, sx_cluster *cluster, double seconds);

#endif
