/* SPDX-License-Identifier: Apache-2.0 */
/* Policies as rings of numbered keys; Belady's as a heap of next uses. */
#include "bench/hitratio/simulate.h"

#include <stdlib.h>
#include <string.h>

#define MARK_MAX    3  /* of S3-FIFO's counter */
#define MARK_MAIN   2  /* hits in probation that lead to main */
#define SMALL_PART  10 /* of S3-FIFO's room, one part */
#define GHOST_PARTS 9  /* of those ten, what its ghosts stood for */

const char *const hitratio_policy_names[HITRATIO_POLICIES] = {"fifo", "lru", "clock", "sieve", "s3fifo", "belady"};

/* A key is in one ring at most. Clock, sieve, fifo and lru have but MAIN. */
enum { NOWHERE, MAIN, SMALL, GHOST, RINGS };

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

static void evict(sim *s) {
    switch (s->policy) {
    case HITRATIO_CLOCK: evict_clock(s); break;
    case HITRATIO_SIEVE: evict_sieve(s); break;
    case HITRATIO_S3FIFO: evict_s3fifo(s); break;
    case HITRATIO_BELADY: evict_latest(s); break;
    default: take(s, oldest(s, MAIN));
    }
}

/* ---- a request ---- */

static void hit(sim *s, uint32_t key, uint64_t next_use) {
    switch (s->policy) {
    case HITRATIO_LRU: move(s, MAIN, key); break;
    case HITRATIO_CLOCK:
    case HITRATIO_SIEVE: s->mark[key] = 1; break;
    case HITRATIO_S3FIFO: s->mark[key] = (uint8_t)(s->mark[key] + (s->mark[key] < MARK_MAX)); break;
    case HITRATIO_BELADY: heap_add(s, next_use, key); break;
    default: break;
    }
}

static void miss(sim *s, uint32_t key, uint64_t weight, uint64_t next_use) {
    bool known = s->where[key] == GHOST;
    if (known) take(s, key);
    if (weight > s->capacity) return;
    while (s->held[MAIN] + s->held[SMALL] + weight > s->capacity) evict(s);
    int ring = MAIN;
    if (s->policy == HITRATIO_S3FIFO && !known) {
        if (weight >= s->small) return;
        ring = SMALL;
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
    s.small = policy == HITRATIO_S3FIFO ? capacity / SMALL_PART : 0;
    s.next = malloc(nodes * sizeof *s.next);
    s.previous = malloc(nodes * sizeof *s.previous);
    s.where = calloc(nodes, 1);
    s.mark = calloc(nodes, 1);
    s.weight = calloc(nodes, sizeof *s.weight);
    bool good = s.next != NULL && s.previous != NULL && s.where != NULL && s.mark != NULL && s.weight != NULL &&
                (policy != HITRATIO_BELADY || look_ahead(&s, r));
    for (uint32_t i = 0; good && i < RINGS; i++) s.next[s.end + i] = s.previous[s.end + i] = s.end + i;
    *out = (hitratio_misses){0};
    for (uint64_t i = 0; good && i < r->count; i++) {
        uint32_t key = r->keys[i];
        uint64_t next_use = s.next_use != NULL ? s.next_use[i] : 0;
        out->bytes += r->sizes[i];
        if (s.where[key] == MAIN || s.where[key] == SMALL) {
            hit(&s, key, next_use);
            continue;
        }
        out->misses++;
        out->bytes_missed += r->sizes[i];
        miss(&s, key, by_bytes ? r->sizes[i] : 1, next_use);
    }
    void *all[] = {s.next, s.previous, s.where, s.mark, s.weight, s.next_use, s.use, s.heap};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) free(all[i]);
    return good;
}
