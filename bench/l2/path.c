/* SPDX-License-Identifier: Apache-2.0 */
/* The whole path of a get that L2 answers: session, mailbox, loop, Redis, fill, completion. L1 is so small that few keys are met
   there, one in ten of the default ones; these are not counted. Uses the public interface only. */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strata/strata.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "bench/l2/l2.h"
#include "bench/run.h"

#define OUTSTANDING_MAX 4096
#define FILL_OUTSTANDING 64
#define LARGE_KEYS       16
#define LARGE_BYTES      (1000 * 1000)

typedef struct path_slot {
    bench_path *path;
    int64_t intended_ns;
    struct path_slot *next_free;
} path_slot;

/* owner: the thread that opened it, but the counter. */
struct bench_path {
    const bench_l2_keys *keys;
    strata *engine;
    strata_namespace *ns;
    strata_session *session;
    _Atomic uint64_t allocations; /* of all threads but the session's */
    path_slot slots[OUTSTANDING_MAX];
    path_slot *free_slots;
    uint32_t outstanding, next_key, stride; /* keys are asked for in another order than they were filled in: what L1 holds of them
                                              is met by and by, not all at once */
    uint64_t operations, failures, from_l1;
    strata_op_options options; /* of each get */
    bench_histogram latency;
    uint32_t large_outstanding, large_next; /* gets of large values beside the others; as many of them as wanted */
    uint32_t large_wanted;
    uint64_t large_operations;
};

static _Thread_local bool is_session_thread;

static void *count_allocate(void *context, size_t size, size_t alignment) {
    bench_path *path = context;
    if (!is_session_thread) atomic_fetch_add_explicit(&path->allocations, 1, memory_order_relaxed);
    return alignment <= 16 ? malloc(size) : aligned_alloc(alignment, (size + alignment - 1) & ~(alignment - 1));
}

static void count_release(void *context, void *memory, size_t size) {
    (void)context;
    (void)size;
    free(memory);
}

static void set(strata_config *config, const char *name, const char *value) {
    strata_error error = {0};
    if (strata_config_set(config, name, value, &error) == STRATA_OK) return;
    fprintf(stderr, "%s = %s: %s\n", name, value, error.text);
    abort();
}

static void set_tls(strata_config *config, const char *certs) {
    static const char *const files[][2] = {{"l2.tls_ca_file", "ca.crt"}, {"l2.tls_cert_file", "server.crt"},
                                           {"l2.tls_key_file", "server.key"}};
    char path[300];
    set(config, "l2.tls", "on");
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        snprintf(path, sizeof path, "%s/%s", certs, files[i][1]);
        set(config, files[i][0], path);
    }
}

/* Near the golden section of count, and without a divisor in common with it: so every key has its turn. */
static uint32_t stride_of(uint32_t count) {
    for (uint32_t stride = (uint32_t)(0.618 * count);; stride++) {
        uint32_t a = count, b = stride;
        while (b != 0) {
            uint32_t rest = a % b;
            a = b;
            b = rest;
        }
        if (a == 1) return stride;
    }
}

bench_path *bench_path_open(const bench_l2_keys *keys, bool count_allocations, const char *const *options) {
    bench_path *path = calloc(1, sizeof *path);
    strata_config *config;
    if (path == NULL || strata_config_create(&config) != STRATA_OK) abort();
    path->keys = keys;
    path->options.struct_size = sizeof path->options;
    path->stride = stride_of(keys->count);
    set(config, "l2.nodes", keys->seeds);
    if (keys->certs != NULL) set_tls(config, keys->certs);
    set(config, "l2.mode", keys->cluster ? "cluster" : "standalone");
    set(config, "l1.bytes", "1MiB");
    set(config, "l2.open_wait", "5s");
    for (; options != NULL && options[0] != NULL; options += 2) set(config, options[0], options[1]);
    strata_open_options open = {.struct_size = sizeof open, .config = config};
    if (count_allocations) open.allocator = (strata_allocator){path, count_allocate, count_release};
    is_session_thread = true;
    (void)prctl(PR_SET_TIMERSLACK, 1000ul); /* an open loop starts operations to the microsecond */
    strata_error error = {0};
    if (strata_open(&open, &path->engine, &error) != STRATA_OK ||
        strata_namespace_open(path->engine, "bench", 1, &path->ns) != STRATA_OK ||
        strata_session_open(path->engine, &path->session) != STRATA_OK) {
        fprintf(stderr, "the engine does not open: %s\n", error.text);
        abort();
    }
    strata_config_destroy(config);
    for (uint32_t i = 0; i < OUTSTANDING_MAX; i++) path->slots[i].path = path;
    return path;
}

static void ended(void *user, const strata_result *result) {
    path_slot *slot = user;
    bench_path *path = slot->path;
    if (result->status != STRATA_OK) path->failures++;
    path->operations++;
    bench_histogram_add(&path->latency, bench_now_ns() - slot->intended_ns);
    slot->next_free = path->free_slots;
    path->free_slots = slot;
    path->outstanding--;
}

static strata_bytes next_key(bench_path *path) {
    strata_bytes key = {path->keys->list[path->next_key].text, BENCH_L2_KEY_BYTES};
    path->next_key = (path->next_key + path->stride) % path->keys->count;
    return key;
}

static void start(bench_path *path, int64_t intended_ns) {
    strata_bytes key = next_key(path);
    path_slot *slot = path->free_slots;
    path->free_slots = slot->next_free;
    path->outstanding++;
    slot->intended_ns = intended_ns;
    strata_result result;
    int32_t status = strata_get(path->session, path->ns, key, &path->options, &result, ended, slot);
    if (status == STRATA_PENDING) return;
    if (status == STRATA_OK) path->from_l1++;
    else path->failures++;
    strata_result_release(path->session, &result);
    slot->next_free = path->free_slots;
    path->free_slots = slot;
    path->outstanding--;
}

/* ---- large values beside the others ---- */

static void large_start(bench_path *path);

static void large_ended(void *user, const strata_result *result) {
    bench_path *path = user;
    if (result->status != STRATA_OK || result->value.size != LARGE_BYTES) path->failures++;
    path->large_operations++;
    path->large_outstanding--;
    if (path->large_outstanding < path->large_wanted) large_start(path);
}

static void large_start(bench_path *path) {
    char text[32];
    strata_bytes key = {text, (size_t)snprintf(text, sizeof text, "large:%u", path->large_next++ % LARGE_KEYS)};
    strata_op_options past_l1 = {.struct_size = sizeof past_l1, .flags = STRATA_BYPASS_L1};
    strata_result result;
    path->large_outstanding++;
    if (strata_get(path->session, path->ns, key, &past_l1, &result, large_ended, path) == STRATA_PENDING) return;
    path->large_outstanding--;
    path->failures++;
}

bool bench_path_large(bench_path *path, uint32_t outstanding) {
    char *value = outstanding == 0 ? NULL : calloc(1, LARGE_BYTES);
    bool good = outstanding == 0 || value != NULL;
    path->large_wanted = outstanding;
    for (uint32_t i = 0; value != NULL && good && i < LARGE_KEYS; i++) {
        char text[32];
        strata_bytes key = {text, (size_t)snprintf(text, sizeof text, "large:%u", i)};
        good = strata_set_wait(path->session, path->ns, key, (strata_bytes){value, LARGE_BYTES}, NULL, NULL) == STRATA_OK;
    }
    free(value);
    while (good && path->large_outstanding < outstanding) large_start(path);
    while (path->large_outstanding > outstanding) (void)strata_session_wait(path->session, 100);
    return good;
}

/* ---- runs ---- */

static void make_slots(bench_path *path, uint32_t count) {
    path->free_slots = NULL;
    for (uint32_t i = 0; i < count && i < OUTSTANDING_MAX; i++) {
        path->slots[i].next_free = path->free_slots;
        path->free_slots = &path->slots[i];
    }
}

bool bench_path_fill(bench_path *path) {
    char *value = malloc(path->keys->value_bytes);
    if (value == NULL) return false;
    memset(value, 'v', path->keys->value_bytes);
    make_slots(path, FILL_OUTSTANDING);
    path->failures = 0;
    for (uint32_t i = 0; i < path->keys->count; i++) {
        while (path->free_slots == NULL) (void)strata_session_wait(path->session, 100);
        path_slot *slot = path->free_slots;
        path->free_slots = slot->next_free;
        path->outstanding++;
        strata_bytes key = {path->keys->list[i].text, BENCH_L2_KEY_BYTES};
        int32_t status = strata_set(path->session, path->ns, key, (strata_bytes){value, path->keys->value_bytes}, NULL, ended, slot);
        if (status == STRATA_PENDING) continue;
        path->failures++;
        slot->next_free = path->free_slots;
        path->free_slots = slot;
        path->outstanding--;
    }
    while (path->outstanding > 0) (void)strata_session_wait(path->session, 100);
    free(value);
    return path->failures == 0;
}

/* Sleeps until a time, or until completions are there. */
static void wait_until(bench_path *path, int64_t until_ns) {
    struct pollfd poll_on = {.fd = strata_session_fd(path->session), .events = POLLIN};
    int64_t left_ns = until_ns - bench_now_ns();
    if (left_ns <= 0) return;
    struct timespec timeout = {left_ns / BENCH_NS_PER_S, left_ns % BENCH_NS_PER_S};
    (void)ppoll(&poll_on, 1, &timeout, NULL);
}

static void run_open(bench_path *path, double rate, int64_t end_ns) {
    double gap_ns = 1e9 / rate;
    int64_t began_ns = bench_now_ns(), due_ns = began_ns;
    uint64_t started = 0;
    for (int64_t now_ns = began_ns; now_ns < end_ns; now_ns = bench_now_ns()) {
        if (path->free_slots == NULL) {
            (void)strata_session_wait(path->session, 1);
        } else if (now_ns < due_ns) {
            wait_until(path, due_ns);
            (void)strata_session_dispatch(path->session, 0);
        } else {
            start(path, due_ns);
            due_ns = began_ns + (int64_t)(gap_ns * (double)++started);
            if (started % 8 == 0) (void)strata_session_dispatch(path->session, 0);
        }
    }
}

static void run_closed(bench_path *path, int64_t end_ns) {
    for (int64_t now_ns = bench_now_ns(); now_ns < end_ns; now_ns = bench_now_ns()) {
        if (path->free_slots != NULL) start(path, now_ns);
        else (void)strata_session_wait(path->session, 50);
    }
}

void bench_path_past_l1(bench_path *path, bool past) { path->options.flags = past ? STRATA_BYPASS_L1 : 0; }

static void run_for(bench_path *path, double rate, double seconds) {
    int64_t end_ns = bench_now_ns() + (int64_t)(seconds * 1e9);
    if (rate > 0) run_open(path, rate, end_ns);
    else run_closed(path, end_ns);
}

void bench_path_run(bench_path *path, double rate, uint32_t outstanding, double seconds, bench_l2_sample *sample) {
    bench_l2_usage before, after;
    make_slots(path, outstanding);
    run_for(path, rate, seconds / 10);
    bench_histogram_clear(&path->latency);
    path->operations = path->failures = path->from_l1 = 0;
    uint64_t allocations = atomic_load(&path->allocations);
    int64_t loop_wakes = bench_l2_wakes("strata-loop");
    bench_l2_usage_process(&before);
    run_for(path, rate, seconds);
    bench_l2_usage_process(&after);
    loop_wakes = bench_l2_wakes("strata-loop") - loop_wakes;
    allocations = atomic_load(&path->allocations) - allocations;
    bench_l2_sample_set(sample, &before, &after, path->operations, &path->latency);
    double count = path->operations > 0 ? (double)path->operations : 1;
    sample->loop_wakes = (double)loop_wakes / count;
    sample->allocations = (double)allocations / count;
    sample->failures = path->failures;
    while (path->outstanding > 0) (void)strata_session_wait(path->session, 100);
}

double bench_path_idle_wakes(bench_path *path, double seconds) {
    (void)path;
    usleep(2000000); /* what filling left to be freed, and until nobody is known to use it */
    int64_t before = bench_l2_wakes(NULL);
    usleep((useconds_t)(seconds * 1e6));
    return (double)(bench_l2_wakes(NULL) - before) / seconds;
}

void bench_path_close(bench_path *path) {
    if (path == NULL) return;
    strata_session_close(path->session);
    (void)strata_close(path->engine, 5000);
    free(path);
}
