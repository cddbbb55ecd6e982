/* SPDX-License-Identifier: Apache-2.0 */
/* Measures what processes and nodes cost each other: idle, and when something is written, over some numbers of both. */
#include "bench/scale.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "bench/coherence/coherence.h"
#include "bench/environment.h"
#include "bench/options.h"
#include "bench/result.h"
#include "bench/run.h"
#include "bench/servers.h"
#include "bench/tiered.h"

#define PARTITIONS     256.0
#define POINTS         5u

typedef struct scale_settings {
    double seconds, rate;
    uint64_t processes, nodes;
    double writes;
    const char *json_path;
} scale_settings;

/* What is measured at one number of servers and engines. All per engine and node where that makes sense. */
typedef struct scale_point {
    uint32_t nodes, engines;
    double idle_server_us, idle_process_us; /* a second */
    double memory_bytes;
    double write_us;   /* of all servers, a write */
    double message_us; /* of an engine, a message */
} scale_point;

/* Shared by the processes of one point. */
typedef struct scale_board {
    const bench_coherence *bench;
    uint32_t engines;
    double rate, seconds;
    _Atomic int ready, writer_ready; /* 1: good; -1: not */
    _Atomic int go;
    _Atomic uint64_t done; /* writes acknowledged */
    _Atomic int finished;
} scale_board;

/* ---- processes ---------------------------------------------------------------------------------------------- */

static void subscribe(void *argument) {
    scale_board *board = argument;
    const char *pairs[] = {"l1.bytes", "1MiB", NULL};
    for (uint32_t i = 0; i < board->engines; i++) {
        if (bench_coherence_open(board->bench, pairs) != NULL) continue;
        atomic_store(&board->ready, -1);
        return;
    }
    atomic_store(&board->ready, 1);
    for (;;) bench_coherence_sleep_until(bench_now_ns() + BENCH_NS_PER_S);
}

static void written(void *user, const strata_result *result) {
    if (result->status == STRATA_OK) atomic_fetch_add(&((scale_board *)user)->done, 1);
}

/* Invalidates keys that nobody holds, at the rate, when told to. */
static void write_keys(void *argument) {
    scale_board *board = argument;
    strata *engine = bench_coherence_open(board->bench, NULL);
    strata_session *session = NULL;
    strata_namespace *ns = NULL;
    bool good = engine != NULL && strata_session_open(engine, &session) == STRATA_OK && strata_namespace_open(engine, "scale", 1, &ns) == STRATA_OK;
    atomic_store(&board->writer_ready, good ? 1 : -1);
    while (good && atomic_load(&board->go) == 0) bench_coherence_sleep_until(bench_now_ns() + BENCH_NS_PER_MS);
    int64_t start_ns = bench_now_ns();
    uint64_t sent = 0, total = (uint64_t)(board->rate * board->seconds);
    while (good && sent < total) {
        uint64_t due = (uint64_t)((double)(bench_now_ns() - start_ns) / 1e9 * board->rate);
        for (; sent < due && sent < total; sent++) {
            char text[32];
            int size = snprintf(text, sizeof text, "key:%llu", (unsigned long long)sent);
            (void)strata_invalidate(session, ns, (strata_bytes){text, (size_t)size}, NULL, written, board);
        }
        (void)strata_session_wait(session, 1);
    }
    while (good && atomic_load(&board->done) < sent && bench_now_ns() < start_ns + 60 * BENCH_NS_PER_S) (void)strata_session_wait(session, 10);
    atomic_store(&board->finished, 1);
    for (;;) bench_coherence_sleep_until(bench_now_ns() + BENCH_NS_PER_S);
}

static bool is_set(const _Atomic int *flag, int seconds) {
    for (int64_t give_up_ns = bench_now_ns() + seconds * BENCH_NS_PER_S; atomic_load(flag) == 0 && bench_now_ns() < give_up_ns;)
        bench_coherence_sleep_until(bench_now_ns() + 5 * BENCH_NS_PER_MS);
    return atomic_load(flag) == 1;
}

/* ---- one point ---------------------------------------------------------------------------------------------- */

typedef struct totals {
    double server_us, process_us, memory_bytes, seconds;
} totals;

static totals read_totals(const bench_coherence *bench, int process) {
    bench_server_info list[SX_CLUSTER_NODES_MAX];
    uint32_t nodes = sx_cluster_node_count(bench->cluster);
    totals all = {.process_us = process > 0 ? (double)bench_cpu_of_us(process) : 0, .seconds = (double)bench_now_ns() / 1e9};
    bench_servers_read(bench->cluster, nodes, list);
    for (uint32_t i = 0; i < nodes; i++) {
        all.server_us += (double)(list[i].cpu_user_us + list[i].cpu_system_us);
        all.memory_bytes += (double)list[i].memory_bytes;
    }
    return all;
}

/* What is spent in a second between two readings. */
static totals rates_between(const totals *from, const totals *to) {
    double seconds = to->seconds - from->seconds;
    return (totals){.server_us = (to->server_us - from->server_us) / seconds, .process_us = (to->process_us - from->process_us) / seconds};
}

static totals watch(const bench_coherence *bench, int process, double seconds) {
    totals from = read_totals(bench, process);
    bench_coherence_sleep_until(bench_now_ns() + (int64_t)(seconds * 1e9));
    totals to = read_totals(bench, process);
    return rates_between(&from, &to);
}

static bool measure_with(scale_board *board, const totals *alone, const totals *before, int subscriber, int writer, scale_point *point) {
    const bench_coherence *bench = board->bench;
    double each = (double)point->engines * point->nodes;
    totals after = read_totals(bench, subscriber);
    point->memory_bytes = (after.memory_bytes - before->memory_bytes) / (each + point->nodes); /* the writer is one more */
    totals idle = watch(bench, subscriber, board->seconds);
    point->idle_server_us = (idle.server_us - alone->server_us) / (each + point->nodes);
    point->idle_process_us = idle.process_us / each;
    totals from = read_totals(bench, subscriber);
    atomic_store(&board->go, 1);
    if (!is_set(&board->finished, 90)) return false;
    totals to = read_totals(bench, subscriber);
    totals busy = rates_between(&from, &to);
    double writes = (double)atomic_load(&board->done), seconds = to.seconds - from.seconds;
    point->write_us = (busy.server_us - idle.server_us) * seconds / writes;
    point->message_us = (busy.process_us - idle.process_us) * seconds / writes / point->engines;
    return writer > 0 && writes > 0;
}

static bool measure(const scale_settings *settings, scale_point *point, char *error, size_t error_size) {
    bench_coherence bench = {.primaries = point->nodes};
    sx_cluster_options servers = {.primaries = point->nodes};
    scale_board *board = bench_coherence_share(sizeof *board);
    if (board == NULL || sx_cluster_start(&servers, &bench.cluster, error, error_size) != 0) return false;
    *board = (scale_board){.bench = &bench, .engines = point->engines, .rate = settings->rate, .seconds = settings->seconds};
    totals alone = watch(&bench, 0, settings->seconds / 2), before = read_totals(&bench, 0);
    int subscriber = bench_coherence_fork(subscribe, board), writer = bench_coherence_fork(write_keys, board);
    bool good = subscriber > 0 && writer > 0 && is_set(&board->ready, 120) && is_set(&board->writer_ready, 60) &&
                measure_with(board, &alone, &before, subscriber, writer, point);
    if (!good && error[0] == '\0') snprintf(error, error_size, "%u engines at %u servers could not be measured", point->engines, point->nodes);
    const int pids[] = {subscriber, writer};
    for (int i = 0; i < 2; i++) {
        if (pids[i] <= 0) continue;
        (void)kill(pids[i], SIGKILL);
        (void)waitpid(pids[i], NULL, 0);
    }
    sx_cluster_stop(bench.cluster);
    bench_shared_release(board, sizeof *board);
    return good;
}

/* ---- the model ---------------------------------------------------------------------------------------------- */

static bench_scale_model fit(const scale_point *points, uint32_t count) {
    double partitions[POINTS], idle[POINTS], process[POINTS], memory[POINTS], heard[POINTS], write[POINTS];
    bench_scale_model model = {.partitions = PARTITIONS};
    for (uint32_t i = 0; i < count; i++) {
        partitions[i] = PARTITIONS / points[i].nodes;
        idle[i] = points[i].idle_server_us;
        process[i] = points[i].idle_process_us;
        memory[i] = points[i].memory_bytes;
        heard[i] = points[i].engines + 1; /* the writer too */
        write[i] = points[i].write_us;
        model.message_us += points[i].message_us / count;
    }
    model.idle_server_us = bench_fit_line(partitions, idle, count);
    model.idle_process_us = bench_fit_line(partitions, process, count);
    model.memory_bytes = bench_fit_line(partitions, memory, count);
    model.write_us = bench_fit_line(heard, write, count);
    return model;
}

static void print_model(const bench_scale_model *model) {
    printf("\nfitted, microseconds of a core\n");
    printf("  an idle process costs a node      %.0f a second, and %.2f more per partition of the node\n", model->idle_server_us.base, model->idle_server_us.slope);
    printf("  a node costs an idle process      %.0f a second, and %.2f more per partition of the node\n", model->idle_process_us.base, model->idle_process_us.slope);
    printf("  a process takes of a node         %.1f KiB, and %.2f more per partition of the node\n", model->memory_bytes.base / 1024, model->memory_bytes.slope / 1024);
    printf("  a write costs its node            %.1f, and %.2f more per process that hears of it\n", model->write_us.base, model->write_us.slope);
    printf("  a message costs a process         %.2f\n", model->message_us);
}

static void print_prediction(const bench_scale_model *model, const scale_settings *settings) {
    bench_scale_prediction p = bench_scale_predict(model, (double)settings->processes, (double)settings->nodes, settings->writes);
    printf("\npredicted for %llu processes at %llu nodes, %.0f writes a second in all\n", (unsigned long long)settings->processes,
           (unsigned long long)settings->nodes, settings->writes);
    printf("  of a node's core: heartbeats %.0f %%, writes and their messages %.0f %%; %.0f MiB for connections and subscriptions\n",
           100 * p.node_idle_share, 100 * p.node_write_share, p.node_memory_bytes / 1048576);
    printf("  of a process's loop: heartbeats %.0f %%, messages %.0f %%\n", 100 * p.process_idle_share, 100 * p.process_message_share);
    printf("  a node is full at %.0f writes a second (%.0f in all), a process's loop at %.0f messages\n", p.node_writes_max, p.fleet_writes_max,
           p.process_messages_max);
    printf("  %s is full first\n", p.fleet_writes_max < p.process_messages_max ? "the node" : "the process's loop");
}

/* ---- the result file ---------------------------------------------------------------------------------------- */

static void put_fit(bench_json *json, const char *name, const bench_fit *fit) {
    bench_json_object_begin(json, name);
    bench_json_number(json, "base", fit->base);
    bench_json_number(json, "slope", fit->slope);
    bench_json_object_end(json);
}

static void put_model(bench_json *json, const bench_scale_model *model) {
    bench_json_object_begin(json, "model");
    put_fit(json, "idle_server_us", &model->idle_server_us);
    put_fit(json, "idle_process_us", &model->idle_process_us);
    put_fit(json, "memory_bytes", &model->memory_bytes);
    put_fit(json, "write_us", &model->write_us);
    bench_json_number(json, "message_us", model->message_us);
    bench_json_object_end(json);
}

static void put_prediction(bench_json *json, const bench_scale_model *model, const scale_settings *settings) {
    bench_scale_prediction p = bench_scale_predict(model, (double)settings->processes, (double)settings->nodes, settings->writes);
    bench_json_object_begin(json, "prediction");
    bench_json_object_begin(json, "options");
    bench_json_integer(json, "processes", (int64_t)settings->processes);
    bench_json_integer(json, "nodes", (int64_t)settings->nodes);
    bench_json_number(json, "writes_per_second", settings->writes);
    bench_json_object_end(json);
    bench_json_number(json, "node_idle_share", p.node_idle_share);
    bench_json_number(json, "node_write_share", p.node_write_share);
    bench_json_number(json, "node_memory_bytes", p.node_memory_bytes);
    bench_json_number(json, "process_idle_share", p.process_idle_share);
    bench_json_number(json, "process_message_share", p.process_message_share);
    bench_json_number(json, "node_writes_max_per_second", p.node_writes_max);
    bench_json_number(json, "fleet_writes_max_per_second", p.fleet_writes_max);
    bench_json_number(json, "process_messages_max_per_second", p.process_messages_max);
    bench_json_object_end(json);
}

static bool write_json(const scale_settings *settings, const scale_point *points, uint32_t count, const bench_scale_model *model) {
    bench_json json;
    if (!bench_result_open(&json, settings->json_path, "strata-bench/scale/1")) return false;
    bench_json_array_begin(&json, "cases");
    for (uint32_t i = 0; i < count; i++) {
        const scale_point *p = &points[i];
        char name[48];
        snprintf(name, sizeof name, "%u nodes, %u processes", p->nodes, p->engines);
        const bench_result_column columns[] = {{"idle_server_us", &p->idle_server_us}, {"idle_process_us", &p->idle_process_us},
                                               {"memory_bytes", &p->memory_bytes}, {"write_us", &p->write_us},
                                               {"message_us", &p->message_us}};
        bench_result_case(&json, name, columns, sizeof columns / sizeof columns[0], 1);
    }
    bench_json_array_end(&json);
    put_model(&json, model);
    put_prediction(&json, model, settings);
    return bench_result_close(&json);
}

/* ---- the subcommand ----------------------------------------------------------------------------------------- */

#define FIELD(member) offsetof(scale_settings, member)
static const bench_option rows[] = {
    {"seconds", BENCH_OPTION_NUMBER, "S", "2", 0.2, 60, NULL, FIELD(seconds), "of one measurement; there are some fifteen", "Measuring"},
    {"rate", BENCH_OPTION_NUMBER, "PER_SECOND", "2000", 100, 20000, NULL, FIELD(rate), "invalidations, for what a write costs", NULL},
    {"processes", BENCH_OPTION_COUNT, "N", "500", 1, 1e6, NULL, FIELD(processes), "of the fleet to be predicted", "Predicting"},
    {"nodes", BENCH_OPTION_COUNT, "N", "100", 1, 1000, NULL, FIELD(nodes), "of it", NULL},
    {"writes", BENCH_OPTION_NUMBER, "PER_SECOND", "50k", 0, 1e9, NULL, FIELD(writes), "sets and invalidations of all processes", NULL},
    {"json", BENCH_OPTION_TEXT, "FILE", NULL, 0, 0, NULL, FIELD(json_path), "write points, what is fitted to them and what is predicted there", "Result"},
};
#define WORDS(...) (const char *const[]){__VA_ARGS__, NULL}
static const bench_option_preset presets[] = {
    {"quick", "points that scatter, in 25 seconds", WORDS("--seconds", "0.5")},
    {"busy", "what a write costs where messages share their wake-ups", WORDS("--rate", "8000", "--seconds", "1")},
    {"few-nodes", "1 000 processes at 3 nodes", WORDS("--processes", "1000", "--nodes", "3", "--writes", "1000")},
};
static const bench_option_table options = {
    .command = "strata-bench scale",
    .about = "What processes and nodes cost each other, over some numbers of both, each process an engine; lines fitted to that, and what\n"
             "they say of a fleet. Every process hears of every write: that is what L1 in each of them costs.",
    .rows = rows,
    .count = sizeof rows / sizeof rows[0],
    .presets = presets,
    .preset_count = sizeof presets / sizeof presets[0],
};

static int run(const scale_settings *settings) {
    scale_point points[POINTS] = {{.nodes = 3, .engines = 4}, {.nodes = 3, .engines = 16}, {.nodes = 3, .engines = 40},
                                  {.nodes = 1, .engines = 16}, {.nodes = 8, .engines = 12}};
    char error[512] = "";
    printf("%6s %10s %20s %20s %16s %14s %16s\n", "nodes", "processes", "idle, node us/s", "idle, process us/s", "node bytes", "write us", "message us");
    for (uint32_t i = 0; i < POINTS; i++) {
        scale_point *p = &points[i];
        if (!measure(settings, p, error, sizeof error)) {
            fprintf(stderr, "strata-bench scale: %s\n", error);
            return BENCH_EXIT_SETUP;
        }
        printf("%6u %10u %20.0f %20.0f %16.0f %14.1f %16.2f\n", p->nodes, p->engines, p->idle_server_us, p->idle_process_us, p->memory_bytes,
               p->write_us, p->message_us);
        fflush(stdout);
    }
    bench_scale_model model = fit(points, POINTS);
    print_model(&model);
    print_prediction(&model, settings);
    if (settings->json_path != NULL && !write_json(settings, points, POINTS, &model)) return BENCH_EXIT_SETUP;
    return BENCH_EXIT_GOOD;
}

int bench_scale_main(int argc, char **argv) {
    scale_settings settings = {.seconds = 0};
    bench_options_given given;
    int outcome;
    if (!bench_options_take(&options, argc, argv, &settings, &given, &outcome)) return outcome;
    return run(&settings);
}
