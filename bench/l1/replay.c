/* SPDX-License-Identifier: Apache-2.0 */
/* Traces: plays them through the store and through an exact LRU. */
#include "bench/l1/replay.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/l1/cache.h"
#include "bench/requests.h"

#define FRACTIONS      3u
#define NEIGHBOURS     3   /* budgets tried until the store holds as many entries as the LRU */
#define TEND_EVERY     256u
#define TRACES_MAX     64u
#define NONE           UINT32_MAX
#define BYTES_FIRST    256 /* an entry, at first guess */

static const double fractions[FRACTIONS] = {0.01, 0.1, 0.2};

/* Misses of an exact LRU of entries. */
static uint64_t lru_misses(const bench_requests *r, uint64_t capacity) {
    uint32_t head = (uint32_t)r->distinct;
    uint32_t *next = malloc((head + 1) * sizeof *next), *previous = malloc((head + 1) * sizeof *previous);
    uint64_t misses = 0, count = 0;
    if (next == NULL || previous == NULL) exit(1);
    memset(next, 255, (head + 1) * sizeof *next);
    next[head] = previous[head] = head;
    for (uint64_t i = 0; i < r->count; i++) {
        uint32_t key = r->keys[i];
        if (next[key] != NONE) {
            next[previous[key]] = next[key];
            previous[next[key]] = previous[key];
        } else {
            misses++;
            if (count == capacity) {
                uint32_t last = previous[head];
                previous[head] = previous[last];
                next[previous[last]] = head;
                next[last] = NONE;
            } else {
                count++;
            }
        }
        next[key] = next[head];
        previous[key] = head;
        previous[next[head]] = key;
        next[head] = key;
    }
    free(next);
    free(previous);
    return misses;
}

/* Misses of the store with this budget, and how many entries it held on average once it was full. */
static uint64_t store_misses(const bench_requests *r, int64_t bytes_max, double *held) {
    void *cache = cache_l1_create_bytes(bytes_max);
    if (cache == NULL) exit(1);
    void *part = cache_l1.enter(cache);
    uint8_t value[CACHE_VALUE_BYTES] = {0};
    uint64_t misses = 0, peak = 0, sum = 0, samples = 0;
    for (uint64_t i = 0; i < r->count; i++) {
        cache_key key = cache_key_of(r->keys[i]);
        if (!cache_l1.get(cache, part, &key, value)) {
            misses++;
            cache_l1.set(cache, part, &key, value);
        }
        if (i % TEND_EVERY != 0) continue;
        cache_l1_tend(cache);
        uint64_t now = cache_l1.entries(cache);
        if (now > peak) peak = now;
        if (now >= peak * 9 / 10) {
            sum += now;
            samples++;
        }
    }
    *held = samples == 0 ? 0 : (double)sum / (double)samples;
    cache_l1.leave(cache, part);
    cache_l1.destroy(cache);
    return misses;
}

static double replay_at(const bench_requests *r, const char *name, double fraction) {
    uint64_t capacity = (uint64_t)((double)r->distinct * fraction);
    if (capacity == 0) capacity = 1; /* of fewer than 100 keys */
    uint64_t lru = lru_misses(r, capacity), misses = 0;
    int64_t bytes_max = (int64_t)capacity * BYTES_FIRST;
    double held = 0;
    for (int i = 0; i < NEIGHBOURS; i++) {
        misses = store_misses(r, bytes_max, &held);
        if (held <= (double)capacity && held >= (double)capacity * 0.995) break;
        if (i + 1 < NEIGHBOURS) bytes_max = (int64_t)((double)bytes_max * (double)capacity / (held + 1) * 0.999);
    }
    double ratio = (double)misses / (double)lru;
    printf("%-28s %5.0f %% %9llu %10.1f   %.4f  %.4f  %.4f\n", name, fraction * 100, (unsigned long long)capacity, held,
           (double)lru / (double)r->count, (double)misses / (double)r->count, ratio);
    fflush(stdout);
    return ratio;
}

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

int replay_folder(const char *folder, const char *only) {
    DIR *directory = opendir(folder);
    char *names[TRACES_MAX];
    size_t count = 0;
    if (directory == NULL) {
        fprintf(stderr, "strata-bench l1: %s: can't be opened\n", folder);
        return 1;
    }
    for (struct dirent *entry; (entry = readdir(directory)) != NULL && count < TRACES_MAX;) {
        if (strstr(entry->d_name, ".kv12") == NULL || (only != NULL && strstr(entry->d_name, only) == NULL)) continue;
        names[count] = malloc(strlen(entry->d_name) + 1);
        if (names[count] != NULL) strcpy(names[count++], entry->d_name);
    }
    closedir(directory);
    qsort(names, count, sizeof *names, by_name);
    double sums[FRACTIONS] = {0};
    bool good = true;
    printf("%-28s %7s %9s %10s   %6s  %6s  %6s\n", "trace", "at", "capacity", "held", "LRU", "l1", "l1/LRU");
    for (size_t i = 0; i < count; i++) {
        char path[4096];
        bench_requests r;
        char error[512];
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        if (good && !bench_requests_read(path, &r, error, sizeof error)) {
            fprintf(stderr, "strata-bench l1: %s\n", error);
            good = false;
        }
        for (uint32_t f = 0; good && f < FRACTIONS; f++) sums[f] += replay_at(&r, names[i], fractions[f]);
        if (good) bench_requests_release(&r);
        free(names[i]);
    }
    for (uint32_t f = 0; good && count > 0 && f < FRACTIONS; f++)
        printf("mean at %.0f %%: %.4f of LRU's misses\n", fractions[f] * 100, sums[f] / (double)count);
    return good ? 0 : 1;
}
