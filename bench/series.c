/* SPDX-License-Identifier: Apache-2.0 */
/* Takes the points of a series: counts, quantiles of the last step, memory. */
#include "bench/series.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "bench/environment.h"
#include "bench/scale.h"

bench_moment bench_moment_read(const bench_run *run) {
    bench_moment now = {0};
    for (uint64_t i = 0; i < run->settings.processes * run->settings.threads; i++) {
        const bench_numbers *numbers = &run->shared->numbers[i];
        for (int j = 0; j < BENCH_OUTCOME_COUNT; j++) {
            now.counts[j] += bench_count_read(&numbers->latency[j].count);
            for (uint32_t s = 0; s < BENCH_STATUSES_MAX; s++) now.failures += bench_count_read(&numbers->failures[j][s]);
        }
        for (int j = 1; j < BENCH_VERDICT_COUNT; j++) now.mismatches += bench_count_read(&numbers->verdicts[j]);
        now.declared_stale += bench_count_read(&numbers->declared_stale);
        now.overtaken += bench_count_read(&numbers->staleness.count);
    }
    return now;
}

/* What came to a histogram since it was before, and now becomes before. */
static void take_step(bench_histogram *before, bench_histogram *now) {
    uint64_t max_ns = 0;
    for (uint32_t i = 0; i < BENCH_HISTOGRAM_BUCKETS; i++) {
        uint64_t all = bench_count_read(&now->buckets[i]), old = bench_count_read(&before->buckets[i]);
        uint64_t step = all > old ? all - old : 0; /* the end of a warm-up sets them back */
        atomic_store_explicit(&before->buckets[i], all, memory_order_relaxed);
        atomic_store_explicit(&now->buckets[i], step, memory_order_relaxed);
        if (step != 0) max_ns = bench_histogram_bucket_high_ns(i);
    }
    atomic_store_explicit(&now->max_ns, max_ns, memory_order_relaxed);
}

static void read_quantiles(bench_series *series, const bench_run *run, bench_series_point *point) {
    for (int j = 0; j < BENCH_OUTCOME_COUNT; j++) {
        bench_histogram *now = &series->now[j];
        bench_histogram_clear(now);
        for (uint64_t i = 0; i < run->settings.processes * run->settings.threads; i++)
            bench_histogram_merge(now, &run->shared->numbers[i].latency[j]);
        take_step(&series->before[j], now);
        point->p50_ns[j] = bench_histogram_quantile_ns(now, 0.5);
        point->p99_ns[j] = bench_histogram_quantile_ns(now, 0.99);
    }
}

static void halve(bench_series *series) {
    for (uint32_t i = 0; i < BENCH_SERIES_MAX / 2; i++) {
        const bench_series_point *first = &series->points[2 * i];
        bench_series_point both = series->points[2 * i + 1];
        for (int j = 0; j < BENCH_OUTCOME_COUNT; j++)
            if (first->p99_ns[j] > both.p99_ns[j]) both.p99_ns[j] = first->p99_ns[j];
        series->points[i] = both;
    }
    series->count /= 2;
    series->step_s *= 2;
}

bench_holdings bench_holdings_read(const bench_run *run) {
    bench_holdings all = {0, 0, 0};
    for (uint64_t i = 0; i < run->settings.processes; i++) {
        const bench_process_report *report = &run->shared->processes[i];
        all.entries += (uint64_t)atomic_load(&report->l1_entries);
        all.bytes += (uint64_t)atomic_load(&report->l1_bytes);
        all.payload_bytes += (uint64_t)atomic_load(&report->l1_payload_bytes);
    }
    return all;
}

void bench_series_add(bench_series *series, const bench_run *run, double seconds) {
    double before = series->count > 0 ? series->points[series->count - 1].seconds : 0;
    if (seconds - before < series->step_s * 0.9) return;
    if (series->count == BENCH_SERIES_MAX) halve(series);
    bench_moment now = bench_moment_read(run);
    bench_series_point *point = &series->points[series->count++];
    *point = (bench_series_point){.seconds = seconds,
                                  .failures = now.failures,
                                  .mismatches = now.mismatches,
                                  .declared_stale = now.declared_stale,
                                  .overtaken = now.overtaken};
    memcpy(point->counts, now.counts, sizeof point->counts);
    for (uint64_t i = 0; run->settings.restart != NULL && i < run->settings.threads; i++) {
        const bench_numbers *numbers = bench_run_numbers(run, run->settings.restart_process, (uint32_t)i);
        for (int j = 0; j < BENCH_OUTCOME_COUNT; j++) point->restarted[j] += bench_count_read(&numbers->latency[j].count);
    }
    read_quantiles(series, run, point);
    for (uint64_t i = 0; i < run->settings.processes; i++)
        if (run->children[i] > 0) point->resident_bytes += (uint64_t)bench_resident_of_bytes(run->children[i]);
    for (uint32_t i = 0; i < run->server_count; i++)
        point->servers_resident_bytes += (uint64_t)bench_resident_of_bytes(run->servers[i]);
    bench_holdings held = bench_holdings_read(run);
    point->l1_entries = held.entries;
    point->l1_bytes = held.bytes;
    point->l1_payload_bytes = held.payload_bytes;
}

static bool is_above(const bench_series_point *point, uint64_t limit_ns) {
    for (int j = BENCH_OUTCOME_L2; j <= BENCH_OUTCOME_SET; j++)
        if (point->p99_ns[j] > limit_ns) return true;
    return false;
}

bench_aftermath bench_series_aftermath(const bench_series *series, double from_seconds, double to_seconds, uint64_t limit_ns) {
    bench_aftermath found = {.first_failure = -1, .last_failure = -1, .recovered = -1};
    double calm_since = 0;
    for (uint32_t i = 0; i < series->count; i++) {
        const bench_series_point *point = &series->points[i];
        uint64_t before = i > 0 ? point[-1].failures : 0;
        double since = point->seconds - from_seconds;
        if (since < 0 || point->seconds > to_seconds) continue;
        bool failed = point->failures > before;
        if (failed) {
            found.failures += point->failures - before;
            if (found.first_failure < 0) found.first_failure = since;
            found.last_failure = since;
        }
        if (failed) found.recovered = -1;
        if (failed || is_above(point, limit_ns)) {
            found.disturbed = true;
            calm_since = since;
        } else if (found.recovered < 0 && since - calm_since >= 1) {
            found.recovered = calm_since;
        }
    }
    return found;
}

bench_growth bench_series_growth(const bench_series *series) {
    uint32_t half = series->count / 2, count = series->count - half;
    double *numbers = count >= 4 ? malloc(2 * count * sizeof *numbers) : NULL;
    if (numbers == NULL) return (bench_growth){NAN, NAN};
    for (uint32_t i = 0; i < count; i++) {
        numbers[i] = series->points[half + i].seconds;
        numbers[count + i] = (double)series->points[half + i].resident_bytes;
    }
    bench_fit fit = bench_fit_line(numbers, numbers + count, count);
    bench_growth growth = {.bytes = fit.slope * (numbers[count - 1] - numbers[0]), .from_bytes = fit.base + fit.slope * numbers[0]};
    free(numbers);
    return growth;
}

/* The share of an outcome among the restarted process's reads between two points; negative where it read nothing. */
static double share_between(const bench_series_point *from, const bench_series_point *to, bench_outcome outcome) {
    uint64_t reads = 0;
    for (int j = 0; j <= BENCH_OUTCOME_MISS; j++) reads += to->restarted[j] - from->restarted[j];
    return reads > 0 ? (double)(to->restarted[outcome] - from->restarted[outcome]) / (double)reads : -1;
}

bench_rewarm bench_series_rewarm(const bench_series *series, double killed_seconds) {
    bench_rewarm found = {.l1_before = -1, .l1_first = -1, .l2_first = -1, .load_first = -1, .back_s = -1};
    const bench_series_point *points = series->points, *killed = NULL, *began = NULL;
    for (uint32_t i = 0; i < series->count; i++) {
        const bench_series_point *point = &points[i];
        if (point->seconds <= killed_seconds) {
            killed = point;
            const bench_series_point *early = point;
            while (early > points && point->seconds - early->seconds < 4) early--;
            found.l1_before = share_between(early, point, BENCH_OUTCOME_L1);
            continue;
        }
        if (killed == NULL) break;
        if (began == NULL && share_between(point - 1, point, BENCH_OUTCOME_L1) >= 0 && point - 1 != killed) began = point - 1;
        if (began == NULL) continue;
        if (found.l1_first < 0 && point->seconds - began->seconds >= 1) {
            found.l1_first = share_between(began, point, BENCH_OUTCOME_L1);
            found.l2_first = share_between(began, point, BENCH_OUTCOME_L2);
            found.load_first = share_between(began, point, BENCH_OUTCOME_LOAD);
        }
        if (found.back_s < 0 && share_between(point - 1, point, BENCH_OUTCOME_L1) >= found.l1_before * 0.95) {
            found.back_s = point->seconds - killed_seconds;
            found.loads = point->restarted[BENCH_OUTCOME_LOAD] - began->restarted[BENCH_OUTCOME_LOAD];
        }
    }
    return found;
}
