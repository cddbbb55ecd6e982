/* SPDX-License-Identifier: Apache-2.0 */
/* The line that says how it goes: rewritten four times a second on a terminal, a new one every few seconds elsewhere. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/tiered.h"

#define PLAIN_LINE_SECONDS 5
#define SPARKS             16u

/* What a line is made from. */
typedef struct progress {
    const bench_run *run;
    const bench_series *series;
    bool terminal;
    bench_moment before;  /* at the last line */
    int64_t shown_ns;     /* when that was */
    double rates[SPARKS]; /* of the last lines, oldest first */
} progress;

static uint64_t grown(const progress *p, const bench_moment *after, int outcome) {
    uint64_t a = p->before.counts[outcome], b = after->counts[outcome];
    return b > a ? b - a : 0; /* the end of a warm-up sets them back */
}

/* The last rates as a row of blocks, the highest of them the tallest. */
static void print_sparks(const progress *p) {
    static const char *const blocks[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
    double highest = 1e-9;
    for (uint32_t i = 0; i < SPARKS; i++) highest = p->rates[i] > highest ? p->rates[i] : highest;
    for (uint32_t i = 0; i < SPARKS; i++) fputs(p->rates[i] > 0 ? blocks[(int)(7 * p->rates[i] / highest)] : " ", stderr);
    fputs("  ", stderr);
}

static void print_phase(const progress *p, int64_t now_ns) {
    const bench_shared *shared = p->run->shared;
    int64_t record_ns = atomic_load(&shared->record_ns), end_ns = atomic_load(&shared->end_ns);
    double seconds = (double)(now_ns - record_ns) / 1e9;
    if (seconds < 0) fprintf(stderr, "warm-up, %.0f s left  ", -seconds);
    else if (end_ns == INT64_MAX) fprintf(stderr, "%6.0f s  ", seconds);
    else fprintf(stderr, "%6.0f s, %.0f s left  ", seconds, (double)(end_ns - now_ns) / 1e9);
}

static void show(progress *p, const bench_moment *after, int64_t now_ns) {
    uint64_t all = 0, reads = 0, share[3];
    for (int i = 0; i < BENCH_OUTCOME_COUNT; i++) all += grown(p, after, i);
    for (int i = 0; i < 3; i++) reads += share[i] = grown(p, after, i);
    double rate = (double)all / ((double)(now_ns - p->shown_ns) / 1e9), whole = reads > 0 ? (double)reads / 100 : 1;
    memmove(p->rates, p->rates + 1, (SPARKS - 1) * sizeof p->rates[0]);
    p->rates[SPARKS - 1] = rate;
    const bench_series_point *last = p->series->count > 0 ? &p->series->points[p->series->count - 1] : NULL;
    bool alarm = p->terminal && getenv("NO_COLOR") == NULL && after->mismatches > 0;
    if (p->terminal) fputs("\r\033[K", stderr);
    if (alarm) fputs("\033[31m", stderr);
    print_phase(p, now_ns);
    if (p->terminal) print_sparks(p);
    fprintf(stderr, "%.0f op/s  L1 %.1f %%  L2 %.1f %%  loaded %.1f %%  ", rate, (double)share[0] / whole, (double)share[1] / whole,
            (double)share[2] / whole);
    bench_outcome slower = last != NULL && last->p99_ns[BENCH_OUTCOME_L2] > 0 ? BENCH_OUTCOME_L2 : BENCH_OUTCOME_L1;
    if (last != NULL && last->p99_ns[slower] > 0)
        fprintf(stderr, "%s p50/p99 %.1f/%.1f us  ", slower == BENCH_OUTCOME_L2 ? "L2" : "L1", (double)last->p50_ns[slower] / 1e3,
                (double)last->p99_ns[slower] / 1e3);
    fprintf(stderr, "failed %" PRIu64 "  wrong %" PRIu64 "%s%s", after->failures, after->mismatches, alarm ? "\033[0m" : "",
            p->terminal ? "" : "\n");
    fflush(stderr);
    p->before = *after;
    p->shown_ns = now_ns;
}

static bool all_finished(const bench_run *run) {
    for (uint64_t i = 0; i < run->settings.processes; i++)
        if (atomic_load(&run->shared->processes[i].finished) == 0) return false;
    return true;
}

/* When the last process finished; now, where one has not. */
static int64_t when_it_ended(const bench_run *run) {
    int64_t last_ns = 0;
    for (uint64_t i = 0; i < run->settings.processes; i++) {
        int64_t finished_ns = atomic_load(&run->shared->processes[i].finished_ns);
        if (finished_ns == 0) return bench_now_ns();
        if (finished_ns > last_ns) last_ns = finished_ns;
    }
    return last_ns;
}

/* Has the process replaced when that is due, and notes when it works again. */
static void restart(bench_run *run, double seconds) {
    char text[48];
    const bench_settings *settings = &run->settings;
    const bench_process_report *report = settings->restart != NULL ? &run->shared->processes[settings->restart_process] : NULL;
    if (report == NULL || seconds < settings->restart_seconds) return;
    if (!report->restarted) {
        snprintf(text, sizeof text, "process %u killed", settings->restart_process);
        bench_faults_note(&run->faults, seconds, text);
        bench_run_replace_process(run, settings->restart_process);
    } else if (!run->restart_noted && atomic_load(&report->ready) != 0) {
        snprintf(text, sizeof text, "process %u works again", settings->restart_process);
        bench_faults_note(&run->faults, seconds, text);
        run->restart_noted = true;
    }
}

void bench_progress_run(bench_run *run, bench_series *series) {
    bench_shared *shared = run->shared;
    int64_t record_ns = atomic_load(&shared->record_ns), ticked_ns = bench_now_ns();
    progress p = {.run = run, .series = series, .terminal = isatty(STDERR_FILENO) != 0, .shown_ns = ticked_ns};
    int64_t tick_ns = (int64_t)(series->step_s * 1e9);
    int64_t show_gap_ns = p.terminal ? BENCH_NS_PER_S / 4 : PLAIN_LINE_SECONDS * BENCH_NS_PER_S;
    bool recording = false;
    while (!bench_run_was_interrupted() && !run->crashed && !all_finished(run)) {
        usleep(20000);
        int64_t now_ns = bench_now_ns();
        if (now_ns >= atomic_load(&shared->end_ns)) break;
        if (!recording && now_ns >= record_ns) {
            recording = true;
            bench_run_read_servers(run, BENCH_AT_RECORD);
        }
        bench_faults_run(&run->faults, run->cluster, (double)(now_ns - record_ns) / 1e9);
        restart(run, (double)(now_ns - record_ns) / 1e9);
        if (now_ns - ticked_ns >= tick_ns) {
            ticked_ns += tick_ns;
            if (now_ns >= record_ns) bench_series_add(series, run, (double)(now_ns - record_ns) / 1e9);
            bench_run_reap(run, false);
        }
        if (run->settings.quiet || now_ns - p.shown_ns < show_gap_ns) continue;
        bench_moment after = bench_moment_read(run);
        show(&p, &after, now_ns);
    }
    if (p.terminal && !run->settings.quiet) fputs("\r\033[K", stderr);
    int64_t stop_ns = when_it_ended(run), end_ns = atomic_load(&shared->end_ns);
    run->measured_ns = (stop_ns < end_ns ? stop_ns : end_ns) - record_ns;
    if (run->measured_ns < 1) run->measured_ns = 1;
}
