/* SPDX-License-Identifier: Apache-2.0 */
/* strata-bench l1: the store of l1/ beside peers in one process, in turns; and real traces beside a true LRU. It reaches
   into rooms of the library: what it measures has no public face of its own. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/environment.h"
#include "bench/json.h"
#include "bench/l1/main.h"
#include "bench/l1/measure.h"
#include "bench/l1/replay.h"
#include "bench/median.h"
#include "bench/options.h"
#include "bench/others.h"
#include "bench/result.h"
#include "bench/run.h"
#include "bench/tiered.h"

#define ROUNDS_MAX 101u
#define ROUNDS_TOLD 4u /* from so many on noise is known */
#define CAUTION_FEW "fewer than %u rounds: nothing is known of noise"
#define CAUTION_INTERRUPTED "interrupted after %llu of %llu rounds"
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
    bool disturbed;   /* others took too much of the machine */
    bool noisy;       /* another run's median may differ too much */
} options;

#define FIELD(member) offsetof(options, member)
static const bench_option option_rows[] = {
    {"keys", BENCH_OPTION_COUNT, "N", "1m", 1000, 1e9, NULL, FIELD(keys), "of 16 bytes, zipf 0.99, values of 100", "What"},
    {"only", BENCH_OPTION_TEXT, "TEXT", NULL, 0, 0, NULL, FIELD(only), "lines or traces whose name contains it; 'latency'", NULL},
    {"small-pages", BENCH_OPTION_FLAG, NULL, NULL, 0, 0, NULL, FIELD(small_pages), "ours too does without pages of 2 MB", NULL},
    {"traces", BENCH_OPTION_TEXT, "FOLDER", NULL, 0, 0, NULL, FIELD(traces),
     "instead: misses on every .kv12 file at 1, 10 and 20 % of its keys, beside an exact LRU; also from STRATA_TEST_TRACES", NULL},
    {"rounds", BENCH_OPTION_COUNT, "N", "15", 1, ROUNDS_MAX, NULL, FIELD(rounds), "all lines and caches in turn in each; medians, and from six on intervals of the ratios", "How much"},
    {"operations", BENCH_OPTION_COUNT, "N", "300k", 16, 1e12, NULL, FIELD(operations), "of one measurement", NULL},
    {"seed", BENCH_OPTION_COUNT, "N", "42", 0, 9e15, NULL, FIELD(seed), "same seed, same keys in the same order", NULL},
    {"json", BENCH_OPTION_TEXT, "FILE", NULL, 0, 0, NULL, FIELD(json_path), "write every round of every line there", "Result"},
};
#define WORDS(...) (const char *const[]){__VA_ARGS__, NULL}
static const bench_option_preset presets[] = {
    {"quick", "every line in some ten seconds", WORDS("--keys", "200k", "--operations", "200k", "--rounds", "6")},
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
#define LINES (sizeof lines / sizeof lines[0])

/* What a line's rounds were on each cache. */
typedef struct line_rounds {
    double values[KINDS][ROUNDS_MAX], ratios[KINDS][ROUNDS_MAX]; /* ours over theirs */
    double hits[KINDS][ROUNDS_MAX];
    bool able[KINDS];
    uint64_t wrong;
} line_rounds;

typedef struct tails {
    double p99_ns[KINDS][ROUNDS_MAX], p999_ns[KINDS][ROUNDS_MAX];
} tails;

/* The caches: with room for all keys, for a tenth of them, and for as many with keys that are always new. NULL: not asked for. */
typedef struct caches {
    void *large[KINDS], *small[KINDS], *fresh[KINDS];
    double resident[KINDS]; /* bytes by which the program grew for an entry of large */
} caches;

typedef struct session {
    options *o;
    caches caches;
    line_rounds lines[LINES];
    tails tails[2]; /* the second beside a writer */
    uint64_t rounds; /* that all lines have */
    uint64_t wrong_in_tails;
    int64_t began_ns;
} session;

static bool is_wanted(const options *o, const char *name) { return o->only == NULL || strstr(name, o->only) != NULL; }

static double median_of(const double *values, uint64_t count) {
    double copy[ROUNDS_MAX];
    memcpy(copy, values, count * sizeof copy[0]);
    return bench_median(copy, count);
}

/* ---- results ---- */

static void put_ratio(const session *s, const double *ratios) {
    double low, high;
    bench_json_number(s->o->json, "ratio", median_of(ratios, s->rounds));
    if (!bench_median_interval(ratios, s->rounds, &low, &high)) return;
    bench_json_number(s->o->json, "ratio_low", low);
    bench_json_number(s->o->json, "ratio_high", high);
}

/* Below the caches' own: ours over theirs, the median of the rounds' ratios, and how sure that is. */
static void print_ratios(const session *s, const line_rounds *r) {
    printf("%-40s %9s", "  ours / theirs (95 % interval)", "");
    for (uint32_t k = 1; k < KINDS; k++) {
        char text[32] = "-";
        double low, high, middle = r->able[k] ? median_of(r->ratios[k], s->rounds) : 0;
        if (r->able[k] && bench_median_interval(r->ratios[k], s->rounds, &low, &high))
            snprintf(text, sizeof text, "%.2f (%.2f-%.2f)", middle, low, high);
        else if (r->able[k]) snprintf(text, sizeof text, "%.2f", middle);
        printf(" %17s", text);
    }
    printf("\n");
}

/* One case a cache: medians, how far another run's may be from ours, ours over it, and its rounds. */
static void put_line(const session *s, const line *l, const line_rounds *r, uint32_t kind) {
    char name[128];
    bench_json *json = s->o->json;
    const char *unit = l->rate ? "millions_per_second" : "ns", *median = l->rate ? "median_millions_per_second" : "median_ns";
    snprintf(name, sizeof name, "%.*s, %s", (int)(strrchr(l->name, ',') - l->name), l->name, kinds[kind]->name);
    bench_json_object_begin(json, NULL);
    bench_json_text(json, "name", name);
    bench_json_number(json, median, median_of(r->values[kind], s->rounds));
    bench_json_number(json, "noise", bench_noise(r->values[kind], s->rounds));
    if (kind != 0) put_ratio(s, r->ratios[kind]);
    if (l->work == MEASURE_MIX) bench_json_number(json, "hit_ratio", median_of(r->hits[kind], s->rounds));
    bench_json_array_begin(json, "rounds");
    for (uint64_t i = 0; i < s->rounds; i++) {
        bench_json_object_begin(json, NULL);
        bench_json_number(json, unit, r->values[kind][i]);
        if (l->work == MEASURE_MIX) bench_json_number(json, "hit_ratio", r->hits[kind][i]);
        bench_json_object_end(json);
    }
    bench_json_array_end(json);
    bench_json_object_end(json);
}

static void print_line(session *s, const line *l, line_rounds *r) {
    for (uint64_t i = 0; i < s->rounds; i++)
        for (uint32_t k = 0; k < KINDS; k++) r->ratios[k][i] = r->able[k] ? r->values[0][i] / r->values[k][i] : 0;
    for (uint32_t k = 0; k < KINDS && s->o->json != NULL; k++)
        if (r->able[k]) put_line(s, l, r, k);
    double noise = bench_noise(r->values[0], s->rounds);
    s->o->noisy = s->o->noisy || noise > BENCH_NOISE_MAX;
    printf("%-40s", l->name);
    for (uint32_t k = 0; k < KINDS; k++) {
        if (!r->able[k]) printf(" %*s", k == 0 ? 9 : 17, "-");
        else printf(" %*.1f", k == 0 ? 9 : 17, median_of(r->values[k], s->rounds));
    }
    if (l->work == MEASURE_MIX) {
        printf("   hit ratio");
        for (uint32_t k = 0; k < KINDS; k++)
            if (r->able[k]) printf(" %.4f", median_of(r->hits[k], s->rounds));
    }
    if (noise > BENCH_NOISE_MAX) printf("   noise %.1f %%", 100 * noise);
    if (r->wrong != 0) printf("   %llu WRONG VALUES", (unsigned long long)r->wrong);
    printf("\n");
    if (!l->ours) print_ratios(s, r);
}

static void print_tails(const session *s, const tails *t, bool beside) {
    printf("%-40s", beside ? "hit beside a writer, p99 / p99.9 ns" : "hit, p99 / p99.9 ns (with the clock's 20)");
    for (uint32_t k = 0; k < KINDS; k++) {
        char text[32], name[128];
        snprintf(text, sizeof text, "%.0f/%.0f", median_of(t->p99_ns[k], s->rounds), median_of(t->p999_ns[k], s->rounds));
        printf(" %*s", k == 0 ? 9 : 17, text);
        if (s->o->json == NULL) continue;
        snprintf(name, sizeof name, "hit%s, %s", beside ? " beside a writer" : "", kinds[k]->name);
        bench_result_column columns[] = {{"p99_ns", t->p99_ns[k]}, {"p999_ns", t->p999_ns[k]}};
        bench_result_case(s->o->json, name, columns, 2, (uint32_t)s->rounds);
    }
    printf("\n");
}

static void print_memory(const session *s) {
    const options *o = s->o;
    cache_l1_bytes bytes = cache_l1_metadata(s->caches.large[0]);
    printf("metadata an entry, all fits: header %.1f + index, policy and ghosts %.1f = %.1f; rounding by the allocator %.1f\n",
           bytes.header, bytes.index, bytes.header + bytes.index, bytes.rounding);
    if (s->caches.small[0] != NULL) {
        bytes = cache_l1_metadata(s->caches.small[0]);
        printf("metadata an entry, full:     header %.1f + index, policy and ghosts %.1f = %.1f; entries %llu, LRU's %llu\n",
               bytes.header, bytes.index, bytes.header + bytes.index, (unsigned long long)cache_l1.entries(s->caches.small[0]),
               (unsigned long long)cache_lru.entries(s->caches.small[2]));
    }
    if (ROCKS_KINDS == 0) printf("skipped: RocksDB's LRU and HyperClock (no librocksdb at build)\n");
    if (TBB_KINDS == 0) printf("skipped: TBB's maps (no libtbb at build)\n");
    printf("%-40s", "");
    for (uint32_t k = 0; k < KINDS; k++) printf(" %*s", k == 0 ? 9 : 17, kinds[k]->name);
    char name[64];
    snprintf(name, sizeof name, "resident bytes an entry (payload %u)", CACHE_KEY_BYTES + CACHE_VALUE_BYTES);
    printf("\n%-40s", name);
    for (uint32_t k = 0; k < KINDS; k++) {
        printf(" %*.0f", k == 0 ? 9 : 17, s->caches.resident[k]);
        if (o->json == NULL) continue;
        double payload = CACHE_KEY_BYTES + CACHE_VALUE_BYTES;
        snprintf(name, sizeof name, "memory, %s", kinds[k]->name);
        bench_result_column columns[] = {{"resident_bytes_per_entry", &s->caches.resident[k]}, {"payload_bytes_per_entry", &payload}};
        bench_result_case(o->json, name, columns, 2, 1);
    }
    printf("\n");
}

/* ---- measuring ---- */

/* Bytes of memory that the program has. */
static double resident_bytes(void) {
    unsigned long long all = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file != NULL) {
        if (fscanf(file, "%llu %llu", &all, &resident) != 2) resident = 0;
        (void)fclose(file);
    }
    return (double)resident * (double)sysconf(_SC_PAGESIZE);
}

static void *create(uint32_t kind, uint64_t entries) {
    void *cache = kinds[kind]->create(entries);
    if (cache == NULL) {
        fprintf(stderr, "strata-bench l1: no memory for %s of %llu entries\n", kinds[kind]->name, (unsigned long long)entries);
        exit(BENCH_EXIT_SETUP);
    }
    return cache;
}

static void *create_small(const options *o, uint32_t kind) {
    void *cache = create(kind, o->keys / 10);
    for (uint32_t i = 0; i < 6; i++) {
        (void)measure_run(kinds[kind], cache, MEASURE_MIX, 1, o->keys, NULL, false);
        if (kinds[kind]->tune != NULL) kinds[kind]->tune(cache, o->keys / 10);
    }
    (void)measure_run(kinds[kind], cache, MEASURE_MIX, 1, o->keys, NULL, false);
    return cache;
}

static void fill(const options *o, caches *c) {
    bool small = false, fresh = false;
    for (size_t i = 0; i < LINES; i++) {
        small = small || (is_wanted(o, lines[i].name) && lines[i].small && lines[i].work == MEASURE_MIX);
        fresh = fresh || (is_wanted(o, lines[i].name) && lines[i].work == MEASURE_INSERT);
    }
    for (uint32_t k = 0; k < KINDS; k++) {
        double before = resident_bytes();
        c->large[k] = create(k, o->keys + o->keys / 8);
        measure_fill(kinds[k], c->large[k]);
        c->resident[k] = (resident_bytes() - before) / (double)o->keys;
    }
    for (uint32_t k = 0; k < KINDS; k++) {
        if (kinds[k]->evicts && small) c->small[k] = create_small(o, k);
        if (kinds[k]->evicts && fresh) c->fresh[k] = create_small(o, k);
    }
}

static void *cache_of(const caches *c, const line *l, uint32_t kind) {
    if (!l->small) return c->large[kind];
    return l->work == MEASURE_INSERT ? c->fresh[kind] : c->small[kind];
}

static void measure_line(session *s, const line *l, line_rounds *r, uint64_t round) {
    for (uint32_t turn = 0; turn < KINDS; turn++) {
        uint32_t k = (turn + (uint32_t)round) % KINDS; /* another one begins each round */
        r->able[k] = k == 0 || (!l->ours && (kinds[k]->evicts || !l->small));
        if (!r->able[k] || bench_run_was_interrupted()) continue;
        measure_result m = measure_run(kinds[k], cache_of(&s->caches, l, k), l->work, l->threads, s->o->operations, NULL, l->beside);
        r->wrong += m.wrong;
        if (round == 0) continue;
        r->values[k][round - 1] = l->rate ? m.millions : m.ns;
        r->hits[k][round - 1] = m.hit_ratio;
    }
}

static void measure_tails(session *s, tails *t, bool beside, uint64_t round) {
    for (uint32_t k = 0; k < KINDS; k++) {
        bench_histogram *h = bench_run_was_interrupted() ? NULL : calloc(1, sizeof *h);
        if (h == NULL) return;
        s->wrong_in_tails += measure_run(kinds[k], s->caches.large[k], MEASURE_LATENCY, 1, s->o->operations, h, beside).wrong;
        t->p99_ns[k][round - 1] = (double)bench_histogram_quantile_ns(h, 0.99);
        t->p999_ns[k][round - 1] = (double)bench_histogram_quantile_ns(h, 0.999);
        free(h);
    }
}

/* On the terminal, in one line that is written over; piped, it would be between the results: nothing. */
static void say_progress(const session *s, uint64_t round) {
    if (isatty(STDERR_FILENO) == 0) return;
    double left_s = round == 0 ? 0 : (double)(bench_now_ns() - s->began_ns) / 1e9 / (double)round * (double)(s->o->rounds + 1 - round);
    if (round > s->o->rounds || bench_run_was_interrupted()) fprintf(stderr, "\r%60s\r", "");
    else if (round == 0) fprintf(stderr, "\rwarming up");
    else fprintf(stderr, "\rround %llu of %llu, about %.0f s left   ", (unsigned long long)round, (unsigned long long)s->o->rounds, left_s);
}

/* All lines in each round: what the machine does for a while meets every line alike. Interrupted, only whole rounds count; the
   first one warms up. */
static void measure_rounds(session *s) {
    const options *o = s->o;
    s->began_ns = bench_now_ns();
    for (uint64_t round = 0; round <= o->rounds && !bench_run_was_interrupted(); round++) {
        say_progress(s, round);
        for (size_t i = 0; i < LINES; i++)
            if (is_wanted(o, lines[i].name)) measure_line(s, &lines[i], &s->lines[i], round);
        for (uint32_t i = 0; i < 2 && round > 0 && is_wanted(o, "latency"); i++) measure_tails(s, &s->tails[i], i == 1, round);
        if (!bench_run_was_interrupted()) s->rounds = round;
    }
    say_progress(s, o->rounds + 1);
}

static int measure_all(options *o) {
    session *s = calloc(1, sizeof *s);
    if (s == NULL || !measure_init(o->keys, 0.99, o->seed)) return BENCH_EXIT_SETUP;
    s->o = o;
    fill(o, &s->caches);
    print_memory(s);
    fflush(stdout);
    bench_others before = bench_others_read(NULL, 0);
    measure_rounds(s);
    bench_others after = bench_others_read(NULL, 0);
    o->disturbed = bench_others_share(&before, &after) > BENCH_OTHERS_MAX;
    for (size_t i = 0; i < LINES && s->rounds > 0; i++)
        if (is_wanted(o, lines[i].name)) print_line(s, &lines[i], &s->lines[i]);
    for (uint32_t i = 0; i < 2 && s->rounds > 0 && is_wanted(o, "latency"); i++) print_tails(s, &s->tails[i], i == 1);
    if (o->noisy) printf("CAUTION: %s\n", BENCH_CAUTION_NOISY);
    if (o->disturbed) printf("CAUTION: %s\n", BENCH_CAUTION_DISTURBED);
    if (s->rounds < ROUNDS_TOLD) printf("CAUTION: " CAUTION_FEW "\n", ROUNDS_TOLD);
    if (bench_run_was_interrupted()) printf("CAUTION: " CAUTION_INTERRUPTED "\n", (unsigned long long)s->rounds, (unsigned long long)o->rounds);
    for (uint32_t k = 0; k < KINDS; k++) {
        kinds[k]->destroy(s->caches.large[k]);
        if (s->caches.small[k] != NULL) kinds[k]->destroy(s->caches.small[k]);
        if (s->caches.fresh[k] != NULL) kinds[k]->destroy(s->caches.fresh[k]);
    }
    uint64_t wrong = s->wrong_in_tails;
    if (wrong != 0) printf("%llu WRONG VALUES among the hits whose times were told apart\n", (unsigned long long)wrong);
    for (size_t i = 0; i < LINES; i++) wrong += s->lines[i].wrong;
    measure_deinit();
    o->rounds = s->rounds; /* as many as are in the result */
    free(s);
    return wrong == 0 ? BENCH_EXIT_GOOD : BENCH_EXIT_BAD;
}

static int measure_to_json(options *o) {
    bench_json json;
    if (!bench_result_open(&json, o->json_path, "strata-bench/l1/1")) return BENCH_EXIT_SETUP;
    o->json = &json;
    bench_json_object_begin(&json, "options");
    bench_json_integer(&json, "keys", (int64_t)o->keys);
    bench_json_integer(&json, "seed", (int64_t)o->seed);
    bench_json_integer(&json, "operations_a_round", (int64_t)o->operations);
    bench_json_object_end(&json);
    bench_json_array_begin(&json, "cases");
    uint64_t wanted = o->rounds;
    int outcome = measure_all(o);
    bench_json_array_end(&json);
    bench_json_array_begin(&json, "cautions");
    if (o->noisy) bench_json_text(&json, NULL, BENCH_CAUTION_NOISY);
    if (o->disturbed) bench_json_text(&json, NULL, BENCH_CAUTION_DISTURBED);
    char text[96];
    if (o->rounds < ROUNDS_TOLD) {
        snprintf(text, sizeof text, CAUTION_FEW, ROUNDS_TOLD);
        bench_json_text(&json, NULL, text);
    }
    if (bench_run_was_interrupted()) {
        snprintf(text, sizeof text, CAUTION_INTERRUPTED, (unsigned long long)o->rounds, (unsigned long long)wanted);
        bench_json_text(&json, NULL, text);
    }
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
