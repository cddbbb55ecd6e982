/* SPDX-License-Identifier: Apache-2.0 */
/* The line that says how it goes: rewritten every second on a terminal, a new one every few seconds elsewhere. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/tiered.h"

#define PLAIN_LINE_SECONDS 5

typedef struct moment {
    uint64_t counts[BENCH_OUTCOME_COUNT], failures, mismatches;
} moment;

static moment look(const bench_run *run, bench_histogram *l2_latency) {
    moment now = {0};
    uint64_t all = run->settings.processes * run->settings.threads;
    bench_histogram_clear(l2_latency);
    for (uint64_t i = 0; i < all; i++) {
        const bench_numbers *numbers = &run->shared->numbers[i];
        for (int j = 0; j < BENCH_OUTCOME_COUNT; j++) {
            now.counts[j] += bench_count_read(&numbers->latency[j].count);
            for (uint32_t s = 0; s < BENCH_STATUSES_MAX; s++)
                now.failures += bench_count_read(&numbers->failures[j][s]);
        }
        for (int j = 1; j < BENCH_VERDICT_COUNT; j++)
            now.mismatches += bench_count_read(&numbers->verdicts[j]);
        bench_histogram_merge(l2_latency, &numbers->latency[BENCH_OUTCOME_L2]);
    }
    return now;
}

static uint64_t grown(const moment *before, const moment *after, int outcome) {
    uint64_t a = before->counts[outcome], b = after->counts[outcome];
    return b > a ? b - a : 0; /* the end of a warm-up sets them back */
}

static void add_point(bench_series *series, double seconds, const moment *now) {
    if (series->count > 0 && seconds - series->points[series->count - 1].seconds < series->step_s - 0.5)
        return;
    if (series->count == BENCH_SERIES_MAX) {
        for (uint32_t i = 0; i < BENCH_SERIES_MAX / 2; i++) series->points[i] = series->points[2 * i + 1];
        series->count /= 2;
        series->step_s *= 2;
    }
    struct bench_series_point *point = &series->points[series->count++];
    point->seconds = seconds;
    memcpy(point->counts, now->counts, sizeof point->counts);
    point->failures = now->failures;
}

static void show(const bench_run *run, const moment *before, const moment *after, double step_s,
                 double seconds, bool terminal, const bench_histogram *l2_latency) {
    uint64_t all = 0, reads = 0;
    double share[3];
    for (int i = 0; i < BENCH_OUTCOME_COUNT; i++) all += grown(before, after, i);
    for (int i = 0; i < 3; i++) reads += grown(before, after, i);
    for (int i = 0; i < 3; i++)
        share[i] = reads == 0 ? 0 : 100.0 * (double)grown(before, after, i) / (double)reads;
    const char *colour = terminal && getenv("NO_COLOR") == NULL && after->mismatches > 0 ? "\033[31m" : "";
    fprintf(stderr,
            "%s%s%6.0f s%s  %9.0f op/s  L1 %5.1f %%  L2 %5.1f %%  loaded %5.1f %%  L2 p99 %.3f ms  failed "
            "%" PRIu64 "  wrong %" PRIu64 "%s%s",
            terminal ? "\r\033[K" : "", colour, seconds < 0 ? -seconds : seconds,
            seconds < 0 ? " warm-up" : "", (double)all / step_s, share[0], share[1], share[2],
            (double)bench_histogram_quantile_ns(l2_latency, 0.99) / 1e6, after->failures, after->mismatches,
            colour[0] != '\0' ? "\033[0m" : "", terminal ? "" : "\n");
    fflush(stderr);
    (void)run;
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

void bench_progress_run(bench_run *run, bench_series *series, const volatile int *interrupted) {
    bench_shared *shared = run->shared;
    bench_histogram *l2_latency = calloc(1, sizeof *l2_latency);
    bool terminal = isatty(STDERR_FILENO) != 0;
    int64_t record_ns = atomic_load(&shared->record_ns), shown_ns = bench_now_ns(), ticked_ns = shown_ns;
    int64_t show_gap_ns = (terminal ? 1 : PLAIN_LINE_SECONDS) * BENCH_NS_PER_S;
    moment before = {0};
    series->step_s = 1;
    while (l2_latency != NULL && !*interrupted && !run->crashed && !all_finished(run)) {
        usleep(20000);
        int64_t now_ns = bench_now_ns();
        if (now_ns >= atomic_load(&shared->end_ns)) break;
        if (now_ns - ticked_ns < BENCH_NS_PER_S) continue;
        ticked_ns = now_ns;
        moment after = look(run, l2_latency);
        if (now_ns >= record_ns) add_point(series, (double)(now_ns - record_ns) / 1e9, &after);
        bench_run_reap(run, false);
        if (now_ns - shown_ns < show_gap_ns) continue;
        if (!run->settings.quiet)
            show(run, &before, &after, (double)(now_ns - shown_ns) / 1e9, (double)(now_ns - record_ns) / 1e9,
                 terminal, l2_latency);
        before = after;
        shown_ns = now_ns;
    }
    if (terminal && !run->settings.quiet) fputs("\r\033[K", stderr);
    int64_t stop_ns = when_it_ended(run), end_ns = atomic_load(&shared->end_ns);
    run->measured_ns = (stop_ns < end_ns ? stop_ns : end_ns) - record_ns;
    if (run->measured_ns < 1) run->measured_ns = 1;
    free(l2_latency);
}
