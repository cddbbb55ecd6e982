/* SPDX-License-Identifier: Apache-2.0 */
/* strata-bench l1: the store of l1/ beside peers in one process, in turns; and real traces beside a true LRU. It reaches
   into rooms of the library: what it measures has no public face of its own. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/environment.h"
#include "bench/json.h"
#include "bench/l1/main.h"
#include "bench/l1/measure.h"
#include "bench/l1/replay.h"
#include "bench/median.h"
#include "bench/options.h"
#include "bench/result.h"
#include "bench/run.h"
#include "bench/tiered.h"

#define ROUNDS_MAX 31u
#define CAUTION_INTERRUPTED "interrupted: the lines that were not finished are missing"
#if defined(BENCH_HAS_ROCKSDB)
#define ROCKS_KINDS 2u
#else
#define ROCKS_KINDS 0u
#endif
#if defined(BENCH_HAS_TBB)
#define TBB_KINDS 2u
#else
#define TBB_KINDS 0u
#endif
#define KINDS (3u + ROCKS_KINDS + TBB_KINDS)

typedef struct options {
    uint64_t keys, rounds, operations, seed;
    const char *only, *traces, *json_path;
    uint8_t small_pages;
    bench_json *json; /* NULL: none */
    bool noisy;       /* our own two halves of some line differ too much */
} options;

#define FIELD(member) offsetof(options, member)
static const bench_option option_rows[] = {
    {"keys", BENCH_OPTION_COUNT, "N", "1m", 1000, 1e9, NULL, FIELD(keys), "of 16 bytes, zipf 0.99, values of 100", "What"},
    {"only", BENCH_OPTION_TEXT, "TEXT", NULL, 0, 0, NULL, FIELD(only), "lines or traces whose name contains it; 'latency'", NULL},
    {"small-pages", BENCH_OPTION_FLAG, NULL, NULL, 0, 0, NULL, FIELD(small_pages), "ours too does without pages of 2 MB", NULL},
    {"traces", BENCH_OPTION_TEXT, "FOLDER", NULL, 0, 0, NULL, FIELD(traces),
     "instead: misses on every .kv12 file at 1, 10 and 20 % of its keys, beside an exact LRU; also from STRATA_TEST_TRACES", NULL},
    {"rounds", BENCH_OPTION_COUNT, "N", "6", 1, ROUNDS_MAX, NULL, FIELD(rounds), "all caches in turn in each; medians, and from six on intervals of the ratios", "How much"},
    {"operations", BENCH_OPTION_COUNT, "N", "2m", 16, 1e12, NULL, FIELD(operations), "of one measurement", NULL},
    {"seed", BENCH_OPTION_COUNT, "N", "42", 0, 9e15, NULL, FIELD(seed), "same seed, same keys in the same order", NULL},
    {"json", BENCH_OPTION_TEXT, "FILE", NULL, 0, 0, NULL, FIELD(json_path), "write every round of every line there", "Result"},
};
#define WORDS(...) (const char *const[]){__VA_ARGS__, NULL}
static const bench_option_preset presets[] = {
    {"quick", "every line in some ten seconds", WORDS("--keys", "200k", "--operations", "300k", "--rounds", "6")},
    {"beyond", "ten million keys: far more than the processor's caches hold", WORDS("--keys", "10m")},
};
static const bench_option_table table = {
    .command = "strata-bench l1",
    .about = "The in-process store beside ck_ht (behind ck_epoch, evicts nothing), a textbook LRU (16 mutexes), and where installed RocksDB's\n"
             "LRU and HyperClock caches and TBB's concurrent maps (evict nothing).",
    .rows = option_rows,
    .count = sizeof option_rows / sizeof option_rows[0],
    .presets = presets,
    .preset_count = sizeof presets / sizeof presets[0],
};

static const cache_kind *const kinds[KINDS] = {
    &cache_l1, &cache_ht, &cache_lru,
#if defined(BENCH_HAS_ROCKSDB)
    &cache_rocks_lru, &cache_rocks_clock,
#endif
#if defined(BENCH_HAS_TBB)
    &cache_tbb_hash, &cache_tbb_unordered,
#endif
};

/* One line of the report: a workload on all caches that can do it. */
typedef struct line {
    const char *name;
    measure_work work;
    uint32_t threads;
    bool small;   /* at a tenth of the keys */
    bool ours;    /* on ours only */
    bool beside;  /* with a writer beside */
    bool rate;    /* the median shown is M/s, else ns */
} line;

static const line lines[] = {
    {"get, all fits, 1 thread, ns", MEASURE_GET, 1, false, false, false, false},
    {"get, all fits, 2 threads, M/s", MEASURE_GET, 2, false, false, false, true},
    {"95/5, room for a tenth, 1 thread, ns", MEASURE_MIX, 1, true, false, false, false},
    {"95/5, room for a tenth, 2 threads, M/s", MEASURE_MIX, 2, true, false, false, true},
    {"batch of 16, uniform, ns a key", MEASURE_BATCH, 1, false, true, false, false},
    {"one hot key, 1 thread, ns", MEASURE_HOT, 1, false, false, false, false},
    {"one hot key, 2 threads, ns", MEASURE_HOT, 2, false, false, false, false},
    {"overwrite, 1 thread, ns", MEASURE_OVERWRITE, 1, false, false, false, false},
    {"new with eviction, 1 thread, ns", MEASURE_INSERT, 1, true, false, false, false},
};

static double median_of(const double *values, uint64_t count) {
    double copy[ROUNDS_MAX];
    memcpy(copy, values, count * sizeof copy[0]);
    return bench_median(copy, count);
}

static void put_ratio(const options *o, const double *ratios) {
    double low, high;
    bench_json_number(o->json, "ratio", median_of(ratios, o->rounds));
    if (!bench_median_interval(ratios, o->rounds, &low, &high)) return;
    bench_json_number(o->json, "ratio_low", low);
    bench_json_number(o->json, "ratio_high", high);
}

/* Below the caches' own: ours over theirs, the median of the rounds' ratios, and how sure that is. */
static void print_ratios(const options *o, const bool *able, double (*ratios)[ROUNDS_MAX]) {
    printf("%-40s %9s", "  ours / theirs (95 % interval)", "");
    for (uint32_t k = 1; k < KINDS; k++) {
        char text[32] = "-";
        double low, high, middle = able[k] ? median_of(ratios[k], o->rounds) : 0;
        if (able[k] && bench_median_interval(ratios[k], o->rounds, &low, &high))
            snprintf(text, sizeof text, "%.2f (%.2f-%.2f)", middle, low, high);
        else if (able[k]) snprintf(text, sizeof text, "%.2f", middle);
        printf(" %17s", text);
    }
    printf("\n");
}

/* One case a cache: medians, the noise between its two halves, ours over it, and its rounds. */
static void put_line(const options *o, const line *l, uint32_t kind, const double *values, const double *ratios, double hit_ratio) {
    char name[128];
    const char *unit = l->rate ? "millions_per_second" : "ns", *median = l->rate ? "median_millions_per_second" : "median_ns";
    snprintf(name, sizeof name, "%.*s, %s", (int)(strrchr(l->name, ',') - l->name), l->name, kinds[kind]->name);
    bench_json_object_begin(o->json, NULL);
    bench_json_text(o->json, "name", name);
    bench_json_number(o->json, median, median_of(values, o->rounds));
    bench_json_number(o->json, "noise", bench_noise(values, o->rounds));
    if (kind != 0) put_ratio(o, ratios);
    if (l->work == MEASURE_MIX) bench_json_number(o->json, "hit_ratio", hit_ratio);
    bench_json_array_begin(o->json, "rounds");
    for (uint64_t i = 0; i < o->rounds; i++) {
        bench_json_object_begin(o->json, NULL);
        bench_json_number(o->json, unit, values[i]);
        bench_json_object_end(o->json);
    }
    bench_json_array_end(o->json);
    bench_json_object_end(o->json);
}

/* Interrupted, it says nothing: the lines before stand. */
static void measure_line(const line *l, options *o, void *const *large, void *const *small) {
    double values[KINDS][ROUNDS_MAX], ratios[KINDS][ROUNDS_MAX], hits[KINDS] = {0};
    bool able[KINDS];
    uint64_t wrong = 0;
    for (uint32_t k = 0; k < KINDS; k++) able[k] = k == 0 || (!l->ours && (kinds[k]->evicts || !l->small));
    for (uint64_t round = 0; round <= o->rounds; round++) { /* the first one warms up */
        for (uint32_t turn = 0; turn < KINDS; turn++) {
            uint32_t k = (turn + (uint32_t)round) % KINDS; /* another one begins each round */
            if (!able[k]) continue;
            if (bench_run_was_interrupted()) return;
            measure_result r = measure_run(kinds[k], l->small ? small[k] : large[k], l->work, l->threads, o->operations,
                                           NULL, l->beside);
            wrong += r.wrong;
            if (round == 0) continue;
            values[k][round - 1] = l->rate ? r.millions : r.ns;
            hits[k] += r.hit_ratio / (double)o->rounds;
        }
    }
    for (uint64_t i = 0; i < o->rounds; i++)
        for (uint32_t k = 0; k < KINDS; k++) ratios[k][i] = able[k] ? values[0][i] / values[k][i] : 0;
    for (uint32_t k = 0; k < KINDS && o->json != NULL; k++)
        if (able[k]) put_line(o, l, k, values[k], ratios[k], hits[k]);
    double noise = bench_noise(values[0], o->rounds);
    o->noisy = o->noisy || noise > BENCH_NOISE_MAX;
    printf("%-40s", l->name);
    for (uint32_t k = 0; k < KINDS; k++) {
        if (!able[k]) printf(" %*s", k == 0 ? 9 : 17, "-");
        else printf(" %*.1f", k == 0 ? 9 : 17, median_of(values[k], o->rounds));
    }
    if (l->work == MEASURE_MIX) {
        printf("   hit ratio");
        for (uint32_t k = 0; k < KINDS; k++) {
            if (able[k]) printf(" %.4f", hits[k]);
        }
    }
    if (noise > BENCH_NOISE_MAX) printf("   noise %.1f %%", 100 * noise);
    if (wrong != 0) printf("   %llu WRONG VALUES", (unsigned long long)wrong);
    printf("\n");
    if (!l->ours) print_ratios(o, able, ratios);
    fflush(stdout);
}

static void measure_latency(const options *o, void *const *large, bool beside) {
    double high[KINDS][ROUNDS_MAX], higher[KINDS][ROUNDS_MAX];
    for (uint64_t round = 0; round < o->rounds; round++) {
        for (uint32_t k = 0; k < KINDS; k++) {
            bench_histogram *h = bench_run_was_interrupted() ? NULL : calloc(1, sizeof *h);
            if (h == NULL) return;
            (void)measure_run(kinds[k], large[k], MEASURE_LATENCY, 1, o->operations, h, beside);
            high[k][round] = (double)bench_histogram_quantile_ns(h, 0.99);
            higher[k][round] = (double)bench_histogram_quantile_ns(h, 0.999);
            free(h);
        }
    }
    printf("%-40s", beside ? "hit beside a writer, p99 / p99.9 ns" : "hit, p99 / p99.9 ns (with the clock's 20)");
    for (uint32_t k = 0; k < KINDS; k++) {
        char text[32], name[128];
        snprintf(text, sizeof text, "%.0f/%.0f", median_of(high[k], o->rounds), median_of(higher[k], o->rounds));
        printf(" %*s", k == 0 ? 9 : 17, text);
        if (o->json == NULL) continue;
        snprintf(name, sizeof name, "hit%s, %s", beside ? " beside a writer" : "", kinds[k]->name);
        bench_result_column columns[] = {{"p99_ns", high[k]}, {"p999_ns", higher[k]}};
        bench_result_case(o->json, name, columns, 2, (uint32_t)o->rounds);
    }
    printf("\n");
}

static bool is_wanted(const options *o, const char *name) { return o->only == NULL || strstr(name, o->only) != NULL; }

static bool wants_small(const options *o) {
    bool any = false;
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) any = any || (lines[i].small && is_wanted(o, lines[i].name));
    return any;
}

static void fill(const options *o, void **large, void **small) {
    bool small_too = wants_small(o);
    for (uint32_t k = 0; k < KINDS; k++) {
        large[k] = kinds[k]->create(o->keys + o->keys / 8);
        if (large[k] == NULL) exit(1);
        measure_fill(kinds[k], large[k]);
        small[k] = kinds[k]->evicts && small_too ? kinds[k]->create(o->keys / 10) : NULL;
        if (small[k] == NULL) continue;
        for (uint32_t i = 0; i < 6; i++) {
            (void)measure_run(kinds[k], small[k], MEASURE_MIX, 1, o->keys, NULL, false);
            if (kinds[k]->tune != NULL) kinds[k]->tune(small[k], o->keys / 10);
        }
        (void)measure_run(kinds[k], small[k], MEASURE_MIX, 1, o->keys, NULL, false);
    }
}

static int measure_all(options *o) {
    void *large[KINDS], *small[KINDS];
    if (!measure_init(o->keys, 0.99, o->seed)) return 1;
    fill(o, large, small);
    cache_l1_bytes bytes = cache_l1_metadata(large[0]);
    printf("metadata an entry, all fits: header %.1f + index, policy and ghosts %.1f = %.1f; rounding by the allocator %.1f\n",
           bytes.header, bytes.index, bytes.header + bytes.index, bytes.rounding);
    if (small[0] != NULL) {
        bytes = cache_l1_metadata(small[0]);
        printf("metadata an entry, full:     header %.1f + index, policy and ghosts %.1f = %.1f; entries %llu, LRU's %llu\n",
               bytes.header, bytes.index, bytes.header + bytes.index, (unsigned long long)cache_l1.entries(small[0]),
               (unsigned long long)cache_lru.entries(small[2]));
    }
    if (ROCKS_KINDS == 0) printf("skipped: RocksDB's LRU and HyperClock (no librocksdb at build)\n");
    if (TBB_KINDS == 0) printf("skipped: TBB's maps (no libtbb at build)\n");
    printf("%-40s", "");
    for (uint32_t k = 0; k < KINDS; k++) printf(" %*s", k == 0 ? 9 : 17, kinds[k]->name);
    printf("\n");
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        if (is_wanted(o, lines[i].name)) measure_line(&lines[i], o, large, small);
    }
    if (o->noisy) printf("CAUTION: %s\n", BENCH_CAUTION_NOISY);
    if (is_wanted(o, "latency")) {
        measure_latency(o, large, false);
        measure_latency(o, large, true);
    }
    if (bench_run_was_interrupted()) printf("CAUTION: %s\n", CAUTION_INTERRUPTED);
    for (uint32_t k = 0; k < KINDS; k++) {
        kinds[k]->destroy(large[k]);
        if (small[k] != NULL) kinds[k]->destroy(small[k]);
    }
    measure_deinit();
    return 0;
}

static int measure_to_json(options *o) {
    bench_json json;
    if (!bench_result_open(&json, o->json_path, "strata-bench/l1/1")) return BENCH_EXIT_SETUP;
    o->json = &json;
    bench_json_integer(&json, "keys", (int64_t)o->keys);
    bench_json_integer(&json, "seed", (int64_t)o->seed);
    bench_json_integer(&json, "operations_a_round", (int64_t)o->operations);
    bench_json_array_begin(&json, "cases");
    int outcome = measure_all(o);
    bench_json_array_end(&json);
    bench_json_array_begin(&json, "cautions");
    if (o->noisy) bench_json_text(&json, NULL, BENCH_CAUTION_NOISY);
    if (bench_run_was_interrupted()) bench_json_text(&json, NULL, CAUTION_INTERRUPTED);
    bench_json_array_end(&json);
    return bench_result_close(&json) ? outcome : BENCH_EXIT_SETUP;
}

int bench_l1_main(int argc, char **argv) {
    options o = {.traces = getenv("STRATA_TEST_TRACES")};
    bench_options_given given;
    int outcome;
    if (!bench_options_take(&table, argc, argv, &o, &given, &outcome)) return outcome;
    cache_l1_small_pages = o.small_pages != 0;
    bench_run_catch_signals();
    if (o.traces != NULL) return replay_folder(o.traces, o.only);
    return o.json_path != NULL ? measure_to_json(&o) : measure_all(&o);
}
