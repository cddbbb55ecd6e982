/* SPDX-License-Identifier: Apache-2.0 */
/* Plays requests through the store on one thread, the keeper's rounds by hand, with one budget after the other. */
#include "bench/hitratio/play.h"

#include <math.h>
#include <stdlib.h>

#include "bench/l1/cache.h"

#define FITS         16    /* budgets tried */
#define FIT          0.995 /* of the capacity is enough */
#define FIT_AIM      0.998
#define FIT_STEP_MAX 4 /* a budget is at most so many times the one before */
#define TEND_EVERY   256u
#define ENTRY_BYTES  256   /* at first guess */

static bool play_once(uint32_t policy, const bench_requests *r, bool by_bytes, uint8_t *value, hitratio_play *play) {
    void *cache = cache_l1_create_bytes(play->bytes_max);
    if (cache == NULL) return false;
    cache_l1_policy(cache, policy);
    void *part = cache_l1.enter(cache);
    int64_t peak = 0;
    double sum = 0, samples = 0;
    play->misses = (hitratio_misses){0};
    for (uint64_t i = 0; i < r->count; i++) {
        cache_key key = cache_key_of(r->keys[i]);
        play->misses.bytes += r->sizes[i];
        if (!cache_l1_touch(cache, part, &key)) {
            play->misses.misses++;
            play->misses.bytes_missed += r->sizes[i];
            cache_l1_set_sized(cache, part, &key, value, by_bytes ? r->sizes[i] : CACHE_VALUE_BYTES);
        }
        if (i % TEND_EVERY != 0) continue;
        cache_l1_tend(cache);
        int64_t entries = (int64_t)cache_l1.entries(cache);
        int64_t now = by_bytes ? cache_l1_payload(cache) - entries * (int64_t)CACHE_KEY_BYTES : entries;
        if (now > peak) peak = now;
        if (now < peak / 10 * 9) continue;
        sum += (double)now;
        samples++;
    }
    play->held = samples > 0 ? sum / samples : 0;
    cache_l1.leave(cache, part);
    cache_l1.destroy(cache);
    return true;
}

typedef struct tried {
    double budget, held;
} tried;

/* On the line between what held too little and what held too much; every third time halfway, for the line may be far from straight. */
static double budget_between(tried low, tried high, double wanted, int attempt) {
    if (high.budget == 0) return low.budget * fmin(fmax(wanted / (low.held + 1), 1.05), FIT_STEP_MAX);
    if (attempt % 3 == 2) return (low.budget + high.budget) / 2;
    return low.budget + (wanted * FIT_AIM - low.held) * (high.budget - low.budget) / (high.held - low.held);
}

/* The most that is not too much; where all were, the least. */
static bool is_better(const hitratio_play *one, const hitratio_play *best, double wanted) {
    if (one->held > wanted) return best->held > one->held;
    return best->held > wanted || best->held < one->held;
}

bool hitratio_play_store(uint32_t policy, const bench_requests *r, uint64_t capacity, bool by_bytes, hitratio_play *out) {
    uint32_t largest = CACHE_VALUE_BYTES;
    for (uint64_t i = 0; by_bytes && i < r->count; i++)
        if (r->sizes[i] > largest) largest = r->sizes[i];
    uint8_t *value = calloc(1, largest);
    double wanted = (double)capacity;
    bool good = value != NULL;
    hitratio_play one = {.bytes_max = by_bytes ? (int64_t)capacity : (int64_t)capacity * ENTRY_BYTES};
    tried low = {0}, high = {0};
    *out = (hitratio_play){.held = INFINITY};
    for (int i = 0; good && i < FITS && !(out->held <= wanted && out->held >= wanted * FIT); i++) {
        good = play_once(policy, r, by_bytes, value, &one);
        if (is_better(&one, out, wanted)) *out = one;
        tried *side = one.held > wanted ? &high : &low;
        *side = (tried){(double)one.bytes_max, one.held};
        one.bytes_max = (int64_t)budget_between(low, high, wanted, i);
    }
    out->fits = out->held <= wanted * 1.01;
    free(value);
    return good;
}
