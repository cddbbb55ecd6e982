/* SPDX-License-Identifier: Apache-2.0 */
/* The main job from its command line to its results. */
#include "bench/tiered.h"

#include <errno.h>
#include <stdlib.h>
#include <strata/strata.h>
#include <string.h>

#include "bench/find_max.h"
#include "bench/html/page.h"
#include "bench/process.h"

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
    if (bench_run_start(run, bench_process_main, error, error_size) == 0) {
        bench_run_read_servers(run, BENCH_AT_START);
        start_clock(run);
        read_cpu(run, -1);
        bench_progress_run(run, series);
        read_cpu(run, 1);
        bench_run_read_servers(run, BENCH_AT_END);
        run->interrupted = bench_run_was_interrupted();
        bench_run_end(run);
        outcome = conclude(run, &environment, series);
    }
    bench_run_release(run);
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
    if (!bench_options_take(table, argc, argv, &run->settings, &run->given, &outcome)) goto done;
    if (bench_tiered_settle(&run->settings, &run->given, error, sizeof error) != 0) {
        outcome = bench_options_refuse(table, error);
        goto done;
    }
    series->step_s = run->settings.faults.count > 0 || run->settings.restart != NULL ? 0.25 : 1;
    if (run->settings.find_max != NULL) {
        outcome = bench_find_max_main(strrchr(table->command, ' ') + 1, run->settings.find_max, run->settings.rate, argc, argv);
        goto done;
    }
    bench_run_catch_signals();
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

int bench_restart_main(int argc, char **argv) {
    bench_option_table table = bench_tiered_options;
    table.command = "strata-bench restart";
    table.about = "The job of 'tiered' while one of its processes is killed and started again: how long until its reads are answered as\n"
                  "before, and by which tier meanwhile. Options and exit status are those of 'tiered'.";
    table.preset = "process-restarted";
    return main_of(&table, argc, argv);
}

int bench_faults_main(int argc, char **argv) {
    bench_option_table table = bench_tiered_options;
    table.command = "strata-bench faults";
    table.about = "The job of 'tiered' while servers of our own fail: what fails with them, for how long, and whether any read was\n"
                  "wrong. Options and exit status are those of 'tiered'; failed operations don't fail the run, wrong values do.";
    table.preset = "node-killed";
    return main_of(&table, argc, argv);
}
