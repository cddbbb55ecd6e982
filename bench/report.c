/* SPDX-License-Identifier: Apache-2.0 */
/* Adds up what the threads recorded, and prints one screen that says what happened. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <strata/strata.h>
#include <string.h>

#include "bench/median.h"
#include "bench/tiered.h"

const char *bench_outcome_word(bench_outcome outcome) {
    static const char *const words[] = {
#define WORD(name, word, title) word,
        BENCH_OUTCOME_TABLE(WORD)
#undef WORD
    };
    return words[outcome];
}

const char *bench_outcome_title(bench_outcome outcome) {
    static const char *const titles[] = {
#define TITLE(name, word, title) title,
        BENCH_OUTCOME_TABLE(TITLE)
#undef TITLE
    };
    return titles[outcome];
}

static void add_numbers(bench_numbers *into, const bench_numbers *from) {
    for (int i = 0; i < BENCH_OUTCOME_COUNT; i++) {
        bench_histogram_merge(&into->latency[i], &from->latency[i]);
        bench_histogram_merge(&into->service[i], &from->service[i]);
        for (uint32_t s = 0; s < BENCH_STATUSES_MAX; s++)
            bench_count_add(&into->failures[i][s], bench_count_read(&from->failures[i][s]));
    }
    bench_histogram_merge(&into->send_lag, &from->send_lag);
    bench_histogram_merge(&into->staleness, &from->staleness);
    for (int i = 0; i < BENCH_VERDICT_COUNT; i++)
        bench_count_add(&into->verdicts[i], bench_count_read(&from->verdicts[i]));
    bench_count_add(&into->value_bytes_read, bench_count_read(&from->value_bytes_read));
    bench_count_add(&into->completed, bench_count_read(&from->completed));
    bench_count_add(&into->contended, bench_count_read(&from->contended));
    bench_count_add(&into->declared_stale, bench_count_read(&from->declared_stale));
    bench_count_add(&into->undrained, bench_count_read(&from->undrained));
}

void bench_totals_collect(bench_totals *totals, const bench_run *run) {
    for (uint64_t i = 0; i < run->settings.processes * run->settings.threads; i++)
        add_numbers(&totals->numbers, &run->shared->numbers[i]);
    for (int i = 0; i < BENCH_OUTCOME_COUNT; i++) {
        uint64_t count = bench_count_read(&totals->numbers.latency[i].count);
        totals->operations += count;
        if (i <= BENCH_OUTCOME_MISS) totals->reads += count;
        for (uint32_t s = 0; s < BENCH_STATUSES_MAX; s++)
            totals->failures += bench_count_read(&totals->numbers.failures[i][s]);
    }
    for (int i = 1; i < BENCH_VERDICT_COUNT; i++)
        totals->mismatches += bench_count_read(&totals->numbers.verdicts[i]);
    totals->seconds = (double)run->measured_ns / 1e9;
}

bool bench_report_is_good(const bench_run *run, const bench_totals *totals) {
    if (totals->mismatches > 0 || run->crashed || totals->operations == 0) return false;
    if (bench_count_read(&run->shared->probe.never_seen) > 0) return false;
    uint64_t failures = totals->failures;
    if (run->settings.loader_fail_percent > 0)
        failures -= bench_count_read(&totals->numbers.failures[BENCH_OUTCOME_LOAD][-STRATA_E_LOAD_FAILED]);
    return run->settings.allow_errors ||
           (failures == 0 && bench_count_read(&totals->numbers.undrained) == 0);
}

/* ---- printing ----------------------------------------------------------------------------------------------- */

/* A duration with three digits and its unit, in 9 columns. */
static const char *say_ns(double ns, char text[16]) {
    static const char *const units[] = {"ns", "us", "ms", "s "};
    int unit = 0;
    for (; ns >= 999.5 && unit < 3; unit++) ns /= 1000;
    snprintf(text, 16, "%6.*f %s", ns >= 99.95 || unit == 0 ? 0 : ns >= 9.995 ? 1 : 2, ns, units[unit]);
    return text;
}

static void say_bytes(double bytes, char *text, size_t size) {
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    int unit = 0;
    for (; bytes >= 1024 && unit < 4; unit++) bytes /= 1024;
    snprintf(text, size, unit == 0 ? "%.0f %s" : "%.4g %s", bytes, units[unit]);
}

static void print_setting(FILE *out, const bench_run *run, const bench_environment *environment) {
    static const char *const modes[] = {"cluster", "standalone server", "none"};
    const bench_settings *settings = &run->settings;
    const bench_workload_settings *work = &settings->workload;
    char l1[32], bound[32] = "none", mode[48];
    snprintf(mode, sizeof mode, "%s", modes[settings->l2]);
    say_bytes((double)settings->l1_bytes, l1, sizeof l1);
    int64_t staleness_ns = run->shared->processes[0].staleness_max_ns;
    if (staleness_ns != INT64_MAX) snprintf(bound, sizeof bound, "%g ms", (double)staleness_ns / 1e6);
    fprintf(out, "load      %" PRIu64 " processes x %" PRIu64 " threads, ", settings->processes,
            settings->threads);
    if (settings->speed > 0)
        fprintf(out, "open loop, %g times the trace's own clock, latency from the intended start\n", settings->speed);
    else if (settings->ramp_to > 0)
        fprintf(out, "open loop, from %g to %g op/s in all, latency from the intended start\n", settings->rate, settings->ramp_to);
    else if (settings->rate > 0)
        fprintf(out, "open loop, %g op/s in all%s, latency from the intended start\n", settings->rate,
                settings->arrivals == BENCH_ARRIVALS_POISSON ? " (Poisson)" : "");
    else
        fprintf(out, "closed loop, %" PRIu64 " under way per thread\n", settings->outstanding);
    if (work->trace_path != NULL) {
        fprintf(out, "workload  trace %s (%s): %" PRIu64 " requests, %u keys, %s", work->trace_path,
                bench_trace_format_name(run->workload.trace_format), run->workload.request_count,
                run->workload.keys, run->workload.sizes != NULL ? "sizes of the trace" : "");
    } else {
        fprintf(out, "workload  %s over %u keys, ", work->distribution, run->workload.keys);
    }
    if (run->workload.sizes == NULL)
        fprintf(out, "values %" PRIu64 "-%" PRIu64 "%s bytes", work->value_bytes.min, work->value_bytes.max,
                bench_shape_suffix(work->value_bytes.shape));
    if (work->trace_operations)
        fprintf(out, ", operations of the trace\n");
    else
        fprintf(out, ", %g %% sets, %g %% invalidations, %g %% plain gets, seed %" PRIu64 "\n", work->set_percent,
                work->invalidate_percent, work->get_percent, work->seed);
    if (work->tags > 0)
        fprintf(out, "tags      %" PRIu64 " (%s), %" PRIu64 "-%" PRIu64 " a value, %g %% of operations invalidate one\n", work->tags,
                work->tag_distribution, work->tags_each.min, work->tags_each.max, work->tag_percent);
    if (settings->nodes == NULL && settings->l2 == BENCH_L2_CLUSTER)
        snprintf(mode, sizeof mode, "cluster of %" PRIu64 " primaries", settings->primaries);
    fprintf(out, "tiers     L1 %s per process; L2 %s%s%s; loader %" PRIu64 "-%" PRIu64 "%s us; staleness bound %s\n", l1,
            mode, run->server_version[0] != '\0' ? ", " : "", run->server_version, settings->loader_us.min,
            settings->loader_us.max, bench_shape_suffix(settings->loader_us.shape), bound);
    fprintf(out, "machine   %u x %s, %s, strata %s (%s)\n\n", environment->cpus, environment->cpu,
            environment->kernel, environment->commit, environment->compiler);
}

static void print_row(FILE *out, const char *title, const bench_histogram *histogram, double seconds) {
    static const double fractions[] = {0.5, 0.9, 0.99, 0.999, 1};
    char text[16];
    uint64_t count = bench_count_read(&histogram->count);
    if (count == 0) return;
    fprintf(out, "  %-26s %11" PRIu64 " %9.0f", title, count, (double)count / seconds);
    fprintf(out, "  %s", say_ns(bench_histogram_mean_ns(histogram), text));
    for (size_t i = 0; i < sizeof fractions / sizeof fractions[0]; i++)
        fprintf(out, "  %s", say_ns((double)bench_histogram_quantile_ns(histogram, fractions[i]), text));
    fputc('\n', out);
}

static void print_head(FILE *out, const char *title) {
    fprintf(out, "%-28s %11s %9s  %9s  %9s  %9s  %9s  %9s  %9s\n", title, "count", "per s", "mean", "p50",
            "p90", "p99", "p99.9", "max");
}

static void print_latencies(FILE *out, const bench_run *run, const bench_totals *totals) {
    char text[16];
    print_head(out, bench_run_is_open(run) ? "latency, intended start" : "latency");
    for (int i = 0; i < BENCH_OUTCOME_COUNT; i++)
        print_row(out, bench_outcome_title((bench_outcome)i), &totals->numbers.latency[i], totals->seconds);
    if (bench_run_is_open(run)) {
        fprintf(out, "service time, from the call\n");
        for (int i = 0; i < BENCH_OUTCOME_COUNT; i++)
            print_row(out, bench_outcome_title((bench_outcome)i), &totals->numbers.service[i],
                      totals->seconds);
        print_row(out, "send lag (of the generator)", &totals->numbers.send_lag, totals->seconds);
    }
    fprintf(out, "  every latency contains one reading of the clock, %s here; nothing is subtracted\n\n",
            say_ns((double)run->timer_ns, text) + strspn(text, " "));
}

static void print_staleness(FILE *out, const bench_totals *totals) {
    const bench_histogram *staleness = &totals->numbers.staleness;
    uint64_t count = bench_count_read(&staleness->count);
    char median[16], high[16], most[16];
    if (count == 0) return;
    fprintf(out, "staleness %" PRIu64 " of %" PRIu64 " reads said to be fresh were of a value that was overtaken before: since %s (p50), %s (p99), %s (most)\n",
            count, totals->reads, say_ns((double)bench_histogram_quantile_ns(staleness, 0.5), median) + strspn(median, " "),
            say_ns((double)bench_histogram_quantile_ns(staleness, 0.99), high) + strspn(high, " "),
            say_ns((double)bench_histogram_quantile_ns(staleness, 1), most) + strspn(most, " "));
}

static void print_probe(FILE *out, const bench_run *run, double seconds) {
    const bench_probe_numbers *probe = &run->shared->probe;
    if (run->settings.probe_rate <= 0) return;
    print_head(out, "old value gone elsewhere");
    print_row(out, "set, after its ack", &probe->after_ack[0], seconds);
    print_row(out, "set, after its call", &probe->after_call[0], seconds);
    print_row(out, "invalidate, after its ack", &probe->after_ack[1], seconds);
    print_row(out, "invalidate, after its call", &probe->after_call[1], seconds);
    uint64_t discarded = bench_count_read(&probe->discarded), failed = bench_count_read(&probe->failed);
    uint64_t never = bench_count_read(&probe->never_seen);
    if (discarded + failed + never > 0)
        fprintf(out, "  samples discarded %" PRIu64 ", failed %" PRIu64 ", never seen %" PRIu64 "\n",
                discarded, failed, never);
    fputc('\n', out);
}

static void print_memory(FILE *out, const bench_run *run, const bench_series *series) {
    bench_holdings held = bench_holdings_read(run);
    int64_t budget = 0;
    char used_text[32], budget_text[32];
    for (uint64_t i = 0; i < run->settings.processes; i++) budget += bench_run_metric(run->shared->processes[i].metrics_after, "l1.bytes_max");
    say_bytes((double)held.bytes, used_text, sizeof used_text);
    say_bytes((double)budget, budget_text, sizeof budget_text);
    fprintf(out, "memory    L1 holds %" PRIu64 " entries in %s of %s (all processes)", held.entries, used_text, budget_text);
    if (held.entries > 0)
        fprintf(out, ": %.1f bytes per entry, %.1f of them key and value", (double)held.bytes / (double)held.entries,
                (double)held.payload_bytes / (double)held.entries);
    fputc('\n', out);
    bench_growth growth = bench_series_growth(series);
    if (isfinite(growth.bytes))
        fprintf(out, "          resident memory of the processes in the second half: %+.0f KiB, %+.2f %%%s\n", growth.bytes / 1024,
                100 * growth.bytes / growth.from_bytes,
                growth.bytes < BENCH_FLAT_BYTES || growth.bytes < BENCH_FLAT_PART * growth.from_bytes ? ", flat" : "");
}

double bench_report_allocations(const bench_run *run, const bench_totals *totals) {
    int64_t sum = 0;
    for (uint64_t i = 0; i < run->settings.processes; i++) sum += run->shared->processes[i].allocations;
    return (double)sum / ((double)bench_count_read(&totals->numbers.completed) + 1e-9);
}

static void print_effort(FILE *out, const bench_run *run, const bench_totals *totals) {
    int64_t user_us = 0, system_us = 0, resident = 0, voluntary = 0, forced = 0;
    char text[32];
    for (uint64_t i = 0; i < run->settings.processes; i++) {
        const bench_process_report *report = &run->shared->processes[i];
        user_us += report->cpu_user_us;
        system_us += report->cpu_system_us;
        voluntary += report->switches_voluntary;
        forced += report->switches_forced;
        resident += report->resident_bytes_max;
    }
    say_bytes((double)resident, text, sizeof text);
    double operations = (double)bench_count_read(&totals->numbers.completed) + 1e-9;
    fprintf(out,
            "effort    %.2f us of CPU per operation (user %.2f, system %.2f), %.3f times asleep and %.3f times off its CPU; "
            "resident %s\n",
            (double)(user_us + system_us) / operations, (double)user_us / operations,
            (double)system_us / operations, (double)voluntary / operations, (double)forced / operations, text);
    if (run->settings.count_allocations)
        fprintf(out, "          %.3f allocations per operation by the engines, which took malloc to be counted\n",
                bench_report_allocations(run, totals));
}

static int64_t own_cpu_us(const bench_run *run) {
    int64_t own_us = 0;
    for (uint64_t i = 0; i < run->settings.processes; i++)
        own_us += run->shared->processes[i].cpu_user_us + run->shared->processes[i].cpu_system_us;
    return own_us;
}

bool bench_report_was_disturbed(const bench_run *run, const bench_environment *environment) {
    double others_us = (double)(run->cpu_machine_us - own_cpu_us(run) - run->cpu_servers_us);
    return others_us > (double)run->cpu_elapsed_us * environment->cpus * BENCH_OTHERS_MAX;
}

/* Only a closed loop's rate says how fast the machine was, and only where nothing was done to it. */
bool bench_report_was_noisy(const bench_run *run, const bench_series *series) {
    double *rates = malloc(BENCH_SERIES_MAX * sizeof *rates);
    uint32_t count = 0;
    if (rates == NULL || bench_run_is_open(run) || run->faults.event_count > 0) {
        free(rates);
        return false;
    }
    for (uint32_t i = 1; i < series->count; i++) {
        const bench_series_point *point = &series->points[i];
        uint64_t done = 0;
        for (int j = 0; j < BENCH_OUTCOME_COUNT; j++) done += point->counts[j] - point[-1].counts[j];
        rates[count++] = (double)done / (point->seconds - point[-1].seconds);
    }
    double noise = bench_noise(rates, count);
    free(rates);
    return noise > BENCH_NOISE_MAX;
}

bool bench_report_lagged(const bench_run *run, const bench_totals *totals) {
    return bench_run_is_open(run) &&
           bench_histogram_quantile_ns(&totals->numbers.send_lag, 0.99) > (uint64_t)BENCH_SEND_LAG_MAX_NS;
}

/* What else the machine did, and whether the generator itself kept up: only a quiet machine gives latencies. */
static void print_trust(FILE *out, const bench_run *run, const bench_totals *totals,
                        const bench_environment *environment, const bench_series *series) {
    int64_t own_us = own_cpu_us(run);
    double all_us = (double)run->cpu_elapsed_us * environment->cpus;
    double other_us = (double)(run->cpu_machine_us - own_us - run->cpu_servers_us);
    if (all_us <= 0) return;
    fprintf(out, "cpus      of %u: this program %.0f %%, its servers %.0f %%, anything else %.0f %%\n",
            environment->cpus, 100 * (double)own_us / all_us, 100 * (double)run->cpu_servers_us / all_us,
            other_us > 0 ? 100 * other_us / all_us : 0);
    if (bench_report_was_noisy(run, series)) fprintf(out, "CAUTION   %s\n", BENCH_CAUTION_NOISY);
    if (bench_report_was_disturbed(run, environment)) fprintf(out, "CAUTION   %s\n", BENCH_CAUTION_DISTURBED);
    if (bench_report_lagged(run, totals)) fprintf(out, "INVALID   %s\n", BENCH_CAUTION_LAGGED);
}

#define SERVER_LINES_MAX 12u

/* What each server spent while recording. */
static void print_servers(FILE *out, const bench_run *run, double seconds) {
    for (uint32_t i = 0; i < run->server_count && i < SERVER_LINES_MAX; i++) {
        const bench_server_info *before = &run->server_info[BENCH_AT_RECORD][i], *after = &run->server_info[BENCH_AT_END][i];
        char memory[32], grown[32];
        if (!before->known || !after->known || after->commands < before->commands) {
            fprintf(out, "%s node %u: was not there all the time\n", i == 0 ? "servers  " : "         ", i);
            continue;
        }
        double cpu_us = (double)(after->cpu_user_us + after->cpu_system_us - before->cpu_user_us - before->cpu_system_us);
        double commands = (double)(after->commands - before->commands);
        say_bytes((double)after->memory_bytes, memory, sizeof memory);
        say_bytes((double)(after->memory_bytes - before->memory_bytes), grown, sizeof grown);
        fprintf(out, "%s node %u: %.1f %% of a CPU, %.0f commands a second (%.2f us each), %" PRId64 " keys in %s (%s%s since recording began)\n",
                i == 0 ? "servers  " : "         ", i, cpu_us / seconds / 1e4, commands / seconds, commands > 0 ? cpu_us / commands : 0,
                after->keys, memory, after->memory_bytes >= before->memory_bytes ? "+" : "", grown);
    }
}

/* Counts of the engine that say how it got there, summed over processes; zeros are left out. */
static void print_engine(FILE *out, const bench_run *run) {
    strata_metric metric;
    uint32_t column = 0;
    for (size_t i = 0; i < BENCH_METRICS_MAX && strata_metric_describe(i, &metric) == STRATA_OK; i++) {
        int64_t sum = 0;
        if (metric.gauge) continue;
        for (uint64_t j = 0; j < run->settings.processes; j++)
            sum += run->shared->processes[j].metrics_after[i] - run->shared->processes[j].metrics_before[i];
        if (sum == 0) continue;
        fprintf(out,
                column == 0       ? "engine    %-28s%13" PRId64
                : column % 3 == 0 ? "\n          %-28s%13" PRId64
                                  : "   %-28s%13" PRId64,
                metric.name, sum);
        column++;
    }
    if (column > 0) fputc('\n', out);
}

static void print_failures(FILE *out, const bench_totals *totals) {
    uint64_t undrained = bench_count_read(&totals->numbers.undrained);
    fprintf(out, "failures  ");
    if (totals->failures == 0) fprintf(out, "none");
    for (int i = BENCH_OUTCOME_LOAD; i < BENCH_OUTCOME_COUNT; i++)
        for (int32_t s = 0; s < (int32_t)BENCH_STATUSES_MAX; s++) {
            uint64_t count = bench_count_read(&totals->numbers.failures[i][s]);
            if (count > 0)
                fprintf(out, "%s %s %" PRIu64 "; ",
                        i == BENCH_OUTCOME_LOAD ? "read" : bench_outcome_word((bench_outcome)i),
                        s == 0 ? "unexpected status" : strata_status_name(-s), count);
        }
    if (undrained > 0) fprintf(out, " %" PRIu64 " operations never completed", undrained);
    fputc('\n', out);
}

static void print_verification(FILE *out, const bench_run *run, const bench_totals *totals) {
    uint64_t good = bench_count_read(&totals->numbers.verdicts[BENCH_VERDICT_GOOD]);
    const bench_shared *shared = run->shared;
    if (totals->mismatches == 0) {
        fprintf(out, "checked   %" PRIu64 " reads, warm-up included: every one was what was promised\n",
                good);
        return;
    }
    fprintf(out, "checked   %" PRIu64 " reads, of which WRONG: %" PRIu64 "\n", good + totals->mismatches,
            totals->mismatches);
    for (int i = 1; i < BENCH_VERDICT_COUNT; i++) {
        uint64_t count = bench_count_read(&totals->numbers.verdicts[i]);
        if (count > 0)
            fprintf(out, "          %-15s%9" PRIu64 "  %s\n", bench_verdict_word((bench_verdict)i), count,
                    bench_verdict_text((bench_verdict)i));
    }
    for (uint32_t i = 0; i < BENCH_DETAILS_MAX && i < atomic_load(&shared->detail_count); i++)
        fprintf(out, "          %s\n", shared->details[i]);
}

static void print_faults(FILE *out, const bench_run *run, const bench_series *series) {
    const bench_faults *faults = &run->faults;
    for (uint32_t i = 0; i < faults->event_count; i++) {
        double from = faults->events[i].seconds, to = i + 1 < faults->event_count ? faults->events[i + 1].seconds : 1e9;
        bench_aftermath after = bench_series_aftermath(series, from, to, BENCH_RECOVERED_NS);
        fprintf(out, "fault     %s at %.1f s: ", faults->events[i].text, from);
        if (after.failures == 0) fprintf(out, "no failed operation; ");
        else
            fprintf(out, "%" PRIu64 " failed operations from %.2f to %.2f s after it; ", after.failures, after.first_failure,
                    after.last_failure);
        if (!after.disturbed) fprintf(out, "p99 of L2 hits, loads and sets stayed below 1 ms\n");
        else if (after.recovered < 0) fprintf(out, "p99 of L2 hits, loads and sets not below 1 ms for a second since\n");
        else fprintf(out, "p99 of L2 hits, loads and sets below 1 ms again after %.2f s\n", after.recovered);
    }
}

static void print_rewarm(FILE *out, const bench_run *run, const bench_series *series) {
    if (run->settings.restart == NULL || run->faults.event_count == 0) return;
    bench_rewarm back = bench_series_rewarm(series, run->faults.events[0].seconds);
    fprintf(out, "restart   process %u answered %.1f %% of its reads from L1; in its first second again %.1f %%, from L2 %.1f %%, loaded %.1f %%; ",
            run->settings.restart_process, 100 * back.l1_before, 100 * back.l1_first, 100 * back.l2_first, 100 * back.load_first);
    if (back.back_s < 0) fprintf(out, "its L1 is not back at 95 %% of that\n");
    else fprintf(out, "its L1 is back at 95 %% of that %.2f s after the kill, with %" PRIu64 " loads\n", back.back_s, back.loads);
}

void bench_report_print(FILE *out, const bench_run *run, const bench_totals *totals,
                        const bench_environment *environment, const bench_series *series) {
    double reads = totals->reads > 0 ? (double)totals->reads : 1;
    uint64_t contended = bench_count_read(&totals->numbers.contended);
    uint64_t stale = bench_count_read(&totals->numbers.declared_stale);
    fputc('\n', out);
    print_setting(out, run, environment);
    print_latencies(out, run, totals);
    print_probe(out, run, totals->seconds);
    fprintf(out, "result    %.0f op/s for %.1f s%s; reads: L1 %.2f %%, L2 %.2f %%, loaded %.2f %%, missed %.2f %%\n",
            (double)totals->operations / totals->seconds, totals->seconds,
            run->interrupted ? " (interrupted)" : "",
            100 * (double)bench_count_read(&totals->numbers.latency[BENCH_OUTCOME_L1].count) / reads,
            100 * (double)bench_count_read(&totals->numbers.latency[BENCH_OUTCOME_L2].count) / reads,
            100 * (double)bench_count_read(&totals->numbers.latency[BENCH_OUTCOME_LOAD].count) / reads,
            100 * (double)bench_count_read(&totals->numbers.latency[BENCH_OUTCOME_MISS].count) / reads);
    print_staleness(out, totals);
    print_memory(out, run, series);
    print_effort(out, run, totals);
    print_trust(out, run, totals, environment, series);
    print_servers(out, run, totals->seconds);
    print_engine(out, run);
    if (contended > 0)
        fprintf(out, "note      %" PRIu64 " writes met another writer of their key and became reads\n",
                contended);
    if (stale > 0)
        fprintf(out, "note      %" PRIu64 " answers said of themselves that they may be stale\n", stale);
    for (uint64_t i = 0; i < run->settings.processes; i++)
        if (run->shared->processes[i].error[0] != '\0')
            fprintf(out, "ERROR     process %" PRIu64 ": %s\n", i, run->shared->processes[i].error);
    print_faults(out, run, series);
    print_rewarm(out, run, series);
    print_failures(out, totals);
    print_verification(out, run, totals);
    fflush(out);
}
