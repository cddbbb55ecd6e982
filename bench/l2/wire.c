/* SPDX-License-Identifier: Apache-2.0 */
/* Our client without the engine around it: each request is encoded anew, goes through store and cluster, and its end
   starts the next. */
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strata/status.h>

#include "bench/l2/l2.h"
#include "bench/run.h"
#include "l2/redis/tls.h"
#include "l2/store.h"

#define TIMEOUT_NS      (10 * SX_NS_PER_S)
#define CONNECT_SECONDS 5

typedef struct wire_slot {
    sx_store_op op;
    bench_wire *wire;
    uint32_t key;
    int64_t began_ns; /* 0: not timed */
} wire_slot;

typedef enum wire_job { WIRE_CONNECT, WIRE_FILL, WIRE_RUN, WIRE_STOP } wire_job;

/* owner: loop while a job runs, else who opened it. */
struct bench_wire {
    const bench_l2_keys *keys;
    sx_alloc alloc; /* counts */
    _Atomic uint64_t allocations;
    sx_clock clock;
    sx_log log;
    sx_redis_script *scripts[1];
    sx_redis_tls *tls;
    sx_redis_settings settings;
    sx_loop *loop;
    sx_redis_cluster *cluster;
    sx_store *store;
    sx_task task;
    sx_timer timer;
    wire_job job;
    sem_t done;
    wire_slot *slots;
    uint32_t slot_count, outstanding;
    uint32_t next_key;
    char *value;
    int64_t warm_ns, end_ns;
    double seconds;
    bool recording;
    uint64_t operations, failures;
    bench_histogram latency;
    bench_l2_usage before;
    uint64_t allocations_before;
    bench_l2_sample sample;
};

static void *count_allocate(void *context, size_t size, size_t alignment) {
    bench_wire *wire = context;
    atomic_fetch_add_explicit(&wire->allocations, 1, memory_order_relaxed);
    return alignment <= 16 ? malloc(size) : aligned_alloc(alignment, (size + alignment - 1) & ~(alignment - 1));
}

static void count_release(void *context, void *memory, size_t size) {
    (void)context;
    (void)size;
    free(memory);
}

static void start(wire_slot *slot);

static void job_over(bench_wire *wire) { sem_post(&wire->done); }

static void run_over(bench_wire *wire) {
    bench_l2_usage after;
    bench_l2_usage_thread(&after);
    bench_l2_sample_set(&wire->sample, &wire->before, &after, wire->operations, &wire->latency);
    wire->sample.failures = wire->failures;
    wire->sample.allocations = (double)(atomic_load(&wire->allocations) - wire->allocations_before) /
                               (double)(wire->operations > 0 ? wire->operations : 1);
    wire->recording = false;
}

/* Looked at now and then: the clock is not read for each operation. */
static void look_at_clock(bench_wire *wire) {
    int64_t now_ns = bench_now_ns();
    if (!wire->recording && wire->warm_ns != 0 && now_ns >= wire->warm_ns) {
        wire->warm_ns = 0;
        wire->recording = true;
        wire->operations = wire->failures = 0;
        bench_histogram_clear(&wire->latency);
        wire->allocations_before = atomic_load(&wire->allocations);
        bench_l2_usage_thread(&wire->before);
    } else if (wire->recording && now_ns >= wire->end_ns) {
        run_over(wire);
        wire->end_ns = 0;
    }
}

static void ended(sx_store_op *op, int32_t status, const sx_resp *reply) {
    wire_slot *slot = (wire_slot *)op->context;
    bench_wire *wire = slot->wire;
    bool good = status == STRATA_OK && reply->type == SX_RESP_STRING &&
                (wire->job == WIRE_FILL || reply->size == wire->keys->value_bytes);
    if (!good) wire->failures++;
    wire->operations++;
    if (slot->began_ns != 0) bench_histogram_add(&wire->latency, bench_now_ns() - slot->began_ns);
    if (wire->job == WIRE_RUN && wire->operations % BENCH_L2_LATENCY_EVERY == 0) look_at_clock(wire);
    bool more = wire->job == WIRE_FILL ? wire->next_key < wire->keys->count : wire->end_ns != 0;
    if (more) start(slot);
    else if (--wire->outstanding == 0) job_over(wire);
}

static void start(wire_slot *slot) {
    bench_wire *wire = slot->wire;
    sx_redis_request *request = &slot->op.request;
    slot->key = wire->next_key++;
    if (wire->job == WIRE_RUN && wire->next_key == wire->keys->count) wire->next_key = 0;
    const struct bench_l2_key *key = &wire->keys->list[slot->key];
    slot->began_ns = wire->next_key % BENCH_L2_LATENCY_EVERY == 0 ? bench_now_ns() : 0;
    sx_command_clear(&request->command);
    sx_command_text(&request->command, wire->job == WIRE_FILL ? "SET" : "GET");
    sx_command_arg(&request->command, key->text, BENCH_L2_KEY_BYTES);
    if (wire->job == WIRE_FILL) sx_command_arg(&request->command, wire->value, wire->keys->value_bytes);
    request->slot = key->slot;
    request->deadline_ns = sx_loop_recent_ns(wire->loop) + TIMEOUT_NS;
    slot->op.done = ended;
    slot->op.context = slot;
    sx_store_submit_on_loop(wire->store, &slot->op);
}

static void stopped(void *context) { job_over(context); }

static void wait_for_map(sx_timer *timer) {
    bench_wire *wire = (bench_wire *)(void *)((char *)timer - offsetof(bench_wire, timer));
    if (sx_redis_cluster_has_map(wire->cluster) || bench_now_ns() > wire->end_ns) job_over(wire);
    else sx_loop_timer_set(wire->loop, timer, sx_loop_now_ns(wire->loop) + SX_NS_PER_MS);
}

static void run_job(sx_task *task) {
    bench_wire *wire = (bench_wire *)(void *)((char *)task - offsetof(bench_wire, task));
    switch (wire->job) {
    case WIRE_CONNECT:
        sx_redis_cluster_start_on_loop(wire->cluster);
        wait_for_map(&wire->timer);
        break;
    case WIRE_FILL:
    case WIRE_RUN:
        wire->outstanding = wire->slot_count;
        for (uint32_t i = 0; i < wire->slot_count; i++) start(&wire->slots[i]);
        break;
    case WIRE_STOP:
        sx_store_stop_on_loop(wire->store);
        sx_redis_cluster_stop_on_loop(wire->cluster, stopped, wire);
        break;
    }
}

static void do_job(bench_wire *wire, wire_job job) {
    wire->job = job;
    wire->task.run_on_loop = run_job;
    sx_loop_post(wire->loop, &wire->task);
    while (sem_wait(&wire->done) != 0) {}
}

static sx_redis_tls *open_tls(const bench_l2_keys *keys) {
    char ca[300], cert[300], key[300], error[256];
    if (keys->certs == NULL) return NULL;
    snprintf(ca, sizeof ca, "%s/ca.crt", keys->certs);
    snprintf(cert, sizeof cert, "%s/server.crt", keys->certs);
    snprintf(key, sizeof key, "%s/server.key", keys->certs);
    const sx_redis_tls_settings settings = {.alloc = sx_alloc_default(), .ca_file = ca, .ca_path = "", .cert_file = cert,
                                            .key_file = key, .key_password = "", .name = "", .verify_name = true};
    sx_redis_tls *tls = NULL;
    if (sx_redis_tls_create(&settings, &tls, error, sizeof error) != STRATA_OK) abort(); /* made for this */
    return tls;
}

bench_wire *bench_wire_open(const bench_l2_keys *keys) {
    bench_wire *wire = calloc(1, sizeof *wire);
    char error[256];
    if (wire == NULL) return NULL;
    wire->keys = keys;
    wire->timer.fire_on_loop = wait_for_map;
    sx_alloc_wrap(&wire->alloc, wire, count_allocate, count_release);
    (void)sem_init(&wire->done, 0, 0);
    wire->tls = open_tls(keys);
    wire->settings = (sx_redis_settings){.tls = wire->tls, .alloc = &wire->alloc, .clock = &wire->clock, .log = &wire->log,
                                         .username = "", .password = "", .client_name = "strata-bench",
                                         .connect_timeout_ns = SX_NS_PER_S,
                                         .limits = {.depth_max = 8, .elements_max = 1 << 20, .bulk_bytes_max = 64 << 20},
                                         .queue_bytes_max = 256 << 20, .queue_ops_max = 65536,
                                         .scripts = wire->scripts};
    const sx_redis_cluster_events events = {NULL, NULL, NULL};
    static const sx_breaker_limits breaker = {5, SX_NS_PER_S};
    const sx_store_settings store = {.retry_base_ns = 2 * SX_NS_PER_MS, .retry_max_ns = 100 * SX_NS_PER_MS, .breaker = &breaker};
    wire->value = malloc(keys->value_bytes);
    if (wire->value == NULL || sx_loop_create(&wire->alloc, &wire->clock, &wire->log, &wire->loop) != STRATA_OK ||
        sx_redis_cluster_create(wire->loop, &wire->settings, SX_REDIS_MODE_AUTO, keys->seeds, &events, &wire->cluster,
                                error, sizeof error) != STRATA_OK ||
        sx_store_create(wire->loop, &wire->alloc, wire->cluster, &store, &wire->store) != STRATA_OK ||
        sx_loop_start(wire->loop) != STRATA_OK)
        abort(); /* a measurement that can't begin */
    memset(wire->value, 'v', keys->value_bytes);
    wire->end_ns = bench_now_ns() + CONNECT_SECONDS * BENCH_NS_PER_S;
    do_job(wire, WIRE_CONNECT);
    return wire;
}

static void make_slots(bench_wire *wire, uint32_t count) {
    for (uint32_t i = 0; i < wire->slot_count; i++) sx_command_deinit(&wire->slots[i].op.request.command);
    free(wire->slots);
    wire->slots = count == 0 ? NULL : calloc(count, sizeof *wire->slots);
    wire->slot_count = wire->slots == NULL ? 0 : count;
    for (uint32_t i = 0; i < wire->slot_count; i++) {
        wire->slots[i].wire = wire;
        sx_command_init(&wire->slots[i].op.request.command, &wire->alloc);
    }
}

bool bench_wire_fill(bench_wire *wire) {
    make_slots(wire, wire->keys->count < 64 ? wire->keys->count : 64);
    wire->next_key = 0;
    wire->failures = 0;
    do_job(wire, WIRE_FILL);
    return wire->failures == 0;
}

void bench_wire_run(bench_wire *wire, uint32_t outstanding, double seconds, bench_l2_sample *sample) {
    make_slots(wire, outstanding);
    wire->next_key = 0;
    wire->operations = 0;
    wire->recording = false;
    wire->warm_ns = bench_now_ns() + (int64_t)(seconds * 1e8);
    wire->end_ns = wire->warm_ns + (int64_t)(seconds * 1e9);
    do_job(wire, WIRE_RUN);
    *sample = wire->sample;
}

void bench_wire_close(bench_wire *wire) {
    if (wire == NULL) return;
    do_job(wire, WIRE_STOP);
    sx_loop_stop(wire->loop);
    make_slots(wire, 0);
    sx_store_destroy(wire->store);
    sx_redis_cluster_destroy(wire->cluster);
    sx_loop_destroy(wire->loop);
    sx_redis_tls_destroy(wire->tls);
    (void)sem_destroy(&wire->done);
    free(wire->value);
    free(wire);
}
