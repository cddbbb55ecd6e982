/* SPDX-License-Identifier: Apache-2.0 */
/* A client process: one thread writes its keys, two read all keys, one makes whole namespaces invalid, and everything that
   ends is written down. */
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
#define NUMBERS (TORMENT_TAGS / TORMENT_KEYS + 1) /* of an entry: its own, its pattern's, its clear's, its tag's */
#define TEXT    200 /* bytes of every second value: enough to be compressed */
#define AGAIN_NS 10000000 /* for so long the same number read again from L1 says nothing new */

/* A number that its writer did not read before the call that may make it invalid began, or that has no meaning for its key:
   judged by nobody. */
#define UNKNOWN UINT64_MAX

typedef struct actor {
    const torment_client *client;
    torment_shared *shared;
    torment_log *log;
    strata *engine;
    strata_namespace *const *spaces;
    uint64_t random;
    int64_t asked_ns;   /* when the present call began */
    history_op *loaded; /* the load that ran within the present call */
    history_op seen;    /* what the last read was answered; n 0: no version */
    strata_bytes tag;   /* of the present call */
    char tag_name[8];
    struct { uint64_t value; int64_t until_ns; } noted[TORMENT_JUDGED]; /* by key: what need not be noted again until then */
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

history_op *torment_record(const torment_client *client, torment_log *log, history_op op) {
    uint64_t place = atomic_fetch_add(&log->count, 1);
    if (place >= TORMENT_OPS_MAX) return NULL;
    history_op *out = &log->ops[place];
    int64_t end_ns = op.end_ns;
    op.end_ns = 0;
    op.process = client->process;
    *out = op;
    atomic_thread_fence(memory_order_release);
    out->end_ns = end_ns;
    return out;
}

static history_op *record(actor *me, history_op op) { return torment_record(me->client, me->log, op); }

/* ---- numbers and tags ---- */

static strata_bytes put_numbers(char text[TEXT], uint32_t key, const uint64_t numbers[NUMBERS]) {
    int size = snprintf(text, TEXT, "%llu %llu %llu %llu ", (unsigned long long)numbers[0], (unsigned long long)numbers[1],
                        (unsigned long long)numbers[2], (unsigned long long)numbers[3]);
    memset(text + size, '.', TEXT - (size_t)size);
    return (strata_bytes){text, key % 2 == 0 ? TEXT : (size_t)size};
}

/* False where it is not what put_numbers made. */
static bool take_numbers(strata_bytes value, uint32_t key, uint64_t numbers[NUMBERS]) {
    char text[TEXT + 1] = "", again[TEXT], *at = text;
    if (value.size > TEXT) return false;
    memcpy(text, value.data, value.size);
    for (int i = 0; i < NUMBERS; i++) numbers[i] = strtoull(at, &at, 10);
    strata_bytes same = put_numbers(again, key, numbers);
    return same.size == value.size && memcmp(again, text, same.size) == 0;
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

/* A read of a key is one of the other numbers in its entry too. What L2 answers is judged beside all that it may have joined. */
static void record_more(actor *me, history_op op, const uint64_t numbers[NUMBERS]) {
    uint32_t key = op.key;
    bool l1 = op.source == STRATA_FROM_L1;
    op.n = op.id = 0;
    for (uint32_t i = 1; i < NUMBERS; i++) {
        op.key = i * TORMENT_KEYS + (i + 1 < NUMBERS ? key : key / 3);
        op.value = numbers[i];
        bool noted = me->noted[op.key].value == op.value && op.start_ns < me->noted[op.key].until_ns;
        if (l1 ? op.value == UNKNOWN || noted : i + 1 == NUMBERS && !torment_is_tagged(key)) continue;
        me->noted[op.key].value = op.value;
        me->noted[op.key].until_ns = op.start_ns + AGAIN_NS;
        record(me, op);
    }
}

void torment_tell_divergent(const torment_client *client, torment_shared *shared, const strata_namespace *plain) {
    int64_t values[512];
    size_t count = strata_metric_count(), metric = 0;
    strata_metric about;
    if (count > sizeof values / sizeof values[0] || strata_stats_namespace(plain, values, count) != STRATA_OK) abort();
    while (metric < count && (strata_metric_describe(metric, &about) != STRATA_OK || strcmp(about.name, "audit.divergent") != 0)) metric++;
    if (metric == count) abort();
    uint32_t process = client->process % TORMENT_PROCESSES;
    for (uint64_t n = atomic_load(&shared->divergent[process].count); n < (uint64_t)values[metric]; n++) {
        atomic_store(&shared->divergent[process].at_ns[n % TORMENT_DIVERGENT], torment_now_ns());
        atomic_store(&shared->divergent[process].count, n + 1);
    }
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
        op.key = TORMENT_TAGS + k / 3;
        if (torment_is_tagged(k) && torment_tag_of(k) == tag) record(me, op);
    }
}

/* All of a namespace: whoever does it raises its number first. */
static void invalidate_space(actor *me, strata_session *session, torment_space space, bool by_pattern, bool tenant) {
    _Atomic uint64_t *number = by_pattern ? &me->shared->swept[space] : &me->shared->cleared[space];
    history_op op = {.kind = HISTORY_INVALIDATE, .value = atomic_fetch_add(number, 1) + 1};
    op.start_ns = torment_now_ns();
    int32_t status = by_pattern ? torment_space_sweep(session, me->spaces[space], space, tenant, me->shared)
                                : torment_space_clear(session, me->spaces[space]);
    op.end_ns = torment_now_ns();
    if (status != STRATA_OK) op.kind = HISTORY_FAILED_WRITE;
    for (uint32_t k = 0; k < TORMENT_KEYS; k++) {
        op.key = (by_pattern ? TORMENT_SWEPT : TORMENT_CLEARED) + k;
        if (torment_space_of(k) == space) record(me, op);
    }
}

/* ---- operations ---- */

/* Of a guarded key's value: OLDEST is that of none. */
#define OLDEST 1
static uint64_t app_version(uint64_t number) { return number + OLDEST + 1; }

static void load_truth(strata_load *load, void *user) {
    actor *me = user;
    char text[TEXT];
    history_op op = {.kind = HISTORY_LOAD, .key = torment_key_of(strata_load_key(load)), .start_ns = torment_now_ns()};
    torment_space space = torment_space_of(op.key);
    uint64_t numbers[NUMBERS] = {atomic_load(&me->shared->truth[op.key]), atomic_load(&me->shared->swept[space]),
                                 atomic_load(&me->shared->cleared[space]),
                                 torment_is_tagged(op.key) ? atomic_load(&me->shared->tags[torment_tag_of(op.key)]) : UNKNOWN};
    op.value = numbers[0];
    if (space == TORMENT_PLAIN) numbers[1] = numbers[2] = UNKNOWN; /* its number alone says which bytes there are: they are audited */
    /* Elsewhere loads may run beside each other: refreshes, and those whose lease a pattern took. */
    op.said_us = space == TORMENT_PLAIN ? (uint32_t)((op.start_ns - me->asked_ns) / 1000) : UINT32_MAX;
    uint64_t dice = torment_random(&me->random) % 16;
    if (dice < 6) torment_sleep_ms((int64_t)(dice * dice * 4)); /* up to 100 ms */
    else if (torment_random(&me->random) % 32 == 0) torment_sleep_ms(400 + (int64_t)(torment_random(&me->random) % 1000)); /* over a failover */
    if (space == TORMENT_FAILING && torment_random(&me->random) % 2 == 0) {
        strata_load_finish(load, STRATA_E_LOAD_FAILED, (strata_bytes){NULL, 0}, NULL);
        return;
    }
    op.end_ns = torment_now_ns();
    me->loaded = record(me, op);
    strata_load_result details = {.struct_size = sizeof details, .app_version = space == TORMENT_GUARDED ? app_version(op.value) : 0};
    if (space == TORMENT_GUARDED && torment_is_absent(op.value)) strata_load_finish(load, STRATA_MISS, (strata_bytes){NULL, 0}, &details);
    else strata_load_finish(load, STRATA_OK, put_numbers(text, op.key, numbers), &details);
}

static void record_read(actor *me, history_op op, const strata_result *result) {
    uint64_t numbers[NUMBERS];
    if (!take_numbers(result->value, op.key, numbers)) {
        atomic_fetch_add(&me->shared->damaged, 1);
        return;
    }
    op.value = numbers[0];
    op.n = result->version_n;
    op.id = result->version_id;
    op.source = result->source;
    op.written = numbers[1] == UNKNOWN; /* not by a load, which knows that one */
    op.said_us = result->staleness_us < UINT32_MAX ? (uint32_t)result->staleness_us : 0;
    if (result->reason == STRATA_REASON_FAILED || result->reason == STRATA_REASON_SLOW) op.allowed_ms = TORMENT_FAILING_MS;
    else if (result->reason == STRATA_REASON_UNPROVEN) op.allowed_ms = TORMENT_UNPROVEN_MS;
    /* A load's result has a version where L2 took it. What ages is also loaded while others load it. */
    bool mine = me->loaded != NULL && me->loaded->key == op.key && torment_space_of(op.key) <= TORMENT_GROUPED;
    if (mine && op.source == STRATA_FROM_LOADER && op.id != 0) me->loaded->filled = 1;
    me->seen = op;
    record(me, op);
    record_more(me, op, numbers);
}

static void record_failed(actor *me, history_op op) {
    op.kind = HISTORY_FAILED_READ;
    record(me, op);
    op.key += TORMENT_SWEPT;
    record(me, op);
}

/* That there is nothing names no number: it is taken for the latest that it may be. */
static void record_absent(actor *me, history_op op, uint8_t source) {
    uint64_t truth = atomic_load(&me->shared->truth[op.key]);
    while (truth > 0 && !torment_is_absent(truth)) truth--;
    if (truth == 0) atomic_fetch_add(&me->shared->damaged, 1);
    op.value = truth;
    op.source = source;
    atomic_fetch_add(&me->shared->absent, 1);
    record(me, op);
}

/* A read of a guarded key. */
typedef struct guarded_read {
    actor *me;
    history_op op;
    bool done;
} guarded_read;

static void take_guarded(void *user, const strata_result *result) {
    guarded_read *r = user;
    r->done = true;
    r->op.end_ns = torment_now_ns();
    if (result->status == STRATA_OK || result->status == STRATA_STALE) record_read(r->me, r->op, result);
    else if (result->status == STRATA_MISS && result->reason == STRATA_REASON_ABSENT) record_absent(r->me, r->op, result->source);
    else record_failed(r->me, r->op);
}

/* Not by the call that waits, which does not say who says that there is nothing. */
static void read_guarded(actor *me, strata_session *session, history_op op, const strata_op_options *options) {
    guarded_read r = {me, op, false};
    strata_result result = {.status = STRATA_OK};
    int32_t status = strata_get_or_load(session, me->spaces[TORMENT_GUARDED], test_bytes(torment_key_name(op.key)), options, load_truth, me,
                                        &result, take_guarded, &r);
    if (status == STRATA_PENDING) {
        while (!r.done) (void)strata_session_wait(session, 50);
        return;
    }
    bool shown = status == STRATA_OK || status == STRATA_STALE;
    if (!shown) result = (strata_result){.status = status, .source = STRATA_FROM_L1, .reason = status == STRATA_MISS ? STRATA_REASON_ABSENT : 0};
    take_guarded(&r, &result);
    if (shown) strata_result_release(session, &result);
}

static void read_one(actor *me, strata_session *session, uint32_t key) {
    const char *name = torment_key_name(key);
    strata_namespace *ns = me->spaces[torment_space_of(key)];
    strata_op_options options = options_for(me, key);
    uint64_t dice = torment_random(&me->random) % 64;
    bool peace = atomic_load(&me->shared->peace) != 0; /* then what L2 has is looked for: it shows which writes a failover did not lose */
    if (peace ? dice < 8 : dice == 0) options.flags = STRATA_BYPASS_L1;
    strata_result result;
    history_op op = {.kind = HISTORY_READ, .key = key, .start_ns = torment_now_ns()};
    me->loaded = NULL;
    me->seen = (history_op){0};
    me->asked_ns = op.start_ns;
    bool foreign = torment_space_of(key) == TORMENT_FOREIGN; /* nothing that is loaded is kept there */
    if (torment_space_of(key) == TORMENT_GUARDED && dice >= 12) {
        read_guarded(me, session, op, &options);
        return;
    }
    int32_t status = dice < 12 || foreign ? strata_get_wait(session, ns, test_bytes(name), &options, &result)
                               : strata_get_or_load_wait(session, ns, test_bytes(name), &options, load_truth, me, &result);
    op.end_ns = torment_now_ns();
    if (status != STRATA_OK && status != STRATA_STALE) {
        record_failed(me, op);
        return;
    }
    atomic_fetch_add(&me->shared->foreign, foreign);
    record_read(me, op, &result);
    strata_result_release(session, &result);
}

static void record_write(actor *me, history_op op, bool set, int32_t status, const strata_result *result) {
    op.kind = status != STRATA_OK ? HISTORY_FAILED_WRITE : set ? HISTORY_SET : HISTORY_INVALIDATE;
    op.invalidates = !set && status != STRATA_OK && status != STRATA_E_OVERLOADED;
    if (set && status == STRATA_OK) {
        op.n = result->version_n;
        op.id = result->version_id;
    }
    record(me, op);
}

/* What the writer stores now: of the numbers that others raise it knows nothing. */
static strata_bytes raise_truth(actor *me, char text[TEXT], uint32_t key, history_op *op) {
    op->key = key;
    op->value = atomic_fetch_add(&me->shared->truth[key], 1) + 1;
    uint64_t numbers[NUMBERS] = {op->value, UNKNOWN, UNKNOWN, UNKNOWN};
    return put_numbers(text, key, numbers);
}

/* Any of the keys that everybody writes, over what a read of it just answered, which may be another by now. */
static void swap_one(actor *me, strata_session *session, uint32_t key) {
    char text[TEXT];
    read_one(me, session, key);
    if (me->seen.n == 0) return;
    const char *name = torment_key_name(key);
    strata_op_options options = options_for(me, key);
    strata_result result;
    history_op op = {.before = me->seen.id};
    strata_bytes value = raise_truth(me, text, key, &op);
    op.start_ns = torment_now_ns();
    int32_t status = strata_set_if_version_wait(session, me->spaces[TORMENT_SWAPPED], test_bytes(name), value, me->seen.n, me->seen.id,
                                                &options, &result);
    op.end_ns = torment_now_ns();
    atomic_fetch_add(status == STRATA_CONFLICT ? &me->shared->refused : &me->shared->swapped, status == STRATA_CONFLICT || status == STRATA_OK);
    if (status != STRATA_CONFLICT) {
        record_write(me, op, true, status, &result);
        return;
    }
    op.kind = HISTORY_REFUSED;
    record(me, op);
}

/* Mostly a few, so that clients meet. */
static void swap_some(actor *me, strata_session *session) {
    for (int i = 0; i < 6; i++) {
        uint64_t dice = torment_random(&me->random);
        uint32_t place = (uint32_t)(dice / 4 % (dice % 4 != 0 ? 2 : TORMENT_KEYS / TORMENT_SPACES));
        swap_one(me, session, (place / TORMENT_CLIENTS * TORMENT_SPACES + TORMENT_SWAPPED) * TORMENT_CLIENTS + place % TORMENT_CLIENTS);
    }
}

/* A guarded key: set, if it is newer, or as what is older than anything; added; or invalidated, where the source has nothing now. */
static void guard_one(actor *me, strata_session *session, uint32_t key) {
    enum { SET, ADD, NEWER, OLDER, KINDS };
    strata_namespace *ns = me->spaces[TORMENT_GUARDED];
    strata_bytes name = test_bytes(torment_key_name(key));
    strata_op_options options = options_for(me, key);
    uint64_t kind = torment_random(&me->random) % KINDS;
    char text[TEXT];
    history_op op = {0};
    strata_result result;
    strata_bytes value = raise_truth(me, text, key, &op);
    bool set = !torment_is_absent(op.value);
    if (set) options.app_version = kind == OLDER ? OLDEST : app_version(op.value);
    op.yields = set && (kind == ADD || kind == OLDER);
    op.start_ns = torment_now_ns();
    int32_t status = !set         ? strata_invalidate_wait(session, ns, name, &options)
                     : kind == SET ? strata_set_wait(session, ns, name, value, &options, &result)
                     : kind == ADD ? strata_add_wait(session, ns, name, value, &options, &result)
                                   : strata_set_if_newer_wait(session, ns, name, value, &options, &result);
    op.end_ns = torment_now_ns();
    if (status != STRATA_EXISTS && status != STRATA_CONFLICT) {
        record_write(me, op, set, status, &result);
        return;
    }
    op.kind = HISTORY_REFUSED;
    record(me, op);
    atomic_fetch_add(&me->shared->yielded, 1);
}

/* A plain key: nobody owes what failed, or what a failover lost, so that it counts as a set. */
static void write_foreign(actor *me, strata_session *session, uint32_t key) {
    strata_bytes name = test_bytes(torment_key_name(key));
    strata_op_options options = options_for(me, key);
    bool set = torment_random(&me->random) % 3 != 0;
    char text[TEXT];
    history_op op = {0};
    strata_result result;
    strata_bytes value = raise_truth(me, text, key, &op);
    op.start_ns = torment_now_ns();
    int32_t status = set ? strata_set_wait(session, me->spaces[TORMENT_FOREIGN], name, value, &options, &result)
                         : strata_invalidate_wait(session, me->spaces[TORMENT_FOREIGN], name, &options);
    op.end_ns = torment_now_ns();
    op.kind = status == STRATA_OK ? HISTORY_SET : HISTORY_FAILED_WRITE;
    record(me, op);
}

static void write_one(actor *me, strata_session *session, uint32_t key) {
    char text[TEXT];
    bool swapped = torment_space_of(key) == TORMENT_SWAPPED;
    if (swapped && torment_random(&me->random) % 16 != 0) {
        swap_some(me, session);
        return;
    }
    if (torment_space_of(key) >= TORMENT_GUARDED) {
        if (torment_space_of(key) == TORMENT_GUARDED) guard_one(me, session, key);
        else write_foreign(me, session, key);
        return;
    }
    const char *name = torment_key_name(key);
    strata_namespace *ns = me->spaces[torment_space_of(key)];
    strata_op_options options = options_for(me, key);
    bool set = !swapped && torment_random(&me->random) % 2 == 0;
    strata_result result;
    history_op op = {0};
    strata_bytes value = raise_truth(me, text, key, &op);
    op.start_ns = torment_now_ns();
    int32_t status = set ? strata_set_wait(session, ns, test_bytes(name), value, &options, &result)
                         : strata_invalidate_wait(session, ns, test_bytes(name), &options);
    op.end_ns = torment_now_ns();
    record_write(me, op, set, status, &result);
}

#define MANY (TORMENT_KEYS / TORMENT_CLIENTS / TORMENT_SPACES)

/* All keys of a namespace that are its to write, at once; two of them are of one partition. */
static void write_many(actor *me, strata_session *session, torment_space space) {
    char texts[MANY][TEXT];
    strata_bytes keys[MANY], values[MANY];
    strata_result results[MANY];
    history_op ops[MANY] = {{0}};
    strata_op_options options = {.struct_size = sizeof options, .deadline_ms = TORMENT_DEADLINE_MS};
    for (uint32_t i = 0; i < MANY; i++) {
        uint32_t key = (i * TORMENT_SPACES + space) * TORMENT_CLIENTS + me->client->index;
        keys[i] = test_bytes(torment_key_name(key));
        values[i] = raise_truth(me, texts[i], key, &ops[i]);
    }
    int64_t start_ns = torment_now_ns();
    int32_t status = strata_mset_wait(session, me->spaces[space], keys, values, MANY, &options, results);
    int64_t end_ns = torment_now_ns();
    for (uint32_t i = 0; i < MANY; i++) {
        ops[i].start_ns = start_ns;
        ops[i].end_ns = end_ns;
        record_write(me, ops[i], true, status == STRATA_OK ? results[i].status : status, &results[i]);
    }
}

/* ---- threads ---- */

static void *read_all(void *argument) {
    actor *me = argument;
    strata_session *session = test_engine_session(me->engine);
    while (!atomic_load(&me->shared->stop)) {
        /* Some keys are read all the time, some seldom: those show what was forgotten. */
        uint64_t dice = torment_random(&me->random);
        uint32_t key = (uint32_t)(dice % 4 != 0 ? dice / 4 % (TORMENT_KEYS / 2) : dice / 4 % TORMENT_KEYS);
        read_one(me, session, key);
        if (dice % 3 == 0) torment_sleep_ms(1);
    }
    strata_session_close(session);
    return NULL;
}

static bool in_peace(const actor *me) {
    if (!atomic_load(&me->shared->peace)) return false;
    torment_sleep_ms(5);
    return true;
}

/* Seldom enough for entries to be old by then. */
static void *clear_all(void *argument) {
    actor *me = argument;
    strata_session *session = test_engine_session(me->engine);
    int64_t next_ns = torment_now_ns();
    while (!atomic_load(&me->shared->stop)) {
        if (in_peace(me)) continue;
        torment_sleep_ms(5);
        if (torment_now_ns() < next_ns) continue;
        uint64_t dice = torment_random(&me->random);
        torment_space space = (torment_space)(TORMENT_GROUPED + dice % (TORMENT_GUARDED - TORMENT_GROUPED));
        invalidate_space(me, session, space, dice / 8 % 3 == 0, dice / 24 % 2 == 0);
        next_ns = torment_now_ns() + (int64_t)(500 + dice / 64 % 4000) * 1000000;
    }
    strata_session_close(session);
    return NULL;
}

static void write_all(actor *me) {
    strata_session *session = test_engine_session(me->engine);
    while (!atomic_load(&me->shared->stop)) {
        if (in_peace(me)) continue;
        uint64_t dice = torment_random(&me->random);
        if (dice / 64 % 12 == 0) invalidate_tag(me, session);
        if (dice / 128 % 8 == 0) write_many(me, session, (torment_space)(dice / 4096 % TORMENT_SWAPPED));
        uint32_t key = (uint32_t)(dice / 16 % (TORMENT_KEYS / TORMENT_CLIENTS)) * TORMENT_CLIENTS + me->client->index;
        write_one(me, session, key);
        if (dice % 4 == 0) read_one(me, session, key);
        if (dice % 16 == 1) write_one(me, session, key); /* at once again */
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
    if (shared == NULL || log == NULL || !torment_keys_init()) _exit(2);
    clock_steps = shared;
    strata *engine = test_engine_open(TEST_OPTIONS("l2.nodes", client->seeds, "l2.open_wait", "10s", "coherence.partitions",
                                                   partitions, "coherence.lease", lease, "coherence.max_staleness",
                                                   staleness, "l1.bytes", "16MiB", "coherence.beat_counters",
                                                   client->seed % 2 == 0 ? "1" : "256", "coherence.value_bytes_max",
                                                   client->seed % 3 == 1 ? "512" : "0", "coherence.audit_per_s", "100",
                                                   "flow.compress", client->seed % 2 == 0 ? "lz4" : "zstd",
                                                   "flow.compress_min", "64"),
                                      NULL);
    strata_namespace *spaces[TORMENT_SPACES];
    for (int i = 0; i < TORMENT_SPACES; i++)
        if ((spaces[i] = torment_space_open(engine, (torment_space)i)) == NULL) _exit(2);
    static actor actors[READERS + 2];
    pthread_t threads[READERS + 2];
    for (uint32_t i = 0; i < READERS + 2; i++)
        actors[i] = (actor){.client = client, .shared = shared, .log = log, .engine = engine, .spaces = spaces,
                            .random = client->seed * 1000 + client->process * 10 + i};
    for (int i = 0; i <= READERS; i++) pthread_create(&threads[i], NULL, i < READERS ? read_all : clear_all, &actors[i]);
    torment_contender contender = {client, shared, log, engine, spaces, client->seed * 1000 + client->process * 10 + 9};
    pthread_create(&threads[READERS + 1], NULL, torment_contend, &contender);
    atomic_fetch_add(&shared->ready, 1);
    write_all(&actors[READERS + 1]);
    for (int i = 0; i <= READERS + 1; i++) pthread_join(threads[i], NULL);
    atomic_fetch_add(&shared->packed, (uint64_t)test_metric(engine, "flow.compressed"));
    atomic_fetch_add(&shared->audited, (uint64_t)test_metric(engine, "audit.checked"));
    torment_tell_divergent(client, shared, spaces[TORMENT_PLAIN]);
    int32_t status = strata_close(engine, 2000);
    exit(status == STRATA_E_INVALID ? 1 : 0);
}
