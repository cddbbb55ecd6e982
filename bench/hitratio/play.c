/* SPDX-License-Identifier: Apache-2.0 */
/* Plays requests through the store on one thread, the keeper's rounds by hand, with one budget after the other. */
#include "bench/hitratio/play.h"

#include <stdlib.h>

#include "bench/l1/cache.h"

#define FITS        10    /* budgets tried */
#define FIT         0.995 /* of the capacity is enough */
#define TEND_EVERY  256u
#define ENTRY_BYTES 256   /* at first guess */

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

bool hitratio_play_store(uint32_t policy, const bench_requests *r, uint64_t capacity, bool by_bytes, hitratio_play *out) {
    uint32_t largest = CACHE_VALUE_BYTES;
    for (uint64_t i = 0; by_bytes && i < r->count; i++)
        if (r->sizes[i] > largest) largest = r->sizes[i];
    uint8_t *value = calloc(1, largest);
    double wanted = (double)capacity;
    bool good = value != NULL;
    out->bytes_max = by_bytes ? (int64_t)capacity : (int64_t)capacity * ENTRY_BYTES;
    double low = 0, high = 1e18; /* budgets that held too little, too much */
    for (int i = 0; good && i < FITS; i++) {
        double budget = (double)out->bytes_max;
        good = play_once(policy, r, by_bytes, value, out);
        if ((out->held <= wanted && out->held >= wanted * FIT) || i + 1 == FITS) break;
        if (out->held > wanted) high = budget;
        else low = budget;
        budget *= wanted / (out->held + 1) * 0.998;
        if (budget <= low || budget >= high) budget = high < 1e18 ? (low + high) / 2 : low * 1.2;
        out->bytes_max = (int64_t)budget;
    }
    out->fits = out->held <= wanted * 1.01;
    free(value);
    return good;
}
