/* SPDX-License-Identifier: Apache-2.0 */
/* The load loops, and what happens when an operation ends. */
#include "bench/worker.h"

#include <math.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

/* How many operations are started between two looks at completions. */
#define STARTS_PER_DISPATCH 8u
#define DRAIN_SECONDS_MAX   15

static void count_failure(bench_worker *worker, bench_outcome outcome, int32_t status) {
    uint32_t index = status < 0 && status > -(int32_t)BENCH_STATUSES_MAX ? (uint32_t)-status : 0;
    bench_count_add(&worker->numbers->failures[outcome][index], 1);
}

static void record(bench_worker *worker, const bench_slot *slot, bench_outcome outcome, int64_t end_ns) {
    bench_histogram_add(&worker->numbers->latency[outcome], end_ns - slot->intended_ns);
    if (bench_run_is_open(worker->run))
        bench_histogram_add(&worker->numbers->service[outcome], end_ns - slot->began_ns);
}

static void release_slot(bench_slot *slot) {
    slot->next_free = slot->worker->free_slots;
    slot->worker->free_slots = slot;
    slot->worker->outstanding--;
    bench_count_add(&slot->worker->numbers->completed, 1);
}

static void judge(bench_worker *worker, const bench_slot *slot, const strata_result *result) {
    bench_run *run = worker->run;
    bench_read read = {.process = worker->process,
                       .key = slot->key,
                       .began_ns = slot->began_ns,
                       .floor = slot->floor,
                       .bytes = result->value.data,
                       .size = result->value.size,
                       .declared_stale = result->status == STRATA_STALE,
                       .cached = result->source != STRATA_FROM_LOADER || result->version_n != 0};
    uint32_t version = 0, rows[BENCH_TAGS_MAX];
    read.tag_rows = rows;
    read.tag_count = bench_run_tag_rows(run, slot->key, rows);
    read.tag_floor = slot->tag_floor;
    bench_verdict verdict = BENCH_VERDICT_ABSENT;
    if (result->status != STRATA_MISS)
        verdict =
            bench_verify_read(&run->database, &read, bench_workload_value_bytes, &run->workload, &version);
    bench_count_add(&worker->numbers->verdicts[verdict], 1);
    int64_t overtaken_ns = verdict == BENCH_VERDICT_GOOD && !read.declared_stale ? bench_database_overtaken_ns(&run->database, slot->key, version) : 0;
    if (overtaken_ns != 0 && overtaken_ns < slot->began_ns) bench_histogram_add(&worker->numbers->staleness, slot->began_ns - overtaken_ns);
    if (verdict != BENCH_VERDICT_GOOD) bench_run_note(run, &read, verdict, version, result->source);
}

/* Ends a read: times it by the tier that answered, then judges it. */
static void end_read(bench_slot *slot, const strata_result *result, int64_t end_ns) {
    bench_worker *worker = slot->worker;
    if (result->status < 0) {
        count_failure(worker, BENCH_OUTCOME_LOAD, result->status);
        return;
    }
    if (result->status == STRATA_MISS && slot->plain) {
        record(worker, slot, BENCH_OUTCOME_MISS, end_ns);
        return;
    }
    bench_outcome outcome = result->source == STRATA_FROM_L1   ? BENCH_OUTCOME_L1
                            : result->source == STRATA_FROM_L2 ? BENCH_OUTCOME_L2
                                                               : BENCH_OUTCOME_LOAD;
    record(worker, slot, outcome, end_ns);
    bench_count_add(&worker->numbers->value_bytes_read, result->value.size);
    if (result->status == STRATA_STALE) bench_count_add(&worker->numbers->declared_stale, 1);
    judge(worker, slot, result);
}

static void read_done(void *user, const strata_result *result) {
    bench_slot *slot = user;
    end_read(slot, result, bench_now_ns());
    release_slot(slot);
}

static void end_write(bench_slot *slot, int32_t status, int64_t end_ns) {
    bench_worker *worker = slot->worker;
    bench_database_write_end(&worker->run->database, worker->process, slot->key, slot->version,
                             status == STRATA_OK, end_ns);
    if (status == STRATA_OK)
        record(worker, slot, slot->outcome, end_ns);
    else
        count_failure(worker, slot->outcome, status);
}

static void write_done(void *user, const strata_result *result) {
    bench_slot *slot = user;
    end_write(slot, result->status, bench_now_ns());
    release_slot(slot);
}

static void start_read(bench_slot *slot, strata_bytes key, const strata_op_options *options,
                       int64_t intended_ns) {
    bench_worker *worker = slot->worker;
    strata_result result;
    uint32_t rows[BENCH_TAGS_MAX], tags = bench_run_tag_rows(worker->run, slot->key, rows);
    slot->floor = bench_database_floor(&worker->run->database, worker->process, slot->key);
    slot->tag_floor = bench_tags_own(&worker->run->database, worker->process, rows, tags);
    slot->began_ns = bench_now_ns();
    slot->intended_ns = intended_ns != 0 ? intended_ns : slot->began_ns;
    int32_t status = slot->plain ? strata_get(worker->session, worker->ns, key, options, &result, read_done, slot)
                                 : strata_get_or_load(worker->session, worker->ns, key, options, bench_loader_load,
                                                      worker->loader, &result, read_done, slot);
    if (status == STRATA_PENDING) return;
    int64_t end_ns = bench_now_ns();
    if (status == STRATA_OK || status == STRATA_STALE) {
        end_read(slot, &result, end_ns);
        strata_result_release(worker->session, &result);
    } else {
        end_read(slot, &(strata_result){.status = status}, end_ns);
    }
    release_slot(slot);
}

/* version is what write_begin gave. */
static void start_write(bench_slot *slot, strata_bytes key, const strata_op_options *options, bool set,
                        int64_t intended_ns) {
    bench_worker *worker = slot->worker;
    uint32_t size = bench_workload_value_bytes(&worker->run->workload, slot->key, slot->version);
    if (set) bench_value_make(worker->value, slot->key, slot->version, size);
    slot->outcome = set ? BENCH_OUTCOME_SET : BENCH_OUTCOME_INVALIDATE;
    slot->began_ns = bench_now_ns();
    slot->intended_ns = intended_ns != 0 ? intended_ns : slot->began_ns;
    int32_t status = set ? strata_set(worker->session, worker->ns, key, (strata_bytes){worker->value, size},
                                      options, write_done, slot)
                         : strata_invalidate(worker->session, worker->ns, key, options, write_done, slot);
    if (status == STRATA_PENDING) return;
    end_write(slot, status, bench_now_ns());
    release_slot(slot);
}

/* The tags of a value, or the one to be invalidated, as the cache sees them. They are shared by all namespaces. */
typedef struct named_tags {
    char text[BENCH_TAGS_MAX][64];
    strata_bytes list[BENCH_TAGS_MAX];
    uint32_t count;
} named_tags;

static void name_tag(const bench_run *run, named_tags *named, uint32_t tag) {
    int size = snprintf(named->text[named->count], sizeof named->text[0], "%s:%u", run->namespace_name, tag);
    named->list[named->count] = (strata_bytes){named->text[named->count], (size_t)size};
    named->count++;
}

/* A tag's row is written like a key's; the slot has its version. */
static void start_tag(bench_slot *slot, uint32_t tag, const strata_op_options *options, int64_t intended_ns) {
    bench_worker *worker = slot->worker;
    named_tags named = {.count = 0};
    name_tag(worker->run, &named, tag);
    slot->outcome = BENCH_OUTCOME_TAG;
    slot->began_ns = bench_now_ns();
    slot->intended_ns = intended_ns != 0 ? intended_ns : slot->began_ns;
    int32_t status = strata_invalidate_tags(worker->session, named.list, 1, options, write_done, slot);
    if (status == STRATA_PENDING) return;
    end_write(slot, status, bench_now_ns());
    release_slot(slot);
}

/* Starts one operation in a free slot. intended_ns: 0 for now. */
static void start(bench_worker *worker, const bench_operation *operation, int64_t intended_ns) {
    const bench_run *run = worker->run;
    char key_text[BENCH_KEY_BYTES_MAX];
    uint32_t tags[BENCH_TAGS_MAX];
    named_tags named;
    bench_slot *slot = worker->free_slots;
    worker->free_slots = slot->next_free;
    worker->outstanding++;
    slot->plain = operation->kind == BENCH_GET;
    slot->key = operation->kind == BENCH_TAG ? bench_run_tag_row(run, operation->key) : operation->key;
    strata_op_options options = {
        .struct_size = sizeof options, .deadline_ms = (uint32_t)run->settings.deadline_ms, .ttl_ms = operation->ttl_ms};
    if (operation->kind == BENCH_SET || operation->kind == BENCH_READ) {
        uint32_t count = bench_workload_tags(&run->workload, operation->key, tags);
        named.count = 0;
        for (uint32_t i = 0; i < count; i++) name_tag(run, &named, tags[i]);
        options.tags = count > 0 ? named.list : NULL;
        options.tag_count = count;
    }
    strata_bytes key = {key_text, bench_key_encode(&run->workload, slot->key, key_text)};
    if (operation->kind != BENCH_READ && operation->kind != BENCH_GET) {
        slot->version = bench_database_write_begin(&worker->run->database, worker->process, slot->key);
        if (slot->version != 0 && operation->kind == BENCH_TAG) {
            start_tag(slot, operation->key, &options, intended_ns);
            return;
        }
        if (slot->version != 0) {
            start_write(slot, key, &options, operation->kind == BENCH_SET, intended_ns);
            return;
        }
        bench_count_add(&worker->numbers->contended, 1);
        if (operation->kind == BENCH_TAG) { /* somebody else is at it */
            release_slot(slot);
            return;
        }
    }
    start_read(slot, key, &options, intended_ns);
}

static void clear_numbers(bench_numbers *numbers) {
    for (int i = 0; i < BENCH_OUTCOME_COUNT; i++) {
        bench_histogram_clear(&numbers->latency[i]);
        bench_histogram_clear(&numbers->service[i]);
    }
    bench_histogram_clear(&numbers->send_lag);
    bench_histogram_clear(&numbers->staleness);
    atomic_store(&numbers->value_bytes_read, 0);
    atomic_store(&numbers->contended, 0);
}

/* Whether the run goes on; also begins to record where the warm-up is over. */
static bool goes_on(bench_worker *worker, int64_t now_ns) {
    bench_shared *shared = worker->run->shared;
    if (!worker->recording && now_ns >= atomic_load(&shared->record_ns)) {
        worker->recording = true;
        clear_numbers(worker->numbers);
    }
    return atomic_load(&shared->stop) == 0 && now_ns < atomic_load(&shared->end_ns);
}

static void run_closed(bench_worker *worker) {
    bench_operation operation;
    while (goes_on(worker, bench_now_ns())) {
        for (uint32_t i = 0; i < STARTS_PER_DISPATCH && worker->free_slots != NULL; i++) {
            if (!bench_stream_next(&worker->stream, &operation)) return;
            start(worker, &operation, 0);
        }
        if (worker->free_slots == NULL)
            (void)strata_session_wait(worker->session, 50);
        else if (worker->outstanding > 0)
            (void)strata_session_dispatch(worker->session, 0);
    }
}

/* Sleeps until a time, or until completions are there. */
static void wait_until(bench_worker *worker, int64_t until_ns) {
    struct pollfd poll_on = {.fd = strata_session_fd(worker->session), .events = POLLIN};
    int64_t left_ns = until_ns - bench_now_ns();
    if (left_ns <= 0) return;
    if (left_ns > 50 * BENCH_NS_PER_MS) left_ns = 50 * BENCH_NS_PER_MS;
    struct timespec timeout = {left_ns / BENCH_NS_PER_S, left_ns % BENCH_NS_PER_S};
    (void)ppoll(&poll_on, 1, &timeout, NULL);
}

/* The rate that is asked for at a time, of all threads. */
static double rate_at(const bench_worker *worker, int64_t now_ns) {
    const bench_settings *settings = &worker->run->settings;
    if (settings->ramp_to <= 0) return settings->rate;
    double since_s = (double)(now_ns - atomic_load(&worker->run->shared->record_ns)) / 1e9, part = since_s / settings->seconds;
    return settings->rate + (settings->ramp_to - settings->rate) * (part < 0 ? 0 : part > 1 ? 1 : part);
}

static int64_t next_gap_ns(bench_worker *worker, int64_t due_ns) {
    const bench_settings *settings = &worker->run->settings;
    double mean_ns = (double)BENCH_NS_PER_S * (double)(settings->processes * settings->threads) / rate_at(worker, due_ns);
    if (settings->arrivals == BENCH_ARRIVALS_CONSTANT) return (int64_t)mean_ns;
    return (int64_t)(-log(1 - bench_random_unit(&worker->arrivals)) * mean_ns);
}

/* When the first operation is due. A process that takes the place of one that was killed does not make up for what was missed. */
static int64_t first_due_ns(bench_worker *worker) {
    const bench_settings *settings = &worker->run->settings;
    uint64_t rank = (uint64_t)worker->process * settings->threads + worker->thread;
    int64_t start_ns = atomic_load(&worker->run->shared->start_ns), now_ns = bench_now_ns();
    if (worker->run->shared->processes[worker->process].restarted) return now_ns > start_ns ? now_ns : start_ns;
    /* Threads take turns instead of starting all at the same moment. */
    return start_ns + (int64_t)((double)BENCH_NS_PER_S * (double)rank / settings->rate);
}

/* Draws the next operation and when it is due; false at the end. */
static bool next_due(bench_worker *worker, bench_operation *operation, int64_t *due_ns) {
    const bench_settings *settings = &worker->run->settings;
    if (!bench_stream_next(&worker->stream, operation)) return false;
    if (settings->speed > 0)
        *due_ns = atomic_load(&worker->run->shared->start_ns) + (int64_t)((double)operation->due_us / settings->speed * 1000);
    else *due_ns = *due_ns == 0 ? first_due_ns(worker) : *due_ns + next_gap_ns(worker, *due_ns);
    return true;
}

static void run_open(bench_worker *worker) {
    bench_operation operation;
    int64_t due_ns = 0;
    bool drawn = false;
    for (int64_t now_ns = bench_now_ns(); goes_on(worker, now_ns); now_ns = bench_now_ns()) {
        if (!drawn && !next_due(worker, &operation, &due_ns)) return;
        drawn = true;
        if (worker->free_slots == NULL) {
            (void)strata_session_wait(worker->session, 1);
        } else if (now_ns < due_ns) {
            wait_until(worker, due_ns);
            (void)strata_session_dispatch(worker->session, 0);
        } else {
            bench_histogram_add(&worker->numbers->send_lag, now_ns - due_ns);
            start(worker, &operation, due_ns);
            drawn = false;
            if (++worker->dispatch_count % STARTS_PER_DISPATCH == 0)
                (void)strata_session_dispatch(worker->session, 0);
        }
    }
}

/* Onto a CPU of its own as long as there are enough. */
static void pin(const bench_worker *worker) {
    const bench_settings *settings = &worker->run->settings;
    cpu_set_t allowed, one;
    uint64_t rank = (uint64_t)worker->process * settings->threads + worker->thread;
    if (!settings->pin || sched_getaffinity(0, sizeof allowed, &allowed) != 0) return;
    uint64_t turn = rank % (uint64_t)CPU_COUNT(&allowed);
    CPU_ZERO(&one);
    for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET(cpu, &allowed) || turn-- > 0) continue;
        CPU_SET(cpu, &one);
        break;
    }
    (void)sched_setaffinity(0, sizeof one, &one);
}

static int prepare(bench_worker *worker) {
    bench_run *run = worker->run;
    const bench_settings *settings = &run->settings;
    uint32_t rank = worker->process * (uint32_t)settings->threads + worker->thread;
    uint32_t slots = (uint32_t)settings->outstanding;
    worker->numbers = bench_run_numbers(run, worker->process, worker->thread);
    worker->slots = calloc(slots, sizeof *worker->slots);
    worker->value = malloc(run->value_bytes_max);
    if (worker->slots == NULL || worker->value == NULL) return STRATA_E_NOMEM;
    for (uint32_t i = 0; i < slots; i++) {
        worker->slots[i].worker = worker;
        worker->slots[i].next_free = i + 1 < slots ? &worker->slots[i + 1] : NULL;
    }
    worker->free_slots = worker->slots;
    worker->recording = run->shared->processes[worker->process].restarted; /* its predecessor's numbers stay */
    bench_stream_init(&worker->stream, &run->workload, rank,
                      (uint32_t)(settings->processes * settings->threads), settings->passes);
    bench_random_init(&worker->arrivals, settings->workload.seed, rank + (UINT64_C(1) << 32));
    return strata_session_open(worker->engine, &worker->session);
}

void *bench_worker_thread(void *argument) {
    bench_worker *worker = argument;
    prctl(PR_SET_TIMERSLACK, 1000ul); /* an open loop starts operations to the microsecond */
    worker->failure = prepare(worker);
    if (worker->failure == STRATA_OK) {
        pin(worker);
        if (bench_run_is_open(worker->run))
            run_open(worker);
        else
            run_closed(worker);
        int64_t give_up_ns = bench_now_ns() + DRAIN_SECONDS_MAX * BENCH_NS_PER_S;
        while (worker->outstanding > 0 && bench_now_ns() < give_up_ns)
            (void)strata_session_wait(worker->session, 50);
        bench_count_add(&worker->numbers->undrained, worker->outstanding);
        strata_session_close(worker->session);
    }
    free(worker->slots);
    free(worker->value);
    return NULL;
}
