/* SPDX-License-Identifier: Apache-2.0 */
/* A client process: one thread writes its keys, two read all keys, and everything that ends is written down. */
#include "tests/torment/torment.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "tests/support/engine.h"

#define READERS 2

typedef struct actor {
    const torment_client *client;
    torment_shared *shared;
    torment_log *log;
    strata *engine;
    uint64_t random;
    int64_t asked_ns;   /* when the present call began */
    history_op *loaded; /* the load that ran within the present call */
    strata_bytes tag;   /* of the present call */
    char tag_name[8];
} actor;

/* ---- clocks ---- */

int __real_clock_gettime(clockid_t clock, struct timespec *time);
int __wrap_clock_gettime(clockid_t clock, struct timespec *time);
int __real_gettimeofday(struct timeval *time, void *zone);
int __wrap_gettimeofday(struct timeval *time, void *zone);

static torment_shared *clock_steps;

static int64_t stepped(int64_t unit_ns) {
    if (clock_steps == NULL) return 0;
    atomic_fetch_add_explicit(&clock_steps->clock_reads, 1, memory_order_relaxed);
    return atomic_load_explicit(&clock_steps->wall_step_ns, memory_order_relaxed) / unit_ns;
}

/* The linker hands every call of this program, the library's too, to these. */
int __wrap_clock_gettime(clockid_t clock, struct timespec *time) {
    int answer = __real_clock_gettime(clock, time);
    if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE) time->tv_sec += (time_t)stepped(1000000000);
    return answer;
}

int __wrap_gettimeofday(struct timeval *time, void *zone) {
    int answer = __real_gettimeofday(time, zone);
    time->tv_sec += (time_t)stepped(1000000000);
    return answer;
}

int64_t torment_now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

void torment_sleep_ms(int64_t ms) {
    struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    nanosleep(&t, NULL);
}

uint64_t torment_random(uint64_t *state) {
    uint64_t x = *state += 0x9e3779b97f4a7c15u;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

void *torment_map(const char *directory, const char *name, size_t size) {
    char path[256];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || ftruncate(fd, (off_t)size) != 0) return NULL;
    void *map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    return map == MAP_FAILED ? NULL : map;
}

/* ---- writing down ---- */

static history_op *record(actor *me, history_op op) {
    uint64_t place = atomic_fetch_add(&me->log->count, 1);
    if (place >= TORMENT_OPS_MAX) return NULL;
    history_op *out = &me->log->ops[place];
    int64_t end_ns = op.end_ns;
    op.end_ns = 0;
    op.process = me->client->process;
    *out = op;
    atomic_thread_fence(memory_order_release);
    out->end_ns = end_ns;
    return out;
}

/* ---- tags ---- */

/* What a tagged entry shows of its tag where its writer did not read that before the tags were taken: judged by nobody. */
#define TAG_UNKNOWN UINT64_MAX

static void put_numbers(char text[48], uint32_t key, uint64_t value, uint64_t tag) {
    if (torment_is_tagged(key)) snprintf(text, 48, "%llu %llu", (unsigned long long)value, (unsigned long long)tag);
    else snprintf(text, 48, "%llu", (unsigned long long)value);
}

static strata_op_options options_for(actor *me, uint32_t key) {
    strata_op_options options = {.struct_size = sizeof options, .deadline_ms = TORMENT_DEADLINE_MS};
    if (!torment_is_tagged(key)) return options;
    snprintf(me->tag_name, sizeof me->tag_name, "t%u", torment_tag_of(key));
    me->tag = test_bytes(me->tag_name);
    options.tags = &me->tag;
    options.tag_count = 1;
    return options;
}

/* A read of a tagged key is one of its tag's number too. */
static void record_tag(actor *me, history_op op, const char *rest) {
    if (!torment_is_tagged(op.key) || *rest == 0) return;
    op.key = TORMENT_KEYS + op.key / 3;
    op.value = strtoull(rest, NULL, 10);
    op.n = op.id = 0;
    record(me, op);
}

static void invalidate_tag(actor *me, strata_session *session) {
    uint32_t tag = me->client->index;
    char name[16];
    snprintf(name, sizeof name, "t%u", tag);
    strata_bytes tags[] = {test_bytes(name)};
    strata_op_options options = {.struct_size = sizeof options, .deadline_ms = TORMENT_DEADLINE_MS};
    history_op op = {.kind = HISTORY_INVALIDATE, .value = atomic_fetch_add(&me->shared->tags[tag], 1) + 1};
    op.start_ns = torment_now_ns();
    int32_t status = strata_invalidate_tags_wait(session, tags, 1, &options);
    op.end_ns = torment_now_ns();
    if (status != STRATA_OK) op.kind = HISTORY_FAILED_WRITE;
    for (uint32_t k = 0; k < TORMENT_KEYS; k++) {
        op.key = TORMENT_KEYS + k / 3;
        if (torment_is_tagged(k) && torment_tag_of(k) == tag) record(me, op);
    }
}

/* ---- operations ---- */

static void load_truth(strata_load *load, void *user) {
    actor *me = user;
    strata_bytes key = strata_load_key(load);
    char name[16] = "", text[48];
    memcpy(name, key.data, key.size < sizeof name ? key.size : sizeof name - 1);
    history_op op = {.kind = HISTORY_LOAD, .key = (uint32_t)atoi(name + 1), .start_ns = torment_now_ns()};
    op.value = atomic_load(&me->shared->truth[op.key]);
    op.said_us = (uint32_t)((op.start_ns - me->asked_ns) / 1000);
    uint64_t tag = atomic_load(&me->shared->tags[torment_tag_of(op.key)]);
    uint64_t dice = torment_random(&me->random) % 16;
    if (dice < 6) torment_sleep_ms((int64_t)(dice * dice * 4)); /* up to 100 ms */
    else if (torment_random(&me->random) % 32 == 0) torment_sleep_ms(400 + (int64_t)(torment_random(&me->random) % 1000)); /* over a failover */
    put_numbers(text, op.key, op.value, tag);
    op.end_ns = torment_now_ns();
    me->loaded = record(me, op);
    strata_load_finish(load, STRATA_OK, test_bytes(text), NULL);
}

static void read_one(actor *me, strata_session *session, strata_namespace *ns, uint32_t key) {
    char name[16], text[48] = "", *rest;
    snprintf(name, sizeof name, "h%u", key);
    strata_op_options options = options_for(me, key);
    uint64_t dice = torment_random(&me->random) % 64;
    if (dice == 0) options.flags = STRATA_BYPASS_L1;
    strata_result result;
    history_op op = {.kind = HISTORY_READ, .key = key, .start_ns = torment_now_ns()};
    me->loaded = NULL;
    me->asked_ns = op.start_ns;
    int32_t status = dice < 12 ? strata_get_wait(session, ns, test_bytes(name), &options, &result)
                               : strata_get_or_load_wait(session, ns, test_bytes(name), &options, load_truth, me, &result);
    op.end_ns = torment_now_ns();
    if (status != STRATA_OK) {
        op.kind = HISTORY_FAILED_READ;
        record(me, op);
        return;
    }
    if (result.value.size < sizeof text) memcpy(text, result.value.data, result.value.size);
    op.value = strtoull(text, &rest, 10);
    op.n = result.version_n;
    op.id = result.version_id;
    op.source = (uint8_t)result.source;
    op.said_us = result.staleness_us < UINT32_MAX ? (uint32_t)result.staleness_us : 0;
    /* A load's result has a version where L2 took it. */
    if (me->loaded != NULL && result.source == STRATA_FROM_LOADER && result.version_id != 0) me->loaded->filled = 1;
    record(me, op);
    record_tag(me, op, rest);
    strata_result_release(session, &result);
}

static void write_one(actor *me, strata_session *session, strata_namespace *ns, uint32_t key) {
    char name[16], text[48];
    snprintf(name, sizeof name, "h%u", key);
    strata_op_options options = options_for(me, key);
    bool set = torment_random(&me->random) % 2 == 0;
    strata_result result;
    history_op op = {.kind = set ? HISTORY_SET : HISTORY_INVALIDATE, .key = key};
    op.value = atomic_fetch_add(&me->shared->truth[key], 1) + 1;
    put_numbers(text, key, op.value, TAG_UNKNOWN);
    op.start_ns = torment_now_ns();
    int32_t status = set ? strata_set_wait(session, ns, test_bytes(name), test_bytes(text), &options, &result)
                         : strata_invalidate_wait(session, ns, test_bytes(name), &options);
    op.end_ns = torment_now_ns();
    if (status != STRATA_OK) op.kind = HISTORY_FAILED_WRITE;
    op.invalidates = !set && status != STRATA_OK && status != STRATA_E_OVERLOADED;
    if (set && status == STRATA_OK) {
        op.n = result.version_n;
        op.id = result.version_id;
    }
    record(me, op);
}

/* ---- threads ---- */

static void *read_all(void *argument) {
    actor *me = argument;
    strata_session *session = test_engine_session(me->engine);
    strata_namespace *ns = test_engine_ns(me->engine, "torment");
    while (!atomic_load(&me->shared->stop)) {
        /* Some keys are read all the time, some seldom: those show what was forgotten. */
        uint64_t dice = torment_random(&me->random);
        uint32_t key = (uint32_t)(dice % 4 != 0 ? dice / 4 % (TORMENT_KEYS / 2) : dice / 4 % TORMENT_KEYS);
        read_one(me, session, ns, key);
        if (dice % 3 == 0) torment_sleep_ms(1);
    }
    strata_session_close(session);
    return NULL;
}

static void write_all(actor *me) {
    strata_session *session = test_engine_session(me->engine);
    strata_namespace *ns = test_engine_ns(me->engine, "torment");
    while (!atomic_load(&me->shared->stop)) {
        if (atomic_load(&me->shared->peace)) {
            torment_sleep_ms(5);
            continue;
        }
        uint64_t dice = torment_random(&me->random);
        if (dice / 64 % 12 == 0) invalidate_tag(me, session);
        uint32_t key = (uint32_t)(dice / 16 % (TORMENT_KEYS / TORMENT_CLIENTS)) * TORMENT_CLIENTS + me->client->index;
        write_one(me, session, ns, key);
        if (dice % 4 == 0) read_one(me, session, ns, key);
        if (dice % 16 == 1) write_one(me, session, ns, key); /* at once again */
        torment_sleep_ms(2 + (int64_t)(dice / 1024 % 30));
        if (dice % 200 == 2) torment_sleep_ms(1500); /* what is missed now is not noticed by the next message */
    }
    strata_session_close(session);
}

_Noreturn void torment_client_run(const torment_client *client) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    char name[32], lease[16], staleness[16], partitions[16];
    snprintf(name, sizeof name, "log-%u", client->process);
    snprintf(lease, sizeof lease, "%dms", TORMENT_LEASE_MS);
    snprintf(staleness, sizeof staleness, "%dms", TORMENT_STALENESS_MS);
    snprintf(partitions, sizeof partitions, "%d", TORMENT_PARTITIONS);
    torment_shared *shared = torment_map(client->directory, "shared", sizeof *shared);
    torment_log *log = torment_map(client->directory, name, sizeof *log);
    if (shared == NULL || log == NULL) _exit(2);
    clock_steps = shared;
    strata *engine = test_engine_open(TEST_OPTIONS("l2.nodes", client->seeds, "l2.open_wait", "10s", "coherence.partitions",
                                                   partitions, "coherence.lease", lease, "coherence.max_staleness",
                                                   staleness, "l1.bytes", "16MiB", "coherence.beat_counters",
                                                   client->seed % 2 == 0 ? "1" : "256", "coherence.value_bytes_max",
                                                   client->seed % 3 == 1 ? "512" : "0", "coherence.audit_per_s", "100"),
                                      NULL);
    actor actors[READERS + 1];
    pthread_t threads[READERS];
    for (uint32_t i = 0; i <= READERS; i++)
        actors[i] = (actor){.client = client, .shared = shared, .log = log, .engine = engine,
                            .random = client->seed * 1000 + client->process * 10 + i};
    for (int i = 0; i < READERS; i++) pthread_create(&threads[i], NULL, read_all, &actors[i]);
    atomic_fetch_add(&shared->ready, 1);
    write_all(&actors[READERS]);
    for (int i = 0; i < READERS; i++) pthread_join(threads[i], NULL);
    atomic_fetch_add(&shared->audited, (uint64_t)test_metric(engine, "audit.checked"));
    atomic_fetch_add(&shared->divergent, (uint64_t)test_metric(engine, "audit.divergent"));
    int32_t status = strata_close(engine, 2000);
    exit(status == STRATA_E_INVALID ? 1 : 0);
}
