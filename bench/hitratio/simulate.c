/* SPDX-License-Identifier: Apache-2.0 */
/* Policies as rings of numbered keys; W-TinyLFU's memory as counters, Belady's as a heap of next uses. */
#include "bench/hitratio/simulate.h"

#include <stdlib.h>
#include <string.h>

#define MARK_MAX    3  /* of S3-FIFO's counter */
#define MARK_MAIN   2  /* hits in probation that lead to main */
#define SMALL_PART  10 /* of S3-FIFO's room, one part */
#define GHOST_PARTS 9  /* of those ten, what its ghosts stood for */
#define WINDOW_PART 100 /* of W-TinyLFU's room, one part */
#define SAFE_PART   0.8 /* of the rest, for keys that were hit there; the others have LOW_PART. Both are rounded down */
#define LOW_PART    0.2
#define SKETCH_KEY  14.378 /* counters for each key of the main part: one in a thousand reads is wrong where no more keys come */
#define SKETCH_ROWS 10u
#define SKETCH_AGE  32u /* counters are halved after so many hits for each key of the main part */

const char *const hitratio_policy_names[HITRATIO_POLICIES] = {"fifo",   "lru",      "clock", "sieve",
                                                              "s3fifo", "wtinylfu", "arc",   "belady"};

/* A key is in one ring at most. Clock, sieve, fifo and lru have but MAIN; W-TinyLFU's window is SMALL and its protected segment
   SAFE; ARC's T1, T2, B1, B2 are SMALL, MAIN, GHOST, GHOST_MAIN. */
enum { NOWHERE, MAIN, SMALL, SAFE, GHOST, GHOST_MAIN, RINGS };

typedef struct later {
    uint64_t at;
    uint32_t key;
} later;

typedef struct sim {
    hitratio_policy policy;
    uint32_t *next, *previous; /* towards older, towards newer; a ring's own node is end + ring */
    uint8_t *where, *mark;
    uint64_t *weight; /* of who is held */
    uint64_t held[RINGS], capacity, small;
    uint32_t end, hand;
    double wanted; /* ARC's aim for T1 */
    /* W-TinyLFU */
    uint32_t *sketch;
    uint64_t sketch_count, counted;
    /* Belady */
    uint64_t *next_use; /* per request */
    uint64_t *use;      /* per key, of who is held */
    later *heap;        /* the latest first; those that are no longer so are passed over */
    uint64_t heap_count;
} sim;

static void put(sim *s, int ring, uint32_t key) {
    uint32_t own = s->end + (uint32_t)ring;
    s->next[key] = s->next[own];
    s->previous[key] = own;
    s->previous[s->next[own]] = key;
    s->next[own] = key;
    s->where[key] = (uint8_t)ring;
    s->held[ring] += s->weight[key];
}

static void take(sim *s, uint32_t key) {
    s->next[s->previous[key]] = s->next[key];
    s->previous[s->next[key]] = s->previous[key];
    s->held[s->where[key]] -= s->weight[key];
    s->where[key] = NOWHERE;
}

static void move(sim *s, int ring, uint32_t key) {
    take(s, key);
    put(s, ring, key);
}

static uint32_t oldest(const sim *s, int ring) { return s->previous[s->end + (uint32_t)ring]; }

/* ---- Belady's heap ---- */

static void heap_add(sim *s, uint64_t at, uint32_t key) {
    uint64_t i = s->heap_count++;
    for (; i > 0 && s->heap[(i - 1) / 2].at < at; i = (i - 1) / 2) s->heap[i] = s->heap[(i - 1) / 2];
    s->heap[i] = (later){at, key};
    s->use[key] = at;
}

static later heap_remove(sim *s) {
    later first = s->heap[0], last = s->heap[--s->heap_count];
    uint64_t i = 0, child;
    while ((child = 2 * i + 1) < s->heap_count) {
        if (child + 1 < s->heap_count && s->heap[child + 1].at > s->heap[child].at) child++;
        if (s->heap[child].at <= last.at) break;
        s->heap[i] = s->heap[child];
        i = child;
    }
    s->heap[i] = last;
    return first;
}

static void evict_latest(sim *s) {
    later one = heap_remove(s);
    while (s->where[one.key] != MAIN || s->use[one.key] != one.at) one = heap_remove(s);
    take(s, one.key);
}

/* ---- who leaves ---- */

static void evict_clock(sim *s) {
    uint32_t key;
    while (s->mark[key = oldest(s, MAIN)] > 0) {
        s->mark[key]--;
        move(s, MAIN, key);
    }
    take(s, key);
}

static void evict_sieve(sim *s) {
    uint32_t own = s->end + MAIN, key = s->hand != own ? s->hand : oldest(s, MAIN);
    while (s->mark[key] > 0) {
        s->mark[key] = 0;
        key = s->previous[key] != own ? s->previous[key] : oldest(s, MAIN);
    }
    s->hand = s->previous[key];
    take(s, key);
}

static void evict_small(sim *s) {
    while (s->held[SMALL] > 0) {
        uint32_t key = oldest(s, SMALL);
        if (s->mark[key] >= MARK_MAIN) {
            s->mark[key] = 0;
            move(s, MAIN, key);
            continue;
        }
        move(s, GHOST, key);
        while (s->held[GHOST] > s->capacity * GHOST_PARTS / SMALL_PART) take(s, oldest(s, GHOST));
        return;
    }
}

static void evict_s3fifo(sim *s) {
    if (s->held[MAIN] > s->capacity - s->small || s->held[SMALL] == 0) evict_clock(s);
    else evict_small(s);
}

/* ---- W-TinyLFU: a window, and behind it a segmented LRU that takes only who was asked for more often than who leaves for it ---- */

/* Where the key's counters are: as many rows in one array, at distances that depend on the key. */
static uint32_t *counter(const sim *s, uint32_t key, uint32_t row) {
    uint64_t mixed = (key + 1) * UINT64_C(0x9E3779B97F4A7C15);
    mixed = (mixed ^ mixed >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    mixed = (mixed ^ mixed >> 27) * UINT64_C(0x94D049BB133111EB);
    mixed ^= mixed >> 31;
    return &s->sketch[(uint32_t)((mixed >> 32) + row * mixed) % s->sketch_count];
}

static uint32_t often(const sim *s, uint32_t key) {
    uint32_t least = UINT32_MAX;
    for (uint32_t row = 0; row < SKETCH_ROWS; row++) {
        uint32_t count = *counter(s, key, row);
        least = count < least ? count : least;
    }
    return least;
}

static void count(sim *s, uint32_t key) {
    for (uint32_t row = 0; row < SKETCH_ROWS; row++) ++*counter(s, key, row);
}

static uint64_t rest_of(const sim *s) { return s->capacity - s->small; }
static uint64_t safe_of(const sim *s) { return (uint64_t)((double)rest_of(s) * SAFE_PART); }
static uint64_t low_of(const sim *s) { return (uint64_t)((double)rest_of(s) * LOW_PART); }

/* Into the lowest segment that has room, as the reference does: so the protected one fills at first by itself. */
static void put_segmented(sim *s, uint32_t key) {
    while (s->held[MAIN] + s->held[SAFE] + s->weight[key] > rest_of(s)) take(s, oldest(s, s->held[MAIN] > 0 ? MAIN : SAFE));
    bool low = s->held[MAIN] + s->weight[key] <= low_of(s) || s->held[SAFE] + s->weight[key] > safe_of(s);
    put(s, low ? MAIN : SAFE, key);
}

/* As in the reference: who goes in makes no room by that, so the window gives up the next, and an empty window is made up for by the
   others. */
static void evict_wtinylfu(sim *s) {
    while (s->held[SMALL] > 0) {
        uint32_t key = oldest(s, SMALL);
        bool room = s->held[MAIN] + s->held[SAFE] + s->weight[key] <= rest_of(s);
        bool fits = s->weight[key] <= rest_of(s);
        bool goes_in = room || (fits && often(s, key) > often(s, oldest(s, s->held[MAIN] > 0 ? MAIN : SAFE)));
        take(s, key);
        if (goes_in) put_segmented(s, key);
        count(s, key);
        if (!goes_in) return;
    }
    take(s, oldest(s, s->held[MAIN] > 0 ? MAIN : SAFE));
}

static void hit_wtinylfu(sim *s, uint32_t key) {
    bool in_window = s->where[key] == SMALL;
    move(s, in_window ? SMALL : SAFE, key);
    if (in_window) return;
    while (s->held[SAFE] > safe_of(s)) {
        move(s, MAIN, oldest(s, SAFE));
        /* As in the reference: who has no room in the lower segment makes it, so that one place is free for whoever comes next. */
        while (s->held[MAIN] > low_of(s)) take(s, oldest(s, MAIN));
    }
    count(s, key);
    if (++s->counted < SKETCH_AGE * rest_of(s)) return;
    s->counted = 0;
    for (uint64_t i = 0; i < s->sketch_count; i++) s->sketch[i] /= 2;
}

static bool init_wtinylfu(sim *s, const bench_requests *r) {
    uint64_t keys = rest_of(s) < r->distinct ? rest_of(s) : r->distinct;
    s->sketch_count = (uint64_t)(SKETCH_KEY * (double)keys) + SKETCH_ROWS;
    s->sketch = calloc(s->sketch_count, sizeof *s->sketch);
    return s->sketch != NULL;
}

/* ---- ARC: keys seen once, keys seen again, a ghost list of either; ghosts that come back move the border between them ---- */

static void evict_arc(sim *s, int from) {
    double seen_once = (double)s->held[SMALL];
    bool once = s->held[SMALL] > 0 && (seen_once > s->wanted || (seen_once >= s->wanted && from == GHOST_MAIN));
    if (once || s->held[MAIN] == 0) move(s, GHOST, oldest(s, SMALL));
    else move(s, GHOST_MAIN, oldest(s, MAIN));
}

/* from: the ghost list that the key is on, or NOWHERE. */
static void make_room_arc(sim *s, int from, uint64_t weight) {
    uint64_t once = s->held[SMALL] + s->held[GHOST];
    if (from == NOWHERE && once + weight > s->capacity && s->held[GHOST] == 0) {
        take(s, oldest(s, SMALL)); /* all that is known was seen once: no ghost is made of it */
        return;
    }
    if (from == NOWHERE && once + weight > s->capacity) take(s, oldest(s, GHOST));
    else if (from == NOWHERE && once + s->held[MAIN] + s->held[GHOST_MAIN] >= 2 * s->capacity && s->held[GHOST_MAIN] > 0)
        take(s, oldest(s, GHOST_MAIN));
    evict_arc(s, from);
}

static void learn_arc(sim *s, int from) {
    int other = from == GHOST ? GHOST_MAIN : GHOST;
    double step = (double)s->held[other] / (double)s->held[from];
    if (step < 1) step = 1;
    s->wanted += from == GHOST ? step : -step;
    if (s->wanted < 0) s->wanted = 0;
    if (s->wanted > (double)s->capacity) s->wanted = (double)s->capacity;
}

static void miss_arc(sim *s, uint32_t key, uint64_t weight) {
    int from = s->where[key];
    if (weight > s->capacity) return;
    if (from != NOWHERE) {
        learn_arc(s, from);
        take(s, key);
    }
    while (s->held[MAIN] + s->held[SMALL] + weight > s->capacity) make_room_arc(s, from, weight);
    s->weight[key] = weight;
    put(s, from == NOWHERE ? SMALL : MAIN, key);
}

static void evict(sim *s) {
    switch (s->policy) {
    case HITRATIO_CLOCK: evict_clock(s); break;
    case HITRATIO_SIEVE: evict_sieve(s); break;
    case HITRATIO_S3FIFO: evict_s3fifo(s); break;
    case HITRATIO_WTINYLFU: evict_wtinylfu(s); break;
    case HITRATIO_BELADY: evict_latest(s); break;
    default: take(s, oldest(s, MAIN));
    }
}

/* ---- a request ---- */

static void hit(sim *s, uint32_t key, uint64_t next_use) {
    switch (s->policy) {
    case HITRATIO_LRU:
    case HITRATIO_ARC: move(s, MAIN, key); break;
    case HITRATIO_CLOCK:
    case HITRATIO_SIEVE: s->mark[key] = 1; break;
    case HITRATIO_S3FIFO: s->mark[key] = (uint8_t)(s->mark[key] + (s->mark[key] < MARK_MAX)); break;
    case HITRATIO_WTINYLFU: hit_wtinylfu(s, key); break;
    case HITRATIO_BELADY: heap_add(s, next_use, key); break;
    default: break;
    }
}

static void miss(sim *s, uint32_t key, uint64_t weight, uint64_t next_use) {
    if (s->policy == HITRATIO_ARC) {
        miss_arc(s, key, weight);
        return;
    }
    bool known = s->where[key] == GHOST;
    if (known) take(s, key);
    if (weight > s->capacity) return;
    while (s->held[MAIN] + s->held[SMALL] + s->held[SAFE] + weight > s->capacity) evict(s);
    int ring = MAIN;
    if (s->policy == HITRATIO_S3FIFO && !known) {
        if (weight >= s->small) return;
        ring = SMALL;
    }
    if (s->policy == HITRATIO_WTINYLFU) {
        if (weight > s->small) return; /* as in the reference: who doesn't fit into the window is not taken */
        ring = SMALL;
        count(s, key);
    }
    s->weight[key] = weight;
    s->mark[key] = 0;
    put(s, ring, key);
    if (s->policy == HITRATIO_BELADY) heap_add(s, next_use, key);
}

static bool look_ahead(sim *s, const bench_requests *r) {
    s->next_use = malloc((r->count + 1) * sizeof *s->next_use);
    s->use = malloc((r->distinct + 1) * sizeof *s->use);
    s->heap = malloc((r->count + 1) * sizeof *s->heap);
    if (s->next_use == NULL || s->use == NULL || s->heap == NULL) return false;
    memset(s->use, 255, (r->distinct + 1) * sizeof *s->use); /* never */
    for (uint64_t i = r->count; i-- > 0;) {
        s->next_use[i] = s->use[r->keys[i]];
        s->use[r->keys[i]] = i;
    }
    return true;
}

bool hitratio_simulate(hitratio_policy policy, const bench_requests *r, uint64_t capacity, bool by_bytes, hitratio_misses *out) {
    uint64_t nodes = r->distinct + RINGS;
    sim s = {.policy = policy, .capacity = capacity, .end = (uint32_t)r->distinct, .hand = (uint32_t)r->distinct + MAIN};
    if (policy == HITRATIO_S3FIFO) s.small = capacity / SMALL_PART;
    if (policy == HITRATIO_WTINYLFU) s.small = capacity < WINDOW_PART ? 1 : capacity / WINDOW_PART;
    s.next = malloc(nodes * sizeof *s.next);
    s.previous = malloc(nodes * sizeof *s.previous);
    s.where = calloc(nodes, 1);
    s.mark = calloc(nodes, 1);
    s.weight = calloc(nodes, sizeof *s.weight);
    bool good = s.next != NULL && s.previous != NULL && s.where != NULL && s.mark != NULL && s.weight != NULL &&
                (policy != HITRATIO_BELADY || look_ahead(&s, r)) && (policy != HITRATIO_WTINYLFU || init_wtinylfu(&s, r));
    for (uint32_t i = 0; good && i < RINGS; i++) s.next[s.end + i] = s.previous[s.end + i] = s.end + i;
    *out = (hitratio_misses){0};
    for (uint64_t i = 0; good && i < r->count; i++) {
        uint32_t key = r->keys[i];
        uint64_t next_use = s.next_use != NULL ? s.next_use[i] : 0;
        out->bytes += r->sizes[i];
        if (s.where[key] >= MAIN && s.where[key] <= SAFE) {
            hit(&s, key, next_use);
            continue;
        }
        out->misses++;
        out->bytes_missed += r->sizes[i];
        miss(&s, key, by_bytes ? r->sizes[i] : 1, next_use);
    }
    void *all[] = {s.next, s.previous, s.where, s.mark, s.weight, s.next_use, s.use, s.heap, s.sketch};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) free(all[i]);
    return good;
}
