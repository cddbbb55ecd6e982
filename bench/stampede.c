/* SPDX-License-Identifier: Apache-2.0 */
/* Rounds of one key that nobody holds: how often is its loader asked, who is answered, and when is the last one. */
#include "bench/stampede.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/json.h"
#include "bench/median.h"
#include "bench/process.h"
#include "bench/result.h"
#include "bench/tiered.h"

#define ROUNDS_MAX        1000u
#define READERS_MAX       1000000u
#define ROUND_SECONDS_MAX 60
#define GO_DELAY_NS       (20 * BENCH_NS_PER_MS)
#define REST_US           50000u

typedef struct stampede_settings {
    bench_settings run;
    uint64_t readers, rounds;
} stampede_settings;

/* owner: one process; read by the parent between rounds. */
typedef struct stampede_side {
    _Atomic uint64_t loads, answered, failed, wrong;
    _Atomic int64_t last_ns; /* when the last reader of the round was answered */
    bench_histogram latency;
} stampede_side;

typedef struct stampede_board {
    _Atomic uint32_t round, done; /* done: processes that have finished a round, all rounds together */
    _Atomic int64_t go_ns;
    stampede_side sides[BENCH_PROCESSES_MAX];
} stampede_board;

typedef struct stampede {
    bench_run run; /* first: processes get a pointer to it */
    stampede_settings settings;
    stampede_board *board; /* shared */
    double loads[ROUNDS_MAX], last_ms[ROUNDS_MAX];
    uint32_t rounds;
    double loads_most, last_most_ms;
} stampede;

/* ---- a process ---------------------------------------------------------------------------------------------- */

typedef struct side {
    stampede *all;
    bench_process_engine opened;
    strata_session *session;
    stampede_side *board;
    uint32_t process, key, left; /* of this round */
    int64_t began_ns;
    uint64_t floor;
} side;

static void answered(void *user, const strata_result *result) {
    side *s = user;
    int64_t end_ns = bench_now_ns();
    s->left--;
    atomic_store(&s->board->last_ns, end_ns);
    if (result->status < 0) {
        bench_count_add(&s->board->failed, 1);
        return;
    }
    bench_read read = {.process = s->process, .key = s->key, .began_ns = s->began_ns, .floor = s->floor, .bytes = result->value.data,
                       .size = result->value.size, .declared_stale = result->status == STRATA_STALE, .cached = true};
    uint32_t version;
    bench_verdict verdict = result->status == STRATA_MISS ? BENCH_VERDICT_ABSENT
                                                          : bench_verify_read(&s->all->run.database, &read, bench_workload_value_bytes,
                                                                              &s->all->run.workload, &version);
    bench_count_add(verdict == BENCH_VERDICT_GOOD ? &s->board->answered : &s->board->wrong, 1);
    bench_histogram_add(&s->board->latency, end_ns - s->began_ns);
}

static void ask(side *s, strata_bytes key) {
    strata_op_options options = {.struct_size = sizeof options, .deadline_ms = (uint32_t)s->all->settings.run.deadline_ms};
    strata_result result;
    int32_t status = strata_get_or_load(s->session, s->opened.ns, key, &options, bench_loader_load, &s->opened.loader, &result, answered, s);
    if (status == STRATA_PENDING) return;
    bool held = status == STRATA_OK || status == STRATA_STALE;
    answered(s, held ? &result : &(strata_result){.status = status});
    if (held) strata_result_release(s->session, &result);
}

static void take_round(side *s, uint32_t round) {
    const stampede_settings *settings = &s->all->settings;
    char text[BENCH_KEY_BYTES_MAX];
    s->key = round - 1;
    strata_bytes key = {text, bench_key_encode(&s->all->run.workload, s->key, text)};
    uint32_t readers = (uint32_t)(settings->readers / settings->run.processes);
    while (bench_now_ns() < atomic_load(&s->all->board->go_ns)) {}
    s->left = readers;
    s->floor = bench_database_floor(&s->all->run.database, s->process, s->key);
    s->began_ns = atomic_load(&s->all->board->go_ns);
    for (uint32_t i = 0; i < readers; i++) ask(s, key);
    while (s->left > 0 && atomic_load(&s->all->run.shared->stop) == 0) (void)strata_session_wait(s->session, 50);
    atomic_store(&s->board->loads, atomic_load(&s->opened.loader.asked));
    atomic_fetch_add(&s->all->board->done, 1);
}

static int process_main(bench_run *run, uint32_t index) {
    static side self; /* one per process */
    self = (side){.all = (stampede *)(void *)run, .process = index};
    self.board = &self.all->board->sides[index];
    if (!bench_process_open(&self.opened, run, index)) return 1;
    int32_t status = strata_session_open(self.opened.engine, &self.session);
    for (uint32_t round = 1; status == STRATA_OK && round <= self.all->settings.rounds; round++) {
        while (atomic_load(&self.all->board->round) < round && atomic_load(&run->shared->stop) == 0) usleep(200);
        if (atomic_load(&run->shared->stop) != 0) break;
        take_round(&self, round);
    }
    if (status == STRATA_OK) strata_session_close(self.session);
    bench_process_close(&self.opened);
    return status == STRATA_OK ? 0 : 1;
}

/* ---- the parent --------------------------------------------------------------------------------------------- */

static uint64_t sum_of(const stampede *all, size_t offset) {
    uint64_t sum = 0;
    for (uint64_t i = 0; i < all->settings.run.processes; i++)
        sum += bench_count_read((const _Atomic uint64_t *)(const void *)((const char *)&all->board->sides[i] + offset));
    return sum;
}
#define SUM(all, field) sum_of(all, offsetof(stampede_side, field))

/* False where not everybody was answered in time. */
static bool run_round(stampede *all, uint32_t round) {
    stampede_board *board = all->board;
    uint32_t processes = (uint32_t)all->settings.run.processes;
    uint64_t loads = SUM(all, loads);
    int64_t go_ns = bench_now_ns() + GO_DELAY_NS, give_up_ns = go_ns + ROUND_SECONDS_MAX * BENCH_NS_PER_S, last_ns = 0;
    atomic_store(&board->go_ns, go_ns);
    atomic_store(&board->round, round);
    while (atomic_load(&board->done) < processes * round && bench_now_ns() < give_up_ns && !all->run.crashed && !bench_run_was_interrupted()) {
        usleep(1000);
        bench_run_reap(&all->run, false);
    }
    if (atomic_load(&board->done) < processes * round) return false;
    for (uint32_t i = 0; i < processes; i++) {
        int64_t one_ns = atomic_load(&board->sides[i].last_ns);
        if (one_ns > last_ns) last_ns = one_ns;
    }
    all->loads[all->rounds] = (double)(SUM(all, loads) - loads);
    all->last_ms[all->rounds] = (double)(last_ns - go_ns) / 1e6;
    if (all->loads[all->rounds] > all->loads_most) all->loads_most = all->loads[all->rounds];
    if (all->last_ms[all->rounds] > all->last_most_ms) all->last_most_ms = all->last_ms[all->rounds];
    all->rounds++;
    return true;
}

static void print_result(stampede *all, const bench_histogram *latency) {
    const bench_settings *settings = &all->settings.run;
    printf("stampede      %u rounds: %" PRIu64 " readers in %" PRIu64 " processes ask for one cold key at once; its loader takes %" PRIu64 "-%" PRIu64
           "%s us\n", all->rounds, all->settings.readers / settings->processes * settings->processes, settings->processes,
           settings->loader_us.min, settings->loader_us.max, bench_shape_suffix(settings->loader_us.shape));
    printf("loader calls  %.0f a round (median), %.0f at most\n", bench_median(all->loads, all->rounds), all->loads_most);
    printf("answered      %" PRIu64 ", failed %" PRIu64 ", wrong %" PRIu64 "\n", SUM(all, answered), SUM(all, failed), SUM(all, wrong));
    printf("all answered  %.1f ms after the start (median), %.1f ms at most\n", bench_median(all->last_ms, all->rounds), all->last_most_ms);
    printf("a reader      p50 %.2f ms, p99 %.2f ms, max %.2f ms after the start\n", (double)bench_histogram_quantile_ns(latency, 0.5) / 1e6,
           (double)bench_histogram_quantile_ns(latency, 0.99) / 1e6, (double)bench_histogram_quantile_ns(latency, 1) / 1e6);
}

static bool write_json(const stampede *all, const bench_histogram *latency) {
    bench_json json;
    if (!bench_result_open(&json, all->settings.run.json_path, "strata-bench/stampede/1")) return false;
    bench_json_integer(&json, "readers", (int64_t)all->settings.readers);
    bench_json_integer(&json, "processes_count", (int64_t)all->settings.run.processes);
    bench_json_integer(&json, "answered", (int64_t)SUM(all, answered));
    bench_json_integer(&json, "failure_count", (int64_t)SUM(all, failed));
    bench_json_integer(&json, "wrong", (int64_t)SUM(all, wrong));
    bench_json_integer(&json, "p50_ns", (int64_t)bench_histogram_quantile_ns(latency, 0.5));
    bench_json_integer(&json, "p99_ns", (int64_t)bench_histogram_quantile_ns(latency, 0.99));
    bench_json_array_begin(&json, "rounds");
    for (uint32_t i = 0; i < all->rounds; i++) {
        bench_json_object_begin(&json, NULL);
        bench_json_number(&json, "loads", all->loads[i]);
        bench_json_number(&json, "all_answered_us", all->last_ms[i] * 1000);
        bench_json_object_end(&json);
    }
    bench_json_array_end(&json);
    return bench_result_close(&json);
}

/* Where processes have no L2 between them each loads for itself. */
static bool is_good(const stampede *all) {
    double loads_max = all->settings.run.l2 == BENCH_L2_NONE ? (double)all->settings.run.processes : 1;
    return all->rounds == all->settings.rounds && SUM(all, failed) == 0 && SUM(all, wrong) == 0 && all->loads_most <= loads_max;
}

static int run_all(stampede *all, char *error, size_t error_size) {
    bench_histogram *latency = calloc(1, sizeof *latency);
    int outcome = BENCH_EXIT_SETUP;
    all->board = bench_shared_allocate(sizeof *all->board);
    if (latency != NULL && all->board != NULL && bench_run_start(&all->run, process_main, error, error_size) == 0) {
        bool complete = true;
        for (uint32_t round = 1; complete && round <= all->settings.rounds; round++) {
            complete = run_round(all, round);
            usleep(REST_US);
        }
        bench_run_end(&all->run);
        for (uint64_t i = 0; i < all->settings.run.processes; i++) bench_histogram_merge(latency, &all->board->sides[i].latency);
        if (!complete) printf("INCOMPLETE    round %u was not answered in time, or interrupted\n", all->rounds + 1);
        bool good = is_good(all);
        if (all->settings.run.json_path == NULL || write_json(all, latency)) outcome = good ? BENCH_EXIT_GOOD : BENCH_EXIT_BAD;
        print_result(all, latency);
    }
    bench_run_release(&all->run);
    bench_shared_release(all->board, sizeof *all->board);
    free(latency);
    return outcome;
}

/* ---- the subcommand ----------------------------------------------------------------------------------------- */

#define FIELD(member) offsetof(stampede_settings, member)
static const bench_option rows[] = {
    {"readers", BENCH_OPTION_COUNT, "N", "10k", 1, READERS_MAX, NULL, FIELD(readers), "of all processes, each waiting for its answer", "Load"},
    {"processes", BENCH_OPTION_COUNT, "N", "4", 1, BENCH_PROCESSES_MAX, NULL, FIELD(run.processes), "that share the readers", NULL},
    {"rounds", BENCH_OPTION_COUNT, "N", "10", 1, ROUNDS_MAX, NULL, FIELD(rounds), "each with a key of its own", NULL},
    {"loader-us", BENCH_OPTION_RANGE, "US|" BENCH_RANGE_FORM, "50000", 0, 6e7, NULL, FIELD(run.loader_us), "latency of the loader", NULL},
    {"deadline", BENCH_OPTION_COUNT, "MS", NULL, 1, 3600000, NULL, FIELD(run.deadline_ms), "of each reader, else the engine's", NULL},
    {"value-bytes", BENCH_OPTION_RANGE, "BYTES|" BENCH_RANGE_FORM, "100", 32, 536870912, NULL, FIELD(run.workload.value_bytes), "size of values", NULL},
    {"l2", BENCH_OPTION_CHOICE, "MODE", "cluster", 0, 0, "cluster|standalone|none", FIELD(run.l2),
     "what stands behind L1; servers of our own unless --nodes", "Tiers"},
    {"nodes", BENCH_OPTION_TEXT, "HOST:PORT,...", NULL, 0, 0, NULL, FIELD(run.nodes), "running servers to use; what is written stays", NULL},
    {"primaries", BENCH_OPTION_COUNT, "N", "3", 1, 32, NULL, FIELD(run.primaries), "of our own cluster", NULL},
    {"l1-bytes", BENCH_OPTION_BYTES, "BYTES", "8MiB", 1048576, 1e15, NULL, FIELD(run.l1_bytes), "budget of each process's L1", NULL},
    {"config", BENCH_OPTION_LIST, "NAME=VALUE", NULL, 0, 0, NULL, FIELD(run.config), "any option of the engine; repeatable", NULL},
    {"json", BENCH_OPTION_TEXT, "FILE", NULL, 0, 0, NULL, FIELD(run.json_path), "write the rounds there", "Result"},
};
#define WORDS(...) (const char *const[]){__VA_ARGS__, NULL}
static const bench_option_preset presets[] = {
    {"slow", "a loader of a second: the lease of who loads must outlive it", WORDS("--loader-us", "1000000", "--rounds", "3", "--deadline", "5000")},
    {"large", "values of 1 MiB", WORDS("--value-bytes", "1MiB", "--readers", "1k")},
    {"many", "16 processes", WORDS("--processes", "16", "--readers", "16k")},
};
static const bench_option_rule rules[] = {{"primaries", BENCH_RULE_CONFLICTS, "nodes"}};
static const bench_option_table options = {
    .command = "strata-bench stampede",
    .about = "Many readers in several processes ask for one key at the same moment, which nobody holds. Exit status: 0 where each round\n"
             "had one loader call (one a process with --l2 none) and everybody got the right value, 1 where not.",
    .rows = rows,
    .count = sizeof rows / sizeof rows[0],
    .rules = rules,
    .rule_count = sizeof rules / sizeof rules[0],
    .presets = presets,
    .preset_count = sizeof presets / sizeof presets[0],
};

int bench_stampede_main(int argc, char **argv) {
    char error[1024] = "";
    bench_options_given given;
    stampede *all = calloc(1, sizeof *all);
    if (all == NULL) return BENCH_EXIT_SETUP;
    int outcome = BENCH_EXIT_SETUP;
    bench_settings *settings = &all->settings.run;
    if (!bench_options_take(&options, argc, argv, &all->settings, &given, &outcome)) goto done;
    if (all->settings.readers < settings->processes) {
        outcome = bench_options_refuse(&options, "--readers: fewer than --processes");
        goto done;
    }
    settings->threads = 1;
    settings->workload.keys = all->settings.rounds;
    settings->workload.distribution = "uniform";
    settings->workload.value_bytes_max = settings->workload.value_bytes.max;
    all->run.settings = *settings;
    bench_run_catch_signals();
    outcome = run_all(all, error, sizeof error);
    if (error[0] != '\0') fprintf(stderr, "strata-bench stampede: %s\n", error);
done:
    free(all);
    return outcome;
}
