/* SPDX-License-Identifier: Apache-2.0 */
/* One L1 and its budget: how many values it holds as they are and compressed, and what a hit then costs; and what a reader notices while the
   budget falls to a quarter and comes back, again and again. All in turns, round by round; every value that is read is checked. */
#include "bench/budget.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <pthread.h>
#include <time.h>
#include <unistd.h>

#include <strata/strata.h>

#include "bench/histogram.h"
#include "bench/median.h"
#include "bench/options.h"
#include "bench/random.h"
#include "bench/result.h"
#include "bench/run.h"

#define ROUNDS_MAX      31u
#define HITS            200000u
#define VALUE_BYTES_MAX 65536u
#define SWING_US        100000u

typedef struct budget_settings {
    uint64_t rounds, value_bytes, l1_bytes;
    double seconds;
    const char *json_path;
} budget_settings;

/* What stands in namespace.values.* of the engine. */
static const struct {
    const char *name, *compress, *l1_compressed;
} modes[] = {{"as they are", "none", "off"}, {"lz4", "lz4", "on"}, {"zstd", "zstd", "on"}};
#define MODES (sizeof modes / sizeof *modes)

typedef struct held {
    double entries[ROUNDS_MAX], hit_ns[ROUNDS_MAX];
} held;

/* Of readers while the budget stands still, and while it swings. */
typedef struct swings {
    bench_histogram *hits;
    double p99_ns[ROUNDS_MAX], p999_ns[ROUNDS_MAX], max_ns[ROUNDS_MAX];
} swings;

typedef struct budget {
    budget_settings settings;
    held held[MODES];
    swings still, swinging;
    uint32_t *present; /* keys that are held */
    uint64_t wrong;
    uint32_t changes; /* of the budget */
} budget;

/* ---- values ---------------------------------------------------------------------------------------------------- */

/* Records as services keep them: names that repeat, numbers that don't. */
static void make_value(char *value, size_t size, uint64_t key) {
    static const char *const cities[] = {"Berlin", "Lisboa", "Nairobi", "Osaka", "Quito", "Tromso", "Lagos", "Lima"};
    bench_random random;
    bench_random_init(&random, 1, key);
    for (size_t at = 0; at < size;) {
        char record[256];
        uint64_t r = bench_random_next(&random);
        int length = snprintf(record, sizeof record,
                              "{\"id\":%" PRIu64 ",\"name\":\"user-%08x\",\"city\":\"%s\",\"active\":%s,\"balance\":%u.%02u,\"roles\":[\"reader\",\"writer\"]},",
                              key, (unsigned)(r >> 32), cities[r % 8], (r & 8) != 0 ? "true" : "false", (unsigned)(r >> 40 & 0xffff),
                              (unsigned)(r >> 20) % 100);
        size_t part = size - at < (size_t)length ? size - at : (size_t)length;
        memcpy(value + at, record, part);
        at += part;
    }
}

static strata_bytes key_of(char text[24], uint64_t key) { return (strata_bytes){text, (size_t)snprintf(text, 24, "values:%" PRIu64, key)}; }

/* ---- an engine ------------------------------------------------------------------------------------------------- */

typedef struct side {
    strata *engine;
    strata_session *session;
    strata_namespace *ns;
} side;

static int32_t open_side(const budget_settings *settings, size_t mode, side *s) {
    char bytes[32];
    (void)snprintf(bytes, sizeof bytes, "%" PRIu64, settings->l1_bytes);
    strata_config *config;
    int32_t status = strata_config_create(&config);
    if (status != STRATA_OK) return status;
    const char *const pairs[][2] = {{"l2.mode", "none"},
                                    {"l1.bytes", bytes},
                                    {"flow.ttl", "1d"},
                                    {"namespace.values.compress", modes[mode].compress},
                                    {"namespace.values.l1_compressed", modes[mode].l1_compressed}};
    for (size_t i = 0; status == STRATA_OK && i < sizeof pairs / sizeof *pairs; i++) status = strata_config_set(config, pairs[i][0], pairs[i][1], NULL);
    strata_open_options options = {.struct_size = sizeof options, .config = config};
    if (status == STRATA_OK) status = strata_open(&options, &s->engine, NULL);
    if (status == STRATA_OK) status = strata_session_open(s->engine, &s->session);
    if (status == STRATA_OK) status = strata_namespace_open(s->engine, "values", 1, &s->ns);
    strata_config_destroy(config);
    return status;
}

static void close_side(side *s) {
    strata_session_close(s->session);
    if (s->engine != NULL) (void)strata_close(s->engine, 1000);
    *s = (side){0};
}

/* As many as would need four times the budget as they are. */
static uint64_t key_count(const budget_settings *settings) { return 4 * settings->l1_bytes / settings->value_bytes; }

static void put(const budget_settings *settings, side *s, uint64_t key) {
    char text[24], value[VALUE_BYTES_MAX];
    make_value(value, settings->value_bytes, key);
    (void)strata_set_wait(s->session, s->ns, key_of(text, key), (strata_bytes){value, settings->value_bytes}, NULL, NULL);
}

static bool get(side *s, uint64_t key, strata_result *result) {
    char text[24];
    return strata_peek(s->session, s->ns, key_of(text, key), result) == STRATA_OK;
}

static void check(budget *all, const strata_result *result, uint64_t key) {
    char value[VALUE_BYTES_MAX];
    make_value(value, all->settings.value_bytes, key);
    if (result->value.size != all->settings.value_bytes || memcmp(result->value.data, value, result->value.size) != 0) all->wrong++;
}

/* ---- what fits ------------------------------------------------------------------------------------------------- */

static uint32_t find_present(budget *all, side *s) {
    uint32_t count = 0;
    uint64_t keys = key_count(&all->settings);
    strata_result result;
    for (uint64_t key = 0; key < keys; key++) {
        if (!get(s, key, &result)) continue;
        check(all, &result, key);
        strata_result_release(s->session, &result);
        all->present[count++] = (uint32_t)key;
    }
    return count;
}

/* Of this thread alone: what else the machine does is not a hit's. */
static int64_t cpu_now_ns(void) {
    struct timespec now;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return now.tv_sec * BENCH_NS_PER_S + now.tv_nsec;
}

static double time_hits(budget *all, side *s, uint32_t count) {
    bench_random random;
    bench_random_init(&random, 2, 0);
    strata_result result;
    int64_t start_ns = cpu_now_ns();
    for (uint32_t i = 0; i < HITS && count > 0; i++) {
        if (get(s, all->present[bench_random_below(&random, count)], &result)) strata_result_release(s->session, &result);
    }
    return (double)(cpu_now_ns() - start_ns) / HITS;
}

static int32_t run_mode(budget *all, size_t mode, uint32_t round) {
    side s = {0};
    int32_t status = open_side(&all->settings, mode, &s);
    if (status == STRATA_OK) {
        for (uint64_t key = 0; key < key_count(&all->settings); key++) put(&all->settings, &s, key);
        uint32_t count = find_present(all, &s);
        all->held[mode].entries[round] = count;
        all->held[mode].hit_ns[round] = time_hits(all, &s, count);
    }
    close_side(&s);
    return status;
}

/* ---- what is noticed ------------------------------------------------------------------------------------------- */

typedef struct swinger {
    const budget_settings *settings;
    strata *engine;
    _Atomic bool stop;
    _Atomic uint32_t changes;
} swinger;

static void *swing(void *argument) {
    swinger *w = argument;
    while (!atomic_load(&w->stop)) {
        char bytes[32];
        uint32_t turn = atomic_fetch_add(&w->changes, 1);
        (void)snprintf(bytes, sizeof bytes, "%" PRIu64, turn % 2 == 0 ? w->settings->l1_bytes / 4 : w->settings->l1_bytes);
        (void)strata_option_set(w->engine, "l1.bytes", bytes, NULL);
        usleep(SWING_US);
    }
    return NULL;
}

/* Hits are timed one by one; what is not there is put again. */
static void read_for(budget *all, side *s, bench_histogram *hits, uint64_t seed) {
    bench_random random;
    bench_random_init(&random, 3, seed);
    strata_result result;
    int64_t now_ns = bench_now_ns(), end_ns = now_ns + (int64_t)(all->settings.seconds * 1e9);
    for (uint64_t turn = 0; now_ns < end_ns; turn++) {
        uint64_t key = bench_random_below(&random, key_count(&all->settings) / 4);
        int64_t start_ns = bench_now_ns();
        bool hit = get(s, key, &result);
        now_ns = bench_now_ns();
        if (hit) bench_histogram_add(hits, now_ns - start_ns);
        else put(&all->settings, s, key);
        if (hit && turn % 64 == 0) check(all, &result, key);
        if (hit) strata_result_release(s->session, &result);
    }
}

static void note(swings *what, uint32_t round) {
    what->p99_ns[round] = (double)bench_histogram_quantile_ns(what->hits, 0.99);
    what->p999_ns[round] = (double)bench_histogram_quantile_ns(what->hits, 0.999);
    what->max_ns[round] = (double)bench_histogram_quantile_ns(what->hits, 1);
    bench_histogram_clear(what->hits);
}

static int32_t run_swings(budget *all, uint32_t round) {
    side s = {0};
    pthread_t thread;
    int32_t status = open_side(&all->settings, 0, &s);
    swinger w = {.settings = &all->settings, .engine = s.engine};
    for (uint64_t key = 0; status == STRATA_OK && key < key_count(&all->settings) / 4; key++) put(&all->settings, &s, key);
    if (status == STRATA_OK) {
        read_for(all, &s, all->still.hits, round);
        note(&all->still, round);
        if (pthread_create(&thread, NULL, swing, &w) != 0) status = STRATA_E_SYSTEM;
    }
    if (status == STRATA_OK) {
        read_for(all, &s, all->swinging.hits, round);
        atomic_store(&w.stop, true);
        pthread_join(thread, NULL);
        note(&all->swinging, round);
        all->changes += atomic_load(&w.changes);
    }
    close_side(&s);
    return status;
}

/* ---- the subcommand -------------------------------------------------------------------------------------------- */

static bool write_json(const budget *all) {
    bench_json json;
    uint32_t rounds = (uint32_t)all->settings.rounds;
    if (!bench_result_open(&json, all->settings.json_path, "strata-bench/budget/1")) return false;
    bench_json_array_begin(&json, "cases");
    for (size_t i = 0; i < MODES; i++) {
        const bench_result_column columns[] = {{"entries", all->held[i].entries}, {"hit_ns", all->held[i].hit_ns}};
        bench_result_case(&json, modes[i].name, columns, 2, rounds);
    }
    const swings *both[] = {&all->still, &all->swinging};
    for (size_t i = 0; i < 2; i++) {
        const bench_result_column columns[] = {{"p99_ns", both[i]->p99_ns}, {"p999_ns", both[i]->p999_ns}, {"max_ns", both[i]->max_ns}};
        bench_result_case(&json, i == 0 ? "the budget stands still" : "the budget swings", columns, 3, rounds);
    }
    bench_json_array_end(&json);
    return bench_result_close(&json);
}

static void print_result(budget *all) {
    uint32_t rounds = (uint32_t)all->settings.rounds;
    double first = bench_median(all->held[0].entries, rounds);
    printf("values of %" PRIu64 " bytes in an L1 of %" PRIu64 " MiB, median of %u rounds\n", all->settings.value_bytes, all->settings.l1_bytes >> 20, rounds);
    for (size_t i = 0; i < MODES; i++) {
        double entries = bench_median(all->held[i].entries, rounds);
        printf("%-28s%8.0f held (%.2f times as many), a hit takes %.0f ns of CPU\n", modes[i].name, entries, entries / first,
               bench_median(all->held[i].hit_ns, rounds));
    }
    swings *both[] = {&all->still, &all->swinging};
    for (size_t i = 0; i < 2; i++)
        printf("%-28sa hit's p99 %.2f us, p99.9 %.2f us, worst %.0f us\n", i == 0 ? "the budget stands still" : "it swings by a factor of 4",
               bench_median(both[i]->p99_ns, rounds) / 1e3, bench_median(both[i]->p999_ns, rounds) / 1e3, bench_median(both[i]->max_ns, rounds) / 1e3);
    printf("%u changes of the budget; wrong values: %" PRIu64 "\n", all->changes, all->wrong);
}

#define FIELD(member) offsetof(budget_settings, member)
static const bench_option rows[] = {
    {"value-bytes", BENCH_OPTION_BYTES, "BYTES", "2000", 100, VALUE_BYTES_MAX, NULL, FIELD(value_bytes), "of JSON records", "What"},
    {"l1-bytes", BENCH_OPTION_BYTES, "BYTES", "32MiB", 4 << 20, 1e12, NULL, FIELD(l1_bytes), "budget of L1", NULL},
    {"rounds", BENCH_OPTION_COUNT, "N", "5", 1, ROUNDS_MAX, NULL, FIELD(rounds), "everything in turn in each; medians", "How much"},
    {"seconds", BENCH_OPTION_NUMBER, "S", "1", 0.1, 3600, NULL, FIELD(seconds), "of reading, of each round, with a budget that stands still, and again while it swings", NULL},
    {"json", BENCH_OPTION_TEXT, "FILE", NULL, 0, 0, NULL, FIELD(json_path), "write every round there", "Result"},
};
static const bench_option_table options = {
    .command = "strata-bench budget",
    .about = "One process, no L2: how many values L1 holds as they are and compressed, what a hit then costs, and what one reader notices\n"
             "while the budget falls to a quarter and comes back every 200 ms. Exit status 1 where a value was wrong.",
    .rows = rows,
    .count = sizeof rows / sizeof rows[0],
};

static int run_all(budget *all) {
    int32_t status = STRATA_OK;
    for (uint32_t round = 0; status == STRATA_OK && round < all->settings.rounds; round++) {
        for (size_t mode = 0; status == STRATA_OK && mode < MODES; mode++) status = run_mode(all, mode, round);
        if (status == STRATA_OK) status = run_swings(all, round);
    }
    if (status != STRATA_OK) {
        fprintf(stderr, "strata-bench budget: %s\n", strata_status_text(status));
        return BENCH_EXIT_SETUP;
    }
    bool written = all->settings.json_path == NULL || write_json(all); /* before medians sort the rounds */
    print_result(all);
    return !written ? BENCH_EXIT_SETUP : all->wrong == 0 ? BENCH_EXIT_GOOD : BENCH_EXIT_BAD;
}

int bench_budget_main(int argc, char **argv) {
    int outcome = BENCH_EXIT_SETUP;
    bench_options_given given;
    budget *all = calloc(1, sizeof *all);
    if (all == NULL) return outcome;
    if (bench_options_take(&options, argc, argv, &all->settings, &given, &outcome)) {
        all->present = calloc(key_count(&all->settings), sizeof *all->present);
        all->still.hits = calloc(1, sizeof *all->still.hits);
        all->swinging.hits = calloc(1, sizeof *all->swinging.hits);
        if (all->present != NULL && all->still.hits != NULL && all->swinging.hits != NULL) outcome = run_all(all);
        else outcome = BENCH_EXIT_SETUP;
    }
    free(all->present);
    free(all->still.hits);
    free(all->swinging.hits);
    free(all);
    return outcome;
}
