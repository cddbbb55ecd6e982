/* SPDX-License-Identifier: Apache-2.0 */
/* Sets a run up, forks its processes, watches over them, and takes it all down again. */
#include "bench/tiered.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <strata/strata.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/cluster/cluster.h"
#include "bench/find_max.h"
#include "bench/html/page.h"
#include "bench/process.h"

#define READY_SECONDS_MAX 60
#define END_SECONDS_MAX   45

static volatile int interrupted;

static void on_signal(int number) {
    (void)number;
    interrupted = 1;
}

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

static int fork_processes(bench_run *run, char *error, size_t error_size) {
    fflush(NULL);
    for (uint32_t i = 0; i < run->settings.processes; i++) {
        pid_t pid = fork();
        if (pid == 0) _exit(bench_process_main(run, i));
        if (pid < 0) {
            snprintf(error, error_size, "can't start process %u", i);
            return -1;
        }
        run->children[i] = pid;
    }
    return 0;
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

/* Ends what still runs, first by asking. */
static void end_processes(bench_run *run) {
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

/* ---- the run ------------------------------------------------------------------------------------------------ */

static void start_clock(bench_run *run) {
    bench_shared *shared = run->shared;
    const bench_settings *settings = &run->settings;
    int64_t start_ns = bench_now_ns() + 5 * BENCH_NS_PER_MS;
    int64_t record_ns = start_ns + (int64_t)(settings->warmup_seconds * 1e9);
    atomic_store(&shared->start_ns, start_ns);
    atomic_store(&shared->record_ns, record_ns);
    atomic_store(&shared->end_ns,
                 settings->passes > 0 ? INT64_MAX : record_ns + (int64_t)(settings->seconds * 1e9));
    atomic_store(&shared->go, 1);
}

/* Adds what was spent until now, with sign -1 at the start and 1 at the end. */
static void read_cpu(bench_run *run, int sign) {
    run->cpu_machine_us += sign * bench_cpu_busy_us();
    run->cpu_elapsed_us += sign * (bench_now_ns() / BENCH_NS_PER_US);
    for (uint32_t i = 0; i < run->server_count; i++)
        run->cpu_servers_us += sign * bench_cpu_of_us(run->servers[i]);
}

static int conclude(bench_run *run, const bench_environment *environment, const bench_series *series) {
    bench_totals *totals = calloc(1, sizeof *totals);
    if (totals == NULL) return BENCH_EXIT_SETUP;
    bench_totals_collect(totals, run);
    bench_report_print(stdout, run, totals, environment, series);
    int outcome = bench_report_is_good(run, totals) ? BENCH_EXIT_GOOD : BENCH_EXIT_BAD;
    if (run->settings.json_path != NULL &&
        bench_report_json(run->settings.json_path, run, totals, environment, series) != 0) {
        fprintf(stderr, "strata-bench: %s can't be written\n", run->settings.json_path);
        outcome = BENCH_EXIT_SETUP;
    } else if (run->settings.html_path != NULL) {
        char error[512];
        if (bench_html_write(run->settings.json_path, run->settings.html_path, error, sizeof error) != 0) {
            fprintf(stderr, "strata-bench: %s\n", error);
            outcome = BENCH_EXIT_SETUP;
        }
    }
    free(totals);
    return outcome;
}

static int run_all(bench_run *run, bench_series *series, char *error, size_t error_size) {
    bench_environment environment;
    int outcome = BENCH_EXIT_SETUP;
    bench_environment_read(&environment);
    if (allocate(run, error, error_size) == 0 && start_servers(run, error, error_size) == 0) {
        bool ready =
            fork_processes(run, error, error_size) == 0 && wait_until_ready(run, error, error_size) == 0;
        if (ready) {
            start_clock(run);
            read_cpu(run, -1);
            bench_progress_run(run, series, &interrupted);
            read_cpu(run, 1);
        }
        run->interrupted = interrupted != 0;
        end_processes(run);
        if (ready) outcome = conclude(run, &environment, series);
    }
    sx_cluster_stop(run->cluster);
    bench_database_destroy(&run->database);
    bench_shared_release(run->shared, run->shared_bytes);
    bench_workload_destroy(&run->workload);
    return outcome;
}

/* Better now than after the run; 0 or -1. */
static int check_writable(const char *option, const char *path, char *error, size_t error_size) {
    if (path == NULL) return 0;
    FILE *file = fopen(path, "a");
    if (file != NULL && fclose(file) == 0) return 0;
    snprintf(error, error_size, "--%s: %s can't be written: %s", option, path, strerror(errno));
    return -1;
}

static int main_of(const bench_option_table *table, int argc, char **argv) {
    char error[1024] = "";
    bench_run *run = calloc(1, sizeof *run);
    bench_series *series = calloc(1, sizeof *series);
    int outcome = BENCH_EXIT_SETUP;
    if (run == NULL || series == NULL) goto done;
    bench_options_outcome parsed = bench_options_parse(table, argc, argv, &run->settings,
                                                       &run->given, error, sizeof error);
    if (parsed == BENCH_OPTIONS_HELP) {
        bench_options_help(table, stdout);
        outcome = BENCH_EXIT_GOOD;
        goto done;
    }
    if (parsed == BENCH_OPTIONS_WRONG ||
        bench_tiered_settle(&run->settings, &run->given, error, sizeof error) != 0) {
        fprintf(stderr, "%s: %s\nTry %s --help.\n", table->command, error, table->command);
        outcome = BENCH_EXIT_USAGE;
        goto done;
    }
    series->step_s = run->settings.faults.count > 0 ? 0.25 : 1;
    if (run->settings.find_max != NULL) {
        outcome = bench_find_max_main(strrchr(table->command, ' ') + 1, run->settings.find_max, run->settings.rate, argc, argv);
        goto done;
    }
    struct sigaction action = {.sa_handler = on_signal,
                               .sa_flags = (int)SA_RESETHAND}; /* the second time ends us at once */
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    if (check_writable("json", run->settings.json_path, error, sizeof error) == 0 &&
        check_writable("html", run->settings.html_path, error, sizeof error) == 0)
        outcome = run_all(run, series, error, sizeof error);
    if (outcome == BENCH_EXIT_SETUP && error[0] != '\0') fprintf(stderr, "%s: %s\n", table->command, error);
done:
    free(series);
    free(run);
    return outcome;
}

int bench_tiered_main(int argc, char **argv) { return main_of(&bench_tiered_options, argc, argv); }

int bench_faults_main(int argc, char **argv) {
    bench_option_table table = bench_tiered_options;
    table.command = "strata-bench faults";
    table.about = "The job of 'tiered' while servers of our own fail: what fails with them, for how long, and whether any read was\n"
                  "wrong. Options and exit status are those of 'tiered'; failed operations don't fail the run, wrong values do.";
    table.preset = "node-killed";
    return main_of(&table, argc, argv);
}
