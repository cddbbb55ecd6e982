/* SPDX-License-Identifier: Apache-2.0 */
/* strata-bench scale: what a fleet costs, measured small and fitted. */
#ifndef BENCH_SCALE_H
#define BENCH_SCALE_H

#include <stddef.h>

/* y = base + slope * x, by least squares. */
typedef struct bench_fit {
    double base, slope;
} bench_fit;
bench_fit bench_fit_line(const double *x, const double *y, size_t count);

/* What was fitted; microseconds of one core. Partitions are those of one node. */
typedef struct bench_scale_model {
    bench_fit idle_server_us;  /* a second, of a node for one process that does nothing; x: partitions */
    bench_fit idle_process_us; /* a second, of a process for one node; x: partitions */
    bench_fit memory_bytes;    /* of a node for one process; x: partitions */
    bench_fit write_us;        /* of a node for one write; x: processes that hear of it */
    double message_us;         /* of a process for one message */
    double partitions;         /* of all nodes */
} bench_scale_model;

/* What the model says of a fleet. Shares are of one core. */
typedef struct bench_scale_prediction {
    double node_idle_share, process_idle_share; /* heartbeats alone */
    double node_memory_bytes;                   /* for connections and subscriptions */
    double node_write_share, process_message_share; /* at the writes asked for */
    double node_writes_max, fleet_writes_max;   /* a second, until a node's one core is full */
    double process_messages_max;                /* a second, until a process's one loop is full */
} bench_scale_prediction;
bench_scale_prediction bench_scale_predict(const bench_scale_model *model, double processes, double nodes, double writes_per_second);

/* argv without the program and subcommand. */
int bench_scale_main(int argc, char **argv);

#endif
