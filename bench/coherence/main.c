/* SPDX-License-Identifier: Apache-2.0 */
/* strata-bench coherence: the options, the servers, and what its parts share. */
#include "bench/coherence/main.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench/coherence/coherence.h"
#include "bench/options.h"
#include "bench/run.h"
#include "bench/tiered.h"

enum { PART_ALL, PART_LAG, PART_COST, PART_IDLE, PART_STORM, PART_RECONNECT };

#define FIELD(member) offsetof(bench_coherence, member)
static const bench_option option_rows[] = {
    {"rounds", BENCH_OPTION_COUNT, "N", "5", 1, 64, NULL, FIELD(rounds), "of each measurement, medians are printed",
     "How much"},
    {"seconds", BENCH_OPTION_NUMBER, "S", "2", 0.2, 600, NULL, FIELD(seconds), "of one measurement", NULL},
    {"storm-rate", BENCH_OPTION_NUMBER, "N", "50000", 100, 10000000, NULL, FIELD(storm_rate),
     "invalidations a second of the storm", "What"},
    {"receivers", BENCH_OPTION_COUNT, "N", "4", 1, 32, NULL, FIELD(receivers), "processes that receive the storm", NULL},
    {"engines", BENCH_OPTION_COUNT, "N", "8", 1, 256, NULL, FIELD(engines), "idle ones, whose heartbeats are weighed", NULL},
    {"outstanding", BENCH_OPTION_COUNT, "N", "64", 1, 4096, NULL, FIELD(outstanding), "writes whose cost is weighed", NULL},
    {"value-bytes", BENCH_OPTION_BYTES, "BYTES", "100", 8, 65536, NULL, FIELD(value_bytes), "of every value", NULL},
    {"primaries", BENCH_OPTION_COUNT, "N", "3", 1, 16, NULL, FIELD(primaries), "of the cluster that is started", NULL},
    {"only", BENCH_OPTION_CHOICE, "PART", "all", 0, 0, "all|lag|cost|idle|storm|reconnect", FIELD(only), "one part of it", NULL},
    {"json", BENCH_OPTION_TEXT, "FILE", NULL, 0, 0, NULL, FIELD(json_path), "write cases and rounds there", "Result"},
};
#define WORDS(...) (const char *const[]){__VA_ARGS__, NULL}
static const bench_option_preset presets[] = {
    {"quick", "one short round of everything", WORDS("--rounds", "1", "--seconds", "0.3", "--engines", "4")},
    {"fleet", "many idle processes and receivers", WORDS("--engines", "64", "--receivers", "16")},
};
static const bench_option_table options = {
    .command = "strata-bench coherence",
    .about = "How fast processes hear of writes, and what that costs. 'lag': from a set's acknowledgement in one process to the moment "
             "another's L1\nno longer answers the old value. 'cost': the servers' time for a coherent set, beside SET and SPUBLISH "
             "with as many outstanding. 'idle': for a\nsubscription and its heartbeats. 'storm': many invalidations, none of which may be lost.\n'reconnect': bytes that a process with 100 000 entries moves after it lost its subscriptions.",
    .rows = option_rows,
    .count = sizeof option_rows / sizeof option_rows[0],
    .presets = presets,
    .preset_count = sizeof presets / sizeof presets[0],
};

/* ---- shared ---- */

int64_t bench_coherence_metric(strata *engine, const char *name) {
    int64_t value = -1;
    (void)strata_stats_value(engine, name, &value);
    return value;
}

strata *bench_coherence_open(const bench_coherence *bench, const char *const *pairs) {
    strata_config *config = NULL;
    strata *engine = NULL;
    strata_error error = {0};
    if (strata_config_create(&config) != STRATA_OK) return NULL;
    bool good = strata_config_set(config, "l2.nodes", sx_cluster_seeds(bench->cluster), &error) == STRATA_OK &&
                strata_config_set(config, "l2.open_wait", "5s", &error) == STRATA_OK;
    for (; good && pairs != NULL && *pairs != NULL; pairs += 2)
        good = strata_config_set(config, pairs[0], pairs[1], &error) == STRATA_OK;
    strata_open_options how = {.struct_size = sizeof how, .config = config};
    if (!good || strata_open(&how, &engine, &error) != STRATA_OK) fprintf(stderr, "coherence: %s\n", error.text);
    strata_config_destroy(config);
    for (int i = 0; engine != NULL && bench_coherence_metric(engine, "coherence.partitions_trusted") < 256; i++) {
        if (i == 1000) {
            fprintf(stderr, "coherence: not all partitions are trusted\n");
            (void)strata_close(engine, 0);
            return NULL;
        }
        bench_coherence_sleep_until(bench_now_ns() + 10 * BENCH_NS_PER_MS);
    }
    return engine;
}

double bench_coherence_server_cpu_s(const bench_coherence *bench) {
    double sum = 0;
    for (uint32_t i = 0; i < sx_cluster_node_count(bench->cluster); i++) {
        char *text = sx_cluster_command(bench->cluster, i, "INFO cpu");
        const char *system = strstr(text, "used_cpu_sys:"), *user = strstr(text, "used_cpu_user:");
        if (system != NULL && user != NULL) sum += atof(system + 13) + atof(user + 14);
        free(text);
    }
    return sum;
}

void *bench_coherence_share(size_t size) {
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

int bench_coherence_fork(void (*run)(void *argument), void *argument) {
    fflush(stdout);
    pid_t pid = fork();
    if (pid != 0) return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    run(argument);
    _exit(0);
}

void bench_coherence_sleep_until(int64_t at_ns) {
    struct timespec at = {at_ns / BENCH_NS_PER_S, at_ns % BENCH_NS_PER_S};
    (void)clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
}

void bench_coherence_case(const bench_coherence *bench, const char *name, const bench_result_column *columns, uint32_t column_count,
                          uint32_t rounds) {
    if (bench->json != NULL) bench_result_case(bench->json, name, columns, column_count, rounds);
}

/* ---- the command ---- */

static bool run_parts(const bench_coherence *bench) {
    static bool (*const parts[])(const bench_coherence *) = {
        [PART_LAG] = bench_coherence_lag,
        [PART_COST] = bench_coherence_cost,
        [PART_IDLE] = bench_coherence_idle,
        [PART_STORM] = bench_coherence_storm,
        [PART_RECONNECT] = bench_coherence_reconnect,
    };
    bool good = true;
    for (uint32_t part = PART_LAG; part <= PART_RECONNECT; part++)
        if (bench->only == PART_ALL || bench->only == part) good = parts[part](bench) && good;
    return good;
}

int bench_coherence_main(int argc, char **argv) {
    bench_coherence bench = {0};
    bench_json json;
    char error[512] = "";
    bench_options_given given;
    int outcome;
    if (!bench_options_take(&options, argc, argv, &bench, &given, &outcome)) return outcome;
    sx_cluster_options servers = {.primaries = (uint32_t)bench.primaries};
    if (sx_cluster_start(&servers, &bench.cluster, error, sizeof error) != 0) {
        fprintf(stderr, "strata-bench coherence: %s\n", error);
        return BENCH_EXIT_SETUP;
    }
    if (bench.json_path != NULL) {
        if (!bench_result_open(&json, bench.json_path, "strata-bench/coherence/1")) {
            sx_cluster_stop(bench.cluster);
            return BENCH_EXIT_SETUP;
        }
        bench.json = &json;
        bench_json_array_begin(&json, "cases");
    }
    outcome = run_parts(&bench) ? BENCH_EXIT_GOOD : BENCH_EXIT_BAD;
    sx_cluster_stop(bench.cluster);
    if (bench.json != NULL) {
        bench_json_array_end(&json);
        bench_json_boolean(&json, "good", outcome == BENCH_EXIT_GOOD);
        if (!bench_result_close(&json)) outcome = BENCH_EXIT_SETUP;
    }
    return outcome;
}
