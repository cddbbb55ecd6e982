/* SPDX-License-Identifier: Apache-2.0 */
/* Keeps a peer busy, and samples what that cost. */
#include "bench/l2/driver.h"

#include <stdlib.h>

#include "bench/run.h"

void bench_driver_init(bench_driver *driver, const bench_l2_keys *keys, bench_driver_send_fn send, void *client) {
    driver->keys = keys;
    driver->send = send;
    driver->client = client;
    (void)uv_loop_init(&driver->loop);
}

static void look_at_clock(bench_driver *driver) {
    int64_t now_ns = bench_now_ns();
    if (!driver->recording && driver->warm_ns != 0 && now_ns >= driver->warm_ns) {
        driver->warm_ns = 0;
        driver->recording = true;
        driver->operations = driver->failures = 0;
        bench_histogram_clear(&driver->latency);
        bench_l2_usage_thread(&driver->before);
    } else if (driver->recording && now_ns >= driver->end_ns) {
        bench_l2_usage_thread(&driver->after);
        driver->recording = false;
        driver->end_ns = 0;
    }
}

static void start(bench_driver_slot *slot) {
    bench_driver *driver = slot->driver;
    const struct bench_l2_key *key = &driver->keys->list[driver->next_key];
    if (++driver->next_key == driver->keys->count) driver->next_key = 0;
    slot->began_ns = driver->next_key % BENCH_L2_LATENCY_EVERY == 0 ? bench_now_ns() : 0;
    driver->send(driver->client, key, slot);
}

void bench_driver_answered(bench_driver_slot *slot, bool good) {
    bench_driver *driver = slot->driver;
    if (!good) driver->failures++;
    if (driver->end_ns != 0) driver->operations++;
    if (slot->began_ns != 0) bench_histogram_add(&driver->latency, bench_now_ns() - slot->began_ns);
    if (driver->end_ns != 0 && driver->operations % BENCH_L2_LATENCY_EVERY == 0) look_at_clock(driver);
    if (driver->end_ns != 0) start(slot);
    else if (--driver->outstanding == 0) uv_stop(&driver->loop);
}

void bench_driver_run(bench_driver *driver, uint32_t outstanding, double seconds, bench_l2_sample *sample) {
    bench_driver_slot *slots = calloc(outstanding, sizeof *slots);
    if (slots == NULL) abort(); /* a measurement that can't begin */
    driver->next_key = 0;
    driver->operations = driver->failures = 0;
    driver->outstanding = outstanding;
    driver->recording = false;
    driver->warm_ns = bench_now_ns() + (int64_t)(seconds * 1e8);
    driver->end_ns = driver->warm_ns + (int64_t)(seconds * 1e9);
    for (uint32_t i = 0; i < outstanding; i++) {
        slots[i].driver = driver;
        start(&slots[i]);
    }
    (void)uv_run(&driver->loop, UV_RUN_DEFAULT);
    free(slots);
    bench_l2_sample_set(sample, &driver->before, &driver->after, driver->operations, &driver->latency);
    sample->failures = driver->failures;
}

void bench_driver_deinit(bench_driver *driver) {
    (void)uv_run(&driver->loop, UV_RUN_DEFAULT);
    (void)uv_loop_close(&driver->loop);
}
