/* SPDX-License-Identifier: Apache-2.0 */
/* Opens an engine, waits for the common start, runs the threads, and leaves the numbers in shared memory. */
#include "bench/process.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "bench/probe.h"
#include "bench/worker.h"

#define CLOSE_DEADLINE_MS 5000
#define HOLDINGS_TICK_US  50000
#define HOLDINGS_TICKS    4u

int64_t bench_duration_ns(const char *text) {
    static const struct {
        const char *unit;
        int64_t ns;
    } units[] = {{"ns", 1},          {"us", 1000},         {"ms", 1000000},      {"s", 1000000000},
                 {"m", 60000000000}, {"h", 3600000000000}, {"d", 86400000000000}};
    char *end;
    double number = strtod(text, &end);
    for (size_t i = 0; end != text && i < sizeof units / sizeof units[0]; i++)
        if (strcmp(end, units[i].unit) == 0 && number >= 0) return (int64_t)(number * (double)units[i].ns);
    return -1;
}

/* ---- the engine --------------------------------------------------------------------------------------------- */

static void set_option(strata_config *config, const char *name, const char *value, int32_t *status,
                       strata_error *error) {
    if (*status == STRATA_OK) *status = strata_config_set(config, name, value, error);
}

/* Applies the "name=value" texts of --config, which come last. */
static void set_extra(strata_config *config, const bench_list *list, int32_t *status, strata_error *error) {
    for (uint32_t i = 0; i < list->count && *status == STRATA_OK; i++) {
        char name[128];
        const char *equals = strchr(list->items[i], '=');
        size_t size = equals != NULL ? (size_t)(equals - list->items[i]) : 0;
        if (size == 0 || size >= sizeof name) {
            *status = STRATA_E_CONFIG;
            snprintf(error->text, sizeof error->text, "--config: '%s' is not NAME=VALUE", list->items[i]);
            return;
        }
        memcpy(name, list->items[i], size);
        name[size] = '\0';
        set_option(config, name, equals + 1, status, error);
    }
}

static int32_t configure(const bench_run *run, uint32_t index, strata_config **out, strata_error *error) {
    static const char *const modes[] = {"cluster", "standalone", "none"};
    const bench_settings *settings = &run->settings;
    char bytes[32];
    int32_t status = strata_config_create(out);
    if (status != STRATA_OK) return status;
    if (settings->config_file != NULL) status = strata_config_load_file(*out, settings->config_file, error);
    snprintf(bytes, sizeof bytes, "%" PRIu64, settings->l1_bytes);
    set_option(*out, "l1.bytes", bytes, &status, error);
    set_option(*out, "l2.mode", modes[settings->l2], &status, error);
    if (settings->l2 != BENCH_L2_NONE) set_option(*out, "l2.nodes", run->nodes, &status, error);
    if (settings->snapshot != NULL) {
        char path[512];
        snprintf(path, sizeof path, "%.400s/process-%u.hot", settings->snapshot, index);
        set_option(*out, "warm.snapshot_path", path, &status, error);
        set_option(*out, "warm.snapshot_every", "1s", &status, error);
    }
    set_extra(*out, &settings->config, &status, error);
    return status;
}

static void log_line(void *context, strata_log_level level, const char *line) {
    const bench_process_report *report = context;
    if (level <= STRATA_LOG_WARN) fprintf(stderr, "[%d] %s\n", report->pid, line);
}

static int32_t open_engine(bench_run *run, uint32_t index, strata **engine, strata_namespace **ns) {
    bench_process_report *report = &run->shared->processes[index];
    strata_config *config = NULL;
    strata_error error = {0};
    char text[64];
    int32_t status = configure(run, index, &config, &error);
    strata_open_options options = {
        .struct_size = sizeof options, .config = config, .log = log_line, .log_context = report};
    if (run->settings.count_allocations) options.allocator = bench_allocations_table(&report->allocated);
    if (status == STRATA_OK) status = strata_open(&options, engine, &error);
    strata_config_destroy(config);
    if (status != STRATA_OK) {
        snprintf(report->error, sizeof report->error, "%s",
                 error.text[0] != '\0' ? error.text : strata_status_text(status));
        return status;
    }
    report->staleness_max_ns = INT64_MAX;
    if (run->settings.l2 != BENCH_L2_NONE &&
        strata_option_get(*engine, "coherence.max_staleness", text, sizeof text) == STRATA_OK &&
        bench_duration_ns(text) > 0)
        report->staleness_max_ns = bench_duration_ns(text);
    run->database.staleness_max_ns = report->staleness_max_ns;
    return strata_namespace_open(*engine, run->namespace_name, 1, ns);
}

/* What its predecessor had; traffic does not wait for it. */
static int32_t begin_warm(bench_process_engine *opened, const bench_run *run) {
    strata_error error = {0};
    if (run->settings.snapshot == NULL || !opened->report->restarted) return STRATA_OK;
    int32_t status = strata_warm_snapshot(opened->engine, NULL, NULL, &opened->warm, &error);
    if (status != STRATA_OK) snprintf(opened->report->error, sizeof opened->report->error, "%s", error.text);
    return status;
}

/* ---- what L1 holds ---- */

static void tell_holdings(bench_process_report *report, strata *engine) {
    int64_t values[BENCH_METRICS_MAX] = {0};
    if (strata_stats_read(engine, values, BENCH_METRICS_MAX) < 0) return;
    int64_t bytes = bench_run_metric(values, "l1.bytes_used");
    atomic_store(&report->l1_entries, bench_run_metric(values, "l1.entries"));
    atomic_store(&report->l1_bytes, bytes);
    atomic_store(&report->l1_payload_bytes, bytes - bench_run_metric(values, "l1.bytes_metadata"));
}

/* ---- threads ------------------------------------------------------------------------------------------------ */

typedef struct process {
    bench_run *run;
    bench_process_report *report;
    uint32_t index;
    bench_process_engine opened;
    bench_probe probe;
    bool probing;
    bench_worker workers[BENCH_THREADS_MAX];
    _Atomic uint32_t idle; /* the workers have ended */
} process;

static void *watch_holdings(void *context) {
    process *self = context;
    for (uint32_t tick = 0; atomic_load(&self->idle) == 0; tick++) {
        if (tick % HOLDINGS_TICKS == 0) tell_holdings(self->report, self->opened.engine);
        usleep(HOLDINGS_TICK_US);
    }
    return NULL;
}

static int32_t run_threads(process *self) {
    bench_run *run = self->run;
    uint32_t threads = (uint32_t)run->settings.threads, started = 0;
    int32_t status = STRATA_OK;
    for (; started < threads; started++) {
        bench_worker *worker = &self->workers[started];
        *worker = (bench_worker){.run = run,
                                 .engine = self->opened.engine,
                                 .ns = self->opened.ns,
                                 .loader = &self->opened.loader,
                                 .process = self->index,
                                 .thread = started};
        if (pthread_create(&worker->handle, NULL, bench_worker_thread, worker) != 0) break;
    }
    if (started < threads) status = STRATA_E_SYSTEM;
    self->probing = run->settings.probe_rate > 0 && run->settings.processes >= 2 && self->index < 2;
    if (self->probing) {
        self->probe = (bench_probe){.run = run,
                                    .engine = self->opened.engine,
                                    .ns = self->opened.ns,
                                    .loader = &self->opened.loader,
                                    .process = self->index};
        self->probing =
            pthread_create(&self->probe.handle, NULL,
                           self->index == 0 ? bench_probe_writer_thread : bench_probe_watcher_thread,
                           &self->probe) == 0;
    }
    pthread_t watch;
    bool watching = pthread_create(&watch, NULL, watch_holdings, self) == 0;
    for (uint32_t i = 0; i < started; i++) {
        pthread_join(self->workers[i].handle, NULL);
        if (self->workers[i].failure != STRATA_OK) status = self->workers[i].failure;
    }
    atomic_store(&self->report->finished_ns, bench_now_ns());
    atomic_store(&self->report->finished, 1);
    atomic_store(&self->idle, 1);
    if (watching) pthread_join(watch, NULL);
    /* With passes there is no end in time: the probe ends when the parent saw every process finish. */
    if (self->probing) pthread_join(self->probe.handle, NULL);
    return status;
}

static void read_usage(bench_process_report *report, int sign) {
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) != 0) return;
    report->cpu_user_us += sign * (int64_t)(usage.ru_utime.tv_sec * 1000000 + usage.ru_utime.tv_usec);
    report->cpu_system_us += sign * (int64_t)(usage.ru_stime.tv_sec * 1000000 + usage.ru_stime.tv_usec);
    report->switches_voluntary += sign * (int64_t)usage.ru_nvcsw;
    report->switches_forced += sign * (int64_t)usage.ru_nivcsw;
    report->resident_bytes_max = (int64_t)usage.ru_maxrss * 1024;
    report->allocations += sign * atomic_load(&report->allocated.count);
}

static bool wait_for_go(const bench_run *run) {
    while (atomic_load(&run->shared->go) == 0 && atomic_load(&run->shared->stop) == 0) usleep(500);
    return atomic_load(&run->shared->stop) == 0;
}

bool bench_process_open(bench_process_engine *opened, bench_run *run, uint32_t index) {
    bench_process_report *report = &run->shared->processes[index];
    *opened = (bench_process_engine){.report = report};
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGINT, SIG_IGN); /* the parent hears it and tells us to stop */
    signal(SIGTERM, SIG_IGN);
    report->pid = (int32_t)getpid();
    report->open_status = open_engine(run, index, &opened->engine, &opened->ns);
    if (report->open_status == STRATA_OK) report->open_status = begin_warm(opened, run);
    if (report->open_status == STRATA_OK && bench_loader_start(&opened->loader, run) != 0)
        report->open_status = STRATA_E_SYSTEM;
    if (report->open_status != STRATA_OK && opened->engine != NULL) (void)strata_close(opened->engine, CLOSE_DEADLINE_MS);
    atomic_store(&report->ready, 1);
    return report->open_status == STRATA_OK;
}

void bench_process_close(bench_process_engine *opened) {
    strata_warm_close(opened->warm);
    bench_loader_stop(&opened->loader);
    opened->report->close_status = strata_close(opened->engine, CLOSE_DEADLINE_MS);
}

int bench_process_main(bench_run *run, uint32_t index) {
    static process self; /* one per process, too large for a stack */
    bench_process_report *report = &run->shared->processes[index];
    self = (process){.run = run, .report = report, .index = index};
    if (!bench_process_open(&self.opened, run, index)) return 1;
    int32_t status = STRATA_OK;
    (void)strata_stats_read(self.opened.engine, report->metrics_before, BENCH_METRICS_MAX);
    if (wait_for_go(run)) {
        read_usage(report, -1);
        status = run_threads(&self);
        read_usage(report, 1);
    }
    (void)strata_stats_read(self.opened.engine, report->metrics_after, BENCH_METRICS_MAX);
    tell_holdings(report, self.opened.engine);
    bench_process_close(&self.opened);
    if (status != STRATA_OK) snprintf(report->error, sizeof report->error, "%s", strata_status_text(status));
    return status == STRATA_OK ? 0 : 1;
}
