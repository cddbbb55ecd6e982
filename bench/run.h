/* SPDX-License-Identifier: Apache-2.0 */
/* One run of the tiered job: its settings, and the memory that its processes share. */
#ifndef BENCH_RUN_H
#define BENCH_RUN_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include "bench/allocations.h"
#include "bench/database.h"
#include "bench/fault.h"
#include "bench/histogram.h"
#include "bench/options.h"
#include "bench/servers.h"
#include "bench/verify.h"
#include "bench/workload.h"

#define BENCH_NS_PER_US INT64_C(1000)
#define BENCH_NS_PER_MS INT64_C(1000000)
#define BENCH_NS_PER_S  INT64_C(1000000000)

#define BENCH_PROCESSES_MAX 64u
#define BENCH_THREADS_MAX   64u
#define BENCH_METRICS_MAX   256u
#define BENCH_STATUSES_MAX  64u
#define BENCH_DETAILS_MAX   10u
#define BENCH_SERVERS_MAX   64u
#define BENCH_PROBE_KEYS    64u

static inline int64_t bench_now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * BENCH_NS_PER_S + (int64_t)t.tv_nsec;
}

typedef enum bench_l2_mode { BENCH_L2_CLUSTER, BENCH_L2_STANDALONE, BENCH_L2_NONE } bench_l2_mode;
typedef enum bench_arrivals { BENCH_ARRIVALS_CONSTANT, BENCH_ARRIVALS_POISSON } bench_arrivals;

typedef enum bench_phase_time { BENCH_AT_START, BENCH_AT_RECORD, BENCH_AT_END, BENCH_PHASE_TIMES } bench_phase_time;

typedef struct bench_settings {
    bench_workload_settings workload;
    uint32_t l2;       /* bench_l2_mode */
    const char *nodes; /* NULL: servers of our own */
    uint64_t primaries, replicas; /* replicas: of each primary */
    bench_list faults;
    uint64_t processes, threads;
    double seconds, warmup_seconds;
    uint64_t passes;      /* 0: for seconds */
    uint64_t outstanding; /* per thread; 0: 16, or 256 at a rate */
    double rate;          /* operations per second of all threads together; 0: closed loop */
    double ramp_to;       /* the rate rises to this one while it records; 0: it stays */
    double speed;         /* times the trace's own clock, instead of a rate; 0: none */
    uint8_t pin;
    const char *restart; /* "PROCESS@SECONDS"; NULL for none */
    uint32_t restart_process;
    const char *snapshot; /* folder of the hot sets; NULL for none */
    double restart_seconds; /* after recording began */
    uint32_t arrivals;    /* bench_arrivals */
    uint64_t deadline_ms; /* 0: the engine's */
    bench_range loader_us;
    double loader_fail_percent;
    double probe_rate;
    uint64_t l1_bytes;
    bench_list config;
    const char *config_file;
    const char *json_path, *html_path;
    const char *find_max; /* NULL: one run */
    uint8_t standalone;
    uint8_t allow_errors;
    uint8_t count_allocations;
    uint8_t quiet;
} bench_settings;

extern const bench_option_table bench_tiered_options;

/* What an operation turned out to be; each has its own histograms. */
#define BENCH_OUTCOME_TABLE(X) \
    X(L1, "l1_hit", "L1 hit")  \
    X(L2, "l2_hit", "L2 hit")  \
    X(LOAD, "load", "load")    \
    X(MISS, "miss", "miss")    \
    X(SET, "set", "set")       \
    X(INVALIDATE, "invalidate", "invalidate") \
    X(TAG, "tag", "tag invalidated")
typedef enum bench_outcome {
#define BENCH_OUTCOME_ENUM_(name, word, text) BENCH_OUTCOME_##name,
    BENCH_OUTCOME_TABLE(BENCH_OUTCOME_ENUM_)
#undef BENCH_OUTCOME_ENUM_
        BENCH_OUTCOME_COUNT
} bench_outcome;

/* owner: one worker thread; others read. */
typedef struct bench_numbers {
    bench_histogram latency[BENCH_OUTCOME_COUNT]; /* from the intended start: in a closed loop, the call */
    bench_histogram service[BENCH_OUTCOME_COUNT]; /* from the call; empty in a closed loop */
    bench_histogram staleness; /* of answers said to be fresh: since a newer version was acknowledged, where one was before the call */
    bench_histogram send_lag; /* from the intended start to the call; empty in a closed loop */
    _Atomic uint64_t value_bytes_read;
    _Atomic uint64_t completed;      /* operations of all kinds, warm-up included */
    _Atomic uint64_t contended;      /* writes done as reads, because the key's row had a writer */
    _Atomic uint64_t declared_stale; /* answers that said of themselves that they may be old */
    _Atomic uint64_t failures[BENCH_OUTCOME_COUNT][BENCH_STATUSES_MAX]; /* by -status; reads under LOAD */
    _Atomic uint64_t verdicts[BENCH_VERDICT_COUNT];
    _Atomic uint64_t undrained; /* operations that never completed */
} bench_numbers;

typedef struct bench_probe_numbers {
    bench_histogram
        after_ack[2]; /* set, invalidate: until the other process has stopped answering the old value */
    bench_histogram after_call[2];
    _Atomic uint64_t discarded;  /* samples whose old value was gone before the write */
    _Atomic uint64_t failed;     /* not prepared in time, or the write failed */
    _Atomic uint64_t never_seen; /* the old value was still answered after seconds */
} bench_probe_numbers;

/* owner: one process; read by the parent after it ended. */
typedef struct bench_process_report {
    int32_t pid;
    _Atomic uint32_t ready, finished;
    _Atomic int64_t
        finished_ns; /* when the last worker of the process had started its last operation and seen it end */
    bool restarted; /* another process was killed in this place; const while it runs */
    int32_t open_status;
    int32_t close_status;
    int64_t staleness_max_ns;
    int64_t metrics_before[BENCH_METRICS_MAX], metrics_after[BENCH_METRICS_MAX];
    _Atomic int64_t l1_entries, l1_bytes, l1_payload_bytes; /* from time to time while it is at work; payload: keys and values */
    int64_t cpu_user_us, cpu_system_us, resident_bytes_max;
    int64_t switches_voluntary, switches_forced; /* a thread of it went to sleep; lost its CPU to another */
    bench_allocations allocated; /* by its engine, ever; where that is counted */
    int64_t allocations;         /* of these, while it was at work */
    char error[512];
} bench_process_report;

/* The prober of process 0 asks the one of process 1 to hold a key, writes it, and learns when that process noticed. */
typedef enum bench_probe_state {
    BENCH_PROBE_IDLE,
    BENCH_PROBE_PRIME,
    BENCH_PROBE_WATCHING,
    BENCH_PROBE_SEEN,
    BENCH_PROBE_FAILED
} bench_probe_state;
typedef struct bench_probe_board {
    _Atomic uint32_t state;
    _Atomic uint32_t key, version;
    _Atomic int64_t seen_ns;
} bench_probe_board;

typedef struct bench_shared {
    _Atomic uint32_t go;                         /* all engines are open: start */
    _Atomic uint32_t stop;                       /* end now */
    _Atomic int64_t start_ns, record_ns, end_ns; /* set before go */
    _Atomic uint32_t detail_count;
    char details[BENCH_DETAILS_MAX][256];
    bench_probe_board probe_board;
    bench_probe_numbers probe;
    bench_process_report processes[BENCH_PROCESSES_MAX];
    bench_numbers numbers[]; /* processes x threads */
} bench_shared;

typedef struct bench_run {
    bench_settings settings;
    bench_options_given given;
    bench_faults faults;
    sx_cluster *cluster; /* NULL without servers of our own */
    bench_workload workload;
    bench_database database; /* each process has its own copy of this struct, over shared rows */
    bench_shared *shared;
    size_t shared_bytes;
    char nodes[1024]; /* "" without L2 */
    char namespace_name[48];
    uint32_t value_bytes_max;
    int64_t measured_ns; /* after the run: how long was recorded */
    int64_t timer_ns;    /* what one reading of the clock costs */
    bool restart_noted; /* the process that was started anew is at work */
    bool interrupted;
    bool crashed; /* a process ended other than by returning */
    char server_version[64];
    pid_t servers[BENCH_SERVERS_MAX]; /* our own */
    uint32_t server_count;
    /* What our own servers said at the start, when recording began, and at the end. */
    bench_server_info server_info[BENCH_PHASE_TIMES][BENCH_SERVERS_MAX];
    /* CPU time during the run, warm-up included, of the whole machine and of our own servers. */
    int64_t cpu_machine_us, cpu_servers_us, cpu_elapsed_us;
    int (*process_main)(struct bench_run *run, uint32_t index);
    pid_t children[BENCH_PROCESSES_MAX]; /* 0 once it has ended */
} bench_run;

/* Whether operations have an intended start. */
static inline bool bench_run_is_open(const bench_run *run) {
    return run->settings.rate > 0 || run->settings.speed > 0;
}

/* The row of a tag: they follow those of the keys and of the probe. */
static inline uint32_t bench_run_tag_row(const bench_run *run, uint32_t tag) {
    return run->workload.keys + BENCH_PROBE_KEYS + tag;
}
/* The rows of a key's tags; how many. */
static inline uint32_t bench_run_tag_rows(const bench_run *run, uint32_t key, uint32_t rows[BENCH_TAGS_MAX]) {
    uint32_t count = key < run->workload.keys ? bench_workload_tags(&run->workload, key, rows) : 0;
    for (uint32_t i = 0; i < count; i++) rows[i] = bench_run_tag_row(run, rows[i]);
    return count;
}

static inline bench_numbers *bench_run_numbers(const bench_run *run, uint32_t process, uint32_t thread) {
    return &run->shared->numbers[(size_t)process * run->settings.threads + thread];
}

/* Notes what was wrong with a read; the first few are kept as text. */
void bench_run_note(bench_run *run, const bench_read *read, bench_verdict verdict, uint32_t version,
                    int source);

static inline void bench_run_read_servers(bench_run *run, bench_phase_time when) {
    if (run->cluster != NULL) bench_servers_read(run->cluster, run->server_count, run->server_info[when]);
}

/* Starts servers and processes, each of which runs process_main and says in its report when it is ready; returns when all are. 0, or
   -1 with a text; then no process runs. To be released in any case. */
int bench_run_start(bench_run *run, int (*process_main)(bench_run *run, uint32_t index), char *error, size_t error_size);
/* Ends what still runs, first by asking. */
void bench_run_end(bench_run *run);
void bench_run_release(bench_run *run);
/* Kills a process and starts another in its place, which knows nothing. */
void bench_run_replace_process(bench_run *run, uint32_t index);
/* From now on the first SIGINT or SIGTERM is noted, the second one ends us. */
void bench_run_catch_signals(void);
bool bench_run_was_interrupted(void);

/* The value of an engine's metric among those that were read at once; 0 where there is none of that name. */
int64_t bench_run_metric(const int64_t *values, const char *name);

/* Notes which processes have ended, and how; wait: until all have. */
void bench_run_reap(bench_run *run, bool wait);

#endif
