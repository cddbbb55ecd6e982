/* SPDX-License-Identifier: Apache-2.0 */
/* The faults, one by one, and the wait until the cluster is whole again. */
#include "tests/torment/torment.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#define SETTLE_MS   20000
#define TAKEOVER_MS 10000
#define PEACE_MS    3000 /* trust regained, a second for what came from a server that was replaced, the longest pause between attempts */
#define SHOW_MS     500
#define STOP_NS     20000000 /* until a signal has surely stopped its process */

const char *torment_fault_name(torment_fault fault) {
    static const char *const names[] = {
        "kill",        "restart_empty", "pause_long", "zombie",        "pause",        "failover",    "takeover", "migrate",
        "kill_pubsub", "kill_normal",   "buffer",     "script_flush", "flushall",    "evict",    "client_pause",
        "client_kill", "delay",         "stall",      "late",         "drop",         "cut",         "lose",     "clock"};
    _Static_assert(sizeof names / sizeof names[0] == TORMENT_FAULTS, "one name each");
    return fault < TORMENT_FAULTS ? names[fault] : "?";
}

static uint64_t dice(torment_world *w, uint64_t sides) { return torment_random(&w->random) % sides; }
static int64_t between(torment_world *w, int64_t low, int64_t high) { return low + (int64_t)dice(w, (uint64_t)(high - low)); }

/* ---- who is what ---- */

typedef struct role {
    bool answers, primary, synced;
    uint64_t offset;
} role;

static role role_of(torment_world *w, uint32_t node) {
    role r = {.answers = false};
    if (sx_cluster_pid(w->cluster, node) == 0) return r;
    char *answer = sx_cluster_command(w->cluster, node, "ROLE");
    char *rest = answer, *what = strsep(&rest, "\n");
    r.answers = what != NULL && (strcmp(what, "master") == 0 || strcmp(what, "slave") == 0);
    r.primary = r.answers && strcmp(what, "master") == 0;
    if (r.primary) {
        r.offset = strtoull(rest == NULL ? "0" : rest, NULL, 10);
    } else if (r.answers) {
        (void)strsep(&rest, "\n");
        (void)strsep(&rest, "\n");
        const char *link = strsep(&rest, "\n");
        r.synced = link != NULL && strcmp(link, "connected") == 0;
        r.offset = strtoull(rest == NULL ? "0" : rest, NULL, 10);
    }
    free(answer);
    return r;
}

static void lineage_of(torment_world *w, uint32_t node, char out[48]) {
    char *info = sx_cluster_command(w->cluster, node, "INFO replication");
    const char *id = strstr(info, "master_replid:");
    snprintf(out, 48, "%.40s", id == NULL ? "" : id + strlen("master_replid:"));
    free(info);
}

static bool ok(torment_world *w, uint32_t node) {
    char *info = sx_cluster_command(w->cluster, node, "CLUSTER INFO");
    bool good = strstr(info, "cluster_state:ok") != NULL;
    free(info);
    return good;
}

static uint32_t primary_of(const torment_world *w, uint32_t shard) { return (uint32_t)w->primary[shard]; }
static uint32_t other(uint32_t node) { return (node + TORMENT_SHARDS) % TORMENT_NODES; }

/* ---- settling ---- */

/* The shard's primary where it has one, and a replica that has heard all that was acknowledged at *synced_ns. -1. */
static int whole(torment_world *w, uint32_t shard, int64_t *synced_ns) {
    int64_t now_ns = torment_now_ns();
    role a = role_of(w, shard), b = role_of(w, shard + TORMENT_SHARDS);
    if (!a.answers || !b.answers || a.primary == b.primary) return -1;
    uint32_t primary = a.primary ? shard : shard + TORMENT_SHARDS, replica = other(primary);
    const role *p = a.primary ? &a : &b;
    if (!(a.primary ? &b : &a)->synced || !ok(w, primary) || !ok(w, replica)) return -1;
    for (int i = 0; i < 50; i++) {
        role r = role_of(w, replica);
        if (r.answers && !r.primary && r.synced && r.offset >= p->offset) {
            *synced_ns = now_ns;
            return (int)primary;
        }
        torment_sleep_ms(10);
    }
    return -1;
}

static void note_loss(torment_world *w, uint32_t shard, int64_t to_ns) {
    int64_t from_ns = w->synced_ns[shard];
    if (w->loss_count + 2 > sizeof w->losses / sizeof w->losses[0]) return;
    if (from_ns < w->silent_from_ns) {
        w->losses[w->loss_count++] = (history_loss){from_ns, w->silent_from_ns, w->shard_partitions[shard], false};
        from_ns = w->silent_to_ns;
    }
    w->losses[w->loss_count++] = (history_loss){from_ns, to_ns, w->shard_partitions[shard], w->orderly};
}

void torment_settle(torment_world *w) {
    int64_t give_up_ns = torment_now_ns() + SETTLE_MS * INT64_C(1000000);
    for (uint32_t s = 0; s < TORMENT_SHARDS; s++) {
        int64_t synced_ns = 0;
        int primary = -1;
        while ((primary = whole(w, s, &synced_ns)) < 0 && torment_now_ns() < give_up_ns) torment_sleep_ms(20);
        if (primary < 0) {
            fprintf(stderr, "torment: shard %u did not come back\n", s);
            w->failed = true;
            return;
        }
        char lineage[48];
        lineage_of(w, (uint32_t)primary, lineage);
        /* Another may have taken over, and the first one again: servers that stand still for long need nobody's strike for that. */
        bool twice = w->lineage[s][0] != '\0' && strcmp(lineage, w->lineage[s]) != 0;
        if (w->primary[s] >= 0 && (primary != w->primary[s] || twice)) {
            /* Clients may still talk to the old one for as long as they wait for an answer. */
            note_loss(w, s, torment_now_ns() + TORMENT_DEADLINE_MS * INT64_C(1000000));
        }
        w->primary[s] = primary;
        memcpy(w->lineage[s], lineage, sizeof lineage);
        w->synced_ns[s] = synced_ns;
    }
}

void torment_peace(torment_world *w) {
    const proxy_fault good = {.kind = PROXY_GOOD};
    size_t losses = w->loss_count;
    if (w->failed || w->repeated_count == sizeof w->repeated_ns / sizeof w->repeated_ns[0]) return;
    for (uint32_t i = 0; i < 2 * TORMENT_NODES; i++) proxy_set(w->proxy, i, &good);
    atomic_store(&w->shared->peace, 1);
    torment_sleep_ms(PEACE_MS);
    int64_t repeated_ns = torment_now_ns();
    torment_sleep_ms(SHOW_MS);
    atomic_store(&w->shared->peace, 0);
    torment_settle(w);
    if (w->loss_count == losses) w->repeated_ns[w->repeated_count++] = repeated_ns;
}

/* A few more writes, then none, until what a failover may have lost excuses nothing any more: what was missed by then is not noticed by the
   next message. */
static void hush(torment_world *w) {
    if (dice(w, 3) == 0) return;
    torment_sleep_ms(between(w, 0, 200));
    atomic_store(&w->shared->peace, 1);
    torment_settle(w);
    torment_sleep_ms(TORMENT_DEADLINE_MS + 3 * TORMENT_STALENESS_MS);
    atomic_store(&w->shared->peace, 0);
}

static void signal_clients(torment_world *w, uint64_t which, int signal) {
    for (uint32_t i = 0; i < TORMENT_CLIENTS; i++)
        if ((which >> i & 1) != 0) kill(w->clients[i], signal);
}

/* ---- servers ---- */

static void await_takeover(torment_world *w, uint32_t replica) {
    int64_t give_up_ns = torment_now_ns() + TAKEOVER_MS * INT64_C(1000000);
    while (!role_of(w, replica).primary && torment_now_ns() < give_up_ns) torment_sleep_ms(50);
}

static void kill_primary(torment_world *w) {
    uint32_t node = primary_of(w, (uint32_t)dice(w, TORMENT_SHARDS));
    (void)sx_cluster_kill(w->cluster, node);
    w->silent_from_ns = torment_now_ns();
    await_takeover(w, other(node));
    torment_sleep_ms(between(w, 0, 500));
    w->silent_to_ns = torment_now_ns();
    (void)sx_cluster_restart(w->cluster, node);
}

/* From now on no version of what was there may be served, once the bound is over. */
static void note_flush(torment_world *w, uint32_t shard, int64_t from_ns) {
    uint64_t partitions = 0;
    for (uint32_t p = 0; p < TORMENT_PARTITIONS; p++)
        if (w->home[p] == shard) partitions |= UINT64_C(1) << p;
    if (w->flush_count < sizeof w->flushes / sizeof w->flushes[0])
        w->flushes[w->flush_count++] = (history_loss){from_ns, torment_now_ns(), partitions, false};
}

static void flush(torment_world *w, uint32_t shard) {
    int64_t from_ns = torment_now_ns();
    char *answer = sx_cluster_command(w->cluster, primary_of(w, shard), "FLUSHALL");
    if (strcmp(answer, "OK") == 0) note_flush(w, shard, from_ns);
    free(answer);
}

static void restart_primary(torment_world *w) {
    uint32_t shard = (uint32_t)dice(w, TORMENT_SHARDS);
    int64_t from_ns = torment_now_ns();
    if (sx_cluster_restart(w->cluster, primary_of(w, shard)) != 0) return;
    note_flush(w, shard, from_ns); /* a replica that takes over meanwhile is a failover */
    w->lineage[shard][0] = '\0';
}

static void pause_primary(torment_world *w) {
    uint32_t node = primary_of(w, (uint32_t)dice(w, TORMENT_SHARDS));
    (void)sx_cluster_pause(w->cluster, node);
    w->silent_from_ns = torment_now_ns() + STOP_NS;
    await_takeover(w, other(node));
    torment_sleep_ms(between(w, 0, 1500));
    w->silent_to_ns = torment_now_ns();
    (void)sx_cluster_resume(w->cluster, node);
}

static void stall_bus(torment_world *w, uint32_t first, uint32_t count, int64_t time_ms) {
    proxy_fault stall = {.kind = PROXY_STALL, .until_ns = torment_now_ns() + time_ms * 1000000, .percent = 100,
                         .to_server = true, .to_client = true};
    for (uint32_t i = first; i < first + count; i++) proxy_set(w->proxy, TORMENT_BUS + i, &stall);
}

/* Resumed, the primary goes on answering as what it was: for less time than the others need to miss anybody. A client that
   slept has its old map. */
static void raise_zombie(torment_world *w) {
    uint32_t node = primary_of(w, (uint32_t)dice(w, TORMENT_SHARDS));
    uint64_t sleepers = dice(w, 1 << TORMENT_CLIENTS);
    bool before = dice(w, 2) == 0;
    if (before) signal_clients(w, sleepers, SIGSTOP);
    stall_bus(w, node, 1, TAKEOVER_MS + 2000);
    (void)sx_cluster_pause(w->cluster, node);
    w->silent_from_ns = torment_now_ns() + STOP_NS;
    if (!before) {
        torment_sleep_ms(between(w, 0, 700));
        signal_clients(w, sleepers, SIGSTOP);
    }
    await_takeover(w, other(node));
    torment_sleep_ms(between(w, 0, 1000));
    int64_t time_ms = between(w, 300, TORMENT_NODE_TIMEOUT_MS * 8 / 10);
    stall_bus(w, 0, TORMENT_NODES, time_ms);
    w->silent_to_ns = torment_now_ns();
    (void)sx_cluster_resume(w->cluster, node);
    torment_sleep_ms(between(w, 0, 60));
    signal_clients(w, sleepers, SIGCONT);
    torment_sleep_ms(time_ms);
    hush(w);
}

static void pause_node(torment_world *w) {
    uint32_t node = (uint32_t)dice(w, TORMENT_NODES);
    if (dice(w, 3) != 0) node = primary_of(w, node % TORMENT_SHARDS);
    (void)sx_cluster_pause(w->cluster, node);
    torment_sleep_ms(between(w, 20, 700));
    (void)sx_cluster_resume(w->cluster, node);
}

static void fail_over(torment_world *w) {
    uint32_t replica = other(primary_of(w, (uint32_t)dice(w, TORMENT_SHARDS)));
    free(sx_cluster_command(w->cluster, replica, "CLUSTER FAILOVER"));
    await_takeover(w, replica);
}

/* The replica hears nothing for a while, then takes over: what was acknowledged meanwhile is lost. A client that sleeps while others
   write as often again finds the counters that it knows, of another history. */
static void take_over(torment_world *w) {
    uint32_t primary = primary_of(w, (uint32_t)dice(w, TORMENT_SHARDS)), replica = other(primary);
    int64_t time_ms = between(w, 30, 600);
    proxy_fault lag = {.kind = PROXY_LAG, .until_ns = torment_now_ns() + (time_ms + 200) * 1000000};
    if (dice(w, 4) != 0) {
        proxy_set(w->proxy, primary, &lag);
        torment_sleep_ms(time_ms);
    }
    uint64_t sleepers = dice(w, 2) == 0 ? dice(w, 1 << TORMENT_CLIENTS) : 0;
    signal_clients(w, sleepers, SIGSTOP);
    free(sx_cluster_command(w->cluster, replica, dice(w, 4) == 0 ? "CLUSTER FAILOVER FORCE" : "CLUSTER FAILOVER TAKEOVER"));
    await_takeover(w, replica);
    if (sleepers != 0) torment_sleep_ms(between(w, 0, 1000));
    signal_clients(w, sleepers, SIGCONT);
    hush(w);
}

/* False: some keys are still there. */
static bool migrate_keys(torment_world *w, uint16_t slot, uint32_t from, uint32_t to) {
    char port[8];
    snprintf(port, sizeof port, "%u", sx_cluster_port(w->cluster, to));
    for (int turn = 0; turn < 100; turn++) {
        char *names = sx_cluster_command(w->cluster, from, "CLUSTER GETKEYSINSLOT %u 2", slot);
        const char *argv[8 + 2] = {"MIGRATE", "127.0.0.1", port, "", "0", "2000", "REPLACE", "KEYS"};
        size_t argc = 8;
        bool failed = names[0] == '-';
        for (char *name = strtok(names, "\n"); name != NULL && argc < 10; name = strtok(NULL, "\n")) argv[argc++] = name;
        if (argc > 8 && !failed) free(sx_cluster_command_argv(w->cluster, from, argc, argv));
        free(names);
        if (argc == 8) return true;
        torment_sleep_ms(between(w, 0, 60));
    }
    return false;
}

static bool migrate_slot(torment_world *w, uint16_t slot, uint32_t from, uint32_t to) {
    if (sx_cluster_slot_migrating(w->cluster, slot, to) != 0) return false;
    torment_sleep_ms(between(w, 0, 300));
    if (!migrate_keys(w, slot, from, to)) return false;
    torment_sleep_ms(between(w, 0, 500)); /* every write is answered with ASK */
    return migrate_keys(w, slot, from, to) && sx_cluster_slot_give(w->cluster, slot, to) == 0;
}

/* A slot moves with its keys, two at a time, and often back. */
static void migrate(torment_world *w, uint32_t partition) {
    uint16_t slot = w->slots[partition];
    for (uint64_t turn = dice(w, 2) + 1; turn > 0; turn--) {
        uint32_t home = w->home[partition], guest = (home + 1 + (uint32_t)dice(w, TORMENT_SHARDS - 1)) % TORMENT_SHARDS;
        w->shard_partitions[guest] |= UINT64_C(1) << partition;
        if (!migrate_slot(w, slot, primary_of(w, home), primary_of(w, guest))) {
            /* As an operator would not leave it: what has moved is lost, and nothing of it may ever be found again. */
            for (uint32_t i = 0; i < TORMENT_NODES; i++)
                free(sx_cluster_command(w->cluster, i, "CLUSTER SETSLOT %u STABLE", slot));
            for (uint32_t s = 0; s < TORMENT_SHARDS; s++) flush(w, s);
            int owner = sx_cluster_owner(w->cluster, slot);
            if (owner >= 0) w->home[partition] = (uint32_t)owner % TORMENT_SHARDS;
            return;
        }
        w->home[partition] = guest;
        torment_sleep_ms(between(w, 100, 800));
    }
}

static void migrate_one(torment_world *w) {
    uint32_t partition = w->key_partition[dice(w, TORMENT_JUDGED)];
    int64_t from_ns = torment_now_ns();
    migrate(w, partition);
    if (w->move_count < sizeof w->moves / sizeof w->moves[0])
        w->moves[w->move_count++] = (history_loss){from_ns, torment_now_ns(), UINT64_C(1) << partition, false};
}

static void to_all(torment_world *w, const char *command) {
    for (uint32_t i = 0; i < TORMENT_NODES; i++) free(sx_cluster_command(w->cluster, i, "%s", command));
}

static void kill_clients(torment_world *w, const char *command) {
    for (uint64_t i = dice(w, 12) + 1; i > 0; i--) {
        free(sx_cluster_command(w->cluster, (uint32_t)dice(w, TORMENT_NODES), "%s", command));
        torment_sleep_ms(between(w, 0, 30));
    }
}

/* Nonsense on all channels, more than may wait for a subscriber that is stopped. */
static void small_buffers(torment_world *w) {
    static const char script[] = "for i = 1, 200 do redis.call('SPUBLISH', KEYS[1], string.rep('x', 50000)) end";
    uint32_t shard = (uint32_t)dice(w, TORMENT_SHARDS), node = primary_of(w, shard);
    const char *limit[] = {"CONFIG", "SET", "client-output-buffer-limit", "pubsub 1 0 0"};
    free(sx_cluster_command_argv(w->cluster, node, 4, limit));
    pid_t stopped = w->clients[dice(w, TORMENT_CLIENTS)];
    kill(stopped, SIGSTOP);
    for (uint32_t p = 0; p < TORMENT_PARTITIONS; p++) {
        char *channel = sx_cluster_command(w->cluster, node, "PUBSUB SHARDCHANNELS *");
        for (char *name = strtok(channel, "\n"); name != NULL && p == 0; name = strtok(NULL, "\n")) {
            const char *argv[] = {"EVAL", script, "1", name};
            free(sx_cluster_command_argv(w->cluster, node, 4, argv));
            break; /* one of them will do */
        }
        free(channel);
        if (p == 0) torment_sleep_ms(between(w, 50, 400));
    }
    kill(stopped, SIGCONT);
    limit[3] = "pubsub 33554432 8388608 60";
    free(sx_cluster_command_argv(w->cluster, node, 4, limit));
}

static void evict(torment_world *w) {
    uint32_t node = primary_of(w, (uint32_t)dice(w, TORMENT_SHARDS));
    int64_t from_ns = torment_now_ns();
    free(sx_cluster_command(w->cluster, node, "CONFIG SET maxmemory-policy allkeys-random"));
    free(sx_cluster_command(w->cluster, node, "CONFIG SET maxmemory 1mb"));
    torment_sleep_ms(between(w, 5, 150));
    free(sx_cluster_command(w->cluster, node, "CONFIG SET maxmemory 0"));
    if (w->eviction_count < sizeof w->evictions / sizeof w->evictions[0]) /* of a node, but its slots may have been anywhere else */
        w->evictions[w->eviction_count++] = (history_loss){from_ns, torment_now_ns(), UINT64_MAX, false};
}

/* ---- clients ---- */

static void pause_client(torment_world *w) {
    pid_t pid = w->clients[dice(w, TORMENT_CLIENTS)];
    kill(pid, SIGSTOP);
    torment_sleep_ms(between(w, 20, 1500));
    kill(pid, SIGCONT);
}

static void kill_client(torment_world *w) {
    uint32_t index = (uint32_t)dice(w, TORMENT_CLIENTS);
    int64_t killed_ns = torment_now_ns();
    kill(w->clients[index], SIGKILL);
    waitpid(w->clients[index], NULL, 0);
    /* What it sent last may execute until its deadline is over: its successor must not write before. */
    torment_sleep_ms(2 * TORMENT_DEADLINE_MS);
    w->killed_ns[w->process_of[index] % 256] = killed_ns;
    w->clients[index] = torment_client_start(w, index);
}

/* ---- the proxy ---- */

static void disturb(torment_world *w, proxy_fault_kind kind) {
    int64_t time_ms = between(w, 100, kind == PROXY_DELAY || kind == PROXY_STALL ? 3000 : 1200);
    uint64_t direction = dice(w, 3);
    proxy_fault fault = {.kind = kind,
                         .until_ns = torment_now_ns() + time_ms * 1000000,
                         .delay_ms = (uint32_t)between(w, 5, 300),
                         .percent = kind == PROXY_LOSE ? 20 : (uint32_t)between(w, 20, 100),
                         .to_server = direction != 1,
                         .to_client = direction != 2,
                         .seed = torment_random(&w->random)};
    uint32_t node = primary_of(w, (uint32_t)dice(w, TORMENT_SHARDS));
    bool everywhere = dice(w, 4) == 0;
    if (kind == PROXY_STALL && dice(w, 2) == 0) { /* what is late already is caught by it */
        proxy_fault before = fault;
        before.kind = PROXY_DELAY;
        before.delay_ms = (uint32_t)between(w, 50, 240);
        proxy_set(w->proxy, node, &before);
        torment_sleep_ms(600);
        fault.until_ns += 600000000;
    }
    for (uint32_t i = 0; i < TORMENT_NODES; i++)
        if (everywhere || i == node) proxy_set(w->proxy, i, &fault);
    torment_sleep_ms(between(w, 0, time_ms)); /* the next fault may come while this one lasts */
}

/* A few times in a row: only a write under way suffers. */
static void be_late(torment_world *w) {
    for (uint64_t turns = 4 + dice(w, 5); turns > 0; turns--) {
        int64_t time_ms = between(w, 5, 80); /* then the clients are cut off */
        proxy_fault fault = {.kind = PROXY_LATE,
                             .until_ns = torment_now_ns() + time_ms * 1000000,
                             .delay_ms = (uint32_t)(time_ms + between(w, 20, 350)),
                             .percent = 70,
                             .seed = torment_random(&w->random)};
        for (uint32_t i = 0; i < TORMENT_NODES; i++) proxy_set(w->proxy, i, &fault);
        torment_sleep_ms(time_ms + between(w, 100, 300));
    }
}

static void step_clock(torment_world *w) {
    static const int64_t steps_s[] = {0, 1, -1, 3600, -3600, 86400 * 365, -86400 * 365};
    atomic_store(&w->shared->wall_step_ns, steps_s[dice(w, sizeof steps_s / sizeof steps_s[0])] * 1000000000);
    torment_sleep_ms(between(w, 10, 300));
}

void torment_strike(torment_world *w, torment_fault fault) {
    int64_t now_ns = torment_now_ns();
    if (w->calm_count < sizeof w->calm / sizeof w->calm[0])
        w->calm[w->calm_count++] = (history_loss){w->calm_from_ns, now_ns, 0, false};
    w->orderly = fault == TORMENT_FAILOVER;
    w->silent_from_ns = w->silent_to_ns = 0;
    switch (fault) {
    case TORMENT_KILL: kill_primary(w); break;
    case TORMENT_RESTART: restart_primary(w); break;
    case TORMENT_PAUSE_LONG: pause_primary(w); break;
    case TORMENT_ZOMBIE: raise_zombie(w); break;
    case TORMENT_PAUSE: pause_node(w); break;
    case TORMENT_FAILOVER: fail_over(w); break;
    case TORMENT_TAKEOVER: take_over(w); break;
    case TORMENT_MIGRATE: migrate_one(w); break;
    case TORMENT_KILL_PUBSUB: kill_clients(w, "CLIENT KILL TYPE pubsub"); break;
    case TORMENT_KILL_NORMAL: kill_clients(w, "CLIENT KILL TYPE normal"); break;
    case TORMENT_BUFFER: small_buffers(w); break;
    case TORMENT_SCRIPT_FLUSH: to_all(w, "SCRIPT FLUSH"); break;
    case TORMENT_FLUSHALL: flush(w, (uint32_t)dice(w, TORMENT_SHARDS)); break;
    case TORMENT_EVICT: evict(w); break;
    case TORMENT_CLIENT_PAUSE: pause_client(w); break;
    case TORMENT_CLIENT_KILL: kill_client(w); break;
    case TORMENT_DELAY: disturb(w, PROXY_DELAY); break;
    case TORMENT_STALL: disturb(w, PROXY_STALL); break;
    case TORMENT_LATE: be_late(w); break;
    case TORMENT_DROP: disturb(w, PROXY_DROP); break;
    case TORMENT_CUT: disturb(w, PROXY_CUT); break;
    case TORMENT_LOSE: disturb(w, PROXY_LOSE); break;
    case TORMENT_CLOCK: step_clock(w); break;
    case TORMENT_FAULTS: break;
    }
    w->done[fault]++;
    torment_settle(w);
    if (w->struck_count < sizeof w->struck / sizeof w->struck[0]) {
        w->struck[w->struck_count].fault = fault;
        w->struck[w->struck_count].start_ns = now_ns;
        w->struck[w->struck_count++].end_ns = torment_now_ns();
    }
    w->calm_from_ns = torment_now_ns() + 2000 * INT64_C(1000000); /* what it left behind is over by then */
}
