/* SPDX-License-Identifier: Apache-2.0 */
/* The generator: one thread, one session, operations at their intended times whether earlier ones have ended or not. */
#include "tests/support/traffic.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <dirent.h>
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/support/delay.h"
#include "tests/support/engine.h"

enum { BUCKETS = 128, KEYS_MAX = 4096, FINAL_MS = 5000, LOSS_MS = 1000 };

typedef struct key_state {
    char name[24];
    uint64_t sent, acked;       /* the last value sent, and the last acknowledged */
    uint64_t settled;           /* acked when it had been so for LOSS_MS: not to be lost with a primary */
    int64_t acked_us;
    bool writing;
} key_state;

typedef struct op {
    struct op *next;
    test_traffic *traffic;
    key_state *key;
    int64_t intended_us, deadline_us;
    uint64_t value, floor; /* a read: what had been acknowledged when it began */
    bool write;
} op;

struct test_traffic {
    test_traffic_options how;
    strata *engine;
    strata_session *session;
    strata_namespace *ns;
    pthread_t thread;
    _Atomic int stop;
    int64_t began_us;
    key_state keys[KEYS_MAX];
    op *free_ops;
    uint64_t pending, made, random;
    uint32_t (*latency)[BUCKETS]; /* one row a slice */
    long tids[2];                 /* the engine's loop and the generator */
    int64_t delay_us[TEST_TRAFFIC_SLICES]; /* their delay_now_us as each slice began */
    uint32_t sampled;             /* slices of which it is known */
    test_traffic_result *result;
};

static int64_t now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

int64_t test_traffic_ms(const test_traffic *traffic) { return (now_us() - traffic->began_us) / 1000; }
strata *test_traffic_engine(test_traffic *traffic) { return traffic->engine; }

/* Quarter powers of two: bucket b holds up to bound(b). */
static uint32_t bound_us(uint32_t bucket) { return (4 + bucket % 4) << (bucket / 4) >> 2; }

static uint32_t bucket_of(int64_t us) {
    uint32_t bucket = 0;
    while (bucket < BUCKETS - 20 && bound_us(bucket) < us) bucket++;
    return bucket;
}

static uint32_t slice_at(const test_traffic *traffic, int64_t us) {
    int64_t slice = (us - traffic->began_us) / (TEST_TRAFFIC_SLICE_MS * 1000);
    return slice < TEST_TRAFFIC_SLICES ? (uint32_t)slice : TEST_TRAFFIC_SLICES - 1;
}

/* ---- what the machine did to us ---- */

/* The thread of this process that has that name; 0 none. */
static long tid_of(const char *name) {
    long tid = 0;
    DIR *tasks = opendir("/proc/self/task");
    for (struct dirent *e; tasks != NULL && (e = readdir(tasks)) != NULL;) {
        char path[300], text[32] = "";
        snprintf(path, sizeof path, "/proc/self/task/%s/comm", e->d_name);
        FILE *file = e->d_name[0] == '.' ? NULL : fopen(path, "r");
        if (file == NULL) continue;
        if (fgets(text, sizeof text, file) != NULL && strncmp(text, name, strlen(name)) == 0) tid = atol(e->d_name);
        fclose(file);
    }
    if (tasks != NULL) closedir(tasks);
    return tid;
}

/* Of the two threads together. */
static int64_t delay_now_us(const test_traffic *traffic) {
    return test_delay_us(traffic->tids[0]) + test_delay_us(traffic->tids[1]);
}

static void sample_delay(test_traffic *traffic, int64_t now) {
    uint32_t at = slice_at(traffic, now);
    if (traffic->sampled > at) return;
    int64_t before_us = traffic->sampled == 0 ? 0 : traffic->delay_us[traffic->sampled - 1];
    while (traffic->sampled < at) traffic->delay_us[traffic->sampled++] = before_us; /* we did not run in these */
    traffic->delay_us[traffic->sampled++] = delay_now_us(traffic);
}

static void note_overrun(test_traffic *traffic, int64_t deadline_us, int64_t now) {
    int64_t late_us = now - deadline_us;
    test_traffic_result *told = traffic->result;
    if (late_us > told->overrun_us_max) told->overrun_us_max = late_us;
    if (late_us <= told->overrun_own_us_max) return;
    uint32_t since = slice_at(traffic, deadline_us);
    late_us -= delay_now_us(traffic) - traffic->delay_us[since == 0 ? 0 : since - 1];
    if (late_us > told->overrun_own_us_max) told->overrun_own_us_max = late_us;
}

/* ---- what is true ---- */

static void wrong(test_traffic *traffic, const op *o, const strata_result *result) {
    fprintf(stderr, "%lld ms: %s is \"%.*s\"; %llu was acknowledged before, %llu the last sent\n",
            (long long)test_traffic_ms(traffic), o->key->name, (int)(result->value.size < 40 ? result->value.size : 40),
            (const char *)result->value.data, (unsigned long long)o->floor, (unsigned long long)o->key->sent);
    traffic->result->wrong++;
}

static void check_read(test_traffic *traffic, const op *o, const strata_result *result) {
    char text[64] = "", expected[64];
    if (result->status == STRATA_OK && result->value.size < sizeof text)
        memcpy(text, result->value.data, result->value.size);
    unsigned long long value = 0;
    const char *colon = strchr(text, ':');
    if (colon != NULL) value = strtoull(colon + 1, NULL, 10);
    snprintf(expected, sizeof expected, "%s:%llu", o->key->name, value);
    if (result->status == STRATA_MISS) { /* a cache may: so it is after a write of unknown outcome */
        traffic->result->missing += o->floor > 0;
        return;
    }
    if (strcmp(text, expected) != 0 || value < o->floor || value > o->key->sent) wrong(traffic, o, result);
}

static void check_write(op *o, int32_t status, int64_t now) {
    key_state *key = o->key;
    key->writing = false;
    if (status != STRATA_OK) return;
    if (now - key->acked_us >= LOSS_MS * 1000) key->settled = key->acked;
    key->acked = o->value;
    key->acked_us = now;
}

static void ended(void *user, const strata_result *result) {
    op *o = user;
    test_traffic *traffic = o->traffic;
    test_traffic_result *told = traffic->result;
    int64_t now = now_us();
    uint32_t at = slice_at(traffic, now);
    test_slice *slice = &told->slice[at];
    if (o->deadline_us < now) note_overrun(traffic, o->deadline_us, now);
    bool ok = result->status >= 0;
    if (ok) {
        slice->ok++;
        slice->slow += now - o->intended_us >= 1000;
        traffic->latency[at][bucket_of(now - o->intended_us)]++;
        *(o->write ? &told->writes : &told->reads) += 1;
    } else {
        slice->failed++;
        *(o->write ? &slice->writes_failed : &slice->reads_failed) += 1;
        *(o->write ? &told->writes_failed : &told->reads_failed) += 1;
        told->unknown += result->status == STRATA_E_UNKNOWN_OUTCOME;
    }
    if (o->write) check_write(o, result->status, now);
    else if (ok) check_read(traffic, o, result);
    o->next = traffic->free_ops;
    traffic->free_ops = o;
    traffic->pending--;
}

/* ---- making it ---- */

static uint32_t random_below(test_traffic *traffic, uint32_t bound) {
    traffic->random ^= traffic->random << 13;
    traffic->random ^= traffic->random >> 7;
    traffic->random ^= traffic->random << 17;
    return (uint32_t)((traffic->random >> 16) % bound);
}

static void make_one(test_traffic *traffic, int64_t intended_us) {
    op *o = traffic->free_ops;
    if (o != NULL) traffic->free_ops = o->next;
    else o = calloc(1, sizeof *o);
    key_state *key = &traffic->keys[random_below(traffic, traffic->how.keys)];
    *o = (op){.traffic = traffic, .key = key, .intended_us = intended_us};
    int64_t now = now_us();
    o->deadline_us = now + (int64_t)traffic->how.deadline_ms * 1000;
    strata_op_options options = {.struct_size = sizeof options, .deadline_ms = traffic->how.deadline_ms};
    o->write = !key->writing && random_below(traffic, 100) < traffic->how.writes;
    strata_result result = {0};
    int32_t status;
    traffic->pending++;
    if (o->write) {
        char value[64];
        o->value = ++key->sent;
        key->writing = true;
        snprintf(value, sizeof value, "%s:%llu", key->name, (unsigned long long)o->value);
        status = strata_set(traffic->session, traffic->ns, test_bytes(key->name), test_bytes(value), &options, ended, o);
    } else {
        options.flags = STRATA_BYPASS_L1;
        if (now - key->acked_us >= LOSS_MS * 1000) key->settled = key->acked;
        o->floor = traffic->how.may_lose ? key->settled : key->acked;
        status = strata_get(traffic->session, traffic->ns, test_bytes(key->name), &options, &result, ended, o);
    }
    if (status == STRATA_PENDING) return;
    result.status = status;
    ended(o, &result);
    if (status == STRATA_OK && !o->write) strata_result_release(traffic->session, &result);
}

static void *generate(void *argument) {
    test_traffic *traffic = argument;
    traffic->session = test_engine_session(traffic->engine);
    traffic->tids[0] = tid_of("strata-loop");
    traffic->tids[1] = (long)gettid();
    int64_t last = now_us();
    while (!atomic_load(&traffic->stop)) {
        int64_t now = now_us();
        if (now - last > traffic->result->own_pause_us_max) traffic->result->own_pause_us_max = now - last;
        last = now;
        sample_delay(traffic, now);
        uint64_t due = (uint64_t)(now - traffic->began_us) * traffic->how.rate / 1000000;
        for (int burst = 0; traffic->made < due && burst < 64; burst++) {
            make_one(traffic, traffic->began_us + (int64_t)(traffic->made * 1000000 / traffic->how.rate));
            traffic->made++;
        }
        (void)strata_session_dispatch(traffic->session, 0);
        if (traffic->made >= due && strata_session_dispatch(traffic->session, 0) == 0) {
            struct timespec brief = {.tv_nsec = 100000};
            nanosleep(&brief, NULL);
        }
    }
    while (traffic->pending > 0) (void)strata_session_wait(traffic->session, 100);
    strata_session_close(traffic->session);
    return NULL;
}

test_traffic *test_traffic_start(const char *seeds, const char *const *options, const test_traffic_options *how) {
    test_traffic *traffic = calloc(1, sizeof *traffic);
    const char *pairs[32] = {"l2.nodes", seeds, "l2.open_wait", "5s"};
    for (size_t i = 0; options != NULL && options[i] != NULL && i < 26; i++) pairs[4 + i] = options[i];
    assert_in_range(how->keys, 1, KEYS_MAX);
    traffic->how = *how;
    traffic->random = 88172645463325252u;
    traffic->result = calloc(1, sizeof *traffic->result);
    traffic->latency = calloc(TEST_TRAFFIC_SLICES, sizeof *traffic->latency);
    traffic->engine = test_engine_open(pairs, NULL);
    traffic->ns = test_engine_ns(traffic->engine, "traffic");
    for (uint32_t i = 0; i < how->keys; i++) snprintf(traffic->keys[i].name, sizeof traffic->keys[i].name, "t%u", i);
    traffic->began_us = now_us();
    assert_int_equal(pthread_create(&traffic->thread, NULL, generate, traffic), 0);
    return traffic;
}

/* ---- afterwards ---- */

static void read_all(test_traffic *traffic) {
    strata_op_options options = {.struct_size = sizeof options, .flags = STRATA_BYPASS_L1, .deadline_ms = FINAL_MS};
    traffic->session = test_engine_session(traffic->engine);
    for (uint32_t i = 0; i < traffic->how.keys; i++) {
        key_state *key = &traffic->keys[i];
        op o = {.traffic = traffic, .key = key, .floor = traffic->how.may_lose ? key->settled : key->acked};
        strata_result result;
        int32_t status = STRATA_E_UNAVAILABLE;
        for (int attempt = 0; attempt < 20 && status < 0; attempt++) { /* a breaker may still be open */
            if (attempt > 0) test_sleep_ms(250);
            status = strata_get_wait(traffic->session, traffic->ns, test_bytes(key->name), &options, &result);
        }
        if (status < 0) fail_msg("%s: %s in the end", key->name, strata_status_name(status));
        result.status = status;
        check_read(traffic, &o, &result);
        const char *colon = status == STRATA_OK ? memchr(result.value.data, ':', result.value.size) : NULL;
        uint64_t value = colon == NULL ? 0 : strtoull(colon + 1, NULL, 10);
        traffic->result->lost_writes += status == STRATA_OK && value < key->acked;
        if (status == STRATA_OK) strata_result_release(traffic->session, &result);
    }
}

static uint32_t p99_of(const uint32_t latency[BUCKETS], uint32_t count) {
    uint64_t seen = 0;
    for (uint32_t b = 0; b < BUCKETS; b++) {
        seen += latency[b];
        if (seen * 100 >= (uint64_t)count * 99 && count > 0) return bound_us(b);
    }
    return 0;
}

test_traffic_result *test_traffic_stop(test_traffic *traffic) {
    atomic_store(&traffic->stop, 1);
    pthread_join(traffic->thread, NULL);
    test_traffic_result *result = traffic->result;
    result->slices = slice_at(traffic, now_us());
    read_all(traffic);
    for (uint32_t i = 0; i < TEST_TRAFFIC_SLICES; i++)
        result->slice[i].by_intent_p99_us = p99_of(traffic->latency[i], result->slice[i].ok);
    while (traffic->free_ops != NULL) {
        op *o = traffic->free_ops;
        traffic->free_ops = o->next;
        free(o);
    }
    strata_session_close(traffic->session);
    strata_close(traffic->engine, 2000);
    free(traffic->latency);
    free(traffic);
    return result;
}

uint64_t test_traffic_failed(const test_traffic_result *result, int64_t from_ms, int64_t to_ms) {
    uint64_t failed = 0;
    for (int64_t ms = from_ms; ms < to_ms; ms += TEST_TRAFFIC_SLICE_MS)
        failed += result->slice[ms / TEST_TRAFFIC_SLICE_MS % TEST_TRAFFIC_SLICES].failed;
    return failed;
}

uint32_t test_traffic_p99_us(const test_traffic_result *result, int64_t at_ms) {
    return result->slice[at_ms / TEST_TRAFFIC_SLICE_MS % TEST_TRAFFIC_SLICES].by_intent_p99_us;
}

void test_traffic_print(const test_traffic_result *result, const char *title) {
    int first = -1, last = -1;
    for (uint32_t i = 0; i < result->slices; i++) {
        if (result->slice[i].failed == 0) continue;
        if (first < 0) first = (int)i;
        last = (int)i;
    }
    fprintf(stderr,
            "%s: reads %llu (failed %llu), writes %llu (failed %llu, unknown %llu), errors from %d to %d ms; wrong %llu, "
            "missing %llu, lost %llu; past a deadline %lld us at most, %lld us not the machine's, own pause %lld us\n",
            title, (unsigned long long)result->reads, (unsigned long long)result->reads_failed,
            (unsigned long long)result->writes, (unsigned long long)result->writes_failed,
            (unsigned long long)result->unknown, first * TEST_TRAFFIC_SLICE_MS, (last + 1) * TEST_TRAFFIC_SLICE_MS,
            (unsigned long long)result->wrong, (unsigned long long)result->missing,
            (unsigned long long)result->lost_writes,
            (long long)result->overrun_us_max, (long long)result->overrun_own_us_max, (long long)result->own_pause_us_max);
}
