/* SPDX-License-Identifier: Apache-2.0 */
/* The tormentor's main: starts everything, strikes until the time is over, has the history judged, and prints what was. */
#include "tests/torment/torment.h"

#include <fcntl.h>
#include <ftw.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <strata/strata.h>

#include "core/key/key.h"
#include "core/memory/alloc.h"

static const char usage[] =
    "usage: torment [--seconds N] [--seed N] [--only FAULT[,FAULT]...] [--keep] [--verbose]\n"
    "  Breaks a cluster, its clients and what is between them, and judges what the clients saw.\n"
    "  Exit: 0 no violation, 1 violations, 2 the run itself failed, 77 no server here, or a cluster that did not come back.\n";

typedef struct settings {
    uint64_t seconds, seed;
    bool faults[TORMENT_FAULTS];
    bool some, keep, verbose; /* some: not all faults */
} settings;

/* ---- start ---- */

pid_t torment_client_start(torment_world *w, uint32_t index) {
    char number[16], process[16], seed[24];
    snprintf(number, sizeof number, "%u", index);
    snprintf(process, sizeof process, "%u", w->processes++);
    snprintf(seed, sizeof seed, "%" PRIu64, w->seed);
    char *const argv[] = {w->program, "--client", w->directory, w->seeds, number, process, seed, NULL};
    w->process_of[index] = w->processes - 1;
    pid_t pid = fork();
    if (pid == 0) {
        char path[256];
        snprintf(path, sizeof path, "%s/errors-%s", w->directory, process);
        int log = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
        if (log >= 0) dup2(log, STDERR_FILENO);
        execv(w->program, argv);
        _exit(127);
    }
    return pid;
}

static bool start_cluster(torment_world *w) {
    char error[256];
    sx_cluster_options options = {.primaries = TORMENT_SHARDS, .replicas = 1, .node_timeout_ms = TORMENT_NODE_TIMEOUT_MS};
    if (sx_cluster_start(&options, &w->cluster, error, sizeof error) != 0) {
        fprintf(stderr, "torment: %s\n", error);
        return false;
    }
    uint16_t ports[2 * TORMENT_NODES];
    for (uint32_t i = 0; i < TORMENT_NODES; i++) {
        ports[i] = sx_cluster_port(w->cluster, i);
        ports[TORMENT_BUS + i] = sx_cluster_bus_port(w->cluster, i);
    }
    w->proxy = proxy_start(ports, 2 * TORMENT_NODES);
    if (w->proxy == NULL) return false;
    size_t used = 0;
    for (uint32_t i = 0; i < TORMENT_NODES; i++) {
        if (sx_cluster_announce(w->cluster, i, proxy_port(w->proxy, i), proxy_port(w->proxy, TORMENT_BUS + i)) != 0) return false;
        used += (size_t)snprintf(w->seeds + used, sizeof w->seeds - used, "%s127.0.0.1:%u", i == 0 ? "" : ",",
                                 proxy_port(w->proxy, i));
    }
    torment_sleep_ms(TORMENT_NODE_TIMEOUT_MS); /* until all have heard of it */
    for (uint32_t s = 0; s < TORMENT_SHARDS; s++) w->primary[s] = -1;
    torment_settle(w);
    return !w->failed;
}

static bool place_keys(torment_world *w) {
    sx_key_tags *tags;
    if (sx_key_tags_create(sx_alloc_default(), TORMENT_PARTITIONS, &tags) != 0) return false;
    for (uint32_t p = 0; p < TORMENT_PARTITIONS; p++) w->slots[p] = tags->tags[p].slot;
    sx_key_tags_destroy(tags);
    for (uint32_t p = 0; p < TORMENT_PARTITIONS; p++) {
        int owner = sx_cluster_owner(w->cluster, w->slots[p]);
        if (owner < 0) return false;
        w->home[p] = (uint32_t)owner % TORMENT_SHARDS;
        w->shard_partitions[owner % TORMENT_SHARDS] |= UINT64_C(1) << p;
    }
    for (uint32_t k = 0; k < TORMENT_TAGS; k++) w->key_partition[k] = (uint8_t)torment_key_partition(k % TORMENT_KEYS);
    for (uint32_t k = TORMENT_TAGS; k < TORMENT_JUDGED; k++) {
        char name[TORMENT_NAME];
        snprintf(name, sizeof name, "t%u", torment_tag_of((k - TORMENT_TAGS) * 3));
        w->key_partition[k] = (uint8_t)sx_key_partition(name, strlen(name), TORMENT_PARTITIONS);
    }
    for (uint32_t k = TORMENT_LOCK; k < TORMENT_NOTED; k++) {
        char name[TORMENT_NAME];
        if (k < TORMENT_COUNTER) torment_lock_name(name, k - TORMENT_LOCK);
        else torment_counter_name(name, k - TORMENT_COUNTER);
        w->key_partition[k] = (uint8_t)sx_key_partition(name, strlen(name), TORMENT_PARTITIONS);
    }
    return true;
}

static bool start(torment_world *w, const settings *s) {
    snprintf(w->directory, sizeof w->directory, "/tmp/strata-torment-XXXXXX");
    ssize_t length = readlink("/proc/self/exe", w->program, sizeof w->program - 1);
    if (length <= 0 || mkdtemp(w->directory) == NULL) return false;
    w->seed = s->seed;
    uint64_t start = s->seed * 0xd1342543de82ef95u; /* seeds beside each other have nothing in common */
    w->random = torment_random(&start);
    w->shared = torment_map(w->directory, "shared", sizeof *w->shared);
    if (w->shared == NULL || !torment_keys_init() || !start_cluster(w) || !place_keys(w)) return false;
    for (uint32_t i = 0; i < TORMENT_CLIENTS; i++) w->clients[i] = torment_client_start(w, i);
    for (int i = 0; i < 3000 && atomic_load(&w->shared->ready) < TORMENT_CLIENTS; i++) torment_sleep_ms(10);
    return atomic_load(&w->shared->ready) >= TORMENT_CLIENTS;
}

/* ---- in between ---- */

/* Each fault once, in an order of its own; those that take seconds in every second deck. */
static size_t shuffle(torment_world *w, const settings *s, torment_fault deck[TORMENT_FAULTS]) {
    size_t count = 0;
    for (int f = 0; f < TORMENT_FAULTS; f++) {
        bool slow = f <= TORMENT_ZOMBIE || f == TORMENT_CLIENT_KILL;
        bool skip = (slow && !s->some && torment_random(&w->random) % 2 == 0) || (f == TORMENT_LOSE && s->seed % 2 == 0);
        if (s->faults[f] && !skip) deck[count++] = (torment_fault)f;
    }
    for (size_t i = count; i > 1; i--) {
        size_t other = torment_random(&w->random) % i;
        torment_fault swapped = deck[i - 1];
        deck[i - 1] = deck[other];
        deck[other] = swapped;
    }
    return count;
}

static void torment(torment_world *w, const settings *s) {
    int64_t begin_ns = torment_now_ns(), end_ns = begin_ns + (int64_t)s->seconds * 1000000000;
    w->calm_from_ns = begin_ns + 1000 * INT64_C(1000000);
    torment_fault deck[TORMENT_FAULTS];
    size_t left = 0;
    torment_sleep_ms(2500);
    torment_settle(w);
    while (!w->failed && torment_now_ns() < end_ns - 2500 * INT64_C(1000000)) {
        if (left == 0) left = shuffle(w, s, deck);
        if (left == 0) {
            torment_sleep_ms(10);
            continue;
        }
        torment_fault fault = deck[--left];
        if (s->verbose)
            fprintf(stderr, "%8.3f %s\n", (double)(torment_now_ns() - begin_ns) / 1e9, torment_fault_name(fault));
        size_t losses = w->loss_count;
        torment_strike(w, fault);
        if (torment_random(&w->random) % (w->loss_count != losses && !w->orderly ? 2 : 10) == 0) torment_peace(w);
        if (torment_random(&w->random) % 4 == 0) torment_sleep_ms((int64_t)(torment_random(&w->random) % 1000));
    }
    torment_peace(w);
    torment_settle(w); /* what is seen now has no excuse any more, but for what was lost before */
    if (!w->failed) w->calm[w->calm_count++] = (history_loss){w->calm_from_ns, torment_now_ns(), 0, false};
}

/* What the clients said, but for the warnings that faults cause. */
static void show_errors(const torment_world *w) {
    for (uint32_t i = 0; i < w->processes; i++) {
        char path[256], line[512];
        snprintf(path, sizeof path, "%s/errors-%u", w->directory, i);
        FILE *file = fopen(path, "r");
        for (int lines = 0; file != NULL && lines < 60 && fgets(line, sizeof line, file) != NULL;)
            if (strncmp(line, "[warn]", 6) != 0) lines++, fprintf(stderr, "  process %u: %s", i, line);
        if (file != NULL) fclose(file);
    }
}

static bool stop(torment_world *w) {
    bool good = true;
    atomic_store(&w->shared->stop, 1);
    for (uint32_t i = 0; i < TORMENT_CLIENTS; i++) {
        int status = 1;
        for (int t = 0; t < 6000 && waitpid(w->clients[i], &status, WNOHANG) == 0; t++) torment_sleep_ms(10);
        if (WIFEXITED(status) && WEXITSTATUS(status) == 0) continue;
        fprintf(stderr, "torment: client %u ended with %#x\n", i, (unsigned)status);
        show_errors(w);
        kill(w->clients[i], SIGKILL);
        good = false;
    }
    return good;
}

/* ---- afterwards ---- */

#define NOTED_NS INT64_C(300000000) /* by then a client has noted what its audit counted */
#define SHOWN 100 /* one of so many reads at least was answered by L1: however slow the machine is */

static size_t gather(torment_world *w, history_op **out) {
    size_t count = 0;
    *out = NULL;
    for (uint32_t i = 0; i < w->processes; i++) {
        char name[32];
        snprintf(name, sizeof name, "log-%u", i);
        torment_log *log = torment_map(w->directory, name, sizeof *log);
        if (log == NULL) continue;
        size_t more = atomic_load(&log->count);
        if (more > TORMENT_OPS_MAX) more = TORMENT_OPS_MAX;
        history_op *ops = realloc(*out, (count + more + 1) * sizeof *ops);
        if (ops == NULL) abort();
        *out = ops;
        for (size_t k = 0; k < more; k++)
            if (log->ops[k].end_ns != 0) ops[count++] = log->ops[k]; /* else killed while it was written */
        munmap(log, sizeof *log);
    }
    return count;
}

static void print_op(const history_op *op, int64_t zero_ns) {
    static const char *const kinds[] = {"read", "set", "invalidate", "load", "failed write", "failed read", "refused write",
                                         "token", "held", "counted"};
    _Static_assert(sizeof kinds / sizeof kinds[0] == HISTORY_KINDS, "one name each");
    static const char *const sources[] = {"", " from L1", " from L2", " from loader"};
    fprintf(stderr, "    %10.3f .. %10.3f ms  process %u  %s%s %" PRIu64 "%s", (double)(op->start_ns - zero_ns) / 1e6,
            (double)(op->end_ns - zero_ns) / 1e6, op->process, op->allowed_ms != 0 ? "stale " : "", kinds[op->kind], op->value,
            op->kind == HISTORY_READ ? sources[op->source & 3] : op->filled ? " filled" : "");
    if (op->n != 0) fprintf(stderr, "  n %" PRIu64 " id %016" PRIx64, op->n, op->id);
    if (op->said_us != 0) fprintf(stderr, "  said %.1f ms", op->said_us / 1e3);
    fprintf(stderr, "\n");
}

/* What happened to the key between the two operations: of equal reads in a row only the first. */
static void explain(const torment_world *w, const history_op *ops, size_t count, const history_op *worst) {
    int64_t from_ns = (worst[0].start_ns < worst[1].start_ns ? worst[0] : worst[1]).start_ns - 300 * INT64_C(1000000);
    int64_t to_ns = worst[0].end_ns > worst[1].end_ns ? worst[0].end_ns : worst[1].end_ns;
    uint32_t key = worst->key < TORMENT_TAGS ? worst->key % TORMENT_KEYS : (worst->key - TORMENT_TAGS) * 3;
    static const char *const of[] = {"", ", its pattern's number", ", its clear's number", ", its tag's number"};
    if (worst->key >= TORMENT_LOCK) fprintf(stderr, "    %s %u", worst->key < TORMENT_COUNTER ? "lock" : "number", (worst->key - TORMENT_LOCK) % TORMENT_LOCKS);
    else fprintf(stderr, "    key %u (%s)%s", key, torment_space_name(torment_space_of(key)), of[worst->key / TORMENT_KEYS]);
    fprintf(stderr, ", partition %u; times from the operation that was not respected\n", w->key_partition[worst->key]);
    history_op last[64] = {{.kind = HISTORY_LOAD}};
    int printed = 0;
    for (size_t i = 0; i < w->struck_count; i++)
        if (w->struck[i].end_ns >= from_ns - 8000000000 && w->struck[i].start_ns <= to_ns)
            fprintf(stderr, "    %10.1f .. %10.1f ms  fault %s\n", (double)(w->struck[i].start_ns - worst[1].start_ns) / 1e6,
                    (double)(w->struck[i].end_ns - worst[1].start_ns) / 1e6, torment_fault_name(w->struck[i].fault));
    for (size_t i = 0; i < count && printed < 60; i++) {
        const history_op *op = &ops[i];
        if (op->key != worst->key || op->end_ns < from_ns || op->start_ns > to_ns) continue;
        history_op *before = &last[op->process % 64];
        bool same = op->kind == before->kind && op->value == before->value && op->source == before->source &&
                    op->id == before->id && op->start_ns != worst->start_ns;
        *before = *op;
        if (same) continue;
        print_op(op, worst[1].start_ns);
        printed++;
    }
    for (size_t i = 0; i < w->loss_count; i++)
        if (w->losses[i].to_ns >= from_ns - 5000000000 && w->losses[i].from_ns <= to_ns && (w->losses[i].partitions >> w->key_partition[worst->key] & 1) != 0)
            fprintf(stderr, "    a failover from %.1f to %.1f ms\n", (double)(w->losses[i].from_ns - worst[1].start_ns) / 1e6,
                    (double)(w->losses[i].to_ns - worst[1].start_ns) / 1e6);
}

/* A pattern may miss keys of a slot that is moved meanwhile: then it demands nothing of them. */
static void excuse_sweeps(const torment_world *w, history_op *ops, size_t count) {
    for (size_t i = 0; i < count; i++) {
        history_op *op = &ops[i];
        bool sweeps = op->kind == HISTORY_INVALIDATE && op->key >= TORMENT_SWEPT && op->key < TORMENT_CLEARED;
        for (size_t m = 0; m < w->move_count && sweeps; m++)
            if ((w->moves[m].partitions >> w->key_partition[op->key] & 1) != 0 && w->moves[m].from_ns <= op->end_ns &&
                w->moves[m].to_ns >= op->start_ns)
                op->kind = HISTORY_FAILED_WRITE;
    }
}

static int by_value(const void *left, const void *right) {
    const history_op *a = *(const history_op *const *)left, *b = *(const history_op *const *)right;
    if (a->key != b->key) return a->key < b->key ? -1 : 1;
    return a->value < b->value ? -1 : a->value > b->value;
}

/* A foreign key's write of unknown outcome may be executed at any time, after later ones too: what is read is judged only where that was
   acknowledged. */
static void excuse_foreign(history_op *ops, size_t count) {
    const history_op **sets = malloc((count + 1) * sizeof *sets);
    size_t set_count = 0;
    if (sets == NULL) abort();
    for (size_t i = 0; i < count; i++)
        if (ops[i].kind == HISTORY_SET && ops[i].key < TORMENT_KEYS && torment_space_of(ops[i].key) == TORMENT_FOREIGN) sets[set_count++] = &ops[i];
    qsort(sets, set_count, sizeof *sets, by_value);
    for (size_t i = 0; i < count; i++) {
        const history_op *op = &ops[i];
        bool reads = op->kind == HISTORY_READ && op->key < TORMENT_KEYS && torment_space_of(op->key) == TORMENT_FOREIGN;
        if (reads && bsearch(&op, sets, set_count, sizeof *sets, by_value) == NULL) ops[i].kind = HISTORY_FAILED_READ;
    }
    free(sets);
}

/* A read or a set of that version; NULL: nobody noted one. */
static const history_op *of_version(const history_op *ops, size_t count, uint64_t id) {
    for (size_t i = 0; i < count; i++)
        if (ops[i].id == id && ops[i].key < TORMENT_KEYS) return &ops[i];
    return NULL;
}

/* Whether what L1 serves is older by nothing but writes that failed: a loader that ran meanwhile has seen their numbers. */
static bool is_ahead(const history_op *ops, size_t count, const history_op *l1, const history_op *l2) {
    if (l1 == NULL || l2 == NULL || l1->key != l2->key || l1->value > l2->value) return false;
    for (size_t i = 0; i < count; i++) {
        bool done = ops[i].kind == HISTORY_SET || ops[i].kind == HISTORY_INVALIDATE;
        if (done && ops[i].key == l1->key && ops[i].value > l1->value && ops[i].value <= l2->value) return false;
    }
    return true;
}

/* As reads are: what a failover may have lost, or its old primary still answers, excuses it. */
static bool is_lost(const torment_world *w, int64_t at_ns, uint64_t partitions) {
    for (size_t i = 0; i < w->loss_count; i++) {
        const history_loss *loss = &w->losses[i];
        int64_t to_ns = loss->to_ns + TORMENT_STALENESS_MS * INT64_C(1000000) + NOTED_NS;
        if (!loss->lossless && (loss->partitions & partitions) != 0 && loss->from_ns <= at_ns && at_ns <= to_ns) return true;
    }
    return false;
}

/* The next that a process's log says of a divergence in the plain namespace: one a second at most. False: there is none. */
static bool next_line(FILE *file, char line[512], const char **at) {
    while (file != NULL && fgets(line, 512, file) != NULL)
        if ((*at = strstr(line, "audit: L1 serves a value of namespace plain")) != NULL) return true;
    return false;
}

static uint64_t divergences_of(const torment_world *w, const history_op *ops, size_t count, uint32_t process) {
    char path[256], line[512];
    uint64_t counted = atomic_load(&w->shared->divergent[process].count), found = 0;
    if (counted == 0) return 0;
    snprintf(path, sizeof path, "%s/errors-%u", w->directory, process);
    FILE *file = fopen(path, "r");
    for (uint64_t n = 0; n < counted; n++) {
        const history_op *l1 = NULL, *l2 = NULL;
        const char *at = "what its log does not tell of\n", *here = NULL, *there = NULL, *partition = NULL;
        if (next_line(file, line, &at)) {
            here = strstr(at, ": version "), there = strstr(at, ", in L2 "), partition = strstr(at, ", partition ");
            if (here != NULL && (here = strchr(here + 10, ' ')) != NULL) l1 = of_version(ops, count, strtoull(here, NULL, 16));
            if (there != NULL && (there = strchr(there + 8, ' ')) != NULL) l2 = of_version(ops, count, strtoull(there, NULL, 16));
        }
        uint64_t partitions = partition == NULL ? UINT64_MAX : UINT64_C(1) << atoi(partition + strlen(", partition "));
        int64_t at_ns = atomic_load(&w->shared->divergent[process].at_ns[n % TORMENT_DIVERGENT]);
        if (is_lost(w, at_ns, partitions) || is_ahead(ops, count, l1, l2)) continue;
        fprintf(stderr, "    process %u: %s", process, at);
        if (l1 != NULL) print_op(l1, at_ns);
        if (l2 != NULL) print_op(l2, at_ns);
        found++;
    }
    if (file != NULL) fclose(file);
    return found;
}

/* Values of the plain namespace that L1 served and L2 had others of: their number says which bytes they are, and nothing but its writes
   changes it. Of the others a loader knows of a clear before it is done: what L2 forgot may be another when it is loaded again. */
static uint64_t divergences(const torment_world *w, const history_op *ops, size_t count) {
    uint64_t found = 0;
    for (uint32_t i = 0; i < w->processes && i < TORMENT_PROCESSES; i++) found += divergences_of(w, ops, count, i);
    return found;
}

static uint64_t show_faults(const torment_world *w, const history_op *ops, size_t count, const history_report *report, int64_t first_ns) {
    uint64_t violations = 0;
    int explained = 0;
    for (int f = 0; f < HISTORY_FAULTS; f++) {
        violations += report->faults[f];
        if (report->faults[f] == 0) continue;
        const history_op *worst = report->worst[f];
        printf("VIOLATION %s: %" PRIu64 " times, first after %.1f s, seed %" PRIu64 "\n", history_fault_name((history_fault)f),
               report->faults[f], (double)(worst->start_ns - first_ns) / 1e9, w->seed);
        fflush(stdout);
        print_op(&worst[0], worst[1].start_ns);
        print_op(&worst[1], worst[1].start_ns);
        if (explained++ < 2) explain(w, ops, count, worst);
    }
    return violations;
}

static bool judge(torment_world *w) {
    history_op *ops;
    size_t count = gather(w, &ops), kinds[HISTORY_KINDS] = {0}, l1 = 0, aged = 0;
    excuse_sweeps(w, ops, count);
    excuse_foreign(ops, count);
    int64_t first_ns = INT64_MAX;
    for (size_t i = 0; i < count; i++) {
        if (ops[i].key < TORMENT_KEYS) kinds[ops[i].kind]++;
        aged += ops[i].key < TORMENT_KEYS && ops[i].allowed_ms != 0;
        l1 += ops[i].key < TORMENT_KEYS && ops[i].kind == HISTORY_READ && ops[i].source == STRATA_FROM_L1;
        if (ops[i].start_ns < first_ns) first_ns = ops[i].start_ns;
    }
    history_rules rules = {.bound_ns = TORMENT_STALENESS_MS * INT64_C(1000000),
                           .tags_from = TORMENT_CLEARED,
                           .partition_of = w->key_partition,
                           .repeated_ns = w->repeated_ns, .repeated_count = w->repeated_count,
                           .killed_ns = w->killed_ns, .killed_count = sizeof w->killed_ns / sizeof w->killed_ns[0],
                           .lease_ns = TORMENT_LEASE_MS * INT64_C(1000000) / 2,
                           .patience_ns = TORMENT_DEADLINE_MS * INT64_C(1000000) / 2,
                           .join_ns = (TORMENT_DEADLINE_MS + 100) * INT64_C(1000000),
                           .losses = w->losses, .loss_count = w->loss_count,
                           .calm = w->calm, .calm_count = w->calm_count,
                           .flushes = w->flushes, .flush_count = w->flush_count,
                           .evictions = w->evictions, .eviction_count = w->eviction_count};
    history_report report;
    bool good = history_check(ops, count, &rules, &report);
    printf("operations: %zu reads (%zu from L1), %zu failed reads, %zu sets, %zu invalidations, %zu failed writes, %zu loads\n",
           kinds[HISTORY_READ], l1, kinds[HISTORY_FAILED_READ], kinds[HISTORY_SET], kinds[HISTORY_INVALIDATE],
           kinds[HISTORY_FAILED_WRITE], kinds[HISTORY_LOAD]);
    printf("faults:");
    for (int f = 0; f < TORMENT_FAULTS; f++)
        if (w->done[f] != 0) printf(" %s %" PRIu64, torment_fault_name((torment_fault)f), w->done[f]);
    printf("; failovers %zu; the proxy harmed %" PRIu64 " times; wall clocks were read %" PRIu64 " times\n", w->loss_count,
           proxy_harm(w->proxy), atomic_load(&w->shared->clock_reads));
    printf("writes judged: %" PRIu64 ", of these lost by failovers or perhaps: %" PRIu64 "\n", report.writes, report.lost_writes);
    printf("worst staleness: %.1f ms of %d; of %zu reads answered for want of anything better: %.1f ms of %d\n",
           (double)report.oldest_ns / 1e6, TORMENT_STALENESS_MS, aged, (double)report.oldest_stale_ns / 1e6, TORMENT_FAILING_MS);
    printf("cleared:");
    for (int s = TORMENT_GROUPED; s < TORMENT_GUARDED; s++)
        printf(" %s %" PRIu64, torment_space_name((torment_space)s), atomic_load(&w->shared->cleared[s]));
    printf("; by a pattern:");
    for (int s = TORMENT_GROUPED; s < TORMENT_GUARDED; s++)
        printf(" %s %" PRIu64, torment_space_name((torment_space)s), atomic_load(&w->shared->swept[s]));
    printf("; values packed: %" PRIu64 "\n", atomic_load(&w->shared->packed));
    printf("shared: %" PRIu64 " writes over what was read, %" PRIu64 " more refused; %" PRIu64 " locks held; %" PRIu64
           " times counted; tiers taken away %" PRIu64 " times\n", atomic_load(&w->shared->swapped), atomic_load(&w->shared->refused),
           atomic_load(&w->shared->held), atomic_load(&w->shared->counted), atomic_load(&w->shared->rolled));
    printf("guarded: %" PRIu64 " writes refused, %" PRIu64 " answers that there is nothing; %" PRIu64 " reads of plain keys of Redis\n",
           atomic_load(&w->shared->yielded), atomic_load(&w->shared->absent), atomic_load(&w->shared->foreign));
    uint64_t divergent = divergences(w, ops, count);
    printf("audited: %" PRIu64 " entries of L1; left in peace %zu times\n", atomic_load(&w->shared->audited), w->repeated_count);
    if (divergent != 0) printf("VIOLATION the audit found another value in L2: %" PRIu64 " times, seed %" PRIu64 "\n", divergent, w->seed);
    uint64_t damaged = atomic_load(&w->shared->damaged);
    if (damaged != 0) printf("VIOLATION damaged values: %" PRIu64 " times, seed %" PRIu64 "\n", damaged, w->seed);
    uint64_t violations = divergent + damaged + show_faults(w, ops, count, &report, first_ns);
    printf("violations: %" PRIu64 "\n", violations);
    free(ops);
    bool shown = w->failed || (l1 * SHOWN >= kinds[HISTORY_READ] && l1 > 0);
    if (!shown) printf("L1 answered too few reads to show anything\n");
    return good && violations == 0 && shown;
}

static int remove_entry(const char *path, const struct stat *status, int kind, struct FTW *walk) {
    (void)status, (void)kind, (void)walk;
    return remove(path);
}

static int run(const settings *s) {
    static torment_world world;
    torment_world *w = &world;
    int result = 2;
    if (start(w, s)) {
        torment(w, s);
        bool ended = stop(w);
        if (!w->failed) torment_settle(w); /* who took over since the last look */
        printf("seed %" PRIu64 ", %" PRIu64 " s\n", s->seed, s->seconds);
        result = !judge(w) ? 1 : !ended ? 2 : w->failed ? 77 : 0;
    }
    sx_cluster_stop(w->cluster);
    if (w->proxy != NULL) proxy_stop(w->proxy);
    if (!s->keep && w->directory[0] != '\0') nftw(w->directory, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
    return result;
}

static bool choose(settings *s, char *names) {
    memset(s->faults, 0, sizeof s->faults);
    s->some = true;
    for (char *name = strtok(names, ","); name != NULL; name = strtok(NULL, ",")) {
        int f = 0;
        while (f < TORMENT_FAULTS && strcmp(name, torment_fault_name((torment_fault)f)) != 0) f++;
        if (f == TORMENT_FAULTS) {
            fprintf(stderr, "torment: no fault '%s'\n", name);
            return false;
        }
        s->faults[f] = true;
    }
    return true;
}

int main(int argc, char **argv) {
    if (argc == 7 && strcmp(argv[1], "--client") == 0) {
        torment_client client = {argv[2], argv[3], (uint32_t)atoi(argv[4]), (uint32_t)atoi(argv[5]),
                                 strtoull(argv[6], NULL, 10)};
        torment_client_run(&client);
    }
    static const struct option options[] = {{"seconds", required_argument, NULL, 't'}, {"seed", required_argument, NULL, 's'},
                                            {"only", required_argument, NULL, 'o'},    {"keep", no_argument, NULL, 'k'},
                                            {"verbose", no_argument, NULL, 'v'},       {NULL, 0, NULL, 0}};
    settings s = {.seconds = 60, .seed = 1};
    memset(s.faults, 1, sizeof s.faults);
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (option == 't') s.seconds = strtoull(optarg, NULL, 10);
        else if (option == 's') s.seed = strtoull(optarg, NULL, 10);
        else if (option == 'k') s.keep = true;
        else if (option == 'v') s.verbose = true;
        else if (option != 'o' || !choose(&s, optarg)) {
            fputs(usage, stderr);
            return 2;
        }
    }
    if (s.seconds < 6 || s.seconds > 3600) {
        fputs("torment: --seconds is 6 .. 3600\n", stderr);
        return 2;
    }
    if (!sx_cluster_available()) return 77;
    return run(&s);
}
