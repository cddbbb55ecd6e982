/* SPDX-License-Identifier: Apache-2.0 */
/* What every job of several processes needs: servers, memory that they share, forks, and an eye on them. */
#include "bench/run.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <strata/strata.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/cluster/cluster.h"

#define READY_SECONDS_MAX 60
#define END_SECONDS_MAX   45

static volatile int interrupted;

static void on_signal(int number) {
    (void)number;
    interrupted = 1;
}

void bench_run_catch_signals(void) {
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND}; /* the second time ends us at once */
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

bool bench_run_was_interrupted(void) { return interrupted != 0; }

void bench_run_note(bench_run *run, const bench_read *read, bench_verdict verdict, uint32_t version,
                    int source) {
    static const char *const sources[] = {"nowhere", "L1", "L2", "the loader"};
    bench_shared *shared = run->shared;
    uint32_t index = atomic_fetch_add(&shared->detail_count, 1);
    if (index >= BENCH_DETAILS_MAX) return;
    int64_t by_ns =
        run->database.staleness_max_ns == INT64_MAX ? 0 : read->began_ns - run->database.staleness_max_ns;
    snprintf(shared->details[index], sizeof shared->details[index],
             "%s: key %u in process %u from %s: version %u of %zu bytes; database %u, acknowledged in time "
             "%u, own %u, seen "
             "%u; read took %.3f ms",
             bench_verdict_word(verdict), read->key, read->process, sources[source & 3], version, read->size,
             bench_database_version(&run->database, read->key),
             bench_database_acknowledged(&run->database, read->key, by_ns), bench_floor_own(read->floor),
             bench_floor_seen(read->floor), (double)(bench_now_ns() - read->began_ns) / 1e6);
}

/* ---- setting up --------------------------------------------------------------------------------------------- */

static int start_servers(bench_run *run, char *error, size_t error_size) {
    const bench_settings *settings = &run->settings;
    if (settings->l2 == BENCH_L2_NONE) return 0;
    if (settings->nodes != NULL) {
        snprintf(run->nodes, sizeof run->nodes, "%s", settings->nodes);
        snprintf(run->server_version, sizeof run->server_version, "as given by --nodes");
        return 0;
    }
    sx_cluster_options options = {.primaries = settings->l2 == BENCH_L2_CLUSTER ? (uint32_t)settings->primaries : 0,
                                  .replicas = (uint32_t)settings->replicas};
    if (sx_cluster_start(&options, &run->cluster, error, error_size) != 0) return -1;
    snprintf(run->nodes, sizeof run->nodes, "%s", sx_cluster_seeds(run->cluster));
    while (run->server_count < sx_cluster_node_count(run->cluster) && run->server_count < BENCH_SERVERS_MAX) {
        run->servers[run->server_count] = sx_cluster_pid(run->cluster, run->server_count);
        run->server_count++;
    }
    if (bench_faults_parse(&run->faults, &settings->faults, run->server_count, error, error_size) != 0) return -1;
    char *info = sx_cluster_command(run->cluster, 0, "INFO server");
    const char *version = info != NULL ? strstr(info, "redis_version:") : NULL;
    if (version != NULL) {
        version += strlen("redis_version:");
        snprintf(run->server_version, sizeof run->server_version, "Redis %.*s", (int)strcspn(version, "\r\n"),
                 version);
    }
    free(info);
    return 0;
}

static int64_t measure_timer(void) {
    int64_t began_ns = bench_now_ns(), last_ns = began_ns;
    for (int i = 0; i < 100000; i++) last_ns = bench_now_ns();
    return (last_ns - began_ns) / 100000;
}

static int allocate(bench_run *run, char *error, size_t error_size) {
    const bench_settings *settings = &run->settings;
    if (bench_workload_create(&run->workload, &settings->workload, error, error_size) != 0) return -1;
    size_t threads = settings->processes * settings->threads;
    run->shared_bytes = sizeof(bench_shared) + threads * sizeof(bench_numbers);
    run->shared = bench_shared_allocate(run->shared_bytes);
    if (settings->speed > 0 && run->workload.times_us == NULL) {
        snprintf(error, error_size, "--speed: %s has no clock", settings->workload.trace_path);
        return -1;
    }
    run->value_bytes_max = bench_workload_value_bytes_max(&run->workload);
    if (run->shared == NULL || bench_database_create(&run->database, run->workload.keys + BENCH_PROBE_KEYS + (uint32_t)settings->workload.tags,
                                                     (uint32_t)settings->processes, INT64_MAX) != 0) {
        snprintf(error, error_size, "out of memory for %u keys", run->workload.keys);
        return -1;
    }
    struct timespec wall;
    clock_gettime(CLOCK_REALTIME, &wall);
    snprintf(run->namespace_name, sizeof run->namespace_name, "bench.%llx",
             (unsigned long long)wall.tv_sec << 20 | (unsigned long long)wall.tv_nsec >> 10);
    run->timer_ns = measure_timer();
    return 0;
}

static int fork_process(bench_run *run, uint32_t index) {
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) _exit(run->process_main(run, index));
    run->children[index] = pid > 0 ? pid : 0;
    return pid > 0 ? 0 : -1;
}

/* ---- watching over children --------------------------------------------------------------------------------- */

void bench_run_reap(bench_run *run, bool wait) {
    for (uint64_t i = 0; i < run->settings.processes; i++) {
        int status;
        if (run->children[i] <= 0 ||
            waitpid(run->children[i], &status, wait ? 0 : WNOHANG) != run->children[i])
            continue;
        bench_process_report *report = &run->shared->processes[i];
        run->children[i] = 0;
        if (WIFSIGNALED(status)) {
            run->crashed = true;
            snprintf(report->error, sizeof report->error, "killed by signal %d (%s)", WTERMSIG(status),
                     strsignal(WTERMSIG(status)));
        } else if (WEXITSTATUS(status) != 0) {
            run->crashed = true;
        }
        atomic_store(&report->ready, 1);
        atomic_store(&report->finished, 1);
    }
}

static bool any_child(const bench_run *run) {
    for (uint64_t i = 0; i < run->settings.processes; i++)
        if (run->children[i] > 0) return true;
    return false;
}

void bench_run_end(bench_run *run) {
    int64_t give_up_ns = bench_now_ns() + END_SECONDS_MAX * BENCH_NS_PER_S;
    atomic_store(&run->shared->stop, 1);
    for (bench_run_reap(run, false); any_child(run) && bench_now_ns() < give_up_ns;
         bench_run_reap(run, false))
        usleep(10000);
    for (uint64_t i = 0; i < run->settings.processes; i++)
        if (run->children[i] > 0) kill(run->children[i], SIGKILL);
    bench_run_reap(run, true);
}

static int wait_until_ready(bench_run *run, char *error, size_t error_size) {
    int64_t give_up_ns = bench_now_ns() + READY_SECONDS_MAX * BENCH_NS_PER_S;
    for (uint64_t i = 0; i < run->settings.processes;) {
        bench_process_report *report = &run->shared->processes[i];
        if (atomic_load(&report->ready) != 0) {
            if (report->open_status != STRATA_OK || report->error[0] != '\0') {
                snprintf(error, error_size, "process %u: %s: %s", (unsigned)i,
                         strata_status_name(report->open_status), report->error);
                return -1;
            }
            i++;
            continue;
        }
        bench_run_reap(run, false);
        if (bench_now_ns() > give_up_ns || interrupted) {
            snprintf(error, error_size, interrupted ? "interrupted" : "the processes did not get ready");
            return -1;
        }
        usleep(1000);
    }
    return run->crashed ? -1 : 0;
}

int bench_run_start(bench_run *run, int (*process_main)(bench_run *run, uint32_t index), char *error, size_t error_size) {
    run->process_main = process_main;
    if (allocate(run, error, error_size) != 0 || start_servers(run, error, error_size) != 0) return -1;
    int outcome = 0;
    for (uint32_t i = 0; outcome == 0 && i < run->settings.processes; i++) {
        outcome = fork_process(run, i);
        if (outcome != 0) snprintf(error, error_size, "can't start process %u", i);
    }
    if (outcome == 0) outcome = wait_until_ready(run, error, error_size);
    if (outcome != 0) bench_run_end(run);
    return outcome;
}

void bench_run_release(bench_run *run) {
    sx_cluster_stop(run->cluster);
    bench_database_destroy(&run->database);
    bench_shared_release(run->shared, run->shared_bytes);
    bench_workload_destroy(&run->workload);
}

void bench_run_replace_process(bench_run *run, uint32_t index) {
    bench_process_report *report = &run->shared->processes[index];
    if (run->children[index] <= 0) return;
    kill(run->children[index], SIGKILL);
    (void)waitpid(run->children[index], NULL, 0);
    bench_database_forget_process(&run->database, index);
    report->restarted = true;
    report->cpu_user_us = report->cpu_system_us = report->switches_voluntary = report->switches_forced = report->allocations = 0;
    atomic_store(&report->ready, 0);
    atomic_store(&report->l1_entries, 0);
    atomic_store(&report->l1_bytes, 0);
    atomic_store(&report->l1_payload_bytes, 0);
    if (fork_process(run, index) != 0) run->crashed = true;
}

int64_t bench_run_metric(const int64_t *values, const char *name) {
    strata_metric metric;
    for (size_t i = 0; i < BENCH_METRICS_MAX && strata_metric_describe(i, &metric) == STRATA_OK; i++)
        if (strcmp(metric.name, name) == 0) return values[i];
    return 0;
}
