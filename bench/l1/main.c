/* SPDX-License-Identifier: Apache-2.0 */
/* strata-bench l1: the store of l1/ beside peers in one process, in turns; and real traces beside a true LRU. It reaches
   into rooms of the library: what it measures has no public face of its own. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/l1/main.h"
#include "bench/l1/measure.h"
#include "bench/l1/replay.h"

#define ROUNDS_MAX 31u
#if defined(BENCH_HAS_ROCKSDB)
#define ROCKS_KINDS 2u
#else
#define ROCKS_KINDS 0u
#endif
#if defined(BENCH_HAS_TBB)
#define TBB_KINDS 1u
#else
#define TBB_KINDS 0u
#endif
#define KINDS (3u + ROCKS_KINDS + TBB_KINDS)

static const char help[] =
    "strata-bench l1 [--keys N] [--rounds N] [--operations N] [--only TEXT]\n"
    "strata-bench l1 --traces FOLDER [--only TEXT]   (FOLDER also from STRATA_TEST_TRACES)\n\n"
    "Measures the in-process store beside ck_ht (behind ck_epoch, evicts nothing), a textbook LRU (16 mutexes) and, where\n"
    "they were found, RocksDB's LRU and HyperClock caches and TBB's hash map (evicts nothing):\n"
    "N keys of 16 bytes (1000000), values of 100, zipf 0.99; medians of N rounds (5), all caches in turn in each.\n"
    "With --traces: misses on every .kv12 file of a folder at 1, 10 and 20 % of its keys, beside an exact LRU.\n";

typedef struct options {
    uint64_t keys, rounds, operations;
    const char *only, *traces;
} options;

static const cache_kind *const kinds[KINDS] = {
    &cache_l1, &cache_ht, &cache_lru,
#if defined(BENCH_HAS_ROCKSDB)
    &cache_rocks_lru, &cache_rocks_clock,
#endif
#if defined(BENCH_HAS_TBB)
    &cache_tbb,
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

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}
static double median(double *values, uint64_t count) {
    qsort(values, count, sizeof *values, by_value);
    return values[count / 2];
}

static void measure_line(const line *l, const options *o, void *const *large, void *const *small) {
    double values[KINDS][ROUNDS_MAX], ratios[KINDS][ROUNDS_MAX], hits[KINDS] = {0};
    bool able[KINDS];
    uint64_t wrong = 0;
    for (uint32_t k = 0; k < KINDS; k++) able[k] = k == 0 || (!l->ours && (kinds[k]->evicts || !l->small));
    for (uint64_t round = 0; round <= o->rounds; round++) { /* the first one warms up */
        for (uint32_t k = 0; k < KINDS; k++) {
            if (!able[k]) continue;
            measure_result r = measure_run(kinds[k], l->small ? small[k] : large[k], l->work, l->threads, o->operations,
                                           NULL, l->beside);
            wrong += r.wrong;
            if (round == 0) continue;
            values[k][round - 1] = l->rate ? r.millions : r.ns;
            ratios[k][round - 1] = values[0][round - 1] / values[k][round - 1];
            hits[k] += r.hit_ratio / (double)o->rounds;
        }
    }
    printf("%-40s", l->name);
    for (uint32_t k = 0; k < KINDS; k++) {
        if (!able[k]) printf(" %10s", "-");
        else printf(" %10.1f", median(values[k], o->rounds));
    }
    for (uint32_t k = 1; k < KINDS; k++) {
        if (!able[k]) printf(" %7s", "-");
        else printf(" %7.2f", median(ratios[k], o->rounds));
    }
    if (l->work == MEASURE_MIX) {
        printf("   hit ratio");
        for (uint32_t k = 0; k < KINDS; k++) {
            if (able[k]) printf(" %.4f", hits[k]);
        }
    }
    if (wrong != 0) printf("   %llu WRONG VALUES", (unsigned long long)wrong);
    printf("\n");
    fflush(stdout);
}

static void measure_latency(const options *o, void *const *large, bool beside) {
    double high[KINDS][ROUNDS_MAX], higher[KINDS][ROUNDS_MAX];
    for (uint64_t round = 0; round < o->rounds; round++) {
        for (uint32_t k = 0; k < KINDS; k++) {
            bench_histogram *h = calloc(1, sizeof *h);
            if (h == NULL) return;
            (void)measure_run(kinds[k], large[k], MEASURE_LATENCY, 1, o->operations, h, beside);
            high[k][round] = (double)bench_histogram_quantile_ns(h, 0.99);
            higher[k][round] = (double)bench_histogram_quantile_ns(h, 0.999);
            free(h);
        }
    }
    printf("%-40s", beside ? "hit beside a writer, p99 / p99.9 ns" : "hit, p99 / p99.9 ns (with the clock's 20)");
    for (uint32_t k = 0; k < KINDS; k++) printf(" %4.0f/%5.0f", median(high[k], o->rounds), median(higher[k], o->rounds));
    printf("\n");
}

static void fill(const options *o, void **large, void **small) {
    for (uint32_t k = 0; k < KINDS; k++) {
        large[k] = kinds[k]->create(o->keys + o->keys / 8);
        if (large[k] == NULL) exit(1);
        measure_fill(kinds[k], large[k]);
        small[k] = kinds[k]->evicts ? kinds[k]->create(o->keys / 10) : NULL;
        if (small[k] == NULL) continue;
        for (uint32_t i = 0; i < 6; i++) {
            (void)measure_run(kinds[k], small[k], MEASURE_MIX, 1, o->keys, NULL, false);
            if (kinds[k]->tune != NULL) kinds[k]->tune(small[k], o->keys / 10);
        }
        (void)measure_run(kinds[k], small[k], MEASURE_MIX, 1, o->keys, NULL, false);
    }
}

static int measure_all(const options *o) {
    void *large[KINDS], *small[KINDS];
    if (!measure_init(o->keys, 0.99, 42)) return 1;
    fill(o, large, small);
    cache_l1_bytes bytes = cache_l1_metadata(large[0]);
    printf("metadata an entry, all fits: header %.1f + index, policy and ghosts %.1f = %.1f; rounding by the allocator %.1f\n",
           bytes.header, bytes.index, bytes.header + bytes.index, bytes.rounding);
    bytes = cache_l1_metadata(small[0]);
    printf("metadata an entry, full:     header %.1f + index, policy and ghosts %.1f = %.1f; entries %llu, LRU's %llu\n",
           bytes.header, bytes.index, bytes.header + bytes.index, (unsigned long long)cache_l1.entries(small[0]),
           (unsigned long long)cache_lru.entries(small[2]));
    if (ROCKS_KINDS == 0) printf("skipped: RocksDB's LRU and HyperClock (no librocksdb at build)\n");
    if (TBB_KINDS == 0) printf("skipped: tbb (no libtbb at build)\n");
    printf("%-40s", "");
    for (uint32_t k = 0; k < KINDS; k++) printf(" %10s", kinds[k]->name);
    for (uint32_t k = 1; k < KINDS; k++) printf(" /%s", kinds[k]->name);
    printf("\n");
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        if (o->only == NULL || strstr(lines[i].name, o->only) != NULL) measure_line(&lines[i], o, large, small);
    }
    if (o->only == NULL || strstr("latency", o->only) != NULL) {
        measure_latency(o, large, false);
        measure_latency(o, large, true);
    }
    for (uint32_t k = 0; k < KINDS; k++) {
        kinds[k]->destroy(large[k]);
        if (small[k] != NULL) kinds[k]->destroy(small[k]);
    }
    measure_deinit();
    return 0;
}

int bench_l1_main(int argc, char **argv) {
    options o = {1000000, 5, 2000000, NULL, getenv("STRATA_TEST_TRACES")};
    for (int i = 0; i < argc; i++) {
        uint64_t *number = strcmp(argv[i], "--keys") == 0         ? &o.keys
                           : strcmp(argv[i], "--rounds") == 0     ? &o.rounds
                           : strcmp(argv[i], "--operations") == 0 ? &o.operations
                                                                  : NULL;
        const char **text = strcmp(argv[i], "--only") == 0 ? &o.only : strcmp(argv[i], "--traces") == 0 ? &o.traces : NULL;
        if ((number == NULL && text == NULL) || i + 1 == argc) {
            fputs(help, strcmp(argv[i], "--help") == 0 ? stdout : stderr);
            return strcmp(argv[i], "--help") == 0 ? 0 : 2;
        }
        i++;
        if (number != NULL) *number = strtoull(argv[i], NULL, 10);
        else *text = argv[i];
    }
    if (o.keys < 1000 || o.rounds < 1 || o.rounds > ROUNDS_MAX || o.operations < 16) {
        fputs(help, stderr);
        return 2;
    }
    return o.traces != NULL ? replay_folder(o.traces, o.only) : measure_all(&o);
}
