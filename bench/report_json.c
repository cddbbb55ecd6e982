/* SPDX-License-Identifier: Apache-2.0 */
/* The whole result as JSON: what was asked, where, what came out, over time, and what the engine counted. */
#include <math.h>
#include <strata/strata.h>

#include "bench/json.h"
#include "bench/tiered.h"

#define SCHEMA "strata-bench/tiered/1"

static void put_options(bench_json *json, const bench_run *run) {
    char text[2048];
    bench_json_object_begin(json, "options");
    for (size_t i = 0; i < bench_tiered_options.count; i++) {
        bench_options_print(&bench_tiered_options.rows[i], &run->settings, text, sizeof text);
        bench_json_text(json, bench_tiered_options.rows[i].name, text);
    }
    bench_json_object_end(json);
    bench_json_object_begin(json, "workload");
    bench_json_integer(json, "keys", run->workload.keys);
    if (run->workload.requests != NULL) {
        bench_json_integer(json, "trace_requests", (int64_t)run->workload.request_count);
        bench_json_text(json, "trace_format", bench_trace_format_name(run->workload.trace_format));
        bench_json_boolean(json, "trace_sizes", run->workload.sizes != NULL);
    }
    bench_json_object_end(json);
}

static void put_histogram(bench_json *json, const char *name, const bench_histogram *histogram) {
    static const struct {
        const char *name;
        double fraction;
    } quantiles[] = {{"p50_ns", 0.5}, {"p90_ns", 0.9}, {"p99_ns", 0.99}, {"p999_ns", 0.999}, {"max_ns", 1}};
    bench_json_object_begin(json, name);
    bench_json_integer(json, "count", (int64_t)bench_count_read(&histogram->count));
    bench_json_number(json, "mean_ns", bench_histogram_mean_ns(histogram));
    for (size_t i = 0; i < sizeof quantiles / sizeof quantiles[0]; i++)
        bench_json_integer(json, quantiles[i].name,
                           (int64_t)bench_histogram_quantile_ns(histogram, quantiles[i].fraction));
    /* Buckets as pairs of their highest value and their count, empty ones left out. */
    bench_json_array_begin(json, "buckets");
    for (uint32_t i = 0; i < BENCH_HISTOGRAM_BUCKETS; i++) {
        uint64_t count = bench_count_read(&histogram->buckets[i]);
        if (count == 0) continue;
        bench_json_integer(json, NULL, (int64_t)bench_histogram_bucket_high_ns(i));
        bench_json_integer(json, NULL, (int64_t)count);
    }
    bench_json_array_end(json);
    bench_json_object_end(json);
}

static void put_result(bench_json *json, const bench_run *run, const bench_totals *totals, const bench_series *series) {
    const bench_numbers *numbers = &totals->numbers;
    bench_json_object_begin(json, "result");
    bench_json_boolean(json, "good", bench_report_is_good(run, totals));
    bench_json_boolean(json, "valid", !bench_report_lagged(run, totals));
    bench_json_boolean(json, "interrupted", run->interrupted);
    bench_json_boolean(json, "crashed", run->crashed);
    bench_json_number(json, "seconds", totals->seconds);
    bench_json_integer(json, "operations", (int64_t)totals->operations);
    bench_json_number(json, "operations_per_second", (double)totals->operations / totals->seconds);
    bench_json_object_begin(json, "read_share");
    for (int i = 0; i <= BENCH_OUTCOME_MISS; i++)
        bench_json_number(json, bench_outcome_word((bench_outcome)i),
                          totals->reads == 0
                              ? 0
                              : (double)bench_count_read(&numbers->latency[i].count) / (double)totals->reads);
    bench_json_object_end(json);
    bench_json_integer(json, "value_bytes_read", (int64_t)bench_count_read(&numbers->value_bytes_read));
    bench_json_integer(json, "operations_with_warmup", (int64_t)bench_count_read(&numbers->completed));
    bench_json_integer(json, "contended_writes", (int64_t)bench_count_read(&numbers->contended));
    bench_json_integer(json, "declared_stale", (int64_t)bench_count_read(&numbers->declared_stale));
    bench_json_integer(json, "never_completed", (int64_t)bench_count_read(&numbers->undrained));
    bench_json_integer(json, "failure_count", (int64_t)totals->failures);
    bench_json_integer(json, "cpu_elapsed_us", run->cpu_elapsed_us);
    bench_json_integer(json, "cpu_machine_us", run->cpu_machine_us);
    bench_json_integer(json, "cpu_servers_us", run->cpu_servers_us);
    if (run->settings.count_allocations)
        bench_json_number(json, "allocations_per_operation", bench_report_allocations(run, totals));
    bench_json_number(json, "resident_growth_second_half_bytes", bench_series_growth(series).bytes);
    bench_holdings held = bench_holdings_read(run);
    bench_json_object_begin(json, "l1");
    bench_json_integer(json, "entries", (int64_t)held.entries);
    if (held.entries > 0) {
        bench_json_number(json, "bytes_per_entry", (double)held.bytes / (double)held.entries);
        bench_json_number(json, "payload_bytes_per_entry", (double)held.payload_bytes / (double)held.entries);
    }
    bench_json_object_end(json);
    bench_json_object_begin(json, "failures");
    for (int i = BENCH_OUTCOME_LOAD; i < BENCH_OUTCOME_COUNT; i++) {
        bench_json_object_begin(json,
                                i == BENCH_OUTCOME_LOAD ? "read" : bench_outcome_word((bench_outcome)i));
        for (int32_t s = 0; s < (int32_t)BENCH_STATUSES_MAX; s++) {
            uint64_t count = bench_count_read(&numbers->failures[i][s]);
            if (count > 0)
                bench_json_integer(json, s == 0 ? "unexpected" : strata_status_name(-s), (int64_t)count);
        }
        bench_json_object_end(json);
    }
    bench_json_object_end(json);
    bench_json_object_end(json);
}

static void put_cautions(bench_json *json, const bench_run *run, const bench_totals *totals,
                         const bench_environment *environment, const bench_series *series) {
    bench_json_array_begin(json, "cautions");
    if (bench_report_was_noisy(run, series)) bench_json_text(json, NULL, BENCH_CAUTION_NOISY);
    if (bench_report_was_disturbed(run, environment)) bench_json_text(json, NULL, BENCH_CAUTION_DISTURBED);
    if (bench_report_lagged(run, totals)) bench_json_text(json, NULL, BENCH_CAUTION_LAGGED);
    bench_json_array_end(json);
}

static void put_latencies(bench_json *json, const bench_run *run, const bench_totals *totals) {
    const bench_probe_numbers *probe = &run->shared->probe;
    put_histogram(json, "staleness", &totals->numbers.staleness);
    bench_json_text(json, "latency_counts_from", bench_run_is_open(run) ? "intended start" : "call");
    bench_json_object_begin(json, "latency");
    for (int i = 0; i < BENCH_OUTCOME_COUNT; i++)
        put_histogram(json, bench_outcome_word((bench_outcome)i), &totals->numbers.latency[i]);
    bench_json_object_end(json);
    if (bench_run_is_open(run)) {
        bench_json_object_begin(json, "service");
        for (int i = 0; i < BENCH_OUTCOME_COUNT; i++)
            put_histogram(json, bench_outcome_word((bench_outcome)i), &totals->numbers.service[i]);
        bench_json_object_end(json);
        put_histogram(json, "send_lag", &totals->numbers.send_lag);
    }
    if (run->settings.probe_rate <= 0) return;
    bench_json_object_begin(json, "invalidation_lag");
    put_histogram(json, "set_after_ack", &probe->after_ack[0]);
    put_histogram(json, "set_after_call", &probe->after_call[0]);
    put_histogram(json, "invalidate_after_ack", &probe->after_ack[1]);
    put_histogram(json, "invalidate_after_call", &probe->after_call[1]);
    bench_json_integer(json, "discarded", (int64_t)bench_count_read(&probe->discarded));
    bench_json_integer(json, "failed", (int64_t)bench_count_read(&probe->failed));
    bench_json_integer(json, "never_seen", (int64_t)bench_count_read(&probe->never_seen));
    bench_json_object_end(json);
}

static void put_verification(bench_json *json, const bench_run *run, const bench_totals *totals) {
    bench_json_object_begin(json, "verification");
    bench_json_integer(json, "wrong", (int64_t)totals->mismatches);
    int64_t bound_ns = run->shared->processes[0].staleness_max_ns;
    bench_json_number(json, "staleness_bound_ms",
                      bound_ns == INT64_MAX ? (double)INFINITY : (double)bound_ns / 1e6);
    for (int i = 0; i < BENCH_VERDICT_COUNT; i++)
        bench_json_integer(json, bench_verdict_word((bench_verdict)i),
                           (int64_t)bench_count_read(&totals->numbers.verdicts[i]));
    bench_json_array_begin(json, "details");
    for (uint32_t i = 0; i < BENCH_DETAILS_MAX && i < atomic_load(&run->shared->detail_count); i++)
        bench_json_text(json, NULL, run->shared->details[i]);
    bench_json_array_end(json);
    bench_json_object_end(json);
}

static void put_process(bench_json *json, const bench_process_report *report, bool counted) {
    strata_metric metric;
    bench_json_object_begin(json, NULL);
    bench_json_text(json, "error", report->error);
    bench_json_text(json, "closed", strata_status_name(report->close_status));
    bench_json_integer(json, "cpu_user_us", report->cpu_user_us);
    bench_json_integer(json, "cpu_system_us", report->cpu_system_us);
    bench_json_integer(json, "context_switches", report->switches_voluntary + report->switches_forced);
    bench_json_integer(json, "times_asleep", report->switches_voluntary);
    bench_json_integer(json, "times_off_cpu", report->switches_forced);
    if (counted) bench_json_integer(json, "allocations", report->allocations);
    bench_json_integer(json, "resident_bytes_max", report->resident_bytes_max);
    /* Levels as they were at the end, counts as they grew. */
    bench_json_object_begin(json, "metrics");
    for (size_t i = 0; i < BENCH_METRICS_MAX && strata_metric_describe(i, &metric) == STRATA_OK; i++)
        bench_json_integer(json, metric.name,
                           metric.gauge ? report->metrics_after[i]
                                        : report->metrics_after[i] - report->metrics_before[i]);
    bench_json_object_end(json);
    bench_json_object_end(json);
}

/* A number by outcome; those that are 0 are left out. */
static void put_by_outcome(bench_json *json, const char *name, const uint64_t *values) {
    bench_json_object_begin(json, name);
    for (int j = 0; j < BENCH_OUTCOME_COUNT; j++)
        if (values[j] != 0) bench_json_integer(json, bench_outcome_word((bench_outcome)j), (int64_t)values[j]);
    bench_json_object_end(json);
}

/* Levels at the end of each phase, counts as they grew in it. */
static void put_servers(bench_json *json, const bench_run *run) {
    static const char *const phases[] = {"warmup", "recording"};
    bench_json_array_begin(json, "servers");
    for (uint32_t i = 0; i < run->server_count; i++) {
        bench_json_object_begin(json, NULL);
        for (int phase = BENCH_AT_START; phase < BENCH_AT_END; phase++) {
            const bench_server_info *a = &run->server_info[phase][i], *b = &run->server_info[phase + 1][i];
            if (!a->known || !b->known) continue;
            bench_json_object_begin(json, phases[phase]);
            bench_json_integer(json, "cpu_user_us", b->cpu_user_us - a->cpu_user_us);
            bench_json_integer(json, "cpu_system_us", b->cpu_system_us - a->cpu_system_us);
            bench_json_integer(json, "commands", b->commands - a->commands);
            bench_json_integer(json, "net_in_bytes", b->net_in_bytes - a->net_in_bytes);
            bench_json_integer(json, "net_out_bytes", b->net_out_bytes - a->net_out_bytes);
            bench_json_integer(json, "evicted_keys", b->evicted_keys - a->evicted_keys);
            bench_json_integer(json, "memory_bytes", b->memory_bytes);
            bench_json_integer(json, "resident_bytes", b->resident_bytes);
            bench_json_integer(json, "keys", b->keys);
            bench_json_integer(json, "clients", b->clients);
            bench_json_integer(json, "channels", b->channels);
            bench_json_object_end(json);
        }
        bench_json_object_end(json);
    }
    bench_json_array_end(json);
}

static void put_events(bench_json *json, const bench_faults *faults, const bench_series *series) {
    bench_json_array_begin(json, "events");
    for (uint32_t i = 0; i < faults->event_count; i++) {
        bench_json_object_begin(json, NULL);
        bench_json_number(json, "seconds", faults->events[i].seconds);
        bench_json_text(json, "text", faults->events[i].text);
        double until = i + 1 < faults->event_count ? faults->events[i + 1].seconds : INFINITY;
        bench_aftermath after = bench_series_aftermath(series, faults->events[i].seconds, until, BENCH_RECOVERED_NS);
        bench_json_integer(json, "failures", (int64_t)after.failures);
        if (after.failures > 0) {
            bench_json_number(json, "first_failure_s", after.first_failure);
            bench_json_number(json, "last_failure_s", after.last_failure);
        }
        if (after.disturbed && after.recovered >= 0) bench_json_number(json, "recovered_s", after.recovered);
        bench_json_object_end(json);
    }
    bench_json_array_end(json);
}

static void put_series(bench_json *json, const bench_series *series, bool restart) {
    bench_json_array_begin(json, "series");
    for (uint32_t i = 0; i < series->count; i++) {
        const bench_series_point *point = &series->points[i];
        bench_json_object_begin(json, NULL);
        bench_json_number(json, "seconds", point->seconds);
        for (int j = 0; j < BENCH_OUTCOME_COUNT; j++)
            bench_json_integer(json, bench_outcome_word((bench_outcome)j), (int64_t)point->counts[j]);
        bench_json_integer(json, "failures", (int64_t)point->failures);
        bench_json_integer(json, "wrong", (int64_t)point->mismatches);
        bench_json_integer(json, "declared_stale", (int64_t)point->declared_stale);
        bench_json_integer(json, "overtaken", (int64_t)point->overtaken);
        bench_json_integer(json, "resident_bytes", (int64_t)point->resident_bytes);
        bench_json_integer(json, "servers_resident_bytes", (int64_t)point->servers_resident_bytes);
        bench_json_integer(json, "l1_entries", (int64_t)point->l1_entries);
        bench_json_integer(json, "l1_bytes", (int64_t)point->l1_bytes);
        bench_json_integer(json, "l1_payload_bytes", (int64_t)point->l1_payload_bytes);
        if (restart) put_by_outcome(json, "restarted", point->restarted);
        put_by_outcome(json, "p50_ns", point->p50_ns);
        put_by_outcome(json, "p99_ns", point->p99_ns);
        bench_json_object_end(json);
    }
    bench_json_array_end(json);
}

int bench_report_json(const char *path, const bench_run *run, const bench_totals *totals,
                      const bench_environment *environment, const bench_series *series) {
    FILE *file = fopen(path, "w");
    bench_json json;
    if (file == NULL) return -1;
    bench_json_init(&json, file);
    bench_json_object_begin(&json, NULL);
    bench_json_text(&json, "schema", SCHEMA);
    bench_json_object_begin(&json, "environment");
    bench_environment_put_fields(&json, environment);
    bench_json_text(&json, "server", run->server_version);
    bench_json_integer(&json, "clock_reading_ns", run->timer_ns);
    bench_json_object_end(&json);
    put_options(&json, run);
    put_result(&json, run, totals, series);
    put_cautions(&json, run, totals, environment, series);
    put_verification(&json, run, totals);
    put_latencies(&json, run, totals);
    bench_json_array_begin(&json, "processes");
    for (uint64_t i = 0; i < run->settings.processes; i++) put_process(&json, &run->shared->processes[i], run->settings.count_allocations != 0);
    bench_json_array_end(&json);
    put_servers(&json, run);
    put_series(&json, series, run->settings.restart != NULL);
    put_events(&json, &run->faults, series);
    bench_json_object_end(&json);
    int failed = ferror(file);
    return fclose(file) == 0 && !failed ? 0 : -1;
}
