/* SPDX-License-Identifier: Apache-2.0 */
/* The options of `strata-bench tiered`, and which of them contradict each other. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/tiered.h"

#define FIELD(member) offsetof(bench_settings, member)
#define WORK(member)  offsetof(bench_settings, workload.member)

static const bench_option rows[] = {
    {"dist", BENCH_OPTION_TEXT, BENCH_POPULARITY_FORM, "zipf:0.99", 0, 0, NULL, WORK(distribution),
     "popularity of keys; hotspot:10:90 gives 10 % of them 90 % of the requests; latest: of those set last; file: a line "
     "'WEIGHT [BYTES]' per key", "What is asked for"},
    {"keys", BENCH_OPTION_COUNT, "N", "100k", 1, BENCH_KEYS_MAX, NULL, WORK(keys), "keys there are", NULL},
    {"key-bytes", BENCH_OPTION_RANGE, "BYTES|" BENCH_RANGE_FORM, "16", BENCH_KEY_BYTES_MIN, BENCH_KEY_BYTES_MAX, NULL, WORK(key_bytes),
     "size of keys", NULL},
    {"value-bytes", BENCH_OPTION_RANGE, "BYTES|" BENCH_RANGE_FORM, "100", 1, 536870912, NULL, WORK(value_bytes),
     "size of values, at least 32; a range is uniform unless it says otherwise", NULL},
    {"value-bytes-max", BENCH_OPTION_BYTES, "BYTES", "64KiB", 32, 536870912, NULL, WORK(value_bytes_max),
     "cuts sizes, also a trace's", NULL},
    {"ttl", BENCH_OPTION_RANGE, "MS|" BENCH_RANGE_FORM, NULL, 1, 1e12, NULL, WORK(ttl_ms),
     "of every load and set, else the engine's", NULL},
    {"set-percent", BENCH_OPTION_NUMBER, "PERCENT", "3", 0, 100, NULL, WORK(set_percent),
     "operations that are sets", NULL},
    {"invalidate-percent", BENCH_OPTION_NUMBER, "PERCENT", "1", 0, 100, NULL, WORK(invalidate_percent),
     "operations that are invalidations; the rest is get_or_load", NULL},
    {"get-percent", BENCH_OPTION_NUMBER, "PERCENT", "0", 0, 100, NULL, WORK(get_percent),
     "operations that are gets without a loader", NULL},
    {"pairs", BENCH_OPTION_NUMBER, "PERCENT", "0", 0, 100, NULL, WORK(pairs_percent),
     "get_or_loads after which the same thread asks for the key's partner; keys are paired two by two", NULL},
    {"tags", BENCH_OPTION_COUNT, "N", "0", 0, 1e8, NULL, WORK(tags), "tags there are; 0: values have none", NULL},
    {"tags-each", BENCH_OPTION_RANGE, "N|" BENCH_RANGE_FORM, "1", 0, BENCH_TAGS_MAX, NULL, WORK(tags_each), "of a value", NULL},
    {"tag-dist", BENCH_OPTION_TEXT, BENCH_POPULARITY_FORM, "uniform", 0, 0, NULL, WORK(tag_distribution),
     "which tags a value has, and which are invalidated", NULL},
    {"tag-percent", BENCH_OPTION_NUMBER, "PERCENT", "0", 0, 100, NULL, WORK(tag_percent), "operations that invalidate a tag", NULL},
    {"seed", BENCH_OPTION_COUNT, "N", "1", 0, 9e15, NULL, WORK(seed), "same seed, same operations", NULL},
    {"trace", BENCH_OPTION_TEXT, "FILE", NULL, 0, 0, NULL, WORK(trace_path),
     "replay a trace: kv12, oracleGeneral, csv, Twitter csv, output of MONITOR; plain or .zst", "Replay"},
    {"trace-format", BENCH_OPTION_CHOICE, "NAME", "auto", 0, 0, BENCH_TRACE_FORMATS, WORK(trace_format),
     "instead of telling it by name and content", NULL},
    {"trace-operations", BENCH_OPTION_FLAG, NULL, NULL, 0, 0, NULL, WORK(trace_operations),
     "do the writes and deletes of the trace instead of shares of our own", NULL},
    {"speed", BENCH_OPTION_NUMBER, "TIMES", NULL, 1e-6, 1e9, NULL, FIELD(speed),
     "instead of --rate: when the trace's own clock says, so many times as fast", NULL},
    {"amplify", BENCH_OPTION_COUNT, "N", "1", 1, 1e6, NULL, WORK(amplify), "every request once for each of N copies of the keys", NULL},
    {"passes", BENCH_OPTION_COUNT, "N", NULL, 1, 1e9, NULL, FIELD(passes),
     "through the trace, instead of --seconds", NULL},
    {"processes", BENCH_OPTION_COUNT, "N", "2", 1, BENCH_PROCESSES_MAX, NULL, FIELD(processes),
     "processes, each with its own L1", "Load"},
    {"threads", BENCH_OPTION_COUNT, "N", "1", 1, BENCH_THREADS_MAX, NULL, FIELD(threads),
     "threads of each process", NULL},
    {"seconds", BENCH_OPTION_NUMBER, "S", "30", 0.1, 1e7, NULL, FIELD(seconds), "how long to record", NULL},
    {"warmup", BENCH_OPTION_NUMBER, "S", "2", 0, 1e6, NULL, FIELD(warmup_seconds),
     "load before recording, reads are checked already; none with --passes", NULL},
    {"rate", BENCH_OPTION_NUMBER, "OPS", "10k", 0, 1e9, NULL, FIELD(rate),
     "operations per second of all threads; latency counts from the intended start. 0: closed loop", NULL},
    {"ramp-to", BENCH_OPTION_NUMBER, "OPS", NULL, 1, 1e9, NULL, FIELD(ramp_to), "the rate rises or falls to this one while it records", NULL},
    {"find-max", BENCH_OPTION_TEXT, "METRIC<DURATION", NULL, 0, 0, NULL, FIELD(find_max),
     "search the highest rate at which it holds, as in 'l2_hit.p99<1ms', from --rate on; each trial is a run", NULL},
    {"arrivals", BENCH_OPTION_CHOICE, "KIND", "constant", 0, 0, "constant|poisson", FIELD(arrivals),
     "spacing at a rate", NULL},
    {"pin", BENCH_OPTION_FLAG, NULL, NULL, 0, 0, NULL, FIELD(pin), "each thread of load onto one CPU, in turn", NULL},
    {"outstanding", BENCH_OPTION_COUNT, "N", NULL, 1, 65536, NULL, FIELD(outstanding),
     "operations under way per thread, at most [16, or 256 at a rate]", NULL},
    {"deadline", BENCH_OPTION_COUNT, "MS", NULL, 1, 3600000, NULL, FIELD(deadline_ms),
     "of each operation, else the engine's", NULL},
    {"loader-us", BENCH_OPTION_RANGE, "US|" BENCH_RANGE_FORM, "0", 0, 6e7, NULL, FIELD(loader_us), "latency of the loader",
     NULL},
    {"loader-fail-percent", BENCH_OPTION_NUMBER, "PERCENT", "0", 0, 100, NULL, FIELD(loader_fail_percent),
     "loads that fail; reads that fail for it don't fail the run", NULL},
    {"probe-rate", BENCH_OPTION_NUMBER, "PER_SECOND", "50", 0, 500, NULL, FIELD(probe_rate),
     "samples of the invalidation lag between two processes; 0: none", NULL},
    {"l2", BENCH_OPTION_CHOICE, "MODE", "cluster", 0, 0, "cluster|standalone|none", FIELD(l2),
     "what stands behind L1; servers of our own unless --nodes", "Tiers"},
    {"standalone", BENCH_OPTION_FLAG, NULL, NULL, 0, 0, NULL, FIELD(standalone),
     "the same as --l2 standalone", NULL},
    {"nodes", BENCH_OPTION_TEXT, "HOST:PORT,...", NULL, 0, 0, NULL, FIELD(nodes),
     "running servers to use; what is written stays", NULL},
    {"primaries", BENCH_OPTION_COUNT, "N", "3", 1, 32, NULL, FIELD(primaries), "of our own cluster", NULL},
    {"replicas", BENCH_OPTION_COUNT, "N", "0", 0, 3, NULL, FIELD(replicas),
     "of each of its primaries; node P + p * N + i is replica i of primary p", NULL},
    {"fault", BENCH_OPTION_LIST, BENCH_FAULT_FORM, NULL, 0, 0, NULL, FIELD(faults),
     "kill, pause (+ for how long), restart, flush, clients or failover, so long after recording began; repeatable", NULL},
    {"restart", BENCH_OPTION_TEXT, "PROCESS@SECONDS", NULL, 0, 0, NULL, FIELD(restart),
     "kill a process of ours so long after recording began, and start another in its place", NULL},
    {"snapshot", BENCH_OPTION_TEXT, "FOLDER", NULL, 0, 0, NULL, FIELD(snapshot),
     "each process writes the names of its hot set there every second; the one that --restart starts reads its predecessor's", NULL},
    {"l1-bytes", BENCH_OPTION_BYTES, "BYTES", "8MiB", 1048576, 1e15, NULL, FIELD(l1_bytes),
     "budget of each process's L1", NULL},
    {"config", BENCH_OPTION_LIST, "NAME=VALUE", NULL, 0, 0, NULL, FIELD(config),
     "any option of the engine; repeatable", NULL},
    {"config-file", BENCH_OPTION_TEXT, "FILE", NULL, 0, 0, NULL, FIELD(config_file),
     "the engine's configuration", NULL},
    {"json", BENCH_OPTION_TEXT, "FILE", NULL, 0, 0, NULL, FIELD(json_path), "write everything there",
     "Result"},
    {"html", BENCH_OPTION_TEXT, "FILE", NULL, 0, 0, NULL, FIELD(html_path),
     "a page of it, with curves over time; needs --json", NULL},
    {"allow-errors", BENCH_OPTION_FLAG, NULL, NULL, 0, 0, NULL, FIELD(allow_errors),
     "failed operations don't fail the run; wrong values always do", NULL},
    {"count-allocations", BENCH_OPTION_FLAG, NULL, NULL, 0, 0, NULL, FIELD(count_allocations),
     "how often the engines allocate; they take malloc for that, so that times are not those without", NULL},
    {"quiet", BENCH_OPTION_FLAG, NULL, NULL, 0, 0, NULL, FIELD(quiet), "no progress lines", NULL},
};

static const bench_option_rule rules[] = {
    {"trace", BENCH_RULE_CONFLICTS, "dist"},
    {"trace", BENCH_RULE_CONFLICTS, "keys"},
    {"trace", BENCH_RULE_CONFLICTS, "pairs"},
    {"trace-format", BENCH_RULE_NEEDS, "trace"},
    {"trace-operations", BENCH_RULE_NEEDS, "trace"},
    {"trace-operations", BENCH_RULE_CONFLICTS, "set-percent"},
    {"trace-operations", BENCH_RULE_CONFLICTS, "invalidate-percent"},
    {"passes", BENCH_RULE_NEEDS, "trace"},
    {"speed", BENCH_RULE_NEEDS, "trace"},
    {"speed", BENCH_RULE_CONFLICTS, "rate"},
    {"speed", BENCH_RULE_CONFLICTS, "arrivals"},
    {"speed", BENCH_RULE_CONFLICTS, "find-max"},
    {"speed", BENCH_RULE_CONFLICTS, "ramp-to"},
    {"amplify", BENCH_RULE_NEEDS, "trace"},
    {"ramp-to", BENCH_RULE_CONFLICTS, "find-max"},
    {"ramp-to", BENCH_RULE_CONFLICTS, "passes"},
    {"trace-operations", BENCH_RULE_CONFLICTS, "get-percent"},
    {"trace-operations", BENCH_RULE_CONFLICTS, "tag-percent"},
    {"tags-each", BENCH_RULE_NEEDS, "tags"},
    {"tag-dist", BENCH_RULE_NEEDS, "tags"},
    {"tag-percent", BENCH_RULE_NEEDS, "tags"},
    {"passes", BENCH_RULE_CONFLICTS, "seconds"},
    {"passes", BENCH_RULE_CONFLICTS, "warmup"},
    {"standalone", BENCH_RULE_CONFLICTS, "l2"},
    {"html", BENCH_RULE_NEEDS, "json"},
    {"find-max", BENCH_RULE_CONFLICTS, "json"},
    {"find-max", BENCH_RULE_CONFLICTS, "passes"},
    {"primaries", BENCH_RULE_CONFLICTS, "nodes"},
    {"primaries", BENCH_RULE_CONFLICTS, "standalone"},
    {"replicas", BENCH_RULE_CONFLICTS, "nodes"},
    {"replicas", BENCH_RULE_CONFLICTS, "standalone"},
    {"fault", BENCH_RULE_CONFLICTS, "nodes"},
    {"restart", BENCH_RULE_CONFLICTS, "passes"},
    {"restart", BENCH_RULE_CONFLICTS, "find-max"},
};

#define WORDS(...) (const char *const[]){__VA_ARGS__, NULL}
static const bench_option_preset presets[] = {
    {"hot", "everything fits into L1", WORDS("--keys", "20k", "--set-percent", "0.5", "--invalidate-percent", "0")},
    {"cold", "L1 holds next to nothing: what L2 costs",
     WORDS("--keys", "200k", "--dist", "uniform", "--l1-bytes", "1MiB", "--set-percent", "0", "--invalidate-percent", "0")},
    {"writes", "a fifth of the operations write", WORDS("--set-percent", "15", "--invalidate-percent", "5")},
    {"large", "values of 1 to 64 KiB", WORDS("--keys", "5k", "--value-bytes", "1KiB-64KiB", "--rate", "2k", "--l1-bytes", "32MiB")},
    {"tagged", "values with one to four of 500 tags, which are invalidated",
     WORDS("--tags", "500", "--tags-each", "1-4", "--tag-percent", "0.2", "--tag-dist", "zipf:0.8")},
    {"newest", "the newest keys are asked for most, sizes over three magnitudes",
     WORDS("--dist", "latest:1.1", "--set-percent", "10", "--value-bytes", "64-64KiB:log", "--l1-bytes", "32MiB")},
    {"ramp", "from 1 000 to 40 000 operations a second: where it begins to bend",
     WORDS("--rate", "1k", "--ramp-to", "40k", "--arrivals", "poisson")},
    {"poor-loader", "a source that mostly answers in 1 ms, sometimes in 100, and fails once in a hundred times",
     WORDS("--loader-us", "1000-100000:pareto", "--loader-fail-percent", "1", "--rate", "5k")},
    {"slow-loader", "a source that takes 5 ms", WORDS("--loader-us", "5000", "--rate", "5k")},
    {"node-killed", "one of three primaries dies and its replica takes over",
     WORDS("--replicas", "1", "--fault", "kill:0@8", "--seconds", "20", "--allow-errors")},
    {"process-restarted", "one of two processes is killed and begins anew: its L1 is warmed from L2",
     WORDS("--restart", "0@6", "--seconds", "16", "--loader-us", "2000", "--warmup", "4", "--keys", "50k", "--allow-errors")},
    {"node-paused", "one of three primaries hangs for three seconds",
     WORDS("--fault", "pause:1@6+3", "--seconds", "16", "--allow-errors")},
};

const bench_option_table bench_tiered_options = {
    .command = "strata-bench tiered",
    .about = "Processes that share a key space and an L2 do get_or_load, set and invalidate. Every value "
             "read is checked: its\n"
             "key, size and checksum, that its version exists, that it is no older than the staleness bound "
             "allows, and that\n"
             "no process misses its own writes or sees a key go back. Exit status: 0 fine, 1 wrong values or "
             "failed\n"
             "operations, 2 wrong command line, 3 could not run. Defaults are in brackets.",
    .rows = rows,
    .count = sizeof rows / sizeof rows[0],
    .rules = rules,
    .rule_count = sizeof rules / sizeof rules[0],
    .presets = presets,
    .preset_count = sizeof presets / sizeof presets[0],
};

static int parse_restart(bench_settings *settings) {
    char *end;
    unsigned long process = strtoul(settings->restart, &end, 10);
    if (end == settings->restart || *end != '@' || process >= settings->processes) return -1;
    const char *time = end + 1;
    settings->restart_process = (uint32_t)process;
    settings->restart_seconds = strtod(time, &end);
    return end == time || *end != '\0' || !(settings->restart_seconds >= 0 && settings->restart_seconds < 1e7) ? -1 : 0;
}

static int refuse(char *error, size_t error_size, const char *text) {
    snprintf(error, error_size, "%s", text);
    return -1;
}

/* What would only happen after the end never happens. */
static bool comes_too_late(const bench_settings *settings, double seconds) { return settings->passes == 0 && seconds >= settings->seconds; }

static int settle_faults(const bench_settings *settings, char *error, size_t error_size) {
    bench_faults faults;
    uint32_t nodes = settings->l2 == BENCH_L2_CLUSTER ? (uint32_t)(settings->primaries * (1 + settings->replicas)) : 1;
    if (bench_faults_parse(&faults, &settings->faults, nodes, error, error_size) != 0) return -1;
    for (uint32_t i = 0; i < faults.count; i++) {
        if (faults.list[i].kind == BENCH_FAULT_RESUME || !comes_too_late(settings, faults.list[i].seconds)) continue;
        snprintf(error, error_size, "--fault at %g s and --seconds %g contradict each other: it would come after the end", faults.list[i].seconds,
                 settings->seconds);
        return -1;
    }
    return 0;
}

int bench_tiered_settle(bench_settings *settings, const bench_options_given *given, char *error,
                        size_t error_size) {
    const bench_option_table *table = &bench_tiered_options;
    if (settings->standalone) settings->l2 = BENCH_L2_STANDALONE;
    if (settings->speed > 0) settings->rate = 0;
    if (settings->ramp_to > 0 && settings->rate <= 0)
        return refuse(error, error_size, "--ramp-to needs a rate to begin with, not --rate 0");
    if (strncmp(settings->workload.distribution, "file:", 5) == 0 && bench_options_was_given(table, given, "keys"))
        return refuse(error, error_size, "--keys and --dist file contradict each other: each of its lines is a key");
    if (settings->outstanding == 0) settings->outstanding = settings->rate > 0 || settings->speed > 0 ? 256 : 16;
    if (settings->passes > 0) settings->warmup_seconds = 0;
    if (settings->l2 == BENCH_L2_NONE && settings->nodes != NULL)
        return refuse(error, error_size, "--nodes and --l2 none contradict each other");
    if (settings->l2 != BENCH_L2_CLUSTER && bench_options_was_given(table, given, "primaries"))
        return refuse(error, error_size, "--primaries means nothing without --l2 cluster");
    if (settings->l2 != BENCH_L2_CLUSTER && settings->replicas > 0)
        return refuse(error, error_size, "--replicas means nothing without --l2 cluster");
    if (settings->faults.count > 0 && (settings->l2 == BENCH_L2_NONE || settings->nodes != NULL))
        return refuse(error, error_size, "--fault needs servers of our own: neither --nodes nor --l2 none");
    if (settings->faults.count > 0 && settle_faults(settings, error, error_size) != 0) return -1;
    if (settings->workload.set_percent + settings->workload.invalidate_percent + settings->workload.get_percent + settings->workload.tag_percent > 100)
        return refuse(error, error_size, "--set-percent, --invalidate-percent, --get-percent and --tag-percent are more than 100 together");
    if (settings->rate <= 0 && settings->find_max != NULL)
        return refuse(error, error_size, "--find-max needs a rate to begin with, not --rate 0");
    if (settings->rate <= 0 && bench_options_was_given(table, given, "arrivals"))
        return refuse(error, error_size, "--arrivals means nothing with --rate 0");
    if (settings->workload.value_bytes.min < BENCH_VALUE_BYTES_MIN &&
        bench_options_was_given(table, given, "value-bytes"))
        return refuse(error, error_size, "--value-bytes: a checked value has at least 32 bytes");
    if (settings->workload.value_bytes.max > settings->workload.value_bytes_max) {
        if (bench_options_was_given(table, given, "value-bytes-max"))
            return refuse(error, error_size, "--value-bytes is above --value-bytes-max");
        settings->workload.value_bytes_max = settings->workload.value_bytes.max;
    }
    if (settings->workload.trace_operations)
        settings->workload.set_percent = settings->workload.invalidate_percent = settings->workload.get_percent =
            settings->workload.tag_percent = 0;
    if (settings->snapshot != NULL && settings->restart == NULL)
        return refuse(error, error_size, "--snapshot needs --restart: who else would read it?");
    if (settings->restart != NULL) {
        if (parse_restart(settings) != 0)
            return refuse(error, error_size, "--restart: not PROCESS@SECONDS with a process below --processes");
        if (comes_too_late(settings, settings->restart_seconds))
            return refuse(error, error_size, "--restart and --seconds contradict each other: it would come after the end");
        if (settings->probe_rate > 0 && bench_options_was_given(table, given, "probe-rate"))
            return refuse(error, error_size, "--restart and --probe-rate contradict each other: the probe needs its processes");
        settings->probe_rate = 0;
    }
    if (settings->processes < 2 || settings->l2 == BENCH_L2_NONE) {
        if (settings->probe_rate > 0 && bench_options_was_given(table, given, "probe-rate"))
            return refuse(error, error_size, "--probe-rate needs two processes and an L2 between them");
        settings->probe_rate = 0;
    }
    return 0;
}
