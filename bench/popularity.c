/* SPDX-License-Identifier: Apache-2.0 */
/* Parses the names of distributions, reads weights, and draws. */
#include "bench/popularity.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define THETA_MAX 10.0
#define KEYS_MAX  UINT32_C(1000000000)

/* ---- weights of a file -------------------------------------------------------------------------------------- */

typedef struct weights {
    double *list;
    uint32_t *sizes;
    uint32_t count, capacity;
    int has_sizes;
} weights;

static int grow(weights *w) {
    if (w->count < w->capacity) return 0;
    uint32_t capacity = w->capacity == 0 ? 4096 : w->capacity * 2;
    double *list = realloc(w->list, capacity * sizeof *list);
    if (list != NULL) w->list = list;
    uint32_t *sizes = realloc(w->sizes, capacity * sizeof *sizes);
    if (sizes != NULL) w->sizes = sizes;
    if (list == NULL || sizes == NULL) return -1;
    w->capacity = capacity;
    return 0;
}

/* A line "WEIGHT" or "WEIGHT BYTES"; 1: taken, 0: empty or a comment, -1: neither. */
static int take_line(weights *w, const char *line) {
    char *end;
    line += strspn(line, " \t");
    if (*line == '\0' || *line == '\n' || *line == '\r' || *line == '#') return 0;
    double weight = strtod(line, &end), size = 1;
    if (end == line || !isfinite(weight) || weight < 0) return -1;
    end += strspn(end, " \t,");
    if (*end != '\0' && *end != '\n' && *end != '\r') {
        const char *second = end;
        size = strtod(second, &end);
        if (end == second || !(size >= 1 && size <= UINT32_MAX)) return -1;
        w->has_sizes = 1;
    }
    end += strspn(end, " \t\r\n");
    if (*end != '\0' || w->count == KEYS_MAX || grow(w) != 0) return -1;
    w->list[w->count] = weight;
    w->sizes[w->count++] = (uint32_t)size;
    return 1;
}

/* Fills the alias table: columns below the average are topped up from one above it. */
static int make_columns(bench_popularity *p, const weights *w, double sum) {
    uint32_t count = w->count, *queue = malloc(count * sizeof *queue), low = 0, high = count;
    double *left = malloc(count * sizeof *left);
    p->share = malloc(count * sizeof *p->share);
    p->other = malloc(count * sizeof *p->other);
    int able = queue != NULL && left != NULL && p->share != NULL && p->other != NULL;
    for (uint32_t i = 0; able && i < count; i++) {
        left[i] = w->list[i] / sum * count;
        p->share[i] = UINT64_MAX;
        p->other[i] = i;
        if (left[i] < 1) queue[low++] = i; /* from the front: too little; from the back: enough */
        else queue[--high] = i;
    }
    while (able && low > 0 && high < count) {
        uint32_t poor = queue[--low], rich = queue[high];
        p->share[poor] = (uint64_t)(left[poor] * 0x1.fffffffffffffp63);
        p->other[poor] = rich;
        left[rich] -= 1 - left[poor];
        if (left[rich] < 1) {
            high++;
            queue[low++] = rich;
        }
    }
    free(queue);
    free(left);
    return able ? 0 : -1;
}

static int read_weights(bench_popularity *p, const char *what, const char *path, char *error, size_t error_size) {
    weights w = {.count = 0};
    char line[256];
    uint64_t number = 0;
    double sum = 0;
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        snprintf(error, error_size, "%s: %s can't be opened: %s", what, path, strerror(errno));
        return -1;
    }
    int good = 1;
    while (good && fgets(line, sizeof line, file) != NULL) {
        number++;
        good = take_line(&w, line) >= 0;
    }
    fclose(file);
    for (uint32_t i = 0; i < w.count; i++) sum += w.list[i];
    if (!good) snprintf(error, error_size, "%s: %s, line %llu: not WEIGHT or WEIGHT BYTES: '%.40s'", what, path, (unsigned long long)number, line);
    else if (!(sum > 0)) snprintf(error, error_size, "%s: %s has no key with a weight above 0", what, path);
    else if (make_columns(p, &w, sum) != 0) snprintf(error, error_size, "%s: out of memory for %u keys", what, w.count);
    p->keys = w.count;
    free(w.list);
    if (w.has_sizes) p->sizes = w.sizes;
    else free(w.sizes);
    return good && sum > 0 && p->share != NULL && p->other != NULL ? 0 : -1;
}

/* ---- names -------------------------------------------------------------------------------------------------- */

static int parse_theta(bench_popularity *p, const char *text) {
    char *end;
    double theta = strtod(text, &end);
    if (end == text || *end != '\0' || !(theta >= 0 && theta <= THETA_MAX)) return -1;
    bench_zipf_init(&p->zipf, p->keys, theta);
    return 0;
}

static int parse_hotspot(bench_popularity *p, const char *text) {
    char *end;
    double keys = strtod(text, &end);
    if (end == text || *end != ':') return -1;
    text = end + 1;
    double requests = strtod(text, &end);
    if (end == text || *end != '\0' || !(keys > 0 && keys <= 100) || !(requests >= 0 && requests <= 100)) return -1;
    p->hot_keys = (uint32_t)ceil(keys / 100 * p->keys);
    p->hot_below = requests >= 100 ? UINT64_MAX : (uint64_t)(requests / 100 * 0x1.0p64);
    return 0;
}

int bench_popularity_create(bench_popularity *popularity, const char *what, const char *text, uint32_t keys, uint64_t seed,
                            char *error, size_t error_size) {
    *popularity = (bench_popularity){.kind = BENCH_POPULARITY_UNIFORM, .keys = keys};
    int outcome = -1;
    if (strcmp(text, "uniform") == 0) {
        outcome = 0;
    } else if (strncmp(text, "zipf:", 5) == 0) {
        popularity->kind = BENCH_POPULARITY_ZIPF;
        outcome = parse_theta(popularity, text + 5);
    } else if (strncmp(text, "latest:", 7) == 0) {
        popularity->kind = BENCH_POPULARITY_LATEST;
        outcome = parse_theta(popularity, text + 7);
    } else if (strncmp(text, "hotspot:", 8) == 0) {
        popularity->kind = BENCH_POPULARITY_HOTSPOT;
        outcome = parse_hotspot(popularity, text + 8);
    } else if (strncmp(text, "file:", 5) == 0) {
        popularity->kind = BENCH_POPULARITY_WEIGHTS;
        if (read_weights(popularity, what, text + 5, error, error_size) == 0) return 0;
        bench_popularity_destroy(popularity);
        return -1;
    }
    if (outcome != 0)
        snprintf(error, error_size, "%s: '%s' is none of " BENCH_POPULARITY_FORM " with THETA from 0 to 10", what, text);
    bench_permutation_init(&popularity->scatter, keys, seed);
    return outcome;
}

void bench_popularity_destroy(bench_popularity *popularity) {
    free(popularity->share);
    free(popularity->other);
    free(popularity->sizes);
    *popularity = (bench_popularity){.keys = 0};
}

uint32_t bench_popularity_draw(const bench_popularity *p, bench_random *random, uint32_t newest) {
    uint64_t index = 0;
    switch (p->kind) {
    case BENCH_POPULARITY_UNIFORM: return (uint32_t)bench_random_below(random, p->keys);
    case BENCH_POPULARITY_ZIPF: index = bench_zipf_draw(&p->zipf, random); break;
    case BENCH_POPULARITY_LATEST: return (uint32_t)((newest + p->keys - bench_zipf_draw(&p->zipf, random)) % p->keys);
    case BENCH_POPULARITY_HOTSPOT:
        if (bench_random_next(random) < p->hot_below || p->hot_keys == p->keys) index = bench_random_below(random, p->hot_keys);
        else index = p->hot_keys + bench_random_below(random, p->keys - p->hot_keys);
        break;
    case BENCH_POPULARITY_WEIGHTS:
        index = bench_random_below(random, p->keys);
        return bench_random_next(random) < p->share[index] ? (uint32_t)index : p->other[index];
    }
    return (uint32_t)bench_permutation_map(&p->scatter, index);
}
