/* SPDX-License-Identifier: Apache-2.0 */
/* strata-bench l2: what an answer from L2 costs, beside peers, in rounds that take turns; medians over the rounds. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strata/status.h>
#include <unistd.h>

#include "bench/cluster/cluster.h"
#include "bench/find_max.h"
#include "bench/json.h"
#include "bench/l2/l2.h"
#include "bench/l2/main.h"
#include "bench/median.h"
#include "bench/options.h"
#include "bench/others.h"
#include "bench/result.h"
#include "bench/run.h"
#include "bench/tiered.h"
#include "core/key/key.h"

#define ROUNDS_MAX 64

typedef struct l2_settings {
    uint64_t rounds, keys, value_bytes, primaries;
    double seconds;
    uint32_t only;
    uint8_t tls;
    const char *match;
    const char *json_path;
    bench_list config;
} l2_settings;

enum { ONLY_ALL, ONLY_WIRE, ONLY_PATH };

#define FIELD(member) offsetof(l2_settings, member)
static const bench_option option_rows[] = {
    {"rounds", BENCH_OPTION_COUNT, "N", "6", 1, ROUNDS_MAX, NULL, FIELD(rounds), "of all measurements, in turns; from six on intervals of the ratios",
     "How much"},
    {"seconds", BENCH_OPTION_NUMBER, "S", "0.5", 0.05, 600, NULL, FIELD(seconds), "of one measurement", NULL},
    {"keys", BENCH_OPTION_COUNT, "N", "50k", 10000, 10000000, NULL, FIELD(keys),
     "asked one after the other, more than the engine's L1 of 1 MiB holds", "What"},
    {"value-bytes", BENCH_OPTION_BYTES, "BYTES", "100", 1, 16777216, NULL, FIELD(value_bytes), "of every value", NULL},
    {"primaries", BENCH_OPTION_COUNT, "N", "3", 0, BENCH_L2_NODES_MAX, NULL, FIELD(primaries),
     "of the cluster that is started; 0: one standalone server", NULL},
    {"only", BENCH_OPTION_CHOICE, "PART", "all", 0, 0, "all|wire|path", FIELD(only),
     "the client beside the peer, or the whole engine", NULL},
    {"tls", BENCH_OPTION_FLAG, NULL, NULL, 0, 0, NULL, FIELD(tls), "our client and engine under TLS; the peers stay plain",
     NULL},
    {"match", BENCH_OPTION_TEXT, "TEXT", NULL, 0, 0, NULL, FIELD(match), "only cases whose name contains it", NULL},
    {"config", BENCH_OPTION_LIST, "NAME=VALUE", NULL, 0, 0, NULL, FIELD(config),
     "any option of the engine; repeatable", NULL},
    {"json", BENCH_OPTION_TEXT, "FILE", NULL, 0, 0, NULL, FIELD(json_path), "write every sample there", "Result"},
};
#define WORDS(...) (const char *const[]){__VA_ARGS__, NULL}
static const bench_option_preset presets[] = {
    {"client", "our client alone beside its peers, many short rounds", WORDS("--only", "wire", "--rounds", "9", "--seconds", "0.3")},
    {"engine", "the whole path of a get", WORDS("--only", "path")},
    {"large", "values of 64 KiB", WORDS("--value-bytes", "64KiB", "--keys", "10k")},
};
static const bench_option_table options = {
    .command = "strata-bench l2",
    .about = "What an answer from L2 costs. 'wire': our client alone, GETs with so many outstanding on one thread, beside "
             "hiredis and libvalkey.\n'path': the engine from session to completion, every get an L1 miss, beside blocking round trips; and the highest\nrate that it keeps up with.\n"
             "Links the engine's rooms: what it measures is not all visible from outside.",
    .rows = option_rows,
    .count = sizeof option_rows / sizeof option_rows[0],
    .presets = presets,
    .preset_count = sizeof presets / sizeof presets[0],
};

/* ---- what is measured ---- */

#define HIGHEST_NAME        "engine, highest rate with p99 < 1 ms"
#define HIGHEST_P99_US      1000.0
#define HIGHEST_FIRST       5000.0
#define HIGHEST_TRIALS      3u
#define HIGHEST_OUTSTANDING 4096u
#define HIGHEST_REACHED     0.8 /* of the rate, at least: L1 answers a tenth of it */
#define CAUTION_INTERRUPTED "interrupted: fewer rounds than asked for"

typedef struct l2_case {
    const char *name;
    enum {
        SIDE_WIRE, SIDE_PEER, SIDE_VALKEY, SIDE_PEER_BLOCKING, SIDE_PATH, SIDE_PATH_COUNTED, SIDE_PAST, SIDE_PAST_COUNTED, SIDE_BESIDE, SIDE_BESIDE_ONE
    } side;
    uint32_t outstanding;
    double rate;
} l2_case;

static const l2_case cases[] = {
    {"client, 16 outstanding", SIDE_WIRE, 16, 0},
    {"hiredis, 16 outstanding", SIDE_PEER, 16, 0},
    {"libvalkey, 16 outstanding", SIDE_VALKEY, 16, 0},
    {"client, 64 outstanding", SIDE_WIRE, 64, 0},
    {"hiredis, 64 outstanding", SIDE_PEER, 64, 0},
    {"libvalkey, 64 outstanding", SIDE_VALKEY, 64, 0},
    {"client, 256 outstanding", SIDE_WIRE, 256, 0},
    {"hiredis, 256 outstanding", SIDE_PEER, 256, 0},
    {"libvalkey, 256 outstanding", SIDE_VALKEY, 256, 0},
    {"hiredis, blocking round trips", SIDE_PEER_BLOCKING, 1, 0},
    {"engine, 10 k/s", SIDE_PATH, 1024, 10e3},
    {"engine, 50 k/s", SIDE_PATH, 1024, 50e3},
    {"engine, 100 k/s", SIDE_PATH, 1024, 100e3},
    {"engine, 1 outstanding", SIDE_PATH, 1, 0},
    {"engine, 64 outstanding", SIDE_PATH, 64, 0},
    {"engine, 256 outstanding", SIDE_PATH, 256, 0},
    {"engine, 64, allocations", SIDE_PATH_COUNTED, 64, 0},
    {"engine, 64, past L1", SIDE_PAST, 64, 0},
    {"engine, 64, past L1, allocat.", SIDE_PAST_COUNTED, 64, 0},
    {"engine, 5 k/s, 1 MB beside", SIDE_BESIDE, 1024, 5e3},
    {"engine, 5 k/s, 1 MB, one conn.", SIDE_BESIDE_ONE, 1024, 5e3},
};
enum { CASE_COUNT = sizeof cases / sizeof cases[0] };

typedef struct l2_bench {
    l2_settings settings;
    sx_cluster *cluster;
    bench_l2_keys keys;
    bench_wire *wire;
    bench_peer *peer;
    bench_valkey *valkey;
    bench_path *path, *counted, *one_connection;
    uint32_t round_count;
    double idle_wakes;
    bool disturbed; /* others took too much of the machine */
    double highest; /* operations a second that the engine answers with p99 below HIGHEST_P99_US; negative: not searched */
    bench_l2_sample samples[CASE_COUNT][ROUNDS_MAX];
} l2_bench;

static bool is_wanted(const l2_bench *bench, const l2_case *one) {
    bool of_path = one->side >= SIDE_PATH;
    if (bench->settings.only == ONLY_WIRE && (of_path || one->side == SIDE_PEER_BLOCKING)) return false;
    if (bench->settings.only == ONLY_PATH && !of_path && one->side != SIDE_PEER_BLOCKING) return false;
    if (bench->settings.match != NULL && strstr(one->name, bench->settings.match) == NULL) return false;
    if (one->side == SIDE_VALKEY) return bench->valkey != NULL;
    return bench->peer != NULL || (one->side != SIDE_PEER && one->side != SIDE_PEER_BLOCKING);
}

static void measure_beside(bench_path *path, const l2_case *one, double seconds, bench_l2_sample *sample) {
    if (!bench_path_large(path, 1)) abort(); /* a measurement that can't begin */
    bench_path_run(path, one->rate, one->outstanding, seconds, sample);
    (void)bench_path_large(path, 0);
}

static void measure_past_l1(bench_path *path, const l2_case *one, double seconds, bench_l2_sample *sample) {
    bench_path_past_l1(path, true);
    bench_path_run(path, one->rate, one->outstanding, seconds, sample);
    bench_path_past_l1(path, false);
}

static void measure(l2_bench *bench, const l2_case *one, bench_l2_sample *sample) {
    double seconds = bench->settings.seconds;
    switch (one->side) {
    case SIDE_WIRE: bench_wire_run(bench->wire, one->outstanding, seconds, sample); break;
    case SIDE_PEER: bench_peer_run(bench->peer, one->outstanding, seconds, sample); break;
    case SIDE_VALKEY: bench_valkey_run(bench->valkey, one->outstanding, seconds, sample); break;
    case SIDE_PEER_BLOCKING: bench_peer_round_trips(bench->peer, seconds, sample); break;
    case SIDE_PATH: bench_path_run(bench->path, one->rate, one->outstanding, seconds, sample); break;
    case SIDE_PATH_COUNTED: bench_path_run(bench->counted, one->rate, one->outstanding, seconds, sample); break;
    case SIDE_PAST: measure_past_l1(bench->path, one, seconds, sample); break;
    case SIDE_PAST_COUNTED: measure_past_l1(bench->counted, one, seconds, sample); break;
    case SIDE_BESIDE: measure_beside(bench->path, one, seconds, sample); break;
    case SIDE_BESIDE_ONE: measure_beside(bench->one_connection, one, seconds, sample); break;
    }
}

/* ---- the highest rate ---- */

/* Whether the middle one of some runs holds: 1 yes, 0 no, -1 interrupted. */
static int holds(void *context, double rate) {
    l2_bench *bench = context;
    double p99_us[HIGHEST_TRIALS], per_second[HIGHEST_TRIALS];
    for (uint32_t i = 0; i < HIGHEST_TRIALS; i++) {
        bench_l2_sample sample = {0};
        if (bench_run_was_interrupted()) return -1;
        bench_path_run(bench->path, rate, HIGHEST_OUTSTANDING, bench->settings.seconds, &sample);
        p99_us[i] = sample.failures > 0 ? INFINITY : sample.p99_us;
        per_second[i] = sample.per_second;
    }
    return bench_median(p99_us, HIGHEST_TRIALS) < HIGHEST_P99_US && bench_median(per_second, HIGHEST_TRIALS) > HIGHEST_REACHED * rate;
}

static bool wants_highest(const l2_bench *bench) {
    return bench->path != NULL && (bench->settings.match == NULL || strstr(HIGHEST_NAME, bench->settings.match) != NULL);
}

/* ---- results ---- */

static double field_of(const bench_l2_sample *sample, size_t field) { return *(const double *)(const void *)((const char *)sample + field); }

static double median(const l2_bench *bench, uint32_t which, size_t field) {
    double values[ROUNDS_MAX];
    for (uint32_t i = 0; i < bench->round_count; i++) values[i] = field_of(&bench->samples[which][i], field);
    return bench_median(values, bench->round_count);
}
#define MEDIAN(bench, which, field) median(bench, which, offsetof(bench_l2_sample, field))

/* What a case is set in relation to: of our client the same load, of the engine's latency a blocking round trip. */
static uint32_t base_of(uint32_t which) {
    bool of_path = cases[which].side == SIDE_PATH;
    uint32_t base = which;
    while (base > 0 && (of_path ? cases[base].side != SIDE_PEER_BLOCKING : cases[base].side == SIDE_PEER || cases[base].side == SIDE_VALKEY)) base--;
    return base;
}

/* The relations of a case to its base; how many, 0 where it has none. */
typedef struct relation {
    size_t field;
    const char *title, *name;
} relation;
static uint32_t relations_of(const l2_bench *bench, uint32_t which, const relation **list) {
    static const relation effort[] = {{offsetof(bench_l2_sample, cpu_us), "cpu", "cpu_ratio"},
                                      {offsetof(bench_l2_sample, per_second), "rate", "rate_ratio"}};
    static const relation latency[] = {{offsetof(bench_l2_sample, p50_us), "p50", "p50_ratio"},
                                       {offsetof(bench_l2_sample, p99_us), "p99", "p99_ratio"}};
    uint32_t base = base_of(which);
    *list = cases[which].side == SIDE_PATH ? latency : effort;
    return base != which && is_wanted(bench, &cases[base]) ? 2 : 0;
}

/* Of one case over its base, round by round; false: too few for an interval. */
static bool ratio_of(const l2_bench *bench, uint32_t which, size_t field, double *middle, double *low, double *high) {
    double ratios[ROUNDS_MAX];
    uint32_t over = base_of(which);
    for (uint32_t i = 0; i < bench->round_count; i++)
        ratios[i] = field_of(&bench->samples[which][i], field) / field_of(&bench->samples[over][i], field);
    bool sure = bench_median_interval(ratios, bench->round_count, low, high);
    *middle = bench_median(ratios, bench->round_count);
    return sure;
}

static void print_ratios(const l2_bench *bench, uint32_t which) {
    const relation *list;
    uint32_t count = relations_of(bench, which, &list);
    for (uint32_t i = 0; i < count; i++) {
        double middle, low, high;
        bool sure = ratio_of(bench, which, list[i].field, &middle, &low, &high);
        printf("%s x %.2f", i > 0 ? "," : cases[which].side == SIDE_PATH ? "  = round trip" : "  = client", middle);
        if (sure) printf(" (%.2f-%.2f)", low, high);
        printf(" %s", list[i].title);
    }
}

static void put_ratios(const l2_bench *bench, uint32_t which, bench_json *json) {
    const relation *list;
    uint32_t count = relations_of(bench, which, &list);
    for (uint32_t i = 0; i < count; i++) {
        char name[32];
        double middle, low, high;
        bool sure = ratio_of(bench, which, list[i].field, &middle, &low, &high);
        bench_json_number(json, list[i].name, middle);
        if (!sure) continue;
        snprintf(name, sizeof name, "%s_low", list[i].name);
        bench_json_number(json, name, low);
        snprintf(name, sizeof name, "%s_high", list[i].name);
        bench_json_number(json, name, high);
    }
}

static bool counts_allocations(uint32_t which) {
    return cases[which].side == SIDE_WIRE || cases[which].side == SIDE_PATH_COUNTED || cases[which].side == SIDE_PAST_COUNTED;
}

static void print_table(const l2_bench *bench) {
    printf("%-30s %10s %8s %8s %8s %8s %8s %9s %9s\n", "per operation", "per s", "cpu us", "sys us", "wakes", "loop w.",
           "allocs", "p50 us", "p99 us");
    for (uint32_t i = 0; i < CASE_COUNT; i++) {
        if (!is_wanted(bench, &cases[i])) continue;
        double allocations = MEDIAN(bench, i, allocations);
        char text[32] = "-";
        if (counts_allocations(i)) snprintf(text, sizeof text, "%.4f", allocations);
        uint64_t failures = 0;
        for (uint32_t r = 0; r < bench->round_count; r++) failures += bench->samples[i][r].failures;
        printf("%-30s %10.0f %8.3f %8.3f %8.4f %8.4f %8s %9.1f %9.1f", cases[i].name, MEDIAN(bench, i, per_second),
               MEDIAN(bench, i, cpu_us), MEDIAN(bench, i, system_us), MEDIAN(bench, i, wakes),
               MEDIAN(bench, i, loop_wakes), text, MEDIAN(bench, i, p50_us), MEDIAN(bench, i, p99_us));
        if (failures > 0) printf("  %llu FAILED", (unsigned long long)failures);
        print_ratios(bench, i);
        printf("\n");
    }
    if (bench->path != NULL) printf("idle engine: %.1f wake-ups a second\n", bench->idle_wakes);
    if (bench->highest > 0) printf(HIGHEST_NAME ": %.0f a second (each rate tried %u times)\n", bench->highest, HIGHEST_TRIALS);
    if (bench->highest == 0) printf(HIGHEST_NAME ": not even %.0f a second\n", HIGHEST_FIRST);
}

static bool write_json(const l2_bench *bench, const char *path) {
    bench_json json;
    if (!bench_result_open(&json, path, "strata-bench/l2/1")) return false;
    bench_json_text(&json, "peer", bench_peer_name());
    bench_json_text(&json, "valkey", bench_valkey_name());
    bench_json_number(&json, "idle_wakes_per_second", bench->idle_wakes);
    bench_json_array_begin(&json, "cases");
    for (uint32_t i = 0; i < CASE_COUNT; i++) {
        if (!is_wanted(bench, &cases[i])) continue;
        bench_json_object_begin(&json, NULL);
        bench_json_text(&json, "name", cases[i].name);
        put_ratios(bench, i, &json);
        bench_json_array_begin(&json, "rounds");
        for (uint32_t r = 0; r < bench->round_count; r++) {
            const bench_l2_sample *sample = &bench->samples[i][r];
            bench_json_object_begin(&json, NULL);
            bench_json_number(&json, "per_second", sample->per_second);
            bench_json_number(&json, "cpu_us", sample->cpu_us);
            bench_json_number(&json, "system_us", sample->system_us);
            bench_json_number(&json, "wakes", sample->wakes);
            bench_json_number(&json, "loop_wakes", sample->loop_wakes);
            bench_json_number(&json, "allocations", counts_allocations(i) ? sample->allocations : -1);
            bench_json_number(&json, "p50_us", sample->p50_us);
            bench_json_number(&json, "p99_us", sample->p99_us);
            bench_json_integer(&json, "failures", (int64_t)sample->failures);
            bench_json_object_end(&json);
        }
        bench_json_array_end(&json);
        bench_json_object_end(&json);
    }
    bench_result_column highest = {"per_second", &bench->highest};
    if (bench->highest >= 0) bench_result_case(&json, HIGHEST_NAME, &highest, 1, 1);
    bench_json_array_end(&json);
    bench_json_array_begin(&json, "cautions");
    if (bench->disturbed) bench_json_text(&json, NULL, BENCH_CAUTION_DISTURBED);
    if (bench_run_was_interrupted()) bench_json_text(&json, NULL, CAUTION_INTERRUPTED);
    bench_json_array_end(&json);
    return bench_result_close(&json);
}

/* ---- setting up ---- */

static void make_keys(l2_bench *bench) {
    bench_l2_keys *keys = &bench->keys;
    keys->count = (uint32_t)bench->settings.keys;
    keys->value_bytes = (uint32_t)bench->settings.value_bytes;
    keys->node_count = sx_cluster_node_count(bench->cluster);
    keys->cluster = bench->settings.primaries > 0;
    keys->seeds = sx_cluster_seeds(bench->cluster);
    keys->certs = bench->settings.tls != 0 ? sx_cluster_certs(bench->cluster) : NULL;
    keys->list = calloc(keys->count, sizeof *keys->list);
    for (uint32_t i = 0; i < keys->node_count; i++) keys->ports[i] = sx_cluster_port(bench->cluster, i);
    for (uint32_t i = 0; keys->list != NULL && i < keys->count; i++) {
        struct bench_l2_key *key = &keys->list[i];
        snprintf(key->text, sizeof key->text, "key:%012u", i);
        key->slot = (uint16_t)sx_key_slot(key->text, BENCH_L2_KEY_BYTES);
        uint32_t ranges = keys->cluster ? keys->node_count : 1; /* equal ranges, as sx_cluster_start gives them */
        while (key->node + 1u < ranges && key->slot >= SX_SLOTS * (key->node + 1u) / ranges) key->node++;
    }
}

/* "name=value" items as pairs. */
static const char **config_pairs(const bench_list *list) {
    const char **pairs = calloc(2 * list->count + 1, sizeof *pairs);
    for (uint32_t i = 0; pairs != NULL && i < list->count; i++) {
        char *name = strdup(list->items[i]);
        char *equals = name == NULL ? NULL : strchr(name, '=');
        if (equals == NULL) break;
        *equals = '\0';
        pairs[2 * i] = name;
        pairs[2 * i + 1] = equals + 1;
    }
    return pairs;
}

static bool open_all(l2_bench *bench) {
    bool good = true;
    const char **pairs = config_pairs(&bench->settings.config);
    make_keys(bench);
    bench->wire = bench_wire_open(&bench->keys);
    good = bench_wire_fill(bench->wire);
    bench->peer = bench_peer_open(&bench->keys);
    bench->valkey = bench_valkey_open(&bench->keys);
    if (bench->settings.only != ONLY_WIRE) {
        bench->path = bench_path_open(&bench->keys, false, pairs);
        good = good && bench_path_fill(bench->path);
        bench->counted = bench_path_open(&bench->keys, true, pairs);
        const char *one[] = {"l2.bulk_bytes", "0", NULL};
        bench->one_connection = bench_path_open(&bench->keys, false, one);
    }
    return good;
}

/* On a terminal, in a line that is written over; what NULL: takes it away. */
static void say_progress(const l2_bench *bench, const char *what, uint64_t done) {
    if (isatty(STDERR_FILENO) == 0) return;
    if (what == NULL) fprintf(stderr, "\r%60s\r", "");
    else fprintf(stderr, "\r%s %llu of %llu   ", what, (unsigned long long)(done + (done < bench->settings.rounds)), (unsigned long long)bench->settings.rounds);
}

static bench_others read_others(const l2_bench *bench) {
    pid_t servers[BENCH_L2_NODES_MAX];
    for (uint32_t i = 0; i < bench->keys.node_count; i++) servers[i] = sx_cluster_pid(bench->cluster, i);
    return bench_others_read(servers, bench->keys.node_count);
}

static int run(l2_bench *bench) {
    if (!open_all(bench)) {
        fprintf(stderr, "strata-bench l2: the servers did not take the keys\n");
        return BENCH_EXIT_SETUP;
    }
    if (bench->path != NULL) bench->idle_wakes = bench_path_idle_wakes(bench->path, 2) / 3; /* of three engines */
    bench->highest = -1;
    bench_others before = read_others(bench);
    for (uint32_t round = 0; round < bench->settings.rounds && !bench_run_was_interrupted(); round++) {
        say_progress(bench, "round", round);
        for (uint32_t i = 0; i < CASE_COUNT && !bench_run_was_interrupted(); i++)
            if (is_wanted(bench, &cases[i])) measure(bench, &cases[i], &bench->samples[i][round]);
        if (!bench_run_was_interrupted()) bench->round_count = round + 1; /* only whole rounds count */
    }
    if (wants_highest(bench)) {
        say_progress(bench, "the highest rate, after round", bench->round_count);
        bench->highest = bench_find_max(HIGHEST_FIRST, holds, bench);
    }
    say_progress(bench, NULL, 0);
    bench_others after = read_others(bench);
    bench->disturbed = bench_others_share(&before, &after) > BENCH_OTHERS_MAX;
    printf("%u rounds of %.2f s in turns, medians; GET of %u bytes, %u keys, %u servers; %s, %s\n",
           bench->round_count, bench->settings.seconds, bench->keys.value_bytes,
           bench->keys.count, bench->keys.node_count, bench_peer_name(), bench_valkey_name());
    if (bench->round_count > 0) print_table(bench);
    if (bench->disturbed) printf("CAUTION: %s\n", BENCH_CAUTION_DISTURBED);
    if (bench_run_was_interrupted()) printf("CAUTION: %s\n", CAUTION_INTERRUPTED);
    bench_path_close(bench->one_connection);
    bench_path_close(bench->counted);
    bench_path_close(bench->path);
    bench_valkey_close(bench->valkey);
    bench_peer_close(bench->peer);
    bench_wire_close(bench->wire);
    if (bench->settings.json_path != NULL && !write_json(bench, bench->settings.json_path)) return BENCH_EXIT_SETUP;
    return BENCH_EXIT_GOOD;
}

int bench_l2_main(int argc, char **argv) {
    l2_bench *bench = calloc(1, sizeof *bench);
    char error[512] = "";
    bench_options_given given;
    int outcome = BENCH_EXIT_SETUP;
    if (bench == NULL) return outcome;
    if (!bench_options_take(&options, argc, argv, &bench->settings, &given, &outcome)) {
        free(bench);
        return outcome;
    }
    bench_run_catch_signals();
    sx_cluster_options servers = {.primaries = (uint32_t)bench->settings.primaries, .tls = bench->settings.tls != 0};
    if (sx_cluster_start(&servers, &bench->cluster, error, sizeof error) == 0) outcome = run(bench);
    else fprintf(stderr, "strata-bench l2: %s\n", error);
    sx_cluster_stop(bench->cluster);
    free(bench->keys.list);
    free(bench);
    return outcome;
}
